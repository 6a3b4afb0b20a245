//! The loop that the worker is compared with: take, pay, publish, acknowledge, and nothing else.

use std::collections::BTreeSet;
use std::pin::Pin;
use std::process::{Command, Stdio};
use std::sync::Arc;

use futures_core::Stream as _;
use lapin::message::Delivery;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions,
    ConfirmSelectOptions,
};
use lapin::types::{FieldTable, ShortString};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties, Consumer};
use serde::Deserialize;
use tanda::amqp::Names;
use tanda::domain::job::EntityId;
use tanda::domain::key::{Generation, IdempotencyKey, Namespace};
use tanda::wire::bank::{KEY_HEADER, Money, OperationRequest};
use tanda::wire::outcome::{BankWords, OutcomeMessage};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;

use crate::{CALLS, PREFETCH};

/// The argument by which this program becomes the loop.
pub(crate) const WORD: &str = "bare-loop";
const TOKEN: &str = "simulated";

/// The loop as a process, with this broker and this bank.
pub(crate) fn command(broker: &str, names: &Names, bank: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("a path"));
    command
        .args([
            WORD,
            broker,
            &names.jobs_queue,
            &names.results_exchange,
            bank,
        ])
        .env_clear()
        .stdin(Stdio::null());
    command
}

/// A job's message.
#[derive(Deserialize)]
struct JobMessage {
    entity_id: String,
    card_id: String,
    operation: String,
    amount: Money,
    description: Option<String>,
}

/// What every job needs.
struct Desk {
    http: reqwest::Client,
    bank: String,
    results: Channel,
    exchange: String,
    done: mpsc::Sender<u64>,
}

/// Goes on until it is killed.
pub(crate) async fn run(place: &[String]) {
    let [broker, jobs_queue, exchange, bank] = place else {
        panic!("{WORD} BROKER QUEUE EXCHANGE BANK");
    };
    let taking = connect(broker).await;
    let publishing = connect(broker).await;
    let jobs = taking.create_channel().await.expect("a channel");
    let results = publishing.create_channel().await.expect("a channel");
    let confirms = results.confirm_select(ConfirmSelectOptions::default());
    confirms.await.expect("confirms");
    let (done, tags) = mpsc::channel(usize::from(PREFETCH));
    let desk = Arc::new(Desk {
        http: http_client(),
        bank: bank.clone(),
        results,
        exchange: exchange.clone(),
        done,
    });
    let qos = jobs.basic_qos(PREFETCH, BasicQosOptions::default());
    qos.await.expect("a prefetch");

    eprintln!("taking jobs from {jobs_queue}");
    let options = BasicConsumeOptions::default();
    let consuming = jobs.basic_consume(
        jobs_queue.as_str().into(),
        ShortString::default(),
        options,
        FieldTable::default(),
    );
    let mut consumer = consuming.await.expect("the queue is there");
    let mut under_way = JoinSet::new();
    under_way.spawn(acknowledge(jobs, tags));
    let calls = Arc::new(Semaphore::new(CALLS));
    while let Some(delivery) = next(&mut consumer).await {
        let call = Arc::clone(&calls).acquire_owned().await.expect("open");
        let desk = Arc::clone(&desk);
        under_way.spawn(async move {
            let outcome = desk.pay(&delivery.data).await;
            drop(call);
            desk.publish(&outcome).await;
            desk.done
                .send(delivery.delivery_tag)
                .await
                .expect("somebody acknowledges");
        });
        while let Some(ended) = under_way.try_join_next() {
            ended.expect("a job is done");
        }
    }
}

/// The next message; none where there will be no more.
pub(crate) async fn next(consumer: &mut Consumer) -> Option<Delivery> {
    let next = std::future::poll_fn(|context| Pin::new(&mut *consumer).poll_next(context));
    next.await.map(|delivery| delivery.expect("a connection"))
}

impl Desk {
    /// Calls the bank; the outcome.
    async fn pay(&self, message: &[u8]) -> OutcomeMessage {
        let job: JobMessage = serde_json::from_slice(message).expect("a job");
        let key = key_of(&job.entity_id);
        let request = OperationRequest {
            amount: job.amount.clone(),
            description: job.description,
            entity_id: Some(job.entity_id.clone()),
            operation: job.operation.clone(),
        };
        let url = format!("{}/v1/cards/{}/prepaid/operations", self.bank, job.card_id);
        let call = self
            .http
            .post(url)
            .bearer_auth(TOKEN)
            .header(KEY_HEADER, &key)
            .header("content-type", "application/json")
            .body(serde_json::to_vec(&request).expect("it can be written"));
        let answer = call.send().await.expect("the bank answers");
        let http_status = answer.status();
        assert!(http_status.is_success(), "{http_status}");
        // Read to its end, so that the connection serves again.
        answer.bytes().await.expect("a whole answer");
        OutcomeMessage {
            schema: tanda::wire::outcome::SCHEMA.to_owned(),
            event_id: key.clone(),
            seq: 1,
            entity_id: Some(job.entity_id),
            card_id: Some(job.card_id),
            operation: Some(job.operation),
            amount: Some(job.amount),
            status: "succeeded".to_owned(),
            is_final: true,
            idempotency_key: Some(key),
            generation: Some(1),
            attempts: 1,
            bank: Some(BankWords {
                http_status: Some(http_status.as_u16()),
                ..BankWords::default()
            }),
            reason: None,
            batch_id: None,
            line: None,
            received_at: Some("2026-11-30T23:59:59.000Z".to_owned()),
            settled_at: "2026-11-30T23:59:59.000Z".to_owned(),
        }
    }

    /// Publishes, and waits until that is confirmed.
    async fn publish(&self, outcome: &OutcomeMessage) {
        let properties = BasicProperties::default()
            .with_delivery_mode(2)
            .with_content_type("application/json".into())
            .with_type(tanda::wire::outcome::SCHEMA.into())
            .with_message_id(outcome.event_id.as_str().into());
        let body = serde_json::to_vec(outcome).expect("it can be written");
        let sent = self.results.basic_publish(
            self.exchange.as_str().into(),
            outcome.status.as_str().into(),
            BasicPublishOptions::default(),
            &body,
            properties,
        );
        let confirm = sent.await.expect("published").await.expect("confirmed");
        assert!(confirm.is_ack(), "{confirm:?}");
    }
}

/// Acknowledges in runs: each time all that is done below the first that is not.
async fn acknowledge(jobs: Channel, mut tags: mpsc::Receiver<u64>) {
    let mut some = Vec::new();
    let mut done = BTreeSet::new();
    let mut first_open = 1;
    while tags.recv_many(&mut some, usize::from(PREFETCH)).await > 0 {
        done.extend(some.drain(..));
        let before = first_open;
        while done.remove(&first_open) {
            first_open += 1;
        }
        if first_open > before {
            let acked = jobs.basic_ack(first_open - 1, BasicAckOptions { multiple: true });
            acked.await.expect("a connection");
        }
    }
}

async fn connect(broker: &str) -> Connection {
    let connected = Connection::connect(broker, ConnectionProperties::default());
    connected.await.expect("the broker answers")
}

fn key_of(entity_id: &str) -> String {
    let entity_id = EntityId::parse(entity_id).expect("an entity_id");
    IdempotencyKey::derive(&Namespace::default(), &entity_id, Generation::FIRST).to_string()
}

/// As the worker's, as far as it matters here.
fn http_client() -> reqwest::Client {
    let provider = rustls::crypto::ring::default_provider();
    provider.install_default().expect("it is the first");
    let tls = rustls::ClientConfig::builder()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    let builder = reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .no_proxy()
        .http1_only()
        .pool_max_idle_per_host(CALLS);
    builder.build().expect("a client")
}
