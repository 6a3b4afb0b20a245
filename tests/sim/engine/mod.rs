//! Seeded worlds of the real engine: [`tanda::engine::run`] on a paused clock and one thread, between
//! fakes that break in every way that a bank, a broker, a disk, a process and people break.
//!
//! `TANDA_ENGINE_SEED=n` replays one world and tells its story; `TANDA_ENGINE_SEEDS=n` runs that many, from
//! `TANDA_ENGINE_FROM=n` on.

mod bank;
mod chance;
mod fault;
mod figures;
mod judge;
mod ledger;
mod offers;
mod plan;
mod readers;
mod sabotage;
mod scene;
mod world;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use figures::Figures;
use sabotage::Sabotage;
use scene::{Violation, lock};
use world::End;

/// Worlds per run of the suite, where nobody says otherwise: some ten seconds without optimisation.
const SEEDS: u64 = 500;
/// From so many worlds on, trouble of every kind must be among them.
const SEEDS_FOR_ALL_TROUBLE: u64 = 2_000;
/// Threads that they run on.
const THREADS: usize = 2;
/// Worlds that a thread takes at once.
const CHUNK: u64 = 64;
/// A long run says so often how far it has come.
const PROGRESS_EVERY: Duration = Duration::from_secs(60);
/// So many worlds that break a rule are told of before the others are given up.
const BROKEN_TO_TELL: usize = 12;
/// Each planted fault must be caught within this many worlds.
const SEEDS_TO_CATCH: u64 = 2_000;

#[expect(
    clippy::disallowed_methods,
    reason = "the seed of a replay comes from its command line"
)]
fn setting(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    let number = text.parse();
    Some(number.unwrap_or_else(|_| panic!("{name}={text} is not a number")))
}

/// What came of many worlds.
#[derive(Default)]
struct Report {
    figures: Figures,
    /// Seeds that broke a rule, and which.
    broken: BTreeMap<u64, Violation>,
}

/// Runs the worlds of these seeds until so many have broken a rule. Which threads there are changes nothing
/// in any of them.
fn campaign(from: u64, seeds: u64, sabotage: Sabotage, most_broken: usize) -> Report {
    let (next, end) = (AtomicU64::new(from), from + seeds);
    let report = Mutex::new((Report::default(), Instant::now()));
    let began = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| work(&next, end, sabotage, most_broken, &report, began));
        }
    });
    report.into_inner().expect("no thread panicked").0
}

fn work(
    next: &AtomicU64,
    end: u64,
    sabotage: Sabotage,
    most_broken: usize,
    report: &Mutex<(Report, Instant)>,
    began: Instant,
) {
    loop {
        let first = next.fetch_add(CHUNK, Ordering::Relaxed);
        if first >= end {
            return;
        }
        let mut figures = Figures::default();
        let mut broken = BTreeMap::new();
        for seed in first..(first + CHUNK).min(end) {
            let ended = world::run(seed, sabotage, false);
            figures.add(&ended.figures);
            if let Some(violation) = ended.violation {
                if sabotage == Sabotage::None {
                    eprintln!("seed {seed}: {violation:?}");
                }
                broken.insert(seed, violation);
                if broken.len() >= most_broken {
                    break;
                }
            }
        }
        let mut held = lock(report);
        let (report, told_at) = &mut *held;
        report.figures.add(&figures);
        report.broken.append(&mut broken);
        if report.broken.len() >= most_broken {
            // What is below them is under way or done.
            next.store(end, Ordering::Relaxed);
            return;
        }
        if told_at.elapsed() >= PROGRESS_EVERY {
            *told_at = Instant::now();
            eprintln!("{} s: {}", began.elapsed().as_secs(), report.figures);
        }
    }
}

fn replay(seed: u64) -> String {
    format!(
        "TANDA_ENGINE_SEED={seed} cargo test --test sim hold_in_every_seeded_world_of_the_engine -- --nocapture"
    )
}

fn tell(seed: u64, ended: &End) -> String {
    let mut text = format!("the world of seed {seed}\n\n");
    for line in &ended.story {
        writeln!(text, "{line}").expect("a String takes every text");
    }
    let End {
        figures, violation, ..
    } = ended;
    write!(
        text,
        "\n{figures}\n\n{violation:?}\n\nreplay: {}\n",
        replay(seed)
    )
    .expect("a String takes every text");
    text
}

/// Whatever the bank, the broker, the disk, the process, the clock and people do: money moves at most once,
/// nothing that moved is called unmoved, each card keeps its order, every receipt is answered after what it
/// says is durable and confirmed, and all settles once faults stop. Each world is one seed.
#[test]
fn i1_i2_i3_i4_i5_i6_i7_i8_i9_i11_i13_i14_hold_in_every_seeded_world_of_the_engine() {
    if let Some(seed) = setting("TANDA_ENGINE_SEED") {
        let ended = world::run(seed, Sabotage::None, true);
        eprintln!("{}", tell(seed, &ended));
        assert_eq!(
            ended.violation, None,
            "the world of seed {seed} breaks the rules"
        );
        return;
    }
    let seeds = setting("TANDA_ENGINE_SEEDS").unwrap_or(SEEDS);
    let from = setting("TANDA_ENGINE_FROM").unwrap_or(0);
    let began = Instant::now();
    let report = campaign(from, seeds, Sabotage::None, BROKEN_TO_TELL);
    eprintln!("{} s: {}", began.elapsed().as_secs(), report.figures);
    if let Some((&seed, violation)) = report.broken.first_key_value() {
        let ended = world::run(seed, Sabotage::None, true);
        panic!("{}\n{violation:?}", tell(seed, &ended));
    }
    let absent = report.figures.absent();
    assert!(
        seeds < SEEDS_FOR_ALL_TROUBLE || absent.is_empty(),
        "worlds without trouble prove nothing: none of {absent:?}"
    );
}

/// The same seed is the same world, to the letter: without that a replay shows another story.
#[test]
fn a_seed_of_the_engine_replays_to_the_letter() {
    for seed in 0..100 {
        let (one, other) = (
            world::run(seed, Sabotage::None, true),
            world::run(seed, Sabotage::None, true),
        );
        let pairs = one.story.iter().zip(&other.story);
        if let Some((one, other)) = pairs.into_iter().find(|(one, other)| one != other) {
            panic!("seed {seed}:\n{one}\n{other}");
        }
        assert!(one == other, "seed {seed}");
    }
}

/// Each planted fault is caught: the worlds are cruel enough, and the judges look.
#[test]
fn every_planted_fault_is_caught() {
    let mut survivors = Vec::new();
    for sabotage in Sabotage::ALL {
        match campaign(0, SEEDS_TO_CATCH, sabotage, 1)
            .broken
            .first_key_value()
        {
            Some((seed, violation)) => eprintln!("{sabotage:?}: seed {seed}, {violation:?}"),
            None => survivors.push(sabotage),
        }
    }
    assert!(survivors.is_empty(), "not caught: {survivors:?}");
}
