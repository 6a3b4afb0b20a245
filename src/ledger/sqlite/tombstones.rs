//! Tombstones: what is still known of jobs that were pruned.
//!
//! *What it promises.* An id with a tombstone is known for ever: it is answered, in conflict, or begun
//! anew as if its rows were there.
//!
//! *What it refuses to know.* When a job gives way to one.

use rusqlite::{Connection, Row, params};

use super::checksum::TOMBSTONES;
use super::trouble::Trouble;
use crate::domain::digest::Digest;
use crate::domain::job::EntityId;
use crate::domain::key::{EventId, Generation};
use crate::domain::outcome::Status;
use crate::domain::time::Timestamp;
use crate::engine::ports::{JobRef, Origin, Sight, Standing, StoredOutcome};
use crate::ledger::history::Tombstone;
use crate::wire;
use crate::wire::envelope::Envelope;
use crate::wire::outcome::OutcomeMessage;

/// Whether a tombstone stands in the place of this generation.
pub(super) fn is_pruned(db: &Connection, job: &JobRef) -> Result<bool, Trouble> {
    let mut statement =
        db.prepare_cached("SELECT 1 FROM tombstones WHERE entity_id = ?1 AND generation = ?2")?;
    Ok(statement.exists(params![job.entity_id.as_str(), job.generation.get()])?)
}

/// What a prune left of an id: its newest generation.
pub(super) fn sight(db: &Connection, entity_id: &EntityId) -> Result<Option<Sight>, Trouble> {
    let mut statement = db.prepare_cached(
        "SELECT * FROM tombstones WHERE entity_id = ?1 ORDER BY generation DESC LIMIT 1",
    )?;
    let mut rows = statement.query([entity_id.as_str()])?;
    let Some(row) = rows.next()? else {
        return Ok(None);
    };
    let tombstone = tombstone(row)?;
    Ok(Some(Sight::Known {
        generation: tombstone.generation,
        fingerprint: Digest::from_bytes(row.get("fingerprint")?),
        standing: Standing::Finished(StoredOutcome {
            event_id: tombstone.event_id,
            entity_id: Some(entity_id.clone()),
            generation: Some(tombstone.generation),
            status: tombstone.status,
            body: message_of(entity_id, &tombstone).encode(),
            settled_at: tombstone.settled_at,
            published: true,
            origin: Origin::File,
            envelope: Envelope::default(),
            letter: None,
        }),
    }))
}

fn message_of(entity_id: &EntityId, tombstone: &Tombstone) -> OutcomeMessage {
    wire::outcome::of_pruned(
        entity_id,
        tombstone.generation,
        tombstone.status,
        tombstone.reason.clone(),
        tombstone.event_id,
        tombstone.settled_at,
    )
}

/// What a prune left of an id, from its first generation on.
pub(super) fn of(db: &Connection, entity_id: &EntityId) -> Result<Vec<Tombstone>, Trouble> {
    let mut statement =
        db.prepare_cached("SELECT * FROM tombstones WHERE entity_id = ?1 ORDER BY generation")?;
    let mut rows = statement.query([entity_id.as_str()])?;
    let mut tombstones = Vec::new();
    while let Some(row) = rows.next()? {
        tombstones.push(tombstone(row)?);
    }
    Ok(tombstones)
}

fn tombstone(row: &Row<'_>) -> Result<Tombstone, Trouble> {
    TOMBSTONES.check(row)?;
    let status: String = row.get("status")?;
    Ok(Tombstone {
        generation: Generation::new(row.get("generation")?).ok_or(Trouble::Stored("generation"))?,
        status: Status::parse(&status).ok_or(Trouble::Stored("status"))?,
        reason: row.get("reason")?,
        event_id: EventId::from_bytes(row.get("event_id")?),
        begun_at: Timestamp::from_millis(row.get("begun_at")?),
        settled_at: Timestamp::from_millis(row.get("settled_at")?),
    })
}
