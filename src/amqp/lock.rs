//! The connection that consumes, with the lock that only one worker can have.
//!
//! *What it promises.* Whoever has it is the only worker of its queue, as long as the connection stands.
//! The topology was seen to on the way.
//!
//! *What it refuses to know.* What is consumed.

use std::time::Duration;

use lapin::options::QueueDeclareOptions;
use lapin::protocol::AMQPSoftError;
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, Connection};
use tokio::time::{Instant, sleep};

use super::broker::{ANSWER_LIMIT, Broker, RETRY_MAX, open_channel, within};
use super::error::{AmqpError, soft};
use super::topology::Topology;
use crate::telemetry;

/// How long a start waits for a lock that a worker which has just died may still seem to hold.
const LOCK_PATIENCE: Duration = Duration::from_secs(5);
/// A lock that somebody has for so long is another worker's: our own connection, where it broke unheard, is
/// gone after two heartbeats.
const LOCK_LOST_AFTER: Duration = Duration::from_secs(60);
/// Between two tries for it.
const LOCK_RETRY: Duration = Duration::from_millis(250);

/// A connection that holds the lock, with the topology seen to.
pub(super) struct Opened {
    pub(super) connection: Connection,
    /// Holds the lock's queue; closed with the connection.
    _lock: Channel,
}

impl Opened {
    /// A worker that has just died may seem to hold the lock for a moment.
    pub(super) async fn first(broker: &Broker) -> Result<Self, AmqpError> {
        let patient_until = Instant::now() + LOCK_PATIENCE;
        loop {
            match Self::open(broker).await {
                Err(AmqpError::Locked { .. }) if Instant::now() < patient_until => {
                    sleep(LOCK_RETRY).await;
                }
                opened => return opened,
            }
        }
    }

    async fn open(broker: &Broker) -> Result<Self, AmqpError> {
        let settings = broker.settings();
        let connection = broker.connect("consuming").await?;
        let lock = take_lock(&connection, broker).await?;
        let topology = Topology::new(&settings.names, settings.results_max_length);
        if settings.declare {
            topology.declare(&connection).await?;
        } else {
            topology.find(&connection).await?;
        }
        Ok(Self {
            connection,
            _lock: lock,
        })
    }

    /// Until it can be opened; or never, where that will not mend itself: another worker may have taken
    /// the queue meanwhile.
    pub(super) async fn again(broker: Broker, first: Duration) -> Result<Self, AmqpError> {
        let mut wait = first;
        let mut waits = Broker::waits();
        let mut locked_since: Option<Instant> = None;
        loop {
            sleep(wait).await;
            let opened = Self::open(&broker).await;
            let is_locked = matches!(opened, Err(AmqpError::Locked { .. }));
            locked_since = locked_since
                .or_else(|| is_locked.then(Instant::now))
                .filter(|_| is_locked);
            let is_taken = locked_since.is_some_and(|since| since.elapsed() > LOCK_LOST_AFTER);
            match opened {
                Ok(opened) => return Ok(opened),
                Err(error) if error.is_lasting() || is_taken => return Err(error),
                Err(error) => telemetry::BrokerNotFound {
                    connection: "consuming",
                    error: &error,
                }
                .emit(),
            }
            wait = waits.next().unwrap_or(RETRY_MAX);
        }
    }
}

async fn take_lock(connection: &Connection, broker: &Broker) -> Result<Channel, AmqpError> {
    let names = &broker.settings().names;
    let lock = names.lock_queue();
    let channel = open_channel(connection).await?;
    let options = QueueDeclareOptions {
        exclusive: true,
        ..QueueDeclareOptions::default()
    };
    let mut arguments = FieldTable::default();
    // Said, because a virtual host may make quorum queues of what does not say: these cannot lock.
    arguments.insert(
        "x-queue-type".into(),
        AMQPValue::LongString("classic".into()),
    );
    let declared = channel.queue_declare(lock.as_str().into(), options, arguments);
    let doing = format!("taking the lock {lock}");
    match within(ANSWER_LIMIT, &doing, declared).await {
        Ok(_) => Ok(channel),
        Err(AmqpError::Failed { source, .. })
            if soft(&source) == Some(&AMQPSoftError::RESOURCELOCKED) =>
        {
            Err(AmqpError::Locked {
                queue: names.jobs_queue.clone(),
                lock,
            })
        }
        Err(error) => Err(error),
    }
}
