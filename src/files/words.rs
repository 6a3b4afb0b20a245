//! Words as people write them in files: in Spanish or English, in any case, with accents or without.
//!
//! *What it promises.* Two spellings are one word only where they differ in case, accents and outer
//! blanks; a text that is no known word is never taken for one.
//!
//! *What it refuses to know.* Columns, and anything that names a job: ids are never folded.

use crate::domain::job::{CardId, Operation};

/// What people write for an operation, folded.
const OPERATIONS: [(&str, Operation); 4] = [
    ("topup", Operation::Topup),
    ("recarga", Operation::Topup),
    ("withdrawal", Operation::Withdrawal),
    ("retiro", Operation::Withdrawal),
];
/// What stands beside the sum in a last row, folded.
const TOTAL_LABELS: [&str; 3] = ["total", "totales", "suma"];
/// The longest text that can be one of these words, in bytes: longer ones are not looked at.
const LONGEST_WORD_BYTES: usize = 64;

/// A text in lower case, without accents and outer blanks. A letter and an accent of its own
/// (`o` and U+0301) fold like the letter that has both.
pub(super) fn folded(text: &str) -> String {
    text.trim()
        .chars()
        .filter(|c| !('\u{300}'..='\u{36f}').contains(c))
        .flat_map(char::to_lowercase)
        // The capital I with a dot becomes two characters.
        .filter(|c| !('\u{300}'..='\u{36f}').contains(c))
        .map(without_accent)
        .collect()
}

const fn without_accent(c: char) -> char {
    match c {
        'á' | 'à' | 'â' | 'ä' | 'ã' | 'å' => 'a',
        'é' | 'è' | 'ê' | 'ë' => 'e',
        'í' | 'ì' | 'î' | 'ï' => 'i',
        'ó' | 'ò' | 'ô' | 'ö' | 'õ' => 'o',
        'ú' | 'ù' | 'û' | 'ü' => 'u',
        'ñ' => 'n',
        'ç' => 'c',
        other => other,
    }
}

/// The operation that a cell names.
pub(super) fn operation(text: &str) -> Option<Operation> {
    // Most files have the bank's own words, and a million rows.
    Operation::parse(text).or_else(|| {
        let word = Some(text).filter(|text| text.len() <= LONGEST_WORD_BYTES)?;
        let word = folded(word);
        OPERATIONS
            .iter()
            .find(|(known, _)| *known == word)
            .map(|&(_, operation)| operation)
    })
}

/// Whether a cell is what people write beside the sum of a column.
pub(super) fn is_total_label(text: &str) -> bool {
    text.len() <= LONGEST_WORD_BYTES
        && TOTAL_LABELS.contains(&folded(text.trim().trim_end_matches(':')).as_str())
}

/// Columns get swapped: whatever looks like a card id is shortened, wherever it stands.
pub(super) fn without_card_ids(value: &str) -> String {
    let of_card_id = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    let mut shown = String::with_capacity(value.len());
    for piece in value.split_inclusive(|c| !of_card_id(c)) {
        let word = piece.trim_end_matches(|c| !of_card_id(c));
        match CardId::parse(word) {
            Ok(card) => shown.push_str(&card.to_string()),
            Err(_) => shown.push_str(word),
        }
        shown.push_str(piece.strip_prefix(word).unwrap_or_default());
    }
    shown
}

/// A text from a file as it may stand in a message: what does not print is spelled out, and what is
/// long is cut.
pub(super) fn printable(text: &str, max_chars: usize) -> String {
    let mut shown = String::new();
    for c in text.chars().take(max_chars) {
        if c == '"' || c == '\'' || c == '\\' {
            shown.push(c);
        } else {
            shown.extend(c.escape_debug());
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn i12_a_card_id_in_any_column_is_shortened() {
        let shown = without_card_ids("para car_5tgliBmzjZ6mpQPRbQjfKj, y más (car_x)");
        assert_eq!(shown, "para car_5tg...fKj, y más (car_x)");
        assert_eq!(without_card_ids("50.000"), "50.000");
        assert_eq!(without_card_ids(""), "");
        assert_eq!(without_card_ids(" ,; "), " ,; ");
    }

    #[test]
    fn operations_are_known_in_both_languages() {
        for (text, operation_meant) in [
            ("topup", Some(Operation::Topup)),
            ("TopUp", Some(Operation::Topup)),
            ("Recarga", Some(Operation::Topup)),
            ("RETIRO", Some(Operation::Withdrawal)),
            ("retíro", Some(Operation::Withdrawal)),
            ("reti\u{301}ro", Some(Operation::Withdrawal)),
            ("withdrawal", Some(Operation::Withdrawal)),
            ("recargas", None),
            ("top-up", None),
            ("", None),
        ] {
            assert_eq!(operation(text), operation_meant, "{text}");
        }
    }

    #[test]
    fn labels_of_totals_are_whole_cells() {
        for text in ["Total", " TOTALES: ", "suma", "Súma"] {
            assert!(is_total_label(text), "{text}");
        }
        for text in ["", "Total Ltda.", "subtotal", "sumar"] {
            assert!(!is_total_label(text), "{text}");
        }
    }

    #[test]
    fn what_does_not_print_is_spelled_out() {
        assert_eq!(printable("Año \"1\"", 40), "Año \"1\"");
        assert_eq!(
            printable("a\u{1b}[2Jb\n\u{202e}", 40),
            "a\\u{1b}[2Jb\\n\\u{202e}"
        );
        assert_eq!(printable("abc", 2), "ab");
    }
}
