//! The job message, `tanda.job.v1`: a request as systems put it on the queue.
//!
//! *What it promises.* Read strictly: one JSON object with known fields, each once, money as integers
//! of minor units. What is not a job says why, in stable words and for people, and gives what could be
//! read of it all the same; no value of a stranger is told again. Written in one field order.
//!
//! *What it refuses to know.* How a message travels.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::error::Category;

use super::object;
use crate::domain::job::{CardId, Draft, EntityId, Fault, Job, Operation};
use crate::domain::money::{Amount, Currencies, Currency};

/// The name of this shape and its version: the `type` of its messages.
pub const SCHEMA: &str = "tanda.job.v1";
/// What its messages are.
pub const CONTENT_TYPE: &str = "application/json";
/// The longest message that is read: some fifty times the longest job.
pub const MAX_BYTES: usize = 64 * 1024;
/// The longest name of an unknown field that is told: enough to find a slip of the keyboard, and shorter
/// than any card id.
const NAME_MAX_CHARS: usize = 24;

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct JobMessage {
    entity_id: String,
    card_id: String,
    operation: String,
    #[serde(deserialize_with = "object::one")]
    amount: Money,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    not_after: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Money {
    amount: i64,
    currency: String,
}

/// A message that is no valid job.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unreadable {
    /// Every rule that it breaks, in stable words, with commas between them.
    pub reason: String,
    /// The same for people.
    pub words: String,
    /// What could be read of it.
    pub seen: Seen,
}

/// What could be read of a message that is no valid job.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Its name.
    pub entity_id: Option<EntityId>,
    /// Its card.
    pub card_id: Option<CardId>,
    /// What it wanted done.
    pub operation: Option<Operation>,
    /// How much.
    pub amount: Option<Amount>,
}

impl Unreadable {
    /// A message of which nothing could be read.
    #[must_use]
    pub fn new(reason: &str, words: String) -> Self {
        Self {
            reason: reason.to_owned(),
            words,
            seen: Seen::default(),
        }
    }
}

/// The message of a job.
#[must_use]
pub fn encode(job: &Job) -> Vec<u8> {
    let message = JobMessage {
        entity_id: job.entity_id.as_str().to_owned(),
        card_id: job.card_id.as_str().to_owned(),
        operation: job.operation.as_str().to_owned(),
        amount: Money {
            amount: job.amount.minor(),
            currency: job.amount.currency().as_str().to_owned(),
        },
        description: job.description.clone(),
        not_after: job.not_after.map(|at| at.to_string()),
    };
    serde_json::to_vec(&message).expect("strings and integers always serialise")
}

/// Reads the body of a message.
///
/// # Errors
/// [`Unreadable`] where it is not a valid job.
pub fn decode(body: &[u8], currencies: &Currencies) -> Result<Job, Box<Unreadable>> {
    if body.len() > MAX_BYTES {
        let words = format!(
            "the message has {} bytes; a job has at most {MAX_BYTES}",
            body.len()
        );
        return Err(Box::new(Unreadable::new("too_large", words)));
    }
    if body.is_empty() {
        let words = "the message is empty".to_owned();
        return Err(Box::new(Unreadable::new("empty", words)));
    }
    let message: JobMessage = object::read(body).map_err(|error| {
        let (reason, words) = shape_fault(&error);
        let mut unreadable = Unreadable::new(reason, words);
        unreadable.seen.entity_id = entity_id_in(body);
        Box::new(unreadable)
    })?;
    let draft = Draft {
        entity_id: message.entity_id,
        card_id: message.card_id,
        operation: message.operation,
        amount_minor: message.amount.amount,
        currency: message.amount.currency,
        description: message.description,
        not_after: message.not_after,
    };
    draft
        .validate(currencies)
        .map_err(|faults| Box::new(of_faults(&draft, &faults)))
}

fn of_faults(draft: &Draft, faults: &[Fault]) -> Unreadable {
    let mut codes: Vec<_> = faults.iter().map(|fault| fault.code).collect();
    codes.dedup();
    let words: Vec<_> = faults
        .iter()
        .map(|fault| format!("{} {}", fault.field.as_str(), fault.message))
        .collect();
    let currency = Currency::parse(&draft.currency);
    Unreadable {
        reason: codes.join(","),
        words: words.join("; "),
        seen: Seen {
            entity_id: EntityId::parse(&draft.entity_id).ok(),
            card_id: CardId::parse(&draft.card_id).ok(),
            operation: Operation::parse(&draft.operation),
            amount: currency.and_then(|currency| Amount::new(draft.amount_minor, currency)),
        },
    }
}

/// Why a text has not the shape of a job. The library's own words would tell the values again.
fn shape_fault(error: &serde_json::Error) -> (&'static str, String) {
    let place = format!("line {} column {}", error.line(), error.column());
    match error.classify() {
        Category::Syntax | Category::Eof | Category::Io => {
            return ("not_json", format!("not one JSON object (at {place})"));
        }
        Category::Data => {}
    }
    let told = error.to_string();
    let field = told.split('`').nth(1).filter(|name| is_tame(name));
    let named = field.map_or_else(String::new, |name| format!(" {name:?}"));
    let known = [
        (
            "unknown field",
            "unknown_field",
            "there is a field that no job has",
        ),
        (
            "duplicate field",
            "duplicate_field",
            "a field is there twice",
        ),
        ("missing field", "missing_field", "a field is missing"),
    ];
    let found = known
        .into_iter()
        .find(|(prefix, ..)| told.starts_with(prefix));
    match found {
        Some((_, reason, words)) => (reason, format!("{words}:{named} (at {place})")),
        None => (
            "wrong_type",
            format!(
                "a value has the wrong type (at {place}): texts are strings, and money is an \
                 integer of minor units without a fraction or an exponent"
            ),
        ),
    }
}

/// Whether a name may be told: it could hold anything.
fn is_tame(name: &str) -> bool {
    let digits = name.bytes().filter(u8::is_ascii_digit).count();
    name.chars().count() <= NAME_MAX_CHARS
        && digits < 13
        && name
            .chars()
            .all(|c| c.is_alphanumeric() || c == '_' || c == '-')
}

/// The name in a message of which nothing else can be used; none where it is there twice, for it would
/// be a guess which one is meant.
fn entity_id_in(body: &[u8]) -> Option<EntityId> {
    #[derive(Deserialize)]
    struct Named {
        entity_id: Value,
    }
    // What is ignored is read less strictly.
    serde_json::from_slice::<Value>(body).ok()?;
    let named: Named = object::read(body).ok()?;
    EntityId::parse(named.entity_id.as_str()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"{"entity_id":"NOM-1","card_id":"car_5tgliBmzjZ6mpQPRbQjfKj","operation":"topup","amount":{"amount":5000000,"currency":"COP"},"description":"Nómina","not_after":"2026-11-30T23:59:59-05:00"}"#;

    fn refused(body: &[u8]) -> Unreadable {
        *decode(body, &Currencies::default()).expect_err("no job")
    }

    #[test]
    fn a_job_reads_as_the_contract_says_and_reads_back_what_it_writes() {
        let job = decode(GOOD.as_bytes(), &Currencies::default()).expect("a job");
        assert_eq!(job.entity_id.as_str(), "NOM-1");
        assert_eq!(job.amount.minor(), 5_000_000);
        let again = decode(&encode(&job), &Currencies::default()).expect("our own");
        assert_eq!(again, job);
        let plain = GOOD.replace(r#""Nómina""#, "null");
        let job = decode(plain.as_bytes(), &Currencies::default()).expect("a job");
        assert_eq!(job.description, None);
    }

    /// S4 and the strictness of the contract: each of these is refused for its own reason.
    #[test]
    fn s4_what_is_not_exactly_a_job_is_refused_with_the_reason() {
        let with = |from: &str, to: &str| GOOD.replace(from, to);
        for (body, reason) in [
            (String::new(), "empty"),
            ("x".to_owned(), "not_json"),
            ("[]".to_owned(), "wrong_type"),
            ("null".to_owned(), "wrong_type"),
            (
                r#"["A","car_5tgliBmzjZ6mpQPRbQjfKj","topup",{"amount":1,"currency":"COP"}]"#
                    .to_owned(),
                "wrong_type",
            ),
            (
                with(
                    r#"{"amount":5000000,"currency":"COP"}"#,
                    r#"[5000000,"COP"]"#,
                ),
                "wrong_type",
            ),
            (format!("{GOOD}{GOOD}"), "not_json"),
            (format!("\u{feff}{GOOD}"), "not_json"),
            (GOOD[..GOOD.len() - 1].to_owned(), "not_json"),
            ("{}".to_owned(), "missing_field"),
            (with("5000000", "5000000.0"), "wrong_type"),
            (with("5000000", "5e6"), "wrong_type"),
            (with("5000000", "-0"), "wrong_type"),
            (with("5000000", "\"5000000\""), "wrong_type"),
            (with("5000000", "99999999999999999999"), "wrong_type"),
            (with("5000000", "0x10"), "not_json"),
            (with("5000000", "+5"), "not_json"),
            (with("5000000", "05"), "not_json"),
            (with("5000000", "0"), "amount_range"),
            (with("5000000", "9007199254740992"), "amount_range"),
            (with("COP", "cop"), "currency"),
            (with("\"topup\"", "\"TOPUP\""), "operation"),
            (with("NOM-1", " NOM-1"), "entity_id_space"),
            (with("\"NOM-1\"", "17"), "wrong_type"),
            (with("{\"entity", "{\"x\":1,\"entity"), "unknown_field"),
            (
                with("\"currency\"", "\"cents\":1,\"currency\""),
                "unknown_field",
            ),
            (
                with("{\"entity", "{\"operation\":\"topup\",\"entity"),
                "duplicate_field",
            ),
            (
                with("{\"amount\":5", "{\"amount\":1,\"amount\":5"),
                "duplicate_field",
            ),
            (with("2026-11-30T23:59:59-05:00", "tomorrow"), "not_after"),
        ] {
            assert_eq!(refused(body.as_bytes()).reason, reason, "{body}");
        }
        assert_eq!(refused(&[0xff, 0xfe, 0x7b]).reason, "not_json");
        assert_eq!(refused(&vec![b' '; MAX_BYTES + 1]).reason, "too_large");
        let deep = "[".repeat(MAX_BYTES / 2);
        assert_eq!(refused(deep.as_bytes()).reason, "wrong_type");
    }

    #[test]
    fn what_can_be_read_of_it_is_kept_and_nothing_is_guessed() {
        let short = refused(GOOD.replace("KfKj", "").replace("fKj", "").as_bytes());
        assert_eq!(short.reason, "card_id");
        assert_eq!(short.seen.entity_id.expect("readable").as_str(), "NOM-1");
        assert_eq!(short.seen.card_id, None);
        assert_eq!(short.seen.amount.expect("readable").minor(), 5_000_000);
        let float = refused(GOOD.replace("5000000", "1.5").as_bytes());
        assert_eq!(float.seen.entity_id.expect("readable").as_str(), "NOM-1");
        for first in ["", "\"x\":1,"] {
            let twice = format!("{{{first}\"entity_id\":\"OTHER\",\"entity");
            let twice = GOOD.replace("{\"entity", &twice);
            assert_eq!(refused(twice.as_bytes()).seen, Seen::default(), "{twice}");
        }
    }

    /// I12: what a stranger wrote is not told again.
    #[test]
    fn i12_the_reason_tells_no_value_again() {
        for body in [
            GOOD.replace("5000000", "\"4111111111111111\""),
            GOOD.replace("\"car_5tgliBmzjZ6mpQPRbQjfKj\"", "4111111111111111"),
            GOOD.replace("{\"entity", "{\"4111111111111111\":1,\"entity"),
            GOOD.replace("car_5tgliBmzjZ6mpQPRbQjfKj", "4111111111111111"),
            GOOD.replace("{\"entity", "{\"car_5tgliBmzjZ6mpQPRbQjfKj\":1,\"entity"),
        ] {
            let told = format!("{:?}", refused(body.as_bytes()));
            assert!(!told.contains("4111") && !told.contains("jZ6mpQ"), "{told}");
        }
    }
}
