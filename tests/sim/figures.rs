//! What happened in worlds, for the report: a proof without trouble proves nothing.

/// Counts over one world or many.
#[derive(Clone, Debug, Default)]
pub(crate) struct Figures {
    pub(crate) worlds: u64,
    pub(crate) steps: u64,
    pub(crate) calls: u64,
    pub(crate) crashes: u64,
    pub(crate) panics: u64,
    pub(crate) asks: u64,
    pub(crate) doubts: u64,
    pub(crate) lost_answers: u64,
    pub(crate) deliveries: u64,
    pub(crate) redeliveries: u64,
    pub(crate) conflicts: u64,
    pub(crate) published: u64,
    pub(crate) returned: u64,
    pub(crate) failed_commits: u64,
    pub(crate) lost_ledgers: u64,
    pub(crate) restored_ledgers: u64,
    pub(crate) generations: u64,
    pub(crate) rulings: u64,
    pub(crate) succeeded: u64,
    pub(crate) rejected: u64,
    pub(crate) not_sent: u64,
    pub(crate) person_needed: u64,
}

impl Figures {
    /// Each with its name.
    const fn named(&self) -> [(&'static str, u64); 22] {
        [
            ("worlds", self.worlds),
            ("steps", self.steps),
            ("calls", self.calls),
            ("crashes", self.crashes),
            ("panics", self.panics),
            ("asks", self.asks),
            ("doubts", self.doubts),
            ("lost answers", self.lost_answers),
            ("deliveries", self.deliveries),
            ("redeliveries", self.redeliveries),
            ("conflicts", self.conflicts),
            ("published", self.published),
            ("returned", self.returned),
            ("failed commits", self.failed_commits),
            ("lost ledgers", self.lost_ledgers),
            ("restored ledgers", self.restored_ledgers),
            ("later generations", self.generations),
            ("rulings", self.rulings),
            ("succeeded", self.succeeded),
            ("rejected", self.rejected),
            ("not_sent", self.not_sent),
            ("person needed", self.person_needed),
        ]
    }

    /// Adds those of another.
    pub(crate) const fn add(&mut self, other: &Self) {
        self.worlds += other.worlds;
        self.steps += other.steps;
        self.calls += other.calls;
        self.crashes += other.crashes;
        self.panics += other.panics;
        self.asks += other.asks;
        self.doubts += other.doubts;
        self.lost_answers += other.lost_answers;
        self.deliveries += other.deliveries;
        self.redeliveries += other.redeliveries;
        self.conflicts += other.conflicts;
        self.published += other.published;
        self.returned += other.returned;
        self.failed_commits += other.failed_commits;
        self.lost_ledgers += other.lost_ledgers;
        self.restored_ledgers += other.restored_ledgers;
        self.generations += other.generations;
        self.rulings += other.rulings;
        self.succeeded += other.succeeded;
        self.rejected += other.rejected;
        self.not_sent += other.not_sent;
        self.person_needed += other.person_needed;
    }

    /// What never happened.
    pub(crate) fn missing(&self) -> Vec<&'static str> {
        let never = self.named().into_iter().filter(|(_, count)| *count == 0);
        never.map(|(name, _)| name).collect()
    }
}

impl std::fmt::Display for Figures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (index, (name, count)) in self.named().into_iter().enumerate() {
            let separator = if index == 0 { "" } else { ", " };
            write!(f, "{separator}{count} {name}")?;
        }
        Ok(())
    }
}
