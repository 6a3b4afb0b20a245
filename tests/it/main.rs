//! Integration tests, one binary: a module for each subject.

mod bad_input;
mod bank;
mod check;
mod config;
mod contract;
mod crash;
mod dead;
mod dead_commands;
mod dead_letters;
mod decisions;
mod deploy;
mod disk;
mod drill;
mod files;
mod flow;
mod holding;
mod ledger;
mod logs;
mod losses;
mod origins;
mod pause;
mod people;
mod requests;
mod run;
mod simulator;
mod support;
