//! The simulated bank over real TCP: its faults must be real on the wire.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use tanda::domain::time::Timestamp;
use tanda::engine::ports::Clock;
use tanda::simulator::faults::Faults;
use tanda::simulator::server::{SimulatedBank, SimulatorError, serve};
use tanda::simulator::{Report, Settings, World};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinSet;

const CARD: &str = "/v1/cards/car_5tgliBmzjZ6mpQPRbQjfKj/prepaid/operations";
const BODY: &str =
    r#"{"amount":{"amount":100,"currency":"COP"},"entity_id":"EMP-1","operation":"topup"}"#;
/// Longer than anything here takes; a test that meets it has failed.
const PATIENCE: Duration = Duration::from_secs(20);

/// A clock that stands until it is moved.
#[derive(Debug)]
struct StandingClock(AtomicI64);

impl StandingClock {
    fn advance(&self, by: Duration) {
        let millis = i64::try_from(by.as_millis()).expect("a short time");
        self.0.fetch_add(millis, Ordering::SeqCst);
    }
}

impl Clock for StandingClock {
    fn wall(&self) -> Timestamp {
        Timestamp::from_millis(self.0.load(Ordering::SeqCst))
    }
}

/// A running simulated bank.
struct Running {
    bank: SimulatedBank,
    clock: Arc<StandingClock>,
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    serving: JoinSet<Result<(), SimulatorError>>,
}

impl Running {
    async fn start(spec: &str) -> Self {
        let world = World::new(Settings {
            seed: 7,
            faults: Faults::parse(spec).expect("faults"),
            ..Settings::default()
        });
        let clock = Arc::new(StandingClock(AtomicI64::new(1_800_000_000_000)));
        let shared: Arc<dyn Clock> = clock.clone();
        let bank = SimulatedBank::new(world, shared);
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (stop, stopped) = oneshot::channel();
        let mut serving = JoinSet::new();
        serving.spawn(serve(bank.clone(), listener, async move {
            stopped.await.ok();
        }));
        Self {
            bank,
            clock,
            address,
            stop,
            serving,
        }
    }

    async fn stop(mut self) {
        self.stop.send(()).expect("it still runs");
        let ended = within(self.serving.join_next()).await;
        ended.expect("a task").expect("no panic").expect("no error");
    }

    fn tell(&self, spec: &str) {
        self.bank.set_faults(Faults::parse(spec).expect("faults"));
    }

    async fn pay(&self, key: &str, entity_id: &str) -> Heard {
        let body = format!(
            r#"{{"amount":{{"amount":100,"currency":"COP"}},"entity_id":"{entity_id}","operation":"topup"}}"#
        );
        exchange(self.address, "POST", CARD, key, &body).await
    }

    async fn report(&self) -> Report {
        let heard = exchange(self.address, "GET", "/_simulator/report", "", "").await;
        Report::from_json(heard.body().as_bytes()).expect("a report")
    }

    /// Waits until the bank has seen so many operations.
    async fn until_seen(&self, operations: u64) {
        within(async {
            while self.bank.report().requests.operations < operations {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }

    /// Waits until connections are taken again.
    async fn until_open(&self) {
        within(async {
            while TcpStream::connect(self.address).await.is_err() {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
}

async fn within<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, work)
        .await
        .expect("it takes no time")
}

/// What a client heard until the connection ended.
#[derive(Debug)]
struct Heard {
    bytes: Vec<u8>,
    end: Result<(), ErrorKind>,
}

impl Heard {
    fn text(&self) -> &str {
        std::str::from_utf8(&self.bytes).expect("UTF-8")
    }

    fn status(&self) -> u16 {
        let status = self.text().get(9..12).expect("a status line");
        status.parse().expect("a status")
    }

    fn header(&self, name: &str) -> Option<&str> {
        let (head, _) = self.text().split_once("\r\n\r\n").expect("a whole head");
        let mut fields = head.lines().filter_map(|line| line.split_once(": "));
        fields
            .find(|(field, _)| field.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }

    fn body(&self) -> &str {
        let (_, body) = self.text().split_once("\r\n\r\n").expect("a whole head");
        body
    }
}

async fn hear(stream: &mut TcpStream) -> Heard {
    let mut bytes = Vec::new();
    let end = within(stream.read_to_end(&mut bytes)).await;
    Heard {
        bytes,
        end: end.map(|_| ()).map_err(|error| error.kind()),
    }
}

async fn send(address: SocketAddr, method: &str, target: &str, key: &str, body: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    let key = match key {
        "" => String::new(),
        key => format!("x-idempotency-key: {key}\r\n"),
    };
    let length = body.len();
    let request = format!(
        "{method} {target} HTTP/1.1\r\nhost: bank\r\nauthorization: Bearer good\r\n{key}\
         content-length: {length}\r\nconnection: close\r\n\r\n{body}"
    );
    let sent = stream.write_all(request.as_bytes()).await;
    sent.expect("the request goes out");
    stream
}

async fn exchange(address: SocketAddr, method: &str, target: &str, key: &str, body: &str) -> Heard {
    hear(&mut send(address, method, target, key, body).await).await
}

#[tokio::test]
async fn an_operation_is_answered_201_and_listed() {
    let bank = Running::start("").await;
    let heard = bank.pay("k", "EMP-1").await;
    assert_eq!((heard.status(), heard.body()), (201, ""));
    assert_eq!(heard.header("date"), Some("Fri, 15 Jan 2027 08:00:00 GMT"));
    assert_eq!(heard.header("content-length"), Some("0"));
    assert_eq!(heard.header("content-type"), None);
    let target = format!("{CARD}?performed_at%5Bfrom%5D=2027-01-15T08%3A00%3A00Z");
    let list = exchange(bank.address, "GET", &target, "", "").await;
    assert_eq!(list.status(), 200);
    assert!(list.body().contains(r#""entity_id":"EMP-1""#), "{list:?}");
    bank.stop().await;
}

#[tokio::test]
async fn a_reply_lost_after_applying_is_no_byte_and_one_movement() {
    let bank = Running::start("lost=100%").await;
    for n in 0..20 {
        let heard = bank.pay(&format!("k{n}"), &format!("EMP-{n}")).await;
        assert!(heard.bytes.is_empty(), "{heard:?}");
    }
    let report = bank.report().await;
    assert_eq!(report.entities.len(), 20);
    assert_eq!(report.moved_more_than_once().count(), 0);
    bank.tell("");
    assert_eq!(bank.pay("k1", "EMP-1").await.status(), 201);
    assert_eq!(bank.report().await.movements("EMP-1"), 1);
    bank.stop().await;
}

#[tokio::test]
async fn a_reset_is_a_reset_and_nothing_is_applied() {
    let bank = Running::start("reset=100%").await;
    let heard = bank.pay("k", "EMP-1").await;
    assert!(heard.bytes.is_empty());
    assert_eq!(heard.end, Err(ErrorKind::ConnectionReset));
    let report = bank.report().await;
    assert_eq!((report.movements("EMP-1"), report.faults["reset"]), (0, 1));
    bank.stop().await;
}

#[tokio::test]
async fn a_cut_answer_is_cut_at_the_very_byte() {
    let bank = Running::start("").await;
    let whole = bank.pay("whole", "EMP-0").await;
    bank.tell("cut=100%");
    let mut lengths = std::collections::BTreeSet::new();
    for n in 0..40 {
        let heard = bank.pay(&format!("k{n}"), &format!("EMP-{n}")).await;
        assert_eq!(heard.end, Ok(()), "an orderly end");
        assert!(whole.bytes.starts_with(&heard.bytes), "{heard:?}");
        assert!((1..whole.bytes.len()).contains(&heard.bytes.len()));
        lengths.insert(heard.bytes.len());
    }
    assert!(lengths.len() > 10, "{lengths:?}");
    assert_eq!(bank.report().await.movements("EMP-39"), 1);
    bank.stop().await;
}

#[tokio::test]
async fn a_hanging_answer_never_comes_and_does_not_hold_up_the_stop() {
    let bank = Running::start("hang=100%").await;
    let mut stream = send(bank.address, "POST", CARD, "k", BODY).await;
    bank.until_seen(1).await;
    assert_eq!(bank.report().await.movements("EMP-1"), 1);
    bank.stop().await;
    assert!(hear(&mut stream).await.bytes.is_empty());
}

#[tokio::test]
async fn an_outage_refuses_connections_and_the_port_comes_back() {
    let bank = Running::start("hang=100%").await;
    let mut waiting = send(bank.address, "POST", CARD, "k", BODY).await;
    let mut idle = TcpStream::connect(bank.address).await.expect("open");
    bank.until_seen(1).await;
    // The idle connection is taken before the door shuts once a later one has been answered.
    assert_eq!(bank.report().await.requests.operations, 1);
    bank.bank.set_out(true);
    for stream in [&mut waiting, &mut idle] {
        let heard = hear(stream).await;
        assert_eq!(heard.end, Err(ErrorKind::ConnectionReset));
        assert!(heard.bytes.is_empty());
    }
    for _ in 0..10 {
        let error = TcpStream::connect(bank.address).await.expect_err("shut");
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    }
    bank.bank.set_out(false);
    bank.tell("");
    bank.until_open().await;
    assert_eq!(bank.pay("k", "EMP-1").await.status(), 201);
    assert_eq!(bank.report().await.movements("EMP-1"), 1);
    bank.stop().await;
}

#[tokio::test]
async fn an_outage_of_the_specification_begins_and_ends_by_the_clock() {
    let bank = Running::start("outage=10s+120s").await;
    assert_eq!(bank.pay("k", "EMP-1").await.status(), 201);
    let mut idle = TcpStream::connect(bank.address).await.expect("open");
    assert_eq!(bank.pay("l", "EMP-2").await.status(), 201);
    bank.clock.advance(Duration::from_secs(10));
    let heard = hear(&mut idle).await;
    assert_eq!(heard.end, Err(ErrorKind::ConnectionReset));
    let error = TcpStream::connect(bank.address).await.expect_err("shut");
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    bank.clock.advance(Duration::from_secs(120));
    bank.until_open().await;
    assert_eq!(bank.pay("m", "EMP-3").await.status(), 201);
    bank.stop().await;
}

#[tokio::test]
async fn a_stop_during_an_outage_is_a_stop() {
    let bank = Running::start("").await;
    let mut idle = TcpStream::connect(bank.address).await.expect("open");
    assert_eq!(bank.pay("k", "EMP-1").await.status(), 201);
    bank.bank.set_out(true);
    assert!(hear(&mut idle).await.end.is_err());
    bank.stop().await;
}

#[tokio::test]
async fn an_answer_in_the_making_is_given_before_the_stop() {
    let bank = Running::start("latency_ms=100").await;
    let mut stream = send(bank.address, "POST", CARD, "k", BODY).await;
    bank.until_seen(1).await;
    bank.stop().await;
    assert_eq!(hear(&mut stream).await.status(), 201);
}

#[tokio::test]
async fn retry_after_is_seconds_or_a_date() {
    let bank = Running::start("limit=100%,retry_after_s=0").await;
    let (mut seconds, mut dates) = (0, 0);
    for n in 0..30 {
        let heard = bank.pay(&format!("k{n}"), "EMP-1").await;
        assert_eq!(heard.status(), 429);
        match heard.header("retry-after").expect("a wait") {
            "0" => seconds += 1,
            date => {
                assert!(date.contains("08:00:00"), "{date}");
                dates += 1;
            }
        }
    }
    assert!(seconds > 0 && dates > 0, "{seconds} and {dates}");
    assert!(bank.report().await.entities.is_empty());
    bank.stop().await;
}

#[tokio::test]
async fn a_token_is_switched_off_and_on() {
    let bank = Running::start("").await;
    let switch = |body: &'static str| exchange(bank.address, "POST", "/_simulator/token", "", body);
    assert_eq!(switch(r#"{"accepted":false}"#).await.status(), 204);
    let heard = bank.pay("k", "EMP-1").await;
    assert_eq!(heard.status(), 401);
    assert!(heard.body().contains(r#""error_code":"expired_token""#));
    assert_eq!(switch(r#"{"accepted":true}"#).await.status(), 204);
    assert_eq!(bank.pay("k", "EMP-1").await.status(), 201);
    assert_eq!(switch("off").await.status(), 400);
    assert_eq!(switch("{}").await.status(), 400);
    assert_eq!(switch(r#"{"token":"another"}"#).await.status(), 204);
    assert_eq!(bank.pay("l", "EMP-2").await.status(), 401);
    bank.stop().await;
}

#[tokio::test]
async fn faults_are_set_while_it_runs() {
    let bank = Running::start("").await;
    let set = |spec: &'static str| exchange(bank.address, "POST", "/_simulator/faults", "", spec);
    assert_eq!(set("conflict=100%").await.status(), 204);
    assert_eq!(bank.pay("k", "EMP-1").await.status(), 409);
    let wrong = set("losst=5%").await;
    assert_eq!(wrong.status(), 400);
    assert!(wrong.body().contains("`losst` is no fault"), "{wrong:?}");
    assert_eq!(set("").await.status(), 204);
    assert_eq!(bank.pay("k", "EMP-1").await.status(), 201);
    bank.stop().await;
}

#[tokio::test]
async fn i11_a_body_beyond_its_bound_is_refused() {
    let bank = Running::start("").await;
    let large = "x".repeat(64 * 1024 + 1);
    let heard = exchange(bank.address, "POST", CARD, "k", &large).await;
    assert_eq!(heard.status(), 413, "{:?}", heard.end);
    let fits = "x".repeat(64 * 1024);
    let heard = exchange(bank.address, "POST", CARD, "l", &fits).await;
    assert_eq!(heard.status(), 400);
    bank.stop().await;
}

#[tokio::test]
async fn i1_many_at_once_through_every_fault_pay_once_each() {
    let bank = Arc::new(
        Running::start("error=10%,lost=10%,reset=10%,cut=10%,limit=10%,late=5%,late_ms=0").await,
    );
    let mut clients = JoinSet::new();
    for client in 0..16 {
        let bank = Arc::clone(&bank);
        clients.spawn(async move {
            for n in 0..20 {
                let id = format!("EMP-{client}-{n}");
                let mut tries = 0;
                while bank.pay(&id, &id).await.bytes.get(..12) != Some(b"HTTP/1.1 201") {
                    tries += 1;
                    assert!(tries < 100, "{id}");
                }
            }
        });
    }
    while let Some(client) = within(clients.join_next()).await {
        client.expect("no panic");
    }
    let report = bank.report().await;
    assert_eq!(report.entities.len(), 320);
    assert_eq!(report.moved_more_than_once().count(), 0);
    assert!(
        ["error", "lost", "reset", "cut", "limit", "late"]
            .iter()
            .all(|kind| report.faults[*kind] > 0)
    );
    Arc::into_inner(bank).expect("the only one").stop().await;
}
