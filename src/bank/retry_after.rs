//! HTTP's way of telling time: `Date` and `Retry-After`.
//!
//! *What it promises.* A wait is never negative and never longer than
//! [`RETRY_AFTER_MAX`]; what cannot be read is no wait at all, so that our own backoff applies.
//!
//! *What it refuses to know.* Who waits.

use std::time::{Duration, UNIX_EPOCH};

use crate::domain::schedule::RETRY_AFTER_MAX;
use crate::domain::time::Timestamp;

/// An HTTP date in any of its three forms (RFC 9110, section 5.6.7).
#[must_use]
pub fn http_date(value: &str) -> Option<Timestamp> {
    let at = httpdate::parse_http_date(value.trim()).ok()?;
    let since_epoch = at.duration_since(UNIX_EPOCH).ok()?;
    Some(Timestamp::from_millis(
        i64::try_from(since_epoch.as_millis()).ok()?,
    ))
}

/// How long a `Retry-After` asks us to wait (RFC 9110, section 10.2.3). A date is counted from
/// `answered_at`: the answer's own `Date`, or else our clock.
#[must_use]
pub fn wait(value: &str, answered_at: Timestamp) -> Option<Duration> {
    let value = value.trim();
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        // Digits that do not fit are an absurdly long wait, not an unreadable one.
        let seconds = value.parse().unwrap_or(u64::MAX);
        return Some(Duration::from_secs(seconds).min(RETRY_AFTER_MAX));
    }
    let until = http_date(value)?;
    Some(until.since(answered_at).min(RETRY_AFTER_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_seconds_or_one_of_three_dates_and_bounded() {
        let answered_at = http_date("Sun, 06 Nov 1994 08:49:00 GMT").expect("a date");
        let seconds = |n| Some(Duration::from_secs(n));
        for (value, expected) in [
            ("0", seconds(0)),
            ("7", seconds(7)),
            (" 120 ", seconds(120)),
            ("900", seconds(900)),
            ("901", seconds(900)),
            ("99999999999999999999999999", seconds(900)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", seconds(37)),
            ("Sunday, 06-Nov-94 08:49:37 GMT", seconds(37)),
            ("Sun Nov  6 08:49:37 1994", seconds(37)),
            ("Sun, 06 Nov 1994 08:48:00 GMT", seconds(0)),
            ("Tue, 24 Nov 2026 08:00:00 GMT", seconds(900)),
            ("", None),
            ("-1", None),
            ("+5", None),
            ("1.5", None),
            ("soon", None),
            ("\u{661}", None),
            ("2026-11-24T08:00:00Z", None),
        ] {
            assert_eq!(wait(value, answered_at), expected, "{value:?}");
        }
    }
}
