//! Floor 3: RabbitMQ, and the only lapin.
//!
//! *What this is.* [`broker`]: where RabbitMQ is and how a connection is made. [`topology`]: queues,
//! exchanges and bindings, declared, checked and shown. [`source`]: jobs from their queue, through a
//! [`session`] on a connection with the [`lock`]. [`sink`]: outcomes to theirs, and dead letters.
//! [`producer`]: jobs to their queue. [`publisher`]: confirmed publishing. [`message`]: what stands in
//! a message besides its body. [`acks`]: which deliveries may be acknowledged together. [`rehearsal`]:
//! queues of a drill's own, filled, read to their end and removed.
//!
//! *What it promises.* Two connections, one consuming and one publishing, because a broker that is
//! short of memory stops every frame of a connection that publishes, acknowledgements too. Each is
//! supervised: it is rebuilt with backoff, and what was delivered on the old one is void, by its
//! generation. Every wait for the broker has an end. A publication counts only once it is confirmed
//! and was not returned.
//!
//! *What it refuses to know.* Jobs, verdicts, the ledger.

pub mod acks;
pub mod broker;
pub mod error;
mod lock;
pub mod message;
pub mod producer;
pub mod publisher;
pub mod rehearsal;
mod session;
pub mod sink;
pub mod source;
pub mod topology;

pub use self::broker::{Broker, BrokerSettings, Link};
pub use self::error::AmqpError;
pub use self::producer::Producer;
pub use self::publisher::{PublishError, Publisher};
pub use self::rehearsal::Rehearsal;
pub use self::sink::QueueSink;
pub use self::source::QueueSource;
pub use self::topology::{Names, Topology};
