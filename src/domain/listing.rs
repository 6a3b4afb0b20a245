//! Reading the bank's list: what it says about one job.
//!
//! *What it promises.* A find is byte for byte on `entity_id`, then on operation, amount and
//! currency. What cannot be told apart is never called absent.
//!
//! *What it refuses to know.* How the list was fetched, and when an absence may be believed (that
//! is [`progress`](super::progress)).

use super::job::Job;

/// One operation in the bank's list. All but operation and amount may be missing (the bank's SDK).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListedOperation {
    /// The bank's `cbo_…` id.
    pub id: Option<String>,
    /// The `entity_id` as we sent it.
    pub entity_id: Option<String>,
    /// `topup` or `withdrawal`.
    pub operation: String,
    /// Minor units.
    pub amount_minor: i64,
    /// Three letters.
    pub currency: String,
}

/// What one ask told us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// Executed once.
    Found {
        /// The bank's operation id, if listed.
        operation_id: Option<String>,
    },
    /// Executed more than once: `succeeded`, and an alarm.
    FoundMore {
        /// The first match's operation id, if listed.
        operation_id: Option<String>,
        /// How many operations bear this `entity_id`.
        times: usize,
    },
    /// Our `entity_id` with another operation, amount or currency: a person must look.
    OtherContent,
    /// Not there, in a list that was read whole.
    Absent,
    /// There is an operation without `entity_id` that could be this one.
    Ambiguous,
    /// The list could not be read now, or moved while it was read: it is asked again soon.
    Unreadable,
    /// The bank does not let us read this list, or says that there is no such card, or the list is
    /// too long: asking again soon would tell nothing new, so the ask counts.
    Barred,
}

impl Finding {
    /// A stable word for records.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Found { .. } => "found",
            Self::FoundMore { .. } => "found_more",
            Self::OtherContent => "other_content",
            Self::Absent => "absent",
            Self::Ambiguous => "ambiguous",
            Self::Unreadable => "unreadable",
            Self::Barred => "barred",
        }
    }

    /// Whether the list shows what was asked about: the money moved.
    #[must_use]
    pub const fn is_find(&self) -> bool {
        matches!(self, Self::Found { .. } | Self::FoundMore { .. })
    }

    /// Whether this leaves more open than another finding about the same job said otherwise: an absence leaves
    /// least, and what shows that something moved most.
    #[must_use]
    pub const fn proves_less(&self, than: &Self) -> bool {
        self.weight() > than.weight()
    }

    const fn weight(&self) -> u8 {
        match self {
            Self::Absent => 0,
            Self::Ambiguous | Self::Unreadable | Self::Barred => 1,
            Self::OtherContent => 2,
            Self::Found { .. } | Self::FoundMore { .. } => 3,
        }
    }
}

/// What a whole list of the job's card says about the job.
#[must_use]
pub fn find(job: &Job, operations: &[ListedOperation]) -> Finding {
    let ours: Vec<_> = operations
        .iter()
        .filter(|listed| listed.entity_id.as_deref() == Some(job.entity_id.as_str()))
        .collect();
    let matching = ours.iter().find(|listed| has_content_of(job, listed));
    match (matching, ours.len()) {
        (Some(listed), 1) => Finding::Found {
            operation_id: listed.id.clone(),
        },
        (Some(listed), times) => Finding::FoundMore {
            operation_id: listed.id.clone(),
            times,
        },
        (None, 1..) => Finding::OtherContent,
        (None, 0) if operations.iter().any(|listed| could_be(job, listed)) => Finding::Ambiguous,
        (None, 0) => Finding::Absent,
    }
}

/// Whether this list returns, byte for byte, an `entity_id` that got a 2xx: the positive control
/// without which an absence means nothing.
#[must_use]
pub fn returns_entity_id(job: &Job, operations: &[ListedOperation]) -> bool {
    matches!(
        find(job, operations),
        Finding::Found { .. } | Finding::FoundMore { .. }
    )
}

fn has_content_of(job: &Job, listed: &ListedOperation) -> bool {
    listed.operation == job.operation.as_str()
        && listed.amount_minor == job.amount.minor()
        && listed.currency == job.amount.currency().as_str()
}

fn could_be(job: &Job, listed: &ListedOperation) -> bool {
    listed.entity_id.is_none() && has_content_of(job, listed)
}

#[cfg(test)]
mod tests {
    use super::super::job::Draft;
    use super::super::money::Currencies;
    use super::*;

    fn job() -> Job {
        Draft {
            entity_id: "EMP-1".to_owned(),
            card_id: "car_5tgliBmzjZ6mpQPRbQjfKj".to_owned(),
            operation: "topup".to_owned(),
            amount_minor: 100,
            currency: "COP".to_owned(),
            ..Draft::default()
        }
        .validate(&Currencies::default())
        .expect("a job")
    }

    fn listed(entity_id: Option<&str>, amount_minor: i64) -> ListedOperation {
        ListedOperation {
            id: Some("cbo_1".to_owned()),
            entity_id: entity_id.map(str::to_owned),
            operation: "topup".to_owned(),
            amount_minor,
            currency: "COP".to_owned(),
        }
    }

    #[test]
    fn the_list_is_read_row_by_row() {
        let found = Finding::Found {
            operation_id: Some("cbo_1".to_owned()),
        };
        let more = Finding::FoundMore {
            operation_id: Some("cbo_1".to_owned()),
            times: 2,
        };
        for (rows, expected) in [
            (vec![], Finding::Absent),
            (
                vec![listed(Some("emp-1"), 100), listed(Some("EMP-1 "), 100)],
                Finding::Absent,
            ),
            (vec![listed(Some("EMP-1"), 100)], found),
            (
                vec![listed(Some("EMP-1"), 100), listed(Some("EMP-1"), 100)],
                more.clone(),
            ),
            (
                vec![listed(Some("EMP-1"), 999), listed(Some("EMP-1"), 100)],
                more,
            ),
            (vec![listed(Some("EMP-1"), 999)], Finding::OtherContent),
            (vec![listed(None, 100)], Finding::Ambiguous),
            (vec![listed(None, 999)], Finding::Absent),
        ] {
            assert_eq!(find(&job(), &rows), expected, "{rows:?}");
        }
    }
}
