//! The order in which jobs are handed over.
//!
//! *What it promises.* Of one card at most one job is on its way to the broker: the next is published
//! only once it is confirmed, so that neither a refused message nor a broken connection turns two round
//! (I7). Many cards are on their way at once, and no more rows are held than there is room for (I11).
//! After the first trouble nothing more is published.
//!
//! *What it refuses to know.* How a job is published.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::timeout;

use super::progress::Published;
use crate::amqp::{Producer, PublishError};
use crate::app::commands::intake::{CHUNK_ROWS, Taken};
use crate::app::exit::{Exit, Failure};
use crate::domain::job::{CardId, Job};
use crate::engine::stop::Stop;
use crate::files::{FilesError, OriginalRow, OriginalRows, ReadingRules, RowContent};

/// Jobs on their way at once: two batches of the publisher.
const IN_FLIGHT: usize = 256;
/// Rows that wait for an earlier one of their card while rows behind them go on: a file that has a
/// card's rows together would else go one by one.
const SET_ASIDE: usize = 4_096;
/// After trouble or a stop, how long what is on its way is awaited.
const FAREWELL: Duration = Duration::from_secs(5);

/// Why it ended before the last row.
pub(super) struct Trouble(PublishError);

impl Trouble {
    pub(super) fn is_refusal(&self) -> bool {
        self.0.is_refusal()
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            PublishError::Unroutable { .. } => write!(
                f,
                "{}; `tanda topology` shows what is missing, `tanda topology --declare` makes it",
                self.0
            ),
            PublishError::Full { .. } => write!(f, "{}, for now", self.0),
            PublishError::Unconfirmed(_) => self.0.fmt(f),
        }
    }
}

/// A job and the line of its row.
type Row = (u64, Job);

/// Jobs on their way.
pub(super) struct Flow {
    producer: Producer,
    batch_id: Arc<str>,
    published: Arc<Published>,
    flying: JoinSet<(CardId, Result<(), PublishError>)>,
    /// For each card that has a job on its way, what waits behind it.
    behind: HashMap<CardId, VecDeque<Row>>,
    set_aside: usize,
}

impl Flow {
    pub(super) fn new(producer: Producer, batch_id: &str, published: Arc<Published>) -> Self {
        Self {
            producer,
            batch_id: batch_id.into(),
            published,
            flying: JoinSet::new(),
            behind: HashMap::new(),
            set_aside: 0,
        }
    }

    /// Hands over every job of the file; why it ended before, if it did.
    pub(super) async fn run(
        mut self,
        taken: &Taken,
        rules: &ReadingRules,
        stop: Stop,
    ) -> Result<Option<Trouble>, Failure> {
        let mut rows = Rows::open(taken, rules).map_err(unreadable)?;
        loop {
            while self.flying.len() < IN_FLIGHT && self.set_aside < SET_ASIDE {
                match rows.next().map_err(unreadable)? {
                    Some(row) => self.take(row),
                    None => break,
                }
            }
            let answered = tokio::select! {
                biased;
                () = stop.asked() => {
                    self.await_farewell().await;
                    return Ok(None);
                }
                answered = self.flying.join_next() => answered,
            };
            let Some(answered) = answered else {
                return Ok(None);
            };
            if let Err(error) = self.note(answered) {
                self.await_farewell().await;
                return Ok(Some(Trouble(error)));
            }
        }
    }

    /// Publishes it, or sets it aside behind the one of its card that is on its way.
    fn take(&mut self, row: Row) {
        if let Some(behind) = self.behind.get_mut(&row.1.card_id) {
            behind.push_back(row);
            self.set_aside += 1;
            return;
        }
        self.behind.insert(row.1.card_id.clone(), VecDeque::new());
        self.publish(row);
    }

    fn publish(&mut self, (line, job): Row) {
        let (producer, batch_id) = (self.producer.clone(), Arc::clone(&self.batch_id));
        self.flying.spawn(async move {
            let published = producer.publish(&job, &batch_id, line).await;
            (job.card_id, published)
        });
    }

    /// Counts what is confirmed, and publishes the next of its card.
    fn note(&mut self, answered: Answered) -> Result<(), PublishError> {
        let card_id = self.count(answered)?;
        let next = self.behind.get_mut(&card_id).and_then(VecDeque::pop_front);
        match next {
            Some(row) => {
                self.set_aside -= 1;
                self.publish(row);
            }
            None => {
                self.behind.remove(&card_id);
            }
        }
        Ok(())
    }

    fn count(&self, answered: Answered) -> Result<CardId, PublishError> {
        let (card_id, published) =
            answered.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
        published?;
        self.published.add_one();
        Ok(card_id)
    }

    /// Counts what is still confirmed; nothing new is published.
    async fn await_farewell(&mut self) {
        let all = async {
            while let Some(answered) = self.flying.join_next().await {
                // Once there is trouble, more of it says nothing new.
                self.count(answered).ok();
            }
        };
        timeout(FAREWELL, all).await.ok();
        self.flying.shutdown().await;
    }
}

type Answered = Result<(CardId, Result<(), PublishError>), tokio::task::JoinError>;

fn unreadable(error: FilesError) -> Failure {
    let context = "the private copy of the file could not be read; what was published before is on \
                   the queue, and running the same file again is safe";
    Failure::new(Exit::Input, anyhow::Error::new(error).context(context))
}

/// The jobs of a checked file, chunk by chunk.
struct Rows {
    rows: OriginalRows,
    chunk: std::vec::IntoIter<OriginalRow>,
}

impl Rows {
    fn open(taken: &Taken, rules: &ReadingRules) -> Result<Self, FilesError> {
        Ok(Self {
            rows: OriginalRows::open(&taken.spool, &taken.checked, rules)?,
            chunk: Vec::new().into_iter(),
        })
    }

    /// The next job; rows that are none are passed over, as was asked.
    fn next(&mut self) -> Result<Option<Row>, FilesError> {
        loop {
            for row in self.chunk.by_ref() {
                match row.content {
                    RowContent::Job(job) => return Ok(Some((row.line, job))),
                    RowContent::Bad(_) | RowContent::Totals => {}
                }
            }
            let chunk = self.rows.next_chunk(CHUNK_ROWS)?;
            if chunk.is_empty() {
                return Ok(None);
            }
            self.chunk = chunk.into_iter();
        }
    }
}
