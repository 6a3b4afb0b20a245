//! `Retry-After` and `Date`, [`tanda::bank::retry_after`].
//!
//! A wait is never longer than its bound, seconds are read as seconds however many digits they have,
//! and a date in one of the three forms is the second that the calendar says. Text that is neither
//! asks for no wait.

use std::time::Duration;

use tanda::bank::retry_after::{http_date, wait};
use tanda::domain::schedule::RETRY_AFTER_MAX;
use tanda::domain::time::Timestamp;

use super::Target;
use super::calendar::http_seconds;

pub(super) const TARGET: Target = Target {
    name: "http_times",
    body,
    cases: 20_000,
    words: &[
        "Sun, ",
        "Sunday, ",
        "Sun ",
        "06 Nov 1994",
        "06-Nov-94",
        "Nov  6",
        "08:49:37",
        " GMT",
        " 1994",
        "29 Feb 2024",
        "31 Dec 9999",
        "23:59:60",
        "UTC",
        "120",
        "99999999999999999999",
        "+",
    ],
};

/// Sunday, 6 November 1994, 08:49:37: the example of RFC 9110.
const ANSWERED_AT: i64 = 784_111_777;

fn body(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let answered_at = Timestamp::from_millis(ANSWERED_AT * 1_000);
    let date = http_date(text);
    let told = wait(text, answered_at);
    let trimmed = text.trim();
    if let Some(seconds) = http_seconds(trimmed).filter(|seconds| *seconds >= 0) {
        assert_eq!(date, Some(Timestamp::from_millis(seconds * 1_000)));
    }
    let expected = if !trimmed.is_empty() && trimmed.bytes().all(|byte| byte.is_ascii_digit()) {
        let seconds = trimmed.parse::<u128>().unwrap_or(u128::MAX).min(900);
        Some(Duration::from_secs(
            u64::try_from(seconds).expect("at most 900"),
        ))
    } else {
        date.map(|date| date.since(answered_at).min(RETRY_AFTER_MAX))
    };
    assert_eq!(told, expected);
    assert!(told.is_none_or(|wait| wait <= RETRY_AFTER_MAX));
    if let Some(date) = date {
        assert!(
            trimmed.len() < 40 && trimmed.is_ascii(),
            "{trimmed:?} is a date"
        );
        let shown = date.to_string();
        assert!(shown.starts_with(|c: char| c.is_ascii_digit()), "{shown}");
    }
}
