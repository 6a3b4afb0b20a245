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

use std::fmt::Write as _;

use figures::Figures;
use sabotage::Sabotage;
use scene::Violation;
use world::End;

use crate::campaign::{Campaign, Report};
use crate::number;

/// Worlds per run of the suite, where nobody says otherwise: some ten seconds without optimisation.
const SEEDS: u64 = 500;
/// From so many worlds on, trouble of every kind must be among them.
const SEEDS_FOR_ALL_TROUBLE: u64 = 2_000;
/// Worlds that a thread takes at once.
const CHUNK: u64 = 64;
/// Worlds that run on one thread and then on two.
const SEEDS_ON_BOTH: u64 = 200;
/// Each planted fault must be caught within this many worlds.
const SEEDS_TO_CATCH: u64 = 2_000;

/// The campaign that the command line asks for, with so many seeds where it says nothing.
fn campaign(seeds: u64) -> Campaign {
    Campaign {
        from: number("TANDA_ENGINE_FROM").unwrap_or(0),
        seeds: number("TANDA_ENGINE_SEEDS").unwrap_or(seeds),
        chunk: CHUNK,
        ..crate::campaign(seeds)
    }
}

fn world_of(seed: u64, sabotage: Sabotage) -> (Figures, Option<Violation>) {
    let End {
        figures, violation, ..
    } = world::run(seed, sabotage, false);
    (figures, violation)
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
    if let Some(seed) = number("TANDA_ENGINE_SEED") {
        let ended = world::run(seed, Sabotage::None, true);
        eprintln!("{}", tell(seed, &ended));
        assert_eq!(
            ended.violation, None,
            "the world of seed {seed} breaks the rules"
        );
        return;
    }
    let report: Report<Figures, Violation> =
        campaign(SEEDS).run(|seed| world_of(seed, Sabotage::None));
    if let Some((&seed, violation)) = report.broken.first_key_value() {
        let ended = world::run(seed, Sabotage::None, true);
        let all = &report.broken;
        panic!("{}\n{violation:?}\nof {all:?}", tell(seed, &ended));
    }
    let absent = report.tally.absent();
    assert!(
        report.tally.worlds < SEEDS_FOR_ALL_TROUBLE || absent.is_empty(),
        "worlds without trouble prove nothing: none of {absent:?}"
    );
}

/// The same seed is the same world, to the letter, on whatever thread: without that a replay shows another
/// story.
#[test]
fn a_seed_of_the_engine_replays_to_the_letter() {
    for seed in 0..100 {
        let one = world::run(seed, Sabotage::None, true);
        let other = std::thread::spawn(move || world::run(seed, Sabotage::None, true));
        let other = other.join().expect("a world does not panic");
        let pairs = one.story.iter().zip(&other.story);
        if let Some((one, other)) = pairs.into_iter().find(|(one, other)| one != other) {
            panic!("seed {seed}:\n{one}\n{other}");
        }
        assert!(one == other, "seed {seed}");
    }
}

/// Worlds that run beside each other, and after others on one thread, are those that run alone.
#[test]
fn threads_change_nothing_in_any_world_of_the_engine() {
    let on = |threads| {
        let some = Campaign {
            from: 0,
            seeds: SEEDS_ON_BOTH,
            chunk: 8,
            threads,
            at_most: None,
            most_broken: usize::MAX,
        };
        let report: Report<Figures, Violation> = some.run(|seed| world_of(seed, Sabotage::None));
        (report.tally, report.broken)
    };
    let one = on(1);
    assert_eq!(one.0.worlds, SEEDS_ON_BOTH);
    assert_eq!(one, on(2));
}

/// Each planted fault is caught: the worlds are cruel enough, and the judges look.
#[test]
fn every_planted_fault_is_caught() {
    let mut survivors = Vec::new();
    for sabotage in Sabotage::ALL {
        let hunt = Campaign {
            from: 0,
            seeds: SEEDS_TO_CATCH,
            at_most: None,
            most_broken: 1,
            ..campaign(SEEDS)
        };
        let report: Report<Figures, Violation> = hunt.run(|seed| world_of(seed, sabotage));
        match report.broken.first_key_value() {
            Some((seed, violation)) => eprintln!("{sabotage:?}: seed {seed}, {violation:?}"),
            None => survivors.push(sabotage),
        }
    }
    assert!(survivors.is_empty(), "not caught: {survivors:?}");
}
