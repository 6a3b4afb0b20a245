//! Intake: what becomes of a delivery.
//!
//! *What it promises.* Each delivery is decided upon once, from what the ledger knows, in the order in
//! which it was offered; no more are taken than there is room for (I11).
//!
//! *What it refuses to know.* How a job flies, and where deliveries come from.

use std::sync::Arc;

use super::guests::is_guest;
use super::{Replying, River, Stand, Taken};
use crate::domain::digest::Digest;
use crate::domain::job::{EntityId, Job};
use crate::domain::key::Generation;
use crate::domain::outcome::{RULED, Status};
use crate::domain::request::Person;
use crate::engine::EngineError;
use crate::engine::admission::{Decision, decide, tell};
use crate::engine::flight::Again;
use crate::engine::lanes::Place;
use crate::engine::loss::{self, Doubtful};
use crate::engine::outcomes;
use crate::engine::ports::{
    Back, Delivery, LedgerError, Offer, OpenJob, Receipt, Sight, Standing, StoredOutcome,
    UnreadableDelivery,
};
use crate::engine::publish::{Published, Row, publish_of};
use crate::engine::receipts::Receipts;
use crate::engine::settings::{MAX_HELD, MAX_IN_DOUBT};
use crate::telemetry;
use crate::wire::outcome::OutcomeMessage;
use tokio::task::{Id, JoinError};
use tokio::time::Instant;

/// The source is asked again when an eighth of the room is free, so that admission reads the ledger
/// for many jobs at once.
const REFILL_PARTS: usize = 8;

/// How a job begins that is taken.
struct Begins {
    generation: Generation,
    cancelled: bool,
    again: Option<Again>,
    doubtful: Option<Doubtful>,
}

impl River {
    /// How many deliveries there is room for; in a long pause, and until the bank answers after it, for
    /// one.
    pub(in crate::engine) fn room(&self) -> usize {
        let most = match self.gave_back {
            Some(_) => 1,
            None => self.tower.settings.in_flight,
        };
        most.saturating_sub(self.open_receipts.count())
    }

    /// Whether the source may be asked for more.
    pub(in crate::engine) fn takes_more(&self) -> bool {
        let enough = (self.tower.settings.in_flight / REFILL_PARTS).max(1);
        let is_bounded = self.in_doubt < MAX_IN_DOUBT && self.held < MAX_HELD;
        if self.dry || self.stopping || !is_bounded {
            return false;
        }
        match &self.gave_back {
            None => self.room() >= enough,
            Some(gave_back) => self.room() > 0 && self.tries_one(gave_back),
        }
    }

    /// Takes in what the source offers.
    pub(in crate::engine) async fn take_in(&mut self, offer: Offer) -> Result<(), EngineError> {
        self.note_trial();
        match offer {
            Offer::Jobs(deliveries) => self.admit(deliveries).await,
            Offer::Unreadable(message) => self.refuse_message(message).await,
            Offer::Lost => {
                self.lose();
                Ok(())
            }
            Offer::Dry => {
                self.dry = true;
                Ok(())
            }
        }
    }

    /// Decides about each delivery from what the ledger knows. What must wait in the ledger goes there
    /// in one commit for each card.
    async fn admit(&mut self, offered: Vec<Delivery>) -> Result<(), EngineError> {
        self.runs_again |= offered.iter().any(|delivery| delivery.again.is_some());
        let entity_ids = offered
            .iter()
            .map(|delivery| delivery.job.entity_id.clone())
            .collect();
        let sights = self.tower.ledger.look(entity_ids).await?;
        let unknown = offered.iter().zip(&sights);
        let unknown =
            unknown.filter(|(_, sight)| matches!(sight, Sight::Unknown | Sight::Cancelled));
        loss::note_arrivals(&self.tower, unknown.map(|(delivery, _)| delivery)).await?;
        for (delivery, sight) in offered.into_iter().zip(sights) {
            self.admit_one(delivery, &sight).await?;
        }
        self.take_over_arrivals().await?;
        self.offer_held().await
    }

    /// The ledger takes over what has arrived and must wait there: only when the whole batch is admitted,
    /// because what was looked up for it knows nothing of it.
    pub(super) async fn take_over_arrivals(&mut self) -> Result<(), EngineError> {
        for card_id in std::mem::take(&mut self.crowded) {
            self.crowd(&card_id).await?;
        }
        for (card_id, arrived) in std::mem::take(&mut self.arrivals) {
            let arrived = arrived.iter().filter_map(|id| self.jobs.remove(id));
            let arrived = arrived.collect();
            self.take_over(&card_id, None, arrived).await?;
        }
        Ok(())
    }

    pub(super) async fn admit_one(
        &mut self,
        delivery: Delivery,
        sight: &Sight,
    ) -> Result<(), EngineError> {
        let fingerprint = delivery.job.fingerprint();
        if let Some(taken) = self.jobs.get(&delivery.job.entity_id) {
            let is_same = taken.fingerprint == fingerprint;
            tell(&delivery, if is_same { "join" } else { "conflict" });
            if is_same && is_guest(&delivery, taken.provenance.origin) {
                self.let_wait(delivery);
                return Ok(());
            }
            if is_same {
                taken.receipts.add(delivery.receipt).await;
                return Ok(());
            }
            let generation = taken.generation;
            return self.refuse_copy(delivery, generation, fingerprint).await;
        }
        let mut decision = decide(sight, fingerprint, delivery.again.as_ref());
        if let Decision::RunAgain { earlier, .. } = decision
            && is_pruned_ruling(sight, fingerprint)
        {
            // What was pruned is known by its fingerprint alone: where a person may have been wrong,
            // nobody knows any more on which card to look.
            decision = Decision::Conflict(earlier);
        }
        tell(&delivery, decision.as_str());
        match decision {
            Decision::Run => self.take_unknown(delivery, fingerprint, false).await,
            Decision::RunReleased {
                generation,
                cancelled,
            } => {
                let delivery = self.as_first_said(delivery).await?;
                let taken = Begins {
                    generation,
                    cancelled,
                    again: None,
                    doubtful: None,
                };
                self.take(delivery, fingerprint, taken).await
            }
            Decision::RunCancelled => self.take_unknown(delivery, fingerprint, true).await,
            Decision::RunAgain { earlier, ended, by } => {
                let was_ruled =
                    ended.status == Status::NotSent && is_without_proof(earlier, &ended);
                self.take_again(delivery, earlier, was_ruled, by).await
            }
            Decision::Replay(outcome)
                if outcome.status == Status::Waiting && is_guest(&delivery, outcome.origin) =>
            {
                self.let_wait(delivery);
                Ok(())
            }
            Decision::Replay(outcome) => {
                let row = if outcome.origin == delivery.provenance.origin {
                    Row::Theirs
                } else {
                    Row::OfOthers
                };
                let outcome = as_told_to(outcome, &delivery);
                self.reply(outcome, row, delivery.receipt).await;
                Ok(())
            }
            Decision::Conflict(generation) => {
                self.refuse_copy(delivery, generation, fingerprint).await
            }
            Decision::Join => self.join_from_ledger(delivery).await,
        }
    }

    /// What the next generation of a job needs to know.
    pub(super) async fn earlier_generations(
        &self,
        job: &Job,
        earlier: Generation,
        was_ruled: bool,
        by: Person,
    ) -> Result<Again, LedgerError> {
        let entity_id = job.entity_id.clone();
        let ledger = &self.tower.ledger;
        let since = ledger.first_begun_at(entity_id.clone()).await?;
        let new = job.fingerprint();
        let mut said = ledger.generations_of(entity_id).await?;
        said.retain(|job| job.fingerprint() != new);
        said.dedup_by_key(|job| job.fingerprint());
        Ok(Again {
            earlier,
            // What this ledger says of an earlier one is no proof where it has forgotten a time since.
            was_ruled: was_ruled || self.tower.forgotten.is_some(),
            since: since.unwrap_or_else(|| self.tower.clocks.now()),
            said,
            cancelled: false,
            by,
        })
    }

    /// The same delivery with the description that was first sent under its key: the first stays.
    async fn as_first_said(&self, delivery: Delivery) -> Result<Delivery, LedgerError> {
        let entity_id = delivery.job.entity_id.clone();
        let mut said = self.tower.ledger.generations_of(entity_id).await?;
        let description = match said.pop() {
            Some(first) => first.description,
            None => delivery.job.description.clone(),
        };
        let job = Job {
            description,
            ..delivery.job.clone()
        };
        Ok(Delivery { job, ..delivery })
    }

    /// Takes a job as the generation after this one.
    async fn take_again(
        &mut self,
        delivery: Delivery,
        earlier: Generation,
        was_ruled: bool,
        by: Person,
    ) -> Result<(), EngineError> {
        let again = self
            .earlier_generations(&delivery.job, earlier, was_ruled, by)
            .await?;
        let fingerprint = delivery.job.fingerprint();
        let begins = Begins {
            generation: earlier.next(),
            cancelled: false,
            again: Some(again),
            doubtful: None,
        };
        self.take(delivery, fingerprint, begins).await
    }

    /// Takes a job that the ledger does not know; where it has forgotten a time, it may have been sent
    /// then.
    async fn take_unknown(
        &mut self,
        delivery: Delivery,
        fingerprint: Digest,
        cancelled: bool,
    ) -> Result<(), EngineError> {
        let mut doubtful = None;
        if self.tower.forgotten.is_some() {
            let entity_id = delivery.job.entity_id.clone();
            let after_delivery =
                delivery.is_redelivered && !self.tower.ledger.has_arrived(entity_id).await?;
            doubtful = Some(Doubtful { after_delivery });
        }
        let begins = Begins {
            generation: Generation::FIRST,
            cancelled,
            again: None,
            doubtful,
        };
        self.take(delivery, fingerprint, begins).await
    }

    async fn take(
        &mut self,
        delivery: Delivery,
        fingerprint: Digest,
        begins: Begins,
    ) -> Result<(), EngineError> {
        let Begins {
            generation,
            cancelled,
            again,
            doubtful,
        } = begins;
        let Delivery {
            job,
            provenance,
            receipt,
            ..
        } = delivery;
        let (card_id, entity_id) = (job.card_id.clone(), job.entity_id.clone());
        let place = self.lanes.join(&card_id, &entity_id);
        if place == Place::Shut {
            receipt.back(Back::Undecided).await;
            return Ok(());
        }
        let receipts = Receipts::new(self.open_receipts.clone());
        receipts.add(receipt).await;
        let taken = Taken {
            job,
            provenance,
            fingerprint,
            generation,
            again,
            doubtful,
            receipts,
            panics: 0,
            cancelled,
            was_held: false,
            since: Instant::now(),
            stand: Stand::Queued,
            orders: None,
            mark: Arc::default(),
        };
        let start = taken.fresh_start();
        self.jobs.insert(entity_id.clone(), taken);
        match place {
            Place::First => self.start(&entity_id, start),
            Place::Held => self.arrivals.entry(card_id).or_default().push(entity_id),
            Place::Crowded => {
                self.crowded.insert(card_id);
            }
            Place::Behind | Place::Shut => {}
        }
        Ok(())
    }

    /// The ledger has an open row that this process has not taken up, which only happens where a
    /// flight ended between the look and now.
    async fn join_from_ledger(&mut self, delivery: Delivery) -> Result<(), EngineError> {
        let entity_id = delivery.job.entity_id.clone();
        match self.find_open(&entity_id).await? {
            Some(open) => {
                let origin = open.intent.origin;
                self.take_up(open);
                if is_guest(&delivery, origin) {
                    self.let_wait(delivery);
                } else if let Some(taken) = self.jobs.get(&entity_id) {
                    taken.receipts.add(delivery.receipt).await;
                }
                Ok(())
            }
            None => Box::pin(self.admit_again(delivery)).await,
        }
    }

    pub(super) async fn admit_again(&mut self, delivery: Delivery) -> Result<(), EngineError> {
        let sights = self
            .tower
            .ledger
            .look(vec![delivery.job.entity_id.clone()])
            .await?;
        if let Some(sight) = sights.into_iter().next() {
            return self.admit_one(delivery, &sight).await;
        }
        delivery.receipt.back(Back::Undecided).await;
        Ok(())
    }

    pub(super) async fn find_open(
        &self,
        entity_id: &EntityId,
    ) -> Result<Option<OpenJob>, LedgerError> {
        self.tower.ledger.open_job(entity_id.clone()).await
    }

    /// A copy of a job that says something else: recorded and published as a fact about the copy.
    async fn refuse_copy(
        &mut self,
        delivery: Delivery,
        generation: Generation,
        fingerprint: Digest,
    ) -> Result<(), EngineError> {
        let namespace = &self.tower.settings.namespace;
        let settled_at = self.tower.clocks.now().wall;
        let fact = outcomes::of_conflict(namespace, &delivery, generation, fingerprint, settled_at);
        let kept = self.tower.ledger.note_fact(fact).await?;
        let kept = as_told_to(kept, &delivery);
        self.reply(kept, Row::Theirs, delivery.receipt).await;
        Ok(())
    }

    /// A message that is no valid job: recorded and published as a fact about the message.
    async fn refuse_message(&mut self, message: UnreadableDelivery) -> Result<(), EngineError> {
        let namespace = &self.tower.settings.namespace;
        let settled_at = self.tower.clocks.now().wall;
        let fact = outcomes::of_invalid(namespace, &message, settled_at);
        let kept = self.tower.ledger.note_fact(fact).await?;
        telemetry::MessageRefused {
            event_id: &kept.event_id.to_string(),
            source: message.provenance.origin.as_str(),
            operation: message.unreadable.seen.operation,
            reason: &message.unreadable.reason,
            words: &message.unreadable.words,
        }
        .emit();
        let kept = StoredOutcome {
            letter: Some(outcomes::letter_of_invalid(&message)),
            envelope: message.provenance.envelope.clone(),
            ..kept
        };
        self.reply(kept, Row::Theirs, message.receipt).await;
        Ok(())
    }

    /// Publishes what the ledger has and answers the receipt, beside the flow.
    async fn reply(&mut self, outcome: StoredOutcome, row: Row, receipt: Box<dyn Receipt>) {
        let receipts = Receipts::new(self.open_receipts.clone());
        receipts.add(receipt).await;
        self.answer(outcome, row, receipts);
    }

    pub(super) fn answer(&mut self, outcome: StoredOutcome, row: Row, receipts: Arc<Receipts>) {
        let (tower, answered) = (Arc::clone(&self.tower), Arc::clone(&receipts));
        let task = self.replies.spawn(async move {
            match publish_of(&tower, &outcome, row).await {
                Published::Yes => answered.done(&outcome).await,
                Published::Stopped => answered.back(Back::Undecided).await,
            }
        });
        self.replies_begun += 1;
        let replying = Replying {
            number: self.replies_begun,
            receipts,
            task,
        };
        self.replying.insert(replying.task.id(), replying);
    }
}

impl River {
    /// The answers that are on their way, in the order in which they began.
    pub(super) fn replying_in_order(&self) -> Vec<&Replying> {
        let mut replying: Vec<_> = self.replying.values().collect();
        replying.sort_unstable_by_key(|it| it.number);
        replying
    }

    /// A reply has ended. Where it panicked, its receipts stay open: given back at once they would come
    /// again at once.
    pub(super) fn has_replied(&mut self, ended: &Result<(Id, ()), JoinError>) {
        match ended {
            Ok((task, ())) => {
                self.replying.remove(task);
            }
            Err(error) if error.is_cancelled() => {
                self.replying.remove(&error.id());
            }
            Err(_) => telemetry::PublishingPanicked.emit(),
        }
    }
}

/// A stored outcome as it is told to whoever sent this copy.
fn as_told_to(outcome: StoredOutcome, copy: &Delivery) -> StoredOutcome {
    let is_theirs = outcome.origin == copy.provenance.origin;
    StoredOutcome {
        published: outcome.published && is_theirs,
        letter: outcomes::letter_of_copy(copy).filter(|_| outcome.status.is_dead_lettered()),
        origin: copy.provenance.origin,
        envelope: copy.provenance.envelope.clone(),
        ..outcome
    }
}

/// Whether an outcome rests on a person's word alone, perhaps about a generation before it, which it was
/// never sent after; also where nothing is known any more of why.
fn is_without_proof(generation: Generation, outcome: &StoredOutcome) -> bool {
    let message = OutcomeMessage::decode(&outcome.body);
    let reason = message.as_ref().and_then(|it| it.reason.as_deref());
    let was_sent = message.as_ref().is_some_and(|it| it.attempts > 0);
    reason.is_none_or(|reason| reason == RULED) || (generation > Generation::FIRST && !was_sent)
}

/// Whether the newest generation was pruned, said something else, and ended by a person's word alone.
fn is_pruned_ruling(sight: &Sight, fingerprint: Digest) -> bool {
    match sight {
        Sight::Known {
            fingerprint: known,
            standing: Standing::Finished(outcome),
            ..
        } if *known != fingerprint => {
            let message = OutcomeMessage::decode(&outcome.body);
            message.is_some_and(|message| {
                message.card_id.is_none() && message.reason.as_deref() == Some(RULED)
            })
        }
        Sight::Known { .. } | Sight::Unknown | Sight::Cancelled => false,
    }
}
