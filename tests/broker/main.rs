//! Tests with real RabbitMQ nodes, which they start and kill themselves.

mod faults;
mod flow;
mod support;
