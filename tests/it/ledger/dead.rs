//! Which outcomes are dead letters, and how many requests are put at once.

use tanda::domain::outcome::{DoubtReason, Status};
use tanda::domain::request::{EvidenceText, Person, Wish};
use tanda::domain::time::Timestamp;
use tanda::engine::ports::{Answer, Ledger};
use tanda::ledger::history::{AskedOfLetter, DeadLetter};
use tanda::ledger::{SqliteLedger, Visitor};
use tempfile::TempDir;

use super::NAME;
use crate::contract::new_sqlite;
use crate::contract::samples::{
    fact, generation, held, id, intent, intent_of, job, outcome, reference, settlement,
    settlement_with, unclear,
};

const NOW: Timestamp = Timestamp::from_millis(1_700_000_002_000);

fn ana() -> Person {
    Person::parse("Ana").expect("a name")
}

fn visit(dir: &TempDir) -> Visitor {
    Visitor::open(&dir.path().join(NAME)).expect("a ledger")
}

fn letters(dir: &TempDir) -> Vec<DeadLetter> {
    let mut letters = Vec::new();
    let visited = visit(dir).dead_letters(|letter| letters.push(letter));
    visited.expect("they can be read");
    letters
}

fn names(dir: &TempDir) -> Vec<String> {
    let letters = letters(dir);
    let names = letters.iter().map(|letter| {
        let id = letter.outcome.entity_id.as_ref();
        let id = id.map_or("-", |id| id.as_str());
        format!("{id} {}", letter.outcome.status)
    });
    names.collect()
}

async fn settle(ledger: &SqliteLedger, name: &str, status: Status) {
    let settled = ledger.settle(settlement(&intent(name), status)).await;
    settled.expect("settled");
}

async fn answer_all(ledger: &SqliteLedger, accepted: bool) {
    for request in ledger.open_requests(None, 9_999).await.expect("requests") {
        let answer = Answer {
            accepted,
            generation: None,
            words: "so".to_owned(),
            at: NOW,
        };
        ledger.answer(request.id, answer).await.expect("answered");
    }
}

#[tokio::test]
async fn a_dead_letter_is_what_nobody_will_retry_by_itself() {
    let (dir, ledger) = new_sqlite();
    for (name, status) in [
        ("paid", Status::Succeeded),
        ("refused", Status::Rejected),
        ("late", Status::NotSent),
    ] {
        settle(&ledger, name, status).await;
    }
    ledger.note_fact(fact("x", "{}")).await.expect("noted");
    for name in ["asked", "called"] {
        ledger.begin(intent(name)).await.expect("begun");
        let doubt = settlement_with(&intent(name), Status::InDoubt, vec![unclear(1)]);
        let doubt = ledger.doubt(doubt, DoubtReason::Conflict).await;
        doubt.expect("in doubt");
    }
    let called = ledger.call_person(reference(&intent("called"))).await;
    called.expect("called");
    let all = [
        "refused rejected",
        "late not_sent",
        "- invalid",
        "called in_doubt",
    ];
    assert_eq!(names(&dir), all);
    assert_eq!(letters(&dir)[0].source, "payroll.csv");

    // What is settled after all is none any more.
    let found = settlement_with(&intent("called"), Status::Succeeded, vec![]);
    ledger.settle(found).await.expect("settled");
    assert_eq!(names(&dir), all[..3]);
}

#[tokio::test]
async fn only_the_newest_generation_of_a_job_is_a_dead_letter() {
    let (dir, ledger) = new_sqlite();
    for name in ["again", "held"] {
        settle(&ledger, name, Status::Rejected).await;
    }
    let next = intent_of(job("again"), 2);
    ledger.begin(next.clone()).await.expect("begun");
    assert_eq!(names(&dir), ["held rejected"], "one is under way");
    let waits = intent_of(job("held"), 2);
    ledger.hold(vec![held(&waits)]).await.expect("held");
    assert_eq!(names(&dir), [""; 0], "one is held");
    let settled = ledger.settle(settlement(&next, Status::NotSent)).await;
    settled.expect("settled");
    assert_eq!(names(&dir), ["again not_sent"]);
    assert_eq!(letters(&dir)[0].outcome.generation, Some(generation(2)));
}

#[tokio::test]
async fn what_was_put_aside_is_none_and_what_was_asked_is_marked() {
    let (dir, ledger) = new_sqlite();
    for name in ["aside", "again", "neither"] {
        settle(&ledger, name, Status::Rejected).await;
    }
    let discard = Wish::Discard {
        event_id: outcome(&intent("aside"), Status::Rejected).event_id,
        entity_id: Some(id("aside")),
        evidence: EvidenceText::parse("a receipt").expect("words"),
    };
    let redrive = Wish::Redrive {
        entity_id: id("again"),
        generation: generation(2),
    };
    let put = |wishes: &[Wish]| visit(&dir).request_all(wishes, &ana(), NOW);
    put(&[discard.clone(), redrive]).expect("on record");
    let asked = letters(&dir);
    let asked: Vec<_> = asked.iter().map(|letter| letter.asked).collect();
    let [aside, again] = [AskedOfLetter::Discard, AskedOfLetter::Redrive].map(Some);
    assert_eq!(asked, [aside, again, None]);
    answer_all(&ledger, false).await;
    assert_eq!(names(&dir).len(), 3, "a declined request changes nothing");
    put(&[discard]).expect("on record");
    answer_all(&ledger, true).await;
    assert_eq!(names(&dir), ["again rejected", "neither rejected"]);
}

/// Every kind of request reads back as it was put, in its order, beside the process that owns the ledger.
#[tokio::test]
async fn many_requests_are_put_in_one_commit_and_in_their_order() {
    let (dir, ledger) = new_sqlite();
    let evidence = || EvidenceText::parse("\"quoted\" and ñ").expect("words");
    let mut wishes = vec![
        Wish::Cancel(id("c")),
        Wish::Settle {
            entity_id: id("s"),
            ruling: tanda::domain::request::Ruling::NotSent,
            evidence: evidence(),
        },
        Wish::Reconcile(None),
        Wish::Reconcile(Some(id("r"))),
        Wish::Pause,
        Wish::Resume,
        Wish::Discard {
            event_id: fact("x", "").event_id,
            entity_id: None,
            evidence: evidence(),
        },
    ];
    wishes.extend((0..1_000).map(|number| Wish::Redrive {
        entity_id: id(&format!("J-{number}")),
        generation: generation(2),
    }));
    let ids = visit(&dir).request_all(&wishes, &ana(), NOW);
    let ids = ids.expect("on record");
    let open = ledger.open_requests(None, 9_999).await.expect("requests");
    let read: Vec<_> = open
        .iter()
        .map(|open| (open.id, open.wish.clone()))
        .collect();
    let put: Vec<_> = ids.into_iter().zip(wishes).collect();
    assert_eq!(read, put);
    let none = visit(&dir).request_all(&[], &ana(), NOW);
    assert_eq!(none.expect("nothing to put"), []);
}

#[tokio::test]
async fn what_is_held_is_told_in_its_order_and_with_what_is_before_it() {
    let (dir, ledger) = new_sqlite();
    ledger.begin(intent("first")).await.expect("begun");
    let jobs = ["second", "third"].map(|name| held(&intent(name)));
    ledger.hold(jobs.to_vec()).await.expect("held");
    let visitor = visit(&dir);
    let all = visitor.held(1).expect("it can be read");
    assert_eq!(all.totals.count(), 2);
    assert_eq!(all.oldest.len(), 1);
    assert_eq!(all.oldest[0].job, job("second"));
    let history = visitor.history(&id("third")).expect("it can be read");
    let third = history.held.as_ref().expect("it is held");
    assert_eq!((third.held_before, &third.behind), (1, &Some(id("first"))));
    assert_eq!((history.final_status(), history.is_empty()), (None, false));
    assert_eq!((history.waits.len(), history.facts.len()), (1, 0));
    let overview = visitor.overview().expect("it can be read");
    assert_eq!(
        (overview.unpublished, overview.unpublished_on_queue),
        (2, 0)
    );
}
