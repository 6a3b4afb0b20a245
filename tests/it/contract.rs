//! The promises of the ledger port, each a test, over every implementation.
#![expect(
    clippy::indexing_slicing,
    reason = "an index that is not there is a failed test"
)]

pub(crate) mod holds;
pub(crate) mod samples;

use std::slice;
use std::time::Duration;

use proptest::prelude::*;
use tanda::domain::job::{Job, Operation};
use tanda::domain::key::Namespace;
use tanda::domain::outcome::{DoubtReason, Status};
use tanda::domain::request::{EvidenceText, Person, Request, Ruling, Wish};
use tanda::domain::time::{Moment, Timestamp};
use tanda::domain::verdict::{Deferral, Refusal, RefusalError, Unclarity, UnclearCause, Verdict};
use tanda::engine::ports::{
    Answer, AskNote, Begun, Control, Intent, JobRef, Ledger, NewlyHeld, OpenJob, Origin,
    Settlement, Sight, Standing, StoredOutcome,
};
use tanda::ledger::{Binding, MemoryLedger, SqliteLedger};
use tempfile::TempDir;

use self::holds::{
    a_begin_ends_a_hold_and_leaves_a_mark, a_held_job_is_seen_with_its_outcome_and_its_cancel,
    a_held_job_may_end_at_its_turn, a_job_is_found_by_its_generation,
    cards_with_held_jobs_come_in_pages, i1_only_the_next_generation_is_held,
    i1_what_has_begun_is_not_held, i4_a_second_takeover_changes_nothing,
    i5_a_held_job_in_doubt_is_held_no_more, i5_what_is_in_doubt_or_over_is_not_held,
    i6_what_is_held_or_released_begins_as_nothing_else, i7_a_release_and_a_takeover_are_one,
    i7_what_is_held_of_a_card_has_one_order, outcomes_are_given_by_origin_and_with_their_letters,
    waiting_is_told_only_while_it_is_true, what_is_asked_about_dead_letters_reads_back,
};
use self::samples::{
    accepted, attempt, fact, generation, held, id, intent, intent_of, job, outcome, reference,
    settlement, settlement_with, unclear,
};

pub(crate) fn binding() -> Binding {
    Binding {
        namespace: Namespace::default(),
        bank_origin: "https://api.sandbox.cuentamono.com".to_owned(),
    }
}

pub(crate) fn new_sqlite() -> (TempDir, SqliteLedger) {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("ledger.db");
    SqliteLedger::create(&path).expect("a new ledger");
    let ledger = SqliteLedger::open(&path, &binding()).expect("a ledger");
    (dir, ledger)
}

/// Every promise, for every implementation: a new one is one more module here.
macro_rules! promises {
    ($($promise:ident),* $(,)?) => {
        mod memory {
            $(#[tokio::test]
            async fn $promise() {
                super::$promise(&super::MemoryLedger::new()).await;
            })*
        }
        mod sqlite {
            $(#[tokio::test]
            async fn $promise() {
                let (_dir, ledger) = super::new_sqlite();
                super::$promise(&ledger).await;
            })*
        }
    };
}

promises![
    nothing_is_known_of_an_id_that_was_never_seen,
    what_has_arrived_is_on_record_until_it_is_over,
    what_is_looked_up_is_answered_in_order,
    i2_a_begun_job_is_in_doubt_until_it_settles,
    i1_an_id_begins_once,
    i4_a_settled_job_is_finished_for_good,
    a_job_without_an_intent_gets_its_row_when_it_settles,
    i4_the_first_doubt_of_a_generation_is_kept,
    a_doubt_about_a_settled_job_returns_what_is_final,
    an_open_job_reads_back_as_it_was_recorded,
    attempts_are_kept_in_order_and_repeats_are_ignored,
    another_attempt_with_a_number_on_record_is_refused,
    every_verdict_reads_back_as_it_was_told,
    open_jobs_come_oldest_first_and_in_pages,
    a_person_is_called_once_for_all,
    an_ask_is_recorded_about_a_known_job_only,
    panics_are_counted_with_and_without_a_row,
    the_first_fact_about_a_message_is_kept,
    what_was_published_is_not_offered_again,
    an_interim_outcome_is_not_told_after_the_final_one,
    the_last_positive_control_is_kept,
    i14_the_newest_2xx_is_found_and_nothing_else_is_taken_for_one,
    i6_a_job_that_says_something_else_is_not_settled,
    i5_an_outcome_of_the_wrong_kind_is_refused,
    an_outcome_of_another_job_is_refused,
    a_generation_follows_a_settled_one,
    i1_no_generation_follows_one_that_moved_money,
    i6_a_later_generation_begins_only_after_proof_and_only_the_next,
    a_request_is_answered_once_and_in_order,
    an_accepted_cancel_is_found_before_and_after_its_job_comes,
    the_newest_pause_or_resume_says_who_holds_the_flow,
    a_ruling_answers_its_request_in_the_same_commit,
    i7_what_is_held_of_a_card_has_one_order,
    a_begin_ends_a_hold_and_leaves_a_mark,
    i7_a_release_and_a_takeover_are_one,
    a_held_job_may_end_at_its_turn,
    a_held_job_is_seen_with_its_outcome_and_its_cancel,
    i6_what_is_held_or_released_begins_as_nothing_else,
    cards_with_held_jobs_come_in_pages,
    i4_a_second_takeover_changes_nothing,
    i1_what_has_begun_is_not_held,
    i5_what_is_in_doubt_or_over_is_not_held,
    i5_a_held_job_in_doubt_is_held_no_more,
    i1_only_the_next_generation_is_held,
    waiting_is_told_only_while_it_is_true,
    outcomes_are_given_by_origin_and_with_their_letters,
    a_job_is_found_by_its_generation,
    what_is_asked_about_dead_letters_reads_back,
];

async fn see(ledger: &dyn Ledger, name: &str) -> Sight {
    let mut sights = ledger.look(vec![id(name)]).await.expect("a look");
    sights.pop().expect("one sight")
}

async fn standing(ledger: &dyn Ledger, name: &str) -> Standing {
    match see(ledger, name).await {
        Sight::Known { standing, .. } => standing,
        Sight::Unknown | Sight::Cancelled => panic!("{name} is unknown"),
    }
}

pub(crate) async fn open_jobs(ledger: &dyn Ledger) -> Vec<OpenJob> {
    ledger.unsettled(None, 1_000).await.expect("open jobs")
}

/// What is to be published, without its letters.
async fn to_publish(ledger: &dyn Ledger) -> Vec<StoredOutcome> {
    let outcomes = ledger.unpublished(&Origin::ALL, 1_000).await;
    let without_letter = |outcome| StoredOutcome {
        letter: None,
        ..outcome
    };
    let outcomes = outcomes.expect("outcomes").into_iter();
    outcomes.map(without_letter).collect()
}

async fn nothing_is_known_of_an_id_that_was_never_seen(ledger: &dyn Ledger) {
    assert_eq!(see(ledger, "A").await, Sight::Unknown);
    assert_eq!(open_jobs(ledger).await, []);
    assert_eq!(to_publish(ledger).await, []);
    assert_eq!(ledger.control().await.expect("a read"), None);
}

async fn what_has_arrived_is_on_record_until_it_is_over(ledger: &dyn Ledger) {
    let has_arrived = async |name| ledger.has_arrived(id(name)).await.expect("read");
    assert!(!has_arrived("A").await);
    let arrived = ledger.note_arrivals(vec![id("A"), id("B"), id("A")]);
    arrived.await.expect("noted");
    assert!(has_arrived("A").await && has_arrived("B").await);
    ledger.begin(intent("A")).await.expect("begun");
    assert!(has_arrived("A").await);
    let settled = ledger.settle(settlement(&intent("A"), Status::Succeeded));
    settled.await.expect("settled");
    assert!(!has_arrived("A").await && has_arrived("B").await);
}

async fn what_is_looked_up_is_answered_in_order(ledger: &dyn Ledger) {
    ledger.begin(intent("B")).await.expect("begun");
    let asked = ["A", "B", "C", "B"].map(id).to_vec();
    let sights = ledger.look(asked).await.expect("a look");
    let known: Vec<_> = sights
        .iter()
        .map(|sight| *sight != Sight::Unknown)
        .collect();
    assert_eq!(known, [false, true, false, true]);
}

async fn i2_a_begun_job_is_in_doubt_until_it_settles(ledger: &dyn Ledger) {
    assert_eq!(ledger.begin(intent("A")).await.expect("begun"), Begun::Yes);
    let expected = Sight::Known {
        generation: generation(1),
        fingerprint: job("A").fingerprint(),
        standing: Standing::InDoubt(None),
    };
    assert_eq!(see(ledger, "A").await, expected);
}

async fn i1_an_id_begins_once(ledger: &dyn Ledger) {
    ledger.begin(intent("A")).await.expect("begun");
    let other = Job {
        operation: Operation::Withdrawal,
        ..job("A")
    };
    for again in [intent("A"), intent_of(other, 1), intent_of(job("A"), 2)] {
        let begun = ledger.begin(again).await.expect("an answer");
        assert_eq!(begun, Begun::AlreadyThere(see(ledger, "A").await));
    }
    assert_eq!(open_jobs(ledger).await.len(), 1);
    assert_eq!(open_jobs(ledger).await[0].intent, intent("A"));
}

async fn i4_a_settled_job_is_finished_for_good(ledger: &dyn Ledger) {
    let (job, first) = (intent("A"), outcome(&intent("A"), Status::Succeeded));
    ledger.begin(job.clone()).await.expect("begun");
    let settled = ledger.settle(settlement(&job, Status::Succeeded)).await;
    settled.expect("settled");
    assert_eq!(
        standing(ledger, "A").await,
        Standing::Finished(first.clone())
    );
    let again = settlement_with(&job, Status::Rejected, vec![unclear(2)]);
    ledger.settle(again).await.expect("settled already");
    assert_eq!(
        standing(ledger, "A").await,
        Standing::Finished(first.clone())
    );
    assert_eq!(to_publish(ledger).await, [first]);
    assert_eq!(open_jobs(ledger).await, []);
}

async fn a_job_without_an_intent_gets_its_row_when_it_settles(ledger: &dyn Ledger) {
    let job = intent("A");
    let expired = settlement_with(&job, Status::NotSent, vec![]);
    ledger.settle(expired.clone()).await.expect("settled");
    assert_eq!(
        standing(ledger, "A").await,
        Standing::Finished(expired.outcome)
    );
    let begun = ledger.begin(job).await.expect("an answer");
    assert!(matches!(begun, Begun::AlreadyThere(_)));
}

async fn i4_the_first_doubt_of_a_generation_is_kept(ledger: &dyn Ledger) {
    let job = intent("A");
    ledger.begin(job.clone()).await.expect("begun");
    let first = settlement_with(&job, Status::InDoubt, vec![unclear(1)]);
    let mut second = settlement_with(&job, Status::InDoubt, vec![unclear(2)]);
    second.outcome.body = b"another".to_vec();
    let kept = ledger.doubt(first.clone(), DoubtReason::Conflict).await;
    assert_eq!(kept.expect("kept"), first.outcome);
    let kept = ledger.doubt(second, DoubtReason::WindowClosed).await;
    assert_eq!(kept.expect("kept"), first.outcome);
    assert_eq!(to_publish(ledger).await, slice::from_ref(&first.outcome));
    assert_eq!(
        standing(ledger, "A").await,
        Standing::InDoubt(Some(first.outcome.clone()))
    );
    let open = open_jobs(ledger).await;
    assert_eq!(open[0].attempts, [unclear(1), unclear(2)]);
    assert_eq!(open[0].doubt, Some((first.outcome, DoubtReason::Conflict)));
}

async fn a_doubt_about_a_settled_job_returns_what_is_final(ledger: &dyn Ledger) {
    let job = intent("A");
    let settled = ledger.settle(settlement(&job, Status::Succeeded)).await;
    settled.expect("settled");
    let late = settlement_with(&job, Status::InDoubt, vec![unclear(2)]);
    let kept = ledger.doubt(late, DoubtReason::Panicked).await;
    let last = outcome(&job, Status::Succeeded);
    assert_eq!(kept.expect("kept"), last);
    assert_eq!(to_publish(ledger).await, [last]);
}

async fn an_open_job_reads_back_as_it_was_recorded(ledger: &dyn Ledger) {
    let full = Intent {
        at: Moment {
            mono: Duration::from_secs(99),
            ..intent("A").at
        },
        line: Some(u64::MAX),
        ..intent("A")
    };
    let plain = Intent {
        line: None,
        job: Job {
            description: None,
            not_after: None,
            operation: Operation::Withdrawal,
            ..job("nómina-ñ-1")
        },
        ..intent("nómina-ñ-1")
    };
    ledger.begin(full).await.expect("begun");
    ledger.begin(plain.clone()).await.expect("begun");
    let nothing_more = |intent| OpenJob {
        cancelled: false,
        intent,
        attempts: vec![],
        doubt: None,
        person_needed: false,
        was_held: false,
        panics: 0,
    };
    let full = Intent {
        line: Some(u64::MAX),
        ..intent("A")
    };
    let expected = [nothing_more(full), nothing_more(plain)];
    assert_eq!(open_jobs(ledger).await, expected);
}

async fn attempts_are_kept_in_order_and_repeats_are_ignored(ledger: &dyn Ledger) {
    let job = intent("A");
    for attempts in [
        vec![unclear(2), unclear(1), unclear(2)],
        vec![unclear(2), unclear(3)],
    ] {
        let doubt = settlement_with(&job, Status::InDoubt, attempts);
        let kept = ledger.doubt(doubt, DoubtReason::Interrupted).await;
        kept.expect("kept");
    }
    let expected = [unclear(1), unclear(2), unclear(3)];
    assert_eq!(open_jobs(ledger).await[0].attempts, expected);
}

async fn another_attempt_with_a_number_on_record_is_refused(ledger: &dyn Ledger) {
    let job = intent("A");
    let doubt = settlement_with(&job, Status::InDoubt, vec![unclear(1)]);
    let kept = ledger.doubt(doubt, DoubtReason::Conflict).await;
    kept.expect("kept");
    let changed = settlement_with(&job, Status::Succeeded, vec![accepted(1)]);
    assert!(ledger.settle(changed).await.is_err());
}

fn all_verdicts() -> Vec<Verdict> {
    let log_id = Some("log_7MkW".to_owned());
    let retry_after = Some(Duration::from_millis(1_500));
    let refusal = Refusal {
        http_status: 422,
        code: "422 Unprocessable Content".to_owned(),
        message: "Validation \"errors\"\n".to_owned(),
        errors: vec![
            RefusalError {
                error_code: "missing_field".to_owned(),
                message: "falta ñ".to_owned(),
                path: Some("#/a".to_owned()),
            },
            RefusalError::default(),
        ],
        log_id: log_id.clone(),
    };
    let mut verdicts = vec![
        Verdict::Accepted { http_status: 204 },
        Verdict::Refused(refusal),
        Verdict::Refused(Refusal::default()),
        Verdict::Deferred(Deferral::CredentialRefused {
            log_id: log_id.clone(),
        }),
        Verdict::Deferred(Deferral::NotAuthorized { log_id: None }),
        Verdict::Deferred(Deferral::RateLimited { retry_after }),
        Verdict::Deferred(Deferral::RateLimited { retry_after: None }),
        Verdict::Deferred(Deferral::NoConnection),
        Verdict::Unclear(Unclarity {
            cause: UnclearCause::ServerError,
            http_status: Some(503),
            retry_after: Some(Duration::MAX),
            log_id,
        }),
    ];
    let causes = UnclearCause::ALL.map(|cause| Verdict::Unclear(Unclarity::new(cause)));
    verdicts.extend(causes);
    verdicts
}

async fn every_verdict_reads_back_as_it_was_told(ledger: &dyn Ledger) {
    let attempts: Vec<_> = (1..)
        .zip(all_verdicts())
        .map(|(number, verdict)| {
            let mut note = attempt(number, verdict);
            note.spent = number % 2 == 0;
            note
        })
        .collect();
    let doubt = settlement_with(&intent("A"), Status::InDoubt, attempts.clone());
    let kept = ledger.doubt(doubt, DoubtReason::AttemptsSpent).await;
    kept.expect("kept");
    assert_eq!(open_jobs(ledger).await[0].attempts, attempts);
}

async fn open_jobs_come_oldest_first_and_in_pages(ledger: &dyn Ledger) {
    for name in ["E", "D", "C", "B", "A"] {
        ledger.begin(intent(name)).await.expect("begun");
    }
    let settled = ledger.settle(settlement(&intent("D"), Status::Succeeded));
    settled.await.expect("settled");
    let names = |jobs: Vec<OpenJob>| -> Vec<String> {
        let name = |job: &OpenJob| job.intent.job.entity_id.as_str().to_owned();
        jobs.iter().map(name).collect()
    };
    let page = |after: Option<JobRef>| ledger.unsettled(after, 2);
    assert_eq!(names(page(None).await.expect("a page")), ["E", "C"]);
    let after_c = page(Some(reference(&intent("C")))).await;
    assert_eq!(names(after_c.expect("a page")), ["B", "A"]);
    let after_d = page(Some(reference(&intent("D")))).await;
    assert_eq!(names(after_d.expect("a page")), ["C", "B"]);
    assert!(page(Some(reference(&intent("never")))).await.is_err());
}

async fn a_person_is_called_once_for_all(ledger: &dyn Ledger) {
    ledger.begin(intent("A")).await.expect("begun");
    for _ in 0..2 {
        let called = ledger.call_person(reference(&intent("A"))).await;
        called.expect("called");
    }
    assert!(open_jobs(ledger).await[0].person_needed);
    let unknown = ledger.call_person(reference(&intent("B"))).await;
    assert!(unknown.is_err());
}

async fn an_ask_is_recorded_about_a_known_job_only(ledger: &dyn Ledger) {
    let ask = AskNote {
        began: Timestamp::from_millis(1),
        ended: Timestamp::from_millis(2),
        finding: "absent",
        evidence: "12 rows".to_owned(),
    };
    ledger.begin(intent("A")).await.expect("begun");
    for _ in 0..2 {
        let noted = ledger.note_ask(reference(&intent("A")), ask.clone()).await;
        noted.expect("noted");
    }
    let unknown = ledger.note_ask(reference(&intent("B")), ask).await;
    assert!(unknown.is_err());
}

async fn panics_are_counted_with_and_without_a_row(ledger: &dyn Ledger) {
    let count = || ledger.note_panic(id("A"));
    assert_eq!(count().await.expect("counted"), 1);
    assert_eq!(count().await.expect("counted"), 2);
    ledger.begin(intent("A")).await.expect("begun");
    assert_eq!(count().await.expect("counted"), 3);
    assert_eq!(open_jobs(ledger).await[0].panics, 3);
    assert_eq!(ledger.note_panic(id("B")).await.expect("counted"), 1);
}

async fn the_first_fact_about_a_message_is_kept(ledger: &dyn Ledger) {
    let first = fact("m", "first");
    let kept = ledger.note_fact(first.clone()).await;
    assert_eq!(kept.expect("kept"), first);
    let kept = ledger.note_fact(fact("m", "second")).await;
    assert_eq!(kept.expect("kept"), first);
    assert_eq!(to_publish(ledger).await, slice::from_ref(&first));
    let at = Timestamp::from_millis(5);
    let marked = ledger.mark_published(vec![first.event_id], at).await;
    marked.expect("marked");
    let kept = ledger.note_fact(fact("m", "third")).await;
    let published = StoredOutcome {
        published: true,
        ..first
    };
    assert_eq!(kept.expect("kept"), published);
}

async fn what_was_published_is_not_offered_again(ledger: &dyn Ledger) {
    let mut outcomes = vec![];
    for name in ["C", "B", "A"] {
        let settlement = settlement(&intent(name), Status::Rejected);
        outcomes.push(settlement.outcome.clone());
        ledger.settle(settlement).await.expect("settled");
    }
    assert_eq!(to_publish(ledger).await, outcomes);
    let two = ledger.unpublished(&Origin::ALL, 2).await.expect("outcomes");
    let two: Vec<_> = two.iter().map(|outcome| outcome.event_id).collect();
    assert_eq!(two, [outcomes[0].event_id, outcomes[1].event_id]);
    let unknown = fact("never", "").event_id;
    let marks = vec![outcomes[0].event_id, unknown, outcomes[2].event_id];
    for at in [7, 8] {
        let at = Timestamp::from_millis(at);
        let marked = ledger.mark_published(marks.clone(), at).await;
        marked.expect("marked");
    }
    assert_eq!(to_publish(ledger).await, outcomes[1..2]);
    let published = StoredOutcome {
        published: true,
        ..outcomes.remove(0)
    };
    assert_eq!(standing(ledger, "C").await, Standing::Finished(published));
}

async fn an_interim_outcome_is_not_told_after_the_final_one(ledger: &dyn Ledger) {
    let job = intent("A");
    let doubt = settlement_with(&job, Status::InDoubt, vec![unclear(1)]);
    let kept = ledger.doubt(doubt.clone(), DoubtReason::Conflict).await;
    kept.expect("kept");
    assert_eq!(to_publish(ledger).await, [doubt.outcome]);
    let found = settlement_with(&job, Status::Succeeded, vec![]);
    ledger.settle(found.clone()).await.expect("settled");
    assert_eq!(to_publish(ledger).await, [found.outcome]);
}

async fn the_last_positive_control_is_kept(ledger: &dyn Ledger) {
    for (name, millis) in [("A", 1), ("B", 2)] {
        let control = Control {
            entity_id: id(name),
            seen_at: Timestamp::from_millis(millis),
        };
        let noted = ledger.note_control(control.clone()).await;
        noted.expect("noted");
        assert_eq!(ledger.control().await.expect("a read"), Some(control));
    }
}

async fn i14_the_newest_2xx_is_found_and_nothing_else_is_taken_for_one(ledger: &dyn Ledger) {
    for (name, attempts, newest) in [
        ("found", vec![unclear(1)], None),
        ("first", vec![accepted(1)], Some("first")),
        ("second", vec![unclear(1), accepted(2)], Some("second")),
        ("listed", vec![unclear(1)], Some("second")),
    ] {
        let settlement = settlement_with(&intent(name), Status::Succeeded, attempts);
        ledger.settle(settlement).await.expect("settled");
        let last = ledger.last_accepted().await.expect("a read");
        assert_eq!(
            last.map(|intent| intent.job.entity_id),
            newest.map(id),
            "{name}"
        );
    }
}

async fn i6_a_job_that_says_something_else_is_not_settled(ledger: &dyn Ledger) {
    ledger.begin(intent("A")).await.expect("begun");
    let other = Job {
        operation: Operation::Withdrawal,
        ..job("A")
    };
    let other = settlement(&intent_of(other, 1), Status::Succeeded);
    assert!(ledger.settle(other).await.is_err());
}

async fn i5_an_outcome_of_the_wrong_kind_is_refused(ledger: &dyn Ledger) {
    for status in Status::ALL {
        let told = settlement(&intent("A"), status);
        let final_word = matches!(
            status,
            Status::Succeeded | Status::Rejected | Status::NotSent
        );
        // A fresh memory ledger takes the right ones; only the wrong ones come here, because the
        // first breach ends an SQLite ledger.
        let scratch = MemoryLedger::new();
        assert_eq!(scratch.settle(told.clone()).await.is_ok(), final_word);
        let scratch = MemoryLedger::new();
        let doubted = scratch.doubt(told.clone(), DoubtReason::Expired).await;
        assert_eq!(doubted.is_ok(), status == Status::InDoubt);
        let fact = scratch.note_fact(told.outcome).await;
        let about_a_message = matches!(status, Status::Invalid | Status::Conflict);
        assert_eq!(fact.is_ok(), about_a_message);
    }
    let interim = settlement(&intent("A"), Status::InDoubt);
    assert!(ledger.settle(interim).await.is_err());
}

async fn an_outcome_of_another_job_is_refused(ledger: &dyn Ledger) {
    let mut mixed = settlement(&intent("A"), Status::Succeeded);
    mixed.outcome = outcome(&intent("B"), Status::Succeeded);
    assert!(ledger.settle(mixed).await.is_err());
}

async fn a_generation_follows_a_settled_one(ledger: &dyn Ledger) {
    let first = intent_of(job("A"), 1);
    let second = intent_of(job("A"), 2);
    let refused = ledger.settle(settlement(&first, Status::Rejected)).await;
    refused.expect("settled");
    let paid = settlement(&second, Status::Succeeded);
    ledger.settle(paid.clone()).await.expect("settled");
    let expected = Sight::Known {
        generation: generation(2),
        fingerprint: second.job.fingerprint(),
        standing: Standing::Finished(paid.outcome),
    };
    assert_eq!(see(ledger, "A").await, expected);
    let skipped = settlement(&intent_of(job("B"), 1), Status::Rejected);
    ledger.settle(skipped).await.expect("settled");
    let skipped = settlement(&intent_of(job("B"), 3), Status::Succeeded);
    assert!(ledger.settle(skipped).await.is_err());
}

async fn i1_no_generation_follows_one_that_moved_money(ledger: &dyn Ledger) {
    let paid = settlement(&intent("A"), Status::Succeeded);
    ledger.settle(paid).await.expect("settled");
    let second = intent_of(job("A"), 2);
    let begun = ledger.begin(second.clone()).await.expect("an answer");
    assert!(matches!(begun, Begun::AlreadyThere(_)), "{begun:?}");
    assert!(
        ledger
            .settle(settlement(&second, Status::Succeeded))
            .await
            .is_err()
    );
}

async fn i6_a_later_generation_begins_only_after_proof_and_only_the_next(ledger: &dyn Ledger) {
    ledger.begin(intent("A")).await.expect("begun");
    let second = intent_of(job("A"), 2);
    let early = ledger.begin(second.clone()).await.expect("an answer");
    assert!(
        matches!(early, Begun::AlreadyThere(_)),
        "the first is not over"
    );
    let refused = settlement(&intent("A"), Status::Rejected);
    ledger.settle(refused).await.expect("settled");
    let third = ledger.begin(intent_of(job("A"), 3)).await;
    assert!(matches!(third.expect("an answer"), Begun::AlreadyThere(_)));
    assert_eq!(
        ledger.begin(second.clone()).await.expect("begun"),
        Begun::Yes
    );
    let twice = ledger.begin(second.clone()).await.expect("an answer");
    assert!(
        matches!(twice, Begun::AlreadyThere(_)),
        "a double click is a no-op"
    );
    let open = ledger.open_job(id("A")).await.expect("a read");
    assert_eq!(open.expect("an open job").intent, second);
    let first_at = ledger.first_begun_at(id("A")).await.expect("a read");
    assert_eq!(first_at, Some(intent("A").at));
}

async fn a_request_is_answered_once_and_in_order(ledger: &dyn Ledger) {
    let by = Person::parse("Ana").expect("a name");
    let at = Timestamp::from_millis(1_700_000_002_000);
    let settle = Wish::Settle {
        entity_id: id("A"),
        ruling: Ruling::NotSent,
        evidence: EvidenceText::parse("the bank's letter of 3 Nov").expect("words"),
    };
    let mut asked = Vec::new();
    for wish in [
        settle,
        Wish::Reconcile(None),
        Wish::Reconcile(Some(id("B"))),
    ] {
        let number = ledger.request(wish.clone(), by.clone(), at).await;
        asked.push(Request {
            id: number.expect("a number"),
            wish,
            by: by.clone(),
            at,
        });
    }
    assert_eq!(ledger.open_requests(None, 9).await.expect("a read"), asked);
    assert_eq!(
        ledger.open_requests(None, 1).await.expect("a read"),
        asked[..1]
    );
    let behind = ledger.open_requests(Some(asked[1].id), 9).await;
    assert_eq!(behind.expect("a read"), asked[2..]);
    let answer = |words: &str| Answer {
        accepted: true,
        generation: None,
        words: words.to_owned(),
        at,
    };
    ledger
        .answer(asked[0].id, answer("done"))
        .await
        .expect("answered");
    ledger
        .answer(asked[0].id, answer("again"))
        .await
        .expect("dropped");
    assert_eq!(
        ledger.open_requests(None, 9).await.expect("a read"),
        asked[1..]
    );
}

async fn an_accepted_cancel_is_found_before_and_after_its_job_comes(ledger: &dyn Ledger) {
    let by = Person::parse("Ana").expect("a name");
    let at = Timestamp::from_millis(1_700_000_002_000);
    for (name, accepted) in [("A", true), ("B", false)] {
        let wish = Wish::Cancel(id(name));
        let request = ledger.request(wish, by.clone(), at).await.expect("asked");
        assert_eq!(see(ledger, name).await, Sight::Unknown, "not yet answered");
        let answer = Answer {
            accepted,
            generation: Some(generation(1)),
            words: "said".to_owned(),
            at,
        };
        ledger.answer(request, answer).await.expect("answered");
    }
    assert_eq!(see(ledger, "A").await, Sight::Cancelled);
    assert_eq!(see(ledger, "B").await, Sight::Unknown);
    let begun = ledger.begin(intent("A")).await.expect("an answer");
    assert_eq!(begun, Begun::AlreadyThere(Sight::Cancelled));
    ledger.begin(intent("B")).await.expect("begun");
    assert!(!open_jobs(ledger).await[0].cancelled);
    let second = ledger.request(Wish::Cancel(id("B")), by, at).await;
    let answer = Answer {
        accepted: true,
        generation: Some(generation(1)),
        words: "said".to_owned(),
        at,
    };
    ledger
        .answer(second.expect("asked"), answer)
        .await
        .expect("answered");
    assert!(open_jobs(ledger).await[0].cancelled);
    let refused = settlement(&intent("B"), Status::NotSent);
    ledger.settle(refused).await.expect("settled");
    let next = ledger.begin(intent_of(job("B"), 2)).await.expect("begun");
    assert_eq!(next, Begun::Yes, "a cancel is about one generation");
    assert!(!open_jobs(ledger).await[0].cancelled);
}

async fn the_newest_pause_or_resume_says_who_holds_the_flow(ledger: &dyn Ledger) {
    let (ana, beto) = ("Ana", "Beto");
    let by = |name| Person::parse(name).expect("a name");
    let at = Timestamp::from_millis(1_700_000_002_000);
    assert_eq!(ledger.paused_by().await.expect("a read"), None);
    for (wish, name, held) in [
        (Wish::Pause, ana, Some(ana)),
        (Wish::Pause, beto, Some(beto)),
        (Wish::Resume, ana, None),
        (Wish::Resume, ana, None),
        (Wish::Pause, ana, Some(ana)),
    ] {
        ledger.request(wish, by(name), at).await.expect("asked");
        let holds = held.map(|name| (by(name), at));
        assert_eq!(ledger.paused_by().await.expect("a read"), holds);
    }
}

async fn a_ruling_answers_its_request_in_the_same_commit(ledger: &dyn Ledger) {
    ledger.begin(intent("A")).await.expect("begun");
    let by = Person::parse("Ana").expect("a name");
    let at = Timestamp::from_millis(1_700_000_002_000);
    let request = ledger.request(Wish::Reconcile(Some(id("A"))), by, at).await;
    let answer = Answer {
        accepted: true,
        generation: Some(generation(1)),
        words: "settled".to_owned(),
        at,
    };
    let ruled = Settlement {
        answers: Some((request.expect("asked"), answer)),
        ..settlement(&intent("A"), Status::NotSent)
    };
    ledger.settle(ruled).await.expect("settled");
    assert_eq!(ledger.open_requests(None, 9).await.expect("a read"), []);
    assert!(matches!(standing(ledger, "A").await, Standing::Finished(_)));
}

// ---- the same answers ---------------------------------------------------------------------------

/// One call of the port, with few names, so that calls meet.
#[derive(Clone, Debug)]
enum Call {
    Look,
    Begin(Intent),
    Settle(Intent, Status, Vec<u32>),
    Doubt(Intent, DoubtReason, Vec<u32>),
    AskPerson(Intent),
    NoteAsk(Intent),
    NotePanic(u8),
    NoteFact(u8, u8),
    Unsettled(Option<u8>, usize),
    Unpublished(usize),
    MarkPublished(Intent, Status),
    NoteControl(u8),
    Held(HeldCall),
}

/// One that is about what the ledger takes over.
#[derive(Clone, Debug)]
enum HeldCall {
    Hold(Vec<(Intent, bool, bool)>),
    Next,
    Cards,
    Release(Intent),
    JobOf(Intent),
    Cancel(u8, u32),
}

const NAMES: [&str; 3] = ["A", "B", "C"];

fn any_intent() -> impl Strategy<Value = Intent> {
    let generation = prop_oneof![9 => Just(1), 2 => Just(2)];
    let says_other = prop::bool::weighted(0.05);
    (0..NAMES.len(), generation, says_other).prop_map(|(name, generation, says_other)| {
        let mut job = job(NAMES[name]);
        if says_other {
            job.operation = Operation::Withdrawal;
        }
        intent_of(job, generation)
    })
}

fn any_call() -> impl Strategy<Value = Call> {
    let status = || {
        prop_oneof![
            Just(Status::Succeeded),
            Just(Status::Rejected),
            Just(Status::NotSent),
            Just(Status::InDoubt)
        ]
    };
    let last = prop_oneof![
        30 => Just(Status::Succeeded),
        30 => Just(Status::NotSent),
        1 => Just(Status::InDoubt)
    ];
    let attempts = || prop::collection::vec(1_u32..4, 0..3);
    prop_oneof![
        2 => Just(Call::Look),
        6 => any_intent().prop_map(Call::Begin),
        3 => (any_intent(), last, attempts()).prop_map(|(i, s, a)| Call::Settle(i, s, a)),
        4 => (any_intent(), prop::sample::select(DoubtReason::ALL.to_vec()), attempts())
            .prop_map(|(i, r, a)| Call::Doubt(i, r, a)),
        1 => any_intent().prop_map(Call::AskPerson),
        1 => any_intent().prop_map(Call::NoteAsk),
        1 => (0_u8..3).prop_map(Call::NotePanic),
        2 => (0_u8..3, any::<u8>()).prop_map(|(n, b)| Call::NoteFact(n, b)),
        2 => (prop::option::of(0_u8..3), 0_usize..4).prop_map(|(a, l)| Call::Unsettled(a, l)),
        2 => (0_usize..6).prop_map(Call::Unpublished),
        3 => (any_intent(), status()).prop_map(|(i, s)| Call::MarkPublished(i, s)),
        1 => (0_u8..3).prop_map(Call::NoteControl),
        13 => any_held_call().prop_map(Call::Held),
    ]
}

fn any_held_call() -> impl Strategy<Value = HeldCall> {
    let newly = (any_intent(), prop::bool::ANY, prop::bool::ANY);
    prop_oneof![
        6 => prop::collection::vec(newly, 1..3).prop_map(HeldCall::Hold),
        2 => Just(HeldCall::Next),
        1 => Just(HeldCall::Cards),
        2 => any_intent().prop_map(HeldCall::Release),
        1 => any_intent().prop_map(HeldCall::JobOf),
        1 => (0_u8..3, 1_u32..3).prop_map(|(name, of)| HeldCall::Cancel(name, of)),
    ]
}

fn name(number: u8) -> &'static str {
    NAMES[usize::from(number)]
}

/// The answer as text; an error only as an error, because its words may differ.
fn told<T: std::fmt::Debug, E>(answer: Result<T, E>) -> Result<String, ()> {
    answer.map(|value| format!("{value:?}")).map_err(drop)
}

async fn answer(ledger: &dyn Ledger, call: Call) -> Result<String, ()> {
    let notes = |numbers: Vec<u32>| numbers.into_iter().map(unclear).collect();
    match call {
        Call::Look => told(ledger.look(NAMES.map(id).to_vec()).await),
        Call::Begin(intent) => told(ledger.begin(intent).await),
        Call::Settle(intent, status, attempts) => {
            let settlement = settlement_with(&intent, status, notes(attempts));
            told(ledger.settle(settlement).await)
        }
        Call::Doubt(intent, reason, attempts) => {
            let settlement = settlement_with(&intent, Status::InDoubt, notes(attempts));
            told(ledger.doubt(settlement, reason).await)
        }
        Call::AskPerson(intent) => told(ledger.call_person(reference(&intent)).await),
        Call::NoteAsk(intent) => {
            let ask = AskNote {
                began: Timestamp::from_millis(1),
                ended: Timestamp::from_millis(2),
                finding: "absent",
                evidence: String::new(),
            };
            told(ledger.note_ask(reference(&intent), ask).await)
        }
        Call::NotePanic(number) => told(ledger.note_panic(id(name(number))).await),
        Call::NoteFact(number, body) => {
            let fact = fact(name(number), &body.to_string());
            told(ledger.note_fact(fact).await)
        }
        Call::Unsettled(after, limit) => {
            let after = after.map(|number| reference(&intent(name(number))));
            told(ledger.unsettled(after, limit).await)
        }
        Call::Unpublished(limit) => told(ledger.unpublished(&Origin::ALL, limit).await),
        Call::MarkPublished(intent, status) => {
            let marks = vec![outcome(&intent, status).event_id];
            told(
                ledger
                    .mark_published(marks, Timestamp::from_millis(9))
                    .await,
            )
        }
        Call::NoteControl(number) => {
            let control = Control {
                entity_id: id(name(number)),
                seen_at: Timestamp::from_millis(i64::from(number)),
            };
            told(ledger.note_control(control).await)
        }
        Call::Held(call) => answer_about_held(ledger, call).await,
    }
}

async fn answer_about_held(ledger: &dyn Ledger, call: HeldCall) -> Result<String, ()> {
    match call {
        HeldCall::Hold(jobs) => {
            let newly = jobs.iter().map(|(intent, first, released)| NewlyHeld {
                first: *first,
                released: released.then_some("no_connection"),
                ..held(intent)
            });
            told(ledger.hold(newly.collect()).await)
        }
        HeldCall::Next => told(ledger.next_held(job("A").card_id).await),
        HeldCall::Cards => {
            let count = told(ledger.held_count().await)?;
            let cards = told(ledger.held_cards(None, 9).await)?;
            Ok(format!("{count} on {cards}"))
        }
        HeldCall::Release(intent) => {
            told(ledger.release(reference(&intent), "no_connection").await)
        }
        HeldCall::JobOf(intent) => told(ledger.job_of(reference(&intent)).await),
        HeldCall::Cancel(number, of) => {
            let by = Person::parse("Ana").expect("a name");
            let at = Timestamp::from_millis(5);
            let asked = ledger.request(Wish::Cancel(id(name(number))), by, at).await;
            let answer = Answer {
                accepted: true,
                generation: Some(generation(of)),
                words: String::new(),
                at,
            };
            told(ledger.answer(asked.map_err(drop)?, answer).await)
        }
    }
}

/// After an error the process ends: SQLite's ledger is opened again, and the same must be in it.
async fn compare(calls: Vec<Call>) -> Result<(), TestCaseError> {
    let memory = MemoryLedger::new();
    let (dir, mut sqlite) = new_sqlite();
    let path = dir.path().join("ledger.db");
    for call in calls {
        let expected = answer(&memory, call.clone()).await;
        let told = answer(&sqlite, call.clone()).await;
        prop_assert_eq!(&told, &expected, "{:?}", call);
        if told.is_err() {
            drop(sqlite);
            sqlite = SqliteLedger::open(&path, &binding()).expect("a ledger");
        }
    }
    for call in [
        Call::Look,
        Call::Unsettled(None, 99),
        Call::Unpublished(99),
        Call::Held(HeldCall::Next),
        Call::Held(HeldCall::Cards),
    ] {
        let expected = answer(&memory, call.clone()).await;
        prop_assert_eq!(answer(&sqlite, call).await, expected);
    }
    prop_assert_eq!(sqlite.control().await.ok(), memory.control().await.ok());
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases / 4, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_same_calls_get_the_same_answers_in_memory_and_on_disk(
        calls in prop::collection::vec(any_call(), 1..60),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .expect("a runtime");
        runtime.block_on(compare(calls))?;
    }
}
