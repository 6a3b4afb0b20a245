//! Integration tests, in one binary.

mod contract;
mod ledger;
