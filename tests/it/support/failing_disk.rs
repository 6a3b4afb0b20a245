//! A disk that fails on demand, for the real binary: a library of ours (`failing_disk.c`), preloaded,
//! stands before the calls that write and flush files.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// Calls of one kind are counted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    Write,
    Sync,
}

/// What the system says of a failed call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Errno {
    /// The disk is broken.
    Eio,
    /// It is full.
    Enospc,
}

/// One fault: the n-th call of a kind fails.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fault {
    pub(crate) call: Call,
    pub(crate) errno: Errno,
    /// From 1.
    pub(crate) at: u32,
    /// Whether all calls of that kind after it fail too.
    pub(crate) lasts: bool,
}

/// A call that was made on a file of the disk.
#[derive(Clone, Debug)]
pub(crate) struct Made {
    pub(crate) call: Call,
    pub(crate) failed: bool,
    pub(crate) path: PathBuf,
}

/// The files of a folder, or one file, under one command.
pub(crate) struct FailingDisk {
    text: String,
    is_file: bool,
    log: PathBuf,
}

impl FailingDisk {
    /// The disk of this folder; calls are noted in a file of that name.
    pub(crate) fn of(folder: &Path, log: PathBuf) -> Self {
        Self {
            text: folder.display().to_string(),
            is_file: false,
            log,
        }
    }

    /// The disk of this file alone.
    pub(crate) fn of_file(file: &Path, log: PathBuf) -> Self {
        Self {
            is_file: true,
            ..Self::of(file, log)
        }
    }

    /// Puts it under a command, with this fault.
    pub(crate) fn under(&self, command: &mut Command, fault: Option<Fault>) {
        command
            .env("LD_PRELOAD", library())
            .env("FAILING_DISK_PATH", &self.text)
            .env("FAILING_DISK_LOG", &self.log);
        if self.is_file {
            command.env("FAILING_DISK_END", "1");
        }
        let Some(fault) = fault else { return };
        let call = match fault.call {
            Call::Write => "write",
            Call::Sync => "sync",
        };
        let error = match fault.errno {
            Errno::Eio => "EIO",
            Errno::Enospc => "ENOSPC",
        };
        command
            .env("FAILING_DISK_CALL", call)
            .env("FAILING_DISK_ERROR", error)
            .env("FAILING_DISK_AT", fault.at.to_string());
        if fault.lasts {
            command.env("FAILING_DISK_ON", "1");
        }
    }

    /// Every call that was made, in order.
    pub(crate) fn made(&self) -> Vec<Made> {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        text.lines().map(made).collect()
    }

    /// The file on which the fault came; none where it did not come.
    pub(crate) fn struck(&self) -> Option<PathBuf> {
        let failed = self.made().into_iter().find(|made| made.failed);
        failed.map(|made| made.path)
    }
}

fn made(line: &str) -> Made {
    let mut words = line.splitn(4, ' ');
    let mut word = || words.next().expect("call, number, whether it failed, path");
    let call = match word() {
        "write" => Call::Write,
        "sync" => Call::Sync,
        other => panic!("an unknown call: {other}"),
    };
    word();
    Made {
        call,
        failed: word() == "failed",
        path: PathBuf::from(word()),
    }
}

/// Keeps what a power cut would leave of a folder under a command: nothing but what was flushed.
pub(crate) fn keep_what_is_flushed(command: &mut Command, folder: &Path, kept: &Path) {
    command
        .env("LD_PRELOAD", library())
        .env("FAILING_DISK_PATH", folder)
        .env("FAILING_DISK_KEEPS", kept);
}

/// Puts into a folder what was kept of it. A file whose name was flushed and whose content never was is
/// empty.
pub(crate) fn cut_the_power(folder: &Path, kept: &Path) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        std::fs::remove_file(entry.expect("an entry").path()).expect("removed");
    }
    let names = std::fs::read_to_string(kept.join("names")).expect("the folder was flushed");
    for line in names.lines() {
        let (inode, name) = line.split_once(' ').expect("an inode and a name");
        let content = std::fs::read(kept.join(inode)).unwrap_or_default();
        std::fs::write(folder.join(name), content).expect("put back");
    }
}

/// Leads a command to other mounts than this machine has.
pub(crate) fn pretend_mounts(command: &mut Command, mounts: &Path) {
    command
        .env("LD_PRELOAD", library())
        .env("FAILING_DISK_MOUNTS", mounts);
}

/// Made once for each run of the tests.
fn library() -> &'static Path {
    static LIBRARY: OnceLock<PathBuf> = OnceLock::new();
    LIBRARY.get_or_init(|| {
        let source = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/it/support/failing_disk.c"
        );
        let made = PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
            .join(format!("failing_disk.{}.so", std::process::id()));
        let compiled = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror"])
            .arg("-o")
            .arg(&made)
            .args([source, "-ldl", "-pthread"])
            .status();
        assert!(compiled.expect("a C compiler").success());
        made
    })
}
