//! What is deployed, held against what there is.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;
use tanda::telemetry::metrics;

use crate::support::program::Desk;

fn deployed(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("deploy")
        .join(path)
}

fn text(path: &str) -> String {
    std::fs::read_to_string(deployed(path)).expect("a file")
}

/// RabbitMQ is given the queues, exchanges and bindings that the program wants.
#[test]
fn the_definitions_of_rabbitmq_are_the_topology() {
    let deployed: Value = serde_json::from_str(&text("rabbitmq/definitions.json")).expect("JSON");
    let printed = Desk::new().tanda(&["topology", "--json"]);
    let printed: Value = serde_json::from_slice(&printed.stdout).expect("JSON");
    assert_eq!(deployed, printed);
}

/// The names of ours that stand in a query.
fn named_in(query: &str) -> BTreeSet<String> {
    query
        .split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
        .filter(|word| word.starts_with("tanda_"))
        .map(|word| {
            let histogram = ["_bucket", "_count", "_sum"];
            let base = histogram.iter().find_map(|end| word.strip_suffix(end));
            let is_histogram = base.is_some_and(|base| metrics::NAMES.contains(&base));
            base.filter(|_| is_histogram).unwrap_or(word).to_owned()
        })
        .collect()
}

/// Every query of the dashboard and of the alerts names metrics that exist, and the dashboard shows all.
#[test]
fn every_query_names_a_metric_that_exists() {
    let known: BTreeSet<String> = metrics::NAMES.iter().map(|&it| it.to_owned()).collect();
    let dashboard: Value =
        serde_json::from_str(&text("grafana/dashboards/tanda.json")).expect("JSON");
    let panels = dashboard.get("panels").and_then(Value::as_array);
    let mut shown = BTreeSet::new();
    for panel in panels.expect("panels") {
        let Some(targets) = panel.get("targets").and_then(Value::as_array) else {
            assert_eq!(panel.get("type"), Some(&"row".into()));
            continue;
        };
        for target in targets {
            let query = target.get("expr").and_then(Value::as_str).expect("a query");
            let named = named_in(query);
            assert!(!named.is_empty(), "{query}");
            shown.extend(named);
        }
    }
    assert_eq!(shown, known);
    let alerts = text("prometheus/alerts.yml");
    let queries = alerts.lines().filter(|line| !line.contains("description:"));
    let named: BTreeSet<String> = queries.flat_map(named_in).collect();
    let unknown: Vec<_> = named.difference(&known).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
}

/// The alert rules are rules, and each fires when it must and at no other time.
#[test]
fn the_alerts_fire_when_they_must() {
    for arguments in [
        &["check", "rules", "alerts.yml"][..],
        &["check", "config", "--syntax-only", "prometheus.yml"],
        &["test", "rules", "alerts_test.yml"],
    ] {
        let output = Command::new("promtool")
            .args(arguments)
            .current_dir(deployed("prometheus"))
            .output()
            .expect("promtool runs");
        let told =
            String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {told}");
    }
    let rules = text("prometheus/alerts.yml");
    let tests = text("prometheus/alerts_test.yml");
    for rule in rules
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- alert: "))
    {
        assert!(tests.contains(rule), "{rule} is tried");
    }
}

/// Bounds that contradict each other would kill a worker that drains.
#[test]
fn whoever_stops_a_worker_waits_for_longer_than_it_drains() {
    assert!(text("tanda-worker.service").contains("TimeoutStopSec=60"));
    assert!(text("compose.yaml").contains("stop_grace_period: 60s"));
    let defaults = include_str!("../../src/app/config/tanda.default.toml");
    assert!(defaults.contains("\ndrain_s = 45\n"));
}

/// The account of the worker may read jobs, write outcomes and dead letters, and hold its lock; it can
/// neither purge nor declare anything else. The README gives the same rights.
#[test]
fn s24_the_worker_s_account_has_the_rights_that_it_needs_and_no_other() {
    let accounts: Value = serde_json::from_str(&text("rabbitmq/demo-accounts.json")).expect("JSON");
    let readme = text("README.md");
    let rights_of = |user: &str| {
        let all = accounts["permissions"].as_array().expect("permissions");
        let of_user = all.iter().find(|right| right["user"] == user);
        let of_user = of_user.expect("each account has rights");
        ["configure", "write", "read"].map(|name| of_user[name].as_str().expect("a word"))
    };
    for (user, expected) in [
        (
            "worker",
            [
                r"^tanda\.lock$",
                r"^(tanda\.results|tanda\.dead|amq\.default)$",
                r"^tanda\.jobs$",
            ],
        ),
        ("producer", ["^$", r"^tanda\.jobs$", "^$"]),
        ("consumer", ["^$", "^$", r"^tanda\.results$"]),
    ] {
        assert_eq!(rights_of(&format!("demo-{user}")), expected, "{user}");
        let told = format!("set_permissions -p / {} ", user.to_uppercase());
        let told = readme.lines().find(|line| line.contains(&told));
        let quoted = expected.map(|right| format!("'{right}'")).join(" ");
        assert!(told.is_some_and(|line| line.ends_with(&quoted)), "{user}");
    }
}

/// The unit keeps the ledger to its user, the token out of core dumps, and the rest of the machine away.
#[test]
fn s25_the_unit_gives_the_worker_nothing_that_it_does_not_need() {
    let unit = text("tanda-worker.service");
    let lines: BTreeSet<&str> = unit.lines().collect();
    for wanted in [
        "User=tanda",
        "StateDirectoryMode=0700",
        "UMask=0077",
        "LimitCORE=0",
        "CapabilityBoundingSet=",
        "NoNewPrivileges=yes",
        "ProtectSystem=strict",
        "SystemCallFilter=@system-service",
        "SystemCallFilter=~@privileged @resources",
        "LoadCredential=bank_token:/etc/tanda/bank_token",
    ] {
        assert!(lines.contains(wanted), "{wanted}");
    }
    let gives_a_secret = |line: &&str| line.starts_with("Environment");
    assert_eq!(unit.lines().find(gives_a_secret), None);
}
