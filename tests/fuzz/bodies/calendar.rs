//! The calendar by arithmetic of its own, and the two ways in which strangers write a time: RFC 3339
//! in jobs and lists, the three forms of RFC 9110 in headers.

const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];
const DAYS: [&str; 7] = [
    "Sunday",
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
];
const DAY_S: i64 = 86_400;

/// A point in time as people write it.
pub(super) struct Civil {
    pub(super) year: i64,
    pub(super) month: i64,
    pub(super) day: i64,
    pub(super) hour: i64,
    pub(super) minute: i64,
    pub(super) second: i64,
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn days_in(year: i64, month: i64) -> i64 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if is_leap(year) => 29,
        2 => 28,
        _ => 31,
    }
}

impl Civil {
    /// Seconds since 1970, where there is such a time; without leap seconds.
    pub(super) fn seconds(&self) -> Option<i64> {
        let fits = (1..=12).contains(&self.month)
            && (1..=days_in(self.year, self.month)).contains(&self.day)
            && (0..24).contains(&self.hour)
            && (0..60).contains(&self.minute)
            && (0..60).contains(&self.second);
        if !fits {
            return None;
        }
        let before =
            |year: i64| year * 365 + (year + 3) / 4 - (year + 99) / 100 + (year + 399) / 400;
        let months: i64 = (1..self.month).map(|month| days_in(self.year, month)).sum();
        let days = before(self.year) - before(1970) + months + self.day - 1;
        Some(days * DAY_S + self.hour * 3_600 + self.minute * 60 + self.second)
    }
}

fn number(text: &str, digits: usize) -> Option<i64> {
    let fits = text.len() == digits && text.bytes().all(|byte| byte.is_ascii_digit());
    fits.then(|| text.parse().expect("a few digits"))
}

/// Hours, minutes and seconds.
fn clock(text: &str) -> Option<(i64, i64, i64)> {
    let mut parts = text.split(':');
    let mut next = || number(parts.next()?, 2);
    let read = (next()?, next()?, next()?);
    parts.next().is_none().then_some(read)
}

/// Milliseconds since 1970 of an RFC 3339 date and time, rounded down; none where it is not one. A leap
/// second is the one before it.
pub(super) fn rfc3339_millis(text: &str) -> Option<i64> {
    let (date, rest) = text.split_at_checked(10)?;
    let mut parts = date.split('-');
    let mut next = |digits| number(parts.next()?, digits);
    let (year, month, day) = (next(4)?, next(2)?, next(2)?);
    if parts.next().is_some() {
        return None;
    }
    let rest = rest.strip_prefix(['T', 't'])?;
    let (time, rest) = rest.split_at_checked(8)?;
    let (hour, minute, second) = clock(time)?;
    let second = if second == 60 { 59 } else { second };
    let (nanos, rest) = match rest.strip_prefix('.') {
        None => (0, rest),
        Some(rest) => {
            let end = rest.find(|c: char| !c.is_ascii_digit())?;
            let (digits, rest) = rest.split_at(end);
            let nine: String = digits.chars().chain("000000000".chars()).take(9).collect();
            (
                if digits.is_empty() {
                    None
                } else {
                    nine.parse::<i64>().ok()
                }?,
                rest,
            )
        }
    };
    let offset = match rest {
        "Z" | "z" => 0,
        _ => {
            let sign = if rest.starts_with('-') { -1 } else { 1 };
            let (hours, minutes) = rest.strip_prefix(['+', '-'])?.split_once(':')?;
            let (hours, minutes) = (number(hours, 2)?, number(minutes, 2)?);
            let fits = hours < 24 && minutes < 60;
            fits.then_some(sign * (hours * 3_600 + minutes * 60))?
        }
    };
    let civil = Civil {
        year,
        month,
        day,
        hour,
        minute,
        second,
    };
    Some((civil.seconds()? - offset) * 1_000 + nanos / 1_000_000)
}

fn month_of(name: &str) -> Option<i64> {
    let at = MONTHS.iter().position(|known| *known == name)?;
    i64::try_from(at + 1).ok()
}

/// Seconds since 1970 of an HTTP date in one of its three forms, on its right day of the week.
pub(super) fn http_seconds(text: &str) -> Option<i64> {
    let (weekday, rest) = text.split_once(' ')?;
    let words: Vec<&str> = rest.split(' ').collect();
    let at = |year, month: &str, day, time| {
        let (hour, minute, second) = clock(time)?;
        let month = month_of(month)?;
        let civil = Civil {
            year,
            month,
            day,
            hour,
            minute,
            second,
        };
        civil.seconds()
    };
    let (seconds, of_three_letters, ending) = match words.as_slice() {
        [day, month, year, time, "GMT"] => (
            at(number(year, 4)?, month, number(day, 2)?, time)?,
            true,
            ",",
        ),
        [date, time, "GMT"] => {
            let parts: Vec<&str> = date.split('-').collect();
            let [day, month, year] = parts.as_slice() else {
                return None;
            };
            let year = number(year, 2)?;
            let year = if year < 70 {
                year + 2_000
            } else {
                year + 1_900
            };
            (at(year, month, number(day, 2)?, time)?, false, ",")
        }
        [month, "", day, time, year] => (
            at(number(year, 4)?, month, number(day, 1)?, time)?,
            true,
            "",
        ),
        [month, day, time, year] => (
            at(number(year, 4)?, month, number(day, 2)?, time)?,
            true,
            "",
        ),
        _ => return None,
    };
    // The first day of 1970 was a Thursday.
    let days = usize::try_from(seconds.div_euclid(DAY_S) + 4).ok()?;
    let name = DAYS.iter().cycle().nth(days % DAYS.len())?;
    let name = if of_three_letters { &name[..3] } else { name };
    (weekday.strip_prefix(name) == Some(ending)).then_some(seconds)
}
