//! Queues as producers and consumers have them.

use std::pin::Pin;
use std::time::Duration;

use futures_core::Stream as _;
use lapin::message::Delivery;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicGetOptions, BasicPublishOptions,
    ConfirmSelectOptions, QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties, Consumer};
use serde_json::Value;

/// A message as it was found.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    pub(crate) key: String,
    pub(crate) properties: BasicProperties,
    pub(crate) body: Vec<u8>,
}

impl Message {
    /// Its body as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("JSON")
    }

    /// A text of its body.
    pub(crate) fn text(&self, pointer: &str) -> String {
        let json = self.json();
        let text = json.pointer(pointer).and_then(Value::as_str);
        text.unwrap_or_default().to_owned()
    }

    pub(crate) fn entity_id(&self) -> String {
        self.text("/entity_id")
    }

    pub(crate) fn status(&self) -> String {
        self.text("/status")
    }

    /// A text among its headers.
    #[expect(clippy::wildcard_enum_match_arm, reason = "no other type is ours")]
    pub(crate) fn header(&self, name: &str) -> Option<String> {
        match self.properties.headers().as_ref()?.inner().get(name)? {
            AMQPValue::LongString(text) => Some(text.to_string()),
            AMQPValue::Boolean(is) => Some(is.to_string()),
            AMQPValue::LongInt(number) => Some(number.to_string()),
            other => panic!("{name}: {other:?}"),
        }
    }
}

/// What a consumer gets next; fails where that takes too long.
pub(crate) async fn next_of(consumer: &mut Consumer) -> Delivery {
    let next = std::future::poll_fn(|context| Pin::new(&mut *consumer).poll_next(context));
    let delivery = tokio::time::timeout(super::PATIENCE, next).await;
    delivery
        .expect("a message in time")
        .expect("a consumer that lives")
        .expect("a delivery")
}

/// A producer and a consumer.
pub(crate) struct Client {
    connection: Connection,
    pub(crate) channel: Channel,
}

impl Client {
    pub(crate) async fn at(url: &str) -> Self {
        let connection = Connection::connect(url, ConnectionProperties::default())
            .await
            .expect("the broker answers");
        let channel = connection.create_channel().await.expect("a channel");
        channel
            .confirm_select(ConfirmSelectOptions::default())
            .await
            .expect("confirms");
        Self {
            connection,
            channel,
        }
    }

    /// Publishes, confirmed and routed.
    pub(crate) async fn publish(&self, exchange: &str, body: &[u8], properties: BasicProperties) {
        self.publish_all(exchange, &[(body.to_vec(), properties)])
            .await;
    }

    /// Publishes all of these in their order, confirmed.
    pub(crate) async fn publish_all(&self, exchange: &str, all: &[(Vec<u8>, BasicProperties)]) {
        let mut confirms = Vec::new();
        for (body, properties) in all {
            let confirm = self.channel.basic_publish(
                exchange.into(),
                "job".into(),
                BasicPublishOptions::default(),
                body,
                properties.clone().with_delivery_mode(2),
            );
            confirms.push(confirm.await.expect("published"));
        }
        for confirm in confirms {
            assert!(confirm.await.expect("confirmed").is_ack());
        }
    }

    /// Takes the next message, if there is one.
    pub(crate) async fn take(&self, queue: &str) -> Option<Message> {
        let got = self
            .channel
            .basic_get(queue.into(), BasicGetOptions::default())
            .await
            .expect("the queue is there")?;
        let acked = got.delivery.acker.ack(BasicAckOptions::default()).await;
        assert!(acked.expect("acknowledged"));
        Some(Message {
            key: got.delivery.routing_key.as_str().to_owned(),
            properties: got.delivery.properties.clone(),
            body: got.delivery.data.clone(),
        })
    }

    /// How many messages are there to be taken.
    pub(crate) async fn count(&self, queue: &str) -> u32 {
        let options = QueueDeclareOptions {
            passive: true,
            ..QueueDeclareOptions::default()
        };
        let found = self
            .channel
            .queue_declare(queue.into(), options, FieldTable::default());
        found.await.expect("the queue is there").message_count()
    }

    /// Takes everything that is there of a queue of jobs, which can only be consumed.
    pub(crate) async fn drain_jobs(&self, queue: &str) -> Vec<Message> {
        let channel = self.connection.create_channel().await.expect("a channel");
        let options = BasicConsumeOptions {
            no_ack: true,
            ..BasicConsumeOptions::default()
        };
        let left = self.count(queue).await;
        let consuming =
            channel.basic_consume(queue.into(), "".into(), options, FieldTable::default());
        let mut consumer = consuming.await.expect("a consumer");
        let mut all = Vec::new();
        for _ in 0..left {
            let delivery = next_of(&mut consumer).await;
            all.push(Message {
                key: delivery.routing_key.as_str().to_owned(),
                properties: delivery.properties,
                body: delivery.data,
            });
        }
        let closed = channel.close(200, "taken".into());
        closed.await.expect("it closes");
        all
    }

    /// Takes everything that is there.
    pub(crate) async fn drain(&self, queue: &str) -> Vec<Message> {
        let mut all = Vec::new();
        while let Some(message) = self.take(queue).await {
            all.push(message);
        }
        all
    }

    /// Takes messages until this holds of all that were taken; fails where that takes too long.
    pub(crate) async fn take_until(
        &self,
        queue: &str,
        is_enough: impl Fn(&[Message]) -> bool,
    ) -> Vec<Message> {
        let mut all = Vec::new();
        let waiting = async {
            let mut looks = tokio::time::interval(Duration::from_millis(50));
            loop {
                all.extend(self.drain(queue).await);
                if is_enough(&all) {
                    return;
                }
                looks.tick().await;
            }
        };
        let waited = tokio::time::timeout(super::PATIENCE, waiting).await;
        if waited.is_err() {
            let told: Vec<_> = all.iter().map(|it| (it.entity_id(), it.status())).collect();
            panic!("{queue} has only {} messages: {told:?}", told.len());
        }
        all
    }
}
