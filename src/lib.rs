#![doc = include_str!("../ARCHITECTURE.md")]

pub mod amqp;
pub mod app;
pub mod bank;
pub mod domain;
pub mod engine;
pub mod files;
pub mod ledger;
pub mod simulator;
pub mod telemetry;
pub mod wire;
