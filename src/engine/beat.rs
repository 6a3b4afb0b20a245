//! Signs of life of the process that calls the bank.
//!
//! *What it promises.* While a process may call the bank, it leaves a durable sign every
//! [`BEAT_EVERY`]. After a crash, the next process knows until when something may have been sent, also
//! where the attempts themselves were lost with the crash, and whatever the wall clock was set to since.
//!
//! *What it refuses to know.* What was sent.

use std::time::Duration;

use super::ports::{Ledger, LedgerError, Loss};
use super::tower::Tower;
use crate::domain::time::Timestamp;
use crate::telemetry;

/// Between two signs: it adds to how long a person must wait before ruling that nothing moved.
const BEAT_EVERY: Duration = Duration::from_secs(1);

/// Leaves a sign now.
pub(super) async fn beat(tower: &Tower) -> Result<(), LedgerError> {
    tower.ledger.beat(tower.clocks.now().wall).await
}

/// Leaves one again and again; never ends by itself.
pub(super) async fn keep_beating(tower: &Tower) -> Result<(), LedgerError> {
    loop {
        tokio::time::sleep(BEAT_EVERY).await;
        beat(tower).await?;
    }
}

/// What the ledger says of the time before this process.
pub(super) struct Before {
    /// Until when an earlier process may have called the bank.
    pub(super) called_until: Option<Timestamp>,
    /// For how long none has surely done so, by a clock that nobody sets.
    pub(super) surely_quiet: Option<Duration>,
    /// A loss of the ledger that was accepted.
    pub(super) loss: Option<Loss>,
}

impl Before {
    /// Reads it.
    pub(super) async fn read(ledger: &dyn Ledger) -> Result<Self, LedgerError> {
        let last_beat = ledger.last_beat().await?;
        let mut called_until = last_beat.map(|beat| beat.at.plus(2 * BEAT_EVERY));
        let surely_ago = last_beat.and_then(|beat| beat.surely_ago);
        let loss = ledger.loss().await?;
        if let Some(loss) = &loss {
            // An older copy has the sign of life of its own time, and none of the process that was forgotten.
            called_until = called_until.map(|until| until.max(loss.accepted_at));
            telemetry::LossWasAccepted {
                by: &loss.by,
                accepted_at: loss.accepted_at,
                is_past: loss.is_past,
            }
            .emit();
        }
        Ok(Self {
            called_until,
            surely_quiet: surely_ago.map(|ago| ago.saturating_sub(2 * BEAT_EVERY)),
            loss,
        })
    }
}
