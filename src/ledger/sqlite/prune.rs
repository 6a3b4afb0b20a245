//! Pruning: what is over and long published gives way to a tombstone.
//!
//! *What it promises.* A pruned id keeps its generation, fingerprint, final status and event id for
//! ever, so that it is never paid again and a copy of it is still answered or in conflict. Nothing
//! that is open, in doubt or unpublished is touched, nor any generation of an id of which one is.
//!
//! *What it refuses to know.* How long is long.

use rusqlite::{Connection, params};

use super::trouble::Trouble;
use crate::domain::digest::Digest;
use crate::domain::job::EntityId;
use crate::domain::key::{EventId, Generation};
use crate::domain::outcome::Status;
use crate::domain::time::Timestamp;
use crate::engine::ports::{Sight, Standing, StoredOutcome};
use crate::wire;

/// One step of a prune.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PruneStep {
    /// Jobs that gave way to a tombstone.
    pub jobs: u64,
    /// Facts about messages that were removed.
    pub facts: u64,
    /// Where the next step goes on; none after the last.
    pub next: Option<i64>,
}

/// Prunes jobs that settled before this time, beginning behind this row, looking at so many rows;
/// with the first step also facts about messages.
pub(super) fn step(
    db: &Connection,
    before: Timestamp,
    after: i64,
    rows: usize,
) -> Result<PruneStep, Trouble> {
    let last: Option<i64> = db.query_row(
        "SELECT max(id) FROM (SELECT id FROM jobs WHERE id > ?1 ORDER BY id LIMIT ?2)",
        params![after, i64::try_from(rows).unwrap_or(i64::MAX)],
        |row| row.get(0),
    )?;
    db.pragma_update(None, "defer_foreign_keys", "ON")?;
    db.execute("INSERT INTO pruning (one) VALUES (1)", [])?;
    let facts = if after == 0 { facts(db, before)? } else { 0 };
    let jobs = match last {
        Some(last) => jobs(db, before, after, last)?,
        None => 0,
    };
    db.execute("DELETE FROM pruning", [])?;
    Ok(PruneStep {
        jobs,
        facts,
        next: last,
    })
}

fn facts(db: &Connection, before: Timestamp) -> Result<u64, Trouble> {
    let removed = db.execute(
        "DELETE FROM outcomes WHERE job IS NULL AND settled_at < ?1 AND published_at IS NOT NULL",
        [before.as_millis()],
    )?;
    Ok(u64::try_from(removed).unwrap_or(u64::MAX))
}

fn jobs(db: &Connection, before: Timestamp, after: i64, last: i64) -> Result<u64, Trouble> {
    db.execute_batch("CREATE TEMP TABLE IF NOT EXISTS pruned (id INTEGER PRIMARY KEY)")?;
    db.execute("DELETE FROM temp.pruned", [])?;
    let count = db.execute(
        "INSERT INTO temp.pruned SELECT j.id FROM jobs AS j \
         WHERE j.id > ?2 AND j.id <= ?3 AND NOT EXISTS \
         (SELECT 1 FROM jobs AS g LEFT JOIN outcomes AS o ON o.id = g.final_outcome \
          WHERE g.entity_id = j.entity_id AND (o.id IS NULL OR o.settled_at >= ?1 \
          OR o.published_at IS NULL))",
        params![before.as_millis(), after, last],
    )?;
    for statement in [
        "INSERT INTO tombstones (entity_id, generation, fingerprint, status, event_id, settled_at) \
         SELECT j.entity_id, j.generation, j.fingerprint, o.status, o.event_id, o.settled_at \
         FROM temp.pruned AS p JOIN jobs AS j ON j.id = p.id \
         JOIN outcomes AS o ON o.id = j.final_outcome",
        "DELETE FROM attempts WHERE job IN (SELECT id FROM temp.pruned)",
        "DELETE FROM asks WHERE job IN (SELECT id FROM temp.pruned)",
        "DELETE FROM outcomes WHERE id IN (SELECT final_outcome FROM jobs WHERE id IN \
         (SELECT id FROM temp.pruned) UNION ALL SELECT doubt_outcome FROM jobs WHERE id IN \
         (SELECT id FROM temp.pruned))",
        "DELETE FROM jobs WHERE id IN (SELECT id FROM temp.pruned)",
    ] {
        db.execute(statement, [])?;
    }
    Ok(u64::try_from(count).unwrap_or(u64::MAX))
}

/// What a prune left of an id: its newest generation.
pub(super) fn tombstone(db: &Connection, entity_id: &EntityId) -> Result<Option<Sight>, Trouble> {
    let mut statement = db.prepare_cached(
        "SELECT generation, fingerprint, status, event_id, settled_at FROM tombstones \
         WHERE entity_id = ?1 ORDER BY generation DESC LIMIT 1",
    )?;
    let mut rows = statement.query([entity_id.as_str()])?;
    let Some(row) = rows.next()? else {
        return Ok(None);
    };
    let generation = Generation::new(row.get(0)?).ok_or(Trouble::Stored("generation"))?;
    let status: String = row.get(2)?;
    let status = Status::parse(&status).ok_or(Trouble::Stored("status"))?;
    let event_id = EventId::from_bytes(row.get(3)?);
    let settled_at = Timestamp::from_millis(row.get(4)?);
    let message = wire::outcome::of_pruned(entity_id, generation, status, event_id, settled_at);
    Ok(Some(Sight::Known {
        generation,
        fingerprint: Digest::from_bytes(row.get(1)?),
        standing: Standing::Finished(StoredOutcome {
            event_id,
            entity_id: Some(entity_id.clone()),
            generation: Some(generation),
            status,
            body: message.encode(),
            settled_at,
            published: true,
        }),
    }))
}
