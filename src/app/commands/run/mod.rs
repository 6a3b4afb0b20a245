//! `tanda run FILE`: check, confirm, process, result file.
//!
//! *What it promises.* Nothing is sent before the whole file was checked, the totals were confirmed,
//! the ledger is ours and the bank has answered once. What was checked is what is sent. Every row
//! has a line in the result file, and the sums of all lines are those of the file (I10).
//!
//! *What it refuses to know.* How a row is read, sent or recorded.

mod patience;
mod progress;
mod report;
mod standing;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use tokio::sync::watch;
use tokio::task::JoinSet;

use self::patience::GaveUp;
use self::progress::{Tally, Watched};
use self::standing::{Accounts, Ended, walk};
use super::expect::Expectation;
use super::intake::{self, Taken, reading_rules};
use super::requests::person;
use super::{confirm, say, say_json};
use crate::app::cli::RunArgs;
use crate::app::compose::{self, House, Simulation};
use crate::app::config::{Config, OnePersonRun};
use crate::app::exit::{Exit, Failure};
use crate::app::pauses::{Circumstances, Words};
use crate::app::prompt;
use crate::app::signals::{self, Signal};
use crate::app::streams::tell;
use crate::domain::job::CardId;
use crate::domain::money::Currencies;
use crate::domain::outcome::Status;
use crate::domain::request::Person;
use crate::engine::ports::{Bank as _, Clock as _, ListFault};
use crate::engine::settings::Ending;
use crate::engine::{EngineError, Ports, SystemClock};
use crate::files::{self, Checked, FileSource, FilesError, ReadingRules, ResultWriter};

/// The settle delay of a rehearsal: the simulated bank lists what it did at once, and nobody should
/// wait for minutes to see a job in doubt settle.
const SIMULATED_SETTLE_DELAY_S: u64 = 2;
/// Between two probes in a rehearsal.
const SIMULATED_PROBE_EVERY_S: u64 = 1;
/// Where the bank of a rehearsal is, in words.
const SIMULATED_BANK: &str = "the simulated bank";
/// What people are told when they stop a run.
const STOPPING: &str = "stopping: calls under way are finished first; once more to leave at once";

pub(in crate::app) async fn run(config: Option<&Path>, args: RunArgs) -> Result<Exit, Failure> {
    let config = load(config, &args)?;
    demand_policy(&config, &args)?;
    let rules = reading_rules(&config, &args.reading)?;
    let expected = Expectation::read(&args.reading, &rules.currencies)?;
    demand_consent(&args)?;
    let results = results_path(&args);
    check_places(&args, &results)?;
    let spool_dir = config.spool_dir();
    let Some(taken) = intake::take_fit(&args.file, &args.reading, &spool_dir, &rules)? else {
        return Ok(Exit::Input);
    };
    let checked = &taken.checked;
    let again = args.by.as_deref().map(person).transpose()?;
    let house = open_house(&config, &args).await?;
    let before = survey(&house, &taken, &rules, again.is_some()).await?;
    let bank = (!args.simulate).then_some(config.bank.base_url.as_str());
    let preview = report::preview(&args.file, checked, &before, &rules.currencies, bank);
    tell(&preview);
    let consent = Consent {
        args: &args,
        expected: &expected,
        currencies: &rules.currencies,
    };
    if !consent.is_given(checked, &before)? {
        tell(
            "What was typed or expected is not what the file says. Nothing was sent, and the file is as it \
             was: run it again.\n",
        );
        return Ok(Exit::Input);
    }
    preflight(&house, bank, checked).await?;
    let ended = if again.is_some() {
        Ended::WentAgain
    } else {
        Ended::Stays
    };
    let flows = Flows {
        house: &house,
        config: &config,
        about: config.circumstances(bank.unwrap_or(SIMULATED_BANK)),
        give_up_after: args.give_up_after,
    };
    let source = source(&args, &taken, &rules, again)?;
    let stopped_by = flow(flows, source, checked.ok).await?;
    let accounts = write_results(&house, &taken, &rules, &results, ended).await?;
    accounts.as_event().emit();
    let ending = report::Ending {
        accounts: &accounts,
        left_out: checked.bad_rows(),
        results: &results,
        is_simulated: args.simulate,
    };
    if args.json {
        say_json(&ending.json());
    } else {
        say(&ending.text(&rules.currencies));
    }
    house.close().await?;
    close_accounts(&accounts, checked)?;
    Ok(exit_of(&accounts, checked.bad_rows(), stopped_by))
}

fn load(config: Option<&Path>, args: &RunArgs) -> Result<Config, Failure> {
    let loaded = if args.simulate {
        Config::for_simulation(config)
    } else {
        Config::load(config)
    };
    let mut config = loaded.map_err(|error| Failure::new(Exit::Usage, error))?;
    if args.simulate && compose::lists_at_once(args.faults.as_deref().unwrap_or_default())? {
        config.engine.settle_delay_s = config.engine.settle_delay_s.min(SIMULATED_SETTLE_DELAY_S);
        config.engine.probe_every_s = config.engine.probe_every_s.min(SIMULATED_PROBE_EVERY_S);
    }
    Ok(config)
}

async fn open_house(config: &Config, args: &RunArgs) -> Result<House, Failure> {
    if !args.simulate {
        return House::open(config);
    }
    let simulation = Simulation {
        faults: args.faults.clone().unwrap_or_default(),
        seed: args.seed,
    };
    House::simulated(config, &simulation).await
}

/// Paying a file without a second person must not have been switched off.
fn demand_policy(config: &Config, args: &RunArgs) -> Result<(), Failure> {
    if args.simulate || config.policy.one_person_run == OnePersonRun::Allowed {
        return Ok(());
    }
    let error = anyhow!(
        "one person may not pay a file here (policy.one_person_run is refused). Nothing was sent; \
         --simulate rehearses it. Ask whoever set the policy"
    );
    Err(Failure::new(Exit::Policy, error))
}

/// Without a person at the terminal, consent must stand on the command line.
fn demand_consent(args: &RunArgs) -> Result<(), Failure> {
    let stands = args.yes && (args.simulate || !args.reading.expect_totals.is_empty());
    if stands || (!args.yes && prompt::has_person()) {
        return Ok(());
    }
    let wanted = if args.simulate {
        "without a terminal, add --yes"
    } else {
        "to run without a prompt, add --yes and what the file must sum to, for each operation and \
         currency: --expect-total topup:COP:98450000.00"
    };
    Err(Failure::new(
        Exit::Usage,
        anyhow!("{wanted}. Nothing was sent"),
    ))
}

/// Whether everything that will be written has a place, before money moves.
fn check_places(args: &RunArgs, results: &Path) -> Result<(), Failure> {
    intake::check_errors_place(&args.reading, &args.file)?;
    let unwritable = |error: anyhow::Error| {
        let context = "nothing was sent, because the result file cannot be written";
        Failure::new(Exit::Usage, error.context(context))
    };
    let is_same = |errors: &PathBuf| files::is_same_place(errors, results);
    if args.reading.errors_to.as_ref().is_some_and(is_same) {
        let error = anyhow!("--errors-to names the result file; name another place");
        return Err(unwritable(error));
    }
    if !args.file.exists() {
        // Said better when it is read.
        return Ok(());
    }
    files::results::check_place(results, &args.file).map_err(|error| unwritable(error.into()))
}

/// How the rows of the file stand before the run.
async fn survey(
    house: &House,
    taken: &Taken,
    rules: &ReadingRules,
    again: bool,
) -> Result<Accounts, Failure> {
    let mut accounts = Accounts::default();
    let ended = if again {
        Ended::GoesAgain
    } else {
        Ended::Stays
    };
    walk(house.ledger(), taken, rules, ended, |row, standing| {
        accounts.add(row, &standing);
        Ok(())
    })
    .await?;
    Ok(accounts)
}

/// What is needed to ask for consent.
struct Consent<'a> {
    args: &'a RunArgs,
    expected: &'a Expectation,
    currencies: &'a Currencies,
}

impl Consent<'_> {
    /// On the command line consent is to what the file sums to; at the prompt, to what moves now.
    fn is_given(&self, checked: &Checked, before: &Accounts) -> Result<bool, Failure> {
        let differences = (self.expected).differences(checked.ok, &checked.totals, self.currencies);
        for difference in &differences {
            tell(&format!("{difference}\n"));
        }
        if !differences.is_empty() {
            return Ok(false);
        }
        if self.args.yes {
            return Ok(true);
        }
        let moves_now = before.of(None);
        confirm::ask_person(&moves_now, self.currencies, prompt::ask)
            .context("the prompt could not be read; nothing was sent")
            .map_err(Failure::internal)
    }
}

/// Reads the bank once before anything is sent.
async fn preflight(house: &House, bank: Option<&str>, checked: &Checked) -> Result<(), Failure> {
    let Some(card_id) = checked.first_job.as_ref().map(|job| &job.card_id) else {
        return Ok(());
    };
    let fault = match probe(house, card_id).await {
        Ok(()) => return Ok(()),
        Err(fault) => fault,
    };
    let (exit, remedy) = match &fault {
        ListFault::CredentialRefused | ListFault::NotAuthorized => (
            Exit::Credentials,
            "renew the token (TANDA_BANK__TOKEN or bank.token_file)",
        ),
        ListFault::NotTheBank(_) => (Exit::Unusable, "check bank.base_url and the network"),
        ListFault::RateLimited { .. } => (Exit::Unusable, "wait a little, then run it again"),
        ListFault::Unreachable(_)
        | ListFault::UnknownCard
        | ListFault::Refused(_)
        | ListFault::Shifting
        | ListFault::TooLong(_) => (
            Exit::Unusable,
            "check bank.base_url and the network, then run it again",
        ),
    };
    let bank = bank.unwrap_or(SIMULATED_BANK);
    let said = anyhow!("{fault}. Nothing was sent to {bank}; {remedy}");
    Err(Failure::new(exit, said))
}

async fn probe(house: &House, card_id: &CardId) -> Result<(), ListFault> {
    house.bank().probe(card_id).await
}

/// What a flow of rows depends on, besides the rows.
struct Flows<'a> {
    house: &'a House,
    config: &'a Config,
    about: Circumstances,
    give_up_after: Option<Duration>,
}

/// The rows to send. Bad ones are left out only where that was asked for.
fn source(
    args: &RunArgs,
    taken: &Taken,
    rules: &ReadingRules,
    again: Option<Person>,
) -> Result<FileSource, Failure> {
    let open = if args.reading.valid_only {
        FileSource::of_valid_rows
    } else {
        FileSource::open
    };
    open(&taken.spool, &taken.checked, rules, Arc::new(SystemClock))
        .map(|source| source.again(again))
        .map_err(|error| Failure::new(Exit::Input, error))
}

/// Lets the rows flow; the signal that stopped it, if any.
async fn flow(flows: Flows<'_>, source: FileSource, rows: u64) -> Result<Option<Signal>, Failure> {
    let settings = flows
        .config
        .settings(Ending::WhenDry)
        .map_err(|error| Failure::new(Exit::Usage, error))?;
    let (stopper, stop) = crate::engine::stop::signal();
    let (pauses, pauses_seen) = watch::channel(None);
    let tally = Arc::new(Tally::new(SystemClock.wall()));
    let watched = Watched {
        rows,
        counts: source.counts(),
        tally: Arc::clone(&tally),
        pauses: pauses_seen,
        about: flows.about.clone(),
    };
    let mut beside = JoinSet::new();
    beside.spawn(progress::show(watched));
    let gave_up = GaveUp::default();
    if let Some(after) = flows.give_up_after {
        let pauses = pauses.subscribe();
        beside.spawn(patience::wait(
            after,
            pauses,
            stopper.clone(),
            Arc::clone(&gave_up),
        ));
    }
    let signals = signals::listen(stopper, STOPPING, &mut beside)
        .map_err(|error| Failure::internal(error.into()))?;
    let ports = Ports {
        bank: flows.house.bank(),
        ledger: flows.house.ledger_port(),
        sink: tally,
        clock: Arc::new(SystemClock),
    };
    let source = Box::new(source);
    #[cfg(feature = "crash-points")]
    let (ports, source) = crate::app::crash::guarded(ports, source)?;
    let ended = crate::engine::run(ports, settings, source, stop, &pauses).await;
    beside.shutdown().await;
    if let Some(pause) = gave_up.get() {
        let words = Words::of(pause, &flows.about);
        tell(&format!(
            "stopped, because it had been paused for as long as --give-up-after says: {}\n  {}\n",
            words.why, words.to_do
        ));
    }
    match ended {
        Ok(crate::engine::Ended::Dry) => Ok(None),
        Ok(crate::engine::Ended::Stopped) => Ok(signals.first()),
        Err(error) => Err(engine_failure(error)),
    }
}

fn engine_failure(error: EngineError) -> Failure {
    let (exit, context) = match &error {
        EngineError::Ledger(_) => (
            Exit::Unusable,
            "the run stopped, because the ledger cannot be used. Nothing is lost while its files are \
             kept: what was sent is on record or will be asked about. Mend the disk, then run the \
             same file again",
        ),
        EngineError::Source(_) => (
            Exit::Unusable,
            "the run stopped. Nothing is lost: run the same file again",
        ),
        EngineError::Rules(_) => (
            Exit::Internal,
            "the run stopped. Nothing is lost: run the same file again",
        ),
    };
    Failure::new(exit, anyhow::Error::new(error).context(context))
}

/// A simulated run never takes the place of what is true.
fn results_path(args: &RunArgs) -> PathBuf {
    let extension = if args.simulate {
        "simulated.results.csv"
    } else {
        "results.csv"
    };
    args.results
        .clone()
        .unwrap_or_else(|| args.file.with_extension(extension))
}

/// Writes a line for every row; the counts and sums of what it wrote.
async fn write_results(
    house: &House,
    taken: &Taken,
    rules: &ReadingRules,
    path: &Path,
    ended: Ended,
) -> Result<Accounts, Failure> {
    let failed = |error: FilesError| {
        let context = "the outcomes are safe in the ledger, but the result file could not be \
                       written: run the same file again with --results PATH";
        Failure::new(Exit::Unusable, anyhow::Error::new(error).context(context))
    };
    let layout = files::OriginalRows::open(&taken.spool, &taken.checked, rules).map_err(failed)?;
    let mut writer = ResultWriter::create(path, layout.layout()).map_err(failed)?;
    let mut accounts = Accounts::default();
    walk(house.ledger(), taken, rules, ended, |row, standing| {
        accounts.add(row, &standing);
        writer.row(row, &standing.result).map_err(failed)
    })
    .await?;
    writer.finish().map_err(failed)?;
    Ok(accounts)
}

/// I10: the sums of all outcomes are the sums of the file.
fn close_accounts(accounts: &Accounts, checked: &Checked) -> Result<(), Failure> {
    if accounts.all() == checked.totals {
        return Ok(());
    }
    let error = anyhow!(
        "the outcomes do not sum to the file. This is a fault of tanda: keep the ledger and the \
         result file, and do not pay anything again"
    );
    Err(Failure::internal(error))
}

fn exit_of(accounts: &Accounts, left_out: u64, stopped_by: Option<Signal>) -> Exit {
    let waiting = accounts.of(None).count();
    let refused = [Status::Rejected, Status::NotSent, Status::Conflict];
    match stopped_by {
        Some(Signal::Interrupt) => Exit::Interrupted,
        Some(Signal::Terminate) => Exit::Terminated,
        None if accounts.count(Status::InDoubt) + waiting > 0 => Exit::SomeOpen,
        None if left_out > 0 => Exit::SomeRefused,
        None if refused.into_iter().any(|status| accounts.count(status) > 0) => Exit::SomeRefused,
        None => Exit::Done,
    }
}
