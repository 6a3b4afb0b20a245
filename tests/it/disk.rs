//! A disk that fails, lies, forgets or is swapped, under the real binary: what the ledger says afterwards
//! is true, or it is refused; the books of the simulated bank judge.
//!
//! `TANDA_DISK=all` runs every case there is; otherwise as many as half a minute allows.
#![expect(
    clippy::indexing_slicing,
    reason = "an index that is not there is a failed test"
)]

mod bank;
mod faults;
mod flips;
mod full;
mod losses;
mod owners;
mod power;

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use tanda::domain::job::EntityId;
use tanda::domain::outcome::Status;
use tanda::ledger::Visitor;
use tanda::ledger::history::History;
use tempfile::TempDir;

use crate::support::payroll::{HEADER, row};
use crate::support::program::{Desk, TANDA, said, statuses};

/// Longer than any command here takes; one that takes longer hangs.
const COMMAND_MAX_S: &str = "120";
/// Cases at once: most of their time they wait for the next ask.
const CASES_AT_ONCE: usize = 6;
/// One row of so many is refused by the bank, always.
const ONE_IN_IS_REFUSED: u32 = 10;

/// Whether every case is to run, however long it takes.
#[expect(
    clippy::disallowed_methods,
    reason = "a longer run is asked for by hand"
)]
pub(crate) fn runs_all() -> bool {
    std::env::var("TANDA_DISK").is_ok_and(|value| value == "all")
}

/// A desk whose ledger is alone in a folder, and files of jobs `E-0`, `E-1`, ….
struct Payroll {
    desk: Desk,
}

impl Payroll {
    fn new(bank: &str) -> Self {
        let mut desk = Desk::new();
        let ledger = desk.path("books/ledger.db");
        desk.set("TANDA_LEDGER__URL", &format!("sqlite:{}", ledger.display()));
        desk.set("TANDA_BANK__BASE_URL", bank);
        let made = desk.tanda(&["init"]);
        assert!(made.status.success(), "{}", said(&made));
        Self { desk }
    }

    /// The folder in which the ledger is alone.
    fn books(&self) -> PathBuf {
        self.desk.path("books")
    }

    /// The command that pays these jobs.
    fn command(&self, jobs: Range<u32>) -> Command {
        let total = format!("topup:COP:{}.00", jobs.len() * 100);
        let rows = jobs.map(|n| row(&name(n), card(n), "100.00"));
        let text = HEADER.to_owned() + &rows.collect::<String>();
        let file = self.desk.write("pay.csv", &text);
        let mut command = self.desk.command(&["run", &file, "--yes"]);
        command.args(["--expect-total", &total]);
        command
    }

    fn pay(&self, jobs: Range<u32>) -> Output {
        let mut command = with_an_end(&self.command(jobs));
        command.output().expect("the program starts")
    }

    /// Whether these jobs, which are those of the last file, have come to their true end, by the
    /// result file, the ledger and the bank's books.
    fn check_settled(
        &self,
        jobs: Range<u32>,
        movements: impl Fn(&str) -> u64,
    ) -> Result<(), String> {
        let told = statuses(&self.desk.path("pay.results.csv"));
        let ledger = Records::of(&self.books()).ok_or("the ledger cannot be read")?;
        if told.len() != jobs.len() {
            return Err(format!("{} results for {jobs:?}", told.len()));
        }
        for (n, told) in jobs.zip(told) {
            let history = ledger.history(n).ok_or("a history cannot be read")?;
            let recorded = history.final_status().map(Status::as_str);
            let moved = movements(&name(n));
            let (status, times) = truth(n);
            if (told.as_str(), recorded, moved) != (status, Some(status), times) {
                return Err(format!(
                    "{} is {told} in the results and {recorded:?} in the ledger, and moved {moved} \
                     times: it must be {status}",
                    name(n)
                ));
            }
        }
        Ok(())
    }
}

/// What must become of a job, and how often it moves money.
fn truth(n: u32) -> (&'static str, u64) {
    if is_refused(n) {
        ("rejected", 0)
    } else {
        ("succeeded", 1)
    }
}

/// The same command, killed where it hangs.
fn with_an_end(command: &Command) -> Command {
    let mut ending = Command::new("timeout");
    ending
        .args(["--signal=KILL", COMMAND_MAX_S, TANDA])
        .args(command.get_args())
        .env_clear()
        .envs(
            command
                .get_envs()
                .filter_map(|(name, value)| Some((name, value?))),
        )
        .current_dir(command.get_current_dir().expect("a desk has a folder"))
        .stdin(Stdio::null());
    ending
}

fn name(n: u32) -> String {
    format!("E-{n}")
}

fn is_refused(n: u32) -> bool {
    n % ONE_IN_IS_REFUSED == ONE_IN_IS_REFUSED - 1
}

/// Two rows to a card; what is refused is on a card of its own, which is frozen.
fn card(n: u32) -> String {
    if is_refused(n) {
        format!("{n}Frozen")
    } else {
        (n / 2).to_string()
    }
}

/// What a ledger says, read from a copy of its files: what is judged stays as it is.
struct Records {
    visitor: Visitor,
    _copy: TempDir,
}

impl Records {
    /// None where it cannot be opened.
    fn of(books: &Path) -> Option<Self> {
        let copy = copy_of(books);
        let visitor = Visitor::open(&copy.path().join("ledger.db")).ok()?;
        Some(Self {
            visitor,
            _copy: copy,
        })
    }

    /// Whether a reader is told that it may be out of date.
    fn is_stale(&self) -> bool {
        self.visitor.check_anchor().is_err()
    }

    /// None where it cannot be read.
    fn history(&self, n: u32) -> Option<History> {
        let entity_id = EntityId::parse(&name(n)).expect("an id");
        self.visitor.history(&entity_id).ok()
    }
}

/// A copy of every file of a folder that has no folders.
pub(crate) fn copy_of(folder: &Path) -> TempDir {
    let copy = tempfile::tempdir().expect("a temporary folder");
    copy_all(folder, copy.path());
    copy
}

fn copy_all(from: &Path, to: &Path) {
    for path in files_in(from) {
        let name = path.file_name().expect("a name");
        std::fs::copy(&path, to.join(name)).expect("a copy");
    }
}

/// The files of one folder in the place of those of another.
pub(crate) fn put_back(from: &Path, to: &Path) {
    for path in files_in(to) {
        std::fs::remove_file(path).expect("removed");
    }
    copy_all(from, to);
}

fn files_in(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("a folder");
    entries
        .map(|entry| entry.expect("an entry").path())
        .collect()
}

/// Runs every case, several at once.
fn each_of<T: Sync>(cases: &[T], run: impl Fn(&T) + Sync) {
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..CASES_AT_ONCE {
            scope.spawn(|| {
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    run(case);
                }
            });
        }
    });
}

/// Numbers that look drawn and follow from a seed (`SplitMix64`).
pub(crate) struct Rng(pub(crate) u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// Below this bound.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}
