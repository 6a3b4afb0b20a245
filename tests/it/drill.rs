//! `tanda drill` as its users have it: the real binary kills, cuts and lies to itself.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::payroll::{HEADER, row};
use crate::support::program::{Desk, Started, exits, said};

/// The longest that processes may be seen after their drill has ended.
const GONE_LIMIT: Duration = Duration::from_secs(20);

fn project(path: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(path);
    path.display().to_string()
}

/// How each invariant stands in a report.
fn standing<'a>(report: &'a Value, id: &str) -> &'a str {
    let all = report["invariants"].as_array().expect("invariants");
    let one = all.iter().find(|it| it["id"] == id).expect("an invariant");
    one["standing"].as_str().expect("a standing")
}

/// A desk whose temporary files are its own, and where they are.
fn desk_with_temp() -> (Desk, PathBuf) {
    let mut desk = Desk::new();
    let temp = desk.path("temp");
    std::fs::create_dir(&temp).expect("a folder");
    desk.set("TMPDIR", &temp.display().to_string());
    (desk, temp)
}

fn entries(folder: &Path) -> usize {
    std::fs::read_dir(folder).expect("a folder").count()
}

#[test]
fn f43_i1_i2_i4_i5_i7_i10_i13_a_drill_on_a_file_holds_and_says_how_it_looked() {
    let (desk, temp) = desk_with_temp();
    let report = desk.path("report.json");
    let report_text = report.display().to_string();
    let flags = ["drill", "--kills", "5", "--jobs", "250", "--seed", "11"];
    let drill = desk.tanda(&[&flags[..], &["--json", "--report", &report_text]].concat());
    exits(&drill, 0);
    let told: Value = serde_json::from_slice(&drill.stdout).expect("JSON alone");
    let written = std::fs::read(&report).expect("a report");
    let written: Value = serde_json::from_slice(&written).expect("JSON");
    assert_eq!(told, written);
    assert_eq!(told["schema"], "tanda.drill.v1");
    assert_eq!(told["verdict"], "held");
    assert_eq!(told["seed"], 11);
    assert_eq!(told["repeat"], "tanda drill --seed 11 --kills 5 --jobs 250");
    assert_eq!(told["done"]["kills"], 5, "{told:#}");
    for id in ["I1", "I2", "I4", "I6", "I7", "I10", "I12", "I13", "I14"] {
        assert_eq!(standing(&told, id), "held", "{id}: {told:#}");
    }
    for id in ["I3", "I11", "dead letters"] {
        assert_eq!(standing(&told, id), "not exercised", "{id}");
    }
    let jobs = told["jobs"].as_u64().expect("a count");
    let by_movements = told["movements"]["jobs_by_movements"].as_object();
    let by_movements = by_movements.expect("a distribution");
    assert!(
        by_movements
            .keys()
            .all(|times| times == "0" || times == "1")
    );
    let counted: u64 = by_movements.values().filter_map(Value::as_u64).sum();
    assert_eq!(counted, jobs);
    let table = std::fs::read_to_string(desk.path("report.movements.csv"));
    let table = table.expect("a table beside it");
    assert!(table.starts_with("round,entity_id,movements,tanda_status\n"));
    let rows = u64::try_from(table.lines().count()).expect("few") - 1;
    assert_eq!(rows, jobs);
    assert_eq!(entries(&temp), 0, "everything it made is gone");
    assert!(!desk.path("ledger.db").exists(), "no ledger of the user's");
    assert!(
        !desk.path("tanda.toml").exists(),
        "no setting of the user's"
    );
    let errors = String::from_utf8_lossy(&drill.stderr);
    let first = errors.lines().next().unwrap_or_default();
    assert!(first.contains("No real bank, no real ledger"), "{errors}");
}

/// A bank that forgets at once what it did breaks what the rules rely on: it pays what is sent again.
#[test]
fn a_drill_bites_where_money_moves_twice_and_keeps_what_it_was() {
    let (desk, temp) = desk_with_temp();
    let flags = ["drill", "--for", "10m", "--jobs", "100", "--seed", "3"];
    let lies = ["--faults", "lost=40%,key_life_s=0,latency_ms=5"];
    let drill = desk.tanda(&[&flags[..], &lies].concat());
    exits(&drill, 1);
    let text = String::from_utf8_lossy(&drill.stdout);
    let kept = std::fs::read_dir(&temp).expect("a folder").next();
    let kept = kept.expect("what was broken is kept").expect("an entry");
    assert!(kept.path().join("round-1/ledger.db").exists());
    let kept = kept.path().display().to_string();
    for part in [
        "job MOVED MONEY 2 TIMES",
        "I1           BROKEN",
        "was applied 2 times",
        "I10          BROKEN",
        "VERDICT: BROKEN.",
        "No real money moved in this drill",
        &kept,
    ] {
        assert!(text.contains(part), "{part} is not in:\n{text}");
    }
    let last = text.lines().last().unwrap_or_default();
    assert!(last.starts_with("VERDICT: "), "{last}");
}

#[test]
fn the_jobs_of_a_file_of_ones_own_meet_the_simulated_bank_only() {
    let (desk, temp) = desk_with_temp();
    let sample = project("samples/payroll.csv");
    let before = std::fs::read(&sample).expect("the sample");
    let drill = desk.tanda(&["drill", &sample, "--kills", "2", "--seed", "5", "--json"]);
    exits(&drill, 0);
    let told: Value = serde_json::from_slice(&drill.stdout).expect("JSON alone");
    assert_eq!(told["verdict"], "held", "{told:#}");
    let outcomes = told["outcomes"].as_object().expect("outcomes");
    let rounds = told["done"]["rounds"].as_u64().expect("a count");
    let counted: u64 = outcomes.values().filter_map(Value::as_u64).sum();
    assert_eq!(counted, 300 * rounds, "{outcomes:?}");
    assert_eq!(std::fs::read(&sample).expect("the sample"), before);
    let results = project("samples/payroll.results.csv");
    assert!(!Path::new(&results).exists());
    assert_eq!(entries(&temp), 0);
}

#[test]
fn what_cannot_be_drilled_with_is_refused_before_anything_is_started() {
    let (desk, temp) = desk_with_temp();
    let bad = desk.write(
        "bad.csv",
        &(HEADER.to_owned() + "E-1,no card,topup,1,COP,,\n"),
    );
    let there = desk.write("there.json", "{}");
    let good = desk.write("good.csv", &(HEADER.to_owned() + &row("E-1", 1, "1.00")));
    let (full, nowhere) = (desk.path(".").display().to_string(), "/nonexistent/r.json");
    for (flags, code) in [
        (vec![bad.as_str()], 3),
        (vec!["/nonexistent/pay.csv"], 3),
        (vec!["--faults", "losst=5%"], 2),
        (vec!["--for", "1.5s"], 2),
        (vec!["--kills", "0"], 2),
        (vec!["--jobs", "5"], 2),
        (vec!["--decimal", "comma"], 2),
        (vec!["--report", &there], 2),
        (vec!["--report", nowhere], 2),
        (vec!["--keep", &full], 2),
        (vec![&good, "--jobs", "100"], 2),
        (vec!["--amqp", "amqp://u:s3cret@rabbit.example/"], 2),
        (vec!["--amqp", "http://s3cret"], 2),
        // Nobody listens there.
        (vec!["--amqp", "amqp://guest:s3cret@127.0.0.1:9"], 8),
    ] {
        let drill = desk.tanda(&[&["drill"], &flags[..]].concat());
        exits(&drill, code);
        assert!(!said(&drill).contains("s3cret"), "{}", said(&drill));
        assert!(drill.stdout.is_empty(), "{}", said(&drill));
    }
    assert_eq!(std::fs::read_to_string(&there).expect("a file"), "{}");
    assert_eq!(entries(&temp), 0);
}

/// Processes that live in this folder.
fn living_in(folder: &Path) -> usize {
    let all = std::fs::read_dir("/proc").expect("processes");
    let homes = all.filter_map(|process| std::fs::read_link(process.ok()?.path().join("cwd")).ok());
    homes.filter(|home| home.starts_with(folder)).count()
}

/// A drill under way: its bank and its payer live in this folder.
fn under_way(desk: &Desk, temp: &Path) -> Started {
    let mut drill = Started::new(desk.command(&["drill", "--for", "10m", "--seed", "1"]));
    drill.until_it_says("Seed 1");
    while living_in(temp) < 2 {
        drill.must_run_on();
    }
    drill
}

fn is_empty_soon(temp: &Path) {
    let began = Instant::now();
    while living_in(temp) > 0 {
        assert!(began.elapsed() < GONE_LIMIT, "processes are left");
    }
}

#[test]
fn an_interrupted_drill_leaves_nothing() {
    let (desk, temp) = desk_with_temp();
    for (signal, code) in [("-INT", 130), ("-TERM", 143)] {
        let drill = under_way(&desk, &temp);
        let (ended, errors) = drill.stop_by(signal);
        assert_eq!(ended, Some(code), "{errors}");
        assert_eq!(living_in(&temp), 0, "no process is left");
        assert_eq!(entries(&temp), 0, "no folder is left");
    }
}

/// As where a terminal is closed over it.
#[test]
fn what_a_drill_started_ends_with_it_however_it_ends() {
    let (desk, temp) = desk_with_temp();
    under_way(&desk, &temp).kill();
    is_empty_soon(&temp);
}

#[test]
fn what_a_drill_makes_can_be_kept() {
    let desk = Desk::new();
    let kept = desk.path("kept");
    let folder = kept.display().to_string();
    let flags = ["--kills", "1", "--jobs", "30", "--seed", "2"];
    let drill = Command::new(crate::support::program::TANDA)
        .arg("drill")
        .args(flags)
        .args(["--keep", &folder])
        .stdin(Stdio::null())
        .output()
        .expect("the program starts");
    assert!(
        drill
            .status
            .code()
            .is_some_and(|code| code == 0 || code == 8)
    );
    for file in [
        "jobs.csv",
        "jobs.results.csv",
        "ledger.db",
        "pay.log",
        "bank.out",
    ] {
        assert!(
            kept.join("round-1").join(file).exists(),
            "{file}: {}",
            said(&drill)
        );
    }
}
