//! What one seed decides before its world begins: settings, faults and their weights.
//!
//! *What it promises.* Swarm: each kind of fault is on or off for a whole world, and weighted where it is
//! on, so that worlds differ in kind and rare faults meet. A world keeps to what the product assumes of
//! the bank (`ARCHITECTURE.md`), and to no more: what was sent is executed and listed within the settle
//! delay of when we stopped waiting or never, a key is remembered for longer than a resend can be under way,
//! what a list has once returned byte for byte it always returns so, and rows leave it only at its old end.

use std::time::Duration;

use tanda::domain::progress::Rules;
use tanda::domain::schedule::{AskTimes, BACKOFF_BASE};

use crate::blows::{Blow, Chain, draw_blows};
use crate::cast::{self, Content, JOBS_MAX};
use crate::rng::Rng;

/// A day, in milliseconds.
pub(crate) const DAY_MS: u64 = 86_400_000;

/// Chances, in parts per thousand.
#[derive(Debug)]
pub(crate) struct Chances {
    // What becomes of a call.
    pub(crate) reply_lost: u64,
    pub(crate) cut: u64,
    pub(crate) error_before: u64,
    pub(crate) error_after: u64,
    pub(crate) error_inside: u64,
    pub(crate) late: u64,
    pub(crate) silence: u64,
    pub(crate) conflict: u64,
    pub(crate) rate_limit: u64,
    pub(crate) no_connection: u64,
    pub(crate) unauthorised: u64,
    pub(crate) forbidden: u64,
    pub(crate) portal: u64,
    // What becomes of a reading of the list.
    pub(crate) unreadable_list: u64,
    pub(crate) barred_list: u64,
    pub(crate) shifting: u64,
    pub(crate) nameless_row: u64,
    // What becomes of the process, its ledger and its broker.
    pub(crate) crash_at_step: u64,
    pub(crate) commit_fails: u64,
    pub(crate) ack_lost: u64,
    pub(crate) nacked: u64,
    pub(crate) unroutable: u64,
    pub(crate) confirm_lost: u64,
    /// That a person is wrong.
    pub(crate) person_errs: u64,
}

/// What one seed decides.
#[derive(Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a switch of its own that a seed throws"
)]
pub(crate) struct Plan {
    pub(crate) jobs: usize,
    pub(crate) first_part: usize,
    pub(crate) rules: Rules,
    pub(crate) settle_ms: u64,
    pub(crate) timeout_ms: u64,
    pub(crate) late_max_ms: u64,
    pub(crate) lag_max_ms: u64,
    pub(crate) key_lifetime_ms: u64,
    pub(crate) caches_refusals: bool,
    pub(crate) caches_errors: bool,
    pub(crate) room_on_card: i64,
    pub(crate) rows_on_page: u64,
    pub(crate) rows_of_others: u64,
    pub(crate) newest_first: bool,
    pub(crate) mangles_ids: bool,
    pub(crate) other_content: bool,
    pub(crate) body_changes: bool,
    pub(crate) control_known: bool,
    pub(crate) other_traffic: bool,
    pub(crate) token_proven: bool,
    pub(crate) person_rules_at_end: bool,
    pub(crate) expiries: [Option<u64>; JOBS_MAX],
    pub(crate) offered: [u64; JOBS_MAX],
    pub(crate) chances: Chances,
    pub(crate) blows: Vec<(u64, Blow)>,
    pub(crate) faults_until: u64,
}

impl Plan {
    /// The plan of a seed.
    pub(crate) fn draw(rng: &mut Rng) -> Self {
        let settle_ms = rng.pick(&[300_000, 300_000, 30_000]);
        let window_ms = settle_ms * rng.pick(&[0, 1, 2, 2, 2, 4]);
        let timeout_ms = settle_ms / rng.pick(&[30, 10, 10, 10, 3, 1]);
        let late_max_ms = rng.between(1, settle_ms - 2);
        let lag_max_ms = rng.up_to(settle_ms - 1 - late_max_ms);
        let slowest_resend_ms = window_ms + timeout_ms + late_max_ms;
        let jobs = rng.pick(&[1, 1, 2, 3]);
        let faults_until = settle_ms * rng.pick(&[2, 4, 12, 144]);
        let mangles_ids = rng.per_mille(60);
        let caches_errors = rng.coin();
        // A failure that a bank repeats for as long as it remembers the key is a fault that lasts.
        let longest_memory_ms = if caches_errors {
            40 * settle_ms
        } else {
            DAY_MS
        };
        let mut plan = Self {
            jobs,
            first_part: rng.index(cast::parts()),
            rules: Rules {
                resend_window: Duration::from_millis(window_ms),
                max_attempts: rng.pick(&[2, 3, 10]),
                backoff_base: BACKOFF_BASE,
                asks: AskTimes::new(Duration::from_millis(settle_ms)),
            },
            settle_ms,
            timeout_ms,
            late_max_ms,
            lag_max_ms,
            key_lifetime_ms: slowest_resend_ms + rng.magnitude(longest_memory_ms),
            caches_refusals: rng.coin(),
            caches_errors,
            room_on_card: rng.pick(&[0, 1, 1, 2, 3, 9]),
            rows_on_page: rng.pick(&[1, 2, 3, 500, 500, 500]),
            rows_of_others: rng.pick(&[0, 0, 0, 1, 2, 4]),
            newest_first: rng.coin(),
            mangles_ids,
            other_content: rng.per_mille(20),
            body_changes: rng.per_mille(60),
            control_known: !mangles_ids && rng.per_mille(800),
            other_traffic: rng.coin(),
            token_proven: rng.coin(),
            person_rules_at_end: rng.coin(),
            expiries: [None; JOBS_MAX],
            offered: [0; JOBS_MAX],
            chances: Chances::draw(rng),
            blows: Vec::new(),
            faults_until,
        };
        let expiry_chance = rng.swarm(500);
        for expiry in &mut plan.expiries {
            *expiry = rng.per_mille(expiry_chance).then(|| rng.magnitude(DAY_MS));
        }
        if rng.coin() {
            let latest = settle_ms / 2;
            plan.offered = std::array::from_fn(|_| rng.magnitude(latest));
        }
        let chain = Chain::draw(rng);
        plan.bend(rng, chain);
        plan.blows = draw_blows(rng, chain, (plan.jobs, settle_ms, plan.faults_until));
        plan.keep_to_what_is_promised();
        plan
    }

    /// After a loss, what was sent with another content is known only by the rows of the list that bear its
    /// name.
    fn keep_to_what_is_promised(&mut self) {
        let is = |wanted: fn(&Blow) -> bool| self.blows.iter().any(|(_, blow)| wanted(blow));
        let loses = is(|blow| matches!(blow, Blow::Lose | Blow::Restore));
        let others = is(|blow| matches!(blow, Blow::Copy(_) | Blow::Again(_, Content::Other)));
        if loses && others {
            self.chances.nameless_row = 0;
        }
    }

    /// One world of eight has more of what is rare alone: a list of many small pages that shift, or one that
    /// cannot be read for long while people grow impatient. A chain finds what it needs.
    fn bend(&mut self, rng: &mut Rng, chain: Option<Chain>) {
        match rng.up_to(15) {
            0 => {
                self.jobs = 1;
                self.room_on_card = 9;
                self.rows_on_page = 1;
                self.rows_of_others = rng.between(3, 8);
                self.newest_first = rng.per_mille(200);
                self.faults_until = self.faults_until.max(12 * self.settle_ms);
                self.chances.shifting = 900;
                self.chances.reply_lost = 800;
                self.chances.unreadable_list = 0;
            }
            1 => {
                self.chances.unreadable_list = 700;
                self.chances.late = 500;
                self.chances.person_errs = 300;
            }
            _ => {}
        }
        if chain == Some(Chain::RestoredAgain) {
            self.room_on_card = 0;
            self.mangles_ids |= rng.per_mille(300);
            self.control_known &= !self.mangles_ids;
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
    fn draw(rng: &mut Rng) -> Self {
        Self {
            reply_lost: rng.swarm(400),
            cut: rng.swarm(100),
            error_before: rng.swarm(300),
            error_after: rng.swarm(200),
            error_inside: rng.swarm(200),
            late: rng.swarm(400),
            silence: rng.swarm(200),
            conflict: rng.swarm(150),
            rate_limit: rng.swarm(200),
            no_connection: rng.swarm(300),
            unauthorised: rng.swarm(100),
            forbidden: rng.swarm(100),
            portal: rng.swarm(100),
            unreadable_list: rng.swarm(400),
            barred_list: rarely(rng, 300),
            shifting: rng.swarm(400),
            nameless_row: rarely(rng, 500),
            crash_at_step: rng.swarm(60),
            commit_fails: rng.swarm(60),
            ack_lost: rng.swarm(300),
            nacked: rng.swarm(200),
            unroutable: rng.swarm(300),
            confirm_lost: rng.swarm(200),
            person_errs: rng.swarm(300),
        }
    }
}

/// A fault that hides the truth for good, and so is absent from nine worlds of ten.
fn rarely(rng: &mut Rng, most: u64) -> u64 {
    if rng.per_mille(900) {
        0
    } else {
        rng.up_to(most)
    }
}
