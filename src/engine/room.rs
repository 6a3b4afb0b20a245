//! Room on the ledger's disk.
//!
//! *What it promises.* While the ledger has less than `min_free_bytes` for its growth, the flow is
//! held: what is under way can still be written, and nothing new is begun. It is looked at once
//! before the first job and then every [`LOOK_EVERY`]; the hold lifts by itself.
//!
//! *What it refuses to know.* What a disk is: the ledger says how much it may still write.

use std::time::Duration;

use super::pause::{Hold, HoldKind};
use super::ports::LedgerError;
use super::tower::Tower;

/// How often the disk is looked at: at 1,000 jobs a second, some 5 KiB each, 25 MiB are written in
/// between, less than half of what is kept free unless set.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Holds the flow or lets it go, as there is room now.
pub(super) async fn look(tower: &Tower) -> Result<(), LedgerError> {
    let least_bytes = tower.settings.min_free_bytes;
    if least_bytes == 0 {
        return Ok(());
    }
    match tower.ledger.free_bytes().await? {
        Some(free_bytes) if free_bytes < least_bytes => tower.gate.hold(Hold::Disk {
            free_bytes,
            least_bytes,
        }),
        Some(_) | None => tower.gate.lift(HoldKind::Disk),
    }
    Ok(())
}

/// Looks again and again; never ends by itself.
pub(super) async fn keep_looking(tower: &Tower) -> Result<(), LedgerError> {
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        look(tower).await?;
    }
}
