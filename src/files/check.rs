//! One look at a whole file before anything is sent.
//!
//! *What it promises.* A file is either refused, or every row of it was read: totals of the good
//! ones, errors of the bad ones, every `entity_id` once. One pass over the private copy, a second
//! one only where an `entity_id` is there twice, or where amounts came before the one that settles
//! how they are read. Kept in memory: 16 bytes a row and the first [`ERRORS_KEPT`] errors.
//!
//! *What it refuses to know.* Whether rows were done before: that is the ledger's.

use std::sync::Arc;

use super::header::Delimiter;
use super::notation::{DecimalReading, Notation};
use super::refusal::{FileRefusal, FilesError};
use super::row::{Row, RowError, Rows};
use super::spool::Spool;
use super::totals_row::{Summed, TotalsRow};
use super::{MAX_ROWS, ReadingRules};
use crate::domain::card_number;
use crate::domain::digest::Digest;
use crate::domain::job::Job;
use crate::domain::money::Totals;

/// How many errors are kept to be shown, from the first line on; all are counted.
pub const ERRORS_KEPT: usize = 1_000;

/// What a file holds, and how it was read: every later reading of it goes by this.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// The hash of the bytes that were checked.
    pub sha256: Digest,
    /// How its cells are separated.
    pub delimiter: Delimiter,
    /// How the decimals of its amounts were told from thousands.
    pub decimal: DecimalReading,
    /// The physical line of the column names.
    pub header_line: u64,
    /// Rows that ask for a job, good ones and bad ones: without the header, blank rows and a sum.
    pub rows: u64,
    /// Rows without an error.
    pub ok: u64,
    /// Blank lines and rows of nothing but delimiters.
    pub blank: u64,
    /// The sum in the last row, if there is one.
    pub totals_row: Option<SumChecked>,
    /// Counts and sums of the rows without an error.
    pub totals: Totals,
    /// The first [`ERRORS_KEPT`] errors, by line, then field.
    pub errors: Vec<RowError>,
    /// How many errors there are in all; a row can have several.
    pub errors_total: u64,
    /// The job of the first row without an error.
    pub first_job: Option<Job>,
    /// What is no fault and should be known.
    pub oddities: Oddities,
    /// Lines whose `entity_id` stood on an earlier one, with that one, in order.
    pub(super) repeats: Repeats,
}

/// A row of totals below the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SumChecked {
    /// The physical line where it begins.
    pub line: u64,
    /// Whether it was held against our own sum, and agreed. It cannot be where rows are wrong.
    pub agreed: bool,
}

/// What is odd about a file and does not change what it says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Oddities {
    /// Columns that are ignored, as they are shown to people.
    pub unknown_columns: Vec<String>,
    /// It begins with a byte order mark.
    pub has_bom: bool,
    /// It begins with a `sep=` line.
    pub has_sep_line: bool,
    /// Its last row does not end with a line break; a file that was cut off does not.
    pub ends_without_line_break: bool,
    /// How many `entity_id`s look like card numbers, and the line of the first.
    pub ids_like_card_numbers: Option<(u64, u64)>,
}

/// Lines with the earlier line whose `entity_id` they repeat, in order.
pub(super) type Repeats = Arc<[(u64, u64)]>;

impl Checked {
    /// Whether every row is a job.
    #[must_use]
    pub const fn is_clean(&self) -> bool {
        self.errors_total == 0
    }

    /// Rows with at least one error.
    #[must_use]
    pub const fn bad_rows(&self) -> u64 {
        self.rows - self.ok
    }

    /// Lines with something in them that ask for nothing: blank ones and a sum.
    #[must_use]
    pub fn skipped(&self) -> u64 {
        self.blank + u64::from(self.totals_row.is_some())
    }
}

/// Reads every row of a private copy.
///
/// # Errors
/// A refusal where the file cannot be read as a table of jobs, or has no rows.
pub fn check(spool: &Spool, rules: &ReadingRules) -> Result<Checked, FilesError> {
    let mut seen = Vec::new();
    let first = Pass::over(
        spool,
        rules,
        Notation::new(rules.decimal),
        Arc::new([]),
        |id, line| {
            if !id.is_empty() {
                seen.push((Digest::of(id.as_bytes()).first_u64(), line));
            }
        },
    )?;
    if first.checked.rows == 0 {
        let what = "it has column names and no rows below them";
        let remedy = "Was it saved before the rows were filled in?";
        let line = Some(first.checked.header_line);
        return Err(FileRefusal::new("no_rows", spool.file(), line, what, remedy).into());
    }
    let reading = first.notation.conclude(spool.file())?;
    let repeats = repeats_of(seen);
    let whole = if repeats.is_empty() && !first.notation.has_unsettled() {
        first
    } else {
        let notation = Notation::settled(reading.clone());
        Pass::over(spool, rules, notation, repeats, |_, _| {})?
    };
    whole.conclude(spool, rules)
}

/// The lines whose `entity_id` stood on an earlier line, with that first line, in order.
///
/// Ids are told apart by the first 64 bits of their SHA-256. That two different ids share them is a
/// chance of 1 in 30 million for a file of a million rows, and then a good row is refused: no
/// repeat is ever missed.
fn repeats_of(mut seen: Vec<(u64, u64)>) -> Repeats {
    seen.sort_unstable();
    let mut repeats: Vec<(u64, u64)> = seen
        .chunk_by(|(a, _), (b, _)| a == b)
        .filter_map(|same| same.split_first())
        .flat_map(|(&(_, first), rest)| rest.iter().map(move |&(_, line)| (line, first)))
        .collect();
    repeats.sort_unstable();
    repeats.into()
}

/// The error of a row whose `entity_id` stood on an earlier line.
pub(super) fn repeat_error(repeats: &Repeats, line: u64, entity_id: &str) -> Option<RowError> {
    let at = repeats
        .binary_search_by_key(&line, |&(line, _)| line)
        .ok()?;
    let &(_, first) = repeats.get(at)?;
    let message = format!("is already on line {first}; every row needs its own");
    Some(RowError::new(
        line,
        "entity_id",
        "duplicate",
        entity_id,
        message,
    ))
}

/// A row that may be the sum of the others: it is, if no row follows.
struct LastSum {
    row: TotalsRow,
    errors: Vec<RowError>,
}

/// One reading of every row.
struct Pass {
    checked: Checked,
    notation: Notation,
    sum: Option<LastSum>,
}

impl Pass {
    fn over(
        spool: &Spool,
        rules: &ReadingRules,
        notation: Notation,
        repeats: Repeats,
        mut see: impl FnMut(&str, u64),
    ) -> Result<Self, FilesError> {
        let mut rows = Rows::open(spool, rules, notation)?;
        let mut pass = Self::new(spool, &rows, repeats);
        while let Some(row) = rows.next_row()? {
            pass.flush();
            let id = rows.entity_id();
            let repeat = repeat_error(&pass.checked.repeats, row.line, id);
            if let Some(sum) = row.totals {
                let errors = row.job.err().unwrap_or_default();
                let errors = repeat.into_iter().chain(errors).collect();
                pass.sum = Some(LastSum { row: sum, errors });
            } else {
                see(id, row.line);
                pass.take(row, id, repeat);
            }
        }
        pass.checked.blank = rows.blank();
        pass.checked.oddities.ends_without_line_break = !rows.ends_with_line_break();
        pass.notation = rows.notation().clone();
        Ok(pass)
    }

    fn new(spool: &Spool, rows: &Rows, repeats: Repeats) -> Self {
        let oddities = Oddities {
            unknown_columns: rows.header().unknown_columns(),
            has_bom: spool.has_bom(),
            has_sep_line: rows.has_sep_line(),
            ..Oddities::default()
        };
        Self {
            notation: Notation::new(None),
            sum: None,
            checked: Checked {
                sha256: spool.sha256(),
                delimiter: rows.delimiter(),
                decimal: DecimalReading::NotNeeded,
                header_line: rows.header().line,
                rows: 0,
                ok: 0,
                blank: 0,
                totals_row: None,
                totals: Totals::default(),
                errors: Vec::new(),
                errors_total: 0,
                first_job: None,
                oddities,
                repeats,
            },
        }
    }

    fn take(&mut self, row: Row, id: &str, repeat: Option<RowError>) {
        let checked = &mut self.checked;
        checked.rows += 1;
        if card_number::is_one(id) {
            let (count, _) = checked
                .oddities
                .ids_like_card_numbers
                .get_or_insert((0, row.line));
            *count += 1;
        }
        match (row.job, repeat) {
            (Ok(job), None) => {
                checked.ok += 1;
                checked.totals.add(job.operation, job.amount);
                checked.first_job.get_or_insert(job);
            }
            (job, repeat) => self.count(repeat.into_iter().chain(job.err().into_iter().flatten())),
        }
    }

    /// A row follows, so the one that could have been a sum is a row with faults.
    fn flush(&mut self) {
        if let Some(sum) = self.sum.take() {
            self.checked.rows += 1;
            self.count(sum.errors.into_iter());
        }
    }

    fn count(&mut self, errors: impl Iterator<Item = RowError>) {
        for error in errors {
            self.checked.errors_total += 1;
            if self.checked.errors.len() < ERRORS_KEPT {
                self.checked.errors.push(error);
            }
        }
    }

    /// Holds the sum against the rows, where they are all good.
    fn conclude(mut self, spool: &Spool, rules: &ReadingRules) -> Result<Checked, FilesError> {
        if let Some(LastSum { row, .. }) = &self.sum {
            let agreed = self.checked.is_clean();
            if agreed {
                let summed = Summed {
                    file: spool.file(),
                    totals: &self.checked.totals,
                    currencies: &rules.currencies,
                };
                row.compare(&summed, &mut self.notation)?;
            }
            self.checked.totals_row = Some(SumChecked {
                line: row.line,
                agreed,
            });
        }
        self.checked.decimal = self.notation.conclude(spool.file())?.clone();
        Ok(self.checked)
    }
}

const _: () = assert!(
    MAX_ROWS * 16 <= 16_000_000,
    "what a check keeps a row stays small beside the 64 MiB that it may take"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeats_name_the_first_line_and_stand_in_order() {
        let seen = vec![(7, 2), (9, 3), (7, 4), (1, 5), (9, 6), (7, 8)];
        let repeats = repeats_of(seen);
        assert_eq!(*repeats, [(4, 2), (6, 3), (8, 2)]);
        let error = repeat_error(&repeats, 6, "A").expect("a repeat");
        assert!(error.message.contains("line 3"), "{error:?}");
        assert_eq!(repeat_error(&repeats, 3, "A"), None);
    }
}
