//! What can be wrong with RabbitMQ.
//!
//! *What it promises.* One line says what was being done and what the broker answered; a URL with its
//! password is in none of them.
//!
//! *What it refuses to know.* Exit codes.

use std::time::Duration;

use lapin::ErrorKind;
use lapin::protocol::{AMQPError, AMQPErrorKind, AMQPSoftError};

/// RabbitMQ cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AmqpError {
    /// The URL is none.
    #[error("amqp.url {0}")]
    Url(String),
    /// The broker said no, or broke off.
    #[error("RabbitMQ failed while {doing}")]
    Failed {
        /// What was being done.
        doing: String,
        /// What it said.
        #[source]
        source: lapin::Error,
    },
    /// The broker did not answer in time.
    #[error("RabbitMQ did not answer within {} s while {doing}", .limit.as_secs())]
    Timeout {
        /// What was being done.
        doing: String,
        /// How long it had.
        limit: Duration,
    },
    /// Another worker has this queue.
    #[error(
        "another worker has the queue {queue}: it holds {lock}, which only one can. Stop that one, or \
         give this one a queue and a lock of its own (amqp.jobs_queue, amqp.lock_queue)"
    )]
    Locked {
        /// The queue of jobs.
        queue: String,
        /// The lock.
        lock: String,
    },
    /// What the broker has is not what is wanted.
    #[error("{}", .0.join("\n  "))]
    Differs(Vec<String>),
}

impl AmqpError {
    /// A failure while doing this.
    pub(super) fn failed(doing: impl Into<String>) -> impl FnOnce(lapin::Error) -> Self {
        let doing = doing.into();
        move |source| Self::Failed { doing, source }
    }

    /// Whether the broker refuses this user, or what it may do.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        match self {
            Self::Failed { source, .. } => {
                soft(source) == Some(&AMQPSoftError::ACCESSREFUSED) || is_login_refused(source)
            }
            Self::Url(_) | Self::Timeout { .. } | Self::Locked { .. } | Self::Differs(_) => false,
        }
    }

    /// Whether it will not mend itself.
    #[must_use]
    pub fn is_lasting(&self) -> bool {
        match self {
            Self::Url(_) | Self::Differs(_) => true,
            Self::Failed { .. } | Self::Timeout { .. } | Self::Locked { .. } => false,
        }
    }
}

/// The broker's soft error, which closed the channel.
pub(super) fn soft(error: &lapin::Error) -> Option<&AMQPSoftError> {
    match protocol(error)?.kind() {
        AMQPErrorKind::Soft(soft) => Some(soft),
        AMQPErrorKind::Hard(_) => None,
    }
}

/// The words of a protocol error.
pub(super) fn words(error: &lapin::Error) -> String {
    protocol(error).map_or_else(
        || error.to_string(),
        |error| error.get_message().to_string(),
    )
}

fn protocol(error: &lapin::Error) -> Option<&AMQPError> {
    if let ErrorKind::ProtocolError(error) = error.kind() {
        return Some(error);
    }
    None
}

/// A refused login closes the connection, with this word in what it says.
fn is_login_refused(error: &lapin::Error) -> bool {
    words(error).contains("ACCESS_REFUSED")
}
