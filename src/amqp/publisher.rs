//! Confirmed publishing.
//!
//! ```text
//! callers ──publications (bounded)──► task: connect ─► batch ─► publish all ─► await all confirms
//!                                        ▲                        │ compare what was returned
//!                                        └─── rebuild on trouble ◄┴► answer all
//! ```
//!
//! *What it promises.* `Ok` only for what the broker has confirmed and has not returned. lapin hangs a
//! returned message on whichever confirm completes next, so that returns are matched by `message_id`
//! over a whole batch, all of whose confirms have come, before anything of it counts (measured: of
//! 30,000 unroutable messages in flight together over a hundred came back as clean confirms). What is
//! not answered when the connection breaks is not published. A broker that holds back publishing for
//! want of memory is waited for.
//!
//! *What it refuses to know.* What is published, and what a caller does about a failure.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use backon::ExponentialBackoff;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::types::ShortString;
use lapin::{BasicProperties, Channel, Confirmation, Connection};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::broker::{ANSWER_LIMIT, Broker, Link, RETRY_MAX, open_channel, within};
use super::error::AmqpError;
use super::topology::Topology;
use crate::telemetry;

/// What this connection is called.
const PUBLISHING: &str = "publishing";
/// Publications that wait for a channel; whoever has another waits to hand it over.
const QUEUE_PUBLICATIONS: usize = 1_024;
/// How many are in flight together on one channel: a confirm of a quorum queue takes a millisecond or
/// two, and at so many that is no bound of its own.
const BATCH_PUBLICATIONS: usize = 128;
/// Channels that publish at the same time: while one waits for its confirms, the other fills its batch.
const CHANNELS: usize = 2;
/// The longest time for a confirm of a broker that takes publications at all.
const CONFIRM_LIMIT: Duration = Duration::from_secs(30);
/// After the broker has closed a channel for what was published, so long one at a time is published.
const CAREFUL: Duration = Duration::from_secs(10);
/// How often a broker that holds back publishing is looked at.
const BLOCKED_LOOK_EVERY: Duration = Duration::from_millis(200);
/// Courtesies that wait; more are dropped.
const QUEUE_COURTESIES: usize = 256;
/// After the broker has refused a courtesy, none is sent for so long: it closes the channel each time.
const COURTESY_REST: Duration = Duration::from_secs(60);

/// What is to be published.
#[derive(Debug)]
pub struct Publication {
    /// Through this exchange.
    pub exchange: String,
    /// Under this key.
    pub routing_key: String,
    /// With these properties; their `message_id` is matched with what is returned.
    pub properties: BasicProperties,
    /// Byte for byte.
    pub body: Arc<[u8]>,
}

/// Why something is not published.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// No queue takes it.
    #[error("no queue takes what is published to {exchange} under the key {key}")]
    Unroutable {
        /// The exchange.
        exchange: String,
        /// The key.
        key: String,
    },
    /// The queue takes no more.
    #[error("the queue behind {exchange} takes no more")]
    Full {
        /// The exchange.
        exchange: String,
    },
    /// It was not confirmed.
    #[error("RabbitMQ did not confirm it: {0}")]
    Unconfirmed(String),
}

impl PublishError {
    /// Whether the broker refuses this user what it asked for.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        match self {
            // A refused publication closes its channel, and this word is in what is left of it.
            Self::Unconfirmed(words) => words.contains("ACCESS_REFUSED"),
            Self::Unroutable { .. } | Self::Full { .. } => false,
        }
    }
}

type Reply = oneshot::Sender<Result<(), PublishError>>;

/// The way to publish. Clones share the connection; it ends with the last of them.
#[derive(Clone, Debug)]
pub struct Publisher {
    publications: mpsc::Sender<(Publication, Reply)>,
    courtesies: mpsc::Sender<(String, BasicProperties, Arc<[u8]>)>,
    link: Link,
    _task: Arc<JoinSet<()>>,
}

impl Publisher {
    /// Connects, and keeps a connection from then on.
    ///
    /// # Errors
    /// [`AmqpError`] where the first connection cannot be made.
    pub async fn start(broker: Broker) -> Result<Self, AmqpError> {
        let (publications, waiting) = mpsc::channel(QUEUE_PUBLICATIONS);
        let (courtesies, courtesies_waiting) = mpsc::channel(QUEUE_COURTESIES);
        let link = Link::default();
        let first = Session::open(&broker).await?;
        link.set(true);
        telemetry::BrokerFound {
            connection: PUBLISHING,
        }
        .emit();
        let mut task = JoinSet::new();
        let supervisor = Supervisor {
            broker,
            link: link.clone(),
            waiting: Arc::new(tokio::sync::Mutex::new(waiting)),
            courtesies: courtesies_waiting,
            has_confirmed: Arc::default(),
        };
        task.spawn(supervisor.run(first));
        Ok(Self {
            publications,
            courtesies,
            link,
            _task: Arc::new(task),
        })
    }

    /// Whether its connection stands.
    #[must_use]
    pub fn link(&self) -> Link {
        self.link.clone()
    }

    /// Publishes; answers once that is confirmed, or known not to be. While there is no connection it
    /// waits for one.
    ///
    /// # Errors
    /// [`PublishError`] where it is not published, or not known to be.
    pub async fn publish(&self, publication: Publication) -> Result<(), PublishError> {
        let ended = || PublishError::Unconfirmed("publishing has ended".to_owned());
        let (reply, answer) = oneshot::channel();
        let handed_over = self.publications.send((publication, reply)).await;
        handed_over.map_err(|_| ended())?;
        answer.await.unwrap_or_else(|_| Err(ended()))
    }

    /// Puts a copy straight into a queue, if it can: not confirmed, and dropped where it cannot wait.
    pub fn be_courteous(&self, queue: String, properties: BasicProperties, body: Arc<[u8]>) {
        // A courtesy that finds no room is no loss.
        drop(self.courtesies.try_send((queue, properties, body)));
    }
}

/// One connection and its channels.
struct Session {
    connection: Connection,
    channels: Vec<Channel>,
}

impl Session {
    async fn open(broker: &Broker) -> Result<Self, AmqpError> {
        let connection = broker.connect(PUBLISHING).await?;
        let mut channels = Vec::with_capacity(CHANNELS);
        for _ in 0..CHANNELS {
            let channel = open_channel(&connection).await?;
            let asked = channel.confirm_select(ConfirmSelectOptions::default());
            within(ANSWER_LIMIT, "asking for confirms", asked).await?;
            channels.push(channel);
        }
        Ok(Self {
            connection,
            channels,
        })
    }
}

type Waiting = Arc<tokio::sync::Mutex<mpsc::Receiver<(Publication, Reply)>>>;

struct Supervisor {
    broker: Broker,
    link: Link,
    waiting: Waiting,
    courtesies: mpsc::Receiver<(String, BasicProperties, Arc<[u8]>)>,
    /// Whether anything was confirmed since it connected.
    has_confirmed: Arc<AtomicBool>,
}

/// Why a session ended.
enum Ended {
    NobodyLeft,
    Broken(String),
}

impl Supervisor {
    async fn run(mut self, first: Session) {
        let mut session = first;
        let mut waits = Broker::waits();
        let mut careful_until = Instant::now();
        loop {
            self.link.set(true);
            let ended = self.serve(&session, careful_until).await;
            let is_refusal = session.connection.status().connected();
            self.link.set(false);
            let closed = session.connection.close(200, "done".into());
            // A connection that is broken needs no farewell.
            drop(timeout(Duration::from_secs(1), closed).await);
            match ended {
                Ended::NobodyLeft => return,
                Ended::Broken(why) => telemetry::BrokerLost {
                    connection: PUBLISHING,
                    why: &why,
                }
                .emit(),
            }
            if self.has_confirmed.swap(false, Ordering::AcqRel) || !is_refusal {
                waits = Broker::waits();
            }
            session = self.reopen(&mut waits).await;
            let careful_for = if is_refusal { CAREFUL } else { Duration::ZERO };
            careful_until = Instant::now() + careful_for;
        }
    }

    async fn reopen(&self, waits: &mut ExponentialBackoff) -> Session {
        loop {
            sleep(waits.next().unwrap_or(RETRY_MAX)).await;
            match Session::open(&self.broker).await {
                Ok(session) => {
                    // An exchange that is gone ended the one before, perhaps.
                    declare(&self.broker, &session.connection).await;
                    telemetry::BrokerFound {
                        connection: PUBLISHING,
                    }
                    .emit();
                    return session;
                }
                Err(error) => tell_not_found(&error),
            }
        }
    }

    /// Serves until a channel breaks or nobody is left.
    async fn serve(&mut self, session: &Session, careful_until: Instant) -> Ended {
        let mut serving = JoinSet::new();
        for channel in &session.channels {
            let desk = Desk {
                channel: channel.clone(),
                waiting: Arc::clone(&self.waiting),
                broker: self.broker.clone(),
                careful_until,
                has_confirmed: Arc::clone(&self.has_confirmed),
            };
            let status = session.connection.status().clone();
            serving.spawn(desk.serve(status));
        }
        let ended = tokio::select! {
            Some(ended) = serving.join_next() => ended,
            () = be_courteous(&session.connection, &mut self.courtesies) => {
                match serving.join_next().await {
                    Some(ended) => ended,
                    None => return Ended::NobodyLeft,
                }
            }
        };
        serving.shutdown().await;
        ended.unwrap_or_else(|error| {
            if error.is_panic() {
                std::panic::resume_unwind(error.into_panic());
            }
            Ended::NobodyLeft
        })
    }
}

/// One channel that publishes.
struct Desk {
    channel: Channel,
    waiting: Waiting,
    broker: Broker,
    /// Until then one at a time is in flight: what the broker refuses closes the channel, and whatever else
    /// is in flight on it counts as not published.
    careful_until: Instant,
    has_confirmed: Arc<AtomicBool>,
}

impl Desk {
    async fn serve(self, status: lapin::ConnectionStatus) -> Ended {
        let mut batch = Vec::with_capacity(BATCH_PUBLICATIONS);
        loop {
            while status.blocked() {
                sleep(BLOCKED_LOOK_EVERY).await;
            }
            if !(status.connected() && self.channel.status().connected()) {
                return Ended::Broken("the connection broke".to_owned());
            }
            let taken = {
                let mut waiting = self.waiting.lock().await;
                let is_careful = Instant::now() < self.careful_until;
                let most = if is_careful { 1 } else { BATCH_PUBLICATIONS };
                let taking = waiting.recv_many(&mut batch, most);
                // A connection that breaks while nothing is published must be noticed too.
                match timeout(Duration::from_secs(1), taking).await {
                    Ok(taken) => taken,
                    Err(_) => continue,
                }
            };
            if taken == 0 {
                return Ended::NobodyLeft;
            }
            if let Err(why) = self.publish_batch(&mut batch, &status).await {
                for (_, reply) in batch.drain(..) {
                    // Whoever has gone needs no answer.
                    drop(reply.send(Err(PublishError::Unconfirmed(why.clone()))));
                }
                return Ended::Broken(why);
            }
        }
    }

    /// Publishes all and answers all, or says why nothing of it is known to be published.
    async fn publish_batch(
        &self,
        batch: &mut Vec<(Publication, Reply)>,
        status: &lapin::ConnectionStatus,
    ) -> Result<(), String> {
        let mut confirms = Vec::with_capacity(batch.len());
        for (publication, _) in batch.iter() {
            confirms.push(self.send(publication).await?);
        }
        let mut returned = HashSet::new();
        let mut nacked = Vec::with_capacity(batch.len());
        for confirm in confirms {
            let confirmed = confirmed(confirm, status).await?;
            nacked.push(confirmed.is_nack());
            if let Some(message) = confirmed.take_message() {
                let id = message.delivery.properties.message_id().clone();
                returned.insert(id.ok_or("a message without id was returned")?);
            }
        }
        // What was returned may still hang on a confirm that nobody awaits any more.
        for message in self.leftover_returns().await? {
            returned.insert(message);
        }
        if !returned.is_empty() {
            self.redeclare().await;
        }
        self.has_confirmed.store(true, Ordering::Release);
        for ((publication, reply), is_nacked) in batch.drain(..).zip(nacked) {
            let answer = outcome_of(&publication, is_nacked, &returned);
            drop(reply.send(answer));
        }
        Ok(())
    }

    async fn send(&self, publication: &Publication) -> Result<lapin::PublisherConfirm, String> {
        let options = BasicPublishOptions {
            mandatory: true,
            immediate: false,
        };
        let sent = self.channel.basic_publish(
            publication.exchange.as_str().into(),
            publication.routing_key.as_str().into(),
            options,
            &publication.body,
            publication.properties.clone(),
        );
        within(ANSWER_LIMIT, "publishing", sent)
            .await
            .map_err(|error| told(&error))
    }

    async fn leftover_returns(&self) -> Result<Vec<ShortString>, String> {
        let waiting = self.channel.wait_for_confirms();
        let messages = within(ANSWER_LIMIT, "awaiting confirms", waiting)
            .await
            .map_err(|error| told(&error))?;
        messages
            .into_iter()
            .map(|message| {
                let id = message.delivery.properties.message_id().clone();
                id.ok_or_else(|| "a message without id was returned".to_owned())
            })
            .collect()
    }

    /// A queue that is gone is made again, where this worker declares; else somebody else must.
    async fn redeclare(&self) {
        if !self.broker.settings().declare {
            return;
        }
        match self.broker.connect(PUBLISHING).await {
            Ok(connection) => {
                declare(&self.broker, &connection).await;
                drop(timeout(ANSWER_LIMIT, connection.close(200, "done".into())).await);
            }
            Err(error) => tell_not_found(&error),
        }
    }
}

/// Makes what is missing, where this worker declares. What cannot be made is told: the rest is published all
/// the same.
async fn declare(broker: &Broker, connection: &Connection) {
    let settings = broker.settings();
    if !settings.declare {
        return;
    }
    let topology = Topology::new(&settings.names, settings.results_max_length);
    if let Err(error) = topology.declare(connection).await {
        tell_not_found(&error);
    }
}

fn tell_not_found(error: &AmqpError) {
    telemetry::BrokerNotFound {
        connection: PUBLISHING,
        error,
    }
    .emit();
}

/// What became of one publication of a batch whose confirms have all come.
fn outcome_of(
    publication: &Publication,
    is_nacked: bool,
    returned: &HashSet<ShortString>,
) -> Result<(), PublishError> {
    let id = publication.properties.message_id().as_ref();
    if id.is_some_and(|id| returned.contains(id)) {
        return Err(PublishError::Unroutable {
            exchange: publication.exchange.clone(),
            key: publication.routing_key.clone(),
        });
    }
    if is_nacked {
        return Err(PublishError::Full {
            exchange: publication.exchange.clone(),
        });
    }
    Ok(())
}

/// Waits for a confirm; a broker that holds back publishing is given all the time it needs.
async fn confirmed(
    mut confirm: lapin::PublisherConfirm,
    status: &lapin::ConnectionStatus,
) -> Result<Confirmation, String> {
    let mut since = Instant::now();
    loop {
        match timeout(BLOCKED_LOOK_EVERY, &mut confirm).await {
            Ok(confirmed) => return confirmed.map_err(|error| error.to_string()),
            Err(_) if status.blocked() => since = Instant::now(),
            Err(_) if since.elapsed() < CONFIRM_LIMIT => {}
            Err(_) => {
                let limit = CONFIRM_LIMIT.as_secs();
                return Err(format!("no confirm came within {limit} s"));
            }
        }
    }
}

/// Sends courtesies on a channel of their own, which is the only one that a refusal closes.
async fn be_courteous(
    connection: &Connection,
    courtesies: &mut mpsc::Receiver<(String, BasicProperties, Arc<[u8]>)>,
) {
    let mut channel: Option<Channel> = None;
    let mut rests_until = Instant::now();
    while let Some((queue, properties, body)) = courtesies.recv().await {
        if Instant::now() < rests_until || connection.status().blocked() {
            continue;
        }
        if channel.as_ref().is_some_and(|it| !it.status().connected()) {
            channel = None;
            rests_until = Instant::now() + COURTESY_REST;
            continue;
        }
        let open = match channel.take() {
            Some(open) => open,
            None => match open_channel(connection).await {
                Ok(open) => open,
                Err(_) => return,
            },
        };
        let sent = open.basic_publish(
            ShortString::default(),
            queue.into(),
            BasicPublishOptions::default(),
            &body,
            properties,
        );
        let is_sent = within(ANSWER_LIMIT, "replying", sent).await.is_ok();
        channel = is_sent.then_some(open);
    }
}

fn told(error: &AmqpError) -> String {
    let source = std::error::Error::source(error);
    source.map_or_else(|| error.to_string(), |source| format!("{error}: {source}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn publication(id: &str) -> Publication {
        Publication {
            exchange: "tanda.results".to_owned(),
            routing_key: "succeeded".to_owned(),
            properties: BasicProperties::default().with_message_id(id.into()),
            body: Arc::from(b"{}".as_slice()),
        }
    }

    /// lapin may hang the return of one message on the confirm of another: what counts is its id.
    #[test]
    fn f10_a_returned_message_is_known_by_its_id_whatever_confirm_it_hangs_on() {
        let returned = HashSet::from(["b".into()]);
        assert_eq!(outcome_of(&publication("a"), false, &returned), Ok(()));
        assert!(matches!(
            outcome_of(&publication("b"), false, &returned),
            Err(PublishError::Unroutable { .. })
        ));
        assert!(matches!(
            outcome_of(&publication("a"), true, &returned),
            Err(PublishError::Full { .. })
        ));
    }
}
