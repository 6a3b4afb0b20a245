//! The result file: every original row and column in order, and what became of it.
//!
//! *What it promises.* Original cells are written back as they were read; the delimiter and a byte
//! order mark are those of the original; lines end in CRLF, as RFC 4180 has it. A result file can be
//! submitted again: columns that an earlier run added are replaced, not doubled. The file appears
//! whole or not at all, readable by its owner only.
//!
//! *What it refuses to know.* The ledger: whoever writes looks the rows up.

use std::fs::File;
use std::io::{self, BufWriter, Read as _, Write};
use std::path::{Path, PathBuf};

use csv::{QuoteStyle, StringRecord, Terminator, WriterBuilder};
use tempfile::NamedTempFile;

use super::header::RESULT_COLUMNS;
use super::refusal::{FileRefusal, FilesError, shown};
use super::row::Rows;
use super::spool::Spool;
use super::{MAX_ROW_BYTES, ReadingRules};
use crate::domain::job::Job;
use crate::wire::outcome::OutcomeMessage;

/// Characters with which a cell becomes a formula in a sheet.
const FORMULA_STARTS: [char; 7] = ['=', '+', '-', '@', '\t', '\r', '\n'];

/// The columns of a result file.
#[derive(Clone, Debug)]
pub struct ResultLayout {
    delimiter: u8,
    has_bom: bool,
    names: Vec<String>,
    /// For each original column, whether it is written back.
    kept: Vec<bool>,
}

/// A row to write back.
pub struct OriginalRow {
    /// The physical line where it begins in the original.
    pub line: u64,
    /// Its job.
    pub job: Job,
    record: StringRecord,
}

impl std::fmt::Debug for OriginalRow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OriginalRow")
            .field("line", &self.line)
            .field("job", &self.job)
            .finish_non_exhaustive()
    }
}

/// The rows of a checked file, in chunks, so that they can be looked up in between.
#[derive(Debug)]
pub struct OriginalRows {
    rows: Rows,
    layout: ResultLayout,
    file: String,
}

impl OriginalRows {
    /// Stands before the first row.
    ///
    /// # Errors
    /// As [`Rows::open`].
    pub fn open(spool: &Spool, rules: &ReadingRules) -> Result<Self, FilesError> {
        let rows = Rows::open(spool, rules)?;
        let kept: Vec<bool> = rows.header().is_result_column().map(|ours| !ours).collect();
        let layout = ResultLayout {
            delimiter: rows.delimiter().as_byte(),
            has_bom: spool.has_bom(),
            names: rows.header().cells.clone(),
            kept,
        };
        Ok(Self {
            rows,
            layout,
            file: spool.file().to_owned(),
        })
    }

    /// The columns to write.
    #[must_use]
    pub const fn layout(&self) -> &ResultLayout {
        &self.layout
    }

    /// The next rows, at least one and at most `max`; empty after the last. Blank rows are left
    /// out.
    ///
    /// # Errors
    /// A refusal where a row is not a job, which a checked file never has.
    pub fn next_chunk(&mut self, max: usize) -> Result<Vec<OriginalRow>, FilesError> {
        let mut chunk = Vec::new();
        while chunk.len() < max.max(1) {
            let Some(row) = self.rows.next_row()? else {
                break;
            };
            let job = row.job.map_err(|_| {
                let (code, line) = ("bad_rows", Some(row.line));
                let what = "this row is not a job";
                FileRefusal::new(code, &self.file, line, what, "Check the file first.")
            })?;
            chunk.push(OriginalRow {
                line: row.line,
                job,
                record: self.rows.record().clone(),
            });
        }
        Ok(chunk)
    }
}

/// What became of a row, as plain text. A row of which nothing is known is all empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RowResult {
    /// The status of its outcome.
    pub status: String,
    /// Why, in a stable word.
    pub reason: String,
    /// The bank's error codes, joined by a space; its status text where it named none.
    pub bank_code: String,
    /// The bank's `log_…` id.
    pub bank_log_id: String,
    /// The bank's `cbo_…` id.
    pub operation_id: String,
    /// The idempotency key.
    pub key: String,
    /// The generation.
    pub generation: String,
    /// When it became true for us.
    pub settled_at: String,
}

impl RowResult {
    /// What an outcome says about a row.
    #[must_use]
    pub fn from_outcome(outcome: &OutcomeMessage) -> Self {
        let bank = outcome.bank.clone().unwrap_or_default();
        let codes: Vec<_> = bank
            .errors
            .iter()
            .map(|error| error.error_code.as_str())
            .collect();
        Self {
            status: outcome.status.clone(),
            reason: outcome.reason.clone().unwrap_or_default(),
            bank_code: if codes.is_empty() {
                bank.code.unwrap_or_default()
            } else {
                codes.join(" ")
            },
            bank_log_id: bank.log_id.unwrap_or_default(),
            operation_id: bank.operation_id.unwrap_or_default(),
            key: outcome.idempotency_key.clone().unwrap_or_default(),
            generation: outcome
                .generation
                .map(|generation| generation.to_string())
                .unwrap_or_default(),
            settled_at: outcome.settled_at.clone(),
        }
    }

    /// The cells, in the order of the columns.
    fn cells(&self) -> [&str; RESULT_COLUMNS.len()] {
        [
            &self.status,
            &self.reason,
            &self.bank_code,
            &self.bank_log_id,
            &self.operation_id,
            &self.key,
            &self.generation,
            &self.settled_at,
        ]
    }
}

/// One line of text that no sheet takes for a formula; bank text is a stranger's.
fn harmless(cell: &str) -> String {
    let visible = cell.trim_start_matches([' ', '\u{a0}']);
    let mark = if visible.starts_with(FORMULA_STARTS) {
        "'"
    } else {
        ""
    };
    let line: String = cell
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    format!("{mark}{line}")
}

/// Writes a result file beside its final name and gives it that name when it is whole.
pub struct ResultWriter {
    writer: csv::Writer<BufWriter<NamedTempFile>>,
    kept: Vec<bool>,
    path: PathBuf,
    folder: PathBuf,
}

impl std::fmt::Debug for ResultWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ResultWriter")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

/// Whether a result file may be written here, to be asked before money moves. A file that is there
/// is replaced only where it is a result file, and not the one that is read.
///
/// # Errors
/// A refusal where the place is taken by something else; [`FilesError::Io`] where the folder cannot
/// be written to.
pub fn check_place(path: &Path, input: &Path) -> Result<(), FilesError> {
    let file = shown(path);
    let failed = |error| FilesError::io("making a result file here", &file, error);
    let refuse = |what| {
        let remedy = "Name another place with --results PATH.";
        Err(FileRefusal::new("results_place", &file, None, what, remedy).into())
    };
    tempfile::tempfile_in(folder_of(path)).map_err(failed)?;
    let there = match path.metadata() {
        Ok(there) => there,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
    };
    if !there.is_file() {
        return refuse(
            "something is there that is not a file, and the result file would replace it",
        );
    }
    if path.canonicalize().map_err(failed)? == input.canonicalize().map_err(failed)? {
        return refuse("this is the file to run, and the result file would replace it");
    }
    let mut head = Vec::new();
    let opened = File::open(path).map_err(failed)?;
    opened
        .take(MAX_ROW_BYTES)
        .read_to_end(&mut head)
        .map_err(failed)?;
    let header = head.split(|&byte| byte == b'\n').next().unwrap_or_default();
    let [mark, ..] = RESULT_COLUMNS.map(str::as_bytes);
    if head.is_empty() || header.windows(mark.len()).any(|part| part == mark) {
        return Ok(());
    }
    refuse("a file is there that is not a result file, and it would be replaced")
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        Some(_) | None => Path::new("."),
    }
}

impl ResultWriter {
    /// Begins a file of these columns; an existing one of this name stays until the new is whole.
    ///
    /// # Errors
    /// [`FilesError::Io`] where the folder cannot be written to.
    pub fn create(path: &Path, layout: &ResultLayout) -> Result<Self, FilesError> {
        let folder = folder_of(path).to_owned();
        let failed = |error| FilesError::io("beginning the result file", &shown(path), error);
        // `tempfile` creates with mode 0600, and the rename keeps it.
        let file = tempfile::Builder::new()
            .prefix(".tanda-results-")
            .suffix(".part")
            .tempfile_in(&folder)
            .map_err(failed)?;
        let mut file = BufWriter::new(file);
        if layout.has_bom {
            file.write_all("\u{feff}".as_bytes()).map_err(failed)?;
        }
        let writer = WriterBuilder::new()
            .delimiter(layout.delimiter)
            .terminator(Terminator::CRLF)
            .quote_style(QuoteStyle::Necessary)
            .flexible(false)
            .from_writer(file);
        let mut results = Self {
            writer,
            kept: layout.kept.clone(),
            path: path.to_owned(),
            folder,
        };
        results.write(
            layout.names.iter().map(String::as_str),
            &RESULT_COLUMNS.map(str::to_owned),
        )?;
        Ok(results)
    }

    /// Adds a row.
    ///
    /// # Errors
    /// [`FilesError::Io`] where it cannot be written.
    pub fn row(&mut self, original: &OriginalRow, result: &RowResult) -> Result<(), FilesError> {
        self.write(original.record.iter(), &result.cells().map(harmless))
    }

    fn write<'a>(
        &mut self,
        originals: impl Iterator<Item = &'a str>,
        ours: &[String; RESULT_COLUMNS.len()],
    ) -> Result<(), FilesError> {
        let kept = originals
            .zip(&self.kept)
            .filter(|(_, kept)| **kept)
            .map(|(cell, _)| cell);
        self.writer
            .write_record(kept.chain(ours.iter().map(String::as_str)))
            .map_err(|error| {
                FilesError::io("writing the result file", &shown(&self.path), error.into())
            })
    }

    /// Makes the file durable under its final name.
    ///
    /// # Errors
    /// [`FilesError::Io`] where that fails; the final name then has what it had before.
    pub fn finish(self) -> Result<(), FilesError> {
        let failed = |error| FilesError::io("finishing the result file", &shown(&self.path), error);
        let buffered = self
            .writer
            .into_inner()
            .map_err(|error| failed(io::Error::other(error.to_string())))?;
        let file = buffered
            .into_inner()
            .map_err(|error| failed(error.into_error()))?;
        file.as_file().sync_all().map_err(failed)?;
        file.persist(&self.path)
            .map_err(|error| failed(error.error))?;
        // The rename itself is durable only once the folder is.
        File::open(&self.folder)
            .and_then(|folder| folder.sync_all())
            .map_err(failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::outcome::{BankError, BankWords, SCHEMA};

    #[test]
    fn no_cell_of_ours_is_a_formula() {
        for (cell, written) in [
            ("=1+1", "'=1+1"),
            ("+57", "'+57"),
            ("-1", "'-1"),
            ("@x", "'@x"),
            ("\tx", "' x"),
            ("\r=x", "' =x"),
            (" \u{a0}=x", "' \u{a0}=x"),
            ("a=b", "a=b"),
            ("two\nlines", "two lines"),
            ("", ""),
        ] {
            assert_eq!(harmless(cell), written, "{cell:?}");
        }
    }

    #[test]
    fn an_outcome_becomes_plain_text() {
        let outcome = OutcomeMessage {
            schema: SCHEMA.to_owned(),
            event_id: String::new(),
            seq: 1,
            entity_id: None,
            card_id: None,
            operation: None,
            amount: None,
            status: "rejected".to_owned(),
            is_final: true,
            idempotency_key: Some("4b098277".to_owned()),
            generation: Some(2),
            attempts: 1,
            bank: Some(BankWords {
                errors: ["card_frozen", "card_blocked"]
                    .map(|code| BankError {
                        error_code: code.to_owned(),
                        message: String::new(),
                        path: None,
                    })
                    .into(),
                log_id: Some("log_7MkW".to_owned()),
                ..BankWords::default()
            }),
            reason: None,
            batch_id: None,
            line: None,
            received_at: None,
            settled_at: "2026-11-24T00:00:00.000Z".to_owned(),
        };
        let result = RowResult::from_outcome(&outcome);
        assert_eq!(
            result.cells(),
            [
                "rejected",
                "",
                "card_frozen card_blocked",
                "log_7MkW",
                "",
                "4b098277",
                "2",
                "2026-11-24T00:00:00.000Z"
            ]
        );
    }
}
