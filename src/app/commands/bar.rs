//! The bar on a terminal.
//!
//! *What it promises.* There is one, it goes with whoever drew it, and nothing that is said meanwhile
//! tears it.
//!
//! *What it refuses to know.* What advances it.

use std::fmt;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

use crate::app::streams::show_bar;

/// How often it is drawn: often enough to look alive.
pub(super) const DRAW_EVERY: Duration = Duration::from_millis(200);
/// How often a line is written in its place where there is no terminal.
pub(super) const LINE_EVERY: Duration = Duration::from_secs(10);

/// While rows flow. The message has lines of its own, so that nothing is cut off where a terminal
/// is narrow.
const FLOWING: &str = "{bar:30} {pos}/{len} rows  {rate}  {eta} left\n{msg}";
/// What takes a time that is known.
const LASTING: &str = "{bar:30} {pos} of {len} s\n{msg}";
/// While they are held: a rate and an end would be guesses.
const HELD: &str = "{bar:30} {pos}/{len} rows\n{msg}";

/// The bar on the screen.
pub(super) struct Bar {
    drawn: ProgressBar,
    flowing: ProgressStyle,
    held: ProgressStyle,
}

impl Bar {
    /// Shows one over so many rows.
    pub(super) fn show(rows: u64) -> Self {
        Self::begin(rows, FLOWING, HELD)
    }

    /// Shows one over so many seconds.
    pub(super) fn over_seconds(seconds: u64) -> Self {
        Self::begin(seconds, LASTING, LASTING)
    }

    fn begin(length: u64, flowing: &str, held: &str) -> Self {
        let drawn = ProgressBar::with_draw_target(Some(length), ProgressDrawTarget::stderr());
        show_bar(Some(drawn.clone()));
        Self {
            drawn,
            flowing: style(flowing),
            held: style(held),
        }
    }

    /// Draws it with so many rows done.
    pub(super) fn draw(&self, done: u64, is_held: bool, message: String) {
        let style = if is_held { &self.held } else { &self.flowing };
        self.drawn.set_style(style.clone());
        self.drawn.set_position(done);
        self.drawn.set_message(message);
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        show_bar(None);
        self.drawn.finish_and_clear();
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template)
        .expect("the template is a constant, and is tested")
        .with_key(
            "rate",
            |state: &ProgressState, text: &mut dyn fmt::Write| {
                write!(text, "{:.0}/s", state.per_sec()).ok();
            },
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_has_a_template_that_can_be_drawn() {
        for template in [FLOWING, HELD, LASTING] {
            assert!(ProgressStyle::with_template(template).is_ok());
        }
    }
}
