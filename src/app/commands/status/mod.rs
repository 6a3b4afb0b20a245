//! `tanda status`: what is in doubt or waits, with its money, and how the ledger stands.
//!
//! *What it promises.* Sums are kept apart per currency and operation and are exact, however many jobs
//! are open, in memory that does not grow with them (I11). Needs no bank and no token, and works
//! beside a process that owns the ledger. Exit code 0 where nothing is in doubt or waits, 7 where
//! something does, a job that a dead process left behind included.
//!
//! *What it refuses to know.* The whole story of one job: that is `explain`.
//!
//! [`text`]: for people. [`json`]: for programs.

mod json;
mod text;

use std::time::Duration;

use clap::Args;

use super::{open_visit, say, say_json, unreadable, warn_of_stale};
use crate::app::config::Config;
use crate::app::exit::{Exit, Failure};
use crate::domain::money::{Currencies, Totals};
use crate::domain::time::Timestamp;
use crate::engine::SystemClock;
use crate::engine::ports::{Clock as _, JobRef, StoredOutcome};
use crate::ledger::Visitor;
use crate::ledger::history::{Held, OpenLine, Overview};

/// Open jobs read from the ledger at once: each comes with its attempts and asks.
const PAGE_JOBS: usize = 256;
/// Jobs that are shown unless asked otherwise: a screen.
const LINES_SHOWN: usize = 20;

/// How long an outcome is on its way at most, beside a process that publishes.
const ON_ITS_WAY: Duration = Duration::from_secs(60);

#[derive(Debug, Args)]
pub(in crate::app) struct StatusArgs {
    /// How many of the oldest jobs in doubt are shown, of those that wait, and of outcomes that are not
    /// told yet; all are counted
    #[arg(long, value_name = "N", default_value_t = LINES_SHOWN)]
    limit: usize,
    /// As one JSON object
    #[arg(long)]
    json: bool,
}

/// What is open, counted.
#[derive(Default)]
struct Open {
    /// In doubt.
    in_doubt: Totals,
    /// Of these, for a person to decide.
    person_needed: u64,
    /// Begun and not in doubt.
    begun: Totals,
    /// The oldest in doubt; where no process owns the ledger, the begun as well.
    lines: Vec<OpenLine>,
}

/// Everything that is shown.
struct Standing<'a> {
    overview: &'a Overview,
    open: &'a Open,
    held: &'a Held,
    /// The oldest outcomes that are not published.
    untold: &'a [StoredOutcome],
    is_owned: bool,
    now: Timestamp,
    currencies: &'a Currencies,
}

impl Standing<'_> {
    /// What may have moved and is worked on by nobody counts as in doubt.
    fn is_in_doubt(&self) -> bool {
        !self.open.in_doubt.is_empty() || (!self.is_owned && !self.open.begun.is_empty())
    }

    fn shown_count(&self) -> u64 {
        let begun = if self.is_owned {
            0
        } else {
            self.open.begun.count()
        };
        self.open.in_doubt.count() + begun
    }
}

pub(in crate::app) fn status(config: &Config, args: &StatusArgs) -> Result<Exit, Failure> {
    let currencies = config
        .currencies()
        .map_err(|error| Failure::new(Exit::Usage, error))?;
    let visitor = open_visit(config)?;
    warn_of_stale(&visitor);
    // Looked at first: what a process has finished meanwhile is on record when the jobs are read.
    let is_owned = visitor.is_owned().map_err(unreadable)?;
    let open = read_open(&visitor, is_owned, args.limit)?;
    let held = visitor.held(args.limit).map_err(unreadable)?;
    let now = SystemClock.wall();
    let mut untold = visitor.unpublished(args.limit).map_err(unreadable)?;
    // Beside a process that publishes, what has just come to be is on its way.
    untold.retain(|outcome| !is_owned || now.since(outcome.settled_at) >= ON_ITS_WAY);
    let overview = visitor.overview().map_err(unreadable)?;
    let standing = Standing {
        overview: &overview,
        open: &open,
        held: &held,
        untold: &untold,
        is_owned,
        now,
        currencies: &currencies,
    };
    if args.json {
        say_json(&json::object(&standing));
    } else {
        say(&text::of(&standing));
    }
    Ok(if standing.is_in_doubt() || !held.totals.is_empty() {
        Exit::SomeOpen
    } else {
        Exit::Done
    })
}

fn read_open(visitor: &Visitor, is_owned: bool, limit: usize) -> Result<Open, Failure> {
    let mut open = Open::default();
    let mut after: Option<JobRef> = None;
    loop {
        let page = visitor
            .open_jobs(after.as_ref(), PAGE_JOBS)
            .map_err(unreadable)?;
        let Some(last) = page.last() else {
            return Ok(open);
        };
        after = Some(JobRef {
            entity_id: last.job.entity_id.clone(),
            generation: last.generation,
        });
        for line in page {
            let is_in_doubt = line.doubt.is_some();
            let totals = if is_in_doubt {
                &mut open.in_doubt
            } else {
                &mut open.begun
            };
            totals.add(line.job.operation, line.job.amount);
            open.person_needed += u64::from(line.person_needed);
            if open.lines.len() < limit && (is_in_doubt || !is_owned) {
                open.lines.push(line);
            }
        }
    }
}
