//! A process that crashes on purpose, for tests. Compiled only with the feature `crash-points`.
//!
//! | variable | is |
//! |---|---|
//! | `TANDA_CRASH_AT` | where: `ledger.begin.after:3` is the third time that this point is reached. Several have commas between them; `1-20` is each of the first twenty times; `=error` behind one says how |
//! | `TANDA_CRASH_HOW` | how, where it is not said there: `abort` (unless set), `error` or `panic` |
//! | `TANDA_CRASH_LOG` | a file that gets a line with the name of each point that is reached |
//!
//! *What it promises.* An abort runs no destructor and writes nothing more, as a kill does. A point in the
//! middle of something is reached [`IN_THE_MIDDLE`] after that was begun, and not at all where it was over
//! before. A ledger that was told an error fails from then on, as the real one does. What cannot be read
//! ends the command before it does anything.
//!
//! *What it refuses to know.* What the points are: that is [`doors`].

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use async_trait::async_trait;

use super::config;
use super::exit::{Exit, Failure};
use super::streams::tell;
use crate::engine::Ports;
use crate::engine::doors::{self, Broken, Guard, Place, Point};
use crate::engine::ports::Source;

/// How far into a call or a publication its middle is: far longer than bytes need to leave this machine.
/// Who waits at the other end must take longer.
const IN_THE_MIDDLE: Duration = Duration::from_millis(100);

/// These ports and this source, crashing as the environment says.
pub(super) fn guarded(
    ports: Ports,
    source: Box<dyn Source>,
) -> Result<(Ports, Box<dyn Source>), Failure> {
    let ordered = Ordered::read().map_err(|error| Failure::new(Exit::Usage, error))?;
    let Some(ordered) = ordered else {
        return Ok((ports, source));
    };
    tell("this process crashes on purpose: TANDA_CRASH_AT or TANDA_CRASH_LOG is set\n");
    let guard: Arc<dyn Guard> = Arc::new(ordered);
    let source = doors::guarded_source(source, &guard);
    Ok((doors::guarded(ports, &guard), source))
}

/// What was ordered, and how often each point was reached.
struct Ordered {
    orders: Vec<Order>,
    log: Option<File>,
    hits: Mutex<HashMap<Point, u64>>,
    has_ledger_failed: AtomicBool,
}

/// What happens at one point.
#[derive(Debug, PartialEq, Eq)]
struct Order {
    point: Point,
    /// Which times that it is reached, from 1.
    hits: RangeInclusive<u64>,
    how: How,
}

/// What a crash is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    /// The process is gone.
    Abort,
    /// The door breaks.
    Error,
    /// The task panics, as a fault of ours would make it.
    Panic,
}

impl How {
    fn parse(text: &str) -> anyhow::Result<Self> {
        [
            ("abort", Self::Abort),
            ("error", Self::Error),
            ("panic", Self::Panic),
        ]
        .into_iter()
        .find_map(|(word, how)| (word == text).then_some(how))
        .ok_or_else(|| anyhow!("a crash is abort, error or panic, not {text:?}"))
    }
}

impl Order {
    fn parse(text: &str, usual: How) -> anyhow::Result<Self> {
        let (place, how) = match text.split_once('=') {
            Some((place, how)) => (place, How::parse(how)?),
            None => (text, usual),
        };
        let wrong = || anyhow!("{text:?} is not like ledger.begin.after:3");
        let (point, hits) = place.split_once(':').with_context(wrong)?;
        let point = Point::parse(point).with_context(|| format!("there is no point {point:?}"))?;
        let (first, last) = hits.split_once('-').unwrap_or((hits, hits));
        let (first, last): (Result<u64, _>, Result<u64, _>) = (first.parse(), last.parse());
        let (Ok(first), Ok(last)) = (first, last) else {
            return Err(wrong());
        };
        // Carried out never, it would be a run that proves nothing and looks as if it did.
        if first == 0 || first > last {
            bail!("{text:?} is never: times count from 1, and the first comes before the last");
        }
        Ok(Self {
            point,
            hits: first..=last,
            how,
        })
    }
}

impl Ordered {
    /// What the environment says; none where it says nothing.
    fn read() -> anyhow::Result<Option<Self>> {
        let at = config::variable("TANDA_CRASH_AT");
        let path = config::variable("TANDA_CRASH_LOG");
        if at.is_none() && path.is_none() {
            return Ok(None);
        }
        let usual = match config::variable("TANDA_CRASH_HOW") {
            Some(how) => How::parse(&how)?,
            None => How::Abort,
        };
        let texts = at.iter().flat_map(|at| at.split(','));
        let orders = texts.map(|text| Order::parse(text, usual));
        let orders = orders.collect::<anyhow::Result<_>>();
        let opened = path.map(|path| {
            let opened = OpenOptions::new().create(true).append(true).open(&path);
            opened.with_context(|| format!("TANDA_CRASH_LOG {path} cannot be written"))
        });
        Ok(Some(Self {
            orders: orders.context("TANDA_CRASH_AT")?,
            log: opened.transpose()?,
            hits: Mutex::default(),
            has_ledger_failed: AtomicBool::new(false),
        }))
    }

    /// What happens now that this point is reached, if anything does.
    fn reach(&self, point: Point) -> Option<How> {
        let mut hits = self.hits.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(mut log) = self.log.as_ref() {
            // In one write: the next may never come.
            let line = format!("{point}\n");
            log.write_all(line.as_bytes())
                .expect("the log was opened for writing");
        }
        let hit = hits.entry(point).or_default();
        *hit += 1;
        let is_due = |order: &&Order| order.point == point && order.hits.contains(hit);
        self.orders.iter().find(is_due).map(|order| order.how)
    }
}

#[async_trait]
impl Guard for Ordered {
    async fn at(&self, point: Point) -> Result<(), Broken> {
        let is_ordered = self.orders.iter().any(|order| order.point == point);
        if point.place == Place::During && is_ordered {
            tokio::time::sleep(IN_THE_MIDDLE).await;
        }
        let is_ledger = doors::LEDGER.contains(&point.door);
        if is_ledger && self.has_ledger_failed.load(Ordering::SeqCst) {
            return Err(Broken(point));
        }
        match self.reach(point) {
            None => Ok(()),
            Some(How::Abort) => std::process::abort(),
            Some(How::Error) => {
                self.has_ledger_failed.fetch_or(is_ledger, Ordering::SeqCst);
                Err(Broken(point))
            }
            Some(How::Panic) => panic!("ordered"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_says_where_when_and_how() {
        let order = |text| Order::parse(text, How::Abort);
        let begin = Point::parse("ledger.begin.after").expect("a point");
        let read = order("ledger.begin.after:3").expect("an order");
        let expected = Order {
            point: begin,
            hits: 3..=3,
            how: How::Abort,
        };
        assert_eq!(read, expected);
        let read = order("ledger.begin.after:1-20=panic").expect("an order");
        let expected = Order {
            point: begin,
            hits: 1..=20,
            how: How::Panic,
        };
        assert_eq!(read, expected);
        for text in [
            "",
            "ledger.begin.after",
            "ledger.begin:1",
            "ledger.begin.after:x",
            "ledger.begin.after:1=maybe",
            "ledger.begin.after:0",
            "ledger.begin.after:0-3",
            "ledger.begin.after:5-3",
        ] {
            assert!(order(text).is_err(), "{text}");
        }
    }

    #[tokio::test]
    async fn a_ledger_that_was_told_an_error_fails_from_then_on_and_nothing_else_does() {
        let order = Order::parse("ledger.begin.before:2=error", How::Abort).expect("an order");
        let ordered = Ordered {
            orders: vec![order],
            log: None,
            hits: Mutex::default(),
            has_ledger_failed: AtomicBool::new(false),
        };
        let at = |text| ordered.at(Point::parse(text).expect("a point"));
        for text in ["ledger.begin.before", "ledger.look.after"] {
            assert!(at(text).await.is_ok(), "{text}");
        }
        for text in [
            "ledger.begin.before",
            "ledger.look.before",
            "ledger.beat.after",
        ] {
            assert!(at(text).await.is_err(), "{text}");
        }
        assert!(at("bank.apply.before").await.is_ok());
    }
}
