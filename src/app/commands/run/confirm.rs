//! Confirmation: a person types what will move.
//!
//! *What it promises.* No money moves on a "y". Totals are compared as integers.
//!
//! *What it refuses to know.* Where the totals come from.

use std::io::{BufRead, Write};

use crate::domain::money::{Currencies, Totals, major_units, minor_units};

/// Asks a person to type each total that will move now.
pub(super) fn ask_person(
    totals: &Totals,
    currencies: &Currencies,
    input: &mut dyn BufRead,
    output: &mut dyn Write,
) -> anyhow::Result<bool> {
    for (currency, operation, sum) in totals.iter() {
        let digits = currencies.minor_digits(currency).unwrap_or_default();
        let wanted = major_units(sum.minor, digits);
        writeln!(
            output,
            "To go on, type the total of {operation} in {currency} ({wanted}):"
        )?;
        output.flush()?;
        let mut typed = String::new();
        input.read_line(&mut typed)?;
        if minor_units(typed.trim(), digits) != Some(sum.minor) {
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
        let ask = |typed: &str| {
            let mut shown = Vec::new();
            ask_person(
                &totals(),
                &Currencies::default(),
                &mut typed.as_bytes(),
                &mut shown,
            )
            .expect("memory never fails")
        };
        assert!(ask("98450000.50\n"));
        assert!(!ask("y\n"));
        assert!(!ask("98450000\n"));
        assert!(!ask(""));
    }
}
