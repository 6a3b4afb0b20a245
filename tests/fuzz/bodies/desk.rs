//! A folder with one file in it, as somebody hands it over.

use std::fs;
use std::path::PathBuf;

use tanda::files::{
    Checked, FilesError, OriginalRow, OriginalRows, ReadingRules, ResultWriter, RowContent,
    RowResult, Spool, check,
};
use tempfile::TempDir;

/// More rows than any input has.
const ROWS_MAX: usize = 100_000;

/// A folder of its own, gone when it is dropped.
pub(super) struct Desk {
    folder: TempDir,
    pub(super) rules: ReadingRules,
}

impl Desk {
    pub(super) fn new(rules: ReadingRules) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        Self { folder, rules }
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(super) fn spool(&self, bytes: &[u8]) -> Result<Spool, FilesError> {
        let path = self.path("f.csv");
        fs::write(&path, bytes).expect("a written file");
        Spool::take(&path, self.folder.path(), self.rules.max_bytes)
    }

    pub(super) fn check(&self, spool: &Spool) -> Result<Checked, FilesError> {
        check(spool, &self.rules)
    }

    /// Every row of a file that was checked.
    pub(super) fn rows(&self, spool: &Spool, checked: &Checked) -> Vec<OriginalRow> {
        let mut rows = OriginalRows::open(spool, checked, &self.rules).expect("a checked file");
        rows.next_chunk(ROWS_MAX).expect("rows of a checked file")
    }

    /// The result file of a file that was checked, every row that is a job with this result.
    pub(super) fn results(&self, spool: &Spool, checked: &Checked, result: &RowResult) -> Vec<u8> {
        let mut rows = OriginalRows::open(spool, checked, &self.rules).expect("a checked file");
        let path = self.path("f.results.csv");
        let mut writer = ResultWriter::create(&path, rows.layout()).expect("a result file");
        for row in rows.next_chunk(ROWS_MAX).expect("rows of a checked file") {
            let written = match &row.content {
                RowContent::Job(_) => writer.row(&row, result),
                RowContent::Bad(errors) => writer.row(&row, &RowResult::of_bad_row(errors)),
                RowContent::Totals => writer.row(&row, &RowResult::default()),
            };
            written.expect("a written row");
        }
        writer.finish().expect("a whole result file");
        fs::read(&path).expect("a result file")
    }
}
