//! The signal to stop: passed to whoever must heed it, never global.
//!
//! *What it promises.* It only rises: run, drain (finish what is under way, take nothing new),
//! abandon (leave at once, which is safe because every intent is already durable). Whoever has waited
//! longest is told first.
//!
//! *What it refuses to know.* Why we stop.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Level {
    Run,
    Drain,
    Abandon,
}

/// The end that asks. Clones ask for the same.
#[derive(Clone, Debug)]
pub struct Stopper(Arc<Signal>);

/// The end that heeds.
#[derive(Clone, Debug)]
pub struct Stop(Arc<Signal>);

/// Not a `watch`, which wakes those who wait in an order of chance: the same events are to have the same
/// effects in every run.
#[derive(Debug)]
struct Signal {
    level: Mutex<Level>,
    rises: Notify,
}

impl Signal {
    fn level(&self) -> Level {
        *self.level.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where it stood before.
    fn raise(&self, to: impl FnOnce(Level) -> Level) -> Level {
        let before = {
            let mut level = self.level.lock().unwrap_or_else(PoisonError::into_inner);
            let before = *level;
            *level = to(before);
            before
        };
        self.rises.notify_waiters();
        before
    }
}

/// A fresh signal.
#[must_use]
pub fn signal() -> (Stopper, Stop) {
    let signal = Arc::new(Signal {
        level: Mutex::new(Level::Run),
        rises: Notify::new(),
    });
    (Stopper(Arc::clone(&signal)), Stop(signal))
}

impl Stopper {
    /// Asks to drain; asked again, to abandon.
    pub fn ask(&self) {
        self.0.raise(|level| match level {
            Level::Run => Level::Drain,
            Level::Drain | Level::Abandon => Level::Abandon,
        });
    }

    /// Asks to drain, where nobody has asked for anything yet. Whether this was the first.
    #[must_use = "somebody else may have asked before"]
    pub fn drain(&self) -> bool {
        self.0.raise(|level| level.max(Level::Drain)) == Level::Run
    }
}

impl Stop {
    /// Ends when asked to stop.
    pub async fn asked(&self) {
        self.reached(Level::Drain).await;
    }

    /// Ends when asked to leave at once.
    pub async fn abandoned(&self) {
        self.reached(Level::Abandon).await;
    }

    async fn reached(&self, wanted: Level) {
        loop {
            let rises = self.0.rises.notified();
            tokio::pin!(rises);
            // Before the look: what rises after it is not missed.
            rises.as_mut().enable();
            if self.0.level() >= wanted {
                return;
            }
            rises.await;
        }
    }
}
