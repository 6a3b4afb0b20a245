//! What the program says beside its data: each line is whole, each decision is there once, and
//! nothing that is secret ever is.

use std::fs;
use std::path::Path;
use std::process::Output;

use serde_json::Value;

use crate::support::program::{Desk, SimulatorProcess, said};

/// A token that would show wherever a token can show.
const CANARY: &str = "canary-4b7e19c2-token";
const HEADER: &str = "entity_id,card_id,operation,amount,currency\n";
const CARDS: u32 = 20;

fn payroll() -> String {
    let rows = (0..CARDS).map(|n| format!("E-{n},car_x{n:021},topup,1.00,COP\n"));
    HEADER.to_owned() + &rows.collect::<String>()
}

const CONSENT: [&str; 3] = ["--yes", "--expect-total", "topup:COP:20.00"];

fn events(output: &Output) -> Vec<Value> {
    let text = String::from_utf8(output.stderr.clone()).expect("UTF-8");
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect()
}

#[test]
fn each_decision_is_one_event_in_the_order_of_a_jobs_way() {
    let desk = Desk::new();
    let file = desk.write("pay.csv", &payroll());
    let flags = [
        "--simulate",
        "--yes",
        "--log-level",
        "debug",
        "--log-format",
        "json",
    ];
    let run = desk.tanda(&[&["run", &file], &flags[..]].concat());
    assert_eq!(run.status.code(), Some(0), "{}", said(&run));
    let events = events(&run);
    let of_job: Vec<&str> = events
        .iter()
        .filter(|event| event["entity_id"] == "E-7")
        .map(|event| event["message"].as_str().expect("a message"))
        .collect();
    assert_eq!(
        of_job,
        [
            "a job was admitted",
            "a job's intent is durable; it may be sent from now on",
            "an attempt ended",
            "an outcome is final",
        ]
    );
    let said_of = |message: &str| {
        let found = events.iter().find(|event| event["message"] == message);
        found.unwrap_or_else(|| panic!("no {message}")).clone()
    };
    let attempt = said_of("an attempt ended");
    assert_eq!(attempt["attempt"], 1);
    assert_eq!(attempt["verdict"], "accepted");
    assert_eq!(attempt["status_class"], "2xx");
    assert!(attempt["took_ms"].is_u64(), "{attempt}");
    let outcome = said_of("an outcome is final");
    assert_eq!(outcome["status"], "succeeded");
    assert!(
        outcome["card_id"].as_str().expect("a card").contains("..."),
        "{outcome}"
    );
    let ended = said_of("the run ended");
    assert_eq!(
        (&ended["succeeded"], &ended["rejected"]),
        (&20.into(), &0.into())
    );
    let started = said_of("tanda started");
    assert_eq!(started["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(said_of("tanda stopped")["exit_code"], 0);
}

#[test]
fn a_job_in_doubt_leaves_its_asks_and_its_outcome_in_the_log() {
    let desk = Desk::new();
    let file = desk.write("pay.csv", &payroll());
    let flags = [
        "--simulate",
        "--yes",
        "--faults",
        "conflict=100%",
        "--log-level",
        "info",
        "--log-format",
        "json",
    ];
    let run = desk.tanda(&[&["run", &file], &flags[..]].concat());
    assert_eq!(run.status.code(), Some(7), "{}", said(&run));
    let events = events(&run);
    let of_job: Vec<(&str, &Value)> = events
        .iter()
        .filter(|event| event["entity_id"] == "E-7")
        .map(|event| (event["message"].as_str().expect("a message"), event))
        .collect();
    let (first, doubt) = of_job.first().expect("an event");
    assert!(first.starts_with("a job is in doubt"), "{first}");
    assert_eq!(doubt["reason"], "conflict_409");
    let asks = of_job
        .iter()
        .filter(|(message, _)| *message == "the bank's list was asked about a job in doubt");
    let findings: Vec<_> = asks.map(|(_, ask)| ask["finding"].clone()).collect();
    assert!(findings.len() >= 4, "{findings:?}");
    assert!(findings.iter().all(|finding| finding == "absent"));
}

/// Whatever people are told is then a line for machines too.
#[test]
fn as_json_every_line_of_stderr_is_an_object_also_where_a_command_fails() {
    let desk = Desk::new();
    let bad = desk.write("bad.csv", &(payroll() + "E-x,no-card,topup,1.00,COP\n"));
    for (command, code) in [
        (&["run", &bad, "--simulate", "--yes"][..], 3),
        (&["run", "no-such-file.csv", "--simulate", "--yes"], 3),
        (&["key", " "], 2),
    ] {
        let output = desk.tanda(&[command, &["--log-format", "json"]].concat());
        assert_eq!(output.status.code(), Some(code), "{}", said(&output));
        assert!(!events(&output).is_empty(), "{}", said(&output));
    }
    let ended = events(&desk.tanda(&["key", " ", "--log-format", "json"]));
    assert_eq!(ended[0]["level"], "error");
}

#[test]
fn what_stands_in_a_file_cannot_colour_the_terminal() {
    let desk = Desk::new();
    let header = HEADER.replace('\n', ",\u{1b}[31mnote\u{9b}2J\u{202e}\n");
    let file = desk.write(
        "pay.csv",
        &payroll()
            .replace(HEADER, &header)
            .replace("COP\n", "COP,x\n"),
    );
    let run = desk.tanda(&["run", &file, "--simulate", "--yes"]);
    assert_eq!(run.status.code(), Some(0), "{}", said(&run));
    let errors = String::from_utf8_lossy(&run.stderr);
    assert!(errors.contains("note"), "the column is named: {errors}");
    let steers = |c: char| c != '\n' && c.is_control() || c == '\u{202e}';
    assert!(!errors.contains(steers), "{errors:?}");
}

#[test]
fn unless_asked_the_log_is_quiet() {
    let desk = Desk::new();
    let file = desk.write("pay.csv", &payroll());
    let run = desk.tanda(&["run", &file, "--simulate", "--yes", "--log-format", "json"]);
    assert_eq!(run.status.code(), Some(0), "{}", said(&run));
    let events = events(&run);
    let [preview] = events.as_slice() else {
        panic!("{events:?}");
    };
    let preview = preview["message"].as_str().expect("a message");
    assert!(preview.contains("20 rows"), "{preview}");
}

// ---- the canary -------------------------------------------------------------------------------

/// Where a token can be.
#[derive(Clone, Copy, Debug)]
enum Place {
    Environment,
    File,
    Toml,
    Credential,
}

const PLACES: [Place; 4] = [
    Place::Environment,
    Place::File,
    Place::Toml,
    Place::Credential,
];

/// A desk whose token, this one, is in this place; the files that hold it begin with `secret`.
fn desk_with(place: Place, token: &str, bank: &str) -> Desk {
    let mut desk = Desk::new();
    desk.unset("TANDA_BANK__TOKEN");
    desk.set("TANDA_BANK__BASE_URL", bank);
    desk.set("TANDA_LOG__LEVEL", "debug");
    match place {
        Place::Environment => desk.set("TANDA_BANK__TOKEN", token),
        Place::File => {
            let file = desk.write_secret("secret-token", token);
            desk.set("TANDA_BANK__TOKEN_FILE", &file);
        }
        Place::Toml => {
            desk.write("secret.toml", &format!("[bank]\ntoken = \"{token}\"\n"));
        }
        Place::Credential => {
            fs::create_dir(desk.path("secret")).expect("a folder");
            desk.write_secret("secret/bank_token", token);
            let folder = desk.path("secret").display().to_string();
            desk.set("CREDENTIALS_DIRECTORY", &folder);
        }
    }
    desk
}

/// Everything the program said and wrote holds no token, and stderr no whole card.
fn assert_clean(desk: &Desk, outputs: &[Output], about: &str) {
    for output in outputs {
        assert!(
            !said(output).contains("canary"),
            "{about}: {}",
            said(output)
        );
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(!errors.contains("car_x000"), "{about}: {errors}");
    }
    let searched = search(&desk.path(""), about);
    assert!(searched > 0, "{about}: the program wrote nothing");
}

/// How many files were searched for the canary.
fn search(folder: &Path, about: &str) -> usize {
    let mut searched = 0;
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().expect("a name").to_string_lossy();
        if name.starts_with("secret") {
            continue;
        }
        if path.is_dir() {
            searched += search(&path, about);
            continue;
        }
        let bytes = fs::read(&path).expect("a file");
        let found = bytes.windows(6).any(|window| window == b"canary");
        assert!(!found, "{about}: the token is in {}", path.display());
        searched += 1;
    }
    searched
}

fn commands(desk: &Desk, place: Place, file: &str) -> Vec<Output> {
    let config = match place {
        Place::Toml => &["--config", "secret.toml"][..],
        Place::Environment | Place::File | Place::Credential => &[],
    };
    let run = [&["run", file], &CONSENT[..]].concat();
    let other = desk.write("other.csv", &payroll().replace("1.00", "2.00"));
    let conflict = ["run", &other, "--yes", "--expect-total", "topup:COP:40.00"];
    let repeated = desk.write("repeated.csv", &(payroll() + &payroll()));
    [
        &["init"][..],
        &run,
        &[&run[..], &["--log-format", "json"]].concat(),
        &conflict,
        &["run", &repeated, "--simulate", "--yes"],
        &["run", file],
        &[
            "run",
            file,
            "--simulate",
            "--yes",
            "--faults",
            "error=20%,lost=20%",
        ],
        &["config"],
        &["config", "--json"],
        &["key", "E-1"],
        &["reconcile"],
        &["cancel", "E-1", "E-new", "--by", "A. Person"],
        &["pause", "--by", "A. Person"],
        &["resume", "--by", "A. Person"],
        &["--help"],
        &["man"],
        &["run", "no-such-file.csv", "--simulate", "--yes"],
    ]
    .iter()
    .map(|command| desk.tanda(&[command, config].concat()))
    .collect()
}

#[test]
fn i12_no_token_and_no_whole_card_shows_whatever_happens_wherever_the_token_is() {
    let faults = "error=10%,lost=10%,reset=5%,cut=5%,unauthorized=5%,limit=5%,portal=5%";
    let good = SimulatorProcess::with_token(CANARY, faults);
    let refusing = SimulatorProcess::with_token("another", "");
    for place in PLACES {
        for (name, token, bank, ends) in [
            ("good", CANARY, good.url.as_str(), 0),
            ("refused", CANARY, refusing.url.as_str(), 4),
            ("unreachable", CANARY, "http://127.0.0.1:9", 8),
            ("not a header", "canary token é", good.url.as_str(), 4),
        ] {
            let about = format!("{place:?}, {name}");
            let desk = desk_with(place, token, bank);
            let file = desk.write("pay.csv", &payroll());
            let outputs = commands(&desk, place, &file);
            let codes: Vec<_> = outputs.iter().map(|output| output.status.code()).collect();
            assert_eq!(codes[1], Some(ends), "{about}: {}", said(&outputs[1]));
            assert_clean(&desk, &outputs, &about);
        }
    }
}

#[test]
fn i12_a_configuration_that_is_wrong_around_a_token_does_not_show_it() {
    for broken in [
        format!("[bank]\ntoken = \"{CANARY}\n"),
        format!("[bank]\ntoken = {CANARY}\n"),
        format!("[bank]\ntokn = \"{CANARY}\"\n"),
        format!("[bank]\ntoken = [\"{CANARY}\"]\n"),
        format!("token = \"{CANARY}\"\n"),
        format!("[bank]\ntoken = \"{CANARY}\"\ntoken_file = \"x\"\n"),
        format!("[bank]\ntoken = \"{CANARY}\"\n[engine]\ndrain_s = 1\n"),
        format!("[bank]\nbase_url = \"https://user:{CANARY}@bank.example\"\n"),
    ] {
        let mut desk = Desk::new();
        desk.unset("TANDA_BANK__TOKEN");
        desk.set("TANDA_LOG__LEVEL", "debug");
        desk.write("secret.toml", &broken);
        let file = desk.write("pay.csv", &payroll());
        let outputs: Vec<_> = [
            &["config"][..],
            &["init"],
            &["run", &file, "--simulate", "--yes"],
        ]
        .iter()
        .map(|command| desk.tanda(&[command, &["--config", "secret.toml"][..]].concat()))
        .collect();
        for output in &outputs {
            assert_eq!(output.status.code(), Some(2), "{broken}: {}", said(output));
        }
        assert_clean(&desk, &outputs, &broken);
    }
    for name in ["TANDA_BANK_TOKEN", "TANDA_BANK__TOKN", "TANDA_BNAK__TOKEN"] {
        let mut desk = Desk::new();
        desk.set(name, CANARY);
        let file = desk.write("pay.csv", &payroll());
        let output = desk.tanda(&["run", &file, "--simulate", "--yes"]);
        assert_eq!(output.status.code(), Some(2), "{}", said(&output));
        assert_clean(&desk, &[output], name);
    }
}
