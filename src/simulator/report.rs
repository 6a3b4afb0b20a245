//! What the judge saw: every movement of money, under the `entity_id` it was asked for.
//!
//! *What it promises.* [`Report`] is a value that reads back from the JSON it writes; entities are
//! in order of their id. Sums are integers of minor units, apart per operation and currency.
//!
//! *What it refuses to know.* What ought to have happened.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::wire::bank::Money;

/// Everything the simulated bank did since it began.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// What was moved under each `entity_id`.
    pub entities: BTreeMap<String, EntityReport>,
    /// Counts and sums of all movements, per operation and currency.
    pub totals: Vec<Total>,
    /// Movements that were asked for without an `entity_id`; they are in the totals.
    pub without_entity_id: u64,
    /// Movements by someone else, which a shifting list brought; they are in no total.
    pub foreign: u64,
    /// What is left in the funding account, in minor units; null where it is without end.
    pub funds_minor: Option<i64>,
    /// Requests seen.
    pub requests: Requests,
    /// Operations answered from the memory of keys.
    pub replays: u64,
    /// Operations refused because their key came with another body before.
    pub key_collisions: u64,
    /// Requests that came and will be applied later.
    pub late: u64,
    /// How often each fault was dealt.
    pub faults: BTreeMap<String, u64>,
}

/// What was moved under one `entity_id`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntityReport {
    /// How many movements; more than one is money paid twice.
    pub movements: u64,
    /// Their counts and sums, per operation and currency.
    pub totals: Vec<Total>,
    /// Each of them, oldest first.
    pub operations: Vec<Movement>,
}

/// One movement of money. `Debug` leaves the card out (I12).
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Movement {
    /// Its place among all movements, from 1: several can fall into one millisecond.
    pub serial: u64,
    /// The `cbo_…` id.
    pub id: String,
    /// The card, whole.
    pub card_id: String,
    /// `topup` or `withdrawal`.
    pub operation: String,
    /// Minor units and currency.
    pub amount: Money,
    /// RFC 3339, UTC.
    pub performed_at: String,
}

impl fmt::Debug for Movement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Movement")
            .field("serial", &self.serial)
            .field("id", &self.id)
            .field("operation", &self.operation)
            .field("amount", &self.amount)
            .field("performed_at", &self.performed_at)
            .finish_non_exhaustive()
    }
}

/// A count and a sum.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Total {
    /// `topup` or `withdrawal`.
    pub operation: String,
    /// Three letters.
    pub currency: String,
    /// How many movements.
    pub count: u64,
    /// Their sum in minor units; `i128`, so that no run can overflow it.
    pub minor: i128,
}

/// Requests seen, answered or not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Requests {
    /// `POST`s.
    pub operations: u64,
    /// Pages of lists.
    pub lists: u64,
    /// Balances.
    pub balances: u64,
    /// Anything else.
    pub others: u64,
}

impl Report {
    /// The JSON of this report.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("strings and integers always serialise")
    }

    /// Reads what [`Report::to_json`] wrote; `None` for anything else.
    #[must_use]
    pub fn from_json(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }

    /// How many movements there were under an `entity_id`.
    #[must_use]
    pub fn movements(&self, entity_id: &str) -> u64 {
        self.entities
            .get(entity_id)
            .map_or(0, |entity| entity.movements)
    }

    /// The ids under which money moved more than once.
    pub fn moved_more_than_once(&self) -> impl Iterator<Item = &str> {
        let more = self
            .entities
            .iter()
            .filter(|(_, entity)| entity.movements > 1);
        more.map(|(id, _)| id.as_str())
    }

    /// Counts one movement in.
    pub(super) fn enter(&mut self, entity_id: Option<&str>, movement: Movement) {
        add(&mut self.totals, &movement);
        let Some(entity_id) = entity_id else {
            self.without_entity_id += 1;
            return;
        };
        let entity = self.entities.entry(entity_id.to_owned()).or_default();
        entity.movements += 1;
        add(&mut entity.totals, &movement);
        entity.operations.push(movement);
    }
}

fn add(totals: &mut Vec<Total>, movement: &Movement) {
    let same = |total: &&mut Total| {
        total.operation == movement.operation && total.currency == movement.amount.currency
    };
    if let Some(total) = totals.iter_mut().find(same) {
        total.count += 1;
        total.minor += i128::from(movement.amount.amount);
    } else {
        totals.push(Total {
            operation: movement.operation.clone(),
            currency: movement.amount.currency.clone(),
            count: 1,
            minor: i128::from(movement.amount.amount),
        });
        totals.sort_by(|a, b| (&a.operation, &a.currency).cmp(&(&b.operation, &b.currency)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn movement(operation: &str, minor: i64) -> Movement {
        Movement {
            serial: 1,
            id: "cbo_1".to_owned(),
            card_id: "car_5tgliBmzjZ6mpQPRbQjfKj".to_owned(),
            operation: operation.to_owned(),
            amount: Money {
                amount: minor,
                currency: "COP".to_owned(),
            },
            performed_at: "2026-11-30T00:00:00.000Z".to_owned(),
        }
    }

    #[test]
    fn a_report_counts_and_reads_back() {
        let mut report = Report::default();
        report.enter(Some("EMP-1"), movement("withdrawal", 5));
        report.enter(Some("EMP-1"), movement("topup", i64::MAX));
        report.enter(Some("EMP-2"), movement("topup", i64::MAX));
        report.enter(None, movement("topup", 1));
        assert_eq!(report.movements("EMP-1"), 2);
        assert_eq!(report.movements("EMP-3"), 0);
        assert_eq!(report.moved_more_than_once().collect::<Vec<_>>(), ["EMP-1"]);
        assert_eq!(report.without_entity_id, 1);
        let topups = report.totals.first().expect("top-ups");
        assert_eq!(topups.count, 3);
        assert_eq!(topups.minor, i128::from(i64::MAX) * 2 + 1);
        assert_eq!(Report::from_json(&report.to_json()), Some(report));
    }
}
