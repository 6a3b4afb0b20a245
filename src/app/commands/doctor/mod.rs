//! `tanda doctor`: what is wrong here, before it costs a payroll run.
//!
//! *What it promises.* Every check is a line, and each that is not well says what to do. One that
//! fails keeps none of the others from running. Only reads the bank, and never shows the token.
//!
//! *What it refuses to know.* How to mend anything by itself.
//!
//! [`settings`]: this machine. [`bank`]: the token, the bank, its list and its clock. [`ledger`]: the
//! record.

mod bank;
mod ledger;
mod settings;

use std::fmt::Write as _;
use std::path::Path;

use anyhow::anyhow;
use clap::Args;

use super::{say, say_json};
use crate::app::config::{Config, Flags, Shown};
use crate::app::exit::{Exit, Failure};
use crate::app::words;
use crate::domain::job::CardId;

#[derive(Debug, Args)]
pub(in crate::app) struct DoctorArgs {
    /// A card whose list of operations is read [default: one that this ledger has paid]
    #[arg(long, value_name = "CARD_ID")]
    card: Option<String>,
    /// As one JSON object
    #[arg(long)]
    json: bool,
}

/// How well something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Level {
    Ok,
    /// Payments can be made; something should be looked at.
    Warn,
    /// No payment can be made.
    Fail(Exit),
}

impl Level {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail(_) => "fail",
        }
    }
}

/// One line of the report.
#[derive(Debug)]
struct Check {
    name: &'static str,
    level: Level,
    what: String,
    remedy: Option<String>,
}

impl Check {
    fn ok(name: &'static str, what: impl Into<String>) -> Self {
        Self {
            name,
            level: Level::Ok,
            what: what.into(),
            remedy: None,
        }
    }

    fn warn(name: &'static str, what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            name,
            level: Level::Warn,
            what: what.into(),
            remedy: Some(remedy.into()),
        }
    }

    fn fail(
        name: &'static str,
        exit: Exit,
        what: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self {
            level: Level::Fail(exit),
            ..Self::warn(name, what, remedy)
        }
    }

    /// What the message of an error says stands on one line, with its own remedy in it.
    fn fault(name: &'static str, failure: &Failure, remedy: &str) -> Self {
        let what = format!("{:#}", failure.error).replace('\n', " ");
        Self::fail(name, failure.exit, what, remedy)
    }
}

pub(in crate::app) async fn doctor(
    file: Option<&Path>,
    args: &DoctorArgs,
) -> Result<Exit, Failure> {
    let card = args.card.as_deref().map(card_of).transpose()?;
    let checks = match Config::show(file, Flags::default()) {
        Ok((settings, config)) => all_checks(file, &settings, &config, card).await,
        Err(error) => without_settings(file, error),
    };
    let exit = exit_of(&checks);
    if args.json {
        say_json(&serde_json::json!({
            "checks": checks.iter().map(|check| serde_json::json!({
                "level": check.level.as_str(),
                "name": check.name,
                "what": check.what,
                "remedy": check.remedy,
            })).collect::<Vec<_>>(),
            "exit_code": exit.code(),
        }));
    } else {
        say(&text(&checks));
    }
    Ok(exit)
}

fn card_of(text: &str) -> Result<CardId, Failure> {
    CardId::parse(text).map_err(|fault| {
        let error = anyhow!("--card {}: {}", fault.value, fault.message);
        Failure::new(Exit::Usage, error)
    })
}

async fn all_checks(
    file: Option<&Path>,
    settings: &[Shown],
    config: &Config,
    card: Option<CardId>,
) -> Vec<Check> {
    let visit = ledger::visit(config);
    let mut checks = vec![settings::configuration(file, settings)];
    let token_from = settings::token_from(settings, config);
    let probed = match card {
        Some(card) => bank::Probed::Named(card),
        None => ledger::a_paid_job(visit.as_ref().ok()),
    };
    checks.extend(bank::checks(config, &token_from, &probed).await);
    checks.extend(ledger::checks(config, visit.as_ref()));
    checks.extend(settings::minor_digits(config));
    checks.push(settings::spool(config));
    checks
}

/// Without settings there is nothing to check anything against.
fn without_settings(file: Option<&Path>, error: anyhow::Error) -> Vec<Check> {
    let failure = Failure::new(Exit::Usage, error);
    let what = format!("{}: {:#}", settings::file_in_use(file), failure.error).replace('\n', " ");
    let remedy = "correct what is named here, then look again";
    let not_tried = |name| Check::warn(name, "not tried", "mend the configuration first");
    let first = Check::fail("configuration", failure.exit, what, remedy);
    let rest = [
        "credential",
        "bank",
        "list access",
        "ledger",
        "clock",
        "minor digits",
        "spool",
    ];
    std::iter::once(first).chain(rest.map(not_tried)).collect()
}

/// The exit code of the worst: the ledger and the bank before the credential, that before settings.
fn exit_of(checks: &[Check]) -> Exit {
    let failures = checks.iter().filter_map(|check| match check.level {
        Level::Fail(exit) => Some(exit),
        Level::Ok | Level::Warn => None,
    });
    failures
        .max_by_key(|exit| exit.code())
        .unwrap_or(Exit::Done)
}

fn text(checks: &[Check]) -> String {
    let mut text = String::new();
    for check in checks {
        let (level, name) = (check.level.as_str(), check.name);
        write!(text, "{level:<5} {name:<17} {}", words::tame(&check.what))
            .expect("a string takes it");
        if let Some(remedy) = &check.remedy {
            write!(text, "  → {}", words::tame(remedy)).expect("a string takes it");
        }
        text.push('\n');
    }
    let ill = |level: &str| {
        checks
            .iter()
            .filter(|check| check.level.as_str() == level)
            .count()
    };
    let (warned, failed) = (ill("warn"), ill("fail"));
    let summary = match (failed, warned) {
        (0, 0) => "all is well; nothing was sent".to_owned(),
        (0, warned) => format!("payments can be made; {warned} to look at; nothing was sent"),
        (failed, _) => format!("payments cannot be made: {failed} failed; nothing was sent"),
    };
    writeln!(text, "{summary}").expect("a string takes it");
    text
}
