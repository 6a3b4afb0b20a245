//! Hooks in every door of the engine, for tests: at any point of it a process can be killed, or told an
//! error. Compiled only with the feature `crash-points`.
//!
//! A *door* is one method of a port. It has a point before and a point after what it does; a call of the
//! bank and a publication have one more, while it is under way. A [`Guard`] is told of each point as it is
//! reached: it lets pass, never returns, ends the process, or lets the door break.
//!
//! | crash point of the faults' table | is here |
//! |---|---|
//! | C0 delivered | `source.next.after` |
//! | C1 row stored | none: a row and its intent are one commit, that of `ledger.begin` |
//! | C2 intent commit errored | `ledger.begin.before` and `ledger.begin.after`, told an error |
//! | C3 intent durable | `ledger.begin.after`, `bank.apply.before` |
//! | C4 bytes sent | `bank.apply.during` |
//! | C5 answer in memory | `bank.apply.after`, `ledger.settle.before`, `ledger.doubt.before` |
//! | C6 outcome durable | `ledger.settle.after`, `ledger.doubt.after`, `sink.publish.before` |
//! | C7 published without confirm | `sink.publish.during`; `sink.publish.after`, told an error |
//! | C8 confirmed | `sink.publish.after`, `ledger.mark_published.before` |
//! | C9 marked published | `ledger.mark_published.after` |
//! | C10 answered, and the answer lost | `receipt.done.before` told an error, `receipt.done.after` |
//!
//! *What it promises.* The list of doors is made of the very lines that implement them, and a port cannot
//! have a method without such a line: the compiler asks for it, and clippy where the port brings a default.
//! A door that breaks before has done nothing; one that breaks after has done everything and says that it
//! failed; one that breaks during was left in the middle.
//!
//! *What it refuses to know.* What a guard is for, and which doors are worth guarding.

mod ports;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;

use super::Ports;
use super::ports::{Source, StoredOutcome};
use crate::domain::job::EntityId;

pub use self::ports::{BANK, LEDGER, RECEIPT, SINK, SOURCE};

/// What a door does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Reads.
    Read,
    /// Makes something durable.
    Step,
    /// Calls the bank to move money.
    Send,
    /// Publishes.
    Publish,
    /// Answers a delivery.
    Answer,
    /// Takes from the source, or tells it to stop.
    Take,
}

/// One method of a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Door {
    /// The port and the method, such as `ledger.begin`.
    pub name: &'static str,
    /// What it does.
    pub kind: Kind,
    /// Whether it can tell that it failed.
    pub tells_errors: bool,
}

/// Where at a door.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Place {
    /// Nothing is done yet.
    Before,
    /// It is under way: begun, and not answered.
    During,
    /// It is done, and nobody knows yet.
    After,
}

impl Place {
    /// A stable word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Before => "before",
            Self::During => "during",
            Self::After => "after",
        }
    }
}

/// A place at a door.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Point {
    /// Which door.
    pub door: Door,
    /// Where.
    pub place: Place,
}

impl Point {
    /// Reads a name such as `ledger.begin.after`; `None` for any other text.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        points().find(|point| point.to_string() == text)
    }

    /// Whether a door that breaks here differs from one that does not.
    #[must_use]
    pub fn can_break(self) -> bool {
        self.place != Place::After || self.door.tells_errors
    }
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.door.name, self.place.as_str())
    }
}

/// Every door.
pub fn doors() -> impl Iterator<Item = Door> {
    [LEDGER, BANK, SINK, RECEIPT, SOURCE]
        .into_iter()
        .flatten()
        .copied()
}

/// Every point of every door.
pub fn points() -> impl Iterator<Item = Point> {
    doors().flat_map(|door| {
        let has_middle = matches!(door.kind, Kind::Send | Kind::Publish);
        [Place::Before, Place::During, Place::After]
            .into_iter()
            .filter(move |place| *place != Place::During || has_middle)
            .map(move |place| Point { door, place })
    })
}

/// This door breaks here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("broken on purpose at {0}")]
pub struct Broken(pub Point);

/// Who stands at the doors.
#[async_trait]
pub trait Guard: Send + Sync {
    /// This point is reached. At [`Place::During`] it is asked beside what is under way, which was begun
    /// before, and is dropped together with it.
    ///
    /// # Errors
    /// [`Broken`] to let the door break.
    async fn at(&self, point: Point) -> Result<(), Broken>;

    /// This has happened at a door.
    fn note(&self, _happening: Happening<'_>) {}
}

/// What happens at a door and matters to whoever keeps a chronicle.
#[derive(Debug)]
pub enum Happening<'a> {
    /// The intent of this job is durable.
    Begun(&'a EntityId),
    /// The ledger has taken this job over.
    Held(&'a EntityId),
    /// The bank is called with this body.
    Called(&'a [u8]),
    /// This outcome was confirmed.
    Published(&'a StoredOutcome),
}

/// These ports, with a guard at each door. The clock has none: nothing breaks there.
#[must_use]
pub fn guarded(ports: Ports, guard: &Arc<dyn Guard>) -> Ports {
    let Ports {
        bank,
        ledger,
        sink,
        clock,
    } = ports;
    Ports {
        bank: Arc::new(Guarded::new(bank, guard)),
        ledger: Arc::new(Guarded::new(ledger, guard)),
        sink: Arc::new(Guarded::new(sink, guard)),
        clock,
    }
}

/// This source, with a guard at its doors and at those of its receipts.
#[must_use]
pub fn guarded_source(source: Box<dyn Source>, guard: &Arc<dyn Guard>) -> Box<dyn Source> {
    Box::new(Guarded::new(source, guard))
}

/// A port with a guard at its doors.
struct Guarded<P> {
    guard: Arc<dyn Guard>,
    inner: P,
}

impl<P> Guarded<P> {
    fn new(inner: P, guard: &Arc<dyn Guard>) -> Self {
        Self {
            guard: Arc::clone(guard),
            inner,
        }
    }
}

/// What a door gives back.
trait Answered: Sized {
    /// What it gives back where it breaks.
    fn broken(broken: Broken) -> Self;

    /// The same, with a guard at whatever doors are in it.
    fn guarded(self, _guard: &Arc<dyn Guard>) -> Self {
        self
    }
}

/// Goes through a door.
async fn pass<T: Answered>(
    guard: &Arc<dyn Guard>,
    door: Door,
    effect: impl Future<Output = T>,
) -> T {
    let at = |place| guard.at(Point { door, place });
    if let Err(broken) = at(Place::Before).await {
        return T::broken(broken);
    }
    let answer = match door.kind {
        Kind::Send | Kind::Publish => {
            let left = async {
                match at(Place::During).await {
                    Ok(()) => std::future::pending().await,
                    Err(broken) => broken,
                }
            };
            tokio::select! {
                biased;
                answer = effect => answer,
                broken = left => return T::broken(broken),
            }
        }
        Kind::Read | Kind::Step | Kind::Answer | Kind::Take => effect.await,
    };
    match at(Place::After).await {
        Ok(()) => answer.guarded(guard),
        Err(broken) => T::broken(broken),
    }
}

#[cfg(test)]
#[path = "doors_tests.rs"]
mod tests;
