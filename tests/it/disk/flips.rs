//! One byte of a ledger's files is another: it is refused, or what it says is true all the same.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use std::sync::Mutex;

use tanda::engine::ports::Intent;
use tanda::ledger::history::{History, Publication};
use tanda::simulator::Report;
use tempfile::TempDir;

use super::bank::RewindableBank;
use super::{Payroll, Records, Rng, copy_of, each_of, name, put_back, runs_all, truth};
use crate::support::program::{Started, said};

/// Jobs that a first run has settled before it closed.
const BEFORE: Range<u32> = 0..30;
/// Those, and more that a second run was killed in the middle of.
const ALL: Range<u32> = 0..90;
/// Some replies are lost, so that there is doubt.
const WHILE_PAYING: &str = "latency_ms=3,lost=8%";
/// Ledgers in use, each killed elsewhere, and one that was closed.
const KILLED: u64 = 5;
/// So often a killed ledger is taken anew before something else must be wrong.
const TAKES_MAX: usize = 20;
/// Flips of each ledger: 200 in all, or as many as time allows.
const FLIPS_ALL: u64 = 34;
const FLIPS_SOME: u64 = 5;

/// The files of a ledger as its process left them, with the bank's books of that moment.
struct Image {
    number: u64,
    payroll: Payroll,
    bank: RewindableBank,
    files: TempDir,
    paid: Report,
    histories: BTreeMap<u32, History>,
}

impl Image {
    /// Killed in mid-run after so many more jobs were paid, or closed after all. Where the last commit was
    /// not answered any more, nothing came of it and it may be lost: then another one is taken.
    fn take(number: u64) -> Self {
        let takes = std::iter::repeat_with(|| Self::take_once(number));
        let mut takes = takes.take(TAKES_MAX);
        takes
            .find(Self::is_answered)
            .expect("few are killed between a commit and its answer")
    }

    /// Whether the anchor names the last commit.
    fn is_answered(&self) -> bool {
        let anchor = std::fs::read_to_string(self.files.path().join("ledger.db.anchor"));
        let anchor = anchor.expect("an anchor");
        let last = anchor
            .lines()
            .nth(1)
            .and_then(|line| line.split(' ').next());
        let named: i64 = last.expect("a last line").parse().expect("a number");
        let records = Records::of(self.files.path()).expect("a good ledger");
        named == records.visitor.overview().expect("a good ledger").sequence
    }

    fn take_once(number: u64) -> Self {
        let bank = RewindableBank::start(WHILE_PAYING);
        let mut payroll = Payroll::new(&bank.url);
        // What was sent is never sent again before the bank was asked: this bank remembers no key.
        payroll.desk.set("TANDA_ENGINE__RESEND_WINDOW_S", "0");
        let before = payroll.pay(BEFORE);
        assert_eq!(before.status.code(), Some(6), "{}", said(&before));
        if number < KILLED {
            let enough =
                bank.report().entities.len() + 5 + usize::try_from(number * 9).expect("few");
            let mut run = Started::new(payroll.command(ALL));
            while bank.report().entities.len() < enough {
                run.must_run_on();
            }
            run.kill();
            let log = std::fs::metadata(payroll.books().join("ledger.db-wal"));
            assert!(log.expect("a log").len() > 0, "it was killed in the middle");
        } else {
            let all = payroll.pay(ALL);
            assert_eq!(all.status.code(), Some(6), "{}", said(&all));
        }
        let files = copy_of(&payroll.books());
        let records = Records::of(files.path()).expect("a good ledger");
        let history = |n| (n, records.history(n).expect("a good ledger"));
        Self {
            number,
            histories: ALL.map(history).collect(),
            paid: bank.report(),
            payroll,
            bank,
            files,
        }
    }

    fn put_back(&self) {
        put_back(self.files.path(), &self.payroll.books());
        self.bank.go_back_to(&self.paid, "");
    }
}

/// One byte that is another.
#[derive(Debug)]
struct Flip {
    #[expect(dead_code, reason = "which one is told where it was untrue")]
    image: u64,
    file: &'static str,
    at: usize,
    xor: u8,
}

impl Flip {
    fn draw(rng: &mut Rng, image: &Image) -> Self {
        let in_log = image.number < KILLED && rng.below(2) == 0;
        let file = if in_log { "ledger.db-wal" } else { "ledger.db" };
        let size = std::fs::metadata(image.files.path().join(file))
            .expect("a file")
            .len();
        Self {
            image: image.number,
            file,
            at: usize::try_from(rng.below(size)).expect("a small file"),
            xor: u8::try_from(1 + rng.below(255)).expect("a byte"),
        }
    }

    fn strike(&self, books: &Path) {
        let path = books.join(self.file);
        let mut bytes = std::fs::read(&path).expect("a file");
        bytes[self.at] ^= self.xor;
        std::fs::write(&path, bytes).expect("written");
    }
}

/// What became of one flip.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum End {
    /// The ledger was refused.
    Refused,
    /// It was taken, and everything it said was true.
    True,
}

/// What people are told of a ledger that is refused.
fn is_clear(words: &str) -> bool {
    let says_what = words.contains("damaged") || words.contains("has forgotten");
    let says_what_of_the_money = words.contains("othing was sent");
    let says_what_to_do = words.contains("ut back");
    says_what && says_what_of_the_money && says_what_to_do
}

fn judge(image: &Image, flip: &Flip) -> Result<End, String> {
    image.put_back();
    flip.strike(&image.payroll.books());
    let told = is_told_truly(image);
    let heard = || image.bank.report().requests.operations;
    let fed = heard();
    let mut paid = image.payroll.pay(ALL);
    if paid.status.code() == Some(8) && heard() > fed {
        // It was found in the middle, and the process has ended as it must: the next start judges.
        paid = image.payroll.pay(ALL);
    }
    let books = image.bank.report();
    for n in ALL {
        let (_, most) = truth(n);
        let moved = books.movements(&name(n));
        if moved > most {
            return Err(format!("{} moved {moved} times: {}", name(n), said(&paid)));
        }
    }
    told?;
    match paid.status.code() {
        Some(8) if is_clear(&String::from_utf8_lossy(&paid.stderr)) => Ok(End::Refused),
        Some(6) => {
            let moved = |name: &str| books.movements(name);
            image.payroll.check_settled(ALL, moved)?;
            is_told_still(image)?;
            Ok(End::True)
        }
        _ => Err(said(&paid)),
    }
}

/// What a history says of money: what was to be sent, and what became of it.
fn told(history: &History) -> Vec<(&Intent, &Vec<Publication>)> {
    let generations = history.generations.iter();
    generations.map(|it| (&it.intent, &it.outcomes)).collect()
}

/// What a reader of the ledger is told before anything runs: the truth, or that it may be untrue. A call or
/// an ask may be missing, which nobody sees before the next start.
fn is_told_truly(image: &Image) -> Result<(), String> {
    let Some(records) = Records::of(&image.payroll.books()) else {
        return Ok(());
    };
    if records.is_stale() {
        return Ok(());
    }
    for (n, before) in &image.histories {
        match records.history(*n) {
            Some(now) if told(&now) != told(before) => {
                return Err(format!("told untruly of {}", name(*n)));
            }
            Some(_) | None => {}
        }
    }
    Ok(())
}

/// Final outcomes of before are there still, to the last byte.
fn is_told_still(image: &Image) -> Result<(), String> {
    let records = Records::of(&image.payroll.books()).ok_or("it cannot be read")?;
    for (n, before) in &image.histories {
        let now = records.history(*n).ok_or("it cannot be read")?;
        let said_now: Vec<_> = now.generations.iter().flat_map(|g| &g.outcomes).collect();
        for told in before.generations.iter().flat_map(|g| &g.outcomes) {
            let same = said_now.iter().any(|now| {
                now.outcome.event_id == told.outcome.event_id
                    && now.outcome.body == told.outcome.body
            });
            if !same {
                return Err(format!("{} is told otherwise", name(*n)));
            }
        }
    }
    Ok(())
}

#[test]
fn f22_a_flipped_byte_is_refused_or_changes_nothing() {
    let images: Vec<_> = (0..=KILLED).collect();
    let flips = if runs_all() { FLIPS_ALL } else { FLIPS_SOME };
    let ends = Mutex::new(BTreeMap::new());
    let untrue = Mutex::new(Vec::new());
    each_of(&images, |number| {
        let image = Image::take(*number);
        let mut rng = Rng(1_000 + number);
        for _ in 0..flips {
            let flip = Flip::draw(&mut rng, &image);
            match judge(&image, &flip) {
                Ok(end) => {
                    let mut ends = ends.lock().expect("whole");
                    *ends.entry((flip.file, end)).or_insert(0) += 1;
                }
                Err(fault) => {
                    let mut untrue = untrue.lock().expect("whole");
                    untrue.push(format!("{flip:?}: {fault}"));
                }
            }
        }
    });
    let (ends, untrue) = (
        ends.into_inner().expect("whole"),
        untrue.into_inner().expect("whole"),
    );
    assert!(
        untrue.is_empty(),
        "{} of the flips were untrue, {ends:?} not:\n{}",
        untrue.len(),
        untrue.join("\n\n")
    );
    eprintln!("flips, and how they ended: {ends:?}");
}
