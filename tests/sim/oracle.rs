//! The judge: what must hold in every world, told from the truth and not from the rules.
//!
//! *What it promises.* It counts sends, reads, movements and what readers were told itself, in true time.
//! Each violation names its invariant.
//!
//! *What it refuses to know.* The state that `advance` keeps, and the mutant at work.

use tanda::domain::key::IdempotencyKey;
use tanda::domain::outcome::{NotSentReason, Outcome, Status};

use crate::cast::{Content, GENERATIONS_MAX};

/// A broken invariant.
#[derive(Clone, Debug, PartialEq, Eq)]
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

/// What the judge knows of one job.
#[derive(Debug, Default)]
pub(crate) struct Watched {
    /// What was sent, since the last proof that nothing was executed.
    sends: Sends,
    /// The generation of the last send.
    generation: usize,
    /// What each generation that was sent said.
    said: [Option<Content>; GENERATIONS_MAX],
    /// The newest generation that a person asked for.
    pub(crate) asked_for: usize,
    /// The newest generation before which the list said that nothing had moved.
    pub(crate) proven: usize,
    /// Whether it came anew after the ledger had forgotten it, or a person asked for it then: nobody can
    /// know what was told before.
    pub(crate) is_anew: bool,
    /// Whether a person's word ended a generation.
    pub(crate) ruled: [bool; GENERATIONS_MAX],
    /// Whether a person said something else about it than what was true then.
    pub(crate) person_errs: bool,
    /// Unclear attempts while the bank answered others.
    pub(crate) spent: [u32; GENERATIONS_MAX],
    /// Whether a person cancelled it.
    pub(crate) cancelled: bool,
    /// How often its task panicked.
    pub(crate) panics: u32,
}

#[derive(Debug, Default)]
struct Sends {
    /// The process life and time of the first send that may have been executed.
    open: Option<(u32, u64)>,
    /// Whether something was open before the call under way.
    open_before: bool,
    /// When the last call began.
    last: u64,
    /// When it ended; none while it is under way.
    last_end: Option<u64>,
    first_absence: Option<(u32, u64)>,
    /// Whether the bank answered 409 to what is open.
    conflict: bool,
    /// The version of the program that sent first, whose bytes count.
    version: Option<u32>,
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
    pub(crate) generation: usize,
    pub(crate) content: Content,
    pub(crate) intent_is_durable: bool,
    pub(crate) end_is_durable: bool,
    pub(crate) refusal_is_durable: bool,
    pub(crate) person_is_called: bool,
    pub(crate) version: u32,
    pub(crate) expired: bool,
    pub(crate) told_over: bool,
    pub(crate) key: IdempotencyKey,
    pub(crate) own_key: IdempotencyKey,
}

impl Watched {
    /// Judges a send.
    pub(crate) fn send(&mut self, sending: &Sending) -> Result<(), Violation> {
        if sending.generation > self.asked_for {
            return Err(broken("I6", "a later generation that nobody asked for"));
        }
        if sending.generation > self.proven {
            return Err(broken("I6", "a later generation was sent without proof"));
        }
        if sending.generation != self.generation {
            self.sends = Sends::default();
            self.generation = sending.generation;
        }
        let said = self.said.get_mut(sending.generation);
        let said = said.expect("there are only so many generations");
        if *said.get_or_insert(sending.content) != sending.content {
            return Err(broken("I6", "another content under the same name was sent"));
        }
        let told_over = sending.told_over && !self.is_anew;
        self.sends.send(sending, told_over)
    }

    /// The ledger has forgotten, or may have.
    pub(crate) const fn forgotten(&mut self) {
        self.said = [None; GENERATIONS_MAX];
        self.sends.version = None;
    }

    /// The call under way ended, or nobody waits for it any more.
    pub(crate) const fn call_ended(&mut self, now: u64) {
        if self.sends.last_end.is_none() {
            self.sends.last_end = Some(now);
        }
    }

    /// The call under way was provably not executed.
    pub(crate) const fn not_executed(&mut self) {
        if !self.sends.open_before {
            self.sends.open = None;
        }
    }

    /// The bank answered 409.
    pub(crate) const fn conflicting(&mut self) {
        self.sends.conflict = true;
    }

    /// The list was read whole and does not have the job.
    pub(crate) fn absent(&mut self, reading: AbsentFrom) {
        self.sends.absent(reading);
    }

    /// Whether a person's word ended a generation.
    pub(crate) fn was_ruled(&self, generation: usize) -> bool {
        self.ruled.get(generation).copied().unwrap_or_default()
    }
}

/// A reading of the list that does not have the job.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AbsentFrom {
    pub(crate) life: u32,
    pub(crate) began: u64,
    pub(crate) ended: u64,
    pub(crate) settle_ms: u64,
    /// Whether one such reading is enough, because it comes so long after the last call.
    pub(crate) is_proof: bool,
}

impl Sends {
    fn send(&mut self, sending: &Sending, told_over: bool) -> Result<(), Violation> {
        if !sending.intent_is_durable {
            return Err(broken("I2", "a call without a durable intent"));
        }
        if sending.end_is_durable {
            return Err(broken("I4", "an outcome is on record, and the job is sent"));
        }
        if sending.refusal_is_durable {
            return Err(broken(
                "I4",
                "a refusal is on record, and the job is sent again",
            ));
        }
        if told_over {
            return Err(broken(
                "I4",
                "its readers were told its end, and it is sent",
            ));
        }
        if sending.person_is_called {
            return Err(broken(
                "I8",
                "a person was called, and the job is sent by itself",
            ));
        }
        if *self.version.get_or_insert(sending.version) != sending.version {
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
        self.last_end = None;
        self.first_absence = None;
        Ok(())
    }

    /// Proof is two reads apart, the first a settle delay after the last call, the second so long after
    /// its end that whatever was sent is listed.
    fn absent(&mut self, reading: AbsentFrom) {
        let AbsentFrom {
            life,
            began,
            ended,
            settle_ms,
            is_proof,
        } = reading;
        let is_over = self
            .last_end
            .is_some_and(|end| began.saturating_sub(end) >= settle_ms);
        if is_proof && is_over {
            self.open = None;
            self.conflict = false;
        }
        if began.saturating_sub(self.last) < settle_ms {
            return;
        }
        let gap_ms = settle_ms / 5;
        match self.first_absence {
            Some((first_life, first)) if first_life == life => {
                if is_over && began.saturating_sub(first) >= gap_ms {
                    self.open = None;
                    self.conflict = false;
                }
            }
            _ => self.first_absence = Some((life, ended)),
        }
    }
}

/// The truth about a job that an outcome is held against.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Truth {
    pub(crate) applied: u32,
    /// As this generation.
    pub(crate) applied_as_this: u32,
    pub(crate) refused: u32,
    pub(crate) spent: u32,
    pub(crate) attempts_max: u32,
    pub(crate) cancelled: bool,
    pub(crate) person_errs: bool,
    pub(crate) panics: u32,
    /// Whether one of our clocks ever was past its end.
    pub(crate) expired: bool,
}

/// Judges an outcome against the books. What a person got wrong is a person's.
pub(crate) fn judge_outcome(outcome: &Outcome, truth: Truth) -> Result<(), Violation> {
    if matches!(outcome, Outcome::Ruled(_)) && truth.person_errs {
        return Ok(());
    }
    match outcome.status() {
        Status::Succeeded if truth.applied == 0 => {
            return Err(broken("I14", "succeeded, and no money moved"));
        }
        Status::Rejected | Status::NotSent if truth.applied_as_this > 0 => {
            return Err(broken(
                "I5",
                format!("{}, and the money moved", outcome.status()),
            ));
        }
        Status::Succeeded
        | Status::Rejected
        | Status::NotSent
        | Status::InDoubt
        | Status::Invalid
        | Status::Conflict
        | Status::Waiting => {}
    }
    let has_ground = match outcome {
        Outcome::Rejected(_) => truth.refused > 0,
        Outcome::NotSent(NotSentReason::Expired) => truth.expired,
        Outcome::NotSent(NotSentReason::Cancelled) => truth.cancelled,
        Outcome::NotSent(NotSentReason::Poison) => truth.panics >= 3,
        Outcome::NotSent(NotSentReason::AttemptsSpent) => truth.spent >= truth.attempts_max,
        Outcome::Succeeded(_)
        | Outcome::NotProven
        | Outcome::Ruled(_)
        | Outcome::InDoubt(_)
        | Outcome::Waiting => true,
    };
    if has_ground {
        return Ok(());
    }
    Err(broken(
        "I9",
        format!("{outcome:?}, and nothing of the kind happened to it"),
    ))
}
