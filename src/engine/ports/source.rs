//! The source's door: what it offers, and its right to an answer.
//!
//! *What it promises.* Each delivery has one receipt, which is answered once or becomes void.
//!
//! *What it refuses to know.* Where jobs come from.

use std::sync::Arc;

use async_trait::async_trait;

use super::{Origin, StoredOutcome};
use crate::domain::job::Job;
use crate::domain::request::Person;
use crate::domain::time::Timestamp;
use crate::wire::envelope::Envelope;
use crate::wire::job::Unreadable;

/// Where jobs come from. Jobs of one card are offered in their order.
#[async_trait]
pub trait Source: Send {
    /// What it offers next. Safe to drop while it waits: nothing is lost or reordered.
    ///
    /// # Errors
    /// [`SourceError`] where the source broke; what it offered is still its own.
    async fn next(&mut self, max: usize) -> Result<Offer, SourceError>;

    /// Offers nothing until it is asked again; receipts can still be answered.
    async fn stop(&mut self) {}

    /// Takes back what it offered and is not answered yet: those receipts are void. It offers all of
    /// it again, in order, when it is asked again, to whoever asks then.
    async fn withdraw(&mut self) {}
}

/// What a source offers.
#[derive(Debug)]
pub enum Offer {
    /// Jobs, at least one and at most as many as were asked for.
    Jobs(Vec<Delivery>),
    /// A message that is no valid job.
    Unreadable(UnreadableDelivery),
    /// The source has lost hold of what it offered and is not answered yet: those receipts are void,
    /// and it comes again, in order.
    Lost,
    /// There are no more.
    Dry,
}

/// A message that is no valid job, as a source offers it.
pub struct UnreadableDelivery {
    /// What is wrong with it, and what could be read.
    pub unreadable: Box<Unreadable>,
    /// The message, byte for byte.
    pub body: Arc<[u8]>,
    /// Where it comes from, and what travels with it.
    pub provenance: Provenance,
    /// The source's right to exactly one answer.
    pub receipt: Box<dyn Receipt>,
}

impl std::fmt::Debug for UnreadableDelivery {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UnreadableDelivery")
            .field("reason", &self.unreadable.reason)
            .finish_non_exhaustive()
    }
}

/// Where a job comes from, and what travels with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Provenance {
    /// What it came by.
    pub origin: Origin,
    /// Where it comes from, in words for people.
    pub source: Arc<str>,
    /// The line of its file, if any.
    pub line: Option<u64>,
    /// What travels with it.
    pub envelope: Envelope,
    /// When it was offered.
    pub received_at: Timestamp,
}

/// A job as a source offers it.
pub struct Delivery {
    /// The job.
    pub job: Job,
    /// Where it comes from, and what travels with it.
    pub provenance: Provenance,
    /// Its message, byte for byte, where it was one.
    pub body: Option<Arc<[u8]>>,
    /// Whether it may have been delivered before, to whichever process.
    pub is_redelivered: bool,
    /// Who wants it run again where it ended `rejected` or `not_sent`; none where that stays so.
    pub again: Option<Person>,
    /// The source's right to exactly one answer.
    pub receipt: Box<dyn Receipt>,
}

impl std::fmt::Debug for Delivery {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Delivery")
            .field("job", &self.job)
            .field("line", &self.provenance.line)
            .finish_non_exhaustive()
    }
}

/// The source's right to exactly one answer.
#[async_trait]
pub trait Receipt: Send + Sync {
    /// An outcome is durable and confirmed by the sink; the source may forget the delivery (I3).
    async fn done(self: Box<Self>, outcome: &StoredOutcome);
    /// Nothing was decided; the delivery is still the source's own.
    async fn back(self: Box<Self>, why: Back);

    /// Whether it is void: its delivery is the source's own again.
    fn is_void(&self) -> bool {
        false
    }
}

/// Why a delivery goes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Back {
    /// Work on it ended before anything was decided.
    Undecided,
    /// It was to be run again, and the bank's list did not say that nothing had moved.
    NotProven,
    /// What was said is the answer to another of its name: offered again, it gets its own.
    ComesAgain,
}

/// The source broke.
#[derive(Debug, thiserror::Error)]
#[error("the source failed while {doing}")]
pub struct SourceError {
    doing: &'static str,
    #[source]
    source: Box<dyn std::error::Error + Send + Sync>,
}

impl SourceError {
    /// A failure while doing this.
    pub fn new(
        doing: &'static str,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self {
            doing,
            source: source.into(),
        }
    }
}
