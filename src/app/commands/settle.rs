//! `tanda settle`: a person says what became of a job in doubt.
//!
//! *What it promises.* The bank's list is asked first and has the last word on what it shows. Who
//! decided, and on what evidence, stays on record for ever. No money is sent.
//!
//! *What it refuses to know.* Whether the person is right.

use std::io::{BufRead as _, IsTerminal as _, Write as _, stderr, stdin};

use anyhow::{Context as _, anyhow};
use clap::{Args, ValueEnum};

use super::requests::{State, Unowned, person, put};
use super::{entity_id, say, say_json};
use crate::app::config::Config;
use crate::app::exit::{Exit, Failure};
use crate::app::streams::tell;
use crate::domain::request::{EvidenceText, Ruling, Wish};

#[derive(Debug, Args)]
pub(in crate::app) struct SettleArgs {
    /// The job in doubt
    entity_id: String,
    /// What became of it: `succeeded` (the money moved) or `not_sent` (it did not)
    #[arg(long = "as", value_name = "STATUS")]
    ruling: RulingArg,
    /// Who decides
    #[arg(long, value_name = "NAME")]
    by: String,
    /// How you know: a letter of the bank, its log id, a statement
    #[arg(long, value_name = "TEXT")]
    evidence: String,
    /// Do not ask for confirmation
    #[arg(long)]
    yes: bool,
    /// As JSON
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
#[value(rename_all = "snake_case")]
enum RulingArg {
    Succeeded,
    NotSent,
}

impl From<RulingArg> for Ruling {
    fn from(argument: RulingArg) -> Self {
        match argument {
            RulingArg::Succeeded => Self::Succeeded,
            RulingArg::NotSent => Self::NotSent,
        }
    }
}

pub(in crate::app) async fn settle(config: &Config, args: SettleArgs) -> Result<Exit, Failure> {
    let entity_id = entity_id(&args.entity_id)?;
    let by = person(&args.by)?;
    let evidence = EvidenceText::parse(&args.evidence).ok_or_else(|| {
        let error = anyhow!("--evidence: say in 1 to 2,000 characters, on one line, how you know");
        Failure::new(Exit::Usage, error)
    })?;
    let ruling = Ruling::from(args.ruling);
    if !args.yes && !is_confirmed(entity_id.as_str(), ruling)? {
        tell("Not confirmed. Nothing was decided.\n");
        return Ok(Exit::Usage);
    }
    let wish = Wish::Settle {
        entity_id,
        ruling,
        evidence,
    };
    let put = put(config, vec![wish], &by, Unowned::Attend).await?;
    let Some(put) = put.into_iter().next() else {
        return Ok(Exit::Done);
    };
    if args.json {
        say_json(&put.json());
    } else {
        let done = match &put.state {
            State::Answered(answer) if answer.accepted => "done: ",
            State::Answered(_) => "not done: ",
            State::OnRecord | State::OwnerSilent => "",
        };
        say(&format!("{done}{}\n", put.words()));
    }
    Ok(put.exit())
}

/// A decision about money asks for more than a "y".
fn is_confirmed(entity_id: &str, ruling: Ruling) -> Result<bool, Failure> {
    if !(stdin().is_terminal() && stderr().is_terminal()) {
        let error = anyhow!("without a terminal, add --yes. Nothing was decided");
        return Err(Failure::new(Exit::Usage, error));
    }
    let means = match ruling {
        Ruling::Succeeded => "the money moved; it will never be sent again",
        Ruling::NotSent => "the money did not move; a person may have it run again",
    };
    tell(&format!(
        "You say of {entity_id}: {means}. To decide so, type its entity_id: "
    ));
    let ask = || -> std::io::Result<String> {
        stderr().flush()?;
        let mut typed = String::new();
        stdin().lock().read_line(&mut typed)?;
        Ok(typed)
    };
    let typed = ask()
        .context("the prompt could not be read; nothing was decided")
        .map_err(Failure::internal)?;
    Ok(typed.trim() == entity_id)
}
