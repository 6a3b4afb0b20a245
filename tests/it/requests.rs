//! What people ask of a run, and what a later generation may do: through the real engine, between a
//! scripted bank that keeps books and a ledger, on a paused clock.

use std::sync::Arc;
use std::time::Duration;

use tanda::domain::job::{EntityId, Job};
use tanda::domain::key::Generation;
use tanda::domain::money::{Amount, Currency};
use tanda::domain::outcome::Status;
use tanda::domain::request::{EvidenceText, Person, RequestId, Ruling, Wish};
use tanda::domain::time::Timestamp;
use tanda::engine::Ended;
use tanda::engine::ports::{Answer, Control, JobRef, ListFault, Sight, Standing};
use tanda::ledger::MemoryLedger;

use crate::support::fuse::Fuse;
use crate::support::judge::{Does, World, job, let_pass, wall_jumps, wall_now};

fn world() -> World {
    World::new(Arc::new(MemoryLedger::new()))
}

/// A world whose list has proven itself.
async fn proven_world() -> World {
    let world = world();
    let control = Control {
        entity_id: id("control"),
        seen_at: Timestamp::from_millis(0),
    };
    world.ledger.note_control(control).await.expect("memory");
    world
}

fn id(text: &str) -> EntityId {
    EntityId::parse(text).expect("an entity_id")
}

fn ana() -> Person {
    Person::parse("Ana").expect("a name")
}

fn settle(name: &str, ruling: Ruling) -> Wish {
    Wish::Settle {
        entity_id: id(name),
        ruling,
        evidence: EvidenceText::parse("the bank's letter").expect("words"),
    }
}

fn redrive(name: &str) -> Wish {
    Wish::Redrive {
        entity_id: id(name),
        generation: Generation::FIRST.next(),
    }
}

async fn ask(world: &World, wish: Wish) -> RequestId {
    let asked = world.ledger.request(wish, ana(), wall_now()).await;
    asked.expect("memory")
}

/// Whether a request is still open.
async fn is_open(world: &World, request: RequestId) -> bool {
    let open = world.ledger.open_requests(None, 99).await.expect("memory");
    open.iter().any(|open| open.id == request)
}

async fn settled_status(world: &World, name: &str) -> Option<Status> {
    let sights = world.ledger.look(vec![id(name)]).await.expect("memory");
    match sights.into_iter().next() {
        Some(Sight::Known {
            standing: Standing::Finished(outcome),
            ..
        }) => Some(outcome.status),
        Some(_) | None => None,
    }
}

/// Attends to what was asked, as a command does where no run is under way.
async fn attend(world: &World) {
    let (_stopper, stop) = tanda::engine::stop::signal();
    tanda::engine::attend(world.ports(), world.settings.clone(), stop)
        .await
        .expect("the engine attends");
}

/// Waits, on the paused clock, until the owner has answered.
async fn answered(world: &World, request: RequestId) {
    while is_open(world, request).await {
        let_pass(Duration::from_millis(100)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_job_cancelled_before_it_comes_is_never_sent() {
    let world = world();
    ask(&world, Wish::Cancel(id("a"))).await;
    attend(&world).await;
    world.run(&[job("a", 1), job("b", 1)]).await;
    assert_eq!(world.sink.statuses("a"), [Status::NotSent]);
    let last = world.sink.of("a").pop().expect("an outcome");
    assert_eq!(last.reason.as_deref(), Some("cancelled"));
    assert_eq!(world.bank.calls_for("a").len(), 0);
    assert_eq!(world.bank.applied()["b"], 1, "its card is not held");
}

#[tokio::test(start_paused = true)]
async fn a_job_cancelled_while_it_waits_is_not_sent_and_one_at_the_bank_is_told_as_it_ends() {
    let world = world();
    world.bank.script("first", &[Does::LoseRequest; 2]);
    let cancel = async {
        while world.bank.calls_for("first").is_empty() {
            let_pass(Duration::from_millis(10)).await;
        }
        let waiting = ask(&world, Wish::Cancel(id("second"))).await;
        answered(&world, waiting).await;
        while world.sink.statuses("second").is_empty() {
            let_pass(Duration::from_millis(100)).await;
        }
        let late = ask(&world, Wish::Cancel(id("first"))).await;
        answered(&world, late).await;
    };
    world
        .while_running(&[job("first", 1), job("second", 1)], cancel)
        .await;
    assert_eq!(world.sink.statuses("first"), [Status::Succeeded]);
    assert_eq!(world.sink.statuses("second"), [Status::NotSent]);
    assert_eq!(world.bank.calls_for("second").len(), 0);
}

#[tokio::test(start_paused = true)]
async fn i5_a_job_cancelled_after_an_unclear_attempt_is_not_sent_only_after_proof() {
    for (does, ends) in [
        (Does::LoseRequest, Status::NotSent),
        (Does::ApplyAndLoseReply, Status::Succeeded),
    ] {
        let world = proven_world().await;
        world.bank.otherwise(does);
        let cancel = async {
            while world.bank.calls_for("a").is_empty() {
                let_pass(Duration::from_millis(10)).await;
            }
            ask(&world, Wish::Cancel(id("a"))).await;
            while settled_status(&world, "a").await.is_none() {
                let_pass(Duration::from_secs(1)).await;
            }
        };
        world.while_running(&[job("a", 1)], cancel).await;
        assert_eq!(world.sink.statuses("a"), [Status::InDoubt, ends]);
        let applied = world.bank.applied().get("a").copied().unwrap_or_default();
        assert_eq!(applied, usize::from(ends == Status::Succeeded));
    }
}

#[tokio::test(start_paused = true)]
async fn a_cancel_survives_a_restart_before_and_after_the_intent() {
    let world = proven_world().await;
    world.bank.otherwise(Does::LoseRequest);
    let cancelled = world
        .while_running(&[job("a", 1)], async {
            while world.bank.calls_for("a").is_empty() {
                let_pass(Duration::from_millis(10)).await;
            }
            let request = ask(&world, Wish::Cancel(id("a"))).await;
            answered(&world, request).await;
            request
        })
        .await;
    assert!(!is_open(&world, cancelled).await);
    let calls = world.bank.calls_for("a").len();
    world.bank.otherwise(Does::Apply);
    world.run(&[job("a", 1)]).await;
    assert_eq!(settled_status(&world, "a").await, Some(Status::NotSent));
    assert_eq!(world.bank.calls_for("a").len(), calls, "not sent again");
}

/// A world in which job `a` has been left in doubt by an earlier run.
async fn left_in_doubt(does: Does) -> World {
    let world = proven_world().await;
    world.bank.otherwise(does);
    world
        .while_running(&[job("a", 1)], async {
            while world.bank.calls_for("a").is_empty() {
                let_pass(Duration::from_millis(10)).await;
            }
            let_pass(Duration::from_millis(50)).await;
        })
        .await;
    assert_eq!(settled_status(&world, "a").await, None);
    world
}

#[tokio::test(start_paused = true)]
async fn a_person_settles_a_job_in_doubt_and_the_list_has_the_last_word() {
    for (does, ruling, ends, reason) in [
        (
            Does::LoseRequest,
            Ruling::Succeeded,
            Status::Succeeded,
            "decided_by_person",
        ),
        (
            Does::LoseRequest,
            Ruling::NotSent,
            Status::NotSent,
            "decided_by_person",
        ),
        (
            Does::ApplyAndLoseReply,
            Ruling::NotSent,
            Status::Succeeded,
            "found_in_list",
        ),
        (
            Does::ApplyAndLoseReply,
            Ruling::Succeeded,
            Status::Succeeded,
            "found_in_list",
        ),
    ] {
        let world = left_in_doubt(does).await;
        let_pass(Duration::from_secs(310)).await;
        let calls = world.bank.calls().len();
        let request = ask(&world, settle("a", ruling)).await;
        attend(&world).await;
        assert!(!is_open(&world, request).await);
        assert_eq!(settled_status(&world, "a").await, Some(ends), "{does:?}");
        let last = world.sink.of("a").pop().expect("an outcome");
        assert_eq!(last.reason.as_deref(), Some(reason), "{does:?}");
        assert_eq!(world.bank.calls().len(), calls, "nothing is sent");
    }
}

#[tokio::test(start_paused = true)]
async fn i5_a_ruling_of_not_sent_is_declined_while_the_request_may_still_arrive() {
    let world = left_in_doubt(Does::LoseRequest).await;
    let request = ask(&world, settle("a", Ruling::NotSent)).await;
    attend(&world).await;
    assert!(!is_open(&world, request).await);
    assert_eq!(settled_status(&world, "a").await, None);
}

/// A clock that is set forward, or a machine that slept, does not make a request arrive sooner.
#[tokio::test(start_paused = true)]
async fn i5_a_clock_set_forward_does_not_make_a_ruling_of_not_sent_timely() {
    let mut world = proven_world().await;
    world.settings.rules.resend_window = Duration::ZERO;
    world.bank.otherwise(Does::LoseRequest);
    let status = world
        .while_running(&[job("a", 1)], async {
            while world.sink.statuses("a").is_empty() {
                let_pass(Duration::from_millis(10)).await;
            }
            wall_jumps(Duration::from_secs(3_600));
            let request = ask(&world, settle("a", Ruling::NotSent)).await;
            answered(&world, request).await;
            settled_status(&world, "a").await
        })
        .await;
    assert_eq!(status, None, "it may still be executed");
}

#[tokio::test(start_paused = true)]
async fn what_is_not_in_doubt_cannot_be_settled_by_a_person() {
    let world = world();
    world.run(&[job("paid", 1)]).await;
    for name in ["paid", "unknown"] {
        ask(&world, settle(name, Ruling::NotSent)).await;
    }
    attend(&world).await;
    let open = world.ledger.open_requests(None, 9).await.expect("memory");
    assert_eq!(open, [], "both are answered");
    assert_eq!(
        settled_status(&world, "paid").await,
        Some(Status::Succeeded)
    );
    assert_eq!(settled_status(&world, "unknown").await, None);
}

#[tokio::test(start_paused = true)]
async fn i1_reconciling_finds_what_was_paid_and_never_sends() {
    let found = left_in_doubt(Does::ApplyAndLoseReply).await;
    ask(&found, Wish::Reconcile(None)).await;
    attend(&found).await;
    assert_eq!(settled_status(&found, "a").await, Some(Status::Succeeded));

    let absent = left_in_doubt(Does::LoseRequest).await;
    let calls = absent.bank.calls().len();
    for _ in 0..20 {
        let request = ask(&absent, Wish::Reconcile(Some(id("a")))).await;
        attend(&absent).await;
        assert!(!is_open(&absent, request).await);
        let_pass(Duration::from_secs(400)).await;
    }
    assert_eq!(absent.bank.calls().len(), calls, "asking is not sending");
    assert_eq!(settled_status(&absent, "a").await, None);
}

#[tokio::test(start_paused = true)]
async fn a_run_under_way_answers_what_is_asked_within_a_second() {
    let world = proven_world().await;
    world.bank.script("a", &[Does::Conflict]);
    let took = world
        .while_running(&[job("a", 1)], async {
            while world.sink.statuses("a").is_empty() {
                let_pass(Duration::from_millis(10)).await;
            }
            let_pass(Duration::from_secs(400)).await;
            let began = tokio::time::Instant::now();
            for wish in [
                Wish::Reconcile(Some(id("a"))),
                Wish::Reconcile(None),
                Wish::Cancel(id("never-seen")),
            ] {
                let request = ask(&world, wish).await;
                answered(&world, request).await;
            }
            began.elapsed()
        })
        .await;
    assert!(took < Duration::from_secs(3), "{took:?}");
}

/// What was asked while nobody owned the ledger is answered by the next run, however short it is.
#[tokio::test(start_paused = true)]
async fn a_run_ends_after_the_answer_to_who_asked_about_a_job_in_doubt() {
    let mut world = proven_world().await;
    world.settings.rules.resend_window = Duration::ZERO;
    world.bank.otherwise(Does::LoseRequest);
    let down = ListFault::Unreachable("connection refused".to_owned());
    world.bank.fail_reading(down);
    world.run(&[job("a", 1)]).await;
    assert_eq!(world.sink.statuses("a"), [Status::InDoubt]);
    world.bank.read_again();
    let job_ref = JobRef {
        entity_id: id("a"),
        generation: Generation::FIRST,
    };
    let called = world.ledger.call_person(job_ref).await;
    called.expect("memory");
    for wish in [redrive("a"), Wish::Reconcile(Some(id("a")))] {
        let request = ask(&world, wish).await;
        assert_eq!(world.run(&[]).await, Ended::Dry);
        assert!(!is_open(&world, request).await);
    }
}

// ---- again ------------------------------------------------------------------------------------

fn corrected(name: &str, card: u32) -> Job {
    let cop = Currency::parse("COP").expect("a code");
    Job {
        amount: Amount::new(7_777, cop).expect("an amount"),
        ..job(name, card)
    }
}

#[tokio::test(start_paused = true)]
async fn a_rejected_job_is_run_again_only_when_a_person_asks_and_under_a_new_key() {
    let mut world = world();
    world.bank.script("a", &[Does::Refuse]);
    world.run(&[job("a", 1)]).await;
    world.run(&[job("a", 1)]).await;
    assert_eq!(world.bank.calls_for("a").len(), 1, "not by itself");
    world.again = Some(ana());
    world.run(&[job("a", 1)]).await;
    assert_eq!(
        world.sink.statuses("a"),
        [Status::Rejected, Status::Succeeded]
    );
    let calls = world.bank.calls_for("a");
    assert_ne!(calls[0].key, calls[1].key);
    let last = world.sink.of("a").pop().expect("an outcome");
    assert_eq!((last.generation, last.seq), (Some(2), 1));
    world.run(&[job("a", 1)]).await;
    assert_eq!(world.bank.applied()["a"], 1, "what has succeeded is over");
    assert_eq!(world.bank.calls_for("a").len(), 2);
}

#[tokio::test(start_paused = true)]
async fn i6_corrected_content_runs_only_as_a_later_generation() {
    let mut world = world();
    world.bank.script("a", &[Does::Refuse]);
    world.run(&[job("a", 1)]).await;
    world.run(&[corrected("a", 1)]).await;
    assert_eq!(world.bank.calls_for("a").len(), 1, "a conflict is not sent");
    world.again = Some(ana());
    world.run(&[corrected("a", 1)]).await;
    assert_eq!(settled_status(&world, "a").await, Some(Status::Succeeded));
    assert_eq!(world.bank.applied()["a"], 1);
    world.run(&[job("a", 1)]).await;
    assert_eq!(
        world.bank.applied()["a"],
        1,
        "the old content is a conflict now"
    );
}

#[tokio::test(start_paused = true)]
async fn i1_what_the_list_shows_is_not_run_again() {
    let mut world = left_in_doubt(Does::LoseRequest).await;
    let_pass(Duration::from_secs(310)).await;
    ask(&world, settle("a", Ruling::NotSent)).await;
    attend(&world).await;
    assert_eq!(settled_status(&world, "a").await, Some(Status::NotSent));
    // The person was wrong: the request arrives after all.
    world.bank.arrive("a");
    world.again = Some(ana());
    let calls = world.bank.calls().len();
    world.run(&[job("a", 1)]).await;
    assert_eq!(settled_status(&world, "a").await, Some(Status::Succeeded));
    assert_eq!(world.bank.calls().len(), calls, "nothing is sent");
    assert_eq!(world.bank.applied()["a"], 1);
}

/// What a person called unsent moved after all, and the row is corrected meanwhile: in its amount, or
/// in its card, whose own list knows nothing of the first.
#[tokio::test(start_paused = true)]
async fn i1_i5_what_moved_with_earlier_content_is_found_wherever_it_moved() {
    for new_job in [corrected("a", 1), job("a", 2)] {
        let mut world = left_in_doubt(Does::LoseRequest).await;
        let_pass(Duration::from_secs(310)).await;
        ask(&world, settle("a", Ruling::NotSent)).await;
        attend(&world).await;
        world.bank.arrive("a");
        world.again = Some(ana());
        let calls = world.bank.calls().len();
        world.run(std::slice::from_ref(&new_job)).await;
        assert_eq!(world.bank.calls().len(), calls, "nothing is sent");
        assert_eq!(settled_status(&world, "a").await, Some(Status::Succeeded));
        let last = world.sink.of("a").pop().expect("an outcome");
        let amount = last.amount.expect("an amount").amount;
        assert_eq!((amount, last.generation), (10_000, Some(2)), "what moved");
    }
}

#[tokio::test(start_paused = true)]
async fn i5_what_the_list_shows_with_content_that_nobody_asked_for_is_in_doubt() {
    let mut world = proven_world().await;
    world.bank.script("a", &[Does::Refuse]);
    world.run(&[job("a", 1)]).await;
    world.bank.movement(&corrected("a", 1));
    world.again = Some(ana());
    let calls = world.bank.calls().len();
    world.run(&[job("a", 1)]).await;
    assert_eq!(world.bank.calls().len(), calls, "nothing is sent");
    assert_eq!(settled_status(&world, "a").await, None);
    assert_eq!(
        world.sink.statuses("a"),
        [Status::Rejected, Status::InDoubt]
    );
    let_pass(Duration::from_secs(310)).await;
    let request = ask(&world, settle("a", Ruling::NotSent)).await;
    attend(&world).await;
    assert!(!is_open(&world, request).await);
    assert_eq!(settled_status(&world, "a").await, None, "it is declined");
}

/// A list that takes long shows what was true when its reading began, not when it ended.
#[tokio::test(start_paused = true)]
async fn i5_a_ruling_counts_from_when_the_list_was_read_not_from_when_it_came() {
    let world = left_in_doubt(Does::LoseRequest).await;
    let_pass(Duration::from_secs(255)).await;
    world.bank.list_takes(Duration::from_secs(30));
    ask(&world, settle("a", Ruling::NotSent)).await;
    // While the list is read for the ruling; it was read once before, as for every job in doubt.
    let arrival = async {
        let_pass(Duration::from_secs(35)).await;
        world.bank.arrive("a");
    };
    tokio::join!(attend(&world), arrival);
    assert_ne!(settled_status(&world, "a").await, Some(Status::NotSent));
    attend(&world).await;
    assert_eq!(world.bank.applied()["a"], 1);
}

/// A person says what is true by then. Where what moved later shows in no list under its name, only the time at
/// which it was said tells that it may not be true any more.
#[tokio::test(start_paused = true)]
async fn i5_a_ruling_counts_from_when_it_was_said_not_from_when_it_was_heard() {
    let world = left_in_doubt(Does::LoseRequest).await;
    world.bank.forget_entity_ids();
    // What is asked when the process begins goes on until the settle delay is over, and the person waits for it.
    world.bank.list_takes(Duration::from_secs(301));
    world
        .while_running(&[], async {
            let_pass(Duration::from_secs(30)).await;
            ask(&world, settle("a", Ruling::NotSent)).await;
            let_pass(Duration::from_secs(60)).await;
            world.bank.arrive("a");
            let_pass(Duration::from_secs(700)).await;
        })
        .await;
    assert_eq!(settled_status(&world, "a").await, None, "too early");
}

/// A person's word that `a` was not sent is too early now, and counts when the settle delay has passed.
async fn counts_a_settle_delay_from_now(world: &World) {
    ask(world, settle("a", Ruling::NotSent)).await;
    attend(world).await;
    assert_eq!(settled_status(world, "a").await, None, "too early");
    let_pass(Duration::from_secs(310)).await;
    ask(world, settle("a", Ruling::NotSent)).await;
    attend(world).await;
    assert_eq!(settled_status(world, "a").await, Some(Status::NotSent));
}

/// A process that resends for minutes and dies records no attempt of these: how long it lived says
/// until when something may still arrive.
#[tokio::test(start_paused = true)]
async fn i1_i5_after_a_crash_a_ruling_waits_from_the_last_sign_of_life() {
    let world = proven_world().await;
    world.bank.otherwise(Does::LoseRequest);
    let jobs = [job("a", 1)];
    let run = world.while_running(&jobs, std::future::pending::<()>());
    let killed = tokio::time::timeout(Duration::from_secs(500), run).await;
    assert!(killed.is_err(), "it is killed in the middle");
    assert!(world.bank.calls_for("a").len() > 3);
    counts_a_settle_delay_from_now(&world).await;
}

/// The wall clock is set forward between two processes, as at a start of the machine: what was sent just before is
/// not taken for long ago.
#[tokio::test(start_paused = true)]
async fn i5_a_clock_set_forward_between_two_processes_lets_no_ruling_through_too_early() {
    let world = left_in_doubt(Does::LoseRequest).await;
    wall_jumps(Duration::from_secs(3_600));
    counts_a_settle_delay_from_now(&world).await;
}

/// A task that panics records no attempt of these either: until then its calls may have gone out.
#[tokio::test(start_paused = true)]
async fn i1_i5_after_a_panic_a_ruling_waits_from_the_panic() {
    const LOST: usize = 8;
    let world = proven_world().await;
    // The last sign of life of an earlier process says nothing about this one.
    world.run(&[job("earlier", 2)]).await;
    let_pass(Duration::from_secs(3_600)).await;
    let mut does = vec![Does::LoseRequest; LOST];
    does.push(Does::Panic);
    world.bank.script("a", &does);
    world
        .while_running(&[job("a", 1)], async {
            while world.bank.calls_for("a").len() <= LOST {
                let_pass(Duration::from_secs(1)).await;
            }
            let calls = world.bank.calls_for("a");
            let sent_for = calls[LOST].at.duration_since(calls[0].at);
            assert!(sent_for > Duration::from_secs(20), "{sent_for:?}");
            let left = Duration::from_secs(301).saturating_sub(sent_for);
            let_pass(left).await;
            ask(&world, settle("a", Ruling::NotSent)).await;
            let_pass(Duration::from_secs(5)).await;
            assert_eq!(settled_status(&world, "a").await, None, "too early");
            let_pass(sent_for).await;
            ask(&world, settle("a", Ruling::NotSent)).await;
            let_pass(Duration::from_secs(5)).await;
        })
        .await;
    assert_eq!(settled_status(&world, "a").await, Some(Status::NotSent));
}

/// A thousand letters are one command: other jobs are not to wait until all of these are done (I11).
#[tokio::test(start_paused = true)]
async fn i11_many_redrives_leave_room_for_other_jobs() {
    let mut world = proven_world().await;
    world.settings.in_flight = 16;
    let names: Vec<_> = (0..200).map(|n| format!("dead-{n}")).collect();
    let dead: Vec<_> = names
        .iter()
        .zip(1..)
        .map(|(name, card)| job(name, card))
        .collect();
    for name in &names {
        world.bank.script(name, &[Does::Refuse]);
    }
    world.run(&dead).await;
    let calls = world.bank.calls().len();
    for name in &names {
        ask(&world, redrive(name)).await;
    }
    let fresh = job("fresh", 999);
    assert_eq!(world.run(&[fresh]).await, Ended::Dry);
    let later: Vec<_> = world.bank.calls().split_off(calls);
    let place = later.iter().position(|call| call.entity_id == "fresh");
    assert!(place.is_some_and(|place| place < 20), "{place:?}");
    assert_eq!(later.len(), 201, "and each of these is run again");
}

/// A redrive that waits for its turn can be taken back.
#[tokio::test(start_paused = true)]
async fn a_redrive_that_waits_for_its_turn_is_cancelled() {
    let ledger = Arc::new(MemoryLedger::new());
    let mut world = World::new(ledger.clone()).proven().await;
    world.settings.in_flight = 16;
    let names: Vec<_> = (0..40).map(|n| format!("dead-{n}")).collect();
    for name in &names {
        world.bank.script(name, &[Does::Refuse]);
    }
    let dead = names.iter().zip(1..).map(|(name, card)| job(name, card));
    world.run(&dead.collect::<Vec<_>>()).await;
    for name in &names {
        ask(&world, redrive(name)).await;
    }
    ask(&world, Wish::Cancel(id("dead-39"))).await;
    assert_eq!(world.run(&[]).await, Ended::Dry);
    assert_eq!(world.bank.calls_for("dead-38").len(), 2, "run again");
    assert_eq!(world.bank.calls_for("dead-39").len(), 1, "not run again");
    let answers: Vec<_> = ledger.answers().into_iter().flatten().collect();
    let last: Vec<_> = answers.iter().skip(39).map(|it| it.accepted).collect();
    assert_eq!(last, [false, true], "the redrive, and the cancel");
}

/// A rejected job whose outcome still waits to be confirmed is no job that is being run again.
#[tokio::test(start_paused = true)]
async fn a_redrive_before_the_refusal_is_published_is_declined_and_not_swallowed() {
    let ledger = Arc::new(MemoryLedger::new());
    let world = World::new(ledger.clone());
    world.bank.script("a", &[Does::Refuse]);
    world.sink.set_full(true);
    world
        .while_running(&[job("a", 1)], async {
            while settled_status(&world, "a").await.is_none() {
                let_pass(Duration::from_millis(10)).await;
            }
            let early = ask(&world, redrive("a")).await;
            answered(&world, early).await;
            world.sink.set_full(false);
            let_pass(Duration::from_secs(60)).await;
            assert_eq!(settled_status(&world, "a").await, Some(Status::Rejected));
            let again = ask(&world, redrive("a")).await;
            answered(&world, again).await;
        })
        .await;
    assert_eq!(settled_status(&world, "a").await, Some(Status::Succeeded));
    let answers = ledger.answers().into_iter().flatten();
    let accepted: Vec<_> = answers.map(|answer| answer.accepted).collect();
    assert_eq!(accepted, [false, true]);
}

/// Rows behind another on their card: cancelled before and after the run has taken them.
#[tokio::test(start_paused = true)]
async fn a_row_that_is_to_be_run_again_can_be_cancelled() {
    let mut world = world();
    for name in ["first", "second"] {
        world.bank.script(name, &[Does::Refuse]);
    }
    let jobs = [job("first", 1), job("second", 1)];
    world.run(&jobs).await;
    world.again = Some(ana());
    world.bank.script("first", &[Does::LoseRequest; 3]);
    let cancelled = async {
        while world.bank.calls_for("first").len() < 2 {
            let_pass(Duration::from_millis(10)).await;
        }
        let request = ask(&world, Wish::Cancel(id("second"))).await;
        answered(&world, request).await;
        while world.sink.statuses("second").len() < 2 {
            let_pass(Duration::from_millis(100)).await;
        }
    };
    world.while_running(&jobs, cancelled).await;
    assert_eq!(world.bank.calls_for("second").len(), 1, "not sent again");
    assert_eq!(
        world.sink.statuses("second"),
        [Status::Rejected, Status::NotSent]
    );
    world.run(&jobs).await;
    assert_eq!(
        world.bank.applied().get("second"),
        Some(&1),
        "a person may ask for it once more"
    );
}

#[tokio::test(start_paused = true)]
async fn two_requests_about_one_job_are_both_answered_and_take_it_up_once() {
    let world = left_in_doubt(Does::LoseRequest).await;
    let one = ask(&world, Wish::Reconcile(Some(id("a")))).await;
    let all = ask(&world, Wish::Reconcile(None)).await;
    let again = ask(&world, Wish::Reconcile(Some(id("a")))).await;
    attend(&world).await;
    for request in [one, all, again] {
        assert!(!is_open(&world, request).await);
    }
}

#[tokio::test(start_paused = true)]
async fn without_a_list_that_can_be_read_nothing_is_run_again() {
    let mut world = world();
    world.bank.script("a", &[Does::Refuse]);
    world.run(&[job("a", 1), job("b", 1)]).await;
    world.again = Some(ana());
    world.bank.fail_reading(ListFault::NotAuthorized);
    world.run(&[job("a", 1), job("c", 1)]).await;
    assert_eq!(world.answers.of("a"), [Some(Status::Rejected), None]);
    assert_eq!(world.bank.calls_for("a").len(), 1);
    assert_eq!(world.bank.applied()["c"], 1, "its card is not held");
}

/// The engine is killed around every step of a later generation; what another run makes of it is
/// paid once.
#[tokio::test(start_paused = true)]
async fn i1_a_kill_at_any_step_of_a_later_generation_pays_once() {
    let jobs = [job("lost", 1), job("plain", 2), job("refused-twice", 3)];
    for kill_at in 1.. {
        let mut world = proven_world().await;
        for job in &jobs {
            world.bank.script(job.entity_id.as_str(), &[Does::Refuse]);
        }
        world.run(&jobs).await;
        world.bank.script("lost", &[Does::ApplyAndLoseReply; 2]);
        world.bank.script("refused-twice", &[Does::Refuse; 9]);
        world.again = Some(ana());
        let fuse = Fuse::new(kill_at);
        let (_stopper, stop) = tanda::engine::stop::signal();
        let (pauses, _) = tokio::sync::watch::channel(None);
        let (ports, source) = fuse.guard(world.ports(), world.source(&jobs));
        let killed = tokio::select! {
            biased;
            () = fuse.blown() => true,
            ended = tanda::engine::run(ports, world.settings.clone(), source, stop, &pauses) => {
                ended.expect("the engine runs");
                false
            }
        };
        // A generation that was begun is driven to its end by any run.
        world.again = None;
        world.run(&jobs).await;
        for (name, times) in world.bank.applied() {
            assert_eq!(times, 1, "I1: {name} after a kill at {kill_at}");
        }
        for job in &jobs {
            let name = job.entity_id.as_str();
            let status = settled_status(&world, name).await.expect("settled");
            let moved = world.bank.applied().contains_key(name);
            assert_eq!(status == Status::Succeeded, moved, "{name} at {kill_at}");
        }
        if !killed {
            assert!(kill_at > 20, "only {kill_at} steps");
            break;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_is_kept_with_its_request() {
    let world = world();
    let request = ask(&world, Wish::Cancel(id("a"))).await;
    attend(&world).await;
    let later = Answer {
        accepted: false,
        generation: None,
        words: "something else".to_owned(),
        at: Timestamp::from_millis(0),
    };
    world.ledger.answer(request, later).await.expect("memory");
    let sights = world.ledger.look(vec![id("a")]).await.expect("memory");
    assert_eq!(sights, [Sight::Cancelled]);
}

/// Doing what a pause says, stopping and running again, must not frighten anybody: what the bank
/// provably did not execute waits, and is paid by the next run under the same key.
#[tokio::test(start_paused = true)]
async fn i9_a_stop_in_a_pause_leaves_what_was_only_deferred_waiting_and_not_in_doubt() {
    for does in [Does::RefuseCredential, Does::NoConnection] {
        let world = world();
        world.bank.otherwise(does);
        world
            .while_running(&[job("a", 1), job("b", 2)], async {
                while world.bank.calls().is_empty() {
                    let_pass(Duration::from_millis(10)).await;
                }
                let_pass(Duration::from_secs(5)).await;
            })
            .await;
        assert_eq!(world.answers.of("a"), [None], "given back: {does:?}");
        assert!(
            world.sink.all().is_empty(),
            "nothing is said to be in doubt"
        );
        let open = world.ledger.unsettled(None, 9).await.expect("memory");
        assert_eq!(open, []);
        let first = world.bank.calls();
        ask(&world, Wish::Cancel(id("b"))).await;
        world.bank.otherwise(Does::Apply);
        world.run(&[job("a", 1), job("b", 2)]).await;
        assert_eq!(world.sink.statuses("a"), [Status::Succeeded]);
        assert_eq!(world.sink.statuses("b"), [Status::NotSent]);
        let calls = world.bank.calls_for("a");
        let key = first.iter().find(|call| call.entity_id == "a");
        assert!(key.is_none_or(|first| calls.iter().all(|call| call.key == first.key)));
        world.run(&[corrected("a", 1)]).await;
        assert_eq!(world.bank.applied()["a"], 1);
    }
}
