//! Pruning: what is over and long published gives way to a tombstone.
//!
//! *What it promises.* A pruned id keeps its generations, fingerprint, final status, reason, event id
//! and when it was begun, for ever: it is never paid again, a copy of it is still answered or in
//! conflict, and a later generation still asks the bank's list since the first. Nothing that is
//! open, in doubt or unpublished is touched, nor any generation of an id of which one is. A commit
//! is one step; between any two steps the ledger is whole.
//!
//! *What it refuses to know.* How long is long.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use rusqlite::{Connection, OptionalExtension as _, Transaction, TransactionBehavior, params};

use super::checksum::TOMBSTONES;
use super::trouble::Trouble;
use super::{Binding, open, read, write};
use crate::domain::time::Timestamp;
use crate::engine::ports::LedgerError;
use crate::ledger::anchor::{Anchor, Whose};
use crate::ledger::error::OpenError;
use crate::wire::outcome::OutcomeMessage;

/// Jobs that may go: over, settled before this time and published, like every other generation of
/// their id. An interim outcome that the final one overtook is never published, and does not count.
const MAY_GO: &str = "NOT EXISTS (SELECT 1 FROM jobs AS g \
    LEFT JOIN outcomes AS o ON o.id = g.final_outcome \
    WHERE g.entity_id = j.entity_id \
    AND (o.id IS NULL OR o.settled_at >= ?1 OR o.published_at IS NULL)) \
    AND NOT EXISTS (SELECT 1 FROM holds AS h WHERE h.entity_id = j.entity_id)";

static INSERT_TOMBSTONE: LazyLock<String> = LazyLock::new(|| {
    let values = [
        "entity_id = j.entity_id",
        "generation = j.generation",
        "fingerprint = j.fingerprint",
        "status = o.status",
        "reason = ?2",
        "event_id = o.event_id",
        "begun_at = j.intent_at",
        "begun_bank_at = j.intent_bank_at",
        "settled_at = o.settled_at",
    ];
    TOMBSTONES.insert_from(
        &values,
        "FROM jobs AS j JOIN outcomes AS o ON o.id = j.final_outcome WHERE j.id = ?1",
    )
});

/// Where a step of a prune begins: jobs first, then facts about messages, which go only after the
/// job that they are about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PrunePlace {
    /// Behind this job's row.
    Jobs(i64),
    /// Behind this outcome's row.
    Facts(i64),
}

impl PrunePlace {
    /// Where the first step begins.
    pub const START: Self = Self::Jobs(0);
}

/// One step of a prune.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PruneStep {
    /// Jobs that gave way to a tombstone.
    pub jobs: u64,
    /// Facts about messages that were removed.
    pub facts: u64,
    /// Where the next step goes on; none after the last.
    pub next: Option<PrunePlace>,
}

/// The one process that may prune a ledger, for as long as this lives.
///
/// It has a connection of its own, on which SQLite does not check foreign keys: for each row that
/// goes, SQLite would search every other row for one that refers to it, and an index that spares
/// it that would be written with every job. What refers to a job goes with it, and is counted.
#[derive(Debug)]
pub struct Pruner {
    db: Connection,
    // Held for as long as the file may be written.
    _lock: File,
    anchor_path: PathBuf,
    whose: Whose,
    sequence: i64,
}

impl Pruner {
    /// Opens a ledger and locks it, as [`SqliteLedger::open`](super::SqliteLedger::open) does.
    ///
    /// # Errors
    /// [`OpenError`] where this ledger cannot be relied on, or not by this process.
    pub fn open(path: &Path, binding: &Binding) -> Result<Self, OpenError> {
        let opened = open::open(path, binding)?;
        drop(opened.reader);
        let db = opened.writer;
        db.pragma_update(None, "foreign_keys", "OFF")
            .map_err(open::fault(path, "preparing to prune it"))?;
        Ok(Self {
            db,
            _lock: opened.lock,
            anchor_path: opened.anchor_path,
            whose: opened.whose,
            sequence: opened.sequence,
        })
    }

    /// How many jobs would go.
    ///
    /// # Errors
    /// [`LedgerError`] where the ledger cannot be read.
    pub fn count(&self, before: Timestamp) -> Result<u64, LedgerError> {
        let count = || -> Result<u64, Trouble> {
            let query = format!("SELECT count(*) FROM jobs AS j WHERE {MAY_GO}");
            let count: i64 = self
                .db
                .query_row(&query, [before.as_millis()], |row| row.get(0))?;
            Ok(u64::try_from(count).unwrap_or_default())
        };
        count().map_err(|trouble| LedgerError::new("counting what may be pruned", trouble))
    }

    /// Prunes what settled before this time, in one commit: begins at this place and looks at so
    /// many rows.
    ///
    /// # Errors
    /// [`LedgerError`] where the ledger cannot be used any more; what earlier steps did stays.
    pub fn step(
        &mut self,
        before: Timestamp,
        place: PrunePlace,
        rows: usize,
    ) -> Result<PruneStep, LedgerError> {
        self.commit(before, place, rows)
            .map_err(|trouble| LedgerError::new("pruning", trouble))
    }

    fn commit(
        &mut self,
        before: Timestamp,
        place: PrunePlace,
        rows: usize,
    ) -> Result<PruneStep, Trouble> {
        let tx = Transaction::new_unchecked(&self.db, TransactionBehavior::Immediate)?;
        let step = step(&tx, before, place, rows)?;
        if step.jobs == 0 && step.facts == 0 {
            return Ok(step);
        }
        let sequence = self.sequence + 1;
        write::set_sequence(&tx, sequence)?;
        tx.commit()?;
        self.sequence = sequence;
        let control = read::control(&self.db)?;
        Anchor::new(&self.whose, sequence, control.as_ref())
            .write(&self.anchor_path)
            .map_err(Trouble::Anchor)?;
        Ok(step)
    }

    /// Closes the file and frees the lock.
    ///
    /// # Errors
    /// [`LedgerError`] where closing fails.
    pub fn close(self) -> Result<(), LedgerError> {
        let closed = self.db.close();
        closed.map_err(|(_, error)| LedgerError::new("closing", Trouble::Sql(error)))
    }
}

fn step(
    db: &Connection,
    before: Timestamp,
    place: PrunePlace,
    rows: usize,
) -> Result<PruneStep, Trouble> {
    db.execute("INSERT INTO pruning (one) VALUES (1)", [])?;
    let step = match place {
        PrunePlace::Jobs(after) => {
            let last = last_of_page(db, "jobs", after, rows)?;
            PruneStep {
                jobs: match last {
                    Some(last) => jobs(db, before, after, last)?,
                    None => 0,
                },
                facts: 0,
                next: Some(last.map_or(PrunePlace::Facts(0), PrunePlace::Jobs)),
            }
        }
        PrunePlace::Facts(after) => {
            let last = last_of_page(db, "outcomes", after, rows)?;
            PruneStep {
                jobs: 0,
                facts: match last {
                    Some(last) => facts(db, before, after, last)?,
                    None => 0,
                },
                next: last.map(PrunePlace::Facts),
            }
        }
    };
    db.execute("DELETE FROM pruning", [])?;
    Ok(step)
}

/// The last of so many rows behind this one; none where there are no more.
fn last_of_page(
    db: &Connection,
    table: &'static str,
    after: i64,
    rows: usize,
) -> Result<Option<i64>, Trouble> {
    let query =
        format!("SELECT max(id) FROM (SELECT id FROM {table} WHERE id > ?1 ORDER BY id LIMIT ?2)");
    // A step of no rows would come to the end at once.
    let rows = i64::try_from(rows.max(1)).unwrap_or(i64::MAX);
    let mut statement = db.prepare_cached(&query)?;
    Ok(statement.query_row(params![after, rows], |row| row.get(0))?)
}

fn facts(db: &Connection, before: Timestamp, after: i64, last: i64) -> Result<u64, Trouble> {
    let removed = db
        .prepare_cached(
            "DELETE FROM outcomes WHERE id > ?2 AND id <= ?3 AND job IS NULL \
             AND settled_at < ?1 AND published_at IS NOT NULL AND (entity_id IS NULL \
             OR NOT EXISTS (SELECT 1 FROM jobs AS j WHERE j.entity_id = outcomes.entity_id)) \
             AND NOT EXISTS (SELECT 1 FROM holds AS h WHERE h.outcome = outcomes.id)",
        )?
        .execute(params![before.as_millis(), after, last])?;
    Ok(u64::try_from(removed).unwrap_or(u64::MAX))
}

fn jobs(db: &Connection, before: Timestamp, after: i64, last: i64) -> Result<u64, Trouble> {
    let query = format!("SELECT j.id FROM jobs AS j WHERE j.id > ?2 AND j.id <= ?3 AND {MAY_GO}");
    let ids = db
        .prepare_cached(&query)?
        .query_map(params![before.as_millis(), after, last], |row| row.get(0))?
        .collect::<rusqlite::Result<Vec<i64>>>()?;
    for &id in &ids {
        bury(db, id)?;
    }
    Ok(u64::try_from(ids.len()).unwrap_or(u64::MAX))
}

/// A job that goes, as far as its tombstone tells of it.
struct Going {
    entity_id: String,
    doubt_outcome: Option<i64>,
    final_outcome: i64,
}

/// Puts a tombstone in the place of a job and of everything that refers to it.
fn bury(db: &Connection, id: i64) -> Result<(), Trouble> {
    let going = db
        .prepare_cached(
            "SELECT j.entity_id, j.doubt_outcome, j.final_outcome, o.body FROM jobs AS j \
             JOIN outcomes AS o ON o.id = j.final_outcome WHERE j.id = ?1",
        )?
        .query_row([id], |row| {
            let body: Vec<u8> = row.get(3)?;
            let reason = OutcomeMessage::decode(&body).and_then(|message| message.reason);
            let going = Going {
                entity_id: row.get(0)?,
                doubt_outcome: row.get(1)?,
                final_outcome: row.get(2)?,
            };
            Ok((going, reason))
        })
        .optional()?;
    let (going, reason) = going.ok_or(Trouble::Stored("final outcome"))?;
    let stands = db
        .prepare_cached(&INSERT_TOMBSTONE)?
        .execute(params![id, reason])?;
    for statement in [
        "DELETE FROM attempts WHERE job = ?1",
        "DELETE FROM asks WHERE job = ?1",
    ] {
        db.prepare_cached(statement)?.execute([id])?;
    }
    let gone = db
        .prepare_cached("DELETE FROM jobs WHERE id = ?1")?
        .execute([id])?;
    let outcomes = [Some(going.final_outcome), going.doubt_outcome];
    for outcome in outcomes.into_iter().flatten() {
        let gone = db
            .prepare_cached("DELETE FROM outcomes WHERE id = ?1 AND job = ?2")?
            .execute([outcome, id])?;
        expect_one(gone)?;
    }
    db.prepare_cached("DELETE FROM panics WHERE entity_id = ?1")?
        .execute([going.entity_id])?;
    expect_one(stands).and_then(|()| expect_one(gone))
}

/// SQLite does not watch over references here, so that what is removed is counted.
const fn expect_one(rows: usize) -> Result<(), Trouble> {
    if rows == 1 {
        Ok(())
    } else {
        Err(Trouble::Stored("job and its outcomes"))
    }
}
