//! How the ledger stands, for people.
//!
//! *What it promises.* The first line says whether anything is in doubt; what to do stands beside it.
//!
//! *What it refuses to know.* How it was counted.

use std::fmt::Write as _;

use super::Standing;
use crate::app::words;
use crate::domain::money::Totals;
use crate::ledger::history::OpenLine;

pub(super) fn of(standing: &Standing<'_>) -> String {
    let mut text = String::new();
    push_doubts(&mut text, standing);
    push_begun(&mut text, standing);
    push_lines(&mut text, standing);
    push_held(&mut text, standing);
    push_rest(&mut text, standing);
    text
}

fn push(text: &mut String, line: &str) {
    writeln!(text, "{line}").expect("a string takes it");
}

fn push_doubts(text: &mut String, standing: &Standing<'_>) {
    let open = standing.open;
    if open.in_doubt.is_empty() {
        if !standing.is_in_doubt() {
            push(text, "Nothing is in doubt.");
        }
        return;
    }
    let jobs = words::counted(open.in_doubt.count(), "job is", "jobs are");
    push(
        text,
        &format!("{jobs} IN DOUBT: the money may have moved. Do not pay these another way."),
    );
    push_totals(text, standing, &open.in_doubt);
    if open.person_needed > 0 {
        let jobs = words::counted(open.person_needed, "of them needs", "of them need");
        push(
            text,
            &format!(
                "  {jobs} a person: {}",
                words::of_next(true, standing.is_owned)
            ),
        );
    }
    if open.person_needed < open.in_doubt.count() {
        let next = words::of_next(false, standing.is_owned);
        push(text, &format!("  What happens next: {next}"));
    }
}

fn push_begun(text: &mut String, standing: &Standing<'_>) {
    let begun = &standing.open.begun;
    if begun.is_empty() {
        return;
    }
    let jobs = words::counted(begun.count(), "job is", "jobs are");
    if standing.is_owned {
        push(text, &format!("{jobs} being sent now."));
    } else {
        let jobs = words::counted(begun.count(), "job was", "jobs were");
        push(
            text,
            &format!(
                "{jobs} INTERRUPTED: tanda was stopped or died while the money may have been \
                 moving. Do not pay these another way; the next start asks the bank's list about \
                 them first, and `tanda reconcile` asks now."
            ),
        );
    }
    push_totals(text, standing, begun);
}

fn push_totals(text: &mut String, standing: &Standing<'_>, totals: &Totals) {
    for (currency, operation, sum) in totals.iter() {
        let money = words::money(standing.currencies, currency, sum.minor);
        let operation = operation.as_str();
        let line = format!("  {operation:<10} {:>9}   {money}", sum.count);
        push(text, &line);
    }
}

fn push_lines(text: &mut String, standing: &Standing<'_>) {
    let lines = &standing.open.lines;
    if lines.is_empty() {
        return;
    }
    push(text, "");
    push(text, "The oldest:");
    for line in lines {
        push_line(text, standing, line);
    }
    push_more(text, lines.len(), standing.shown_count());
    push(
        text,
        "`tanda explain ENTITY_ID` tells everything about one of them.",
    );
    push(text, "");
}

fn push_line(text: &mut String, standing: &Standing<'_>, line: &OpenLine) {
    let job = &line.job;
    let since = line.in_doubt_since.unwrap_or(line.begun_at);
    let ago = words::span(standing.now.since(since));
    push(
        text,
        &format!(
            "  {}  {} of {} on card {}, since {} ({ago} ago)",
            words::tame(job.entity_id.as_str()),
            job.operation,
            words::amount(standing.currencies, job.amount),
            job.card_id,
            words::moment(since),
        ),
    );
    let why = line.doubt.map_or_else(
        || "interrupted: not asked about yet".to_owned(),
        |reason| format!("{} ({})", words::of_doubt(reason), reason.as_str()),
    );
    push(text, &format!("      why: {why}"));
    let asked = match &line.last_ask {
        Some(ask) => format!(
            "the bank's list was asked {}, last on {}: {} ({})",
            words::counted(line.asks, "time", "times"),
            words::moment(ask.ended),
            words::of_finding(&ask.finding),
            words::tame(&ask.finding)
        ),
        None => "the bank's list was not asked yet".to_owned(),
    };
    push(text, &format!("      asked: {asked}"));
    let next = words::of_next(line.person_needed, standing.is_owned);
    push(text, &format!("      next: {next}"));
}

fn push_held(text: &mut String, standing: &Standing<'_>) {
    let held = standing.held;
    if held.totals.is_empty() {
        return;
    }
    let jobs = words::counted(held.totals.count(), "job is", "jobs are");
    let next = if standing.is_owned {
        "they go on by themselves, in their order, once those before them are through"
    } else {
        "nothing is running: the next `tanda worker` goes on with them, or `tanda run`"
    };
    push(
        text,
        &format!(
            "{jobs} WAITING in the ledger behind earlier jobs of their cards; no money moved for them \
             yet: {next}."
        ),
    );
    push_totals(text, standing, &held.totals);
    for line in &held.oldest {
        let job = &line.job;
        let ago = words::span(standing.now.since(line.since));
        push(
            text,
            &format!(
                "  {}  {} of {} on card {}, waiting for {ago}",
                words::tame(job.entity_id.as_str()),
                job.operation,
                words::amount(standing.currencies, job.amount),
                job.card_id,
            ),
        );
    }
    push_more(text, held.oldest.len(), held.totals.count());
    push(text, "");
}

fn push_more(text: &mut String, shown: usize, all: u64) {
    let shown = u64::try_from(shown).unwrap_or(u64::MAX);
    let more = all.saturating_sub(shown);
    if more > 0 {
        push(text, &format!("  … and {more} more (--limit N shows more)"));
    }
}

fn push_rest(text: &mut String, standing: &Standing<'_>) {
    let overview = standing.overview;
    let owner = if standing.is_owned {
        "a process of tanda is running on it"
    } else {
        "nothing is running on it"
    };
    let mut rows = vec![("ledger", format!("{owner}; commit {}", overview.sequence))];
    if let Some(loss) = &overview.loss {
        let (by, at) = (
            words::tame(loss.by.as_str()),
            words::moment(loss.accepted_at),
        );
        let asks = if loss.is_past {
            "the bank is asked about each job that it does not know before that is sent"
        } else {
            "jobs that it does not know are in doubt until the bank's list shows what was sent"
        };
        let lost = format!("has forgotten a time, which {by} accepted on {at}: {asks}");
        rows.push(("memory", lost));
    }
    if let Some((by, at)) = &overview.paused_by {
        let (by, at) = (words::tame(by.as_str()), words::moment(*at));
        let held = format!("PAUSED by {by} since {at}: nothing is sent until `tanda resume`");
        rows.push(("flow", held));
    }
    for request in &overview.open_requests {
        let about = request.wish.entity_id().map_or_else(String::new, |id| {
            format!(" about {}", words::tame(id.as_str()))
        });
        let asked = format!("{}{about}: not attended to yet", words::of_request(request));
        rows.push(("request", asked));
    }
    if standing.dead_letters > 0 {
        let letters = standing.dead_letters;
        let told = format!("{letters}, which nobody retries by itself: `tanda dead list`");
        rows.push(("dead letters", told));
    }
    let on_queue = overview.unpublished_on_queue;
    let of_files = overview.unpublished.saturating_sub(on_queue);
    for (count, who) in [
        (of_files, "the next start tells them"),
        (
            on_queue,
            "for the results queue: `tanda worker` publishes them, `tanda run` does not",
        ),
    ] {
        if count > 0 {
            let outcomes = words::counted(count, "outcome is", "outcomes are");
            rows.push(("outcomes", format!("{outcomes} not told yet; {who}")));
        }
    }
    rows.push(("bank's list", control(standing)));
    for (name, value) in rows {
        push(text, &format!("{name:<12} {value}"));
    }
    push_untold(text, standing);
}

fn push_untold(text: &mut String, standing: &Standing<'_>) {
    if standing.untold.is_empty() {
        return;
    }
    push(text, "");
    push(text, "Not told yet, the oldest:");
    for outcome in standing.untold {
        let name = outcome.entity_id.as_ref().map_or_else(
            || outcome.event_id.to_string(),
            |id| words::tame(id.as_str()),
        );
        let since = words::moment(outcome.settled_at);
        push(
            text,
            &format!("  {name}  {}, since {since}", outcome.status),
        );
    }
    if !standing.is_owned {
        push_more(text, standing.untold.len(), standing.overview.unpublished);
    }
}

fn control(standing: &Standing<'_>) -> String {
    match &standing.overview.control {
        Some(control) => format!(
            "proven on {}: it showed {}, which this ledger had paid",
            words::moment(control.seen_at),
            words::tame(control.entity_id.as_str())
        ),
        None => "not proven yet: until it has shown a payment of this ledger, that it does not \
                 show a job proves nothing"
            .to_owned(),
    }
}
