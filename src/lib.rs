//! tanda
pub mod domain;
pub mod engine;
pub mod wire;
