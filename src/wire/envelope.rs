//! What travels with a job and its outcomes, and says nothing about money.
//!
//! *What it promises.* Carried through as it came, or not at all: what is too long or not text was left
//! out when the message was read. Encoded for the ledger, which gives it back.
//!
//! *What it refuses to know.* What the ids mean, and which properties of a message carry them.

use serde::{Deserialize, Serialize};

/// The longest `correlation_id`, `reply_to` and `batch_id`, in bytes: AMQP's own bound for the first two.
pub const TEXT_MAX_BYTES: usize = 255;
/// Length of a W3C `traceparent` of version 00, in bytes.
const TRACEPARENT_BYTES: usize = 55;

/// What a job's message carried besides the job.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Envelope {
    /// Whoever sent the job knows its outcomes by this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<String>,
    /// W3C trace context.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
    /// A queue that gets a copy of each outcome, as a courtesy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<String>,
    /// The batch that the job belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch_id: Option<String>,
}

impl Envelope {
    /// For the ledger; none where there is nothing to keep.
    #[must_use]
    pub fn encode(&self) -> Option<String> {
        (*self != Self::default())
            .then(|| serde_json::to_string(self).expect("strings always serialise"))
    }

    /// What [`Envelope::encode`] gave; `None` where it is not that.
    #[must_use]
    pub fn decode(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }
}

/// The text, where it is short and visible enough to be carried on.
#[must_use]
pub fn carried(text: &str) -> Option<String> {
    let fits = !text.is_empty() && text.len() <= TEXT_MAX_BYTES;
    (fits && !text.chars().any(char::is_control)).then(|| text.to_owned())
}

/// The text, where it is a W3C `traceparent` (Trace Context, section 3.2): ids of zeros are none.
#[must_use]
pub fn traceparent(text: &str) -> Option<String> {
    let parts: Vec<_> = text.split('-').collect();
    let lengths: Vec<_> = parts.iter().map(|part| part.len()).collect();
    let is_hex = |c: char| matches!(c, '0'..='9' | 'a'..='f' | '-');
    let fits = text.len() == TRACEPARENT_BYTES && lengths == [2, 32, 16, 2];
    let has_ids = parts
        .iter()
        .skip(1)
        .take(2)
        .all(|id| id.contains(|c| c != '0'));
    let is_one = fits && has_ids && text.chars().all(is_hex) && !text.starts_with("ff");
    is_one.then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_envelope_reads_back_and_an_empty_one_costs_nothing() {
        assert_eq!(Envelope::default().encode(), None);
        let envelope = Envelope {
            correlation_id: Some("ñ \"1\"".to_owned()),
            reply_to: Some("answers".to_owned()),
            ..Envelope::default()
        };
        let text = envelope.encode().expect("something");
        assert_eq!(Envelope::decode(&text), Some(envelope));
        assert_eq!(Envelope::decode("no"), None);
    }

    #[test]
    fn only_what_is_a_traceparent_is_carried_as_one() {
        let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        assert_eq!(traceparent(good).as_deref(), Some(good));
        for text in [
            "",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473-600f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
        ] {
            assert_eq!(traceparent(text), None, "{text}");
        }
        assert_eq!(carried("a\nb"), None);
        assert_eq!(carried(&"x".repeat(256)), None);
    }
}
