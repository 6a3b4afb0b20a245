//! Why a ledger was not made or not opened.
//!
//! *What it promises.* Each message stands alone: what happened, where, what it means for the
//! money, and what to do. In each of these cases nothing was sent to the bank.
//!
//! *What it refuses to know.* Faults of a ledger in use: those are
//! [`LedgerError`](crate::engine::ports::LedgerError)s and end the process.

use std::path::PathBuf;

/// A ledger was not made or not opened; nothing was sent.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// There is none.
    #[error(
        "there is no ledger at {path}. Nothing was sent. A new installation makes its ledger once, \
         with `tanda init`; if this one has paid before, put the ledger and its anchor back or \
         correct the setting, because only the ledger knows what was paid"
    )]
    Missing {
        /// Where it should be.
        path: PathBuf,
    },
    /// One was to be made where one is.
    #[error(
        "there is already a ledger at {path}. It was left as it is and nothing was sent; it can be \
         used without being made again"
    )]
    AlreadyThere {
        /// Where it is.
        path: PathBuf,
    },
    /// Another process uses it.
    #[error(
        "another process of tanda is using the ledger at {path}. Nothing was sent from here: two \
         processes paying from one ledger could pay twice. Wait for the other one or stop it; if \
         there is none, something else holds {lock}"
    )]
    Locked {
        /// The ledger.
        path: PathBuf,
        /// The file that is locked.
        lock: PathBuf,
    },
    /// It belongs to another namespace or bank.
    #[error(
        "the ledger at {path} belongs to the {what} {bound:?}, but the settings say {asked:?}. \
         Nothing was sent: with another {what} the same jobs could be paid a second time. Correct \
         the setting, or use a ledger of its own for {asked:?}"
    )]
    OtherBinding {
        /// The ledger.
        path: PathBuf,
        /// `namespace` or `bank`.
        what: &'static str,
        /// What it was bound to on first use.
        bound: String,
        /// What was asked for.
        asked: String,
    },
    /// A later `tanda` wrote it.
    #[error(
        "the ledger at {path} has format {found}, and this program knows formats up to {known}. \
         Nothing was sent and the file was not changed. Use the newer tanda that wrote it"
    )]
    Newer {
        /// The ledger.
        path: PathBuf,
        /// Its format.
        found: i64,
        /// The newest format that this program knows.
        known: i64,
    },
    /// It does not remember all that it once knew.
    #[error(
        "the ledger at {path} has forgotten something: {how}. Payments may have been made that are \
         recorded nowhere here, and sending their jobs again could pay twice, so nothing was sent. \
         Put back the right file together with its anchor {anchor}. If it is lost for good, \
         `tanda ledger accept-loss` says what that means and goes on without it"
    )]
    Forgot {
        /// The ledger.
        path: PathBuf,
        /// Its anchor.
        anchor: PathBuf,
        /// How we know.
        how: Forgotten,
    },
    /// A loss was to be accepted where nothing is lost.
    #[error(
        "the ledger at {path} has forgotten nothing: it remembers all that its anchor has seen. Nothing \
         was changed; it can be paid from as it is"
    )]
    NothingForgotten {
        /// Where it is.
        path: PathBuf,
    },
    /// It is damaged, or not a ledger.
    #[error(
        "the file {path} is damaged or is not a ledger of tanda ({finding}). What it says about \
         payments cannot be relied on, so nothing was sent. Keep it as it is, and put back an \
         undamaged file of the same ledger; an older copy will be refused, because it would have \
         forgotten payments. If it is lost for good, `tanda ledger accept-loss` says what that means and \
         goes on without it"
    )]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What was found.
        finding: String,
    },
    /// It is known by more than one name.
    #[error(
        "the file of the ledger at {path} has more than one name (hard links). Nothing was sent: under \
         another name a second process could pay from it without knowing of this one. Make a copy in the \
         place of each other name, or remove it"
    )]
    ManyNames {
        /// The ledger.
        path: PathBuf,
    },
    /// It is on another machine.
    #[error(
        "the ledger at {path} is on a file system that is shared over a network ({kind}). Nothing was \
         sent: there two processes could pay from one ledger without knowing of each other. Put it on a \
         disk of this machine"
    )]
    OverNetwork {
        /// The ledger.
        path: PathBuf,
        /// The kind of file system.
        kind: String,
    },
    /// The disk or SQLite said no.
    #[error(
        "the ledger at {path} could not be used: {doing} failed. Nothing was sent. Check that the \
         disk has room and that this user may write there, then start again"
    )]
    Unusable {
        /// The ledger.
        path: PathBuf,
        /// What we were doing.
        doing: &'static str,
        /// What the system said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// How we know that a ledger has forgotten something.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Forgotten {
    /// It is an older copy, or lost its last commits.
    #[error("it ends at commit {sequence}, but had come to commit {anchored}")]
    Behind {
        /// Its last commit.
        sequence: i64,
        /// The commit that its anchor saw.
        anchored: i64,
    },
    /// The anchor is another ledger's.
    #[error("the anchor beside it belongs to another ledger")]
    OtherLedger,
    /// Commits that were durable are in its log and cannot be read any more.
    #[error("its log {log} breaks off in the middle, and later commits in it cannot be read")]
    LogIsBroken {
        /// The log of SQLite.
        log: PathBuf,
    },
    /// It was used, and nothing says how far.
    #[error("it has come to commit {sequence}, and the anchor that knows its last one is missing")]
    AnchorIsMissing {
        /// Its last commit.
        sequence: i64,
    },
    /// Nothing says how far it had come.
    #[error("the anchor that knows its last commit cannot be read")]
    AnchorIsUnreadable,
    /// It cannot be relied on.
    #[error("it is damaged ({finding})")]
    Damaged {
        /// What was found.
        finding: String,
    },
    /// Nothing is left of it, if it ever was.
    #[error("there is no ledger and nothing is left of one")]
    All,
    /// The file is gone, and parts of it are still there.
    #[error("the ledger itself is gone, and only {left} is still there")]
    Remains {
        /// What is left of it.
        left: PathBuf,
    },
}

impl OpenError {
    /// Whether it may work later, without any change.
    #[must_use]
    pub const fn is_locked(&self) -> bool {
        matches!(self, Self::Locked { .. })
    }
}
