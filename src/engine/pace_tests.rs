//! Tests of the pace, on a paused clock.

use async_trait::async_trait;
use tokio::time::Instant;

use super::*;
use crate::domain::job::CardId;
use crate::domain::key::IdempotencyKey;
use crate::domain::listing::ListedOperation;
use crate::domain::time::Timestamp;
use crate::domain::verdict::Verdict;
use crate::engine::ports::{self, Bank, ListFault};

struct Nobody;

#[async_trait]
impl Bank for Nobody {
    async fn apply(&self, _: &CardId, _: &IdempotencyKey, _: &[u8]) -> Verdict {
        unreachable!("nobody calls")
    }

    async fn list(&self, _: &CardId, _: Timestamp) -> Result<Vec<ListedOperation>, ListFault> {
        unreachable!("nobody asks")
    }

    async fn probe(&self, _: &CardId) -> Result<(), ListFault> {
        unreachable!("nobody probes")
    }

    fn time(&self) -> Option<Timestamp> {
        None
    }
}

impl ports::Clock for Nobody {
    fn wall(&self) -> Timestamp {
        Timestamp::from_millis(0)
    }
}

fn pace(rate: u32) -> Pace {
    let clocks = Clocks::new(Arc::new(Nobody), Arc::new(Nobody));
    Pace::new(NonZeroU32::new(rate), Arc::new(clocks))
}

/// When each of so many turns came.
async fn turns(pace: &Pace, count: usize) -> Vec<Duration> {
    let began = Instant::now();
    let mut turns = Vec::with_capacity(count);
    for _ in 0..count {
        pace.turn().await;
        turns.push(began.elapsed());
    }
    turns
}

#[tokio::test(start_paused = true)]
async fn no_second_has_more_turns_than_the_rate_and_a_tenth() {
    for rate in [1, 7, 50, 999, 10_000] {
        let pace = pace(rate);
        let count = usize::try_from(rate).expect("small") * 3;
        let turns = turns(&pace, count).await;
        let took = turns.last().expect("some").as_millis();
        assert!(
            (1_900..=3_100).contains(&took),
            "{rate}: {took} ms for three seconds' worth"
        );
        let most = usize::try_from(rate + rate / 10 + 1).expect("small");
        for (first, last) in turns.iter().zip(turns.iter().skip(most)) {
            assert!(
                last.saturating_sub(*first) >= Duration::from_millis(999),
                "{rate}: {first:?} {last:?}"
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn after_a_long_rest_no_more_come_at_once_than_a_tenth_of_a_second_brings() {
    let pace = pace(50);
    pace.turn().await;
    tokio::time::sleep_until(Instant::now() + Duration::from_secs(3_600)).await;
    let turns = turns(&pace, 10).await;
    let at_once = turns.iter().filter(|at| at.is_zero()).count();
    assert_eq!(at_once, 5, "{turns:?}");
}

#[tokio::test(start_paused = true)]
async fn whoever_comes_first_has_the_first_turn() {
    let pace = pace(1);
    pace.turn().await;
    let began = Instant::now();
    let one = || async {
        pace.turn().await;
        began.elapsed().as_secs()
    };
    assert_eq!(tokio::join!(biased; one(), one(), one()), (1, 2, 3));
}

#[tokio::test(start_paused = true)]
async fn without_a_rate_nobody_waits() {
    let turns = turns(&pace(0), 10_000).await;
    assert!(turns.iter().all(Duration::is_zero));
}
