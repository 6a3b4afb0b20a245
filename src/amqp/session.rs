//! One channel that consumes, from its first delivery to its last acknowledgement.
//!
//! *What it promises.* A delivery is taken once. What is done is acknowledged in runs, after a moment in
//! which others may join. A channel that is closed gives back the rest, in its order.
//!
//! *What it refuses to know.* Who asks, and what happens when the channel breaks.

use std::pin::Pin;
use std::time::Duration;

use futures_core::Stream as _;
use lapin::message::Delivery;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicNackOptions, BasicQosOptions};
use lapin::types::{FieldTable, ShortString};
use lapin::{Channel, Connection, Consumer};
use tokio::time::Instant;

use super::acks::Acks;
use super::broker::{ANSWER_LIMIT, open_channel, within};
use super::error::AmqpError;

/// The longest time for an acknowledgement to be written.
const ACK_LIMIT: Duration = Duration::from_secs(5);
/// An acknowledgement waits so long for others to go with it: only the prefetch feels it.
const ACK_DELAY: Duration = Duration::from_millis(5);

/// A channel and what was delivered on it.
pub(super) struct Session {
    channel: Channel,
    consumer: Option<Consumer>,
    stopped: bool,
    acks: Acks,
    /// Deliveries of another are not answered here.
    pub(super) generation: u64,
    /// How many messages may be unacknowledged; 0 where it takes none.
    pub(super) prefetch: u16,
    /// When acknowledgements that wait are sent.
    pub(super) flush_at: Option<Instant>,
}

impl Session {
    /// A channel that takes nothing yet.
    pub(super) async fn open(connection: &Connection, generation: u64) -> Result<Self, AmqpError> {
        Ok(Self {
            channel: open_channel(connection).await?,
            consumer: None,
            stopped: false,
            acks: Acks::default(),
            generation,
            prefetch: 0,
            flush_at: None,
        })
    }

    pub(super) fn is_up(&self) -> bool {
        self.channel.status().connected()
    }

    /// Whether the broker may send another message.
    pub(super) fn has_room(&self) -> bool {
        self.consumer.is_some() && self.acks.len() < usize::from(self.prefetch)
    }

    /// The next delivery; never where nothing is consumed, none where the stream has ended. Safe to drop
    /// while it waits.
    pub(super) async fn next(&mut self) -> Option<lapin::Result<Delivery>> {
        let consumer = self.consumer.as_mut().filter(|_| !self.stopped);
        next_of(consumer).await
    }

    /// A delivery that somebody will answer.
    pub(super) fn came(&mut self, delivery: &Delivery) {
        self.acks.came(delivery.delivery_tag);
    }

    /// It is done: it is acknowledged soon.
    pub(super) fn done(&mut self, tag: u64) {
        self.acks.done(tag);
        self.flush_at
            .get_or_insert_with(|| Instant::now() + ACK_DELAY);
    }

    /// It goes back to the queue now.
    pub(super) async fn give_back(&mut self, tag: u64) -> Result<(), AmqpError> {
        self.acks.gone(tag);
        let options = BasicNackOptions {
            multiple: false,
            requeue: true,
        };
        let given_back = self.channel.basic_nack(tag, options);
        within(ACK_LIMIT, "giving a message back", given_back).await
    }

    /// Acknowledges what is done.
    pub(super) async fn flush(&mut self) -> Result<(), AmqpError> {
        self.flush_at = None;
        for ack in self.acks.take() {
            let options = BasicAckOptions {
                multiple: ack.multiple,
            };
            let acknowledged = self.channel.basic_ack(ack.tag, options);
            within(ACK_LIMIT, "acknowledging", acknowledged).await?;
        }
        Ok(())
    }

    /// Closes the channel: the broker has everything that is not acknowledged again, in its order.
    pub(super) async fn close(&self) -> Result<(), AmqpError> {
        let closed = self.channel.close(200, "giving back".into());
        within(ANSWER_LIMIT, "giving back", closed).await
    }

    /// Takes messages of this queue. Where it has a single active consumer, as ours has, the first comes once
    /// whoever took some before has none of them any more.
    pub(super) async fn consume(&mut self, queue: &str, prefetch: u16) -> Result<(), AmqpError> {
        let set = self.channel.basic_qos(prefetch, BasicQosOptions::default());
        within(ANSWER_LIMIT, "setting the prefetch", set).await?;
        let consuming = self.channel.basic_consume(
            queue.into(),
            ShortString::default(),
            BasicConsumeOptions::default(),
            FieldTable::default(),
        );
        let doing = format!("consuming {queue}");
        self.consumer = Some(within(ANSWER_LIMIT, &doing, consuming).await?);
        self.prefetch = prefetch;
        Ok(())
    }

    /// Hands over nothing more; what was taken can still be answered. The consumer is not cancelled: the
    /// broker would then take back what is unanswered out of its order (measured, `tests/broker/order.rs`).
    /// What it still sends goes back when the channel closes.
    pub(super) fn stop(&mut self) {
        self.stopped = true;
        self.prefetch = 0;
    }
}

/// The library cancels a consumer that is dropped while its channel stands, which is never to be done
/// (see [`Session::stop`]): there it is left to the end of the connection.
impl Drop for Session {
    fn drop(&mut self) {
        if let Some(consumer) = self.consumer.take().filter(|_| self.is_up()) {
            std::mem::forget(consumer);
        }
    }
}

/// The next delivery; never where nothing is consumed. Safe to drop while it waits.
async fn next_of(consumer: Option<&mut Consumer>) -> Option<lapin::Result<Delivery>> {
    match consumer {
        Some(consumer) => {
            std::future::poll_fn(|context| Pin::new(&mut *consumer).poll_next(context)).await
        }
        None => std::future::pending().await,
    }
}
