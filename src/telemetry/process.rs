//! What happens to the process and to a run as a whole.
//!
//! *What it promises.* Counts and codes only: nothing here names a job or a card.
//!
//! *What it refuses to know.* What a command does.

use tracing::info;

/// The program starts on a command.
#[derive(Debug)]
pub struct ProcessStarted<'a> {
    /// The command.
    pub command: &'a str,
    /// The program's version.
    pub version: &'static str,
}

impl ProcessStarted<'_> {
    /// Logs it.
    pub fn emit(&self) {
        info!(
            command = self.command,
            version = self.version,
            "tanda started"
        );
    }
}

/// The command is over.
#[derive(Debug)]
pub struct ProcessStopped<'a> {
    /// The command.
    pub command: &'a str,
    /// Its exit code.
    pub exit_code: u8,
}

impl ProcessStopped<'_> {
    /// Logs it.
    pub fn emit(&self) {
        info!(
            command = self.command,
            exit_code = self.exit_code,
            "tanda stopped"
        );
    }
}

/// A run is over: how many rows stand how.
#[derive(Clone, Copy, Debug)]
pub struct RunEnded {
    /// Rows that succeeded.
    pub succeeded: u64,
    /// Rows that the bank refused.
    pub rejected: u64,
    /// Rows proven not executed, which will not be sent.
    pub not_sent: u64,
    /// Rows whose id belongs to another job.
    pub conflict: u64,
    /// Rows in doubt.
    pub in_doubt: u64,
    /// Rows that have not begun.
    pub waiting: u64,
}

impl RunEnded {
    /// Logs it.
    pub fn emit(&self) {
        info!(
            succeeded = self.succeeded,
            rejected = self.rejected,
            not_sent = self.not_sent,
            conflict = self.conflict,
            in_doubt = self.in_doubt,
            waiting = self.waiting,
            "the run ended"
        );
    }
}
