//! Tests of the world: what comes before what, and what a fault leaves in the books.
//!
//! *What it promises.* Requests are answered as values: no wire, no clock.
//!
//! *What it refuses to know.* The server, which `tests/it/simulator.rs` tries over real TCP.

use std::collections::BTreeSet;

use super::*;
use crate::wire::bank::{Envelope, ListPage};

const CARD: &str = "/v1/cards/car_5tgliBmzjZ6mpQPRbQjfKj/prepaid/operations";
const OTHER_CARD: &str = "/v1/cards/car_000000000000000000000A/prepaid/operations";
const UNKNOWN_CARD: &str = "/v1/cards/car_000000000000000Unknown/prepaid/operations";

fn at(second: i64) -> Timestamp {
    Timestamp::from_millis(1_800_000_000_000 + second * 1000)
}

fn world(spec: &str) -> World {
    World::new(Settings {
        seed: 7,
        faults: Faults::parse(spec).expect("faults"),
        ..Settings::default()
    })
}

fn body(entity_id: &str, minor: i64) -> Vec<u8> {
    format!(
        r#"{{"amount":{{"amount":{minor},"currency":"COP"}},"entity_id":"{entity_id}","operation":"topup"}}"#
    )
    .into_bytes()
}

fn request<'a>(method: &'a str, target: &'a str, key: &'a str, body: &'a [u8]) -> Request<'a> {
    Request {
        method,
        target,
        authorization: Some("Bearer good"),
        key: Some(key).filter(|key| !key.is_empty()),
        body,
    }
}

fn send(world: &mut World, key: &str, entity_id: &str, now: Timestamp) -> Act {
    let body = body(entity_id, 100);
    world.answer(&request("POST", CARD, key, &body), now).act
}

fn answered(act: Act) -> Answer {
    match act {
        Act::Answer(answer) => answer,
        Act::Cut { .. } | Act::Reset | Act::Hang | Act::Refused => panic!("no answer: {act:?}"),
    }
}

fn status(act: Act) -> u16 {
    answered(act).status
}

fn error_code(act: Act) -> String {
    let answer = answered(act);
    let envelope: Envelope = serde_json::from_slice(&answer.body).expect("an envelope");
    let error = envelope.errors.into_iter().next().expect("an error");
    format!("{} {}", answer.status, error.error_code)
}

fn list(world: &mut World, query: &str, now: Timestamp) -> ListPage {
    let target = format!("{CARD}?{query}");
    let answer = answered(world.answer(&request("GET", &target, "", b""), now).act);
    serde_json::from_slice(&answer.body).expect("a page")
}

fn movements(world: &mut World, entity_id: &str, now: Timestamp) -> u64 {
    world.report(now).movements(entity_id)
}

#[test]
fn success_is_201_without_a_body_and_with_a_date() {
    let answer = answered(send(&mut world(""), "k", "A", at(0)));
    let expected = Answer {
        status: 201,
        date: "Fri, 15 Jan 2027 08:00:00 GMT".to_owned(),
        content_type: None,
        retry_after: None,
        body: Vec::new(),
    };
    assert_eq!(answer, expected);
}

#[test]
fn i1_a_known_key_is_answered_from_memory_and_an_expired_one_pays_again() {
    let mut world = world("key_life_s=60");
    for second in [0, 30, 59] {
        assert_eq!(status(send(&mut world, "k", "A", at(second))), 201);
    }
    assert_eq!(movements(&mut world, "A", at(59)), 1);
    assert_eq!(world.report(at(59)).replays, 2);
    assert_eq!(status(send(&mut world, "k", "A", at(60))), 201);
    assert_eq!(movements(&mut world, "A", at(60)), 2);
    let report = world.report(at(60));
    assert_eq!(report.moved_more_than_once().collect::<Vec<_>>(), ["A"]);
}

#[test]
fn without_a_key_nothing_protects() {
    let mut world = world("");
    for _ in 0..3 {
        assert_eq!(status(send(&mut world, "", "A", at(0))), 201);
    }
    assert_eq!(movements(&mut world, "A", at(0)), 3);
}

#[test]
fn i8_the_same_key_with_another_body_is_a_collision() {
    let mut world = world("");
    assert_eq!(status(send(&mut world, "k", "A", at(0))), 201);
    let collision = error_code(send(&mut world, "k", "B", at(0)));
    assert_eq!(collision, "409 idempotency_key_collision");
    assert_eq!(status(send(&mut world, "k", "A", at(0))), 201);
    let report = world.report(at(0));
    assert_eq!((report.movements("A"), report.movements("B")), (1, 0));
    assert_eq!(report.key_collisions, 1);
}

#[test]
fn a_key_is_looked_up_before_routing() {
    let mut world = world("");
    let body = body("A", 100);
    for target in [CARD, OTHER_CARD, "/v1/nowhere"] {
        let reply = world.answer(&request("POST", target, "k", &body), at(0));
        assert_eq!(status(reply.act), 201, "{target}");
    }
    assert_eq!(movements(&mut world, "A", at(0)), 1);
}

#[test]
fn a_refusal_is_remembered_even_when_its_cause_is_gone() {
    let mut world = World::new(Settings {
        funds_minor: Some(99),
        ..Settings::default()
    });
    let first = answered(send(&mut world, "k", "A", at(0)));
    assert_eq!(first.status, 422);
    let withdrawal = br#"{"amount":{"amount":500,"currency":"COP"},"operation":"withdrawal"}"#;
    let reply = world.answer(&request("POST", CARD, "w", withdrawal), at(0));
    assert_eq!(status(reply.act), 201);
    let again = answered(send(&mut world, "k", "A", at(1)));
    assert_eq!((again.status, &again.body), (422, &first.body));
    assert_eq!(movements(&mut world, "A", at(1)), 0);
    assert_eq!(status(send(&mut world, "another", "A", at(1))), 201);
}

#[test]
fn each_refusal_of_the_page_is_remembered() {
    for (target, body, expected) in [
        (CARD, &b"{"[..], 400),
        (
            "/v1/cards/car_0000000000000Forbidden/prepaid/operations",
            &body("A", 1),
            403,
        ),
        (UNKNOWN_CARD, &body("A", 1), 404),
        (CARD, &body("A", 0), 422),
    ] {
        let mut world = world("");
        for replays in 0..2 {
            let reply = world.answer(&request("POST", target, "k", body), at(0));
            assert_eq!(status(reply.act), expected);
            assert_eq!(world.report(at(0)).replays, replays, "{expected}");
        }
    }
}

#[test]
fn what_says_nothing_of_the_job_is_not_remembered() {
    for spec in [
        "unauthorized=100%",
        "forbid=100%",
        "limit=100%",
        "error=100%",
        "conflict=100%",
    ] {
        let mut world = world(spec);
        assert!(status(send(&mut world, "k", "A", at(0))) >= 401, "{spec}");
        assert_eq!(movements(&mut world, "A", at(0)), 0, "{spec}");
        world.set_faults(Faults::default(), at(0));
        assert_eq!(status(send(&mut world, "k", "A", at(0))), 201, "{spec}");
        assert_eq!(movements(&mut world, "A", at(0)), 1, "{spec}");
    }
}

#[test]
fn the_credential_is_looked_at_first() {
    let mut world = World::new(Settings {
        token: Some(Digest::of(b"good")),
        ..Settings::default()
    });
    let body = body("A", 100);
    let mut with = |authorization, method| {
        let request = Request {
            authorization,
            ..request(method, CARD, "k", &body)
        };
        world.answer(&request, at(0)).act
    };
    for method in ["GET", "POST"] {
        let missing = "401 missing_authorization_header";
        assert_eq!(error_code(with(None, method)), missing);
        assert_eq!(error_code(with(Some("Basic good"), method)), missing);
        assert_eq!(
            error_code(with(Some("Bearer bad"), method)),
            "401 expired_token"
        );
    }
    assert_eq!(status(with(Some("Bearer good"), "POST")), 201);
    world.accept_token(false);
    // Even what is in the memory of keys is kept from who may not ask.
    assert_eq!(
        error_code(send(&mut world, "k", "A", at(0))),
        "401 expired_token"
    );
    world.accept_token(true);
    assert_eq!(status(send(&mut world, "k", "A", at(0))), 201);
    assert_eq!(movements(&mut world, "A", at(0)), 1);
}

#[test]
fn every_fault_leaves_in_the_books_what_it_says() {
    for (kind, moved) in FaultKind::ALL.map(|kind| {
        let applied = match kind {
            FaultKind::Reset
            | FaultKind::Portal
            | FaultKind::Unauthorized
            | FaultKind::Forbid
            | FaultKind::Limit
            | FaultKind::Error
            | FaultKind::Conflict
            | FaultKind::Late
            | FaultKind::Refuse => 0,
            FaultKind::Lost
            | FaultKind::Hang
            | FaultKind::Cut
            | FaultKind::Slow
            | FaultKind::Shift
            | FaultKind::ListError
            | FaultKind::Nameless => 20,
        };
        (kind, applied)
    }) {
        let mut world = world(&format!("{}=100%", kind.as_str()));
        for n in 0..20 {
            let act = send(&mut world, &format!("k{n}"), "A", at(0));
            let fits = match kind {
                FaultKind::Reset => act == Act::Reset,
                FaultKind::Portal => {
                    let answer = answered(act);
                    answer.status == 200 && answer.content_type == Some(HTML)
                }
                FaultKind::Unauthorized => status(act) == 401,
                FaultKind::Forbid => status(act) == 403,
                FaultKind::Limit => status(act) == 429,
                FaultKind::Error => [500, 502, 503].contains(&status(act)),
                FaultKind::Conflict => status(act) == 409,
                FaultKind::Refuse => status(act) == 422,
                FaultKind::Late | FaultKind::Lost => {
                    matches!(act, Act::Reset | Act::Cut { bytes: 0, .. })
                }
                FaultKind::Hang => act == Act::Hang,
                FaultKind::Cut => matches!(act, Act::Cut { bytes: 1..80, .. }),
                FaultKind::Slow | FaultKind::Shift | FaultKind::ListError | FaultKind::Nameless => {
                    status(act) == 201
                }
            };
            assert!(fits, "{kind:?}");
        }
        assert_eq!(movements(&mut world, "A", at(0)), moved, "{kind:?}");
    }
}

#[test]
fn every_kind_of_error_and_every_end_of_a_line_comes_up() {
    let mut world = world("error=50%,lost=100%");
    let (mut statuses, mut ends) = (BTreeSet::new(), BTreeSet::new());
    for n in 0..200 {
        match send(&mut world, &format!("k{n}"), "A", at(0)) {
            Act::Answer(answer) => {
                let html = answer.content_type == Some(HTML);
                assert_eq!(html, answer.status == 502);
                statuses.insert(answer.status);
            }
            Act::Reset => {
                ends.insert("reset");
            }
            Act::Cut { bytes, .. } => {
                assert_eq!(bytes, 0);
                ends.insert("cut");
            }
            act @ (Act::Hang | Act::Refused) => panic!("{act:?}"),
        }
    }
    assert_eq!(statuses, BTreeSet::from([500, 502, 503]));
    assert_eq!(ends.len(), 2);
}

#[test]
fn a_lost_answer_is_lost_again_or_not_but_pays_once() {
    let mut world = world("lost=50%");
    for n in 0..50 {
        let (key, entity) = (format!("k{n}"), format!("E{n}"));
        let tries = (0..50)
            .take_while(|_| !matches!(send(&mut world, &key, &entity, at(0)), Act::Answer(_)));
        assert!(tries.count() < 50);
        assert_eq!(movements(&mut world, &entity, at(0)), 1);
    }
}

#[test]
fn faults_meet_the_same_requests_in_any_order() {
    let spec = "error=20%,lost=20%,reset=10%,limit=10%,hang=5%,cut=5%";
    let keys: Vec<_> = (0..300).map(|n| format!("k{n}")).collect();
    let outcome = |order: Vec<&String>| {
        let mut world = world(spec);
        let acts = order.into_iter().map(|key| {
            let act = send(&mut world, key, key, at(0));
            let seen = match &act {
                Act::Answer(answer) => format!("{} {:?}", answer.status, answer.retry_after),
                Act::Cut { bytes, .. } => format!("cut {bytes}"),
                Act::Reset | Act::Hang | Act::Refused => format!("{act:?}"),
            };
            (key.clone(), seen)
        });
        let acts: BTreeMap<_, _> = acts.collect();
        (acts, world.report(at(0)).faults)
    };
    let forwards = outcome(keys.iter().collect());
    let backwards = outcome(keys.iter().rev().collect());
    assert_eq!(forwards, backwards);
}

#[test]
fn a_late_request_is_applied_when_it_is_due_and_only_if_nobody_came_before() {
    let mut world = world("late=100%,late_ms=5000");
    send(&mut world, "k", "A", at(0));
    send(&mut world, "l", "B", at(0));
    assert_eq!(world.report(at(4)).late, 2);
    world.set_faults(Faults::default(), at(4));
    assert_eq!(status(send(&mut world, "l", "B", at(4))), 201);
    assert_eq!(movements(&mut world, "A", at(4)), 0);
    let report = world.report(at(5));
    assert_eq!(
        (report.movements("A"), report.movements("B"), report.late),
        (1, 1, 0)
    );
    let (a, b) = (
        &report.entities["A"].operations[0],
        &report.entities["B"].operations[0],
    );
    assert_eq!(a.performed_at, at(5).to_string());
    assert_eq!((b.serial, a.serial), (1, 2), "as they were applied");
}

#[test]
fn a_late_request_comes_even_after_its_key_was_forgotten() {
    let mut world = world("late=100%,late_ms=5000,key_life_s=1");
    send(&mut world, "k", "A", at(0));
    world.set_faults(Faults::parse("key_life_s=1").expect("faults"), at(0));
    assert_eq!(status(send(&mut world, "k", "A", at(1))), 201);
    assert_eq!(movements(&mut world, "A", at(9)), 2);
}

#[test]
fn retry_after_comes_in_every_form() {
    let mut world = world("limit=100%,retry_after_s=3");
    let forms: BTreeSet<_> = (0..100)
        .map(|n| answered(send(&mut world, &format!("k{n}"), "A", at(0))))
        .filter_map(|answer| answer.retry_after)
        .collect();
    let expected = [
        "3",
        "Fri Jan 15 08:00:03 2027",
        "Fri, 15 Jan 2027 08:00:03 GMT",
        "Friday, 15-Jan-27 08:00:03 GMT",
    ];
    assert_eq!(forms, expected.map(str::to_owned).into());
}

#[test]
fn a_list_shifts_while_it_is_read() {
    let mut world = world("");
    for n in 0..15 {
        send(&mut world, &format!("k{n}"), &format!("E{n}"), at(n));
    }
    world.set_faults(Faults::parse("shift=100%").expect("faults"), at(20));
    let first = list(&mut world, "page_number=1", at(20));
    let second = list(&mut world, "page_number=2", at(20));
    assert_eq!(first.pagination.total_items, 15);
    assert_eq!(second.pagination.total_items, 16);
    let last_of_first = first.data.last().and_then(|row| row.id.clone());
    let first_of_second = second.data.first().and_then(|row| row.id.clone());
    assert_eq!(last_of_first, first_of_second, "a row is seen twice");
    assert_eq!(world.report(at(20)).foreign, 2);
}

#[test]
fn a_list_fails_lags_or_forgets_names_when_told_to() {
    let mut world = world("list_error=100%");
    send(&mut world, "k", "A", at(0));
    let reply = world.answer(&request("GET", CARD, "", b""), at(0));
    assert_eq!(error_code(reply.act), "503 service_is_unavailable");
    world.set_faults(Faults::parse("nameless=100%").expect("faults"), at(0));
    let page = list(&mut world, "", at(0));
    assert_eq!(
        page.data.first().map(|row| row.entity_id.clone()),
        Some(None)
    );
    world.set_faults(Faults::parse("list_lag_ms=2000").expect("faults"), at(0));
    assert_eq!(list(&mut world, "", at(1)).pagination.total_items, 0);
    assert_eq!(list(&mut world, "", at(2)).pagination.total_items, 1);
}

#[test]
fn a_row_that_lost_its_name_has_lost_it_for_good() {
    let mut world = world("nameless=50%");
    for n in 0..20 {
        send(&mut world, &format!("k{n}"), &format!("E{n}"), at(0));
    }
    let names = |world: &mut World| -> Vec<_> {
        let page = list(world, "page_size=500", at(1));
        page.data.into_iter().map(|row| row.entity_id).collect()
    };
    let first = names(&mut world);
    assert!(first.contains(&None) && first.iter().any(Option::is_some));
    assert_eq!(first, names(&mut world));
}

#[test]
fn a_balance_is_read() {
    let mut world = world("");
    send(&mut world, "k", "A", at(0));
    let target = CARD.replace("operations", "balance");
    let answer = answered(world.answer(&request("GET", &target, "", b""), at(0)).act);
    assert_eq!(
        String::from_utf8(answer.body).expect("UTF-8"),
        r#"{"balance":{"amount":100000100,"currency":"COP"},"card_id":"car_5tgliBmzjZ6mpQPRbQjfKj"}"#
    );
}

#[test]
fn what_is_nowhere_is_not_found() {
    let mut world = world("");
    for (method, target) in [
        ("GET", "/"),
        ("GET", "/v1/cards/car_5tgliBmzjZ6mpQPRbQjfKj"),
        (
            "GET",
            "/v1/cards/car_5tgliBmzjZ6mpQPRbQjfKj/prepaid/operations/x",
        ),
        (
            "POST",
            "/v1/cards/car_5tgliBmzjZ6mpQPRbQjfKj/prepaid/balance",
        ),
        ("DELETE", CARD),
    ] {
        let reply = world.answer(&request(method, target, "", b""), at(0));
        assert_eq!(
            error_code(reply.act),
            "404 item_not_found",
            "{method} {target}"
        );
    }
    let long = "k".repeat(KEY_MAX_BYTES + 1);
    assert_eq!(status(send(&mut world, &long, "A", at(0))), 400);
    assert_eq!(movements(&mut world, "A", at(0)), 0);
}

#[test]
fn an_outage_leaves_nobody_to_answer() {
    let mut world = world("outage=10s+5s");
    assert!(!world.is_out(at(0)));
    assert_eq!(world.next_edge(at(0)), Some(Duration::from_secs(10)));
    for (second, refused) in [(9, false), (10, true), (14, true), (15, false)] {
        let act = send(&mut world, &format!("k{second}"), "A", at(second));
        assert_eq!(act == Act::Refused, refused, "{second}");
    }
    assert_eq!(movements(&mut world, "A", at(15)), 2);
    world.set_out(true);
    assert_eq!(send(&mut world, "k", "A", at(20)), Act::Refused);
    world.set_out(false);
    assert_eq!(status(send(&mut world, "k", "A", at(20))), 201);
}

#[test]
fn slow_and_latency_add_up() {
    let mut world = world("slow=100%,slow_ms=300,latency_ms=20");
    let body = body("A", 100);
    let reply = world.answer(&request("POST", CARD, "k", &body), at(0));
    assert_eq!(reply.delay, Duration::from_millis(320));
}

#[test]
fn the_report_counts_what_was_asked_and_dealt() {
    let mut world = world("error=100%");
    send(&mut world, "k", "A", at(0));
    world.set_faults(Faults::parse("refuse=100%").expect("faults"), at(0));
    send(&mut world, "k", "A", at(0));
    send(&mut world, "k", "A", at(0));
    list(&mut world, "", at(0));
    world.answer(&request("GET", "/x", "", b""), at(0));
    let report = world.report(at(0));
    let expected = Requests {
        operations: 3,
        lists: 1,
        balances: 0,
        others: 1,
    };
    assert_eq!(report.requests, expected);
    let dealt = [("error".to_owned(), 1), ("refuse".to_owned(), 1)];
    assert_eq!(report.faults, dealt.into());
    assert_eq!(report.replays, 1);
}

#[test]
fn i12_neither_credential_nor_card_is_in_any_debug() {
    let body = body("A", 100);
    let request = request("POST", CARD, "k", &body);
    let settings = Settings {
        token: Some(Digest::of(b"good")),
        ..Settings::default()
    };
    let mut world = World::new(settings.clone());
    world.answer(&request, at(0));
    let report = world.report(at(0));
    assert_eq!(report.entities.len(), 1);
    let told = format!("{request:?} {settings:?} {world:?} {report:?}");
    let secret = Digest::of(b"good").to_string();
    for part in ["5tgliBmz", "Bearer", secret.as_str()] {
        assert!(!told.contains(part), "{part} in {told}");
    }
}
