//! What a run tells people at its beginning and its end.
//!
//! *What it promises.* Says for each status whether money moved and what to do; totals per currency
//! and operation are never added together.
//!
//! *What it refuses to know.* How it came to be.

use std::fmt::Write as _;
use std::path::Path;

use super::standing::Accounts;
use crate::domain::money::{Currencies, Totals, major_units};
use crate::domain::outcome::Status;
use crate::files::Checked;

/// Most bad rows that are printed; all are counted.
const ERRORS_SHOWN: usize = 50;

/// What the file holds, before anything is sent, and for which bank; none is the simulated one.
pub(super) fn preview(
    file: &Path,
    checked: &Checked,
    before: &Accounts,
    currencies: &Currencies,
    bank: Option<&str>,
) -> String {
    let rows = if checked.rows == 1 { "row" } else { "rows" };
    let mut text = format!("{}: {} {rows}", file.display(), checked.rows);
    if checked.skipped > 0 {
        write!(text, ", {} blank lines skipped", checked.skipped).expect("a string takes it");
    }
    match bank {
        Some(url) => writeln!(text, ", for the bank at {url}"),
        None => writeln!(text, ", for the simulated bank: no real money moves"),
    }
    .expect("a string takes it");
    push_totals(&mut text, "  ", &checked.totals, currencies);
    if !checked.unknown_columns.is_empty() {
        let columns = checked.unknown_columns.join(", ");
        writeln!(text, "  ignored columns: {columns}").expect("a string takes it");
    }
    for (status, words) in [
        (Status::Succeeded, "done before, not paid again"),
        (
            Status::Rejected,
            "refused by the bank before, not sent again",
        ),
        (
            Status::NotSent,
            "not sent before and proven so, not sent again",
        ),
        (
            Status::Conflict,
            "another row had this entity_id before: not sent",
        ),
        (
            Status::InDoubt,
            "in doubt since an earlier run: the bank is asked first",
        ),
    ] {
        let totals = before.of(Some(status));
        if !totals.is_empty() {
            writeln!(text, "  of these, {words}:").expect("a string takes it");
            push_totals(&mut text, "    ", &totals, currencies);
        }
    }
    let moves_now = before.of(None);
    if moves_now != checked.totals && !moves_now.is_empty() {
        text.push_str("  to be sent now:\n");
        push_totals(&mut text, "    ", &moves_now, currencies);
    }
    text
}

fn push_totals(text: &mut String, indent: &str, totals: &Totals, currencies: &Currencies) {
    for (currency, operation, sum) in totals.iter() {
        let digits = currencies.minor_digits(currency).unwrap_or_default();
        let amount = major_units(sum.minor, digits);
        let count = sum.count;
        writeln!(
            text,
            "{indent}{operation:<10} {count:>9}   {currency} {amount:>20}"
        )
        .expect("a string takes it");
    }
}

/// The rows that need fixing.
pub(super) fn bad_rows(file: &Path, checked: &Checked) -> String {
    let mut text = String::new();
    for error in checked.errors.iter().take(ERRORS_SHOWN) {
        writeln!(
            text,
            "error {}:{} {} \"{}\"  {} [{}]",
            file.display(),
            error.line,
            error.field,
            error.value.escape_debug(),
            error.message,
            error.code
        )
        .expect("a string takes it");
    }
    let shown = u64::try_from(checked.errors.len().min(ERRORS_SHOWN)).unwrap_or(u64::MAX);
    if checked.errors_total > shown {
        writeln!(text, "… and {} more", checked.errors_total - shown).expect("a string takes it");
    }
    let rows = checked.bad_rows();
    let need = if rows == 1 { "row needs" } else { "rows need" };
    writeln!(
        text,
        "{rows} {need} fixing. Nothing was sent: fix the file and run it again."
    )
    .expect("a string takes it");
    text
}

/// How the run ended.
pub(super) fn summary(
    accounts: &Accounts,
    results: &Path,
    currencies: &Currencies,
    is_simulated: bool,
) -> String {
    let mut text = String::new();
    if is_simulated {
        text.push_str(
            "simulated: no real money moved, and nothing was sent to the bank. It ended so:\n",
        );
    }
    for (status, words) in [
        (Some(Status::Succeeded), "succeeded: the money moved"),
        (
            Some(Status::Rejected),
            "rejected by the bank: no money moved; the result file says why",
        ),
        (
            Some(Status::NotSent),
            "not sent, and proven so: no money moved",
        ),
        (
            Some(Status::Conflict),
            "conflict: this entity_id was used before for something else; this row was not sent",
        ),
        (
            Some(Status::InDoubt),
            "in doubt: the money may have moved. Do not pay these another way. Run the same file \
             again later: the bank is asked first, and nothing is paid twice",
        ),
        (
            None,
            "waiting: not sent yet. Run the same file again to send them",
        ),
    ] {
        let totals = accounts.of(status);
        if !totals.is_empty() {
            writeln!(text, "{:>9} {words}", totals.count()).expect("a string takes it");
            push_totals(&mut text, "            ", &totals, currencies);
        }
    }
    writeln!(text, "result file: {}", results.display()).expect("a string takes it");
    text
}
