//! Tests of the listener, over real connections.

use std::io::ErrorKind;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::*;
use crate::domain::money::Currencies;

/// Longer than anything here takes that is not stuck.
const PATIENCE: Duration = Duration::from_secs(20);

struct Served {
    address: SocketAddr,
    health: Arc<Health>,
    stop: oneshot::Sender<()>,
    serving: JoinSet<io::Result<()>>,
}

impl Served {
    async fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let health = Arc::new(Health::default());
        let (stop, stopped) = oneshot::channel();
        let mut serving = JoinSet::new();
        serving.spawn(serve(listener, Arc::clone(&health), async {
            stopped.await.ok();
        }));
        Self {
            address,
            health,
            stop,
            serving,
        }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address)
            .await
            .expect("a connection")
    }

    /// Everything that comes back for this, until the connection ends.
    async fn send(&self, request: &str) -> String {
        let mut stream = self.connect().await;
        stream.write_all(request.as_bytes()).await.expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("UTF-8");
        answer
    }

    async fn ask(&self, method: &str, path: &str) -> Answer {
        let request = format!("{method} {path} HTTP/1.1\r\nHost: x\r\n\r\n");
        Answer::read(&self.send(&request).await)
    }

    /// The status and the body.
    async fn get(&self, path: &str) -> (u16, String) {
        let answer = self.ask("GET", path).await;
        (answer.status, answer.body)
    }
}

#[derive(Debug)]
struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: String,
}

impl Answer {
    fn read(text: &str) -> Self {
        let (head, body) = text.split_once("\r\n\r\n").expect(text);
        let mut lines = head.lines();
        let status = lines.next().and_then(|line| line.split(' ').nth(1));
        let split = |line: &str| {
            let (name, value) = line.split_once(": ").expect("a header");
            (name.to_owned(), value.to_owned())
        };
        Self {
            status: status.and_then(|text| text.parse().ok()).expect("a status"),
            headers: lines.map(split).collect(),
            body: body.to_owned(),
        }
    }

    fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }
}

#[tokio::test]
async fn health_is_a_status_and_one_word() {
    let served = Served::start().await;
    let said = |status: u16, word: &str| (status, word.to_owned());
    assert_eq!(served.get("/livez").await, said(200, "ok"));
    assert_eq!(served.get("/startupz").await, said(503, "starting"));
    assert_eq!(served.get("/readyz").await, said(503, "starting"));
    served.health.set_started();
    assert_eq!(served.get("/startupz").await, said(200, "started"));
    assert_eq!(served.get("/readyz").await, said(503, "starting"));
    for (ready, status, word) in [
        (Ok(()), 200, "ready"),
        (Err(Unready::Broker), 503, "broker"),
        (Err(Unready::Paused), 503, "paused"),
        (Err(Unready::Stopping), 503, "stopping"),
    ] {
        served.health.set_ready(ready);
        assert_eq!(served.get("/readyz").await, said(status, word));
    }
    assert_eq!(served.get("/livez").await, said(200, "ok"));
}

#[tokio::test]
async fn metrics_are_the_text_that_prometheus_reads() {
    metrics::begin(&Currencies::default());
    let served = Served::start().await;
    let answer = served.ask("GET", "/metrics").await;
    assert_eq!(answer.status, 200);
    let content_type = answer.header("content-type");
    assert_eq!(content_type, Some("text/plain; version=0.0.4"));
    for name in metrics::NAMES {
        assert!(answer.body.contains(&format!("# TYPE {name} ")), "{name}");
    }
}

#[tokio::test]
async fn nothing_else_is_there_and_nothing_can_be_changed() {
    let served = Served::start().await;
    for path in ["/", "/metrics/", "/livez/x", "/../etc/passwd", "/console"] {
        assert_eq!(served.ask("GET", path).await.status, 404, "{path}");
    }
    for path in ["/metrics", "/livez", "/readyz", "/startupz"] {
        let whole = served.ask("GET", path).await;
        let head = served.ask("HEAD", path).await;
        assert_eq!(
            (head.status, head.body.as_str()),
            (whole.status, ""),
            "{path}"
        );
        for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "BREW"] {
            assert_eq!(
                served.ask(method, path).await.status,
                405,
                "{method} {path}"
            );
        }
    }
}

#[tokio::test]
async fn s28_health_tells_strangers_nothing_but_its_word() {
    const HEADERS: [&str; 5] = [
        "allow",
        "connection",
        "content-length",
        "content-type",
        "date",
    ];
    const WORDS: [&str; 4] = ["", "ok", "starting", "broker"];
    let served = Served::start().await;
    let mut answers = Vec::new();
    for _ in 0..2 {
        for path in ["/", "/livez", "/readyz", "/startupz"] {
            answers.push(served.ask("GET", path).await);
            answers.push(served.ask("POST", path).await);
        }
        served.health.set_ready(Err(Unready::Broker));
    }
    for answer in answers {
        assert!(WORDS.contains(&answer.body.as_str()), "{answer:?}");
        for (name, _) in &answer.headers {
            assert!(HEADERS.contains(&name.as_str()), "{answer:?}");
        }
        let told = format!("{answer:?}").to_lowercase();
        for secret in ["tanda", "axum", "hyper", env!("CARGO_PKG_VERSION")] {
            assert!(!told.contains(secret), "{answer:?}");
        }
    }
}

#[tokio::test]
async fn a_connection_has_one_request() {
    let served = Served::start().await;
    let one = "GET /livez HTTP/1.1\r\nHost: x\r\nConnection: keep-alive\r\n\r\n";
    let answer = served.send(&one.repeat(2)).await;
    assert_eq!(answer.matches("HTTP/1.1 200").count(), 1, "{answer}");
    assert_eq!(Answer::read(&answer).header("connection"), Some("close"));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_ask_is_let_go_of() {
    let served = Served::start().await;
    let began = Instant::now();
    assert_eq!(served.send("GET /livez HTTP/1.1\r\nHo").await, "");
    let took = began.elapsed();
    assert!(took >= CONNECTION_LIFE, "{took:?}");
    assert!(took < CONNECTION_LIFE * 2, "{took:?}");
}

#[tokio::test]
async fn a_request_without_end_is_not_read_to_the_end() {
    let served = Served::start().await;
    let mut stream = served.connect().await;
    let sending = async {
        stream.write_all(b"GET /livez HTTP/1.1\r\nX: ").await?;
        loop {
            stream.write_all(&[b'x'; 1_024]).await?;
        }
    };
    let ended: io::Result<()> = timeout(PATIENCE, sending).await.expect("it ends");
    let kind = ended.expect_err("it was cut off").kind();
    let expected = [ErrorKind::ConnectionReset, ErrorKind::BrokenPipe];
    assert!(expected.contains(&kind), "{kind:?}");
    assert_eq!(served.get("/livez").await.0, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s2_a_thousand_slow_clients_do_not_stop_the_health_check() {
    let served = Served::start().await;
    let mut slow = Vec::new();
    let began = Instant::now();
    for n in 0..1_000_u32 {
        let mut stream = served.connect().await;
        // Whoever has made way before it could write anything is slow no more.
        stream.write_all(b"GET /livez HTTP/1.1\r\n").await.ok();
        slow.push(stream);
        if n % 100 == 0 {
            let answer = timeout(PATIENCE, served.get("/livez")).await;
            assert_eq!(answer.expect("in time").0, 200, "{n}");
        }
    }
    let answer = timeout(PATIENCE, served.get("/readyz")).await;
    assert_eq!(answer.expect("in time").0, 503);
    let took = began.elapsed();
    assert!(took < CONNECTION_LIFE, "{took:?}: nobody has made way");
    let is_open = |stream: TcpStream| {
        let stream = stream.into_std().expect("a socket");
        let peeked = stream.peek(&mut [0]);
        peeked.is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
    };
    let open = slow.into_iter().map(is_open).filter(|open| *open).count();
    assert!(open <= CONNECTIONS_MAX, "{open}");
}

#[tokio::test]
async fn the_end_waits_for_nobody() {
    let mut served = Served::start().await;
    let mut stream = served.connect().await;
    stream.write_all(b"GET /livez").await.expect("sent");
    assert_eq!(served.get("/livez").await.0, 200);
    let began = Instant::now();
    served.stop.send(()).expect("it serves");
    let ended = served.serving.join_next().await.expect("it serves");
    ended.expect("no panic").expect("the listener is good");
    assert!(began.elapsed() < CONNECTION_LIFE);
    assert_eq!(stream.read(&mut [0; 8]).await.unwrap_or(0), 0);
    assert!(TcpStream::connect(served.address).await.is_err());
}
