//! Queues of a rehearsal's own: made, filled, read to their end, removed.
//!
//! *What it promises.* It touches nothing that was there before: names that are taken are refused. What
//! is published stands in the queue in its order, each message confirmed. Queues that are left behind
//! go by themselves once nobody has used them for [`UNUSED`].
//!
//! *What it refuses to know.* What the messages are, and who works on them.

use std::collections::{BTreeMap, VecDeque};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_core::Stream as _;
use lapin::message::Delivery;
use lapin::options::{
    BasicConsumeOptions, BasicPublishOptions, ConfirmSelectOptions, ExchangeDeleteOptions,
    QueueDeclareOptions, QueueDeleteOptions,
};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{BasicProperties, Channel, Confirmation, Connection, Consumer};
use tokio::time::{Instant, timeout};

use super::broker::{ANSWER_LIMIT, Broker, open_channel, within};
use super::error::AmqpError;
use super::topology::{JOB_KEY, Names, Topology};
use crate::wire;

/// A queue that nobody has used for so long was left behind: longer than any drill lets one lie.
pub const UNUSED: Duration = Duration::from_secs(1_800);
/// The longest that messages are read in one go.
const READ_LIMIT: Duration = Duration::from_secs(10);
/// Confirms outstanding at most.
const UNCONFIRMED: usize = 256;

/// A message as somebody who reads the results and the dead letters finds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    /// Whether it is a dead letter.
    pub is_dead_letter: bool,
    /// Its routing key.
    pub routing_key: String,
    /// Its `message_id`; empty where it has none.
    pub message_id: String,
    /// Its `type`; empty where it has none.
    pub kind: String,
    /// Its headers that are texts or numbers.
    pub headers: BTreeMap<String, String>,
    /// Byte for byte.
    pub body: Vec<u8>,
}

/// A connection of one that hands over jobs and reads what became of them.
pub struct Rehearsal {
    connection: Connection,
    jobs: Channel,
    readers: Option<[Consumer; 2]>,
    names: Names,
    topology: Topology,
}

impl std::fmt::Debug for Rehearsal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rehearsal")
            .field("names", &self.names)
            .finish_non_exhaustive()
    }
}

impl Rehearsal {
    /// Makes the queues and exchanges of these names, none of which may be there; `makes` is set before
    /// the first of them is made.
    ///
    /// # Errors
    /// [`AmqpError`] where a name is taken or the broker says no.
    pub async fn make(broker: &Broker, makes: &AtomicBool) -> Result<Self, AmqpError> {
        let names = broker.settings().names.clone();
        let topology = Topology::passing(&names, UNUSED);
        let connection = broker.connect("drill").await?;
        refuse_what_is_there(&connection, &topology).await?;
        makes.store(true, Ordering::Relaxed);
        let rehearsal = Self {
            jobs: open_channel(&connection).await?,
            connection,
            readers: None,
            names,
            topology,
        };
        if let Err(error) = rehearsal.topology.declare(&rehearsal.connection).await {
            // Whatever was made before the broker said no goes again.
            rehearsal.remove().await.ok();
            return Err(error);
        }
        let asked = rehearsal
            .jobs
            .confirm_select(ConfirmSelectOptions::default());
        within(ANSWER_LIMIT, "asking for confirms", asked).await?;
        Ok(rehearsal)
    }

    /// Publishes these bodies as jobs, in this order.
    ///
    /// # Errors
    /// [`AmqpError`] where one of them was not confirmed.
    pub async fn publish(
        &self,
        bodies: impl IntoIterator<Item = Vec<u8>>,
    ) -> Result<(), AmqpError> {
        let properties = BasicProperties::default()
            .with_type(wire::job::SCHEMA.into())
            .with_content_type(wire::job::CONTENT_TYPE.into())
            .with_delivery_mode(super::message::PERSISTENT);
        let mut unconfirmed = VecDeque::new();
        for body in bodies {
            let options = BasicPublishOptions {
                mandatory: true,
                ..BasicPublishOptions::default()
            };
            let published = self.jobs.basic_publish(
                self.names.jobs_exchange.as_str().into(),
                JOB_KEY.into(),
                options,
                &body,
                properties.clone(),
            );
            unconfirmed.push_back(within(ANSWER_LIMIT, "publishing", published).await?);
            while unconfirmed.len() >= UNCONFIRMED {
                confirmed(unconfirmed.pop_front()).await?;
            }
        }
        while !unconfirmed.is_empty() {
            confirmed(unconfirmed.pop_front()).await?;
        }
        Ok(())
    }

    /// How many jobs wait that nobody has taken.
    ///
    /// # Errors
    /// [`AmqpError`] where the broker does not say.
    pub async fn waiting(&self) -> Result<u32, AmqpError> {
        let options = QueueDeclareOptions {
            passive: true,
            ..QueueDeclareOptions::default()
        };
        let name = self.names.jobs_queue.as_str().into();
        let looked = (self.jobs).queue_declare(name, options, FieldTable::default());
        let queue = within(ANSWER_LIMIT, "counting what waits", looked).await?;
        Ok(queue.message_count())
    }

    /// What comes to the results and the dead letters, until nothing has come for so long; where it does
    /// not cease, for [`READ_LIMIT`].
    ///
    /// # Errors
    /// [`AmqpError`] where they cannot be read.
    pub async fn take(&mut self, quiet: Duration) -> Result<Vec<Taken>, AmqpError> {
        if self.readers.is_none() {
            let results = self.reader(&self.names.results_queue).await?;
            self.readers = Some([results, self.reader(&self.names.dead_queue).await?]);
        }
        let Some([results, dead]) = &mut self.readers else {
            return Ok(Vec::new());
        };
        let mut all = Vec::new();
        let until = Instant::now() + READ_LIMIT;
        while Instant::now() < until {
            let next = async {
                tokio::select! {
                    found = next_of(results) => (false, found),
                    found = next_of(dead) => (true, found),
                }
            };
            match timeout(quiet, next).await {
                Err(_) => return Ok(all),
                Ok((is_dead_letter, Some(Ok(delivery)))) => {
                    all.push(taken(is_dead_letter, &delivery));
                }
                Ok((_, Some(Err(source)))) => {
                    let doing = "reading what was published".to_owned();
                    return Err(AmqpError::Failed { doing, source });
                }
                Ok((_, None)) => {
                    let doing = "reading what was published: the queue is gone".to_owned();
                    let limit = quiet;
                    return Err(AmqpError::Timeout { doing, limit });
                }
            }
        }
        Ok(all)
    }

    /// What is read is the reader's at once: there is no second one who would want it.
    async fn reader(&self, queue: &str) -> Result<Consumer, AmqpError> {
        let channel = open_channel(&self.connection).await?;
        let options = BasicConsumeOptions {
            no_ack: true,
            ..BasicConsumeOptions::default()
        };
        let tag = ShortString::default();
        let consuming = channel.basic_consume(queue.into(), tag, options, FieldTable::default());
        let doing = format!("reading {queue}");
        within(ANSWER_LIMIT, &doing, consuming).await
    }

    /// Removes its queues and exchanges, with whatever is in them.
    ///
    /// # Errors
    /// [`AmqpError`] where one of them is left: it goes by itself later.
    pub async fn remove(&self) -> Result<(), AmqpError> {
        remove(&self.connection, &self.topology).await
    }

    /// Removes what one that is gone has left of these names.
    ///
    /// # Errors
    /// [`AmqpError`] where something is left: it goes by itself later.
    pub async fn clear(broker: &Broker) -> Result<(), AmqpError> {
        let topology = Topology::passing(&broker.settings().names, UNUSED);
        let connection = broker.connect("drill").await?;
        remove(&connection, &topology).await
    }
}

async fn remove(connection: &Connection, topology: &Topology) -> Result<(), AmqpError> {
    let mut removed = Ok(());
    for queue in &topology.queues {
        let channel = open_channel(connection).await?;
        let name = queue.name.as_str();
        let gone = channel.queue_delete(name.into(), QueueDeleteOptions::default());
        let gone = within(ANSWER_LIMIT, &format!("removing the queue {name}"), gone).await;
        removed = removed.and(gone.map(drop));
    }
    for exchange in &topology.exchanges {
        let channel = open_channel(connection).await?;
        let name = exchange.name.as_str();
        let gone = channel.exchange_delete(name.into(), ExchangeDeleteOptions::default());
        let doing = format!("removing the exchange {name}");
        removed = removed.and(within(ANSWER_LIMIT, &doing, gone).await);
    }
    removed
}

async fn refuse_what_is_there(
    connection: &Connection,
    topology: &Topology,
) -> Result<(), AmqpError> {
    let all = topology.exchanges.len() + topology.queues.len();
    match topology.find(connection).await {
        Err(AmqpError::Differs(missing)) if missing.len() == all => Ok(()),
        Ok(()) | Err(AmqpError::Differs(_)) => {
            let taken = "a name that this drill would take is there already; start it again, and it \
                         takes others";
            Err(AmqpError::Differs(vec![taken.to_owned()]))
        }
        Err(error) => Err(error),
    }
}

async fn confirmed(
    confirm: Option<impl Future<Output = lapin::Result<Confirmation>>>,
) -> Result<(), AmqpError> {
    let Some(confirm) = confirm else {
        return Ok(());
    };
    match within(ANSWER_LIMIT, "publishing a job", confirm).await? {
        Confirmation::Ack(None) => Ok(()),
        Confirmation::Ack(Some(_)) | Confirmation::Nack(_) | Confirmation::NotRequested => {
            let refused = "the queue of the drill's jobs did not take one of them";
            Err(AmqpError::Differs(vec![refused.to_owned()]))
        }
    }
}

async fn next_of(consumer: &mut Consumer) -> Option<lapin::Result<Delivery>> {
    std::future::poll_fn(|context| Pin::new(&mut *consumer).poll_next(context)).await
}

fn taken(is_dead_letter: bool, delivery: &Delivery) -> Taken {
    let properties = &delivery.properties;
    let text = |text: &Option<ShortString>| text.as_ref().map(|it| it.as_str().to_owned());
    let headers = properties.headers().as_ref().map(|headers| {
        let texts = headers.inner().iter();
        texts
            .filter_map(|(name, value)| Some((name.as_str().to_owned(), header(value)?)))
            .collect()
    });
    Taken {
        is_dead_letter,
        routing_key: delivery.routing_key.as_str().to_owned(),
        message_id: text(properties.message_id()).unwrap_or_default(),
        kind: text(properties.kind()).unwrap_or_default(),
        headers: headers.unwrap_or_default(),
        body: delivery.data.clone(),
    }
}

fn header(value: &AMQPValue) -> Option<String> {
    super::message::text_of(value)
        .or_else(|| super::message::whole_of(value).map(|number| number.to_string()))
}
