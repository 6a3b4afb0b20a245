//! Who judges the world of a seed, and how a person sees again what broke a rule.

use std::fmt::Write as _;

use crate::figures::Figures;
use crate::mutant::Mutant;
use crate::oracle::Violation;
use crate::world;

/// Who judges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Judge {
    /// Every step, by every invariant.
    Procedure,
    /// What happened, by the bank's books and by what readers were told.
    Books,
}

impl Judge {
    /// Runs the world of a seed: what happened, and which rule was broken, if one was.
    pub(crate) fn run(self, seed: u64, mutant: Mutant) -> (Figures, Option<Violation>) {
        let end = match self {
            Self::Procedure => world::run(seed, mutant),
            Self::Books => world::run_by_the_books(seed, mutant),
        };
        match end {
            Ok(figures) => (figures, None),
            // Only harm counts: money moved twice, or moved and was called unmoved.
            Err(violation)
                if self == Self::Books && !matches!(violation.invariant, "I1" | "I5") =>
            {
                (Figures::default(), None)
            }
            Err(violation) => (Figures::default(), Some(violation)),
        }
    }
}

/// The story of a world that broke a rule, and how to see it again.
pub(crate) fn failure(seed: u64, mutant: Mutant, judge: Judge) -> String {
    let (story, end) = world::story(seed, mutant, judge == Judge::Books);
    let mut text = format!("the world of seed {seed} breaks the rules\n\n");
    for line in story {
        writeln!(text, "{line}").expect("a String takes every text");
    }
    writeln!(text, "\n{end:?}\n\nreplay: {}", replay(seed, mutant, judge))
        .expect("a String takes every text");
    text
}

/// The one command that tells the story of a world.
pub(crate) fn replay(seed: u64, mutant: Mutant, judge: Judge) -> String {
    let mutant = if mutant == Mutant::None {
        String::new()
    } else {
        format!("TANDA_MUTANT={mutant:?} ")
    };
    let judge = match judge {
        Judge::Procedure => "",
        Judge::Books => "TANDA_BOOKS=1 ",
    };
    format!(
        "{judge}{mutant}TANDA_SEED={seed} cargo test --test sim a_seed_tells_its_story -- --nocapture"
    )
}
