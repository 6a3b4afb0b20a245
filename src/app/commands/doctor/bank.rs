//! The token, the bank, its list and its clock.
//!
//! *What it promises.* Only reads, at most two of them besides further pages of a list. The token never
//! shows.
//!
//! *What it refuses to know.* Payments.

use std::time::Duration;

use tokio::time::Instant;

use super::Check;
use crate::app::compose::bank_client;
use crate::app::config::{BankConfig, Config};
use crate::app::exit::Exit;
use crate::app::words;
use crate::bank::{BankClient, BankPlace, BaseUrl};
use crate::domain::job::{CardId, Job};
use crate::domain::listing;
use crate::domain::time::Timestamp;
use crate::engine::SystemClock;
use crate::engine::ports::{Bank as _, Clock as _, ListFault};
use crate::engine::settings::ASK_LOOKBACK;

/// A card that no bank has: its "unknown" in the bank's own words proves address and token.
const NO_CARD: &str = "car_0000000000000000000000";
/// Where clocks differ by more, somebody should look: HTTP tells whole seconds, and a slow answer
/// costs a few more.
const CLOCKS_APART_MAX: Duration = Duration::from_secs(30);

/// Whose list is read.
pub(super) enum Probed {
    /// A card that a person named.
    Named(CardId),
    /// That of a job which the bank confirmed, and when that was begun.
    Paid { job: Job, begun_at: Timestamp },
    /// There is none yet.
    Nobody,
}

pub(super) async fn checks(config: &Config, token_from: &str, probed: &Probed) -> Vec<Check> {
    let place = match BaseUrl::parse(&config.bank.base_url) {
        Ok(base_url) => base_url.place(),
        Err(error) => {
            return vec![
                not_tried("credential", "the bank's address must be right first"),
                Check::fail(
                    "bank",
                    Exit::Usage,
                    error.to_string(),
                    "correct bank.base_url",
                ),
                not_tried("list access", "the bank's address must be right first"),
                not_tried("clock", "the bank's address must be right first"),
            ];
        }
    };
    let client = match bank_client(&config.bank) {
        Ok(client) => client,
        Err(failure) => {
            let is_token = failure.exit == Exit::Credentials;
            let remedy = "give a token that can be used; see bank.token_file";
            let (credential, bank) = if is_token {
                let bank = not_tried("bank", "it needs a token to be asked");
                (Check::fault("credential", &failure, remedy), bank)
            } else {
                let credential = not_tried("credential", "the bank cannot be called");
                (
                    credential,
                    Check::fault("bank", &failure, "see what is named here"),
                )
            };
            let rest = ["list access", "clock"];
            let rest = rest.map(|name| not_tried(name, "the bank cannot be asked yet"));
            return [credential, bank].into_iter().chain(rest).collect();
        }
    };
    if place == BankPlace::Production && client.has_sandbox_token() {
        let why = "a token of the test host is not sent to the production host";
        let rest = ["bank", "list access", "clock"].map(|name| not_tried(name, why));
        return [wrong_place(token_from)].into_iter().chain(rest).collect();
    }
    ask(config, place, &client, token_from, probed).await
}

fn wrong_place(from: &str) -> Check {
    Check::warn(
        "credential",
        format!("{from}: it looks like a token of the bank's test host, for its production host"),
        "give the production token, or set bank.base_url to the test host",
    )
}

fn not_tried(name: &'static str, remedy: &str) -> Check {
    Check::warn(name, "not tried", remedy)
}

async fn ask(
    config: &Config,
    place: BankPlace,
    client: &BankClient,
    token_from: &str,
    probed: &Probed,
) -> Vec<Check> {
    let no_card = CardId::parse(NO_CARD).expect("it has the form of a card id");
    let card = match probed {
        Probed::Named(card) => card,
        Probed::Paid { job, .. } => &job.card_id,
        Probed::Nobody => &no_card,
    };
    let began = Instant::now();
    let answered = client.probe(card).await;
    let took = began.elapsed();
    let list = match &answered {
        Ok(()) => list_access(client, probed).await,
        Err(_) => not_tried("list access", "the bank must take the token first"),
    };
    vec![
        credential(token_from, &answered),
        bank(&config.bank, place, &answered, took),
        list,
        clock(client.time()),
    ]
}

fn credential(from: &str, answered: &Result<(), ListFault>) -> Check {
    let name = "credential";
    let renew = "give the bank's current token; it is never shown here";
    match answered {
        Ok(()) => Check::ok(name, format!("{from}; the bank takes it")),
        Err(ListFault::CredentialRefused) => {
            let what = format!("{from}; the bank does not take it (HTTP 401)");
            Check::fail(name, Exit::Credentials, what, renew)
        }
        Err(ListFault::NotAuthorized) => {
            let what = format!("{from}; the bank says that it may not read this (HTTP 403)");
            let remedy = "ask the bank for a token that may use cards and list their operations";
            Check::fail(name, Exit::Credentials, what, remedy)
        }
        Err(
            ListFault::Unreachable(_)
            | ListFault::RateLimited { .. }
            | ListFault::UnknownCard
            | ListFault::Refused(_)
            | ListFault::NotTheBank(_)
            | ListFault::Shifting
            | ListFault::TooLong(_),
        ) => Check::warn(
            name,
            format!("{from}; readable, but whether the bank takes it is not known"),
            "see the line of the bank",
        ),
    }
}

fn bank(
    config: &BankConfig,
    place: BankPlace,
    answered: &Result<(), ListFault>,
    took: Duration,
) -> Check {
    let name = "bank";
    let what_it_is = match place {
        BankPlace::TestHost => "the bank's test host: no real money",
        BankPlace::Production => "the bank's PRODUCTION host: real money moves",
        BankPlace::ThisMachine => "on this machine: a simulated bank, or a gateway to another",
        BankPlace::Other => "a host that is not known to be the bank's own",
    };
    let it = format!("{} ({what_it_is})", config.base_url);
    let millis = took.as_millis();
    match answered {
        Ok(()) | Err(ListFault::CredentialRefused | ListFault::NotAuthorized) => {
            let what = format!("{it}; answers in {millis} ms");
            if place == BankPlace::Other {
                Check::warn(name, what, "make sure that this is your bank")
            } else {
                Check::ok(name, what)
            }
        }
        Err(ListFault::RateLimited { .. }) => Check::warn(
            name,
            format!("{it}; asks to slow down (HTTP 429)"),
            "wait a little, then look again; see who else uses this token",
        ),
        Err(
            fault @ (ListFault::Unreachable(_)
            | ListFault::UnknownCard
            | ListFault::Refused(_)
            | ListFault::NotTheBank(_)
            | ListFault::Shifting
            | ListFault::TooLong(_)),
        ) => Check::fail(
            name,
            Exit::Unusable,
            format!("{it}; {fault}"),
            "check bank.base_url, the network and its firewall",
        ),
    }
}

async fn list_access(client: &BankClient, probed: &Probed) -> Check {
    let name = "list access";
    let (card, from) = match probed {
        Probed::Named(card) => (card, SystemClock.wall().minus(ASK_LOOKBACK)),
        Probed::Paid { job, begun_at } => (&job.card_id, begun_at.minus(ASK_LOOKBACK)),
        Probed::Nobody => return not_tried(name, "name a card with --card"),
    };
    let operations = match client.list(card, from).await {
        Ok(operations) => operations,
        Err(fault) => {
            return Check::warn(
                name,
                format!("the list of card {card} cannot be read: {fault}"),
                "without it, what is in doubt can only be settled by a person: ask the bank for \
                 the right to list, or name another card with --card",
            );
        }
    };
    let rows = words::counted(
        u64::try_from(operations.len()).unwrap_or(u64::MAX),
        "operation",
        "operations",
    );
    match probed {
        Probed::Paid { job, .. } if !listing::returns_entity_id(job, &operations) => Check::warn(
            name,
            format!(
                "the list of card {card} can be read ({rows}), but does not show {}, which the \
                 bank confirmed",
                job.entity_id
            ),
            "do not believe that what this list does not show was not paid; ask the bank's support",
        ),
        Probed::Paid { job, .. } => Check::ok(
            name,
            format!(
                "the list of card {card} shows {}, which the bank had confirmed",
                job.entity_id
            ),
        ),
        Probed::Named(_) | Probed::Nobody => Check::ok(
            name,
            format!("the list of card {card} can be read ({rows} in the last ten minutes)"),
        ),
    }
}

fn clock(bank: Option<Timestamp>) -> Check {
    let name = "clock";
    let Some(bank) = bank else {
        return Check::warn(name, "the bank told no time", "see the line of the bank");
    };
    compare(SystemClock.wall(), bank)
}

/// A job's `not_after` counts as passed when either clock is past it.
fn compare(ours: Timestamp, bank: Timestamp) -> Check {
    let name = "clock";
    let (ahead, behind) = (ours.since(bank), bank.since(ours));
    let remedy = "set this machine's clock (NTP)";
    if ahead > CLOCKS_APART_MAX {
        let what = format!(
            "ours is {} ahead of the bank's: a job with not_after counts as expired that much too \
             early and is not sent",
            words::span(ahead)
        );
        return Check::warn(name, what, remedy);
    }
    if behind > CLOCKS_APART_MAX {
        let what = format!(
            "ours is {} behind the bank's: not_after goes by the bank's clock all the same, but \
             the times on record are that much too early",
            words::span(behind)
        );
        return Check::warn(name, what, remedy);
    }
    let apart = words::span(ahead.max(behind));
    Check::ok(
        name,
        format!("{apart} apart from the bank's, which tells whole seconds"),
    )
}

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::*;

    #[test]
    fn clocks_that_differ_say_what_it_means() {
        let bank = Timestamp::from_millis(1_795_000_000_000);
        let apart = Duration::from_secs(31);
        let well = compare(bank.plus(Duration::from_secs(30)), bank);
        assert_eq!(well.level, Level::Ok);
        let ahead = compare(bank.plus(apart), bank);
        assert_eq!(ahead.level, Level::Warn);
        assert!(ahead.what.contains("not sent"), "{}", ahead.what);
        let behind = compare(bank.minus(apart), bank);
        assert_eq!(behind.level, Level::Warn);
        assert!(behind.what.contains("behind"), "{}", behind.what);
    }
}
