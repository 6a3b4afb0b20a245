//! How a file is written, [`tanda::files`]: delimiter, quotes, line ends, byte order mark, `sep=` line,
//! order and language of its columns.
//!
//! The bytes choose a dialect and cells, which are written here by RFC 4180. The file is read with the
//! delimiter that it was written with, and every cell as it was; a row with nothing wrong is a job that
//! says what its cells say.

use arbitrary::Unstructured;
use tanda::files::{Delimiter, ReadingRules, RowContent};

use super::Target;
use super::desk::Desk;

pub(super) const TARGET: Target = Target {
    name: "csv_dialect",
    body,
    cases: 1_500,
    words: &[
        "\"",
        "\"\"",
        ",",
        ";",
        "\t",
        "\r",
        "\n",
        "'",
        "=",
        "entity_id",
        "operation,amount",
        "ñ",
        "\u{feff}",
        "sep=;",
        "\u{a0}",
        "total",
    ],
};

const CARD: &str = "car_5tgliBmzjZ6mpQPRbQjfKj";
/// The columns of a job with some of their names, the first four of any case and with accents.
const NAMES: [[&str; 3]; 6] = [
    ["entity_id", "Referencia", "ID Entidad"],
    ["card_id", "Tarjeta", "CARD-ID"],
    ["operation", "Operación", "tipo_operacion"],
    ["amount_minor", "Monto centavos", "importe_en_centavos"],
    ["currency", "Moneda", "divisa"],
    ["description", "Concepto", "Detalle"],
];
const ROWS_MAX: usize = 5;
const CELL_MAX_CHARS: usize = 60;

/// A file before it is written.
struct File {
    delimiter: Delimiter,
    line_end: &'static str,
    quotes_all: bool,
    has_bom: bool,
    has_sep_line: bool,
    order: Vec<usize>,
    header: Vec<String>,
    rows: Vec<[String; 6]>,
}

fn draw(bytes: &[u8]) -> arbitrary::Result<File> {
    let mut from = Unstructured::new(bytes);
    let flags: u8 = from.arbitrary()?;
    let mut order: Vec<usize> = (0..NAMES.len()).collect();
    for last in (1..order.len()).rev() {
        order.swap(last, from.int_in_range(0..=last)?);
    }
    let mut header = Vec::new();
    for names in &NAMES {
        header.push((*from.choose(names)?).to_owned());
    }
    let count = from.int_in_range(1..=ROWS_MAX)?;
    let mut rows = Vec::new();
    for number in 0..count {
        let amount = from.int_in_range(1..=9_999_999_u64)?;
        let operation = *from.choose(&["topup", "retiro", "Recarga", "WITHDRAWAL"])?;
        let cell = |from: &mut Unstructured<'_>| -> arbitrary::Result<String> {
            let length = from.int_in_range(0..=CELL_MAX_CHARS)?;
            let length = length.min(from.len());
            let text = String::from_utf8_lossy(from.bytes(length)?).replace('\0', "");
            Ok(text)
        };
        // What stands before keeps names apart, and blank rows away.
        let id = format!("{number}x{}", cell(&mut from)?);
        let description = cell(&mut from)?;
        let amount = amount.to_string();
        let cells = [
            id,
            CARD.to_owned(),
            operation.to_owned(),
            amount,
            "COP".to_owned(),
            description,
        ];
        rows.push(cells);
    }
    Ok(File {
        delimiter: Delimiter::ALL[usize::from(flags % 3)],
        line_end: ["\n", "\r\n", "\r"][usize::from(flags / 3 % 3)],
        quotes_all: flags & 32 != 0,
        has_bom: flags & 64 != 0,
        has_sep_line: flags & 128 != 0,
        order,
        header,
        rows,
    })
}

impl File {
    fn write(&self) -> String {
        let mut text = String::new();
        if self.has_bom {
            text.push('\u{feff}');
        }
        let sign = char::from(self.delimiter.as_byte());
        if self.has_sep_line {
            text.extend(["sep=", sign.encode_utf8(&mut [0; 4]), self.line_end]);
        }
        let mut line = |cells: &[String]| {
            let cells: Vec<String> = self
                .order
                .iter()
                .map(|&at| self.quoted(&cells[at], sign))
                .collect();
            text.push_str(&cells.join(&sign.to_string()));
            text.push_str(self.line_end);
        };
        line(&self.header);
        self.rows.iter().for_each(|cells| line(cells));
        text
    }

    fn quoted(&self, cell: &str, sign: char) -> String {
        if self.quotes_all || cell.contains(['"', '\r', '\n', sign]) {
            format!("\"{}\"", cell.replace('"', "\"\""))
        } else {
            cell.to_owned()
        }
    }
}

fn body(bytes: &[u8]) {
    let Ok(file) = draw(bytes) else {
        return;
    };
    let desk = Desk::new(ReadingRules::default());
    let spool = desk.spool(file.write().as_bytes()).expect("text is taken");
    let checked = desk.check(&spool).expect("a table of jobs");
    assert_eq!(checked.delimiter, file.delimiter);
    assert_eq!(checked.oddities.has_bom, file.has_bom);
    assert_eq!(checked.oddities.has_sep_line, file.has_sep_line);
    assert!(checked.oddities.unknown_columns.is_empty());
    let rows = desk.rows(&spool, &checked);
    assert_eq!(rows.len(), file.rows.len());
    for (row, cells) in rows.iter().zip(&file.rows) {
        let written: Vec<&str> = file.order.iter().map(|&at| cells[at].as_str()).collect();
        for (read, written) in row.cells().zip(&written) {
            // An apostrophe before a formula is a mark that this program writes, and drops.
            let is_marked = written.contains('\'');
            assert!(is_marked || read == *written, "{read:?} for {written:?}");
        }
        if let RowContent::Job(job) = &row.content {
            let [id, card, operation, amount, _, description] = cells;
            let is_marked = |cell: &str| cell.contains('\'');
            assert!(is_marked(id) || job.entity_id.as_str() == id.trim());
            assert_eq!(job.card_id.as_str(), card);
            assert_eq!(job.amount.minor().to_string(), *amount);
            let topup = ["topup", "Recarga"].contains(&operation.as_str());
            assert_eq!(job.operation.as_str() == "topup", topup);
            let said = job.description.as_deref().unwrap_or_default();
            assert!(is_marked(description) || said == description.trim());
        }
    }
}
