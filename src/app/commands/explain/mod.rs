//! `tanda explain`: everything that is on record about one job, for a person first.
//!
//! *What it promises.* The first sentence says whether the money moved. The story below it is in the
//! order of time and leaves nothing out. Needs no bank and no token, and works beside a process that
//! owns the ledger. The card is shortened.
//!
//! *What it refuses to know.* Anything that is not in the ledger.
//!
//! [`answer`]: the first sentence. [`story`]: what happened. [`json`]: the same for programs.

mod answer;
mod json;
mod story;

use std::fmt::Write as _;

use anyhow::anyhow;
use clap::Args;

use self::answer::Answer;
use super::{entity_id, open_visit, say, say_json, unreadable, warn_of_stale};
use crate::app::config::Config;
use crate::app::exit::{Exit, Failure};
use crate::app::words;
use crate::domain::job::EntityId;
use crate::domain::key::Generation;
use crate::domain::money::Currencies;
use crate::domain::time::Timestamp;
use crate::engine::SystemClock;
use crate::engine::ports::{Clock as _, Intent};
use crate::ledger::Visitor;
use crate::ledger::history::{GenerationHistory, History};

#[derive(Debug, Args)]
pub(in crate::app) struct ExplainArgs {
    /// The job
    entity_id: String,
    /// As one JSON object
    #[arg(long)]
    json: bool,
}

/// What is known of one job, and what is needed to tell it.
struct Known<'a> {
    entity_id: &'a EntityId,
    history: &'a History,
    /// Whether a process owns the ledger now.
    is_owned: bool,
    now: Timestamp,
    currencies: &'a Currencies,
}

impl Known<'_> {
    /// What is or was to be sent last.
    fn intent(&self) -> Option<&Intent> {
        let held = self.history.held.as_ref().map(|held| &held.intent);
        held.or_else(|| self.newest().map(|newest| &newest.intent))
    }

    fn newest(&self) -> Option<&GenerationHistory> {
        self.history.generations.last()
    }
}

pub(in crate::app) fn explain(config: &Config, args: &ExplainArgs) -> Result<Exit, Failure> {
    let entity_id = entity_id(&args.entity_id)?;
    let currencies = config
        .currencies()
        .map_err(|error| Failure::new(Exit::Usage, error))?;
    let visitor = open_visit(config)?;
    warn_of_stale(&visitor);
    // Looked at first: what a process has finished meanwhile is on record when the history is read.
    let is_owned = visitor.is_owned().map_err(unreadable)?;
    let history = visitor.history(&entity_id).map_err(unreadable)?;
    if history.is_empty() {
        return unknown(&visitor, &entity_id, args.json);
    }
    let known = Known {
        entity_id: &entity_id,
        history: &history,
        is_owned,
        now: SystemClock.wall(),
        currencies: &currencies,
    };
    let answer = answer::of(&known);
    if args.json {
        say_json(&json::object(&known, &answer));
    } else {
        say(&text(&known, &answer));
    }
    Ok(Exit::Done)
}

/// Nothing is on record. What is written almost the same may be.
fn unknown(visitor: &Visitor, entity_id: &EntityId, as_json: bool) -> Result<Exit, Failure> {
    if as_json {
        say_json(&serde_json::json!({ "entity_id": entity_id.as_str(), "status": "unknown" }));
    }
    let text = entity_id.as_str();
    let mut hint = "an entity_id is compared letter by letter: capitals, accents, spaces and \
                    leading zeros count"
        .to_owned();
    for near in [text.to_uppercase(), text.to_lowercase()] {
        let near = EntityId::parse(&near).ok().filter(|near| near != entity_id);
        let Some(near) = near else { continue };
        if !visitor.history(&near).map_err(unreadable)?.is_empty() {
            hint = format!("there is one that is written {near}");
        }
    }
    let error = anyhow!(
        "the ledger {} knows nothing of {text:?}: nothing of this name was begun with it. Look at how \
         it is written ({hint}), and at whether this is the right ledger",
        visitor.path().display()
    );
    Err(Failure::new(Exit::Input, error))
}

fn text(known: &Known<'_>, answer: &Answer) -> String {
    let mut text = format!(
        "{}: {}\n",
        words::tame(known.entity_id.as_str()),
        answer.sentence
    );
    if let Some(todo) = &answer.todo {
        writeln!(text, "To do: {todo}").expect("a string takes it");
    }
    text.push('\n');
    if let Some(intent) = known.intent() {
        push_job(&mut text, known, intent);
    }
    text.push_str("What happened (times are UTC):\n");
    for event in story::of(known) {
        let at = words::column_moment(event.at);
        writeln!(text, "  {at}  {}", event.text).expect("a string takes it");
    }
    if known.history.panics > 0 {
        let times = words::counted(known.history.panics.into(), "time", "times");
        writeln!(
            text,
            "A fault of tanda stopped the work on it {times}: please report it."
        )
        .expect("a string takes it");
    }
    text
}

fn push_job(text: &mut String, known: &Known<'_>, intent: &Intent) {
    let mut rows = vec![("job", answer::subject(known, &intent.job))];
    if let Some(description) = &intent.job.description {
        rows.push(("text", format!("\"{}\"", words::tame(description))));
    }
    rows.push(("from", story::origin(intent)));
    if let Some(not_after) = intent.job.not_after {
        rows.push(("not after", words::moment(not_after)));
    }
    rows.push(("key", format!("{} (for the bank's support)", intent.key)));
    if intent.generation != Generation::FIRST {
        rows.push(("generation", intent.generation.to_string()));
    }
    for (name, value) in rows {
        writeln!(text, "  {name:<10} {value}").expect("a string takes it");
    }
    text.push('\n');
}
