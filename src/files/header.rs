//! The line of column names: which delimiter it was written with, and which column is what.
//!
//! *What it promises.* Only the header decides, never the look of the rows below it. A missing or
//! doubled column is refused by name.
//!
//! *What it refuses to know.* Rows.

use csv::StringRecord;

use super::MAX_COLUMNS;
use super::refusal::FileRefusal;

/// What separates the cells of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delimiter {
    /// `,`
    Comma,
    /// `;`
    Semicolon,
    /// A tab.
    Tab,
}

impl Delimiter {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Comma, Self::Semicolon, Self::Tab];

    /// The byte.
    #[must_use]
    pub const fn as_byte(self) -> u8 {
        match self {
            Self::Comma => b',',
            Self::Semicolon => b';',
            Self::Tab => b'\t',
        }
    }

    /// As it is shown to people.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Comma => ",",
            Self::Semicolon => ";",
            Self::Tab => "tab",
        }
    }
}

/// A column that means something here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Column {
    EntityId,
    CardId,
    Operation,
    Amount,
    AmountMinor,
    Currency,
    Description,
    NotAfter,
    /// One that a result file added; a result file submitted again has them.
    Result,
}

/// The documented names, without the separators that matching ignores.
const NAMES: [(&str, &str, Column); 8] = [
    ("entityid", "entity_id", Column::EntityId),
    ("cardid", "card_id", Column::CardId),
    ("operation", "operation", Column::Operation),
    ("amount", "amount", Column::Amount),
    ("amountminor", "amount_minor", Column::AmountMinor),
    ("currency", "currency", Column::Currency),
    ("description", "description", Column::Description),
    ("notafter", "not_after", Column::NotAfter),
];

/// The columns that a result file adds, in their order.
pub(super) const RESULT_COLUMNS: [&str; 8] = [
    "tanda_status",
    "tanda_reason",
    "tanda_bank_code",
    "tanda_bank_log_id",
    "tanda_operation_id",
    "tanda_key",
    "tanda_generation",
    "tanda_settled_at",
];

/// The longest part of an unknown name that is shown, in characters.
const SHOWN_NAME_CHARS: usize = 40;

/// Case, outer white space, and space, hyphen and underscore do not tell names apart.
fn plain(name: &str) -> String {
    name.trim()
        .chars()
        .filter(|c| !matches!(c, ' ' | '-' | '_'))
        .flat_map(char::to_lowercase)
        .collect()
}

fn recognise(name: &str) -> Option<Column> {
    let name = plain(name);
    if RESULT_COLUMNS.iter().any(|ours| plain(ours) == name) {
        return Some(Column::Result);
    }
    NAMES
        .iter()
        .find(|(known, _, _)| *known == name)
        .map(|&(_, _, column)| column)
}

/// How many cells of a line are documented names.
pub(super) fn known_names(cells: &StringRecord) -> usize {
    cells
        .iter()
        .filter(|cell| recognise(cell).is_some())
        .count()
}

/// Where each field of a job stands in a row.
#[derive(Clone, Debug)]
pub(super) struct Header {
    pub(super) line: u64,
    pub(super) cells: Vec<String>,
    columns: Vec<Option<Column>>,
    pub(super) entity_id: usize,
    pub(super) card_id: usize,
    pub(super) operation: usize,
    pub(super) amount: Option<usize>,
    pub(super) amount_minor: Option<usize>,
    pub(super) currency: usize,
    pub(super) description: Option<usize>,
    pub(super) not_after: Option<usize>,
}

impl Header {
    /// Reads the line of column names, which has at least one documented one.
    pub(super) fn read(cells: &StringRecord, line: u64, file: &str) -> Result<Self, FileRefusal> {
        let refuse = |code, what: String, remedy: &str| {
            Err(FileRefusal::new(code, file, Some(line), what, remedy))
        };
        if cells.len() > MAX_COLUMNS {
            let what = format!("it has {} columns; {MAX_COLUMNS} are read", cells.len());
            return refuse(
                "too_many_columns",
                what,
                "Remove columns and save it again.",
            );
        }
        let columns: Vec<_> = cells.iter().map(recognise).collect();
        let at = |column| columns.iter().position(|found| *found == Some(column));
        for (_, name, column) in NAMES {
            if columns
                .iter()
                .filter(|found| **found == Some(column))
                .count()
                > 1
            {
                let what = format!("two columns are called {name}");
                let remedy = "Keep the right one and rename or remove the other.";
                return refuse("duplicate_column", what, remedy);
            }
        }
        let required = |column| at(column).ok_or_else(|| missing(column, cells, line, file));
        let amount = at(Column::Amount);
        let amount_minor = at(Column::AmountMinor);
        let header = Self {
            line,
            cells: cells.iter().map(str::to_owned).collect(),
            entity_id: required(Column::EntityId)?,
            card_id: required(Column::CardId)?,
            operation: required(Column::Operation)?,
            amount: if amount_minor.is_some() {
                amount
            } else {
                Some(required(Column::Amount)?)
            },
            amount_minor,
            currency: required(Column::Currency)?,
            description: at(Column::Description),
            not_after: at(Column::NotAfter),
            columns,
        };
        Ok(header)
    }

    /// How many cells a row must have.
    pub(super) fn len(&self) -> usize {
        self.columns.len()
    }

    /// The columns that are ignored, as they are shown to people.
    pub(super) fn unknown_columns(&self) -> Vec<String> {
        let named = |(index, cell): (usize, &String)| match cell.trim() {
            "" => format!("(column {}, no name)", index + 1),
            name => shorten(name),
        };
        self.cells
            .iter()
            .enumerate()
            .zip(&self.columns)
            .filter(|(_, column)| column.is_none())
            .map(|(cell, _)| named(cell))
            .collect()
    }

    /// For each column, whether it is one of a result file's own.
    pub(super) fn is_result_column(&self) -> impl Iterator<Item = bool> + '_ {
        self.columns
            .iter()
            .map(|column| *column == Some(Column::Result))
    }

    /// Whether a cell of the last column that was cut off could pass for a whole one: `40000` cut
    /// to `4000`, `EMP-12` to `EMP-1`. The other fields have a fixed form, or do not decide who is paid
    /// how much.
    pub(super) fn last_column_may_be_cut_unseen(&self) -> bool {
        match self.columns.last().copied().flatten() {
            Some(Column::EntityId | Column::Amount | Column::AmountMinor | Column::NotAfter) => {
                true
            }
            Some(
                Column::CardId
                | Column::Operation
                | Column::Currency
                | Column::Description
                | Column::Result,
            )
            | None => false,
        }
    }
}

fn shorten(name: &str) -> String {
    name.chars().take(SHOWN_NAME_CHARS).collect()
}

fn missing(column: Column, cells: &StringRecord, line: u64, file: &str) -> FileRefusal {
    let name = NAMES
        .iter()
        .find(|(_, _, known)| *known == column)
        .map_or("", |&(_, name, _)| name);
    let nearest = cells
        .iter()
        .filter(|cell| recognise(cell).is_none() && !cell.trim().is_empty())
        .min_by_key(|cell| distance(&plain(cell), &plain(name)));
    let or_minor = if column == Column::Amount {
        " (or amount_minor)"
    } else {
        ""
    };
    let what = match nearest {
        Some(cell) => format!(
            "there is no column {name}{or_minor}; the nearest name is \"{}\"",
            shorten(cell.trim())
        ),
        None => format!("there is no column {name}{or_minor}"),
    };
    let remedy = format!("Give the column with it the name {name} and save the file again.");
    FileRefusal::new("missing_column", file, Some(line), what, remedy)
}

/// Levenshtein's distance, by characters of the first [`SHOWN_NAME_CHARS`].
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().take(SHOWN_NAME_CHARS).collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().take(SHOWN_NAME_CHARS).enumerate() {
        let mut left = i + 1;
        let mut next = vec![left];
        for (y, (&diagonal, &above)) in b.iter().zip(row.iter().zip(row.iter().skip(1))) {
            left = (diagonal + usize::from(x != *y))
                .min(above + 1)
                .min(left + 1);
            next.push(left);
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(names: &[&str]) -> Result<Header, FileRefusal> {
        Header::read(&StringRecord::from(names.to_vec()), 1, "f.csv")
    }

    #[test]
    fn names_match_whatever_their_case_and_separators() {
        let header = header(&[
            " Entity ID ",
            "CARD-ID",
            "operation",
            "Amount_Minor",
            "currency",
            "Not After",
            "notes",
            "",
            "Tanda Status",
        ])
        .expect("a header");
        assert_eq!((header.entity_id, header.card_id), (0, 1));
        assert_eq!((header.amount, header.amount_minor), (None, Some(3)));
        assert_eq!((header.description, header.not_after), (None, Some(5)));
        assert_eq!(header.unknown_columns(), ["notes", "(column 8, no name)"]);
    }

    #[test]
    fn a_missing_column_is_named_with_the_nearest() {
        let refusal = header(&[
            "entity_id",
            "card_id",
            "operation",
            "ammount",
            "x",
            "currency",
        ])
        .expect_err("no amount");
        assert_eq!(refusal.code, "missing_column");
        assert!(
            refusal.what.contains("amount (or amount_minor)"),
            "{refusal}"
        );
        assert!(refusal.what.contains("\"ammount\""), "{refusal}");
    }

    #[test]
    fn distances_are_levenshteins() {
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("amount", "amount"), 0);
    }
}
