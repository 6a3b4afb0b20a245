//! Requests and replies as values, so that the bank can be asked without a socket.
//!
//! *What it promises.* A [`Reply`] says all that a wire has to do: what to send, when, and how the
//! connection ends. A [`Request`] never prints its credential or its card (I12).
//!
//! *What it refuses to know.* Any HTTP library.

use std::fmt;
use std::time::Duration;

/// One request.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    /// `GET`, `POST`, …
    pub method: &'a str,
    /// Path and query, as they stand in the request line.
    pub target: &'a str,
    /// The value of `Authorization`.
    pub authorization: Option<&'a str>,
    /// The value of `x-idempotency-key`.
    pub key: Option<&'a str>,
    /// The body.
    pub body: &'a [u8],
}

impl fmt::Debug for Request<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("method", &self.method)
            .field("key", &self.key)
            .field("body_bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}

/// What becomes of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// How long to wait before doing it.
    pub delay: Duration,
    /// What to do.
    pub act: Act,
}

/// What a wire does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// Sends the answer.
    Answer(Answer),
    /// Sends only the first bytes of the answer, then closes. They are never the whole answer,
    /// and may be none.
    Cut {
        /// The answer.
        answer: Answer,
        /// How many bytes of it are sent, counted from its status line.
        bytes: usize,
    },
    /// Resets the connection without a byte.
    Reset,
    /// Never answers, and keeps the connection open.
    Hang,
    /// There is no bank: the connection could not even be made.
    Refused,
}

/// An answer over HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// The value of `Date`.
    pub date: String,
    /// The value of `Content-Type`, where there is a body.
    pub content_type: Option<&'static str>,
    /// The value of `Retry-After`, if any.
    pub retry_after: Option<String>,
    /// Its body.
    pub body: Vec<u8>,
}
