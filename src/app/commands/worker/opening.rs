//! Before the first message: the bank must answer and take the credential.
//!
//! *What it promises.* A refused credential, and what is not the bank, end the worker; a bank that does
//! not answer is waited for, because whoever starts workers would only start it again.
//!
//! *What it refuses to know.* Queues.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::app::compose::House;
use crate::app::config::Config;
use crate::app::exit::{Exit, Failure};
use crate::app::health::{self, Health};
use crate::app::streams::tell;
use crate::domain::job::CardId;
use crate::engine::PauseCause;
use crate::engine::ports::{Bank as _, ListFault};
use crate::engine::stop::Stop;
use crate::telemetry;

/// A card that no bank has: that it does not know it is an answer, and takes the credential.
const NO_CARD: &str = "car_0000000000000000000000";

/// How the bank stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bank {
    /// It answers, and takes the credential.
    Answers,
    /// The worker was stopped before it did.
    Stopped,
}

/// Lets the process be watched at this address, unless it is `off`.
pub(super) async fn listen(
    address: &str,
    beside: &mut JoinSet<()>,
) -> Result<Arc<Health>, Failure> {
    let health = Arc::new(Health::default());
    if address == "off" {
        return Ok(health);
    }
    let listener = TcpListener::bind(address)
        .await
        .with_context(|| {
            format!(
                "metrics.listen: {address} cannot be listened on; no job was taken. Name another \
                 address, or off"
            )
        })
        .map_err(|error| Failure::new(Exit::Unusable, error))?;
    let shown = Arc::clone(&health);
    beside.spawn(async move {
        // It ends with the process, and says by itself what goes wrong.
        health::serve(listener, shown, std::future::pending())
            .await
            .ok();
    });
    Ok(health)
}

/// Reads the bank until it answers.
pub(super) async fn await_bank(
    house: &House,
    config: &Config,
    stop: &Stop,
) -> Result<Bank, Failure> {
    let last = house
        .ledger()
        .last_accepted()
        .await
        .map_err(|error| Failure::new(Exit::Unusable, error))?;
    let card_id = match last {
        Some(intent) => intent.job.card_id,
        None => CardId::parse(NO_CARD).expect("it is well formed"),
    };
    let bank = &config.bank.base_url;
    let mut has_said = false;
    loop {
        let answer = tokio::select! {
            () = stop.asked() => return Ok(Bank::Stopped),
            answer = probe(house, &card_id) => answer,
        };
        let fault = match answer {
            Ok(()) => {
                telemetry::FlowStands { causes: &[] }.emit();
                return Ok(Bank::Answers);
            }
            Err(fault) => fault,
        };
        match &fault {
            ListFault::CredentialRefused | ListFault::NotAuthorized => {
                let error = anyhow!(
                    "{fault}. No job was taken; renew the token for {bank} (TANDA_BANK__TOKEN or \
                     bank.token_file)"
                );
                return Err(Failure::new(Exit::Credentials, error));
            }
            ListFault::NotTheBank(_) => {
                let error = anyhow!(
                    "{fault}. No job was taken; check bank.base_url ({bank}) and the network"
                );
                return Err(Failure::new(Exit::Unusable, error));
            }
            ListFault::RateLimited { .. }
            | ListFault::Unreachable(_)
            | ListFault::UnknownCard
            | ListFault::Refused(_)
            | ListFault::Shifting
            | ListFault::TooLong(_) => {}
        }
        if !std::mem::replace(&mut has_said, true) {
            let causes = &[PauseCause::Starting.as_str()];
            telemetry::FlowStands { causes }.emit();
            tell(&format!(
                "waiting for {bank}: {fault}. No job is taken before it answers\n"
            ));
        }
        let wait = Duration::from_secs(config.engine.probe_every_s);
        tokio::select! {
            () = stop.asked() => return Ok(Bank::Stopped),
            () = tokio::time::sleep(wait) => {}
        }
    }
}

async fn probe(house: &House, card_id: &CardId) -> Result<(), ListFault> {
    house.bank().probe(card_id).await
}
