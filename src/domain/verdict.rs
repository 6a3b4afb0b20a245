//! What one attempt told us.
//!
//! *What it promises.* Four verdicts and no fifth: a broken wire is a verdict too, so no caller can
//! forget it. Only [`Verdict::Accepted`] and [`Verdict::Refused`] are the bank's word on the job.
//!
//! *What it refuses to know.* HTTP (that is `bank`), and what follows (that is
//! [`progress`](super::progress)).

use std::time::Duration;

/// What one call of the bank told us about the job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The bank's own 2xx: the money moved. The exact code is kept.
    Accepted {
        /// The HTTP status.
        http_status: u16,
    },
    /// The bank refused, in its own words.
    Refused(Refusal),
    /// Provably not executed; says nothing about the job.
    Deferred(Deferral),
    /// Perhaps executed.
    Unclear(Unclarity),
}

/// A refusal in the bank's error envelope.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Refusal {
    /// 400, 403, 404 or 422.
    pub http_status: u16,
    /// Display text of the status; never matched on.
    pub code: String,
    /// The bank's message.
    pub message: String,
    /// Each error the bank names.
    pub errors: Vec<RefusalError>,
    /// The bank's `log_…` id, which its support asks for.
    pub log_id: Option<String>,
}

/// One error inside a refusal.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct RefusalError {
    /// The bank's stable word, such as `missing_field`.
    pub error_code: String,
    /// The bank's message.
    pub message: String,
    /// A JSON pointer into the request, if given.
    pub path: Option<String>,
}

/// Why an attempt was provably not executed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deferral {
    /// 401: the token is missing, expired or wrong.
    CredentialRefused {
        /// The bank's `log_…` id, if any.
        log_id: Option<String>,
    },
    /// 403 while this token has not been proven on another card.
    NotAuthorized {
        /// The bank's `log_…` id, if any.
        log_id: Option<String>,
    },
    /// 429.
    RateLimited {
        /// How long the bank asks us to wait.
        retry_after: Option<Duration>,
    },
    /// DNS, connect or TLS failed before the first byte of the request.
    NoConnection,
}

impl Deferral {
    /// A stable word for records and reasons.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::CredentialRefused { .. } => "credential_refused",
            Self::NotAuthorized { .. } => "not_authorized",
            Self::RateLimited { .. } => "rate_limited",
            Self::NoConnection => "no_connection",
        }
    }
}

/// Why an attempt may or may not have been executed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unclarity {
    /// What happened.
    pub cause: UnclearCause,
    /// The status, where one was read.
    pub http_status: Option<u16>,
    /// How long the bank asks us to wait.
    pub retry_after: Option<Duration>,
    /// The bank's `log_…` id, if any.
    pub log_id: Option<String>,
}

impl Unclarity {
    /// Without status, wait or log id.
    #[must_use]
    pub const fn new(cause: UnclearCause) -> Self {
        Self {
            cause,
            http_status: None,
            retry_after: None,
            log_id: None,
        }
    }
}

/// What made an attempt unclear.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum UnclearCause {
    /// No answer in time, or 408.
    Timeout,
    /// The connection broke after the request began.
    ConnectionBroken,
    /// A 5xx.
    ServerError,
    /// A 409: a key collision or a state conflict; asked about before anything else.
    Conflict,
    /// An answer that could not be read: too large, cut, or not HTTP.
    UnreadableAnswer,
    /// An answer that is not the bank's: a captive portal, a gateway, a wrong base URL.
    NotTheBank,
    /// A status nobody documented.
    UnexpectedStatus,
    /// This process stopped, or the job's task panicked, while the attempt may have been under way.
    Interrupted,
}

impl UnclearCause {
    /// Every cause.
    pub const ALL: [Self; 8] = [
        Self::Timeout,
        Self::ConnectionBroken,
        Self::ServerError,
        Self::Conflict,
        Self::UnreadableAnswer,
        Self::NotTheBank,
        Self::UnexpectedStatus,
        Self::Interrupted,
    ];

    /// A stable word for records and reasons.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::ConnectionBroken => "connection_broken",
            Self::ServerError => "server_error",
            Self::Conflict => "conflict_409",
            Self::UnreadableAnswer => "unreadable_answer",
            Self::NotTheBank => "not_the_bank",
            Self::UnexpectedStatus => "unexpected_status",
            Self::Interrupted => "interrupted",
        }
    }
}

impl Verdict {
    /// A stable word for records: `accepted`, `refused`, `deferred`, `unclear`.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Accepted { .. } => "accepted",
            Self::Refused(_) => "refused",
            Self::Deferred(_) => "deferred",
            Self::Unclear(_) => "unclear",
        }
    }

    /// What stands behind it, in a stable word; none where the verdict says it all.
    #[must_use]
    pub const fn cause(&self) -> Option<&'static str> {
        match self {
            Self::Accepted { .. } | Self::Refused(_) => None,
            Self::Deferred(deferral) => Some(deferral.as_str()),
            Self::Unclear(unclarity) => Some(unclarity.cause.as_str()),
        }
    }

    /// The HTTP status, where one was read.
    #[must_use]
    pub const fn http_status(&self) -> Option<u16> {
        match self {
            Self::Accepted { http_status } => Some(*http_status),
            Self::Refused(refusal) => Some(refusal.http_status),
            Self::Deferred(Deferral::CredentialRefused { .. }) => Some(401),
            Self::Deferred(Deferral::NotAuthorized { .. }) => Some(403),
            Self::Deferred(Deferral::RateLimited { .. }) => Some(429),
            Self::Deferred(Deferral::NoConnection) => None,
            Self::Unclear(unclarity) => unclarity.http_status,
        }
    }

    /// Whether the bank answered the job itself: a 2xx or a refusal.
    #[must_use]
    pub const fn is_answer(&self) -> bool {
        matches!(self, Self::Accepted { .. } | Self::Refused(_))
    }
}
