//! Losses of the ledger that people accepted.
//!
//! *What it promises.* Each loss is kept for ever, with who accepted it. What is known to have come only
//! after the last of them is on record until it is over.
//!
//! *What it refuses to know.* How a loss is found, and what follows from it for a job.

use rusqlite::{Connection, OptionalExtension as _, params};

use super::trouble::Trouble;
use crate::domain::job::EntityId;
use crate::domain::request::Person;
use crate::domain::time::Timestamp;
use crate::engine::ports::Loss;

/// Puts a loss on record. What was proven not executed before the forgotten time may have been sent in it:
/// it is in doubt again.
pub(super) fn accept(
    db: &Connection,
    by: &Person,
    at: Timestamp,
    forgotten: &str,
) -> rusqlite::Result<()> {
    db.execute(
        "INSERT INTO losses (accepted_at, accepted_by, forgotten) VALUES (?1, ?2, ?3)",
        params![at.as_millis(), by.as_str(), forgotten],
    )?;
    db.execute(
        "UPDATE jobs SET released = NULL WHERE released IS NOT NULL AND final_outcome IS NULL",
        [],
    )?;
    db.execute("DELETE FROM arrivals", [])?;
    Ok(())
}

/// See `Ledger::loss`.
pub(super) fn newest(db: &Connection) -> Result<Option<Loss>, Trouble> {
    let row = db
        .prepare_cached(
            "SELECT accepted_at, accepted_by, past FROM losses ORDER BY id DESC LIMIT 1",
        )?
        .query_row([], |row| {
            Ok((row.get(0)?, row.get::<_, String>(1)?, row.get(2)?))
        })
        .optional()?;
    let Some((accepted_at, by, is_past)) = row else {
        return Ok(None);
    };
    Ok(Some(Loss {
        accepted_at: Timestamp::from_millis(accepted_at),
        by: Person::parse(&by).ok_or(Trouble::Stored("person"))?,
        is_past,
    }))
}

/// See `Ledger::note_loss_is_past`.
pub(super) fn note_past(db: &Connection) -> Result<(), Trouble> {
    db.execute(
        "UPDATE losses SET past = 1 WHERE id = (SELECT max(id) FROM losses)",
        [],
    )?;
    Ok(())
}

/// See `Ledger::note_arrivals`.
pub(super) fn note_arrivals(db: &Connection, entity_ids: &[EntityId]) -> Result<(), Trouble> {
    let mut note =
        db.prepare_cached("INSERT INTO arrivals (entity_id) VALUES (?1) ON CONFLICT DO NOTHING")?;
    for entity_id in entity_ids {
        note.execute([entity_id.as_str()])?;
    }
    Ok(())
}

/// See `Ledger::has_arrived`.
pub(super) fn has_arrived(db: &Connection, entity_id: &EntityId) -> Result<bool, Trouble> {
    let mut find = db.prepare_cached("SELECT 1 FROM arrivals WHERE entity_id = ?1")?;
    Ok(find.exists([entity_id.as_str()])?)
}

/// A job is over: nobody asks any more when it arrived.
pub(super) fn forget_arrival(db: &Connection, entity_id: &EntityId) -> Result<(), Trouble> {
    db.prepare_cached("DELETE FROM arrivals WHERE entity_id = ?1")?
        .execute([entity_id.as_str()])?;
    Ok(())
}
