//! Configuration: built-in values, then `tanda.toml`, then `TANDA_SECTION__KEY`.
//!
//! *What it promises.* The only reader of the environment. Unknown keys and bounds that contradict
//! each other are errors; secrets never print.
//!
//! *What it refuses to know.* What a setting is for beyond its bounds.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use secrecy::SecretString;
use serde::Deserialize;

use crate::domain::key::Namespace;
use crate::domain::money::{Currencies, Currency};
use crate::domain::progress::Rules;
use crate::domain::schedule::{AskTimes, BACKOFF_BASE};
use crate::engine::settings::{
    CONCURRENCY, DRAIN, Ending, Fence, IN_FLIGHT_PER_CALL, MAX_ATTEMPTS, PROBE_EVERY,
    RESEND_WINDOW, SETTLE_DELAY, SHORTEST_KEY_LIFETIME, Settings,
};
use crate::files::{MAX_FILE_BYTES, MAX_ROWS};

/// The bank's own test host (its documentation).
const SANDBOX: &str = "https://api.sandbox.cuentamono.com";
/// The configuration file that is read where none is named.
const DEFAULT_FILE: &str = "tanda.toml";
/// Prefix of settings in the environment.
const ENV_PREFIX: &str = "TANDA_";
/// What follows it.
const SECTIONS: [&str; 5] = ["BANK", "LEDGER", "ENGINE", "FILES", "CURRENCY"];
/// Settings that are texts, whatever they look like.
const TEXTS: [&str; 5] = ["token", "token_file", "base_url", "url", "namespace"];

/// All settings.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Config {
    pub(super) bank: BankConfig,
    pub(super) ledger: LedgerConfig,
    pub(super) engine: EngineConfig,
    pub(super) files: FilesConfig,
    pub(super) currency: BTreeMap<String, CurrencyConfig>,
}

/// `[bank]`
#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct BankConfig {
    /// Where the bank is.
    pub(super) base_url: String,
    /// The bearer token; better from a file or the environment.
    pub(super) token: Option<SecretString>,
    /// A file with the bearer token; read again when it changes.
    pub(super) token_file: Option<PathBuf>,
    /// Longest time to connect, in seconds.
    pub(super) connect_timeout_s: u64,
    /// Longest time for one call, in seconds.
    pub(super) request_timeout_s: u64,
}

impl Default for BankConfig {
    fn default() -> Self {
        Self {
            base_url: SANDBOX.to_owned(),
            token: None,
            token_file: None,
            connect_timeout_s: 5,
            request_timeout_s: 30,
        }
    }
}

/// `[ledger]`
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct LedgerConfig {
    /// `sqlite:PATH`
    pub(super) url: Option<String>,
}

/// `[engine]`
#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct EngineConfig {
    /// Whose keys these are.
    pub(super) namespace: String,
    /// Calls of the bank at once.
    pub(super) concurrency: usize,
    /// Jobs taken from the source and not yet answered; 64 for each call at once unless set.
    pub(super) in_flight: Option<usize>,
    /// Attempts of a job that may be spent.
    pub(super) max_attempts: u32,
    /// First bound of the backoff, in milliseconds.
    pub(super) backoff_base_ms: u64,
    /// How long an unclear attempt may be resent, in seconds; 0 means always ask first.
    pub(super) resend_window_s: u64,
    /// After how long the bank's list is believed complete, in seconds.
    pub(super) settle_delay_s: u64,
    /// Between two probes of a bank that the flow waits for, in seconds.
    pub(super) probe_every_s: u64,
    /// How long a stop waits for calls under way, in seconds.
    pub(super) drain_s: u64,
    /// `until_person_needed` or `until_settled`.
    pub(super) fence: FenceConfig,
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self {
            namespace: Namespace::default().as_str().to_owned(),
            concurrency: CONCURRENCY,
            in_flight: None,
            max_attempts: MAX_ATTEMPTS,
            backoff_base_ms: u64::try_from(BACKOFF_BASE.as_millis()).unwrap_or(u64::MAX),
            resend_window_s: RESEND_WINDOW.as_secs(),
            settle_delay_s: SETTLE_DELAY.as_secs(),
            probe_every_s: PROBE_EVERY.as_secs(),
            drain_s: DRAIN.as_secs(),
            fence: FenceConfig::UntilPersonNeeded,
        }
    }
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
#[serde(default, deny_unknown_fields)]
pub(super) struct FilesConfig {
    /// Largest file, in bytes.
    pub(super) max_bytes: u64,
    /// Most rows.
    pub(super) max_rows: u64,
}

impl Default for FilesConfig {
    fn default() -> Self {
        Self {
            max_bytes: MAX_FILE_BYTES,
            max_rows: MAX_ROWS,
        }
    }
}

/// `[currency.CODE]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CurrencyConfig {
    /// Minor digits at the bank.
    pub(super) minor_digits: u32,
}

impl Config {
    /// Reads the configuration.
    pub(super) fn load(file: Option<&Path>) -> anyhow::Result<Self> {
        let mut table = read_table(file)?;
        overlay(&mut table, environment())?;
        let config: Self = table.try_into().context(
            "the configuration cannot be used; nothing was sent. Correct the setting named here",
        )?;
        config.check()?;
        Ok(config)
    }

    /// Reads the configuration for the simulated bank: the real bank and its ledger are left out,
    /// so that nothing of a rehearsal can reach them; files are read as they will be.
    pub(super) fn for_simulation(file: Option<&Path>) -> anyhow::Result<Self> {
        let config = Self::load(file)?;
        Ok(Self {
            bank: BankConfig::default(),
            ledger: LedgerConfig::default(),
            ..config
        })
    }

    fn check(&self) -> anyhow::Result<()> {
        let mut faults = Vec::new();
        match self.settings(Ending::WhenDry) {
            Ok(settings) => faults.extend(settings.check()),
            Err(error) => faults.push(error.to_string()),
        }
        if self.bank.connect_timeout_s == 0
            || self.bank.connect_timeout_s >= self.bank.request_timeout_s
        {
            faults.push(
                "bank.connect_timeout_s must be 1 or more, and less than bank.request_timeout_s"
                    .to_owned(),
            );
        }
        if self.bank.request_timeout_s >= self.engine.drain_s {
            faults.push("engine.drain_s must be more than bank.request_timeout_s".to_owned());
        }
        let last_resend_ends = self
            .engine
            .resend_window_s
            .saturating_add(self.bank.request_timeout_s);
        if last_resend_ends >= SHORTEST_KEY_LIFETIME.as_secs() {
            faults.push(
                "engine.resend_window_s and bank.request_timeout_s together must be less than 1800: \
                 later the bank may have forgotten the idempotency key"
                    .to_owned(),
            );
        }
        if let Err(error) = self.currencies() {
            faults.push(error.to_string());
        }
        if faults.is_empty() {
            return Ok(());
        }
        bail!(
            "the configuration cannot be used; nothing was sent:\n  {}",
            faults.join("\n  ")
        )
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
            drain: Duration::from_secs(engine.drain_s),
        })
    }

    /// The currencies that jobs may use.
    pub(super) fn currencies(&self) -> anyhow::Result<Currencies> {
        if self.currency.is_empty() {
            return Ok(Currencies::default());
        }
        let digits = self.currency.iter().map(|(code, config)| {
            let currency = Currency::parse(code)
                .ok_or_else(|| anyhow!("currency.{code}: a currency is three capital letters"))?;
            if config.minor_digits > 4 {
                bail!("currency.{code}.minor_digits: at most 4");
            }
            Ok((currency, config.minor_digits))
        });
        Ok(Currencies::new(digits.collect::<anyhow::Result<Vec<_>>>()?))
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

/// The file as a table; empty where no file is named and there is none.
fn read_table(file: Option<&Path>) -> anyhow::Result<toml::Table> {
    let path = file.unwrap_or(Path::new(DEFAULT_FILE));
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if file.is_none() && error.kind() == std::io::ErrorKind::NotFound => {
            String::new()
        }
        Err(error) => {
            let context = format!("the configuration file {} cannot be read", path.display());
            return Err(anyhow::Error::new(error).context(context));
        }
    };
    text.parse().with_context(|| {
        format!(
            "the configuration file {} is not valid TOML; nothing was sent",
            path.display()
        )
    })
}

/// The settings in the environment: a section and a key, two underscores apart.
#[expect(
    clippy::disallowed_methods,
    reason = "this is the room that reads the environment"
)]
fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .filter(|(name, _)| names_a_section(name))
}

/// Whether a variable is meant as a setting, also where it is written wrongly.
fn names_a_section(name: &str) -> bool {
    name.strip_prefix(ENV_PREFIX)
        .and_then(|rest| rest.split_once('_'))
        .is_some_and(|(section, _)| SECTIONS.contains(&section))
}

fn overlay(
    table: &mut toml::Table,
    settings: impl Iterator<Item = (String, String)>,
) -> anyhow::Result<()> {
    for (name, value) in settings {
        let path = name.trim_start_matches(ENV_PREFIX).to_lowercase();
        let Some((section, key)) = path.split_once("__") else {
            bail!(
                "{name} is no setting; nothing was sent. Two underscores stand between section and key, as in \
                 TANDA_BANK__TOKEN"
            );
        };
        let entry = table
            .entry(section.to_owned())
            .or_insert_with(|| toml::Value::Table(toml::Table::new()));
        let Some(section) = entry.as_table_mut() else {
            bail!("{name} names a setting inside {section}, which is not a section");
        };
        // A token or a namespace of digits stays a text.
        let value = match value.parse::<i64>() {
            Ok(number) if !TEXTS.contains(&key) => toml::Value::Integer(number),
            Ok(_) | Err(_) => toml::Value::String(value),
        };
        section.insert(key.to_owned(), value);
    }
    Ok(())
}

/// The user's data directory (XDG base directory specification).
fn data_dir() -> anyhow::Result<PathBuf> {
    absolute_from_env("XDG_DATA_HOME")
        .or_else(|| absolute_from_env("HOME").map(|home| home.join(".local").join("share")))
        .map(|base| base.join("tanda"))
        .ok_or_else(|| anyhow!("neither HOME nor XDG_DATA_HOME is set: set ledger.url"))
}

#[expect(
    clippy::disallowed_methods,
    reason = "this is the room that reads the environment"
)]
fn absolute_from_env(name: &str) -> Option<PathBuf> {
    std::env::var_os(name)
        .map(PathBuf::from)
        .filter(|path| path.is_absolute())
}

/// The file that `tanda init` writes.
pub(super) const TEMPLATE: &str = include_str!("tanda.default.toml");

/// Where `tanda init` writes it, where none is named.
pub(super) fn default_file() -> PathBuf {
    PathBuf::from(DEFAULT_FILE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(text: &str, env: &[(&str, &str)]) -> anyhow::Result<Config> {
        let mut table: toml::Table = text.parse().expect("TOML");
        let env = env
            .iter()
            .map(|&(name, value)| (name.to_owned(), value.to_owned()));
        overlay(&mut table, env)?;
        let config: Config = table.try_into()?;
        config.check()?;
        Ok(config)
    }

    #[test]
    fn the_file_of_init_says_what_is_built_in() {
        let config = from(TEMPLATE, &[]).expect("a good file");
        assert_eq!(
            format!("{config:?}"),
            format!("{:?}", {
                let mut built_in = Config::default();
                built_in
                    .currency
                    .insert("COP".to_owned(), CurrencyConfig { minor_digits: 2 });
                built_in
            })
        );
    }

    #[test]
    fn the_environment_wins_over_the_file() {
        let env = [
            ("TANDA_ENGINE__CONCURRENCY", "4"),
            ("TANDA_BANK__TOKEN", "12345"),
        ];
        let config = from("[engine]\nconcurrency = 8", &env).expect("good settings");
        assert_eq!(config.engine.concurrency, 4);
        assert!(config.bank.token.is_some());
        assert!(
            !format!("{config:?}").contains("12345"),
            "a secret never prints"
        );
    }

    #[test]
    fn a_text_of_digits_stays_a_text() {
        let env = [
            ("TANDA_ENGINE__NAMESPACE", "2026"),
            ("TANDA_BANK__TOKEN_FILE", "1"),
        ];
        let config = from("", &env).expect("good settings");
        assert_eq!(config.engine.namespace, "2026");
        assert_eq!(config.bank.token_file, Some(PathBuf::from("1")));
    }

    #[test]
    fn a_setting_with_one_underscore_is_not_passed_over() {
        for name in ["TANDA_ENGINE_CONCURRENCY", "TANDA_BANK_TOKEN"] {
            assert!(names_a_section(name), "{name}");
            let error = from("", &[(name, "4")]).expect_err(name).to_string();
            assert!(error.contains(name), "{error}");
            assert!(error.contains("Two underscores"), "{error}");
        }
        assert!(names_a_section("TANDA_ENGINE__CONCURRENCY"));
        assert!(!names_a_section("TANDA_SEED"), "somebody else's");
    }

    #[test]
    fn the_file_of_init_shows_every_setting() {
        for key in [
            "base_url",
            "token_file",
            "connect_timeout_s",
            "request_timeout_s",
            "url",
            "namespace",
            "concurrency",
            "in_flight",
            "max_attempts",
            "backoff_base_ms",
            "resend_window_s",
            "settle_delay_s",
            "probe_every_s",
            "drain_s",
            "fence",
            "max_bytes",
            "max_rows",
            "minor_digits",
        ] {
            let shows = |line: &str| {
                line.trim_start_matches("# ")
                    .starts_with(&format!("{key} ="))
            };
            assert!(TEMPLATE.lines().any(shows), "{key}");
        }
    }

    #[test]
    fn what_cannot_be_is_refused_all_at_once() {
        assert!(
            from("[engine]\nconcurency = 8", &[]).is_err(),
            "a misspelt key"
        );
        let error = from("[engine]\ndrain_s = 1\nsettle_delay_s = 0", &[]).expect_err("two faults");
        let text = error.to_string();
        assert!(
            text.contains("drain_s") && text.contains("settle_delay_s"),
            "{text}"
        );
    }

    #[test]
    fn i11_every_wait_and_number_at_once_has_a_bound() {
        for setting in [
            "concurrency = 0",
            "concurrency = 1025",
            "in_flight = 63",
            "in_flight = 65537",
            "max_attempts = 0",
            "backoff_base_ms = 0",
            "backoff_base_ms = 86400001",
            "settle_delay_s = 0",
            "settle_delay_s = 86401",
            "probe_every_s = 0",
            "probe_every_s = 86401",
            "drain_s = 30",
            "drain_s = 86401",
        ] {
            let error = from(&format!("[engine]\n{setting}"), &[]).expect_err(setting);
            let (key, _) = setting.split_once(" =").expect("a key");
            assert!(
                error.to_string().contains(&format!("engine.{key} ")),
                "{setting}: {error}"
            );
        }
        assert!(from("[engine]\nconcurrency = 1024", &[]).is_ok());
    }

    #[test]
    fn i8_no_resend_can_outlive_the_banks_memory_of_its_key() {
        for (window_s, timeout_s, is_good) in [
            (600, 30, true),
            (1_769, 30, true),
            (1_770, 30, false),
            (0, 1_800, false),
            (31_536_000, 30, false),
        ] {
            let text = format!(
                "[engine]\nresend_window_s = {window_s}\ndrain_s = 3600\n\
                 [bank]\nrequest_timeout_s = {timeout_s}"
            );
            let read = from(&text, &[]);
            assert_eq!(
                read.is_ok(),
                is_good,
                "{window_s} and {timeout_s}: {read:?}"
            );
        }
    }
}
