//! Orders: what a person's request tells the flight of one job.
//!
//! *What it promises.* A flight reads its orders whenever it waits, and each has one reply.
//!
//! *What it refuses to know.* Who asked, and what is recorded of it.

use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use crate::domain::request::{RequestId, Ruling};
use crate::domain::time::{Moment, Timestamp};

/// Whether a job's intent is durable, and whether its river wants to hear of it: nearly always nobody does.
#[derive(Debug, Default)]
pub(super) struct BeginMark(AtomicU8);

const BEGUN: u8 = 1;
const AWAITED: u8 = 2;

impl BeginMark {
    /// The intent is durable. Whether the river is to be told.
    pub(super) fn begun(&self) -> bool {
        self.0.fetch_or(BEGUN, Ordering::AcqRel) & AWAITED != 0
    }

    /// The river is to be told from now on. Whether it is too late for that: it has begun.
    pub(super) fn awaited(&self) -> bool {
        self.0.fetch_or(AWAITED, Ordering::AcqRel) & BEGUN != 0
    }
}

/// Orders that wait for one flight: more than people ask about one job at a time. Whoever gives
/// another waits.
pub(super) const ORDERS_WAITING: usize = 8;

/// What a flight is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// The job is cancelled, which is on record.
    Cancel,
    /// Ask the bank now.
    AskNow,
    /// Settle it so, and answer this request in the same commit.
    Rule {
        request: RequestId,
        ruling: Ruling,
        said: Said,
    },
    /// Let go of it, if it is provably not executed.
    LetGo(LetGo),
}

/// When a person said something: what they know is not newer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Said {
    /// By the wall clock of whoever wrote it down.
    pub(super) at: Timestamp,
    /// When this process heard of it.
    pub(super) heard: Moment,
}

impl Said {
    /// How long ago it was said: at least for as long as this process knows of it, whatever the wall clock was set
    /// to.
    pub(super) fn ago(self, now: Moment) -> Duration {
        now.surely_since(self.heard).max(now.wall.since(self.at))
    }
}

/// Why a flight lets go of a job that is still to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LetGo {
    /// Its delivery has been open for too long: the ledger takes the job over. Where an attempt was
    /// unclear, it is in doubt instead.
    TooOld,
    /// Its source has it again: it comes anew.
    GivenBack,
    /// So many wait behind it that the ledger takes all of them over, and it with them unless it has
    /// begun.
    Crowded,
    /// The process stops.
    Stopping,
}

/// An order and the way back.
#[derive(Debug)]
pub(super) struct Order {
    pub(super) what: What,
    pub(super) reply: oneshot::Sender<Reply>,
}

/// What came of an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reply {
    /// Done, in words.
    Done(String),
    /// Not done, in words.
    Declined(String),
    /// The request was answered in the commit that settled the job.
    OnRecord,
}

impl Order {
    /// Replies; nobody needs it where nobody waits any more.
    pub(super) fn reply(self, reply: Reply) {
        drop(self.reply.send(reply));
    }
}

/// The orders of one flight.
#[derive(Debug)]
pub(super) struct Orders {
    waiting: mpsc::Receiver<Order>,
    /// Whether the flight ends once its orders are done, because it was taken up for these alone.
    pub(super) ends_with_them: bool,
}

impl Orders {
    /// A way to give orders, and the end that reads them.
    pub(super) fn channel(ends_with_them: bool) -> (mpsc::Sender<Order>, Self) {
        let (sender, waiting) = mpsc::channel(ORDERS_WAITING);
        let orders = Self {
            waiting,
            ends_with_them,
        };
        (sender, orders)
    }

    /// The next order; a ruling only while somebody still waits for what comes of it.
    pub(super) async fn next_awaited(&mut self) -> Option<Order> {
        loop {
            let order = self.next().await?;
            let is_ruling = matches!(order.what, What::Rule { .. });
            if !(is_ruling && order.reply.is_closed()) {
                return Some(order);
            }
        }
    }

    /// The next order; none where there are no more and the flight ends with them. Otherwise it
    /// waits. Safe to drop while it waits.
    pub(super) async fn next(&mut self) -> Option<Order> {
        match self.waiting.recv().await {
            Some(order) => Some(order),
            None if self.ends_with_them => None,
            None => std::future::pending().await,
        }
    }
}
