//! stderr: what people are told, and the lines of the log.
//!
//! *What it promises.* A terminal that is gone or a full disk behind stderr never stops a run, nor
//! the listening for signals: what cannot be said is dropped (`eprintln!` would panic). A line never
//! tears the progress bar.
//!
//! *What it refuses to know.* What is said.

use std::io::{self, Write};
use std::sync::{Mutex, PoisonError};

use indicatif::ProgressBar;

/// The bar on the screen, if any: there is one screen in a process.
static BAR: Mutex<Option<ProgressBar>> = Mutex::new(None);

/// Tells people something, as it stands.
pub(super) fn tell(text: &str) {
    write_beside_bar(text.as_bytes());
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
