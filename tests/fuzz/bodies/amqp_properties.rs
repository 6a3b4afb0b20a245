//! The properties and headers of a message, [`tanda::amqp::message`], from the bytes on the wire.
//!
//! What is carried on is bounded, visible, and is what stood there; written for another message and
//! read again it is the same. A message is refused by its claims exactly where it claims to be
//! something else than a job.

use lapin::BasicProperties;
use lapin::protocol::basic::parse_properties;
use tanda::amqp::message::{envelope_of, of_job, wrong_claim};
use tanda::wire::envelope::{Envelope, TEXT_MAX_BYTES};

use super::Target;
use super::telling::assert_tells;

pub(super) const TARGET: Target = Target {
    name: "amqp_properties",
    body,
    cases: 12_000,
    words: &[
        "tanda.job.v1",
        "TANDA.JOB.V1",
        "tanda.job.v2",
        "application/json",
        "utf-8",
        "gzip",
        "traceparent",
        "batch_id",
        "line",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "S\0\0\0\u{4}",
        "F\0\0\0\u{8}",
        "A\0\0\0\u{5}",
        "I\0\0\0\u{11}",
        "t\u{1}",
        "V",
    ],
};

/// Tables in tables are read by recursion in the library, which this target is not about: an input
/// of this length cannot hold enough of them to matter.
const WIRE_MAX_BYTES: usize = 1_024;

fn body(bytes: &[u8]) {
    let bytes = bytes.get(..WIRE_MAX_BYTES).unwrap_or(bytes);
    let Ok((_, properties)) = parse_properties(bytes) else {
        return;
    };
    claims_are_held_against_it(&properties);
    let (envelope, line) = envelope_of(&properties);
    is_bounded_and_as_it_stood(&envelope, &properties);
    let text = envelope.encode();
    let decoded = text
        .as_deref()
        .map(|text| Envelope::decode(text).expect("our own"));
    assert_eq!(decoded.unwrap_or_default(), envelope);
    // Where a copy of the outcome goes is asked of this message alone.
    let passed_on = Envelope {
        reply_to: None,
        ..envelope.clone()
    };
    let again = of_job(&envelope, line);
    assert_eq!(envelope_of(&again), (passed_on, line));
    assert_eq!(wrong_claim(&again), None);
}

fn claims_are_held_against_it(properties: &BasicProperties) {
    let claim = |text: &Option<lapin::types::ShortString>| {
        let text = text.as_ref().map_or("", |text| text.as_str());
        text.trim().to_ascii_lowercase()
    };
    let kind = claim(properties.kind());
    let media = claim(properties.content_type());
    let media = media.split(';').next().unwrap_or_default().trim();
    let encoding = claim(properties.content_encoding());
    let expected = if !["", "tanda.job.v1"].contains(&kind.as_str()) {
        Some("message_type")
    } else if !claim(properties.content_type()).is_empty() && media != "application/json" {
        Some("content_type")
    } else if !["", "utf-8", "utf8", "identity"].contains(&encoding.as_str()) {
        Some("content_encoding")
    } else {
        None
    };
    let refused = wrong_claim(properties);
    assert_eq!(refused.as_ref().map(|it| it.reason.as_str()), expected);
    if let Some(unreadable) = refused {
        assert_tells(&unreadable.words, 256);
    }
}

fn is_bounded_and_as_it_stood(envelope: &Envelope, properties: &BasicProperties) {
    let header = |name: &str| {
        let headers = properties.headers().as_ref()?;
        let value = headers.inner().get(name)?;
        let long = value.as_long_string();
        let long = long.and_then(|text| std::str::from_utf8(text.as_bytes()).ok());
        long.or_else(|| Some(value.as_short_string()?.as_str()))
    };
    let property = |text: &'_ Option<lapin::types::ShortString>| {
        text.as_ref().map(|text| text.as_str().to_owned())
    };
    let is_short_and_visible = |text: &str| {
        (1..=TEXT_MAX_BYTES).contains(&text.len()) && !text.chars().any(char::is_control)
    };
    for (carried, stood) in [
        (
            &envelope.correlation_id,
            property(properties.correlation_id()),
        ),
        (&envelope.reply_to, property(properties.reply_to())),
        (&envelope.batch_id, header("batch_id").map(str::to_owned)),
    ] {
        assert_eq!(*carried, stood.filter(|text| is_short_and_visible(text)));
    }
    let stood = header("traceparent").filter(|text| is_traceparent(text));
    assert_eq!(envelope.traceparent.as_deref(), stood);
}

/// Version, trace id, parent id and flags in lower-case hexadecimal (W3C Trace Context, section 3.2).
fn is_traceparent(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let is_hex = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
    let [version, trace, parent, flags] = parts.as_slice() else {
        return false;
    };
    let lengths = [version.len(), trace.len(), parent.len(), flags.len()];
    let are_ids = [trace, parent].iter().all(|id| id.contains(|c| c != '0'));
    lengths == [2, 32, 16, 2]
        && *version != "ff"
        && are_ids
        && parts.iter().all(|part| part.chars().all(is_hex))
}
