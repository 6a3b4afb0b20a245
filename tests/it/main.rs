//! Integration tests, one binary.

mod crash;
mod flow;
mod support;
