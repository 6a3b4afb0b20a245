//! The ledger: the one in memory, behind a door at which commits fail, and which a process reaches only
//! while it lives.
//!
//! *What it promises.* A commit that failed was done, or was not, and nobody is told which; nothing works
//! after it. Everything that is durable is on record here for the judge.
//!
//! *What it refuses to know.* Why the engine writes what it writes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use tanda::domain::job::{CardId, EntityId, Job};
use tanda::domain::key::EventId;
use tanda::domain::outcome::DoubtReason;
use tanda::domain::request::{Person, Request, RequestId, Wish};
use tanda::domain::time::{Moment, Timestamp};
use tanda::engine::ports::{
    Answer, AskNote, Begun, Control, HeldJob, Intent, JobRef, LastBeat, Ledger, LedgerError, Loss,
    NewlyHeld, OpenJob, Origin, Settlement, Sight, StoredOutcome,
};
use tanda::ledger::MemoryLedger;

use super::fault::Fault;
use super::plan::Plan;
use super::sabotage::Sabotage;
use super::scene::{Life, Scene, lock};

#[derive(Clone, Default)]
struct Kept {
    durable: BTreeSet<EventId>,
    panics: u64,
}

struct Rack {
    kept: Kept,
    copy: Option<(MemoryLedger, Kept)>,
    /// Whether a commit failed in this process.
    failed: bool,
    /// What each ask said last, and whether the list had proven itself by then.
    asked: BTreeMap<EntityId, bool>,
    said_before_call: BTreeSet<EntityId>,
    /// How often the list was asked about a generation since it came into doubt, and what it said last.
    asks: BTreeMap<(EntityId, u32), (u32, &'static str)>,
    was_lost: bool,
}

/// What is durable. Clones share it.
#[derive(Clone)]
pub(super) struct Vault {
    scene: Scene,
    plan: Arc<Plan>,
    sabotage: Sabotage,
    books: Arc<Mutex<MemoryLedger>>,
    rack: Arc<Mutex<Rack>>,
}

pub(super) fn ana() -> Person {
    Person::parse("Ana").expect("a name")
}

fn place(job: &JobRef) -> (EntityId, u32) {
    (job.entity_id.clone(), job.generation.get())
}

impl Vault {
    pub(super) fn new(scene: Scene, plan: Arc<Plan>, sabotage: Sabotage) -> Self {
        Self {
            scene,
            plan,
            sabotage,
            books: Arc::default(),
            rack: Arc::new(Mutex::new(Rack {
                kept: Kept::default(),
                copy: None,
                failed: false,
                asked: BTreeMap::new(),
                said_before_call: BTreeSet::new(),
                asks: BTreeMap::new(),
                was_lost: false,
            })),
        }
    }

    pub(super) fn door(&self, life: Life) -> LedgerDoor {
        LedgerDoor {
            vault: self.clone(),
            life,
        }
    }

    pub(super) fn books(&self) -> MemoryLedger {
        lock(&self.books).clone()
    }

    pub(super) fn panics(&self) -> u64 {
        lock(&self.rack).kept.panics
    }

    /// Whether the list, once it had proven itself, said something when it was asked last about this job
    /// before a person was called.
    pub(super) fn list_has_said(&self, name: &EntityId) -> bool {
        lock(&self.rack).said_before_call.contains(name)
    }

    pub(super) fn has(&self, event_id: EventId) -> bool {
        lock(&self.rack).kept.durable.contains(&event_id)
    }

    pub(super) fn failed(&self) -> bool {
        lock(&self.rack).failed
    }

    /// A new process opens it.
    pub(super) fn open_again(&self) {
        lock(&self.rack).failed = false;
    }

    pub(super) fn back_up(&self) {
        let mut rack = lock(&self.rack);
        rack.copy = Some((self.books().copy(), rack.kept.clone()));
    }

    /// Everything is lost but the last copy, if that is to be put back. Whether anything was lost.
    pub(super) fn lose(&self, puts_copy_back: bool) -> bool {
        let mut rack = lock(&self.rack);
        let copy = rack.copy.clone().filter(|_| puts_copy_back);
        if puts_copy_back && copy.is_none() {
            return false;
        }
        let (books, kept) = copy.unwrap_or_else(|| (MemoryLedger::new(), Kept::default()));
        rack.kept = kept;
        // A copy from before a loss knows nothing of what was done anew after it.
        rack.copy = None;
        rack.was_lost = true;
        if self.sabotage == Sabotage::CopyIsNotAccepted {
            *lock(&self.books) = books.copy();
        } else {
            self.books()
                .lose_all_but(&books, ana(), self.scene.wall_now());
        }
        true
    }
}

/// The ledger as one process reaches it.
pub(super) struct LedgerDoor {
    vault: Vault,
    life: Life,
}

impl LedgerDoor {
    async fn before(&self, doing: &'static str) -> Result<(), LedgerError> {
        let (scene, vault) = (&self.vault.scene, &self.vault);
        scene.step(self.life).await;
        let takes = scene.up_to(vault.plan.commit_ms);
        scene.pass(takes).await;
        if vault.failed() {
            return Err(LedgerError::new(doing, "it has failed before"));
        }
        if scene.strikes(Fault::CommitFails) {
            return Err(self.fail(doing));
        }
        // Whoever dies before it has written nothing.
        scene.step(self.life).await;
        Ok(())
    }

    async fn after<T>(
        &self,
        doing: &'static str,
        done: Result<T, LedgerError>,
    ) -> Result<T, LedgerError> {
        let scene = &self.vault.scene;
        if let Err(error) = &done {
            let why = std::error::Error::source(error).map(ToString::to_string);
            scene.violate("the ledger's rules", || {
                format!("{doing}: {error}: {why:?}")
            });
        }
        if scene.strikes(Fault::CommitFailsThoughDone) {
            return Err(self.fail(doing));
        }
        scene.step(self.life).await;
        done
    }

    fn fail(&self, doing: &'static str) -> LedgerError {
        self.vault
            .scene
            .tell(|| format!("the ledger fails: {doing}"));
        lock(&self.vault.rack).failed = true;
        LedgerError::new(doing, "an error of the disk")
    }

    /// How much older the times that it gives back are than they should be: a fault that is planted.
    fn age(&self) -> Duration {
        let is_planted = self.vault.sabotage == Sabotage::WordsComeTooEarly;
        let settle_ms = self.vault.plan.settle_ms;
        Duration::from_millis(if is_planted { 10 * settle_ms } else { 0 })
    }

    fn aged(&self, mut open: OpenJob) -> OpenJob {
        let age = self.age();
        open.intent.at.wall = open.intent.at.wall.minus(age);
        for attempt in &mut open.attempts {
            attempt.ended = attempt.ended.minus(age);
        }
        open
    }

    async fn read(&self, doing: &'static str) -> Result<(), LedgerError> {
        let (scene, vault) = (&self.vault.scene, &self.vault);
        scene.step(self.life).await;
        let takes = scene.up_to(vault.plan.read_ms);
        scene.pass(takes).await;
        if vault.failed() {
            return Err(LedgerError::new(doing, "it has failed before"));
        }
        Ok(())
    }

    fn is_durable<'a>(&self, outcomes: impl IntoIterator<Item = &'a StoredOutcome>) {
        let ids = outcomes.into_iter().map(|it| it.event_id);
        lock(&self.vault.rack).kept.durable.extend(ids);
    }

    /// A person comes last (I13): once all asks of the table are made; or the list shows something else under
    /// this name; or it shows nothing of what may have been sent in a forgotten time.
    fn judge_call(&self, job: &JobRef) {
        let times = &self.vault.plan.settings.rules.asks;
        let rack = lock(&self.vault.rack);
        let asked = rack.asks.get(&place(job)).copied();
        let (asks, finding) = asked.unwrap_or_default();
        let is_at_once = match finding {
            "other_content" => true,
            "absent" => rack.was_lost,
            _ => false,
        };
        drop(rack);
        if times.offset(asks).is_some() && !is_at_once {
            let name = &job.entity_id;
            self.vault.scene.violate("I13", || {
                format!("{name}: a person is called after {asks} asks, the last: {finding}")
            });
        }
    }

    fn forgets(&self, how: Sabotage) -> bool {
        let vault = &self.vault;
        vault.sabotage == how && vault.scene.draw(|it| it.per_mille(200))
    }
}

/// One write, with what may happen before and after it.
macro_rules! written {
    ($self:ident, $doing:literal, $write:expr) => {{
        $self.before($doing).await?;
        let done = $write.await;
        $self.after($doing, done).await
    }};
}

/// One reading.
macro_rules! read {
    ($self:ident, $doing:literal, $read:expr) => {{
        $self.read($doing).await?;
        $read.await
    }};
}

#[async_trait]
impl Ledger for LedgerDoor {
    async fn look(&self, entity_ids: Vec<EntityId>) -> Result<Vec<Sight>, LedgerError> {
        read!(self, "looking", self.vault.books().look(entity_ids))
    }

    async fn begin(&self, intent: Intent) -> Result<Begun, LedgerError> {
        self.before("beginning").await?;
        if self.forgets(Sabotage::LedgerForgetsIntents) {
            return Ok(Begun::Yes);
        }
        let name = intent.job.entity_id.clone();
        let begun = self.vault.books().begin(intent).await;
        self.vault.scene.tell(|| {
            let is_new = matches!(begun, Ok(Begun::Yes));
            format!("intent of {name}: {is_new}")
        });
        self.after("beginning", begun).await
    }

    async fn settle(&self, settlement: Settlement) -> Result<(), LedgerError> {
        self.before("settling").await?;
        self.is_durable([&settlement.outcome]);
        if self.forgets(Sabotage::LedgerForgetsOutcomes) {
            return Ok(());
        }
        self.vault.scene.tell(|| {
            let name = &settlement.intent.job.entity_id;
            format!("settle {name} {}", settlement.outcome.status)
        });
        let done = self.vault.books().settle(settlement).await;
        self.after("settling", done).await
    }

    async fn doubt(
        &self,
        settlement: Settlement,
        reason: DoubtReason,
    ) -> Result<StoredOutcome, LedgerError> {
        self.before("doubting").await?;
        self.vault.scene.tell(|| {
            let name = &settlement.intent.job.entity_id;
            format!("doubt {name} {}", reason.as_str())
        });
        let job = JobRef {
            entity_id: settlement.intent.job.entity_id.clone(),
            generation: settlement.intent.generation,
        };
        lock(&self.vault.rack).asks.remove(&place(&job));
        let kept = self.vault.books().doubt(settlement, reason).await;
        self.is_durable(&kept);
        let kept = self.after("doubting", kept).await?;
        if self.vault.sabotage == Sabotage::PersonComesFirst {
            self.call_person(job).await?;
        }
        Ok(kept)
    }

    async fn hold(&self, held: Vec<NewlyHeld>) -> Result<Vec<StoredOutcome>, LedgerError> {
        self.before("holding").await?;
        self.vault.scene.tell(|| {
            let names = held.iter().map(|it| it.intent.job.entity_id.as_str());
            format!("hold {}", names.collect::<Vec<_>>().join(" "))
        });
        let kept = self.vault.books().hold(held).await;
        self.is_durable(kept.iter().flatten());
        self.after("holding", kept).await
    }

    async fn next_held(&self, card_id: CardId) -> Result<Option<HeldJob>, LedgerError> {
        read!(self, "reading", self.vault.books().next_held(card_id))
    }

    async fn held_cards(
        &self,
        after: Option<CardId>,
        limit: usize,
    ) -> Result<Vec<CardId>, LedgerError> {
        read!(self, "reading", self.vault.books().held_cards(after, limit))
    }

    async fn held_count(&self) -> Result<u64, LedgerError> {
        read!(self, "reading", self.vault.books().held_count())
    }

    async fn job_of(&self, job: JobRef) -> Result<Option<Intent>, LedgerError> {
        read!(self, "reading", self.vault.books().job_of(job))
    }

    async fn release(&self, job: JobRef, reason: &'static str) -> Result<(), LedgerError> {
        self.vault
            .scene
            .tell(|| format!("release {} {reason}", job.entity_id));
        written!(self, "releasing", self.vault.books().release(job, reason))
    }

    async fn call_person(&self, job: JobRef) -> Result<(), LedgerError> {
        self.vault
            .scene
            .tell(|| format!("person for {}", job.entity_id));
        self.vault.scene.count(|it| it.persons += 1);
        self.judge_call(&job);
        {
            let mut rack = lock(&self.vault.rack);
            if rack.asked.get(&job.entity_id) == Some(&true) {
                rack.said_before_call.insert(job.entity_id.clone());
            }
        }
        written!(self, "calling", self.vault.books().call_person(job))
    }

    async fn note_ask(&self, job: JobRef, ask: AskNote) -> Result<(), LedgerError> {
        self.vault
            .scene
            .tell(|| format!("asked about {}: {}", job.entity_id, ask.finding));
        let has_proven = self.vault.books().control().await?.is_some();
        let says = has_proven && matches!(ask.finding, "absent" | "found" | "found_more");
        {
            let mut rack = lock(&self.vault.rack);
            rack.asked.insert(job.entity_id.clone(), says);
            // One that failed is none of the table.
            let counts = ask.finding != "unreadable";
            let asked = rack.asks.entry(place(&job)).or_default();
            *asked = (asked.0 + u32::from(counts), ask.finding);
        }
        written!(self, "noting", self.vault.books().note_ask(job, ask))
    }

    async fn note_panic(&self, entity_id: EntityId) -> Result<u32, LedgerError> {
        lock(&self.vault.rack).kept.panics += 1;
        written!(self, "noting", self.vault.books().note_panic(entity_id))
    }

    async fn note_fact(&self, fact: StoredOutcome) -> Result<StoredOutcome, LedgerError> {
        self.before("noting").await?;
        let kept = self.vault.books().note_fact(fact).await;
        self.is_durable(&kept);
        self.after("noting", kept).await
    }

    async fn unsettled(
        &self,
        after: Option<JobRef>,
        limit: usize,
    ) -> Result<Vec<OpenJob>, LedgerError> {
        let open = read!(self, "reading", self.vault.books().unsettled(after, limit))?;
        Ok(open.into_iter().map(|it| self.aged(it)).collect())
    }

    async fn open_job(&self, entity_id: EntityId) -> Result<Option<OpenJob>, LedgerError> {
        read!(self, "reading", self.vault.books().open_job(entity_id))
    }

    async fn first_begun_at(&self, entity_id: EntityId) -> Result<Option<Moment>, LedgerError> {
        read!(
            self,
            "reading",
            self.vault.books().first_begun_at(entity_id)
        )
    }

    async fn generations_of(&self, entity_id: EntityId) -> Result<Vec<Job>, LedgerError> {
        read!(
            self,
            "reading",
            self.vault.books().generations_of(entity_id)
        )
    }

    async fn beat(&self, at: Timestamp) -> Result<(), LedgerError> {
        // Of no consequence but its time: it strikes nothing, and many a world is nothing but beats.
        self.read("beating").await?;
        self.vault.books().beat(at).await
    }

    async fn last_beat(&self) -> Result<Option<LastBeat>, LedgerError> {
        let beat = read!(self, "reading", self.vault.books().last_beat())?;
        let age = self.age();
        Ok(beat.map(|beat| LastBeat {
            at: beat.at.minus(age),
            surely_ago: beat.surely_ago.map(|ago| ago + age),
        }))
    }

    async fn unpublished(
        &self,
        origins: &'static [Origin],
        limit: usize,
    ) -> Result<Vec<StoredOutcome>, LedgerError> {
        let read = read!(
            self,
            "reading",
            self.vault.books().unpublished(origins, limit)
        );
        if self.vault.sabotage == Sabotage::LedgerChangesBytes {
            let changed = read.map(|mut all| {
                for outcome in &mut all {
                    outcome.body.push(b' ');
                }
                all
            });
            return changed;
        }
        read
    }

    async fn mark_published(
        &self,
        event_ids: Vec<EventId>,
        at: Timestamp,
    ) -> Result<(), LedgerError> {
        let vault = &self.vault;
        written!(self, "marking", vault.books().mark_published(event_ids, at))
    }

    async fn loss(&self) -> Result<Option<Loss>, LedgerError> {
        read!(self, "reading", self.vault.books().loss())
    }

    async fn note_loss_is_past(&self) -> Result<(), LedgerError> {
        written!(self, "noting", self.vault.books().note_loss_is_past())
    }

    async fn note_arrivals(&self, entity_ids: Vec<EntityId>) -> Result<(), LedgerError> {
        written!(self, "noting", self.vault.books().note_arrivals(entity_ids))
    }

    async fn has_arrived(&self, entity_id: EntityId) -> Result<bool, LedgerError> {
        read!(self, "reading", self.vault.books().has_arrived(entity_id))
    }

    async fn control(&self) -> Result<Option<Control>, LedgerError> {
        read!(self, "reading", self.vault.books().control())
    }

    async fn last_accepted(&self) -> Result<Option<Intent>, LedgerError> {
        read!(self, "reading", self.vault.books().last_accepted())
    }

    async fn free_bytes(&self) -> Result<Option<u64>, LedgerError> {
        read!(self, "reading", self.vault.books().free_bytes())
    }

    async fn note_control(&self, control: Control) -> Result<(), LedgerError> {
        written!(self, "noting", self.vault.books().note_control(control))
    }

    async fn request(
        &self,
        wish: Wish,
        by: Person,
        at: Timestamp,
    ) -> Result<RequestId, LedgerError> {
        written!(self, "asking", self.vault.books().request(wish, by, at))
    }

    async fn open_requests(
        &self,
        after: Option<RequestId>,
        limit: usize,
    ) -> Result<Vec<Request>, LedgerError> {
        read!(
            self,
            "reading",
            self.vault.books().open_requests(after, limit)
        )
    }

    async fn answer(&self, request: RequestId, answer: Answer) -> Result<(), LedgerError> {
        self.vault.scene.tell(|| {
            format!(
                "request {}: {} {}",
                request.get(),
                answer.accepted,
                answer.words
            )
        });
        written!(
            self,
            "answering",
            self.vault.books().answer(request, answer)
        )
    }

    async fn paused_by(&self) -> Result<Option<(Person, Timestamp)>, LedgerError> {
        read!(self, "reading", self.vault.books().paused_by())
    }
}
