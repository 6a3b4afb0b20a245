//! tanda
pub mod domain;
pub mod engine;
pub mod telemetry;
pub mod wire;
