//! The outcome message, `tanda.outcome.v1`: what is told about a job, once and for all.
//!
//! *What it promises.* Encoded once; every publication has the same bytes (I4). Only the fields
//! below leave the house: no token, no header, no raw body of the bank.
//!
//! *What it refuses to know.* Who reads it, and how it gets there.

use serde::{Deserialize, Serialize};

use super::bank::Money;
use super::job::Unreadable;
use crate::domain::job::{EntityId, Job, Operation};
use crate::domain::key::{EventId, Generation, IdempotencyKey};
use crate::domain::money::{Amount, Currency};
use crate::domain::outcome::{Evidence, Outcome, Status};
use crate::domain::time::Timestamp;

/// The name of this shape and its version.
pub const SCHEMA: &str = "tanda.outcome.v1";

/// The message, in its one field order. What could not be read is null.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutcomeMessage {
    /// [`SCHEMA`].
    pub schema: String,
    /// The same for every publication of this outcome.
    pub event_id: String,
    /// Orders interim and final outcomes of one generation, from 1.
    pub seq: u32,
    /// The job's name.
    pub entity_id: Option<String>,
    /// The card, whole.
    pub card_id: Option<String>,
    /// `topup` or `withdrawal`.
    pub operation: Option<String>,
    /// Minor units.
    pub amount: Option<Money>,
    /// See [`Status`].
    pub status: String,
    /// Whether nothing changes it any more.
    #[serde(rename = "final")]
    pub is_final: bool,
    /// What went to the bank as `x-idempotency-key`.
    pub idempotency_key: Option<String>,
    /// 1, 2, …
    pub generation: Option<u32>,
    /// Calls made.
    pub attempts: u32,
    /// The bank's own words, where it spoke.
    pub bank: Option<BankWords>,
    /// Why, in a stable word.
    pub reason: Option<String>,
    /// The batch it came from.
    pub batch_id: Option<String>,
    /// The line of its file.
    pub line: Option<u64>,
    /// When its source offered it.
    pub received_at: Option<String>,
    /// When this became true for us.
    pub settled_at: String,
}

/// What the bank said.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BankWords {
    /// The status of its answer.
    pub http_status: Option<u16>,
    /// Display text of the status.
    pub code: Option<String>,
    /// Text for people.
    pub message: Option<String>,
    /// Each error it named.
    pub errors: Vec<BankError>,
    /// Its `log_…` id.
    pub log_id: Option<String>,
    /// Its `cbo_…` id, where the list was asked.
    pub operation_id: Option<String>,
}

/// One error that the bank named.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BankError {
    /// A stable word.
    pub error_code: String,
    /// Text for people.
    pub message: String,
    /// Where in the request.
    pub path: Option<String>,
}

/// What an outcome message says besides the job.
#[derive(Clone, Copy, Debug)]
pub struct Circumstances<'a> {
    /// Its event id.
    pub event_id: EventId,
    /// Its place among the outcomes of its generation.
    pub seq: u32,
    /// The generation.
    pub generation: Generation,
    /// The key that went to the bank.
    pub key: IdempotencyKey,
    /// Calls made.
    pub attempts: u32,
    /// The line of its file, if any.
    pub line: Option<u64>,
    /// The batch, if any.
    pub batch_id: Option<&'a str>,
    /// When its source offered it.
    pub received_at: Timestamp,
    /// When it became true for us.
    pub settled_at: Timestamp,
}

/// The message of an outcome of a job.
#[must_use]
pub fn of_job(job: &Job, outcome: &Outcome, about: Circumstances<'_>) -> OutcomeMessage {
    OutcomeMessage {
        bank: bank_words(outcome),
        reason: outcome.reason().map(str::to_owned),
        ..about_message(job, outcome.status(), about)
    }
}

/// The message that a copy of a job says something else than the job: it was not sent.
#[must_use]
pub fn of_conflict(copy: &Job, about: Circumstances<'_>) -> OutcomeMessage {
    OutcomeMessage {
        reason: Some("other_content_under_this_entity_id".to_owned()),
        idempotency_key: None,
        attempts: 0,
        ..about_message(copy, Status::Conflict, about)
    }
}

/// The message that a message was no valid job, with what could be read of it.
#[must_use]
pub fn of_invalid(
    unreadable: &Unreadable,
    event_id: EventId,
    received_at: Timestamp,
    settled_at: Timestamp,
) -> OutcomeMessage {
    let seen = &unreadable.seen;
    OutcomeMessage {
        schema: SCHEMA.to_owned(),
        event_id: event_id.to_string(),
        seq: 1,
        entity_id: seen.entity_id.as_ref().map(|id| id.as_str().to_owned()),
        card_id: seen.card_id.as_ref().map(|id| id.as_str().to_owned()),
        operation: seen
            .operation
            .map(|operation| operation.as_str().to_owned()),
        amount: seen.amount.map(|amount| Money {
            amount: amount.minor(),
            currency: amount.currency().as_str().to_owned(),
        }),
        status: Status::Invalid.as_str().to_owned(),
        is_final: Status::Invalid.is_final(),
        idempotency_key: None,
        generation: None,
        attempts: 0,
        bank: None,
        reason: Some(unreadable.reason.clone()),
        batch_id: None,
        line: None,
        received_at: Some(received_at.to_string()),
        settled_at: settled_at.to_string(),
    }
}

/// What is still known of the outcome of a job that was pruned: its event id says that it is the
/// same, its reason is kept, what it said besides is gone.
#[must_use]
pub fn of_pruned(
    entity_id: &EntityId,
    generation: Generation,
    status: Status,
    reason: Option<String>,
    event_id: EventId,
    settled_at: Timestamp,
) -> OutcomeMessage {
    OutcomeMessage {
        schema: SCHEMA.to_owned(),
        event_id: event_id.to_string(),
        seq: 1,
        entity_id: Some(entity_id.as_str().to_owned()),
        card_id: None,
        operation: None,
        amount: None,
        status: status.as_str().to_owned(),
        is_final: status.is_final(),
        idempotency_key: None,
        generation: Some(generation.get()),
        attempts: 0,
        bank: None,
        reason: reason.or_else(|| Some("pruned".to_owned())),
        batch_id: None,
        line: None,
        received_at: None,
        settled_at: settled_at.to_string(),
    }
}

fn about_message(job: &Job, status: Status, about: Circumstances<'_>) -> OutcomeMessage {
    OutcomeMessage {
        schema: SCHEMA.to_owned(),
        event_id: about.event_id.to_string(),
        seq: about.seq,
        entity_id: Some(job.entity_id.as_str().to_owned()),
        card_id: Some(job.card_id.as_str().to_owned()),
        operation: Some(job.operation.as_str().to_owned()),
        amount: Some(Money {
            amount: job.amount.minor(),
            currency: job.amount.currency().as_str().to_owned(),
        }),
        status: status.as_str().to_owned(),
        is_final: status.is_final(),
        idempotency_key: Some(about.key.to_string()),
        generation: Some(about.generation.get()),
        attempts: about.attempts,
        bank: None,
        reason: None,
        batch_id: about.batch_id.map(str::to_owned),
        line: about.line,
        received_at: Some(about.received_at.to_string()),
        settled_at: about.settled_at.to_string(),
    }
}

fn bank_words(outcome: &Outcome) -> Option<BankWords> {
    match outcome {
        Outcome::Succeeded(Evidence::Answered { http_status }) => Some(BankWords {
            http_status: Some(*http_status),
            ..BankWords::default()
        }),
        Outcome::Succeeded(Evidence::Listed { operation_id }) => Some(BankWords {
            operation_id: operation_id.clone(),
            ..BankWords::default()
        }),
        Outcome::Rejected(refusal) => Some(BankWords {
            http_status: Some(refusal.http_status),
            code: Some(refusal.code.clone()),
            message: Some(refusal.message.clone()),
            errors: refusal
                .errors
                .iter()
                .map(|error| BankError {
                    error_code: error.error_code.clone(),
                    message: error.message.clone(),
                    path: error.path.clone(),
                })
                .collect(),
            log_id: refusal.log_id.clone(),
            operation_id: None,
        }),
        Outcome::NotSent(_)
        | Outcome::NotProven
        | Outcome::Ruled(_)
        | Outcome::InDoubt(_)
        | Outcome::Waiting => None,
    }
}

impl OutcomeMessage {
    /// The bytes to store and to publish.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("strings and integers always serialise")
    }

    /// What was asked for, where it could be read.
    #[must_use]
    pub fn asked_for(&self) -> Option<(Operation, Amount)> {
        let operation = Operation::parse(self.operation.as_deref()?)?;
        let money = self.amount.as_ref()?;
        let amount = Amount::new(money.amount, Currency::parse(&money.currency)?)?;
        Some((operation, amount))
    }

    /// Reads stored bytes; `None` where they are not such a message.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::job::Draft;
    use crate::domain::key::Namespace;
    use crate::domain::money::Currencies;
    use crate::domain::verdict::{Refusal, RefusalError};

    #[test]
    fn a_rejection_reads_as_the_contract_says() {
        let job = Draft {
            entity_id: "NOM-2026-11-0042".to_owned(),
            card_id: "car_5tgliBmzjZ6mpQPRbQjfKj".to_owned(),
            operation: "topup".to_owned(),
            amount_minor: 5_000_000,
            currency: "COP".to_owned(),
            ..Draft::default()
        }
        .validate(&Currencies::default())
        .expect("a job");
        let outcome = Outcome::Rejected(Refusal {
            http_status: 422,
            code: "422 Unprocessable Content".to_owned(),
            message: "Validation errors".to_owned(),
            errors: vec![RefusalError {
                error_code: "missing_field".to_owned(),
                message: "missing".to_owned(),
                path: Some("#/a".to_owned()),
            }],
            log_id: Some("log_7MkW".to_owned()),
        });
        let (namespace, generation) = (Namespace::default(), Generation::FIRST);
        let about = Circumstances {
            event_id: EventId::of_outcome(&namespace, &job.entity_id, generation, Status::Rejected),
            seq: 1,
            generation,
            key: IdempotencyKey::derive(&namespace, &job.entity_id, generation),
            attempts: 1,
            line: Some(17),
            batch_id: None,
            received_at: Timestamp::from_millis(0),
            settled_at: Timestamp::from_millis(1),
        };
        let message = of_job(&job, &outcome, about);
        let bytes = message.encode();
        assert_eq!(OutcomeMessage::decode(&bytes), Some(message));
        let text = String::from_utf8(bytes).expect("UTF-8");
        assert!(
            text.starts_with(r#"{"schema":"tanda.outcome.v1","event_id":""#),
            "{text}"
        );
        for part in [
            r#""seq":1,"entity_id":"NOM-2026-11-0042","card_id":"car_5tgliBmzjZ6mpQPRbQjfKj""#,
            r#""amount":{"amount":5000000,"currency":"COP"},"status":"rejected","final":true"#,
            r#""idempotency_key":"4b098277-e954-41c2-ac8f-80a4f79c9b6c","generation":1,"attempts":1"#,
            r#""bank":{"http_status":422,"code":"422 Unprocessable Content""#,
            r#""log_id":"log_7MkW","operation_id":null},"reason":null,"batch_id":null,"line":17"#,
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
    }

    /// Whatever else the bank answers, in its body or its headers, stays in the house.
    #[test]
    fn s26_an_outcome_has_the_fields_of_the_contract_and_no_other() {
        let fields = |value: &serde_json::Value| -> Vec<String> {
            let fields = value.as_object().expect("an object");
            fields.keys().cloned().collect()
        };
        let schema: serde_json::Value =
            serde_json::from_str(include_str!("schema/outcome.schema.json")).expect("JSON");
        let bank = BankWords {
            errors: vec![BankError {
                error_code: "x".to_owned(),
                message: String::new(),
                path: None,
            }],
            ..BankWords::default()
        };
        let mut message = of_invalid(
            &Unreadable::new("empty", String::new()),
            EventId::from_bytes([0; 16]),
            Timestamp::from_millis(0),
            Timestamp::from_millis(0),
        );
        message.bank = Some(bank);
        let told: serde_json::Value = serde_json::from_slice(&message.encode()).expect("JSON");
        let mut expected = fields(&schema["properties"]);
        expected.sort();
        assert_eq!(fields(&told), expected);
        let words = [
            "http_status",
            "code",
            "message",
            "errors",
            "log_id",
            "operation_id",
        ];
        assert!(
            fields(&told["bank"])
                .iter()
                .all(|name| words.contains(&name.as_str()))
        );
        let words = ["error_code", "message", "path"];
        let error = &told["bank"]["errors"][0];
        assert!(
            fields(error)
                .iter()
                .all(|name| words.contains(&name.as_str()))
        );
    }
}
