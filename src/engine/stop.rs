//! The signal to stop: passed to whoever must heed it, never global.
//!
//! *What it promises.* It only rises: run, drain (finish what is under way, take nothing new),
//! abandon (leave at once, which is safe because every intent is already durable).
//!
//! *What it refuses to know.* Why we stop.

use tokio::sync::watch;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Level {
    Run,
    Drain,
    Abandon,
}

/// The end that asks. Clones ask for the same.
#[derive(Clone, Debug)]
pub struct Stopper(watch::Sender<Level>);

/// The end that heeds.
#[derive(Clone, Debug)]
pub struct Stop(watch::Receiver<Level>);

/// A fresh signal.
#[must_use]
pub fn signal() -> (Stopper, Stop) {
    let (sender, receiver) = watch::channel(Level::Run);
    (Stopper(sender), Stop(receiver))
}

impl Stopper {
    /// Asks to drain; asked again, to abandon.
    pub fn ask(&self) {
        self.0.send_modify(|level| {
            *level = if *level == Level::Run {
                Level::Drain
            } else {
                Level::Abandon
            };
        });
    }

    /// Asks to drain, where nobody has asked for anything yet. Whether this was the first.
    #[must_use = "somebody else may have asked before"]
    pub fn drain(&self) -> bool {
        self.0.send_if_modified(|level| {
            let is_first = *level == Level::Run;
            *level = (*level).max(Level::Drain);
            is_first
        })
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
        let mut receiver = self.0.clone();
        if receiver.wait_for(|level| *level >= wanted).await.is_err() {
            // The asking end is gone: nobody can ask any more.
            std::future::pending::<()>().await;
        }
    }
}
