//! What a run tells people at its beginning and its end.
//!
//! *What it promises.* Says for each status whether money moved and what to do; totals per currency
//! and operation are never added together.
//!
//! *What it refuses to know.* How it came to be.

use std::fmt::Write as _;
use std::path::Path;

use super::standing::Accounts;
use crate::app::commands::reading::{self, push_totals};
use crate::domain::money::Currencies;
use crate::domain::outcome::Status;
use crate::files::Checked;
use crate::files::refusal::shown;
use crate::wire::check::totals_shape;

/// What the file holds, before anything is sent, and for which bank; none is the simulated one.
pub(super) fn preview(
    file: &Path,
    checked: &Checked,
    before: &Accounts,
    currencies: &Currencies,
    bank: Option<&str>,
) -> String {
    let whither = bank.map_or_else(
        || "for the simulated bank: no real money moves".to_owned(),
        |url| format!("for the bank at {url}"),
    );
    let mut text = reading::preview(file, checked, currencies, &whither);
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
