//! The books: cards, balances, operations and the funding account.
//!
//! *What it promises.* Money is an integer; a balance is the opening balance plus and minus the
//! card's operations, always. Every call is a pure function of the books and the time passed in.
//! An `entity_id` protects nothing here: the bank's page hints that it may, so the judge takes the
//! harsher assumption that only the key does.
//!
//! *What it refuses to know.* Keys, credentials, faults and HTTP.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::refusal::{Refusal, id_of};
use super::report::{Movement, Report};
use crate::domain::job::{CardId, Operation};
use crate::domain::money::{Amount, Currency};
use crate::domain::time::Timestamp;
use crate::wire::bank::{ListPage, ListRow, Money, OperationRequest, PAGE_SIZES, Pagination};

/// The most operations kept, about 1 GB: two batches of the largest size, and some. More are
/// refused with 503, as a bank that is full would.
pub(super) const OPERATIONS_MAX: usize = 5_000_000;
/// The rows of a page where the request does not say.
const PAGE_SIZE_DEFAULT: u32 = 10;
/// Fields of a body, and of the amount in it: there are no others.
const BODY_FIELDS: [&str; 4] = ["amount", "operation", "description", "entity_id"];
const AMOUNT_FIELDS: [&str; 2] = ["amount", "currency"];

/// The only currency of card operations (the bank's published SDK).
fn cop() -> Currency {
    Currency::parse("COP").expect("three capital letters")
}

/// A card's condition, which its id says so that tests need no set-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Condition {
    Active,
    Unknown,
    Frozen,
    Cancelled,
    Forbidden,
}

impl Condition {
    fn of(card_id: &CardId) -> Self {
        let markers = [
            ("Unknown", Self::Unknown),
            ("Frozen", Self::Frozen),
            ("Cancelled", Self::Cancelled),
            ("Forbidden", Self::Forbidden),
        ];
        let marked = markers
            .into_iter()
            .find(|(marker, _)| card_id.as_str().ends_with(marker));
        marked.map_or(Self::Active, |(_, condition)| condition)
    }

    fn check_visible(self) -> Result<(), Refusal> {
        match self {
            Self::Active | Self::Frozen | Self::Cancelled | Self::Forbidden => Ok(()),
            Self::Unknown => Err(Refusal::NOT_FOUND),
        }
    }

    fn check_usable(self) -> Result<(), Refusal> {
        self.check_visible()?;
        match self {
            Self::Active | Self::Unknown => Ok(()),
            // A credential may be allowed to read what it may not move.
            Self::Forbidden => Err(Refusal::NOT_AUTHORIZED),
            Self::Frozen => Err(Refusal::CARD_FROZEN),
            Self::Cancelled => Err(Refusal::CARD_CANCELLED),
        }
    }
}

/// Whether the simulated bank knows this card. Of one that it does not know it tells nothing, so that
/// nobody can learn from it what became of a payment.
#[must_use]
pub fn knows_card(card_id: &CardId) -> bool {
    Condition::of(card_id) != Condition::Unknown
}

struct Card {
    balance_minor: i64,
    /// Places in [`Books::operations`], oldest first.
    operations: Vec<usize>,
}

/// One operation that was performed.
struct Performed {
    card_id: Arc<str>,
    operation: Operation,
    amount: Amount,
    entity_id: Option<String>,
    description: Option<String>,
    at: Timestamp,
    /// Whether it came over another channel than this API.
    foreign: bool,
}

/// What a body asks for.
#[derive(Debug, PartialEq, Eq)]
struct Asked {
    operation: Operation,
    amount: Amount,
    entity_id: Option<String>,
    description: Option<String>,
}

/// What a list is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ListQuery {
    page_number: u64,
    page_size: u64,
    /// Inclusive.
    from: Option<Timestamp>,
    /// Exclusive.
    until: Option<Timestamp>,
}

/// The books.
pub(super) struct Books {
    seed: u64,
    opening_balance_minor: i64,
    funds_minor: Option<i64>,
    cards: HashMap<Arc<str>, Card>,
    operations: Vec<Performed>,
}

impl Books {
    /// Books in which every card begins with this balance and top-ups draw on these funds, if they
    /// are limited at all. Ids follow from the seed.
    pub(super) fn new(seed: u64, opening_balance_minor: i64, funds_minor: Option<i64>) -> Self {
        Self {
            seed,
            opening_balance_minor,
            funds_minor,
            cards: HashMap::new(),
            operations: Vec::new(),
        }
    }

    /// Performs the operation that a body asks for.
    pub(super) fn perform(
        &mut self,
        card_id: &str,
        body: &[u8],
        now: Timestamp,
    ) -> Result<(), Refusal> {
        let card_id = read_card_id(card_id)?;
        let asked = read_body(body)?;
        Condition::of(&card_id).check_usable()?;
        if self.operations.len() >= OPERATIONS_MAX {
            return Err(Refusal::UNAVAILABLE);
        }
        let minor = asked.amount.minor();
        // A top-up moves money from the funding account to the card, a withdrawal moves it back.
        let signed = match asked.operation {
            Operation::Topup => minor,
            Operation::Withdrawal => -minor,
        };
        let balance_minor = self.balance_minor(card_id.as_str());
        let balance_minor = moved(balance_minor, signed)?;
        let funds_minor = self.funds_minor.map(|funds| moved(funds, -signed));
        self.funds_minor = funds_minor.transpose()?;
        self.enter(card_id.as_str(), balance_minor, asked, now, false);
        Ok(())
    }

    /// Someone else tops up a card by one minor unit, over another channel.
    pub(super) fn perform_foreign(&mut self, card_id: &str, now: Timestamp) {
        let balance_minor = self.balance_minor(card_id);
        let (Ok(balance_minor), true) = (
            moved(balance_minor, 1),
            self.operations.len() < OPERATIONS_MAX,
        ) else {
            return;
        };
        let asked = Asked {
            operation: Operation::Topup,
            amount: Amount::new(1, cop()).expect("one is an amount"),
            entity_id: Some(format!("foreign-{}", self.operations.len() + 1)),
            description: None,
        };
        self.enter(card_id, balance_minor, asked, now, true);
    }

    fn enter(
        &mut self,
        card_id: &str,
        balance_minor: i64,
        asked: Asked,
        now: Timestamp,
        foreign: bool,
    ) {
        let place = self.operations.len();
        let card_id = match self.cards.get_key_value(card_id) {
            Some((known, _)) => Arc::clone(known),
            None => Arc::from(card_id),
        };
        let card = self.cards.entry(Arc::clone(&card_id)).or_insert(Card {
            balance_minor,
            operations: Vec::new(),
        });
        card.balance_minor = balance_minor;
        card.operations.push(place);
        self.operations.push(Performed {
            card_id,
            operation: asked.operation,
            amount: asked.amount,
            entity_id: asked.entity_id,
            description: asked.description,
            at: now,
            foreign,
        });
    }

    fn balance_minor(&self, card_id: &str) -> i64 {
        self.cards
            .get(card_id)
            .map_or(self.opening_balance_minor, |card| card.balance_minor)
    }

    /// The balance of a card that may be read.
    pub(super) fn balance(&self, card_id: &str) -> Result<Money, Refusal> {
        let card_id = read_card_id(card_id)?;
        Condition::of(&card_id).check_visible()?;
        Ok(money(self.balance_minor(card_id.as_str()), cop()))
    }

    /// One page of a card's operations, newest first; those younger than `lag` are not listed yet.
    pub(super) fn list(
        &self,
        card_id: &str,
        query: ListQuery,
        now: Timestamp,
        lag: Duration,
    ) -> Result<ListPage, Refusal> {
        let card_id = read_card_id(card_id)?;
        Condition::of(&card_id).check_visible()?;
        let places = self
            .cards
            .get(card_id.as_str())
            .map_or(&[][..], |card| card.operations.as_slice());
        let listed = places.iter().rev().filter_map(|&place| {
            let performed = self.operations.get(place)?;
            let at = performed.at;
            let seen = now.since(at) >= lag
                && query.from.is_none_or(|from| at >= from)
                && query.until.is_none_or(|until| at < until);
            seen.then_some((place, performed))
        });
        let first = (query.page_number - 1).saturating_mul(query.page_size);
        let page = first..first.saturating_add(query.page_size);
        let (mut data, mut total_items) = (Vec::new(), 0);
        for (place, performed) in listed {
            if page.contains(&total_items) {
                data.push(self.row(place, performed));
            }
            total_items += 1;
        }
        Ok(ListPage {
            data,
            pagination: Pagination {
                page_number: query.page_number,
                page_size: query.page_size,
                total_items,
                total_pages: total_items.div_ceil(query.page_size),
            },
        })
    }

    fn row(&self, place: usize, performed: &Performed) -> ListRow {
        ListRow {
            id: Some(self.operation_id(place)),
            card_id: Some(performed.card_id.to_string()),
            entity_id: performed.entity_id.clone(),
            operation: performed.operation.as_str().to_owned(),
            amount: money(performed.amount.minor(), performed.amount.currency()),
            description: performed.description.clone(),
            performed_at: Some(performed.at.to_string()),
        }
    }

    fn operation_id(&self, place: usize) -> String {
        let serial = u64::try_from(place).unwrap_or(u64::MAX);
        id_of("cbo_", self.seed, serial)
    }

    /// Enters every movement into a report.
    pub(super) fn tell(&self, report: &mut Report) {
        for (place, performed) in self.operations.iter().enumerate() {
            if performed.foreign {
                report.foreign += 1;
                continue;
            }
            let movement = Movement {
                serial: u64::try_from(place).unwrap_or(u64::MAX).saturating_add(1),
                id: self.operation_id(place),
                card_id: performed.card_id.to_string(),
                operation: performed.operation.as_str().to_owned(),
                amount: money(performed.amount.minor(), performed.amount.currency()),
                performed_at: performed.at.to_string(),
            };
            report.enter(performed.entity_id.as_deref(), movement);
        }
        report.funds_minor = self.funds_minor;
    }
}

/// An amount added to what there is; what would fall below zero is not there to be moved.
fn moved(minor: i64, by: i64) -> Result<i64, Refusal> {
    let sum = minor
        .checked_add(by)
        .ok_or_else(|| Refusal::invalid("#/amount/amount", "The balance would be too large."))?;
    if by < 0 && sum < 0 {
        return Err(Refusal::INSUFFICIENT_FUNDS);
    }
    Ok(sum)
}

fn money(minor: i64, currency: Currency) -> Money {
    Money {
        amount: minor,
        currency: currency.as_str().to_owned(),
    }
}

fn read_card_id(text: &str) -> Result<CardId, Refusal> {
    let invalid = "The card id does not match its pattern.";
    CardId::parse(text).map_err(|_| Refusal::invalid("#/card_id", invalid))
}

fn read_body(body: &[u8]) -> Result<Asked, Refusal> {
    let value: serde_json::Value = serde_json::from_slice(body).map_err(|_| Refusal::MALFORMED)?;
    check_fields(&value, "#", &BODY_FIELDS, &["amount", "operation"])?;
    let amount = value.get("amount").unwrap_or(&value);
    check_fields(amount, "#/amount", &AMOUNT_FIELDS, &AMOUNT_FIELDS)?;
    let request: OperationRequest = serde_json::from_value(value)
        .map_err(|_| Refusal::invalid("#", "A field is of the wrong type."))?;
    let operation = Operation::parse(&request.operation).ok_or_else(|| {
        Refusal::invalid("#/operation", "The operation is not topup or withdrawal.")
    })?;
    let currency = Currency::parse(&request.amount.currency)
        .filter(|&currency| currency == cop())
        .ok_or_else(|| Refusal::invalid("#/amount/currency", "The currency is not COP."))?;
    let amount = Amount::new(request.amount.amount, currency).ok_or_else(|| {
        Refusal::invalid("#/amount/amount", "The amount is not a positive integer.")
    })?;
    Ok(Asked {
        operation,
        amount,
        entity_id: request.entity_id,
        description: request.description,
    })
}

fn check_fields(
    value: &serde_json::Value,
    path: &str,
    known: &[&str],
    required: &[&str],
) -> Result<(), Refusal> {
    let Some(object) = value.as_object() else {
        return Err(Refusal::MALFORMED);
    };
    if let Some(name) = required.iter().find(|&&name| !object.contains_key(name)) {
        return Err(Refusal::missing(&format!("{path}/{name}")));
    }
    match object.keys().find(|name| !known.contains(&name.as_str())) {
        Some(name) => Err(Refusal::invalid(
            format!("{path}/{name}"),
            "The field is not known.",
        )),
        None => Ok(()),
    }
}

impl ListQuery {
    /// Reads the query of a list. Names and values may be percent-encoded.
    ///
    /// A parameter that is not known is refused, so that a client with a misspelt filter is
    /// caught.
    pub(super) fn parse(query: &str) -> Result<Self, Refusal> {
        let mut read = Self {
            page_number: 1,
            page_size: u64::from(PAGE_SIZE_DEFAULT),
            from: None,
            until: None,
        };
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (name, value) = (decoded(name)?, decoded(value)?);
            let wrong = || Refusal::invalid(format!("#/{name}"), "The parameter is not allowed.");
            let time = || Timestamp::parse_rfc3339(&value).ok_or_else(wrong);
            match name.as_str() {
                "page_number" => {
                    let number = value.parse().ok().filter(|&number| number >= 1);
                    read.page_number = number.ok_or_else(wrong)?;
                }
                "page_size" => {
                    let size: Option<u32> = value.parse().ok();
                    let size = size.filter(|size| PAGE_SIZES.contains(size));
                    read.page_size = u64::from(size.ok_or_else(wrong)?);
                }
                "performed_at[from]" => read.from = Some(time()?),
                "performed_at[until]" => read.until = Some(time()?),
                _ => return Err(wrong()),
            }
        }
        Ok(read)
    }
}

/// Percent-decodes a name or value of a query; `+` is a space, as forms write it.
fn decoded(text: &str) -> Result<String, Refusal> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let mut digit = || char::from(rest.next()?).to_digit(16);
                let (high, low) = (digit(), digit());
                high.zip(low)
                    .and_then(|(high, low)| u8::try_from(high * 16 + low).ok())
                    .ok_or(Refusal::MALFORMED)?
            }
            b'+' => b' ',
            other => other,
        });
    }
    String::from_utf8(bytes).map_err(|_| Refusal::MALFORMED)
}

#[cfg(test)]
#[path = "books_tests.rs"]
mod tests;
