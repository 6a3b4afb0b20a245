//! The end of a world: nothing is left to happen, and everything is accounted for.

use tanda::domain::outcome::Status;
use tanda::domain::request::Ruling;

use super::flight::Doing;
use super::people::Wish;
use super::publish::Publication;
use super::{ASKS_AFTER_PERSON, World};
use crate::oracle::{Violation, broken};

impl World {
    /// Whether nothing is left but what only a person can decide; in half of all worlds one then does.
    pub(super) fn is_over(&mut self) -> bool {
        let is_quiet = self.start_at.is_none()
            && !self.has_faults_ahead()
            && self.broker.is_empty()
            && self.publisher.is_idle()
            && (0..self.plan.jobs)
                .all(|job| self.flight(job).is_none() || self.waits_for_person(job));
        if !is_quiet {
            return false;
        }
        if !std::mem::take(&mut self.rules_at_end) {
            return true;
        }
        for job in 0..self.plan.jobs {
            if self.waits_for_person(job) {
                let moved = self.applied(job) > 0;
                let ruling = if moved {
                    Ruling::Succeeded
                } else {
                    Ruling::NotSent
                };
                self.wishes.push(Wish::Rule(job, ruling));
            }
        }
        self.wishes.is_empty()
    }

    /// Blows that are still to come may open what is closed.
    fn has_faults_ahead(&self) -> bool {
        self.blows_done < self.plan.blows.len()
    }

    fn waits_for_person(&self, job: usize) -> bool {
        self.flight(job).is_some_and(|flight| {
            flight.asks_after_person >= ASKS_AFTER_PERSON
                && matches!(flight.doing, Doing::AwaitingAsk(_))
        })
    }

    pub(super) fn judge_the_end(&mut self) -> Result<(), Violation> {
        let mut moved = 0;
        let mut accounted = 0;
        for job in 0..self.plan.jobs {
            moved += self.applied(job);
            accounted += self.judge_end_of(job)?;
        }
        if moved > accounted && !self.ledger.is_lossy {
            return Err(broken(
                "I10",
                format!("{moved} were executed, and {accounted} are told of or in doubt"),
            ));
        }
        Ok(())
    }

    /// How many executions of a job are accounted for.
    fn judge_end_of(&mut self, job: usize) -> Result<u32, Violation> {
        let rows = self.ledger.entry(job).rows.clone();
        if rows.is_empty() && !self.ledger.is_lossy {
            return Err(broken("I4", "a job came, and the ledger does not know it"));
        }
        let mut accounted = 0;
        for (generation, row) in rows.iter().enumerate() {
            let Some(body) = &row.end else {
                self.judge_doubt_of(job, generation)?;
                accounted += 1;
                continue;
            };
            self.judge(job, generation, &body.outcome)?;
            match body.outcome.status() {
                Status::Succeeded => {
                    self.figures.succeeded += 1;
                    accounted += 1;
                }
                Status::Rejected => self.figures.rejected += 1,
                Status::NotSent => self.figures.not_sent += 1,
                Status::InDoubt | Status::Invalid | Status::Conflict | Status::Waiting => {
                    let what = format!("{body:?} is no final outcome of a job");
                    return Err(broken("I4", what));
                }
            }
            let watched = self.watched(job);
            accounted += u32::from(watched.was_ruled(generation));
            let event = Publication::event_of(job, generation, body);
            let told = self.broker.result(event);
            let is_told = told.is_some_and(|told| told.as_ref() == Some(body));
            if !is_told && !self.ledger.is_lossy {
                return Err(broken("I4", "the final outcome was not published"));
            }
        }
        Ok(accounted)
    }

    fn judge_doubt_of(&self, job: usize, generation: usize) -> Result<(), Violation> {
        let is_told = self
            .broker
            .results
            .iter()
            .any(|told| (told.event.job, told.event.generation) == (job, generation));
        if is_told {
            return Ok(());
        }
        Err(broken("I3", "a job is in doubt, and nobody was told"))
    }
}
