//! Jobs from their queue.
//!
//! ```text
//! engine ◄─deliveries (bounded by the prefetch)── task: connection, lock, channel, consumer
//!    │ asks for more, stops, withdraws ──────────►  │
//! receipts ──answers (bounded)────────────────────► acknowledgements, in runs
//! ```
//!
//! *What it promises.* A delivery is acknowledged only when its receipt says done. Each belongs to one
//! session of one channel: when that ends, for whatever reason, its receipts are void, nothing is
//! acknowledged for them on another, and the broker offers the messages again. The end of the consumer's
//! stream is such an end, also where nothing else is wrong. Only one worker has the queue: an exclusive
//! queue, held by the consuming connection, says so.
//!
//! What comes again comes in its order, because three things are never done (`tests/broker/order.rs`,
//! decision 0010): a consumer is not cancelled, a message that is undecided is not given back alone, and
//! no consumer takes fewer messages than the one before it left.
//!
//! *What it refuses to know.* What a job is worth, and why the engine stops.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use backon::ExponentialBackoff;
use lapin::BasicProperties;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

use super::broker::{ANSWER_LIMIT, Broker, Link};
use super::error::AmqpError;
use super::lock::Opened;
use super::message;
use super::session::Session;
use crate::domain::money::Currencies;
use crate::engine::ports::{
    Back, Clock, Delivery, Offer, Origin, Provenance, Receipt, Source, SourceError, StoredOutcome,
    UnreadableDelivery,
};
use crate::telemetry;
use crate::wire;

/// Answers of receipts that wait: more than there are deliveries.
const ANSWERS_WAITING: usize = 4_096;
/// Deliveries taken by the engine in one go.
const DELIVERIES_PER_CALL: usize = 256;
/// Words about lost sessions that wait: there is one for each, and none begins before the last is read.
const LOSSES_WAITING: usize = 8;
/// How often a connection is looked at that says nothing.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long messages may lie here unread, as they do while only now and then a job is tried: well below
/// the half hour after which the broker takes them back and closes the channel.
const UNREAD_LIMIT: Duration = Duration::from_secs(10 * 60);
/// The longest time that giving back takes: a few answers of the broker.
const WITHDRAW_LIMIT: Duration = Duration::from_secs(45);

/// Offers the jobs of the queue.
pub struct QueueSource {
    events: mpsc::Receiver<Event>,
    /// What came with the last deliveries and is offered next.
    stash: VecDeque<Offer>,
    commands: mpsc::Sender<Command>,
    answers: mpsc::Sender<Answer>,
    shared: Arc<Shared>,
    name: Arc<str>,
    currencies: Currencies,
    clock: Arc<dyn Clock>,
    link: Link,
    _task: JoinSet<()>,
}

impl std::fmt::Debug for QueueSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("QueueSource")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// What receipts and the task have in common.
#[derive(Debug, Default)]
struct Shared {
    /// Of the session whose deliveries may be answered.
    generation: AtomicU64,
    /// Whether the engine has asked for messages since there was a session.
    wanted: AtomicBool,
    /// Told when it asks.
    asked: Notify,
    /// How many events the engine has read.
    reads: AtomicU64,
}

enum Event {
    Delivered(Box<Delivered>),
    Lost,
    Failed(AmqpError),
}

struct Delivered {
    generation: u64,
    tag: u64,
    is_redelivered: bool,
    properties: BasicProperties,
    body: Vec<u8>,
}

#[derive(Clone, Copy)]
struct Answer {
    generation: u64,
    tag: u64,
    is_done: bool,
}

enum Command {
    Stop(oneshot::Sender<()>),
    Withdraw(oneshot::Sender<()>),
}

impl QueueSource {
    /// Connects, takes the lock, sees to the topology, and keeps a connection from then on. Takes no
    /// message before it is asked.
    ///
    /// # Errors
    /// [`AmqpError`] where the queue cannot be used, or not by this process.
    pub async fn start(
        broker: Broker,
        currencies: Currencies,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, AmqpError> {
        let opened = Opened::first(&broker).await?;
        let settings = broker.settings();
        let (name, prefetch) = (settings.names.jobs_queue.as_str().into(), settings.prefetch);
        // What one session brought may lie there, void, when the next begins.
        let (events_sender, events) = mpsc::channel(2 * usize::from(prefetch) + LOSSES_WAITING);
        let (commands, commands_waiting) = mpsc::channel(4);
        let (answers, answers_waiting) = mpsc::channel(ANSWERS_WAITING);
        let shared = Arc::new(Shared::default());
        let link = Link::default();
        link.set(true);
        telemetry::BrokerFound {
            connection: "consuming",
        }
        .emit();
        let supervisor = Supervisor {
            broker,
            events: events_sender,
            prefetch,
            commands: commands_waiting,
            answers: answers_waiting,
            shared: Arc::clone(&shared),
            link: link.clone(),
            opened: Some(opened),
            session: None,
            opening: JoinSet::new(),
            waits: Broker::waits(),
            unread: VecDeque::new(),
            reads: 0,
            look_at: Instant::now() + LOOK_EVERY,
            has_delivered: false,
        };
        let mut task = JoinSet::new();
        task.spawn(supervisor.run());
        Ok(Self {
            events,
            stash: VecDeque::new(),
            commands,
            answers,
            shared,
            name,
            currencies,
            clock,
            link,
            _task: task,
        })
    }

    /// Whether its connection stands.
    #[must_use]
    pub fn link(&self) -> Link {
        self.link.clone()
    }

    /// A message as an offer; none where it is void by now.
    fn read(&self, delivered: Delivered) -> Option<Offered> {
        if delivered.generation != self.shared.generation.load(Ordering::Acquire) {
            return None;
        }
        let received_at = self.clock.wall();
        telemetry::MessageReceived {
            sent_at_s: *delivered.properties.timestamp(),
            received_at,
        }
        .emit();
        let (envelope, line) = message::envelope_of(&delivered.properties);
        let provenance = Provenance {
            origin: Origin::Queue,
            source: Arc::clone(&self.name),
            line,
            envelope,
            received_at,
        };
        let receipt = Box::new(QueueReceipt {
            generation: delivered.generation,
            tag: delivered.tag,
            shared: Arc::clone(&self.shared),
            answers: self.answers.clone(),
        });
        let body: Arc<[u8]> = delivered.body.into();
        let read = match message::wrong_claim(&delivered.properties) {
            Some(unreadable) => Err(Box::new(unreadable)),
            None => wire::job::decode(&body, &self.currencies),
        };
        Some(match read {
            Ok(job) => Offered::Job(Delivery {
                job,
                provenance,
                body: Some(body),
                is_redelivered: delivered.is_redelivered,
                again: None,
                receipt,
            }),
            Err(unreadable) => Offered::Unreadable(UnreadableDelivery {
                unreadable,
                body,
                provenance,
                receipt,
            }),
        })
    }

    async fn command(&self, command: impl FnOnce(oneshot::Sender<()>) -> Command) {
        let (reply, done) = oneshot::channel();
        if self.commands.send(command(reply)).await.is_ok() {
            // Where it takes too long, the end of the process gives everything back.
            drop(timeout(WITHDRAW_LIMIT, done).await);
        }
    }
}

enum Offered {
    Job(Delivery),
    Unreadable(UnreadableDelivery),
}

#[async_trait]
impl Source for QueueSource {
    async fn next(&mut self, max: usize) -> Result<Offer, SourceError> {
        if let Some(offer) = self.stash.pop_front() {
            return Ok(offer);
        }
        if !self.shared.wanted.swap(true, Ordering::AcqRel) {
            self.shared.asked.notify_one();
        }
        let mut jobs = Vec::new();
        loop {
            let event = if jobs.is_empty() {
                match self.events.recv().await {
                    Some(event) => event,
                    None => return Err(SourceError::new("consuming", "its task has ended")),
                }
            } else {
                match self.events.try_recv() {
                    Ok(event) => event,
                    Err(_) => return Ok(Offer::Jobs(jobs)),
                }
            };
            self.shared.reads.fetch_add(1, Ordering::AcqRel);
            match event {
                Event::Delivered(delivered) => match self.read(*delivered) {
                    Some(Offered::Job(delivery)) => jobs.push(delivery),
                    Some(Offered::Unreadable(message)) => {
                        self.stash.push_back(Offer::Unreadable(message));
                    }
                    None => {}
                },
                Event::Lost => self.stash.push_back(Offer::Lost),
                Event::Failed(error) => return Err(SourceError::new("consuming", error)),
            }
            let is_enough = jobs.len() >= max.clamp(1, DELIVERIES_PER_CALL);
            if is_enough || !self.stash.is_empty() {
                return Ok(if jobs.is_empty() {
                    self.stash.pop_front().unwrap_or(Offer::Lost)
                } else {
                    Offer::Jobs(jobs)
                });
            }
        }
    }

    async fn stop(&mut self) {
        self.command(Command::Stop).await;
    }

    async fn withdraw(&mut self) {
        self.command(Command::Withdraw).await;
        // What was on its way is void and comes again.
        self.stash.clear();
        while let Ok(event) = self.events.try_recv() {
            self.shared.reads.fetch_add(1, Ordering::AcqRel);
            if let Event::Failed(_) = event {
                telemetry::BrokerLost {
                    connection: "consuming",
                    why: "it cannot be used any more",
                }
                .emit();
            }
        }
    }
}

/// The right to acknowledge one delivery, as long as its session lasts.
struct QueueReceipt {
    generation: u64,
    tag: u64,
    shared: Arc<Shared>,
    answers: mpsc::Sender<Answer>,
}

impl QueueReceipt {
    async fn answer(&self, is_done: bool) {
        if self.is_void() {
            return;
        }
        let answer = Answer {
            generation: self.generation,
            tag: self.tag,
            is_done,
        };
        // Where nobody takes answers any more, the message comes again.
        self.answers.send(answer).await.ok();
    }
}

#[async_trait]
impl Receipt for QueueReceipt {
    async fn done(self: Box<Self>, _outcome: &StoredOutcome) {
        self.answer(true).await;
    }

    async fn back(self: Box<Self>, why: Back) {
        match why {
            // Its job is over, so that its place in the queue does not matter.
            Back::ComesAgain | Back::NotProven => self.answer(false).await,
            // Given back alone it would come after what came after it; the end of the session gives all
            // back in order.
            Back::Undecided => {}
        }
    }

    fn is_void(&self) -> bool {
        self.generation != self.shared.generation.load(Ordering::Acquire)
    }
}

struct Supervisor {
    broker: Broker,
    events: mpsc::Sender<Event>,
    prefetch: u16,
    commands: mpsc::Receiver<Command>,
    answers: mpsc::Receiver<Answer>,
    shared: Arc<Shared>,
    link: Link,
    opened: Option<Opened>,
    session: Option<Session>,
    opening: JoinSet<Result<Opened, AmqpError>>,
    /// Before it connects anew; from the first on again once it consumes.
    waits: ExponentialBackoff,
    /// When each event came that the engine had not read when it had read so many.
    unread: VecDeque<Instant>,
    reads: u64,
    /// When connection and messages are looked at next.
    look_at: Instant,
    /// Whether a message has come since they were looked at last.
    has_delivered: bool,
}

/// What the task woke up for.
enum Wake {
    Command(Command),
    Delivery(Option<lapin::Result<lapin::message::Delivery>>),
    Answers(Vec<Answer>),
    FlushIsDue,
    Opened(Result<Opened, AmqpError>),
    Asked,
    Look,
    NobodyLeft,
}

impl Supervisor {
    async fn run(mut self) {
        loop {
            match self.want().await {
                Ok(()) => {}
                // This will not mend itself.
                Err(error) if error.is_refusal() => return self.fail(error).await,
                Err(error) => self.lose(&told(&error)).await,
            }
            let stepped = match self.wait().await {
                Wake::NobodyLeft => return self.close().await,
                Wake::Command(command) => self.obey(command).await,
                Wake::Delivery(delivery) => self.deliver(delivery).await,
                Wake::Answers(answers) => self.note(&answers).await,
                Wake::FlushIsDue => self.flush().await,
                Wake::Opened(Ok(opened)) => {
                    telemetry::BrokerFound {
                        connection: "consuming",
                    }
                    .emit();
                    self.link.set(true);
                    self.opened = Some(opened);
                    Ok(())
                }
                Wake::Opened(Err(error)) => return self.fail(error).await,
                Wake::Asked => Ok(()),
                Wake::Look => self.look().await,
            };
            if let Err(why) = stepped {
                self.lose(&why).await;
            }
        }
    }

    async fn wait(&mut self) -> Wake {
        let flush_at = self.session.as_ref().and_then(|session| session.flush_at);
        let flush = async {
            match flush_at {
                Some(at) => sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        let mut answers = Vec::new();
        let session = self.session.as_mut();
        let delivery = async {
            match session {
                Some(session) => session.next().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            command = self.commands.recv() => match command {
                Some(command) => Wake::Command(command),
                None => Wake::NobodyLeft,
            },
            _ = self.answers.recv_many(&mut answers, ANSWERS_WAITING) => Wake::Answers(answers),
            () = flush => Wake::FlushIsDue,
            delivery = delivery => Wake::Delivery(delivery),
            Some(opened) = self.opening.join_next() => match opened {
                Ok(opened) => Wake::Opened(opened),
                Err(error) => std::panic::resume_unwind(error.into_panic()),
            },
            () = self.shared.asked.notified() => Wake::Asked,
            () = sleep_until(self.look_at) => Wake::Look,
        }
    }

    /// Sees that messages are taken where they are wanted: always as many, however few the engine asks
    /// for.
    async fn want(&mut self) -> Result<(), AmqpError> {
        let is_wanted = self.shared.wanted.load(Ordering::Acquire) && self.session.is_none();
        let Some(opened) = self.opened.as_ref().filter(|_| is_wanted) else {
            return Ok(());
        };
        let queue = &self.broker.settings().names.jobs_queue;
        let generation = self.shared.generation.load(Ordering::Acquire);
        let mut session = Session::open(&opened.connection, generation).await?;
        session.consume(queue, self.prefetch).await?;
        self.session = Some(session);
        self.waits = Broker::waits();
        Ok(())
    }

    /// Closes the channel: the broker has all that is not answered, in its order.
    async fn end_session(&mut self) {
        self.void();
        self.want_nothing();
        if let Some(session) = self.session.take() {
            // A channel that is broken has given back already.
            drop(session.close().await);
        }
    }

    async fn obey(&mut self, command: Command) -> Result<(), String> {
        match command {
            Command::Stop(reply) => {
                self.want_nothing();
                if let Some(session) = &mut self.session {
                    session.stop();
                }
                // Nobody may wait for it any more.
                reply.send(()).ok();
                Ok(())
            }
            Command::Withdraw(reply) => {
                // What receipts have said so far counts.
                let mut flushed = Ok(());
                while let Ok(answer) = self.answers.try_recv() {
                    flushed =
                        flushed.and(self.take_note(answer).await.map_err(|error| told(&error)));
                }
                let flushed = flushed.and(self.flush().await);
                self.end_session().await;
                reply.send(()).ok();
                flushed
            }
        }
    }

    async fn deliver(
        &mut self,
        delivery: Option<lapin::Result<lapin::message::Delivery>>,
    ) -> Result<(), String> {
        let Some(session) = &mut self.session else {
            return Ok(());
        };
        let delivery = match delivery {
            Some(Ok(delivery)) => delivery,
            Some(Err(error)) => return Err(format!("the consumer was ended: {error}")),
            None => {
                return Err("the consumer was ended: its queue is gone, perhaps".to_owned());
            }
        };
        let delivered = take(session, delivery);
        self.has_delivered = true;
        self.tell(delivered).await;
        Ok(())
    }

    /// The queue of events has room for all that the prefetch lets through.
    async fn tell(&mut self, event: Event) {
        self.forget_read();
        self.unread.push_back(Instant::now());
        // Nobody may be left to read it.
        self.events.send(event).await.ok();
    }

    /// The queue cannot be used any more, which will not mend itself.
    async fn fail(mut self, error: AmqpError) {
        self.tell(Event::Failed(error)).await;
        self.close().await;
    }

    async fn note(&mut self, answers: &[Answer]) -> Result<(), String> {
        for answer in answers {
            self.take_note(*answer)
                .await
                .map_err(|error| told(&error))?;
        }
        Ok(())
    }

    async fn take_note(&mut self, answer: Answer) -> Result<(), AmqpError> {
        match &mut self.session {
            Some(session) if session.generation == answer.generation => {
                if answer.is_done {
                    session.done(answer.tag);
                    return Ok(());
                }
                session.give_back(answer.tag).await
            }
            // Its session is over: the message is the broker's again.
            Some(_) | None => Ok(()),
        }
    }

    async fn flush(&mut self) -> Result<(), String> {
        match &mut self.session {
            Some(session) => session.flush().await.map_err(|error| told(&error)),
            None => Ok(()),
        }
    }

    /// A connection may end without a word on the consumer's stream; and what nobody reads is given back
    /// before the broker takes it.
    async fn look(&mut self) -> Result<(), String> {
        self.look_at = Instant::now() + LOOK_EVERY;
        let is_up = self
            .opened
            .as_ref()
            .is_none_or(|opened| opened.connection.status().connected());
        let is_open = self.session.as_ref().is_none_or(Session::is_up);
        if is_up && is_open {
            let has_room = self.session.as_ref().is_some_and(Session::has_room);
            if !std::mem::take(&mut self.has_delivered) && has_room {
                telemetry::QueueIsEmpty.emit();
            }
            if self.is_unread() {
                self.flush().await?;
                self.end_session().await;
                self.tell(Event::Lost).await;
            }
            Ok(())
        } else {
            Err("the connection broke".to_owned())
        }
    }

    fn forget_read(&mut self) {
        let reads = self.shared.reads.load(Ordering::Acquire);
        let news = reads.saturating_sub(std::mem::replace(&mut self.reads, reads));
        let news = usize::try_from(news).unwrap_or(usize::MAX);
        self.unread.drain(..news.min(self.unread.len()));
    }

    /// Whether a message has lain unread for too long.
    fn is_unread(&mut self) -> bool {
        self.forget_read();
        let oldest = self.unread.front();
        self.session.is_some() && oldest.is_some_and(|since| since.elapsed() > UNREAD_LIMIT)
    }

    /// From now on nothing that was delivered can be answered.
    fn void(&self) {
        self.shared.generation.fetch_add(1, Ordering::AcqRel);
    }

    /// Nothing more is taken until it is asked for.
    fn want_nothing(&self) {
        self.shared.wanted.store(false, Ordering::Release);
    }

    /// The connection, or what is consumed on it, is lost: begins anew.
    async fn lose(&mut self, why: &str) {
        let Some(opened) = self.opened.take() else {
            return;
        };
        self.void();
        self.link.set(false);
        telemetry::BrokerLost {
            connection: "consuming",
            why,
        }
        .emit();
        if let Some(session) = self.session.take() {
            // Where only an answer was late: before the connection, so that all goes back in its order.
            drop(timeout(LOOK_EVERY, session.close()).await);
            self.want_nothing();
            self.tell(Event::Lost).await;
        }
        let closed = opened.connection.close(200, "beginning anew".into());
        // The lock goes with it; a connection that is broken needs no farewell.
        drop(timeout(LOOK_EVERY, closed).await);
        let first = self.waits.next().unwrap_or(LOOK_EVERY);
        self.opening
            .spawn(Opened::again(self.broker.clone(), first));
    }

    async fn close(mut self) {
        let flushed = self.flush().await;
        self.void();
        if let Some(opened) = self.opened.take() {
            let closed = opened.connection.close(200, "done".into());
            drop(timeout(ANSWER_LIMIT, closed).await);
        }
        drop(flushed);
    }
}

/// A delivery as the engine gets it; its session waits for the answer.
fn take(session: &mut Session, delivery: lapin::message::Delivery) -> Event {
    session.came(&delivery);
    Event::Delivered(Box::new(Delivered {
        generation: session.generation,
        tag: delivery.delivery_tag,
        is_redelivered: delivery.redelivered,
        properties: delivery.properties,
        body: delivery.data,
    }))
}

/// An error with what caused it, in one line.
fn told(error: &AmqpError) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}
