//! When to try again and when to ask: pure arithmetic on durations.
//!
//! *What it promises.* Exponential backoff with full jitter that is repeatable (derived from key
//! and attempt, RNG-free) and bounded; ask times in one table that shrinks with `settle_delay`.
//!
//! *What it refuses to know.* The time, and why a wait is needed.

use std::time::Duration;

use super::digest::Digest;
use super::key::IdempotencyKey;

/// First bound of the backoff: quick enough for a hiccup.
pub const BACKOFF_BASE: Duration = Duration::from_secs(1);
/// Largest bound of the backoff: an outage of hours costs a job at most this much at its end.
pub const BACKOFF_MAX: Duration = Duration::from_secs(300);
/// Doublings after which the bound has long been reached; keeps the shift in range.
const BACKOFF_MAX_DOUBLINGS: u32 = 20;
/// The longest wait that a `Retry-After` may ask for.
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(15 * 60);

/// The settle delay that the ask times below are given for.
const SETTLE_DELAY_STANDARD_S: u32 = 300;
/// Asks after the end of the last call, in seconds, for the standard settle delay.
const ASK_OFFSETS_S: [u32; 8] = [0, 60, 310, 380, 1_800, 7_200, 21_600, 86_400];
/// How many asks `run` waits for: the first four.
pub const EARLY_ASKS: u32 = 4;
/// How many failed asks in a row `run` waits for: half an hour without a list that can be read.
pub const EARLY_FAILURES: u32 = 6;
/// How many clean starts of one job `run` waits for: each comes after two absences, and none of
/// those before it was answered.
pub const EARLY_CLEAN_STARTS: u32 = 3;
/// Two absences must be at least this far apart.
const ABSENCE_GAP_S: u32 = 60;
/// The ask after a first absence comes this much later.
const SECOND_ABSENCE_S: u32 = 70;
/// A failed ask is repeated after this, doubling to [`FAILED_ASK_MAX_S`].
const FAILED_ASK_S: u32 = 60;
/// Longest wait between failed asks.
const FAILED_ASK_MAX_S: u32 = 1_800;
/// With a person needed, the list is still asked once a day.
const DAILY_ASK_S: u32 = 86_400;

/// The wait before the next attempt: full jitter between zero and `base` doubled for each attempt
/// made, at most [`BACKOFF_MAX`]; never less than what the bank asked for.
#[must_use]
pub fn backoff(
    base: Duration,
    key: &IdempotencyKey,
    attempts_made: u32,
    retry_after: Option<Duration>,
) -> Duration {
    let doublings = attempts_made.saturating_sub(1).min(BACKOFF_MAX_DOUBLINGS);
    let bound = base.saturating_mul(1 << doublings).min(BACKOFF_MAX);
    let digest = Digest::of_fields(&[
        "tanda.jitter.v1",
        &key.to_string(),
        &attempts_made.to_string(),
    ]);
    let bound_millis = u64::try_from(bound.as_millis()).unwrap_or(u64::MAX);
    let jittered = Duration::from_millis(digest.first_u64() % bound_millis.saturating_add(1));
    jittered.max(retry_after.unwrap_or_default().min(RETRY_AFTER_MAX))
}

/// The ask times of one settle delay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AskTimes {
    settle_delay: Duration,
}

impl AskTimes {
    /// The times for this settle delay: the delay after which the bank's list is believed complete.
    #[must_use]
    pub const fn new(settle_delay: Duration) -> Self {
        Self { settle_delay }
    }

    /// An absence may count from this long after the end of the last call.
    #[must_use]
    pub const fn settle_delay(&self) -> Duration {
        self.settle_delay
    }

    /// When the ask of this index (from 0) is due, counted from the end of the last call; `None` where the
    /// table ends and a person is needed.
    #[must_use]
    pub fn offset(&self, index: u32) -> Option<Duration> {
        let index = usize::try_from(index).ok()?;
        ASK_OFFSETS_S
            .get(index)
            .map(|&seconds| self.scaled(seconds))
    }

    /// Two absences must be at least this far apart.
    #[must_use]
    pub fn absence_gap(&self) -> Duration {
        self.scaled(ABSENCE_GAP_S)
    }

    /// The ask after a first absence comes this much later.
    #[must_use]
    pub fn second_absence(&self) -> Duration {
        self.scaled(SECOND_ABSENCE_S)
    }

    /// The wait after this many failed asks in a row (from 1).
    #[must_use]
    pub fn after_failures(&self, failures: u32) -> Duration {
        let doublings = failures.saturating_sub(1).min(BACKOFF_MAX_DOUBLINGS);
        self.scaled(
            FAILED_ASK_S
                .saturating_mul(1 << doublings)
                .min(FAILED_ASK_MAX_S),
        )
    }

    /// The wait between asks when a person is needed.
    #[must_use]
    pub fn daily(&self) -> Duration {
        self.scaled(DAILY_ASK_S)
    }

    fn scaled(&self, seconds: u32) -> Duration {
        self.settle_delay.saturating_mul(seconds) / SETTLE_DELAY_STANDARD_S
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::job::EntityId;
    use super::super::key::{Generation, Namespace};
    use super::*;

    fn key(entity_id: &str) -> IdempotencyKey {
        let entity_id = EntityId::parse(entity_id).expect("an entity_id");
        IdempotencyKey::derive(&Namespace::default(), &entity_id, Generation::FIRST)
    }

    #[test]
    fn ask_times_are_those_of_the_design_and_shrink_together() {
        let standard = AskTimes::new(Duration::from_secs(300));
        let offsets: Vec<_> = (0..9)
            .map_while(|n| standard.offset(n))
            .map(|d| d.as_secs())
            .collect();
        assert_eq!(offsets, [0, 60, 310, 380, 1_800, 7_200, 21_600, 86_400]);
        assert_eq!(standard.offset(8), None);
        assert_eq!(standard.after_failures(1), Duration::from_secs(60));
        assert_eq!(standard.after_failures(99), Duration::from_secs(1_800));
        let short = AskTimes::new(Duration::from_secs(3));
        assert_eq!(short.offset(2), Some(Duration::from_millis(3_100)));
        assert_eq!(short.absence_gap(), Duration::from_millis(600));
    }

    #[test]
    fn the_bank_may_ask_for_a_longer_wait_but_not_for_ever() {
        let asked = backoff(BACKOFF_BASE, &key("a"), 1, Some(Duration::from_secs(7)));
        assert_eq!(asked, Duration::from_secs(7));
        let absurd = backoff(
            BACKOFF_BASE,
            &key("a"),
            1,
            Some(Duration::from_secs(999_999)),
        );
        assert_eq!(absurd, RETRY_AFTER_MAX);
    }

    proptest! {
        #[test]
        fn backoff_is_repeatable_and_within_its_bound(entity in "[a-z]{1,12}", attempts in 1_u32..200) {
            let key = key(&entity);
            let wait = backoff(BACKOFF_BASE, &key, attempts, None);
            let doublings = attempts.saturating_sub(1).min(9);
            prop_assert!(wait <= (BACKOFF_BASE * (1 << doublings)).min(BACKOFF_MAX));
            prop_assert_eq!(wait, backoff(BACKOFF_BASE, &key, attempts, None));
        }

        /// Whatever the settings and the bank say, a wait has its bound.
        #[test]
        fn no_backoff_is_longer_than_its_bound(
            base_ms in any::<u64>(),
            attempts in any::<u32>(),
            asked_ms in prop::option::of(any::<u64>()),
        ) {
            let key = key("a");
            let base = Duration::from_millis(base_ms);
            let asked = asked_ms.map(Duration::from_millis);
            let wait = backoff(base, &key, attempts, asked);
            let asked = asked.unwrap_or_default().min(RETRY_AFTER_MAX);
            prop_assert!(wait <= BACKOFF_MAX.max(asked));
            prop_assert!(wait >= asked);
            if attempts <= 1 {
                prop_assert!(wait <= base.min(BACKOFF_MAX).max(asked));
            }
        }
    }
}
