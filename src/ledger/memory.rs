//! A ledger in memory, for tests: the same promises, without a disk.
//!
//! *What it promises.* Clones share one record, so that a test can kill an engine and keep what was
//! durable.
//!
//! *What it refuses to know.* SQL.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;

use crate::domain::job::EntityId;
use crate::domain::key::EventId;
use crate::domain::outcome::DoubtReason;
use crate::domain::time::Timestamp;
use crate::engine::ports::{
    AskNote, AttemptNote, Begun, Control, Intent, JobRef, Ledger, LedgerError, OpenJob,
    Settlement, Sight, Standing, StoredOutcome,
};

/// The ledger in memory.
#[derive(Clone, Debug, Default)]
pub struct MemoryLedger(Arc<Mutex<Record>>);

#[derive(Debug, Default)]
struct Record {
    rows: Vec<Row>,
    by_id: HashMap<EntityId, usize>,
    outcomes: Vec<StoredOutcome>,
    by_event: BTreeMap<EventId, usize>,
    asks: Vec<(JobRef, AskNote)>,
    panics: HashMap<EntityId, u32>,
    control: Option<Control>,
}

#[derive(Debug)]
struct Row {
    intent: Intent,
    attempts: Vec<AttemptNote>,
    doubt: Option<(EventId, DoubtReason)>,
    settled: Option<EventId>,
    person_needed: bool,
}

impl MemoryLedger {
    /// An empty ledger.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn record(&self) -> MutexGuard<'_, Record> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Record {
    fn sight(&self, id: &EntityId) -> Sight {
        let Some(row) = self.by_id.get(id).and_then(|&index| self.rows.get(index)) else {
            return Sight::Unknown;
        };
        let standing = match row.settled.and_then(|event| self.outcome(event)) {
            Some(outcome) => Standing::Finished(outcome),
            None => Standing::InDoubt(row.doubt.and_then(|(event, _)| self.outcome(event))),
        };
        Sight::Known {
            generation: row.intent.generation,
            fingerprint: row.intent.job.fingerprint(),
            standing,
        }
    }

    fn outcome(&self, event: EventId) -> Option<StoredOutcome> {
        self.by_event.get(&event).and_then(|&index| self.outcomes.get(index)).cloned()
    }

    fn keep(&mut self, outcome: StoredOutcome) -> StoredOutcome {
        if let Some(kept) = self.outcome(outcome.event_id) {
            return kept;
        }
        self.by_event.insert(outcome.event_id, self.outcomes.len());
        self.outcomes.push(outcome.clone());
        outcome
    }

    fn row(&mut self, intent: &Intent) -> &mut Row {
        let next = self.rows.len();
        let index = *self.by_id.entry(intent.job.entity_id.clone()).or_insert(next);
        if index == next {
            self.rows.push(Row {
                intent: intent.clone(),
                attempts: Vec::new(),
                doubt: None,
                settled: None,
                person_needed: false,
            });
        }
        self.rows.get_mut(index).expect("just found or made")
    }
}

fn add_attempts(row: &mut Row, attempts: Vec<AttemptNote>) {
    for attempt in attempts {
        if row.attempts.iter().all(|known| known.number != attempt.number) {
            row.attempts.push(attempt);
        }
    }
}

#[async_trait]
impl Ledger for MemoryLedger {
    async fn look(&self, entity_ids: Vec<EntityId>) -> Result<Vec<Sight>, LedgerError> {
        let record = self.record();
        Ok(entity_ids.iter().map(|id| record.sight(id)).collect())
    }

    async fn begin(&self, intent: Intent) -> Result<Begun, LedgerError> {
        let mut record = self.record();
        let sight = record.sight(&intent.job.entity_id);
        if sight != Sight::Unknown {
            return Ok(Begun::AlreadyThere(sight));
        }
        record.row(&intent);
        Ok(Begun::Yes)
    }

    async fn settle(&self, settlement: Settlement) -> Result<(), LedgerError> {
        let mut record = self.record();
        let row = record.row(&settlement.intent);
        if row.settled.is_none() {
            row.settled = Some(settlement.outcome.event_id);
            add_attempts(row, settlement.attempts);
            record.keep(settlement.outcome);
        }
        Ok(())
    }

    async fn doubt(
        &self,
        settlement: Settlement,
        reason: DoubtReason,
    ) -> Result<StoredOutcome, LedgerError> {
        let mut record = self.record();
        let row = record.row(&settlement.intent);
        row.doubt.get_or_insert((settlement.outcome.event_id, reason));
        add_attempts(row, settlement.attempts);
        Ok(record.keep(settlement.outcome))
    }

    async fn call_person(&self, job: JobRef) -> Result<(), LedgerError> {
        let mut record = self.record();
        if let Some(&index) = record.by_id.get(&job.entity_id)
            && let Some(row) = record.rows.get_mut(index)
        {
            row.person_needed = true;
        }
        Ok(())
    }

    async fn note_ask(&self, job: JobRef, ask: AskNote) -> Result<(), LedgerError> {
        self.record().asks.push((job, ask));
        Ok(())
    }

    async fn note_panic(&self, entity_id: EntityId) -> Result<u32, LedgerError> {
        let mut record = self.record();
        let panics = record.panics.entry(entity_id).or_default();
        *panics += 1;
        Ok(*panics)
    }

    async fn note_fact(&self, fact: StoredOutcome) -> Result<StoredOutcome, LedgerError> {
        Ok(self.record().keep(fact))
    }

    async fn unsettled(
        &self,
        after: Option<JobRef>,
        limit: usize,
    ) -> Result<Vec<OpenJob>, LedgerError> {
        let record = self.record();
        let from = after
            .and_then(|job| record.by_id.get(&job.entity_id).copied())
            .map_or(0, |index| index + 1);
        Ok(record
            .rows
            .iter()
            .skip(from)
            .filter(|row| row.settled.is_none())
            .take(limit)
            .map(|row| OpenJob {
                intent: row.intent.clone(),
                attempts: row.attempts.clone(),
                doubt: row.doubt.and_then(|(e, reason)| Some((record.outcome(e)?, reason))),
                person_needed: row.person_needed,
                panics: record.panics.get(&row.intent.job.entity_id).copied().unwrap_or(0),
            })
            .collect())
    }

    async fn unpublished(&self, limit: usize) -> Result<Vec<StoredOutcome>, LedgerError> {
        let record = self.record();
        let superseded = |outcome: &StoredOutcome| {
            record.rows.iter().any(|row| {
                row.settled.is_some() && row.doubt.is_some_and(|(e, _)| e == outcome.event_id)
            })
        };
        Ok(record
            .outcomes
            .iter()
            .filter(|outcome| !outcome.published && !superseded(outcome))
            .take(limit)
            .cloned()
            .collect())
    }

    async fn mark_published(
        &self,
        event_ids: Vec<EventId>,
        _at: Timestamp,
    ) -> Result<(), LedgerError> {
        let mut record = self.record();
        for event in event_ids {
            if let Some(&index) = record.by_event.get(&event)
                && let Some(outcome) = record.outcomes.get_mut(index)
            {
                outcome.published = true;
            }
        }
        Ok(())
    }

    async fn control(&self) -> Result<Option<Control>, LedgerError> {
        Ok(self.record().control.clone())
    }

    async fn note_control(&self, control: Control) -> Result<(), LedgerError> {
        self.record().control = Some(control);
        Ok(())
    }
}
