//! One job's flight: the loop that asks the rules what is next and does it.
//!
//! *What it promises.* Every step is the rules' own ([`advance`]). No call before the durable
//! intent (I2), no receipt answered before an outcome is durable and confirmed (I3). A flight that
//! is dropped at any point leaves the ledger true.
//!
//! *What it refuses to know.* Other jobs: its lane has let it go.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::EngineError;
use super::loss::Doubtful;
use super::orders::{BeginMark, LetGo, Order, Orders, Reply, What};
use super::outcomes::{self, Told};
use super::pause::Pass;
use super::ports::{
    Answer, AttemptNote, Begun, Intent, JobRef, LedgerError, OpenJob, Settlement, Sight, Standing,
};
use super::publish::{Published, publish};
use super::receipts::Receipts;
use super::settings::POISON_PANICS;
use super::tower::{Signal, Tower};
use crate::domain::digest::Digest;
use crate::domain::job::Job;
use crate::domain::key::Generation;
use crate::domain::outcome::{DoubtReason, NotSentReason, Outcome, Status};
use crate::domain::progress::{Action, Event, Forgotten, Progress, Record, Stage, advance};
use crate::domain::request::{Person, RequestId};
use crate::domain::time::Moment;
use crate::domain::verdict::{Unclarity, UnclearCause, Verdict};
use crate::telemetry;
use crate::wire;

mod doubt;

/// How a flight ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Landing {
    /// Its final outcome is durable and published.
    Settled,
    /// The process stops; what is durable goes on at the next start.
    Stopped,
    /// The ledger had a row for it after all: it must be admitted again.
    Elsewhere,
    /// It was to be run again, and the bank's list did not say that nothing had moved.
    Declined,
    /// It is still to be done, and was provably not executed: its intent, if it has one, is to be
    /// withdrawn for this reason.
    LetGo {
        why: LetGo,
        deferral: Option<&'static str>,
    },
}

/// A job as a flight takes it up.
pub(super) struct Flight {
    pub(super) intent: Intent,
    /// Whether the ledger had held it.
    pub(super) was_held: bool,
    pub(super) start: Start,
    pub(super) receipts: Arc<Receipts>,
    pub(super) orders: Orders,
    pub(super) mark: Arc<BeginMark>,
    /// Where others may hold its lane beside it: what lets one of them call at a time.
    pub(super) card_calls: Option<Arc<Semaphore>>,
}

/// Where a flight begins.
pub(super) enum Start {
    /// Nothing is durable; `panics` of earlier tasks are on record, and perhaps a cancel.
    Fresh {
        panics: u32,
        cancelled: bool,
        doubtful: Option<Doubtful>,
    },
    /// An earlier generation ended without moving money; this one may have been sent in a forgotten time.
    Again {
        again: Again,
        doubtful: Option<Doubtful>,
    },
    /// The ledger has its intent and no outcome.
    Recovered { open: Box<OpenJob>, left_by: LeftBy },
}

/// Whose task left a job in doubt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LeftBy {
    /// That of a process before this one.
    EarlierProcess,
    /// One of this process, which has just panicked.
    TaskHere,
}

/// For how long no request of a job has been on its way.
#[derive(Clone, Copy, Debug)]
struct Quiet {
    /// Before this process: as the wall clock says, and no longer than a clock says that nobody sets.
    before: Duration,
    /// And since then, by a clock that nobody sets.
    since: Moment,
}

impl Quiet {
    const fn from(since: Moment) -> Self {
        Self {
            before: Duration::ZERO,
            since,
        }
    }

    const fn at(self, now: Moment) -> Duration {
        self.before.saturating_add(now.surely_since(self.since))
    }
}

/// What a later generation needs to know of the earlier ones.
#[derive(Clone, Debug)]
pub(super) struct Again {
    /// The generation that is over.
    pub(super) earlier: Generation,
    /// Whether that one ended by a person's word alone.
    pub(super) was_ruled: bool,
    /// When the first was begun.
    pub(super) since: Moment,
    /// What each of them said, where that was something else.
    pub(super) said: Vec<Job>,
    /// Whether this one is cancelled.
    pub(super) cancelled: bool,
    /// Who asked for this one.
    pub(super) by: Person,
}

impl Again {
    /// Proves first that nothing moved; where it is cancelled, it ends at its turn instead.
    fn begin(&self, progress: Progress) -> Progress {
        if self.cancelled {
            return progress.closing(NotSentReason::Cancelled);
        }
        progress.again(self.was_ruled)
    }
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

/// The right to call, from a job's turn until the call has ended.
struct Turn {
    permits: (OwnedSemaphorePermit, Option<OwnedSemaphorePermit>),
    pass: Pass,
}

/// The hands of a flight: it does what the rules say and keeps what the record needs.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a fact of its own about what was told"
)]
struct Pilot {
    tower: Arc<Tower>,
    receipts: Arc<Receipts>,
    intent: Intent,
    body: Vec<u8>,
    /// Attempts not yet on record.
    notes: Vec<AttemptNote>,
    turn: Option<Turn>,
    card_calls: Option<Arc<Semaphore>>,
    answers_at_previous_attempt: Option<u64>,
    orders: Orders,
    mark: Arc<BeginMark>,
    /// What a later generation asks the list about before its first call.
    again: Option<Again>,
    /// The request whose ruling is being carried out.
    ruled: Option<(RequestId, Answer)>,
    quiet: Quiet,
    was_held: bool,
    /// Whether it may have been sent in a time that the ledger has forgotten, however long ago.
    was_forgotten: bool,
    /// Whether the process that called a person may not have reached the dead letters: a letter that comes
    /// twice is no harm.
    owes_letter: bool,
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
            intent,
            was_held,
            start,
            receipts,
            orders,
            mark,
            card_calls,
        } = flight;
        let now = tower.clocks.now();
        let body = wire::bank::request_body(&intent.job);
        let again = match &start {
            Start::Again { again, .. } => Some(again.clone()),
            Start::Fresh { .. } | Start::Recovered { .. } => None,
        };
        let (key, not_after) = (intent.key, intent.job.not_after);
        let mut pilot = Self {
            receipts,
            intent,
            body,
            notes: Vec::new(),
            turn: None,
            card_calls,
            answers_at_previous_attempt: None,
            orders,
            mark,
            again,
            ruled: None,
            quiet: Quiet::from(now),
            was_held,
            was_forgotten: false,
            owes_letter: false,
            doubted: false,
            told_needs_longer: false,
            told_person_needed: false,
            tower,
        };
        let progress = Progress::new(key, not_after);
        let (progress, action) = pilot.begin(start, progress, now)?;
        Ok((pilot, progress, action))
    }

    /// Where its rules begin.
    fn begin(
        &mut self,
        start: Start,
        progress: Progress,
        now: Moment,
    ) -> Result<(Progress, Action), EngineError> {
        Ok(match start {
            Start::Fresh {
                panics,
                cancelled,
                doubtful,
            } => {
                let poison = (panics >= POISON_PANICS).then_some(NotSentReason::Poison);
                let closing = poison.or(cancelled.then_some(NotSentReason::Cancelled));
                let progress = match closing {
                    Some(reason) => progress.closing(reason),
                    None => progress,
                };
                match doubtful {
                    None => begun(progress, now),
                    Some(doubtful) => self.begin_after_loss(progress, doubtful, now)?,
                }
            }
            Start::Again { again, doubtful } => match doubtful {
                None => begun(again.begin(progress), now),
                Some(doubtful) => {
                    let cancelled = again.cancelled.then_some(NotSentReason::Cancelled);
                    let progress = match cancelled {
                        Some(reason) => progress.closing(reason),
                        None => progress,
                    };
                    self.begin_after_loss(progress, doubtful, now)?
                }
            },
            Start::Recovered { open, left_by } => {
                let event = self.recover(&open, left_by, now);
                advance(&self.tower.settings.rules, progress, event)?
            }
        })
    }

    /// A job that may have been sent in a forgotten time: as long as what was sent then may not be listed
    /// yet, it is in doubt.
    fn begin_after_loss(
        &mut self,
        progress: Progress,
        doubtful: Doubtful,
        at: Moment,
    ) -> Result<(Progress, Action), EngineError> {
        let forgotten = self.tower.forgotten.as_ref();
        let forgotten = forgotten.expect("a job is doubtful only where a time was forgotten");
        self.was_forgotten = true;
        if forgotten.is_past() && !doubtful.after_delivery {
            return Ok(begun(progress.forgotten(), at));
        }
        let event = Event::Forgotten(Forgotten {
            after_delivery: doubtful.after_delivery,
            last_send: forgotten.ended,
            at,
        });
        Ok(advance(&self.tower.settings.rules, progress, event)?)
    }

    /// What the ledger knows, as an event. A job without any attempt on record was interrupted at
    /// its first: that goes on record too.
    fn recover(&mut self, open: &OpenJob, left_by: LeftBy, now: Moment) -> Event {
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
            same_bytes: self.intent.body_sha256 == Digest::of(&self.body),
            closing: (open.panics >= POISON_PANICS)
                .then_some(NotSentReason::Poison)
                .or(open.cancelled.then_some(NotSentReason::Cancelled)),
            reason: match &open.doubt {
                Some((_, reason)) => *reason,
                None if panicked => DoubtReason::Panicked,
                None => DoubtReason::Interrupted,
            },
        };
        let interrupted = record.attempts == 0;
        self.was_held = open.was_held;
        self.was_forgotten = matches!(
            record.reason,
            DoubtReason::LedgerLost | DoubtReason::LedgerLostAfterDelivery
        );
        self.owes_letter = open.person_needed;
        // Attempts are on record only once a job is in doubt: it may have been sent for as long as
        // its process lived, or its task.
        self.quiet = match (left_by, self.tower.called_until) {
            (LeftBy::EarlierProcess, Some(called_until)) => {
                let recorded = open.attempts.last().map(|attempt| attempt.ended);
                let recorded = recorded.unwrap_or(open.intent.at.wall);
                let by_wall = now.wall.since(recorded.max(called_until));
                // Whatever the wall clock was set to between two processes.
                let surely = self.tower.surely_quiet;
                let surely =
                    surely.map(|(quiet, began)| quiet.saturating_add(now.surely_since(began)));
                Quiet {
                    before: surely.map_or(by_wall, |surely| surely.min(by_wall)),
                    since: now,
                }
            }
            (LeftBy::EarlierProcess, None) | (LeftBy::TaskHere, _) => Quiet::from(now),
        };
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
            } => {
                let step = self.await_turn(progress, not_before, deadline).await;
                match (&step, self.only_deferred(progress)) {
                    (Step::Landed(Landing::Stopped), Some(deferral)) => {
                        let (why, deferral) = (LetGo::Stopping, Some(deferral));
                        Step::Landed(Landing::LetGo { why, deferral })
                    }
                    _ => step,
                }
            }
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
            Action::CallPerson { ask_at } => match self.call_person().await? {
                Published::Yes => self.ask(progress, ask_at).await?,
                Published::Stopped => Step::Landed(Landing::Stopped),
            },
            Action::Ask { at } => self.ask(progress, at).await?,
            Action::Prove => self.prove().await?,
            Action::Settle(outcome) => self.settle(progress, outcome).await?,
            // One that was told to wait, or was begun before, has an end of its own.
            Action::GiveBack if self.was_held || self.was_withdrawn().await? => {
                self.settle(progress, Outcome::NotProven).await?
            }
            Action::GiveBack => Step::Landed(Landing::Declined),
            Action::Keep => unreachable!("orders are read only while a flight waits"),
        })
    }

    /// Waits for a free call and an open flow. Holds neither while it waits for its time.
    async fn await_turn(
        &mut self,
        progress: &Progress,
        not_before: Option<Moment>,
        deadline: Option<Moment>,
    ) -> Step {
        self.turn = None;
        if self.orders.ends_with_them {
            // Taken up to be asked about, not to be sent.
            return Step::Landed(Landing::Stopped);
        }
        let tower = Arc::clone(&self.tower);
        let card_id = self.intent.job.card_id.clone();
        let card_calls = self.card_calls.clone();
        let turn = async {
            if not_before.is_some() {
                tower.clocks.sleep_until_some(not_before).await;
            }
            let of_card = match card_calls {
                Some(card_calls) => Some(permit_of(card_calls).await),
                None => None,
            };
            let permits = (permit_of(Arc::clone(&tower.call_permits)).await, of_card);
            let pass = tower.gate.pass(&card_id).await;
            Turn { permits, pass }
        };
        tokio::pin!(turn);
        loop {
            tokio::select! {
                biased;
                () = tower.stop.asked() => return Step::Landed(Landing::Stopped),
                order = self.orders.next() => {
                    let step = order.and_then(|order| self.heed_while_waiting(progress, order));
                    if let Some(step) = step {
                        return step;
                    }
                }
                turn = &mut turn => {
                    if *progress.stage() == Stage::Ready && self.receipts.are_lost() {
                        // Nobody here has a right to it any more: it comes again.
                        let (why, deferral) = (LetGo::GivenBack, None);
                        return Step::Landed(Landing::LetGo { why, deferral });
                    }
                    self.turn = Some(turn);
                    return Step::Event(Event::Turn(tower.clocks.now()));
                }
                () = tower.clocks.sleep_until_some(deadline) => {
                    return Step::Event(Event::Overdue(tower.clocks.now()));
                }
            }
        }
    }

    /// What an order makes of a job that waits for its turn; none where it goes on waiting.
    fn heed_while_waiting(&self, progress: &Progress, order: Order) -> Option<Step> {
        let now = self.tower.clocks.now();
        let What::LetGo(why) = order.what else {
            return is_cancel(order).then_some(Step::Event(Event::Cancelled(now)));
        };
        order.reply(Reply::Done(String::new()));
        if *progress.stage() == Stage::Ready {
            let deferral = None;
            return Some(Step::Landed(Landing::LetGo { why, deferral }));
        }
        if why == LetGo::Crowded {
            return None;
        }
        if let Some(deferral) = self.only_deferred(progress) {
            let deferral = Some(deferral);
            return Some(Step::Landed(Landing::LetGo { why, deferral }));
        }
        (why == LetGo::TooOld).then_some(Step::Event(Event::DeliveryTooOld(now)))
    }

    /// Why its last attempt was deferred, where every attempt was, which is proof that nothing was
    /// executed.
    fn only_deferred(&self, progress: &Progress) -> Option<&'static str> {
        let was_begun_here = *progress.stage() == Stage::Between && !self.doubted;
        if !was_begun_here || progress.may_have_been_executed() {
            return None;
        }
        match self.notes.last().map(|note| &note.verdict) {
            Some(Verdict::Deferred(deferral)) => Some(deferral.as_str()),
            Some(Verdict::Accepted { .. } | Verdict::Refused(_) | Verdict::Unclear(_)) | None => {
                None
            }
        }
    }

    async fn record_intent(&mut self) -> Result<Step, EngineError> {
        self.intent.at = self.tower.clocks.now();
        match self.tower.ledger.begin(self.intent.clone()).await? {
            Begun::Yes => {
                let Job {
                    entity_id, card_id, ..
                } = &self.intent.job;
                telemetry::IntentDurable { entity_id, card_id }.emit();
                if self.mark.begun() {
                    self.tell(Signal::Begun(entity_id.clone())).await;
                }
                Ok(Step::Event(Event::IntentDurable(self.tower.clocks.now())))
            }
            Begun::AlreadyThere(_) => Ok(Step::Landed(Landing::Elsewhere)),
        }
    }

    /// Whether this generation was begun before and its intent withdrawn, because it was provably not executed.
    async fn was_withdrawn(&self) -> Result<bool, LedgerError> {
        let entity_id = self.intent.job.entity_id.clone();
        let sights = self.tower.ledger.look(vec![entity_id]).await?;
        Ok(sights.first().is_some_and(|sight| {
            matches!(
                sight,
                Sight::Known {
                    generation,
                    standing: Standing::Released { .. },
                    ..
                } if *generation == self.intent.generation
            )
        }))
    }

    async fn call(&mut self, number: u32) -> Step {
        let Turn { permits, pass } = self
            .turn
            .take()
            .expect("the rules call only at a job's turn");
        let tower = &self.tower;
        let answers_before = *self
            .answers_at_previous_attempt
            .get_or_insert_with(|| tower.answers.count());
        let began = tower.clocks.now();
        let card_id = &self.intent.job.card_id;
        let under_way = telemetry::metrics::CallUnderWay::begin();
        let verdict = tower
            .bank
            .apply(card_id, &self.intent.key, &self.body)
            .await;
        drop(under_way);
        let ended = tower.clocks.now();
        self.quiet = Quiet::from(ended);
        drop(permits);
        telemetry::AttemptEnded {
            entity_id: &self.intent.job.entity_id,
            number,
            verdict: &verdict,
            before: self.notes.last().map(|note| &note.verdict),
            took: ended.surely_since(began),
        }
        .emit();
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

    async fn settle(&mut self, progress: &Progress, outcome: Outcome) -> Result<Step, EngineError> {
        let settlement = self.settlement(progress, &outcome);
        let stored = settlement.outcome.clone();
        self.turn = None;
        self.tower.ledger.settle(settlement).await?;
        telemetry::OutcomeSettled {
            job: &self.intent.job,
            source: self.intent.origin.as_str(),
            status: outcome.status(),
            reason: outcome.reason(),
            attempts: progress.attempts(),
        }
        .emit();
        if publish(&self.tower, &stored).await == Published::Stopped {
            return Ok(Step::Landed(Landing::Stopped));
        }
        self.receipts.done(&stored).await;
        Ok(Step::Landed(Landing::Settled))
    }

    /// An outcome with the attempts that are not yet on record, which are on record from then on.
    fn settlement(&mut self, progress: &Progress, outcome: &Outcome) -> Settlement {
        let interim_came_first = outcome.status() != Status::InDoubt && self.doubted;
        let told = Told {
            interim: u32::from(self.was_held) + u32::from(interim_came_first),
            attempts: progress.attempts(),
        };
        let namespace = &self.tower.settings.namespace;
        let settled_at = self.tower.clocks.now().wall;
        let outcome = outcomes::of_job(namespace, &self.intent, outcome, told, settled_at);
        let attempts = std::mem::take(&mut self.notes);
        Settlement {
            intent: self.intent.clone(),
            attempts,
            outcome,
            answers: self.ruled.take(),
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

async fn permit_of(calls: Arc<Semaphore>) -> OwnedSemaphorePermit {
    let permit = calls.acquire_owned().await;
    permit.expect("the semaphore is never closed")
}

fn begun(progress: Progress, at: Moment) -> (Progress, Action) {
    let action = progress.first_action(at);
    (progress, action)
}

/// Whether an order, which is replied to, cancels a job that waits for its turn.
fn is_cancel(order: Order) -> bool {
    let cancels = order.what == What::Cancel;
    let words = if cancels {
        "cancelled: it is not sent any more"
    } else {
        "this job is not in doubt now: it waits to be sent. Look again in a minute"
    };
    order.reply(if cancels {
        Reply::Done(words.to_owned())
    } else {
        Reply::Declined(words.to_owned())
    });
    cancels
}
