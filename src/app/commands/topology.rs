//! `tanda topology`: queues, exchanges and bindings, shown, checked and made.
//!
//! *What it promises.* Without `--declare` it makes nothing. A difference from what the broker has names
//! the queue or exchange and the argument.
//!
//! *What it refuses to know.* What goes through them.

use std::fmt::Write as _;

use clap::Args;
use serde_json::{Value, json};

use super::{say, say_json};
use crate::amqp::topology::Argument;
use crate::amqp::{AmqpError, Broker, Topology};
use crate::app::compose;
use crate::app::config::Config;
use crate::app::exit::{Exit, Failure};

#[derive(Debug, Args)]
pub(in crate::app) struct TopologyArgs {
    /// Make what is missing at the broker; what is there must be as it is wanted
    #[arg(long, conflicts_with = "json")]
    declare: bool,
    /// As definitions that RabbitMQ imports; asks no broker
    #[arg(long)]
    json: bool,
}

pub(in crate::app) async fn topology(
    config: &Config,
    args: &TopologyArgs,
) -> Result<Exit, Failure> {
    let wanted = Topology::new(&compose::names(config), config.amqp.results_max_length);
    if args.json {
        say_json(&definitions(&wanted));
        return Ok(Exit::Done);
    }
    say(&table(&wanted));
    if config.amqp.url.is_none() && config.amqp.url_file.is_none() {
        say("\nno broker was looked at: TANDA_AMQP__URL says where it is\n");
        return Ok(Exit::Done);
    }
    let broker = compose::broker(config)?;
    let place = broker.settings().place();
    let looked = look(&broker, &wanted, args.declare).await;
    match looked {
        Ok(()) => {
            say(&format!(
                "\neverything is there at {place}, as it is wanted\n"
            ));
            Ok(Exit::Done)
        }
        Err(error @ AmqpError::Differs(_)) => Err(Failure::new(Exit::Unusable, error)),
        Err(error) => Err(compose::amqp_failure(&error)),
    }
}

async fn look(broker: &Broker, wanted: &Topology, declares: bool) -> Result<(), AmqpError> {
    let connection = broker.connect("topology").await?;
    let looked = if declares {
        wanted.declare(&connection).await
    } else {
        wanted.check(&connection).await
    };
    // What was looked at stands, however the farewell goes.
    drop(connection.close(200, "done".into()).await);
    looked
}

/// For people.
fn table(wanted: &Topology) -> String {
    let mut table = String::new();
    let mut line = |text: String| writeln!(table, "{text}").expect("a string takes every text");
    for exchange in &wanted.exchanges {
        line(format!("exchange {:<20} {}", exchange.name, exchange.kind));
    }
    for queue in &wanted.queues {
        let arguments: Vec<_> = queue
            .arguments
            .iter()
            .map(|(name, argument)| format!("{name}={}", value(argument)))
            .collect();
        line(format!(
            "queue    {:<20} {}",
            queue.name,
            arguments.join(" ")
        ));
    }
    for binding in &wanted.bindings {
        let (exchange, queue, key) = (&binding.exchange, &binding.queue, binding.key);
        line(format!(
            "binding  {exchange:<20} to {queue}, routing key {key}"
        ));
    }
    table
}

fn value(argument: &Argument) -> Value {
    match argument {
        Argument::Text(text) => text.as_str().into(),
        Argument::Number(number) => (*number).into(),
        Argument::Flag(is_set) => (*is_set).into(),
    }
}

/// As RabbitMQ imports and exports it.
fn definitions(wanted: &Topology) -> Value {
    let exchanges = wanted.exchanges.iter().map(|exchange| {
        json!({
            "name": exchange.name, "vhost": "/", "type": exchange.kind, "durable": true,
            "auto_delete": false, "internal": false, "arguments": {},
        })
    });
    let queues = wanted.queues.iter().map(|queue| {
        let arguments = queue.arguments.iter();
        let arguments = arguments.map(|(name, it)| ((*name).to_owned(), value(it)));
        let arguments: serde_json::Map<_, _> = arguments.collect();
        json!({
            "name": queue.name, "vhost": "/", "durable": true, "auto_delete": false,
            "arguments": arguments,
        })
    });
    let bindings = wanted.bindings.iter().map(|binding| {
        json!({
            "source": binding.exchange, "vhost": "/", "destination": binding.queue,
            "destination_type": "queue", "routing_key": binding.key, "arguments": {},
        })
    });
    json!({
        "exchanges": exchanges.collect::<Vec<_>>(),
        "queues": queues.collect::<Vec<_>>(),
        "bindings": bindings.collect::<Vec<_>>(),
    })
}
