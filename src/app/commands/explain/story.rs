//! The story of a job: everything on record, in the order of time.
//!
//! *What it promises.* Each record is a line; each stable word has its plain meaning beside it. What
//! was recorded at the same moment stands in the order of a job's way.
//!
//! *What it refuses to know.* What follows from it: that is the answer.

use std::fmt::Write as _;

use super::Known;
use crate::app::words;
use crate::domain::outcome::Status;
use crate::domain::request::Request;
use crate::domain::time::Timestamp;
use crate::domain::verdict::Verdict;
use crate::engine::ports::{Answer, AttemptNote, Intent, Origin};
use crate::ledger::history::{AskRecord, GenerationHistory, Publication, Tombstone};
use crate::wire::outcome::OutcomeMessage;

/// Something that happened.
pub(super) struct Event {
    pub(super) at: Timestamp,
    pub(super) text: String,
}

/// Everything that happened, in order.
pub(super) fn of(known: &Known<'_>) -> Vec<Event> {
    let history = known.history;
    let mut events = Vec::new();
    for tombstone in &history.tombstones {
        push_tombstone(&mut events, tombstone);
    }
    for generation in &history.generations {
        push_generation(&mut events, generation);
    }
    if let Some(held) = &history.held {
        events.push(Event {
            at: held.intent.received_at,
            text: format!("came from {}", origin(&held.intent)),
        });
    }
    for told in &history.waits {
        let held = history.held.as_ref().map(|held| held.intent.generation);
        let is_held = held.is_some() && held == told.outcome.generation;
        events.push(of_outcome(told, (!is_held).then_some("it waits no more")));
    }
    for fact in &history.facts {
        events.push(Event {
            at: fact.outcome.settled_at,
            text: of_fact(known, fact),
        });
    }
    for (request, answer) in &history.requests {
        push_request(&mut events, request, answer.as_ref());
    }
    events.sort_by_key(|event| event.at);
    fold(events)
}

/// What happened again and again, with nothing else in between, is one line.
fn fold(events: Vec<Event>) -> Vec<Event> {
    let mut folded: Vec<(Event, u64, Timestamp)> = Vec::new();
    for event in events {
        match folded.last_mut() {
            Some((first, times, last)) if first.text == event.text => {
                *times += 1;
                *last = event.at;
            }
            Some(_) | None => {
                let at = event.at;
                folded.push((event, 1, at));
            }
        }
    }
    let line = |(mut event, times, last): (Event, u64, Timestamp)| {
        if times > 1 {
            let last = words::column_moment(last);
            write!(event.text, " ({times} times, until {last})").expect("a string takes it");
        }
        event
    };
    folded.into_iter().map(line).collect()
}

/// Where a job came from.
pub(super) fn origin(intent: &Intent) -> String {
    let source = words::tame(&intent.source);
    let mut text = match (intent.origin, source.as_str()) {
        (Origin::File, "") => "a source that is not on record".to_owned(),
        (Origin::File, _) => source,
        (Origin::Queue, _) => format!("the queue {source}"),
    };
    if let Some(line) = intent.line {
        write!(text, ", line {line}").expect("a string takes it");
    }
    if let Some(batch) = &intent.envelope.batch_id {
        let batch = words::tame(batch);
        write!(text, ", batch {batch}").expect("a string takes it");
    }
    text
}

fn push_tombstone(events: &mut Vec<Event>, tombstone: &Tombstone) {
    let (generation, status) = (tombstone.generation, tombstone.status);
    events.push(Event {
        at: tombstone.begun_at,
        text: format!("generation {generation} was begun (its details were pruned since)"),
    });
    let reason = tombstone.reason.as_deref();
    let reason = reason.map_or_else(String::new, |reason| {
        format!(", {}", with_words(status, reason))
    });
    events.push(Event {
        at: tombstone.settled_at,
        text: format!(
            "generation {generation} ended {status}: {}{reason}; event {}",
            words::of_status(status),
            tombstone.event_id
        ),
    });
}

fn push_generation(events: &mut Vec<Event>, generation: &GenerationHistory) {
    let intent = &generation.intent;
    events.push(Event {
        at: intent.received_at,
        text: format!("came from {}", origin(intent)),
    });
    let again = intent.again_by.as_ref().map_or_else(String::new, |by| {
        let by = words::tame(by.as_str());
        format!(
            "generation {} (again, as {by} asked, under a new key {}): ",
            intent.generation, intent.key
        )
    });
    events.push(Event {
        at: intent.at.wall,
        text: format!("{again}on record as begun: from here on it may have been sent"),
    });
    for attempt in &generation.attempts {
        events.push(Event {
            at: attempt.began,
            text: of_attempt(attempt),
        });
    }
    for told in generation
        .outcomes
        .iter()
        .filter(|told| !told.outcome.status.is_final())
    {
        let is_overtaken = generation
            .outcomes
            .iter()
            .any(|told| told.outcome.status.is_final());
        let overtaken = is_overtaken.then_some("the final outcome came before");
        events.push(of_outcome(told, overtaken));
    }
    for ask in &generation.asks {
        events.push(Event {
            at: ask.began,
            text: of_ask(ask),
        });
    }
    for told in generation
        .outcomes
        .iter()
        .filter(|told| told.outcome.status.is_final())
    {
        events.push(of_outcome(told, None));
    }
}

fn of_attempt(attempt: &AttemptNote) -> String {
    let took = attempt.ended.since(attempt.began).as_millis();
    let spends = match (&attempt.verdict, attempt.spent) {
        // The bank's word ends the job, and there is nothing left to count.
        (Verdict::Accepted { .. } | Verdict::Refused(_), _) => "",
        (Verdict::Deferred(_) | Verdict::Unclear(_), true) => " [one of its attempts is spent]",
        (Verdict::Deferred(_) | Verdict::Unclear(_), false) => " [costs none of its attempts]",
    };
    format!(
        "attempt {}, {took} ms: {}{spends}",
        attempt.number,
        words::of_verdict(&attempt.verdict)
    )
}

fn of_ask(ask: &AskRecord) -> String {
    format!(
        "asked the bank's list: {}: {} [{}]",
        words::tame(&ask.finding),
        words::of_finding(&ask.finding),
        words::tame(&ask.evidence)
    )
}

/// An outcome; `overtaken` says why it is not told any more.
fn of_outcome(told: &Publication, overtaken: Option<&str>) -> Event {
    let outcome = &told.outcome;
    let message = OutcomeMessage::decode(&outcome.body);
    let reason = message.and_then(|message| message.reason);
    let reason = reason.map_or_else(String::new, |reason| {
        format!(", {}", with_words(outcome.status, &reason))
    });
    let kind = if outcome.status.is_final() {
        "final"
    } else {
        "for the time being"
    };
    Event {
        at: outcome.settled_at,
        text: format!(
            "{} ({kind}): {}{reason}; {}",
            outcome.status,
            words::of_status(outcome.status),
            publication(told, overtaken)
        ),
    }
}

fn publication(told: &Publication, overtaken: Option<&str>) -> String {
    let event_id = told.outcome.event_id;
    match (told.published_at, overtaken) {
        (Some(at), _) => format!("told on {} as event {event_id}", words::moment(at)),
        (None, Some(why)) => format!("event {event_id}, not told: {why}"),
        (None, None) if told.outcome.origin == Origin::Queue => {
            format!("event {event_id}, not told yet: a worker publishes it")
        }
        (None, None) => format!("event {event_id}, not told yet"),
    }
}

fn with_words(status: Status, reason: &str) -> String {
    let shown = words::tame(reason);
    match words::of_reason(status, reason) {
        Some(plain) => format!("{plain} ({shown})"),
        None => shown,
    }
}

fn of_fact(known: &Known<'_>, fact: &Publication) -> String {
    let status = fact.outcome.status;
    let mut text = format!(
        "another message under this name: {status}, {}",
        words::of_status(status)
    );
    let message = OutcomeMessage::decode(&fact.outcome.body);
    if let Some(asked) = message.and_then(|message| content_of(known, &message)) {
        write!(text, "; it asked for {asked}").expect("a string takes it");
    }
    write!(text, "; {}", publication(fact, None)).expect("a string takes it");
    text
}

fn content_of(known: &Known<'_>, message: &OutcomeMessage) -> Option<String> {
    use crate::domain::job::CardId;
    use crate::domain::money::Currency;
    let money = message.amount.as_ref()?;
    let currency = Currency::parse(&money.currency)?;
    let amount = words::money(known.currencies, currency, money.amount.into());
    let operation = words::tame(message.operation.as_deref()?);
    let card = CardId::parse(message.card_id.as_deref()?).ok()?;
    let from = message
        .line
        .map_or_else(String::new, |line| format!(", line {line}"));
    Some(format!("{operation} of {amount} on card {card}{from}"))
}

fn push_request(events: &mut Vec<Event>, request: &Request, answer: Option<&Answer>) {
    let waits = if answer.is_none() {
        "; not answered yet"
    } else {
        ""
    };
    events.push(Event {
        at: request.at,
        text: format!("{}{waits}", words::of_request(request)),
    });
    if let Some(answer) = answer {
        let done = if answer.accepted { "done" } else { "not done" };
        events.push(Event {
            at: answer.at,
            text: format!(
                "answer to {}: {done}: {}",
                words::tame(request.by.as_str()),
                words::tame(&answer.words)
            ),
        });
    }
}
