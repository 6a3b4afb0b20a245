//! Integration tests, in one binary: a room or a way through the house each.

mod simulator;
