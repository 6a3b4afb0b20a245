//! `tanda reconcile`: asks the bank, now, about what is in doubt.
//!
//! *What it promises.* Only reads the bank's list: what it shows is settled, and nothing is sent,
//! however often it is asked. Says of each job what came of it.
//!
//! *What it refuses to know.* When jobs are sent again: that is a run's.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use clap::Args;
use tokio::time::{Instant, sleep};

use super::requests::{Put, State, Unowned, person, put, unusable};
use super::{entity_id, open_visit, say, say_json};
use crate::app::config::Config;
use crate::app::exit::{Exit, Failure};
use crate::domain::job::EntityId;
use crate::domain::outcome::Status;
use crate::domain::request::Wish;
use crate::domain::time::Timestamp;
use crate::engine::ports::JobRef;
use crate::ledger::Visitor;
use crate::ledger::history::History;

/// Jobs read from the ledger at once.
const PAGE: usize = 512;
/// How often the ledger is looked at while a run asks.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// How long a run is given to ask about all: it asks about four at a time.
const ASKING_LIMIT: Duration = Duration::from_secs(120);
/// Jobs that are shown; all are counted.
const LINES_SHOWN: usize = 50;

#[derive(Debug, Args)]
pub(in crate::app) struct ReconcileArgs {
    /// The jobs in doubt [default: all of them]
    entity_ids: Vec<String>,
    /// Who asks, for the record
    #[arg(long, value_name = "NAME", default_value = "the command line")]
    by: String,
    /// As JSON, a line for each job
    #[arg(long)]
    json: bool,
}

pub(in crate::app) async fn reconcile(
    config: &Config,
    args: ReconcileArgs,
) -> Result<Exit, Failure> {
    let by = person(&args.by)?;
    let named = args
        .entity_ids
        .iter()
        .map(|text| entity_id(text))
        .collect::<Result<Vec<_>, _>>()?;
    let visitor = open_visit(config)?;
    let asked_about = if named.is_empty() {
        open_ids(&visitor)?
    } else {
        named.clone()
    };
    if asked_about.is_empty() {
        say("nothing is in doubt\n");
        return Ok(Exit::Done);
    }
    let wishes = if named.is_empty() {
        vec![Wish::Reconcile(None)]
    } else {
        named
            .into_iter()
            .map(|id| Wish::Reconcile(Some(id)))
            .collect()
    };
    let puts = put(config, wishes, &by, Unowned::Attend).await?;
    let at = puts.first().map_or(Timestamp::from_millis(0), |put| put.at);
    let words = declined(&puts);
    let found = await_asks(&visitor, &asked_about, &words, at).await?;
    report(&found, &words, args.json);
    let in_doubt = found.values().any(is_in_doubt);
    Ok(if in_doubt {
        Exit::SomeOpen
    } else if words.is_empty() {
        Exit::Done
    } else {
        Exit::Input
    })
}

fn open_ids(visitor: &Visitor) -> Result<Vec<EntityId>, Failure> {
    let mut ids = Vec::new();
    let mut after: Option<JobRef> = None;
    loop {
        let page = visitor.open_jobs(after.as_ref(), PAGE).map_err(unusable)?;
        let Some(last) = page.last() else {
            return Ok(ids);
        };
        after = Some(JobRef {
            entity_id: last.job.entity_id.clone(),
            generation: last.generation,
        });
        ids.extend(page.into_iter().map(|line| line.job.entity_id));
    }
}

/// What was said of jobs that could not be asked about.
fn declined(puts: &[Put]) -> BTreeMap<EntityId, String> {
    let of_job = |put: &Put| {
        let is_open = matches!(&put.state, State::Answered(answer) if answer.accepted);
        let entity_id = put.wish.entity_id().filter(|_| !is_open)?;
        Some((entity_id.clone(), put.words().to_owned()))
    };
    puts.iter().filter_map(of_job).collect()
}

/// The history of each job, once it has been asked about or settled, or time is up.
async fn await_asks(
    visitor: &Visitor,
    asked_about: &[EntityId],
    declined: &BTreeMap<EntityId, String>,
    at: Timestamp,
) -> Result<BTreeMap<EntityId, History>, Failure> {
    let began = Instant::now();
    let mut found = BTreeMap::new();
    for entity_id in asked_about {
        loop {
            let history = visitor.history(entity_id).map_err(unusable)?;
            let is_known = history.final_status().is_some()
                || declined.contains_key(entity_id)
                || was_asked_since(&history, at);
            if is_known || began.elapsed() > ASKING_LIMIT {
                found.insert(entity_id.clone(), history);
                break;
            }
            sleep(LOOK_EVERY).await;
        }
    }
    Ok(found)
}

fn was_asked_since(history: &History, at: Timestamp) -> bool {
    let newest = history.generations.last();
    let ask = newest.and_then(|generation| generation.asks.last());
    ask.is_some_and(|ask| ask.ended >= at)
}

fn is_in_doubt(history: &History) -> bool {
    let newest = history.generations.last();
    newest.is_some_and(|newest| newest.released.is_none()) && history.final_status().is_none()
}

fn last_finding(history: &History) -> Option<&str> {
    let ask = history.generations.last()?.asks.last()?;
    Some(ask.finding.as_str())
}

fn report(
    found: &BTreeMap<EntityId, History>,
    declined: &BTreeMap<EntityId, String>,
    as_json: bool,
) {
    if as_json {
        for (entity_id, history) in found {
            say_json(&serde_json::json!({
                "entity_id": entity_id.as_str(),
                "status": status_word(history),
                "finding": last_finding(history),
                "declined": declined.get(entity_id),
            }));
        }
        return;
    }
    let mut text = String::new();
    let mut in_doubt = 0_usize;
    for (index, (entity_id, history)) in found.iter().enumerate() {
        in_doubt += usize::from(is_in_doubt(history));
        if index < LINES_SHOWN {
            writeln!(
                text,
                "{entity_id}: {}",
                line_of(history, declined.get(entity_id))
            )
            .expect("a string takes it");
        }
    }
    if found.len() > LINES_SHOWN {
        writeln!(text, "… and {} more", found.len() - LINES_SHOWN).expect("a string takes it");
    }
    if in_doubt > 0 {
        writeln!(
            text,
            "{in_doubt} still in doubt: the money may have moved. Do not pay these another way; \
             nothing was sent now. `tanda explain ENTITY_ID` tells what is known"
        )
        .expect("a string takes it");
    }
    say(&text);
}

fn status_word(history: &History) -> Option<&'static str> {
    let last = history.final_status().map(Status::as_str);
    last.or(is_in_doubt(history).then_some(Status::InDoubt.as_str()))
}

fn line_of(history: &History, declined: Option<&String>) -> String {
    match (history.final_status(), declined) {
        (Some(status), None) => format!("{status}"),
        (_, Some(words)) => words.clone(),
        (None, None) => match last_finding(history) {
            Some("absent") => "in doubt: the bank's list does not show it, which proves nothing \
                               by itself"
                .to_owned(),
            Some(finding) => format!("in doubt: the bank's list said {finding}"),
            None => "in doubt: not asked yet".to_owned(),
        },
    }
}
