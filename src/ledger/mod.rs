//! ledger
mod memory;
pub use memory::MemoryLedger;
