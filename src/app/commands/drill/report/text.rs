//! The report for people.
//!
//! *What it promises.* The last lines are the verdict and what it means.
//!
//! *What it refuses to know.* The width of a terminal: no line depends on it.

use std::fmt::Write as _;
use std::time::Duration;

use super::{OPENING, Record, version};
use crate::app::commands::drill::jobs::Kind;
use crate::app::commands::drill::judge::{RULES, Sum};
use crate::app::commands::drill::plan::Peer;
use crate::app::commands::drill::tally::{Shown, Tally};
use crate::app::commands::drill::tested::Standing;
use crate::app::words;
use crate::domain::money::{Currencies, Currency, major_units};

/// Breaches of one invariant that are shown; the JSON has more.
const BREACHES_SHOWN: usize = 10;

/// The whole report.
pub(in crate::app::commands::drill) fn text(record: &Record) -> String {
    let mut text = String::new();
    let tally = &record.tally;
    push(&mut text, format_args!("{OPENING}\n"));
    push(
        &mut text,
        format_args!("tanda drill, version {}", version()),
    );
    let began = record.began.to_the_second();
    let lasted = seconds(record.lasted);
    push(
        &mut text,
        format_args!("  began      {began}, lasted {lasted}"),
    );
    push(&mut text, format_args!("  jobs       {}", record.jobs));
    push(&mut text, format_args!("  way        {}", record.way));
    push(&mut text, format_args!("  seed       {}", record.seed));
    push(&mut text, format_args!("  to repeat  {}", record.repeat));
    push(
        &mut text,
        format_args!(
            "             (the same jobs, blows and lies; their moments differ with the machine)\n"
        ),
    );
    what_was_done(&mut text, record);
    what_came_of_it(&mut text, tally);
    sums(&mut text, tally);
    invariants(&mut text, tally);
    verdict(&mut text, tally);
    text
}

fn push(text: &mut String, line: std::fmt::Arguments<'_>) {
    writeln!(text, "{line}").expect("a string takes every text");
}

fn seconds(duration: Duration) -> String {
    let millis = duration.as_millis();
    format!("{}.{} s", millis / 1_000, millis % 1_000 / 100)
}

fn what_was_done(text: &mut String, record: &Record) {
    let tally = &record.tally;
    push(text, format_args!("What was done to it"));
    let mut line = |count: u64, words: &str| push(text, format_args!("{count:>9}  {words}"));
    line(
        tally.rounds,
        "rounds, each with a new bank, a new ledger and new names",
    );
    line(
        tally.kills,
        &format!(
            "kills (SIGKILL), {} of them while it was starting",
            tally.kills_early
        ),
    );
    let longest = seconds(tally.longest_stop);
    line(
        tally.stops,
        &format!("stops (SIGTERM); the longest took {longest}"),
    );
    line(tally.starts, "starts of the process that pays");
    let of = |peer| tally.cuts.get(&peer).copied().unwrap_or_default();
    line(
        of(Peer::Bank),
        "connections to the bank cut at a byte drawn by the seed",
    );
    let of = |peer| tally.shuts.get(&peer).copied().unwrap_or_default();
    line(
        of(Peer::Bank),
        "times nobody answered at the bank's address",
    );
    match record.broker_is_hurt {
        None => {}
        Some(true) => {
            let of = |peer| tally.cuts.get(&peer).copied().unwrap_or_default();
            line(
                of(Peer::Broker),
                "connections to RabbitMQ cut at a byte drawn by the seed",
            );
            let of = |peer| tally.shuts.get(&peer).copied().unwrap_or_default();
            line(
                of(Peer::Broker),
                "times nobody answered at RabbitMQ's address",
            );
        }
        Some(false) => line(
            0,
            "connections to RabbitMQ cut: they are encrypted, and cannot be cut on the way",
        ),
    }
    if tally.ended_unusable > 0 {
        line(
            tally.ended_unusable,
            "ends of its own with exit code 8 while bank or broker could not be reached",
        );
    }
    for (lie, &count) in &tally.lies {
        line(count, &format!("lies of the bank: {}", of_lie(lie)));
    }
    push(text, format_args!(""));
}

/// What a lie is, in words.
fn of_lie(name: &str) -> String {
    let words = match name {
        "reset" => "the connection was reset before anything was done",
        "portal" => "a page for people came in place of the bank's answer; nothing was done",
        "unauthorized" => "401, although the token was good",
        "forbid" => "403, although token and card were good",
        "limit" => "429 with Retry-After",
        "error" => "500, 502 or 503; nothing was done",
        "conflict" => "409; nothing was done",
        "late" => "no answer, and done a little later",
        "refuse" => "422, although the job was good",
        "lost" => "done, and no answer",
        "hang" => "done, and an answer never came",
        "cut" => "done, and the answer broke off",
        "slow" => "the answer came late",
        "shift" => "its list shifted between two pages",
        "list_error" => "its list could not be read",
        "nameless" => "a row of its list had lost its entity_id",
        other => return other.to_owned(),
    };
    format!("{words} ({name})")
}

fn what_came_of_it(text: &mut String, tally: &Tally) {
    push(text, format_args!("What came of it"));
    let mut line = |count: u64, words: &str| push(text, format_args!("{count:>9}  {words}"));
    line(tally.jobs, "jobs");
    for (kind, words) in [
        (Kind::Copy, "copies of jobs beside them"),
        (Kind::Conflict, "copies with other content"),
        (Kind::Unreadable, "messages that are no jobs"),
    ] {
        if let Some(&count) = tally.messages.get(&kind) {
            line(count, words);
        }
    }
    for (status, &count) in &tally.outcomes {
        line(count, &format!("{status}: {}", words::of_status(*status)));
    }
    if tally.open_count > 0 {
        line(tally.open_count, "STILL OPEN at the end:");
        for open in tally.open.iter().take(BREACHES_SHOWN) {
            push(
                text,
                format_args!(
                    "           round {}: {} is {} ({})",
                    open.round, open.entity_id, open.status, open.reason
                ),
            );
        }
    }
    let mut line = |count: u64, words: &str| push(text, format_args!("{count:>9}  {words}"));
    line(
        tally.found_by_asking,
        "of the succeeded were found by asking the bank's list",
    );
    line(
        tally.requests.operations,
        "payments the bank heard, copies included",
    );
    line(
        tally.replays,
        "of them under a key that it knew, answered and not done again",
    );
    line(tally.requests.lists, "times its list was asked");
    line(
        tally.tellings,
        "outcomes told, those of the meantime and repeats included",
    );
    if tally.dead_letters > 0 {
        line(tally.dead_letters, "dead letters");
    }
    push(
        text,
        format_args!("\nMovements for each entity_id, by the bank's books"),
    );
    for (movements, count) in &tally.movements {
        let wrong = if *movements > 1 {
            "   MORE THAN ONCE"
        } else {
            ""
        };
        push(
            text,
            format_args!("{count:>9}  jobs moved money {movements} times{wrong}"),
        );
    }
    for wrong in tally.wrong.iter().take(BREACHES_SHOWN) {
        push(
            text,
            format_args!(
                "  WRONG: round {}: {} moved {} times and was told as {}",
                wrong.round, wrong.entity_id, wrong.movements, wrong.told
            ),
        );
    }
    push(text, format_args!(""));
}

fn sums(text: &mut String, tally: &Tally) {
    push(
        text,
        format_args!("Sums, by jobs, outcomes and the bank's books"),
    );
    let currencies = Currencies::default();
    for ((currency, operation), account) in &tally.accounts {
        let digits = Currency::parse(currency).and_then(|it| currencies.minor_digits(it));
        let mut line = |what: &str, sum: Sum| {
            let amount = major_units(sum.minor, digits.unwrap_or_default());
            let count = sum.count;
            push(
                text,
                format_args!("  {operation:<10} {currency}  {what:<26} {count:>9} {amount:>22}"),
            );
        };
        line("asked for", account.asked);
        for (status, sum) in &account.told {
            line(&format!("told as {status}"), *sum);
        }
        line("moved by the bank", account.moved);
    }
    push(text, format_args!(""));
}

fn invariants(text: &mut String, tally: &Tally) {
    push(
        text,
        format_args!("Each invariant, how it was checked, and how it stands"),
    );
    for (rule, tested) in RULES.iter().zip(&tally.tested) {
        let standing = match tested.standing() {
            Standing::Held => "held".to_owned(),
            Standing::Broken => format!("BROKEN {} times", tested.broken),
            Standing::NotExercised => {
                format!("not exercised: {}", tested.lacking.unwrap_or_default())
            }
        };
        push(
            text,
            format_args!("  {:<12} {}: {standing}", rule.id, rule.says),
        );
        if tested.standing() != Standing::NotExercised {
            let checks = tested.checks;
            push(
                text,
                format_args!("               {checks} checks: {}", rule.how),
            );
        }
        for breach in tested.breaches.iter().take(BREACHES_SHOWN) {
            push(text, format_args!("               BROKEN: {breach}"));
        }
    }
    push(text, format_args!(""));
    let settled = seconds(tally.longest_settling);
    push(
        text,
        format_args!(
            "Everything was settled at most {settled} after the faults of a round were over."
        ),
    );
    let stall = seconds(tally.longest_stall);
    push(
        text,
        format_args!(
            "The longest that this machine held the drill up was {stall}; from about {} s on its findings \
             could be the machine's fault.\n",
            super::super::plan::SETTLE_DELAY_S / 2
        ),
    );
}

fn verdict(text: &mut String, tally: &Tally) {
    let count = |standing| {
        let standings = tally.tested.iter().map(|tested| tested.standing());
        standings.filter(|found| *found == standing).count()
    };
    let (held, idle) = (count(Standing::Held), count(Standing::NotExercised));
    match tally.shown() {
        Shown::Held => push(
            text,
            format_args!(
                "VERDICT: HELD. Whatever was killed, cut and lied about, every job moved money exactly as often as \
                 it was told: once or not at all. {held} of the points above held; {idle} were not exercised, \
                 and of these it says nothing. It shows that no fault was found by this drill, not that there \
                 is none."
            ),
        ),
        Shown::Broken => push(
            text,
            format_args!(
                "VERDICT: BROKEN. {} of the points above did not hold. In a drill no real money moves; with \
                 a real bank this could have been somebody's money. Do not pay with this program on \
                 this machine before it is understood: keep this report, repeat it with --keep, and report it.",
                count(Standing::Broken)
            ),
        ),
        Shown::Nothing => push(
            text,
            format_args!(
                "VERDICT: NOTHING WAS SHOWN. No money moved while anything was hurt, so that nothing could \
                 have been paid twice. Give it more jobs or more time."
            ),
        ),
    }
}
