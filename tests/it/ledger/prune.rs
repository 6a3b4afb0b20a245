//! Pruning, at the level of the ledger: what goes, what stays, and that nothing is forgotten that
//! keeps a job from being paid twice.

use std::path::Path;

use rusqlite::Connection;
use tanda::domain::outcome::{DoubtReason, Status};
use tanda::domain::time::Timestamp;
use tanda::engine::ports::{
    AskNote, Begun, Ledger, Origin, Settlement, Sight, Standing, StoredOutcome,
};
use tanda::ledger::{PrunePlace, Pruner, SqliteLedger, Visitor};
use tanda::wire::outcome::OutcomeMessage;

use crate::contract::samples::{
    fact, held, id, intent, intent_of, job, outcome, reference, settlement, settlement_with,
    unclear,
};
use crate::contract::{binding, new_sqlite};

const NAME: &str = "ledger.db";

/// Behind everything that the samples settle.
fn later() -> Timestamp {
    Timestamp::from_millis(1_800_000_000_000)
}

async fn publish(ledger: &SqliteLedger, outcomes: &[StoredOutcome]) {
    let ids = outcomes.iter().map(|outcome| outcome.event_id).collect();
    let marked = ledger.mark_published(ids, Timestamp::from_millis(1_700_000_002_000));
    marked.await.expect("marked");
}

/// All steps, looking at so many rows in each; how many jobs and facts went.
fn prune_all(path: &Path, before: Timestamp, rows: usize) -> (u64, u64) {
    let mut pruner = Pruner::open(path, &binding()).expect("opened");
    let counted = pruner.count(before).expect("counted");
    let (mut jobs, mut facts) = (0, 0);
    let mut place = Some(PrunePlace::START);
    while let Some(from) = place {
        let step = pruner.step(before, from, rows).expect("a step");
        jobs += step.jobs;
        facts += step.facts;
        place = step.next;
    }
    pruner.close().expect("closed");
    assert_eq!(counted, jobs, "what was announced is what went");
    assert_whole(path);
    (jobs, facts)
}

fn assert_whole(path: &Path) {
    let db = Connection::open(path).expect("a ledger");
    let mut orphans = db.prepare("PRAGMA foreign_key_check").expect("a check");
    assert!(
        !orphans.exists([]).expect("a check"),
        "a row refers to what is gone"
    );
    let left: i64 = db
        .query_row("SELECT count(*) FROM pruning", [], |row| row.get(0))
        .expect("a count");
    assert_eq!(left, 0, "deleting is forbidden again");
    assert!(db.execute("DELETE FROM tombstones", []).is_err() || tombstones(&db) == 0);
}

fn tombstones(db: &Connection) -> i64 {
    db.query_row("SELECT count(*) FROM tombstones", [], |row| row.get(0))
        .expect("a count")
}

fn standing(sight: &Sight) -> &Standing {
    match sight {
        Sight::Known { standing, .. } => standing,
        Sight::Unknown | Sight::Cancelled => panic!("not known any more: {sight:?}"),
    }
}

/// Two jobs that may go (`done`, `found`), and five that may not.
async fn fill(ledger: &SqliteLedger) {
    let [open, doubted, untold, done] = ["open", "doubted", "untold", "done"].map(intent);
    ledger.begin(open).await.expect("begun");
    let doubt = settlement_with(&doubted, Status::InDoubt, vec![unclear(1)]);
    let doubt = ledger.doubt(doubt, DoubtReason::Conflict).await;
    doubt.expect("in doubt");
    settle(ledger, settlement(&untold, Status::Succeeded)).await;
    settle(ledger, settlement(&done, Status::Succeeded)).await;
    ledger.note_panic(id("done")).await.expect("counted");
    // The first of two generations is old and published, the second in doubt: both stay.
    let first = intent("again");
    settle(ledger, settlement(&first, Status::Rejected)).await;
    let second = intent_of(job("again"), 2);
    ledger.begin(second).await.expect("begun");
    // Once in doubt and settled since: the interim outcome was overtaken and is never published.
    let found = intent("found");
    let doubt = settlement_with(&found, Status::InDoubt, vec![unclear(1)]);
    let doubt = ledger.doubt(doubt, DoubtReason::Conflict).await;
    doubt.expect("in doubt");
    let noted = ledger.note_ask(reference(&found), ask("found")).await;
    noted.expect("noted");
    settle(ledger, settlement_with(&found, Status::Succeeded, vec![])).await;
    let published = [
        outcome(&done, Status::Succeeded),
        outcome(&first, Status::Rejected),
        outcome(&found, Status::Succeeded),
    ];
    publish(ledger, &published).await;
}

async fn settle(ledger: &SqliteLedger, settlement: Settlement) {
    ledger.settle(settlement).await.expect("settled");
}

fn ask(finding: &'static str) -> AskNote {
    AskNote {
        began: Timestamp::from_millis(1),
        ended: Timestamp::from_millis(2),
        finding,
        evidence: "cbo_1".to_owned(),
    }
}

#[tokio::test]
async fn only_what_is_over_old_and_published_goes_with_all_its_generations() {
    let (dir, ledger) = new_sqlite();
    fill(&ledger).await;
    ledger.close().await.expect("closed");

    let path = dir.path().join(NAME);
    let at = outcome(&intent("done"), Status::Succeeded).settled_at;
    assert_eq!(prune_all(&path, at, 2), (0, 0), "not older than itself");
    assert_eq!(prune_all(&path, later(), 2), (2, 0));
    assert_eq!(
        prune_all(&path, later(), 1_000),
        (0, 0),
        "nothing is left to do"
    );

    let ledger = SqliteLedger::open(&path, &binding()).expect("opened");
    let names = ["open", "doubted", "untold", "done", "again", "found"];
    let sights = ledger.look(names.map(id).to_vec()).await.expect("a look");
    let is_over: Vec<_> = sights
        .iter()
        .map(|sight| matches!(standing(sight), Standing::Finished(_)))
        .collect();
    assert_eq!(is_over, [false, false, true, true, false, true]);
    let unpublished = ledger.unpublished(&Origin::ALL, 99).await.expect("a read");
    assert_eq!(
        unpublished.len(),
        2,
        "the doubt and the untold are still to be told"
    );
    let visitor = Visitor::open(&path).expect("a visit");
    assert_eq!(visitor.overview().expect("a read").unpublished, 2);
    let history = visitor.history(&id("again")).expect("a read");
    assert_eq!(
        (history.generations.len(), history.tombstones.len()),
        (2, 0)
    );
    let history = visitor.history(&id("found")).expect("a read");
    assert_eq!(
        (history.generations.len(), history.tombstones.len()),
        (0, 1)
    );
}

/// What is held is open: neither it, nor an earlier generation of it, nor what was said of it goes. What
/// was said of a held job that is over goes once the job has.
#[tokio::test]
async fn i7_what_is_held_is_never_pruned() {
    let (dir, ledger) = new_sqlite();
    let [plain, over] = ["plain", "over"].map(intent);
    settle(&ledger, settlement(&intent("again"), Status::Rejected)).await;
    let second = intent_of(job("again"), 2);
    let jobs = [&plain, &second, &over].map(held).to_vec();
    ledger.hold(jobs).await.expect("held");
    settle(&ledger, settlement(&over, Status::NotSent)).await;
    let published = [
        outcome(&plain, Status::Waiting),
        outcome(&second, Status::Waiting),
        outcome(&intent("again"), Status::Rejected),
        outcome(&over, Status::Waiting),
        outcome(&over, Status::NotSent),
    ];
    publish(&ledger, &published).await;
    ledger.close().await.expect("closed");
    let path = dir.path().join(NAME);
    assert_eq!(prune_all(&path, later(), 2), (1, 1));
    let ledger = SqliteLedger::open(&path, &binding()).expect("opened");
    assert_eq!(ledger.held_count().await.expect("a count"), 2);
    for intent in [plain, second] {
        let next = ledger.next_held(intent.job.card_id.clone()).await;
        let next = next.expect("a read").expect("a held job");
        assert_eq!(
            next.outcome.event_id,
            outcome(&intent, Status::Waiting).event_id
        );
        assert_eq!(ledger.begin(next.intent).await.expect("begun"), Begun::Yes);
    }
}

#[tokio::test]
async fn i1_a_tombstone_keeps_what_keeps_a_job_from_being_paid_twice() {
    let (dir, ledger) = new_sqlite();
    let [paid, refused] = ["paid", "refused"].map(intent);
    let decided = intent("decided");
    for (intent, status) in [
        (&paid, Status::Succeeded),
        (&refused, Status::Rejected),
        (&decided, Status::NotSent),
    ] {
        let mut settlement = settlement(intent, status);
        let message = OutcomeMessage {
            reason: (status == Status::NotSent).then(|| "decided_by_person".to_owned()),
            ..sample_message(&settlement.outcome)
        };
        settlement.outcome.body = message.encode();
        ledger.settle(settlement).await.expect("settled");
        publish(&ledger, &[outcome(intent, status)]).await;
    }
    let begun = ledger.first_begun_at(id("refused")).await.expect("a read");
    ledger.close().await.expect("closed");
    let path = dir.path().join(NAME);
    assert_eq!(prune_all(&path, later(), 1), (3, 0));

    let ledger = SqliteLedger::open(&path, &binding()).expect("opened");
    for (intent, status) in [(&paid, Status::Succeeded), (&refused, Status::Rejected)] {
        let answer = ledger.begin(intent.clone()).await.expect("an answer");
        let Begun::AlreadyThere(sight) = answer else {
            panic!("{status}: begun again");
        };
        let Standing::Finished(kept) = standing(&sight) else {
            panic!("{sight:?}");
        };
        assert_eq!(kept.status, status);
        assert_eq!(kept.event_id, outcome(intent, status).event_id);
        assert!(OutcomeMessage::decode(&kept.body).is_some());
        let Sight::Known { fingerprint, .. } = sight else {
            panic!("{status}");
        };
        assert_eq!(fingerprint, intent.job.fingerprint());
    }
    // The bank's list is still asked since the first generation, and a person's word still asks for
    // more proof than the bank's own.
    assert_eq!(
        ledger.first_begun_at(id("refused")).await.expect("a read"),
        begun
    );
    let sights = ledger.look(vec![id("decided")]).await.expect("a look");
    let Some(Standing::Finished(kept)) = sights.first().map(standing) else {
        panic!("{sights:?}");
    };
    let reason = OutcomeMessage::decode(&kept.body).and_then(|message| message.reason);
    assert_eq!(reason.as_deref(), Some("decided_by_person"));

    let noted = ledger.note_ask(reference(&refused), ask("absent")).await;
    noted.expect("an ask about what was pruned ends nothing");
    let next = intent_of(job("refused"), 2);
    assert_eq!(ledger.begin(next).await.expect("an answer"), Begun::Yes);
    assert_eq!(
        ledger.first_begun_at(id("refused")).await.expect("a read"),
        begun
    );
    let after_paid = intent_of(job("paid"), 2);
    let answer = ledger.begin(after_paid).await.expect("an answer");
    assert!(
        matches!(answer, Begun::AlreadyThere(_)),
        "what was paid has no next generation"
    );
}

fn sample_message(outcome: &StoredOutcome) -> OutcomeMessage {
    let about = tanda::wire::outcome::Circumstances {
        event_id: outcome.event_id,
        seq: 1,
        generation: outcome.generation.expect("a generation"),
        key: intent("x").key,
        attempts: 1,
        line: None,
        batch_id: None,
        received_at: outcome.settled_at,
        settled_at: outcome.settled_at,
    };
    OutcomeMessage {
        status: outcome.status.as_str().to_owned(),
        ..tanda::wire::outcome::of_conflict(&job("x"), about)
    }
}

#[tokio::test]
async fn a_fact_about_a_message_goes_after_the_job_that_it_is_about() {
    let (dir, ledger) = new_sqlite();
    ledger.begin(intent("open")).await.expect("begun");
    let about_open = StoredOutcome {
        entity_id: Some(id("open")),
        status: Status::Conflict,
        ..fact("a copy of open", "{}")
    };
    let about_nobody = fact("unreadable", "{}");
    let untold = fact("untold", "{}");
    for fact in [&about_open, &about_nobody, &untold] {
        ledger.note_fact(fact.clone()).await.expect("noted");
    }
    publish(&ledger, &[about_open, about_nobody]).await;
    ledger.close().await.expect("closed");
    let path = dir.path().join(NAME);
    assert_eq!(prune_all(&path, later(), 1), (0, 1));
    let visitor = Visitor::open(&path).expect("a visit");
    assert_eq!(visitor.history(&id("open")).expect("a read").facts.len(), 1);
}

/// Stopped between any two steps, the ledger is whole, remembers everything, and a later prune goes
/// on.
#[tokio::test]
async fn i1_a_prune_that_is_stopped_anywhere_leaves_a_ledger_that_remembers_all() {
    let names: Vec<_> = (0..5).map(|n| format!("job {n}")).collect();
    for steps in 0..8 {
        let (dir, ledger) = new_sqlite();
        for name in &names {
            let settled = ledger.settle(settlement(&intent(name), Status::Succeeded));
            settled.await.expect("settled");
            publish(&ledger, &[outcome(&intent(name), Status::Succeeded)]).await;
        }
        ledger.close().await.expect("closed");
        let path = dir.path().join(NAME);
        let mut pruner = Pruner::open(&path, &binding()).expect("opened");
        let mut place = Some(PrunePlace::START);
        for _ in 0..steps {
            let Some(from) = place else { break };
            place = pruner.step(later(), from, 1).expect("a step").next;
        }
        drop(pruner);
        assert_whole(&path);
        let ledger = SqliteLedger::open(&path, &binding()).expect("its anchor knows every step");
        for name in &names {
            let again = ledger.begin(intent(name)).await.expect("an answer");
            assert!(
                matches!(again, Begun::AlreadyThere(_)),
                "{name} after {steps}"
            );
        }
        ledger.close().await.expect("closed");
        prune_all(&path, later(), 2);
        let db = Connection::open(&path).expect("a ledger");
        assert_eq!(tombstones(&db), 5);
    }
}
