//! `tanda cancel`: a job that has not been sent is not sent any more.
//!
//! *What it promises.* What may have been executed stays in doubt until that is known; a job that
//! has not come yet is not sent when it comes.
//!
//! *What it refuses to know.* Undoing a payment: there is no such thing here.

use clap::Args;

use super::requests::{ON_RECORD, Unowned, person, put, unusable};
use super::{entity_id, open_visit, say, say_json};
use crate::app::config::Config;
use crate::app::exit::{Exit, Failure};
use crate::domain::job::EntityId;
use crate::domain::outcome::Status;
use crate::domain::request::Wish;
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
    for (entity_id, status) in over {
        exit = Exit::Input;
        let words = format!("too late: this job is {status}, which is final");
        tell_one(args.json, &entity_id, false, true, &words);
    }
    for put in put(config, wishes, &by, Unowned::Leave).await? {
        let Wish::Cancel(entity_id) = &put.wish else {
            continue;
        };
        let refused = put.answer.as_ref().is_some_and(|answer| !answer.accepted);
        let words = match &put.answer {
            Some(answer) => answer.words.as_str(),
            None => ON_RECORD,
        };
        if refused {
            exit = Exit::Input;
        }
        tell_one(args.json, entity_id, !refused, put.answer.is_some(), words);
    }
    Ok(exit)
}

/// Jobs that are over, with their status.
type Over = Vec<(EntityId, Status)>;

/// What may still be cancelled, and what is over.
fn apart(visitor: &Visitor, wishes: Vec<Wish>) -> Result<(Vec<Wish>, Over), Failure> {
    let (mut open, mut over) = (Vec::new(), Vec::new());
    for wish in wishes {
        let history = match wish.entity_id() {
            Some(entity_id) => visitor.history(entity_id).map_err(unusable)?,
            None => continue,
        };
        match (wish.entity_id(), history.final_status()) {
            (Some(entity_id), Some(status)) => over.push((entity_id.clone(), status)),
            (_, _) => open.push(wish),
        }
    }
    Ok((open, over))
}

fn tell_one(as_json: bool, entity_id: &EntityId, accepted: bool, answered: bool, words: &str) {
    if as_json {
        say_json(&serde_json::json!({
            "entity_id": entity_id.as_str(),
            "accepted": accepted,
            "answered": answered,
            "answer": words,
        }));
    } else {
        say(&format!("{entity_id}: {words}\n"));
    }
}
