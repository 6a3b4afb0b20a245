//! Floor 2: the job's way, from a source to an outcome that is durable and published.
//!
//! ```text
//! source ─► admission ─► lane (one a card) ─► flight: intent ─► call ─► verdict ─┐
//!              │                                 ▲        the rules decide       │
//!              │                                 └── wait, ask, call again ◄─────┤
//!              └─ done before, conflict ─────────────► outcome ─► sink ─► receipt ◄
//! ```
//!
//! *What it promises.* [`run`] is the whole river: open what the ledger left open, take deliveries
//! while there is room, let each card's jobs fly one at a time, answer each receipt once, and close
//! from the source downward. An [`EngineError`] means that this process must stop, and nothing else.
//!
//! *What it refuses to know.* SQL, HTTP, AMQP, files, and the rules of a job's way
//! ([`progress`](crate::domain::progress)).

mod admission;
mod asking;
mod beat;
mod clock;
#[cfg(feature = "crash-points")]
pub mod doors;
mod flight;
mod lanes;
mod loss;
mod orders;
mod outcomes;
mod pace;
mod pause;
pub mod ports;
mod publish;
mod receipts;
mod river;
mod room;
pub mod settings;
pub mod stop;
mod tower;

use std::convert::Infallible;
use std::sync::Arc;

use tokio::sync::watch;

use self::ports::{Bank, Clock, Ledger, LedgerError, Sink, Source, SourceError};
use self::river::River;
use self::settings::{SOURCE_AT_STOP, Settings};
use self::stop::{Stop, Stopper};
use crate::domain::progress::IllegalStep;

pub use self::clock::SystemClock;
pub use self::pause::{Hold, HoldKind, Pause, PauseCause};
pub use self::river::attend::too_late;

/// The doors that a run of the engine uses, besides its source.
#[derive(Clone)]
pub struct Ports {
    /// The bank.
    pub bank: Arc<dyn Bank>,
    /// The ledger.
    pub ledger: Arc<dyn Ledger>,
    /// Where outcomes go.
    pub sink: Arc<dyn Sink>,
    /// Our wall clock.
    pub clock: Arc<dyn Clock>,
}

impl std::fmt::Debug for Ports {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Ports")
    }
}

/// This process must stop; the next start reads the truth from the ledger.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The ledger cannot be used.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The source broke.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// A broken invariant of ours.
    #[error("a fault of tanda: a job took a step that the rules do not have")]
    Rules(#[from] IllegalStep),
}

/// How a run of the engine ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The source was dry, or as many jobs were in doubt as there may be, and every job that could be
    /// answered was.
    Dry,
    /// It was stopped.
    Stopped,
}

/// Attends to what people have asked about jobs in doubt, and to nothing else: asks the bank, settles
/// what its list or a person settles, and never calls the bank to move money.
///
/// # Errors
/// [`EngineError`] where this process must stop.
pub async fn attend(ports: Ports, settings: Settings, stop: Stop) -> Result<(), EngineError> {
    River::attend_alone(ports, settings, stop).await
}

/// Runs jobs from a source until it is dry or the engine is stopped; tells what holds the flow to
/// `pauses`.
///
/// # Errors
/// [`EngineError`] where this process must stop.
pub async fn run(
    ports: Ports,
    settings: Settings,
    source: Box<dyn Source>,
    stop: Stop,
    pauses: &watch::Sender<Option<Pause>>,
) -> Result<Ended, EngineError> {
    // A source that is gone for good stops what is under way as whoever asked us would.
    let (own, heeded) = stop::signal();
    let passed_on = async {
        stop.asked().await;
        // A source may have been gone before.
        let _is_first = own.drain();
        stop.abandoned().await;
        own.ask();
        std::future::pending::<Infallible>().await
    };
    let running = Box::pin(run_until(ports, settings, source, &own, heeded, pauses));
    tokio::select! {
        biased;
        never = passed_on => match never {},
        ended = running => ended,
    }
}

async fn run_until(
    ports: Ports,
    settings: Settings,
    mut source: Box<dyn Source>,
    stopper: &Stopper,
    stop: Stop,
    pauses: &watch::Sender<Option<Pause>>,
) -> Result<Ended, EngineError> {
    let mut river = River::open(ports, settings, stop.clone()).await?;
    let flowed = Box::pin(flow(&mut river, source.as_mut(), &stop, pauses)).await;
    let ended = match flowed {
        Ok(()) => Box::pin(river.close()).await,
        // What is under way can still be finished: cut off, it would be in doubt.
        Err(error @ EngineError::Source(_)) => {
            let _is_first = stopper.drain();
            river.stop_intake().await;
            Box::pin(river.close()).await.and(Err(error))
        }
        // Nothing can be recorded any more: what would be begun until this process is gone, the next one
        // would find in doubt.
        Err(error) => {
            let _is_first = stopper.drain();
            Err(error)
        }
    };
    at_the_end(&stop, source.withdraw()).await;
    ended
}

async fn flow(
    river: &mut River,
    source: &mut dyn Source,
    stop: &Stop,
    pauses: &watch::Sender<Option<Pause>>,
) -> Result<(), EngineError> {
    let mut held = river.pauses();
    while !river.is_over() {
        let (room, takes_more) = (river.room(), river.takes_more());
        let long_pause = river.long_pause();
        tokio::select! {
            biased;
            () = stop.asked() => {
                at_the_end(stop, source.stop()).await;
                river.stop_intake().await;
            }
            changed = held.changed() => if changed.is_ok() {
                let pause = held.borrow_and_update().clone();
                river.note_pause(pause.as_ref());
                pauses.send_replace(pause);
            },
            () = long_pause => tokio::select! {
                biased;
                () = source.withdraw() => river.give_back(),
                // The end gives it back too.
                () = stop.asked() => {}
            },
            happening = river.next() => river.follow(happening).await?,
            offered = source.next(room), if takes_more => river.take_in(offered?).await?,
        }
    }
    Ok(())
}

/// Does this within [`SOURCE_AT_STOP`] and unless it is asked to leave at once: otherwise the end of the
/// process does it.
async fn at_the_end(stop: &Stop, what: impl Future<Output = ()>) {
    tokio::select! {
        biased;
        () = what => {}
        () = stop.abandoned() => {}
        () = tokio::time::sleep(SOURCE_AT_STOP) => {}
    }
}
