//! Dates as HTTP writes them, in all three forms (RFC 9110 section 5.6.7).
//!
//! *What it promises.* Pure and whole seconds, rounded down; any time outside the years 1970 to
//! 9999 is shown as the nearest one inside.
//!
//! *What it refuses to know.* How dates are read: that is the client's side.

use crate::domain::time::Timestamp;

/// Days of the week from 1 January 1970 on, which was a Thursday.
const DAYS: [&str; 7] = [
    "Thursday",
    "Friday",
    "Saturday",
    "Sunday",
    "Monday",
    "Tuesday",
    "Wednesday",
];
const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];
/// 9999-12-31T23:59:59Z in seconds, the last second with a year of four digits.
const LAST_SECOND: i64 = 253_402_300_799;
const DAY_SECONDS: i64 = 86_400;

/// The forms of an HTTP date.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// `Sun, 06 Nov 1994 08:49:37 GMT`
    ImfFixdate,
    /// `Sunday, 06-Nov-94 08:49:37 GMT`
    Rfc850,
    /// `Sun Nov  6 08:49:37 1994`
    Asctime,
}

/// This time as an HTTP date.
pub(super) fn http_date(at: Timestamp, form: Form) -> String {
    let seconds = at.as_millis().div_euclid(1000).clamp(0, LAST_SECOND);
    let (days, rest) = (
        seconds.div_euclid(DAY_SECONDS),
        seconds.rem_euclid(DAY_SECONDS),
    );
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    let name = pick(&DAYS, days.rem_euclid(7));
    let short = name.get(..3).unwrap_or(name);
    let month = pick(&MONTHS, month - 1);
    match form {
        Form::ImfFixdate => {
            format!("{short}, {day:02} {month} {year:04} {hour:02}:{minute:02}:{second:02} GMT")
        }
        Form::Rfc850 => {
            let year = year % 100;
            format!("{name}, {day:02}-{month}-{year:02} {hour:02}:{minute:02}:{second:02} GMT")
        }
        Form::Asctime => {
            format!("{short} {month} {day:2} {hour:02}:{minute:02}:{second:02} {year:04}")
        }
    }
}

fn pick(names: &[&'static str], index: i64) -> &'static str {
    usize::try_from(index)
        .ok()
        .and_then(|index| names.get(index).copied())
        .expect("the remainder of a division by the number of names is an index of them")
}

/// Year, month and day of this many days after 1 January 1970, by counting years from 1 March, so
/// that the leap day is the last of its year.
fn civil(days: i64) -> (i64, i64, i64) {
    // 719,468 days lie between 1 March of year 0 and 1 January 1970; an era is 400 years.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 {
        march_month + 3
    } else {
        march_month - 9
    };
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_three_forms_are_those_of_the_rfc() {
        let at = Timestamp::parse_rfc3339("1994-11-06T08:49:37Z").expect("a time");
        assert_eq!(
            http_date(at, Form::ImfFixdate),
            "Sun, 06 Nov 1994 08:49:37 GMT"
        );
        assert_eq!(
            http_date(at, Form::Rfc850),
            "Sunday, 06-Nov-94 08:49:37 GMT"
        );
        assert_eq!(http_date(at, Form::Asctime), "Sun Nov  6 08:49:37 1994");
    }

    #[test]
    fn every_day_of_four_centuries_is_the_day_of_the_calendar() {
        for day in 0..146_097 {
            let at = Timestamp::from_millis(day * DAY_SECONDS * 1000 + 999);
            let iso = at.to_string();
            let (date, _) = iso.split_once('T').expect("a date and a time");
            let [year, month, day_of_month] = date
                .splitn(3, '-')
                .map(|part| part.parse().expect("a number"))
                .collect::<Vec<usize>>()[..]
            else {
                panic!("{date}");
            };
            let written = http_date(at, Form::ImfFixdate);
            let expected = format!(
                ", {day_of_month:02} {} {year} 00:00:00 GMT",
                MONTHS[month - 1]
            );
            assert!(written.ends_with(&expected), "{written}, {iso}");
        }
    }

    #[test]
    fn a_time_out_of_range_is_still_a_date() {
        for (millis, date) in [
            (i64::MIN, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (i64::MAX, "Fri, 31 Dec 9999 23:59:59 GMT"),
        ] {
            assert_eq!(
                http_date(Timestamp::from_millis(millis), Form::ImfFixdate),
                date
            );
        }
    }
}
