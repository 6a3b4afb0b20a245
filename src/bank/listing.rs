//! Reading the bank's list of a card's operations, pure: what one answer says, and whether pages
//! make a whole.
//!
//! *What it promises.* [`Walk`] hands out rows only when every page was full, fitted the first
//! page's total and was distinct from the others, and the first page read again said the same:
//! pages shift while others write, and an absence in a list with a hole would pay twice (I1).
//!
//! *What it refuses to know.* How a page is fetched, and what a row means for a job.

use std::collections::BTreeSet;

use super::classify::{Answer, Body, Break, CameBack, Content, bounded};
use crate::domain::job::CardId;
use crate::domain::listing::ListedOperation;
use crate::engine::ports::ListFault;
use crate::wire::bank::{ListPage, ListRow};

/// The most pages that are read of one list: 25,000 operations on one card since the first send is
/// no card that people use, and bounds what one ask holds in memory.
pub const LIST_PAGES_MAX: u64 = 50;

/// The page that an answer to a read holds.
///
/// # Errors
/// [`ListFault`] where it holds none.
pub fn read(came_back: &CameBack) -> Result<ListPage, ListFault> {
    let unreachable = |why: &str| Err(ListFault::Unreachable(why.to_owned()));
    let answer = match came_back {
        CameBack::Nothing(Break::NotSent { why }) => {
            return unreachable(&format!("no connection: {why}"));
        }
        CameBack::Nothing(Break::Timeout) => return unreachable("no answer in time"),
        CameBack::Nothing(Break::Connection) => return unreachable("the connection broke"),
        CameBack::Answer(answer) => answer,
    };
    let not_the_bank = |what: &str| {
        let status = answer.status;
        Err(ListFault::NotTheBank(format!("status {status} {what}")))
    };
    // The status decides first where it alone suffices, as in `classify`.
    match answer.status {
        401 => return Err(ListFault::CredentialRefused),
        429 => {
            return Err(ListFault::RateLimited {
                retry_after: answer.retry_after,
            });
        }
        408 | 500..=599 => return unreachable(&format!("status {}", answer.status)),
        0..=400 | 402..=407 | 409..=428 | 430..=499 | 600..=u16::MAX => {}
    }
    match (answer.status, answer.content()) {
        (_, Content::TimedOut) => unreachable("the answer was not over in time"),
        (_, Content::Unreadable) => unreachable("the answer was cut or too large"),
        (200, Content::Json) => match page_of(answer) {
            Some(page) => Ok(page),
            None => not_the_bank("without a list of operations"),
        },
        (403, Content::Envelope(_)) => Err(ListFault::NotAuthorized),
        (404, Content::Envelope(_)) => Err(ListFault::UnknownCard),
        (400..=499, Content::Envelope(envelope)) => Err(ListFault::Refused(format!(
            "status {} and \"{}\"",
            answer.status,
            bounded(&envelope.message)
        ))),
        (_, Content::Envelope(envelope)) => {
            not_the_bank(&format!("and \"{}\"", bounded(&envelope.message)))
        }
        (_, Content::Json) => not_the_bank("with JSON that is not its own"),
        (_, Content::Empty) => not_the_bank("without a body"),
        (_, Content::Foreign) => not_the_bank("with something else than JSON"),
    }
}

fn page_of(answer: &Answer) -> Option<ListPage> {
    match &answer.body {
        Body::Whole(bytes) => ListPage::read(bytes),
        Body::TimedOut | Body::Unreadable => None,
    }
}

/// Why a page cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Misfit {
    /// The list moved; read it again from the start.
    Moved,
    /// It will not get better by reading again.
    Fault(ListFault),
}

/// A list in the reading.
#[derive(Debug)]
pub struct Walk {
    card_id: CardId,
    rows: Vec<ListedOperation>,
    ids: BTreeSet<String>,
    first_page: Vec<ListedOperation>,
    page_size: u64,
    total_items: u64,
    pages: u64,
}

impl Walk {
    /// Begins with the first page.
    ///
    /// # Errors
    /// [`Misfit`] where no list begins so.
    pub fn begin(card_id: &CardId, first: ListPage) -> Result<Self, Misfit> {
        let place = first.pagination;
        if place.page_size == 0 {
            let why = "its list has pages of no rows".to_owned();
            return Err(Misfit::Fault(ListFault::NotTheBank(why)));
        }
        let pages = place.total_items.div_ceil(place.page_size).max(1);
        if pages > LIST_PAGES_MAX {
            return Err(Misfit::Fault(ListFault::TooLong(LIST_PAGES_MAX)));
        }
        if place.total_pages > pages {
            let why = "its list counts more pages than its rows fill".to_owned();
            return Err(Misfit::Fault(ListFault::NotTheBank(why)));
        }
        let mut walk = Self {
            card_id: card_id.clone(),
            rows: Vec::new(),
            ids: BTreeSet::new(),
            first_page: Vec::new(),
            page_size: place.page_size,
            total_items: place.total_items,
            pages,
        };
        let rows = walk.rows_of(1, first)?;
        walk.first_page.clone_from(&rows);
        walk.take(rows)?;
        Ok(walk)
    }

    /// The pages that are still to be read, in order.
    #[must_use]
    pub fn further_pages(&self) -> std::ops::RangeInclusive<u64> {
        2..=self.pages
    }

    /// Adds a further page.
    ///
    /// # Errors
    /// [`Misfit`] where it does not follow those before it.
    pub fn add(&mut self, number: u64, page: ListPage) -> Result<(), Misfit> {
        let rows = self.rows_of(number, page)?;
        self.take(rows)
    }

    /// Ends with the first page read once more: if it says the same, the list is whole.
    ///
    /// # Errors
    /// [`Misfit`] where it says something else.
    pub fn end(self, first_again: ListPage) -> Result<Vec<ListedOperation>, Misfit> {
        if self.rows_of(1, first_again)? == self.first_page {
            Ok(self.rows)
        } else {
            Err(Misfit::Moved)
        }
    }

    /// The rows of a page, if it stands where it should and is full.
    fn rows_of(&self, number: u64, page: ListPage) -> Result<Vec<ListedOperation>, Misfit> {
        let place = page.pagination;
        if place.page_number != number {
            let why = format!("page {} came for page {number}", place.page_number);
            return Err(Misfit::Fault(ListFault::NotTheBank(why)));
        }
        let of_other_card = |row: &ListRow| {
            row.card_id
                .as_deref()
                .is_some_and(|id| id != self.card_id.as_str())
        };
        if page.data.iter().any(of_other_card) {
            let why = "its list holds another card's operations".to_owned();
            return Err(Misfit::Fault(ListFault::NotTheBank(why)));
        }
        let rows_before = (number - 1) * self.page_size;
        let expected = self
            .total_items
            .saturating_sub(rows_before)
            .min(self.page_size);
        let fits = place.total_items == self.total_items
            && place.page_size == self.page_size
            && u64::try_from(page.data.len()) == Ok(expected);
        if !fits {
            return Err(Misfit::Moved);
        }
        Ok(page.data.into_iter().map(listed).collect())
    }

    fn take(&mut self, rows: Vec<ListedOperation>) -> Result<(), Misfit> {
        for row in &rows {
            let is_new = row.id.as_ref().is_none_or(|id| self.ids.insert(id.clone()));
            if !is_new {
                return Err(Misfit::Moved);
            }
        }
        self.rows.extend(rows);
        Ok(())
    }
}

fn listed(row: ListRow) -> ListedOperation {
    ListedOperation {
        id: row.id,
        entity_id: row.entity_id,
        operation: row.operation,
        amount_minor: row.amount.amount,
        currency: row.amount.currency,
    }
}

#[cfg(test)]
#[path = "listing_tests.rs"]
mod tests;
