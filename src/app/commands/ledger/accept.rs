//! `tanda ledger accept-loss`: going on with a ledger that has forgotten something.
//!
//! *What it promises.* Says what was lost and what accepting it means before anything is changed, and
//! nothing is accepted without a person's name and word. Sends nothing.
//!
//! *What it refuses to know.* How a loss is found and kept.

use anyhow::{Context as _, anyhow};
use clap::Args;

use crate::app::commands::requests::person;
use crate::app::commands::{say, say_json};
use crate::app::compose;
use crate::app::config::Config;
use crate::app::exit::{Exit, Failure};
use crate::app::prompt;
use crate::app::streams::tell;
use crate::app::words;
use crate::engine::SystemClock;
use crate::engine::ports::Clock as _;
use crate::ledger::{Accepted, OpenError, SqliteLedger};

/// What a person types.
const WORD: &str = "accept";

#[derive(Debug, Args)]
pub(in crate::app) struct AcceptArgs {
    /// Who accepts it
    #[arg(long, value_name = "NAME")]
    by: String,
    /// Do not ask for confirmation
    #[arg(long)]
    yes: bool,
    /// As one JSON object
    #[arg(long)]
    json: bool,
}

pub(super) fn accept(config: &Config, args: &AcceptArgs) -> Result<Exit, Failure> {
    let by = person(&args.by)?;
    if !args.yes && !prompt::has_person() {
        let error = anyhow!("without a terminal, add --yes. Nothing was accepted");
        return Err(Failure::new(Exit::Usage, error));
    }
    let path = config
        .ledger_path()
        .map_err(|error| Failure::new(Exit::Usage, error))?;
    let binding = compose::binding(config)?;
    let lost = SqliteLedger::find_loss(&path, &binding).map_err(refused)?;
    tell(&format!("{}: {lost}.\n\n{WHAT_IT_MEANS}\n", path.display()));
    if !args.yes && !is_confirmed()? {
        tell("Not accepted. Nothing was changed, and nothing is paid from this ledger.\n");
        return Ok(Exit::Usage);
    }
    let accepted = SqliteLedger::accept_loss(&path, &binding, &by, SystemClock.wall());
    let accepted = accepted.map_err(refused)?;
    if args.json {
        say_json(&serde_json::json!({
            "path": path.display().to_string(),
            "lost": accepted.lost.to_string(),
            "by": by.as_str(),
            "is_new": accepted.is_new,
            "aside": accepted.aside.iter().map(|it| it.display().to_string()).collect::<Vec<_>>(),
            "in_doubt": accepted.in_doubt,
            "waiting": accepted.held,
            "control": accepted.control.as_ref().map(|control| control.entity_id.as_str()),
        }));
    } else {
        say(&report(&accepted, by.as_str()));
    }
    Ok(Exit::Done)
}

/// What no ledger can restore, and what is done instead.
const WHAT_IT_MEANS: &str = "\
Payments may have been made of which nothing is known here any more. To accept that means:

- From now on, for as long as this ledger is used, no job that it does not know is sent, or called not
  sent, before the bank's list was asked about it. What the list shows is succeeded; nothing is paid twice.
- At first such jobs are in doubt for some minutes: what was sent last may not be listed yet.
- A message that the broker has delivered before, and that the list does not show, waits for a person:
  another outcome may have been told of it (tanda settle, then tanda dead redrive).
- Jobs that were told in_doubt or waiting are known only from the results queue and from result files.
  What was waiting may not be waited for any more: look there, and put such jobs in again.
- What this ledger calls rejected or not sent may have been run again, and paid, since it was written. It is
  asked about before it is run again; look at the bank's list before you pay it in another way.
- A job may be told a second final outcome, and jobs of one card may run in another order than they came.

Before you accept: look for the right file and its anchor once more, and make sure that no other process
of tanda pays from a copy of this ledger, on whichever machine.
";

fn is_confirmed() -> Result<bool, Failure> {
    let typed = prompt::ask(&format!("To accept the loss, type {WORD}: "))
        .context("the prompt could not be read; nothing was accepted")
        .map_err(Failure::internal)?;
    Ok(typed == WORD)
}

fn report(accepted: &Accepted, by: &str) -> String {
    let mut lines = vec![format!(
        "accepted by {by}, which is on record in the ledger"
    )];
    if accepted.is_new {
        lines.push("the ledger begins anew, without any job".to_owned());
    } else {
        let in_doubt = words::counted(accepted.in_doubt, "job", "jobs");
        let waiting = words::counted(accepted.held, "job", "jobs");
        lines.push(format!(
            "it knows {in_doubt} to be in doubt and {waiting} to wait; the next start asks the bank"
        ));
    }
    for aside in &accepted.aside {
        lines.push(format!(
            "put aside, and not read any more: {}",
            aside.display()
        ));
    }
    lines.push(match &accepted.control {
        Some(control) => format!(
            "the bank's list has shown {} before: what it does not show counts as not sent",
            control.entity_id.as_str()
        ),
        None => "it is not on record that this bank's list shows what was paid: until it shows one of the \
                 jobs that are asked about, what it does not show stays in doubt"
            .to_owned(),
    });
    lines.push(String::new());
    lines.join("\n")
}

fn refused(error: OpenError) -> Failure {
    let exit = if matches!(error, OpenError::NothingForgotten { .. }) {
        Exit::Usage
    } else {
        Exit::Unusable
    };
    Failure::new(
        exit,
        anyhow::Error::new(error).context("nothing was accepted"),
    )
}
