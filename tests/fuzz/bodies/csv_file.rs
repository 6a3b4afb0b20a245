//! A file of rows, [`tanda::files`], from any bytes.
//!
//! A file is refused with a reason and a remedy, or every row of it is a job or has its errors, and
//! the totals are those of the jobs. Its result file has every cell as it was, begins no cell with a
//! formula, and is the same file when it is read and written again.

use std::collections::BTreeSet;

use tanda::domain::job::{Fault, Job};
use tanda::domain::money::Totals;
use tanda::files::{Checked, FilesError, ReadingRules, RowContent, RowError, RowResult, Spool};

use super::Target;
use super::desk::Desk;
use super::telling::{assert_no_card_in, assert_tells};

pub(super) const TARGET: Target = Target {
    name: "csv_file",
    body,
    cases: 1_500,
    words: &[
        "entity_id",
        "card_id",
        "operation",
        "amount",
        "amount_minor",
        "currency",
        "description",
        "not_after",
        "tanda_status",
        "tanda_reason",
        "tanda_error",
        "sep=;\r\n",
        "sep=,\n",
        "\u{feff}",
        ",",
        ";",
        "\t",
        "\"",
        "\"\"",
        "\n",
        "\r",
        "\r\n",
        "topup",
        "retiro",
        "COP",
        "JPY",
        "1.00",
        "50.000",
        "1.000,5",
        "$ 5",
        "total",
        "stray_quote: row",
        "cut_off",
        "=1+1",
        "'=1",
        "A,car_5tgliBmzjZ6mpQPRbQjfKj,topup,1.00,COP,x\n",
    ],
};

/// The longest sentence about a file or a row: with a name of 40 characters, each of ten bytes.
const TOLD_MAX_BYTES: usize = 2_048;

fn body(bytes: &[u8]) {
    let desk = Desk::new(ReadingRules::default());
    let spool = match desk.spool(bytes) {
        Ok(spool) => spool,
        Err(error) => return refuses_with_a_remedy(&error),
    };
    assert_eq!(spool.bytes(), u64::try_from(bytes.len()).expect("short"));
    match desk.check(&spool) {
        Ok(checked) => {
            let jobs = adds_up(&desk, &spool, &checked);
            survives_its_result_file(&desk, &spool, &checked, &jobs);
        }
        Err(error) => refuses_with_a_remedy(&error),
    }
}

fn refuses_with_a_remedy(error: &FilesError) {
    let refusal = error.refusal().expect("only the file can be at fault");
    assert_tells(refusal.code, 64);
    assert_tells(&refusal.what, TOLD_MAX_BYTES);
    assert_tells(&refusal.remedy, TOLD_MAX_BYTES);
    assert_no_card_in(&refusal.what);
    assert_no_card_in(&refusal.remedy);
}

/// The jobs of a file, after every figure about it was counted anew.
fn adds_up(desk: &Desk, spool: &Spool, checked: &Checked) -> Vec<Job> {
    let mut totals = Totals::default();
    let mut jobs = Vec::new();
    let (mut bad, mut sums, mut errors, mut last_line) = (0, 0, 0, checked.header_line);
    for row in desk.rows(spool, checked) {
        assert!(row.line > last_line, "line {} after {last_line}", row.line);
        last_line = row.line;
        match row.content {
            RowContent::Job(job) => {
                totals.add(job.operation, job.amount);
                jobs.push(job);
            }
            RowContent::Bad(of_row) => {
                assert!(!of_row.is_empty(), "a bad row without an error");
                for error in &of_row {
                    explains_itself(error, row.line);
                }
                errors += of_row.len();
                bad += 1;
            }
            RowContent::Totals => sums += 1,
        }
    }
    let jobs_count = u64::try_from(jobs.len()).expect("few");
    assert_eq!((checked.ok, checked.rows), (jobs_count, jobs_count + bad));
    assert_eq!(checked.bad_rows(), bad);
    assert_eq!(usize::try_from(checked.errors_total), Ok(errors));
    assert_eq!(checked.is_clean(), bad == 0);
    assert_eq!(checked.totals, totals);
    assert_eq!(checked.totals_row.map_or(0, |_| 1), sums);
    assert_eq!(checked.first_job.as_ref(), jobs.first());
    let names: BTreeSet<_> = jobs.iter().map(|job| job.entity_id.as_str()).collect();
    assert_eq!(names.len(), jobs.len(), "an entity_id is paid twice");
    checked.oddities.unknown_columns.iter().for_each(|name| {
        assert_tells(name, 512);
        assert_no_card_in(name);
    });
    jobs
}

fn explains_itself(error: &RowError, line: u64) {
    assert_eq!(error.line, line);
    assert_tells(error.code, 64);
    assert_tells(error.field, 64);
    assert_no_card_in(&error.message);
    assert!(error.message.len() <= TOLD_MAX_BYTES && !error.message.is_empty());
    assert!(error.value.chars().count() <= Fault::VALUE_MAX_CHARS);
}

fn survives_its_result_file(desk: &Desk, spool: &Spool, checked: &Checked, jobs: &[Job]) {
    let result = RowResult {
        status: "=rejected".to_owned(),
        reason: "\r@SUM(A1)".to_owned(),
        bank_code: "two\nlines".to_owned(),
        ..RowResult::default()
    };
    let written = desk.results(spool, checked, &result);
    starts_no_formula(&written, checked.delimiter.as_byte());
    let again = desk
        .spool(&written)
        .expect("a result file is a file of rows");
    let rechecked = desk.check(&again).expect("a result file is a file of rows");
    let reread: Vec<Job> = desk
        .rows(&again, &rechecked)
        .into_iter()
        .filter_map(|row| row.job().cloned())
        .collect();
    assert_eq!(reread, jobs);
    assert_eq!(rechecked.bad_rows(), checked.bad_rows());
    assert_eq!(desk.results(&again, &rechecked, &result), written);
}

/// S6: no line of a cell begins, after blanks, with what begins a formula.
fn starts_no_formula(written: &[u8], delimiter: u8) {
    let text = std::str::from_utf8(written)
        .expect("UTF-8")
        .trim_start_matches('\u{feff}');
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .delimiter(delimiter)
        .from_reader(text.as_bytes());
    for record in reader.records() {
        for cell in &record.expect("a row of ours") {
            let mut lines = cell.split(['\r', '\n']);
            let starts = |line: &str| {
                let first = line.trim_start_matches([' ', '\u{a0}']);
                first.starts_with(['=', '+', '-', '@', '\t'])
            };
            assert!(!lines.any(starts), "{cell:?}");
        }
    }
}
