//! What a round pays: jobs of its own or those of a file, and messages that are none.
//!
//! *What it promises.* The same seed gives the same jobs and the same messages in the same order. No
//! withdrawal is refused for want of money. Every name is new in every round.
//!
//! *What it refuses to know.* What becomes of them.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Value, json};

use super::chance::Chance;
use crate::domain::job::{Draft, Job, Operation};
use crate::domain::money::{Amount, Currencies};
use crate::wire;

/// Jobs for each card, on average: some that wait behind another, many cards at once.
const JOBS_PER_CARD: u64 = 8;
/// Most of a card's money that withdrawals of a round ask for, in minor units: less than what the
/// simulated bank gives each card when it is first seen.
const WITHDRAWN_MOST_MINOR: i64 = 90_000_000;
/// One job in so many is for a card that the bank refuses.
const REFUSED_ONE_IN: u64 = 200;
/// Cards that the simulated bank refuses and can be asked about, by the end of their name.
const REFUSED_CARDS: [&str; 3] = ["Frozen", "Cancelled", "Forbidden"];
/// What travels beside the jobs over RabbitMQ, in so many of a hundred jobs: copies, copies that say
/// something else, and what is no job.
const COPIES_PER_CENT: u64 = 5;
const CONFLICTS_PER_CENT: u64 = 1;
const UNREADABLE_PER_CENT: u64 = 2;
/// Half of the copies come within so many messages of their original, the others anywhere after it.
const NEAR: u64 = 200;
/// Jobs of a file that come again with another amount, at most.
const ALTERED_MOST: usize = 20;
/// The header of the files that a drill writes.
const COLUMNS: &str = "entity_id,card_id,operation,amount_minor,currency,description\n";

/// What a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Job,
    /// The same job again.
    Copy,
    /// The same name with other content.
    Conflict,
    /// No job at all.
    Unreadable,
}

impl Kind {
    /// Whether what is told of it is a fact about the message, apart from any job.
    pub(super) const fn is_fact(self) -> bool {
        match self {
            Self::Conflict | Self::Unreadable => true,
            Self::Job | Self::Copy => false,
        }
    }
}

/// A message for the queue of jobs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) kind: Kind,
    /// What it asks for; none where it cannot be read.
    pub(super) job: Option<Job>,
    pub(super) body: Vec<u8>,
}

/// So many jobs, over an eighth as many cards.
pub(super) fn make(chance: &Chance, prefix: &str, count: u64) -> Vec<Job> {
    let cards = (count / JOBS_PER_CARD).max(1);
    let mut withdrawn: BTreeMap<u64, i64> = BTreeMap::new();
    (0..count)
        .map(|n| {
            let number = chance.within("card", n, &(0..=cards - 1));
            let is_refused = chance.draw("refused", n).is_multiple_of(REFUSED_ONE_IN);
            let topup_minor = chance.within("minor", n, &(500_000..=900_000_000));
            let less_minor = i64::try_from(topup_minor / 100).unwrap_or(i64::MAX);
            let sum = withdrawn.entry(number).or_default();
            let may_take = !is_refused
                && chance.happens("withdraws", n, 10)
                && *sum + less_minor <= WITHDRAWN_MOST_MINOR;
            let (operation, minor) = if may_take {
                *sum += less_minor;
                (Operation::Withdrawal, less_minor)
            } else {
                let minor = i64::try_from(topup_minor).unwrap_or(i64::MAX);
                (Operation::Topup, minor)
            };
            let card_id = if is_refused {
                refused_card(chance, n)
            } else {
                format!("car_{number:022}")
            };
            job(&format!("{prefix}-{n:06}"), card_id, operation, minor, n)
        })
        .collect()
}

fn refused_card(chance: &Chance, n: u64) -> String {
    let among = u64::try_from(REFUSED_CARDS.len()).unwrap_or(1);
    let which = usize::try_from(chance.draw("ending", n) % among).unwrap_or(0);
    let ending = REFUSED_CARDS.get(which).copied().unwrap_or("Frozen");
    format!("car_{ending:0>22}")
}

fn job(entity_id: &str, card_id: String, operation: Operation, minor: i64, n: u64) -> Job {
    let draft = Draft {
        entity_id: entity_id.to_owned(),
        card_id,
        operation: operation.as_str().to_owned(),
        amount_minor: minor,
        currency: "COP".to_owned(),
        description: Some(format!("N\u{f3}mina {n}")),
        not_after: None,
    };
    let valid = draft.validate(&Currencies::default());
    valid.expect("a drill makes jobs that are valid")
}

/// A file of these jobs.
pub(super) fn csv(jobs: &[Job]) -> String {
    let mut text = COLUMNS.to_owned();
    for job in jobs {
        let (minor, currency) = (job.amount.minor().to_string(), job.amount.currency());
        let fields = [
            job.entity_id.as_str(),
            job.card_id.as_str(),
            job.operation.as_str(),
            &minor,
            currency.as_str(),
            job.description.as_deref().unwrap_or_default(),
        ];
        let cells = fields.map(|field| format!("\"{}\"", field.replace('"', "\"\"")));
        writeln!(text, "{}", cells.join(",")).expect("a string takes every text");
    }
    text
}

/// Some of these jobs, each with one minor unit more: other content under a name that was there before.
pub(super) fn altered(chance: &Chance, jobs: &[Job]) -> Vec<Job> {
    let fit: Vec<_> = jobs.iter().filter(|job| is_plain(job)).collect();
    let wanted = (fit.len() / 100).clamp(1, ALTERED_MOST);
    let every = (fit.len() / wanted).max(1);
    let first = usize::try_from(chance.draw("altered", 0)).unwrap_or(0) % every;
    let chosen = fit.into_iter().skip(first).step_by(every).take(wanted);
    chosen.filter_map(altered_job).collect()
}

/// Whether a sheet's traps and separators are none of its name's business.
fn is_plain(job: &Job) -> bool {
    let name = job.entity_id.as_str();
    let is_letter = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_' || c == '.';
    name.chars().all(is_letter) && name.starts_with(|c: char| c.is_ascii_alphabetic())
}

fn altered_job(job: &Job) -> Option<Job> {
    let amount = Amount::new(job.amount.minor() + 1, job.amount.currency())?;
    Some(Job {
        amount,
        description: None,
        ..job.clone()
    })
}

/// These jobs as messages in their order, with copies, conflicts and what is no job between them.
pub(super) fn messages(chance: &Chance, jobs: &[Job]) -> Vec<Message> {
    let count = u64::try_from(jobs.len()).unwrap_or(u64::MAX);
    // Each with the place of the job that it comes behind, and what orders those of one place.
    let mut placed: Vec<((u64, u64), Message)> = Vec::new();
    for (n, job) in (0_u64..).zip(jobs) {
        let body = wire::job::encode(job);
        placed.push(((n, 0), message(Kind::Job, Some(job.clone()), body)));
        if chance.happens("copied", n, COPIES_PER_CENT) {
            let copy = copy_of(chance, n, job);
            placed.push(((after(chance, "copy", n, count), 1 + n), copy));
        }
        let other =
            altered_job(job).filter(|_| chance.happens("contradicted", n, CONFLICTS_PER_CENT));
        if let Some(other) = other {
            let body = wire::job::encode(&other);
            let conflict = message(Kind::Conflict, Some(other), body);
            placed.push(((after(chance, "conflict", n, count), 1 + n), conflict));
        }
        if chance.happens("unreadable", n, UNREADABLE_PER_CENT) {
            let body = unreadable(chance, n, job);
            placed.push(((n, 1 + count + n), message(Kind::Unreadable, None, body)));
        }
    }
    placed.sort_by_key(|(place, _)| *place);
    placed.into_iter().map(|(_, message)| message).collect()
}

fn message(kind: Kind, job: Option<Job>, body: Vec<u8>) -> Message {
    Message { kind, job, body }
}

/// A place not before this one.
fn after(chance: &Chance, question: &str, n: u64, count: u64) -> u64 {
    let last = count.saturating_sub(1).max(n);
    let near = last.min(n.saturating_add(NEAR));
    let end = if chance.happens(&format!("{question}.near"), n, 50) {
        near
    } else {
        last
    };
    chance.within(&format!("{question}.place"), n, &(n..=end))
}

/// Another description is no conflict: the first stays.
fn copy_of(chance: &Chance, n: u64, job: &Job) -> Message {
    let mut copy = job.clone();
    if chance.happens("copy.described", n, 50) {
        copy.description = Some("again".to_owned());
    }
    let body = wire::job::encode(&copy);
    message(Kind::Copy, Some(copy), body)
}

/// No two with the same bytes: their digest is all that tells them apart.
fn unreadable(chance: &Chance, n: u64, job: &Job) -> Vec<u8> {
    let name = format!("BAD-{n:06}");
    let good = json!({
        "entity_id": name, "card_id": job.card_id.as_str(), "operation": "topup",
        "amount": { "amount": 100_000, "currency": "COP" },
    });
    let with = |field: &str, value: Value| {
        let mut body = good.clone();
        if let Some(slot) = body.as_object_mut() {
            slot.insert(field.to_owned(), value);
        }
        body.to_string().into_bytes()
    };
    let text = good.to_string();
    let bodies = [
        [b"\xff\xfe\x00", name.as_bytes()].concat(),
        format!("not JSON {name}").into_bytes(),
        text.as_bytes()
            .strip_suffix(b"}")
            .unwrap_or_default()
            .to_vec(),
        format!("{text}}}").into_bytes(),
        json!([name]).to_string().into_bytes(),
        with("entity_id", json!(format!("{name} "))),
        with("card_id", json!(format!("car_{name}"))),
        with("operation", json!("transfer")),
        with("amount", json!({ "amount": 1.5, "currency": "COP" })),
        with("amount", json!({ "amount": "100000", "currency": "COP" })),
        with("amount", json!({ "amount": 0, "currency": "COP" })),
        with("amount", json!({ "amount": 100_000, "currency": "pesos" })),
        with("not_after", json!("tomorrow")),
        with("padding", json!("x".repeat(wire::job::MAX_BYTES))),
        // It names a real job, and must not touch it.
        with("entity_id", json!(job.entity_id.as_str()))
            .strip_suffix(b"}")
            .map(|open| [open, format!(",\"unknown\":{n}}}").as_bytes()].concat())
            .unwrap_or_default(),
    ];
    let which = usize::try_from(chance.draw("shape", n)).unwrap_or(0) % bodies.len();
    bodies.into_iter().nth(which).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn jobs(seed: u64, count: u64) -> Vec<Job> {
        make(&Chance::new(seed), "D-1", count)
    }

    #[test]
    fn the_same_seed_gives_the_same_jobs_and_messages() {
        assert_eq!(jobs(5, 300), jobs(5, 300));
        assert_ne!(jobs(5, 300), jobs(6, 300));
        let messages = |seed| messages(&Chance::new(seed), &jobs(seed, 300));
        assert_eq!(messages(5), messages(5));
    }

    #[test]
    fn a_round_has_both_operations_several_jobs_for_a_card_and_some_that_are_refused() {
        let jobs = jobs(1, 2_000);
        let cards: BTreeSet<_> = jobs.iter().map(|job| job.card_id.as_str()).collect();
        assert!((200..300).contains(&cards.len()), "{}", cards.len());
        let ends = |ending: &str| cards.iter().any(|card| card.ends_with(ending));
        assert!(REFUSED_CARDS.iter().any(|ending| ends(ending)));
        let withdrawals = jobs
            .iter()
            .filter(|job| job.operation == Operation::Withdrawal);
        let count = withdrawals.count();
        assert!((100..300).contains(&count), "{count}");
    }

    #[test]
    fn messages_keep_the_order_of_the_jobs_and_copies_come_behind_them() {
        let jobs = jobs(2, 2_000);
        let messages = messages(&Chance::new(2), &jobs);
        let of = |kind| messages.iter().filter(move |it| it.kind == kind);
        let first: Vec<_> = of(Kind::Job).filter_map(|it| it.job.clone()).collect();
        assert_eq!(first, jobs);
        for (kind, range) in [
            (Kind::Copy, 60..140),
            (Kind::Conflict, 5..40),
            (Kind::Unreadable, 15..70),
        ] {
            let count = of(kind).count();
            assert!(range.contains(&count), "{count} {kind:?}");
        }
        let mut seen = BTreeSet::new();
        for message in &messages {
            let Some(job) = &message.job else { continue };
            match message.kind {
                Kind::Job => assert!(seen.insert(job.entity_id.clone())),
                Kind::Copy | Kind::Conflict => assert!(seen.contains(&job.entity_id)),
                Kind::Unreadable => panic!("it has no job"),
            }
        }
    }

    #[test]
    fn what_is_no_job_is_refused_and_no_two_are_the_same() {
        let jobs = jobs(3, 1_000);
        let bodies: Vec<_> = (0..1_000)
            .map(|n| unreadable(&Chance::new(3), n, &jobs[0]))
            .collect();
        for body in &bodies {
            let read = wire::job::decode(body, &Currencies::default());
            assert!(read.is_err(), "{}", String::from_utf8_lossy(body));
        }
        let unique: BTreeSet<_> = bodies.iter().collect();
        assert_eq!(unique.len(), bodies.len());
    }

    #[test]
    fn some_jobs_of_a_file_come_again_with_other_content() {
        let jobs = jobs(4, 300);
        let altered = altered(&Chance::new(4), &jobs);
        assert_eq!(altered.len(), 3);
        for other in &altered {
            let job = jobs.iter().find(|job| job.entity_id == other.entity_id);
            let job = job.expect("one of them");
            assert_ne!(job.fingerprint(), other.fingerprint());
        }
        assert!(csv(&altered).starts_with("entity_id,"));
    }
}
