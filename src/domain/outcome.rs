//! What is true of a job.
//!
//! *What it promises.* A closed vocabulary: seven statuses, and for each what moved, what is final
//! and what is dead-lettered, in one table.
//!
//! *What it refuses to know.* How an outcome is written down or published.

use std::fmt;

use super::request::Ruling;
use super::verdict::Refusal;

/// The status word of an outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Status {
    /// The money moved: the bank's own 2xx, or found in the bank's list.
    Succeeded,
    /// The bank refused it, and nothing unclear came before.
    Rejected,
    /// Never sent: not a valid job. A fact about a message.
    Invalid,
    /// Never sent: this `entity_id` has another fingerprint. A fact about a message.
    Conflict,
    /// Proven not executed, and will not be sent any more.
    NotSent,
    /// Perhaps executed: ask, never pay again.
    InDoubt,
    /// Held behind another job of its card.
    Waiting,
}

impl Status {
    /// Every status.
    pub const ALL: [Self; 7] = [
        Self::Succeeded,
        Self::Rejected,
        Self::Invalid,
        Self::Conflict,
        Self::NotSent,
        Self::InDoubt,
        Self::Waiting,
    ];

    /// The word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Rejected => "rejected",
            Self::Invalid => "invalid",
            Self::Conflict => "conflict",
            Self::NotSent => "not_sent",
            Self::InDoubt => "in_doubt",
            Self::Waiting => "waiting",
        }
    }

    /// Reads the word; `None` for any other.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == text)
    }

    /// Whether nothing changes it any more.
    #[must_use]
    pub const fn is_final(self) -> bool {
        match self {
            Self::Succeeded | Self::Rejected | Self::Invalid | Self::Conflict | Self::NotSent => {
                true
            }
            Self::InDoubt | Self::Waiting => false,
        }
    }
}

impl Status {
    /// Whether nobody will retry it by itself, from the start: the job goes to the dead letters. One in
    /// doubt does so only once a person must decide.
    #[must_use]
    pub const fn is_dead_lettered(self) -> bool {
        match self {
            Self::Rejected | Self::Invalid | Self::Conflict | Self::NotSent => true,
            Self::Succeeded | Self::InDoubt | Self::Waiting => false,
        }
    }

    /// Whether it is proof, or a person's word, that no money moved: then a later generation of the job
    /// may follow.
    #[must_use]
    pub const fn may_be_followed(self) -> bool {
        match self {
            Self::Rejected | Self::NotSent => true,
            Self::Succeeded | Self::Invalid | Self::Conflict | Self::InDoubt | Self::Waiting => {
                false
            }
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The reason of an outcome that a person decided.
pub const RULED: &str = "decided_by_person";

/// The reason of an outcome without proof about the generations before it.
pub const NOT_PROVEN: &str = "not_proven";

/// What is true of one generation of a job, with the evidence.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The money moved.
    Succeeded(Evidence),
    /// The bank refused it.
    Rejected(Refusal),
    /// Proven not executed.
    NotSent(NotSentReason),
    /// Not sent as this generation: it had been told that it waits, and at its turn the bank's list did
    /// not say beyond doubt that the ones before it had moved nothing.
    NotProven,
    /// What a person said became of a job in doubt.
    Ruled(Ruling),
    /// Perhaps executed.
    InDoubt(DoubtReason),
    /// Held by the ledger until those before it on its card are through.
    Waiting,
}

impl Outcome {
    /// Its status word.
    #[must_use]
    pub const fn status(&self) -> Status {
        match self {
            Self::Succeeded(_) | Self::Ruled(Ruling::Succeeded) => Status::Succeeded,
            Self::Rejected(_) => Status::Rejected,
            Self::NotSent(_) | Self::NotProven | Self::Ruled(Ruling::NotSent) => Status::NotSent,
            Self::InDoubt(_) => Status::InDoubt,
            Self::Waiting => Status::Waiting,
        }
    }

    /// Why, in a stable word; none where the status says it all.
    #[must_use]
    pub const fn reason(&self) -> Option<&'static str> {
        match self {
            Self::Succeeded(Evidence::Answered { .. }) | Self::Rejected(_) => None,
            Self::Succeeded(Evidence::Listed { .. }) => Some("found_in_list"),
            Self::NotSent(reason) => Some(reason.as_str()),
            Self::NotProven => Some(NOT_PROVEN),
            Self::Ruled(_) => Some(RULED),
            Self::InDoubt(reason) => Some(reason.as_str()),
            Self::Waiting => Some("behind_another_of_its_card"),
        }
    }
}

/// How we know that the money moved (I14).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Evidence {
    /// The bank's own 2xx.
    Answered {
        /// The exact HTTP status.
        http_status: u16,
    },
    /// Found in the bank's list.
    Listed {
        /// The bank's operation id, if the list has one.
        operation_id: Option<String>,
    },
}

/// Why a job was not sent, or is proven not executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NotSentReason {
    /// Its `not_after` passed.
    Expired,
    /// A person cancelled it.
    Cancelled,
    /// Its own task panicked too often.
    Poison,
    /// Its attempts are spent.
    AttemptsSpent,
}

impl NotSentReason {
    /// A stable word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::Cancelled => "cancelled",
            Self::Poison => "poison",
            Self::AttemptsSpent => "attempts_spent",
        }
    }
}

/// Why a job is in doubt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DoubtReason {
    /// The resend window closed on an unclear attempt.
    WindowClosed,
    /// Every attempt was unclear.
    AttemptsSpent,
    /// The bank answered 409.
    Conflict,
    /// The bank refused after an unclear attempt, perhaps because that one was executed.
    RefusedAfterUnclear,
    /// Its `not_after` passed while an attempt was unclear.
    Expired,
    /// It was cancelled while an attempt was unclear.
    Cancelled,
    /// A process stopped between the intent and the outcome.
    Interrupted,
    /// Its task panicked after the intent.
    Panicked,
    /// It was to be run again, and the bank's list shows it with content that no generation had.
    OtherContent,
    /// Its delivery could not be kept open any longer while an attempt was unclear.
    DeliveryTooOld,
    /// The ledger has forgotten a time in which it may have been sent.
    LedgerLost,
    /// The same, and in that time its message was delivered before: another outcome may have been told
    /// then, so that nothing but the bank's list or a person ends it.
    LedgerLostAfterDelivery,
}

impl DoubtReason {
    /// Every reason.
    pub const ALL: [Self; 12] = [
        Self::WindowClosed,
        Self::AttemptsSpent,
        Self::Conflict,
        Self::RefusedAfterUnclear,
        Self::Expired,
        Self::Cancelled,
        Self::Interrupted,
        Self::Panicked,
        Self::OtherContent,
        Self::DeliveryTooOld,
        Self::LedgerLost,
        Self::LedgerLostAfterDelivery,
    ];

    /// Reads the word; `None` for any other.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == text)
    }

    /// A stable word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::WindowClosed => "window_closed",
            Self::AttemptsSpent => "attempts_spent",
            Self::Conflict => "conflict_409",
            Self::RefusedAfterUnclear => "refused_after_unclear",
            Self::Expired => "expired",
            Self::Cancelled => "cancelled",
            Self::Interrupted => "interrupted",
            Self::Panicked => "panicked",
            Self::OtherContent => "other_content",
            Self::DeliveryTooOld => "delivery_too_old",
            Self::LedgerLost => "ledger_lost",
            Self::LedgerLostAfterDelivery => "ledger_lost_after_delivery",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_reads_what_it_writes() {
        for status in Status::ALL {
            assert_eq!(Status::parse(status.as_str()), Some(status));
        }
        assert_eq!(Status::parse("failed"), None);
    }

    #[test]
    fn a_doubt_reason_reads_what_it_writes() {
        for reason in DoubtReason::ALL {
            assert_eq!(DoubtReason::parse(reason.as_str()), Some(reason));
        }
        assert_eq!(DoubtReason::parse("unknown"), None);
    }
}
