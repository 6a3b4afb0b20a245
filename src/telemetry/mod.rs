//! Floor 1: what happened, told once: one struct for each thing that happens.
//!
//! *What this is.* Events with an `emit` that logs them and counts them in the [`metrics`], so that
//! the two never differ; `message` can be read alone, the fields are for queries.
//!
//! *What it promises.* A card appears shortened, a token and a bank's body never (I12).
//!
//! *What it refuses to know.* Where logs go, who reads the metrics, and what anybody does about an
//! event.

mod job;
pub mod metrics;
mod process;

use std::path::Path;
use std::time::Duration;

use tracing::{debug, error, info, warn};

use self::metrics::Metrics;
use crate::domain::job::{CardId, EntityId, Job};
use crate::domain::operation::Operation;
use crate::domain::outcome::Status;
use crate::domain::request::Person;
use crate::domain::time::Timestamp;

pub use self::job::{
    AskEnded, AttemptEnded, CleanStart, IntentDurable, JobAdmitted, OutcomePublishedAgain,
    OutcomeSettled,
};
pub use self::process::{ProcessStarted, ProcessStopped, RunEnded};

/// The flow is held.
pub struct FlowPaused<'a> {
    /// Why, as a stable word.
    pub cause: &'static str,
    /// Why, in words.
    pub why: &'a dyn std::fmt::Display,
}

impl std::fmt::Debug for FlowPaused<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FlowPaused")
            .field("cause", &self.cause)
            .finish_non_exhaustive()
    }
}

impl FlowPaused<'_> {
    /// Logs it.
    pub fn emit(&self) {
        warn!(
            cause = self.cause,
            why = %self.why,
            "the flow is paused; no job is lost and no attempt is spent"
        );
    }
}

/// The flow is open again.
#[derive(Debug)]
pub struct FlowResumed {
    /// Why it had been held.
    pub cause: &'static str,
}

impl FlowResumed {
    /// Logs it.
    pub fn emit(&self) {
        info!(cause = self.cause, "the flow is open again");
    }
}

/// Everything that holds the flow now: more than one thing may, and people are told the first.
#[derive(Debug)]
pub struct FlowStands<'a> {
    /// Why it is held, as stable words; none where it is open.
    pub causes: &'a [&'static str],
}

impl FlowStands<'_> {
    /// Shows it in the metrics. The log has [`FlowPaused`] and [`FlowResumed`], which leave out what
    /// comes often and is soon over.
    pub fn emit(&self) {
        metrics::count(|metrics| metrics.paused(self.causes));
    }
}

/// The token's file changed, but what is in it is not taken.
#[derive(Debug)]
pub struct TokenFileNotTaken<'a> {
    /// Which file, and why.
    pub error: &'a (dyn std::error::Error + 'static),
}

impl TokenFileNotTaken<'_> {
    /// Logs it.
    pub fn emit(&self) {
        warn!(
            error = self.error,
            "the token file has changed and is not taken; the last good token stays in use"
        );
    }
}

/// The bank's list has one `entity_id` more than once: an alarm.
#[derive(Debug)]
pub struct PaidMoreThanOnce<'a> {
    /// The job.
    pub entity_id: &'a EntityId,
    /// The card.
    pub card_id: &'a CardId,
    /// How often it is listed.
    pub times: usize,
}

impl PaidMoreThanOnce<'_> {
    /// Logs and counts it.
    pub fn emit(&self) {
        metrics::count(|metrics| metrics.alarm(metrics::PAID_MORE_THAN_ONCE));
        error!(
            alarm = metrics::PAID_MORE_THAN_ONCE,
            entity_id = self.entity_id.as_str(),
            card_id = %self.card_id,
            times = self.times,
            "the bank lists this job more than once; call the bank"
        );
    }
}

/// The bank's list has our `entity_id` with another operation or amount: an alarm.
#[derive(Debug)]
pub struct OtherContentListed<'a> {
    /// The job.
    pub entity_id: &'a EntityId,
    /// The card.
    pub card_id: &'a CardId,
}

impl OtherContentListed<'_> {
    /// Logs and counts it.
    pub fn emit(&self) {
        metrics::count(|metrics| metrics.alarm(metrics::OTHER_CONTENT_LISTED));
        error!(
            alarm = metrics::OTHER_CONTENT_LISTED,
            entity_id = self.entity_id.as_str(),
            card_id = %self.card_id,
            "the bank lists this job with another operation or amount; a person must look"
        );
    }
}

/// A job is in doubt, durably.
#[derive(Debug)]
pub struct JobInDoubt<'a> {
    /// The job.
    pub job: &'a Job,
    /// What it came by.
    pub source: &'static str,
    /// Why.
    pub reason: &'static str,
    /// Whether nobody had been told so before: a job may come into doubt again.
    pub is_news: bool,
}

impl JobInDoubt<'_> {
    /// Logs it, and counts it where it is news: then it is an outcome.
    pub fn emit(&self) {
        metrics::count(|metrics| self.count(metrics));
        info!(
            entity_id = self.job.entity_id.as_str(),
            reason = self.reason,
            "a job is in doubt; the bank's list is asked before anything else"
        );
    }

    fn count(&self, metrics: &Metrics) {
        if self.is_news {
            metrics.outcome(self.source, self.job, Status::InDoubt);
        }
    }
}

/// Only a person can decide about a job in doubt: an alarm.
#[derive(Debug)]
pub struct PersonNeeded<'a> {
    /// The job.
    pub entity_id: &'a EntityId,
    /// The card.
    pub card_id: &'a CardId,
    /// Whether its card is open to later jobs now.
    pub card_opens: bool,
}

impl PersonNeeded<'_> {
    /// Logs and counts it.
    pub fn emit(&self) {
        metrics::count(|metrics| metrics.alarm(metrics::PERSON_NEEDED));
        error!(
            alarm = metrics::PERSON_NEEDED,
            entity_id = self.entity_id.as_str(),
            card_id = %self.card_id,
            card_opens = self.card_opens,
            "a job is in doubt and only a person can decide; nothing is sent for it any more"
        );
    }
}

/// A job is to be run again: the bank's list was asked whether it had been executed after all.
#[derive(Debug)]
pub struct AskedBeforeAgain<'a> {
    /// The job.
    pub entity_id: &'a EntityId,
    /// What the list said.
    pub finding: &'static str,
}

impl AskedBeforeAgain<'_> {
    /// Logs it.
    pub fn emit(&self) {
        info!(
            entity_id = self.entity_id.as_str(),
            finding = self.finding,
            "the bank's list was asked before a job is run again"
        );
    }
}

/// The ledger has taken a job over: it waits behind another of its card.
#[derive(Debug)]
pub struct JobHeld<'a> {
    /// The job.
    pub job: &'a Job,
    /// What it came by.
    pub source: &'static str,
    /// Whether nobody had been told so before: a job may be taken over again.
    pub is_news: bool,
}

impl JobHeld<'_> {
    /// Logs it, and counts it where it is news: then it is an outcome.
    pub fn emit(&self) {
        metrics::count(|metrics| self.count(metrics));
        info!(
            entity_id = self.job.entity_id.as_str(),
            card_id = %self.job.card_id,
            "a job waits in the ledger behind another of its card"
        );
    }

    fn count(&self, metrics: &Metrics) {
        if self.is_news {
            metrics.outcome(self.source, self.job, Status::Waiting);
        }
    }
}

/// A message was no valid job.
#[derive(Debug)]
pub struct MessageRefused<'a> {
    /// The identity of the outcome that says so.
    pub event_id: &'a str,
    /// What it came by.
    pub source: &'static str,
    /// What it wanted done, where that could be read.
    pub operation: Option<Operation>,
    /// Why, in stable words.
    pub reason: &'a str,
    /// Why, for people.
    pub words: &'a str,
}

impl MessageRefused<'_> {
    /// Logs and counts it.
    pub fn emit(&self) {
        metrics::count(|metrics| self.count(metrics));
        warn!(
            event_id = self.event_id,
            reason = self.reason,
            why = self.words,
            "a message is no valid job; it goes to the dead letters"
        );
    }

    fn count(&self, metrics: &Metrics) {
        metrics.invalid(self.source, self.operation);
    }
}

/// In a long pause what was taken went back to its source.
#[derive(Debug)]
pub struct DeliveriesGivenBack;

impl DeliveriesGivenBack {
    /// Logs it.
    pub fn emit(&self) {
        info!("the pause is long: jobs that were not begun go back to the queue until it is over");
    }
}

/// The ledger has forgotten a time, and a person accepted that.
#[derive(Debug)]
pub struct LossWasAccepted<'a> {
    /// Who.
    pub by: &'a Person,
    /// When.
    pub accepted_at: Timestamp,
    /// Whether all that was sent in that time must be listed by now.
    pub is_past: bool,
}

impl LossWasAccepted<'_> {
    /// Logs it.
    pub fn emit(&self) {
        let next = if self.is_past {
            "the bank's list is asked about each job that the ledger does not know before it is sent"
        } else {
            "jobs that the ledger does not know are in doubt until the bank's list has shown, late and \
             twice, that they were not executed"
        };
        warn!(
            by = self.by.as_str(),
            accepted_at = %self.accepted_at,
            "the ledger has forgotten a time, which was accepted: {next}"
        );
    }
}

/// All that was sent in a time that the ledger has forgotten must be listed by now.
#[derive(Debug)]
pub struct ForgottenTimeIsPast;

impl ForgottenTimeIsPast {
    /// Logs it.
    pub fn emit(self) {
        info!("what was sent in the time that the ledger has forgotten must be listed by now");
    }
}

/// The answer to a person's request could not be written.
#[derive(Debug)]
pub struct RequestNotAnswered<'a> {
    /// Why.
    pub error: &'a (dyn std::error::Error + 'static),
}

impl RequestNotAnswered<'_> {
    /// Logs it.
    pub fn emit(&self) {
        warn!(
            error = self.error,
            "a person's request could not be answered; the next process attends to it"
        );
    }
}

/// A person's request was answered.
#[derive(Debug)]
pub struct RequestAnswered<'a> {
    /// What was asked.
    pub wish: &'static str,
    /// About which job, if about one.
    pub entity_id: Option<&'a EntityId>,
    /// Who asked.
    pub by: &'a str,
    /// Whether it was done, or will be.
    pub accepted: bool,
}

impl RequestAnswered<'_> {
    /// Logs it.
    pub fn emit(&self) {
        info!(
            wish = self.wish,
            entity_id = self.entity_id.map(EntityId::as_str),
            by = self.by,
            accepted = self.accepted,
            "a person's request was answered"
        );
    }
}

/// An outcome is confirmed by whoever reads it.
#[derive(Debug)]
pub struct OutcomePublished<'a> {
    /// The job; none where it could not be read.
    pub entity_id: Option<&'a EntityId>,
    /// What is true of it.
    pub status: Status,
    /// Whether it had been published before.
    pub replay: bool,
}

impl OutcomePublished<'_> {
    /// Logs and counts it.
    pub fn emit(&self) {
        metrics::count(|metrics| metrics.published(self.status, self.replay));
        debug!(
            entity_id = self.entity_id.map(EntityId::as_str),
            status = self.status.as_str(),
            replay = self.replay,
            "an outcome is on the results queue"
        );
    }
}

/// A message came from the queue.
#[derive(Debug)]
pub struct MessageReceived {
    /// When it was sent, in seconds since 1970, where it says so.
    pub sent_at_s: Option<u64>,
    /// When it came.
    pub received_at: Timestamp,
}

impl MessageReceived {
    /// Shows in the metrics how old it is; one line for each would say nothing that its admission does
    /// not.
    pub fn emit(&self) {
        metrics::count(|metrics| self.count(metrics));
    }

    fn count(&self, metrics: &Metrics) {
        if let Some(age) = self.age() {
            metrics.lag(age);
        }
    }

    /// Nothing where the clock of whoever sent it is ahead of ours.
    fn age(&self) -> Option<Duration> {
        let sent_at_ms = self.sent_at_s?.checked_mul(1_000)?;
        let sent_at = Timestamp::from_millis(i64::try_from(sent_at_ms).ok()?);
        Some(self.received_at.since(sent_at))
    }
}

/// The queue has no message for us, and we would take one.
#[derive(Debug)]
pub struct QueueIsEmpty;

impl QueueIsEmpty {
    /// Shows in the metrics that nothing waits; it is so most of the time.
    pub fn emit(&self) {
        metrics::count(|metrics| metrics.lag(Duration::ZERO));
    }
}

/// A connection to RabbitMQ is lost.
#[derive(Debug)]
pub struct BrokerLost<'a> {
    /// Which: consuming or publishing.
    pub connection: &'static str,
    /// Why.
    pub why: &'a str,
}

impl BrokerLost<'_> {
    /// Logs it and shows it in the metrics.
    pub fn emit(&self) {
        metrics::count(|metrics| metrics.connection(self.connection, false));
        warn!(
            connection = self.connection,
            why = self.why,
            "the connection to RabbitMQ is lost; it is built again, and no message is lost"
        );
    }
}

/// A connection to RabbitMQ stands.
#[derive(Debug)]
pub struct BrokerFound {
    /// Which: consuming or publishing.
    pub connection: &'static str,
}

impl BrokerFound {
    /// Logs it and shows it in the metrics.
    pub fn emit(&self) {
        metrics::count(|metrics| metrics.connection(self.connection, true));
        info!(
            connection = self.connection,
            "the connection to RabbitMQ stands"
        );
    }
}

/// A connection to RabbitMQ could not be made, or not be used.
#[derive(Debug)]
pub struct BrokerNotFound<'a> {
    /// Which: consuming or publishing.
    pub connection: &'static str,
    /// Why.
    pub error: &'a (dyn std::error::Error + 'static),
}

impl BrokerNotFound<'_> {
    /// Logs it.
    pub fn emit(&self) {
        warn!(
            connection = self.connection,
            error = self.error,
            "RabbitMQ cannot be used yet; it is tried again"
        );
    }
}

/// A job's task panicked: a fault of ours.
#[derive(Debug)]
pub struct JobPanicked<'a> {
    /// The job.
    pub entity_id: &'a EntityId,
    /// How often so far.
    pub panics: u32,
}

impl JobPanicked<'_> {
    /// Logs it.
    pub fn emit(&self) {
        error!(
            entity_id = self.entity_id.as_str(),
            panics = self.panics,
            "a fault of tanda stopped this job's task; the job goes on from the ledger"
        );
    }
}

/// Publishing an outcome panicked: a fault of ours.
#[derive(Clone, Copy, Debug)]
pub struct PublishingPanicked;

impl PublishingPanicked {
    /// Logs it.
    pub fn emit(self) {
        error!(
            "a fault of tanda stopped the publication of an outcome; it stays unpublished, and others go on"
        );
    }
}

/// An outcome was not confirmed by the sink.
#[derive(Debug)]
pub struct OutcomeNotConfirmed<'a> {
    /// Why.
    pub error: &'a (dyn std::error::Error + 'static),
    /// Whether the cause, which many outcomes have in common, is told for all of them.
    pub is_told: bool,
}

impl OutcomeNotConfirmed<'_> {
    /// Logs it.
    pub fn emit(&self) {
        const WORDS: &str = "an outcome was not confirmed; it is published again";
        if self.is_told {
            debug!(error = self.error, "{WORDS}");
        } else {
            warn!(error = self.error, "{WORDS}");
        }
    }
}

/// The bank's token stands in a file that others may read.
#[derive(Debug)]
pub struct TokenReadableByOthers<'a> {
    /// The file.
    pub path: &'a Path,
}

impl TokenReadableByOthers<'_> {
    /// Logs it.
    pub fn emit(&self) {
        warn!(
            path = %self.path.display(),
            "the bank's token stands in a file that other users may read; chmod 600, or use a token file"
        );
    }
}

/// The simulated bank cannot listen again after an outage.
#[derive(Debug)]
pub struct SimulatorCannotOpen<'a> {
    /// Why.
    pub error: &'a (dyn std::error::Error + 'static),
}

impl SimulatorCannotOpen<'_> {
    /// Logs it.
    pub fn emit(&self) {
        warn!(
            error = self.error,
            "the simulated bank cannot listen; it tries on"
        );
    }
}

/// The simulated bank could not take a connection.
#[derive(Debug)]
pub struct SimulatorCannotAccept<'a> {
    /// Why.
    pub error: &'a (dyn std::error::Error + 'static),
}

impl SimulatorCannotAccept<'_> {
    /// Logs it.
    pub fn emit(&self) {
        warn!(
            error = self.error,
            "the simulated bank could not take a connection"
        );
    }
}

/// The listener of metrics and health could not take a connection.
#[derive(Debug)]
pub struct HealthCannotAccept<'a> {
    /// Why.
    pub error: &'a (dyn std::error::Error + 'static),
}

impl HealthCannotAccept<'_> {
    /// Logs it.
    pub fn emit(&self) {
        warn!(
            error = self.error,
            "the listener of metrics and health could not take a connection; it tries on"
        );
    }
}
