//! Admission: what the process makes of a delivery, and how it answers one.
//!
//! *What it promises.* As the engine does: a delivery joins the flight of its job, is answered from the
//! ledger, is refused as a copy, or is taken. An answer is given only for what is durable and confirmed.

use tanda::domain::outcome::NotSentReason;
use tanda::domain::progress::{Event, Forgotten, Progress, Stage};
use tanda::domain::time::Moment;

use super::flight::Flight;
use super::life::POISON_PANICS;
use super::publish::{After, Publication};
use super::{STEP_MAX_MS, World};
use crate::broker::{Event as ResultEvent, Kind, Place};
use crate::cast::Content;
use crate::mutant::Mutant;
use crate::oracle::{Violation, broken};

impl World {
    pub(super) fn deliver(&mut self, index: usize) -> Result<(), Violation> {
        let message = self.broker.message_mut(index);
        message.place = Place::Delivered;
        let message = *message;
        self.figures.deliveries += 1;
        self.figures.redeliveries += u64::from(message.redelivered);
        self.note(|_| format!("message {index} comes: {message:?}"));
        if self.mutant == Mutant::AnswersOnArrival {
            self.acknowledge(1 << index)?;
        }
        let (job, content) = (message.job, message.content);
        let receipt = 1 << index;
        if let Some(flight) = self.flights.get_mut(job).and_then(Option::as_mut) {
            if flight.content != content && self.mutant != Mutant::IgnoresTheFingerprint {
                let generation = flight.generation;
                self.refuse_copy(job, generation, content, receipt);
                return Ok(());
            }
            flight.redelivered |= message.redelivered;
            if flight.is_told {
                return self.acknowledge(receipt);
            }
            flight.receipts |= receipt;
            flight.is_lost = false;
            return Ok(());
        }
        let rows = &self.ledger.entry(job).rows;
        let generation = rows.len().saturating_sub(1);
        match rows.last() {
            None => self.take(job, content, receipt, message.redelivered),
            Some(row)
                if row.content != content
                    && self.mutant != Mutant::IgnoresTheFingerprint
                    && !(row.end.is_some() && self.mutant == Mutant::RunsCopies) =>
            {
                self.refuse_copy(job, generation, content, receipt);
                Ok(())
            }
            Some(row)
                if row.end.is_some()
                    && self.mutant != Mutant::RunsFinishedJobs
                    && (row.content == content || self.mutant != Mutant::RunsCopies) =>
            {
                self.replay(job, receipt);
                Ok(())
            }
            // Only a breaker of rules comes here.
            Some(_) => {
                let redelivered = message.redelivered && self.mutant != Mutant::RunsCopies;
                self.take(job, content, receipt, redelivered)
            }
        }
    }

    /// Takes a job from its source.
    pub(super) fn take(
        &mut self,
        job: usize,
        content: Content,
        receipts: u32,
        redelivered: bool,
    ) -> Result<(), Violation> {
        let entry = self.ledger.entry(job);
        let closing = (entry.panics >= POISON_PANICS)
            .then_some(NotSentReason::Poison)
            .or(entry.cancelled.then_some(NotSentReason::Cancelled));
        let progress = Progress::new(self.part(job).key(0), self.told_end(job));
        let progress = match closing {
            Some(reason) => progress.closing(reason),
            None => progress,
        };
        if self.ledger.is_lossy {
            let has_arrived = self.ledger.entry(job).has_arrived;
            self.watched(job).is_anew |= !redelivered || has_arrived;
        }
        let quiet_since = self.mono();
        let flight = |progress| Flight {
            receipts,
            redelivered,
            quiet_since,
            ..Flight::new(0, content, progress)
        };
        let at = self.moment();
        if let Some(event) = self.forgotten(job, redelivered, at) {
            self.begin_flight(job, flight(progress));
            return self.tell(job, event);
        }
        let progress = if self.ledger.is_lossy && self.mutant != Mutant::TrustsAFreshLedger {
            progress.forgotten()
        } else {
            progress
        };
        let action = progress.first_action(at);
        self.begin_flight(job, flight(progress));
        self.act(job, action)
    }

    /// What a ledger that has forgotten a time says of a job that it does not know: where what was sent
    /// then may not be listed yet, or the job was delivered before.
    fn forgotten(&mut self, job: usize, redelivered: bool, at: Moment) -> Option<Event> {
        if !self.ledger.is_lossy || self.mutant == Mutant::TrustsAFreshLedger {
            return None;
        }
        let entry = self.ledger.entry_mut(job);
        entry.has_arrived |= !redelivered;
        let after_delivery = !entry.has_arrived && self.mutant != Mutant::ResendsAfterLoss;
        let asks_first = after_delivery || !self.all_forgotten_is_listed();
        asks_first.then_some(Event::Forgotten(Forgotten {
            after_delivery,
            last_send: self.process.began,
            at,
        }))
    }

    /// Whether what was sent in the forgotten time must be listed by now: counted from the start of this
    /// process, by a clock that nobody sets, and on record for those that follow.
    pub(super) fn all_forgotten_is_listed(&mut self) -> bool {
        let asks = self.rules.asks;
        let is_listed = self.mono() >= asks.settle_delay() + asks.absence_gap();
        self.ledger.is_past |= is_listed;
        self.ledger.is_past
    }

    /// A copy that says something else: recorded and published as a fact about the copy.
    fn refuse_copy(&mut self, job: usize, generation: usize, content: Content, receipts: u32) {
        self.figures.conflicts += 1;
        let commit = self.commit();
        self.note(|_| format!("job {job}: a copy says {content:?}; that is committed: {commit:?}"));
        if commit.is_durable() {
            let conflicts = &mut self.ledger.entry_mut(job).conflicts;
            let known = conflicts
                .iter()
                .any(|known| (known.0, known.1) == (content, generation));
            if !known {
                conflicts.push((content, generation, false));
            }
        }
        if self.dies_of(commit) {
            return;
        }
        let event = ResultEvent {
            job,
            generation,
            kind: Kind::Conflict(content),
        };
        let after = After::Reply(receipts);
        self.publisher
            .add(Publication::new(event, None, self.now, after));
    }

    /// Publishes the outcome of a finished job again, and then answers these.
    pub(super) fn replay(&mut self, job: usize, receipts: u32) {
        let rows = &self.ledger.entry(job).rows;
        let generation = rows.len().saturating_sub(1);
        let Some(body) = rows.last().and_then(|row| row.end.clone()) else {
            return;
        };
        let body = self.body_to_tell_again(body);
        let publication =
            Publication::of_job(job, generation, body, self.now, After::Reply(receipts));
        self.publisher.add(publication);
    }

    /// Publishes what an earlier process left unpublished. An interim outcome that is still true is
    /// published by the flight that takes the job up.
    pub(super) fn publish_leftovers(&mut self, job: usize) {
        if self.mutant == Mutant::ForgetsTheOutbox {
            return;
        }
        let entry = self.ledger.entry(job);
        let mut left = Vec::new();
        for (generation, row) in entry.rows.iter().enumerate() {
            if let Some(body) = row.end.as_ref().filter(|_| !row.end_published) {
                left.push((generation, Some(body.clone()), None));
            }
        }
        for (content, generation, published) in &entry.conflicts {
            if !published {
                left.push((*generation, None, Some(*content)));
            }
        }
        for (generation, body, copy) in left {
            let publication = match (body, copy) {
                (Some(body), _) => {
                    Publication::of_job(job, generation, body, self.now, After::Nothing)
                }
                (None, Some(content)) => {
                    let kind = Kind::Conflict(content);
                    let event = ResultEvent {
                        job,
                        generation,
                        kind,
                    };
                    Publication::new(event, None, self.now, After::Nothing)
                }
                (None, None) => continue,
            };
            self.publisher.add(publication);
        }
    }

    /// The broker is told that these are done; it may never learn it.
    pub(super) fn acknowledge(&mut self, receipts: u32) -> Result<(), Violation> {
        let mut breaks = false;
        for index in 0..self.broker.messages.len() {
            if receipts & (1 << index) == 0 {
                continue;
            }
            let message = self.broker.message(index);
            if message.place != Place::Delivered {
                continue;
            }
            if self.judges_procedure {
                self.judge_receipt(index)?;
            }
            let due = self.now + self.rng.up_to(STEP_MAX_MS);
            self.broker.message_mut(index).place = Place::Acking(due);
            breaks |= self.strikes(self.plan.chances.ack_lost);
        }
        if breaks {
            self.lose_connection();
        }
        Ok(())
    }

    /// I3: an outcome is durable and confirmed before the source is told that it may forget.
    fn judge_receipt(&self, index: usize) -> Result<(), Violation> {
        let message = self.broker.message(index);
        let (job, content) = (message.job, message.content);
        let entry = self.ledger.entry(job);
        let is_told = |event: ResultEvent| self.broker.result(event).is_some();
        let conflict = entry.conflicts.iter().any(|(copy, generation, _)| {
            let kind = Kind::Conflict(content);
            let generation = *generation;
            *copy == content
                && is_told(ResultEvent {
                    job,
                    generation,
                    kind,
                })
        });
        let told = entry.rows.iter().enumerate().filter(|(generation, row)| {
            let generation = *generation;
            let end = row.end.as_ref();
            let end = end.map(|body| Publication::event_of(job, generation, body));
            let doubt = row.doubt.as_ref().map(|_| ResultEvent {
                job,
                generation,
                kind: Kind::InDoubt,
            });
            end.is_some_and(is_told) || doubt.is_some_and(is_told)
        });
        let told: Vec<_> = told
            .map(|(_, row)| row.content == content || row.wanted == content)
            .collect();
        if conflict || told.contains(&true) {
            return Ok(());
        }
        match told.first() {
            Some(_) => Err(broken(
                "I6",
                "a copy that says something else is answered as the job",
            )),
            None => Err(broken(
                "I3",
                format!("message {index} is answered before an outcome is durable and confirmed"),
            )),
        }
    }

    /// Whether a job waits for its turn without any mark in the ledger.
    pub(super) fn is_ready(&self, job: usize) -> bool {
        self.progress(job)
            .is_some_and(|progress| *progress.stage() == Stage::Ready)
    }
}
