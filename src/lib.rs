//! tanda
pub mod bank;
pub mod domain;
pub mod engine;
pub mod wire;
