//! What settings must be to each other.
//!
//! *What it promises.* Each relation says what must hold and why, for people.
//!
//! *What it refuses to know.* Where values come from, and what any one of them may be.

use super::Config;
use crate::engine::settings::SHORTEST_KEY_LIFETIME;

/// A relation between settings.
pub(super) struct Relation {
    pub(super) names: &'static [&'static str],
    pub(super) holds: fn(&Config) -> bool,
    /// What must hold, and why.
    pub(super) says: &'static str,
}

/// What every command asks for.
pub(super) const RELATIONS: &[Relation] = &[
    Relation {
        names: &["bank.token", "bank.token_file"],
        holds: |config| config.bank.token.is_none() || config.bank.token_file.is_none(),
        says: "bank.token and bank.token_file are both set: remove one, so that it is plain which \
               token is used",
    },
    Relation {
        names: &["bank.connect_timeout_s", "bank.request_timeout_s"],
        holds: |config| config.bank.connect_timeout_s < config.bank.request_timeout_s,
        says: "bank.connect_timeout_s must be less than bank.request_timeout_s",
    },
    Relation {
        names: &["engine.drain_s", "bank.request_timeout_s"],
        holds: |config| config.engine.drain_s > config.bank.request_timeout_s,
        says: "engine.drain_s must be more than bank.request_timeout_s, so that a stop can wait \
               for a call under way",
    },
    Relation {
        names: &["engine.resend_window_s", "bank.request_timeout_s"],
        holds: |config| {
            let last_resend_ends = config
                .engine
                .resend_window_s
                .saturating_add(config.bank.request_timeout_s);
            last_resend_ends < SHORTEST_KEY_LIFETIME.as_secs()
        },
        says: "engine.resend_window_s and bank.request_timeout_s together must be less than 1800: \
               later the bank may have forgotten the idempotency key, and a resend could pay twice",
    },
    Relation {
        names: &["amqp.url", "amqp.url_file"],
        holds: |config| config.amqp.url.is_none() || config.amqp.url_file.is_none(),
        says: "amqp.url and amqp.url_file are both set: remove one, so that it is plain which \
               broker is used",
    },
    Relation {
        names: &["engine.in_flight", "engine.concurrency"],
        holds: |config| {
            let least = config.engine.concurrency.saturating_mul(4);
            config.engine.in_flight.is_none_or(|most| most >= least)
        },
        says: "engine.in_flight must be at least 4 times engine.concurrency",
    },
];

/// What the worker asks for besides: other commands do without what it is about.
pub(super) const WORKER_RELATIONS: &[Relation] = &[
    Relation {
        names: &["engine.hold_max_s", "engine.resend_window_s"],
        holds: |config| config.engine.hold_max_s >= config.engine.resend_window_s,
        says: "engine.hold_max_s must be at least engine.resend_window_s",
    },
    Relation {
        names: &["engine.hold_max_s", "amqp.consumer_timeout_s"],
        holds: |config| {
            let least = config.engine.hold_max_s.saturating_mul(3);
            config.amqp.consumer_timeout_s >= least
        },
        says: "engine.hold_max_s must be at most a third of amqp.consumer_timeout_s: later the \
               broker may take back what is being worked on",
    },
    Relation {
        names: &["amqp.prefetch", "engine.concurrency"],
        holds: |config| {
            let least = config.engine.concurrency.saturating_mul(4);
            usize::from(config.amqp.prefetch) >= least
        },
        says: "amqp.prefetch must be at least 4 times engine.concurrency",
    },
];
