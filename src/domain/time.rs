//! Points in time as values: [`Timestamp`] for what is written down, [`Moment`] for measuring ages.
//!
//! *What it promises.* An age is never understated by a wall clock that jumped back
//! (`Moment::since` takes the larger of monotonic and wall time) nor a wait called over by one that
//! jumped forward (`Moment::surely_since` takes monotonic time alone), and a deadline is never missed
//! because only one of two clocks is slow (`Moment::is_after` takes the later of ours and the bank's).
//!
//! *What it refuses to know.* What time it is.

use std::fmt;
use std::time::Duration;

/// A point in time: UTC, milliseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// From milliseconds since the Unix epoch.
    #[must_use]
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Milliseconds since the Unix epoch.
    #[must_use]
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// Reads an RFC 3339 date and time; an offset is required. `None` where it is not one.
    #[must_use]
    pub fn parse_rfc3339(text: &str) -> Option<Self> {
        if !has_shape_of_rfc3339(text) {
            return None;
        }
        text.parse::<jiff::Timestamp>()
            .ok()
            .map(|at| Self(at.as_millisecond()))
    }

    /// For people: `2026-11-30 23:59:59 UTC`.
    #[must_use]
    pub fn to_the_second(self) -> String {
        match jiff::Timestamp::from_millisecond(self.0) {
            Ok(at) => format!("{at:.0}").replace('T', " ").replace('Z', " UTC"),
            Err(_) => self.to_string(),
        }
    }

    /// This point in time moved later.
    #[must_use]
    pub fn plus(self, by: Duration) -> Self {
        Self(self.0.saturating_add(millis_of(by)))
    }

    /// This point in time moved earlier.
    #[must_use]
    pub fn minus(self, by: Duration) -> Self {
        Self(self.0.saturating_sub(millis_of(by)))
    }

    /// How long after `earlier` this is; zero where it is not.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        let millis = self.0.saturating_sub(earlier.0);
        Duration::from_millis(u64::try_from(millis).unwrap_or(0))
    }
}

/// Whether a text is written as RFC 3339, section 5.6, has it: jiff reads other ways too. Which numbers
/// make a date is jiff's.
fn has_shape_of_rfc3339(text: &str) -> bool {
    let fits = |text: &str, shape: &str| {
        let is_so = |(found, wanted): (u8, u8)| match wanted {
            b'0' => found.is_ascii_digit(),
            _ => found.eq_ignore_ascii_case(&wanted),
        };
        text.len() == shape.len() && text.bytes().zip(shape.bytes()).all(is_so)
    };
    let Some((date_and_time, rest)) = text.split_at_checked(19) else {
        return false;
    };
    let offset = match rest.strip_prefix('.') {
        None => rest,
        Some(fraction) => match fraction.find(|c: char| !c.is_ascii_digit()) {
            None | Some(0) => return false,
            Some(end) => fraction.get(end..).unwrap_or_default(),
        },
    };
    fits(date_and_time, "0000-00-00T00:00:00")
        && ["Z", "+00:00", "-00:00"]
            .iter()
            .any(|shape| fits(offset, shape))
}

fn millis_of(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// RFC 3339 in UTC with milliseconds, as every message and file of `tanda` writes it.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_millisecond(self.0) {
            Ok(at) => write!(f, "{at:.3}"),
            Err(_) => write!(f, "{} ms", self.0),
        }
    }
}

/// One reading of all three clocks at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Moment {
    /// Monotonic time since some start of this process.
    pub mono: Duration,
    /// Our wall clock.
    pub wall: Timestamp,
    /// The bank's clock: its last `Date` plus monotonic time since; our wall clock before the
    /// bank was first heard.
    pub bank: Timestamp,
}

impl Moment {
    /// The age of `earlier`, for what must not be older: the larger of monotonic and wall time, so
    /// that neither a suspended machine nor a clock set back makes it look younger.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        self.mono
            .saturating_sub(earlier.mono)
            .max(self.wall.since(earlier.wall))
    }

    /// The time that has surely passed since `earlier`, for what must not be younger: monotonic time
    /// alone, which a wall clock set forward cannot stretch.
    #[must_use]
    pub const fn surely_since(self, earlier: Self) -> Duration {
        self.mono.saturating_sub(earlier.mono)
    }

    /// This moment moved later on every clock.
    #[must_use]
    pub fn plus(self, by: Duration) -> Self {
        Self {
            mono: self.mono.saturating_add(by),
            wall: self.wall.plus(by),
            bank: self.bank.plus(by),
        }
    }

    /// Whether our clock or the bank's, whichever is later, is past this deadline.
    #[must_use]
    pub fn is_after(self, deadline: Timestamp) -> bool {
        self.wall.max(self.bank) > deadline
    }

    /// How long from this moment until `later`, by the monotonic clock, which timers follow.
    #[must_use]
    pub fn until(self, later: Self) -> Duration {
        later.mono.saturating_sub(self.mono)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timestamp_reads_what_it_writes() {
        let text = "2026-11-30T23:59:59.000-05:00";
        let at = Timestamp::parse_rfc3339(text).expect("an RFC 3339 time");
        assert_eq!(at.to_string(), "2026-12-01T04:59:59.000Z");
        assert_eq!(Timestamp::parse_rfc3339(&at.to_string()), Some(at));
        assert_eq!(at.to_the_second(), "2026-12-01 04:59:59 UTC");
    }

    #[test]
    fn a_time_may_have_small_letters_a_fraction_and_any_offset() {
        for text in [
            "2026-12-01T04:59:59.5Z",
            "2026-12-01t04:59:59.500000000z",
            "2026-11-30T23:59:59.5-05:00",
            "2026-12-01T10:29:59.5+05:30",
        ] {
            let at = Timestamp::parse_rfc3339(text).expect(text);
            assert_eq!(at.to_string(), "2026-12-01T04:59:59.500Z", "{text}");
        }
    }

    #[test]
    fn what_is_not_rfc_3339_is_not_a_time() {
        for text in [
            "",
            "2026-11-30",
            "2026-11-30 23:59:59Z",
            "2026-11-30T23:59:59",
            "2026-11-30T23:59-05:00",
            "2026-11-30T23:59:59-05",
            "2026-11-30T23:59:59-0500",
            "2026-11-30T23:59:59-05:00:30",
            "2026-11-30T23:59:59,5Z",
            "2026-11-30T23:59:59.Z",
            "2026-11-30T23:59:59.5",
            "2026-11-30T23:59:59Z[America/Bogota]",
            "20261130T235959Z0000",
            "2026-02-30T23:59:59Z",
            "mañana, a las 23:59:59 hora local",
            "mañana",
        ] {
            assert_eq!(Timestamp::parse_rfc3339(text), None, "{text}");
        }
    }

    #[test]
    fn a_wall_clock_set_back_makes_nothing_younger() {
        let start = Moment {
            mono: Duration::from_secs(100),
            wall: Timestamp::from_millis(1_000_000),
            bank: Timestamp::from_millis(1_000_000),
        };
        let set_back = Moment {
            mono: Duration::from_secs(160),
            wall: Timestamp::from_millis(0),
            ..start
        };
        let suspended = Moment {
            wall: Timestamp::from_millis(1_090_000),
            ..start
        };
        assert_eq!(set_back.since(start), Duration::from_secs(60));
        assert_eq!(suspended.since(start), Duration::from_secs(90));
        assert_eq!(suspended.surely_since(start), Duration::ZERO);
    }
}
