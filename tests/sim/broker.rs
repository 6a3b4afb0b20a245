//! The broker: a queue that delivers again what was not acknowledged, and a reader of results.
//!
//! *What it promises.* A message is gone only once the broker has its acknowledgement; one that comes
//! again says so. The reader of results knows each by its event id, as consumers are told to.

use crate::cast::Content;
use crate::ledger::Body;
use crate::rng::Rng;

/// Where a message stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// In the queue, to be delivered from then on.
    Queued(u64),
    /// Delivered on the connection that is open.
    Delivered,
    /// Its acknowledgement is on the way and comes then.
    Acking(u64),
    /// Acknowledged.
    Gone,
}

/// A message: a draft as a producer put it on the queue.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Message {
    pub(crate) job: usize,
    pub(crate) content: Content,
    pub(crate) place: Place,
    pub(crate) redelivered: bool,
}

/// What an outcome is about: what its event id is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) job: usize,
    pub(crate) generation: usize,
    pub(crate) kind: Kind,
}

/// The status in an event id; of a copy also what it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    InDoubt,
    Succeeded,
    Rejected,
    NotSent,
    Conflict(Content),
}

impl Kind {
    /// Whether nothing follows.
    pub(crate) const fn is_end(self) -> bool {
        matches!(self, Self::Succeeded | Self::Rejected | Self::NotSent)
    }
}

/// What the reader of results has; of a copy no more than that.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) event: Event,
    pub(crate) body: Option<Body>,
    /// Whether the ledger was lost since.
    pub(crate) before_loss: bool,
}

/// The broker.
#[derive(Debug)]
pub(crate) struct Broker {
    /// In the order of the queue.
    pub(crate) messages: Vec<Message>,
    /// What the reader of results has, in the order in which it came.
    pub(crate) results: Vec<Told>,
}

impl Broker {
    /// A broker with these messages.
    pub(crate) const fn new(messages: Vec<Message>) -> Self {
        Self {
            messages,
            results: Vec::new(),
        }
    }

    /// A message.
    pub(crate) fn message(&self, index: usize) -> Message {
        *self.messages.get(index).expect("a message of this world")
    }

    /// The same, to move it.
    pub(crate) fn message_mut(&mut self, index: usize) -> &mut Message {
        self.messages
            .get_mut(index)
            .expect("a message of this world")
    }

    /// The consuming connection is gone: what was delivered on it comes again. An acknowledgement on its
    /// way may have come or not.
    pub(crate) fn lose_connection(&mut self, rng: &mut Rng, now: u64) {
        for message in &mut self.messages {
            let comes_again = match message.place {
                Place::Delivered => true,
                Place::Acking(_) => {
                    message.place = Place::Gone;
                    rng.coin()
                }
                Place::Queued(_) | Place::Gone => false,
            };
            if comes_again {
                message.place = Place::Queued(now);
                message.redelivered = true;
            }
        }
    }

    /// These are given back: they come again.
    pub(crate) fn requeue(&mut self, receipts: u32, now: u64) {
        for (index, message) in self.messages.iter_mut().enumerate() {
            if receipts & (1 << index) != 0 && message.place == Place::Delivered {
                message.place = Place::Queued(now);
                message.redelivered = true;
            }
        }
    }

    /// Whether every message is acknowledged.
    pub(crate) fn is_empty(&self) -> bool {
        self.messages
            .iter()
            .all(|message| message.place == Place::Gone)
    }

    /// What the reader has of this event.
    pub(crate) fn result(&self, event: Event) -> Option<&Option<Body>> {
        self.results
            .iter()
            .find(|told| told.event == event)
            .map(|told| &told.body)
    }
}
