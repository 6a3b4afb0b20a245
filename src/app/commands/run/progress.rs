//! Progress of a run: what the sink of `tanda run` counts, and how people see it.
//!
//! *What it promises.* A bar where stderr is a terminal, else a line every ten seconds. A pause
//! shows at once, with why, until when, what it means for the money and what to do; its end too.
//! Confirms every outcome at once: the result file is made from the ledger.
//!
//! *What it refuses to know.* Single jobs.

use std::fmt::Write as _;
use std::io::IsTerminal as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;

use crate::app::commands::bar::{Bar, DRAW_EVERY, LINE_EVERY};
use crate::app::pauses::{Circumstances, Words};
use crate::app::streams::tell;
use crate::domain::outcome::Status;
use crate::domain::time::Timestamp;
use crate::engine::ports::{Origin, Sink, SinkError, StoredOutcome};
use crate::engine::{Pause, PauseCause};
use crate::files::RowCounts;
use crate::wire::outcome::OutcomeMessage;

/// A 429 that ends sooner is told only by the lines that come anyway: a bank may ask for a second's
/// rest a hundred times in a run.
const REST_TOLD: Duration = LINE_EVERY;

/// Counts what became true since this run began; what an earlier run left is told elsewhere.
#[derive(Debug)]
pub(super) struct Tally {
    since: Timestamp,
    succeeded: AtomicU64,
    /// Rejected, not sent or in conflict.
    moved_nothing: AtomicU64,
    doubts_settled: AtomicU64,
}

impl Tally {
    pub(super) fn new(since: Timestamp) -> Self {
        let zero = || AtomicU64::new(0);
        Self {
            since,
            succeeded: zero(),
            moved_nothing: zero(),
            doubts_settled: zero(),
        }
    }
}

#[async_trait]
impl Sink for Tally {
    /// What is to be published on the queue waits for a worker.
    fn reaches(&self) -> &'static [Origin] {
        &[Origin::File]
    }

    async fn publish(&self, outcome: &StoredOutcome) -> Result<(), SinkError> {
        if outcome.settled_at < self.since || !outcome.status.is_final() {
            return Ok(());
        }
        let is_success = outcome.status == Status::Succeeded;
        let counter = if is_success {
            &self.succeeded
        } else {
            &self.moved_nothing
        };
        counter.fetch_add(1, Ordering::Relaxed);
        let was_in_doubt =
            OutcomeMessage::decode(&outcome.body).is_some_and(|message| message.seq > 1);
        self.doubts_settled
            .fetch_add(u64::from(was_in_doubt), Ordering::Relaxed);
        Ok(())
    }
}

/// What the display watches.
pub(super) struct Watched {
    pub(super) rows: u64,
    pub(super) counts: Arc<RowCounts>,
    pub(super) tally: Arc<Tally>,
    pub(super) pauses: watch::Receiver<Option<Pause>>,
    pub(super) about: Circumstances,
}

impl Watched {
    /// Rows given back by a stop are not among them: they were not sent.
    fn answered(&self) -> u64 {
        self.counts.all_done()
    }

    fn in_doubt(&self) -> u64 {
        let settled = self.tally.doubts_settled.load(Ordering::Relaxed);
        self.counts.done(Status::InDoubt).saturating_sub(settled)
    }

    fn message(&self) -> String {
        let tally = &self.tally;
        let mut message = format!("{} succeeded", tally.succeeded.load(Ordering::Relaxed));
        for (count, word) in [
            (
                tally.moved_nothing.load(Ordering::Relaxed),
                "moved no money",
            ),
            (
                self.in_doubt(),
                "in doubt (the bank is asked about them, for some minutes)",
            ),
        ] {
            if count > 0 {
                write!(message, ", {count} {word}").expect("a string takes it");
            }
        }
        message
    }

    /// What holds the flow now, in words.
    fn words(&self) -> Option<Words> {
        let pause = self.pauses.borrow();
        pause.as_ref().map(|pause| Words::of(pause, &self.about))
    }

    fn line(&self) -> String {
        let (done, rows) = (self.answered(), self.rows);
        let held = self.words().map(|words| format!(" | {}", words.short()));
        let held = held.unwrap_or_default();
        format!("{done} of {rows} rows; {}{held}\n", self.message())
    }
}

/// Shows progress until it is dropped.
pub(super) async fn show(watched: Watched) {
    if std::io::stderr().is_terminal() {
        draw_bar(&watched).await;
    } else {
        write_lines(&watched).await;
    }
}

async fn draw_bar(watched: &Watched) {
    let bar = Bar::show(watched.rows);
    let mut ticks = tokio::time::interval(DRAW_EVERY);
    loop {
        ticks.tick().await;
        let words = watched.words();
        let is_held = words.is_some();
        let held = words.map(|words| format!("\n{}", words.wrapped()));
        let message = watched.message() + &held.unwrap_or_default();
        bar.draw(watched.answered(), is_held, message);
    }
}

async fn write_lines(watched: &Watched) {
    let mut ticks = tokio::time::interval(LINE_EVERY);
    ticks.tick().await;
    let mut pauses = watched.pauses.clone();
    let mut told = None;
    loop {
        let pause = pauses.borrow_and_update().clone();
        let cause = pause.as_ref().map(|pause| pause.cause.clone());
        match &pause {
            // From the second look on only the time of the next probe differs.
            Some(pause) if told != cause && is_told_at_once(pause) => {
                tell(&format!("{}\n", Words::of(pause, &watched.about).long()));
                told = cause;
            }
            None if told.is_some() => {
                tell(&format!("the pause is over: {}", watched.line()));
                told = None;
            }
            Some(_) | None => {}
        }
        tokio::select! {
            _ = ticks.tick() => tell(&watched.line()),
            changed = pauses.changed() => if changed.is_err() {
                return;
            },
        }
    }
}

fn is_told_at_once(pause: &Pause) -> bool {
    let rest = pause.until.map(|until| pause.since.until(until));
    pause.cause != PauseCause::RateLimited || rest.is_some_and(|rest| rest >= REST_TOLD)
}
