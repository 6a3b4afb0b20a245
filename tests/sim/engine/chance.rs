//! Seeded numbers: splitmix64 (Steele, Lea, Flood 2014).
//!
//! *What it promises.* The same seed gives the same numbers, on every machine.
//!
//! *What it refuses to know.* What is decided by them.

/// A seeded stream of numbers.
#[derive(Debug)]
pub(super) struct Chance(u64);

impl Chance {
    pub(super) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number from 0 to `most`.
    pub(super) fn up_to(&mut self, most: u64) -> u64 {
        let choices = u128::from(most) + 1;
        let scaled = (u128::from(self.next()) * choices) >> 64;
        u64::try_from(scaled).expect("a part of a number below 2^64 is below 2^64")
    }

    /// A number from `least` to `most`.
    pub(super) fn between(&mut self, least: u64, most: u64) -> u64 {
        least + self.up_to(most.saturating_sub(least))
    }

    /// An index below `length`, which is not 0.
    pub(super) fn index(&mut self, length: usize) -> usize {
        let last = u64::try_from(length.saturating_sub(1)).expect("a length fits");
        usize::try_from(self.up_to(last)).expect("an index fits")
    }

    /// A number from 1 to `most`, each order of magnitude as likely as the next.
    pub(super) fn magnitude(&mut self, most: u64) -> u64 {
        let bits = self.up_to(u64::from(most.max(1).ilog2()));
        let number = (1 << bits) + self.up_to((1 << bits) - 1);
        number.min(most.max(1))
    }

    /// True in so many of a thousand cases.
    pub(super) fn per_mille(&mut self, chance: u32) -> bool {
        chance > 0 && self.up_to(999) < u64::from(chance)
    }

    /// True in half of all cases.
    pub(super) const fn coin(&mut self) -> bool {
        self.next() >> 63 == 1
    }

    /// One of these.
    pub(super) fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        *choices
            .get(self.index(choices.len()))
            .expect("a choice is never empty")
    }
}
