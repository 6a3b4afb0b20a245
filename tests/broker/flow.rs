//! The way of jobs from the queue to their outcomes, with nothing in the way.

use lapin::types::{AMQPValue, FieldTable};

use crate::support::node::shared;
use crate::support::queues::Message;
use crate::support::stage::{Stage, finals_of, job, json};

const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

fn by_status<'a>(messages: &'a [Message], status: &str) -> Vec<&'a Message> {
    messages.iter().filter(|it| it.status() == status).collect()
}

/// Every kind of outcome comes to the results queue, and to the dead letters what belongs there, with
/// whatever its sender needs to know it by.
#[tokio::test(flavor = "multi_thread")]
#[expect(
    clippy::too_many_lines,
    reason = "one story from its beginning to its end"
)]
async fn every_job_has_its_outcome_and_every_dead_one_its_letter() {
    let stage = Stage::new(&shared().url(), "");
    let worker = stage.worker();
    let client = stage.client().await;
    let names = &stage.names;
    let mut headers = FieldTable::default();
    headers.insert("traceparent".into(), AMQPValue::LongString(TRACE.into()));
    headers.insert("batch_id".into(), AMQPValue::LongString("b_1".into()));
    headers.insert("line".into(), AMQPValue::LongInt(17));
    let properties = json()
        .with_correlation_id("c-1".into())
        .with_headers(headers);
    let good = job("GOOD-1", 1, 5_000);
    client
        .publish(&names.jobs_exchange, &good, properties)
        .await;
    let first = stage
        .finals(&client, 1)
        .await
        .remove("GOOD-1")
        .expect("ours");
    assert_eq!(
        (first.key.as_str(), first.status().as_str()),
        ("succeeded", "succeeded")
    );
    assert_eq!(
        first
            .properties
            .correlation_id()
            .as_ref()
            .map(lapin::types::ShortString::as_str),
        Some("c-1")
    );
    assert_eq!(first.header("traceparent").as_deref(), Some(TRACE));
    assert_eq!(first.header("replay").as_deref(), Some("false"));
    assert_eq!(first.text("/batch_id"), "b_1");
    assert_eq!(first.json()["line"], 17);
    let message_id = first
        .properties
        .message_id()
        .as_ref()
        .map(|it| it.as_str().to_owned());
    assert_eq!(message_id, Some(first.text("/event_id")));

    // A copy, a copy that says something else, a withdrawal of what is not there, and no job at all.
    let poor = br#"{"entity_id":"POOR-1","card_id":"car_0000000000000000000002","operation":"withdrawal","amount":{"amount":999999999999999,"currency":"COP"}}"#;
    let not_a_job = b"{\"entity_id\":\"BAD-1\",\"amount\":1.5}";
    for body in [good.as_slice(), &job("GOOD-1", 1, 6_000), poor, not_a_job] {
        client.publish(&names.jobs_exchange, body, json()).await;
    }
    let results = client
        .take_until(&names.results_queue, |all| all.len() >= 4)
        .await;
    let replay = by_status(&results, "succeeded");
    assert_eq!(replay[0].body, first.body, "I4");
    assert_eq!(replay[0].header("replay").as_deref(), Some("true"));
    let invalid = by_status(&results, "invalid")[0];
    assert_eq!(invalid.entity_id(), "BAD-1");
    assert_eq!(invalid.text("/reason"), "wrong_type");
    assert_eq!(by_status(&results, "rejected").len(), 1);
    assert_eq!(by_status(&results, "conflict").len(), 1);

    let dead = client
        .take_until(&names.dead_queue, |all| all.len() >= 3)
        .await;
    assert_eq!(dead.len(), 3);
    for letter in &dead {
        assert_eq!(
            letter.header("tanda-status").as_deref(),
            Some(letter.key.as_str())
        );
        let event_id = letter.header("tanda-event-id");
        let is_told = results
            .iter()
            .any(|it| Some(it.text("/event_id")) == event_id);
        assert!(is_told, "{letter:?}");
        match letter.key.as_str() {
            "rejected" => {
                assert_eq!(letter.entity_id(), "POOR-1");
                assert_eq!(letter.header("tanda-http-status").as_deref(), Some("422"));
                assert!(letter.header("tanda-error-code").is_some());
                assert!(
                    letter
                        .header("tanda-log-id")
                        .is_some_and(|id| id.starts_with("log_"))
                );
            }
            "conflict" => assert_eq!(letter.body, job("GOOD-1", 1, 6_000)),
            "invalid" => {
                assert_eq!(letter.body, not_a_job, "byte for byte");
                assert_eq!(letter.header("tanda-reason").as_deref(), Some("wrong_type"));
                assert!(letter.header("tanda-explanation").is_some());
            }
            other => panic!("{other}"),
        }
    }
    assert_eq!(stage.bank.movements("GOOD-1"), 1);
    stage.jobs_are_gone(shared());
    let (code, said) = worker.terminate();
    assert_eq!(code, Some(143), "{said}");
}

/// A second worker on the same queue is refused by name, and does no harm.
#[tokio::test(flavor = "multi_thread")]
async fn a_second_worker_on_the_same_queue_is_refused_by_name() {
    let stage = Stage::new(&shared().url(), "");
    let worker = stage.worker();
    let mut other = Stage::new(&shared().url(), "");
    for (setting, value) in [
        ("TANDA_AMQP__JOBS_QUEUE", &stage.names.jobs_queue),
        ("TANDA_AMQP__JOBS_EXCHANGE", &stage.names.jobs_exchange),
        ("TANDA_AMQP__DEAD_EXCHANGE", &stage.names.dead_exchange),
    ] {
        other.desk.set(setting, value);
    }
    let said = other.ends(8, &["worker"]);
    assert!(
        said.contains(&format!(
            "another worker has the queue {}",
            stage.names.jobs_queue
        )),
        "{said}"
    );
    let client = stage.client().await;
    stage.publish(&client, &[job("J-1", 1, 1_000)]).await;
    stage.finals(&client, 1).await;
    drop(worker.terminate());
}

/// Whoever asks for a reply gets a copy; a reply that cannot be delivered harms nobody.
#[tokio::test(flavor = "multi_thread")]
async fn a_reply_is_a_courtesy() {
    let stage = Stage::new(&shared().url(), "");
    let worker = stage.worker();
    let client = stage.client().await;
    let options = lapin::options::QueueDeclareOptions::default();
    let reply_to = format!("{}.replies", stage.names.jobs_queue);
    let made =
        client
            .channel
            .queue_declare(reply_to.as_str().into(), options, FieldTable::default());
    made.await.expect("a queue");
    for (entity_id, reply_to) in [
        ("A", reply_to.as_str()),
        ("B", "nowhere at all"),
        ("C", &stage.names.jobs_queue),
    ] {
        let properties = json()
            .with_correlation_id(entity_id.into())
            .with_reply_to(reply_to.into());
        client
            .publish(
                &stage.names.jobs_exchange,
                &job(entity_id, 1, 1_000),
                properties,
            )
            .await;
    }
    stage.finals(&client, 3).await;
    let replies = client.take_until(&reply_to, |all| !all.is_empty()).await;
    assert_eq!(replies[0].entity_id(), "A");
    stage.jobs_are_gone(shared());
    drop(worker.terminate());
}

/// F15 and F16: of 300 jobs each fourth comes twice and each tenth once more with another amount, side by
/// side. Each is paid once, as it came first; each copy has its answer, with the same event id for the
/// same answer.
#[tokio::test(flavor = "multi_thread")]
async fn f15_f16_copies_are_answered_from_the_ledger_and_others_are_conflicts() {
    let stage = Stage::new(&shared().url(), "latency_ms=5");
    let worker = stage.worker();
    let client = stage.client().await;
    let id = |number: usize| format!("J-{number}");
    let mut bodies = Vec::new();
    for number in 0..300 {
        bodies.push(job(&id(number), number % 30, 1_000));
        if number % 4 == 0 {
            bodies.push(job(&id(number), number % 30, 1_000));
        }
        if number % 10 == 0 {
            bodies.push(job(&id(number), number % 30, 2_000));
        }
    }
    stage.publish(&client, &bodies).await;
    let results = client
        .take_until(&stage.names.results_queue, |all| {
            finals_of(all).len() >= 300 && by_status(all, "conflict").len() >= 30
        })
        .await;
    let mut conflicts: Vec<_> = by_status(&results, "conflict")
        .iter()
        .map(|it| it.entity_id())
        .collect();
    conflicts.sort();
    let mut expected: Vec<_> = (0..300).step_by(10).map(id).collect();
    expected.sort();
    assert_eq!(conflicts, expected);
    for number in 0..300 {
        assert_eq!(stage.bank.movements(&id(number)), 1);
    }
    let report = stage.bank.report();
    for number in (0..300).step_by(10) {
        let paid = &report["entities"][id(number)]["operations"][0]["amount"]["amount"];
        assert_eq!(paid, 1_000, "as it came first");
    }
    stage.jobs_are_gone(shared());
    drop(worker.terminate());
}

/// F17: an id is its exact bytes. Those that differ by case are two jobs; those that a person could not
/// tell apart are refused.
#[tokio::test(flavor = "multi_thread")]
async fn f17_ids_are_their_exact_bytes_and_what_looks_alike_is_refused() {
    let stage = Stage::new(&shared().url(), "");
    let worker = stage.worker();
    let client = stage.client().await;
    let good = ["nom-1", "NOM-1", "NOM-01", "Nómina-1"];
    let bad = [
        " NOM-1",
        "NOM-1 ",
        "NOM-1\\u0007",
        "No\u{301}mina-1",
        "\u{a0}NOM-1",
    ];
    let bodies: Vec<_> = good
        .iter()
        .chain(&bad)
        .map(|id| job(id, 1, 1_000))
        .collect();
    stage.publish(&client, &bodies).await;
    let results = client
        .take_until(&stage.names.results_queue, |all| all.len() >= 9)
        .await;
    assert_eq!(by_status(&results, "invalid").len(), bad.len());
    for id in good {
        assert_eq!(stage.bank.movements(id), 1, "{id}");
    }
    assert_eq!(stage.bank.paid_once(), good.len());
    drop(worker.terminate());
}
