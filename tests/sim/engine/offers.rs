//! Where jobs come from: a queue that behaves as RabbitMQ does, and a file.
//!
//! *What it promises.* What the queue delivered and was not told about comes again, in its order, once its
//! session is over. An answer of an earlier session is dropped. Each receipt is judged as it is answered.
//!
//! *What it refuses to know.* What the engine does with a delivery.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use tanda::domain::job::Job;
use tanda::domain::money::Currencies;
use tanda::domain::outcome::Status;
use tanda::domain::request::Person;
use tanda::engine::ports::{
    Back, Delivery, Offer, Origin, Provenance, Receipt, Source, SourceError, StoredOutcome,
    UnreadableDelivery,
};
use tanda::wire;
use tanda::wire::envelope::Envelope;
use tanda::wire::outcome::OutcomeMessage;
use tokio::sync::Notify;

use super::fault::Fault;
use super::ledger::Vault;
use super::plan::{Message, Plan};
use super::readers::Readers;
use super::sabotage::Sabotage;
use super::scene::{Life, Scene, lock};

#[derive(Clone)]
struct Put {
    message: Message,
    body: Arc<[u8]>,
    was_delivered: bool,
}

#[derive(Default)]
struct Broker {
    /// Everything that is not acknowledged, in its order.
    messages: BTreeMap<u64, Put>,
    ready: BTreeSet<u64>,
    unanswered: BTreeMap<u64, u64>,
    next_place: u64,
    next_tag: u64,
    session: u64,
    lost: bool,
    stops: bool,
    /// Whether the source told a process that it broke.
    broke: bool,
    /// Where the first of each job is that says the same.
    order: BTreeMap<(String, String, String, i64), u64>,
    /// Jobs of which a message was acknowledged or is there since the last loss.
    known_since_loss: BTreeSet<String>,
    /// Receipts of the file that are not answered.
    open_rows: usize,
}

/// The queue and the file. Clones share them.
#[derive(Clone)]
pub(super) struct Offers {
    scene: Scene,
    plan: Arc<Plan>,
    readers: Readers,
    vault: Vault,
    sabotage: Sabotage,
    broker: Arc<Mutex<Broker>>,
    changed: Arc<Notify>,
}

/// What a movement is compared by.
pub(super) fn content_of(job: &Job) -> (String, String, String, i64) {
    (
        job.entity_id.as_str().to_owned(),
        job.card_id.as_str().to_owned(),
        job.operation.as_str().to_owned(),
        job.amount.minor(),
    )
}

impl Offers {
    pub(super) fn new(
        scene: Scene,
        plan: Arc<Plan>,
        readers: Readers,
        vault: Vault,
        sabotage: Sabotage,
    ) -> Self {
        let broker = Broker::default();
        Self {
            scene,
            plan,
            readers,
            vault,
            sabotage,
            broker: Arc::new(Mutex::new(broker)),
            changed: Arc::default(),
        }
    }

    pub(super) fn put(&self, message: &Message) {
        let mut broker = lock(&self.broker);
        let place = broker.next_place;
        broker.next_place += 1;
        let body = match message {
            Message::Job(job) => {
                broker.order.entry(content_of(job)).or_insert(place);
                let name = job.entity_id.as_str().to_owned();
                broker.known_since_loss.insert(name);
                wire::job::encode(job)
            }
            Message::Unreadable(bytes) => bytes.clone(),
        };
        let put = Put {
            message: message.clone(),
            body: body.into(),
            was_delivered: false,
        };
        broker.messages.insert(place, put);
        broker.ready.insert(place);
        drop(broker);
        self.changed.notify_one();
    }

    pub(super) fn cut(&self) {
        self.end_session();
        lock(&self.broker).lost = true;
        self.changed.notify_one();
    }

    /// Whoever took from it is gone.
    pub(super) fn taker_is_gone(&self) {
        self.end_session();
        let mut broker = lock(&self.broker);
        broker.lost = false;
        broker.stops = false;
        broker.broke = false;
        broker.open_rows = 0;
    }

    pub(super) fn ledger_is_lost(&self) {
        let mut broker = lock(&self.broker);
        let left = broker.messages.values();
        broker.known_since_loss = left.filter_map(Put::name).collect();
    }

    pub(super) fn len(&self) -> usize {
        lock(&self.broker).messages.len()
    }

    /// What is delivered and not answered.
    pub(super) fn open(&self) -> Vec<Option<String>> {
        let broker = lock(&self.broker);
        let places = broker.unanswered.values();
        places
            .map(|place| broker.messages.get(place).and_then(Put::name))
            .collect()
    }

    pub(super) fn broke(&self) -> bool {
        lock(&self.broker).broke
    }

    /// Where the first message is that says this.
    pub(super) fn place_of(&self, content: &(String, String, String, i64)) -> Option<u64> {
        lock(&self.broker).order.get(content).copied()
    }

    /// Whether the ledger must know this job, for it has not been lost since.
    pub(super) fn must_be_known(&self, name: &str) -> bool {
        lock(&self.broker).known_since_loss.contains(name)
    }

    pub(super) fn queue(&self, life: Life) -> QueueSource {
        QueueSource {
            offers: self.clone(),
            life,
        }
    }

    pub(super) fn file(&self, life: Life, again: Option<Person>) -> FileSource {
        FileSource {
            offers: self.clone(),
            life,
            next_row: 0,
            again,
        }
    }

    fn end_session(&self) {
        let mut broker = lock(&self.broker);
        broker.session += 1;
        for (_, place) in std::mem::take(&mut broker.unanswered) {
            broker.goes_back(place, self.sabotage);
        }
    }

    fn offer(&self, max: usize) -> Option<Offer> {
        let mut broker = lock(&self.broker);
        if std::mem::take(&mut broker.lost) {
            self.scene.tell(|| "the source is lost".to_owned());
            return Some(Offer::Lost);
        }
        let mut jobs = Vec::new();
        let prefetch = if max == 1 { 1 } else { self.plan.prefetch };
        while jobs.len() < max && broker.unanswered.len() < prefetch {
            let Some(place) = broker.ready.first().copied() else {
                break;
            };
            let put = broker.messages.get(&place).cloned()?;
            let is_unreadable = matches!(put.message, Message::Unreadable(_));
            if is_unreadable && !jobs.is_empty() {
                break;
            }
            let tag = broker.take(place);
            let receipt = Box::new(QueueReceipt {
                offers: self.clone(),
                message: put.message.clone(),
                session: broker.session,
                tag,
            });
            let provenance = Provenance {
                origin: Origin::Queue,
                source: "a queue".into(),
                line: None,
                envelope: Envelope::default(),
                received_at: self.scene.wall_now(),
            };
            self.scene.tell(|| {
                let name = put.name();
                format!("offered {name:?} tag {tag} again {}", put.was_delivered)
            });
            match put.message {
                Message::Job(job) => jobs.push(Delivery {
                    job,
                    provenance,
                    body: Some(put.body),
                    is_redelivered: put.was_delivered,
                    again: None,
                    receipt,
                }),
                Message::Unreadable(_) => {
                    let read = wire::job::decode(&put.body, &Currencies::default());
                    return Some(Offer::Unreadable(UnreadableDelivery {
                        unreadable: read.expect_err("it is no job"),
                        body: put.body,
                        provenance,
                        receipt,
                    }));
                }
            }
        }
        (!jobs.is_empty()).then_some(Offer::Jobs(jobs))
    }

    /// An answer must be durable, read by its readers, and about what was offered.
    fn judge_answer(&self, offered: &Message, outcome: &StoredOutcome) {
        let status = outcome.status;
        self.scene
            .tell(|| format!("answered {:?} {status}", name_of(offered)));
        if !self.readers.have(outcome.event_id) {
            self.scene.violate("I3", || {
                format!(
                    "{:?} was answered {status} before that was confirmed",
                    name_of(offered)
                )
            });
        }
        if !self.vault.has(outcome.event_id) {
            self.scene.violate("I3", || {
                format!(
                    "{:?} was answered {status} before that was durable",
                    name_of(offered)
                )
            });
        }
        let Message::Job(job) = offered else {
            if status != Status::Invalid {
                self.scene.violate("I4", || {
                    format!("what cannot be read was answered {status}")
                });
            }
            return;
        };
        let told = OutcomeMessage::decode(&outcome.body).expect("our own message");
        let is_about = told.entity_id.as_deref() == Some(job.entity_id.as_str());
        let says_the_same = told.card_id.as_deref() == Some(job.card_id.as_str())
            && told.operation.as_deref() == Some(job.operation.as_str())
            && told
                .amount
                .is_some_and(|it| it.amount == job.amount.minor());
        // A later generation may have found what an earlier one moved.
        let is_first = told.generation.is_none_or(|generation| generation == 1);
        if !is_about || (!says_the_same && is_first) {
            self.scene.violate("I6", || {
                let body = String::from_utf8_lossy(&outcome.body).into_owned();
                format!(
                    "{} was answered with what is said of another: {body}",
                    job.entity_id
                )
            });
        }
    }
}

impl Put {
    fn name(&self) -> Option<String> {
        name_of(&self.message)
    }
}

fn name_of(message: &Message) -> Option<String> {
    match message {
        Message::Job(job) => Some(job.entity_id.as_str().to_owned()),
        Message::Unreadable(_) => None,
    }
}

impl Broker {
    fn take(&mut self, place: u64) -> u64 {
        self.ready.remove(&place);
        if let Some(put) = self.messages.get_mut(&place) {
            put.was_delivered = true;
        }
        let tag = self.next_tag;
        self.next_tag += 1;
        self.unanswered.insert(tag, place);
        tag
    }

    fn goes_back(&mut self, place: u64, sabotage: Sabotage) {
        if sabotage == Sabotage::QueueForgets {
            self.messages.remove(&place);
            return;
        }
        if sabotage != Sabotage::QueueLosesOrder {
            self.ready.insert(place);
            return;
        }
        if let Some(put) = self.messages.remove(&place) {
            let last = self.next_place;
            self.next_place += 1;
            self.messages.insert(last, put);
            self.ready.insert(last);
        }
    }
}

struct QueueReceipt {
    offers: Offers,
    message: Message,
    session: u64,
    tag: u64,
}

impl QueueReceipt {
    /// The place of the message, where this session may still answer.
    fn close(&self) -> Option<u64> {
        if self.is_void() {
            return None;
        }
        let place = lock(&self.offers.broker).unanswered.remove(&self.tag);
        if place.is_none() {
            let name = name_of(&self.message);
            let scene = &self.offers.scene;
            scene.violate("I3", || format!("{name:?}: a receipt was answered twice"));
        }
        place
    }
}

#[async_trait]
impl Receipt for QueueReceipt {
    async fn done(self: Box<Self>, outcome: &StoredOutcome) {
        self.offers.judge_answer(&self.message, outcome);
        if self.offers.scene.strikes(Fault::AckLost) {
            // The connection breaks before the broker has read it.
            self.offers.cut();
            return;
        }
        if let Some(place) = self.close() {
            lock(&self.offers.broker).messages.remove(&place);
            self.offers.changed.notify_one();
        }
    }

    async fn back(self: Box<Self>, why: Back) {
        if lock(&self.offers.broker).stops {
            // The end of the session gives it back, in its order.
            return;
        }
        let name = name_of(&self.message);
        self.offers
            .scene
            .tell(|| format!("given back {name:?} {why:?}"));
        if let Some(place) = self.close() {
            lock(&self.offers.broker).goes_back(place, self.offers.sabotage);
            self.offers.changed.notify_one();
        }
    }

    fn is_void(&self) -> bool {
        lock(&self.offers.broker).session != self.session
    }
}

/// The queue as one process reaches it.
pub(super) struct QueueSource {
    offers: Offers,
    life: Life,
}

#[async_trait]
impl Source for QueueSource {
    async fn next(&mut self, max: usize) -> Result<Offer, SourceError> {
        let offers = self.offers.clone();
        lock(&offers.broker).stops = false;
        let most = offers.plan.settings.in_flight;
        if max > most {
            let scene = &offers.scene;
            scene.violate("I11", || format!("{max} wanted, {most} allowed"));
        }
        loop {
            offers.scene.step(self.life).await;
            if offers.scene.strikes(Fault::Cut) {
                offers.cut();
            }
            if offers.scene.strikes(Fault::SourceBreaks) {
                offers.scene.tell(|| "the source breaks".to_owned());
                lock(&offers.broker).broke = true;
                return Err(SourceError::new("reading", "the broker closed"));
            }
            if let Some(offer) = offers.offer(max) {
                let open = lock(&offers.broker).unanswered.len();
                if open > most {
                    let scene = &offers.scene;
                    scene.violate("I11", || format!("{open} deliveries open, {most} allowed"));
                }
                return Ok(offer);
            }
            offers.changed.notified().await;
        }
    }

    async fn stop(&mut self) {
        lock(&self.offers.broker).stops = true;
        self.offers.scene.pass(3).await;
    }

    async fn withdraw(&mut self) {
        lock(&self.offers.broker).stops = true;
        self.offers.scene.pass(3).await;
        self.offers.end_session();
        lock(&self.offers.broker).lost = false;
    }
}

/// The file as one process reads it.
pub(super) struct FileSource {
    offers: Offers,
    life: Life,
    next_row: usize,
    again: Option<Person>,
}

#[async_trait]
impl Source for FileSource {
    async fn next(&mut self, max: usize) -> Result<Offer, SourceError> {
        let offers = self.offers.clone();
        offers.scene.step(self.life).await;
        let rows = offers.plan.rows.iter().skip(self.next_row).take(max);
        let jobs: Vec<_> = rows
            .zip(self.next_row + 1..)
            .map(|(job, line)| Delivery {
                job: job.clone(),
                provenance: Provenance {
                    origin: Origin::File,
                    source: "a file".into(),
                    line: u64::try_from(line).ok(),
                    envelope: Envelope::default(),
                    received_at: offers.scene.wall_now(),
                },
                body: None,
                is_redelivered: false,
                again: self.again.clone(),
                receipt: Box::new(RowReceipt {
                    offers: offers.clone(),
                    life: self.life,
                    job: job.clone(),
                }),
            })
            .collect();
        if jobs.is_empty() {
            return Ok(Offer::Dry);
        }
        self.next_row += jobs.len();
        let open = {
            let mut broker = lock(&offers.broker);
            broker.open_rows += jobs.len();
            for job in &jobs {
                let name = job.job.entity_id.as_str().to_owned();
                broker.known_since_loss.insert(name);
            }
            broker.open_rows
        };
        let most = offers.plan.settings.in_flight;
        if open > most {
            let scene = &offers.scene;
            scene.violate("I11", || format!("{open} rows open, {most} allowed"));
        }
        Ok(Offer::Jobs(jobs))
    }
}

struct RowReceipt {
    offers: Offers,
    life: Life,
    job: Job,
}

impl RowReceipt {
    fn close(&self) {
        let mut broker = lock(&self.offers.broker);
        broker.open_rows = broker.open_rows.saturating_sub(1);
    }
}

#[async_trait]
impl Receipt for RowReceipt {
    async fn done(self: Box<Self>, outcome: &StoredOutcome) {
        self.offers.scene.step(self.life).await;
        let offered = Message::Job(self.job.clone());
        self.offers.judge_answer(&offered, outcome);
        self.close();
    }

    async fn back(self: Box<Self>, _why: Back) {
        self.close();
    }
}
