//! The engine's bounds: every queue, wait and number of things at once, with its reason.
//!
//! *What it promises.* A [`Settings`] that [`Settings::check`] accepts keeps the relations between
//! bounds that the rules rely on.
//!
//! *What it refuses to know.* Where a value came from.

use std::num::NonZeroU32;
use std::time::Duration;

use crate::domain::key::Namespace;
use crate::domain::progress::Rules;

/// Jobs taken from the source and not yet answered, for each call at once: jobs between two
/// attempts hold no call, and a seventh of all calls being unclear must not stall the rest.
pub const IN_FLIGHT_PER_CALL: usize = 64;
/// Jobs in doubt at once; beyond it nothing new is begun, because a bank that leaves this many
/// open must be looked at, and each is held in memory (I11).
pub const MAX_IN_DOUBT: usize = 10_000;
/// Reads of the bank's list at once: asks go on beside calls and must not crowd them out.
pub const ASKS_AT_ONCE: usize = 4;
/// How long before the intent an ask looks back, for clocks that differ.
pub const ASK_LOOKBACK: Duration = Duration::from_secs(600);
/// The most that may be set: the cards of a streak are held in memory (I11).
const REFUSALS_IN_A_ROW_MAX: u32 = 10_000;
/// The most calls a second that may be set; a larger number is a slip of the finger.
const RATE_PER_SECOND_MAX: u32 = 10_000;
/// A mebibyte, in which people are told of room on a disk.
pub const MIB_BYTES: u64 = 1024 * 1024;
/// Event ids waiting to be marked as published: a few commits' worth.
pub const MARKS_WAITING: usize = 4_096;
/// Marks taken into one commit.
pub const MARKS_PER_COMMIT: usize = 1_024;
/// Jobs read from the ledger at once when a start recovers.
pub const RECOVERY_PAGE: usize = 512;
/// The shortest time for which any bank is known to remember an idempotency key; ours publishes
/// none. A resend that arrives later may be taken for a new request, and pay twice.
pub const SHORTEST_KEY_LIFETIME: Duration = Duration::from_secs(30 * 60);
/// The most calls at once that may be set: beyond it a process has no connections left.
const CONCURRENCY_MAX: usize = 1_024;
/// The most jobs in flight that may be set: each is held in memory, some KiB with its task.
const IN_FLIGHT_MAX: usize = CONCURRENCY_MAX * IN_FLIGHT_PER_CALL;
/// The longest wait that may be set; a longer one is a slip of the finger.
const WAIT_MAX: Duration = Duration::from_secs(86_400);
/// Panics after which a job is poison.
pub const POISON_PANICS: u32 = 3;
/// Panics after which a job takes no further task: even ending it as poison panics.
pub const PARKING_PANICS: u32 = 6;
/// Jobs that the ledger holds at once; beyond it nothing new is taken from the source, which keeps it
/// just as well: so many need a look, and each costs a row of some 600 bytes on the disk (I11).
pub const MAX_HELD: u64 = 100_000;
/// A lane is full when so large a part of what may be in flight waits in it: one card must not take
/// the room of all others.
pub const LANE_PARTS: usize = 8;
/// A pause that lasts longer gives what was taken back to its source: the source must not wait for
/// its answers for as long as a bank may be down.
pub const GIVE_BACK_AFTER: Duration = Duration::from_secs(60);
/// How many looks for deliveries that have become too old fit into the time that they may take.
pub const AGE_LOOKS: u32 = 20;
/// Outcomes that are durable and that nobody has published for so long are published by whoever can.
pub const PUBLISH_OVERDUE: Duration = Duration::from_secs(30);
/// Requests of people taken at once: more than people type in a moment; the rest wait in the
/// ledger.
pub const REQUESTS_AT_ONCE: usize = 64;
/// How often the ledger is looked at for requests: the design promises an answer within a second.
pub const REQUESTS_EVERY: Duration = Duration::from_millis(500);
/// A stop waits so long for the confirm of what is being published: far longer than a broker takes that
/// takes publications at all.
pub const CONFIRM_AT_STOP: Duration = Duration::from_secs(5);
/// A stop waits so long for its source to take back what it offered, which comes on top of what finishing
/// takes.
pub const SOURCE_AT_STOP: Duration = Duration::from_secs(5);
/// Jobs that people want run again and that are on their way at once: each reads the bank's list first,
/// a few at a time, and other jobs need room too (I11).
pub const REDRIVES_AT_ONCE: usize = 16;
/// More that wait for those: one command asks for a thousand.
pub const REDRIVES_WAITING: usize = 10_000;
/// First wait before an outcome that was not confirmed is published again.
pub const PUBLISH_RETRY: Duration = Duration::from_secs(1);
/// Longest wait before it is.
pub const PUBLISH_RETRY_MAX: Duration = Duration::from_secs(30);

/// What holds a card shut behind a job in doubt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fence {
    /// The card opens, loudly, when only a person can decide about the job in doubt.
    UntilPersonNeeded,
    /// The card stays shut until the job in doubt is settled.
    UntilSettled,
}

/// When a run of the engine ends by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// When the source is dry and every job is answered, except those in doubt that need longer
    /// than the first four asks, half an hour of failed ones, or three clean starts: what waits
    /// behind these is given back.
    WhenDry,
    /// Only when it is stopped.
    WhenStopped,
}

/// What waits too long does not stay with its source.
#[derive(Clone, Copy, Debug)]
pub struct Holding {
    /// How long a delivery is kept open before the ledger takes its job over.
    pub hold_max: Duration,
    /// After how long a pause gives back what was taken: see [`GIVE_BACK_AFTER`].
    pub give_back_after: Duration,
}

/// The engine's settings.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Whose keys these are.
    pub namespace: Namespace,
    /// The rules of a job's way.
    pub rules: Rules,
    /// Calls of the bank at once.
    pub concurrency: usize,
    /// Jobs taken from the source and not yet answered.
    pub in_flight: usize,
    /// See [`Fence`].
    pub fence: Fence,
    /// See [`Ending`].
    pub ending: Ending,
    /// Between two probes of a bank that the flow waits for.
    pub probe_every: Duration,
    /// Refusals in a row for one reason that hold the flow; 0 for never.
    pub refusals_in_a_row: u32,
    /// Calls a second, where they are bounded.
    pub rate_per_second: Option<NonZeroU32>,
    /// What the disk of the ledger must keep free; 0 for nothing.
    pub min_free_bytes: u64,
    /// How long a shutdown waits for calls under way.
    pub drain: Duration,
    /// Whether the ledger takes over what must wait; none where it stays with its source.
    pub holding: Option<Holding>,
}

impl Settings {
    /// Every relation between bounds that does not hold, in words.
    #[must_use]
    pub fn check(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let mut require = |holds: bool, fault: &str| {
            if !holds {
                faults.push(fault.to_owned());
            }
        };
        require(
            (1..=CONCURRENCY_MAX).contains(&self.concurrency),
            "engine.concurrency must be 1 to 1024",
        );
        require(
            self.in_flight >= self.concurrency.saturating_mul(4),
            "engine.in_flight must be at least 4 times engine.concurrency",
        );
        require(
            self.in_flight <= IN_FLIGHT_MAX,
            "engine.in_flight must be at most 65536",
        );
        require(
            self.rules.max_attempts >= 1,
            "engine.max_attempts must be at least 1",
        );
        require(
            (Duration::from_millis(1)..=WAIT_MAX).contains(&self.rules.backoff_base),
            "engine.backoff_base_ms must be 1 to 86400000",
        );
        require(
            self.rules.resend_window < SHORTEST_KEY_LIFETIME,
            "engine.resend_window_s must be less than 1800: later the bank may have forgotten the \
             idempotency key, and a resend could pay twice",
        );
        let in_seconds = Duration::from_secs(1)..=WAIT_MAX;
        require(
            in_seconds.contains(&self.rules.asks.settle_delay()),
            "engine.settle_delay_s must be 1 to 86400",
        );
        require(
            in_seconds.contains(&self.probe_every),
            "engine.probe_every_s must be 1 to 86400: it also keeps a bank in trouble from being \
             flooded with reads",
        );
        require(
            self.refusals_in_a_row <= REFUSALS_IN_A_ROW_MAX,
            "engine.refusals_in_a_row must be 0 (off) to 10000",
        );
        require(
            self.rate_per_second
                .is_none_or(|rate| rate.get() <= RATE_PER_SECOND_MAX),
            "engine.rate_per_second must be 1 to 10000",
        );
        require(
            self.holding.is_none_or(|holding| {
                holding.hold_max >= self.rules.resend_window
                    && in_seconds.contains(&holding.hold_max)
            }),
            "engine.hold_max_s must be 1 to 86400 and at least engine.resend_window_s",
        );
        require(
            in_seconds.contains(&self.drain),
            "engine.drain_s must be 1 to 86400",
        );
        faults
    }
}
