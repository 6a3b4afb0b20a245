//! The simulated bank of a round: a process of its own, whose books judge.
//!
//! *What it promises.* Its lies change when they are told to; its books can be read whatever it lies.
//!
//! *What it refuses to know.* What is done to whoever calls it.

use std::io;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

use super::child::{Child, Life, Orders};
use crate::app::exit::{Exit, Failure};
use crate::simulator::Report;

/// It begins to listen within this time; on a machine under load a start takes seconds.
const START_LIMIT: Duration = Duration::from_secs(30);
/// How often it is looked at meanwhile.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// It answers the drill within this time, which may fall into an outage that was asked for.
const ANSWER_LIMIT: Duration = Duration::from_secs(60);
/// Between two tries.
const RETRY: Duration = Duration::from_millis(100);
/// The longest books: a row of some 400 bytes for each of the most jobs of a round, and as much again.
const BOOKS_MAX_BYTES: u64 = 128 * 1024 * 1024;

/// A simulated bank.
pub(super) struct Bank {
    child: Child,
    port: u16,
}

impl Bank {
    /// Starts one.
    pub(super) async fn start(orders: Orders) -> Result<Self, Failure> {
        let mut child = Child::start(orders)
            .context("the simulated bank could not be started")
            .map_err(unusable)?;
        let until = Instant::now() + START_LIMIT;
        loop {
            let said = child
                .said()
                .context("the simulated bank")
                .map_err(unusable)?;
            if let Some(port) = port_in(&said) {
                return Ok(Self { child, port });
            }
            let has_ended = child.life().is_ok_and(|life| life != Life::Runs);
            if has_ended || Instant::now() >= until {
                let words = child.last_words();
                return Err(unusable(anyhow!(
                    "the simulated bank did not start: {words}"
                )));
            }
            sleep(LOOK_EVERY).await;
        }
    }

    pub(super) const fn port(&self) -> u16 {
        self.port
    }

    /// Tells these lies from now on.
    pub(super) async fn lie(&self, lies: &str) -> Result<(), Failure> {
        self.exchange("POST", "faults", lies).await.map(drop)
    }

    /// What it has done so far.
    pub(super) async fn books(&self) -> Result<Report, Failure> {
        let body = self.exchange("GET", "report", "").await?;
        let read = Report::from_json(&body);
        read.ok_or_else(|| unusable(anyhow!("the books of the simulated bank could not be read")))
    }

    async fn exchange(&self, method: &str, what: &str, body: &str) -> Result<Vec<u8>, Failure> {
        let until = Instant::now() + ANSWER_LIMIT;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let exchanged = timeout(left, exchange(self.port, method, what, body)).await;
            match exchanged {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(_)) => sleep(RETRY).await,
                Err(_) => {
                    let words = self.child.last_words();
                    let error = anyhow!("the simulated bank does not answer the drill: {words}");
                    return Err(unusable(error));
                }
            }
        }
    }
}

fn unusable(error: anyhow::Error) -> Failure {
    Failure::new(Exit::Unusable, error)
}

/// The port in what it says when it listens.
fn port_in(said: &str) -> Option<u16> {
    let line = said.lines().find(|line| line.contains("http://"))?;
    // The line may be written only in part.
    let address = line.split("http://").nth(1)?.split_once(' ')?.0;
    address.rsplit(':').next()?.parse().ok()
}

/// One request on a connection of its own; the body of a good answer.
async fn exchange(port: u16, method: &str, what: &str, body: &str) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    let length = body.len();
    let request = format!(
        "{method} /_simulator/{what} HTTP/1.0\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream
        .take(BOOKS_MAX_BYTES)
        .read_to_end(&mut answer)
        .await?;
    body_of(answer).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// The body of an answer with a status of 2xx.
fn body_of(mut answer: Vec<u8>) -> Option<Vec<u8>> {
    let head_ends = answer.windows(4).position(|window| window == b"\r\n\r\n")?;
    let is_good = answer.get(8..10).is_some_and(|begin| begin == b" 2");
    is_good.then(|| answer.split_off(head_ends + 4))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_stands_in_what_it_says() {
        let said = "simulated bank on http://127.0.0.1:4711 (token: t)\n";
        assert_eq!(port_in(said), Some(4_711));
        assert_eq!(port_in("simulated bank on http://127.0.0.1:47"), None);
        assert_eq!(port_in(""), None);
    }

    #[test]
    fn only_a_good_answer_has_a_body() {
        let answer = |text: &str| body_of(text.as_bytes().to_vec());
        assert_eq!(
            answer("HTTP/1.0 200 OK\r\na: b\r\n\r\n{}"),
            Some(b"{}".to_vec())
        );
        assert_eq!(answer("HTTP/1.0 400 Bad\r\n\r\n{}"), None);
        assert_eq!(answer("HTTP/1.0 200 OK\r\n"), None);
    }
}
