//! What a world does to a ledger in memory: it fills its disk, copies it, loses it, and looks at
//! what people were told.
//!
//! *What it promises.* What is left after a loss is what a ledger in a file has after a person accepted one.
//!
//! *What it refuses to know.* Who asks for it, and why.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use super::{Books, MemoryLedger};
use crate::domain::request::Person;
use crate::domain::time::Timestamp;
use crate::engine::ports::{Answer, LastBeat, Loss};

impl MemoryLedger {
    /// Has so much room from now on, or no bound.
    pub fn set_free_bytes(&self, free_bytes: Option<u64>) {
        self.books().free_bytes = free_bytes;
    }

    /// A copy of all that is on record now.
    #[must_use]
    pub fn copy(&self) -> Self {
        Self(Arc::new(Mutex::new(self.books().clone())))
    }

    /// Everything is lost but this copy, and a person accepts that. An empty one knows the control still,
    /// which an anchor would have kept.
    pub fn lose_all_but(&self, copy: &Self, by: Person, accepted_at: Timestamp) {
        let mut left = copy.books().clone();
        left.doubt_what_was_released();
        let mut books = self.books();
        *books = Books {
            control: books.control.take().or(left.control),
            loss: Some(Loss {
                accepted_at,
                by,
                is_past: false,
            }),
            arrivals: HashSet::new(),
            ..left
        };
    }

    /// What people were told, in the order in which they asked; none about what is not answered.
    #[must_use]
    pub fn answers(&self) -> Vec<Option<Answer>> {
        let books = self.books();
        let answers = books.requests.iter().map(|(_, answer)| answer.clone());
        answers.collect()
    }
}

impl Books {
    /// It may have been sent in the forgotten time: it is in doubt, and held no more.
    fn doubt_what_was_released(&mut self) {
        let released = self.jobs.iter().enumerate().filter(|(_, job)| job.released);
        let released: Vec<_> = released.map(|(position, _)| position).collect();
        for position in released {
            let intent = self.job_mut(position).intent.clone();
            let was_held = self.end_hold(&intent.job.entity_id, intent.generation);
            let job = self.job_mut(position);
            job.released = false;
            job.was_held |= was_held;
        }
    }

    pub(super) fn last_beat(&self) -> Option<LastBeat> {
        self.beat.map(|(at, counted)| LastBeat {
            at,
            surely_ago: Some(counted.elapsed()),
        })
    }
}
