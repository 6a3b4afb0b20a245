//! What one seed decides before its world begins: settings, faults and their weights.
//!
//! *What it promises.* The world keeps to what the design assumes of the bank, and to no more: what
//! was sent is executed and listed within `settle_delay` of our timeout or never, and a key is
//! remembered for longer than a resend can be under way.

use std::time::Duration;

use tanda::domain::progress::Rules;
use tanda::domain::schedule::{AskTimes, BACKOFF_BASE};

use crate::rng::Rng;

/// A day, in milliseconds.
pub(crate) const DAY_MS: u64 = 86_400_000;

/// Something that befalls the world at a time of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Blow {
    /// The process is killed.
    Kill,
    /// The flow pauses for this long.
    Pause(u64),
    /// Our wall clock jumps forward.
    WallForward(u64),
    /// Our wall clock jumps back.
    WallBack(u64),
    /// The machine sleeps: monotonic time stands still, all else goes on.
    Sleep(u64),
    /// A person cancels this job.
    Cancel(usize),
    /// A person has the bank asked at once.
    AskNow,
    /// Someone else takes room from the card, or gives it.
    OthersTake,
    /// As above.
    OthersGive,
    /// The card is blocked for this long.
    Block(u64),
    /// The bank is away for this long.
    Outage(u64),
}

/// Chances, in parts per thousand.
#[derive(Debug)]
pub(crate) struct Chances {
    pub(crate) reply_lost: u64,
    pub(crate) error_before: u64,
    pub(crate) error_after: u64,
    pub(crate) late: u64,
    pub(crate) silence: u64,
    pub(crate) conflict: u64,
    pub(crate) rate_limit: u64,
    pub(crate) no_connection: u64,
    pub(crate) unauthorised: u64,
    pub(crate) unreadable_list: u64,
    pub(crate) nameless_row: u64,
    pub(crate) crash_at_step: u64,
}

/// What one seed decides.
#[derive(Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a switch of its own that a seed throws"
)]
pub(crate) struct Scenario {
    pub(crate) jobs: usize,
    pub(crate) rules: Rules,
    pub(crate) settle_ms: u64,
    pub(crate) timeout_ms: u64,
    pub(crate) late_max_ms: u64,
    pub(crate) lag_max_ms: u64,
    pub(crate) key_lifetime_ms: u64,
    pub(crate) caches_refusals: bool,
    pub(crate) room_on_card: i64,
    pub(crate) mangles_ids: bool,
    pub(crate) other_content: bool,
    pub(crate) body_changes: bool,
    pub(crate) control_known: bool,
    pub(crate) other_traffic: bool,
    pub(crate) expiries: Vec<Option<u64>>,
    pub(crate) chances: Chances,
    pub(crate) blows: Vec<(u64, Blow)>,
    pub(crate) faults_until: u64,
}

impl Scenario {
    /// The scenario of a seed.
    pub(crate) fn draw(rng: &mut Rng) -> Self {
        let settle_ms = rng.pick(&[300_000, 300_000, 30_000]);
        let window_ms = settle_ms * rng.pick(&[0, 1, 2, 2, 2, 4]);
        let timeout_ms = settle_ms / 10;
        let late_max_ms = rng.between(1, settle_ms - 2);
        let lag_max_ms = rng.up_to(settle_ms - 1 - late_max_ms);
        let slowest_resend_ms = window_ms + timeout_ms + late_max_ms;
        let jobs = rng.pick(&[1, 1, 2, 3]);
        let faults_until = settle_ms * rng.pick(&[2, 4, 12, 144]);
        let expiry_chance = rng.swarm(500);
        let mangles_ids = rng.per_mille(80);
        let asks = AskTimes::new(Duration::from_millis(settle_ms));
        Self {
            jobs,
            rules: Rules {
                resend_window: Duration::from_millis(window_ms),
                max_attempts: rng.pick(&[2, 3, 10]),
                backoff_base: BACKOFF_BASE,
                asks,
            },
            settle_ms,
            timeout_ms,
            late_max_ms,
            lag_max_ms,
            key_lifetime_ms: slowest_resend_ms + rng.magnitude(DAY_MS),
            caches_refusals: rng.per_mille(500),
            room_on_card: rng.pick(&[0, 1, 1, 2, 3, 9]),
            mangles_ids,
            other_content: rng.per_mille(20),
            body_changes: rng.per_mille(30),
            // What a list has returned once byte for byte it always returns so.
            control_known: !mangles_ids && rng.per_mille(800),
            other_traffic: rng.per_mille(500),
            expiries: (0..jobs)
                .map(|_| rng.per_mille(expiry_chance).then(|| rng.magnitude(DAY_MS)))
                .collect(),
            chances: Chances::draw(rng),
            blows: draw_blows(rng, jobs, faults_until),
            faults_until,
        }
    }

    /// Whether nothing hides the truth from the list for good: then no person is ever needed.
    pub(crate) const fn list_tells_all(&self) -> bool {
        self.control_known
            && !self.mangles_ids
            && !self.other_content
            && !self.body_changes
            && self.chances.nameless_row == 0
    }
}

impl Chances {
    const fn draw(rng: &mut Rng) -> Self {
        Self {
            reply_lost: rng.swarm(400),
            error_before: rng.swarm(300),
            error_after: rng.swarm(200),
            late: rng.swarm(400),
            silence: rng.swarm(200),
            conflict: rng.swarm(150),
            rate_limit: rng.swarm(200),
            no_connection: rng.swarm(300),
            unauthorised: rng.swarm(100),
            unreadable_list: rng.swarm(400),
            nameless_row: if rng.per_mille(900) {
                0
            } else {
                rng.up_to(500)
            },
            crash_at_step: rng.swarm(60),
        }
    }
}

fn draw_blows(rng: &mut Rng, jobs: usize, until: u64) -> Vec<(u64, Blow)> {
    let mut blows = Vec::new();
    // No clock can tell how long a machine slept while its wall clock was set back; a world has
    // one or the other.
    let may_sleep = rng.per_mille(500);
    for _ in 0..rng.swarm(6) {
        let length = rng.magnitude(until);
        let job = usize::try_from(rng.up_to(2)).expect("a small number") % jobs;
        let blow = match rng.up_to(11) {
            0 | 1 => Blow::Kill,
            2 => Blow::Pause(length),
            3 => Blow::WallForward(rng.magnitude(30 * DAY_MS)),
            4 if may_sleep => Blow::Sleep(length),
            4 => Blow::WallBack(rng.magnitude(30 * DAY_MS)),
            5 => Blow::Cancel(job),
            6 => Blow::OthersTake,
            7 => Blow::OthersGive,
            8 => Blow::Block(length),
            9 | 10 => Blow::AskNow,
            _ => Blow::Outage(length),
        };
        blows.push((rng.magnitude(until), blow));
    }
    blows.sort_by_key(|(at, _)| *at);
    blows
}
