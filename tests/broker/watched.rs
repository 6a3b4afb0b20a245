//! What a worker says of itself while something holds the flow.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use crate::support::PATIENCE;
use crate::support::node::shared;
use crate::support::program::Started;
use crate::support::stage::{Stage, jobs};

/// An address that nothing listens on.
fn free_address() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").to_string()
}

/// What is said at this path: status and body; nothing where nobody listens.
fn got(address: &str, path: &str) -> String {
    let Ok(mut stream) = TcpStream::connect(address) else {
        return String::new();
    };
    let request = format!("GET {path} HTTP/1.0\r\n\r\n");
    let mut said = String::new();
    let asked = stream.write_all(request.as_bytes());
    // One that closes early has said nothing.
    if asked.is_err() || stream.read_to_string(&mut said).is_err() {
        return String::new();
    }
    said
}

/// Waits until this is said at this path.
async fn until(address: &str, path: &str, text: &str) {
    let began = Instant::now();
    let mut looks = tokio::time::interval(Duration::from_millis(50));
    loop {
        looks.tick().await;
        let said = got(address, path);
        if said.contains(text) {
            return;
        }
        assert!(began.elapsed() < PATIENCE, "{text}: {said}");
    }
}

/// F29: a token that expires in mid-run holds the flow, which readiness and the metrics say; a new one
/// lets it go on, and no job is the worse for it.
#[tokio::test(flavor = "multi_thread")]
async fn f29_a_token_that_expires_holds_the_flow_and_a_new_one_resumes_it() {
    let mut stage = Stage::new(&shared().url(), "latency_ms=20");
    let address = free_address();
    let token = stage.desk.write_secret("token", "simulated\n");
    stage.desk.unset("TANDA_BANK__TOKEN");
    stage.desk.set("TANDA_BANK__TOKEN_FILE", &token);
    stage.desk.set("TANDA_METRICS__LISTEN", &address);
    stage.desk.set("TANDA_ENGINE__PROBE_EVERY_S", "1");
    let mut worker = stage.worker();
    let client = stage.client().await;
    until(&address, "/readyz", " 200 ").await;
    stage.publish(&client, &jobs(400, 40)).await;
    worker.until_paid(&stage.bank, 40);
    stage.bank.order("token", r#"{"token":"renewed"}"#);
    worker.until_it_says("the bank refuses the token (401)");
    until(&address, "/readyz", "\r\n\r\npaused").await;
    let paused = r#"tanda_paused{cause="credential_refused"} 1"#;
    until(&address, "/metrics", paused).await;
    until(&address, "/livez", " 200 ").await;
    stage.desk.write_secret("token", "renewed\n");
    until(&address, "/readyz", " 200 ").await;
    let finals = stage.finals(&client, 400).await;
    assert!(finals.values().all(|it| it.status() == "succeeded"));
    assert_eq!(stage.bank.paid_once(), 400);
    until(&address, "/metrics", "tanda_in_doubt_jobs 0").await;
    let (code, said) = worker.terminate();
    assert_eq!(code, Some(143), "{said}");
    assert!(!said.contains("in doubt"), "{said}");
}

/// A worker that waits for the bank at its start says so, and takes no job before it answers.
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_waits_for_the_bank_to_start_says_so() {
    let mut stage = Stage::new(&shared().url(), "");
    let address = free_address();
    stage.desk.set("TANDA_METRICS__LISTEN", &address);
    stage.desk.set("TANDA_BANK__BASE_URL", "http://127.0.0.1:1");
    let mut worker = Started::new(stage.desk.command(&["worker"]));
    worker.until_it_says("waiting for http://127.0.0.1:1");
    until(&address, "/metrics", r#"tanda_paused{cause="starting"} 1"#).await;
    until(&address, "/readyz", "\r\n\r\nstarting").await;
    until(&address, "/startupz", " 503 ").await;
    let (code, said) = worker.terminate();
    assert_eq!(code, Some(143), "{said}");
}
