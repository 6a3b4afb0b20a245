//! Tests with real RabbitMQ nodes, which they start and kill themselves.

mod bad_input;
mod cluster;
mod commands;
mod crash_points;
mod drill;
mod faults;
mod flow;
mod order;
mod samples;
mod support;
mod watched;
