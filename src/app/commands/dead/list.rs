//! `tanda dead list`.
//!
//! *What it promises.* The newest letters, the newest last; all of them are counted and summed, per
//! currency and operation and never together. Memory does not grow with what is not shown (I11).
//!
//! *What it refuses to know.* What becomes of them.
//!
//! As JSON, the last line is
//! `{"summary": {count, shown, without_amount, totals[] {currency, operation, count, minor}}}`.

use std::collections::BTreeMap;

use clap::Args;
use serde_json::{Value, json};

use super::choice::{Choice, Filters};
use super::letter::{Letter, table};
use crate::app::commands::reading::{push, push_totals};
use crate::app::commands::{open_visit, say, say_json, unreadable, warn_of_stale};
use crate::app::config::Config;
use crate::app::exit::{Exit, Failure};
use crate::app::words;
use crate::domain::money::{Currencies, Totals};
use crate::domain::outcome::Status;
use crate::domain::time::Timestamp;
use crate::ledger::Visitor;

#[derive(Debug, Args)]
pub(in crate::app) struct ListArgs {
    #[command(flatten)]
    filters: Filters,
    /// Also those that were put aside, or whose job was run again
    #[arg(long)]
    all: bool,
    /// How many of the newest are shown; all are counted
    #[arg(long, value_name = "N", default_value_t = 50)]
    limit: usize,
    /// As JSON, a line for each, and a last one with their count and sums
    #[arg(long)]
    json: bool,
}

/// What was found.
#[derive(Default)]
struct Found {
    /// The newest, by when they came to be.
    newest: BTreeMap<(Timestamp, u64), Letter>,
    count: u64,
    in_doubt: u64,
    /// What they ask for, where that can be read.
    totals: Totals,
}

impl Found {
    fn of(visitor: &Visitor, choice: &Choice<'_>, args: &ListArgs) -> Result<Self, Failure> {
        let mut found = Self::default();
        let add = |dead| {
            let letter = Letter::of(dead);
            if choice.passes(&letter) {
                found.add(letter, args.limit);
            }
        };
        let visited = if args.all {
            visitor.dead_letters_ever(add)
        } else {
            visitor.dead_letters(add)
        };
        visited.map_err(unreadable)?;
        Ok(found)
    }

    fn add(&mut self, letter: Letter, limit: usize) {
        self.count += 1;
        self.in_doubt += u64::from(letter.status() == Status::InDoubt);
        if let Some((operation, amount)) = letter.asked_for() {
            self.totals.add(operation, amount);
        }
        self.newest.insert((letter.at(), self.count), letter);
        if self.newest.len() > limit {
            self.newest.pop_first();
        }
    }

    fn shown(&self) -> u64 {
        u64::try_from(self.newest.len()).unwrap_or(u64::MAX)
    }

    fn without_amount(&self) -> u64 {
        self.count.saturating_sub(self.totals.count())
    }

    fn text(&self, currencies: &Currencies) -> String {
        let lines: Vec<_> = self.newest.values().map(|it| it.line(currencies)).collect();
        let mut text = table(&lines);
        let letters = words::counted(self.count, "dead letter", "dead letters");
        let older = match self.count.saturating_sub(self.shown()) {
            0 => String::new(),
            1 => ", 1 older one not shown (--limit N shows more)".to_owned(),
            older => format!(", {older} older ones not shown (--limit N shows more)"),
        };
        push(
            &mut text,
            format_args!(
                "{letters}{older}. `tanda dead show ENTITY_ID` tells everything about one\n"
            ),
        );
        if !self.totals.is_empty() {
            text.push_str("They asked for:\n");
            push_totals(&mut text, "  ", &self.totals, currencies);
        }
        if self.without_amount() > 0 {
            let others = words::counted(self.without_amount(), "message", "messages");
            push(
                &mut text,
                format_args!("  and {others} in which no amount could be read\n"),
            );
        }
        if self.in_doubt > 0 {
            let in_doubt = words::counted(self.in_doubt, "is IN DOUBT", "are IN DOUBT");
            push(
                &mut text,
                format_args!("{in_doubt}: that money may have moved. Do not pay it another way\n"),
            );
        }
        text
    }

    fn summary(&self) -> Value {
        let totals = self.totals.iter().map(|(currency, operation, sum)| {
            json!({
                "currency": currency.as_str(),
                "operation": operation.as_str(),
                "count": sum.count,
                // As a text where no JSON number holds it: never rounded, never cut.
                "minor": i64::try_from(sum.minor)
                    .map_or_else(|_| Value::from(sum.minor.to_string()), Value::from),
            })
        });
        json!({ "summary": {
            "count": self.count,
            "shown": self.shown(),
            "without_amount": self.without_amount(),
            "totals": totals.collect::<Vec<_>>(),
        } })
    }
}

pub(super) fn list(config: &Config, args: &ListArgs) -> Result<Exit, Failure> {
    let currencies = super::currencies(config)?;
    let visitor = open_visit(config)?;
    warn_of_stale(&visitor);
    let choice = Choice::new(&[], &args.filters);
    let found = Found::of(&visitor, &choice, args)?;
    if args.json {
        for letter in found.newest.values() {
            say_json(&letter.json());
        }
        say_json(&found.summary());
    } else if found.count == 0 {
        say(nothing(args.all, choice.is_filtered()));
    } else {
        say(&found.text(&currencies));
    }
    Ok(Exit::Done)
}

/// What it means that there are none.
const fn nothing(all: bool, is_filtered: bool) -> &'static str {
    match (is_filtered, all) {
        (true, true) => "there are no dead letters like that\n",
        (true, false) => {
            "there are no dead letters like that; with --all, those that were dealt with are listed too\n"
        }
        (false, true) => {
            "there are no dead letters, and this ledger has none that were dealt with\n"
        }
        (false, false) => {
            "there are no dead letters: nothing was refused, unsent or left to a person that has not been \
             run again or put aside. What still waits or is in doubt: `tanda status`\n"
        }
    }
}
