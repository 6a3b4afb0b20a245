//! What happens on a job's way, one event for each decision.
//!
//! *What it promises.* What is final and what the bank's list said is `info`; steps on the way are
//! `debug`. An event that is not logged costs a comparison, and one that counts less than a
//! microsecond.
//!
//! *What it refuses to know.* What follows from an event.

use std::time::Duration;

use tracing::{debug, info};

use super::metrics::{self, Metrics};
use crate::domain::job::{CardId, EntityId, Job};
use crate::domain::listing::Finding;
use crate::domain::outcome::Status;
use crate::domain::verdict::Verdict;

/// It was decided what to do with a delivery.
#[derive(Debug)]
pub struct JobAdmitted<'a> {
    /// The job.
    pub job: &'a Job,
    /// What it came by.
    pub source: &'static str,
    /// What is done with it: `run`, `run_again`, `cancelled`, `replay`, `conflict` or `join`.
    pub decision: &'static str,
}

impl JobAdmitted<'_> {
    /// Logs it, and counts a conflict: that is its outcome.
    pub fn emit(&self) {
        metrics::count(|metrics| self.count(metrics));
        if self.decision == CONFLICT {
            info!(
                entity_id = self.job.entity_id.as_str(),
                card_id = %self.job.card_id,
                decision = self.decision,
                "a job is not sent: its entity_id belongs to another job"
            );
        } else {
            debug!(
                entity_id = self.job.entity_id.as_str(),
                card_id = %self.job.card_id,
                decision = self.decision,
                "a job was admitted"
            );
        }
    }

    pub(super) fn count(&self, metrics: &Metrics) {
        if self.decision == CONFLICT {
            metrics.outcome(self.source, self.job, Status::Conflict);
        }
    }
}

/// The decision that is an outcome too.
const CONFLICT: &str = Status::Conflict.as_str();

/// A job may be sent from now on.
#[derive(Debug)]
pub struct IntentDurable<'a> {
    /// The job.
    pub entity_id: &'a EntityId,
    /// The card.
    pub card_id: &'a CardId,
}

impl IntentDurable<'_> {
    /// Logs it.
    pub fn emit(&self) {
        debug!(
            entity_id = self.entity_id.as_str(),
            card_id = %self.card_id,
            "a job's intent is durable; it may be sent from now on"
        );
    }
}

/// A call of the bank is over.
#[derive(Debug)]
pub struct AttemptEnded<'a> {
    /// The job.
    pub entity_id: &'a EntityId,
    /// Which attempt, from 1.
    pub number: u32,
    /// What it told us.
    pub verdict: &'a Verdict,
    /// What the one before it told us; none where this is the first since the job was last proven not
    /// executed.
    pub before: Option<&'a Verdict>,
    /// How long it took.
    pub took: Duration,
}

impl AttemptEnded<'_> {
    /// Logs and counts it.
    pub fn emit(&self) {
        metrics::count(|metrics| self.count(metrics));
        debug!(
            entity_id = self.entity_id.as_str(),
            attempt = self.number,
            verdict = self.verdict.as_str(),
            cause = self.verdict.cause(),
            status_class = status_class(self.verdict.http_status()),
            took_ms = millis(self.took),
            "an attempt ended"
        );
    }

    pub(super) fn count(&self, metrics: &Metrics) {
        metrics.call(status_class(self.verdict.http_status()), self.took);
        if self.number > 1 {
            metrics.retry(self.before.and_then(Verdict::cause));
        }
    }
}

/// An outcome is durable and final.
#[derive(Debug)]
pub struct OutcomeSettled<'a> {
    /// The job.
    pub job: &'a Job,
    /// What it came by.
    pub source: &'static str,
    /// What is true of it.
    pub status: Status,
    /// Why, where the status does not say it all.
    pub reason: Option<&'static str>,
    /// How many attempts were made.
    pub attempts: u32,
}

impl OutcomeSettled<'_> {
    /// Logs and counts it.
    pub fn emit(&self) {
        metrics::count(|metrics| self.count(metrics));
        info!(
            entity_id = self.job.entity_id.as_str(),
            card_id = %self.job.card_id,
            status = self.status.as_str(),
            reason = self.reason,
            attempts = self.attempts,
            "an outcome is final"
        );
    }

    pub(super) fn count(&self, metrics: &Metrics) {
        metrics.outcome(self.source, self.job, self.status);
    }
}

/// An outcome that had been published before was published again.
#[derive(Debug)]
pub struct OutcomePublishedAgain<'a> {
    /// The job; none where it could not be read.
    pub entity_id: Option<&'a EntityId>,
    /// What is true of it.
    pub status: Status,
}

impl OutcomePublishedAgain<'_> {
    /// Logs it. [`OutcomePublished`](super::OutcomePublished) counts it, where it has readers.
    pub fn emit(&self) {
        debug!(
            entity_id = self.entity_id.map(EntityId::as_str),
            status = self.status.as_str(),
            "a stored outcome was published again"
        );
    }
}

/// The bank's list was read about a job in doubt.
#[derive(Debug)]
pub struct AskEnded<'a> {
    /// The job.
    pub entity_id: &'a EntityId,
    /// What the list said.
    pub finding: &'a Finding,
    /// How we know.
    pub evidence: &'a str,
    /// How long it took.
    pub took: Duration,
}

impl AskEnded<'_> {
    /// Logs it.
    pub fn emit(&self) {
        info!(
            entity_id = self.entity_id.as_str(),
            finding = self.finding.as_str(),
            evidence = self.evidence,
            took_ms = millis(self.took),
            "the bank's list was asked about a job in doubt"
        );
    }
}

/// A job that is proven not to have been executed begins again with the same key.
#[derive(Debug)]
pub struct CleanStart<'a> {
    /// The job.
    pub entity_id: &'a EntityId,
}

impl CleanStart<'_> {
    /// Logs it.
    pub fn emit(&self) {
        info!(
            entity_id = self.entity_id.as_str(),
            "a job in doubt is proven not executed; it is sent again with the same key"
        );
    }
}

/// `2xx`, `4xx`: few enough to count by.
const fn status_class(http_status: Option<u16>) -> &'static str {
    match http_status {
        Some(100..=199) => "1xx",
        Some(200..=299) => "2xx",
        Some(300..=399) => "3xx",
        Some(400..=499) => "4xx",
        Some(500..=599) => "5xx",
        Some(_) => "other",
        None => "none",
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
