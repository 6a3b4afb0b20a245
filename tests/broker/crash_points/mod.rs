//! Crash points: the real worker, on a real broker and the real ledger, crashes before, in the middle of
//! and after everything it does; what follows must settle everything, each job once, by the bank's books.
//!
//! The list of points is the code's own (`tanda::engine::doors`). Lives of a few crashes each go through
//! every point at its first time, aborted and told an error.
//!
//! | `TANDA_CRASH_POINTS` | is |
//! |---|---|
//! | not set | every point at its first time, and a fixed share of what comes later |
//! | `all` | every point by its first 20 times; `all/12` is every twelfth life of these |
//! | `ledger.begin.after:3=abort` | one life with this crash; several have commas between them, and a scene such as `Resends` may be one of them |

mod book;
mod book_bites;
mod life;
mod scene;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use tanda::engine::doors::{self, Kind, Place, Point};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use self::life::{Crash, Ended, How, Life};
use self::scene::{Scene, Size};

/// Lives at once: they wait more than they work.
const LIVES_AT_ONCE: usize = 6;
/// Times that a point is reached of which each is a crash.
const HITS: u64 = 20;
/// Of so many later crashes of the traffic one is made where not all are. A number that shares no factor
/// with that of the points, so that each has its turn at some hit.
const SHARE_OF: usize = 31;
/// Later crashes that may be missed: chance deals the bank's faults, and a life has other crashes before.
const MISSED_MOST_PERCENT: usize = 25;
/// A crash in the middle is made again where a busy machine had not let the bytes out yet. Each is judged.
const TRIES_IN_THE_MIDDLE: usize = 3;
/// Lives of a long run after which it says how far it has come.
const TELL_EVERY_LIVES: usize = 25;

/// Points that no worker reaches, and why.
const NOT_REACHED: &[(&str, &str)] = &[(
    "ledger.request",
    "people's commands write requests beside the process that pays; the engine only answers them",
)];

/// Doors that are passed only until the bank's list has proven itself, which it does once in a life.
const ONCE_IN_A_LIFE: &[&str] = &["ledger.last_accepted", "ledger.note_control"];

/// The crash points of the faults' table (F1 to F6), as the code has them.
const TABLE: &[(&str, &[&str])] = &[
    ("C0 delivered", &["source.next.after=abort"]),
    (
        "C1 row stored: one commit with C3",
        &["ledger.begin.after=abort"],
    ),
    (
        "C2 intent commit errored",
        &["ledger.begin.before=error", "ledger.begin.after=error"],
    ),
    (
        "C3 intent durable",
        &["ledger.begin.after=abort", "bank.apply.before=abort"],
    ),
    ("C4 bytes sent", &["bank.apply.during=abort"]),
    (
        "C5 answer in memory",
        &[
            "bank.apply.after=abort",
            "ledger.settle.before=abort",
            "ledger.doubt.before=abort",
        ],
    ),
    (
        "C6 outcome durable",
        &[
            "ledger.settle.after=abort",
            "ledger.doubt.after=abort",
            "sink.publish.before=abort",
        ],
    ),
    (
        "C7 published without confirm",
        &["sink.publish.during=abort", "sink.publish.after=error"],
    ),
    (
        "C8 confirmed",
        &[
            "sink.publish.after=abort",
            "ledger.mark_published.before=abort",
        ],
    ),
    (
        "C9 marked published",
        &["ledger.mark_published.after=abort"],
    ),
    (
        "C10 answered, and the answer lost",
        &["receipt.done.before=error", "receipt.done.after=abort"],
    ),
];

/// After which crashes the ledger is lost as they left it: something is in memory, begun, in doubt, told or
/// taken at each.
const LOST_AFTER: &[&str] = &[
    "bank.apply.during:3=abort",
    "bank.apply.after:3=abort",
    "ledger.settle.after:3=abort",
    "ledger.doubt.after:2=abort",
    "sink.publish.after:3=abort",
    "receipt.done.after:3=abort",
];

fn is_reachable(point: &Point) -> bool {
    NOT_REACHED.iter().all(|(door, _)| *door != point.door.name)
}

/// The scene in which a point is reached soonest.
fn scene_of(point: &Point) -> Scene {
    match point.door.name {
        "ledger.release" | "receipt.back" | "source.stop" | "source.withdraw" | "bank.probe" => {
            Scene::Stopping
        }
        "ledger.call_person"
        | "ledger.job_of"
        | "ledger.open_job"
        | "ledger.answer"
        | "ledger.first_begun_at"
        | "ledger.generations_of" => Scene::People,
        "ledger.note_loss_is_past" | "ledger.note_arrivals" | "ledger.has_arrived" => Scene::Loss,
        _ => Scene::Traffic,
    }
}

/// Both crashes of a point, where they differ.
fn hows(point: Point) -> impl Iterator<Item = How> {
    [How::Abort, How::Error]
        .into_iter()
        .filter(move |how| *how == How::Abort || point.can_break())
}

fn crashes_at(hit: u64) -> Vec<Crash> {
    let points = doors::points().filter(is_reachable);
    let crashes = points.flat_map(|point| {
        hows(point).map(move |how| Crash {
            scene: scene_of(&point),
            point,
            hit,
            how,
        })
    });
    crashes.collect()
}

/// The crashes of the faults' table, with a resend window: most of those who use it have one. Late enough
/// for something to have been sent again.
fn table_with_resends() -> impl Iterator<Item = Crash> {
    let crashes = TABLE
        .iter()
        .flat_map(|(_, crashes)| crashes.iter().copied());
    let crashes: BTreeSet<&str> = crashes.collect();
    let late = |crash: &str| -> Crash {
        let crash = crash_of(&crash.replace('=', ":1="));
        Crash {
            scene: Scene::Resends,
            hit: match crash.point.door.name {
                // Where a resend has a clear answer there is no doubt.
                "ledger.doubt" => 2,
                // Some in one.
                "ledger.mark_published" => 3,
                _ => 8,
            },
            ..crash
        }
    };
    crashes.into_iter().map(late)
}

/// Each is the first of a life: crashes go to lives in their order, and before the second the ledger is lost.
fn lost_after() -> impl Iterator<Item = Crash> {
    LOST_AFTER.iter().map(|crash| Crash {
        scene: Scene::Loss,
        ..crash_of(crash)
    })
}

/// A share of all later crashes of what makes something durable, sends, publishes or answers: always the
/// same, because a commit is judged the same on every day.
fn share_of_later() -> Vec<Crash> {
    let lasting = |crash: &Crash| match crash.point.door.kind {
        Kind::Step | Kind::Send | Kind::Publish | Kind::Answer => true,
        Kind::Read | Kind::Take => false,
    };
    let later = (2..=HITS).flat_map(crashes_at).filter(lasting);
    let later = later.filter(|crash| {
        crash.scene == Scene::Traffic && !ONCE_IN_A_LIFE.contains(&crash.point.door.name)
    });
    let with_resends = |(number, crash): (usize, Crash)| Crash {
        scene: if number % 2 == 0 {
            Scene::Resends
        } else {
            crash.scene
        },
        ..crash
    };
    let share = later.step_by(SHARE_OF).enumerate();
    share.map(with_resends).collect()
}

/// What came of one life.
struct Lived {
    crashes: Vec<Crash>,
    missed: Vec<Crash>,
    ended: Ended,
}

async fn live(crashes: Vec<Crash>, size: Size) -> Lived {
    let scene = crashes.first().expect("a life has a crash").scene;
    let mut life = Life::begin(scene, size).await;
    let mut missed = Vec::new();
    for crash in &crashes {
        let stays = crashes.len() == 1;
        let tries = match crash.point.place {
            Place::During => TRIES_IN_THE_MIDDLE,
            Place::Before | Place::After => 1,
        };
        let mut was_made = false;
        for _ in 0..tries {
            was_made = was_made || life.crash(crash, stays).await;
        }
        if !was_made {
            missed.push(*crash);
        }
    }
    life.settle().await;
    Lived {
        ended: life.end().await,
        crashes,
        missed,
    }
}

/// Lives all of these, a few at a time.
async fn live_all(lives: Vec<Vec<Crash>>, size: Size) -> Vec<Lived> {
    let count = lives.len();
    let turns = Arc::new(Semaphore::new(LIVES_AT_ONCE));
    let over = Arc::new(AtomicUsize::new(0));
    let began = Instant::now();
    let mut living = JoinSet::new();
    for crashes in lives {
        let (turns, over) = (Arc::clone(&turns), Arc::clone(&over));
        living.spawn(async move {
            let _turn = turns.acquire_owned().await.expect("never closed");
            let life = live(crashes, size).await;
            let over = over.fetch_add(1, Ordering::SeqCst) + 1;
            if over.is_multiple_of(TELL_EVERY_LIVES) {
                let seconds = began.elapsed().as_secs();
                eprintln!("{over} of {count} lives are over after {seconds} s");
            }
            life
        });
    }
    let mut all = Vec::new();
    while let Some(lived) = living.join_next().await {
        all.push(lived.unwrap_or_else(|error| Lived {
            crashes: Vec::new(),
            missed: Vec::new(),
            ended: Ended {
                faults: vec![said_in_panic(error)],
                ..Ended::default()
            },
        }));
    }
    all
}

/// What a life said when it could not go on.
fn said_in_panic(error: tokio::task::JoinError) -> String {
    let panic = error.into_panic();
    let text = panic.downcast_ref::<String>().cloned();
    text.unwrap_or_else(|| format!("{:?}", panic.downcast_ref::<&str>()))
}

fn judge(all: &[Lived]) {
    let faults: Vec<_> = all.iter().flat_map(|lived| &lived.ended.faults).collect();
    assert!(faults.is_empty(), "{} faults: {faults:#?}", faults.len());
}

/// Lives of some crashes, each of one scene. Those of a life are far from each other in the list, so that
/// each has crashes of all kinds; what can be reached only once comes first.
fn in_lives(crashes: Vec<Crash>, size: Size) -> Vec<Vec<Crash>> {
    let mut of_scene: BTreeMap<Scene, Vec<Crash>> = BTreeMap::new();
    for crash in crashes {
        of_scene.entry(crash.scene).or_default().push(crash);
    }
    let lives = of_scene.into_iter().flat_map(|(scene, crashes)| {
        let count = crashes.len().div_ceil(scene.crashes_in_a_life(size));
        let is_later = |crash: &Crash| !ONCE_IN_A_LIFE.contains(&crash.point.door.name);
        let life = move |first| {
            let life = crashes.iter().skip(first).step_by(count).copied();
            let mut life: Vec<_> = life.collect();
            life.sort_by_key(is_later);
            life
        };
        (0..count).map(life).collect::<Vec<_>>()
    });
    lives.collect()
}

/// Every point that a worker reaches, at its first time, aborted and told an error; after some crashes, a
/// worker without any settles everything, and the bank's books judge.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn i1_i3_i4_i5_i7_f1_f2_f3_f4_f5_f6_a_crash_at_any_point_pays_once_and_loses_nothing() {
    let wanted = wanted();
    let all = match wanted.as_str() {
        "" => {
            let crashes = lost_after().chain(crashes_at(1));
            let crashes = crashes.chain(table_with_resends()).chain(share_of_later());
            let lives = in_lives(crashes.collect(), Size::Small);
            let all = live_all(lives, Size::Small).await;
            must_be_reached(&all);
            all
        }
        text => match share_of_all(text) {
            Some(share_of) => every_crash(share_of).await,
            None => live_all(vec![life_of(text)], Size::Large).await,
        },
    };
    let made = all
        .iter()
        .map(|lived| lived.crashes.len() - lived.missed.len());
    eprintln!("{} crashes in {} lives", made.sum::<usize>(), all.len());
    judge(&all);
}

#[expect(
    clippy::disallowed_methods,
    reason = "which crashes to make is an argument of this test"
)]
fn wanted() -> String {
    std::env::var("TANDA_CRASH_POINTS").unwrap_or_default()
}

/// Of how many lives of all crashes one is wanted; none where it is others that are.
fn share_of_all(text: &str) -> Option<usize> {
    match text.split_once('/') {
        Some(("all", share_of)) => share_of.parse().ok().filter(|&share_of| share_of > 0),
        _ => (text == "all").then_some(1),
    }
}

/// The crashes of one life, all in the scene that is named, or that comes last of theirs: what an earlier one
/// reaches, it reaches too.
fn life_of(text: &str) -> Vec<Crash> {
    let scene_named = |text: &str| {
        let mut scenes = Scene::ALL.into_iter();
        scenes.find(|scene| format!("{scene:?}") == text)
    };
    let named = text.split(',').find_map(scene_named);
    let crashes = text.split(',').filter(|text| scene_named(text).is_none());
    let mut crashes: Vec<_> = crashes.map(crash_of).collect();
    let scene = named.or_else(|| crashes.iter().map(|crash| crash.scene).max());
    for crash in &mut crashes {
        crash.scene = scene.unwrap_or(crash.scene);
    }
    crashes
}

fn crash_of(text: &str) -> Crash {
    let parsed = text.split_once('=').and_then(|(place, how)| {
        let (point, hit) = place.split_once(':')?;
        let point = Point::parse(point)?;
        Some(Crash {
            scene: scene_of(&point),
            point,
            hit: hit.parse().ok()?,
            how: match how {
                "abort" => How::Abort,
                "error" => How::Error,
                _ => return None,
            },
        })
    });
    parsed.expect("TANDA_CRASH_POINTS is all, all/12, or like Resends,ledger.begin.after:3=abort")
}

/// How often each scene reaches each point where nothing crashes.
async fn survey() -> BTreeMap<Scene, BTreeMap<String, u64>> {
    let mut surveys = JoinSet::new();
    for scene in Scene::ALL {
        surveys.spawn(async move {
            let mut life = Life::begin(scene, Size::Large).await;
            let reached = life.survey().await;
            life.settle().await;
            let faults = life.end().await.faults;
            assert!(faults.is_empty(), "{scene:?} without a crash: {faults:#?}");
            let mut hits: BTreeMap<String, u64> = BTreeMap::new();
            for point in reached {
                *hits.entry(point.to_string()).or_default() += 1;
            }
            (scene, hits)
        });
    }
    surveys.join_all().await.into_iter().collect()
}

/// Every point by its first times, as often as the scene that reaches it most does at all, every second of
/// the traffic with a resend window; of the lives in which that is, one in so many.
async fn every_crash(share_of: usize) -> Vec<Lived> {
    let surveyed = survey().await;
    let hits_in = |scene, point: &Point| {
        let hits = surveyed
            .get(&scene)
            .and_then(|hits| hits.get(&point.to_string()));
        hits.copied().unwrap_or(0)
    };
    let mut crashes: Vec<_> = lost_after().collect();
    for crash in crashes_at(1) {
        let usual = Scene::ALL.into_iter().filter(|it| *it != Scene::Resends);
        let reached = usual.map(|scene| (hits_in(scene, &crash.point), scene));
        let most = reached
            .filter(|(hits, _)| *hits > 0)
            .max_by_key(|(hits, _)| *hits);
        let (hits, scene) = most.unwrap_or((HITS, crash.scene));
        let with_resends = match scene {
            Scene::Traffic => hits_in(Scene::Resends, &crash.point),
            Scene::Resends | Scene::Stopping | Scene::People | Scene::Loss => 0,
        };
        if crash.how == How::Abort {
            eprintln!(
                "{}: {hits} times in {scene:?}, {with_resends} with a resend window",
                crash.point
            );
        }
        crashes.extend((1..=hits.min(HITS)).map(|hit| Crash {
            scene: if hit % 2 == 0 && hit <= with_resends {
                Scene::Resends
            } else {
                scene
            },
            hit,
            ..crash
        }));
    }
    let count = crashes.len();
    let lives = in_lives(crashes, Size::Large);
    let all = lives.len();
    let lives: Vec<_> = lives.into_iter().step_by(share_of).collect();
    eprintln!(
        "{count} crashes in {all} lives, of which {} now",
        lives.len()
    );
    let all = live_all(lives, Size::Large).await;
    must_be_reached(&all);
    all
}

/// What these crashes were made for has happened: each first one was reached, of the later ones no more than
/// this share was missed, what was sent again was known to the bank, and ledgers were lost in the middle.
fn must_be_reached(all: &[Lived]) {
    let missed = all.iter().flat_map(|lived| &lived.missed);
    let (first, later): (Vec<&Crash>, Vec<&Crash>) = missed.partition(|it| it.hit == 1);
    let told = |crashes: &[&Crash]| -> Vec<_> { crashes.iter().map(ToString::to_string).collect() };
    assert!(first.is_empty(), "never reached: {:?}", told(&first));
    let crashes = all.iter().flat_map(|lived| &lived.crashes);
    let made = crashes.filter(|it| it.hit > 1).count();
    let replays: u64 = all.iter().map(|lived| lived.ended.replays).sum();
    let aborts_amid: usize = all.iter().map(|it| it.ended.aborts_amid_resends).sum();
    let losses_amid: usize = all.iter().map(|lived| lived.ended.losses_amid).sum();
    eprintln!(
        "{} of {made} later crashes were not reached: {:?}; {replays} calls were answered from memory, \
         {aborts_amid} aborts came among resends, {losses_amid} ledgers were lost in the middle",
        later.len(),
        told(&later)
    );
    assert!(
        later.len() * 100 <= made * MISSED_MOST_PERCENT,
        "more than {MISSED_MOST_PERCENT} of 100 later crashes were not reached"
    );
    assert!(
        replays > 0,
        "nothing was sent again that the bank remembered"
    );
    assert!(
        aborts_amid > 0,
        "no abort came while something was sent again"
    );
    assert!(losses_amid > 0, "no ledger was lost in the middle");
}

/// Each crash point of the faults' table is in the code's own list, and among the crashes that are made.
#[test]
fn every_crash_point_of_the_table_is_made() {
    let made: BTreeSet<String> = crashes_at(1).iter().map(ToString::to_string).collect();
    for (name, crashes) in TABLE {
        for crash in *crashes {
            let crash = crash.replace('=', ":1=");
            assert!(made.contains(&crash), "{name}: {crash}");
        }
    }
}

/// What is said not to be reached is a door, and does nothing to money.
#[test]
fn what_is_not_reached_is_known() {
    for (name, why) in NOT_REACHED {
        let door = doors::doors().find(|door| door.name == *name);
        let door = door.unwrap_or_else(|| panic!("{name} is no door"));
        assert!(matches!(door.kind, Kind::Step | Kind::Read) && !why.is_empty());
    }
}
