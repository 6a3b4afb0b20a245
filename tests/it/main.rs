//! Integration tests, one binary: a module for each subject.

mod crash;
mod files;
mod flow;
mod run;
mod simulator;
mod support;
