//! Damage to a ledger's files: it is found before anything is believed, whatever kind of row it hits.

use std::path::Path;

use tanda::domain::outcome::{DoubtReason, Status};
use tanda::domain::request::{EvidenceText, Person, Ruling, Wish};
use tanda::domain::time::Timestamp;
use tanda::engine::ports::{Answer, AskNote, Control, Ledger as _};
use tanda::ledger::{Forgotten, OpenError, PrunePlace, Pruner, SqliteLedger, Visitor};
use tempfile::TempDir;

use super::{NAME, as_after_a_crash, how_it_forgot, open, refusal, used};
use crate::contract::samples::{
    fact, generation, held, id, intent, intent_of, job, outcome, reference, settlement,
    settlement_with, unclear,
};
use crate::contract::{binding, new_sqlite};
use crate::disk::{Rng, copy_of, put_back, runs_all};

/// Bytes of the file that says what it is and where all else is.
const HEADER_BYTES: usize = 100;
/// Flips of the file and of the log.
const FLIPS: (usize, usize) = (120, 50);
const FLIPS_ALL: (usize, usize) = (20_000, 5_000);

const LONG_OVER: [&str; 2] = ["pruned", "pruned too"];
const NAMES: [&str; 12] = [
    "pruned",
    "pruned too",
    "held",
    "began after it was held",
    "begun",
    "released",
    "in doubt",
    "paid",
    "paid too",
    "refused",
    "refused twice",
    "nobody",
];

/// More jobs, so that the pages are not empty.
const MORE: u32 = 60;

fn more() -> impl Iterator<Item = String> {
    (0..MORE).map(|n| format!("one of many {n}"))
}

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(1_800_000_000_000 + millis)
}

fn ana() -> Person {
    Person::parse("Ana").expect("a name")
}

/// A ledger in which there is a row of every kind, each written in each way that there is.
async fn with_all_kinds() -> (TempDir, SqliteLedger) {
    let (dir, ledger) = new_sqlite();
    for name in LONG_OVER {
        let settled = ledger.settle(settlement(&intent(name), Status::Succeeded));
        settled.await.expect("settled");
        let told = vec![outcome(&intent(name), Status::Succeeded).event_id];
        ledger.mark_published(told, at(0)).await.expect("marked");
    }
    ledger.close().await.expect("closed");
    let path = dir.path().join(NAME);
    prune(&path);
    std::fs::remove_file(dir.path().join("ledger.db.anchor")).expect("removed");
    SqliteLedger::accept_loss(&path, &binding(), &ana(), at(1)).expect("accepted");
    let ledger = open(dir.path()).expect("opened");
    write_jobs(&ledger).await;
    write_the_rest(&ledger).await;
    (dir, ledger)
}

fn prune(path: &Path) {
    let mut pruner = Pruner::open(path, &binding()).expect("opened");
    let mut place = Some(PrunePlace::START);
    while let Some(from) = place {
        place = pruner.step(at(1), from, 9).expect("a step").next;
    }
    pruner.close().expect("closed");
}

async fn write_jobs(ledger: &SqliteLedger) {
    let waiting = ["held", "began after it was held"].map(|name| held(&intent(name)));
    ledger.hold(waiting.to_vec()).await.expect("held");
    let begun = ledger.begin(intent("began after it was held")).await;
    begun.expect("begun");
    ledger.begin(intent("begun")).await.expect("begun");
    for name in ["released", "refused twice"] {
        ledger.begin(intent(name)).await.expect("begun");
        let released = ledger.release(reference(&intent(name)), "no_connection");
        released.await.expect("released");
    }
    ledger.begin(intent("refused twice")).await.expect("again");
    let doubt = settlement_with(&intent("in doubt"), Status::InDoubt, vec![unclear(1)]);
    let doubted = ledger.doubt(doubt, DoubtReason::Conflict).await;
    doubted.expect("kept");
    let asked = AskNote {
        began: at(2),
        ended: at(3),
        finding: "absent",
        evidence: "nothing in 3 pages".to_owned(),
    };
    let in_doubt = reference(&intent("in doubt"));
    ledger
        .note_ask(in_doubt.clone(), asked)
        .await
        .expect("noted");
    ledger.call_person(in_doubt).await.expect("called");
    for name in ["paid", "paid too"] {
        let settled = ledger.settle(settlement(&intent(name), Status::Succeeded));
        settled.await.expect("settled");
    }
    for name in more() {
        let settled = ledger.settle(settlement(&intent(&name), Status::Succeeded));
        settled.await.expect("settled");
    }
    for name in ["refused", "refused twice"] {
        let settled = ledger.settle(settlement(&intent(name), Status::Rejected));
        settled.await.expect("settled");
    }
    let again = intent_of(job("refused twice"), 2);
    ledger.begin(again.clone()).await.expect("begun anew");
    let settled = ledger.settle(settlement(&again, Status::Rejected));
    settled.await.expect("settled");
    let told = vec![outcome(&intent("paid"), Status::Succeeded).event_id];
    ledger.mark_published(told, at(4)).await.expect("marked");
}

async fn write_the_rest(ledger: &SqliteLedger) {
    let control = Control {
        entity_id: id("paid"),
        seen_at: at(5),
    };
    ledger.note_control(control).await.expect("noted");
    ledger
        .note_fact(fact("a message", "{}"))
        .await
        .expect("noted");
    ledger.note_panic(id("begun")).await.expect("noted");
    let arrived = vec![id("begun"), id("paid"), id("somebody")];
    ledger.note_arrivals(arrived).await.expect("noted");
    ledger.note_loss_is_past().await.expect("noted");
    let evidence = || EvidenceText::parse("the bank's letter").expect("a text");
    let settle = Wish::Settle {
        entity_id: id("in doubt"),
        ruling: Ruling::NotSent,
        evidence: evidence(),
    };
    let redrive = Wish::Redrive {
        entity_id: id("refused"),
        generation: generation(2),
    };
    let discard = Wish::Discard {
        event_id: outcome(&intent("refused"), Status::Rejected).event_id,
        entity_id: Some(id("refused")),
        evidence: evidence(),
    };
    for wish in [
        Wish::Pause,
        Wish::Cancel(id("held")),
        settle,
        redrive,
        discard,
    ] {
        ledger.request(wish, ana(), at(6)).await.expect("asked");
    }
    let open = ledger.open_requests(None, 2).await.expect("read");
    for request in open {
        let answer = Answer {
            accepted: true,
            generation: Some(generation(1)),
            words: "it is done".to_owned(),
            at: at(7),
        };
        ledger.answer(request.id, answer).await.expect("answered");
    }
}

/// Everything that a reader is told; none where it is told that something cannot be read.
fn told(path: &Path) -> Option<String> {
    let visitor = Visitor::open(path).ok()?;
    let mut told = Vec::new();
    for name in NAMES.map(str::to_owned).into_iter().chain(more()) {
        told.push(format!("{:?}", visitor.history(&id(&name)).ok()?));
    }
    let mut letters = Vec::new();
    visitor
        .dead_letters_ever(|letter| letters.push(letter))
        .ok()?;
    told.push(format!("{letters:?}"));
    told.push(format!("{:?}", visitor.open_jobs(None, 99).ok()?));
    told.push(format!("{:?}", visitor.held(99).ok()?));
    told.push(format!("{:?}", visitor.unpublished(99).ok()?));
    told.push(format!("{:?}", visitor.overview().ok()?));
    Some(told.join("\n"))
}

/// Opens what is in this folder, as a start does. Whether it was refused; in words fit for damage.
fn is_refused(dir: &Path, context: &str) -> bool {
    match open(dir) {
        Ok(ledger) => {
            drop(ledger);
            false
        }
        Err(
            OpenError::Corrupt { .. }
            | OpenError::Forgot { .. }
            | OpenError::Newer { .. }
            | OpenError::OtherBinding { .. },
        ) => true,
        Err(other) => panic!(
            "{context}: {other}: {:?}",
            std::error::Error::source(&other)
        ),
    }
}

/// The same files again and again, each time with another byte.
struct Flips {
    whole: TempDir,
    dir: TempDir,
    told: String,
}

impl Flips {
    fn of(whole: TempDir) -> Self {
        let dir = copy_of(whole.path());
        assert!(!is_refused(dir.path(), "it is whole"));
        let told = told(&dir.path().join(NAME)).expect("it is whole");
        Self { whole, dir, told }
    }

    /// Whether it was refused; if it was not, everything that is told must be as it was.
    fn flip(&self, file: &str, at: usize, xor: u8) -> bool {
        put_back(self.whole.path(), self.dir.path());
        let path = self.dir.path().join(file);
        let mut bytes = std::fs::read(&path).expect("a file");
        bytes[at] ^= xor;
        std::fs::write(&path, bytes).expect("written");
        let context = format!("{file} at {at} ^ {xor}");
        let is_refused = is_refused(self.dir.path(), &context);
        if !is_refused {
            let told = told(&self.dir.path().join(NAME));
            assert!(told.as_ref() == Some(&self.told), "{context}: {told:#?}");
        }
        is_refused
    }

    fn size(&self, file: &str) -> usize {
        let size = std::fs::metadata(self.whole.path().join(file)).expect("a file");
        usize::try_from(size.len()).expect("a small file")
    }

    /// So many flips of this file; how many were refused.
    fn draw(&self, file: &str, flips: usize) -> usize {
        let mut rng = Rng(22);
        let size = u64::try_from(self.size(file)).expect("a small file");
        let mut one = || {
            let at = usize::try_from(rng.below(size)).expect("a small file");
            let xor = u8::try_from(1 + rng.below(255)).expect("a byte");
            self.flip(file, at, xor)
        };
        (0..flips).filter(|_| one()).count()
    }
}

fn flips() -> (usize, usize) {
    if runs_all() { FLIPS_ALL } else { FLIPS }
}

/// A start compares every row: one that was written without its checksum would be refused.
#[tokio::test]
async fn every_row_has_its_checksum_however_it_was_written() {
    let (dir, ledger) = with_all_kinds().await;
    ledger.close().await.expect("closed");
    open(dir.path())
        .expect("whole")
        .close()
        .await
        .expect("closed");
}

#[tokio::test]
async fn f22_a_flipped_byte_of_a_closed_ledger_is_refused_or_changes_nothing() {
    let (dir, ledger) = with_all_kinds().await;
    ledger.close().await.expect("closed");
    let flips_of = Flips::of(dir);
    let refused = flips_of.draw(NAME, flips().0);
    eprintln!(
        "{refused} of {} flips in a closed ledger were refused",
        flips().0
    );
    assert!(
        refused * 4 > flips().0,
        "a good part of the file is rows: {refused}"
    );
}

#[tokio::test]
async fn f22_a_flipped_byte_in_the_head_of_a_ledger_is_refused_or_changes_nothing() {
    let (dir, ledger) = with_all_kinds().await;
    ledger.close().await.expect("closed");
    let flips_of = Flips::of(dir);
    let step = if runs_all() { 1 } else { 3 };
    for at in (0..HEADER_BYTES).step_by(step) {
        for xor in [1, 0xFF] {
            flips_of.flip(NAME, at, xor);
        }
    }
}

/// Whatever is in the log was answered: none of it may be missing without a word.
#[tokio::test]
async fn f22_a_flipped_byte_of_the_log_is_refused() {
    let (dir, ledger) = with_all_kinds().await;
    let crashed = as_after_a_crash(&dir);
    ledger.close().await.expect("closed");
    let log = "ledger.db-wal";
    let flips_of = Flips::of(crashed);
    assert!(flips_of.size(log) > 0);
    assert_eq!(flips_of.draw(log, flips().1), flips().1);
}

/// Without the last line of the anchor, as a power cut may leave it, the log itself shows what is missing,
/// but for the last two commits.
#[tokio::test]
async fn f22_a_log_that_breaks_off_before_two_commits_is_refused_without_an_anchor_that_knows() {
    let (dir, ledger) = with_all_kinds().await;
    let before = std::fs::metadata(dir.path().join("ledger.db-wal")).expect("a log");
    for name in ["last", "very last"] {
        ledger.begin(intent(name)).await.expect("begun");
    }
    let crashed = as_after_a_crash(&dir);
    ledger.close().await.expect("closed");
    let anchor = crashed.path().join("ledger.db.anchor");
    let text = std::fs::read_to_string(&anchor).expect("an anchor");
    let first = text.lines().next().expect("a line");
    let mut old: serde_json::Value = serde_json::from_str(first).expect("JSON");
    old["sequence"] = 0.into();
    std::fs::write(&anchor, format!("{old}\n")).expect("an anchor of long ago");
    let log = crashed.path().join("ledger.db-wal");
    let whole = std::fs::read(&log).expect("a log");
    let surely = usize::try_from(before.len()).expect("a small file");
    let mut rng = Rng(23);
    for _ in 0..40 {
        let at = 32 + usize::try_from(rng.below(before.len() - 32)).expect("a small file");
        let mut bytes = whole.clone();
        bytes[at] ^= 0x40;
        std::fs::write(&log, bytes).expect("written");
        let dir = copy_of(crashed.path());
        let refused = refusal(dir.path());
        assert!(
            matches!(how_it_forgot(&refused), Forgotten::LogIsBroken { .. }),
            "{at} of {surely}: {refused}"
        );
    }
}

/// A start that was refused and a reader leave the broken log as it is: the next start is refused too, until
/// a person accepts the loss; then it is used again.
#[tokio::test]
async fn f22_a_broken_log_is_left_as_it_is_until_its_loss_is_accepted() {
    let (dir, ledger) = new_sqlite();
    for name in ["A", "B", "C", "D"] {
        ledger.begin(intent(name)).await.expect("begun");
    }
    let crashed = as_after_a_crash(&dir);
    ledger.close().await.expect("closed");
    let (path, log) = (
        crashed.path().join(NAME),
        crashed.path().join("ledger.db-wal"),
    );
    let mut bytes = std::fs::read(&log).expect("a log");
    bytes[100] ^= 1;
    std::fs::write(&log, &bytes).expect("written");
    for _ in 0..2 {
        let visitor = Visitor::open(&path).expect("a visit");
        assert!(visitor.check_anchor().is_err(), "a reader is warned");
        drop(visitor);
        let refused = refusal(crashed.path());
        assert!(matches!(
            how_it_forgot(&refused),
            Forgotten::LogIsBroken { .. }
        ));
        let found = SqliteLedger::find_loss(&path, &binding()).expect("a loss");
        assert!(matches!(found, Forgotten::LogIsBroken { .. }), "{found}");
        assert_eq!(std::fs::read(&log).expect("a log"), bytes);
    }
    SqliteLedger::accept_loss(&path, &binding(), &ana(), at(0)).expect("accepted");
    for name in ["E", "F"] {
        let ledger = open(crashed.path()).expect("used again");
        ledger.begin(intent(name)).await.expect("begun");
        ledger.close().await.expect("closed");
    }
}

/// A row that an index does not find is not said to be unknown.
#[tokio::test]
async fn a_reader_is_not_told_that_a_job_is_unknown_because_an_index_is_damaged() {
    let dir = used().await;
    let path = dir.path().join(NAME);
    let mut bytes = std::fs::read(&path).expect("the file");
    let page_bytes = 4_096;
    // An index page (10) with one entry, and the id in it: a table's pages are of another kind.
    let page = bytes
        .chunks(page_bytes)
        .position(|page| page[0] == 10 && page[3..5] == [0, 1] && page.contains(&b'A'))
        .expect("the index over ids");
    let page = &mut bytes[page * page_bytes..(page + 1) * page_bytes];
    let at = page.iter().rposition(|byte| *byte == b'A').expect("the id");
    page[at] = b'B';
    std::fs::write(&path, &bytes).expect("written");
    let visitor = Visitor::open(&path).expect("a visit");
    visitor.history(&id("A")).expect_err("it is there");
    visitor.history(&id("C")).expect("it is not");
    drop(visitor);
    assert!(matches!(refusal(dir.path()), OpenError::Corrupt { .. }));
}

/// The number of a row is in no checksum: an outcome that is under another number is neither left out nor
/// told of another job.
#[tokio::test]
async fn f22_a_reader_is_not_told_the_outcome_of_another_row_or_none() {
    for moved in [
        "UPDATE outcomes SET id = 999 WHERE id = 1",
        "UPDATE outcomes SET id = CASE id WHEN 1 THEN -2 ELSE -1 END WHERE id IN (1, 2); \
         UPDATE outcomes SET id = -id WHERE id < 0",
    ] {
        let (dir, ledger) = new_sqlite();
        for name in ["A", "B"] {
            let settled = ledger.settle(settlement(&intent(name), Status::Succeeded));
            settled.await.expect("settled");
        }
        ledger.close().await.expect("closed");
        let path = dir.path().join(NAME);
        let db = rusqlite::Connection::open(&path).expect("the file");
        db.execute_batch(&format!(
            "PRAGMA foreign_keys = OFF; DROP TRIGGER outcomes_are_fixed; {moved}"
        ))
        .expect("moved");
        drop(db);
        let visitor = Visitor::open(&path).expect("a visit");
        visitor.history(&id("A")).expect_err(moved);
    }
}

/// An index that finds another row than that of its job makes nobody believe that this is the job.
#[tokio::test]
async fn f22_a_reader_is_not_told_of_another_job_because_an_index_is_damaged() {
    let (dir, ledger) = new_sqlite();
    for name in ["A", "B", "C"] {
        ledger.begin(intent(name)).await.expect("begun");
    }
    ledger.close().await.expect("closed");
    let path = dir.path().join(NAME);
    let mut bytes = std::fs::read(&path).expect("the file");
    // A record of four types (text of one byte, the number 1, one byte) and two values: B is in row 2.
    let entry = [4, 15, 9, 1, b'B', 2];
    let at = bytes.windows(6).position(|window| *window == entry);
    bytes[at.expect("the index over ids") + 5] = 3;
    std::fs::write(&path, &bytes).expect("written");
    let visitor = Visitor::open(&path).expect("a visit");
    visitor.history(&id("A")).expect("it is found");
    visitor.history(&id("B")).expect_err("this is C");
    drop(visitor);
    assert!(matches!(refusal(dir.path()), OpenError::Corrupt { .. }));
}
