//! What may stand in a text that people or their programs are shown.

use tanda::domain::card_number;
use tanda::domain::job::CardId;

/// Whether a character ends a line, drives a terminal or turns the direction of reading.
pub(super) fn steers(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// I12: no whole card id and no card number.
pub(super) fn assert_no_card_in(text: &str) {
    let of_card_id = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    for word in text.split(|c| !of_card_id(c)) {
        assert!(CardId::parse(word).is_err(), "a card id in {text:?}");
    }
    assert!(!card_number::is_in(text), "a card number in {text:?}");
}

/// A text of ours about what a stranger wrote: something, on one line, not endless.
pub(super) fn assert_tells(text: &str, most_bytes: usize) {
    assert!(!text.trim().is_empty(), "says nothing");
    assert!(text.len() <= most_bytes, "{} bytes: {text:?}", text.len());
    assert!(!text.chars().any(steers), "{text:?}");
}
