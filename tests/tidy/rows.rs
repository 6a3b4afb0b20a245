//! The rows of the page on reliability: faults F1 to F45 and controls S1 to S32.
//!
//! Each has a test whose name begins with it (`f17_…`, `f15_f16_…`), or stands here with the reason why
//! there is none. Neither may be true of one row, nor both.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

/// How many rows there are of each kind.
const ROWS: [(char, u32); 2] = [('f', 45), ('s', 32)];

const NO_CONSOLE: &str = "the console does not exist";
const NO_SHARED_LEDGER: &str = "the shared ledger in Postgres does not exist";
const NO_DROP_FOLDER: &str = "the drop folder does not exist";
const NO_RELEASE: &str = "there is no release yet: what it must have comes with it";

/// Rows without a test, each with the reason.
const WITHOUT_A_TEST: &[(&str, &str)] = &[
    ("f25", NO_SHARED_LEDGER),
    ("f26", NO_SHARED_LEDGER),
    ("f41", NO_DROP_FOLDER),
    ("f44", NO_CONSOLE),
    ("s3", "workbooks are not read: they are refused by name"),
    ("s7", NO_CONSOLE),
    ("s8", NO_CONSOLE),
    ("s9", NO_CONSOLE),
    ("s10", NO_CONSOLE),
    ("s11", NO_CONSOLE),
    ("s12", NO_CONSOLE),
    ("s13", NO_CONSOLE),
    ("s14", NO_DROP_FOLDER),
    ("s30", NO_RELEASE),
    ("s32", NO_RELEASE),
];

#[test]
fn every_row_has_a_test_or_a_reason() {
    let tree = super::read_tree(Path::new(env!("CARGO_MANIFEST_DIR")));
    let faults = faults(&super::test_names(&tree), WITHOUT_A_TEST);
    assert!(faults.is_empty(), "\n- {}\n", faults.join("\n- "));
    let mut list = String::new();
    for (row, reason) in WITHOUT_A_TEST {
        writeln!(list, "{}: {reason}", row.to_uppercase()).expect("a String takes every text");
    }
    eprintln!("rows without a test:\n{list}");
}

fn faults(tests: &BTreeSet<String>, without: &[(&str, &str)]) -> Vec<String> {
    let tested: BTreeSet<&str> = tests.iter().flat_map(|name| rows_of(name)).collect();
    let mut faults = Vec::new();
    let mut known = BTreeSet::new();
    for (kind, count) in ROWS {
        for number in 1..=count {
            let row = format!("{kind}{number}");
            let reasons = without.iter().filter(|(named, _)| *named == row).count();
            let row_in_words = row.to_uppercase();
            match (tested.contains(row.as_str()), reasons) {
                (true, 0) | (false, 1) => {}
                (true, _) => faults.push(format!(
                    "{row_in_words} has a test and stands among the rows without one in \
                     tests/tidy/rows.rs: take it out there"
                )),
                (false, _) => faults.push(format!(
                    "{row_in_words} has no test whose name begins with {row}_: write it, or say \
                     in tests/tidy/rows.rs, once, why there is none"
                )),
            }
            known.insert(row);
        }
    }
    let named = without.iter().map(|(row, _)| *row).chain(tested);
    let unknown = named.filter(|row| !known.contains(*row));
    faults.extend(unknown.map(|row| format!("{} is no row of the page", row.to_uppercase())));
    faults
}

/// The rows at the beginning of a test's name; a test may be of several, and of invariants too.
fn rows_of(name: &str) -> impl Iterator<Item = &str> {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    name.split('_')
        .take_while(move |part| part.strip_prefix(['f', 's', 'i']).is_some_and(is_number))
        .filter(|part| !part.starts_with('i'))
}

#[test]
fn a_row_without_test_and_reason_is_found() {
    let all: Vec<String> = ROWS
        .iter()
        .flat_map(|(kind, count)| (1..=*count).map(move |number| format!("{kind}{number}_x")))
        .collect();
    let tests = |left_out: &str, more: &[&str]| -> BTreeSet<String> {
        let more = more.iter().map(|name| (*name).to_owned());
        let rest = all.iter().filter(|name| *name != left_out).cloned();
        rest.chain(more).collect()
    };
    let none: &[(&str, &str)] = &[];
    assert_eq!(faults(&tests("", &[]), none), [""; 0]);
    assert_eq!(faults(&tests("f7_x", &[]), none).len(), 1);
    assert_eq!(faults(&tests("f7_x", &["i1_f7_x"]), none), [""; 0]);
    assert_eq!(faults(&tests("f7_x", &["f6_f7_x"]), none), [""; 0]);
    assert_eq!(faults(&tests("f7_x", &["other_f7_x"]), none).len(), 1);
    assert_eq!(faults(&tests("f7_x", &["f70_x"]), none).len(), 2);
    assert_eq!(faults(&tests("f7_x", &[]), &[("f7", "why")]), [""; 0]);
    assert_eq!(faults(&tests("", &[]), &[("f7", "why")]).len(), 1, "both");
    assert_eq!(faults(&tests("", &[]), &[("f99", "why")]).len(), 1);
    let twice = [("f7", "why"), ("f7", "why")];
    assert_eq!(faults(&tests("f7_x", &[]), &twice).len(), 1);
}

/// One TLS stack and no unsafe code of ours, whatever a crate's features would bring.
#[test]
fn s31_there_is_one_tls_stack_and_no_unsafe_code_of_ours() {
    let read = |file: &str| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
        std::fs::read_to_string(path).expect("a file of the project")
    };
    assert!(read("Cargo.toml").contains("\nunsafe_code = \"forbid\"\n"));
    let locked = read("Cargo.lock");
    let has = |name: &str| locked.contains(&format!("\nname = \"{name}\"\n"));
    assert!(has("rustls"));
    for other in [
        "openssl",
        "openssl-sys",
        "native-tls",
        "boring",
        "s2n-tls",
        "wolfssl",
    ] {
        assert!(!has(other), "{other}: rustls is the one TLS stack");
    }
}
