//! Files that are made of another: its columns in order, and others after them.
//!
//! *What it promises.* Delimiter, byte order mark and `sep=` line are those of the original; lines end
//! in CRLF, as RFC 4180 has it. No cell becomes a formula in a sheet, and reading it back gives what
//! was read before. Cells beyond the columns of the original stand at the end of their row. The file
//! appears whole or not at all, readable by its owner only, and takes the place of nothing but an
//! older file of its kind.
//!
//! *What it refuses to know.* What is written.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, BufWriter, Read as _, Write};
use std::path::{Path, PathBuf};

use csv::{QuoteStyle, StringRecord, Terminator, WriterBuilder};
use tempfile::NamedTempFile;

use super::MAX_ROW_BYTES;
use super::formula::guarded;
use super::original::Layout;
use super::refusal::{FileRefusal, FilesError, shown};

/// Writes a file beside its final name and gives it that name when it is whole.
pub(super) struct TableWriter {
    writer: csv::Writer<BufWriter<NamedTempFile>>,
    kept: Vec<bool>,
    path: PathBuf,
}

impl TableWriter {
    /// Begins a file with the columns of the original and these; an existing one of this name stays
    /// until the new is whole.
    pub(super) fn create(
        path: &Path,
        layout: &Layout,
        columns: &[&str],
    ) -> Result<Self, FilesError> {
        let failed = |error| FilesError::io("beginning the file", &shown(path), error);
        // `tempfile` creates with mode 0600, and the rename keeps it.
        let file = tempfile::Builder::new()
            .prefix(".tanda-")
            .suffix(".part")
            .tempfile_in(folder_of(path))
            .map_err(failed)?;
        let mut file = BufWriter::new(file);
        if layout.has_bom {
            file.write_all("\u{feff}".as_bytes()).map_err(failed)?;
        }
        let delimiter = layout.delimiter.as_byte();
        if layout.has_sep_line {
            write!(file, "sep={}\r\n", char::from(delimiter)).map_err(failed)?;
        }
        let writer = WriterBuilder::new()
            .delimiter(delimiter)
            .terminator(Terminator::CRLF)
            .quote_style(QuoteStyle::Necessary)
            .flexible(true)
            .from_writer(file);
        let mut table = Self {
            writer,
            kept: layout.kept.clone(),
            path: path.to_owned(),
        };
        table.write(layout.names.iter().map(String::as_str), columns)?;
        Ok(table)
    }

    /// Adds a row of the original with the cells that follow it.
    pub(super) fn row(&mut self, record: &StringRecord, ours: &[&str]) -> Result<(), FilesError> {
        self.write(record.iter(), ours)
    }

    fn write<'a>(
        &mut self,
        originals: impl Iterator<Item = &'a str>,
        ours: &[&str],
    ) -> Result<(), FilesError> {
        let columns = self.kept.len();
        let mut cells: Vec<Cow<'a, str>> = originals.map(guarded).collect();
        let beyond = cells.split_off(columns.min(cells.len()));
        cells.resize(columns, Cow::Borrowed(""));
        let kept = cells.iter().zip(&self.kept).filter(|(_, kept)| **kept);
        let row = kept
            .map(|(cell, _)| &**cell)
            .chain(ours.iter().copied())
            .chain(beyond.iter().map(|cell| &**cell));
        self.writer
            .write_record(row)
            .map_err(|error| FilesError::io("writing it", &shown(&self.path), error.into()))
    }

    /// Makes the file durable under its final name; otherwise the name keeps what it had.
    pub(super) fn finish(self) -> Result<(), FilesError> {
        let failed = |error| FilesError::io("finishing it", &shown(&self.path), error);
        let buffered = self
            .writer
            .into_inner()
            .map_err(|error| failed(io::Error::other(error.to_string())))?;
        let file = buffered
            .into_inner()
            .map_err(|error| failed(error.into_error()))?;
        file.as_file().sync_all().map_err(failed)?;
        file.persist(&self.path)
            .map_err(|error| failed(error.error))?;
        // The rename itself is durable only once the folder is.
        File::open(folder_of(&self.path))
            .and_then(|folder| folder.sync_all())
            .map_err(failed)
    }
}

/// What is to be written somewhere, for messages about the place.
pub(super) struct Kind {
    /// Its code where the place is taken.
    pub(super) code: &'static str,
    /// What it is called.
    pub(super) name: &'static str,
    /// The flag that names its place.
    pub(super) flag: &'static str,
    /// The column that only a file of this kind has.
    pub(super) column: &'static str,
}

/// Whether a file of this kind may be written here: a file that is there is replaced only where it
/// is of this kind, and none of those that are read.
pub(super) fn check_place(path: &Path, inputs: &[&Path], kind: &Kind) -> Result<(), FilesError> {
    let file = shown(path);
    let failed = |error| FilesError::io("making a file here", &file, error);
    let refuse = |what: String| {
        let remedy = format!("Name another place with {} PATH.", kind.flag);
        Err(FileRefusal::new(kind.code, &file, None, what, remedy).into())
    };
    tempfile::tempfile_in(folder_of(path)).map_err(failed)?;
    let there = match path.metadata() {
        Ok(there) => there,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
    };
    let name = kind.name;
    if !there.is_file() {
        return refuse(format!(
            "something is there that is not a file, and the {name} would replace it"
        ));
    }
    let place = path.canonicalize().map_err(failed)?;
    for input in inputs {
        if input.canonicalize().is_ok_and(|input| input == place) {
            return refuse(format!(
                "this is the file to read, and the {name} would replace it"
            ));
        }
    }
    if there.len() == 0 || has_column(&place, kind.column).map_err(failed)? {
        return Ok(());
    }
    refuse(format!(
        "a file is there that is not a {name}, and it would be replaced"
    ))
}

/// Whether two files would be one.
#[must_use]
pub fn is_same_place(one: &Path, other: &Path) -> bool {
    let whole = |path: &Path| {
        let folder = folder_of(path).canonicalize().ok()?;
        path.canonicalize()
            .ok()
            .or_else(|| Some(folder.join(path.file_name()?)))
    };
    one == other || whole(one).is_some_and(|one| whole(other) == Some(one))
}

/// Whether the line of column names of a file has this one.
fn has_column(path: &Path, column: &str) -> io::Result<bool> {
    let mut head = Vec::new();
    File::open(path)?
        .take(MAX_ROW_BYTES)
        .read_to_end(&mut head)?;
    let text = String::from_utf8_lossy(&head);
    let is_header = |line: &&str| !line.is_empty() && !line.starts_with("sep=");
    let header = text
        .trim_start_matches('\u{feff}')
        .split(['\r', '\n'])
        .find(is_header)
        .unwrap_or_default();
    let name = |cell: &str| cell.trim_matches('"') == column;
    Ok(header.split([',', ';', '\t']).any(name))
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        Some(_) | None => Path::new("."),
    }
}
