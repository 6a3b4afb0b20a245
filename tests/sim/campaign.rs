//! Many worlds: on as many threads as there are, until one breaks a rule, or all are run, or time is up.
//!
//! *What it promises.* Which worlds are run depends on nothing but their number and the time there is; the
//! first world that breaks a rule is told with the one command that replays it.

use std::fmt::Write as _;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::figures::Figures;
use crate::mutant::Mutant;
use crate::oracle::Violation;
use crate::world;

/// Worlds that a thread takes at once: some tens of milliseconds of work.
const CHUNK: u64 = 2_048;
/// A long campaign says so often how far it has come.
const PROGRESS_EVERY: Duration = Duration::from_secs(60);

/// Who judges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Judge {
    /// Every step, by every invariant.
    Procedure,
    /// What happened, by the bank's books and by what readers were told.
    Books,
}

impl Judge {
    fn run(self, seed: u64, mutant: Mutant) -> Result<Figures, Violation> {
        match self {
            Self::Procedure => world::run(seed, mutant),
            // Only harm counts: money moved twice, or moved and was called unmoved.
            Self::Books => match world::run_by_the_books(seed, mutant) {
                Err(violation) if !matches!(violation.invariant, "I1" | "I5") => {
                    Ok(Figures::default())
                }
                end => end,
            },
        }
    }
}

/// What to run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Campaign {
    pub(crate) mutant: Mutant,
    pub(crate) judge: Judge,
    pub(crate) from: u64,
    pub(crate) seeds: u64,
    pub(crate) threads: usize,
    /// When to stop although there are seeds left.
    pub(crate) at_most: Option<Duration>,
}

/// What came of it.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) figures: Figures,
    /// The first seed that broke a rule, and which.
    pub(crate) broken: Option<(u64, Violation)>,
    pub(crate) took: Duration,
}

impl Campaign {
    /// Runs it.
    pub(crate) fn run(&self) -> Report {
        let began = Instant::now();
        let next = AtomicU64::new(self.from);
        let report = Mutex::new((Report::default(), began));
        std::thread::scope(|scope| {
            for _ in 0..self.threads.max(1) {
                scope.spawn(|| self.work(&next, &report, began));
            }
        });
        let (mut report, _) = report.into_inner().expect("no thread panicked");
        report.took = began.elapsed();
        report
    }

    fn work(&self, next: &AtomicU64, report: &Mutex<(Report, Instant)>, began: Instant) {
        let end = self.from.saturating_add(self.seeds);
        loop {
            let first = next.fetch_add(CHUNK, Ordering::Relaxed);
            let is_late = self.at_most.is_some_and(|most| began.elapsed() >= most);
            if first >= end || is_late {
                return;
            }
            let mut figures = Figures::default();
            let mut broken = None;
            for seed in first..first.saturating_add(CHUNK).min(end) {
                match self.judge.run(seed, self.mutant) {
                    Ok(one) => figures.add(&one),
                    Err(violation) => {
                        broken = Some((seed, violation));
                        break;
                    }
                }
            }
            let mut held = report.lock().expect("no thread panicked");
            let (report, told_at) = &mut *held;
            report.figures.add(&figures);
            let is_first = |(seed, _): &(u64, Violation)| {
                report.broken.as_ref().is_none_or(|(known, _)| seed < known)
            };
            if broken.as_ref().is_some_and(is_first) {
                report.broken = broken;
            }
            if report.broken.is_some() {
                // What is below it is under way or done.
                next.store(end, Ordering::Relaxed);
                return;
            }
            if told_at.elapsed() >= PROGRESS_EVERY {
                *told_at = Instant::now();
                eprintln!("{} s: {}", began.elapsed().as_secs(), report.figures);
            }
        }
    }
}

/// The story of a world that broke a rule, and how to see it again.
pub(crate) fn failure(seed: u64, mutant: Mutant, judge: Judge) -> String {
    let (story, end) = world::story(seed, mutant, judge == Judge::Books);
    let mut text = format!("the world of seed {seed} breaks the rules\n\n");
    for line in story {
        writeln!(text, "{line}").expect("a String takes every text");
    }
    writeln!(text, "\n{end:?}\n\nreplay: {}", replay(seed, mutant, judge))
        .expect("a String takes every text");
    text
}

/// The one command that tells the story of a world.
pub(crate) fn replay(seed: u64, mutant: Mutant, judge: Judge) -> String {
    let mutant = if mutant == Mutant::None {
        String::new()
    } else {
        format!("TANDA_MUTANT={mutant:?} ")
    };
    let judge = match judge {
        Judge::Procedure => "",
        Judge::Books => "TANDA_BOOKS=1 ",
    };
    format!(
        "{judge}{mutant}TANDA_SEED={seed} cargo test --test sim a_seed_tells_its_story -- --nocapture"
    )
}
