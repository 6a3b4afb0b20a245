//! What `tanda check --json` prints: a line for each row, then one for the file.
//!
//! *What it promises.* Money is minor units, integers. A field that has nothing to say is null.
//!
//! *What it refuses to know.* How a file is read.

use std::collections::BTreeMap;

use serde::Serialize;

use super::bank::Money;
use crate::domain::job::{Job, Operation};
use crate::domain::money::Totals;

/// The line of a row.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum RowLine<'a> {
    /// A row that is a job.
    Job {
        /// The physical line where it begins.
        line: u64,
        /// What it asks for.
        job: JobShape<'a>,
    },
    /// A row that is none.
    Bad {
        /// The physical line where it begins.
        line: u64,
        /// Everything that is wrong with it.
        errors: Vec<ErrorShape<'a>>,
    },
}

/// A job.
#[derive(Debug, Serialize)]
pub struct JobShape<'a> {
    entity_id: &'a str,
    card_id: &'a str,
    operation: &'static str,
    amount: Money,
    description: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    not_after: Option<String>,
}

impl<'a> From<&'a Job> for JobShape<'a> {
    fn from(job: &'a Job) -> Self {
        Self {
            entity_id: job.entity_id.as_str(),
            card_id: job.card_id.as_str(),
            operation: job.operation.as_str(),
            amount: Money {
                amount: job.amount.minor(),
                currency: job.amount.currency().to_string(),
            },
            description: job.description.as_deref(),
            not_after: job.not_after.map(|time| time.to_string()),
        }
    }
}

/// One thing that is wrong with a row.
#[derive(Debug, Serialize)]
pub struct ErrorShape<'a> {
    /// The field at fault.
    pub field: &'a str,
    /// The rule, in a stable word.
    pub code: &'a str,
    /// What stood there; card ids are shortened.
    pub value: &'a str,
    /// What is wrong, in words.
    pub message: &'a str,
}

/// The line of a file.
#[derive(Debug, Serialize)]
pub struct FileLine<'a> {
    /// What it holds.
    pub summary: Summary<'a>,
}

/// What a file holds.
#[derive(Debug, Default, Serialize)]
pub struct Summary<'a> {
    /// `ok`, `row_errors` or `refused`.
    pub outcome: &'static str,
    /// Rows that ask for a job.
    pub rows: u64,
    /// Those without an error.
    pub ok: u64,
    /// Those with one.
    pub errors: u64,
    /// Lines that ask for nothing.
    pub skipped: u64,
    /// Why the file is not read.
    pub refusal: Option<RefusalShape<'a>>,
    /// How it was read.
    pub reading: Reading<'a>,
    /// Counts and sums of the good rows, by currency and operation.
    pub totals: BTreeMap<String, BTreeMap<&'static str, SumShape>>,
}

/// Why a file is not read.
#[derive(Debug, Serialize)]
pub struct RefusalShape<'a> {
    /// The rule, in a stable word.
    pub code: &'a str,
    /// Where, what and what to do, in words.
    pub message: String,
}

/// How a file was read.
#[derive(Debug, Default, Serialize)]
pub struct Reading<'a> {
    /// `csv`
    pub format: Option<&'static str>,
    /// `utf-8`
    pub encoding: Option<&'static str>,
    /// `,` `;` or `tab`
    pub delimiter: Option<&'static str>,
    /// `comma` or `dot`, where it matters.
    pub decimal: Option<&'static str>,
    /// What in the file says so; null where a person chose it.
    pub proof: Option<Proof<'a>>,
}

/// An amount that can be read in one way only.
#[derive(Debug, Serialize)]
pub struct Proof<'a> {
    /// Its line.
    pub line: u64,
    /// As it was written.
    pub value: &'a str,
}

/// A count and a sum.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct SumShape {
    count: u64,
    minor: i128,
}

/// Sums by currency and operation; an operation that a currency has none of is there with zero.
#[must_use]
pub fn totals_shape(totals: &Totals) -> BTreeMap<String, BTreeMap<&'static str, SumShape>> {
    let mut shape: BTreeMap<String, BTreeMap<&'static str, SumShape>> = BTreeMap::new();
    for (currency, ..) in totals.iter() {
        let sums = Operation::ALL.map(|operation| {
            let sum = totals.get(currency, operation);
            let (count, minor) = (sum.count, sum.minor);
            (operation.as_str(), SumShape { count, minor })
        });
        shape.insert(currency.to_string(), sums.into());
    }
    shape
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_refused_says_so_and_nothing_else() {
        let refusal = RefusalShape {
            code: "empty",
            message: "it is empty".to_owned(),
        };
        let summary = Summary {
            outcome: "refused",
            refusal: Some(refusal),
            ..Summary::default()
        };
        let line = serde_json::to_string(&FileLine { summary }).expect("JSON");
        let expected = concat!(
            r#"{"summary":{"outcome":"refused","rows":0,"ok":0,"errors":0,"skipped":0,"#,
            r#""refusal":{"code":"empty","message":"it is empty"},"#,
            r#""reading":{"format":null,"encoding":null,"delimiter":null,"decimal":null,"#,
            r#""proof":null},"totals":{}}}"#
        );
        assert_eq!(line, expected);
    }
}
