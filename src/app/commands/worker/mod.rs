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

use crate::amqp::{Publisher, QueueSink, QueueSource};
use crate::app::compose::{self, House};
use crate::app::config::Config;
use crate::app::exit::{Exit, Failure};
use crate::app::signals::{self, Signal};
use crate::app::streams::tell;
use crate::domain::money::Currencies;
use crate::engine::stop::{Stop, Stopper};
use crate::engine::{Ended, EngineError, Ports, SystemClock};

/// What people are told when they stop a worker.
const STOPPING: &str = "stopping: nothing more is taken, calls under way are finished, and the rest goes \
                        back to the queue; once more to leave at once";

pub(in crate::app) async fn worker(config: Option<&Path>) -> Result<Exit, Failure> {
    let config =
        Config::load_for_worker(config).map_err(|error| Failure::new(Exit::Usage, error))?;
    let currencies = config
        .currencies()
        .map_err(|error| Failure::new(Exit::Usage, error))?;
    let broker = compose::broker(&config)?;
    let house = House::open(&config)?;
    let (stopper, stop) = crate::engine::stop::signal();
    let mut beside = JoinSet::new();
    let signals = signals::listen(stopper.clone(), STOPPING, &mut beside)
        .map_err(|error| Failure::internal(error.into()))?;
    let ended = match opening::await_bank(&house, &config, &stop).await? {
        opening::Bank::Answers => {
            serve(
                &config,
                &house,
                broker,
                currencies,
                (stopper, stop),
                &mut beside,
            )
            .await
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

async fn serve(
    config: &Config,
    house: &House,
    broker: crate::amqp::Broker,
    currencies: Currencies,
    (_stopper, stop): (Stopper, Stop),
    beside: &mut JoinSet<()>,
) -> Result<Ended, Failure> {
    let settings = config
        .worker_settings()
        .map_err(|error| Failure::new(Exit::Usage, error))?;
    let place = broker.settings().place();
    let names = broker.settings().names.clone();
    // The lock comes first: a second worker must not publish either.
    let source = QueueSource::start(broker.clone(), currencies, Arc::new(SystemClock))
        .await
        .map_err(compose::amqp_failure)?;
    let publisher = Publisher::start(broker)
        .await
        .map_err(compose::amqp_failure)?;
    tell(&format!(
        "taking jobs from {} at {place}, outcomes to {}\n",
        names.jobs_queue, names.results_queue
    ));
    let (pauses, pauses_seen) = channel::channel(None);
    let about = config.circumstances(&config.bank.base_url);
    beside.spawn(watch::tell_pauses(pauses_seen, about));
    let ports = Ports {
        bank: house.bank(),
        ledger: house.ledger_port(),
        sink: Arc::new(QueueSink::new(publisher, names)),
        clock: Arc::new(SystemClock),
    };
    let ended = crate::engine::run(ports, settings, Box::new(source), stop, &pauses).await;
    ended.map_err(engine_failure)
}

fn engine_failure(error: EngineError) -> Failure {
    let (exit, what) = match &error {
        EngineError::Ledger(_) => (
            Exit::Unusable,
            "the worker stopped, because the ledger cannot be used. Nothing is lost: what was sent is \
             on record or will be asked about, the rest is in the queue. Mend the disk, then start \
             it again",
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
