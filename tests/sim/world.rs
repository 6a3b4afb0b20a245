//! One seeded world: a bank, a ledger, a process that may die at every step, and a clock.
//!
//! *What it promises.* Single-threaded and in virtual time; the same seed is the same world. Every
//! decision about a job is taken by the real [`advance`], every reading of a list by the real
//! [`find`]; the driver here only does what the actions say, as the engine must.

use std::time::Duration;

use tanda::domain::job::{Draft, Job};
use tanda::domain::key::{Generation, IdempotencyKey, Namespace};
use tanda::domain::listing::{Finding, ListedOperation, find, returns_entity_id};
use tanda::domain::money::Currencies;
use tanda::domain::outcome::{DoubtReason, NotSentReason, Outcome, Status};
use tanda::domain::progress::{Action, Event, Progress, Record, Rules, Stage, advance};
use tanda::domain::time::{Moment, Timestamp};
use tanda::domain::verdict::{Deferral, Refusal, Unclarity, UnclearCause, Verdict};

use crate::bank::{Bank, Request};
use crate::driver::Driver;
use crate::oracle::{Sending, Sends, Violation, broken, judge_outcome};
use crate::rng::Rng;
use crate::scenario::{Blow, DAY_MS, Scenario};

/// Wall time at the beginning of every world, in milliseconds since the epoch.
const EPOCH_MS: i64 = 1_800_000_000_000;
/// A world that takes more steps than this does not settle.
const STEPS_MAX: u64 = 20_000;
/// A commit takes at most this long, in milliseconds.
const COMMIT_MAX_MS: u64 = 50;
/// A job that waits for a person is watched for so many asks more: it must only be asked about.
const ASKS_AFTER_PERSON: u32 = 3;

/// What happened in a world, for the report.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    pub(crate) steps: u64,
    pub(crate) calls: u64,
    pub(crate) crashes: u64,
    pub(crate) asks: u64,
    pub(crate) doubts: u64,
    pub(crate) lost_answers: u64,
    pub(crate) succeeded: u64,
    pub(crate) rejected: u64,
    pub(crate) not_sent: u64,
    pub(crate) person_needed: u64,
}

/// What the ledger durably knows of a job.
#[derive(Debug, Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a durable fact of its own"
)]
struct Facts {
    intent: bool,
    attempts: u32,
    spent: u32,
    refusal: Option<Refusal>,
    doubt: Option<DoubtReason>,
    person_needed: bool,
    cancelled: bool,
    outcome: Option<Outcome>,
    /// The source's own record: this delivery was answered.
    receipt_done: bool,
}

/// A write under way.
#[derive(Clone, Debug)]
enum Write {
    Intent,
    Doubt(DoubtReason, Moment),
    Person(Moment),
    Outcome(Outcome),
}

/// What the process does about a job; lost when it dies.
#[derive(Debug)]
enum Doing {
    Nothing,
    AwaitingTurn {
        turn: Duration,
        deadline: Option<Duration>,
    },
    Committing {
        write: Write,
        until: u64,
    },
    Calling {
        call: u64,
        ends: u64,
        told: Option<Verdict>,
    },
    AwaitingAsk(Duration),
    Asking {
        began: Moment,
        began_true: u64,
        ends: u64,
        list: Option<Vec<ListedOperation>>,
    },
    Publishing {
        until: u64,
        then_ask: Option<Moment>,
    },
    Finished,
}

/// What the process knows of a job; lost when it dies.
#[derive(Debug)]
struct Work {
    progress: Option<Progress>,
    doing: Doing,
    unrecorded: (u32, u32, Option<Refusal>),
    answers_seen: u64,
    late_intent: Option<u64>,
    asks_after_person: u32,
    /// Whether the ask under way is a person's, out of turn.
    asked_now: bool,
}

impl Work {
    const fn none() -> Self {
        Self {
            progress: None,
            doing: Doing::Nothing,
            unrecorded: (0, 0, None),
            answers_seen: 0,
            late_intent: None,
            asks_after_person: 0,
            asked_now: false,
        }
    }
}

/// The process; lost when it dies.
#[derive(Debug)]
struct Process {
    life: u32,
    started: u64,
    slept: u64,
    heard: Option<(Timestamp, Duration)>,
    paused_until: u64,
    answers: u64,
    control_due: Option<(u64, usize)>,
}

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Arrival(usize),
    Blow,
    Start,
    Control,
    LateIntent(usize),
    Job(usize),
}

/// One world.
pub(crate) struct World {
    scenario: Scenario,
    driver: Driver,
    rng: Rng,
    rules: Rules,
    jobs: Vec<Job>,
    keys: Vec<IdempotencyKey>,
    now: u64,
    wall_offset: i64,
    bank: Bank,
    facts: Vec<Facts>,
    control: bool,
    process: Process,
    start_at: Option<u64>,
    work: Vec<Work>,
    blows_done: usize,
    calls: u64,
    sends: Vec<Sends>,
    published: Vec<Option<Outcome>>,
    judges_sends: bool,
    figures: Figures,
    trace: Option<Vec<String>>,
}

/// Runs the world of a seed to its end.
pub(crate) fn run(seed: u64, driver: Driver) -> Result<Figures, Violation> {
    let mut world = World::new(seed, driver);
    world.run().map(|()| world.figures)
}

/// The same, judged by the bank's books and the published outcomes alone: no send is judged before
/// it does harm.
pub(crate) fn run_by_the_books(seed: u64, driver: Driver) -> Result<Figures, Violation> {
    let mut world = World::new(seed, driver);
    world.judges_sends = false;
    world.run().map(|()| world.figures)
}

/// The story of a seed, line by line, and how it ended.
pub(crate) fn story(seed: u64, driver: Driver) -> (Vec<String>, Result<(), Violation>) {
    let mut world = World::new(seed, driver);
    world.trace = Some(vec![format!("{:#?}", world.scenario)]);
    let end = world.run();
    (world.trace.unwrap_or_default(), end)
}

fn millis(time: u64) -> i64 {
    i64::try_from(time).expect("a world ends before its clock does")
}

impl World {
    fn new(seed: u64, driver: Driver) -> Self {
        let mut rng = Rng::new(seed);
        let scenario = Scenario::draw(&mut rng);
        let mut jobs = Vec::new();
        for index in 0..scenario.jobs {
            let expiry = scenario.expiries.get(index).copied().flatten();
            let mut job = Draft {
                entity_id: format!("EMP-{seed:X}-{index}"),
                card_id: "car_5tgliBmzjZ6mpQPRbQjfKj".to_owned(),
                operation: "topup".to_owned(),
                amount_minor: 100,
                currency: "COP".to_owned(),
                ..Draft::default()
            }
            .validate(&Currencies::default())
            .expect("the jobs of the worlds are valid");
            job.not_after = expiry.map(|after| Timestamp::from_millis(EPOCH_MS + millis(after)));
            jobs.push(job);
        }
        let key = |job: &Job| {
            IdempotencyKey::derive(&Namespace::default(), &job.entity_id, Generation::FIRST)
        };
        Self {
            rules: driver.rules(scenario.rules),
            keys: jobs.iter().map(key).collect(),
            bank: Bank::new(&scenario, &jobs),
            facts: jobs.iter().map(|_| Facts::default()).collect(),
            work: jobs.iter().map(|_| Work::none()).collect(),
            sends: jobs.iter().map(|_| Sends::default()).collect(),
            published: jobs.iter().map(|_| None).collect(),
            control: scenario.control_known,
            process: Process {
                life: 0,
                started: 0,
                slept: 0,
                heard: None,
                paused_until: 0,
                answers: 0,
                control_due: None,
            },
            start_at: Some(0),
            now: 0,
            wall_offset: 0,
            blows_done: 0,
            calls: 0,
            judges_sends: true,
            figures: Figures::default(),
            trace: None,
            scenario,
            driver,
            rng,
            jobs,
        }
    }

    // ---- the clock ----------------------------------------------------------------------------

    fn run(&mut self) -> Result<(), Violation> {
        let horizon = self.scenario.faults_until + 8 * DAY_MS;
        while !self.is_over() {
            self.figures.steps += 1;
            if self.figures.steps > STEPS_MAX || self.now > horizon {
                return Err(broken(
                    "I13",
                    "faults have stopped, and a job does not settle",
                ));
            }
            let Some((due, next)) = self.next() else {
                return Err(broken(
                    "I13",
                    "nothing is left to happen, and a job is not settled",
                ));
            };
            self.now = self.now.max(due);
            self.happen(next)?;
        }
        self.arrivals_until(u64::MAX)?;
        self.judge_the_end()
    }

    fn is_over(&self) -> bool {
        self.start_at.is_none()
            && (0..self.jobs.len()).all(|job| {
                let waits_for_person = self.work(job).asks_after_person >= ASKS_AFTER_PERSON
                    && matches!(self.doing(job), Doing::AwaitingAsk(_));
                waits_for_person || matches!(self.doing(job), Doing::Finished)
            })
    }

    fn next(&self) -> Option<(u64, Next)> {
        let arrivals = self.bank.requests.iter().enumerate();
        let arrivals = arrivals.map(|(index, request)| (request.arrives, Next::Arrival(index)));
        let blow = self.scenario.blows.get(self.blows_done);
        let blow = blow.map(|(at, _)| (*at, Next::Blow));
        let outside = arrivals.chain(blow);
        if let Some(at) = self.start_at {
            return outside
                .chain([(at, Next::Start)])
                .min_by_key(|(due, _)| *due);
        }
        let control = self.process.control_due.map(|(at, _)| (at, Next::Control));
        let jobs = self.work.iter().enumerate();
        let late = jobs
            .clone()
            .filter_map(|(job, work)| work.late_intent.map(|at| (at, Next::LateIntent(job))));
        let jobs = jobs.filter_map(|(job, work)| Some((self.due(work)?, Next::Job(job))));
        let inside = control.into_iter().chain(late).chain(jobs);
        outside.chain(inside).min_by_key(|(due, _)| *due)
    }

    fn due(&self, work: &Work) -> Option<u64> {
        match &work.doing {
            Doing::Nothing | Doing::Finished => None,
            Doing::AwaitingTurn { turn, deadline } => {
                Some(self.true_time(deadline.map_or(*turn, |deadline| deadline.min(*turn))))
            }
            Doing::AwaitingAsk(at) => Some(self.true_time(*at)),
            Doing::Committing { until, .. } | Doing::Publishing { until, .. } => Some(*until),
            Doing::Calling { ends, .. } | Doing::Asking { ends, .. } => Some(*ends),
        }
    }

    fn happen(&mut self, next: Next) -> Result<(), Violation> {
        match next {
            Next::Arrival(index) => self.arrival(index),
            Next::Blow => self.blow(),
            Next::Start => self.start(),
            Next::Control => {
                self.look_for_control();
                Ok(())
            }
            Next::LateIntent(job) => {
                self.work_mut(job).late_intent = None;
                self.facts_mut(job).intent = true;
                Ok(())
            }
            Next::Job(job) => self.go_on(job),
        }
    }

    fn mono(&self) -> Duration {
        Duration::from_millis(self.now - self.process.started - self.process.slept)
    }

    /// When a timer fires that is set now for this moment.
    fn timer(&self, at: Moment) -> Duration {
        self.mono() + self.moment().until(at)
    }

    fn true_time(&self, mono: Duration) -> u64 {
        let mono = u64::try_from(mono.as_millis()).expect("a world ends before its clock does");
        self.process.started + self.process.slept + mono
    }

    fn moment(&self) -> Moment {
        let mono = self.mono();
        let wall = Timestamp::from_millis(EPOCH_MS + millis(self.now) + self.wall_offset);
        let heard = self.process.heard;
        let bank = heard.map_or(wall, |(date, at)| date.plus(mono.saturating_sub(at)));
        self.driver.clock(Moment { mono, wall, bank })
    }

    const fn has_faults(&self) -> bool {
        self.now < self.scenario.faults_until
    }

    fn strikes(&mut self, per_mille: u64) -> bool {
        self.has_faults() && self.rng.per_mille(per_mille)
    }

    fn note(&mut self, text: impl FnOnce(&Self) -> String) {
        if let Some(mut trace) = self.trace.take() {
            trace.push(format!("{:>12} ms  {}", self.now, text(self)));
            self.trace = Some(trace);
        }
    }

    // ---- blows --------------------------------------------------------------------------------

    fn blow(&mut self) -> Result<(), Violation> {
        let blow = self
            .scenario
            .blows
            .get(self.blows_done)
            .map(|(_, blow)| *blow);
        let blow = blow.expect("a blow is due");
        self.blows_done += 1;
        self.note(|_| format!("{blow:?}"));
        match blow {
            Blow::Kill => self.crash(),
            Blow::Pause(length) => self.process.paused_until = self.now + length,
            Blow::WallForward(by) => self.wall_offset += millis(by),
            Blow::WallBack(by) => self.wall_offset -= millis(by),
            Blow::Sleep(length) => {
                self.arrivals_until(self.now + length)?;
                self.now += length;
                self.process.slept += length;
            }
            Blow::Cancel(job) => self.cancel(job)?,
            Blow::AskNow => self.ask_now(),
            Blow::OthersTake => self.bank.room -= 1,
            Blow::OthersGive => self.bank.room += 1,
            Blow::Block(length) => self.bank.blocked_until = self.now + length,
            Blow::Outage(length) => self.bank.away_until = self.now + length,
        }
        Ok(())
    }

    /// A person has the bank asked at once about all that is in doubt.
    fn ask_now(&mut self) {
        let now = self.mono();
        for work in &mut self.work {
            if let Doing::AwaitingAsk(at) = &mut work.doing
                && now < *at
            {
                *at = now;
                work.asked_now = true;
            }
        }
    }

    fn cancel(&mut self, job: usize) -> Result<(), Violation> {
        self.facts_mut(job).cancelled = true;
        let progress = self.work(job).progress.as_ref();
        let settled = progress.is_none_or(|p| matches!(p.stage(), Stage::Settled(_)));
        if settled {
            return Ok(());
        }
        let action = self.advance(job, Event::Cancelled(self.moment()))?;
        if matches!(action, Action::Ask { .. }) {
            // The ask, or the write before it, is under way already.
            return Ok(());
        }
        self.act(job, action)
    }

    /// The process dies: what is not durable is gone; a commit under way may have been durable.
    fn crash(&mut self) {
        if self.start_at.is_some() {
            return;
        }
        self.figures.crashes += 1;
        self.note(|_| "the process dies".to_owned());
        for job in 0..self.jobs.len() {
            let work = std::mem::replace(self.work_mut(job), Work::none());
            if let Doing::Committing { write, .. } = work.doing
                && self.rng.per_mille(500)
            {
                self.make_durable(job, &write, work.unrecorded);
                self.note(|_| format!("job {job}: {write:?} turns out to be durable"));
            }
        }
        self.start_at = Some(self.now + self.rng.magnitude(2 * self.scenario.settle_ms));
    }

    fn start(&mut self) -> Result<(), Violation> {
        self.start_at = None;
        self.process = Process {
            life: self.process.life + 1,
            started: self.now,
            slept: 0,
            heard: None,
            paused_until: self.now,
            answers: 0,
            control_due: None,
        };
        self.note(|world| format!("process {} starts", world.process.life));
        for job in 0..self.jobs.len() {
            self.admit(job)?;
        }
        Ok(())
    }

    /// What a start finds in the ledger, or what the source offers again.
    fn admit(&mut self, job: usize) -> Result<(), Violation> {
        let facts = self.facts(job);
        if facts.outcome.is_some() {
            let until = self.now + self.rng.up_to(COMMIT_MAX_MS);
            self.work_mut(job).doing = Doing::Publishing {
                until,
                then_ask: None,
            };
            return Ok(());
        }
        let key = self.key(job);
        let mut progress = Progress::new(key, self.job(job).not_after);
        let at = self.moment();
        if facts.intent && self.driver != Driver::ForgetsTheLedger {
            let record = Record {
                attempts: facts.attempts,
                spent: facts.spent,
                refusal: facts
                    .refusal
                    .clone()
                    .filter(|_| self.driver != Driver::ForgetsTheRefusal),
                person_needed: facts.person_needed,
                same_bytes: !self.scenario.body_changes,
                closing: facts.cancelled.then_some(NotSentReason::Cancelled),
                reason: facts.doubt.unwrap_or(DoubtReason::Interrupted),
            };
            self.work_mut(job).progress = Some(progress);
            return self.tell(job, Event::Recovered { record, at });
        }
        if facts.cancelled {
            progress = progress.closing(NotSentReason::Cancelled);
        }
        let action = progress.first_action(at);
        self.work_mut(job).progress = Some(progress);
        self.act(job, action)
    }

    // ---- the bank -----------------------------------------------------------------------------

    fn arrivals_until(&mut self, until: u64) -> Result<(), Violation> {
        loop {
            let requests = self.bank.requests.iter().enumerate();
            let first = requests.min_by_key(|(_, request)| request.arrives);
            match first {
                Some((index, request)) if request.arrives <= until => self.arrival(index)?,
                Some(_) | None => return Ok(()),
            }
        }
    }

    fn arrival(&mut self, index: usize) -> Result<(), Violation> {
        let request = self.bank.requests.swap_remove(index);
        let job = request.job;
        let executed = self
            .bank
            .take(&self.scenario, &mut self.rng, &self.jobs, &request);
        self.note(|world| {
            let answer = world.bank.answers.last().map(|(_, answer)| answer.as_str());
            format!(
                "job {job}: the bank gets call {}: {answer:?}, executed: {executed}",
                request.call
            )
        });
        if !executed {
            return Ok(());
        }
        let applied = self.applied(job);
        if applied > 1 {
            return Err(broken(
                "I1",
                format!("job {job} was executed {applied} times"),
            ));
        }
        if let Some(outcome) = &self.facts(job).outcome {
            judge_outcome(outcome, applied)?;
        }
        Ok(())
    }

    fn call(&mut self, job: usize) -> Result<(), Violation> {
        self.calls += 1;
        self.figures.calls += 1;
        let call = self.calls;
        let attempts = self
            .work(job)
            .progress
            .as_ref()
            .map_or(0, Progress::attempts);
        let key = self.driver.key(self.job(job), self.key(job), attempts);
        let at = self.moment();
        let sending = Sending {
            now: self.now,
            life: self.process.life,
            window_ms: u64::try_from(self.scenario.rules.resend_window.as_millis())
                .expect("a window is short"),
            intent_is_durable: self.facts(job).intent,
            refusal_is_durable: self.facts(job).refusal.is_some(),
            person_is_called: self.facts(job).person_needed,
            body_changes: self.scenario.body_changes,
            expired: self.job(job).not_after.is_some_and(|end| at.is_after(end)),
            key,
            own_key: self.key(job),
        };
        let judgement = self.sends_mut(job).send(&sending);
        if self.judges_sends {
            judgement?;
        }
        let fate = self.fate();
        self.note(|_| format!("job {job}: call {call}, {fate:?}"));
        if let Some(after) = fate.arrives_after {
            self.bank.requests.push(Request {
                arrives: self.now + after,
                call,
                job,
                key,
            });
        }
        self.work_mut(job).doing = Doing::Calling {
            call,
            ends: self.now + fate.ends_after,
            told: fate.told,
        };
        Ok(())
    }

    /// What becomes of a call: whether and when it arrives, when it ends for us, and what it tells
    /// us, where that is not the bank's answer.
    fn fate(&mut self) -> Fate {
        let timeout = self.scenario.timeout_ms;
        let quick = self.rng.between(1, timeout / 10);
        let unclear = |cause| Some(Verdict::Unclear(Unclarity::new(cause)));
        let deferred = |deferral| Some(Verdict::Deferred(deferral));
        let chances = &self.scenario.chances;
        let (no_connection, unauthorised, rate_limit) = (
            chances.no_connection,
            chances.unauthorised,
            chances.rate_limit,
        );
        let (error_before, silence, conflict) =
            (chances.error_before, chances.silence, chances.conflict);
        let (reply_lost, error_after, late) =
            (chances.reply_lost, chances.error_after, chances.late);
        let away = self.now < self.bank.away_until && self.has_faults();
        if (away && self.rng.per_mille(500)) || self.strikes(no_connection) {
            return Fate::new(None, quick, deferred(Deferral::NoConnection));
        }
        if self.strikes(unauthorised) {
            let verdict = Deferral::CredentialRefused { log_id: None };
            return Fate::new(None, quick, deferred(verdict));
        }
        if self.strikes(rate_limit) {
            let retry_after = self
                .rng
                .per_mille(500)
                .then(|| Duration::from_millis(self.rng.magnitude(2_000_000)));
            return Fate::new(None, quick, deferred(Deferral::RateLimited { retry_after }));
        }
        if away || self.strikes(error_before) {
            return Fate::new(None, quick, unclear(UnclearCause::ServerError));
        }
        if self.strikes(silence) {
            return Fate::new(None, timeout, unclear(UnclearCause::Timeout));
        }
        if self.strikes(conflict) {
            let arrives = self.rng.per_mille(500).then_some(quick);
            return Fate::new(arrives, quick, unclear(UnclearCause::Conflict));
        }
        if self.strikes(reply_lost) {
            self.figures.lost_answers += 1;
            return Fate::new(Some(quick), timeout, unclear(UnclearCause::Timeout));
        }
        if self.strikes(error_after) {
            self.figures.lost_answers += 1;
            return Fate::new(Some(quick), quick, unclear(UnclearCause::ServerError));
        }
        if self.strikes(late) {
            let arrives = timeout + self.rng.between(1, self.scenario.late_max_ms);
            return Fate::new(Some(arrives), timeout, unclear(UnclearCause::Timeout));
        }
        Fate::new(Some(quick), quick, None)
    }

    fn call_ended(
        &mut self,
        job: usize,
        call: u64,
        told: Option<Verdict>,
    ) -> Result<(), Violation> {
        let answers = &mut self.bank.answers;
        let position = answers.iter().position(|(of, _)| *of == call);
        let answer = position.map(|index| answers.swap_remove(index).1);
        let verdict = told.or(answer).expect("a call without a fate is answered");
        self.note(|_| format!("job {job}: told {}", verdict.as_str()));
        match &verdict {
            Verdict::Deferred(deferral) => {
                self.sends_mut(job).deferred();
                if matches!(deferral, Deferral::CredentialRefused { .. }) {
                    self.process.paused_until =
                        self.now + self.rng.magnitude(self.scenario.settle_ms);
                }
            }
            Verdict::Accepted { .. } | Verdict::Refused(_) => {
                let date = Timestamp::from_millis(EPOCH_MS + millis(self.now));
                self.process.heard = Some((date, self.mono()));
                self.process.answers += 1;
            }
            Verdict::Unclear(unclarity) => {
                if unclarity.cause == UnclearCause::Conflict {
                    self.sends_mut(job).conflicting();
                }
            }
        }
        if matches!(verdict, Verdict::Accepted { .. }) && !self.control {
            self.process.control_due = Some((self.now, job));
        }
        let others = self.process.answers > self.work(job).answers_seen;
        let bank_answers = others || self.scenario.other_traffic;
        self.work_mut(job).answers_seen = self.process.answers;
        let unclear_before = self.may_have_been_executed(job);
        if let Some(outcome) = self.driver.jumps_to(&verdict, unclear_before) {
            return self.act(job, Action::Settle(outcome));
        }
        let spent_before = self.spent(job);
        let verdict = self.driver.hears(verdict);
        let refusal = match &verdict {
            Verdict::Refused(refusal) => Some(refusal.clone()),
            Verdict::Accepted { .. } | Verdict::Deferred(_) | Verdict::Unclear(_) => None,
        };
        let at = self.moment();
        let unrecorded = &mut self.work_mut(job).unrecorded;
        unrecorded.0 += 1;
        unrecorded.2 = refusal.or(unrecorded.2.take());
        self.advance(
            job,
            Event::Told {
                verdict,
                at,
                bank_answers,
            },
        )
        .and_then(|action| {
            let spent = self.spent(job) - spent_before;
            self.work_mut(job).unrecorded.1 += spent;
            self.act(job, action)
        })
    }

    fn look_for_control(&mut self) {
        let Some((_, job)) = self.process.control_due.take() else {
            return;
        };
        let unreadable = self.scenario.chances.unreadable_list;
        let list = self.bank.list(self.now);
        if !self.strikes(unreadable) && returns_entity_id(self.job(job), &list) {
            self.control = true;
            self.note(|_| "the positive control is on record".to_owned());
        } else {
            // Each wait longer than the last: a list that mangles ids never shows the control.
            let wait = self.scenario.settle_ms / 5 + (self.now - self.process.started) / 4;
            self.process.control_due = Some((self.now + wait, job));
        }
    }

    // ---- the driver ---------------------------------------------------------------------------

    fn advance(&mut self, job: usize, event: Event) -> Result<Action, Violation> {
        let progress = self.work_mut(job).progress.take();
        let progress = progress.expect("an event is for a job under way");
        let before = format_if(self.trace.is_some(), || format!("{event:?}"));
        let (progress, action) = advance(&self.rules, progress, event)
            .map_err(|illegal| broken("the rules", illegal.to_string()))?;
        self.note(|_| format!("job {job}: {before}\n{:>19}→ {action:?}", ""));
        self.work_mut(job).progress = Some(progress);
        Ok(action)
    }

    fn tell(&mut self, job: usize, event: Event) -> Result<(), Violation> {
        let action = self.advance(job, event)?;
        self.act(job, action)
    }

    fn act(&mut self, job: usize, action: Action) -> Result<(), Violation> {
        let write = match action {
            Action::Keep => return Ok(()),
            Action::Prove | Action::GiveBack => {
                return Err(broken("I6", "a first generation was taken for a later one"));
            }
            Action::AwaitTurn {
                not_before,
                deadline,
            } => {
                let turn = not_before
                    .map_or(self.mono(), |at| at.mono)
                    .max(self.mono());
                let turn =
                    turn + Duration::from_millis(self.rng.up_to(self.scenario.settle_ms / 100));
                let deadline = deadline.map(|at| self.timer(at));
                self.work_mut(job).doing = Doing::AwaitingTurn { turn, deadline };
                return Ok(());
            }
            Action::Call => return self.call(job),
            Action::Ask { at } => {
                self.work_mut(job).doing = Doing::AwaitingAsk(self.timer(at));
                return Ok(());
            }
            Action::RecordIntent if self.driver == Driver::SendsBeforeTheIntent => {
                let durable_at = self.now + self.rng.up_to(COMMIT_MAX_MS);
                self.work_mut(job).late_intent = Some(durable_at);
                return self.tell(job, Event::IntentDurable(self.moment()));
            }
            Action::RecordIntent => Write::Intent,
            Action::EnterDoubt { reason, ask_at } => Write::Doubt(reason, ask_at),
            Action::CallPerson { ask_at } => Write::Person(ask_at),
            Action::Settle(outcome) => {
                if self.driver == Driver::PublishesBeforeTheLedger {
                    self.publish(job, &outcome)?;
                }
                Write::Outcome(outcome)
            }
        };
        let until = self.now + self.rng.up_to(COMMIT_MAX_MS);
        self.work_mut(job).doing = Doing::Committing { write, until };
        Ok(())
    }

    /// Goes on with a job, unless the process dies at this step.
    fn go_on(&mut self, job: usize) -> Result<(), Violation> {
        let chance = self.scenario.chances.crash_at_step;
        if self.strikes(chance) {
            self.crash();
            return Ok(());
        }
        match std::mem::replace(&mut self.work_mut(job).doing, Doing::Nothing) {
            Doing::Nothing | Doing::Finished => Ok(()),
            Doing::AwaitingTurn { turn, deadline } => self.turn(job, turn, deadline),
            Doing::Committing { write, .. } => self.committed(job, write),
            Doing::Calling { call, told, .. } => self.call_ended(job, call, told),
            Doing::AwaitingAsk(_) => {
                self.begin_ask(job);
                Ok(())
            }
            Doing::Asking {
                began,
                began_true,
                list,
                ..
            } => self.asked(job, began, began_true, list),
            Doing::Publishing { then_ask, .. } => self.published(job, then_ask),
        }
    }

    fn turn(
        &mut self,
        job: usize,
        turn: Duration,
        deadline: Option<Duration>,
    ) -> Result<(), Violation> {
        if deadline.is_some_and(|deadline| deadline <= turn) {
            return self.tell(job, Event::Overdue(self.moment()));
        }
        if self.now < self.process.paused_until {
            let pause = Duration::from_millis(self.process.paused_until - self.now);
            let turn = self.mono() + pause;
            self.work_mut(job).doing = Doing::AwaitingTurn { turn, deadline };
            return Ok(());
        }
        self.tell(job, Event::Turn(self.moment()))
    }

    fn committed(&mut self, job: usize, write: Write) -> Result<(), Violation> {
        let unrecorded = std::mem::take(&mut self.work_mut(job).unrecorded);
        self.make_durable(job, &write, unrecorded);
        let chance = self.scenario.chances.crash_at_step;
        if self.strikes(chance) {
            self.crash();
            return Ok(());
        }
        match write {
            Write::Intent => self.tell(job, Event::IntentDurable(self.moment())),
            Write::Doubt(_, ask_at) => {
                self.figures.doubts += 1;
                self.publish_soon(job, Some(ask_at));
                Ok(())
            }
            Write::Person(ask_at) => {
                self.figures.person_needed += 1;
                self.work_mut(job).doing = Doing::AwaitingAsk(self.timer(ask_at));
                if self.scenario.list_tells_all() {
                    return Err(broken(
                        "I13",
                        "a person is called, though the list tells all",
                    ));
                }
                Ok(())
            }
            Write::Outcome(outcome) => {
                judge_outcome(&outcome, self.applied(job))?;
                self.publish_soon(job, None);
                Ok(())
            }
        }
    }

    fn make_durable(&mut self, job: usize, write: &Write, unrecorded: (u32, u32, Option<Refusal>)) {
        let facts = self.facts_mut(job);
        let (attempts, spent, refusal) = unrecorded;
        match write {
            Write::Intent => facts.intent = true,
            Write::Person(_) => facts.person_needed = true,
            Write::Doubt(reason, _) => {
                facts.doubt.get_or_insert(*reason);
            }
            Write::Outcome(outcome) => {
                facts.outcome.get_or_insert_with(|| outcome.clone());
            }
        }
        if matches!(write, Write::Doubt(..) | Write::Outcome(_)) {
            facts.attempts += attempts;
            facts.spent += spent;
            facts.refusal = refusal.or(facts.refusal.take());
        }
    }

    fn publish_soon(&mut self, job: usize, then_ask: Option<Moment>) {
        let until = self.now + self.rng.up_to(COMMIT_MAX_MS);
        self.work_mut(job).doing = Doing::Publishing { until, then_ask };
    }

    /// Publishes what the ledger keeps, then answers the receipt.
    fn published(&mut self, job: usize, then_ask: Option<Moment>) -> Result<(), Violation> {
        if let Some(outcome) = self.facts(job).outcome.clone() {
            self.publish(job, &outcome)?;
        }
        let chance = self.scenario.chances.crash_at_step;
        if self.strikes(chance) {
            self.crash();
            return Ok(());
        }
        self.facts_mut(job).receipt_done = true;
        self.work_mut(job).doing = match then_ask {
            Some(at) => Doing::AwaitingAsk(self.timer(at)),
            None => Doing::Finished,
        };
        Ok(())
    }

    fn publish(&mut self, job: usize, outcome: &Outcome) -> Result<(), Violation> {
        let published = self.published.get_mut(job).expect("a job of this world");
        let before = published.get_or_insert_with(|| outcome.clone());
        if before != outcome {
            let what = format!("published {before:?}, then {outcome:?}");
            return Err(broken("I4", what));
        }
        judge_outcome(outcome, self.applied(job))
    }

    fn begin_ask(&mut self, job: usize) {
        self.figures.asks += 1;
        let began = self.moment();
        let early = self.rng.per_mille(500).then(|| self.bank.list(self.now));
        let ends = self.now + self.rng.between(1, self.scenario.timeout_ms);
        self.work_mut(job).doing = Doing::Asking {
            began,
            began_true: self.now,
            ends,
            list: early,
        };
    }

    fn asked(
        &mut self,
        job: usize,
        began: Moment,
        began_true: u64,
        list: Option<Vec<ListedOperation>>,
    ) -> Result<(), Violation> {
        let away = self.now < self.bank.away_until && self.has_faults();
        let chance = self.scenario.chances.unreadable_list;
        let finding = if away || self.strikes(chance) {
            Finding::Unreadable
        } else {
            let list = list.unwrap_or_else(|| self.bank.list(self.now));
            find(self.job(job), &list)
        };
        let waits = self.facts(job).person_needed && !self.has_faults();
        self.work_mut(job).asks_after_person += u32::from(waits);
        let absent = finding == Finding::Absent;
        if absent && self.control {
            let (life, now, settle) = (self.process.life, self.now, self.scenario.settle_ms);
            self.sends_mut(job).absent(life, began_true, now, settle);
        }
        let control = self.control || self.driver == Driver::AssumesTheControl;
        let ended = self.moment();
        let unscheduled = std::mem::take(&mut self.work_mut(job).asked_now);
        let event = |began, ended| Event::Asked {
            unscheduled,
            finding: finding.clone(),
            control,
            began,
            ended,
        };
        if absent && self.driver == Driver::BelievesOneEarlyAbsence {
            let later = began.plus(self.rules.asks.settle_delay());
            let latest = later.plus(self.rules.asks.second_absence());
            let action = self.advance(job, event(later, later))?;
            let in_doubt = matches!(action, Action::Ask { .. });
            return if in_doubt {
                self.tell(job, event(latest, latest))
            } else {
                self.act(job, action)
            };
        }
        self.tell(job, event(began, ended))
    }

    // ---- the end ------------------------------------------------------------------------------

    fn judge_the_end(&mut self) -> Result<(), Violation> {
        for job in 0..self.jobs.len() {
            let applied = self.applied(job);
            let facts = self.facts(job);
            if !facts.receipt_done {
                return Err(broken("I3", "a job is over, and its receipt is open"));
            }
            let Some(outcome) = facts.outcome.clone() else {
                continue;
            };
            judge_outcome(&outcome, applied)?;
            match outcome.status() {
                Status::Succeeded => self.figures.succeeded += 1,
                Status::Rejected => self.figures.rejected += 1,
                Status::NotSent => self.figures.not_sent += 1,
                Status::InDoubt | Status::Invalid | Status::Conflict | Status::Waiting => {
                    return Err(broken(
                        "I4",
                        format!("{outcome:?} is no final outcome of a job"),
                    ));
                }
            }
            if self.published.get(job) != Some(&Some(outcome)) {
                return Err(broken("I4", "the final outcome was not published"));
            }
        }
        Ok(())
    }

    // ---- the jobs by number -------------------------------------------------------------------

    fn job(&self, job: usize) -> &Job {
        self.jobs.get(job).expect("a job of this world")
    }

    fn key(&self, job: usize) -> IdempotencyKey {
        *self.keys.get(job).expect("a job of this world")
    }

    fn facts(&self, job: usize) -> &Facts {
        self.facts.get(job).expect("a job of this world")
    }

    fn facts_mut(&mut self, job: usize) -> &mut Facts {
        self.facts.get_mut(job).expect("a job of this world")
    }

    fn work(&self, job: usize) -> &Work {
        self.work.get(job).expect("a job of this world")
    }

    fn work_mut(&mut self, job: usize) -> &mut Work {
        self.work.get_mut(job).expect("a job of this world")
    }

    fn doing(&self, job: usize) -> &Doing {
        &self.work(job).doing
    }

    fn sends_mut(&mut self, job: usize) -> &mut Sends {
        self.sends.get_mut(job).expect("a job of this world")
    }

    fn applied(&self, job: usize) -> u32 {
        *self.bank.applied.get(job).expect("a job of this world")
    }

    fn spent(&self, job: usize) -> u32 {
        self.work(job).progress.as_ref().map_or(0, Progress::spent)
    }

    fn may_have_been_executed(&self, job: usize) -> bool {
        let progress = self.work(job).progress.as_ref();
        progress.is_some_and(Progress::may_have_been_executed)
    }
}

/// What becomes of a call.
#[derive(Debug)]
struct Fate {
    arrives_after: Option<u64>,
    ends_after: u64,
    told: Option<Verdict>,
}

impl Fate {
    const fn new(arrives_after: Option<u64>, ends_after: u64, told: Option<Verdict>) -> Self {
        Self {
            arrives_after,
            ends_after,
            told,
        }
    }
}

fn format_if(wanted: bool, text: impl FnOnce() -> String) -> String {
    if wanted { text() } else { String::new() }
}
