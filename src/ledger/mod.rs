//! Floor 3: the ledger port, kept in SQLite (the default) or in memory (for tests).
//!
//! *What it promises.* What `engine::ports::Ledger` promises, the same in both: `tests/it/contract.rs`
//! runs one suite over them. What a call has answered is durable; what it could not do ends the
//! process. Attempts, asks and outcomes are only ever added. A ledger that has forgotten, belongs
//! to another namespace or bank, or is in use elsewhere is not opened.
//!
//! *What it refuses to know.* Why a job came to its outcome, how outcomes are published, and the
//! bank. This is the only room that knows SQL.
//!
//! Where a caller breaks the rules of the port (settles with an interim status, names a job that
//! was never recorded, changes an attempt on record), the answer is a
//! [`LedgerError`](crate::engine::ports::LedgerError) too: going on would write down something
//! untrue about money.

mod anchor;
mod boot;
mod error;
pub mod history;
mod memory;
mod place;
mod rules;
mod sqlite;

pub use error::{Forgotten, OpenError};
pub use memory::MemoryLedger;
pub use sqlite::{Accepted, Binding, PrunePlace, PruneStep, Pruner, SqliteLedger, Visitor};
