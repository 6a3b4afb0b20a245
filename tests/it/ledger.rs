//! What only a ledger in a file promises: to last, to be alone, and to know when it has forgotten.
#![expect(
    clippy::indexing_slicing,
    reason = "an index that is not there is a failed test"
)]

mod damage;
mod dead;
mod losses;
mod prune;

use std::path::Path;

use rusqlite::Connection;
use tanda::domain::key::Namespace;
use tanda::domain::outcome::{DoubtReason, Status};
use tanda::domain::request::{Request, Wish};
use tanda::domain::time::Timestamp;
use tanda::engine::ports::{AskNote, Begun, Control, Ledger, Origin, Sight, Standing};
use tanda::ledger::{Binding, Forgotten, MemoryLedger, OpenError, SqliteLedger};
use tanda::wire::envelope::Envelope;
use tempfile::TempDir;
use tokio::task::JoinSet;

use crate::contract::samples::{
    generation, held, id, intent, outcome, reference, settlement, settlement_with, unclear,
};
use crate::contract::{binding, new_sqlite};
use crate::support::tampering::seal;

const NAME: &str = "ledger.db";

fn open(dir: &Path) -> Result<SqliteLedger, OpenError> {
    SqliteLedger::open(&dir.join(NAME), &binding())
}

fn refusal(dir: &Path) -> OpenError {
    open(dir).expect_err("this ledger must be refused")
}

/// Everything that is on the disk at this moment, as a crash would leave it.
fn as_after_a_crash(dir: &TempDir) -> TempDir {
    let copy = tempfile::tempdir().expect("a directory");
    for file in ["ledger.db.anchor", NAME, "ledger.db-wal"] {
        if dir.path().join(file).exists() {
            std::fs::copy(dir.path().join(file), copy.path().join(file)).expect("a copy");
        }
    }
    copy
}

fn sequence(dir: &Path) -> i64 {
    let db = Connection::open(dir.join(NAME)).expect("the file");
    db.query_row("SELECT sequence FROM meta", [], |row| row.get(0))
        .expect("a sequence")
}

async fn finished(ledger: &dyn Ledger, name: &str) -> bool {
    let sights = ledger.look(vec![id(name)]).await.expect("a look");
    matches!(
        sights[0],
        Sight::Known {
            standing: Standing::Finished(_),
            ..
        }
    )
}

/// A ledger with one settled job, closed.
async fn used() -> TempDir {
    let (dir, ledger) = new_sqlite();
    let settled = ledger.settle(settlement(&intent("A"), Status::Succeeded));
    settled.await.expect("settled");
    ledger.close().await.expect("closed");
    dir
}

#[tokio::test]
async fn what_was_answered_lasts_through_close_and_drop() {
    let dir = used().await;
    let ledger = open(dir.path()).expect("opened");
    assert!(finished(&ledger, "A").await);
    ledger.begin(intent("B")).await.expect("begun");
    let control = Control {
        entity_id: id("A"),
        seen_at: Timestamp::from_millis(3),
    };
    ledger.note_control(control.clone()).await.expect("noted");
    drop(ledger);
    let ledger = open(dir.path()).expect("opened");
    let open_jobs = ledger.unsettled(None, 9).await.expect("open jobs");
    assert_eq!(open_jobs.len(), 1);
    assert_eq!(open_jobs[0].intent, intent("B"));
    assert_eq!(ledger.control().await.expect("a read"), Some(control));
}

#[tokio::test]
async fn i2_an_answered_intent_is_on_the_disk_at_once() {
    let (dir, ledger) = new_sqlite();
    for name in ["A", "B", "C"] {
        ledger.begin(intent(name)).await.expect("begun");
        let crashed = as_after_a_crash(&dir);
        let found = open(crashed.path()).expect("a copy");
        let again = found.begin(intent(name)).await.expect("an answer");
        assert!(matches!(again, Begun::AlreadyThere(_)), "{name} was lost");
    }
}

#[tokio::test]
async fn i1_a_ledger_serves_one_process_at_a_time() {
    let (dir, ledger) = new_sqlite();
    let refused = refusal(dir.path());
    assert!(refused.is_locked(), "{refused}");
    ledger.close().await.expect("closed");
    let second = open(dir.path()).expect("the first is closed");
    drop(second);
    open(dir.path()).expect("the second is dropped");
}

#[tokio::test]
async fn a_closed_ledger_answers_nothing() {
    let (_dir, ledger) = new_sqlite();
    ledger.close().await.expect("closed");
    assert!(ledger.begin(intent("A")).await.is_err());
    assert!(ledger.look(vec![id("A")]).await.is_err());
    assert!(ledger.close().await.is_err());
}

#[tokio::test]
async fn i1_a_ledger_belongs_to_one_namespace_and_bank() {
    let dir = used().await;
    let other_namespace = Binding {
        namespace: Namespace::parse("acme-prod").expect("a namespace"),
        ..binding()
    };
    let other_bank = Binding {
        bank_origin: "https://api.cuentamono.com".to_owned(),
        ..binding()
    };
    for (other, what) in [(other_namespace, "namespace"), (other_bank, "bank")] {
        let refused = SqliteLedger::open(&dir.path().join(NAME), &other).expect_err(what);
        let said = refused.to_string();
        assert!(
            said.contains(what) && said.contains("Nothing was sent"),
            "{said}"
        );
        assert!(matches!(refused, OpenError::OtherBinding { .. }));
    }
    open(dir.path()).expect("its own");
}

#[tokio::test]
async fn only_init_makes_a_ledger_and_only_where_none_is() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("deep/er/ledger.db");
    let missing = SqliteLedger::open(&path, &binding()).expect_err("none yet");
    assert!(matches!(missing, OpenError::Missing { .. }), "{missing}");
    assert!(!path.exists());
    SqliteLedger::create(&path).expect("made");
    let again = SqliteLedger::create(&path).expect_err("there is one");
    assert!(matches!(again, OpenError::AlreadyThere { .. }), "{again}");
    SqliteLedger::open(&path, &binding()).expect("opened");
}

#[cfg(unix)]
#[tokio::test]
async fn the_files_are_their_owners_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().expect("a directory");
    let home = dir.path().join("home");
    let path = home.join(NAME);
    SqliteLedger::create(&path).expect("made");
    let ledger = SqliteLedger::open(&path, &binding()).expect("opened");
    ledger.begin(intent("A")).await.expect("begun");
    let mode = |path: &Path| {
        let permissions = std::fs::metadata(path).expect("a file").permissions();
        permissions.mode() & 0o777
    };
    assert_eq!(mode(&home), 0o700);
    let files: Vec<_> = std::fs::read_dir(&home).expect("a directory").collect();
    assert!(
        files.len() >= 5,
        "ledger, log, index of the log, lock, anchor"
    );
    for file in files {
        let file = file.expect("a file").path();
        assert_eq!(mode(&file), 0o600, "{}", file.display());
    }
}

#[tokio::test]
async fn a_ledger_of_a_later_version_is_refused() {
    let dir = used().await;
    let db = Connection::open(dir.path().join(NAME)).expect("the file");
    db.pragma_update(None, "user_version", 99)
        .expect("a version");
    drop(db);
    let refused = refusal(dir.path());
    assert!(
        matches!(
            refused,
            OpenError::Newer {
                found: 99,
                known: 5,
                ..
            }
        ),
        "{refused}"
    );
}

#[tokio::test]
async fn what_is_not_a_ledger_is_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join(NAME);
    std::fs::write(&path, "entity_id,card_id\n".repeat(500)).expect("a file");
    let refused = refusal(dir.path());
    assert!(matches!(refused, OpenError::Corrupt { .. }), "{refused}");
    std::fs::write(&path, "").expect("a file");
    let refused = refusal(dir.path());
    assert!(matches!(refused, OpenError::Corrupt { .. }), "{refused}");
}

#[tokio::test]
async fn a_damaged_ledger_is_refused() {
    let (dir, ledger) = new_sqlite();
    let mut all = JoinSet::new();
    let ledger = std::sync::Arc::new(ledger);
    for number in 0..200 {
        let ledger = std::sync::Arc::clone(&ledger);
        let settled = settlement(&intent(&format!("J{number}")), Status::Succeeded);
        all.spawn(async move { ledger.settle(settled).await });
    }
    for settled in all.join_all().await {
        settled.expect("settled");
    }
    ledger.close().await.expect("closed");
    let path = dir.path().join(NAME);
    let mut bytes = std::fs::read(&path).expect("the file");
    let third = bytes.len() / 3 / 4096 * 4096;
    bytes[third..third + 64].fill(0xA5);
    std::fs::write(&path, bytes).expect("damage");
    let refused = refusal(dir.path());
    assert!(matches!(refused, OpenError::Corrupt { .. }), "{refused}");
    assert!(
        refused.to_string().contains("nothing was sent"),
        "{refused}"
    );
}

fn how_it_forgot(refused: &OpenError) -> &Forgotten {
    let OpenError::Forgot { how, .. } = refused else {
        panic!("another refusal: {refused}")
    };
    how
}

#[tokio::test]
async fn i1_an_older_copy_of_a_ledger_is_refused() {
    let dir = used().await;
    let path = dir.path().join(NAME);
    let yesterday = std::fs::read(&path).expect("the file");
    let ledger = open(dir.path()).expect("opened");
    ledger.begin(intent("B")).await.expect("begun");
    ledger.close().await.expect("closed");
    let today = std::fs::read(&path).expect("the file");
    std::fs::write(&path, yesterday).expect("the older copy");
    let refused = refusal(dir.path());
    let expected = Forgotten::Behind {
        sequence: 1,
        anchored: 2,
    };
    assert_eq!(how_it_forgot(&refused), &expected);
    std::fs::write(&path, today).expect("the right file");
    open(dir.path()).expect("nothing is forgotten");
}

#[tokio::test]
async fn i1_a_ledger_whose_log_was_damaged_is_refused() {
    let (dir, ledger) = new_sqlite();
    for name in ["A", "B", "C", "D"] {
        ledger.begin(intent(name)).await.expect("begun");
    }
    let crashed = as_after_a_crash(&dir);
    let anchor = crashed.path().join("ledger.db.anchor");
    ledger.close().await.expect("closed");
    std::fs::copy(dir.path().join("ledger.db.anchor"), &anchor).expect("the last anchor");
    let log = crashed.path().join("ledger.db-wal");
    let mut bytes = std::fs::read(&log).expect("the log");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x01;
    std::fs::write(&log, bytes).expect("one flipped bit");
    let refused = refusal(crashed.path());
    let how = how_it_forgot(&refused);
    assert!(matches!(how, Forgotten::LogIsBroken { .. }), "{how}");
}

#[tokio::test]
async fn i1_a_used_ledger_without_its_anchor_is_refused() {
    let dir = used().await;
    std::fs::remove_file(dir.path().join("ledger.db.anchor")).expect("removed");
    let refused = refusal(dir.path());
    let expected = Forgotten::AnchorIsMissing { sequence: 1 };
    assert_eq!(how_it_forgot(&refused), &expected);
}

#[tokio::test]
async fn i1_the_anchor_of_another_ledger_is_refused() {
    let (dir, other) = (used().await, used().await);
    let anchor = "ledger.db.anchor";
    std::fs::copy(other.path().join(anchor), dir.path().join(anchor)).expect("a copy");
    let refused = refusal(dir.path());
    assert_eq!(how_it_forgot(&refused), &Forgotten::OtherLedger);
    std::fs::write(dir.path().join(anchor), "{").expect("half an anchor");
    let refused = refusal(dir.path());
    assert!(matches!(refused, OpenError::Corrupt { .. }), "{refused}");
}

#[tokio::test]
async fn i1_a_lost_ledger_is_not_taken_for_a_new_one() {
    let dir = used().await;
    let path = dir.path().join(NAME);
    std::fs::remove_file(&path).expect("removed");
    let refused = refusal(dir.path());
    assert!(matches!(how_it_forgot(&refused), Forgotten::Remains { .. }));
    let refused = SqliteLedger::create(&path).expect_err("not over a loss");
    assert!(matches!(how_it_forgot(&refused), Forgotten::Remains { .. }));
}

#[tokio::test]
async fn i4_evidence_cannot_be_changed_or_deleted() {
    let (dir, ledger) = new_sqlite();
    let job = intent("A");
    ledger.begin(job.clone()).await.expect("begun");
    let doubt = settlement_with(&job, Status::InDoubt, vec![unclear(1)]);
    let kept = ledger.doubt(doubt, DoubtReason::Conflict).await;
    kept.expect("kept");
    let ask = AskNote {
        began: Timestamp::from_millis(1),
        ended: Timestamp::from_millis(2),
        finding: "found",
        evidence: "cbo_1".to_owned(),
    };
    ledger.note_ask(reference(&job), ask).await.expect("noted");
    let found = settlement_with(&job, Status::Succeeded, vec![]);
    ledger.settle(found).await.expect("settled");
    let marks = vec![outcome(&job, Status::Succeeded).event_id];
    let marked = ledger.mark_published(marks, Timestamp::from_millis(3));
    marked.await.expect("marked");
    ledger.close().await.expect("closed");
    let db = Connection::open(dir.path().join(NAME)).expect("the file");
    for tampering in [
        "UPDATE jobs SET final_outcome = NULL",
        "UPDATE jobs SET doubt_outcome = NULL, doubt_reason = NULL",
        "UPDATE jobs SET fingerprint = zeroblob(32)",
        "UPDATE jobs SET key = zeroblob(16)",
        "UPDATE jobs SET amount_minor = 1",
        "DELETE FROM jobs",
        "UPDATE attempts SET verdict = '{}'",
        "DELETE FROM attempts",
        "UPDATE asks SET finding = 'absent'",
        "DELETE FROM asks",
        "UPDATE outcomes SET status = 'not_sent'",
        "UPDATE outcomes SET body = x'00'",
        "UPDATE outcomes SET published_at = NULL WHERE status = 'succeeded'",
        "DELETE FROM outcomes",
        "UPDATE meta SET sequence = 0",
        "UPDATE meta SET namespace = 'other'",
        "UPDATE meta SET ledger_id = 'other'",
        "DELETE FROM meta",
    ] {
        let refused = db.execute(tampering, []).expect_err(tampering);
        let code = refused.sqlite_error_code();
        let constraint = Some(rusqlite::ErrorCode::ConstraintViolation);
        assert_eq!(code, constraint, "{tampering}: {refused}");
    }
}

/// The file is held by somebody else while callers come, so that all of them are waiting when the
/// writer can commit: they share commits instead of making one each.
#[tokio::test]
async fn many_callers_share_few_commits() {
    const CALLERS: usize = 500;
    let (dir, ledger) = new_sqlite();
    let ledger = std::sync::Arc::new(ledger);
    let other = Connection::open(dir.path().join(NAME)).expect("the file");
    other.execute_batch("BEGIN IMMEDIATE").expect("held");
    let mut callers = JoinSet::new();
    for number in 0..CALLERS {
        let ledger = std::sync::Arc::clone(&ledger);
        let intent = intent(&format!("J{number}"));
        callers.spawn(async move { ledger.begin(intent).await });
    }
    // One thread runs the tasks in turn: after this many of them have placed their orders.
    tokio::task::yield_now().await;
    other.execute_batch("COMMIT").expect("let go");
    for begun in callers.join_all().await {
        assert_eq!(begun.expect("begun"), Begun::Yes);
    }
    let commits = sequence(dir.path());
    let few = i64::try_from(CALLERS / 10).expect("a small number");
    assert!(
        (1..=few).contains(&commits),
        "{commits} commits for {CALLERS} callers"
    );
    let open_jobs = ledger.unsettled(None, 1_000).await.expect("open jobs");
    assert_eq!(open_jobs.len(), CALLERS);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i1_of_many_callers_with_one_id_one_begins() {
    let (_dir, ledger) = new_sqlite();
    let ledger = std::sync::Arc::new(ledger);
    let mut callers = JoinSet::new();
    for _ in 0..64 {
        let ledger = std::sync::Arc::clone(&ledger);
        callers.spawn(async move { ledger.begin(intent("A")).await.expect("an answer") });
    }
    let answers = callers.join_all().await;
    let begun = answers.iter().filter(|answer| **answer == Begun::Yes);
    assert_eq!(begun.count(), 1);
}

/// A trigger of somebody else makes one statement fail: everyone in its commit is told so, nothing
/// of it is there afterwards, and the ledger answers nothing more.
#[tokio::test]
async fn i2_a_failed_write_is_the_last_thing_a_ledger_does() {
    let (dir, ledger) = new_sqlite();
    let ledger = std::sync::Arc::new(ledger);
    ledger.begin(intent("A")).await.expect("begun");
    let other = Connection::open(dir.path().join(NAME)).expect("the file");
    let sabotage = "CREATE TRIGGER sabotage BEFORE INSERT ON attempts \
                    BEGIN SELECT RAISE(ABORT, 'the disk is broken'); END";
    other.execute_batch(sabotage).expect("a trigger");
    other.execute_batch("BEGIN IMMEDIATE").expect("held");
    let mut callers = JoinSet::new();
    for name in ["B", "C"] {
        let ledger = std::sync::Arc::clone(&ledger);
        callers.spawn(async move { ledger.begin(intent(name)).await.is_err() });
    }
    let settled = std::sync::Arc::clone(&ledger);
    let job = intent("A");
    callers.spawn(async move {
        let settlement = settlement(&job, Status::Succeeded);
        settled.settle(settlement).await.is_err()
    });
    tokio::task::yield_now().await;
    other.execute_batch("COMMIT").expect("let go");
    // Callers whose orders were committed before the settlement's may have succeeded; it cannot.
    let failed = callers
        .join_all()
        .await
        .into_iter()
        .filter(|failed| *failed);
    assert!(failed.count() >= 1);
    assert!(ledger.begin(intent("D")).await.is_err());
    assert!(ledger.look(vec![id("A")]).await.is_err());
    assert!(ledger.note_panic(id("A")).await.is_err());
    assert!(ledger.close().await.is_err());
    drop(ledger);
    other
        .execute_batch("DROP TRIGGER sabotage")
        .expect("repaired");
    drop(other);
    let ledger = open(dir.path()).expect("a new start reads the truth");
    let sights = ledger.look(vec![id("A"), id("D")]).await.expect("a look");
    assert!(matches!(
        sights[0],
        Sight::Known {
            standing: Standing::InDoubt(None),
            ..
        }
    ));
    assert_eq!(sights[1], Sight::Unknown);
}

#[tokio::test]
async fn i12_no_error_tells_a_card_or_an_id() {
    let (dir, ledger) = new_sqlite();
    ledger.begin(intent("A")).await.expect("begun");
    let other = Connection::open(dir.path().join(NAME)).expect("the file");
    let bent = "DROP TRIGGER jobs_say_one_thing; UPDATE jobs SET amount_minor = 1";
    other.execute_batch(bent).expect("tampered with");
    seal(&other, "jobs");
    let error = ledger
        .unsettled(None, 9)
        .await
        .expect_err("it must be seen");
    let said = format!("{error:?}");
    assert!(said.contains("fingerprint"), "{said}");
    assert!(!said.contains("car_5tgliBmzjZ6mpQPRbQjfKj"), "{said}");
}

#[tokio::test]
async fn a_clone_of_a_memory_ledger_is_the_same_ledger() {
    let ledger = MemoryLedger::new();
    ledger.clone().begin(intent("A")).await.expect("begun");
    let again = ledger.begin(intent("A")).await.expect("an answer");
    assert!(matches!(again, Begun::AlreadyThere(_)));
}

/// What the second format wrote is read back whole after the migration: what was released, pruned and
/// asked too.
#[tokio::test]
async fn a_ledger_of_the_second_format_is_brought_up_to_date() {
    let dir = tempfile::tempdir().expect("a directory");
    let db = Connection::open(dir.path().join(NAME)).expect("a file");
    db.execute_batch(include_str!("ledger/version_2.sql"))
        .expect("the second format");
    drop(db);
    let ledger = open(dir.path()).expect("brought up to date");
    assert!(finished(&ledger, "A").await);
    assert!(finished(&ledger, "D").await, "pruned");
    let open_jobs = ledger.unsettled(None, 9).await.expect("open jobs");
    let [job] = open_jobs.as_slice() else {
        panic!("one job is open: {open_jobs:?}");
    };
    assert_eq!((&job.intent.job.entity_id, job.was_held), (&id("B"), false));
    assert_eq!(job.intent.origin, Origin::File);
    assert_eq!(job.intent.envelope, Envelope::default());
    let sights = ledger.look(vec![id("C"), id("E")]).await.expect("a look");
    assert!(matches!(
        sights[0],
        Sight::Known {
            standing: Standing::Released { cancelled: false },
            ..
        }
    ));
    assert_eq!(sights[1], Sight::Cancelled);
    let released = ledger.job_of(reference(&intent("C"))).await;
    let released = released.expect("a read").expect("its row");
    assert_eq!(
        (released.source.as_str(), released.line),
        ("payroll.csv", Some(18))
    );
    let (who, _) = ledger.paused_by().await.expect("a read").expect("a pause");
    assert_eq!(who.as_str(), "Ana");
    let asked = ledger.open_requests(None, 9).await.expect("a read");
    assert!(matches!(
        asked.as_slice(),
        [Request {
            wish: Wish::Settle { .. },
            ..
        }]
    ));
    let redrive = Wish::Redrive {
        entity_id: id("A"),
        generation: generation(2),
    };
    let at = Timestamp::from_millis(5);
    ledger.request(redrive, who, at).await.expect("asked");
    assert_eq!(ledger.held_count().await.expect("a count"), 0);
    let kept = ledger.hold(vec![held(&intent("F"))]).await;
    assert_eq!(kept.expect("held").len(), 1);
    ledger.close().await.expect("closed");
    let db = Connection::open(dir.path().join(NAME)).expect("the file");
    for forbidden in [
        "UPDATE requests SET asked_by = 'x'",
        "UPDATE requests SET wanted = 9",
        "DELETE FROM requests",
        "UPDATE holds SET place = 9",
        "UPDATE jobs SET origin = 'queue'",
        "UPDATE outcomes SET origin = 'queue'",
        "DELETE FROM tombstones",
    ] {
        assert!(db.execute(forbidden, []).is_err(), "{forbidden}");
    }
}

/// What the ledger has taken over is there, in its order, for whoever opens it next.
#[tokio::test]
async fn i7_held_jobs_outlast_their_process_in_their_order() {
    let (dir, ledger) = new_sqlite();
    let names = ["C", "A", "B"];
    let jobs = names.map(|name| held(&intent(name))).to_vec();
    ledger.hold(jobs).await.expect("held");
    let crashed = as_after_a_crash(&dir);
    let ledger = open(crashed.path()).expect("opened");
    assert_eq!(ledger.held_count().await.expect("a count"), 3);
    let card_id = intent("A").job.card_id;
    let cards = ledger.held_cards(None, 9).await.expect("cards");
    assert_eq!(cards, std::slice::from_ref(&card_id));
    for name in names {
        let next = ledger.next_held(card_id.clone()).await.expect("a read");
        let next = next.expect("a held job").intent;
        assert_eq!(next, intent(name));
        ledger.begin(next).await.expect("begun");
    }
}

/// What a format before checksums wrote is taken as it is, and every row compared from then on.
#[tokio::test]
async fn a_ledger_of_the_fourth_format_is_brought_up_to_date() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join(NAME);
    let db = Connection::open(&path).expect("a file");
    db.execute_batch(include_str!("ledger/version_4.sql"))
        .expect("the fourth format");
    drop(db);
    let ledger = open(dir.path()).expect("brought up to date");
    assert!(finished(&ledger, "A").await);
    let loss = ledger.loss().await.expect("a read").expect("a loss");
    assert_eq!((loss.by.as_str(), loss.is_past), ("Ana", false));
    assert!(ledger.has_arrived(id("H")).await.expect("a read"));
    ledger.close().await.expect("closed");
    open(dir.path())
        .expect("every row has its checksum")
        .close()
        .await
        .expect("closed");
    let db = Connection::open(&path).expect("the file");
    db.execute_batch("DROP TRIGGER losses_are_fixed; UPDATE losses SET accepted_by = 'Beto'")
        .expect("tampered with");
    drop(db);
    assert!(matches!(refusal(dir.path()), OpenError::Corrupt { .. }));
}

#[tokio::test]
async fn a_ledger_of_the_third_format_is_brought_up_to_date() {
    let dir = tempfile::tempdir().expect("a directory");
    let db = Connection::open(dir.path().join(NAME)).expect("a file");
    db.execute_batch(include_str!("ledger/version_3.sql"))
        .expect("the third format");
    drop(db);
    let ledger = open(dir.path()).expect("brought up to date");
    assert!(finished(&ledger, "A").await);
    let open_jobs = ledger.unsettled(None, 9).await.expect("open jobs");
    let origins: Vec<_> = open_jobs.iter().map(|job| job.intent.origin).collect();
    assert_eq!(origins, [Origin::File, Origin::Queue]);
    assert_eq!(ledger.held_count().await.expect("a count"), 1);
    assert_eq!(ledger.loss().await.expect("a read"), None);
    ledger.note_arrivals(vec![id("H")]).await.expect("noted");
    ledger.close().await.expect("closed");
}

/// What the first format wrote is read back whole after the migration, and its triggers still hold.
#[tokio::test]
async fn a_ledger_of_the_first_format_is_brought_up_to_date() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join(NAME);
    let db = Connection::open(&path).expect("a file");
    db.execute_batch(include_str!("ledger/version_1.sql"))
        .expect("the first format");
    drop(db);
    let ledger = open(dir.path()).expect("brought up to date");
    assert!(finished(&ledger, "A").await);
    let open_jobs = ledger.unsettled(None, 9).await.expect("open jobs");
    let [job] = open_jobs.as_slice() else {
        panic!("one job is open: {open_jobs:?}");
    };
    assert_eq!(job.intent.job.entity_id, id("B"));
    assert_eq!(
        (job.intent.source.as_str(), job.intent.again_by.as_ref()),
        ("", None)
    );
    ledger.close().await.expect("closed");
    let db = Connection::open(&path).expect("the file");
    let version: i64 = db
        .pragma_query_value(None, "user_version", |row| row.get(0))
        .expect("a version");
    assert_eq!(version, 5);
    for forbidden in [
        "DELETE FROM jobs",
        "DELETE FROM attempts",
        "DELETE FROM outcomes",
        "UPDATE jobs SET amount_minor = 1",
        "UPDATE jobs SET source = 'x'",
    ] {
        assert!(db.execute(forbidden, []).is_err(), "{forbidden}");
    }
}
