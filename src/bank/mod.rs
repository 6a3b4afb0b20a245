//! The bank over HTTP: one call, one answer, one verdict.
//!
//! *What this is.* [`BankClient`] is the engine's [`Bank`](crate::engine::ports::Bank) for the real
//! API. It is built from [`BankSettings`]: a [`BaseUrl`], a [`TokenSource`] and two timeouts.
//! [`classify`] turns what came back into a verdict, [`listing`] into the rows of a list, and
//! [`retry_after`] reads times; they are pure, and have tables of tests.
//!
//! *What it promises.* One call sends at most one request, never follows a redirect, never uses a
//! proxy of the environment, and tells "provably not executed" from "perhaps executed" so that only
//! the former is ever called [`Deferred`](crate::domain::verdict::Verdict::Deferred). The token goes
//! to the bank's origin and nowhere else: not into a log, an error or a `Debug` (I12).
//!
//! *What it refuses to know.* Retries, pauses, the ledger, and what an outcome is.

mod base_url;
pub mod classify;
mod client;
mod credential;
pub mod listing;
pub mod retry_after;
mod secret_file;

pub use base_url::{BankPlace, BaseUrl};
pub use client::{BankClient, BankSettings};
pub use credential::TokenSource;
pub use secret_file::{SecretFileError, read_secret};

/// What is wrong with how the client was set up. Each message says what to do.
#[derive(Debug, thiserror::Error)]
pub enum BankSetupError {
    /// The base URL cannot be used. The URL is not repeated, as it may hold a password.
    #[error("the bank's base URL {0}")]
    BaseUrl(&'static str),
    /// The timeouts contradict each other.
    #[error(
        "the bank's connect timeout must be above zero and below its request timeout; \
         5 s and 30 s are usual"
    )]
    Timeouts,
    /// The token's file cannot be read.
    #[error(
        "the bank's token file {path} cannot be read; \
         it must be a regular file that this user may read"
    )]
    TokenFile {
        /// Which file.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The token's file can be had by others, so that the token is no secret.
    #[error("the bank's token file {path} {why}")]
    TokenFileOpen {
        /// Which file.
        path: String,
        /// Who can, and what to do.
        why: String,
    },
    /// What was read is not a token. It is not repeated.
    #[error("the bank's token {0}")]
    Token(String),
    /// No HTTP client: over HTTPS, nearly always because no CA certificate was found.
    #[error(
        "the connection to the bank could not be set up; where the machine has no CA \
         certificates, install them (the package is mostly called ca-certificates) or let \
         SSL_CERT_FILE name a file that holds them"
    )]
    Http(#[source] Box<dyn std::error::Error + Send + Sync>),
}
