//! One look at a whole file before anything is sent.
//!
//! *What it promises.* A file is either refused, or every row of it was read: totals of the good
//! ones, errors of the bad ones, every `entity_id` once. One pass over the private copy, a second
//! one only where an `entity_id` is there twice. Kept in memory: 16 bytes a row and the first
//! [`ERRORS_KEPT`] errors.
//!
//! *What it refuses to know.* Whether rows were done before: that is the ledger's.

use super::header::Delimiter;
use super::refusal::{FileRefusal, FilesError};
use super::row::{Row, RowError, Rows};
use super::spool::Spool;
use super::{MAX_ROWS, ReadingRules};
use crate::domain::digest::Digest;
use crate::domain::job::Job;
use crate::domain::money::Totals;

/// How many errors are kept to be shown, from the first line on; all are counted.
pub const ERRORS_KEPT: usize = 1_000;

/// What a file holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// The hash of the bytes that were checked.
    pub sha256: Digest,
    /// How its cells are separated.
    pub delimiter: Delimiter,
    /// The physical line of the column names.
    pub header_line: u64,
    /// Columns that are ignored, as they are shown to people.
    pub unknown_columns: Vec<String>,
    /// Rows with something in them, without the header: good ones and bad ones.
    pub rows: u64,
    /// Rows without an error.
    pub ok: u64,
    /// Blank lines and rows of nothing but delimiters.
    pub skipped: u64,
    /// Whether the last row ends with a line break; a file that was cut off does not.
    pub ends_with_line_break: bool,
    /// Counts and sums of the rows without an error.
    pub totals: Totals,
    /// The first [`ERRORS_KEPT`] errors, by line, then field.
    pub errors: Vec<RowError>,
    /// How many errors there are in all; a row can have several.
    pub errors_total: u64,
    /// The job of the first row without an error.
    pub first_job: Option<Job>,
}

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
}

/// Reads every row of a private copy.
///
/// # Errors
/// A refusal where the file cannot be read as a table of jobs, or has no rows.
pub fn check(spool: &Spool, rules: &ReadingRules) -> Result<Checked, FilesError> {
    let mut seen = Vec::new();
    let checked = pass(spool, rules, |row, entity_id| {
        if !entity_id.is_empty() {
            seen.push((Digest::of(entity_id.as_bytes()).first_u64(), row.line));
        }
        None
    })?;
    if checked.rows == 0 {
        let what = "it has column names and no rows below them";
        let remedy = "Was it saved before the rows were filled in?";
        let line = Some(checked.header_line);
        return Err(FileRefusal::new("no_rows", spool.file(), line, what, remedy).into());
    }
    let repeats = repeats_of(seen);
    if repeats.is_empty() {
        return Ok(checked);
    }
    let mut repeats = repeats.into_iter().peekable();
    pass(spool, rules, |row, entity_id| {
        let (_, first) = repeats.next_if(|&(line, _)| line == row.line)?;
        let message = format!("is already on line {first}; every row needs its own");
        Some(RowError::new(
            row.line,
            "entity_id",
            "duplicate",
            entity_id,
            message,
        ))
    })
}

/// The lines whose `entity_id` stood on an earlier line, with that first line, in order.
///
/// Ids are told apart by the first 64 bits of their SHA-256. That two different ids share them is a
/// chance of 1 in 30 million for a file of a million rows, and then a good row is refused: no
/// repeat is ever missed.
fn repeats_of(mut seen: Vec<(u64, u64)>) -> Vec<(u64, u64)> {
    seen.sort_unstable();
    let mut repeats: Vec<(u64, u64)> = seen
        .chunk_by(|(a, _), (b, _)| a == b)
        .filter_map(|same| same.split_first())
        .flat_map(|(&(_, first), rest)| rest.iter().map(move |&(_, line)| (line, first)))
        .collect();
    repeats.sort_unstable();
    repeats
}

/// Reads every row once; `other_error` may find one more error in each.
fn pass(
    spool: &Spool,
    rules: &ReadingRules,
    mut other_error: impl FnMut(&Row, &str) -> Option<RowError>,
) -> Result<Checked, FilesError> {
    let mut rows = Rows::open(spool, rules)?;
    let mut checked = Checked {
        sha256: spool.sha256(),
        delimiter: rows.delimiter(),
        header_line: rows.header().line,
        unknown_columns: rows.header().unknown_columns(),
        rows: 0,
        ok: 0,
        skipped: 0,
        ends_with_line_break: true,
        totals: Totals::default(),
        errors: Vec::new(),
        errors_total: 0,
        first_job: None,
    };
    while let Some(row) = rows.next_row()? {
        checked.rows += 1;
        let other = other_error(&row, rows.entity_id());
        match (row.job, other) {
            (Ok(job), None) => {
                checked.ok += 1;
                checked.totals.add(job.operation, job.amount);
                checked.first_job.get_or_insert(job);
            }
            (job, other) => {
                for error in other.into_iter().chain(job.err().into_iter().flatten()) {
                    checked.errors_total += 1;
                    if checked.errors.len() < ERRORS_KEPT {
                        checked.errors.push(error);
                    }
                }
            }
        }
    }
    checked.skipped = rows.skipped();
    checked.ends_with_line_break = rows.ends_with_line_break();
    Ok(checked)
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
        assert_eq!(repeats_of(seen), [(4, 2), (6, 3), (8, 2)]);
    }
}
