//! A cluster of three nodes, as quorum queues are meant for.

use crate::support::node::Cluster;
use crate::support::stage::{Stage, jobs};

/// The queues are replicated, and a worker whose node stays goes on while each of the others dies.
#[tokio::test(flavor = "multi_thread")]
async fn f7_a_cluster_that_loses_a_node_loses_nothing() {
    let mut cluster = Cluster::start();
    let stage = Stage::new(&cluster.nodes[2].url(), "latency_ms=20");
    let mut worker = stage.worker();
    let client = stage.client().await;
    let members = cluster.nodes[2].ctl(&[
        "list_queues",
        "--quiet",
        "--no-table-headers",
        "name",
        "members",
    ]);
    for queue in [&stage.names.jobs_queue, &stage.names.results_queue] {
        let line = members
            .lines()
            .find(|line| line.starts_with(queue.as_str()));
        let line = line.expect("the queue");
        assert_eq!(line.matches("@localhost").count(), 3, "{line}");
    }
    stage.publish(&client, &jobs(1_000, 100)).await;
    for (node, share) in [(0, 100), (1, 400)] {
        worker.until_paid(&stage.bank, share);
        cluster.nodes[node].kill();
        cluster.nodes[node].boot();
    }
    stage.finals(&client, 1_000).await;
    assert_eq!(stage.bank.paid_once(), 1_000);
    let (code, said) = worker.terminate();
    assert_eq!(code, Some(143), "{said}");
}
