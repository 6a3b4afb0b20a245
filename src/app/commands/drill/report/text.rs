//! The report for people.
//!
//! *What it promises.* The last lines are the verdict and what it means.
//!
//! *What it refuses to know.* The width of a terminal: no line depends on it.

use std::time::Duration;

use super::{OPENING, Record, assumptions, version};
use crate::app::commands::drill::accounts::Sum;
use crate::app::commands::drill::jobs::Kind;
use crate::app::commands::drill::judge::RULES;
use crate::app::commands::drill::plan::{Peer, SETTLE_DELAY_S};
use crate::app::commands::drill::tally::{Shown, Tally};
use crate::app::commands::drill::tested::{Standing, Tested};
use crate::app::words;
use crate::domain::money::{Currencies, Currency, major_units};

/// Breaches of one invariant that are shown; the JSON has more.
const BREACHES_SHOWN: usize = 10;

/// The whole report.
pub(in crate::app::commands::drill) fn text(record: &Record) -> String {
    let mut page = Page::default();
    let tally = &record.tally;
    head(&mut page, record);
    what_was_done(&mut page, record);
    lies(&mut page, tally);
    what_came_of_it(&mut page, tally);
    open(&mut page, tally);
    movements(&mut page, tally);
    sums(&mut page, tally);
    invariants(&mut page, tally);
    page.title("What was taken for granted of the bank");
    for assumption in assumptions() {
        page.line(&format!("  {assumption}"));
    }
    if record.goes_beyond {
        page.line(
            "  BUT the faults that were asked for with --faults go beyond this: what is broken below was to be \
             expected, and shows that the drill sees it",
        );
    }
    verdict(&mut page, record);
    page.0
}

/// What is written so far.
#[derive(Default)]
struct Page(String);

impl Page {
    fn line(&mut self, text: &str) {
        self.0.push_str(text);
        self.0.push('\n');
    }

    fn title(&mut self, text: &str) {
        self.line("");
        self.line(text);
    }

    fn count(&mut self, count: u64, what: &str) {
        self.line(&format!("{count:>9} \u{d7} {what}"));
    }

    fn count_some(&mut self, count: u64, what: &str) {
        if count > 0 {
            self.count(count, what);
        }
    }
}

fn seconds(duration: Duration) -> String {
    let millis = duration.as_millis();
    format!("{}.{} s", millis / 1_000, millis % 1_000 / 100)
}

fn head(page: &mut Page, record: &Record) {
    page.line(OPENING);
    page.title(&format!("tanda drill, version {}", version()));
    let (began, lasted) = (record.began.to_the_second(), seconds(record.lasted));
    for (name, value) in [
        ("began", &format!("{began}, lasted {lasted}")),
        ("jobs", &record.jobs),
        ("way", &record.way),
        ("seed", &record.seed.to_string()),
        ("to repeat", &record.repeat),
    ] {
        page.line(&format!("  {name:<10} {value}"));
    }
    let same = "(the same jobs, blows and lies; their moments differ with the machine)";
    page.line(&format!("  {:<10} {same}", ""));
    if let Some(table) = &record.table {
        page.line(&format!("  {:<10} {table}", "movements"));
    }
}

fn what_was_done(page: &mut Page, record: &Record) {
    let tally = &record.tally;
    let cuts = |peer| tally.cuts.get(&peer).copied().unwrap_or_default();
    let shuts = |peer| tally.shuts.get(&peer).copied().unwrap_or_default();
    page.title("What was done to it");
    page.count(
        tally.rounds,
        "round, with a new bank, a new ledger and new names",
    );
    let early = tally.kills_early;
    page.count(
        tally.kills,
        &format!("kill (SIGKILL); {early} while it was starting"),
    );
    let longest = seconds(tally.longest_stop);
    page.count(
        tally.stops,
        &format!("stop (SIGTERM); the longest took {longest}"),
    );
    page.count(tally.starts, "start of the process that pays");
    page.count(
        cuts(Peer::Bank),
        "connection to the bank cut, at a byte drawn by the seed",
    );
    page.count(shuts(Peer::Bank), "nobody answered at the bank's address");
    match record.broker_is_hurt {
        None => {}
        Some(true) => {
            page.count(
                cuts(Peer::Broker),
                "connection to RabbitMQ cut, at a byte drawn by the seed",
            );
            page.count(shuts(Peer::Broker), "nobody answered at RabbitMQ's address");
        }
        Some(false) => page.count(
            0,
            "connection to RabbitMQ cut: encrypted ones cannot be cut on the way",
        ),
    }
    page.count_some(
        tally.ended_unusable,
        "end of its own with exit code 8, while bank or broker could not be reached",
    );
}

fn lies(page: &mut Page, tally: &Tally) {
    let all: u64 = tally.lies.values().sum();
    page.count(all, "lie of the bank:");
    for (name, count) in &tally.lies {
        page.line(&format!("{count:>18} \u{d7} {}", of_lie(name)));
    }
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

fn what_came_of_it(page: &mut Page, tally: &Tally) {
    page.title("What came of it");
    page.count(tally.jobs, "job");
    for (kind, words) in [
        (Kind::Copy, "copy of a job beside it"),
        (Kind::Conflict, "copy with other content"),
        (Kind::Unreadable, "message that is no job"),
    ] {
        if let Some(&count) = tally.messages.get(&kind) {
            page.count(count, words);
        }
    }
    for (status, &count) in &tally.outcomes {
        page.count(count, &format!("{status}: {}", words::of_status(*status)));
    }
    for (count, what) in [
        (
            tally.found_by_asking,
            "found by asking the bank's list, of those that succeeded",
        ),
        (
            tally.requests.operations,
            "payment heard by the bank, repeats included",
        ),
        (
            tally.replays,
            "of these under a key that it knew: answered, and not done again",
        ),
        (tally.requests.lists, "its list was asked"),
        (
            tally.tellings,
            "outcome told, those of the meantime and repeats included",
        ),
    ] {
        page.count(count, what);
    }
    page.count_some(tally.dead_letters, "dead letter");
}

/// What is open at the end, and why.
fn open(page: &mut Page, tally: &Tally) {
    page.count_some(tally.open_count, "STILL OPEN at the end:");
    for open in tally.open.iter().take(BREACHES_SHOWN) {
        let why = if open.needs_person {
            "; the bank says that it does not know the card, so that only a person can decide"
        } else {
            ""
        };
        let (round, name) = (open.round, &open.entity_id);
        let (status, reason) = (&open.status, &open.reason);
        page.line(&format!(
            "           round {round}: {name} is {status} ({reason}){why}"
        ));
    }
}

fn movements(page: &mut Page, tally: &Tally) {
    page.title("Movements for each entity_id, by the bank's books");
    for (&movements, &jobs) in &tally.movements {
        let words = match movements {
            0 => "job moved no money".to_owned(),
            1 => "job moved money once".to_owned(),
            more => format!("job MOVED MONEY {more} TIMES"),
        };
        page.count(jobs, &words);
    }
    for wrong in tally.wrong.iter().take(BREACHES_SHOWN) {
        let (round, name) = (wrong.round, &wrong.entity_id);
        let (movements, told) = (wrong.movements, &wrong.told);
        page.line(&format!(
            "  WRONG: round {round}: {name} moved {movements} times and is told as {told}"
        ));
    }
}

fn sums(page: &mut Page, tally: &Tally) {
    page.title("Sums by what was asked for, what was told, and the bank's books");
    let currencies = Currencies::default();
    for ((currency, operation), account) in &tally.accounts {
        let digits = Currency::parse(currency).and_then(|it| currencies.minor_digits(it));
        let digits = digits.unwrap_or_default();
        let mut line = |what: &str, sum: Sum| {
            let (count, amount) = (sum.count, major_units(sum.minor, digits));
            page.line(&format!(
                "  {operation:<10} {currency}  {what:<20} {count:>9} {amount:>20}"
            ));
        };
        line("asked for", account.asked);
        for (status, sum) in &account.told {
            line(&format!("told as {status}"), *sum);
        }
        line("moved by the bank", account.moved);
    }
}

fn invariants(page: &mut Page, tally: &Tally) {
    page.title("Each invariant, how it was checked, and how it stands");
    for (rule, tested) in RULES.iter().zip(&tally.tested) {
        let standing = match tested.standing() {
            Standing::Held => "held".to_owned(),
            Standing::Broken => "BROKEN".to_owned(),
            Standing::NotExercised => "not exercised".to_owned(),
        };
        page.line(&format!("  {:<12} {standing:<14} {}", rule.id, rule.says));
        let (indent, checks) = ("", tested.checks);
        match tested.lacking.filter(|_| tested.broken == 0) {
            Some(lacking) => page.line(&format!("{indent:>30}{lacking}")),
            None => page.line(&format!("{indent:>30}{checks} checks: {}", rule.how)),
        }
        if tested.broken > 0 {
            page.line(&format!("{indent:>30}BROKEN {} times:", tested.broken));
        }
        for breach in tested.breaches.iter().take(BREACHES_SHOWN) {
            page.line(&format!("{indent:>30}- {breach}"));
        }
    }
    let settled = seconds(tally.longest_settling);
    page.line("");
    page.line(&format!(
        "Once the faults of a round were over, everything was settled within {settled}."
    ));
    let stall = seconds(tally.longest_stall);
    page.line(&format!(
        "This machine held the drill up for {stall} at most; more than {SETTLE_DELAY_S} s could be taken for a fault."
    ));
}

fn verdict(page: &mut Page, record: &Record) {
    let tally = &record.tally;
    let count = |standing| {
        let standings = tally.tested.iter().map(Tested::standing);
        standings.filter(|found| *found == standing).count()
    };
    let (held, all, broken) = (count(Standing::Held), RULES.len(), count(Standing::Broken));
    page.line("");
    page.line(&match tally.shown() {
        Shown::Held => format!(
            "VERDICT: HELD. Whatever was killed, cut and lied about, every job moved its money once or not at \
             all, as it was told. Of the {all} points above {held} held, and none was broken; of what was not \
             exercised it says nothing. This drill found no fault; that there is none, no drill can show."
        ),
        Shown::Broken => format!(
            "VERDICT: BROKEN. Of the {all} points above {broken} did not hold. No real money moved in this drill; with \
             a real bank it might have. Do not pay with this program before this is understood: keep \
             this report and {}, and report them.",
            record.kept.as_deref().unwrap_or("what it was made from")
        ),
        Shown::Nothing => "VERDICT: NOTHING WAS SHOWN. No money moved while anything was hurt, so that nothing \
                           could have been paid twice. Give it more jobs or more time."
            .to_owned(),
    });
}
