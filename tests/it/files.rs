//! Files as people write them: read in one way or refused by name, and given back with results.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use proptest::prelude::*;
use tanda::domain::job::Operation;
use tanda::domain::key::EventId;
use tanda::domain::money::{Currencies, Currency};
use tanda::domain::outcome::Status;
use tanda::domain::time::Timestamp;
use tanda::engine::ports::{Back, Clock, Delivery, Offer, Origin, Source as _, StoredOutcome};
use tanda::files::{
    Checked, Decimal, DecimalReading, Delimiter, FileSource, FilesError, FixWriter, OriginalRows,
    ReadingRules, ResultWriter, RowContent, RowResult, Spool, check,
};
use tanda::wire::envelope::Envelope;

use crate::support::payroll::HEADER;

const CARD: &str = "car_5tgliBmzjZ6mpQPRbQjfKj";

struct Desk {
    folder: tempfile::TempDir,
}

impl Desk {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, bytes).expect("a written file");
        path
    }

    fn take(&self, path: &Path) -> Result<Spool, FilesError> {
        Spool::take(path, self.folder.path(), ReadingRules::default().max_bytes)
    }

    fn spool(&self, bytes: &[u8]) -> Result<Spool, FilesError> {
        self.take(&self.write("f.csv", bytes))
    }

    fn check(&self, bytes: &[u8]) -> Result<Checked, FilesError> {
        check(&self.spool(bytes)?, &ReadingRules::default())
    }
}

fn refused(result: Result<Checked, FilesError>) -> (&'static str, Option<u64>) {
    let error = result.expect_err("a refusal");
    let refusal = error.refusal().expect("the file is at fault").clone();
    assert!(!refusal.remedy.is_empty(), "{refusal}");
    (refusal.code, refusal.line)
}

fn row(id: &str, amount: &str) -> String {
    format!("{id},{CARD},topup,{amount},COP,Nómina\n")
}

fn file(rows: &str) -> Vec<u8> {
    format!("{HEADER}{rows}").into_bytes()
}

fn errors(checked: &Checked) -> Vec<(u64, &'static str, &'static str)> {
    checked
        .errors
        .iter()
        .map(|error| (error.line, error.field, error.code))
        .collect()
}

fn sample(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("samples")
        .join(name)
}

fn cop() -> Currency {
    Currency::parse("COP").expect("a code")
}

/// Whole files that are not tables of jobs: each is refused by name, at its line.
#[test]
#[expect(clippy::too_many_lines, reason = "a table of cases")]
fn a_file_that_is_not_plain_csv_is_refused_by_name() {
    let utf16: Vec<u8> = "\u{feff}entity_id\n"
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect();
    let utf16_without_bom: Vec<u8> = HEADER.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let mut ods = b"PK\x03\x04\x14\0\0\x08\0\0".to_vec();
    ods.extend(b"mimetypeapplication/vnd.oasis.opendocument.spreadsheet");
    let good = row("A", "1.00");
    let wide = HEADER.trim_end().to_owned() + &",x".repeat(251) + "\n";
    let long_row = format!("A,{CARD},topup,1.00,COP,{}\n", "x".repeat(1_100_000));
    let swallowed = format!("A,{CARD},topup,1.00,COP,\"x\n{}", good.repeat(30_000));
    let cases: Vec<(&str, Vec<u8>, Option<u64>)> = vec![
        ("empty", b"".to_vec(), None),
        ("empty", b"\n\r\n  \n;;;\n,,\n".to_vec(), None),
        ("empty", b"\xEF\xBB\xBF".to_vec(), None),
        ("no_rows", HEADER.into(), Some(1)),
        ("no_rows", file("\n,,,,,\n"), Some(1)),
        ("utf16", utf16, None),
        ("nul_byte", utf16_without_bom, Some(1)),
        ("utf32", b"\0\0\xFE\xFF\0\0\0e".to_vec(), None),
        (
            "xlsx",
            b"PK\x03\x04\x14\0\x06\0[Content_Types].xml".to_vec(),
            None,
        ),
        ("ods", ods, None),
        ("xls", b"\xD0\xCF\x11\xE0\xA1\xB1\x1A\xE1".to_vec(), None),
        ("pdf", b"%PDF-1.7\n".to_vec(), None),
        ("markup", b"\n<html><table><tr><td>entity_id".to_vec(), None),
        ("json", b"[{\"entity_id\":\"A\"}]".to_vec(), None),
        (
            "sep_line",
            [b"sep=;\n", HEADER.as_bytes()].concat(),
            Some(1),
        ),
        (
            "sep_line",
            [b"\nSEP=,,\n", HEADER.as_bytes()].concat(),
            Some(2),
        ),
        ("empty", b"sep=,\n\n".to_vec(), None),
        ("pipe_delimiter", HEADER.replace(',', "|").into(), Some(1)),
        ("no_header", good.clone().into(), Some(1)),
        ("no_header", b"Nomina de noviembre\n".to_vec(), Some(1)),
        (
            "not_utf8",
            b"entity_id,card_id,operaci\xF3n\n".to_vec(),
            None,
        ),
        (
            "not_utf8",
            [&file(&good), &b"B,N\xF3mina\n"[..]].concat(),
            Some(3),
        ),
        (
            "not_utf8",
            file(&good).into_iter().chain(*b"B,\xC3\n").collect(),
            Some(3),
        ),
        ("nul_byte", [&file(&good), &b"B\0\n"[..]].concat(), Some(3)),
        (
            "unclosed_quote",
            file(&format!("{good}B,\"x,\n{good}")),
            Some(3),
        ),
        ("unclosed_quote", b"\"entity_id,card_id\n".to_vec(), Some(1)),
        ("unclosed_quote", file(&swallowed), Some(2)),
        ("row_too_long", file(&long_row), Some(2)),
        ("too_many_columns", wide.into(), Some(1)),
        (
            "missing_column",
            HEADER.replace("amount", "montos").into(),
            Some(1),
        ),
        (
            "missing_column",
            HEADER.replace("card_id", "tarjetas").into(),
            Some(1),
        ),
        (
            "missing_column",
            HEADER.replace(",currency", "").into(),
            Some(1),
        ),
        (
            "missing_column",
            HEADER.replace("entity_id", "id").into(),
            Some(1),
        ),
        (
            "missing_column",
            HEADER.replace("operation", "op").into(),
            Some(1),
        ),
        (
            "duplicate_column",
            HEADER.replace("description", "Card ID").into(),
            Some(1),
        ),
        (
            "duplicate_column",
            HEADER.replace("description", "AMOUNT").into(),
            Some(1),
        ),
        (
            "duplicate_column",
            HEADER.replace("description", "Válor").into(),
            Some(1),
        ),
        (
            "ambiguous_delimiter",
            b"entity_id,card_id,x;currency;amount\n".to_vec(),
            Some(1),
        ),
    ];
    let desk = Desk::new();
    for (code, bytes, line) in cases {
        let start = String::from_utf8_lossy(&bytes[..bytes.len().min(60)]).into_owned();
        let (found, at) = refused(desk.check(&bytes));
        assert_eq!(found, code, "{start:?}");
        if code != "not_utf8" || line.is_some() {
            assert_eq!(at, line, "{start:?}");
        }
    }
}

/// Rows that are wrong by themselves: each is told with its line, field and code.
#[test]
#[expect(clippy::too_many_lines, reason = "a table of cases")]
fn a_wrong_row_is_told_by_line_field_and_code() {
    let long = "x".repeat(5_000);
    let cases: Vec<(String, &str, &str)> = vec![
        (row("A", "50000.000"), "amount", "amount_format"),
        (row("A", "50.00.0"), "amount", "amount_format"),
        (row("A", "\"1.234,567\""), "amount", "amount_format"),
        (row("A", "1'234.50"), "amount", "amount_grouping"),
        (row("A", "USD 5"), "amount", "amount_currency"),
        (row("A", "0x10"), "amount", "amount_format"),
        (row("A", "+5"), "amount", "amount_format"),
        (row("A", "-5"), "amount", "amount_format"),
        (row("A", "1e3"), "amount", "amount_format"),
        (row("A", "１２"), "amount", "amount_format"),
        (row("A", "$$5"), "amount", "amount_format"),
        (row("A", "5 000"), "amount", "amount_format"),
        (row("A", "\t5"), "amount", "amount_format"),
        (row("A", ""), "amount", "amount_missing"),
        (row("A", "0.00"), "amount", "amount_range"),
        (row("A", "99999999999999999999"), "amount", "amount_range"),
        (row("A", "1,234.50"), "row", "cell_count"),
        (row("A", "1.00,"), "row", "cell_count"),
        ("A,B\n".to_owned(), "row", "cell_count"),
        (row("", "1.00"), "entity_id", "entity_id_missing"),
        (row("\"A\nB\"", "1.00"), "entity_id", "entity_id_control"),
        (row("\"A\n\"", "1.00"), "entity_id", "entity_id_space"),
        (row("no\u{301}mina", "1.00"), "entity_id", "entity_id_form"),
        (row("A\u{200b}", "1.00"), "entity_id", "entity_id_invisible"),
        (
            row("\"1,23457E+19\"", "1.00"),
            "entity_id",
            "entity_id_scientific",
        ),
        (
            row("A", "1.00").replace(CARD, "4111111111111111"),
            "card_id",
            "card_number",
        ),
        (
            row("A", "1.00").replace("Nómina", "a 4111 1111 1111 1111"),
            "description",
            "card_number",
        ),
        (
            row(&"a".repeat(256), "1.00"),
            "entity_id",
            "entity_id_length",
        ),
        (row("\"A\"x", "1.00"), "row", "text_after_quote"),
        (row("\"A\" ", "1.00"), "row", "text_after_quote"),
        (row("A\"x\"", "1.00"), "row", "stray_quote"),
        (row("A\\\"", "1.00"), "row", "stray_quote"),
        (row(&long, "1.00"), "row", "cell_length"),
        (
            row("A", "1.00").replace("COP", "cop"),
            "currency",
            "currency",
        ),
        (
            row("A", "1.00").replace("COP", "USD"),
            "currency",
            "currency",
        ),
        (
            row("A", "1.00").replace("topup", "abono"),
            "operation",
            "operation",
        ),
        (row("A", "1.00").replace("Kj,", "K,"), "card_id", "card_id"),
        (row("A", "1.00").replace("Kj,", "K/,"), "card_id", "card_id"),
        (
            row("A", "1.00").replace("Nómina", &"x".repeat(256)),
            "description",
            "description",
        ),
        (
            row("A", "1.00").replace("Nómina", &format!("\"x\n{}y\"", row("B", "2.00"))),
            "row",
            "swallowed_rows",
        ),
    ];
    let desk = Desk::new();
    for (text, field, code) in cases {
        let checked = desk.check(&file(&text)).expect("a table");
        assert_eq!(errors(&checked), [(2, field, code)], "{text:?}");
        assert_eq!((checked.ok, checked.bad_rows()), (0, 1), "{text:?}");
        assert!(checked.totals.is_empty() && checked.first_job.is_none());
        assert!(!checked.errors[0].value.contains("5tgliBmzjZ6"), "{text:?}");
        assert!(!format!("{checked:?}").contains("1111"), "{text:?}");
    }
}

#[test]
fn every_error_of_a_row_is_told_at_once() {
    let text = format!("A,{CARD}x,pay,50.00.0,COP,\"a\tb\"\nB,car,topup,1,USD,\n");
    let checked = Desk::new().check(&file(&text)).expect("a table");
    let expected = [
        (2, "card_id", "card_id"),
        (2, "operation", "operation"),
        (2, "amount", "amount_format"),
        (2, "description", "description"),
        (3, "card_id", "card_id"),
        (3, "currency", "currency"),
    ];
    assert_eq!(errors(&checked), expected);
    assert_eq!((checked.bad_rows(), checked.errors_total), (2, 6));
}

#[test]
fn comma_semicolon_and_tab_are_told_by_the_header_alone() {
    let desk = Desk::new();
    for (delimiter, sign) in [
        (Delimiter::Comma, ","),
        (Delimiter::Semicolon, ";"),
        (Delimiter::Tab, "\t"),
    ] {
        // The descriptions are full of the other delimiters, which must not count.
        let others = ",;\t".replace(sign, "").replace('\t', " ").repeat(20);
        let text = format!("{HEADER}{}", row("A", "1.00"))
            .replace(',', sign)
            .replace("Nómina", &others)
            .replace('\n', "\r\n");
        let bytes = [b"\xEF\xBB\xBF", text.as_bytes()].concat();
        let checked = desk.check(&bytes).expect("a table");
        assert_eq!(
            (checked.delimiter, checked.ok),
            (delimiter, 1),
            "{:?}",
            checked.errors
        );
    }
}

#[test]
fn lines_are_physical_and_blank_rows_are_counted() {
    let text = format!(
        "\n , \n{HEADER}\n{}\"B\",{CARD},topup,2.00,COP,\"two\nlines\"\n,,,,,\n\n{}  \n{}",
        row("A", "1.00"),
        row("C", "x"),
        row("A", "3.00"),
    );
    let checked = Desk::new().check(text.as_bytes()).expect("a table");
    let expected = [
        (6, "description", "description"),
        (10, "amount", "amount_format"),
        (12, "entity_id", "duplicate"),
    ];
    assert_eq!(checked.header_line, 3);
    assert_eq!(errors(&checked), expected);
    assert!(
        checked.errors[2].message.contains("line 5"),
        "{:?}",
        checked.errors
    );
    assert_eq!((checked.rows, checked.ok, checked.blank), (4, 1, 6));
    assert_eq!(checked.totals.get(cop(), Operation::Topup).minor, 100);
}

/// A row after another number of lines of each kind: LF, CR LF and CR all end lines, also mixed.
#[test]
fn lines_are_counted_however_they_end() {
    let rows = [
        row("A", "1.00"),
        row("B", "x"),
        row("\"C\nC\"", "1.00"),
        "\n".to_owned(),
        row("D", "y"),
    ]
    .concat();
    let desk = Desk::new();
    let plain = file(&rows);
    let endings = [&b"\n"[..], b"\r\n", b"\r"];
    let mixed: Vec<u8> = plain
        .split_inclusive(|byte| *byte == b'\n')
        .enumerate()
        .flat_map(|(index, line)| [&line[..line.len() - 1], endings[index % 3]].concat())
        .collect();
    let with = |ending: &str| {
        String::from_utf8_lossy(&plain)
            .replace('\n', ending)
            .into_bytes()
    };
    for bytes in [with("\n"), with("\r\n"), with("\r"), mixed] {
        let checked = desk.check(&bytes).expect("a table");
        let expected = [
            (3, "amount", "amount_format"),
            (4, "entity_id", "entity_id_control"),
            (7, "amount", "amount_format"),
        ];
        assert_eq!(
            errors(&checked),
            expected,
            "{:?}",
            String::from_utf8_lossy(&bytes)
        );
        assert_eq!((checked.rows, checked.ok, checked.blank), (4, 1, 1));
    }
}

#[test]
fn a_sep_line_is_honoured_where_it_agrees_with_the_header() {
    let desk = Desk::new();
    for sign in [",", ";", "\t"] {
        for (line, agrees) in [
            (format!("sep={sign}"), true),
            (format!("SEP={sign}"), true),
            (format!("\"sep={sign}\""), true),
            ("sep=|".to_owned(), false),
            ("sep=".to_owned(), false),
        ] {
            let text = format!("{line}\r\n{HEADER}{}", row("A", "1.00")).replace(',', sign);
            let line = line.replace(',', sign);
            let checked = desk.check(text.as_bytes());
            if agrees {
                let checked = checked.expect(&line);
                assert!(
                    checked.is_clean() && checked.oddities.has_sep_line,
                    "{line}"
                );
                assert_eq!((checked.header_line, checked.skipped()), (2, 0));
            } else {
                assert_eq!(refused(checked), ("sep_line", Some(1)), "{line}");
            }
        }
    }
}

#[test]
fn operations_and_marks_are_taken_as_people_write_them() {
    let text = [
        row("A", "$ 1.00"),
        row("B", "2.00 COP").replace("topup", "RECARGA"),
        row("C", "3.00").replace("topup", "Retíro"),
    ]
    .concat();
    let checked = Desk::new().check(&file(&text)).expect("a table");
    assert_eq!(checked.errors, []);
    assert_eq!(checked.totals.get(cop(), Operation::Topup).minor, 300);
    assert_eq!(checked.totals.get(cop(), Operation::Withdrawal).minor, 300);
}

/// S4: which amounts a file, a choice, or nothing settles.
#[test]
fn s4_amounts_of_two_readings_are_settled_by_the_file_or_by_a_person_or_refuse_it() {
    use Decimal::{Comma, Dot};
    let desk = Desk::new();
    let read = |amounts: &[&str], decimal: Option<Decimal>| {
        let rows: String = amounts
            .iter()
            .enumerate()
            .map(|(n, amount)| row(&format!("R{n}"), amount).replace(',', ";"))
            .collect();
        let text = HEADER.replace(',', ";") + &rows.replace('~', ",");
        let rules = ReadingRules {
            decimal,
            ..ReadingRules::default()
        };
        check(&desk.spool(text.as_bytes()).expect("a file"), &rules)
    };
    let minor = |checked: &Checked| checked.totals.get(cop(), Operation::Topup).minor;
    for (amounts, chosen, expected) in [
        (&["50000"][..], None, 5_000_000),
        (&["50.000", "1~5"], None, 5_000_150),
        (&["1~5", "50.000"], None, 5_000_150),
        (&["50~000", "1.50"], None, 5_000_150),
        (&["50.000", "1.234.567"], None, 128_456_700),
        (&["50.000"], Some(Comma), 5_000_000),
        (&["50~000"], Some(Dot), 5_000_000),
        (&["50000"], Some(Dot), 5_000_000),
        (&["50.000", "1~5"], Some(Comma), 5_000_150),
    ] {
        let checked = read(amounts, chosen).expect("a table");
        assert_eq!(checked.errors, [], "{amounts:?}");
        assert_eq!(minor(&checked), expected, "{amounts:?}");
    }
    for (amounts, chosen, code, line) in [
        (&["50.000"][..], None, "ambiguous_decimal", 2),
        (&["70000", "50~000"], None, "ambiguous_decimal", 3),
        (&["50.000", "50~000"], None, "ambiguous_decimal", 2),
        (&["1~5", "50.000", "1.5"], None, "two_notations", 4),
        (&["1.234.567", "1~234~567"], None, "two_notations", 3),
        (&["50.000", "1.5"], Some(Comma), "other_decimal", 3),
    ] {
        assert_eq!(
            refused(read(amounts, chosen)),
            (code, Some(line)),
            "{amounts:?}"
        );
    }
    // Three digits after the decimal sign are never read as decimals, nor as thousands.
    for (amounts, chosen) in [
        (&["1.50", "50.000"][..], None),
        (&["7", "50.000"], Some(Dot)),
    ] {
        let checked = read(amounts, chosen).expect("a table");
        assert_eq!(
            errors(&checked),
            [(3, "amount", "amount_grouping")],
            "{amounts:?}"
        );
    }
    let refusal = read(&["9", "50.000", "60.000"], None).expect_err("two readings");
    let text = refusal.to_string();
    assert!(text.contains("2 amounts like \"50.000\""), "{text}");
    assert!(
        text.contains("--decimal comma (50.000 is 50000.00)"),
        "{text}"
    );
}

/// The row below the others, with its own sum.
#[test]
fn a_last_row_of_totals_is_compared_and_never_paid() {
    let desk = Desk::new();
    let both = [
        row("A", "100.00"),
        row("B", "50.00").replace("topup", "retiro"),
    ]
    .concat();
    for (last, agreed) in [
        ("Total,,,150.00,COP,\n", true),
        ("TOTALES:,,,150,,\n\n,,,,,\n", true),
        (",,,150.00,,Suma\n", true),
        (",,retiro,50.00,,Total\n", true),
        (",,recarga,100.00,COP,Total\n", true),
        (",,Total,$150.00,COP,\n", true),
        (",,,,,\n", false),
    ] {
        let checked = desk.check(&file(&format!("{both}{last}"))).expect(last);
        assert_eq!(checked.errors, [], "{last}");
        assert_eq!((checked.rows, checked.ok), (2, 2), "{last}");
        assert_eq!(
            checked.totals_row.map(|sum| sum.agreed),
            agreed.then_some(true),
            "{last}"
        );
        assert_eq!(checked.totals.count(), 2);
    }
    for last in [
        "Total,,,150.01,COP,\n",
        "Total,,,50.00,COP,\n",
        "Total,,retiro,150.00,COP,\n",
        "Total,,abono,150.00,COP,\n",
        "Total,,,150.00,USD,\n",
        "Total,,,-150.00,COP,\n",
        "Total,,,0.00,COP,\n",
    ] {
        let (code, line) = refused(desk.check(&file(&format!("{both}{last}"))));
        assert_eq!((code, line), ("totals_row", Some(4)), "{last}");
    }
    let told = desk.check(&file(&format!("{both}Total,,,150.01,COP,\n")));
    let told = told.expect_err("another sum").to_string();
    assert!(
        told.contains("COP 150.01") && told.contains("COP 150.00"),
        "{told}"
    );
    assert!(
        told.contains("topup COP 100.00, withdrawal COP 50.00"),
        "{told}"
    );
}

#[test]
fn what_is_not_the_last_row_or_has_a_card_or_an_id_is_no_total() {
    let desk = Desk::new();
    let good = row("A", "100.00");
    for (text, expected) in [
        (
            format!("{good}Total,,,100.00,COP,\n{}", row("B", "1.00")),
            vec![(3, "card_id", "card_id"), (3, "operation", "operation")],
        ),
        (
            format!("{good}EMP-2,,topup,100.00,COP,Total\n"),
            vec![(3, "card_id", "card_id")],
        ),
        (format!("{good}Total,{CARD},topup,100.00,COP,\n"), vec![]),
        (
            format!("{good}Total,,,100.00\n"),
            vec![(3, "row", "cell_count")],
        ),
    ] {
        let checked = desk.check(&file(&text)).expect("a table");
        assert_eq!(errors(&checked), expected, "{text}");
        assert_eq!(checked.totals_row, None, "{text}");
    }
    // Where rows are wrong their sum is not known, so nothing is compared and all is told.
    let text = format!("{good}{}Total,,,5.00,COP,\n", row("B", "x"));
    let checked = desk.check(&file(&text)).expect("a table");
    assert_eq!(errors(&checked), [(3, "amount", "amount_format")]);
    assert_eq!(checked.totals_row.map(|sum| sum.agreed), Some(false));
}

#[test]
fn a_sum_of_several_currencies_must_name_one() {
    let desk = Desk::new();
    let usd = Currency::parse("USD").expect("a code");
    let rules = ReadingRules {
        currencies: Currencies::new([(cop(), 2), (usd, 2)]),
        ..ReadingRules::default()
    };
    let rows = row("A", "100.00") + &row("B", "100.00").replace("COP", "USD");
    for (last, is_good) in [
        ("Total,,,100.00,COP,\n", true),
        ("Total,,,100.00,USD,\n", true),
        ("Total,,,100.00,,\n", false),
        ("Total,,,200.00,,\n", false),
    ] {
        let spool = desk.spool(&file(&format!("{rows}{last}"))).expect("a file");
        let checked = check(&spool, &rules);
        assert_eq!(checked.is_ok(), is_good, "{last}: {checked:?}");
    }
}

#[test]
fn ids_that_a_sheet_has_spoilt_are_refused_with_those_that_became_the_same() {
    let text = [
        row("1.23E+15", "1.00"),
        row("B", "1.00"),
        row("1.23E+15", "2.00"),
    ]
    .concat();
    let checked = Desk::new().check(&file(&text)).expect("a table");
    let expected = [
        (2, "entity_id", "entity_id_scientific"),
        (4, "entity_id", "duplicate"),
        (4, "entity_id", "entity_id_scientific"),
    ];
    assert_eq!(errors(&checked), expected);
    assert!(
        checked.errors[1].message.contains("line 2"),
        "{:?}",
        checked.errors
    );
    let numbers = [
        row("4111111111111111", "1.00"),
        row("378282246310005", "1.00"),
    ]
    .concat();
    let checked = Desk::new().check(&file(&numbers)).expect("a table");
    assert!(checked.is_clean(), "S27: only a notice");
    assert_eq!(checked.oddities.ids_like_card_numbers, Some((2, 2)));
}

/// F31: an amount a hundred times too large is told by what stands in the file.
#[test]
fn an_amount_above_the_ceiling_is_a_row_error() {
    let desk = Desk::new();
    let rules = ReadingRules {
        currencies: Currencies::default().with_ceiling(cop(), 5_000_000),
        ..ReadingRules::default()
    };
    let text = row("A", "50000.00") + &row("B", "50000.01");
    let spool = desk.spool(&file(&text)).expect("a file");
    let checked = check(&spool, &rules).expect("a table");
    assert_eq!(errors(&checked), [(3, "amount", "amount_limit")]);
    assert_eq!(checked.errors[0].value, "50000.01");
    assert!(
        checked.errors[0].message.contains("COP 50000.00"),
        "{:?}",
        checked.errors
    );
}

/// A file with every fault that its cells alone do not show once they are written anew.
fn broken_rows() -> String {
    let swallowed = row("S", "1.00").replace("Nómina", &format!("\"x\n{}y\"", row("T", "2.00")));
    [
        row("A", "1.00"),
        row("B", "1,234.50"),
        format!("C,{CARD},topup,1.00,COP\n"),
        row("D\"x\"", "1.00"),
        row("E", "1.00").replace("Nómina", "\"x\"y"),
        swallowed,
        row("A", "2.00"),
        row("F", "3.00"),
    ]
    .concat()
}

/// A result file, and a file of rows to fix, is well-formed whatever it was made of. What could not
/// be trusted before must not be paid because it was written anew.
#[test]
fn i1_writing_a_broken_row_anew_does_not_make_it_good() {
    let desk = Desk::new();
    let cut = "entity_id,card_id,operation,currency,description,amount\n".to_owned()
        + &format!("A,{CARD},topup,COP,,1.00\nB,{CARD},topup,COP,,4000");
    let short_sum = file(&format!("{}Total,,,1.00\n", row("A", "1.00")));
    for text in [file(&broken_rows()), cut.into_bytes(), short_sum] {
        let spool = desk.spool(&text).expect("a file");
        let before = check(&spool, &ReadingRules::default()).expect("a table");
        let codes = |checked: &Checked| -> Vec<&str> {
            checked.errors.iter().map(|error| error.code).collect()
        };
        let results = results_of(&desk, &spool, &RowResult::default());
        let again = desk.spool(&results).expect("a file");
        let after = check(&again, &ReadingRules::default()).expect("a table");
        assert_eq!(codes(&after), codes(&before));
        assert_eq!(after.totals, before.totals);
        assert_eq!(
            results_of(&desk, &again, &RowResult::default()),
            results,
            "stable"
        );
        let fixes = fixes_of(&desk, &spool);
        let again = desk.spool(&fixes).expect("a file");
        let after = check(&again, &ReadingRules::default()).expect("a table");
        let without_repeats = |codes: Vec<&'static str>| -> Vec<&str> {
            codes
                .into_iter()
                .filter(|code| *code != "duplicate")
                .collect()
        };
        assert_eq!(codes(&after), without_repeats(codes(&before)));
        // A person who has looked at the cells empties the last one, and the row counts.
        let text = String::from_utf8(fixes).expect("UTF-8");
        assert!(
            text.starts_with("entity_id,") && text.contains(",tanda_error"),
            "{text}"
        );
    }
}

/// Writes the rows to fix of a file and returns the bytes.
fn fixes_of(desk: &Desk, spool: &Spool) -> Vec<u8> {
    let rules = ReadingRules::default();
    let checked = check(spool, &rules).expect("a table");
    let mut rows = OriginalRows::open(spool, &checked, &rules).expect("rows");
    let path = desk.path("fixes.csv");
    let mut writer = FixWriter::create(&path, rows.layout()).expect("a writer");
    for row in rows.next_chunk(1_000).expect("rows") {
        writer.row(&row).expect("a written row");
    }
    writer.finish().expect("a whole file");
    let bytes = fs::read(&path).expect("the file");
    fs::remove_file(&path).expect("removed");
    bytes
}

#[test]
fn rows_to_fix_can_be_mended_in_their_own_file() {
    let desk = Desk::new();
    let text = format!(
        "sep=;\r\nReferencia;Tarjeta;Operación;Monto;Moneda\r\nA;{CARD};recarga;1,5;COP\r\n\
         =B;{CARD};recarga;x;COP\r\nC;{CARD};recarga;1;2;COP\r\nTotal;;;5,00;\r\n"
    );
    let bytes = [b"\xEF\xBB\xBF", text.as_bytes()].concat();
    let spool = desk.spool(&bytes).expect("a file");
    let fixes = String::from_utf8(fixes_of(&desk, &spool)).expect("UTF-8");
    let lines: Vec<&str> = fixes.split_terminator("\r\n").collect();
    assert_eq!(lines[0], "\u{feff}sep=;");
    assert_eq!(
        lines[1],
        "Referencia;Tarjeta;Operación;Monto;Moneda;tanda_error"
    );
    assert!(
        lines[2].starts_with(&format!("'=B;{CARD};recarga;x;COP;")),
        "{fixes}"
    );
    assert!(
        lines[3].contains("cell_count") && lines[3].ends_with(";COP"),
        "{fixes}"
    );
    assert_eq!(lines.len(), 4, "only bad rows: {fixes}");
    let mended = fixes
        .replace(";x;", ";7,00;")
        .replace(lines[3], &format!("C;{CARD};recarga;1,2;COP;"));
    let spool = desk.spool(mended.as_bytes()).expect("a file");
    let checked = check(&spool, &ReadingRules::default()).expect("a table");
    assert_eq!(checked.errors, []);
    assert_eq!(checked.totals.get(cop(), Operation::Topup).minor, 820);
    assert_eq!(checked.oddities.unknown_columns, [""; 0]);
}

/// The rows that are left out are never offered, and the others in their order.
#[tokio::test]
async fn the_good_rows_of_a_file_are_offered_without_the_bad_ones() {
    let desk = Desk::new();
    let text = broken_rows() + "Total,,,5.00,COP,\n";
    let spool = desk.spool(&file(&text)).expect("a file");
    let rules = ReadingRules::default();
    let checked = check(&spool, &rules).expect("a table");
    assert_eq!((checked.rows, checked.ok, checked.bad_rows()), (8, 2, 6));
    let mut source =
        FileSource::of_valid_rows(&spool, &checked, &rules, Arc::new(Midnight)).expect("rows");
    let offered: Vec<_> = source
        .next(500)
        .await
        .map(jobs_of)
        .expect("rows")
        .into_iter()
        .map(|delivery| {
            (
                delivery.job.entity_id.to_string(),
                delivery.job.amount.minor(),
            )
        })
        .collect();
    assert_eq!(offered, [("A".to_owned(), 100), ("F".to_owned(), 300)]);
    assert!(matches!(source.next(500).await, Ok(Offer::Dry)));
}

#[test]
fn an_entity_id_that_is_there_twice_is_told_also_where_its_row_is_wrong() {
    let text = [
        row("A", "x"),
        row("A", "1.00"),
        row(" A ", "y"),
        row("a", "2.00"),
    ]
    .concat();
    let checked = Desk::new().check(&file(&text)).expect("a table");
    let expected = [
        (2, "amount", "amount_format"),
        (3, "entity_id", "duplicate"),
        (4, "entity_id", "duplicate"),
        (4, "amount", "amount_format"),
    ];
    assert_eq!(errors(&checked), expected);
    assert_eq!((checked.ok, checked.bad_rows()), (1, 3));
}

/// F42: a stray quote joins two rows into one that is good CSV with the right number of cells, the
/// id of the first row and the card of the second.
#[test]
fn f42_i1_rows_joined_by_a_stray_quote_are_not_believed() {
    let text = format!(
        "entity_id,notes,card_id,operation,amount,currency\n\
         A,\"x,{CARD},topup,1.00,COP\nB,y\",{CARD},topup,2.00,COP\n\
         C,\"two\nlines, no more\",{CARD},topup,3.00,COP\n"
    );
    let checked = Desk::new().check(text.as_bytes()).expect("a table");
    assert_eq!(errors(&checked), [(2, "row", "swallowed_rows")]);
    assert_eq!((checked.rows, checked.ok), (2, 1));
}

#[test]
fn both_amount_columns_must_agree_on_each_row() {
    let header = "entity_id,card_id,operation,amount,amount_minor,currency\n";
    let rows = format!(
        "A,{CARD},topup,50.00,5000,COP\nC,{CARD},topup,,5000,COP\nD,{CARD},topup,50,50.00,COP\n"
    );
    let desk = Desk::new();
    let checked = desk
        .check(format!("{header}{rows}").as_bytes())
        .expect("a table");
    let expected = [
        (3, "amount", "amount_missing"),
        (4, "amount_minor", "amount_format"),
    ];
    assert_eq!(errors(&checked), expected);
    let differs = format!("{header}{rows}B,{CARD},topup,50,50,COP\n");
    assert_eq!(
        refused(desk.check(differs.as_bytes())),
        ("amount_disagrees", Some(5))
    );
    let minor =
        format!("entity_id,card_id,operation,Amount Minor,currency\nA,{CARD},topup,5000,COP\n");
    let checked = desk.check(minor.as_bytes()).expect("a table");
    assert_eq!(checked.totals.get(cop(), Operation::Topup).minor, 5_000);
}

#[test]
fn i11_errors_and_rows_are_bounded() {
    let desk = Desk::new();
    let bad: String = (0..1_500).map(|n| row(&format!("R{n}"), "x")).collect();
    let checked = desk.check(&file(&bad)).expect("a table");
    assert_eq!((checked.errors.len(), checked.errors_total), (1_000, 1_500));
    assert_eq!(checked.errors.last().map(|error| error.line), Some(1_001));

    let rules = ReadingRules {
        max_rows: 3,
        ..ReadingRules::default()
    };
    let four: String = (0..4).map(|n| row(&format!("R{n}"), "1.00")).collect();
    let spool = desk.spool(&file(&four)).expect("a file");
    assert_eq!(refused(check(&spool, &rules)), ("too_many_rows", Some(5)));
    let path = desk.write("large.csv", &file(&four));
    let taken = Spool::take(&path, desk.folder.path(), 100).expect_err("too large");
    assert_eq!(
        taken.refusal().map(|refusal| refusal.code),
        Some("too_large")
    );
}

#[test]
fn only_regular_files_are_taken() {
    let desk = Desk::new();
    let code = |path: &Path| {
        let error = desk.take(path).expect_err("a refusal");
        error.refusal().expect("a refusal").code
    };
    assert_eq!(code(desk.folder.path()), "not_a_file");
    assert_eq!(code(Path::new("/dev/null")), "not_a_file");
    assert_eq!(code(&desk.path("missing.csv")), "not_found");
    let pipe = desk.path("pipe");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    assert!(made.expect("mkfifo, of coreutils").success());
    assert_eq!(code(&pipe), "not_a_file");
}

/// F40: the file is checked, then replaced, truncated and deleted; what is sent stays what it was.
#[test]
fn f40_i1_what_was_checked_is_what_is_sent_whatever_happens_to_the_file() {
    let desk = Desk::new();
    let path = desk.write("pay.csv", &file(&row("A", "1.00")));
    let spool = desk.take(&path).expect("a file");
    let rules = ReadingRules::default();
    let before = check(&spool, &rules).expect("a table");
    fs::write(&path, file(&row("A", "9999999.00"))).expect("replaced");
    assert_eq!(check(&spool, &rules).expect("a table"), before);
    fs::remove_file(&path).expect("deleted");
    let again = check(&spool, &rules).expect("a table");
    assert_eq!(again.totals.get(cop(), Operation::Topup).minor, 100);
    assert_eq!(
        fs::read_dir(desk.folder.path()).expect("a folder").count(),
        0,
        "no copy is left"
    );
}

#[test]
fn a_last_line_that_may_be_cut_off_is_not_believed() {
    let desk = Desk::new();
    let head = "entity_id,card_id,operation,currency,amount\n";
    for (end, expected) in [
        ("40000", vec![(2, "row", "cut_off")]),
        ("40000\n", vec![]),
        ("\"40000\"", vec![]),
    ] {
        let text = format!("{head}A,{CARD},topup,COP,{end}");
        let checked = desk.check(text.as_bytes()).expect("a table");
        assert_eq!(errors(&checked), expected, "{end}");
        assert_eq!(
            checked.oddities.ends_without_line_break,
            !end.ends_with('\n')
        );
    }
    let text = file(row("A", "1.00").trim_end());
    let checked = desk.check(&text).expect("a table");
    assert!(checked.is_clean() && checked.oddities.ends_without_line_break);
}

/// F38: a good file cut anywhere has no amount that the whole did not have.
#[test]
fn f38_a_cut_file_never_shows_another_amount() {
    let desk = Desk::new();
    let good: String = (1..=40)
        .map(|n| row(&format!("R{n}"), &format!("{n}0000.0{}", n % 10)))
        .collect();
    let mut amount_last = b"entity_id,card_id,operation,currency,amount\n".to_vec();
    for n in 1..=20 {
        writeln!(amount_last, "R{n},{CARD},topup,COP,{n}0000").expect("memory");
    }
    let spanish: Vec<u8> = (1..=20)
        .map(|n| format!("R{n};{CARD};recarga;COP;{n}.234.567,{n:02}\r\n"))
        .fold(
            b"Entidad;Tarjeta;Operacion;Moneda;Monto\r\n".to_vec(),
            |mut bytes, row| {
                bytes.extend(row.into_bytes());
                bytes
            },
        );
    for whole in [file(&good), amount_last, spanish] {
        let spool = desk.spool(&whole).expect("a file");
        let rules = ReadingRules::default();
        let checked = check(&spool, &rules).expect("a table");
        let mut rows = OriginalRows::open(&spool, &checked, &rules).expect("rows");
        let known: Vec<_> = rows
            .next_chunk(100)
            .expect("rows")
            .into_iter()
            .filter_map(|row| row.job().cloned())
            .collect();
        for cut in 0..whole.len() {
            let Ok(spool) = desk.spool(&whole[..cut]) else {
                continue;
            };
            let Ok(checked) = check(&spool, &ReadingRules::default()) else {
                continue;
            };
            assert!(checked.ok <= checked.rows);
            let mut expected = tanda::domain::money::Totals::default();
            for job in known.iter().take(usize::try_from(checked.ok).expect("few")) {
                expected.add(job.operation, job.amount);
            }
            assert_eq!(checked.totals, expected, "cut at {cut}");
        }
    }
}

struct Midnight;

impl Clock for Midnight {
    fn wall(&self) -> Timestamp {
        Timestamp::from_millis(0)
    }
}

/// What a source offered; nothing where it is dry.
fn jobs_of(offer: Offer) -> Vec<Delivery> {
    match offer {
        Offer::Jobs(deliveries) => deliveries,
        Offer::Dry => Vec::new(),
        other @ (Offer::Unreadable(_) | Offer::Lost) => panic!("{other:?}"),
    }
}

fn stored(status: Status) -> StoredOutcome {
    StoredOutcome {
        event_id: EventId::from_bytes([0; 16]),
        entity_id: None,
        generation: None,
        status,
        body: Vec::new(),
        settled_at: Timestamp::from_millis(0),
        published: false,
        origin: Origin::File,
        envelope: Envelope::default(),
        letter: None,
    }
}

#[tokio::test]
async fn i7_a_file_is_offered_in_its_order_and_its_receipts_are_counted() {
    let desk = Desk::new();
    let rows: String = (1..=600).map(|n| row(&format!("R{n}"), "1.00")).collect();
    let spool = desk.spool(&file(&rows)).expect("a file");
    let rules = ReadingRules::default();
    let checked = check(&spool, &rules).expect("a table");
    let mut source = FileSource::open(&spool, &checked, &rules, Arc::new(Midnight)).expect("clean");
    let counts = source.counts();
    let mut offered = Vec::new();
    loop {
        let deliveries = jobs_of(source.next(500).await.expect("rows"));
        if deliveries.is_empty() {
            break;
        }
        for (index, delivery) in deliveries.into_iter().enumerate() {
            offered.push((
                delivery.provenance.line,
                delivery.job.entity_id.as_str().to_owned(),
            ));
            match index {
                0 => delivery.receipt.back(Back::Undecided).await,
                1 => delivery.receipt.done(&stored(Status::Rejected)).await,
                _ => delivery.receipt.done(&stored(Status::Succeeded)).await,
            }
        }
    }
    let expected: Vec<_> = (1..=600_u64)
        .map(|n| (Some(n + 1), format!("R{n}")))
        .collect();
    assert_eq!(offered, expected);
    assert_eq!((counts.offered(), counts.given_back()), (600, 3));
    assert_eq!(
        (
            counts.done(Status::Rejected),
            counts.done(Status::Succeeded)
        ),
        (3, 594)
    );
    assert_eq!(counts.all_done(), 597);
}

#[test]
fn a_file_with_bad_rows_is_no_source() {
    let desk = Desk::new();
    let rules = ReadingRules::default();
    let spool = desk.spool(&file(&row("A", "x"))).expect("a file");
    let checked = check(&spool, &rules).expect("a table");
    let clock = || Arc::new(Midnight);
    let error = FileSource::open(&spool, &checked, &rules, clock()).expect_err("bad rows");
    assert_eq!(
        error.refusal().map(|refusal| refusal.code),
        Some("bad_rows")
    );
    let other = desk.spool(&file(&row("A", "1.00"))).expect("a file");
    let error = FileSource::open(&other, &checked, &rules, clock()).expect_err("another file");
    assert_eq!(
        error.refusal().map(|refusal| refusal.code),
        Some("other_file")
    );
}

/// Writes the result file of a file, every good row with this result, and returns its bytes.
fn results_of(desk: &Desk, spool: &Spool, result: &RowResult) -> Vec<u8> {
    let rules = ReadingRules::default();
    let checked = check(spool, &rules).expect("a table");
    let mut rows = OriginalRows::open(spool, &checked, &rules).expect("rows");
    let path = desk.path("out.results.csv");
    let mut writer = ResultWriter::create(&path, rows.layout()).expect("a writer");
    loop {
        let chunk = rows.next_chunk(2).expect("rows");
        if chunk.is_empty() {
            break;
        }
        assert!(!path.exists(), "it appears whole or not at all");
        for row in &chunk {
            let result = match &row.content {
                RowContent::Job(_) => result.clone(),
                RowContent::Bad(errors) => RowResult::of_bad_row(errors),
                RowContent::Totals => RowResult::default(),
            };
            writer.row(row, &result).expect("a written row");
        }
    }
    writer.finish().expect("a whole file");
    let mode = fs::metadata(&path).expect("the file").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let bytes = fs::read(&path).expect("the file");
    fs::remove_file(&path).expect("removed");
    bytes
}

#[test]
fn a_result_file_has_the_original_rows_and_can_be_submitted_again() {
    let desk = Desk::new();
    let text = format!(
        "notes;Entity ID;card_id;operation;amount;currency;description\n\
         \"a;\"\"b\"\"\";A;{CARD};topup;1.00;COP;Nómina\n\n;-B;{CARD};withdrawal;2;COP;\n"
    );
    let spool = desk
        .spool(&[b"\xEF\xBB\xBF", text.as_bytes()].concat())
        .expect("a file");
    let result = RowResult {
        status: "rejected".to_owned(),
        reason: "=cmd()".to_owned(),
        ..RowResult::default()
    };
    let bytes = results_of(&desk, &spool, &result);
    let expected = format!(
        "\u{feff}notes;Entity ID;card_id;operation;amount;currency;description;tanda_status;\
         tanda_reason;tanda_bank_code;tanda_bank_log_id;tanda_operation_id;tanda_key;\
         tanda_generation;tanda_settled_at\r\n\
         \"a;\"\"b\"\"\";A;{CARD};topup;1.00;COP;Nómina;rejected;'=cmd();;;;;;\r\n\
         ;'-B;{CARD};withdrawal;2;COP;;rejected;'=cmd();;;;;;\r\n"
    );
    assert_eq!(String::from_utf8(bytes.clone()).expect("UTF-8"), expected);

    let before = check(&spool, &ReadingRules::default()).expect("a table");
    let again = desk.spool(&bytes).expect("a file");
    let after = check(&again, &ReadingRules::default()).expect("a table");
    assert_eq!(after.totals, before.totals);
    assert_eq!(after.oddities.unknown_columns, ["notes"]);
    assert_eq!(
        results_of(&desk, &again, &result),
        bytes,
        "columns are replaced, not doubled"
    );
}

#[test]
fn a_result_file_that_is_not_finished_leaves_nothing() {
    let desk = Desk::new();
    let spool = desk.spool(&file(&row("A", "1.00"))).expect("a file");
    let rules = ReadingRules::default();
    let checked = check(&spool, &rules).expect("a table");
    let rows = OriginalRows::open(&spool, &checked, &rules).expect("rows");
    let path = desk.write("out.csv", b"yesterday's");
    let writer = ResultWriter::create(&path, rows.layout()).expect("a writer");
    drop(writer);
    assert_eq!(fs::read(&path).expect("still there"), b"yesterday's");
    assert_eq!(
        fs::read_dir(desk.folder.path()).expect("a folder").count(),
        2
    );
}

#[test]
fn the_payroll_sample_is_clean() {
    let desk = Desk::new();
    let spool = desk.take(&sample("payroll.csv")).expect("the sample");
    let checked = check(&spool, &ReadingRules::default()).expect("a table");
    assert_eq!(checked.errors, []);
    assert_eq!((checked.rows, checked.skipped()), (300, 0));
    assert_eq!(checked.totals.get(cop(), Operation::Topup).count, 282);
    assert_eq!(checked.totals.get(cop(), Operation::Withdrawal).count, 18);
    let bytes = fs::read(sample("payroll.csv")).expect("the sample");
    let thirteen = bytes
        .split(|byte| !byte.is_ascii_digit())
        .any(|run| run.len() >= 13);
    assert!(!thirteen, "nothing in it looks like a card number");
}

#[test]
fn the_sample_of_bad_rows_shows_each_kind_of_error() {
    let desk = Desk::new();
    let spool = desk.take(&sample("bad-rows.csv")).expect("the sample");
    let checked = check(&spool, &ReadingRules::default()).expect("a table");
    let expected = [
        (3, "amount", "amount_grouping"),
        (4, "amount", "amount_format"),
        (5, "card_id", "card_id"),
        (6, "operation", "operation"),
        (8, "entity_id", "duplicate"),
        (9, "amount", "amount_format"),
        (10, "currency", "currency"),
        (11, "row", "cell_count"),
        (12, "entity_id", "entity_id_missing"),
        (13, "amount", "amount_range"),
        (14, "entity_id", "entity_id_scientific"),
        (15, "card_id", "card_number"),
    ];
    assert_eq!(errors(&checked), expected);
    assert_eq!((checked.rows, checked.ok, checked.skipped()), (14, 2, 1));
}

#[test]
fn the_spanish_sample_is_clean_and_sums_to_its_own_total() {
    let desk = Desk::new();
    let spool = desk.take(&sample("nomina-es.csv")).expect("the sample");
    let checked = check(&spool, &ReadingRules::default()).expect("a table");
    assert_eq!(checked.errors, []);
    assert_eq!((checked.rows, checked.ok, checked.blank), (6, 6, 1));
    assert_eq!(checked.delimiter, Delimiter::Semicolon);
    assert_eq!(checked.decimal, proven(Decimal::Comma, 2, "1.423.500,00"));
    assert_eq!(checked.oddities.unknown_columns, [""; 0]);
    let sum = checked.totals_row.expect("a sum");
    assert_eq!((sum.line, sum.agreed), (9, true));
    let topups = checked.totals.get(cop(), Operation::Topup);
    assert_eq!((topups.count, topups.minor), (5, 537_550_050));
    let taken = checked.totals.get(cop(), Operation::Withdrawal);
    assert_eq!((taken.count, taken.minor), (1, 12_000_000));
}

fn proven(decimal: Decimal, line: u64, value: &str) -> DecimalReading {
    let value = value.to_owned();
    DecimalReading::Proven {
        decimal,
        line,
        value,
    }
}

#[test]
fn the_payroll_generator_writes_what_is_read() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/make-payroll");
    let run = |dialect: &str| {
        let made = std::process::Command::new(&script)
            .args(["--rows", "2000", "--seed", "7", "--dialect", dialect])
            .output()
            .expect("a shell and an awk");
        assert!(made.status.success());
        made.stdout
    };
    let bytes = run("plain");
    assert_eq!(bytes, run("plain"), "the same for the same arguments");
    let spanish = Desk::new().check(&run("es")).expect("a table");
    let checked = Desk::new().check(&bytes).expect("a table");
    assert!(checked.is_clean(), "{:?}", checked.errors.first());
    assert_eq!(checked.rows, 2_000);
    let withdrawn = checked.totals.get(cop(), Operation::Withdrawal).count;
    assert!((100..300).contains(&withdrawn), "{withdrawn}");
    assert!(spanish.is_clean(), "{:?}", spanish.errors.first());
    assert_eq!(spanish.totals, checked.totals, "the same jobs");
    assert_eq!(spanish.decimal.decimal(), Some(Decimal::Comma));
}

/// The rows of a file by what they ask for, and their first cells.
fn cells_of(spool: &Spool) -> Vec<(RowContent, String)> {
    let rules = ReadingRules::default();
    let checked = check(spool, &rules).expect("a table");
    let mut rows = OriginalRows::open(spool, &checked, &rules).expect("rows");
    let without_lines = |content: RowContent| match content {
        RowContent::Bad(errors) => RowContent::Bad(
            errors
                .into_iter()
                .map(|error| tanda::files::RowError { line: 0, ..error })
                .collect(),
        ),
        job @ (RowContent::Job(_) | RowContent::Totals) => job,
    };
    rows.next_chunk(100)
        .expect("rows")
        .into_iter()
        .map(|row| {
            let cells: Vec<_> = row.cells().take(7).collect();
            (without_lines(row.content.clone()), cells.join("|"))
        })
        .collect()
}

proptest! {
    /// S6: any cells survive the way through a result file and back, and no formula does.
    #[test]
    fn s6_what_is_written_is_what_is_read(
        cells in prop::collection::vec("['=+@ \"\n\r\u{a0}ñ;,\ta-]{0,6}", 1..16),
        ids in prop::collection::vec("[-=+@']{0,2}[ ]{0,1}[a-z]", 8..9),
    ) {
        let mut original = csv::WriterBuilder::new().from_writer(Vec::new());
        original.write_record(["entity_id", "=x", "card_id", "operation", "amount", "currency", "more"]).expect("memory");
        for (index, (cells, id)) in cells.chunks(2).zip(&ids).enumerate() {
            let id = format!("{id}{index}");
            let more = cells.get(1).map_or("", String::as_str);
            original.write_record([&id, &cells[0], CARD, "topup", "1.00", "COP", more]).expect("memory");
        }
        let desk = Desk::new();
        let spool = desk.spool(&original.into_inner().expect("memory")).expect("a file");
        let rules = ReadingRules::default();
        let checked = check(&spool, &rules).expect("a table");
        let bytes = results_of(&desk, &spool, &RowResult::default());
        let again = desk.spool(&bytes).expect("a file");
        prop_assert_eq!(cells_of(&spool), cells_of(&again));
        let after = check(&again, &rules).expect("a table");
        prop_assert_eq!(&after.totals, &checked.totals);
        prop_assert_eq!(after.errors.iter().map(|e| e.code).collect::<Vec<_>>(),
            checked.errors.iter().map(|e| e.code).collect::<Vec<_>>());
        prop_assert_eq!(results_of(&desk, &again, &RowResult::default()), bytes.clone());
        let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(bytes.as_slice());
        for record in reader.records() {
            for cell in &record.expect("a row") {
                for line in cell.split(['\r', '\n']) {
                    let first = line.trim_start_matches([' ', '\u{a0}']);
                    prop_assert!(!first.starts_with(['=', '+', '-', '@', '\t']), "{:?}", cell);
                }
            }
        }
    }

    /// F42: whatever gets into a good file, nothing panics, and the totals are those of the good rows.
    #[test]
    fn f42_any_bytes_are_read_or_refused(noise in prop::collection::vec(any::<u8>(), 0..40), at in 0_usize..300) {
        let mut bytes = file(&[row("A", "1.00"), row("B", "2.00")].concat());
        let at = at.min(bytes.len());
        bytes.splice(at..at, noise);
        if let Ok(checked) = Desk::new().check(&bytes) {
            prop_assert_eq!(checked.ok, checked.totals.count());
            prop_assert_eq!(checked.is_clean(), checked.bad_rows() == 0);
        }
    }
}

#[test]
fn a_currency_without_decimals_has_none() {
    let desk = Desk::new();
    let jpy = Currency::parse("JPY").expect("a code");
    let rules = ReadingRules {
        currencies: Currencies::new([(jpy, 0)]),
        ..ReadingRules::default()
    };
    let text = [row("A", "5000"), row("B", "5000.00")]
        .concat()
        .replace("COP", "JPY");
    let spool = desk.spool(&file(&text)).expect("a file");
    let checked = check(&spool, &rules).expect("a table");
    assert_eq!(errors(&checked), [(3, "amount", "amount_format")]);
    assert_eq!(checked.totals.get(jpy, Operation::Topup).minor, 5_000);
}

/// A file over its cap is left while it is copied, however long it is, and nothing of it stays.
#[test]
fn s1_a_file_over_its_cap_is_left_while_it_is_copied() {
    const CAP_BYTES: u64 = 1024 * 1024;
    let desk = Desk::new();
    let spool_dir = tempfile::tempdir().expect("a directory");
    for beyond in [1, 1 << 40] {
        let path = desk.path("endless.csv");
        let endless = fs::File::create(&path).expect("a file");
        endless.set_len(CAP_BYTES + beyond).expect("a sparse file");
        let refused = Spool::take(&path, spool_dir.path(), CAP_BYTES).expect_err("over the cap");
        assert_eq!(refused.refusal().map(|it| it.code), Some("too_large"));
        endless.set_len(CAP_BYTES).expect("a shorter file");
        Spool::take(&path, spool_dir.path(), CAP_BYTES).expect("just within the cap");
        let left = fs::read_dir(spool_dir.path()).expect("a folder").count();
        assert_eq!(left, 0, "a copy has no name");
    }
}

/// A file that someone is still writing is not taken half.
#[test]
fn f38_a_copy_is_whole() {
    let desk = Desk::new();
    let path = desk.write("f.csv", &file(&row("A", "1.00").repeat(10)));
    let spool = desk.take(&path).expect("a file");
    let mut original = fs::OpenOptions::new()
        .append(true)
        .open(&path)
        .expect("the file");
    original
        .write_all(row("B", "1.00").as_bytes())
        .expect("written");
    let later = desk.take(&path).expect("a file");
    assert_ne!(spool.sha256(), later.sha256());
    let bytes = fs::read(&path).expect("the file");
    assert_eq!(later.bytes(), u64::try_from(bytes.len()).expect("small"));
    assert_eq!(later.sha256(), tanda::domain::digest::Digest::of(&bytes));
}
