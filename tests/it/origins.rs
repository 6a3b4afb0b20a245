//! One job by two ways: from a file and from the queue. Each of its readers gets its outcome, whichever
//! process settles it. Through the real engine, on a paused clock.

use std::sync::Arc;
use std::time::Duration;

use tanda::domain::job::{Job, Operation};
use tanda::domain::key::Generation;
use tanda::domain::outcome::Status;
use tanda::domain::request::Wish;
use tanda::engine::ports::{ListFault, Origin, StoredOutcome};
use tanda::engine::settings::{Ending, Holding};
use tanda::ledger::MemoryLedger;

use crate::support::judge::{Does, job, let_pass};
use crate::support::queue::Office;

const HOUR: Duration = Duration::from_secs(3_600);

/// An office in which nothing is sent again after an unclear attempt.
async fn office() -> Office {
    let mut office = Office::open(Arc::new(MemoryLedger::new()), 16).await;
    office.world.settings.rules.resend_window = Duration::ZERO;
    office
}

/// Runs these rows as `tanda run` does, which does not reach the readers of the queue.
async fn run_file(office: &mut Office, rows: &[Job]) {
    let holding = office.world.settings.holding.take();
    office.world.settings.ending = Ending::WhenDry;
    office.world.sink.reach_files_only(true);
    office.world.run(rows).await;
    office.world.sink.reach_files_only(false);
    office.world.settings.ending = Ending::WhenStopped;
    office.world.settings.holding = holding;
}

/// What the readers of the queue were told of this job.
fn told_to_queue(office: &Office, name: &str) -> Vec<StoredOutcome> {
    let mut told = office.world.sink.all();
    told.retain(|it| {
        let is_of = it.entity_id.as_ref().is_some_and(|id| id.as_str() == name);
        is_of && it.origin == Origin::Queue
    });
    told
}

/// A row that repeats a job of the queue is answered, and does not stand for the answer that the queue
/// waits for.
#[tokio::test(start_paused = true)]
async fn i4_a_row_that_repeats_a_job_of_the_queue_does_not_take_its_outcome_away() {
    let mut office = office().await;
    office.world.bank.script("r", &[Does::Refuse]);
    office.queue.put(&[job("r", 1)]);
    office.world.sink.set_full(true);
    let worker = office.start();
    let_pass(Duration::from_secs(1)).await;
    worker.kill().await;
    office.world.sink.set_full(false);
    run_file(&mut office, &[job("r", 1)]).await;
    assert_eq!(office.world.answers.of("r"), [Some(Status::Rejected)]);
    assert!(told_to_queue(&office, "r").is_empty());
    // The message itself is lost, as one that was acknowledged with a doubt is.
    let ledger = &office.world.ledger;
    let unpublished = ledger.unpublished(&[Origin::Queue], 9).await;
    assert_eq!(unpublished.expect("memory").len(), 1);
    let worker = office.start();
    office.settle(HOUR).await;
    worker.stop().await;
    assert!(!told_to_queue(&office, "r").is_empty());
}

/// A message about a job of a file is answered with an outcome of its own once the job is over, wherever
/// that stands when it comes.
#[tokio::test(start_paused = true)]
async fn i3_i4_a_message_about_a_job_of_a_file_gets_its_outcome() {
    for ends in [Does::ApplyAndLoseReply, Does::LoseRequest] {
        let mut office = office().await;
        office.world.bank.script("a", &[ends]);
        let down = ListFault::Unreachable("connection refused".to_owned());
        office.world.bank.fail_reading(down);
        run_file(&mut office, &[job("a", 1)]).await;
        assert_eq!(office.world.sink.statuses("a"), [Status::InDoubt]);
        let worker = office.start();
        office.queue.put_again(&[job("a", 1)]);
        office.queue.put(&[job("b", 1)]);
        let_pass(Duration::from_secs(60)).await;
        office.world.bank.read_again();
        office.settle(10 * HOUR).await;
        worker.stop().await;
        office.judge("");
        let told = told_to_queue(&office, "a");
        let last = told.last().expect("it was told");
        assert_eq!(last.status, Status::Succeeded, "{ends:?}");
        assert_eq!(told.len(), 1, "once: {ends:?}");
        assert!(!last.published, "the queue had not heard of it before");
    }
}

/// The ledger holds a job of a file, behind a doubt of its card, and a message about it comes.
#[tokio::test(start_paused = true)]
async fn i3_i4_a_message_about_a_held_job_of_a_file_gets_its_outcome() {
    let mut office = office().await;
    office.world.bank.script("first", &[Does::LoseRequest]);
    office.world.bank.script("again", &[Does::Refuse]);
    office.world.settings.holding = Some(Holding {
        hold_max: HOUR,
        give_back_after: HOUR,
    });
    run_file(&mut office, &[job("again", 1)]).await;
    office.queue.put(&[job("first", 1)]);
    let worker = office.start();
    let_pass(Duration::from_secs(5)).await;
    let redrive = Wish::Redrive {
        entity_id: job("again", 1).entity_id,
        generation: Generation::FIRST.next(),
    };
    office.ask(redrive).await;
    let_pass(Duration::from_secs(5)).await;
    assert_eq!(office.world.ledger.held_count().await.expect("memory"), 1);
    office.queue.put_again(&[job("again", 1)]);
    let_pass(Duration::from_secs(5)).await;
    assert_eq!(office.queue.len(), 1, "it waits for its outcome");
    office.settle(HOUR).await;
    worker.stop().await;
    let told: Vec<_> = told_to_queue(&office, "again");
    let statuses: Vec<_> = told.iter().map(|it| it.status).collect();
    assert_eq!(statuses, [Status::Succeeded]);
}

/// A person is needed for a job of the queue, found out by a process that cannot say so there: the worker
/// does, with the dead letter.
#[tokio::test(start_paused = true)]
async fn a_person_is_called_where_the_dead_letter_can_be_sent() {
    let mut office = office().await;
    office.world.bank.script("a", &[Does::LoseRequest]);
    office.queue.put(&[job("a", 1)]);
    let worker = office.start();
    let_pass(Duration::from_millis(100)).await;
    worker.kill().await;
    let other = Job {
        operation: Operation::Withdrawal,
        ..job("a", 1)
    };
    office.world.bank.movement(&other);
    run_file(&mut office, &[job("row", 2)]).await;
    assert!(
        told_to_queue(&office, "a")
            .iter()
            .all(|it| it.letter.is_none())
    );
    let worker = office.start();
    let_pass(HOUR).await;
    worker.stop().await;
    let told = told_to_queue(&office, "a");
    assert!(told.iter().any(|it| it.letter.is_some()), "{told:?}");
}
