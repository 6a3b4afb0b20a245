//! The job's way through the real engine, between a scripted bank that keeps books and a ledger, on
//! a paused clock.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tanda::domain::job::Job;
use tanda::domain::outcome::Status;
use tanda::domain::time::Timestamp;
use tanda::engine::ports::{ListFault, Offer, Source, SourceError};
use tanda::engine::settings::{Ending, Fence};
use tanda::engine::{Ended, EngineError};
use tanda::ledger::MemoryLedger;
use tokio::time::Instant;

use crate::support::judge::{Does, World, job, let_pass, wall_jumps};

fn world() -> World {
    World::new(Arc::new(MemoryLedger::new()))
}

/// Seconds of paused time that a future takes.
async fn seconds<T>(future: impl Future<Output = T>) -> (u64, T) {
    let began = Instant::now();
    let value = future.await;
    (began.elapsed().as_secs(), value)
}

#[tokio::test(start_paused = true)]
async fn i4_every_job_ends_in_one_final_outcome_that_is_published() {
    let world = world();
    world.bank.script("b", &[Does::Refuse]);
    let jobs = [job("a", 1), job("b", 2), job("c", 3)];
    assert_eq!(world.run(&jobs).await, Ended::Dry);
    assert_eq!(world.sink.statuses("a"), [Status::Succeeded]);
    assert_eq!(world.sink.statuses("b"), [Status::Rejected]);
    assert_eq!(world.answers.of("c"), [Some(Status::Succeeded)]);
    assert_eq!(world.bank.applied().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_first_refusal_is_rejected_with_the_banks_own_words() {
    let world = world();
    world.bank.script("a", &[Does::Refuse]);
    world.run(&[job("a", 1)]).await;
    let messages = world.sink.of("a");
    let bank = messages[0].bank.clone().expect("the bank spoke");
    assert_eq!(bank.errors[0].error_code, "insufficient_funds");
    assert_eq!(bank.log_id.as_deref(), Some("log_7MkWaFqvfosB8fzHhb1Eql"));
}

#[tokio::test(start_paused = true)]
async fn f27_i1_a_reply_lost_on_every_attempt_is_found_by_asking_and_paid_once() {
    let world = world();
    world.bank.script("a", &[Does::ApplyAndLoseReply; 99]);
    world.run(&[job("a", 1)]).await;
    assert_eq!(
        world.sink.statuses("a"),
        [Status::InDoubt, Status::Succeeded]
    );
    let last = world.sink.of("a").pop().expect("an outcome");
    assert_eq!(last.reason.as_deref(), Some("found_in_list"));
    assert!(last.bank.expect("listed").operation_id.is_some());
    assert_eq!((last.seq, world.bank.applied()["a"]), (2, 1));
    assert!(
        world.bank.calls_for("a").len() > 1,
        "it was resent within the window"
    );
}

#[tokio::test(start_paused = true)]
async fn i8_a_resend_has_the_same_key_and_the_same_bytes_and_stays_within_the_window() {
    let world = world();
    world.bank.otherwise(Does::LoseRequest);
    world.run(&[job("a", 1)]).await;
    let calls = world.bank.calls_for("a");
    let first = calls.first().expect("a call");
    assert!(calls.len() > 2);
    for call in &calls {
        assert_eq!((&call.key, &call.body), (&first.key, &first.body));
        assert!(call.at - first.at < Duration::from_secs(600));
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_never_applied_starts_again_only_after_two_absences_with_the_control() {
    let mut world = world();
    world.bank.script("a", &[Does::LoseRequest]);
    world.settings.rules.resend_window = Duration::ZERO;
    let (took, _) = seconds(world.run(&[job("control", 9), job("a", 1)])).await;
    assert_eq!(
        world.sink.statuses("a"),
        [Status::InDoubt, Status::Succeeded]
    );
    assert!(
        (370..400).contains(&took),
        "absent at 310 s and at 380 s: {took}"
    );
    assert_eq!(
        (world.bank.calls_for("a").len(), world.bank.applied()["a"]),
        (2, 1)
    );
}

#[tokio::test(start_paused = true)]
async fn without_the_positive_control_an_absence_proves_nothing() {
    let mut world = world();
    world.settings.rules.resend_window = Duration::ZERO;
    world.bank.forget_entity_ids();
    world.bank.script("a", &[Does::LoseRequest]);
    world.run(&[job("control", 9), job("a", 1)]).await;
    assert_eq!(world.sink.statuses("a"), [Status::InDoubt]);
    assert_eq!(world.bank.calls_for("a").len(), 1, "nothing was sent again");
}

#[tokio::test(start_paused = true)]
async fn an_expired_job_that_was_never_applied_is_not_sent_after_proof() {
    let mut world = world();
    world.settings.rules.resend_window = Duration::ZERO;
    world.bank.script("a", &[Does::LoseRequest]);
    let not_after = Some(Timestamp::from_millis(1_795_000_000_000).plus(Duration::from_secs(200)));
    let expiring = Job {
        not_after,
        ..job("a", 1)
    };
    world.run(&[job("control", 9), expiring]).await;
    assert_eq!(world.sink.statuses("a"), [Status::InDoubt, Status::NotSent]);
    assert_eq!(world.bank.applied().get("a"), None);
}

#[tokio::test(start_paused = true)]
async fn i5_a_refusal_after_an_unclear_attempt_is_asked_about_and_found() {
    let world = world();
    world
        .bank
        .script("a", &[Does::ApplyAndLoseReply, Does::Refuse]);
    world.run(&[job("a", 1)]).await;
    assert_eq!(
        world.sink.statuses("a"),
        [Status::InDoubt, Status::Succeeded]
    );
    assert_eq!(world.bank.applied()["a"], 1);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_after_a_lost_request_is_rejected_after_two_absences() {
    let world = world();
    world.bank.script("a", &[Does::LoseRequest, Does::Refuse]);
    let (took, _) = seconds(world.run(&[job("control", 9), job("a", 1)])).await;
    assert_eq!(
        world.sink.statuses("a"),
        [Status::InDoubt, Status::Rejected]
    );
    assert!(took >= 370, "{took}");
    assert_eq!(world.bank.applied().get("a"), None);
}

#[tokio::test(start_paused = true)]
async fn i9_two_minutes_without_a_connection_cost_no_job_and_no_attempt() {
    let world = world();
    let jobs: Vec<_> = (0..200).map(|n| job(&format!("j{n}"), n)).collect();
    world.bank.down_for(Duration::from_secs(120));
    world.run(&jobs).await;
    assert!(
        jobs.iter()
            .all(|job| world.sink.statuses(job.entity_id.as_str()) == [Status::Succeeded])
    );
    assert_eq!(world.bank.applied().len(), 200);
    let while_down = world.bank.heard() - 200;
    assert!(
        while_down <= 30,
        "the bank heard {while_down} requests too many"
    );
}

#[tokio::test(start_paused = true)]
async fn i9_a_refused_credential_pauses_everyone_and_rejects_nobody() {
    let world = world();
    let jobs: Vec<_> = (0..50).map(|n| job(&format!("j{n}"), n)).collect();
    world.bank.script("j7", &[Does::RefuseCredential; 3]);
    world.run(&jobs).await;
    assert_eq!(world.bank.applied().len(), 50);
    assert_eq!(world.sink.statuses("j7"), [Status::Succeeded]);
}

#[tokio::test(start_paused = true)]
async fn i7_jobs_of_one_card_are_applied_one_at_a_time_in_their_order() {
    let world = world();
    let jobs: Vec<_> = (0..40).map(|n| job(&format!("j{n:02}"), n % 3)).collect();
    world
        .bank
        .script("j00", &[Does::LoseRequest, Does::LoseRequest]);
    world.bank.script("j04", &[Does::NoConnection]);
    world.run(&jobs).await;
    for card in 0..3 {
        let of_card: Vec<_> = world
            .bank
            .applied_in_order()
            .into_iter()
            .filter(|id| id[1..].parse::<u32>().expect("a number") % 3 == card)
            .collect();
        assert!(of_card.is_sorted(), "{of_card:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn i7_a_job_in_doubt_holds_its_card_and_what_waits_is_given_back() {
    let mut world = world();
    world.settings.rules.resend_window = Duration::ZERO;
    world.bank.script("a", &[Does::LoseRequest]);
    world.bank.forget_entity_ids();
    let (took, _) = seconds(world.run(&[job("a", 1), job("b", 1), job("c", 2)])).await;
    assert_eq!(world.answers.of("a"), [Some(Status::InDoubt)]);
    assert_eq!(world.answers.of("b"), [None], "it stays with its source");
    assert_eq!(world.answers.of("c"), [Some(Status::Succeeded)]);
    assert!(world.bank.calls_for("b").is_empty());
    assert!(
        (380..400).contains(&took),
        "the run waits for the first four asks: {took}"
    );
}

#[tokio::test(start_paused = true)]
async fn the_fence_opens_when_a_person_is_needed_unless_it_is_to_stay() {
    for (fence, expected) in [(Fence::UntilPersonNeeded, 1), (Fence::UntilSettled, 0)] {
        let mut world = world();
        world.settings.fence = fence;
        world.settings.ending = Ending::WhenStopped;
        world.settings.rules.resend_window = Duration::ZERO;
        world.bank.script("a", &[Does::LoseRequest]);
        world.bank.forget_entity_ids();
        let (stopper, stop) = tanda::engine::stop::signal();
        let (pauses, _) = tokio::sync::watch::channel(None);
        let source = world.source(&[job("a", 1), job("b", 1)]);
        let running =
            tanda::engine::run(world.ports(), world.settings.clone(), source, stop, &pauses);
        let two_days = async {
            let_pass(Duration::from_secs(2 * 86_400)).await;
            stopper.ask();
            std::future::pending::<()>().await;
        };
        tokio::select! {
            ended = running => assert_eq!(ended.expect("the engine runs"), Ended::Stopped),
            () = two_days => {}
        }
        assert_eq!(world.bank.calls_for("b").len(), expected, "{fence:?}");
        assert_eq!(
            world.bank.calls_for("a").len(),
            1,
            "nothing is sent by itself any more"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn i6_another_content_under_the_same_id_never_reaches_the_bank() {
    let world = world();
    world.run(&[job("a", 1)]).await;
    world.run(&[job("a", 2)]).await;
    assert_eq!(
        world.sink.statuses("a"),
        [Status::Succeeded, Status::Conflict]
    );
    assert_eq!(world.bank.calls_for("a").len(), 1);
}

#[tokio::test(start_paused = true)]
async fn i1_the_same_job_again_is_answered_from_the_ledger_with_the_same_bytes() {
    let world = world();
    world.run(&[job("a", 1), job("a", 1)]).await;
    world.run(&[job("a", 1)]).await;
    assert_eq!(world.bank.calls_for("a").len(), 1);
    assert_eq!(world.answers.of("a"), [Some(Status::Succeeded); 3]);
    let published = world.sink.all();
    assert!(published.len() >= 2);
    for outcome in &published {
        assert_eq!(outcome.event_id, published[0].event_id);
        assert_eq!(outcome.body, published[0].body);
    }
}

#[tokio::test(start_paused = true)]
async fn a_409_is_asked_about_before_anything_else() {
    let world = world();
    world.bank.script("a", &[Does::Conflict]);
    world.run(&[job("control", 9), job("a", 1)]).await;
    assert_eq!(
        world.sink.statuses("a"),
        [Status::InDoubt, Status::Succeeded]
    );
    assert_eq!(
        world.bank.calls_for("a").len(),
        2,
        "once more after two absences"
    );
}

#[tokio::test(start_paused = true)]
async fn a_panic_after_the_intent_is_in_doubt_and_three_are_poison() {
    let mut world = world();
    world.settings.rules.resend_window = Duration::ZERO;
    world.bank.script("a", &[Does::Panic; 9]);
    world
        .run(&[job("control", 9), job("a", 1), job("b", 2)])
        .await;
    assert_eq!(world.sink.statuses("a"), [Status::InDoubt, Status::NotSent]);
    assert_eq!(world.sink.of("a")[1].reason.as_deref(), Some("poison"));
    assert_eq!(
        world.sink.statuses("b"),
        [Status::Succeeded],
        "the others go on"
    );
    assert_eq!(world.bank.calls_for("a").len(), 3);
}

#[tokio::test(start_paused = true)]
async fn i11_no_more_jobs_are_taken_than_there_is_room_for() {
    let mut world = world();
    world.settings.in_flight = 16;
    world.bank.otherwise(Does::RefuseCredential);
    let jobs: Vec<_> = (0..500).map(|n| job(&format!("j{n}"), n)).collect();
    let (stopper, stop) = tanda::engine::stop::signal();
    let (pauses, _) = tokio::sync::watch::channel(None);
    let source = world.source(&jobs);
    let running = Box::pin(tanda::engine::run(
        world.ports(),
        world.settings.clone(),
        source,
        stop,
        &pauses,
    ));
    let an_hour = async {
        let_pass(Duration::from_secs(3_600)).await;
        stopper.ask();
        std::future::pending::<()>().await;
    };
    tokio::select! {
        ended = running => assert_eq!(ended.expect("the engine runs"), Ended::Stopped),
        () = an_hour => {}
    }
    let taken = jobs
        .iter()
        .filter(|job| !world.answers.of(job.entity_id.as_str()).is_empty());
    assert_eq!(taken.count(), 16);
    assert!(
        world.bank.heard() < 300,
        "{} requests in an hour",
        world.bank.heard()
    );
}

#[tokio::test(start_paused = true)]
async fn i3_a_receipt_is_answered_only_once_its_outcome_is_confirmed() {
    let world = world();
    world.sink.refuse(5);
    let (took, _) = seconds(world.run(&[job("a", 1)])).await;
    // The receipts of the test assert it too: none is answered before the sink has its outcome.
    assert_eq!(world.answers.of("a"), [Some(Status::Succeeded)]);
    assert!(
        took >= 31,
        "waits of 1, 2, 4, 8 and 16 s between the refusals: {took}"
    );
    assert_eq!(world.bank.calls_for("a").len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_list_that_the_bank_does_not_let_us_read_proves_nothing_and_ends_the_run() {
    let world = world();
    world.bank.script("a", &[Does::LoseRequest, Does::Refuse]);
    world.bank.fail_reading(ListFault::NotAuthorized);
    let (took, _) = seconds(world.run(&[job("a", 1)])).await;
    assert_eq!(world.answers.of("a"), [Some(Status::InDoubt)]);
    assert!(
        (380..400).contains(&took),
        "the run waits for the first four asks: {took}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_job_that_its_turn_brings_into_doubt_does_not_keep_the_right_to_call() {
    let world = world();
    let mut jobs: Vec<_> = (0..4).map(|n| job(&format!("j{n}"), n)).collect();
    for job in &jobs {
        world
            .bank
            .script(job.entity_id.as_str(), &[Does::LoseRequest]);
    }
    world.bank.script("z", &[Does::NoConnection; 4]);
    jobs.push(job("z", 9));
    let sleeps = async {
        let_pass(Duration::from_millis(50)).await;
        wall_jumps(Duration::from_secs(3_600));
        std::future::pending::<()>().await;
    };
    let running = tokio::time::timeout(Duration::from_secs(3_600), world.run(&jobs));
    tokio::select! {
        ended = running => assert_eq!(ended, Ok(Ended::Dry), "the four hold every call"),
        () = sleeps => {}
    }
    assert_eq!(world.bank.applied().len(), 5);
}

#[tokio::test(start_paused = true)]
async fn a_card_that_we_may_not_read_does_not_keep_a_pause_for_ever() {
    let world = world();
    let jobs: Vec<_> = (0..20).map(|n| job(&format!("j{n}"), n)).collect();
    world.bank.fail_probes_of(0, ListFault::NotAuthorized);
    world.bank.script("j7", &[Does::RefuseCredential]);
    let running = tokio::time::timeout(Duration::from_secs(3_600), world.run(&jobs));
    assert_eq!(running.await, Ok(Ended::Dry), "the pause never ends");
    assert_eq!(world.bank.applied().len(), 20);
}

#[tokio::test(start_paused = true)]
async fn a_list_that_the_bank_refuses_in_its_own_words_ends_the_run_too() {
    let world = world();
    world.bank.script("a", &[Does::LoseRequest, Does::Refuse]);
    let refused = "status 400 and \"no list for this product\"".to_owned();
    world.bank.fail_reading(ListFault::Refused(refused));
    let jobs = [job("a", 1)];
    let running = tokio::time::timeout(Duration::from_secs(3_600), world.run(&jobs));
    assert_eq!(running.await, Ok(Ended::Dry));
    assert_eq!(world.sink.statuses("a"), [Status::InDoubt]);
}

#[tokio::test(start_paused = true)]
async fn a_list_that_never_can_be_read_ends_the_run() {
    let world = world();
    world.bank.script("a", &[Does::LoseRequest, Does::Refuse]);
    world
        .bank
        .fail_reading(ListFault::NotTheBank("rows without amount".to_owned()));
    let jobs = [job("a", 1)];
    let running = tokio::time::timeout(Duration::from_secs(86_400), world.run(&jobs));
    assert_eq!(running.await, Ok(Ended::Dry));
    assert_eq!(world.sink.statuses("a"), [Status::InDoubt]);
}

#[tokio::test(start_paused = true)]
async fn a_job_that_is_never_answered_does_not_begin_anew_for_ever_in_a_run() {
    let world = world();
    world.bank.script("a", &[Does::Conflict; 10_000]);
    let jobs = [job("control", 9), job("a", 1)];
    let running = tokio::time::timeout(Duration::from_secs(86_400), world.run(&jobs));
    assert_eq!(running.await, Ok(Ended::Dry));
    assert_eq!(world.sink.statuses("a"), [Status::InDoubt]);
    assert!(world.bank.calls_for("a").len() <= 5);
}

/// Runs this job and asks to stop after ten seconds. How many seconds it took until it had stopped.
async fn stopped_after_ten_seconds(world: &World, of: Job) -> u64 {
    let (stopper, stop) = tanda::engine::stop::signal();
    let (pauses, _) = tokio::sync::watch::channel(None);
    let (settings, source) = (world.settings.clone(), world.source(&[of]));
    let run = tanda::engine::run(world.ports(), settings, source, stop, &pauses);
    let stops = async {
        let_pass(Duration::from_secs(10)).await;
        stopper.ask();
    };
    let both = async { tokio::join!(run, stops).0 };
    let limited = tokio::time::timeout(Duration::from_secs(3_600), both);
    let (took, ended) = Box::pin(seconds(limited)).await;
    let ended = ended.expect("a drain has an end").expect("the engine runs");
    assert_eq!(ended, Ended::Stopped);
    took
}

#[tokio::test(start_paused = true)]
async fn i9_a_drain_ends_within_its_deadline_and_gives_back_every_receipt() {
    let world = world();
    world.bank.hang();
    assert_eq!(stopped_after_ten_seconds(&world, job("a", 1)).await, 55);
    assert_eq!(world.answers.of("a"), [None]);
}

/// A broker that holds back publishing gives no confirm, however long one waits.
#[tokio::test(start_paused = true)]
async fn a_stop_does_not_wait_long_for_a_confirm_and_gives_back_every_receipt() {
    let world = world();
    world.run(&[job("a", 1)]).await;
    world.sink.hang();
    assert_eq!(stopped_after_ten_seconds(&world, job("a", 1)).await, 15);
    assert_eq!(world.answers.of("a"), [Some(Status::Succeeded), None]);
}

#[tokio::test(start_paused = true)]
async fn i13_the_positive_control_can_come_from_an_earlier_run() {
    let mut world = world();
    // Ends before the list was read: the control is not on record.
    world.run(&[job("paid", 9)]).await;
    assert_eq!(world.ledger.control().await.expect("memory"), None);
    world.settings.rules.resend_window = Duration::ZERO;
    world.bank.script("a", &[Does::LoseRequest]);
    world.run(&[job("a", 1)]).await;
    assert_eq!(
        world.sink.statuses("a"),
        [Status::InDoubt, Status::Succeeded]
    );
    assert_eq!(world.bank.applied()["a"], 1);
}

#[tokio::test(start_paused = true)]
async fn a_job_whose_task_panics_whatever_is_done_is_parked_and_the_others_go_on() {
    let mut world = world();
    world.settings.rules.resend_window = Duration::ZERO;
    world.sink.panic_on_doubts(true);
    world.bank.script("a", &[Does::LoseRequest]);
    let jobs = [job("a", 1), job("behind", 1), job("b", 2)];
    let run = tokio::time::timeout(Duration::from_secs(86_400), world.run(&jobs));
    assert_eq!(run.await.expect("it ends"), Ended::Dry);
    assert_eq!(world.answers.of("a"), [None], "it stays with its source");
    assert_eq!(world.answers.of("behind"), [None]);
    assert_eq!(world.answers.of("b"), [Some(Status::Succeeded)]);
    assert_eq!(world.bank.calls_for("a").len(), 1, "nothing was sent again");
}

/// A source that breaks a moment after its first jobs.
struct BreakingSource {
    source: Option<Box<dyn Source>>,
    breaks_at: Instant,
}

#[async_trait]
impl Source for BreakingSource {
    async fn next(&mut self, max: usize) -> Result<Offer, SourceError> {
        if let Some(mut source) = self.source.take() {
            return source.next(max).await;
        }
        tokio::time::sleep_until(self.breaks_at).await;
        Err(SourceError::new("consuming", "it is gone for good"))
    }
}

/// A source that is gone for good ends the process; calls under way are finished first, so that nothing
/// comes into doubt because of it, and no more are begun.
#[tokio::test(start_paused = true)]
async fn i9_a_source_that_breaks_brings_nothing_into_doubt() {
    let world = world();
    let jobs: Vec<_> = (1..40).map(|card| job(&format!("j{card}"), card)).collect();
    let source = Box::new(BreakingSource {
        source: Some(world.source(&jobs)),
        breaks_at: Instant::now() + Duration::from_millis(10),
    });
    let (_stopper, stop) = tanda::engine::stop::signal();
    let (pauses, _) = tokio::sync::watch::channel(None);
    let ran = tanda::engine::run(world.ports(), world.settings.clone(), source, stop, &pauses);
    let (took, ended) = Box::pin(seconds(ran)).await;
    assert!(matches!(ended, Err(EngineError::Source(_))));
    assert!(took < 5, "{took} s");
    let calls = world.bank.calls();
    assert_eq!(calls.len(), 4, "as many as were under way");
    for call in calls {
        let told = world.sink.statuses(&call.entity_id);
        assert_eq!(told, [Status::Succeeded]);
    }
    let open = world.ledger.unsettled(None, 9).await.expect("memory");
    assert_eq!(open, []);
}

/// A broker that holds back publishing keeps nobody from stopping, at the start either.
#[tokio::test(start_paused = true)]
async fn i9_a_stop_is_heeded_while_what_was_left_cannot_be_published() {
    let world = world();
    world.sink.set_full(true);
    let (stopper, stop) = tanda::engine::stop::signal();
    let (pauses, _) = tokio::sync::watch::channel(None);
    let (settings, source) = (world.settings.clone(), world.source(&[job("a", 1)]));
    let run = tanda::engine::run(world.ports(), settings, source, stop, &pauses);
    let killed = tokio::time::timeout(Duration::from_secs(5), run).await;
    assert!(killed.is_err(), "it is killed before anything is confirmed");
    drop(stopper);

    world.sink.hang();
    let (stopper, stop) = tanda::engine::stop::signal();
    let source = world.source(&[]);
    let run = tanda::engine::run(world.ports(), world.settings.clone(), source, stop, &pauses);
    let asked = async {
        let_pass(Duration::from_secs(1)).await;
        stopper.ask();
    };
    let both = async { tokio::join!(run, asked).0 };
    let ended = Box::pin(tokio::time::timeout(Duration::from_secs(20), both)).await;
    assert_eq!(
        ended.expect("it stops").expect("the engine runs"),
        Ended::Stopped
    );
}
