//! One file for each command.
//!
//! *What it promises.* A command composes rooms and tells people what came of it.
//!
//! *What it refuses to know.* The rules of a job's way.

use std::io::Write as _;

pub(super) mod init;
pub(super) mod run;
pub(super) mod simulator;

/// Data for stdout. That nobody reads it any more (`| head`) must not end a command that has moved
/// money.
fn say(text: &str) {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(text.as_bytes()).ok();
    stdout.flush().ok();
}
