//! The river's state: which jobs are where. One owner, no locks.
//!
//! *What it promises.* At most `in_flight` receipts are open at once (I11), a card's jobs fly one at
//! a time in their order (I7), a job that panics goes on from the ledger, and closing gives back
//! every receipt that was not answered.
//!
//! *What it refuses to know.* What a flight does.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{AbortHandle, Id, JoinError, JoinSet};
use tokio::time::Instant;

use super::beat::{Before, beat, keep_beating};
use super::flight::{Again, Flight, Landing, LeftBy, Start, fly};
use super::lanes::Lanes;
use super::loss::Doubtful;
use super::orders::{BeginMark, LetGo, Order, Orders, What};
use super::pause::Pause;
use super::ports::{Back, Delivery, Intent, JobRef, LedgerError, OpenJob, Provenance};
use super::publish::{keep_marking, keep_publishing, publish_leftovers};
use super::receipts::{OpenReceipts, Receipts};
use super::settings::{
    Ending, Fence, LANE_PARTS, MARKS_WAITING, MAX_IN_DOUBT, RECOVERY_PAGE, REQUESTS_AT_ONCE,
    Settings,
};
use super::stop::Stop;
use super::tower::{Signal, Tower};
use super::{Ended, EngineError, Ports, asking, loss, room};
use crate::domain::digest::Digest;
use crate::domain::job::{CardId, EntityId, Job};
use crate::domain::key::{Generation, IdempotencyKey, Namespace};
use crate::domain::request::{Request, RequestId};
use crate::domain::time::Moment;
use crate::telemetry;
use crate::wire;

pub(super) mod attend;
mod guests;
mod holding;
mod intake;
mod landing;
mod redrive;

use self::holding::GaveBack;

#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a fact of its own about the run"
)]
pub(super) struct River {
    tower: Arc<Tower>,
    lanes: Lanes,
    /// Every job that was taken and has not landed.
    jobs: BTreeMap<EntityId, Taken>,
    flying: JoinSet<Result<Landing, EngineError>>,
    by_task: HashMap<Id, EntityId>,
    /// Answers from the ledger on their way to the sink.
    replies: JoinSet<()>,
    replying: HashMap<Id, Replying>,
    /// How many answers have begun.
    replies_begun: u64,
    /// Messages about jobs that came from a file, whose outcomes go to no queue: each is answered for
    /// itself when its job is over.
    guests: BTreeMap<EntityId, Vec<Delivery>>,
    /// Jobs that people want run again: those on their way, and the requests that wait for them.
    redriving: HashSet<EntityId>,
    redrives: VecDeque<Request>,
    chores: JoinSet<Result<(), EngineError>>,
    /// Orders of people to jobs in doubt, until their requests are answered: one ask of the bank each.
    ordering: JoinSet<Result<(), EngineError>>,
    marking: JoinSet<Result<(), LedgerError>>,
    signals: mpsc::Receiver<Signal>,
    /// What people ask, as the ledger shows it.
    requests: mpsc::Receiver<Request>,
    open_receipts: OpenReceipts,
    in_doubt: usize,
    /// Cards whose lane is free and for which the ledger holds jobs.
    ready: VecDeque<CardId>,
    /// What of this batch of deliveries goes to the ledger, in its order.
    arrivals: BTreeMap<CardId, Vec<EntityId>>,
    /// Cards whose lanes have become full with this batch.
    crowded: BTreeSet<CardId>,
    /// Takeovers that are being told, each with its card.
    telling: JoinSet<CardId>,
    /// Jobs that the ledger holds and that were not offered yet.
    held: u64,
    /// When the ages of deliveries were looked at last.
    aged_at: Instant,
    /// The pause as it was seen last.
    pause: Option<Pause>,
    /// Since a pause has lasted so long that what was taken was given back, until the bank answers.
    gave_back: Option<GaveBack>,
    dry: bool,
    stopping: bool,
    /// Whether jobs in doubt are taken up only where a person asks about them, and only to be asked
    /// about.
    takes_up_for_orders: bool,
    /// Whether some delivery was to be run again.
    runs_again: bool,
}

/// An answer from the ledger on its way to the sink.
struct Replying {
    /// In their order: what happens to many of them at once is the same in every run.
    number: u64,
    /// The receipts that it answers.
    receipts: Arc<Receipts>,
    /// The way to end it.
    task: AbortHandle,
}

/// A job that was taken.
struct Taken {
    job: Job,
    provenance: Provenance,
    fingerprint: Digest,
    generation: Generation,
    /// What an earlier generation left, where this one is not the first.
    again: Option<Again>,
    /// Where the ledger has forgotten a time and does not know the job.
    doubtful: Option<Doubtful>,
    receipts: Arc<Receipts>,
    panics: u32,
    cancelled: bool,
    /// Whether the ledger had held it.
    was_held: bool,
    /// When it was taken, for the age of its delivery.
    since: Instant,
    stand: Stand,
    /// The way to its flight, once it flies, and how far that has come.
    orders: Option<mpsc::Sender<Order>>,
    mark: Arc<BeginMark>,
}

impl Taken {
    /// Tells its flight to let go of it. One that has no room for the order has been told before.
    fn let_go(&self, why: LetGo) {
        if let Some(orders) = &self.orders {
            let (what, (reply, _)) = (What::LetGo(why), oneshot::channel());
            drop(orders.try_send(Order { what, reply }));
        }
    }

    /// How its flight begins where nothing durable says otherwise.
    fn fresh_start(&self) -> Start {
        let (panics, cancelled) = (self.panics, self.cancelled);
        match (&self.again, self.doubtful) {
            (Some(again), doubtful) => Start::Again {
                again: Again {
                    cancelled,
                    ..again.clone()
                },
                doubtful,
            },
            (None, doubtful) => Start::Fresh {
                panics,
                cancelled,
                doubtful,
            },
        }
    }

    /// What is to be sent, as this generation.
    fn intent(&self, namespace: &Namespace, at: Moment) -> Intent {
        let (job, from) = (&self.job, &self.provenance);
        Intent {
            key: IdempotencyKey::derive(namespace, &job.entity_id, self.generation),
            body_sha256: Digest::of(&wire::bank::request_body(job)),
            job: job.clone(),
            generation: self.generation,
            origin: from.origin,
            source: from.source.as_ref().to_owned(),
            line: from.line,
            envelope: from.envelope.clone(),
            received_at: from.received_at,
            again_by: self.again.as_ref().map(|again| again.by.clone()),
            at,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stand {
    Queued,
    Flying,
    InDoubt { longer: bool },
}

/// Something that happened by itself.
pub(super) enum Happening {
    Signal(Signal),
    Requested(Request),
    Landed(Landed),
    Told(Result<CardId, JoinError>),
    AgesAreDue,
    TrialIsDue,
    ChoreEnded(Result<Result<(), EngineError>, JoinError>),
    MarkingEnded(Result<Result<(), LedgerError>, JoinError>),
    Replied(Result<(Id, ()), JoinError>),
}

type Landed = Result<(Id, Result<Landing, EngineError>), JoinError>;

impl River {
    /// Opens from the sink upward: what was left unpublished is published, what was left open is
    /// taken up again, and only then may anything new come in.
    pub(super) async fn open(
        ports: Ports,
        settings: Settings,
        stop: Stop,
    ) -> Result<Self, EngineError> {
        let (mut river, requests) = Self::still(ports, settings, stop).await?;
        // Before anything is sent: from now on the next process knows that this one lived.
        beat(&river.tower).await?;
        room::look(&river.tower).await?;
        if let Some((person, since)) = river.tower.ledger.paused_by().await? {
            river.hold_for(&person, since);
        }
        river.recover().await?;
        river.find_held().await?;
        // What was asked while nobody owned the ledger comes before anything new is taken.
        let attended = river.attend_to_waiting().await?;
        river.start_chores(attended, requests);
        // Nothing else may happen for long.
        river.offer_held().await?;
        Ok(river)
    }

    /// A river in which nothing flows: what was left unpublished is published, and no job is taken
    /// up. The end that requests come in by.
    async fn still(
        ports: Ports,
        settings: Settings,
        stop: Stop,
    ) -> Result<(Self, mpsc::Sender<Request>), EngineError> {
        let (marks, marks_waiting) = mpsc::channel(MARKS_WAITING);
        let (signal_sender, signals) = mpsc::channel(settings.in_flight);
        let (request_sender, requests) = mpsc::channel(REQUESTS_AT_ONCE);
        let before = Before::read(&*ports.ledger).await?;
        let tower = Tower::new(ports, settings, stop, marks, signal_sender, before);
        let mut marking = JoinSet::new();
        marking.spawn(keep_marking(
            Arc::clone(&tower.ledger),
            Arc::clone(&tower.clocks),
            marks_waiting,
        ));
        let depth = tower.settings.holding.map(|_| {
            let part = tower.settings.in_flight / LANE_PARTS;
            part.max(1)
        });
        let river = Self {
            lanes: Lanes::new(depth),
            jobs: BTreeMap::new(),
            flying: JoinSet::new(),
            by_task: HashMap::new(),
            replies: JoinSet::new(),
            replying: HashMap::new(),
            replies_begun: 0,
            guests: BTreeMap::new(),
            redriving: HashSet::new(),
            redrives: VecDeque::new(),
            chores: JoinSet::new(),
            ordering: JoinSet::new(),
            marking,
            signals,
            requests,
            open_receipts: OpenReceipts::default(),
            in_doubt: 0,
            ready: VecDeque::new(),
            arrivals: BTreeMap::new(),
            crowded: BTreeSet::new(),
            telling: JoinSet::new(),
            held: 0,
            aged_at: Instant::now(),
            pause: None,
            gave_back: None,
            dry: false,
            stopping: false,
            takes_up_for_orders: false,
            runs_again: false,
            tower,
        };
        if river.tower.ledger.control().await?.is_some() {
            river.tower.control.set_on_record();
        } else if let Some(intent) = river.tower.ledger.last_accepted().await? {
            // An earlier process may have been killed before the list showed what it had paid.
            river.tower.control.accepted(&intent.job, intent.at);
        }
        publish_leftovers(&river.tower).await?;
        Ok((river, request_sender))
    }

    /// Attends to what people have asked so far, and to nothing else.
    pub(super) async fn attend_alone(
        ports: Ports,
        settings: Settings,
        stop: Stop,
    ) -> Result<(), EngineError> {
        let (mut river, _requests) = Self::still(ports, settings, stop).await?;
        river.takes_up_for_orders = true;
        river.attend_to_waiting().await?;
        while !(river.flying.is_empty() && river.chores.is_empty() && river.ordering.is_empty()) {
            let happening = river.next().await;
            river.follow(happening).await?;
        }
        river.close().await.map(drop)
    }

    fn start_chores(&mut self, attended: Option<RequestId>, requests: mpsc::Sender<Request>) {
        let tower = Arc::clone(&self.tower);
        self.chores.spawn(async move {
            attend::watch_requests(&tower, attended, requests).await?;
            Ok(())
        });
        let tower = Arc::clone(&self.tower);
        self.chores.spawn(async move {
            tower.gate.keep_time(&*tower.bank).await;
            Ok(())
        });
        let tower = Arc::clone(&self.tower);
        self.chores.spawn(async move {
            keep_beating(&tower).await?;
            Ok(())
        });
        let tower = Arc::clone(&self.tower);
        self.chores.spawn(async move {
            asking::keep_control(&tower).await?;
            Ok(())
        });
        let tower = Arc::clone(&self.tower);
        self.chores
            .spawn(async move { Ok(loss::wait_until_past(&tower).await?) });
        let tower = Arc::clone(&self.tower);
        self.chores
            .spawn(async move { Ok(room::keep_looking(&tower).await?) });
        let tower = Arc::clone(&self.tower);
        self.chores
            .spawn(async move { Ok(keep_publishing(&tower).await?) });
    }

    /// Takes up every job whose intent has no outcome: it holds its lane until it is settled.
    async fn recover(&mut self) -> Result<(), EngineError> {
        let mut after: Option<JobRef> = None;
        loop {
            let page = self.next_open_jobs(&mut after).await?;
            if page.is_empty() {
                return Ok(());
            }
            for open in page {
                self.take_up(open);
            }
        }
    }

    /// The page of open jobs behind this one, which moves to the page's last.
    async fn next_open_jobs(
        &self,
        after: &mut Option<JobRef>,
    ) -> Result<Vec<OpenJob>, LedgerError> {
        let page = self
            .tower
            .ledger
            .unsettled(after.take(), RECOVERY_PAGE)
            .await?;
        *after = page.last().map(|last| JobRef {
            entity_id: last.intent.job.entity_id.clone(),
            generation: last.intent.generation,
        });
        Ok(page)
    }

    fn take_up(&mut self, open: OpenJob) {
        let job = open.intent.job.clone();
        if self.jobs.contains_key(&job.entity_id) {
            return;
        }
        let opens = open.person_needed && self.tower.settings.fence == Fence::UntilPersonNeeded;
        if !opens {
            self.lanes.hold(&job.card_id, &job.entity_id);
            self.lanes.fence(&job.card_id, &job.entity_id);
        }
        self.in_doubt += 1;
        let intent = &open.intent;
        let receipts = self.open_receipts.clone();
        let taken = Taken {
            provenance: Provenance {
                origin: intent.origin,
                source: intent.source.as_str().into(),
                line: intent.line,
                envelope: intent.envelope.clone(),
                received_at: intent.received_at,
            },
            fingerprint: job.fingerprint(),
            generation: intent.generation,
            again: None,
            doubtful: None,
            receipts: match &open.doubt {
                Some((interim, _)) if interim.published => {
                    Receipts::told(receipts, interim.clone())
                }
                Some(_) | None => Receipts::new(receipts),
            },
            panics: open.panics,
            cancelled: open.cancelled,
            was_held: open.was_held,
            since: Instant::now(),
            stand: Stand::InDoubt {
                longer: open.person_needed,
            },
            orders: None,
            mark: Arc::default(),
            job,
        };
        let entity_id = taken.job.entity_id.clone();
        self.jobs.insert(entity_id.clone(), taken);
        let (open, left_by) = (Box::new(open), LeftBy::EarlierProcess);
        self.start(&entity_id, Start::Recovered { open, left_by });
    }

    /// Where jobs are taken up only for orders: takes this one up, if it is in doubt.
    async fn take_up_for_order(&mut self, entity_id: &EntityId) -> Result<(), EngineError> {
        if self.takes_up_for_orders
            && !self.jobs.contains_key(entity_id)
            && let Some(open) = self.find_open(entity_id).await?
        {
            self.take_up(open);
        }
        Ok(())
    }

    // ---- flights ------------------------------------------------------------------------------

    fn start(&mut self, entity_id: &EntityId, start: Start) {
        let Some(taken) = self.jobs.get_mut(entity_id) else {
            return;
        };
        if taken.stand == Stand::Queued {
            taken.stand = Stand::Flying;
        }
        if taken.stand == Stand::Flying {
            self.lanes.begins(&taken.job.card_id);
        }
        let (orders, waiting) = Orders::channel(self.takes_up_for_orders);
        taken.orders = Some(orders);
        taken.mark = Arc::default();
        if self.lanes.is_crowded(&taken.job.card_id) {
            // Nothing else may come that would ask.
            taken.mark.awaited();
        }
        let (intent, card_calls) = match &start {
            Start::Recovered { open, .. } => {
                let card_calls = self.lanes.calls_of_holders(&taken.job.card_id);
                (open.intent.clone(), Some(card_calls))
            }
            Start::Fresh { .. } | Start::Again { .. } => {
                let (namespace, now) = (&self.tower.settings.namespace, self.tower.clocks.now());
                (taken.intent(namespace, now), None)
            }
        };
        let flight = Flight {
            intent,
            was_held: taken.was_held,
            orders: waiting,
            start,
            receipts: Arc::clone(&taken.receipts),
            mark: Arc::clone(&taken.mark),
            card_calls,
        };
        let task = self.flying.spawn(fly(Arc::clone(&self.tower), flight));
        self.by_task.insert(task.id(), entity_id.clone());
    }

    /// The next thing that happens by itself; never ends where nothing can.
    pub(super) async fn next(&mut self) -> Happening {
        let (ages, trial) = (self.ages_are_due(), self.trial_is_due());
        tokio::select! {
            biased;
            Some(signal) = self.signals.recv() => Happening::Signal(signal),
            Some(request) = self.requests.recv() => Happening::Requested(request),
            Some(landed) = self.flying.join_next_with_id() => Happening::Landed(landed),
            Some(ended) = self.chores.join_next() => Happening::ChoreEnded(ended),
            Some(ended) = self.ordering.join_next() => Happening::ChoreEnded(ended),
            Some(ended) = self.marking.join_next() => Happening::MarkingEnded(ended),
            Some(ended) = self.replies.join_next_with_id() => Happening::Replied(ended),
            Some(told) = self.telling.join_next() => Happening::Told(told),
            () = ages => Happening::AgesAreDue,
            () = trial => Happening::TrialIsDue,
            else => std::future::pending().await,
        }
    }

    /// What follows from what happened. A chore that fails ends the process.
    pub(super) async fn follow(&mut self, happening: Happening) -> Result<(), EngineError> {
        match happening {
            Happening::Signal(signal) => self.heed(signal).await?,
            Happening::Told(Ok(card_id)) => self.takeover_is_told(&card_id),
            // Its card waits for the next process.
            Happening::Told(Err(_)) => telemetry::PublishingPanicked.emit(),
            Happening::AgesAreDue => self.look_at_ages(),
            Happening::TrialIsDue => {}
            Happening::Requested(request) => self.attend(request).await?,
            Happening::Landed(landed) => self.land(landed).await?,
            Happening::ChoreEnded(ended) => or_panic(ended)?,
            Happening::MarkingEnded(ended) => or_panic(ended)?,
            Happening::Replied(ended) => self.has_replied(&ended),
        }
        self.note_answers();
        self.start_redrives().await?;
        self.offer_held().await
    }

    /// A flight tells how its job stands.
    async fn heed(&mut self, signal: Signal) -> Result<(), EngineError> {
        let (entity_id, stand) = match &signal {
            Signal::Begun(entity_id) => return self.heed_begin(entity_id).await,
            Signal::InDoubt(entity_id) | Signal::BegunAnew(entity_id) => {
                (entity_id, Stand::InDoubt { longer: false })
            }
            Signal::NeedsLonger(entity_id) | Signal::PersonNeeded(entity_id) => {
                (entity_id, Stand::InDoubt { longer: true })
            }
        };
        let Some(taken) = self.jobs.get_mut(entity_id) else {
            return Ok(());
        };
        let before = std::mem::replace(&mut taken.stand, stand);
        self.in_doubt += usize::from(!matches!(before, Stand::InDoubt { .. }));
        let card_id = taken.job.card_id.clone();
        let opens = matches!(signal, Signal::PersonNeeded(_))
            && self.tower.settings.fence == Fence::UntilPersonNeeded;
        let shuts = stand == (Stand::InDoubt { longer: true })
            && self.tower.settings.ending == Ending::WhenDry;
        if opens {
            self.let_next_start(&card_id, entity_id);
        } else if shuts {
            self.give_back_behind(&card_id).await;
        } else if self.lanes.fence(&card_id, entity_id) {
            self.take_over(&card_id, None, Vec::new()).await?;
        }
        Ok(())
    }

    /// A job has begun: what waits behind it may go to the ledger.
    pub(super) async fn heed_begin(&mut self, entity_id: &EntityId) -> Result<(), EngineError> {
        let Some(taken) = self.jobs.get(entity_id) else {
            return Ok(());
        };
        let card_id = taken.job.card_id.clone();
        if self.lanes.begun(&card_id, entity_id) {
            self.take_over(&card_id, None, Vec::new()).await?;
        }
        Ok(())
    }

    /// What waits behind a job that needs longer than this run lasts stays with its source.
    pub(super) async fn give_back_behind(&mut self, card_id: &CardId) {
        for entity_id in self.lanes.shut(card_id) {
            if let Some(taken) = self.jobs.remove(&entity_id) {
                taken.receipts.back(Back::Undecided).await;
            }
        }
    }

    // ---- the end ------------------------------------------------------------------------------

    /// What holds the flow.
    pub(super) fn pauses(&self) -> watch::Receiver<Option<Pause>> {
        let mut pauses = self.tower.gate.watch();
        pauses.mark_changed();
        pauses
    }

    /// Takes nothing new, and gives back what has not started.
    pub(super) async fn stop_intake(&mut self) {
        self.stopping = true;
        for entity_id in self.lanes.drop_queued(|_| false) {
            if let Some(taken) = self.jobs.remove(&entity_id) {
                taken.receipts.back(Back::Undecided).await;
            }
        }
    }

    /// Whether nothing more will happen in this run.
    pub(super) fn is_over(&self) -> bool {
        if self.stopping {
            return true;
        }
        let ends = self.tower.settings.ending == Ending::WhenDry;
        let all_late = || {
            self.jobs
                .values()
                .all(|taken| taken.stand == (Stand::InDoubt { longer: true }))
        };
        let takes_no_more = self.dry || self.in_doubt >= MAX_IN_DOUBT;
        let is_told =
            self.replies.is_empty() && self.telling.is_empty() && self.ordering.is_empty();
        let is_told = is_told && self.redrives.is_empty();
        ends && takes_no_more && is_told && self.ready.is_empty() && all_late()
    }

    /// Closes from the source downward: flights under way end within the drain deadline, receipts
    /// that are not answered are given back, marks are written.
    pub(super) async fn close(mut self) -> Result<Ended, EngineError> {
        let ended = if self.stopping {
            Ended::Stopped
        } else {
            Ended::Dry
        };
        // A flight that stops keeps its place, so that nothing starts behind it.
        debug_assert!(
            self.stopping || self.is_whole(),
            "a place in a lane belongs to no job"
        );
        if self.stopping {
            self.drain().await?;
        }
        self.flying.shutdown().await;
        self.replies.shutdown().await;
        self.telling.shutdown().await;
        self.chores.shutdown().await;
        self.ordering.shutdown().await;
        let flown = std::mem::take(&mut self.jobs).into_values();
        let replied = self.replying_in_order().into_iter();
        let replied: Vec<_> = replied.map(|it| Arc::clone(&it.receipts)).collect();
        for receipts in flown.map(|taken| taken.receipts).chain(replied) {
            receipts.back(Back::Undecided).await;
        }
        let guests = std::mem::take(&mut self.guests).into_values();
        for guest in guests.flatten() {
            guest.receipt.back(Back::Undecided).await;
        }
        let Self {
            tower, mut marking, ..
        } = self;
        drop(tower);
        while let Some(ended) = marking.join_next().await {
            or_panic(ended)?;
        }
        Ok(ended)
    }

    /// Whether every place in a lane belongs to a job that is known here.
    fn is_whole(&self) -> bool {
        let known = |entity_id| self.jobs.contains_key(entity_id);
        self.lanes.all().all(known)
    }

    async fn drain(&mut self) -> Result<(), EngineError> {
        let deadline = tokio::time::sleep(self.tower.settings.drain);
        tokio::pin!(deadline);
        let stop = self.tower.stop.clone();
        while !(self.flying.is_empty() && self.replies.is_empty() && self.telling.is_empty()) {
            tokio::select! {
                biased;
                () = stop.abandoned() => return Ok(()),
                () = &mut deadline => return Ok(()),
                happening = self.next() => self.follow(happening).await?,
            }
        }
        Ok(())
    }
}

/// What a task of ours gave; its panic is ours too. It is cancelled only by whoever no longer asks.
fn or_panic<T>(ended: Result<T, JoinError>) -> T {
    ended.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
}
