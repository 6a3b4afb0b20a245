//! Lanes: one-at-a-time, in-order streams, one for each card (I7).
//!
//! *What it promises.* A job starts only when no other job holds its lane; those behind start in
//! the order in which they came. A job in doubt goes on holding its lane: that is the fence.
//!
//! *What it refuses to know.* What a job does while it holds its lane.

use std::collections::{HashMap, HashSet, VecDeque};

use crate::domain::job::{CardId, EntityId};

/// All lanes that are in use.
#[derive(Debug, Default)]
pub(super) struct Lanes(HashMap<CardId, Lane>);

#[derive(Debug, Default)]
struct Lane {
    holders: HashSet<EntityId>,
    queue: VecDeque<EntityId>,
    shut: bool,
}

/// What became of a job that came to its lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// It holds the lane and may start.
    First,
    /// It waits behind another.
    Behind,
    /// The lane takes no more in this run.
    Shut,
}

impl Lanes {
    /// A job comes to its lane.
    pub(super) fn join(&mut self, card_id: &CardId, entity_id: &EntityId) -> Place {
        let lane = self.0.entry(card_id.clone()).or_default();
        if lane.shut {
            Place::Shut
        } else if lane.holders.is_empty() && lane.queue.is_empty() {
            lane.holders.insert(entity_id.clone());
            Place::First
        } else {
            lane.queue.push_back(entity_id.clone());
            Place::Behind
        }
    }

    /// A job found in doubt at the start holds its lane, beside others found so.
    pub(super) fn hold(&mut self, card_id: &CardId, entity_id: &EntityId) {
        self.0
            .entry(card_id.clone())
            .or_default()
            .holders
            .insert(entity_id.clone());
    }

    /// A job lets go of its lane. The job that may start now, if any.
    pub(super) fn leave(&mut self, card_id: &CardId, entity_id: &EntityId) -> Option<EntityId> {
        let lane = self.0.get_mut(card_id)?;
        lane.holders.remove(entity_id);
        let next = if lane.holders.is_empty() {
            lane.queue.pop_front()
        } else {
            None
        };
        match &next {
            Some(next) => {
                lane.holders.insert(next.clone());
            }
            None if lane.holders.is_empty() && !lane.shut => {
                self.0.remove(card_id);
            }
            None => {}
        }
        next
    }

    /// The lane takes no more in this run. The jobs that waited in it, in their order.
    pub(super) fn shut(&mut self, card_id: &CardId) -> VecDeque<EntityId> {
        let lane = self.0.entry(card_id.clone()).or_default();
        lane.shut = true;
        std::mem::take(&mut lane.queue)
    }

    /// Every job that waits in some lane; the lanes forget them.
    pub(super) fn empty_queues(&mut self) -> Vec<EntityId> {
        self.0
            .values_mut()
            .flat_map(|lane| std::mem::take(&mut lane.queue))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn card() -> CardId {
        CardId::parse("car_5tgliBmzjZ6mpQPRbQjfKj").expect("a card")
    }

    fn id(text: &str) -> EntityId {
        EntityId::parse(text).expect("an entity_id")
    }

    #[test]
    fn i7_a_lane_starts_one_job_at_a_time_in_order() {
        let mut lanes = Lanes::default();
        assert_eq!(lanes.join(&card(), &id("a")), Place::First);
        assert_eq!(lanes.join(&card(), &id("b")), Place::Behind);
        assert_eq!(lanes.join(&card(), &id("c")), Place::Behind);
        assert_eq!(lanes.leave(&card(), &id("a")), Some(id("b")));
        assert_eq!(lanes.join(&card(), &id("d")), Place::Behind);
        assert_eq!(lanes.leave(&card(), &id("b")), Some(id("c")));
        assert_eq!(lanes.leave(&card(), &id("c")), Some(id("d")));
        assert_eq!(lanes.leave(&card(), &id("d")), None);
        assert!(lanes.0.is_empty(), "an idle lane costs no memory");
    }

    #[test]
    fn i7_jobs_found_in_doubt_hold_their_lane_together() {
        let mut lanes = Lanes::default();
        lanes.hold(&card(), &id("x"));
        lanes.hold(&card(), &id("y"));
        assert_eq!(lanes.join(&card(), &id("a")), Place::Behind);
        assert_eq!(lanes.leave(&card(), &id("x")), None);
        assert_eq!(lanes.leave(&card(), &id("y")), Some(id("a")));
    }

    #[test]
    fn i7_a_shut_lane_gives_back_everything_and_never_opens_for_later_jobs() {
        let mut lanes = Lanes::default();
        lanes.hold(&card(), &id("x"));
        lanes.join(&card(), &id("a"));
        assert_eq!(lanes.shut(&card()), [id("a")]);
        assert_eq!(lanes.join(&card(), &id("b")), Place::Shut);
        assert_eq!(lanes.leave(&card(), &id("x")), None);
        assert_eq!(
            lanes.join(&card(), &id("c")),
            Place::Shut,
            "b must not be overtaken"
        );
    }
}
