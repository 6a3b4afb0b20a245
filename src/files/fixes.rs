//! The file of rows to fix: the bad rows of another, with what is wrong in a last column.
//!
//! *What it promises.* Same format and columns as the original, so that it can be mended and read
//! in its place: its last column is passed over. Only a row whose fault writing it anew would hide
//! (cells out of order, cut off) stays refused until that cell is emptied.
//!
//! *What it refuses to know.* Good rows.

use std::path::Path;

use super::formula::harmless;
use super::header::ERROR_COLUMN;
use super::original::{Layout, OriginalRow};
use super::refusal::FilesError;
use super::replay::RowContent;
use super::writing::{Kind, TableWriter, check_place};

const KIND: Kind = Kind {
    code: "errors_place",
    name: "file of rows to fix",
    flag: "--errors-to",
    column: ERROR_COLUMN,
};

/// Writes rows to fix beside their final name and gives them that name when they are whole.
pub struct FixWriter(TableWriter);

impl std::fmt::Debug for FixWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FixWriter").finish_non_exhaustive()
    }
}

impl FixWriter {
    /// Whether rows to fix may be written here. A file that is there is replaced only where it has
    /// rows to fix, and is not the one that is read.
    ///
    /// # Errors
    /// A refusal where the place is taken by something else; [`FilesError::Io`] where the folder
    /// cannot be written to.
    pub fn check_place(path: &Path, input: &Path) -> Result<(), FilesError> {
        check_place(path, &[input], &KIND)
    }

    /// Begins a file of these columns; an existing one of this name stays until the new is whole.
    ///
    /// # Errors
    /// [`FilesError::Io`] where the folder cannot be written to.
    pub fn create(path: &Path, layout: &Layout) -> Result<Self, FilesError> {
        TableWriter::create(path, layout, &[ERROR_COLUMN]).map(Self)
    }

    /// Adds a row, if it is a bad one.
    ///
    /// # Errors
    /// [`FilesError::Io`] where it cannot be written.
    pub fn row(&mut self, original: &OriginalRow) -> Result<(), FilesError> {
        let RowContent::Bad(errors) = &original.content else {
            return Ok(());
        };
        let told: Vec<_> = errors
            .iter()
            .map(|error| format!("{}: {} {}", error.code, error.field, error.message))
            .collect();
        self.0.row(&original.record, &[&harmless(&told.join("; "))])
    }

    /// Makes the file durable under its final name.
    ///
    /// # Errors
    /// [`FilesError::Io`] where that fails; the final name then has what it had before.
    pub fn finish(self) -> Result<(), FilesError> {
        self.0.finish()
    }
}
