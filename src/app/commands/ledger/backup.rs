//! `tanda ledger backup`: a whole copy of the last commit.
//!
//! *What it promises.* The copy was checked and belongs to its owner alone; it is made while a process
//! goes on paying. Says what it is good for, and what not.
//!
//! *What it refuses to know.* Where copies are kept, and for how long.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;

use crate::app::commands::{open_visit, say, say_json, unreadable};
use crate::app::config::Config;
use crate::app::exit::{Exit, Failure};
use crate::app::streams::tell;
use crate::domain::digest::{Digest, Digester};
use crate::ledger::Visitor;

/// Read at once for the checksum.
const READ_BYTES: usize = 1024 * 1024;

/// What a copy is good for, and what not.
const WHAT_FOR: &str = "\
This copy is for reading: TANDA_LEDGER__URL=sqlite:PATH tanda explain ENTITY_ID (or tanda status).
It cannot be put back in the place of the ledger: it has forgotten every payment made after it, and
paying from it could pay twice. tanda refuses to pay from it.
";

#[derive(Debug, Args)]
pub(in crate::app) struct BackupArgs {
    /// Where to; there must be no file yet
    path: PathBuf,
    /// As one JSON object
    #[arg(long)]
    json: bool,
}

pub(super) fn backup(config: &Config, args: &BackupArgs) -> Result<Exit, Failure> {
    let visitor = open_visit(config)?;
    visitor.backup(&args.path).map_err(|error| {
        let context = "there is no usable copy; the ledger itself was not touched";
        Failure::new(Exit::Unusable, anyhow::Error::new(error).context(context))
    })?;
    // Of the copy itself: the ledger may have gone on.
    let copy = Visitor::open(&args.path).map_err(|error| Failure::new(Exit::Unusable, error))?;
    let overview = copy.overview().map_err(unreadable)?;
    drop(copy);
    let (bytes, sha256) = checksum(&args.path)?;
    if args.json {
        say_json(&serde_json::json!({
            "path": args.path.display().to_string(),
            "bytes": bytes,
            "commit": overview.sequence,
            "ledger_id": overview.ledger_id,
            "sha256": sha256.to_string(),
        }));
    } else {
        say(&format!(
            "{}: {bytes} bytes, up to commit {}, checked\nsha256 {sha256}\n",
            args.path.display(),
            overview.sequence
        ));
        tell(WHAT_FOR);
    }
    Ok(Exit::Done)
}

fn checksum(path: &Path) -> Result<(u64, Digest), Failure> {
    let read = || -> anyhow::Result<(u64, Digest)> {
        use std::io::Read as _;
        let mut file = std::fs::File::open(path)?;
        let mut digester = Digester::default();
        let mut bytes = 0_u64;
        let mut buffer = vec![0_u8; READ_BYTES];
        loop {
            let read = file.read(&mut buffer)?;
            let Some(piece) = buffer.get(..read).filter(|piece| !piece.is_empty()) else {
                return Ok((bytes, digester.finish()));
            };
            digester.update(piece);
            bytes += u64::try_from(read)?;
        }
    };
    read()
        .with_context(|| {
            format!(
                "the copy {} was made, but could not be read again",
                path.display()
            )
        })
        .map_err(|error| Failure::new(Exit::Unusable, error))
}
