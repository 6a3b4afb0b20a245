//! The receipts of one job: the right of each of its deliveries to exactly one answer.
//!
//! *What it promises.* Every receipt is answered once, in this one place; one that joins after the
//! answer gets the same answer (I3).
//!
//! *What it refuses to know.* What the answer means.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::ports::{Receipt, StoredOutcome};

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
}

impl Receipts {
    pub(super) fn new(open: OpenReceipts) -> Arc<Self> {
        Arc::new(Self {
            open,
            pending: Mutex::default(),
        })
    }

    /// A delivery of this job.
    pub(super) async fn add(&self, receipt: Box<dyn Receipt>) {
        let (answer, receipt) = {
            let mut held = self.lock();
            let Some(answer) = held.answer.clone() else {
                held.waiting.push_back(receipt);
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
    pub(super) async fn back(&self) {
        while let Some(receipt) = self.take_one() {
            receipt.back().await;
            self.open.0.fetch_sub(1, Ordering::AcqRel);
        }
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
