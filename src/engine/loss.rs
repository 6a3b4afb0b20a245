//! A loss of the ledger that was accepted: a time of which nothing is known any more.
//!
//! *What it promises.* Whatever the ledger does not know may have been sent in that time, until the list
//! has said otherwise. How late a reading of the list is counts from the moment at which this process
//! found the loss, by a clock that nobody sets; once what was sent in the forgotten time must be listed,
//! that is on record for the processes that follow.
//!
//! *What it refuses to know.* What a reading proves: that is [`progress`](crate::domain::progress).

use std::sync::atomic::{AtomicBool, Ordering};

use super::ports::{Delivery, LedgerError, Loss, Origin};
use super::tower::Tower;
use crate::domain::time::Moment;
use crate::telemetry;

/// The forgotten time, as this process knows it.
#[derive(Debug)]
pub(super) struct Forgotten {
    /// Nothing was sent in it after this moment.
    pub(super) ended: Moment,
    is_past: AtomicBool,
}

impl Forgotten {
    pub(super) const fn new(loss: &Loss, found_at: Moment) -> Self {
        Self {
            ended: found_at,
            is_past: AtomicBool::new(loss.is_past),
        }
    }

    /// Whether all that was sent in it must be listed by now.
    pub(super) fn is_past(&self) -> bool {
        self.is_past.load(Ordering::Acquire)
    }
}

/// How a job that the ledger does not know stands to a forgotten time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Doubtful {
    /// Whether its message was delivered in that time: another outcome may have been told then.
    pub(super) after_delivery: bool,
}

/// Puts on record which of these messages, of which the ledger knows nothing, come for the first time:
/// whenever they come again, they were not delivered in the forgotten time.
pub(super) async fn note_arrivals<'a>(
    tower: &Tower,
    unknown: impl Iterator<Item = &'a Delivery>,
) -> Result<(), LedgerError> {
    if tower.forgotten.is_none() {
        return Ok(());
    }
    let first = unknown.filter(|it| it.provenance.origin == Origin::Queue && !it.is_redelivered);
    let first: Vec<_> = first.map(|it| it.job.entity_id.clone()).collect();
    if first.is_empty() {
        return Ok(());
    }
    tower.ledger.note_arrivals(first).await
}

/// Waits until all that was sent in the forgotten time must be listed, and puts that on record.
pub(super) async fn wait_until_past(tower: &Tower) -> Result<(), LedgerError> {
    let Some(forgotten) = &tower.forgotten else {
        return Ok(());
    };
    if forgotten.is_past() {
        return Ok(());
    }
    let asks = &tower.settings.rules.asks;
    let listed = asks.settle_delay().saturating_add(asks.absence_gap());
    tower.clocks.sleep_until(forgotten.ended.plus(listed)).await;
    tower.ledger.note_loss_is_past().await?;
    forgotten.is_past.store(true, Ordering::Release);
    telemetry::ForgottenTimeIsPast.emit();
    Ok(())
}
