//! Losses of a ledger in a file, and what it takes to go on after one.

use std::path::{Path, PathBuf};

use tanda::domain::outcome::Status;
use tanda::domain::request::Person;
use tanda::domain::time::Timestamp;
use tanda::engine::ports::{Control, Ledger as _, Sight, Standing};
use tanda::ledger::{Accepted, Binding, Forgotten, OpenError, SqliteLedger};

use super::{NAME, open, refusal, sequence, used};
use crate::contract::holds::{is_in_doubt_after_having_been_held, release_and_hold};
use crate::contract::samples::{id, intent, reference, settlement};
use crate::contract::{binding, open_jobs};

fn ana() -> Person {
    Person::parse("Ana").expect("a name")
}

fn accept(dir: &Path) -> Result<Accepted, OpenError> {
    let at = Timestamp::from_millis(1_795_000_000_000);
    SqliteLedger::accept_loss(&dir.join(NAME), &binding(), &ana(), at)
}

fn files_with(dir: &Path, part: &str) -> Vec<PathBuf> {
    let files = std::fs::read_dir(dir).expect("a directory");
    let files = files.map(|file| file.expect("a file").path());
    let named = |path: &PathBuf| path.to_string_lossy().contains(part);
    files.filter(named).collect()
}

#[tokio::test]
async fn a_ledger_that_has_forgotten_nothing_is_left_alone() {
    let dir = used().await;
    let before = sequence(dir.path());
    let refused = accept(dir.path()).expect_err("nothing to accept");
    assert!(
        matches!(refused, OpenError::NothingForgotten { .. }),
        "{refused}"
    );
    assert_eq!(sequence(dir.path()), before);
    let ledger = open(dir.path()).expect("opened");
    assert_eq!(ledger.loss().await.expect("read"), None);
}

#[tokio::test]
async fn f22_an_older_copy_is_used_again_by_a_persons_word_and_says_so() {
    let dir = used().await;
    let path = dir.path().join(NAME);
    let ledger = open(dir.path()).expect("opened");
    ledger.begin(intent("released")).await.expect("begun");
    let released = ledger.release(reference(&intent("released")), "no_connection");
    released.await.expect("released");
    ledger.close().await.expect("closed");
    let yesterday = std::fs::read(&path).expect("the file");
    let ledger = open(dir.path()).expect("opened");
    let settled = ledger.settle(settlement(&intent("released"), Status::Succeeded));
    settled.await.expect("settled");
    ledger.begin(intent("B")).await.expect("begun");
    ledger.close().await.expect("closed");
    let newest = sequence(dir.path());
    std::fs::write(&path, yesterday).expect("the older copy");
    assert!(matches!(refusal(dir.path()), OpenError::Forgot { .. }));
    let accepted = accept(dir.path()).expect("accepted");
    assert!(
        matches!(accepted.lost, Forgotten::Behind { .. }),
        "{accepted:?}"
    );
    assert!(!accepted.is_new && accepted.aside.is_empty());
    assert_eq!(sequence(dir.path()), newest + 1, "behind all that was seen");
    let ledger = open(dir.path()).expect("opened");
    let loss = ledger.loss().await.expect("read").expect("a loss");
    assert!(loss.by == ana() && !loss.is_past);
    let sights = ledger.look(vec![id("released")]).await.expect("a look");
    let in_doubt = matches!(
        sights.as_slice(),
        [Sight::Known {
            standing: Standing::InDoubt(None),
            ..
        }]
    );
    assert!(in_doubt, "it may have been sent since: {sights:?}");
    ledger.note_loss_is_past().await.expect("noted");
    ledger.close().await.expect("closed");
    let ledger = open(dir.path()).expect("opened");
    let loss = ledger.loss().await.expect("read").expect("a loss");
    assert!(loss.is_past);
}

#[tokio::test]
async fn f22_i4_an_older_copy_holds_nothing_that_is_in_doubt() {
    let dir = used().await;
    let path = dir.path().join(NAME);
    let ledger = open(dir.path()).expect("opened");
    for open in open_jobs(&ledger).await {
        let over = settlement(&open.intent, Status::Succeeded);
        ledger.settle(over).await.expect("settled");
    }
    release_and_hold(&ledger, intent("held")).await;
    ledger.close().await.expect("closed");
    let yesterday = std::fs::read(&path).expect("the file");
    let ledger = open(dir.path()).expect("opened");
    ledger.begin(intent("held")).await.expect("begun");
    ledger.close().await.expect("closed");
    std::fs::write(&path, yesterday).expect("the older copy");
    accept(dir.path()).expect("accepted");
    let ledger = open(dir.path()).expect("opened");
    is_in_doubt_after_having_been_held(&ledger).await;
}

#[tokio::test]
async fn f23_a_ledger_that_is_gone_begins_anew_with_the_control_that_its_anchor_kept() {
    let dir = used().await;
    let ledger = open(dir.path()).expect("opened");
    let control = Control {
        entity_id: id("A"),
        seen_at: Timestamp::from_millis(7),
    };
    ledger.note_control(control.clone()).await.expect("noted");
    ledger.close().await.expect("closed");
    std::fs::remove_file(dir.path().join(NAME)).expect("removed");
    let refused = SqliteLedger::create(&dir.path().join(NAME));
    assert!(refused.is_err(), "init does not hide a loss");
    let accepted = accept(dir.path()).expect("accepted");
    assert!(accepted.is_new);
    let ledger = open(dir.path()).expect("opened");
    assert_eq!(ledger.control().await.expect("read"), Some(control));
    let sights = ledger.look(vec![id("A")]).await.expect("a look");
    assert_eq!(sights, [Sight::Unknown]);
    assert!(ledger.loss().await.expect("read").is_some());
}

/// Of another bank's list nothing is known.
#[tokio::test]
async fn i1_the_control_of_another_bank_does_not_outlive_a_loss() {
    let dir = used().await;
    let ledger = open(dir.path()).expect("opened");
    let control = Control {
        entity_id: id("A"),
        seen_at: Timestamp::from_millis(7),
    };
    ledger.note_control(control).await.expect("noted");
    ledger.close().await.expect("closed");
    std::fs::remove_file(dir.path().join(NAME)).expect("removed");
    let other = Binding {
        bank_origin: "https://bank.example:443".to_owned(),
        ..binding()
    };
    let at = Timestamp::from_millis(1);
    let accepted = SqliteLedger::accept_loss(&dir.path().join(NAME), &other, &ana(), at);
    assert_eq!(accepted.expect("accepted").control, None);
}

#[tokio::test]
async fn f22_a_damaged_ledger_is_put_aside_and_nothing_is_deleted() {
    let dir = used().await;
    let path = dir.path().join(NAME);
    let mut bytes = std::fs::read(&path).expect("the file");
    bytes.truncate(4096);
    bytes.extend_from_slice(&[0xA5; 4096]);
    std::fs::write(&path, &bytes).expect("damage");
    assert!(matches!(refusal(dir.path()), OpenError::Corrupt { .. }));
    let accepted = accept(dir.path()).expect("accepted");
    assert!(accepted.is_new);
    let aside = files_with(dir.path(), "ledger.db.lost-");
    assert_eq!(aside.len(), 1, "{accepted:?}");
    let kept = aside
        .first()
        .map(std::fs::read)
        .expect("a file")
        .expect("read");
    assert_eq!(kept, bytes);
    open(dir.path()).expect("opened");
}

#[tokio::test]
async fn an_anchor_that_cannot_be_read_is_a_loss_that_can_be_accepted() {
    let dir = used().await;
    std::fs::write(dir.path().join("ledger.db.anchor"), "{").expect("half an anchor");
    let accepted = accept(dir.path()).expect("accepted");
    assert_eq!(accepted.lost, Forgotten::AnchorIsUnreadable);
    let ledger = open(dir.path()).expect("opened");
    assert!(ledger.loss().await.expect("read").is_some());
    let sights = ledger.look(vec![id("A")]).await.expect("a look");
    assert!(matches!(sights.as_slice(), [Sight::Known { .. }]));
}

#[tokio::test]
async fn a_loss_is_accepted_only_where_nobody_owns_the_ledger_and_for_its_own_bank() {
    let dir = used().await;
    std::fs::remove_file(dir.path().join("ledger.db.anchor")).expect("removed");
    let other = Binding {
        bank_origin: "https://bank.example:443".to_owned(),
        ..binding()
    };
    let at = Timestamp::from_millis(1);
    let refused = SqliteLedger::accept_loss(&dir.path().join(NAME), &other, &ana(), at);
    assert!(
        matches!(refused, Err(OpenError::OtherBinding { .. })),
        "{refused:?}"
    );
    accept(dir.path()).expect("accepted");
    let owner = open(dir.path()).expect("opened");
    let refused = accept(dir.path()).expect_err("owned");
    assert!(matches!(refused, OpenError::Locked { .. }), "{refused}");
    owner.close().await.expect("closed");
}
