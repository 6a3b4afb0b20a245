//! One seeded world: a bank, a broker, a ledger, people, a process that may die at every step, and clocks.
//!
//! *What it promises.* Single-threaded and in virtual time; the same seed is the same world. Every
//! decision about a job is taken by the real `advance`, every verdict by the real `classify`, every list
//! is read by the real `Walk` and `find`; what is here only does what these say, as the engine must.
//! First there are faults, then there are none, and all must settle.
//!
//! *What it refuses to know.* Lanes, holding and batches: the jobs of a world are of one card and fly
//! beside each other, which is harder on the bank's list and says nothing about their order.

use std::rc::Rc;
use std::time::Duration;

use tanda::domain::listing::ListedOperation;
use tanda::domain::outcome::Outcome;
use tanda::domain::progress::{Progress, Rules};
use tanda::domain::time::{Moment, Timestamp};

use crate::bank::{Bank, Edition};
use crate::blows::Blow;
use crate::broker::{Broker, Message, Place};
use crate::cast::{self, Content, JOBS_MAX, Part};
use crate::figures::Figures;
use crate::ledger::Ledger;
use crate::mutant::Mutant;
use crate::oracle::{Truth, Violation, Watched, broken, judge_outcome};
use crate::plan::{DAY_MS, Plan};
use crate::rng::Rng;
use crate::story::plain;

mod admission;
mod asks;
mod calls;
mod end;
mod flight;
mod life;
mod people;
mod publish;

use self::flight::{Doing, Flight};
use self::people::Wish;
use self::publish::Publisher;

/// Wall time at the beginning of every world, in milliseconds since the epoch.
const EPOCH_MS: i64 = 1_800_000_000_000;
/// A world that takes more steps than this does not settle.
const STEPS_MAX: u64 = 20_000;
/// A commit, an acknowledgement or a confirm takes at most this long, in milliseconds.
const STEP_MAX_MS: u64 = 50;
/// A job that waits for a person is watched for so many asks more: it must only be asked about.
const ASKS_AFTER_PERSON: u32 = 3;

/// The process; lost when it dies.
#[derive(Debug)]
struct Process {
    life: u32,
    /// When it began, by its own clocks.
    began: Moment,
    started: u64,
    slept: u64,
    /// The bank's last `Date`, and when it came, by the monotonic clock.
    heard: Option<(Timestamp, Duration)>,
    paused_until: u64,
    /// How many jobs the bank answered.
    answers: u64,
    token_is_proven: bool,
    control_due: Option<(u64, usize)>,
    /// Since when it consumes.
    connected_at: u64,
}

impl Process {
    const fn new(life: u32, now: u64) -> Self {
        Self {
            life,
            began: Moment {
                mono: Duration::ZERO,
                wall: Timestamp::from_millis(EPOCH_MS),
                bank: Timestamp::from_millis(EPOCH_MS),
            },
            started: now,
            slept: 0,
            heard: None,
            paused_until: now,
            answers: 0,
            token_is_proven: false,
            control_due: None,
            connected_at: now,
        }
    }
}

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Arrival(usize),
    Blow,
    Acked(usize),
    Start,
    Delivery(usize),
    Publish,
    Confirm,
    Control,
    LateIntent(usize),
    Job(usize),
}

/// The first of what is due.
#[derive(Debug)]
struct First(Option<(u64, Next)>);

impl First {
    const fn offer(&mut self, due: u64, next: Next) {
        match self.0 {
            Some((first, _)) if first <= due => {}
            _ => self.0 = Some((due, next)),
        }
    }
}

/// One world.
pub(crate) struct World {
    plan: Plan,
    mutant: Mutant,
    rng: Rng,
    rules: Rules,
    now: u64,
    wall_offset: i64,
    /// The latest that any clock of ours showed.
    latest: Timestamp,
    bank: Bank,
    /// The last list that was read whole.
    last_read: Option<(Edition, Rc<[ListedOperation]>)>,
    broker: Broker,
    ledger: Ledger,
    backup: Option<Ledger>,
    process: Process,
    start_at: Option<u64>,
    flights: [Option<Box<Flight>>; JOBS_MAX],
    publisher: Publisher,
    wishes: Vec<Wish>,
    rules_at_end: bool,
    blows_done: usize,
    calls: u64,
    watched: [Watched; JOBS_MAX],
    judges_procedure: bool,
    figures: Figures,
    trace: Option<Vec<String>>,
}

/// Runs the world of a seed to its end.
pub(crate) fn run(seed: u64, mutant: Mutant) -> Result<Figures, Violation> {
    let mut world = World::new(seed, mutant);
    world.run().map(|()| world.figures)
}

/// The same, judged by the bank's books and by what readers were told alone: no step is judged before it
/// does harm.
pub(crate) fn run_by_the_books(seed: u64, mutant: Mutant) -> Result<Figures, Violation> {
    let mut world = World::new(seed, mutant);
    world.judges_procedure = false;
    world.run().map(|()| world.figures)
}

/// The story of a seed, line by line, and how it ended.
pub(crate) fn story(
    seed: u64,
    mutant: Mutant,
    by_the_books: bool,
) -> (Vec<String>, Result<(), Violation>) {
    let mut world = World::new(seed, mutant);
    world.judges_procedure = !by_the_books;
    world.trace = Some(vec![format!("{:#?}", world.plan)]);
    let end = world.run();
    (world.trace.unwrap_or_default(), end)
}

fn millis(time: u64) -> i64 {
    i64::try_from(time).expect("a world ends before its clock does")
}

impl World {
    fn new(seed: u64, mutant: Mutant) -> Self {
        let mut rng = Rng::new(seed);
        let plan = Plan::draw(&mut rng);
        let offered = plan.offered.iter().take(plan.jobs).enumerate();
        let messages = offered.map(|(job, at)| Message {
            job,
            content: Content::First,
            place: Place::Queued(*at),
            redelivered: false,
        });
        let mut ledger = Ledger::default();
        ledger.control = plan.control_known;
        Self {
            rules: mutant.rules(plan.rules),
            bank: Bank::new(&plan),
            last_read: None,
            broker: Broker::new(messages.collect()),
            ledger,
            backup: None,
            process: Process::new(0, 0),
            start_at: Some(0),
            flights: [const { None }; JOBS_MAX],
            publisher: Publisher::default(),
            wishes: Vec::new(),
            rules_at_end: plan.person_rules_at_end,
            now: 0,
            wall_offset: 0,
            latest: Timestamp::from_millis(EPOCH_MS),
            blows_done: 0,
            calls: 0,
            watched: std::array::from_fn(|_| Watched::default()),
            judges_procedure: true,
            figures: Figures::default(),
            trace: None,
            plan,
            mutant,
            rng,
        }
    }

    // ---- the clock ----------------------------------------------------------------------------

    fn run(&mut self) -> Result<(), Violation> {
        let horizon = self.plan.faults_until + 8 * DAY_MS;
        self.figures.worlds += 1;
        while !self.is_over() {
            if !self.wishes.is_empty() && self.start_at.is_none() {
                self.attend_to_wishes()?;
                continue;
            }
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

    fn next(&self) -> Option<(u64, Next)> {
        let mut first = First(None);
        for (index, request) in self.bank.requests.iter().enumerate() {
            first.offer(request.arrives, Next::Arrival(index));
        }
        if let Some((at, _)) = self.plan.blows.get(self.blows_done) {
            first.offer(*at, Next::Blow);
        }
        for (index, message) in self.broker.messages.iter().enumerate() {
            match message.place {
                Place::Acking(at) => first.offer(at, Next::Acked(index)),
                Place::Queued(at) if self.start_at.is_none() => {
                    first.offer(at.max(self.process.connected_at), Next::Delivery(index));
                }
                Place::Queued(_) | Place::Delivered | Place::Gone => {}
            }
        }
        match self.start_at {
            Some(at) => first.offer(at, Next::Start),
            None => self.offer_of_process(&mut first),
        }
        first.0
    }

    fn offer_of_process(&self, first: &mut First) {
        if let Some((at, _)) = self.process.control_due {
            first.offer(at, Next::Control);
        }
        match self.publisher.batch_ends {
            Some(at) => first.offer(at, Next::Confirm),
            None => {
                if let Some(at) = self.publisher.earliest() {
                    first.offer(at, Next::Publish);
                }
            }
        }
        for (job, flight) in self.flights.iter().enumerate() {
            let Some(flight) = flight else { continue };
            if let Some(at) = flight.late_intent {
                first.offer(at, Next::LateIntent(job));
            }
            if let Some(at) = self.due(flight) {
                first.offer(at, Next::Job(job));
            }
        }
    }

    fn due(&self, flight: &Flight) -> Option<u64> {
        match &flight.doing {
            Doing::Nothing | Doing::Publishing => None,
            Doing::AwaitingTurn { turn, deadline } => {
                Some(self.true_time(deadline.map_or(*turn, |deadline| deadline.min(*turn))))
            }
            Doing::AwaitingAsk(at) => Some(self.true_time(*at)),
            Doing::Committing { until, .. } => Some(*until),
            Doing::Calling { ends, .. } | Doing::Asking { ends, .. } => Some(*ends),
        }
    }

    fn happen(&mut self, next: Next) -> Result<(), Violation> {
        match next {
            Next::Arrival(index) => self.arrival(index),
            Next::Blow => self.blow(),
            Next::Acked(index) => {
                self.broker.message_mut(index).place = Place::Gone;
                self.note(|_| format!("the broker forgets message {index}"));
                Ok(())
            }
            Next::Start => self.start(),
            Next::Delivery(index) => self.deliver(index),
            Next::Publish => self.publish_batch(),
            Next::Confirm => self.batch_ended(),
            Next::Control => {
                self.look_for_control();
                Ok(())
            }
            Next::LateIntent(job) => {
                self.late_intent_is_durable(job);
                Ok(())
            }
            Next::Job(job) => self.go_on(job),
        }
    }

    fn mono(&self) -> Duration {
        Duration::from_millis(self.now - self.process.started - self.process.slept)
    }

    /// When a timer fires that is set now for this moment.
    fn timer(&mut self, at: Moment) -> Duration {
        let now = self.moment();
        self.mono() + now.until(at)
    }

    fn true_time(&self, mono: Duration) -> u64 {
        let mono = u64::try_from(mono.as_millis()).expect("a world ends before its clock does");
        self.process.started + self.process.slept + mono
    }

    fn moment(&mut self) -> Moment {
        let mono = self.mono();
        let wall = Timestamp::from_millis(EPOCH_MS + millis(self.now) + self.wall_offset);
        let heard = self.process.heard;
        let bank = heard.map_or(wall, |(date, at)| date.plus(mono.saturating_sub(at)));
        self.latest = self.latest.max(wall).max(bank);
        self.mutant.clock(Moment { mono, wall, bank })
    }

    /// The bank's time.
    fn bank_time(&self) -> Timestamp {
        Timestamp::from_millis(EPOCH_MS + millis(self.now))
    }

    /// The end that a job of this world has, if it has one.
    fn not_after(&self, job: usize) -> Option<Timestamp> {
        let expiry = self.plan.expiries.get(job).copied().flatten();
        expiry.map(|after| Timestamp::from_millis(EPOCH_MS + millis(after)))
    }

    /// The end that the rules are told of.
    fn told_end(&self, job: usize) -> Option<Timestamp> {
        self.not_after(job)
            .filter(|_| self.mutant != Mutant::IgnoresTheExpiry)
    }

    const fn has_faults(&self) -> bool {
        self.now < self.plan.faults_until
    }

    fn strikes(&mut self, per_mille: u64) -> bool {
        self.has_faults() && self.rng.per_mille(per_mille)
    }

    fn note(&mut self, text: impl FnOnce(&Self) -> String) {
        if let Some(mut trace) = self.trace.take() {
            trace.push(plain(&format!("{:>12} ms  {}", self.now, text(self))));
            self.trace = Some(trace);
        }
    }

    // ---- blows --------------------------------------------------------------------------------

    fn blow(&mut self) -> Result<(), Violation> {
        let blow = self.plan.blows.get(self.blows_done);
        let (_, blow) = *blow.expect("a blow is due");
        self.blows_done += 1;
        self.note(|_| format!("{blow:?}"));
        match blow {
            Blow::Kill => self.crash(),
            Blow::Panic(job) => self.panic(job)?,
            Blow::Pause(length) => self.process.paused_until = self.now + length,
            Blow::WallForward(by) => self.wall_offset += millis(by),
            Blow::WallBack(by) => self.wall_offset -= millis(by),
            Blow::Sleep(length) => self.sleep(length)?,
            Blow::Cut => self.lose_connection(),
            Blow::Duplicate(job) => self.enqueue(job, Content::First),
            Blow::Copy(job) => self.enqueue(job, Content::Other),
            Blow::TooOld(job) => self.delivery_too_old(job)?,
            Blow::Backup => self.backup = Some(self.ledger.clone()),
            Blow::Lose => self.lose_ledger(None),
            Blow::Restore => {
                let backup = self.backup.clone();
                self.lose_ledger(backup);
            }
            Blow::Cancel(job) => self.wish(Wish::Cancel(job))?,
            Blow::AskNow => self.wish(Wish::AskNow)?,
            Blow::Rule(job) => self.wish_ruling(job)?,
            Blow::Again(job, content) => self.wish(Wish::Again(job, content))?,
            Blow::OthersTake => self.bank.room -= 1,
            Blow::OthersGive => self.bank.room += 1,
            Blow::Block(length) => self.bank.blocked_until = self.now + length,
            Blow::Unknown(length) => self.bank.unknown_until = self.now + length,
            Blow::Outage(length) => self.bank.away_until = self.now + length,
        }
        Ok(())
    }

    fn sleep(&mut self, length: u64) -> Result<(), Violation> {
        self.arrivals_until(self.now + length)?;
        self.now += length;
        self.process.slept += length;
        Ok(())
    }

    fn enqueue(&mut self, job: usize, content: Content) {
        self.broker.messages.push(Message {
            job,
            content,
            place: Place::Queued(self.now),
            redelivered: false,
        });
    }

    // ---- what is true of a job ----------------------------------------------------------------

    fn part(&self, job: usize) -> &'static Part {
        cast::part(self.plan.first_part, job)
    }

    fn flight(&self, job: usize) -> Option<&Flight> {
        self.flights.get(job).and_then(Option::as_deref)
    }

    /// The flight of a job that has one.
    fn flight_mut(&mut self, job: usize) -> &mut Flight {
        let flight = self.flights.get_mut(job).and_then(Option::as_deref_mut);
        flight.expect("a step is of a job under way")
    }

    fn progress(&self, job: usize) -> Option<&Progress> {
        self.flight(job).and_then(|flight| flight.progress.as_ref())
    }

    fn watched(&mut self, job: usize) -> &mut Watched {
        self.watched.get_mut(job).expect("a job of this world")
    }

    /// How often a job was executed, under whichever generation.
    fn applied(&self, job: usize) -> u32 {
        let generations = self.bank.applied.get(job);
        generations.expect("a job of this world").iter().sum()
    }

    fn judge(&self, job: usize, generation: usize, outcome: &Outcome) -> Result<(), Violation> {
        let watched = self.watched.get(job).expect("a job of this world");
        let refused = self.bank.refused.get(job).copied().unwrap_or_default();
        let generations = self.bank.applied.get(job);
        let applied_as_this = generations.and_then(|of| of.get(generation)).copied();
        let truth = Truth {
            applied: self.applied(job),
            applied_as_this: applied_as_this.unwrap_or_default(),
            refused,
            spent: watched.spent.get(generation).copied().unwrap_or_default(),
            attempts_max: self.plan.rules.max_attempts,
            cancelled: watched.cancelled,
            person_errs: watched.person_errs,
            panics: watched.panics,
            expired: self.not_after(job).is_some_and(|end| self.latest > end),
        };
        judge_outcome(outcome, truth)
    }
}
