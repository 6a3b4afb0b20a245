//! A world behind a real socket, over HTTP/1.1.
//!
//! *What this is.* [`SimulatedBank`] shares one [`World`] and the clock; [`serve`] gives it a
//! listener. Beside the bank's own paths there are `GET /_simulator/report` (a [`Report`] as
//! JSON), `POST /_simulator/token` (`{"accepted":bool}`: the good token is refused, or
//! taken again; `{"token":"…"}`: another is the good one) and `POST /_simulator/faults` (a
//! specification as text), which take no credential.
//!
//! *What it promises.* A fault on the wire is real: resets, cuts at the very byte, silence, and
//! during an outage a port that refuses, held so that nobody else takes it. When the stop future
//! ends, no connection is taken any more, answers in the making are given for [`STOP_GRACE`], and
//! [`serve`] returns once every connection is closed.
//!
//! *What it refuses to know.* What a request means.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::connect_info::Connected;
use axum::extract::{ConnectInfo, DefaultBodyLimit, Request as HttpRequest, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::serve::{IncomingStream, Listener};
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::{Notify, Semaphore, watch};

use super::faults::{Faults, FaultsError};
use super::line::{Ending, Line, Lines};
use super::{Act, Answer, Reply, Report, Request, World};
use crate::domain::digest::Digest;
use crate::engine::ports::Clock;
use crate::telemetry;
use crate::wire::bank::KEY_HEADER;

/// The largest body read, in bytes: as large as a job message may be.
const BODY_MAX_BYTES: usize = 64 * 1024;
/// The most answers withheld at once; beyond, the connection is closed instead.
const HANGS_MAX: usize = 1_024;
/// How long answers in the making are waited for after the stop.
pub const STOP_GRACE: Duration = Duration::from_secs(5);
/// How often, while an outage is due to begin or end, the clock is looked at: it may be a test's,
/// which does not move with the timers.
const OUTAGE_CHECK: Duration = Duration::from_millis(250);
/// How long to wait after the door could not be opened (the process has no more files, say).
const DOOR_RETRY: Duration = Duration::from_millis(50);
/// Connections that the system keeps before they are taken: tokio's own number.
const BACKLOG: u32 = 1_024;

/// What can go wrong with the server itself.
#[derive(Debug, thiserror::Error)]
pub enum SimulatorError {
    /// The listener has no address.
    #[error("the simulated bank could not read the address that it listens on")]
    Address(#[source] io::Error),
    /// The server ended.
    #[error("the simulated bank could not go on serving")]
    Serve(#[source] io::Error),
}

/// A world that requests, tests and the server share.
#[derive(Clone)]
pub struct SimulatedBank {
    world: Arc<Mutex<World>>,
    clock: Arc<dyn Clock>,
    /// Tells the door that an outage may have begun or ended.
    switched: Arc<Notify>,
}

impl std::fmt::Debug for SimulatedBank {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SimulatedBank").finish_non_exhaustive()
    }
}

impl SimulatedBank {
    /// Shares a world, which lives by this clock. Its outages count from now.
    #[must_use]
    pub fn new(mut world: World, clock: Arc<dyn Clock>) -> Self {
        world.is_out(clock.wall());
        Self {
            world: Arc::new(Mutex::new(world)),
            clock,
            switched: Arc::new(Notify::new()),
        }
    }

    /// Answers a request without a wire.
    #[must_use]
    pub fn answer(&self, request: &Request<'_>) -> Reply {
        let now = self.clock.wall();
        self.lock().answer(request, now)
    }

    /// What was paid until now.
    #[must_use]
    pub fn report(&self) -> Report {
        let now = self.clock.wall();
        self.lock().report(now)
    }

    /// Goes on with this world in the place of the one that was. Its outages count from now.
    pub fn replace(&self, mut world: World) {
        world.is_out(self.clock.wall());
        *self.lock() = world;
        self.switched.notify_one();
    }

    /// Takes or refuses the token from now on.
    pub fn accept_token(&self, accepted: bool) {
        self.lock().accept_token(accepted);
    }

    /// From now on this is the only good token.
    pub fn set_token(&self, token: &str) {
        self.lock().set_token(Digest::of(token.as_bytes()));
    }

    /// Tells these lies from now on; their outages count from now.
    pub fn set_faults(&self, faults: Faults) {
        let now = self.clock.wall();
        self.lock().set_faults(faults, now);
        self.switched.notify_one();
    }

    /// Closes the door, or opens it again. Connections that are open are reset.
    pub fn set_out(&self, out: bool) {
        self.lock().set_out(out);
        self.switched.notify_one();
    }

    /// Whether there is no bank now, and how long until that changes by itself.
    fn outage(&self) -> (bool, Option<Duration>) {
        let now = self.clock.wall();
        let mut world = self.lock();
        (world.is_out(now), world.next_edge(now))
    }

    fn lock(&self) -> MutexGuard<'_, World> {
        let world = self.world.lock();
        world.expect("a judge that panicked in the middle of its books must not judge on")
    }
}

/// Serves a world on this listener until `stop` ends.
///
/// # Errors
/// [`SimulatorError`] where the listener cannot be used.
pub async fn serve(
    bank: SimulatedBank,
    listener: TcpListener,
    stop: impl Future<Output = ()> + Send,
) -> Result<(), SimulatorError> {
    let address = listener.local_addr().map_err(SimulatorError::Address)?;
    let lines = Arc::new(Lines::new());
    let (stopping, stopped) = watch::channel(false);
    let shared = Shared {
        bank: bank.clone(),
        hangs: Arc::new(Semaphore::new(HANGS_MAX)),
        stopped: stopped.clone(),
    };
    let door = Door {
        bank,
        lines: Arc::clone(&lines),
        address,
        state: DoorState::Open(listener),
    };
    let service = router(shared).into_make_service_with_connect_info::<Ending>();
    let serving = axum::serve(door, service).with_graceful_shutdown(ended(stopped));
    let mut serving = std::pin::pin!(serving.into_future());
    tokio::select! {
        result = &mut serving => return result.map_err(SimulatorError::Serve),
        () = stop => {}
    }
    stopping.send_replace(true);
    let result = if let Ok(result) = tokio::time::timeout(STOP_GRACE, &mut serving).await {
        result
    } else {
        lines.reset_all();
        serving.await
    };
    result.map_err(SimulatorError::Serve)
}

/// Ends when the server stops, or was dropped.
async fn ended(mut stopped: watch::Receiver<bool>) {
    stopped.wait_for(|&stopped| stopped).await.ok();
}

// ---- the door ---------------------------------------------------------------------------------

/// Takes connections, except during outages.
struct Door {
    bank: SimulatedBank,
    lines: Arc<Lines>,
    address: SocketAddr,
    state: DoorState,
}

enum DoorState {
    Open(TcpListener),
    /// The port is held, but nobody listens: connections are refused.
    Held(TcpSocket),
    /// The port could not be held; nobody listens either.
    Shut,
}

impl Door {
    fn shut(&mut self) {
        if let DoorState::Open(_) = self.state {
            // The listener must be gone before its address can be held.
            self.state = DoorState::Shut;
            self.lines.reset_all();
        }
        if let DoorState::Shut = self.state {
            self.state = hold(self.address).map_or(DoorState::Shut, DoorState::Held);
        }
    }

    async fn open(&mut self) {
        while !matches!(self.state, DoorState::Open(_)) {
            let held = match std::mem::replace(&mut self.state, DoorState::Shut) {
                DoorState::Held(socket) => Ok(socket),
                DoorState::Open(_) | DoorState::Shut => hold(self.address),
            };
            match held.and_then(|socket| socket.listen(BACKLOG)) {
                Ok(listener) => self.state = DoorState::Open(listener),
                Err(error) => {
                    telemetry::SimulatorCannotOpen { error: &error }.emit();
                    tokio::time::sleep(DOOR_RETRY).await;
                }
            }
        }
    }
}

/// Takes an address without listening on it.
fn hold(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    }?;
    // Connections of before may still be winding down on this port.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}

/// Waits until an outage may have begun or ended.
async fn outage_change(bank: &SimulatedBank, next_edge: Option<Duration>) {
    let switched = bank.switched.notified();
    match next_edge {
        None => switched.await,
        Some(edge) => {
            tokio::select! {
                () = switched => {}
                () = tokio::time::sleep(edge.min(OUTAGE_CHECK)) => {}
            }
        }
    }
}

impl Listener for Door {
    type Io = Line;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Line, SocketAddr) {
        let lines = Arc::clone(&self.lines);
        let mut room = None;
        loop {
            let (out, next_edge) = self.bank.outage();
            if out {
                self.shut();
                outage_change(&self.bank, next_edge).await;
                continue;
            }
            self.open().await;
            let DoorState::Open(listener) = &self.state else {
                continue;
            };
            let connection = async {
                if room.is_none() {
                    room = Some(lines.room().await);
                }
                listener.accept().await
            };
            let accepted = tokio::select! {
                accepted = connection => accepted,
                () = outage_change(&self.bank, next_edge) => continue,
            };
            match accepted {
                Ok((stream, address)) => {
                    // Answers are small and must not wait for more; without it they are only slow.
                    stream.set_nodelay(true).ok();
                    let Some(room) = room.take() else { continue };
                    return (lines.open(stream, room), address);
                }
                Err(error) => {
                    telemetry::SimulatorCannotAccept { error: &error }.emit();
                    tokio::time::sleep(DOOR_RETRY).await;
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }
}

impl Connected<IncomingStream<'_, Door>> for Ending {
    fn connect_info(stream: IncomingStream<'_, Door>) -> Self {
        stream.io().ending()
    }
}

// ---- requests ---------------------------------------------------------------------------------

#[derive(Clone)]
struct Shared {
    bank: SimulatedBank,
    hangs: Arc<Semaphore>,
    stopped: watch::Receiver<bool>,
}

fn router(shared: Shared) -> Router {
    Router::new()
        .route("/_simulator/report", get(report))
        .route("/_simulator/token", post(token))
        .route("/_simulator/faults", post(faults))
        .fallback(bank)
        .layer(DefaultBodyLimit::max(BODY_MAX_BYTES))
        .with_state(shared)
}

async fn report(State(shared): State<Shared>) -> Response {
    let json = shared.bank.report().to_json();
    ([(header::CONTENT_TYPE, "application/json")], json).into_response()
}

/// The body of `POST /_simulator/token`.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct TokenSwitch {
    accepted: Option<bool>,
    token: Option<String>,
}

async fn token(State(shared): State<Shared>, body: Bytes) -> Response {
    match serde_json::from_slice(&body) {
        Ok(TokenSwitch { accepted, token }) if accepted.is_some() || token.is_some() => {
            if let Some(token) = token {
                shared.bank.set_token(&token);
            }
            if let Some(accepted) = accepted {
                shared.bank.accept_token(accepted);
            }
            StatusCode::NO_CONTENT.into_response()
        }
        Ok(_) | Err(_) => {
            let expected = "expected {\"accepted\":bool}, {\"token\":text} or both\n";
            (StatusCode::BAD_REQUEST, expected).into_response()
        }
    }
}

async fn faults(State(shared): State<Shared>, spec: String) -> Response {
    match Faults::parse(spec.trim()) {
        Ok(faults) => {
            shared.bank.set_faults(faults);
            StatusCode::NO_CONTENT.into_response()
        }
        Err(error) => bad_faults(&error),
    }
}

fn bad_faults(error: &FaultsError) -> Response {
    (StatusCode::BAD_REQUEST, format!("{error}\n")).into_response()
}

async fn bank(
    State(shared): State<Shared>,
    ConnectInfo(ending): ConnectInfo<Ending>,
    request: HttpRequest,
) -> Response {
    let (head, body) = request.into_parts();
    let Ok(body) = to_bytes(body, BODY_MAX_BYTES).await else {
        let now = shared.bank.clock.wall();
        return response(shared.bank.lock().too_large(now));
    };
    let Reply { delay, act } = shared.bank.answer(&Request {
        method: head.method.as_str(),
        target: head
            .uri
            .path_and_query()
            .map_or("/", |target| target.as_str()),
        authorization: text(&head.headers, &header::AUTHORIZATION),
        key: text(&head.headers, &HeaderName::from_static(KEY_HEADER)),
        body: &body,
    });
    if !delay.is_zero() {
        tokio::time::sleep(delay).await;
    }
    match act {
        Act::Answer(answer) => response(answer),
        Act::Cut { answer, bytes } => {
            ending.cut_after(bytes);
            response(answer)
        }
        Act::Hang => {
            hang(&shared, &ending).await;
            Response::default()
        }
        Act::Reset | Act::Refused => {
            ending.reset();
            Response::default()
        }
    }
}

/// Withholds the answer until the server stops; hyper drops this when the client goes away.
async fn hang(shared: &Shared, ending: &Ending) {
    if let Ok(_room) = shared.hangs.try_acquire() {
        ended(shared.stopped.clone()).await;
    }
    ending.cut_after(0);
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

fn response(answer: Answer) -> Response {
    let mut response = Response::new(Body::from(answer.body));
    *response.status_mut() =
        StatusCode::from_u16(answer.status).expect("the simulated bank's statuses are HTTP's");
    let headers = response.headers_mut();
    let visible = |text: String| {
        HeaderValue::try_from(text).expect("dates and numbers are visible ASCII characters")
    };
    headers.insert(header::DATE, visible(answer.date));
    if let Some(retry_after) = answer.retry_after {
        headers.insert(header::RETRY_AFTER, visible(retry_after));
    }
    if let Some(content_type) = answer.content_type {
        let content_type = HeaderValue::from_static(content_type);
        headers.insert(header::CONTENT_TYPE, content_type);
    }
    response
}
