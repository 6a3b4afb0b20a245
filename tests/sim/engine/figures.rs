//! What happened in worlds, counted.

use std::fmt;

use super::fault::Fault;

/// Counts of one world, or of many.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Figures {
    pub(super) worlds: u64,
    pub(super) jobs: u64,
    pub(super) steps: u64,
    pub(super) calls: u64,
    pub(super) resends: u64,
    pub(super) lists: u64,
    pub(super) movements: u64,
    pub(super) late_arrivals: u64,
    pub(super) lives: u64,
    pub(super) kills: u64,
    pub(super) stops: u64,
    pub(super) losses: u64,
    pub(super) doubts: u64,
    pub(super) held: u64,
    pub(super) persons: u64,
    pub(super) requests: u64,
    pub(super) redrives: u64,
    pub(super) conflicts: u64,
    pub(super) invalid: u64,
    pub(super) succeeded: u64,
    pub(super) rejected: u64,
    pub(super) not_sent: u64,
    pub(super) virtual_s: u64,
    faults: [u64; Fault::COUNT],
}

impl Figures {
    pub(super) fn count_fault(&mut self, fault: Fault) {
        if let Some(count) = self.faults.get_mut(fault.place()) {
            *count += 1;
        }
    }

    pub(super) fn of_fault(&self, fault: Fault) -> u64 {
        self.faults.get(fault.place()).copied().unwrap_or_default()
    }

    fn named(&self) -> [(&'static str, u64); 23] {
        [
            ("worlds", self.worlds),
            ("jobs", self.jobs),
            ("steps", self.steps),
            ("calls", self.calls),
            ("resends", self.resends),
            ("lists", self.lists),
            ("movements", self.movements),
            ("late arrivals", self.late_arrivals),
            ("processes", self.lives),
            ("kills", self.kills),
            ("stops", self.stops),
            ("losses", self.losses),
            ("doubts", self.doubts),
            ("held", self.held),
            ("persons needed", self.persons),
            ("requests", self.requests),
            ("redrives", self.redrives),
            ("conflicts", self.conflicts),
            ("invalid", self.invalid),
            ("succeeded", self.succeeded),
            ("rejected", self.rejected),
            ("not sent", self.not_sent),
            ("virtual s", self.virtual_s),
        ]
    }

    pub(super) fn add(&mut self, one: &Self) {
        self.worlds += one.worlds;
        self.jobs += one.jobs;
        self.steps += one.steps;
        self.calls += one.calls;
        self.resends += one.resends;
        self.lists += one.lists;
        self.movements += one.movements;
        self.late_arrivals += one.late_arrivals;
        self.lives += one.lives;
        self.kills += one.kills;
        self.stops += one.stops;
        self.losses += one.losses;
        self.doubts += one.doubts;
        self.held += one.held;
        self.persons += one.persons;
        self.requests += one.requests;
        self.redrives += one.redrives;
        self.conflicts += one.conflicts;
        self.invalid += one.invalid;
        self.succeeded += one.succeeded;
        self.rejected += one.rejected;
        self.not_sent += one.not_sent;
        self.virtual_s += one.virtual_s;
        for (sum, count) in self.faults.iter_mut().zip(&one.faults) {
            *sum += count;
        }
    }

    /// What never happened, of all that is counted.
    pub(super) fn absent(&self) -> Vec<String> {
        let named = self
            .named()
            .into_iter()
            .map(|(name, count)| (name.to_owned(), count));
        let faults = Fault::ALL
            .iter()
            .map(|&it| (format!("{it:?}"), self.of_fault(it)));
        let none = named.chain(faults).filter(|(_, count)| *count == 0);
        none.map(|(name, _)| name).collect()
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, count) in self.named() {
            write!(f, "{count} {name}, ")?;
        }
        f.write_str("faults:")?;
        for &fault in Fault::ALL {
            write!(f, " {} {fault:?},", self.of_fault(fault))?;
        }
        Ok(())
    }
}
