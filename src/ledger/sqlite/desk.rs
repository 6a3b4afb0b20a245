//! The two threads that own the connections, and how to reach them.
//!
//! ```text
//! callers ──orders (bounded)──► writer: first + whatever waits ─► BEGIN … COMMIT ─► answer all
//!    └─────orders (bounded)──► reader: one order, one snapshot of the last commit, one answer
//! ```
//!
//! *What it promises.* The writer answers a caller only when the commit that holds its rows has
//! returned. The first trouble of either thread is the last thing the ledger does: the writer
//! repairs nothing and goes on with nothing, and whoever waits or calls later is told of it. A ledger whose
//! file is not in its place any more is in such trouble: the next start would not find what it writes.
//! Dropping a desk waits until its thread has ended and its files are closed.
//!
//! *What it refuses to know.* What the orders do.

use std::fs::File;
use std::path::PathBuf;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, Transaction, TransactionBehavior};
use tokio::sync::{mpsc, oneshot};

use super::open::WAL_CHECKPOINT_PAGES;
use super::trouble::Trouble;
use super::{read, write};
use crate::engine::ports::LedgerError;
use crate::ledger::anchor::{Anchor, LastLine, Whose};
use crate::ledger::place::Watched;

/// How many orders one commit takes: more than any set of callers has in flight (the prefetch is
/// 128), and few enough that a commit stays within some tens of milliseconds.
const GROUP_MAX_ORDERS: usize = 1_024;
/// How many orders wait for the writer: one whole group gathers while another is committed.
pub(super) const WRITE_QUEUE_ORDERS: usize = GROUP_MAX_ORDERS;
/// How many orders wait for the reader: its callers are few and wait for their answers.
pub(super) const READ_QUEUE_ORDERS: usize = 128;
/// The anchor is at most this much older than the ledger while there are commits.
const ANCHOR_EVERY: Duration = Duration::from_secs(1);

/// The first trouble, told to every later caller.
pub(super) type Fate = Arc<OnceLock<Arc<Trouble>>>;

/// One order: work inside a transaction, and an answer once it is over.
pub(super) trait Work: Send {
    /// Does it, once.
    fn run(&mut self, db: &Connection) -> Result<(), Trouble>;
    /// Tells its caller.
    fn answer(self: Box<Self>, trouble: Option<&Arc<Trouble>>);
}

struct Order<T, F> {
    doing: &'static str,
    work: Option<F>,
    done: Option<T>,
    reply: oneshot::Sender<Result<T, LedgerError>>,
}

impl<T, F> Work for Order<T, F>
where
    T: Send,
    F: FnOnce(&Connection) -> Result<T, Trouble> + Send,
{
    fn run(&mut self, db: &Connection) -> Result<(), Trouble> {
        if let Some(work) = self.work.take() {
            self.done = Some(work(db)?);
        }
        Ok(())
    }

    fn answer(self: Box<Self>, trouble: Option<&Arc<Trouble>>) {
        let answer = match (self.done, trouble) {
            (Some(done), None) => Ok(done),
            (_, Some(trouble)) => Err(LedgerError::new(self.doing, Arc::clone(trouble))),
            (None, None) => Err(LedgerError::new(self.doing, Trouble::Closed)),
        };
        // A caller that no longer waits needs no answer: what it asked for is durable all the same.
        drop(self.reply.send(answer));
    }
}

/// What comes over the queue.
pub(super) enum Message {
    /// Do this.
    Work(Box<dyn Work>),
    /// End, and say so when every file is closed.
    Close(oneshot::Sender<Result<(), Arc<Trouble>>>),
}

/// One thread and the way to it.
pub(super) struct Desk {
    orders: Option<mpsc::Sender<Message>>,
    thread: Option<JoinHandle<()>>,
    fate: Fate,
}

impl Desk {
    /// Starts a thread that serves these orders.
    pub(super) fn start(
        name: &'static str,
        queue: usize,
        fate: &Fate,
        serve: impl FnOnce(mpsc::Receiver<Message>) + Send + 'static,
    ) -> std::io::Result<Self> {
        let (orders, waiting) = mpsc::channel(queue);
        let thread = std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || serve(waiting))?;
        Ok(Self {
            orders: Some(orders),
            thread: Some(thread),
            fate: Arc::clone(fate),
        })
    }

    /// Has this done, and waits until it is.
    pub(super) async fn call<T: Send + 'static>(
        &self,
        doing: &'static str,
        work: impl FnOnce(&Connection) -> Result<T, Trouble> + Send + 'static,
    ) -> Result<T, LedgerError> {
        if let Some(trouble) = self.fate.get() {
            return Err(LedgerError::new(doing, Arc::clone(trouble)));
        }
        let (reply, answer) = oneshot::channel();
        let order = Order {
            doing,
            work: Some(work),
            done: None,
            reply,
        };
        self.send(Message::Work(Box::new(order)))
            .await
            .map_err(|trouble| LedgerError::new(doing, trouble))?;
        let answer = answer.await;
        answer.unwrap_or_else(|_| Err(LedgerError::new(doing, self.why_ended())))
    }

    /// Has the thread finish what waits and close its files.
    pub(super) async fn close(&self, doing: &'static str) -> Result<(), LedgerError> {
        let (reply, answer) = oneshot::channel();
        let failed = |trouble| LedgerError::new(doing, trouble);
        self.send(Message::Close(reply)).await.map_err(failed)?;
        match answer.await {
            Ok(closed) => closed.map_err(failed),
            Err(_) => Err(failed(self.why_ended())),
        }
    }

    async fn send(&self, message: Message) -> Result<(), Arc<Trouble>> {
        let orders = self.orders.as_ref();
        let orders = orders.expect("the way to the thread is taken only on drop");
        orders.send(message).await.map_err(|_| self.why_ended())
    }

    fn why_ended(&self) -> Arc<Trouble> {
        let trouble = self.fate.get().cloned();
        trouble.unwrap_or_else(|| Arc::new(Trouble::Closed))
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        drop(self.orders.take());
        if let Some(thread) = self.thread.take() {
            // A panic there was told to its callers: their answers never came.
            drop(thread.join());
        }
    }
}

/// The reading thread.
pub(super) struct Reader {
    pub(super) db: Connection,
    pub(super) fate: Fate,
}

impl Reader {
    /// Serves until it is closed, dropped or in trouble.
    pub(super) fn serve(self, mut orders: mpsc::Receiver<Message>) {
        let mut closing = None;
        while let Some(message) = orders.blocking_recv() {
            let mut work = match message {
                Message::Work(work) => work,
                Message::Close(reply) => {
                    closing = Some(reply);
                    break;
                }
            };
            if let Err(trouble) = self.read(work.as_mut()) {
                let trouble = settle_fate(&self.fate, trouble);
                work.answer(Some(&trouble));
                refuse_all(&mut orders, &trouble);
                break;
            }
            work.answer(None);
        }
        // What it read is told; a fault on closing a connection that wrote nothing loses nothing.
        drop(self.db);
        if let Some(reply) = closing {
            drop(reply.send(Ok(())));
        }
    }

    fn read(&self, work: &mut dyn Work) -> Result<(), Trouble> {
        let snapshot = self.db.unchecked_transaction()?;
        work.run(&snapshot)
    }
}

/// The writing thread. It holds the lock for as long as it may write.
pub(super) struct Writer {
    pub(super) db: Connection,
    pub(super) lock: File,
    pub(super) fate: Fate,
    pub(super) anchor_path: PathBuf,
    pub(super) anchor: LastLine,
    /// The files that must stay what they were when they were opened.
    pub(super) watched: Vec<Watched>,
    pub(super) whose: Whose,
    /// Of the last commit.
    pub(super) sequence: i64,
    /// Of the commit that the anchor names.
    pub(super) anchored: i64,
    pub(super) anchored_at: Instant,
    /// How many pages SQLite's log has.
    pub(super) log_pages: Arc<AtomicI32>,
    /// Only to wait with an end; it drives nothing else.
    pub(super) timer: tokio::runtime::Runtime,
}

/// What the writer woke up for.
enum Wake {
    Message(Message),
    AnchorIsDue,
    NobodyLeft,
}

/// Whoever asked for the end.
type Closing = Option<oneshot::Sender<Result<(), Arc<Trouble>>>>;

impl Writer {
    /// Serves until it is closed, dropped or in trouble.
    pub(super) fn serve(mut self, mut orders: mpsc::Receiver<Message>) {
        let mut closing = None;
        let served = self
            .watch_log()
            .and_then(|()| self.serve_until_closed(&mut orders, &mut closing));
        let written = served
            .and_then(|()| self.write_anchor())
            .and_then(|()| self.checkpoint());
        let ended = match written {
            Ok(()) => self.close(),
            Err(trouble) => {
                let trouble = settle_fate(&self.fate, trouble);
                refuse_all(&mut orders, &trouble);
                self.abandon();
                Err(trouble)
            }
        };
        if let Some(reply) = closing {
            drop(reply.send(ended));
        }
    }

    fn serve_until_closed(
        &mut self,
        orders: &mut mpsc::Receiver<Message>,
        closing: &mut Closing,
    ) -> Result<(), Trouble> {
        let mut group = Vec::with_capacity(GROUP_MAX_ORDERS);
        while closing.is_none() {
            match self.wait(orders) {
                Wake::Message(Message::Work(first)) => {
                    group.push(first);
                    gather(&mut group, orders, closing);
                    self.commit_and_answer(&mut group)?;
                }
                Wake::Message(Message::Close(reply)) => *closing = Some(reply),
                Wake::AnchorIsDue => self.write_anchor()?,
                Wake::NobodyLeft => break,
            }
            if self.anchored_at.elapsed() >= ANCHOR_EVERY {
                self.write_anchor()?;
            }
            if self.log_pages.load(Ordering::Relaxed) >= WAL_CHECKPOINT_PAGES {
                self.checkpoint()?;
            }
        }
        Ok(())
    }

    /// Has SQLite tell how long its log is, in the place of its own checkpoints: what fails in those, it
    /// tells nobody.
    fn watch_log(&mut self) -> Result<(), Trouble> {
        let pages = Arc::clone(&self.log_pages);
        self.db.wal_hook(Some(move |_: &mut _, in_log| {
            pages.store(in_log, Ordering::Relaxed);
            Ok(())
        }))?;
        Ok(())
    }

    /// Moves what the log has into the file, as far as no reader still needs it there. Another process that
    /// does so just now is as good.
    fn checkpoint(&self) -> Result<(), Trouble> {
        let is_busy: i64 = self
            .db
            .query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| row.get(0))?;
        if is_busy == 0 {
            self.log_pages.store(0, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Blocks for the next message; while the anchor is behind, only until it is due.
    fn wait(&self, orders: &mut mpsc::Receiver<Message>) -> Wake {
        if let Ok(message) = orders.try_recv() {
            return Wake::Message(message);
        }
        let received = if self.anchored == self.sequence {
            orders.blocking_recv()
        } else {
            let left = ANCHOR_EVERY.saturating_sub(self.anchored_at.elapsed());
            let next = async { tokio::time::timeout(left, orders.recv()).await };
            match self.timer.block_on(next) {
                Ok(received) => received,
                Err(_) => return Wake::AnchorIsDue,
            }
        };
        received.map_or(Wake::NobodyLeft, Wake::Message)
    }

    fn commit_and_answer(&mut self, group: &mut Vec<Box<dyn Work>>) -> Result<(), Trouble> {
        let committed = self.commit(group);
        match committed {
            Ok(()) => {
                for work in group.drain(..) {
                    work.answer(None);
                }
                Ok(())
            }
            Err(trouble) => {
                let shared = settle_fate(&self.fate, trouble);
                for work in group.drain(..) {
                    work.answer(Some(&shared));
                }
                Err(Trouble::Closed)
            }
        }
    }

    /// One transaction for the whole group. A group that changed nothing needs no commit: what it
    /// read was durable before.
    fn commit(&mut self, group: &mut [Box<dyn Work>]) -> Result<(), Trouble> {
        let before = self.db.total_changes();
        let tx = Transaction::new_unchecked(&self.db, TransactionBehavior::Immediate)?;
        for work in group.iter_mut() {
            work.run(&tx)?;
        }
        if self.db.total_changes() == before {
            return Ok(());
        }
        let sequence = self.sequence + 1;
        write::set_sequence(&tx, sequence)?;
        tx.commit()?;
        self.sequence = sequence;
        // Before anybody is told, and so before anything is sent because of it.
        self.anchor.name(sequence).map_err(Trouble::Anchor)?;
        match self.watched.iter().find(|file| !file.is_there()) {
            None => Ok(()),
            Some(gone) => Err(Trouble::Gone(gone.path().to_owned())),
        }
    }

    /// Names the last commit, which has returned, in the anchor.
    fn write_anchor(&mut self) -> Result<(), Trouble> {
        if self.anchored != self.sequence {
            let control = read::control(&self.db)?;
            self.anchor = Anchor::new(&self.whose, self.sequence, control.as_ref())
                .write(&self.anchor_path)
                .map_err(Trouble::Anchor)?;
            self.anchored = self.sequence;
        }
        self.anchored_at = Instant::now();
        Ok(())
    }

    /// Closes the files, then frees the lock.
    fn close(self) -> Result<(), Arc<Trouble>> {
        let closed = self.db.close();
        drop(self.lock);
        closed.map_err(|(_, error)| settle_fate(&self.fate, Trouble::Sql(error)))
    }

    /// Leaves the files as they are: on closing, SQLite would write once more to a disk that has
    /// just failed. The restart reads what is there.
    fn abandon(self) {
        drop(
            self.db
                .set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true),
        );
        drop(self.db);
        drop(self.lock);
    }
}

/// Takes whatever waits, without waiting for more.
fn gather(
    group: &mut Vec<Box<dyn Work>>,
    orders: &mut mpsc::Receiver<Message>,
    closing: &mut Closing,
) {
    while group.len() < GROUP_MAX_ORDERS {
        match orders.try_recv() {
            Ok(Message::Work(work)) => group.push(work),
            Ok(Message::Close(reply)) => {
                *closing = Some(reply);
                return;
            }
            Err(_) => return,
        }
    }
}

/// The first trouble stays; a later one of the other thread is its echo.
fn settle_fate(fate: &Fate, trouble: Trouble) -> Arc<Trouble> {
    Arc::clone(fate.get_or_init(|| Arc::new(trouble)))
}

fn refuse_all(orders: &mut mpsc::Receiver<Message>, trouble: &Arc<Trouble>) {
    orders.close();
    while let Ok(message) = orders.try_recv() {
        match message {
            Message::Work(work) => work.answer(Some(trouble)),
            Message::Close(reply) => drop(reply.send(Err(Arc::clone(trouble)))),
        }
    }
}
