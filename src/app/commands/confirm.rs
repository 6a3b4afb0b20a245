//! Confirmation: a person types what will move.
//!
//! *What it promises.* No money moves on a "y". Totals are compared as integers.
//!
//! *What it refuses to know.* Where the totals come from, and what moves them.

use std::io;

use crate::domain::money::{Currencies, Totals, major_units, minor_units};

/// Asks a person to type each total that will move now.
pub(super) fn ask_person(
    totals: &Totals,
    currencies: &Currencies,
    ask: impl Fn(&str) -> io::Result<String>,
) -> io::Result<bool> {
    for (currency, operation, sum) in totals.iter() {
        let digits = currencies.minor_digits(currency).unwrap_or_default();
        let wanted = major_units(sum.minor, digits);
        let typed = ask(&format!(
            "To go on, type the total of {operation} in {currency} ({wanted}): "
        ))?;
        if minor_units(&typed, digits) != Some(sum.minor) {
            return Ok(false);
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::job::Operation;
    use crate::domain::money::{Amount, Currency};

    fn totals() -> Totals {
        let cop = Currency::parse("COP").expect("a code");
        let mut totals = Totals::default();
        totals.add(
            Operation::Topup,
            Amount::new(9_845_000_050, cop).expect("an amount"),
        );
        totals
    }

    #[test]
    fn a_person_types_the_totals() {
        let is_confirmed_by = |typed: &str| {
            ask_person(&totals(), &Currencies::default(), |question| {
                assert!(
                    question.contains("topup in COP (98450000.50)"),
                    "{question}"
                );
                Ok(typed.to_owned())
            })
            .expect("it was asked")
        };
        assert!(is_confirmed_by("98450000.50"));
        assert!(!is_confirmed_by("y"));
        assert!(!is_confirmed_by("98450000"));
        assert!(!is_confirmed_by(""));
    }
}
