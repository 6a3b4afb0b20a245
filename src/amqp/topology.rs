//! Queues, exchanges and bindings: declared, checked, shown.
//!
//! *What it promises.* One list says what there must be; declaring, checking and printing follow it.
//! Quorum queues throughout. What the broker has and is otherwise is told with the queue or exchange
//! and the argument; a check makes nothing.
//!
//! *What it refuses to know.* What the messages are.

use std::time::Duration;

use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::protocol::AMQPSoftError;
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Connection, ExchangeKind};

use super::broker::{ANSWER_LIMIT, open_channel, within};
use super::error::{AmqpError, soft, words};

/// The routing key of jobs.
pub const JOB_KEY: &str = "job";
/// Under it comes what the broker itself has given up, which its own limit does.
const DELIVERY_LIMIT_KEY: &str = "delivery_limit";
/// A net only: every crash of a worker counts, for innocent messages too. Messages that come back keep
/// their order only in a queue that has a limit (measured).
const DELIVERY_LIMIT: i64 = 1_000;
/// Messages go to one consumer at a time, and to the next only once what that one left is back in its order. Nothing
/// else keeps a connection that is about to die from consuming after the lock has changed hands (measured,
/// `scripts/kill-worker` on a busy machine).
const ONE_CONSUMER: &str = "x-single-active-consumer";

/// The names of queues and exchanges.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    /// Exchange for jobs.
    pub jobs_exchange: String,
    /// Queue of jobs.
    pub jobs_queue: String,
    /// Exchange for outcomes.
    pub results_exchange: String,
    /// Queue of outcomes.
    pub results_queue: String,
    /// Exchange for dead letters.
    pub dead_exchange: String,
    /// Queue of dead letters.
    pub dead_queue: String,
}

impl Default for Names {
    fn default() -> Self {
        let named = |what: &str| format!("tanda.{what}");
        Self {
            jobs_exchange: named("jobs"),
            jobs_queue: named("jobs"),
            results_exchange: named("results"),
            results_queue: named("results"),
            dead_exchange: named("dead"),
            dead_queue: named("dead"),
        }
    }
}

impl Names {
    /// The queue that only one worker can have. It follows from the queue of jobs, so that two workers of
    /// one queue cannot have two locks, nor those of two queues one: `x.lock` of `x.jobs`, else `x-lock`.
    #[must_use]
    pub fn lock_queue(&self) -> String {
        let jobs = &self.jobs_queue;
        match jobs.strip_suffix(".jobs") {
            Some(prefix) => format!("{prefix}.lock"),
            None => format!("{jobs}-lock"),
        }
    }

    /// Whether a queue of this name is one of ours.
    #[must_use]
    pub fn is_ours(&self, queue: &str) -> bool {
        let ours = [&self.jobs_queue, &self.results_queue, &self.dead_queue];
        ours.into_iter().any(|name| name == queue) || self.lock_queue() == queue
    }
}

/// An argument of a queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Argument {
    /// A text.
    Text(String),
    /// A whole number.
    Number(i64),
    /// Yes, or no.
    Flag(bool),
}

/// An exchange that there must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exchange {
    /// Its name.
    pub name: String,
    /// `direct` or `topic`.
    pub kind: &'static str,
    /// Whether it goes with its last binding.
    pub passes: bool,
}

/// A queue that there must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Queue {
    /// Its name.
    pub name: String,
    /// Its arguments, in order.
    pub arguments: Vec<(&'static str, Argument)>,
}

/// A binding that there must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding {
    /// From this exchange.
    pub exchange: String,
    /// To this queue.
    pub queue: String,
    /// Under this key.
    pub key: &'static str,
}

/// Everything that there must be, all of it durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topology {
    /// Exchanges.
    pub exchanges: Vec<Exchange>,
    /// Queues.
    pub queues: Vec<Queue>,
    /// Bindings.
    pub bindings: Vec<Binding>,
}

impl Topology {
    /// What there must be under these names.
    #[must_use]
    pub fn new(names: &Names, results_max_length: Option<u32>) -> Self {
        let exchange = |name: &String, kind| Exchange {
            name: name.clone(),
            kind,
            passes: false,
        };
        let queue = |name: &String, more: Vec<(&'static str, Argument)>| Queue {
            name: name.clone(),
            arguments: [vec![("x-queue-type", text("quorum"))], more].concat(),
        };
        let binding = |exchange: &String, queue: &String, key| Binding {
            exchange: exchange.clone(),
            queue: queue.clone(),
            key,
        };
        let of_jobs = vec![
            (ONE_CONSUMER, Argument::Flag(true)),
            ("x-delivery-limit", Argument::Number(DELIVERY_LIMIT)),
            ("x-dead-letter-exchange", text(&names.dead_exchange)),
            ("x-dead-letter-routing-key", text(DELIVERY_LIMIT_KEY)),
            ("x-dead-letter-strategy", text("at-least-once")),
            ("x-overflow", text("reject-publish")),
        ];
        let of_results = results_max_length.map_or_else(Vec::new, |length| {
            vec![
                ("x-max-length", Argument::Number(length.into())),
                ("x-overflow", text("reject-publish")),
            ]
        });
        Self {
            exchanges: vec![
                exchange(&names.jobs_exchange, "direct"),
                exchange(&names.results_exchange, "topic"),
                exchange(&names.dead_exchange, "topic"),
            ],
            queues: vec![
                queue(&names.jobs_queue, of_jobs),
                queue(&names.results_queue, of_results),
                queue(&names.dead_queue, Vec::new()),
            ],
            bindings: vec![
                binding(&names.jobs_exchange, &names.jobs_queue, JOB_KEY),
                binding(&names.results_exchange, &names.results_queue, "#"),
                binding(&names.dead_exchange, &names.dead_queue, "#"),
            ],
        }
    }

    /// The same for queues of the moment: each goes by itself once nobody has used it for so long, and
    /// the exchanges with them.
    #[must_use]
    pub fn passing(names: &Names, unused: Duration) -> Self {
        let mut topology = Self::new(names, None);
        let unused_ms = i64::try_from(unused.as_millis()).unwrap_or(i64::MAX);
        for queue in &mut topology.queues {
            let expires = ("x-expires", Argument::Number(unused_ms));
            queue.arguments.push(expires);
        }
        for exchange in &mut topology.exchanges {
            exchange.passes = true;
        }
        topology
    }

    /// Makes what is missing; what is there must be as it is wanted.
    ///
    /// # Errors
    /// [`AmqpError::Differs`] where it is otherwise, any other where the broker says no.
    pub async fn declare(&self, connection: &Connection) -> Result<(), AmqpError> {
        self.look(connection, Look::Declare).await?;
        let channel = open_channel(connection).await?;
        for binding in &self.bindings {
            let doing = format!("binding {} to {}", binding.queue, binding.exchange);
            let bound = channel.queue_bind(
                binding.queue.as_str().into(),
                binding.exchange.as_str().into(),
                binding.key.into(),
                QueueBindOptions::default(),
                FieldTable::default(),
            );
            within(ANSWER_LIMIT, &doing, bound).await?;
        }
        close(&channel).await;
        Ok(())
    }

    /// Looks whether everything is there, as far as that can be seen without declaring.
    ///
    /// # Errors
    /// [`AmqpError::Differs`] where something is missing.
    pub async fn find(&self, connection: &Connection) -> Result<(), AmqpError> {
        self.look(connection, Look::Find).await
    }

    /// Looks whether this exchange is there.
    ///
    /// # Errors
    /// [`AmqpError::Differs`] where it is missing.
    pub async fn find_exchange(
        &self,
        connection: &Connection,
        name: &str,
    ) -> Result<(), AmqpError> {
        let mut missing = Vec::new();
        for exchange in self.exchanges.iter().filter(|it| it.name == name) {
            missing.extend(look_at_exchange(connection, exchange, Look::Find).await?);
        }
        if missing.is_empty() {
            return Ok(());
        }
        Err(AmqpError::Differs(missing))
    }

    /// Looks whether everything is there and as it is wanted; makes nothing. Needs the right to
    /// configure: the broker compares arguments only then.
    ///
    /// # Errors
    /// [`AmqpError::Differs`] where something is missing or otherwise.
    pub async fn check(&self, connection: &Connection) -> Result<(), AmqpError> {
        self.look(connection, Look::Find).await?;
        self.look(connection, Look::Declare).await
    }

    async fn look(&self, connection: &Connection, look: Look) -> Result<(), AmqpError> {
        let mut differences = Vec::new();
        for exchange in &self.exchanges {
            differences.extend(look_at_exchange(connection, exchange, look).await?);
        }
        for queue in &self.queues {
            differences.extend(look_at_queue(connection, queue, look).await?);
        }
        if differences.is_empty() {
            Ok(())
        } else {
            Err(AmqpError::Differs(differences))
        }
    }
}

fn text(text: &str) -> Argument {
    Argument::Text(text.to_owned())
}

/// How the broker is asked.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Look {
    /// Whether it is there.
    Find,
    /// That it be so.
    Declare,
}

/// A difference closes the channel: each look has one of its own.
async fn look_at_exchange(
    connection: &Connection,
    exchange: &Exchange,
    look: Look,
) -> Result<Option<String>, AmqpError> {
    let channel = open_channel(connection).await?;
    let kind = match exchange.kind {
        "direct" => ExchangeKind::Direct,
        _ => ExchangeKind::Topic,
    };
    let options = ExchangeDeclareOptions {
        passive: look == Look::Find,
        durable: true,
        auto_delete: exchange.passes,
        ..ExchangeDeclareOptions::default()
    };
    let name = exchange.name.as_str();
    let declared = channel.exchange_declare(name.into(), kind, options, FieldTable::default());
    let doing = format!("looking at the exchange {name}");
    let seen = within(ANSWER_LIMIT, &doing, declared).await;
    close(&channel).await;
    difference("exchange", name, seen)
}

async fn look_at_queue(
    connection: &Connection,
    queue: &Queue,
    look: Look,
) -> Result<Option<String>, AmqpError> {
    let channel = open_channel(connection).await?;
    let options = QueueDeclareOptions {
        passive: look == Look::Find,
        durable: true,
        ..QueueDeclareOptions::default()
    };
    let mut arguments = FieldTable::default();
    for (name, argument) in &queue.arguments {
        let value = match argument {
            Argument::Text(text) => AMQPValue::LongString(text.as_str().into()),
            Argument::Number(number) => AMQPValue::LongLongInt(*number),
            Argument::Flag(is_set) => AMQPValue::Boolean(*is_set),
        };
        arguments.insert((*name).into(), value);
    }
    let name = queue.name.as_str();
    let declared = channel.queue_declare(name.into(), options, arguments);
    let doing = format!("looking at the queue {name}");
    let seen = within(ANSWER_LIMIT, &doing, declared).await.map(drop);
    close(&channel).await;
    difference("queue", name, seen)
}

/// What the broker's answer says of a difference, in its own words for the argument.
fn difference(
    kind: &str,
    name: &str,
    seen: Result<(), AmqpError>,
) -> Result<Option<String>, AmqpError> {
    let error = match seen {
        Ok(()) => return Ok(None),
        Err(error) => error,
    };
    let AmqpError::Failed { source, .. } = &error else {
        return Err(error);
    };
    match soft(source) {
        // What is there but cannot be reached for a while is "not found" too, in other words.
        Some(AMQPSoftError::NOTFOUND) if words(source).contains(&format!("no {kind} ")) => {
            Ok(Some(format!(
                "the {kind} {name} is not there; `tanda topology --declare` makes it"
            )))
        }
        Some(AMQPSoftError::PRECONDITIONFAILED) => Ok(Some(format!(
            "the {kind} {name} is otherwise at the broker: {}. Delete it when it is empty and \
             declare it anew, or give tanda another name for it",
            words(source).trim_start_matches("PRECONDITION_FAILED - ")
        ))),
        Some(_) | None => Err(error),
    }
}

/// A channel that the broker has closed needs no closing.
async fn close(channel: &lapin::Channel) {
    if channel.status().connected() {
        drop(
            within(
                ANSWER_LIMIT,
                "closing a channel",
                channel.close(200, "done".into()),
            )
            .await,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_can_be_another() {
        let names = Names {
            jobs_queue: "pagos".to_owned(),
            dead_exchange: "muertos".to_owned(),
            ..Names::default()
        };
        let topology = Topology::new(&names, Some(7));
        let jobs = &topology.queues[0];
        assert_eq!(jobs.name, "pagos");
        assert!(
            jobs.arguments
                .contains(&("x-dead-letter-exchange", text("muertos")))
        );
        assert!(
            topology.queues[1]
                .arguments
                .contains(&("x-max-length", Argument::Number(7)))
        );
        assert!(names.is_ours("pagos") && !names.is_ours("tanda.jobs"));
        let passing = Topology::passing(&names, Duration::from_secs(2));
        let expires = ("x-expires", Argument::Number(2_000));
        assert!(
            passing
                .queues
                .iter()
                .all(|queue| queue.arguments.contains(&expires))
        );
        assert!(passing.exchanges.iter().all(|exchange| exchange.passes));
        assert_eq!(names.lock_queue(), "pagos-lock");
        assert_eq!(Names::default().lock_queue(), "tanda.lock");
    }
}
