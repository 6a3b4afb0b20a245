//! The engine is killed around every durable step, call, publication and answer, one after the other; a
//! second engine on the same ledger must finish the work, and the bank's books judge. The list of
//! points is generated: it ends where a run no longer reaches the next one.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use tanda::domain::job::Job;
use tanda::domain::outcome::Status;
use tanda::domain::time::Timestamp;
use tanda::engine::EngineError;
use tanda::engine::doors::{self, Broken, Guard, Point};
use tanda::engine::ports::{Control, Sight};
use tanda::ledger::MemoryLedger;

use crate::support::fuse::Fuse;
use crate::support::judge::{Does, World, job, let_pass};

fn jobs() -> Vec<Job> {
    [
        "plain",
        "lost-reply",
        "lost-request",
        "refused",
        "refused-after-lost",
        "conflict-409",
    ]
    .into_iter()
    .zip(1..)
    .flat_map(|(name, card)| [job(name, card), job(&format!("{name}-second"), card)])
    .collect()
}

/// A world in which the positive control is on record: without it an absence proves nothing, and
/// jobs that were never applied would rightly stay in doubt.
async fn world() -> World {
    let world = World::new(Arc::new(MemoryLedger::new()));
    let entity_id = job("control", 99).entity_id;
    let control = Control {
        entity_id,
        seen_at: Timestamp::from_millis(0),
    };
    world.ledger.note_control(control).await.expect("memory");
    world
        .bank
        .script("lost-reply", &[Does::ApplyAndLoseReply; 3]);
    world.bank.script("lost-request", &[Does::LoseRequest; 3]);
    world.bank.script("refused", &[Does::Refuse; 5]);
    world.bank.script(
        "refused-after-lost",
        &[Does::LoseRequest, Does::Refuse, Does::Refuse],
    );
    world.bank.script("conflict-409", &[Does::Conflict]);
    world
}

/// Whether the fuse blew before the run was over.
async fn run_until_killed(world: &World, kill_at: usize) -> bool {
    let fuse = Fuse::new(kill_at);
    let (_stopper, stop) = tanda::engine::stop::signal();
    let (pauses, _) = tokio::sync::watch::channel(None);
    let (ports, source) = fuse.guard(world.ports(), world.source(&jobs()));
    tokio::select! {
        biased;
        () = fuse.blown() => true,
        ended = tanda::engine::run(ports, world.settings.clone(), source, stop, &pauses) => {
            ended.expect("the engine runs");
            false
        }
    }
}

async fn judge(world: &World, kills: &[usize]) {
    let applied = world.bank.applied();
    for (entity_id, times) in &applied {
        assert_eq!(*times, 1, "I1: {entity_id} after kills at {kills:?}");
    }
    for job in jobs() {
        let id = job.entity_id.as_str();
        let statuses = world.sink.statuses(id);
        let finals: BTreeSet<_> = statuses.iter().filter(|status| status.is_final()).collect();
        assert_eq!(
            finals.len(),
            1,
            "I4: {id} has {statuses:?} after kills at {kills:?}"
        );
        let succeeded = finals.contains(&Status::Succeeded);
        assert_eq!(
            succeeded,
            applied.contains_key(id),
            "I5, I14: {id} is {finals:?} after kills at {kills:?}"
        );
        let sights = world
            .ledger
            .look(vec![job.entity_id.clone()])
            .await
            .expect("memory");
        assert!(matches!(sights.as_slice(), [Sight::Known { .. }]));
        for outcome in world.sink.all() {
            let same = world
                .sink
                .all()
                .into_iter()
                .filter(|o| o.event_id == outcome.event_id);
            assert!(
                same.map(|o| o.body).all(|body| body == outcome.body),
                "I4: other bytes"
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn i1_i5_a_kill_at_any_step_pays_once_and_loses_nothing() {
    for kill_at in 1.. {
        let world = world().await;
        let killed = run_until_killed(&world, kill_at).await;
        world.run(&jobs()).await;
        judge(&world, &[kill_at]).await;
        if !killed {
            assert!(
                kill_at > 100,
                "only {kill_at} steps: the fuse is not in the way"
            );
            break;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn i1_i13_kill_after_kill_still_settles_everything_once() {
    for stride in [3, 7, 11, 23, 40] {
        let world = world().await;
        let mut kills = Vec::new();
        while kills.len() < 60 && run_until_killed(&world, stride).await {
            kills.push(stride);
        }
        world.run(&jobs()).await;
        judge(&world, &kills).await;
    }
}

/// Tells that the first intent is not durable, and lets the source take a minute to go.
#[derive(Default)]
struct FailsOnce(AtomicBool);

#[async_trait]
impl Guard for FailsOnce {
    async fn at(&self, point: Point) -> Result<(), Broken> {
        match point.to_string().as_str() {
            "ledger.begin.before" if !self.0.swap(true, Ordering::SeqCst) => Err(Broken(point)),
            "source.withdraw.before" => {
                let_pass(Duration::from_secs(60)).await;
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

/// Otherwise each is in doubt for the next process, and waits for a person where the bank's list has shown
/// nothing yet.
#[tokio::test(start_paused = true)]
async fn f2_i9_once_the_ledger_has_failed_nothing_more_is_begun() {
    let world = World::new(Arc::new(MemoryLedger::new()));
    let jobs: Vec<_> = (1..=40)
        .map(|card| job(&format!("J-{card}"), card))
        .collect();
    let guard: Arc<dyn Guard> = Arc::new(FailsOnce::default());
    let (_stopper, stop) = tanda::engine::stop::signal();
    let (pauses, _) = tokio::sync::watch::channel(None);
    let ports = doors::guarded(world.ports(), &guard);
    let source = doors::guarded_source(world.source(&jobs), &guard);
    let ended = tanda::engine::run(ports, world.settings.clone(), source, stop, &pauses).await;
    assert!(matches!(ended, Err(EngineError::Ledger(_))), "{ended:?}");
    let ids = jobs.iter().map(|job| job.entity_id.clone()).collect();
    let sights = world.ledger.look(ids).await.expect("memory");
    let begun = sights.iter().filter(|it| matches!(it, Sight::Known { .. }));
    let (begun, at_once) = (begun.count(), world.settings.concurrency);
    // Those that had their turn, and those that had it before the failure was heard of.
    assert!(begun <= 2 * at_once, "{begun} of {} were begun", jobs.len());
}
