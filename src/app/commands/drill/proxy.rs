//! A TCP proxy that hurts: before the bank, or before RabbitMQ.
//!
//! *What it promises.* It passes bytes on as they come. A cut passes exactly so many more and then resets
//! the connection that carried them; a shut door refuses connections and resets the open ones. It counts
//! the calls that go through. All of it ends when it is dropped.
//!
//! *What it refuses to know.* What the bytes mean, but for the word with which a payment begins.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::plan::Direction;

/// Bytes taken in one go.
const CHUNK_BYTES: usize = 16 * 1024;
/// Connections that the system keeps before they are taken.
const BACKLOG: u32 = 128;
/// Connections at once: many times what one worker opens.
const LINES_MOST: usize = 512;
/// How long to wait after the door could not be opened.
const DOOR_RETRY: Duration = Duration::from_millis(50);
/// How the request of a payment begins.
const PAYMENT: &[u8] = b"POST /";

/// A proxy before one address.
pub(super) struct Proxy {
    address: SocketAddr,
    inner: Arc<Inner>,
    _serving: JoinSet<()>,
}

struct Inner {
    /// Host and port of what stands behind it.
    behind: (String, u16),
    /// The byte at which a connection is cut, counted from now, and in which direction.
    due: Mutex<Option<(Direction, u64)>>,
    cuts: AtomicU64,
    /// Payments that went through.
    calls: watch::Sender<u64>,
    /// Whether the door is shut.
    shut: watch::Sender<bool>,
}

impl Proxy {
    /// One on a port of its own, before this host and port.
    pub(super) async fn before(host: &str, port: u16) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let inner = Arc::new(Inner {
            behind: (host.trim_matches(['[', ']']).to_owned(), port),
            due: Mutex::new(None),
            cuts: AtomicU64::new(0),
            calls: watch::Sender::new(0),
            shut: watch::Sender::new(false),
        });
        let mut serving = JoinSet::new();
        serving.spawn(serve(listener, address, Arc::clone(&inner)));
        Ok(Self {
            address,
            inner,
            _serving: serving,
        })
    }

    pub(super) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Cuts whichever connection carries the n-th byte from now.
    pub(super) fn cut_after(&self, direction: Direction, bytes: u64) {
        *self.inner.due() = Some((direction, bytes));
    }

    /// Nothing is to be cut any more.
    pub(super) fn cut_nothing(&self) {
        *self.inner.due() = None;
    }

    /// How many connections were cut.
    pub(super) fn cuts(&self) -> u64 {
        self.inner.cuts.load(Ordering::Relaxed)
    }

    /// Shuts the door, or opens it again.
    pub(super) fn shut(&self, shut: bool) {
        self.inner.shut.send_replace(shut);
    }

    /// Payments that have gone through so far.
    pub(super) fn calls(&self) -> u64 {
        *self.inner.calls.borrow()
    }

    /// Ends once so many payments have gone through.
    pub(super) async fn heard(&self, calls: u64) {
        let mut seen = self.inner.calls.subscribe();
        // The other end stands as long as this proxy does.
        seen.wait_for(|heard| *heard >= calls).await.ok();
    }
}

impl Inner {
    fn due(&self) -> MutexGuard<'_, Option<(Direction, u64)>> {
        self.due.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many of these bytes pass, and whether the connection is cut after them.
    fn passes(&self, direction: Direction, bytes: usize) -> (usize, bool) {
        let mut due = self.due();
        let Some((wanted, left)) = *due else {
            return (bytes, false);
        };
        if wanted != direction {
            return (bytes, false);
        }
        let count = u64::try_from(bytes).unwrap_or(u64::MAX);
        if left > count {
            *due = Some((wanted, left - count));
            return (bytes, false);
        }
        *due = None;
        self.cuts.fetch_add(1, Ordering::Relaxed);
        (usize::try_from(left).unwrap_or(bytes), true)
    }

    fn count_calls(&self, bytes: &[u8]) {
        let calls = bytes
            .windows(PAYMENT.len())
            .filter(|window| *window == PAYMENT)
            .count();
        if calls > 0 {
            let calls = u64::try_from(calls).unwrap_or(u64::MAX);
            self.calls.send_modify(|heard| *heard += calls);
        }
    }
}

async fn serve(listener: TcpListener, address: SocketAddr, inner: Arc<Inner>) {
    let mut lines = JoinSet::new();
    let mut shut = inner.shut.subscribe();
    let mut door = Some(listener);
    loop {
        if *shut.borrow_and_update() {
            // The listener must be gone before its address can be held; every line ends itself.
            drop(door.take());
            // An address that is lost meanwhile is found again when the door is opened.
            let held = hold(address).ok();
            if shut.wait_for(|shut| !shut).await.is_err() {
                return;
            }
            door = held.and_then(|socket| socket.listen(BACKLOG).ok());
        }
        let Some(listener) = &door else {
            door = hold(address).and_then(|socket| socket.listen(BACKLOG)).ok();
            tokio::time::sleep(DOOR_RETRY).await;
            continue;
        };
        tokio::select! {
            accepted = listener.accept(), if lines.len() < LINES_MOST => {
                if let Ok((stream, _)) = accepted {
                    lines.spawn(carry(stream, Arc::clone(&inner)));
                }
            }
            _ = lines.join_next(), if !lines.is_empty() => {}
            changed = shut.changed() => if changed.is_err() {
                return;
            },
        }
    }
}

/// Takes an address without listening on it: connections to it are refused.
fn hold(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    // Connections of before may still be winding down on this port.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}

/// One connection, until either side ends it or it is ended here.
async fn carry(mut near: TcpStream, inner: Arc<Inner>) {
    let (host, port) = &inner.behind;
    let Ok(mut far) = TcpStream::connect((host.as_str(), *port)).await else {
        near.set_zero_linger().ok();
        return;
    };
    for stream in [&near, &far] {
        // Calls are small and must not wait for more; without it they are only slow.
        stream.set_nodelay(true).ok();
    }
    let mut shut = inner.shut.subscribe();
    let was_cut = {
        let (near_reads, near_writes) = near.split();
        let (far_reads, far_writes) = far.split();
        tokio::select! {
            cut = pump(&inner, Direction::There, near_reads, far_writes) => cut,
            cut = pump(&inner, Direction::Back, far_reads, near_writes) => cut,
            _ = shut.wait_for(|shut| *shut) => true,
        }
    };
    if was_cut {
        for stream in [&near, &far] {
            // A reset, as a cable that is pulled out looks to both ends in the end.
            stream.set_zero_linger().ok();
        }
    }
}

/// Passes bytes on until the end; whether that was a cut.
async fn pump(
    inner: &Inner,
    direction: Direction,
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
) -> bool {
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        let read = match from.read(&mut chunk).await {
            Ok(0) => return false,
            Ok(read) => read,
            Err(_) => return true,
        };
        let (passed, is_cut) = inner.passes(direction, read);
        let bytes = chunk.get(..passed).unwrap_or_default();
        if to.write_all(bytes).await.is_err() || is_cut {
            return true;
        }
        if direction == Direction::There {
            inner.count_calls(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What answers every byte with the same byte.
    async fn echo() -> (u16, JoinSet<()>) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
        let listener = listener.expect("loopback has ports");
        let port = listener.local_addr().expect("bound").port();
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            let mut lines = JoinSet::new();
            while let Ok((mut stream, _)) = listener.accept().await {
                lines.spawn(async move {
                    let (mut reads, mut writes) = stream.split();
                    tokio::io::copy(&mut reads, &mut writes).await.ok();
                });
            }
        });
        (port, serving)
    }

    async fn heard(stream: &mut TcpStream, text: &[u8]) -> (Vec<u8>, bool) {
        stream.write_all(text).await.expect("the proxy reads");
        let mut back = vec![0; text.len()];
        let mut got = 0;
        while got < back.len() {
            match stream.read(&mut back[got..]).await {
                Ok(0) | Err(_) => return (back[..got].to_vec(), false),
                Ok(read) => got += read,
            }
        }
        (back, true)
    }

    #[tokio::test]
    async fn bytes_pass_until_the_very_byte_of_a_cut() {
        let (port, _serving) = echo().await;
        let proxy = Proxy::before("127.0.0.1", port).await.expect("a proxy");
        let mut line = TcpStream::connect(proxy.address()).await.expect("a line");
        assert_eq!(
            heard(&mut line, b"POST /a").await,
            (b"POST /a".to_vec(), true)
        );
        proxy.heard(1).await;
        assert_eq!(proxy.calls(), 1);
        proxy.cut_after(Direction::Back, 3);
        let (_, whole) = heard(&mut line, b"hello").await;
        assert!(!whole);
        assert_eq!(proxy.cuts(), 1);
        let mut next = TcpStream::connect(proxy.address()).await.expect("a line");
        assert_eq!(heard(&mut next, b"again").await, (b"again".to_vec(), true));
        proxy.cut_after(Direction::There, 2);
        let (back, whole) = heard(&mut next, b"cut").await;
        assert!(!whole && back.len() <= 2, "{back:?}");
    }

    #[tokio::test]
    async fn a_shut_door_refuses_and_the_same_door_opens_again() {
        let (port, _serving) = echo().await;
        let proxy = Proxy::before("127.0.0.1", port).await.expect("a proxy");
        let mut line = TcpStream::connect(proxy.address()).await.expect("a line");
        assert!(heard(&mut line, b"x").await.1);
        proxy.shut(true);
        let mut byte = [0];
        let ended = line.read(&mut byte).await;
        assert!(matches!(ended, Ok(0) | Err(_)), "{ended:?}");
        while TcpStream::connect(proxy.address()).await.is_ok() {}
        proxy.shut(false);
        let mut again = loop {
            if let Ok(line) = TcpStream::connect(proxy.address()).await {
                break line;
            }
        };
        assert!(heard(&mut again, b"y").await.1);
    }
}
