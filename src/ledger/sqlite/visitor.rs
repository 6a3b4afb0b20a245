//! A visit to a ledger that another process may own: to read it, and to ask something of its owner.
//!
//! *What it promises.* A visitor takes no lock that an owner needs and writes nothing but requests.
//! Every reading is of one commit.
//!
//! *What it refuses to know.* The bank, and how a request is answered.

use std::path::{Path, PathBuf};

use rusqlite::{Connection, OptionalExtension as _, Row};

use super::checksum::{ASKS, JOBS};
use super::trouble::Trouble;
use super::{dead, holds, losses, open, read, requests, tombstones};
use crate::domain::job::{CardId, EntityId};
use crate::domain::outcome::{DoubtReason, Status};
use crate::domain::request::{Person, RequestId, Wish};
use crate::domain::time::Timestamp;
use crate::engine::ports::{Answer, Intent, JobRef, LedgerError, OpenJob, Origin, StoredOutcome};
use crate::ledger::error::OpenError;
use crate::ledger::history::{
    AskRecord, DeadLetter, GenerationHistory, Held, History, OpenLine, Overview, Publication,
};
use crate::ledger::place;

/// Requests shown in an overview: more than people read.
const REQUESTS_SHOWN: usize = 100;

/// A visitor of a ledger.
#[derive(Debug)]
pub struct Visitor {
    db: Connection,
    path: PathBuf,
}

impl Visitor {
    /// Visits the ledger at this path. A ledger of an older format is brought up to date first, for
    /// which nobody may own it.
    ///
    /// # Errors
    /// [`OpenError`] where there is none that can be read.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        let (db, path) = open::visit(path)?;
        Ok(Self { db, path })
    }

    /// Whether a process owns the ledger now.
    ///
    /// # Errors
    /// [`LedgerError`] where the lock cannot be looked at.
    pub fn is_owned(&self) -> Result<bool, LedgerError> {
        open::is_locked(&self.path)
            .map_err(|error| LedgerError::new("looking at the ledger's lock", error))
    }

    /// Whether this ledger remembers all that its anchor has seen. What a copy or an older file says
    /// may be out of date.
    ///
    /// # Errors
    /// [`OpenError`]: it has forgotten something, or its anchor cannot be read.
    pub fn check_anchor(&self) -> Result<(), OpenError> {
        open::check_anchor_of_visit(&self.db, &self.path)
    }

    /// The ledger's own file, behind every link.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How many bytes may still be written where the ledger is; none where the system does not say.
    #[must_use]
    pub fn free_bytes(&self) -> Option<u64> {
        place::free_bytes(&self.path)
    }

    /// Makes requests durable, all of them or none. The owner answers each within a second or so;
    /// without an owner they wait for the next.
    ///
    /// # Errors
    /// [`LedgerError`] where they cannot be written.
    pub fn request_all(
        &self,
        wishes: &[Wish],
        by: &Person,
        at: Timestamp,
    ) -> Result<Vec<RequestId>, LedgerError> {
        requests::add_all(&self.db, wishes, by, at).map_err(failed("recording requests"))
    }

    /// The answer to a request, once there is one.
    ///
    /// # Errors
    /// [`LedgerError`] where the ledger cannot be read.
    pub fn answer_of(&self, request: RequestId) -> Result<Option<Answer>, LedgerError> {
        self.read("reading an answer", |db| requests::answer_of(db, request))
    }

    /// Everything that is on record about a job.
    ///
    /// # Errors
    /// [`LedgerError`] where the ledger cannot be read.
    pub fn history(&self, entity_id: &EntityId) -> Result<History, LedgerError> {
        self.read("reading a job's history", |db| history(db, entity_id))
    }

    /// Jobs whose intent has no final outcome, oldest first, at most `limit`, after this one.
    ///
    /// # Errors
    /// [`LedgerError`] where the ledger cannot be read.
    pub fn open_jobs(
        &self,
        after: Option<&JobRef>,
        limit: usize,
    ) -> Result<Vec<OpenLine>, LedgerError> {
        self.read("reading open jobs", |db| {
            let open = read::unsettled(db, after, limit)?;
            open.into_iter().map(|open| open_line(db, open)).collect()
        })
    }

    /// Every job that the ledger holds, the oldest of them one by one.
    ///
    /// # Errors
    /// [`LedgerError`] where the ledger cannot be read.
    pub fn held(&self, oldest: usize) -> Result<Held, LedgerError> {
        self.read("reading held jobs", |db| holds::all(db, oldest))
    }

    /// Outcomes that are still to be published, oldest first, at most `limit`.
    ///
    /// # Errors
    /// [`LedgerError`] where the ledger cannot be read.
    pub fn unpublished(&self, limit: usize) -> Result<Vec<StoredOutcome>, LedgerError> {
        self.read("reading outcomes that are not published", |db| {
            read::unpublished(db, &Origin::ALL, limit)
        })
    }

    /// Visits every dead letter that was not put aside, oldest first; those in doubt come last. Only
    /// one is in memory at a time.
    ///
    /// # Errors
    /// [`LedgerError`] where the ledger cannot be read.
    pub fn dead_letters(&self, visit: impl FnMut(DeadLetter)) -> Result<(), LedgerError> {
        self.read("reading dead letters", |db| dead::visit(db, visit))
    }

    /// The same, with those that were put aside or whose job was run again.
    ///
    /// # Errors
    /// [`LedgerError`] where the ledger cannot be read.
    pub fn dead_letters_ever(&self, visit: impl FnMut(DeadLetter)) -> Result<(), LedgerError> {
        self.read("reading dead letters", |db| dead::visit_ever(db, visit))
    }

    /// How many dead letters are open.
    ///
    /// # Errors
    /// [`LedgerError`] where the ledger cannot be read.
    pub fn dead_letter_count(&self) -> Result<u64, LedgerError> {
        self.read("counting dead letters", dead::count)
    }

    /// The ledger as a whole.
    ///
    /// # Errors
    /// [`LedgerError`] where the ledger cannot be read.
    pub fn overview(&self) -> Result<Overview, LedgerError> {
        self.read("reading the ledger's state", overview)
    }

    /// A card for which the bank has been paid through this ledger, to read the bank's list with.
    ///
    /// # Errors
    /// [`LedgerError`] where the ledger cannot be read.
    pub fn a_paid_card(&self) -> Result<Option<(CardId, EntityId)>, LedgerError> {
        self.read("reading the newest 2xx", |db| {
            let last = read::last_accepted(db)?;
            Ok(last.map(|intent| (intent.job.card_id, intent.job.entity_id)))
        })
    }

    /// Writes a whole copy of the last commit to a new file, which belongs to its owner alone, and
    /// checks it.
    ///
    /// # Errors
    /// [`OpenError`]: there is a file already, the disk says no, or the copy is not whole.
    pub fn backup(&self, to: &Path) -> Result<(), OpenError> {
        open::backup(&self.db, &self.path, to)
    }

    fn read<T>(
        &self,
        doing: &'static str,
        read: impl FnOnce(&Connection) -> Result<T, Trouble>,
    ) -> Result<T, LedgerError> {
        let snapshot = self
            .db
            .unchecked_transaction()
            .map_err(|error| LedgerError::new(doing, Trouble::Sql(error)))?;
        read(&snapshot).map_err(failed(doing))
    }
}

fn failed(doing: &'static str) -> impl FnOnce(Trouble) -> LedgerError {
    move |trouble| LedgerError::new(doing, trouble)
}

fn history(db: &Connection, entity_id: &EntityId) -> Result<History, Trouble> {
    let mut statement =
        db.prepare_cached("SELECT * FROM jobs WHERE entity_id = ?1 ORDER BY generation")?;
    let mut rows = statement.query([entity_id.as_str()])?;
    let mut generations = Vec::new();
    while let Some(row) = rows.next()? {
        generations.push(generation(db, row)?);
    }
    let tombstones = tombstones::of(db, entity_id)?;
    if generations.is_empty() && tombstones.is_empty() {
        check_unknown(db, entity_id)?;
    }
    let panics = db
        .prepare_cached("SELECT count FROM panics WHERE entity_id = ?1")?
        .query_row([entity_id.as_str()], |row| row.get(0))
        .optional()?;
    let without_job = publications(
        db,
        "SELECT * FROM outcomes INDEXED BY outcomes_without_job \
         WHERE job IS NULL AND entity_id = ?1 ORDER BY id",
        entity_id.as_str(),
    )?;
    let (waits, facts) = without_job
        .into_iter()
        .partition(|told| told.outcome.status == Status::Waiting);
    Ok(History {
        generations,
        tombstones,
        facts,
        waits,
        held: holds::of(db, entity_id)?,
        requests: requests::about(db, entity_id)?,
        panics: panics.unwrap_or_default(),
    })
}

/// That a job is not known is not said because of a damaged index alone. It reads every row, for an answer
/// that is seldom asked for.
fn check_unknown(db: &Connection, entity_id: &EntityId) -> Result<(), Trouble> {
    let mut find = db.prepare_cached("SELECT 1 FROM jobs NOT INDEXED WHERE entity_id = ?1")?;
    if find.exists([entity_id.as_str()])? {
        return Err(Trouble::Damaged("jobs"));
    }
    Ok(())
}

fn generation(db: &Connection, row: &Row<'_>) -> Result<GenerationHistory, Trouble> {
    let id: i64 = row.get("id")?;
    let doubt: Option<String> = row.get("doubt_reason")?;
    let (interim, last): (Option<i64>, Option<i64>) =
        (row.get("doubt_outcome")?, row.get("final_outcome")?);
    let intent = read::intent(row, &JOBS)?;
    let mut outcomes = Vec::new();
    for number in [interim, last].into_iter().flatten() {
        outcomes.push(outcome_of(db, &intent, number)?);
    }
    Ok(GenerationHistory {
        intent,
        attempts: read::attempts(db, id)?,
        asks: asks(db, id)?,
        doubt: doubt.as_deref().and_then(DoubtReason::parse),
        person_needed: row.get("person_needed")?,
        released: row.get("released")?,
        outcomes,
    })
}

/// The outcome in this row, which must be there and about this job: the number of a row is in no checksum.
fn outcome_of(db: &Connection, intent: &Intent, number: i64) -> Result<Publication, Trouble> {
    let mut rows = publications(db, "SELECT * FROM outcomes WHERE id = ?1", number)?;
    let is_its = |of: &StoredOutcome| {
        of.entity_id.as_ref() == Some(&intent.job.entity_id)
            && of.generation == Some(intent.generation)
    };
    let row = rows.pop().filter(|row| is_its(&row.outcome));
    row.ok_or(Trouble::Damaged("outcomes"))
}

fn asks(db: &Connection, job: i64) -> Result<Vec<AskRecord>, Trouble> {
    let mut statement = db.prepare_cached("SELECT * FROM asks WHERE job = ?1 ORDER BY id")?;
    let mut rows = statement.query([job])?;
    let mut asks = Vec::new();
    while let Some(row) = rows.next()? {
        ASKS.check(row)?;
        asks.push(AskRecord {
            began: Timestamp::from_millis(row.get("began")?),
            ended: Timestamp::from_millis(row.get("ended")?),
            finding: row.get("finding")?,
            evidence: row.get("evidence")?,
        });
    }
    Ok(asks)
}

fn publications(
    db: &Connection,
    query: &str,
    of: impl rusqlite::ToSql,
) -> Result<Vec<Publication>, Trouble> {
    let mut statement = db.prepare_cached(query)?;
    let mut rows = statement.query([of])?;
    let mut publications = Vec::new();
    while let Some(row) = rows.next()? {
        let at: Option<i64> = row.get("published_at")?;
        publications.push(Publication {
            outcome: read::stored_outcome(row)?,
            published_at: at.map(Timestamp::from_millis),
        });
    }
    Ok(publications)
}

fn open_line(db: &Connection, open: OpenJob) -> Result<OpenLine, Trouble> {
    let intent = open.intent;
    let about = JobRef {
        entity_id: intent.job.entity_id.clone(),
        generation: intent.generation,
    };
    let mut asks = asks(db, read::job_id(db, &about)?)?;
    Ok(OpenLine {
        generation: intent.generation,
        source: intent.source,
        line: intent.line,
        begun_at: intent.at.wall,
        job: intent.job,
        in_doubt_since: open.doubt.as_ref().map(|(interim, _)| interim.settled_at),
        doubt: open.doubt.map(|(_, reason)| reason),
        person_needed: open.person_needed,
        attempts: u64::try_from(open.attempts.len()).unwrap_or(u64::MAX),
        asks: u64::try_from(asks.len()).unwrap_or(u64::MAX),
        last_ask: asks.pop(),
    })
}

fn overview(db: &Connection) -> Result<Overview, Trouble> {
    let meta = open::Meta::read(db)?;
    let on_queue = read::unpublished_count(db, Origin::Queue)?;
    Ok(Overview {
        ledger_id: meta.whose.ledger_id,
        bound: meta.whose.bound,
        sequence: meta.sequence,
        control: read::control(db)?,
        loss: losses::newest(db)?,
        paused_by: requests::paused_by(db)?,
        open_requests: requests::open(db, None, REQUESTS_SHOWN)?,
        unpublished: on_queue + read::unpublished_count(db, Origin::File)?,
        unpublished_on_queue: on_queue,
    })
}
