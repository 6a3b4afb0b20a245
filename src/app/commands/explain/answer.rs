//! The answer: whether the money moved, and what is left to do.
//!
//! *What it promises.* One sentence that a person can act on without the rest. What may have moved is
//! never said not to have (I5).
//!
//! *What it refuses to know.* How it came to be: that is the story.

use super::Known;
use crate::app::words;
use crate::domain::job::Job;
use crate::domain::outcome::{DoubtReason, RULED, Status};
use crate::domain::request::{EvidenceText, Person, Wish};
use crate::engine::ports::{Intent, Origin};
use crate::ledger::history::{GenerationHistory, HeldHistory, Publication, Tombstone};
use crate::wire::outcome::{BankWords, OutcomeMessage};

/// Whether the money moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Moved {
    Once,
    MoreThanOnce,
    No,
    Perhaps,
}

impl Moved {
    /// A stable word.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Once => "once",
            Self::MoreThanOnce => "more_than_once",
            Self::No => "no",
            Self::Perhaps => "perhaps",
        }
    }
}

pub(super) struct Answer {
    /// A stable word: a status, or what stands in its place.
    pub(super) status: &'static str,
    pub(super) moved: Moved,
    pub(super) sentence: String,
    pub(super) todo: Option<String>,
}

/// What is to be done to pay what was not paid.
fn pay_after_all(known: &Known<'_>, intent: &Intent) -> String {
    let id = words::tame(known.entity_id.as_str());
    match intent.origin {
        Origin::File => {
            "to pay it after all, run its file with `--again --by NAME` (the row may be \
                         corrected; the bank's list is asked first)"
                .to_owned()
        }
        Origin::Queue => format!(
            "to pay it after all, `tanda dead redrive {id} --by NAME` (the bank's list is asked first); \
             with other content, put it into a file and run that with `--again --by NAME`"
        ),
    }
}

pub(super) fn of(known: &Known<'_>) -> Answer {
    if let Some(held) = &known.history.held {
        return waiting(known, held);
    }
    if let Some(newest) = known.newest() {
        let last = newest
            .outcomes
            .iter()
            .find(|told| told.outcome.status.is_final());
        return match (last, newest.doubt) {
            (Some(last), _) => ended(known, newest, last),
            (None, Some(reason)) => in_doubt(known, newest, reason),
            (None, None) => match &newest.released {
                Some(reason) => released(known, newest, reason),
                None => begun(known, newest),
            },
        };
    }
    match known.history.tombstones.last() {
        Some(tombstone) => pruned(tombstone),
        None => never_came(known),
    }
}

/// What a job asks for.
pub(super) fn subject(known: &Known<'_>, job: &Job) -> String {
    let amount = words::amount(known.currencies, job.amount);
    format!("{} of {amount} on card {}", job.operation, job.card_id)
}

fn ended(known: &Known<'_>, newest: &GenerationHistory, last: &Publication) -> Answer {
    let outcome = &last.outcome;
    let message = OutcomeMessage::decode(&outcome.body);
    let (reason, bank) = message.map_or((None, None), |message| (message.reason, message.bank));
    let reason = reason.as_deref();
    let subject = subject(known, &newest.intent.job);
    let at = words::moment(outcome.settled_at);
    match outcome.status {
        Status::Succeeded => succeeded(known, newest, &subject, &at, reason, bank.as_ref()),
        Status::Rejected => {
            let todo = pay_after_all(known, &newest.intent);
            rejected(&subject, &at, bank.as_ref(), &todo)
        }
        // Neither is final, so that neither ends a job.
        Status::InDoubt | Status::Waiting => begun(known, newest),
        Status::NotSent | Status::Invalid | Status::Conflict => Answer {
            status: outcome.status.as_str(),
            moved: Moved::No,
            sentence: format!(
                "not sent. No money moved ({subject}): {}.",
                why_not_sent(known, newest, outcome.status, reason, &at)
            ),
            todo: Some(pay_after_all(known, &newest.intent)),
        },
    }
}

fn succeeded(
    known: &Known<'_>,
    newest: &GenerationHistory,
    subject: &str,
    at: &str,
    reason: Option<&str>,
    bank: Option<&BankWords>,
) -> Answer {
    if newest.asks.iter().any(|ask| ask.finding == "found_more") {
        return Answer {
            status: Status::Succeeded.as_str(),
            moved: Moved::MoreThanOnce,
            sentence: format!(
                "succeeded, but the bank's list shows it MORE THAN ONCE ({subject}): more money \
                 moved than was asked for."
            ),
            todo: Some(format!(
                "show this to the bank's support and have the surplus undone; tanda asked under \
                 one idempotency key, {}",
                newest.intent.key
            )),
        };
    }
    let how = match (reason, bank) {
        (Some(RULED), _) => format!("{} that it had", decision(known, newest, at)),
        (Some(_), Some(bank)) => {
            let id = bank.operation_id.as_deref().map(words::tame);
            let id = id.map_or_else(String::new, |id| format!(" as {id}"));
            format!("the bank's own list of operations shows it{id} (read on {at})")
        }
        (None, Some(bank)) => {
            let status = bank.http_status;
            let status = status.map_or_else(String::new, |status| format!(" (HTTP {status})"));
            format!("the bank confirmed it on {at}{status}")
        }
        (_, None) => format!("known since {at}"),
    };
    Answer {
        status: Status::Succeeded.as_str(),
        moved: Moved::Once,
        sentence: format!(
            "succeeded. The money moved once ({subject}): {how}. Nothing is left to do."
        ),
        todo: None,
    }
}

fn rejected(subject: &str, at: &str, bank: Option<&BankWords>, pay_after_all: &str) -> Answer {
    let said = bank.map_or_else(|| "it did not say why".to_owned(), words::of_bank);
    let log_id = bank.and_then(|bank| bank.log_id.as_deref());
    let ask = match log_id {
        Some(log_id) => format!("ask the bank's support with {}", words::tame(log_id)),
        None => "ask the bank's support (it gave no log id)".to_owned(),
    };
    Answer {
        status: Status::Rejected.as_str(),
        moved: Moved::No,
        sentence: format!(
            "rejected. No money moved ({subject}): the bank refused it on {at}: {said}."
        ),
        todo: Some(format!(
            "where its words do not say enough, {ask}; {pay_after_all}"
        )),
    }
}

fn why_not_sent(
    known: &Known<'_>,
    newest: &GenerationHistory,
    status: Status,
    reason: Option<&str>,
    at: &str,
) -> String {
    match reason {
        Some(RULED) => format!("{} that it had not", decision(known, newest, at)),
        Some(reason) => {
            let plain = words::of_reason(status, reason).unwrap_or(reason);
            format!("{plain} ({reason}; known since {at})")
        }
        None => format!("known since {at}"),
    }
}

/// Who decided about a job in doubt, and on what evidence.
fn decision(known: &Known<'_>, newest: &GenerationHistory, at: &str) -> String {
    match ruling(known, newest) {
        Some((by, evidence)) => format!(
            "{} decided on {at}, on the evidence \"{}\",",
            words::tame(by.as_str()),
            words::tame(evidence.as_str())
        ),
        None => format!("a person decided on {at}"),
    }
}

fn ruling<'a>(
    known: &'a Known<'_>,
    newest: &GenerationHistory,
) -> Option<(&'a Person, &'a EvidenceText)> {
    known
        .history
        .requests
        .iter()
        .rev()
        .find_map(|(request, answer)| {
            let answer = answer.as_ref().filter(|answer| answer.accepted)?;
            let is_of_it = answer.generation == Some(newest.intent.generation);
            match &request.wish {
                Wish::Settle { evidence, .. } if is_of_it => Some((&request.by, evidence)),
                Wish::Settle { .. }
                | Wish::Cancel(_)
                | Wish::Reconcile(_)
                | Wish::Pause
                | Wish::Resume
                | Wish::Redrive { .. }
                | Wish::Discard { .. } => None,
            }
        })
}

fn in_doubt(known: &Known<'_>, newest: &GenerationHistory, reason: DoubtReason) -> Answer {
    let since = newest.outcomes.first().map(|told| told.outcome.settled_at);
    let since = since.map_or_else(String::new, |since| {
        let ago = words::span(known.now.since(since));
        format!(" since {} ({ago} ago)", words::moment(since))
    });
    let subject = subject(known, &newest.intent.job);
    Answer {
        status: Status::InDoubt.as_str(),
        moved: Moved::Perhaps,
        sentence: format!(
            "IN DOUBT{since}. The money may have moved ({subject}): do not pay it another way. {} \
             ({}).",
            capital(words::of_doubt(reason)),
            reason.as_str()
        ),
        todo: Some(next_of_doubt(known, newest)),
    }
}

fn next_of_doubt(known: &Known<'_>, newest: &GenerationHistory) -> String {
    let next = words::of_next(newest.person_needed, known.is_owned);
    if !newest.person_needed {
        return next.to_owned();
    }
    let log_id = newest
        .attempts
        .iter()
        .rev()
        .find_map(|attempt| words::log_id_of(&attempt.verdict));
    let with = match log_id {
        Some(log_id) => format!("with {} and the key below", words::tame(log_id)),
        None => "with the key below".to_owned(),
    };
    format!(
        "{next} ({with}): `tanda settle ENTITY_ID --as succeeded --by NAME --evidence TEXT`, or \
         `--as not_sent`"
    )
}

fn waiting(known: &Known<'_>, held: &HeldHistory) -> Answer {
    let ago = words::span(known.now.since(held.since));
    let since = words::moment(held.since);
    let subject = subject(known, &held.intent.job);
    let mut before = Vec::new();
    if let Some(behind) = &held.behind {
        let behind = words::tame(behind.as_str());
        before.push(format!("{behind}, which is in doubt or being sent"));
    }
    if held.held_before > 0 {
        before.push(words::counted(
            held.held_before,
            "held job before it",
            "held jobs before it",
        ));
    }
    let before = if before.is_empty() {
        "others of its card; it is the next".to_owned()
    } else {
        before.join(", and ")
    };
    let todo = if known.is_owned {
        "nothing: it goes on by itself once those before it are through"
    } else {
        "nothing is running: the next `tanda worker` goes on with it, or `tanda run`"
    };
    Answer {
        status: Status::Waiting.as_str(),
        moved: Moved::No,
        sentence: format!(
            "WAITING since {since} ({ago} ago). No money moved yet ({subject}): the ledger holds it behind \
             {before}."
        ),
        todo: Some(todo.to_owned()),
    }
}

fn released(known: &Known<'_>, newest: &GenerationHistory, reason: &str) -> Answer {
    let at = words::moment(newest.intent.at.wall);
    let subject = subject(known, &newest.intent.job);
    Answer {
        status: "waiting",
        moved: Moved::No,
        sentence: format!(
            "not sent yet. No money moved ({subject}): it was begun on {at}, the bank provably did not \
             execute it ({reason}), and it was given back."
        ),
        todo: Some(
            match newest.intent.origin {
                Origin::File => "run its file again",
                Origin::Queue => "nothing: it comes again from the queue while a worker runs",
            }
            .to_owned(),
        ),
    }
}

fn begun(known: &Known<'_>, newest: &GenerationHistory) -> Answer {
    let at = words::moment(newest.intent.at.wall);
    let subject = subject(known, &newest.intent.job);
    let (status, sentence, todo) = if known.is_owned {
        (
            "being_sent",
            format!(
                "being worked on since {at}. The money may have moved ({subject}); its outcome is \
                 not known yet."
            ),
            "look again in a minute".to_owned(),
        )
    } else {
        (
            "interrupted",
            format!(
                "INTERRUPTED. The money may have moved ({subject}): do not pay it another way. It \
                 was begun on {at}, and tanda was stopped or died before it knew the outcome."
            ),
            words::of_next(false, false).to_owned(),
        )
    };
    Answer {
        status,
        moved: Moved::Perhaps,
        sentence,
        todo: Some(todo),
    }
}

fn pruned(tombstone: &Tombstone) -> Answer {
    let at = words::moment(tombstone.settled_at);
    let (moved, meaning) = match tombstone.status {
        Status::Succeeded => (
            Moved::Once,
            "The money moved once, and it is never sent again",
        ),
        Status::InDoubt | Status::Waiting => (Moved::Perhaps, "The money may have moved"),
        Status::Rejected | Status::NotSent | Status::Invalid | Status::Conflict => (
            Moved::No,
            "No money moved, and it is not sent again by itself",
        ),
    };
    let status = tombstone.status;
    let reason = tombstone.reason.as_deref();
    let why = reason.and_then(|reason| words::of_reason(status, reason));
    let why = why.map_or_else(String::new, |why| format!(" ({why})"));
    Answer {
        status: status.as_str(),
        moved,
        sentence: format!(
            "{status} on {at}{why}. {meaning}. Its amount and details were pruned from the ledger \
             since, as a person asked."
        ),
        todo: None,
    }
}

/// No job of this id has begun: there are only requests, or messages that were no jobs.
fn never_came(known: &Known<'_>) -> Answer {
    let is_cancelled = known.history.requests.iter().any(|(request, answer)| {
        let stands = answer.as_ref().is_none_or(|answer| answer.accepted);
        matches!(request.wish, Wish::Cancel(_)) && stands
    });
    let (status, sentence) = if is_cancelled {
        (
            "cancelled_before_it_came",
            "cancelled before it came. No money moved, and it is not sent when it comes.",
        )
    } else if known.history.facts.is_empty() {
        (
            "not_come",
            "no job of this name has been sent from here. No money moved; people only asked about it.",
        )
    } else {
        (
            Status::Invalid.as_str(),
            "invalid. No money moved: what came under this name was not a valid job and was not sent.",
        )
    };
    Answer {
        status,
        moved: Moved::No,
        sentence: sentence.to_owned(),
        todo: None,
    }
}

fn capital(text: &str) -> String {
    let mut characters = text.chars();
    let first = characters.next().map(|first| first.to_ascii_uppercase());
    first.into_iter().chain(characters).collect()
}
