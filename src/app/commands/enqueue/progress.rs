//! How far a file is on its way to the queue.
//!
//! *What it promises.* A bar where stderr is a terminal, else a line every ten seconds. That the broker
//! confirms nothing is said.
//!
//! *What it refuses to know.* Single jobs.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::{Instant, interval};

use crate::app::commands::bar::{Bar, DRAW_EVERY, LINE_EVERY};
use crate::app::streams::tell;

/// After how long without a confirm it is said: a cluster that elects a leader takes seconds.
const QUIET: Duration = Duration::from_secs(8);
const IS_QUIET: &str = "RabbitMQ confirms nothing just now: it may be short of memory or disk, or a queue \
                        of a cluster without its majority. It is waited for";

/// Jobs that the broker has confirmed.
pub(super) struct Published {
    all: u64,
    count: AtomicU64,
}

impl Published {
    pub(super) fn new(all: u64) -> Self {
        Self {
            all,
            count: AtomicU64::new(0),
        }
    }

    pub(super) fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    pub(super) fn add_one(&self) {
        self.count.fetch_add(1, Ordering::Relaxed);
    }
}

/// Tells whether the count has stood still for too long.
struct Stillness {
    count: u64,
    since: Instant,
}

impl Stillness {
    fn is_quiet(&mut self, count: u64) -> bool {
        if count != self.count {
            *self = Self {
                count,
                since: Instant::now(),
            };
        }
        self.since.elapsed() >= QUIET
    }
}

/// Shows progress until it is dropped.
pub(super) async fn show(published: Arc<Published>, is_terminal: bool) {
    let mut stillness = Stillness {
        count: 0,
        since: Instant::now(),
    };
    if is_terminal {
        let bar = Bar::show(published.all);
        let mut ticks = interval(DRAW_EVERY);
        loop {
            ticks.tick().await;
            let count = published.count();
            let is_quiet = stillness.is_quiet(count);
            let message = if is_quiet { IS_QUIET } else { "" };
            bar.draw(count, is_quiet, message.to_owned());
        }
    }
    let mut ticks = interval(LINE_EVERY);
    ticks.tick().await;
    loop {
        ticks.tick().await;
        let (count, all) = (published.count(), published.all);
        let quiet = if stillness.is_quiet(count) {
            format!("; {IS_QUIET}")
        } else {
            String::new()
        };
        tell(&format!("{count} of {all} jobs are on the queue{quiet}\n"));
    }
}
