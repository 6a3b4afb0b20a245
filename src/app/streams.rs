//! stderr: what people are told, and the log.
//!
//! *What it promises.* A terminal that is gone or a full disk behind stderr never stops a run, nor
//! the listening for signals: what cannot be said is dropped (`eprintln!` would panic). A line never
//! tears the progress bar.
//!
//! *What it refuses to know.* What is said.

use std::io::{self, IsTerminal as _, Write};
use std::sync::{Mutex, PoisonError};

use indicatif::ProgressBar;
use tracing_subscriber::filter::LevelFilter;

use super::config::{LogConfig, LogLevel};

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

/// Warnings and alarms, as lines on stderr; in colour only where a person looks.
pub(super) fn log_to_stderr(log: LogConfig) {
    let level = match log.level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
    };
    tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(|| LogLine)
        .with_ansi(io::stderr().is_terminal())
        .with_target(false)
        .init();
}

/// Takes the lines of the log; the formatter writes each at once.
struct LogLine;

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
