//! Amounts as people type them.
//!
//! *What this is.* People group thousands and write decimals with dots and commas, in either order,
//! and readers in the wild turn `50.000` into 50. So a text is first read for what it proves:
//! nothing (digits alone), which sign stands before its decimals, or that it can be read in two
//! ways, which its file or a person must settle ([`Notation`](super::notation::Notation)).
//!
//! *What it promises.* Grouping is by threes with one sign, decimals follow the other sign and are
//! at most those of the currency. A sign proves something where the other stands beside it, where
//! it is there twice, or where not exactly three digits follow it. Integers only; nothing is
//! rounded. Everything else (signs, exponents, blanks inside) is refused with what to write.
//!
//! *What it refuses to know.* Other amounts of the file.

use crate::domain::money::{Currency, MAX_AMOUNT_MINOR, major_units};

/// The sign before the decimals of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decimal {
    /// `1,234,567.50`
    Dot,
    /// `1.234.567,50`
    Comma,
}

impl Decimal {
    /// As flags and JSON have it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Dot => "dot",
            Self::Comma => "comma",
        }
    }

    /// The sign itself.
    #[must_use]
    pub const fn sign(self) -> char {
        match self {
            Self::Dot => '.',
            Self::Comma => ',',
        }
    }

    const fn other(self) -> Self {
        match self {
            Self::Dot => Self::Comma,
            Self::Comma => Self::Dot,
        }
    }
}

/// Why a text is not an amount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct BadAmount {
    pub(super) code: &'static str,
    pub(super) message: String,
}

pub(super) fn bad<T>(code: &'static str, message: impl Into<String>) -> Result<T, BadAmount> {
    Err(BadAmount {
        code,
        message: message.into(),
    })
}

/// Minor units, however many; none where they are more than can be counted.
pub(super) type Minor = Option<i128>;

/// What a text says by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Major {
    /// The same whichever sign is the decimal one.
    Plain(Minor),
    /// It can only be read with this decimal sign.
    Proven(Decimal, Minor),
    /// One sign and three digits after it: thousands, or three decimals. Each where it can be
    /// read so; one of them at least.
    Unproven {
        dot: Option<Minor>,
        comma: Option<Minor>,
    },
}

/// Reads major units, as the column `amount` has them.
pub(super) fn read_major(text: &str, digits: u32) -> Result<Major, BadAmount> {
    let only = |c: char| c.is_ascii_digit() || matches!(c, '.' | ',');
    if !text.starts_with(|c: char| c.is_ascii_digit()) || !text.chars().all(only) {
        return Err(not_an_amount(text, digits));
    }
    if text.starts_with('0') && text.as_bytes().get(1).is_some_and(u8::is_ascii_digit) {
        let message = "begins with zeros, as amounts in cents without a dot do; write it without";
        return bad("amount_format", message);
    }
    let Some(last) = text.rfind(['.', ',']) else {
        return Ok(Major::Plain(minor_units(text, "", digits)));
    };
    let (before, after) = text.split_at_checked(last).unwrap_or((text, ""));
    let (sign, after) = match after.strip_prefix('.') {
        Some(after) => (Decimal::Dot, after),
        None => (Decimal::Comma, after.get(1..).unwrap_or_default()),
    };
    let proven = match before.rfind(['.', ',']) {
        Some(_) if before.contains(sign.sign()) => Some(sign.other()),
        Some(_) => Some(sign),
        None if after.len() != 3 => Some(sign),
        None => None,
    };
    if let Some(decimal) = proven {
        return read_as(text, decimal, digits)
            .map(|minor| Major::Proven(decimal, minor))
            .ok_or_else(|| ill_formed(text, decimal, digits));
    }
    let [dot, comma] = [Decimal::Dot, Decimal::Comma].map(|decimal| read_as(text, decimal, digits));
    if dot.is_none() && comma.is_none() {
        return Err(ill_formed(text, sign, digits));
    }
    Ok(Major::Unproven { dot, comma })
}

/// Reads with this decimal sign; none where the text breaks that notation.
fn read_as(text: &str, decimal: Decimal, digits: u32) -> Option<Minor> {
    let (whole, fraction) = match text.split_once(decimal.sign()) {
        None => (text, ""),
        Some((whole, fraction)) => {
            let length = u32::try_from(fraction.len()).ok()?;
            (is_digits(fraction) && length <= digits).then_some((whole, fraction))?
        }
    };
    let grouping = decimal.other().sign();
    let mut groups = whole.split(grouping);
    let first = groups.next().filter(|first| is_digits(first))?;
    let mut digits_of = first.to_owned();
    let is_grouped = whole.len() > first.len();
    if is_grouped && (first.len() > 3 || first.starts_with('0')) {
        return None;
    }
    for group in groups {
        if group.len() != 3 || !is_digits(group) {
            return None;
        }
        digits_of.push_str(group);
    }
    Some(minor_units(&digits_of, fraction, digits))
}

/// Digits of whole units and of at most `digits` decimals, as minor units.
fn minor_units(whole: &str, fraction: &str, digits: u32) -> Minor {
    let number = |text: &str| match text {
        "" => Some(0),
        text => text.parse::<i128>().ok(),
    };
    let missing = digits.checked_sub(u32::try_from(fraction.len()).ok()?)?;
    let fraction = number(fraction)?.checked_mul(10_i128.checked_pow(missing)?)?;
    number(whole)?
        .checked_mul(10_i128.checked_pow(digits)?)?
        .checked_add(fraction)
}

/// Reads minor units, as the column `amount_minor` has them.
pub(super) fn read_minor(text: &str) -> Result<Minor, BadAmount> {
    if text.is_empty() {
        return bad("amount_missing", "is empty");
    }
    if !is_digits(text) {
        let message = "is not a whole number of minor units (cents): digits only, such as 5000000";
        return bad("amount_format", message);
    }
    Ok(text.parse().ok())
}

/// Minor units that one job can move.
pub(super) fn in_range(minor: Minor) -> Result<i64, BadAmount> {
    match minor.map(i64::try_from) {
        Some(Ok(0)) => bad("amount_range", "is zero; there is nothing to move"),
        Some(Ok(minor)) if minor <= MAX_AMOUNT_MINOR => Ok(minor),
        Some(Ok(_) | Err(_)) | None => bad("amount_range", "is more than 2^53 - 1 minor units"),
    }
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Currencies whose sign people write as `$`.
const DOLLAR_SIGNED: [&str; 7] = ["ARS", "CLP", "COP", "DOP", "MXN", "USD", "UYU"];

/// The amount without the marks of its currency, which must be that of the row: at either end, the
/// code once and `$` once.
pub(super) fn without_marks(text: &str, currency: Currency) -> Result<&str, BadAmount> {
    let mut rest = text;
    let (mut sign_seen, mut code_seen) = (false, false);
    loop {
        let unmarked = rest.strip_prefix('$').or_else(|| rest.strip_suffix('$'));
        if let Some(unmarked) = unmarked.filter(|_| !sign_seen) {
            if !DOLLAR_SIGNED.contains(&currency.as_str()) {
                return other_currency("$", currency);
            }
            sign_seen = true;
            rest = without_blanks(unmarked);
            continue;
        }
        let Some((code, unmarked)) = strip_code(rest).filter(|_| !code_seen) else {
            return Ok(rest);
        };
        if code != currency {
            return other_currency(code.as_str(), currency);
        }
        code_seen = true;
        rest = without_blanks(unmarked);
    }
}

/// A currency code at either end, and what is left.
fn strip_code(text: &str) -> Option<(Currency, &str)> {
    let first = text
        .split_at_checked(3)
        .filter(|(_, rest)| !rest.starts_with(char::is_alphabetic))
        .and_then(|(code, rest)| Some((Currency::parse(code)?, rest)));
    first.or_else(|| {
        let (rest, code) = text.split_at_checked(text.len().checked_sub(3)?)?;
        let currency = Currency::parse(code).filter(|_| !rest.ends_with(char::is_alphabetic))?;
        Some((currency, rest))
    })
}

/// What stands between a mark and its number; a tab or a line break does not.
fn without_blanks(text: &str) -> &str {
    text.trim_matches(|c: char| c.is_whitespace() && !c.is_control())
}

fn other_currency<T>(mark: &str, currency: Currency) -> Result<T, BadAmount> {
    let message = format!("is marked {mark} where the column currency says {currency}");
    bad("amount_currency", message)
}

/// Whole major units with the currency's decimals.
pub(super) fn example(whole: &str, digits: u32) -> String {
    whole
        .parse::<i128>()
        .ok()
        .and_then(|whole| whole.checked_mul(10_i128.checked_pow(digits)?))
        .map_or_else(|| whole.to_owned(), |minor| major_units(minor, digits))
}

/// Digits and signs that fit no notation; `decimal` is the sign before what could be decimals.
fn ill_formed(text: &str, decimal: Decimal, digits: u32) -> BadAmount {
    let like = example("50000", digits);
    let decimals = text.rsplit_once(decimal.sign()).map(|(_, rest)| rest);
    let message = match decimals {
        Some(rest) if is_digits(rest) && digits == 0 => {
            "has decimals, which this currency does not".to_owned()
        }
        Some(rest) if is_digits(rest) && u32::try_from(rest.len()).is_ok_and(|n| n > digits) => {
            format!(
                "has {} decimals where this currency has {digits}; write it like {like}",
                rest.len()
            )
        }
        Some(_) | None => format!(
            "is not an amount: thousands stand in groups of three, with one sign between them and \
             another before the decimals; write it like {like}"
        ),
    };
    BadAmount {
        code: "amount_format",
        message,
    }
}

/// Says what a text has that an amount may not have, by the first thing that explains it.
fn not_an_amount(text: &str, digits: u32) -> BadAmount {
    let like = example("50000", digits);
    let bad = |code, message: String| BadAmount { code, message };
    let digits_and_signs = |c: char| c.is_ascii_digit() || matches!(c, '.' | ',' | '\'' | '’');
    if text.is_empty() {
        bad("amount_missing", "is empty".to_owned())
    } else if text.starts_with(['-', '+', '\u{2212}', '(']) {
        let message = "has a sign; an amount has none, and the column operation says topup or \
                       withdrawal";
        bad("amount_format", message.to_owned())
    } else if text.chars().all(digits_and_signs) && text.contains(['\'', '’']) {
        let message = format!(
            "has apostrophes between thousands; write it like {like}, or with dots or commas"
        );
        bad("amount_grouping", message)
    } else if text.contains(char::is_whitespace) {
        let message = format!("has a blank in it; write it like {like}, or with dots or commas");
        bad("amount_format", message)
    } else if text.starts_with(|c: char| c.is_ascii_digit()) && text.contains(['e', 'E']) {
        let message =
            format!("is in scientific form, in which a sheet loses digits; write it like {like}");
        bad("amount_format", message)
    } else if text.chars().any(|c| c.is_numeric() && !c.is_ascii_digit()) {
        let message = format!("has digits other than 0 to 9; write it like {like}");
        bad("amount_format", message)
    } else {
        bad("amount_format", format!("is not an amount like {like}"))
    }
}

#[cfg(test)]
#[path = "amount_tests.rs"]
mod tests;
