//! What somebody expects a file to hold: how many rows, and what they sum to.
//!
//! *What it promises.* Totals are compared as integers; a total that could be read in two ways is
//! refused, and every difference is told.
//!
//! *What it refuses to know.* Where the totals come from, and what follows from a difference.

use std::collections::BTreeMap;

use anyhow::{anyhow, bail};

use crate::app::cli::ReadingArgs;
use crate::app::exit::{Exit, Failure};
use crate::domain::job::Operation;
use crate::domain::money::{Currencies, Currency, Totals, major_units, minor_units};

/// Totals that somebody expects, in minor units.
type Expected = BTreeMap<(Currency, Operation), i128>;

/// What somebody expects.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Expectation {
    count: Option<u64>,
    /// What is counted, in words.
    noun: &'static str,
    /// None where nothing is expected of the sums.
    totals: Option<Expected>,
}

impl Expectation {
    /// Reads what the command line says.
    pub(super) fn read(args: &ReadingArgs, currencies: &Currencies) -> Result<Self, Failure> {
        Self::new(args.expect_rows, "rows", &args.expect_totals, currencies)
    }

    /// So many of these, and these totals; nothing of what is not given.
    pub(super) fn new(
        count: Option<u64>,
        noun: &'static str,
        totals: &[String],
        currencies: &Currencies,
    ) -> Result<Self, Failure> {
        let totals = Some(totals)
            .filter(|texts| !texts.is_empty())
            .map(|texts| parse_expected(texts, currencies))
            .transpose()
            .map_err(|error| Failure::new(Exit::Usage, error))?;
        Ok(Self {
            count,
            noun,
            totals,
        })
    }

    /// What differs, in words; nothing where everything is as expected.
    pub(super) fn differences(
        &self,
        count: u64,
        totals: &Totals,
        currencies: &Currencies,
    ) -> Vec<String> {
        let noun = self.noun;
        let of_count = self
            .count
            .filter(|expected| *expected != count)
            .map(|expected| format!("there are {count} {noun}, expected were {expected}"));
        let of_totals = self
            .totals
            .iter()
            .flat_map(|expected| differences(expected, totals, currencies));
        of_count.into_iter().chain(of_totals).collect()
    }
}

/// Reads `OPERATION:CURRENCY:AMOUNT` for each; the amount in major units, a dot, no grouping.
fn parse_expected(texts: &[String], currencies: &Currencies) -> anyhow::Result<Expected> {
    let mut expected = Expected::new();
    for text in texts {
        let (key, minor) = parse_total(text, currencies).ok_or_else(|| {
            anyhow!("--expect-total {text}: write it like topup:COP:98450000.00 (dot, no grouping)")
        })?;
        if expected.insert(key, minor).is_some() {
            bail!("--expect-total {text}: this operation and currency was given twice");
        }
    }
    Ok(expected)
}

fn parse_total(text: &str, currencies: &Currencies) -> Option<((Currency, Operation), i128)> {
    let mut parts = text.splitn(3, ':');
    let operation = Operation::parse(parts.next()?)?;
    let currency = Currency::parse(parts.next()?)?;
    let digits = currencies.minor_digits(currency)?;
    let minor = minor_units(parts.next()?, digits)?;
    Some(((currency, operation), minor))
}

/// What differs between the file and what was expected, in words; nothing where they agree.
fn differences(expected: &Expected, totals: &Totals, currencies: &Currencies) -> Vec<String> {
    let mut keys: Vec<_> = expected.keys().copied().collect();
    keys.extend(
        totals
            .iter()
            .map(|(currency, operation, _)| (currency, operation)),
    );
    keys.sort_unstable();
    keys.dedup();
    keys.into_iter()
        .filter_map(|(currency, operation)| {
            let wanted = expected
                .get(&(currency, operation))
                .copied()
                .unwrap_or_default();
            let found = totals.get(currency, operation).minor;
            let digits = currencies.minor_digits(currency).unwrap_or_default();
            (wanted != found).then(|| {
                format!(
                    "{operation} {currency}: the rows sum to {}, expected was {}",
                    major_units(found, digits),
                    major_units(wanted, digits),
                )
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::money::Amount;

    fn cop() -> Currency {
        Currency::parse("COP").expect("a code")
    }

    fn totals() -> Totals {
        let mut totals = Totals::default();
        totals.add(
            Operation::Topup,
            Amount::new(9_845_000_050, cop()).expect("an amount"),
        );
        totals
    }

    fn expect(text: &str) -> Option<Expected> {
        parse_expected(&[text.to_owned()], &Currencies::default()).ok()
    }

    #[test]
    fn an_expected_total_is_exact() {
        let good = expect("topup:COP:98450000.50").expect("a total");
        assert!(differences(&good, &totals(), &Currencies::default()).is_empty());
        let other = expect("topup:COP:98450000.51").expect("a total");
        assert_eq!(
            differences(&other, &totals(), &Currencies::default()).len(),
            1
        );
        let missing = expect("withdrawal:COP:1").expect("a total");
        assert_eq!(
            differences(&missing, &totals(), &Currencies::default()).len(),
            2
        );
    }

    #[test]
    fn what_is_not_expected_differs_from_nothing() {
        let currencies = Currencies::default();
        let of_rows = |count| Expectation {
            count,
            noun: "rows",
            totals: None,
        };
        assert!(
            of_rows(None)
                .differences(3, &totals(), &currencies)
                .is_empty()
        );
        assert!(
            of_rows(Some(3))
                .differences(3, &totals(), &currencies)
                .is_empty()
        );
        let told = of_rows(Some(4)).differences(3, &totals(), &currencies);
        assert_eq!(told, ["there are 3 rows, expected were 4"]);
    }

    #[test]
    fn a_total_that_could_be_read_two_ways_is_refused() {
        for amount in [
            "98.450.000,50",
            "98,450,000.50",
            "1.5",
            "1.500",
            "1.",
            ".5",
            "-1",
            "+1",
            "",
        ] {
            assert_eq!(expect(&format!("topup:COP:{amount}")), None, "{amount}");
        }
        assert_eq!(expect("topup:USD:1"), None, "a currency that is not in use");
        assert_eq!(expect("pay:COP:1"), None, "an operation that there is not");
    }
}
