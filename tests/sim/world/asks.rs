//! Asking: how the list is read, and what a reading is told to the rules as.

use std::rc::Rc;

use tanda::bank::listing::{Misfit, Walk};
use tanda::domain::listing::{Finding, ListedOperation, find, returns_entity_id};
use tanda::domain::progress::{Action, Event};
use tanda::domain::request::Ruling;
use tanda::domain::time::Moment;
use tanda::engine::ports::ListFault;

use super::World;
use super::flight::Doing;
use crate::cast::Content;
use crate::mutant::Mutant;
use crate::oracle::{AbsentFrom, Violation};

/// How often a list that moves is read from its start: as often as the client does.
const LIST_TRIES_MAX: u32 = 3;

/// Why the list is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// It is time.
    Table,
    /// A person wants it now.
    Now,
    /// A person has ruled, and the list has the last word on what it shows.
    Rule(Ruling),
    /// A later generation is to begin.
    Proof,
}

/// What a reading of the list gave.
pub(super) type Reading = Result<Rc<[ListedOperation]>, ListFault>;

/// A reading under way.
#[derive(Debug)]
pub(super) struct Asking {
    purpose: Purpose,
    began: Moment,
    began_true: u64,
    /// What was read, where it was read at the beginning.
    early: Option<Reading>,
}

impl World {
    pub(super) fn begin_ask(&mut self, job: usize, purpose: Purpose) {
        self.figures.asks += 1;
        let began = self.moment();
        let early = if self.rng.coin() {
            Some(self.read_list())
        } else {
            None
        };
        let ends = self.now + self.rng.between(1, self.plan.timeout_ms);
        let asking = Asking {
            purpose,
            began,
            began_true: self.now,
            early,
        };
        self.flight_mut(job).doing = Doing::Asking { asking, ends };
    }

    // ---- reading ------------------------------------------------------------------------------

    /// One reading of the list, in the order of the client: the first page, the further ones, the first
    /// again; from its start where it moved.
    fn read_list(&mut self) -> Reading {
        let away = self.now < self.bank.away_until && self.has_faults();
        if away || self.strikes(self.plan.chances.unreadable_list) {
            return Err(ListFault::Unreachable(String::new()));
        }
        if self.has_faults() && self.now < self.bank.unknown_until {
            return Err(ListFault::UnknownCard);
        }
        if self.strikes(self.plan.chances.barred_list) {
            return Err(ListFault::NotAuthorized);
        }
        if self.mutant == Mutant::ReadsPagesAsTheyCome {
            return Ok(self.read_carelessly().into());
        }
        let edition = self.bank.edition(self.now);
        if let Some((known, operations)) = &self.last_read
            && *known == edition
            && !self.may_shift()
        {
            // The same pages again make the same list.
            return Ok(Rc::clone(operations));
        }
        for _ in 0..LIST_TRIES_MAX {
            match self.walk() {
                Ok(operations) => {
                    let operations: Rc<[ListedOperation]> = operations.into();
                    if edition == self.bank.edition(self.now) {
                        self.last_read = Some((edition, Rc::clone(&operations)));
                    }
                    return Ok(operations);
                }
                Err(Misfit::Moved) => {}
                Err(Misfit::Fault(fault)) => return Err(fault),
            }
        }
        Err(ListFault::Shifting)
    }

    fn walk(&mut self) -> Result<Vec<ListedOperation>, Misfit> {
        let card_id = &self.part(0).says(Content::First).card_id;
        let first = self.page(1);
        let mut walk = Walk::begin(card_id, first)?;
        for number in walk.further_pages() {
            let page = self.page(number);
            walk.add(number, page)?;
        }
        let again = self.page(1);
        walk.end(again)
    }

    fn page(&mut self, number: u64) -> tanda::wire::bank::ListPage {
        let page = self.bank.page(&self.plan, number, self.now);
        if self.may_shift() && self.strikes(self.plan.chances.shifting) {
            self.bank.shift(&mut self.rng, self.now);
        }
        page
    }

    /// Whether others use the card while its list is read.
    const fn may_shift(&self) -> bool {
        self.has_faults() && self.plan.rows_on_page < 10 && self.plan.chances.shifting > 0
    }

    /// What a reader has who takes as many pages as the first one counts, as they come.
    fn read_carelessly(&mut self) -> Vec<ListedOperation> {
        let mut operations = Vec::new();
        let mut number = 1;
        loop {
            let page = self.page(number);
            operations.extend(page.data.into_iter().map(|row| ListedOperation {
                id: row.id,
                entity_id: row.entity_id,
                operation: row.operation,
                amount_minor: row.amount.amount,
                currency: row.amount.currency,
            }));
            if number >= page.pagination.total_pages {
                return operations;
            }
            number += 1;
        }
    }

    /// What the list says about a job with this content.
    fn finding(&self, job: usize, content: Content, list: &Reading) -> Finding {
        let finding = match list {
            Ok(operations) => find(self.part(job).says(content), operations),
            Err(
                ListFault::NotAuthorized
                | ListFault::UnknownCard
                | ListFault::Refused(_)
                | ListFault::TooLong(_),
            ) => Finding::Barred,
            Err(
                ListFault::Unreachable(_)
                | ListFault::CredentialRefused
                | ListFault::RateLimited { .. }
                | ListFault::NotTheBank(_)
                | ListFault::Shifting,
            ) => Finding::Unreadable,
        };
        match (self.mutant, &finding) {
            (Mutant::TakesBarredForAbsent, Finding::Barred) => Finding::Absent,
            (Mutant::TakesNamelessForOurs, Finding::Ambiguous) => {
                Finding::Found { operation_id: None }
            }
            _ => finding,
        }
    }

    // ---- what follows -------------------------------------------------------------------------

    pub(super) fn asked(&mut self, job: usize, asking: Asking) -> Result<(), Violation> {
        let Asking {
            purpose,
            began,
            began_true,
            early,
        } = asking;
        let list = match early {
            Some(list) => list,
            None => self.read_list(),
        };
        if purpose == Purpose::Proof {
            return self.proved(job, began_true, &list);
        }
        let content = self.flight_mut(job).content;
        let finding = self.finding(job, content, &list);
        // What a ledger that has forgotten finds is a name of its own that the list returns.
        self.ledger.control |= self.ledger.is_lossy && finding.is_find();
        self.count_ask_after_person(job);
        if finding == Finding::Absent && list.is_ok() && self.ledger.control {
            let reading = AbsentFrom {
                life: self.process.life,
                began: began_true,
                ended: self.now,
                settle_ms: self.plan.settle_ms,
                is_proof: false,
            };
            self.watched(job).absent(reading);
        }
        let control = self.ledger.control || self.mutant == Mutant::AssumesTheControl;
        let ended = self.moment();
        if let Purpose::Rule(ruling) = purpose
            && self.heeds(job, ruling, &finding, began)
        {
            return self.rule(job, ruling);
        }
        let event = |began, ended| Event::Asked {
            unscheduled: purpose != Purpose::Table,
            finding: finding.clone(),
            control,
            began,
            ended,
        };
        if finding == Finding::Absent && self.mutant == Mutant::BelievesOneEarlyAbsence {
            return self.believe_early(job, began, event);
        }
        if self.mutant == Mutant::AsksOnce && purpose == Purpose::Table {
            let action = self.advance(job, event(began, ended))?;
            if matches!(action, Action::Ask { .. }) {
                return Ok(());
            }
            return self.act(job, action);
        }
        self.tell(job, event(began, ended))
    }

    /// Tells two late absences for an early one.
    fn believe_early(
        &mut self,
        job: usize,
        began: Moment,
        event: impl Fn(Moment, Moment) -> Event,
    ) -> Result<(), Violation> {
        let later = began.plus(self.rules.asks.settle_delay());
        let latest = later.plus(self.rules.asks.second_absence());
        let action = self.advance(job, event(later, later))?;
        if matches!(action, Action::Ask { .. }) {
            return self.tell(job, event(latest, latest));
        }
        self.act(job, action)
    }

    fn count_ask_after_person(&mut self, job: usize) {
        let generation = self.flight_mut(job).generation;
        let row = self.ledger.row(job, generation);
        let waits = row.is_some_and(|row| row.person_needed) && !self.has_faults();
        self.flight_mut(job).asks_after_person += u32::from(waits);
    }

    /// Whether money moved before a later generation begins: by what it says, and by everything else
    /// that earlier ones said.
    fn proved(&mut self, job: usize, began: u64, list: &Reading) -> Result<(), Violation> {
        let wanted = self.flight_mut(job).content;
        let mut proof = self.finding(job, wanted, list);
        let earlier: Vec<Content> = self
            .ledger
            .entry(job)
            .rows
            .iter()
            .map(|row| row.content)
            .filter(|content| *content != wanted)
            .collect();
        for content in earlier {
            if proof.is_find() {
                break;
            }
            let finding = self.finding(job, content, list);
            if finding.is_find() {
                // What moved is what is recorded.
                self.flight_mut(job).content = content;
            }
            if finding.proves_less(&proof) {
                proof = finding;
            }
        }
        if proof == Finding::Absent {
            let generation = self.flight_mut(job).generation;
            let reading = AbsentFrom {
                life: self.process.life,
                began,
                ended: self.now,
                settle_ms: self.plan.settle_ms,
                is_proof: self.ledger.control,
            };
            let watched = self.watched(job);
            watched.absent(reading);
            watched.proven = watched.proven.max(generation);
        }
        if self.mutant == Mutant::RunsAgainUnasked {
            proof = Finding::Absent;
        }
        let at = self.moment();
        let control = self.ledger.control || self.mutant == Mutant::RunsAgainUnasked;
        self.tell(
            job,
            Event::Proved {
                finding: proof,
                control,
                at,
            },
        )
    }

    // ---- the positive control -----------------------------------------------------------------

    pub(super) fn look_for_control(&mut self) {
        let Some((_, job)) = self.process.control_due.take() else {
            return;
        };
        let list = self.read_list();
        let rows = self.ledger.entry(job).rows.last();
        let content = rows.map_or(Content::First, |row| row.content);
        let said = self.part(job).says(content);
        if list.is_ok_and(|operations| returns_entity_id(said, &operations)) {
            self.ledger.control = true;
            self.note(|_| "the positive control is on record".to_owned());
        } else {
            // Each wait longer than the last: a list that mangles ids never shows the control.
            let wait = self.plan.settle_ms / 5 + (self.now - self.process.started) / 4;
            self.process.control_due = Some((self.now + wait, job));
        }
    }
}
