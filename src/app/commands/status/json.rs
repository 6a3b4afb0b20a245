//! `tanda status --json`: one object.
//!
//! *What it promises.* Names do not change and none is left out; what is not known is null. Times are
//! RFC 3339 in UTC, money is integer minor units, never added across currencies or operations.
//!
//! *What it refuses to know.* Anything that the text does not tell.
//!
//! ```text
//! owned                 whether a process owns the ledger
//! in_doubt              count, person_needed, totals[] {currency, operation, count, minor}
//! begun                 count, state ("being_sent", "interrupted", null where there is none), totals[]
//! jobs[]                the oldest in doubt: entity_id, generation, source, line, card (shortened),
//!                       operation, amount {amount, currency}, begun_at, in_doubt_since, reason,
//!                       person_needed, attempts, asks, last_ask {began, ended, finding, evidence}
//! held                  count, totals[], jobs[]: the oldest: entity_id, generation, source, line,
//!                       card (shortened), operation, amount {amount, currency}, held_since
//! paused                by, since
//! open_requests[]       number, asks, entity_id, by, at (at most 100)
//! unpublished           outcomes that are not told yet
//! unpublished_on_queue  of these, for the results queue: a worker publishes them
//! unpublished_outcomes[]  the oldest: event_id, entity_id, status, at, origin ("file", "queue")
//! dead_letters          how many are open: nobody retries them by itself
//! positive_control      entity_id, seen_at
//! ledger                id, commit, namespace, bank
//! ```

use serde_json::{Value, json};

use super::Standing;
use crate::domain::job::EntityId;
use crate::domain::money::Totals;
use crate::domain::outcome::DoubtReason;
use crate::engine::ports::StoredOutcome;
use crate::ledger::history::{HeldLine, OpenLine};

pub(super) fn object(standing: &Standing<'_>) -> Value {
    let (open, overview) = (standing.open, standing.overview);
    let (namespace, bank) = overview.bound.clone().unzip();
    json!({
        "owned": standing.is_owned,
        "in_doubt": {
            "count": open.in_doubt.count(),
            "person_needed": open.person_needed,
            "totals": totals(&open.in_doubt),
        },
        "begun": {
            "count": open.begun.count(),
            "state": state(standing),
            "totals": totals(&open.begun),
        },
        "jobs": open.lines.iter().map(line).collect::<Vec<_>>(),
        "held": {
            "count": standing.held.totals.count(),
            "totals": totals(&standing.held.totals),
            "jobs": standing.held.oldest.iter().map(held).collect::<Vec<_>>(),
        },
        "loss_accepted": overview.loss.as_ref().map(|loss| json!({
            "by": loss.by.as_str(),
            "at": loss.accepted_at.to_string(),
            "is_past": loss.is_past,
        })),
        "paused": overview.paused_by.as_ref().map(|(by, since)| json!({
            "by": by.as_str(),
            "since": since.to_string(),
        })),
        "open_requests": overview.open_requests.iter().map(|request| json!({
            "number": request.id.get(),
            "asks": request.wish.as_str(),
            "entity_id": request.wish.entity_id().map(EntityId::as_str),
            "by": request.by.as_str(),
            "at": request.at.to_string(),
        })).collect::<Vec<_>>(),
        "unpublished": overview.unpublished,
        "unpublished_on_queue": overview.unpublished_on_queue,
        "unpublished_outcomes": standing.untold.iter().map(untold).collect::<Vec<_>>(),
        "dead_letters": standing.dead_letters,
        "positive_control": overview.control.as_ref().map(|control| json!({
            "entity_id": control.entity_id.as_str(),
            "seen_at": control.seen_at.to_string(),
        })),
        "ledger": {
            "id": overview.ledger_id,
            "commit": overview.sequence,
            "namespace": namespace,
            "bank": bank,
        },
    })
}

fn state(standing: &Standing<'_>) -> Option<&'static str> {
    let state = if standing.is_owned {
        "being_sent"
    } else {
        "interrupted"
    };
    (!standing.open.begun.is_empty()).then_some(state)
}

fn totals(totals: &Totals) -> Vec<Value> {
    let sums = totals.iter().map(|(currency, operation, sum)| {
        json!({
            "currency": currency.as_str(),
            "operation": operation.as_str(),
            "count": sum.count,
            // As a text where no JSON number holds it: never rounded, never cut.
            "minor": i64::try_from(sum.minor)
                .map_or_else(|_| Value::from(sum.minor.to_string()), Value::from),
        })
    });
    sums.collect()
}

fn held(held: &HeldLine) -> Value {
    let job = &held.job;
    json!({
        "entity_id": job.entity_id.as_str(),
        "generation": held.generation.get(),
        "source": held.source,
        "line": held.line,
        "card": job.card_id.to_string(),
        "operation": job.operation.as_str(),
        "amount": { "amount": job.amount.minor(), "currency": job.amount.currency().as_str() },
        "held_since": held.since.to_string(),
    })
}

fn untold(outcome: &StoredOutcome) -> Value {
    json!({
        "event_id": outcome.event_id.to_string(),
        "entity_id": outcome.entity_id.as_ref().map(EntityId::as_str),
        "status": outcome.status.as_str(),
        "at": outcome.settled_at.to_string(),
        "origin": outcome.origin.as_str(),
    })
}

fn line(line: &OpenLine) -> Value {
    let job = &line.job;
    json!({
        "entity_id": job.entity_id.as_str(),
        "generation": line.generation.get(),
        "source": line.source,
        "line": line.line,
        "card": job.card_id.to_string(),
        "operation": job.operation.as_str(),
        "amount": { "amount": job.amount.minor(), "currency": job.amount.currency().as_str() },
        "begun_at": line.begun_at.to_string(),
        "in_doubt_since": line.in_doubt_since.map(|at| at.to_string()),
        "reason": line.doubt.map(DoubtReason::as_str),
        "person_needed": line.person_needed,
        "attempts": line.attempts,
        "asks": line.asks,
        "last_ask": line.last_ask.as_ref().map(|ask| json!({
            "began": ask.began.to_string(),
            "ended": ask.ended.to_string(),
            "finding": ask.finding,
            "evidence": ask.evidence,
        })),
    })
}
