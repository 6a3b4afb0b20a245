//! Tests of the gate, on a paused clock.

use std::num::NonZeroU32;
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::{Instant, sleep_until, timeout};

use super::*;
use crate::domain::key::{IdempotencyKey, Namespace};
use crate::domain::listing::ListedOperation;
use crate::domain::progress::Rules;
use crate::domain::schedule::{AskTimes, BACKOFF_BASE};
use crate::domain::verdict::Deferral;
use crate::engine::ports::{Clock, ListFault};
use crate::engine::settings::{Ending, Fence};

const A_WHILE: Duration = Duration::from_secs(100);
const ACCEPTED: Verdict = Verdict::Accepted { http_status: 201 };

/// Answers every probe and is never called.
struct Reads;

#[async_trait]
impl Bank for Reads {
    async fn apply(&self, _: &CardId, _: &IdempotencyKey, _: &[u8]) -> Verdict {
        ACCEPTED
    }

    async fn list(&self, _: &CardId, _: Timestamp) -> Result<Vec<ListedOperation>, ListFault> {
        Ok(Vec::new())
    }

    async fn probe(&self, _: &CardId) -> Result<(), ListFault> {
        Ok(())
    }

    fn time(&self) -> Option<Timestamp> {
        None
    }
}

struct Still;

impl Clock for Still {
    fn wall(&self) -> Timestamp {
        Timestamp::from_millis(0)
    }
}

fn gate(rate_per_second: Option<u32>) -> Arc<Gate> {
    let settings = Settings {
        namespace: Namespace::default(),
        rules: Rules {
            resend_window: Duration::ZERO,
            max_attempts: 1,
            backoff_base: BACKOFF_BASE,
            asks: AskTimes::new(Duration::from_secs(300)),
        },
        concurrency: 4,
        in_flight: 16,
        fence: Fence::UntilSettled,
        ending: Ending::WhenDry,
        probe_every: Duration::from_secs(30),
        refusals_in_a_row: 3,
        rate_per_second: rate_per_second.and_then(NonZeroU32::new),
        min_free_bytes: 0,
        holding: None,
        drain: Duration::from_secs(45),
    };
    let clocks = Arc::new(Clocks::new(Arc::new(Still), Arc::new(Reads)));
    Arc::new(Gate::new(&settings, clocks, true))
}

fn card(number: u32) -> CardId {
    CardId::parse(&format!("car_{number:022}")).expect("a card")
}

/// Passes for the card of this number.
async fn pass(gate: &Arc<Gate>, number: u32) -> Pass {
    gate.pass(&card(number)).await
}

fn person() -> Hold {
    Hold::Person {
        by: "Ana".to_owned(),
        since: Timestamp::from_millis(0),
    }
}

fn shows(gate: &Gate) -> Option<&'static str> {
    let shown = gate.watch();
    let pause = shown.borrow();
    pause.as_ref().map(|pause| pause.cause.as_str())
}

/// Lets the gate keep its time while something else is awaited.
async fn keeping_time<T>(gate: &Gate, other: impl Future<Output = T>) -> T {
    tokio::select! {
        () = gate.keep_time(&Reads) => unreachable!("it never ends"),
        value = other => value,
    }
}

#[tokio::test(start_paused = true)]
async fn holds_of_a_person_and_of_the_disk_stand_each_by_itself() {
    let gate = gate(None);
    let disk = Hold::Disk {
        free_bytes: 1,
        least_bytes: 2,
    };
    gate.hold(disk);
    assert_eq!(shows(&gate), Some("disk_nearly_full"));
    gate.hold(person());
    assert_eq!(shows(&gate), Some("person"), "only Ana can end it");
    gate.lift(HoldKind::Disk);
    assert!(timeout(A_WHILE, pass(&gate, 1)).await.is_err());
    gate.lift(HoldKind::Disk);
    gate.lift(HoldKind::Person);
    assert_eq!(shows(&gate), None);
    assert!(timeout(A_WHILE, pass(&gate, 1)).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_hold_lies_over_the_banks_own_state_and_leaves_it_as_it_is() {
    let gate = gate(None);
    let first = pass(&gate, 1).await;
    gate.hold(person());
    let refused = Verdict::Deferred(Deferral::CredentialRefused { log_id: None });
    first.heard(&refused);
    assert_eq!(shows(&gate), Some("person"));
    gate.lift(HoldKind::Person);
    assert_eq!(shows(&gate), Some("credential_refused"));
    let trial = keeping_time(&gate, timeout(A_WHILE, pass(&gate, 1))).await;
    trial.expect("the bank answers the probe").heard(&ACCEPTED);
    assert_eq!(shows(&gate), None);
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_goes_on_at_once_when_a_hold_is_lifted() {
    let gate = gate(None);
    gate.hold(person());
    let resumes = async {
        sleep_until(Instant::now() + A_WHILE).await;
        gate.lift(HoldKind::Person);
        std::future::pending::<()>().await;
    };
    let began = Instant::now();
    tokio::select! {
        _pass = pass(&gate, 1) => {}
        () = resumes => {}
    }
    assert_eq!(began.elapsed(), A_WHILE);
}

#[tokio::test(start_paused = true)]
async fn a_pause_that_begins_while_a_job_waits_for_its_pace_holds_that_job() {
    let gate = gate(Some(1));
    pass(&gate, 1).await.heard(&ACCEPTED);
    let pauses = async {
        gate.hold(person());
        std::future::pending::<()>().await;
    };
    tokio::select! {
        passed = timeout(A_WHILE, pass(&gate, 2)) => assert!(passed.is_err(), "it passed"),
        () = pauses => {}
    }
}

#[tokio::test(start_paused = true)]
async fn turns_that_came_to_a_closed_gate_are_no_burst_when_it_opens() {
    let gate = gate(Some(5));
    pass(&gate, 0).await.heard(&ACCEPTED);
    let passed = async {
        let one = || async {
            pass(&gate, 1).await.heard(&ACCEPTED);
            Instant::now()
        };
        tokio::join!(one(), one(), one(), one())
    };
    let pauses = async {
        gate.hold(person());
        sleep_until(Instant::now() + A_WHILE).await;
        gate.lift(HoldKind::Person);
        std::future::pending::<()>().await;
    };
    let at = tokio::select! {
        at = passed => <[Instant; 4]>::from(at),
        () = pauses => unreachable!("it waits for ever"),
    };
    let first = at.iter().min().expect("four");
    let last = at.iter().max().expect("four");
    assert!(*last - *first >= Duration::from_millis(600), "{at:?}");
}

#[tokio::test(start_paused = true)]
async fn a_rest_ends_by_itself_even_where_nobody_calls() {
    let gate = gate(None);
    let retry_after = Some(Duration::from_secs(7));
    let limited = Verdict::Deferred(Deferral::RateLimited { retry_after });
    pass(&gate, 1).await.heard(&limited);
    assert_eq!(shows(&gate), Some("rate_limited"));
    let mut shown = gate.watch();
    let ends = async { shown.wait_for(Option::is_none).await.map(|_| ()) };
    let began = Instant::now();
    keeping_time(&gate, ends).await.expect("it is shown");
    assert_eq!(began.elapsed(), Duration::from_secs(7));
}

#[tokio::test(start_paused = true)]
async fn f31_while_refusals_run_the_calls_under_way_are_those_that_could_fill_the_row() {
    let gate = gate(None);
    let (first, second, third) = tokio::join!(pass(&gate, 1), pass(&gate, 2), pass(&gate, 3));
    assert!(
        timeout(A_WHILE, pass(&gate, 4)).await.is_err(),
        "three fill it"
    );
    drop(third);
    let fourth = timeout(A_WHILE, pass(&gate, 4))
        .await
        .expect("one was given up");
    first.heard(&ACCEPTED);
    let fifth = timeout(A_WHILE, pass(&gate, 5))
        .await
        .expect("the bank is the right one");
    drop((second, fourth, fifth));
}

#[tokio::test(start_paused = true)]
async fn a_person_who_resumes_ends_the_wait_of_a_mass_refusal_at_once() {
    let gate = gate(None);
    let refusal = || Verdict::Refused(crate::domain::verdict::Refusal::default());
    for n in 0..3 {
        pass(&gate, n).await.heard(&refusal());
    }
    assert_eq!(shows(&gate), Some("mass_refusal"));
    let resumes = async {
        sleep_until(Instant::now() + Duration::from_secs(4)).await;
        gate.lift(HoldKind::Person);
        std::future::pending::<()>().await;
    };
    let began = Instant::now();
    let trial = tokio::select! {
        trial = keeping_time(&gate, pass(&gate, 9)) => trial,
        () = resumes => unreachable!("it waits for ever"),
    };
    assert_eq!(began.elapsed(), Duration::from_secs(4), "not 30 s");
    trial.heard(&ACCEPTED);
    assert_eq!(shows(&gate), None);
}
