//! The breaker: when failures mean that the bank does not answer.
//!
//! *What it promises.* Pure data: it trips at [`FAILURES_IN_A_ROW`], or where most calls of the last
//! minute failed, by monotonic time. Its memory is one small count for each second of that minute.
//!
//! *What it refuses to know.* What a failure is, and what a trip leads to.

use std::collections::VecDeque;

use crate::domain::time::Moment;

/// Failures in a row, of all jobs together: fewer than the calls that run at once, so that an
/// outage is seen within its first round of calls, and more than a hiccup brings.
pub(super) const FAILURES_IN_A_ROW: u32 = 10;
/// How far back calls are counted: long enough to see a bank that answers some, short enough to
/// forget an outage that is over.
const WINDOW_SECONDS: u64 = 60;
/// Fewer calls than this within the window say nothing in hundredths.
const WINDOW_CALLS_MIN: u32 = 20;
/// Failures of a hundred calls within the window: below, more than a third still gets through, and
/// waiting would only make the run longer.
const WINDOW_FAILURES_PERCENT: u64 = 70;

/// What was heard within the last minute.
#[derive(Debug, Default)]
pub(super) struct Breaker {
    in_a_row: u32,
    seconds: VecDeque<Second>,
}

#[derive(Debug)]
struct Second {
    number: u64,
    calls: u32,
    failures: u32,
}

impl Breaker {
    /// The bank answered a job.
    pub(super) fn answered(&mut self, at: Moment) {
        self.in_a_row = 0;
        self.second(at).calls += 1;
    }

    /// A call failed. Whether that is one too many.
    pub(super) fn failed(&mut self, at: Moment) -> bool {
        self.in_a_row = self.in_a_row.saturating_add(1);
        let second = self.second(at);
        second.calls += 1;
        second.failures += 1;
        self.in_a_row >= FAILURES_IN_A_ROW || self.most_failed()
    }

    /// What came before a pause says nothing about what comes after it.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    fn second(&mut self, at: Moment) -> &mut Second {
        let now = at.mono.as_secs();
        while let Some(first) = self.seconds.front()
            && first.number + WINDOW_SECONDS <= now
        {
            self.seconds.pop_front();
        }
        if self.seconds.back().is_none_or(|last| last.number < now) {
            self.seconds.push_back(Second {
                number: now,
                calls: 0,
                failures: 0,
            });
        }
        self.seconds.back_mut().expect("one was just put there")
    }

    fn most_failed(&self) -> bool {
        let sum = |count: fn(&Second) -> u32| -> u64 {
            self.seconds
                .iter()
                .map(|second| u64::from(count(second)))
                .sum()
        };
        let (calls, failures) = (sum(|second| second.calls), sum(|second| second.failures));
        calls >= u64::from(WINDOW_CALLS_MIN)
            && failures.saturating_mul(100) >= calls.saturating_mul(WINDOW_FAILURES_PERCENT)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::domain::time::Timestamp;

    fn at(millis: u64) -> Moment {
        let zero = Timestamp::from_millis(0);
        Moment {
            mono: Duration::ZERO,
            wall: zero,
            bank: zero,
        }
        .plus(Duration::from_millis(millis))
    }

    #[test]
    fn ten_failures_in_a_row_trip_and_an_answer_breaks_the_row() {
        let mut breaker = Breaker::default();
        for _ in 0..9 {
            assert!(!breaker.failed(at(0)));
        }
        breaker.answered(at(0));
        for _ in 0..8 {
            assert!(!breaker.failed(at(0)));
        }
        breaker.clear();
        for _ in 0..9 {
            assert!(!breaker.failed(at(0)));
        }
        assert!(breaker.failed(at(0)));
    }

    /// Three of four fail: never ten in a row.
    #[test]
    fn seventy_percent_of_at_least_twenty_within_a_minute_trip() {
        let trips_at = |every_ms: u64, of: u64, answered: u64| {
            let mut breaker = Breaker::default();
            (0..200).find(|n| {
                let at = at(n * every_ms);
                if n % of < answered {
                    breaker.answered(at);
                    return false;
                }
                breaker.failed(at)
            })
        };
        assert_eq!(trips_at(100, 4, 1), Some(19), "15 of 20");
        assert_eq!(trips_at(100, 10, 3), Some(19), "14 of 20, which is 70 %");
        assert_eq!(trips_at(100, 3, 1), None, "two thirds are not enough");
        assert_eq!(trips_at(2_900, 4, 1), Some(19), "20 within a minute");
        assert_eq!(trips_at(3_300, 4, 1), None, "never 20 within a minute");
    }

    #[test]
    fn i11_the_window_keeps_a_minute_and_no_more() {
        let mut breaker = Breaker::default();
        for n in 0..10_000 {
            breaker.answered(at(n * 37));
        }
        assert!(breaker.seconds.len() <= 60, "{}", breaker.seconds.len());
        let calls: u32 = breaker.seconds.iter().map(|second| second.calls).sum();
        assert!((1_590..=1_622).contains(&calls), "{calls}");
    }
}
