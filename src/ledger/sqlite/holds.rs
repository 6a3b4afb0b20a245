//! Holds: jobs that the ledger has taken over from their source.
//!
//! *What it promises.* The jobs held for one card have one order, which is that of their takeover; a
//! job that had begun before the others were held comes before them. A hold ends with its job's begin,
//! or with an outcome at its turn.
//!
//! *What it refuses to know.* Why a job must wait, and when its turn comes.

use std::sync::LazyLock;

use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::checksum::HOLDS;
use super::trouble::Trouble;
use super::{read, requests, write};
use crate::domain::digest::Digest;
use crate::domain::job::{CardId, EntityId};
use crate::domain::key::Generation;
use crate::domain::request::Person;
use crate::domain::time::Timestamp;
use crate::engine::ports::{HeldJob, Intent, JobRef, NewlyHeld, Sight, Standing, StoredOutcome};
use crate::ledger::history::{Held, HeldHistory, HeldLine};
use crate::ledger::rules;

static INSERT: LazyLock<String> = LazyLock::new(|| {
    let values = [&write::INTENT[..], &["outcome = ?20", "place = ?21"]].concat();
    HOLDS.insert(&values, "")
});

/// See `Ledger::hold`.
pub(super) fn hold(db: &Connection, held: &[NewlyHeld]) -> Result<Vec<StoredOutcome>, Trouble> {
    held.iter().map(|job| hold_one(db, job)).collect()
}

fn hold_one(db: &Connection, held: &NewlyHeld) -> Result<StoredOutcome, Trouble> {
    rules::check_held(held)?;
    let intent = &held.intent;
    let job = JobRef {
        entity_id: intent.job.entity_id.clone(),
        generation: intent.generation,
    };
    if let Some(reason) = held.released {
        write::release(db, &job, reason)?;
    }
    let sight = read::sight(db, &job.entity_id)?;
    if !rules::may_be_held(&sight, intent) {
        return Err(rules::NOT_TO_BE_HELD.into());
    }
    if let Sight::Known {
        standing: Standing::Held { outcome, .. },
        ..
    } = sight
    {
        return Ok(outcome);
    }
    let outcome = match read::outcome_row_of_event(db, held.outcome.event_id)? {
        Some(id) => id,
        None => write::insert_outcome(db, &held.outcome, None)?,
    };
    insert(db, held, outcome)?;
    read::outcome(db, outcome)
}

fn insert(db: &Connection, held: &NewlyHeld, outcome: i64) -> Result<(), Trouble> {
    let (intent, job) = (&held.intent, &held.intent.job);
    let place = if held.first {
        "SELECT coalesce(min(place), 0) - 1 FROM holds WHERE card_id = ?1"
    } else {
        "SELECT coalesce(max(place), 0) + 1 FROM holds WHERE card_id = ?1"
    };
    let mut find_place = db.prepare_cached(place)?;
    let place: i64 = find_place.query_row([job.card_id.as_str()], |row| row.get(0))?;
    db.prepare_cached(&INSERT)?.execute(params![
        job.entity_id.as_str(),
        intent.generation.get(),
        job.card_id.as_str(),
        job.operation.as_str(),
        job.amount.minor(),
        job.amount.currency().as_str(),
        job.description,
        job.not_after.map(Timestamp::as_millis),
        job.fingerprint().as_bytes(),
        intent.key.as_bytes(),
        intent.body_sha256.as_bytes(),
        intent.line.map(u64::cast_signed),
        intent.received_at.as_millis(),
        intent.at.wall.as_millis(),
        intent.at.bank.as_millis(),
        intent.source,
        intent.again_by.as_ref().map(Person::as_str),
        intent.origin.as_str(),
        intent.envelope.encode(),
        outcome,
        place,
    ])?;
    Ok(())
}

/// Ends the hold of this generation; whether there was one.
pub(super) fn end(
    db: &Connection,
    entity_id: &EntityId,
    generation: Generation,
) -> Result<bool, Trouble> {
    let ended = db
        .prepare_cached("DELETE FROM holds WHERE entity_id = ?1 AND generation = ?2")?
        .execute(params![entity_id.as_str(), generation.get()])?;
    Ok(ended > 0)
}

/// What is known of an id that is held.
pub(super) fn sight(db: &Connection, entity_id: &EntityId) -> Result<Option<Sight>, Trouble> {
    let mut statement = db.prepare_cached(
        "SELECT * FROM holds WHERE entity_id = ?1 ORDER BY generation DESC LIMIT 1",
    )?;
    let mut rows = statement.query([entity_id.as_str()])?;
    let Some(row) = rows.next()? else {
        return Ok(None);
    };
    HOLDS.check(row)?;
    let generation =
        Generation::new(row.get("generation")?).ok_or(Trouble::Stored("generation"))?;
    Ok(Some(Sight::Known {
        generation,
        fingerprint: Digest::from_bytes(row.get("fingerprint")?),
        standing: Standing::Held {
            outcome: read::outcome(db, row.get("outcome")?)?,
            cancelled: requests::is_cancelled(db, entity_id, generation)?,
        },
    }))
}

/// See `Ledger::next_held`.
pub(super) fn next(db: &Connection, card_id: &CardId) -> Result<Option<HeldJob>, Trouble> {
    let mut statement = db.prepare_cached(
        "SELECT h.*, coalesce(p.count, 0) AS panics FROM holds AS h INDEXED BY holds_by_card \
         LEFT JOIN panics AS p ON p.entity_id = h.entity_id \
         WHERE h.card_id = ?1 ORDER BY h.place LIMIT 1",
    )?;
    let mut rows = statement.query([card_id.as_str()])?;
    rows.next()?.map(|row| held_job(db, row)).transpose()
}

fn held_job(db: &Connection, row: &Row<'_>) -> Result<HeldJob, Trouble> {
    let intent: Intent = read::intent(row, &HOLDS)?;
    Ok(HeldJob {
        outcome: read::outcome(db, row.get("outcome")?)?,
        cancelled: requests::is_cancelled(db, &intent.job.entity_id, intent.generation)?,
        panics: row.get("panics")?,
        intent,
    })
}

/// How this job is held, if it is.
pub(super) fn of(db: &Connection, entity_id: &EntityId) -> Result<Option<HeldHistory>, Trouble> {
    let mut statement = db.prepare_cached(
        "SELECT * FROM holds WHERE entity_id = ?1 ORDER BY generation DESC LIMIT 1",
    )?;
    let mut rows = statement.query([entity_id.as_str()])?;
    let Some(row) = rows.next()? else {
        return Ok(None);
    };
    let intent = read::intent(row, &HOLDS)?;
    let (card_id, place): (String, i64) = (row.get("card_id")?, row.get("place")?);
    let held_before: i64 = db
        .prepare_cached("SELECT count(*) FROM holds WHERE card_id = ?1 AND place < ?2")?
        .query_row(params![card_id, place], |row| row.get(0))?;
    let behind: Option<String> = db
        .prepare_cached(
            "SELECT entity_id FROM jobs INDEXED BY jobs_unsettled WHERE final_outcome IS NULL \
             AND released IS NULL AND card_id = ?1 ORDER BY id LIMIT 1",
        )?
        .query_row([card_id], |row| row.get(0))
        .optional()?;
    Ok(Some(HeldHistory {
        intent,
        since: read::outcome(db, row.get("outcome")?)?.settled_at,
        held_before: u64::try_from(held_before).unwrap_or_default(),
        behind: behind.and_then(|text| EntityId::parse(&text).ok()),
    }))
}

/// Every job that is held, and the oldest of them one by one.
pub(super) fn all(db: &Connection, oldest: usize) -> Result<Held, Trouble> {
    let mut statement = db.prepare_cached(
        "SELECT h.*, o.settled_at FROM holds AS h INDEXED BY holds_by_outcome \
         JOIN outcomes AS o ON o.id = h.outcome ORDER BY h.outcome",
    )?;
    let mut rows = statement.query([])?;
    let mut held = Held::default();
    while let Some(row) = rows.next()? {
        let intent = read::intent(row, &HOLDS)?;
        held.totals.add(intent.job.operation, intent.job.amount);
        if held.oldest.len() < oldest {
            held.oldest.push(HeldLine {
                job: intent.job,
                generation: intent.generation,
                source: intent.source,
                line: intent.line,
                since: Timestamp::from_millis(row.get("settled_at")?),
            });
        }
    }
    Ok(held)
}

/// See `Ledger::held_cards`.
pub(super) fn cards(
    db: &Connection,
    after: Option<&CardId>,
    limit: usize,
) -> Result<Vec<CardId>, Trouble> {
    let mut statement = db.prepare_cached(
        "SELECT DISTINCT card_id FROM holds INDEXED BY holds_by_card WHERE card_id > ?1 \
         ORDER BY card_id LIMIT ?2",
    )?;
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut rows = statement.query(params![after.map_or("", CardId::as_str), limit])?;
    let mut cards = Vec::new();
    while let Some(row) = rows.next()? {
        let text: String = row.get(0)?;
        cards.push(CardId::parse(&text).map_err(|_| Trouble::Stored("card id"))?);
    }
    Ok(cards)
}

/// See `Ledger::held_count`.
pub(super) fn count(db: &Connection) -> Result<u64, Trouble> {
    let mut statement = db.prepare_cached("SELECT count(*) FROM holds")?;
    let count: i64 = statement.query_row([], |row| row.get(0))?;
    Ok(u64::try_from(count).unwrap_or_default())
}
