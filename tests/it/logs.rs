//! What the program says beside its data: each line is whole, each decision is there once, and
//! nothing that is secret ever is.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Output;

use serde_json::Value;

use crate::support::payroll::{HEADER, row};
use crate::support::program::{Desk, MORE_THAN_ANY_DISK_MIB, SimulatorProcess, said};

/// A token that would show wherever a token can show.
const CANARY: &str = "canary-4b7e19c2-token";
const CARDS: u32 = 20;

fn payroll() -> String {
    let rows = (0..CARDS).map(|n| row(&format!("E-{n}"), format!("x{n:021}"), "1.00"));
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
    let bad = desk.write("bad.csv", &(payroll() + "E-x,no-card,topup,1.00,COP,\n"));
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
            .replace("COP,\n", "COP,,x\n"),
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

/// A command and what it said.
type Told = (Vec<String>, Output);

/// Everything the program said and wrote holds no token; what it said to people no whole card.
fn assert_clean(desk: &Desk, told: &[Told], about: &str) {
    for (command, output) in told {
        let words = said(output);
        assert!(!words.contains("canary"), "{about}, {command:?}: {words}");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(
            !errors.contains("car_x000"),
            "{about}, {command:?}: {errors}"
        );
        let name = command.first().map(String::as_str);
        if name.is_some_and(|name| SHOWS_NO_CARD.contains(&name)) {
            assert!(!words.contains("car_x000"), "{about}, {command:?}: {words}");
        }
    }
    let searched = search(&desk.path(""), about);
    assert!(searched > 0, "{about}: the program wrote nothing");
}

/// Commands that show no whole card on stdout either. Those that hand back a person's own file do.
const SHOWS_NO_CARD: [&str; 3] = ["explain", "status", "doctor"];

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

/// Runs these commands at a desk whose token is in this place.
fn tell(desk: &Desk, place: Place, commands: &[Vec<String>]) -> Vec<Told> {
    let config = match place {
        Place::Toml => &["--config", "secret.toml"][..],
        Place::Environment | Place::File | Place::Credential => &[],
    };
    let told = |command: &Vec<String>| {
        let words = command.iter().map(String::as_str);
        let arguments: Vec<_> = words.chain(config.iter().copied()).collect();
        (command.clone(), desk.tanda(&arguments))
    };
    commands.iter().map(told).collect()
}

fn owned(command: &[&str]) -> Vec<String> {
    command.iter().map(|&word| word.to_owned()).collect()
}

/// What is told wherever the token is: `init` and a run come first.
fn first_commands(desk: &Desk) -> Vec<Vec<String>> {
    let file = desk.write("pay.csv", &payroll());
    let other = desk.write("other.csv", &payroll().replace("1.00", "2.00"));
    let repeated = desk.write("repeated.csv", &(payroll() + &payroll()));
    let run = [&["run", &file], &CONSENT[..]].concat();
    let faults = "error=20%,lost=20%";
    [
        &["init"][..],
        &run,
        &[&run[..], &["--log-format", "json"]].concat(),
        &["run", &other, "--yes", "--expect-total", "topup:COP:40.00"],
        &["run", &repeated, "--simulate", "--yes"],
        &["run", &file],
        &["run", &file, "--simulate", "--yes", "--faults", faults],
        &["config"],
        &["config", "--json"],
        &["doctor"],
        &["doctor", "--json"],
        &["reconcile"],
        &["cancel", "E-1", "E-new", "--by", "A. Person"],
        &["pause", "--by", "A. Person"],
        &["resume", "--by", "A. Person"],
        &["run", "no-such-file.csv", "--simulate", "--yes"],
        &["worker"],
        &["topology"],
        &["topology", "--json"],
        &["schema", "job"],
    ]
    .map(owned)
    .into()
}

/// What is told after these, where one place of the token is enough.
fn later_commands(desk: &Desk) -> Vec<Vec<String>> {
    let file = desk.write("pay.csv", &payroll());
    let frozen = desk.write(
        "frozen.csv",
        &(HEADER.to_owned() + &row(FROZEN.0, FROZEN.1, "3.00")),
    );
    let right = format!("x{CARDS:021}");
    let mended = desk.write(
        "mended.csv",
        &(HEADER.to_owned() + &row(FROZEN.0, right, "3.00")),
    );
    let mixed = desk.write(
        "mixed.csv",
        &(payroll() + &row("E-bad", format!("x{:021}", 99), "x")),
    );
    let three = ["--yes", "--expect-total", "topup:COP:3.00"];
    let (fix, fix_again, copy) = ("fix.csv", "fix-again.csv", "copy.db");
    let settle = ["settle", "E-2", "--as", "not_sent", "--by", "A. Person"];
    let evidence = ["--evidence", "a letter", "--yes"];
    let good_ones = ["--valid-only", "--errors-to"];
    [
        &["run", &frozen, three[0], three[1], three[2], "--json"][..],
        &[
            &["run", &mended],
            &three[..],
            &["--again", "--by", "A. Person"],
        ]
        .concat(),
        &[
            &["run", &mixed, "--simulate", "--yes"],
            &good_ones[..],
            &[fix],
        ]
        .concat(),
        &["check", &mixed],
        &["check", &file, &mixed, "--json"],
        &["check", &mixed, "--errors-to", fix_again],
        &["status"],
        &["status", "--json"],
        &["explain", "E-2"],
        &["explain", "E-2", "--json"],
        &["explain", FROZEN.0],
        &["explain", FROZEN.0, "--json"],
        &["explain", "E-new"],
        &["explain", "e-2"],
        &["doctor", "--card", "car_x000000000000000000002"],
        &[&settle[..], &evidence[..]].concat(),
        &[&settle[..], &evidence[..], &["--json"]].concat(),
        &[&settle[..], &["--evidence", "a letter"]].concat(),
        &["explain", "E-2"],
        &["reconcile", "E-3", "--json"],
        &["ledger", "backup", copy],
        &["ledger", "backup", copy, "--json"],
        &["ledger", "prune"],
        &["ledger", "prune", "--yes"],
        &["ledger", "prune", "--yes", "--json"],
        &["ledger", "accept-loss", "--by", "Ana"],
        &["ledger", "accept-loss", "--by", "Ana", "--yes", "--json"],
        &["drill", "--for", "1s", "--jobs", "20", "--seed", "3"],
        &[
            "drill", "--for", "1s", "--jobs", "20", "--seed", "3", "--json",
        ],
        &["simulator", "--listen", "0.0.0.0:0"],
        &["key", "E-1"],
        &["completions", "bash"],
        &["man"],
        &["help"],
        &["ledger", "help"],
    ]
    .map(owned)
    .into()
}

/// What is told of the queue and of dead letters.
fn dead_commands(desk: &Desk) -> Vec<Vec<String>> {
    let file = desk.write("pay.csv", &payroll());
    let by = ["--by", "A. Person"];
    let aside = ["--evidence", "a letter", "--yes", "--expect-count", "1"];
    [
        &[&["enqueue", file.as_str()], &CONSENT[..]].concat()[..],
        &["dead", "list"],
        &["dead", "list", "--json"],
        &["dead", "show", FROZEN.0],
        &[&["dead", "redrive", FROZEN.0], &by[..]].concat(),
        &[&["dead", "discard", FROZEN.0], &by[..], &aside].concat(),
        &["dead", "help"],
    ]
    .map(owned)
    .into()
}

/// A job that the simulated bank refuses, and its card.
const FROZEN: (&str, &str) = ("E-frozen", "x000000000000000Frozen");

/// The commands that the help of these words names, each with the words before it.
fn named_in_help(desk: &Desk, before: &[&str]) -> BTreeSet<String> {
    let help = desk.tanda(&[before, &["--help"]].concat());
    let text = String::from_utf8(help.stdout).expect("UTF-8");
    let Some((_, listed)) = text.split_once("Commands:\n") else {
        return [before.join(" ")].into();
    };
    listed
        .lines()
        .take_while(|line| !line.is_empty())
        // What a long description goes on with stands further in.
        .filter_map(|line| {
            line.strip_prefix("  ")
                .filter(|line| !line.starts_with(' '))
        })
        .filter_map(|line| line.split_whitespace().next())
        .flat_map(|name| match name {
            "help" => [[before, &[name]].concat().join(" ")].into(),
            name => named_in_help(desk, &[before, &[name]].concat()),
        })
        .collect()
}

/// A new command has to say here how it is tried with a token in its reach.
#[test]
fn i12_every_command_of_the_help_is_searched_for_the_token() {
    let desk = Desk::new();
    let tried: BTreeSet<String> = [
        first_commands(&desk),
        later_commands(&desk),
        dead_commands(&desk),
    ]
    .concat()
    .iter()
    .flat_map(|command| {
        [
            command[..1].join(" "),
            command[..command.len().min(2)].join(" "),
        ]
    })
    .collect();
    let named = named_in_help(&desk, &[]);
    for known in ["run", "doctor", "ledger prune"] {
        assert!(named.contains(known), "{known} is not in {named:?}");
    }
    let untried: Vec<_> = named.difference(&tried).collect();
    assert!(untried.is_empty(), "no case for {untried:?}");
}

#[test]
fn i12_no_token_and_no_whole_card_shows_whatever_happens_wherever_the_token_is() {
    let faults = "error=10%,lost=10%,reset=5%,cut=5%,unauthorized=5%,limit=5%,portal=5%";
    let good = SimulatorProcess::with_token(CANARY, faults);
    let refusing = SimulatorProcess::with_token("another", "");
    let setups = [
        ("good", CANARY, good.url.as_str(), 0),
        ("refused", CANARY, refusing.url.as_str(), 4),
        ("unreachable", CANARY, "http://127.0.0.1:9", 8),
        ("not a header", "canary token é", good.url.as_str(), 4),
    ];
    std::thread::scope(|threads| {
        for (number, place) in PLACES.into_iter().enumerate() {
            threads.spawn(move || {
                for (of, (name, token, bank, ends)) in setups.into_iter().enumerate() {
                    let about = format!("{place:?}, {name}");
                    let desk = desk_with(place, token, bank);
                    let mut told = tell(&desk, place, &first_commands(&desk));
                    let (_, run) = &told[1];
                    assert_eq!(run.status.code(), Some(ends), "{about}: {}", said(run));
                    if number == of {
                        told.extend(tell(&desk, place, &later_commands(&desk)));
                        told.extend(tell(&desk, place, &dead_commands(&desk)));
                    }
                    assert_clean(&desk, &told, &about);
                }
            });
        }
    });
}

#[test]
fn i12_no_token_and_no_whole_card_shows_where_jobs_are_in_doubt() {
    let doubtful = SimulatorProcess::with_token(CANARY, "conflict=100%");
    let desk = desk_with(Place::File, CANARY, &doubtful.url);
    let mut told = tell(&desk, Place::File, &first_commands(&desk));
    let (_, run) = &told[1];
    assert_eq!(run.status.code(), Some(7), "{}", said(run));
    told.extend(tell(&desk, Place::File, &later_commands(&desk)));
    told.extend(tell(&desk, Place::File, &dead_commands(&desk)));
    for (command, output) in &told {
        if command[..] == ["explain", "E-2"] {
            assert!(said(output).contains("car_x00...002"), "{}", said(output));
        }
    }
    assert_clean(&desk, &told, "in doubt");
}

/// What is broken, and how.
type Broken<'a> = (&'static str, &'a dyn Fn(&mut Desk));

#[test]
fn i12_the_doctor_shows_no_token_and_no_whole_card_whatever_is_broken() {
    let bank = SimulatorProcess::with_token(CANARY, "");
    let broken: [Broken<'_>; 8] = [
        ("a token file that others may read", &|desk| {
            let others = std::os::unix::fs::PermissionsExt::from_mode(0o644);
            fs::set_permissions(desk.path("secret-token"), others).expect("ours");
        }),
        ("no token file", &|desk| {
            fs::remove_file(desk.path("secret-token")).expect("removed");
        }),
        ("a token of two lines", &|desk| {
            desk.write("secret-token", &format!("{CANARY}\n{CANARY}"));
        }),
        ("no ledger", &|desk| {
            fs::remove_file(desk.path("ledger.db")).expect("removed");
        }),
        ("a damaged ledger", &|desk| {
            fs::write(desk.path("ledger.db"), vec![7; 8192]).expect("written");
        }),
        ("another namespace", &|desk| {
            desk.set("TANDA_ENGINE__NAMESPACE", "other");
        }),
        ("no room", &|desk| {
            desk.set("TANDA_LEDGER__MIN_FREE_MIB", MORE_THAN_ANY_DISK_MIB);
        }),
        ("a token in the address", &|desk| {
            let address = format!("https://user:{CANARY}@bank.example");
            desk.set("TANDA_BANK__BASE_URL", &address);
        }),
    ];
    for (about, break_it) in broken {
        let mut desk = desk_with(Place::File, CANARY, &bank.url);
        let paid = tell(&desk, Place::File, &first_commands(&desk)[..2]);
        assert_eq!(paid[1].1.status.code(), Some(0), "{}", said(&paid[1].1));
        break_it(&mut desk);
        let commands = [
            &["doctor"][..],
            &["doctor", "--json"],
            &["status"],
            &["explain", "E-1"],
        ]
        .map(owned);
        let told = tell(&desk, Place::File, &commands);
        assert_ne!(
            told[0].1.status.code(),
            Some(0),
            "{about}: {}",
            said(&told[0].1)
        );
        assert_clean(&desk, &told, about);
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
        let commands = [
            &["config"][..],
            &["init"],
            &["run", &file, "--simulate", "--yes"],
            &["doctor"],
            &["doctor", "--json"],
            &["status"],
            &["explain", "E-1"],
        ]
        .map(owned);
        let told = tell(&desk, Place::Toml, &commands);
        for (_, output) in &told {
            assert_eq!(output.status.code(), Some(2), "{broken}: {}", said(output));
        }
        assert_clean(&desk, &told, &broken);
    }
    for name in ["TANDA_BANK_TOKEN", "TANDA_BANK__TOKN", "TANDA_BNAK__TOKEN"] {
        let mut desk = Desk::new();
        desk.set(name, CANARY);
        let file = desk.write("pay.csv", &payroll());
        let commands = [&["run", &file, "--simulate", "--yes"][..], &["doctor"]].map(owned);
        let told = tell(&desk, Place::Environment, &commands);
        for (_, output) in &told {
            assert_eq!(output.status.code(), Some(2), "{}", said(output));
        }
        assert_clean(&desk, &told, name);
    }
}
