//! Outcomes as they are kept: the one place that makes the bytes to publish.
//!
//! *What it promises.* What is said of a job or a message is a pure function of what is known of it; a
//! dead-lettered outcome of a message carries its letter.
//!
//! *What it refuses to know.* What was decided, and where outcomes go.

use super::ports::{Delivery, Intent, Letter, Origin, StoredOutcome, UnreadableDelivery};
use crate::domain::digest::Digest;
use crate::domain::key::{EventId, Generation, IdempotencyKey, Namespace};
use crate::domain::outcome::{Outcome, Status};
use crate::domain::time::Timestamp;
use crate::wire::outcome::{self, Circumstances};

/// How far a generation of a job has come.
#[derive(Clone, Copy, Debug)]
pub(super) struct Told {
    /// Interim outcomes that came before this one.
    pub(super) interim: u32,
    /// Calls made.
    pub(super) attempts: u32,
}

/// What is true of a job from now on.
pub(super) fn of_job(
    namespace: &Namespace,
    intent: &Intent,
    outcome: &Outcome,
    told: Told,
    settled_at: Timestamp,
) -> StoredOutcome {
    let status = outcome.status();
    let (job, generation) = (&intent.job, intent.generation);
    let event_id = EventId::of_outcome(namespace, &job.entity_id, generation, status);
    let about = Circumstances {
        event_id,
        seq: 1 + told.interim,
        generation,
        key: intent.key,
        attempts: told.attempts,
        line: intent.line,
        batch_id: intent.envelope.batch_id.as_deref(),
        received_at: intent.received_at,
        settled_at,
    };
    let is_letter = status.is_dead_lettered() && intent.origin == Origin::Queue;
    StoredOutcome {
        event_id,
        entity_id: Some(job.entity_id.clone()),
        generation: Some(generation),
        status,
        body: outcome::of_job(job, outcome, about).encode(),
        settled_at,
        published: false,
        origin: intent.origin,
        envelope: intent.envelope.clone(),
        letter: is_letter.then(|| Letter::of(job)),
    }
}

/// That a copy of a job says something else than the job.
pub(super) fn of_conflict(
    namespace: &Namespace,
    copy: &Delivery,
    generation: Generation,
    fingerprint: Digest,
    settled_at: Timestamp,
) -> StoredOutcome {
    let (job, from) = (&copy.job, &copy.provenance);
    let event_id = EventId::of_conflict(namespace, &job.entity_id, generation, fingerprint);
    let about = Circumstances {
        event_id,
        seq: 1,
        generation,
        key: IdempotencyKey::derive(namespace, &job.entity_id, generation),
        attempts: 0,
        line: from.line,
        batch_id: from.envelope.batch_id.as_deref(),
        received_at: from.received_at,
        settled_at,
    };
    StoredOutcome {
        event_id,
        entity_id: Some(job.entity_id.clone()),
        generation: Some(generation),
        status: Status::Conflict,
        body: outcome::of_conflict(job, about).encode(),
        settled_at,
        published: false,
        origin: from.origin,
        envelope: from.envelope.clone(),
        letter: letter_of_copy(copy),
    }
}

/// The letter of a message that names a job which the ledger has under the same id.
pub(super) fn letter_of_copy(copy: &Delivery) -> Option<Letter> {
    let body = copy.body.clone()?;
    Some(Letter { body, why: None })
}

/// That a message is no valid job.
pub(super) fn of_invalid(
    namespace: &Namespace,
    message: &UnreadableDelivery,
    settled_at: Timestamp,
) -> StoredOutcome {
    let event_id = EventId::of_invalid(namespace, Digest::of(&message.body));
    let from = &message.provenance;
    let told = outcome::of_invalid(&message.unreadable, event_id, from.received_at, settled_at);
    StoredOutcome {
        event_id,
        entity_id: message.unreadable.seen.entity_id.clone(),
        generation: None,
        status: Status::Invalid,
        body: told.encode(),
        settled_at,
        published: false,
        origin: from.origin,
        envelope: from.envelope.clone(),
        letter: Some(letter_of_invalid(message)),
    }
}

/// The letter of a message that is no valid job.
pub(super) fn letter_of_invalid(message: &UnreadableDelivery) -> Letter {
    let unreadable = &message.unreadable;
    Letter {
        body: message.body.clone(),
        // Its own reason: another message with the same body may have been refused for another one.
        why: Some((unreadable.reason.clone(), unreadable.words.clone())),
    }
}
