//! Floor 0: the values and rules of moving money once.
//!
//! *What this is.* Jobs, money, keys, verdicts, outcomes, and the one total transition function
//! ([`progress::advance`]) that live work, recovery, simulation and tests share.
//!
//! *What it promises.* Every function here is pure and deterministic: same input, same answer.
//! Money is an integer everywhere.
//!
//! *What it refuses to know.* Any clock, any I/O, any async, any serialised shape, any other room.

pub mod card_number;
pub mod digest;
pub mod job;
pub mod key;
pub mod listing;
pub mod money;
pub mod operation;
pub mod outcome;
pub mod progress;
pub mod request;
pub mod schedule;
pub mod time;
pub mod verdict;
