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
use crate::wire::check::totals_shape;

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
            "not sent before, by proof or by a person's word; not sent again",
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

/// How a run ended.
pub(super) struct Ending<'a> {
    pub(super) accounts: &'a Accounts,
    /// Rows that were wrong, and not sent because of `--valid-only`.
    pub(super) left_out: u64,
    pub(super) results: &'a Path,
    pub(super) is_simulated: bool,
}

impl Ending<'_> {
    /// For people.
    pub(super) fn text(&self, currencies: &Currencies) -> String {
        let mut text = String::new();
        if self.is_simulated {
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
                "not sent: no money moved, by proof or by a person's word; the result file says which",
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
            let totals = self.accounts.of(status);
            if !totals.is_empty() {
                writeln!(text, "{:>9} {words}", totals.count()).expect("a string takes it");
                push_totals(&mut text, "            ", &totals, currencies);
            }
        }
        let left_out = self.left_out;
        if left_out > 0 {
            writeln!(
                text,
                "{left_out:>9} invalid: left out and never sent; no money moved. Mend these rows and run \
                 the file again"
            )
            .expect("a string takes it");
        }
        writeln!(text, "result file: {}", shown(self.results)).expect("a string takes it");
        text
    }

    /// For programs: counts and sums in minor units by status, currency and operation; a status that
    /// no row has is left out.
    pub(super) fn json(&self) -> serde_json::Value {
        let statuses = Status::ALL.into_iter().map(Some).chain([None]);
        let outcomes: serde_json::Map<_, _> = statuses
            .map(|status| (status, self.accounts.of(status)))
            .filter(|(_, totals)| !totals.is_empty())
            .map(|(status, totals)| {
                let word = status.unwrap_or(Status::Waiting).as_str();
                (word.to_owned(), serde_json::json!(totals_shape(&totals)))
            })
            .collect();
        serde_json::json!({ "summary": {
            "simulated": self.is_simulated,
            "results": shown(self.results),
            "left_out": self.left_out,
            "outcomes": outcomes,
        }})
    }
}
