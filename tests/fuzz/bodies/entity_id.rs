//! The name of a job, [`tanda::domain::job::EntityId`], on all its ways.
//!
//! It is taken or refused by rules stated anew here, and what is taken stays the same bytes in a
//! message, in what the bank is sent and in what the bank lists; another spelling is another name.

use tanda::domain::job::{Draft, ENTITY_ID_MAX_CHARS, EntityId, Fault, Job};
use tanda::domain::key::{Generation, IdempotencyKey, Namespace};
use tanda::domain::listing::{Finding, ListedOperation, find};
use tanda::domain::money::Currencies;
use tanda::wire::bank::request_body;
use tanda::wire::job::{decode, encode};
use unicode_normalization::UnicodeNormalization as _;

use super::Target;
use super::json::Json;
use super::telling::assert_tells;

pub(super) const TARGET: Target = Target {
    name: "entity_id",
    body,
    cases: 12_000,
    words: &[
        "EMP-",
        "NOM-2026-11-0042",
        "1.23E+17",
        "é",
        "e\u{301}",
        "\u{212b}",
        "\u{1100}\u{1161}",
        "\u{ac00}",
        "\u{2028}",
        "\u{3000}",
        "\u{85}",
        "\u{1f}",
        "\u{7f}",
        "\u{200b}",
        "İ",
        "ß",
        "ﬁ",
        "\u{10ffff}",
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    ],
};

fn body(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let length = text.chars().count();
    let ends = [text.chars().next(), text.chars().last()];
    let expected = if length == 0 {
        Some("entity_id_missing")
    } else if length > ENTITY_ID_MAX_CHARS {
        Some("entity_id_length")
    } else if ends.into_iter().flatten().any(char::is_whitespace) {
        Some("entity_id_space")
    } else if text.chars().any(char::is_control) {
        Some("entity_id_control")
    } else if !text.nfc().eq(text.chars()) {
        Some("entity_id_form")
    } else {
        None
    };
    match EntityId::parse(text) {
        Ok(id) => {
            assert_eq!(expected, None);
            assert_eq!(id.as_str(), text);
            stays_the_same(text);
            is_its_own(&id);
        }
        Err(fault) => {
            assert_eq!(Some(fault.code), expected);
            assert_tells(&fault.message, 256);
            assert!(fault.value.chars().count() <= Fault::VALUE_MAX_CHARS);
        }
    }
}

fn job(entity_id: &str) -> Job {
    Draft {
        entity_id: entity_id.to_owned(),
        card_id: "car_5tgliBmzjZ6mpQPRbQjfKj".to_owned(),
        operation: "topup".to_owned(),
        amount_minor: 100,
        currency: "COP".to_owned(),
        ..Draft::default()
    }
    .validate(&Currencies::default())
    .expect("a job")
}

fn stays_the_same(text: &str) {
    let job = job(text);
    let read = decode(&encode(&job), &Currencies::default()).expect("our own message");
    assert_eq!(read.entity_id.as_str(), text);
    let sent = Json::of(&request_body(&job)).expect("JSON");
    assert_eq!(sent.text_of("entity_id"), Some(text));
    let listed = |entity_id: String| ListedOperation {
        id: None,
        entity_id: Some(entity_id),
        operation: "topup".to_owned(),
        amount_minor: 100,
        currency: "COP".to_owned(),
    };
    let found = find(&job, &[listed(text.to_owned())]);
    assert_eq!(found, Finding::Found { operation_id: None });
    for other in [
        text.to_lowercase(),
        text.to_uppercase(),
        text.nfd().collect(),
        format!("{text} "),
        format!("{text}\0"),
    ] {
        if other != text {
            assert_eq!(find(&job, &[listed(other)]), Finding::Absent);
        }
    }
}

/// Its key has the form that the bank asks for, and no neighbour has the same.
fn is_its_own(id: &EntityId) {
    let namespace = Namespace::default();
    let key =
        |id: &EntityId, generation| IdempotencyKey::derive(&namespace, id, generation).to_string();
    let own = key(id, Generation::FIRST);
    let shape: Vec<usize> = own.split('-').map(str::len).collect();
    assert_eq!(shape, [8, 4, 4, 4, 12]);
    assert_eq!(own.as_bytes()[14], b'4');
    assert!(b"89ab".contains(&own.as_bytes()[19]));
    assert_ne!(own, key(id, Generation::FIRST.next()));
    let mut neighbour = id.as_str().to_owned();
    neighbour.pop();
    neighbour.push('~');
    if let Ok(neighbour) = EntityId::parse(&neighbour)
        && neighbour != *id
    {
        assert_ne!(own, key(&neighbour, Generation::FIRST));
    }
}
