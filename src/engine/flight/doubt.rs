//! A flight in doubt: what it records, whom it tells, what it asks, and what a person's order makes of
//! it.
//!
//! *What it promises.* The interim outcome is durable and published before its receipts are answered
//! (I3). Asks go on during a pause. The bank's list has the last word on what it shows; a ruling that
//! nothing moved waits until what was sent last cannot arrive any more (I5).
//!
//! *What it refuses to know.* When the list is asked and what its silence proves: that is
//! [`progress`](crate::domain::progress).

use std::time::Duration;

use super::{Landing, Pilot, Step, is_cancel};
use crate::domain::digest::Digest;
use crate::domain::job::Job;
use crate::domain::outcome::{DoubtReason, Outcome};
use crate::domain::progress::{Event, Progress, Stage};
use crate::domain::request::{RequestId, Ruling, Weighed};
use crate::domain::time::{Moment, Timestamp};
use crate::engine::EngineError;
use crate::engine::asking::{self, Reading};
use crate::engine::orders::{Order, Reply, What};
use crate::engine::ports::{Answer, JobRef, LedgerError, Letter, Origin, StoredOutcome};
use crate::engine::publish::{Published, publish};
use crate::engine::settings::Fence;
use crate::engine::tower::Signal;
use crate::telemetry;
use crate::wire;

/// From when on the list is read about what may have been sent in a forgotten time: nobody knows when that
/// began.
const ALL_OF_THE_LIST: Timestamp = Timestamp::from_millis(0);

impl Pilot {
    pub(super) async fn enter_doubt(
        &mut self,
        progress: &Progress,
        reason: DoubtReason,
    ) -> Result<Published, LedgerError> {
        let entity_id = self.intent.job.entity_id.clone();
        let settlement = self.settlement(progress, &Outcome::InDoubt(reason));
        let kept = self.tower.ledger.doubt(settlement, reason).await?;
        self.told_needs_longer = false;
        let first_time = !std::mem::replace(&mut self.doubted, true);
        telemetry::JobInDoubt {
            job: &self.intent.job,
            source: self.intent.origin.as_str(),
            reason: reason.as_str(),
            is_news: first_time && !kept.published,
        }
        .emit();
        if first_time {
            if !kept.published && publish(&self.tower, &kept).await == Published::Stopped {
                return Ok(Published::Stopped);
            }
            self.receipts.done(&kept).await;
        }
        self.tell(Signal::InDoubt(entity_id)).await;
        Ok(Published::Yes)
    }

    /// A person is called: the job goes to the dead letters too, and then on record.
    pub(super) async fn call_person(&mut self) -> Result<Published, LedgerError> {
        if self.send_letter().await? == Published::Stopped {
            return Ok(Published::Stopped);
        }
        self.tower.ledger.call_person(self.job_ref()).await?;
        let (entity_id, card_id) = (&self.intent.job.entity_id, &self.intent.job.card_id);
        let card_opens = self.tower.settings.fence == Fence::UntilPersonNeeded;
        telemetry::PersonNeeded {
            entity_id,
            card_id,
            card_opens,
        }
        .emit();
        Ok(Published::Yes)
    }

    /// The dead letter of a job in doubt that only a person can decide.
    async fn send_letter(&mut self) -> Result<Published, LedgerError> {
        self.owes_letter = false;
        match self.interim_outcome().await? {
            Some(mut interim) if interim.origin == Origin::Queue => {
                interim.letter = Some(Letter::of(&self.intent.job));
                Ok(publish(&self.tower, &interim).await)
            }
            Some(_) | None => Ok(Published::Yes),
        }
    }

    async fn interim_outcome(&self) -> Result<Option<StoredOutcome>, LedgerError> {
        let open = self
            .tower
            .ledger
            .open_job(self.intent.job.entity_id.clone());
        let doubt = open.await?.and_then(|open| open.doubt);
        Ok(doubt.map(|(outcome, _)| outcome))
    }

    /// Tells the river to wait for this job again: it is about to be called.
    pub(super) async fn tell_clean_start(&self) {
        let entity_id = self.intent.job.entity_id.clone();
        telemetry::CleanStart {
            entity_id: &entity_id,
        }
        .emit();
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

    /// Asks at this time, or sooner where a person wants it; asks go on during a pause.
    pub(super) async fn ask(
        &mut self,
        progress: &Progress,
        at: Moment,
    ) -> Result<Step, EngineError> {
        self.tell_how_long(progress).await;
        if self.owes_letter && self.send_letter().await? == Published::Stopped {
            return Ok(Step::Landed(Landing::Stopped));
        }
        let order = tokio::select! {
            biased;
            () = self.tower.stop.asked() => return Ok(Step::Landed(Landing::Stopped)),
            // Whoever was told in the meantime that nothing came of it is not made a liar.
            order = self.orders.next_awaited() => match order {
                Some(order) => Some(order),
                None => return Ok(Step::Landed(Landing::Stopped)),
            },
            () = self.tower.clocks.sleep_until(at) => None,
        };
        let order = match order {
            Some(order) if order.what == What::Cancel => {
                let now = self.tower.clocks.now();
                is_cancel(order);
                return Ok(Step::Event(Event::Cancelled(now)));
            }
            // It came into doubt before it read this: nothing is to be let go of any more.
            Some(order) if matches!(order.what, What::LetGo(_)) => {
                return Box::pin(self.ask(progress, at)).await;
            }
            order => order,
        };
        let from = if self.was_forgotten {
            ALL_OF_THE_LIST
        } else {
            asking::list_from(self.intent.at)
        };
        let about = Some(self.job_ref());
        let Some(reading) = self.read_list(&self.intent.job, about, from).await? else {
            return Ok(Step::Landed(Landing::Stopped));
        };
        let event = match order {
            None => reading.asked(false),
            Some(order) => self.follow_order(order, reading),
        };
        Ok(Step::Event(event))
    }

    /// What a person's order makes of what the list says. The list has the last word on what it
    /// shows.
    fn follow_order(&mut self, order: Order, reading: Reading) -> Event {
        match order.what {
            What::Rule {
                request,
                ruling,
                said,
            } => {
                // The list was read later, but it need not show what moved between: it may have lost the name.
                let quiet = self.quiet.at(reading.began);
                let quiet_then = quiet.saturating_sub(said.ago(reading.began));
                self.follow_ruling(order, request, ruling, quiet_then, reading)
            }
            What::AskNow | What::Cancel | What::LetGo(_) => {
                let said = reading.finding.as_str();
                order.reply(Reply::Done(format!(
                    "the bank was asked; its list said: {said}"
                )));
                reading.asked(true)
            }
        }
    }

    fn follow_ruling(
        &mut self,
        order: Order,
        request: RequestId,
        ruling: Ruling,
        quiet: Duration,
        reading: Reading,
    ) -> Event {
        let settle_delay = self.tower.settings.rules.asks.settle_delay();
        let declined = match ruling.weighed(&reading.finding, quiet, settle_delay) {
            Weighed::Listed => {
                let words = format!(
                    "the bank's list shows this job: it is succeeded by the bank's own word, not {} by \
                     yours",
                    ruling.as_str()
                );
                if ruling == Ruling::Succeeded {
                    order.reply(Reply::Done(words));
                    return reading.asked(true);
                }
                words
            }
            // Whoever asked was told meanwhile that nothing came of it.
            _ if order.reply.is_closed() => return reading.asked(true),
            Weighed::OtherMoved => "the bank's list shows this entity_id with another operation or amount: \
                                    something moved. Ask the bank what it was"
                .to_owned(),
            Weighed::TooEarly => "too early: what was sent last could still be executed when you said so. Look \
                                  again when the settle delay (engine.settle_delay_s) has passed since the last \
                                  attempt, and say it again if it is still so"
                .to_owned(),
            Weighed::Counts => {
                let answer = Answer {
                    accepted: true,
                    generation: Some(self.intent.generation),
                    words: format!(
                        "settled as {} by your word; the bank's list said: {}",
                        ruling.as_str(),
                        reading.finding.as_str()
                    ),
                    at: reading.ended.wall,
                };
                self.ruled = Some((request, answer));
                order.reply(Reply::OnRecord);
                return Event::Ruled(ruling);
            }
        };
        order.reply(Reply::Declined(declined));
        reading.asked(true)
    }

    /// Asks whether the job was executed already, by an earlier generation or in a time that the ledger has
    /// forgotten: about what this one says, and about everything else that earlier ones said, each on its
    /// own card.
    pub(super) async fn prove(&mut self) -> Result<Step, EngineError> {
        let mut contents = vec![self.intent.job.clone()];
        let forgotten = self.tower.forgotten.as_ref();
        let mut from = ALL_OF_THE_LIST;
        let mut about = None;
        if let Some(again) = self.again.clone() {
            contents.extend(again.said);
            about = Some(JobRef {
                generation: again.earlier,
                ..self.job_ref()
            });
            match forgotten {
                None => from = asking::list_from(again.since),
                Some(forgotten) if forgotten.is_past() => {}
                // Something may be on its way of which nothing is known.
                Some(_) => return Ok(Step::Event(Reading::none(self.tower.clocks.now()).proved())),
            }
        }
        let mut proof: Option<Reading> = None;
        for content in contents {
            let Some(reading) = self.read_list(&content, about.clone(), from).await? else {
                return Ok(Step::Landed(Landing::Stopped));
            };
            if reading.finding.is_find() {
                // What moved is what is recorded: a copy with other content is then in conflict.
                self.take_content(content);
                proof = Some(reading);
                break;
            }
            if proof
                .as_ref()
                .is_none_or(|proof| reading.finding.proves_less(&proof.finding))
            {
                proof = Some(reading);
            }
        }
        let proof = proof.expect("there is at least what this generation says");
        telemetry::AskedBeforeAgain {
            entity_id: &self.intent.job.entity_id,
            finding: proof.finding.as_str(),
        }
        .emit();
        Ok(Step::Event(proof.proved()))
    }

    /// From now on this generation says this.
    fn take_content(&mut self, content: Job) {
        self.body = wire::bank::request_body(&content);
        self.intent.body_sha256 = Digest::of(&self.body);
        self.intent.job = content;
    }

    /// One reading of the list about what a job says, on record about this generation; none where the
    /// process stops.
    async fn read_list(
        &self,
        content: &Job,
        about: Option<JobRef>,
        from: Timestamp,
    ) -> Result<Option<Reading>, LedgerError> {
        tokio::select! {
            biased;
            () = self.tower.stop.asked() => Ok(None),
            reading = asking::ask(&self.tower, content, about, from) => reading.map(Some),
        }
    }
}
