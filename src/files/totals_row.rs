//! The row below the others that says what they sum to.
//!
//! *What it promises.* It is never a job. Its figure is held against our own sum: of the operation
//! that it names, else of all operations of its currency, as a sheet sums a column. Currencies are
//! never added together, so in a file of several it must name one. Another figure refuses the file.
//!
//! *What it refuses to know.* Which row it is; and sums of operations against each other
//! (top-ups less withdrawals), which no plain column sum is.

use super::amount::{BadAmount, Minor, read_minor, without_marks};
use super::notation::Notation;
use super::refusal::{FileRefusal, FilesError};
use super::words::operation;
use crate::domain::job::Operation;
use crate::domain::money::{Currencies, Currency, Totals, major_units};

/// What a row of totals says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TotalsRow {
    /// The physical line where it begins.
    pub(super) line: u64,
    pub(super) amount: Option<String>,
    pub(super) amount_minor: Option<String>,
    pub(super) currency: String,
    pub(super) operation: String,
}

/// A file and what its own rows sum to.
pub(super) struct Summed<'a> {
    pub(super) file: &'a str,
    pub(super) totals: &'a Totals,
    pub(super) currencies: &'a Currencies,
}

impl TotalsRow {
    /// Holds the row against the sums of the others.
    ///
    /// # Errors
    /// A refusal where it says something else, or cannot be compared.
    pub(super) fn compare(
        &self,
        summed: &Summed<'_>,
        notation: &mut Notation,
    ) -> Result<(), FilesError> {
        let (currency, digits) = self.currency_of(summed)?;
        let operation = self.operation_of(summed)?;
        let said = self.figure(summed, currency, digits, notation)?;
        let ours: i128 = Operation::ALL
            .into_iter()
            .filter(|one| operation.is_none_or(|named| named == *one))
            .map(|one| summed.totals.get(currency, one).minor)
            .sum();
        if said == ours {
            return Ok(());
        }
        let of = operation.map_or_else(String::new, |operation| format!(" for {operation}"));
        let what = format!(
            "its last row says that the others sum to {currency} {}{of}; they sum to {currency} {}{}",
            major_units(said, digits),
            major_units(ours, digits),
            parts(summed)
        );
        let remedy = "Is a row missing, or one too many? Mend the rows or the sum.";
        Err(self.refusal(summed, what, remedy).into())
    }

    /// The currency it names, else the only one of the file.
    fn currency_of(&self, summed: &Summed<'_>) -> Result<(Currency, u32), FileRefusal> {
        let named = match self.currency.as_str() {
            "" => {
                let mut all: Vec<_> = summed
                    .totals
                    .iter()
                    .map(|(currency, ..)| currency)
                    .collect();
                all.dedup();
                <[_; 1]>::try_from(all).ok().map(|[only]| only)
            }
            code => Currency::parse(code),
        };
        named
            .and_then(|currency| Some((currency, summed.currencies.minor_digits(currency)?)))
            .ok_or_else(|| {
                let what = format!(
                    "its last row is a sum and does not say of which currency{}",
                    parts(summed)
                );
                let remedy = "Give that row the currency, or remove it.";
                self.refusal(summed, what, remedy)
            })
    }

    fn operation_of(&self, summed: &Summed<'_>) -> Result<Option<Operation>, FileRefusal> {
        if self.operation.is_empty() {
            return Ok(None);
        }
        operation(&self.operation).map(Some).ok_or_else(|| {
            let what = "its last row is a sum of an operation that there is not".to_owned();
            let remedy = "Empty its cell in the column operation, or remove the row.";
            self.refusal(summed, what, remedy)
        })
    }

    /// Its figure in minor units; where both columns have one, they must agree.
    fn figure(
        &self,
        summed: &Summed<'_>,
        currency: Currency,
        digits: u32,
        notation: &mut Notation,
    ) -> Result<i128, FilesError> {
        let unreadable = |bad: BadAmount| {
            let what = format!("the sum in its last row {}", bad.message);
            self.refusal(summed, what, "Mend the sum, or remove the row.")
        };
        let uncounted = || BadAmount {
            code: "amount_range",
            message: "is more than can be counted".to_owned(),
        };
        let counted = |minor: Minor| minor.ok_or_else(uncounted);
        let mut figures = Vec::new();
        if let Some(text) = &self.amount {
            let text = without_marks(text, currency).map_err(unreadable)?;
            let read = notation.read(text, digits, self.line, summed.file)?;
            let Some(minor) = read.map_err(unreadable)? else {
                // Plain digits above, and this sum alone can be read in two ways.
                let unsettled = notation.conclude(summed.file);
                return Err(unsettled
                    .expect_err("an amount of two readings was just met")
                    .into());
            };
            figures.push(counted(minor).map_err(unreadable)?);
        }
        if let Some(text) = &self.amount_minor {
            let minor = read_minor(text).and_then(counted).map_err(unreadable)?;
            figures.push(minor);
        }
        match figures.as_slice() {
            [one] => Ok(*one),
            [one, other] if one == other => Ok(*one),
            _ => {
                let what = "the two sums in its last row disagree".to_owned();
                Err(self.refusal(summed, what, "Mend the sums.").into())
            }
        }
    }

    fn refusal(&self, summed: &Summed<'_>, what: String, remedy: &str) -> FileRefusal {
        FileRefusal::new("totals_row", summed.file, Some(self.line), what, remedy)
    }
}

/// The sums of the rows, each by itself, where there are several.
fn parts(summed: &Summed<'_>) -> String {
    let sums: Vec<_> = summed
        .totals
        .iter()
        .map(|(currency, operation, sum)| {
            let digits = summed.currencies.minor_digits(currency).unwrap_or_default();
            format!("{operation} {currency} {}", major_units(sum.minor, digits))
        })
        .collect();
    match sums.as_slice() {
        [] | [_] => String::new(),
        several => format!(" ({})", several.join(", ")),
    }
}
