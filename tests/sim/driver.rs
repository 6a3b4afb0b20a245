//! The driver as the engine must be, and drivers that break one rule each.
//!
//! The rule-breakers show that the worlds and the oracle bite: a harness that lets one of them pass
//! would let a fault of the engine pass.

use std::time::Duration;

use tanda::domain::job::Job;
use tanda::domain::key::{Generation, IdempotencyKey, Namespace};
use tanda::domain::outcome::{NotSentReason, Outcome};
use tanda::domain::progress::Rules;
use tanda::domain::time::Moment;
use tanda::domain::verdict::{UnclearCause, Verdict};

use crate::bank::refused;

/// Who drives a world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Driver {
    /// Does what the rules say.
    Honest,
    /// Calls the bank while the intent is still being written.
    SendsBeforeTheIntent,
    /// Takes a timeout for a refusal.
    TakesTimeoutForRefusal,
    /// Takes a refusal after an unclear attempt at its word.
    BelievesLateRefusal,
    /// Recovers without the refusal on record.
    ForgetsTheRefusal,
    /// Takes one early absence for two late ones.
    BelievesOneEarlyAbsence,
    /// Believes an absence without the positive control.
    AssumesTheControl,
    /// Sends every attempt under a key of its own.
    NewKeyPerAttempt,
    /// Starts every job anew after a crash.
    ForgetsTheLedger,
    /// Resends for as long as it likes.
    IgnoresTheWindow,
    /// Measures ages by the wall clock.
    TrustsTheWallClock,
    /// Publishes an outcome before it is durable.
    PublishesBeforeTheLedger,
    /// Calls a job with an unclear attempt not sent after one more.
    GivesUpAsNotSent,
}

impl Driver {
    /// Every driver that breaks a rule.
    pub(crate) const RULE_BREAKERS: [Self; 12] = [
        Self::SendsBeforeTheIntent,
        Self::TakesTimeoutForRefusal,
        Self::BelievesLateRefusal,
        Self::ForgetsTheRefusal,
        Self::BelievesOneEarlyAbsence,
        Self::AssumesTheControl,
        Self::NewKeyPerAttempt,
        Self::ForgetsTheLedger,
        Self::IgnoresTheWindow,
        Self::TrustsTheWallClock,
        Self::PublishesBeforeTheLedger,
        Self::GivesUpAsNotSent,
    ];

    /// Those that sooner or later pay twice, or call unmoved what moved.
    pub(crate) const HARMFUL: [Self; 9] = [
        Self::SendsBeforeTheIntent,
        Self::TakesTimeoutForRefusal,
        Self::BelievesLateRefusal,
        Self::BelievesOneEarlyAbsence,
        Self::AssumesTheControl,
        Self::NewKeyPerAttempt,
        Self::ForgetsTheLedger,
        Self::IgnoresTheWindow,
        Self::GivesUpAsNotSent,
    ];

    /// The rules it follows.
    pub(crate) fn rules(self, rules: Rules) -> Rules {
        if self == Self::IgnoresTheWindow {
            let resend_window = Duration::from_secs(30 * 86_400);
            return Rules {
                resend_window,
                ..rules
            };
        }
        rules
    }

    /// The clocks it shows to the rules.
    pub(crate) fn clock(self, at: Moment) -> Moment {
        if self == Self::TrustsTheWallClock {
            let since_epoch = u64::try_from(at.wall.as_millis()).unwrap_or(0);
            let mono = Duration::from_millis(since_epoch);
            return Moment { mono, ..at };
        }
        at
    }

    /// The key that it sends.
    pub(crate) fn key(self, job: &Job, own: IdempotencyKey, attempt: u32) -> IdempotencyKey {
        if self == Self::NewKeyPerAttempt {
            let generation = Generation::new(attempt).unwrap_or(Generation::FIRST);
            return IdempotencyKey::derive(&Namespace::default(), &job.entity_id, generation);
        }
        own
    }

    /// What it makes of a verdict before the rules hear it.
    pub(crate) fn hears(self, verdict: Verdict) -> Verdict {
        match (self, &verdict) {
            (Self::TakesTimeoutForRefusal, Verdict::Unclear(unclarity))
                if unclarity.cause == UnclearCause::Timeout =>
            {
                refused("timeout")
            }
            _ => verdict,
        }
    }

    /// An outcome that it jumps to without asking the rules.
    pub(crate) fn jumps_to(self, verdict: &Verdict, unclear_before: bool) -> Option<Outcome> {
        match (self, verdict) {
            (Self::BelievesLateRefusal, Verdict::Refused(refusal)) if unclear_before => {
                Some(Outcome::Rejected(refusal.clone()))
            }
            (Self::GivesUpAsNotSent, Verdict::Unclear(_)) if unclear_before => {
                Some(Outcome::NotSent(NotSentReason::AttemptsSpent))
            }
            _ => None,
        }
    }
}
