//! `tanda config`: every setting, its value and where it came from.
//!
//! *What it promises.* No secret is shown, only whether there is one.
//!
//! *What it refuses to know.* Whether the bank or the ledger can be used.

use std::path::Path;

use serde_json::{Value, json};

use super::say;
use crate::app::cli::ConfigArgs;
use crate::app::config::{Config, Flags, Shown, file_in_use, plain};
use crate::app::exit::{Exit, Failure};

/// Where a value comes from that nobody set.
const BUILT_IN: &str = "built in";

pub(in crate::app) fn config(
    file: Option<&Path>,
    flags: Flags,
    args: &ConfigArgs,
) -> Result<Exit, Failure> {
    let usage = |error| Failure::new(Exit::Usage, error);
    let (settings, config) = Config::show(file, flags).map_err(usage)?;
    let ledger = config.ledger_path().map_err(usage)?.display().to_string();
    let file = file_in_use(file).map(|path| path.display().to_string());
    say(&if args.json {
        as_json(&settings, &ledger, file.as_deref())
    } else {
        as_text(&settings, &ledger, file.as_deref())
    });
    Ok(Exit::Done)
}

fn as_json(settings: &[Shown], ledger: &str, file: Option<&str>) -> String {
    let settings: Vec<_> = settings
        .iter()
        .map(|setting| {
            let value = match &setting.value {
                Some(toml::Value::Integer(number)) => json!(number),
                Some(value) => json!(plain(value)),
                None => Value::Null,
            };
            json!({
                "name": setting.name,
                "value": value,
                "from": setting.origin.as_deref().unwrap_or(BUILT_IN),
                "unless_set": setting.unless_set,
                "meaning": setting.meaning,
            })
        })
        .collect();
    let shown = json!({"config_file": file, "ledger": ledger, "settings": settings});
    format!("{shown:#}\n")
}

fn as_text(settings: &[Shown], ledger: &str, file: Option<&str>) -> String {
    let mut rows = vec![
        [
            "configuration file".to_owned(),
            file.unwrap_or("none; `tanda init` writes one").to_owned(),
            String::new(),
        ],
        ["ledger".to_owned(), ledger.to_owned(), String::new()],
        Default::default(),
        ["setting", "value", "from"].map(str::to_owned),
    ];
    rows.extend(settings.iter().map(|setting| {
        let value = match &setting.value {
            Some(value) => plain(value),
            None => format!("not set: {}", setting.unless_set.replace('`', "")),
        };
        let origin = setting.origin.as_deref().unwrap_or(BUILT_IN);
        [setting.name.clone(), value, origin.to_owned()]
    }));
    let width = |column: usize| {
        let cells = rows
            .iter()
            .filter(|row| row.last().is_some_and(|cell| !cell.is_empty()));
        cells
            .filter_map(|row| row.get(column))
            .map(|cell| cell.chars().count())
            .max()
            .unwrap_or_default()
    };
    let (names, values) = (width(0), width(1));
    let mut text = String::new();
    for [name, value, origin] in &rows {
        let line = format!("{name:<names$}  {value:<values$}  {origin}");
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}
