//! `tanda dead`: through the real program, with a run in place of a worker.

use std::process::Output;

use serde_json::Value;

use crate::support::payroll::{file, payroll, row};
use crate::support::program::{Desk, SimulatorProcess, exits, said};

fn run(desk: &Desk, file: &str, total: &str) -> Output {
    let total = format!("topup:COP:{total}");
    desk.tanda(&["run", file, "--yes", "--expect-total", &total])
}

fn says(output: &Output, words: &[&str]) {
    for words in words {
        assert!(said(output).contains(words), "{words:?}: {}", said(output));
    }
}

/// What `dead list` says to programs, with these flags.
fn listed(desk: &Desk, flags: &[&str]) -> Vec<Value> {
    let output = desk.tanda(&[&["dead", "list", "--json"], flags].concat());
    exits(&output, 0);
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let lines = text.lines().map(serde_json::from_str);
    lines.collect::<Result<_, _>>().expect("JSON")
}

fn names(letters: &[Value]) -> Vec<&str> {
    let names = letters.iter().map(|letter| letter["entity_id"].as_str());
    names.map(|name| name.expect("a name")).collect()
}

/// A desk with a payment, two that were refused for the same reason, one that was cancelled, and a copy
/// that says something else.
fn desk(bank: &SimulatorProcess) -> Desk {
    let desk = Desk::at(&bank.url);
    exits(&desk.tanda(&["cancel", "E-late", "--by", "Ana"]), 0);
    let rows = [
        row("E-paid", "1", "1.00"),
        row("E-no", "Frozen", "10.00"),
        row("E-nor", "Frozen", "20.00"),
        row("E-late", "2", "5.00"),
    ];
    exits(&run(&desk, &file(&desk, "pay.csv", &rows), "36.00"), 6);
    let copy = file(&desk, "copy.csv", &[row("E-paid", "1", "2.00")]);
    exits(&run(&desk, &copy, "2.00"), 6);
    desk
}

#[test]
fn dead_letters_are_listed_filtered_and_told_with_what_can_be_done() {
    let bank = SimulatorProcess::start("");
    let empty = Desk::at(&bank.url);
    let none = empty.tanda(&["dead", "list"]);
    exits(&none, 0);
    says(&none, &["there are no dead letters"]);
    assert!(listed(&empty, &[]).is_empty());

    let desk = desk(&bank);
    let all = listed(&desk, &[]);
    let mut sorted = names(&all);
    sorted.sort_unstable();
    assert_eq!(sorted, ["E-late", "E-no", "E-nor", "E-paid"]);
    let filtered = |flags: &[&str]| names(&listed(&desk, flags)).join(" ");
    assert_eq!(filtered(&["--status", "conflict"]), "E-paid");
    assert_eq!(filtered(&["--reason", "card_frozen"]), "E-no E-nor");
    assert_eq!(filtered(&["--reason", "cancelled"]), "E-late");
    assert_eq!(filtered(&["--source", "queue"]), "");
    assert_eq!(
        filtered(&["--source", "pay.csv", "--status", "not_sent"]),
        "E-late"
    );
    assert_eq!(
        filtered(&["--source", "file", "--since", "1h", "--limit", "1"]),
        "E-paid"
    );

    let text = desk.tanda(&["dead", "list", "--limit", "3"]);
    exits(&text, 0);
    says(
        &text,
        &[
            "COP 20.00",
            "card_frozen",
            "car_000...zen",
            "4 dead letters, 1 older",
        ],
    );
    let shown = desk.tanda(&["dead", "show", "E-no"]);
    exits(&shown, 0);
    says(
        &shown,
        &[
            "no money moved",
            "card_frozen \"The card is frozen.\" (HTTP 422)",
            "log_",
            "pay.csv, line 3",
            "tanda dead redrive E-no --by NAME",
        ],
    );
    let event_id = all[3]["event_id"].as_str().expect("an event");
    let conflict = desk.tanda(&["dead", "show", event_id]);
    exits(&conflict, 0);
    says(
        &conflict,
        &[
            "E-paid: conflict",
            "tanda explain E-paid",
            "entity_id of its own",
        ],
    );
    exits(&desk.tanda(&["dead", "show", "E-unknown"]), 3);
    for output in [&text, &shown, &conflict] {
        assert!(!said(output).contains("car_00000000"), "{}", said(output));
    }
}

/// Bulk buttons that hit what nobody saw are what people complain about most.
#[test]
fn nothing_is_touched_that_was_not_chosen_and_agreed_to() {
    let bank = SimulatorProcess::start("");
    let desk = desk(&bank);
    for (code, command, flags) in [
        // Nothing is chosen.
        (
            2,
            "redrive",
            "--yes --expect-count 3 --expect-total topup:COP:35.00",
        ),
        (2, "discard", "--yes --expect-count 4"),
        // Nobody agrees.
        (2, "redrive", "E-no"),
        (2, "redrive", "E-no --yes"),
        (2, "redrive", "E-no --yes --expect-count 1"),
        (2, "redrive", "E-no --yes --expect-total topup:COP:10.00"),
        (2, "discard", "E-no"),
        (2, "discard", "E-no --yes"),
        // It is not what was expected.
        (
            3,
            "redrive",
            "--reason card_frozen --yes --expect-count 3 --expect-total topup:COP:30.00",
        ),
        (
            3,
            "redrive",
            "--reason card_frozen --yes --expect-count 2 --expect-total topup:COP:30.01",
        ),
        (
            3,
            "redrive",
            "--reason no_such --yes --expect-count 2 --expect-total topup:COP:30.00",
        ),
        (3, "discard", "--status rejected --yes --expect-count 1"),
    ] {
        let evidence = ["--evidence", "paid by hand"];
        let more = if command == "discard" {
            &evidence[..]
        } else {
            &[]
        };
        let flags: Vec<_> = flags.split(' ').collect();
        let words = [&["dead", command, "--by", "Ana"], &flags[..], more];
        exits(&desk.tanda(&words.concat()), code);
    }
    let letters = listed(&desk, &[]);
    assert_eq!(letters.len(), 4);
    assert!(
        letters.iter().all(|it| it["asked"].is_null()),
        "{letters:?}"
    );
    assert_eq!(bank.operations_heard(), 3);
}

/// Asks, as one who has agreed, for these to be run again.
fn redrive(desk: &Desk, chosen: &[&str], count: &str, total: &str) -> Output {
    let agreed = [
        "--by",
        "Ana",
        "--yes",
        "--expect-count",
        count,
        "--expect-total",
        total,
    ];
    desk.tanda(&[&["dead", "redrive"], chosen, &agreed].concat())
}

#[test]
fn i1_a_redrive_that_is_asked_for_twice_runs_once_and_copies_are_left_out() {
    let bank = SimulatorProcess::start("refuse=100%");
    let desk = Desk::at(&bank.url);
    let rows = [row("E-1", "1", "10.00"), row("E-2", "2", "20.00")];
    exits(&run(&desk, &file(&desk, "pay.csv", &rows), "30.00"), 6);
    let copy = file(&desk, "copy.csv", &[row("E-1", "1", "2.00")]);
    exits(&run(&desk, &copy, "2.00"), 6);
    bank.set_faults("");
    for _ in 0..2 {
        let asked = redrive(&desk, &["--source", "file"], "2", "topup:COP:30.00");
        exits(&asked, 0);
        let left_out = "left out: 1 (E-1): conflict";
        says(
            &asked,
            &[left_out, "E-1: on record", "2 asked for: 2 on record"],
        );
    }
    let marks = listed(&desk, &["--status", "rejected"]);
    assert!(marks.iter().all(|it| it["asked"] == "redrive"), "{marks:?}");
    exits(&desk.tanda(&["reconcile"]), 0);
    let only_who_pays = "only a process that pays may do it";
    assert_eq!(bank.movements("E-1"), 0, "{only_who_pays}");

    let other = file(&desk, "other.csv", &[row("E-3", "3", "3.00")]);
    exits(&run(&desk, &other, "3.00"), 0);
    assert_eq!(bank.paid_once(), 3);
    assert_eq!(names(&listed(&desk, &[])), ["E-1"], "the copy alone");
    let told = desk.tanda(&["explain", "E-1"]);
    let asked = "Ana asked to run it again, as generation 2";
    says(&told, &["succeeded. The money moved once", asked]);

    let late = redrive(&desk, &["E-1", "E-unknown"], "1", "topup:COP:10.00");
    exits(&late, 3);
    let unknown = "E-unknown: the ledger knows nothing of it";
    says(&late, &["left out: 1 (E-1): conflict", unknown]);
}

#[test]
fn what_is_put_aside_is_listed_no_more_and_stays_on_record() {
    let bank = SimulatorProcess::start("");
    let desk = desk(&bank);
    let ends = [
        "--by",
        "Ana",
        "--evidence",
        "receipt 1234",
        "--yes",
        "--expect-count",
        "3",
    ];
    let copy = &listed(&desk, &["--status", "conflict"])[0];
    let copy = copy["event_id"].as_str().expect("an event").to_owned();
    let asked = desk.tanda(&[&["dead", "discard", "E-no", "E-late", &copy], &ends[..]].concat());
    exits(&asked, 0);
    says(&asked, &["3 to be put aside: 3 on record"]);
    assert_eq!(listed(&desk, &[]).len(), 4, "nobody has attended to it");
    let other = file(&desk, "other.csv", &[row("E-3", "3", "3.00")]);
    exits(&run(&desk, &other, "3.00"), 0);
    assert_eq!(names(&listed(&desk, &[])), ["E-nor"]);
    let told = desk.tanda(&["explain", "E-no"]);
    says(
        &told,
        &[
            "rejected. No money moved",
            "Ana asked to put it aside",
            "receipt 1234",
        ],
    );
}

/// A thousand at a time, and the rest is said.
#[test]
fn a_set_is_bounded_and_says_what_is_left() {
    let bank = SimulatorProcess::start("refuse=100%");
    let mut desk = Desk::at(&bank.url);
    desk.set("TANDA_ENGINE__REFUSALS_IN_A_ROW", "0");
    let pay = desk.write("pay.csv", &payroll(1_005, "1.00"));
    exits(&run(&desk, &pay, "1005.00"), 6);
    let ends = [
        "--by",
        "Ana",
        "--evidence",
        "a test",
        "--yes",
        "--expect-count",
        "1000",
    ];
    let flags = ["dead", "discard", "--status", "rejected"];
    let asked = desk.tanda(&[&flags[..], &ends].concat());
    exits(&asked, 0);
    says(
        &asked,
        &[
            "5 more are like these",
            "… and 990 more",
            "1000 to be put aside: 1000 on record",
        ],
    );
}
