//! `tanda worker`: jobs from RabbitMQ, outcomes to it.
//!
//! *What it promises.* No message is taken before the ledger is this process's own, the credential is
//! known to be taken, the broker has what is needed, and the lock is held. A first signal stops: no
//! more is taken, calls under way end within the drain deadline, the rest goes back to the queue. What
//! holds the flow is told when it begins and when it ends.
//!
//! *What it refuses to know.* What becomes of a job.

mod opening;
mod watch;

use std::path::Path;
use std::sync::Arc;

use anyhow::anyhow;
use tokio::sync::watch as channel;
use tokio::task::JoinSet;

use crate::amqp::{Broker, Publisher, QueueSink, QueueSource};
use crate::app::compose::{self, House};
use crate::app::config::Config;
use crate::app::exit::{Exit, Failure};
use crate::app::health::Health;
use crate::app::signals::{self, Signal};
use crate::app::streams::tell;
use crate::domain::money::Currencies;
use crate::engine::stop::Stop;
use crate::engine::{Ended, EngineError, Ports, SystemClock};
use crate::telemetry::metrics;

/// What people are told when they stop a worker.
const STOPPING: &str = "stopping: nothing more is taken, calls under way are finished, and the rest goes \
                        back to the queue; once more to leave at once";

pub(in crate::app) async fn worker(config: Option<&Path>) -> Result<Exit, Failure> {
    let config =
        Config::load_for_worker(config).map_err(|error| Failure::new(Exit::Usage, error))?;
    let currencies = config
        .currencies()
        .map_err(|error| Failure::new(Exit::Usage, error))?;
    metrics::begin(&currencies);
    let broker = compose::broker(&config)?;
    let mut beside = JoinSet::new();
    let health = opening::listen(&config.metrics.listen, &mut beside).await?;
    let house = House::open(&config)?;
    let (stopper, stop) = crate::engine::stop::signal();
    let signals = signals::listen(stopper, STOPPING, &mut beside)
        .map_err(|error| Failure::internal(error.into()))?;
    beside.spawn(watch::keep_counting(house.sqlite()));
    let ended = match opening::await_bank(&house, &config, &stop).await? {
        opening::Bank::Answers => {
            let parts = Parts {
                config: &config,
                house: &house,
                broker,
                currencies,
                health,
            };
            parts.serve(stop, &mut beside).await
        }
        opening::Bank::Stopped => Ok(Ended::Stopped),
    };
    beside.shutdown().await;
    let closed = house.close().await;
    let ended = ended?;
    closed?;
    Ok(match (ended, signals.first()) {
        (_, Some(Signal::Interrupt)) => Exit::Interrupted,
        (_, Some(Signal::Terminate)) => Exit::Terminated,
        (Ended::Stopped | Ended::Dry, None) => Exit::Done,
    })
}

/// What a worker is put together from.
struct Parts<'a> {
    config: &'a Config,
    house: &'a House,
    broker: Broker,
    currencies: Currencies,
    health: Arc<Health>,
}

impl Parts<'_> {
    /// Opens from the sink upward, and lets jobs flow until it is stopped.
    async fn serve(self, stop: Stop, beside: &mut JoinSet<()>) -> Result<Ended, Failure> {
        let settings = self
            .config
            .worker_settings()
            .map_err(|error| Failure::new(Exit::Usage, error))?;
        let place = self.broker.settings().place();
        let names = self.broker.settings().names.clone();
        // The lock comes first: a second worker must not publish either.
        let clock = Arc::new(SystemClock);
        let source = QueueSource::start(self.broker.clone(), self.currencies, clock)
            .await
            .map_err(|error| compose::amqp_failure(&error))?;
        let publisher = Publisher::start(self.broker)
            .await
            .map_err(|error| compose::amqp_failure(&error))?;
        let links = [source.link(), publisher.link()];
        let (pauses, pauses_seen) = channel::channel(None);
        let about = self.config.circumstances(&self.config.bank.base_url);
        beside.spawn(watch::tell_pauses(pauses_seen.clone(), about));
        beside.spawn(watch::keep_health(
            Arc::clone(&self.health),
            links,
            pauses_seen,
            stop.clone(),
        ));
        self.health.set_started();
        tell(&format!(
            "taking jobs from {} at {place}, outcomes to {}\n",
            names.jobs_queue, names.results_queue
        ));
        let ports = Ports {
            bank: self.house.bank(),
            ledger: self.house.ledger_port(),
            sink: Arc::new(QueueSink::new(publisher, names)),
            clock: Arc::new(SystemClock),
        };
        let source = Box::new(source);
        #[cfg(feature = "crash-points")]
        let (ports, source) = crate::app::crash::guarded(ports, source)?;
        let running = crate::engine::run(ports, settings, source, stop, &pauses);
        Box::pin(running).await.map_err(engine_failure)
    }
}

fn engine_failure(error: EngineError) -> Failure {
    let (exit, what) = match &error {
        EngineError::Ledger(_) => (
            Exit::Unusable,
            "the worker stopped, because the ledger cannot be used. Nothing is lost while its files are \
             kept: what was sent is on record or will be asked about, the rest is in the queue. Mend \
             the disk, then start it again",
        ),
        EngineError::Source(_) => (
            Exit::Unusable,
            "the worker stopped, because the queue cannot be used. Nothing is lost. Mend what is said \
             here, then start it again",
        ),
        EngineError::Rules(_) => (
            Exit::Internal,
            "the worker stopped. Nothing is lost: start it again",
        ),
    };
    Failure::new(exit, anyhow!(error).context(what))
}
