//! Whether a ledger is whole, and alone where it stands.
//!
//! *What it promises.* What passes here is believed: every page, index and row is as it was written, the log
//! has lost nothing that shows, and no other process can come to the same file by another name or from
//! another machine. What does not pass is an [`OpenError`], and nothing was changed.
//!
//! *What it refuses to know.* Whether the ledger remembers all that it once knew: that is the anchor's.

use std::path::Path;

use rusqlite::{Connection, Transaction, TransactionBehavior};

use super::open::{self, corrupt, fault, sql};
use super::trouble::Trouble;
use super::{checksum, log};
use crate::ledger::error::{Forgotten, OpenError};
use crate::ledger::place::{self, Watched};

/// Reads every page, index and row, so that damage is found before it is believed: what SQLite can see,
/// and beside it, on a connection of its own, what only a checksum shows.
pub(super) fn check_content(path: &Path, db: &Connection) -> Result<(), OpenError> {
    let other = open::connect_reader(path).map_err(sql(path, "opening it for reading"))?;
    std::thread::scope(|scope| {
        let rows = scope.spawn(move || checksum::check_all(&other));
        let pages = check_pages(path, db);
        let rows = rows
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        pages.and_then(|()| {
            rows.map_err(|trouble| {
                let doing = "comparing its checksums";
                if let Trouble::Sql(error) = trouble {
                    sql(path, doing)(error)
                } else if matches!(trouble, Trouble::Damaged(_)) {
                    corrupt(path, &trouble.to_string())
                } else {
                    fault(path, doing)(trouble)
                }
            })
        })
    })
}

/// SQLite's own check, with every index: a job that an index does not find is one that looks new.
pub(super) fn check_pages(path: &Path, db: &Connection) -> Result<(), OpenError> {
    let finding: String = db
        .query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))
        .map_err(sql(path, "checking that it is whole"))?;
    if finding == "ok" {
        Ok(())
    } else {
        Err(corrupt(path, &finding))
    }
}

/// That SQLite's log has lost nothing that was durable. Nobody may write to it meanwhile.
pub(super) fn check_log(path: &Path, db: &Connection) -> Result<(), OpenError> {
    let hold = Transaction::new_unchecked(db, TransactionBehavior::Immediate)
        .map_err(sql(path, "opening it"))?;
    let log_path = place::beside(path, "-wal");
    let has_lost = log::has_lost_commits(&log_path).map_err(fault(path, "reading its log"))?;
    drop(hold);
    if has_lost {
        return Err(OpenError::Forgot {
            path: path.to_owned(),
            anchor: open::anchor_of(path),
            how: Forgotten::LogIsBroken { log: log_path },
        });
    }
    Ok(())
}

/// The files that must stay in their places while the ledger is in use.
pub(super) fn watch(path: &Path) -> Result<Vec<Watched>, OpenError> {
    [path.to_owned(), place::beside(path, ".lock")]
        .into_iter()
        .map(Watched::at)
        .collect::<std::io::Result<_>>()
        .map_err(fault(path, "looking at its files"))
}

/// A file with two names has two locks and two logs.
pub(super) fn check_names(path: &Path) -> Result<(), OpenError> {
    let names = place::names(path).map_err(fault(path, "looking at its names"))?;
    if names <= 1 {
        return Ok(());
    }
    Err(OpenError::ManyNames {
        path: path.to_owned(),
    })
}

/// A ledger stands on a disk of this machine: over a network neither its lock nor SQLite's log work.
pub(super) fn check_place(path: &Path) -> Result<(), OpenError> {
    match place::network_file_system(path).map_err(fault(path, "looking at its file system"))? {
        None => Ok(()),
        Some(kind) => Err(OpenError::OverNetwork {
            path: path.to_owned(),
            kind,
        }),
    }
}
