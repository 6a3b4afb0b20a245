//! The line of column names: which delimiter it was written with, and which column is what.
//!
//! *What it promises.* Only the header decides, never the look of the rows below it. Names are known in
//! Spanish and English, whatever their case, accents and separators. A missing or doubled column is
//! refused by name.
//!
//! *What it refuses to know.* Rows.

use csv::StringRecord;

use super::MAX_COLUMNS;
use super::refusal::FileRefusal;
use super::words::{folded, printable, without_card_ids};
use crate::domain::card_number;

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
    /// One that a result file or a file of rows to fix added; such a file submitted again has them.
    Ours,
}

/// What people call each column: first its name, then others in Spanish and English. Without the
/// separators, accents and capitals that matching ignores.
const NAMES: [(Column, &str, &[&str]); 8] = [
    (
        Column::EntityId,
        "entity_id",
        &["identidad", "entidad", "referencia", "externalid"],
    ),
    (Column::CardId, "card_id", &["tarjeta", "idtarjeta", "card"]),
    (
        Column::Operation,
        "operation",
        &["operacion", "tipooperacion", "tipodeoperacion"],
    ),
    (Column::Amount, "amount", &["monto", "valor", "importe"]),
    (
        Column::AmountMinor,
        "amount_minor",
        &[
            "montocentavos",
            "montoencentavos",
            "valorcentavos",
            "valorencentavos",
            "importecentavos",
            "importeencentavos",
        ],
    ),
    (Column::Currency, "currency", &["moneda", "divisa"]),
    (
        Column::Description,
        "description",
        &["descripcion", "concepto", "detalle"],
    ),
    (
        Column::NotAfter,
        "not_after",
        &["vence", "vencimiento", "nodespuesde"],
    ),
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

/// The column that a file of rows to fix adds, last.
pub(super) const ERROR_COLUMN: &str = "tanda_error";

/// The column of a result file that says why.
const REASON_COLUMN: &str = "tanda_reason";

/// The longest part of an unknown name that is shown, in characters.
const SHOWN_NAME_CHARS: usize = 40;

/// Case, accents, outer white space, and space, hyphen and underscore do not tell names apart.
fn plain(name: &str) -> String {
    let mut plain = folded(name);
    plain.retain(|c| !matches!(c, ' ' | '-' | '_'));
    plain
}

fn recognise(name: &str) -> Option<Column> {
    let name = plain(name);
    if RESULT_COLUMNS
        .iter()
        .chain([&ERROR_COLUMN])
        .any(|ours| plain(ours) == name)
    {
        return Some(Column::Ours);
    }
    NAMES
        .iter()
        .find(|(_, known, others)| plain(known) == name || others.contains(&name.as_str()))
        .map(|&(column, _, _)| column)
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
    /// Where this program wrote why it did not take a row.
    pub(super) reasons: Vec<usize>,
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
        if let Some(what) = doubled(&columns, cells) {
            let remedy = "Keep the right one and rename or remove the other.";
            return refuse("duplicate_column", what, remedy);
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
            reasons: reasons(cells),
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

    /// For each column, whether an earlier reading added it.
    pub(super) fn is_ours(&self) -> impl Iterator<Item = bool> + '_ {
        self.columns
            .iter()
            .map(|column| *column == Some(Column::Ours))
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
                | Column::Ours,
            )
            | None => false,
        }
    }
}

/// A name as it is shown. Where the first line is a row, its cells are what that row says (I12).
fn shorten(name: &str) -> String {
    if card_number::is_in(name) {
        return "...".to_owned();
    }
    printable(&without_card_ids(name), SHOWN_NAME_CHARS)
}

/// Says which two columns are the same field, if any are.
fn doubled(columns: &[Option<Column>], cells: &StringRecord) -> Option<String> {
    NAMES.iter().find_map(|(column, name, _)| {
        let mut named = columns
            .iter()
            .zip(cells)
            .filter(|(found, _)| **found == Some(*column))
            .map(|(_, cell)| shorten(cell.trim()));
        let (first, second) = (named.next()?, named.next()?);
        Some(format!(
            "the columns \"{first}\" and \"{second}\" are both {name}"
        ))
    })
}

fn reasons(cells: &StringRecord) -> Vec<usize> {
    let says_why = |cell: &str| {
        let name = plain(cell);
        name == plain(REASON_COLUMN) || name == plain(ERROR_COLUMN)
    };
    let of = |(index, cell): (usize, &str)| says_why(cell).then_some(index);
    cells.iter().enumerate().filter_map(of).collect()
}

fn missing(column: Column, cells: &StringRecord, line: u64, file: &str) -> FileRefusal {
    let (name, others) = NAMES
        .iter()
        .find(|(known, _, _)| *known == column)
        .map_or(("", &[][..]), |&(_, name, others)| (name, others));
    let unlikeness = |cell: &str| {
        let names = others
            .iter()
            .copied()
            .map(str::to_owned)
            .chain([plain(name)]);
        names.map(|name| distance(&plain(cell), &name)).min()
    };
    let nearest = cells
        .iter()
        .filter(|cell| recognise(cell).is_none() && !cell.trim().is_empty())
        .min_by_key(|cell| unlikeness(cell));
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
            "tanda_error",
        ])
        .expect("a header");
        assert_eq!(header.reasons, [9]);
        assert_eq!((header.entity_id, header.card_id), (0, 1));
        assert_eq!((header.amount, header.amount_minor), (None, Some(3)));
        assert_eq!((header.description, header.not_after), (None, Some(5)));
        assert_eq!(header.unknown_columns(), ["notes", "(column 8, no name)"]);
    }

    #[test]
    fn every_field_has_names_in_both_languages() {
        let english = ["entity_id", "card_id", "operation", "amount", "currency"];
        for (at, names) in [
            (0, ["ID Entidad", "entidad", "Referencia", "external-id"]),
            (1, ["Tarjeta", "id_tarjeta", "CARD", "ID-TARJETA"]),
            (
                2,
                [
                    "Operación",
                    "operacio\u{301}n",
                    "TIPO OPERACIÓN",
                    "tipo_de_operación",
                ],
            ),
            (3, ["Monto", "VALOR", " importe ", "Monto_Centavos"]),
            (4, ["moneda", "Divisa", "MONEDA", "Currency"]),
        ] {
            for name in names {
                let mut cells = english;
                cells[at] = name;
                let header = header(&cells).expect(name);
                assert_eq!(header.unknown_columns(), [""; 0], "{name}");
            }
        }
        let optional = ["Descripción", "No después de"];
        let header = header(&[&english[..], &optional].concat()).expect("a header");
        assert_eq!((header.description, header.not_after), (Some(5), Some(6)));
    }

    #[test]
    fn a_field_that_is_there_twice_is_refused_by_both_names() {
        for (names, told) in [
            (
                ["Monto", "valor"],
                "the columns \"Monto\" and \"valor\" are both amount",
            ),
            (
                ["amount", "AMOUNT"],
                "the columns \"amount\" and \"AMOUNT\" are both amount",
            ),
        ] {
            let head = ["entity_id", "card_id", "operation", "currency"];
            let refusal = header(&[&head[..], &names].concat()).expect_err("twice");
            assert_eq!(
                (refusal.code, refusal.what.as_str()),
                ("duplicate_column", told)
            );
        }
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
    fn i12_a_row_in_place_of_the_names_does_not_show_its_card() {
        for cell in ["car_5tgliBmzjZ6mpQPRbQjfKj", "4111 1111 1111 1111"] {
            let told = |cells: &[&str]| header(cells).expect_err("no header").what;
            let what = told(&[cell, "valor"]);
            assert!(!what.contains(cell) && what.contains("..."), "{what}");
            let rest = [
                "entity_id",
                "card_id",
                "operation",
                "amount",
                "currency",
                cell,
            ];
            let unknown = header(&rest).expect("a header").unknown_columns();
            assert!(!unknown.concat().contains(cell), "{unknown:?}");
        }
    }

    #[test]
    fn distances_are_levenshteins() {
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("amount", "amount"), 0);
    }
}
