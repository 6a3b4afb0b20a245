//! Landings: what becomes of a job and its lane when its flight ends.
//!
//! *What it promises.* A job that panicked goes on from the ledger, never from memory; one that
//! panics whatever is done takes no further task. The next job of the card starts only where this
//! one has let go.
//!
//! *What it refuses to know.* What a flight does.

use super::{Landed, River, Stand, Taken};
use crate::domain::job::{CardId, EntityId};
use crate::domain::key::Generation;
use crate::engine::EngineError;
use crate::engine::flight::{Landing, LeftBy, Start};
use crate::engine::lanes::Next;
use crate::engine::ports::{Back, Letter, Sight, Standing, StoredOutcome};
use crate::engine::publish::Row;
use crate::engine::settings::{PARKING_PANICS, POISON_PANICS};
use crate::telemetry;

impl River {
    /// A flight ended.
    pub(super) async fn land(&mut self, landed: Landed) -> Result<(), EngineError> {
        match landed {
            Ok((task, result)) => {
                let Some(entity_id) = self.by_task.remove(&task) else {
                    return Ok(());
                };
                self.lands(&entity_id, result?).await?;
                self.ask_guests_in(&entity_id).await
            }
            Err(error) if error.is_panic() => match self.by_task.remove(&error.id()) {
                Some(entity_id) => {
                    self.lands_panicked(&entity_id).await?;
                    self.ask_guests_in(&entity_id).await
                }
                None => Ok(()),
            },
            Err(_cancelled) => Ok(()),
        }
    }

    async fn lands(&mut self, entity_id: &EntityId, landing: Landing) -> Result<(), EngineError> {
        match landing {
            Landing::Settled => self.lands_settled(entity_id),
            Landing::Stopped => self.lands_stopped(entity_id).await,
            Landing::Declined => self.lands_declined(entity_id).await,
            Landing::LetGo { why, deferral } => {
                self.lands_let_go(entity_id, why, deferral).await?;
            }
            Landing::Elsewhere => self.lands_elsewhere(entity_id).await?,
        }
        Ok(())
    }

    fn lands_settled(&mut self, entity_id: &EntityId) {
        if let Some(taken) = self.jobs.remove(entity_id) {
            self.in_doubt -= usize::from(matches!(taken.stand, Stand::InDoubt { .. }));
            self.let_next_start(&taken.job.card_id, entity_id);
        }
    }

    /// It stays as its earlier generation left it.
    async fn lands_declined(&mut self, entity_id: &EntityId) {
        if let Some(taken) = self.jobs.remove(entity_id) {
            taken.receipts.back(Back::NotProven).await;
            self.let_next_start(&taken.job.card_id, entity_id);
        }
    }

    /// The process stops, which this flight may have seen before the river: nothing behind it may begin.
    pub(super) async fn lands_stopped(&mut self, entity_id: &EntityId) {
        if let Some(taken) = self.jobs.remove(entity_id) {
            taken.receipts.back(Back::Undecided).await;
            self.give_back_behind(&taken.job.card_id).await;
        }
    }

    /// The ledger had something to say about it after all: a row, or a cancel.
    async fn lands_elsewhere(&mut self, entity_id: &EntityId) -> Result<(), EngineError> {
        let sights = self.tower.ledger.look(vec![entity_id.clone()]).await?;
        let sight = sights.into_iter().next();
        if sight.as_ref().is_some_and(is_cancelled) {
            if let Some(taken) = self.jobs.get_mut(entity_id) {
                taken.cancelled = true;
                let start = taken.fresh_start();
                self.start(entity_id, start);
            }
            return Ok(());
        }
        let Some(taken) = self.jobs.remove(entity_id) else {
            return Ok(());
        };
        self.in_doubt -= usize::from(matches!(taken.stand, Stand::InDoubt { .. }));
        self.let_next_start(&taken.job.card_id, entity_id);
        match sight {
            Some(Sight::Known {
                standing: Standing::Finished(outcome),
                fingerprint,
                ..
            }) if fingerprint == taken.fingerprint => {
                let is_dead = outcome.status.is_dead_lettered();
                let outcome = StoredOutcome {
                    letter: is_dead.then(|| Letter::of(&taken.job)),
                    ..outcome
                };
                self.answer(outcome, Row::Theirs, taken.receipts);
            }
            // What is said about it was said to others: the copy gets its own answer.
            Some(_) | None => taken.receipts.back(Back::ComesAgain).await,
        }
        Ok(())
    }

    /// A fault of ours: the job goes on from the ledger, never from memory.
    async fn lands_panicked(&mut self, entity_id: &EntityId) -> Result<(), EngineError> {
        let panics = self.tower.ledger.note_panic(entity_id.clone()).await?;
        telemetry::JobPanicked { entity_id, panics }.emit();
        if panics >= PARKING_PANICS {
            return self.park(entity_id).await;
        }
        let sights = self.tower.ledger.look(vec![entity_id.clone()]).await?;
        match sights.into_iter().next() {
            Some(Sight::Known {
                generation,
                standing: Standing::Finished(_),
                ..
            }) if self.is_of(entity_id, generation) => self.lands_elsewhere(entity_id).await,
            Some(Sight::Known {
                standing: Standing::InDoubt(_),
                ..
            }) => {
                let open = self.find_open(entity_id).await?;
                if let (Some(open), Some(taken)) = (open, self.jobs.get_mut(entity_id)) {
                    let was = std::mem::replace(&mut taken.stand, Stand::InDoubt { longer: false });
                    self.in_doubt += usize::from(!matches!(was, Stand::InDoubt { .. }));
                    let (open, left_by) = (Box::new(open), LeftBy::TaskHere);
                    self.start(entity_id, Start::Recovered { open, left_by });
                }
                Ok(())
            }
            Some(
                Sight::Unknown
                | Sight::Cancelled
                | Sight::Known {
                    standing:
                        Standing::Released { .. } | Standing::Held { .. } | Standing::Finished(_),
                    ..
                },
            )
            | None => {
                if let Some(taken) = self.jobs.get_mut(entity_id) {
                    taken.panics = panics.min(POISON_PANICS);
                    let start = taken.fresh_start();
                    self.start(entity_id, start);
                }
                Ok(())
            }
        }
    }

    /// Whether the job is worked on as this generation.
    fn is_of(&self, entity_id: &EntityId, generation: Generation) -> bool {
        let taken = self.jobs.get(entity_id);
        taken.is_some_and(|taken| taken.generation == generation)
    }

    /// A job whose task panics whatever is done takes no further task in this process: its card is
    /// shut, and what is not answered is given back.
    async fn park(&mut self, entity_id: &EntityId) -> Result<(), EngineError> {
        let Some(taken) = self.jobs.get_mut(entity_id) else {
            return Ok(());
        };
        let before = std::mem::replace(&mut taken.stand, Stand::InDoubt { longer: true });
        self.in_doubt += usize::from(!matches!(before, Stand::InDoubt { .. }));
        let card_id = taken.job.card_id.clone();
        if self.tower.settings.holding.is_none() {
            taken.receipts.back(Back::Undecided).await;
            self.give_back_behind(&card_id).await;
            return Ok(());
        }
        // Given back, it would come again at once. What waits behind it goes to the ledger, and before
        // that it goes there itself, where it has no mark there.
        let before = match self.sight_of(entity_id).await? {
            Sight::Known {
                standing: Standing::InDoubt(_) | Standing::Finished(_),
                ..
            } => None,
            Sight::Unknown
            | Sight::Cancelled
            | Sight::Known {
                standing: Standing::Released { .. } | Standing::Held { .. },
                ..
            } => self.jobs.remove(entity_id).map(|taken| (taken, None)),
        };
        self.in_doubt -= usize::from(before.is_some());
        if self.lanes.fence(&card_id, entity_id) || before.is_some() {
            self.take_over(&card_id, before, Vec::new()).await?;
        }
        Ok(())
    }

    pub(super) fn let_next_start(&mut self, card_id: &CardId, entity_id: &EntityId) {
        match self.lanes.leave(card_id, entity_id) {
            Next::Job(next) => {
                if let Some(start) = self.jobs.get(&next).map(Taken::fresh_start) {
                    self.start(&next, start);
                }
            }
            Next::Held => self.ready.push_back(card_id.clone()),
            Next::Nothing => {}
        }
    }
}

/// Whether a job that has not been sent is cancelled.
const fn is_cancelled(sight: &Sight) -> bool {
    match sight {
        Sight::Cancelled
        | Sight::Known {
            standing:
                Standing::Released { cancelled: true }
                | Standing::Held {
                    cancelled: true, ..
                },
            ..
        } => true,
        Sight::Unknown | Sight::Known { .. } => false,
    }
}
