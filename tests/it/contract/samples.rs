//! Jobs, attempts and outcomes to put into a ledger.

use std::time::Duration;

use tanda::domain::digest::Digest;
use tanda::domain::job::{Draft, EntityId, Job};
use tanda::domain::key::{EventId, Generation, IdempotencyKey, Namespace};
use tanda::domain::money::Currencies;
use tanda::domain::outcome::Status;
use tanda::domain::time::{Moment, Timestamp};
use tanda::domain::verdict::{Unclarity, UnclearCause, Verdict};
use tanda::engine::ports::{
    AttemptNote, Intent, JobRef, NewlyHeld, Origin, Settlement, StoredOutcome,
};
use tanda::wire::envelope::Envelope;

pub(crate) fn id(name: &str) -> EntityId {
    EntityId::parse(name).expect("an entity_id")
}

pub(crate) fn generation(number: u32) -> Generation {
    Generation::new(number).expect("a generation")
}

pub(crate) fn job(name: &str) -> Job {
    Draft {
        entity_id: name.to_owned(),
        card_id: "car_5tgliBmzjZ6mpQPRbQjfKj".to_owned(),
        operation: "topup".to_owned(),
        amount_minor: 5_000_000,
        currency: "COP".to_owned(),
        description: Some("Nómina noviembre".to_owned()),
        not_after: Some("2026-11-30T23:59:59-05:00".to_owned()),
    }
    .validate(&Currencies::default())
    .expect("a job")
}

pub(crate) fn intent_of(job: Job, number: u32) -> Intent {
    let key = IdempotencyKey::derive(&Namespace::default(), &job.entity_id, generation(number));
    Intent {
        body_sha256: Digest::of(job.entity_id.as_str().as_bytes()),
        job,
        generation: generation(number),
        key,
        origin: Origin::File,
        envelope: Envelope::default(),
        source: "payroll.csv".to_owned(),
        line: Some(17),
        again_by: None,
        received_at: Timestamp::from_millis(1_700_000_000_001),
        at: Moment {
            mono: Duration::ZERO,
            wall: Timestamp::from_millis(1_700_000_000_002),
            bank: Timestamp::from_millis(1_700_000_000_503),
        },
    }
}

pub(crate) fn intent(name: &str) -> Intent {
    intent_of(job(name), 1)
}

pub(crate) fn reference(intent: &Intent) -> JobRef {
    JobRef {
        entity_id: intent.job.entity_id.clone(),
        generation: intent.generation,
    }
}

pub(crate) fn outcome(intent: &Intent, status: Status) -> StoredOutcome {
    let entity_id = &intent.job.entity_id;
    StoredOutcome {
        event_id: EventId::of_outcome(&Namespace::default(), entity_id, intent.generation, status),
        entity_id: Some(entity_id.clone()),
        generation: Some(intent.generation),
        status,
        body: format!("{{\"status\":\"{status}\"}}").into_bytes(),
        settled_at: Timestamp::from_millis(1_700_000_001_000),
        published: false,
        origin: Origin::File,
        envelope: Envelope::default(),
        letter: None,
    }
}

pub(crate) fn held(intent: &Intent) -> NewlyHeld {
    NewlyHeld {
        intent: intent.clone(),
        outcome: outcome(intent, Status::Waiting),
        first: false,
        released: None,
    }
}

pub(crate) fn fact(name: &str, body: &str) -> StoredOutcome {
    StoredOutcome {
        event_id: EventId::from_bytes(Digest::of(name.as_bytes()).first_16()),
        entity_id: None,
        generation: None,
        status: Status::Invalid,
        body: body.as_bytes().to_vec(),
        settled_at: Timestamp::from_millis(1_700_000_000_900),
        published: false,
        origin: Origin::File,
        envelope: Envelope::default(),
        letter: None,
    }
}

pub(crate) fn attempt(number: u32, verdict: Verdict) -> AttemptNote {
    let began = Timestamp::from_millis(1_700_000_000_100 + i64::from(number));
    AttemptNote {
        number,
        began,
        ended: began.plus(Duration::from_millis(35)),
        verdict,
        spent: true,
    }
}

pub(crate) fn accepted(number: u32) -> AttemptNote {
    attempt(number, Verdict::Accepted { http_status: 204 })
}

pub(crate) fn unclear(number: u32) -> AttemptNote {
    let timeout = Unclarity::new(UnclearCause::Timeout);
    attempt(number, Verdict::Unclear(timeout))
}

pub(crate) fn settlement(intent: &Intent, status: Status) -> Settlement {
    settlement_with(intent, status, vec![accepted(1)])
}

pub(crate) fn settlement_with(
    intent: &Intent,
    status: Status,
    attempts: Vec<AttemptNote>,
) -> Settlement {
    Settlement {
        intent: intent.clone(),
        attempts,
        outcome: outcome(intent, status),
        answers: None,
    }
}
