//! What can be wrong with RabbitMQ.
//!
//! *What it promises.* One line says what was being done and what the broker answered; a URL with its
//! password is in none of them.
//!
//! *What it refuses to know.* Exit codes.

use std::time::Duration;

use lapin::ErrorKind;
use lapin::protocol::{AMQPError, AMQPErrorKind, AMQPSoftError};

/// How the words begin that say that a connection is being made.
pub(super) const CONNECTING: &str = "connecting to";

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
         give this one a queue of its own (amqp.jobs_queue)"
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

    /// Everything in one line: what was being done, what the broker answered, what to do.
    #[must_use]
    pub fn line(&self) -> String {
        match self {
            Self::Failed { doing, source } => {
                let words = words(source);
                format!("{self}: {words}{}", remedy(doing, &words))
            }
            Self::Url(_) | Self::Timeout { .. } | Self::Locked { .. } | Self::Differs(_) => {
                self.to_string()
            }
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

/// What to do, by the broker's own words: they tell one refusal from another, and their codes do not.
fn remedy(doing: &str, words: &str) -> &'static str {
    let said = [
        (
            "Login was refused",
            ". Check user and password in amqp.url (TANDA_AMQP__URL, or the file that amqp.url_file \
             names)",
        ),
        (
            "not found",
            ". Make this virtual host, or name another at the end of amqp.url; /%2F is the one that \
             every broker has",
        ),
        (
            "access to vhost",
            ". Let this user use this virtual host (rabbitmqctl set_permissions), or name another at \
             the end of amqp.url",
        ),
        (
            "ACCESS_REFUSED",
            ". Give this user that right (rabbitmqctl set_permissions)",
        ),
    ];
    let is_connecting = doing.starts_with(CONNECTING);
    let found = said.into_iter().find(|(part, _)| words.contains(part));
    match found {
        Some((_, remedy)) => remedy,
        None if is_connecting => {
            ". Check host and port in amqp.url, amqp:// or amqps://, and whether RabbitMQ runs there"
        }
        None => "",
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

#[cfg(test)]
mod tests {
    use super::remedy;

    /// Each of these is another mistake, and the broker has one code for several of them.
    #[test]
    fn each_mistake_has_its_own_remedy() {
        let at = "connecting to localhost:5672 (virtual host /)";
        for (doing, words, part) in [
            (at, "ACCESS_REFUSED - Login was refused using", "password"),
            (at, "NOT_ALLOWED - vhost nowhere not found", "Make this"),
            (at, "NOT_ALLOWED - access to vhost '/' refused", "Let this"),
            (
                "binding a",
                "ACCESS_REFUSED - access to queue 'a'",
                "that right",
            ),
            (at, "IO error: Connection refused", "host and port"),
            ("binding a", "IO error: broken pipe", ""),
        ] {
            assert!(remedy(doing, words).contains(part), "{words}");
        }
    }
}
