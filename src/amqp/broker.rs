//! Where RabbitMQ is, and how a connection to it is made.
//!
//! *What it promises.* TLS unless the broker is on this machine or a person allows otherwise; the
//! password is in no debug and no error. A connection is made within [`CONNECT_LIMIT`] or not at all,
//! and is never recovered by the library: whoever holds it builds the next.
//!
//! *What it refuses to know.* What the connection is used for.

use std::fmt;
use std::str::FromStr as _;
use std::sync::Arc;
use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBackoff, ExponentialBuilder};
use lapin::tcp::OwnedTLSConfig;
use lapin::uri::{AMQPScheme, AMQPUri};
use lapin::{Channel, Connection, ConnectionProperties};
use tokio::sync::watch;
use tokio::time::timeout;

use super::error::{AmqpError, CONNECTING};
use super::topology::Names;

/// The longest time to make a connection: TCP, TLS and login.
pub const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// The longest time for one answer of the broker: a cluster that elects a leader takes seconds.
pub(super) const ANSWER_LIMIT: Duration = Duration::from_secs(15);
/// A broker that is silent for twice as long is gone.
const HEARTBEAT_S: u16 = 10;
/// First and longest wait before a connection is tried again.
const RETRY_MIN: Duration = Duration::from_millis(500);
pub(super) const RETRY_MAX: Duration = Duration::from_secs(30);

/// Where RabbitMQ is and what is used of it.
#[derive(Clone)]
pub struct BrokerSettings {
    uri: AMQPUri,
    /// Certificates by which it is known, PEM; none for those of the system.
    pub ca_pem: Option<String>,
    /// The names of queues and exchanges.
    pub names: Names,
    /// Outcomes in their queue after which it takes no more.
    pub results_max_length: Option<u32>,
    /// Whether what is missing is declared.
    pub declare: bool,
    /// Messages taken and not yet acknowledged.
    pub prefetch: u16,
}

impl fmt::Debug for BrokerSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BrokerSettings")
            .field("host", &self.uri.authority.host)
            .finish_non_exhaustive()
    }
}

impl BrokerSettings {
    /// The broker at this URL, with everything else as it is built in.
    ///
    /// # Errors
    /// [`AmqpError::Url`] where it is no URL of a broker, or one that must not be used in the open.
    pub fn parse(url: &str, allow_plain: bool) -> Result<Self, AmqpError> {
        // The library's own words could tell the password again.
        let wrong = || {
            let words = "is not like amqps://USER:PASSWORD@HOST:5671/%2F";
            AmqpError::Url(words.to_owned())
        };
        let mut uri = AMQPUri::from_str(url.trim()).map_err(|_| wrong())?;
        if uri.vhost.is_empty() {
            "/".clone_into(&mut uri.vhost);
        }
        let is_plain = uri.scheme == AMQPScheme::AMQP;
        if is_plain && !allow_plain && !is_loopback(&uri.authority.host) {
            let words = "is amqp:// and leaves this machine: the password and every card id would \
                         travel in the open. Use amqps://, or set amqp.allow_plain";
            return Err(AmqpError::Url(words.to_owned()));
        }
        uri.query.heartbeat = Some(HEARTBEAT_S);
        let limit = u64::try_from(CONNECT_LIMIT.as_millis()).unwrap_or(u64::MAX);
        uri.query.connection_timeout = Some(limit);
        Ok(Self {
            uri,
            ca_pem: None,
            names: Names::default(),
            results_max_length: None,
            declare: true,
            prefetch: 128,
        })
    }

    /// Host and port.
    #[must_use]
    pub fn address(&self) -> (&str, u16) {
        (&self.uri.authority.host, self.uri.authority.port)
    }

    /// Whether what travels is encrypted: then the host must be who its certificate says.
    #[must_use]
    pub fn is_encrypted(&self) -> bool {
        self.uri.scheme == AMQPScheme::AMQPS
    }

    /// Host, port and virtual host, for people.
    #[must_use]
    pub fn place(&self) -> String {
        let (at, vhost) = (&self.uri.authority, &self.uri.vhost);
        format!("{}:{} (virtual host {vhost})", at.host, at.port)
    }
}

fn is_loopback(host: &str) -> bool {
    let address = host.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

/// RabbitMQ, to be connected to.
#[derive(Clone, Debug)]
pub struct Broker {
    settings: Arc<BrokerSettings>,
}

impl Broker {
    /// The broker of these settings; connects to nobody.
    #[must_use]
    pub fn new(settings: BrokerSettings) -> Self {
        Self {
            settings: Arc::new(settings),
        }
    }

    /// The settings.
    #[must_use]
    pub fn settings(&self) -> &BrokerSettings {
        &self.settings
    }

    /// A connection of its own, named so at the broker.
    ///
    /// # Errors
    /// [`AmqpError`] where there is none.
    pub async fn connect(&self, name: &str) -> Result<Connection, AmqpError> {
        let doing = format!("{CONNECTING} {}", self.settings.place());
        let properties =
            ConnectionProperties::default().with_connection_name(format!("tanda {name}").into());
        let tls = OwnedTLSConfig {
            identity: None,
            cert_chain: self.settings.ca_pem.clone(),
        };
        let connected = async {
            lapin::ConnectionBuilder::new()?
                .with_uri(self.settings.uri.clone())
                .with_properties(properties)
                .with_tls_config(tls)
                .connect()
                .await
        };
        within(CONNECT_LIMIT, &doing, connected).await
    }

    /// Waits before the next try: half a second at first, half a minute at most, each different.
    pub(super) fn waits() -> ExponentialBackoff {
        ExponentialBuilder::new()
            .with_min_delay(RETRY_MIN)
            .with_max_delay(RETRY_MAX)
            .with_jitter()
            .without_max_times()
            .build()
    }
}

/// A channel of this connection.
pub(super) async fn open_channel(connection: &Connection) -> Result<Channel, AmqpError> {
    within(
        ANSWER_LIMIT,
        "opening a channel",
        connection.create_channel(),
    )
    .await
}

/// What the broker answers, within this time.
pub(super) async fn within<T>(
    limit: Duration,
    doing: &str,
    answer: impl Future<Output = lapin::Result<T>>,
) -> Result<T, AmqpError> {
    match timeout(limit, answer).await {
        Ok(answered) => answered.map_err(AmqpError::failed(doing)),
        Err(_) => Err(AmqpError::Timeout {
            doing: doing.to_owned(),
            limit,
        }),
    }
}

/// Whether a connection stands, for whoever shows it.
#[derive(Clone, Debug)]
pub struct Link(watch::Sender<bool>);

impl Default for Link {
    fn default() -> Self {
        Self(watch::Sender::new(false))
    }
}

impl Link {
    /// Whether it stands now.
    #[must_use]
    pub fn is_up(&self) -> bool {
        *self.0.borrow()
    }

    pub(super) fn set(&self, is_up: bool) {
        self.0.send_replace(is_up);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s18_plain_amqp_stays_on_this_machine_unless_it_is_allowed() {
        for url in [
            "amqp://guest:guest@localhost",
            "amqp://guest:guest@127.0.0.1:5680/%2F",
            "amqp://guest:guest@[::1]:5680/",
            "amqps://tanda:secret@rabbit.example/pagos",
        ] {
            assert!(BrokerSettings::parse(url, false).is_ok(), "{url}");
        }
        let remote = "amqp://tanda:secret@rabbit.example/";
        assert!(BrokerSettings::parse(remote, false).is_err());
        assert!(BrokerSettings::parse(remote, true).is_ok());
        let loopback_by_name_only = "amqp://tanda:secret@localhost.example/";
        assert!(BrokerSettings::parse(loopback_by_name_only, false).is_err());
    }

    #[test]
    fn s20_the_password_is_in_no_debug_and_no_error() {
        let settings = BrokerSettings::parse("amqp://tanda:s3cret@localhost/v", false);
        let settings = settings.expect("a URL");
        assert!(!format!("{settings:?} {}", settings.place()).contains("s3cret"));
        for url in [
            "amqp://tanda:s3cret@host:port/",
            "s3cret",
            "http://s3cret@x",
        ] {
            let error = BrokerSettings::parse(url, false).expect_err("no URL");
            assert!(!format!("{error} {error:?}").contains("s3cret"), "{url}");
        }
    }

    #[test]
    fn the_empty_virtual_host_is_the_default_one() {
        for url in [
            "amqp://localhost",
            "amqp://localhost/",
            "amqp://localhost/%2F",
        ] {
            let settings = BrokerSettings::parse(url, false).expect("a URL");
            assert!(settings.place().ends_with("(virtual host /)"), "{url}");
        }
    }
}
