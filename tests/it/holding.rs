//! Jobs from a queue, through fences, full lanes, takeovers, pauses, restarts and lost connections:
//! nothing is lost, nothing is paid twice, and each card keeps its order. On a paused clock.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tanda::domain::job::{EntityId, Job, Operation};
use tanda::domain::outcome::Status;
use tanda::domain::request::Wish;
use tanda::engine::PauseCause;
use tanda::engine::settings::{Ending, Holding};
use tanda::ledger::MemoryLedger;
use tanda::wire::envelope::Envelope;

use tokio::time::Instant;

use crate::support::fuse::Fuse;
use crate::support::judge::{Does, job, let_pass, wall_now};
use crate::support::queue::{Entry, How, Office, Worker};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);

async fn office(in_flight: usize) -> Office {
    Office::open(Arc::new(MemoryLedger::new()), in_flight).await
}

fn hours(hours: u32) -> Holding {
    Holding {
        hold_max: hours * HOUR,
        give_back_after: MINUTE,
    }
}

fn id(name: &str) -> EntityId {
    EntityId::parse(name).expect("an entity_id")
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
    Cancelled,
    Paused,
}

const TROUBLES: [Trouble; 10] = [
    Trouble::Nothing,
    Trouble::LostConnection,
    Trouble::LostConnection,
    Trouble::Killed,
    Trouble::Stopped,
    Trouble::BankDown,
    Trouble::BankSilent,
    Trouble::ResultsFull,
    Trouble::Cancelled,
    Trouble::Paused,
];

/// Whatever happens, with these jobs just put; the worker after it.
async fn strike(
    trouble: Trouble,
    chance: &mut Chance,
    office: &Office,
    worker: Worker,
    put: &[Job],
) -> Worker {
    match trouble {
        Trouble::Nothing => {}
        Trouble::LostConnection => office.queue.lose(),
        Trouble::Killed => {
            worker.kill().await;
            return office.start();
        }
        Trouble::Stopped => {
            worker.stop().await;
            return office.start();
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
        Trouble::Cancelled => {
            for job in put.iter().filter(|_| chance.strikes(30)) {
                office.ask(Wish::Cancel(job.entity_id.clone())).await;
            }
        }
        Trouble::Paused => {
            office.ask(Wish::Pause).await;
            let_pass(Duration::from_millis(chance.below(900_000))).await;
            office.ask(Wish::Resume).await;
        }
    }
    worker
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
    let mut waiting: VecDeque<_> = jobs.into();
    let mut worker = office.start();
    let mut told = vec![format!("in the world of seed {seed}:")];
    while !waiting.is_empty() {
        let several = usize::try_from(1 + chance.below(20)).expect("few");
        let several = several.min(waiting.len());
        let put: Vec<_> = waiting.drain(..several).collect();
        office.queue.put(&put);
        if chance.strikes(20) {
            office.queue.put_again(&put);
        }
        let_pass(Duration::from_millis(chance.below(200))).await;
        let trouble = chance.of(&TROUBLES);
        told.push(format!("{trouble:?}"));
        worker = strike(trouble, &mut chance, &office, worker, &put).await;
        if chance.strikes(30) {
            let_pass(Duration::from_millis(chance.below(100_000))).await;
        }
    }
    let told = told.join(" ");
    office.settle_or_tell(30 * HOUR, &told).await;
    worker.stop().await;
    office.judge(&told);
    assert!(office.queue.most_open() <= in_flight, "I11 {told}");
}

/// However losses, kills, stops, outages and copies interleave.
#[tokio::test(start_paused = true)]
async fn i1_i3_i4_i7_i11_hold_in_every_world_of_chance() {
    for seed in 0..40 {
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
        let_pass(MINUTE + MINUTE / 2).await;
        assert!(
            office.queue.open() <= 1,
            "{} open {told}",
            office.queue.open()
        );
        let_pass(2 * HOUR + 58 * MINUTE + MINUTE / 2).await;
        let taken = office.queue.taken();
        let in_a_minute = most_in_a_minute(&taken, began + 2 * MINUTE);
        let since = taken.iter().filter(|at| **at >= began).count();
        let heard = office.world.bank.heard() - heard_before;
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

// ---- kills at every step ----------------------------------------------------------------------

/// Runs a worker that dies at every single step of what this office has to do, one after the other,
/// each followed by another worker; and judges each.
async fn kill_at_every_step(
    told: &str,
    at_least: usize,
    set_up: impl AsyncFn() -> Office,
    meanwhile: impl AsyncFn(&Office, &Worker),
) {
    for kill_at in 1.. {
        let office = set_up().await;
        let fuse = Fuse::new(kill_at);
        let worker = office.start_with(&fuse);
        let killed = tokio::select! {
            biased;
            () = fuse.blown() => true,
            () = async {
                meanwhile(&office, &worker).await;
                office.settle(DAY).await;
            } => false,
        };
        worker.kill().await;
        let told = format!("{told}, killed at {kill_at}");
        let worker = office.start();
        office.settle_or_tell(DAY, &told).await;
        worker.stop().await;
        office.judge(&told);
        if !killed {
            assert!(kill_at > at_least, "only {kill_at} steps {told}");
            return;
        }
    }
}

async fn nothing(_: &Office, _: &Worker) {}

/// One card has far more jobs than fit into its lane, and the first of them waits for the flow.
#[tokio::test(start_paused = true)]
async fn i7_a_full_lane_keeps_its_order_through_a_kill_at_every_step() {
    for first in [Does::Apply, Does::NoConnection, Does::LoseRequest] {
        let set_up = async || {
            let office = office(16).await;
            office.world.bank.script("j000-0", &[first; 2]);
            office.queue.put(&jobs(1, 10));
            office.queue.put_again(&jobs(1, 4));
            office
        };
        kill_at_every_step(&format!("{first:?}"), 40, set_up, nothing).await;
    }
}

/// A job in doubt holds its card shut; what waits behind it goes to the ledger.
#[tokio::test(start_paused = true)]
async fn i7_a_fence_keeps_its_order_through_a_kill_at_every_step() {
    for first in [Does::LoseRequest, Does::ApplyAndLoseReply, Does::Panic] {
        let set_up = async || {
            let mut office = office(16).await;
            office.world.settings.rules.resend_window = Duration::ZERO;
            office.world.bank.script("j000-0", &[first]);
            office.queue.put(&jobs(2, 4));
            office
        };
        kill_at_every_step(&format!("{first:?}"), 40, set_up, nothing).await;
    }
}

/// The connection breaks, the flow is held for long, and a stop comes, each in the middle of it.
#[tokio::test(start_paused = true)]
async fn i7_losses_pauses_and_stops_keep_the_order_through_a_kill_at_every_step() {
    let set_up = async || {
        let office = office(16).await;
        office.world.bank.script("j000-0", &[Does::NoConnection; 3]);
        office
            .world
            .bank
            .script("j001-1", &[Does::RefuseCredential]);
        office.queue.put(&jobs(2, 7));
        office
    };
    let lose = async |office: &Office, _: &Worker| {
        let_pass(Duration::from_millis(30)).await;
        office.queue.lose();
    };
    kill_at_every_step("lost", 40, set_up, lose).await;
    let pause = async |office: &Office, _: &Worker| {
        let_pass(Duration::from_millis(30)).await;
        office.world.bank.down_for(5 * MINUTE);
    };
    kill_at_every_step("paused", 40, set_up, pause).await;
    let stop = async |office: &Office, worker: &Worker| {
        let_pass(Duration::from_millis(30)).await;
        worker.ask_to_stop();
        while !worker.is_over() {
            let_pass(Duration::from_millis(10)).await;
        }
        let next = office.start();
        office.settle(DAY).await;
        next.stop().await;
    };
    kill_at_every_step("stopped", 20, set_up, stop).await;
}

/// Taken over and killed before that was told: the next worker tells it, answers, and only then begins.
#[tokio::test(start_paused = true)]
async fn i3_what_is_held_is_told_and_answered_before_it_begins_also_by_the_next_worker() {
    let mut office = office(16).await;
    office.world.settings.rules.resend_window = Duration::ZERO;
    office.world.bank.script("a", &[Does::LoseRequest]);
    office.queue.put(&[job("a", 1)]);
    let worker = office.start();
    while office.world.sink.statuses("a").is_empty() {
        let_pass(Duration::from_millis(1)).await;
    }
    office.world.sink.set_full(true);
    office.queue.put(&[job("b", 1), job("c", 1)]);
    while office.world.ledger.held_count().await.expect("memory") < 2 {
        let_pass(Duration::from_millis(1)).await;
    }
    worker.kill().await;
    let told = |name: &str| office.world.sink.statuses(name);
    assert_eq!((told("b").len(), office.queue.len()), (0, 2));
    office.world.sink.set_full(false);
    let worker = office.start();
    let_pass(Duration::from_secs(5)).await;
    assert_eq!(office.queue.len(), 0, "both are answered");
    assert_eq!(
        (told("b"), told("c")),
        (vec![Status::Waiting], vec![Status::Waiting])
    );
    office.settle(HOUR).await;
    worker.stop().await;
    office.judge("");
}

// ---- at its turn ------------------------------------------------------------------------------

/// Waiting, in doubt, and its end: three outcomes in three numbers.
#[tokio::test(start_paused = true)]
async fn a_held_job_that_comes_into_doubt_tells_three_outcomes_in_their_order() {
    let mut office = office(16).await;
    office.world.settings.rules.resend_window = Duration::ZERO;
    office.world.bank.script("a", &[Does::LoseRequest]);
    office.world.bank.script("b", &[Does::ApplyAndLoseReply]);
    office.queue.put(&[job("a", 1), job("b", 1), job("c", 1)]);
    let worker = office.start();
    office.settle(HOUR).await;
    worker.stop().await;
    office.judge("");
    let told = |name| -> Vec<_> {
        let messages = office.world.sink.of(name).into_iter();
        messages
            .map(|message| (message.status, message.seq))
            .collect()
    };
    let numbered = |words: &[&str]| -> Vec<(String, u32)> {
        words
            .iter()
            .map(|word| (*word).to_owned())
            .zip(1..)
            .collect()
    };
    assert_eq!(told("a"), numbered(&["in_doubt", "succeeded"]));
    assert_eq!(told("b"), numbered(&["waiting", "in_doubt", "succeeded"]));
    assert_eq!(told("c"), numbered(&["waiting", "succeeded"]));
}

/// A cancel, and a date that passes, end a held job when its turn comes and not before.
#[tokio::test(start_paused = true)]
async fn a_cancel_and_a_date_take_effect_on_a_held_job_at_its_turn() {
    let mut office = office(16).await;
    office.world.settings.rules.resend_window = Duration::ZERO;
    office.world.bank.script("a", &[Does::LoseRequest]);
    let late = Job {
        not_after: Some(wall_now().plus(Duration::from_secs(100))),
        ..job("late", 1)
    };
    office
        .queue
        .put(&[job("a", 1), job("cancelled", 1), late, job("last", 1)]);
    let worker = office.start();
    let_pass(Duration::from_secs(5)).await;
    office.ask(Wish::Cancel(id("cancelled"))).await;
    let_pass(Duration::from_secs(200)).await;
    for name in ["cancelled", "late"] {
        assert_eq!(office.world.sink.statuses(name), [Status::Waiting]);
    }
    office.settle(HOUR).await;
    worker.stop().await;
    office.judge("");
    for (name, reason) in [("cancelled", "cancelled"), ("late", "expired")] {
        let last = office.world.sink.of(name).pop().expect("an outcome");
        assert_eq!((last.reason.as_deref(), last.seq), (Some(reason), 2));
        assert_eq!(office.world.bank.calls_for(name).len(), 0);
    }
    assert_eq!(office.world.bank.applied()["last"], 1);
}

// ---- messages and readers ---------------------------------------------------------------------

/// Whatever is no job is answered once, as invalid, and told again under the same event id.
#[tokio::test(start_paused = true)]
async fn what_cannot_be_read_is_invalid_and_told_with_one_event_id_however_often_it_comes() {
    let office = office(16).await;
    let bad = br#"{"entity_id":"bad","card_id":"car_1","amount":1.5}"#;
    let put_bad = || {
        let envelope = Envelope {
            correlation_id: Some("mine".to_owned()),
            ..Envelope::default()
        };
        office.queue.put_bytes("bad", bad, envelope);
    };
    put_bad();
    office.queue.put(&[job("a", 1)]);
    put_bad();
    let worker = office.start();
    office.settle(MINUTE).await;
    put_bad();
    office.settle(MINUTE).await;
    worker.stop().await;
    let told: Vec<_> = office.world.sink.all();
    let told: Vec<_> = told
        .iter()
        .filter(|outcome| outcome.status == Status::Invalid)
        .collect();
    assert_eq!(told.len(), 3);
    for outcome in &told {
        assert_eq!(
            (outcome.event_id, &outcome.body),
            (told[0].event_id, &told[0].body)
        );
        let letter = outcome.letter.as_ref().expect("a dead letter");
        assert_eq!(letter.body.as_ref(), bad);
        assert!(letter.why.is_some());
        assert_eq!(outcome.envelope.correlation_id.as_deref(), Some("mine"));
    }
    assert_eq!(
        office.world.bank.applied()["a"],
        1,
        "it does not stand in the way"
    );
}

/// An unreadable message is answered by whoever is there after a kill at any step.
#[tokio::test(start_paused = true)]
async fn i3_what_cannot_be_read_is_answered_through_a_kill_at_every_step() {
    let set_up = async || {
        let office = office(16).await;
        office.queue.put_bytes("bad", b"[]", Envelope::default());
        office.queue.put(&[job("a", 1)]);
        office
    };
    kill_at_every_step("unreadable", 6, set_up, nothing).await;
}

/// Copies of a job, with the same content, with another, and on another card, wherever the first stands:
/// in the same batch, held, called, in doubt, over.
#[tokio::test(start_paused = true)]
async fn i1_i6_a_copy_is_answered_as_the_job_or_as_a_conflict_wherever_the_job_stands() {
    let copies = |name: &str| {
        let other = Job {
            operation: Operation::Withdrawal,
            ..job(name, 1)
        };
        [job(name, 1), other, job(name, 2)]
    };
    for stands in ["same batch", "called", "in doubt", "held", "over"] {
        let mut office = office(32).await;
        office.world.settings.rules.resend_window = Duration::ZERO;
        let name = if stands == "held" { "second" } else { "first" };
        if matches!(stands, "in doubt" | "held") {
            office
                .world
                .bank
                .script("first", &[Does::ApplyAndLoseReply]);
        }
        office.queue.put(&[job("first", 1), job("second", 1)]);
        if stands == "same batch" {
            office.queue.put_again(&copies(name));
        }
        let worker = office.start();
        let wait = match stands {
            "called" => Duration::from_millis(10),
            "over" => Duration::from_secs(1),
            _ => Duration::from_millis(25),
        };
        let_pass(wait).await;
        if stands != "same batch" {
            office.queue.put_again(&copies(name));
        }
        office.settle(HOUR).await;
        worker.stop().await;
        office.judge(stands);
        assert_eq!(office.world.bank.calls_for(name).len(), 1, "{stands}");
        let told = office.world.sink.statuses(name);
        let conflicts = told.iter().filter(|status| **status == Status::Conflict);
        assert_eq!(conflicts.count(), 2, "{stands}: {told:?}");
        let ends: Vec<_> = office
            .chronicle
            .entries()
            .into_iter()
            .filter_map(|entry| match entry {
                Entry::Ended(of, _, How::Done(status)) if of == name => Some(status),
                Entry::Offered(..)
                | Entry::Ended(..)
                | Entry::Held(_)
                | Entry::Begun(_)
                | Entry::Called(_)
                | Entry::Published(..) => None,
            })
            .collect();
        assert_eq!(ends.len(), 4, "{stands}: {ends:?}");
        let of_job = ends.iter().filter(|status| **status != Status::Conflict);
        assert_eq!(of_job.count(), 2, "{stands}: {ends:?}");
    }
}

/// A copy with other content that comes in the batch with which the lane becomes full.
#[tokio::test(start_paused = true)]
async fn i6_a_copy_in_the_batch_that_fills_a_lane_is_a_conflict() {
    let office = office(16).await;
    office.queue.put(&[job("first", 1)]);
    let worker = office.start();
    let_pass(Duration::from_millis(10)).await;
    let behind: Vec<_> = (0..6).map(|n| job(&format!("j{n}"), 1)).collect();
    office.queue.put(&behind);
    let other = Job {
        operation: Operation::Withdrawal,
        ..job("j0", 1)
    };
    office.queue.put_again(&[other, job("j0", 1)]);
    office.settle(HOUR).await;
    worker.stop().await;
    office.judge("");
    let told = office.world.sink.statuses("j0");
    assert!(told.contains(&Status::Conflict), "{told:?}");
}

/// One card has the whole prefetch, and whoever holds its lane ends without having begun: the others go to
/// the ledger all the same, once the next has begun, and other cards go on.
#[tokio::test(start_paused = true)]
async fn i11_a_full_lane_whose_holder_never_begins_does_not_keep_the_room() {
    let office = office(16).await;
    office.ask(Wish::Cancel(id("j0"))).await;
    office.world.bank.script("j1", &[Does::LoseRequest; 99]);
    let full: Vec<_> = (0..16).map(|n| job(&format!("j{n}"), 1)).collect();
    office.queue.put(&full);
    office.queue.put(&[job("beside", 2)]);
    let worker = office.start();
    let_pass(MINUTE).await;
    assert_eq!(office.world.sink.statuses("beside"), [Status::Succeeded]);
    office.settle(DAY).await;
    worker.stop().await;
    office.judge("");
}

/// Nobody reads the results: the flow says so, sends nothing, gives back what it can, and goes on by
/// itself once they are read.
#[tokio::test(start_paused = true)]
async fn results_that_nobody_reads_hold_the_flow_until_they_are_read() {
    let office = office(32).await;
    office.queue.put(&jobs(6, 20));
    office.world.sink.set_full(true);
    let worker = office.start();
    let_pass(Duration::from_secs(10)).await;
    let cause = worker.pauses.borrow().as_ref().map(|it| it.cause.clone());
    assert_eq!(cause, Some(PauseCause::ResultsNotRead));
    let called = office.world.bank.calls().len();
    assert!(called <= 4, "{called} calls though nobody reads");
    let_pass(2 * HOUR).await;
    assert_eq!(
        office.world.bank.calls().len(),
        called,
        "nothing more is sent"
    );
    assert_eq!(office.queue.len(), 120, "nothing is answered");
    assert_eq!(office.queue.open(), 0, "everything is given back");
    let taken = office.queue.taken().len();
    assert!(taken <= 32, "{taken} taken");
    office.world.sink.set_full(false);
    office.settle(10 * MINUTE).await;
    assert_eq!(worker.pauses.borrow().clone(), None);
    worker.stop().await;
    office.judge("");
}

/// Nobody reads the results, and all that is to be told is what was told before, to messages that come again:
/// once their source has taken these back, nobody is left who tries. The flow goes on all the same.
#[tokio::test(start_paused = true)]
async fn i13_results_that_are_read_again_let_the_flow_go_on_though_nobody_waits_to_tell() {
    let office = office(16).await;
    office.queue.put(&[job("a", 1)]);
    let worker = office.start();
    office.settle(MINUTE).await;
    office.world.sink.set_full(true);
    office.queue.put_again(&[job("a", 1)]);
    let_pass(HOUR).await;
    office.world.sink.set_full(false);
    office.queue.put(&[job("b", 2)]);
    office.settle(10 * MINUTE).await;
    worker.stop().await;
    office.judge("");
}

/// A process that reaches the readers of files alone leaves what the queue wants to know to one that
/// reaches them.
#[tokio::test(start_paused = true)]
async fn outcomes_of_the_queue_wait_for_a_process_that_reaches_its_readers() {
    let mut office = office(16).await;
    office.world.settings.rules.resend_window = Duration::ZERO;
    office.world.bank.script("a", &[Does::ApplyAndLoseReply]);
    office.world.bank.script("r", &[Does::Refuse]);
    office.queue.put(&[job("a", 1), job("b", 1), job("r", 2)]);
    office.world.sink.set_full(true);
    let worker = office.start();
    let_pass(Duration::from_secs(1)).await;
    worker.kill().await;
    office.world.sink.set_full(false);
    office.world.sink.reach_files_only(true);
    office.world.settings.ending = Ending::WhenDry;
    office.world.settings.holding = None;
    office.world.run(&[job("row", 3)]).await;
    assert_eq!(office.world.sink.statuses("row"), [Status::Succeeded]);
    for name in ["a", "b", "r"] {
        assert!(office.world.sink.statuses(name).is_empty(), "{name}");
    }
    office.world.sink.reach_files_only(false);
    office.world.settings.ending = Ending::WhenStopped;
    office.world.settings.holding = Some(hours(1));
    let worker = office.start();
    office.settle(HOUR).await;
    worker.stop().await;
    office.judge("");
    let refused = office.world.sink.all();
    let refused = refused.iter().find(|told| told.status == Status::Rejected);
    assert!(refused.is_some_and(|told| told.letter.is_some()));
}

/// A worker that has not read the bank yet, because nothing came, is paused for long and resumed: what comes
/// then is taken.
#[tokio::test(start_paused = true)]
async fn i13_a_pause_before_the_first_job_does_not_keep_a_worker_from_its_work() {
    let office = office(16).await;
    office.world.bank.begin_unread();
    let worker = office.start();
    let_pass(HOUR).await;
    office.ask(Wish::Pause).await;
    let_pass(HOUR).await;
    office.ask(Wish::Resume).await;
    let_pass(MINUTE).await;
    office.queue.put(&jobs(3, 2));
    office.settle(MINUTE).await;
    worker.stop().await;
    office.judge("");
    assert_eq!(office.world.bank.applied().len(), 6);
}

// ---- stops ------------------------------------------------------------------------------------

/// Stopped fifty times under load, at any moment, with a bank that now and then refuses the connection:
/// no job comes into doubt because of it, and no order is lost.
#[tokio::test(start_paused = true)]
async fn i7_i9_fifty_stops_under_load_bring_nothing_into_doubt_and_keep_the_order() {
    let mut chance = Chance::new(7);
    let office = office(32).await;
    office.queue.put(&jobs(7, 120));
    for stop in 0..50 {
        let worker = office.start();
        let does = chance.of(&[
            Does::Apply,
            Does::Apply,
            Does::NoConnection,
            Does::RateLimit,
        ]);
        office.world.bank.otherwise(does);
        let_pass(Duration::from_millis(chance.below(400))).await;
        worker.stop().await;
        assert_eq!(office.queue.open(), 0, "stop {stop}");
        let open = office.world.ledger.unsettled(None, 9).await;
        assert_eq!(open.expect("memory"), [], "stop {stop}");
    }
    office.world.bank.otherwise(Does::Apply);
    let worker = office.start();
    office.settle(HOUR).await;
    worker.stop().await;
    office.judge("");
    assert_eq!(office.world.bank.applied().len(), 840);
    let told = office.world.sink.all();
    assert!(told.iter().all(|told| told.status != Status::InDoubt));
}

// ---- poison -----------------------------------------------------------------------------------

/// A job whose task panics three times is poison: what it may have moved is asked about, what comes
/// behind it goes on, and other cards never notice.
#[tokio::test(start_paused = true)]
async fn f19_three_panics_end_a_job_and_the_others_go_on() {
    let mut office = office(16).await;
    office.world.settings.rules.resend_window = Duration::ZERO;
    office.world.bank.script("poison", &[Does::Panic; 99]);
    office
        .queue
        .put(&[job("poison", 1), job("behind", 1), job("beside", 2)]);
    let worker = office.start();
    let_pass(Duration::from_secs(5)).await;
    assert_eq!(office.world.sink.statuses("beside"), [Status::Succeeded]);
    office.settle(2 * HOUR).await;
    worker.stop().await;
    office.judge("");
    let last = office.world.sink.of("poison").pop().expect("an outcome");
    assert_eq!(
        (last.status.as_str(), last.reason.as_deref()),
        ("not_sent", Some("poison"))
    );
    assert_eq!(office.world.bank.calls_for("poison").len(), 3);
    assert_eq!(office.world.bank.applied()["behind"], 1);
}

/// What panics whenever it is told cannot be answered: it stands in nobody's way, nothing of it spins,
/// and a worker without the fault makes up for it.
#[tokio::test(start_paused = true)]
async fn f19_what_panics_whenever_it_is_told_stands_in_nobodys_way() {
    let office = office(16).await;
    for name in ["poison", "unreadable"] {
        office.world.sink.panic_on(name);
    }
    let unreadable = br#"{"entity_id":"unreadable"}"#;
    office
        .queue
        .put_bytes("unreadable", unreadable, Envelope::default());
    office
        .queue
        .put(&[job("poison", 1), job("behind", 1), job("beside", 2)]);
    let worker = office.start();
    let_pass(HOUR).await;
    for name in ["behind", "beside"] {
        assert_eq!(office.world.sink.statuses(name), [Status::Succeeded]);
    }
    let taken = office.queue.taken().len();
    assert!(taken <= 6, "{taken} deliveries in an hour");
    assert_eq!(office.world.bank.calls_for("poison").len(), 1);
    worker.kill().await;
    let worker = office.start();
    let_pass(HOUR).await;
    assert!(!worker.is_over(), "the next worker starts all the same");
    worker.kill().await;
    office.world.sink.panic_no_more();
    let worker = office.start();
    office.settle(2 * HOUR).await;
    worker.stop().await;
    office.judge("");
}

/// A job that panics whatever is done about its doubt holds its card: what comes behind it waits in the
/// ledger, and is told so.
#[tokio::test(start_paused = true)]
async fn f19_i7_a_parked_job_holds_its_card_and_nothing_spins() {
    let mut office = office(16).await;
    office.world.settings.rules.resend_window = Duration::ZERO;
    office.world.sink.panic_on_doubts(true);
    office.world.bank.script("a", &[Does::LoseRequest]);
    let behind: Vec<_> = (0..6).map(|n| job(&format!("behind{n}"), 1)).collect();
    office.queue.put(&[job("a", 1), job("beside", 2)]);
    office.queue.put(&behind);
    let worker = office.start();
    let_pass(HOUR).await;
    assert_eq!(office.world.sink.statuses("beside"), [Status::Succeeded]);
    assert_eq!(office.world.bank.applied().len(), 1);
    assert_eq!(office.world.ledger.held_count().await.expect("memory"), 6);
    let taken = office.queue.taken().len();
    assert!(taken <= 9, "{taken} deliveries in an hour");
    worker.stop().await;
    office.world.sink.panic_on_doubts(false);
    let worker = office.start();
    office.settle(DAY).await;
    worker.stop().await;
    office.judge("");
}

// ---- beside files -----------------------------------------------------------------------------

/// A run of a file finds jobs of the queue in the ledger: they come first on their card, the file's rows
/// wait behind them, and the run does not end before its own rows have.
#[tokio::test(start_paused = true)]
async fn i7_rows_of_a_file_wait_behind_what_the_ledger_holds_of_their_card() {
    let mut office = office(16).await;
    office.world.settings.rules.resend_window = Duration::ZERO;
    office.world.bank.script("a", &[Does::LoseRequest]);
    office.queue.put(&[job("a", 1), job("b", 1), job("c", 1)]);
    let worker = office.start();
    let_pass(Duration::from_secs(5)).await;
    worker.stop().await;
    assert_eq!(office.world.ledger.held_count().await.expect("memory"), 2);
    office.world.settings.ending = Ending::WhenDry;
    office.world.settings.holding = None;
    office.world.run(&[job("row1", 1), job("row2", 2)]).await;
    let order = office.world.bank.applied_in_order();
    let of_card: Vec<_> = order.iter().filter(|name| *name != "row2").collect();
    assert_eq!(of_card, ["a", "b", "c", "row1"]);
    assert_eq!(office.world.answers.of("row1"), [Some(Status::Waiting)]);
    assert_eq!(office.world.answers.of("row2"), [Some(Status::Succeeded)]);
}

/// What an earlier worker left in the ledger begins as soon as there is one, though nothing comes from
/// the queue; a run of a file does not end before it.
#[tokio::test(start_paused = true)]
async fn held_jobs_begin_at_once_where_nothing_else_happens() {
    for of_file in [false, true] {
        let mut office = office(16).await;
        office.world.bank.otherwise(Does::RefuseCredential);
        office.queue.put(&[job("a", 1)]);
        let worker = office.start();
        let_pass(12 * MINUTE).await;
        worker.stop().await;
        assert_eq!(office.world.ledger.held_count().await.expect("memory"), 1);
        office.world.bank.otherwise(Does::Apply);
        if of_file {
            office.world.settings.ending = Ending::WhenDry;
            office.world.settings.holding = None;
            office.world.run(&[]).await;
        } else {
            let worker = office.start();
            let_pass(Duration::from_secs(2)).await;
            worker.stop().await;
        }
        assert_eq!(office.world.bank.applied_in_order(), ["a"], "{of_file}");
        assert_eq!(office.world.ledger.held_count().await.expect("memory"), 0);
    }
}
