//! Every order of events to a bounded depth: what seeds sample, here nothing is left out.
//!
//! *What it promises.* From each beginning of a job, each event that the world may have in store is tried,
//! step by step, in a small world: one job, times on a coarse grid, a bank whose truth is fixed by what
//! came before. States that were met before with as much depth left are not walked again.
//!
//! *What it refuses to know.* The state that `advance` keeps: it is compared, and nothing else.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::hash::{BuildHasherDefault, Hash, Hasher};
use std::time::Duration;

use tanda::domain::key::IdempotencyKey;
use tanda::domain::listing::Finding;
use tanda::domain::outcome::{DoubtReason, NotSentReason, Outcome, Status};
use tanda::domain::progress::{self, Action, Event, Progress, Record, Rules, Stage, advance};
use tanda::domain::request::Ruling;
use tanda::domain::schedule::{AskTimes, BACKOFF_BASE};
use tanda::domain::time::{Moment, Timestamp};
use tanda::domain::verdict::{Deferral, Refusal, Unclarity, UnclearCause, Verdict};

use crate::oracle::{Violation, broken};

/// When a walk begins, in seconds: late enough to look back.
const START_S: u64 = 10_000;
const SETTLE_S: u64 = 300;
const WINDOW_S: u64 = 600;
const TIMEOUT_S: u64 = 30;
/// The bank forgets a key as soon as the product lets it: after the window and the last resend in it.
const KEY_LIFETIME_S: u64 = WINDOW_S + TIMEOUT_S + SETTLE_S;
const ATTEMPTS_MAX: u32 = 3;
/// How long an ask may come late.
const LATE_S: u64 = 4_000;

/// The rules as they are.
pub(crate) const RULES: Rules = Rules {
    resend_window: Duration::from_secs(WINDOW_S),
    max_attempts: ATTEMPTS_MAX,
    backoff_base: BACKOFF_BASE,
    asks: AskTimes::new(Duration::from_secs(SETTLE_S)),
};

/// Where a job of the walk begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Beginning {
    /// Whether the list has shown that it returns names.
    pub(crate) control: bool,
    /// When the job expires, in seconds.
    pub(crate) expires: Option<u64>,
    /// Whether the ledger has forgotten a time in which the job was perhaps executed.
    pub(crate) forgotten: Option<Forgotten>,
}

impl Beginning {
    /// Each.
    pub(crate) fn all() -> Vec<Self> {
        let forgotten = [
            None,
            Some(Forgotten::Nothing),
            Some(Forgotten::Executed),
            Some(Forgotten::OnTheWay),
        ];
        let of = |forgotten| {
            let lists = [(true, None), (true, Some(START_S + 700)), (false, None)];
            lists.map(|(control, expires)| Self {
                control,
                expires,
                forgotten,
            })
        };
        forgotten.into_iter().flat_map(of).collect()
    }
}

/// What the ledger has forgotten of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Forgotten {
    /// Nothing of it was executed.
    Nothing,
    /// It was executed.
    Executed,
    /// It will be, perhaps, within the settle delay.
    OnTheWay,
}

/// What is true of the money.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Truth {
    /// When it moved, if it did.
    executed_at: Option<u64>,
    /// The list may lag until then.
    listed_by: u64,
    /// A request on its way may arrive until then.
    on_the_way: Option<u64>,
    /// When the last call ended.
    quiet_from: u64,
}

/// What the ledger knows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a durable fact of its own"
)]
struct Known {
    intent: bool,
    attempts: u32,
    spent: u32,
    refusal: bool,
    doubt: Option<DoubtReason>,
    person_needed: bool,
    cancelled: bool,
}

/// One state of the small world.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct State {
    progress: Progress,
    action: Action,
    now_ms: u64,
    truth: Truth,
    known: Known,
}

/// A walk and what it has met.
#[derive(Debug)]
pub(crate) struct Walk {
    rules: Rules,
    beginning: Beginning,
    met: HashMap<u64, u32, BuildHasherDefault<Mixed>>,
    /// Steps taken.
    pub(crate) steps: u64,
    path: Vec<Stride>,
}

/// One step of the way that leads to where a walk is; without an event the process died and started.
#[derive(Debug)]
struct Stride {
    at_ms: u64,
    event: Option<Event>,
    action: Action,
}

/// Mixes what it is given into one number, quickly: nobody chooses what is walked so that numbers meet.
#[derive(Debug, Default)]
struct Mixed(u64);

impl Hasher for Mixed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            for (to, from) in word.iter_mut().zip(chunk) {
                *to = *from;
            }
            self.write_u64(u64::from_le_bytes(word));
        }
    }

    fn write_u64(&mut self, number: u64) {
        let mixed = (self.0.rotate_left(23) ^ number).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        self.0 = mixed ^ (mixed >> 32);
    }
}

fn moment(now_ms: u64) -> Moment {
    let zero = Timestamp::from_millis(1_800_000_000_000);
    Moment {
        mono: Duration::ZERO,
        wall: zero,
        bank: zero,
    }
    .plus(Duration::from_millis(now_ms))
}

fn millis(at: Moment) -> u64 {
    u64::try_from(at.mono.as_millis()).expect("a walk is short")
}

fn refused() -> Verdict {
    Verdict::Refused(Refusal::default())
}

fn unclear(cause: UnclearCause) -> Verdict {
    Verdict::Unclear(Unclarity::new(cause))
}

impl Walk {
    /// Walks every order of so many events from this beginning, by these rules.
    ///
    /// # Errors
    /// The first violation, with the way that leads there.
    pub(crate) fn all(rules: Rules, beginning: Beginning, depth: u32) -> Result<Self, Violation> {
        let mut walk = Self {
            rules,
            beginning,
            met: HashMap::default(),
            steps: 0,
            path: Vec::new(),
        };
        let state = walk.first_state()?;
        let end = walk.from(&state, depth);
        end.map_err(|violation| walk.told(violation))?;
        Ok(walk)
    }

    /// A violation, with the way that leads there.
    fn told(&self, violation: Violation) -> Violation {
        let mut what = violation.what;
        for stride in &self.path {
            let event = match &stride.event {
                Some(event) => format!("{event:?}"),
                None => "the process dies and starts".to_owned(),
            };
            let (at_ms, action) = (stride.at_ms, &stride.action);
            write!(what, "\n{at_ms:>9} ms {event}\n{:>12} → {action:?}", "")
                .expect("a String takes every text");
        }
        Violation { what, ..violation }
    }

    fn new_progress(&self, known: &Known) -> Progress {
        let expires = self.beginning.expires.map(|at| moment(at * 1_000).wall);
        let progress = Progress::new(IdempotencyKey::from_bytes([7; 16]), expires);
        if known.cancelled {
            progress.closing(NotSentReason::Cancelled)
        } else {
            progress
        }
    }

    fn first_state(&mut self) -> Result<State, Violation> {
        let start_ms = START_S * 1_000;
        let truth = Truth {
            executed_at: (self.beginning.forgotten == Some(Forgotten::Executed))
                .then_some(start_ms),
            on_the_way: (self.beginning.forgotten == Some(Forgotten::OnTheWay))
                .then_some(start_ms + (SETTLE_S - 1) * 1_000),
            listed_by: start_ms + (SETTLE_S - 1) * 1_000,
            quiet_from: start_ms,
        };
        self.begin(start_ms, truth, Known::default())
    }

    /// What a process does that finds this in the ledger.
    fn begin(&mut self, now_ms: u64, truth: Truth, known: Known) -> Result<State, Violation> {
        let at = moment(now_ms);
        let progress = self.new_progress(&known);
        let event = if known.intent {
            let reason = known.doubt.unwrap_or(DoubtReason::Interrupted);
            let record = Record {
                attempts: known.attempts.max(1),
                spent: known.spent,
                refusal: known.refusal.then(Refusal::default),
                person_needed: known.person_needed,
                same_bytes: true,
                closing: known.cancelled.then_some(NotSentReason::Cancelled),
                reason,
            };
            Event::Recovered { record, at }
        } else if self.beginning.forgotten.is_some() {
            Event::Forgotten(progress::Forgotten {
                after_delivery: false,
                last_send: at,
                at,
            })
        } else {
            let action = progress.first_action(at);
            return Ok(State {
                progress,
                action,
                now_ms,
                truth,
                known,
            });
        };
        let state = State {
            action: Action::Keep,
            progress,
            now_ms,
            truth,
            known,
        };
        self.step(&state, event)
    }

    fn step(&mut self, state: &State, event: Event) -> Result<State, Violation> {
        self.steps += 1;
        let (progress, action) = advance(&self.rules, state.progress.clone(), event)
            .map_err(|illegal| broken("the rules", illegal.to_string()))?;
        Ok(State {
            progress,
            action,
            ..state.clone()
        })
    }

    /// Tells an event, and walks on from what follows.
    fn tell(&mut self, state: &State, event: Event, depth: u32) -> Result<(), Violation> {
        let next = self.step(state, event.clone())?;
        self.go(state.now_ms, Some(event), &next, depth)
    }

    fn go(
        &mut self,
        at_ms: u64,
        event: Option<Event>,
        next: &State,
        depth: u32,
    ) -> Result<(), Violation> {
        self.path.push(Stride {
            at_ms,
            event,
            action: next.action.clone(),
        });
        self.from(next, depth)?;
        self.path.pop();
        Ok(())
    }

    fn from(&mut self, state: &State, depth: u32) -> Result<(), Violation> {
        if let Action::Settle(outcome) = &state.action {
            return judge(outcome, &state.truth, state.now_ms);
        }
        if depth == 0 || state.action == Action::GiveBack {
            return Ok(());
        }
        let mut hasher = Mixed::default();
        state.hash(&mut hasher);
        let left = self.met.entry(hasher.finish()).or_insert(0);
        if *left >= depth {
            return Ok(());
        }
        *left = depth;
        let depth = depth - 1;
        match state.action.clone() {
            Action::AwaitTurn {
                not_before,
                deadline,
            } => self.await_turn(state, not_before, deadline, depth),
            Action::RecordIntent => self.record_intent(state, depth),
            Action::Call => self.call(state, depth),
            Action::EnterDoubt { reason, ask_at } => {
                let mut doubted = state.clone();
                doubted.known.intent = true;
                doubted.known.doubt.get_or_insert(reason);
                doubted.known.refusal |= reason == DoubtReason::RefusedAfterUnclear;
                doubted.known.attempts = state.progress.attempts();
                doubted.known.spent = state.progress.spent();
                self.crash(state, depth)?;
                self.await_ask(&doubted, ask_at, depth)
            }
            Action::CallPerson { ask_at } => {
                let mut called = state.clone();
                called.known.person_needed = true;
                self.crash(state, depth)?;
                self.await_ask(&called, ask_at, depth)
            }
            Action::Ask { at } => self.await_ask(state, at, depth),
            Action::Prove | Action::Settle(_) | Action::GiveBack | Action::Keep => Ok(()),
        }
    }

    fn crash(&mut self, state: &State, depth: u32) -> Result<(), Violation> {
        if depth == 0 {
            return Ok(());
        }
        let mut truth = state.truth.clone();
        // Nobody waits any more for what was sent.
        let latest = state.now_ms + (SETTLE_S - 1) * 1_000;
        truth.on_the_way = truth.on_the_way.map(|until| until.min(latest));
        truth.listed_by = truth.listed_by.min(latest);
        truth.quiet_from = state.now_ms;
        let next = self.begin(state.now_ms + 1_000, truth, state.known.clone())?;
        self.go(state.now_ms, None, &next, depth)
    }

    // ---- waiting for a turn -------------------------------------------------------------------

    fn await_turn(
        &mut self,
        state: &State,
        not_before: Option<Moment>,
        deadline: Option<Moment>,
        depth: u32,
    ) -> Result<(), Violation> {
        self.crash(state, depth)?;
        let mut cancelled = state.clone();
        cancelled.known.cancelled = true;
        self.tell(&cancelled, Event::Cancelled(moment(state.now_ms)), depth)?;
        let is_unclear = state.progress.may_have_been_executed();
        if *state.progress.stage() == Stage::Between && is_unclear {
            self.tell(state, Event::DeliveryTooOld(moment(state.now_ms)), depth)?;
        }
        let first = not_before.map_or(state.now_ms, millis).max(state.now_ms);
        let last = deadline.map(millis);
        // As soon as it may be, and as late: a second before what it is due by, or a window later.
        let window_ms = u64::try_from(self.rules.resend_window.as_millis()).unwrap_or(u64::MAX);
        let late = last.map_or(first.saturating_add(window_ms), |last| {
            last.saturating_sub(1_000)
        });
        let turns = [first, late.max(first)];
        for at_ms in turns
            .into_iter()
            .filter(|at| last.is_none_or(|last| *at < last))
        {
            let at = later_than(state, at_ms);
            self.tell(&at, Event::Turn(moment(at_ms)), depth)?;
        }
        if let Some(at_ms) = last {
            let at = later_than(state, at_ms.max(state.now_ms));
            self.tell(&at, Event::Overdue(moment(at.now_ms)), depth)?;
        }
        Ok(())
    }

    fn record_intent(&mut self, state: &State, depth: u32) -> Result<(), Violation> {
        self.crash(state, depth)?;
        let mut intended = state.clone();
        intended.known.intent = true;
        self.crash(&intended, depth)?;
        let at = moment(intended.now_ms);
        self.tell(&intended, Event::IntentDurable(at), depth)
    }

    // ---- calls --------------------------------------------------------------------------------

    fn call(&mut self, state: &State, depth: u32) -> Result<(), Violation> {
        if !state.known.intent {
            return Err(broken("I2", "a call without a durable intent"));
        }
        // Not executed by this call, whatever came back.
        let never = state.truth.clone();
        let listed_by = state.now_ms + (TIMEOUT_S + SETTLE_S - 1) * 1_000;
        let executed = executed_by(&state.truth, state.now_ms, listed_by)?;
        let later = Truth {
            on_the_way: Some(listed_by),
            ..state.truth.clone()
        };
        let is_answered = state.truth.executed_at.is_none();
        let timeout = unclear(UnclearCause::Timeout);
        let conflict = unclear(UnclearCause::Conflict);
        let deferred = Verdict::Deferred(Deferral::NoConnection);
        let accepted = Verdict::Accepted { http_status: 201 };
        self.hear(state, &executed, accepted, 1, depth)?;
        if is_answered {
            self.hear(state, &never, refused(), 1, depth)?;
        }
        self.hear(state, &never, deferred, 1, depth)?;
        for truth in [&never, &executed, &later] {
            self.hear(state, truth, timeout.clone(), TIMEOUT_S, depth)?;
            let mut died = state.clone();
            died.truth = truth.clone();
            self.crash(&died, depth)?;
        }
        for truth in [&never, &executed] {
            self.hear(state, truth, conflict.clone(), 1, depth)?;
        }
        Ok(())
    }

    fn hear(
        &mut self,
        state: &State,
        truth: &Truth,
        verdict: Verdict,
        took_s: u64,
        depth: u32,
    ) -> Result<(), Violation> {
        let mut told = state.clone();
        told.now_ms += took_s * 1_000;
        let latest = told.now_ms + (SETTLE_S - 1) * 1_000;
        told.truth = Truth {
            listed_by: truth.listed_by.min(latest),
            quiet_from: told.now_ms,
            ..truth.clone()
        };
        let event = Event::Told {
            verdict,
            at: moment(told.now_ms),
            bank_answers: true,
        };
        self.tell(&told, event, depth)
    }

    // ---- asking -------------------------------------------------------------------------------

    fn await_ask(&mut self, state: &State, at: Moment, depth: u32) -> Result<(), Violation> {
        self.crash(state, depth)?;
        let mut cancelled = state.clone();
        cancelled.known.cancelled = true;
        if !state.known.cancelled {
            self.tell(&cancelled, Event::Cancelled(moment(state.now_ms)), depth)?;
        }
        self.rule(state, depth)?;
        let due = millis(at).max(state.now_ms);
        for at_ms in [due, due + LATE_S * 1_000] {
            self.ask(state, at_ms, depth)?;
        }
        Ok(())
    }

    /// A person who knows what became of it says so, once nothing can arrive any more.
    fn rule(&mut self, state: &State, depth: u32) -> Result<(), Violation> {
        let quiet_ms = state.now_ms - state.truth.quiet_from;
        let ruling = match state.truth.executed_at {
            Some(_) => Ruling::Succeeded,
            None if quiet_ms >= SETTLE_S * 1_000 => Ruling::NotSent,
            None => return Ok(()),
        };
        self.tell(state, Event::Ruled(ruling), depth)
    }

    fn ask(&mut self, state: &State, at_ms: u64, depth: u32) -> Result<(), Violation> {
        // What is on its way may have come by then, or not yet.
        let mut truths = vec![later_than(state, at_ms).truth];
        if let Some(until) = state.truth.on_the_way {
            truths.push(executed_by(&state.truth, until.min(at_ms), until)?);
        }
        for truth in truths {
            let mut findings = vec![Finding::Unreadable, Finding::Barred];
            match truth.executed_at {
                Some(_) => {
                    findings.push(Finding::Found { operation_id: None });
                    if at_ms < truth.listed_by {
                        findings.push(Finding::Absent);
                    }
                }
                None => findings.push(Finding::Absent),
            }
            for finding in findings {
                let mut asked = state.clone();
                asked.now_ms = at_ms;
                asked.truth = truth.clone();
                let event = Event::Asked {
                    finding,
                    control: self.beginning.control,
                    unscheduled: false,
                    began: moment(at_ms),
                    ended: moment(at_ms),
                };
                self.tell(&asked, event, depth)?;
            }
        }
        Ok(())
    }
}

/// The same state at a later time: what was on its way and did not come does not come any more.
fn later_than(state: &State, at_ms: u64) -> State {
    let mut later = state.clone();
    later.now_ms = at_ms;
    if later.truth.on_the_way.is_some_and(|until| until < at_ms) {
        later.truth.on_the_way = None;
    }
    later
}

/// What is true once the bank has executed a request now, unless it knows its key.
fn executed_by(truth: &Truth, now_ms: u64, listed_by: u64) -> Result<Truth, Violation> {
    match truth.executed_at {
        Some(at) if now_ms - at < KEY_LIFETIME_S * 1_000 => Ok(truth.clone()),
        Some(at) => Err(broken(
            "I1",
            format!("executed at {at} ms, and again at {now_ms} ms"),
        )),
        None => Ok(Truth {
            executed_at: Some(now_ms),
            listed_by,
            on_the_way: None,
            ..truth.clone()
        }),
    }
}

fn judge(outcome: &Outcome, truth: &Truth, now_ms: u64) -> Result<(), Violation> {
    let may_come = truth.on_the_way.is_some_and(|until| until >= now_ms);
    match outcome.status() {
        Status::Succeeded if truth.executed_at.is_none() => {
            Err(broken("I14", format!("{outcome:?}, and no money moved")))
        }
        Status::Rejected | Status::NotSent if truth.executed_at.is_some() || may_come => {
            Err(broken("I5", format!("{outcome:?}, and the money moves")))
        }
        Status::Succeeded
        | Status::Rejected
        | Status::NotSent
        | Status::InDoubt
        | Status::Invalid
        | Status::Conflict
        | Status::Waiting => Ok(()),
    }
}
