//! Floor 2: the job's way.
//!
//! *What it promises.* Everything outside is behind a door of [`ports`], each of which says what is
//! true once a call returns.
//!
//! *What it refuses to know.* SQL, HTTP, AMQP, files, and what the rules decide (that is
//! [`domain`](crate::domain)).

pub mod ports;
