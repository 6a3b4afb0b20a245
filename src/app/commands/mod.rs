//! One file for each command.
//!
//! *What it promises.* A command composes rooms and tells people what came of it.
//!
//! *What it refuses to know.* The rules of a job's way.

use std::io::Write as _;

pub(super) mod cancel;
pub(super) mod check;
pub(super) mod completions;
pub(super) mod config;
mod expect;
pub(super) mod hold;
pub(super) mod init;
mod intake;
pub(super) mod key;
pub(super) mod man;
mod reading;
pub(super) mod reconcile;
mod requests;
pub(super) mod run;
pub(super) mod settle;
pub(super) mod simulator;

use anyhow::anyhow;

use crate::app::config::Config;
use crate::app::exit::{Exit, Failure};
use crate::domain::job::EntityId;
use crate::ledger::Visitor;

/// A visit to the ledger of the settings.
fn open_visit(config: &Config) -> Result<Visitor, Failure> {
    let path = config
        .ledger_path()
        .map_err(|error| Failure::new(Exit::Usage, error))?;
    Visitor::open(&path).map_err(|error| Failure::new(Exit::Unusable, error))
}

/// An `entity_id` from the command line.
fn entity_id(text: &str) -> Result<EntityId, Failure> {
    EntityId::parse(text).map_err(|fault| {
        let error = anyhow!("the entity_id {:?} {}", fault.value, fault.message);
        Failure::new(Exit::Usage, error)
    })
}

/// One line of JSON for stdout.
fn say_json(value: &serde_json::Value) {
    say(&format!("{value}\n"));
}

/// Data for stdout. That nobody reads it any more (`| head`) must not end a command that has moved
/// money.
fn say(text: &str) {
    say_bytes(text.as_bytes());
}

/// The same, for what is not known to be text.
fn say_bytes(bytes: &[u8]) {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(bytes).ok();
    stdout.flush().ok();
}
