//! The command line.
//!
//! *What it promises.* Help that a newcomer can follow. No flag takes a token.
//!
//! *What it refuses to know.* What a command does.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use super::config::{Flags, LogFormat, LogLevel};
use super::exit;
use crate::files::Decimal;

const CHECK_EXAMPLES: &str = "\
Examples:
  tanda check payroll.csv                        what is wrong, and what it sums to
  tanda check payroll.csv --errors-to fix.csv    the rows to fix, with the reasons
  tanda check payroll.csv --decimal comma        50.000 is fifty thousand

Ends with 0 where every row is good, else with 3.";

const WORKER_HELP: &str = "\
It runs until it is stopped. RabbitMQ is where the setting amqp.url says; one worker has the queue, a
second is refused. /metrics, /livez, /readyz and /startupz are served where metrics.listen says.

Examples:
  tanda topology --declare                 make queues and exchanges, once
  TANDA_AMQP__URL=amqp://localhost tanda worker";

const TOPOLOGY_EXAMPLES: &str = "\
Examples:
  tanda topology                what there must be, and whether the broker has it
  tanda topology --declare      make what is missing
  tanda topology --json         definitions to import

Ends with 8 where something is missing or otherwise.";

const ENQUEUE_EXAMPLES: &str = "\
Examples:
  tanda enqueue payroll.csv                      asks you to type the totals
  tanda enqueue payroll.csv --yes --expect-total topup:COP:98450000.00

Needs the right to write to the exchange for jobs, and no ledger, token or bank. The same file can be
enqueued again: a job that is there twice is applied once.";

const RUN_EXAMPLES: &str = "\
Examples:
  tanda run payroll.csv --simulate --yes     a rehearsal: no money moves
  tanda run payroll.csv                      asks you to type the totals
  tanda run payroll.csv --yes --expect-total topup:COP:98450000.00
  tanda run payroll.csv --valid-only         leaves out rows that are wrong; ends with 6

The same file can be run as often as you like: what is done is never done again.";

use super::commands::cancel::CancelArgs;
use super::commands::dead::DeadCommand;
use super::commands::doctor::DoctorArgs;
use super::commands::drill::{self, DrillArgs};
use super::commands::enqueue::EnqueueArgs;
use super::commands::explain::ExplainArgs;
use super::commands::ledger::LedgerCommand;
use super::commands::pause::PauseArgs;
use super::commands::reconcile::ReconcileArgs;
use super::commands::schema::SchemaArgs;
use super::commands::settle::SettleArgs;
use super::commands::status::StatusArgs;
use super::commands::topology::TopologyArgs;

/// Moves money on prepaid cards in bulk, each job once.
#[derive(Debug, Parser)]
#[command(name = "tanda", version, arg_required_else_help = true, after_help = exit::help())]
pub(super) struct Cli {
    /// The configuration file [default: tanda.toml, where there is one]
    #[arg(long, global = true, display_order = 1_000, value_name = "PATH")]
    pub(super) config: Option<PathBuf>,
    #[command(flatten)]
    pub(super) log: LogArgs,
    /// End at once when stdin does: for programs that start this one and may die
    #[arg(long, global = true, hide = true)]
    pub(super) ends_with_stdin: bool,
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Args)]
pub(super) struct LogArgs {
    /// How much to log on stderr: error, warn, info or debug [default: the setting log.level, or warn]
    #[arg(
        long,
        global = true,
        display_order = 1_000,
        value_name = "LEVEL",
        hide_possible_values = true
    )]
    log_level: Option<LogLevel>,
    /// How to log it: text or json [default: the setting log.format, or text]
    #[arg(
        long,
        global = true,
        display_order = 1_000,
        value_name = "FORMAT",
        hide_possible_values = true
    )]
    log_format: Option<LogFormat>,
}

impl LogArgs {
    pub(super) const fn flags(&self) -> Flags {
        Flags {
            log_level: self.log_level,
            log_format: self.log_format,
        }
    }
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Make the configuration file and the ledger, once
    Init,
    /// Read files and say everything that is wrong with them: no network, nothing is sent
    #[command(after_help = CHECK_EXAMPLES)]
    Check(CheckArgs),
    /// Check a file, ask for confirmation, apply every row once, write the result file
    #[command(after_help = RUN_EXAMPLES)]
    Run(RunArgs),
    /// Take jobs from RabbitMQ, apply each once, publish what became of it
    #[command(after_help = WORKER_HELP)]
    Worker,
    /// Check a file, ask for confirmation, put its jobs on RabbitMQ for a worker
    #[command(after_help = ENQUEUE_EXAMPLES)]
    Enqueue(EnqueueArgs),
    /// Tell everything that is known of one job: what became of its money, and how that is known
    Explain(ExplainArgs),
    /// Show what is in doubt or waits, with its money; exit code 7 where something is or does
    Status(StatusArgs),
    /// Check settings, token, bank, ledger and clock; nothing is sent
    Doctor(DoctorArgs),
    /// Copy the ledger, or prune what is long over
    #[command(subcommand)]
    Ledger(LedgerCommand),
    /// Ask the bank, now, about what is in doubt; nothing is sent
    Reconcile(ReconcileArgs),
    /// Say what became of a job in doubt, on evidence; the bank's list is asked first
    Settle(SettleArgs),
    /// Do not send these jobs any more, if they can still be held back
    Cancel(CancelArgs),
    /// Hold the flow of whichever process pays, until it is resumed
    Pause(PauseArgs),
    /// Let the flow go on
    Resume(PauseArgs),
    /// List what nobody will retry by itself, run it again, or put it aside
    #[command(subcommand)]
    Dead(DeadCommand),
    /// Kill, cut and lie to this program on purpose, against a simulated bank, and judge by its books
    #[command(after_help = drill::EXAMPLES)]
    Drill(DrillArgs),
    /// Run the simulated bank as a server
    Simulator(SimulatorArgs),
    /// Print the idempotency key of a job, as the bank gets it
    Key(KeyArgs),
    /// Show every setting, its value and where it came from
    Config(ConfigArgs),
    /// Show the queues and exchanges at RabbitMQ, check them, or make them
    #[command(after_help = TOPOLOGY_EXAMPLES)]
    Topology(TopologyArgs),
    /// Print the contract of the messages, for machines
    #[command(after_help = "Example:\n  tanda schema job > job.schema.json")]
    Schema(SchemaArgs),
    /// Print the completions of a shell
    #[command(
        after_help = "Example:\n  tanda completions bash > ~/.local/share/bash-completion/completions/tanda"
    )]
    Completions(CompletionsArgs),
    /// Print the manual
    #[command(after_help = "Example:\n  tanda man > /usr/local/share/man/man1/tanda.1")]
    Man,
}

#[derive(Debug, Args)]
pub(super) struct KeyArgs {
    /// The job's name, as in its file or message
    pub(super) entity_id: String,
    /// 1, and one more each time the job was begun anew
    #[arg(long, value_name = "N", default_value = "1")]
    pub(super) generation: NonZeroU32,
    /// As JSON
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Args)]
pub(super) struct ConfigArgs {
    /// As JSON, with what each setting is for
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Args)]
pub(super) struct CompletionsArgs {
    /// The shell
    pub(super) shell: Shell,
}

/// How files are read and what they must hold: the same for every command that takes files.
#[derive(Debug, Args)]
pub(super) struct ReadingArgs {
    /// The sign before decimals, where the file itself does not say: `50.000` is fifty thousand with
    /// comma
    #[arg(long, value_name = "SIGN")]
    pub(super) decimal: Option<DecimalSign>,
    /// How many rows there must be (with --valid-only, good ones)
    #[arg(long, value_name = "N")]
    pub(super) expect_rows: Option<u64>,
    /// What the good rows must sum to, such as topup:COP:98450000.00; repeat for each currency and
    /// operation
    #[arg(long = "expect-total", value_name = "OPERATION:CURRENCY:AMOUNT")]
    pub(super) expect_totals: Vec<String>,
    /// Leave out rows that are wrong, and go by the others: only these move and are summed
    #[arg(long)]
    pub(super) valid_only: bool,
    /// Write the rows that are wrong to this file, with the reasons in a last column; mend it and it
    /// can be read in its place
    #[arg(long, value_name = "PATH")]
    pub(super) errors_to: Option<PathBuf>,
}

/// The sign before decimals, as it is given on the command line.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum DecimalSign {
    /// 1.234.567,50
    Comma,
    /// 1,234,567.50
    Dot,
}

impl From<DecimalSign> for Decimal {
    fn from(sign: DecimalSign) -> Self {
        match sign {
            DecimalSign::Comma => Self::Comma,
            DecimalSign::Dot => Self::Dot,
        }
    }
}

#[derive(Debug, Args)]
pub(super) struct CheckArgs {
    /// CSV files with a row for each job; what is expected is expected of all together
    #[arg(required = true, value_name = "FILE")]
    pub(super) files: Vec<PathBuf>,
    #[command(flatten)]
    pub(super) reading: ReadingArgs,
    /// A line of JSON for each row, then one for each file
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Args)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a flag that a person types"
)]
pub(super) struct RunArgs {
    /// A CSV file with a row for each job
    pub(super) file: PathBuf,
    #[command(flatten)]
    pub(super) reading: ReadingArgs,
    /// Use the built-in simulated bank and a ledger of its own: no money moves. Other settings stay
    #[arg(long)]
    pub(super) simulate: bool,
    /// Faults that the simulated bank deals, such as `error=6%,lost=5%`
    #[arg(long, value_name = "SPEC", requires = "simulate")]
    pub(super) faults: Option<String>,
    /// Seed of these faults
    #[arg(long, value_name = "N", default_value_t = 1, requires = "simulate")]
    pub(super) seed: u64,
    /// Do not ask for confirmation (with --expect-total, unless --simulate)
    #[arg(long)]
    pub(super) yes: bool,
    /// Run rows again that were rejected or not sent before, as new attempts of the same payments: the
    /// bank's list is asked first. Their content may have been corrected
    #[arg(long, requires = "by", conflicts_with = "simulate")]
    pub(super) again: bool,
    /// Who asks for --again, for the record
    #[arg(long, value_name = "NAME", requires = "again")]
    pub(super) by: Option<String>,
    /// Stop, as ctrl-c would, when the run has been paused for so long without a break, such as 90s,
    /// 30m or 2h; unless given, it waits for ever
    #[arg(long, value_name = "DURATION", value_parser = parse_wait)]
    pub(super) give_up_after: Option<Duration>,
    /// Print how it ended as JSON
    #[arg(long)]
    pub(super) json: bool,
    /// Where to write the result file [default: FILE with .results.csv; simulated, with
    /// .simulated.results.csv]
    #[arg(long, value_name = "PATH")]
    pub(super) results: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct SimulatorArgs {
    /// Where to listen; loopback only
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8089")]
    pub(super) listen: SocketAddr,
    /// The bearer token it takes (this one is not a secret)
    #[arg(long, value_name = "TOKEN", default_value = "simulated")]
    pub(super) accept_token: String,
    /// Faults to deal, such as `error=6%,lost=5%,reset=3%,limit=2%`
    #[arg(long, value_name = "SPEC", default_value = "")]
    pub(super) faults: String,
    /// Seed of these faults
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(super) seed: u64,
    /// Minor units on each card when it is first seen
    #[arg(long, value_name = "MINOR")]
    pub(super) opening_balance: Option<i64>,
}

/// The longest wait that may be given: beyond, a week of waiting was hardly meant.
const WAIT_MAX: Duration = Duration::from_secs(7 * 86_400);

/// Reads a whole number and its unit: `90s`, `30m`, `2h`.
pub(in crate::app) fn parse_wait(text: &str) -> Result<Duration, String> {
    let expected = "a whole number and its unit, such as 90s, 30m or 2h; at most a week (168h)";
    let seconds = |number: &str, unit: u64| {
        let is_number = number.bytes().all(|byte| byte.is_ascii_digit());
        let number = number.parse::<u64>().ok().filter(|_| is_number)?;
        number.checked_mul(unit).map(Duration::from_secs)
    };
    let read = [("s", 1), ("m", 60), ("h", 3_600)]
        .into_iter()
        .find_map(|(unit, of_seconds)| seconds(text.strip_suffix(unit)?, of_seconds));
    read.filter(|wait| !wait.is_zero() && *wait <= WAIT_MAX)
        .ok_or_else(|| expected.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_a_whole_number_and_its_unit() {
        for (text, seconds) in [
            ("90s", 90),
            ("30m", 1_800),
            ("2h", 7_200),
            ("168h", 604_800),
        ] {
            assert_eq!(parse_wait(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in [
            "",
            "s",
            "90",
            "0s",
            "1.5h",
            "-1s",
            "+1s",
            " 1s",
            "1 s",
            "169h",
            "1d",
            "2H",
            "99999999999999999999h",
            "9999999999999999999h",
        ] {
            assert!(parse_wait(text).is_err(), "{text}");
        }
    }
}
