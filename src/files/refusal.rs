//! Why a file as a whole is not read, in words for the person who wrote it.
//!
//! *What it promises.* Every refusal has a stable code, says where, what, and what to do. It never
//! shows a cell that could be a card id (I12).
//!
//! *What it refuses to know.* Rows that are wrong by themselves: those are
//! [`RowError`](super::RowError)s.

use std::fmt;
use std::io;
use std::path::Path;

use super::words::printable;

/// A file that cannot be taken as it is. Nothing was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileRefusal {
    /// A stable word, the same in every language.
    pub code: &'static str,
    /// The file, as it was named.
    pub file: String,
    /// The physical line, from 1, where one line is to blame.
    pub line: Option<u64>,
    /// What is wrong and what it means.
    pub what: String,
    /// What to do about it.
    pub remedy: String,
}

impl FileRefusal {
    pub(super) fn new(
        code: &'static str,
        file: &str,
        line: Option<u64>,
        what: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self {
            code,
            file: file.to_owned(),
            line,
            what: what.into(),
            remedy: remedy.into(),
        }
    }
}

impl fmt::Display for FileRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        write!(f, ": {}. {} [{}]", self.what, self.remedy, self.code)
    }
}

impl std::error::Error for FileRefusal {}

/// What can go wrong in this room.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    /// The file is at fault; its writer can mend it.
    #[error(transparent)]
    Refused(#[from] FileRefusal),
    /// The private copy of the file cannot be made: the file is not at fault.
    #[error("a private copy of the file cannot be made in {folder}")]
    Spool {
        /// The folder for private copies.
        folder: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The machine is at fault.
    #[error("{file}: failed while {doing}")]
    Io {
        /// What we were doing.
        doing: &'static str,
        /// The file it was done to.
        file: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

impl FilesError {
    pub(super) fn io(doing: &'static str, file: &str, source: io::Error) -> Self {
        Self::Io {
            doing,
            file: file.to_owned(),
            source,
        }
    }

    /// The refusal, where the file is at fault.
    #[must_use]
    pub const fn refusal(&self) -> Option<&FileRefusal> {
        match self {
            Self::Refused(refusal) => Some(refusal),
            Self::Spool { .. } | Self::Io { .. } => None,
        }
    }
}

/// A path as people typed it; what is not UTF-8 in it is shown as a mark, and what does not print
/// (S15) is spelled out.
#[must_use]
pub fn shown(path: &Path) -> String {
    printable(&path.display().to_string(), usize::MAX)
}
