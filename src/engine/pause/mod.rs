//! The pause: the whole flow held, with a cause and, where it has one, an end.
//!
//! *What it promises.* While the flow is held no job is called, no attempt is spent, and the bank
//! hears at most one read every `probe_every` and one trial call after it; a mass refusal waits
//! longer from trial to trial, because a trial that is refused is final for its job. Asks go on.
//! What is decided is in [`flow`], which is pure, with the [`breaker`] and the [`streak`] of
//! refusals; [`Gate`] only waits. A call passes the gate last, after its pace: a pause that begins
//! while a job waits for its pace holds that job too.
//!
//! *What it refuses to know.* Which job waits, what a job does with its wait, and who a person is.

mod breaker;
mod flow;
mod streak;

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::futures::Notified;
use tokio::sync::{Notify, watch};

use self::flow::{Due, Entry, Flow};
use super::clock::Clocks;
use super::pace::Pace;
use super::ports::Bank;
use super::settings::{MIB_BYTES, Settings};
use crate::domain::job::CardId;
use crate::domain::time::{Moment, Timestamp};
use crate::domain::verdict::Verdict;
use crate::telemetry;

/// Why the flow is held.
#[derive(Clone, Debug, PartialEq, Eq)]
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
    /// The bank does not answer: too many failures.
    BankNotAnswering,
    /// The bank refuses job after job for one reason.
    MassRefusal {
        /// The bank's `error_code`.
        code: String,
        /// How many in a row.
        refusals: u32,
    },
    /// The disk of the ledger has hardly any room.
    DiskNearlyFull {
        /// What there was when the hold began.
        free_bytes: u64,
        /// What there must be.
        least_bytes: u64,
    },
    /// Whoever reads the outcomes has left so many unread that no more are taken.
    ResultsNotRead,
    /// A person holds it.
    Person {
        /// Who.
        by: String,
        /// Since when.
        since: Timestamp,
    },
}

impl PauseCause {
    /// A stable word.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::RateLimited => "rate_limited",
            Self::CredentialRefused => "credential_refused",
            Self::NotAuthorized => "not_authorized",
            Self::NotTheBank => "not_the_bank",
            Self::BankNotAnswering => "bank_not_answering",
            Self::MassRefusal { .. } => "mass_refusal",
            Self::DiskNearlyFull { .. } => "disk_nearly_full",
            Self::ResultsNotRead => "results_not_read",
            Self::Person { .. } => "person",
        }
    }
}

/// In words for people.
impl fmt::Display for PauseCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Starting => f.write_str("the bank is read once before the first payment"),
            Self::RateLimited => f.write_str("the bank asks us to slow down (429)"),
            Self::CredentialRefused => f.write_str("the bank refuses the token (401)"),
            Self::NotAuthorized => {
                f.write_str("the bank says that this token may not do this (403)")
            }
            Self::NotTheBank => f.write_str("what answers is not the bank"),
            Self::BankNotAnswering => f.write_str("the bank does not answer"),
            Self::MassRefusal { code, refusals } => write!(
                f,
                "the bank refused {refusals} payments in a row for the same reason, {code}"
            ),
            Self::DiskNearlyFull {
                free_bytes,
                least_bytes,
            } => write!(
                f,
                "the disk of the ledger is nearly full: {} MiB are free, {} MiB must be",
                free_bytes / MIB_BYTES,
                least_bytes / MIB_BYTES
            ),
            Self::ResultsNotRead => f.write_str("the outcomes are not read: their queue is full"),
            Self::Person { by, since } => {
                write!(f, "{by} paused it at {}", since.to_the_second())
            }
        }
    }
}

/// A pause, as people see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pause {
    /// Why.
    pub cause: PauseCause,
    /// Since when the flow has been held without a break; one pause may have followed another.
    pub since: Moment,
    /// When it ends by itself (429), or when the bank is probed next; none where one job is being
    /// tried now, and where only somebody can end it.
    pub until: Option<Moment>,
    /// Whether it waits for one job to be tried.
    pub wants_trial: bool,
}

/// A hold that is not the bank's. Each kind stands by itself: it is lifted as it was put.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hold {
    /// A person wants the flow to wait.
    Person {
        /// Who.
        by: String,
        /// Since when.
        since: Timestamp,
    },
    /// The disk of the ledger has hardly any room.
    Disk {
        /// What there is.
        free_bytes: u64,
        /// What there must be.
        least_bytes: u64,
    },
    /// No more outcomes are taken.
    Results,
}

/// The kinds of hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HoldKind {
    /// See [`Hold::Person`].
    Person,
    /// See [`Hold::Disk`].
    Disk,
    /// See [`Hold::Results`].
    Results,
}

/// The gate that every call of the bank passes.
pub(super) struct Gate {
    flow: Mutex<Flow>,
    clocks: Arc<Clocks>,
    pace: Pace,
    shown: watch::Sender<Option<Pause>>,
    /// Tells those who wait that it may be their turn, in the order in which they wait; a `watch` would
    /// tell them in an order of chance.
    moved: Notify,
    probe_card: Mutex<Option<CardId>>,
}

impl Gate {
    /// Open where the bank has been read before; else it opens after a first read.
    pub(super) fn new(settings: &Settings, clocks: Arc<Clocks>, bank_was_read: bool) -> Self {
        let (probe_every, refusals) = (settings.probe_every, settings.refusals_in_a_row);
        let flow = Flow::new(probe_every, refusals, bank_was_read, clocks.now());
        let causes = &flow.held_by();
        telemetry::FlowStands { causes }.emit();
        Self {
            pace: Pace::new(settings.rate_per_second, Arc::clone(&clocks)),
            shown: watch::Sender::new(flow.pause()),
            moved: Notify::new(),
            flow: Mutex::new(flow),
            clocks,
            probe_card: Mutex::new(None),
        }
    }

    /// What people may watch.
    pub(super) fn watch(&self) -> watch::Receiver<Option<Pause>> {
        self.shown.subscribe()
    }

    /// Holds the flow until the hold of this kind is lifted. Calls under way end as they would.
    pub(super) fn hold(&self, hold: Hold) {
        self.with_flow(|flow, at| flow.hold(hold, at));
    }

    /// Lifts the hold of this kind, if there is one. Lifting [`HoldKind::Person`] also ends, at
    /// once, the wait for the next probe or trial: that person may have mended what was wrong.
    pub(super) fn lift(&self, kind: HoldKind) {
        self.with_flow(|flow, at| flow.lift(kind, at));
    }

    /// Ends when a call may be made for this card.
    pub(super) async fn pass(self: &Arc<Self>, card_id: &CardId) -> Pass {
        self.remember(card_id);
        loop {
            let moved = self.moved.notified();
            tokio::pin!(moved);
            // Before the look: what moves after it is not missed.
            moved.as_mut().enable();
            let entry = lock(&self.flow).look(self.clocks.now());
            if let Entry::Wait { until } = entry {
                self.wait(moved, until).await;
                continue;
            }
            self.pace.turn().await;
            if let Entry::Go { trial } = self.with_flow(Flow::enter) {
                let right = Some(Right {
                    card_id: card_id.clone(),
                    trial,
                });
                let gate = Arc::clone(self);
                return Pass { gate, right };
            }
        }
    }

    async fn wait(&self, moved: Pin<&mut Notified<'_>>, until: Option<Moment>) {
        tokio::select! {
            biased;
            () = moved => {}
            () = self.clocks.sleep_until_some(until) => {}
        }
    }

    fn remember(&self, card_id: &CardId) {
        let mut card = lock(&self.probe_card);
        if card.is_none() {
            *card = Some(card_id.clone());
            drop(card);
            self.moved.notify_waiters();
        }
    }

    /// Probes the bank whenever the flow waits for it, and ends rests; never ends.
    pub(super) async fn keep_time(&self, bank: &dyn Bank) {
        loop {
            let moved = self.moved.notified();
            tokio::pin!(moved);
            moved.as_mut().enable();
            let due = lock(&self.flow).due();
            let card = lock(&self.probe_card).clone();
            let now = self.clocks.now();
            match (due, card) {
                (Some(Due::RestEnds(at)), _) if at.mono <= now.mono => {
                    self.with_flow(Flow::rest_ends);
                }
                (Some(Due::Probe(at)), Some(card)) if at.mono <= now.mono => {
                    let result = bank.probe(&card).await;
                    self.with_flow(|flow, at| flow.probed(&result, at));
                }
                (Some(Due::RestEnds(at)), _) | (Some(Due::Probe(at)), Some(_)) => {
                    self.wait(moved, Some(at)).await;
                }
                (Some(Due::Probe(_)), None) | (None, _) => self.wait(moved, None).await,
            }
        }
    }

    fn with_flow<T>(&self, act: impl FnOnce(&mut Flow, Moment) -> T) -> T {
        let at = self.clocks.now();
        let mut flow = lock(&self.flow);
        let before = (flow.look(at), flow.due());
        let held_before = flow.held_by();
        let result = act(&mut flow, at);
        let has_moved = before != (flow.look(at), flow.due());
        let (pause, causes) = (flow.pause(), &flow.held_by());
        if *causes != held_before {
            telemetry::FlowStands { causes }.emit();
        }
        // Still under the lock: what is shown follows the order of what happened.
        self.shown.send_if_modified(|shown| {
            let differs = *shown != pause;
            if differs {
                announce(shown.as_ref(), pause.as_ref());
                *shown = pause;
            }
            differs
        });
        drop(flow);
        if has_moved {
            self.moved.notify_waiters();
        }
        result
    }
}

/// A 429 is no event: it comes often, is over soon, and shows in the progress of a run.
fn announce(before: Option<&Pause>, now: Option<&Pause>) {
    let told = |pause: Option<&Pause>| {
        pause
            .map(|pause| pause.cause.clone())
            .filter(|cause| *cause != PauseCause::RateLimited)
    };
    let (before, now) = (told(before), told(now));
    if before == now {
        return;
    }
    match (before, now) {
        (_, Some(cause)) => telemetry::FlowPaused {
            cause: cause.as_str(),
            why: &cause,
        }
        .emit(),
        (Some(cause), None) => telemetry::FlowResumed {
            cause: cause.as_str(),
        }
        .emit(),
        (None, None) => {}
    }
}

/// A panic while the lock is held leaves plain values that are still whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The right to make one call.
pub(super) struct Pass {
    gate: Arc<Gate>,
    /// None once it was used.
    right: Option<Right>,
}

struct Right {
    card_id: CardId,
    trial: bool,
}

impl Pass {
    /// The call was made and ended so.
    pub(super) fn heard(mut self, verdict: &Verdict) {
        if let Some(Right { card_id, trial }) = self.right.take() {
            self.gate
                .with_flow(|flow, at| flow.heard(&card_id, verdict, trial, at));
        }
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        if let Some(Right { trial, .. }) = self.right.take() {
            self.gate.with_flow(|flow, _| flow.unused(trial));
        }
    }
}

#[cfg(test)]
#[path = "gate_tests.rs"]
mod tests;
