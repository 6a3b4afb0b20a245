//! `tanda dead list`.
//!
//! *What it promises.* The newest letters, the newest last, and how many there are besides. Memory does
//! not grow with what is not shown (I11).
//!
//! *What it refuses to know.* What becomes of them.

use std::collections::BTreeMap;

use clap::Args;

use super::choice::{Choice, Filters};
use super::letter::{Letter, table};
use crate::app::commands::{open_visit, say, say_json, unreadable, warn_of_stale};
use crate::app::config::Config;
use crate::app::exit::{Exit, Failure};
use crate::app::words;

#[derive(Debug, Args)]
pub(in crate::app) struct ListArgs {
    #[command(flatten)]
    filters: Filters,
    /// How many of the newest are shown; all are counted
    #[arg(long, value_name = "N", default_value_t = 50)]
    limit: usize,
    /// As JSON, a line for each
    #[arg(long)]
    json: bool,
}

pub(super) fn list(config: &Config, args: &ListArgs) -> Result<Exit, Failure> {
    let currencies = super::currencies(config)?;
    let visitor = open_visit(config)?;
    warn_of_stale(&visitor);
    let choice = Choice::new(&[], &args.filters);
    let mut newest = BTreeMap::new();
    let mut count = 0_u64;
    visitor
        .dead_letters(|dead| {
            let letter = Letter::of(dead);
            if choice.passes(&letter) {
                count += 1;
                newest.insert((letter.at(), count), letter);
                if newest.len() > args.limit {
                    newest.pop_first();
                }
            }
        })
        .map_err(unreadable)?;
    if args.json {
        for letter in newest.values() {
            say_json(&letter.json());
        }
        return Ok(Exit::Done);
    }
    if count == 0 {
        let like = if choice.is_filtered() {
            " like that"
        } else {
            ""
        };
        say(&format!("there are no dead letters{like}\n"));
        return Ok(Exit::Done);
    }
    let lines: Vec<_> = newest.values().map(|it| it.line(&currencies)).collect();
    say(&table(&lines));
    let shown = u64::try_from(lines.len()).unwrap_or(u64::MAX);
    let letters = words::counted(count, "dead letter", "dead letters");
    let older = match count - shown {
        0 => String::new(),
        older => format!(", {older} older ones not shown (--limit N shows more)"),
    };
    say(&format!(
        "{letters}{older}. `tanda dead show ENTITY_ID` tells everything about one\n"
    ));
    Ok(Exit::Done)
}
