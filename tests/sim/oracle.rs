//! The judge: what must hold in every world, told from the truth and not from the rules.
//!
//! *What it refuses to know.* The state that `advance` keeps. It counts sends, reads and movements
//! itself, in true time.

use tanda::domain::key::IdempotencyKey;
use tanda::domain::outcome::{Outcome, Status};

/// A broken invariant.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Violation {
    /// Which: `I1` … `I14`.
    pub(crate) invariant: &'static str,
    /// What happened.
    pub(crate) what: String,
}

/// That an invariant is broken.
pub(crate) fn broken(invariant: &'static str, what: impl Into<String>) -> Violation {
    Violation {
        invariant,
        what: what.into(),
    }
}

/// What the oracle knows of a job's sends since the last proof that nothing was executed.
#[derive(Debug, Default)]
pub(crate) struct Sends {
    /// The process life and time of the first send that may have been executed.
    open: Option<(u32, u64)>,
    /// Whether something was open before the call under way.
    open_before: bool,
    last: u64,
    first_absence: Option<(u32, u64)>,
    /// Whether the bank answered 409 to what is open.
    conflict: bool,
    /// The life of the very first send, whose bytes count.
    first_life: Option<u32>,
}

/// What a send is judged by.
#[derive(Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a ground of its own for refusing a send"
)]
pub(crate) struct Sending {
    pub(crate) now: u64,
    pub(crate) life: u32,
    pub(crate) window_ms: u64,
    pub(crate) intent_is_durable: bool,
    pub(crate) refusal_is_durable: bool,
    pub(crate) person_is_called: bool,
    pub(crate) body_changes: bool,
    pub(crate) expired: bool,
    pub(crate) key: IdempotencyKey,
    pub(crate) own_key: IdempotencyKey,
}

impl Sends {
    /// Judges a send.
    pub(crate) fn send(&mut self, sending: &Sending) -> Result<(), Violation> {
        if !sending.intent_is_durable {
            return Err(broken("I2", "a call without a durable intent"));
        }
        if sending.refusal_is_durable {
            return Err(broken(
                "I4",
                "a refusal is on record, and the job is sent again",
            ));
        }
        if sending.person_is_called {
            return Err(broken(
                "I8",
                "a person was called, and the job is sent by itself",
            ));
        }
        let first_life = *self.first_life.get_or_insert(sending.life);
        if sending.body_changes && first_life != sending.life {
            return Err(broken("I8", "resent with other bytes"));
        }
        if self.conflict {
            return Err(broken("I8", "resent after a 409 without proof"));
        }
        if sending.expired {
            return Err(broken("I8", "a call after not_after"));
        }
        if sending.key != sending.own_key {
            return Err(broken("I8", "a call under another key"));
        }
        self.open_before = self.open.is_some();
        if let Some((life, first)) = self.open {
            if life != sending.life {
                return Err(broken("I8", "resent by another process life without proof"));
            }
            let age = sending.now - first;
            if age >= sending.window_ms {
                return Err(broken(
                    "I8",
                    format!("resent {age} ms after the first send without proof"),
                ));
            }
        }
        self.open.get_or_insert((sending.life, sending.now));
        self.last = sending.now;
        self.first_absence = None;
        Ok(())
    }

    /// The call under way was provably not executed.
    pub(crate) const fn deferred(&mut self) {
        if !self.open_before {
            self.open = None;
        }
    }

    /// The bank answered 409.
    pub(crate) const fn conflicting(&mut self) {
        self.conflict = true;
    }

    /// The list was read whole and does not have the job; true where that proves it.
    pub(crate) fn absent(&mut self, life: u32, began: u64, ended: u64, settle_ms: u64) {
        if began.saturating_sub(self.last) < settle_ms {
            return;
        }
        let gap_ms = settle_ms / 5;
        match self.first_absence {
            Some((first_life, first)) if first_life == life => {
                if began.saturating_sub(first) >= gap_ms {
                    self.open = None;
                    self.conflict = false;
                }
            }
            _ => self.first_absence = Some((life, ended)),
        }
    }
}

/// Judges an outcome against the books.
pub(crate) fn judge_outcome(outcome: &Outcome, applied: u32) -> Result<(), Violation> {
    match outcome.status() {
        Status::Succeeded if applied == 0 => Err(broken("I14", "succeeded, and no money moved")),
        Status::Rejected | Status::NotSent if applied > 0 => Err(broken(
            "I5",
            format!("{:?}, and the money moved", outcome.status()),
        )),
        Status::Succeeded
        | Status::Rejected
        | Status::NotSent
        | Status::InDoubt
        | Status::Invalid
        | Status::Conflict
        | Status::Waiting => Ok(()),
    }
}
