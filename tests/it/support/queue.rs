//! A queue in memory that behaves as RabbitMQ does, the worker that takes from it, and the judge of
//! both.
//!
//! *What it promises.* What is delivered and not answered comes again, in its order, once its session
//! is over. An answer of an earlier session is dropped. Every delivery is on record with how it ended.
//!
//! *What it refuses to know.* What the engine does with a delivery.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tanda::domain::job::Job;
use tanda::domain::money::Currencies;
use tanda::domain::outcome::Status;
use tanda::domain::request::{Person, RequestId, Wish};
use tanda::engine::ports::{
    Back, Delivery, Ledger, Offer, Origin, Provenance, Receipt, Source, SourceError, StoredOutcome,
    UnreadableDelivery,
};
use tanda::engine::settings::{Ending, Holding};
use tanda::engine::stop::Stopper;
use tanda::engine::{Ended, EngineError, Pause};
use tanda::wire;
use tanda::wire::envelope::Envelope;
use tanda::wire::outcome::OutcomeMessage;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::fuse::Fuse;
use super::judge::{Collector, World, let_pass, wall_now};

/// What happened, in its order, as the doors of the engine saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    /// A delivery of this job was taken.
    Offered(String, u64),
    /// It ended so.
    Ended(String, u64, How),
    /// The ledger has taken it over.
    Held(String),
    /// Its intent is durable.
    Begun(String),
    /// The bank is called.
    Called(String),
    /// An outcome of it was confirmed.
    Published(String, Status),
}

/// How a delivery ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    Done(Status),
    Back,
    Void,
}

/// What happened so far. Clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Chronicle(Arc<Mutex<Vec<Entry>>>);

impl Chronicle {
    pub(crate) fn note(&self, entry: Entry) {
        lock(&self.0).push(entry);
    }

    pub(crate) fn entries(&self) -> Vec<Entry> {
        lock(&self.0).clone()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The broker's side. Clones share it.
#[derive(Clone)]
pub(crate) struct Queue {
    broker: Arc<Mutex<Broker>>,
    changed: Arc<Notify>,
    chronicle: Chronicle,
    sink: Collector,
}

struct Broker {
    prefetch: usize,
    /// Everything that is not acknowledged, in its order.
    messages: BTreeMap<u64, Message>,
    ready: BTreeSet<u64>,
    unanswered: BTreeMap<u64, Unanswered>,
    next_place: u64,
    next_tag: u64,
    session: u64,
    wanted: usize,
    lost: bool,
    stops: bool,
    /// When each delivery was taken.
    taken: Vec<Instant>,
    /// How long each delivery that has ended was open.
    open_for: Vec<(String, Duration)>,
    most_open: usize,
    /// Receipts that were dropped without an answer while their session lasted.
    forgotten: Vec<String>,
    /// Jobs in the order in which they were put here, each with its card.
    put: Vec<(String, String)>,
}

#[derive(Clone)]
struct Message {
    name: String,
    body: Arc<[u8]>,
    envelope: Envelope,
    was_delivered: bool,
}

struct Unanswered {
    place: u64,
    since: Instant,
}

impl Queue {
    pub(crate) fn new(prefetch: usize, chronicle: Chronicle, sink: Collector) -> Self {
        let broker = Broker {
            prefetch,
            messages: BTreeMap::new(),
            ready: BTreeSet::new(),
            unanswered: BTreeMap::new(),
            next_place: 0,
            next_tag: 0,
            session: 0,
            wanted: 0,
            lost: false,
            stops: false,
            taken: Vec::new(),
            open_for: Vec::new(),
            most_open: 0,
            forgotten: Vec::new(),
            put: Vec::new(),
        };
        Self {
            broker: Arc::new(Mutex::new(broker)),
            changed: Arc::new(Notify::new()),
            chronicle,
            sink,
        }
    }

    /// Puts these jobs behind all others.
    pub(crate) fn put(&self, jobs: &[Job]) {
        for job in jobs {
            let name = job.entity_id.as_str().to_owned();
            let card = job.card_id.as_str().to_owned();
            self.broker().put.push((name.clone(), card));
            self.put_bytes(&name, &wire::job::encode(job), Envelope::default());
        }
    }

    /// Puts copies of these jobs behind all others.
    pub(crate) fn put_again(&self, jobs: &[Job]) {
        for job in jobs {
            let (name, body) = (job.entity_id.as_str(), wire::job::encode(job));
            self.put_bytes(name, &body, Envelope::default());
        }
    }

    /// Puts a message with these bytes behind all others.
    pub(crate) fn put_bytes(&self, name: &str, body: &[u8], envelope: Envelope) {
        let mut broker = self.broker();
        let place = broker.next_place;
        broker.next_place += 1;
        let message = Message {
            name: name.to_owned(),
            body: body.into(),
            envelope,
            was_delivered: false,
        };
        broker.messages.insert(place, message);
        broker.ready.insert(place);
        drop(broker);
        self.changed.notify_one();
    }

    /// The connection breaks.
    pub(crate) fn lose(&self) {
        self.end_session();
        self.broker().lost = true;
        self.changed.notify_one();
    }

    /// Whoever took from it is dead.
    pub(crate) fn worker_died(&self) {
        self.end_session();
        self.broker().lost = false;
    }

    /// How many messages are not acknowledged.
    pub(crate) fn len(&self) -> usize {
        self.broker().messages.len()
    }

    /// How many deliveries are not answered.
    pub(crate) fn open(&self) -> usize {
        self.broker().unanswered.len()
    }

    /// The most that ever were.
    pub(crate) fn most_open(&self) -> usize {
        self.broker().most_open
    }

    /// When each delivery was taken.
    pub(crate) fn taken(&self) -> Vec<Instant> {
        self.broker().taken.clone()
    }

    /// The longest time for which a delivery was, or is, not answered.
    pub(crate) fn longest_open(&self) -> Duration {
        let broker = self.broker();
        let ended = broker.open_for.iter().map(|(_, open)| *open);
        let now = broker.unanswered.values().map(|open| open.since.elapsed());
        ended.chain(now).max().unwrap_or_default()
    }

    /// Jobs in the order in which they were put here, each with its card.
    pub(crate) fn order(&self) -> Vec<(String, String)> {
        self.broker().put.clone()
    }

    fn broker(&self) -> MutexGuard<'_, Broker> {
        lock(&self.broker)
    }

    fn end_session(&self) {
        let mut broker = self.broker();
        broker.session += 1;
        broker.wanted = 0;
        for (tag, unanswered) in std::mem::take(&mut broker.unanswered) {
            broker.ready.insert(unanswered.place);
            let name = broker.name_of(unanswered.place);
            broker
                .open_for
                .push((name.clone(), unanswered.since.elapsed()));
            self.chronicle.note(Entry::Ended(name, tag, How::Void));
        }
    }

    fn offer(&self, max: usize) -> Option<Offer> {
        let mut broker = self.broker();
        if std::mem::take(&mut broker.lost) {
            return Some(Offer::Lost);
        }
        let mut jobs = Vec::new();
        while jobs.len() < max && broker.unanswered.len() < broker.wanted {
            let Some(place) = broker.ready.first().copied() else {
                break;
            };
            let message = broker.messages.get(&place).cloned()?;
            let read = wire::job::decode(&message.body, &Currencies::default());
            if read.is_err() && !jobs.is_empty() {
                break;
            }
            let tag = broker.take(place);
            self.chronicle
                .note(Entry::Offered(message.name.clone(), tag));
            let receipt = Box::new(QueueReceipt {
                queue: self.clone(),
                name: message.name,
                session: broker.session,
                tag,
                answered: false,
            });
            let provenance = Provenance {
                origin: Origin::Queue,
                source: "a queue".into(),
                line: None,
                envelope: message.envelope,
                received_at: wall_now(),
            };
            let body = message.body;
            match read {
                Ok(job) => jobs.push(Delivery {
                    job,
                    provenance,
                    body: Some(body),
                    is_redelivered: message.was_delivered,
                    again: None,
                    receipt,
                }),
                Err(unreadable) => {
                    return Some(Offer::Unreadable(UnreadableDelivery {
                        unreadable,
                        body,
                        provenance,
                        receipt,
                    }));
                }
            }
        }
        (!jobs.is_empty()).then_some(Offer::Jobs(jobs))
    }
}

impl Broker {
    fn take(&mut self, place: u64) -> u64 {
        self.ready.remove(&place);
        if let Some(message) = self.messages.get_mut(&place) {
            message.was_delivered = true;
        }
        let tag = self.next_tag;
        self.next_tag += 1;
        let since = Instant::now();
        self.taken.push(since);
        self.unanswered.insert(tag, Unanswered { place, since });
        self.most_open = self.most_open.max(self.unanswered.len());
        tag
    }

    fn name_of(&self, place: u64) -> String {
        let message = self.messages.get(&place);
        message
            .map(|message| message.name.clone())
            .unwrap_or_default()
    }
}

struct QueueReceipt {
    queue: Queue,
    name: String,
    session: u64,
    tag: u64,
    answered: bool,
}

impl QueueReceipt {
    /// The place of the message, where this session may still answer.
    fn close(&mut self, how: How) -> Option<u64> {
        self.answered = true;
        if self.is_void() {
            return None;
        }
        let mut broker = self.queue.broker();
        let open = broker.unanswered.remove(&self.tag);
        let open = open.expect("a receipt has one answer");
        broker
            .open_for
            .push((self.name.clone(), open.since.elapsed()));
        drop(broker);
        let ended = Entry::Ended(self.name.clone(), self.tag, how);
        self.queue.chronicle.note(ended);
        Some(open.place)
    }
}

#[async_trait]
impl Receipt for QueueReceipt {
    async fn done(mut self: Box<Self>, outcome: &StoredOutcome) {
        let sunk = self.queue.sink.all();
        let confirmed = sunk.iter().any(|seen| seen.event_id == outcome.event_id);
        assert!(
            confirmed,
            "I3: a receipt was answered before its outcome was confirmed"
        );
        if let Some(place) = self.close(How::Done(outcome.status)) {
            self.queue.broker().messages.remove(&place);
            self.queue.changed.notify_one();
        }
    }

    async fn back(mut self: Box<Self>, _why: Back) {
        if self.queue.broker().stops {
            // The end of the session gives it back, in its order.
            self.answered = true;
            return;
        }
        if let Some(place) = self.close(How::Back) {
            self.queue.broker().ready.insert(place);
            self.queue.changed.notify_one();
        }
    }

    fn is_void(&self) -> bool {
        self.queue.broker().session != self.session
    }
}

impl Drop for QueueReceipt {
    fn drop(&mut self) {
        let is_void = self.is_void();
        let mut broker = self.queue.broker();
        if !self.answered && !is_void && !broker.stops {
            broker.forgotten.push(self.name.clone());
        }
    }
}

struct QueueSource(Queue);

#[async_trait]
impl Source for QueueSource {
    async fn next(&mut self, max: usize) -> Result<Offer, SourceError> {
        {
            let mut broker = self.0.broker();
            broker.stops = false;
            let wanted = if max == 1 { 1 } else { broker.prefetch };
            broker.wanted = broker.wanted.max(wanted);
        }
        loop {
            if let Some(offer) = self.0.offer(max) {
                return Ok(offer);
            }
            self.0.changed.notified().await;
        }
    }

    async fn stop(&mut self) {
        self.0.broker().stops = true;
        // The broker answers, and time passes meanwhile.
        let_pass(Duration::from_millis(3)).await;
    }

    async fn withdraw(&mut self) {
        self.0.broker().stops = true;
        let_pass(Duration::from_millis(3)).await;
        self.0.end_session();
        self.0.broker().lost = false;
    }
}

impl Drop for QueueSource {
    fn drop(&mut self) {
        self.0.worker_died();
    }
}

/// A world with a queue, in which workers come and go.
pub(crate) struct Office {
    pub(crate) world: World,
    pub(crate) queue: Queue,
    pub(crate) chronicle: Chronicle,
}

/// A worker that runs.
pub(crate) struct Worker {
    queue: Queue,
    stopper: Stopper,
    task: JoinSet<Result<Ended, EngineError>>,
    pub(crate) pauses: watch::Receiver<Option<Pause>>,
}

impl Office {
    /// The bank's list has proven itself.
    pub(crate) async fn open(ledger: Arc<dyn Ledger>, in_flight: usize) -> Self {
        let office = Self::open_unproven(ledger, in_flight);
        let world = office.world.proven().await;
        Self { world, ..office }
    }

    pub(crate) fn open_unproven(ledger: Arc<dyn Ledger>, in_flight: usize) -> Self {
        let mut world = World::new(ledger);
        world.settings.ending = Ending::WhenStopped;
        world.settings.in_flight = in_flight;
        world.settings.holding = Some(Holding {
            hold_max: Duration::from_secs(600),
            give_back_after: Duration::from_secs(60),
        });
        let chronicle = Chronicle::default();
        let queue = Queue::new(in_flight, chronicle.clone(), world.sink.clone());
        Self {
            world,
            queue,
            chronicle,
        }
    }

    pub(crate) fn start(&self) -> Worker {
        self.start_with(&Fuse::new(usize::MAX))
    }

    /// Starts a worker that this fuse can kill.
    pub(crate) fn start_with(&self, fuse: &Arc<Fuse>) -> Worker {
        let (stopper, stop) = tanda::engine::stop::signal();
        let (shown, pauses) = watch::channel(None);
        let source = Box::new(QueueSource(self.queue.clone()));
        let (ports, source) = fuse.guard_and_note(self.world.ports(), source, &self.chronicle);
        let settings = self.world.settings.clone();
        let mut task = JoinSet::new();
        task.spawn(async move { tanda::engine::run(ports, settings, source, stop, &shown).await });
        Worker {
            queue: self.queue.clone(),
            stopper,
            task,
            pauses,
        }
    }

    /// A person asks for this.
    pub(crate) async fn ask(&self, wish: Wish) -> RequestId {
        let by = Person::parse("Ana").expect("a name");
        let asked = self.world.ledger.request(wish, by, wall_now()).await;
        asked.expect("memory")
    }

    /// Lets time pass until every message is acknowledged and every job has its end, but no longer
    /// than so long.
    pub(crate) async fn settle(&self, most: Duration) {
        self.settle_or_tell(most, "").await;
    }

    pub(crate) async fn settle_or_tell(&self, most: Duration, told: &str) {
        let began = Instant::now();
        while !self.is_done().await {
            assert!(
                began.elapsed() < most,
                "{} messages, {} held, {} open after {most:?} {told}",
                self.queue.len(),
                self.world.ledger.held_count().await.expect("memory"),
                self.world
                    .ledger
                    .unsettled(None, 999)
                    .await
                    .expect("memory")
                    .len(),
            );
            let_pass(Duration::from_millis(500)).await;
        }
    }

    async fn is_done(&self) -> bool {
        let ledger = &self.world.ledger;
        let unsettled = ledger.unsettled(None, 1).await.expect("memory");
        let unpublished = ledger.unpublished(&Origin::ALL, 1).await.expect("memory");
        let held = ledger.held_count().await.expect("memory");
        self.queue.len() == 0 && unsettled.is_empty() && unpublished.is_empty() && held == 0
    }

    /// What must hold in every world at its end.
    pub(crate) fn judge(&self, told: &str) {
        self.judge_money(told);
        self.judge_order(told);
        self.judge_outcomes(told);
        self.judge_takeovers(told);
        let forgotten = self.queue.broker().forgotten.clone();
        assert!(forgotten.is_empty(), "never answered: {forgotten:?} {told}");
    }

    fn judge_money(&self, told: &str) {
        for (name, times) in self.world.bank.applied() {
            assert_eq!(times, 1, "I1: {name} {told}");
        }
    }

    /// The first application of each job of a card, in the order in which the queue had them.
    fn judge_order(&self, told: &str) {
        let mut places: HashMap<String, usize> = HashMap::new();
        for (place, (name, _)) in self.queue.order().into_iter().enumerate() {
            places.entry(name).or_insert(place);
        }
        let mut last: HashMap<String, (usize, String)> = HashMap::new();
        let order = self.queue.order();
        for name in self.world.bank.applied_in_order() {
            let Some(&place) = places.get(&name) else {
                continue;
            };
            let (_, card) = order.get(place).expect("it was put there");
            if let Some((before, other)) = last.get(card) {
                assert!(
                    *before < place,
                    "I7: {name} was applied after {other} {told}\n{}",
                    self.story_of(&[&name, other])
                );
            }
            last.insert(card.clone(), (place, name));
        }
    }

    fn judge_outcomes(&self, told: &str) {
        let applied = self.world.bank.applied();
        for (name, _) in self.queue.order() {
            let messages = self.world.sink.of(&name);
            let about_job = |message: &&OutcomeMessage| message.status != "conflict";
            let finals = messages.iter().filter(about_job).filter(|it| it.is_final);
            let finals: Vec<_> = finals.map(|it| it.status.clone()).collect();
            let story = || self.story_of(&[&name]);
            assert_eq!(finals.len(), 1, "I4: {name} {finals:?} {told}\n{}", story());
            let paid = finals == ["succeeded"];
            let moved = applied.contains_key(&name);
            assert_eq!(
                paid,
                moved,
                "I5, I14: {name} {finals:?} {told}\n{}",
                story()
            );
            let seqs: Vec<_> = messages.iter().filter(about_job).map(|it| it.seq).collect();
            let rises = seqs.is_sorted_by(|one, next| one < next);
            assert!(rises, "{name} has {seqs:?} {told}\n{}", story());
        }
        let mut bodies = HashMap::new();
        for outcome in self.world.sink.all() {
            let body = bodies
                .entry(outcome.event_id)
                .or_insert(outcome.body.clone());
            assert_eq!(*body, outcome.body, "I4: other bytes {told}");
        }
    }

    /// No job begins between its takeover and the answers to whoever waited for it.
    fn judge_takeovers(&self, told: &str) {
        let mut open: HashMap<String, BTreeSet<u64>> = HashMap::new();
        let mut untold: HashMap<String, BTreeSet<u64>> = HashMap::new();
        let mut waiting_told = BTreeSet::new();
        for entry in self.chronicle.entries() {
            match entry {
                Entry::Offered(name, tag) => {
                    open.entry(name).or_default().insert(tag);
                }
                Entry::Ended(name, tag, _) => {
                    open.entry(name.clone()).or_default().remove(&tag);
                    if let Some(untold) = untold.get_mut(&name) {
                        untold.remove(&tag);
                    }
                }
                Entry::Held(name) => {
                    let open = open.get(&name).cloned().unwrap_or_default();
                    untold.insert(name, open);
                }
                Entry::Published(name, Status::Waiting) => {
                    waiting_told.insert(name);
                }
                Entry::Begun(name) => {
                    if let Some(untold) = untold.remove(&name) {
                        let is_told = waiting_told.contains(&name) && untold.is_empty();
                        let story = || self.story_of(&[&name]);
                        assert!(is_told, "I3: {name} began untold {told}\n{}", story());
                    }
                }
                Entry::Published(..) | Entry::Called(_) => {}
            }
        }
    }

    /// Everything that happened to these jobs.
    pub(crate) fn story_of(&self, names: &[&str]) -> String {
        let about = |entry: &&Entry| match entry {
            Entry::Offered(name, _)
            | Entry::Ended(name, ..)
            | Entry::Held(name)
            | Entry::Begun(name)
            | Entry::Called(name)
            | Entry::Published(name, _) => names.contains(&name.as_str()),
        };
        let entries = self.chronicle.entries();
        let lines = entries
            .iter()
            .filter(about)
            .map(|entry| format!("{entry:?}\n"));
        lines.collect()
    }
}

impl Worker {
    /// Stops it, and waits until it has.
    pub(crate) async fn stop(mut self) {
        self.stopper.ask();
        let ended = self.task.join_next().await.expect("it is there");
        let ended = ended.expect("the engine does not panic");
        assert_eq!(ended.expect("the engine runs"), Ended::Stopped);
    }

    /// Asks it to stop.
    pub(crate) fn ask_to_stop(&self) {
        self.stopper.ask();
    }

    /// Kills it where it is.
    pub(crate) async fn kill(mut self) {
        self.queue.worker_died();
        self.task.shutdown().await;
    }

    /// Whether it has ended.
    pub(crate) fn is_over(&self) -> bool {
        self.pauses.has_changed().is_err()
    }
}
