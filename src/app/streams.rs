//! stderr: what people are told, and the lines of the log.
//!
//! *What it promises.* A terminal that is gone or a full disk behind stderr never stops a run, nor
//! the listening for signals: what cannot be said is dropped (`eprintln!` would panic). A line never
//! tears the progress bar, and what strangers wrote never steers a terminal. Where the
//! log is JSON, what people are told is JSON too: every line of stderr is an object.
//!
//! *What it refuses to know.* What is said.

use std::borrow::Cow;
use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use indicatif::ProgressBar;
use tracing::Level;

use super::log;

/// The bar on the screen, if any: there is one screen in a process.
static BAR: Mutex<Option<ProgressBar>> = Mutex::new(None);

/// Whether stderr is read by a machine, line by line.
static IS_JSON: AtomicBool = AtomicBool::new(false);

/// From now on every line is a JSON object.
pub(super) fn speak_json() {
    IS_JSON.store(true, Ordering::Relaxed);
}

/// Tells people something. What strangers wrote may stand in it: whatever could move a cursor,
/// colour a terminal or turn the direction of writing is escaped.
pub(super) fn tell(text: &str) {
    tell_as(Level::INFO, text);
}

/// Tells people why a command ended early.
pub(super) fn tell_error(text: &str) {
    tell_as(Level::ERROR, text);
}

/// Tells of a panic, which may hold the lock of the progress bar.
pub(super) fn tell_past_bar(text: &str) {
    // Nobody to tell where stderr fails.
    let line = shaped(Level::ERROR, text);
    io::stderr().lock().write_all(line.as_bytes()).ok();
}

fn tell_as(level: Level, text: &str) {
    write_beside_bar(shaped(level, text).as_bytes());
}

fn shaped(level: Level, text: &str) -> Cow<'_, str> {
    if IS_JSON.load(Ordering::Relaxed) {
        Cow::Owned(log::told(level, text.trim_end()))
    } else {
        tame(text)
    }
}

fn tame(text: &str) -> Cow<'_, str> {
    escape_all_but(text, |character| {
        is_visible(character) || matches!(character, '\n' | '\t')
    })
}

/// The text with all other characters written as their numbers.
pub(super) fn escape_all_but(text: &str, stays: impl Fn(char) -> bool) -> Cow<'_, str> {
    if text.chars().all(&stays) {
        return Cow::Borrowed(text);
    }
    let mut tamed = String::with_capacity(text.len());
    for character in text.chars() {
        if stays(character) {
            tamed.push(character);
        } else {
            tamed.extend(character.escape_unicode());
        }
    }
    Cow::Owned(tamed)
}

/// Whether a character is safe in a line: no control, and nothing that turns or breaks lines.
pub(super) const fn is_visible(character: char) -> bool {
    !matches!(
        character,
        '\0'..='\u{1f}'
            | '\u{7f}'..='\u{9f}'
            | '\u{61c}'
            | '\u{200e}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2066}'..='\u{2069}'
    )
}

/// From now on, what is told appears above this bar; or the bar is gone.
pub(super) fn show_bar(bar: Option<ProgressBar>) {
    *BAR.lock().unwrap_or_else(PoisonError::into_inner) = bar;
}

/// Takes the lines of the log; the formatter writes each at once.
pub(super) struct LogLine;

impl Write for LogLine {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        write_beside_bar(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn write_beside_bar(bytes: &[u8]) {
    // Nobody to tell where stderr fails.
    let write = || io::stderr().lock().write_all(bytes).ok();
    let bar = BAR.lock().unwrap_or_else(PoisonError::into_inner).clone();
    match bar {
        Some(bar) => bar.suspend(write),
        None => write(),
    };
}

#[cfg(test)]
mod tests {
    use super::tame;

    #[test]
    fn what_strangers_wrote_never_steers_a_terminal() {
        assert_eq!(tame("nómina\n\tb"), "nómina\n\tb");
        assert_eq!(
            tame("a\u{1b}[31m\rb\u{9b}c\u{202e}"),
            "a\\u{1b}[31m\\u{d}b\\u{9b}c\\u{202e}"
        );
    }
}
