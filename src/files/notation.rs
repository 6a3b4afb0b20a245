//! Which sign stands before the decimals of a file: proven by the file, or chosen by a person.
//!
//! *What it promises.* One amount that can be read in one way only settles all; until then, amounts
//! that can be read in two ways are counted and not read. Two amounts that prove different signs,
//! and an amount that proves another sign than the chosen one, refuse the file with their lines.
//!
//! *What it refuses to know.* Rows and currencies.

use super::amount::{BadAmount, Decimal, Major, Minor, bad, example, read_major};
use super::refusal::FileRefusal;
use super::words::printable;

/// The longest amount that is shown, in characters.
const SHOWN_CHARS: usize = 40;

/// How the decimals of a file were told from its thousands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DecimalReading {
    /// Every amount is plain digits.
    NotNeeded,
    /// The file says it.
    Proven {
        /// The sign before decimals.
        decimal: Decimal,
        /// The first line that proves it.
        line: u64,
        /// The amount there, as it was written.
        value: String,
    },
    /// A person said it.
    Chosen(Decimal),
}

impl DecimalReading {
    /// The sign before decimals, where it matters.
    #[must_use]
    pub const fn decimal(&self) -> Option<Decimal> {
        match self {
            Self::NotNeeded => None,
            Self::Proven { decimal, .. } | Self::Chosen(decimal) => Some(*decimal),
        }
    }
}

/// Amounts that can be read in two ways, while nothing says in which.
#[derive(Clone, Debug)]
struct Unsettled {
    count: u64,
    /// The first of them.
    line: u64,
    value: String,
    /// Its two readings where the dot, and where the comma stands before decimals.
    dot: Option<Minor>,
    comma: Option<Minor>,
    digits: u32,
}

/// What is known so far of how a file writes its amounts.
#[derive(Clone, Debug)]
pub(super) struct Notation {
    reading: DecimalReading,
    unsettled: Option<Unsettled>,
}

impl Notation {
    /// Nothing is known but what a person chose, if anything.
    pub(super) fn new(chosen: Option<Decimal>) -> Self {
        let reading = chosen.map_or(DecimalReading::NotNeeded, DecimalReading::Chosen);
        Self::settled(reading)
    }

    /// What a whole reading of the file came to.
    pub(super) const fn settled(reading: DecimalReading) -> Self {
        Self {
            reading,
            unsettled: None,
        }
    }

    /// Reads an amount in major units. `None` where it can be read in two ways and nothing says in
    /// which.
    ///
    /// # Errors
    /// The outer one refuses the file: this amount proves another sign than is known.
    pub(super) fn read(
        &mut self,
        text: &str,
        digits: u32,
        line: u64,
        file: &str,
    ) -> Result<Result<Option<Minor>, BadAmount>, FileRefusal> {
        let major = match read_major(text, digits) {
            Ok(major) => major,
            Err(bad) => return Ok(Err(bad)),
        };
        match major {
            Major::Plain(minor) => Ok(Ok(Some(minor))),
            Major::Proven(decimal, minor) => {
                self.prove(decimal, text, line, file)?;
                Ok(Ok(Some(minor)))
            }
            Major::Unproven { dot, comma } => {
                let Some(decimal) = self.reading.decimal() else {
                    self.pass_over(text, line, [dot, comma], digits);
                    return Ok(Ok(None));
                };
                let way = match decimal {
                    Decimal::Dot => dot,
                    Decimal::Comma => comma,
                };
                Ok(way.map_or_else(
                    || too_many_decimals(decimal, digits),
                    |minor| Ok(Some(minor)),
                ))
            }
        }
    }

    fn pass_over(&mut self, text: &str, line: u64, [dot, comma]: [Option<Minor>; 2], digits: u32) {
        let unsettled = self.unsettled.get_or_insert_with(|| Unsettled {
            count: 0,
            line,
            value: printable(text, SHOWN_CHARS),
            dot,
            comma,
            digits,
        });
        unsettled.count += 1;
    }

    fn prove(
        &mut self,
        decimal: Decimal,
        text: &str,
        line: u64,
        file: &str,
    ) -> Result<(), FileRefusal> {
        let value = || printable(text, SHOWN_CHARS);
        match &self.reading {
            DecimalReading::NotNeeded => {
                let value = value();
                self.reading = DecimalReading::Proven {
                    decimal,
                    line,
                    value,
                };
                Ok(())
            }
            DecimalReading::Proven { decimal: known, .. } | DecimalReading::Chosen(known)
                if *known == decimal =>
            {
                Ok(())
            }
            DecimalReading::Proven {
                decimal: known,
                line: earlier,
                value: proof,
            } => {
                let what = format!(
                    "its amounts are written in two notations: line {earlier} has {proof}, with \
                     a {} before decimals, and line {line} has {}, with a {}",
                    known.as_str(),
                    value(),
                    decimal.as_str()
                );
                let remedy = "Write all amounts in one notation and save it again.";
                let code = "two_notations";
                Err(FileRefusal::new(code, file, Some(line), what, remedy))
            }
            DecimalReading::Chosen(known) => {
                let (known, found) = (known.as_str(), decimal.as_str());
                let what = format!(
                    "--decimal {known} was given, but {} can only be read with a {found} before \
                     decimals",
                    value()
                );
                let remedy = format!(
                    "If the whole file is written so, leave --decimal out or give --decimal {found}."
                );
                let code = "other_decimal";
                Err(FileRefusal::new(code, file, Some(line), what, remedy))
            }
        }
    }

    /// Whether amounts were passed over that a second reading must take up.
    pub(super) const fn has_unsettled(&self) -> bool {
        self.unsettled.is_some()
    }

    /// What a whole file came to.
    ///
    /// # Errors
    /// A refusal where amounts can be read in two ways and nothing says in which.
    pub(super) fn conclude(&self, file: &str) -> Result<&DecimalReading, FileRefusal> {
        match (&self.reading, &self.unsettled) {
            (DecimalReading::NotNeeded, Some(unsettled)) => Err(unsettled.refusal(file)),
            (reading, _) => Ok(reading),
        }
    }
}

impl Unsettled {
    fn refusal(&self, file: &str) -> FileRefusal {
        let Self { value, digits, .. } = self;
        let amounts = match self.count {
            1 => format!("one amount, \"{value}\","),
            count => format!("{count} amounts like \"{value}\""),
        };
        let what =
            format!("{amounts} can be thousands or decimals, and nothing in the file says which");
        let meaning = |decimal: Decimal, minor: Option<Minor>| {
            let shown = minor.flatten().map_or_else(
                || "refused, as it has too many decimals".to_owned(),
                |minor| crate::domain::money::major_units(minor, *digits),
            );
            format!("--decimal {} ({value} is {shown})", decimal.as_str())
        };
        let remedy = format!(
            "Say so once: {} or {}.",
            meaning(Decimal::Comma, self.comma),
            meaning(Decimal::Dot, self.dot)
        );
        FileRefusal::new("ambiguous_decimal", file, Some(self.line), what, remedy)
    }
}

fn too_many_decimals<T>(decimal: Decimal, digits: u32) -> Result<T, BadAmount> {
    let message = format!(
        "has three digits after a {0}, which stands before decimals in this file, where this \
         currency has {digits}; write it like {1}",
        decimal.as_str(),
        example("50000", digits)
    );
    bad("amount_grouping", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(notation: &mut Notation, text: &str, line: u64) -> Result<Option<Minor>, &'static str> {
        match notation.read(text, 2, line, "f.csv") {
            Ok(read) => read.map_err(|bad| bad.code),
            Err(refusal) => Err(refusal.code),
        }
    }

    #[test]
    fn one_proof_settles_what_follows() {
        let mut notation = Notation::new(None);
        assert_eq!(read(&mut notation, "50.000", 2), Ok(None));
        assert_eq!(read(&mut notation, "70000", 3), Ok(Some(Some(7_000_000))));
        assert_eq!(
            notation.conclude("f.csv").expect_err("not yet").code,
            "ambiguous_decimal"
        );
        assert_eq!(read(&mut notation, "1.000,5", 4), Ok(Some(Some(100_050))));
        assert_eq!(read(&mut notation, "50.000", 5), Ok(Some(Some(5_000_000))));
        assert!(notation.has_unsettled(), "line 2 is still to be read");
        let expected = DecimalReading::Proven {
            decimal: Decimal::Comma,
            line: 4,
            value: "1.000,5".to_owned(),
        };
        assert_eq!(notation.conclude("f.csv"), Ok(&expected));
        let other = notation
            .read("1.5", 2, 9, "f.csv")
            .expect_err("another notation");
        assert_eq!(other.code, "two_notations");
        assert!(
            other.what.contains("line 4") && other.what.contains("line 9"),
            "{other}"
        );
    }

    #[test]
    fn a_choice_settles_all_and_no_amount_may_contradict_it() {
        let mut comma = Notation::new(Some(Decimal::Comma));
        assert_eq!(read(&mut comma, "50.000", 2), Ok(Some(Some(5_000_000))));
        assert_eq!(read(&mut comma, "1.5", 3), Err("other_decimal"));
        let mut dot = Notation::new(Some(Decimal::Dot));
        assert_eq!(
            read(&mut dot, "50.000", 2),
            Err("amount_grouping"),
            "never 50"
        );
        assert_eq!(read(&mut dot, "50,000", 3), Ok(Some(Some(5_000_000))));
    }

    #[test]
    fn the_refusal_says_what_each_choice_means() {
        let mut notation = Notation::new(None);
        assert_eq!(read(&mut notation, "50.000", 7), Ok(None));
        let refusal = notation.conclude("f.csv").expect_err("two readings");
        assert_eq!(refusal.line, Some(7));
        let comma = "--decimal comma (50.000 is 50000.00)";
        assert!(refusal.remedy.contains(comma), "{refusal}");
        assert!(
            refusal.remedy.contains("--decimal dot (50.000 is refused"),
            "{refusal}"
        );
    }
}
