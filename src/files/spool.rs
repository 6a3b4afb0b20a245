//! The private copy of a file: what was checked is what is sent.
//!
//! *What it promises.* A file is opened once; its bytes go into an unlinked temporary file that
//! nobody else can open, and are hashed on the way. Whatever happens to the original afterwards
//! changes nothing. What is not plain text is refused by name before anything else looks at it.
//!
//! *What it refuses to know.* Rows and columns.

use std::fs::{self, File, Metadata};
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileExt, FileTypeExt};
use std::path::Path;
use std::sync::Arc;

use super::SAVE_AS_UTF8;
use super::refusal::{FileRefusal, FilesError, shown};
use crate::domain::digest::{Digest, Digester};

/// How much is copied at once, in bytes: large enough that system calls do not count.
const COPY_CHUNK_BYTES: usize = 128 * 1024;
/// How much of the beginning is looked at to tell text from other formats, in bytes: an
/// `OpenDocument` file names itself within the first 100.
const HEAD_BYTES: usize = 512;
/// The longest name kept on record, in characters: the longest that file systems take.
const NAME_MAX_CHARS: usize = 255;
const UTF8_BOM: &[u8] = b"\xEF\xBB\xBF";

/// A private copy of a file, with its hash.
#[derive(Clone, Debug)]
pub struct Spool {
    copy: Arc<File>,
    file: String,
    bytes: u64,
    sha256: Digest,
    text_begins: u64,
}

impl Spool {
    /// Copies a regular file of at most `max_bytes` into an unlinked file in `spool_dir`, which
    /// must exist.
    ///
    /// # Errors
    /// A refusal where the file is missing, empty, too large, not a regular file, changing while
    /// it is read, or not text; [`FilesError::Io`] where it cannot be copied.
    pub fn take(path: &Path, spool_dir: &Path, max_bytes: u64) -> Result<Self, FilesError> {
        let file = shown(path);
        let mut original = open_regular(path, &file)?;
        let before = original
            .metadata()
            .map_err(|error| FilesError::io("looking at it", &file, error))?;
        let mut copy =
            tempfile::tempfile_in(spool_dir).map_err(|error| not_copied(spool_dir, error))?;
        let (bytes, sha256) = copy_and_hash(&mut original, &mut copy, max_bytes, &file, spool_dir)?;
        let after = original
            .metadata()
            .map_err(|error| FilesError::io("looking at it", &file, error))?;
        if bytes != before.len() || bytes != after.len() || modified(&before) != modified(&after) {
            let what = "it was written to while it was read";
            let remedy = "Wait until it is complete, then try again.";
            return Err(FileRefusal::new("changing", &file, None, what, remedy).into());
        }
        let mut spool = Self {
            copy: Arc::new(copy),
            file,
            bytes,
            sha256,
            text_begins: 0,
        };
        spool.text_begins = spool.find_text()?;
        Ok(spool)
    }

    /// The file as it was named; only for messages.
    #[must_use]
    pub fn file(&self) -> &str {
        &self.file
    }

    /// Its name without folders, for the record: on one line and bounded.
    #[must_use]
    pub fn name(&self) -> String {
        let name = self.file.rsplit('/').next().unwrap_or_default();
        let visible = name.chars().map(|c| if c.is_control() { ' ' } else { c });
        visible.take(NAME_MAX_CHARS).collect()
    }

    /// Its size in bytes.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The hash of all its bytes.
    #[must_use]
    pub const fn sha256(&self) -> Digest {
        self.sha256
    }

    /// Whether it begins with a UTF-8 byte order mark.
    #[must_use]
    pub const fn has_bom(&self) -> bool {
        self.text_begins > 0
    }

    /// A reader of the text, from its beginning, independent of every other.
    pub(super) fn text(&self) -> SpoolReader {
        SpoolReader {
            copy: Arc::clone(&self.copy),
            at: self.text_begins,
        }
    }

    /// Where the text begins, after any byte order marks (programs that join files leave several).
    fn find_text(&self) -> Result<u64, FilesError> {
        let mut head = Vec::with_capacity(HEAD_BYTES);
        let limit = u64::try_from(HEAD_BYTES).expect("a small constant");
        self.text()
            .take(limit)
            .read_to_end(&mut head)
            .map_err(|error| FilesError::io("reading the private copy", &self.file, error))?;
        if let Some((code, what, remedy)) = foreign_format(&head) {
            return Err(FileRefusal::new(code, &self.file, None, what, remedy).into());
        }
        let mut text = head.as_slice();
        let mut begins = 0;
        while let Some(rest) = text.strip_prefix(UTF8_BOM) {
            text = rest;
            begins += 3;
        }
        Ok(begins)
    }
}

/// Opens a file that is a regular one. It is looked at before it is opened, because opening a pipe
/// would wait for a writer, and again afterwards, because it may have been swapped in between.
fn open_regular(path: &Path, file: &str) -> Result<File, FilesError> {
    let refuse = |error: io::Error| not_opened(error, file);
    refuse_irregular(&fs::metadata(path).map_err(refuse)?, file)?;
    let original = File::open(path).map_err(refuse)?;
    let opened = original
        .metadata()
        .map_err(|error| FilesError::io("looking at it", file, error))?;
    refuse_irregular(&opened, file)?;
    Ok(original)
}

fn not_copied(spool_dir: &Path, source: io::Error) -> FilesError {
    let folder = shown(spool_dir);
    FilesError::Spool { folder, source }
}

fn not_opened(error: io::Error, file: &str) -> FilesError {
    let refuse = |code, what, remedy| FileRefusal::new(code, file, None, what, remedy).into();
    if error.kind() == io::ErrorKind::NotFound {
        refuse(
            "not_found",
            "there is no such file",
            "Check its name and folder.",
        )
    } else if error.kind() == io::ErrorKind::PermissionDenied {
        let what = "this user may not read it";
        refuse("not_readable", what, "Change its permissions or its owner.")
    } else {
        FilesError::io("opening it", file, error)
    }
}

fn refuse_irregular(metadata: &Metadata, file: &str) -> Result<(), FilesError> {
    let kind = metadata.file_type();
    let what = if kind.is_file() {
        return Ok(());
    } else if kind.is_dir() {
        "it is a folder, not a file"
    } else if kind.is_fifo() {
        "it is a pipe, not a file: what comes out of it cannot be read twice"
    } else if kind.is_char_device() || kind.is_block_device() {
        "it is a device, not a file"
    } else {
        "it is not a regular file"
    };
    let remedy = "Save the rows as a file and name that.";
    Err(FileRefusal::new("not_a_file", file, None, what, remedy).into())
}

fn modified(metadata: &Metadata) -> Option<std::time::SystemTime> {
    metadata.modified().ok()
}

fn copy_and_hash(
    original: &mut File,
    copy: &mut File,
    max_bytes: u64,
    file: &str,
    spool_dir: &Path,
) -> Result<(u64, Digest), FilesError> {
    let mut chunk = vec![0; COPY_CHUNK_BYTES];
    let mut digester = Digester::default();
    let mut bytes = 0_u64;
    loop {
        let read = match original.read(&mut chunk) {
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(FilesError::io("reading it", file, error)),
        };
        let piece = chunk.get(..read).expect("a read fits its buffer");
        if piece.is_empty() {
            break;
        }
        bytes += u64::try_from(read).expect("a read fits 64 bits");
        if bytes > max_bytes {
            let what = format!("it is larger than {max_bytes} bytes, the most that is taken");
            let remedy = "Split it, or raise the limit in the settings.";
            return Err(FileRefusal::new("too_large", file, None, what, remedy).into());
        }
        digester.update(piece);
        copy.write_all(piece)
            .map_err(|error| not_copied(spool_dir, error))?;
    }
    if bytes == 0 {
        let what = "it is empty";
        let remedy = "Was it saved? A payroll needs a line of column names and at least one row.";
        return Err(FileRefusal::new("empty", file, None, what, remedy).into());
    }
    Ok((bytes, digester.finish()))
}

/// A format that is not CSV in UTF-8, known by its first bytes whatever the file is called.
fn foreign_format(head: &[u8]) -> Option<(&'static str, &'static str, &'static str)> {
    let found = |code, what| Some((code, what, SAVE_AS_UTF8));
    let opening = head.trim_ascii_start();
    if head.starts_with(b"\xFF\xFE") || head.starts_with(b"\xFE\xFF") {
        found(
            "utf16",
            "it is UTF-16 text (Excel calls that \"Unicode Text\")",
        )
    } else if head.starts_with(b"\0\0\xFE\xFF") {
        found("utf32", "it is UTF-32 text")
    } else if head.starts_with(b"PK\x03\x04") {
        if head
            .windows(23)
            .any(|part| part == b"vnd.oasis.opendocument.")
        {
            found("ods", "it is an OpenDocument spreadsheet, not a CSV file")
        } else {
            found(
                "xlsx",
                "it is an Excel workbook or another zip file, not a CSV file",
            )
        }
    } else if head.starts_with(b"\xD0\xCF\x11\xE0") {
        found(
            "xls",
            "it is an old or password-protected Excel workbook, not a CSV file",
        )
    } else if head.starts_with(b"%PDF") {
        found("pdf", "it is a PDF, not a CSV file")
    } else if opening.starts_with(b"<") {
        found(
            "markup",
            "it is a web page or XML, whatever its name says, not a CSV file",
        )
    } else if opening.starts_with(b"{") || opening.starts_with(b"[") {
        found("json", "it is JSON, not a CSV file")
    } else {
        None
    }
}

/// Reads the private copy with a position of its own.
#[derive(Debug)]
pub(super) struct SpoolReader {
    copy: Arc<File>,
    at: u64,
}

impl Read for SpoolReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.copy.read_at(buffer, self.at)?;
        self.at += u64::try_from(read).expect("a read fits 64 bits");
        Ok(read)
    }
}
