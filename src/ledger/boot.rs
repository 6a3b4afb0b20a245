//! How long the machine has been up: a count of time that nobody sets and that sleep does not stop.
//!
//! *What it promises.* The time between two counts is never overstated on one machine, whatever its wall clock
//! was set to meanwhile: across a start of the machine it is what has passed since that start.
//!
//! *What it refuses to know.* What the time is.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Where Linux names the present start of the machine.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// One count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Boot {
    /// The name of the start that it counts from.
    id: String,
    up: Duration,
}

impl Boot {
    /// The count now; none where the system does not name its starts.
    pub(super) fn now() -> Option<Self> {
        let id = std::fs::read_to_string(BOOT_ID).ok()?.trim().to_owned();
        let up = clock_gettime(ClockId::Boottime);
        let up = Duration::new(up.tv_sec.try_into().ok()?, up.tv_nsec.try_into().ok()?);
        (!id.is_empty()).then_some(Self { id, up })
    }

    /// As a line.
    pub(super) fn line(&self) -> String {
        // As long whatever the count: a line replaces the one before it.
        format!("{} {:020}\n", self.id, self.up.as_millis())
    }

    /// Reads the line; none where it is none.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (id, millis) = text.strip_suffix('\n')?.split_once(' ')?;
        let up = Duration::from_millis(millis.parse().ok()?);
        let id = id.to_owned();
        Some(Self { id, up })
    }

    /// The time that has surely passed since an earlier count on this machine.
    pub(super) fn surely_since(&self, earlier: &Self) -> Duration {
        if self.id == earlier.id {
            self.up.saturating_sub(earlier.up)
        } else {
            self.up
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn boot(id: &str, seconds: u64) -> Boot {
        Boot {
            id: id.to_owned(),
            up: Duration::from_secs(seconds),
        }
    }

    #[test]
    fn what_has_surely_passed_is_counted_within_a_start_or_from_the_next() {
        let since = |now: Boot, earlier: Boot| now.surely_since(&earlier).as_secs();
        assert_eq!(since(boot("a", 90), boot("a", 60)), 30);
        assert_eq!(since(boot("b", 5), boot("a", 60)), 5);
        assert_eq!(since(boot("a", 60), boot("a", 90)), 0);
    }

    #[test]
    fn a_count_reads_back_and_anything_else_is_none() {
        let count = boot("089c93a8", 61);
        assert_eq!(Boot::parse(&count.line()), Some(count));
        for text in ["", "a 1", "a\n", "a b\n", "1\n"] {
            assert_eq!(Boot::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn this_machine_counts() {
        let (one, other) = (Boot::now().expect("Linux"), Boot::now().expect("Linux"));
        assert!(other.surely_since(&one) < Duration::from_secs(60));
    }
}
