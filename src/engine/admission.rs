//! Admission: what to do with a delivery, decided before anything happens.
//!
//! *What it promises.* One pure decision from what the ledger knows. Same `entity_id` with another
//! fingerprint never reaches the bank (I6); a finished job is answered from the ledger (I1, I4).
//!
//! *What it refuses to know.* How a decision is carried out.

use super::ports::{Sight, Standing, StoredOutcome};
use crate::domain::digest::Digest;
use crate::domain::key::Generation;

/// What to do with a delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// The ledger knows nothing of it: run it.
    Run,
    /// It is over: publish the stored outcome again, and done.
    Replay(StoredOutcome),
    /// Its intent has no outcome: it is driven from the ledger; answer with the interim outcome.
    Join,
    /// Another job has this id.
    Conflict(Generation),
}

pub(super) fn decide(sight: &Sight, fingerprint: Digest) -> Decision {
    match sight {
        Sight::Unknown => Decision::Run,
        Sight::Known {
            generation,
            fingerprint: known,
            ..
        } if *known != fingerprint => Decision::Conflict(*generation),
        Sight::Known {
            standing: Standing::Finished(outcome),
            ..
        } => Decision::Replay(outcome.clone()),
        Sight::Known {
            standing: Standing::InDoubt(_),
            ..
        } => Decision::Join,
    }
}
