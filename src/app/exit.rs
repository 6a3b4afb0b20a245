//! Exit codes and the failures that lead to them.
//!
//! *What it promises.* One meaning for each code, the same for every command.
//!
//! *What it refuses to know.* Any command.

use std::iter;
use std::process::ExitCode;

/// What a command's exit code means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Exit {
    /// Done; everything succeeded.
    Done,
    /// A fault of tanda.
    Internal,
    /// The command line or the configuration is wrong.
    Usage,
    /// What was given is refused: a file, a row, an id, a decision; nothing was sent.
    Input,
    /// Credentials are missing or refused; nothing was sent.
    Credentials,
    /// The policy of the settings says no; nothing was sent.
    Policy,
    /// Finished, some rejected, not sent, in conflict or left out.
    SomeRefused,
    /// Finished, some in doubt or waiting; wins over the former.
    SomeOpen,
    /// Bank, broker or ledger cannot be used; nothing is lost.
    Unusable,
    /// Stopped by an interrupt (ctrl-c); the state is consistent.
    Interrupted,
    /// Stopped by a termination signal; the state is consistent.
    Terminated,
}

impl Exit {
    /// The one of two that says more is wrong.
    pub(super) fn worse(self, other: Self) -> Self {
        if other.code() > self.code() {
            other
        } else {
            self
        }
    }

    pub(super) const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Internal => 1,
            Self::Usage => 2,
            Self::Input => 3,
            Self::Credentials => 4,
            Self::Policy => 5,
            Self::SomeRefused => 6,
            Self::SomeOpen => 7,
            Self::Unusable => 8,
            Self::Interrupted => 130,
            Self::Terminated => 143,
        }
    }
}

/// The exit codes, as the end of the help shows them.
pub(super) fn help() -> String {
    let lines = MEANINGS
        .iter()
        .map(|(codes, meaning)| format!("  {codes:<8} {meaning}"));
    iter::once("Exit codes:".to_owned())
        .chain(lines)
        .collect::<Vec<_>>()
        .join("\n")
}

/// Every exit code and what it means.
const MEANINGS: &[(&str, &str)] = &[
    ("0", "done"),
    ("1", "a fault of tanda; nothing is lost"),
    (
        "2",
        "the command line or a setting is wrong; nothing was sent",
    ),
    (
        "3",
        "refused: a file, a row, an id or a decision is not as it must be; nothing was sent",
    ),
    ("4", "the token is missing or refused; nothing was sent"),
    ("5", "the policy of the settings says no; nothing was sent"),
    (
        "6",
        "finished; some rejected, not_sent or conflict, or left out by --valid-only",
    ),
    ("7", "finished; some in_doubt or waiting (wins over 6)"),
    (
        "8",
        "bank, broker or ledger cannot be used; nothing is lost",
    ),
    (
        "130,143",
        "stopped by ctrl-c or a termination signal; the state is consistent",
    ),
];

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// Why a command ended early.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) exit: Exit,
    pub(super) error: anyhow::Error,
}

impl Failure {
    pub(super) fn new(exit: Exit, error: impl Into<anyhow::Error>) -> Self {
        Self {
            exit,
            error: error.into(),
        }
    }

    pub(super) const fn internal(error: anyhow::Error) -> Self {
        Self {
            exit: Exit::Internal,
            error,
        }
    }
}
