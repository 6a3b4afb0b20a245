//! `tanda run` as its users have it: the real binary on real files, with the simulated bank in the
//! same process or in one of its own.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Stdio;

use crate::support::payroll::{HEADER, row};
use crate::support::program::{Desk, SimulatorProcess, Started, said, send, statuses};

fn project(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Rows of which each two are of one card.
fn payroll(rows: u32) -> String {
    let rows = (0..rows).map(|n| row(&format!("E-{n}"), n / 2, "100.00"));
    HEADER.to_owned() + &rows.collect::<String>()
}

fn counted(statuses: Vec<String>) -> BTreeMap<String, usize> {
    statuses
        .into_iter()
        .fold(BTreeMap::new(), |mut counts, status| {
            *counts.entry(status).or_default() += 1;
            counts
        })
}

#[test]
fn the_first_command_of_the_readme_pays_a_payroll_on_the_simulated_bank() {
    let desk = Desk::new();
    let (sample, results) = (project("samples/payroll.csv"), desk.path("results.csv"));
    let (sample, results_text) = (sample.display().to_string(), results.display().to_string());
    let command = [
        "run",
        &sample,
        "--simulate",
        "--yes",
        "--results",
        &results_text,
    ];
    let run = desk.tanda(&command);
    assert_eq!(run.status.code(), Some(6), "{}", said(&run));
    let counts = counted(statuses(&results));
    assert_eq!(
        counts,
        [("rejected".to_owned(), 6), ("succeeded".to_owned(), 294)].into()
    );
    assert!(
        !desk.path("ledger.db").exists(),
        "a simulated run has a ledger of its own"
    );
    let again = desk.tanda(&command);
    assert_eq!(
        again.status.code(),
        Some(6),
        "it can be tried again: {}",
        said(&again)
    );
}

#[test]
fn a_simulated_run_is_not_taken_for_a_payment() {
    let bank = SimulatorProcess::start("");
    let desk = Desk::at(&bank.url);
    let file = desk.write("pay.csv", &payroll(1));
    let paid = desk.tanda(&["run", &file, "--yes", "--expect-total", "topup:COP:100.00"]);
    let named = format!("1 row, for the bank at {}", bank.url);
    assert!(said(&paid).contains(&named), "{}", said(&paid));
    let truth = std::fs::read(desk.path("pay.results.csv")).expect("a result file");
    let simulated = desk.tanda(&["run", &file, "--simulate", "--yes"]);
    assert_eq!(simulated.status.code(), Some(0), "{}", said(&simulated));
    let summary = String::from_utf8_lossy(&simulated.stdout);
    assert!(
        summary.starts_with("simulated: no real money moved"),
        "{summary}"
    );
    let after = std::fs::read(desk.path("pay.results.csv")).expect("a result file");
    assert!(after == truth, "what is true stays");
    assert_eq!(
        statuses(&desk.path("pay.simulated.results.csv")),
        ["succeeded"]
    );
}

#[test]
fn a_simulated_run_with_faults_ends_the_same() {
    let desk = Desk::new();
    let (sample, results) = (project("samples/payroll.csv"), desk.path("results.csv"));
    let (sample, results_text) = (sample.display().to_string(), results.display().to_string());
    let faults = "error=6%,lost=5%,reset=3%";
    let flags = [
        "run",
        &sample,
        "--simulate",
        "--yes",
        "--results",
        &results_text,
    ];
    let run = desk.tanda(&[&flags[..], &["--faults", faults]].concat());
    assert_eq!(run.status.code(), Some(6), "{}", said(&run));
    assert_eq!(counted(statuses(&results))["succeeded"], 294);
}

#[test]
fn how_a_run_ended_is_told_to_programs_too() {
    let desk = Desk::new();
    let file = desk.write("pay.csv", &payroll(3));
    let run = desk.tanda(&["run", &file, "--simulate", "--yes", "--json"]);
    assert_eq!(run.status.code(), Some(0), "{}", said(&run));
    let told: serde_json::Value = serde_json::from_slice(&run.stdout).expect("JSON alone");
    let summary = &told["summary"];
    assert_eq!(summary["simulated"], true);
    assert_eq!(
        summary["outcomes"]["succeeded"]["COP"]["topup"],
        serde_json::json!({ "count": 3, "minor": 30_000 })
    );
    assert_eq!(summary["outcomes"].as_object().expect("statuses").len(), 1);
}

/// A policy holds the real bank back, not a rehearsal.
#[test]
fn where_one_person_may_not_pay_a_file_only_rehearsals_run() {
    let bank = SimulatorProcess::start("");
    let mut desk = Desk::at(&bank.url);
    desk.set("TANDA_POLICY__ONE_PERSON_RUN", "refused");
    let file = desk.write("pay.csv", &payroll(1));
    let run = desk.tanda(&["run", &file, "--yes", "--expect-total", "topup:COP:100.00"]);
    assert_eq!(run.status.code(), Some(5), "{}", said(&run));
    assert!(said(&run).contains("Nothing was sent"), "{}", said(&run));
    let rehearsal = desk.tanda(&["run", &file, "--simulate", "--yes"]);
    assert_eq!(rehearsal.status.code(), Some(0), "{}", said(&rehearsal));
    assert_eq!(bank.operations_heard(), 0);
}

#[test]
fn bad_rows_are_all_named_and_nothing_is_sent() {
    let desk = Desk::new();
    let sample = project("samples/bad-rows.csv").display().to_string();
    let run = desk.tanda(&["run", &sample, "--simulate", "--yes"]);
    assert_eq!(run.status.code(), Some(3), "{}", said(&run));
    let errors = String::from_utf8_lossy(&run.stderr);
    assert_eq!(
        errors
            .lines()
            .filter(|line| line.starts_with("error "))
            .count(),
        12,
        "{errors}"
    );
    assert!(errors.contains("Nothing was sent"), "{errors}");
}

#[test]
fn without_consent_nothing_is_sent() {
    let bank = SimulatorProcess::start("");
    let desk = Desk::at(&bank.url);
    let file = desk.write("pay.csv", &payroll(4));
    for (flags, code) in [
        (vec![], 2),
        (vec!["--yes"], 2),
        (vec!["--simulate"], 2),
        (vec!["--yes", "--expect-total", "topup:COP:400,00"], 2),
        (vec!["--yes", "--expect-total", "topup:COP:400.01"], 3),
        (vec!["--yes", "--expect-total", "withdrawal:COP:400.00"], 3),
        (vec!["--yes", "--expect-total", "topup:COP:400.00"], 0),
    ] {
        let run = desk.tanda(&[&["run", &file], &flags[..]].concat());
        assert_eq!(run.status.code(), Some(code), "{flags:?}: {}", said(&run));
    }
}

#[test]
fn f39_a_file_run_twice_is_paid_once_and_its_result_file_can_be_run_too() {
    let bank = SimulatorProcess::start("");
    let desk = Desk::at(&bank.url);
    let file = desk.write("pay.csv", &payroll(20));
    let results = desk.path("pay.results.csv").display().to_string();
    let consent = ["--yes", "--expect-total", "topup:COP:2000.00"];
    for file in [&file, &file, &results] {
        let run = desk.tanda(&[&["run", file], &consent[..]].concat());
        assert_eq!(run.status.code(), Some(0), "{}", said(&run));
    }
    let extended = desk.write("more.csv", &(payroll(20) + &row("E-new", 7, "1.00")));
    let run = desk.tanda(&[
        "run",
        &extended,
        "--yes",
        "--expect-total",
        "topup:COP:2001.00",
    ]);
    assert_eq!(run.status.code(), Some(0), "{}", said(&run));
    assert!(
        String::from_utf8_lossy(&run.stderr).contains("done before"),
        "{}",
        said(&run)
    );
    assert_eq!(bank.paid_once(), 21);
}

#[test]
fn f39_one_changed_row_is_a_conflict_and_is_not_sent() {
    let bank = SimulatorProcess::start("");
    let desk = Desk::at(&bank.url);
    let file = desk.write("pay.csv", &payroll(3));
    desk.tanda(&["run", &file, "--yes", "--expect-total", "topup:COP:300.00"]);
    let changed = payroll(3).replacen("100.00", "900.00", 1);
    let file = desk.write("changed.csv", &changed);
    let run = desk.tanda(&["run", &file, "--yes", "--expect-total", "topup:COP:1100.00"]);
    assert_eq!(run.status.code(), Some(6), "{}", said(&run));
    let counts = counted(statuses(&desk.path("changed.results.csv")));
    assert_eq!(
        counts,
        [("conflict".to_owned(), 1), ("succeeded".to_owned(), 2)].into()
    );
    assert_eq!(bank.report()["totals"][0]["minor"], 30_000);
}

#[test]
fn what_cannot_start_says_so_and_starts_nothing() {
    let bank = SimulatorProcess::start("");
    let consent = ["--yes", "--expect-total", "topup:COP:200.00"];
    let run = |desk: &Desk| {
        let file = desk.write("pay.csv", &payroll(2));
        desk.tanda(&[&["run", &file], &consent[..]].concat())
    };
    let mut no_ledger = Desk::new();
    no_ledger.set("TANDA_BANK__BASE_URL", &bank.url);
    let mut wrong_token = Desk::at(&bank.url);
    wrong_token.set("TANDA_BANK__TOKEN", "wrong");
    let mut no_token = Desk::at(&bank.url);
    no_token.unset("TANDA_BANK__TOKEN");
    no_token.set("TANDA_BANK__TOKEN_FILE", "/nonexistent/token");
    // Below the ports that other tests are given, and nobody's.
    let nobody = "http://127.0.0.1:9";
    let mut other_bank = Desk::at(&bank.url);
    assert_eq!(run(&other_bank).status.code(), Some(0));
    other_bank.set("TANDA_BANK__BASE_URL", "http://127.0.0.1:9");
    let mut plain_http = Desk::at(&bank.url);
    plain_http.set("TANDA_BANK__BASE_URL", "http://example.com");
    let mut bad_setting = Desk::at(&bank.url);
    bad_setting.set("TANDA_ENGINE__CONCURENCY", "4");
    for (name, desk, code) in [
        ("no ledger", no_ledger, 8),
        ("wrong token", wrong_token, 4),
        ("no token file", no_token, 4),
        ("nobody there", Desk::at(nobody), 8),
        ("another bank's ledger", other_bank, 8),
        ("plain http", plain_http, 2),
        ("a misspelt setting", bad_setting, 2),
    ] {
        let run = run(&desk);
        assert_eq!(run.status.code(), Some(code), "{name}: {}", said(&run));
        let errors = String::from_utf8_lossy(&run.stderr);
        assert!(
            errors.contains("othing was"),
            "{name} does not say what it means: {errors}"
        );
    }
    assert_eq!(bank.paid_once(), 2);
}

/// The file is good; the place for its private copy, beside the ledger, is not.
#[test]
fn a_private_copy_that_cannot_be_made_is_not_the_fault_of_the_file() {
    let mut desk = Desk::new();
    desk.set("TANDA_LEDGER__URL", "sqlite:/proc/ledger.db");
    let file = desk.write("pay.csv", &payroll(1));
    let run = desk.tanda(&["run", &file, "--yes", "--expect-total", "topup:COP:100.00"]);
    assert_eq!(run.status.code(), Some(8), "{}", said(&run));
    let errors = String::from_utf8_lossy(&run.stderr);
    assert!(
        errors.contains("nothing was sent") && errors.contains("/proc"),
        "{errors}"
    );
}

#[test]
fn init_leaves_what_is_there() {
    let desk = Desk::at("http://127.0.0.1:9");
    let before = std::fs::read(desk.path("ledger.db")).expect("a ledger");
    let again = desk.tanda(&["init"]);
    assert!(again.status.success(), "{}", said(&again));
    assert_eq!(
        std::fs::read(desk.path("ledger.db")).expect("a ledger"),
        before
    );
}

#[test]
fn a_termination_signal_ends_a_run_in_a_consistent_state() {
    let bank = SimulatorProcess::start("latency_ms=20");
    let mut desk = Desk::at(&bank.url);
    desk.set("TANDA_ENGINE__CONCURRENCY", "2");
    let file = desk.write("pay.csv", &payroll(400));
    let consent = ["--yes", "--expect-total", "topup:COP:40000.00"];
    let mut run = Started::new(desk.command(&[&["run", &file], &consent[..]].concat()));
    run.until_paid(&bank, 1);
    let (code, errors) = run.terminate();
    assert_eq!(code, Some(143), "{errors}");
    let counts = counted(statuses(&desk.path("pay.results.csv")));
    let applied = bank.paid_once();
    assert_eq!(counts["succeeded"], applied, "{counts:?}");
    assert_eq!(counts["waiting"] + applied, 400, "{counts:?}");
    let run = desk.tanda(&[&["run", &file], &consent[..]].concat());
    assert_eq!(run.status.code(), Some(0), "{}", said(&run));
}

#[test]
fn a_result_file_that_cannot_be_written_is_said_before_money_moves() {
    let bank = SimulatorProcess::start("");
    let desk = Desk::at(&bank.url);
    let text = payroll(3);
    let file = desk.write("pay.csv", &text);
    let link = desk.path("link.csv").display().to_string();
    std::os::unix::fs::symlink(&file, &link).expect("a link");
    let other = desk.write("last-month.csv", &text);
    let ledger = desk.path("ledger.db").display().to_string();
    let folder = desk.path(".").display().to_string();
    for place in [
        &file,
        &link,
        &other,
        &ledger,
        &folder,
        "/dev/null",
        "/nonexistent/r.csv",
    ] {
        let flags = [
            "--yes",
            "--expect-total",
            "topup:COP:300.00",
            "--results",
            place,
        ];
        let run = desk.tanda(&[&["run", &file], &flags[..]].concat());
        assert_eq!(run.status.code(), Some(2), "{place}: {}", said(&run));
        assert!(said(&run).contains("nothing was sent"), "{}", said(&run));
    }
    for kept in [&file, &other] {
        assert_eq!(std::fs::read_to_string(kept).expect("a file"), text);
    }
    assert_eq!(bank.paid_once(), 0);
}

/// A terminal that is gone, or `2>&1 | head -1`: what is written to it fails from then on.
#[test]
fn a_run_that_nobody_listens_to_goes_on_and_can_be_stopped() {
    let bank = SimulatorProcess::start("latency_ms=20,unauthorized=5%");
    let mut desk = Desk::at(&bank.url);
    desk.set("TANDA_ENGINE__CONCURRENCY", "2");
    let file = desk.write("pay.csv", &payroll(100));
    let consent = ["--yes", "--expect-total", "topup:COP:10000.00"];
    let unheard = |stop: bool| {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let mut command = desk.command(&[&["run", &file], &consent[..]].concat());
        let mut child = command
            .stderr(writer)
            .stdout(Stdio::null())
            .spawn()
            .expect("the program starts");
        if stop {
            while bank.paid_once() == 0 {
                assert_eq!(child.try_wait().expect("a child"), None, "it ended early");
            }
            send(&child, "-TERM");
        }
        child.wait().expect("it ends").code()
    };
    assert_eq!(unheard(true), Some(143));
    assert_eq!(unheard(false), Some(0));
    let succeeded = counted(statuses(&desk.path("pay.results.csv")));
    assert_eq!(succeeded, [("succeeded".to_owned(), 100)].into());
}

#[test]
fn i9_an_outage_in_the_middle_costs_no_row() {
    let bank = SimulatorProcess::start("latency_ms=5");
    let mut desk = Desk::at(&bank.url);
    desk.set("TANDA_ENGINE__CONCURRENCY", "4");
    let file = desk.write("pay.csv", &payroll(2_000));
    let consent = ["--yes", "--expect-total", "topup:COP:200000.00"];
    let mut run = Started::new(desk.command(&[&["run", &file], &consent[..]].concat()));
    run.until_paid(&bank, 200);
    bank.set_faults("latency_ms=5,outage=250ms+3s");
    let (code, errors) = run.ends();
    assert_eq!(code, Some(0), "{errors}");
    assert!(errors.contains("bank_not_answering"), "{errors}");
    assert!(
        !errors.contains('\u{1b}'),
        "no colours in a log file: {errors:?}"
    );
    let asked = bank.operations_heard();
    assert!(asked <= 2_050, "{asked} calls for 2,000 rows");
}
