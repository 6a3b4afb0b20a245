//! Publishing: from a durable outcome to a confirmed one.
//!
//! *What it promises.* Every durable outcome is published until the sink confirms it, always the
//! same bytes (I4). Marks of what was published are lazy: a lost mark only publishes again.
//!
//! *What it refuses to know.* Who reads outcomes.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::clock::Clocks;
use super::pause::{Hold, HoldKind};
use super::ports::{Ledger, LedgerError, StoredOutcome};
use super::settings::{
    CONFIRM_AT_STOP, MARKS_PER_COMMIT, PUBLISH_OVERDUE, PUBLISH_RETRY, PUBLISH_RETRY_MAX,
    RECOVERY_PAGE,
};
use super::stop::Stop;
use super::tower::Tower;
use crate::domain::key::EventId;
use crate::telemetry;

/// Whether an outcome was confirmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Published {
    /// It was, or this process cannot reach its readers: then it stays unpublished in the ledger, for
    /// one that can, and no receipt of this process waits for it.
    Yes,
    /// The process stops; the next start publishes it.
    Stopped,
}

/// Whose outcome the ledger has: of the readers that it is told to, or of others, who have not got it by that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Row {
    /// Theirs: confirmed, it is marked.
    Theirs,
    /// Of others.
    OfOthers,
}

/// Publishes an outcome until it is confirmed or the process stops.
pub(super) async fn publish(tower: &Tower, outcome: &StoredOutcome) -> Published {
    publish_of(tower, outcome, Row::Theirs).await
}

/// Publishes an outcome of this row until it is confirmed or the process stops.
pub(super) async fn publish_of(tower: &Tower, outcome: &StoredOutcome, row: Row) -> Published {
    if !tower.sink.reaches().contains(&outcome.origin) {
        return Published::Yes;
    }
    let published = confirm(tower, outcome).await;
    if published == Published::Yes && !outcome.published && row == Row::Theirs {
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
    let mut told_full = None;
    loop {
        let sent = tokio::select! {
            biased;
            sent = tower.sink.publish(outcome) => sent,
            () = stopped_long_enough(&tower.stop) => return Published::Stopped,
        };
        match sent {
            Ok(()) => {
                results_are_taken(tower);
                return Published::Yes;
            }
            Err(error) => {
                telemetry::OutcomeNotConfirmed {
                    error: &error,
                    is_told: error.is_broken,
                }
                .emit();
                if error.is_full {
                    told_full.get_or_insert_with(|| ToldFull::new(tower));
                    // In this order: whoever is confirmed meanwhile lifts it, and otherwise this one does.
                    tower.gate.hold(Hold::Results);
                    tower.results_are_full.store(true, Ordering::Release);
                }
            }
        }
        tokio::select! {
            biased;
            () = tokio::time::sleep(wait) => {}
            () = tower.stop.asked() => return Published::Stopped,
        }
        wait = (wait * 2).min(PUBLISH_RETRY_MAX);
    }
}

fn results_are_taken(tower: &Tower) {
    if tower.results_are_full.swap(false, Ordering::AcqRel) {
        tower.gate.lift(HoldKind::Results);
    }
}

/// One that was told that no more outcomes are taken, and tries again. Where the last of these is given up, as
/// with a delivery that its source takes back, nobody is left to find out that they are taken again: then the
/// next that is published finds out.
struct ToldFull<'a>(&'a Tower);

impl<'a> ToldFull<'a> {
    fn new(tower: &'a Tower) -> Self {
        tower.told_full.fetch_add(1, Ordering::AcqRel);
        Self(tower)
    }
}

impl Drop for ToldFull<'_> {
    fn drop(&mut self) {
        if self.0.told_full.fetch_sub(1, Ordering::AcqRel) == 1 {
            results_are_taken(self.0);
        }
    }
}

/// Ends when a stop has left time for a confirm that was on its way: a broker that holds back publishing
/// gives none.
async fn stopped_long_enough(stop: &Stop) {
    stop.asked().await;
    tokio::select! {
        biased;
        () = stop.abandoned() => {}
        () = tokio::time::sleep(CONFIRM_AT_STOP) => {}
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

/// Publishes what an earlier process left unpublished, as far as this one reaches its readers.
pub(super) async fn publish_leftovers(tower: &Arc<Tower>) -> Result<(), LedgerError> {
    loop {
        let leftovers = unpublished(tower).await?;
        // Where none is confirmed, each of them panics, or the process stops.
        if publish_all(tower, leftovers).await? == 0 {
            return Ok(());
        }
    }
}

/// Publishes, again and again, what has waited for so long that nobody else does; never ends by itself.
pub(super) async fn keep_publishing(tower: &Arc<Tower>) -> Result<(), LedgerError> {
    loop {
        tokio::time::sleep(PUBLISH_OVERDUE).await;
        let overdue = tower.clocks.now().wall.minus(2 * PUBLISH_OVERDUE);
        let mut waiting = unpublished(tower).await?;
        waiting.retain(|outcome| outcome.settled_at < overdue);
        publish_all(tower, waiting).await?;
    }
}

async fn unpublished(tower: &Tower) -> Result<Vec<StoredOutcome>, LedgerError> {
    let reached = tower.sink.reaches();
    tower.ledger.unpublished(reached, RECOVERY_PAGE).await
}

/// Publishes these, many at once, and marks those that are confirmed; how many are.
async fn publish_all(
    tower: &Arc<Tower>,
    outcomes: Vec<StoredOutcome>,
) -> Result<usize, LedgerError> {
    let mut publishing = JoinSet::new();
    for outcome in outcomes {
        let tower = Arc::clone(tower);
        publishing.spawn(async move {
            let published = confirm(&tower, &outcome).await;
            if published == Published::Yes {
                tell_published_again(&outcome);
            }
            (outcome.event_id, published)
        });
    }
    let mut event_ids = Vec::new();
    while let Some(published) = publishing.join_next().await {
        match published {
            Ok((event_id, Published::Yes)) => event_ids.push(event_id),
            Ok((_, Published::Stopped)) => {}
            // One that cannot be published must not keep the others, and every later process, from it.
            Err(_) => telemetry::PublishingPanicked.emit(),
        }
    }
    let confirmed = event_ids.len();
    if confirmed > 0 {
        let now = tower.clocks.now().wall;
        tower.ledger.mark_published(event_ids, now).await?;
    }
    Ok(confirmed)
}
