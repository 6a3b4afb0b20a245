//! What people are told, through the real program: `explain`, `status`, `doctor`, `ledger backup` and
//! `ledger prune`, beside a run that owns the ledger and without one.

use std::path::Path;
use std::process::Output;

use rusqlite::Connection;
use serde_json::Value;

use crate::support::payroll::{file, row};
use crate::support::program::{
    Desk, MORE_THAN_ANY_DISK_MIB, SimulatorProcess, Started, exits, said, statuses,
};
use crate::support::tampering::seal;

/// A day in the middle of 2024, which every prune reaches.
const LONG_AGO_MS: i64 = 1_718_000_000_000;

fn run(desk: &Desk, file: &str, total: &str) -> Output {
    let total = format!("topup:COP:{total}");
    desk.tanda(&["run", file, "--yes", "--expect-total", &total])
}

fn start(desk: &Desk, file: &str, total: &str) -> Started {
    let total = format!("topup:COP:{total}");
    Started::new(desk.command(&["run", file, "--yes", "--expect-total", &total]))
}

fn says(output: &Output, words: &[&str]) {
    for words in words {
        assert!(said(output).contains(words), "{words:?}: {}", said(output));
    }
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", said(output)))
}

/// The line of a report of the doctor.
fn check(report: &Value, name: &str) -> (String, String) {
    let checks = report["checks"].as_array().expect("checks");
    let check = checks.iter().find(|check| check["name"] == name);
    let check = check.unwrap_or_else(|| panic!("no {name}: {report}"));
    let text = |key: &str| check[key].as_str().unwrap_or_default().to_owned();
    (text("level"), text("what"))
}

/// A desk whose ledger has two jobs that succeeded, one refused and one in doubt, which the next run
/// sends anew once it is proven absent.
fn a_mixed_desk(bank: &SimulatorProcess) -> Desk {
    let desk = Desk::at(&bank.url);
    let young = file(&desk, "young.csv", &[row("E-young", "9", "5.00")]);
    exits(&run(&desk, &young, "5.00"), 0);
    let rows = [row("E-ok", "7", "100.00"), row("E-no", "Frozen", "50.00")];
    exits(&run(&desk, &file(&desk, "pay.csv", &rows), "150.00"), 6);
    bank.set_faults("conflict=100%");
    let doubt = file(&desk, "doubt.csv", &[row("E-?", "8", "777.00")]);
    exits(&run(&desk, &doubt, "777.00"), 7);
    bank.set_faults("");
    desk
}

// ---- explain ----------------------------------------------------------------------------------

#[test]
fn explain_says_first_whether_the_money_moved() {
    let bank = SimulatorProcess::start("");
    let mut desk = a_mixed_desk(&bank);
    desk.unset("TANDA_BANK__TOKEN");
    desk.set("TANDA_BANK__TOKEN_FILE", "/nonexistent/token");
    let paid = desk.tanda(&["explain", "E-ok"]);
    exits(&paid, 0);
    let first = String::from_utf8_lossy(&paid.stdout);
    let first = first.lines().next().expect("a line");
    assert!(
        first.starts_with(
            "E-ok: succeeded. The money moved once (topup of COP 100.00 on card car_000...007)"
        ),
        "{first}"
    );
    says(
        &paid,
        &["pay.csv, line 2", "attempt 1", "HTTP 201", "told on"],
    );

    let refused = desk.tanda(&["explain", "E-no"]);
    exits(&refused, 0);
    says(
        &refused,
        &[
            "E-no: rejected. No money moved",
            "card_frozen",
            "log_",
            "--again --by NAME",
        ],
    );

    let doubt = desk.tanda(&["explain", "E-?"]);
    exits(&doubt, 0);
    says(
        &doubt,
        &[
            "E-?: IN DOUBT since",
            "The money may have moved",
            "do not pay it another way",
            "conflict_409",
            "tanda reconcile",
            "asked the bank's list",
        ],
    );
    for output in [&paid, &refused, &doubt] {
        assert!(!said(output).contains("car_00000000"), "{}", said(output));
    }
}

#[test]
fn explain_tells_the_whole_story_to_programs_too() {
    let bank = SimulatorProcess::start("");
    let desk = a_mixed_desk(&bank);
    let told = json(&desk.tanda(&["explain", "E-no", "--json"]));
    assert_eq!(told["status"], "rejected");
    assert_eq!(told["money_moved"], "no");
    let generation = &told["generations"][0];
    assert_eq!(generation["source"], "pay.csv");
    assert_eq!(generation["line"], 3);
    assert_eq!(generation["amount"]["amount"], 5_000);
    let attempt = &generation["attempts"][0];
    assert_eq!(attempt["verdict"], "refused");
    assert_eq!(attempt["http_status"], 422);
    assert_eq!(attempt["error_codes"][0], "card_frozen");
    assert!(
        attempt["log_id"]
            .as_str()
            .is_some_and(|id| id.starts_with("log_"))
    );
    assert!(generation["outcomes"][0]["published_at"].is_string());

    let told = json(&desk.tanda(&["explain", "E-?", "--json"]));
    assert_eq!(told["money_moved"], "perhaps");
    assert_eq!(told["generations"][0]["doubt_reason"], "conflict_409");
    assert_eq!(told["generations"][0]["asks"][0]["finding"], "absent");
}

#[test]
fn explain_shows_a_person_s_word_a_copy_in_conflict_and_a_later_generation() {
    let bank = SimulatorProcess::start("");
    let desk = a_mixed_desk(&bank);
    let evidence = "the letter of 24 Nov";
    let decide = ["settle", "E-?", "--as", "not_sent", "--by", "Ana Ruiz"];
    desk.until(
        0,
        &[&decide[..], &["--evidence", evidence, "--yes"]].concat(),
    );
    let other = file(&desk, "other.csv", &[row("E-no", "9", "60.00")]);
    exits(&run(&desk, &other, "60.00"), 6);
    let decided = desk.tanda(&["explain", "E-?"]);
    says(
        &decided,
        &[
            "E-?: not sent. No money moved",
            "Ana Ruiz decided",
            evidence,
            "too early",
        ],
    );
    let again = [
        "--yes",
        "--expect-total",
        "topup:COP:60.00",
        "--again",
        "--by",
        "Ana Ruiz",
    ];
    exits(
        &desk.tanda(&[&["run", other.as_str()], &again[..]].concat()),
        0,
    );
    let told = desk.tanda(&["explain", "E-no"]);
    says(
        &told,
        &[
            "E-no: succeeded",
            "another message under this name: conflict",
            "it asked for topup of COP 60.00 on card car_000...009",
            "generation 2 (again, as Ana Ruiz asked",
        ],
    );
}

#[test]
fn explain_of_an_unknown_id_says_what_may_be_wrong_with_it() {
    let bank = SimulatorProcess::start("");
    let desk = a_mixed_desk(&bank);
    let unknown = desk.tanda(&["explain", "E-OK"]);
    exits(&unknown, 3);
    says(&unknown, &["knows nothing of \"E-OK\"", "letter by letter"]);
    let upper = file(&desk, "upper.csv", &[row("NOM-1", "7", "1.00")]);
    exits(&run(&desk, &upper, "1.00"), 0);
    let near = desk.tanda(&["explain", "nom-1"]);
    exits(&near, 3);
    says(&near, &["one that is written NOM-1"]);
    let spaced = desk.tanda(&["explain", " E-ok"]);
    exits(&spaced, 2);
    says(&spaced, &["white space"]);
    let told = desk.tanda(&["explain", "nom-1", "--json"]);
    exits(&told, 3);
    assert_eq!(json(&told)["status"], "unknown");
    desk.tanda(&["cancel", "never-came", "--by", "Ana"]);
    let cancelled = desk.tanda(&["explain", "never-came"]);
    exits(&cancelled, 0);
    says(&cancelled, &["cancelled before it came. No money moved"]);
}

// ---- status -----------------------------------------------------------------------------------

#[test]
fn status_counts_money_in_doubt_and_says_what_is_to_be_done() {
    let bank = SimulatorProcess::start("");
    let desk = Desk::at(&bank.url);
    let nothing = desk.tanda(&["status"]);
    exits(&nothing, 0);
    says(&nothing, &["Nothing is in doubt", "not proven yet"]);

    let desk = a_mixed_desk(&bank);
    desk.tanda(&["pause", "--by", "Ana"]);
    let open = desk.tanda(&["status"]);
    exits(&open, 7);
    says(
        &open,
        &[
            "1 job is IN DOUBT",
            "COP 777.00",
            "E-?",
            "(conflict_409)",
            "tanda reconcile",
            "PAUSED by Ana",
            // Which of the two comes up first depends on when the first run ended.
            "it showed E-",
        ],
    );
    let told = desk.tanda(&["status", "--json", "--limit", "0"]);
    exits(&told, 7);
    let told = json(&told);
    assert_eq!(told["in_doubt"]["count"], 1);
    assert_eq!(told["in_doubt"]["totals"][0]["minor"], 77_700);
    assert_eq!(told["jobs"].as_array().expect("jobs").len(), 0);
    assert_eq!(
        told["unpublished"], 0,
        "an overtaken outcome is not to be told"
    );
    assert_eq!(told["paused"]["by"], "Ana");
    assert_eq!(told["open_requests"][0]["asks"], "pause");
}

#[test]
fn status_and_explain_work_beside_a_run_and_tell_a_dead_one_apart() {
    let bank = SimulatorProcess::start("hang=100%");
    let mut desk = Desk::at(&bank.url);
    desk.set("TANDA_BANK__CONNECT_TIMEOUT_S", "1");
    desk.set("TANDA_BANK__REQUEST_TIMEOUT_S", "40");
    let pay = file(&desk, "pay.csv", &[row("E-0", "7", "100.00")]);
    let mut run = start(&desk, &pay, "100.00");
    run.until_paid(&bank, 1);
    let status = desk.tanda(&["status"]);
    exits(&status, 0);
    says(
        &status,
        &[
            "1 job is being sent now",
            "COP 100.00",
            "a process of tanda is running",
        ],
    );
    let told = desk.tanda(&["explain", "E-0", "--json"]);
    exits(&told, 0);
    let told = json(&told);
    assert_eq!(told["status"], "being_sent");
    assert_eq!(told["money_moved"], "perhaps");
    let copy = desk.path("copy.db").display().to_string();
    exits(&desk.tanda(&["ledger", "backup", &copy]), 0);
    let prune = desk.tanda(&["ledger", "prune", "--yes"]);
    exits(&prune, 8);
    says(&prune, &["nothing was removed", "another process of tanda"]);

    run.kill();
    let status = desk.tanda(&["status"]);
    exits(&status, 7);
    says(
        &status,
        &[
            "1 job was INTERRUPTED",
            "Do not pay these another way",
            "E-0",
        ],
    );
    let told = desk.tanda(&["explain", "E-0"]);
    says(&told, &["E-0: INTERRUPTED. The money may have moved"]);
    exits(&desk.tanda(&["reconcile"]), 0);
    exits(&desk.tanda(&["status"]), 0);
}

#[test]
fn a_run_that_is_stopped_leaves_nothing_that_looks_sent() {
    let bank = SimulatorProcess::start("latency_ms=20");
    let mut desk = Desk::at(&bank.url);
    desk.set("TANDA_ENGINE__CONCURRENCY", "2");
    let rows: Vec<_> = (0..200)
        .map(|n| row(&format!("E-{n}"), n, "1.00"))
        .collect();
    let pay = file(&desk, "pay.csv", &rows);
    let mut run = start(&desk, &pay, "200.00");
    run.until_paid(&bank, 1);
    let beside = desk.tanda(&["status", "--json"]);
    assert_eq!(json(&beside)["owned"], true);
    run.terminate();
    exits(&desk.tanda(&["status"]), 0);
    // Which of the cards comes first is nobody's promise.
    let mut paid = (0..200).map(|n| format!("E-{n}"));
    let paid = paid.find(|id| bank.movements(id) > 0);
    exits(&desk.tanda(&["explain", &paid.expect("one was paid")]), 0);
}

// ---- doctor -----------------------------------------------------------------------------------

#[test]
fn the_doctor_finds_everything_well_and_sends_nothing() {
    let bank = SimulatorProcess::start("");
    let desk = Desk::at(&bank.url);
    let new = desk.tanda(&["doctor", "--json"]);
    exits(&new, 0);
    let new = json(&new);
    assert_eq!(check(&new, "list access").0, "warn", "no card yet: {new}");
    assert_eq!(check(&new, "credential").0, "ok");
    assert!(check(&new, "credential").1.contains("TANDA_BANK__TOKEN"));
    let pay = file(&desk, "pay.csv", &[row("E-0", "7", "1.00")]);
    exits(&run(&desk, &pay, "1.00"), 0);
    let heard = bank.operations_heard();
    let well = desk.tanda(&["doctor"]);
    exits(&well, 0);
    says(
        &well,
        &[
            "the list of card car_000...007 shows E-0",
            "amount_minor 5000000 is COP 50000.00",
            "100 times too much",
        ],
    );
    assert_eq!(bank.operations_heard(), heard, "it only reads");
    let named = desk.tanda(&["doctor", "--card", "car_0000000000000000000008"]);
    exits(&named, 0);
    says(&named, &["the list of card car_000...008 can be read"]);
    exits(&desk.tanda(&["doctor", "--card", "car_8"]), 2);
}

#[test]
fn the_doctor_says_what_is_wrong_and_goes_on() {
    let bank = SimulatorProcess::start("");
    let mut desk = Desk::at(&bank.url);
    let pay = file(&desk, "pay.csv", &[row("E-0", "7", "1.00")]);
    exits(&run(&desk, &pay, "1.00"), 0);

    desk.set("TANDA_BANK__TOKEN", "wrong-canary");
    let refused = desk.tanda(&["doctor", "--json"]);
    exits(&refused, 4);
    assert!(!said(&refused).contains("canary"), "{}", said(&refused));
    let report = json(&refused);
    assert_eq!(check(&report, "credential").0, "fail");
    assert_eq!(check(&report, "bank").0, "ok", "it answered");
    assert_eq!(check(&report, "ledger").0, "ok");

    desk.set("TANDA_BANK__TOKEN", "simulated");
    desk.set("TANDA_BANK__BASE_URL", "http://127.0.0.1:9");
    let elsewhere = desk.tanda(&["doctor", "--json"]);
    exits(&elsewhere, 8);
    let report = json(&elsewhere);
    assert_eq!(check(&report, "bank").0, "fail");
    let (level, what) = check(&report, "ledger binding");
    assert_eq!(level, "fail");
    assert!(what.contains("127.0.0.1:9"), "{what}");
    assert_eq!(check(&report, "minor digits").0, "ok");

    desk.set("TANDA_LEDGER__MIN_FREE_MIB", MORE_THAN_ANY_DISK_MIB);
    let full = json(&desk.tanda(&["doctor", "--json"]));
    assert_eq!(check(&full, "disk").0, "fail");

    desk.set("TANDA_ENGINE__CONCURENCY", "4");
    let misspelt = desk.tanda(&["doctor", "--json"]);
    exits(&misspelt, 2);
    let report = json(&misspelt);
    assert_eq!(check(&report, "configuration").0, "fail");
    assert_eq!(check(&report, "spool").0, "warn");
}

#[cfg(unix)]
#[test]
fn s19_the_doctor_warns_of_a_token_in_a_configuration_that_others_may_read() {
    use std::os::unix::fs::PermissionsExt as _;
    let bank = SimulatorProcess::start("");
    let mut desk = Desk::at(&bank.url);
    desk.unset("TANDA_BANK__TOKEN");
    let path = desk.path("tanda.toml");
    let settings = "[bank]\ntoken = \"simulated\"\n";
    std::fs::write(&path, settings).expect("written");
    let may = |mode| {
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("ours");
    };
    for (mode, level) in [(0o644, "warn"), (0o640, "warn"), (0o600, "ok")] {
        may(mode);
        let told = desk.tanda(&["doctor", "--json"]);
        exits(&told, 0);
        let report = json(&told);
        assert_eq!(
            check(&report, "configuration").0,
            level,
            "{mode:o}: {report}"
        );
        assert_eq!(check(&report, "credential").0, "ok");
    }
    may(0o644);
    says(&desk.tanda(&["doctor"]), &["chmod 600 tanda.toml"]);
    // A token from elsewhere is used instead, and the file holds none that counts.
    desk.set("TANDA_BANK__TOKEN", "simulated");
    let report = json(&desk.tanda(&["doctor", "--json"]));
    assert_eq!(check(&report, "configuration").0, "ok", "{report}");
}

/// Nothing is sent to the production host, so that this needs no network.
#[test]
fn the_doctor_warns_of_a_test_token_for_production_without_showing_it() {
    let mut desk = Desk::new();
    desk.set("TANDA_BANK__BASE_URL", "https://api.cuentamono.com");
    desk.set("TANDA_BANK__TOKEN", "sandbox_canary");
    let warned = desk.tanda(&["doctor", "--json"]);
    let report = json(&warned);
    let (_, what) = check(&report, "credential");
    assert!(!said(&warned).contains("canary"), "{}", said(&warned));
    // Where the machine has no CA certificates there is no client to ask with.
    if what != "not tried" {
        assert!(what.contains("test host"), "{what}");
        assert_eq!(check(&report, "bank").1, "not tried");
    }
}

// ---- bad ledgers ------------------------------------------------------------------------------

#[test]
fn a_ledger_that_cannot_be_read_is_one_clear_message() {
    let bank = SimulatorProcess::start("");
    let make = || a_mixed_desk(&bank);
    let missing = Desk::new();
    let newer = make();
    let db = Connection::open(newer.path("ledger.db")).expect("a ledger");
    db.pragma_update(None, "user_version", 99)
        .expect("a version");
    drop(db);
    let corrupt = make();
    std::fs::write(corrupt.path("ledger.db"), "not a ledger".repeat(1_000)).expect("written");
    for (name, desk, words) in [
        ("missing", &missing, "there is no ledger"),
        ("newer", &newer, "knows formats up to"),
        ("corrupt", &corrupt, "is damaged or is not a ledger"),
    ] {
        let copy = desk.path("copy.db").display().to_string();
        for arguments in [
            vec!["explain", "E-ok"],
            vec!["status"],
            vec!["ledger", "backup", &copy],
            vec!["ledger", "prune", "--yes"],
            vec!["doctor"],
        ] {
            let output = desk.tanda(&arguments);
            assert_eq!(output.status.code(), Some(8), "{name}: {}", said(&output));
            says(&output, &[words]);
        }
        assert!(!desk.path("copy.db").exists());
    }
}

/// An older copy in the place of the ledger can be read, with a warning, and nothing else.
#[test]
fn i1_a_ledger_that_has_forgotten_can_be_read_but_not_paid_from_or_pruned() {
    let bank = SimulatorProcess::start("");
    let desk = a_mixed_desk(&bank);
    std::fs::copy(desk.path("ledger.db"), desk.path("old.db")).expect("a copy");
    let more = file(&desk, "more.csv", &[row("E-new", "7", "1.00")]);
    exits(&run(&desk, &more, "1.00"), 0);
    std::fs::rename(desk.path("old.db"), desk.path("ledger.db")).expect("put back");
    for arguments in [vec!["explain", "E-ok"], vec!["status"]] {
        let read = desk.tanda(&arguments);
        says(
            &read,
            &["warning", "may be out of date", "pay nothing because of it"],
        );
    }
    let report = json(&desk.tanda(&["doctor", "--json"]));
    assert_eq!(check(&report, "ledger anchor").0, "fail");
    exits(&desk.tanda(&["doctor"]), 8);
    exits(&desk.tanda(&["ledger", "prune", "--yes"]), 8);
    let heard = bank.operations_heard();
    exits(&run(&desk, &more, "1.00"), 8);
    assert_eq!(bank.operations_heard(), heard);
}

#[test]
fn i1_a_loss_that_is_accepted_says_what_it_means_and_pays_nothing_twice() {
    let bank = SimulatorProcess::start("");
    let mut desk = Desk::at(&bank.url);
    desk.set("TANDA_ENGINE__SETTLE_DELAY_S", "2");
    let pay = file(
        &desk,
        "pay.csv",
        &[row("E-1", "1", "1.00"), row("E-2", "2", "1.00")],
    );
    exits(&run(&desk, &pay, "2.00"), 0);
    let whole = desk.tanda(&["ledger", "accept-loss", "--by", "Ana", "--yes"]);
    exits(&whole, 2);
    says(&whole, &["has forgotten nothing", "Nothing was changed"]);
    std::fs::remove_file(desk.path("ledger.db")).expect("lost");
    let refused = run(&desk, &pay, "2.00");
    exits(&refused, 8);
    says(
        &refused,
        &["has forgotten something", "tanda ledger accept-loss"],
    );
    let unsure = desk.tanda(&["ledger", "accept-loss", "--by", "Ana"]);
    exits(&unsure, 2);
    says(&unsure, &["add --yes", "Nothing was accepted"]);
    exits(&run(&desk, &pay, "2.00"), 8);
    let accepted = desk.tanda(&["ledger", "accept-loss", "--by", "Ana", "--yes"]);
    exits(&accepted, 0);
    says(
        &accepted,
        &[
            "accepted by Ana",
            "begins anew",
            "nothing is paid twice",
            "result files",
        ],
    );
    let rows = [
        row("E-1", "1", "1.00"),
        row("E-2", "2", "1.00"),
        row("E-3", "3", "1.00"),
    ];
    let more = file(&desk, "more.csv", &rows);
    exits(&run(&desk, &more, "3.00"), 0);
    assert_eq!(bank.paid_once(), 3);
    says(
        &desk.tanda(&["status"]),
        &["has forgotten a time, which Ana accepted"],
    );
    let report = json(&desk.tanda(&["doctor", "--json"]));
    assert_eq!(check(&report, "ledger anchor").0, "warn");
}

// ---- backup -----------------------------------------------------------------------------------

#[cfg(unix)]
#[test]
fn a_backup_is_whole_and_private_can_be_read_and_is_refused_by_a_run() {
    use std::os::unix::fs::PermissionsExt as _;
    let bank = SimulatorProcess::start("");
    let mut desk = a_mixed_desk(&bank);
    let copy = desk.path("copy.db");
    let copy_text = copy.display().to_string();
    let made = desk.tanda(&["ledger", "backup", &copy_text, "--json"]);
    exits(&made, 0);
    let made = json(&made);
    let size = copy.metadata().expect("a copy").len();
    assert_eq!(made["bytes"], size);
    assert_eq!(made["sha256"].as_str().map(str::len), Some(64));
    assert_eq!(
        copy.metadata().expect("a copy").permissions().mode() & 0o777,
        0o600
    );
    assert!(is_whole(&copy));
    let twice = desk.tanda(&["ledger", "backup", &copy_text]);
    exits(&twice, 8);
    says(&twice, &["already"]);

    desk.set("TANDA_LEDGER__URL", &format!("sqlite:{copy_text}"));
    let read = desk.tanda(&["explain", "E-ok"]);
    exits(&read, 0);
    says(&read, &["E-ok: succeeded", "is a copy"]);
    exits(&desk.tanda(&["status"]), 7);
    let heard = bank.operations_heard();
    let pay = desk.path("pay.csv").display().to_string();
    let refused = run(&desk, &pay, "150.00");
    exits(&refused, 8);
    assert_eq!(bank.operations_heard(), heard);
}

fn is_whole(path: &Path) -> bool {
    let db = Connection::open(path).expect("a ledger");
    let integrity: String = db
        .query_row("PRAGMA integrity_check", [], |row| row.get(0))
        .expect("a check");
    let orphans = db
        .prepare("PRAGMA foreign_key_check")
        .expect("a check")
        .exists([]);
    integrity == "ok" && !orphans.expect("a check")
}

// ---- prune ------------------------------------------------------------------------------------

/// Makes the record of these ids as if it were of long ago. The ledger's own triggers forbid it.
fn grow_old(desk: &Desk, entity_ids: &[&str]) {
    let db = Connection::open(desk.path("ledger.db")).expect("a ledger");
    let trigger = "SELECT sql FROM sqlite_schema WHERE name = 'outcomes_are_fixed'";
    let sql: String = db
        .query_row(trigger, [], |row| row.get(0))
        .expect("a trigger");
    db.execute_batch("DROP TRIGGER outcomes_are_fixed")
        .expect("dropped");
    for entity_id in entity_ids {
        let aged = db.execute(
            "UPDATE outcomes SET settled_at = ?1 WHERE entity_id = ?2",
            (LONG_AGO_MS, entity_id),
        );
        assert!(aged.expect("aged") > 0, "{entity_id}");
    }
    seal(&db, "outcomes");
    db.execute_batch(&sql).expect("restored");
}

#[test]
fn i1_what_is_pruned_is_never_paid_again_and_still_in_conflict_with_a_copy() {
    let bank = SimulatorProcess::start("");
    let desk = a_mixed_desk(&bank);
    grow_old(&desk, &["E-ok", "E-no", "E-?"]);
    exits(&desk.tanda(&["ledger", "prune"]), 2);
    exits(
        &desk.tanda(&["ledger", "prune", "--yes", "--older-than-days", "89"]),
        2,
    );
    let pruned = desk.tanda(&["ledger", "prune", "--yes", "--json"]);
    exits(&pruned, 0);
    assert_eq!(
        json(&pruned)["jobs"],
        2,
        "what is in doubt stays, however old"
    );
    assert!(is_whole(&desk.path("ledger.db")));

    let told = desk.tanda(&["explain", "E-ok"]);
    exits(&told, 0);
    says(
        &told,
        &[
            "E-ok: succeeded on 2024-06-10",
            "The money moved once",
            "pruned",
        ],
    );
    let told = json(&desk.tanda(&["explain", "E-no", "--json"]));
    assert_eq!(told["money_moved"], "no");
    assert_eq!(told["tombstones"][0]["status"], "rejected");
    for kept in ["E-?", "E-young"] {
        let told = json(&desk.tanda(&["explain", kept, "--json"]));
        assert!(told["generations"][0]["source"].is_string(), "{kept}");
    }

    let heard = bank.operations_heard();
    let pay = desk.path("pay.csv").display().to_string();
    let again = run(&desk, &pay, "150.00");
    exits(&again, 6);
    says(&again, &["done before"]);
    assert_eq!(
        statuses(&desk.path("pay.results.csv")),
        ["succeeded", "rejected"]
    );
    let other = file(&desk, "other.csv", &[row("E-ok", "7", "999.00")]);
    exits(&run(&desk, &other, "999.00"), 6);
    assert_eq!(statuses(&desk.path("other.results.csv")), ["conflict"]);
    let doubts = bank.movements("E-?");
    assert_eq!(
        bank.operations_heard(),
        heard + doubts,
        "nothing pruned was sent"
    );
    assert_eq!(bank.movements("E-ok"), 1);
}

#[test]
fn a_refused_job_that_was_pruned_can_be_run_again_as_the_next_generation() {
    let bank = SimulatorProcess::start("");
    let desk = a_mixed_desk(&bank);
    grow_old(&desk, &["E-no"]);
    exits(&desk.tanda(&["ledger", "prune", "--yes"]), 0);
    let right = file(&desk, "right.csv", &[row("E-no", "9", "50.00")]);
    let again = [
        "--yes",
        "--expect-total",
        "topup:COP:50.00",
        "--again",
        "--by",
        "Ana",
    ];
    exits(
        &desk.tanda(&[&["run", right.as_str()], &again[..]].concat()),
        0,
    );
    assert_eq!(bank.movements("E-no"), 1);
    let told = desk.tanda(&["explain", "E-no"]);
    says(
        &told,
        &[
            "E-no: succeeded",
            "generation 1 ended rejected",
            "generation 2 (again, as Ana",
        ],
    );
}
