//! What may have been before a generation of a job, and what follows from it.
//!
//! *What it promises.* Nothing is sent before the bank's list was asked about what may have been.
//!
//! *What it refuses to know.* What the list says: that is [`asking`](super::asking).

use super::{Action, Progress, enter_doubt};
use crate::domain::outcome::{DoubtReason, NotSentReason};
use crate::domain::time::Moment;

/// What may have been before a generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Past {
    /// Nothing that is not on record.
    Clear,
    /// An earlier generation. Where that ended by a person's word alone, only a list that has proven itself
    /// may say that nothing moved.
    Earlier { needs_control: bool },
    /// A time that the ledger has forgotten; whether its message was delivered then.
    Forgotten { after_delivery: bool },
}

/// A time that the ledger has forgotten, as it concerns one job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forgotten {
    /// Whether the job's message was delivered in it: then another outcome may have been told, and absence
    /// is not enough to send it.
    pub after_delivery: bool,
    /// The last moment at which the job may have been sent in it.
    pub last_send: Moment,
    /// Now.
    pub at: Moment,
}

impl Past {
    /// Whether proof that nothing was executed is enough to send the job.
    pub(super) const fn lets_absence_decide(self) -> bool {
        match self {
            Self::Clear | Self::Earlier { .. } => true,
            Self::Forgotten { after_delivery } => !after_delivery,
        }
    }

    pub(super) const fn needs_control(self) -> bool {
        match self {
            Self::Clear => false,
            Self::Earlier { needs_control } => needs_control,
            Self::Forgotten { .. } => true,
        }
    }
}

/// An earlier generation has said what there is to say; of what is forgotten, the list says it first.
pub(super) fn cancelled_while_proving(progress: &mut Progress) -> Action {
    if matches!(progress.past, Past::Forgotten { .. }) {
        progress.closing = Some(NotSentReason::Cancelled);
        return Action::Keep;
    }
    Action::GiveBack
}

/// The table of asks begins now; how late an absence is counts from the last moment at which it may have
/// been sent.
pub(super) fn forgotten(progress: &mut Progress, time: Forgotten) -> Action {
    let Forgotten {
        after_delivery,
        last_send,
        at,
    } = time;
    progress.unclear = true;
    progress.past = Past::Forgotten { after_delivery };
    let reason = if after_delivery {
        DoubtReason::LedgerLostAfterDelivery
    } else {
        DoubtReason::LedgerLost
    };
    let action = enter_doubt(progress, reason, at);
    progress.quiet_from = Some(last_send);
    action
}
