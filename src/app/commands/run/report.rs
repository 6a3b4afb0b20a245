//! What a run tells people at its beginning and its end.
//!
//! *What it promises.* Says for each status whether money moved and what to do; totals per currency
//! and operation are never added together.
//!
//! *What it refuses to know.* How it came to be.

use std::fmt::Write as _;
use std::path::Path;

use super::standing::Accounts;
use crate::app::commands::reading::{decimal_words, notices, push_totals, skipped_words};
use crate::domain::money::Currencies;
use crate::domain::outcome::Status;
use crate::files::Checked;
use crate::files::refusal::shown;

/// Most errors that are printed; all are counted.
pub(super) const ERRORS_SHOWN: usize = 50;

/// What the file holds, before anything is sent, and for which bank; none is the simulated one.
pub(super) fn preview(
    file: &Path,
    checked: &Checked,
    before: &Accounts,
    currencies: &Currencies,
    bank: Option<&str>,
) -> String {
    let rows = if checked.rows == 1 { "row" } else { "rows" };
    let mut text = format!("{}: {} {rows}", shown(file), checked.rows);
    if checked.skipped() > 0 {
        write!(text, ", {}", skipped_words(checked)).expect("a string takes it");
    }
    match bank {
        Some(url) => writeln!(text, ", for the bank at {url}"),
        None => writeln!(text, ", for the simulated bank: no real money moves"),
    }
    .expect("a string takes it");
    writeln!(text, "  {}", decimal_words(&checked.decimal)).expect("a string takes it");
    push_left_out(&mut text, checked);
    push_totals(&mut text, "  ", &checked.totals, currencies);
    text.push_str(&notices(checked));
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

/// What --valid-only leaves out, loudly.
fn push_left_out(text: &mut String, checked: &Checked) {
    let bad = checked.bad_rows();
    if bad > 0 {
        let of = checked.rows;
        writeln!(
            text,
            "  LEFT OUT: {bad} of {of} rows are wrong and will not be sent (--valid-only). The others:"
        )
        .expect("a string takes it");
    }
}

/// How the run ended.
pub(super) fn summary(
    accounts: &Accounts,
    left_out: u64,
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
    if left_out > 0 {
        writeln!(
            text,
            "{left_out:>9} invalid: left out and never sent; no money moved. Mend these rows and run \
             the file again"
        )
        .expect("a string takes it");
    }
    writeln!(text, "result file: {}", shown(results)).expect("a string takes it");
    text
}
