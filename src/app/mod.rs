//! Floor 4: the program: command line, configuration, composition.
//!
//! *What this is.* [`main`] parses arguments, runs one command and turns what came of it into an
//! exit code. The only clap, anyhow and environment of the house.
//!
//! *What it promises.* Data goes to stdout, everything else to stderr; each exit code means one
//! thing ([`exit::Exit`]); an error says what happened, what it means for the money, what to do.
//!
//! *What it refuses to know.* The rules: it only puts rooms together.

mod cli;
mod commands;
mod compose;
mod config;
#[cfg(feature = "crash-points")]
mod crash;
mod exit;
mod health;
mod log;
mod panics;
mod pauses;
mod prompt;
mod signals;
mod streams;
mod tether;
mod words;

use std::path::Path;
use std::process::ExitCode;

use clap::{CommandFactory as _, FromArgMatches as _};

use self::cli::{Cli, Command};
use self::config::Config;
use self::exit::{Exit, Failure};
use crate::telemetry::{ProcessStarted, ProcessStopped};

/// Runs the program with this process's arguments.
#[must_use]
pub fn main() -> ExitCode {
    let parsed = Cli::command().try_get_matches().and_then(|matches| {
        let command = matches.subcommand_name().unwrap_or_default().to_owned();
        Cli::from_arg_matches(&matches).map(|cli| (cli, command))
    });
    let (cli, command) = match parsed {
        Ok(parsed) => parsed,
        Err(error) => return usage(&error),
    };
    if cli.ends_with_stdin {
        tether::hold();
    }
    let flags = cli.log.flags();
    log::begin(config::Config::log(cli.config.as_deref(), flags));
    panics::tell_in_a_line();
    ProcessStarted {
        command: &command,
        version: env!("CARGO_PKG_VERSION"),
    }
    .emit();
    let exit = panics::caught(|| run(cli)).unwrap_or_else(|failure| {
        streams::tell_error(&format!("error: {:#}\n", failure.error));
        failure.exit
    });
    ProcessStopped {
        command: &command,
        exit_code: exit.code(),
    }
    .emit();
    exit.into()
}

fn usage(error: &clap::Error) -> ExitCode {
    let exit = if error.use_stderr() {
        Exit::Usage
    } else {
        Exit::Done
    };
    // Nobody to tell where even stderr is closed.
    error.print().ok();
    exit.into()
}

fn load(config: Option<&Path>) -> Result<Config, Failure> {
    Config::load(config).map_err(|error| Failure::new(Exit::Usage, error))
}

fn run(cli: Cli) -> Result<Exit, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::internal(error.into()))?;
    let exit = runtime.block_on(async {
        let config = cli.config.as_deref();
        match cli.command {
            Command::Init => commands::init::init(config),
            Command::Check(args) => commands::check::check(config, &args),
            Command::Run(args) => commands::run::run(config, args).await,
            Command::Worker => commands::worker::worker(config).await,
            Command::Enqueue(args) => commands::enqueue::enqueue(&load(config)?, args).await,
            Command::Explain(args) => commands::explain::explain(&load(config)?, &args),
            Command::Status(args) => commands::status::status(&load(config)?, &args),
            Command::Doctor(args) => commands::doctor::doctor(config, &args).await,
            Command::Ledger(command) => commands::ledger::ledger(&load(config)?, &command),
            Command::Reconcile(args) => commands::reconcile::reconcile(&load(config)?, args).await,
            Command::Settle(args) => commands::settle::settle(&load(config)?, args).await,
            Command::Cancel(args) => commands::cancel::cancel(&load(config)?, args).await,
            Command::Pause(args) => commands::pause::pause(&load(config)?, args).await,
            Command::Resume(args) => commands::pause::resume(&load(config)?, args).await,
            Command::Dead(command) => commands::dead::dead(&load(config)?, command).await,
            Command::Drill(args) => commands::drill::drill(args).await,
            Command::Simulator(args) => commands::simulator::simulator(args).await,
            Command::Key(args) => commands::key::key(config, &args),
            Command::Config(args) => commands::config::config(config, cli.log.flags(), &args),
            Command::Topology(args) => commands::topology::topology(&load(config)?, &args).await,
            Command::Schema(args) => Ok(commands::schema::schema(&args)),
            Command::Completions(args) => Ok(commands::completions::completions(&args)),
            Command::Man => commands::man::man(),
        }
    });
    runtime.shutdown_background();
    exit
}
