//! People: what they ask of the process, which stays on record until it is attended to.

use std::time::Duration;

use tanda::domain::listing::Finding;
use tanda::domain::outcome::{Outcome, Status};
use tanda::domain::progress::{Action, Event, Progress};
use tanda::domain::request::{Ruling, Weighed};
use tanda::domain::time::Moment;

use super::World;
use super::asks::Purpose;
use super::flight::{Doing, Flight};
use crate::cast::{Content, GENERATIONS_MAX};
use crate::mutant::Mutant;
use crate::oracle::Violation;

/// What a person asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    Cancel(usize),
    AskNow,
    Rule(usize, Ruling),
    Again(usize, Content),
}

impl World {
    /// A person asks for something: it is attended to at once, or by the next process.
    pub(super) fn wish(&mut self, wish: Wish) -> Result<(), Violation> {
        self.wishes.push(wish);
        if self.start_at.is_some() {
            return Ok(());
        }
        self.attend_to_wishes()
    }

    /// A person says what became of a job, as the bank's staff told them, and perhaps misunderstood.
    pub(super) fn wish_ruling(&mut self, job: usize) -> Result<(), Violation> {
        let moved = self.applied(job) > 0;
        let errs = self.strikes(self.plan.chances.person_errs);
        self.watched(job).person_errs |= errs;
        let ruling = if moved == errs {
            Ruling::NotSent
        } else {
            Ruling::Succeeded
        };
        self.wish(Wish::Rule(job, ruling))
    }

    pub(super) fn attend_to_wishes(&mut self) -> Result<(), Violation> {
        for wish in std::mem::take(&mut self.wishes) {
            if self.start_at.is_some() {
                self.wishes.push(wish);
                continue;
            }
            match wish {
                Wish::Cancel(job) => self.cancel(job)?,
                Wish::AskNow => self.ask_now(),
                Wish::Rule(job, ruling) => {
                    if self.waits_for_ask(job) {
                        self.begin_ask(job, Purpose::Rule(ruling));
                    }
                }
                Wish::Again(job, content) => self.run_again(job, content)?,
            }
        }
        Ok(())
    }

    /// Has the bank asked at once about all that is in doubt.
    fn ask_now(&mut self) {
        for job in 0..self.plan.jobs {
            if self.waits_for_ask(job) {
                self.begin_ask(job, Purpose::Now);
            }
        }
    }

    fn waits_for_ask(&self, job: usize) -> bool {
        let flight = self.flight(job);
        flight.is_some_and(|flight| matches!(flight.doing, Doing::AwaitingAsk(_)))
    }

    fn cancel(&mut self, job: usize) -> Result<(), Violation> {
        let generation = self.flight(job).map(|flight| flight.generation);
        let entry = self.ledger.entry_mut(job);
        match (entry.rows.last_mut(), generation) {
            (Some(row), _) if row.end.is_none() => row.cancelled = true,
            (None, _) => entry.cancelled = true,
            // A later generation that is about to begin.
            (Some(_), Some(_)) => {}
            (Some(_), None) => return Ok(()),
        }
        self.watched(job).cancelled = true;
        if generation.is_none() || self.is_settled(job) {
            return Ok(());
        }
        let at = self.moment();
        let action = self.advance(job, Event::Cancelled(at))?;
        if matches!(action, Action::Ask { .. }) {
            // The ask, or the write before it, is under way already.
            return Ok(());
        }
        self.act(job, action)
    }

    // ---- rulings ------------------------------------------------------------------------------

    /// Whether a ruling is carried out after what the list said, as in the engine.
    pub(super) fn heeds(
        &mut self,
        job: usize,
        ruling: Ruling,
        finding: &Finding,
        began: Moment,
    ) -> bool {
        let read_at = if self.mutant == Mutant::RulesByALateList {
            self.mono()
        } else {
            began.mono
        };
        let quiet = read_at.saturating_sub(self.flight_mut(job).quiet_since);
        let settle_delay = if self.mutant == Mutant::RulesTooEarly {
            Duration::ZERO
        } else {
            self.rules.asks.settle_delay()
        };
        ruling.weighed(finding, quiet, settle_delay) == Weighed::Counts
    }

    pub(super) fn rule(&mut self, job: usize, ruling: Ruling) -> Result<(), Violation> {
        self.figures.rulings += 1;
        let generation = self.flight_mut(job).generation;
        if let Some(ruled) = self.watched(job).ruled.get_mut(generation) {
            *ruled = true;
        }
        self.tell(job, Event::Ruled(ruling))
    }

    // ---- later generations --------------------------------------------------------------------

    /// Runs a job again that ended without moving money.
    fn run_again(&mut self, job: usize, content: Content) -> Result<(), Violation> {
        if self.flight(job).is_some() {
            // Declined: it is under way.
            return Ok(());
        }
        let rows = &self.ledger.entry(job).rows;
        let Some(row) = rows.last() else {
            return Ok(());
        };
        let may_follow = row.status().is_some_and(Status::may_be_followed);
        let generation = rows.len();
        if !may_follow || generation >= GENERATIONS_MAX {
            return Ok(());
        }
        let end = row.end.as_ref().expect("it may be followed");
        let is_word = matches!(end.outcome, Outcome::Ruled(_));
        let was_ruled = is_word || (generation > 1 && end.attempts == 0);
        let is_lossy = self.ledger.is_lossy;
        let waits = is_lossy && self.mutant != Mutant::RunsAgainTooEarly;
        if waits && !self.all_forgotten_is_listed() {
            // Declined: what was sent in the time that the ledger has forgotten may not be listed yet.
            return Ok(());
        }
        let watched = self.watched(job);
        watched.asked_for = watched.asked_for.max(generation);
        watched.is_anew |= is_lossy;
        let needs_control = was_ruled || (is_lossy && self.mutant != Mutant::RunsAgainUnproven);
        let key = self.part(job).key(generation);
        let progress = Progress::new(key, self.told_end(job)).again(needs_control);
        let at = self.moment();
        let action = progress.first_action(at);
        self.begin_flight(job, Flight::new(generation, content, progress));
        self.act(job, action)
    }
}
