//! What is durable: rows, facts about messages, marks.
//!
//! *What it promises.* Nothing here is lost by a crash; all of it is lost with the ledger, and what came
//! after a copy is lost where that copy takes its place.

use tanda::domain::outcome::{DoubtReason, Outcome, Status};
use tanda::domain::verdict::Refusal;

use crate::cast::{Content, JOBS_MAX};

/// What is published about a job: the same outcome must always be the same bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Body {
    pub(crate) outcome: Outcome,
    pub(crate) attempts: u32,
    pub(crate) seq: u32,
}

/// One generation of a job.
#[derive(Clone, Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a durable fact of its own"
)]
pub(crate) struct Row {
    pub(crate) content: Content,
    /// What it was to say, before the list showed that another content had moved.
    pub(crate) wanted: Content,
    /// The version of the program whose bytes are sent.
    pub(crate) version: u32,
    /// Whether it was made before a loss that was accepted.
    pub(crate) is_before_loss: bool,
    pub(crate) intent: bool,
    pub(crate) attempts: u32,
    pub(crate) spent: u32,
    pub(crate) refusal: Option<Refusal>,
    pub(crate) doubt: Option<(DoubtReason, Body)>,
    pub(crate) doubt_published: bool,
    pub(crate) person_needed: bool,
    pub(crate) cancelled: bool,
    pub(crate) end: Option<Body>,
    pub(crate) end_published: bool,
}

impl Row {
    /// A row of a generation that says this.
    pub(crate) const fn new(content: Content) -> Self {
        Self {
            content,
            wanted: content,
            version: 0,
            is_before_loss: false,
            intent: false,
            attempts: 0,
            spent: 0,
            refusal: None,
            doubt: None,
            doubt_published: false,
            person_needed: false,
            cancelled: false,
            end: None,
            end_published: false,
        }
    }

    /// How it ended, if it did.
    pub(crate) fn status(&self) -> Option<Status> {
        self.end.as_ref().map(|body| body.outcome.status())
    }
}

/// What the ledger knows of one `entity_id`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Entry {
    /// From the first generation.
    pub(crate) rows: Vec<Row>,
    /// Cancelled before it came.
    pub(crate) cancelled: bool,
    /// Its message came for the first time after a time that was forgotten.
    pub(crate) has_arrived: bool,
    /// How often its task panicked.
    pub(crate) panics: u32,
    /// That a copy said something else: with which content, and whether that is published.
    pub(crate) conflicts: Vec<(Content, usize, bool)>,
}

/// The ledger.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ledger {
    entries: [Entry; JOBS_MAX],
    /// The positive control is on record.
    pub(crate) control: bool,
    /// Whether a loss of it was accepted: it has forgotten a time.
    pub(crate) is_lossy: bool,
    /// Whether all that was sent in that time must be listed by now.
    pub(crate) is_past: bool,
}

impl Ledger {
    /// A person accepts that it has forgotten a time.
    pub(crate) fn accept_loss(&mut self) {
        self.is_lossy = true;
        self.is_past = false;
        for row in self.entries.iter_mut().flat_map(|entry| &mut entry.rows) {
            row.is_before_loss = true;
        }
    }

    /// What it knows of a job.
    pub(crate) fn entry(&self, job: usize) -> &Entry {
        self.entries.get(job).expect("a job of this world")
    }

    /// The same, to write.
    pub(crate) fn entry_mut(&mut self, job: usize) -> &mut Entry {
        self.entries.get_mut(job).expect("a job of this world")
    }

    /// A generation of a job, counted from 0.
    pub(crate) fn row(&self, job: usize, generation: usize) -> Option<&Row> {
        self.entry(job).rows.get(generation)
    }

    /// The row of a generation, made where it is the next.
    pub(crate) fn row_or_new(
        &mut self,
        job: usize,
        generation: usize,
        content: Content,
    ) -> &mut Row {
        let rows = &mut self.entry_mut(job).rows;
        if rows.len() == generation {
            rows.push(Row::new(content));
        }
        rows.get_mut(generation)
            .expect("a generation comes after the one before it")
    }
}
