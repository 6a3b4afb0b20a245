//! The body of a message from the queue, [`tanda::wire::job`].
//!
//! A job is read from one JSON object with known fields, each once, and says what that object says;
//! written again it is the same job. What is refused has reasons of a known kind, tells no value
//! again, and names only what the object names once.

use tanda::domain::job::Job;
use tanda::domain::money::{Currencies, Currency, MAX_AMOUNT_MINOR};
use tanda::wire::bank::request_body;
use tanda::wire::job::{MAX_BYTES, Unreadable, decode, encode};

use super::Target;
use super::calendar::rfc3339_millis;
use super::json::Json;
use super::telling::{assert_no_card_in, assert_tells};

pub(super) const TARGET: Target = Target {
    name: "amqp_body",
    body,
    cases: 12_000,
    words: &[
        "{",
        "}",
        "[",
        "]",
        ":",
        "null",
        "true",
        "\"entity_id\"",
        "\"card_id\"",
        "\"operation\"",
        "\"amount\"",
        "\"currency\"",
        "\"description\"",
        "\"not_after\"",
        "\"topup\"",
        "\"withdrawal\"",
        "\"COP\"",
        "\"JPY\"",
        "\"NOM-1\"",
        "\"entity_id\":\"B\",",
        "-0",
        "1.0",
        "5000000",
        "9007199254740991",
        "2026-11-30T23:59:59-05:00",
        "2026-11-30T23:59:59,5Z",
        "\\u0041",
        "\\ud800",
        "\"x\":1,",
    ],
};

const FIELDS: &[&str] = &[
    "entity_id",
    "card_id",
    "operation",
    "amount",
    "description",
    "not_after",
];
/// Every rule that a message can break.
const REASONS: &[&str] = &[
    "too_large",
    "empty",
    "not_json",
    "unknown_field",
    "duplicate_field",
    "missing_field",
    "wrong_type",
    "entity_id_missing",
    "entity_id_length",
    "entity_id_space",
    "entity_id_control",
    "entity_id_form",
    "card_id",
    "card_number",
    "operation",
    "currency",
    "amount_range",
    "amount_limit",
    "description",
    "not_after",
];
/// Six reasons, each with its sentence and the list of currencies.
const WORDS_MAX_BYTES: usize = 2_048;
/// The most that a job in COP may move here, in minor units.
const CEILING: i64 = 5_000_000_000;

fn currencies() -> Currencies {
    let [cop, jpy] = ["COP", "JPY"].map(|code| Currency::parse(code).expect("a code"));
    Currencies::new([(cop, 2), (jpy, 0)]).with_ceiling(cop, CEILING)
}

fn body(bytes: &[u8]) {
    match decode(bytes, &currencies()) {
        Ok(job) => is_what_was_written(&job, bytes),
        Err(unreadable) => has_reasons(&unreadable, bytes),
    }
}

fn is_what_was_written(job: &Job, bytes: &[u8]) {
    assert!(bytes.len() <= MAX_BYTES);
    let again = decode(&encode(job), &currencies());
    assert_eq!(again.as_ref(), Ok(job));

    let fields = Json::of(bytes).expect("a job is JSON");
    assert!(fields.has_each_once(FIELDS, false), "not a job's fields");
    assert_eq!(fields.text_of("entity_id"), Some(job.entity_id.as_str()));
    assert_eq!(fields.text_of("card_id"), Some(job.card_id.as_str()));
    assert_eq!(fields.text_of("operation"), Some(job.operation.as_str()));
    let amount = fields.only("amount").expect("an amount");
    assert!(
        amount.has_each_once(&["amount", "currency"], false),
        "{amount:?}"
    );
    let minor = amount.only("amount").and_then(Json::whole).expect("whole");
    assert_eq!(minor, i128::from(job.amount.minor()));
    assert!((1..=i128::from(MAX_AMOUNT_MINOR)).contains(&minor));
    let currency = job.amount.currency();
    assert_eq!(amount.text_of("currency"), Some(currency.as_str()));
    assert!(currency.as_str() == "JPY" || minor <= i128::from(CEILING));
    let text = |name| {
        let value = fields.only(name).filter(|value| **value != Json::Null)?;
        Some(value.text().expect("a text"))
    };
    let description = text("description").filter(|text| !text.is_empty());
    assert_eq!(description, job.description.as_deref());
    assert_eq!(
        text("not_after").map(|text| rfc3339_millis(text).expect("a time as RFC 3339 has it")),
        job.not_after.map(tanda::domain::time::Timestamp::as_millis)
    );
    is_sent_as_it_is(job);
}

/// I8: what goes to the bank says what the job says, in the one order of its fields.
fn is_sent_as_it_is(job: &Job) {
    let sent = Json::of(&request_body(job)).expect("JSON");
    let names: Vec<_> = sent
        .fields()
        .iter()
        .filter_map(|(name, _)| name.as_deref())
        .collect();
    let expected: &[&str] = match job.description {
        Some(_) => &["amount", "description", "entity_id", "operation"],
        None => &["amount", "entity_id", "operation"],
    };
    assert_eq!(names, expected);
    assert_eq!(sent.text_of("entity_id"), Some(job.entity_id.as_str()));
    assert_eq!(sent.text_of("operation"), Some(job.operation.as_str()));
    let amount = sent.only("amount").expect("an amount");
    let minor = amount.only("amount").and_then(Json::whole);
    assert_eq!(minor, Some(i128::from(job.amount.minor())));
    assert_eq!(
        amount.text_of("currency"),
        Some(job.amount.currency().as_str())
    );
}

fn has_reasons(unreadable: &Unreadable, bytes: &[u8]) {
    for reason in unreadable.reason.split(',') {
        assert!(
            REASONS.contains(&reason),
            "{reason:?} is a reason of no rule"
        );
    }
    assert_eq!(unreadable.reason == "too_large", bytes.len() > MAX_BYTES);
    assert_eq!(unreadable.reason == "empty", bytes.is_empty());
    assert_tells(&unreadable.words, WORDS_MAX_BYTES);
    assert_no_card_in(&unreadable.words);
    let seen = &unreadable.seen;
    let fields = Json::of(bytes).unwrap_or(Json::Null);
    if let Some(id) = &seen.entity_id {
        assert_eq!(fields.text_of("entity_id"), Some(id.as_str()), "a guess");
    }
    if let Some(card) = &seen.card_id {
        assert_eq!(fields.text_of("card_id"), Some(card.as_str()), "a guess");
    }
    if let Some(operation) = seen.operation {
        assert_eq!(
            fields.text_of("operation"),
            Some(operation.as_str()),
            "a guess"
        );
    }
    if let Some(amount) = seen.amount {
        let minor = fields
            .only("amount")
            .and_then(|money| money.only("amount")?.whole());
        assert_eq!(minor, Some(i128::from(amount.minor())), "a guess");
    }
}
