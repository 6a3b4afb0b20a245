//! The calm: faults have stopped, and the world works until everything is settled.
//!
//! *What it promises.* What only a person can decide, a person decides, rightly. What is not settled in time
//! is told as a violation, and so is a person who was called without need.
//!
//! *What it refuses to know.* What happened before.

use tanda::domain::request::Wish;
use tanda::engine::PauseCause;
use tanda::engine::ports::{Ledger as _, OpenJob, Origin};

use super::{Event, Process, World};
use crate::engine::plan::Sources;

/// Once faults have stopped, all is settled within so many settle delays, and what the rests, probes and
/// retries of the engine take, which do not shrink with these.
const SETTLED_WITHIN_DELAYS: u64 = 3_000;
const SETTLED_WITHIN_MS: u64 = 7_200_000;
/// So many runs of a file leave to the list what is in doubt.
const RUNS_WITHOUT_A_PERSON: u32 = 3;
/// Signs of life say no more exactly than this until when a process may have called the bank.
const BEATS_MS: u64 = 4_000;
/// After a loss people wait for the list for so many settle delays.
const LOST_WAIT_DELAYS: u64 = 8;

impl World {
    pub(super) async fn end_of_faults(&mut self) {
        self.scene.tell(|| "faults end".to_owned());
        self.calm = true;
        self.scene.end_of_faults();
        self.bank.end_of_troubles();
        self.readers.end_of_troubles();
        self.vault.books().set_free_bytes(None);
        self.ask(Wish::Resume).await;
        self.deadline_ms =
            self.scene.now() + SETTLED_WITHIN_DELAYS * self.plan.settle_ms + SETTLED_WITHIN_MS;
        if self.process.is_none() {
            self.after(0, Event::Start);
        }
        self.after(0, Event::Look);
    }

    /// Looks whether all is settled. What only a person can decide, a person decides.
    pub(super) async fn look(&mut self) {
        let books = self.vault.books();
        let open = books.unsettled(None, usize::MAX).await.expect("memory");
        if self.waits_for_nobody() {
            self.decide(&open).await;
        }
        let requests = books.open_requests(None, 1).await.expect("memory");
        let is_asked = !requests.is_empty();
        let is_settled = open.is_empty()
            && self.offers.len() == 0
            && books.held_count().await.expect("memory") == 0
            && books
                .unpublished(&Origin::ALL, 1)
                .await
                .expect("memory")
                .is_empty()
            && !is_asked;
        let is_read = self.file_is_read || self.plan.rows.is_empty();
        let is_done = is_settled && is_read;
        if !is_done && !is_asked && self.is_refused_by_all() {
            // Rows that are to be refused: else each waits half an hour for its trial.
            self.ask(Wish::Resume).await;
        }
        if is_done && self.scene.now() > self.last_put_ms() {
            let stops = |it: &Process| it.asked_to_stop;
            if !self.process.as_ref().is_some_and(stops) {
                self.ask_to_stop();
            }
            self.over = self.process.is_none();
        }
        if !self.over && self.scene.now() > self.deadline_ms {
            let left = self.offers.len();
            let names: Vec<_> = open
                .iter()
                .map(|it| it.intent.job.entity_id.clone())
                .collect();
            let held = books.held_count().await.expect("memory");
            let requests = books.open_requests(None, 9).await.expect("memory").len();
            let pause = self.process.as_ref().map(|it| it.pauses.borrow().clone());
            let delivered = self.offers.open();
            self.scene.violate("I13", || {
                format!(
                    "not settled: {left} messages, {held} held, open {names:?}, {requests} requests, \
                     delivered {delivered:?}, pause {pause:?}"
                )
            });
        } else if self.over || is_done {
            // It ends by itself.
        } else if self.process.is_none() {
            if self.waits_for_nobody() {
                self.start();
            }
        } else if self.plan.sources == Sources::Both && open.is_empty() {
            self.change_turns();
        }
        self.after(self.plan.settle_ms.max(500), Event::Look);
    }

    fn is_refused_by_all(&self) -> bool {
        let pause = self
            .process
            .as_ref()
            .and_then(|it| it.pauses.borrow().clone());
        pause.is_some_and(|pause| matches!(pause.cause, PauseCause::MassRefusal { .. }))
    }

    fn last_put_ms(&self) -> u64 {
        self.plan.puts.last().map_or(0, |(at_ms, _)| *at_ms)
    }

    /// Where there are a file and a queue, each gets its turn.
    fn change_turns(&mut self) {
        let is_done = |it: &Process| !it.of_file && !it.asked_to_stop;
        let is_idle = self.offers.len() == 0;
        if self.process.as_ref().is_some_and(is_done) && is_idle && !self.file_is_read {
            self.ask_to_stop();
            self.next_is_file = true;
        }
    }

    /// A person who must wait until what was sent last cannot arrive any more lets nobody run until then.
    fn waits_for_nobody(&self) -> bool {
        let wait_ms = 2 * self.plan.settle_ms + BEATS_MS;
        let is_told = self.calm_runs > RUNS_WITHOUT_A_PERSON && self.process.is_none();
        !is_told || self.scene.now() > self.ended_ms + wait_ms
    }

    async fn decide(&mut self, open: &[OpenJob]) {
        // A run of a file ends before a person is called, and says what is in doubt.
        let is_told = self.calm_runs > RUNS_WITHOUT_A_PERSON && self.process.is_none();
        let now = self.scene.now();
        for job in open {
            let entity_id = job.intent.job.entity_id.clone();
            let place = (entity_id.clone(), job.intent.generation.get());
            let since_ms = *self.open_since_ms.entry(place.clone()).or_insert(now);
            // After a loss, people do not wait for all asks of each of many jobs, one behind the other.
            let is_long =
                self.losses > 0 && now - since_ms > LOST_WAIT_DELAYS * self.plan.settle_ms;
            let is_due = job.person_needed || is_told || is_long;
            if is_due && self.ruled.insert(place) {
                self.judge_person(job);
                self.rule(entity_id, true).await;
            }
        }
        if open.is_empty() {
            return;
        }
        // One who is told that it is too early asks again, whatever else waits: a job that is to be run again
        // waits for those of its card.
        let books = self.vault.books();
        let asked = books.open_requests(None, usize::MAX).await.expect("memory");
        if !asked
            .iter()
            .any(|it| matches!(it.wish, Wish::Settle { .. }))
        {
            self.ruled.clear();
        }
    }

    /// A person is called only where the list could not say.
    fn judge_person(&self, job: &OpenJob) {
        let name = &job.intent.job.entity_id;
        let excused = self.losses > 0
            || self.plan.mangles_ids
            || self.plan.nameless > 0
            || !self.vault.list_has_said(name);
        if !excused {
            self.scene.violate("I13", || {
                format!("{name}: a person is called though the list says it")
            });
        }
    }
}
