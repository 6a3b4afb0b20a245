//! `tanda dead show`: one letter, with the bank's own words and what can be done.
//!
//! *What it promises.* Says whether money moved before anything else, and offers nothing that cannot be
//! done.
//!
//! *What it refuses to know.* The whole story of its job: that is `explain`.

use anyhow::anyhow;
use clap::Args;
use serde_json::Value;

use super::letter::Letter;
use crate::app::commands::reading::push;
use crate::app::commands::{open_visit, say, say_json, unreadable, warn_of_stale};
use crate::app::config::Config;
use crate::app::exit::{Exit, Failure};
use crate::app::words;
use crate::domain::money::Currencies;
use crate::domain::outcome::Status;
use crate::ledger::history::AskedOfLetter;

#[derive(Debug, Args)]
pub(in crate::app) struct ShowArgs {
    /// The `entity_id` or the event id; one `entity_id` can have several letters
    #[arg(value_name = "ENTITY_ID|EVENT_ID")]
    id: String,
    /// As JSON, a line for each
    #[arg(long)]
    json: bool,
}

pub(super) fn show(config: &Config, args: &ShowArgs) -> Result<Exit, Failure> {
    let currencies = super::currencies(config)?;
    let visitor = open_visit(config)?;
    warn_of_stale(&visitor);
    let mut found = Vec::new();
    visitor
        .dead_letters(|dead| {
            let letter = Letter::of(dead);
            if letter.is_named(&args.id) {
                found.push(letter);
            }
        })
        .map_err(unreadable)?;
    if found.is_empty() {
        let error = anyhow!(
            "no dead letter has the entity_id or event id {:?}: it may be done, put aside, or written in \
             another way. `tanda explain ENTITY_ID` tells what is known of a job",
            args.id
        );
        return Err(Failure::new(Exit::Input, error));
    }
    for letter in &found {
        if args.json {
            say_json(&object(letter));
        } else {
            say(&text(letter, &currencies));
        }
    }
    Ok(Exit::Done)
}

/// What `list` tells, with the bank's words and what can be done.
fn object(letter: &Letter) -> Value {
    let mut object = letter.json();
    if let Some(object) = object.as_object_mut() {
        let bank = letter.bank().map(|bank| serde_json::json!(bank));
        object.insert("bank".to_owned(), bank.unwrap_or_default());
        object.insert("to_do".to_owned(), Value::from(to_do(letter)));
    }
    object
}

fn text(letter: &Letter, currencies: &Currencies) -> String {
    let status = letter.status();
    let at = words::moment(letter.at());
    let name = words::tame(&letter.name());
    let meaning = words::of_status(status);
    let mut text = format!("{name}: {status} since {at}: {meaning}\n");
    for (head, value) in rows(letter, currencies) {
        push(&mut text, format_args!("  {head:<10} {value}\n"));
    }
    text.push_str("What can be done:\n");
    for line in to_do(letter) {
        push(&mut text, format_args!("  - {line}\n"));
    }
    text
}

fn rows(letter: &Letter, currencies: &Currencies) -> Vec<(&'static str, String)> {
    let (outcome, message) = (&letter.dead.outcome, letter.message.as_ref());
    let mut rows = Vec::new();
    if let Some((operation, amount)) = letter.asked_for() {
        let amount = words::amount(currencies, amount);
        let card = letter.card().map(|card| format!(" on card {card}"));
        let card = card.unwrap_or_default();
        rows.push(("job", format!("{operation} of {amount}{card}")));
    }
    if let Some(reason) = letter.reason() {
        let plain = words::of_reason(letter.status(), reason);
        let shown = words::tame(reason);
        let why = plain.map_or_else(|| shown.clone(), |plain| format!("{plain} ({shown})"));
        rows.push(("why", why));
    }
    if letter.status() == Status::Rejected
        && let Some(bank) = letter.bank()
    {
        rows.push(("the bank", words::of_bank(bank)));
        if let Some(log_id) = &bank.log_id {
            rows.push((
                "log id",
                format!("{} (for its support)", words::tame(log_id)),
            ));
        }
    }
    let line = message.and_then(|message| message.line);
    let line = line.map_or_else(String::new, |line| format!(", line {line}"));
    let batch = message.and_then(|message| message.batch_id.as_deref());
    let batch = batch.map_or_else(String::new, |batch| {
        format!(", batch {}", words::tame(batch))
    });
    rows.push((
        "from",
        format!("{}{line}{batch}", words::tame(letter.source())),
    ));
    if let (Some(generation), Some(message)) = (outcome.generation, message) {
        let calls = words::counted(
            message.attempts.into(),
            "call of the bank",
            "calls of the bank",
        );
        rows.push(("generation", format!("{generation}, {calls}")));
    }
    let told = if outcome.published {
        "told"
    } else {
        "not told yet"
    };
    rows.push(("event", format!("{}, {told}", letter.event_id())));
    match letter.dead.asked {
        Some(AskedOfLetter::Redrive) => rows.push(("asked", "to be run again".to_owned())),
        Some(AskedOfLetter::Discard) => rows.push(("asked", "to be put aside".to_owned())),
        None => {}
    }
    rows
}

/// What a person can do about it.
fn to_do(letter: &Letter) -> Vec<String> {
    let (id, event_id) = (words::tame(&letter.name()), letter.event_id());
    let discard = |id: &str| {
        format!("where it has been dealt with: `tanda dead discard {id} --by NAME --evidence TEXT`")
    };
    let redrive = format!("`tanda dead redrive {id} --by NAME`");
    match letter.status() {
        Status::Rejected | Status::NotSent => vec![
            format!("to pay it after all, once the cause is mended: {redrive}; the bank's list is asked first"),
            "to pay it with other content: a row of the same entity_id in a file, and `tanda run FILE \
             --again --by NAME`"
                .to_owned(),
            discard(&id),
        ],
        Status::Invalid => vec![
            "mend whatever made this message and send a corrected one: it was no job, so there is nothing \
             to run again"
                .to_owned(),
            discard(&event_id),
        ],
        Status::Conflict => vec![
            format!("`tanda explain {id}` tells of the job that has this entity_id, which may have been paid"),
            "only if this is another payment: send it under an entity_id of its own".to_owned(),
            discard(&event_id),
        ],
        Status::InDoubt | Status::Succeeded | Status::Waiting => vec![
            "do not pay it another way: ask the bank's support what became of it, then `tanda settle`"
                .to_owned(),
            format!("to have the bank's list asked again: {redrive}; nothing is sent while it is in doubt"),
        ],
    }
}
