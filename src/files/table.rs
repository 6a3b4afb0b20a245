//! Records of a private copy, and the table they make under its header.
//!
//! *What it promises.* Records come with the physical line where they begin and with every breach
//! of the grammar that `csv` forgives; apostrophes that guard against formulas are gone. Text is UTF-8
//! or the file is refused. The header names the delimiter; a `sep=` line above it may only agree.
//!
//! *What it refuses to know.* What a cell means.

use std::borrow::Cow;

use csv::{ErrorKind, ReaderBuilder, StringRecord};

use super::formula::unguarded;
use super::guard::{Guard, Mark, Stop};
use super::header::{Delimiter, Header, known_names};
use super::refusal::{FileRefusal, FilesError};
use super::spool::{Spool, SpoolReader};
use super::words::printable;
use super::{MAX_ROW_BYTES, SAVE_AS_UTF8};

/// How much is read at once, in bytes: it bounds the marks kept ahead of `csv`.
const READ_BYTES: usize = 64 * 1024;

/// The records of a file, one after another.
pub(super) struct Records {
    reader: csv::Reader<Guard<SpoolReader>>,
    record: StringRecord,
    file: String,
}

impl Records {
    fn open(spool: &Spool, delimiter: u8) -> Self {
        let reader = ReaderBuilder::new()
            .delimiter(delimiter)
            .quote(b'"')
            .double_quote(true)
            .escape(None)
            .comment(None)
            .has_headers(false)
            .flexible(true)
            .buffer_capacity(READ_BYTES)
            .from_reader(Guard::new(spool.text(), delimiter));
        Self {
            reader,
            record: StringRecord::new(),
            file: spool.file().to_owned(),
        }
    }

    /// Reads the next record, also a blank one, into [`Self::record`].
    pub(super) fn next(&mut self) -> Result<Option<Mark>, FilesError> {
        match self.reader.read_record(&mut self.record) {
            Ok(false) => Ok(None),
            Ok(true) => {
                let mark = self.reader.get_mut().take_mark();
                assert_eq!(
                    mark.cells,
                    self.record.len(),
                    "guard and csv follow the same grammar (line {})",
                    mark.line
                );
                self.drop_apostrophes();
                Ok(Some(mark))
            }
            Err(error) => Err(self.refusal(error)),
        }
    }

    fn drop_apostrophes(&mut self) {
        if self.record.as_slice().contains('\'') {
            let cells: Vec<_> = self.record.iter().map(unguarded).collect();
            if cells.iter().any(|cell| matches!(cell, Cow::Owned(_))) {
                self.record = cells.iter().map(|cell| &**cell).collect();
            }
        }
    }

    fn refusal(&mut self, error: csv::Error) -> FilesError {
        if let ErrorKind::Utf8 { .. } = error.kind() {
            let line = self.reader.get_mut().take_mark().line;
            let what = "this line is not UTF-8 text; Excel's plain \"CSV\" writes the code page of \
                        its machine, in which accents are other bytes";
            return FileRefusal::new("not_utf8", &self.file, Some(line), what, SAVE_AS_UTF8).into();
        }
        if let Some(stop) = self.reader.get_ref().stop() {
            return stopped(stop, &self.file).into();
        }
        FilesError::io("reading the private copy", &self.file, error.into())
    }

    pub(super) const fn record(&self) -> &StringRecord {
        &self.record
    }

    /// Whether the record read last has nothing in any cell.
    pub(super) fn is_blank(&self) -> bool {
        self.record.iter().all(|cell| cell.trim().is_empty())
    }

    pub(super) fn file(&self) -> &str {
        &self.file
    }

    pub(super) fn empty_lines(&self) -> u64 {
        self.reader.get_ref().empty_lines()
    }
}

fn stopped(stop: Stop, file: &str) -> FileRefusal {
    let (code, line, what, remedy) = match stop {
        Stop::UnclosedQuote(line) => (
            "unclosed_quote",
            line,
            "a quote opens a cell in this line and never closes it, so what follows cannot be \
             told from its text"
                .to_owned(),
            "Close it, or remove it; a quote inside a quoted cell is written twice.",
        ),
        Stop::LongRow(line) => (
            "row_too_long",
            line,
            format!("this row is longer than {MAX_ROW_BYTES} bytes"),
            "Is it a payroll? Save it again from the program that wrote it.",
        ),
        Stop::Nul(line) => (
            "nul_byte",
            line,
            "there is a NUL byte: this is not plain text, or it is UTF-16".to_owned(),
            SAVE_AS_UTF8,
        ),
    };
    FileRefusal::new(code, file, Some(line), what, remedy)
}

/// A file with its header read; the records that follow are its rows.
pub(super) struct Table {
    pub(super) records: Records,
    pub(super) header: Header,
    pub(super) delimiter: Delimiter,
    /// Records above the header with nothing in them.
    pub(super) blank_above: u64,
    /// Whether a `sep=` line stands above the header.
    pub(super) has_sep_line: bool,
}

/// The first record with something in it, read with one delimiter.
struct Opening {
    records: Records,
    line: u64,
    names: usize,
    blank_above: u64,
    /// What a `sep=` line above it says, with its line.
    sep: Option<(u64, String)>,
}

impl Opening {
    fn read(spool: &Spool, delimiter: u8) -> Result<Option<Self>, FilesError> {
        let mut records = Records::open(spool, delimiter);
        let mut blank_above = 0;
        let mut sep = None;
        while let Some(mark) = records.next()? {
            if sep.is_none()
                && let Some(sign) = sep_line(records.record(), delimiter)
            {
                sep = Some((mark.line, sign));
                continue;
            }
            if is_blank_in_any_dialect(records.record()) {
                blank_above += 1;
                continue;
            }
            let names = match mark.flaw {
                None => known_names(records.record()),
                Some(_) => 0,
            };
            return Ok(Some(Self {
                records,
                line: mark.line,
                names,
                blank_above,
                sep,
            }));
        }
        Ok(None)
    }
}

/// What a `sep=` line says, which tells Excel the delimiter.
fn sep_line(record: &StringRecord, delimiter: u8) -> Option<String> {
    let line = record
        .iter()
        .collect::<Vec<_>>()
        .join(char::from(delimiter).encode_utf8(&mut [0; 4]));
    let (key, sign) = line.split_at_checked(4)?;
    key.eq_ignore_ascii_case("sep=").then(|| sign.to_owned())
}

/// Whether a line has nothing but blanks and delimiters, of whichever kind.
fn is_blank_in_any_dialect(record: &StringRecord) -> bool {
    let is_nothing = |c: char| c.is_whitespace() || matches!(c, ',' | ';');
    record.iter().all(|cell| cell.chars().all(is_nothing))
}

impl Table {
    /// Finds the header and the delimiter it was written with: the one under which its line has
    /// documented names.
    pub(super) fn open(spool: &Spool) -> Result<Self, FilesError> {
        let mut found: Option<(Delimiter, Opening)> = None;
        let mut rival = None;
        for delimiter in Delimiter::ALL {
            let Ok(Some(opening)) = Opening::read(spool, delimiter.as_byte()) else {
                continue;
            };
            let most = found.as_ref().map_or(0, |(_, best)| best.names);
            if opening.names > most {
                (found, rival) = (Some((delimiter, opening)), None);
            } else if opening.names == most && most > 1 {
                rival = Some(delimiter);
            }
        }
        let Some((delimiter, opening)) = found else {
            return Err(no_header(spool)?);
        };
        let file = spool.file();
        if let Some(rival) = rival {
            let what = format!(
                "its column names can be read with \"{}\" and with \"{}\" between them",
                delimiter.as_str(),
                rival.as_str()
            );
            let (code, line) = ("ambiguous_delimiter", Some(opening.line));
            let remedy = "Use one of them throughout.";
            return Err(FileRefusal::new(code, file, line, what, remedy).into());
        }
        if let Some((line, sign)) = &opening.sep {
            let agrees = sign.chars().eq([char::from(delimiter.as_byte())]);
            if !agrees {
                return Err(disagreeing_sep(spool, *line, sign, delimiter).into());
            }
        }
        let header = Header::read(opening.records.record(), opening.line, file)?;
        Ok(Self {
            has_sep_line: opening.sep.is_some(),
            records: opening.records,
            header,
            delimiter,
            blank_above: opening.blank_above,
        })
    }
}

fn disagreeing_sep(spool: &Spool, line: u64, sign: &str, delimiter: Delimiter) -> FileRefusal {
    let what = format!(
        "its sep= line says \"{}\" and its column names are separated by \"{}\"",
        printable(sign, 8),
        delimiter.as_str()
    );
    let remedy = "Remove that line, or make it agree.";
    FileRefusal::new("sep_line", spool.file(), Some(line), what, remedy)
}

/// Why no line of column names was found.
fn no_header(spool: &Spool) -> Result<FilesError, FilesError> {
    let refuse = |code, line, what: &str, remedy: &str| {
        Ok(FileRefusal::new(code, spool.file(), line, what, remedy).into())
    };
    let Some(opening) = Opening::read(spool, Delimiter::Comma.as_byte())? else {
        return refuse(
            "empty",
            None,
            "there is nothing in it but blank lines",
            "Was it saved? A payroll needs a line of column names and at least one row.",
        );
    };
    let line = Some(opening.line);
    let piped = Opening::read(spool, b'|')?.is_some_and(|opening| opening.names > 0);
    if piped {
        return refuse(
            "pipe_delimiter",
            line,
            "its cells are separated by |",
            "Save it with a comma, a semicolon or a tab between cells.",
        );
    }
    refuse(
        "no_header",
        line,
        "the first line with something in it has none of the column names",
        "Put a line with entity_id,card_id,operation,amount,currency above the rows, and nothing \
         above that.",
    )
}
