//! Many worlds: on as many threads as there are, until enough of them broke a rule, or all are run, or time
//! is up.
//!
//! *What it promises.* Which worlds are run depends on nothing but their number and the time there is, and
//! which threads there are changes nothing in any of them.
//!
//! *What it refuses to know.* What a world is, and what breaks a rule in it.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A long campaign says so often how far it has come.
const PROGRESS_EVERY: Duration = Duration::from_secs(60);

/// What is counted in worlds.
pub(crate) trait Tally: Default + Display + Send {
    /// Adds what was counted in another.
    fn add(&mut self, other: &Self);
}

/// What to run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Campaign {
    pub(crate) from: u64,
    pub(crate) seeds: u64,
    /// Worlds that a thread takes at once: some tens of milliseconds of work.
    pub(crate) chunk: u64,
    pub(crate) threads: usize,
    /// When to stop although there are seeds left.
    pub(crate) at_most: Option<Duration>,
    /// So many worlds that break a rule are told of before the others are given up.
    pub(crate) most_broken: usize,
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct Report<T, V> {
    pub(crate) tally: T,
    /// Seeds that broke a rule, and which.
    pub(crate) broken: BTreeMap<u64, V>,
}

struct Progress<T, V> {
    report: Report<T, V>,
    began: Instant,
    told_at: Instant,
}

impl Campaign {
    /// Runs the world of each seed; it tells what it counted, and which rule it broke, if it did.
    pub(crate) fn run<T, V, W>(&self, world: W) -> Report<T, V>
    where
        T: Tally,
        V: Send,
        W: Fn(u64) -> (T, Option<V>) + Sync,
    {
        let next = AtomicU64::new(self.from);
        let began = Instant::now();
        let report = Report {
            tally: T::default(),
            broken: BTreeMap::new(),
        };
        let progress = Mutex::new(Progress {
            report,
            began,
            told_at: began,
        });
        std::thread::scope(|scope| {
            for _ in 0..self.threads.max(1) {
                scope.spawn(|| self.work(&world, &next, &progress));
            }
        });
        let progress = progress.into_inner().expect("no thread panicked");
        let seconds = progress.began.elapsed().as_secs();
        if !self.is_a_hunt() {
            eprintln!("{seconds} s: {}", progress.report.tally);
        }
        progress.report
    }

    /// Whether it looks for one world alone that breaks a rule, and is not to tell how far it has come.
    const fn is_a_hunt(&self) -> bool {
        self.most_broken == 1
    }

    fn work<T: Tally, V>(
        &self,
        world: &impl Fn(u64) -> (T, Option<V>),
        next: &AtomicU64,
        progress: &Mutex<Progress<T, V>>,
    ) {
        let began = Instant::now();
        let end = self.from.saturating_add(self.seeds);
        loop {
            let first = next.fetch_add(self.chunk, Ordering::Relaxed);
            let is_late = self.at_most.is_some_and(|most| began.elapsed() >= most);
            if first >= end || is_late {
                return;
            }
            let mut tally = T::default();
            let mut broken = BTreeMap::new();
            for seed in first..first.saturating_add(self.chunk).min(end) {
                let (counted, violation) = world(seed);
                tally.add(&counted);
                broken.extend(violation.map(|violation| (seed, violation)));
                if broken.len() >= self.most_broken {
                    break;
                }
            }
            let mut progress = progress.lock().expect("no thread panicked");
            progress.report.tally.add(&tally);
            progress.report.broken.append(&mut broken);
            if progress.report.broken.len() >= self.most_broken {
                // What is below them is under way or done.
                next.store(end, Ordering::Relaxed);
                return;
            }
            if progress.told_at.elapsed() >= PROGRESS_EVERY && !self.is_a_hunt() {
                progress.told_at = Instant::now();
                let seconds = progress.began.elapsed().as_secs();
                eprintln!("{seconds} s: {}", progress.report.tally);
            }
        }
    }
}
