//! What came back of a call, [`tanda::bank::classify`].
//!
//! The first bytes are a status, what is declared and how far the answer was read; the rest is its
//! body. `Accepted` is a 2xx that is empty or JSON, `Refused` is the bank's envelope under a status
//! that refuses, both read to their end; nothing else says anything final about money. Whatever a
//! body holds, what is kept of it is short and steers no terminal.

use std::time::Duration;

use tanda::bank::classify::{
    Answer, BANK_ERRORS_MAX, BANK_TEXT_MAX_BYTES, Body, CameBack, classify,
};
use tanda::domain::verdict::{Refusal, UnclearCause, Verdict};

use super::Target;
use super::json::Json;
use super::telling::steers;

pub(super) const TARGET: Target = Target {
    name: "bank_answer",
    body,
    cases: 12_000,
    words: &[
        "\"code\":",
        "\"errors\":",
        "\"id\":",
        "\"message\":",
        "\"error_code\":",
        "\"path\":",
        "\"url\":",
        "[]",
        "{}",
        "[",
        "]",
        "{",
        "}",
        "null",
        "\"\"",
        "\"log_7MkW\"",
        "<html>",
        "\u{c8}\0",
        "\u{c9}\0",
        "\\u001b",
        "\\u202e",
        "\\n",
        "\"code\":\"\",",
    ],
};

/// What an answer may declare itself to be, and whether that leaves it JSON.
const DECLARED: [(Option<&str>, bool); 8] = [
    (None, true),
    (Some("application/json"), true),
    (Some("Application/JSON; charset=utf-8"), true),
    (Some("application/problem+json"), true),
    (Some("text/html"), false),
    (Some("text/json"), false),
    (Some(""), false),
    (Some("application/jsonx"), false),
];
const RETRY_AFTER: Duration = Duration::from_secs(7);

fn body(bytes: &[u8]) {
    let Some((&[low, high, flags], content)) = bytes.split_first_chunk() else {
        return;
    };
    let (content_type, may_be_json) = DECLARED[usize::from(flags & 7)];
    let token_is_proven = flags & 8 != 0;
    let read = match flags >> 4 & 3 {
        0 | 1 => Body::Whole(content.to_vec()),
        2 => Body::TimedOut,
        _ => Body::Unreadable,
    };
    let answer = Answer {
        status: u16::from_le_bytes([low, high]) % 1_000,
        content_type: content_type.map(str::to_owned),
        retry_after: (flags & 64 != 0).then_some(RETRY_AFTER),
        body: read,
    };
    let verdict = classify(&CameBack::Answer(answer.clone()), token_is_proven);
    says_no_more_than_the_bank(&verdict, &answer, may_be_json, token_is_proven);
    tells_little(&verdict);
    stays_unclear_where_it_is_cut(&verdict, &answer, content);
}

fn says_no_more_than_the_bank(
    verdict: &Verdict,
    answer: &Answer,
    may_be_json: bool,
    token_is_proven: bool,
) {
    let whole = match &answer.body {
        Body::Whole(bytes) => Some(bytes.as_slice()),
        Body::TimedOut | Body::Unreadable => None,
    };
    let json = whole.filter(|_| may_be_json).and_then(Json::of);
    let envelope = json.as_ref().filter(|json| is_envelope(json));
    let is_blank = |bytes: &[u8]| bytes.iter().all(u8::is_ascii_whitespace);
    let is_answer = json.is_some() || whole.is_some_and(is_blank);
    let status = answer.status;
    let refuses = [400, 404, 422].contains(&status) || status == 403 && token_is_proven;
    let expected = match status {
        200..=299 if is_answer => "accepted",
        401 | 429 => "deferred",
        403 if envelope.is_some() && !token_is_proven => "deferred",
        _ if refuses && envelope.is_some() => "refused",
        _ => "unclear",
    };
    assert_eq!(verdict.as_str(), expected, "status {status}");
    if let (Verdict::Refused(refusal), Some(envelope)) = (verdict, envelope) {
        says_what_stood_there(refusal, status, envelope);
    }
    if let Verdict::Unclear(unclarity) = verdict {
        assert_eq!(unclarity.http_status, Some(status));
        assert_eq!(unclarity.retry_after, answer.retry_after);
        let is_no_bank = matches!(status, 200..=299 | 400 | 403 | 404 | 422) && whole.is_some();
        assert_eq!(unclarity.cause == UnclearCause::NotTheBank, is_no_bank);
        assert_eq!(unclarity.cause == UnclearCause::Conflict, status == 409);
    }
}

/// The four fields of the bank's envelope, each once and of its type, whatever stands besides.
fn is_envelope(json: &Json) -> bool {
    let are_texts = ["code", "id", "message"]
        .iter()
        .all(|name| json.text_of(name).is_some());
    let errors = json.only("errors").and_then(Json::list);
    json.has_each_once(&["code", "errors", "id", "message"], true)
        && are_texts
        && errors.is_some_and(|errors| errors.iter().all(is_error))
}

fn is_error(error: &Json) -> bool {
    let is_text_or_none = |name: &&str| match error.only(name) {
        None | Some(Json::Null) => true,
        Some(value) => value.text().is_some(),
    };
    error.has_each_once(&["error_code", "message", "path", "url"], true)
        && error.text_of("error_code").is_some()
        && ["message", "path", "url"].iter().all(is_text_or_none)
}

/// The bank's own words, as far as they are kept: each is a beginning of what stood there, with marks
/// in place of what steers.
fn says_what_stood_there(refusal: &Refusal, status: u16, envelope: &Json) {
    let stood = |name| envelope.text_of(name).expect("a text of the envelope");
    assert_eq!(refusal.http_status, status);
    assert_begins(&refusal.code, stood("code"));
    assert_begins(&refusal.message, stood("message"));
    assert_begins(refusal.log_id.as_deref().unwrap_or_default(), stood("id"));
    let errors = envelope
        .only("errors")
        .and_then(Json::list)
        .expect("errors");
    assert_eq!(refusal.errors.len(), errors.len().min(BANK_ERRORS_MAX));
    for (kept, error) in refusal.errors.iter().zip(errors) {
        let stood = |name| error.text_of(name);
        assert_begins(&kept.error_code, stood("error_code").expect("a text"));
        assert_begins(&kept.message, stood("message").unwrap_or_default());
        assert_eq!(kept.path.is_some(), stood("path").is_some());
    }
}

fn assert_begins(kept: &str, stood: &str) {
    for (kept, stood) in kept.chars().zip(stood.chars()) {
        let is_mark = kept == char::REPLACEMENT_CHARACTER;
        assert!(kept == stood || is_mark, "{kept:?} where {stood:?} stood");
    }
    let is_cut = kept.len() + 4 > BANK_TEXT_MAX_BYTES;
    let missing = stood.chars().count() - kept.chars().count();
    assert!(missing == 0 || is_cut, "{missing} characters are missing");
}

fn tells_little(verdict: &Verdict) {
    let texts: Vec<&str> = match verdict {
        Verdict::Accepted { .. } => return,
        Verdict::Refused(refusal) => {
            let errors = refusal.errors.iter().flat_map(|error| {
                [error.error_code.as_str(), &error.message]
                    .into_iter()
                    .chain(error.path.as_deref())
            });
            let own = [refusal.code.as_str(), &refusal.message].into_iter();
            own.chain(refusal.log_id.as_deref()).chain(errors).collect()
        }
        Verdict::Deferred(deferral) => {
            use tanda::domain::verdict::Deferral;
            match deferral {
                Deferral::CredentialRefused { log_id } | Deferral::NotAuthorized { log_id } => {
                    log_id.as_deref().into_iter().collect()
                }
                Deferral::RateLimited { .. } | Deferral::NoConnection => return,
            }
        }
        Verdict::Unclear(unclarity) => unclarity.log_id.as_deref().into_iter().collect(),
    };
    for text in texts {
        assert!(text.len() <= BANK_TEXT_MAX_BYTES, "{} bytes", text.len());
        assert!(!text.chars().any(steers), "{text:?}");
    }
}

/// F27: of an answer that was final, no strict beginning of its body is; where a cut is not even seen
/// (a body without length), it is final only if the beginning is an answer by itself.
fn stays_unclear_where_it_is_cut(verdict: &Verdict, answer: &Answer, content: &[u8]) {
    if matches!(verdict, Verdict::Deferred(_) | Verdict::Unclear(_)) {
        return;
    }
    let cut_seen = Answer {
        body: Body::Unreadable,
        ..answer.clone()
    };
    let told = classify(&CameBack::Answer(cut_seen), true);
    assert_eq!(told.as_str(), "unclear");
    let opens = content.iter().find(|byte| !byte.is_ascii_whitespace());
    if !matches!(opens, Some(b'{' | b'[' | b'"')) {
        return;
    }
    let trimmed = content.trim_ascii_end().len();
    for end in [trimmed / 3, trimmed / 2, trimmed - 1] {
        let beginning = content.get(..end).unwrap_or_default();
        let is_blank = beginning.iter().all(u8::is_ascii_whitespace);
        let body = Body::Whole(beginning.to_vec());
        let told = classify(
            &CameBack::Answer(Answer {
                body,
                ..answer.clone()
            }),
            true,
        );
        let is_final = matches!(told, Verdict::Accepted { .. } | Verdict::Refused(_));
        assert!(
            !is_final || is_blank,
            "{end} of {} bytes are final",
            content.len()
        );
    }
}
