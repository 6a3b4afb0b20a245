//! Attending to people: what they ask of the process that owns the ledger.
//!
//! *What it promises.* Every request is answered in the ledger, once, in words for the one who asked.
//! A cancel is on record before its answer can be read; a ruling is answered in the commit that
//! settles its job. What cannot be done any more says why.
//!
//! *What it refuses to know.* How a request came into the ledger, and what a ruling rests on.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use super::{River, Stand};
use crate::domain::job::EntityId;
use crate::domain::key::Generation;
use crate::domain::outcome::Status;
use crate::domain::request::{Person, Request, RequestId, Wish};
use crate::domain::time::Timestamp;
use crate::engine::EngineError;
use crate::engine::orders::{Order, Reply, Said, What};
use crate::engine::pause::{Hold, HoldKind};
use crate::engine::ports::{Answer, LedgerError, Sight, Standing};
use crate::engine::settings::{REQUESTS_AT_ONCE, REQUESTS_EVERY};
use crate::engine::tower::Tower;
use crate::telemetry;

/// What is said of a cancel that comes while the job is in doubt.
const CANCELLED_IN_DOUBT: &str = "cancelled, but it may have been executed before: it stays in doubt \
                                  until the bank's list says, and nothing new is sent for it";

/// Passes on what people ask, each request once, after this one; never ends while it goes well.
pub(super) async fn watch_requests(
    tower: &Tower,
    mut after: Option<RequestId>,
    requests: mpsc::Sender<Request>,
) -> Result<(), LedgerError> {
    loop {
        for request in tower.ledger.open_requests(after, REQUESTS_AT_ONCE).await? {
            after = Some(request.id);
            if requests.send(request).await.is_err() {
                return Ok(());
            }
        }
        tokio::time::sleep(REQUESTS_EVERY).await;
    }
}

/// What is said about a job that has its final outcome.
#[must_use]
pub fn too_late(status: Status) -> String {
    format!("too late: this job is {status}, which is final")
}

impl River {
    /// Answers what was asked before this process owned the ledger; the last of it.
    pub(super) async fn attend_to_waiting(&mut self) -> Result<Option<RequestId>, EngineError> {
        let mut last = None;
        loop {
            let ledger = Arc::clone(&self.tower.ledger);
            let waiting = ledger.open_requests(last, REQUESTS_AT_ONCE).await?;
            if waiting.is_empty() {
                return Ok(last);
            }
            for request in waiting {
                last = Some(request.id);
                self.attend(request).await?;
            }
        }
    }

    /// Does what a request asks, or says why not.
    pub(super) async fn attend(&mut self, request: Request) -> Result<(), EngineError> {
        match request.wish.clone() {
            Wish::Pause | Wish::Resume => self.hold_or_release(request).await,
            Wish::Cancel(entity_id) => self.cancel(request, entity_id).await,
            Wish::Settle {
                entity_id, ruling, ..
            } => {
                let what = What::Rule {
                    request: request.id,
                    ruling,
                    said: Said {
                        at: request.at,
                        heard: self.tower.clocks.now(),
                    },
                };
                self.order_about_doubt(request, entity_id, what).await
            }
            Wish::Reconcile(Some(entity_id)) => {
                self.order_about_doubt(request, entity_id, What::AskNow)
                    .await
            }
            Wish::Reconcile(None) => self.ask_about_all(request).await,
            // Only a process that pays can do it: it stays on record for the next.
            Wish::Redrive { .. } if self.takes_up_for_orders => Ok(()),
            Wish::Redrive {
                entity_id,
                generation,
            } => self.redrive(request, entity_id, generation).await,
            Wish::Discard {
                event_id,
                entity_id,
                ..
            } => self.discard(request, event_id, entity_id).await,
        }
    }

    /// The request itself is the state: the newest of the two kinds holds or releases.
    async fn hold_or_release(&mut self, request: Request) -> Result<(), EngineError> {
        let words = if request.wish == Wish::Pause {
            self.hold_for(&request.by, request.at);
            "the flow is held; calls under way end, and nothing new is sent until it is resumed"
        } else {
            self.tower.gate.lift(HoldKind::Person);
            "the flow goes on"
        };
        self.answer_request(&request, true, None, words.to_owned())
            .await
    }

    pub(super) fn hold_for(&self, person: &Person, since: Timestamp) {
        let by = person.to_string();
        self.tower.gate.hold(Hold::Person { by, since });
    }

    /// A cancel is on record first, then takes effect at the job's next wait.
    async fn cancel(&mut self, request: Request, entity_id: EntityId) -> Result<(), EngineError> {
        if self.forget_redrives_of(&entity_id).await? {
            let words = "cancelled: it is not run again";
            return self
                .answer_request(&request, true, None, words.to_owned())
                .await;
        }
        let sight = self.sight_of(&entity_id).await?;
        let cancelled = match self.jobs.get(&entity_id) {
            Some(taken) if matches!(taken.stand, Stand::InDoubt { .. }) => {
                Ok((taken.generation, CANCELLED_IN_DOUBT.to_owned()))
            }
            Some(taken) => Ok((
                taken.generation,
                "cancelled: it is not sent, unless the bank has it already; its outcome says which"
                    .to_owned(),
            )),
            None => self.cancel_of_sight(&sight),
        };
        let (accepted, generation, words) = match cancelled {
            Ok((generation, words)) => (true, Some(generation), words),
            Err(words) => (false, None, words),
        };
        self.answer_request(&request, accepted, generation, words)
            .await?;
        if let Some(taken) = self.jobs.get_mut(&entity_id).filter(|_| accepted) {
            taken.cancelled = true;
            // Without a flight it is seen at the start; with one, at its next wait.
            if let Some(orders) = taken.orders.clone() {
                self.chores.spawn(async move {
                    let (reply, _) = oneshot::channel();
                    let what = What::Cancel;
                    // A flight that has ended needs no order.
                    drop(orders.send(Order { what, reply }).await);
                    Ok(())
                });
            }
        }
        Ok(())
    }

    /// What a cancel is to a job that nobody works on: the generation that it is about, in words; or
    /// why it comes too late.
    fn cancel_of_sight(&self, sight: &Sight) -> Result<(Generation, String), String> {
        let (generation, standing) = match sight {
            Sight::Unknown | Sight::Cancelled => {
                let words = "cancelled: this job has not come yet, and is not sent when it comes";
                return Ok((Generation::FIRST, words.to_owned()));
            }
            Sight::Known {
                generation,
                standing,
                ..
            } => (*generation, standing),
        };
        Ok(match standing {
            // What ended without moving money may still come in a run that sends such rows again.
            Standing::Finished(outcome) if self.runs_again && outcome.status.may_be_followed() => (
                generation.next(),
                format!(
                    "cancelled: this job is {}, and is not run again when it comes",
                    outcome.status
                ),
            ),
            Standing::Finished(outcome) => return Err(too_late(outcome.status)),
            Standing::Released { .. } => (
                generation,
                "cancelled: it was not sent, and is not sent when it comes again".to_owned(),
            ),
            Standing::Held { .. } => (
                generation,
                "cancelled: it waits behind another job of its card, and is not sent at its turn"
                    .to_owned(),
            ),
            Standing::InDoubt(_) => (generation, CANCELLED_IN_DOUBT.to_owned()),
        })
    }

    /// Tells the flight of a job in doubt, and answers with what comes of it.
    pub(super) async fn order_about_doubt(
        &mut self,
        request: Request,
        entity_id: EntityId,
        what: What,
    ) -> Result<(), EngineError> {
        self.take_up_for_order(&entity_id).await?;
        let Some((orders, generation)) = self.flight_in_doubt(&entity_id) else {
            let words = self.why_not_in_doubt(&entity_id).await?;
            return self.answer_request(&request, false, None, words).await;
        };
        let tower = Arc::clone(&self.tower);
        self.ordering.spawn(async move {
            carry_order(&tower, &request, generation, orders, what).await?;
            Ok(())
        });
        Ok(())
    }

    /// The way to the flight of a job in doubt. Where it was taken up for one order only, that way is
    /// given away, so that the flight ends with it.
    fn flight_in_doubt(
        &mut self,
        entity_id: &EntityId,
    ) -> Option<(mpsc::Sender<Order>, Generation)> {
        let ends_with_it = self.takes_up_for_orders;
        let taken = self.jobs.get_mut(entity_id)?;
        if !matches!(taken.stand, Stand::InDoubt { .. }) {
            return None;
        }
        let orders = if ends_with_it {
            taken.orders.take()
        } else {
            taken.orders.clone()
        };
        Some((orders?, taken.generation))
    }

    async fn why_not_in_doubt(&self, entity_id: &EntityId) -> Result<String, LedgerError> {
        if let Some(taken) = self.jobs.get(entity_id) {
            let words = match taken.stand {
                Stand::InDoubt { .. } => {
                    "the bank is being asked about this job just now: ask again"
                }
                Stand::Queued | Stand::Flying => "this job is not in doubt: it is being worked on",
            };
            return Ok(words.to_owned());
        }
        Ok(match self.sight_of(entity_id).await? {
            Sight::Unknown => "the ledger knows no job of this entity_id".to_owned(),
            Sight::Cancelled => "this job was cancelled before it came".to_owned(),
            Sight::Known {
                standing: Standing::Finished(outcome),
                ..
            } => too_late(outcome.status),
            Sight::Known {
                standing: Standing::Released { .. },
                ..
            } => "this job is not in doubt: it was provably not sent, and waits".to_owned(),
            Sight::Known {
                standing: Standing::Held { .. },
                ..
            } => "this job is not in doubt: it waits behind another of its card".to_owned(),
            Sight::Known {
                standing: Standing::InDoubt(_),
                ..
            } => "this job has just come into doubt: ask again".to_owned(),
        })
    }

    /// Asks about every job in doubt.
    async fn ask_about_all(&mut self, request: Request) -> Result<(), EngineError> {
        if self.takes_up_for_orders {
            self.recover().await?;
        }
        let in_doubt: Vec<_> = self.jobs.keys().cloned().collect();
        let mut asked = 0_usize;
        for entity_id in in_doubt {
            let Some((orders, _)) = self.flight_in_doubt(&entity_id) else {
                continue;
            };
            let (reply, _) = oneshot::channel();
            let what = What::AskNow;
            asked += usize::from(orders.try_send(Order { what, reply }).is_ok());
        }
        let words = match asked {
            0 => "no job is in doubt now".to_owned(),
            1 => "the bank is asked about the one job in doubt".to_owned(),
            _ => format!("the bank is asked about {asked} jobs in doubt, four at a time"),
        };
        self.answer_request(&request, true, None, words).await
    }

    pub(super) async fn sight_of(&self, entity_id: &EntityId) -> Result<Sight, LedgerError> {
        let sights = self.tower.ledger.look(vec![entity_id.clone()]).await?;
        Ok(sights.into_iter().next().unwrap_or(Sight::Unknown))
    }

    pub(super) async fn answer_request(
        &self,
        request: &Request,
        accepted: bool,
        generation: Option<Generation>,
        words: String,
    ) -> Result<(), EngineError> {
        answer(&self.tower, request, accepted, generation, words).await?;
        Ok(())
    }
}

/// Gives an order to a flight and answers the request with its reply, however long that takes: what
/// is answered must be what happens. Whoever asked waits for as long as they like.
async fn carry_order(
    tower: &Tower,
    request: &Request,
    generation: Generation,
    orders: mpsc::Sender<Order>,
    what: What,
) -> Result<(), LedgerError> {
    let (reply, replied) = oneshot::channel();
    let given = async {
        orders.send(Order { what, reply }).await.ok()?;
        replied.await.ok()
    };
    let (accepted, words) = match given.await {
        Some(Reply::OnRecord) => return Ok(()),
        Some(Reply::Done(words)) => (true, words),
        Some(Reply::Declined(words)) => (false, words),
        None => (
            false,
            "not done: what is known of this job has just changed. Look at it again".to_owned(),
        ),
    };
    answer(tower, request, accepted, Some(generation), words).await
}

pub(super) async fn answer(
    tower: &Tower,
    request: &Request,
    accepted: bool,
    generation: Option<Generation>,
    words: String,
) -> Result<(), LedgerError> {
    telemetry::RequestAnswered {
        wish: request.wish.as_str(),
        entity_id: request.wish.entity_id(),
        by: request.by.as_str(),
        accepted,
    }
    .emit();
    let answer = Answer {
        accepted,
        generation,
        words,
        at: tower.clocks.now().wall,
    };
    tower.ledger.answer(request.id, answer).await
}
