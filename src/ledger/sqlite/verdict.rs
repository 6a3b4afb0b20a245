//! Verdicts as they are kept: JSON in one column.
//!
//! *What it promises.* What is read back is what was written, to the last word of the bank.
//!
//! *What it refuses to know.* Who reads it: the format is this room's own.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::domain::verdict::{Deferral, Refusal, RefusalError, Unclarity, UnclearCause, Verdict};

#[derive(Serialize, Deserialize)]
#[serde(tag = "verdict", rename_all = "snake_case")]
enum Record {
    Accepted {
        http_status: u16,
    },
    Refused {
        http_status: u16,
        code: String,
        message: String,
        errors: Vec<ErrorRecord>,
        log_id: Option<String>,
    },
    Deferred {
        why: String,
        retry_after: Option<Duration>,
        log_id: Option<String>,
    },
    Unclear {
        cause: String,
        http_status: Option<u16>,
        retry_after: Option<Duration>,
        log_id: Option<String>,
    },
}

#[derive(Serialize, Deserialize)]
struct ErrorRecord {
    error_code: String,
    message: String,
    path: Option<String>,
}

/// The text to keep.
pub(super) fn encode(verdict: &Verdict) -> String {
    let record = match verdict.clone() {
        Verdict::Accepted { http_status } => Record::Accepted { http_status },
        Verdict::Refused(refusal) => Record::Refused {
            http_status: refusal.http_status,
            code: refusal.code,
            message: refusal.message,
            errors: refusal.errors.into_iter().map(ErrorRecord::from).collect(),
            log_id: refusal.log_id,
        },
        Verdict::Deferred(deferral) => {
            let why = deferral.as_str().to_owned();
            let (retry_after, log_id) = match deferral {
                Deferral::CredentialRefused { log_id } | Deferral::NotAuthorized { log_id } => {
                    (None, log_id)
                }
                Deferral::RateLimited { retry_after } => (retry_after, None),
                Deferral::NoConnection => (None, None),
            };
            Record::Deferred {
                why,
                retry_after,
                log_id,
            }
        }
        Verdict::Unclear(unclarity) => Record::Unclear {
            cause: unclarity.cause.as_str().to_owned(),
            http_status: unclarity.http_status,
            retry_after: unclarity.retry_after,
            log_id: unclarity.log_id,
        },
    };
    serde_json::to_string(&record).expect("strings and integers always serialise")
}

/// The verdict that was kept; `None` where the text is not one.
pub(super) fn decode(text: &str) -> Option<Verdict> {
    match serde_json::from_str(text).ok()? {
        Record::Accepted { http_status } => Some(Verdict::Accepted { http_status }),
        Record::Refused {
            http_status,
            code,
            message,
            errors,
            log_id,
        } => Some(Verdict::Refused(Refusal {
            http_status,
            code,
            message,
            errors: errors.into_iter().map(RefusalError::from).collect(),
            log_id,
        })),
        Record::Deferred {
            why,
            retry_after,
            log_id,
        } => [
            Deferral::CredentialRefused {
                log_id: log_id.clone(),
            },
            Deferral::NotAuthorized { log_id },
            Deferral::RateLimited { retry_after },
            Deferral::NoConnection,
        ]
        .into_iter()
        .find(|deferral| deferral.as_str() == why)
        .map(Verdict::Deferred),
        Record::Unclear {
            cause,
            http_status,
            retry_after,
            log_id,
        } => {
            let mut causes = UnclearCause::ALL.into_iter();
            let cause = causes.find(|known| known.as_str() == cause)?;
            Some(Verdict::Unclear(Unclarity {
                cause,
                http_status,
                retry_after,
                log_id,
            }))
        }
    }
}

impl From<RefusalError> for ErrorRecord {
    fn from(error: RefusalError) -> Self {
        Self {
            error_code: error.error_code,
            message: error.message,
            path: error.path,
        }
    }
}

impl From<ErrorRecord> for RefusalError {
    fn from(record: ErrorRecord) -> Self {
        Self {
            error_code: record.error_code,
            message: record.message,
            path: record.path,
        }
    }
}
