//! Outcomes to their queue, dead letters to theirs.
//!
//! *What it promises.* An outcome of a job from the queue counts as published once both its message
//! and, where it has one, its letter are confirmed. Whoever asked for a reply gets a copy, as a
//! courtesy that nothing waits for. Outcomes of files are read from the ledger and need nothing here.
//!
//! *What it refuses to know.* When to publish again.

use async_trait::async_trait;
use lapin::types::ShortString;

use super::message;
use super::publisher::{Publication, PublishError, Publisher};
use super::topology::Names;
use crate::engine::ports::{Letter, Origin, Sink, SinkError, StoredOutcome};
use crate::telemetry;

/// Publishes outcomes.
#[derive(Debug)]
pub struct QueueSink {
    publisher: Publisher,
    names: Names,
}

impl QueueSink {
    /// Publishes through this.
    #[must_use]
    pub fn new(publisher: Publisher, names: Names) -> Self {
        Self { publisher, names }
    }

    async fn publish_letter(
        &self,
        outcome: &StoredOutcome,
        letter: &Letter,
    ) -> Result<(), PublishError> {
        let letter = Publication {
            exchange: self.names.dead_exchange.clone(),
            routing_key: outcome.status.as_str().to_owned(),
            properties: message::of_letter(outcome, letter),
            body: letter.body.clone(),
        };
        self.publisher.publish(letter).await
    }

    async fn publish_outcome(&self, outcome: &StoredOutcome) -> Result<(), PublishError> {
        let properties = message::of_outcome(outcome);
        let body: std::sync::Arc<[u8]> = outcome.body.as_slice().into();
        if let Some(queue) = self.courtesy_of(outcome) {
            self.publisher
                .be_courteous(queue, properties.clone(), body.clone());
        }
        let publication = Publication {
            exchange: self.names.results_exchange.clone(),
            routing_key: outcome.status.as_str().to_owned(),
            properties,
            body,
        };
        self.publisher.publish(publication).await
    }

    /// The queue that wants a copy; never one of our own, which would go round in a circle.
    fn courtesy_of(&self, outcome: &StoredOutcome) -> Option<String> {
        let queue = outcome.envelope.reply_to.as_ref()?;
        let fits = ShortString::try_new(queue.as_str()).is_ok() && !self.names.is_ours(queue);
        fits.then(|| queue.clone())
    }
}

#[async_trait]
impl Sink for QueueSink {
    async fn publish(&self, outcome: &StoredOutcome) -> Result<(), SinkError> {
        if outcome.origin == Origin::File {
            return Ok(());
        }
        if let Some(letter) = &outcome.letter {
            self.publish_letter(outcome, letter).await.map_err(failed)?;
        }
        self.publish_outcome(outcome).await.map_err(failed)?;
        telemetry::OutcomePublished {
            entity_id: outcome.entity_id.as_ref(),
            status: outcome.status,
            replay: outcome.published,
        }
        .emit();
        Ok(())
    }
}

fn failed(error: PublishError) -> SinkError {
    SinkError {
        is_full: matches!(error, PublishError::Full { .. }),
        is_broken: matches!(error, PublishError::Unconfirmed(_)),
        source: error.into(),
    }
}
