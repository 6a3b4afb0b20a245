//! The pace: calls a second, where the settings bound them.
//!
//! *What it promises.* At most `rate_per_second` calls a second on the whole, and no more at once
//! than a tenth of a second brings. Jobs get their turn in the order in which they came for it. It
//! runs by tokio's clock, so that a paused test clock moves it. Reads of the bank (asks and probes)
//! take no turn: they are few, and bounded by how many run at once.
//!
//! *What it refuses to know.* Whether the flow is held: a turn is no right to call, and one that
//! comes to a closed gate is lost.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use governor::clock::Clock;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use tokio::sync::Mutex;

use super::clock::Clocks;

/// What may come at once is what the rate brings in a second divided by this: enough that the
/// timers' millisecond is no bound of its own at 10,000 a second, little enough that a bank that
/// counts by the second never sees much more than the rate.
const BURSTS_PER_SECOND: u32 = 10;

type Limiter =
    RateLimiter<NotKeyed, InMemoryState, Monotonic, governor::middleware::NoOpMiddleware<Duration>>;

/// Hands out turns to call.
pub(super) struct Pace {
    clocks: Arc<Clocks>,
    /// None where there is no bound. Whoever waits for a turn holds the lock, which is fair.
    limiter: Option<Mutex<Limiter>>,
}

/// The engine's monotonic clock, as the limiter reads it.
struct Monotonic(Arc<Clocks>);

impl Clock for Monotonic {
    type Instant = Duration;

    fn now(&self) -> Duration {
        self.0.now().mono
    }
}

impl Pace {
    pub(super) fn new(rate_per_second: Option<NonZeroU32>, clocks: Arc<Clocks>) -> Self {
        let limiter = rate_per_second.map(|rate| {
            let burst = NonZeroU32::new(rate.get() / BURSTS_PER_SECOND).unwrap_or(NonZeroU32::MIN);
            let quota = Quota::per_second(rate).allow_burst(burst);
            let clock = Monotonic(Arc::clone(&clocks));
            Mutex::new(RateLimiter::direct_with_clock(quota, clock))
        });
        Self { clocks, limiter }
    }

    /// Ends when it is the caller's turn.
    pub(super) async fn turn(&self) {
        let Some(limiter) = &self.limiter else {
            return;
        };
        let limiter = limiter.lock().await;
        while let Err(too_early) = limiter.check() {
            let now = self.clocks.now();
            let wait = too_early.wait_time_from(now.mono);
            self.clocks.sleep_until(now.plus(wait)).await;
        }
    }
}

#[cfg(test)]
#[path = "pace_tests.rs"]
mod tests;
