//! Reading settings: the file, the environment, the credentials of systemd, the flags.
//!
//! *What it promises.* The only reader of the environment. Each value is kept with where it came
//! from; the later source wins. Everything that is wrong is found at once, and neither a secret nor
//! the text around a mistake is ever repeated.
//!
//! *What it refuses to know.* What settings mean to each other.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};
use toml::{Spanned, Value};

use super::table::{ANY_CURRENCY, Kind, MASK, SETTINGS, Setting, Written, setting};
use crate::domain::money::Currency;

/// Prefix of settings in the environment.
const ENV_PREFIX: &str = "TANDA_";
/// Where systemd puts credentials.
const CREDENTIALS: &str = "CREDENTIALS_DIRECTORY";
/// Credentials, and the setting that names the file of each and the one that it stands for.
const CREDENTIAL_FILES: [(&str, &str, &str); 2] = [
    ("bank_token", "bank.token_file", "bank.token"),
    ("amqp_url", "amqp.url_file", "amqp.url"),
];
/// The most single changes that make one name of another: more is another word.
const SLIPS_MAX: usize = 3;

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// A line of the configuration file.
    File { path: PathBuf, line: usize },
    /// A variable of the environment.
    Variable(String),
    /// A credential of systemd.
    Credential,
    /// A flag.
    Flag(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Variable(name) => f.write_str(name),
            Self::Credential => f.write_str("systemd credential"),
            Self::Flag(name) => f.write_str(name),
        }
    }
}

/// A value that was set, and where.
pub(super) struct Found {
    value: Value,
    pub(super) origin: Origin,
}

/// What was read.
#[derive(Default)]
pub(super) struct Reading {
    found: BTreeMap<String, Found>,
    /// Settings whose value cannot be used.
    faulty: BTreeSet<String>,
    pub(super) faults: Vec<String>,
}

impl Reading {
    /// Takes the text of a configuration file.
    pub(super) fn add_file(&mut self, path: &Path, text: &str) {
        let (table, errors) = DeTable::parse_recoverable(text);
        let origin = |at: usize| Origin::File {
            path: path.to_path_buf(),
            line: line_of(text, at),
        };
        for error in &errors {
            let at = error.span().map_or(0, |span| span.start);
            // Not `Display`: it repeats the line, and a token may stand there.
            self.faults
                .push(format!("{}: {}", origin(at), error.message()));
        }
        if errors.is_empty() {
            self.add_table("", table.get_ref(), &origin);
        }
    }

    fn add_table(&mut self, prefix: &str, table: &DeTable, origin: &dyn Fn(usize) -> Origin) {
        for (key, value) in table {
            let name = match prefix {
                "" => key.get_ref().to_string(),
                section => format!("{section}.{}", key.get_ref()),
            };
            let from = origin(key.span().start);
            match value.get_ref().as_table() {
                Some(inner) if is_section(&name) => self.add_table(&name, inner, origin),
                Some(_) if setting(&name).is_none() => self.refuse_section(&name, &from),
                Some(_) | None => self.add(&name, written(value), from),
            }
        }
    }

    /// Takes the environment: a section and a key, two underscores apart.
    pub(super) fn add_environment(
        &mut self,
        variables: impl Iterator<Item = (OsString, OsString)>,
    ) {
        let mut ours: Vec<_> = variables
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value)))
            .filter(|(name, _)| is_meant_for_us(name))
            .collect();
        ours.sort();
        for (variable, value) in ours {
            let name = name_of(&variable);
            let origin = Origin::Variable(variable);
            match value.to_str() {
                Some(text) => self.add(&name, Written::Plain(text), origin),
                None => self.faults.push(format!("{origin}: is not UTF-8")),
            }
        }
    }

    /// Takes the secrets that systemd hands over, unless they are set.
    pub(super) fn add_credentials(&mut self, folder: Option<&Path>) {
        let Some(folder) = folder else {
            return;
        };
        for (credential, file_setting, setting) in CREDENTIAL_FILES {
            let file = folder.join(credential);
            let is_set = |name: &str| self.found.contains_key(name) || self.faulty.contains(name);
            if is_set(setting) || is_set(file_setting) || !file.exists() {
                continue;
            }
            match file.to_str() {
                Some(text) => self.add(file_setting, Written::Plain(text), Origin::Credential),
                None => self.faults.push(format!("{CREDENTIALS}: is not UTF-8")),
            }
        }
    }

    /// Takes a setting, or says what is wrong with it.
    pub(super) fn add(&mut self, name: &str, written: Written, origin: Origin) {
        let Some(setting) = setting(name) else {
            return self.refuse_name(name, &origin);
        };
        if let Some(code) = currency_of(name).filter(|code| Currency::parse(code).is_none()) {
            self.faults.push(format!(
                "{origin}: {name}: a currency is three capital letters, not {code:?}"
            ));
            return;
        }
        match setting.kind.read(written) {
            Ok(value) => {
                self.found.insert(name.to_owned(), Found { value, origin });
            }
            Err(allowed) => {
                let shown = setting.kind.show(written);
                self.faults
                    .push(format!("{origin}: {name} is {shown}; it {allowed}"));
                self.faulty.insert(name.to_owned());
            }
        }
    }

    fn refuse_section(&mut self, name: &str, origin: &Origin) {
        let sections = SETTINGS
            .iter()
            .filter_map(|setting| setting.name.split('.').next());
        let meant = sections
            .map(|section| (strsim::osa_distance(section, name), section))
            .min()
            .filter(|(slips, section)| slips * 2 < section.len());
        let remedy = match meant {
            Some((_, section)) => format!("did you mean [{section}]?"),
            None => "`tanda config` shows every setting".to_owned(),
        };
        let shown = name.escape_debug();
        self.faults
            .push(format!("{origin}: [{shown}] is no section; {remedy}"));
    }

    fn refuse_name(&mut self, name: &str, origin: &Origin) {
        let in_environment = matches!(origin, Origin::Variable(_));
        let write = |setting: &Setting| match origin {
            Origin::Variable(_) => variable_of(setting.name),
            Origin::File { .. } | Origin::Credential | Origin::Flag(_) => setting.name.to_owned(),
        };
        let remedy = match nearest(name) {
            Some(setting) => format!("did you mean {}?", write(setting)),
            None if in_environment => "two underscores stand between section and key, as in \
                                       TANDA_BANK__TOKEN; `tanda config` shows every setting"
                .to_owned(),
            None => "`tanda config` shows every setting".to_owned(),
        };
        let shown = if in_environment {
            "this".to_owned()
        } else {
            name.escape_debug().to_string()
        };
        self.faults
            .push(format!("{origin}: {shown} is no setting; {remedy}"));
    }

    /// Whether the value of this setting can be used: it was set well or not at all.
    pub(super) fn is_good(&self, name: &str) -> bool {
        !self.faulty.contains(name)
    }

    /// Where a setting was set.
    pub(super) fn origin(&self, name: &str) -> Option<&Origin> {
        self.found.get(name).map(|found| &found.origin)
    }

    /// The value in use, if any.
    pub(super) fn value(&self, name: &str) -> Option<Value> {
        match self.found.get(name) {
            Some(found) => Some(found.value.clone()),
            None => setting(name)?.built_in(),
        }
    }

    /// The value in use as it may be shown, if any.
    pub(super) fn shown_value(&self, name: &str) -> Option<Value> {
        let is_secret = setting(name).is_some_and(|setting| matches!(setting.kind, Kind::Secret));
        let value = self.value(name)?;
        Some(if is_secret {
            Value::String(MASK.to_owned())
        } else {
            value
        })
    }

    /// A setting as people see it: its value and where that came from.
    pub(super) fn describe(&self, name: &str) -> String {
        let value = self
            .shown_value(name)
            .map_or_else(|| "not set".to_owned(), |value| plain(&value));
        match self.origin(name) {
            Some(origin) => format!("{name} is {value} ({origin})"),
            None => format!("{name} is {value} (built in)"),
        }
    }

    /// The names of all settings, those of each currency that is set among them.
    pub(super) fn names(&self) -> Vec<String> {
        let codes: BTreeSet<&str> = self
            .found
            .keys()
            .filter_map(|name| currency_of(name))
            .collect();
        SETTINGS
            .iter()
            .flat_map(|setting| {
                if !setting.name.contains(ANY_CURRENCY) {
                    return vec![setting.name.to_owned()];
                }
                codes
                    .iter()
                    .map(|code| setting.name.replace(ANY_CURRENCY, code))
                    .collect()
            })
            .collect()
    }

    /// All values in use, section by section.
    pub(super) fn table(&self) -> toml::Table {
        let mut table = toml::Table::new();
        for name in self.names() {
            if let Some(value) = self.value(&name) {
                put(&mut table, &name, value);
            }
        }
        table
    }
}

/// A value as people write it: a text without quotes.
pub(super) fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Integer(number) => number.to_string(),
        Value::Boolean(is_on) => is_on.to_string(),
        // No setting has any other type.
        Value::Float(_) | Value::Datetime(_) | Value::Array(_) | Value::Table(_) => {
            value.type_str().to_owned()
        }
    }
}

/// The environment of this process.
#[expect(
    clippy::disallowed_methods,
    reason = "this is the room that reads the environment"
)]
pub(super) fn environment() -> impl Iterator<Item = (OsString, OsString)> {
    std::env::vars_os()
}

/// An absolute path in the environment.
#[expect(
    clippy::disallowed_methods,
    reason = "this is the room that reads the environment"
)]
pub(super) fn absolute_from_env(name: &str) -> Option<PathBuf> {
    std::env::var_os(name)
        .map(PathBuf::from)
        .filter(|path| path.is_absolute())
}

/// A variable that is no setting.
#[cfg(feature = "crash-points")]
#[expect(
    clippy::disallowed_methods,
    reason = "this is the room that reads the environment"
)]
pub(in crate::app) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Where systemd puts this process's credentials.
pub(super) fn credentials() -> Option<PathBuf> {
    absolute_from_env(CREDENTIALS)
}

fn put(table: &mut toml::Table, name: &str, value: Value) {
    match name.split_once('.') {
        None => {
            table.insert(name.to_owned(), value);
        }
        Some((section, rest)) => {
            let inner = table
                .entry(section.to_owned())
                .or_insert_with(|| Value::Table(toml::Table::new()));
            if let Some(inner) = inner.as_table_mut() {
                put(inner, rest, value);
            }
        }
    }
}

fn written<'a>(value: &'a Spanned<DeValue>) -> Written<'a> {
    match value.get_ref() {
        DeValue::String(text) => Written::Text(text),
        DeValue::Integer(number) => {
            Written::Whole(u64::from_str_radix(number.as_str(), number.radix()).ok())
        }
        DeValue::Boolean(is_on) => Written::Switch(*is_on),
        DeValue::Float(_) | DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => {
            Written::Other(value.get_ref().type_str())
        }
    }
}

fn line_of(text: &str, at: usize) -> usize {
    let before = text.get(..at).unwrap_or(text);
    1 + before.bytes().filter(|byte| *byte == b'\n').count()
}

/// The code in `currency.CODE.…`.
fn currency_of(name: &str) -> Option<&str> {
    let (code, _) = name.strip_prefix("currency.")?.split_once('.')?;
    Some(code)
}

/// Whether settings stand under this name: `bank`, `currency`, `currency.COP`.
fn is_section(name: &str) -> bool {
    SETTINGS.iter().any(|setting| {
        let parts = name.split('.').count();
        let section: Vec<&str> = setting.name.split('.').take(parts).collect();
        let is_shorter = parts < setting.name.split('.').count();
        is_shorter
            && section
                .iter()
                .zip(name.split('.'))
                .all(|(ours, theirs)| *ours == theirs || *ours == ANY_CURRENCY)
    })
}

/// Whether a variable is meant as a setting, also where it is written wrongly.
fn is_meant_for_us(variable: &str) -> bool {
    variable.strip_prefix(ENV_PREFIX).is_some_and(|rest| {
        let (section, has_key) = match rest.split_once('_') {
            Some((section, _)) => (section, true),
            None => (rest, false),
        };
        rest.contains("__") || has_key && is_section(&section.to_lowercase())
    })
}

/// `TANDA_BANK__TOKEN` is `bank.token`; a currency keeps its capitals.
fn name_of(variable: &str) -> String {
    let path = variable.strip_prefix(ENV_PREFIX).unwrap_or(variable);
    let mut parts: Vec<String> = path.split("__").map(str::to_lowercase).collect();
    if let [section, code, _] = parts.as_mut_slice()
        && section == "currency"
    {
        *code = code.to_uppercase();
    }
    parts.join(".")
}

/// The variable of a setting.
pub(super) fn variable_of(name: &str) -> String {
    format!("{ENV_PREFIX}{}", name.to_uppercase().replace('.', "__"))
}

/// The setting that was probably meant: the same key in another section, or a name that is a few
/// slips away.
fn nearest(name: &str) -> Option<&'static Setting> {
    let key_of = |name: &str| name.rsplit('.').next().map(str::to_owned);
    let same_key = SETTINGS
        .iter()
        .find(|setting| key_of(setting.name) == key_of(name));
    // A single underscore between section and key is the commonest slip in the environment.
    let joined = |name: &str| name.replace('.', "_");
    let close = || {
        SETTINGS
            .iter()
            .map(|setting| {
                let slips = strsim::osa_distance(&joined(setting.name), &joined(name));
                (slips, setting)
            })
            .filter(|(slips, _)| *slips <= SLIPS_MAX)
            .min_by_key(|(slips, _)| *slips)
            .map(|(_, setting)| setting)
    };
    same_key.or_else(close)
}
