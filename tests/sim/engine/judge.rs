//! The judge at the end of a world: the bank's books against what is on record and what was told.
//!
//! *What it promises.* Every job that was offered is accounted for: paid once or not at all, ended, told,
//! in the order of its card.
//!
//! *What it refuses to know.* How a world came to its end.

use std::collections::BTreeMap;

use tanda::domain::job::EntityId;
use tanda::domain::key::Generation;
use tanda::domain::outcome::{RULED, Status};
use tanda::engine::ports::{Ledger as _, Sight, Standing};
use tanda::wire::outcome::OutcomeMessage;

use super::bank::{Movement, TheBank};
use super::fault::Fault;
use super::ledger::Vault;
use super::offers::{Offers, content_of};
use super::plan::{Message, Plan};
use super::readers::Readers;
use super::scene::Scene;
use super::world::ending;

/// A world at its end.
pub(super) struct Judged<'a> {
    pub(super) scene: &'a Scene,
    pub(super) plan: &'a Plan,
    pub(super) bank: &'a TheBank,
    pub(super) vault: &'a Vault,
    pub(super) readers: &'a Readers,
    pub(super) offers: &'a Offers,
    pub(super) losses: u64,
}

impl Judged<'_> {
    pub(super) async fn judge(&self) {
        let movements = self.bank.movements();
        self.judge_money(&movements);
        self.judge_told_so_far();
        for entity_id in self.offered() {
            self.judge_job(entity_id).await;
        }
        self.judge_panics();
    }

    /// What a ledger that is about to be lost has told, and, where it is the first, in which order it paid.
    pub(super) fn judge_told_so_far(&self) {
        self.judge_told();
        if self.losses == 0 {
            self.judge_order(&self.bank.movements());
        }
    }

    fn judge_money(&self, movements: &[Movement]) {
        let mut times: BTreeMap<&str, u32> = BTreeMap::new();
        for name in movements.iter().filter_map(|it| it.name.as_deref()) {
            *times.entry(name).or_default() += 1;
        }
        for (name, times) in times.into_iter().filter(|(_, times)| *times > 1) {
            self.scene
                .violate("I1", || format!("{name}: money moved {times} times"));
        }
    }

    /// The first generations of each card, in the order in which they were offered.
    fn judge_order(&self, movements: &[Movement]) {
        let mut last: BTreeMap<(String, bool), (u64, String)> = BTreeMap::new();
        let rows = self.plan.rows.iter().map(content_of);
        let rows: Vec<_> = rows.collect();
        for movement in movements.iter().filter(|it| it.generation == 1) {
            let name = movement.name.clone().unwrap_or_default();
            // Whoever says too early that it moved lets the next of its card go.
            if self.readers.person_erred(&name, Status::Succeeded) {
                continue;
            }
            let content = (
                name.clone(),
                movement.card_id.clone(),
                movement.operation.clone(),
                movement.minor,
            );
            let in_file = rows.iter().position(|row| *row == content);
            let in_queue = self.offers.place_of(&content);
            let (of_file, place) = match (in_file, in_queue) {
                (Some(row), None) => (true, u64::try_from(row).expect("few")),
                (None, Some(place)) => (false, place),
                // By whichever it came first, it has no place in the other's order.
                (Some(_), Some(_)) | (None, None) => continue,
            };
            let lane = (movement.card_id.clone(), of_file);
            if let Some((before, other)) = last.get(&lane)
                && *before > place
            {
                self.scene.violate("I7", || {
                    format!("{name} was paid after {other}, which came later")
                });
            }
            last.insert(lane, (place, name));
        }
    }

    /// What was told of each generation, against the books as they are by now.
    fn judge_told(&self) {
        for read in self.readers.told() {
            let Some(name) = read.name.as_deref() else {
                continue;
            };
            if read.is_ruled && self.readers.person_erred(name, read.status) {
                continue;
            }
            let is_unmoved = matches!(read.status, Status::Rejected | Status::NotSent);
            if is_unmoved && self.bank.moved_by(name, read.generation) {
                self.scene.violate("I5", || {
                    let generation = read.generation;
                    format!(
                        "{name} generation {generation} was {} and is paid",
                        read.status
                    )
                });
            }
        }
    }

    /// Everything valid that was offered, each name once.
    fn offered(&self) -> Vec<EntityId> {
        let puts = self.plan.puts.iter().filter_map(|(_, put)| match put {
            Message::Job(job) => Some(job),
            Message::Unreadable(_) => None,
        });
        let all = puts.chain(&self.plan.rows);
        let mut names: Vec<_> = all.map(|job| job.entity_id.clone()).collect();
        names.sort();
        names.dedup();
        names
    }

    async fn judge_job(&self, entity_id: EntityId) {
        let name = entity_id.as_str().to_owned();
        let sights = self.vault.books().look(vec![entity_id]).await;
        let sight = sights.expect("memory").into_iter().next();
        let sight = sight.unwrap_or(Sight::Unknown);
        let Some(status) = ending(&sight) else {
            if self.offers.must_be_known(&name) || self.losses == 0 {
                self.scene
                    .violate("I13", || format!("{name} has no end: {sight:?}"));
            }
            return;
        };
        let Sight::Known {
            generation,
            standing: Standing::Finished(outcome),
            ..
        } = &sight
        else {
            return;
        };
        if !self.readers.have(outcome.event_id) {
            self.scene
                .violate("I4", || format!("{name} is {status}, and nobody was told"));
        }
        let is_of_first = *generation == Generation::FIRST;
        let told = OutcomeMessage::decode(&outcome.body).expect("our own message");
        let is_ruled = told.reason.as_deref() == Some(RULED);
        let person_erred = is_ruled && self.readers.person_erred(&name, status);
        let is_succeeded = status == Status::Succeeded;
        // After a loss, what a forgotten generation paid is found under the name of the first.
        if is_of_first && is_succeeded && !person_erred && !self.bank.moved(&name) {
            self.scene
                .violate("I14", || format!("{name} is {status}, and was not paid"));
        }
        // And what the first was refused stays true of it, whatever a forgotten one paid.
        if is_of_first && !is_succeeded && !person_erred && self.bank.moved_by(&name, 1) {
            self.scene
                .violate("I5", || format!("{name} is {status}, and was paid"));
        }
    }

    /// No task panicked but where it was made to.
    fn judge_panics(&self) {
        if self.vault.panics() > 0 && self.plan.weights.of(Fault::TaskPanics) == 0 {
            self.scene.violate("no panic", || {
                "a task of the engine panicked by itself".to_owned()
            });
        }
    }
}
