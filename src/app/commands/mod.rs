//! One file for each command.
//!
//! *What it promises.* A command composes rooms and tells people what came of it.
//!
//! *What it refuses to know.* The rules of a job's way.

pub(super) mod init;
pub(super) mod run;
pub(super) mod simulator;
