//! `tanda ledger backup|prune|accept-loss`: what people do to the ledger as a file.
//!
//! *What it promises.* Nothing that says whether a job was paid is ever lost by it; what was lost without it
//! is accepted by name or not at all.
//!
//! *What it refuses to know.* Any single job.

mod accept;
mod backup;
mod prune;

use clap::Subcommand;

use self::accept::AcceptArgs;
use self::backup::BackupArgs;
use self::prune::PruneArgs;
use crate::app::config::Config;
use crate::app::exit::{Exit, Failure};

#[derive(Debug, Subcommand)]
pub(in crate::app) enum LedgerCommand {
    /// Write a whole copy of the ledger to a new file, to read from; it cannot be put back
    Backup(BackupArgs),
    /// Remove the details of what is long over; that it was paid is kept for ever
    Prune(PruneArgs),
    /// Go on with a ledger that has forgotten something or is gone; says first what that means
    AcceptLoss(AcceptArgs),
}

pub(in crate::app) fn ledger(config: &Config, command: &LedgerCommand) -> Result<Exit, Failure> {
    match command {
        LedgerCommand::Backup(args) => backup::backup(config, args),
        LedgerCommand::Prune(args) => prune::prune(config, args),
        LedgerCommand::AcceptLoss(args) => accept::accept(config, args),
    }
}
