//! The report of a drill: something that can be handed to an auditor.
//!
//! *What it promises.* Text and JSON say the same: what was done, what was found, how each invariant was
//! checked and how it stands, and how to repeat it. What was not exercised is not called held. No
//! password stands in it.
//!
//! *What it refuses to know.* How the drill went about it.

mod json;
mod text;

pub(super) use self::json::json;
pub(super) use self::text::text;

use std::time::Duration;

use super::tally::Tally;
use crate::domain::time::Timestamp;

/// Everything that is reported.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) began: Timestamp,
    pub(super) lasted: Duration,
    pub(super) seed: u64,
    /// The command that repeats it.
    pub(super) repeat: String,
    /// Where the jobs came from, and by which way they went.
    pub(super) jobs: String,
    pub(super) way: String,
    /// Whether RabbitMQ's connections could be hurt; none without RabbitMQ.
    pub(super) broker_is_hurt: Option<bool>,
    pub(super) tally: Tally,
    /// The folder of what was broken, where something was.
    pub(super) kept: Option<String>,
    /// Whether the faults that were asked for go beyond what is taken for granted of a bank.
    pub(super) goes_beyond: bool,
    /// The table of movements, where there is one.
    pub(super) table: Option<String>,
}

/// What stands above everything: what this is and what it is not.
pub(super) const OPENING: &str = "This is a drill: a simulated bank on this machine, made-up money, a ledger of its own that goes \
     with it. No real bank, no real ledger and no setting of yours is used.";

/// What a drill takes for granted of a bank, as the rules do.
pub(super) fn assumptions() -> [String; 3] {
    let settle_delay_s = super::plan::SETTLE_DELAY_S;
    [
        format!(
            "what was sent is executed and in the bank's list within {settle_delay_s} s of the last attempt, or never \
             (with a real bank: engine.settle_delay_s, 300 s unless set)"
        ),
        "a key is remembered for longer than a resend can take".to_owned(),
        "a list that has shown an entity_id goes on showing it".to_owned(),
    ]
}

/// The program's own version, and how it was built: only what was built for use proves what is used.
fn version() -> String {
    let build = if cfg!(debug_assertions) {
        "debug"
    } else {
        "release"
    };
    format!("{} ({build})", env!("CARGO_PKG_VERSION"))
}
