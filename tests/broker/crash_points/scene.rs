//! What a worker has to do while it crashes: enough for every point to be reached.
//!
//! *What it promises.* The same scene puts the same messages on the queue each time.
//!
//! *What it refuses to know.* Where the worker crashes.

use super::book::{Kind, Sent};

/// Minor units of an ordinary job.
const AMOUNT: u64 = 1_000;
/// More than a card has at first.
const TOO_MUCH: u64 = 150_000_000;
/// What makes it enough.
pub(super) const MISSING: u64 = 100_000_000;

/// The bank remembers no key, ever: whatever is sent again without need is paid again.
pub(super) const FORGETFUL: &str = "key_life_s=0";
/// The bank remembers a key for as long as one is relied on, which is the resend window and a call at its
/// end, and little longer: what is sent again later is paid again.
const MINDFUL: &str = "key_life_s=10";

/// What goes on around the worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Scene {
    /// Jobs, copies, conflicts, what is no job, what the bank refuses; replies are lost and the bank has
    /// errors, so that cards are fenced and the ledger takes jobs over.
    Traffic,
    /// The same, with a resend window, as users have it: without a clear answer the same is sent again, to a
    /// bank that remembers its key.
    Resends,
    /// The bank does not take the credential, and the worker is stopped with jobs begun and waiting.
    Stopping,
    /// People cancel, settle, reconcile and have jobs run again.
    People,
    /// The ledger is gone, or an older copy is in its place, and a person has accepted that; what it forgot
    /// comes again among what is new. After a worker that was aborted, that is in the middle of everything.
    Loss,
}

/// How many of everything there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Size {
    /// Enough for each point to be reached once.
    Small,
    /// Enough for it to be reached twenty times, where that depends on the number of jobs; ten times, where
    /// each time needs a person.
    Large,
}

impl Scene {
    pub(super) const ALL: [Self; 5] = [
        Self::Traffic,
        Self::Resends,
        Self::Stopping,
        Self::People,
        Self::Loss,
    ];

    /// How long the bank remembers a key.
    pub(super) const fn memory(self) -> &'static str {
        match self {
            Self::Resends => MINDFUL,
            Self::Traffic | Self::Stopping | Self::People | Self::Loss => FORGETFUL,
        }
    }

    /// What the bank deals while the worker crashes, besides [`Self::memory`].
    pub(super) const fn faults(self) -> &'static str {
        match self {
            Self::Traffic | Self::Resends | Self::Loss => ",lost=35%,error=25%",
            Self::Stopping => ",unauthorized=100%",
            Self::People => ",error=100%",
        }
    }

    /// After how many crashes everything must be over.
    pub(super) const fn crashes_in_a_life(self, size: Size) -> usize {
        match (self, size) {
            (Self::Traffic | Self::Resends | Self::Stopping, _) => 8,
            // Each leaves jobs that the bank has errors for: more than are called at once would look like an
            // outage, in which they are tried one by one.
            (Self::People, Size::Small) => 4,
            (Self::People, Size::Large) => 1,
            // Before a loss everything must be over, unless the worker was aborted.
            (Self::Loss, _) => 3,
        }
    }

    /// Settings of its own.
    pub(super) const fn settings(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Traffic | Self::Loss => &[
                ("TANDA_ENGINE__CONCURRENCY", "4"),
                ("TANDA_AMQP__PREFETCH", "24"),
            ],
            Self::Resends => &[
                ("TANDA_ENGINE__RESEND_WINDOW_S", "3"),
                // No shorter than the window.
                ("TANDA_ENGINE__HOLD_MAX_S", "3"),
                ("TANDA_ENGINE__CONCURRENCY", "4"),
                ("TANDA_AMQP__PREFETCH", "24"),
            ],
            // All that are begun are begun before the first answer.
            Self::Stopping => &[
                ("TANDA_ENGINE__CONCURRENCY", "24"),
                ("TANDA_AMQP__PREFETCH", "128"),
                // What is only deferred stays with the queue.
                ("TANDA_ENGINE__HOLD_MAX_S", "60"),
            ],
            Self::People => &[
                ("TANDA_ENGINE__CONCURRENCY", "24"),
                ("TANDA_AMQP__PREFETCH", "128"),
                // The card opens once only a person can decide.
                ("TANDA_ENGINE__FENCE", "until_person_needed"),
            ],
        }
    }

    /// The messages of the batch of this number, in their order.
    pub(super) fn batch(self, batch: usize, size: Size) -> Vec<Sent> {
        let times = match size {
            Size::Small => 1,
            Size::Large => 3,
        };
        let maker = Maker { batch };
        match self {
            Self::Traffic | Self::Resends => maker.traffic(times),
            Self::Stopping => maker.stopping(if size == Size::Large { 24 } else { 8 }),
            Self::People => maker.people(if size == Size::Large { 10 } else { 2 }),
            Self::Loss => maker.loss(if size == Size::Large { 8 } else { 3 }),
        }
    }
}

/// Ids and cards of one batch, which no other batch has.
struct Maker {
    batch: usize,
}

impl Maker {
    fn id(&self, what: &str, number: usize) -> String {
        format!("{what}-{}-{number}", self.batch)
    }

    fn card(&self, number: usize) -> String {
        format!("car_{:022}", self.batch * 1_000 + number)
    }

    fn traffic(&self, times: usize) -> Vec<Sent> {
        let jobs = 16 * times;
        let cards = 5 * times;
        let mut all = Vec::new();
        for number in 0..jobs {
            let card = self.card(number % cards);
            all.push(topup(Kind::Good, self.id("G", number), card, AMOUNT));
            if number % 4 == 3 {
                let frozen = format!("car_{:016}Frozen", self.batch * 1_000 + number);
                all.push(topup(Kind::Refused, self.id("F", number), frozen, AMOUNT));
                all.push(unreadable(self.id("U", number)));
            }
        }
        for number in (0..jobs).step_by(3) {
            let card = self.card(number % cards);
            let id = self.id("G", number);
            all.push(if number % 2 == 0 {
                topup(Kind::Conflict, id, card, AMOUNT + 1)
            } else {
                topup(Kind::Copy, id, card, AMOUNT)
            });
        }
        all
    }

    /// All of the batch before once more, and new jobs: some behind those, some behind each other.
    fn loss(&self, cards: usize) -> Vec<Sent> {
        let mut all = Vec::new();
        if let Some(batch) = self.batch.checked_sub(1) {
            let before = Self { batch };
            for number in 0..cards {
                let (id, card) = (before.id("L", number), before.card(number));
                all.push(topup(Kind::Copy, id, card, AMOUNT));
            }
            all.push(topup(Kind::Good, self.id("B", 0), before.card(0), AMOUNT));
        }
        for number in 0..3 * cards {
            let card = self.card(number % cards);
            all.push(topup(Kind::Good, self.id("L", number), card, AMOUNT));
        }
        all
    }

    fn stopping(&self, cards: usize) -> Vec<Sent> {
        let good = |number| {
            let card = self.card(number % cards);
            topup(Kind::Good, self.id("G", number), card, AMOUNT)
        };
        (0..2 * cards).map(good).collect()
    }

    fn people(&self, times: usize) -> Vec<Sent> {
        let mut all = Vec::new();
        for number in 0..times {
            let card = |kind: usize| self.card(kind * 100 + number);
            let usurped = self.id("O", number);
            all.push(topup(Kind::Usurped, usurped, card(0), AMOUNT));
            let cancelled = self.id("C", number);
            all.push(topup(Kind::Cancelled, cancelled, card(1), AMOUNT));
            let refused = self.id("X", number);
            all.push(sent(
                Kind::Refused,
                "withdrawal",
                refused,
                card(2),
                TOO_MUCH,
            ));
        }
        all
    }
}

/// A job that comes before all others.
pub(super) fn first() -> Sent {
    let card = format!("car_{:022}", 999_999);
    topup(Kind::Good, "FIRST".to_owned(), card, AMOUNT)
}

fn topup(kind: Kind, entity_id: String, card: String, minor: u64) -> Sent {
    sent(kind, "topup", entity_id, card, minor)
}

fn sent(kind: Kind, operation: &str, entity_id: String, card: String, minor: u64) -> Sent {
    let body = format!(
        r#"{{"entity_id":"{entity_id}","card_id":"{card}","operation":"{operation}","amount":{{"amount":{minor},"currency":"COP"}}}}"#
    );
    Sent {
        kind,
        entity_id,
        card,
        body: body.into_bytes(),
    }
}

fn unreadable(entity_id: String) -> Sent {
    Sent {
        kind: Kind::Unreadable,
        body: format!(r#"{{"entity_id":"{entity_id}","amount":1.5}}"#).into_bytes(),
        entity_id,
        card: String::new(),
    }
}
