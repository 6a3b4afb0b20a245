//! Dead letters: what nobody will retry by itself.
//!
//! *What it promises.* A job has at most one, that of its newest generation, and none while a later one
//! is held or under way. What a person has put aside is not among them.
//!
//! *What it refuses to know.* What a person makes of them.

use std::collections::HashSet;

use rusqlite::{Connection, Row};

use super::trouble::Trouble;
use super::{read, requests};
use crate::domain::job::EntityId;
use crate::domain::key::EventId;
use crate::domain::outcome::Status;
use crate::domain::request::Wish;
use crate::engine::ports::StoredOutcome;
use crate::ledger::history::{AskedOfLetter, DeadLetter};

/// Open requests that are looked at: far more than people put at once. A mark that is missing beyond
/// is no harm.
const REQUESTS_MAX: usize = 100_000;

/// An outcome that a person has put aside.
const IS_DISCARDED: &str = "EXISTS (SELECT 1 FROM requests AS r INDEXED BY requests_discarded \
    WHERE r.wish = 'discard' AND r.accepted = 1 AND r.event_id = o.event_id)";

/// The last word on a job, where it is one of those; and facts about messages.
const FINAL: &str = "SELECT o.*, j.source AS source \
    FROM outcomes AS o INDEXED BY outcomes_dead LEFT JOIN jobs AS j ON j.id = o.job \
    WHERE o.status IN ('rejected', 'not_sent', 'invalid', 'conflict') \
    AND (o.job IS NULL OR (j.final_outcome = o.id \
    AND NOT EXISTS (SELECT 1 FROM jobs AS g \
    WHERE g.entity_id = j.entity_id AND g.generation > j.generation) \
    AND NOT EXISTS (SELECT 1 FROM holds AS h WHERE h.entity_id = j.entity_id)))";

/// Jobs in doubt that only a person can decide.
const IN_DOUBT: &str = "SELECT o.*, j.source AS source \
    FROM jobs AS j INDEXED BY jobs_unsettled JOIN outcomes AS o ON o.id = j.doubt_outcome \
    WHERE j.final_outcome IS NULL AND j.person_needed = 1";

/// See `Visitor::dead_letters`.
pub(super) fn visit(db: &Connection, mut visit: impl FnMut(DeadLetter)) -> Result<(), Trouble> {
    let asked = Asked::read(db)?;
    for (letters, order) in [(FINAL, "o.id"), (IN_DOUBT, "j.id")] {
        let query = format!("{letters} AND NOT {IS_DISCARDED} ORDER BY {order}");
        let mut statement = db.prepare_cached(&query)?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            visit(letter(row, &asked)?);
        }
    }
    Ok(())
}

fn letter(row: &Row<'_>, asked: &Asked) -> Result<DeadLetter, Trouble> {
    let outcome = read::stored_outcome(row)?;
    let source: Option<String> = row.get("source")?;
    Ok(DeadLetter {
        asked: asked.about(&outcome),
        source: source.unwrap_or_default(),
        outcome,
    })
}

/// What has been asked and is not answered yet.
struct Asked {
    redriven: HashSet<EntityId>,
    discarded: HashSet<EventId>,
}

impl Asked {
    fn read(db: &Connection) -> Result<Self, Trouble> {
        let mut asked = Self {
            redriven: HashSet::new(),
            discarded: HashSet::new(),
        };
        for request in requests::open(db, None, REQUESTS_MAX)? {
            match request.wish {
                Wish::Redrive { entity_id, .. } => {
                    asked.redriven.insert(entity_id);
                }
                Wish::Discard { event_id, .. } => {
                    asked.discarded.insert(event_id);
                }
                Wish::Cancel(_)
                | Wish::Settle { .. }
                | Wish::Reconcile(_)
                | Wish::Pause
                | Wish::Resume => {}
            }
        }
        Ok(asked)
    }

    fn about(&self, outcome: &StoredOutcome) -> Option<AskedOfLetter> {
        if self.discarded.contains(&outcome.event_id) {
            return Some(AskedOfLetter::Discard);
        }
        // What is asked of a job says nothing of other messages under its name.
        let is_of_job = !matches!(outcome.status, Status::Invalid | Status::Conflict);
        let entity_id = outcome.entity_id.as_ref().filter(|_| is_of_job);
        let is_redriven = entity_id.is_some_and(|id| self.redriven.contains(id));
        is_redriven.then_some(AskedOfLetter::Redrive)
    }
}
