//! What must hold in however many worlds: deliveries of one job that interleave, and jobs that the ledger
//! takes over and gives back. `PROPTEST_CASES` says how many are tried.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use proptest::sample::Index;
use tanda::domain::job::{CardId, Job};
use tanda::domain::outcome::Status;
use tanda::engine::ports::{Begun, Intent, Ledger, NewlyHeld, StoredOutcome};
use tanda::ledger::MemoryLedger;
use tempfile::TempDir;
use tokio::task::JoinSet;

use crate::contract::samples::{id, intent, intent_of, outcome};
use crate::contract::{binding, new_sqlite};
use crate::support::judge::{Does, job, let_pass};
use crate::support::queue::Office;

const DAY: Duration = Duration::from_secs(86_400);

/// Runs on a clock of its own that stands still.
fn in_a_world(world: impl Future<Output = Result<(), TestCaseError>>) -> Result<(), TestCaseError> {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime")
        .block_on(world)
}

// ---- two deliveries ---------------------------------------------------------------------------

/// What may happen while the first delivery is under way.
#[derive(Clone, Copy, Debug)]
enum Between {
    Nothing,
    LostConnection,
    Killed,
    Stopped,
}

fn any_script() -> impl Strategy<Value = Vec<Does>> {
    let does = prop::sample::select(vec![
        Does::Apply,
        Does::ApplyAndLoseReply,
        Does::LoseRequest,
        Does::Refuse,
        Does::Conflict,
        Does::NoConnection,
        Does::RateLimit,
        Does::Panic,
    ]);
    prop::collection::vec(does, 0..3)
}

fn any_wait_ms() -> impl Strategy<Value = u64> {
    prop_oneof![0_u64..30, 0_u64..2_000, 0_u64..400_000]
}

async fn two_deliveries(
    does: &[Does],
    waits_ms: [u64; 2],
    between: Between,
) -> Result<(), TestCaseError> {
    let office = Office::open(Arc::new(MemoryLedger::new()), 16).await;
    office.world.bank.script("twice", does);
    office.queue.put(&[job("twice", 1)]);
    let mut worker = office.start();
    let_pass(Duration::from_millis(waits_ms[0])).await;
    match between {
        Between::Nothing => {}
        Between::LostConnection => office.queue.lose(),
        Between::Killed => {
            worker.kill().await;
            worker = office.start();
        }
        Between::Stopped => {
            worker.stop().await;
            worker = office.start();
        }
    }
    let_pass(Duration::from_millis(waits_ms[1])).await;
    office.queue.put_again(&[job("twice", 1)]);
    office.settle(2 * DAY).await;
    worker.stop().await;
    office.judge("");
    let applied = office.world.bank.applied();
    prop_assert!(applied.get("twice").is_none_or(|times| *times == 1));
    let calls = office.world.bank.calls_for("twice");
    let was_smooth = does.is_empty() && matches!(between, Between::Nothing);
    prop_assert!(!was_smooth || calls.len() == 1, "{} calls", calls.len());
    let keys: BTreeSet<_> = calls.iter().map(|call| &call.key).collect();
    prop_assert!(keys.len() <= 1, "{keys:?}");
    Ok(())
}

proptest! {
    /// F15: wherever the second delivery comes, whatever became of the first by then: one movement of
    /// money at most, one call where nothing went wrong, and always the same key.
    #[test]
    fn f15_two_deliveries_of_one_job_pay_once_however_they_interleave(
        does in any_script(),
        waits_ms in [any_wait_ms(), any_wait_ms()],
        between in prop::sample::select(vec![
            Between::Nothing, Between::LostConnection, Between::Killed, Between::Stopped,
        ]),
    ) {
        in_a_world(two_deliveries(&does, waits_ms, between))?;
    }
}

// ---- held and released ------------------------------------------------------------------------

/// What is done with the jobs of three cards.
#[derive(Clone, Debug)]
enum Step {
    /// A new job of this card is taken over.
    Arrives(u32),
    /// The first job of this card begins.
    Begins(u32),
    /// It is provably not executed, and is taken over again, before all others.
    ComesBack(u32),
    /// It is settled.
    Settles(u32),
}

fn any_step() -> impl Strategy<Value = Step> {
    let card = 0_u32..3;
    prop_oneof![
        4 => card.clone().prop_map(Step::Arrives),
        3 => card.clone().prop_map(Step::Begins),
        2 => card.clone().prop_map(Step::ComesBack),
        1 => card.prop_map(Step::Settles),
    ]
}

/// What the ledger must hold, by a list of each card.
#[derive(Default)]
struct Cards {
    held: HashMap<CardId, VecDeque<Intent>>,
    begun: HashMap<CardId, Intent>,
    count: u32,
}

fn taken_over(intent: &Intent, first: bool, released: Option<&'static str>) -> NewlyHeld {
    NewlyHeld {
        intent: intent.clone(),
        outcome: StoredOutcome {
            entity_id: Some(intent.job.entity_id.clone()),
            ..outcome(intent, Status::Waiting)
        },
        first,
        released,
    }
}

impl Cards {
    fn new_job(&mut self, card: u32) -> Job {
        self.count += 1;
        job(&format!("j{}", self.count), card)
    }

    async fn take(&mut self, step: Step, ledger: &dyn Ledger) {
        let card = match step {
            Step::Arrives(card)
            | Step::Begins(card)
            | Step::ComesBack(card)
            | Step::Settles(card) => card,
        };
        let card_id = job("any", card).card_id;
        match step {
            Step::Arrives(card) => {
                let intent = intent_of(self.new_job(card), 1);
                let held = ledger.hold(vec![taken_over(&intent, false, None)]).await;
                held.expect("taken over");
                self.held.entry(card_id).or_default().push_back(intent);
            }
            Step::Begins(_) if !self.begun.contains_key(&card_id) => {
                let first = self.held.entry(card_id.clone()).or_default().pop_front();
                if let Some(intent) = first {
                    let begun = ledger.begin(intent.clone()).await.expect("begun");
                    assert_eq!(begun, Begun::Yes, "{:?}", intent.job.entity_id);
                    self.begun.insert(card_id, intent);
                }
            }
            Step::ComesBack(_) => {
                if let Some(intent) = self.begun.remove(&card_id) {
                    let back = taken_over(&intent, true, Some("no_connection"));
                    ledger.hold(vec![back]).await.expect("taken over again");
                    self.held.entry(card_id).or_default().push_front(intent);
                }
            }
            Step::Settles(_) => {
                if let Some(intent) = self.begun.remove(&card_id) {
                    let settled = crate::contract::samples::settlement(&intent, Status::Succeeded);
                    ledger.settle(settled).await.expect("settled");
                }
            }
            Step::Begins(_) => {}
        }
    }

    /// Each card's first job is the one, whole, and all are there.
    async fn compare(&self, ledger: &dyn Ledger) -> Result<(), TestCaseError> {
        let mut count = 0;
        for (card_id, expected) in &self.held {
            let next = ledger.next_held(card_id.clone()).await.expect("a look");
            let next = next.map(|held| held.intent);
            prop_assert_eq!(next.as_ref(), expected.front());
            count += expected.len();
        }
        let held = ledger.held_count().await.expect("a count");
        prop_assert_eq!(usize::try_from(held), Ok(count));
        for intent in self.begun.values() {
            let open = ledger
                .open_job(intent.job.entity_id.clone())
                .await
                .expect("a look");
            prop_assert_eq!(open.map(|open| open.intent), Some(intent.clone()));
        }
        Ok(())
    }
}

proptest! {
    /// Whatever is taken over, begun, given back and taken over again: each card keeps its jobs, as
    /// they were, in the order in which they came.
    #[test]
    fn i7_what_is_held_and_released_keeps_its_job_and_its_order(
        steps in prop::collection::vec(any_step(), 1..40),
    ) {
        in_a_world(async {
            let ledger = MemoryLedger::new();
            let mut cards = Cards::default();
            for step in steps {
                cards.take(step, &ledger).await;
                cards.compare(&ledger).await?;
            }
            Ok(())
        })?;
    }
}

// ---- group commit -----------------------------------------------------------------------------

/// Everything that is on the disk at this moment, as a crash would leave it.
fn as_after_a_crash(dir: &TempDir) -> TempDir {
    let copy = tempfile::tempdir().expect("a directory");
    for file in ["ledger.db.anchor", "ledger.db", "ledger.db-wal"] {
        if dir.path().join(file).exists() {
            std::fs::copy(dir.path().join(file), copy.path().join(file)).expect("a copy");
        }
    }
    copy
}

/// Callers come in groups; each whose answer has come is in what a crash at that moment would leave.
async fn answered_together(groups: &[usize], crash_after: usize) -> Result<(), TestCaseError> {
    let (dir, ledger) = new_sqlite();
    let ledger = Arc::new(ledger);
    let mut answered = Vec::new();
    let mut number = 0;
    for size in groups {
        let mut callers = JoinSet::new();
        for _ in 0..*size {
            let name = format!("j{number}");
            number += 1;
            let ledger = Arc::clone(&ledger);
            callers.spawn(async move {
                ledger.begin(intent(&name)).await.expect("begun");
                name
            });
        }
        while let Some(name) = callers.join_next().await {
            answered.push(name.expect("no caller panics"));
            if answered.len() == crash_after {
                let crashed = as_after_a_crash(&dir);
                let path = crashed.path().join("ledger.db");
                let found = tanda::ledger::SqliteLedger::open(&path, &binding()).expect("a copy");
                for name in &answered {
                    let there = found.generations_of(id(name)).await.expect("a look");
                    prop_assert_eq!(there.len(), 1, "{} was answered and is lost", name);
                }
                return Ok(());
            }
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases / 8, ..ProptestConfig::default() })]

    /// I2, whoever shares a commit with whom. That a commit is on the disk and not only in the system's
    /// memory is for the tests that fail its writes and syncs.
    #[test]
    fn i2_whoever_is_answered_in_a_group_is_in_what_a_crash_leaves(
        groups in prop::collection::vec(1_usize..12, 1..4),
        crash in any::<Index>(),
    ) {
        let crash_after = 1 + crash.index(groups.iter().sum());
        tokio::runtime::Builder::new_current_thread()
            .build()
            .expect("a runtime")
            .block_on(answered_together(&groups, crash_after))?;
    }
}
