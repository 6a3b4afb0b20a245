//! The promises of the ledger about jobs that it takes over, about what is published for whom, and
//! about what people ask of dead letters.

use std::sync::Arc;

use tanda::domain::job::{CardId, Job, Operation};
use tanda::domain::key::EventId;
use tanda::domain::outcome::{DoubtReason, Status};
use tanda::domain::request::{EvidenceText, Person, Request, Wish};
use tanda::domain::time::Timestamp;
use tanda::engine::ports::{
    Answer, Begun, Intent, Ledger, Letter, NewlyHeld, Origin, Sight, Standing, StoredOutcome,
};
use tanda::ledger::MemoryLedger;
use tanda::wire;

use super::samples::{
    fact, generation, held, id, intent, intent_of, job, outcome, reference, settlement,
    settlement_with, unclear,
};
use super::{open_jobs, see, standing, to_publish};

fn card(number: u32) -> CardId {
    CardId::parse(&format!("car_{number:022}")).expect("a card")
}

fn on_card(name: &str, number: u32) -> Intent {
    let card_id = card(number);
    intent_of(
        Job {
            card_id,
            ..job(name)
        },
        1,
    )
}

fn first(held: NewlyHeld) -> NewlyHeld {
    NewlyHeld {
        first: true,
        ..held
    }
}

async fn hold(ledger: &dyn Ledger, jobs: Vec<NewlyHeld>) -> Vec<StoredOutcome> {
    ledger.hold(jobs).await.expect("held")
}

async fn next(ledger: &dyn Ledger, card_id: &CardId) -> Option<String> {
    let held = ledger.next_held(card_id.clone()).await.expect("a read");
    held.map(|held| held.intent.job.entity_id.as_str().to_owned())
}

/// Begins whatever is next on a card until nothing is held for it.
async fn begin_all(ledger: &dyn Ledger, card_id: &CardId) -> Vec<String> {
    let mut begun = Vec::new();
    while let Some(held) = ledger.next_held(card_id.clone()).await.expect("a read") {
        begun.push(held.intent.job.entity_id.as_str().to_owned());
        let answer = ledger.begin(held.intent).await.expect("an answer");
        assert_eq!(answer, Begun::Yes);
    }
    begun
}

fn ana() -> Person {
    Person::parse("Ana").expect("a name")
}

fn said(accepted: bool, words: &str) -> Answer {
    Answer {
        accepted,
        generation: Some(generation(1)),
        words: words.to_owned(),
        at: Timestamp::from_millis(1_700_000_003_000),
    }
}

async fn cancel(ledger: &dyn Ledger, name: &str) {
    let at = Timestamp::from_millis(1_700_000_002_000);
    let asked = ledger.request(Wish::Cancel(id(name)), ana(), at).await;
    let answered = ledger
        .answer(asked.expect("asked"), said(true, "yes"))
        .await;
    answered.expect("answered");
}

/// Takeovers stand in the order in which they came, each card for itself; what had begun before the
/// others came stands before them.
pub(super) async fn i7_what_is_held_of_a_card_has_one_order(ledger: &dyn Ledger) {
    let (one, two) = (card(1), card(2));
    hold(
        ledger,
        vec![
            held(&on_card("A", 1)),
            held(&on_card("x", 2)),
            held(&on_card("B", 1)),
        ],
    )
    .await;
    hold(ledger, vec![held(&on_card("C", 1))]).await;
    hold(
        ledger,
        vec![first(held(&on_card("Z", 1))), held(&on_card("D", 1))],
    )
    .await;
    hold(ledger, vec![first(held(&on_card("Y", 1)))]).await;
    assert_eq!(
        begin_all(ledger, &one).await,
        ["Y", "Z", "A", "B", "C", "D"]
    );
    assert_eq!(begin_all(ledger, &two).await, ["x"]);
    assert_eq!(next(ledger, &card(3)).await, None);
}

/// A job's begin ends its hold and leaves a mark of it, so that a later process numbers its outcomes
/// right.
pub(super) async fn a_begin_ends_a_hold_and_leaves_a_mark(ledger: &dyn Ledger) {
    let held_one = on_card("A", 1);
    let kept = hold(ledger, vec![held(&held_one)]).await;
    assert_eq!(kept, [outcome(&held_one, Status::Waiting)]);
    let next = ledger.next_held(card(1)).await.expect("a read");
    let next = next.expect("a held job");
    assert_eq!(
        (&next.intent, &next.outcome, next.panics, next.cancelled),
        (&held_one, &kept[0], 0, false)
    );
    ledger.begin(next.intent).await.expect("begun");
    assert_eq!(ledger.next_held(card(1)).await.expect("a read"), None);
    assert_eq!(ledger.held_count().await.expect("a count"), 0);
    ledger.begin(on_card("B", 1)).await.expect("begun");
    let marks = open_jobs(ledger).await;
    let marks: Vec<_> = marks.iter().map(|open| open.was_held).collect();
    assert_eq!(marks, [true, false]);
}

/// An intent is withdrawn in the commit that takes its job over; begun again, it is the same job.
pub(super) async fn i7_a_release_and_a_takeover_are_one(ledger: &dyn Ledger) {
    let [begun, behind] = ["A", "B"].map(|name| on_card(name, 1));
    ledger.begin(begun.clone()).await.expect("begun");
    hold(ledger, vec![held(&behind)]).await;
    let taken = NewlyHeld {
        released: Some("no_connection"),
        ..first(held(&begun))
    };
    hold(ledger, vec![taken.clone()]).await;
    assert_eq!(open_jobs(ledger).await, []);
    assert!(matches!(standing(ledger, "A").await, Standing::Held { .. }));
    assert_eq!(begin_all(ledger, &card(1)).await, ["A", "B"]);
    let open = open_jobs(ledger).await;
    assert_eq!(open.len(), 2);
    assert!(open.iter().all(|open| open.was_held));
    // Deferred once more, and taken over once more: with the outcome of the first time.
    let again = hold(ledger, vec![taken]).await;
    assert_eq!(again, [outcome(&begun, Status::Waiting)]);
    assert_eq!(next(ledger, &card(1)).await.as_deref(), Some("A"));
}

/// An intent is withdrawn, and its job taken over with the reason.
pub(crate) async fn release_and_hold(ledger: &dyn Ledger, intent: Intent) {
    ledger.begin(intent.clone()).await.expect("begun");
    let taken = NewlyHeld {
        released: Some("no_connection"),
        ..first(held(&intent))
    };
    hold(ledger, vec![taken]).await;
}

/// What was taken over so and may have been sent in a forgotten time is in doubt, and held no more.
pub(crate) async fn is_in_doubt_after_having_been_held(ledger: &dyn Ledger) {
    let open = open_jobs(ledger).await;
    let marks: Vec<_> = open.iter().map(|open| open.was_held).collect();
    assert_eq!(marks, [true], "the next outcome has the second number");
    let held = ledger.held_count().await.expect("a count");
    assert_eq!(held, 0, "a job whose intent stands is not held");
}

#[tokio::test]
async fn f22_i4_an_older_copy_in_memory_holds_nothing_that_is_in_doubt() {
    let ledger = MemoryLedger::new();
    release_and_hold(&ledger, intent("A")).await;
    let old = ledger.copy();
    ledger.lose_all_but(&old, ana(), Timestamp::from_millis(0));
    is_in_doubt_after_having_been_held(&ledger).await;
}

/// A held job that ends at its turn without having begun is over, and held no more.
pub(super) async fn a_held_job_may_end_at_its_turn(ledger: &dyn Ledger) {
    let [one, two] = ["A", "B"].map(|name| on_card(name, 1));
    hold(ledger, vec![held(&one), held(&two)]).await;
    let expired = settlement_with(&one, Status::NotSent, vec![]);
    ledger.settle(expired.clone()).await.expect("settled");
    assert_eq!(
        standing(ledger, "A").await,
        Standing::Finished(expired.outcome)
    );
    assert_eq!(next(ledger, &card(1)).await.as_deref(), Some("B"));
    assert_eq!(ledger.held_count().await.expect("a count"), 1);
    // A later generation, which waits too.
    let second = intent_of(one.job, 2);
    hold(ledger, vec![held(&second)]).await;
    let cancelled = settlement_with(&second, Status::NotSent, vec![]);
    ledger.settle(cancelled).await.expect("settled");
    assert_eq!(ledger.held_count().await.expect("a count"), 1);
    let seen = see(ledger, "A").await;
    assert!(
        matches!(seen, Sight::Known { generation: seen, .. } if seen == generation(2)),
        "{seen:?}"
    );
}

/// A held job is seen as that, with what was said about it; a cancel shows wherever it is looked at,
/// and keeps it from beginning.
pub(super) async fn a_held_job_is_seen_with_its_outcome_and_its_cancel(ledger: &dyn Ledger) {
    let held_one = on_card("A", 1);
    hold(ledger, vec![held(&held_one)]).await;
    let seen = |cancelled| Sight::Known {
        generation: generation(1),
        fingerprint: held_one.job.fingerprint(),
        standing: Standing::Held {
            outcome: outcome(&held_one, Status::Waiting),
            cancelled,
        },
    };
    assert_eq!(see(ledger, "A").await, seen(false));
    ledger.note_panic(id("A")).await.expect("counted");
    cancel(ledger, "A").await;
    assert_eq!(see(ledger, "A").await, seen(true));
    let next = ledger.next_held(card(1)).await.expect("a read");
    let next = next.expect("a held job");
    assert_eq!((next.cancelled, next.panics), (true, 1));
    let begun = ledger.begin(held_one.clone()).await.expect("an answer");
    assert_eq!(begun, Begun::AlreadyThere(seen(true)));
    assert_eq!(ledger.held_count().await.expect("a count"), 1);
    // One that was cancelled before it came waits for its turn as well.
    cancel(ledger, "B").await;
    hold(ledger, vec![held(&on_card("B", 1))]).await;
    let standing = standing(ledger, "B").await;
    assert!(matches!(
        standing,
        Standing::Held {
            cancelled: true,
            ..
        }
    ));
}

/// What is held, or was released, begins as what it said and as nothing else.
pub(super) async fn i6_what_is_held_or_released_begins_as_nothing_else(ledger: &dyn Ledger) {
    let of = |name| on_card(name, 1);
    hold(ledger, vec![held(&of("A"))]).await;
    ledger.begin(of("B")).await.expect("begun");
    let released = ledger.release(reference(&of("B")), "no_connection").await;
    released.expect("released");
    for name in ["A", "B"] {
        let job = Job {
            operation: Operation::Withdrawal,
            ..of(name).job
        };
        let begun = ledger.begin(intent_of(job, 1)).await.expect("an answer");
        assert_eq!(begun, Begun::AlreadyThere(see(ledger, name).await));
    }
    assert_eq!(next(ledger, &card(1)).await.as_deref(), Some("A"));
    assert_eq!(open_jobs(ledger).await, []);
    let job = Job {
        operation: Operation::Withdrawal,
        ..of("A").job
    };
    let other = ledger.hold(vec![held(&intent_of(job, 1))]).await;
    assert!(other.is_err(), "{other:?}");
}

/// Cards that jobs are held for come in pages, each once.
pub(super) async fn cards_with_held_jobs_come_in_pages(ledger: &dyn Ledger) {
    assert_eq!(ledger.held_count().await.expect("a count"), 0);
    let jobs = [("E", 5), ("A", 1), ("C", 3), ("c", 3), ("B", 2), ("D", 4)];
    let jobs = jobs.map(|(name, number)| held(&on_card(name, number)));
    hold(ledger, jobs.to_vec()).await;
    assert_eq!(ledger.held_count().await.expect("a count"), 6);
    let (mut pages, mut after) = (Vec::new(), None);
    loop {
        let page = ledger.held_cards(after.clone(), 2).await.expect("a page");
        let Some(last) = page.last() else {
            break;
        };
        after = Some(last.clone());
        pages.push(page);
    }
    assert_eq!(
        pages,
        [
            vec![card(1), card(2)],
            vec![card(3), card(4)],
            vec![card(5)]
        ]
    );
    begin_all(ledger, &card(3)).await;
    let left = ledger.held_cards(Some(card(2)), 9).await.expect("a page");
    assert_eq!(left, [card(4), card(5)]);
}

/// Taken over twice, a job keeps its first outcome and its first place.
pub(super) async fn i4_a_second_takeover_changes_nothing(ledger: &dyn Ledger) {
    let [one, two] = ["A", "B"].map(|name| on_card(name, 1));
    let kept = hold(ledger, vec![held(&one), held(&two)]).await;
    let mut again = held(&one);
    again.outcome.body = b"another".to_vec();
    for again in [again.clone(), first(again)] {
        assert_eq!(hold(ledger, vec![again]).await, kept[..1]);
    }
    let mut behind = held(&two);
    behind.first = true;
    hold(ledger, vec![behind]).await;
    assert_eq!(ledger.held_count().await.expect("a count"), 2);
    assert_eq!(begin_all(ledger, &card(1)).await, ["A", "B"]);
}

/// A job that has begun is not taken over without its release, and nothing of that commit is kept.
pub(super) async fn i1_what_has_begun_is_not_held(ledger: &dyn Ledger) {
    ledger.begin(on_card("A", 1)).await.expect("begun");
    let both = vec![held(&on_card("B", 1)), held(&on_card("A", 1))];
    assert!(ledger.hold(both.clone()).await.is_err());
    let scratch = MemoryLedger::new();
    scratch.begin(on_card("A", 1)).await.expect("begun");
    assert!(scratch.hold(both).await.is_err());
    assert_eq!(see(&scratch, "B").await, Sight::Unknown);
    assert_eq!(to_publish(&scratch).await, []);
}

/// A job in doubt stays so, whatever is called its release; one that is over stays over.
pub(super) async fn i5_what_is_in_doubt_or_over_is_not_held(ledger: &dyn Ledger) {
    let doubted = on_card("A", 1);
    let doubt = settlement_with(&doubted, Status::InDoubt, vec![unclear(1)]);
    let over = settlement(&on_card("B", 1), Status::Succeeded);
    for takes_doubted in [true, false] {
        let scratch = MemoryLedger::new();
        let kept = scratch.doubt(doubt.clone(), DoubtReason::Conflict).await;
        kept.expect("kept");
        scratch.settle(over.clone()).await.expect("settled");
        let job = if takes_doubted {
            NewlyHeld {
                released: Some("no_connection"),
                ..held(&doubted)
            }
        } else {
            held(&on_card("B", 1))
        };
        assert!(scratch.hold(vec![job]).await.is_err());
        assert_eq!(scratch.held_count().await.expect("a count"), 0);
    }
    let kept = ledger.doubt(doubt, DoubtReason::Conflict).await;
    kept.expect("kept");
    let released = NewlyHeld {
        released: Some("no_connection"),
        ..held(&doubted)
    };
    assert!(ledger.hold(vec![released]).await.is_err());
}

/// A held job that comes into doubt without having begun, because the list shows it, is held no more.
pub(super) async fn i5_a_held_job_in_doubt_is_held_no_more(ledger: &dyn Ledger) {
    let one = on_card("A", 1);
    hold(ledger, vec![held(&one), held(&on_card("B", 1))]).await;
    let doubt = settlement_with(&one, Status::InDoubt, vec![]);
    let kept = ledger.doubt(doubt, DoubtReason::OtherContent).await;
    kept.expect("kept");
    assert!(matches!(
        standing(ledger, "A").await,
        Standing::InDoubt(Some(_))
    ));
    assert_eq!(next(ledger, &card(1)).await.as_deref(), Some("B"));
    assert!(open_jobs(ledger).await[0].was_held);
}

/// A later generation is held only where the one before it ended without moving money.
pub(super) async fn i1_only_the_next_generation_is_held(ledger: &dyn Ledger) {
    let refused = settlement(&on_card("A", 1), Status::Rejected);
    ledger.settle(refused).await.expect("settled");
    let second = intent_of(on_card("A", 1).job, 2);
    hold(ledger, vec![held(&second)]).await;
    let seen = see(ledger, "A").await;
    assert!(
        matches!(seen, Sight::Known { generation: seen, standing: Standing::Held { .. }, .. }
            if seen == generation(2)),
        "{seen:?}"
    );
    let third = intent_of(on_card("A", 1).job, 3);
    let begun = ledger.begin(third.clone()).await.expect("an answer");
    assert!(matches!(begun, Begun::AlreadyThere(_)), "{begun:?}");
    assert!(ledger.hold(vec![held(&third)]).await.is_err());
}

/// `waiting` is told while it is true, and not afterwards.
pub(super) async fn waiting_is_told_only_while_it_is_true(ledger: &dyn Ledger) {
    let [one, two] = ["A", "B"].map(|name| on_card(name, 1));
    let kept = hold(ledger, vec![held(&one), held(&two)]).await;
    assert_eq!(to_publish(ledger).await, kept);
    ledger.begin(one.clone()).await.expect("begun");
    assert_eq!(to_publish(ledger).await, kept[1..]);
    let taken = NewlyHeld {
        released: Some("no_connection"),
        ..first(held(&one))
    };
    hold(ledger, vec![taken]).await;
    assert_eq!(to_publish(ledger).await, kept, "it waits again");
    let marks = vec![kept[0].event_id, kept[1].event_id];
    let marked = ledger
        .mark_published(marks, Timestamp::from_millis(5))
        .await;
    marked.expect("marked");
    assert_eq!(to_publish(ledger).await, []);
    let expired = settlement_with(&two, Status::NotSent, vec![]);
    ledger.settle(expired.clone()).await.expect("settled");
    assert_eq!(to_publish(ledger).await, [expired.outcome]);
}

/// Each kind of process is given what it can publish; dead letters come with the job that died.
pub(super) async fn outcomes_are_given_by_origin_and_with_their_letters(ledger: &dyn Ledger) {
    let of_queue = |name| {
        let mut intent = intent(name);
        intent.origin = Origin::Queue;
        intent.envelope.correlation_id = Some(format!("about {name}"));
        intent
    };
    let stored = |intent: &Intent, status| StoredOutcome {
        origin: intent.origin,
        envelope: intent.envelope.clone(),
        ..outcome(intent, status)
    };
    let mut expected = Vec::new();
    for (intent, status) in [
        (of_queue("paid"), Status::Succeeded),
        (of_queue("refused"), Status::Rejected),
        (intent("row"), Status::Rejected),
        (of_queue("late"), Status::NotSent),
    ] {
        let mut settlement = settlement(&intent, status);
        settlement.outcome = stored(&intent, status);
        expected.push((settlement.outcome.clone(), intent.job.clone()));
        ledger.settle(settlement).await.expect("settled");
    }
    let message = fact("m", "not JSON");
    let bytes: Arc<[u8]> = Arc::from(&b"{"[..]);
    let of_message = StoredOutcome {
        origin: Origin::Queue,
        letter: Some(Letter {
            body: bytes,
            why: None,
        }),
        ..message
    };
    ledger.note_fact(of_message.clone()).await.expect("kept");
    let named = |outcomes: &[StoredOutcome]| -> Vec<EventId> {
        outcomes.iter().map(|outcome| outcome.event_id).collect()
    };
    let files = ledger.unpublished(&[Origin::File], 9).await;
    assert_eq!(
        named(&files.expect("outcomes")),
        [expected[2].0.event_id],
        "a row's"
    );
    let queues = ledger.unpublished(&[Origin::Queue], 9).await;
    let queues = queues.expect("outcomes");
    let ids = [0, 1, 3].map(|at: usize| expected[at].0.event_id);
    assert_eq!(
        named(&queues),
        [ids.as_slice(), &[of_message.event_id]].concat()
    );
    for (at, known) in [(0, 0), (1, 1), (2, 3)] {
        let (outcome, job) = &expected[known];
        assert_eq!(queues[at].envelope, outcome.envelope);
        let letter = queues[at]
            .letter
            .as_ref()
            .map(|letter| letter.body.to_vec());
        let dead = outcome.status.is_dead_lettered();
        assert_eq!(letter, dead.then(|| wire::job::encode(job)));
    }
    assert_eq!(queues[3].letter, None, "the message itself is not kept");
    let two = ledger.unpublished(&[Origin::Queue], 2).await;
    assert_eq!(named(&two.expect("outcomes")), ids[..2]);
    assert_eq!(ledger.unpublished(&[], 9).await.expect("nothing"), []);
}

/// What a generation said is found by its number.
pub(super) async fn a_job_is_found_by_its_generation(ledger: &dyn Ledger) {
    let refused = settlement(&intent("A"), Status::Rejected);
    ledger.settle(refused).await.expect("settled");
    let second = Intent {
        again_by: Some(ana()),
        ..intent_of(
            Job {
                operation: Operation::Withdrawal,
                ..job("A")
            },
            2,
        )
    };
    ledger.begin(second.clone()).await.expect("begun");
    for known in [intent("A"), second] {
        let found = ledger.job_of(reference(&known)).await.expect("a read");
        assert_eq!(found, Some(known));
    }
    let third = reference(&intent_of(job("A"), 3));
    assert_eq!(ledger.job_of(third).await.expect("a read"), None);
}

/// What is asked about dead letters reads back whole, and its first answer is kept.
pub(super) async fn what_is_asked_about_dead_letters_reads_back(ledger: &dyn Ledger) {
    let evidence = EvidenceText::parse("paid by hand on 3 Nov").expect("words");
    let at = Timestamp::from_millis(1_700_000_002_000);
    let wishes = [
        Wish::Redrive {
            entity_id: id("A"),
            generation: generation(2),
        },
        Wish::Discard {
            event_id: outcome(&intent("A"), Status::Rejected).event_id,
            entity_id: Some(id("A")),
            evidence: evidence.clone(),
        },
        Wish::Discard {
            event_id: fact("m", "").event_id,
            entity_id: None,
            evidence,
        },
    ];
    let mut asked = Vec::new();
    for wish in wishes {
        let number = ledger.request(wish.clone(), ana(), at).await;
        let (id, by) = (number.expect("a number"), ana());
        asked.push(Request { id, wish, by, at });
    }
    assert_eq!(ledger.open_requests(None, 9).await.expect("a read"), asked);
    for words in ["run again", "and once more"] {
        let answered = ledger.answer(asked[0].id, said(true, words)).await;
        answered.expect("answered");
    }
    assert_eq!(
        ledger.open_requests(None, 9).await.expect("a read"),
        asked[1..]
    );
}
