//! Signs of life of the process that calls the bank.
//!
//! *What it promises.* While a process may call the bank, it leaves a durable sign every
//! [`BEAT_EVERY`]. After a crash, the next process knows until when something may have been sent, also
//! where the attempts themselves were lost with the crash.
//!
//! *What it refuses to know.* What was sent.

use std::time::Duration;

use super::ports::LedgerError;
use super::tower::Tower;

/// Between two signs: it adds to how long a person must wait before ruling that nothing moved.
pub(super) const BEAT_EVERY: Duration = Duration::from_secs(1);

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
