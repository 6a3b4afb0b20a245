//! `tanda dead redrive`: jobs that were rejected or not sent, run again as new attempts of the same
//! payments.
//!
//! *What it promises.* Each request names the generation after the one that was shown: put twice, it runs
//! once. Nothing is asked for before a person has agreed to the totals. Where no process owns the ledger,
//! the requests stay on record for the next one that pays.
//!
//! *What it refuses to know.* Whether money moved before: the process that owns the ledger asks the bank.

use anyhow::{Context as _, anyhow};
use clap::Args;

use super::choice::{Choice, Filters};
use super::frozen::Frozen;
use super::letter::Letter;
use crate::app::commands::expect::Expectation;
use crate::app::commands::requests::{Put, Unowned, person, put};
use crate::app::commands::{confirm, open_visit, say, say_json};
use crate::app::config::Config;
use crate::app::exit::{Exit, Failure};
use crate::app::prompt;
use crate::app::streams::tell;
use crate::app::words;
use crate::domain::money::Currencies;
use crate::domain::outcome::Status;
use crate::domain::request::Wish;

#[derive(Debug, Args)]
pub(in crate::app) struct RedriveArgs {
    /// The jobs [default: all that are as every filter says]
    entity_ids: Vec<String>,
    #[command(flatten)]
    filters: Filters,
    /// Who asks
    #[arg(long, value_name = "NAME")]
    by: String,
    /// Do not ask for confirmation (with --expect-total and --expect-count)
    #[arg(long)]
    yes: bool,
    /// What they must sum to, such as topup:COP:98450000.00; repeat for each currency and operation
    #[arg(long = "expect-total", value_name = "OPERATION:CURRENCY:AMOUNT")]
    expect_totals: Vec<String>,
    /// How many there must be
    #[arg(long, value_name = "N")]
    expect_count: Option<u64>,
    /// As JSON, a line for each
    #[arg(long)]
    json: bool,
}

pub(super) async fn redrive(config: &Config, args: RedriveArgs) -> Result<Exit, Failure> {
    let by = person(&args.by)?;
    let choice = Choice::of_some(&args.entity_ids, &args.filters)?;
    let currencies = super::currencies(config)?;
    let expected = Expectation::new(
        args.expect_count,
        "dead letters",
        &args.expect_totals,
        &currencies,
    )?;
    demand_consent(&args)?;
    let frozen = Frozen::of(&open_visit(config)?, &choice, may_be_redriven)?;
    tell(&frozen.preview(
        "To be run again, after the bank's list was asked about each",
        &currencies,
    ));
    tell_in_doubt(&frozen);
    if frozen.letters.is_empty() && args.expect_count.is_none_or(|count| count == 0) {
        tell("Nothing is to be run again.\n");
        return Ok(frozen.ends(Exit::Done));
    }
    if !is_consented(&args, &expected, &frozen, &currencies)? {
        tell("What was typed or expected is not what there is. Nothing was asked for.\n");
        return Ok(Exit::Input);
    }
    let wishes = frozen.letters.iter().filter_map(wish_of).collect();
    let puts = put(config, wishes, &by, Unowned::Leave).await?;
    Ok(frozen.ends(report(&puts, args.json)))
}

/// Without a person at the terminal, consent must stand on the command line.
fn demand_consent(args: &RedriveArgs) -> Result<(), Failure> {
    let stands = args.yes && !args.expect_totals.is_empty() && args.expect_count.is_some();
    if stands || (!args.yes && prompt::has_person()) {
        return Ok(());
    }
    let error = anyhow!(
        "to run them again without a prompt, add --yes, how many there must be (--expect-count N) and \
         what they must sum to, for each operation and currency (--expect-total \
         topup:COP:98450000.00). Nothing was asked for"
    );
    Err(Failure::new(Exit::Usage, error))
}

/// Why a letter cannot be run again.
fn may_be_redriven(letter: &Letter) -> Result<(), &'static str> {
    match letter.status() {
        Status::Rejected | Status::NotSent | Status::InDoubt if letter.asked_for().is_none() => {
            Err("what it asked for cannot be read")
        }
        Status::Rejected | Status::NotSent | Status::InDoubt => Ok(()),
        Status::Invalid => {
            Err("invalid: it was no job; send a corrected message, then discard this letter")
        }
        Status::Conflict => Err(
            "conflict: its entity_id is another job's; if this is another payment, send it under an \
             entity_id of its own",
        ),
        Status::Succeeded | Status::Waiting => Err("it is no dead letter"),
    }
}

/// What is in doubt is in the totals all the same: it may be settled before it is asked about.
fn tell_in_doubt(frozen: &Frozen) {
    let statuses = frozen.letters.iter().map(Letter::status);
    let in_doubt = statuses.filter(|it| *it == Status::InDoubt).count();
    if in_doubt > 0 {
        tell(&format!(
            "  {in_doubt} of these in doubt: the bank's list is asked, and nothing is sent while it does \
             not say that nothing moved\n"
        ));
    }
}

fn is_consented(
    args: &RedriveArgs,
    expected: &Expectation,
    frozen: &Frozen,
    currencies: &Currencies,
) -> Result<bool, Failure> {
    let totals = frozen.totals();
    let differences = expected.differences(frozen.count(), &totals, currencies);
    for difference in &differences {
        tell(&format!("{difference}\n"));
    }
    if !differences.is_empty() {
        return Ok(false);
    }
    if args.yes {
        return Ok(true);
    }
    confirm::ask_person(&totals, currencies, prompt::ask)
        .context("the prompt could not be read; nothing was asked for")
        .map_err(Failure::internal)
}

/// The generation after the one that was shown, and no other.
fn wish_of(letter: &Letter) -> Option<Wish> {
    Some(Wish::Redrive {
        entity_id: letter.entity_id()?.clone(),
        generation: letter.dead.outcome.generation?.next(),
    })
}

fn report(puts: &[Put], as_json: bool) -> Exit {
    let mut exit = Exit::Done;
    for put in puts {
        exit = exit.worse(put.exit());
        if as_json {
            say_json(&put.json());
        } else {
            let name = put.wish.entity_id().map_or("", |id| id.as_str());
            say(&format!("{}: {}\n", words::tame(name), put.words()));
        }
    }
    if !as_json {
        say(&summary(puts, "asked for"));
    }
    exit
}

/// How many were asked for, and what came of them.
pub(super) fn summary(puts: &[Put], what: &str) -> String {
    let count = |word: &str| puts.iter().filter(|put| put.state_word() == word).count();
    let parts = [
        ("accepted", count("accepted")),
        ("declined", count("declined")),
        ("on record", count("on_record")),
    ];
    let parts = parts.into_iter().filter(|(_, count)| *count > 0);
    let parts: Vec<_> = parts
        .map(|(word, count)| format!("{count} {word}"))
        .collect();
    format!("{} {what}: {}\n", puts.len(), parts.join(", "))
}
