//! The rows of a checked file as they are written back: with all their cells.
//!
//! *What it promises.* Every row with something in it, in order, each with its cells as they were
//! read; only a chunk of them is in memory.
//!
//! *What it refuses to know.* What is written beside them.

use csv::StringRecord;

use super::ReadingRules;
use super::check::Checked;
use super::header::{Delimiter, RESULT_COLUMNS};
use super::refusal::FilesError;
use super::replay::{Replay, RowContent};
use super::results::RowResult;
use super::spool::Spool;
use crate::domain::job::Job;

/// How the original was written, and which of its columns are written back.
#[derive(Clone, Debug)]
pub struct Layout {
    pub(super) delimiter: Delimiter,
    pub(super) has_bom: bool,
    pub(super) has_sep_line: bool,
    pub(super) names: Vec<String>,
    /// For each original column, whether it is written back: those of an earlier result are not.
    pub(super) kept: Vec<bool>,
}

impl Layout {
    /// What an earlier run wrote beside this row; all empty where this is no result file.
    #[must_use]
    pub fn result_in(&self, row: &OriginalRow) -> RowResult {
        RowResult::from_cells(RESULT_COLUMNS.map(|column| {
            let place = self.names.iter().position(|name| name == column);
            let cell = place.and_then(|place| row.record.get(place));
            cell.unwrap_or_default().to_owned()
        }))
    }
}

/// A row to write back.
pub struct OriginalRow {
    /// The physical line where it begins in the original.
    pub line: u64,
    /// What it is.
    pub content: RowContent,
    pub(super) record: StringRecord,
}

impl OriginalRow {
    /// Its job; none where it is no job.
    #[must_use]
    pub const fn job(&self) -> Option<&Job> {
        match &self.content {
            RowContent::Job(job) => Some(job),
            RowContent::Bad(_) | RowContent::Totals => None,
        }
    }

    /// Its cells, as they were read.
    pub fn cells(&self) -> impl Iterator<Item = &str> {
        self.record.iter()
    }
}

impl std::fmt::Debug for OriginalRow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OriginalRow")
            .field("line", &self.line)
            .field("content", &self.content)
            .finish_non_exhaustive()
    }
}

/// The rows of a checked file, in chunks, so that they can be looked up in between.
#[derive(Debug)]
pub struct OriginalRows {
    rows: Replay,
    layout: Layout,
}

impl OriginalRows {
    /// Stands before the first row.
    ///
    /// # Errors
    /// A refusal where this is not the copy that was checked; [`FilesError::Io`] where it cannot be
    /// read.
    pub fn open(
        spool: &Spool,
        checked: &Checked,
        rules: &ReadingRules,
    ) -> Result<Self, FilesError> {
        let rows = Replay::open(spool, checked, rules)?;
        let layout = Layout {
            delimiter: checked.delimiter,
            has_bom: spool.has_bom(),
            has_sep_line: rows.has_sep_line(),
            names: rows.header().cells.clone(),
            kept: rows.header().is_ours().map(|ours| !ours).collect(),
        };
        Ok(Self { rows, layout })
    }

    /// How to write them back.
    #[must_use]
    pub const fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The next rows, at least one and at most `max`; empty after the last. Blank rows are left
    /// out.
    ///
    /// # Errors
    /// [`FilesError::Io`] where they cannot be read.
    pub fn next_chunk(&mut self, max: usize) -> Result<Vec<OriginalRow>, FilesError> {
        let mut chunk = Vec::new();
        while chunk.len() < max.max(1) {
            let Some((line, content)) = self.rows.next()? else {
                break;
            };
            chunk.push(OriginalRow {
                line,
                content,
                record: self.rows.record().clone(),
            });
        }
        Ok(chunk)
    }
}
