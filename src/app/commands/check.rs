//! `tanda check FILE…`: read files and say everything that is wrong with them.
//!
//! *What it promises.* No network and no ledger; nothing is written but the rows to fix, where they
//! were asked for. Every file is read, whatever is wrong with those before it. The exit code is 3 as
//! soon as one is refused, has a bad row, or is not what was expected.
//!
//! *What it refuses to know.* Whether rows were done before.

use std::path::Path;

use anyhow::anyhow;

use super::expect::Expectation;
use super::intake::{self, CHUNK_ROWS, Taken, check_errors_place, reading_rules};
use super::reading::{decimal_words, errors, notices, push, push_totals, skipped_words, to_fix};
use super::say;
use crate::app::cli::{CheckArgs, ReadingArgs};
use crate::app::config::Config;
use crate::app::exit::{Exit, Failure};
use crate::app::streams::tell;
use crate::domain::money::{Currencies, Totals};
use crate::files::check::ERRORS_KEPT;
use crate::files::refusal::shown;
use crate::files::{
    Checked, Decimal, DecimalReading, FileRefusal, FilesError, OriginalRow, OriginalRows,
    ReadingRules, RowContent, RowError,
};
use crate::wire::check::{
    ErrorShape, FileLine, Proof, Reading, RefusalShape, RowLine, Summary, totals_shape,
};

pub(in crate::app) fn check(config: Option<&Path>, args: &CheckArgs) -> Result<Exit, Failure> {
    let config = Config::load(config).map_err(|error| Failure::new(Exit::Usage, error))?;
    let rules = reading_rules(&config, &args.reading)?;
    let expected = Expectation::read(&args.reading, &rules.currencies)?;
    demand_place(args)?;
    let mut all = Seen::default();
    for file in &args.files {
        match intake::take(file, &config.spool_dir(), &rules)? {
            Ok(taken) => {
                all.count(&taken, args.reading.valid_only);
                tell_file(file, &taken, args, &rules)?;
            }
            Err(refusal) => {
                all.is_wanting = true;
                say(&refused(&refusal, args)?);
            }
        }
    }
    let differences = expected.differences(all.rows, &all.totals, &rules.currencies);
    for difference in &differences {
        tell(&format!("not as expected: {difference}\n"));
    }
    if all.is_wanting || !differences.is_empty() {
        return Ok(Exit::Input);
    }
    Ok(Exit::Done)
}

/// What all files together hold.
#[derive(Default)]
struct Seen {
    rows: u64,
    totals: Totals,
    /// Whether a file was refused or has bad rows.
    is_wanting: bool,
}

impl Seen {
    fn count(&mut self, taken: &Taken, valid_only: bool) {
        let checked = &taken.checked;
        self.rows += if valid_only { checked.ok } else { checked.rows };
        self.totals.merge(&checked.totals);
        self.is_wanting |= !checked.is_clean();
    }
}

/// Rows of several files have no common columns, so one file of them cannot be made.
fn demand_place(args: &CheckArgs) -> Result<(), Failure> {
    match args.files.as_slice() {
        [file] if file.exists() => check_errors_place(&args.reading, file),
        [_] => Ok(()),
        _ if args.reading.errors_to.is_none() => Ok(()),
        _ => {
            let error = anyhow!("--errors-to takes the rows of one file; check them one by one");
            Err(Failure::new(Exit::Usage, error))
        }
    }
}

fn tell_file(
    file: &Path,
    taken: &Taken,
    args: &CheckArgs,
    rules: &ReadingRules,
) -> Result<(), Failure> {
    let written = intake::write_errors(&args.reading, taken, rules)?;
    if args.json {
        return say_rows(taken, rules).and_then(|()| say_line(&summary(taken)));
    }
    let mut text = heading(file, taken, &rules.currencies);
    text.push_str(&notices(&taken.checked));
    text.push_str(&errors(file, &taken.checked, ERRORS_KEPT));
    text.push_str(&what_next(file, &taken.checked, &args.reading, written));
    say(&text);
    Ok(())
}

fn what_next(file: &Path, checked: &Checked, args: &ReadingArgs, written: bool) -> String {
    if checked.is_clean() {
        let file = shown(file);
        return format!("Every row is good. Nothing was sent: `tanda run {file}` does that.\n");
    }
    let mut text = to_fix(file, checked, args, written);
    if args.valid_only {
        let (ok, rows, bad) = (checked.ok, checked.rows, checked.bad_rows());
        let words = format!("With --valid-only {ok} of {rows} rows are sent, {bad} left out.\n");
        text.push_str(&words);
    }
    text
}

fn heading(file: &Path, taken: &Taken, currencies: &Currencies) -> String {
    let checked = &taken.checked;
    let mut text = format!(
        "{}  CSV {} utf-8  {}\n  rows {}   ok {}   errors {}",
        shown(file),
        checked.delimiter.as_str(),
        decimal_words(&checked.decimal),
        checked.rows,
        checked.ok,
        checked.bad_rows()
    );
    if checked.skipped() > 0 {
        push(&mut text, format_args!("   {}", skipped_words(checked)));
    }
    text.push('\n');
    push_totals(&mut text, "  ", &checked.totals, currencies);
    text
}

fn refused(refusal: &FileRefusal, args: &CheckArgs) -> Result<String, Failure> {
    if !args.json {
        return Ok(format!("refused {refusal}\n"));
    }
    line_of(&FileLine {
        summary: Summary {
            outcome: "refused",
            refusal: Some(RefusalShape {
                code: refusal.code,
                message: refusal.to_string(),
            }),
            ..Summary::default()
        },
    })
}

/// A line for each row, in order; the sum below them is none.
fn say_rows(taken: &Taken, rules: &ReadingRules) -> Result<(), Failure> {
    let unreadable = |error: FilesError| Failure::new(Exit::Unusable, error);
    let opened = OriginalRows::open(&taken.spool, &taken.checked, rules);
    let mut rows = opened.map_err(unreadable)?;
    loop {
        let chunk = rows.next_chunk(CHUNK_ROWS).map_err(unreadable)?;
        if chunk.is_empty() {
            return Ok(());
        }
        let mut text = String::new();
        for row in &chunk {
            if let Some(line) = row_line(row) {
                text.push_str(&line_of(&line)?);
            }
        }
        say(&text);
    }
}

fn row_line(row: &OriginalRow) -> Option<RowLine<'_>> {
    let line = row.line;
    match &row.content {
        RowContent::Job(job) => Some(RowLine::Job {
            line,
            job: job.into(),
        }),
        RowContent::Bad(errors) => Some(RowLine::Bad {
            line,
            errors: errors.iter().map(error_shape).collect(),
        }),
        RowContent::Totals => None,
    }
}

fn error_shape(error: &RowError) -> ErrorShape<'_> {
    ErrorShape {
        field: error.field,
        code: error.code,
        value: &error.value,
        message: &error.message,
    }
}

fn summary(taken: &Taken) -> FileLine<'_> {
    let checked = &taken.checked;
    let proof = match &checked.decimal {
        DecimalReading::Proven { line, value, .. } => Some(Proof { line: *line, value }),
        DecimalReading::NotNeeded | DecimalReading::Chosen(_) => None,
    };
    FileLine {
        summary: Summary {
            outcome: if checked.is_clean() {
                "ok"
            } else {
                "row_errors"
            },
            rows: checked.rows,
            ok: checked.ok,
            errors: checked.bad_rows(),
            skipped: checked.skipped(),
            refusal: None,
            reading: Reading {
                format: Some("csv"),
                encoding: Some("utf-8"),
                delimiter: Some(checked.delimiter.as_str()),
                decimal: checked.decimal.decimal().map(Decimal::as_str),
                proof,
            },
            totals: totals_shape(&checked.totals),
        },
    }
}

fn say_line(line: &impl serde::Serialize) -> Result<(), Failure> {
    line_of(line).map(|text| say(&text))
}

fn line_of(line: &impl serde::Serialize) -> Result<String, Failure> {
    serde_json::to_string(line)
        .map(|text| text + "\n")
        .map_err(|error| Failure::internal(error.into()))
}
