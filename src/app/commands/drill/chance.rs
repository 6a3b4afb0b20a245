//! Chance by a seed: as good as random, and the same every time.
//!
//! *What it promises.* A draw follows from the seed and the question alone, whatever was drawn before.
//!
//! *What it refuses to know.* What is drawn.

use std::ops::RangeInclusive;

use crate::domain::digest::Digest;

/// Parts of a whole in which a likelihood is given.
const PER_CENT: u64 = 100;

/// Where draws come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Chance {
    seed: String,
}

impl Chance {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            seed: seed.to_string(),
        }
    }

    /// A number for this question about this thing.
    pub(super) fn draw(&self, question: &str, about: u64) -> u64 {
        let about = about.to_string();
        Digest::of_fields(&["tanda.drill.v1", &self.seed, question, &about]).first_u64()
    }

    /// A whole number in this range.
    pub(super) fn within(&self, question: &str, about: u64, range: &RangeInclusive<u64>) -> u64 {
        let among = range
            .end()
            .saturating_sub(*range.start())
            .saturating_add(1)
            .max(1);
        range.start() + self.draw(question, about) % among
    }

    /// A whole number from 1 to this one, each doubling of it as likely as the next.
    pub(super) fn of_any_size(&self, question: &str, about: u64, most: u64) -> u64 {
        let doublings = most.max(1).ilog2();
        let size = self.within(&format!("{question}.size"), about, &(0..=doublings.into()));
        let least = 1_u64 << size;
        let end = least
            .saturating_mul(2)
            .saturating_sub(1)
            .min(most)
            .max(least);
        self.within(question, about, &(least..=end))
    }

    /// Whether something happens that does so in so many of a hundred.
    pub(super) fn happens(&self, question: &str, about: u64, per_cent: u64) -> bool {
        self.draw(question, about) % PER_CENT < per_cent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_draw_follows_from_seed_and_question_alone() {
        let (one, two) = (Chance::new(1), Chance::new(2));
        assert_eq!(one.draw("a", 0), Chance::new(1).draw("a", 0));
        assert_ne!(one.draw("a", 0), two.draw("a", 0));
        assert_ne!(one.draw("a", 0), one.draw("b", 0));
        assert_ne!(one.draw("a", 0), one.draw("a", 1));
    }

    #[test]
    fn draws_stay_in_their_range_and_reach_its_ends() {
        let chance = Chance::new(7);
        let drawn: Vec<_> = (0..200).map(|n| chance.within("w", n, &(3..=5))).collect();
        assert!([3, 4, 5].iter().all(|end| drawn.contains(end)), "{drawn:?}");
        assert!(drawn.iter().all(|number| (3..=5).contains(number)));
        let sizes: Vec<_> = (0..2_000)
            .map(|n| chance.of_any_size("s", n, 200))
            .collect();
        assert!(sizes.iter().all(|size| (1..=200).contains(size)));
        let small = sizes.iter().filter(|size| **size < 16).count();
        assert!((800..1_200).contains(&small), "{small} of 2,000 are small");
        let often = (0..1_000).filter(|n| chance.happens("h", *n, 30)).count();
        assert!((240..360).contains(&often), "{often}");
    }
}
