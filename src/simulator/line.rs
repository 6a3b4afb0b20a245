//! Lines: TCP connections that can be ended in any way, at any byte, by whoever holds their
//! [`Ending`].
//!
//! *What it promises.* Once a line is to be reset, no further byte is sent and the peer gets a
//! reset (linger zero). Once it is to be cut, exactly so many more bytes are sent and the peer
//! gets an orderly end. An idle line ends at once, not at its next use. [`Lines`] never has more
//! than [`LINES_MAX`] open: the next connection waits at the door.
//!
//! *What it refuses to know.* HTTP, and why a line ends.

use std::collections::HashMap;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The most connections open at once: many times the concurrency of any client here, and below
/// what a process may usually hold.
pub(super) const LINES_MAX: usize = 4_096;

/// How a line is to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// As TCP does.
    Whole,
    /// So many more bytes, then the end.
    Cut(usize),
    /// A reset.
    Reset,
}

#[derive(Debug)]
struct State {
    fate: Fate,
    /// The task that drives the line, while it waits to read or write.
    waker: Option<Waker>,
}

/// The right to end a line.
#[derive(Clone, Debug)]
pub(super) struct Ending(Arc<Mutex<State>>);

impl Ending {
    fn new() -> Self {
        Self(Arc::new(Mutex::new(State {
            fate: Fate::Whole,
            waker: None,
        })))
    }

    /// Sends no byte any more; the peer gets a reset.
    pub(super) fn reset(&self) {
        self.set(Fate::Reset);
    }

    /// Sends so many more bytes; then the peer gets an orderly end.
    pub(super) fn cut_after(&self, bytes: usize) {
        self.set(Fate::Cut(bytes));
    }

    fn set(&self, fate: Fate) {
        let waker = {
            let mut state = self.lock();
            state.fate = fate;
            state.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing that holds this lock can panic between two writes.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The fate, and the promise to wake this task when it changes.
    fn watch(&self, cx: &Context<'_>) -> Fate {
        let mut state = self.lock();
        match &state.waker {
            Some(waker) if waker.will_wake(cx.waker()) => {}
            _ => state.waker = Some(cx.waker().clone()),
        }
        state.fate
    }
}

/// All open lines.
#[derive(Debug)]
pub(super) struct Lines {
    room: Arc<Semaphore>,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    next: u64,
    endings: HashMap<u64, Ending>,
}

impl Lines {
    /// None yet.
    pub(super) fn new() -> Self {
        Self {
            room: Arc::new(Semaphore::new(LINES_MAX)),
            open: Mutex::default(),
        }
    }

    /// Waits until there is room for one more.
    pub(super) async fn room(&self) -> OwnedSemaphorePermit {
        let room = Arc::clone(&self.room).acquire_owned().await;
        room.expect("this semaphore is never closed")
    }

    /// A line over this connection.
    pub(super) fn open(self: &Arc<Self>, stream: TcpStream, room: OwnedSemaphorePermit) -> Line {
        let ending = Ending::new();
        let mut open = self.lock();
        let number = open.next;
        open.next += 1;
        open.endings.insert(number, ending.clone());
        drop(open);
        Line {
            stream,
            ending,
            number,
            lines: Arc::clone(self),
            _room: room,
        }
    }

    /// Resets every open line.
    pub(super) fn reset_all(&self) {
        let endings: Vec<_> = self.lock().endings.values().cloned().collect();
        for ending in endings {
            ending.reset();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        // Nothing that holds this lock can panic between two writes.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One connection.
#[derive(Debug)]
pub(super) struct Line {
    stream: TcpStream,
    ending: Ending,
    number: u64,
    lines: Arc<Lines>,
    _room: OwnedSemaphorePermit,
}

impl Line {
    /// The right to end it.
    pub(super) fn ending(&self) -> Ending {
        self.ending.clone()
    }

    fn was_reset(&self) -> io::Error {
        // If the option cannot be set, the peer sees an orderly end without a byte: as harsh.
        self.stream.set_zero_linger().ok();
        io::ErrorKind::ConnectionReset.into()
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.lines.lock().endings.remove(&self.number);
        if self.ending.lock().fate == Fate::Reset {
            self.stream.set_zero_linger().ok();
        }
    }
}

impl AsyncRead for Line {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.ending.watch(cx) {
            Fate::Reset => Poll::Ready(Err(self.was_reset())),
            Fate::Cut(0) => Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into())),
            Fate::Whole | Fate::Cut(_) => Pin::new(&mut self.stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Line {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.ending.watch(cx) {
            Fate::Whole => Pin::new(&mut self.stream).poll_write(cx, buf),
            Fate::Reset => Poll::Ready(Err(self.was_reset())),
            Fate::Cut(0) => Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into())),
            Fate::Cut(left) => {
                let sent = buf.get(..left).unwrap_or(buf);
                let sent = ready!(Pin::new(&mut self.stream).poll_write(cx, sent))?;
                let mut state = self.ending.lock();
                if let Fate::Cut(left) = &mut state.fate {
                    *left = left.saturating_sub(sent);
                }
                Poll::Ready(Ok(sent))
            }
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.ending.watch(cx) {
            Fate::Reset => Poll::Ready(Err(self.was_reset())),
            Fate::Whole | Fate::Cut(_) => Pin::new(&mut self.stream).poll_shutdown(cx),
        }
    }
}
