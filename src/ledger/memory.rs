//! The ledger in memory, for tests.
//!
//! *What it promises.* The same answers as SQLite's. Its clones are handles on one set of books: a
//! test can drop an engine at any point, as a crash would, and start another on what was durable.
//!
//! *What it refuses to know.* Disks. And that a `LedgerError` ends the process: a breach of the
//! rules writes nothing, and the books stay open for the next engine.

mod world;

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;

use super::rules::{self, Breach};
use crate::domain::job::{CardId, EntityId, Job};
use crate::domain::key::{EventId, Generation};
use crate::domain::outcome::{DoubtReason, Status};
use crate::domain::request::{Person, Request, RequestId, Wish};
use crate::domain::time::{Moment, Timestamp};
use crate::domain::verdict::Verdict;
use crate::engine::ports::{
    Answer, AskNote, AttemptNote, Begun, Control, HeldJob, Intent, JobRef, LastBeat, Ledger,
    LedgerError, Letter, Loss, NewlyHeld, OpenJob, Origin, Settlement, Sight, Standing,
    StoredOutcome,
};

/// A ledger that lives as long as its last clone.
#[derive(Clone, Debug, Default)]
pub struct MemoryLedger(Arc<Mutex<Books>>);

impl MemoryLedger {
    /// An empty ledger.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A holder that panicked wrote nothing by halves: every rule is checked before the first
    /// change.
    fn books(&self) -> MutexGuard<'_, Books> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Positions are those in the two lists, which only grow.
#[derive(Clone, Debug, Default)]
struct Books {
    jobs: Vec<JobBook>,
    generations: HashMap<EntityId, BTreeMap<Generation, usize>>,
    outcomes: Vec<OutcomeBook>,
    events: HashMap<EventId, usize>,
    panics: HashMap<EntityId, u32>,
    control: Option<Control>,
    loss: Option<Loss>,
    /// Jobs whose messages came for the first time after the loss.
    arrivals: HashSet<EntityId>,
    requests: Vec<(Request, Option<Answer>)>,
    /// The jobs held for each card, in their order, with the positions of their outcomes.
    holds: BTreeMap<CardId, VecDeque<(Intent, usize)>>,
    beat: Option<(Timestamp, Instant)>,
    free_bytes: Option<u64>,
}

#[derive(Clone, Debug)]
struct JobBook {
    intent: Intent,
    attempts: BTreeMap<u32, AttemptNote>,
    asks: Vec<AskNote>,
    doubt: Option<(usize, DoubtReason)>,
    last: Option<usize>,
    person_needed: bool,
    released: bool,
    was_held: bool,
}

#[derive(Clone, Debug)]
struct OutcomeBook {
    outcome: StoredOutcome,
    job: Option<usize>,
}

impl Books {
    fn job(&self, position: usize) -> &JobBook {
        self.jobs.get(position).expect("jobs are never taken away")
    }

    fn job_mut(&mut self, position: usize) -> &mut JobBook {
        self.jobs
            .get_mut(position)
            .expect("jobs are never taken away")
    }

    fn outcome(&self, position: usize) -> &StoredOutcome {
        let book = self.outcomes.get(position);
        &book.expect("outcomes are never taken away").outcome
    }

    fn current(&self, entity_id: &EntityId) -> Option<(Generation, usize)> {
        let (&generation, &position) = self.generations.get(entity_id)?.last_key_value()?;
        Some((generation, position))
    }

    fn find(&self, entity_id: &EntityId, generation: Generation) -> Option<usize> {
        self.generations.get(entity_id)?.get(&generation).copied()
    }

    fn named(&self, job: &JobRef) -> Result<usize, Breach> {
        self.find(&job.entity_id, job.generation)
            .ok_or(rules::UNKNOWN_JOB)
    }

    fn held(&self, entity_id: &EntityId) -> Option<&(Intent, usize)> {
        let mut all = self.holds.values().flatten();
        all.find(|(intent, _)| intent.job.entity_id == *entity_id)
    }

    fn hold(&mut self, held: &NewlyHeld) -> Result<StoredOutcome, Breach> {
        rules::check_held(held)?;
        let (intent, entity_id) = (&held.intent, &held.intent.job.entity_id);
        if held.released.is_some() {
            let position = self.find(entity_id, intent.generation);
            let job = self.job_mut(position.ok_or(rules::UNKNOWN_JOB)?);
            job.released = job.doubt.is_none() && job.last.is_none();
        }
        let sight = self.sight(entity_id);
        if !rules::may_be_held(&sight, intent) {
            return Err(rules::NOT_TO_BE_HELD);
        }
        if let Sight::Known {
            standing: Standing::Held { outcome, .. },
            ..
        } = sight
        {
            return Ok(outcome);
        }
        let outcome = match self.events.get(&held.outcome.event_id) {
            Some(&position) => position,
            None => self.keep(held.outcome.clone(), None),
        };
        let of_card = self.holds.entry(intent.job.card_id.clone()).or_default();
        if held.first {
            of_card.push_front((as_read_back(intent), outcome));
        } else {
            of_card.push_back((as_read_back(intent), outcome));
        }
        Ok(self.outcome(outcome).clone())
    }

    /// Ends the hold of this generation; whether there was one.
    fn end_hold(&mut self, entity_id: &EntityId, generation: Generation) -> bool {
        let before = self.holds.values().map(VecDeque::len).sum::<usize>();
        for of_card in self.holds.values_mut() {
            of_card.retain(|(intent, _)| {
                intent.job.entity_id != *entity_id || intent.generation != generation
            });
        }
        self.holds.retain(|_, of_card| !of_card.is_empty());
        before > self.holds.values().map(VecDeque::len).sum::<usize>()
    }

    fn sight(&self, entity_id: &EntityId) -> Sight {
        if let Some((intent, outcome)) = self.held(entity_id) {
            return Sight::Known {
                generation: intent.generation,
                fingerprint: intent.job.fingerprint(),
                standing: Standing::Held {
                    outcome: self.outcome(*outcome).clone(),
                    cancelled: self.is_cancelled(entity_id, intent.generation),
                },
            };
        }
        let Some((generation, position)) = self.current(entity_id) else {
            if self.is_cancelled(entity_id, Generation::FIRST) {
                return Sight::Cancelled;
            }
            return Sight::Unknown;
        };
        let job = self.job(position);
        let standing = match (job.last, job.doubt) {
            (Some(last), _) => Standing::Finished(self.outcome(last).clone()),
            (None, None) if job.released => Standing::Released {
                cancelled: self.is_cancelled(entity_id, generation),
            },
            (None, doubt) => {
                Standing::InDoubt(doubt.map(|(interim, _)| self.outcome(interim).clone()))
            }
        };
        Sight::Known {
            generation,
            fingerprint: job.intent.job.fingerprint(),
            standing,
        }
    }

    fn is_cancelled(&self, entity_id: &EntityId, generation: Generation) -> bool {
        self.requests.iter().any(|(request, answer)| {
            let about = matches!(&request.wish, Wish::Cancel(cancelled) if cancelled == entity_id);
            let holds = |answer: &Answer| answer.accepted && answer.generation == Some(generation);
            about && answer.as_ref().is_some_and(holds)
        })
    }

    fn answer(&mut self, id: RequestId, answer: Answer) {
        if let Some((_, kept)) = self.requests.iter_mut().find(|(r, _)| r.id == id) {
            kept.get_or_insert(answer);
        }
    }

    /// Checks everything that could refuse this settlement; `Some` where its job is on record.
    fn admit(&self, settlement: &Settlement) -> Result<Option<usize>, Breach> {
        let intent = &settlement.intent;
        let Some(position) = self.find(&intent.job.entity_id, intent.generation) else {
            let current = self.current(&intent.job.entity_id);
            let current = current.map(|(generation, at)| {
                let last = self.job(at).last.map(|last| self.outcome(last).status);
                (generation, last.is_some_and(Status::may_be_followed))
            });
            let held = self.held(&intent.job.entity_id).map(|(held, _)| held);
            let held = held.filter(|held| held.generation != intent.generation);
            let current = held.map(|held| (held.generation, false)).or(current);
            rules::check_new_row(current, intent.generation)?;
            check_attempts(&BTreeMap::new(), &settlement.attempts)?;
            self.check_event(settlement)?;
            return Ok(None);
        };
        let job = self.job(position);
        rules::check_same_job(job.intent.job.fingerprint(), intent)?;
        if job.last.is_none() {
            check_attempts(&job.attempts, &settlement.attempts)?;
            let kept = settlement.outcome.status.is_final() || job.doubt.is_none();
            if kept {
                self.check_event(settlement)?;
            }
        }
        Ok(Some(position))
    }

    fn check_event(&self, settlement: &Settlement) -> Result<(), Breach> {
        if self.events.contains_key(&settlement.outcome.event_id) {
            return Err(rules::OTHER_OUTCOME);
        }
        Ok(())
    }

    fn open_row(&mut self, intent: &Intent) -> usize {
        let position = self.jobs.len();
        self.generations
            .entry(intent.job.entity_id.clone())
            .or_default()
            .insert(intent.generation, position);
        self.jobs.push(JobBook {
            intent: as_read_back(intent),
            attempts: BTreeMap::new(),
            asks: Vec::new(),
            doubt: None,
            last: None,
            person_needed: false,
            released: false,
            was_held: false,
        });
        position
    }

    fn keep(&mut self, outcome: StoredOutcome, job: Option<usize>) -> usize {
        let position = self.outcomes.len();
        self.events.insert(outcome.event_id, position);
        self.outcomes.push(OutcomeBook {
            outcome: StoredOutcome {
                published: false,
                letter: None,
                ..outcome
            },
            job,
        });
        position
    }

    fn settle(&mut self, settlement: Settlement) -> Result<(), Breach> {
        rules::check_settlement(&settlement)?;
        let found = self.admit(&settlement)?;
        let position = found.unwrap_or_else(|| self.open_row(&settlement.intent));
        if self.job(position).last.is_none() {
            if let Some((request, answer)) = settlement.answers {
                self.answer(request, answer);
            }
            add_attempts(self.job_mut(position), settlement.attempts);
            let generation = settlement.intent.generation;
            self.end_hold(&settlement.intent.job.entity_id, generation);
            let last = self.keep(settlement.outcome, Some(position));
            self.job_mut(position).last = Some(last);
            self.arrivals.remove(&settlement.intent.job.entity_id);
        }
        Ok(())
    }

    fn doubt(
        &mut self,
        settlement: Settlement,
        reason: DoubtReason,
    ) -> Result<StoredOutcome, Breach> {
        rules::check_doubt(&settlement)?;
        let found = self.admit(&settlement)?;
        let position = found.unwrap_or_else(|| self.open_row(&settlement.intent));
        if let Some(last) = self.job(position).last {
            return Ok(self.outcome(last).clone());
        }
        let generation = settlement.intent.generation;
        let was_held = self.end_hold(&settlement.intent.job.entity_id, generation);
        self.job_mut(position).was_held |= was_held;
        self.job_mut(position).released = false;
        add_attempts(self.job_mut(position), settlement.attempts);
        let interim = match self.job(position).doubt {
            Some((interim, _)) => interim,
            None => self.keep(settlement.outcome, Some(position)),
        };
        self.job_mut(position)
            .doubt
            .get_or_insert((interim, reason));
        Ok(self.outcome(interim).clone())
    }

    fn note_fact(&mut self, fact: StoredOutcome) -> Result<StoredOutcome, Breach> {
        rules::check_fact(&fact)?;
        let position = match self.events.get(&fact.event_id) {
            Some(&position) => position,
            None => self.keep(fact, None),
        };
        let kept = self.outcome(position).clone();
        rules::check_fact(&kept).map_err(|_| rules::OTHER_OUTCOME)?;
        Ok(kept)
    }

    fn open_job(&self, job: &JobBook) -> OpenJob {
        let doubt = job.doubt;
        let panics = self.panics.get(&job.intent.job.entity_id);
        OpenJob {
            intent: job.intent.clone(),
            attempts: job.attempts.values().cloned().collect(),
            doubt: doubt.map(|(interim, reason)| (self.outcome(interim).clone(), reason)),
            person_needed: job.person_needed,
            cancelled: self.is_cancelled(&job.intent.job.entity_id, job.intent.generation),
            was_held: job.was_held,
            panics: panics.copied().unwrap_or_default(),
        }
    }

    fn awaits_publication(&self, position: usize, book: &OutcomeBook) -> bool {
        let mut held = self.holds.values().flatten();
        if book.outcome.status == Status::Waiting && !held.any(|(_, at)| *at == position) {
            return false;
        }
        let overtaken = !book.outcome.status.is_final()
            && book.job.is_some_and(|job| self.job(job).last.is_some());
        !book.outcome.published && !overtaken
    }
}

/// Monotonic time means nothing in another process; both ledgers read it back as zero.
fn as_read_back(intent: &Intent) -> Intent {
    Intent {
        at: Moment {
            mono: Duration::ZERO,
            ..intent.at
        },
        ..intent.clone()
    }
}

fn check_attempts(
    recorded: &BTreeMap<u32, AttemptNote>,
    attempts: &[AttemptNote],
) -> Result<(), Breach> {
    let mut all: BTreeMap<u32, &AttemptNote> = recorded
        .iter()
        .map(|(&number, note)| (number, note))
        .collect();
    for attempt in attempts {
        if *all.entry(attempt.number).or_insert(attempt) != attempt {
            return Err(rules::OTHER_ATTEMPT);
        }
    }
    Ok(())
}

fn add_attempts(job: &mut JobBook, attempts: Vec<AttemptNote>) {
    for attempt in attempts {
        job.attempts.entry(attempt.number).or_insert(attempt);
    }
}

fn refused(doing: &'static str) -> impl FnOnce(Breach) -> LedgerError {
    move |breach| LedgerError::new(doing, breach)
}

#[async_trait]
impl Ledger for MemoryLedger {
    async fn look(&self, entity_ids: Vec<EntityId>) -> Result<Vec<Sight>, LedgerError> {
        let books = self.books();
        Ok(entity_ids.iter().map(|id| books.sight(id)).collect())
    }

    async fn begin(&self, intent: Intent) -> Result<Begun, LedgerError> {
        let mut books = self.books();
        let sight = books.sight(&intent.job.entity_id);
        let cancelled = books.is_cancelled(&intent.job.entity_id, intent.generation);
        if cancelled || !rules::may_begin(&sight, &intent) {
            return Ok(Begun::AlreadyThere(sight));
        }
        let was_held = books.end_hold(&intent.job.entity_id, intent.generation);
        let position = match books.find(&intent.job.entity_id, intent.generation) {
            Some(position) => position,
            None => books.open_row(&intent),
        };
        let job = books.job_mut(position);
        job.released = false;
        job.was_held |= was_held;
        Ok(Begun::Yes)
    }

    async fn settle(&self, settlement: Settlement) -> Result<(), LedgerError> {
        let settled = self.books().settle(settlement);
        settled.map_err(refused("settling a job"))
    }

    async fn doubt(
        &self,
        settlement: Settlement,
        reason: DoubtReason,
    ) -> Result<StoredOutcome, LedgerError> {
        let kept = self.books().doubt(settlement, reason);
        kept.map_err(refused("recording a doubt"))
    }

    async fn hold(&self, held: Vec<NewlyHeld>) -> Result<Vec<StoredOutcome>, LedgerError> {
        let mut books = self.books();
        let mut after = books.clone();
        let kept: Result<Vec<_>, _> = held.iter().map(|job| after.hold(job)).collect();
        if kept.is_ok() {
            *books = after;
        }
        kept.map_err(refused("taking jobs over"))
    }

    async fn next_held(&self, card_id: CardId) -> Result<Option<HeldJob>, LedgerError> {
        let books = self.books();
        let first = books.holds.get(&card_id).and_then(VecDeque::front);
        Ok(first.map(|(intent, outcome)| HeldJob {
            intent: intent.clone(),
            outcome: books.outcome(*outcome).clone(),
            cancelled: books.is_cancelled(&intent.job.entity_id, intent.generation),
            panics: books
                .panics
                .get(&intent.job.entity_id)
                .copied()
                .unwrap_or_default(),
        }))
    }

    async fn held_cards(
        &self,
        after: Option<CardId>,
        limit: usize,
    ) -> Result<Vec<CardId>, LedgerError> {
        let books = self.books();
        let cards = books.holds.keys();
        Ok(cards
            .filter(|card| after.as_ref().is_none_or(|after| *card > after))
            .take(limit)
            .cloned()
            .collect())
    }

    async fn held_count(&self) -> Result<u64, LedgerError> {
        let count: usize = self.books().holds.values().map(VecDeque::len).sum();
        Ok(u64::try_from(count).unwrap_or(u64::MAX))
    }

    async fn job_of(&self, job: JobRef) -> Result<Option<Intent>, LedgerError> {
        let books = self.books();
        let position = books.find(&job.entity_id, job.generation);
        Ok(position.map(|position| books.job(position).intent.clone()))
    }

    async fn release(&self, job: JobRef, _reason: &'static str) -> Result<(), LedgerError> {
        let mut books = self.books();
        let position = books.named(&job).map_err(refused("releasing a job"))?;
        let job = books.job_mut(position);
        job.released = job.doubt.is_none() && job.last.is_none();
        Ok(())
    }

    async fn call_person(&self, job: JobRef) -> Result<(), LedgerError> {
        let mut books = self.books();
        let position = books.named(&job).map_err(refused("calling a person"))?;
        books.job_mut(position).person_needed = true;
        Ok(())
    }

    async fn note_ask(&self, job: JobRef, ask: AskNote) -> Result<(), LedgerError> {
        let mut books = self.books();
        let position = books.named(&job).map_err(refused("recording an ask"))?;
        books.job_mut(position).asks.push(ask);
        Ok(())
    }

    async fn note_panic(&self, entity_id: EntityId) -> Result<u32, LedgerError> {
        let mut books = self.books();
        let count = books.panics.entry(entity_id).or_default();
        *count = count.saturating_add(1);
        Ok(*count)
    }

    async fn note_fact(&self, fact: StoredOutcome) -> Result<StoredOutcome, LedgerError> {
        let kept = self.books().note_fact(fact);
        kept.map_err(refused("recording a fact about a message"))
    }

    async fn unsettled(
        &self,
        after: Option<JobRef>,
        limit: usize,
    ) -> Result<Vec<OpenJob>, LedgerError> {
        let books = self.books();
        let first = match after {
            Some(job) => 1 + books.named(&job).map_err(refused("reading open jobs"))?,
            None => 0,
        };
        Ok(books
            .jobs
            .iter()
            .skip(first)
            .filter(|job| job.last.is_none() && !job.released)
            .take(limit)
            .map(|job| books.open_job(job))
            .collect())
    }

    async fn open_job(&self, entity_id: EntityId) -> Result<Option<OpenJob>, LedgerError> {
        let books = self.books();
        let current = books.current(&entity_id);
        let job = current.map(|(_, position)| books.job(position));
        Ok(job
            .filter(|job| job.last.is_none() && !job.released)
            .map(|job| books.open_job(job)))
    }

    async fn first_begun_at(&self, entity_id: EntityId) -> Result<Option<Moment>, LedgerError> {
        let books = self.books();
        let first = books.generations.get(&entity_id);
        let first = first.and_then(|generations| generations.first_key_value());
        Ok(first.map(|(_, &position)| books.job(position).intent.at))
    }

    async fn generations_of(&self, entity_id: EntityId) -> Result<Vec<Job>, LedgerError> {
        let books = self.books();
        let positions = books.generations.get(&entity_id).into_iter().flatten();
        Ok(positions
            .map(|(_, &position)| books.job(position).intent.job.clone())
            .collect())
    }

    async fn beat(&self, at: Timestamp) -> Result<(), LedgerError> {
        self.books().beat = Some((at, Instant::now()));
        Ok(())
    }

    async fn last_beat(&self) -> Result<Option<LastBeat>, LedgerError> {
        Ok(self.books().last_beat())
    }

    async fn unpublished(
        &self,
        origins: &'static [Origin],
        limit: usize,
    ) -> Result<Vec<StoredOutcome>, LedgerError> {
        let books = self.books();
        let waiting = books.outcomes.iter().enumerate().filter(|(at, book)| {
            origins.contains(&book.outcome.origin) && books.awaits_publication(*at, book)
        });
        Ok(waiting
            .take(limit)
            .map(|(_, book)| {
                let dead = book.outcome.status.is_dead_lettered();
                let job = book.job.filter(|_| dead).map(|job| books.job(job));
                StoredOutcome {
                    letter: job.map(|job| Letter::of(&job.intent.job)),
                    ..book.outcome.clone()
                }
            })
            .collect())
    }

    async fn mark_published(
        &self,
        event_ids: Vec<EventId>,
        _at: Timestamp,
    ) -> Result<(), LedgerError> {
        let mut books = self.books();
        for event_id in event_ids {
            let position = books.events.get(&event_id).copied();
            if let Some(book) = position.and_then(|position| books.outcomes.get_mut(position)) {
                book.outcome.published = true;
            }
        }
        Ok(())
    }

    async fn loss(&self) -> Result<Option<Loss>, LedgerError> {
        Ok(self.books().loss.clone())
    }

    async fn note_loss_is_past(&self) -> Result<(), LedgerError> {
        if let Some(loss) = &mut self.books().loss {
            loss.is_past = true;
        }
        Ok(())
    }

    async fn note_arrivals(&self, entity_ids: Vec<EntityId>) -> Result<(), LedgerError> {
        self.books().arrivals.extend(entity_ids);
        Ok(())
    }

    async fn has_arrived(&self, entity_id: EntityId) -> Result<bool, LedgerError> {
        Ok(self.books().arrivals.contains(&entity_id))
    }

    async fn control(&self) -> Result<Option<Control>, LedgerError> {
        Ok(self.books().control.clone())
    }

    async fn last_accepted(&self) -> Result<Option<Intent>, LedgerError> {
        let was_accepted = |job: &&JobBook| {
            let mut attempts = job.attempts.values();
            job.last.is_some()
                && attempts.any(|attempt| matches!(attempt.verdict, Verdict::Accepted { .. }))
        };
        let books = self.books();
        let newest = books.jobs.iter().rev().find(was_accepted);
        Ok(newest.map(|job| job.intent.clone()))
    }

    async fn free_bytes(&self) -> Result<Option<u64>, LedgerError> {
        Ok(self.books().free_bytes)
    }

    async fn note_control(&self, control: Control) -> Result<(), LedgerError> {
        self.books().control = Some(control);
        Ok(())
    }

    async fn request(
        &self,
        wish: Wish,
        by: Person,
        at: Timestamp,
    ) -> Result<RequestId, LedgerError> {
        let mut books = self.books();
        let number = i64::try_from(books.requests.len()).unwrap_or(i64::MAX);
        let id = RequestId::new(number.saturating_add(1));
        books.requests.push((Request { id, wish, by, at }, None));
        Ok(id)
    }

    async fn open_requests(
        &self,
        after: Option<RequestId>,
        limit: usize,
    ) -> Result<Vec<Request>, LedgerError> {
        let books = self.books();
        let open = books.requests.iter().filter(|(request, answer)| {
            answer.is_none() && after.is_none_or(|after| request.id > after)
        });
        Ok(open
            .take(limit)
            .map(|(request, _)| request.clone())
            .collect())
    }

    async fn answer(&self, request: RequestId, answer: Answer) -> Result<(), LedgerError> {
        self.books().answer(request, answer);
        Ok(())
    }

    async fn paused_by(&self) -> Result<Option<(Person, Timestamp)>, LedgerError> {
        let books = self.books();
        let newest = books
            .requests
            .iter()
            .rev()
            .find(|(request, _)| matches!(request.wish, Wish::Pause | Wish::Resume));
        Ok(newest
            .filter(|(request, _)| request.wish == Wish::Pause)
            .map(|(request, _)| (request.by.clone(), request.at)))
    }
}
