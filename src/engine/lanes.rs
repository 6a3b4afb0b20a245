//! Lanes: one-at-a-time, in-order streams, one for each card (I7).
//!
//! *What it promises.* A job starts only when no other job holds its lane; those behind start in
//! the order in which they came. A job in doubt goes on holding its lane: that is the fence. Where what
//! waits goes to the ledger, a lane says so, and from then on everything of its card goes there until
//! nothing of it is left.
//!
//! *What it refuses to know.* What a job does while it holds its lane, and how the ledger holds one.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use tokio::sync::Semaphore;

use crate::domain::job::{CardId, EntityId};

/// All lanes that are in use. In an order of their own, so that the same events have the same effects in
/// every run.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    lanes: BTreeMap<CardId, Lane>,
    /// How many jobs wait in one lane before the ledger takes them over; none where it never does.
    depth: Option<usize>,
}

#[derive(Debug, Default)]
struct Lane {
    holders: BTreeSet<EntityId>,
    queue: VecDeque<EntityId>,
    shut: bool,
    progress: HolderProgress,
    /// The ledger has jobs of this card.
    held: bool,
    /// Takeovers that are not yet told: what the ledger has must not begin before.
    untold: usize,
    /// Lets one call at a time, where more than one may hold it.
    calls: Option<Arc<Semaphore>>,
}

/// How far whoever holds a lane has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum HolderProgress {
    /// No mark in the ledger.
    #[default]
    Fresh,
    /// A durable intent.
    Begun,
    /// In doubt.
    InDoubt,
}

impl Lane {
    fn is_ready(&self) -> bool {
        self.held && self.untold == 0 && self.holders.is_empty()
    }

    fn is_idle(&self) -> bool {
        let is_empty = self.holders.is_empty() && self.queue.is_empty();
        is_empty && !self.shut && !self.held && self.untold == 0
    }
}

/// What became of a job that came to its lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// It holds the lane and may start.
    First,
    /// It waits behind another.
    Behind,
    /// It waits behind others, in a lane that is full: whoever holds the lane is to let go, for what is
    /// behind it must not be in the ledger while it is not.
    Crowded,
    /// It goes to the ledger, behind all that waits in the lane.
    Held,
    /// The lane takes no more in this run.
    Shut,
}

/// What may start now that a job has let go of its lane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// This job.
    Job(EntityId),
    /// The first that the ledger holds.
    Held,
    /// Nothing.
    Nothing,
}

impl Lanes {
    /// Lanes in which so many jobs wait before the ledger takes them over.
    pub(super) fn new(depth: Option<usize>) -> Self {
        Self {
            lanes: BTreeMap::new(),
            depth,
        }
    }

    /// A job comes to its lane.
    pub(super) fn join(&mut self, card_id: &CardId, entity_id: &EntityId) -> Place {
        let lane = self.lanes.entry(card_id.clone()).or_default();
        let is_full = self.depth.is_some_and(|depth| {
            lane.progress == HolderProgress::InDoubt || lane.queue.len() >= depth
        });
        if lane.shut {
            Place::Shut
        } else if lane.held || lane.untold > 0 {
            Place::Held
        } else if lane.holders.is_empty() && lane.queue.is_empty() {
            lane.holders.insert(entity_id.clone());
            Place::First
        } else if is_full && lane.progress != HolderProgress::Fresh {
            Place::Held
        } else {
            lane.queue.push_back(entity_id.clone());
            if is_full {
                Place::Crowded
            } else {
                Place::Behind
            }
        }
    }

    /// A job found in doubt at the start, or one that the ledger held, holds its lane, beside others.
    pub(super) fn hold(&mut self, card_id: &CardId, entity_id: &EntityId) {
        self.lanes
            .entry(card_id.clone())
            .or_default()
            .holders
            .insert(entity_id.clone());
    }

    /// What lets one of those that hold this lane call at a time: after a loss of the ledger, several jobs of a
    /// card may have been sent in the time that it has forgotten.
    pub(super) fn calls_of_holders(&mut self, card_id: &CardId) -> Arc<Semaphore> {
        let lane = self.lanes.entry(card_id.clone()).or_default();
        let calls = lane
            .calls
            .get_or_insert_with(|| Arc::new(Semaphore::new(1)));
        Arc::clone(calls)
    }

    /// The job that holds this lane has a durable intent. Whether what waits behind it is to go to the
    /// ledger now.
    pub(super) fn begun(&mut self, card_id: &CardId, entity_id: &EntityId) -> bool {
        self.lanes.get_mut(card_id).is_some_and(|lane| {
            if lane.progress == HolderProgress::Fresh && lane.holders.contains(entity_id) {
                lane.progress = HolderProgress::Begun;
            }
            lane.progress == HolderProgress::Begun
        }) && self.is_crowded(card_id)
    }

    /// Whether more wait in this lane than are to wait here.
    pub(super) fn is_crowded(&self, card_id: &CardId) -> bool {
        let waiting = self.lanes.get(card_id).map_or(0, |lane| lane.queue.len());
        self.depth.is_some_and(|depth| waiting > depth)
    }

    /// The job that holds this lane is to begin anew, or for the first time.
    pub(super) fn begins(&mut self, card_id: &CardId) {
        if let Some(lane) = self.lanes.get_mut(card_id)
            && lane.progress == HolderProgress::Begun
        {
            lane.progress = HolderProgress::Fresh;
        }
    }

    /// Whoever holds this lane.
    pub(super) fn holders(&self, card_id: &CardId) -> impl Iterator<Item = &EntityId> {
        let lane = self.lanes.get(card_id).into_iter();
        lane.flat_map(|lane| &lane.holders)
    }

    /// Every job that has a place in some lane, but for those that shut theirs for good.
    pub(super) fn all(&self) -> impl Iterator<Item = &EntityId> {
        let queued = self.lanes.values().flat_map(|lane| &lane.queue);
        let is_open = |lane: &&Lane| lane.progress != HolderProgress::InDoubt && !lane.shut;
        let open = self.lanes.values().filter(is_open);
        queued.chain(open.flat_map(|lane| &lane.holders))
    }

    /// A job is in doubt. Whether it holds this lane and what waits behind it is to go to the ledger now:
    /// one whose card is open again, because a person must decide, holds up nobody.
    pub(super) fn fence(&mut self, card_id: &CardId, entity_id: &EntityId) -> bool {
        let takes_over = self.depth.is_some();
        let lane = self.lanes.get_mut(card_id);
        let held = lane.filter(|lane| lane.holders.contains(entity_id));
        held.is_some_and(|lane| {
            lane.progress = HolderProgress::InDoubt;
            takes_over && !lane.queue.is_empty()
        })
    }

    /// A job lets go of its lane. What may start now.
    pub(super) fn leave(&mut self, card_id: &CardId, entity_id: &EntityId) -> Next {
        let Some(lane) = self.lanes.get_mut(card_id) else {
            return Next::Nothing;
        };
        lane.holders.remove(entity_id);
        if !lane.holders.is_empty() {
            return Next::Nothing;
        }
        lane.progress = HolderProgress::Fresh;
        if let Some(next) = lane.queue.pop_front() {
            lane.holders.insert(next.clone());
            return Next::Job(next);
        }
        if lane.is_ready() {
            return Next::Held;
        }
        if lane.is_idle() {
            self.lanes.remove(card_id);
        }
        Next::Nothing
    }

    /// The lane takes no more in this run. The jobs that waited in it, in their order.
    pub(super) fn shut(&mut self, card_id: &CardId) -> VecDeque<EntityId> {
        let lane = self.lanes.entry(card_id.clone()).or_default();
        lane.shut = true;
        std::mem::take(&mut lane.queue)
    }

    /// The jobs that wait in some lane and are not to be kept; the lanes forget them.
    pub(super) fn drop_queued(&mut self, keep: impl Fn(&EntityId) -> bool) -> Vec<EntityId> {
        let mut dropped = Vec::new();
        for lane in self.lanes.values_mut() {
            let (kept, gone) = std::mem::take(&mut lane.queue)
                .into_iter()
                .partition::<VecDeque<_>, _>(|entity_id| keep(entity_id));
            lane.queue = kept;
            dropped.extend(gone);
        }
        self.lanes.retain(|_, lane| !lane.is_idle());
        dropped
    }

    // ---- what the ledger holds ----------------------------------------------------------------

    /// The ledger has jobs of this card, found so at the start.
    pub(super) fn found_held(&mut self, card_id: &CardId) -> bool {
        let lane = self.lanes.entry(card_id.clone()).or_default();
        lane.held = true;
        lane.is_ready()
    }

    /// A takeover begins. The jobs that wait in the lane, in their order, which go with it.
    pub(super) fn take_over(&mut self, card_id: &CardId) -> VecDeque<EntityId> {
        let lane = self.lanes.entry(card_id.clone()).or_default();
        lane.held = true;
        lane.untold += 1;
        std::mem::take(&mut lane.queue)
    }

    /// A takeover has been told to whom it concerns. Whether the first that is held may start.
    pub(super) fn told(&mut self, card_id: &CardId) -> bool {
        self.lanes.get_mut(card_id).is_some_and(|lane| {
            lane.untold = lane.untold.saturating_sub(1);
            lane.is_ready()
        })
    }

    /// Whether the ledger has jobs of this card.
    pub(super) fn has_held(&self, card_id: &CardId) -> bool {
        self.lanes.get(card_id).is_some_and(|lane| lane.held)
    }

    /// Whether the first that the ledger holds may start.
    pub(super) fn is_ready(&self, card_id: &CardId) -> bool {
        self.lanes.get(card_id).is_some_and(Lane::is_ready)
    }

    /// The ledger has no more of this card.
    pub(super) fn none_held(&mut self, card_id: &CardId) {
        if let Some(lane) = self.lanes.get_mut(card_id) {
            lane.held = false;
            if lane.is_idle() {
                self.lanes.remove(card_id);
            }
        }
    }
}

#[cfg(test)]
#[path = "lanes_tests.rs"]
mod tests;
