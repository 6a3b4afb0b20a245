//! What a person types at the terminal.
//!
//! *What it promises.* Asks only on stderr, so that data stays on stdout.
//!
//! *What it refuses to know.* What an answer means.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _, stderr, stdin};

use super::streams::tell;

/// Whether there is somebody who can be asked.
pub(super) fn has_person() -> bool {
    stdin().is_terminal() && stderr().is_terminal()
}

/// What a person types at this question, without the white space around it; empty where nobody does.
pub(super) fn ask(question: &str) -> io::Result<String> {
    tell(question);
    stderr().flush()?;
    let mut typed = String::new();
    stdin().lock().read_line(&mut typed)?;
    Ok(typed.trim().to_owned())
}
