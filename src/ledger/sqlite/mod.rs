//! The ledger in SQLite, the default: one file, one process, one writer.
//!
//! *What it promises.* A write is answered when its commit is on the disk (WAL,
//! `synchronous=FULL`); whatever waits is committed together, without artificial delay. A read sees
//! the last commit. A lock is held for life; the anchor beside the file is at most a second behind.
//!
//! *What it refuses to know.* Network file systems: SQLite's log does not work there.
//!
//! [`open`]: what must be so before use. [`whole`]: whether nothing is damaged; [`log`]: in SQLite's log;
//! [`checksum`]: in rows. [`schema`]: the tables. [`desk`]: the two threads. [`mod@write`] and [`read`]: the
//! statements. [`holds`]: jobs taken over from their source. [`requests`]: what people ask. [`prune`] and
//! [`tombstones`]: what gives way, and to what. [`losses`] and [`accept`]: what was lost. [`visitor`]: other
//! processes. [`verdict`]: verdicts in a column. [`trouble`]: what can go wrong.

mod accept;
mod checksum;
mod dead;
mod desk;
mod holds;
mod log;
mod losses;
mod open;
mod prune;
mod read;
mod requests;
mod schema;
mod tombstones;
mod trouble;
mod verdict;
mod visitor;
mod whole;
mod write;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;

pub use self::accept::Accepted;
use self::desk::{Desk, Fate, Reader, Writer};
pub use self::prune::{PrunePlace, PruneStep, Pruner};
use self::trouble::Trouble;
pub use self::visitor::Visitor;
use super::boot::Boot;
use super::error::{Forgotten, OpenError};
use super::place;
use crate::domain::job::{CardId, EntityId, Job};
use crate::domain::key::{EventId, Namespace};
use crate::domain::outcome::DoubtReason;
use crate::domain::request::{Person, Request, RequestId, Wish};
use crate::domain::time::{Moment, Timestamp};
use crate::engine::ports::{
    Answer, AskNote, Begun, Control, HeldJob, Intent, JobRef, LastBeat, Ledger, LedgerError, Loss,
    NewlyHeld, OpenJob, Origin, Settlement, Sight, StoredOutcome,
};
use crate::telemetry::metrics::OpenFigures;

/// What a ledger belongs to, from its first use on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding {
    /// Whose keys it holds.
    pub namespace: Namespace,
    /// Scheme, host and port of the bank that was paid through, as one fixed spelling.
    pub bank_origin: String,
}

/// A ledger in a file.
///
/// Dropping it commits what waits, writes the anchor, and blocks until the file is closed and the
/// lock is free; [`SqliteLedger::close`] does the same without blocking, and says whether it
/// worked.
pub struct SqliteLedger {
    // Fields are dropped in this order: the writer, last of the two, leaves no log behind.
    reads: Desk,
    writes: Desk,
    path: PathBuf,
    /// Held by the writer; its date is the last sign of life of a process that calls the bank.
    lock_path: PathBuf,
}

impl std::fmt::Debug for SqliteLedger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SqliteLedger").finish_non_exhaustive()
    }
}

impl SqliteLedger {
    /// Makes an empty ledger, with its directory. Only a person's `tanda init` does this: a ledger
    /// that made itself would hide that another one was lost.
    ///
    /// # Errors
    /// [`OpenError`]: there is one already, or what one has left behind, or the disk says no.
    pub fn create(path: &Path) -> Result<(), OpenError> {
        open::create(path)
    }

    /// Opens a ledger and locks it. Reads the whole file once, so it blocks for a moment; call it
    /// before anything else runs.
    ///
    /// # Errors
    /// [`OpenError`] where this ledger cannot be relied on, or not by this process.
    pub fn open(path: &Path, binding: &Binding) -> Result<Self, OpenError> {
        let opened = open::open(path, binding)?;
        let timer = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .map_err(open::fault(path, "starting its writer"))?;
        let fate = Fate::default();
        let reading = Reader {
            db: opened.reader,
            fate: Arc::clone(&fate),
        };
        let writing = Writer {
            db: opened.writer,
            lock: opened.lock,
            fate: Arc::clone(&fate),
            anchor_path: opened.anchor_path,
            anchor: opened.anchor,
            watched: opened.watched,
            whose: opened.whose,
            sequence: opened.sequence,
            anchored: opened.sequence,
            anchored_at: Instant::now(),
            log_pages: Arc::default(),
            timer,
        };
        let writes = Desk::start("tanda-writer", desk::WRITE_QUEUE_ORDERS, &fate, |orders| {
            writing.serve(orders);
        })
        .map_err(open::fault(path, "starting its writer"))?;
        let reads = Desk::start("tanda-reader", desk::READ_QUEUE_ORDERS, &fate, |orders| {
            reading.serve(orders);
        })
        .map_err(open::fault(path, "starting its reader"))?;
        Ok(Self {
            reads,
            writes,
            path: path.to_owned(),
            lock_path: opened.lock_path,
        })
    }

    /// What a person would have to accept of this ledger before anything is paid from it again.
    ///
    /// # Errors
    /// [`OpenError`]: nothing was forgotten, or it is of a kind that nobody can accept.
    pub fn find_loss(path: &Path, binding: &Binding) -> Result<Forgotten, OpenError> {
        accept::find_loss(path, binding)
    }

    /// Goes on with a ledger that has forgotten something, by this person's word; where it is gone or
    /// damaged, with an empty one. From then on it says so ([`Ledger::loss`]).
    ///
    /// # Errors
    /// As [`SqliteLedger::find_loss`]; the ledger is refused as before.
    pub fn accept_loss(
        path: &Path,
        binding: &Binding,
        person: &Person,
        at: Timestamp,
    ) -> Result<Accepted, OpenError> {
        accept::accept(path, binding, &accept::By { person, at })
    }

    /// What is open now, for the metrics.
    ///
    /// # Errors
    /// [`LedgerError`] where the ledger cannot be read.
    pub async fn open_figures(&self) -> Result<OpenFigures, LedgerError> {
        self.reads
            .call("counting what is open", read::open_figures)
            .await
    }

    /// Commits what waits, writes the anchor, closes the file and frees the lock. Every later call
    /// fails.
    ///
    /// # Errors
    /// [`LedgerError`] where the ledger had failed before, or fails now.
    pub async fn close(&self) -> Result<(), LedgerError> {
        self.reads.close("closing for reading").await?;
        self.writes.close("closing").await
    }
}

#[async_trait]
impl Ledger for SqliteLedger {
    async fn look(&self, entity_ids: Vec<EntityId>) -> Result<Vec<Sight>, LedgerError> {
        let look = move |db: &_| read::look(db, &entity_ids);
        self.reads.call("looking jobs up", look).await
    }

    async fn begin(&self, intent: Intent) -> Result<Begun, LedgerError> {
        let begin = move |db: &_| write::begin(db, &intent);
        self.writes.call("recording an intent", begin).await
    }

    async fn settle(&self, settlement: Settlement) -> Result<(), LedgerError> {
        let settle = move |db: &_| write::settle(db, &settlement);
        self.writes.call("settling a job", settle).await
    }

    async fn doubt(
        &self,
        settlement: Settlement,
        reason: DoubtReason,
    ) -> Result<StoredOutcome, LedgerError> {
        let doubt = move |db: &_| write::doubt(db, &settlement, reason);
        self.writes.call("recording a doubt", doubt).await
    }

    async fn hold(&self, jobs: Vec<NewlyHeld>) -> Result<Vec<StoredOutcome>, LedgerError> {
        let hold = move |db: &_| holds::hold(db, &jobs);
        self.writes.call("taking jobs over", hold).await
    }

    async fn next_held(&self, card_id: CardId) -> Result<Option<HeldJob>, LedgerError> {
        let find = move |db: &_| holds::next(db, &card_id);
        self.reads.call("reading a held job", find).await
    }

    async fn held_cards(
        &self,
        after: Option<CardId>,
        limit: usize,
    ) -> Result<Vec<CardId>, LedgerError> {
        let find = move |db: &_| holds::cards(db, after.as_ref(), limit);
        self.reads.call("reading cards with held jobs", find).await
    }

    async fn held_count(&self) -> Result<u64, LedgerError> {
        self.reads.call("counting held jobs", holds::count).await
    }

    async fn job_of(&self, job: JobRef) -> Result<Option<Intent>, LedgerError> {
        let find = move |db: &_| read::job_of(db, &job);
        self.reads.call("reading a job", find).await
    }

    async fn release(&self, job: JobRef, reason: &'static str) -> Result<(), LedgerError> {
        let release = move |db: &_| write::release(db, &job, reason);
        self.writes.call("releasing a job", release).await
    }

    async fn call_person(&self, job: JobRef) -> Result<(), LedgerError> {
        let call = move |db: &_| write::call_person(db, &job);
        self.writes.call("calling a person", call).await
    }

    async fn note_ask(&self, job: JobRef, ask: AskNote) -> Result<(), LedgerError> {
        let note = move |db: &_| write::note_ask(db, &job, &ask);
        self.writes.call("recording an ask", note).await
    }

    async fn note_panic(&self, entity_id: EntityId) -> Result<u32, LedgerError> {
        let note = move |db: &_| write::note_panic(db, &entity_id);
        self.writes.call("recording a panic", note).await
    }

    async fn note_fact(&self, fact: StoredOutcome) -> Result<StoredOutcome, LedgerError> {
        let note = move |db: &_| write::note_fact(db, &fact);
        let doing = "recording a fact about a message";
        self.writes.call(doing, note).await
    }

    async fn unsettled(
        &self,
        after: Option<JobRef>,
        limit: usize,
    ) -> Result<Vec<OpenJob>, LedgerError> {
        let find = move |db: &_| read::unsettled(db, after.as_ref(), limit);
        self.reads.call("reading open jobs", find).await
    }

    async fn open_job(&self, entity_id: EntityId) -> Result<Option<OpenJob>, LedgerError> {
        let find = move |db: &_| read::open_job(db, &entity_id);
        self.reads.call("reading an open job", find).await
    }

    async fn first_begun_at(&self, entity_id: EntityId) -> Result<Option<Moment>, LedgerError> {
        let find = move |db: &_| read::first_begun_at(db, &entity_id);
        self.reads.call("reading when a job was begun", find).await
    }

    async fn generations_of(&self, entity_id: EntityId) -> Result<Vec<Job>, LedgerError> {
        let find = move |db: &_| read::generations_of(db, &entity_id);
        self.reads.call("reading what a job said", find).await
    }

    async fn beat(&self, at: Timestamp) -> Result<(), LedgerError> {
        let path = self.lock_path.clone();
        let beat = move |_: &_| {
            let line = Boot::now().map_or_else(String::new, |boot| boot.line());
            place::date(&path, at, &line).map_err(Trouble::Beat)
        };
        self.reads.call("leaving a sign of life", beat).await
    }

    async fn last_beat(&self) -> Result<Option<LastBeat>, LedgerError> {
        let path = self.lock_path.clone();
        let look = move |_: &_| {
            let dated = place::dated(&path).map_err(Trouble::Beat)?;
            Ok(dated.map(|(at, line)| LastBeat {
                at,
                surely_ago: Boot::now()
                    .zip(Boot::parse(&line))
                    .map(|(now, then)| now.surely_since(&then)),
            }))
        };
        self.reads.call("reading the last sign of life", look).await
    }

    async fn unpublished(
        &self,
        origins: &'static [Origin],
        limit: usize,
    ) -> Result<Vec<StoredOutcome>, LedgerError> {
        let find = move |db: &_| read::unpublished(db, origins, limit);
        self.reads.call("reading outcomes to publish", find).await
    }

    async fn mark_published(
        &self,
        event_ids: Vec<EventId>,
        at: Timestamp,
    ) -> Result<(), LedgerError> {
        let mark = move |db: &_| write::mark_published(db, &event_ids, at);
        self.writes.call("marking what was published", mark).await
    }

    async fn loss(&self) -> Result<Option<Loss>, LedgerError> {
        self.reads
            .call("reading what was lost", losses::newest)
            .await
    }

    async fn note_loss_is_past(&self) -> Result<(), LedgerError> {
        let doing = "recording that a forgotten time is past";
        self.writes.call(doing, losses::note_past).await
    }

    async fn note_arrivals(&self, entity_ids: Vec<EntityId>) -> Result<(), LedgerError> {
        let note = move |db: &_| losses::note_arrivals(db, &entity_ids);
        self.writes.call("recording what has arrived", note).await
    }

    async fn has_arrived(&self, entity_id: EntityId) -> Result<bool, LedgerError> {
        let find = move |db: &_| losses::has_arrived(db, &entity_id);
        self.reads.call("reading what has arrived", find).await
    }

    async fn control(&self) -> Result<Option<Control>, LedgerError> {
        let control = move |db: &_| read::control(db);
        self.reads
            .call("reading the positive control", control)
            .await
    }

    async fn last_accepted(&self) -> Result<Option<Intent>, LedgerError> {
        let last = move |db: &_| read::last_accepted(db);
        self.reads.call("reading the newest 2xx", last).await
    }

    async fn free_bytes(&self) -> Result<Option<u64>, LedgerError> {
        let path = self.path.clone();
        let look = move |_: &_| Ok(place::free_bytes(&path));
        self.reads.call("looking at the free room", look).await
    }

    async fn note_control(&self, control: Control) -> Result<(), LedgerError> {
        let note = move |db: &_| write::note_control(db, &control);
        let doing = "recording the positive control";
        self.writes.call(doing, note).await
    }

    async fn request(
        &self,
        wish: Wish,
        by: Person,
        at: Timestamp,
    ) -> Result<RequestId, LedgerError> {
        let add = move |db: &_| requests::add(db, &wish, &by, at);
        self.writes.call("recording a request", add).await
    }

    async fn open_requests(
        &self,
        after: Option<RequestId>,
        limit: usize,
    ) -> Result<Vec<Request>, LedgerError> {
        let find = move |db: &_| requests::open(db, after, limit);
        self.reads.call("reading requests", find).await
    }

    async fn answer(&self, request: RequestId, answer: Answer) -> Result<(), LedgerError> {
        let answer = move |db: &_| requests::answer(db, request, &answer);
        self.writes.call("answering a request", answer).await
    }

    async fn paused_by(&self) -> Result<Option<(Person, Timestamp)>, LedgerError> {
        let find = move |db: &_| requests::paused_by(db);
        self.reads.call("reading who holds the flow", find).await
    }
}
