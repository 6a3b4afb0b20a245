//! How one invariant stands after a drill: what was checked, what was broken, or why it was not exercised.
//!
//! *What it promises.* What was broken stays broken, whatever is added. What nothing could have broken is
//! not called held. However much is broken, only [`BREACHES_KEPT`] are kept in words.
//!
//! *What it refuses to know.* Which invariant it is.

/// Breaches that are kept in words; all are counted.
pub(super) const BREACHES_KEPT: usize = 50;

/// How an invariant stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    Held,
    Broken,
    NotExercised,
}

impl Standing {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::Broken => "broken",
            Self::NotExercised => "not exercised",
        }
    }
}

/// What was tested of an invariant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Tested {
    /// How often something was looked at that could have been wrong.
    pub(super) checks: u64,
    /// The first breaches, in words.
    pub(super) breaches: Vec<String>,
    /// All of them.
    pub(super) broken: u64,
    /// Why it was not exercised, where it was not.
    pub(super) lacking: Option<&'static str>,
}

impl Tested {
    /// Looks at something.
    pub(super) fn check(&mut self, holds: bool, breach: impl FnOnce() -> String) {
        self.checks += 1;
        if !holds {
            self.breach(breach());
        }
    }

    fn breach(&mut self, words: String) {
        self.broken += 1;
        if self.breaches.len() < BREACHES_KEPT {
            self.breaches.push(words);
        }
    }

    /// It was not exercised, for this reason, unless this was there.
    pub(super) fn needs(mut self, was_there: bool, lacking: &'static str) -> Self {
        if !was_there {
            self.lacking = self.lacking.or(Some(lacking));
        }
        self
    }

    /// All that this round tested of it: where nothing was looked at, it was not exercised.
    pub(super) fn done(self) -> Self {
        let was_looked_at = self.checks > 0;
        self.needs(was_looked_at, "nothing of the kind came up")
    }

    /// Adds what another round tested of it.
    pub(super) fn merge(&mut self, other: Self) {
        self.lacking = self.lacking.and(other.lacking);
        self.checks += other.checks;
        let kept = u64::try_from(other.breaches.len()).unwrap_or(u64::MAX);
        self.broken += other.broken.saturating_sub(kept);
        for words in other.breaches {
            self.breach(words);
        }
    }

    pub(super) fn standing(&self) -> Standing {
        if self.broken > 0 {
            Standing::Broken
        } else if self.lacking.is_some() {
            Standing::NotExercised
        } else {
            Standing::Held
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tested(checks: u64, broken: u64) -> Tested {
        let mut tested = Tested::default();
        for n in 0..checks {
            tested.check(n >= broken, || format!("breach {n}"));
        }
        tested
    }

    #[test]
    fn what_was_not_exercised_is_not_held() {
        assert_eq!(tested(3, 0).standing(), Standing::Held);
        assert_eq!(tested(0, 0).done().standing(), Standing::NotExercised);
        let lacking = tested(3, 0).needs(false, "nothing was killed");
        assert_eq!(lacking.standing(), Standing::NotExercised);
        let broken = tested(3, 1).needs(false, "nothing was killed");
        assert_eq!(broken.standing(), Standing::Broken);
    }

    #[test]
    fn one_round_that_exercised_it_is_enough_and_one_that_broke_it_too() {
        let lacking = || tested(2, 0).needs(false, "nothing was killed");
        let mut all = lacking();
        all.merge(tested(0, 0).done());
        assert_eq!(all.standing(), Standing::NotExercised);
        all.merge(tested(3, 0));
        assert_eq!((all.standing(), all.checks), (Standing::Held, 5));
        all.merge(lacking());
        assert_eq!(all.standing(), Standing::Held);
        all.merge(tested(1, 1));
        all.merge(tested(9, 0));
        assert_eq!((all.standing(), all.broken), (Standing::Broken, 1));
    }

    #[test]
    fn breaches_are_all_counted_and_some_are_kept() {
        let mut all = tested(60, 60);
        all.merge(tested(60, 60));
        assert_eq!(all.broken, 120);
        assert_eq!(all.breaches.len(), BREACHES_KEPT);
    }
}
