//! Writing rows.
//!
//! *What it promises.* Each function is one command of the port, inside its caller's transaction:
//! all of it is committed or nothing. Rules are checked before the first change. Each row gets its
//! checksum with what it says.
//!
//! *What it refuses to know.* When the transaction is committed and who is answered.

use std::sync::LazyLock;

use rusqlite::{Connection, params};

use super::checksum::{ASKS, ATTEMPTS, JOBS, META, OUTCOMES};
use super::trouble::Trouble;
use super::{holds, losses, read, requests, tombstones, verdict};
use crate::domain::digest::Digest;
use crate::domain::job::EntityId;
use crate::domain::key::{EventId, Generation};
use crate::domain::outcome::DoubtReason;
use crate::domain::request::Person;
use crate::domain::time::Timestamp;
use crate::engine::ports::{
    AskNote, AttemptNote, Begun, Control, Intent, JobRef, Settlement, Sight, Standing,
    StoredOutcome,
};
use crate::ledger::rules;

/// The columns of an intent, in a row of its own and in one that is held, and the parameters that they are given.
pub(super) const INTENT: [&str; 19] = [
    "entity_id = ?1",
    "generation = ?2",
    "card_id = ?3",
    "operation = ?4",
    "amount_minor = ?5",
    "currency = ?6",
    "description = ?7",
    "not_after = ?8",
    "fingerprint = ?9",
    "key = ?10",
    "body_sha256 = ?11",
    "line = ?12",
    "received_at = ?13",
    "intent_at = ?14",
    "intent_bank_at = ?15",
    "source = ?16",
    "again_by = ?17",
    "origin = ?18",
    "envelope = ?19",
];
static INSERT_JOB: LazyLock<String> = LazyLock::new(|| {
    let values = [&INTENT[..], &["person_needed = 0", "was_held = ?20"]].concat();
    JOBS.insert(&values, "")
});
static BEGIN_AGAIN: LazyLock<String> = LazyLock::new(|| {
    JOBS.update(
        &["released = NULL", "was_held = max(was_held, ?3)"],
        "WHERE entity_id = ?1 AND generation = ?2 AND released IS NOT NULL",
    )
});
static RELEASE: LazyLock<String> = LazyLock::new(|| {
    JOBS.update(
        &["released = ?2"],
        "WHERE id = ?1 AND doubt_outcome IS NULL AND final_outcome IS NULL",
    )
});
static SETTLE: LazyLock<String> =
    LazyLock::new(|| JOBS.update(&["final_outcome = ?2"], "WHERE id = ?1"));
static DOUBT: LazyLock<String> = LazyLock::new(|| {
    let values = [
        "doubt_outcome = ?2",
        "doubt_reason = ?3",
        "released = NULL",
        "was_held = max(was_held, ?4)",
    ];
    JOBS.update(&values, "WHERE id = ?1")
});
static CALL_PERSON: LazyLock<String> = LazyLock::new(|| {
    JOBS.update(
        &["person_needed = 1"],
        "WHERE id = ?1 AND person_needed = 0",
    )
});
static INSERT_ASK: LazyLock<String> = LazyLock::new(|| {
    let values = [
        "job = ?1",
        "began = ?2",
        "ended = ?3",
        "finding = ?4",
        "evidence = ?5",
    ];
    ASKS.insert(&values, "")
});
static INSERT_ATTEMPT: LazyLock<String> = LazyLock::new(|| {
    let values = [
        "job = ?1",
        "number = ?2",
        "began = ?3",
        "ended = ?4",
        "spent = ?5",
        "verdict = ?6",
    ];
    ATTEMPTS.insert(&values, "ON CONFLICT (job, number) DO NOTHING")
});
static INSERT_OUTCOME: LazyLock<String> = LazyLock::new(|| {
    let values = [
        "event_id = ?1",
        "job = ?2",
        "entity_id = ?3",
        "generation = ?4",
        "status = ?5",
        "body = ?6",
        "settled_at = ?7",
        "origin = ?8",
        "envelope = ?9",
    ];
    OUTCOMES.insert(&values, "ON CONFLICT (event_id) DO NOTHING")
});
static MARK_PUBLISHED: LazyLock<String> = LazyLock::new(|| {
    OUTCOMES.update(
        &["published_at = ?2"],
        "WHERE event_id = ?1 AND published_at IS NULL",
    )
});
static NOTE_CONTROL: LazyLock<String> = LazyLock::new(|| {
    let values = ["control_entity_id = ?1", "control_seen_at = ?2"];
    META.update(&values, "WHERE one = 1")
});
static SET_SEQUENCE: LazyLock<String> =
    LazyLock::new(|| META.update(&["sequence = ?1"], "WHERE one = 1"));

/// The job that an outcome is about, as it stands.
struct JobRow {
    id: i64,
    /// Whether it was held until now: one that ends at its turn without having begun.
    was_held: bool,
    doubt: Option<i64>,
    last: Option<i64>,
}

/// See `Ledger::begin`.
pub(super) fn begin(db: &Connection, intent: &Intent) -> Result<Begun, Trouble> {
    let sight = read::sight(db, &intent.job.entity_id)?;
    if sight == Sight::Unknown && rules::may_begin(&sight, intent) {
        insert_job(db, intent, false)?;
        return Ok(Begun::Yes);
    }
    let cancelled = requests::is_cancelled(db, &intent.job.entity_id, intent.generation)?;
    if cancelled || !rules::may_begin(&sight, intent) {
        return Ok(Begun::AlreadyThere(sight));
    }
    let was_held = holds::end(db, &intent.job.entity_id, intent.generation)?;
    let again = db.prepare_cached(&BEGIN_AGAIN)?.execute(params![
        intent.job.entity_id.as_str(),
        intent.generation.get(),
        was_held
    ])?;
    if again == 0 {
        insert_job(db, intent, was_held)?;
    }
    Ok(Begun::Yes)
}

/// See `Ledger::release`.
pub(super) fn release(db: &Connection, job: &JobRef, reason: &str) -> Result<(), Trouble> {
    let id = read::job_id(db, job)?;
    db.prepare_cached(&RELEASE)?.execute(params![id, reason])?;
    Ok(())
}

/// See `Ledger::settle`.
pub(super) fn settle(db: &Connection, settlement: &Settlement) -> Result<(), Trouble> {
    rules::check_settlement(settlement)?;
    let intent = &settlement.intent;
    let job = find_or_insert_job(db, intent)?;
    if job.last.is_some() {
        return Ok(());
    }
    if let Some((request, answer)) = &settlement.answers {
        requests::answer(db, *request, answer)?;
    }
    add_attempts(db, job.id, &settlement.attempts)?;
    let last = insert_outcome(db, &settlement.outcome, Some(job.id))?;
    db.prepare_cached(&SETTLE)?.execute([job.id, last])?;
    losses::forget_arrival(db, &intent.job.entity_id)?;
    Ok(())
}

/// See `Ledger::doubt`. About a job that is settled, its final outcome is what is kept.
pub(super) fn doubt(
    db: &Connection,
    settlement: &Settlement,
    reason: DoubtReason,
) -> Result<StoredOutcome, Trouble> {
    rules::check_doubt(settlement)?;
    let intent = &settlement.intent;
    let job = find_or_insert_job(db, intent)?;
    if let Some(last) = job.last {
        return read::outcome(db, last);
    }
    add_attempts(db, job.id, &settlement.attempts)?;
    if let Some(interim) = job.doubt {
        return read::outcome(db, interim);
    }
    let interim = insert_outcome(db, &settlement.outcome, Some(job.id))?;
    db.prepare_cached(&DOUBT)?
        .execute(params![job.id, interim, reason.as_str(), job.was_held])?;
    read::outcome(db, interim)
}

/// See `Ledger::call_person`.
pub(super) fn call_person(db: &Connection, job: &JobRef) -> Result<(), Trouble> {
    let id = read::job_id(db, job)?;
    db.prepare_cached(&CALL_PERSON)?.execute([id])?;
    Ok(())
}

/// See `Ledger::note_ask`. Before a later generation the bank is asked about the one before it; where
/// that was pruned there is nothing left to keep an ask with.
pub(super) fn note_ask(db: &Connection, job: &JobRef, ask: &AskNote) -> Result<(), Trouble> {
    if tombstones::is_pruned(db, job)? {
        return Ok(());
    }
    let id = read::job_id(db, job)?;
    db.prepare_cached(&INSERT_ASK)?.execute(params![
        id,
        ask.began.as_millis(),
        ask.ended.as_millis(),
        ask.finding,
        ask.evidence,
    ])?;
    Ok(())
}

/// See `Ledger::note_panic`.
pub(super) fn note_panic(db: &Connection, entity_id: &EntityId) -> Result<u32, Trouble> {
    let count = db
        .prepare_cached(
            "INSERT INTO panics (entity_id, count) VALUES (?1, 1) \
             ON CONFLICT (entity_id) DO UPDATE SET count = min(count + 1, 4294967295) \
             RETURNING count",
        )?
        .query_row([entity_id.as_str()], |row| row.get(0))?;
    Ok(count)
}

/// See `Ledger::note_fact`.
pub(super) fn note_fact(db: &Connection, fact: &StoredOutcome) -> Result<StoredOutcome, Trouble> {
    rules::check_fact(fact)?;
    if let Some(kept) = read::outcome_of_event(db, fact.event_id)? {
        rules::check_fact(&kept).map_err(|_| rules::OTHER_OUTCOME)?;
        return Ok(kept);
    }
    let id = insert_outcome(db, fact, None)?;
    read::outcome(db, id)
}

/// See `Ledger::mark_published`. The first time is kept; an id that is not on record is passed
/// over, because the mark is only a hint.
pub(super) fn mark_published(
    db: &Connection,
    event_ids: &[EventId],
    at: Timestamp,
) -> Result<(), Trouble> {
    let mut statement = db.prepare_cached(&MARK_PUBLISHED)?;
    for event_id in event_ids {
        statement.execute(params![event_id.as_bytes(), at.as_millis()])?;
    }
    Ok(())
}

/// See `Ledger::note_control`.
pub(super) fn note_control(db: &Connection, control: &Control) -> Result<(), Trouble> {
    db.prepare_cached(&NOTE_CONTROL)?.execute(params![
        control.entity_id.as_str(),
        control.seen_at.as_millis()
    ])?;
    Ok(())
}

/// Numbers this commit.
pub(super) fn set_sequence(db: &Connection, sequence: i64) -> Result<(), Trouble> {
    db.prepare_cached(&SET_SEQUENCE)?.execute([sequence])?;
    Ok(())
}

/// The row of a job. Its hold, if it has one, ends: a job whose intent stands has none.
fn find_or_insert_job(db: &Connection, intent: &Intent) -> Result<JobRow, Trouble> {
    let end_hold = || holds::end(db, &intent.job.entity_id, intent.generation);
    let mut statement = db.prepare_cached(
        "SELECT id, fingerprint, doubt_outcome, final_outcome, released IS NULL FROM jobs \
         WHERE entity_id = ?1 AND generation = ?2",
    )?;
    let entity_id = intent.job.entity_id.as_str();
    let mut rows = statement.query(params![entity_id, intent.generation.get()])?;
    if let Some(row) = rows.next()? {
        rules::check_same_job(Digest::from_bytes(row.get(1)?), intent)?;
        return Ok(JobRow {
            id: row.get(0)?,
            doubt: row.get(2)?,
            last: row.get(3)?,
            was_held: if row.get(4)? { false } else { end_hold()? },
        });
    }
    let was_held = end_hold()?;
    rules::check_new_row(current(db, &intent.job.entity_id)?, intent.generation)?;
    Ok(JobRow {
        id: insert_job(db, intent, false)?,
        doubt: None,
        last: None,
        was_held,
    })
}

/// The newest generation of an id, and whether another may follow it.
fn current(db: &Connection, entity_id: &EntityId) -> Result<Option<(Generation, bool)>, Trouble> {
    Ok(match read::sight(db, entity_id)? {
        Sight::Unknown | Sight::Cancelled => None,
        Sight::Known {
            generation,
            standing: Standing::Finished(outcome),
            ..
        } => Some((generation, outcome.status.may_be_followed())),
        Sight::Known {
            generation,
            standing: Standing::InDoubt(_) | Standing::Released { .. } | Standing::Held { .. },
            ..
        } => Some((generation, false)),
    })
}

fn insert_job(db: &Connection, intent: &Intent, was_held: bool) -> Result<i64, Trouble> {
    let job = &intent.job;
    db.prepare_cached(&INSERT_JOB)?.execute(params![
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
        was_held,
    ])?;
    Ok(db.last_insert_rowid())
}

pub(super) fn insert_outcome(
    db: &Connection,
    outcome: &StoredOutcome,
    job: Option<i64>,
) -> Result<i64, Trouble> {
    let added = db.prepare_cached(&INSERT_OUTCOME)?.execute(params![
        outcome.event_id.as_bytes(),
        job,
        outcome.entity_id.as_ref().map(EntityId::as_str),
        outcome.generation.map(Generation::get),
        outcome.status.as_str(),
        outcome.body,
        outcome.settled_at.as_millis(),
        outcome.origin.as_str(),
        outcome.envelope.encode(),
    ])?;
    if added == 0 {
        return Err(rules::OTHER_OUTCOME.into());
    }
    Ok(db.last_insert_rowid())
}

fn add_attempts(db: &Connection, job: i64, attempts: &[AttemptNote]) -> Result<(), Trouble> {
    let mut insert = db.prepare_cached(&INSERT_ATTEMPT)?;
    let mut same = db.prepare_cached(
        "SELECT 1 FROM attempts WHERE job = ?1 AND number = ?2 \
         AND began = ?3 AND ended = ?4 AND spent = ?5 AND verdict = ?6",
    )?;
    for attempt in attempts {
        let verdict = verdict::encode(&attempt.verdict);
        let row = params![
            job,
            attempt.number,
            attempt.began.as_millis(),
            attempt.ended.as_millis(),
            attempt.spent,
            verdict,
        ];
        if insert.execute(row)? == 0 && !same.exists(row)? {
            return Err(rules::OTHER_ATTEMPT.into());
        }
    }
    Ok(())
}
