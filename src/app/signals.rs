//! SIGINT and SIGTERM: the first drains, the second abandons at once.
//!
//! *What it promises.* Remembers which signal came first, for the exit code.
//!
//! *What it refuses to know.* What is being stopped.

use std::sync::{Arc, OnceLock};

use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;

use super::streams::tell;
use crate::engine::stop::Stopper;

/// A signal that asks the process to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Signal {
    /// SIGINT.
    Interrupt,
    /// SIGTERM.
    Terminate,
}

/// Which signal came first.
#[derive(Clone, Debug, Default)]
pub(super) struct Signals(Arc<OnceLock<Signal>>);

impl Signals {
    pub(super) fn first(&self) -> Option<Signal> {
        self.0.get().copied()
    }
}

/// Tells the stopper of every signal from now on, and people, with this notice, of the first.
pub(super) fn listen(
    stopper: Stopper,
    notice: &'static str,
    tasks: &mut JoinSet<()>,
) -> std::io::Result<Signals> {
    let mut interrupts = signal(SignalKind::interrupt())?;
    let mut terminations = signal(SignalKind::terminate())?;
    let signals = Signals::default();
    let first = signals.clone();
    tasks.spawn(async move {
        loop {
            let came = tokio::select! {
                _ = interrupts.recv() => Signal::Interrupt,
                _ = terminations.recv() => Signal::Terminate,
            };
            if first.0.set(came).is_ok() {
                tell(&format!("{notice}\n"));
            }
            stopper.ask();
        }
    });
    Ok(signals)
}
