//! Cells that a sheet would take for a formula.
//!
//! *What this is.* A result file is opened in a sheet, and a cell that begins with `=` runs there. So
//! an apostrophe is written before it, as sheets themselves mark text; and because a result file is
//! run again, the same apostrophe is dropped on reading. Otherwise the id `=EMP-1` would come back as
//! `'=EMP-1`, another id, and be paid twice.
//!
//! *What it promises.* For every cell that was read, [`unguarded`] undoes [`guarded`] exactly, so
//! writing and reading again changes nothing, however often. No line of a guarded cell begins, after
//! blanks, with what begins a formula.
//!
//! *What it refuses to know.* Columns.

use std::borrow::Cow;

/// With these a cell, or a line of it, becomes a formula in one sheet or another.
const TRIGGERS: [char; 7] = ['=', '+', '-', '@', '\t', '\r', '\n'];
/// Blanks that sheets pass over before they look for a formula.
const BLANKS: [char; 2] = [' ', '\u{a0}'];
/// What marks text in a sheet.
const MARK: char = '\'';

/// Whether a line, with whatever follows it, begins with a formula.
fn is_triggered(line: &str) -> bool {
    line.trim_start_matches(BLANKS).starts_with(TRIGGERS)
}

/// The lines of a cell with their line ends, of whichever kind.
fn lines(mut cell: &str) -> impl Iterator<Item = (&str, &str)> {
    std::iter::from_fn(move || {
        let rest = Some(cell).filter(|rest| !rest.is_empty())?;
        let end = match rest.find(['\r', '\n']) {
            None => rest.len(),
            Some(at) => match rest.get(at..) {
                Some(ending) if ending.starts_with("\r\n") => at + 2,
                Some(_) | None => at + 1,
            },
        };
        let (line, after) = rest.split_at_checked(end).unwrap_or((rest, ""));
        cell = after;
        Some((line, rest))
    })
}

/// A cell as it is written: an apostrophe before every line that would begin a formula.
pub(super) fn guarded(cell: &str) -> Cow<'_, str> {
    if !lines(cell).any(|(_, rest)| is_triggered(rest)) {
        return Cow::Borrowed(cell);
    }
    let mut safe = String::with_capacity(cell.len() + 1);
    for (line, rest) in lines(cell) {
        if is_triggered(rest) {
            safe.push(MARK);
        }
        safe.push_str(line);
    }
    Cow::Owned(safe)
}

/// A cell as it is read: without one apostrophe before every line that would begin a formula.
pub(super) fn unguarded(cell: &str) -> Cow<'_, str> {
    let is_marked = |rest: &str| rest.strip_prefix(MARK).is_some_and(is_triggered);
    if !cell.contains(MARK) || !lines(cell).any(|(_, rest)| is_marked(rest)) {
        return Cow::Borrowed(cell);
    }
    let mut plain = String::with_capacity(cell.len());
    for (line, rest) in lines(cell) {
        let marked = is_marked(rest);
        plain.push_str(line.strip_prefix(MARK).filter(|_| marked).unwrap_or(line));
    }
    Cow::Owned(plain)
}

/// Bank text and words of ours: one line, without control characters, that no sheet runs.
pub(super) fn harmless(text: &str) -> String {
    let line: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    if is_triggered(text) || is_triggered(&line) {
        format!("{MARK}{line}")
    } else {
        line
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// S6, stated anew: no formula begins at any place where a line begins.
    fn is_safe(cell: &str) -> bool {
        let begins_line = |at: usize| {
            let before = cell.get(..at).expect("a boundary");
            let within_crlf = before.ends_with('\r') && cell[at..].starts_with('\n');
            at == 0 || (before.ends_with(['\r', '\n']) && !within_crlf)
        };
        cell.char_indices()
            .filter(|&(at, _)| begins_line(at))
            .all(|(at, _)| {
                let first = cell[at..].chars().find(|c| *c != ' ' && *c != '\u{a0}');
                !first.is_some_and(|c| "=+-@\t\r\n".contains(c))
            })
    }

    #[test]
    fn formulas_get_an_apostrophe_and_lose_it_again() {
        for (cell, written) in [
            ("=1+1", "'=1+1"),
            ("+57", "'+57"),
            ("-B", "'-B"),
            ("@x", "'@x"),
            ("\tx", "'\tx"),
            (" \u{a0}=x", "' \u{a0}=x"),
            ("a\n=b", "a\n'=b"),
            ("a\r\n=b\r-c", "a\r\n'=b\r'-c"),
            ("a\n\nb", "a\n'\nb"),
            ("a\r\nb", "a\r\nb"),
            ("a=b", "a=b"),
            ("'a", "'a"),
            ("''=a", "''=a"),
            ("", ""),
        ] {
            assert_eq!(guarded(cell), written, "{cell:?}");
            assert_eq!(unguarded(written), cell, "{written:?}");
        }
        assert_eq!(guarded(&unguarded("'=1")), "'=1", "never doubled");
    }

    #[test]
    fn our_own_cells_are_one_line() {
        for (text, written) in [
            ("=cmd()", "'=cmd()"),
            ("\r=x", "' =x"),
            ("\u{1}=x", "' =x"),
            ("two\nlines", "two lines"),
            ("card_frozen", "card_frozen"),
            ("", ""),
        ] {
            assert_eq!(harmless(text), written, "{text:?}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases * 79, ..ProptestConfig::default() })]

        #[test]
        fn s6_what_was_read_is_written_safe_and_read_the_same(
            cell in "['=+@\t\r\n \u{1}\u{a0}a-]{0,10}"
        ) {
            let read = unguarded(&cell).into_owned();
            let written = guarded(&read).into_owned();
            prop_assert!(is_safe(&written), "{written:?}");
            prop_assert_eq!(unguarded(&written), read.as_str());
            let again = unguarded(&written).into_owned();
            prop_assert_eq!(guarded(&again), written.as_str());
            prop_assert!(is_safe(&harmless(&cell)));
        }
    }
}
