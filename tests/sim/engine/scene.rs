//! What all parts of one world share: its clock, its chance, who lives, its story and the first rule that
//! was broken.
//!
//! *What it promises.* One seeded stream decides everything. Whoever is dead takes no further step.
//!
//! *What it refuses to know.* The parts.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tanda::domain::time::Timestamp;
use tanda::engine::ports::Clock;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::chance::Chance;
use super::fault::{Fault, Weights};
use super::figures::Figures;

/// Where every wall clock of every world begins.
pub(super) const WALL_START_MS: i64 = 1_795_000_000_000;
/// A story has no more lines than this: a world that breaks a rule does so long before.
const STORY_LINES_MAX: usize = 200_000;

/// A world has no more steps than this, unless something spins.
const STEPS_MAX: u64 = 3_000_000;

/// A rule that was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Violation {
    pub(super) invariant: &'static str,
    pub(super) what: String,
}

/// The number of one process.
pub(super) type Life = u64;

/// Shared by all parts of a world.
#[derive(Clone)]
pub(super) struct Scene(Arc<Inner>);

struct Inner {
    start: Instant,
    state: Mutex<State>,
    died: Notify,
}

struct State {
    chance: Chance,
    weights: Weights,
    faults_are_on: bool,
    alive: Vec<Life>,
    lives: Life,
    /// Steps that are left before the process is killed.
    steps_left: Option<u64>,
    /// How far our wall clock is off.
    wall_off_ms: i64,
    /// The latest that it showed before one of its jumps.
    latest_wall: Timestamp,
    story: Option<Vec<String>>,
    figures: Figures,
    violation: Option<Violation>,
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(super) fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl Scene {
    pub(super) fn new(chance: Chance, weights: Weights, tells: bool) -> Self {
        Self(Arc::new(Inner {
            start: Instant::now(),
            state: Mutex::new(State {
                chance,
                weights,
                faults_are_on: true,
                alive: Vec::new(),
                lives: 0,
                steps_left: None,
                wall_off_ms: 0,
                latest_wall: Timestamp::from_millis(WALL_START_MS),
                story: tells.then(Vec::new),
                figures: Figures::default(),
                violation: None,
            }),
            died: Notify::new(),
        }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.0.state)
    }

    // ---- time ---------------------------------------------------------------------------------

    /// Milliseconds since the world began.
    pub(super) fn now(&self) -> u64 {
        ms(self.0.start.elapsed())
    }

    pub(super) fn instant(&self, at_ms: u64) -> Instant {
        self.0.start + Duration::from_millis(at_ms)
    }

    /// What time it truly is.
    pub(super) fn true_time(&self) -> Timestamp {
        Timestamp::from_millis(WALL_START_MS).plus(self.0.start.elapsed())
    }

    /// Our wall clock.
    pub(super) fn wall_now(&self) -> Timestamp {
        let off = self.state().wall_off_ms;
        Timestamp::from_millis(self.true_time().as_millis() + off)
    }

    /// The latest that our wall clock has ever shown.
    pub(super) fn latest_wall(&self) -> Timestamp {
        let now = self.wall_now();
        now.max(self.state().latest_wall)
    }

    pub(super) fn wall_jumps(&self, by_ms: i64) {
        let latest = self.latest_wall();
        let mut state = self.state();
        state.latest_wall = latest;
        state.wall_off_ms += by_ms;
    }

    /// Lets so much time pass for whoever waits; at once where it is none.
    pub(super) async fn pass(&self, wait_ms: u64) {
        if wait_ms > 0 {
            tokio::time::sleep_until(Instant::now() + Duration::from_millis(wait_ms)).await;
        }
    }

    // ---- chance -------------------------------------------------------------------------------

    pub(super) fn draw<T>(&self, draw: impl FnOnce(&mut Chance) -> T) -> T {
        draw(&mut self.state().chance)
    }

    pub(super) fn up_to(&self, most: u64) -> u64 {
        if most == 0 {
            return 0;
        }
        self.draw(|chance| chance.up_to(most))
    }

    /// Whether this fault strikes now.
    pub(super) fn strikes(&self, fault: Fault) -> bool {
        let mut state = self.state();
        let weight = state.weights.of(fault);
        if weight == 0 || !state.faults_are_on {
            return false;
        }
        let strikes = state.chance.per_mille(weight);
        if strikes {
            state.figures.count_fault(fault);
        }
        strikes
    }

    pub(super) fn end_of_faults(&self) {
        let mut state = self.state();
        state.faults_are_on = false;
        state.steps_left = None;
    }

    // ---- life ---------------------------------------------------------------------------------

    /// A process begins that is killed after so many steps, if at all.
    pub(super) fn begin_life(&self, steps_left: Option<u64>) -> Life {
        let mut state = self.state();
        state.lives += 1;
        let life = state.lives;
        state.alive.push(life);
        state.steps_left = steps_left;
        life
    }

    pub(super) fn end_lives(&self) {
        let mut state = self.state();
        state.alive.clear();
        state.steps_left = None;
    }

    /// A step that a process takes; one that is dead takes none.
    pub(super) async fn step(&self, life: Life) {
        let mut spins = false;
        let may = {
            let mut state = self.state();
            let mut lives = state.alive.contains(&life);
            if lives {
                state.figures.steps += 1;
                spins = state.figures.steps == STEPS_MAX;
                match state.steps_left {
                    Some(0) => {
                        state.alive.clear();
                        state.steps_left = None;
                        lives = false;
                        self.0.died.notify_one();
                    }
                    Some(left) => state.steps_left = Some(left - 1),
                    None => {}
                }
            }
            lives
        };
        if spins {
            self.violate("I11", || "it spins".to_owned());
        }
        if !may {
            std::future::pending::<()>().await;
        }
    }

    /// Ends when a process was killed at one of its steps.
    pub(super) async fn died(&self) {
        self.0.died.notified().await;
    }

    // ---- the story ----------------------------------------------------------------------------

    pub(super) fn tell(&self, line: impl FnOnce() -> String) {
        let now = self.now();
        let mut state = self.state();
        if let Some(story) = &mut state.story
            && story.len() < STORY_LINES_MAX
        {
            let line = line();
            story.push(format!("{:>9}.{:03} {line}", now / 1_000, now % 1_000));
        }
    }

    pub(super) fn count(&self, count: impl FnOnce(&mut Figures)) {
        count(&mut self.state().figures);
    }

    pub(super) fn violate(&self, invariant: &'static str, what: impl FnOnce() -> String) {
        if self.is_broken() {
            return;
        }
        let what = what();
        self.tell(|| format!("*** {invariant}: {what}"));
        self.state()
            .violation
            .get_or_insert(Violation { invariant, what });
        // Whoever runs the world looks at once.
        self.0.died.notify_one();
    }

    pub(super) fn is_broken(&self) -> bool {
        self.state().violation.is_some()
    }

    pub(super) fn end(&self) -> (Figures, Option<Violation>, Vec<String>) {
        let mut state = self.state();
        (
            state.figures.clone(),
            state.violation.clone(),
            state.story.take().unwrap_or_default(),
        )
    }
}

impl Clock for Scene {
    fn wall(&self) -> Timestamp {
        self.wall_now()
    }
}
