//! Card numbers, as card networks print them: to be told apart and kept out.
//!
//! *What it promises.* Finds 13 to 19 digits in a row with a right Luhn check digit, also in the
//! groups in which cards print them. It keeps nothing.
//!
//! *What it refuses to know.* Which field it looks at, and what follows from a find. One number in
//! ten of this length passes by chance, so a find is no proof.

use std::ops::RangeInclusive;

/// How many digits a card number has (ISO/IEC 7812).
const DIGITS: RangeInclusive<usize> = 13..=19;
/// The groups in which numbers are printed on cards. Other groups (dates, documents) are not joined.
const GROUPS: [&[usize]; 5] = [
    &[4, 4, 4, 4],
    &[4, 6, 5],
    &[4, 6, 4],
    &[4, 4, 5],
    &[4, 4, 4, 4, 3],
];

/// Whether a text is nothing but a card number.
#[must_use]
pub fn is_one(text: &str) -> bool {
    DIGITS.contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit()) && passes(text)
}

/// Whether a text has a card number in it.
#[must_use]
pub fn is_in(text: &str) -> bool {
    let digits = text.bytes().filter(u8::is_ascii_digit).count();
    if digits < *DIGITS.start() {
        return false;
    }
    let mut runs: Vec<(usize, &str)> = Vec::new();
    let mut at = 0;
    for piece in text.split_inclusive(|c: char| !c.is_ascii_digit()) {
        let run = piece.trim_end_matches(|c: char| !c.is_ascii_digit());
        if is_one(run) {
            return true;
        }
        if !run.is_empty() {
            runs.push((at, run));
        }
        at += piece.len();
    }
    GROUPS.iter().any(|groups| {
        runs.windows(groups.len())
            .any(|window| are_grouped(window, groups, text) && passes(&joined(window)))
    })
}

/// Whether these runs of digits have these lengths and one blank or hyphen between each.
fn are_grouped(runs: &[(usize, &str)], groups: &[usize], text: &str) -> bool {
    let lengths = runs.iter().map(|(_, run)| run.len());
    let between = |pair: &[(usize, &str)]| match pair {
        [(at, run), (next, _)] => text.get(at + run.len()..*next),
        _ => None,
    };
    lengths.eq(groups.iter().copied())
        && runs
            .windows(2)
            .all(|pair| matches!(between(pair), Some(" " | "-" | "\u{a0}")))
}

fn joined(runs: &[(usize, &str)]) -> String {
    runs.iter().map(|(_, run)| *run).collect()
}

/// Luhn's sum: from the right, every second digit counts twice.
fn passes(digits: &str) -> bool {
    let sum: u32 = digits
        .chars()
        .rev()
        .filter_map(|c| c.to_digit(10))
        .zip([1, 2].into_iter().cycle())
        .map(|(digit, times)| match digit * times {
            more @ 10.. => more - 9,
            less => less,
        })
        .sum();
    sum.is_multiple_of(10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn card_numbers_are_found_also_in_their_printed_groups() {
        for text in [
            "4111111111111111",
            "378282246310005",
            "6304000000000000",
            "tarjeta 4111111111111111.",
            "4111 1111 1111 1111",
            "4111-1111-1111-1111, nómina",
            "2026 4111\u{a0}1111\u{a0}1111\u{a0}1111 x",
            "3782 822463 10005",
        ] {
            assert!(is_in(text), "{text}");
        }
    }

    #[test]
    fn other_numbers_are_not() {
        for text in [
            "",
            "4111111111111112",
            "411111111111",
            "41111111111111111111",
            "4111  1111 1111 1111",
            "4111/1111/1111/1111",
            "Nómina 2026-11 12345674",
            "٤١١١١١١١١١١١١١١١",
        ] {
            assert!(!is_in(text), "{text}");
        }
        assert!(is_one("4111111111111111") && !is_one("x4111111111111111"));
    }
}
