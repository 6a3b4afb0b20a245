//! The judge is judged: two small cases in which all holds, and each way in which it may not.

use std::time::Duration;

use super::*;
use crate::app::commands::drill::evidence::{
    Again, End, Journal, Letterhead, Memory, Scan, Settling,
};
use crate::app::commands::drill::jobs::Message;
use crate::app::commands::drill::tested::Standing;
use crate::domain::job::Draft;
use crate::domain::money::Currencies;
use crate::files::RowResult;
use crate::simulator::{EntityReport, Movement, Report};
use crate::wire::bank::Money;
use crate::wire::outcome::{BankError, BankWords, OutcomeMessage, SCHEMA};

const CARD: &str = "car_5tgliBmzjZ6mpQPRbQjfKj";
const OTHER_CARD: &str = "car_0000000000000000000000";
const CLOSED_CARD: &str = "car_000000000000000Unknown";
const NO_JOB: &[u8] = b"\xffno job";

fn job(name: &str, card: &str, minor: i64) -> Job {
    let draft = Draft {
        entity_id: name.to_owned(),
        card_id: card.to_owned(),
        operation: "topup".to_owned(),
        amount_minor: minor,
        currency: "COP".to_owned(),
        ..Draft::default()
    };
    draft.validate(&Currencies::default()).expect("a job")
}

/// Paid at once; found in the list; refused; expired; and one that only a person can decide.
fn jobs() -> Vec<Job> {
    vec![
        job("J0", CARD, 100),
        job("J1", CARD, 101),
        job("J2", OTHER_CARD, 102),
        job("J3", OTHER_CARD, 103),
        job("J4", CLOSED_CARD, 104),
    ]
}

fn movement(job: &Job, serial: u64) -> Movement {
    Movement {
        serial,
        id: format!("cbo_{serial}"),
        card_id: job.card_id.as_str().to_owned(),
        operation: job.operation.as_str().to_owned(),
        amount: Money {
            amount: job.amount.minor(),
            currency: "COP".to_owned(),
        },
        performed_at: "2026-11-30T00:00:00.000Z".to_owned(),
    }
}

fn moved(movements: Vec<Movement>) -> EntityReport {
    EntityReport {
        movements: u64::try_from(movements.len()).expect("few"),
        totals: Vec::new(),
        operations: movements,
    }
}

fn books(jobs: &[Job]) -> Report {
    Report {
        entities: [
            ("J0".to_owned(), moved(vec![movement(&jobs[0], 1)])),
            ("J1".to_owned(), moved(vec![movement(&jobs[1], 2)])),
        ]
        .into(),
        replays: 3,
        faults: [("lost".to_owned(), 2), ("error".to_owned(), 2)].into(),
        ..Report::default()
    }
}

fn journal() -> Journal {
    Journal {
        kills: 4,
        starts: 6,
        stops: vec![End {
            code: Some(143),
            took: Duration::from_millis(40),
        }],
        scan: Scan {
            lines: 100,
            leaks: Vec::new(),
        },
        ..Journal::default()
    }
}

fn memory() -> Memory {
    Memory {
        intents: 2,
        finals: 1,
        ..Memory::default()
    }
}

fn key(name: &str) -> String {
    let name = crate::domain::job::EntityId::parse(name).expect("a name");
    IdempotencyKey::derive(&Namespace::default(), &name, Generation::FIRST).to_string()
}

// ---- by file ----------------------------------------------------------------------------------

fn row(name: &str, status: &str) -> RowResult {
    RowResult {
        status: status.to_owned(),
        key: key(name),
        generation: "1".to_owned(),
        settled_at: "2026-11-30T00:00:00.000Z".to_owned(),
        ..RowResult::default()
    }
}

fn by_file() -> Case {
    let jobs = jobs();
    let found = RowResult {
        reason: "found_in_list".to_owned(),
        operation_id: "cbo_2".to_owned(),
        ..row("J1", "succeeded")
    };
    let refused = RowResult {
        bank_code: "card_frozen".to_owned(),
        bank_log_id: "log_1".to_owned(),
        ..row("J2", "rejected")
    };
    let expired = RowResult {
        reason: "expired".to_owned(),
        ..row("J3", "not_sent")
    };
    let first = [
        row("J0", "succeeded"),
        row("J1", "in_doubt"),
        refused.clone(),
        row("J3", "waiting"),
        row("J4", "in_doubt"),
    ];
    let last = [
        row("J0", "succeeded"),
        found,
        refused,
        expired,
        row("J4", "in_doubt"),
    ];
    let told = [first, last]
        .into_iter()
        .zip(1..)
        .flat_map(|(results, place)| {
            let rows = jobs.iter().zip(results).collect::<Vec<_>>();
            rows.into_iter()
                .filter_map(move |(job, result)| Told::by_file(place, job, &result))
                .collect::<Vec<_>>()
        });
    Case {
        told: told.collect(),
        books: books(&jobs),
        jobs,
        messages: None,
        gibberish: 0,
        dead: Vec::new(),
        left: 0,
        journal: journal(),
        memory: memory(),
        again: Some(Again {
            calls: 0,
            altered: vec![("J0".to_owned(), "conflict".to_owned())],
        }),
        settling: Settling::After(Duration::from_secs(1)),
    }
}

// ---- over RabbitMQ ----------------------------------------------------------------------------

fn message(job: Option<&Job>, status: &str, seq: u32) -> OutcomeMessage {
    let name = job.map(|job| job.entity_id.as_str().to_owned());
    let shown = name.clone().unwrap_or_else(|| "bad".to_owned());
    let is_of_job = job.is_some() && status != "conflict";
    OutcomeMessage {
        schema: SCHEMA.to_owned(),
        event_id: format!("{shown}-{status}"),
        seq,
        card_id: job.map(|job| job.card_id.as_str().to_owned()),
        operation: job.map(|job| job.operation.as_str().to_owned()),
        amount: job.map(|job| Money {
            amount: job.amount.minor(),
            currency: "COP".to_owned(),
        }),
        status: status.to_owned(),
        is_final: status != "in_doubt" && status != "waiting",
        idempotency_key: name.as_deref().filter(|_| is_of_job).map(key),
        generation: is_of_job.then_some(1),
        attempts: 1,
        bank: None,
        reason: None,
        batch_id: None,
        line: None,
        received_at: None,
        settled_at: "2026-11-30T00:00:00.000Z".to_owned(),
        entity_id: name,
    }
}

fn published(message: &OutcomeMessage) -> Taken {
    Taken {
        is_dead_letter: false,
        routing_key: message.status.clone(),
        message_id: message.event_id.clone(),
        kind: SCHEMA.to_owned(),
        headers: BTreeMap::new(),
        body: message.encode(),
    }
}

fn dead(message: &OutcomeMessage, body: Vec<u8>) -> Taken {
    let bank = message.bank.clone().unwrap_or_default();
    let code = bank.errors.first().map(|error| error.error_code.clone());
    let headers = [
        ("tanda-status", Some(message.status.clone())),
        ("tanda-event-id", Some(message.event_id.clone())),
        ("tanda-reason", message.reason.clone()),
        ("tanda-log-id", bank.log_id),
        ("tanda-error-code", code),
        (
            "tanda-http-status",
            bank.http_status.map(|it| it.to_string()),
        ),
    ];
    let headers = headers
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value?)));
    Taken {
        is_dead_letter: true,
        headers: headers.collect(),
        body,
        ..published(message)
    }
}

fn told(message: &OutcomeMessage) -> Told {
    Told::by_queue(&published(message)).expect("an outcome")
}

fn sent(kind: Kind, job: Option<&Job>, body: &[u8]) -> Message {
    Message {
        kind,
        job: job.cloned(),
        body: body.to_vec(),
    }
}

fn by_queue() -> Case {
    let jobs = jobs();
    let other = job("J0", OTHER_CARD, 100);
    let body = crate::wire::job::encode;
    let mut refused = message(Some(&jobs[2]), "rejected", 1);
    refused.bank = Some(BankWords {
        http_status: Some(422),
        errors: vec![BankError {
            error_code: "card_frozen".to_owned(),
            message: "frozen".to_owned(),
            path: None,
        }],
        log_id: Some("log_1".to_owned()),
        ..BankWords::default()
    });
    let mut expired = message(Some(&jobs[3]), "not_sent", 2);
    expired.reason = Some("expired".to_owned());
    let mut contradicted = message(Some(&other), "conflict", 1);
    contradicted.reason = Some("other_content".to_owned());
    let mut invalid = message(None, "invalid", 1);
    invalid.reason = Some("not_json".to_owned());
    let mut found = message(Some(&jobs[1]), "succeeded", 2);
    found.bank = Some(BankWords {
        operation_id: Some("cbo_2".to_owned()),
        ..BankWords::default()
    });
    let outcomes = [
        message(Some(&jobs[0]), "succeeded", 1),
        message(Some(&jobs[1]), "in_doubt", 1),
        found,
        refused.clone(),
        message(Some(&jobs[3]), "waiting", 1),
        expired.clone(),
        message(Some(&jobs[4]), "in_doubt", 1),
        contradicted.clone(),
        invalid.clone(),
        // Told again, as it may be.
        message(Some(&jobs[0]), "succeeded", 1),
    ];
    let mut messages: Vec<_> = (jobs.iter())
        .map(|job| sent(Kind::Job, Some(job), &body(job)))
        .collect();
    messages.push(sent(Kind::Copy, Some(&jobs[0]), &body(&jobs[0])));
    messages.push(sent(Kind::Conflict, Some(&other), &body(&other)));
    messages.push(sent(Kind::Unreadable, None, NO_JOB));
    Case {
        told: outcomes.iter().map(told).collect(),
        dead: vec![
            dead(&refused, body(&jobs[2])),
            dead(&expired, body(&jobs[3])),
            dead(&contradicted, body(&other)),
            dead(&invalid, NO_JOB.to_vec()),
        ],
        messages: Some(messages),
        again: None,
        jobs,
        ..by_file()
    }
}

// ---- the good cases ---------------------------------------------------------------------------

fn standings(case: &Case) -> BTreeMap<&'static str, Tested> {
    let rules = RULES.iter().map(|rule| rule.id);
    rules.zip(judge(case)).collect()
}

#[test]
fn where_all_holds_nothing_is_broken_and_what_was_not_exercised_is_said() {
    for (case, idle) in [
        (by_file(), vec!["I11", "I3", "dead letters"]),
        (by_queue(), vec!["I11"]),
    ] {
        let standings = standings(&case);
        let broken: Vec<_> = (standings.iter())
            .flat_map(|(id, tested)| tested.breaches.iter().map(move |words| (*id, words)))
            .collect();
        assert!(broken.is_empty(), "{broken:?}");
        let not_exercised: Vec<_> = (standings.iter())
            .filter(|(_, tested)| tested.standing() == Standing::NotExercised)
            .map(|(id, _)| *id)
            .collect();
        assert_eq!(not_exercised, idle);
    }
}

#[test]
fn what_nothing_was_done_to_is_not_called_held() {
    for mut case in [by_file(), by_queue()] {
        case.journal = Journal::default();
        case.memory = Memory::default();
        case.books.faults.clear();
        case.books.replays = 0;
        let standings = standings(&case);
        for id in ["I1", "I2", "I3", "I4", "I5", "I7", "I8", "I9", "I12", "I13"] {
            assert_eq!(standings[id].standing(), Standing::NotExercised, "{id}");
        }
    }
}

// ---- planted violations -----------------------------------------------------------------------

type Change = Box<dyn Fn(&mut Case)>;

fn change(change: impl Fn(&mut Case) + 'static) -> Change {
    Box::new(change)
}

/// What must be broken, what the judge must say, in part, and how the case is changed so that it is.
fn planted() -> Vec<(&'static str, &'static str, Change)> {
    let mut all = planted_in_books();
    all.extend(planted_in_what_was_seen());
    all
}

#[expect(clippy::too_many_lines, reason = "a table")]
fn planted_in_books() -> Vec<(&'static str, &'static str, Change)> {
    vec![
        (
            "I1",
            "J0 was applied 2 times",
            change(|case| {
                let twice = vec![movement(&case.jobs[0], 1), movement(&case.jobs[0], 9)];
                case.books.entities.insert("J0".to_owned(), moved(twice));
            }),
        ),
        (
            "I1",
            "J9 was applied and nobody asked for it",
            change(|case| {
                let stranger = moved(vec![movement(&job("J9", CARD, 1), 9)]);
                case.books.entities.insert("J9".to_owned(), stranger);
            }),
        ),
        (
            "I1",
            "1 movements have no entity_id",
            change(|case| case.books.without_entity_id = 1),
        ),
        (
            "I5",
            "J2 is told as rejected, and its money moved",
            change(|case| {
                let paid = moved(vec![movement(&case.jobs[2], 9)]);
                case.books.entities.insert("J2".to_owned(), paid);
            }),
        ),
        (
            "I5",
            "J3 is told as not_sent, and its money moved",
            change(|case| {
                let paid = moved(vec![movement(&case.jobs[3], 9)]);
                case.books.entities.insert("J3".to_owned(), paid);
            }),
        ),
        (
            "I6",
            "J0 asks for topup of 100 minor units COP, the bank did topup of 7",
            change(|case| {
                let other = moved(vec![movement(&job("J0", CARD, 7), 1)]);
                case.books.entities.insert("J0".to_owned(), other);
            }),
        ),
        (
            "I7",
            "J0 stood before J1",
            change(|case| {
                let late = moved(vec![movement(&case.jobs[0], 9)]);
                case.books.entities.insert("J0".to_owned(), late);
            }),
        ),
        (
            "I8",
            "under the key of another",
            change(|case| case.books.key_collisions = 1),
        ),
        (
            "I10",
            "1 of 101 minor units are told as succeeded",
            change(|case| {
                case.told
                    .retain(|told| told.entity_id.as_deref() != Some("J0"));
            }),
        ),
        (
            "I10",
            "the bank moved 1 of 101",
            change(|case| drop(case.books.entities.remove("J0"))),
        ),
        (
            "I14",
            "J0 is told as succeeded, and no money moved",
            change(|case| drop(case.books.entities.remove("J0"))),
        ),
        (
            "I14",
            "J1 is told with an operation id that is not its own",
            change(|case| {
                let other = moved(vec![movement(&case.jobs[1], 8)]);
                case.books.entities.insert("J1".to_owned(), other);
            }),
        ),
    ]
}

#[expect(clippy::too_many_lines, reason = "a table")]
fn planted_in_what_was_seen() -> Vec<(&'static str, &'static str, Change)> {
    vec![
        (
            "I2",
            "J1 was applied, and the ledger",
            change(|case| {
                case.memory.unknown.insert("J1".to_owned());
            }),
        ),
        (
            "I4",
            "J0 had a final outcome in the ledger",
            change(|case| {
                case.memory.changed.insert("J0".to_owned());
            }),
        ),
        (
            "I4",
            "J0 ended as succeeded and was told again as succeeded",
            change(|case| {
                let last = case.told.iter_mut().rev();
                let mut of_it = last.filter(|told| told.entity_id.as_deref() == Some("J0"));
                of_it.next().expect("told").bytes.push(b' ');
            }),
        ),
        (
            "I8",
            "J0 was told with the key 1, which is not that",
            change(|case| case.told[0].key = "1".to_owned()),
        ),
        (
            "I9",
            "J2 is rejected without the bank's own refusal",
            change(|case| case.told.iter_mut().for_each(|told| told.log_id.clear())),
        ),
        (
            "I9",
            "J3 was given up (attempts_spent)",
            change(|case| {
                for told in &mut case.told {
                    if told.status == Status::NotSent {
                        told.reason = "attempts_spent".to_owned();
                    }
                }
            }),
        ),
        (
            "I12",
            "a whole card id stands in line 3",
            change(|case| {
                let leak = "a whole card id stands in line 3 of what was logged";
                case.journal.scan.leaks.push(leak.to_owned());
            }),
        ),
        (
            "I13",
            "J1 is still in_doubt",
            change(|case| {
                case.told.retain(|told| {
                    told.entity_id.as_deref() != Some("J1") || told.status == Status::InDoubt
                });
            }),
        ),
        (
            "I13",
            "nothing is told of J4",
            change(|case| {
                case.told
                    .retain(|told| told.entity_id.as_deref() != Some("J4"));
            }),
        ),
        (
            "I13",
            "not everything was settled 60 s after",
            change(|case| case.settling = Settling::NotWithin(Duration::from_secs(60))),
        ),
        (
            "processes",
            "a stop ended with 1",
            change(|case| case.journal.stops[0].code = Some(1)),
        ),
        (
            "processes",
            "a stop ended only by force",
            change(|case| case.journal.stops[0].code = None),
        ),
        (
            "processes",
            "unasked with 1",
            change(|case| {
                let words = "the process that pays ended unasked with 1: a fault";
                case.journal.ended_wrongly.push(words.to_owned());
            }),
        ),
    ]
}

fn planted_in_files() -> Vec<(&'static str, &'static str, Change)> {
    vec![
        (
            "I4",
            "J0 ended as succeeded and was told again as rejected",
            change(|case| {
                let refused = RowResult {
                    bank_log_id: "log_1".to_owned(),
                    bank_code: "x".to_owned(),
                    ..row("J0", "rejected")
                };
                let told = Told::by_file(2, &case.jobs[0], &refused).expect("told");
                case.told.push(told);
            }),
        ),
        (
            "I4",
            "J0 is told as in_doubt after its end",
            change(|case| {
                let told = Told::by_file(3, &case.jobs[0], &row("J0", "in_doubt"));
                case.told.push(told.expect("told"));
            }),
        ),
        (
            "I6",
            "J0 came with another amount and was told as \"succeeded\"",
            change(|case| {
                let again = case.again.as_mut().expect("again");
                again.altered[0].1 = "succeeded".to_owned();
            }),
        ),
        (
            "I6",
            "2 payments were sent when everything had been settled",
            change(|case| case.again.as_mut().expect("again").calls = 2),
        ),
        (
            "I10",
            "the file has 5 rows, the last result file 4",
            change(|case| drop(case.told.pop())),
        ),
        (
            "I10",
            "1 rows of result files have a status that is none",
            change(|case| case.gibberish = 1),
        ),
    ]
}

fn letterhead(case: &mut Case, change: impl FnOnce(&mut Letterhead)) {
    change(case.told[0].letter.as_mut().expect("it came by RabbitMQ"));
}

#[expect(clippy::too_many_lines, reason = "a table")]
fn planted_in_messages() -> Vec<(&'static str, &'static str, Change)> {
    vec![
        (
            "I3",
            "J0 was published, and nothing is told of it",
            change(|case| {
                case.told
                    .retain(|told| told.entity_id.as_deref() != Some("J0"));
            }),
        ),
        (
            "I3",
            "1 messages are no jobs, 0 are told as invalid",
            change(|case| case.told.retain(|told| told.status != Status::Invalid)),
        ),
        (
            "I3",
            "1 messages are left in the queue",
            change(|case| case.left = 1),
        ),
        (
            "I3",
            "1 messages on the results are no outcomes",
            change(|case| case.gibberish = 1),
        ),
        (
            "I4",
            "has a head that says otherwise",
            change(|case| letterhead(case, |it| it.routing_key = "rejected".to_owned())),
        ),
        (
            "I4",
            "has a head that says otherwise",
            change(|case| letterhead(case, |it| it.message_id = String::new())),
        ),
        (
            "I4",
            "has a head that says otherwise",
            change(|case| letterhead(case, |it| it.kind = "other".to_owned())),
        ),
        (
            "I4",
            "has a head that says otherwise",
            change(|case| letterhead(case, |it| it.says_final = false)),
        ),
        (
            "I4",
            "the event J0-succeeded (J0) was told with two bodies",
            change(|case| {
                let mut again = message(Some(&case.jobs[0]), "succeeded", 1);
                again.attempts = 2;
                case.told.push(told(&again));
            }),
        ),
        (
            "I4",
            "J0 ended as succeeded and was told again as succeeded",
            change(|case| {
                let mut again = message(Some(&case.jobs[0]), "succeeded", 1);
                again.event_id = "another".to_owned();
                case.told.push(told(&again));
            }),
        ),
        (
            "I4",
            "J0 is told as in_doubt after its end",
            change(|case| {
                let late = message(Some(&case.jobs[0]), "in_doubt", 2);
                case.told.push(told(&late));
            }),
        ),
        (
            "I5",
            "J0 itself is told as a conflict with itself",
            change(|case| {
                let wrong = message(Some(&case.jobs[0]), "conflict", 1);
                case.told.push(told(&wrong));
            }),
        ),
        (
            "I6",
            "J0 came with other content, and that is not told",
            change(|case| case.told.retain(|told| told.status != Status::Conflict)),
        ),
        (
            "I6",
            "J1 is told as a conflict, and was not sent so",
            change(|case| {
                let wrong = message(Some(&job("J1", CARD, 7)), "conflict", 1);
                case.told.push(told(&wrong));
            }),
        ),
    ]
}

fn planted_in_letters() -> Vec<(&'static str, &'static str, Change)> {
    let without =
        |header: &'static str| change(move |case| drop(case.dead[0].headers.remove(header)));
    let lie = "the dead letter of J2 (rejected) does not say";
    vec![
        (
            "dead letters",
            "J2 is rejected and has no dead letter",
            change(|case| drop(case.dead.remove(0))),
        ),
        (
            "dead letters",
            "bad-invalid has no outcome",
            change(|case| case.told.retain(|told| told.status != Status::Invalid)),
        ),
        ("dead letters", lie, without("tanda-status")),
        ("dead letters", lie, without("tanda-log-id")),
        ("dead letters", lie, without("tanda-error-code")),
        ("dead letters", lie, without("tanda-http-status")),
        (
            "dead letters",
            "of J3 (not_sent) does not say",
            change(|case| drop(case.dead[1].headers.remove("tanda-reason"))),
        ),
        (
            "dead letters",
            lie,
            change(|case| case.dead[0].routing_key = "invalid".to_owned()),
        ),
        (
            "dead letters",
            "of J2 (rejected) does not hold its job",
            change(|case| case.dead[0].body = case.dead[1].body.clone()),
        ),
        (
            "dead letters",
            "did not come back byte for byte",
            change(|case| case.dead[3].body = b"other".to_vec()),
        ),
    ]
}

#[test]
fn every_planted_violation_is_seen_and_called_by_its_name() {
    let both: [fn() -> Case; 2] = [by_file, by_queue];
    let of_both = both.into_iter().flat_map(|good| {
        let planted = planted().into_iter();
        planted.map(move |it| (good, it))
    });
    let of_files = planted_in_files().into_iter().map(|it| (both[0], it));
    let messages = planted_in_messages()
        .into_iter()
        .chain(planted_in_letters());
    let of_queues = messages.map(|it| (both[1], it));
    for (good, (id, words, change)) in of_both.chain(of_files).chain(of_queues) {
        let mut case = good();
        change(&mut case);
        let tested = &standings(&case)[id];
        assert_eq!(tested.standing(), Standing::Broken, "{id}: {words}");
        assert!(
            tested.breaches.iter().any(|breach| breach.contains(words)),
            "{id}: {words:?} is not among {:?}",
            tested.breaches
        );
    }
}

#[test]
fn accounts_are_kept_apart_and_close() {
    let accounts = accounts(&by_queue());
    let account = &accounts[&("COP".to_owned(), "topup".to_owned())];
    assert_eq!((account.asked.count, account.asked.minor), (5, 510));
    assert_eq!((account.moved.count, account.moved.minor), (2, 201));
    let told: u64 = account.told.values().map(|sum| sum.count).sum();
    assert_eq!(told, 5);
}
