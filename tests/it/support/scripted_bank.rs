//! A TCP server on this machine that does to each request what its script says, down to the byte.
//!
//! *What it promises.* One act per request, in order; every request is on record; a request beyond
//! the script gets 418, which no test expects.
//!
//! *What it refuses to know.* What a right answer is.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// What the server does to one request.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    /// Reads it, sends these bytes and keeps the connection.
    Send(Vec<u8>),
    /// Reads it, sends these bytes and closes the connection.
    SendAndClose(Vec<u8>),
    /// Reads it, sends these bytes and says no more.
    SendAndHang(Vec<u8>),
    /// Reads it, sends these bytes and then spaces for as long as they are taken.
    SendAndFlood(Vec<u8>),
    /// Reads it and resets the connection.
    Reset,
    /// Resets the connection without reading it.
    ResetUnread,
}

/// A request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    /// Request line and headers.
    pub(crate) head: String,
    /// The body.
    pub(crate) body: Vec<u8>,
}

impl Request {
    /// The request line without the version.
    pub(crate) fn line(&self) -> &str {
        let line = self.head.lines().next().unwrap_or_default();
        line.strip_suffix(" HTTP/1.1").unwrap_or(line)
    }

    /// The value of a header, by its lower-case name.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (found, value) = line.split_once(':')?;
            (found.to_ascii_lowercase() == name).then(|| value.trim())
        })
    }
}

/// The server. Dropping it ends it.
pub(crate) struct ScriptedBank {
    address: SocketAddr,
    shared: Arc<Shared>,
    _server: JoinSet<()>,
}

struct Shared {
    script: Mutex<VecDeque<Act>>,
    requests: Mutex<Vec<Request>>,
    /// One permit for each connection that the client has closed too.
    closed: Semaphore,
    /// Bytes that floods got rid of.
    flooded: Mutex<usize>,
}

impl ScriptedBank {
    pub(crate) async fn start(script: impl IntoIterator<Item = Act>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let shared = Arc::new(Shared {
            script: Mutex::new(script.into_iter().collect()),
            requests: Mutex::default(),
            closed: Semaphore::new(0),
            flooded: Mutex::default(),
        });
        let mut server = JoinSet::new();
        server.spawn(serve(listener, Arc::clone(&shared)));
        Self {
            address,
            shared,
            _server: server,
        }
    }

    pub(crate) fn base_url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Adds to the script.
    pub(crate) fn then(&self, act: Act) {
        self.shared.script.lock().expect("a script").push_back(act);
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        self.shared.requests.lock().expect("a record").clone()
    }

    pub(crate) fn flooded_bytes(&self) -> usize {
        *self.shared.flooded.lock().expect("a count")
    }

    /// Returns once a connection that the server closed is closed by the client as well.
    pub(crate) async fn connection_is_gone(&self) {
        let permit = self.shared.closed.acquire().await;
        permit.expect("never closed").forget();
    }
}

async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.expect("a connection");
        let shared = Arc::clone(&shared);
        connections.spawn(async move {
            // A client that goes away in the middle is part of many a script.
            let _gone = talk(stream, &shared).await;
        });
    }
}

async fn talk(mut stream: TcpStream, shared: &Shared) -> std::io::Result<()> {
    loop {
        if stream.peek(&mut [0]).await? == 0 {
            return Ok(());
        }
        let act = shared.script.lock().expect("a script").pop_front();
        let act = act.unwrap_or_else(|| Act::Send(answer("418 No Script", "")));
        if matches!(act, Act::ResetUnread) {
            return stream.set_zero_linger();
        }
        let request = read_request(&mut stream).await?;
        shared.requests.lock().expect("a record").push(request);
        match act {
            Act::Send(bytes) => stream.write_all(&bytes).await?,
            Act::SendAndClose(bytes) => {
                stream.write_all(&bytes).await?;
                stream.shutdown().await?;
                stream.read_to_end(&mut Vec::new()).await?;
                shared.closed.add_permits(1);
                return Ok(());
            }
            Act::SendAndHang(bytes) => {
                stream.write_all(&bytes).await?;
                stream.read_to_end(&mut Vec::new()).await?;
                return Ok(());
            }
            Act::SendAndFlood(bytes) => {
                stream.write_all(&bytes).await?;
                loop {
                    stream.write_all(&[b' '; 4096]).await?;
                    *shared.flooded.lock().expect("a count") += 4096;
                }
            }
            Act::Reset | Act::ResetUnread => return stream.set_zero_linger(),
        }
    }
}

async fn read_request(stream: &mut TcpStream) -> std::io::Result<Request> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    let mut request = Request {
        head: String::from_utf8(head).expect("ASCII"),
        body: Vec::new(),
    };
    let length = request.header("content-length");
    let length = length.map_or(0, |text| text.parse().expect("a length"));
    request.body.resize(length, 0);
    stream.read_exact(&mut request.body).await?;
    Ok(request)
}

/// An answer with a JSON body and its length.
pub(crate) fn answer(status: &str, body: &str) -> Vec<u8> {
    answer_with(status, "", body)
}

/// The same with further header lines, each ended by CR LF.
pub(crate) fn answer_with(status: &str, headers: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n{headers}\r\n{body}"
    )
    .into_bytes()
}
