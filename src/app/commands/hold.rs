//! `tanda pause` and `tanda resume`: a person holds the flow, and lets it go on.
//!
//! *What it promises.* A pause holds whichever process pays, now or later, until it is resumed. It
//! costs no job anything.
//!
//! *What it refuses to know.* The pauses that come from the bank or the disk.

use clap::Args;

use super::requests::{Unowned, person, put};
use super::{say, say_json};
use crate::app::config::Config;
use crate::app::exit::{Exit, Failure};
use crate::domain::request::Wish;

#[derive(Debug, Args)]
pub(in crate::app) struct HoldArgs {
    /// Who asks
    #[arg(long, value_name = "NAME")]
    by: String,
    /// As JSON
    #[arg(long)]
    json: bool,
}

pub(in crate::app) async fn pause(config: &Config, args: HoldArgs) -> Result<Exit, Failure> {
    let unowned = "held: nothing is running now, and whatever is started sends nothing until \
                   `tanda resume`";
    hold(config, args, Wish::Pause, unowned).await
}

pub(in crate::app) async fn resume(config: &Config, args: HoldArgs) -> Result<Exit, Failure> {
    let unowned = "resumed: nothing is running now, and whatever is started may send";
    hold(config, args, Wish::Resume, unowned).await
}

async fn hold(config: &Config, args: HoldArgs, wish: Wish, unowned: &str) -> Result<Exit, Failure> {
    let by = person(&args.by)?;
    let holds = wish == Wish::Pause;
    let put = put(config, vec![wish], &by, Unowned::Leave).await?;
    let answer = put.into_iter().next().and_then(|put| put.answer);
    let words = answer.map_or_else(|| unowned.to_owned(), |answer| answer.words);
    if args.json {
        say_json(&serde_json::json!({ "held": holds, "answer": words }));
    } else {
        say(&format!("{words}\n"));
    }
    Ok(Exit::Done)
}
