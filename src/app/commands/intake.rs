//! A file as commands take it in: a private copy, a check of all of it, and the rows to fix.
//!
//! *What it promises.* Whatever is wrong with the file is a refusal or is in what was checked; only
//! the machine's own trouble is a failure.
//!
//! *What it refuses to know.* What is done with the rows.

use std::path::Path;

use super::reading;
use crate::app::cli::ReadingArgs;
use crate::app::config::Config;
use crate::app::exit::{Exit, Failure};
use crate::app::streams::tell;
use crate::files::{
    self, Checked, FileRefusal, FilesError, FixWriter, OriginalRows, ReadingRules, Spool,
};

/// Rows read at once where a file is read again: few enough to be held, many enough to be quick.
pub(super) const CHUNK_ROWS: usize = 512;

/// Most errors that are printed; all are counted.
const ERRORS_SHOWN: usize = 50;

/// A file that was read.
pub(super) struct Taken {
    pub(super) spool: Spool,
    pub(super) checked: Checked,
}

/// How files are read, by the settings and the command line.
pub(super) fn reading_rules(config: &Config, args: &ReadingArgs) -> Result<ReadingRules, Failure> {
    let currencies = config
        .currencies()
        .map_err(|error| Failure::new(Exit::Usage, error))?;
    Ok(ReadingRules {
        currencies,
        decimal: args.decimal.map(Into::into),
        max_bytes: config.files.max_bytes,
        max_rows: config.files.max_rows,
    })
}

/// A private copy of the file and what it holds, or why it is not read.
pub(super) fn take(
    file: &Path,
    spool_dir: &Path,
    rules: &ReadingRules,
) -> Result<Result<Taken, FileRefusal>, Failure> {
    let taken = Spool::take(file, spool_dir, rules.max_bytes)
        .and_then(|spool| files::check(&spool, rules).map(|checked| Taken { spool, checked }));
    match taken {
        Ok(taken) => Ok(Ok(taken)),
        Err(FilesError::Refused(refusal)) => Ok(Err(refusal)),
        Err(error @ FilesError::Spool { .. }) => {
            let context = "nothing was sent. Check that the disk has room and that this user may \
                           write there, then run it again";
            Err(Failure::new(
                Exit::Unusable,
                anyhow::Error::new(error).context(context),
            ))
        }
        Err(error @ FilesError::Io { .. }) => {
            let context = "the file could not be read; nothing was sent";
            Err(Failure::new(
                Exit::Input,
                anyhow::Error::new(error).context(context),
            ))
        }
    }
}

/// A private copy of the file and what it holds; none where it is not fit to be acted on, which has
/// then been said.
pub(super) fn take_fit(
    file: &Path,
    args: &ReadingArgs,
    spool_dir: &Path,
    rules: &ReadingRules,
) -> Result<Option<Taken>, Failure> {
    let taken = match take(file, spool_dir, rules)? {
        Ok(taken) => taken,
        Err(refusal) => {
            tell(&format!("refused {refusal}\nNothing was sent.\n"));
            return Ok(None);
        }
    };
    let checked = &taken.checked;
    if checked.is_clean() {
        return Ok(Some(taken));
    }
    let written = write_errors(args, &taken, rules)?;
    tell(&reading::errors(file, checked, ERRORS_SHOWN));
    tell(&reading::to_fix(file, checked, args, written));
    if args.valid_only && checked.ok > 0 {
        return Ok(Some(taken));
    }
    tell("Nothing was sent: fix the file and run it again.\n");
    Ok(None)
}

/// Whether the rows to fix of this file have a place, where they were asked for.
pub(super) fn check_errors_place(args: &ReadingArgs, file: &Path) -> Result<(), Failure> {
    let Some(path) = &args.errors_to else {
        return Ok(());
    };
    FixWriter::check_place(path, file).map_err(|error| {
        let context = "nothing was sent, because the rows to fix cannot be written";
        Failure::new(Exit::Usage, anyhow::Error::new(error).context(context))
    })
}

/// Writes the rows to fix where they were asked for and there are some; whether it did.
pub(super) fn write_errors(
    args: &ReadingArgs,
    taken: &Taken,
    rules: &ReadingRules,
) -> Result<bool, Failure> {
    let Some(path) = args
        .errors_to
        .as_deref()
        .filter(|_| !taken.checked.is_clean())
    else {
        return Ok(false);
    };
    let written = || {
        let mut rows = OriginalRows::open(&taken.spool, &taken.checked, rules)?;
        let mut fixes = FixWriter::create(path, rows.layout())?;
        loop {
            let chunk = rows.next_chunk(CHUNK_ROWS)?;
            if chunk.is_empty() {
                return fixes.finish();
            }
            for row in &chunk {
                fixes.row(row)?;
            }
        }
    };
    written().map(|()| true).map_err(|error: FilesError| {
        let context = "the rows to fix could not be written; nothing was sent";
        Failure::new(Exit::Unusable, anyhow::Error::new(error).context(context))
    })
}
