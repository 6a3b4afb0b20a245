//! The report for programs: `tanda.drill.v1`.
//!
//! *What it promises.* The names of its fields stay; sums that 64 bits cannot hold are texts.
//!
//! *What it refuses to know.* Who reads it.

use serde_json::{Map, Value, json};

use super::{Record, version};
use crate::app::commands::drill::accounts::Sum;
use crate::app::commands::drill::jobs::Kind;
use crate::app::commands::drill::judge::RULES;
use crate::app::commands::drill::plan::Peer;
use crate::app::commands::drill::tally::{Shown, Tally};

/// The whole report.
pub(in crate::app::commands::drill) fn json(record: &Record) -> Value {
    let tally = &record.tally;
    json!({
        "schema": "tanda.drill.v1",
        "simulated": true,
        "version": version(),
        "began": record.began.to_string(),
        "lasted_ms": millis(record.lasted),
        "seed": record.seed,
        "repeat": record.repeat,
        "jobs_from": record.jobs,
        "way": record.way,
        "verdict": match tally.shown() {
            Shown::Held => "held",
            Shown::Broken => "broken",
            Shown::Nothing => "nothing_shown",
        },
        "done": done(tally),
        "jobs": tally.jobs,
        "messages": messages(tally),
        "outcomes": outcomes(tally),
        "found_by_asking": tally.found_by_asking,
        "bank": {
            "payments_heard": tally.requests.operations,
            "replays": tally.replays,
            "lists_asked": tally.requests.lists,
        },
        "outcomes_told": tally.tellings,
        "dead_letters": tally.dead_letters,
        "movements": movements(record),
        "sums": sums(tally),
        "invariants": invariants(tally),
        "open": open(tally),
        "assumed_of_the_bank": super::assumptions(),
        "beyond_what_is_assumed": record.goes_beyond,
        "kept": record.kept,
        "settled_within_ms": millis(tally.longest_settling),
        "longest_stall_ms": millis(tally.longest_stall),
    })
}

fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn done(tally: &Tally) -> Value {
    let cuts = |peer| tally.cuts.get(&peer).copied().unwrap_or_default();
    let shuts = |peer| tally.shuts.get(&peer).copied().unwrap_or_default();
    json!({
        "rounds": tally.rounds,
        "kills": tally.kills,
        "kills_while_starting": tally.kills_early,
        "stops": tally.stops,
        "longest_stop_ms": millis(tally.longest_stop),
        "starts": tally.starts,
        "ended_unusable": tally.ended_unusable,
        "cuts": { "bank": cuts(Peer::Bank), "broker": cuts(Peer::Broker) },
        "outages": { "bank": shuts(Peer::Bank), "broker": shuts(Peer::Broker) },
        "lies": tally.lies,
    })
}

fn messages(tally: &Tally) -> Value {
    let names = [
        (Kind::Job, "jobs"),
        (Kind::Copy, "copies"),
        (Kind::Conflict, "conflicts"),
        (Kind::Unreadable, "unreadable"),
    ];
    let counts: Map<_, _> = names
        .into_iter()
        .filter_map(|(kind, name)| Some((name.to_owned(), json!(tally.messages.get(&kind)?))))
        .collect();
    Value::Object(counts)
}

fn outcomes(tally: &Tally) -> Value {
    let counts = tally.outcomes.iter();
    let counts: Map<_, _> = counts
        .map(|(status, count)| (status.as_str().to_owned(), json!(count)))
        .collect();
    Value::Object(counts)
}

fn movements(record: &Record) -> Value {
    let tally = &record.tally;
    let distribution: Map<_, _> = (tally.movements.iter())
        .map(|(movements, jobs)| (movements.to_string(), json!(jobs)))
        .collect();
    let wrong: Vec<_> = (tally.wrong.iter())
        .map(|wrong| {
            json!({
                "round": wrong.round, "entity_id": wrong.entity_id,
                "movements": wrong.movements, "told": wrong.told,
            })
        })
        .collect();
    json!({ "jobs_by_movements": distribution, "wrong": wrong, "table": record.table })
}

fn sums(tally: &Tally) -> Value {
    let sum = |sum: &Sum| {
        // Beyond 64 bits it is a text: no sum is cut.
        let minor =
            i64::try_from(sum.minor).map_or_else(|_| json!(sum.minor.to_string()), Value::from);
        json!({ "count": sum.count, "minor": minor })
    };
    let accounts = tally
        .accounts
        .iter()
        .map(|((currency, operation), account)| {
            let told: Map<_, _> = (account.told.iter())
                .map(|(status, told)| (status.as_str().to_owned(), sum(told)))
                .collect();
            json!({
                "currency": currency, "operation": operation,
                "asked": sum(&account.asked), "told": told, "moved": sum(&account.moved),
            })
        });
    Value::Array(accounts.collect())
}

fn invariants(tally: &Tally) -> Value {
    let all = RULES.iter().zip(&tally.tested).map(|(rule, tested)| {
        json!({
            "id": rule.id,
            "says": rule.says,
            "how": rule.how,
            "standing": tested.standing().as_str(),
            "checks": tested.checks,
            "broken": tested.broken,
            "breaches": tested.breaches,
            "not_exercised_because": tested.lacking,
        })
    });
    Value::Array(all.collect())
}

fn open(tally: &Tally) -> Value {
    let open: Vec<_> = (tally.open.iter())
        .map(|open| {
            json!({
                "round": open.round, "entity_id": open.entity_id,
                "status": open.status, "reason": open.reason,
                "needs_person": open.needs_person,
            })
        })
        .collect();
    json!({ "count": tally.open_count, "first": open })
}
