//! Dead letters: what a person makes of them.
//!
//! *What it promises.* A request to run a job again names the generation that it wants: put twice, it
//! runs once. It stays open until that generation has an outcome or the bank's list did not say that
//! nothing had moved, so that a process that dies in between does not lose it. What is in doubt is
//! only asked about.
//!
//! *What it refuses to know.* How the generation before is proven not to have moved money: the flight
//! asks.

use std::collections::VecDeque;
use std::sync::Arc;

use async_trait::async_trait;

use super::attend::{answer, too_late};
use super::{River, Stand};
use crate::domain::job::EntityId;
use crate::domain::key::{EventId, Generation};
use crate::domain::request::{Request, Wish};
use crate::engine::EngineError;
use crate::engine::orders::What;
use crate::engine::ports::{
    Back, Delivery, Intent, JobRef, Provenance, Receipt, Sight, Standing, StoredOutcome,
};
use crate::engine::settings::{LANE_PARTS, REDRIVES_AT_ONCE, REDRIVES_WAITING};
use crate::engine::tower::Tower;
use crate::telemetry;

/// What is said where the content of a job is gone.
const PRUNED: &str = "this job was pruned, and what it said is gone: put it into a file and run that \
                      with --again";

impl River {
    pub(super) async fn redrive(
        &mut self,
        request: Request,
        entity_id: EntityId,
        wanted: Generation,
    ) -> Result<(), EngineError> {
        if self.stopping {
            // It stays on record for the next process.
            return Ok(());
        }
        let sight = self.sight_of(&entity_id).await?;
        let words = match &sight {
            Sight::Known {
                generation,
                standing: Standing::InDoubt(_),
                ..
            } if *generation < wanted => {
                return self
                    .order_about_doubt(request, entity_id, What::AskNow)
                    .await;
            }
            Sight::Known {
                generation,
                standing: Standing::Finished(outcome),
                ..
            } if generation.next() == wanted && outcome.status.may_be_followed() => {
                return self.run_again(request, &sight, wanted, *generation).await;
            }
            Sight::Known {
                generation,
                standing: Standing::Released { .. },
                ..
            } if *generation == wanted => {
                return self.run_again(request, &sight, wanted, wanted).await;
            }
            Sight::Known {
                generation,
                standing,
                ..
            } if *generation >= wanted => {
                let words = match standing {
                    Standing::Finished(outcome) => format!(
                        "it has been run again before, as generation {generation}: it is {}",
                        outcome.status
                    ),
                    Standing::InDoubt(_) | Standing::Held { .. } | Standing::Released { .. } => {
                        format!("it is being run again already, as generation {generation}")
                    }
                };
                return self
                    .answer_request(&request, true, Some(wanted), words)
                    .await;
            }
            Sight::Known {
                standing: Standing::Finished(outcome),
                ..
            } if !outcome.status.may_be_followed() => too_late(outcome.status),
            Sight::Known { generation, .. } => format!(
                "only the generation after the newest can be run, which is {}",
                generation.next()
            ),
            Sight::Unknown => "the ledger knows no job of this entity_id".to_owned(),
            Sight::Cancelled => "this job was cancelled before it came".to_owned(),
        };
        self.answer_request(&request, false, None, words).await
    }

    /// Takes up a job again, with the content that a generation of it had.
    async fn run_again(
        &mut self,
        request: Request,
        sight: &Sight,
        wanted: Generation,
        said_in: Generation,
    ) -> Result<(), EngineError> {
        let Wish::Redrive { entity_id, .. } = &request.wish else {
            return Ok(());
        };
        if let Some(taken) = self.jobs.get(entity_id) {
            let (is_wanted, words) = if taken.generation == wanted {
                // It is on its way for another request, which names the same generation.
                let words = format!("it is being run again already, as generation {wanted}");
                (true, words)
            } else {
                let words = format!(
                    "not run again: the outcome of generation {} is still being published. Ask again \
                     when it is",
                    taken.generation
                );
                (false, words)
            };
            return self
                .answer_request(&request, is_wanted, Some(wanted), words)
                .await;
        }
        if !self.may_redrive() {
            return self.let_redrive_wait(request).await;
        }
        let job = JobRef {
            entity_id: entity_id.clone(),
            generation: said_in,
        };
        let Some(intent) = self.tower.ledger.job_of(job).await? else {
            return self
                .answer_request(&request, false, None, PRUNED.to_owned())
                .await;
        };
        self.redriving.insert(entity_id.clone());
        let delivery = self.delivery_again(intent, request, wanted);
        self.admit_one(delivery, sight).await?;
        self.take_over_arrivals().await
    }

    async fn let_redrive_wait(&mut self, request: Request) -> Result<(), EngineError> {
        if self.redrives.len() < REDRIVES_WAITING {
            self.redrives.push_back(request);
            return Ok(());
        }
        let words = format!(
            "not run again: {REDRIVES_WAITING} others wait to be run again. Ask again when those are done"
        );
        self.answer_request(&request, false, None, words).await
    }

    /// Answers the requests to run this job again that still wait. Whether there were any.
    pub(super) async fn forget_redrives_of(
        &mut self,
        entity_id: &EntityId,
    ) -> Result<bool, EngineError> {
        let is_of = |request: &Request| request.wish.entity_id() == Some(entity_id);
        let waiting = std::mem::take(&mut self.redrives);
        let (forgotten, kept) = waiting.into_iter().partition::<VecDeque<_>, _>(is_of);
        self.redrives = kept;
        for request in &forgotten {
            let words = "not run again: it was cancelled while it waited for its turn";
            self.answer_request(request, false, None, words.to_owned())
                .await?;
        }
        Ok(!forgotten.is_empty())
    }

    /// Runs again what waits for it, as many as there is room for.
    pub(super) async fn start_redrives(&mut self) -> Result<(), EngineError> {
        while !self.stopping && self.may_redrive() {
            match self.redrives.pop_front() {
                Some(request) => Box::pin(self.attend(request)).await?,
                None => return Ok(()),
            }
        }
        Ok(())
    }

    /// Whether there is room for another beside those that are on their way; what has come into doubt has a
    /// bound of its own.
    fn may_redrive(&mut self) -> bool {
        let jobs = &self.jobs;
        self.redriving.retain(|entity_id| {
            let taken = jobs.get(entity_id);
            taken.is_some_and(|taken| !matches!(taken.stand, Stand::InDoubt { .. }))
        });
        let room = self.tower.settings.in_flight / LANE_PARTS;
        self.redriving.len() < REDRIVES_AT_ONCE.min(room.max(1))
    }

    fn delivery_again(&self, intent: Intent, request: Request, wanted: Generation) -> Delivery {
        Delivery {
            job: intent.job,
            provenance: Provenance {
                origin: intent.origin,
                source: intent.source.into(),
                line: intent.line,
                envelope: intent.envelope,
                received_at: self.tower.clocks.now().wall,
            },
            body: None,
            is_redelivered: false,
            again: Some(request.by.clone()),
            receipt: Box::new(RequestReceipt {
                tower: Arc::clone(&self.tower),
                request,
                wanted,
            }),
        }
    }

    pub(super) async fn discard(
        &self,
        request: Request,
        event_id: EventId,
        entity_id: Option<EntityId>,
    ) -> Result<(), EngineError> {
        let is_open = match &entity_id {
            Some(entity_id) => matches!(
                self.sight_of(entity_id).await?,
                Sight::Known {
                    standing: Standing::InDoubt(Some(outcome)),
                    ..
                } if outcome.event_id == event_id
            ),
            None => false,
        };
        let (accepted, words) = if is_open {
            let words = "this job is in doubt: it is not put aside but settled, by the bank's list \
                         or by a person (tanda settle)";
            (false, words)
        } else {
            (
                true,
                "put aside: it is not listed among the dead letters any more",
            )
        };
        self.answer_request(&request, accepted, None, words.to_owned())
            .await
    }
}

/// The right of a person's request to an answer.
struct RequestReceipt {
    tower: Arc<Tower>,
    request: Request,
    wanted: Generation,
}

impl RequestReceipt {
    async fn answer(&self, accepted: bool, words: String) {
        let wanted = Some(self.wanted);
        let answered = answer(&self.tower, &self.request, accepted, wanted, words);
        if let Err(error) = answered.await {
            // The ledger has failed: whoever uses it next ends the process, and the next attends to
            // the request again.
            telemetry::RequestNotAnswered { error: &error }.emit();
        }
    }
}

#[async_trait]
impl Receipt for RequestReceipt {
    async fn done(self: Box<Self>, outcome: &StoredOutcome) {
        let words = format!(
            "run again as generation {}: it is {}",
            self.wanted, outcome.status
        );
        self.answer(true, words).await;
    }

    async fn back(self: Box<Self>, why: Back) {
        match why {
            Back::NotProven => {
                let words = "not run again: the bank's list did not say, beyond doubt, that nothing \
                             had moved. Ask again later; `tanda explain` shows what it said";
                self.answer(false, words.to_owned()).await;
            }
            // It stays on record, and the next process attends to it.
            Back::Undecided | Back::ComesAgain => {}
        }
    }
}
