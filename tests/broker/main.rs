//! Tests with real RabbitMQ nodes, which they start and kill themselves.

mod flow;
mod support;
