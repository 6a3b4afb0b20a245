//! Dead letters from the list to the end: what was dealt with, what comes late, what is in doubt.

use std::io::{Read as _, Write as _};
use std::process::{Command, Output, Stdio};

use rusqlite::Connection;
use serde_json::Value;

use crate::support::payroll::{file, row};
use crate::support::program::{Desk, SimulatorProcess, Started, TANDA, exits, said};
use crate::support::tampering::seal;

fn run(desk: &Desk, name: &str, rows: &[String], total: &str, code: i32) {
    let total = format!("topup:COP:{total}");
    let file = file(desk, name, rows);
    let output = desk.tanda(&["run", &file, "--yes", "--expect-total", &total]);
    exits(&output, code);
}

/// What a command that ends with this code says.
fn told(desk: &Desk, code: i32, arguments: &[&str]) -> String {
    let output = desk.tanda(arguments);
    exits(&output, code);
    said(&output)
}

/// The letters and the last line.
fn listed(desk: &Desk, flags: &[&str]) -> (Vec<Value>, Value) {
    let output = desk.tanda(&[&["dead", "list", "--json"], flags].concat());
    exits(&output, 0);
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let lines = text.lines().map(serde_json::from_str);
    let mut lines: Vec<Value> = lines.collect::<Result<_, _>>().expect("JSON");
    let last = lines.pop().expect("a last line");
    let summary = last.get("summary").expect("a summary").clone();
    (lines, summary)
}

fn names(letters: &[Value]) -> Vec<&str> {
    let names = letters.iter().map(|letter| letter["entity_id"].as_str());
    names.map(|name| name.expect("a name")).collect()
}

/// A desk whose bank refused two payments on one card.
fn refused(bank: &SimulatorProcess) -> Desk {
    let desk = Desk::at(&bank.url);
    let rows = [row("E-1", "Frozen", "10.00"), row("E-2", "Frozen", "20.00")];
    run(&desk, "pay.csv", &rows, "30.00", 6);
    desk
}

#[test]
fn letters_are_summed_and_chosen_by_card_and_time() {
    let bank = SimulatorProcess::start("");
    let desk = refused(&bank);
    let withdrawal = row("E-3", "Frozen", "7.00").replace("topup", "withdrawal");
    let withdrawal = file(&desk, "back.csv", &[withdrawal]);
    let total = ["--yes", "--expect-total", "withdrawal:COP:7.00"];
    exits(
        &desk.tanda(&[&["run", &withdrawal], &total[..]].concat()),
        6,
    );

    let text = told(&desk, 0, &["dead", "list"]);
    for words in ["3 dead letters.", "They asked for:", "30.00", "7.00"] {
        assert!(text.contains(words), "{words}: {text}");
    }
    let (shown, summary) = listed(&desk, &["--limit", "1"]);
    assert_eq!((names(&shown), &summary["count"]), (vec!["E-3"], &3.into()));
    assert_eq!(summary["shown"], 1);
    let sums: Vec<_> = summary["totals"].as_array().expect("sums").iter().collect();
    assert_eq!(
        sums.len(),
        2,
        "operations are never added together: {sums:?}"
    );
    assert_eq!(
        (&sums[0]["count"], &sums[0]["minor"]),
        (&2.into(), &3_000.into())
    );
    assert_eq!(
        (&sums[1]["count"], &sums[1]["minor"]),
        (&1.into(), &700.into())
    );

    let count = |flags: &[&str]| listed(&desk, flags).0.len();
    assert_eq!(count(&["--card", "car_0000000000000000Frozen"]), 3);
    assert_eq!(count(&["--card", "car_000...zen"]), 3);
    assert_eq!(count(&["--card", "car_0000000000000000000001"]), 0);
    assert_eq!(count(&["--since", "2020-01-01"]), 3);
    assert_eq!(count(&["--until", "2020-01-01"]), 0);
    assert_eq!(count(&["--until", "1h"]), 0);
    assert_eq!(
        count(&["--since", "1h", "--until", "2120-01-01T00:00:00-05:00"]),
        3
    );
    told(&desk, 2, &["dead", "list", "--since", "yesterday"]);
    let none = told(&desk, 0, &["dead", "list", "--until", "1h"]);
    assert!(none.contains("no dead letters like that"), "{none}");
    let status = told(&desk, 0, &["status"]);
    assert!(
        status.contains("dead letters 3, which nobody retries"),
        "{status}"
    );
}

#[test]
fn what_was_dealt_with_is_told_with_who_did_it() {
    let bank = SimulatorProcess::start("refuse=100%");
    let desk = Desk::at(&bank.url);
    let rows = [row("E-1", "1", "10.00"), row("E-2", "1", "20.00")];
    run(&desk, "pay.csv", &rows, "30.00", 6);
    bank.set_faults("");
    let by = ["--by", "Ana", "--yes", "--expect-count", "1"];
    let aside = ["dead", "discard", "E-1", "--evidence", "receipt 1234"];
    told(&desk, 0, &[&aside[..], &by].concat());
    let total = ["--expect-total", "topup:COP:20.00"];
    told(
        &desk,
        0,
        &[&["dead", "redrive", "E-2"], &by[..], &total].concat(),
    );
    let status = told(&desk, 0, &["status"]);
    for words in ["put it aside", "as generation 2", "not attended to yet"] {
        assert!(status.contains(words), "{words}: {status}");
    }
    run(&desk, "other.csv", &[row("E-3", "3", "3.00")], "3.00", 0);

    let none = told(&desk, 0, &["dead", "list"]);
    assert!(
        none.contains("there are no dead letters: nothing"),
        "{none}"
    );
    let (all, summary) = listed(&desk, &["--all"]);
    assert_eq!(
        (names(&all), &summary["count"]),
        (vec!["E-1", "E-2"], &2.into())
    );
    let (aside, again) = (&all[0]["dealt_with"], &all[1]["dealt_with"]);
    assert_eq!(
        (&aside["how"], &aside["by"]),
        (&"put_aside".into(), &"Ana".into())
    );
    assert_eq!(aside["evidence"], "receipt 1234");
    assert_eq!(
        (&again["how"], &again["generation"]),
        (&"run_again".into(), &2.into())
    );
    let shown = told(&desk, 0, &["dead", "show", "E-1"]);
    assert!(shown.contains("nothing: Ana put it aside on"), "{shown}");
    let shown = told(&desk, 0, &["dead", "show", "E-2"]);
    assert!(shown.contains("run again, as generation 2"), "{shown}");
    for id in ["E-1", "E-2", "E-3"] {
        let total = ["--expect-total", "topup:COP:20.00"];
        let late = told(
            &desk,
            3,
            &[&["dead", "redrive", id], &by[..], &total].concat(),
        );
        assert!(late.contains(&format!("left out: {id}: it is ")), "{late}");
    }
    assert_eq!(bank.paid_once(), 2);
}

/// This command at a terminal of its own, with somebody who types.
fn at_terminal(desk: &Desk, arguments: &[&str]) -> Command {
    let plain = desk.command(&[]);
    let line = [&[TANDA], arguments].concat().join(" ");
    let mut command = Command::new("script");
    command
        .args(["--quiet", "--return", "--command", &line, "/dev/null"])
        .current_dir(plain.get_current_dir().expect("a folder"))
        .env_clear()
        .envs(
            plain
                .get_envs()
                .filter_map(|(name, value)| Some((name, value?))),
        )
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    command
}

/// Types this where it is asked for, after something else has happened.
fn types_after(mut command: Command, question: &str, happens: impl Fn(), typed: &str) -> Output {
    let mut child = command.spawn().expect("`script` of util-linux is there");
    let mut said = Vec::new();
    let stdout = child.stdout.as_mut().expect("it is piped");
    while !String::from_utf8_lossy(&said).contains(question) {
        let mut byte = [0];
        let read = stdout.read(&mut byte).expect("it can be read");
        assert_ne!(read, 0, "never asked: {}", String::from_utf8_lossy(&said));
        said.extend(byte);
    }
    happens();
    let mut stdin = child.stdin.take().expect("it is piped");
    writeln!(stdin, "{typed}").expect("it is read");
    let mut output = child.wait_with_output().expect("it ends");
    drop(stdin);
    output.stdout.splice(0..0, said);
    output
}

/// Bulk buttons must not hit what came between the look and the press.
#[test]
fn what_comes_after_the_preview_is_not_touched() {
    let bank = SimulatorProcess::start("");
    let desk = refused(&bank);
    let one_more = |name: &str| {
        let rows = [row(name, "Frozen", "500.00")];
        run(&desk, &format!("{name}.csv"), &rows, "500.00", 6);
    };
    let redrive = ["dead", "redrive", "--reason", "card_frozen", "--by", "Ana"];
    let question = "type the total of topup in COP (30.00): ";
    let wrong = types_after(at_terminal(&desk, &redrive), question, || (), "y");
    exits(&wrong, 3);
    let typed = at_terminal(&desk, &redrive);
    let asked = types_after(typed, question, || one_more("E-late"), "30.00");
    exits(&asked, 0);
    assert!(said(&asked).contains("2 asked for"), "{}", said(&asked));
    let marks = |flags: &[&str]| {
        let (letters, _) = listed(&desk, flags);
        let marks = letters.iter().map(|it| it["asked"].clone());
        names(&letters).join(" ") + &format!(" {:?}", marks.collect::<Vec<_>>())
    };
    let late = marks(&[]);
    assert!(late.starts_with("E-1 E-2 E-late"), "{late}");
    assert!(late.ends_with("Null]"), "it was never shown: {late}");
    assert_eq!(late.matches("redrive").count(), 2, "{late}");

    let aside = ["dead", "discard", "--reason", "card_frozen", "--by", "Ana"];
    let aside = [&aside[..], &["--evidence", "mended"]].concat();
    let question = "type how many there are (3): ";
    let asked = types_after(
        at_terminal(&desk, &aside),
        question,
        || one_more("E-later"),
        "3",
    );
    exits(&asked, 0);
    let said = said(&asked);
    assert!(said.contains("3 to be put aside"), "{said}");
    let later = marks(&[]);
    assert!(
        later.contains("E-later") && later.ends_with("Null]"),
        "{later}"
    );
}

/// The process that owns the ledger is asked, and answers while it goes on with its own jobs.
#[test]
fn i1_a_redrive_beside_a_run_is_answered_by_it_and_runs_once() {
    let bank = SimulatorProcess::start("refuse=100%");
    let desk = Desk::at(&bank.url);
    run(&desk, "pay.csv", &[row("E-1", "1", "10.00")], "10.00", 6);
    bank.set_faults("");
    run(&desk, "proof.csv", &[row("E-2", "2", "2.00")], "2.00", 0);
    bank.set_faults("limit=100%");
    let busy = file(&desk, "busy.csv", &[row("E-3", "3", "3.00")]);
    let busy = ["run", &busy, "--yes", "--expect-total", "topup:COP:3.00"];
    let heard = bank.operations_heard();
    let mut owner = Started::new(desk.command(&busy));
    while bank.operations_heard() == heard {
        owner.must_run_on();
    }
    let ends = ["--by", "Ana", "--yes", "--expect-count", "1"];
    let total = ["--expect-total", "topup:COP:10.00"];
    let redrive = [&["dead", "redrive", "E-1"], &ends[..], &total].concat();
    let asked = Started::new(desk.command(&redrive));
    while !told(&desk, 0, &["status"]).contains("to run it again") {
        owner.must_run_on();
    }
    bank.set_faults("");
    assert_eq!(asked.ends().0, Some(0));
    let (code, said) = owner.ends();
    assert_eq!(code, Some(0), "{said}");
    told(&desk, 3, &redrive);
    assert_eq!(bank.paid_once(), 3);
}

/// A payment that may have moved is never sent again because somebody asked for it.
#[test]
fn i1_what_is_in_doubt_is_only_asked_about_when_it_is_redriven() {
    let bank = SimulatorProcess::start("conflict=100%");
    let desk = Desk::at(&bank.url);
    run(&desk, "pay.csv", &[row("E-?", "7", "100.00")], "100.00", 7);
    assert!(
        listed(&desk, &[]).0.is_empty(),
        "it is asked about by itself"
    );
    // A day of asking has passed.
    let ledger = Connection::open(desk.path("ledger.db")).expect("a ledger");
    let needed = ledger.execute("UPDATE jobs SET person_needed = 1", []);
    assert_eq!(needed.expect("it is marked"), 1);
    seal(&ledger, "jobs");
    drop(ledger);
    let list = told(&desk, 0, &["dead", "list"]);
    for words in ["in_doubt", "conflict_409", "1 is IN DOUBT", "COP"] {
        assert!(list.contains(words), "{words}: {list}");
    }
    let shown = told(&desk, 0, &["dead", "show", "E-?"]);
    assert!(shown.contains("do not pay it another way"), "{shown}");

    let by = ["--by", "Ana", "--yes", "--expect-count", "1"];
    let aside = ["dead", "discard", "E-?", "--evidence", "it is late"];
    let aside = told(&desk, 3, &[&aside[..], &by].concat());
    assert!(aside.contains("not put aside but settled"), "{aside}");
    let total = ["--expect-total", "topup:COP:100.00"];
    let asked = told(
        &desk,
        0,
        &[&["dead", "redrive", "E-?"], &by[..], &total].concat(),
    );
    assert!(asked.contains("1 of these in doubt"), "{asked}");

    bank.set_faults("");
    let heard = bank.operations_heard();
    run(&desk, "other.csv", &[row("E-9", "9", "1.00")], "1.00", 0);
    assert_eq!(
        bank.operations_heard(),
        heard + 1,
        "the other payment alone"
    );
    assert_eq!(bank.movements("E-?"), 0);
    let output = desk.tanda(&["explain", "E-?", "--json"]);
    let story: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(story["status"], "in_doubt");
    assert_eq!(story["requests"][0]["asks"], "redrive");
    assert!(story["requests"][0]["answer"].is_string(), "{story}");
    assert_eq!(names(&listed(&desk, &[]).0), ["E-?"]);
}
