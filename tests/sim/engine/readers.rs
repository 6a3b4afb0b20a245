//! Whoever reads outcomes: takes each event once, keeps its bytes, and compares what it is told with the
//! bank's books. And the sink that brings them.
//!
//! *What it promises.* Every first reading is judged at once: one final outcome a generation, the same
//! bytes, rising numbers, and nothing called unmoved that moved. So is what a ledger tells again that has
//! forgotten that it told it.
//!
//! *What it refuses to know.* How the engine came to an outcome.

use std::collections::{BTreeMap, BTreeSet};
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
}

/// What was told by a ledger that still knows of it.
#[derive(Clone, Default)]
struct Kept {
    told: BTreeSet<EventId>,
    /// The number and the status of what was read last of each generation of each job.
    last: BTreeMap<(String, u32), (u32, Option<Status>)>,
}

#[derive(Default)]
struct Rack {
    /// Each event as it was read last, whatever the ledger has forgotten since.
    events: BTreeMap<EventId, Read>,
    kept: Kept,
    copy: Option<Kept>,
    /// What people said of a job that was wrong when they said it.
    erred: BTreeSet<(String, Status)>,
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

    pub(super) fn ledger_is_copied(&self) {
        let mut rack = lock(&self.rack);
        rack.copy = Some(rack.kept.clone());
    }

    /// What was told before does not bind a ledger that has forgotten it; what its copy knows binds it.
    pub(super) fn ledger_is_lost(&self, puts_copy_back: bool) {
        let mut rack = lock(&self.rack);
        let copy = rack.copy.take().filter(|_| puts_copy_back);
        rack.kept = copy.unwrap_or_default();
        // An intent that was withdrawn when its job was told to wait is open again in a copy, which numbers
        // the doubt about it as it did before: only ends bind it.
        rack.kept.last.retain(|_, (number, end)| {
            *number = 0;
            end.is_some()
        });
    }

    pub(super) fn full(&self, for_ms: u64) {
        lock(&self.rack).full_until_ms = self.scene.now() + for_ms;
    }

    pub(super) fn end_of_troubles(&self) {
        lock(&self.rack).full_until_ms = 0;
    }

    /// Whether this was confirmed to the ledger as it is.
    pub(super) fn have(&self, event_id: EventId) -> bool {
        lock(&self.rack).kept.told.contains(&event_id)
    }

    pub(super) fn person_errs(&self, name: &str, status: Status) {
        let said = (name.to_owned(), status);
        lock(&self.rack).erred.insert(said);
    }

    /// Whether a person said this of a job, and it was wrong then.
    pub(super) fn person_erred(&self, name: &str, status: Status) -> bool {
        let said = (name.to_owned(), status);
        lock(&self.rack).erred.contains(&said)
    }

    /// What was told by the ledger as it is.
    pub(super) fn told(&self) -> Vec<Read> {
        let rack = lock(&self.rack);
        let all = rack.kept.told.iter();
        all.filter_map(|event_id| rack.events.get(event_id).cloned())
            .collect()
    }

    fn receive(&self, event_id: EventId, status: Status, body: &[u8]) {
        let mut rack = lock(&self.rack);
        let is_known = !rack.kept.told.insert(event_id);
        let known = rack.events.get(&event_id);
        let is_new = known.is_none();
        if let Some(known) = known.filter(|_| is_known) {
            let known = known.body.clone();
            drop(rack);
            if known != body {
                self.scene.violate("I4", || {
                    let text = |body: &[u8]| String::from_utf8_lossy(body).into_owned();
                    format!("other bytes: {} and {}", text(&known), text(body))
                });
            }
            return;
        }
        let message = OutcomeMessage::decode(body).expect("our own message");
        let read = Read {
            body: body.to_vec(),
            status,
            name: message.entity_id.clone(),
            generation: message.generation.unwrap_or_default(),
            is_ruled: message.reason.as_deref() == Some(RULED),
        };
        rack.events.insert(event_id, read.clone());
        drop(rack);
        self.scene.tell(|| {
            format!(
                "read: {:?} generation {} {} {:?} seq {}",
                read.name, read.generation, read.status, message.reason, message.seq
            )
        });
        if is_new {
            self.count(&read);
        }
        if !matches!(read.status, Status::Conflict | Status::Invalid) {
            self.judge(&read, message.seq, message.reason.as_deref());
        }
    }

    /// Tells another end of this generation, which a ledger that was lost had told.
    fn tell_an_old_end(&self, status: Status, body: &[u8]) {
        let message = OutcomeMessage::decode(body).expect("our own message");
        let rack = lock(&self.rack);
        let old = rack.events.iter().find(|(event_id, read)| {
            let is_of_it = read.name == message.entity_id
                && Some(read.generation) == message.generation
                && read.status.is_final();
            is_of_it && read.status != status && !rack.kept.told.contains(event_id)
        });
        let old = old.map(|(event_id, read)| (*event_id, read.status, read.body.clone()));
        drop(rack);
        if let Some((event_id, status, body)) = old.filter(|_| status.is_final()) {
            self.receive(event_id, status, &body);
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
        let last = lock(&self.rack).kept.last.get(&place).copied();
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
        lock(&self.rack).kept.last.insert(place, (seq, ended));
        self.judge_ground(read, reason);
        let moved = self.bank.moved_by(&name, generation);
        if read.is_ruled && self.person_erred(&name, read.status) {
            return;
        }
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
        let mut cancelled = past.filter_map(|(_, blow)| {
            let Blow::Cancel(job) = blow else { return None };
            self.plan.jobs.get(*job)
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
        if readers.sabotage == Sabotage::SinkTrustsForgottenConfirms
            && lock(&readers.rack).events.contains_key(&outcome.event_id)
        {
            return Ok(());
        }
        // Whoever dies before it has published nothing.
        scene.step(self.life).await;
        readers.receive(outcome.event_id, outcome.status, &outcome.body);
        if readers.sabotage == Sabotage::OldEndsAreToldAgain {
            readers.tell_an_old_end(outcome.status, &outcome.body);
        }
        if scene.strikes(Fault::ConfirmLost) {
            return Err(SinkError::new("not confirmed"));
        }
        scene.step(self.life).await;
        Ok(())
    }
}
