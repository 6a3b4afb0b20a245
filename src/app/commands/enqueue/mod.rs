//! `tanda enqueue FILE`: a file's jobs, put on RabbitMQ.
//!
//! *What it promises.* Nothing is published before the whole file was checked, the totals were confirmed
//! and the broker has answered. What was checked is what is published, each card's jobs in the order of
//! the file. It says how many the broker has; doing it again is safe, because a job that is there twice
//! is applied once.
//!
//! *What it refuses to know.* The ledger, the bank, and what becomes of a job.
//!
//! [`flow`]: the order in which jobs are handed over. [`progress`]: how far it has come.

mod flow;
mod progress;

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, anyhow};
use clap::Args;
use tokio::task::JoinSet;

use self::flow::{Flow, Trouble};
use self::progress::Published;
use super::expect::Expectation;
use super::intake::{self, Taken, reading_rules};
use super::{confirm, reading, say, say_json};
use crate::amqp::{Broker, Producer};
use crate::app::cli::ReadingArgs;
use crate::app::compose;
use crate::app::config::{Config, OnePersonRun};
use crate::app::exit::{Exit, Failure};
use crate::app::prompt;
use crate::app::signals::{self, Signal};
use crate::app::streams::tell;
use crate::app::words;
use crate::domain::digest::Digest;
use crate::files::ReadingRules;

/// What people are told when they stop it.
const STOPPING: &str = "stopping: what is under way is awaited for a moment";

#[derive(Debug, Args)]
pub(in crate::app) struct EnqueueArgs {
    /// A CSV file with a row for each job
    file: PathBuf,
    #[command(flatten)]
    reading: ReadingArgs,
    /// Do not ask for confirmation (with --expect-total)
    #[arg(long)]
    yes: bool,
    /// Print how it ended as JSON
    #[arg(long)]
    json: bool,
}

pub(in crate::app) async fn enqueue(config: &Config, args: EnqueueArgs) -> Result<Exit, Failure> {
    demand_policy(config)?;
    let rules = reading_rules(config, &args.reading)?;
    let expected = Expectation::read(&args.reading, &rules.currencies)?;
    demand_consent(&args)?;
    let broker = compose::broker(config)?;
    intake::check_errors_place(&args.reading, &args.file)?;
    let spool_dir = config.spool_dir();
    let Some(taken) = intake::take_fit(&args.file, &args.reading, &spool_dir, &rules)? else {
        return Ok(Exit::Input);
    };
    let producer = Producer::start(&broker)
        .await
        .map_err(|error| compose::amqp_failure(&error))?;
    let place = Place::of(&broker);
    let whither = format!("for {place}");
    let preview = reading::preview(&args.file, &taken.checked, &rules.currencies, &whither);
    tell(&preview);
    if !is_consented(&args, &expected, &taken, &rules)? {
        tell(
            "What was typed or expected is not what the file says. Nothing was published, and the file \
             is as it was: run it again.\n",
        );
        return Ok(Exit::Input);
    }
    let batch_id = batch_of(taken.checked.sha256);
    let ended = publish(producer, &taken, &rules, &batch_id).await?;
    report(&args, &ended, &taken, &place, &batch_id)
}

/// Where jobs go, in words.
struct Place {
    exchange: String,
    at: String,
}

impl Place {
    fn of(broker: &Broker) -> Self {
        let settings = broker.settings();
        Self {
            exchange: settings.names.jobs_exchange.clone(),
            at: settings.place(),
        }
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the queue behind {} at {}", self.exchange, self.at)
    }
}

/// The same for the same bytes: `sha256sum FILE` tells which file a job came from.
fn batch_of(sha256: Digest) -> String {
    format!("sha256:{sha256}")
}

/// Having a file paid without a second person must not have been switched off.
fn demand_policy(config: &Config) -> Result<(), Failure> {
    if config.policy.one_person_run == OnePersonRun::Allowed {
        return Ok(());
    }
    let error = anyhow!(
        "one person may not have a file paid here (policy.one_person_run is refused), and a worker \
         pays what is on the queue. Nothing was published. Ask whoever set the policy"
    );
    Err(Failure::new(Exit::Policy, error))
}

/// Without a person at the terminal, consent must stand on the command line.
fn demand_consent(args: &EnqueueArgs) -> Result<(), Failure> {
    let stands = args.yes && !args.reading.expect_totals.is_empty();
    if stands || (!args.yes && prompt::has_person()) {
        return Ok(());
    }
    let error = anyhow!(
        "to enqueue without a prompt, add --yes and what the file must sum to, for each operation and \
         currency: --expect-total topup:COP:98450000.00. Nothing was published"
    );
    Err(Failure::new(Exit::Usage, error))
}

fn is_consented(
    args: &EnqueueArgs,
    expected: &Expectation,
    taken: &Taken,
    rules: &ReadingRules,
) -> Result<bool, Failure> {
    let (checked, currencies) = (&taken.checked, &rules.currencies);
    let differences = expected.differences(checked.ok, &checked.totals, currencies);
    for difference in &differences {
        tell(&format!("{difference}\n"));
    }
    if !differences.is_empty() {
        return Ok(false);
    }
    if args.yes {
        return Ok(true);
    }
    confirm::ask_person(&checked.totals, currencies, prompt::ask)
        .context("the prompt could not be read; nothing was published")
        .map_err(Failure::internal)
}

/// How it ended.
struct Ended {
    /// Jobs that the broker is known to have.
    published: u64,
    trouble: Option<Trouble>,
    stopped_by: Option<Signal>,
}

async fn publish(
    producer: Producer,
    taken: &Taken,
    rules: &ReadingRules,
    batch_id: &str,
) -> Result<Ended, Failure> {
    let published = Arc::new(Published::new(taken.checked.ok));
    let (stopper, stop) = crate::engine::stop::signal();
    let mut beside = JoinSet::new();
    let signals = signals::listen(stopper, STOPPING, &mut beside)
        .map_err(|error| Failure::internal(error.into()))?;
    let is_terminal = std::io::stderr().is_terminal();
    beside.spawn(progress::show(Arc::clone(&published), is_terminal));
    let flow = Flow::new(producer, batch_id, Arc::clone(&published));
    let trouble = flow.run(taken, rules, stop).await;
    beside.shutdown().await;
    Ok(Ended {
        published: published.count(),
        trouble: trouble?,
        stopped_by: signals.first(),
    })
}

fn report(
    args: &EnqueueArgs,
    ended: &Ended,
    taken: &Taken,
    place: &Place,
    batch_id: &str,
) -> Result<Exit, Failure> {
    let (published, all) = (ended.published, taken.checked.ok);
    if args.json {
        say_json(&serde_json::json!({ "summary": {
            "published": published,
            "rows": all,
            "left_out": taken.checked.bad_rows(),
            "exchange": place.exchange,
            "batch_id": batch_id,
        }}));
    }
    let rest = format!(
        "{published} of {all} jobs are known to be on {place}; of the others that is not known. Run the \
         same file again: a job that is there twice is applied once"
    );
    if let Some(trouble) = &ended.trouble {
        let exit = if trouble.is_refusal() {
            Exit::Credentials
        } else {
            Exit::Unusable
        };
        return Err(Failure::new(exit, anyhow!("{trouble}. {rest}")));
    }
    match ended.stopped_by {
        Some(signal) if published < all => {
            tell(&format!("{rest}\n"));
            Ok(match signal {
                Signal::Interrupt => Exit::Interrupted,
                Signal::Terminate => Exit::Terminated,
            })
        }
        Some(_) | None => {
            let jobs = words::counted(published, "job is", "jobs are");
            let left_out = taken.checked.bad_rows();
            if !args.json {
                say(&format!(
                    "{jobs} on {place}, as the batch {batch_id}. `tanda worker` applies each once\n"
                ));
            }
            if left_out == 0 {
                return Ok(Exit::Done);
            }
            tell(&format!(
                "{left_out} left out, which are wrong: mend these rows and enqueue the file again\n"
            ));
            Ok(Exit::SomeRefused)
        }
    }
}
