//! tanda
pub mod domain;
pub mod engine;
pub mod ledger;
pub mod wire;
