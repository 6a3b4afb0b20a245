//! Plain words: what the ledger's stable words, moments and amounts are to people.
//!
//! *What it promises.* Each stable word has one meaning in plain words, the same in every command. An
//! amount never appears without its currency. What strangers wrote cannot steer a terminal.
//!
//! *What it refuses to know.* Which command says it, and when.

use std::fmt::Write as _;
use std::time::Duration;

use crate::app::streams::{escape_all_but, is_visible};
use crate::domain::money::{Amount, Currencies, Currency, major_units};
use crate::domain::outcome::{DoubtReason, NOT_PROVEN, RULED, Status};
use crate::domain::request::{Request, Wish};
use crate::domain::time::Timestamp;
use crate::domain::verdict::{Deferral, Refusal, Unclarity, UnclearCause, Verdict};
use crate::wire::outcome::BankWords;

// ---- outcomes ---------------------------------------------------------------------------------

/// What a status is for the money.
pub(super) const fn of_status(status: Status) -> &'static str {
    match status {
        Status::Succeeded => "the money moved",
        Status::Rejected => "the bank refused it: no money moved",
        Status::Invalid => "not a valid job: it was never sent",
        Status::Conflict => "other content under an entity_id that was there before: not sent",
        Status::NotSent => "not sent: no money moved",
        Status::InDoubt => "the money may have moved",
        Status::Waiting => "not sent yet",
    }
}

/// Why a job is in doubt.
pub(super) const fn of_doubt(reason: DoubtReason) -> &'static str {
    match reason {
        DoubtReason::WindowClosed => {
            "the bank gave no clear answer for as long as it was safe to repeat the call"
        }
        DoubtReason::AttemptsSpent => "the bank gave no clear answer to any attempt",
        DoubtReason::Conflict => {
            "the bank answered 409: it may have this payment already, or be working on it"
        }
        DoubtReason::RefusedAfterUnclear => {
            "the bank refused it after an attempt without a clear answer, perhaps because that \
             one had gone through"
        }
        DoubtReason::Expired => {
            "its last moment (not_after) passed after an attempt without a clear answer"
        }
        DoubtReason::Cancelled => "it was cancelled after an attempt without a clear answer",
        DoubtReason::Interrupted => {
            "tanda was stopped or died while this may have been at the bank"
        }
        DoubtReason::OtherContent => {
            "the bank's list shows this entity_id with an operation or amount that was never asked \
             for under it"
        }
        DoubtReason::DeliveryTooOld => {
            "the bank gave no clear answer for as long as its message could be kept open"
        }
        DoubtReason::LedgerLost => {
            "the ledger has forgotten a time in which it may have been sent, and its loss was accepted"
        }
        DoubtReason::LedgerLostAfterDelivery => {
            "the ledger has forgotten a time in which its message was delivered: it may have been sent \
             then, or another outcome told"
        }
        DoubtReason::Panicked => {
            "a fault of tanda stopped the work on it after it may have been sent"
        }
    }
}

/// Why an outcome is what it is, by its stable word; none for a word that needs no explanation.
pub(super) fn of_reason(status: Status, reason: &str) -> Option<&'static str> {
    if status == Status::InDoubt {
        return DoubtReason::parse(reason).map(of_doubt);
    }
    Some(match reason {
        "found_in_list" => "the bank's own list of operations shows it",
        RULED => "a person decided so",
        "expired" => "its last moment (not_after) passed",
        "cancelled" => "a person cancelled it",
        "poison" => "a fault of tanda stopped the work on it again and again",
        NOT_PROVEN => {
            "it was to be run again, and the bank's list did not say beyond doubt that nothing had moved"
        }
        "attempts_spent" => "all its attempts were used up, and the bank's list does not show it",
        "other_content_under_this_entity_id" => {
            "its entity_id was there before, for another card, operation or amount"
        }
        "behind_another_of_its_card" => "it waits behind an earlier job of its card",
        "pruned" => "its details were pruned from the ledger, as a person asked",
        _ => return None,
    })
}

/// What an ask of the bank's list found, by its stable word.
pub(super) fn of_finding(finding: &str) -> &'static str {
    match finding {
        "found" => "the list shows it: the money moved",
        "found_more" => "the list shows it more than once: the money moved more than once",
        "other_content" => {
            "the list shows this entity_id with another operation or amount: a person must look"
        }
        "absent" => "the list does not show it, which by itself proves nothing",
        "ambiguous" => "the list shows an equal operation without entity_id, which may be this one",
        "unreadable" => "the list could not be read just then",
        "barred" => "the bank does not let this token read the list of this card",
        _ => "a finding that this version of tanda does not know",
    }
}

/// What happens next to a job in doubt.
pub(super) const fn of_next(person_needed: bool, is_owned: bool) -> &'static str {
    match (person_needed, is_owned) {
        (true, _) => {
            "a person must decide: ask the bank's support what became of it, then `tanda settle`"
        }
        (false, true) => "the process that is running asks the bank's list again by itself",
        (false, false) => {
            "nothing is running: `tanda reconcile` asks the bank's list now, and so does the next \
             `tanda run` or `tanda worker` before it sends anything"
        }
    }
}

// ---- attempts ---------------------------------------------------------------------------------

/// What an attempt told us, with the bank's own words.
pub(super) fn of_verdict(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Accepted { http_status } => {
            format!("accepted: the bank did it (HTTP {http_status})")
        }
        Verdict::Refused(refusal) => format!("refused: the bank said no ({})", of_refusal(refusal)),
        Verdict::Deferred(deferral) => format!(
            "deferred ({}): {}, so nothing was done",
            deferral.as_str(),
            of_deferral(deferral)
        ),
        Verdict::Unclear(unclarity) => {
            let cause = unclarity.cause;
            let mut text = format!("unclear ({}): {}", cause.as_str(), of_cause(cause));
            push_details(&mut text, unclarity);
            text
        }
    }
}

/// The bank's own words of a refusal.
pub(super) fn of_refusal(refusal: &Refusal) -> String {
    let mut text = format!("HTTP {}", refusal.http_status);
    if !refusal.message.is_empty() {
        write!(text, " \"{}\"", tame(&refusal.message)).expect("a string takes it");
    }
    for error in &refusal.errors {
        write!(text, ", {}", tame(&error.error_code)).expect("a string takes it");
        if let Some(path) = &error.path {
            write!(text, " at {}", tame(path)).expect("a string takes it");
        }
        if !error.message.is_empty() {
            write!(text, " \"{}\"", tame(&error.message)).expect("a string takes it");
        }
    }
    if let Some(log_id) = &refusal.log_id {
        write!(text, ", {}", tame(log_id)).expect("a string takes it");
    }
    text
}

/// The bank's own words, as an outcome has them.
pub(super) fn of_bank(bank: &BankWords) -> String {
    let mut text = bank
        .message
        .as_deref()
        .map_or_else(String::new, |message| format!("\"{}\"", tame(message)));
    for error in &bank.errors {
        let at = error
            .path
            .as_deref()
            .map_or_else(String::new, |path| format!(" at {path}"));
        let comma = if text.is_empty() { "" } else { ", " };
        let line = format!("{comma}{}{at} \"{}\"", error.error_code, error.message);
        text.push_str(&tame(&line));
    }
    if let Some(status) = bank.http_status {
        write!(text, " (HTTP {status})").expect("a string takes it");
    }
    text
}

const fn of_deferral(deferral: &Deferral) -> &'static str {
    match deferral {
        Deferral::CredentialRefused { .. } => "the bank did not take the token (HTTP 401)",
        Deferral::NotAuthorized { .. } => "the bank said the token may not do this (HTTP 403)",
        Deferral::RateLimited { .. } => "the bank asked to slow down (HTTP 429)",
        Deferral::NoConnection => "the bank could not be reached",
    }
}

const fn of_cause(cause: UnclearCause) -> &'static str {
    match cause {
        UnclearCause::Timeout => "no answer in time",
        UnclearCause::ConnectionBroken => "the connection broke before an answer",
        UnclearCause::ServerError => "the bank had an error of its own",
        UnclearCause::Conflict => "the bank says that it conflicts with something it has",
        UnclearCause::UnreadableAnswer => "the answer could not be read",
        UnclearCause::NotTheBank => "something else than the bank answered",
        UnclearCause::UnexpectedStatus => "the bank answered in a way that it does not document",
        UnclearCause::Interrupted => {
            "tanda was stopped while it, or others after it, may have been under way"
        }
    }
}

fn push_details(text: &mut String, unclarity: &Unclarity) {
    if let Some(status) = unclarity.http_status {
        write!(text, " (HTTP {status})").expect("a string takes it");
    }
    text.push_str("; it may have gone through all the same");
    if let Some(log_id) = &unclarity.log_id {
        write!(text, "; {}", tame(log_id)).expect("a string takes it");
    }
}

/// The bank's `log_…` id in what it answered, if any.
pub(super) fn log_id_of(verdict: &Verdict) -> Option<&str> {
    match verdict {
        Verdict::Refused(refusal) => refusal.log_id.as_deref(),
        Verdict::Deferred(
            Deferral::CredentialRefused { log_id } | Deferral::NotAuthorized { log_id },
        ) => log_id.as_deref(),
        Verdict::Accepted { .. }
        | Verdict::Deferred(Deferral::RateLimited { .. } | Deferral::NoConnection) => None,
        Verdict::Unclear(unclarity) => unclarity.log_id.as_deref(),
    }
}

// ---- people -----------------------------------------------------------------------------------

/// What a person asked.
pub(super) fn of_wish(wish: &Wish) -> String {
    match wish {
        Wish::Cancel(_) => "not to send it (cancel)".to_owned(),
        Wish::Settle {
            ruling, evidence, ..
        } => format!(
            "to settle it as {}, on this evidence: \"{}\"",
            ruling.as_str(),
            tame(evidence.as_str())
        ),
        Wish::Reconcile(_) => "to ask the bank about it now (reconcile)".to_owned(),
        Wish::Pause => "to hold the flow (pause)".to_owned(),
        Wish::Resume => "to let the flow go on (resume)".to_owned(),
        Wish::Redrive { generation, .. } => {
            format!("to run it again, as generation {generation} (dead redrive)")
        }
        Wish::Discard { evidence, .. } => format!(
            "to put it aside as dealt with (dead discard): \"{}\"",
            tame(evidence.as_str())
        ),
    }
}

/// Who asked what.
pub(super) fn of_request(request: &Request) -> String {
    format!(
        "{} asked {}",
        tame(request.by.as_str()),
        of_wish(&request.wish)
    )
}

// ---- values -----------------------------------------------------------------------------------

/// A moment, to the second.
pub(super) fn moment(at: Timestamp) -> String {
    let text = at.to_string();
    match text.split_once('T') {
        Some((day, time)) => {
            let to_the_second = time.split('.').next().unwrap_or(time);
            format!("{day} {} UTC", to_the_second.trim_end_matches('Z'))
        }
        None => text,
    }
}

/// A moment to the millisecond, for a column whose head says that it is UTC.
pub(super) fn column_moment(at: Timestamp) -> String {
    at.to_string().replace('T', " ").replace('Z', "")
}

/// A span of time in its largest unit: 4 s, 3 min, 5 h, 2 days.
pub(super) fn span(span: Duration) -> String {
    let seconds = span.as_secs();
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        172_800.. => format!("{} days", seconds / 86_400),
    }
}

/// An amount in major units with its currency.
pub(super) fn amount(currencies: &Currencies, amount: Amount) -> String {
    money(currencies, amount.currency(), i128::from(amount.minor()))
}

/// A sum in major units with its currency; in minor units where the settings do not know it.
pub(super) fn money(currencies: &Currencies, currency: Currency, minor: i128) -> String {
    match currencies.minor_digits(currency) {
        Some(digits) => format!("{currency} {}", major_units(minor, digits)),
        None => format!("{currency} {minor} minor units"),
    }
}

/// "1 job", "2 jobs".
pub(super) fn counted(count: u64, one: &str, more: &str) -> String {
    let noun = if count == 1 { one } else { more };
    format!("{count} {noun}")
}

/// Text of strangers without what steers a terminal or turns the direction of reading.
pub(super) fn tame(text: &str) -> String {
    escape_all_but(text, is_visible).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::listing::Finding;
    use crate::domain::outcome::{NotSentReason, Outcome};

    #[test]
    fn every_stable_word_has_plain_words() {
        for reason in DoubtReason::ALL {
            assert!(of_reason(Status::InDoubt, reason.as_str()).is_some());
        }
        for reason in [
            NotSentReason::Expired,
            NotSentReason::Cancelled,
            NotSentReason::Poison,
            NotSentReason::AttemptsSpent,
        ] {
            assert!(of_reason(Status::NotSent, reason.as_str()).is_some());
        }
        let waits = Outcome::Waiting.reason().expect("a reason");
        assert!(of_reason(Status::Waiting, waits).is_some());
        assert!(of_reason(Status::NotSent, NOT_PROVEN).is_some());
        let operation_id = None;
        for finding in [
            Finding::Found {
                operation_id: operation_id.clone(),
            },
            Finding::FoundMore {
                operation_id,
                times: 2,
            },
            Finding::OtherContent,
            Finding::Absent,
            Finding::Ambiguous,
            Finding::Unreadable,
            Finding::Barred,
        ] {
            let words = of_finding(finding.as_str());
            assert!(!words.contains("does not know"), "{finding:?}");
        }
    }

    #[test]
    fn moments_and_spans_are_read_at_a_glance() {
        let at = Timestamp::from_millis(1_795_000_000_123);
        assert_eq!(moment(at), "2026-11-18 11:06:40 UTC");
        assert_eq!(column_moment(at), "2026-11-18 11:06:40.123");
        for (seconds, words) in [(0, "0 s"), (119, "119 s"), (120, "2 min"), (7_200, "2 h")] {
            assert_eq!(span(Duration::from_secs(seconds)), words);
        }
        assert_eq!(span(Duration::from_secs(3 * 86_400)), "3 days");
    }

    #[test]
    fn an_amount_of_an_unknown_currency_is_never_shown_as_major_units() {
        let [cop, usd] = ["COP", "USD"].map(|code| Currency::parse(code).expect("a code"));
        let known = Currencies::default();
        assert_eq!(money(&known, cop, 5_000_000), "COP 50000.00");
        assert_eq!(money(&known, usd, 5_000_000), "USD 5000000 minor units");
    }

    #[test]
    fn what_strangers_wrote_cannot_steer_a_terminal() {
        assert_eq!(tame("Nómina \u{1b}[31m"), "Nómina \\u{1b}[31m");
        assert_eq!(tame("a\u{202e}b"), "a\\u{202e}b");
    }
}
