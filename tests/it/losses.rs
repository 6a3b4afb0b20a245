//! A ledger that has forgotten, in whole or in part, and whose loss was accepted: nothing is paid twice,
//! what can be known is found out, and the rest waits for a person. On a paused clock.

use std::sync::Arc;
use std::time::Duration;

use tanda::domain::key::Generation;
use tanda::domain::outcome::Status;
use tanda::domain::request::{EvidenceText, Person, Ruling, Wish};
use tanda::engine::ports::{Ledger as _, Origin};
use tanda::ledger::MemoryLedger;

use crate::support::fuse::Fuse;
use crate::support::judge::{CALL_TAKES, Does, World, job, let_pass, wall_now};
use crate::support::queue::Office;

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);

fn ana() -> Person {
    Person::parse("Ana").expect("a name")
}

/// A world in which the list has proven itself, and its books.
async fn world() -> (World, MemoryLedger) {
    let ledger = MemoryLedger::new();
    let world = World::new(Arc::new(ledger.clone())).proven().await;
    (world, ledger)
}

async fn office(in_flight: usize) -> (Office, MemoryLedger) {
    let ledger = MemoryLedger::new();
    let office = Office::open(Arc::new(ledger.clone()), in_flight).await;
    (office, ledger)
}

fn lose(ledger: &MemoryLedger) {
    ledger.lose_all_but(&MemoryLedger::new(), ana(), wall_now());
}

#[tokio::test(start_paused = true)]
async fn f23_i1_what_was_paid_in_a_forgotten_time_is_found_and_not_paid_again() {
    let (world, ledger) = world().await;
    let before = [job("paid", 1), job("lost-reply", 2), job("refused", 3)];
    world.bank.script("lost-reply", &[Does::ApplyAndLoseReply]);
    world.bank.script("refused", &[Does::Refuse; 2]);
    world.run(&before).await;
    lose(&ledger);
    let after = [&before[..], &[job("new", 4)]].concat();
    world.run(&after).await;
    for name in ["paid", "lost-reply", "new"] {
        assert_eq!(world.bank.applied().get(name), Some(&1), "I1: {name}");
    }
    let told = |name: &str| world.sink.statuses(name);
    assert_eq!(told("paid"), [Status::Succeeded, Status::InDoubt]);
    assert_eq!(told("new"), [Status::InDoubt, Status::Succeeded]);
    assert_eq!(told("refused"), [Status::Rejected, Status::InDoubt]);
}

/// A request of the forgotten time may still be on its way: no absence counts before it must be listed.
#[tokio::test(start_paused = true)]
async fn f23_i1_nothing_is_sent_while_the_forgotten_time_may_still_arrive() {
    let (world, ledger) = world().await;
    lose(&ledger);
    let began = tokio::time::Instant::now();
    world.run(&[job("a", 1)]).await;
    let calls = world.bank.calls();
    let first = calls.first().expect("it is sent at last");
    assert!(first.at - began >= 6 * MINUTE, "{:?}", first.at - began);
    // A restart begins that wait anew, until it is on record as over.
    lose(&ledger);
    let began = tokio::time::Instant::now();
    world.run(&[job("b", 1)]).await;
    let calls = world.bank.calls();
    assert!(calls.last().expect("sent").at - began >= 6 * MINUTE);
}

/// Long after it, one reading of the list comes before each job that is not known, and no doubt.
#[tokio::test(start_paused = true)]
async fn long_after_a_loss_a_job_costs_one_reading_of_the_list_and_no_doubt() {
    let (world, ledger) = world().await;
    lose(&ledger);
    world.run(&[job("a", 1)]).await;
    let loss = ledger.loss().await.expect("memory").expect("a loss");
    assert!(loss.is_past);
    let (lists, movement) = (world.bank.lists(), job("moved", 3));
    world.bank.movement(&movement);
    world.run(&[job("b", 2), movement]).await;
    assert_eq!(world.sink.statuses("b"), [Status::Succeeded]);
    assert_eq!(world.sink.statuses("moved"), [Status::Succeeded]);
    assert_eq!(world.bank.applied().get("moved"), Some(&1), "I1");
    assert_eq!(world.bank.lists() - lists, 2);
}

/// A list that has not proven itself lets nothing go; what it shows of a forgotten time proves it.
#[tokio::test(start_paused = true)]
async fn i1_a_loss_without_the_control_lets_nothing_go_until_the_list_shows_something() {
    let ledger = MemoryLedger::new();
    let world = World::new(Arc::new(ledger.clone()));
    lose(&ledger);
    world.run(&[job("a", 1)]).await;
    assert!(world.bank.calls().is_empty());
    assert_eq!(world.sink.statuses("a"), [Status::InDoubt]);
    world.bank.movement(&job("paid-before", 2));
    world.run(&[job("paid-before", 2), job("b", 3)]).await;
    assert_eq!(world.sink.statuses("b").last(), Some(&Status::Succeeded));
    assert_eq!(world.bank.applied().get("paid-before"), Some(&1), "I1");
}

#[tokio::test(start_paused = true)]
async fn f1_f22_what_was_delivered_in_a_forgotten_time_and_is_not_listed_waits_for_a_person() {
    let (office, ledger) = office(16).await;
    office.world.bank.hang();
    office.queue.put(&[job("delivered", 1), job("behind", 1)]);
    let worker = office.start();
    let_pass(MINUTE).await;
    worker.kill().await;
    office.world.bank.work_again();
    lose(&ledger);
    office.queue.put(&[job("fresh", 2)]);
    let worker = office.start();
    let_pass(2 * DAY).await;
    assert!(office.world.bank.applied().get("fresh") == Some(&1));
    for name in ["delivered", "behind"] {
        assert_eq!(office.world.bank.applied().get(name), None, "{name}");
        let told = office.world.sink.statuses(name);
        assert_eq!(told.last(), Some(&Status::InDoubt), "{name}: {told:?}");
    }
    // A person says that nothing moved, and has it run again.
    office
        .ask(Wish::Settle {
            entity_id: job("delivered", 1).entity_id,
            ruling: Ruling::NotSent,
            evidence: EvidenceText::parse("the bank's letter").expect("a text"),
        })
        .await;
    let_pass(HOUR).await;
    assert_eq!(
        office.world.sink.statuses("delivered").last(),
        Some(&Status::NotSent)
    );
    worker.stop().await;
}

/// What comes for the first time after a loss is known to have done so, however often it is given back.
#[tokio::test(start_paused = true)]
async fn what_came_after_a_loss_is_not_taken_for_what_came_before_it() {
    let (office, ledger) = office(16).await;
    lose(&ledger);
    office.queue.put(&[job("a", 1), job("b", 1), job("c", 2)]);
    for _ in 0..5 {
        let worker = office.start();
        let_pass(Duration::from_millis(30)).await;
        worker.kill().await;
        office.queue.lose();
    }
    let worker = office.start();
    office.settle(HOUR).await;
    worker.stop().await;
    office.judge("");
    assert_eq!(office.world.bank.applied().len(), 3);
}

/// An older copy: what it holds, releases and has in doubt is believed no further than it goes.
#[tokio::test(start_paused = true)]
async fn f22_i1_an_older_copy_pays_nothing_twice_whatever_it_holds() {
    let (mut office, ledger) = office(16).await;
    office.world.settings.rules.resend_window = Duration::ZERO;
    office.world.bank.script("a", &[Does::LoseRequest]);
    let of_card = [job("a", 1), job("b", 1), job("c", 1)];
    office.queue.put(&of_card);
    let worker = office.start();
    while ledger.held_count().await.expect("memory") < 2 {
        let_pass(Duration::from_millis(1)).await;
    }
    let old = ledger.copy();
    office.settle(HOUR).await;
    worker.stop().await;
    assert_eq!(office.world.bank.applied().len(), 3);
    ledger.lose_all_but(&old, ana(), wall_now());
    let worker = office.start();
    office.settle(HOUR).await;
    worker.stop().await;
    for (name, times) in office.world.bank.applied() {
        assert_eq!(times, 1, "I1: {name}");
    }
    let unpublished = ledger.unpublished(&Origin::ALL, 9).await.expect("memory");
    assert!(unpublished.is_empty());
}

/// Several jobs of a card may have been sent in the forgotten time: each is asked about, and they are called
/// one at a time.
#[tokio::test(start_paused = true)]
async fn f22_i7_what_an_older_copy_has_open_of_one_card_is_called_one_at_a_time() {
    let (mut world, ledger) = world().await;
    world.settings.rules.resend_window = Duration::ZERO;
    let of_card = [job("a", 1), job("b", 1), job("c", 1)];
    // What was given back, on record as not executed, does not keep the next of its card from beginning.
    for job in &of_card {
        let name = job.entity_id.as_str();
        world.bank.script(name, &[Does::RateLimit; 99]);
        let is_called = async {
            while world.bank.calls_for(name).is_empty() {
                let_pass(CALL_TAKES).await;
            }
        };
        world
            .while_running(std::slice::from_ref(job), is_called)
            .await;
        world.bank.script(name, &[]);
    }
    ledger.lose_all_but(&ledger.copy(), ana(), wall_now());
    let before = world.bank.calls().len();
    world.run(&of_card).await;
    let calls = world.bank.calls().split_off(before);
    assert_eq!(calls.len(), of_card.len());
    for (one, next) in calls.iter().zip(&calls[1..]) {
        let apart = next.at - one.at;
        assert!(apart >= CALL_TAKES, "I7: {one:?} and {next:?}");
    }
    for (name, times) in world.bank.applied() {
        assert_eq!(times, 1, "I1: {name}");
    }
}

/// What the copy calls its last sign of life says nothing about when the process died that is forgotten.
#[tokio::test(start_paused = true)]
async fn f22_i5_after_a_loss_a_ruling_waits_from_when_the_loss_was_accepted() {
    let (world, ledger) = world().await;
    let id = job("a", 1).entity_id;
    let settle = || Wish::Settle {
        entity_id: id.clone(),
        ruling: Ruling::NotSent,
        evidence: EvidenceText::parse("the bank's letter").expect("words"),
    };
    let attend = async || {
        let asked = ledger.request(settle(), ana(), wall_now()).await;
        asked.expect("memory");
        let (_stopper, stop) = tanda::engine::stop::signal();
        let attended = tanda::engine::attend(world.ports(), world.settings.clone(), stop).await;
        attended.expect("it attends");
    };
    let is_over = async || {
        let open = ledger.open_job(id.clone()).await.expect("memory");
        open.is_none()
    };
    world.bank.hang();
    let jobs = [job("a", 1)];
    let run = tokio::time::timeout(MINUTE, world.run(&jobs)).await;
    assert!(run.is_err(), "it is killed in the middle of the call");
    world.bank.work_again();
    let old = ledger.copy();
    let_pass(HOUR).await;
    ledger.lose_all_but(&old, ana(), wall_now());
    attend().await;
    assert!(!is_over().await, "too early");
    let_pass(6 * MINUTE).await;
    attend().await;
    assert!(is_over().await, "nothing can arrive any more");
}

/// Killed at every step, then the ledger is lost, accepted, and the same jobs come again.
#[tokio::test(start_paused = true)]
async fn f23_i1_i5_a_kill_at_any_step_and_the_loss_of_the_ledger_pay_once() {
    let jobs = || {
        let names = ["plain", "lost-reply", "lost-request", "refused"];
        let all = names.into_iter().zip(1..);
        all.map(|(name, card)| job(name, card)).collect::<Vec<_>>()
    };
    for kill_at in 1.. {
        let (world, ledger) = world().await;
        world.bank.script("lost-reply", &[Does::ApplyAndLoseReply]);
        world.bank.script("lost-request", &[Does::LoseRequest]);
        world.bank.script("refused", &[Does::Refuse; 9]);
        let fuse = Fuse::new(kill_at);
        let (_stopper, stop) = tanda::engine::stop::signal();
        let (pauses, _) = tokio::sync::watch::channel(None);
        let (ports, source) = fuse.guard(world.ports(), world.source(&jobs()));
        let killed = tokio::select! {
            biased;
            () = fuse.blown() => true,
            ended = tanda::engine::run(ports, world.settings.clone(), source, stop, &pauses) => {
                ended.expect("the engine runs");
                false
            }
        };
        lose(&ledger);
        world.run(&jobs()).await;
        for name in ["plain", "lost-reply", "lost-request"] {
            let times = world.bank.applied().get(name).copied();
            assert_eq!(times, Some(1), "I1: {name} after a kill at {kill_at}");
            let told = world.sink.statuses(name);
            assert!(
                told.contains(&Status::Succeeded),
                "{name}: {told:?} at {kill_at}"
            );
            assert!(
                !told.contains(&Status::Rejected),
                "I5: {name}: {told:?} at {kill_at}"
            );
        }
        assert_eq!(world.bank.applied().get("refused"), None);
        if !killed {
            assert!(
                kill_at > 40,
                "only {kill_at} steps: the fuse is not in the way"
            );
            break;
        }
    }
}

/// An older copy holds a job that is run again, and it was paid in the forgotten time: nothing is said of it
/// before the list has.
#[tokio::test(start_paused = true)]
async fn f22_i5_a_later_generation_that_an_older_copy_holds_is_not_called_unsent() {
    let (mut office, ledger) = office(16).await;
    office.world.settings.rules.resend_window = Duration::ZERO;
    office.world.bank.script("a", &[Does::Refuse]);
    office.queue.put(&[job("a", 1)]);
    let worker = office.start();
    office.settle(HOUR).await;
    office.world.bank.script("first", &[Does::LoseRequest]);
    office.queue.put(&[job("first", 1)]);
    let_pass(Duration::from_secs(1)).await;
    office
        .ask(Wish::Redrive {
            entity_id: job("a", 1).entity_id,
            generation: Generation::FIRST.next(),
        })
        .await;
    while ledger.held_count().await.expect("memory") < 1 {
        let_pass(Duration::from_millis(1)).await;
    }
    let old = ledger.copy();
    office.settle(HOUR).await;
    worker.stop().await;
    assert_eq!(office.world.bank.applied().len(), 2);
    ledger.lose_all_but(&old, ana(), wall_now());
    let worker = office.start();
    office.settle(HOUR).await;
    worker.stop().await;
    assert_eq!(office.world.bank.applied().get("a"), Some(&1), "I1");
    let told = office.world.sink.statuses("a");
    assert!(!told.contains(&Status::NotSent), "I5: {told:?}");
    assert_eq!(told.last(), Some(&Status::InDoubt), "{told:?}");
    let kept = ledger.look(vec![job("a", 1).entity_id]).await;
    let kept = format!("{:?}", kept.expect("memory"));
    assert!(kept.contains("status: Succeeded"), "{kept}");
}
