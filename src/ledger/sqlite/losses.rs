//! Losses of the ledger that people accepted.
//!
//! *What it promises.* Each loss is kept for ever, with who accepted it. What is known to have come only
//! after the last of them is on record until it is over.
//!
//! *What it refuses to know.* How a loss is found, and what follows from it for a job.

use std::sync::LazyLock;

use rusqlite::{Connection, params};

use super::checksum::{ARRIVALS, JOBS, LOSSES};
use super::trouble::Trouble;
use crate::domain::job::EntityId;
use crate::domain::request::Person;
use crate::domain::time::Timestamp;
use crate::engine::ports::Loss;

static NOTE_ARRIVAL: LazyLock<String> =
    LazyLock::new(|| ARRIVALS.insert(&["entity_id = ?1"], "ON CONFLICT DO NOTHING"));

/// Puts a loss on record. What was proven not executed before the forgotten time may have been sent in it:
/// it is in doubt again, and where it was held, not held any more.
pub(super) fn accept(
    db: &Connection,
    by: &Person,
    at: Timestamp,
    forgotten: &str,
) -> rusqlite::Result<()> {
    let values = [
        "accepted_at = ?1",
        "accepted_by = ?2",
        "forgotten = ?3",
        "past = 0",
    ];
    db.execute(
        &LOSSES.insert(&values, ""),
        params![at.as_millis(), by.as_str(), forgotten],
    )?;
    let is_held = "was_held = max(was_held, EXISTS (SELECT 1 FROM holds WHERE \
                   holds.entity_id = jobs.entity_id AND holds.generation = jobs.generation))";
    let released = "WHERE released IS NOT NULL AND final_outcome IS NULL";
    db.execute(&JOBS.update(&[is_held, "released = NULL"], released), [])?;
    db.execute(
        "DELETE FROM holds WHERE (entity_id, generation) IN (SELECT entity_id, generation FROM jobs \
         WHERE final_outcome IS NULL AND released IS NULL)",
        [],
    )?;
    db.execute("DELETE FROM arrivals", [])?;
    Ok(())
}

/// See `Ledger::loss`.
pub(super) fn newest(db: &Connection) -> Result<Option<Loss>, Trouble> {
    let mut statement = db.prepare_cached("SELECT * FROM losses ORDER BY id DESC LIMIT 1")?;
    let mut rows = statement.query([])?;
    let Some(row) = rows.next()? else {
        return Ok(None);
    };
    LOSSES.check(row)?;
    let by: String = row.get("accepted_by")?;
    Ok(Some(Loss {
        accepted_at: Timestamp::from_millis(row.get("accepted_at")?),
        by: Person::parse(&by).ok_or(Trouble::Stored("person"))?,
        is_past: row.get("past")?,
    }))
}

/// See `Ledger::note_loss_is_past`.
pub(super) fn note_past(db: &Connection) -> Result<(), Trouble> {
    let newest = "WHERE id = (SELECT max(id) FROM losses)";
    db.execute(&LOSSES.update(&["past = 1"], newest), [])?;
    Ok(())
}

/// See `Ledger::note_arrivals`.
pub(super) fn note_arrivals(db: &Connection, entity_ids: &[EntityId]) -> Result<(), Trouble> {
    let mut note = db.prepare_cached(&NOTE_ARRIVAL)?;
    for entity_id in entity_ids {
        note.execute([entity_id.as_str()])?;
    }
    Ok(())
}

/// See `Ledger::has_arrived`.
pub(super) fn has_arrived(db: &Connection, entity_id: &EntityId) -> Result<bool, Trouble> {
    let mut find = db.prepare_cached("SELECT * FROM arrivals WHERE entity_id = ?1")?;
    let mut rows = find.query([entity_id.as_str()])?;
    let Some(row) = rows.next()? else {
        return Ok(false);
    };
    ARRIVALS.check(row)?;
    Ok(true)
}

/// A job is over: nobody asks any more when it arrived.
pub(super) fn forget_arrival(db: &Connection, entity_id: &EntityId) -> Result<(), Trouble> {
    db.prepare_cached("DELETE FROM arrivals WHERE entity_id = ?1")?
        .execute([entity_id.as_str()])?;
    Ok(())
}
