//! The client: one pool of connections to one bank.
//!
//! *What it promises.* [`Bank::apply`] sends at most one request and gives one verdict. What is
//! called `Deferred(NoConnection)` was provably not executed. Bodies are read piece by piece and
//! bounded.
//!
//! *What it refuses to know.* What a verdict leads to, and when to call again.
//!
//! # What the layers below do on their own
//!
//! Read in the sources of reqwest 0.13.5, hyper-util 0.1.21 and hyper 1.12.0:
//!
//! - reqwest retries protocol-level refusals unless told otherwise: `retry::never()` is set.
//! - hyper-util sends a request again on another connection if hyper hands the *unsent request
//!   itself* back and the connection had been used before (`client/legacy/client.rs`,
//!   `TrySendError::Retryable`). hyper hands it back only while it still lies in the queue between
//!   caller and connection (`client/dispatch.rs`: `Envelope::drop`; `proto/h1/dispatch.rs`:
//!   `Client::recv_msg` takes it with `rx.try_recv`). Once the connection has taken it out of the
//!   queue to encode it, an error carries `message: None` and ends the call. So what is sent again
//!   never had a byte on the wire, and a request of which a byte may have been written is never
//!   sent twice by the layers below. reqwest has no switch for this, and needs none.
//! - A pooled connection that the bank closed is mostly seen as closed and left aside. Where it is
//!   not, the call ends as a broken connection: `Unclear`, even if nothing was read at the other end.
//! - [`reqwest::Error::is_connect`] is true only for hyper-util's error kind `Connect`, raised while
//!   name, TCP and TLS are under way or while the pool is searched, before a connection has the
//!   request. A queued request handed back by a *fresh* connection has the kind `Canceled`, not
//!   `Connect`: `Unclear`, which is more careful than need be.
//! - TLS early data is off unless asked for, so nothing precedes a finished handshake.
//! - A body without length that ends with the connection cannot be told from a cut one over plain
//!   TCP (this machine only, see [`BaseUrl`]); over TLS a missing `close_notify` is an error.
//! - A call that is dropped or out of time closes its connection, so that its late answer cannot be
//!   taken for the next one's; bytes that arrive on an idle connection close it too.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, DATE, HeaderMap, RETRY_AFTER};
use reqwest::{RequestBuilder, Response};
use tokio::time::Instant;

use super::classify::{Answer, Body, Break, CameBack, bounded, classify};
use super::credential::{Credential, Lent};
use super::listing::{Misfit, Walk, read};
use super::{BankSetupError, BaseUrl, TokenSource, retry_after};
use crate::domain::job::CardId;
use crate::domain::key::IdempotencyKey;
use crate::domain::listing::ListedOperation;
use crate::domain::time::Timestamp;
use crate::domain::verdict::{Deferral, Verdict};
use crate::engine::ports::{Bank, Clock, ListFault};
use crate::wire::bank::{KEY_HEADER, ListPage, PAGE_SIZES};

/// The largest answer to an operation: an envelope has some hundred bytes.
const ANSWER_MAX_BYTES: usize = 1024 * 1024;
/// The largest page of a list: 500 rows whose `entity_id` and `description` are 255 characters
/// each, all escaped (12 bytes a character), have 3.4 MB.
const LIST_PAGE_MAX_BYTES: usize = 4 * 1024 * 1024;
/// How often a list that moves is read before that is the answer.
const LIST_TRIES_MAX: u32 = 3;
/// How long an unused connection is kept: below the 60 s after which load balancers close theirs,
/// so that a request rarely meets a connection that is being closed.
const IDLE_CONNECTION_MAX: Duration = Duration::from_secs(20);
/// How many unused connections are kept: more than calls usually run at once.
const IDLE_CONNECTIONS_MAX: usize = 64;

/// How a header begins whose token is for the bank's test host, as published examples show it.
const SANDBOX_TOKEN: &[u8] = b"Bearer sandbox_";

/// What a [`BankClient`] is built from.
#[derive(Clone, Debug)]
pub struct BankSettings {
    /// Where the bank is.
    pub base_url: BaseUrl,
    /// The bearer token.
    pub token: TokenSource,
    /// The most that name, TCP and TLS together may take; below `request_timeout`, so that a bank
    /// that cannot be reached is told from one that does not answer.
    pub connect_timeout: Duration,
    /// The most that a whole call may take, to the last byte of its answer.
    pub request_timeout: Duration,
}

/// The bank's API over HTTP.
pub struct BankClient {
    http: reqwest::Client,
    base_url: BaseUrl,
    credential: Credential,
    clock: Arc<dyn Clock>,
    heard: Mutex<Option<Heard>>,
}

/// The bank's last `Date`, and when it came.
#[derive(Clone, Copy)]
struct Heard {
    bank: Timestamp,
    at: Instant,
}

impl BankClient {
    /// Builds the client and reads the token; calls nobody.
    ///
    /// # Errors
    /// [`BankSetupError`], whose message says what to do.
    pub fn new(settings: BankSettings, clock: Arc<dyn Clock>) -> Result<Self, BankSetupError> {
        if settings.connect_timeout.is_zero()
            || settings.connect_timeout >= settings.request_timeout
        {
            return Err(BankSetupError::Timeouts);
        }
        Ok(Self {
            http: http_client(&settings)?,
            base_url: settings.base_url,
            credential: Credential::open(settings.token)?,
            clock,
            heard: Mutex::new(None),
        })
    }

    /// `scheme://host:port` of the bank, which a ledger is bound to.
    #[must_use]
    pub fn origin(&self) -> String {
        self.base_url.origin()
    }

    /// Whether the token bears the mark of the bank's test host (`sandbox_…`).
    #[must_use]
    pub fn has_sandbox_token(&self) -> bool {
        let lent = self.credential.lend();
        lent.header.as_bytes().starts_with(SANDBOX_TOKEN)
    }

    /// One exchange: sends, reads the answer, notes the bank's time and a refused token.
    async fn exchange(&self, request: RequestBuilder, lent: Lent, max_bytes: usize) -> CameBack {
        let request = request
            .header(AUTHORIZATION, lent.header)
            .header(ACCEPT, "*/*");
        let response = match request.send().await {
            Ok(response) => response,
            Err(error) => return CameBack::Nothing(break_of(&error)),
        };
        let heard_at = Instant::now();
        let date = header(response.headers(), &DATE).and_then(retry_after::http_date);
        let answered_at = date.unwrap_or_else(|| self.clock.wall());
        let answer = Answer {
            status: response.status().as_u16(),
            content_type: header(response.headers(), &CONTENT_TYPE).map(str::to_owned),
            retry_after: header(response.headers(), &RETRY_AFTER)
                .and_then(|value| retry_after::wait(value, answered_at)),
            body: read_body(response, max_bytes).await,
        };
        if answer.status == 401 {
            self.credential.was_refused();
        }
        if let Some(bank) = date.filter(|_| answer.is_the_banks()) {
            let heard = Heard { bank, at: heard_at };
            *self.lock_heard() = Some(heard);
        }
        CameBack::Answer(answer)
    }

    /// One page of a list.
    async fn page(
        &self,
        card_id: &CardId,
        from: Option<Timestamp>,
        page_number: u64,
        page_size: u32,
    ) -> Result<ListPage, ListFault> {
        let mut query = vec![
            ("page_number", page_number.to_string()),
            ("page_size", page_size.to_string()),
        ];
        // Brackets for the object, as the bank's own SDK writes it.
        query.extend(from.map(|from| ("performed_at[from]", from.to_string())));
        let request = self
            .http
            .get(self.base_url.operations(card_id))
            .query(&query);
        let lent = self.credential.lend();
        read(&self.exchange(request, lent, LIST_PAGE_MAX_BYTES).await)
    }

    /// A page that belongs to a list already begun: a card that has become unknown has moved.
    async fn further_page(
        &self,
        card_id: &CardId,
        from: Timestamp,
        number: u64,
    ) -> Result<ListPage, Misfit> {
        match self
            .page(card_id, Some(from), number, *PAGE_SIZES.end())
            .await
        {
            Ok(page) => Ok(page),
            Err(ListFault::UnknownCard) => Err(Misfit::Moved),
            Err(fault) => Err(Misfit::Fault(fault)),
        }
    }

    /// Reads the list once, whole or not at all.
    async fn walk(
        &self,
        card_id: &CardId,
        from: Timestamp,
    ) -> Result<Vec<ListedOperation>, Misfit> {
        let first = self
            .page(card_id, Some(from), 1, *PAGE_SIZES.end())
            .await
            .map_err(Misfit::Fault)?;
        let mut walk = Walk::begin(card_id, first)?;
        for number in walk.further_pages() {
            let page = self.further_page(card_id, from, number).await?;
            walk.add(number, page)?;
        }
        walk.end(self.further_page(card_id, from, 1).await?)
    }

    fn lock_heard(&self) -> std::sync::MutexGuard<'_, Option<Heard>> {
        self.heard
            .lock()
            .expect("nothing under this lock can panic")
    }
}

#[async_trait]
impl Bank for BankClient {
    async fn apply(&self, card_id: &CardId, key: &IdempotencyKey, body: &[u8]) -> Verdict {
        let lent = self.credential.lend();
        let generation = lent.generation;
        let request = self
            .http
            .post(self.base_url.operations(card_id))
            .header(KEY_HEADER, key.to_string())
            .header(CONTENT_TYPE, "application/json")
            .body(body.to_vec());
        let came_back = self.exchange(request, lent, ANSWER_MAX_BYTES).await;
        let is_proven = self.credential.is_proven_elsewhere(generation, card_id);
        let verdict = classify(&came_back, is_proven);
        if proves_token(&verdict) {
            self.credential.was_taken(generation, card_id);
        }
        verdict
    }

    async fn list(
        &self,
        card_id: &CardId,
        from: Timestamp,
    ) -> Result<Vec<ListedOperation>, ListFault> {
        for _ in 0..LIST_TRIES_MAX {
            match self.walk(card_id, from).await {
                Ok(operations) => return Ok(operations),
                Err(Misfit::Moved) => {}
                Err(Misfit::Fault(fault)) => return Err(fault),
            }
        }
        Err(ListFault::Shifting)
    }

    async fn probe(&self, card_id: &CardId) -> Result<(), ListFault> {
        match self.page(card_id, None, 1, *PAGE_SIZES.start()).await {
            Ok(_) | Err(ListFault::UnknownCard | ListFault::Refused(_)) => Ok(()),
            Err(fault) => Err(fault),
        }
    }

    fn time(&self) -> Option<Timestamp> {
        let heard = *self.lock_heard();
        heard.map(|heard| heard.bank.plus(heard.at.elapsed()))
    }
}

impl std::fmt::Debug for BankClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BankClient")
            .field("origin", &self.origin())
            .finish_non_exhaustive()
    }
}

/// Whether the bank got past the token: a 2xx, 404 or 422 of its own.
fn proves_token(verdict: &Verdict) -> bool {
    match verdict {
        Verdict::Accepted { .. } => true,
        Verdict::Refused(refusal) => matches!(refusal.http_status, 404 | 422),
        Verdict::Deferred(
            Deferral::CredentialRefused { .. }
            | Deferral::NotAuthorized { .. }
            | Deferral::RateLimited { .. }
            | Deferral::NoConnection,
        )
        | Verdict::Unclear(_) => false,
    }
}

fn http_client(settings: &BankSettings) -> Result<reqwest::Client, BankSetupError> {
    let builder = reqwest::Client::builder()
        .user_agent(concat!("tanda/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(settings.connect_timeout)
        .timeout(settings.request_timeout)
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .referer(false)
        .no_proxy()
        .http1_only()
        .pool_idle_timeout(IDLE_CONNECTION_MAX)
        .pool_max_idle_per_host(IDLE_CONNECTIONS_MAX)
        // Off here too, in case another crate turns the features on.
        .no_gzip()
        .no_brotli()
        .no_deflate()
        .no_zstd();
    let builder = if settings.base_url.is_https() {
        builder
            .https_only(true)
            .tls_version_min(reqwest::tls::Version::TLS_1_2)
    } else {
        // The system's certificates are not even looked for: a machine without any can still talk
        // to its own simulated bank.
        builder.tls_backend_preconfigured(tls_that_trusts_nobody()?)
    };
    install_crypto();
    builder
        .build()
        .map_err(|source| BankSetupError::Http(Box::new(source)))
}

/// The one crypto provider of the process, which reqwest and rustls take by default. Whoever was
/// first has set it; the tree has no other.
fn install_crypto() {
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        // Refused only if another thread was faster, with the same provider.
        drop(rustls::crypto::ring::default_provider().install_default());
    }
}

fn tls_that_trusts_nobody() -> Result<rustls::ClientConfig, BankSetupError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|source| BankSetupError::Http(Box::new(source)))?
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    Ok(config)
}

/// Why there is no answer. `is_connect` comes first: a connect timeout is also a timeout.
fn break_of(error: &reqwest::Error) -> Break {
    if error.is_connect() {
        Break::NotSent {
            why: bounded(&innermost(error)),
        }
    } else if error.is_timeout() {
        Break::Timeout
    } else {
        Break::Connection
    }
}

/// The cause at the bottom: what the system or TLS said. The layers above it repeat the URL, and
/// with it the card id (I12).
fn innermost(error: &reqwest::Error) -> String {
    let mut cause: Option<&dyn std::error::Error> = std::error::Error::source(error);
    let mut text = "no cause given".to_owned();
    while let Some(deeper) = cause {
        text = deeper.to_string();
        cause = deeper.source();
    }
    text
}

fn header<'a>(headers: &'a HeaderMap, name: &reqwest::header::HeaderName) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// Reads a body to its end, but not beyond the bound.
async fn read_body(mut response: Response, max_bytes: usize) -> Body {
    let mut bytes = Vec::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) if bytes.len() + chunk.len() <= max_bytes => {
                bytes.extend_from_slice(&chunk);
            }
            Ok(None) => return Body::Whole(bytes),
            Err(error) if error.is_timeout() => return Body::TimedOut,
            Ok(Some(_)) | Err(_) => return Body::Unreadable,
        }
    }
}
