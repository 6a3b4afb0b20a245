//! Seeded worlds: the real rules against a bank that loses answers, a broker that delivers twice, a ledger
//! that forgets, people, a process that dies at every step, and clocks that jump. The judge is what the
//! bank's books say and what readers were told.
//!
//! | variable | what it does |
//! |---|---|
//! | `TANDA_SEED=n` | tells the story of one world |
//! | `TANDA_MUTANT=name` | of one in which the process breaks this rule |
//! | `TANDA_BOOKS=1` | judged by the books alone |
//! | `TANDA_SEEDS=n` | runs so many worlds |
//! | `TANDA_FROM=n` | from this one on |
//! | `TANDA_SECONDS=n` | at most for so long |
//! | `TANDA_THREADS=n` | on so many threads |
//! | `TANDA_DEPTH=n` | walks every order of so many events |

mod answers;
mod bank;
mod blows;
mod broker;
mod campaign;
mod cast;
mod engine;
mod exhaustive;
mod figures;
mod ledger;
mod mutant;
mod oracle;
mod plan;
mod rng;
mod story;
mod world;

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use campaign::{Campaign, Judge, failure, replay};
use exhaustive::{Beginning, Walk};
use mutant::Mutant;
use tanda::domain::progress::Rules;
use tanda::domain::schedule::AskTimes;

/// Worlds per run of the suite, where nobody says otherwise: some ten seconds without optimisation.
const SEEDS: u64 = 50_000;
/// How many events the walk goes deep, where nobody says otherwise.
const DEPTH: u32 = 8;
/// Each breaker of rules must be caught within this many worlds.
const SEEDS_TO_CATCH: u64 = 400_000;

#[expect(
    clippy::disallowed_methods,
    reason = "what to run comes from the command line of a test"
)]
fn text(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

fn number(name: &str) -> Option<u64> {
    let text = text(name)?;
    let number = text.parse();
    Some(number.unwrap_or_else(|_| panic!("{name}={text} is not a number")))
}

fn threads() -> usize {
    let asked = number("TANDA_THREADS").and_then(|threads| usize::try_from(threads).ok());
    asked.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, Into::into))
}

fn campaign(mutant: Mutant, judge: Judge) -> Campaign {
    Campaign {
        mutant,
        judge,
        from: number("TANDA_FROM").unwrap_or(0),
        seeds: number("TANDA_SEEDS").unwrap_or(SEEDS),
        threads: threads(),
        at_most: number("TANDA_SECONDS").map(Duration::from_secs),
    }
}

/// However calls, crashes, clocks, messages and people interleave: money moves at most once, nothing that
/// moved is called unmoved, nothing is lost, and all settles once faults stop. Each world is one seed.
#[test]
fn i1_i4_i5_i8_i13_i14_hold_in_every_seeded_world() {
    let campaign = campaign(Mutant::None, Judge::Procedure);
    let report = campaign.run();
    eprintln!("{} s: {}", report.took.as_secs(), report.figures);
    if let Some((seed, _)) = report.broken {
        panic!("{}", failure(seed, Mutant::None, Judge::Procedure));
    }
    let missing = report.figures.missing();
    assert!(
        missing.is_empty(),
        "worlds without {missing:?} prove nothing"
    );
}

/// One world, told: what it is, step by step, and how it ends.
#[test]
fn a_seed_tells_its_story() {
    let mutant = text("TANDA_MUTANT").map(|name| {
        Mutant::named(&name).unwrap_or_else(|| panic!("TANDA_MUTANT={name} breaks no rule"))
    });
    let mutant = mutant.unwrap_or(Mutant::None);
    let seed = number("TANDA_SEED").unwrap_or(0);
    let (story, end) = world::story(seed, mutant, number("TANDA_BOOKS").is_some());
    assert!(story.len() > 1, "a world has a story");
    if number("TANDA_SEED").is_some() {
        eprintln!("{}\n\n{end:?}", story.join("\n"));
        assert_eq!(end, Ok(()), "the world of seed {seed} breaks the rules");
    }
}

/// The same seed is the same world, to the letter: without that a replay shows another story.
#[test]
fn a_seed_replays_to_the_letter() {
    for seed in [1, 7, 1_234_567] {
        let told = || world::story(seed, Mutant::None, false);
        assert_eq!(told(), told());
    }
}

/// Nothing is left to chance up to a depth: every order of so many events, from every beginning, pays once
/// and calls nothing unmoved that moved.
#[test]
fn i1_i2_i5_i14_hold_in_every_order_of_events_to_a_depth() {
    let depth = number("TANDA_DEPTH").and_then(|depth| u32::try_from(depth).ok());
    let depth = depth.unwrap_or(DEPTH);
    let beginnings = Beginning::all();
    let (next, steps) = (AtomicUsize::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for _ in 0..threads() {
            scope.spawn(|| {
                while let Some(beginning) = beginnings.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let end = Walk::all(exhaustive::RULES, *beginning, depth);
                    let walk = end.unwrap_or_else(|broken| {
                        panic!("{beginning:?}: {}: {}", broken.invariant, broken.what)
                    });
                    steps.fetch_add(walk.steps, Ordering::Relaxed);
                }
            });
        }
    });
    let steps = steps.into_inner();
    eprintln!("every order of {depth} events: {steps} steps");
    assert!(steps > 1_000, "a walk without steps proves nothing");
}

/// A walk by rules that are too bold finds the order of events that costs money.
#[test]
fn the_walk_bites() {
    let finds = |rules: Rules| {
        let ends = Beginning::all().into_iter();
        let mut ends = ends.filter_map(|beginning| Walk::all(rules, beginning, DEPTH).err());
        ends.next().map(|broken| broken.invariant)
    };
    let resends_for_ever = Rules {
        resend_window: Duration::from_secs(4_000),
        ..exhaustive::RULES
    };
    assert_eq!(finds(resends_for_ever), Some("I1"));
    let believes_at_once = Rules {
        asks: AskTimes::new(Duration::from_secs(100)),
        ..exhaustive::RULES
    };
    assert_eq!(finds(believes_at_once), Some("I5"));
}

/// Each process that breaks one rule is caught, so a fault of that kind in the product would be.
#[test]
fn every_rule_breaker_is_caught() {
    let survivors = survivors(&Mutant::ALL, Judge::Procedure);
    assert!(survivors.is_empty(), "not caught: {survivors:?}");
}

/// The worlds are cruel enough that breaking a rule costs money, and the books alone show it: a judge
/// that only looked at procedure could not tell a needed rule from a habit.
#[test]
fn i1_i5_breaking_a_rule_costs_money_by_the_books_alone() {
    let survivors = survivors(&Mutant::HARMFUL, Judge::Books);
    assert!(survivors.is_empty(), "no harm done: {survivors:?}");
}

fn survivors(mutants: &[Mutant], judge: Judge) -> Vec<Mutant> {
    let mut survivors = Vec::new();
    for mutant in mutants.iter().copied() {
        let campaign = Campaign {
            seeds: SEEDS_TO_CATCH,
            at_most: None,
            ..campaign(mutant, judge)
        };
        let report = campaign.run();
        let name = mutant.number().unwrap_or("   ");
        match report.broken {
            Some((seed, broken)) => {
                let needed = seed - campaign.from + 1;
                eprintln!(
                    "{name:<4} {mutant:?}: {needed} seeds, {}: {}\n     {}",
                    broken.invariant,
                    broken.what,
                    replay(seed, mutant, judge)
                );
            }
            None => survivors.push(mutant),
        }
    }
    survivors
}
