//! Which deliveries may be acknowledged together.
//!
//! *What it promises.* Pure. Done deliveries below the first that is not done go in one answer, named
//! by the last of them; those above it go one by one. A tag that was named is never named again: the
//! broker would close the channel.
//!
//! *What it refuses to know.* How an answer is sent.

use std::collections::BTreeMap;

/// An answer to the broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ack {
    /// The delivery that it names.
    pub tag: u64,
    /// Whether it is about every one before it too.
    pub multiple: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    Done,
}

/// The deliveries of one channel that are not acknowledged.
#[derive(Debug, Default)]
pub struct Acks(BTreeMap<u64, State>);

impl Acks {
    /// A delivery came.
    pub fn came(&mut self, tag: u64) {
        self.0.insert(tag, State::Open);
    }

    /// It is done.
    pub fn done(&mut self, tag: u64) {
        if let Some(state) = self.0.get_mut(&tag) {
            *state = State::Done;
        }
    }

    /// It was answered otherwise, and is not to be named again.
    pub fn gone(&mut self, tag: u64) {
        self.0.remove(&tag);
    }

    /// How many are not acknowledged.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether all are.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What to tell the broker now; it is told from then on.
    pub fn take(&mut self) -> Vec<Ack> {
        let first_open = self
            .0
            .iter()
            .find(|(_, state)| **state == State::Open)
            .map(|(tag, _)| *tag);
        let done = |(tag, state): (&u64, &State)| (*state == State::Done).then_some(*tag);
        let tags: Vec<u64> = self.0.iter().filter_map(done).collect();
        let run = tags
            .iter()
            .copied()
            .take_while(|tag| first_open.is_none_or(|open| *tag < open));
        let (length, last) = run.fold((0, None), |(n, _), tag| (n + 1, Some(tag)));
        let mut acks: Vec<Ack> = last
            .map(|tag| Ack {
                tag,
                multiple: length > 1,
            })
            .into_iter()
            .collect();
        acks.extend(tags.iter().skip(length).map(|&tag| Ack {
            tag,
            multiple: false,
        }));
        for tag in tags {
            self.0.remove(&tag);
        }
        acks
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ack(tag: u64, multiple: bool) -> Ack {
        Ack { tag, multiple }
    }

    #[test]
    fn a_run_goes_in_one_answer_and_the_rest_one_by_one() {
        let mut acks = Acks::default();
        for tag in 1..=6 {
            acks.came(tag);
        }
        for tag in [2, 1, 5] {
            acks.done(tag);
        }
        assert_eq!(acks.take(), [ack(2, true), ack(5, false)]);
        assert_eq!(acks.take(), []);
        for tag in [3, 4, 6] {
            acks.done(tag);
        }
        assert_eq!(acks.take(), [ack(6, true)]);
        assert!(acks.is_empty());
    }

    #[test]
    fn what_was_given_back_is_not_named() {
        let mut acks = Acks::default();
        for tag in 1..=3 {
            acks.came(tag);
        }
        acks.gone(2);
        acks.done(1);
        acks.done(3);
        assert_eq!(acks.take(), [ack(3, true)]);
    }

    proptest! {
        /// The broker closes the channel at a tag that it does not know any more, and takes a multiple
        /// answer for every delivery below it.
        #[test]
        fn every_done_delivery_is_acknowledged_once_and_no_other(
            done in proptest::collection::vec((0_u64..40, any::<bool>()), 0..80)
        ) {
            let mut acks = Acks::default();
            let mut unacked: std::collections::BTreeSet<u64> = (0..40).collect();
            for tag in 0..40 {
                acks.came(tag);
            }
            let mut is_done = std::collections::BTreeSet::new();
            for (tag, take) in done {
                acks.done(tag);
                is_done.insert(tag);
                if !take {
                    continue;
                }
                for ack in acks.take() {
                    prop_assert!(unacked.contains(&ack.tag), "named again");
                    let covered: Vec<u64> = if ack.multiple {
                        unacked.range(..=ack.tag).copied().collect()
                    } else {
                        vec![ack.tag]
                    };
                    for tag in covered {
                        prop_assert!(is_done.contains(&tag));
                        unacked.remove(&tag);
                    }
                }
                prop_assert!(is_done.iter().all(|tag| !unacked.contains(tag)));
            }
        }
    }
}
