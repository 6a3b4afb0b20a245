//! What people ask of the process that owns the ledger.
//!
//! *What it promises.* A request names who asked, when, and about what; a ruling needs evidence in
//! words, and counts for nothing against what the bank's list shows or may yet show. Texts are bounded and on one
//! line.
//!
//! *What it refuses to know.* How a request travels, and how it is carried out.

use std::time::Duration;

use super::job::EntityId;
use super::key::{EventId, Generation};
use super::listing::Finding;
use super::time::Timestamp;

/// The longest name of a person, in characters.
const PERSON_MAX_CHARS: usize = 128;
/// The longest evidence, in characters: a few sentences, or a reference to where more is.
const EVIDENCE_MAX_CHARS: usize = 2_000;

/// Who asks: a name, an address, whatever tells one person from another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person(String);

impl Person {
    /// Reads 1 to 128 characters without control characters, not only white space; `None` otherwise.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        one_line(text, PERSON_MAX_CHARS).map(Self)
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for Person {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// How a person knows what became of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EvidenceText(String);

impl EvidenceText {
    /// Reads 1 to 2,000 characters without control characters, not only white space; `None`
    /// otherwise.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        one_line(text, EVIDENCE_MAX_CHARS).map(Self)
    }

    /// The words.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn one_line(text: &str, max_chars: usize) -> Option<String> {
    let text = text.trim();
    let fits = !text.is_empty() && text.chars().count() <= max_chars;
    (fits && !text.chars().any(char::is_control)).then(|| text.to_owned())
}

/// What a person says became of a job in doubt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ruling {
    /// The money moved.
    Succeeded,
    /// It did not, and will not by this generation.
    NotSent,
}

impl Ruling {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Succeeded, Self::NotSent];

    /// The word of the status that it settles a job with.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::NotSent => "not_sent",
        }
    }

    /// Reads the word; `None` for any other.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|ruling| ruling.as_str() == text)
    }

    /// What this word counts for, given what the list said of the job after it was given: nothing had been on its
    /// way for `quiet` when it was, and what is on its way arrives within `settle_delay`.
    #[must_use]
    pub fn weighed(self, finding: &Finding, quiet: Duration, settle_delay: Duration) -> Weighed {
        match self {
            _ if finding.is_find() => Weighed::Listed,
            Self::NotSent if *finding == Finding::OtherContent => Weighed::OtherMoved,
            Self::NotSent if quiet < settle_delay => Weighed::TooEarly,
            Self::NotSent | Self::Succeeded => Weighed::Counts,
        }
    }
}

/// What a ruling counts for. The list has the last word on what it shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weighed {
    /// Nothing: the list shows the job.
    Listed,
    /// Nothing: the list shows its name with other content, so something moved.
    OtherMoved,
    /// Nothing: what was sent last may still arrive.
    TooEarly,
    /// The job is settled by it.
    Counts,
}

/// The number of a request in its ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(i64);

impl RequestId {
    /// The request of this number.
    #[must_use]
    pub const fn new(number: i64) -> Self {
        Self(number)
    }

    /// Its number.
    #[must_use]
    pub const fn get(self) -> i64 {
        self.0
    }
}

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wish {
    /// Do not send this job, if it can still be held back.
    Cancel(EntityId),
    /// Settle this job in doubt so.
    Settle {
        /// The job.
        entity_id: EntityId,
        /// What became of it.
        ruling: Ruling,
        /// How the person knows.
        evidence: EvidenceText,
    },
    /// Ask the bank about this job in doubt, or about all, now.
    Reconcile(Option<EntityId>),
    /// Hold the flow until it is resumed.
    Pause,
    /// Let the flow go on.
    Resume,
    /// Run this job again, as this generation, after proof that no money moved; where it is in doubt,
    /// only ask.
    Redrive {
        /// The job.
        entity_id: EntityId,
        /// The generation that is wanted: a request that comes twice asks for the same one.
        generation: Generation,
    },
    /// This dead letter has been dealt with elsewhere.
    Discard {
        /// The outcome that it is about.
        event_id: EventId,
        /// The job, where it is about one.
        entity_id: Option<EntityId>,
        /// What was done about it.
        evidence: EvidenceText,
    },
}

impl Wish {
    /// A stable word for records.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Cancel(_) => "cancel",
            Self::Settle { .. } => "settle",
            Self::Reconcile(_) => "reconcile",
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Redrive { .. } => "redrive",
            Self::Discard { .. } => "discard",
        }
    }

    /// The job that it is about, if it is about one.
    #[must_use]
    pub const fn entity_id(&self) -> Option<&EntityId> {
        match self {
            Self::Cancel(entity_id)
            | Self::Settle { entity_id, .. }
            | Self::Redrive { entity_id, .. } => Some(entity_id),
            Self::Reconcile(entity_id) | Self::Discard { entity_id, .. } => entity_id.as_ref(),
            Self::Pause | Self::Resume => None,
        }
    }
}

/// A request as the ledger has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Its number.
    pub id: RequestId,
    /// What is asked.
    pub wish: Wish,
    /// Who asks.
    pub by: Person,
    /// When.
    pub at: Timestamp,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_person_has_a_name_on_one_line() {
        assert_eq!(
            Person::parse(" Ana Ruiz ").expect("a name").as_str(),
            "Ana Ruiz"
        );
        for text in ["", "  ", "a\nb", "\u{1b}[31mAna", &"x".repeat(129)] {
            assert_eq!(Person::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_ruling_reads_what_it_writes() {
        for ruling in Ruling::ALL {
            assert_eq!(Ruling::parse(ruling.as_str()), Some(ruling));
        }
        assert_eq!(Ruling::parse("rejected"), None);
    }
}
