//! What a round leaves to be judged: what was asked, what the bank did, what was told, what was seen.
//!
//! *What it promises.* Plain values, from which the judgement follows and from nothing else.
//!
//! *What it refuses to know.* How they came about, and what they mean.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::jobs::Message;
use super::plan::Peer;
use crate::amqp::rehearsal::Taken;
use crate::domain::job::{Job, Operation};
use crate::domain::money::Amount;
use crate::domain::outcome::Status;
use crate::files::RowResult;
use crate::simulator::{Movement, Report};
use crate::wire::outcome::OutcomeMessage;

/// What a job, a movement or an outcome is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Content {
    card_id: String,
    pub(super) operation: String,
    pub(super) minor: i64,
    pub(super) currency: String,
}

impl Content {
    pub(super) fn of_job(job: &Job) -> Self {
        Self::new(job.card_id.as_str(), job.operation, job.amount)
    }

    fn new(card_id: &str, operation: Operation, amount: Amount) -> Self {
        Self {
            card_id: card_id.to_owned(),
            operation: operation.as_str().to_owned(),
            minor: amount.minor(),
            currency: amount.currency().as_str().to_owned(),
        }
    }

    pub(super) fn of_movement(movement: &Movement) -> Self {
        Self {
            card_id: movement.card_id.clone(),
            operation: movement.operation.clone(),
            minor: movement.amount.amount,
            currency: movement.amount.currency.clone(),
        }
    }

    /// What an outcome says; none where it does not say all of it.
    fn of_outcome(message: &OutcomeMessage) -> Option<Self> {
        let money = message.amount.as_ref()?;
        Some(Self {
            card_id: message.card_id.clone()?,
            operation: message.operation.clone()?,
            minor: money.amount,
            currency: money.currency.clone(),
        })
    }
}

/// Without the card (I12).
impl std::fmt::Display for Content {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (operation, minor, currency) = (&self.operation, self.minor, &self.currency);
        write!(f, "{operation} of {minor} minor units {currency}")
    }
}

/// What somebody was told of a job or a message: a row of a result file, or a message on the results.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Told {
    /// Which result file, from 1; 0 for the queue of results.
    pub(super) place: u32,
    pub(super) entity_id: Option<String>,
    pub(super) content: Option<Content>,
    pub(super) status: Status,
    pub(super) reason: String,
    pub(super) generation: Option<u32>,
    pub(super) key: String,
    /// Orders the outcomes of a generation; 0 in a result file, which has only the last.
    pub(super) seq: u32,
    /// The bank's own words of a refusal, and its `log_…` id.
    pub(super) refusal: String,
    pub(super) log_id: String,
    /// The bank's id of the movement, where its list was asked.
    pub(super) operation_id: String,
    /// What stays the same whenever it is told again.
    pub(super) bytes: Vec<u8>,
    /// How it came, over RabbitMQ.
    pub(super) letter: Option<Letterhead>,
}

/// What stands on an outcome's message besides its body, and in it about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Letterhead {
    pub(super) event_id: String,
    pub(super) message_id: String,
    pub(super) kind: String,
    pub(super) routing_key: String,
    pub(super) says_final: bool,
    pub(super) http_status: Option<u16>,
    pub(super) error_code: Option<String>,
}

impl Told {
    /// A row of the n-th result file. None where its status is no word of ours.
    pub(super) fn by_file(place: u32, job: &Job, result: &RowResult) -> Option<Self> {
        let bytes = [
            &result.status,
            &result.reason,
            &result.bank_code,
            &result.bank_log_id,
            &result.operation_id,
            &result.key,
            &result.generation,
            &result.settled_at,
        ];
        Some(Self {
            place,
            entity_id: Some(job.entity_id.as_str().to_owned()),
            content: Some(Content::of_job(job)),
            status: Status::parse(&result.status)?,
            reason: result.reason.clone(),
            generation: result.generation.parse().ok(),
            key: result.key.clone(),
            seq: 0,
            refusal: result.bank_code.clone(),
            log_id: result.bank_log_id.clone(),
            operation_id: result.operation_id.clone(),
            bytes: bytes.map(String::as_str).join("\u{1f}").into_bytes(),
            letter: None,
        })
    }

    /// A message on the results. None where it is no outcome.
    pub(super) fn by_queue(taken: &Taken) -> Option<Self> {
        let message = OutcomeMessage::decode(&taken.body)?;
        let bank = message.bank.clone().unwrap_or_default();
        let codes: Vec<_> = bank
            .errors
            .iter()
            .map(|error| error.error_code.as_str())
            .collect();
        Some(Self {
            place: 0,
            content: Content::of_outcome(&message),
            status: Status::parse(&message.status)?,
            reason: message.reason.unwrap_or_default(),
            generation: message.generation,
            key: message.idempotency_key.unwrap_or_default(),
            seq: message.seq,
            refusal: codes.join(" "),
            log_id: bank.log_id.unwrap_or_default(),
            operation_id: bank.operation_id.unwrap_or_default(),
            bytes: taken.body.clone(),
            letter: Some(Letterhead {
                event_id: message.event_id,
                message_id: taken.message_id.clone(),
                kind: taken.kind.clone(),
                routing_key: taken.routing_key.clone(),
                says_final: message.is_final,
                http_status: bank.http_status,
                error_code: bank.errors.first().map(|error| error.error_code.clone()),
            }),
            entity_id: message.entity_id,
        })
    }

    /// Whether it is about a job, and not only about a message that names one.
    pub(super) const fn is_of_job(&self) -> bool {
        match self.status {
            Status::Succeeded
            | Status::Rejected
            | Status::NotSent
            | Status::InDoubt
            | Status::Waiting => true,
            Status::Invalid | Status::Conflict => false,
        }
    }

    /// Whether it is how a job ended.
    pub(super) const fn is_end(&self) -> bool {
        self.is_of_job() && self.status.is_final()
    }
}

/// How a process ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct End {
    /// Its exit code; none where a signal ended it.
    pub(super) code: Option<i32>,
    pub(super) took: Duration,
}

/// What was done, and what was seen of the processes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Journal {
    /// SIGKILLs: of these so many before the process had called anybody.
    pub(super) kills: u64,
    pub(super) kills_early: u64,
    /// Each stop, and how the process ended that was asked to.
    pub(super) stops: Vec<End>,
    pub(super) cuts: BTreeMap<Peer, u64>,
    pub(super) shuts: BTreeMap<Peer, u64>,
    /// How often the process that pays was started.
    pub(super) starts: u64,
    /// Ends that nobody had asked for and that mean no fault: bank or broker could not be used just then.
    pub(super) ended_unusable: u64,
    /// Any other, in words.
    pub(super) ended_wrongly: Vec<String>,
    pub(super) scan: Scan,
    /// The longest that this machine let the drill itself wait beyond its time.
    pub(super) stall: Duration,
}

/// What the processes wrote to stderr, looked through for what must not be there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Scan {
    pub(super) lines: u64,
    /// Where a token or a whole card stands, without it.
    pub(super) leaks: Vec<String>,
}

/// What was looked up in the ledger of a process that had just been killed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Memory {
    /// Movements looked up.
    pub(super) intents: u64,
    /// Names under which money had moved and of which the ledger knew nothing.
    pub(super) unknown: BTreeSet<String>,
    /// Final outcomes that were there then, looked up again at the end.
    pub(super) finals: u64,
    /// Names whose final outcome was another at the end.
    pub(super) changed: BTreeSet<String>,
}

/// The file once more when all was settled: nothing may happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Again {
    /// Payments that the bank heard of meanwhile.
    pub(super) calls: u64,
    /// Rows with another amount under a name that was there, and what was told of each.
    pub(super) altered: Vec<(String, String)>,
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Settling {
    /// Everything was settled this long after the last fault.
    After(Duration),
    /// It was given up after this.
    NotWithin(Duration),
}

/// All that is judged of one round.
#[derive(Clone, Debug)]
pub(super) struct Case {
    /// The jobs in the order in which they were offered.
    pub(super) jobs: Vec<Job>,
    /// Everything that was published, in order; none where the jobs came as a file.
    pub(super) messages: Option<Vec<Message>>,
    pub(super) told: Vec<Told>,
    /// Messages on the results that are no outcomes, or rows with a status that is none.
    pub(super) gibberish: u64,
    pub(super) dead: Vec<Taken>,
    /// What is left in the queue of jobs.
    pub(super) left: u32,
    pub(super) books: Report,
    pub(super) journal: Journal,
    pub(super) memory: Memory,
    pub(super) again: Option<Again>,
    pub(super) settling: Settling,
}

impl Case {
    /// Whether anything was done that could break something.
    pub(super) fn was_hurt(&self) -> bool {
        let journal = &self.journal;
        let cuts = journal.cuts.values().chain(journal.shuts.values());
        journal.kills > 0 || cuts.sum::<u64>() > 0 || self.books.faults.values().sum::<u64>() > 0
    }

    /// How often this lie was told.
    pub(super) fn lies(&self, name: &str) -> u64 {
        self.books.faults.get(name).copied().unwrap_or_default()
    }

    /// The last that was told of each job.
    pub(super) fn last_told(&self) -> BTreeMap<&str, &Told> {
        let mut last: BTreeMap<&str, &Told> = BTreeMap::new();
        for told in self.told.iter().filter(|told| told.is_of_job()) {
            let Some(entity_id) = &told.entity_id else {
                continue;
            };
            let slot = last.entry(entity_id).or_insert(told);
            let rank = |told: &Told| (told.place, told.is_end(), told.seq);
            if rank(told) >= rank(slot) {
                *slot = told;
            }
        }
        last
    }

    /// The last result file; 0 over RabbitMQ.
    pub(super) fn last_place(&self) -> u32 {
        let places = self.told.iter().map(|told| told.place);
        places.max().unwrap_or_default()
    }
}
