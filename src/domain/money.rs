//! Money: integer minor units with a currency, and totals that close.
//!
//! *What it promises.* An [`Amount`] is positive and exact; [`Totals`] keep each currency and
//! operation apart and cannot overflow.
//!
//! *What it refuses to know.* How people write numbers (that is `files`), and any floating point.

use std::collections::BTreeMap;
use std::fmt;

use super::operation::Operation;

/// The largest amount of one job, in minor units: 2^53 - 1, the largest integer that every JSON
/// reader keeps exact (RFC 8259 section 6).
pub const MAX_AMOUNT_MINOR: i64 = (1 << 53) - 1;

/// An ISO 4217 code: three capital letters.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Currency([u8; 3]);

impl Currency {
    /// Reads three capital ASCII letters; `None` for anything else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let code: [u8; 3] = text.as_bytes().try_into().ok()?;
        code.iter()
            .all(u8::is_ascii_uppercase)
            .then_some(Self(code))
    }

    /// The code.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("a currency holds ASCII letters only")
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A positive amount of minor units.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Amount {
    minor: i64,
    currency: Currency,
}

impl Amount {
    /// An amount of 1 to [`MAX_AMOUNT_MINOR`] minor units; `None` outside.
    #[must_use]
    pub fn new(minor: i64, currency: Currency) -> Option<Self> {
        (1..=MAX_AMOUNT_MINOR)
            .contains(&minor)
            .then_some(Self { minor, currency })
    }

    /// Minor units.
    #[must_use]
    pub const fn minor(&self) -> i64 {
        self.minor
    }

    /// The currency.
    #[must_use]
    pub const fn currency(&self) -> Currency {
        self.currency
    }
}

/// What is known of a currency here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct CurrencyRule {
    minor_digits: u32,
    max_minor: Option<i64>,
}

/// The currencies that jobs may use, with how many minor digits each has at the bank and the most
/// that one job may move, if there is a ceiling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Currencies(BTreeMap<Currency, CurrencyRule>);

impl Currencies {
    /// These currencies, without ceilings; digits above 4 do not exist in ISO 4217.
    #[must_use]
    pub fn new(digits: impl IntoIterator<Item = (Currency, u32)>) -> Self {
        let rule = |minor_digits| CurrencyRule {
            minor_digits,
            max_minor: None,
        };
        let rules = digits.into_iter();
        Self(
            rules
                .map(|(currency, digits)| (currency, rule(digits)))
                .collect(),
        )
    }

    /// The same, with a ceiling for each job in this currency, in minor units. A currency that is
    /// not in use stays so.
    #[must_use]
    pub fn with_ceiling(mut self, currency: Currency, max_minor: i64) -> Self {
        if let Some(rule) = self.0.get_mut(&currency) {
            rule.max_minor = Some(max_minor);
        }
        self
    }

    /// How many minor digits a currency has; `None` where jobs may not use it.
    #[must_use]
    pub fn minor_digits(&self, currency: Currency) -> Option<u32> {
        self.0.get(&currency).map(|rule| rule.minor_digits)
    }

    /// The most that one job may move, in minor units; `None` where there is no ceiling.
    #[must_use]
    pub fn max_minor(&self, currency: Currency) -> Option<i64> {
        self.0.get(&currency).and_then(|rule| rule.max_minor)
    }

    /// The currencies, in order of their code, with their minor digits.
    pub fn iter(&self) -> impl Iterator<Item = (Currency, u32)> + '_ {
        self.0
            .iter()
            .map(|(&currency, rule)| (currency, rule.minor_digits))
    }
}

/// COP with two minor digits: the only currency of card operations in the bank's published SDK,
/// which also documents the amount as int64 cents (10000000 is 100 000,00).
impl Default for Currencies {
    fn default() -> Self {
        Self::new([(Currency(*b"COP"), 2)])
    }
}

/// Minor units written in major units with a dot and no grouping: 5000000 at 2 digits is
/// `50000.00`.
#[must_use]
pub fn major_units(minor: i128, digits: u32) -> String {
    let sign = if minor < 0 { "-" } else { "" };
    let magnitude = minor.unsigned_abs();
    let unit = 10_u128.pow(digits);
    let (whole, rest) = (magnitude / unit, magnitude % unit);
    match usize::try_from(digits) {
        Ok(0) | Err(_) => format!("{sign}{whole}"),
        Ok(width) => format!("{sign}{whole}.{rest:0width$}"),
    }
}

/// Reads what [`major_units`] writes, as people type it back and scripts and settings give it:
/// whole units, or whole units, a dot and exactly the currency's digits. Nothing else: what could
/// be read in two ways is `None`.
#[must_use]
pub fn minor_units(text: &str, digits: u32) -> Option<i128> {
    let (whole, rest) = match text.split_once('.') {
        Some((whole, rest)) if digits > 0 && u32::try_from(rest.len()) == Ok(digits) => {
            (whole, rest)
        }
        Some(_) => return None,
        None => (text, ""),
    };
    let all_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !all_digits(whole) || !all_digits(rest) {
        return None;
    }
    let unit = 10_i128.checked_pow(digits)?;
    let rest = if rest.is_empty() {
        0
    } else {
        rest.parse().ok()?
    };
    whole
        .parse::<i128>()
        .ok()?
        .checked_mul(unit)?
        .checked_add(rest)
}

/// A count and a sum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sum {
    /// How many jobs.
    pub count: u64,
    /// Their minor units; `i128`, so that no file of any length can overflow it.
    pub minor: i128,
}

/// Counts and sums per currency and operation, which are never added together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals(BTreeMap<(Currency, Operation), Sum>);

impl Totals {
    /// Counts one job in.
    pub fn add(&mut self, operation: Operation, amount: Amount) {
        let sum = self.0.entry((amount.currency(), operation)).or_default();
        sum.count += 1;
        sum.minor += i128::from(amount.minor());
    }

    /// Counts in what others counted.
    pub fn merge(&mut self, others: &Self) {
        for (&key, added) in &others.0 {
            let sum = self.0.entry(key).or_default();
            sum.count += added.count;
            sum.minor += added.minor;
        }
    }

    /// The sum of one currency and operation; zero where there is none.
    #[must_use]
    pub fn get(&self, currency: Currency, operation: Operation) -> Sum {
        self.0
            .get(&(currency, operation))
            .copied()
            .unwrap_or_default()
    }

    /// All sums, by currency, then operation.
    pub fn iter(&self) -> impl Iterator<Item = (Currency, Operation, Sum)> + '_ {
        self.0
            .iter()
            .map(|(&(currency, operation), &sum)| (currency, operation, sum))
    }

    /// Whether nothing was counted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many jobs in all.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.values().map(|sum| sum.count).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_amount_is_positive_and_bounded() {
        let cop = Currency::parse("COP").expect("a code");
        assert!(Amount::new(0, cop).is_none());
        assert!(Amount::new(-1, cop).is_none());
        assert!(Amount::new(MAX_AMOUNT_MINOR, cop).is_some());
        assert!(Amount::new(MAX_AMOUNT_MINOR + 1, cop).is_none());
    }

    #[test]
    fn a_currency_is_three_capital_letters() {
        for text in ["", "CO", "cop", "COPP", "CØP", "C0P"] {
            assert!(Currency::parse(text).is_none(), "{text}");
        }
    }

    #[test]
    fn major_units_are_exact() {
        assert_eq!(major_units(5_000_000, 2), "50000.00");
        assert_eq!(major_units(7, 2), "0.07");
        assert_eq!(major_units(7, 0), "7");
        assert_eq!(major_units(-7, 3), "-0.007");
        assert_eq!(minor_units("50000.00", 2), Some(5_000_000));
        assert_eq!(minor_units("50000", 2), Some(5_000_000));
        assert_eq!(minor_units("50000", 0), Some(50_000));
        for text in ["50000.0", "50.000,00", "50000.", ".5", "-1", ""] {
            assert_eq!(minor_units(text, 2), None, "{text}");
        }
    }

    #[test]
    fn what_is_shown_can_be_typed_back_and_nothing_else() {
        for (minor, digits) in [(5_000_000, 2), (7, 2), (7, 0), (0, 3), (i128::MAX, 4)] {
            let shown = major_units(minor, digits);
            assert_eq!(minor_units(&shown, digits), Some(minor), "{shown}");
        }
        assert_eq!(minor_units("98450000", 2), Some(9_845_000_000));
        let beyond = "9".repeat(40);
        for text in [
            "1.5",
            "1.500",
            "1.",
            ".5",
            "",
            "-1",
            "+1",
            "1,50",
            "1.234.567,50",
            "1,234.50",
            "1 000",
            "1e3",
            "\u{ff15}",
            &beyond,
        ] {
            assert_eq!(minor_units(text, 2), None, "{text}");
        }
        assert_eq!(minor_units("7.", 0), None);
    }

    #[test]
    fn a_currency_has_a_ceiling_only_where_it_was_given_one() {
        let [cop, usd] = ["COP", "USD"].map(|code| Currency::parse(code).expect("a code"));
        let currencies = Currencies::default()
            .with_ceiling(cop, 5_000)
            .with_ceiling(usd, 1);
        assert_eq!(currencies.max_minor(cop), Some(5_000));
        assert_eq!(currencies.minor_digits(cop), Some(2));
        assert_eq!(
            currencies.minor_digits(usd),
            None,
            "a ceiling opens nothing"
        );
        assert_eq!(Currencies::default().max_minor(cop), None);
    }
}
