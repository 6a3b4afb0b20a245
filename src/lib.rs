//! tanda
pub mod domain;
pub mod engine;
pub mod files;
pub mod wire;
