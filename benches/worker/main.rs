//! What the worker's care costs: `cargo bench --bench worker [-- --jobs N --rounds N --waiting N]`.
//!
//! Two processes take turns at the same work: so many jobs wait in a quorum queue, each is taken, paid at
//! the simulated bank (`tanda simulator`, a process of its own), and its outcome is published to another
//! quorum queue, before its message is acknowledged.
//!
//! - *worker* is `tanda worker` as it is built for use, with a new SQLite ledger on disk.
//! - *bare* is a loop that only does that ([`bare`]): the same libraries, as many calls at once, the same
//!   prefetch, connections kept alive, messages of the same size, confirms and acknowledgements in flight
//!   together. It has no ledger, no order, no retries and no deadlines; when it dies, it pays again.
//!
//! The time goes from the start of consuming to the last outcome in its queue, CPU time is that of the
//! process alone within that time, and the peak of resident memory is that of its whole life. Broker,
//! bank, and this program, which only counts what is in the queue, run on the same machine, so that at
//! 0 ms of latency the cores are the bound and at 20 ms the calls at once. The cards are many: their order
//! holds nobody up. At the end of each run every job has one outcome, and was paid once. Bank, ledger and
//! queues are new for each run. Last, the worker's memory where far more jobs wait.
//!
//! *Not compared:* TLS (both are without, on loopback), a bank that errs, a ledger grown large, a cluster,
//! several queues. Figures of another machine, or of one that is busy, are not comparable; ratios of one
//! run are, more or less.
//!
//! Needs the Debian package rabbitmq-server. Processes and folders are gone at the end, also after a
//! failure or an interrupt.

mod bare;
mod figures;
mod running;
#[path = "../../tests/broker/support/mod.rs"]
#[allow(dead_code, reason = "tests use what this does not")]
mod support;

use std::collections::HashSet;
use std::time::{Duration, Instant};

use lapin::options::{BasicConsumeOptions, QueueDeclareOptions};
use lapin::types::{FieldTable, ShortString};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{MissedTickBehavior, interval, timeout};

use figures::{Contest, Figures, say};
use running::Running;
use support::node::Node;
use support::queues::Client;
use support::stage::{self, Stage};

/// Calls of the bank at once, and messages taken and not yet acknowledged: of both.
const CALLS: usize = 64;
const PREFETCH: u16 = 256;
/// So many that no job waits for another of its card.
const CARDS: usize = 5_000;
const LATENCIES_MS: [u64; 2] = [0, 20];
/// Between two looks at the queue of outcomes.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// No run takes so long.
const RUN_LIMIT: Duration = Duration::from_secs(300);

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    if let Some((bare::WORD, place)) = words
        .split_first()
        .map(|(word, more)| (word.as_str(), more))
    {
        return runtime.block_on(bare::run(place));
    }
    let plan = Plan::read(&words);
    runtime.block_on(async {
        tokio::select! {
            () = interrupted() => panic!("it was interrupted"),
            () = compare(&plan) => {}
        }
    });
}

/// Whatever runs is then dropped, and thereby ended.
async fn interrupted() {
    let mut terminated = signal(SignalKind::terminate()).expect("signals can be listened to");
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminated.recv() => {}
    }
}

/// How much is done.
#[derive(Clone, Copy)]
struct Plan {
    jobs: usize,
    rounds: usize,
    waiting: usize,
}

impl Plan {
    fn read(words: &[String]) -> Self {
        let of = |flag: &str, usual: usize| {
            let mut words = words.iter().skip_while(|word| *word != flag).skip(1);
            let number = words.next().map(|word| word.parse());
            number.map_or(usual, |number| number.expect("a whole number"))
        };
        Self {
            jobs: of("--jobs", 20_000),
            rounds: of("--rounds", 3),
            waiting: of("--waiting", 100_000),
        }
    }
}

/// Who does the work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Who {
    Worker,
    Bare,
}

async fn compare(plan: &Plan) {
    let node = Node::start("");
    say(&format!(
        "{} jobs on {CARDS} cards, {CALLS} calls at once, prefetch {PREFETCH}\n",
        plan.jobs
    ));
    for latency_ms in LATENCIES_MS {
        say(&format!("\nlatency of the bank: {latency_ms} ms\n"));
        let mut contest = Contest::new(latency_ms);
        for round in 0..plan.rounds {
            let mut order = [Who::Worker, Who::Bare];
            order.rotate_left(round % 2);
            for who in order {
                contest.note(who, run(&node, who, latency_ms, plan.jobs).await);
            }
        }
        contest.tell();
    }
    if plan.waiting > 0 {
        let figures = run(&node, Who::Worker, 0, plan.waiting).await;
        figures::tell_memory(plan.waiting, &figures);
    }
}

/// Does so many jobs.
async fn run(node: &Node, who: Who, latency_ms: u64, jobs: usize) -> Figures {
    let mut stage = Stage::new(&node.url(), &format!("latency_ms={latency_ms}"));
    for (setting, value) in [
        ("TANDA_ENGINE__CONCURRENCY", CALLS.to_string()),
        ("TANDA_AMQP__PREFETCH", PREFETCH.to_string()),
    ] {
        stage.desk.set(setting, &value);
    }
    // The tests shorten these.
    for setting in [
        "TANDA_BANK__CONNECT_TIMEOUT_S",
        "TANDA_BANK__REQUEST_TIMEOUT_S",
        "TANDA_ENGINE__BACKOFF_BASE_MS",
        "TANDA_ENGINE__DRAIN_S",
        "TANDA_ENGINE__PROBE_EVERY_S",
        "TANDA_ENGINE__SETTLE_DELAY_S",
    ] {
        stage.desk.unset(setting);
    }
    stage.ends(0, &["topology", "--declare"]);
    let client = stage.client().await;
    stage.publish(&client, &bodies(jobs)).await;

    let command = match who {
        Who::Worker => stage.desk.command(&["worker"]),
        Who::Bare => bare::command(&node.url(), &stage.names, &stage.bank.url),
    };
    let running = Running::start(command, "taking jobs from");
    let (began, cpu_before) = (Instant::now(), running.cpu());
    let results = &stage.names.results_queue;
    if timeout(RUN_LIMIT, filled(&client, results, jobs))
        .await
        .is_err()
    {
        panic!("{who:?} took more than {RUN_LIMIT:?}: {}", running.killed());
    }
    let figures = Figures {
        jobs,
        took: began.elapsed(),
        cpu: running.cpu().saturating_sub(cpu_before),
        peak_kib: running.peak_kib(),
    };
    running.terminate();
    all_succeeded(&client, results, jobs).await;
    assert_eq!(stage.bank.paid_once(), jobs, "each job is paid once");
    figures
}

/// Jobs whose names are in no order, as ids of people are not.
fn bodies(jobs: usize) -> Vec<Vec<u8>> {
    let name = |number: usize| {
        let number = u64::try_from(number).expect("no more than there is memory for");
        format!("NOM-{:016x}", number.wrapping_mul(0x9E37_79B9_7F4A_7C15))
    };
    (0..jobs)
        .map(|number| stage::job(&name(number), number % CARDS, 1_000))
        .collect()
}

/// Ends when so many messages wait in a queue.
async fn filled(client: &Client, queue: &str, jobs: usize) {
    let mut looks = interval(LOOK_EVERY);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        looks.tick().await;
        let options = QueueDeclareOptions {
            passive: true,
            ..QueueDeclareOptions::default()
        };
        let looked = client
            .channel
            .queue_declare(queue.into(), options, FieldTable::default());
        let count = looked.await.expect("the queue is there").message_count();
        if usize::try_from(count).is_ok_and(|count| count >= jobs) {
            return;
        }
    }
}

/// Fails unless each job has an outcome there, and has succeeded.
async fn all_succeeded(client: &Client, queue: &str, jobs: usize) {
    let options = BasicConsumeOptions {
        no_ack: true,
        ..BasicConsumeOptions::default()
    };
    let consuming = client.channel.basic_consume(
        queue.into(),
        ShortString::default(),
        options,
        FieldTable::default(),
    );
    let mut consumer = consuming.await.expect("it can be consumed");
    let mut entity_ids = HashSet::new();
    for _ in 0..jobs {
        let delivery = bare::next(&mut consumer).await.expect("it stays");
        let outcome: serde_json::Value = serde_json::from_slice(&delivery.data).expect("JSON");
        let text = |name: &str| {
            outcome
                .get(name)
                .and_then(|text| text.as_str())
                .map(str::to_owned)
        };
        assert_eq!(text("status").as_deref(), Some("succeeded"), "{outcome}");
        entity_ids.extend(text("entity_id"));
    }
    assert_eq!(entity_ids.len(), jobs, "each job has one outcome");
}
