//! What can go wrong in a ledger in use.
//!
//! *What it promises.* Each trouble ends the ledger: it is told to everyone who waits, and to
//! everyone who calls later.
//!
//! *What it refuses to know.* Logical answers, such as that a job is already there: those are data.

use std::path::PathBuf;

use crate::ledger::rules::Breach;

/// Why the ledger cannot be used any more. What was being done is added by whoever reports it.
#[derive(Debug, thiserror::Error)]
pub(super) enum Trouble {
    /// SQLite or the disk failed. `#[from]`, because the one who asked says what was being done.
    #[error("SQLite failed")]
    Sql(#[from] rusqlite::Error),
    /// A row is not what was written.
    #[error("a stored {0} cannot be read")]
    Stored(&'static str),
    /// A row, or the tables themselves, are not as they were written.
    #[error("what the table {0} says is not what was written there")]
    Damaged(&'static str),
    /// The caller broke a rule.
    #[error(transparent)]
    Breach(#[from] Breach),
    /// The anchor could not be written.
    #[error("the anchor could not be written")]
    Anchor(#[source] std::io::Error),
    /// A file is no longer the one that was opened: what is written goes where nobody will find it.
    #[error(
        "the file {0} was removed, moved or replaced while it was in use; put it back before anything is \
         started again"
    )]
    Gone(PathBuf),
    /// The sign of life could not be left or read.
    #[error("the lock file could not be dated")]
    Beat(#[source] std::io::Error),
    /// Nobody is there to answer.
    #[error("the ledger is closed")]
    Closed,
}
