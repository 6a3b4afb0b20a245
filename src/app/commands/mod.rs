//! One file for each command.
//!
//! *What it promises.* A command composes rooms and tells people what came of it.
//!
//! *What it refuses to know.* The rules of a job's way.

use std::io::Write as _;

mod bar;
pub(super) mod cancel;
pub(super) mod check;
pub(super) mod completions;
pub(super) mod config;
mod confirm;
pub(super) mod dead;
pub(super) mod doctor;
pub(super) mod drill;
pub(super) mod enqueue;
mod expect;
pub(super) mod explain;
pub(super) mod init;
mod intake;
pub(super) mod key;
pub(super) mod ledger;
pub(super) mod man;
pub(super) mod pause;
mod reading;
pub(super) mod reconcile;
mod requests;
pub(super) mod run;
pub(super) mod schema;
pub(super) mod settle;
pub(super) mod simulator;
pub(super) mod status;
pub(super) mod topology;
pub(super) mod worker;

use anyhow::anyhow;

use crate::app::config::Config;
use crate::app::exit::{Exit, Failure};
use crate::app::streams::tell;
use crate::domain::job::EntityId;
use crate::engine::ports::LedgerError;
use crate::ledger::{OpenError, Visitor};

/// A visit to the ledger of the settings.
fn open_visit(config: &Config) -> Result<Visitor, Failure> {
    let path = config
        .ledger_path()
        .map_err(|error| Failure::new(Exit::Usage, error))?;
    Visitor::open(&path).map_err(|error| Failure::new(Exit::Unusable, error))
}

/// Warns where what this ledger says may be out of date: it is a copy, or has forgotten something.
/// It can still be read.
fn warn_of_stale(visitor: &Visitor) {
    let why = match visitor.check_anchor() {
        Ok(()) => return,
        Err(OpenError::Forgot { how, .. }) => how.to_string(),
        Err(error) => format!("{:#}", anyhow::Error::new(error)),
    };
    tell(&format!(
        "warning: {} is a copy, or has forgotten something: {why}. What it says may be out of date: \
         pay nothing because of it\n",
        visitor.path().display()
    ));
}

/// A ledger that cannot be read.
fn unreadable(error: LedgerError) -> Failure {
    let context = "what the ledger knows could not be read; nothing was sent and nothing was \
                   changed. If the file is damaged, keep it as it is, with everything beside it";
    Failure::new(Exit::Unusable, anyhow::Error::new(error).context(context))
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
