//! Floor 3: files that people write, and the result files they get back. The only `csv`.
//!
//! *What this is.* [`spool`] takes a private copy of a file, [`check()`] reads the whole copy once and
//! says everything that is wrong with it, [`source`] offers its rows to the engine, [`results`]
//! writes what became of them beside the original columns.
//!
//! ```text
//! file ── Spool::take ──> private copy ──┬─ check ─────────> Checked (totals, errors, how it is read)
//!                                        ├─ FileSource ────> deliveries, in the order of the rows
//!                                        └─ OriginalRows ─┬> ResultWriter ──> result file
//!                                                         └> FixWriter ─────> rows to fix
//! ```
//!
//! *What it promises.* What was checked is what is sent: every reading is of the same copy. A file
//! is read in one way only; what could be read in two, or is not plain CSV in UTF-8, is refused
//! with a stable code and what to do. Memory does not grow with the file, except 16 bytes a row
//! while checking (I11). No row is ever shifted, rounded or repaired.
//!
//! *What it refuses to know.* The bank, the ledger, and what a job's way through them is.

mod amount;
pub mod check;
pub mod fixes;
mod formula;
mod guard;
mod header;
mod notation;
pub mod original;
pub mod refusal;
mod replay;
pub mod results;
mod row;
pub mod source;
pub mod spool;
mod table;
mod totals_row;
mod words;
mod writing;

pub use amount::Decimal;
pub use check::{Checked, check};
pub use fixes::FixWriter;
pub use header::Delimiter;
pub use notation::DecimalReading;
pub use original::{Layout, OriginalRow, OriginalRows};
pub use refusal::{FileRefusal, FilesError};
pub use replay::RowContent;
pub use results::{ResultWriter, RowResult};
pub use row::RowError;
pub use source::{FileSource, RowCounts};
pub use spool::Spool;
pub use writing::is_same_place;

use crate::domain::money::Currencies;

/// The largest file taken unless the settings say otherwise, in bytes: some two million rows.
pub const MAX_FILE_BYTES: u64 = 256 * 1024 * 1024;
/// The most rows in a file unless the settings say otherwise. The largest payrolls are a tenth of it;
/// it bounds what a check keeps in memory (16 bytes a row).
pub const MAX_ROWS: u64 = 1_000_000;
/// The most columns: more is a file of something else.
pub const MAX_COLUMNS: usize = 256;
/// The longest cell, in characters; no field of a job is longer than 255.
pub const MAX_CELL_CHARS: usize = 4_096;
/// The longest row, in bytes. A quote that is never closed swallows rows; this bounds how many are
/// held in memory before it is noticed.
pub const MAX_ROW_BYTES: u64 = 1024 * 1024;

/// What to do about a file in another encoding.
const SAVE_AS_UTF8: &str = "Open it in the program that wrote it and save it as \"CSV UTF-8\".";

/// How files are read: the settings that decide what a row means and how much is taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadingRules {
    /// The currencies that rows may use, with their minor digits and ceilings.
    pub currencies: Currencies,
    /// The sign before decimals, where a person chose it.
    pub decimal: Option<Decimal>,
    /// The largest file, in bytes.
    pub max_bytes: u64,
    /// The most rows with something in them, without the header.
    pub max_rows: u64,
}

impl Default for ReadingRules {
    fn default() -> Self {
        Self {
            currencies: Currencies::default(),
            decimal: None,
            max_bytes: MAX_FILE_BYTES,
            max_rows: MAX_ROWS,
        }
    }
}
