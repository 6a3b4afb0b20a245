//! One job's flight: it does what the rules say, and makes durable what must be.

use std::time::Duration;

use tanda::domain::outcome::{DoubtReason, Outcome, Status};
use tanda::domain::progress::{Action, Event, Progress, Stage, advance};
use tanda::domain::time::Moment;
use tanda::domain::verdict::Refusal;

use super::asks::{Asking, Purpose};
use super::publish::{After, Publication};
use super::{STEP_MAX_MS, World};
use crate::answers::Heard;
use crate::cast::Content;
use crate::ledger::Body;
use crate::mutant::Mutant;
use crate::oracle::{Violation, broken};

/// A write under way.
#[derive(Clone, Debug)]
pub(super) enum Write {
    Intent,
    Doubt(DoubtReason, Moment),
    Person(Moment),
    End(Outcome),
}

/// How a commit ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Commit {
    Done,
    /// It failed, and happened all the same.
    FailedYetHappened,
    Failed,
}

impl Commit {
    pub(super) const fn is_durable(self) -> bool {
        matches!(self, Self::Done | Self::FailedYetHappened)
    }
}

/// What the process does about a job; lost when it dies.
#[derive(Debug)]
pub(super) enum Doing {
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
        /// What comes back, where that is not the bank's answer.
        told: Option<Heard>,
    },
    AwaitingAsk(Duration),
    Asking {
        asking: Asking,
        ends: u64,
    },
    Publishing,
}

/// What the process knows of a job; lost when it dies.
#[derive(Debug)]
pub(super) struct Flight {
    pub(super) generation: usize,
    pub(super) content: Content,
    /// What it is to say, whatever moved.
    pub(super) wanted: Content,
    pub(super) progress: Option<Progress>,
    pub(super) doing: Doing,
    /// Deliveries to be answered, a bit each.
    pub(super) receipts: u32,
    /// Every receipt that it had has become void.
    pub(super) is_lost: bool,
    /// An outcome of it is durable and confirmed: whoever comes later is answered at once.
    pub(super) is_told: bool,
    /// Whether a delivery of it had been delivered before.
    pub(super) redelivered: bool,
    pub(super) unrecorded: Unrecorded,
    pub(super) answers_seen: u64,
    pub(super) late_intent: Option<u64>,
    pub(super) asks_after_person: u32,
    /// Since when no request of it has been on its way, by the monotonic clock.
    pub(super) quiet_since: Duration,
}

/// Attempts not yet on record.
#[derive(Clone, Debug, Default)]
pub(super) struct Unrecorded {
    pub(super) attempts: u32,
    pub(super) spent: u32,
    pub(super) refusal: Option<Refusal>,
}

impl Flight {
    pub(super) const fn new(generation: usize, content: Content, progress: Progress) -> Self {
        Self {
            generation,
            content,
            wanted: content,
            progress: Some(progress),
            doing: Doing::Nothing,
            receipts: 0,
            is_lost: false,
            is_told: false,
            redelivered: false,
            unrecorded: Unrecorded {
                attempts: 0,
                spent: 0,
                refusal: None,
            },
            answers_seen: 0,
            late_intent: None,
            asks_after_person: 0,
            quiet_since: Duration::ZERO,
        }
    }
}

impl World {
    pub(super) fn advance(&mut self, job: usize, event: Event) -> Result<Action, Violation> {
        let progress = self.flight_mut(job).progress.take();
        let progress = progress.expect("an event is for a job under way");
        let is_told = self.trace.is_some();
        let before = if is_told {
            format!("{event:?}")
        } else {
            String::new()
        };
        let (progress, action) = advance(&self.rules, progress, event)
            .map_err(|illegal| broken("the rules", illegal.to_string()))?;
        self.note(|_| format!("job {job}: {before}\n{:>19}→ {action:?}", ""));
        self.flight_mut(job).progress = Some(progress);
        Ok(action)
    }

    pub(super) fn tell(&mut self, job: usize, event: Event) -> Result<(), Violation> {
        let action = self.advance(job, event)?;
        self.act(job, action)
    }

    pub(super) fn act(&mut self, job: usize, action: Action) -> Result<(), Violation> {
        let write = match action {
            Action::Keep => return Ok(()),
            Action::Prove => {
                self.begin_ask(job, Purpose::Proof);
                return Ok(());
            }
            Action::GiveBack => {
                if let Some(flight) = self.end_flight(job) {
                    self.broker.requeue(flight.receipts, self.now);
                }
                return Ok(());
            }
            Action::AwaitTurn {
                not_before,
                deadline,
            } => {
                let now = self.mono();
                let turn = not_before.map_or(now, |at| self.timer(at));
                let slack = self.rng.up_to(self.plan.settle_ms / 100);
                let turn = turn + Duration::from_millis(slack);
                let deadline = deadline.map(|at| self.timer(at));
                self.flight_mut(job).doing = Doing::AwaitingTurn { turn, deadline };
                return Ok(());
            }
            Action::Call => return self.call(job),
            Action::Ask { at } => {
                self.await_ask(job, at);
                return Ok(());
            }
            Action::RecordIntent if self.mutant == Mutant::SendsBeforeTheIntent => {
                let durable_at = self.now + self.rng.up_to(STEP_MAX_MS);
                self.flight_mut(job).late_intent = Some(durable_at);
                let at = self.moment();
                return self.tell(job, Event::IntentDurable(at));
            }
            Action::RecordIntent => Write::Intent,
            Action::EnterDoubt { reason, ask_at } => Write::Doubt(reason, ask_at),
            Action::CallPerson { ask_at } => Write::Person(ask_at),
            Action::Settle(outcome) => Write::End(outcome),
        };
        if let (Write::End(outcome), Mutant::PublishesBeforeTheLedger) = (&write, self.mutant) {
            let outcome = outcome.clone();
            self.publish_too_early(job, outcome);
        }
        let until = self.now + self.rng.up_to(STEP_MAX_MS);
        self.flight_mut(job).doing = Doing::Committing { write, until };
        Ok(())
    }

    pub(super) fn await_ask(&mut self, job: usize, at: Moment) {
        let at = self.timer(at);
        self.flight_mut(job).doing = Doing::AwaitingAsk(at);
    }

    /// Goes on with a job, unless the process dies at this step.
    pub(super) fn go_on(&mut self, job: usize) -> Result<(), Violation> {
        if self.strikes(self.plan.chances.crash_at_step) {
            self.crash();
            return Ok(());
        }
        match std::mem::replace(&mut self.flight_mut(job).doing, Doing::Nothing) {
            Doing::Nothing | Doing::Publishing => Ok(()),
            Doing::AwaitingTurn { turn, deadline } => self.turn(job, turn, deadline),
            Doing::Committing { write, .. } => self.committed(job, write),
            Doing::Calling { call, told, .. } => self.call_ended(job, call, told),
            Doing::AwaitingAsk(_) => {
                self.begin_ask(job, Purpose::Table);
                Ok(())
            }
            Doing::Asking { asking, .. } => self.asked(job, asking),
        }
    }

    fn turn(
        &mut self,
        job: usize,
        turn: Duration,
        deadline: Option<Duration>,
    ) -> Result<(), Violation> {
        let at = self.moment();
        if deadline.is_some_and(|deadline| deadline <= turn) {
            return self.tell(job, Event::Overdue(at));
        }
        if self.now < self.process.paused_until {
            let pause = Duration::from_millis(self.process.paused_until - self.now);
            let turn = self.mono() + pause;
            self.flight_mut(job).doing = Doing::AwaitingTurn { turn, deadline };
            return Ok(());
        }
        let flight = self.flight_mut(job);
        if flight.is_lost && self.is_ready(job) {
            // Nobody here has a right to it any more: it comes again.
            self.end_flight(job);
            return Ok(());
        }
        self.tell(job, Event::Turn(at))
    }

    // ---- what is made durable -----------------------------------------------------------------

    pub(super) fn commit(&mut self) -> Commit {
        if !self.strikes(self.plan.chances.commit_fails) {
            return Commit::Done;
        }
        self.figures.failed_commits += 1;
        if self.rng.coin() {
            Commit::FailedYetHappened
        } else {
            Commit::Failed
        }
    }

    /// Any error of the ledger ends the process, because a failed commit may have happened. So may
    /// anything else, after a commit.
    pub(super) fn dies_of(&mut self, commit: Commit) -> bool {
        let failed = commit != Commit::Done && self.mutant != Mutant::IgnoresLedgerErrors;
        if failed || self.strikes(self.plan.chances.crash_at_step) {
            self.crash();
            return true;
        }
        false
    }

    fn committed(&mut self, job: usize, write: Write) -> Result<(), Violation> {
        let commit = self.commit();
        let place = self.flights.get_mut(job).expect("a job of this world");
        let mut flight = place.take().expect("a commit is of a job under way");
        self.note(|_| format!("job {job}: {write:?} is committed: {commit:?}"));
        if commit.is_durable() {
            self.make_durable(job, &flight, &write);
        }
        if matches!(write, Write::Doubt(..) | Write::End(_)) {
            flight.unrecorded = Unrecorded::default();
        }
        let (generation, content) = (flight.generation, flight.content);
        if let Some(place) = self.flights.get_mut(job) {
            *place = Some(flight);
        }
        if self.dies_of(commit) {
            return Ok(());
        }
        match write {
            Write::Intent => {
                let at = self.moment();
                self.tell(job, Event::IntentDurable(at))
            }
            Write::Doubt(reason, ask_at) => {
                self.figures.doubts += 1;
                self.publish_doubt(job, generation, reason, ask_at)
            }
            Write::Person(ask_at) => {
                self.figures.person_needed += 1;
                self.await_ask(job, ask_at);
                self.judge_call_of_person()
            }
            Write::End(outcome) => {
                self.judge(job, generation, &outcome)?;
                self.publish_end(job, generation, content, &outcome)
            }
        }
    }

    fn judge_call_of_person(&self) -> Result<(), Violation> {
        if self.plan.list_tells_all() && !self.ledger.is_lossy && self.judges_procedure {
            return Err(broken(
                "I13",
                "a person is called, though the list tells all",
            ));
        }
        Ok(())
    }

    pub(super) fn body_of(flight: &Flight, outcome: Outcome, attempts: u32, told: u32) -> Body {
        let attempts = flight
            .progress
            .as_ref()
            .map_or(attempts, Progress::attempts);
        Body {
            outcome,
            attempts,
            seq: 1 + told,
        }
    }

    pub(super) fn make_durable(&mut self, job: usize, flight: &Flight, write: &Write) {
        let (generation, content) = (flight.generation, flight.content);
        let known = self.ledger.entry(job).rows.len();
        if generation > known {
            // Only where the ledger has forgotten what came before.
            return;
        }
        self.figures.generations += u64::from(generation > 0 && generation == known);
        let version = self.version();
        let row = self.ledger.row_or_new(job, generation, flight.wanted);
        let Unrecorded {
            attempts,
            spent,
            refusal,
        } = &flight.unrecorded;
        match write {
            Write::Intent => {
                row.intent = true;
                row.version = version;
            }
            Write::Person(_) => row.person_needed = true,
            Write::Doubt(reason, _) => {
                // What is in doubt is as good as intended.
                if !row.intent {
                    row.intent = true;
                    row.version = version;
                }
                if row.doubt.is_none() {
                    let body = Self::body_of(flight, Outcome::InDoubt(*reason), *attempts, 0);
                    row.doubt = Some((*reason, body));
                }
            }
            Write::End(outcome) => {
                if row.end.is_none() {
                    let told = u32::from(row.doubt.is_some());
                    row.end = Some(Self::body_of(flight, outcome.clone(), *attempts, told));
                }
                // A later generation may have learned that an earlier content moved.
                row.content = content;
            }
        }
        if matches!(write, Write::Doubt(..) | Write::End(_)) {
            row.attempts += attempts;
            row.spent += spent;
            if refusal.is_some() {
                row.refusal.clone_from(refusal);
            }
        }
    }

    pub(super) fn late_intent_is_durable(&mut self, job: usize) {
        let flight = self.flight_mut(job);
        flight.late_intent = None;
        let (generation, content) = (flight.generation, flight.content);
        let version = self.version();
        let row = self.ledger.row_or_new(job, generation, content);
        row.intent = true;
        row.version = version;
    }

    /// The version of the program that runs now, as far as the bytes that it sends are concerned.
    pub(super) const fn version(&self) -> u32 {
        if self.plan.body_changes {
            self.process.life % 2
        } else {
            0
        }
    }

    // ---- what is told -------------------------------------------------------------------------

    fn publish_doubt(
        &mut self,
        job: usize,
        generation: usize,
        reason: DoubtReason,
        ask_at: Moment,
    ) -> Result<(), Violation> {
        let row = self.ledger.row(job, generation);
        let kept = row.and_then(|row| row.doubt.clone());
        let is_published = row.is_some_and(|row| row.doubt_published);
        if is_published {
            let receipts = self.told(job);
            self.await_ask(job, ask_at);
            return self.acknowledge(receipts);
        }
        let body = match kept {
            Some((_, body)) => body,
            // Only where a commit that failed was taken for one that did not.
            None => Self::body_of(self.flight_mut(job), Outcome::InDoubt(reason), 0, 0),
        };
        self.flight_mut(job).doing = Doing::Publishing;
        let after = After::Flight(job, Some(ask_at));
        let publication = Publication::of_job(job, generation, body, self.now, after);
        self.add_publication(publication)
    }

    fn publish_end(
        &mut self,
        job: usize,
        generation: usize,
        content: Content,
        outcome: &Outcome,
    ) -> Result<(), Violation> {
        let row = self.ledger.row(job, generation);
        let kept = row.and_then(|row| row.end.clone());
        let body = match kept {
            Some(body) => body,
            None => Self::body_of(self.flight_mut(job), outcome.clone(), 0, 0),
        };
        debug_assert!(row_says(self, job, generation, content));
        self.flight_mut(job).doing = Doing::Publishing;
        let publication =
            Publication::of_job(job, generation, body, self.now, After::Flight(job, None));
        self.add_publication(publication)
    }

    fn publish_too_early(&mut self, job: usize, outcome: Outcome) {
        let flight = self.flight_mut(job);
        let generation = flight.generation;
        let body = Self::body_of(flight, outcome, 0, 0);
        let publication = Publication::of_job(job, generation, body, self.now, After::Nothing);
        self.publisher.add(publication);
    }

    /// From now on deliveries of this job are answered at once; those that wait for it now.
    pub(super) fn told(&mut self, job: usize) -> u32 {
        let flight = self.flight_mut(job);
        flight.is_told = true;
        std::mem::take(&mut flight.receipts)
    }

    // ---- what befalls one job -----------------------------------------------------------------

    /// A delivery with an unclear attempt cannot be kept open any longer.
    pub(super) fn delivery_too_old(&mut self, job: usize) -> Result<(), Violation> {
        let Some(flight) = self.flight(job) else {
            return Ok(());
        };
        let waits = matches!(flight.doing, Doing::AwaitingTurn { .. }) && flight.receipts != 0;
        let is_unclear = self.progress(job).is_some_and(|progress| {
            *progress.stage() == Stage::Between && progress.may_have_been_executed()
        });
        if !(waits && is_unclear) {
            return Ok(());
        }
        let at = self.moment();
        self.tell(job, Event::DeliveryTooOld(at))
    }

    pub(super) fn is_settled(&self, job: usize) -> bool {
        self.progress(job).is_none_or(|progress| {
            let stage = progress.stage();
            matches!(
                stage,
                Stage::Settled(Status::Succeeded | Status::Rejected | Status::NotSent)
            )
        })
    }
}

fn row_says(world: &World, job: usize, generation: usize, content: Content) -> bool {
    let row = world.ledger.row(job, generation);
    row.is_none_or(|row| row.content == content)
}
