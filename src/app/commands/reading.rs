//! What people are told of how a file was read.
//!
//! *What it promises.* Money is shown with its currency and all its decimals, as it can be typed
//! back; totals per currency and operation are never added together. Texts of the file are shown
//! without what does not print.
//!
//! *What it refuses to know.* Which command asks, and what follows.

use std::fmt::Write as _;
use std::path::Path;

use crate::app::cli::ReadingArgs;
use crate::domain::money::{Currencies, Totals, major_units};
use crate::files::refusal::shown;
use crate::files::{Checked, DecimalReading};

/// What a file holds, before anything is done with it, and where its rows would go.
pub(super) fn preview(
    file: &Path,
    checked: &Checked,
    currencies: &Currencies,
    whither: &str,
) -> String {
    let rows = if checked.rows == 1 { "row" } else { "rows" };
    let mut text = format!("{}: {} {rows}", shown(file), checked.rows);
    if checked.skipped() > 0 {
        push(&mut text, format_args!(", {}", skipped_words(checked)));
    }
    push(&mut text, format_args!(", {whither}\n"));
    push(
        &mut text,
        format_args!("  {}\n", decimal_words(&checked.decimal)),
    );
    let (bad, of) = (checked.bad_rows(), checked.rows);
    if bad > 0 {
        // What --valid-only leaves out is said loudly.
        push(
            &mut text,
            format_args!(
                "  LEFT OUT: {bad} of {of} rows are wrong and will not be sent (--valid-only). The \
                 others:\n"
            ),
        );
    }
    push_totals(&mut text, "  ", &checked.totals, currencies);
    text.push_str(&notices(checked));
    text
}

/// Counts and sums, a line for each.
pub(super) fn push_totals(
    text: &mut String,
    indent: &str,
    totals: &Totals,
    currencies: &Currencies,
) {
    for (currency, operation, sum) in totals.iter() {
        let digits = currencies.minor_digits(currency).unwrap_or_default();
        let amount = major_units(sum.minor, digits);
        let (count, operation) = (sum.count, operation.as_str());
        push(
            text,
            format_args!("{indent}{operation:<10} {count:>9}   {currency} {amount:>20}\n"),
        );
    }
}

/// How decimals were told from thousands.
pub(super) fn decimal_words(decimal: &DecimalReading) -> String {
    match decimal {
        DecimalReading::NotNeeded => "amounts in plain digits".to_owned(),
        DecimalReading::Proven {
            decimal,
            line,
            value,
        } => format!(
            "decimal {} (proved by line {line}: {value})",
            decimal.as_str()
        ),
        DecimalReading::Chosen(decimal) => format!("decimal {} (chosen)", decimal.as_str()),
    }
}

/// How many lines ask for nothing, and why; empty where there are none.
pub(super) fn skipped_words(checked: &Checked) -> String {
    if checked.skipped() == 0 {
        return String::new();
    }
    let sums = u64::from(checked.totals_row.is_some());
    let kinds: Vec<String> = [(checked.blank, "blank"), (sums, "totals")]
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, kind)| format!("{kind} {count}"))
        .collect();
    format!("skipped {} ({})", checked.skipped(), kinds.join(", "))
}

/// What is no fault and should be known, a line for each.
pub(super) fn notices(checked: &Checked) -> String {
    let odd = &checked.oddities;
    let mut text = String::new();
    let mut notice = |words: String| push(&mut text, format_args!("  notice: {words}\n"));
    if !odd.unknown_columns.is_empty() {
        notice(format!(
            "ignored columns: {}",
            odd.unknown_columns.join(", ")
        ));
    }
    if odd.has_bom {
        notice("it begins with a byte order mark, which is passed over".to_owned());
    }
    if odd.has_sep_line {
        notice("its sep= line agrees with the column names and is passed over".to_owned());
    }
    if odd.ends_without_line_break {
        notice("its last row has no line break after it; is the file complete?".to_owned());
    }
    if let Some((count, line)) = odd.ids_like_card_numbers {
        notice(format!(
            "{count} entity_id like a card number, the first on line {line}; if they are, they must \
             not be in here"
        ));
    }
    match checked.totals_row {
        Some(sum) if sum.agreed => {
            notice(format!("the sum on line {} agrees with the rows", sum.line));
        }
        Some(sum) => notice(format!(
            "the sum on line {} was NOT compared, because rows are wrong",
            sum.line
        )),
        None => {}
    }
    text
}

/// The errors, at most so many of them, and how many rows they are in.
pub(super) fn errors(file: &Path, checked: &Checked, max: usize) -> String {
    let mut text = String::new();
    for error in checked.errors.iter().take(max) {
        push(
            &mut text,
            format_args!(
                "error {}:{} {} \"{}\"  {} [{}]\n",
                shown(file),
                error.line,
                error.field,
                error.value.escape_debug(),
                error.message,
                error.code
            ),
        );
    }
    let printed = u64::try_from(checked.errors.len().min(max)).unwrap_or(u64::MAX);
    if checked.errors_total > printed {
        let more = checked.errors_total - printed;
        push(
            &mut text,
            format_args!("… and {more} more; `tanda check --json` tells all\n"),
        );
    }
    text
}

/// How many rows need fixing, and how to get at them.
pub(super) fn to_fix(file: &Path, checked: &Checked, args: &ReadingArgs, written: bool) -> String {
    let rows = checked.bad_rows();
    let need = if rows == 1 { "row needs" } else { "rows need" };
    let how = match args.errors_to.as_deref().filter(|_| written) {
        Some(path) => format!("They are in {}, with the reasons.", shown(path)),
        None => format!(
            "`tanda check {} --errors-to fix.csv` writes them with a reason column.",
            shown(file)
        ),
    };
    format!("{rows} {need} fixing. {how}\n")
}

pub(super) fn push(text: &mut String, words: std::fmt::Arguments<'_>) {
    text.write_fmt(words).expect("a string takes it");
}
