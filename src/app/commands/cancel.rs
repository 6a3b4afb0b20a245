//! `tanda cancel`: a job that has not been sent is not sent any more.
//!
//! *What it promises.* What may have been executed stays in doubt until that is known; a job that
//! has not come yet is not sent when it comes.
//!
//! *What it refuses to know.* Undoing a payment: there is no such thing here.

use clap::Args;

use super::requests::{Put, Unowned, person, put, unusable};
use super::{entity_id, open_visit, say, say_json};
use crate::app::config::Config;
use crate::app::exit::{Exit, Failure};
use crate::domain::job::EntityId;
use crate::domain::outcome::Status;
use crate::domain::request::Wish;
use crate::engine::too_late;
use crate::ledger::Visitor;

#[derive(Debug, Args)]
pub(in crate::app) struct CancelArgs {
    /// The jobs
    #[arg(required = true)]
    entity_ids: Vec<String>,
    /// Who cancels them
    #[arg(long, value_name = "NAME")]
    by: String,
    /// As JSON, a line for each
    #[arg(long)]
    json: bool,
}

pub(in crate::app) async fn cancel(config: &Config, args: CancelArgs) -> Result<Exit, Failure> {
    let by = person(&args.by)?;
    let wishes = args
        .entity_ids
        .iter()
        .map(|text| entity_id(text).map(Wish::Cancel))
        .collect::<Result<Vec<_>, _>>()?;
    let mut exit = Exit::Done;
    let (wishes, over) = apart(&open_visit(config)?, wishes)?;
    for (wish, status) in over {
        exit = Exit::Input;
        tell(args.json, &Put::declined(wish, too_late(status)));
    }
    for put in put(config, wishes, &by, Unowned::Leave).await? {
        exit = exit.worse(put.exit());
        tell(args.json, &put);
    }
    Ok(exit)
}

/// Jobs that are over, with their status.
type Over = Vec<(Wish, Status)>;

/// What may still be cancelled, and what is over.
fn apart(visitor: &Visitor, wishes: Vec<Wish>) -> Result<(Vec<Wish>, Over), Failure> {
    let (mut open, mut over) = (Vec::new(), Vec::new());
    for wish in wishes {
        let history = match wish.entity_id() {
            Some(entity_id) => visitor.history(entity_id).map_err(unusable)?,
            None => continue,
        };
        match history.final_status() {
            Some(status) => over.push((wish, status)),
            None => open.push(wish),
        }
    }
    Ok((open, over))
}

fn tell(as_json: bool, put: &Put) {
    if as_json {
        say_json(&put.json());
    } else {
        let name = put.wish.entity_id().map_or("", EntityId::as_str);
        say(&format!("{name}: {}\n", put.words()));
    }
}
