//! The receipts of one job: the right of each of its deliveries to exactly one answer.
//!
//! *What it promises.* Every receipt is answered once, in this one place; one that joins after the
//! answer gets the same answer (I3).
//!
//! *What it refuses to know.* What the answer means.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::ports::{Back, Receipt, StoredOutcome};

/// How many receipts of all jobs are not yet answered.
#[derive(Clone, Debug, Default)]
pub(super) struct OpenReceipts(Arc<AtomicUsize>);

impl OpenReceipts {
    pub(super) fn count(&self) -> usize {
        self.0.load(Ordering::Acquire)
    }
}

/// The receipts of one job.
pub(super) struct Receipts {
    open: OpenReceipts,
    pending: Mutex<Pending>,
}

#[derive(Default)]
struct Pending {
    waiting: VecDeque<Box<dyn Receipt>>,
    answer: Option<StoredOutcome>,
    /// Every receipt that was to be answered has become void.
    lost: bool,
}

impl Receipts {
    pub(super) fn new(open: OpenReceipts) -> Arc<Self> {
        Arc::new(Self {
            open,
            pending: Mutex::default(),
        })
    }

    /// The receipts of a job about which this has been told before: a later one gets it as its answer.
    pub(super) fn told(open: OpenReceipts, outcome: StoredOutcome) -> Arc<Self> {
        let receipts = Self::new(open);
        receipts.lock().answer = Some(outcome);
        receipts
    }

    /// A delivery of this job.
    pub(super) async fn add(&self, receipt: Box<dyn Receipt>) {
        let (answer, receipt) = {
            let mut held = self.lock();
            let Some(answer) = held.answer.clone() else {
                held.waiting.push_back(receipt);
                held.lost = false;
                self.open.0.fetch_add(1, Ordering::AcqRel);
                return;
            };
            (answer, receipt)
        };
        receipt.done(&answer).await;
    }

    /// This outcome is durable and confirmed: answers all, now and later.
    pub(super) async fn done(&self, outcome: &StoredOutcome) {
        self.lock().answer = Some(outcome.clone());
        while let Some(receipt) = self.take_one() {
            receipt.done(outcome).await;
            self.open.0.fetch_sub(1, Ordering::AcqRel);
        }
    }

    /// Nothing was decided: gives back what is not answered.
    pub(super) async fn back(&self, why: Back) {
        while let Some(receipt) = self.take_one() {
            receipt.back(why).await;
            self.open.0.fetch_sub(1, Ordering::AcqRel);
        }
    }

    /// Forgets receipts that have become void.
    pub(super) fn drop_void(&self) {
        let mut pending = self.lock();
        let before = pending.waiting.len();
        pending.waiting.retain(|receipt| !receipt.is_void());
        let dropped = before - pending.waiting.len();
        pending.lost |= dropped > 0 && pending.waiting.is_empty();
        self.open.0.fetch_sub(dropped, Ordering::AcqRel);
    }

    /// Whether its source has taken the job back, in every copy that was to be answered.
    pub(super) fn are_lost(&self) -> bool {
        self.lock().lost
    }

    /// Whether a receipt waits for its answer.
    pub(super) fn are_open(&self) -> bool {
        !self.lock().waiting.is_empty()
    }

    /// One at a time: whoever answers may be cut off, and the others are then still to be answered.
    fn take_one(&self) -> Option<Box<dyn Receipt>> {
        self.lock().waiting.pop_front()
    }

    /// A panic while the lock is held leaves plain values that are still whole.
    fn lock(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
