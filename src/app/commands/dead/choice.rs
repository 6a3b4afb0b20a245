//! Which dead letters.
//!
//! *What it promises.* A letter is chosen where it is named, or nothing is named, and where it is as every
//! filter says.
//!
//! *What it refuses to know.* What is done to those that are chosen.

use std::time::Duration;

use anyhow::anyhow;
use clap::{Args, ValueEnum};

use super::letter::Letter;
use crate::app::cli::parse_wait;
use crate::app::exit::{Exit, Failure};
use crate::domain::outcome::Status;
use crate::domain::time::Timestamp;
use crate::engine::SystemClock;
use crate::engine::ports::Clock as _;

#[derive(Debug, Args)]
pub(super) struct Filters {
    /// Only of this status: `rejected`, `not_sent`, `invalid`, `conflict` or `in_doubt`; repeat for more
    #[arg(long, value_name = "STATUS", hide_possible_values = true)]
    status: Vec<StatusArg>,
    /// Only with this reason, or with this error code of the bank
    #[arg(long, value_name = "WORD")]
    reason: Option<String>,
    /// Only from the file or queue of this name; `file` and `queue` are all of them
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
    /// Only of the last while, such as 90s, 30m or 2h
    #[arg(long, value_name = "DURATION", value_parser = parse_wait)]
    since: Option<Duration>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
#[value(rename_all = "snake_case")]
enum StatusArg {
    Rejected,
    NotSent,
    Invalid,
    Conflict,
    InDoubt,
}

impl From<StatusArg> for Status {
    fn from(argument: StatusArg) -> Self {
        match argument {
            StatusArg::Rejected => Self::Rejected,
            StatusArg::NotSent => Self::NotSent,
            StatusArg::Invalid => Self::Invalid,
            StatusArg::Conflict => Self::Conflict,
            StatusArg::InDoubt => Self::InDoubt,
        }
    }
}

/// What is chosen by.
pub(super) struct Choice<'a> {
    names: &'a [String],
    filters: &'a Filters,
    since: Option<Timestamp>,
}

impl<'a> Choice<'a> {
    pub(super) fn new(names: &'a [String], filters: &'a Filters) -> Self {
        let now = SystemClock.wall();
        Self {
            names,
            filters,
            since: filters.since.map(|since| now.minus(since)),
        }
    }

    /// The same, where everything must not be chosen unseen.
    pub(super) fn of_some(names: &'a [String], filters: &'a Filters) -> Result<Self, Failure> {
        let choice = Self::new(names, filters);
        if !names.is_empty() || choice.is_filtered() {
            return Ok(choice);
        }
        let error = anyhow!(
            "nothing was chosen: name dead letters, or filter them with --status, --reason, --source or \
             --since. `tanda dead list` shows them"
        );
        Err(Failure::new(Exit::Usage, error))
    }

    pub(super) fn is_filtered(&self) -> bool {
        let filters = self.filters;
        !filters.status.is_empty()
            || filters.reason.is_some()
            || filters.source.is_some()
            || filters.since.is_some()
    }

    /// The names by which it is chosen; none where it is not among them.
    pub(super) fn names_of(&self, letter: &Letter) -> Vec<&'a str> {
        let names = self.names.iter().map(String::as_str);
        names.filter(|name| letter.is_named(name)).collect()
    }

    pub(super) const fn names(&self) -> &'a [String] {
        self.names
    }

    /// Whether it is as every filter says.
    pub(super) fn passes(&self, letter: &Letter) -> bool {
        let filters = self.filters;
        let mut statuses = filters.status.iter().map(|&it| Status::from(it));
        let has_status = filters.status.is_empty() || statuses.any(|it| it == letter.status());
        let has_reason = filters.reason.as_deref().is_none_or(|word| {
            let mut reasons = letter.reason().unwrap_or_default().split(',');
            reasons.any(|reason| reason == word) || letter.error_codes().contains(&word)
        });
        let has_source = filters.source.as_deref().is_none_or(|source| {
            letter.source() == source || letter.dead.outcome.origin.as_str() == source
        });
        let is_since = self.since.is_none_or(|since| letter.at() >= since);
        has_status && has_reason && has_source && is_since
    }
}
