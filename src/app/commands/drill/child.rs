//! A process of this very program that a drill starts, hurts and ends.
//!
//! *What it promises.* It never outlives its owner: dropped, it is killed and waited for; and where the
//! owner is killed itself, it ends by its tether. It is in no terminal's foreground, so that ctrl-c is
//! the drill's alone. Nothing of the user's environment reaches it.
//!
//! *What it refuses to know.* What the process does.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child as Process, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::evidence::End;

/// How often a process is looked at: a drill waits for many, and each look costs a microsecond.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// The last bytes of what a process said that are shown where it ended unasked.
const LAST_WORDS_BYTES: u64 = 1_500;

/// What a process is started with.
#[derive(Clone, Debug)]
pub(super) struct Orders {
    pub(super) program: PathBuf,
    pub(super) arguments: Vec<String>,
    /// Its whole environment.
    pub(super) environment: Vec<(String, String)>,
    pub(super) folder: PathBuf,
    /// Where what it says is appended: stdout and stderr.
    pub(super) stdout: PathBuf,
    pub(super) stderr: PathBuf,
}

/// Whether a process still runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Life {
    Runs,
    /// With this exit code; none where a signal ended it.
    Ended(Option<i32>),
}

/// One that was started.
pub(super) struct Child {
    process: Process,
    orders: Orders,
    /// Where its own words begin.
    out_begins: u64,
    err_begins: u64,
    ended: Option<ExitStatus>,
}

impl Child {
    pub(super) fn start(orders: Orders) -> io::Result<Self> {
        let (stdout, out_begins) = appended(&orders.stdout)?;
        let (stderr, err_begins) = appended(&orders.stderr)?;
        let process = Command::new(&orders.program)
            .args(&orders.arguments)
            .arg("--ends-with-stdin")
            .env_clear()
            .envs(orders.environment.iter().cloned())
            .current_dir(&orders.folder)
            .stdin(Stdio::piped())
            .stdout(stdout)
            .stderr(stderr)
            .process_group(0)
            .spawn()?;
        Ok(Self {
            process,
            orders,
            out_begins,
            err_begins,
            ended: None,
        })
    }

    /// Whether it runs now.
    pub(super) fn life(&mut self) -> io::Result<Life> {
        if self.ended.is_none() {
            self.ended = self.process.try_wait()?;
        }
        Ok(match self.ended {
            Some(status) => Life::Ended(status.code()),
            None => Life::Runs,
        })
    }

    /// Waits until it has ended, for so long; how it is then.
    pub(super) async fn ends_within(&mut self, limit: Duration) -> io::Result<Life> {
        let until = Instant::now() + limit;
        loop {
            let life = self.life()?;
            if life != Life::Runs || Instant::now() >= until {
                return Ok(life);
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// SIGKILL; it is gone when this returns.
    pub(super) fn kill(&mut self) -> io::Result<()> {
        if self.life()? == Life::Runs {
            self.process.kill()?;
            self.ended = Some(self.process.wait()?);
        }
        Ok(())
    }

    /// SIGTERM; how it ended, by force where it did not within this time.
    pub(super) async fn stop(&mut self, limit: Duration) -> io::Result<End> {
        let began = Instant::now();
        if self.life()? == Life::Runs
            && let Some(pid) = i32::try_from(self.process.id())
                .ok()
                .and_then(Pid::from_raw)
        {
            // It may end just now: that is seen below.
            kill_process(pid, Signal::TERM).ok();
        }
        let code = match self.ends_within(limit).await? {
            Life::Ended(code) => code,
            Life::Runs => None,
        };
        self.kill()?;
        let took = began.elapsed();
        Ok(End { code, took })
    }

    /// What it has written to stdout so far.
    pub(super) fn said(&self) -> io::Result<String> {
        read_from(&self.orders.stdout, self.out_begins)
    }

    /// The end of what it wrote to stderr.
    pub(super) fn last_words(&self) -> String {
        let path = &self.orders.stderr;
        let length = path.metadata().map_or(0, |metadata| metadata.len());
        let begins = self.err_begins.max(length.saturating_sub(LAST_WORDS_BYTES));
        read_from(path, begins)
            .unwrap_or_default()
            .trim()
            .to_owned()
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // What cannot be killed has ended.
        self.kill().ok();
    }
}

fn appended(path: &Path) -> io::Result<(File, u64)> {
    let file = OpenOptions::new().create(true).append(true).open(path)?;
    let begins = file.metadata()?.len();
    Ok((file, begins))
}

fn read_from(path: &Path, begins: u64) -> io::Result<String> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(begins))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
