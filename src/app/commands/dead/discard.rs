//! `tanda dead discard`: letters that have been dealt with elsewhere are put aside.
//!
//! *What it promises.* Who put a letter aside, and on what evidence, stays on record with it for ever. What
//! is in doubt is settled, never put aside. No money is sent.
//!
//! *What it refuses to know.* Whether the evidence is right.

use anyhow::{Context as _, anyhow};
use clap::Args;

use super::choice::{Choice, Filters};
use super::frozen::Frozen;
use super::letter::Letter;
use super::redrive::summary;
use crate::app::commands::requests::{Put, Unowned, person, put};
use crate::app::commands::{open_visit, say, say_json};
use crate::app::config::Config;
use crate::app::exit::{Exit, Failure};
use crate::app::prompt;
use crate::app::streams::tell;
use crate::app::words;
use crate::domain::outcome::Status;
use crate::domain::request::{EvidenceText, Wish};

#[derive(Debug, Args)]
pub(in crate::app) struct DiscardArgs {
    /// Their `entity_id`s or event ids [default: all that are as every filter says]
    #[arg(value_name = "ENTITY_ID|EVENT_ID")]
    ids: Vec<String>,
    #[command(flatten)]
    filters: Filters,
    /// Who puts them aside
    #[arg(long, value_name = "NAME")]
    by: String,
    /// What was done about them
    #[arg(long, value_name = "TEXT")]
    evidence: String,
    /// Do not ask for confirmation (with --expect-count)
    #[arg(long)]
    yes: bool,
    /// How many there must be
    #[arg(long, value_name = "N")]
    expect_count: Option<u64>,
    /// As JSON, a line for each
    #[arg(long)]
    json: bool,
}

pub(super) async fn discard(config: &Config, args: DiscardArgs) -> Result<Exit, Failure> {
    let by = person(&args.by)?;
    let evidence = EvidenceText::parse(&args.evidence).ok_or_else(|| {
        let error = anyhow!(
            "--evidence: say in 1 to 2,000 characters, on one line, what was done about them"
        );
        Failure::new(Exit::Usage, error)
    })?;
    let choice = Choice::of_some(&args.ids, &args.filters)?;
    let currencies = super::currencies(config)?;
    demand_consent(&args)?;
    let frozen = Frozen::of(&open_visit(config)?, &choice, may_be_discarded)?;
    tell(&frozen.preview("To be put aside", &currencies));
    if frozen.letters.is_empty() && args.expect_count.is_none_or(|count| count == 0) {
        tell("Nothing is to be put aside.\n");
        return Ok(frozen.ends(Exit::Done));
    }
    if !is_consented(&args, &frozen)? {
        tell("That is not how many there are. Nothing was put aside.\n");
        return Ok(Exit::Input);
    }
    let letters = frozen.letters.iter();
    let wishes = letters.map(|letter| wish_of(letter, &evidence)).collect();
    let puts = put(config, wishes, &by, Unowned::Leave).await?;
    Ok(frozen.ends(report(&puts, &frozen.letters, args.json)))
}

fn demand_consent(args: &DiscardArgs) -> Result<(), Failure> {
    let stands = args.yes && args.expect_count.is_some();
    if stands || (!args.yes && prompt::has_person()) {
        return Ok(());
    }
    let error = anyhow!(
        "to put them aside without a prompt, add --yes and how many there must be: --expect-count N. \
         Nothing was put aside"
    );
    Err(Failure::new(Exit::Usage, error))
}

fn may_be_discarded(letter: &Letter) -> Result<(), &'static str> {
    match letter.status() {
        Status::Rejected | Status::NotSent | Status::Invalid | Status::Conflict => Ok(()),
        Status::InDoubt | Status::Succeeded | Status::Waiting => {
            Err("in doubt: it is not put aside but settled (tanda settle)")
        }
    }
}

fn is_consented(args: &DiscardArgs, frozen: &Frozen) -> Result<bool, Failure> {
    let count = frozen.count();
    if let Some(expected) = args.expect_count.filter(|expected| *expected != count) {
        let letters = words::counted(count, "dead letter", "dead letters");
        tell(&format!("there are {letters}, expected were {expected}\n"));
        return Ok(false);
    }
    if args.yes {
        return Ok(true);
    }
    let typed = prompt::ask(&format!(
        "They are not listed any more. To go on, type how many there are ({count}): "
    ));
    let typed = typed
        .context("the prompt could not be read; nothing was put aside")
        .map_err(Failure::internal)?;
    Ok(typed == count.to_string())
}

fn wish_of(letter: &Letter, evidence: &EvidenceText) -> Wish {
    Wish::Discard {
        event_id: letter.dead.outcome.event_id,
        entity_id: letter.entity_id().cloned(),
        evidence: evidence.clone(),
    }
}

fn report(puts: &[Put], letters: &[Letter], as_json: bool) -> Exit {
    let mut exit = Exit::Done;
    for (put, letter) in puts.iter().zip(letters) {
        exit = exit.worse(put.exit());
        if as_json {
            let mut told = put.json();
            if let Some(told) = told.as_object_mut() {
                told.insert("event_id".to_owned(), letter.event_id().into());
            }
            say_json(&told);
        } else {
            let name = words::tame(&letter.name());
            say(&format!("{name}: {}\n", put.words()));
        }
    }
    if !as_json {
        say(&summary(puts, "to be put aside"));
    }
    exit
}
