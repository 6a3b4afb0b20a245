//! `tanda check` and what it has in common with `tanda run`, as their users have them: the real
//! binary on real files.

use std::fs;
use std::path::PathBuf;
use std::process::Output;

use serde_json::{Value, json};

use crate::support::payroll::{HEADER, row};
use crate::support::program::{Desk, SimulatorProcess, said, statuses};

fn project(path: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(path);
    path.display().to_string()
}

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn json_lines(output: &Output) -> Vec<Value> {
    out(output)
        .lines()
        .map(|line| serde_json::from_str(line).expect("a line of JSON"))
        .collect()
}

/// Three rows, of which the second has a wrong amount and the third an id that a sheet runs.
fn mixed() -> String {
    HEADER.to_owned() + &row("E-1", 1, "100.00") + &row("E-2", 2, "x") + &row("=E-3", 3, "50.00")
}

#[test]
fn a_good_file_is_told_with_how_it_was_read_and_what_it_sums_to() {
    let desk = Desk::new();
    let check = desk.tanda(&["check", &project("samples/nomina-es.csv")]);
    assert_eq!(check.status.code(), Some(0), "{}", said(&check));
    let text = out(&check);
    for part in [
        "nomina-es.csv  CSV ; utf-8  decimal comma (proved by line 2: 1.423.500,00)\n",
        "  rows 6   ok 6   errors 0   skipped 2 (blank 1, totals 1)\n",
        "  topup              5   COP           5375500.50\n",
        "  withdrawal         1   COP            120000.00\n",
        "  notice: the sum on line 9 agrees with the rows\n",
        "Every row is good. Nothing was sent",
    ] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
    let payroll = desk.tanda(&[
        "check",
        &project("samples/payroll.csv"),
        "--expect-rows",
        "300",
    ]);
    assert_eq!(payroll.status.code(), Some(0), "{}", said(&payroll));
    assert!(!desk.path("ledger.db").exists(), "nothing is written");
    assert_eq!(fs::read_dir(desk.path(".")).expect("a folder").count(), 0);
}

#[test]
fn every_bad_row_is_told_at_once_with_what_to_do() {
    let desk = Desk::new();
    let check = desk.tanda(&["check", &project("samples/bad-rows.csv")]);
    assert_eq!(check.status.code(), Some(3), "{}", said(&check));
    let text = out(&check);
    assert_eq!(
        text.lines()
            .filter(|line| line.starts_with("error "))
            .count(),
        12,
        "{text}"
    );
    assert!(
        text.contains("bad-rows.csv:4 amount \"50.00.0\"  is not an amount"),
        "{text}"
    );
    assert!(
        text.contains("  rows 14   ok 2   errors 12   skipped 1 (blank 1)\n"),
        "{text}"
    );
    assert!(text.contains("12 rows need fixing."), "{text}");
    assert!(!text.contains("4111111111111111"), "S27: {text}");
}

#[test]
fn json_has_a_line_for_each_row_and_one_for_the_file() {
    let desk = Desk::new();
    let text = mixed() + "Total,,,150.00,COP,\n";
    let file = desk.write("pay.csv", &text);
    let check = desk.tanda(&["check", &file, "--json"]);
    assert_eq!(check.status.code(), Some(3), "{}", said(&check));
    let lines = json_lines(&check);
    let job = |line: u32, id: &str, card: &str, minor: u32| {
        json!({"line": line, "job": {
            "entity_id": id, "card_id": card, "operation": "topup",
            "amount": {"amount": minor, "currency": "COP"}, "description": null}})
    };
    assert_eq!(
        lines[0],
        job(2, "E-1", "car_0000000000000000000001", 10_000)
    );
    assert_eq!(lines[1]["line"], 3);
    let error = &lines[1]["errors"][0];
    assert_eq!(
        (&error["field"], &error["code"]),
        (&json!("amount"), &json!("amount_format"))
    );
    assert_eq!(error["value"], "x");
    assert_eq!(
        lines[2],
        job(4, "=E-3", "car_0000000000000000000003", 5_000)
    );
    let summary = json!({"summary": {
        "outcome": "row_errors", "rows": 3, "ok": 2, "errors": 1, "skipped": 1, "refusal": null,
        "reading": {"format": "csv", "encoding": "utf-8", "delimiter": ",", "decimal": "dot",
            "proof": {"line": 2, "value": "100.00"}},
        "totals": {"COP": {"topup": {"count": 2, "minor": 15_000},
            "withdrawal": {"count": 0, "minor": 0}}}}});
    assert_eq!(lines[3..], [summary]);

    let ambiguous = desk.write("two.csv", &(HEADER.to_owned() + &row("A", 1, "50.000")));
    let check = desk.tanda(&["check", &ambiguous, &file, "--json"]);
    let lines = json_lines(&check);
    assert_eq!(lines.len(), 5, "each file has its own: {}", said(&check));
    assert_eq!(lines[0]["summary"]["outcome"], "refused");
    assert_eq!(lines[0]["summary"]["refusal"]["code"], "ambiguous_decimal");
}

#[test]
fn a_file_of_two_readings_is_refused_until_a_person_says_which() {
    let desk = Desk::new();
    let file = desk.write("pay.csv", &(HEADER.to_owned() + &row("A", 1, "50.000")));
    let check = |flags: &[&str]| desk.tanda(&[&["check", &file], flags].concat());
    let refused = check(&[]);
    assert_eq!(refused.status.code(), Some(3));
    assert!(
        out(&refused).contains("--decimal comma (50.000 is 50000.00)"),
        "{}",
        said(&refused)
    );
    let comma = check(&["--decimal", "comma", "--expect-total", "topup:COP:50000.00"]);
    assert_eq!(comma.status.code(), Some(0), "{}", said(&comma));
    assert!(
        out(&comma).contains("decimal comma (chosen)"),
        "{}",
        said(&comma)
    );
    assert_eq!(
        check(&["--decimal", "dot"]).status.code(),
        Some(3),
        "never 50"
    );
    assert_eq!(check(&["--decimal", "point"]).status.code(), Some(2));
    let bank = ["--simulate", "--yes"];
    let run = |flags: &[&str]| desk.tanda(&[&["run", &file], &bank[..], flags].concat());
    assert_eq!(run(&[]).status.code(), Some(3), "run reads as check does");
    assert_eq!(run(&["--decimal", "comma"]).status.code(), Some(0));
}

#[test]
fn what_is_expected_is_held_against_all_files_together() {
    let desk = Desk::new();
    let one = desk.write("1.csv", &(HEADER.to_owned() + &row("A", 1, "1.00")));
    let two = desk.write("2.csv", &(HEADER.to_owned() + &row("B", 1, "2.00")));
    for (flags, code) in [
        (
            &["--expect-rows", "2", "--expect-total", "topup:COP:3.00"][..],
            0,
        ),
        (&["--expect-rows", "3"], 3),
        (&["--expect-total", "topup:COP:3.01"], 3),
        (&["--expect-total", "topup:COP:3,00"], 2),
        (&["--expect-rows", "two"], 2),
        (&["--errors-to", "fix.csv"], 2),
    ] {
        let check = desk.tanda(&[&["check", &one, &two], flags].concat());
        assert_eq!(
            check.status.code(),
            Some(code),
            "{flags:?}: {}",
            said(&check)
        );
    }
    let missing = desk.path("3.csv").display().to_string();
    let check = desk.tanda(&["check", &missing, &one]);
    assert_eq!(check.status.code(), Some(3), "{}", said(&check));
    assert!(
        out(&check).contains("1.csv  CSV"),
        "the others are read: {}",
        said(&check)
    );
    assert_eq!(desk.tanda(&["check"]).status.code(), Some(2));
    let valid = desk.write("3.csv", &mixed());
    let flags = [
        "--valid-only",
        "--expect-rows",
        "2",
        "--expect-total",
        "topup:COP:150.00",
    ];
    let check = desk.tanda(&[&["check", &valid], &flags[..]].concat());
    assert!(
        !said(&check).contains("not as expected"),
        "{}",
        said(&check)
    );
    assert_eq!(
        check.status.code(),
        Some(3),
        "it has a bad row all the same"
    );
}

#[test]
fn rows_to_fix_are_written_and_take_the_place_of_nothing_else() {
    let desk = Desk::new();
    let file = desk.write("pay.csv", &mixed());
    let fixes = desk.path("fix.csv").display().to_string();
    for _ in 0..2 {
        let check = desk.tanda(&["check", &file, "--errors-to", &fixes]);
        assert_eq!(check.status.code(), Some(3), "{}", said(&check));
    }
    let text = fs::read_to_string(&fixes).expect("rows to fix");
    assert!(
        text.starts_with("entity_id,card_id,operation,amount,currency,description,tanda_error\r\n")
    );
    assert_eq!(text.lines().count(), 2, "{text}");
    let mended = desk.write("mended.csv", &text.replace(",x,", ",7.00,"));
    let check = desk.tanda(&["check", &mended, "--expect-total", "topup:COP:7.00"]);
    assert_eq!(check.status.code(), Some(0), "{}", said(&check));

    let results = "entity_id,card_id,operation,amount,currency,tanda_status\n";
    let other = desk.write("pay.results.csv", results);
    for place in [&file, &other, "/dev/null", "/nonexistent/fix.csv"] {
        for command in [
            &["check"][..],
            &["run", "--simulate", "--yes", "--valid-only"],
        ] {
            let errors = ["--errors-to", place];
            let tried = desk.tanda(&[command, &[file.as_str()], &errors].concat());
            assert_eq!(tried.status.code(), Some(2), "{place}: {}", said(&tried));
        }
    }
    assert_eq!(fs::read_to_string(&file).expect("the file"), mixed());
    assert_eq!(fs::read_to_string(&other).expect("the file"), results);
    let same = [
        "--results",
        "r.csv",
        "--errors-to",
        "./r.csv",
        "--simulate",
        "--yes",
    ];
    let run = desk.tanda(&[&["run", &file], &same[..]].concat());
    assert_eq!(
        run.status.code(),
        Some(2),
        "one place for two files: {}",
        said(&run)
    );
}

/// Bad rows are left out, loudly; the others are paid once, also when the result file is run again,
/// with ids that a sheet would run (S6).
#[test]
fn i1_i10_good_rows_are_paid_once_and_bad_ones_are_left_out() {
    let bank = SimulatorProcess::start("");
    let desk = Desk::at(&bank.url);
    let text = mixed() + &row("E-1", 4, "9.00") + "E-5,car,topup\n" + "Total,,,150.00,COP,\n";
    let file = desk.write("pay.csv", &text);
    let consent = ["--yes", "--expect-total", "topup:COP:150.00"];
    let refused = desk.tanda(&[&["run", &file], &consent[..]].concat());
    assert_eq!(refused.status.code(), Some(3), "{}", said(&refused));
    let fixes = desk.path("fix.csv").display().to_string();
    let flags = ["--valid-only", "--expect-rows", "2", "--errors-to", &fixes];
    let mut inputs = vec![file];
    for _ in 0..2 {
        let input = inputs.last().expect("a file");
        let run = desk.tanda(&[&["run", input], &consent[..], &flags].concat());
        assert_eq!(run.status.code(), Some(6), "{}", said(&run));
        assert!(
            said(&run).contains("LEFT OUT: 3 of 5 rows are wrong"),
            "{}",
            said(&run)
        );
        assert!(said(&run).contains("3 invalid: left out"), "{}", said(&run));
        let results = PathBuf::from(input).with_extension("results.csv");
        inputs.push(results.display().to_string());
        let invalid = "invalid";
        let expected = ["succeeded", invalid, "succeeded", invalid, invalid, ""];
        assert_eq!(
            statuses(&results),
            expected,
            "every row, in order, and the sum"
        );
    }
    let first = fs::read_to_string(&inputs[1]).expect("a result file");
    assert_eq!(
        first,
        fs::read_to_string(&inputs[2]).expect("a result file"),
        "stable"
    );
    assert!(first.contains("\r\n'=E-3,"), "{first}");
    for (id, reason) in [
        ("E-2", "amount_format"),
        ("E-1,car_0000000000000000000004", "duplicate"),
    ] {
        let told = first
            .lines()
            .any(|line| line.starts_with(id) && line.contains(&format!(",invalid,{reason},")));
        assert!(told, "{id} in {first}");
    }
    assert_eq!(
        fs::read_to_string(&fixes)
            .expect("rows to fix")
            .lines()
            .count(),
        4
    );
    assert_eq!(bank.paid_once(), 2);
    assert_eq!((bank.movements("=E-3"), bank.movements("E-1")), (1, 1));
}

#[test]
fn nothing_is_sent_where_no_row_is_good_or_a_number_is_not_as_expected() {
    let desk = Desk::new();
    let bad = desk.write("bad.csv", &(HEADER.to_owned() + &row("A", 1, "x")));
    let simulated = ["--simulate", "--yes"];
    let run = desk.tanda(&[&["run", &bad, "--valid-only"], &simulated[..]].concat());
    assert_eq!(run.status.code(), Some(3), "{}", said(&run));
    let good = desk.write("good.csv", &(HEADER.to_owned() + &row("A", 1, "1.00")));
    let run = desk.tanda(&[&["run", &good, "--expect-rows", "2"], &simulated[..]].concat());
    assert_eq!(run.status.code(), Some(3), "{}", said(&run));
    assert!(
        said(&run).contains("there are 1 rows, expected were 2"),
        "{}",
        said(&run)
    );
    assert!(!desk.path("good.simulated.results.csv").exists());
}

/// F31: the ceiling holds for every row, and the sum says what it is.
#[test]
fn a_row_above_the_ceiling_of_the_settings_is_not_taken() {
    let desk = Desk::new();
    let settings = "[currency.COP]\nminor_digits = 2\nmax_amount = \"50000.00\"\n";
    let config = desk.write("tanda.toml", settings);
    let file = desk.write(
        "pay.csv",
        &(HEADER.to_owned() + &row("A", 1, "5000000.00") + &row("B", 1, "50000.00")),
    );
    let check = desk.tanda(&["check", &file, "--config", &config]);
    assert_eq!(check.status.code(), Some(3), "{}", said(&check));
    let text = out(&check);
    assert!(
        text.contains("more than COP 50000.00") && text.contains("[amount_limit]"),
        "{text}"
    );
}

#[test]
fn the_spanish_sample_is_paid_on_the_simulated_bank() {
    let desk = Desk::new();
    let results = desk.path("results.csv").display().to_string();
    let sample = project("samples/nomina-es.csv");
    let flags = ["--simulate", "--yes", "--results", &results];
    let run = desk.tanda(&[&["run", &sample], &flags[..]].concat());
    assert_eq!(run.status.code(), Some(0), "{}", said(&run));
    let text = fs::read_to_string(&results).expect("a result file");
    assert_eq!(text.matches(";succeeded;").count(), 6, "{text}");
    assert!(text.contains(";'-20 % de bonificación;"), "S6: {text}");
    let again = desk.tanda(&["check", &results, "--expect-rows", "6"]);
    assert_eq!(again.status.code(), Some(0), "{}", said(&again));
}

#[test]
fn s15_a_name_or_a_cell_with_control_characters_cannot_draw_on_the_terminal() {
    let desk = Desk::new();
    let text = "entity_id,card_id,operation,amount,currency,\"no\u{1b}[2Jtes\"\n".to_owned()
        + "\"A\u{1b}[31m\",car_0000000000000000000001,topup,1.00,COP,\n";
    let file = desk.write("a\u{1b}[2J.csv", &text);
    let check = desk.tanda(&["check", &file]);
    assert_eq!(check.status.code(), Some(3), "{}", said(&check));
    assert!(!out(&check).contains('\u{1b}'), "S15: {:?}", out(&check));
    let run = desk.tanda(&["run", &file, "--simulate", "--yes"]);
    assert!(
        !String::from_utf8_lossy(&run.stderr).contains('\u{1b}'),
        "{:?}",
        said(&run)
    );
}
