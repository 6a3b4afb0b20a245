//! Faults of time: a request that arrives late, a clock that jumps. On a paused clock.

use std::sync::Arc;
use std::time::Duration;

use tanda::domain::job::Job;
use tanda::domain::outcome::Status;
use tanda::ledger::MemoryLedger;

use crate::support::judge::{Does, World, job, let_pass, wall_is_set_back, wall_jumps, wall_now};

const MONTH: Duration = Duration::from_secs(30 * 86_400);

fn asks_first() -> World {
    let mut world = World::new(Arc::new(MemoryLedger::new()));
    world.settings.rules.resend_window = Duration::ZERO;
    world
}

fn paid_once(world: &World, name: &str, told: &str) {
    let applied = world.bank.applied();
    assert_eq!(applied.get(name), Some(&1), "I1: {told}");
    let last = world.sink.statuses(name).pop();
    assert_eq!(last, Some(Status::Succeeded), "{told}");
}

/// A request whose answer never came is executed after our timeout, at any time within the settle delay
/// and, beyond what is assumed of the bank, up to the second absence: it is found, and not paid again.
#[tokio::test(start_paused = true)]
async fn f34_i1_a_request_that_is_executed_late_is_paid_once() {
    for late_s in [1, 30, 61, 120, 299, 305, 315, 375] {
        let world = asks_first();
        world.bank.script("late", &[Does::LoseRequest]);
        let arrives = async {
            let_pass(Duration::from_secs(late_s)).await;
            world.bank.arrive("late");
        };
        let jobs = [job("control", 9), job("late", 1)];
        tokio::join!(world.run(&jobs), arrives);
        let told = format!("executed after {late_s} s");
        paid_once(&world, "late", &told);
        assert_eq!(world.bank.calls_for("late").len(), 1, "{told}");
    }
}

/// The wall clock jumps by a month, forward or back, while a job is in doubt whose request is still to be
/// executed: nothing is believed absent before its time.
#[tokio::test(start_paused = true)]
async fn f35_i1_a_wall_clock_that_jumps_by_a_month_pays_nothing_twice() {
    for jumps_after_s in [1, 65, 200] {
        for jump in [wall_jumps, wall_is_set_back] {
            let world = asks_first();
            world.bank.script("late", &[Does::LoseRequest]);
            let meanwhile = async {
                let_pass(Duration::from_secs(jumps_after_s)).await;
                jump(MONTH);
                let_pass(Duration::from_secs(298 - jumps_after_s)).await;
                world.bank.arrive("late");
            };
            let jobs = [job("control", 9), job("late", 1)];
            tokio::join!(world.run(&jobs), meanwhile);
            let told = format!("the clock jumps after {jumps_after_s} s");
            paid_once(&world, "late", &told);
            assert_eq!(world.bank.calls_for("late").len(), 1, "{told}");
        }
    }
}

/// I8: a clock that is set back opens no resend window anew, and one that is set forward only closes it.
#[tokio::test(start_paused = true)]
async fn f35_i8_a_clock_that_jumps_leaves_the_resend_window_as_short_as_it_is() {
    for jump in [wall_jumps, wall_is_set_back] {
        let world = World::new(Arc::new(MemoryLedger::new()));
        world.bank.script("a", &[Does::LoseRequest; 40]);
        let meanwhile = async {
            let_pass(Duration::from_secs(100)).await;
            jump(MONTH);
        };
        let jobs = [job("control", 9), job("a", 1)];
        tokio::join!(world.run(&jobs), meanwhile);
        let calls = world.bank.calls_for("a");
        assert!(calls.len() > 3, "resent, and begun anew");
        let mut began = calls.first().expect("a call").at;
        for (before, call) in calls.iter().zip(calls.iter().skip(1)) {
            // Only proof of absence brings a new window: 310 and 380 s after the last send.
            if call.at - before.at >= Duration::from_secs(370) {
                began = call.at;
            }
            let open_for = call.at - began;
            assert!(
                open_for < Duration::from_secs(600),
                "resent after {open_for:?}"
            );
        }
        assert!(
            world
                .bank
                .applied()
                .get("a")
                .is_none_or(|times| *times == 1)
        );
    }
}

/// A job whose `not_after` has passed by the later of the two clocks is not sent at all.
#[tokio::test(start_paused = true)]
async fn f35_a_job_that_one_clock_says_is_too_late_is_not_sent() {
    let world = World::new(Arc::new(MemoryLedger::new()));
    let expiring = Job {
        not_after: Some(wall_now().plus(Duration::from_secs(3_600))),
        ..job("a", 1)
    };
    wall_jumps(Duration::from_secs(3_601));
    world.run(&[expiring]).await;
    assert_eq!(world.sink.statuses("a"), [Status::NotSent]);
    assert_eq!(world.bank.calls_for("a").len(), 0);
}
