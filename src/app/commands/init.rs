//! `tanda init`: the configuration file and the ledger, once.
//!
//! *What it promises.* Nothing that exists is overwritten.
//!
//! *What it refuses to know.* The bank.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write as _};
use std::path::Path;

use anyhow::Context as _;

use super::say;
use crate::app::config::{Config, TEMPLATE, default_file};
use crate::app::exit::{Exit, Failure};
use crate::ledger::SqliteLedger;

/// Only its owner may read and write the file.
#[cfg(unix)]
const OWNER_ONLY: u32 = 0o600;

pub(in crate::app) fn init(file: Option<&Path>) -> Result<Exit, Failure> {
    let path = file.map_or_else(default_file, Path::to_path_buf);
    match write_new(&path) {
        Ok(true) => say(&format!("wrote {}\n", path.display())),
        Ok(false) => say(&format!(
            "{} is there already; it was left as it is\n",
            path.display()
        )),
        Err(error) => return Err(Failure::new(Exit::Usage, error)),
    }
    let config = Config::load(Some(&path)).map_err(|error| Failure::new(Exit::Usage, error))?;
    let ledger = config
        .ledger_path()
        .map_err(|error| Failure::new(Exit::Usage, error))?;
    if ledger.exists() {
        say(&format!(
            "the ledger {} is there already; it was left as it is\n",
            ledger.display()
        ));
        return Ok(Exit::Done);
    }
    SqliteLedger::create(&ledger).map_err(|error| Failure::new(Exit::Unusable, error))?;
    say(&format!("made the ledger {}\n", ledger.display()));
    say(
        "next: give the bank's token in TANDA_BANK__TOKEN, or name its file in bank.token_file; look \
         at the settings with `tanda config`; rehearse with `tanda run FILE --simulate`; then `tanda \
         run FILE`\n",
    );
    Ok(Exit::Done)
}

/// Whether the file was written; it is not where there is one.
fn write_new(path: &Path) -> anyhow::Result<bool> {
    let context = || {
        format!(
            "the configuration file {} cannot be written",
            path.display()
        )
    };
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    // A token may come to stand in it.
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, OWNER_ONLY);
    match options.open(path) {
        Ok(mut file) => {
            file.write_all(TEMPLATE.as_bytes()).with_context(context)?;
            Ok(true)
        }
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error).with_context(context),
    }
}
