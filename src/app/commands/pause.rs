//! `tanda pause` and `tanda resume`: a person holds the flow, and lets it go on.
//!
//! *What it promises.* A pause holds whichever process pays, now or later, until it is resumed. It
//! costs no job anything.
//!
//! *What it refuses to know.* The pauses that come from the bank or the disk.

use clap::Args;

use super::requests::{State, Unowned, person, put};
use super::{say, say_json};
use crate::app::config::Config;
use crate::app::exit::{Exit, Failure};
use crate::domain::request::Wish;

#[derive(Debug, Args)]
pub(in crate::app) struct PauseArgs {
    /// Who asks
    #[arg(long, value_name = "NAME")]
    by: String,
    /// As JSON
    #[arg(long)]
    json: bool,
}

pub(in crate::app) async fn pause(config: &Config, args: PauseArgs) -> Result<Exit, Failure> {
    let unowned = "held: nothing is running now, and whatever is started sends nothing until \
                   `tanda resume`";
    hold(config, args, Wish::Pause, unowned).await
}

pub(in crate::app) async fn resume(config: &Config, args: PauseArgs) -> Result<Exit, Failure> {
    let unowned = "resumed: nothing is running now, and whatever is started may send";
    hold(config, args, Wish::Resume, unowned).await
}

async fn hold(
    config: &Config,
    args: PauseArgs,
    wish: Wish,
    unowned: &str,
) -> Result<Exit, Failure> {
    let by = person(&args.by)?;
    let put = put(config, vec![wish], &by, Unowned::Leave).await?;
    let Some(put) = put.into_iter().next() else {
        return Ok(Exit::Done);
    };
    let words = match put.state {
        State::OnRecord => unowned,
        State::Answered(_) | State::OwnerSilent => put.words(),
    };
    if args.json {
        say_json(&serde_json::json!({
            "wish": put.wish.as_str(),
            "state": put.state_word(),
            "answer": words,
        }));
    } else {
        say(&format!("{words}\n"));
    }
    Ok(put.exit())
}
