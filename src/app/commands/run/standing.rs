//! Where each row of a file stands, by the ledger.
//!
//! *What it promises.* Every row of the file is seen once, in order, in memory that does not grow
//! with the file (I11).
//!
//! *What it refuses to know.* What anybody does with it.

use std::collections::BTreeMap;

use crate::app::commands::intake::{CHUNK_ROWS, Taken};
use crate::app::exit::{Exit, Failure};
use crate::domain::job::{Job, Operation};
use crate::domain::money::{Amount, Totals};
use crate::domain::outcome::{DoubtReason, Status};
use crate::engine::ports::{Ledger, Sight, Standing, StoredOutcome};
use crate::files::{OriginalRow, OriginalRows, ReadingRules, RowContent, RowResult};
use crate::telemetry;
use crate::wire::outcome::OutcomeMessage;

/// How a row that ended without moving money is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// It stays so.
    Stays,
    /// It is to be sent again: as one that has not begun, whatever it said.
    GoesAgain,
    /// It was to be sent again: as it stands now, whatever it said.
    WentAgain,
}

/// How a row stands.
pub(super) struct RowStanding {
    /// Its status; none where the ledger knows nothing of it.
    pub(super) status: Option<Status>,
    pub(super) result: RowResult,
    /// What the stored outcome says was asked of the bank; none where there is no outcome.
    told: Option<(Operation, Amount)>,
}

/// Counts and sums of rows by status; none for rows that have not begun.
#[derive(Debug, Default)]
pub(super) struct Accounts(BTreeMap<Option<Status>, Totals>);

impl Accounts {
    /// Counts a row by what its outcome says, so that sums that differ from the file's show (I10).
    /// What is no job has no outcome.
    pub(super) fn add(&mut self, row: &OriginalRow, standing: &RowStanding) {
        let Some(job) = row.job() else {
            return;
        };
        let (operation, amount) = standing.told.unwrap_or((job.operation, job.amount));
        self.0
            .entry(standing.status)
            .or_default()
            .add(operation, amount);
    }

    pub(super) fn of(&self, status: Option<Status>) -> Totals {
        self.0.get(&status).cloned().unwrap_or_default()
    }

    pub(super) fn count(&self, status: Status) -> u64 {
        self.of(Some(status)).count()
    }

    /// How many rows stand how, for the log.
    pub(super) fn as_event(&self) -> telemetry::RunEnded {
        telemetry::RunEnded {
            succeeded: self.count(Status::Succeeded),
            rejected: self.count(Status::Rejected),
            not_sent: self.count(Status::NotSent),
            conflict: self.count(Status::Conflict),
            in_doubt: self.count(Status::InDoubt),
            waiting: self.of(None).count(),
        }
    }

    /// All rows together, to be held against what the file sums to (I10).
    pub(super) fn all(&self) -> Totals {
        let mut all = Totals::default();
        for totals in self.0.values() {
            all.merge(totals);
        }
        all
    }
}

/// Visits every row of the file with how it stands, those that are no jobs included.
pub(super) async fn walk(
    ledger: &dyn Ledger,
    taken: &Taken,
    rules: &ReadingRules,
    ended: Ended,
    mut visit: impl FnMut(&OriginalRow, RowStanding) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let unreadable = |error| Failure::new(Exit::Input, anyhow::Error::new(error));
    let mut rows = OriginalRows::open(&taken.spool, &taken.checked, rules).map_err(unreadable)?;
    loop {
        let chunk = rows.next_chunk(CHUNK_ROWS).map_err(unreadable)?;
        if chunk.is_empty() {
            return Ok(());
        }
        let jobs = chunk.iter().filter_map(OriginalRow::job);
        let sights = ledger
            .look(jobs.map(|job| job.entity_id.clone()).collect())
            .await
            .map_err(|error| Failure::new(Exit::Unusable, anyhow::Error::new(error)))?;
        let mut sights = sights.into_iter();
        for row in &chunk {
            let standing = match &row.content {
                RowContent::Job(job) => {
                    let sight = sights.next().ok_or_else(unanswered)?;
                    standing_of(job, &sight, ended)
                }
                RowContent::Bad(errors) => no_job(RowResult::of_bad_row(errors)),
                RowContent::Totals => no_job(RowResult::default()),
            };
            visit(row, standing)?;
        }
    }
}

fn unanswered() -> Failure {
    Failure::internal(anyhow::anyhow!(
        "the ledger left a look unanswered. This is a fault of tanda"
    ))
}

const fn no_job(result: RowResult) -> RowStanding {
    RowStanding {
        status: None,
        result,
        told: None,
    }
}

fn standing_of(job: &Job, sight: &Sight, ended: Ended) -> RowStanding {
    let has_not_begun = || RowStanding {
        status: None,
        result: not_started(),
        told: None,
    };
    match sight {
        Sight::Known {
            fingerprint,
            standing: Standing::Finished(outcome),
            ..
        } if ended != Ended::Stays && outcome.status.may_be_followed() => {
            if ended == Ended::GoesAgain {
                has_not_begun()
            } else if *fingerprint == job.fingerprint() {
                told_by(outcome)
            } else {
                was_not_run_again(outcome)
            }
        }
        Sight::Known { fingerprint, .. } if *fingerprint != job.fingerprint() => {
            stands(Status::Conflict, other_content())
        }
        Sight::Known {
            standing: Standing::Finished(outcome) | Standing::InDoubt(Some(outcome)),
            ..
        } => told_by(outcome),
        Sight::Unknown
        | Sight::Cancelled
        | Sight::Known {
            standing: Standing::Released { .. } | Standing::Held { .. },
            ..
        } => has_not_begun(),
        Sight::Known {
            standing: Standing::InDoubt(None),
            ..
        } => {
            let reason = DoubtReason::Interrupted.as_str().to_owned();
            let status = Status::InDoubt.as_str().to_owned();
            let result = RowResult {
                status,
                reason,
                ..RowResult::default()
            };
            stands(Status::InDoubt, result)
        }
    }
}

/// A row with other content than the outcome on record, which was to be run again and was not.
fn was_not_run_again(outcome: &StoredOutcome) -> RowStanding {
    let mut standing = told_by(outcome);
    standing.told = None;
    "not_run_again".clone_into(&mut standing.result.reason);
    standing
}

const fn stands(status: Status, result: RowResult) -> RowStanding {
    RowStanding {
        status: Some(status),
        result,
        told: None,
    }
}

fn told_by(outcome: &StoredOutcome) -> RowStanding {
    let Some(message) = OutcomeMessage::decode(&outcome.body) else {
        let status = outcome.status.as_str().to_owned();
        let result = RowResult {
            status,
            ..RowResult::default()
        };
        return stands(outcome.status, result);
    };
    RowStanding {
        told: message.asked_for(),
        ..stands(outcome.status, RowResult::from_outcome(&message))
    }
}

/// A row that has not begun: behind a job in doubt on its card, or the run was stopped.
fn not_started() -> RowResult {
    RowResult {
        status: Status::Waiting.as_str().to_owned(),
        reason: "not_started".to_owned(),
        ..RowResult::default()
    }
}

fn other_content() -> RowResult {
    RowResult {
        status: Status::Conflict.as_str().to_owned(),
        reason: "other_content_under_this_entity_id".to_owned(),
        ..RowResult::default()
    }
}
