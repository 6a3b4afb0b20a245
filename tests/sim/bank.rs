//! A bank with books: it knows what it paid, which is what the oracle asks.
//!
//! *What it promises.* Within a key's lifetime the first answer under it is repeated; after it, a
//! request is a new request. Nothing here deduplicates by `entity_id`.

use tanda::domain::job::Job;
use tanda::domain::key::IdempotencyKey;
use tanda::domain::listing::ListedOperation;
use tanda::domain::verdict::{Refusal, Verdict};

use crate::rng::Rng;
use crate::scenario::Scenario;

/// A request on its way to the bank.
#[derive(Debug)]
pub(crate) struct Request {
    /// When it arrives.
    pub(crate) arrives: u64,
    /// Which call it is.
    pub(crate) call: u64,
    /// Which job it is for.
    pub(crate) job: usize,
    /// Under which key.
    pub(crate) key: IdempotencyKey,
}

#[derive(Debug)]
struct Row {
    operation: ListedOperation,
    listed_from: u64,
}

/// The bank.
#[derive(Debug)]
pub(crate) struct Bank {
    /// On their way, in no order.
    pub(crate) requests: Vec<Request>,
    /// What it said to a call that arrived; the reply may be lost all the same.
    pub(crate) answers: Vec<(u64, Verdict)>,
    /// How often each job was executed.
    pub(crate) applied: Vec<u32>,
    /// Until when it is away.
    pub(crate) away_until: u64,
    /// Until when the card is blocked.
    pub(crate) blocked_until: u64,
    /// How many more operations the card takes.
    pub(crate) room: i64,
    remembered: Vec<(IdempotencyKey, u64, Verdict)>,
    rows: Vec<Row>,
}

impl Bank {
    /// A bank at the beginning of a world.
    pub(crate) fn new(scenario: &Scenario, jobs: &[Job]) -> Self {
        let mut bank = Self {
            requests: Vec::new(),
            answers: Vec::new(),
            applied: vec![0; jobs.len()],
            away_until: 0,
            blocked_until: 0,
            room: scenario.room_on_card,
            remembered: Vec::new(),
            rows: Vec::new(),
        };
        if let Some(job) = jobs.first().filter(|_| scenario.other_content) {
            let mut operation = listed(job, Some(job.entity_id.as_str().to_owned()), "other");
            operation.amount_minor += 1;
            bank.rows.push(Row {
                operation,
                listed_from: 0,
            });
        }
        bank
    }

    /// Takes the request that arrives at `now`; true where it was executed by it.
    pub(crate) fn take(
        &mut self,
        scenario: &Scenario,
        rng: &mut Rng,
        jobs: &[Job],
        request: &Request,
    ) -> bool {
        let now = request.arrives;
        self.remembered
            .retain(|(_, since, _)| now - since < scenario.key_lifetime_ms);
        let known = self
            .remembered
            .iter()
            .find(|(key, _, _)| *key == request.key);
        if let Some((_, _, answer)) = known {
            self.answers.push((request.call, answer.clone()));
            return false;
        }
        let (answer, executed) = if now < self.blocked_until {
            (refused("card_blocked"), false)
        } else if self.room <= 0 {
            (refused("limit_reached"), false)
        } else {
            (Verdict::Accepted { http_status: 201 }, true)
        };
        if executed {
            self.room -= 1;
            if let Some(times) = self.applied.get_mut(request.job) {
                *times += 1;
            }
            let job = jobs.get(request.job).expect("a request is for a job");
            let nameless = rng.per_mille(scenario.chances.nameless_row);
            let name = match (nameless, scenario.mangles_ids) {
                (true, _) => None,
                (false, true) => Some(job.entity_id.as_str().to_lowercase()),
                (false, false) => Some(job.entity_id.as_str().to_owned()),
            };
            self.rows.push(Row {
                operation: listed(job, name, "cbo"),
                listed_from: now + rng.up_to(scenario.lag_max_ms),
            });
        }
        if executed || scenario.caches_refusals {
            self.remembered.push((request.key, now, answer.clone()));
        }
        self.answers.push((request.call, answer));
        executed
    }

    /// The list as it is shown now.
    pub(crate) fn list(&self, now: u64) -> Vec<ListedOperation> {
        self.rows
            .iter()
            .filter(|row| row.listed_from <= now)
            .map(|row| row.operation.clone())
            .collect()
    }
}

fn listed(job: &Job, entity_id: Option<String>, id: &str) -> ListedOperation {
    ListedOperation {
        id: Some(id.to_owned()),
        entity_id,
        operation: job.operation.as_str().to_owned(),
        amount_minor: job.amount.minor(),
        currency: job.amount.currency().as_str().to_owned(),
    }
}

/// A refusal in the bank's envelope.
pub(crate) fn refused(code: &str) -> Verdict {
    Verdict::Refused(Refusal {
        http_status: 422,
        code: code.to_owned(),
        ..Refusal::default()
    })
}
