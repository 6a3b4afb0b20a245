//! This machine: the configuration, the currencies, the folder for private copies.
//!
//! *What it promises.* Looks; the only thing written is a file that is gone at once.
//!
//! *What it refuses to know.* The bank and the ledger.

use std::path::Path;

use super::Check;
use crate::app::config::{Config, Shown, default_file, file_in_use as existing_file};
use crate::app::exit::Exit;
use crate::domain::money::major_units;

/// An amount that people know: fifty thousand in a currency of two minor digits.
const EXAMPLE_MINOR: i128 = 5_000_000;

/// Which file the settings are from.
pub(super) fn file_in_use(file: Option<&Path>) -> String {
    let named = file.map(Path::to_path_buf);
    match existing_file(file).or(named) {
        Some(path) => path.display().to_string(),
        None => format!(
            "no {} here, so built-in values and the environment",
            default_file().display()
        ),
    }
}

/// The file itself: what is wrong in it is told elsewhere.
pub(super) fn configuration(file: Option<&Path>, settings: &[Shown]) -> Check {
    let name = "configuration";
    let what = format!("{}; no faults", file_in_use(file));
    let readable = settings
        .iter()
        .find_map(|setting| setting.readable_in.as_ref());
    match readable {
        None => Check::ok(name, what),
        Some(path) => Check::warn(
            name,
            format!("{what}, but the bank's token stands in it and other users may read it"),
            format!(
                "chmod 600 {}; where strangers use this machine, have the bank give a new token",
                path.display()
            ),
        ),
    }
}

/// Where the token comes from; never what it is.
pub(super) fn token_from(settings: &[Shown], config: &Config) -> String {
    let origin = |name: &str| {
        let setting = settings.iter().find(|setting| setting.name == name)?;
        setting.origin.as_deref()
    };
    match (&config.bank.token_file, origin("bank.token_file")) {
        (Some(path), Some(origin)) => format!("from the file {} ({origin})", path.display()),
        (Some(path), None) => format!("from the file {}", path.display()),
        (None, _) => match origin("bank.token") {
            Some(origin) => format!("from {origin}"),
            None => "none is set".to_owned(),
        },
    }
}

/// What an amount of minor units is, so that a factor of a hundred is seen before money moves.
pub(super) fn minor_digits(config: &Config) -> Vec<Check> {
    let name = "minor digits";
    let currencies = match config.currencies() {
        Ok(currencies) => currencies,
        Err(error) => {
            let what = format!("{error:#}");
            return vec![Check::fail(name, Exit::Usage, what, "correct [currency]")];
        }
    };
    let lines = currencies.iter().map(|(currency, digits)| {
        let example = major_units(EXAMPLE_MINOR, digits);
        let factor = 10_u32.saturating_pow(digits);
        let if_not = if digits == 0 {
            "if the bank counts in hundredths, this is 100 times too much".to_owned()
        } else {
            format!("if the bank counts in whole {currency}, this is {factor} times too much")
        };
        Check::ok(
            name,
            format!(
                "{currency} has {digits}: amount_minor {EXAMPLE_MINOR} is {currency} {example}; \
                 {if_not}"
            ),
        )
    });
    lines.collect()
}

/// Whether a private copy of a file can be made.
pub(super) fn spool(config: &Config) -> Check {
    let folder = config.spool_dir();
    let shown = folder.display();
    match tempfile::tempfile_in(&folder) {
        Ok(_) => Check::ok(
            "spool",
            format!("private copies of files can be made in {shown}"),
        ),
        Err(error) => Check::fail(
            "spool",
            Exit::Unusable,
            format!("no private copy of a file can be made in {shown}: {error}"),
            "give this user the right to write there, or make room",
        ),
    }
}
