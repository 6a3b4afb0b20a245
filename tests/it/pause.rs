//! The pause, as a bank in trouble and a person at the desk see it. First the real engine on a paused
//! clock, then the real binary against the simulated bank in a process of its own, whose books judge.
//! Tests are named after their rows in the list of faults.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use tanda::bank::{BankClient, BankSettings, BaseUrl, TokenSource};
use tanda::domain::job::Job;
use tanda::domain::key::Namespace;
use tanda::domain::outcome::Status;
use tanda::engine::ports::Ledger as _;
use tanda::engine::{Ended, Pause, PauseCause, SystemClock};
use tanda::ledger::{Binding, MemoryLedger, SqliteLedger};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use crate::support::judge::{Does, World, job, let_pass};
use crate::support::payroll::{payroll, row};
use crate::support::program::{
    Desk, MORE_THAN_ANY_DISK_MIB, SimulatorProcess, Started, said, statuses,
};
use crate::support::scripted_bank::{Act, ScriptedBank, answer, answer_with};

// ---- the engine on a paused clock -----------------------------------------------------------------

const AN_HOUR: Duration = Duration::from_secs(3_600);

fn world() -> World {
    World::new(Arc::new(MemoryLedger::new()))
}

/// So many jobs, each on a card of its own.
fn jobs(count: u32) -> Vec<Job> {
    (0..count).map(|n| job(&format!("j{n}"), n)).collect()
}

/// How the jobs stand that ended so far.
fn count(world: &World, jobs: &[Job], status: Status) -> usize {
    let ended = |job: &&Job| world.sink.statuses(job.entity_id.as_str()).last() == Some(&status);
    jobs.iter().filter(ended).count()
}

/// Runs these jobs beside something else, which is told what holds the flow. The run must end, and
/// within a day.
async fn run_beside<T>(
    world: &World,
    jobs: &[Job],
    beside: impl AsyncFnOnce(watch::Receiver<Option<Pause>>) -> T,
) -> T {
    let (_stopper, stop) = tanda::engine::stop::signal();
    let (pauses, seen) = watch::channel(None);
    let (ports, settings) = (world.ports(), world.settings.clone());
    let running = tanda::engine::run(ports, settings, world.source(jobs), stop, &pauses);
    let running = timeout(24 * AN_HOUR, running);
    let (ended, value) = tokio::join!(running, beside(seen));
    let ended = ended.expect("it ends").expect("the engine runs");
    assert_eq!(ended, Ended::Dry);
    value
}

#[tokio::test(start_paused = true)]
async fn f31_a_bank_that_refuses_all_is_called_twenty_times_however_many_calls_run_at_once() {
    for concurrency in [4, 16, 64] {
        let mut world = world();
        world.settings.concurrency = concurrency;
        world.settings.in_flight = 256;
        world.bank.otherwise(Does::Refuse);
        let jobs = jobs(300);
        run_beside(&world, &jobs, async |mut seen| {
            let held = seen.wait_for(Option::is_some).await.expect("a pause");
            let code = "insufficient_funds".to_owned();
            let cause = PauseCause::MassRefusal { code, refusals: 20 };
            assert_eq!(held.as_ref().map(|pause| &pause.cause), Some(&cause));
            drop(held);
            let_pass(Duration::from_secs(29)).await;
            assert_eq!(world.bank.calls().len(), 20, "{concurrency} at once");
            // Trials after 30, 60, 120, 240, 480 and 960 s.
            let_pass(Duration::from_secs(1_900)).await;
            assert_eq!(world.bank.calls().len(), 26, "{concurrency} at once");
            world.bank.otherwise(Does::Apply);
        })
        .await;
        assert_eq!(count(&world, &jobs, Status::Rejected), 26);
        assert_eq!(
            count(&world, &jobs, Status::Succeeded),
            274,
            "none was lost"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn f31_rows_of_one_frozen_card_hold_nobody() {
    let world = world();
    let mut jobs = jobs(5);
    for n in 0..60 {
        let refused = job(&format!("frozen{n}"), 9);
        world
            .bank
            .script(refused.entity_id.as_str(), &[Does::Refuse]);
        jobs.push(refused);
    }
    let began = Instant::now();
    world.run(&jobs).await;
    assert!(
        began.elapsed() < Duration::from_secs(5),
        "{:?}",
        began.elapsed()
    );
    assert_eq!(count(&world, &jobs, Status::Rejected), 60);
    assert_eq!(count(&world, &jobs, Status::Succeeded), 5);
}

#[tokio::test(start_paused = true)]
async fn f31_a_mass_refusal_can_be_switched_off() {
    let mut world = world();
    world.settings.refusals_in_a_row = 0;
    world.bank.otherwise(Does::Refuse);
    let jobs = jobs(100);
    let began = Instant::now();
    world.run(&jobs).await;
    assert!(
        began.elapsed() < Duration::from_secs(5),
        "{:?}",
        began.elapsed()
    );
    assert_eq!(count(&world, &jobs, Status::Rejected), 100);
}

#[tokio::test(start_paused = true)]
async fn f32_ten_minutes_of_429_cost_no_attempt_and_a_hundredth_of_the_calls() {
    for says in [Does::RateLimitForSevenSeconds, Does::RateLimit] {
        let mut world = world();
        world.settings.rules.max_attempts = 1;
        world.bank.otherwise(says);
        let jobs = jobs(100);
        run_beside(&world, &jobs, async |_| {
            let_pass(Duration::from_secs(600)).await;
            // Four at once, 20 ms each, would be 120,000 calls.
            let calls = world.bank.calls().len();
            assert!((300..3_000).contains(&calls), "{says:?}: {calls}");
            world.bank.otherwise(Does::Apply);
        })
        .await;
        assert_eq!(world.bank.applied().len(), 100);
        for job in &jobs {
            let statuses = world.sink.statuses(job.entity_id.as_str());
            assert_eq!(statuses, [Status::Succeeded], "{says:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn f13_three_hours_without_a_bank_cost_no_job() {
    let world = world();
    let jobs = jobs(200);
    world.bank.down_for(3 * AN_HOUR);
    world.run(&jobs).await;
    assert_eq!(count(&world, &jobs, Status::Succeeded), 200);
    let while_down = world.bank.heard() - 200;
    assert!(while_down <= 380, "one read in 30 s: {while_down}");
}

#[tokio::test(start_paused = true)]
async fn f20_a_disk_that_runs_full_holds_the_flow_until_there_is_room() {
    let ledger = MemoryLedger::new();
    let mut world = World::new(Arc::new(ledger.clone()));
    world.settings.min_free_bytes = 64;
    // One call a second, so that there is a middle.
    world.settings.rate_per_second = NonZeroU32::new(1);
    ledger.set_free_bytes(Some(63));
    let jobs = jobs(40);
    run_beside(&world, &jobs, async |mut seen| {
        let_pass(Duration::from_secs(60)).await;
        let cause = seen.borrow().as_ref().map(|pause| pause.cause.as_str());
        assert_eq!(cause, Some("disk_nearly_full"));
        assert_eq!(world.bank.calls().len(), 0, "it was full at the start");
        ledger.set_free_bytes(Some(64));
        seen.wait_for(Option::is_none)
            .await
            .expect("it lifts by itself");
        let_pass(Duration::from_secs(10)).await;
        ledger.set_free_bytes(Some(0));
        seen.wait_for(Option::is_some)
            .await
            .expect("it is held again");
        let_pass(Duration::from_secs(1)).await;
        let calls = world.bank.calls().len();
        let_pass(Duration::from_secs(600)).await;
        assert_eq!(world.bank.calls().len(), calls);
        assert!((10..=20).contains(&calls), "{calls}");
        ledger.set_free_bytes(None);
    })
    .await;
    assert_eq!(count(&world, &jobs, Status::Succeeded), 40);
}

#[tokio::test]
async fn f20_a_ledger_on_a_disk_says_how_much_it_may_still_write() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("ledger.db");
    SqliteLedger::create(&path).expect("a ledger");
    let binding = Binding {
        namespace: Namespace::default(),
        bank_origin: "https://bank.example:443".to_owned(),
    };
    let ledger = SqliteLedger::open(&path, &binding).expect("a ledger");
    let free = ledger.free_bytes().await.expect("it can be read");
    assert!(free.is_some_and(|bytes| bytes > 0), "{free:?}");
    ledger.close().await.expect("it closes");
    let unbounded = MemoryLedger::new().free_bytes().await.expect("memory");
    assert_eq!(unbounded, None);
}

#[tokio::test(start_paused = true)]
async fn i9_no_pause_spends_an_attempt() {
    for trouble in [
        Does::RefuseCredential,
        Does::RateLimit,
        Does::NoConnection,
        Does::ShowPage,
        Does::LoseRequest,
    ] {
        let mut world = world();
        world.settings.rules.max_attempts = 1;
        world.bank.otherwise(trouble);
        let jobs = jobs(30);
        run_beside(&world, &jobs, async |_| {
            // Within the resend window: what may have arrived may still be sent again.
            let_pass(Duration::from_secs(300)).await;
            assert!(world.bank.calls().len() > 10, "{trouble:?}");
            world.bank.otherwise(Does::Apply);
        })
        .await;
        for job in &jobs {
            let statuses = world.sink.statuses(job.entity_id.as_str());
            assert_eq!(statuses, [Status::Succeeded], "{trouble:?}");
        }
        assert_eq!(world.bank.applied().len(), 30, "{trouble:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn i8_a_pause_does_not_stop_the_resend_window() {
    let world = world();
    world.bank.script("a", &[Does::LoseRequest]);
    let mut jobs = vec![job("a", 1)];
    for n in 0..4 {
        let refused = job(&format!("b{n}"), 10 + n);
        world
            .bank
            .script(refused.entity_id.as_str(), &[Does::RefuseCredential; 99]);
        jobs.push(refused);
    }
    run_beside(&world, &jobs, async |mut seen| {
        seen.wait_for(Option::is_some).await.expect("held");
        world.bank.script("a", &[Does::RefuseCredential; 99]);
        let_pass(Duration::from_secs(700)).await;
        let during = world.bank.calls_for("a");
        let first = during.first().expect("a call").at;
        for job in &jobs {
            world.bank.script(job.entity_id.as_str(), &[]);
        }
        seen.wait_for(Option::is_none).await.expect("it opens");
        let_pass(AN_HOUR).await;
        let later = world
            .bank
            .calls_for("a")
            .into_iter()
            .map(|call| call.at - first);
        let after: Vec<_> = later.filter(|at| *at >= Duration::from_secs(600)).collect();
        assert!(
            after.iter().all(|at| *at > Duration::from_secs(700)) && after.len() == 1,
            "it was asked about before it was sent again: {after:?}"
        );
    })
    .await;
    assert_eq!(
        world.sink.statuses("a"),
        [Status::InDoubt, Status::Succeeded]
    );
    assert_eq!(world.bank.applied().len(), 5);
}

#[tokio::test(start_paused = true)]
async fn i13_asks_go_on_while_the_flow_is_held() {
    let mut world = world();
    world.settings.rules.resend_window = Duration::ZERO;
    world.bank.script("a", &[Does::ApplyAndLoseReply]);
    world.bank.script("b", &[Does::RefuseCredential; 20]);
    world.run(&[job("a", 1), job("b", 2)]).await;
    assert_eq!(
        world.sink.statuses("a"),
        [Status::InDoubt, Status::Succeeded]
    );
    let order: Vec<_> = world
        .sink
        .all()
        .iter()
        .filter(|outcome| outcome.status == Status::Succeeded)
        .filter_map(|outcome| Some(outcome.entity_id.as_ref()?.as_str().to_owned()))
        .collect();
    assert_eq!(order.first().map(String::as_str), Some("a"), "{order:?}");
}

#[tokio::test(start_paused = true)]
async fn a_rate_bounds_the_calls_of_every_second_but_not_the_asks() {
    let mut world = world();
    world.settings.rate_per_second = NonZeroU32::new(20);
    world.settings.rules.resend_window = Duration::ZERO;
    let jobs = jobs(100);
    for job in jobs.iter().step_by(4) {
        world
            .bank
            .script(job.entity_id.as_str(), &[Does::ApplyAndLoseReply]);
    }
    let began = Instant::now();
    world.run(&jobs).await;
    let took = began.elapsed();
    assert!(
        (4..8).contains(&took.as_secs()),
        "100 calls at 20 a second: {took:?}"
    );
    let at: Vec<_> = world.bank.calls().iter().map(|call| call.at).collect();
    for (first, after_23) in at.iter().zip(at.iter().skip(23)) {
        assert!(*after_23 - *first >= Duration::from_secs(1), "a burst");
    }
    assert_eq!(world.bank.applied().len(), 100);
}

/// The real client and the real engine, against a socket: what it reads of both forms of the header.
#[tokio::test]
async fn f32_a_429_rests_everyone_by_seconds_and_by_date() {
    let limited = |retry_after: &str| {
        let body = r#"{"code":"429","errors":[],"id":"log_1","message":"slow down"}"#;
        let date = "date: Sun, 06 Nov 1994 08:49:37 GMT\r\n";
        let head = format!("{date}retry-after: {retry_after}\r\n");
        Act::Send(answer_with("429 Too Many Requests", &head, body))
    };
    let mut script = vec![Act::Send(answer("404 Not Found", NOT_FOUND))];
    script.push(limited("1"));
    script.push(limited("Sun, 06 Nov 1994 08:49:38 GMT"));
    script.push(limited("Sunday, 06-Nov-94 08:49:38 GMT"));
    script.extend((0..20).map(|_| Act::Send(answer("201 Created", ""))));
    let bank = ScriptedBank::start(script).await;
    let settings = BankSettings {
        base_url: BaseUrl::parse(&bank.base_url()).expect("loopback"),
        token: TokenSource::Fixed("token".to_owned().into()),
        connect_timeout: Duration::from_secs(1),
        request_timeout: Duration::from_secs(5),
    };
    let mut world = world();
    world.settings.concurrency = 1;
    world.settings.in_flight = 4;
    let mut ports = world.ports();
    let client = BankClient::new(settings, Arc::new(SystemClock)).expect("a client");
    ports.bank = Arc::new(client);
    let (_stopper, stop) = tanda::engine::stop::signal();
    let (pauses, _) = watch::channel(None);
    let jobs = jobs(3);
    let began = Instant::now();
    let source = world.source(&jobs);
    let ended = tanda::engine::run(ports, world.settings.clone(), source, stop, &pauses).await;
    assert_eq!(ended.expect("the engine runs"), Ended::Dry);
    let took = began.elapsed();
    let rests = Duration::from_secs(3);
    assert!(took >= rests, "three rests of a second each: {took:?}");
    assert_eq!(count(&world, &jobs, Status::Succeeded), 3);
    assert_eq!(
        bank.requests()
            .iter()
            .filter(|request| request.line().starts_with("POST"))
            .count(),
        6
    );
}

const NOT_FOUND: &str =
    r#"{"code":"404","errors":[{"error_code":"item_not_found"}],"id":"log_1","message":"no"}"#;

// ---- the binary against the simulated bank --------------------------------------------------------

/// The command that runs so many rows. No test waits longer than two minutes for a pause to end.
fn run(desk: &Desk, count: u32, more: &[&str]) -> Started {
    run_file(
        desk,
        &payroll(count, "1.00"),
        &format!("topup:COP:{count}.00"),
        more,
    )
}

fn run_file(desk: &Desk, text: &str, totals: &str, more: &[&str]) -> Started {
    let file = desk.write("pay.csv", text);
    let patience = ["--give-up-after", "2m"];
    let patience = if more.contains(&"--give-up-after") {
        &[][..]
    } else {
        &patience
    };
    let command = ["run", &file, "--yes", "--expect-total", totals];
    Started::new(desk.command(&[&command, patience, more].concat()))
}

fn outcomes(desk: &Desk) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for status in statuses(&desk.path("pay.results.csv")) {
        *counts.entry(status).or_default() += 1;
    }
    counts
}

fn all_succeeded(count: usize) -> BTreeMap<String, usize> {
    [("succeeded".to_owned(), count)].into()
}

/// A desk of a bank whose answers take so long that a run has a middle.
fn slow_bank() -> (SimulatorProcess, Desk) {
    let bank = SimulatorProcess::start(LATENCY);
    let mut desk = Desk::at(&bank.url);
    desk.set("TANDA_ENGINE__CONCURRENCY", "4");
    (bank, desk)
}

/// So that a run of a thousand rows lasts for seconds, of which a test needs a moment.
const LATENCY: &str = "latency_ms=10";

fn token_file(desk: &mut Desk, token: &str) -> String {
    let path = desk.write_secret("token", token);
    desk.unset("TANDA_BANK__TOKEN");
    desk.set("TANDA_BANK__TOKEN_FILE", &path);
    path
}

#[test]
fn f29_a_token_that_expires_in_mid_run_and_comes_back_hurts_no_job() {
    let (bank, mut desk) = slow_bank();
    let path = token_file(&mut desk, "simulated\n");
    let mut run = run(&desk, 1_000, &[]);
    run.until_paid(&bank, 200);
    bank.order("token", r#"{"token":"renewed"}"#);
    run.until_it_says("paused: the bank refuses the token (401)");
    run.until_it_says("To do: put a good token into");
    std::fs::write(&path, "renewed").expect("written");
    run.until_it_says("the pause is over");
    let (code, said) = run.ends();
    assert_eq!(code, Some(0), "{said}");
    assert!(
        said.contains("nothing is lost, nothing was sent twice"),
        "{said}"
    );
    assert_eq!(outcomes(&desk), all_succeeded(1_000));
    assert_eq!(bank.paid_once(), 1_000);
    let refused = bank.operations_heard() - 1_000;
    assert!(
        refused <= 20,
        "{refused} calls with a token that was refused"
    );
}

#[test]
fn f29_a_token_of_the_environment_that_expires_says_to_stop_and_to_run_again() {
    let (bank, mut desk) = slow_bank();
    let mut first = run(&desk, 400, &["--give-up-after", "2s"]);
    first.until_paid(&bank, 50);
    bank.order("token", r#"{"token":"renewed"}"#);
    first.until_it_says("stop with ctrl-c, set TANDA_BANK__TOKEN to a good token");
    let (code, said) = first.ends();
    assert_eq!(code, Some(7), "{said}");
    let gave_up = "stopped, because it had been paused for as long as --give-up-after says: \
                   the bank refuses the token (401)";
    assert!(said.contains(gave_up), "{said}");
    let counts = outcomes(&desk);
    assert_eq!(counts["succeeded"], bank.paid_once());
    // What was under way has an intent on record: it is asked about before it is sent again.
    let in_doubt = counts.get("in_doubt").copied().unwrap_or_default();
    assert!(in_doubt <= 4, "{counts:?}");
    assert_eq!(
        counts["succeeded"] + counts["waiting"] + in_doubt,
        400,
        "{counts:?}"
    );
    desk.set("TANDA_BANK__TOKEN", "renewed");
    let (code, said) = run(&desk, 400, &[]).ends();
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(outcomes(&desk), all_succeeded(400));
    assert_eq!(bank.paid_once(), 400);
}

#[test]
fn f30_a_403_on_one_card_rejects_that_row_and_holds_nobody() {
    let (bank, desk) = slow_bank();
    let text = payroll(100, "1.00") + &row("E-403", "Forbidden", "1.00");
    let (code, said) = run_file(&desk, &text, "topup:COP:101.00", &[]).ends();
    assert_eq!(code, Some(6), "{said}");
    assert!(!said.contains("paused"), "{said}");
    let counts = [("rejected".to_owned(), 1), ("succeeded".to_owned(), 100)];
    assert_eq!(outcomes(&desk), counts.into());
    assert_eq!(bank.paid_once(), 100);
}

#[test]
fn f30_a_403_on_every_card_holds_the_flow_and_rejects_nobody() {
    let (bank, desk) = slow_bank();
    bank.set_faults(&format!("{LATENCY},forbid=100%"));
    let mut run = run(&desk, 100, &[]);
    run.until_it_says("paused: the bank says that this token may not do this (403)");
    assert_eq!(bank.paid_once(), 0);
    bank.set_faults(LATENCY);
    let (code, said) = run.ends();
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(outcomes(&desk), all_succeeded(100));
    assert_eq!(bank.paid_once(), 100);
}

/// The token was good for many cards before: what a 403 says of one card is believed, so the row of
/// refusals is what holds the flow.
#[test]
fn f30_f31_a_403_on_every_card_in_mid_run_costs_about_twenty_rows() {
    let (bank, mut desk) = slow_bank();
    desk.set("TANDA_ENGINE__PROBE_EVERY_S", "3600");
    let mut run = run(&desk, 1_000, &[]);
    run.until_paid(&bank, 200);
    bank.set_faults(&format!("{LATENCY},forbid=100%"));
    run.until_it_says("for the same reason, not_authorized");
    bank.set_faults(LATENCY);
    desk.tanda(&["resume", "--by", "Ana"]);
    let (code, said) = run.ends();
    assert_eq!(code, Some(6), "{said}");
    let counts = outcomes(&desk);
    // Beside the row of twenty, three calls may be refused before the last success is counted.
    assert!((20..=23).contains(&counts["rejected"]), "{counts:?}");
    assert_eq!(counts["rejected"] + counts["succeeded"], 1_000);
    assert_eq!(bank.paid_once(), counts["succeeded"]);
}

#[test]
fn f31_a_wrong_currency_costs_at_most_twenty_calls() {
    let (bank, mut desk) = slow_bank();
    let path = desk.path("tanda.toml");
    let settings = std::fs::read_to_string(&path).expect("init wrote it");
    std::fs::write(&path, settings + "\n[currency.USD]\nminor_digits = 2\n").expect("written");
    desk.set("TANDA_ENGINE__CONCURRENCY", "64");
    desk.set("TANDA_ENGINE__PROBE_EVERY_S", "30");
    let dollars = payroll(300, "1.00").replace("COP", "USD");
    let patience = ["--give-up-after", "2s"];
    let (code, said) = run_file(&desk, &dollars, "topup:USD:300.00", &patience).ends();
    assert_eq!(code, Some(7), "{said}");
    let why = "the bank refused 20 payments in a row for the same reason, validation_error";
    assert!(said.contains(why), "{said}");
    assert!(
        said.contains("look whether currency, amounts and bank"),
        "{said}"
    );
    assert_eq!(bank.operations_heard(), 20);
    let counts = [("rejected".to_owned(), 20), ("waiting".to_owned(), 280)];
    assert_eq!(outcomes(&desk), counts.into());
    assert_eq!(bank.paid_once(), 0);
}

#[test]
fn f31_a_path_that_the_bank_does_not_have_costs_at_most_twenty_calls() {
    let (bank, mut desk) = slow_bank();
    desk.set("TANDA_BANK__BASE_URL", &format!("{}/wrong", bank.url));
    desk.set("TANDA_ENGINE__PROBE_EVERY_S", "30");
    let (code, said) = run(&desk, 100, &["--give-up-after", "2s"]).ends();
    assert_eq!(code, Some(7), "{said}");
    assert!(
        said.contains("for the same reason, item_not_found"),
        "{said}"
    );
    assert_eq!(bank.operations_heard(), 20);
}

#[test]
fn f28_a_captive_portal_in_mid_run_holds_the_flow_and_hurts_no_job() {
    let (bank, desk) = slow_bank();
    let mut run = run(&desk, 1_000, &[]);
    run.until_paid(&bank, 200);
    bank.set_faults(&format!("{LATENCY},portal=100%"));
    run.until_it_says("paused: what answers is not the bank");
    run.until_it_says("check the network of this machine (a login page, a proxy)");
    bank.set_faults(LATENCY);
    let (code, said) = run.ends();
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(outcomes(&desk), all_succeeded(1_000));
    assert_eq!(bank.paid_once(), 1_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn f30_an_address_that_is_not_the_banks_starts_nothing() {
    let page = "<!DOCTYPE html><title>Welcome</title>";
    let length = page.len();
    for status in ["200 OK", "404 Not Found", "403 Forbidden"] {
        let bytes = format!(
            "HTTP/1.1 {status}\r\ncontent-type: text/html\r\ncontent-length: {length}\r\n\r\n{page}"
        );
        let stranger = ScriptedBank::start([Act::Send(bytes.into_bytes())]).await;
        let desk = Desk::at(&stranger.base_url());
        let (code, said) = tokio::task::spawn_blocking(move || run(&desk, 10, &[]).ends())
            .await
            .expect("it ends");
        assert_eq!(code, Some(8), "{status}: {said}");
        assert!(
            said.contains("what answers is not the bank"),
            "{status}: {said}"
        );
        assert!(said.contains("Nothing was sent"), "{status}: {said}");
        assert!(said.contains("check bank.base_url"), "{status}: {said}");
        let heard = stranger.requests();
        assert!(
            heard
                .iter()
                .all(|request| request.line().starts_with("GET")),
            "{status}"
        );
    }
}

#[test]
fn f32_a_bank_that_limits_is_paced_and_the_log_stays_quiet() {
    let bank = SimulatorProcess::start("latency_ms=5,limit=10%,retry_after_s=1");
    let desk = Desk::at(&bank.url);
    let (code, said) = run(&desk, 60, &[]).ends();
    assert_eq!(code, Some(0), "{said}");
    assert!(!said.contains("rate_limited"), "{said}");
    assert_eq!(outcomes(&desk), all_succeeded(60));
    assert_eq!(bank.paid_once(), 60);
    assert!(bank.report()["faults"]["limit"].as_u64() > Some(0));
}

#[test]
fn f20_a_run_on_a_nearly_full_disk_starts_held_and_says_so() {
    let (bank, mut desk) = slow_bank();
    desk.set("TANDA_LEDGER__MIN_FREE_MIB", MORE_THAN_ANY_DISK_MIB);
    let (code, said) = run(&desk, 10, &["--give-up-after", "1s"]).ends();
    assert_eq!(code, Some(7), "{said}");
    assert!(
        said.contains("paused: the disk of the ledger is nearly full"),
        "{said}"
    );
    assert!(said.contains("make room on the disk of"), "{said}");
    assert_eq!(bank.operations_heard(), 0);
    assert_eq!(outcomes(&desk), [("waiting".to_owned(), 10)].into());
    desk.set("TANDA_LEDGER__MIN_FREE_MIB", "0");
    let (code, said) = run(&desk, 10, &[]).ends();
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(bank.paid_once(), 10);
}

#[test]
fn a_person_pauses_a_run_and_resumes_it_and_a_new_run_starts_held() {
    let (bank, desk) = slow_bank();
    let mut first = run(&desk, 1_000, &[]);
    first.until_paid(&bank, 200);
    let paused = desk.tanda(&["pause", "--by", "Ana"]);
    assert_eq!(paused.status.code(), Some(0), "{}", said(&paused));
    first.until_it_says("paused: Ana paused it at ");
    first.until_it_says("tanda resume");
    let resumed = desk.tanda(&["resume", "--by", "Bob"]);
    assert_eq!(resumed.status.code(), Some(0), "{}", said(&resumed));
    first.until_it_says("the pause is over");
    let (code, errors) = first.ends();
    assert_eq!(code, Some(0), "{errors}");
    assert_eq!(bank.paid_once(), 1_000);
    desk.tanda(&["pause", "--by", "Ana"]);
    let mut second = run(&desk, 1_100, &[]);
    second.until_it_says("paused: Ana paused it at ");
    assert_eq!(bank.paid_once(), 1_000);
    desk.tanda(&["resume", "--by", "Ana"]);
    let (code, errors) = second.ends();
    assert_eq!(code, Some(0), "{errors}");
    assert_eq!(bank.paid_once(), 1_100);
}

#[test]
fn a_person_who_resumes_has_a_mass_refusal_tried_again_at_once() {
    let (bank, mut desk) = slow_bank();
    desk.set("TANDA_ENGINE__PROBE_EVERY_S", "3600");
    bank.set_faults(&format!("{LATENCY},refuse=100%"));
    let mut run = run(&desk, 100, &[]);
    run.until_it_says("paused: the bank refused 20 payments in a row");
    bank.set_faults(LATENCY);
    desk.tanda(&["resume", "--by", "Ana"]);
    let (code, errors) = run.ends();
    assert_eq!(code, Some(6), "{errors}");
    let counts = [("rejected".to_owned(), 20), ("succeeded".to_owned(), 80)];
    assert_eq!(outcomes(&desk), counts.into());
}

#[test]
fn s19_a_token_file_that_others_may_read_is_refused_and_nothing_is_sent() {
    use std::os::unix::fs::PermissionsExt as _;
    let (bank, mut desk) = slow_bank();
    let path = token_file(&mut desk, "simulated");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).expect("ours");
    let file = desk.write("pay.csv", &payroll(1, "1.00"));
    let run = desk.tanda(&["run", &file, "--yes", "--expect-total", "topup:COP:1.00"]);
    assert_eq!(run.status.code(), Some(4), "{}", said(&run));
    let errors = String::from_utf8_lossy(&run.stderr);
    assert!(errors.contains(&format!("chmod 600 {path}")), "{errors}");
    assert!(errors.contains("nothing was sent"), "{errors}");
    assert_eq!(bank.operations_heard(), 0);
}

#[test]
fn a_wait_that_cannot_be_read_starts_nothing() {
    let desk = Desk::new();
    let run = desk.tanda(&["run", "pay.csv", "--give-up-after", "soon"]);
    assert_eq!(run.status.code(), Some(2), "{}", said(&run));
    assert!(
        said(&run).contains("such as 90s, 30m or 2h"),
        "{}",
        said(&run)
    );
}
