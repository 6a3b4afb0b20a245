//! Reading rows.
//!
//! *What it promises.* Every value is parsed into the type it was written from; a row that does not
//! fit its types or its checksum, or a job whose content does not have its fingerprint, is an error and
//! never a guess.
//!
//! *What it refuses to know.* Transactions: its caller holds one, so that one answer is about one
//! state of the ledger.

use std::time::Duration;

use rusqlite::{Connection, Row, params};

use super::checksum::{ATTEMPTS, JOBS, OUTCOMES, Table};
use super::trouble::Trouble;
use super::{holds, requests, tombstones, verdict};
use crate::domain::digest::Digest;
use crate::domain::job::{CardId, EntityId, Job, Operation};
use crate::domain::key::{EventId, Generation, IdempotencyKey};
use crate::domain::money::{Amount, Currency};
use crate::domain::outcome::{DoubtReason, Status};
use crate::domain::request::Person;
use crate::domain::time::{Moment, Timestamp};
use crate::engine::ports::{
    AttemptNote, Control, Intent, JobRef, Letter, OpenJob, Origin, Sight, Standing, StoredOutcome,
};
use crate::ledger::rules;
use crate::telemetry::metrics::OpenFigures;
use crate::wire::envelope::Envelope;

/// What is known of each id, in the same order.
pub(super) fn look(db: &Connection, entity_ids: &[EntityId]) -> Result<Vec<Sight>, Trouble> {
    entity_ids.iter().map(|id| sight(db, id)).collect()
}

/// What is known of one id.
pub(super) fn sight(db: &Connection, entity_id: &EntityId) -> Result<Sight, Trouble> {
    if is_new(db, entity_id)? {
        return Ok(Sight::Unknown);
    }
    if let Some(held) = holds::sight(db, entity_id)? {
        return Ok(held);
    }
    let mut statement = db.prepare_cached(
        "SELECT * FROM jobs WHERE entity_id = ?1 ORDER BY generation DESC LIMIT 1",
    )?;
    let mut rows = statement.query([entity_id.as_str()])?;
    let Some(row) = rows.next()? else {
        return sight_without_row(db, entity_id);
    };
    JOBS.check(row)?;
    let generation = generation(row.get("generation")?)?;
    let released: Option<String> = row.get("released")?;
    let standing = match (row.get("doubt_outcome")?, row.get("final_outcome")?) {
        (_, Some(last)) => Standing::Finished(outcome(db, last)?),
        (Some(interim), None) => Standing::InDoubt(Some(outcome(db, interim)?)),
        (None, None) if released.is_some() => Standing::Released {
            cancelled: requests::is_cancelled(db, entity_id, generation)?,
        },
        (None, None) => Standing::InDoubt(None),
    };
    Ok(Sight::Known {
        generation,
        fingerprint: Digest::from_bytes(row.get("fingerprint")?),
        standing,
    })
}

/// Whether nothing is known of an id, which is so for nearly every job that comes: in one statement.
fn is_new(db: &Connection, entity_id: &EntityId) -> Result<bool, Trouble> {
    let mut statement = db.prepare_cached(
        "SELECT 1 WHERE EXISTS (SELECT 1 FROM jobs WHERE entity_id = ?1) \
         OR EXISTS (SELECT 1 FROM holds WHERE entity_id = ?1) \
         OR EXISTS (SELECT 1 FROM tombstones WHERE entity_id = ?1) \
         OR EXISTS (SELECT 1 FROM requests INDEXED BY requests_cancelled \
             WHERE wish = 'cancel' AND accepted = 1 AND entity_id = ?1)",
    )?;
    Ok(!statement.exists([entity_id.as_str()])?)
}

/// What is known of an id that no job's row bears: what a prune left, or a cancel.
fn sight_without_row(db: &Connection, entity_id: &EntityId) -> Result<Sight, Trouble> {
    if let Some(tombstone) = tombstones::sight(db, entity_id)? {
        return Ok(tombstone);
    }
    let cancelled = requests::is_cancelled(db, entity_id, Generation::FIRST)?;
    Ok(if cancelled {
        Sight::Cancelled
    } else {
        Sight::Unknown
    })
}

/// The number of a job's row, which must be there.
pub(super) fn job_id(db: &Connection, job: &JobRef) -> Result<i64, Trouble> {
    let mut statement =
        db.prepare_cached("SELECT id FROM jobs WHERE entity_id = ?1 AND generation = ?2")?;
    let mut rows = statement.query(params![job.entity_id.as_str(), job.generation.get()])?;
    match rows.next()? {
        Some(row) => Ok(row.get(0)?),
        None => Err(rules::UNKNOWN_JOB.into()),
    }
}

/// An outcome by the number of its row.
pub(super) fn outcome(db: &Connection, id: i64) -> Result<StoredOutcome, Trouble> {
    let mut statement = db.prepare_cached("SELECT * FROM outcomes WHERE id = ?1")?;
    let mut rows = statement.query([id])?;
    let row = rows.next()?.ok_or(Trouble::Stored("outcome"))?;
    stored_outcome(row)
}

/// An outcome by its event id, if it is on record.
pub(super) fn outcome_of_event(
    db: &Connection,
    event_id: EventId,
) -> Result<Option<StoredOutcome>, Trouble> {
    let mut statement = db.prepare_cached("SELECT * FROM outcomes WHERE event_id = ?1")?;
    let mut rows = statement.query([event_id.as_bytes()])?;
    rows.next()?.map(stored_outcome).transpose()
}

/// The number of the row of an outcome with this event id, if it is on record.
pub(super) fn outcome_row_of_event(
    db: &Connection,
    event_id: EventId,
) -> Result<Option<i64>, Trouble> {
    let mut statement = db.prepare_cached("SELECT id FROM outcomes WHERE event_id = ?1")?;
    let mut rows = statement.query([event_id.as_bytes()])?;
    Ok(rows.next()?.map(|row| row.get(0)).transpose()?)
}

/// Which outcomes are still to be told: an interim one that a final one has overtaken, or a `waiting`
/// one of a job that waits no more, would be untrue.
const TO_BE_TOLD: &str = "FROM outcomes AS o INDEXED BY outcomes_unpublished \
    LEFT JOIN jobs AS j ON j.id = o.job WHERE o.published_at IS NULL \
    AND (o.job IS NULL OR j.final_outcome IS NULL OR j.final_outcome = o.id) \
    AND (o.status <> 'waiting' OR EXISTS (SELECT 1 FROM holds AS h WHERE h.outcome = o.id))";

/// Outcomes to publish, oldest first, with their letters.
pub(super) fn unpublished(
    db: &Connection,
    origins: &[Origin],
    limit: usize,
) -> Result<Vec<StoredOutcome>, Trouble> {
    let query = format!("SELECT o.* {TO_BE_TOLD} AND o.origin IN (?1, ?2) ORDER BY o.id LIMIT ?3");
    let word = |origin: Origin| origins.contains(&origin).then_some(origin.as_str());
    let mut statement = db.prepare_cached(&query)?;
    let mut rows = statement.query(params![
        word(Origin::File),
        word(Origin::Queue),
        at_most(limit)
    ])?;
    let mut outcomes = Vec::new();
    while let Some(row) = rows.next()? {
        let outcome = stored_outcome(row)?;
        let job: Option<i64> = row.get("job")?;
        let letter = match job {
            Some(job) if outcome.status.is_dead_lettered() => Some(letter(db, job)?),
            Some(_) | None => None,
        };
        outcomes.push(StoredOutcome { letter, ..outcome });
    }
    Ok(outcomes)
}

fn letter(db: &Connection, job: i64) -> Result<Letter, Trouble> {
    let mut statement = db.prepare_cached("SELECT * FROM jobs WHERE id = ?1")?;
    let mut rows = statement.query([job])?;
    let row = rows.next()?.ok_or(Trouble::Stored("job"))?;
    Ok(Letter::of(&intent(row, &JOBS)?.job))
}

/// How many outcomes of this origin are to be published.
pub(super) fn unpublished_count(db: &Connection, origin: Origin) -> Result<u64, Trouble> {
    let query = format!("SELECT count(*) {TO_BE_TOLD} AND o.origin = ?1");
    let mut statement = db.prepare_cached(&query)?;
    let count: i64 = statement.query_row([origin.as_str()], |row| row.get(0))?;
    Ok(u64::try_from(count).unwrap_or_default())
}

/// What is open, in figures. Jobs in doubt are bounded, and each is looked at: a sum in SQL could
/// overflow.
pub(super) fn open_figures(db: &Connection) -> Result<OpenFigures, Trouble> {
    let mut figures = OpenFigures {
        held: holds::count(db)?,
        unpublished: unpublished_count(db, Origin::File)? + unpublished_count(db, Origin::Queue)?,
        ..OpenFigures::default()
    };
    let mut statement = db.prepare_cached(
        "SELECT currency, amount_minor, person_needed FROM jobs INDEXED BY jobs_unsettled \
         WHERE final_outcome IS NULL AND doubt_outcome IS NOT NULL",
    )?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let currency: String = row.get(0)?;
        let currency = Currency::parse(&currency).ok_or(Trouble::Stored("currency"))?;
        let minor: i64 = row.get(1)?;
        let person_needed: bool = row.get(2)?;
        figures.in_doubt += 1;
        *figures.in_doubt_minor.entry(currency).or_default() += i128::from(minor);
        figures.person_needed += u64::from(person_needed);
    }
    Ok(figures)
}

/// The job of this generation, where its row is still there.
pub(super) fn job_of(db: &Connection, job: &JobRef) -> Result<Option<Intent>, Trouble> {
    let mut statement =
        db.prepare_cached("SELECT * FROM jobs WHERE entity_id = ?1 AND generation = ?2")?;
    let mut rows = statement.query(params![job.entity_id.as_str(), job.generation.get()])?;
    rows.next()?.map(|row| intent(row, &JOBS)).transpose()
}

/// Jobs without a final outcome, oldest first.
pub(super) fn unsettled(
    db: &Connection,
    after: Option<&JobRef>,
    limit: usize,
) -> Result<Vec<OpenJob>, Trouble> {
    let after = after.map_or(Ok(0), |job| job_id(db, job))?;
    let mut statement = db.prepare_cached(
        "SELECT j.*, coalesce(p.count, 0) AS panics FROM jobs AS j INDEXED BY jobs_unsettled \
         LEFT JOIN panics AS p ON p.entity_id = j.entity_id \
         WHERE j.final_outcome IS NULL AND j.released IS NULL AND j.id > ?1 \
         ORDER BY j.id LIMIT ?2",
    )?;
    let mut rows = statement.query(params![after, at_most(limit)])?;
    let mut jobs = Vec::new();
    while let Some(row) = rows.next()? {
        jobs.push(open_job_in(db, row)?);
    }
    Ok(jobs)
}

/// The job of this id that is not settled.
pub(super) fn open_job(db: &Connection, entity_id: &EntityId) -> Result<Option<OpenJob>, Trouble> {
    let mut statement = db.prepare_cached(
        "SELECT j.*, coalesce(p.count, 0) AS panics FROM jobs AS j \
         LEFT JOIN panics AS p ON p.entity_id = j.entity_id \
         WHERE j.entity_id = ?1 AND j.final_outcome IS NULL AND j.released IS NULL",
    )?;
    let mut rows = statement.query([entity_id.as_str()])?;
    rows.next()?.map(|row| open_job_in(db, row)).transpose()
}

/// What each generation of this id says, from the first.
pub(super) fn generations_of(db: &Connection, entity_id: &EntityId) -> Result<Vec<Job>, Trouble> {
    let mut statement =
        db.prepare_cached("SELECT * FROM jobs WHERE entity_id = ?1 ORDER BY generation")?;
    let mut rows = statement.query([entity_id.as_str()])?;
    let mut jobs = Vec::new();
    while let Some(row) = rows.next()? {
        jobs.push(intent(row, &JOBS)?.job);
    }
    Ok(jobs)
}

/// When the first generation of this id was begun.
pub(super) fn first_begun_at(
    db: &Connection,
    entity_id: &EntityId,
) -> Result<Option<Moment>, Trouble> {
    let mut statement = db.prepare_cached(
        "SELECT begun_at, begun_bank_at, generation FROM tombstones WHERE entity_id = ?1 \
         UNION ALL SELECT intent_at, intent_bank_at, generation FROM jobs WHERE entity_id = ?1 \
         ORDER BY generation LIMIT 1",
    )?;
    let mut rows = statement.query([entity_id.as_str()])?;
    let Some(row) = rows.next()? else {
        return Ok(None);
    };
    Ok(Some(Moment {
        mono: Duration::ZERO,
        wall: Timestamp::from_millis(row.get(0)?),
        bank: Timestamp::from_millis(row.get(1)?),
    }))
}

/// The positive control on record.
pub(super) fn control(db: &Connection) -> Result<Option<Control>, Trouble> {
    let mut statement =
        db.prepare_cached("SELECT control_entity_id, control_seen_at FROM meta WHERE one = 1")?;
    let mut rows = statement.query([])?;
    let row = rows.next()?.ok_or(Trouble::Stored("meta row"))?;
    let entity_id: Option<String> = row.get(0)?;
    let Some(text) = entity_id else {
        return Ok(None);
    };
    Ok(Some(Control {
        entity_id: entity_id_of(&text)?,
        seen_at: Timestamp::from_millis(row.get(1)?),
    }))
}

/// The newest job that got a 2xx. Most jobs do, so that the walk from the end is short.
pub(super) fn last_accepted(db: &Connection) -> Result<Option<Intent>, Trouble> {
    let mut statement = db.prepare_cached(
        "SELECT j.* FROM jobs AS j WHERE j.final_outcome IS NOT NULL AND EXISTS \
         (SELECT 1 FROM attempts AS a WHERE a.job = j.id \
         AND json_extract(a.verdict, '$.verdict') = 'accepted') ORDER BY j.id DESC LIMIT 1",
    )?;
    let mut rows = statement.query([])?;
    rows.next()?.map(|row| intent(row, &JOBS)).transpose()
}

fn at_most(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

fn generation(number: u32) -> Result<Generation, Trouble> {
    Generation::new(number).ok_or(Trouble::Stored("generation"))
}

fn entity_id_of(text: &str) -> Result<EntityId, Trouble> {
    EntityId::parse(text).map_err(|_| Trouble::Stored("entity_id"))
}

pub(super) fn stored_outcome(row: &Row<'_>) -> Result<StoredOutcome, Trouble> {
    OUTCOMES.check(row)?;
    let entity_id: Option<String> = row.get("entity_id")?;
    let number: Option<u32> = row.get("generation")?;
    let status: String = row.get("status")?;
    let published_at: Option<i64> = row.get("published_at")?;
    Ok(StoredOutcome {
        event_id: EventId::from_bytes(row.get("event_id")?),
        entity_id: entity_id.as_deref().map(entity_id_of).transpose()?,
        generation: number.map(generation).transpose()?,
        status: Status::parse(&status).ok_or(Trouble::Stored("status"))?,
        body: row.get("body")?,
        settled_at: Timestamp::from_millis(row.get("settled_at")?),
        published: published_at.is_some(),
        origin: origin(row)?,
        envelope: envelope(row)?,
        letter: None,
    })
}

fn origin(row: &Row<'_>) -> Result<Origin, Trouble> {
    let word: String = row.get("origin")?;
    Origin::parse(&word).ok_or(Trouble::Stored("origin"))
}

fn envelope(row: &Row<'_>) -> Result<Envelope, Trouble> {
    let text: Option<String> = row.get("envelope")?;
    text.map_or(Ok(Envelope::default()), |text| {
        Envelope::decode(&text).ok_or(Trouble::Stored("envelope"))
    })
}

fn open_job_in(db: &Connection, row: &Row<'_>) -> Result<OpenJob, Trouble> {
    let interim: Option<i64> = row.get("doubt_outcome")?;
    let doubt = match interim {
        Some(interim) => {
            let word: String = row.get("doubt_reason")?;
            let reason = DoubtReason::parse(&word).ok_or(Trouble::Stored("doubt reason"))?;
            Some((outcome(db, interim)?, reason))
        }
        None => None,
    };
    let intent = intent(row, &JOBS)?;
    Ok(OpenJob {
        cancelled: requests::is_cancelled(db, &intent.job.entity_id, intent.generation)?,
        intent,
        attempts: attempts(db, row.get("id")?)?,
        doubt,
        person_needed: row.get("person_needed")?,
        was_held: row.get("was_held")?,
        panics: row.get("panics")?,
    })
}

/// What a row of this table is to send. Monotonic time means nothing in another process: it is read
/// back as zero.
pub(super) fn intent(row: &Row<'_>, table: &Table) -> Result<Intent, Trouble> {
    table.check(row)?;
    let line: Option<i64> = row.get("line")?;
    let source: Option<String> = row.get("source")?;
    let again_by: Option<String> = row.get("again_by")?;
    let job = job(row)?;
    // The one content of the ledger from which money moves: a flipped bit must not be sent.
    if Digest::from_bytes(row.get("fingerprint")?) != job.fingerprint() {
        return Err(Trouble::Stored("job (its content has another fingerprint)"));
    }
    Ok(Intent {
        job,
        generation: generation(row.get("generation")?)?,
        key: IdempotencyKey::from_bytes(row.get("key")?),
        body_sha256: Digest::from_bytes(row.get("body_sha256")?),
        origin: origin(row)?,
        envelope: envelope(row)?,
        source: source.unwrap_or_default(),
        line: line.map(i64::cast_unsigned),
        again_by: again_by.as_deref().and_then(Person::parse),
        received_at: Timestamp::from_millis(row.get("received_at")?),
        at: Moment {
            mono: Duration::ZERO,
            wall: Timestamp::from_millis(row.get("intent_at")?),
            bank: Timestamp::from_millis(row.get("intent_bank_at")?),
        },
    })
}

fn job(row: &Row<'_>) -> Result<Job, Trouble> {
    let entity_id: String = row.get("entity_id")?;
    let card_id: String = row.get("card_id")?;
    let operation: String = row.get("operation")?;
    let currency: String = row.get("currency")?;
    let not_after: Option<i64> = row.get("not_after")?;
    let currency = Currency::parse(&currency).ok_or(Trouble::Stored("currency"))?;
    Ok(Job {
        entity_id: entity_id_of(&entity_id)?,
        card_id: CardId::parse(&card_id).map_err(|_| Trouble::Stored("card id"))?,
        operation: Operation::parse(&operation).ok_or(Trouble::Stored("operation"))?,
        amount: Amount::new(row.get("amount_minor")?, currency).ok_or(Trouble::Stored("amount"))?,
        description: row.get("description")?,
        not_after: not_after.map(Timestamp::from_millis),
    })
}

pub(super) fn attempts(db: &Connection, job: i64) -> Result<Vec<AttemptNote>, Trouble> {
    let mut statement =
        db.prepare_cached("SELECT * FROM attempts WHERE job = ?1 ORDER BY number")?;
    let mut rows = statement.query([job])?;
    let mut attempts = Vec::new();
    while let Some(row) = rows.next()? {
        ATTEMPTS.check(row)?;
        let text: String = row.get("verdict")?;
        attempts.push(AttemptNote {
            number: row.get("number")?,
            began: Timestamp::from_millis(row.get("began")?),
            ended: Timestamp::from_millis(row.get("ended")?),
            spent: row.get("spent")?,
            verdict: verdict::decode(&text).ok_or(Trouble::Stored("verdict"))?,
        });
    }
    Ok(attempts)
}
