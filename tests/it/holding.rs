//! Jobs from a queue, through fences, full lanes, takeovers, pauses, restarts and lost connections:
//! nothing is lost, nothing is paid twice, and each card keeps its order. On a paused clock.

use std::sync::Arc;
use std::time::Duration;

use tanda::domain::job::Job;
use tanda::domain::outcome::Status;
use tanda::ledger::MemoryLedger;

use tokio::time::Instant;

use crate::support::judge::{Does, job, let_pass};
use crate::support::queue::Office;

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);

async fn office(in_flight: usize) -> Office {
    Office::open(Arc::new(MemoryLedger::new()), in_flight).await
}

fn jobs(cards: u32, of_each: u32) -> Vec<Job> {
    (0..of_each)
        .flat_map(|n| (0..cards).map(move |card| job(&format!("j{n:03}-{card}"), card)))
        .collect()
}

/// The smooth way: everything is paid in its order, and nothing is held.
#[tokio::test(start_paused = true)]
async fn i7_a_queue_is_emptied_in_its_order() {
    let office = office(64).await;
    office.queue.put(&jobs(20, 4));
    let worker = office.start();
    office.settle(MINUTE).await;
    worker.stop().await;
    office.judge("");
    assert_eq!(office.world.bank.applied().len(), 80);
    assert_eq!(office.world.sink.statuses("j000-0"), [Status::Succeeded]);
}

// ---- worlds of chance -------------------------------------------------------------------------

/// Numbers that a seed repeats.
struct Chance(u64);

impl Chance {
    fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0xd1b5_4a32_d192_ed03)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }

    fn strikes(&mut self, of_hundred: u64) -> bool {
        self.below(100) < of_hundred
    }

    fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        let count = u64::try_from(choices.len()).expect("few");
        let at = usize::try_from(self.below(count)).expect("few");
        *choices.get(at).expect("below their number")
    }
}

fn script(chance: &mut Chance) -> Vec<Does> {
    let length = chance.below(3);
    let does = [
        Does::Apply,
        Does::ApplyAndLoseReply,
        Does::LoseRequest,
        Does::LoseRequest,
        Does::Refuse,
        Does::Conflict,
        Does::NoConnection,
        Does::NoConnection,
        Does::RefuseCredential,
        Does::RateLimit,
        Does::RateLimitForSevenSeconds,
        Does::Panic,
    ];
    (0..length).map(|_| chance.of(&does)).collect()
}

/// What may happen while a worker runs.
#[derive(Clone, Copy, Debug)]
enum Trouble {
    Nothing,
    LostConnection,
    Killed,
    Stopped,
    BankDown,
    BankSilent,
    ResultsFull,
}

async fn world_of_chance(seed: u64) {
    let mut chance = Chance::new(seed);
    let in_flight = chance.of(&[16, 24, 64]);
    let office = office(in_flight).await;
    let cards = u32::try_from(1 + chance.below(5)).expect("few");
    let jobs = jobs(cards, 60 / cards);
    for job in &jobs {
        if chance.strikes(20) {
            let does = script(&mut chance);
            office.world.bank.script(job.entity_id.as_str(), &does);
        }
    }
    let mut waiting: std::collections::VecDeque<_> = jobs.into();
    let mut worker = office.start();
    let mut told = format!("in the world of seed {seed}:");
    while !waiting.is_empty() {
        let several = usize::try_from(1 + chance.below(20)).expect("few");
        let several = several.min(waiting.len());
        let put: Vec<_> = waiting.drain(..several).collect();
        office.queue.put(&put);
        if chance.strikes(20) {
            office.queue.put_again(&put);
        }
        let_pass(Duration::from_millis(chance.below(200))).await;
        let trouble = chance.of(&[
            Trouble::Nothing,
            Trouble::LostConnection,
            Trouble::LostConnection,
            Trouble::Killed,
            Trouble::Stopped,
            Trouble::BankDown,
            Trouble::BankSilent,
            Trouble::ResultsFull,
        ]);
        told.push_str(&format!(" {trouble:?}"));
        match trouble {
            Trouble::Nothing => {}
            Trouble::LostConnection => office.queue.lose(),
            Trouble::Killed => {
                worker.kill().await;
                worker = office.start();
            }
            Trouble::Stopped => {
                worker.stop().await;
                worker = office.start();
            }
            Trouble::BankDown => {
                let outage = Duration::from_secs(chance.below(400));
                office.world.bank.down_for(outage);
            }
            Trouble::BankSilent => {
                office.world.bank.otherwise(Does::LoseRequest);
                let_pass(Duration::from_millis(chance.below(200_000))).await;
                office.world.bank.otherwise(Does::Apply);
            }
            Trouble::ResultsFull => {
                office.world.sink.set_full(true);
                let_pass(Duration::from_millis(chance.below(200_000))).await;
                office.world.sink.set_full(false);
            }
        }
        if chance.strikes(30) {
            let_pass(Duration::from_millis(chance.below(100_000))).await;
        }
    }
    office.settle_or_tell(30 * HOUR, &told).await;
    worker.stop().await;
    office.judge(&told);
    assert!(office.queue.most_open() <= in_flight, "I11 {told}");
}

/// However losses, kills, stops, outages and copies interleave.
#[tokio::test(start_paused = true)]
async fn i1_i3_i4_i7_i11_hold_in_every_world_of_chance() {
    for seed in 0..400 {
        world_of_chance(seed).await;
    }
}

// ---- outages ----------------------------------------------------------------------------------

/// The most of these moments that lie within one minute of each other, after this one.
fn most_in_a_minute(moments: &[Instant], after: Instant) -> usize {
    let late: Vec<_> = moments.iter().filter(|at| **at >= after).collect();
    let within = |from: Instant| {
        late.iter()
            .filter(move |at| ***at >= from && ***at < from + MINUTE)
    };
    late.iter()
        .map(|from| within(**from).count())
        .max()
        .unwrap_or_default()
}

/// The bank is away for three hours: it may refuse every connection, be silent though it answers
/// reads, take no credential, or ask to be left alone again and again.
#[tokio::test(start_paused = true)]
async fn f13_a_bank_that_is_down_for_three_hours_costs_neither_jobs_nor_order_nor_peace() {
    for does in [
        None,
        Some(Does::LoseRequest),
        Some(Does::RefuseCredential),
        Some(Does::RateLimit),
        Some(Does::RateLimitForSevenSeconds),
    ] {
        let told = format!("{does:?}");
        let office = office(64).await;
        office.world.bank.script("j000-1", &[Does::Conflict]);
        office.queue.put(&jobs(10, 3));
        let worker = office.start();
        let_pass(Duration::from_secs(20)).await;
        let held = office.world.ledger.held_count().await.expect("memory");
        assert_eq!(held, 2, "behind the one in doubt {told}");
        match does {
            None => office.world.bank.down_for(3 * HOUR),
            Some(does) => office.world.bank.otherwise(does),
        }
        let began = Instant::now();
        let heard_before = office.world.bank.heard();
        let more: Vec<_> = (3..60)
            .flat_map(|n| (0..10).map(move |card| job(&format!("j{n:03}-{card}"), card)))
            .collect();
        office.queue.put(&more);
        let_pass(90 * Duration::from_secs(1)).await;
        assert!(
            office.queue.open() <= 1,
            "{} open {told}",
            office.queue.open()
        );
        let_pass(3 * HOUR - 90 * Duration::from_secs(1)).await;
        let taken = office.queue.taken();
        let in_a_minute = most_in_a_minute(&taken, began + 2 * MINUTE);
        let since = taken.iter().filter(|at| **at >= began).count();
        let heard = office.world.bank.heard() - heard_before;
        println!(
            "{told}: {in_a_minute} in a minute, {since} in all; the bank heard {heard}; open {}",
            office.queue.open()
        );
        assert!(in_a_minute <= 2, "{in_a_minute} taken in a minute {told}");
        assert!(since <= 64 + 3 * 60 * 2, "{since} taken {told}");
        assert!(heard <= 3 * 60 * 8, "the bank heard {heard} {told}");
        office.world.bank.otherwise(Does::Apply);
        office.settle_or_tell(HOUR, &told).await;
        worker.stop().await;
        office.judge(&told);
        assert_eq!(office.world.bank.applied().len(), 600, "{told}");
        let longest = office.queue.longest_open();
        assert!(longest <= 11 * MINUTE, "F12: {longest:?} {told}");
    }
}
