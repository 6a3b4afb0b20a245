//! The result file: every original row and column in order, and what became of it.
//!
//! *What it promises.* A result file can be submitted again: columns that an earlier run added are
//! replaced, not doubled, and every cell is read as it was before. A row that is no job has the
//! status `invalid` and its error codes.
//!
//! *What it refuses to know.* The ledger: whoever writes looks the rows up.

use std::path::Path;

use super::formula::harmless;
use super::header::RESULT_COLUMNS;
use super::original::{Layout, OriginalRow};
use super::refusal::FilesError;
use super::row::RowError;
use super::writing::{self, Kind, TableWriter};
use crate::domain::outcome::Status;
use crate::wire::outcome::OutcomeMessage;

const KIND: Kind = Kind {
    code: "results_place",
    name: "result file",
    flag: "--results",
    column: "tanda_status",
};

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

    /// What is said of a row that is no job: it was left out, and why.
    #[must_use]
    pub fn of_bad_row(errors: &[RowError]) -> Self {
        let mut codes: Vec<&str> = Vec::new();
        for error in errors {
            if !codes.contains(&error.code) {
                codes.push(error.code);
            }
        }
        Self {
            status: Status::Invalid.as_str().to_owned(),
            reason: codes.join(" "),
            ..Self::default()
        }
    }

    /// What these cells say, in the order of the columns.
    pub(super) fn from_cells(cells: [String; RESULT_COLUMNS.len()]) -> Self {
        let [
            status,
            reason,
            bank_code,
            bank_log_id,
            operation_id,
            key,
            generation,
            settled_at,
        ] = cells;
        Self {
            status,
            reason,
            bank_code,
            bank_log_id,
            operation_id,
            key,
            generation,
            settled_at,
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

/// Writes a result file beside its final name and gives it that name when it is whole.
pub struct ResultWriter(TableWriter);

impl std::fmt::Debug for ResultWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ResultWriter").finish_non_exhaustive()
    }
}

/// Whether a result file may be written here, to be asked before money moves. A file that is there
/// is replaced only where it is a result file, and not the one that is read.
///
/// # Errors
/// A refusal where the place is taken by something else; [`FilesError::Io`] where the folder cannot
/// be written to.
pub fn check_place(path: &Path, input: &Path) -> Result<(), FilesError> {
    writing::check_place(path, &[input], &KIND)
}

impl ResultWriter {
    /// Begins a file of these columns; an existing one of this name stays until the new is whole.
    ///
    /// # Errors
    /// [`FilesError::Io`] where the folder cannot be written to.
    pub fn create(path: &Path, layout: &Layout) -> Result<Self, FilesError> {
        TableWriter::create(path, layout, &RESULT_COLUMNS).map(Self)
    }

    /// Adds a row.
    ///
    /// # Errors
    /// [`FilesError::Io`] where it cannot be written.
    pub fn row(&mut self, original: &OriginalRow, result: &RowResult) -> Result<(), FilesError> {
        let cells = result.cells().map(harmless);
        self.0
            .row(&original.record, &cells.each_ref().map(String::as_str))
    }

    /// Makes the file durable under its final name.
    ///
    /// # Errors
    /// [`FilesError::Io`] where that fails; the final name then has what it had before.
    pub fn finish(self) -> Result<(), FilesError> {
        self.0.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::outcome::{BankError, BankWords, SCHEMA};

    #[test]
    fn a_bad_row_names_each_of_its_codes_once() {
        let error = |code| RowError::new(2, "amount", code, "", "");
        let errors = ["card_id", "amount_format", "card_id"].map(error);
        let result = RowResult::of_bad_row(&errors);
        assert_eq!(result.status, "invalid");
        assert_eq!(result.reason, "card_id amount_format");
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
        let read = RowResult::from_cells(result.cells().map(str::to_owned));
        assert_eq!(read, result);
    }
}
