//! Panics: faults of ours, told in a line.
//!
//! *What it promises.* Whoever sees a panic learns what it means for the money and where it was.
//! What a panic says is not repeated, as nobody can know what a crate puts into it (I12). A
//! backtrace is shown where `RUST_BACKTRACE` asks for one.
//!
//! *What it refuses to know.* Which task panicked: a job whose task did goes on from the ledger.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::panic::{AssertUnwindSafe, Location, catch_unwind};

use super::exit::{Exit, Failure};
use super::streams;

/// From now on panics are told in a line.
pub(super) fn tell_in_a_line() {
    std::panic::set_hook(Box::new(|panic| {
        let backtrace = Backtrace::capture();
        let mut said = line(panic.location());
        if backtrace.status() == BacktraceStatus::Captured {
            said = format!("{said}{backtrace}\n");
        }
        streams::tell_past_bar(&said);
    }));
}

fn line(place: Option<&Location>) -> String {
    let place = place.map_or_else(|| "an unknown place".to_owned(), ToString::to_string);
    format!(
        "error: a fault of tanda at {place}. Nothing is lost: what was sent is on record or will \
         be asked about. If the program has ended, run the same command again; please report this \
         line\n"
    )
}

/// What a command came to; a panic is a fault of ours, which has been told.
pub(super) fn caught(command: impl FnOnce() -> Result<Exit, Failure>) -> Result<Exit, Failure> {
    catch_unwind(AssertUnwindSafe(command)).unwrap_or(Ok(Exit::Internal))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_told_in_one_line_with_its_place_and_what_it_means_for_the_money() {
        let told = line(Some(Location::caller()));
        assert_eq!(told.lines().count(), 1, "{told}");
        assert!(told.contains("src/app/panics.rs:"), "{told}");
        assert!(told.contains("Nothing is lost"), "{told}");
    }

    #[test]
    fn a_panic_is_a_fault_of_ours() {
        let ended = caught(|| panic!("a broken invariant"));
        assert_eq!(ended.expect("an exit").code(), 1);
        let ended = caught(|| Ok(Exit::Done));
        assert_eq!(ended.expect("an exit").code(), 0);
    }
}
