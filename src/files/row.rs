//! Rows: what a person asked for, each as a job or as everything that is wrong with it.
//!
//! *What it promises.* Every row with something in it is a [`Row`], in order, with its physical
//! line. All its errors are told at once. No error shows a whole card id (I12).
//!
//! *What it refuses to know.* Other rows: whether an `entity_id` is there twice is for the check.

use csv::StringRecord;

use super::amount::{BadAmount, in_range, read_minor, without_marks};
use super::guard::{Ending, Flaw, Mark};
use super::header::{Delimiter, Header};
use super::notation::Notation;
use super::refusal::{FileRefusal, FilesError};
use super::spool::Spool;
use super::table::Table;
use super::totals_row::TotalsRow;
use super::words::{is_total_label, operation, without_card_ids};
use super::{MAX_CELL_CHARS, ReadingRules};
use crate::domain::job::{Draft, Fault, Field, Job};
use crate::domain::money::{Currencies, Currency};

/// A row of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row {
    /// The physical line where it begins, from 1.
    pub(super) line: u64,
    /// The job it asks for, or what is wrong with it, by field. While its file's notation is not
    /// settled, an amount that can be read in two ways stands as the smallest there is.
    pub(super) job: Result<Job, Vec<RowError>>,
    /// What it says if it is the last row: then it is no job but the sum of the others.
    pub(super) totals: Option<TotalsRow>,
}

/// Faults of a row as a whole that writing it anew would hide: its cells then stand in order, and
/// look as if they had always done so.
const HIDDEN_BY_WRITING: [&str; 5] = [
    "text_after_quote",
    "stray_quote",
    "cell_count",
    "cut_off",
    "swallowed_rows",
];

/// One thing that is wrong with a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowError {
    /// The physical line where the row begins, from 1.
    pub line: u64,
    /// The field at fault; `row` where it is the row as a whole.
    pub field: &'static str,
    /// A stable word for the rule, the same in every language.
    pub code: &'static str,
    /// What stood there, cut where it is long; card ids are shortened.
    pub value: String,
    /// What is wrong and what would be right, in words.
    pub message: String,
}

impl RowError {
    pub(super) fn new(
        line: u64,
        field: &'static str,
        code: &'static str,
        value: &str,
        message: impl Into<String>,
    ) -> Self {
        Self {
            line,
            field,
            code,
            value: without_card_ids(value)
                .chars()
                .take(Fault::VALUE_MAX_CHARS)
                .collect(),
            message: message.into(),
        }
    }

    fn of_row(line: u64, code: &'static str, message: impl Into<String>) -> Self {
        Self::new(line, "row", code, "", message)
    }
}

/// The rows of a private copy, one after another.
pub(super) struct Rows {
    table: Table,
    currencies: Currencies,
    limit: u64,
    count: u64,
    blank: u64,
    draft: Draft,
    notation: Notation,
    ends_with_line_break: bool,
}

impl std::fmt::Debug for Rows {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rows")
            .field("count", &self.count)
            .finish_non_exhaustive()
    }
}

impl Rows {
    /// Finds the header and stands before the first row.
    ///
    /// # Errors
    /// A refusal where the beginning of the file is not a table of jobs.
    pub(super) fn open(
        spool: &Spool,
        rules: &ReadingRules,
        notation: Notation,
    ) -> Result<Self, FilesError> {
        Ok(Self {
            notation,
            table: Table::open(spool)?,
            currencies: rules.currencies.clone(),
            limit: rules.max_rows,
            count: 0,
            blank: 0,
            draft: Draft::default(),
            ends_with_line_break: true,
        })
    }

    /// The next row with something in it; `None` after the last.
    ///
    /// # Errors
    /// A refusal where the rest of the file cannot be read.
    pub(super) fn next_row(&mut self) -> Result<Option<Row>, FilesError> {
        loop {
            let Some(mark) = self.table.records.next()? else {
                return Ok(None);
            };
            self.ends_with_line_break = mark.ending == Ending::LineBreak;
            if self.table.records.is_blank() {
                self.blank += 1;
                continue;
            }
            self.count += 1;
            if self.count > self.limit {
                let what = format!("it has more than {} rows", self.limit);
                let remedy = "Split it, or raise the limit in the settings.";
                let (code, line) = ("too_many_rows", Some(mark.line));
                let file = self.table.records.file();
                return Err(FileRefusal::new(code, file, line, what, remedy).into());
            }
            let job = self.read(mark)?;
            return Ok(Some(Row {
                line: mark.line,
                totals: job.as_ref().err().and_then(|_| self.as_totals(mark)),
                job,
            }));
        }
    }

    /// The delimiter that the header was written with.
    pub(super) const fn delimiter(&self) -> Delimiter {
        self.table.delimiter
    }

    /// Blank lines and rows of nothing but delimiters so far, those above the header included.
    pub(super) fn blank(&self) -> u64 {
        self.table.blank_above + self.blank + self.table.records.empty_lines()
    }

    /// Whether the record read last ended with a line break; a file that was cut off does not.
    pub(super) const fn ends_with_line_break(&self) -> bool {
        self.ends_with_line_break
    }

    pub(super) const fn header(&self) -> &Header {
        &self.table.header
    }

    /// Whether a `sep=` line stands above the header.
    pub(super) const fn has_sep_line(&self) -> bool {
        self.table.has_sep_line
    }

    /// How amounts are written, as far as it was read.
    pub(super) const fn notation(&mut self) -> &mut Notation {
        &mut self.notation
    }

    /// The cells of the row read last.
    pub(super) const fn record(&self) -> &StringRecord {
        self.table.records.record()
    }

    /// The `entity_id` of the row read last, also where other fields of it are wrong; empty where
    /// the row could not be told apart into fields.
    pub(super) fn entity_id(&self) -> &str {
        &self.draft.entity_id
    }

    fn read(&mut self, mark: Mark) -> Result<Result<Job, Vec<RowError>>, FileRefusal> {
        self.draft.entity_id.clear();
        if let Some(error) = self.broken_as_a_whole(mark) {
            return Ok(Err(vec![error]));
        }
        let record = self.table.records.record();
        let header = &self.table.header;
        let cell = |index: usize| trimmed(record.get(index).unwrap_or_default());
        let optional = |index: Option<usize>| index.map(cell).filter(|text| !text.is_empty());
        let draft = &mut self.draft;
        fill(&mut draft.entity_id, cell(header.entity_id));
        fill(&mut draft.card_id, cell(header.card_id));
        let named = cell(header.operation);
        let word = operation(named).map_or(named, |operation| operation.as_str());
        fill(&mut draft.operation, word);
        fill(&mut draft.currency, cell(header.currency));
        fill_optional(&mut draft.description, optional(header.description));
        fill_optional(&mut draft.not_after, optional(header.not_after));

        let currency = Currency::parse(&draft.currency);
        let place = Place {
            line: mark.line,
            file: self.table.records.file(),
            currency: currency.and_then(|of| Some((of, self.currencies.minor_digits(of)?))),
        };
        let (major, minor) = (header.amount.map(cell), header.amount_minor.map(cell));
        let amount = read_amount(major, minor, &place, &mut self.notation)?;
        // An amount that is wrong, or not settled, must not hide what else is wrong: 1 stands in for
        // it and is never used.
        draft.amount_minor = amount.as_ref().ok().copied().flatten().unwrap_or(1);
        let job = draft.validate(&self.currencies);
        let id = doubtful_id(mark.line, &draft.entity_id);
        if let (Ok(job), Ok(_), None) = (&job, &amount, &id) {
            return Ok(Ok(job.clone()));
        }
        let written = match (major, minor) {
            (Some(text), _) => ("amount", text),
            (None, text) => ("amount_minor", text.unwrap_or_default()),
        };
        let errors = errors_of(mark.line, job.err(), amount.err(), written);
        Ok(Err(id.into_iter().chain(errors).collect()))
    }

    /// What this row says if it is the sum below the others: it has no card and no id of its own,
    /// one of its cells says so, and there is a figure.
    fn as_totals(&self, mark: Mark) -> Option<TotalsRow> {
        let record = self.table.records.record();
        let header = &self.table.header;
        let is_readable =
            mark.flaw.is_none() && record.len() == header.len() && self.broken_before().is_none();
        let cell = |index: usize| trimmed(record.get(index).unwrap_or_default());
        let unlabelled = |index: usize| Some(cell(index)).filter(|text| !is_total_label(text));
        let figure = |index: Option<usize>| {
            let text = index.map(cell).filter(|text| !text.is_empty())?;
            Some(text.to_owned())
        };
        let has_name = unlabelled(header.entity_id).is_some_and(|text| !text.is_empty());
        if !is_readable || !cell(header.card_id).is_empty() || has_name {
            return None;
        }
        let totals = TotalsRow {
            line: mark.line,
            amount: figure(header.amount),
            amount_minor: figure(header.amount_minor),
            currency: unlabelled(header.currency).unwrap_or_default().to_owned(),
            operation: unlabelled(header.operation).unwrap_or_default().to_owned(),
        };
        let has_figure = totals.amount.is_some() || totals.amount_minor.is_some();
        (has_figure && record.iter().any(is_total_label)).then_some(totals)
    }

    /// Why the cells of this record cannot be trusted to be what their columns say.
    fn broken_as_a_whole(&self, mark: Mark) -> Option<RowError> {
        let record = self.table.records.record();
        let header = &self.table.header;
        let error = |code, message: String| Some(RowError::of_row(mark.line, code, message));
        if let Some((code, column)) = self.broken_before() {
            let message = format!(
                "could not be told apart into cells when this file was written; check each cell, \
                 then empty its cell {column}"
            );
            return error(code, message);
        }
        match mark.flaw {
            Some(Flaw::TextAfterQuote) => {
                let message = "has text after a closing quote; a quote inside a quoted cell is \
                               written twice";
                return error("text_after_quote", message.to_owned());
            }
            Some(Flaw::StrayQuote) => {
                let message = "has a quote inside a cell that does not begin with one; put the \
                               whole cell in quotes and write the inner quote twice";
                return error("stray_quote", message.to_owned());
            }
            None => {}
        }
        if record.len() != header.len() {
            let message = format!(
                "has {} cells where the header has {}; a cell with \"{}\" in it must be in quotes",
                record.len(),
                header.len(),
                self.table.delimiter.as_str()
            );
            return error("cell_count", message);
        }
        if mark.ending == Ending::File && header.last_column_may_be_cut_unseen() {
            let message = "is the last one and has no line break after it, so nothing shows that \
                           its last cell is complete; check it and end it with a line break";
            return error("cut_off", message.to_owned());
        }
        if mark.spans_lines && self.holds_swallowed_rows() {
            let message = "has a quoted cell of several lines with a whole row's worth of \
                           delimiters; a quote too many has probably swallowed rows";
            return error("swallowed_rows", message.to_owned());
        }
        let is_long = |cell: &&str| cell.chars().nth(MAX_CELL_CHARS).is_some();
        if record.as_slice().len() > MAX_CELL_CHARS && record.iter().any(|cell| is_long(&cell)) {
            let message = format!("has a cell of more than {MAX_CELL_CHARS} characters");
            return error("cell_length", message);
        }
        None
    }

    /// Why the row was not taken when a result file or a file of rows to fix was made of it, where
    /// that cannot be seen any more, and the column that says so.
    fn broken_before(&self) -> Option<(&'static str, &str)> {
        let header = &self.table.header;
        header.reasons.iter().find_map(|&index| {
            let reason = self.table.records.record().get(index)?.trim_start();
            let code = HIDDEN_BY_WRITING.into_iter().find(|code| {
                let rest = reason.strip_prefix(code);
                rest.is_some_and(|rest| rest.is_empty() || rest.starts_with([':', ' ']))
            })?;
            Some((code, header.cells.get(index)?.as_str()))
        })
    }

    /// Whether a cell of several lines has as many delimiters as a row. A quote too many swallows
    /// everything up to the next one; where that stands in the same column of a later row, the
    /// record has the right number of cells, and the id of one row with the card of another.
    fn holds_swallowed_rows(&self) -> bool {
        let delimiter = char::from(self.table.delimiter.as_byte());
        let of_a_row = self.table.header.len() - 1;
        self.record()
            .iter()
            .any(|cell| cell.contains(['\n', '\r']) && cell.matches(delimiter).count() >= of_a_row)
    }
}

/// Outer white space goes, but never a tab or a line break: those are faults.
fn trimmed(cell: &str) -> &str {
    cell.trim_matches(|c: char| c.is_whitespace() && !c.is_control())
}

fn fill(target: &mut String, text: &str) {
    target.clear();
    target.push_str(text);
}

fn fill_optional(target: &mut Option<String>, text: Option<&str>) {
    match text {
        Some(text) => fill(target.get_or_insert_default(), text),
        None => *target = None,
    }
}

/// An amount that is wrong, and in which column.
struct WrongAmount {
    field: &'static str,
    value: String,
    why: BadAmount,
}

impl WrongAmount {
    fn of(field: &'static str, value: &str) -> impl FnOnce(BadAmount) -> Self {
        move |why| Self {
            field,
            value: value.to_owned(),
            why,
        }
    }
}

/// Where an amount stands.
struct Place<'a> {
    line: u64,
    file: &'a str,
    /// The currency of its row with its minor digits; none where it is not known.
    currency: Option<(Currency, u32)>,
}

/// Minor units from the columns there are; `None` where they are not settled. Without a known
/// currency only the form of the amount in minor units can be judged; the currency is at fault then.
fn read_amount(
    major: Option<&str>,
    minor: Option<&str>,
    place: &Place<'_>,
    notation: &mut Notation,
) -> Result<Result<Option<i64>, WrongAmount>, FileRefusal> {
    let from_major = match (major, place.currency) {
        (Some(text), Some((currency, digits))) => {
            let read = match without_marks(text, currency) {
                Ok(text) => notation.read(text, digits, place.line, place.file)?,
                Err(bad) => Err(bad),
            };
            let read = read.and_then(|read| read.map(in_range).transpose());
            Some(read.map_err(WrongAmount::of("amount", text)))
        }
        (Some(_), None) | (None, _) => None,
    };
    let from_minor = minor.map(|text| {
        let read = read_minor(text).and_then(in_range);
        read.map_err(WrongAmount::of("amount_minor", text))
    });
    Ok(match (from_major, from_minor) {
        (Some(Ok(Some(major))), Some(Ok(minor))) if major != minor => {
            let what = format!(
                "its two columns of amounts disagree: this row has {major} minor units in amount and \
                 {minor} in amount_minor"
            );
            let remedy = "Find out which column is right, and remove the other.";
            let (code, line) = ("amount_disagrees", Some(place.line));
            return Err(FileRefusal::new(code, place.file, line, what, remedy));
        }
        (_, Some(Err(wrong))) | (Some(Err(wrong)), _) => Err(wrong),
        (Some(Ok(read)), _) => Ok(read),
        (None, Some(Ok(minor))) => Ok(Some(minor)),
        // The currency is unknown, which `validate` says.
        (None, None) => Ok(None),
    })
}

/// Characters that nobody sees: two ids that differ by one of them look the same.
const INVISIBLE: [std::ops::RangeInclusive<char>; 6] = [
    '\u{ad}'..='\u{ad}',
    '\u{200b}'..='\u{200f}',
    '\u{202a}'..='\u{202e}',
    '\u{2060}'..='\u{2064}',
    '\u{2066}'..='\u{2069}',
    '\u{feff}'..='\u{feff}',
];

/// What makes an id, good by itself, one that a file must not have: another may look the same.
fn doubtful_id(line: u64, id: &str) -> Option<RowError> {
    let error = |code, message| Some(RowError::new(line, "entity_id", code, id, message));
    if is_scientific(id) {
        let message = "is a number in scientific form: the sheet has lost digits, so several ids \
                       may have become this one. Format the column as text and write the ids anew";
        return error("entity_id_scientific", message);
    }
    if !id.is_ascii() && id.contains(|c| INVISIBLE.iter().any(|range| range.contains(&c))) {
        let message = "has a character that cannot be seen; write the id anew";
        return error("entity_id_invisible", message);
    }
    None
}

/// `1.23E+17`, as sheets show numbers of more digits than they keep.
fn is_scientific(id: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let Some((mantissa, exponent)) = id.split_once(['E', 'e']) else {
        return false;
    };
    let is_mantissa = match mantissa.split_once(['.', ',']) {
        Some((first, rest)) => first.len() == 1 && digits(first) && digits(rest),
        None => mantissa.len() == 1 && digits(mantissa),
    };
    is_mantissa && exponent.strip_prefix('+').is_some_and(digits)
}

/// All errors of a row, in the order of the fields. A fault of the amount itself is told by its
/// column and by what was written there.
fn errors_of(
    line: u64,
    faults: Option<Vec<Fault>>,
    amount: Option<WrongAmount>,
    (column, text): (&'static str, &str),
) -> Vec<RowError> {
    let mut errors: Vec<RowError> = Vec::new();
    let mut amount = amount.map(|wrong| {
        RowError::new(
            line,
            wrong.field,
            wrong.why.code,
            &wrong.value,
            wrong.why.message,
        )
    });
    for fault in faults.unwrap_or_default() {
        let Fault {
            field,
            code,
            value,
            message,
        } = fault;
        if field > Field::Amount {
            errors.extend(amount.take());
        }
        errors.push(if field == Field::Amount {
            RowError::new(line, column, code, text, message)
        } else {
            RowError::new(line, field.as_str(), code, &value, message)
        });
    }
    errors.extend(amount);
    errors
}

#[cfg(test)]
mod tests {
    use super::*;

    /// F17: what a sheet makes of long ids.
    #[test]
    fn ids_in_scientific_form_are_known() {
        for id in ["1,23457E+19", "1.2E+15", "9.99e+3", "1E+15"] {
            assert!(is_scientific(id), "{id}");
        }
        for id in [
            "E+5", "12.3E+4", "1.2E5", "1.2E-5", "1.E+5", "1.2E+", "A1.2E+5", "1.2E+5x", "",
        ] {
            assert!(!is_scientific(id), "{id}");
        }
    }

    #[test]
    fn outer_blanks_go_and_line_breaks_stay() {
        assert_eq!(trimmed(" a b\u{a0}"), "a b");
        assert_eq!(trimmed("a\n"), "a\n");
        assert_eq!(trimmed("\ta"), "\ta");
    }
}
