//! Accounts: counts and sums of what was asked for, what was told and what the bank did.
//!
//! *What it promises.* Each currency and operation is kept apart; no sum overflows.
//!
//! *What it refuses to know.* Whether they close.

use std::collections::BTreeMap;

use super::evidence::{Case, Content};
use crate::domain::outcome::Status;

/// A count and a sum in minor units.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sum {
    pub(super) count: u64,
    pub(super) minor: i128,
}

impl Sum {
    pub(super) fn add(&mut self, minor: i64) {
        self.count += 1;
        self.minor += i128::from(minor);
    }

    pub(super) fn merge(&mut self, other: Self) {
        self.count += other.count;
        self.minor += other.minor;
    }
}

/// What one currency and operation come to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Account {
    /// What was asked for.
    pub(super) asked: Sum,
    /// What was told last of each job, by status.
    pub(super) told: BTreeMap<Status, Sum>,
    /// What the bank did.
    pub(super) moved: Sum,
}

/// Accounts by currency and operation, which are never added together.
pub(super) type Accounts = BTreeMap<(String, String), Account>;

/// What was asked, told and done.
pub(super) fn accounts(case: &Case) -> Accounts {
    let mut accounts = Accounts::new();
    let mut account = |content: &Content, add: &mut dyn FnMut(&mut Account, i64)| {
        let key = (content.currency.clone(), content.operation.clone());
        add(accounts.entry(key).or_default(), content.minor);
    };
    for job in &case.jobs {
        account(&Content::of_job(job), &mut |it, minor| it.asked.add(minor));
    }
    for told in case.last_told().values() {
        if let Some(content) = &told.content {
            account(content, &mut |it, minor| {
                it.told.entry(told.status).or_default().add(minor);
            });
        }
    }
    for found in case.books.entities.values() {
        for movement in &found.operations {
            let content = Content::of_movement(movement);
            account(&content, &mut |it, minor| it.moved.add(minor));
        }
    }
    accounts
}
