//! Whoever reads outcomes: takes each event once, keeps its bytes, and compares what it is told with the
//! bank's books. And the sink that brings them.
//!
//! *What it promises.* Every first reading is judged at once: one final outcome a generation, the same
//! bytes, rising numbers, and nothing called unmoved that moved.
//!
//! *What it refuses to know.* How the engine came to an outcome.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use tanda::domain::key::EventId;
use tanda::domain::outcome::{NOT_PROVEN, RULED, Status};
use tanda::engine::ports::{Sink, SinkError, StoredOutcome};
use tanda::engine::settings::POISON_PANICS;
use tanda::wire::outcome::OutcomeMessage;

use super::bank::TheBank;
use super::fault::Fault;
use super::plan::{Blow, Plan};
use super::sabotage::Sabotage;
use super::scene::{Life, Scene, lock};

/// What was read of one event.
#[derive(Clone, Debug)]
pub(super) struct Read {
    body: Vec<u8>,
    pub(super) status: Status,
    pub(super) name: Option<String>,
    pub(super) generation: u32,
    pub(super) is_ruled: bool,
    /// How often the ledger had been lost by then.
    epoch: u64,
}

#[derive(Default)]
struct Rack {
    events: BTreeMap<EventId, Read>,
    /// The number and the status of what was read last of each generation of each job.
    last: BTreeMap<(String, u32), (u32, Option<Status>)>,
    epoch: u64,
    full_until_ms: u64,
}

/// The readers. Clones share the rack.
#[derive(Clone)]
pub(super) struct Readers {
    scene: Scene,
    plan: Arc<Plan>,
    bank: TheBank,
    sabotage: Sabotage,
    rack: Arc<Mutex<Rack>>,
}

impl Readers {
    pub(super) fn new(scene: Scene, plan: Arc<Plan>, bank: TheBank, sabotage: Sabotage) -> Self {
        Self {
            scene,
            plan,
            bank,
            sabotage,
            rack: Arc::default(),
        }
    }

    pub(super) fn sink(&self, life: Life) -> SinkDoor {
        SinkDoor {
            readers: self.clone(),
            life,
        }
    }

    /// What was told before does not bind a ledger that has forgotten it.
    pub(super) fn ledger_is_lost(&self) {
        let mut rack = lock(&self.rack);
        rack.epoch += 1;
        rack.last.clear();
    }

    pub(super) fn full(&self, for_ms: u64) {
        lock(&self.rack).full_until_ms = self.scene.now() + for_ms;
    }

    pub(super) fn end_of_troubles(&self) {
        lock(&self.rack).full_until_ms = 0;
    }

    pub(super) fn have(&self, event_id: EventId) -> bool {
        lock(&self.rack).events.contains_key(&event_id)
    }

    pub(super) fn all(&self) -> Vec<Read> {
        lock(&self.rack).events.values().cloned().collect()
    }

    /// What was told since the ledger was last lost.
    pub(super) fn told_since_loss(&self) -> Vec<Read> {
        let rack = lock(&self.rack);
        let all = rack.events.values();
        all.filter(|read| read.epoch == rack.epoch)
            .cloned()
            .collect()
    }

    fn receive(&self, outcome: &StoredOutcome) {
        let mut rack = lock(&self.rack);
        let epoch = rack.epoch;
        if let Some(known) = rack.events.get_mut(&outcome.event_id) {
            if known.body == outcome.body {
                known.epoch = epoch;
                return;
            }
            if known.epoch == epoch {
                let (known, new) = (known.body.clone(), outcome.body.clone());
                drop(rack);
                self.scene.violate("I4", || {
                    let text = |body: &[u8]| String::from_utf8_lossy(body).into_owned();
                    format!("other bytes: {} and {}", text(&known), text(&new))
                });
                return;
            }
            known.body.clone_from(&outcome.body);
            known.epoch = epoch;
            return;
        }
        let message = OutcomeMessage::decode(&outcome.body).expect("our own message");
        let read = Read {
            body: outcome.body.clone(),
            status: outcome.status,
            name: message.entity_id.clone(),
            generation: message.generation.unwrap_or_default(),
            is_ruled: message.reason.as_deref() == Some(RULED),
            epoch,
        };
        rack.events.insert(outcome.event_id, read.clone());
        drop(rack);
        self.scene.tell(|| {
            format!(
                "read: {:?} generation {} {} {:?} seq {}",
                read.name, read.generation, read.status, message.reason, message.seq
            )
        });
        self.count(&read);
        if !matches!(read.status, Status::Conflict | Status::Invalid) {
            self.judge(&read, message.seq, message.reason.as_deref());
        }
    }

    fn count(&self, read: &Read) {
        self.scene.count(|it| match read.status {
            Status::Succeeded => it.succeeded += 1,
            Status::Rejected => it.rejected += 1,
            Status::NotSent => it.not_sent += 1,
            Status::InDoubt => it.doubts += 1,
            Status::Waiting => it.held += 1,
            Status::Conflict => it.conflicts += 1,
            Status::Invalid => it.invalid += 1,
        });
    }

    fn judge(&self, read: &Read, seq: u32, reason: Option<&str>) {
        let name = read.name.clone().unwrap_or_default();
        let generation = read.generation;
        let place = (name.clone(), generation);
        let last = lock(&self.rack).last.get(&place).copied();
        let final_before = last.and_then(|(_, status)| status);
        if let (Some(before), true) = (final_before, read.status.is_final()) {
            let now = read.status;
            self.scene.violate("I4", || {
                format!("{name} generation {generation} ended as {before} and as {now}")
            });
        }
        if last.is_some_and(|(before, _)| before >= seq) {
            self.scene.violate("I4", || {
                format!(
                    "{name} generation {generation}: {} has number {seq} again",
                    read.status
                )
            });
        }
        let ended = read
            .status
            .is_final()
            .then_some(read.status)
            .or(final_before);
        lock(&self.rack).last.insert(place, (seq, ended));
        self.judge_ground(read, reason);
        if read.is_ruled {
            return;
        }
        let moved = self.bank.moved_by(&name, generation);
        if matches!(read.status, Status::Rejected | Status::NotSent) && moved {
            self.scene.violate("I5", || {
                format!(
                    "{name} generation {generation} is {} and was paid",
                    read.status
                )
            });
        }
        if read.status == Status::Succeeded && !self.bank.moved(&name) {
            self.scene
                .violate("I14", || format!("{name} is succeeded and was not paid"));
        }
    }

    /// Nothing of ours or of the bank's cost a job its life (I9): what it died of has happened to it.
    fn judge_ground(&self, read: &Read, reason: Option<&str>) {
        let name = read.name.as_deref().unwrap_or_default();
        let all = self.bank.heard(name);
        let own = all.iter().find(|(n, _)| *n == read.generation);
        let own = own.map(|(_, heard)| *heard).unwrap_or_default();
        let has_ground = match (read.status, reason) {
            (Status::Rejected, _) => own.refusals > 0,
            (Status::NotSent, Some("cancelled")) => self.was_cancelled(name),
            (Status::NotSent, Some("expired")) => self.has_expired(name),
            (Status::NotSent, Some("poison")) => {
                let panics: u32 = all.iter().map(|(_, heard)| heard.panics).sum();
                panics >= POISON_PANICS
            }
            (Status::NotSent, Some("attempts_spent")) => {
                own.spent >= self.plan.settings.rules.max_attempts
            }
            (Status::NotSent, Some(NOT_PROVEN)) => read.generation > 1,
            (Status::NotSent, reason) => reason == Some(RULED),
            (
                Status::Succeeded
                | Status::InDoubt
                | Status::Waiting
                | Status::Conflict
                | Status::Invalid,
                _,
            ) => true,
        };
        if !has_ground {
            self.scene.violate("I9", || {
                format!(
                    "{name} generation {} is {} because {reason:?}, and nothing of the kind happened: {own:?}",
                    read.generation, read.status
                )
            });
        }
    }

    fn was_cancelled(&self, name: &str) -> bool {
        let now = self.scene.now();
        let past = self.plan.blows.iter().filter(|(at_ms, _)| *at_ms <= now);
        let mut cancelled = past.filter_map(|(_, blow)| match blow {
            Blow::Cancel(job) => self.plan.jobs.get(*job),
            _ => None,
        });
        cancelled.any(|job| job.entity_id.as_str() == name)
    }

    /// Whether one of the clocks that count was ever past its end.
    fn has_expired(&self, name: &str) -> bool {
        let latest = self.scene.latest_wall().max(self.bank.time());
        let mut jobs = self.plan.jobs.iter();
        jobs.any(|job| {
            job.entity_id.as_str() == name && job.not_after.is_some_and(|end| end < latest)
        })
    }
}

/// The sink of one process.
pub(super) struct SinkDoor {
    readers: Readers,
    life: Life,
}

#[async_trait]
impl Sink for SinkDoor {
    async fn publish(&self, outcome: &StoredOutcome) -> Result<(), SinkError> {
        let readers = &self.readers;
        let scene = &readers.scene;
        scene.step(self.life).await;
        let takes = scene.up_to(readers.plan.sink_ms);
        scene.pass(takes).await;
        if lock(&readers.rack).full_until_ms > scene.now() {
            return Err(SinkError {
                is_full: true,
                is_broken: false,
                source: "nobody reads".into(),
            });
        }
        let trusts = readers.sabotage == Sabotage::SinkTrustsTheUnconfirmed;
        if scene.strikes(Fault::NotConfirmed) {
            return if trusts {
                Ok(())
            } else {
                Err(SinkError::new("returned"))
            };
        }
        if scene.strikes(Fault::SinkBroken) {
            return Err(SinkError {
                is_full: false,
                is_broken: true,
                source: "the connection broke".into(),
            });
        }
        // Whoever dies before it has published nothing.
        scene.step(self.life).await;
        readers.receive(outcome);
        if scene.strikes(Fault::ConfirmLost) {
            return Err(SinkError::new("not confirmed"));
        }
        scene.step(self.life).await;
        Ok(())
    }
}
