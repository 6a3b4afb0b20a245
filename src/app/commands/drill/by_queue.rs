//! A round over RabbitMQ: `tanda worker` is hurt again and again while jobs wait in the queue.
//!
//! *What it promises.* Every message on the results and the dead letters is kept as evidence. Queues and
//! exchanges are the drill's own, and are removed at the end of the round.
//!
//! *What it refuses to know.* Whether what was told is right.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};
use tokio::time::Instant;

use super::evidence::{Case, Settling, Told};
use super::jobs::{self, Message};
use super::plan::Plan;
use super::proxy::Proxy;
use super::stage::Ground;
use super::world::{Found, Payer, World, unusable};
use super::{Round, SETTLE_LIMIT};
use crate::amqp::rehearsal::Taken;
use crate::amqp::{AmqpError, Broker, BrokerSettings, Names, Rehearsal};
use crate::app::compose::amqp_failure;
use crate::app::exit::Failure;
use crate::domain::job::Job;
use crate::simulator::knows_card;

/// What comes is read for so long before the worker is looked at again.
const READ_FOR: Duration = Duration::from_millis(100);
/// After the worker has ended, what comes within this time was on its way.
const LAST_READ: Duration = Duration::from_secs(1);

/// A broker whose owner lets a drill have queues of its own.
#[derive(Clone)]
pub(super) struct Ours {
    url: SecretString,
    broker: Broker,
    /// Whether anything of the drill's may be there.
    was_used: Arc<AtomicBool>,
}

impl fmt::Debug for Ours {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.broker.fmt(f)
    }
}

impl Ours {
    /// The broker at this URL, with names under `tanda.drill.ID`.
    pub(super) fn new(url: SecretString, id: &str) -> Result<Self, AmqpError> {
        let mut settings = BrokerSettings::parse(url.expose_secret(), false)?;
        settings.names = names(id);
        let broker = Broker::new(settings);
        let was_used = Arc::default();
        Ok(Self {
            url,
            broker,
            was_used,
        })
    }

    /// Host, port and virtual host, for people.
    pub(super) fn place(&self) -> String {
        self.broker.settings().place()
    }

    /// Whether its connections can be cut on the way: what is encrypted must come from the host that its
    /// certificate names.
    pub(super) fn can_be_cut(&self) -> bool {
        !self.broker.settings().is_encrypted()
    }

    /// Removes whatever is left of the drill's queues and exchanges.
    pub(super) async fn clear(&self) -> Result<(), AmqpError> {
        if self.was_used.load(Ordering::Relaxed) {
            return Rehearsal::clear(&self.broker).await;
        }
        Ok(())
    }
}

fn names(id: &str) -> Names {
    let named = |what: &str| format!("tanda.drill.{id}.{what}");
    Names {
        jobs_exchange: named("jobs"),
        jobs_queue: named("jobs"),
        results_exchange: named("results"),
        results_queue: named("results"),
        dead_exchange: named("dead"),
        dead_queue: named("dead"),
    }
}

/// The same URL with another host and port.
fn redirected(url: &str, host: &str, port: u16) -> Option<String> {
    let (scheme, rest) = url.trim().split_once("://")?;
    let ends = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at_checked(ends)?;
    let user = authority
        .rsplit_once('@')
        .map(|(user, _)| format!("{user}@"));
    let user = user.unwrap_or_default();
    Some(format!("{scheme}://{user}{host}:{port}{path}"))
}

/// Plays a round.
pub(super) async fn play(
    ground: &mut Ground,
    round: Round<'_>,
    jobs: Vec<Job>,
    ours: &Ours,
) -> Result<Case, Failure> {
    let mut rehearsal = Rehearsal::make(&ours.broker, &ours.was_used)
        .await
        .map_err(failed)?;
    let messages = jobs::messages(round.chance, &jobs);
    let before_broker = proxy_before(ours).await?;
    set_up(ground, ours, before_broker.as_ref());
    let payer = (Payer::Worker, vec!["worker".to_owned()]);
    let progress = round.progress.clone();
    let world = World::begin(ground, round.seed, before_broker, payer, progress);
    let mut world = world.await?;
    world.ground.prepare(&["init"]).await?;
    let bodies: Vec<_> = messages
        .iter()
        .map(|message| message.body.clone())
        .collect();
    rehearsal.publish(bodies).await.map_err(failed)?;
    let plan = Plan::new(round.chance.clone(), ours.can_be_cut(), round.lies.clone());
    for n in 0.. {
        // Where no job waits there is nothing left to be hurt.
        if world.is_spent()
            || round.is_over(&world.journal)
            || rehearsal.waiting().await.map_err(failed)? == 0
        {
            break;
        }
        world.strike(&plan, n).await?;
    }
    world.calm().await?;
    let (settling, mut taken) = settle(&mut world, &mut rehearsal, &jobs, &messages).await?;
    if world.find()? == Found::Running {
        world.stop().await?;
    }
    taken.extend(rehearsal.take(LAST_READ).await.map_err(failed)?);
    let seen = world.end().await?;
    let left = rehearsal.waiting().await.map_err(failed)?;
    rehearsal.remove().await.map_err(failed)?;
    let (dead, results): (Vec<_>, Vec<_>) = taken.into_iter().partition(|it| it.is_dead_letter);
    let told: Vec<_> = results.iter().filter_map(Told::by_queue).collect();
    Ok(Case {
        gibberish: u64::try_from(results.len() - told.len()).unwrap_or(u64::MAX),
        jobs,
        messages: Some(messages),
        told,
        dead,
        left,
        books: seen.books,
        journal: seen.journal,
        memory: seen.memory,
        again: None,
        settling,
    })
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "it is what `map_err` hands over"
)]
fn failed(error: AmqpError) -> Failure {
    amqp_failure(&error)
}

async fn proxy_before(ours: &Ours) -> Result<Option<Proxy>, Failure> {
    if !ours.can_be_cut() {
        return Ok(None);
    }
    let (host, port) = ours.broker.settings().address();
    let proxy = Proxy::before(host, port).await;
    proxy.map(Some).map_err(|error| unusable(error.into()))
}

/// What a worker is told of the broker.
fn set_up(ground: &mut Ground, ours: &Ours, before_broker: Option<&Proxy>) {
    let url = ours.url.expose_secret();
    let behind = before_broker.and_then(|proxy| {
        let address = proxy.address();
        redirected(url, &address.ip().to_string(), address.port())
    });
    let names = &ours.broker.settings().names;
    for (setting, value) in [
        ("URL", &behind.unwrap_or_else(|| url.to_owned())),
        ("JOBS_EXCHANGE", &names.jobs_exchange),
        ("JOBS_QUEUE", &names.jobs_queue),
        ("RESULTS_EXCHANGE", &names.results_exchange),
        ("RESULTS_QUEUE", &names.results_queue),
        ("DEAD_EXCHANGE", &names.dead_exchange),
        ("DEAD_QUEUE", &names.dead_queue),
        // They are made so that they go by themselves, which a worker would not ask for.
        ("DECLARE", &"false".to_owned()),
    ] {
        ground.set(&format!("TANDA_AMQP__{setting}"), value.clone());
    }
}

/// Lets the worker do what is left; what it told meanwhile and before.
async fn settle(
    world: &mut World<'_>,
    rehearsal: &mut Rehearsal,
    jobs: &[Job],
    messages: &[Message],
) -> Result<(Settling, Vec<Taken>), Failure> {
    let began = Instant::now();
    let mut open: BTreeSet<&str> = jobs.iter().map(|job| job.entity_id.as_str()).collect();
    // What the bank tells nobody is only told, and not ended.
    let closed = jobs.iter().filter(|job| !knows_card(&job.card_id));
    let closed: BTreeSet<_> = closed.map(|job| job.entity_id.as_str()).collect();
    let facts = messages.iter().filter(|message| message.kind.is_fact());
    let facts = facts.count();
    let (mut taken, mut told_facts) = (Vec::new(), BTreeSet::new());
    loop {
        world.start()?;
        for message in rehearsal.take(READ_FOR).await.map_err(failed)? {
            if let Some(told) = Told::by_queue(&message).filter(|_| !message.is_dead_letter) {
                let name = told.entity_id.as_deref().unwrap_or_default();
                if told.is_end() || (told.is_of_job() && closed.contains(name)) {
                    open.remove(name);
                } else if told.status.is_final() {
                    told_facts.insert(message.message_id.clone());
                }
            }
            taken.push(message);
        }
        let is_told = open.is_empty() && told_facts.len() >= facts;
        if is_told && rehearsal.waiting().await.map_err(failed)? == 0 {
            return Ok((Settling::After(began.elapsed()), taken));
        }
        if world.gave_up || began.elapsed() >= SETTLE_LIMIT {
            return Ok((Settling::NotWithin(began.elapsed()), taken));
        }
        world.find()?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_redirected_with_its_user_and_virtual_host() {
        for (url, expected) in [
            (
                "amqp://guest:guest@localhost:5672/%2F",
                "amqp://guest:guest@127.0.0.1:99/%2F",
            ),
            ("amqp://localhost", "amqp://127.0.0.1:99"),
            (
                "amqp://u:p%40@[::1]:5/v?x=1",
                "amqp://u:p%40@127.0.0.1:99/v?x=1",
            ),
            (
                "amqp://u@h?heartbeat=1",
                "amqp://u@127.0.0.1:99?heartbeat=1",
            ),
        ] {
            assert_eq!(redirected(url, "127.0.0.1", 99).as_deref(), Some(expected));
        }
        assert_eq!(redirected("localhost", "127.0.0.1", 99), None);
    }

    #[test]
    fn the_names_of_a_drill_are_its_own() {
        let names = names("7f3a");
        assert_eq!(names.jobs_queue, "tanda.drill.7f3a.jobs");
        assert_eq!(names.lock_queue(), "tanda.drill.7f3a.lock");
        for usual in ["tanda.jobs", "tanda.results", "tanda.dead", "tanda.lock"] {
            assert!(!names.is_ours(usual));
        }
    }
}
