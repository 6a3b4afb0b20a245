//! Names of files, as hostile as a file system takes them, [`tanda::files`].
//!
//! A file is found under its name whatever that is, and no message and no record about it holds a
//! character that steers a terminal or ends a line, nor a folder that its name does not stand in.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;

use tanda::files::refusal::shown;
use tanda::files::{ReadingRules, Spool, check};

use super::Target;
use super::telling::{assert_tells, steers};

pub(super) const TARGET: Target = Target {
    name: "file_name",
    body,
    cases: 1_500,
    words: &[
        "..",
        "../",
        "-rf",
        "--results=",
        "\u{1b}]0;x\u{7}",
        "\u{9b}2J",
        "\r",
        "\u{85}",
        "\u{2028}",
        "\u{200f}",
        "\u{2066}",
        ".csv",
        "NUL",
        "%s",
        "~",
        "$(x)",
        "`x`",
        "|",
        "*",
        "\u{e9}",
        "\\x1b",
    ],
};

/// The longest name that file systems take, in bytes.
const NAME_MAX_BYTES: usize = 255;
/// A byte of a name that cannot be shown takes the most room as `\u{10ffff}`.
const SHOWN_PER_BYTE: usize = 10;

fn body(bytes: &[u8]) {
    let name: Vec<u8> = bytes
        .iter()
        .copied()
        .filter(|byte| !matches!(byte, 0 | b'/'))
        .take(NAME_MAX_BYTES)
        .collect();
    if matches!(name.as_slice(), b"" | b"." | b"..") {
        return;
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join(OsStr::from_bytes(&name));
    let place = shown(folder.path());
    let whole = shown(&path);
    let most = place.len() + 1 + name.len() * SHOWN_PER_BYTE;
    assert_tells(&whole, most);
    assert!(whole.starts_with(&place), "{whole}");

    let rules = ReadingRules::default();
    let missing = Spool::take(&path, folder.path(), rules.max_bytes).expect_err("not there yet");
    let refusal = missing.refusal().expect("a file that is not there");
    assert_eq!(refusal.code, "not_found");
    assert_tells(&missing.to_string(), most + 256);

    if fs::write(&path, "entity_id;card_id;operation;amount;currency\n").is_err() {
        // This file system does not take such a name.
        return;
    }
    let spool = Spool::take(&path, folder.path(), rules.max_bytes).expect("it is there");
    assert_eq!(spool.file(), whole);
    let recorded = spool.name();
    assert!(recorded.chars().count() <= NAME_MAX_BYTES, "{recorded}");
    assert!(
        !recorded.chars().any(steers) && !recorded.contains('/'),
        "{recorded:?}"
    );
    assert!(!recorded.is_empty());
    let refused = check(&spool, &rules).expect_err("no rows");
    assert_tells(&refused.to_string(), most + 256);
    assert!(refused.to_string().starts_with(&whole), "{refused}");
}
