//! What must hold, by the books of the bank and all that was told. The ledger is asked only about what it
//! remembered.
//!
//! *What it promises.* Pure: the same case is judged the same. Each rule looks at everything that could
//! break it and counts it; what could not have been broken in this round is not called held.
//!
//! *What it refuses to know.* How the case came about.

use std::collections::{BTreeMap, BTreeSet};

use super::accounts::{Sum, accounts};
use super::evidence::{Case, Content, Settling, Told};
use super::jobs::Kind;
use super::tested::Tested;
use crate::amqp::rehearsal::Taken;
use crate::domain::job::Job;
use crate::domain::key::{Generation, IdempotencyKey, Namespace};
use crate::domain::outcome::{NotSentReason, Status};
use crate::simulator::knows_card;

/// Something that must hold.
pub(super) struct Rule {
    /// Its number, or its name where it has none.
    pub(super) id: &'static str,
    pub(super) says: &'static str,
    /// How it is checked here.
    pub(super) how: &'static str,
    judge: fn(&Case) -> Tested,
}

/// What a drill judges, in the order of its report.
pub(super) const RULES: &[Rule] = &[
    Rule {
        id: "I1",
        says: "one entity_id moves money at most once",
        how: "every entity_id in the bank's books: one movement, and of a job that was asked for",
        judge: once,
    },
    Rule {
        id: "I2",
        says: "nothing is sent before the ledger has it on record",
        how: "after kills: everything the bank had moved is on record in the ledger that was left (a power \
              cut is not tried)",
        judge: on_record,
    },
    Rule {
        id: "I3",
        says: "no message is lost, and none is acknowledged without its outcome",
        how: "every message that was published has its outcome on the results, and none is left in the queue",
        judge: nothing_lost,
    },
    Rule {
        id: "I4",
        says: "one final outcome for each job, always with the same event id and the same bytes",
        how: "every outcome as often as it was told, and final outcomes in the ledger after a kill and at the \
              end",
        judge: one_end,
    },
    Rule {
        id: "I5",
        says: "what may have moved is never called rejected, not_sent, invalid or conflict",
        how: "every outcome of this kind, also those of the meantime, against the bank's books",
        judge: never_called_failed,
    },
    Rule {
        id: "I6",
        says: "the same entity_id with other content never reaches the bank",
        how: "every movement against its job; every copy with another amount is told as a conflict and moves \
              nothing",
        judge: no_other_content,
    },
    Rule {
        id: "I7",
        says: "jobs of one card are applied in their order",
        how: "every two movements that follow each other on a card in the bank's books",
        judge: in_order,
    },
    Rule {
        id: "I8",
        says: "what is sent again has the same key and the same bytes",
        how: "every payment that the bank heard again under a key it knew, and every key that was told",
        judge: same_key_same_bytes,
    },
    Rule {
        id: "I9",
        says: "trouble of the bank or of the connection costs no job its life",
        how: "every rejected job carries the bank's own refusal, and none was given up for another reason than \
              its own last moment",
        judge: trouble_kills_no_job,
    },
    Rule {
        id: "I10",
        says: "outcomes and books sum to what was asked for",
        how: "counts and sums for each currency and operation, of jobs, outcomes and movements",
        judge: sums_close,
    },
    Rule {
        id: "I11",
        says: "everything has a bound",
        how: "a drill is too short to see what grows",
        judge: too_short_to_see,
    },
    Rule {
        id: "I12",
        says: "no token and no whole card id in what is logged",
        how: "every line that the processes wrote to stderr, with --log-level info",
        judge: nothing_leaks,
    },
    Rule {
        id: "I13",
        says: "once faults stop, every job settles by itself",
        how: "every job, once the last fault was over; but for those on cards that the bank says it does not know",
        judge: settles,
    },
    Rule {
        id: "I14",
        says: "succeeded only on the bank's own answer or its list",
        how: "every succeeded job against the bank's books, and the operation id where its list was asked",
        judge: paid_is_paid,
    },
    Rule {
        id: "dead letters",
        says: "what nobody will retry is dead-lettered, with the reason",
        how: "every such outcome has its letter and every letter its outcome; what is no job comes back byte \
              for byte",
        judge: dead_letters,
    },
    Rule {
        id: "processes",
        says: "a stop ends in time with its exit code, and nothing ends unasked",
        how: "every end of the process that pays",
        judge: ends_as_told,
    },
];

const NOT_HURT: &str = "nothing was killed, cut or lied about";
const ONLY_QUEUE: &str = "a file has no messages: give a broker with --amqp";

/// Each rule on this case, in the order of [`RULES`].
pub(super) fn judge(case: &Case) -> Vec<Tested> {
    let judged = RULES.iter().map(|rule| (rule.judge)(case).done());
    judged.collect()
}

fn job_of(case: &Case) -> BTreeMap<&str, &Job> {
    let named = case.jobs.iter().map(|job| (job.entity_id.as_str(), job));
    named.collect()
}

fn name_of(told: &Told) -> &str {
    told.entity_id
        .as_deref()
        .unwrap_or("a message without a name")
}

// ---- the bank's books -------------------------------------------------------------------------

fn once(case: &Case) -> Tested {
    let jobs = job_of(case);
    let mut tested = Tested::default();
    for (entity_id, found) in &case.books.entities {
        let times = found.movements;
        tested.check(times == 1, || {
            format!("{entity_id} was applied {times} times")
        });
        tested.check(jobs.contains_key(entity_id.as_str()), || {
            format!("{entity_id} was applied and nobody asked for it")
        });
    }
    let nameless = case.books.without_entity_id;
    tested.check(nameless == 0, || {
        format!("{nameless} movements have no entity_id")
    });
    let moved = !case.books.entities.is_empty();
    tested
        .needs(moved, "no money moved")
        .needs(case.was_hurt(), NOT_HURT)
}

fn on_record(case: &Case) -> Tested {
    let memory = &case.memory;
    let mut tested = Tested {
        checks: memory.intents,
        ..Tested::default()
    };
    for entity_id in &memory.unknown {
        tested.check(false, || {
            format!("{entity_id} was applied, and the ledger of the process that was killed does not know it")
        });
    }
    tested.needs(
        memory.intents > 0,
        "no kill left movements that could be looked up",
    )
}

fn no_other_content(case: &Case) -> Tested {
    let jobs = job_of(case);
    let mut tested = Tested::default();
    for (entity_id, found) in &case.books.entities {
        let Some(job) = jobs.get(entity_id.as_str()) else {
            continue;
        };
        let asked = Content::of_job(job);
        for movement in &found.operations {
            let done = Content::of_movement(movement);
            tested.check(done == asked, || {
                format!(
                    "{entity_id} asks for {asked}, the bank did {done}, or did it on another card"
                )
            });
        }
    }
    let tried = conflicts_are_told(case, &mut tested);
    tested.needs(tried, "no copy with other content was there")
}

/// Whether there was any copy with other content.
fn conflicts_are_told(case: &Case, tested: &mut Tested) -> bool {
    if let Some(again) = &case.again {
        for (entity_id, told) in &again.altered {
            tested.check(told == Status::Conflict.as_str(), || {
                format!("{entity_id} came with another amount and was told as {told:?}")
            });
        }
        let calls = again.calls;
        tested.check(calls == 0, || {
            format!("{calls} payments were sent when everything had been settled")
        });
        return !again.altered.is_empty();
    }
    let sent: BTreeSet<_> = (case.messages.iter().flatten())
        .filter(|message| message.kind == Kind::Conflict)
        .filter_map(|message| message.job.as_ref())
        .map(|job| (job.entity_id.as_str().to_owned(), Content::of_job(job)))
        .collect();
    let told: BTreeSet<_> = (case.told.iter())
        .filter(|told| told.status == Status::Conflict)
        .filter_map(|told| Some((told.entity_id.clone()?, told.content.clone()?)))
        .collect();
    for (entity_id, content) in &sent {
        let is_told = told.contains(&(entity_id.clone(), content.clone()));
        tested.check(is_told, || {
            format!("{entity_id} came with other content, and that is not told")
        });
    }
    for (entity_id, _) in told.difference(&sent) {
        tested.check(false, || {
            format!("{entity_id} is told as a conflict, and was not sent so")
        });
    }
    !sent.is_empty()
}

fn in_order(case: &Case) -> Tested {
    let place: BTreeMap<_, _> = (case.jobs.iter().zip(0_u64..))
        .map(|(job, place)| (job.entity_id.as_str(), place))
        .collect();
    let mut cards: BTreeMap<&str, Vec<(u64, &str)>> = BTreeMap::new();
    for (entity_id, found) in &case.books.entities {
        for movement in &found.operations {
            let card = cards.entry(&movement.card_id).or_default();
            card.push((movement.serial, entity_id));
        }
    }
    let mut tested = Tested::default();
    for applied in cards.values_mut() {
        applied.sort_unstable();
        for pair in applied.windows(2) {
            let [(_, before), (_, after)] = pair else {
                continue;
            };
            let (first, second) = (place.get(before), place.get(after));
            tested.check(first <= second, || {
                format!("{after} stood before {before} and was applied after it, on one card")
            });
        }
    }
    tested
        .needs(case.was_hurt(), NOT_HURT)
        .needs(!cards.is_empty(), "no money moved")
}

fn same_key_same_bytes(case: &Case) -> Tested {
    let mut tested = Tested {
        checks: case.books.replays,
        ..Tested::default()
    };
    let others = case.books.key_collisions;
    for _ in 0..others {
        tested.check(false, || {
            "a payment came under the key of another, or with other bytes than before".to_owned()
        });
    }
    let namespace = Namespace::default();
    let jobs = job_of(case);
    for told in case.told.iter().filter(|told| !told.key.is_empty()) {
        let job = told.entity_id.as_deref().and_then(|name| jobs.get(name));
        let Some(job) = job.filter(|_| told.is_of_job()) else {
            continue;
        };
        let key = IdempotencyKey::derive(&namespace, &job.entity_id, Generation::FIRST).to_string();
        tested.check(told.key == key && told.generation == Some(1), || {
            let (name, told_key) = (name_of(told), &told.key);
            format!(
                "{name} was told with the key {told_key}, which is not that of its first generation"
            )
        });
    }
    let resent = case.books.replays + others > 0;
    tested.needs(
        resent,
        "no payment came again under a key that the bank knew",
    )
}

// ---- what was told ----------------------------------------------------------------------------

fn nothing_lost(case: &Case) -> Tested {
    let mut tested = Tested::default();
    let Some(messages) = &case.messages else {
        return tested.needs(false, ONLY_QUEUE);
    };
    let told: BTreeSet<_> = (case.told.iter())
        .filter(|told| told.is_of_job())
        .filter_map(|told| told.entity_id.as_deref())
        .collect();
    for message in messages {
        let job = match (message.kind, &message.job) {
            (Kind::Job | Kind::Copy | Kind::Conflict, Some(job)) => job,
            (Kind::Unreadable, _) | (_, None) => continue,
        };
        let entity_id = job.entity_id.as_str();
        tested.check(told.contains(entity_id), || {
            format!("{entity_id} was published, and nothing is told of it")
        });
    }
    let unreadable = messages.iter().filter(|it| it.kind == Kind::Unreadable);
    let sent = unreadable.count();
    let invalid: BTreeSet<_> = (case.told.iter())
        .filter(|told| told.status == Status::Invalid)
        .filter_map(|told| told.letter.as_ref().map(|letter| &letter.event_id))
        .collect();
    let told_invalid = invalid.len();
    tested.check(told_invalid == sent, || {
        format!("{sent} messages are no jobs, {told_invalid} are told as invalid")
    });
    let left = case.left;
    tested.check(left == 0, || {
        format!("{left} messages are left in the queue of jobs")
    });
    let gibberish = case.gibberish;
    tested.check(gibberish == 0, || {
        format!("{gibberish} messages on the results are no outcomes")
    });
    tested.needs(case.was_hurt(), NOT_HURT)
}

fn one_end(case: &Case) -> Tested {
    let mut tested = Tested {
        checks: case.memory.finals,
        ..Tested::default()
    };
    for entity_id in &case.memory.changed {
        tested.check(false, || {
            format!("{entity_id} had a final outcome in the ledger, and another one later")
        });
    }
    let mut ends: BTreeMap<(&str, Option<u32>), &Told> = BTreeMap::new();
    let mut events: BTreeMap<&str, &Told> = BTreeMap::new();
    for told in &case.told {
        if let Some(letter) = &told.letter {
            check_letterhead(told, &mut tested);
            let first = events.entry(&letter.event_id).or_insert(told);
            tested.check(first.bytes == told.bytes, || {
                let event = &letter.event_id;
                format!(
                    "the event {event} ({}) was told with two bodies",
                    name_of(told)
                )
            });
        }
        if !told.is_end() {
            continue;
        }
        let first = ends.entry((name_of(told), told.generation)).or_insert(told);
        tested.check(first.bytes == told.bytes, || {
            let (name, one, other) = (name_of(told), first.status, told.status);
            format!("{name} ended as {one} and was told again as {other}, or in other words")
        });
    }
    for told in case.told.iter().filter(|it| it.is_of_job() && !it.is_end()) {
        let end = ends.get(&(name_of(told), told.generation));
        let comes_before = end.is_none_or(|end| told.place < end.place || told.seq < end.seq);
        tested.check(comes_before, || {
            format!("{} is told as {} after its end", name_of(told), told.status)
        });
    }
    tested.needs(case.was_hurt(), NOT_HURT)
}

/// That an outcome goes where its status says, under its own id.
fn check_letterhead(told: &Told, tested: &mut Tested) {
    let Some(letter) = &told.letter else { return };
    let status = told.status.as_str();
    let agrees = letter.routing_key == status
        && letter.message_id == letter.event_id
        && letter.kind == crate::wire::outcome::SCHEMA
        && letter.says_final == told.status.is_final();
    tested.check(agrees, || {
        let event = &letter.event_id;
        format!(
            "the event {event} ({}, {status}) has a head that says otherwise",
            name_of(told)
        )
    });
}

fn never_called_failed(case: &Case) -> Tested {
    let jobs = job_of(case);
    let mut tested = Tested::default();
    for told in &case.told {
        let moved = case.books.movements(name_of(told)) > 0;
        match told.status {
            Status::Rejected | Status::NotSent => tested.check(!moved, || {
                let (name, status) = (name_of(told), told.status);
                format!("{name} is told as {status}, and its money moved")
            }),
            // About a copy: the job itself may have moved money.
            Status::Conflict => {
                let job = told.entity_id.as_deref().and_then(|name| jobs.get(name));
                let is_the_job = job.is_some_and(|job| told.content == Some(Content::of_job(job)));
                tested.check(!is_the_job, || {
                    format!("{} itself is told as a conflict with itself", name_of(told))
                });
            }
            Status::Invalid | Status::Succeeded | Status::InDoubt | Status::Waiting => {}
        }
    }
    let unclear = ["lost", "cut", "hang", "late", "reset", "error"];
    let was_unclear = case.journal.kills > 0 || unclear.iter().any(|lie| case.lies(lie) > 0);
    tested.needs(was_unclear, "every answer of the bank was clear")
}

fn trouble_kills_no_job(case: &Case) -> Tested {
    let mut tested = Tested::default();
    for told in case.told.iter().filter(|told| told.is_end()) {
        match told.status {
            Status::Rejected => {
                tested.check(!told.refusal.is_empty() && !told.log_id.is_empty(), || {
                    format!(
                        "{} is rejected without the bank's own refusal",
                        name_of(told)
                    )
                });
            }
            Status::NotSent => {
                tested.check(told.reason == NotSentReason::Expired.as_str(), || {
                    let (name, reason) = (name_of(told), &told.reason);
                    format!("{name} was given up ({reason})")
                });
            }
            Status::Succeeded => tested.check(true, String::new),
            Status::Invalid | Status::Conflict | Status::InDoubt | Status::Waiting => {}
        }
    }
    let troubles = [
        "limit",
        "error",
        "unauthorized",
        "portal",
        "reset",
        "list_error",
    ];
    let outages: u64 = case.journal.shuts.values().sum();
    let was_there = outages > 0 || troubles.iter().any(|lie| case.lies(lie) > 0);
    tested.needs(was_there, "there was no trouble")
}

fn settles(case: &Case) -> Tested {
    let last = case.last_told();
    let mut tested = Tested::default();
    for job in &case.jobs {
        let entity_id = job.entity_id.as_str();
        let told = last.get(entity_id);
        // What the bank tells nobody, only a person can decide.
        let may_stay = told.is_some() && !knows_card(&job.card_id);
        let has_ended = told.is_some_and(|told| told.is_end());
        tested.check(has_ended || may_stay, || match told {
            Some(told) => format!("{entity_id} is still {} ({})", told.status, told.reason),
            None => format!("nothing is told of {entity_id}"),
        });
    }
    if let Settling::NotWithin(limit) = case.settling {
        tested.check(false, || {
            format!(
                "not everything was settled {} s after the last fault",
                limit.as_secs()
            )
        });
    }
    tested.needs(case.was_hurt(), NOT_HURT)
}

fn paid_is_paid(case: &Case) -> Tested {
    let mut tested = Tested::default();
    for (entity_id, told) in case.last_told() {
        if told.status != Status::Succeeded {
            continue;
        }
        let found = case.books.entities.get(entity_id);
        tested.check(found.is_some(), || {
            format!("{entity_id} is told as succeeded, and no money moved")
        });
        let ids = found.iter().flat_map(|found| &found.operations);
        let mut ids = ids.map(|movement| &movement.id);
        let is_its = told.operation_id.is_empty() || ids.any(|id| *id == told.operation_id);
        tested.check(is_its, || {
            format!("{entity_id} is told with an operation id that is not its own at the bank")
        });
    }
    let succeeded = tested.checks > 0;
    tested.needs(succeeded, "nothing succeeded")
}

// ---- sums -------------------------------------------------------------------------------------

fn sums_close(case: &Case) -> Tested {
    let mut tested = Tested::default();
    for ((currency, operation), account) in accounts(case) {
        let mut told = Sum::default();
        for sum in account.told.values() {
            told.merge(*sum);
        }
        let asked = account.asked;
        tested.check(told == asked, || {
            format!(
                "{operation} {currency}: {} jobs of {} minor units were asked for, the outcomes are {} of {}",
                asked.count, asked.minor, told.count, told.minor
            )
        });
        let succeeded = account.told.get(&Status::Succeeded);
        let (succeeded, moved) = (succeeded.copied().unwrap_or_default(), account.moved);
        tested.check(succeeded == moved, || {
            format!(
                "{operation} {currency}: {} of {} minor units are told as succeeded, the bank moved {} of {}",
                succeeded.count, succeeded.minor, moved.count, moved.minor
            )
        });
    }
    let last = case.last_place();
    if last > 0 {
        let rows = case.told.iter().filter(|told| told.place == last).count();
        let jobs = case.jobs.len();
        tested.check(rows == jobs, || {
            format!("the file has {jobs} rows, the last result file {rows}")
        });
        let gibberish = case.gibberish;
        tested.check(gibberish == 0, || {
            format!("{gibberish} rows of result files have a status that is none")
        });
    }
    tested
}

fn too_short_to_see(_: &Case) -> Tested {
    Tested::default().needs(false, "a drill is too short to see what grows")
}

// ---- the rest ---------------------------------------------------------------------------------

fn nothing_leaks(case: &Case) -> Tested {
    let scan = &case.journal.scan;
    let mut tested = Tested {
        checks: scan.lines,
        ..Tested::default()
    };
    for leak in &scan.leaks {
        tested.check(false, || leak.clone());
    }
    tested.needs(scan.lines > 0, "nothing was logged")
}

fn dead_letters(case: &Case) -> Tested {
    let mut tested = Tested::default();
    let Some(messages) = &case.messages else {
        return tested.needs(false, ONLY_QUEUE);
    };
    let ends: BTreeMap<_, _> = (case.told.iter())
        .filter(|told| told.status.is_dead_lettered())
        .filter_map(|told| {
            told.letter
                .as_ref()
                .map(|head| (head.event_id.as_str(), told))
        })
        .collect();
    let mut seen = BTreeSet::new();
    for letter in &case.dead {
        let event = header(letter, "tanda-event-id");
        seen.insert(event);
        match ends.get(event) {
            Some(told) => check_letter(letter, told, &mut tested),
            None => tested.check(false, || {
                format!("the dead letter {event} has no outcome of its event id")
            }),
        }
    }
    for (event, told) in &ends {
        tested.check(seen.contains(event), || {
            format!(
                "{} is {} and has no dead letter",
                name_of(told),
                told.status
            )
        });
    }
    let sent: BTreeSet<_> = (messages.iter())
        .filter(|message| message.kind == Kind::Unreadable)
        .map(|message| &message.body)
        .collect();
    let back: BTreeSet<_> = (case.dead.iter())
        .filter(|letter| letter.routing_key == Status::Invalid.as_str())
        .map(|letter| &letter.body)
        .collect();
    for body in sent.symmetric_difference(&back) {
        tested.check(false, || {
            let shown = String::from_utf8_lossy(body.get(..40).unwrap_or(body)).into_owned();
            format!("what is no job did not come back byte for byte: {shown:?}")
        });
    }
    tested
}

fn header<'a>(letter: &'a Taken, name: &str) -> &'a str {
    letter.headers.get(name).map_or("", String::as_str)
}

/// That a dead letter says what its outcome says, and holds its job.
fn check_letter(letter: &Taken, told: &Told, tested: &mut Tested) {
    let status = told.status.as_str();
    let head = told.letter.as_ref();
    let http_status = head.and_then(|head| head.http_status);
    let error_code = head.and_then(|head| head.error_code.clone());
    let agrees = letter.routing_key == status
        && header(letter, "tanda-status") == status
        && header(letter, "tanda-reason") == told.reason
        && header(letter, "tanda-log-id") == told.log_id
        && header(letter, "tanda-error-code") == error_code.unwrap_or_default()
        && header(letter, "tanda-http-status")
            == http_status.map(|it| it.to_string()).unwrap_or_default();
    tested.check(agrees, || {
        format!(
            "the dead letter of {} ({status}) does not say what its outcome says",
            name_of(told)
        )
    });
    if told.status == Status::Invalid {
        return;
    }
    let currencies = crate::domain::money::Currencies::default();
    let job = crate::wire::job::decode(&letter.body, &currencies).ok();
    let is_its = job.is_some_and(|job| {
        told.entity_id.as_deref() == Some(job.entity_id.as_str())
            && told.content == Some(Content::of_job(&job))
    });
    tested.check(is_its, || {
        format!(
            "the dead letter of {} ({status}) does not hold its job",
            name_of(told)
        )
    });
}

/// What SIGTERM ends with.
const TERMINATED: i32 = 143;

fn ends_as_told(case: &Case) -> Tested {
    let journal = &case.journal;
    let mut tested = Tested {
        checks: journal.starts,
        ..Tested::default()
    };
    for stop in &journal.stops {
        tested.check(stop.code == Some(TERMINATED), || {
            let ended = match stop.code {
                Some(code) => format!("with {code}"),
                None => "only by force".to_owned(),
            };
            format!("a stop ended {ended} after {} ms", stop.took.as_millis())
        });
    }
    for words in &journal.ended_wrongly {
        tested.check(false, || words.clone());
    }
    tested
}

#[cfg(test)]
#[path = "judge_tests.rs"]
mod tests;
