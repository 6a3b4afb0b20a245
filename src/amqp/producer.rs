//! Jobs to their queue.
//!
//! *What it promises.* A job counts as handed over once the broker has confirmed it and has not returned
//! it. Nothing is declared: whoever only hands over jobs needs no more than the right to write.
//!
//! *What it refuses to know.* The order of jobs: one that must come after another is published once the
//! other is confirmed.

use super::broker::{ANSWER_LIMIT, Broker};
use super::error::AmqpError;
use super::message;
use super::publisher::{Publication, PublishError, Publisher};
use super::topology::{JOB_KEY, Topology};
use crate::domain::job::Job;
use crate::wire;
use crate::wire::envelope::Envelope;

/// Hands over jobs.
#[derive(Clone, Debug)]
pub struct Producer {
    publisher: Publisher,
    exchange: String,
}

impl Producer {
    /// Connects, once it has seen that there is an exchange for jobs.
    ///
    /// # Errors
    /// [`AmqpError`] where there is no connection or no exchange.
    pub async fn start(broker: &Broker) -> Result<Self, AmqpError> {
        let settings = broker.settings();
        let topology = Topology::new(&settings.names, settings.results_max_length);
        let connection = broker.connect("looking").await?;
        let found = topology.find_exchange(&connection, &settings.names.jobs_exchange);
        let found = found.await;
        let farewell = connection.close(200, "done".into());
        // What was seen stands, however the farewell goes.
        drop(tokio::time::timeout(ANSWER_LIMIT, farewell).await);
        found?;
        let mut settings = settings.clone();
        settings.declare = false;
        let exchange = settings.names.jobs_exchange.clone();
        Ok(Self {
            publisher: Publisher::start(Broker::new(settings)).await?,
            exchange,
        })
    }

    /// Publishes a job of this batch and line, which are its name among what is in flight.
    ///
    /// # Errors
    /// [`PublishError`] where it is not published, or not known to be.
    pub async fn publish(&self, job: &Job, batch_id: &str, line: u64) -> Result<(), PublishError> {
        let envelope = Envelope {
            batch_id: Some(batch_id.to_owned()),
            ..Envelope::default()
        };
        let message_id = format!("{batch_id}-{line}");
        let publication = Publication {
            exchange: self.exchange.clone(),
            routing_key: JOB_KEY.to_owned(),
            properties: message::of_job(&envelope, Some(line)).with_message_id(message_id.into()),
            body: wire::job::encode(job).into(),
        };
        self.publisher.publish(publication).await
    }
}
