//! What was put on the queue in one life, and what must have become of it.
//!
//! *What it promises.* Money by the bank's books alone; outcomes and letters by what readers found in
//! their queues. Everything that is wrong is told, each by its invariant.
//!
//! *What it refuses to know.* Where the worker crashed.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use tanda::domain::time::Timestamp;

use crate::support::queues::Message;

/// What one message was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A job that the bank takes.
    Good,
    /// A job that the bank refuses.
    Refused,
    /// A job that a person cancelled before it came.
    Cancelled,
    /// A job under whose name somebody else has moved another amount already.
    Usurped,
    /// Another copy of a job.
    Copy,
    /// A copy that says something else.
    Conflict,
    /// No job.
    Unreadable,
}

/// One message that was put on the queue.
#[derive(Clone, Debug)]
pub(super) struct Sent {
    pub(super) kind: Kind,
    pub(super) entity_id: String,
    pub(super) card: String,
    pub(super) body: Vec<u8>,
}

/// An outcome as it was published. Read once: a life looks at all of them again and again.
#[derive(Clone, Debug)]
pub(super) struct Told {
    pub(super) entity_id: String,
    pub(super) status: String,
    pub(super) event_id: String,
    generation: u64,
    is_final: bool,
    /// How many losses of the ledger had been accepted before.
    losses: usize,
    body: Vec<u8>,
}

/// All of them, in their order, and what was found.
#[derive(Clone, Debug, Default)]
pub(super) struct Book {
    pub(super) sent: Vec<Sent>,
    pub(super) results: Vec<Told>,
    pub(super) letters: Vec<Message>,
    /// How many losses of the ledger were accepted. What was told before one may be told again after it,
    /// with other times in it.
    pub(super) losses: usize,
    /// Jobs of which a person said that nothing moved: they had been delivered before a loss.
    pub(super) ruled: BTreeSet<String>,
    /// Cards with jobs that a loss came in the middle of: those that the ledger had taken over come once
    /// more, behind what the broker still had.
    pub(super) unordered: BTreeSet<String>,
}

impl Told {
    pub(super) fn read(message: &Message, losses: usize) -> Self {
        let json = message.json();
        let text = |field: &str| json.get(field).and_then(Value::as_str).unwrap_or_default();
        Self {
            entity_id: text("entity_id").to_owned(),
            status: text("status").to_owned(),
            event_id: text("event_id").to_owned(),
            generation: json
                .get("generation")
                .and_then(Value::as_u64)
                .unwrap_or_default(),
            is_final: json.get("final") == Some(&Value::Bool(true)),
            losses,
            body: message.body.clone(),
        }
    }
}

impl Kind {
    const fn is_job(self) -> bool {
        match self {
            Self::Good | Self::Refused | Self::Cancelled | Self::Usurped => true,
            Self::Copy | Self::Conflict | Self::Unreadable => false,
        }
    }
}

/// The outcome of a message, not of a job.
fn is_fact(status: &str) -> bool {
    matches!(status, "conflict" | "invalid")
}

impl Book {
    /// Takes what was published.
    pub(super) fn note_results(&mut self, results: &[Message]) {
        let losses = self.losses;
        let told = results.iter().map(|it| Told::read(it, losses));
        self.results.extend(told);
    }

    pub(super) fn of_kind(&self, kind: Kind) -> impl Iterator<Item = &Sent> {
        self.sent.iter().filter(move |sent| sent.kind == kind)
    }

    fn jobs(&self) -> impl Iterator<Item = &Sent> {
        self.sent.iter().filter(|sent| sent.kind.is_job())
    }

    /// The events about each id: final outcomes of jobs, by generation.
    pub(super) fn finals(&self) -> BTreeMap<(String, u64), BTreeMap<String, String>> {
        let mut finals: BTreeMap<_, BTreeMap<_, _>> = BTreeMap::new();
        for told in &self.results {
            if told.is_final && !is_fact(&told.status) {
                finals
                    .entry((told.entity_id.clone(), told.generation))
                    .or_default()
                    .insert(told.event_id.clone(), told.status.clone());
            }
        }
        finals
    }

    fn facts(&self, status: &str) -> BTreeMap<String, BTreeSet<String>> {
        let mut facts: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for told in self.results.iter().filter(|it| it.status == status) {
            let events = facts.entry(told.entity_id.clone()).or_default();
            events.insert(told.event_id.clone());
        }
        facts
    }

    /// What is still to be told before a life can be over.
    pub(super) fn is_missing(&self) -> Vec<String> {
        let finals = self.finals();
        let told: BTreeSet<_> = finals.keys().map(|(entity_id, _)| entity_id).collect();
        let untold = self.jobs().filter(|sent| !told.contains(&sent.entity_id));
        let mut missing: Vec<_> = untold.map(|sent| sent.entity_id.clone()).collect();
        for (kind, status) in [(Kind::Conflict, "conflict"), (Kind::Unreadable, "invalid")] {
            let facts = self.facts(status);
            let untold = self
                .of_kind(kind)
                .filter(|sent| !facts.contains_key(&sent.entity_id));
            missing.extend(untold.map(|sent| format!("{status} {}", sent.entity_id)));
        }
        missing
    }

    /// Everything that is wrong, by these books of the bank.
    pub(super) fn faults(&self, report: &Value) -> Vec<String> {
        let mut faults = self.is_missing();
        for missing in &mut faults {
            *missing = format!("I4: nothing final was told about {missing}");
        }
        faults.extend(self.money_faults(report));
        faults.extend(self.order_faults(report));
        faults.extend(self.byte_faults());
        faults.extend(self.fact_faults());
        faults.extend(self.letter_faults());
        faults
    }

    fn money_faults(&self, report: &Value) -> Vec<String> {
        let mut faults = Vec::new();
        let finals = self.finals();
        for sent in self.jobs() {
            let id = &sent.entity_id;
            let moved = movements(report, id).len();
            if moved > 1 {
                faults.push(format!("I1: {id} moved money {moved} times"));
            }
            let generations = finals.range((id.clone(), 0)..=(id.clone(), u64::MAX));
            let mut paid = 0;
            for ((_, generation), events) in generations {
                if events.len() != 1 {
                    faults.push(format!("I4: {id}, generation {generation}, has {events:?}"));
                }
                paid += events.values().filter(|it| *it == "succeeded").count();
            }
            if paid != moved.min(1) {
                faults.push(format!("I5, I14: {id} moved {moved}, told {paid} times"));
            }
            let is_as_asked = match sent.kind {
                Kind::Good => moved == 1 || (moved == 0 && self.ruled.contains(id)),
                Kind::Usurped => moved == 1,
                Kind::Cancelled => moved == 0,
                // Run again by a person, it may have been paid.
                Kind::Refused => true,
                Kind::Copy | Kind::Conflict | Kind::Unreadable => false,
            };
            if !is_as_asked {
                faults.push(format!("{id} ({:?}) moved {moved}", sent.kind));
            }
        }
        for sent in self.of_kind(Kind::Unreadable) {
            if !movements(report, &sent.entity_id).is_empty() {
                faults.push(format!("I5: {} was no job and moved", sent.entity_id));
            }
        }
        // Of one key the bank has seen one body.
        let collisions = report.get("key_collisions").and_then(Value::as_u64);
        if collisions != Some(0) {
            faults.push(format!(
                "I8: a key came with other bytes, {collisions:?} times"
            ));
        }
        faults
    }

    /// Jobs of one card are applied in the order in which they were put on the queue.
    fn order_faults(&self, report: &Value) -> Vec<String> {
        let mut faults = Vec::new();
        let mut last: BTreeMap<&str, (Timestamp, &str)> = BTreeMap::new();
        let has_order = |sent: &&Sent| !self.unordered.contains(&sent.card);
        for sent in self.of_kind(Kind::Good).filter(has_order) {
            let Some(at) = movements(report, &sent.entity_id).first().copied() else {
                continue;
            };
            if let Some((before, other)) = last.insert(&sent.card, (at, &sent.entity_id))
                && before > at
            {
                let id = &sent.entity_id;
                faults.push(format!("I7: {other} was applied after {id}"));
            }
        }
        faults
    }

    /// One event has one body, as long as the ledger forgets nothing.
    fn byte_faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let mut bodies: BTreeMap<(&str, usize), &[u8]> = BTreeMap::new();
        for told in &self.results {
            let event = (told.event_id.as_str(), told.losses);
            let body = bodies.entry(event).or_insert(&told.body);
            if *body != told.body {
                faults.push(format!("I4: {} has other bytes", told.entity_id));
            }
        }
        faults
    }

    /// One answer for each copy that says something else and each message that is no job.
    fn fact_faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        for (kind, status) in [(Kind::Conflict, "conflict"), (Kind::Unreadable, "invalid")] {
            let facts = self.facts(status);
            for (entity_id, events) in &facts {
                if events.len() != 1 {
                    faults.push(format!(
                        "I4: {entity_id} is {status} {} times",
                        events.len()
                    ));
                }
                if !self.of_kind(kind).any(|sent| sent.entity_id == *entity_id) {
                    faults.push(format!("I5: {entity_id} is {status}, and was not so"));
                }
            }
        }
        faults
    }

    /// What is dead has a letter, with the message as it came.
    fn letter_faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        for told in &self.results {
            let (id, status) = (&told.entity_id, told.status.as_str());
            if !matches!(status, "rejected" | "not_sent" | "invalid" | "conflict") {
                continue;
            }
            let of_event = |letter: &&Message| {
                letter.header("tanda-event-id").as_deref() == Some(told.event_id.as_str())
            };
            let Some(letter) = self.letters.iter().find(of_event) else {
                faults.push(format!("{id} is {status} and has no dead letter"));
                continue;
            };
            let is_ours = |sent: &Sent| sent.body == letter.body;
            if is_fact(status) && !self.sent.iter().any(is_ours) {
                faults.push(format!("{id} has another letter"));
            }
        }
        for sent in self.of_kind(Kind::Usurped) {
            let id = &sent.entity_id;
            let of_job = |letter: &Message| letter.entity_id() == *id;
            if !self.letters.iter().any(of_job) {
                faults.push(format!("{id} needed a person and has no dead letter"));
            }
        }
        faults
    }
}

/// When each movement under this id was, by the bank's books.
fn movements(report: &Value, entity_id: &str) -> Vec<Timestamp> {
    let operations = report
        .get("entities")
        .and_then(|entities| entities.get(entity_id)?.get("operations")?.as_array());
    let times = operations.into_iter().flatten();
    times
        .filter_map(|operation| operation.get("performed_at")?.as_str())
        .map(|at| Timestamp::parse_rfc3339(at).expect("the bank's time"))
        .collect()
}
