#![doc = include_str!("../ARCHITECTURE.md")]

pub mod domain;
pub mod engine;
pub mod telemetry;
pub mod files;
pub mod ledger;
pub mod wire;
