//! The flow: what may be called, decided.
//!
//! ```text
//!          429                    401, 403, not the bank, breaker, mass refusal
//! Open ──────────► Resting ─► Open ─────────► Probing ─read answered─► Trial ─answer─► Open
//!                                                ▲                       │
//!                                                └────── no answer ──────┘
//! ```
//!
//! *What it promises.* Pure: it changes only by what it is told, at the moment it is told. What
//! holds it for other reasons than the bank (a person, the disk) lies over the bank's own state and
//! does not change it. While a streak of refusals is full, it is never open: it opens through a
//! trial that succeeds, or is refused for another reason.
//!
//! *What it refuses to know.* Who waits, and how a probe is made.

use std::time::Duration;

use super::breaker::Breaker;
use super::streak::Streak;
use super::{Hold, HoldKind, Pause, PauseCause};
use crate::domain::job::CardId;
use crate::domain::schedule::RETRY_AFTER_MAX;
use crate::domain::time::{Moment, Timestamp};
use crate::domain::verdict::{Deferral, UnclearCause, Verdict};
use crate::engine::ports::ListFault;

/// How long a 429 without a readable `Retry-After` holds the flow.
const REST_UNSAID: Duration = Duration::from_secs(1);
/// The longest wait between two trials of a mass refusal: each trial that is refused costs its job
/// this generation, and at two an hour a night costs some twenty.
const TRIAL_WAIT_MAX: Duration = Duration::from_secs(30 * 60);
/// Doublings after which that wait has long been reached; keeps the shift in range.
const TRIAL_WAIT_DOUBLINGS_MAX: u32 = 20;

/// The decisions of the pause.
#[derive(Debug)]
pub(super) struct Flow {
    probe_every: Duration,
    breaker: Breaker,
    streak: Streak,
    /// Calls that may be under way.
    under_way: u32,
    bank: BankState,
    holds: Holds,
    held: Option<Held>,
}

/// How long the flow has been held without a break. A break is an answer of the bank, or a while in
/// which nothing held it: a bank that says 429 to every call after every rest makes none.
#[derive(Clone, Copy, Debug)]
struct Held {
    since: Moment,
    /// Since when it has been open, not yet for a while.
    open_since: Option<Moment>,
}

/// Holds that are not the bank's, one of each kind.
#[derive(Debug, Default)]
struct Holds {
    person: Option<(String, Timestamp)>,
    disk: Option<(u64, u64)>,
    results: bool,
}

impl Holds {
    /// The most important: what only somebody can end comes first.
    fn cause(&self) -> Option<PauseCause> {
        self.causes().next()
    }

    fn causes(&self) -> impl Iterator<Item = PauseCause> {
        let person = self.person.clone();
        let person = person.map(|(by, since)| PauseCause::Person { by, since });
        let disk = self
            .disk
            .map(|(free_bytes, least_bytes)| PauseCause::DiskNearlyFull {
                free_bytes,
                least_bytes,
            });
        let results = self.results.then_some(PauseCause::ResultsNotRead);
        [person, disk, results].into_iter().flatten()
    }
}

/// How the flow stands with the bank.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum BankState {
    Open,
    /// Until then.
    Resting(Moment),
    /// The next probe is due then.
    Probing(PauseCause, Moment),
    Trial {
        cause: PauseCause,
        taken: bool,
    },
}

/// Whether a call may be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    Go { trial: bool },
    Wait { until: Option<Moment> },
}

/// What is to be done by itself, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    RestEnds(Moment),
    Probe(Moment),
}

impl Flow {
    /// Open, or not before a first read of the bank.
    pub(super) fn new(
        probe_every: Duration,
        refusals_in_a_row: u32,
        bank_was_read: bool,
        at: Moment,
    ) -> Self {
        let bank = if bank_was_read {
            BankState::Open
        } else {
            BankState::Probing(PauseCause::Starting, at)
        };
        Self {
            probe_every,
            breaker: Breaker::default(),
            streak: Streak::new(refusals_in_a_row),
            under_way: 0,
            held: (!bank_was_read).then_some(Held {
                since: at,
                open_since: None,
            }),
            bank,
            holds: Holds::default(),
        }
    }

    // ---- calls --------------------------------------------------------------------------------

    /// Whether a call might be made now.
    pub(super) fn look(&self, at: Moment) -> Entry {
        const WAIT: Entry = Entry::Wait { until: None };
        if self.holds.cause().is_some() {
            return WAIT;
        }
        match &self.bank {
            BankState::Resting(until) if until.mono > at.mono => Entry::Wait {
                until: Some(*until),
            },
            BankState::Resting(_) if self.streak.is_full() => Entry::Go { trial: true },
            BankState::Open | BankState::Resting(_) if self.streak.leaves_room(self.under_way) => {
                Entry::Go { trial: false }
            }
            BankState::Trial { taken: false, .. } => Entry::Go { trial: true },
            BankState::Open
            | BankState::Resting(_)
            | BankState::Probing(..)
            | BankState::Trial { taken: true, .. } => WAIT,
        }
    }

    /// Takes the right to call, where there is one.
    pub(super) fn enter(&mut self, at: Moment) -> Entry {
        self.rest_ends(at);
        let entry = self.look(at);
        if let Entry::Go { trial } = entry {
            self.under_way = self.under_way.saturating_add(1);
            if let (BankState::Trial { taken, .. }, true) = (&mut self.bank, trial) {
                *taken = true;
            }
        }
        entry
    }

    /// The right to call was given up before the call.
    pub(super) fn unused(&mut self, trial: bool) {
        self.under_way = self.under_way.saturating_sub(1);
        if let (BankState::Trial { taken, .. }, true) = (&mut self.bank, trial) {
            *taken = false;
        }
    }

    /// A call for this card ended.
    pub(super) fn heard(&mut self, card_id: &CardId, verdict: &Verdict, trial: bool, at: Moment) {
        self.under_way = self.under_way.saturating_sub(1);
        let trial = trial && matches!(self.bank, BankState::Trial { taken: true, .. });
        match verdict {
            Verdict::Accepted { .. } => self.streak.succeeded(),
            Verdict::Refused(refusal) => self.streak.refused(refusal, card_id),
            Verdict::Deferred(_) | Verdict::Unclear(_) => return self.failed(verdict, trial, at),
        }
        self.breaker.answered(at);
        if self.streak.is_full() {
            self.refused_by_all(trial, at);
        } else if trial || self.is_held_by_refusals() {
            self.open(at);
        }
        self.forget_hold_if_open();
    }

    fn failed(&mut self, verdict: &Verdict, trial: bool, at: Moment) {
        let cause = self.cause_of(verdict, at);
        let held = match &self.bank {
            BankState::Open => cause,
            BankState::Trial { cause: before, .. } if trial => {
                Some(cause.unwrap_or_else(|| before.clone()))
            }
            // A call that began before the pause says nothing new; a 429 may lengthen the rest.
            BankState::Resting(_) => cause.filter(|cause| *cause == PauseCause::RateLimited),
            BankState::Probing(..) | BankState::Trial { .. } => None,
        };
        match held {
            Some(PauseCause::RateLimited) => self.rest(verdict, at),
            Some(cause) => self.probe_later(cause, at),
            None => {}
        }
    }

    fn cause_of(&mut self, verdict: &Verdict, at: Moment) -> Option<PauseCause> {
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
            // A 429 counts for nothing: it holds the flow by itself and says for how long.
            Verdict::Deferred(Deferral::NoConnection) | Verdict::Unclear(_) => self
                .breaker
                .failed(at)
                .then_some(PauseCause::BankNotAnswering),
        }
    }

    /// The streak is full.
    fn refused_by_all(&mut self, trial: bool, at: Moment) {
        if trial {
            self.streak.trial_failed();
        }
        if trial || self.bank == BankState::Open {
            let cause = self.mass_refusal();
            let doublings = self.streak.failed_trials().min(TRIAL_WAIT_DOUBLINGS_MAX);
            let wait = self.probe_every.saturating_mul(1 << doublings);
            self.hold_until_probe(cause, at, wait.min(self.probe_every.max(TRIAL_WAIT_MAX)));
        }
    }

    fn mass_refusal(&self) -> PauseCause {
        let (code, refusals) = self.streak.what();
        PauseCause::MassRefusal { code, refusals }
    }

    fn is_held_by_refusals(&self) -> bool {
        match &self.bank {
            BankState::Probing(cause, _) | BankState::Trial { cause, .. } => {
                matches!(cause, PauseCause::MassRefusal { .. })
            }
            BankState::Open | BankState::Resting(_) => false,
        }
    }

    // ---- states -------------------------------------------------------------------------------

    /// Opens, as far as the bank is concerned; where it refused all before, for one trial first.
    fn open(&mut self, at: Moment) {
        // What failed before a pause is over; a rest says nothing about failures.
        if !matches!(self.bank, BankState::Resting(_)) {
            self.breaker.clear();
        }
        if self.streak.is_full() {
            let cause = self.mass_refusal();
            let taken = false;
            self.bank = BankState::Trial { cause, taken };
            self.note_held(at);
        } else {
            self.bank = BankState::Open;
            if let Some(held) = &mut self.held {
                held.open_since = Some(at);
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
        if let BankState::Resting(before) = self.bank
            && before.mono > until.mono
        {
            until = before;
        }
        self.bank = BankState::Resting(until);
        self.note_held(at);
    }

    /// A rest ends, where it is over.
    pub(super) fn rest_ends(&mut self, at: Moment) {
        if matches!(self.bank, BankState::Resting(until) if until.mono <= at.mono) {
            self.open(at);
        }
    }

    fn probe_later(&mut self, cause: PauseCause, at: Moment) {
        self.hold_until_probe(cause, at, self.probe_every);
    }

    fn hold_until_probe(&mut self, cause: PauseCause, at: Moment, wait: Duration) {
        self.breaker.clear();
        self.bank = BankState::Probing(cause, at.plus(wait));
        self.note_held(at);
    }

    /// A probe ended.
    pub(super) fn probed(&mut self, result: &Result<(), ListFault>, at: Moment) {
        let BankState::Probing(cause, _) = &self.bank else {
            return;
        };
        let cause = cause.clone();
        match result {
            Ok(()) if cause == PauseCause::Starting => {
                self.open(at);
                self.forget_hold_if_open();
            }
            // A 403 may be about the one card that is probed with: a trial call of any card tells.
            Ok(()) | Err(ListFault::NotAuthorized) => {
                let taken = false;
                self.bank = BankState::Trial { cause, taken };
            }
            Err(fault) => self.probe_later(cause_of_fault(fault), at),
        }
    }

    /// What is to be done by itself next.
    pub(super) const fn due(&self) -> Option<Due> {
        match &self.bank {
            BankState::Resting(until) => Some(Due::RestEnds(*until)),
            BankState::Probing(_, at) => Some(Due::Probe(*at)),
            BankState::Open | BankState::Trial { .. } => None,
        }
    }

    // ---- holds --------------------------------------------------------------------------------

    /// Holds the flow for a reason that is not the bank's. A second hold of a kind changes nothing.
    pub(super) fn hold(&mut self, hold: Hold, at: Moment) {
        match hold {
            Hold::Person { by, since } => {
                self.holds.person.get_or_insert((by, since));
            }
            Hold::Disk {
                free_bytes,
                least_bytes,
            } => {
                self.holds.disk.get_or_insert((free_bytes, least_bytes));
            }
            Hold::Results => self.holds.results = true,
        }
        self.note_held(at);
    }

    /// Lifts a hold. A person who resumes also has the bank looked at now, and a mass refusal tried
    /// again, instead of later; a rest that the bank asked for stays.
    pub(super) fn lift(&mut self, kind: HoldKind, at: Moment) {
        match kind {
            HoldKind::Person => {
                self.holds.person = None;
                if let BankState::Probing(_, due) = &mut self.bank
                    && due.mono > at.mono
                {
                    *due = at;
                }
            }
            HoldKind::Disk => self.holds.disk = None,
            HoldKind::Results => self.holds.results = false,
        }
        self.forget_hold_if_open();
    }

    /// What holds the flow, as people see it.
    pub(super) fn pause(&self) -> Option<Pause> {
        let (cause, until) = match (self.holds.cause(), &self.bank) {
            (Some(cause), _) => (cause, None),
            (None, BankState::Open) => return None,
            (None, BankState::Resting(until)) => (PauseCause::RateLimited, Some(*until)),
            (None, BankState::Probing(cause, at)) => (cause.clone(), Some(*at)),
            (None, BankState::Trial { cause, .. }) => (cause.clone(), None),
        };
        let since = self.held?.since;
        Some(Pause {
            cause,
            since,
            until,
            wants_trial: self.holds.cause().is_none()
                && matches!(self.bank, BankState::Trial { .. }),
        })
    }

    /// Everything that holds the flow, also what lies under something else, in stable words.
    pub(super) fn held_by(&self) -> Vec<&'static str> {
        let bank = match &self.bank {
            BankState::Open => None,
            BankState::Resting(_) => Some(PauseCause::RateLimited.as_str()),
            BankState::Probing(cause, _) | BankState::Trial { cause, .. } => Some(cause.as_str()),
        };
        let holds = self.holds.causes().map(|cause| cause.as_str());
        holds.chain(bank).collect()
    }

    fn note_held(&mut self, at: Moment) {
        let is_new = self
            .held
            .and_then(|held| held.open_since)
            .is_some_and(|open_since| at.surely_since(open_since) > self.probe_every);
        if is_new {
            self.held = None;
        }
        let held = self.held.get_or_insert(Held {
            since: at,
            open_since: None,
        });
        held.open_since = None;
    }

    fn forget_hold_if_open(&mut self) {
        if self.is_open() {
            self.held = None;
        }
    }

    fn is_open(&self) -> bool {
        self.bank == BankState::Open && self.holds.cause().is_none()
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

#[cfg(test)]
#[path = "flow_tests.rs"]
mod tests;
