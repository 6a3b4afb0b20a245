//! The process as it must be, and processes that break one rule each.
//!
//! The breakers of rules show that the worlds and the judge bite: a model that lets one of them pass
//! would let a fault of the product pass.

use std::time::Duration;

use tanda::domain::outcome::{NotSentReason, Outcome};
use tanda::domain::progress::Rules;
use tanda::domain::time::Moment;
use tanda::domain::verdict::{UnclearCause, Verdict};

use crate::answers::Heard;

/// Who drives a world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mutant {
    /// Does what the rules say.
    None,
    /// M1: calls the bank while the intent is still being written.
    SendsBeforeTheIntent,
    /// M2: takes a timeout for a refusal.
    TakesTimeoutForRefusal,
    /// M3: takes a refusal after an unclear attempt at its word.
    BelievesLateRefusal,
    /// M4: resends for as long as it likes.
    IgnoresTheWindow,
    /// M5: takes one early absence for two late ones.
    BelievesOneEarlyAbsence,
    /// M6: answers receipts before the outcome is confirmed.
    AnswersBeforeItPublishes,
    /// M7: measures ages by the wall clock.
    TrustsTheWallClock,
    /// M8: runs what a ledger does not know that has forgotten a time.
    TrustsAFreshLedger,
    /// Trusts the open rows of a ledger that was restored from a copy.
    TrustsRestoredRows,
    /// Runs a later generation after a loss before what was sent in the forgotten time must be listed.
    RunsAgainTooEarly,
    /// Or by a list that has not proven itself.
    RunsAgainUnproven,
    /// M9: goes on after a commit that failed.
    IgnoresLedgerErrors,
    /// M10: sends every attempt under a key of its own.
    NewKeyPerAttempt,
    /// M11: takes a confirm at its word, although what it confirms was returned.
    TrustsEachConfirm,
    /// M12: calls a job with an unclear attempt not sent after one more.
    GivesUpAsNotSent,
    /// M13: sends after absence what was delivered in the time that the ledger has forgotten.
    ResendsAfterLoss,
    /// Answers a receipt as soon as it has it.
    AnswersOnArrival,
    /// Recovers without the refusal on record.
    ForgetsTheRefusal,
    /// Believes an absence without the positive control.
    AssumesTheControl,
    /// Starts every job anew after a crash.
    ForgetsTheLedger,
    /// Publishes an outcome before it is durable.
    PublishesBeforeTheLedger,
    /// Takes the pages of a list as they come.
    ReadsPagesAsTheyCome,
    /// Takes the list that the bank does not give for an empty one.
    TakesBarredForAbsent,
    /// Takes a row without a name for the job's own.
    TakesNamelessForOurs,
    /// Answers whatever comes under the name of a job as that job.
    IgnoresTheFingerprint,
    /// Runs another content under the name of a job that is over.
    RunsCopies,
    /// Runs a job that is over when it comes again.
    RunsFinishedJobs,
    /// Makes what it publishes anew, instead of publishing what is on record.
    MakesOutcomesAnew,
    /// Runs a job again without asking the list.
    RunsAgainUnasked,
    /// Takes a person's word before what was sent last must have arrived.
    RulesTooEarly,
    /// Counts that time until the list has come, and not until it was read.
    RulesByALateList,
    /// Takes any 2xx for the bank's.
    TakesAnyTwoHundred,
    /// Takes any 422 for the bank's.
    TakesAnyRefusal,
    /// Spends an attempt on every silence.
    SpendsOnSilence,
    /// Takes a 409 for any other unclear answer.
    ResendsAfterConflict,
    /// Forgets that a person was called.
    ForgetsThePerson,
    /// Calls a job after its end.
    IgnoresTheExpiry,
    /// Publishes once, whatever becomes of it.
    PublishesOnce,
    /// Publishes nothing that an earlier process left.
    ForgetsTheOutbox,
    /// Does not ask a second time.
    AsksOnce,
}

impl Mutant {
    /// Everyone who breaks a rule.
    pub(crate) const ALL: [Self; 40] = [
        Self::SendsBeforeTheIntent,
        Self::TakesTimeoutForRefusal,
        Self::BelievesLateRefusal,
        Self::IgnoresTheWindow,
        Self::BelievesOneEarlyAbsence,
        Self::AnswersBeforeItPublishes,
        Self::TrustsTheWallClock,
        Self::TrustsAFreshLedger,
        Self::TrustsRestoredRows,
        Self::RunsAgainTooEarly,
        Self::RunsAgainUnproven,
        Self::IgnoresLedgerErrors,
        Self::NewKeyPerAttempt,
        Self::TrustsEachConfirm,
        Self::GivesUpAsNotSent,
        Self::ResendsAfterLoss,
        Self::AnswersOnArrival,
        Self::ForgetsTheRefusal,
        Self::AssumesTheControl,
        Self::ForgetsTheLedger,
        Self::PublishesBeforeTheLedger,
        Self::ReadsPagesAsTheyCome,
        Self::TakesBarredForAbsent,
        Self::TakesNamelessForOurs,
        Self::IgnoresTheFingerprint,
        Self::RunsCopies,
        Self::RunsFinishedJobs,
        Self::MakesOutcomesAnew,
        Self::RunsAgainUnasked,
        Self::RulesTooEarly,
        Self::RulesByALateList,
        Self::TakesAnyTwoHundred,
        Self::TakesAnyRefusal,
        Self::SpendsOnSilence,
        Self::ResendsAfterConflict,
        Self::ForgetsThePerson,
        Self::IgnoresTheExpiry,
        Self::PublishesOnce,
        Self::ForgetsTheOutbox,
        Self::AsksOnce,
    ];

    /// Those that sooner or later pay twice, or call unmoved what moved.
    pub(crate) const HARMFUL: [Self; 16] = [
        Self::SendsBeforeTheIntent,
        Self::TakesTimeoutForRefusal,
        Self::BelievesLateRefusal,
        Self::IgnoresTheWindow,
        Self::BelievesOneEarlyAbsence,
        Self::TrustsAFreshLedger,
        Self::TrustsRestoredRows,
        Self::RunsAgainUnproven,
        Self::IgnoresLedgerErrors,
        Self::NewKeyPerAttempt,
        Self::GivesUpAsNotSent,
        Self::ResendsAfterLoss,
        Self::AssumesTheControl,
        Self::ForgetsTheLedger,
        Self::ReadsPagesAsTheyCome,
        Self::RunsAgainUnasked,
    ];

    /// Those of `reliability.md`, section 2.2, by its numbers.
    const NUMBERED: [(Self, &'static str); 13] = [
        (Self::SendsBeforeTheIntent, "M1"),
        (Self::TakesTimeoutForRefusal, "M2"),
        (Self::BelievesLateRefusal, "M3"),
        (Self::IgnoresTheWindow, "M4"),
        (Self::BelievesOneEarlyAbsence, "M5"),
        (Self::AnswersBeforeItPublishes, "M6"),
        (Self::TrustsTheWallClock, "M7"),
        (Self::TrustsAFreshLedger, "M8"),
        (Self::IgnoresLedgerErrors, "M9"),
        (Self::NewKeyPerAttempt, "M10"),
        (Self::TrustsEachConfirm, "M11"),
        (Self::GivesUpAsNotSent, "M12"),
        (Self::ResendsAfterLoss, "M13"),
    ];

    /// Its number, if it is one of those.
    pub(crate) fn number(self) -> Option<&'static str> {
        let known = Self::NUMBERED
            .into_iter()
            .find(|(mutant, _)| *mutant == self);
        known.map(|(_, number)| number)
    }

    /// The mutant of this name, as `Debug` shows it.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|mutant| format!("{mutant:?}") == name || mutant.number() == Some(name))
    }

    /// The rules it follows.
    pub(crate) fn rules(self, rules: Rules) -> Rules {
        if self == Self::IgnoresTheWindow {
            return Rules {
                resend_window: Duration::from_secs(30 * 86_400),
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

    /// What it takes for what came back.
    pub(crate) const fn hears(self, heard: Heard) -> Heard {
        match (self, heard) {
            (Self::TakesTimeoutForRefusal, Heard::Silence)
            | (Self::TakesAnyRefusal, Heard::PortalRefuses) => Heard::Refused,
            (Self::TakesAnyTwoHundred, Heard::Portal) => Heard::Created,
            (Self::ResendsAfterConflict, Heard::Conflict) => Heard::Failed(None),
            (_, heard) => heard,
        }
    }

    /// An outcome that it jumps to without asking the rules.
    pub(crate) fn jumps_to(self, verdict: &Verdict, unclear_before: bool) -> Option<Outcome> {
        match (self, verdict) {
            (Self::BelievesLateRefusal, Verdict::Refused(refusal)) if unclear_before => {
                Some(Outcome::Rejected(refusal.clone()))
            }
            (Self::GivesUpAsNotSent, Verdict::Unclear(unclarity))
                if unclear_before && unclarity.cause != UnclearCause::Conflict =>
            {
                Some(Outcome::NotSent(NotSentReason::AttemptsSpent))
            }
            _ => None,
        }
    }
}
