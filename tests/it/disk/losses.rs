//! The ledger is lost in whole or in part: no start pays from what is left before a person has accepted the
//! loss, and after that nothing is paid twice.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use tempfile::TempDir;

use super::bank::RewindableBank;
use super::{Payroll, Rng, copy_of, each_of, files_in, name, runs_all, truth};
use crate::support::program::{Started, exits, said};

/// Jobs of which an older copy of the ledger knows.
const OLD: Range<u32> = 0..20;
/// Those, and more of which the file of the ledger knows.
const BEFORE: Range<u32> = 0..40;
/// All of them: the ledger is lost in the middle of the last.
const ALL: Range<u32> = 0..80;
/// Some replies are lost, so that there is doubt.
const FAULTS: &str = "latency_ms=3,lost=8%";
/// So many losses, or as many as time allows.
const LOSSES_ALL: u64 = 100;
const LOSSES_SOME: u64 = 8;

/// How a ledger is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Loss {
    /// Its file is removed while it is in use.
    Removed,
    /// All its files are.
    AllRemoved,
    /// An older copy is moved to its place while it is in use.
    Replaced,
    /// An older copy is written over it while it is in use, and then its process is killed.
    Overwritten,
    /// Its process is killed, and an older copy put back.
    PutBack,
    /// Its process is killed, and the log that it leaves removed.
    LogRemoved,
    /// Its process is killed, and the end of its file gone.
    CutShort,
    /// Its process is killed, and nothing is left that says how far it had come.
    AnchorRemoved,
}

impl Loss {
    const ALL: [Self; 8] = [
        Self::Removed,
        Self::AllRemoved,
        Self::Replaced,
        Self::Overwritten,
        Self::PutBack,
        Self::LogRemoved,
        Self::CutShort,
        Self::AnchorRemoved,
    ];

    /// Whether the process that uses the ledger sees it.
    const fn ends_its_process(self) -> bool {
        matches!(self, Self::Removed | Self::AllRemoved | Self::Replaced)
    }

    /// Happens to the ledger in this folder, of which this is an older copy.
    fn strike(self, books: &Path, old: &Path) {
        let ledger = books.join("ledger.db");
        let old = old.join("ledger.db");
        match self {
            Self::Removed => remove(&ledger),
            Self::AllRemoved => files_in(books).iter().for_each(|path| remove(path)),
            Self::Replaced => {
                let beside = books.join("restored");
                std::fs::copy(old, &beside).expect("a copy");
                std::fs::rename(beside, ledger).expect("moved");
            }
            Self::Overwritten => write_over(&old, &ledger),
            Self::PutBack => {
                write_over(&old, &ledger);
                remove(&books.join("ledger.db-wal"));
            }
            Self::LogRemoved => remove(&books.join("ledger.db-wal")),
            Self::CutShort => {
                let file = std::fs::OpenOptions::new().write(true).open(ledger);
                let file = file.expect("the ledger");
                let size = file.metadata().expect("the ledger").len();
                file.set_len(size / 3 * 2).expect("cut");
            }
            Self::AnchorRemoved => remove(&books.join("ledger.db.anchor")),
        }
    }
}

fn remove(path: &Path) {
    std::fs::remove_file(path).expect("it was there");
}

fn write_over(from: &Path, to: &Path) {
    std::fs::write(to, std::fs::read(from).expect("a copy")).expect("written over");
}

/// One loss, after so many payments of the last run.
struct Case {
    seed: u64,
    loss: Loss,
    after: usize,
}

impl Case {
    fn draw(seed: u64) -> Self {
        let kinds = u64::try_from(Loss::ALL.len()).expect("few");
        let kind = usize::try_from(seed % kinds).expect("few");
        Self {
            seed,
            loss: Loss::ALL[kind],
            after: usize::try_from(1 + Rng(7_000 + seed).below(30)).expect("few"),
        }
    }

    /// Whether the ledger was refused; or what is wrong.
    fn judge(&self) -> Result<bool, String> {
        let bank = RewindableBank::start(FAULTS);
        let mut payroll = Payroll::new(&bank.url);
        payroll.desk.set("TANDA_ENGINE__RESEND_WINDOW_S", "0");
        exits(&payroll.pay(OLD), 6);
        let old = copy_of(&payroll.books());
        exits(&payroll.pay(BEFORE), 6);
        self.lose(&bank, &payroll, &old)?;
        let mut paid = payroll.pay(ALL);
        let is_refused = paid.status.code() == Some(8);
        if is_refused {
            // Nothing is on its way any more that the process before had sent.
            let heard = bank.report().requests.operations;
            let again = payroll.pay(ALL);
            let words = String::from_utf8_lossy(&again.stderr);
            let was_sent = bank.report().requests.operations != heard;
            if was_sent || again.status.code() != Some(8) || !words.contains("othing was sent") {
                return Err(format!("it was paid from: {}", said(&again)));
            }
            let args = ["ledger", "accept-loss", "--by", "Ana", "--yes"];
            exits(&payroll.desk.tanda(&args), 0);
            paid = payroll.pay(ALL);
        }
        let books = bank.report();
        for n in ALL {
            let (moved, most) = (books.movements(&name(n)), truth(n).1);
            if moved > most {
                return Err(format!("{} moved {moved} times: {}", name(n), said(&paid)));
            }
        }
        if paid.status.code() != Some(6) {
            return Err(said(&paid));
        }
        payroll.check_settled(ALL, |name| books.movements(name))?;
        Ok(is_refused)
    }

    fn lose(&self, bank: &RewindableBank, payroll: &Payroll, old: &TempDir) -> Result<(), String> {
        let paid = || bank.report().entities.len();
        let enough = paid() + self.after;
        let mut run = Started::new(payroll.command(ALL));
        while paid() < enough {
            run.must_run_on();
        }
        let (books, old): (PathBuf, _) = (payroll.books(), old.path());
        if self.loss.ends_its_process() {
            self.loss.strike(&books, old);
            let (code, words) = run.ends();
            if code != Some(8) || !words.contains("removed, moved or replaced") {
                return Err(format!("it went on with {code:?}: {words}"));
            }
        } else if self.loss == Loss::Overwritten {
            self.loss.strike(&books, old);
            run.kill();
        } else {
            run.kill();
            self.loss.strike(&books, old);
        }
        Ok(())
    }
}

#[test]
fn f22_f23_a_ledger_that_is_lost_in_mid_run_pays_nothing_twice() {
    let losses = if runs_all() { LOSSES_ALL } else { LOSSES_SOME };
    let cases: Vec<_> = (0..losses).map(Case::draw).collect();
    let refused = Mutex::new(BTreeMap::new());
    let wrong = Mutex::new(Vec::new());
    each_of(&cases, |case| match case.judge() {
        Ok(is_refused) => {
            let mut refused = refused.lock().expect("whole");
            *refused.entry((case.loss, is_refused)).or_insert(0) += 1;
        }
        Err(fault) => {
            let mut wrong = wrong.lock().expect("whole");
            wrong.push(format!("{:?} of seed {}: {fault}", case.loss, case.seed));
        }
    });
    let (refused, wrong) = (
        refused.into_inner().expect("whole"),
        wrong.into_inner().expect("whole"),
    );
    assert!(wrong.is_empty(), "{refused:?}\n{}", wrong.join("\n\n"));
    eprintln!("losses, and whether they were refused: {refused:?}");
    for loss in Loss::ALL {
        let may_be_whole = loss == Loss::Overwritten;
        let was_refused = refused.contains_key(&(loss, true));
        let was_taken = refused.contains_key(&(loss, false));
        assert!(
            may_be_whole || (was_refused && !was_taken),
            "{loss:?}: {refused:?}"
        );
    }
}
