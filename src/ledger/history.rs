//! What a ledger knows, for people: the whole story of one job, and what is open.
//!
//! *What it promises.* Everything that is on record, in the order in which it happened.
//!
//! *What it refuses to know.* How it is shown.

use crate::domain::job::{EntityId, Job};
use crate::domain::key::{EventId, Generation};
use crate::domain::money::Totals;
use crate::domain::outcome::{DoubtReason, Status};
use crate::domain::request::{EvidenceText, Person, Request};
use crate::domain::time::Timestamp;
use crate::engine::ports::{Answer, AttemptNote, Control, Intent, Loss, StoredOutcome};

/// Everything that is on record about one `entity_id`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// Each generation, from the first.
    pub generations: Vec<GenerationHistory>,
    /// What a prune left of generations.
    pub tombstones: Vec<Tombstone>,
    /// Copies that said something else, and messages that were no jobs.
    pub facts: Vec<Publication>,
    /// What was said each time the ledger took it over from its source.
    pub waits: Vec<Publication>,
    /// How it is held, if it is.
    pub held: Option<HeldHistory>,
    /// What people asked about it, with the answers.
    pub requests: Vec<(Request, Option<Answer>)>,
    /// How often its task panicked.
    pub panics: u32,
}

impl History {
    /// The final status of the newest generation; none while it has none.
    #[must_use]
    pub fn final_status(&self) -> Option<Status> {
        if self.held.is_some() {
            return None;
        }
        let Some(newest) = self.generations.last() else {
            return self.tombstones.last().map(|tombstone| tombstone.status);
        };
        let mut statuses = newest.outcomes.iter().map(|told| told.outcome.status);
        statuses.find(|status| status.is_final())
    }

    /// Whether nothing at all is known.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.held.is_none()
            && self.waits.is_empty()
            && self.generations.is_empty()
            && self.tombstones.is_empty()
            && self.facts.is_empty()
            && self.requests.is_empty()
    }
}

/// One generation of one job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GenerationHistory {
    /// What was to be sent, under which key, from where, and when that became durable.
    pub intent: Intent,
    /// Every call, in order.
    pub attempts: Vec<AttemptNote>,
    /// Every ask, in order.
    pub asks: Vec<AskRecord>,
    /// Why it came into doubt, if it did.
    pub doubt: Option<DoubtReason>,
    /// Whether only a person could decide.
    pub person_needed: bool,
    /// Why its intent was withdrawn, where it was: it was provably not executed.
    pub released: Option<String>,
    /// The interim and the final outcome, as far as there are.
    pub outcomes: Vec<Publication>,
}

/// A job that the ledger holds until those before it on its card are through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldHistory {
    /// What is to be sent at its turn, as which generation.
    pub intent: Intent,
    /// Since when.
    pub since: Timestamp,
    /// How many held jobs of its card come before it.
    pub held_before: u64,
    /// The job of its card that is in doubt or being sent, if one is.
    pub behind: Option<EntityId>,
}

/// One ask on record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AskRecord {
    /// When the reading began.
    pub began: Timestamp,
    /// When it ended.
    pub ended: Timestamp,
    /// What it found, in a stable word.
    pub finding: String,
    /// On what that rests.
    pub evidence: String,
}

/// An outcome, and when its first publication was marked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publication {
    /// The outcome.
    pub outcome: StoredOutcome,
    /// When it was published; none where that is not marked.
    pub published_at: Option<Timestamp>,
}

/// What a prune left of one generation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tombstone {
    /// The generation.
    pub generation: Generation,
    /// Its final status.
    pub status: Status,
    /// Why, in a stable word.
    pub reason: Option<String>,
    /// The event id of that outcome.
    pub event_id: EventId,
    /// When its intent became durable.
    pub begun_at: Timestamp,
    /// When it was settled.
    pub settled_at: Timestamp,
}

/// A job whose intent has no final outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenLine {
    /// The job.
    pub job: Job,
    /// Its generation.
    pub generation: Generation,
    /// Where it came from.
    pub source: String,
    /// The line of its file, if any.
    pub line: Option<u64>,
    /// When its intent became durable.
    pub begun_at: Timestamp,
    /// Why it is in doubt; none while it is being sent, or where a process was interrupted in it.
    pub doubt: Option<DoubtReason>,
    /// When that became known.
    pub in_doubt_since: Option<Timestamp>,
    /// Whether only a person can decide.
    pub person_needed: bool,
    /// Calls on record.
    pub attempts: u64,
    /// Asks on record.
    pub asks: u64,
    /// The last of them.
    pub last_ask: Option<AskRecord>,
}

/// Every job that the ledger holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// How many, and how much.
    pub totals: Totals,
    /// The oldest.
    pub oldest: Vec<HeldLine>,
}

/// A job that the ledger holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldLine {
    /// The job.
    pub job: Job,
    /// Its generation.
    pub generation: Generation,
    /// Where it came from.
    pub source: String,
    /// The line of its file, if any.
    pub line: Option<u64>,
    /// Since when.
    pub since: Timestamp,
}

/// An outcome that nobody will retry by itself, of the newest generation of its job or about a message
/// alone; or a job in doubt that only a person can decide.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// The final outcome; of a job in doubt, the interim one.
    pub outcome: StoredOutcome,
    /// Where its job came from; empty where only the outcome is on record.
    pub source: String,
    /// What has been asked about it and is not answered yet.
    pub asked: Option<AskedOfLetter>,
    /// What became of it; none while it is open.
    pub dealt_with: Option<DealtWith>,
}

/// What became of a dead letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DealtWith {
    /// A person put it aside.
    PutAside {
        /// Who.
        by: Person,
        /// When that was asked.
        at: Timestamp,
        /// What was done about it.
        evidence: EvidenceText,
    },
    /// Its job was taken up again; the newest generation after it.
    RunAgain(Generation),
}

/// What can be asked about a dead letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AskedOfLetter {
    /// That its job be run again.
    Redrive,
    /// That it be put aside.
    Discard,
}

/// The ledger as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overview {
    /// Its id.
    pub ledger_id: String,
    /// The namespace and the bank that it belongs to, from its first use on.
    pub bound: Option<(String, String)>,
    /// The number of its last commit.
    pub sequence: i64,
    /// The positive control, if it is on record.
    pub control: Option<Control>,
    /// The loss that was accepted last, if any.
    pub loss: Option<Loss>,
    /// Who holds the flow, and since when.
    pub paused_by: Option<(Person, Timestamp)>,
    /// Requests that are not answered yet.
    pub open_requests: Vec<Request>,
    /// Outcomes not yet marked as published; an interim one that a final one has overtaken is not
    /// published any more and does not count.
    pub unpublished: u64,
    /// Of these, for the results queue.
    pub unpublished_on_queue: u64,
}
