//! Faults of the broker and of the way to it, each by its row.

use std::time::{Duration, Instant};

use lapin::options::{ExchangeDeleteOptions, QueueDeclareOptions, QueueDeleteOptions};
use lapin::types::{AMQPValue, FieldTable};

use crate::support::node::{Node, shared, url_at};
use crate::support::proxy::Proxy;
use crate::support::stage::{Stage, finals_of, job, jobs};

/// What the bank takes for a call, so that a load lasts for the faults.
const SLOW: &str = "latency_ms=20";

/// Every one of these jobs has one final outcome and moved money once.
fn all_paid(stage: &Stage, count: usize) {
    assert_eq!(stage.bank.paid_once(), count);
}

/// F7: the broker is killed under load and comes back on its data. Nothing is lost, nothing is paid
/// twice, and the worker goes on by itself.
#[tokio::test(flavor = "multi_thread")]
async fn f7_a_broker_that_is_killed_and_comes_back_loses_nothing() {
    let mut node = Node::start("");
    let stage = Stage::new(&node.url(), SLOW);
    let mut worker = stage.worker();
    let client = stage.client().await;
    stage.publish(&client, &jobs(1_500, 100)).await;
    for share in [100, 500] {
        worker.until_paid(&stage.bank, share);
        node.kill();
        node.boot();
    }
    let client = stage.client().await;
    stage.finals(&client, 1_500).await;
    worker.must_run_on();
    all_paid(&stage, 1_500);
    stage.jobs_are_gone(&node);
    let (code, said) = worker.terminate();
    assert_eq!(code, Some(143), "{said}");
}

/// F8: a broker that is short of memory takes no publication; what is under way waits for it, no job is
/// hurt, and all is told afterwards.
#[tokio::test(flavor = "multi_thread")]
async fn f8_a_memory_alarm_holds_outcomes_back_and_loses_none() {
    let node = Node::start("");
    let stage = Stage::new(&node.url(), SLOW);
    stage.make_queues();
    let client = stage.client().await;
    stage.publish(&client, &jobs(600, 100)).await;
    let mut worker = stage.worker();
    worker.until_paid(&stage.bank, 50);
    node.memory_alarm(true);
    // The prefetch is all that can be begun while nothing can be published.
    worker.until_paid(&stage.bank, 150);
    let before = stage.bank.paid_once();
    let mut looks = tokio::time::interval(Duration::from_millis(500));
    for _ in 0..6 {
        looks.tick().await;
    }
    assert!(
        stage.bank.paid_once() <= before + 128,
        "no more is begun than was taken"
    );
    worker.must_run_on();
    node.memory_alarm(false);
    stage.finals(&client, 600).await;
    all_paid(&stage, 600);
    stage.jobs_are_gone(&node);
    drop(worker.terminate());
}

/// F8, at the start: what an earlier worker left cannot be published. A stop is heeded all the same.
#[tokio::test(flavor = "multi_thread")]
async fn f8_a_worker_that_starts_in_a_memory_alarm_can_be_stopped() {
    let node = Node::start("");
    let stage = Stage::new(&node.url(), SLOW);
    stage.make_queues();
    let client = stage.client().await;
    stage.publish(&client, &jobs(60, 60)).await;
    let mut worker = stage.worker();
    node.memory_alarm(true);
    worker.until_paid(&stage.bank, 40);
    worker.kill();
    let worker = stage.worker();
    let began = Instant::now();
    let (code, said) = worker.terminate();
    assert_eq!(code, Some(143), "{said}");
    assert!(began.elapsed() < Duration::from_secs(25), "{said}");
    node.memory_alarm(false);
    let worker = stage.worker();
    stage.finals(&client, 60).await;
    all_paid(&stage, 60);
    drop(worker.terminate());
}

/// F9: confirms that never come, and a connection that then breaks: nothing counts as published, and all
/// is published again with the same bytes.
#[tokio::test(flavor = "multi_thread")]
async fn f9_what_was_not_confirmed_is_published_again() {
    let proxy = Proxy::before(shared().port()).await;
    let mut stage = Stage::new(&shared().url(), SLOW);
    stage.make_queues();
    stage.desk.set("TANDA_AMQP__URL", &url_at(proxy.port()));
    let client = stage.client().await;
    stage.publish(&client, &jobs(400, 50)).await;
    let mut worker = stage.worker();
    worker.until_paid(&stage.bank, 40);
    proxy.swallow(true);
    let mut looks = tokio::time::interval(Duration::from_millis(500));
    for _ in 0..4 {
        looks.tick().await;
    }
    proxy.cut();
    proxy.swallow(false);
    stage.finals(&client, 400).await;
    all_paid(&stage, 400);
    stage.jobs_are_gone(shared());
    drop(worker.terminate());
}

/// F10: the results queue is gone under load. Nothing that no queue took counts as published: once it
/// is there again, every outcome is in it or was in the one before.
#[tokio::test(flavor = "multi_thread")]
async fn f10_outcomes_that_no_queue_takes_are_not_called_published() {
    let mut stage = Stage::new(&shared().url(), SLOW);
    stage.make_queues();
    // Nobody makes it again but the test.
    stage.desk.set("TANDA_AMQP__DECLARE", "false");
    let client = stage.client().await;
    stage.publish(&client, &jobs(400, 50)).await;
    let mut worker = stage.worker();
    worker.until_paid(&stage.bank, 40);
    let queue = &stage.names.results_queue;
    let mut seen = client.drain(queue).await;
    let delete = QueueDeleteOptions::default();
    // What is in it when it goes is lost with it, which is whoever deletes it: it is taken out first.
    let taken_out = client.drain(queue).await;
    seen.extend(taken_out);
    let lost = client
        .channel
        .queue_delete(queue.as_str().into(), delete)
        .await
        .expect("deleted");
    let mut looks = tokio::time::interval(Duration::from_millis(500));
    for _ in 0..4 {
        looks.tick().await;
    }
    worker.must_run_on();
    let mut arguments = FieldTable::default();
    arguments.insert(
        "x-queue-type".into(),
        AMQPValue::LongString("quorum".into()),
    );
    let durable = QueueDeclareOptions {
        durable: true,
        ..QueueDeclareOptions::default()
    };
    let made = client
        .channel
        .queue_declare(queue.as_str().into(), durable, arguments);
    made.await.expect("made");
    let bound = client.channel.queue_bind(
        queue.as_str().into(),
        stage.names.results_exchange.as_str().into(),
        "#".into(),
        lapin::options::QueueBindOptions::default(),
        FieldTable::default(),
    );
    bound.await.expect("bound");
    let lost = usize::try_from(lost).expect("few");
    let before = finals_of(&seen).len();
    let after = client
        .take_until(queue, |all| finals_of(all).len() + before + lost >= 400)
        .await;
    seen.extend(after);
    assert!(finals_of(&seen).len() + lost >= 400);
    all_paid(&stage, 400);
    stage.jobs_are_gone(shared());
    drop(worker.terminate());
}

/// F11: the queue of jobs is deleted. The end of the stream is noticed within seconds and is a fault:
/// the worker makes the queue again and goes on.
#[tokio::test(flavor = "multi_thread")]
async fn f11_a_deleted_jobs_queue_is_noticed_and_made_again() {
    let stage = Stage::new(&shared().url(), "");
    let mut worker = stage.worker();
    let client = stage.client().await;
    stage.publish(&client, &[job("BEFORE", 1, 1_000)]).await;
    stage.finals(&client, 1).await;
    let queue = stage.names.jobs_queue.clone();
    let delete = QueueDeleteOptions::default();
    client
        .channel
        .queue_delete(queue.as_str().into(), delete)
        .await
        .expect("deleted");
    let began = Instant::now();
    worker.until_it_says("the connection to RabbitMQ is lost");
    assert!(began.elapsed() < Duration::from_secs(5));
    while !shared().depths().contains_key(&queue) {
        worker.must_run_on();
    }
    stage.publish(&client, &[job("AFTER", 1, 1_000)]).await;
    stage.finals(&client, 1).await;
    drop(worker.terminate());
}

/// F11, where this worker declares nothing: it ends with exit code 8 and names the queue.
#[tokio::test(flavor = "multi_thread")]
async fn f11_a_deleted_jobs_queue_that_must_not_be_declared_ends_the_worker() {
    let mut stage = Stage::new(&shared().url(), "");
    stage.make_queues();
    stage.desk.set("TANDA_AMQP__DECLARE", "false");
    let worker = stage.worker();
    let client = stage.client().await;
    let queue = stage.names.jobs_queue.clone();
    let delete = QueueDeleteOptions::default();
    client
        .channel
        .queue_delete(queue.as_str().into(), delete)
        .await
        .expect("deleted");
    let (code, said) = worker.ends();
    assert_eq!(code, Some(8), "{said}");
    assert!(
        said.contains(&format!("the queue {queue} is not there")),
        "{said}"
    );
    let said = stage.ends(8, &["worker"]);
    assert!(
        said.contains(&format!("the queue {queue} is not there")),
        "{said}"
    );
}

/// F11, of the exchange for outcomes: what is published to it closes the channel. It is made again, and
/// what waited is told; the connection that consumes never notices.
#[tokio::test(flavor = "multi_thread")]
async fn f11_a_deleted_results_exchange_is_made_again() {
    let stage = Stage::new(&shared().url(), SLOW);
    let mut worker = stage.worker();
    let client = stage.client().await;
    let exchange = stage.names.results_exchange.clone();
    let delete = ExchangeDeleteOptions::default();
    let deleted = client
        .channel
        .exchange_delete(exchange.as_str().into(), delete);
    deleted.await.expect("deleted");
    stage.publish(&client, &jobs(300, 30)).await;
    stage.finals(&client, 300).await;
    worker.must_run_on();
    all_paid(&stage, 300);
    let (code, said) = worker.terminate();
    assert_eq!(code, Some(143), "{said}");
}

/// A worker that may not read its queue ends and says so: trying again mends nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_may_not_read_its_queue_ends_with_one_clear_line() {
    let node = shared();
    let mut stage = Stage::new(&node.url(), "");
    stage.make_queues();
    node.ctl(&["add_user", "blind", "pw"]);
    node.ctl(&["set_permissions", "blind", ".*", ".*", "^$"]);
    let url = format!("amqp://blind:pw@127.0.0.1:{}/", node.port());
    stage.desk.set("TANDA_AMQP__URL", &url);
    stage.desk.set("TANDA_AMQP__DECLARE", "false");
    let worker = stage.worker();
    let (code, said) = worker.ends();
    assert_eq!(code, Some(8), "{said}");
    assert!(said.contains("ACCESS_REFUSED"), "{said}");
    assert!(said.contains(&stage.names.jobs_queue), "{said}");
}

/// F12: the bank is down for longer than the broker waits for acknowledgements. The ledger takes the
/// jobs over before that, and all settle in their order once the bank is back.
#[tokio::test(flavor = "multi_thread")]
async fn f12_no_delivery_is_kept_longer_than_the_broker_waits() {
    let node = Node::start("consumer_timeout = 9000");
    // It looks once a minute by itself.
    node.ctl(&[
        "eval",
        "application:set_env(rabbit, channel_tick_interval, 1000).",
    ]);
    let mut stage = Stage::new(&node.url(), "");
    stage.desk.set("TANDA_ENGINE__HOLD_MAX_S", "3");
    stage.desk.set("TANDA_ENGINE__RESEND_WINDOW_S", "2");
    stage.desk.set("TANDA_AMQP__CONSUMER_TIMEOUT_S", "9");
    let mut worker = stage.worker();
    stage.bank.set_faults("outage=1s+14s");
    let client = stage.client().await;
    let mut looks = tokio::time::interval(Duration::from_millis(1_500));
    looks.tick().await;
    looks.tick().await;
    stage.publish(&client, &jobs(60, 6)).await;
    let results = &stage.names.results_queue;
    let told = client
        .take_until(results, |all| {
            all.iter().filter(|it| it.status() == "waiting").count() >= 40
        })
        .await;
    let interim = told.iter().filter(|it| it.json()["final"] == false).count();
    assert_eq!(
        interim,
        told.len(),
        "nothing is over while the bank is down"
    );
    let all = client
        .take_until(results, |all| finals_of(all).len() >= 60)
        .await;
    assert_eq!(finals_of(&all).len(), 60);
    worker.must_run_on();
    all_paid(&stage, 60);
    stage.jobs_are_gone(&node);
    let (code, said) = worker.terminate();
    assert_eq!(code, Some(143), "{said}");
    assert!(
        !said.contains("RabbitMQ is lost"),
        "it took something back: {said}"
    );
}

/// F14: a message that was under way at 25 kills is done, and never gone.
#[tokio::test(flavor = "multi_thread")]
async fn f14_a_message_outlives_25_kills_of_the_worker() {
    let stage = Stage::new(&shared().url(), "latency_ms=400");
    stage.make_queues();
    let client = stage.client().await;
    stage.publish(&client, &jobs(3, 1)).await;
    for _ in 0..25 {
        stage.worker().kill();
    }
    let worker = stage.worker();
    stage.finals(&client, 3).await;
    all_paid(&stage, 3);
    stage.jobs_are_gone(shared());
    drop(worker.terminate());
}

/// F18: bodies from nothing to 20 MiB: each too large one is invalid, with its bytes kept, and jobs in
/// between are done.
#[tokio::test(flavor = "multi_thread")]
async fn f18_large_bodies_are_invalid_and_stop_nothing() {
    let stage = Stage::new(&shared().url(), "");
    let mut worker = stage.worker();
    let client = stage.client().await;
    let sizes = [0, 1, 1_024, 65_536, 65_537, 1 << 20, 20 << 20];
    for (number, size) in sizes.into_iter().enumerate() {
        stage.publish(&client, &[vec![b' '; size]]).await;
        stage
            .publish(&client, &[job(&format!("J-{number}"), 1, 1_000)])
            .await;
    }
    let results = client
        .take_until(&stage.names.results_queue, |all| {
            all.len() >= 2 * sizes.len()
        })
        .await;
    let reasons: Vec<_> = results
        .iter()
        .filter(|it| it.status() == "invalid")
        .map(|it| it.text("/reason"))
        .collect();
    let mut sorted = reasons.clone();
    sorted.sort();
    let expected = [
        "empty",
        "not_json",
        "not_json",
        "not_json",
        "too_large",
        "too_large",
        "too_large",
    ];
    assert_eq!(sorted, expected);
    let dead = client
        .take_until(&stage.names.dead_queue, |all| all.len() >= sizes.len())
        .await;
    let mut kept: Vec<_> = dead.iter().map(|letter| letter.body.len()).collect();
    kept.sort_unstable();
    assert_eq!(kept, sizes);
    worker.must_run_on();
    all_paid(&stage, sizes.len());
    drop(worker.terminate());
}

/// F36: a stop under load, again and again: each ends in time, none leaves a job in doubt, and the order
/// of each card is kept.
#[tokio::test(flavor = "multi_thread")]
async fn f36_i7_stops_under_load_leave_nothing_in_doubt_and_no_order_lost() {
    let stage = Stage::new(&shared().url(), "latency_ms=60");
    stage.make_queues();
    let client = stage.client().await;
    let (count, cards) = (700, 30);
    stage.publish(&client, &jobs(count, cards)).await;
    let mut stops = 0;
    while stops < 12 {
        let mut worker = stage.worker();
        let paid = stage.bank.paid_once();
        worker.until_paid(&stage.bank, (paid + 10).min(count));
        let began = Instant::now();
        let (code, said) = worker.terminate();
        assert_eq!(code, Some(143), "{said}");
        assert!(began.elapsed() < Duration::from_secs(15), "{said}");
        assert!(!said.contains("in doubt"), "{said}");
        stops += 1;
    }
    let worker = stage.worker();
    let finals = stage.finals(&client, count).await;
    assert!(
        finals.values().all(|it| it.json()["attempts"] == 1),
        "none was begun twice"
    );
    all_paid(&stage, count);
    in_order(&stage, cards);
    drop(worker.terminate());
}

#[expect(
    clippy::indexing_slicing,
    reason = "a report of another shape is a failure"
)]
/// The bank did each card's jobs in the order in which they were published.
fn in_order(stage: &Stage, cards: usize) {
    let report = stage.bank.report();
    let entities = report["entities"].as_object().expect("entities");
    let mut by_card = vec![Vec::new(); cards];
    for (entity_id, entity) in entities {
        let number: usize = entity_id
            .trim_start_matches("J-")
            .parse()
            .expect("a number");
        let at = entity["operations"][0]["performed_at"]
            .as_str()
            .expect("a time")
            .to_owned();
        by_card[number % cards].push((number, at));
    }
    for mut of_card in by_card {
        of_card.sort();
        let times: Vec<_> = of_card.iter().map(|(_, at)| at.clone()).collect();
        assert!(times.is_sorted(), "{of_card:?}");
    }
}

/// F45: results that nobody reads fill their queue: the flow waits and says why, and goes on by itself.
#[tokio::test(flavor = "multi_thread")]
async fn f45_a_full_results_queue_holds_the_flow_until_it_is_read() {
    let mut stage = Stage::new(&shared().url(), "");
    stage.desk.set("TANDA_AMQP__RESULTS_MAX_LENGTH", "50");
    let mut worker = stage.worker();
    let client = stage.client().await;
    stage.publish(&client, &jobs(400, 400)).await;
    worker.until_it_says("the outcomes are not read: their queue is full");
    let paid = stage.bank.paid_once();
    assert!(paid < 400, "it did not stop: {paid}");
    stage.finals(&client, 400).await;
    worker.until_it_says("the flow goes on");
    all_paid(&stage, 400);
    stage.jobs_are_gone(shared());
    drop(worker.terminate());
}

/// Connections cut at many places in the stream: nothing is lost, nothing paid twice, each card in order.
#[tokio::test(flavor = "multi_thread")]
async fn i1_i7_connections_cut_at_any_byte_lose_nothing() {
    let proxy = Proxy::before(shared().port()).await;
    let mut stage = Stage::new(&shared().url(), "latency_ms=10");
    stage.make_queues();
    stage.desk.set("TANDA_AMQP__URL", &url_at(proxy.port()));
    let client = stage.client().await;
    let (count, cards) = (1_200, 60);
    stage.publish(&client, &jobs(count, cards)).await;
    let worker = stage.worker();
    // Odd steps, so that cuts fall within headers, bodies and frames of all kinds.
    let mut bytes = 311;
    let mut looks = tokio::time::interval(Duration::from_millis(20));
    while proxy.cuts() < 15 && stage.bank.paid_once() < count {
        let before = proxy.cuts();
        proxy.cut_after(bytes);
        bytes = bytes * 17 % 40_009;
        let waiting = Instant::now();
        while proxy.cuts() == before && waiting.elapsed() < Duration::from_secs(5) {
            looks.tick().await;
        }
    }
    assert!(proxy.cuts() >= 5, "the cuts fell into the load");
    stage.finals(&client, count).await;
    all_paid(&stage, count);
    in_order(&stage, cards);
    stage.jobs_are_gone(shared());
    drop(worker.terminate());
}
