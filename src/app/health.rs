//! What watches a process sees of it: its metrics, whether it lives, whether it works.
//!
//! *What this is.* `GET /metrics` for Prometheus; `/livez`, `/readyz` and `/startupz` for whatever starts
//! and stops workers. [`Health`] is what the process says of itself, [`serve`] shows it.
//!
//! *What it promises.* Health is one word of a fixed few: no version, no name, no address (S28). Each
//! connection has one request and a short life, and whoever takes long makes way for who comes, so that
//! no number of slow clients keeps anybody out (S2).
//!
//! *What it refuses to know.* What the metrics are, and how the process finds out how it stands.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::map_response;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::serve::Listener;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use crate::telemetry::{self, metrics};

/// Connections at once: a few scrapers and probes, many times over.
const CONNECTIONS_MAX: usize = 64;
/// How long a connection lives, which has one request: as long as a probe or a scrape waits at most.
const CONNECTION_LIFE: Duration = Duration::from_secs(10);
/// The most that is read of a request: what is asked for here has no body and few headers.
const REQUEST_MAX_BYTES: usize = 16 * 1024;
/// How long to wait after a connection could not be taken, usually for want of files: others end
/// within a [`CONNECTION_LIFE`].
const DOOR_RETRY: Duration = Duration::from_secs(1);

/// Why a process takes no work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unready {
    /// It has not begun.
    Starting,
    /// It is not connected to RabbitMQ.
    Broker,
    /// The flow is held; the metrics say why.
    Paused,
    /// It ends.
    Stopping,
}

impl Unready {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Broker => "broker",
            Self::Paused => "paused",
            Self::Stopping => "stopping",
        }
    }
}

/// How a process stands, by its own word.
#[derive(Debug)]
pub(super) struct Health(Mutex<Standing>);

#[derive(Clone, Copy, Debug)]
struct Standing {
    has_started: bool,
    ready: Result<(), Unready>,
}

impl Default for Health {
    /// Starting.
    fn default() -> Self {
        Self(Mutex::new(Standing {
            has_started: false,
            ready: Err(Unready::Starting),
        }))
    }
}

impl Health {
    /// It has started, for good.
    pub(super) fn set_started(&self) {
        self.lock().has_started = true;
    }

    /// Whether it works, from now on.
    pub(super) fn set_ready(&self, ready: Result<(), Unready>) {
        self.lock().ready = ready;
    }

    fn lock(&self) -> MutexGuard<'_, Standing> {
        // Two plain values are whole whatever panicked.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Shows the metrics of this process, and its health, on this listener until `stop` ends; connections
/// that are open then are closed.
///
/// # Errors
/// Where the listener cannot be used.
pub(super) async fn serve(
    listener: TcpListener,
    health: Arc<Health>,
    stop: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let door = Door {
        listener,
        room: Arc::new(Semaphore::new(CONNECTIONS_MAX)),
        open: VecDeque::with_capacity(CONNECTIONS_MAX),
    };
    let serving = axum::serve(door, router(health));
    serving.with_graceful_shutdown(stop).await
}

// ---- requests ---------------------------------------------------------------------------------

fn router(health: Arc<Health>) -> Router {
    Router::new()
        .route("/metrics", get(metrics_text))
        .route("/livez", get(|| async { "ok" }))
        .route("/readyz", get(readiness))
        .route("/startupz", get(startup))
        .with_state(health)
        .layer(map_response(only_one))
}

/// One request for each connection: then the life of a connection is the time of a request.
async fn only_one(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

async fn metrics_text() -> impl IntoResponse {
    (
        [(header::CONTENT_TYPE, metrics::CONTENT_TYPE)],
        metrics::render(),
    )
}

async fn readiness(State(health): State<Arc<Health>>) -> (StatusCode, &'static str) {
    let ready = health.lock().ready;
    match ready {
        Ok(()) => (StatusCode::OK, "ready"),
        Err(unready) => (StatusCode::SERVICE_UNAVAILABLE, unready.as_str()),
    }
}

async fn startup(State(health): State<Arc<Health>>) -> (StatusCode, &'static str) {
    if health.lock().has_started {
        (StatusCode::OK, "started")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, Unready::Starting.as_str())
    }
}

// ---- connections ------------------------------------------------------------------------------

/// Takes every connection at once; where there are too many, the oldest makes way. A client that is
/// served in an instant is never the oldest for long enough to notice.
struct Door {
    listener: TcpListener,
    room: Arc<Semaphore>,
    /// Dropping one of these ends its connection. The oldest comes first.
    open: VecDeque<oneshot::Sender<()>>,
}

impl Listener for Door {
    type Io = Line;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Line, SocketAddr) {
        loop {
            match self.listener.accept().await {
                Ok((stream, address)) => return (self.open(stream).await, address),
                Err(error) => {
                    telemetry::HealthCannotAccept { error: &error }.emit();
                    tokio::time::sleep(DOOR_RETRY).await;
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

impl Door {
    async fn open(&mut self, stream: TcpStream) -> Line {
        self.open.retain(|open| !open.is_closed());
        if self.open.len() >= CONNECTIONS_MAX {
            self.open.pop_front();
        }
        let room = Arc::clone(&self.room).acquire_owned().await;
        let (open, made_way) = oneshot::channel();
        self.open.push_back(open);
        let end = async {
            tokio::select! {
                () = tokio::time::sleep(CONNECTION_LIFE) => {}
                _ = made_way => {}
            }
        };
        Line {
            stream,
            end: Some(Box::pin(end)),
            left_bytes: REQUEST_MAX_BYTES,
            _room: room.expect("this semaphore is never closed"),
        }
    }
}

/// A connection that ends when its time is over, whatever its client does or leaves undone.
struct Line {
    stream: TcpStream,
    /// None once it has ended.
    end: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    /// How much of the request may still come.
    left_bytes: usize,
    _room: OwnedSemaphorePermit,
}

impl Line {
    /// Whether it goes on; asked by the one task that has it.
    fn goes_on(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        if let Some(end) = &mut self.end
            && end.as_mut().poll(cx).is_pending()
        {
            return Ok(());
        }
        self.end = None;
        Err(io::ErrorKind::TimedOut.into())
    }
}

impl AsyncRead for Line {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.goes_on(cx)?;
        let before = buf.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        let came = buf.filled().len().saturating_sub(before);
        match self.left_bytes.checked_sub(came) {
            Some(left) => self.left_bytes = left,
            None => return Poll::Ready(Err(io::ErrorKind::FileTooLarge.into())),
        }
        read
    }
}

impl AsyncWrite for Line {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.goes_on(cx)?;
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.goes_on(cx)?;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
#[path = "health_tests.rs"]
mod tests;
