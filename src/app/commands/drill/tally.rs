//! All rounds of a drill together, and the table of movements.
//!
//! *What it promises.* Memory does not grow with the rounds. What is wrong is kept in words up to a bound,
//! and counted beyond.
//!
//! *What it refuses to know.* How it is shown.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::path::Path;
use std::time::Duration;

use super::accounts::{Accounts, accounts};
use super::evidence::{Case, End, Settling};
use super::jobs::Kind;
use super::judge::{RULES, judge};
use super::plan::Peer;
use super::tested::{BREACHES_KEPT, Standing, Tested};
use crate::domain::outcome::Status;
use crate::simulator::{Requests, knows_card};

/// What all rounds come to.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    pub(super) rounds: u64,
    pub(super) jobs: u64,
    /// Over RabbitMQ, everything that was published, by what it is.
    pub(super) messages: BTreeMap<Kind, u64>,
    pub(super) kills: u64,
    pub(super) kills_early: u64,
    pub(super) stops: u64,
    pub(super) longest_stop: Duration,
    pub(super) cuts: BTreeMap<Peer, u64>,
    pub(super) shuts: BTreeMap<Peer, u64>,
    pub(super) starts: u64,
    pub(super) ended_unusable: u64,
    pub(super) longest_stall: Duration,
    /// What the bank heard, and how often it lied in which way.
    pub(super) requests: Requests,
    pub(super) replays: u64,
    pub(super) lies: BTreeMap<String, u64>,
    /// What was told last of each job.
    pub(super) outcomes: BTreeMap<Status, u64>,
    pub(super) found_by_asking: u64,
    /// Outcomes that were told, also those of the meantime and those told again.
    pub(super) tellings: u64,
    pub(super) dead_letters: u64,
    /// How many jobs had how many movements.
    pub(super) movements: BTreeMap<u64, u64>,
    pub(super) accounts: Accounts,
    pub(super) longest_settling: Duration,
    /// Jobs that are open at the end, and why; the first of them.
    pub(super) open: Vec<Open>,
    pub(super) open_count: u64,
    /// Jobs whose movements are not what was told; the first of them.
    pub(super) wrong: Vec<Wrong>,
    /// Each of [`RULES`]; none before the first round.
    pub(super) tested: Vec<Tested>,
}

/// A job that is open at the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Open {
    pub(super) round: u64,
    pub(super) entity_id: String,
    pub(super) status: String,
    pub(super) reason: String,
    /// Whether only a person can decide it: the bank says that it does not know the card.
    pub(super) needs_person: bool,
}

/// A job whose movements are not what was told of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wrong {
    pub(super) round: u64,
    pub(super) entity_id: String,
    pub(super) movements: u64,
    pub(super) told: String,
}

/// What a drill showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shown {
    /// Everything that was exercised held.
    Held,
    Broken,
    /// Not even that money moves once was exercised.
    Nothing,
}

impl Tally {
    /// Judges a round and counts it in.
    pub(super) fn add(&mut self, case: &Case, table: Option<&mut Table>) -> io::Result<()> {
        self.rounds += 1;
        self.add_journal(case);
        self.add_books(case);
        self.add_outcomes(case, table)?;
        let judged = judge(case);
        if self.tested.is_empty() {
            self.tested = judged;
        } else {
            for (tested, more) in self.tested.iter_mut().zip(judged) {
                tested.merge(more);
            }
        }
        Ok(())
    }

    fn add_journal(&mut self, case: &Case) {
        let journal = &case.journal;
        self.jobs += u64::try_from(case.jobs.len()).unwrap_or(u64::MAX);
        for message in case.messages.iter().flatten() {
            *self.messages.entry(message.kind).or_default() += 1;
        }
        self.kills += journal.kills;
        self.kills_early += journal.kills_early;
        self.stops += u64::try_from(journal.stops.len()).unwrap_or(u64::MAX);
        let took = |stop: &End| stop.took;
        let longest = journal.stops.iter().map(took).max().unwrap_or_default();
        self.longest_stop = self.longest_stop.max(longest);
        for (&peer, count) in &journal.cuts {
            *self.cuts.entry(peer).or_default() += count;
        }
        for (&peer, count) in &journal.shuts {
            *self.shuts.entry(peer).or_default() += count;
        }
        self.starts += journal.starts;
        self.ended_unusable += journal.ended_unusable;
        self.longest_stall = self.longest_stall.max(journal.stall);
        let (Settling::After(took) | Settling::NotWithin(took)) = case.settling;
        self.longest_settling = self.longest_settling.max(took);
    }

    fn add_books(&mut self, case: &Case) {
        let heard = case.books.requests;
        self.requests.operations += heard.operations;
        self.requests.lists += heard.lists;
        self.requests.balances += heard.balances;
        self.requests.others += heard.others;
        self.replays += case.books.replays;
        for (lie, count) in &case.books.faults {
            *self.lies.entry(lie.clone()).or_default() += count;
        }
        for (key, account) in accounts(case) {
            let all = self.accounts.entry(key).or_default();
            all.asked.merge(account.asked);
            all.moved.merge(account.moved);
            for (status, sum) in account.told {
                all.told.entry(status).or_default().merge(sum);
            }
        }
    }

    fn add_outcomes(&mut self, case: &Case, mut table: Option<&mut Table>) -> io::Result<()> {
        self.tellings += u64::try_from(case.told.len()).unwrap_or(u64::MAX);
        self.dead_letters += u64::try_from(case.dead.len()).unwrap_or(u64::MAX);
        let last = case.last_told();
        for job in &case.jobs {
            let entity_id = job.entity_id.as_str();
            let movements = case.books.movements(entity_id);
            *self.movements.entry(movements).or_default() += 1;
            let told = last.get(entity_id);
            let status = told.map_or("nothing", |told| told.status.as_str());
            if let Some(table) = table.as_deref_mut() {
                table.row(self.rounds, entity_id, movements, status)?;
            }
            if let Some(told) = told {
                *self.outcomes.entry(told.status).or_default() += 1;
                self.found_by_asking += u64::from(told.reason == "found_in_list");
            }
            let is_paid = told.is_some_and(|told| told.status == Status::Succeeded);
            let is_open = told.is_none_or(|told| !told.is_end());
            if is_open {
                self.open_count += 1;
                if self.open.len() < BREACHES_KEPT {
                    self.open.push(Open {
                        round: self.rounds,
                        entity_id: entity_id.to_owned(),
                        status: status.to_owned(),
                        reason: told.map(|told| told.reason.clone()).unwrap_or_default(),
                        needs_person: !knows_card(&job.card_id),
                    });
                }
            }
            let is_wrong = movements > 1 || (!is_open && (movements == 1) != is_paid);
            if is_wrong && self.wrong.len() < BREACHES_KEPT {
                self.wrong.push(Wrong {
                    round: self.rounds,
                    entity_id: entity_id.to_owned(),
                    movements,
                    told: status.to_owned(),
                });
            }
        }
        Ok(())
    }

    /// What it comes to.
    pub(super) fn shown(&self) -> Shown {
        let mut standings = self.tested.iter().map(Tested::standing);
        if standings.any(|standing| standing == Standing::Broken) {
            return Shown::Broken;
        }
        let first = RULES.iter().zip(&self.tested).next();
        match first.map(|(_, once)| once.standing()) {
            Some(Standing::Held) => Shown::Held,
            Some(Standing::Broken | Standing::NotExercised) | None => Shown::Nothing,
        }
    }
}

/// The table of movements: a row for each job of each round.
pub(super) struct Table(BufWriter<File>);

impl Table {
    /// A new file; none may be there.
    pub(super) fn create(path: &Path) -> io::Result<Self> {
        let mut table = Self(BufWriter::new(File::create_new(path)?));
        table
            .0
            .write_all(b"round,entity_id,movements,tanda_status\n")?;
        Ok(table)
    }

    fn row(&mut self, round: u64, name: &str, movements: u64, status: &str) -> io::Result<()> {
        let name = name.replace('"', "\"\"");
        // Where a sheet would run a cell as a formula.
        let guard = if name.starts_with(['=', '+', '-', '@', '\'']) {
            "'"
        } else {
            ""
        };
        writeln!(self.0, "{round},\"{guard}{name}\",{movements},{status}")
    }

    /// Makes it whole.
    pub(super) fn finish(mut self) -> io::Result<()> {
        self.0.flush()?;
        self.0.get_ref().sync_all()
    }
}
