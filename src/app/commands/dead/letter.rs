//! One dead letter, as people and programs see it.
//!
//! *What it promises.* A card is shortened, money has its currency, and what strangers wrote steers no
//! terminal. Names in JSON do not change and none is left out; what is not known is null.
//!
//! *What it refuses to know.* Which letters there are.
//!
//! ```text
//! at, status, reason, error_codes[], http_status, log_id, entity_id, event_id, generation, attempts,
//! card (shortened), operation, amount {amount, currency}, source, line, batch_id,
//! asked ("redrive", "discard": on record, and not answered yet)
//! ```

use serde_json::{Value, json};

use crate::app::words;
use crate::domain::job::{CardId, EntityId, Operation};
use crate::domain::money::{Amount, Currencies};
use crate::domain::outcome::Status;
use crate::domain::time::Timestamp;
use crate::ledger::history::{AskedOfLetter, DeadLetter};
use crate::wire::outcome::{BankWords, OutcomeMessage};

/// A letter and what its outcome says.
pub(super) struct Letter {
    pub(super) dead: DeadLetter,
    pub(super) message: Option<OutcomeMessage>,
}

impl Letter {
    pub(super) fn of(dead: DeadLetter) -> Self {
        let message = OutcomeMessage::decode(&dead.outcome.body);
        Self { dead, message }
    }

    pub(super) const fn status(&self) -> Status {
        self.dead.outcome.status
    }

    pub(super) const fn at(&self) -> Timestamp {
        self.dead.outcome.settled_at
    }

    pub(super) const fn entity_id(&self) -> Option<&EntityId> {
        self.dead.outcome.entity_id.as_ref()
    }

    pub(super) fn event_id(&self) -> String {
        self.dead.outcome.event_id.to_string()
    }

    /// What people call it by: its `entity_id`, or its event where it has none.
    pub(super) fn name(&self) -> String {
        self.entity_id()
            .map_or_else(|| self.event_id(), |id| id.as_str().to_owned())
    }

    pub(super) fn is_named(&self, name: &str) -> bool {
        self.entity_id().is_some_and(|id| id.as_str() == name)
            || self.event_id() == name.to_ascii_lowercase()
    }

    /// Where it came from: a file or a queue by name, else which of the two.
    pub(super) fn source(&self) -> &str {
        if self.dead.source.is_empty() {
            self.dead.outcome.origin.as_str()
        } else {
            &self.dead.source
        }
    }

    pub(super) fn reason(&self) -> Option<&str> {
        self.message.as_ref()?.reason.as_deref()
    }

    pub(super) fn bank(&self) -> Option<&BankWords> {
        self.message.as_ref()?.bank.as_ref()
    }

    /// The bank's words for what was wrong, each of which can be looked for.
    pub(super) fn error_codes(&self) -> Vec<&str> {
        let errors = self.bank().map(|bank| bank.errors.iter());
        let codes = errors.into_iter().flatten();
        codes.map(|error| error.error_code.as_str()).collect()
    }

    /// Why, in stable words.
    pub(super) fn why(&self) -> String {
        let codes = self.error_codes();
        let http_status = self.bank().and_then(|bank| bank.http_status);
        let why = match (self.reason(), codes.as_slice(), http_status) {
            (Some(reason), _, _) => reason.to_owned(),
            (None, [], Some(status)) => format!("HTTP {status}"),
            (None, [], None) => "-".to_owned(),
            (None, codes, _) => codes.join(","),
        };
        words::tame(&why)
    }

    pub(super) fn asked_for(&self) -> Option<(Operation, Amount)> {
        self.message.as_ref()?.asked_for()
    }

    /// The card, shortened.
    pub(super) fn card(&self) -> Option<String> {
        let text = self.message.as_ref()?.card_id.as_deref()?;
        CardId::parse(text).ok().map(|card| card.to_string())
    }

    /// What it is about, in a line.
    pub(super) fn line(&self, currencies: &Currencies) -> Vec<String> {
        let unknown = || "-".to_owned();
        let (operation, amount) = self.asked_for().unzip();
        let generation = self.dead.outcome.generation;
        vec![
            words::moment(self.at()),
            self.status().to_string(),
            self.why(),
            words::tame(&self.name()),
            self.card().unwrap_or_else(unknown),
            operation.map_or_else(unknown, |operation| operation.to_string()),
            amount.map_or_else(unknown, |amount| words::amount(currencies, amount)),
            generation.map_or_else(unknown, |generation| generation.to_string()),
            self.asked_words().to_owned(),
        ]
    }

    /// What has been asked about it already.
    const fn asked_words(&self) -> &'static str {
        match self.dead.asked {
            Some(AskedOfLetter::Redrive) => "(to be run again: on record)",
            Some(AskedOfLetter::Discard) => "(to be put aside: on record)",
            None => "",
        }
    }

    pub(super) fn json(&self) -> Value {
        let (outcome, bank) = (&self.dead.outcome, self.bank());
        let message = self.message.as_ref();
        let (operation, amount) = self.asked_for().unzip();
        json!({
            "at": self.at().to_string(),
            "status": self.status().as_str(),
            "reason": self.reason(),
            "error_codes": self.error_codes(),
            "http_status": bank.and_then(|bank| bank.http_status),
            "log_id": bank.and_then(|bank| bank.log_id.as_deref()),
            "entity_id": self.entity_id().map(EntityId::as_str),
            "event_id": self.event_id(),
            "generation": outcome.generation.map(crate::domain::key::Generation::get),
            "attempts": message.map(|message| message.attempts),
            "card": self.card(),
            "operation": operation.map(Operation::as_str),
            "amount": amount.map(|amount| json!({
                "amount": amount.minor(), "currency": amount.currency().as_str(),
            })),
            "source": self.source(),
            "line": message.and_then(|message| message.line),
            "batch_id": message.and_then(|message| message.batch_id.as_deref()),
            "asked": self.dead.asked.map(|asked| match asked {
                AskedOfLetter::Redrive => "redrive",
                AskedOfLetter::Discard => "discard",
            }),
        })
    }
}

/// The heads of what [`Letter::line`] gives.
pub(super) const HEADS: [&str; 9] = [
    "when",
    "status",
    "why",
    "entity_id",
    "card",
    "operation",
    "amount",
    "gen",
    "",
];

/// Lines in columns. A long cell pushes the rest of its own line only.
pub(super) fn table(lines: &[Vec<String>]) -> String {
    const WIDEST: usize = 40;
    let heads = HEADS.map(str::to_owned).to_vec();
    let all = || std::iter::once(&heads).chain(lines);
    let mut widths = vec![0; HEADS.len()];
    for line in all() {
        for (width, cell) in widths.iter_mut().zip(line) {
            *width = (*width).max(cell.chars().count()).min(WIDEST);
        }
    }
    let mut text = String::new();
    for line in all() {
        let cells = line.iter().zip(&widths);
        let cells: Vec<_> = cells
            .map(|(cell, &width)| format!("{cell:<width$}"))
            .collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    text
}
