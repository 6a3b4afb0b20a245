//! tanda
pub mod domain;
pub mod engine;
pub mod simulator;
pub mod wire;
