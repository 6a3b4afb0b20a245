//! The rules of the port that every ledger checks before it writes.
//!
//! *What it promises.* The same breach is refused by every implementation, before anything is
//! written.
//!
//! *What it refuses to know.* Where rows are kept.

use crate::domain::digest::Digest;
use crate::domain::key::Generation;
use crate::domain::outcome::Status;
use crate::engine::ports::{Intent, NewlyHeld, Settlement, Sight, Standing, StoredOutcome};

/// A caller broke a rule of the port: an invariant of this program does not hold.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("a rule of the ledger was broken: {0}")]
pub(super) struct Breach(&'static str);

/// An attempt with a number on record may be told again only word for word.
pub(super) const OTHER_ATTEMPT: Breach =
    Breach("another attempt with this number is already on record");
/// A job that is named must have been recorded.
pub(super) const UNKNOWN_JOB: Breach = Breach("the job was never recorded");
/// An event id belongs to one outcome.
pub(super) const OTHER_OUTCOME: Breach = Breach("another outcome with this event id is on record");

/// Only what may begin can be held.
pub(super) const NOT_TO_BE_HELD: Breach =
    Breach("a job is held that has begun, is over, or says something else than is known");

/// A settlement holds a final outcome of its own job.
pub(super) fn check_settlement(settlement: &Settlement) -> Result<(), Breach> {
    match settlement.outcome.status {
        Status::Succeeded | Status::Rejected | Status::NotSent => check_own(settlement),
        Status::Invalid | Status::Conflict | Status::InDoubt | Status::Waiting => {
            Err(Breach("a job is settled with a status that is not final"))
        }
    }
}

/// A doubt holds the interim outcome of its own job.
pub(super) fn check_doubt(settlement: &Settlement) -> Result<(), Breach> {
    match settlement.outcome.status {
        Status::InDoubt => check_own(settlement),
        Status::Succeeded
        | Status::Rejected
        | Status::NotSent
        | Status::Invalid
        | Status::Conflict
        | Status::Waiting => Err(Breach("a job in doubt has another status than in_doubt")),
    }
}

fn check_own(settlement: &Settlement) -> Result<(), Breach> {
    let (intent, outcome) = (&settlement.intent, &settlement.outcome);
    if settlement
        .attempts
        .iter()
        .any(|attempt| attempt.number == 0)
    {
        return Err(Breach("attempts are numbered from 1"));
    }
    let own = outcome.entity_id.as_ref() == Some(&intent.job.entity_id)
        && outcome.generation == Some(intent.generation);
    if own {
        Ok(())
    } else {
        Err(Breach(
            "an outcome is about another job than its settlement",
        ))
    }
}

/// A fact is about a message, not about a job.
pub(super) fn check_fact(fact: &StoredOutcome) -> Result<(), Breach> {
    match fact.status {
        Status::Invalid | Status::Conflict => Ok(()),
        Status::Succeeded
        | Status::Rejected
        | Status::NotSent
        | Status::InDoubt
        | Status::Waiting => Err(Breach("a fact about a message has the status of a job")),
    }
}

/// A job under one id and generation says one thing for ever (I6).
pub(super) fn check_same_job(recorded: Digest, intent: &Intent) -> Result<(), Breach> {
    if recorded == intent.job.fingerprint() {
        Ok(())
    } else {
        Err(Breach(
            "the job on record under this id says something else",
        ))
    }
}

/// A row may be made for an unknown id, or as the generation after one that ended without moving
/// money (I1).
pub(super) fn check_new_row(
    current: Option<(Generation, bool)>,
    new: Generation,
) -> Result<(), Breach> {
    match current {
        None => Ok(()),
        Some((generation, true)) if generation.next() == new => Ok(()),
        Some(_) => Err(Breach(
            "a generation does not follow one that ended without moving money",
        )),
    }
}

/// A job that is held waits.
pub(super) fn check_held(held: &NewlyHeld) -> Result<(), Breach> {
    let (intent, outcome) = (&held.intent, &held.outcome);
    let own = outcome.entity_id.as_ref() == Some(&intent.job.entity_id)
        && outcome.generation == Some(intent.generation);
    if own && outcome.status == Status::Waiting {
        Ok(())
    } else {
        Err(Breach("a job is held with an outcome that is not its own"))
    }
}

/// Whether a job may be held: where it may begin, or a person cancelled it before it came.
pub(super) fn may_be_held(sight: &Sight, intent: &Intent) -> bool {
    let is_cancelled = *sight == Sight::Cancelled && intent.generation == Generation::FIRST;
    is_cancelled || may_begin(sight, intent)
}

/// Whether a job may begin: as the first generation where nothing is known, as the next where the
/// current one ended without moving money, and as what waits to begin, which says the same.
pub(super) fn may_begin(sight: &Sight, intent: &Intent) -> bool {
    let new = intent.generation;
    match sight {
        Sight::Unknown => new == Generation::FIRST,
        Sight::Known {
            generation,
            standing: Standing::Finished(outcome),
            ..
        } => outcome.status.may_be_followed() && generation.next() == new,
        Sight::Known {
            generation,
            fingerprint,
            standing: Standing::Released { .. } | Standing::Held { .. },
        } => *generation == new && *fingerprint == intent.job.fingerprint(),
        Sight::Cancelled
        | Sight::Known {
            standing: Standing::InDoubt(_),
            ..
        } => false,
    }
}
