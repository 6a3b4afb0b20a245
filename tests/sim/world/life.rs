//! The life of the process: how it dies, what it finds when it starts, and what befalls a part of it.

use tanda::domain::outcome::{DoubtReason, NotSentReason};
use tanda::domain::progress::{Event, Progress, Record};

use super::flight::{Doing, Flight};
use super::people::Wish;
use super::{Process, STEP_MAX_MS, World};
use crate::ledger::Ledger;
use crate::mutant::Mutant;
use crate::oracle::Violation;

/// Panics after which a job is poison.
pub(super) const POISON_PANICS: u32 = 3;

impl World {
    /// The process dies: what is not durable is gone; a commit under way may have been durable.
    pub(super) fn crash(&mut self) {
        if self.start_at.is_some() {
            return;
        }
        self.figures.crashes += 1;
        self.note(|_| "the process dies".to_owned());
        let _is_past = self.all_forgotten_is_listed();
        for job in 0..self.plan.jobs {
            self.give_up_call(job);
            let Some(flight) = self.flights.get_mut(job).and_then(Option::take) else {
                continue;
            };
            if let Doing::Committing { write, .. } = &flight.doing
                && self.rng.coin()
            {
                self.make_durable(job, &flight, write);
                self.note(|_| format!("job {job}: {write:?} turns out to be durable"));
            }
            self.keep_wish_for(job, &flight);
        }
        self.publisher.clear();
        self.broker.lose_connection(&mut self.rng, self.now);
        self.start_at = Some(self.now + self.rng.magnitude(2 * self.plan.settle_ms));
    }

    /// The machine dies and its ledger is gone; this takes its place, and a person accepts the loss.
    pub(super) fn lose_ledger(&mut self, replacement: Option<Ledger>) {
        self.crash();
        match &replacement {
            Some(_) => self.figures.restored_ledgers += 1,
            None => self.figures.lost_ledgers += 1,
        }
        let control = self.ledger.control;
        self.ledger = replacement.unwrap_or_default();
        self.ledger.accept_loss();
        // Beside the ledger it is known that this bank's list returns names, unless that is lost too.
        self.ledger.control |= control && self.rng.coin();
        for watched in &mut self.watched {
            watched.forgotten();
        }
        for told in &mut self.broker.results {
            told.before_loss = true;
        }
    }

    pub(super) fn start(&mut self) -> Result<(), Violation> {
        self.start_at = None;
        self.process = Process::new(self.process.life + 1, self.now);
        self.process.began = self.moment();
        self.process.connected_at += self.rng.up_to(STEP_MAX_MS);
        self.process.token_is_proven = self.plan.token_proven;
        self.note(|world| format!("process {} starts", world.process.life));
        for job in 0..self.plan.jobs {
            self.publish_leftovers(job);
            self.take_up(job)?;
        }
        self.attend_to_wishes()
    }

    /// Takes up what the ledger has an intent for and no outcome.
    fn take_up(&mut self, job: usize) -> Result<(), Violation> {
        if self.mutant == Mutant::ForgetsTheLedger {
            return Ok(());
        }
        let entry = self.ledger.entry(job);
        let generation = entry.rows.len().saturating_sub(1);
        let panicked = entry.panics;
        let Some(row) = entry.rows.last().filter(|row| row.end.is_none()) else {
            return Ok(());
        };
        let record = Record {
            attempts: row.attempts.max(1),
            spent: row.spent,
            refusal: row
                .refusal
                .clone()
                .filter(|_| self.mutant != Mutant::ForgetsTheRefusal),
            person_needed: row.person_needed && self.mutant != Mutant::ForgetsThePerson,
            same_bytes: row.version == self.version(),
            closing: (panicked >= POISON_PANICS)
                .then_some(NotSentReason::Poison)
                .or(row.cancelled.then_some(NotSentReason::Cancelled)),
            reason: match &row.doubt {
                // What was told in the time that the ledger has forgotten, nobody knows.
                _ if row.is_before_loss && self.mutant != Mutant::TrustsRestoredRows => {
                    DoubtReason::LedgerLostAfterDelivery
                }
                Some((reason, _)) => *reason,
                None if panicked > 0 => DoubtReason::Panicked,
                None => DoubtReason::Interrupted,
            },
        };
        let content = row.content;
        let progress = Progress::new(self.part(job).key(generation), self.told_end(job));
        let flight = Flight {
            quiet_since: self.mono(),
            ..Flight::new(generation, content, progress)
        };
        self.begin_flight(job, flight);
        let at = self.moment();
        self.tell(job, Event::Recovered { record, at })
    }

    pub(super) fn begin_flight(&mut self, job: usize, flight: Flight) {
        let answers = self.process.answers;
        if let Some(place) = self.flights.get_mut(job) {
            *place = Some(Box::new(Flight {
                answers_seen: answers,
                ..flight
            }));
        }
    }

    pub(super) fn end_flight(&mut self, job: usize) -> Option<Box<Flight>> {
        self.flights.get_mut(job).and_then(Option::take)
    }

    /// The task of a job panics: it goes on from the ledger, never from memory.
    pub(super) fn panic(&mut self, job: usize) -> Result<(), Violation> {
        if self.start_at.is_some() {
            return Ok(());
        }
        let Some(flight) = self.end_flight(job) else {
            return Ok(());
        };
        self.figures.panics += 1;
        self.publisher.forget_flight(job);
        let now = self.now;
        self.give_up_call(job);
        self.watched(job).panics += 1;
        self.ledger.entry_mut(job).panics += 1;
        if let Doing::Committing { write, .. } = &flight.doing {
            // The ledger writes what it was given.
            self.make_durable(job, &flight, write);
        }
        let receipts = flight.receipts;
        let entry = self.ledger.entry(job);
        if entry.rows.len() <= flight.generation {
            if flight.generation == 0 {
                // Without a mark in the ledger it begins anew.
                return self.take(job, flight.content, receipts, flight.redelivered);
            }
            self.broker.requeue(receipts, now);
            self.keep_wish_for(job, &flight);
            return self.attend_to_wishes();
        }
        let is_over = entry.rows.last().is_some_and(|row| row.end.is_some());
        if is_over {
            self.publish_leftovers(job);
            self.replay(job, receipts);
            return Ok(());
        }
        self.take_up(job)?;
        if let Some(flight) = self.flights.get_mut(job).and_then(Option::as_mut) {
            flight.receipts |= receipts;
        }
        Ok(())
    }

    /// A request to run a job again is on record until that generation is.
    fn keep_wish_for(&mut self, job: usize, flight: &Flight) {
        let has_row = self.ledger.row(job, flight.generation).is_some();
        if flight.generation > 0 && !has_row {
            self.wishes.push(Wish::Again(job, flight.content));
        }
    }

    // ---- the consuming connection -------------------------------------------------------------

    pub(super) fn lose_connection(&mut self) {
        if self.start_at.is_some() {
            return;
        }
        self.broker.lose_connection(&mut self.rng, self.now);
        self.process.connected_at = self.now + self.rng.magnitude(self.plan.settle_ms / 10);
        for flight in self.flights.iter_mut().flatten() {
            flight.is_lost |= flight.receipts != 0;
            flight.receipts = 0;
        }
        self.publisher.drop_receipts();
        self.note(|_| "the consuming connection breaks".to_owned());
    }
}
