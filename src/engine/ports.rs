//! The engine's doors: bank, ledger, source, sink and clock, each as a promise.
//!
//! *What it promises.* Each trait says what is true once a call returns. Every implementation of
//! the ledger passes one shared suite (`tests/it/contract.rs`).
//!
//! *What it refuses to know.* SQL, HTTP, AMQP and files.

mod source;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::domain::digest::Digest;
use crate::domain::job::{CardId, EntityId, Job};
use crate::domain::key::{EventId, Generation, IdempotencyKey};
use crate::domain::listing::ListedOperation;
use crate::domain::outcome::{DoubtReason, Status};
use crate::domain::request::{Person, Request, RequestId, Wish};
use crate::domain::time::{Moment, Timestamp};
use crate::domain::verdict::Verdict;
use crate::wire;
use crate::wire::envelope::Envelope;

pub use self::source::{
    Back, Delivery, Offer, Provenance, Receipt, Source, SourceError, UnreadableDelivery,
};

// ---- the bank ---------------------------------------------------------------------------------

/// The bank, as far as the engine needs it.
#[async_trait]
pub trait Bank: Send + Sync {
    /// Calls the bank once to apply an operation to a card. Never retries. A broken wire is a
    /// verdict too.
    async fn apply(&self, card_id: &CardId, key: &IdempotencyKey, body: &[u8]) -> Verdict;

    /// The whole list of a card's operations performed from `from` on, by the bank's clock: all
    /// pages, with the same total before and after.
    ///
    /// # Errors
    /// [`ListFault`] where the list could not be read whole; nothing may be concluded then.
    async fn list(
        &self,
        card_id: &CardId,
        from: Timestamp,
    ) -> Result<Vec<ListedOperation>, ListFault>;

    /// Reads something small for this card, to learn whether the bank answers, takes the
    /// credential, and what time it has. That it does not know the card, or refuses the read in its
    /// own words, is an answer too.
    ///
    /// # Errors
    /// [`ListFault`] where the bank does not answer as itself.
    async fn probe(&self, card_id: &CardId) -> Result<(), ListFault>;

    /// The bank's time: its last `Date` plus monotonic time since; `None` before the first answer.
    fn time(&self) -> Option<Timestamp>;
}

/// Why a read of the bank told us nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ListFault {
    /// No answer: DNS, connect, TLS, timeout, broken connection, 408 or 5xx.
    #[error("the bank does not answer ({0})")]
    Unreachable(String),
    /// 401.
    #[error("the bank refuses the credential (401)")]
    CredentialRefused,
    /// 403.
    #[error("the bank says that this credential may not read this (403)")]
    NotAuthorized,
    /// 429.
    #[error("the bank asks us to slow down (429)")]
    RateLimited {
        /// How long it asks us to wait.
        retry_after: Option<std::time::Duration>,
    },
    /// 404: the bank does not know this card, now.
    #[error("the bank says that it does not know this card (404)")]
    UnknownCard,
    /// Any other 4xx in the bank's own words: it refuses this read.
    #[error("the bank refuses this read ({0})")]
    Refused(String),
    /// An answer that is not the bank's.
    #[error("what answers is not the bank ({0})")]
    NotTheBank(String),
    /// The list moved while it was read, again and again.
    #[error("the list changed while it was read")]
    Shifting,
    /// More pages than a list may have.
    #[error("the list is longer than {0} pages")]
    TooLong(u64),
}

// ---- the ledger -------------------------------------------------------------------------------

/// The durable record of jobs, attempts and outcomes.
///
/// A call that writes returns `Ok` only when what it wrote is durable. After any [`LedgerError`]
/// this process must end: a failed commit may have been committed, and only a new start reads the
/// truth.
#[async_trait]
pub trait Ledger: Send + Sync {
    /// What the ledger knows of each of these ids (its current generation), in the same order.
    async fn look(&self, entity_ids: Vec<EntityId>) -> Result<Vec<Sight>, LedgerError>;

    /// Makes a job's intent durable, unless the ledger already has a row for it; a row of the next
    /// generation is made where the current one ended `rejected` or `not_sent`.
    async fn begin(&self, intent: Intent) -> Result<Begun, LedgerError>;

    /// Makes a job's final outcome durable, with the attempts not yet on record. Final outcomes
    /// are immutable: settling a settled job again changes nothing.
    async fn settle(&self, settlement: Settlement) -> Result<(), LedgerError>;

    /// Makes it durable that a job is in doubt, with the attempts not yet on record. The interim
    /// outcome is kept once per generation: that of the first time. Returns the one that is kept.
    async fn doubt(
        &self,
        settlement: Settlement,
        reason: DoubtReason,
    ) -> Result<StoredOutcome, LedgerError>;

    /// Takes jobs over from their source, all in one commit: each waits behind what its card already
    /// has here, or before all of that where it says so. One that has an intent loses it (see
    /// [`Ledger::release`]). Their first interim outcome is kept; returns what is kept, in the same
    /// order.
    async fn hold(&self, held: Vec<NewlyHeld>) -> Result<Vec<StoredOutcome>, LedgerError>;

    /// The first job held for this card.
    async fn next_held(&self, card_id: CardId) -> Result<Option<HeldJob>, LedgerError>;

    /// Cards that jobs are held for, at most `limit`, after this one.
    async fn held_cards(
        &self,
        after: Option<CardId>,
        limit: usize,
    ) -> Result<Vec<CardId>, LedgerError>;

    /// How many jobs are held.
    async fn held_count(&self) -> Result<u64, LedgerError>;

    /// Withdraws the intent of a job that was provably not executed, for this reason: it may begin
    /// again as the same generation, with the same content. One that is in doubt or settled stays so.
    async fn release(&self, job: JobRef, reason: &'static str) -> Result<(), LedgerError>;

    /// Records that a person must decide about a job in doubt.
    async fn call_person(&self, job: JobRef) -> Result<(), LedgerError>;

    /// The job of this generation, where its rows are still there.
    async fn job_of(&self, job: JobRef) -> Result<Option<Intent>, LedgerError>;

    /// Records one ask and what it found (append-only).
    async fn note_ask(&self, job: JobRef, ask: AskNote) -> Result<(), LedgerError>;

    /// Counts one panic of a job's task and returns how many there have been.
    async fn note_panic(&self, entity_id: EntityId) -> Result<u32, LedgerError>;

    /// Makes a fact about a message durable (`conflict`, `invalid`) and returns what is kept: the
    /// first with this event id.
    async fn note_fact(&self, fact: StoredOutcome) -> Result<StoredOutcome, LedgerError>;

    /// Jobs with an intent and no final outcome, oldest first, at most `limit`, after this one.
    async fn unsettled(
        &self,
        after: Option<JobRef>,
        limit: usize,
    ) -> Result<Vec<OpenJob>, LedgerError>;

    /// The job of this id that has an intent and no final outcome, if it is so.
    async fn open_job(&self, entity_id: EntityId) -> Result<Option<OpenJob>, LedgerError>;

    /// When the first generation of this id was begun, if it was.
    async fn first_begun_at(&self, entity_id: EntityId) -> Result<Option<Moment>, LedgerError>;

    /// What each generation of this id says, from the first; nothing of those that were pruned.
    async fn generations_of(&self, entity_id: EntityId) -> Result<Vec<Job>, LedgerError>;

    /// Leaves a sign that the process which calls the bank was alive at this time.
    async fn beat(&self, at: Timestamp) -> Result<(), LedgerError>;

    /// The last such sign, of whichever process.
    async fn last_beat(&self) -> Result<Option<LastBeat>, LedgerError>;

    /// Outcomes of these origins not yet marked as published, oldest first, at most `limit`, with
    /// their letters. An interim outcome that is not true any more is not among them.
    async fn unpublished(
        &self,
        origins: &'static [Origin],
        limit: usize,
    ) -> Result<Vec<StoredOutcome>, LedgerError>;

    /// Marks outcomes as published. May be lost in a crash; they are then published again.
    async fn mark_published(
        &self,
        event_ids: Vec<EventId>,
        at: Timestamp,
    ) -> Result<(), LedgerError>;

    /// The loss that was accepted last, if any: this ledger has forgotten a time.
    async fn loss(&self) -> Result<Option<Loss>, LedgerError>;

    /// Records that all that was sent in the forgotten time must be listed by now.
    async fn note_loss_is_past(&self) -> Result<(), LedgerError>;

    /// Records that the messages of these jobs came for the first time after the forgotten time.
    async fn note_arrivals(&self, entity_ids: Vec<EntityId>) -> Result<(), LedgerError>;

    /// Whether that is on record of this job.
    async fn has_arrived(&self, entity_id: EntityId) -> Result<bool, LedgerError>;

    /// The positive control on record, if any.
    async fn control(&self) -> Result<Option<Control>, LedgerError>;

    /// The newest job on record that got a 2xx, as it was intended; what the positive control can
    /// be sought with before this process gets a 2xx of its own.
    async fn last_accepted(&self) -> Result<Option<Intent>, LedgerError>;

    /// How many bytes may still be written where the ledger is; none where that is not known or
    /// has no bound.
    async fn free_bytes(&self) -> Result<Option<u64>, LedgerError>;

    /// Records the positive control.
    async fn note_control(&self, control: Control) -> Result<(), LedgerError>;

    /// Makes a person's request durable; the process that owns the ledger answers it.
    async fn request(
        &self,
        wish: Wish,
        by: Person,
        at: Timestamp,
    ) -> Result<RequestId, LedgerError>;

    /// Requests not yet answered, oldest first, at most `limit`, after this one.
    async fn open_requests(
        &self,
        after: Option<RequestId>,
        limit: usize,
    ) -> Result<Vec<Request>, LedgerError>;

    /// Answers a request. The first answer is kept. An accepted cancel of a generation holds from
    /// then on: [`Sight::Cancelled`], [`OpenJob::cancelled`].
    async fn answer(&self, request: RequestId, answer: Answer) -> Result<(), LedgerError>;

    /// Who holds the flow, and since when: the newest pause that no resume followed, answered or
    /// not.
    async fn paused_by(&self) -> Result<Option<(Person, Timestamp)>, LedgerError>;
}

/// What a job came by, and so where its outcomes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Origin {
    /// A file: its outcomes are read from the ledger.
    File,
    /// The queue: its outcomes are published on the results queue.
    Queue,
}

impl Origin {
    /// Both.
    pub const ALL: [Self; 2] = [Self::File, Self::Queue];

    /// A stable word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Queue => "queue",
        }
    }

    /// Reads the word; `None` for any other.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|origin| origin.as_str() == text)
    }
}

/// One generation of one job.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct JobRef {
    /// The job.
    pub entity_id: EntityId,
    /// Which generation.
    pub generation: Generation,
}

/// What the ledger knows of an id.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    clippy::large_enum_variant,
    reason = "it lives as long as one admission, and most are of the large kind"
)]
pub enum Sight {
    /// Nothing.
    Unknown,
    /// No job, and a person cancelled it before it came.
    Cancelled,
    /// A job.
    Known {
        /// Its current generation.
        generation: Generation,
        /// What it says.
        fingerprint: Digest,
        /// Where it stands.
        standing: Standing,
    },
}

/// Where a known job stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// An intent without a final outcome; the interim outcome, once it is on record.
    InDoubt(Option<StoredOutcome>),
    /// The ledger has taken it over from its source, with this interim outcome: it waits for its turn.
    Held {
        /// What was said about it.
        outcome: StoredOutcome,
        /// Whether a person has cancelled it since.
        cancelled: bool,
    },
    /// Its intent was withdrawn: it was provably not executed, and may begin again, unless a person
    /// has cancelled it since.
    Released {
        /// Whether one has.
        cancelled: bool,
    },
    /// Over, with this outcome.
    Finished(StoredOutcome),
}

/// A job that may be sent from now on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Intent {
    /// The job.
    pub job: Job,
    /// Which generation.
    pub generation: Generation,
    /// The key that goes to the bank.
    pub key: IdempotencyKey,
    /// SHA-256 of the body that goes to the bank.
    pub body_sha256: Digest,
    /// What it came by.
    pub origin: Origin,
    /// Where it came from, in words for people.
    pub source: String,
    /// The line of its file, if any.
    pub line: Option<u64>,
    /// What travels with it.
    pub envelope: Envelope,
    /// When its source offered it.
    pub received_at: Timestamp,
    /// Who asked for this generation, where it is not the first.
    pub again_by: Option<Person>,
    /// Now.
    pub at: Moment,
}

/// A job that the ledger takes over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewlyHeld {
    /// What is to be sent at its turn. Its own moment counts only once it begins.
    pub intent: Intent,
    /// The interim outcome, `waiting`.
    pub outcome: StoredOutcome,
    /// Whether it comes before what its card has here already, because it had begun before that.
    pub first: bool,
    /// Why its intent is withdrawn, where it has one: it was provably not executed.
    pub released: Option<&'static str>,
}

/// A job that the ledger holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldJob {
    /// What is to be sent at its turn.
    pub intent: Intent,
    /// The interim outcome.
    pub outcome: StoredOutcome,
    /// Whether a person has cancelled it.
    pub cancelled: bool,
    /// How often its task panicked.
    pub panics: u32,
}

/// What came of [`Ledger::begin`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    clippy::large_enum_variant,
    reason = "it lives as long as one answer of the ledger"
)]
pub enum Begun {
    /// The intent is durable.
    Yes,
    /// The ledger already had a row for this id: this is what it knows. Nothing was written.
    AlreadyThere(Sight),
}

/// An outcome of a job, with the attempts that led to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settlement {
    /// Which job. A job that has no intent (it expired before its first call, say) gets its row
    /// here, from this intent.
    pub intent: Intent,
    /// Attempts not yet on record.
    pub attempts: Vec<AttemptNote>,
    /// The outcome to keep and publish.
    pub outcome: StoredOutcome,
    /// The request that decided it, answered in the same commit.
    pub answers: Option<(RequestId, Answer)>,
}

/// The answer to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Whether it was done, or will be.
    pub accepted: bool,
    /// The generation that it was about, if any.
    pub generation: Option<Generation>,
    /// What came of it, in words for the one who asked.
    pub words: String,
    /// When.
    pub at: Timestamp,
}

/// One attempt, for the record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttemptNote {
    /// From 1.
    pub number: u32,
    /// When the call began.
    pub began: Timestamp,
    /// When it ended.
    pub ended: Timestamp,
    /// What it told us.
    pub verdict: Verdict,
    /// Whether it spent one of the job's attempts.
    pub spent: bool,
}

/// One ask, for the record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AskNote {
    /// When the reading began.
    pub began: Timestamp,
    /// When it ended.
    pub ended: Timestamp,
    /// A stable word: what it found.
    pub finding: &'static str,
    /// The fault, the operation id, or the number of rows read, in words for `explain`.
    pub evidence: String,
}

/// An outcome as it is kept: the bytes to publish and what is needed to route them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredOutcome {
    /// Its identity.
    pub event_id: EventId,
    /// The job it is about; `None` where a message had no readable id.
    pub entity_id: Option<EntityId>,
    /// The generation it is about.
    pub generation: Option<Generation>,
    /// Its status.
    pub status: Status,
    /// The message, byte for byte.
    pub body: Vec<u8>,
    /// When it became true for us.
    pub settled_at: Timestamp,
    /// Whether it has been published before.
    pub published: bool,
    /// What its job came by.
    pub origin: Origin,
    /// What travels with it.
    pub envelope: Envelope,
    /// The message that it is about, byte for byte, for the dead letters; none where it is not one of
    /// these, or where it is no longer there.
    pub letter: Option<Letter>,
}

/// A message for the dead letters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Letter {
    /// Its body.
    pub body: Arc<[u8]>,
    /// Why it is dead, in stable words and for people, where the outcome does not say it all.
    pub why: Option<(String, String)>,
}

impl Letter {
    /// The letter of a job.
    #[must_use]
    pub fn of(job: &Job) -> Self {
        Self {
            body: wire::job::encode(job).into(),
            why: None,
        }
    }
}

/// A job with an intent and no final outcome, as a start finds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenJob {
    /// The intent as it was recorded.
    pub intent: Intent,
    /// The attempts on record, in order.
    pub attempts: Vec<AttemptNote>,
    /// The interim outcome and why, once on record.
    pub doubt: Option<(StoredOutcome, DoubtReason)>,
    /// Whether a person must decide.
    pub person_needed: bool,
    /// Whether a person cancelled it.
    pub cancelled: bool,
    /// Whether the ledger had held it before it began.
    pub was_held: bool,
    /// How often its task panicked.
    pub panics: u32,
}

/// The positive control: this bank's list has returned, byte for byte, an `entity_id` that this
/// ledger got a 2xx for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Control {
    /// That job.
    pub entity_id: EntityId,
    /// When the list returned it.
    pub seen_at: Timestamp,
}

/// A loss of the ledger that a person accepted: it has forgotten a time, and whatever it does not know
/// may have been sent then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loss {
    /// When.
    pub accepted_at: Timestamp,
    /// Who.
    pub by: Person,
    /// Whether all that was sent in the forgotten time must be listed by now.
    pub is_past: bool,
}

/// The last sign of life of a process that called the bank.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastBeat {
    /// When, by the wall clock of then.
    pub at: Timestamp,
    /// The time that has surely passed since, by a clock that nobody sets; none where that is not known.
    pub surely_ago: Option<Duration>,
}

/// The ledger cannot be used. This process must end (exit 8); the restart reads the truth.
#[derive(Debug, thiserror::Error)]
#[error("the ledger failed while {doing}")]
pub struct LedgerError {
    doing: &'static str,
    #[source]
    source: Box<dyn std::error::Error + Send + Sync>,
}

impl LedgerError {
    /// A failure while doing this.
    pub fn new(
        doing: &'static str,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self {
            doing,
            source: source.into(),
        }
    }
}

// ---- the sink ---------------------------------------------------------------------------------

/// Where outcomes go.
#[async_trait]
pub trait Sink: Send + Sync {
    /// The origins whose outcomes it can publish; what it cannot reach stays unpublished in the
    /// ledger, for a process that can.
    fn reaches(&self) -> &'static [Origin] {
        &Origin::ALL
    }

    /// Publishes an outcome, and its letter among the dead ones where it has one; `Ok` only once its
    /// readers have confirmed both.
    ///
    /// # Errors
    /// [`SinkError`] where it is not confirmed; it will be published again.
    async fn publish(&self, outcome: &StoredOutcome) -> Result<(), SinkError>;
}

/// The sink did not confirm.
#[derive(Debug, thiserror::Error)]
#[error("the outcome was not confirmed")]
pub struct SinkError {
    /// Whether its readers have left so much unread that no more is taken.
    pub is_full: bool,
    /// Whether the way to them broke, which concerns many outcomes at once and is told by whoever keeps it.
    pub is_broken: bool,
    /// What happened.
    #[source]
    pub source: Box<dyn std::error::Error + Send + Sync>,
}

impl SinkError {
    /// It was not confirmed, for this reason.
    pub fn new(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self {
            is_full: false,
            is_broken: false,
            source: source.into(),
        }
    }
}

// ---- the clock --------------------------------------------------------------------------------

/// Our wall clock. Monotonic time is tokio's, so that tests can pause it.
pub trait Clock: Send + Sync {
    /// Our wall clock now.
    fn wall(&self) -> Timestamp;
}
