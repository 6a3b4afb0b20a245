//! Reading all clocks at once, and waiting.
//!
//! *What it promises.* Monotonic time and every wait are tokio's, so that a paused test clock moves
//! the whole engine. [`SystemClock`] is the only reader of the machine's wall clock.
//!
//! *What it refuses to know.* What is being timed.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

use super::ports::{Bank, Clock};
use crate::domain::time::{Moment, Timestamp};

/// The machine's wall clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that reads the wall clock"
    )]
    fn wall(&self) -> Timestamp {
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }
}

/// Our clocks and the bank's.
pub(super) struct Clocks {
    start: Instant,
    wall: Arc<dyn Clock>,
    bank: Arc<dyn Bank>,
}

impl Clocks {
    pub(super) fn new(wall: Arc<dyn Clock>, bank: Arc<dyn Bank>) -> Self {
        Self {
            start: Instant::now(),
            wall,
            bank,
        }
    }

    /// All clocks now.
    pub(super) fn now(&self) -> Moment {
        let wall = self.wall.wall();
        let bank = self.bank.time().unwrap_or(wall);
        Moment {
            mono: self.start.elapsed(),
            wall,
            bank,
        }
    }

    /// Ends at this moment, by the monotonic clock; at once where it has passed.
    pub(super) async fn sleep_until(&self, at: Moment) {
        tokio::time::sleep_until(self.start + at.mono).await;
    }

    /// Ends at this moment; never where there is none.
    pub(super) async fn sleep_until_some(&self, at: Option<Moment>) {
        match at {
            Some(at) => self.sleep_until(at).await,
            None => std::future::pending().await,
        }
    }
}
