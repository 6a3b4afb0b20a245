//! A checked file as a source of jobs.
//!
//! *What it promises.* Rows are offered in their order, from the copy that was checked, with their
//! physical line. A file with bad rows is no source, unless it is opened for its good rows alone. What became of the receipts is counted. The file never forgets a row: one that
//! is given back is offered again when the file is run again, and the ledger knows what was done.
//!
//! *What it refuses to know.* What an outcome means.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;

use super::ReadingRules;
use super::check::Checked;
use super::refusal::{FileRefusal, FilesError};
use super::replay::{Replay, RowContent};
use super::spool::Spool;
use crate::domain::outcome::Status;
use crate::domain::request::Person;
use crate::engine::ports::{
    Back, Clock, Delivery, Offer, Origin, Provenance, Receipt, Source, SourceError, StoredOutcome,
};
use crate::wire::envelope::Envelope;

/// The most rows read in one call: reading is done in place, from a file that was just written and
/// read, and this many take well under a millisecond.
const ROWS_PER_CALL: usize = 256;

/// What became of the rows offered so far. Read it at any time; it only grows.
#[derive(Debug, Default)]
pub struct RowCounts {
    offered: AtomicU64,
    given_back: AtomicU64,
    done: [AtomicU64; Status::ALL.len()],
}

impl RowCounts {
    /// Rows offered to the engine.
    #[must_use]
    pub fn offered(&self) -> u64 {
        self.offered.load(Ordering::Relaxed)
    }

    /// Rows about which nothing was decided.
    #[must_use]
    pub fn given_back(&self) -> u64 {
        self.given_back.load(Ordering::Relaxed)
    }

    /// Rows answered with this status. One answered `in_doubt` stays counted so, also where it
    /// is settled later: the ledger has the last word.
    #[must_use]
    pub fn done(&self, status: Status) -> u64 {
        self.cell(status).load(Ordering::Relaxed)
    }

    /// Rows answered with any status.
    #[must_use]
    pub fn all_done(&self) -> u64 {
        Status::ALL
            .into_iter()
            .map(|status| self.done(status))
            .sum()
    }

    fn cell(&self, status: Status) -> &AtomicU64 {
        let (_, cell) = Status::ALL
            .iter()
            .zip(&self.done)
            .find(|(known, _)| **known == status)
            .expect("ALL has every status");
        cell
    }
}

/// Offers the rows of a checked file.
pub struct FileSource {
    rows: Replay,
    name: Arc<str>,
    again: Option<Person>,
    counts: Arc<RowCounts>,
    clock: Arc<dyn Clock>,
}

impl std::fmt::Debug for FileSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FileSource")
            .field("counts", &self.counts)
            .finish_non_exhaustive()
    }
}

impl FileSource {
    /// Stands before the first row of a file whose every row is a job.
    ///
    /// # Errors
    /// A refusal where the file has bad rows or is not the one that was checked.
    pub fn open(
        spool: &Spool,
        checked: &Checked,
        rules: &ReadingRules,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, FilesError> {
        let source = Self::of_valid_rows(spool, checked, rules, clock)?;
        if checked.is_clean() {
            return Ok(source);
        }
        let what = format!(
            "{} of its rows are wrong; nothing is sent",
            checked.bad_rows()
        );
        let remedy = "Mend or remove them and check it again.";
        Err(FileRefusal::new("bad_rows", spool.file(), None, what, remedy).into())
    }

    /// Stands before the first row of a file whose bad rows are left out, as a person asked.
    ///
    /// # Errors
    /// A refusal where the file is not the one that was checked.
    pub fn of_valid_rows(
        spool: &Spool,
        checked: &Checked,
        rules: &ReadingRules,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, FilesError> {
        Ok(Self {
            rows: Replay::open(spool, checked, rules)?,
            name: spool.name().as_str().into(),
            again: None,
            counts: Arc::default(),
            clock,
        })
    }

    /// From now on, asks for rows that ended without moving money to be run again, for this person.
    #[must_use]
    pub fn again(mut self, by: Option<Person>) -> Self {
        self.again = by;
        self
    }

    /// The counts, to be watched while the file is run.
    #[must_use]
    pub fn counts(&self) -> Arc<RowCounts> {
        Arc::clone(&self.counts)
    }
}

#[async_trait]
impl Source for FileSource {
    async fn next(&mut self, max: usize) -> Result<Offer, SourceError> {
        let failed = |error| SourceError::new("reading the rows of a checked file", error);
        let received_at = self.clock.wall();
        let mut deliveries = Vec::new();
        while deliveries.len() < max.clamp(1, ROWS_PER_CALL) {
            let Some((line, content)) = self.rows.next().map_err(failed)? else {
                break;
            };
            let RowContent::Job(job) = content else {
                continue;
            };
            deliveries.push(Delivery {
                job,
                provenance: Provenance {
                    origin: Origin::File,
                    source: Arc::clone(&self.name),
                    line: Some(line),
                    envelope: Envelope::default(),
                    received_at,
                },
                body: None,
                is_redelivered: false,
                again: self.again.clone(),
                receipt: Box::new(RowReceipt(Arc::clone(&self.counts))),
            });
        }
        let offered = u64::try_from(deliveries.len()).expect("a length fits 64 bits");
        self.counts.offered.fetch_add(offered, Ordering::Relaxed);
        Ok(if deliveries.is_empty() {
            Offer::Dry
        } else {
            Offer::Jobs(deliveries)
        })
    }
}

/// The right to one answer about one row.
struct RowReceipt(Arc<RowCounts>);

#[async_trait]
impl Receipt for RowReceipt {
    async fn done(self: Box<Self>, outcome: &StoredOutcome) {
        self.0.cell(outcome.status).fetch_add(1, Ordering::Relaxed);
    }

    async fn back(self: Box<Self>, _why: Back) {
        self.0.given_back.fetch_add(1, Ordering::Relaxed);
    }
}
