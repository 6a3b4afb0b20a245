//! Admission: what to do with a delivery, decided before anything happens.
//!
//! *What it promises.* One pure decision from what the ledger knows. Same `entity_id` with another
//! fingerprint never reaches the bank (I6); a finished job is answered from the ledger (I1, I4).
//!
//! *What it refuses to know.* How a decision is carried out.

use super::ports::{Delivery, Sight, Standing, StoredOutcome};
use crate::domain::digest::Digest;
use crate::domain::key::Generation;
use crate::domain::request::Person;
use crate::telemetry;

/// What to do with a delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// The ledger knows nothing of it: run it.
    Run,
    /// Its intent was withdrawn: run what the ledger says, which is the same but for its description.
    RunReleased {
        /// As this generation.
        generation: Generation,
        /// Whether a person has cancelled it since.
        cancelled: bool,
    },
    /// A person cancelled it before it came: end it at its turn.
    RunCancelled,
    /// It ended without moving money, and a person wants it run again: as the next generation.
    RunAgain {
        /// The generation that is over.
        earlier: Generation,
        /// How that one ended.
        ended: StoredOutcome,
        /// Who wants it.
        by: Person,
    },
    /// It is over, or the ledger holds it: publish the stored outcome again, and done.
    Replay(StoredOutcome),
    /// Its intent has no outcome: it is driven from the ledger; answer with the interim outcome.
    Join,
    /// Another job has this id.
    Conflict(Generation),
}

impl Decision {
    /// A stable word for records.
    pub(super) const fn as_str(&self) -> &'static str {
        match self {
            Self::Run => "run",
            Self::RunAgain { .. } => "run_again",
            Self::RunReleased { .. } => "run_released",
            Self::RunCancelled => "cancelled",
            Self::Replay(_) => "replay",
            Self::Join => "join",
            Self::Conflict(_) => "conflict",
        }
    }
}

/// Tells what is decided about a delivery.
pub(super) fn tell(delivery: &Delivery, decision: &'static str) {
    telemetry::JobAdmitted {
        job: &delivery.job,
        source: delivery.provenance.origin.as_str(),
        decision,
    }
    .emit();
}

/// What to do with a delivery of this fingerprint; `again` where a named person wants what ended
/// without moving money to be run again, also with corrected content.
pub(super) fn decide(sight: &Sight, fingerprint: Digest, again: Option<&Person>) -> Decision {
    match sight {
        Sight::Unknown => Decision::Run,
        Sight::Cancelled => Decision::RunCancelled,
        Sight::Known {
            generation,
            standing: Standing::Finished(outcome),
            ..
        } if let Some(by) = again
            && outcome.status.may_be_followed() =>
        {
            Decision::RunAgain {
                earlier: *generation,
                ended: outcome.clone(),
                by: by.clone(),
            }
        }
        Sight::Known {
            generation,
            fingerprint: known,
            ..
        } if *known != fingerprint => Decision::Conflict(*generation),
        Sight::Known {
            standing: Standing::Finished(outcome) | Standing::Held { outcome, .. },
            ..
        } => Decision::Replay(outcome.clone()),
        Sight::Known {
            standing: Standing::InDoubt(_),
            ..
        } => Decision::Join,
        Sight::Known {
            generation,
            standing: Standing::Released { cancelled },
            ..
        } => Decision::RunReleased {
            generation: *generation,
            cancelled: *cancelled,
        },
    }
}
