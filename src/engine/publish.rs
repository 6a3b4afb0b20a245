//! Publishing: from a durable outcome to a confirmed one.
//!
//! *What it promises.* Every durable outcome is published until the sink confirms it, always the
//! same bytes (I4). Marks of what was published are lazy: a lost mark only publishes again.
//!
//! *What it refuses to know.* Who reads outcomes.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::clock::Clocks;
use super::ports::{Ledger, LedgerError, StoredOutcome};
use super::settings::{MARKS_PER_COMMIT, PUBLISH_RETRY, PUBLISH_RETRY_MAX, RECOVERY_PAGE};
use super::tower::Tower;
use crate::domain::key::EventId;
use crate::telemetry;

/// Whether an outcome was confirmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Published {
    Yes,
    /// The process stops; the next start publishes it.
    Stopped,
}

/// Publishes an outcome until it is confirmed or the process stops.
pub(super) async fn publish(tower: &Tower, outcome: &StoredOutcome) -> Published {
    let published = confirm(tower, outcome).await;
    if published == Published::Yes && !outcome.published {
        // A lost mark only publishes again.
        tower.marks.send(outcome.event_id).await.ok();
    }
    if published == Published::Yes && outcome.published {
        tell_published_again(outcome);
    }
    published
}

fn tell_published_again(outcome: &StoredOutcome) {
    telemetry::OutcomePublishedAgain {
        entity_id: outcome.entity_id.as_ref(),
        status: outcome.status,
    }
    .emit();
}

async fn confirm(tower: &Tower, outcome: &StoredOutcome) -> Published {
    let mut wait = PUBLISH_RETRY;
    loop {
        match tower.sink.publish(outcome).await {
            Ok(()) => return Published::Yes,
            Err(error) => telemetry::OutcomeNotConfirmed { error: &error }.emit(),
        }
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = tower.stop.asked() => return Published::Stopped,
        }
        wait = (wait * 2).min(PUBLISH_RETRY_MAX);
    }
}

/// Marks what was published, many in one commit; ends when nobody publishes any more.
pub(super) async fn keep_marking(
    ledger: Arc<dyn Ledger>,
    clocks: Arc<Clocks>,
    mut marks: mpsc::Receiver<EventId>,
) -> Result<(), LedgerError> {
    loop {
        let mut event_ids = Vec::new();
        if marks.recv_many(&mut event_ids, MARKS_PER_COMMIT).await == 0 {
            return Ok(());
        }
        ledger.mark_published(event_ids, clocks.now().wall).await?;
    }
}

/// Publishes what an earlier process left unpublished.
pub(super) async fn publish_leftovers(tower: &Tower) -> Result<(), LedgerError> {
    loop {
        let leftovers = tower.ledger.unpublished(RECOVERY_PAGE).await?;
        if leftovers.is_empty() {
            return Ok(());
        }
        let mut event_ids = Vec::with_capacity(leftovers.len());
        for outcome in &leftovers {
            if confirm(tower, outcome).await == Published::Stopped {
                return Ok(());
            }
            tell_published_again(outcome);
            event_ids.push(outcome.event_id);
        }
        tower
            .ledger
            .mark_published(event_ids, tower.clocks.now().wall)
            .await?;
    }
}
