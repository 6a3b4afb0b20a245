//! `tanda enqueue`, and dead letters and held jobs beside a worker.

use std::collections::BTreeMap;

use crate::support::node::{Node, shared};
use crate::support::program::{exits, said};
use crate::support::queues::Message;
use crate::support::stage::{Stage, job, json};

const HEADER: &str = "entity_id,card_id,operation,amount,currency,description\n";

/// So many rows `E-0`, `E-1`, … of 1.00 over so many cards, those of a card together.
fn payroll(rows: usize, cards: usize) -> String {
    let each = rows / cards;
    let row = |number: usize| format!("E-{number},car_{:022},topup,1.00,COP,\n", number / each);
    HEADER.to_owned() + &(0..rows).map(row).collect::<String>()
}

fn enqueue<'a>(file: &'a str, total: &'a str) -> Vec<&'a str> {
    vec!["enqueue", file, "--yes", "--expect-total", total]
}

/// The numbers of the jobs of each card, in the order of the queue.
fn by_card(messages: &[Message]) -> BTreeMap<String, Vec<usize>> {
    let mut cards: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for message in messages {
        let number = message.entity_id().replace("E-", "").parse();
        let of_card = cards.entry(message.text("/card_id")).or_default();
        of_card.push(number.expect("a number"));
    }
    cards
}

/// A file's jobs are on the queue, each card's in the order of the file, and a worker pays each once,
/// however often they are put there.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_goes_over_the_queue_in_its_order_and_is_paid_once() {
    let stage = Stage::new(&shared().url(), "");
    let file = stage.desk.write("pay.csv", &payroll(600, 40));
    let missing = stage.desk.tanda(&enqueue(&file, "topup:COP:600.00"));
    exits(&missing, 8);
    assert!(said(&missing).contains("tanda topology --declare"));
    stage.ends(0, &["topology", "--declare"]);
    let queued = stage.desk.tanda(&enqueue(&file, "topup:COP:600.00"));
    exits(&queued, 0);
    assert!(
        said(&queued).contains("600 jobs are on"),
        "{}",
        said(&queued)
    );
    let client = stage.client().await;
    let messages = client.drain_jobs(&stage.names.jobs_queue).await;
    assert_eq!(messages.len(), 600);
    for numbers in by_card(&messages).values() {
        assert!(numbers.is_sorted(), "I7: {numbers:?}");
    }
    let first = &messages[0];
    let batch = first.header("batch_id").expect("a batch");
    assert!(batch.starts_with("sha256:"), "{batch}");
    assert_eq!(first.properties.delivery_mode(), &Some(2));

    let worker = stage.worker();
    for _ in 0..2 {
        exits(&stage.desk.tanda(&enqueue(&file, "topup:COP:600.00")), 0);
    }
    let finals = stage.finals(&client, 600).await;
    let one = finals.get("E-17").expect("it has an outcome");
    assert_eq!(
        (one.text("/batch_id"), &one.json()["line"]),
        (batch, &19.into())
    );
    assert_eq!(stage.bank.paid_once(), 600);
    drop(worker.terminate());
}

/// Whatever the broker refuses in the middle, what it has of a card is the beginning of what the file has
/// of it.
#[tokio::test(flavor = "multi_thread")]
async fn i7_a_queue_that_takes_no_more_has_no_gap_in_any_card() {
    let node = shared();
    let stage = Stage::new(&node.url(), "");
    stage.ends(0, &["topology", "--declare"]);
    let queue = &stage.names.jobs_queue;
    let pattern = format!("^{}$", queue.replace('.', "\\."));
    let limit = r#"{"max-length":200,"overflow":"reject-publish"}"#;
    node.ctl(&["set_policy", "--apply-to", "queues", queue, &pattern, limit]);
    let file = stage.desk.write("pay.csv", &payroll(3_000, 60));
    let full = stage.desk.tanda(&enqueue(&file, "topup:COP:3000.00"));
    exits(&full, 8);
    let said = said(&full);
    assert!(
        said.contains("takes no more") && said.contains("Run the same file again"),
        "{said}"
    );
    node.ctl(&["clear_policy", queue]);
    let client = stage.client().await;
    let messages = client.drain_jobs(queue).await;
    assert!(messages.len() >= 200, "{}", messages.len());
    for numbers in by_card(&messages).values() {
        let first = numbers[0] / 50 * 50;
        let beginning: Vec<_> = (first..first + numbers.len()).collect();
        assert_eq!(numbers, &beginning, "I7");
    }
    exits(&stage.desk.tanda(&enqueue(&file, "topup:COP:3000.00")), 0);
}

/// A broker that goes away in the middle: nothing is claimed that is not there.
#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_killed_in_the_middle_has_what_was_said_to_be_there() {
    let mut node = Node::start("");
    let stage = Stage::new(&node.url(), "");
    stage.ends(0, &["topology", "--declare"]);
    node.note_queues();
    let file = stage.desk.write("pay.csv", &payroll(10_000, 10_000));
    let client = stage.client().await;
    let enqueueing = stage
        .desk
        .command(&enqueue(&file, "topup:COP:10000.00"))
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("it starts");
    let queue = &stage.names.jobs_queue;
    while client.count(queue).await == 0 {}
    node.kill_at_once();
    let ended = enqueueing.wait_with_output().expect("it ends");
    exits(&ended, 8);
    let told = said(&ended);
    let words: Vec<_> = told.split_whitespace().collect();
    let known = words.windows(2).find(|pair| pair[1] == "of");
    let known = known.and_then(|pair| pair[0].parse().ok());
    let known: usize = known.unwrap_or_else(|| panic!("{told}"));
    assert!(known < 10_000, "{told}");
    node.boot();
    let client = stage.client().await;
    let there = client.drain_jobs(queue).await.len();
    assert!(there >= known, "{there}: {told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_producer_needs_no_more_than_the_right_to_write() {
    let node = shared();
    let mut stage = Stage::new(&node.url(), "");
    stage.ends(0, &["topology", "--declare"]);
    let exchange = format!("^{}$", stage.names.jobs_exchange.replace('.', "\\."));
    for (user, writes) in [("producer", exchange.as_str()), ("nobody", "^$")] {
        node.ctl(&["add_user", user, "pw"]);
        node.ctl(&["set_permissions", user, "^$", writes, "^$"]);
    }
    let file = stage.desk.write("pay.csv", &payroll(3, 3));
    for unneeded in ["TANDA_BANK__TOKEN", "TANDA_BANK__BASE_URL"] {
        stage.desk.unset(unneeded);
    }
    stage
        .desk
        .set("TANDA_LEDGER__URL", "sqlite:/nonexistent/ledger.db");
    for (user, code) in [("producer", 0), ("nobody", 4)] {
        let url = format!("amqp://{user}:pw@127.0.0.1:{}/", node.port());
        stage.desk.set("TANDA_AMQP__URL", &url);
        exits(&stage.desk.tanda(&enqueue(&file, "topup:COP:3.00")), code);
    }
    stage.desk.set("TANDA_POLICY__ONE_PERSON_RUN", "refused");
    exits(&stage.desk.tanda(&enqueue(&file, "topup:COP:3.00")), 5);
}

/// What `tanda dead` says, which must end well.
fn dead(stage: &Stage, arguments: &str) -> String {
    let arguments: Vec<_> = arguments.split(' ').collect();
    stage.ends(0, &[&["dead"], &arguments[..]].concat())
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_of_the_queue_are_run_again_beside_a_worker() {
    let stage = Stage::new(&shared().url(), "refuse=100%");
    let worker = stage.worker();
    let client = stage.client().await;
    stage
        .publish(&client, &[job("J-1", 1, 1_000), job("J-2", 2, 2_000)])
        .await;
    stage.finals(&client, 2).await;
    let names = &stage.names;
    for body in [b"no job".as_slice(), &job("J-1", 1, 7)] {
        client.publish(&names.jobs_exchange, body, json()).await;
    }
    client
        .take_until(&names.results_queue, |all| all.len() >= 2)
        .await;
    let listed = dead(&stage, &format!("list --source {}", names.jobs_queue));
    assert!(listed.contains("J-1") && listed.contains("J-2"), "{listed}");
    let facts = dead(&stage, "list --source queue --status invalid");
    assert!(
        facts.contains("not_json") && facts.contains("1 dead letter"),
        "{facts}"
    );
    let facts = dead(&stage, "list --json --status invalid");
    let event_id = facts.split('"').skip_while(|it| *it != "event_id").nth(2);
    let event_id = event_id.expect("an event");
    let shown = dead(&stage, &format!("show {event_id}"));
    for words in [
        names.dead_queue.as_str(),
        "tanda-event-id",
        "tanda dead discard",
    ] {
        assert!(shown.contains(words), "{words}: {shown}");
    }

    stage.bank.set_faults("");
    let again =
        "redrive --source queue --by Ana --yes --expect-count 2 --expect-total topup:COP:30.00";
    let again = dead(&stage, again);
    for words in [
        "left out: 1 (J-1): conflict",
        ": invalid",
        "it is succeeded",
        "2 asked for: 2 accepted",
    ] {
        assert!(again.contains(words), "{words}: {again}");
    }
    let finals = stage.finals(&client, 2).await;
    assert!(finals.values().all(|it| it.json()["generation"] == 2));
    assert_eq!(stage.bank.paid_once(), 2);
    let aside = "discard --source queue --by Ana --evidence tested --yes --expect-count 2";
    let aside = dead(&stage, aside);
    assert!(aside.contains("2 to be put aside: 2 accepted"), "{aside}");
    let none = dead(&stage, "list");
    assert!(none.contains("there are no dead letters"), "{none}");
    let shown = dead(&stage, &format!("show {event_id}"));
    assert!(shown.contains("Ana put it aside"), "{shown}");
    drop(worker.terminate());
}

/// What the ledger holds is in everybody's words, with and without a worker.
#[tokio::test(flavor = "multi_thread")]
async fn what_waits_in_the_ledger_is_told_and_counted() {
    let stage = Stage::new(&shared().url(), "");
    let worker = stage.worker();
    let client = stage.client().await;
    // Absence proves nothing before the list has shown what was paid.
    stage.publish(&client, &[job("paid", 2, 1_000)]).await;
    stage.finals(&client, 1).await;
    stage.bank.set_faults("conflict=100%");
    let jobs = ["first", "second", "third"].map(|name| job(name, 1, 1_000));
    stage.publish(&client, &jobs).await;
    let waiting = |all: &[Message]| all.iter().filter(|it| it.status() == "waiting").count() == 2;
    client.take_until(&stage.names.results_queue, waiting).await;
    let status = stage.ends(7, &["status"]);
    for words in ["IN DOUBT", "2 jobs are WAITING", "they go on by themselves"] {
        assert!(status.contains(words), "{words}: {status}");
    }
    let explained = stage.ends(0, &["explain", "third"]);
    for words in [
        "third: WAITING since",
        "No money moved yet",
        "behind first",
        "1 held job before it",
        &format!("the queue {}", stage.names.jobs_queue),
        "behind_another_of_its_card",
    ] {
        assert!(explained.contains(words), "{words}: {explained}");
    }
    worker.kill();
    let status = stage.ends(7, &["status"]);
    assert!(
        status.contains("the next `tanda worker` goes on with them"),
        "{status}"
    );
    stage.bank.set_faults("");
    let worker = stage.worker();
    stage.finals(&client, 3).await;
    assert_eq!(stage.bank.paid_once(), 4);
    drop(worker.terminate());
}

/// `run` keeps what belongs to the queue for a worker, and `status` says so.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_run_settles_for_the_queue_waits_for_a_worker() {
    let mut stage = Stage::new(&shared().url(), "conflict=100%");
    stage.desk.set("TANDA_ENGINE__SETTLE_DELAY_S", "30");
    let worker = stage.worker();
    let client = stage.client().await;
    stage.publish(&client, &[job("J-1", 1, 1_000)]).await;
    let in_doubt = |all: &[Message]| all.iter().any(|it| it.status() == "in_doubt");
    client
        .take_until(&stage.names.results_queue, in_doubt)
        .await;
    drop(worker.terminate());
    let settle = [
        "settle",
        "J-1",
        "--as",
        "succeeded",
        "--by",
        "Ana",
        "--evidence",
        "a letter",
        "--yes",
    ];
    stage.ends(0, &settle);
    let status = stage.ends(0, &["status"]);
    for words in [
        "1 outcome is not told yet",
        "`tanda run` does not",
        "J-1  succeeded",
    ] {
        assert!(status.contains(words), "{words}: {status}");
    }
    stage.bank.set_faults("");
    let worker = stage.worker();
    stage.finals(&client, 1).await;
    let told = stage.ends(0, &["status"]);
    assert!(!told.contains("not told yet"), "{told}");
    drop(worker.terminate());
}
