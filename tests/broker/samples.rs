//! The samples for producers and consumers, and the schemas, held against a worker as it is.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use tanda::amqp::Names;

use crate::support::node::shared;
use crate::support::stage::{Stage, job, json};

/// Debian's own, which has Debian's pika and jsonschema.
const PYTHON: &str = "/usr/bin/python3";

fn here(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn told(output: &Output) -> String {
    format!(
        "{}\n{}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// Runs a program of the samples as the README does; what it says on stdout.
fn sample(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program)
        .args(arguments)
        .current_dir(here(""))
        .env("TANDA_AMQP__URL", shared().url())
        .output()
        .expect("it runs");
    assert!(output.status.success(), "{arguments:?}: {}", told(&output));
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// A stage with the names that are built in, which the samples use. Only one test can have them.
fn built_in_stage() -> Stage {
    let mut stage = Stage::new(&shared().url(), "");
    for setting in [
        "JOBS_EXCHANGE",
        "JOBS_QUEUE",
        "RESULTS_EXCHANGE",
        "RESULTS_QUEUE",
        "DEAD_EXCHANGE",
        "DEAD_QUEUE",
        "LOCK_QUEUE",
    ] {
        stage.desk.unset(&format!("TANDA_AMQP__{setting}"));
    }
    stage.names = Names::default();
    stage
}

/// The producer and the consumer of the samples work with a worker, as the README has them.
#[tokio::test(flavor = "multi_thread")]
async fn the_samples_work_as_the_readme_has_them() {
    let stage = built_in_stage();
    let worker = stage.worker();
    sample(
        PYTHON,
        &[
            "samples/producer.py",
            "samples/jobs/topup.json",
            "samples/jobs/withdrawal.json",
        ],
    );
    let printed = sample(PYTHON, &["samples/consumer.py", "--count", "2"]);
    assert_eq!(printed.lines().count(), 2, "{printed}");
    assert!(printed.contains("succeeded"), "{printed}");
    sample("bash", &["samples/producer.sh", "samples/jobs/topup.json"]);
    let printed = sample(
        "amqp-consume",
        &[
            "-u",
            &shared().url(),
            "-q",
            "tanda.results",
            "-c",
            "1",
            "cat",
        ],
    );
    assert!(
        printed.contains(r#""schema":"tanda.outcome.v1""#),
        "{printed}"
    );
    sample(PYTHON, &["samples/producer.py", "samples/payroll.csv"]);
    let printed = sample(PYTHON, &["samples/consumer.py", "--count", "300"]);
    assert_eq!(printed.lines().count(), 300);
    assert!(stage.bank.paid_once() > 250);
    drop(worker.terminate());
}

/// Whether each of these messages is what the schema says.
fn validate(schema: &str, messages: &[Vec<u8>]) {
    let mut validator = Command::new(PYTHON)
        .arg(here("tests/broker/validate_messages.py"))
        .arg("--schema")
        .arg(here(schema))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it runs");
    let mut input = validator.stdin.take().expect("it is piped");
    for message in messages {
        input.write_all(message).expect("it reads");
        input.write_all(b"\n").expect("it reads");
    }
    drop(input);
    let output = validator.wait_with_output().expect("it ends");
    assert!(output.status.success(), "{schema}: {}", told(&output));
}

/// Every kind of outcome that a worker publishes is what the schema says, and so are our own jobs.
#[tokio::test(flavor = "multi_thread")]
async fn real_messages_are_what_the_schemas_say() {
    let mut stage = Stage::new(&shared().url(), "refuse=20%");
    stage.desk.set("TANDA_ENGINE__HOLD_MAX_S", "1");
    stage.desk.set("TANDA_ENGINE__RESEND_WINDOW_S", "1");
    let mut worker = stage.worker();
    let client = stage.client().await;
    let mut jobs: Vec<_> = (0..60)
        .map(|number| job(&format!("J-{number}"), number % 5, 1_000))
        .collect();
    jobs.push(job("J-1", 1, 2_000));
    let bad = br#"{"entity_id":"BAD","card_id":"car_0000000000000000000001","operation":"topup","amount":{"amount":0,"currency":"COP"}}"#;
    stage.publish(&client, &jobs).await;
    client
        .publish(&stage.names.jobs_exchange, bad, json())
        .await;
    client
        .publish(&stage.names.jobs_exchange, b"no", json())
        .await;
    let mut all = client
        .take_until(&stage.names.results_queue, |all| all.len() >= 63)
        .await;
    // Now a bank that leaves one in doubt, so that others wait behind it.
    stage.bank.set_faults("hang=100%");
    let doubtful: Vec<_> = (0..4).map(|n| job(&format!("D-{n}"), 1, 1_000)).collect();
    stage.publish(&client, &doubtful).await;
    let has = |all: &[crate::support::queues::Message], status: &str| {
        all.iter().any(|it| it.status() == status)
    };
    let later = client
        .take_until(&stage.names.results_queue, |all| {
            has(all, "waiting") && has(all, "in_doubt")
        })
        .await;
    stage.bank.set_faults("");
    all.extend(later);
    worker.must_run_on();
    for status in [
        "succeeded",
        "rejected",
        "conflict",
        "invalid",
        "in_doubt",
        "waiting",
    ] {
        assert!(has(&all, status), "{status}");
    }
    let bodies: Vec<_> = all.iter().map(|it| it.body.clone()).collect();
    validate("src/wire/schema/outcome.schema.json", &bodies);
    validate("src/wire/schema/job.schema.json", &jobs);
    let dead = client.drain(&stage.names.dead_queue).await;
    let letters: Vec<_> = dead
        .into_iter()
        .filter(|letter| letter.key != "invalid")
        .map(|letter| letter.body)
        .collect();
    assert!(!letters.is_empty());
    validate("src/wire/schema/job.schema.json", &letters);
    drop(worker.terminate());
}
