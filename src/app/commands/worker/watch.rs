//! What people and machines see of a worker: what holds the flow, whether it works, what is open.
//!
//! *What it promises.* One telling for each cause of a pause, when it begins, and one when the flow goes
//! on. It is ready only while both connections stand and nothing holds the flow. What is open in the
//! ledger is counted every few seconds.
//!
//! *What it refuses to know.* Single jobs: the log has them.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::amqp::Link;
use crate::app::health::{Health, Unready};

use crate::app::pauses::{Circumstances, Words};
use crate::app::streams::tell;
use crate::engine::stop::Stop;
use crate::engine::{Pause, PauseCause};
use crate::ledger::SqliteLedger;
use crate::telemetry::metrics;

/// How often what is open is counted: less often than it is scraped would be seen.
const COUNT_EVERY: Duration = Duration::from_secs(5);
/// How often the connections are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Says whether the worker works, for as long as it runs.
pub(super) async fn keep_health(
    health: Arc<Health>,
    links: [Link; 2],
    pauses: watch::Receiver<Option<Pause>>,
    stop: Stop,
) {
    loop {
        let is_connected = links.iter().all(Link::is_up);
        let is_paused = pauses.borrow().as_ref().is_some_and(is_worth_telling);
        health.set_ready(match (is_connected, is_paused) {
            (false, _) => Err(Unready::Broker),
            (true, true) => Err(Unready::Paused),
            (true, false) => Ok(()),
        });
        tokio::select! {
            () = stop.asked() => return health.set_ready(Err(Unready::Stopping)),
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
    }
}

/// Counts what is open, for as long as the ledger can be read.
pub(super) async fn keep_counting(ledger: Arc<SqliteLedger>) {
    // A ledger that fails ends the worker elsewhere.
    while let Ok(figures) = ledger.open_figures().await {
        metrics::set_open(&figures);
        tokio::time::sleep(COUNT_EVERY).await;
    }
}

/// Tells of pauses for as long as there are any to be seen.
pub(super) async fn tell_pauses(mut pauses: watch::Receiver<Option<Pause>>, about: Circumstances) {
    let mut told: Option<PauseCause> = None;
    while pauses.changed().await.is_ok() {
        let pause = pauses.borrow_and_update().clone();
        let pause = pause.filter(is_worth_telling);
        let cause = pause.as_ref().map(|pause| pause.cause.clone());
        if cause == told {
            continue;
        }
        match &pause {
            Some(pause) => tell(&format!("{}\n", Words::of(pause, &about).wrapped())),
            None => tell("the flow goes on\n"),
        }
        told = cause;
    }
}

/// A rest that the bank asks for is soon over, and so is the read before the first job.
const fn is_worth_telling(pause: &Pause) -> bool {
    !matches!(pause.cause, PauseCause::RateLimited | PauseCause::Starting)
}
