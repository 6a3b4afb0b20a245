//! Floor 1: the shapes that strangers see, and the only serde for them.
//!
//! *What this is.* [`bank`]: requests, error envelopes and lists as the bank's page has them, read
//! by the client and written by the simulator. [`job`] and [`outcome`]: the messages of the queues,
//! `tanda.job.v1` and `tanda.outcome.v1`; [`envelope`]: what travels with them; [`schema`]: their contract
//! for machines.
//! [`check`]: what a checked file holds, line by line.
//!
//! *What it promises.* Bytes are a pure function of values; field order is fixed. Amounts are JSON
//! integers of minor units, both ways.
//!
//! *What it refuses to know.* Sockets, files, and what any of it means for a job.

pub mod bank;
pub mod check;
pub mod envelope;
pub mod job;
mod object;
pub mod outcome;
pub mod schema;
