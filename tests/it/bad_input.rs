//! Everything that a run can be given wrongly, through the real program: one clear message each, its
//! exit code, nothing sent, and nothing of the ledger lost.

use std::path::Path;
use std::process::{Command, Output};

use rusqlite::Connection;

use crate::support::program::{Desk, SimulatorProcess, TANDA, said};

const ROWS: &str = "entity_id,card_id,operation,amount,currency\n\
                    E-0,car_0000000000000000000007,topup,100.00,COP\n";

fn run(desk: &Desk, file: &str) -> Output {
    desk.tanda(&["run", file, "--yes", "--expect-total", "topup:COP:100.00"])
}

/// What it says to people, which must be one message that says what it means for the money.
fn refusal(output: &Output, code: i32) -> String {
    assert_eq!(output.status.code(), Some(code), "{}", said(output));
    assert!(output.stdout.is_empty(), "{}", said(output));
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    let lowered = words.to_lowercase();
    assert!(lowered.contains("nothing was"), "{words}");
    assert!(!words.contains("panicked"), "{words}");
    words
}

#[test]
fn a_file_that_is_none_is_refused_by_name() {
    let bank = SimulatorProcess::start("");
    let desk = Desk::at(&bank.url);
    let folder = desk.path("folder");
    std::fs::create_dir(&folder).expect("a folder");
    let missing = desk.path("missing.csv").display().to_string();
    let empty = desk.write("empty.csv", "");
    let hollow = desk.write("blank.csv", "\n\n  \n");
    let headless = desk.write(
        "headless.csv",
        "E-0,car_0000000000000000000007,topup,1,COP\n",
    );
    let rowless = desk.write(
        "rowless.csv",
        "entity_id,card_id,operation,amount,currency\n",
    );
    let workbook = desk.write("book.xlsx", "PK\u{3}\u{4}and so on");
    for (file, says) in [
        (missing, "there is no such file"),
        (empty, "empty"),
        (hollow, "blank"),
        (folder.display().to_string(), "folder"),
        (headless, "none of the column names"),
        (rowless, "no rows"),
        (workbook, "Excel"),
    ] {
        let words = refusal(&run(&desk, &file), 3);
        assert!(words.contains(says), "{file}: {words}");
        assert!(words.contains(&file), "{file} is not named: {words}");
    }
    assert_eq!(bank.operations_heard(), 0);
}

#[test]
fn a_credential_or_a_bank_that_cannot_be_used_starts_nothing() {
    let bank = SimulatorProcess::start("");
    let mut desk = Desk::at(&bank.url);
    let pay = desk.write("pay.csv", ROWS);
    desk.set("TANDA_BANK__TOKEN", "wrong");
    let words = refusal(&run(&desk, &pay), 4);
    assert!(words.contains("TANDA_BANK__TOKEN"), "{words}");
    desk.unset("TANDA_BANK__TOKEN");
    refusal(&run(&desk, &pay), 4);
    let nobody = Desk::at("http://127.0.0.1:9");
    let pay = nobody.write("pay.csv", ROWS);
    let words = refusal(&run(&nobody, &pay), 8);
    assert!(words.contains("127.0.0.1:9"), "{words}");
    assert_eq!(bank.operations_heard(), 0);
}

/// A desk whose ledger has paid one row, and is closed.
fn used(bank: &SimulatorProcess) -> (Desk, String) {
    let desk = Desk::at(&bank.url);
    let pay = desk.write("pay.csv", ROWS);
    let paid = run(&desk, &pay);
    assert_eq!(paid.status.code(), Some(0), "{}", said(&paid));
    (desk, pay)
}

fn sql(desk: &Desk, statement: &str) {
    let db = Connection::open(desk.path("ledger.db")).expect("the file");
    db.execute_batch(statement).expect("a statement");
}

/// What is wrong with a ledger, how it comes to be so, and what is said of it.
type Broken<'a> = (&'static str, &'a dyn Fn(&mut Desk), &'static str);

#[test]
fn i1_a_ledger_that_cannot_be_relied_on_is_never_paid_from() {
    let bank = SimulatorProcess::start("");
    let other_bank = SimulatorProcess::start("");
    let break_it: [Broken<'_>; 7] = [
        (
            "missing",
            &|desk| std::fs::remove_file(desk.path("ledger.db")).expect("removed"),
            "is gone",
        ),
        (
            "of another namespace",
            &|desk| desk.set("TANDA_ENGINE__NAMESPACE", "other"),
            "namespace",
        ),
        (
            "of another bank",
            &|desk| desk.set("TANDA_BANK__BASE_URL", &other_bank.url),
            "belongs to the bank",
        ),
        (
            "newer",
            &|desk| sql(desk, "PRAGMA user_version = 99"),
            "format 99",
        ),
        (
            "corrupt",
            &|desk| std::fs::write(desk.path("ledger.db"), vec![7; 8192]).expect("written"),
            "damaged or is not a ledger",
        ),
        (
            "without its anchor",
            &|desk| std::fs::remove_file(desk.path("ledger.db.anchor")).expect("removed"),
            "anchor",
        ),
        (
            "an older copy",
            &|desk| {
                let (now, copy) = (desk.path("ledger.db"), desk.path("copy.db"));
                std::fs::copy(&now, &copy).expect("copied");
                let more = desk.write("more.csv", &ROWS.replace("E-0", "E-more"));
                assert_eq!(run(desk, &more).status.code(), Some(0));
                std::fs::rename(copy, now).expect("put back");
            },
            "has forgotten something",
        ),
    ];
    for (what, break_ledger, says) in break_it {
        let (mut desk, pay) = used(&bank);
        break_ledger(&mut desk);
        let heard = bank.operations_heard() + other_bank.operations_heard();
        let words = refusal(&run(&desk, &pay), 8);
        assert!(words.contains(says), "{what}: {words}");
        let after = bank.operations_heard() + other_bank.operations_heard();
        assert_eq!(after, heard, "{what}");
    }
}

/// A limit on how large a file may become stands for a disk without room: the write fails, wherever
/// it comes. The run ends, and another one with room finishes the file; each row is paid once.
#[test]
fn i1_i2_a_ledger_that_cannot_grow_ends_the_run_and_loses_nothing() {
    let bank = SimulatorProcess::start("");
    let desk = Desk::at(&bank.url);
    let header = ROWS.lines().next().expect("a header");
    let row = |n: u32| format!("\nE-{n},car_{:022},topup,1.00,COP", n / 2);
    let rows: String = (0..3_000).map(row).collect();
    let pay = desk.write("pay.csv", &format!("{header}{rows}\n"));
    let flags = ["--yes", "--expect-total", "topup:COP:3000.00"];
    let limited = "trap '' XFSZ; ulimit -f 2048; exec \"$0\" \"$@\"";
    let starved = limited_run(&desk, limited, &[&["run", &pay], &flags[..]].concat());
    let words = said(&starved);
    assert_eq!(starved.status.code(), Some(8), "{words}");
    assert!(words.contains("Nothing is lost"), "{words}");
    let finished = desk.tanda(&[&["run", &pay], &flags[..]].concat());
    assert_eq!(finished.status.code(), Some(0), "{}", said(&finished));
    let report = bank.report();
    let entities = report["entities"].as_object().expect("entities");
    assert_eq!(entities.len(), 3_000);
    assert!(entities.values().all(|entity| entity["movements"] == 1));
}

fn limited_run(desk: &Desk, shell: &str, arguments: &[&str]) -> Output {
    let program = desk.command(&[]);
    let mut command = Command::new("sh");
    command
        .args(["-c", shell, TANDA])
        .args(arguments)
        .current_dir(Path::new(&desk.path(".")))
        .env_clear();
    for (name, value) in program.get_envs() {
        command.env(name, value.unwrap_or_default());
    }
    command.output().expect("sh starts")
}
