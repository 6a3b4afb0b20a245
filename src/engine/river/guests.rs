//! Guests: messages about jobs that came from a file.
//!
//! *What it promises.* The outcomes of such a job go to no queue, so that a message about it cannot share
//! its receipts: it is answered with an outcome of its own once the job is over (I3, I4), and until then
//! it is its broker's.
//!
//! *What it refuses to know.* What becomes of the job.

use super::River;
use crate::domain::job::EntityId;
use crate::engine::EngineError;
use crate::engine::ports::{Delivery, Origin};

/// Whether a delivery is a guest beside a job of this origin.
pub(super) fn is_guest(delivery: &Delivery, of_job: Origin) -> bool {
    delivery.provenance.origin == Origin::Queue && of_job == Origin::File
}

impl River {
    /// Waits for its job.
    pub(super) fn let_wait(&mut self, guest: Delivery) {
        let entity_id = guest.job.entity_id.clone();
        self.guests.entry(entity_id).or_default().push(guest);
    }

    /// Nothing is on its way for this job any more: what waited for it is looked at again.
    pub(super) async fn ask_guests_in(&mut self, entity_id: &EntityId) -> Result<(), EngineError> {
        if self.jobs.contains_key(entity_id) || self.stopping {
            return Ok(());
        }
        for guest in self.guests.remove(entity_id).unwrap_or_default() {
            self.admit_again(guest).await?;
        }
        self.take_over_arrivals().await
    }

    /// Forgets those that come again by themselves.
    pub(super) fn forget_void_guests(&mut self) {
        self.guests.retain(|_, guests| {
            guests.retain(|guest| !guest.receipt.is_void());
            !guests.is_empty()
        });
    }
}
