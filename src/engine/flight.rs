//! One job's flight: the loop that asks the rules what is next and does it.
//!
//! *What it promises.* Every step is the rules' own ([`advance`]). No call before the durable
//! intent (I2), no receipt answered before an outcome is durable and confirmed (I3). A flight that
//! is dropped at any point leaves the ledger true.
//!
//! *What it refuses to know.* Other jobs: its lane has let it go.

use std::sync::Arc;

use tokio::sync::OwnedSemaphorePermit;

use super::EngineError;
use super::asking;
use super::pause::Pass;
use super::ports::{
    AttemptNote, Begun, Intent, JobRef, LedgerError, OpenJob, Settlement, StoredOutcome,
};
use super::publish::{Published, publish};
use super::receipts::Receipts;
use super::settings::{Fence, POISON_PANICS};
use super::tower::{Signal, Tower};
use crate::domain::digest::Digest;
use crate::domain::job::Job;
use crate::domain::key::{EventId, Generation, IdempotencyKey};
use crate::domain::outcome::{DoubtReason, NotSentReason, Outcome, Status};
use crate::domain::progress::{Action, Event, Progress, Record, Stage, advance};
use crate::domain::time::{Moment, Timestamp};
use crate::domain::verdict::{Unclarity, UnclearCause, Verdict};
use crate::telemetry;
use crate::wire;

/// How a flight ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Landing {
    /// Its final outcome is durable and published.
    Settled,
    /// The process stops; what is durable goes on at the next start.
    Stopped,
    /// The ledger had a row for it after all: it must be admitted again.
    Elsewhere,
}

/// A job as a flight takes it up.
pub(super) struct Flight {
    pub(super) job: Job,
    pub(super) line: Option<u64>,
    pub(super) received_at: Timestamp,
    pub(super) start: Start,
    pub(super) receipts: Arc<Receipts>,
}

/// Where a flight begins.
pub(super) enum Start {
    /// Nothing is durable; `panics` of earlier tasks are on record.
    Fresh { panics: u32 },
    /// The ledger has its intent and no outcome.
    Recovered(Box<OpenJob>),
}

/// Flies a job until it is settled or the process stops.
pub(super) async fn fly(tower: Arc<Tower>, flight: Flight) -> Result<Landing, EngineError> {
    let (mut pilot, mut progress, mut action) = Pilot::take_off(tower, flight)?;
    loop {
        let step = pilot.carry_out(&progress, action).await?;
        let event = match step {
            Step::Event(event) => event,
            Step::Landed(landing) => return Ok(landing),
        };
        let spent_before = progress.spent();
        let was_in_doubt = matches!(progress.stage(), Stage::InDoubt(_));
        (progress, action) = advance(&pilot.tower.settings.rules, progress, event)?;
        pilot.note_whether_spent(progress.spent() > spent_before);
        if was_in_doubt && *progress.stage() == Stage::Between {
            pilot.tell_clean_start().await;
        }
    }
}

enum Step {
    Event(Event),
    Landed(Landing),
}

/// The hands of a flight: it does what the rules say and keeps what the record needs.
struct Pilot {
    tower: Arc<Tower>,
    receipts: Arc<Receipts>,
    intent: Intent,
    body: Vec<u8>,
    /// Attempts not yet on record.
    notes: Vec<AttemptNote>,
    /// The right to call, from its turn until the call.
    turn: Option<(OwnedSemaphorePermit, Pass)>,
    answers_at_previous_attempt: Option<u64>,
    doubted: bool,
    told_needs_longer: bool,
    told_person_needed: bool,
}

impl Pilot {
    fn take_off(
        tower: Arc<Tower>,
        flight: Flight,
    ) -> Result<(Self, Progress, Action), EngineError> {
        let Flight {
            job,
            line,
            received_at,
            start,
            receipts,
        } = flight;
        let now = tower.clocks.now();
        let body = wire::bank::request_body(&job);
        let generation = match &start {
            Start::Fresh { .. } => Generation::FIRST,
            Start::Recovered(open) => open.intent.generation,
        };
        let key = IdempotencyKey::derive(&tower.settings.namespace, &job.entity_id, generation);
        let body_sha256 = Digest::of(&body);
        let not_after = job.not_after;
        let mut pilot = Self {
            receipts,
            intent: Intent {
                job,
                generation,
                key,
                body_sha256,
                line,
                received_at,
                at: now,
            },
            body,
            notes: Vec::new(),
            turn: None,
            answers_at_previous_attempt: None,
            doubted: false,
            told_needs_longer: false,
            told_person_needed: false,
            tower,
        };
        let progress = Progress::new(key, not_after);
        let (progress, action) = match start {
            Start::Fresh { panics } if panics >= POISON_PANICS => {
                let progress = progress.closing(NotSentReason::Poison);
                let action = progress.first_action(now);
                (progress, action)
            }
            Start::Fresh { .. } => {
                let action = progress.first_action(now);
                (progress, action)
            }
            Start::Recovered(open) => {
                let event = pilot.recover(&open, now);
                advance(&pilot.tower.settings.rules, progress, event)?
            }
        };
        Ok((pilot, progress, action))
    }

    /// What the ledger knows, as an event. A job without any attempt on record was interrupted at
    /// its first: that goes on record too.
    fn recover(&mut self, open: &OpenJob, now: Moment) -> Event {
        let panicked = open.panics > 0;
        let record = Record {
            attempts: open.attempts.last().map_or(0, |attempt| attempt.number),
            spent: open
                .attempts
                .iter()
                .map(|attempt| u32::from(attempt.spent))
                .sum(),
            refusal: open
                .attempts
                .iter()
                .rev()
                .find_map(|attempt| match &attempt.verdict {
                    Verdict::Refused(refusal) => Some(refusal.clone()),
                    Verdict::Accepted { .. } | Verdict::Deferred(_) | Verdict::Unclear(_) => None,
                }),
            person_needed: open.person_needed,
            same_bytes: open.intent.body_sha256 == self.intent.body_sha256,
            closing: (open.panics >= POISON_PANICS).then_some(NotSentReason::Poison),
            reason: match &open.doubt {
                Some((_, reason)) => *reason,
                None if panicked => DoubtReason::Panicked,
                None => DoubtReason::Interrupted,
            },
        };
        let interrupted = record.attempts == 0;
        self.intent.at = open.intent.at;
        self.intent.body_sha256 = open.intent.body_sha256;
        if interrupted {
            self.notes.push(AttemptNote {
                number: 1,
                began: open.intent.at.wall,
                ended: now.wall,
                verdict: Verdict::Unclear(Unclarity::new(UnclearCause::Interrupted)),
                spent: false,
            });
        }
        let attempts = record.attempts.max(1);
        Event::Recovered {
            record: Record { attempts, ..record },
            at: now,
        }
    }

    async fn carry_out(
        &mut self,
        progress: &Progress,
        action: Action,
    ) -> Result<Step, EngineError> {
        Ok(match action {
            Action::AwaitTurn {
                not_before,
                deadline,
            } => self.await_turn(not_before, deadline).await,
            Action::RecordIntent => self.record_intent().await?,
            Action::Call => self.call(progress.attempts()).await,
            Action::EnterDoubt { reason, ask_at } => {
                // A turn that came too late passes to the next job.
                self.turn = None;
                match self.enter_doubt(progress, reason).await? {
                    Published::Yes => self.ask(progress, ask_at).await?,
                    Published::Stopped => Step::Landed(Landing::Stopped),
                }
            }
            Action::CallPerson { ask_at } => {
                self.call_person().await?;
                self.ask(progress, ask_at).await?
            }
            Action::Ask { at } => self.ask(progress, at).await?,
            Action::Settle(outcome) => self.settle(progress, outcome).await?,
            Action::Keep => unreachable!("only a cancel is answered so, and none is told here"),
        })
    }

    /// Waits for a free call and an open flow. Holds neither while it waits for its time.
    async fn await_turn(&mut self, not_before: Option<Moment>, deadline: Option<Moment>) -> Step {
        self.turn = None;
        let tower = Arc::clone(&self.tower);
        let turn = async {
            if not_before.is_some() {
                tower.clocks.sleep_until_some(not_before).await;
            }
            let permit = Arc::clone(&tower.call_permits).acquire_owned().await;
            let permit = permit.expect("the semaphore is never closed");
            let pass = tower.gate.pass(&self.intent.job.card_id).await;
            (permit, pass)
        };
        let event = tokio::select! {
            biased;
            () = tower.stop.asked() => return Step::Landed(Landing::Stopped),
            turn = turn => {
                self.turn = Some(turn);
                Event::Turn(tower.clocks.now())
            }
            () = tower.clocks.sleep_until_some(deadline) => Event::Overdue(tower.clocks.now()),
        };
        Step::Event(event)
    }

    async fn record_intent(&mut self) -> Result<Step, EngineError> {
        self.intent.at = self.tower.clocks.now();
        match self.tower.ledger.begin(self.intent.clone()).await? {
            Begun::Yes => Ok(Step::Event(Event::IntentDurable(self.tower.clocks.now()))),
            Begun::AlreadyThere(_) => Ok(Step::Landed(Landing::Elsewhere)),
        }
    }

    async fn call(&mut self, number: u32) -> Step {
        let (permit, pass) = self
            .turn
            .take()
            .expect("the rules call only at a job's turn");
        let tower = &self.tower;
        let answers_before = *self
            .answers_at_previous_attempt
            .get_or_insert_with(|| tower.answers.count());
        let began = tower.clocks.now();
        let card_id = &self.intent.job.card_id;
        let verdict = tower
            .bank
            .apply(card_id, &self.intent.key, &self.body)
            .await;
        let ended = tower.clocks.now();
        drop(permit);
        pass.heard(&verdict);
        if verdict.is_answer() {
            tower.answers.add();
        }
        if matches!(verdict, Verdict::Accepted { .. }) {
            tower.control.accepted(&self.intent.job, began);
        }
        let answers_now = tower.answers.count();
        self.answers_at_previous_attempt = Some(answers_now);
        self.notes.push(AttemptNote {
            number,
            began: began.wall,
            ended: ended.wall,
            verdict: verdict.clone(),
            spent: false,
        });
        let bank_answers = answers_now != answers_before;
        Step::Event(Event::Told {
            verdict,
            at: ended,
            bank_answers,
        })
    }

    fn note_whether_spent(&mut self, spent: bool) {
        if let Some(last) = self.notes.last_mut() {
            last.spent |= spent;
        }
    }

    async fn enter_doubt(
        &mut self,
        progress: &Progress,
        reason: DoubtReason,
    ) -> Result<Published, LedgerError> {
        let entity_id = self.intent.job.entity_id.clone();
        telemetry::JobInDoubt {
            entity_id: &entity_id,
            reason: reason.as_str(),
        }
        .emit();
        let settlement = self.settlement(progress, &Outcome::InDoubt(reason));
        let kept = self.tower.ledger.doubt(settlement, reason).await?;
        self.told_needs_longer = false;
        let first_time = !std::mem::replace(&mut self.doubted, true);
        if first_time {
            if !kept.published && publish(&self.tower, &kept).await == Published::Stopped {
                return Ok(Published::Stopped);
            }
            self.receipts.done(&kept).await;
        }
        self.tell(Signal::InDoubt(entity_id)).await;
        Ok(Published::Yes)
    }

    async fn call_person(&self) -> Result<(), LedgerError> {
        self.tower.ledger.call_person(self.job_ref()).await?;
        let (entity_id, card_id) = (&self.intent.job.entity_id, &self.intent.job.card_id);
        let card_opens = self.tower.settings.fence == Fence::UntilPersonNeeded;
        telemetry::PersonNeeded {
            entity_id,
            card_id,
            card_opens,
        }
        .emit();
        Ok(())
    }

    /// Tells the river to wait for this job again: it is about to be called.
    async fn tell_clean_start(&self) {
        let entity_id = self.intent.job.entity_id.clone();
        self.tell(Signal::BegunAnew(entity_id)).await;
    }

    /// Tells the river, once each, that the first asks are over and that a person is needed.
    async fn tell_how_long(&mut self, progress: &Progress) {
        let Stage::InDoubt(doubt) = progress.stage() else {
            return;
        };
        let entity_id = &self.intent.job.entity_id;
        let (said, signal) = if doubt.person_needed() {
            (
                &mut self.told_person_needed,
                Signal::PersonNeeded(entity_id.clone()),
            )
        } else if doubt.needs_longer() {
            (
                &mut self.told_needs_longer,
                Signal::NeedsLonger(entity_id.clone()),
            )
        } else {
            return;
        };
        if !std::mem::replace(said, true) {
            self.tell(signal).await;
        }
    }

    /// Asks at this time; asks go on during a pause.
    async fn ask(&mut self, progress: &Progress, at: Moment) -> Result<Step, EngineError> {
        self.tell_how_long(progress).await;
        tokio::select! {
            biased;
            () = self.tower.stop.asked() => return Ok(Step::Landed(Landing::Stopped)),
            () = self.tower.clocks.sleep_until(at) => {}
        }
        let job_ref = self.job_ref();
        let asking = asking::ask(&self.tower, &self.intent.job, &job_ref, self.intent.at);
        tokio::select! {
            biased;
            () = self.tower.stop.asked() => Ok(Step::Landed(Landing::Stopped)),
            event = asking => Ok(Step::Event(event?)),
        }
    }

    async fn settle(&mut self, progress: &Progress, outcome: Outcome) -> Result<Step, EngineError> {
        let settlement = self.settlement(progress, &outcome);
        let stored = settlement.outcome.clone();
        self.turn = None;
        self.tower.ledger.settle(settlement).await?;
        if publish(&self.tower, &stored).await == Published::Stopped {
            return Ok(Step::Landed(Landing::Stopped));
        }
        self.receipts.done(&stored).await;
        Ok(Step::Landed(Landing::Settled))
    }

    /// An outcome with the attempts that are not yet on record, which are on record from then on.
    fn settlement(&mut self, progress: &Progress, outcome: &Outcome) -> Settlement {
        let status = outcome.status();
        let job = &self.intent.job;
        let generation = self.intent.generation;
        let namespace = &self.tower.settings.namespace;
        let event_id = EventId::of_outcome(namespace, &job.entity_id, generation, status);
        let settled_at = self.tower.clocks.now().wall;
        let interim_came_first = status != Status::InDoubt && self.doubted;
        let about = wire::outcome::Circumstances {
            event_id,
            seq: 1 + u32::from(interim_came_first),
            generation,
            key: self.intent.key,
            attempts: progress.attempts(),
            line: self.intent.line,
            batch_id: None,
            received_at: self.intent.received_at,
            settled_at,
        };
        let outcome = StoredOutcome {
            event_id,
            entity_id: Some(job.entity_id.clone()),
            generation: Some(generation),
            status,
            body: wire::outcome::of_job(job, outcome, about).encode(),
            settled_at,
            published: false,
        };
        let attempts = std::mem::take(&mut self.notes);
        Settlement {
            intent: self.intent.clone(),
            attempts,
            outcome,
        }
    }

    fn job_ref(&self) -> JobRef {
        JobRef {
            entity_id: self.intent.job.entity_id.clone(),
            generation: self.intent.generation,
        }
    }

    /// Tells the river; where it has ended, nobody needs to know any more.
    async fn tell(&self, signal: Signal) {
        drop(self.tower.signals.send(signal).await);
    }
}
