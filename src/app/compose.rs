//! Composition: the rooms of one process, put together.
//!
//! *What it promises.* A real run gets the ledger of the configuration and the bank of its base URL;
//! a simulated run gets the simulated bank, over HTTP on loopback, and a ledger of its own that goes
//! with it. Nothing of the one ever reaches the other.
//!
//! *What it refuses to know.* What a command does with the house.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use secrecy::ExposeSecret as _;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use super::config::{BankConfig, Config};
use super::exit::{Exit, Failure};
use super::streams::tell;
use crate::amqp::{AmqpError, Broker, BrokerSettings, Names};
use crate::bank::{BankClient, BankSettings, BankSetupError, BaseUrl, TokenSource, read_secret};
use crate::domain::digest::Digest;
use crate::engine::SystemClock;
use crate::engine::ports::Ledger;
use crate::ledger::{Binding, SqliteLedger};
use crate::simulator::faults::{FaultKind, Faults, Rate};
use crate::simulator::server::SimulatedBank;
use crate::simulator::{self, World};

/// The token of the built-in simulated bank: no secret.
pub(super) const SIMULATED_TOKEN: &str = "simulated";

/// How the built-in simulated bank behaves.
#[derive(Debug)]
pub(super) struct Simulation {
    /// Which faults it deals.
    pub(super) faults: String,
    /// Which requests meet them.
    pub(super) seed: u64,
}

/// The rooms of one process.
pub(super) struct House {
    ledger: Arc<SqliteLedger>,
    bank: Arc<BankClient>,
    simulated: Option<Simulated>,
}

/// What a simulated run has besides.
struct Simulated {
    /// Removed with everything in it when the house closes.
    _folder: TempDir,
    _stop: oneshot::Sender<()>,
    _server: JoinSet<()>,
}

impl House {
    /// The ledger and the bank of this configuration.
    pub(super) fn open(config: &Config) -> Result<Self, Failure> {
        let path = config
            .ledger_path()
            .map_err(|error| Failure::new(Exit::Usage, error))?;
        let bank = bank_client(&config.bank)?;
        let ledger = open_ledger(config, &path, &bank)?;
        Ok(Self {
            ledger,
            bank,
            simulated: None,
        })
    }

    /// A simulated bank on loopback, and a ledger that goes with it.
    pub(super) async fn simulated(
        config: &Config,
        simulation: &Simulation,
    ) -> Result<Self, Failure> {
        let unusable = |error: anyhow::Error| Failure::new(Exit::Unusable, error);
        let folder = tempfile::Builder::new()
            .prefix("tanda-simulated-")
            .tempdir()
            .context("no temporary folder could be made")
            .map_err(unusable)?;
        let (address, stop, server) = start_simulator(simulation).await?;
        let bank = bank_client(&BankConfig {
            base_url: format!("http://{address}"),
            token: Some(SIMULATED_TOKEN.to_owned().into()),
            ..BankConfig::default()
        })?;
        let path = folder.path().join("ledger.db");
        SqliteLedger::create(&path).map_err(|error| Failure::new(Exit::Unusable, error))?;
        let ledger = open_ledger(config, &path, &bank)?;
        let simulated = Simulated {
            _folder: folder,
            _stop: stop,
            _server: server,
        };
        Ok(Self {
            ledger,
            bank,
            simulated: Some(simulated),
        })
    }

    /// The ledger, to look things up.
    pub(super) fn ledger(&self) -> &dyn Ledger {
        &*self.ledger
    }

    /// The ledger, as the engine's door.
    pub(super) fn ledger_port(&self) -> Arc<dyn Ledger> {
        let ledger: Arc<SqliteLedger> = Arc::clone(&self.ledger);
        ledger
    }

    /// The ledger itself.
    pub(super) fn sqlite(&self) -> Arc<SqliteLedger> {
        Arc::clone(&self.ledger)
    }

    /// The bank.
    pub(super) fn bank(&self) -> Arc<BankClient> {
        Arc::clone(&self.bank)
    }

    /// Writes what is lazy and lets go.
    pub(super) async fn close(self) -> Result<(), Failure> {
        let Self {
            ledger, simulated, ..
        } = self;
        let closed = ledger.close().await;
        drop(simulated);
        closed.map_err(|error| {
            let context = "the ledger could not be closed. Nothing is lost while its files are kept: what \
                           was sent is on record or will be asked about. Mend the disk; the next start \
                           reads what is there";
            Failure::new(Exit::Unusable, anyhow::Error::new(error).context(context))
        })
    }
}

/// Whose ledger the settings ask for: its namespace, and the bank of the base URL. Needs no token.
pub(super) fn binding(config: &Config) -> Result<Binding, Failure> {
    let settings = config
        .settings(crate::engine::settings::Ending::WhenDry)
        .map_err(|error| Failure::new(Exit::Usage, error))?;
    let base_url = BaseUrl::parse(&config.bank.base_url).map_err(bank_failure)?;
    Ok(Binding {
        namespace: settings.namespace,
        bank_origin: base_url.origin(),
    })
}

fn open_ledger(
    config: &Config,
    path: &Path,
    bank: &BankClient,
) -> Result<Arc<SqliteLedger>, Failure> {
    let settings = config
        .settings(crate::engine::settings::Ending::WhenDry)
        .map_err(|error| Failure::new(Exit::Usage, error))?;
    let binding = Binding {
        namespace: settings.namespace,
        bank_origin: bank.origin(),
    };
    SqliteLedger::open(path, &binding)
        .map(Arc::new)
        .map_err(|error| Failure::new(Exit::Unusable, error))
}

/// The bank of these settings; calls nobody.
pub(super) fn bank_client(config: &BankConfig) -> Result<Arc<BankClient>, Failure> {
    let token = match (&config.token, &config.token_file) {
        (_, Some(path)) => TokenSource::File(path.clone()),
        (Some(token), None) => TokenSource::Fixed(token.clone()),
        (None, None) => {
            let error = anyhow!(
                "there is no token for the bank; nothing was sent. Give it in TANDA_BANK__TOKEN, \
                 or name its file in bank.token_file"
            );
            return Err(Failure::new(Exit::Credentials, error));
        }
    };
    let base_url = BaseUrl::parse(&config.base_url).map_err(bank_failure)?;
    let settings = BankSettings {
        base_url,
        token,
        connect_timeout: Duration::from_secs(config.connect_timeout_s),
        request_timeout: Duration::from_secs(config.request_timeout_s),
    };
    BankClient::new(settings, Arc::new(SystemClock))
        .map(Arc::new)
        .map_err(bank_failure)
}

fn bank_failure(error: BankSetupError) -> Failure {
    let exit = match &error {
        BankSetupError::TokenFile { .. }
        | BankSetupError::TokenFileOpen { .. }
        | BankSetupError::Token(_) => Exit::Credentials,
        BankSetupError::BaseUrl(_) | BankSetupError::Timeouts => Exit::Usage,
        BankSetupError::Http(_) => Exit::Unusable,
    };
    Failure::new(exit, anyhow::Error::new(error).context("nothing was sent"))
}

/// Whether the simulated bank, with these faults, applies and lists everything at once: then short
/// waits prove as much as long ones.
pub(super) fn lists_at_once(faults: &str) -> Result<bool, Failure> {
    let faults = Faults::parse(faults).map_err(|error| Failure::new(Exit::Usage, error))?;
    Ok(faults.list_lag.is_zero() && faults.rate(FaultKind::Late) == Rate::default())
}

/// RabbitMQ, as the settings say; connects to nobody.
pub(super) fn broker(config: &Config) -> Result<Broker, Failure> {
    let amqp = &config.amqp;
    let url = match (&amqp.url, &amqp.url_file) {
        (Some(url), _) => url.expose_secret().to_owned(),
        (None, Some(path)) => url_in(path)?,
        (None, None) => {
            let error = anyhow!(
                "there is no RabbitMQ to use: give its URL in TANDA_AMQP__URL, or name a file that \
                 holds it in amqp.url_file"
            );
            return Err(Failure::new(Exit::Usage, error));
        }
    };
    let mut settings =
        BrokerSettings::parse(&url, amqp.allow_plain).map_err(|error| amqp_failure(&error))?;
    let ca_pem = amqp.ca_file.as_ref().map(|path| {
        std::fs::read_to_string(path)
            .with_context(|| format!("amqp.ca_file {} cannot be read", path.display()))
            .map_err(|error| Failure::new(Exit::Usage, error))
    });
    settings.ca_pem = ca_pem.transpose()?;
    settings.names = names(config);
    settings.results_max_length = amqp.results_max_length;
    settings.declare = amqp.declare;
    settings.prefetch = amqp.prefetch;
    Ok(Broker::new(settings))
}

/// The URL in this file, which has a password in it.
pub(super) fn url_in(path: &Path) -> Result<String, Failure> {
    let read = read_secret(path).map(|url| url.expose_secret().to_owned());
    read.map_err(|error| {
        let error = anyhow::Error::new(error).context(format!("amqp.url_file {}", path.display()));
        Failure::new(Exit::Credentials, error)
    })
}

/// The names of queues and exchanges, as the settings say.
pub(super) fn names(config: &Config) -> Names {
    let amqp = &config.amqp;
    Names {
        jobs_exchange: amqp.jobs_exchange.clone(),
        jobs_queue: amqp.jobs_queue.clone(),
        results_exchange: amqp.results_exchange.clone(),
        results_queue: amqp.results_queue.clone(),
        dead_exchange: amqp.dead_exchange.clone(),
        dead_queue: amqp.dead_queue.clone(),
    }
}

/// RabbitMQ cannot be used.
pub(super) fn amqp_failure(error: &AmqpError) -> Failure {
    let exit = match error {
        AmqpError::Url(_) => Exit::Usage,
        error if error.is_refusal() => Exit::Credentials,
        AmqpError::Failed { .. }
        | AmqpError::Timeout { .. }
        | AmqpError::Locked { .. }
        | AmqpError::Differs(_) => Exit::Unusable,
    };
    let error = anyhow!("nothing was taken or published: {}", error.line());
    Failure::new(exit, error)
}

/// A world as its settings say.
pub(super) fn world(
    faults: &str,
    seed: u64,
    token: &str,
    opening_balance_minor: Option<i64>,
) -> Result<SimulatedBank, Failure> {
    let faults = Faults::parse(faults).map_err(|error| Failure::new(Exit::Usage, error))?;
    let mut settings = simulator::Settings {
        seed,
        token: Some(Digest::of(token.as_bytes())),
        faults,
        ..simulator::Settings::default()
    };
    settings.opening_balance_minor =
        opening_balance_minor.unwrap_or(settings.opening_balance_minor);
    Ok(SimulatedBank::new(
        World::new(settings),
        Arc::new(SystemClock),
    ))
}

async fn start_simulator(
    simulation: &Simulation,
) -> Result<(SocketAddr, oneshot::Sender<()>, JoinSet<()>), Failure> {
    let bank = world(&simulation.faults, simulation.seed, SIMULATED_TOKEN, None)?;
    let listening = async {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        std::io::Result::Ok((listener, address))
    };
    let (listener, address) = listening
        .await
        .context("the simulated bank could not listen on loopback")
        .map_err(|error| Failure::new(Exit::Unusable, error))?;
    let (stop, stopped) = oneshot::channel();
    let mut server = JoinSet::new();
    server.spawn(async move {
        let stopped = async {
            stopped.await.ok();
        };
        if let Err(error) = simulator::server::serve(bank, listener, stopped).await {
            tell(&format!("error: {:#}\n", anyhow::Error::new(error)));
        }
    });
    Ok((address, stop, server))
}
