//! How fast the SQLite ledger is on this machine: `cargo bench --bench ledger`.
//!
//! Prints jobs a second (one job is two durable writes: begin and settle) for some numbers of
//! concurrent callers, the time of a look at 128 ids, and the time to open the ledger it has made,
//! which is what it costs to compare every page, index and row.
#![expect(clippy::print_stdout, reason = "a bench speaks to the terminal")]

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tanda::domain::digest::Digest;
use tanda::domain::job::{Draft, EntityId};
use tanda::domain::key::{EventId, Generation, IdempotencyKey, Namespace};
use tanda::domain::money::Currencies;
use tanda::domain::outcome::Status;
use tanda::domain::time::{Moment, Timestamp};
use tanda::domain::verdict::Verdict;
use tanda::engine::ports::{AttemptNote, Begun, Intent, Ledger, Origin, Settlement, StoredOutcome};
use tanda::ledger::{Binding, SqliteLedger};
use tanda::wire::envelope::Envelope;
use tokio::task::JoinSet;

/// Concurrent callers, and how many jobs they settle together.
const ROUNDS: [(u64, u64); 5] = [
    (1, 2_000),
    (16, 40_000),
    (64, 40_000),
    (128, 40_000),
    (512, 80_000),
];
/// Bytes of an outcome message.
const BODY_BYTES: usize = 600;
/// Looks of 128 ids each.
const LOOKS: u32 = 500;

fn main() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = std::env::args()
        .skip(1)
        .find(|argument| argument.starts_with('/'));
    let path = path.map_or_else(
        || dir.path().join("ledger.db"),
        |path| Path::new(&path).into(),
    );
    SqliteLedger::create(&path).expect("a new ledger");
    let ledger = Arc::new(SqliteLedger::open(&path, &binding()).expect("a ledger"));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .build()
        .expect("a runtime");
    let mut made = 0;
    for (callers, jobs) in ROUNDS {
        let began = Instant::now();
        runtime.block_on(settle_all(&ledger, callers, made, jobs));
        made += jobs;
        println!(
            "{callers:>4} callers: {:>7} jobs/s",
            rate(jobs, began.elapsed())
        );
    }
    let look = runtime.block_on(look(&ledger, made));
    println!("look at 128 ids: {} µs", look.as_micros());
    runtime.block_on(ledger.close()).expect("closed");
    let size = std::fs::metadata(&path).expect("the file").len();
    let began = Instant::now();
    let reopened = SqliteLedger::open(&path, &binding()).expect("a ledger");
    let took = began.elapsed().as_millis();
    println!("open with {made} jobs ({} MiB): {took} ms", size >> 20);
    drop(reopened);
}

fn rate(jobs: u64, took: Duration) -> u128 {
    u128::from(jobs) * 1_000_000 / took.as_micros().max(1)
}

async fn settle_all(ledger: &Arc<SqliteLedger>, callers: u64, from: u64, jobs: u64) {
    let mut all = JoinSet::new();
    for caller in 0..callers {
        let ledger = Arc::clone(ledger);
        all.spawn(async move {
            let mut number = from + caller;
            while number < from + jobs {
                let intent = intent(number);
                let begun = ledger.begin(intent.clone()).await.expect("begun");
                assert_eq!(begun, Begun::Yes, "every job is new");
                let settled = ledger.settle(settlement(intent)).await;
                settled.expect("settled");
                number += callers;
            }
        });
    }
    all.join_all().await;
}

/// The mean time of a look at 128 ids, half of them unknown.
async fn look(ledger: &SqliteLedger, made: u64) -> Duration {
    let began = Instant::now();
    for round in 0..u64::from(LOOKS) {
        let ids = (0..128).map(|n| entity_id(made - 64 + n - round * 61 % 1_000));
        let sights = ledger.look(ids.collect()).await.expect("a look");
        assert_eq!(sights.len(), 128, "one sight for each id");
    }
    began.elapsed() / LOOKS
}

fn binding() -> Binding {
    Binding {
        namespace: Namespace::default(),
        bank_origin: "https://bank.example".to_owned(),
    }
}

/// Ids of people are not in the order of the index.
fn name(number: u64) -> String {
    let digest = Digest::of(&number.to_be_bytes()).first_u64();
    format!("NOM-2026-11-{digest:016x}")
}

fn entity_id(number: u64) -> EntityId {
    EntityId::parse(&name(number)).expect("an entity_id")
}

fn intent(number: u64) -> Intent {
    let job = Draft {
        entity_id: name(number),
        card_id: "car_5tgliBmzjZ6mpQPRbQjfKj".to_owned(),
        operation: "topup".to_owned(),
        amount_minor: 5_000_000,
        currency: "COP".to_owned(),
        description: Some("Nómina noviembre".to_owned()),
        not_after: None,
    }
    .validate(&Currencies::default())
    .expect("a job");
    let key = IdempotencyKey::derive(&Namespace::default(), &job.entity_id, Generation::FIRST);
    let now = Timestamp::from_millis(1_700_000_000_000);
    Intent {
        body_sha256: job.fingerprint(),
        job,
        generation: Generation::FIRST,
        key,
        origin: Origin::Queue,
        envelope: Envelope::default(),
        source: "payroll.csv".to_owned(),
        line: Some(number),
        again_by: None,
        received_at: now,
        at: Moment {
            mono: Duration::ZERO,
            wall: now,
            bank: now,
        },
    }
}

fn settlement(intent: Intent) -> Settlement {
    let (entity_id, status) = (intent.job.entity_id.clone(), Status::Succeeded);
    let now = intent.received_at;
    let generation = intent.generation;
    let event_id = EventId::of_outcome(&Namespace::default(), &entity_id, generation, status);
    Settlement {
        answers: None,
        attempts: vec![AttemptNote {
            number: 1,
            began: now,
            ended: now,
            verdict: Verdict::Accepted { http_status: 204 },
            spent: true,
        }],
        outcome: StoredOutcome {
            event_id,
            entity_id: Some(entity_id),
            generation: Some(intent.generation),
            status,
            body: vec![b'x'; BODY_BYTES],
            settled_at: now,
            published: false,
            origin: Origin::Queue,
            envelope: Envelope::default(),
            letter: None,
        },
        intent,
    }
}
