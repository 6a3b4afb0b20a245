//! What stands in a message besides its body.
//!
//! *What it promises.* Whatever a stranger puts into properties and headers is read or left out, never
//! trusted: texts are bounded, a wrong type is no error. What a message claims to be is compared with
//! what it must be. Of foreign headers only named ones are carried on.
//!
//! *What it refuses to know.* Bodies: [`wire`] reads and writes them.

use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable, ShortString};

use crate::domain::outcome::Status;
use crate::engine::ports::{Letter, StoredOutcome};
use crate::wire;
use crate::wire::envelope::{Envelope, carried, traceparent};
use crate::wire::job::Unreadable;
use crate::wire::outcome::OutcomeMessage;

/// On disk, not in memory alone.
pub(super) const PERSISTENT: u8 = 2;
/// The header of W3C trace context.
const TRACEPARENT: &str = "traceparent";
/// The header that says that an outcome had been published before.
const REPLAY: &str = "replay";
const BATCH_ID: &str = "batch_id";
const LINE: &str = "line";
/// Each header of a dead letter is cut to this: enough for a sentence, and 16 KiB hold them all.
const HEADER_MAX_BYTES: usize = 1_024;

/// What travels with a job: its envelope, and the line of its file.
#[must_use]
pub fn envelope_of(properties: &BasicProperties) -> (Envelope, Option<u64>) {
    let short = |text: &Option<ShortString>| text.as_ref().and_then(|it| carried(it.as_str()));
    let headers = properties.headers().as_ref();
    let header = |name: &str| headers.and_then(|headers| text_of(headers.inner().get(name)?));
    let envelope = Envelope {
        correlation_id: short(properties.correlation_id()),
        traceparent: header(TRACEPARENT).and_then(|text| traceparent(&text)),
        reply_to: short(properties.reply_to()),
        batch_id: header(BATCH_ID).and_then(|text| carried(&text)),
    };
    let line = headers.and_then(|headers| whole_of(headers.inner().get(LINE)?));
    (envelope, line)
}

/// Why a message is no job by what it claims to be; none where it may be one. What it does not say is
/// no claim.
#[must_use]
pub fn wrong_claim(properties: &BasicProperties) -> Option<Unreadable> {
    let claim = |text: &Option<ShortString>| {
        let text = text
            .as_ref()
            .map(|it| it.as_str().trim().to_ascii_lowercase());
        text.filter(|text| !text.is_empty())
    };
    if claim(properties.kind()).is_some_and(|kind| kind != wire::job::SCHEMA) {
        let words = format!("its type is not {}", wire::job::SCHEMA);
        return Some(Unreadable::new("message_type", words));
    }
    let media_type = claim(properties.content_type());
    let media_type = media_type
        .as_deref()
        .map(|it| it.split(';').next().unwrap_or(it).trim());
    if media_type.is_some_and(|it| it != wire::job::CONTENT_TYPE) {
        let words = format!("its content type is not {}", wire::job::CONTENT_TYPE);
        return Some(Unreadable::new("content_type", words));
    }
    let encoding = claim(properties.content_encoding());
    if encoding.is_some_and(|it| !matches!(it.as_str(), "utf-8" | "utf8" | "identity")) {
        let words = "its content encoding is not utf-8: nothing is unpacked here".to_owned();
        return Some(Unreadable::new("content_encoding", words));
    }
    None
}

/// The properties of a job's message.
#[must_use]
pub fn of_job(envelope: &Envelope, line: Option<u64>) -> BasicProperties {
    let mut headers = headers_of(envelope);
    if let Some(line) = line.and_then(|line| i64::try_from(line).ok()) {
        headers.insert(LINE.into(), AMQPValue::LongLongInt(line));
    }
    plain(envelope)
        .with_type(wire::job::SCHEMA.into())
        .with_content_type(wire::job::CONTENT_TYPE.into())
        .with_headers(headers)
}

/// The properties of an outcome's message.
#[must_use]
pub fn of_outcome(outcome: &StoredOutcome) -> BasicProperties {
    let mut headers = headers_of(&outcome.envelope);
    headers.insert(REPLAY.into(), AMQPValue::Boolean(outcome.published));
    plain(&outcome.envelope)
        .with_type(wire::outcome::SCHEMA.into())
        .with_content_type(wire::job::CONTENT_TYPE.into())
        .with_message_id(outcome.event_id.to_string().into())
        .with_headers(headers)
}

/// The properties of a dead letter.
#[must_use]
pub fn of_letter(outcome: &StoredOutcome, letter: &Letter) -> BasicProperties {
    let message = OutcomeMessage::decode(&outcome.body);
    let bank = message.as_ref().and_then(|message| message.bank.as_ref());
    let first_error = bank.and_then(|bank| bank.errors.first());
    let reason = message
        .as_ref()
        .and_then(|message| message.reason.as_deref());
    let (reason, explanation) = match &letter.why {
        Some((reason, words)) => (Some(reason.as_str()), Some(words.as_str())),
        None => (reason, None),
    };
    let mut headers = headers_of(&outcome.envelope);
    let mut add = |name: &str, text: Option<&str>| {
        if let Some(text) = text {
            headers.insert(name.into(), AMQPValue::LongString(cut(text).into()));
        }
    };
    let event_id = outcome.event_id.to_string();
    add("tanda-status", Some(outcome.status.as_str()));
    add("tanda-event-id", Some(&event_id));
    add("tanda-reason", reason);
    add("tanda-explanation", explanation);
    add(
        "tanda-error-code",
        first_error.map(|it| it.error_code.as_str()),
    );
    add("tanda-log-id", bank.and_then(|bank| bank.log_id.as_deref()));
    if let Some(status) = bank.and_then(|bank| bank.http_status) {
        headers.insert(
            "tanda-http-status".into(),
            AMQPValue::LongInt(status.into()),
        );
    }
    let properties = plain(&outcome.envelope)
        .with_message_id(event_id.into())
        .with_headers(headers);
    if outcome.status == Status::Invalid {
        // Whatever it is, it is no job.
        return properties;
    }
    properties
        .with_type(wire::job::SCHEMA.into())
        .with_content_type(wire::job::CONTENT_TYPE.into())
}

fn plain(envelope: &Envelope) -> BasicProperties {
    let properties = BasicProperties::default()
        .with_delivery_mode(PERSISTENT)
        .with_app_id("tanda".into());
    match &envelope.correlation_id {
        Some(id) => properties.with_correlation_id(id.as_str().into()),
        None => properties,
    }
}

fn headers_of(envelope: &Envelope) -> FieldTable {
    let mut headers = FieldTable::default();
    for (name, text) in [
        (TRACEPARENT, &envelope.traceparent),
        (BATCH_ID, &envelope.batch_id),
    ] {
        if let Some(text) = text {
            headers.insert(name.into(), AMQPValue::LongString(text.as_str().into()));
        }
    }
    headers
}

/// The longest beginning that fits and ends between two characters.
fn cut(text: &str) -> &str {
    let fits = text.floor_char_boundary(HEADER_MAX_BYTES);
    text.get(..fits).unwrap_or_default()
}

pub(super) fn text_of(value: &AMQPValue) -> Option<String> {
    if let AMQPValue::LongString(text) = value {
        return String::from_utf8(text.as_bytes().to_vec()).ok();
    }
    if let AMQPValue::ShortString(text) = value {
        return Some(text.as_str().to_owned());
    }
    None
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "whatever is no whole number is none, also what lapin may know in future"
)]
pub(super) fn whole_of(value: &AMQPValue) -> Option<u64> {
    match *value {
        AMQPValue::ShortShortInt(number) => u64::try_from(number).ok(),
        AMQPValue::ShortShortUInt(number) => Some(number.into()),
        AMQPValue::ShortInt(number) => u64::try_from(number).ok(),
        AMQPValue::ShortUInt(number) => Some(number.into()),
        AMQPValue::LongInt(number) => u64::try_from(number).ok(),
        AMQPValue::LongUInt(number) => Some(number.into()),
        AMQPValue::LongLongInt(number) => u64::try_from(number).ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(entries: &[(&str, AMQPValue)]) -> FieldTable {
        let mut table = FieldTable::default();
        for (name, value) in entries {
            table.insert((*name).into(), value.clone());
        }
        table
    }

    fn long(text: &str) -> AMQPValue {
        AMQPValue::LongString(text.into())
    }

    #[test]
    fn what_is_written_for_a_job_is_read_again() {
        let envelope = Envelope {
            correlation_id: Some("c-1".to_owned()),
            traceparent: Some("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".to_owned()),
            reply_to: None,
            batch_id: Some("b_1".to_owned()),
        };
        let properties = of_job(&envelope, Some(17));
        assert_eq!(envelope_of(&properties), (envelope, Some(17)));
        assert_eq!(wrong_claim(&properties), None);
        assert_eq!(wrong_claim(&BasicProperties::default()), None);
    }

    #[test]
    fn hostile_headers_are_left_out() {
        let headers = table(&[
            ("traceparent", long("no")),
            (
                "batch_id",
                AMQPValue::FieldTable(table(&[("x", AMQPValue::Void)])),
            ),
            ("line", long("17")),
            ("other", long("kept by nobody")),
        ]);
        let properties = BasicProperties::default()
            .with_correlation_id("a\nb".into())
            .with_headers(headers);
        assert_eq!(envelope_of(&properties), (Envelope::default(), None));
        let bytes = AMQPValue::LongString([0xff_u8, 0xfe].as_slice().into());
        let properties = BasicProperties::default().with_headers(table(&[("batch_id", bytes)]));
        assert_eq!(envelope_of(&properties).0, Envelope::default());
        let negative = table(&[("line", AMQPValue::LongInt(-1))]);
        let properties = BasicProperties::default().with_headers(negative);
        assert_eq!(envelope_of(&properties).1, None);
    }

    #[test]
    fn a_message_must_be_what_it_claims() {
        let of = |properties: BasicProperties| wrong_claim(&properties).map(|it| it.reason);
        let base = BasicProperties::default;
        assert_eq!(
            of(base().with_content_type("application/json; charset=utf-8".into())),
            None
        );
        assert_eq!(
            of(base().with_content_type("Application/JSON".into())),
            None
        );
        assert_eq!(
            of(base().with_content_type("text/csv".into())).as_deref(),
            Some("content_type")
        );
        assert_eq!(
            of(base().with_type("tanda.job.v2".into())).as_deref(),
            Some("message_type")
        );
        assert_eq!(
            of(base().with_content_encoding("gzip".into())).as_deref(),
            Some("content_encoding")
        );
    }
}
