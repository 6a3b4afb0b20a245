//! Configuration: built-in values, then `tanda.toml`, then `TANDA_SECTION__KEY`, then flags.
//!
//! *What it promises.* Every fault is told at once: unknown keys, wrong values, bounds that
//! contradict each other, each with where it came from and what is allowed. Secrets never print.
//!
//! *What it refuses to know.* What a setting is for beyond its bounds.

mod reading;
mod relations;
mod table;

#[cfg(test)]
mod config_tests;

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{anyhow, bail};
use clap::ValueEnum;
use secrecy::SecretString;
use serde::Deserialize;

#[cfg(feature = "crash-points")]
pub(super) use self::reading::variable;
use self::reading::{Origin, Reading, absolute_from_env, credentials, environment};
use self::relations::{RELATIONS, Relation, WORKER_RELATIONS};
use self::table::{Kind, SETTINGS, Setting, Written};
use super::pauses::Circumstances;
use crate::domain::key::Namespace;
use crate::domain::money::{Amount, Currencies, Currency, minor_units};
use crate::domain::progress::Rules;
use crate::domain::schedule::AskTimes;
use crate::engine::settings::{
    Ending, Fence, GIVE_BACK_AFTER, Holding, IN_FLIGHT_PER_CALL, MIB_BYTES, Settings,
};
use crate::telemetry;

/// The configuration file that is read where none is named.
const DEFAULT_FILE: &str = "tanda.toml";
/// Decimals of COP at the bank, the only currency that need not be set.
const COP_DIGITS: u32 = 2;
/// Permissions of everybody but the owner to read a file.
#[cfg(unix)]
const OTHERS_READ: u32 = 0o044;

/// All settings; [`table::SETTINGS`] says what each is for.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Config {
    pub(super) bank: BankConfig,
    pub(super) ledger: LedgerConfig,
    pub(super) engine: EngineConfig,
    pub(super) files: FilesConfig,
    pub(super) policy: PolicyConfig,
    pub(super) amqp: AmqpConfig,
    pub(super) metrics: MetricsConfig,
    pub(super) log: LogConfig,
    #[serde(default)]
    pub(super) currency: BTreeMap<String, CurrencyConfig>,
}

/// `[bank]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct BankConfig {
    pub(super) base_url: String,
    pub(super) token: Option<SecretString>,
    pub(super) token_file: Option<PathBuf>,
    pub(super) connect_timeout_s: u64,
    pub(super) request_timeout_s: u64,
}

impl Default for BankConfig {
    fn default() -> Self {
        Config::built_in().bank
    }
}

/// `[ledger]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LedgerConfig {
    pub(super) url: Option<String>,
    pub(super) min_free_mib: u64,
}

/// `[engine]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EngineConfig {
    pub(super) namespace: String,
    pub(super) concurrency: usize,
    pub(super) in_flight: Option<usize>,
    pub(super) rate_per_second: Option<u32>,
    pub(super) max_attempts: u32,
    pub(super) backoff_base_ms: u64,
    pub(super) resend_window_s: u64,
    pub(super) settle_delay_s: u64,
    pub(super) probe_every_s: u64,
    pub(super) refusals_in_a_row: u32,
    pub(super) drain_s: u64,
    pub(super) hold_max_s: u64,
    pub(super) fence: FenceConfig,
}

/// What holds a card shut behind a job in doubt.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum FenceConfig {
    UntilPersonNeeded,
    UntilSettled,
}

/// `[files]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FilesConfig {
    pub(super) max_bytes: u64,
    pub(super) max_rows: u64,
}

/// `[policy]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PolicyConfig {
    pub(super) one_person_run: OnePersonRun,
}

/// `[amqp]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AmqpConfig {
    pub(super) url: Option<SecretString>,
    pub(super) url_file: Option<PathBuf>,
    pub(super) allow_plain: bool,
    pub(super) ca_file: Option<PathBuf>,
    pub(super) prefetch: u16,
    pub(super) consumer_timeout_s: u64,
    pub(super) declare: bool,
    pub(super) jobs_exchange: String,
    pub(super) jobs_queue: String,
    pub(super) results_exchange: String,
    pub(super) results_queue: String,
    pub(super) results_max_length: Option<u32>,
    pub(super) dead_exchange: String,
    pub(super) dead_queue: String,
}

/// `[metrics]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct MetricsConfig {
    pub(super) listen: String,
}

/// Whether one person may pay a file.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub(super) enum OnePersonRun {
    Allowed,
    Refused,
}

/// `[log]`
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LogConfig {
    pub(super) level: LogLevel,
    pub(super) format: LogFormat,
}

/// How much is logged.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, ValueEnum)]
#[serde(rename_all = "snake_case")]
pub(super) enum LogLevel {
    /// Alarms
    Error,
    /// Pauses too
    Warn,
    /// Every outcome too
    Info,
    /// Every attempt too
    Debug,
}

/// How it is logged.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, ValueEnum)]
#[serde(rename_all = "snake_case")]
pub(super) enum LogFormat {
    /// Lines for people
    Text,
    /// A JSON object in each line
    Json,
}

/// `[currency.CODE]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CurrencyConfig {
    pub(super) minor_digits: Option<u32>,
    pub(super) max_amount: Option<String>,
}

/// Settings that come as flags of every command.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Flags {
    pub(super) log_level: Option<LogLevel>,
    pub(super) log_format: Option<LogFormat>,
}

impl Flags {
    fn add_to(self, reading: &mut Reading) {
        let mut add = |name, flag, word: Option<clap::builder::PossibleValue>| {
            if let Some(word) = word {
                reading.add(name, Written::Plain(word.get_name()), Origin::Flag(flag));
            }
        };
        let level = self.log_level.and_then(|level| level.to_possible_value());
        add("log.level", "--log-level", level);
        let format = self
            .log_format
            .and_then(|format| format.to_possible_value());
        add("log.format", "--log-format", format);
    }
}

/// A setting as `tanda config` shows it.
#[derive(Debug)]
pub(super) struct Shown {
    pub(super) name: String,
    pub(super) value: Option<toml::Value>,
    /// What follows where there is no value.
    pub(super) unless_set: &'static str,
    /// None where it is built in.
    pub(super) origin: Option<String>,
    /// A secret in this file, which other users may read.
    pub(super) readable_in: Option<PathBuf>,
    pub(super) meaning: &'static str,
}

impl Config {
    /// Reads the configuration.
    pub(super) fn load(file: Option<&Path>) -> anyhow::Result<Self> {
        Self::load_as(file, &[])
    }

    /// Reads the configuration for the worker, which asks for more.
    pub(super) fn load_for_worker(file: Option<&Path>) -> anyhow::Result<Self> {
        Self::load_as(file, WORKER_RELATIONS)
    }

    fn load_as(file: Option<&Path>, besides: &[Relation]) -> anyhow::Result<Self> {
        let reading = read_sources(file, Flags::default());
        let config = Self::of(&reading);
        config.check(&reading, besides)?;
        for path in SETTINGS
            .iter()
            .filter_map(|it| readable_by_others(&reading, it))
        {
            telemetry::TokenReadableByOthers { path }.emit();
        }
        Ok(config)
    }

    /// Reads the configuration for the simulated bank: the real bank and its ledger are left out,
    /// so that nothing of a rehearsal can reach them; files are read as they will be.
    pub(super) fn for_simulation(file: Option<&Path>) -> anyhow::Result<Self> {
        let config = Self::load(file)?;
        let built_in = Self::built_in();
        Ok(Self {
            bank: built_in.bank,
            ledger: LedgerConfig {
                url: None,
                ..config.ledger
            },
            ..config
        })
    }

    /// How to log, whatever else may be wrong.
    pub(super) fn log(file: Option<&Path>, flags: Flags) -> LogConfig {
        Self::of(&read_sources(file, flags)).log
    }

    /// Every setting with its value and where it came from, and what they come to.
    pub(super) fn show(file: Option<&Path>, flags: Flags) -> anyhow::Result<(Vec<Shown>, Self)> {
        let (reading, config) = Self::read(file, flags)?;
        let shown = reading.names().into_iter().filter_map(|name| {
            let setting = table::setting(&name)?;
            Some(Shown {
                value: reading.shown_value(&name),
                unless_set: setting.unless_set.text(),
                origin: reading.origin(&name).map(ToString::to_string),
                readable_in: readable_by_others(&reading, setting).map(Path::to_path_buf),
                meaning: setting.meaning,
                name,
            })
        });
        Ok((shown.collect(), config))
    }

    fn read(file: Option<&Path>, flags: Flags) -> anyhow::Result<(Reading, Self)> {
        let reading = read_sources(file, flags);
        let config = Self::of(&reading);
        config.check(&reading, &[])?;
        Ok((reading, config))
    }

    fn built_in() -> Self {
        Self::of(&Reading::default())
    }

    /// What was read, where it can be used, and what is built in.
    fn of(reading: &Reading) -> Self {
        reading
            .table()
            .try_into()
            .expect("the table of settings has a row for each field and checks its value")
    }

    fn check(&self, reading: &Reading, besides: &[Relation]) -> anyhow::Result<()> {
        let mut faults = reading.faults.clone();
        for relation in RELATIONS.iter().chain(besides) {
            let are_good = relation.names.iter().all(|name| reading.is_good(name));
            if are_good && !(relation.holds)(self) {
                let described: Vec<_> = relation
                    .names
                    .iter()
                    .map(|name| reading.describe(name))
                    .collect();
                faults.push(format!("{}: {}", relation.says, described.join(", ")));
            }
        }
        faults.extend(self.check_currencies(reading));
        if faults.is_empty() {
            // What the engine itself insists on, should the above ever be laxer.
            match self.settings(Ending::WhenDry) {
                Ok(settings) => faults.extend(settings.check()),
                Err(error) => faults.push(error.to_string()),
            }
        }
        if faults.is_empty() {
            return Ok(());
        }
        bail!(
            "the configuration cannot be used; nothing was sent:\n  {}",
            faults.join("\n  ")
        )
    }

    fn check_currencies(&self, reading: &Reading) -> Vec<String> {
        let mut faults = Vec::new();
        for (code, config) in &self.currency {
            let digits = format!("currency.{code}.minor_digits");
            if !reading.is_good(&digits) {
                continue;
            }
            let Some(count) = config.digits(code) else {
                faults.push(format!(
                    "{digits} is not set; say how many decimals {code} has at the bank"
                ));
                continue;
            };
            if config.max_amount.is_some() && config.max_amount_of(code).is_none() {
                let max = reading.describe(&format!("currency.{code}.max_amount"));
                faults.push(format!(
                    "{max}; it must be more than zero, at most 2^53 - 1 minor units, and have no \
                     or {count} decimals"
                ));
            }
        }
        faults
    }

    /// The engine's settings.
    pub(super) fn settings(&self, ending: Ending) -> anyhow::Result<Settings> {
        let engine = &self.engine;
        Ok(Settings {
            namespace: Namespace::parse(&engine.namespace).ok_or_else(|| {
                anyhow!("engine.namespace must be 1 to 64 characters without white space")
            })?,
            rules: Rules {
                resend_window: Duration::from_secs(engine.resend_window_s),
                max_attempts: engine.max_attempts,
                backoff_base: Duration::from_millis(engine.backoff_base_ms),
                asks: AskTimes::new(Duration::from_secs(engine.settle_delay_s)),
            },
            concurrency: engine.concurrency,
            in_flight: engine
                .in_flight
                .unwrap_or_else(|| engine.concurrency.saturating_mul(IN_FLIGHT_PER_CALL)),
            fence: match engine.fence {
                FenceConfig::UntilPersonNeeded => Fence::UntilPersonNeeded,
                FenceConfig::UntilSettled => Fence::UntilSettled,
            },
            ending,
            probe_every: Duration::from_secs(engine.probe_every_s),
            refusals_in_a_row: engine.refusals_in_a_row,
            rate_per_second: engine
                .rate_per_second
                .map(|rate| {
                    NonZeroU32::new(rate)
                        .ok_or_else(|| anyhow!("engine.rate_per_second must be 1 to 10000"))
                })
                .transpose()?,
            min_free_bytes: self.ledger.min_free_mib.saturating_mul(MIB_BYTES),
            drain: Duration::from_secs(engine.drain_s),
            holding: None,
        })
    }

    /// The engine's settings for jobs from the queue: what must wait too long goes to the ledger.
    pub(super) fn worker_settings(&self) -> anyhow::Result<Settings> {
        Ok(Settings {
            in_flight: usize::from(self.amqp.prefetch),
            holding: Some(Holding {
                hold_max: Duration::from_secs(self.engine.hold_max_s),
                give_back_after: GIVE_BACK_AFTER,
            }),
            ..self.settings(Ending::WhenStopped)?
        })
    }

    /// What the advice in a pause depends on; `bank` says where the bank is.
    pub(super) fn circumstances(&self, bank: &str) -> Circumstances {
        let ledger = self.ledger_path().unwrap_or_default();
        Circumstances {
            token_file: self.bank.token_file.clone(),
            bank: bank.to_owned(),
            ledger: ledger.display().to_string(),
        }
    }

    /// The currencies that jobs may use.
    pub(super) fn currencies(&self) -> anyhow::Result<Currencies> {
        if self.currency.is_empty() {
            return Ok(Currencies::default());
        }
        let digits = self.currency.iter().map(|(code, config)| {
            Currency::parse(code)
                .zip(config.digits(code))
                .ok_or_else(|| anyhow!("currency.{code}.minor_digits is not set"))
        });
        let currencies = Currencies::new(digits.collect::<anyhow::Result<Vec<_>>>()?);
        let ceilings = self
            .currency
            .iter()
            .filter_map(|(code, config)| config.max_amount_of(code));
        Ok(ceilings.fold(currencies, |currencies, max| {
            currencies.with_ceiling(max.currency(), max.minor())
        }))
    }

    /// Where private copies of files go: beside the ledger, where its folder is there.
    pub(super) fn spool_dir(&self) -> PathBuf {
        self.ledger_path()
            .ok()
            .and_then(|path| path.parent().map(Path::to_path_buf))
            .filter(|folder| folder.is_dir())
            .unwrap_or_else(std::env::temp_dir)
    }

    /// Where the ledger is.
    pub(super) fn ledger_path(&self) -> anyhow::Result<PathBuf> {
        let Some(url) = &self.ledger.url else {
            return Ok(data_dir()?.join("ledger.db"));
        };
        url.strip_prefix("sqlite:")
            .filter(|path| !path.is_empty())
            .map(PathBuf::from)
            .ok_or_else(|| anyhow!("ledger.url must be sqlite:PATH"))
    }
}

impl CurrencyConfig {
    /// Decimals of this currency at the bank, where that is known.
    fn digits(&self, code: &str) -> Option<u32> {
        self.minor_digits
            .or_else(|| (code == "COP").then_some(COP_DIGITS))
    }

    /// The largest amount of one job; none where there is no limit, or none that can be used.
    fn max_amount_of(&self, code: &str) -> Option<Amount> {
        let minor = minor_units(self.max_amount.as_deref()?, self.digits(code)?)?;
        Amount::new(i64::try_from(minor).ok()?, Currency::parse(code)?)
    }
}

/// A value as people write it.
pub(super) fn plain(value: &toml::Value) -> String {
    reading::plain(value)
}

/// Every source, the later before the former.
fn read_sources(file: Option<&Path>, flags: Flags) -> Reading {
    let mut reading = Reading::default();
    let path = file.unwrap_or(Path::new(DEFAULT_FILE));
    match std::fs::read_to_string(path) {
        Ok(text) => reading.add_file(path, &text),
        Err(error) if file.is_none() && error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => reading.faults.push(format!(
            "the configuration file {} cannot be read: {error}",
            path.display()
        )),
    }
    reading.add_environment(environment());
    reading.add_credentials(credentials().as_deref());
    flags.add_to(&mut reading);
    reading
}

/// The configuration file in use, if any.
pub(super) fn file_in_use(file: Option<&Path>) -> Option<PathBuf> {
    let path = file.map_or_else(default_file, Path::to_path_buf);
    path.exists().then_some(path)
}

/// The file in which this setting stands, where it is a secret and others may read it.
fn readable_by_others<'a>(reading: &'a Reading, setting: &Setting) -> Option<&'a Path> {
    let Some(Origin::File { path, .. }) = reading.origin(setting.name) else {
        return None;
    };
    let is_secret = matches!(setting.kind, Kind::Secret);
    (is_secret && others_may_read(path)).then_some(path)
}

#[cfg(unix)]
fn others_may_read(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    path.metadata()
        .is_ok_and(|metadata| metadata.permissions().mode() & OTHERS_READ != 0)
}

#[cfg(not(unix))]
fn others_may_read(_: &Path) -> bool {
    false
}

/// The user's data directory (XDG base directory specification).
fn data_dir() -> anyhow::Result<PathBuf> {
    absolute_from_env("XDG_DATA_HOME")
        .or_else(|| absolute_from_env("HOME").map(|home| home.join(".local").join("share")))
        .map(|base| base.join("tanda"))
        .ok_or_else(|| anyhow!("neither HOME nor XDG_DATA_HOME is set: set ledger.url"))
}

/// The file that `tanda init` writes.
pub(super) const TEMPLATE: &str = include_str!("tanda.default.toml");

/// Where `tanda init` writes it, where none is named.
pub(super) fn default_file() -> PathBuf {
    PathBuf::from(DEFAULT_FILE)
}
