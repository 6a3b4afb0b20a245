//! The jobs that play in every world, built once: to validate and hash them takes longer than a world.
//!
//! *What it promises.* Each is the product's own [`Job`], made from a draft, with the product's own
//! keys. Which of them play in a world is its seed's choice, because the jitter of their waits is
//! derived from their keys.

use std::sync::OnceLock;

use tanda::domain::job::{Draft, Job};
use tanda::domain::key::{Generation, IdempotencyKey, Namespace};
use tanda::domain::money::Currencies;

/// The most jobs of one world: two and their bank show every order of events, three some more.
pub(crate) const JOBS_MAX: usize = 3;
/// The most generations of one job.
pub(crate) const GENERATIONS_MAX: usize = 3;
/// Keys of one job; more than it has generations, for a breaker of rules that draws one per attempt.
const KEYS: u32 = 16;
/// Parts to choose from.
const PARTS: usize = 64;

/// What a job of this name may say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    /// What was said first.
    First,
    /// Something else under the same name.
    Other,
    /// What nobody of ours said: the bank lists it all the same.
    Strange,
}

/// One `entity_id`.
#[derive(Debug)]
pub(crate) struct Part {
    first: Job,
    other: Job,
    strange: Job,
    keys: Vec<IdempotencyKey>,
}

impl Part {
    fn new(number: usize) -> Self {
        let draft = |amount_minor| Draft {
            entity_id: format!("EMP-{number:02}"),
            card_id: "car_5tgliBmzjZ6mpQPRbQjfKj".to_owned(),
            operation: "topup".to_owned(),
            amount_minor,
            currency: "COP".to_owned(),
            ..Draft::default()
        };
        let job = |amount_minor| {
            draft(amount_minor)
                .validate(&Currencies::default())
                .expect("the jobs of the worlds are valid")
        };
        let first = job(100);
        let key = |number| {
            let generation = Generation::new(number).expect("generations count from 1");
            IdempotencyKey::derive(&Namespace::default(), &first.entity_id, generation)
        };
        Self {
            keys: (1..=KEYS).map(key).collect(),
            other: job(200),
            strange: job(101),
            first,
        }
    }

    /// The job that says this.
    pub(crate) const fn says(&self, content: Content) -> &Job {
        match content {
            Content::First => &self.first,
            Content::Other => &self.other,
            Content::Strange => &self.strange,
        }
    }

    /// The key of a generation, counted from 0.
    pub(crate) fn key(&self, generation: usize) -> IdempotencyKey {
        *self
            .keys
            .get(generation.min(self.keys.len() - 1))
            .expect("the last is one")
    }
}

/// The parts of a world, from this one on.
pub(crate) fn part(first: usize, job: usize) -> &'static Part {
    static PARTS_OF_ALL: OnceLock<Vec<Part>> = OnceLock::new();
    let parts = PARTS_OF_ALL.get_or_init(|| (0..PARTS).map(Part::new).collect());
    parts
        .get((first + job) % PARTS)
        .expect("a remainder is below what was divided by")
}

/// How many parts there are to begin with.
pub(crate) const fn parts() -> usize {
    PARTS
}
