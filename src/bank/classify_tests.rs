//! Section 5 of the design, row by row.

use proptest::prelude::*;

use super::*;
use crate::domain::job::EntityId;
use crate::domain::key::{Generation, IdempotencyKey, Namespace};
use crate::domain::outcome::Outcome;
use crate::domain::progress::{Action, Event, Progress, Rules, Stage, advance};
use crate::domain::schedule::{AskTimes, BACKOFF_BASE};
use crate::domain::time::{Moment, Timestamp};

const ENVELOPE: &str = r##"{"code":"422 Unprocessable Content","errors":[{"error_code":"missing_field","message":"The field is missing.","path":"#/path","url":null}],"id":"log_7MkW","message":"Validation errors"}"##;
const BARE_ENVELOPE: &str = r#"{"code":"","errors":[],"id":"","message":""}"#;
const HTML: &str = "<!doctype html><title>502</title>";

fn answer(status: u16, content_type: Option<&str>, body: &str) -> CameBack {
    with_body(status, content_type, Body::Whole(body.as_bytes().to_vec()))
}

fn with_body(status: u16, content_type: Option<&str>, body: Body) -> CameBack {
    CameBack::Answer(Answer {
        status,
        content_type: content_type.map(str::to_owned),
        retry_after: Some(Duration::from_secs(7)),
        body,
    })
}

/// One word per verdict that the table below can tell apart.
fn word(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Accepted { http_status } => format!("accepted {http_status}"),
        Verdict::Refused(refusal) => format!("refused {}", refusal.http_status),
        Verdict::Deferred(deferral) => deferral.as_str().to_owned(),
        Verdict::Unclear(unclarity) => unclarity.cause.as_str().to_owned(),
    }
}

fn check(proven: bool, rows: &[(&str, CameBack, &str)]) {
    for (row, came_back, expected) in rows {
        assert_eq!(word(&classify(came_back, proven)), *expected, "{row}");
    }
}

#[test]
fn i14_a_2xx_is_accepted_only_empty_or_as_json() {
    let json = Some("application/json");
    check(
        false,
        &[
            ("200 empty", answer(200, None, ""), "accepted 200"),
            ("201 empty", answer(201, json, ""), "accepted 201"),
            ("204", answer(204, None, ""), "accepted 204"),
            (
                "299 white space",
                answer(299, None, " \r\n\t"),
                "accepted 299",
            ),
            ("204 with a body", answer(204, json, "{}"), "accepted 204"),
            (
                "an object",
                answer(200, json, r#"{"id":"cbo_1"}"#),
                "accepted 200",
            ),
            ("an array", answer(200, json, "[]"), "accepted 200"),
            ("a word", answer(200, json, "null"), "accepted 200"),
            ("JSON untold", answer(200, None, "{}"), "accepted 200"),
            (
                "JSON with parameters",
                answer(200, Some("Application/JSON; charset=utf-8"), "{}"),
                "accepted 200",
            ),
            (
                "a JSON dialect",
                answer(200, Some("application/problem+json"), "{}"),
                "accepted 200",
            ),
            ("HTML", answer(200, Some("text/html"), HTML), "not_the_bank"),
            ("HTML untold", answer(200, None, HTML), "not_the_bank"),
            ("HTML as JSON", answer(200, json, HTML), "not_the_bank"),
            (
                "JSON as HTML",
                answer(200, Some("text/html"), "{}"),
                "not_the_bank",
            ),
            ("text", answer(200, None, "OK"), "not_the_bank"),
            ("204 with a page", answer(204, None, HTML), "not_the_bank"),
            (
                "half an object",
                answer(201, json, r#"{"id":"#),
                "not_the_bank",
            ),
            ("two objects", answer(201, json, "{}{}"), "not_the_bank"),
            (
                "a byte order mark",
                answer(200, json, "\u{feff}{}"),
                "not_the_bank",
            ),
            (
                "not UTF-8",
                with_body(200, json, Body::Whole(b"\"\xff\"".to_vec())),
                "not_the_bank",
            ),
            (
                "cut",
                with_body(201, json, Body::Unreadable),
                "unreadable_answer",
            ),
            ("slow", with_body(201, json, Body::TimedOut), "timeout"),
        ],
    );
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table of cases")]
fn i5_only_the_bank_s_own_envelope_refuses() {
    let json = Some("application/json");
    for status in [400, 403, 404, 422] {
        let refused = format!("refused {status}");
        check(
            true,
            &[
                ("the envelope", answer(status, json, ENVELOPE), &refused),
                ("untold", answer(status, None, ENVELOPE), &refused),
                ("bare", answer(status, json, BARE_ENVELOPE), &refused),
                (
                    "as HTML",
                    answer(status, Some("text/html; charset=utf-8"), ENVELOPE),
                    "not_the_bank",
                ),
                (
                    "as text",
                    answer(status, Some("text/plain"), ENVELOPE),
                    "not_the_bank",
                ),
                ("empty", answer(status, json, ""), "not_the_bank"),
                (
                    "HTML",
                    answer(status, Some("text/html"), HTML),
                    "not_the_bank",
                ),
                (
                    "other JSON",
                    answer(status, json, r#"{"error":"x"}"#),
                    "not_the_bank",
                ),
                ("an array", answer(status, json, "[]"), "not_the_bank"),
                (
                    "its fields without their names",
                    answer(status, json, r#"["",[],"",""]"#),
                    "not_the_bank",
                ),
                (
                    "an error without names",
                    answer(
                        status,
                        json,
                        r#"{"code":"","errors":[["x"]],"id":"log_1","message":""}"#,
                    ),
                    "not_the_bank",
                ),
                (
                    "no id",
                    answer(status, json, r#"{"code":"","errors":[],"message":""}"#),
                    "not_the_bank",
                ),
                (
                    "no errors",
                    answer(status, json, r#"{"code":"","id":"log_1","message":""}"#),
                    "not_the_bank",
                ),
                (
                    "an error without a code",
                    answer(
                        status,
                        json,
                        r#"{"code":"","errors":[{"message":"x"}],"id":"log_1","message":""}"#,
                    ),
                    "not_the_bank",
                ),
                (
                    "twice the same field",
                    answer(
                        status,
                        json,
                        r#"{"code":"","code":"","errors":[],"id":"","message":""}"#,
                    ),
                    "not_the_bank",
                ),
                (
                    "not UTF-8 where nobody looks",
                    with_body(
                        status,
                        json,
                        Body::Whole(
                            b"{\"code\":\"\",\"errors\":[],\"id\":\"\",\"message\":\"\",\"x\":\"\xff\"}"
                                .to_vec(),
                        ),
                    ),
                    "not_the_bank",
                ),
                (
                    "cut",
                    with_body(status, json, Body::Unreadable),
                    "unreadable_answer",
                ),
                ("slow", with_body(status, json, Body::TimedOut), "timeout"),
            ],
        );
    }
}

#[test]
fn i9_a_403_of_an_unproven_token_is_about_the_token() {
    let forbidden = answer(403, None, ENVELOPE);
    check(
        false,
        &[
            ("403", forbidden.clone(), "not_authorized"),
            (
                "403 as a page",
                answer(403, Some("text/html"), HTML),
                "not_the_bank",
            ),
            ("404", answer(404, None, ENVELOPE), "refused 404"),
        ],
    );
    check(true, &[("403", forbidden, "refused 403")]);
}

#[test]
fn where_the_status_decides_the_body_does_not_matter() {
    let bodies = [
        Body::Whole(Vec::new()),
        Body::Whole(ENVELOPE.into()),
        Body::Whole(HTML.into()),
        Body::Unreadable,
        Body::TimedOut,
    ];
    for body in bodies {
        for (status, expected) in [
            (401, "credential_refused"),
            (429, "rate_limited"),
            (408, "timeout"),
            (409, "conflict_409"),
            (500, "server_error"),
            (502, "server_error"),
            (503, "server_error"),
            (599, "server_error"),
            (0, "unexpected_status"),
            (101, "unexpected_status"),
            (199, "unexpected_status"),
            (300, "unexpected_status"),
            (302, "unexpected_status"),
            (307, "unexpected_status"),
            (402, "unexpected_status"),
            (405, "unexpected_status"),
            (410, "unexpected_status"),
            (418, "unexpected_status"),
            (425, "unexpected_status"),
            (451, "unexpected_status"),
            (600, "unexpected_status"),
            (u16::MAX, "unexpected_status"),
        ] {
            for proven in [false, true] {
                let verdict = classify(&with_body(status, None, body.clone()), proven);
                assert_eq!(word(&verdict), expected, "{status} {body:?}");
            }
        }
    }
}

#[test]
fn only_what_was_never_sent_is_deferred_without_an_answer() {
    let why = String::new();
    check(
        true,
        &[
            (
                "never sent",
                CameBack::Nothing(Break::NotSent { why }),
                "no_connection",
            ),
            ("timeout", CameBack::Nothing(Break::Timeout), "timeout"),
            (
                "broken",
                CameBack::Nothing(Break::Connection),
                "connection_broken",
            ),
        ],
    );
}

#[test]
fn a_verdict_keeps_what_support_and_schedule_need() {
    let log_id = Some("log_7MkW".to_owned());
    let retry_after = Some(Duration::from_secs(7));
    assert_eq!(
        classify(&answer(422, None, ENVELOPE), false),
        Verdict::Refused(Refusal {
            http_status: 422,
            code: "422 Unprocessable Content".to_owned(),
            message: "Validation errors".to_owned(),
            errors: vec![RefusalError {
                error_code: "missing_field".to_owned(),
                message: "The field is missing.".to_owned(),
                path: Some("#/path".to_owned()),
            }],
            log_id: log_id.clone(),
        })
    );
    assert_eq!(
        classify(&answer(503, None, ENVELOPE), false),
        Verdict::Unclear(Unclarity {
            cause: UnclearCause::ServerError,
            http_status: Some(503),
            retry_after,
            log_id: log_id.clone(),
        })
    );
    assert_eq!(
        classify(&answer(401, None, ENVELOPE), true),
        Verdict::Deferred(Deferral::CredentialRefused { log_id })
    );
    assert_eq!(
        classify(&answer(401, None, HTML), true),
        Verdict::Deferred(Deferral::CredentialRefused { log_id: None })
    );
    assert_eq!(
        classify(&answer(429, None, ""), true),
        Verdict::Deferred(Deferral::RateLimited { retry_after })
    );
}

#[test]
fn i11_hostile_texts_come_out_short_and_on_one_line() {
    let long = "ñ\u{1b}[31m\n".repeat(1_000);
    let error = format!(
        r#"{{"error_code":{0},"message":{0},"path":{0}}}"#,
        quoted(&long)
    );
    let errors = vec![error; 50].join(",");
    let body = format!(
        r#"{{"code":{0},"errors":[{errors}],"id":{0},"message":{0}}}"#,
        quoted(&long)
    );
    let Verdict::Refused(refusal) = classify(&answer(400, None, &body), false) else {
        panic!("an envelope refuses");
    };
    assert_eq!(refusal.errors.len(), BANK_ERRORS_MAX);
    let mut texts = vec![refusal.code, refusal.message];
    texts.extend(refusal.log_id);
    for error in refusal.errors {
        texts.extend([error.error_code, error.message]);
        texts.extend(error.path);
    }
    for text in texts {
        assert!(text.len() <= BANK_TEXT_MAX_BYTES && text.len() > BANK_TEXT_MAX_BYTES - 4);
        assert!(!text.chars().any(char::is_control), "{text:?}");
    }
    assert_eq!(bounded("a\u{202e}b\u{2028}c"), "a\u{fffd}b\u{fffd}c");
}

#[test]
fn i12_an_answer_shows_no_body() {
    let shown = format!("{:?}", answer(200, None, "car_5tgliBmzjZ6mpQPRbQjfKj"));
    assert!(!shown.contains("car_"), "{shown}");
}

fn quoted(text: &str) -> String {
    serde_json::to_string(text).expect("a string is JSON")
}

proptest! {
    #[test]
    fn i5_no_answer_at_all_becomes_more_than_it_says(
        status in prop_oneof![0_u16..700, any::<u16>()],
        content_type in proptest::option::of("[a-z/+;= ]{0,20}"),
        bytes in prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..64),
            (0..ENVELOPE.len()).prop_map(|end| ENVELOPE.as_bytes()[..end].to_vec()),
            Just(ENVELOPE.as_bytes().to_vec()),
        ],
        proven: bool,
    ) {
        let came_back = with_body(status, content_type.as_deref(), Body::Whole(bytes.clone()));
        match classify(&came_back, proven) {
            Verdict::Accepted { http_status } => {
                prop_assert!((200..300).contains(&http_status) && http_status == status);
            }
            Verdict::Refused(_) => {
                prop_assert!([400, 403, 404, 422].contains(&status));
                prop_assert_eq!(bytes, ENVELOPE.as_bytes());
            }
            Verdict::Deferred(_) => prop_assert!([401, 403, 429].contains(&status)),
            Verdict::Unclear(unclarity) => prop_assert_eq!(unclarity.http_status, Some(status)),
        }
    }
}

/// What a call may come back with, the bank's own words and all the others.
fn any_answer() -> impl Strategy<Value = CameBack> {
    let status = prop_oneof![
        4 => prop::sample::select(vec![200_u16, 201, 204, 400, 401, 403, 404, 408, 409, 422, 429, 500, 503]),
        1 => 100_u16..700,
    ];
    let body = prop_oneof![
        3 => Just(Body::Whole(ENVELOPE.into())),
        1 => Just(Body::Whole(Vec::new())),
        1 => Just(Body::Whole(HTML.into())),
        1 => Just(Body::Unreadable),
        1 => Just(Body::TimedOut),
    ];
    let broken = prop::sample::select(vec![
        Break::Timeout,
        Break::Connection,
        Break::NotSent { why: String::new() },
    ]);
    prop_oneof![
        4 => (status, body).prop_map(|(status, body)| with_body(status, None, body)),
        1 => broken.prop_map(CameBack::Nothing),
    ]
}

proptest! {
    /// From the bytes to the outcome: a job that may have been executed is never rejected by what a
    /// later call comes back with, whatever came before.
    #[test]
    fn i5_no_answer_rejects_a_job_that_may_have_been_executed(
        answers in prop::collection::vec((any_answer(), any::<bool>()), 1..12),
    ) {
        let rules = Rules {
            resend_window: Duration::from_secs(600),
            max_attempts: 10,
            backoff_base: BACKOFF_BASE,
            asks: AskTimes::new(Duration::from_secs(300)),
        };
        let id = EntityId::parse("EMP-1").expect("an id");
        let key = IdempotencyKey::derive(&Namespace::default(), &id, Generation::FIRST);
        let mut progress = Progress::new(key, None);
        let mut may_have_moved = false;
        let mut seconds = 0_u32;
        for (came_back, bank_answers) in answers {
            seconds += 40;
            let at = moment(seconds);
            let turn = if *progress.stage() == Stage::Ready {
                vec![Event::Turn(at), Event::IntentDurable(at)]
            } else {
                vec![Event::Turn(at)]
            };
            for event in turn {
                progress = advance(&rules, progress, event).expect("a turn").0;
            }
            if *progress.stage() != Stage::Calling {
                break;
            }
            let verdict = classify(&came_back, true);
            may_have_moved |= matches!(verdict, Verdict::Unclear(_));
            let told = Event::Told { verdict, at, bank_answers };
            let (next, action) = advance(&rules, progress, told).expect("a verdict");
            let is_rejected = matches!(action, Action::Settle(Outcome::Rejected(_)));
            prop_assert!(!(is_rejected && may_have_moved), "{came_back:?}");
            if let Action::Settle(Outcome::Rejected(refusal)) = &action {
                prop_assert_eq!(&refusal.message, "Validation errors");
            }
            progress = next;
            if !matches!(progress.stage(), Stage::Between | Stage::Ready) {
                break;
            }
        }
    }
}

fn moment(seconds: u32) -> Moment {
    let since = Duration::from_secs(seconds.into());
    let wall = Timestamp::from_millis(1_700_000_000_000).plus(since);
    Moment {
        mono: since,
        wall,
        bank: wall,
    }
}
