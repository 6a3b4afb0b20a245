//! Settings and the commands about the program itself, as their users have them: the real binary.

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::process::Output;

use serde_json::Value;

use crate::support::payroll::{HEADER, payroll};
use crate::support::program::{Desk, SimulatorProcess, Started, said};

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("UTF-8")
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("UTF-8")
}

/// A desk without any setting but the ledger's place.
fn bare_desk() -> Desk {
    let mut desk = Desk::new();
    for name in [
        "TANDA_BANK__TOKEN",
        "TANDA_ENGINE__BACKOFF_BASE_MS",
        "TANDA_ENGINE__SETTLE_DELAY_S",
        "TANDA_ENGINE__PROBE_EVERY_S",
    ] {
        desk.unset(name);
    }
    desk
}

fn setting(shown: &Value, name: &str) -> (Value, String) {
    let all = shown["settings"].as_array().expect("settings");
    let setting = all
        .iter()
        .find(|setting| setting["name"] == name)
        .unwrap_or_else(|| panic!("{name} is not shown"));
    let from = setting["from"].as_str().expect("a text").to_owned();
    (setting["value"].clone(), from)
}

#[test]
fn config_shows_each_value_and_where_it_came_from_but_no_secret() {
    let mut desk = bare_desk();
    desk.write(
        "tanda.toml",
        "[bank]\nrequest_timeout_s = 20\ntoken = \"hush\"\n[engine]\n\nconcurrency = 4\nmax_attempts = 3\n\
         [currency.COP]\nmax_amount = \"5.00\"\n",
    );
    desk.set("TANDA_ENGINE__CONCURRENCY", "8");
    let output = desk.tanda(&["config", "--json", "--log-level", "info"]);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert!(!said(&output).contains("hush"), "{}", said(&output));
    let shown: Value = serde_json::from_str(&stdout(&output)).expect("JSON");
    for (name, value, from) in [
        ("bank.request_timeout_s", Value::from(20), "tanda.toml:2"),
        ("bank.token", "set (not shown)".into(), "tanda.toml:3"),
        ("engine.concurrency", 8.into(), "TANDA_ENGINE__CONCURRENCY"),
        ("engine.max_attempts", 3.into(), "tanda.toml:7"),
        ("engine.drain_s", 45.into(), "built in"),
        ("engine.rate_per_second", Value::Null, "built in"),
        ("log.level", "info".into(), "--log-level"),
        ("currency.COP.max_amount", "5.00".into(), "tanda.toml:9"),
    ] {
        assert_eq!(setting(&shown, name), (value, from.to_owned()), "{name}");
    }
    assert_eq!(shown["config_file"], "tanda.toml");
    let ledger = desk.path("ledger.db").display().to_string();
    assert_eq!(shown["ledger"], ledger);
    let text = stdout(&desk.tanda(&["config"]));
    let words: Vec<_> = text.split_whitespace().collect();
    let words = words.join(" ");
    for line in [
        "configuration file tanda.toml",
        "bank.token set (not shown) tanda.toml:3",
        "engine.rate_per_second not set: no limit built in",
    ] {
        assert!(words.contains(line), "{text}");
    }
    assert!(!text.contains("hush"), "{text}");
}

#[test]
fn a_credential_of_systemd_is_the_token_and_is_followed_by_a_run() {
    let bank = SimulatorProcess::start("");
    let mut desk = bare_desk();
    desk.set("TANDA_BANK__BASE_URL", &bank.url);
    fs::create_dir(desk.path("credentials")).expect("a folder");
    desk.write_secret("credentials/bank_token", "simulated\n");
    let folder = desk.path("credentials").display().to_string();
    desk.set("CREDENTIALS_DIRECTORY", &folder);
    let shown = stdout(&desk.tanda(&["config", "--json"]));
    let shown: Value = serde_json::from_str(&shown).expect("JSON");
    let (value, from) = setting(&shown, "bank.token_file");
    assert_eq!(from, "systemd credential");
    assert_eq!(value, format!("{folder}/bank_token"));
    desk.tanda(&["init"]);
    let file = desk.write("pay.csv", &payroll(1, "1.00"));
    let run = desk.tanda(&["run", &file, "--yes", "--expect-total", "topup:COP:1.00"]);
    assert_eq!(run.status.code(), Some(0), "{}", said(&run));
}

#[test]
fn all_that_is_wrong_is_told_at_once_by_every_command_that_reads_settings() {
    let mut desk = bare_desk();
    desk.write("tanda.toml", "[engine]\nconcurency = 4\ndrain_s = 0\n");
    desk.set("TANDA_BANK__TOKN", "x");
    let file = desk.write("pay.csv", &payroll(1, "1.00"));
    for command in [
        &["config"][..],
        &["key", "E-1"],
        &["run", &file, "--simulate", "--yes"],
        &["init"],
    ] {
        let output = desk.tanda(command);
        assert_eq!(output.status.code(), Some(2), "{}", said(&output));
        assert!(output.stdout.is_empty() || command == ["init"]);
        for part in [
            "nothing was sent",
            "tanda.toml:2: engine.concurency is no setting; did you mean engine.concurrency?",
            "tanda.toml:3: engine.drain_s is 0; it must be a whole number from 1 to 86400",
            "TANDA_BANK__TOKN: this is no setting; did you mean TANDA_BANK__TOKEN?",
        ] {
            assert!(stderr(&output).contains(part), "{part}: {}", said(&output));
        }
    }
}

#[test]
fn a_file_that_was_named_and_is_not_there_is_an_error() {
    let desk = bare_desk();
    let output = desk.tanda(&["config", "--config", "other.toml"]);
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
    assert!(stderr(&output).contains("other.toml cannot be read"));
}

#[test]
fn a_token_in_a_file_that_others_may_read_is_warned_about() {
    let mut desk = bare_desk();
    desk.set("TANDA_BANK__BASE_URL", "http://127.0.0.1:9");
    let file = desk.write("pay.csv", &payroll(1, "1.00"));
    let settings = desk.write("tanda.toml", "[bank]\ntoken = \"hush\"\n");
    for (mode, warns) in [(0o644, true), (0o640, true), (0o600, false)] {
        fs::set_permissions(&settings, Permissions::from_mode(mode)).expect("our own file");
        let output = desk.tanda(&["run", &file, "--simulate", "--yes"]);
        assert_eq!(output.status.code(), Some(0), "{}", said(&output));
        assert_eq!(
            stderr(&output).contains("other users may read"),
            warns,
            "{mode:o}: {}",
            said(&output)
        );
    }
}

#[test]
fn init_writes_a_file_for_its_owner_only() {
    let desk = bare_desk();
    let made = desk.tanda(&["init"]);
    assert_eq!(made.status.code(), Some(0), "{}", said(&made));
    let written = fs::metadata(desk.path("tanda.toml")).expect("written");
    assert_eq!(written.permissions().mode() & 0o777, 0o600);
    assert!(stdout(&made).contains("next: "), "{}", said(&made));
    let shown = desk.tanda(&["config"]);
    assert_eq!(shown.status.code(), Some(0), "{}", said(&shown));
}

/// The vectors of the derivation: another program must be able to rely on them.
#[test]
fn key_prints_the_key_that_the_bank_gets() {
    let long = "a".repeat(255);
    for (namespace, entity_id, generation, key) in [
        (
            "default",
            "EMP-0001",
            "1",
            "4ffca915-5339-4b9f-a54d-4eef150e4896",
        ),
        (
            "default",
            "EMP-0001",
            "2",
            "f61f5a87-6e23-4640-b2a3-4b02ce541f51",
        ),
        (
            "acme-prod",
            "EMP-0001",
            "1",
            "3b2a81b5-2e97-4a89-a5b4-86db61885d83",
        ),
        (
            "default",
            "NOM-2026-11-0042",
            "1",
            "4b098277-e954-41c2-ac8f-80a4f79c9b6c",
        ),
        (
            "default",
            "nómina-ñ-1",
            "1",
            "ce8d484c-5c8b-435b-99c0-9aec14737227",
        ),
        (
            "default",
            &long,
            "1",
            "c1f14c44-b8b7-446a-806e-9055b548bacb",
        ),
    ] {
        let mut desk = bare_desk();
        desk.set("TANDA_ENGINE__NAMESPACE", namespace);
        let flags = ["key", entity_id, "--generation", generation];
        let output = desk.tanda(&flags);
        assert_eq!(stdout(&output), format!("{key}\n"), "{}", said(&output));
        let output = desk.tanda(&[&flags[..], &["--json"]].concat());
        let shown: Value = serde_json::from_str(&stdout(&output)).expect("JSON");
        assert_eq!(shown["idempotency_key"], key);
        assert_eq!(shown["namespace"], namespace);
    }
    let desk = bare_desk();
    for wrong in [&["key", " a"][..], &["key", "a", "--generation", "0"]] {
        assert_eq!(desk.tanda(wrong).status.code(), Some(2));
    }
}

#[test]
fn the_manual_and_the_completions_know_every_command() {
    let desk = bare_desk();
    let help = stdout(&desk.tanda(&["--help"]));
    let listed = help.split("Commands:\n").nth(1).expect("commands");
    let commands: Vec<&str> = listed
        .lines()
        .map_while(|line| line.strip_prefix("  ")?.split_whitespace().next())
        .filter(|name| *name != "help")
        .collect();
    assert!(commands.contains(&"config"), "{help}");
    let manual = stdout(&desk.tanda(&["man"]));
    for command in &commands {
        let title = format!(".TH tanda-{command} 1");
        assert!(manual.contains(&title), "{title}");
        let help = desk.tanda(&[command, "--help"]);
        assert_eq!(help.status.code(), Some(0), "{}", said(&help));
    }
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = stdout(&desk.tanda(&["completions", shell]));
        assert!(
            commands.iter().all(|command| script.contains(command)),
            "{shell}"
        );
    }
}

// ---- exit codes -------------------------------------------------------------------------------

/// A run that is stopped by this signal while it is under way.
fn stopped_by(signal: &str) -> Option<i32> {
    let bank = SimulatorProcess::start("latency_ms=20");
    let mut desk = Desk::at(&bank.url);
    desk.set("TANDA_ENGINE__CONCURRENCY", "1");
    let file = desk.write("pay.csv", &payroll(400, "1.00"));
    let flags = ["--yes", "--expect-total", "topup:COP:400.00"];
    let arguments = [&["run", &file], &flags[..], &["--log-level", "debug"]].concat();
    let mut run = Started::new(desk.command(&arguments));
    run.until_it_says("an attempt ended");
    run.stop_by(signal).0
}

/// Each documented exit code, by a command that ends with it. 1 is a broken invariant of ours,
/// which no command can be made to show: `app::panics` and `app::exit` have their own tests.
/// The sample of a production configuration is a good one, and each of its settings is taken.
#[test]
fn the_sample_configuration_is_good() {
    let mut desk = bare_desk();
    desk.unset("TANDA_LEDGER__URL");
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/samples/tanda.toml");
    let shown = desk.tanda(&["--config", path, "config"]);
    assert_eq!(shown.status.code(), Some(0), "{}", said(&shown));
    let shown = stdout(&shown);
    let sample = std::fs::read_to_string(path).expect("a sample");
    let values = sample.lines().filter_map(|line| line.split_once(" = "));
    for (key, value) in values {
        let value = value.trim_matches('"');
        let is_shown = |line: &str| line.contains(key) && line.contains(value);
        assert!(shown.lines().any(is_shown), "{key} = {value}:\n{shown}");
    }
}

#[test]
fn every_exit_code_is_what_a_command_ends_with() {
    let desk = bare_desk();
    let help = stdout(&desk.tanda(&["--help"]));
    let (_, codes) = help.split_once("Exit codes:\n").expect("exit codes");
    let documented: BTreeSet<i32> = codes
        .lines()
        .filter_map(|line| line.get(..10))
        .flat_map(|codes| codes.split([',', ' ']))
        .filter_map(|code| code.parse().ok())
        .collect();
    let good = desk.write("good.csv", &payroll(2, "1.00"));
    let bad = desk.write(
        "bad.csv",
        &(HEADER.to_owned() + "E-1,no-card,topup,1.00,COP,\n"),
    );
    let simulate = ["--simulate", "--yes"];
    let run = |file: &str, more: &[&str]| {
        let run = desk.tanda(&[&["run", file], more].concat());
        (run.status.code(), said(&run))
    };
    let total = ["--yes", "--expect-total", "topup:COP:2.00"];
    let with = |faults| [&simulate[..], &["--faults", faults]].concat();
    let ends: [(i32, (Option<i32>, String)); 8] = [
        (0, run(&good, &simulate)),
        (2, run(&good, &["--no-such-flag"])),
        (3, run(&bad, &simulate)),
        (4, run(&good, &total)),
        (5, {
            let mut desk = Desk::new();
            desk.set("TANDA_POLICY__ONE_PERSON_RUN", "refused");
            let run = desk.tanda(&[&["run", &good], &total[..]].concat());
            (run.status.code(), said(&run))
        }),
        (6, run(&good, &with("refuse=100%"))),
        (7, run(&good, &with("conflict=100%"))),
        (8, {
            let desk = Desk::new();
            let run = desk.tanda(&[&["run", &good], &total[..]].concat());
            (run.status.code(), said(&run))
        }),
    ];
    let mut seen: BTreeSet<i32> = [1].into();
    for (code, (ended, said)) in ends {
        assert_eq!(ended, Some(code), "{said}");
        seen.insert(code);
    }
    for (code, signal) in [(130, "-INT"), (143, "-TERM")] {
        assert_eq!(stopped_by(signal), Some(code), "{signal}");
        seen.insert(code);
    }
    assert_eq!(seen, documented, "the help documents other codes");
}
