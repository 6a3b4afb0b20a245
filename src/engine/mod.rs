//! Floor 2: the job's way.
pub mod ports;
