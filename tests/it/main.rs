//! Integration tests, one binary: a module for each subject.

mod bank;
mod check;
mod config;
mod contract;
mod crash;
mod decisions;
mod files;
mod flow;
mod ledger;
mod logs;
mod requests;
mod run;
mod simulator;
mod support;
