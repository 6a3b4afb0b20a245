//! The pause: the whole flow held, with a cause and an end.
//!
//! ```text
//!          429                    401, 403, not the bank, 10 failures in a row
//! Open ──────────► Resting ─► Open ─────────► Probing ─read answered─► Trial ─answer─► Open
//!                                                ▲                       │
//!                                                └────── no answer ──────┘
//! ```
//!
//! *What it promises.* While the flow is held no job is called, no attempt is spent, and the bank
//! hears at most one read every `probe_every` and one trial call after it. What is decided is in
//! [`Flow`], which is pure; [`Gate`] only waits.
//!
//! *What it refuses to know.* Which job waits, and what a job does with its wait.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use super::clock::Clocks;
use super::ports::{Bank, ListFault};
use crate::domain::job::CardId;
use crate::domain::schedule::RETRY_AFTER_MAX;
use crate::domain::time::Moment;
use crate::domain::verdict::{Deferral, UnclearCause, Verdict};
use crate::telemetry;

/// Deferred or unclear answers in a row, of all jobs together, that hold the flow. A 429 does not
/// count: it holds the flow by itself and says for how long.
const BREAKER_FAILURES: u32 = 10;
/// How long a 429 without a readable `Retry-After` holds the flow.
const REST_UNSAID: Duration = Duration::from_secs(1);

/// Why the flow is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PauseCause {
    /// The bank has not been read yet by this process.
    Starting,
    /// 429.
    RateLimited,
    /// 401.
    CredentialRefused,
    /// 403 with a token that no other card has proven.
    NotAuthorized,
    /// What answers is not the bank.
    NotTheBank,
    /// The bank does not answer: too many failures in a row.
    BankNotAnswering,
}

impl PauseCause {
    /// A stable word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::RateLimited => "rate_limited",
            Self::CredentialRefused => "credential_refused",
            Self::NotAuthorized => "not_authorized",
            Self::NotTheBank => "not_the_bank",
            Self::BankNotAnswering => "bank_not_answering",
        }
    }
}

/// In words for people.
impl fmt::Display for PauseCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Starting => "reading the bank once before the first payment",
            Self::RateLimited => "the bank asks us to slow down (429)",
            Self::CredentialRefused => "the bank refuses the token (401): renew it in its file, or stop and run again with another",
            Self::NotAuthorized => "the bank says that this token may not do this (403)",
            Self::NotTheBank => "what answers is not the bank: check base_url and the network",
            Self::BankNotAnswering => "the bank does not answer; it is tried again by itself",
        })
    }
}

/// A pause, as people see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pause {
    /// Why.
    pub cause: PauseCause,
    /// When it ends by itself, or when the bank is next probed.
    pub until: Moment,
}

/// The decisions of the pause.
#[derive(Debug)]
struct Flow {
    probe_every: Duration,
    failures: u32,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    Resting(Pause),
    Probing(Pause),
    Trial { pause: Pause, taken: bool },
}

/// Whether a call may be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Entry {
    Go { trial: bool },
    Wait { until: Option<Moment> },
}

impl Flow {
    const fn new(probe_every: Duration, state: State) -> Self {
        Self {
            probe_every,
            failures: 0,
            state,
        }
    }

    fn enter(&mut self, at: Moment) -> Entry {
        match self.state {
            State::Open => Entry::Go { trial: false },
            State::Resting(pause) if pause.until.mono <= at.mono => {
                self.state = State::Open;
                Entry::Go { trial: false }
            }
            State::Resting(pause) => Entry::Wait {
                until: Some(pause.until),
            },
            State::Trial {
                pause,
                taken: false,
            } => {
                self.state = State::Trial { pause, taken: true };
                Entry::Go { trial: true }
            }
            State::Probing(_) | State::Trial { taken: true, .. } => Entry::Wait { until: None },
        }
    }

    /// A call ended.
    fn heard(&mut self, verdict: &Verdict, trial: bool, at: Moment) {
        if verdict.is_answer() {
            self.failures = 0;
            if trial {
                self.state = State::Open;
            }
            return;
        }
        let cause = self.cause_of(verdict);
        let held = match (self.state, cause) {
            (State::Open, cause) => cause,
            (State::Trial { pause, .. }, cause) if trial => Some(cause.unwrap_or(pause.cause)),
            // A call that began before the pause says nothing new; a 429 may lengthen the rest.
            (State::Resting(_), Some(PauseCause::RateLimited)) => cause,
            (State::Resting(_) | State::Probing(_) | State::Trial { .. }, _) => None,
        };
        match held {
            Some(PauseCause::RateLimited) => self.rest(verdict, at),
            Some(cause) => self.probe_later(cause, at),
            None => {}
        }
    }

    fn cause_of(&mut self, verdict: &Verdict) -> Option<PauseCause> {
        match verdict {
            Verdict::Accepted { .. } | Verdict::Refused(_) => None,
            Verdict::Deferred(Deferral::RateLimited { .. }) => Some(PauseCause::RateLimited),
            Verdict::Deferred(Deferral::CredentialRefused { .. }) => {
                Some(PauseCause::CredentialRefused)
            }
            Verdict::Deferred(Deferral::NotAuthorized { .. }) => Some(PauseCause::NotAuthorized),
            Verdict::Unclear(unclarity) if unclarity.cause == UnclearCause::NotTheBank => {
                Some(PauseCause::NotTheBank)
            }
            Verdict::Deferred(Deferral::NoConnection) | Verdict::Unclear(_) => {
                self.failures += 1;
                (self.failures >= BREAKER_FAILURES).then_some(PauseCause::BankNotAnswering)
            }
        }
    }

    fn rest(&mut self, verdict: &Verdict, at: Moment) {
        let asked = match verdict {
            Verdict::Deferred(Deferral::RateLimited { retry_after }) => *retry_after,
            Verdict::Deferred(_)
            | Verdict::Accepted { .. }
            | Verdict::Refused(_)
            | Verdict::Unclear(_) => None,
        };
        let mut until = at.plus(asked.unwrap_or(REST_UNSAID).min(RETRY_AFTER_MAX));
        if let State::Resting(pause) = self.state
            && pause.until.mono > until.mono
        {
            until = pause.until;
        }
        self.state = State::Resting(Pause {
            cause: PauseCause::RateLimited,
            until,
        });
    }

    fn probe_later(&mut self, cause: PauseCause, at: Moment) {
        self.failures = 0;
        self.state = State::Probing(Pause {
            cause,
            until: at.plus(self.probe_every),
        });
    }

    /// A trial call was given up before it was made.
    fn trial_unused(&mut self) {
        if let State::Trial { pause, taken: true } = self.state {
            self.state = State::Trial {
                pause,
                taken: false,
            };
        }
    }

    /// When to probe next, if the flow waits for a probe.
    const fn probe_at(&self) -> Option<Moment> {
        match self.state {
            State::Probing(pause) => Some(pause.until),
            State::Open | State::Resting(_) | State::Trial { .. } => None,
        }
    }

    /// A probe ended.
    fn probed(&mut self, result: &Result<(), ListFault>, at: Moment) {
        let State::Probing(pause) = self.state else {
            return;
        };
        match result {
            Ok(()) if pause.cause == PauseCause::Starting => self.state = State::Open,
            // A 403 may be about the one card that is probed with: a trial call of any card tells.
            Ok(()) | Err(ListFault::NotAuthorized) => {
                self.state = State::Trial {
                    pause,
                    taken: false,
                }
            }
            Err(fault) => self.probe_later(cause_of_fault(fault), at),
        }
    }

    const fn pause(&self) -> Option<Pause> {
        match self.state {
            State::Open => None,
            State::Resting(pause) | State::Probing(pause) | State::Trial { pause, .. } => {
                Some(pause)
            }
        }
    }
}

const fn cause_of_fault(fault: &ListFault) -> PauseCause {
    match fault {
        ListFault::CredentialRefused => PauseCause::CredentialRefused,
        ListFault::NotAuthorized => PauseCause::NotAuthorized,
        ListFault::NotTheBank(_) => PauseCause::NotTheBank,
        ListFault::RateLimited { .. }
        | ListFault::Unreachable(_)
        | ListFault::UnknownCard
        | ListFault::Refused(_)
        | ListFault::Shifting
        | ListFault::TooLong(_) => PauseCause::BankNotAnswering,
    }
}

/// The gate that every call of the bank passes.
pub(super) struct Gate {
    flow: Mutex<Flow>,
    clocks: Arc<Clocks>,
    changed: watch::Sender<Option<Pause>>,
    probe_card: Mutex<Option<CardId>>,
}

impl Gate {
    /// Open where the bank has been read before; else it opens after a first read.
    pub(super) fn new(probe_every: Duration, clocks: Arc<Clocks>, bank_was_read: bool) -> Self {
        let at = clocks.now();
        let state = if bank_was_read {
            State::Open
        } else {
            State::Probing(Pause {
                cause: PauseCause::Starting,
                until: at,
            })
        };
        let flow = Flow::new(probe_every, state);
        let (changed, _) = watch::channel(flow.pause());
        Self {
            flow: Mutex::new(flow),
            clocks,
            changed,
            probe_card: Mutex::new(None),
        }
    }

    /// What people may watch.
    pub(super) fn watch(&self) -> watch::Receiver<Option<Pause>> {
        self.changed.subscribe()
    }

    /// Ends when a call may be made for this card.
    pub(super) async fn pass(self: &Arc<Self>, card_id: &CardId) -> Pass {
        let mut changed = self.changed.subscribe();
        self.remember(card_id);
        loop {
            let entry = self.with_flow(|flow| flow.enter(self.clocks.now()));
            match entry {
                Entry::Go { trial } => {
                    return Pass {
                        gate: Arc::clone(self),
                        trial,
                    };
                }
                Entry::Wait { until } => {
                    tokio::select! {
                        changed = changed.changed() => {
                            changed.expect("the gate outlives its own wait");
                        }
                        () = self.clocks.sleep_until_some(until) => {}
                    }
                }
            }
        }
    }

    fn remember(&self, card_id: &CardId) {
        let mut card = lock(&self.probe_card);
        if card.is_none() {
            *card = Some(card_id.clone());
            drop(card);
            self.changed.send_modify(|_| {});
        }
    }

    /// Probes the bank whenever the flow waits for it; never ends.
    pub(super) async fn keep_probing(&self, bank: &dyn Bank) {
        let mut changed = self.changed.subscribe();
        loop {
            let due = self.with_flow(|flow| flow.probe_at());
            let card = lock(&self.probe_card).clone();
            if let (Some(at), Some(card)) = (due, card) {
                self.clocks.sleep_until(at).await;
                let result = bank.probe(&card).await;
                self.with_flow(|flow| flow.probed(&result, self.clocks.now()));
            } else {
                changed
                    .changed()
                    .await
                    .expect("the gate outlives its own wait");
            }
        }
    }

    fn with_flow<T>(&self, act: impl FnOnce(&mut Flow) -> T) -> T {
        let mut flow = lock(&self.flow);
        let before = flow.state;
        let result = act(&mut flow);
        let (after, pause) = (flow.state, flow.pause());
        drop(flow);
        if before != after {
            self.changed.send_modify(|seen| {
                announce(*seen, pause);
                *seen = pause;
            });
        }
        result
    }
}

fn announce(before: Option<Pause>, now: Option<Pause>) {
    match (before.map(|pause| pause.cause), now) {
        (None, Some(pause)) if pause.cause != PauseCause::RateLimited => {
            telemetry::FlowPaused {
                cause: pause.cause.as_str(),
            }
            .emit();
        }
        (Some(cause), None) if cause != PauseCause::RateLimited => {
            telemetry::FlowResumed {
                cause: cause.as_str(),
            }
            .emit();
        }
        _ => {}
    }
}

/// A panic while the lock is held leaves plain values that are still whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The right to make one call.
pub(super) struct Pass {
    gate: Arc<Gate>,
    trial: bool,
}

impl Pass {
    /// The call was made and ended so.
    pub(super) fn heard(mut self, verdict: &Verdict) {
        let (gate, trial) = (Arc::clone(&self.gate), std::mem::take(&mut self.trial));
        gate.with_flow(|flow| flow.heard(verdict, trial, gate.clocks.now()));
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        if self.trial {
            self.gate.with_flow(Flow::trial_unused);
        }
    }
}

#[cfg(test)]
#[path = "pause_tests.rs"]
mod tests;
