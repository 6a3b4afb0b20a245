//! What a broker, a setting or a message can be wrong with: one clear line each, and no harm.

use lapin::BasicProperties;
use lapin::options::QueueDeclareOptions;
use lapin::types::{AMQPValue, FieldTable};

use crate::support::node::{free_port, shared};
use crate::support::stage::{Stage, job, json};

/// Each way in which RabbitMQ cannot be used ends the worker with one clear line and its code, before
/// any job is taken.
#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_cannot_be_used_is_one_clear_line() {
    let node = shared();
    let port = node.port();
    node.ctl(&["add_user", "weak", "weak"]);
    node.ctl(&["add_user", "stranger", "stranger"]);
    node.ctl(&["set_permissions", "weak", "^$", "^$", "^$"]);
    let closed = free_port();
    for (url, code, words) in [
        ("tcp://localhost".to_owned(), 2, "amqp.url"),
        (
            "amqp://guest:guest@rabbit.example/".to_owned(),
            2,
            "leaves this machine",
        ),
        (
            format!("amqp://guest:guest@127.0.0.1:{closed}/"),
            8,
            "connecting to 127.0.0.1",
        ),
        (
            format!("amqp://guest:s3cret@127.0.0.1:{port}/"),
            4,
            "ACCESS_REFUSED",
        ),
        (
            format!("amqp://guest:guest@127.0.0.1:{port}/nowhere"),
            8,
            "nowhere",
        ),
        (
            format!("amqp://stranger:stranger@127.0.0.1:{port}/"),
            8,
            "virtual host",
        ),
        (
            format!("amqp://weak:weak@127.0.0.1:{port}/"),
            4,
            "ACCESS_REFUSED",
        ),
    ] {
        let mut stage = Stage::new(&node.url(), "");
        stage.desk.set("TANDA_AMQP__URL", &url);
        let said = stage.ends(code, &["worker"]);
        assert!(said.contains(words), "{words}: {said}");
        assert!(!said.contains("s3cret"), "S20: {said}");
        let errors = said.lines().filter(|line| line.contains("error:")).count();
        assert_eq!(errors, 1, "{said}");
        assert_eq!(stage.bank.operations_heard(), 0);
    }
    let mut stage = Stage::new(&node.url(), "");
    stage.desk.unset("TANDA_AMQP__URL");
    let said = stage.ends(2, &["worker"]);
    assert!(said.contains("TANDA_AMQP__URL"), "{said}");
}

/// A queue that is otherwise at the broker is named, with the argument.
#[tokio::test(flavor = "multi_thread")]
async fn a_queue_with_another_argument_is_named_with_the_argument() {
    let stage = Stage::new(&shared().url(), "");
    let client = stage.client().await;
    let mut arguments = FieldTable::default();
    arguments.insert(
        "x-queue-type".into(),
        AMQPValue::LongString("quorum".into()),
    );
    arguments.insert("x-delivery-limit".into(), AMQPValue::LongInt(20));
    let durable = QueueDeclareOptions {
        durable: true,
        ..QueueDeclareOptions::default()
    };
    let queue = stage.names.jobs_queue.as_str();
    let made = client
        .channel
        .queue_declare(queue.into(), durable, arguments);
    made.await.expect("made");
    let said = stage.ends(8, &["worker"]);
    assert!(
        said.contains(&format!("the queue {queue} is otherwise")),
        "{said}"
    );
    assert!(
        said.contains("x-delivery-limit") || said.contains("x-dead-letter"),
        "{said}"
    );
}

/// A credential that the bank refuses ends the worker before it takes a message.
#[tokio::test(flavor = "multi_thread")]
async fn no_message_is_taken_with_a_token_that_the_bank_refuses() {
    let mut stage = Stage::new(&shared().url(), "");
    stage.make_queues();
    let client = stage.client().await;
    stage.publish(&client, &[job("J-1", 1, 1_000)]).await;
    stage.desk.set("TANDA_BANK__TOKEN", "wrong");
    let said = stage.ends(4, &["worker"]);
    assert!(said.contains("renew the token"), "{said}");
    stage.desk.set("TANDA_BANK__TOKEN", "simulated");
    let worker = stage.worker();
    stage.finals(&client, 1).await;
    drop(worker.terminate());
}

/// Whatever stands on the queue becomes `invalid` with its reason and its bytes, and the next job is
/// done: no crash, no loop.
#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::too_many_lines, reason = "a list of what is wrong")]
async fn whatever_is_on_the_queue_is_answered_and_stops_nothing() {
    let stage = Stage::new(&shared().url(), "");
    let mut worker = stage.worker();
    let client = stage.client().await;
    let good = String::from_utf8(job("N", 1, 1_000)).expect("UTF-8");
    let mut headers = FieldTable::default();
    headers.insert(
        "x-death".into(),
        AMQPValue::FieldTable(FieldTable::default()),
    );
    headers.insert("traceparent".into(), AMQPValue::Boolean(true));
    headers.insert("line".into(), AMQPValue::LongString("seventeen".into()));
    for number in 0..500 {
        let value = AMQPValue::LongString("x".repeat(200).into());
        headers.insert(format!("h{number}").into(), value);
    }
    let bad: Vec<(Vec<u8>, BasicProperties, &str)> = vec![
        (b"hello".to_vec(), json(), "not_json"),
        (vec![0xff, 0x00, 0x9f], json(), "not_json"),
        (b"".to_vec(), json(), "empty"),
        (b"[1]".to_vec(), json(), "wrong_type"),
        (
            good.replace("1000", "1000.0").into_bytes(),
            json(),
            "wrong_type",
        ),
        (
            good.replace("1000", "\"1000\"").into_bytes(),
            json(),
            "wrong_type",
        ),
        (
            good.replace("1000", "1e3").into_bytes(),
            json(),
            "wrong_type",
        ),
        (
            good.replace("\"COP\"", "\"EUR\"").into_bytes(),
            json(),
            "currency",
        ),
        (
            good.replace("{\"entity", "{\"x\":1,\"entity").into_bytes(),
            json(),
            "unknown_field",
        ),
        (
            good.replace("{\"entity", "{\"operation\":\"topup\",\"entity")
                .into_bytes(),
            json(),
            "duplicate_field",
        ),
        (vec![b'{'; 1 << 20], json(), "too_large"),
        (
            good.clone().into_bytes(),
            json().with_content_type("text/plain".into()),
            "content_type",
        ),
        (
            good.clone().into_bytes(),
            json().with_type("other.v1".into()),
            "message_type",
        ),
        (
            good.clone().into_bytes(),
            json().with_content_encoding("gzip".into()),
            "content_encoding",
        ),
    ];
    for (body, properties, _) in &bad {
        client
            .publish(&stage.names.jobs_exchange, body, properties.clone())
            .await;
    }
    let odd = BasicProperties::default().with_headers(headers);
    client
        .publish(&stage.names.jobs_exchange, good.as_bytes(), odd)
        .await;
    let finals = stage.finals(&client, 1).await;
    assert_eq!(finals["N"].status(), "succeeded");
    let dead = client
        .take_until(&stage.names.dead_queue, |all| all.len() >= bad.len())
        .await;
    for (body, _, reason) in &bad {
        let is_kept = dead.iter().any(|letter| {
            let told = letter.header("tanda-reason").unwrap_or_default();
            letter.key == "invalid" && letter.body == *body && told == *reason
        });
        assert!(is_kept, "{reason}");
    }
    worker.must_run_on();
    assert_eq!(stage.bank.paid_once(), 1);
    stage.jobs_are_gone(shared());
    drop(worker.terminate());
}
