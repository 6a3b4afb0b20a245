//! Tests of the metrics: what is told is counted exactly, under labels that do not grow.

use std::collections::BTreeMap;
use std::time::Duration;

use super::*;
use crate::domain::job::{CardId, EntityId};
use crate::domain::money::Amount;
use crate::domain::time::Timestamp;
use crate::domain::verdict::{Deferral, Refusal, Unclarity, Verdict};
use crate::telemetry::{
    AttemptEnded, JobAdmitted, JobHeld, JobInDoubt, MessageReceived, MessageRefused, OutcomeSettled,
};

fn currency(code: &str) -> Currency {
    Currency::parse(code).expect("a code")
}

fn metrics() -> Metrics {
    Metrics::new(&Currencies::new([
        (currency("COP"), 2),
        (currency("USD"), 2),
    ]))
}

fn job(name: &str, operation: Operation, minor: i64, code: &str) -> Job {
    Job {
        entity_id: EntityId::parse(name).expect("an id"),
        card_id: CardId::parse("car_canary0000000000000000").expect("a card"),
        operation,
        amount: Amount::new(minor, currency(code)).expect("an amount"),
        description: None,
        not_after: None,
    }
}

fn settled<'a>(job: &'a Job, source: &'static str, status: Status) -> OutcomeSettled<'a> {
    OutcomeSettled {
        job,
        source,
        status,
        reason: None,
        attempts: 1,
    }
}

fn ended<'a>(verdict: &'a Verdict, number: u32, before: Option<&'a Verdict>) -> AttemptEnded<'a> {
    const NAME: &str = "canary";
    static ENTITY_ID: OnceLock<EntityId> = OnceLock::new();
    AttemptEnded {
        entity_id: ENTITY_ID.get_or_init(|| EntityId::parse(NAME).expect("an id")),
        number,
        verdict,
        before,
        took: Duration::from_millis(6),
    }
}

/// Each series with its value, as they are read.
fn series(metrics: &Metrics) -> BTreeMap<String, String> {
    let text = metrics.render();
    let samples = text.lines().filter(|line| !line.starts_with('#'));
    let split = |line: &str| {
        line.rsplit_once(' ')
            .map(|(a, b)| (a.to_owned(), b.to_owned()))
    };
    samples.map(|line| split(line).expect(line)).collect()
}

#[track_caller]
fn assert_shows(metrics: &Metrics, expected: &[(&str, &str)]) {
    let series = series(metrics);
    for (name, value) in expected {
        let shown = series.get(*name).map(String::as_str);
        assert_eq!(shown, Some(*value), "{name}");
    }
}

/// Everything that counts, told of this job.
fn tell_all(metrics: &Metrics, job: &Job) {
    let accepted = Verdict::Accepted { http_status: 201 };
    let unclear = Verdict::Unclear(Unclarity::new(UnclearCause::Timeout));
    for source in ["file", "queue"] {
        for status in Status::ALL
            .into_iter()
            .filter(|one| *one != Status::Invalid)
        {
            settled(job, source, status).count(metrics);
        }
        for decision in ["run", "conflict"] {
            let admitted = JobAdmitted {
                job,
                source,
                decision,
            };
            admitted.count(metrics);
        }
        for is_news in [true, false] {
            let in_doubt = JobInDoubt {
                job,
                source,
                reason: "window_closed",
                is_news,
            };
            in_doubt.count(metrics);
            let held = JobHeld {
                job,
                source,
                is_news,
            };
            held.count(metrics);
        }
        let words = job.entity_id.as_str();
        let refused = MessageRefused {
            event_id: words,
            source,
            operation: None,
            reason: words,
            words,
        };
        refused.count(metrics);
    }
    for (verdict, number, before) in [(&unclear, 1, None), (&accepted, 2, Some(&unclear))] {
        ended(verdict, number, before).count(metrics);
    }
    let in_doubt_minor = BTreeMap::from([(job.amount.currency(), 1)]);
    metrics.open(&OpenFigures {
        in_doubt: 1,
        in_doubt_minor,
        ..OpenFigures::default()
    });
    for cause in PAUSES {
        metrics.paused(&[cause]);
    }
}

#[test]
fn every_metric_is_shown_from_the_start_and_named_in_the_list() {
    let text = metrics().render();
    let named = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let named: Vec<_> = named.filter_map(|line| line.split(' ').next()).collect();
    assert_eq!(named, NAMES);
}

#[test]
fn what_became_of_jobs_is_counted_exactly() {
    let metrics = metrics();
    let topup = job("E-1", Operation::Topup, 5_000_001, "COP");
    let largest = job(
        "E-2",
        Operation::Topup,
        crate::domain::money::MAX_AMOUNT_MINOR,
        "USD",
    );
    let withdrawal = job("E-3", Operation::Withdrawal, 7, "COP");
    for _ in 0..3 {
        settled(&topup, "file", Status::Succeeded).count(&metrics);
    }
    settled(&largest, "queue", Status::Rejected).count(&metrics);
    settled(&withdrawal, "queue", Status::NotSent).count(&metrics);
    assert_shows(
        &metrics,
        &[
            (
                r#"tanda_jobs_total{operation="topup",outcome="succeeded",source="file"}"#,
                "3",
            ),
            (
                r#"tanda_jobs_total{operation="topup",outcome="succeeded",source="queue"}"#,
                "0",
            ),
            (
                r#"tanda_jobs_total{operation="withdrawal",outcome="not_sent",source="queue"}"#,
                "1",
            ),
            (
                r#"tanda_amount_minor_total{currency="COP",operation="topup",outcome="succeeded"}"#,
                "15000003",
            ),
            (
                r#"tanda_amount_minor_total{currency="USD",operation="topup",outcome="rejected"}"#,
                "9007199254740991",
            ),
            (
                r#"tanda_amount_minor_total{currency="COP",operation="withdrawal",outcome="not_sent"}"#,
                "7",
            ),
        ],
    );
}

#[test]
fn interim_outcomes_and_facts_about_messages_are_outcomes_once() {
    let metrics = metrics();
    tell_all(&metrics, &job("E-1", Operation::Topup, 100, "COP"));
    assert_shows(
        &metrics,
        &[
            // Each was settled as such once, too; the second time in doubt or held is no news, and a
            // decision to run is no outcome.
            (
                r#"tanda_jobs_total{operation="topup",outcome="in_doubt",source="queue"}"#,
                "2",
            ),
            (
                r#"tanda_jobs_total{operation="topup",outcome="waiting",source="queue"}"#,
                "2",
            ),
            (
                r#"tanda_jobs_total{operation="topup",outcome="conflict",source="queue"}"#,
                "2",
            ),
            (
                r#"tanda_jobs_total{operation="unknown",outcome="invalid",source="queue"}"#,
                "1",
            ),
            (
                r#"tanda_jobs_total{operation="topup",outcome="succeeded",source="queue"}"#,
                "1",
            ),
        ],
    );
}

#[test]
fn calls_are_timed_and_retries_told_by_what_came_before() {
    let metrics = metrics();
    let unclear = Verdict::Unclear(Unclarity::new(UnclearCause::ServerError));
    let limited = Verdict::Deferred(Deferral::RateLimited { retry_after: None });
    let accepted = Verdict::Accepted { http_status: 201 };
    ended(&unclear, 1, None).count(&metrics);
    ended(&limited, 2, Some(&unclear)).count(&metrics);
    ended(&accepted, 3, Some(&limited)).count(&metrics);
    ended(&accepted, 4, None).count(&metrics);
    assert_shows(
        &metrics,
        &[
            (r#"tanda_bank_retries_total{reason="server_error"}"#, "1"),
            (r#"tanda_bank_retries_total{reason="rate_limited"}"#, "1"),
            (r#"tanda_bank_retries_total{reason="clean_start"}"#, "1"),
            (
                r#"tanda_bank_request_duration_seconds_count{status_class="2xx"}"#,
                "2",
            ),
            (
                r#"tanda_bank_request_duration_seconds_count{status_class="none"}"#,
                "1",
            ),
            (
                r#"tanda_bank_request_duration_seconds_bucket{status_class="4xx",le="0.005"}"#,
                "0",
            ),
            (
                r#"tanda_bank_request_duration_seconds_bucket{status_class="4xx",le="0.01"}"#,
                "1",
            ),
            (
                r#"tanda_bank_request_duration_seconds_sum{status_class="4xx"}"#,
                "0.006",
            ),
        ],
    );
}

#[test]
fn every_cause_of_a_verdict_is_a_reason_of_its_own() {
    let metrics = metrics();
    let log_id = None;
    let deferrals = [
        Deferral::CredentialRefused {
            log_id: log_id.clone(),
        },
        Deferral::NotAuthorized { log_id },
        Deferral::RateLimited { retry_after: None },
        Deferral::NoConnection,
    ];
    let unclear = UnclearCause::ALL.map(|cause| Verdict::Unclear(Unclarity::new(cause)));
    let refused = Verdict::Refused(Refusal::default());
    let before = series(&metrics).len();
    for verdict in deferrals.map(Verdict::Deferred).iter().chain(&unclear) {
        ended(&refused, 2, Some(verdict)).count(&metrics);
    }
    let series = series(&metrics);
    assert_eq!(series.len(), before);
    let reasons = series.iter().filter(|(name, _)| name.contains("retries"));
    for (name, value) in reasons {
        let expected = if name.contains(CLEAN_START) { "0" } else { "1" };
        assert_eq!(value, expected, "{name}");
    }
}

#[test]
fn every_cause_of_a_pause_is_always_there_and_each_stands_by_itself() {
    let metrics = metrics();
    let sum = |metrics: &Metrics| {
        let paused = |name: &str| name.starts_with("tanda_paused{");
        let series = series(metrics);
        let held = series.iter().filter(|(name, _)| paused(name));
        let held: Vec<_> = held.map(|(_, value)| value.clone()).collect();
        (
            held.len(),
            held.iter().filter(|value| *value == "1").count(),
        )
    };
    assert_eq!(sum(&metrics), (10, 0));
    metrics.paused(&["person", "bank_not_answering"]);
    assert_eq!(sum(&metrics), (10, 2));
    assert_shows(
        &metrics,
        &[
            (r#"tanda_paused{cause="person"}"#, "1"),
            (r#"tanda_paused{cause="bank_not_answering"}"#, "1"),
            ("tanda_breaker_open", "1"),
        ],
    );
    metrics.paused(&["rate_limited"]);
    assert_eq!(sum(&metrics), (10, 1));
    assert_shows(&metrics, &[("tanda_breaker_open", "0")]);
}

#[test]
fn what_is_open_is_shown_as_it_was_told_last() {
    let metrics = metrics();
    let open = OpenFigures {
        in_doubt: 3,
        in_doubt_minor: [("COP", 5), ("EUR", 7), ("GBP", i128::MAX)]
            .map(|(code, minor)| (currency(code), minor))
            .into(),
        person_needed: 1,
        held: 2,
        unpublished: u64::MAX,
    };
    metrics.open(&open);
    assert_shows(
        &metrics,
        &[
            ("tanda_in_doubt_jobs", "3"),
            (r#"tanda_in_doubt_amount_minor{currency="COP"}"#, "5"),
            (r#"tanda_in_doubt_amount_minor{currency="USD"}"#, "0"),
            // As near to the largest as a double comes.
            (
                r#"tanda_in_doubt_amount_minor{currency="other"}"#,
                "9223372036854776000",
            ),
            ("tanda_person_needed_jobs", "1"),
            ("tanda_held_jobs", "2"),
        ],
    );
    metrics.open(&OpenFigures::default());
    assert_shows(
        &metrics,
        &[
            ("tanda_in_doubt_jobs", "0"),
            (r#"tanda_in_doubt_amount_minor{currency="COP"}"#, "0"),
            (r#"tanda_in_doubt_amount_minor{currency="other"}"#, "0"),
            ("tanda_outcomes_unpublished", "0"),
        ],
    );
}

#[test]
fn the_broker_is_connected_while_both_connections_stand() {
    let metrics = metrics();
    let steps = [
        ("consuming", true, "0"),
        ("publishing", true, "1"),
        ("publishing", true, "1"),
        ("consuming", false, "0"),
        ("consuming", true, "1"),
    ];
    for (connection, stands, shown) in steps {
        metrics.connection(connection, stands);
        assert_shows(&metrics, &[("tanda_broker_connected", shown)]);
    }
}

#[test]
fn the_lag_is_the_age_of_the_last_message_that_says_when_it_was_sent() {
    let metrics = metrics();
    let received = |sent_at_s| MessageReceived {
        sent_at_s,
        received_at: Timestamp::from_millis(1_000_500),
    };
    for (sent_at_s, shown) in [
        (Some(940), "60"),
        (None, "60"),
        (Some(u64::MAX), "60"),
        (Some(2_000), "0"),
    ] {
        received(sent_at_s).count(&metrics);
        assert_shows(&metrics, &[("tanda_queue_lag_seconds", shown)]);
    }
}

#[test]
fn publications_and_alarms_are_counted_by_kind() {
    let metrics = metrics();
    metrics.published(Status::Succeeded, false);
    metrics.published(Status::Succeeded, true);
    metrics.published(Status::Succeeded, true);
    metrics.alarm(PERSON_NEEDED);
    assert_shows(
        &metrics,
        &[
            (
                r#"tanda_outcomes_published_total{replay="false",status="succeeded"}"#,
                "1",
            ),
            (
                r#"tanda_outcomes_published_total{replay="true",status="succeeded"}"#,
                "2",
            ),
            (r#"tanda_alarms_total{alarm="person_needed"}"#, "1"),
            (r#"tanda_alarms_total{alarm="paid_more_than_once"}"#, "0"),
        ],
    );
}

/// The one test that counts in the process: nothing else here calls a bank.
#[test]
fn a_call_is_under_way_until_it_is_let_go_of_whatever_became_of_it() {
    begin(&Currencies::default());
    let shows = |value: &str| render().contains(&format!("\ntanda_in_flight {value}\n"));
    let (first, second) = (CallUnderWay::begin(), CallUnderWay::begin());
    assert!(shows("2"));
    drop(first);
    let panicked = std::panic::catch_unwind(move || {
        let _second = second;
        panic!("in the middle of a call");
    });
    assert!(panicked.is_err());
    assert!(shows("0"));
}

#[test]
fn s22_i12_labels_are_of_fixed_sets_and_name_no_job_and_no_card() {
    const LABELS: [&str; 11] = [
        "alarm",
        "cause",
        "currency",
        "le",
        "operation",
        "outcome",
        "reason",
        "replay",
        "source",
        "status",
        "status_class",
    ];
    let metrics = metrics();
    let at_first: Vec<_> = series(&metrics).into_keys().collect();
    for n in 0..1_000_u16 {
        let code: String = [n / 26 % 26, n % 26, n % 7]
            .map(|letter| char::from(b'A' + u8::try_from(letter).expect("a letter")))
            .iter()
            .collect();
        let operation = Operation::ALL[usize::from(n % 2)];
        let job = job(&format!("canary-{n}"), operation, i64::from(n) + 1, &code);
        tell_all(&metrics, &job);
    }
    let in_the_end: Vec<_> = series(&metrics).into_keys().collect();
    assert_eq!(
        at_first, in_the_end,
        "as many series as before the first job"
    );
    let text = metrics.render();
    assert!(!text.contains("canary"), "{text}");
    for name in &in_the_end {
        let labels = name.split_once('{').map_or("", |(_, labels)| labels);
        for label in labels.trim_end_matches('}').split(',') {
            let (label, _) = label.split_once('=').unwrap_or(("le", ""));
            let fixed = LABELS.contains(&label) || name.starts_with("tanda_build_info");
            assert!(fixed, "{name}");
        }
    }
}

#[test]
fn no_two_series_are_taken_for_one() {
    let series = series(&metrics());
    let of = |name: &str| series.keys().filter(|key| key.starts_with(name)).count();
    let (sources, operations, statuses, currencies) = (2, 2, 7, 3);
    let jobs = sources * (operations * statuses + 1);
    assert_eq!(of("tanda_jobs_total{"), jobs);
    let amounts = operations * currencies * (statuses - 1);
    assert_eq!(of("tanda_amount_minor_total{"), amounts);
}
