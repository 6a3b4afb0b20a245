//! A worker with everything around it: a broker, a simulated bank, a ledger.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use lapin::BasicProperties;
use tanda::amqp::Names;

use super::program::{Desk, SimulatorProcess, Started, exits};
use super::queues::{Client, Message};

/// Names of queues that no other test uses.
pub(crate) fn names() -> Names {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let number = COUNT.fetch_add(1, Ordering::SeqCst);
    let named = |what: &str| format!("t{number}.{what}");
    Names {
        jobs_exchange: named("jobs"),
        jobs_queue: named("jobs"),
        results_exchange: named("results"),
        results_queue: named("results"),
        dead_exchange: named("dead"),
        dead_queue: named("dead"),
    }
}

/// Everything that a worker needs.
pub(crate) struct Stage {
    pub(crate) desk: Desk,
    pub(crate) bank: SimulatorProcess,
    pub(crate) names: Names,
    url: String,
}

impl Stage {
    /// With a bank that deals these faults, and the broker at this URL.
    pub(crate) fn new(url: &str, faults: &str) -> Self {
        let bank = SimulatorProcess::start(faults);
        let mut desk = Desk::at(&bank.url);
        let names = names();
        for (setting, value) in [
            ("URL", url),
            ("JOBS_EXCHANGE", &names.jobs_exchange),
            ("JOBS_QUEUE", &names.jobs_queue),
            ("RESULTS_EXCHANGE", &names.results_exchange),
            ("RESULTS_QUEUE", &names.results_queue),
            ("DEAD_EXCHANGE", &names.dead_exchange),
            ("DEAD_QUEUE", &names.dead_queue),
        ] {
            desk.set(&format!("TANDA_AMQP__{setting}"), value);
        }
        desk.set("TANDA_METRICS__LISTEN", "off");
        desk.set("TANDA_BANK__REQUEST_TIMEOUT_S", "5");
        desk.set("TANDA_BANK__CONNECT_TIMEOUT_S", "2");
        desk.set("TANDA_ENGINE__DRAIN_S", "10");
        Self {
            desk,
            bank,
            names,
            url: url.to_owned(),
        }
    }

    /// Starts a worker, and waits until it takes jobs.
    pub(crate) fn worker(&self) -> Started {
        let mut worker = Started::new(self.desk.command(&["worker"]));
        worker.until_it_says("taking jobs from");
        worker
    }

    /// A producer and consumer that the worker's troubles do not touch.
    pub(crate) async fn client(&self) -> Client {
        Client::at(&self.url).await
    }

    /// A worker's queues, made by one that is stopped again.
    pub(crate) fn make_queues(&self) {
        let (code, said) = self.worker().terminate();
        assert_eq!(code, Some(143), "{said}");
    }

    /// Publishes jobs.
    pub(crate) async fn publish(&self, client: &Client, jobs: &[Vec<u8>]) {
        let messages: Vec<_> = jobs.iter().map(|body| (body.clone(), json())).collect();
        client
            .publish_all(&self.names.jobs_exchange, &messages)
            .await;
    }

    /// The final outcomes of so many jobs, each event once.
    pub(crate) async fn finals(&self, client: &Client, count: usize) -> BTreeMap<String, Message> {
        let queue = &self.names.results_queue;
        let all = client
            .take_until(queue, |all| finals_of(all).len() >= count)
            .await;
        let finals = finals_of(&all);
        assert_eq!(finals.len(), count);
        finals
    }

    /// That nothing is left in the queue of jobs, once its figures have caught up.
    pub(crate) fn jobs_are_gone(&self, node: &super::node::Node) {
        let began = std::time::Instant::now();
        while node.depths().get(&self.names.jobs_queue) != Some(&(0, 0)) {
            let waited = began.elapsed();
            assert!(waited < Duration::from_secs(30), "{:?}", node.depths());
        }
    }

    /// That a command ends with this code.
    pub(crate) fn ends(&self, code: i32, arguments: &[&str]) -> String {
        let output = self.desk.tanda(arguments);
        exits(&output, code);
        super::program::said(&output)
    }
}

/// The final outcome of each job in these messages; two that differ are a failure.
pub(crate) fn finals_of(all: &[Message]) -> BTreeMap<String, Message> {
    let mut finals: BTreeMap<String, Message> = BTreeMap::new();
    for message in all {
        let json = message.json();
        let of_job = matches!(
            message.status().as_str(),
            "succeeded" | "rejected" | "not_sent"
        );
        if json.get("final") != Some(&true.into()) || !of_job {
            continue;
        }
        if let Some(before) = finals.insert(message.entity_id(), message.clone()) {
            assert_eq!(before.body, message.body, "I4: the same bytes");
        }
    }
    finals
}

/// The properties of a job's message.
pub(crate) fn json() -> BasicProperties {
    BasicProperties::default()
        .with_type("tanda.job.v1".into())
        .with_content_type("application/json".into())
}

/// A job of this amount on the card of this number.
pub(crate) fn job(entity_id: &str, card: usize, minor: u64) -> Vec<u8> {
    format!(
        r#"{{"entity_id":"{entity_id}","card_id":"car_{card:022}","operation":"topup","amount":{{"amount":{minor},"currency":"COP"}}}}"#
    )
    .into_bytes()
}

/// So many jobs `J-0`, `J-1`, … over so many cards.
pub(crate) fn jobs(count: usize, cards: usize) -> Vec<Vec<u8>> {
    (0..count)
        .map(|number| job(&format!("J-{number}"), number % cards, 1_000))
        .collect()
}
