//! Rows: what a person asked for, each as a job or as everything that is wrong with it.
//!
//! *What it promises.* Every row with something in it is a [`Row`], in order, with its physical
//! line. All its errors are told at once. No error shows a whole card id (I12).
//!
//! *What it refuses to know.* Other rows: whether an `entity_id` is there twice is for the check.

use csv::StringRecord;

use super::amount::{BadAmount, read_major, read_minor};
use super::guard::{Ending, Flaw, Mark};
use super::header::{Delimiter, Header};
use super::refusal::{FileRefusal, FilesError};
use super::spool::Spool;
use super::table::Table;
use super::{MAX_CELL_CHARS, ReadingRules};
use crate::domain::job::{CardId, Draft, Fault, Job};
use crate::domain::money::{Currencies, Currency};

/// A row of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The physical line where it begins, from 1.
    pub line: u64,
    /// The job it asks for, or what is wrong with it, by field.
    pub job: Result<Job, Vec<RowError>>,
}

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
            value: without_card_ids(value),
            message: message.into(),
        }
    }

    fn of_row(line: u64, code: &'static str, message: impl Into<String>) -> Self {
        Self::new(line, "row", code, "", message)
    }
}

/// Columns get swapped: whatever looks like a card id is shortened, in every field.
fn without_card_ids(value: &str) -> String {
    let of_card_id = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    let mut shown = String::with_capacity(value.len());
    for piece in value.split_inclusive(|c| !of_card_id(c)) {
        let word = piece.trim_end_matches(|c| !of_card_id(c));
        match CardId::parse(word) {
            Ok(card) => shown.push_str(&card.to_string()),
            Err(_) => shown.push_str(word),
        }
        shown.push_str(piece.strip_prefix(word).unwrap_or_default());
    }
    shown.chars().take(Fault::VALUE_MAX_CHARS).collect()
}

/// The rows of a private copy, one after another.
pub struct Rows {
    table: Table,
    currencies: Currencies,
    limit: u64,
    count: u64,
    blank: u64,
    draft: Draft,
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
    pub fn open(spool: &Spool, rules: &ReadingRules) -> Result<Self, FilesError> {
        Ok(Self {
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
    pub fn next_row(&mut self) -> Result<Option<Row>, FilesError> {
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
            return Ok(Some(Row {
                line: mark.line,
                job: self.read(mark),
            }));
        }
    }

    /// The delimiter that the header was written with.
    #[must_use]
    pub const fn delimiter(&self) -> Delimiter {
        self.table.delimiter
    }

    /// Blank lines and rows of nothing but delimiters so far, those above the header included.
    #[must_use]
    pub fn skipped(&self) -> u64 {
        self.table.blank_above + self.blank + self.table.records.empty_lines()
    }

    /// Whether the record read last ended with a line break; a file that was cut off does not.
    #[must_use]
    pub const fn ends_with_line_break(&self) -> bool {
        self.ends_with_line_break
    }

    pub(super) const fn header(&self) -> &Header {
        &self.table.header
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

    fn read(&mut self, mark: Mark) -> Result<Job, Vec<RowError>> {
        self.draft.entity_id.clear();
        if let Some(error) = self.broken_as_a_whole(mark) {
            return Err(vec![error]);
        }
        let record = self.table.records.record();
        let header = &self.table.header;
        let cell = |index: usize| trimmed(record.get(index).unwrap_or_default());
        let optional = |index: Option<usize>| index.map(cell).filter(|text| !text.is_empty());
        let draft = &mut self.draft;
        fill(&mut draft.entity_id, cell(header.entity_id));
        fill(&mut draft.card_id, cell(header.card_id));
        fill(&mut draft.operation, cell(header.operation));
        fill(&mut draft.currency, cell(header.currency));
        fill_optional(&mut draft.description, optional(header.description));
        fill_optional(&mut draft.not_after, optional(header.not_after));

        let digits = Currency::parse(&draft.currency)
            .and_then(|currency| self.currencies.minor_digits(currency));
        let amount = read_amount(
            header.amount.map(cell),
            header.amount_minor.map(cell),
            digits,
        );
        // A wrong amount must not hide what else is wrong: 1 stands in for it and is never used.
        draft.amount_minor = amount.as_ref().copied().unwrap_or(1);
        let job = draft.validate(&self.currencies);
        match (job, amount) {
            (Ok(job), Ok(_)) => Ok(job),
            (job, amount) => Err(errors_of(mark.line, job.err(), amount.err())),
        }
    }

    /// Why the cells of this record cannot be trusted to be what their columns say.
    fn broken_as_a_whole(&self, mark: Mark) -> Option<RowError> {
        let record = self.table.records.record();
        let header = &self.table.header;
        let error = |code, message: String| Some(RowError::of_row(mark.line, code, message));
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

    /// Whether a cell of several lines has as many delimiters as a row. A quote too many swallows
    /// everything up to the next one; where that stands in the same column of a later row, the
    /// record has the right number of cells, and the id of one row with the card of another.
    fn holds_swallowed_rows(&self) -> bool {
        let delimiter = char::from(self.table.delimiter.as_byte());
        let of_a_row = self.table.header.len() - 1;
        self.record()
            .iter()
            .any(|cell| cell.contains('\n') && cell.matches(delimiter).count() >= of_a_row)
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

/// Minor units from the columns there are. Without a known currency only the form of the amount
/// in minor units can be judged; the currency is at fault then.
fn read_amount(
    major: Option<&str>,
    minor: Option<&str>,
    digits: Option<u32>,
) -> Result<i64, WrongAmount> {
    let minor = minor
        .map(|text| read_minor(text).map_err(WrongAmount::of("amount_minor", text)))
        .transpose()?;
    let major = match (major, digits) {
        (Some(text), Some(digits)) => {
            let read = read_major(text, digits).map_err(WrongAmount::of("amount", text))?;
            Some((text, read))
        }
        (Some(_), None) | (None, _) => None,
    };
    match (major, minor) {
        (Some((text, major)), Some(minor)) if major != minor => {
            let why = BadAmount {
                code: "amount_disagrees",
                message: format!("is {major} minor units where amount_minor says {minor}"),
            };
            Err(WrongAmount::of("amount", text)(why))
        }
        (Some((_, minor)), _) | (None, Some(minor)) => Ok(minor),
        // The currency is unknown, which `validate` says.
        (None, None) => Ok(1),
    }
}

/// All errors of a row, in the order of the fields.
fn errors_of(line: u64, faults: Option<Vec<Fault>>, amount: Option<WrongAmount>) -> Vec<RowError> {
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
        if fault.field > crate::domain::job::Field::Amount {
            errors.extend(amount.take());
        }
        let Fault {
            field,
            code,
            value,
            message,
        } = fault;
        errors.push(RowError::new(line, field.as_str(), code, &value, message));
    }
    errors.extend(amount);
    errors
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn i12_a_card_id_in_any_column_is_shortened() {
        let shown = without_card_ids("para car_5tgliBmzjZ6mpQPRbQjfKj, y más (car_x)");
        assert_eq!(shown, "para car_5tg...fKj, y más (car_x)");
        assert_eq!(without_card_ids("50.000"), "50.000");
        assert_eq!(without_card_ids(""), "");
        assert_eq!(without_card_ids(" ,; "), " ,; ");
    }

    #[test]
    fn outer_blanks_go_and_line_breaks_stay() {
        assert_eq!(trimmed(" a b\u{a0}"), "a b");
        assert_eq!(trimmed("a\n"), "a\n");
        assert_eq!(trimmed("\ta"), "\ta");
    }
}
