//! `tanda dead list|show|redrive|discard`: what nobody will retry by itself, and what people make of it.
//!
//! *What it promises.* Works on the ledger, beside a process that owns it, and fetches nothing from the
//! queue of dead letters. Nothing is done to letters that were not named or filtered for: a set is frozen,
//! shown and counted before it is touched.
//!
//! *What it refuses to know.* How a job is run again.
//!
//! [`letter`]: one dead letter. [`choice`]: which. [`frozen`]: a set that stands.

mod choice;
mod discard;
mod frozen;
mod letter;
mod list;
mod redrive;
mod show;

use clap::Subcommand;

use self::discard::DiscardArgs;
use self::list::ListArgs;
use self::redrive::RedriveArgs;
use self::show::ShowArgs;
use crate::app::config::Config;
use crate::app::exit::{Exit, Failure};
use crate::domain::money::Currencies;

const LIST_EXAMPLES: &str = "\
Examples:
  tanda dead list                                 the newest 50
  tanda dead list --status rejected --since 24h
  tanda dead list --reason card_frozen --json";

const SHOW_EXAMPLES: &str = "\
Example:
  tanda dead show NOM-2026-11-0042                why it is there, and what can be done";

const REDRIVE_EXAMPLES: &str = "\
Without ids and without a filter nothing is chosen. What is chosen is shown first, with its totals, which
you then type. invalid and conflict are left out: a corrected message, or another entity_id, is a new job.

Examples:
  tanda dead redrive NOM-2026-11-0042 --by \"Ana Ruiz\"
  tanda dead redrive --reason card_frozen --since 24h --by \"Ana Ruiz\"
  tanda dead redrive --reason card_frozen --by ops --yes --expect-count 37 --expect-total topup:COP:1850000.00";

const DISCARD_EXAMPLES: &str = "\
Without ids and without a filter nothing is chosen. What is chosen is shown first, and you type how many
there are. A letter that was put aside stays on record, and is not listed any more.

Examples:
  tanda dead discard NOM-2026-11-0042 --by \"Ana Ruiz\" --evidence \"paid by hand, receipt 1234\"
  tanda dead discard --status invalid --source queue --by ops --evidence \"a test\" --yes --expect-count 12";

#[derive(Debug, Subcommand)]
pub(in crate::app) enum DeadCommand {
    /// List dead letters, the newest last
    #[command(after_help = LIST_EXAMPLES)]
    List(ListArgs),
    /// Tell everything about one of them, and what can be done
    #[command(after_help = SHOW_EXAMPLES)]
    Show(ShowArgs),
    /// Run jobs again that were rejected or not sent, after the bank's list was asked
    #[command(after_help = REDRIVE_EXAMPLES)]
    Redrive(RedriveArgs),
    /// Put letters aside that have been dealt with elsewhere
    #[command(after_help = DISCARD_EXAMPLES)]
    Discard(DiscardArgs),
}

pub(in crate::app) async fn dead(config: &Config, command: DeadCommand) -> Result<Exit, Failure> {
    match command {
        DeadCommand::List(args) => list::list(config, &args),
        DeadCommand::Show(args) => show::show(config, &args),
        DeadCommand::Redrive(args) => redrive::redrive(config, args).await,
        DeadCommand::Discard(args) => discard::discard(config, args).await,
    }
}

fn currencies(config: &Config) -> Result<Currencies, Failure> {
    let currencies = config.currencies();
    currencies.map_err(|error| Failure::new(Exit::Usage, error))
}
