//! The bank's bodies: `POST` and `GET /v1/cards/{card_id}/prepaid/operations`.
//!
//! *What it promises.* [`request_body`] gives the same bytes for the same job, for ever: resends
//! are byte-identical (I8), and the ledger keeps their hash.
//!
//! *What it refuses to know.* Statuses and headers.

use serde::{Deserialize, Serialize};

use super::object;
use crate::domain::job::Job;

/// The header that carries the idempotency key.
pub const KEY_HEADER: &str = "x-idempotency-key";
/// The smallest and largest page that the list gives (the bank's page: 10..500).
pub const PAGE_SIZES: std::ops::RangeInclusive<u32> = 10..=500;

/// The body of an operation, in its one field order.
#[derive(Debug, Serialize, Deserialize)]
pub struct OperationRequest {
    /// How much.
    pub amount: Money,
    /// Text for the list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The job's name; optional at the bank, always sent by us.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entity_id: Option<String>,
    /// `topup` or `withdrawal`.
    pub operation: String,
}

/// Minor units and a currency.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Money {
    /// Minor units.
    pub amount: i64,
    /// Three letters.
    pub currency: String,
}

/// The bytes that are sent for a job.
#[must_use]
pub fn request_body(job: &Job) -> Vec<u8> {
    let body = OperationRequest {
        amount: Money {
            amount: job.amount.minor(),
            currency: job.amount.currency().as_str().to_owned(),
        },
        description: job.description.clone(),
        entity_id: Some(job.entity_id.as_str().to_owned()),
        operation: job.operation.as_str().to_owned(),
    };
    serde_json::to_vec(&body).expect("strings and integers always serialise")
}

/// The bank's error envelope. All four fields must be there, else it is not the bank speaking.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Envelope {
    /// Display text of the status; never matched on.
    pub code: String,
    /// Each error.
    #[serde(deserialize_with = "object::each")]
    pub errors: Vec<EnvelopeError>,
    /// The `log_…` id.
    pub id: String,
    /// Text for people.
    pub message: String,
}

impl Envelope {
    /// The envelope that these bytes are; `None` where they are anything else.
    #[must_use]
    pub fn read(bytes: &[u8]) -> Option<Self> {
        object::read_text(bytes)
    }
}

/// One error of an envelope.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct EnvelopeError {
    /// A stable word; unknown ones are data.
    pub error_code: String,
    /// Text for people.
    #[serde(default)]
    pub message: Option<String>,
    /// Where in the request.
    #[serde(default)]
    pub path: Option<String>,
    /// Further reading.
    #[serde(default)]
    pub url: Option<String>,
}

/// One page of a card's operations. The key of `operations` is read under the names in use at the
/// bank's sibling lists too, because the page itself could not be read.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ListPage {
    /// The rows of this page.
    #[serde(
        alias = "operations",
        alias = "items",
        deserialize_with = "object::each"
    )]
    pub data: Vec<ListRow>,
    /// Where this page stands.
    #[serde(deserialize_with = "object::one")]
    pub pagination: Pagination,
}

impl ListPage {
    /// The page that these bytes are; `None` where they are anything else.
    #[must_use]
    pub fn read(bytes: &[u8]) -> Option<Self> {
        object::read_text(bytes)
    }
}

/// One listed operation; all but amount and operation may be missing.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ListRow {
    /// `cbo_…`
    #[serde(default)]
    pub id: Option<String>,
    /// The card.
    #[serde(default)]
    pub card_id: Option<String>,
    /// As it was sent.
    #[serde(default)]
    pub entity_id: Option<String>,
    /// `topup` or `withdrawal`.
    pub operation: String,
    /// How much.
    #[serde(deserialize_with = "object::one")]
    pub amount: Money,
    /// As it was sent.
    #[serde(default)]
    pub description: Option<String>,
    /// RFC 3339, UTC.
    #[serde(default)]
    pub performed_at: Option<String>,
}

/// Where a page stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pagination {
    /// From 1.
    pub page_number: u64,
    /// Rows on a page.
    pub page_size: u64,
    /// Rows in all.
    pub total_items: u64,
    /// Pages in all.
    pub total_pages: u64,
}

/// Whether these bytes are one JSON value, whatever it says. Keeps nothing of it.
#[must_use]
pub fn is_json(bytes: &[u8]) -> bool {
    // What is ignored is not checked for UTF-8, so check before.
    std::str::from_utf8(bytes)
        .is_ok_and(|text| serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::job::Draft;
    use crate::domain::money::Currencies;

    #[test]
    fn i8_the_body_has_one_order_and_integers_only() {
        let mut draft = Draft {
            entity_id: "NOM-1".to_owned(),
            card_id: "car_5tgliBmzjZ6mpQPRbQjfKj".to_owned(),
            operation: "topup".to_owned(),
            amount_minor: 5_000_000,
            currency: "COP".to_owned(),
            description: Some("Nómina \"nov\"".to_owned()),
            not_after: None,
        };
        let body = |draft: &Draft| {
            let job = draft.validate(&Currencies::default()).expect("a job");
            String::from_utf8(request_body(&job)).expect("UTF-8")
        };
        assert_eq!(
            body(&draft),
            r#"{"amount":{"amount":5000000,"currency":"COP"},"description":"Nómina \"nov\"","entity_id":"NOM-1","operation":"topup"}"#
        );
        draft.description = None;
        assert_eq!(
            body(&draft),
            r#"{"amount":{"amount":5000000,"currency":"COP"},"entity_id":"NOM-1","operation":"topup"}"#
        );
    }
}
