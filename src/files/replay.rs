//! The rows of a checked file once more, exactly as the check read them.
//!
//! *What it promises.* The same rows in the same order with the same verdict on each: a job, or what
//! is wrong with it, or the sum below the others. A copy that was not checked is refused.
//!
//! *What it refuses to know.* Who reads them, and what for.

use csv::StringRecord;

use super::ReadingRules;
use super::check::{Checked, Repeats, repeat_error};
use super::header::Header;
use super::notation::Notation;
use super::refusal::{FileRefusal, FilesError};
use super::row::{RowError, Rows};
use super::spool::Spool;
use crate::domain::job::Job;

/// What a row of a checked file is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RowContent {
    /// A job.
    Job(Job),
    /// No job, with everything that is wrong with it.
    Bad(Vec<RowError>),
    /// The sum of the rows above it.
    Totals,
}

/// Reads a checked file again.
#[derive(Debug)]
pub(super) struct Replay {
    rows: Rows,
    repeats: Repeats,
    totals_line: Option<u64>,
}

impl Replay {
    /// Stands before the first row.
    pub(super) fn open(
        spool: &Spool,
        checked: &Checked,
        rules: &ReadingRules,
    ) -> Result<Self, FilesError> {
        if checked.sha256 != spool.sha256() {
            let what = "it is not the file that was checked";
            let file = spool.file();
            return Err(FileRefusal::new("other_file", file, None, what, "Check it again.").into());
        }
        let notation = Notation::settled(checked.decimal.clone());
        Ok(Self {
            rows: Rows::open(spool, rules, notation)?,
            repeats: checked.repeats.clone(),
            totals_line: checked.totals_row.map(|sum| sum.line),
        })
    }

    /// The next row with something in it and the line where it begins; `None` after the last.
    pub(super) fn next(&mut self) -> Result<Option<(u64, RowContent)>, FilesError> {
        let Some(row) = self.rows.next_row()? else {
            return Ok(None);
        };
        if self.totals_line == Some(row.line) {
            return Ok(Some((row.line, RowContent::Totals)));
        }
        let repeat = repeat_error(&self.repeats, row.line, self.rows.entity_id());
        let content = match (row.job, repeat) {
            (Ok(job), None) => RowContent::Job(job),
            (job, repeat) => {
                let errors = job.err().into_iter().flatten();
                RowContent::Bad(repeat.into_iter().chain(errors).collect())
            }
        };
        Ok(Some((row.line, content)))
    }

    /// The cells of the row read last.
    pub(super) const fn record(&self) -> &StringRecord {
        self.rows.record()
    }

    pub(super) const fn header(&self) -> &Header {
        self.rows.header()
    }

    pub(super) const fn has_sep_line(&self) -> bool {
        self.rows.has_sep_line()
    }
}
