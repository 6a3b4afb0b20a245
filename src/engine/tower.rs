//! The tower that all flights of one engine report to: ports, clocks, gate and counters.
//!
//! *What it promises.* Nothing here decides anything.
//!
//! *What it refuses to know.* Lanes and the order of jobs: these are the river's.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc, watch};

use super::Ports;
use super::beat::Before;
use super::clock::Clocks;
use super::loss::Forgotten;
use super::outcomes::{self, Told};
use super::pause::Gate;
use super::ports::{Bank, Intent, Ledger, NewlyHeld, Sink};
use super::settings::{ASKS_AT_ONCE, Settings};
use super::stop::Stop;
use crate::domain::job::{EntityId, Job};
use crate::domain::key::EventId;
use crate::domain::outcome::Outcome;
use crate::domain::time::{Moment, Timestamp};

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
    /// Whether the flow is held because no more outcomes are taken.
    pub(super) results_are_full: AtomicBool,
    /// How many were told so and try again.
    pub(super) told_full: AtomicUsize,
    pub(super) marks: mpsc::Sender<EventId>,
    pub(super) signals: mpsc::Sender<Signal>,
    pub(super) stop: Stop,
    /// The time that the ledger has forgotten, if any.
    pub(super) forgotten: Option<Forgotten>,
    /// Until when an earlier process may have called the bank; none where there was none.
    pub(super) called_until: Option<Timestamp>,
    /// And for how long no earlier process has surely called it when this one began, which was then; none where
    /// no clock but the wall clock knows.
    pub(super) surely_quiet: Option<(Duration, Moment)>,
}

impl Tower {
    pub(super) fn new(
        ports: Ports,
        settings: Settings,
        stop: Stop,
        marks: mpsc::Sender<EventId>,
        signals: mpsc::Sender<Signal>,
        before: Before,
    ) -> Arc<Self> {
        let Ports {
            bank,
            ledger,
            sink,
            clock,
        } = ports;
        let bank_was_read = bank.time().is_some();
        let clocks = Arc::new(Clocks::new(clock, Arc::clone(&bank)));
        let gate = Gate::new(&settings, Arc::clone(&clocks), bank_was_read);
        let began = clocks.now();
        let forgotten = before.loss.map(|loss| Forgotten::new(&loss, began));
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
            results_are_full: AtomicBool::new(false),
            told_full: AtomicUsize::new(0),
            settings,
            marks,
            signals,
            stop,
            forgotten,
            called_until: before.called_until,
            surely_quiet: before.surely_quiet.map(|quiet| (quiet, began)),
        })
    }
}

impl Tower {
    /// A job for the ledger to take over; its intent, if it has one, is withdrawn for this reason.
    pub(super) fn newly_held(
        &self,
        intent: &Intent,
        released: Option<&'static str>,
        first: bool,
    ) -> NewlyHeld {
        let told = Told {
            interim: 0,
            attempts: 0,
        };
        let (namespace, now) = (&self.settings.namespace, self.clocks.now().wall);
        NewlyHeld {
            outcome: outcomes::of_job(namespace, intent, &Outcome::Waiting, told, now),
            intent: intent.clone(),
            first,
            released,
        }
    }
}

/// What a flight tells the river while it flies.
#[derive(Debug)]
pub(super) enum Signal {
    /// Its intent is durable; told only where what waits behind it has to go to the ledger.
    Begun(EntityId),
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
    wanted: AtomicBool,
    candidate: watch::Sender<Option<(Job, Moment)>>,
}

impl Default for ControlState {
    fn default() -> Self {
        Self {
            on_record: AtomicBool::new(false),
            wanted: AtomicBool::new(true),
            candidate: watch::Sender::new(None),
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

    /// A job got a 2xx: the list must show it, if one is wanted to be shown.
    pub(super) fn accepted(&self, job: &Job, at: Moment) {
        if self.wanted.load(Ordering::Relaxed) && self.wanted.swap(false, Ordering::AcqRel) {
            self.candidate.send_replace(Some((job.clone(), at)));
        }
    }

    /// The list has not shown the candidate: the next job that gets a 2xx takes its place.
    pub(super) fn want_another(&self) {
        self.wanted.store(true, Ordering::Release);
    }

    /// The job that the list must show; waits for the first of this process that gets a 2xx.
    pub(super) async fn candidate(&self) -> (Job, Moment) {
        let mut candidate = self.candidate.subscribe();
        let seen = candidate
            .wait_for(Option::is_some)
            .await
            .expect("the sender is ours");
        seen.clone().expect("waited for it")
    }
}
