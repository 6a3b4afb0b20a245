//! Intake: what becomes of a delivery.
//!
//! *What it promises.* Each delivery is decided upon once, from what the ledger knows, in the order in
//! which it was offered; no more are taken than there is room for (I11).
//!
//! *What it refuses to know.* How a job flies, and where deliveries come from.

use std::sync::Arc;

use super::{River, Stand, Taken};
use crate::domain::digest::Digest;
use crate::domain::job::{EntityId, Job};
use crate::domain::key::{EventId, Generation, IdempotencyKey};
use crate::domain::outcome::{RULED, Status};
use crate::engine::EngineError;
use crate::engine::admission::{Decision, decide, tell};
use crate::engine::flight::Again;
use crate::engine::lanes::Place;
use crate::engine::ports::{
    Delivery, LedgerError, OpenJob, Receipt, Sight, Standing, StoredOutcome,
};
use crate::engine::publish::{Published, publish};
use crate::engine::receipts::Receipts;
use crate::engine::settings::MAX_IN_DOUBT;
use crate::wire;
use crate::wire::outcome::OutcomeMessage;

/// The source is asked again when an eighth of the room is free, so that admission reads the ledger
/// for many jobs at once.
const REFILL_PARTS: usize = 8;

impl River {
    /// How many deliveries there is room for.
    pub(in crate::engine) fn room(&self) -> usize {
        self.tower
            .settings
            .in_flight
            .saturating_sub(self.open_receipts.count())
    }

    /// Whether the source may be asked for more.
    pub(in crate::engine) fn takes_more(&self) -> bool {
        let enough = (self.tower.settings.in_flight / REFILL_PARTS).max(1);
        !self.dry && !self.stopping && self.in_doubt < MAX_IN_DOUBT && self.room() >= enough
    }

    /// Takes deliveries in: decides about each from what the ledger knows. None means that the
    /// source is dry.
    pub(in crate::engine) async fn admit(
        &mut self,
        offered: Vec<Delivery>,
    ) -> Result<(), EngineError> {
        self.dry = offered.is_empty();
        self.runs_again |= offered.iter().any(|delivery| delivery.again.is_some());
        let entity_ids = offered
            .iter()
            .map(|delivery| delivery.job.entity_id.clone())
            .collect();
        let sights = self.tower.ledger.look(entity_ids).await?;
        for (delivery, sight) in offered.into_iter().zip(sights) {
            self.admit_one(delivery, &sight).await?;
        }
        Ok(())
    }

    async fn admit_one(&mut self, delivery: Delivery, sight: &Sight) -> Result<(), EngineError> {
        let fingerprint = delivery.job.fingerprint();
        if let Some(taken) = self.jobs.get(&delivery.job.entity_id) {
            let is_same = taken.fingerprint == fingerprint;
            tell(&delivery.job, if is_same { "join" } else { "conflict" });
            if is_same {
                taken.receipts.add(delivery.receipt).await;
                return Ok(());
            }
            let generation = taken.generation;
            return self.refuse_copy(delivery, generation, fingerprint).await;
        }
        let decision = decide(sight, fingerprint, delivery.again.is_some());
        tell(&delivery.job, decision.as_str());
        match decision {
            Decision::Run => {
                self.take(delivery, fingerprint, false, None).await;
                Ok(())
            }
            Decision::RunReleased {
                generation,
                cancelled,
            } => {
                let delivery = self.as_first_said(delivery).await?;
                self.take_as(delivery, fingerprint, generation, cancelled, None)
                    .await;
                Ok(())
            }
            Decision::RunCancelled => {
                self.take(delivery, fingerprint, true, None).await;
                Ok(())
            }
            // What was pruned is known by its fingerprint alone: where a person may have been wrong,
            // nobody knows any more on which card to look.
            Decision::RunAgain { earlier, .. } if is_pruned_ruling(sight, fingerprint) => {
                self.refuse_copy(delivery, earlier, fingerprint).await
            }
            Decision::RunAgain { earlier, ended } => {
                let again = self.earlier_generations(&delivery, earlier, &ended).await?;
                self.take(delivery, fingerprint, false, again).await;
                Ok(())
            }
            Decision::Replay(outcome) => {
                self.reply(outcome, delivery.receipt).await;
                Ok(())
            }
            Decision::Conflict(generation) => {
                self.refuse_copy(delivery, generation, fingerprint).await
            }
            Decision::Join => self.join_from_ledger(delivery).await,
        }
    }

    /// What the next generation of a job needs to know; none where nobody asked for one.
    async fn earlier_generations(
        &self,
        delivery: &Delivery,
        earlier: Generation,
        ended: &StoredOutcome,
    ) -> Result<Option<Again>, LedgerError> {
        let Some(by) = delivery.again.clone() else {
            return Ok(None);
        };
        let entity_id = delivery.job.entity_id.clone();
        let ledger = &self.tower.ledger;
        let since = ledger.first_begun_at(entity_id.clone()).await?;
        let new = delivery.job.fingerprint();
        let mut said = ledger.generations_of(entity_id).await?;
        said.retain(|job| job.fingerprint() != new);
        said.dedup_by_key(|job| job.fingerprint());
        let reason = OutcomeMessage::decode(&ended.body).and_then(|message| message.reason);
        Ok(Some(Again {
            earlier,
            was_ruled: reason.is_none_or(|reason| reason == RULED)
                && ended.status == Status::NotSent,
            since: since.unwrap_or_else(|| self.tower.clocks.now()),
            said,
            cancelled: false,
            by,
        }))
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

    async fn take(
        &mut self,
        delivery: Delivery,
        fingerprint: Digest,
        cancelled: bool,
        again: Option<Again>,
    ) {
        let earlier = again.as_ref().map(|again| again.earlier);
        let generation = earlier.map_or(Generation::FIRST, Generation::next);
        self.take_as(delivery, fingerprint, generation, cancelled, again)
            .await;
    }

    async fn take_as(
        &mut self,
        delivery: Delivery,
        fingerprint: Digest,
        generation: Generation,
        cancelled: bool,
        again: Option<Again>,
    ) {
        let Delivery {
            job,
            source,
            line,
            received_at,
            again: _,
            receipt,
        } = delivery;
        let (card_id, entity_id) = (job.card_id.clone(), job.entity_id.clone());
        let place = self.lanes.join(&card_id, &entity_id);
        if place == Place::Shut {
            receipt.back().await;
            return;
        }
        let receipts = Receipts::new(self.open_receipts.clone());
        receipts.add(receipt).await;
        let taken = Taken {
            job,
            source,
            line,
            received_at,
            fingerprint,
            generation,
            again,
            receipts,
            panics: 0,
            cancelled,
            stand: Stand::Queued,
            orders: None,
        };
        let start = taken.fresh_start();
        self.jobs.insert(entity_id.clone(), taken);
        if place == Place::First {
            self.start(&entity_id, start);
        }
    }

    /// The ledger has an open row that this process has not taken up, which only happens where a
    /// flight ended between the look and now.
    async fn join_from_ledger(&mut self, delivery: Delivery) -> Result<(), EngineError> {
        let entity_id = delivery.job.entity_id.clone();
        match self.find_open(&entity_id).await? {
            Some(open) => {
                self.take_up(open);
                if let Some(taken) = self.jobs.get(&entity_id) {
                    taken.receipts.add(delivery.receipt).await;
                }
                Ok(())
            }
            None => Box::pin(self.admit_again(delivery)).await,
        }
    }

    async fn admit_again(&mut self, delivery: Delivery) -> Result<(), EngineError> {
        let sights = self
            .tower
            .ledger
            .look(vec![delivery.job.entity_id.clone()])
            .await?;
        if let Some(sight) = sights.into_iter().next() {
            return self.admit_one(delivery, &sight).await;
        }
        delivery.receipt.back().await;
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
        let Delivery {
            job,
            line,
            received_at,
            receipt,
            ..
        } = delivery;
        let namespace = &self.tower.settings.namespace;
        let event_id = EventId::of_conflict(namespace, &job.entity_id, generation, fingerprint);
        let settled_at = self.tower.clocks.now().wall;
        let about = wire::outcome::Circumstances {
            event_id,
            seq: 1,
            generation,
            key: IdempotencyKey::derive(namespace, &job.entity_id, generation),
            attempts: 0,
            line,
            batch_id: None,
            received_at,
            settled_at,
        };
        let fact = StoredOutcome {
            event_id,
            entity_id: Some(job.entity_id.clone()),
            generation: Some(generation),
            status: Status::Conflict,
            body: wire::outcome::of_conflict(&job, about).encode(),
            settled_at,
            published: false,
        };
        let kept = self.tower.ledger.note_fact(fact).await?;
        self.reply(kept, receipt).await;
        Ok(())
    }

    /// Publishes what the ledger has and answers the receipt, beside the flow.
    async fn reply(&mut self, outcome: StoredOutcome, receipt: Box<dyn Receipt>) {
        let receipts = Receipts::new(self.open_receipts.clone());
        receipts.add(receipt).await;
        self.answer(outcome, receipts);
    }

    pub(super) fn answer(&mut self, outcome: StoredOutcome, receipts: Arc<Receipts>) {
        let (tower, answered) = (Arc::clone(&self.tower), Arc::clone(&receipts));
        let task = self.replies.spawn(async move {
            match publish(&tower, &outcome).await {
                Published::Yes => answered.done(&outcome).await,
                Published::Stopped => answered.back().await,
            }
        });
        self.replying.insert(task.id(), receipts);
    }
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
