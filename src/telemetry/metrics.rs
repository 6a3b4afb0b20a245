//! Counting: what has happened so far and what is open now, as Prometheus reads it.
//!
//! *What this is.* [`begin`] makes the counters of this process; from then on events count in them, and
//! [`render`] shows them. The only prometheus of the house.
//!
//! *What it promises.* Each label has a fixed set of words, and nearly all series are there from the
//! start, with 0: their number does not grow with jobs (S22), and nothing names a job or a card (I12).
//! Money is counted in whole minor units; that Prometheus itself reads every number as a double, which
//! is exact up to 2^53, is its own affair.
//!
//! *What it refuses to know.* Who reads it, and what anybody does about it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use prometheus::core::Collector;
use prometheus::{
    HistogramOpts, HistogramVec, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder,
};

use crate::domain::job::Job;
use crate::domain::money::{Currencies, Currency};
use crate::domain::operation::Operation;
use crate::domain::outcome::Status;
use crate::domain::verdict::UnclearCause;

/// What the text of [`render`] is, in HTTP's words.
pub const CONTENT_TYPE: &str = prometheus::TEXT_FORMAT;

/// Every metric, in the order of the text.
pub const NAMES: &[&str] = &[
    "tanda_alarms_total",
    "tanda_amount_minor_total",
    "tanda_bank_request_duration_seconds",
    "tanda_bank_retries_total",
    "tanda_breaker_open",
    "tanda_broker_connected",
    "tanda_build_info",
    "tanda_held_jobs",
    "tanda_in_doubt_amount_minor",
    "tanda_in_doubt_jobs",
    "tanda_in_flight",
    "tanda_jobs_total",
    "tanda_outcomes_published_total",
    "tanda_outcomes_unpublished",
    "tanda_paused",
    "tanda_person_needed_jobs",
    "tanda_queue_lag_seconds",
];

// ---- the words of labels ----------------------------------------------------------------------

const SOURCES: &[&str] = &["file", "queue"];
/// The operation of a message of which that could not be read.
const UNKNOWN: &str = "unknown";
const INVALID: &str = Status::Invalid.as_str();
/// A word of no set, and a currency that is not configured, or no longer. Its sums say that there is
/// something, not how much.
const OTHER: &str = "other";
pub(super) const STATUS_CLASSES: &[&str] = &["1xx", "2xx", "3xx", "4xx", "5xx", "other", "none"];
/// The causes of a deferral; those of an unclear attempt are listed where they are made.
const DEFERRALS: &[&str] = &[
    "credential_refused",
    "no_connection",
    "not_authorized",
    "rate_limited",
];
/// An attempt after it was proven that those before it were not executed.
const CLEAN_START: &str = "clean_start";
/// The cause of the breaker.
const BANK_NOT_ANSWERING: &str = "bank_not_answering";
const PAUSES: &[&str] = &[
    "starting",
    "rate_limited",
    "credential_refused",
    "not_authorized",
    "not_the_bank",
    BANK_NOT_ANSWERING,
    "mass_refusal",
    "disk_nearly_full",
    "person",
    "results_not_read",
];
pub(super) const PAID_MORE_THAN_ONCE: &str = "paid_more_than_once";
pub(super) const OTHER_CONTENT_LISTED: &str = "other_content_listed";
pub(super) const PERSON_NEEDED: &str = "person_needed";
const ALARMS: &[&str] = &[PAID_MORE_THAN_ONCE, OTHER_CONTENT_LISTED, PERSON_NEEDED];
/// The connections to RabbitMQ, which stands where both do.
const CONNECTIONS: &[&str] = &["consuming", "publishing"];

/// Upper bounds of the buckets of a call, in seconds: from a bank next door to the request timeout,
/// which is 30 s unless set otherwise.
const CALL_BUCKETS_S: &[f64] = &[
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
];

/// This word of a fixed set; none of them is [`OTHER`].
fn among<'a>(words: &[&'a str], word: &str) -> &'a str {
    words
        .iter()
        .copied()
        .find(|known| *known == word)
        .unwrap_or(OTHER)
}

const fn yes_or_no(yes: bool) -> &'static str {
    if yes { "true" } else { "false" }
}

// ---- of this process --------------------------------------------------------------------------

/// One for the process and no handle on it: what is scraped is a process, and events are told
/// everywhere, also where nothing is passed in.
static COUNTED: OnceLock<Metrics> = OnceLock::new();

/// From now on events count, in these currencies. Before it, and in commands that nobody scrapes, they
/// only log; it comes before the first connection and the first gate, whose state is told when it
/// changes.
pub fn begin(currencies: &Currencies) {
    COUNTED.get_or_init(|| Metrics::new(currencies));
}

/// All metrics as text of the type [`CONTENT_TYPE`]; empty before [`begin`].
#[must_use]
pub fn render() -> String {
    COUNTED.get().map_or_else(String::new, Metrics::render)
}

/// What is open, by the ledger.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OpenFigures {
    /// Jobs in doubt.
    pub in_doubt: u64,
    /// What these are about, in minor units of each currency.
    pub in_doubt_minor: BTreeMap<Currency, i128>,
    /// Jobs in doubt that only a person can decide.
    pub person_needed: u64,
    /// Jobs that the ledger holds behind others of their cards.
    pub held: u64,
    /// Durable outcomes that nobody has confirmed yet.
    pub unpublished: u64,
}

/// Shows what is open from now on, until the next time.
pub fn set_open(open: &OpenFigures) {
    count(|metrics| metrics.open(open));
}

/// Counts something, where this process counts.
pub(super) fn count(what: impl FnOnce(&Metrics)) {
    if let Some(metrics) = COUNTED.get() {
        what(metrics);
    }
}

/// One call of the bank, from its first byte until it has ended or was given up.
#[derive(Debug)]
pub struct CallUnderWay(Option<IntGauge>);

impl CallUnderWay {
    /// It begins; it is over when this is dropped, whatever became of its task.
    #[must_use]
    pub fn begin() -> Self {
        let in_flight = COUNTED.get().map(|metrics| metrics.calls.in_flight.clone());
        Self(in_flight.inspect(IntGauge::inc))
    }
}

impl Drop for CallUnderWay {
    fn drop(&mut self) {
        if let Some(in_flight) = &self.0 {
            in_flight.dec();
        }
    }
}

// ---- the counters -----------------------------------------------------------------------------

/// All metrics and where they are registered.
pub(super) struct Metrics {
    registry: Registry,
    currencies: BTreeSet<Currency>,
    retry_reasons: Vec<&'static str>,
    /// Which connections to RabbitMQ stand.
    connections: Mutex<BTreeSet<&'static str>>,
    outcomes: Outcomes,
    calls: Calls,
    flow: Flow,
    open: Open,
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

struct Outcomes {
    jobs: IntCounterVec,
    amounts: IntCounterVec,
    published: IntCounterVec,
    alarms: IntCounterVec,
}

impl Outcomes {
    fn new(of: &Makes<'_>) -> Self {
        Self {
            jobs: of.counters(
                "tanda_jobs_total",
                "Outcomes of this process, interim ones too; each copy of a message that is refused \
                 is one.",
                &["source", "operation", "outcome"],
            ),
            amounts: of.counters(
                "tanda_amount_minor_total",
                "What the jobs with these outcomes were about, in minor units.",
                &["operation", "currency", "outcome"],
            ),
            published: of.counters(
                "tanda_outcomes_published_total",
                "Outcomes that the broker has confirmed; replay: once more.",
                &["status", "replay"],
            ),
            alarms: of.counters(
                "tanda_alarms_total",
                "What a person must look at, each time it is found.",
                &["alarm"],
            ),
        }
    }
}

struct Calls {
    seconds: HistogramVec,
    retries: IntCounterVec,
    in_flight: IntGauge,
}

impl Calls {
    fn new(of: &Makes<'_>) -> Self {
        Self {
            seconds: of.histograms(
                "tanda_bank_request_duration_seconds",
                "How long calls of the bank took, by the class of the answer's status.",
                &["status_class"],
            ),
            retries: of.counters(
                "tanda_bank_retries_total",
                "Calls after the first of a job, by what the call before came to.",
                &["reason"],
            ),
            in_flight: of.gauge("tanda_in_flight", "Calls of the bank under way."),
        }
    }
}

struct Flow {
    paused: IntGaugeVec,
    breaker_open: IntGauge,
    broker_connected: IntGauge,
    queue_lag: IntGauge,
}

impl Flow {
    fn new(of: &Makes<'_>) -> Self {
        Self {
            paused: of.gauges(
                "tanda_paused",
                "1 for each cause that holds the flow now.",
                &["cause"],
            ),
            breaker_open: of.gauge(
                "tanda_breaker_open",
                "1 while the flow is held because the bank does not answer.",
            ),
            broker_connected: of.gauge(
                "tanda_broker_connected",
                "1 while both connections to RabbitMQ stand.",
            ),
            queue_lag: of.gauge(
                "tanda_queue_lag_seconds",
                "Age of the message received last, when it came; 0 once the queue was seen empty.",
            ),
        }
    }
}

struct Open {
    in_doubt: IntGauge,
    in_doubt_amounts: IntGaugeVec,
    person_needed: IntGauge,
    held: IntGauge,
    unpublished: IntGauge,
}

impl Open {
    fn new(of: &Makes<'_>) -> Self {
        Self {
            in_doubt: of.gauge("tanda_in_doubt_jobs", "Jobs that may have been executed."),
            in_doubt_amounts: of.gauges(
                "tanda_in_doubt_amount_minor",
                "What the jobs in doubt are about, in minor units.",
                &["currency"],
            ),
            person_needed: of.gauge(
                "tanda_person_needed_jobs",
                "Jobs in doubt that only a person can decide.",
            ),
            held: of.gauge(
                "tanda_held_jobs",
                "Jobs that wait in the ledger behind others of their cards.",
            ),
            unpublished: of.gauge(
                "tanda_outcomes_unpublished",
                "Durable outcomes that nobody has confirmed yet.",
            ),
        }
    }
}

impl Metrics {
    pub(super) fn new(currencies: &Currencies) -> Self {
        let registry = Registry::new();
        let of = Makes(&registry);
        let build = of.gauges("tanda_build_info", "The version that runs.", &["version"]);
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        let metrics = Self {
            currencies: currencies.iter().map(|(currency, _)| currency).collect(),
            retry_reasons: DEFERRALS
                .iter()
                .copied()
                .chain(UnclearCause::ALL.map(UnclearCause::as_str))
                .chain([CLEAN_START])
                .collect(),
            connections: Mutex::default(),
            outcomes: Outcomes::new(&of),
            calls: Calls::new(&of),
            flow: Flow::new(&of),
            open: Open::new(&of),
            registry,
        };
        metrics.show_all();
        metrics
    }

    /// Makes every series that there may be: what was never counted is 0, and not missing.
    fn show_all(&self) {
        let currencies = self.currencies.iter().map(Currency::as_str);
        let currencies: Vec<_> = currencies.chain([OTHER]).collect();
        for status in Status::ALL.map(Status::as_str) {
            for operation in Operation::ALL.map(Operation::as_str) {
                for &source in SOURCES {
                    self.outcomes
                        .jobs
                        .with_label_values(&[source, operation, status]);
                }
                // What is no valid job is about no amount.
                for &currency in currencies.iter().filter(|_| status != INVALID) {
                    let labels = [operation, currency, status];
                    self.outcomes.amounts.with_label_values(&labels);
                }
            }
            for replay in [false, true].map(yes_or_no) {
                self.outcomes.published.with_label_values(&[status, replay]);
            }
        }
        for &source in SOURCES {
            self.outcomes
                .jobs
                .with_label_values(&[source, UNKNOWN, INVALID]);
        }
        for class in STATUS_CLASSES {
            self.calls.seconds.with_label_values(&[class]);
        }
        for reason in &self.retry_reasons {
            self.calls.retries.with_label_values(&[reason]);
        }
        for cause in PAUSES {
            self.flow.paused.with_label_values(&[cause]);
        }
        for alarm in ALARMS {
            self.outcomes.alarms.with_label_values(&[alarm]);
        }
        for currency in currencies {
            self.open.in_doubt_amounts.with_label_values(&[currency]);
        }
    }

    pub(super) fn render(&self) -> String {
        let families = self.registry.gather();
        let text = TextEncoder::new().encode_to_string(&families);
        text.expect("every metric has a name and a series")
    }

    // ---- what is counted ----------------------------------------------------------------------

    /// An outcome of a job.
    pub(super) fn outcome(&self, source: &str, job: &Job, status: Status) {
        self.add(source, Some(job.operation), status);
        let currency = self.currency(job.amount.currency());
        let labels = [job.operation.as_str(), currency, status.as_str()];
        let minor = u64::try_from(job.amount.minor()).expect("an amount is positive");
        self.outcomes
            .amounts
            .with_label_values(&labels)
            .inc_by(minor);
    }

    /// A message that is no valid job; its operation, where that could be read.
    pub(super) fn invalid(&self, source: &str, operation: Option<Operation>) {
        self.add(source, operation, Status::Invalid);
    }

    fn add(&self, source: &str, operation: Option<Operation>, status: Status) {
        let source = among(SOURCES, source);
        let operation = operation.map_or(UNKNOWN, Operation::as_str);
        let labels = [source, operation, status.as_str()];
        self.outcomes.jobs.with_label_values(&labels).inc();
    }

    fn currency(&self, currency: Currency) -> &str {
        self.currencies
            .get(&currency)
            .map_or(OTHER, Currency::as_str)
    }

    /// A call that took so long.
    pub(super) fn call(&self, status_class: &str, took: Duration) {
        let class = among(STATUS_CLASSES, status_class);
        let seconds = took.as_secs_f64();
        self.calls
            .seconds
            .with_label_values(&[class])
            .observe(seconds);
    }

    /// A call after the first; why, where the one before it came to nothing.
    pub(super) fn retry(&self, cause: Option<&str>) {
        let reason = cause.map_or(CLEAN_START, |cause| among(&self.retry_reasons, cause));
        self.calls.retries.with_label_values(&[reason]).inc();
    }

    pub(super) fn lag(&self, age: Duration) {
        self.flow.queue_lag.set(gauged(age.as_secs()));
    }

    pub(super) fn published(&self, status: Status, replay: bool) {
        let labels = [status.as_str(), yes_or_no(replay)];
        self.outcomes.published.with_label_values(&labels).inc();
    }

    /// The flow is held by these, and by nothing else.
    pub(super) fn paused(&self, causes: &[&str]) {
        for cause in PAUSES {
            let holds = causes.contains(cause);
            self.flow
                .paused
                .with_label_values(&[cause])
                .set(holds.into());
        }
        let open = causes.contains(&BANK_NOT_ANSWERING);
        self.flow.breaker_open.set(open.into());
    }

    pub(super) fn connection(&self, connection: &'static str, stands: bool) {
        let connections = self.connections.lock();
        // A set of words is whole whatever panicked.
        let mut connections = connections.unwrap_or_else(PoisonError::into_inner);
        if stands {
            connections.insert(connection);
        } else {
            connections.remove(connection);
        }
        let all = CONNECTIONS.iter().all(|one| connections.contains(one));
        self.flow.broker_connected.set(all.into());
    }

    pub(super) fn alarm(&self, alarm: &str) {
        let alarm = among(ALARMS, alarm);
        self.outcomes.alarms.with_label_values(&[alarm]).inc();
    }

    pub(super) fn open(&self, open: &OpenFigures) {
        self.open.in_doubt.set(gauged(open.in_doubt));
        self.open.person_needed.set(gauged(open.person_needed));
        self.open.held.set(gauged(open.held));
        self.open.unpublished.set(gauged(open.unpublished));
        let mut sums: BTreeMap<&str, i128> = BTreeMap::new();
        for (currency, minor) in &open.in_doubt_minor {
            let sum = sums.entry(self.currency(*currency)).or_default();
            *sum = sum.saturating_add(*minor);
        }
        let all = self.currencies.iter().map(Currency::as_str);
        for currency in all.chain([OTHER]) {
            let sum = sums.get(currency).copied().unwrap_or_default();
            let sum = i64::try_from(sum).unwrap_or(i64::MAX);
            self.open
                .in_doubt_amounts
                .with_label_values(&[currency])
                .set(sum);
        }
    }
}

/// A figure as a gauge shows it.
fn gauged(figure: u64) -> i64 {
    i64::try_from(figure).unwrap_or(i64::MAX)
}

/// Makes and registers metrics.
struct Makes<'a>(&'a Registry);

impl Makes<'_> {
    const WELL_FORMED: &'static str = "the names of metrics and labels are well formed";

    fn counters(&self, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
        let counters = IntCounterVec::new(Opts::new(name, help), labels);
        self.registered(counters.expect(Self::WELL_FORMED))
    }

    fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
        let gauges = IntGaugeVec::new(Opts::new(name, help), labels);
        self.registered(gauges.expect(Self::WELL_FORMED))
    }

    fn gauge(&self, name: &str, help: &str) -> IntGauge {
        self.registered(IntGauge::new(name, help).expect(Self::WELL_FORMED))
    }

    fn histograms(&self, name: &str, help: &str, labels: &[&str]) -> HistogramVec {
        let options = HistogramOpts::new(name, help).buckets(CALL_BUCKETS_S.to_vec());
        let histograms = HistogramVec::new(options, labels);
        self.registered(histograms.expect(Self::WELL_FORMED))
    }

    fn registered<T: Collector + Clone + 'static>(&self, metric: T) -> T {
        let registered = self.0.register(Box::new(metric.clone()));
        registered.expect("each name is used once");
        metric
    }
}

#[cfg(test)]
#[path = "metrics_tests.rs"]
mod tests;
