//! `tanda explain --json`: one object.
//!
//! *What it promises.* Names do not change and none is left out; what is not known is null. Times are
//! RFC 3339 in UTC, money is integer minor units.
//!
//! *What it refuses to know.* Anything that the text does not tell.
//!
//! ```text
//! entity_id, status, money_moved ("once", "more_than_once", "no", "perhaps"), person_needed,
//! owned, panics, answer, to_do
//! held           since, generation, held_before, behind, origin, source, line, batch_id
//! waits[]        as outcomes[]: what was said when the ledger took it over
//! generations[]  generation, origin ("file", "queue"), source, line, batch_id, again_by,
//!                card (shortened), operation, amount {amount, currency}, description, not_after,
//!                idempotency_key, body_sha256, received_at, begun_at, doubt_reason, person_needed
//!   attempts[]   number, began, ended, verdict, cause, http_status, message, error_codes[], log_id,
//!                spent
//!   asks[]       began, ended, finding, evidence
//!   outcomes[]   event_id, status, final, reason, operation_id, settled_at, published_at
//! tombstones[]   generation, status, reason, event_id, begun_at, settled_at
//! other_messages[]  as outcomes[]
//! requests[]     number, asks, by, at, ruling, evidence, generation, event_id, accepted, answer,
//!                answered_at
//! ```
//!
//! `status` is one of the statuses, or `being_sent`, `interrupted`, `cancelled_before_it_came`,
//! `not_come`; for an id of which nothing is on record the object is `entity_id` and
//! `"status": "unknown"`, and the exit code is 3.

use serde_json::{Value, json};

use super::Known;
use super::answer::Answer;
use crate::app::words;
use crate::domain::job::EntityId;
use crate::domain::request::{Person, Request, Ruling, Wish};
use crate::domain::time::Timestamp;
use crate::domain::verdict::Verdict;
use crate::engine::ports::{self, AttemptNote};
use crate::ledger::history::{AskRecord, GenerationHistory, HeldHistory, Publication, Tombstone};
use crate::wire::outcome::OutcomeMessage;

pub(super) fn object(known: &Known<'_>, answer: &Answer) -> Value {
    let history = known.history;
    json!({
        "entity_id": known.entity_id.as_str(),
        "status": answer.status,
        "money_moved": answer.moved.as_str(),
        "person_needed": known.newest().is_some_and(needs_person),
        "owned": known.is_owned,
        "panics": history.panics,
        "answer": answer.sentence,
        "to_do": answer.todo,
        "held": history.held.as_ref().map(held),
        "waits": history.waits.iter().map(outcome).collect::<Vec<_>>(),
        "generations": history.generations.iter().map(generation).collect::<Vec<_>>(),
        "tombstones": history.tombstones.iter().map(tombstone).collect::<Vec<_>>(),
        "other_messages": history.facts.iter().map(outcome).collect::<Vec<_>>(),
        "requests": history.requests.iter().map(request).collect::<Vec<_>>(),
    })
}

/// A person was needed, and still is.
fn needs_person(generation: &GenerationHistory) -> bool {
    let is_over = generation
        .outcomes
        .iter()
        .any(|told| told.outcome.status.is_final());
    generation.person_needed && !is_over
}

fn held(held: &HeldHistory) -> Value {
    let intent = &held.intent;
    json!({
        "since": time(held.since),
        "generation": intent.generation.get(),
        "held_before": held.held_before,
        "behind": held.behind.as_ref().map(EntityId::as_str),
        "origin": intent.origin.as_str(),
        "source": intent.source,
        "line": intent.line,
        "batch_id": intent.envelope.batch_id,
    })
}

fn generation(generation: &GenerationHistory) -> Value {
    let intent = &generation.intent;
    let job = &intent.job;
    json!({
        "generation": intent.generation.get(),
        "origin": intent.origin.as_str(),
        "source": intent.source,
        "line": intent.line,
        "batch_id": intent.envelope.batch_id,
        "again_by": intent.again_by.as_ref().map(Person::as_str),
        "card": job.card_id.to_string(),
        "operation": job.operation.as_str(),
        "amount": { "amount": job.amount.minor(), "currency": job.amount.currency().as_str() },
        "description": job.description,
        "not_after": job.not_after.map(time),
        "idempotency_key": intent.key.to_string(),
        "body_sha256": intent.body_sha256.to_string(),
        "received_at": time(intent.received_at),
        "begun_at": time(intent.at.wall),
        "doubt_reason": generation.doubt.map(crate::domain::outcome::DoubtReason::as_str),
        "person_needed": needs_person(generation),
        "attempts": generation.attempts.iter().map(attempt).collect::<Vec<_>>(),
        "asks": generation.asks.iter().map(ask).collect::<Vec<_>>(),
        "outcomes": generation.outcomes.iter().map(outcome).collect::<Vec<_>>(),
    })
}

fn attempt(attempt: &AttemptNote) -> Value {
    let refusal = match &attempt.verdict {
        Verdict::Refused(refusal) => Some(refusal),
        Verdict::Accepted { .. } | Verdict::Deferred(_) | Verdict::Unclear(_) => None,
    };
    let error_codes = refusal.map(|refusal| {
        let codes = refusal.errors.iter().map(|error| error.error_code.as_str());
        codes.collect::<Vec<_>>()
    });
    json!({
        "number": attempt.number,
        "began": time(attempt.began),
        "ended": time(attempt.ended),
        "verdict": attempt.verdict.as_str(),
        "cause": attempt.verdict.cause(),
        "http_status": attempt.verdict.http_status(),
        "message": refusal.map(|refusal| refusal.message.as_str()),
        "error_codes": error_codes.unwrap_or_default(),
        "log_id": words::log_id_of(&attempt.verdict),
        "spent": attempt.spent,
    })
}

fn ask(ask: &AskRecord) -> Value {
    json!({
        "began": time(ask.began),
        "ended": time(ask.ended),
        "finding": ask.finding,
        "evidence": ask.evidence,
    })
}

fn outcome(told: &Publication) -> Value {
    let outcome = &told.outcome;
    let message = OutcomeMessage::decode(&outcome.body);
    let (reason, bank) = message.map_or((None, None), |message| (message.reason, message.bank));
    json!({
        "event_id": outcome.event_id.to_string(),
        "status": outcome.status.as_str(),
        "final": outcome.status.is_final(),
        "reason": reason,
        "operation_id": bank.and_then(|bank| bank.operation_id),
        "settled_at": time(outcome.settled_at),
        "published_at": told.published_at.map(time),
    })
}

fn tombstone(tombstone: &Tombstone) -> Value {
    json!({
        "generation": tombstone.generation.get(),
        "status": tombstone.status.as_str(),
        "reason": tombstone.reason,
        "event_id": tombstone.event_id.to_string(),
        "begun_at": time(tombstone.begun_at),
        "settled_at": time(tombstone.settled_at),
    })
}

fn request((request, answer): &(Request, Option<ports::Answer>)) -> Value {
    let (ruling, evidence) = match &request.wish {
        Wish::Settle {
            ruling, evidence, ..
        } => (Some(Ruling::as_str(*ruling)), Some(evidence.as_str())),
        Wish::Discard { evidence, .. } => (None, Some(evidence.as_str())),
        Wish::Cancel(_)
        | Wish::Reconcile(_)
        | Wish::Pause
        | Wish::Resume
        | Wish::Redrive { .. } => (None, None),
    };
    let (generation, event_id) = match &request.wish {
        Wish::Redrive { generation, .. } => (Some(generation.get()), None),
        Wish::Discard { event_id, .. } => (None, Some(event_id.to_string())),
        Wish::Cancel(_) | Wish::Settle { .. } | Wish::Reconcile(_) | Wish::Pause | Wish::Resume => {
            (None, None)
        }
    };
    json!({
        "number": request.id.get(),
        "asks": request.wish.as_str(),
        "by": request.by.as_str(),
        "at": time(request.at),
        "ruling": ruling,
        "evidence": evidence,
        "generation": generation,
        "event_id": event_id,
        "accepted": answer.as_ref().map(|answer| answer.accepted),
        "answer": answer.as_ref().map(|answer| answer.words.as_str()),
        "answered_at": answer.as_ref().map(|answer| time(answer.at)),
    })
}

fn time(at: Timestamp) -> String {
    at.to_string()
}
