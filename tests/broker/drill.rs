//! `tanda drill` over RabbitMQ.

use serde_json::Value;

use crate::support::node::{Node, shared};
use crate::support::program::{Desk, Started, exits};

/// Queues and exchanges of drills that are there.
fn of_drills(node: &Node) -> Vec<String> {
    let queues = node.ctl(&["list_queues", "name"]);
    let exchanges = node.ctl(&["list_exchanges", "name"]);
    let names = queues.lines().chain(exchanges.lines());
    names
        .filter(|name| name.starts_with("tanda.drill."))
        .map(str::to_owned)
        .collect()
}

fn standing<'a>(report: &'a Value, id: &str) -> &'a str {
    let all = report["invariants"].as_array().expect("invariants");
    let one = all.iter().find(|it| it["id"] == id).expect("an invariant");
    one["standing"].as_str().expect("a standing")
}

/// Kills and cuts of the worker lose no message, and nothing is left at the broker, also where the drill
/// is interrupted. One test, because both look at all that drills have left.
#[test]
fn i3_i4_a_drill_over_the_queue_holds_and_leaves_nothing_at_the_broker() {
    let node = shared();
    let (desk, url) = (Desk::new(), node.url());
    let flags = ["drill", "--kills", "5", "--jobs", "250", "--seed", "7"];
    let drill = desk.tanda(&[&flags[..], &["--json", "--amqp", &url]].concat());
    exits(&drill, 0);
    let told: Value = serde_json::from_slice(&drill.stdout).expect("JSON alone");
    assert_eq!(told["verdict"], "held", "{told:#}");
    for id in ["I1", "I2", "I3", "I4", "I6", "I7", "I13", "dead letters"] {
        assert_eq!(standing(&told, id), "held", "{id}: {told:#}");
    }
    assert_eq!(
        told["repeat"],
        "tanda drill --seed 7 --kills 5 --jobs 250 --amqp URL"
    );
    let messages = &told["messages"];
    for kind in ["copies", "conflicts", "unreadable"] {
        assert!(messages[kind].as_u64() > Some(0), "{kind}: {messages}");
    }
    assert_eq!(of_drills(node), Vec::<String>::new());
    let mut drill = Started::new(desk.command(&["drill", "--for", "10m", "--amqp", &url]));
    drill.until_it_says("over RabbitMQ at");
    while of_drills(node).is_empty() {
        drill.must_run_on();
    }
    let (code, errors) = drill.stop_by("-INT");
    assert_eq!(code, Some(130), "{errors}");
    assert_eq!(of_drills(node), Vec::<String>::new());
}
