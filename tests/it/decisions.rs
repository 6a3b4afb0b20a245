//! A person's decisions through the real program: beside a run that owns the ledger, and where none
//! does. The simulated bank's books say what moved.

use std::process::Output;

use crate::support::payroll::{file, row};
use crate::support::program::{Desk, SimulatorProcess, Started, exits, said, statuses};

fn consent(total: &str) -> [String; 3] {
    let total = format!("topup:COP:{total}");
    ["--yes".to_owned(), "--expect-total".to_owned(), total]
}

fn run(desk: &Desk, file: &str, total: &str, more: &[&str]) -> Output {
    let consent = consent(total);
    let mut arguments = vec!["run", file];
    arguments.extend(consent.iter().map(String::as_str));
    arguments.extend(more);
    desk.tanda(&arguments)
}

/// One run in which the bank answers 409 to everything: its rows are left in doubt.
fn left_in_doubt(bank: &SimulatorProcess) -> (Desk, String) {
    let desk = Desk::at(&bank.url);
    let file = file(&desk, "pay.csv", &[row("E-0", "7", "100.00")]);
    exits(&run(&desk, &file, "100.00", &[]), 7);
    assert_eq!(statuses(&desk.path("pay.results.csv")), ["in_doubt"]);
    (desk, file)
}

#[test]
fn a_person_settles_what_is_in_doubt_and_may_have_it_run_again_once_the_list_is_proven() {
    let bank = SimulatorProcess::start("conflict=100%");
    let (desk, pay) = left_in_doubt(&bank);
    let before = bank.operations_heard();
    let asked = desk.tanda(&["reconcile"]);
    exits(&asked, 7);
    assert!(
        said(&asked).contains("nothing was sent"),
        "{}",
        said(&asked)
    );

    let decide = [
        "settle",
        "E-0",
        "--as",
        "not_sent",
        "--by",
        "Ana",
        "--evidence",
    ];
    let unconfirmed = desk.tanda(&[&decide[..], &["a letter"]].concat());
    exits(&unconfirmed, 2);
    let decided = desk.until(0, &[&decide[..], &["a letter", "--yes"]].concat());
    assert!(said(&decided).contains("done: settled as not_sent"));
    let twice = desk.tanda(&[&decide[..], &["a letter", "--yes"]].concat());
    exits(&twice, 3);
    assert!(said(&twice).contains("too late"), "{}", said(&twice));
    exits(&run(&desk, &pay, "100.00", &[]), 6);
    assert_eq!(bank.operations_heard(), before, "deciding sends nothing");

    bank.set_faults("");
    let again = ["--again", "--by", "Ana"];
    exits(&run(&desk, &pay, "100.00", &again), 6);
    assert_eq!(
        bank.operations_heard(),
        before,
        "after a person's word alone the list must have proven itself"
    );
    let other = file(&desk, "other.csv", &[row("E-9", "9", "1.00")]);
    exits(&run(&desk, &other, "1.00", &[]), 0);
    desk.until(0, &{
        let mut arguments = vec!["run", pay.as_str(), "--yes", "--expect-total"];
        arguments.extend(["topup:COP:100.00", "--again", "--by", "Ana"]);
        arguments
    });
    assert_eq!(statuses(&desk.path("pay.results.csv")), ["succeeded"]);
    assert_eq!(bank.movements("E-0"), 1);
}

#[test]
fn a_killed_run_is_reconciled_without_another() {
    let bank = SimulatorProcess::start("hang=100%");
    let desk = Desk::at(&bank.url);
    let pay = file(&desk, "pay.csv", &[row("E-0", "7", "100.00")]);
    let mut owner = start(&desk, &pay, "100.00");
    owner.until_paid(&bank, 1);
    owner.kill();
    let found = desk.tanda(&["reconcile", "E-0", "--json"]);
    exits(&found, 0);
    let line: serde_json::Value = serde_json::from_slice(&found.stdout).expect("one line of JSON");
    assert_eq!(line["status"], "succeeded");
    assert_eq!(bank.movements("E-0"), 1);
    let nothing = desk.tanda(&["reconcile"]);
    exits(&nothing, 0);
}

fn start(desk: &Desk, file: &str, total: &str) -> Started {
    let consent = consent(total);
    let mut arguments = vec!["run", file];
    arguments.extend(consent.iter().map(String::as_str));
    Started::new(desk.command(&arguments))
}

#[test]
fn a_run_that_owns_the_ledger_answers_other_processes() {
    let bank = SimulatorProcess::start("hang=100%");
    let mut desk = Desk::at(&bank.url);
    desk.set("TANDA_BANK__CONNECT_TIMEOUT_S", "1");
    desk.set("TANDA_BANK__REQUEST_TIMEOUT_S", "4");
    let rows = [row("E-0", "7", "100.00"), row("E-1", "7", "100.00")];
    let pay = file(&desk, "pay.csv", &rows);
    let mut owner = start(&desk, &pay, "200.00");
    owner.until_paid(&bank, 1);
    let cancelled = desk.tanda(&["cancel", "E-1", "never-seen", "--by", "Ana"]);
    exits(&cancelled, 0);
    let words = said(&cancelled);
    assert!(words.contains("E-1: cancelled"), "{words}");
    assert!(words.contains("has not come yet"), "{words}");
    let early = [
        "settle",
        "E-0",
        "--as",
        "succeeded",
        "--by",
        "Ana",
        "--evidence",
        "x",
        "--yes",
    ];
    let early = desk.tanda(&early);
    exits(&early, 3);
    assert!(said(&early).contains("not in doubt"), "{}", said(&early));
    let second = run(&desk, &pay, "200.00", &[]);
    exits(&second, 8);
    assert!(
        said(&second).contains("another process"),
        "{}",
        said(&second)
    );
    let (code, errors) = owner.terminate();
    assert_eq!(code, Some(143), "{errors}");

    bank.set_faults("");
    exits(&run(&desk, &pay, "200.00", &[]), 6);
    assert_eq!(
        statuses(&desk.path("pay.results.csv")),
        ["succeeded", "not_sent"]
    );
    assert_eq!((bank.movements("E-0"), bank.movements("E-1")), (1, 0));
    let late = desk.tanda(&["cancel", "E-0", "--by", "Ana"]);
    exits(&late, 3);
}

#[test]
fn what_is_cancelled_while_nothing_runs_is_not_sent_by_the_next_run() {
    let bank = SimulatorProcess::start("");
    let desk = Desk::at(&bank.url);
    let rows = [row("E-0", "7", "100.00"), row("E-1", "7", "100.00")];
    let pay = file(&desk, "pay.csv", &rows);
    let cancelled = desk.tanda(&["cancel", "E-0", "--by", "Ana"]);
    exits(&cancelled, 0);
    assert!(
        said(&cancelled).contains("on record"),
        "{}",
        said(&cancelled)
    );
    exits(&run(&desk, &pay, "200.00", &[]), 6);
    assert_eq!(
        statuses(&desk.path("pay.results.csv")),
        ["not_sent", "succeeded"]
    );
    assert_eq!((bank.movements("E-0"), bank.movements("E-1")), (0, 1));
}

#[test]
fn a_refused_row_is_corrected_and_run_again_by_a_named_person() {
    let bank = SimulatorProcess::start("");
    let desk = Desk::at(&bank.url);
    let wrong = file(&desk, "wrong.csv", &[row("E-0", "000000Frozen", "100.00")]);
    exits(&run(&desk, &wrong, "100.00", &[]), 6);
    let right = file(&desk, "right.csv", &[row("E-0", "7", "100.00")]);
    exits(&run(&desk, &right, "100.00", &[]), 6);
    assert_eq!(statuses(&desk.path("right.results.csv")), ["conflict"]);
    let unnamed = run(&desk, &right, "100.00", &["--again"]);
    exits(&unnamed, 2);
    exits(
        &run(&desk, &right, "100.00", &["--again", "--by", "Ana"]),
        0,
    );
    exits(
        &run(&desk, &right, "100.00", &["--again", "--by", "Ana"]),
        0,
    );
    assert_eq!(statuses(&desk.path("right.results.csv")), ["succeeded"]);
    assert_eq!(bank.movements("E-0"), 1);
    exits(&run(&desk, &wrong, "100.00", &[]), 6);
    assert_eq!(bank.movements("E-0"), 1);
}

#[test]
fn what_cannot_be_asked_says_so_and_records_nothing() {
    let bank = SimulatorProcess::start("");
    let mut desk = Desk::at(&bank.url);
    for (arguments, code) in [
        (vec!["cancel", "E-0", "--by", "  "], 2),
        (vec!["cancel", " E-0", "--by", "Ana"], 2),
        (vec!["reconcile", "unknown"], 3),
        (vec!["cancel", "E-0"], 2),
    ] {
        exits(&desk.tanda(&arguments), code);
    }
    desk.set("TANDA_BANK__TOKEN_FILE", "/nonexistent/token");
    desk.unset("TANDA_BANK__TOKEN");
    let no_token = desk.tanda(&["reconcile", "unknown"]);
    exits(&no_token, 4);
    let mut elsewhere = Desk::new();
    elsewhere.set("TANDA_BANK__BASE_URL", &bank.url);
    let no_ledger = elsewhere.tanda(&["cancel", "E-0", "--by", "Ana"]);
    exits(&no_ledger, 8);
}

/// What the message about a refused token says to do leaves nobody in doubt.
#[test]
fn a_run_stopped_while_the_token_is_refused_leaves_its_rows_waiting() {
    let bank = SimulatorProcess::start("unauthorized=100%");
    let desk = Desk::at(&bank.url);
    let pay = file(&desk, "pay.csv", &[row("E-0", "7", "100.00")]);
    let stopped = run(&desk, &pay, "100.00", &["--give-up-after", "1s"]);
    exits(&stopped, 7);
    assert_eq!(statuses(&desk.path("pay.results.csv")), ["waiting"]);
    let told = desk.tanda(&["explain", "E-0"]);
    exits(&told, 0);
    let words = said(&told);
    assert!(words.contains("not sent yet. No money moved"), "{words}");
    exits(&desk.tanda(&["status"]), 0);
    exits(&desk.tanda(&["reconcile"]), 0);
    bank.set_faults("");
    exits(&run(&desk, &pay, "100.00", &[]), 0);
    assert_eq!(bank.movements("E-0"), 1);
}
