//! `tanda ledger prune`: the details of what is long over make room.
//!
//! *What it promises.* Only what settled so many days ago and was published goes; that it was paid, and
//! what it said in short, is kept for ever. Nothing goes without a person's word. Interrupted
//! anywhere, the ledger is whole; run again, it goes on.
//!
//! *What it refuses to know.* How the ledger keeps it.

use std::time::Duration;

use anyhow::{Context as _, anyhow};
use clap::Args;

use crate::app::commands::{say, say_json};
use crate::app::compose;
use crate::app::config::Config;
use crate::app::exit::{Exit, Failure};
use crate::app::prompt;
use crate::app::streams::tell;
use crate::app::words;
use crate::domain::time::Timestamp;
use crate::engine::SystemClock;
use crate::engine::ports::{Clock as _, LedgerError};
use crate::ledger::{PrunePlace, Pruner};

/// For how many days details are kept unless asked otherwise: a year and the month in which its books
/// are closed.
const KEPT_DAYS: u32 = 400;
/// The fewest days: a quarter's books, and the disputes about its payments, are answered from the
/// details, and until then nobody knows which of them will be asked for.
const KEPT_DAYS_MIN: u32 = 90;
/// The most days: a hundred years, so that every date can be computed.
const KEPT_DAYS_MAX: u32 = 36_500;
/// Rows looked at in one commit: some tens of milliseconds, so that an interrupt loses little.
const STEP_ROWS: usize = 1_000;

#[derive(Debug, Args)]
pub(in crate::app) struct PruneArgs {
    /// Remove what settled longer ago than this; at least 90
    #[arg(long, value_name = "N", default_value_t = KEPT_DAYS)]
    older_than_days: u32,
    /// Do not ask for confirmation
    #[arg(long)]
    yes: bool,
    /// As one JSON object
    #[arg(long)]
    json: bool,
}

pub(super) fn prune(config: &Config, args: &PruneArgs) -> Result<Exit, Failure> {
    let days = args.older_than_days;
    if !(KEPT_DAYS_MIN..=KEPT_DAYS_MAX).contains(&days) {
        let error = anyhow!(
            "--older-than-days {days}: give {KEPT_DAYS_MIN} to {KEPT_DAYS_MAX}. The books of a \
             quarter, and disputes about it, are answered from these details. Nothing was removed"
        );
        return Err(Failure::new(Exit::Usage, error));
    }
    if !args.yes && !prompt::has_person() {
        let error = anyhow!("without a terminal, add --yes. Nothing was removed");
        return Err(Failure::new(Exit::Usage, error));
    }
    let before = SystemClock
        .wall()
        .minus(Duration::from_secs(u64::from(days) * 86_400));
    let mut pruner = open(config)?;
    let count = pruner.count(before).map_err(failed)?;
    if count > 0 && !args.yes && !is_confirmed(count, days, before)? {
        pruner.close().map_err(failed)?;
        tell("Not confirmed. Nothing was removed.\n");
        return Ok(Exit::Usage);
    }
    let (jobs, facts) = prune_all(&mut pruner, before)?;
    pruner.close().map_err(failed)?;
    tell_what_went(args, before, jobs, facts);
    Ok(Exit::Done)
}

fn open(config: &Config) -> Result<Pruner, Failure> {
    let path = config
        .ledger_path()
        .map_err(|error| Failure::new(Exit::Usage, error))?;
    let binding = compose::binding(config)?;
    Pruner::open(&path, &binding).map_err(|error| {
        let error = anyhow::Error::new(error).context("nothing was removed");
        Failure::new(Exit::Unusable, error)
    })
}

fn prune_all(pruner: &mut Pruner, before: Timestamp) -> Result<(u64, u64), Failure> {
    let (mut jobs, mut facts) = (0, 0);
    let mut place = Some(PrunePlace::START);
    while let Some(from) = place {
        let step = pruner.step(before, from, STEP_ROWS).map_err(failed)?;
        jobs += step.jobs;
        facts += step.facts;
        place = step.next;
    }
    Ok((jobs, facts))
}

fn tell_what_went(args: &PruneArgs, before: Timestamp, jobs: u64, facts: u64) {
    if args.json {
        say_json(&serde_json::json!({
            "before": before.to_string(),
            "jobs": jobs,
            "messages": facts,
        }));
        return;
    }
    let jobs = words::counted(jobs, "job", "jobs");
    let facts = words::counted(
        facts,
        "message that was no job",
        "messages that were no jobs",
    );
    say(&format!(
        "removed the details of {jobs} and of {facts}, settled before {}. How each ended is kept: \
         none is ever paid again. The file keeps its size; the room in it is used again\n",
        words::moment(before)
    ));
}

fn failed(error: LedgerError) -> Failure {
    let context = "the prune ended early. The ledger is whole: each step is there or not at all; \
                   mend the disk, then prune again";
    Failure::new(Exit::Unusable, anyhow::Error::new(error).context(context))
}

/// What is removed cannot be brought back: that asks for more than a "y".
fn is_confirmed(count: u64, days: u32, before: Timestamp) -> Result<bool, Failure> {
    let jobs = words::counted(count, "job", "jobs");
    let question = format!(
        "The details of {jobs} that settled before {} will be removed: amounts, attempts, answers \
         of the bank. How each ended is kept for ever. To do so, type the number of days ({days}): ",
        words::moment(before)
    );
    let typed = prompt::ask(&question)
        .context("the prompt could not be read; nothing was removed")
        .map_err(Failure::internal)?;
    Ok(typed == days.to_string())
}
