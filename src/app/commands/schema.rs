//! `tanda schema job|outcome|asyncapi`: the contract of the messages.
//!
//! *What it promises.* JSON on stdout and nothing else.
//!
//! *What it refuses to know.* Any broker.

use clap::{Args, ValueEnum};

use super::say;
use crate::app::exit::Exit;
use crate::wire::schema;

#[derive(Debug, Args)]
pub(in crate::app) struct SchemaArgs {
    /// Which
    which: Which,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Which {
    /// JSON Schema of the job message, `tanda.job.v1`
    Job,
    /// JSON Schema of the outcome message, `tanda.outcome.v1`
    Outcome,
    /// A document of `AsyncAPI` 3 with both, their queues and properties
    Asyncapi,
}

pub(in crate::app) fn schema(args: &SchemaArgs) -> Exit {
    match args.which {
        Which::Job => say(schema::JOB),
        Which::Outcome => say(schema::OUTCOME),
        Which::Asyncapi => say(&schema::asyncapi()),
    }
    Exit::Done
}
