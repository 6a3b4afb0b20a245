//! The rules of a job's way: one total function, [`advance`].
//!
//! ```text
//! Ready ─Turn→ Intending ─IntentDurable→ Calling ─Told→ Between ─Turn→ Calling …
//!   │ ▲                       │             │               │
//!   │ │                       └─────────────┴──► Settled ◄──┤
//!   └─┼Recovered→ InDoubt ◄─────────────────┴───────────────┘
//!     │              └─Asked→ Settled, or Between again after proof that nothing was executed
//! Proving ─Proved, absent─┘   (a later generation, and what may have been sent in a time that the
//!                              ledger has forgotten, ask the list before their first call)
//! ```
//!
//! *What it promises.* Live work, recovery, simulation and tests take every step through
//! [`advance`]; a step that cannot be is an [`IllegalStep`], never a guess. What may have been
//! executed leaves doubt only through the bank's answer, the bank's list, or a person.
//!
//! *What it refuses to know.* How a call is made, what is durable, what time it is: events say so.

use std::time::Duration;

use super::key::IdempotencyKey;
use super::listing::Finding;
use super::outcome::{DoubtReason, Evidence, NotSentReason, Outcome, Status};
use super::request::Ruling;
use super::schedule::{self, AskTimes, EARLY_ASKS, EARLY_CLEAN_STARTS, EARLY_FAILURES};
use super::time::{Moment, Timestamp};
use super::verdict::{Deferral, Refusal, Unclarity, UnclearCause, Verdict};

mod asking;
mod past;

use self::asking::{Reading, asked, proved};
pub use self::past::Forgotten;
use self::past::{Past, cancelled_while_proving, forgotten};

/// The settings that the rules depend on.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// An unclear attempt is resent only within this time of this process's first send; zero means
    /// always ask first.
    pub resend_window: Duration,
    /// How many spent attempts a job has.
    pub max_attempts: u32,
    /// First bound of the backoff.
    pub backoff_base: Duration,
    /// When the list is asked, and when its silence counts.
    pub asks: AskTimes,
}

/// How far one generation of a job has come.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Progress {
    key: IdempotencyKey,
    not_after: Option<Timestamp>,
    stage: Stage,
    attempts: u32,
    spent: u32,
    deferred_in_a_row: u32,
    unclear: bool,
    refusal: Option<Refusal>,
    closing: Option<NotSentReason>,
    same_bytes: bool,
    past: Past,
    window_from: Option<Moment>,
    /// Since when no request of it has been on its way.
    quiet_from: Option<Moment>,
    clean_starts: u32,
    not_before: Option<Moment>,
}

/// Where a job stands.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Stage {
    /// A later generation, before anything else: the list is asked whether an earlier one was
    /// executed after all. So is a job that may have been sent in a time that the ledger has forgotten.
    Proving,
    /// Waits for its turn; nothing durable says that it may have been sent.
    Ready,
    /// Its intent is being made durable.
    Intending,
    /// A call of the bank is under way.
    Calling,
    /// Between two attempts.
    Between,
    /// Perhaps executed; the bank's list is asked.
    InDoubt(Doubt),
    /// Over, with this status.
    Settled(Status),
}

/// What asking has come to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Doubt {
    base: Moment,
    /// When the table has the next ask.
    next_ask: Moment,
    asks: u32,
    failures: u32,
    first_absence: Option<Moment>,
    clean_starts: u32,
    person_needed: bool,
}

/// What the ledger knows of a job whose intent has no outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Attempts on record.
    pub attempts: u32,
    /// Of these, those that spent the job's attempts.
    pub spent: u32,
    /// The last refusal on record.
    pub refusal: Option<Refusal>,
    /// Whether asking by itself had come to its end.
    pub person_needed: bool,
    /// Whether the body to send is still, byte for byte, the one that was sent.
    pub same_bytes: bool,
    /// A decision or fact on record that ends the job once it is proven not executed.
    pub closing: Option<NotSentReason>,
    /// What brought the job into doubt.
    pub reason: DoubtReason,
}

/// Something that happened to a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Its lane is free, the flow is open, and a call may be made now.
    Turn(Moment),
    /// The deadline of [`Action::AwaitTurn`] passed before its turn came.
    Overdue(Moment),
    /// The intent is durable.
    IntentDurable(Moment),
    /// The call ended.
    Told {
        /// What it told us.
        verdict: Verdict,
        /// When it ended.
        at: Moment,
        /// Whether the bank answered some job since this job's previous attempt.
        bank_answers: bool,
    },
    /// A person cancelled the job.
    Cancelled(Moment),
    /// The delivery of a job with an unclear attempt cannot be kept open any longer.
    DeliveryTooOld(Moment),
    /// A start found an intent without an outcome.
    Recovered {
        /// What the ledger knows.
        record: Record,
        /// When it was found.
        at: Moment,
    },
    /// Nothing is known of it, by a ledger that has forgotten a time in which it may have been sent.
    Forgotten(Forgotten),
    /// The bank's list was asked.
    Asked {
        /// What it said.
        finding: Finding,
        /// Whether the positive control is on record.
        control: bool,
        /// Whether a person wanted it now: then an answer that proves nothing changes nothing, so
        /// that no number of such asks brings the end of the table nearer.
        unscheduled: bool,
        /// When the reading began.
        began: Moment,
        /// When it ended.
        ended: Moment,
    },
    /// A person decided what became of a job in doubt.
    Ruled(Ruling),
    /// The bank's list was asked before the first call of a generation.
    Proved {
        /// What it said.
        finding: Finding,
        /// Whether the positive control is on record.
        control: bool,
        /// When the reading ended.
        at: Moment,
    },
}

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Wait until `not_before`, then for the flow to be open and a free call, then tell
    /// [`Event::Turn`]; at `deadline`, if that comes first, tell [`Event::Overdue`].
    AwaitTurn {
        /// Not earlier than this.
        not_before: Option<Moment>,
        /// Not later than this.
        deadline: Option<Moment>,
    },
    /// Make the intent durable, then tell [`Event::IntentDurable`].
    RecordIntent,
    /// Call the bank, then tell [`Event::Told`].
    Call,
    /// Record and publish the interim outcome, then ask at this time.
    EnterDoubt {
        /// Why.
        reason: DoubtReason,
        /// When to ask.
        ask_at: Moment,
    },
    /// Ask the bank's list at this time, then tell [`Event::Asked`].
    Ask {
        /// When to ask.
        at: Moment,
    },
    /// Record that a person must decide, then ask at this time.
    CallPerson {
        /// When to ask.
        ask_at: Moment,
    },
    /// Ask the bank's list, then tell [`Event::Proved`].
    Prove,
    /// Record and publish this final outcome. Nothing follows.
    Settle(Outcome),
    /// Leave the job as its earlier generation left it. Nothing follows.
    GiveBack,
    /// Go on with what is under way.
    Keep,
}

/// A step that the rules do not have: a broken invariant of the caller.
#[derive(Debug, thiserror::Error)]
#[error("the rules have no step from {stage:?} for {event:?}")]
pub struct IllegalStep {
    stage: Box<Stage>,
    event: Box<Event>,
}

impl Progress {
    /// A job at its beginning.
    #[must_use]
    pub const fn new(key: IdempotencyKey, not_after: Option<Timestamp>) -> Self {
        Self {
            key,
            not_after,
            stage: Stage::Ready,
            attempts: 0,
            spent: 0,
            deferred_in_a_row: 0,
            unclear: false,
            refusal: None,
            closing: None,
            same_bytes: true,
            past: Past::Clear,
            window_from: None,
            quiet_from: None,
            not_before: None,
            clean_starts: 0,
        }
    }

    /// A job at its beginning that ends as `not_sent` at its turn, for this reason.
    #[must_use]
    pub const fn closing(mut self, reason: NotSentReason) -> Self {
        self.closing = Some(reason);
        self
    }

    /// A later generation at its beginning: the list is asked first. Where the earlier one ended by
    /// a person's word alone, only a list that has proven itself may say that nothing moved.
    #[must_use]
    pub fn again(mut self, earlier_was_ruled: bool) -> Self {
        self.stage = Stage::Proving;
        self.past = Past::Earlier {
            needs_control: earlier_was_ruled,
        };
        self
    }

    /// A job of which nothing is known, at its beginning, where the ledger has forgotten a time that is so
    /// long ago that all that was sent then must be listed: the list is asked first.
    #[must_use]
    pub fn forgotten(mut self) -> Self {
        self.stage = Stage::Proving;
        self.past = Past::Forgotten {
            after_delivery: false,
        };
        self
    }

    /// Where it stands.
    #[must_use]
    pub const fn stage(&self) -> &Stage {
        &self.stage
    }

    /// Attempts made, which is the number of the last one.
    #[must_use]
    pub const fn attempts(&self) -> u32 {
        self.attempts
    }

    /// Attempts that were spent.
    #[must_use]
    pub const fn spent(&self) -> u32 {
        self.spent
    }

    /// Whether money may have moved without our knowing.
    #[must_use]
    pub const fn may_have_been_executed(&self) -> bool {
        self.unclear
    }

    /// The first thing to do with a job at its beginning.
    #[must_use]
    pub fn first_action(&self, at: Moment) -> Action {
        if self.stage == Stage::Proving {
            return Action::Prove;
        }
        Action::AwaitTurn {
            not_before: None,
            deadline: self.expiry(at),
        }
    }

    /// When the job expires, as a moment; `at` is now.
    fn expiry(&self, at: Moment) -> Option<Moment> {
        let not_after = self.not_after?;
        let left = not_after.since(at.wall.max(at.bank));
        Some(at.plus(left + Duration::from_millis(1)))
    }

    fn is_expired(&self, at: Moment) -> bool {
        self.not_after.is_some_and(|deadline| at.is_after(deadline))
    }

    /// Why nothing may be sent any more, if so.
    fn closed(&self, rules: &Rules, at: Moment) -> Option<NotSentReason> {
        if self.is_expired(at) {
            return Some(NotSentReason::Expired);
        }
        let spent = self.spent >= rules.max_attempts;
        self.closing
            .or(spent.then_some(NotSentReason::AttemptsSpent))
    }

    fn window_end(&self, rules: &Rules) -> Option<Moment> {
        self.window_from.map(|from| from.plus(rules.resend_window))
    }

    fn window_is_closed(&self, rules: &Rules, at: Moment) -> bool {
        self.window_from
            .is_some_and(|from| at.since(from) >= rules.resend_window)
    }
}

impl Doubt {
    /// Whether what a run waits for is over without an answer: the first asks, as many failed ones
    /// in a row as show that it is no hiccup, or as many clean starts.
    #[must_use]
    pub const fn needs_longer(&self) -> bool {
        let asked_enough = self.asks >= EARLY_ASKS && self.first_absence.is_none();
        let never_answered = self.clean_starts >= EARLY_CLEAN_STARTS && self.asks >= 1;
        self.person_needed || asked_enough || never_answered || self.failures >= EARLY_FAILURES
    }

    /// Whether only a person or a find settles it.
    #[must_use]
    pub const fn person_needed(&self) -> bool {
        self.person_needed
    }
}

/// The next state of a job and what to do, after an event.
///
/// # Errors
/// [`IllegalStep`] where the event cannot happen in this state.
pub fn advance(
    rules: &Rules,
    mut progress: Progress,
    event: Event,
) -> Result<(Progress, Action), IllegalStep> {
    let stage = progress.stage.clone();
    let action = match (stage, event) {
        (Stage::Ready, Event::Turn(at)) => turn_before_intent(rules, &mut progress, at),
        (Stage::Between, Event::Turn(at)) => turn_after_intent(rules, &mut progress, at),
        (Stage::Ready | Stage::Between, Event::Overdue(at)) => overdue(rules, &mut progress, at),
        (Stage::Intending, Event::IntentDurable(at)) => intent_durable(rules, &mut progress, at),
        (
            Stage::Calling,
            Event::Told {
                verdict,
                at,
                bank_answers,
            },
        ) => told(rules, &mut progress, verdict, at, bank_answers),
        (Stage::Ready, Event::Recovered { record, at }) => recovered(&mut progress, record, at),
        (Stage::Ready, Event::Forgotten(time)) => forgotten(&mut progress, time),
        (
            Stage::InDoubt(doubt),
            Event::Asked {
                finding,
                control,
                unscheduled,
                began,
                ended,
            },
        ) => {
            let reading = Reading {
                control,
                unscheduled,
                began,
                ended,
            };
            asked(rules, &mut progress, doubt, finding, &reading)
        }
        (Stage::InDoubt(_), Event::Ruled(ruling)) => settle(&mut progress, Outcome::Ruled(ruling)),
        (
            Stage::Proving,
            Event::Proved {
                finding,
                control,
                at,
            },
        ) => proved(&mut progress, finding, control, at),
        (Stage::Proving, Event::Cancelled(_)) => cancelled_while_proving(&mut progress),
        (Stage::Ready | Stage::Between, Event::Cancelled(at)) => {
            progress.closing = Some(NotSentReason::Cancelled);
            close(rules, &mut progress, NotSentReason::Cancelled, at)
        }
        (Stage::Intending | Stage::Calling, Event::Cancelled(_)) => {
            progress.closing = Some(NotSentReason::Cancelled);
            Action::Keep
        }
        (Stage::InDoubt(doubt), Event::Cancelled(_)) => {
            progress.closing = Some(NotSentReason::Cancelled);
            Action::Ask { at: doubt.next_ask }
        }
        (Stage::Between, Event::DeliveryTooOld(at)) if progress.unclear => {
            enter_doubt(&mut progress, DoubtReason::DeliveryTooOld, at)
        }
        (stage, event) => {
            return Err(IllegalStep {
                stage: Box::new(stage),
                event: Box::new(event),
            });
        }
    };
    Ok((progress, action))
}

fn turn_before_intent(rules: &Rules, progress: &mut Progress, at: Moment) -> Action {
    if let Some(reason) = progress.closed(rules, at) {
        return close(rules, progress, reason, at);
    }
    progress.stage = Stage::Intending;
    Action::RecordIntent
}

fn intent_durable(rules: &Rules, progress: &mut Progress, at: Moment) -> Action {
    if let Some(reason) = progress.closed(rules, at) {
        return close(rules, progress, reason, at);
    }
    call(progress, at)
}

fn turn_after_intent(rules: &Rules, progress: &mut Progress, at: Moment) -> Action {
    if let Some(reason) = progress.closed(rules, at) {
        return close(rules, progress, reason, at);
    }
    if progress.unclear && progress.window_is_closed(rules, at) {
        return enter_doubt(progress, DoubtReason::WindowClosed, at);
    }
    call(progress, at)
}

fn overdue(rules: &Rules, progress: &mut Progress, at: Moment) -> Action {
    if let Some(reason) = progress.closed(rules, at) {
        return close(rules, progress, reason, at);
    }
    if progress.unclear && progress.window_is_closed(rules, at) {
        return enter_doubt(progress, DoubtReason::WindowClosed, at);
    }
    // The wall clock was set back since: what was waited for is still to be waited for.
    await_turn(rules, progress, progress.not_before, at)
}

fn call(progress: &mut Progress, at: Moment) -> Action {
    progress.stage = Stage::Calling;
    progress.attempts += 1;
    progress.window_from.get_or_insert(at);
    Action::Call
}

fn told(
    rules: &Rules,
    progress: &mut Progress,
    verdict: Verdict,
    at: Moment,
    bank_answers: bool,
) -> Action {
    // What was sent may be executed within the settle delay of the end of its call, however long that took.
    progress.quiet_from = Some(at);
    match verdict {
        Verdict::Accepted { http_status } => settle(
            progress,
            Outcome::Succeeded(Evidence::Answered { http_status }),
        ),
        Verdict::Refused(refusal) if progress.unclear => {
            progress.refusal = Some(refusal);
            enter_doubt(progress, DoubtReason::RefusedAfterUnclear, at)
        }
        Verdict::Refused(refusal) => settle(progress, Outcome::Rejected(refusal)),
        Verdict::Deferred(deferral) => deferred(rules, progress, &deferral, at),
        Verdict::Unclear(unclarity) => unclear(rules, progress, &unclarity, at, bank_answers),
    }
}

fn deferred(rules: &Rules, progress: &mut Progress, deferral: &Deferral, at: Moment) -> Action {
    if !progress.unclear {
        progress.window_from = None;
    }
    if let Some(reason) = progress.closed(rules, at) {
        return close(rules, progress, reason, at);
    }
    progress.deferred_in_a_row += 1;
    let retry_after = match deferral {
        Deferral::RateLimited { retry_after } => *retry_after,
        Deferral::CredentialRefused { .. }
        | Deferral::NotAuthorized { .. }
        | Deferral::NoConnection => None,
    };
    let made = progress.deferred_in_a_row;
    let wait = schedule::backoff(rules.backoff_base, &progress.key, made, retry_after);
    progress.stage = Stage::Between;
    await_turn(rules, progress, Some(at.plus(wait)), at)
}

fn unclear(
    rules: &Rules,
    progress: &mut Progress,
    unclarity: &Unclarity,
    at: Moment,
    bank_answers: bool,
) -> Action {
    progress.unclear = true;
    progress.deferred_in_a_row = 0;
    progress.spent += u32::from(bank_answers);
    if unclarity.cause == UnclearCause::Conflict {
        return enter_doubt(progress, DoubtReason::Conflict, at);
    }
    if let Some(reason) = progress.closed(rules, at) {
        return close(rules, progress, reason, at);
    }
    let made = progress.attempts;
    let wait = schedule::backoff(
        rules.backoff_base,
        &progress.key,
        made,
        unclarity.retry_after,
    );
    let next = at.plus(wait);
    if progress.window_is_closed(rules, next) {
        return enter_doubt(progress, DoubtReason::WindowClosed, at);
    }
    progress.stage = Stage::Between;
    await_turn(rules, progress, Some(next), at)
}

/// Nothing may be sent any more: `not_sent` where that is proven, else in doubt.
fn close(rules: &Rules, progress: &mut Progress, reason: NotSentReason, at: Moment) -> Action {
    if !progress.unclear {
        return settle(progress, Outcome::NotSent(reason));
    }
    let reason = match progress.closed(rules, at).unwrap_or(reason) {
        NotSentReason::Expired => DoubtReason::Expired,
        NotSentReason::Cancelled => DoubtReason::Cancelled,
        NotSentReason::Poison => DoubtReason::Panicked,
        NotSentReason::AttemptsSpent => DoubtReason::AttemptsSpent,
    };
    enter_doubt(progress, reason, at)
}

fn await_turn(
    rules: &Rules,
    progress: &mut Progress,
    not_before: Option<Moment>,
    at: Moment,
) -> Action {
    let window_end = if progress.unclear {
        progress.window_end(rules)
    } else {
        None
    };
    let deadline = match (progress.expiry(at), window_end) {
        (Some(expiry), Some(end)) => Some(if expiry.mono < end.mono { expiry } else { end }),
        (expiry, end) => expiry.or(end),
    };
    progress.not_before = not_before;
    Action::AwaitTurn {
        not_before,
        deadline,
    }
}

fn settle(progress: &mut Progress, outcome: Outcome) -> Action {
    progress.stage = Stage::Settled(outcome.status());
    Action::Settle(outcome)
}

fn enter_doubt(progress: &mut Progress, reason: DoubtReason, at: Moment) -> Action {
    let base = progress.quiet_from.unwrap_or(at);
    progress.stage = Stage::InDoubt(Doubt {
        base,
        next_ask: at,
        asks: 0,
        failures: 0,
        first_absence: None,
        clean_starts: progress.clean_starts,
        person_needed: false,
    });
    Action::EnterDoubt { reason, ask_at: at }
}

fn recovered(progress: &mut Progress, record: Record, at: Moment) -> Action {
    if record.reason == DoubtReason::LedgerLostAfterDelivery {
        progress.past = Past::Forgotten {
            after_delivery: true,
        };
    }
    progress.attempts = record.attempts;
    progress.spent = record.spent;
    progress.refusal = record.refusal;
    progress.closing = record.closing.or(progress.closing);
    progress.same_bytes = record.same_bytes;
    progress.unclear = true;
    progress.quiet_from = Some(at);
    let action = enter_doubt(progress, record.reason, at);
    if let Stage::InDoubt(doubt) = &mut progress.stage {
        doubt.person_needed = record.person_needed;
    }
    action
}

#[cfg(test)]
#[path = "progress_tests.rs"]
mod tests;
