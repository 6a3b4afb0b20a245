//! From what came back to a verdict: the one place that decides whether money may have moved.
//!
//! *What it promises.* Pure and total: every status, body and break has a verdict, written out
//! without a catch-all arm. Only what was provably not executed is `Deferred`; only the bank's own
//! words are `Accepted` or `Refused` (I5, I14). Its texts come out bounded and without control
//! characters, as whoever answered may have written anything.
//!
//! *What it refuses to know.* Sockets, clocks, and what follows from a verdict.

use std::time::Duration;

use crate::domain::verdict::{Deferral, Refusal, RefusalError, Unclarity, UnclearCause, Verdict};
use crate::wire::bank::{Envelope, is_json};

/// The longest text taken over from the bank: longer ones explain nothing more to a person.
pub const BANK_TEXT_MAX_BYTES: usize = 1024;
/// The most errors taken over from one envelope; with the texts above, at most 64 KiB are kept.
pub const BANK_ERRORS_MAX: usize = 20;

/// What came back of one call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CameBack {
    /// At least the head of an answer.
    Answer(Answer),
    /// No answer.
    Nothing(Break),
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Break {
    /// DNS, connect or TLS failed: not one byte of the request was sent.
    NotSent {
        /// What the system or TLS said, for a person.
        why: String,
    },
    /// The time was over.
    Timeout,
    /// The connection broke after the request may have begun, or what came was not HTTP.
    Connection,
}

/// An answer, as far as it was read. `Debug` shows no body: it may repeat a card id (I12).
#[derive(Clone, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// `content-type`, if it was there and readable.
    pub content_type: Option<String>,
    /// `retry-after` as a wait, if it was there and readable.
    pub retry_after: Option<Duration>,
    /// The body.
    pub body: Body,
}

impl std::fmt::Debug for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Answer")
            .field("status", &self.status)
            .finish_non_exhaustive()
    }
}

/// The body of an answer, as far as it was read. `Debug` shows none of it (I12).
#[derive(Clone, PartialEq, Eq)]
pub enum Body {
    /// All of it.
    Whole(Vec<u8>),
    /// The time was over in its middle.
    TimedOut,
    /// It was cut, garbled, or longer than an answer may be.
    Unreadable,
}

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Whole(bytes) => write!(f, "Whole({} bytes)", bytes.len()),
            Self::TimedOut => f.write_str("TimedOut"),
            Self::Unreadable => f.write_str("Unreadable"),
        }
    }
}

/// What a status alone says about a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum StatusClass {
    /// 2xx.
    Success,
    /// 400, 404, 422: refused, if it is the bank that says so.
    Refusal,
    /// 403: refused, or a token that may do nothing.
    Forbidden,
    /// 401.
    Credential,
    /// 408.
    Timeout,
    /// 409.
    Conflict,
    /// 429.
    RateLimit,
    /// 5xx.
    ServerError,
    /// What nobody documented.
    Unexpected,
}

impl StatusClass {
    const fn of(status: u16) -> Self {
        match status {
            200..=299 => Self::Success,
            400 | 404 | 422 => Self::Refusal,
            401 => Self::Credential,
            403 => Self::Forbidden,
            408 => Self::Timeout,
            409 => Self::Conflict,
            429 => Self::RateLimit,
            500..=599 => Self::ServerError,
            0..=199
            | 300..=399
            | 402
            | 405..=407
            | 410..=421
            | 423..=428
            | 430..=499
            | 600..=u16::MAX => Self::Unexpected,
        }
    }
}

/// What a body is.
pub(super) enum Content {
    /// Nothing, or white space.
    Empty,
    /// The bank's error envelope.
    Envelope(Envelope),
    /// JSON, but not the envelope.
    Json,
    /// Anything else: a page, say.
    Foreign,
    /// Not read to its end in time.
    TimedOut,
    /// Not readable to its end.
    Unreadable,
}

impl Answer {
    /// What its body is. JSON is what parses as JSON and is not declared to be something else.
    pub(super) fn content(&self) -> Content {
        let bytes = match &self.body {
            Body::Whole(bytes) => bytes,
            Body::TimedOut => return Content::TimedOut,
            Body::Unreadable => return Content::Unreadable,
        };
        if bytes.iter().all(u8::is_ascii_whitespace) {
            return Content::Empty;
        }
        if !self.content_type.as_deref().is_none_or(is_json_type) {
            return Content::Foreign;
        }
        match Envelope::read(bytes) {
            Some(envelope) => Content::Envelope(envelope),
            None if is_json(bytes) => Content::Json,
            None => Content::Foreign,
        }
    }

    /// Whether this is the bank speaking: a 2xx that is not a page, or the envelope. Only then is
    /// its `Date` the bank's time.
    pub(super) fn is_the_banks(&self) -> bool {
        let succeeded = StatusClass::of(self.status) == StatusClass::Success;
        match self.content() {
            Content::Envelope(_) => true,
            Content::Empty | Content::Json => succeeded,
            Content::Foreign | Content::TimedOut | Content::Unreadable => false,
        }
    }

    /// The envelope's id for the bank's support, if there is one.
    fn log_id(&self) -> Option<String> {
        match self.content() {
            Content::Envelope(envelope) => log_id_of(&envelope),
            Content::Empty
            | Content::Json
            | Content::Foreign
            | Content::TimedOut
            | Content::Unreadable => None,
        }
    }
}

/// `application/json` or `application/…+json`, parameters aside.
fn is_json_type(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    let essence = essence.to_ascii_lowercase();
    essence == "application/json"
        || (essence.starts_with("application/") && essence.ends_with("+json"))
}

/// The verdict on one call. `token_is_proven`: this token has had a 2xx, 404 or 422 for another
/// card, so that a 403 is about this card and not about the token.
#[must_use]
pub fn classify(came_back: &CameBack, token_is_proven: bool) -> Verdict {
    match came_back {
        CameBack::Nothing(Break::NotSent { .. }) => Verdict::Deferred(Deferral::NoConnection),
        CameBack::Nothing(Break::Timeout) => {
            Verdict::Unclear(Unclarity::new(UnclearCause::Timeout))
        }
        CameBack::Nothing(Break::Connection) => {
            Verdict::Unclear(Unclarity::new(UnclearCause::ConnectionBroken))
        }
        CameBack::Answer(answer) => classify_answer(answer, token_is_proven),
    }
}

fn classify_answer(answer: &Answer, token_is_proven: bool) -> Verdict {
    let unclear = |cause| {
        Verdict::Unclear(Unclarity {
            cause,
            http_status: Some(answer.status),
            retry_after: answer.retry_after,
            log_id: answer.log_id(),
        })
    };
    match StatusClass::of(answer.status) {
        StatusClass::Success => match answer.content() {
            Content::Empty | Content::Json | Content::Envelope(_) => Verdict::Accepted {
                http_status: answer.status,
            },
            Content::Foreign => unclear(UnclearCause::NotTheBank),
            Content::TimedOut => unclear(UnclearCause::Timeout),
            Content::Unreadable => unclear(UnclearCause::UnreadableAnswer),
        },
        class @ (StatusClass::Refusal | StatusClass::Forbidden) => match answer.content() {
            Content::Envelope(envelope) if class == StatusClass::Refusal || token_is_proven => {
                Verdict::Refused(refusal(answer.status, envelope))
            }
            Content::Envelope(envelope) => Verdict::Deferred(Deferral::NotAuthorized {
                log_id: log_id_of(&envelope),
            }),
            Content::Empty | Content::Json | Content::Foreign => unclear(UnclearCause::NotTheBank),
            Content::TimedOut => unclear(UnclearCause::Timeout),
            Content::Unreadable => unclear(UnclearCause::UnreadableAnswer),
        },
        // From here on the status alone decides, whatever became of the body.
        StatusClass::Credential => Verdict::Deferred(Deferral::CredentialRefused {
            log_id: answer.log_id(),
        }),
        StatusClass::RateLimit => Verdict::Deferred(Deferral::RateLimited {
            retry_after: answer.retry_after,
        }),
        StatusClass::Timeout => unclear(UnclearCause::Timeout),
        StatusClass::Conflict => unclear(UnclearCause::Conflict),
        StatusClass::ServerError => unclear(UnclearCause::ServerError),
        StatusClass::Unexpected => unclear(UnclearCause::UnexpectedStatus),
    }
}

fn refusal(http_status: u16, envelope: Envelope) -> Refusal {
    let log_id = log_id_of(&envelope);
    let errors = envelope.errors.into_iter().take(BANK_ERRORS_MAX);
    Refusal {
        http_status,
        code: bounded(&envelope.code),
        message: bounded(&envelope.message),
        errors: errors
            .map(|error| RefusalError {
                error_code: bounded(&error.error_code),
                message: bounded(&error.message.unwrap_or_default()),
                path: error.path.as_deref().map(bounded),
            })
            .collect(),
        log_id,
    }
}

fn log_id_of(envelope: &Envelope) -> Option<String> {
    (!envelope.id.is_empty()).then(|| bounded(&envelope.id))
}

/// At most [`BANK_TEXT_MAX_BYTES`], each control character replaced by U+FFFD.
pub(super) fn bounded(text: &str) -> String {
    let mut out = String::new();
    for character in text.chars() {
        let shown = if disturbs_a_line(character) {
            char::REPLACEMENT_CHARACTER
        } else {
            character
        };
        if out.len() + shown.len_utf8() > BANK_TEXT_MAX_BYTES {
            break;
        }
        out.push(shown);
    }
    out
}

/// Whether a character ends a line, drives a terminal or turns the reading direction round.
fn disturbs_a_line(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{200E}' | '\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2066}'..='\u{2069}' | '\u{FEFF}'
        )
}

#[cfg(test)]
#[path = "classify_tests.rs"]
mod tests;
