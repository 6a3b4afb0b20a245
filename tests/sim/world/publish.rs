//! Publishing: from a durable outcome to a confirmed one, and then to the answer of its receipts.
//!
//! *What it promises.* As the product's publisher does: a batch is published, all its confirms are
//! awaited, what was returned is matched by its id, and only then anything of it counts. Which confirm a
//! returned message hangs on is chance, as it is in lapin.

use tanda::domain::outcome::Status;
use tanda::domain::time::Moment;

use super::{STEP_MAX_MS, World};
use crate::broker::{Event, Kind, Told};
use crate::ledger::Body;
use crate::mutant::Mutant;
use crate::oracle::{Violation, broken};

/// The longest wait before what was not confirmed is published again, in milliseconds.
const RETRY_MAX_MS: u64 = 30_000;

/// What follows once an outcome is confirmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum After {
    /// Nothing: nobody here waits for it.
    Nothing,
    /// These deliveries are answered.
    Reply(u32),
    /// The deliveries of this flight are answered; then it asks, or is over.
    Flight(usize, Option<Moment>),
}

/// An outcome on its way to its readers.
#[derive(Clone, Debug)]
pub(super) struct Publication {
    pub(super) event: Event,
    pub(super) body: Option<Body>,
    after: After,
    from: u64,
    fate: Option<Fate>,
}

/// What becomes of a publication in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Taken,
    Nacked,
    /// Returned, and confirmed all the same.
    Returned,
}

impl Publication {
    pub(super) const fn new(event: Event, body: Option<Body>, from: u64, after: After) -> Self {
        Self {
            event,
            body,
            after,
            from,
            fate: None,
        }
    }

    pub(super) fn of_job(
        job: usize,
        generation: usize,
        body: Body,
        from: u64,
        after: After,
    ) -> Self {
        let event = Self::event_of(job, generation, &body);
        Self::new(event, Some(body), from, after)
    }

    /// What the event id of an outcome is made of.
    pub(super) fn event_of(job: usize, generation: usize, body: &Body) -> Event {
        let kind = match body.outcome.status() {
            Status::Succeeded => Kind::Succeeded,
            Status::Rejected => Kind::Rejected,
            Status::NotSent => Kind::NotSent,
            Status::InDoubt | Status::Invalid | Status::Conflict | Status::Waiting => Kind::InDoubt,
        };
        Event {
            job,
            generation,
            kind,
        }
    }
}

/// The way to the readers of results; lost when the process dies.
#[derive(Debug, Default)]
pub(super) struct Publisher {
    publications: Vec<Publication>,
    /// When all confirms of the batch in flight have come.
    pub(super) batch_ends: Option<u64>,
    /// Whether the connection breaks before.
    breaks: bool,
}

impl Publisher {
    pub(super) fn add(&mut self, publication: Publication) {
        self.publications.push(publication);
    }

    pub(super) fn clear(&mut self) {
        self.publications.clear();
        self.batch_ends = None;
    }

    pub(super) const fn is_idle(&self) -> bool {
        self.publications.is_empty()
    }

    /// When the next batch may begin, if one is wanted.
    pub(super) fn earliest(&self) -> Option<u64> {
        self.publications
            .iter()
            .map(|publication| publication.from)
            .min()
    }

    /// The consuming connection is gone, and with it the right to answer.
    pub(super) fn drop_receipts(&mut self) {
        for publication in &mut self.publications {
            if let After::Reply(receipts) = &mut publication.after {
                *receipts = 0;
            }
        }
    }

    /// The flight of this job is no more.
    pub(super) fn forget_flight(&mut self, job: usize) {
        for publication in &mut self.publications {
            if matches!(publication.after, After::Flight(of, _) if of == job) {
                publication.after = After::Nothing;
            }
        }
    }
}

impl World {
    pub(super) fn add_publication(&mut self, publication: Publication) -> Result<(), Violation> {
        let receipts = match (self.mutant, publication.after) {
            (Mutant::AnswersBeforeItPublishes, After::Flight(job, _)) => self.told(job),
            _ => 0,
        };
        self.publisher.add(publication);
        self.acknowledge(receipts)
    }

    /// What is published again of a finished job: what is on record.
    pub(super) fn body_to_tell_again(&self, body: Body) -> Body {
        if self.mutant == Mutant::MakesOutcomesAnew {
            return Body {
                attempts: 0,
                ..body
            };
        }
        body
    }

    pub(super) fn publish_batch(&mut self) -> Result<(), Violation> {
        self.publisher.breaks = self.strikes(self.plan.chances.confirm_lost);
        let now = self.now;
        self.publisher.batch_ends = Some(now + self.rng.up_to(STEP_MAX_MS));
        let mut publications = std::mem::take(&mut self.publisher.publications);
        let mut judgement = Ok(());
        for publication in publications.iter_mut().filter(|it| it.from <= now) {
            let fate = self.fate_of_publication();
            publication.fate = Some(fate);
            let is_taken = fate == Fate::Taken && !(self.publisher.breaks && self.rng.coin());
            if is_taken && judgement.is_ok() {
                judgement = self.reader_gets(publication);
            }
        }
        self.publisher.publications = publications;
        judgement
    }

    fn fate_of_publication(&mut self) -> Fate {
        if self.strikes(self.plan.chances.unroutable) {
            self.figures.returned += 1;
            return Fate::Returned;
        }
        if self.strikes(self.plan.chances.nacked) {
            return Fate::Nacked;
        }
        Fate::Taken
    }

    /// The reader of results gets one: the same event is always the same bytes, and true.
    fn reader_gets(&mut self, publication: &Publication) -> Result<(), Violation> {
        let Publication { event, body, .. } = publication;
        self.figures.published += 1;
        self.note(|_| format!("readers get {event:?}: {body:?}"));
        match self.broker.result(*event) {
            Some(known) if known == body => return Ok(()),
            Some(known) if !self.ledger.is_lossy => {
                let what = format!("{event:?} was {known:?}, and is {body:?}");
                return Err(broken("I4", what));
            }
            Some(_) | None => {}
        }
        if let Some(body) = body {
            self.judge(event.job, event.generation, &body.outcome)?;
            self.judge_one_end(*event)?;
        }
        self.broker.results.push(Told {
            event: *event,
            body: body.clone(),
            before_loss: false,
        });
        Ok(())
    }

    /// One generation has one final outcome.
    fn judge_one_end(&self, event: Event) -> Result<(), Violation> {
        let other = self.broker.results.iter().find(|told| {
            let known = told.event;
            (known.job, known.generation) == (event.job, event.generation)
                && known.kind.is_end()
                && known.kind != event.kind
        });
        match other {
            Some(told) if event.kind.is_end() && !self.ledger.is_lossy => {
                let what = format!("{event:?} is told after {:?}", told.event.kind);
                Err(broken("I4", what))
            }
            Some(_) | None => Ok(()),
        }
    }

    pub(super) fn batch_ended(&mut self) -> Result<(), Violation> {
        self.publisher.batch_ends = None;
        let breaks = std::mem::take(&mut self.publisher.breaks);
        if self.strikes(self.plan.chances.crash_at_step) {
            self.crash();
            return Ok(());
        }
        let publications = std::mem::take(&mut self.publisher.publications);
        let (batch, waiting): (Vec<_>, Vec<_>) = publications
            .into_iter()
            .partition(|publication| publication.fate.is_some());
        self.publisher.publications = waiting;
        let clean = self.confirms_without_return(&batch);
        for (publication, hangs_nothing) in batch.into_iter().zip(clean) {
            let fate = publication.fate.expect("it is of the batch");
            let counts = match (fate, self.mutant) {
                _ if self.mutant == Mutant::PublishesOnce => true,
                _ if breaks => false,
                (Fate::Nacked, _) => false,
                (Fate::Taken | Fate::Returned, Mutant::TrustsEachConfirm) => hangs_nothing,
                (fate, _) => fate == Fate::Taken,
            };
            if counts {
                self.confirmed(publication.event, publication.after)?;
            } else {
                self.publish_later(publication);
            }
            if self.start_at.is_some() {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Of each confirm whether no returned message hangs on it: lapin hangs each on whichever completes
    /// next.
    fn confirms_without_return(&mut self, batch: &[Publication]) -> Vec<bool> {
        let mut clean = vec![true; batch.len()];
        for publication in batch {
            if publication.fate == Some(Fate::Returned) {
                let index = self.rng.index(batch.len());
                if let Some(place) = clean.get_mut(index) {
                    *place = false;
                }
            }
        }
        clean
    }

    fn publish_later(&mut self, publication: Publication) {
        let wait = self.rng.magnitude(RETRY_MAX_MS);
        self.publisher.add(Publication {
            from: self.now + wait,
            fate: None,
            ..publication
        });
    }

    /// It is confirmed: the mark is lazy, and then the receipts are answered.
    fn confirmed(&mut self, event: Event, after: After) -> Result<(), Violation> {
        if self.rng.per_mille(900) {
            self.mark_published(event);
        }
        if self.strikes(self.plan.chances.crash_at_step) {
            self.crash();
            return Ok(());
        }
        match after {
            After::Nothing => Ok(()),
            After::Reply(receipts) => self.acknowledge(receipts),
            After::Flight(job, then_ask) => {
                let receipts = self.told(job);
                match then_ask {
                    Some(ask_at) => self.await_ask(job, ask_at),
                    None => {
                        self.end_flight(job);
                    }
                }
                self.acknowledge(receipts)?;
                if then_ask.is_none() && self.start_at.is_none() {
                    self.attend_to_wishes()?;
                }
                Ok(())
            }
        }
    }

    fn mark_published(&mut self, event: Event) {
        let entry = self.ledger.entry_mut(event.job);
        if let Kind::Conflict(content) = event.kind {
            let known = entry
                .conflicts
                .iter_mut()
                .find(|(copy, generation, _)| (*copy, *generation) == (content, event.generation));
            if let Some((_, _, published)) = known {
                *published = true;
            }
            return;
        }
        let Some(row) = entry.rows.get_mut(event.generation) else {
            return;
        };
        if event.kind == Kind::InDoubt {
            row.doubt_published = true;
        } else {
            row.end_published = true;
        }
    }
}
