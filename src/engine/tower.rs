//! The tower that all flights of one engine report to: ports, clocks, gate and counters.
//!
//! *What it promises.* Nothing here decides anything.
//!
//! *What it refuses to know.* Lanes and the order of jobs: these are the river's.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::sync::{Semaphore, mpsc, watch};

use super::Ports;
use super::clock::Clocks;
use super::pause::Gate;
use super::ports::{Bank, Ledger, Sink};
use super::settings::{ASKS_AT_ONCE, Settings};
use super::stop::Stop;
use crate::domain::job::{EntityId, Job};
use crate::domain::key::EventId;
use crate::domain::time::Moment;

pub(super) struct Tower {
    pub(super) bank: Arc<dyn Bank>,
    pub(super) ledger: Arc<dyn Ledger>,
    pub(super) sink: Arc<dyn Sink>,
    pub(super) clocks: Arc<Clocks>,
    pub(super) gate: Arc<Gate>,
    pub(super) settings: Settings,
    pub(super) call_permits: Arc<Semaphore>,
    pub(super) ask_permits: Semaphore,
    pub(super) answers: Answers,
    pub(super) control: ControlState,
    pub(super) marks: mpsc::Sender<EventId>,
    pub(super) signals: mpsc::Sender<Signal>,
    pub(super) stop: Stop,
}

impl Tower {
    pub(super) fn new(
        ports: Ports,
        settings: Settings,
        stop: Stop,
        marks: mpsc::Sender<EventId>,
        signals: mpsc::Sender<Signal>,
    ) -> Arc<Self> {
        let Ports {
            bank,
            ledger,
            sink,
            clock,
        } = ports;
        let bank_was_read = bank.time().is_some();
        let clocks = Arc::new(Clocks::new(clock, Arc::clone(&bank)));
        let gate = Gate::new(settings.probe_every, Arc::clone(&clocks), bank_was_read);
        Arc::new(Self {
            bank,
            ledger,
            sink,
            clocks,
            gate: Arc::new(gate),
            call_permits: Arc::new(Semaphore::new(settings.concurrency)),
            ask_permits: Semaphore::new(ASKS_AT_ONCE),
            answers: Answers::default(),
            control: ControlState::default(),
            settings,
            marks,
            signals,
            stop,
        })
    }
}

/// What a flight tells the river while it flies.
#[derive(Debug)]
pub(super) enum Signal {
    /// Its interim outcome is durable and its receipts are answered.
    InDoubt(EntityId),
    /// It was proven not executed and is called again.
    BegunAnew(EntityId),
    /// The first asks are over without an answer.
    NeedsLonger(EntityId),
    /// Only a person can decide; nothing is sent for it any more.
    PersonNeeded(EntityId),
}

/// How often the bank answered a job: a 2xx or a refusal.
#[derive(Debug, Default)]
pub(super) struct Answers(AtomicU64);

impl Answers {
    pub(super) fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(super) fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// The positive control, as this process knows it.
#[derive(Debug)]
pub(super) struct ControlState {
    on_record: AtomicBool,
    first: watch::Sender<Option<(Job, Moment)>>,
}

impl Default for ControlState {
    fn default() -> Self {
        Self {
            on_record: AtomicBool::new(false),
            first: watch::Sender::new(None),
        }
    }
}

impl ControlState {
    pub(super) fn is_on_record(&self) -> bool {
        self.on_record.load(Ordering::Acquire)
    }

    pub(super) fn set_on_record(&self) {
        self.on_record.store(true, Ordering::Release);
    }

    /// A job got a 2xx; the first of a process is the one that the list must show.
    pub(super) fn accepted(&self, job: &Job, at: Moment) {
        self.first.send_if_modified(|first| {
            let is_first = first.is_none();
            if is_first {
                *first = Some((job.clone(), at));
            }
            is_first
        });
    }

    /// Ends with the first job of this process that got a 2xx.
    pub(super) async fn first_accepted(&self) -> (Job, Moment) {
        let mut first = self.first.subscribe();
        let seen = first
            .wait_for(Option::is_some)
            .await
            .expect("the sender is ours");
        seen.clone().expect("waited for it")
    }
}
