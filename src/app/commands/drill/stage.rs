//! Where a drill plays: a folder of its own, and what its processes are started with.
//!
//! *What it promises.* Ledger, configuration, token and files are the drill's own, in its folder, which is
//! removed with everything in it unless it is to be kept, or holds what broke an invariant. No setting of the user's reaches a process.
//!
//! *What it refuses to know.* What is played.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use tempfile::TempDir;

use super::child::{Child, Life, Orders};
use super::plan::SETTLE_DELAY_S;
use crate::app::exit::{Exit, Failure};

/// How long a process may take that only prepares something.
const PREPARE_LIMIT: Duration = Duration::from_secs(60);
/// How long a stop waits for calls under way, and may take in all.
const DRAIN_S: u64 = 8;
pub(super) const STOP_LIMIT: Duration = Duration::from_secs(DRAIN_S + 7);
/// The longest time for one call of the bank: less than the drain.
const REQUEST_TIMEOUT_S: u64 = 4;
/// Waits of the engine, shortened so that a drill takes a minute and not a day. The others are as they
/// are built in.
const SHORT_WAITS: &[(&str, u64)] = &[
    ("TANDA_BANK__CONNECT_TIMEOUT_S", 2),
    ("TANDA_BANK__REQUEST_TIMEOUT_S", REQUEST_TIMEOUT_S),
    ("TANDA_ENGINE__BACKOFF_BASE_MS", 20),
    ("TANDA_ENGINE__RESEND_WINDOW_S", 10),
    ("TANDA_ENGINE__SETTLE_DELAY_S", SETTLE_DELAY_S),
    ("TANDA_ENGINE__PROBE_EVERY_S", 1),
    ("TANDA_ENGINE__HOLD_MAX_S", 10),
    ("TANDA_ENGINE__DRAIN_S", DRAIN_S),
    // Refusals are dealt on purpose; and a disk that is nearly full must end a drill, not hold it.
    ("TANDA_ENGINE__REFUSALS_IN_A_ROW", 0),
    ("TANDA_LEDGER__MIN_FREE_MIB", 0),
];

/// A folder for a drill.
pub(super) struct Stage {
    folder: Folder,
    program: PathBuf,
    /// The token of its bank: so marked that it is found wherever it may leak.
    token: String,
}

enum Folder {
    Passing(TempDir),
    Kept(PathBuf),
}

impl Stage {
    /// A new folder: the one to be kept, which must be new or empty, or one that goes with the drill.
    pub(super) fn set(id: &str, keep: Option<&Path>) -> Result<Self, Failure> {
        let folder = match keep {
            Some(path) => kept(path)?,
            None => tempfile::Builder::new()
                .prefix("tanda-drill-")
                .tempdir()
                .map(Folder::Passing)
                .context("no temporary folder could be made; nothing was started")
                .map_err(unusable)?,
        };
        let program = std::env::current_exe()
            .context("this program could not find itself; nothing was started")
            .map_err(unusable)?;
        Ok(Self {
            folder,
            program,
            token: format!("drill-{id}"),
        })
    }

    /// From now on the folder stays; where it is.
    pub(super) fn keep(&mut self) -> &Path {
        if let Folder::Passing(folder) = &mut self.folder {
            folder.disable_cleanup(true);
        }
        self.path()
    }

    fn path(&self) -> &Path {
        match &self.folder {
            Folder::Passing(folder) => folder.path(),
            Folder::Kept(folder) => folder,
        }
    }

    /// The ground for one round.
    pub(super) fn ground(&self, round: u64) -> Result<Ground, Failure> {
        let folder = self.path().join(format!("round-{round}"));
        let context = || format!("{} could not be made", folder.display());
        fs::create_dir(&folder)
            .with_context(context)
            .map_err(unusable)?;
        let ledger = folder.join("ledger.db");
        let own = [
            ("HOME", folder.display().to_string()),
            ("TANDA_LEDGER__URL", format!("sqlite:{}", ledger.display())),
            ("TANDA_BANK__TOKEN", self.token.clone()),
            ("TANDA_METRICS__LISTEN", "off".to_owned()),
            ("TANDA_LOG__LEVEL", "info".to_owned()),
        ];
        let short = SHORT_WAITS
            .iter()
            .map(|(name, value)| (*name, value.to_string()));
        let environment = own.into_iter().chain(short);
        Ok(Ground {
            environment: environment
                .map(|(name, value)| (name.to_owned(), value))
                .collect(),
            program: self.program.clone(),
            token: self.token.clone(),
            is_kept: matches!(self.folder, Folder::Kept(_)),
            folder,
        })
    }
}

fn kept(path: &Path) -> Result<Folder, Failure> {
    let shown = path.display();
    let refuse = |error: anyhow::Error| Failure::new(Exit::Usage, error);
    fs::create_dir_all(path)
        .with_context(|| format!("--keep {shown} could not be made; nothing was started"))
        .map_err(refuse)?;
    let mut entries = fs::read_dir(path)
        .with_context(|| format!("--keep {shown} cannot be read; nothing was started"))
        .map_err(refuse)?;
    if entries.next().is_some() {
        let error = anyhow!("--keep {shown} is not empty; name a new folder. Nothing was started");
        return Err(refuse(error));
    }
    let whole = path
        .canonicalize()
        .with_context(|| format!("--keep {shown}"))
        .map_err(refuse)?;
    Ok(Folder::Kept(whole))
}

fn unusable(error: anyhow::Error) -> Failure {
    Failure::new(Exit::Unusable, error)
}

/// The folder of one round and what its processes are started with. It is removed when it is dropped,
/// unless it is to be kept.
pub(super) struct Ground {
    folder: PathBuf,
    program: PathBuf,
    token: String,
    environment: Vec<(String, String)>,
    is_kept: bool,
}

impl Ground {
    /// From now on the folder stays.
    pub(super) fn keep(&mut self) {
        self.is_kept = true;
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    pub(super) fn ledger(&self) -> PathBuf {
        self.path("ledger.db")
    }

    pub(super) fn token(&self) -> &str {
        &self.token
    }

    /// Sets something for the processes that are started from now on.
    pub(super) fn set(&mut self, name: &str, value: String) {
        self.environment.push((name.to_owned(), value));
    }

    /// Writes a file.
    pub(super) fn write(&self, name: &str, text: &[u8]) -> Result<PathBuf, Failure> {
        let path = self.path(name);
        fs::write(&path, text)
            .with_context(|| format!("{} could not be written", path.display()))
            .map_err(unusable)?;
        Ok(path)
    }

    /// What this program is started with; what it says goes into files of this name.
    pub(super) fn orders(&self, arguments: &[&str], name: &str) -> Orders {
        Orders {
            program: self.program.clone(),
            arguments: arguments.iter().map(|&it| it.to_owned()).collect(),
            environment: self.environment.clone(),
            folder: self.folder.clone(),
            stdout: self.path(&format!("{name}.out")),
            stderr: self.path(&format!("{name}.log")),
        }
    }

    /// Runs a command to its end, which must be a good one.
    pub(super) async fn prepare(&self, arguments: &[&str]) -> Result<(), Failure> {
        let what = arguments.join(" ");
        let started = Child::start(self.orders(arguments, "prepare"));
        let mut child = started
            .with_context(|| format!("`tanda {what}` could not be started"))
            .map_err(unusable)?;
        let life = child
            .ends_within(PREPARE_LIMIT)
            .await
            .with_context(|| format!("`tanda {what}`"))
            .map_err(unusable)?;
        if life == Life::Ended(Some(0)) {
            return Ok(());
        }
        let words = child.last_words();
        Err(unusable(anyhow!(
            "`tanda {what}` did not end well: {words}"
        )))
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        if !self.is_kept {
            // What is left goes with the folder of the drill.
            fs::remove_dir_all(&self.folder).ok();
        }
    }
}
