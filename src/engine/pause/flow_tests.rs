//! Tests of the pause's decisions.

use super::*;
use crate::domain::time::Timestamp;
use crate::domain::verdict::{Refusal, RefusalError, Unclarity};

fn at(seconds: u64) -> Moment {
    let zero = Timestamp::from_millis(0);
    Moment {
        mono: Duration::ZERO,
        wall: zero,
        bank: zero,
    }
    .plus(Duration::from_secs(seconds))
}

fn open() -> Flow {
    Flow::new(Duration::from_secs(30), 20, true, at(0))
}

fn card(number: u32) -> CardId {
    CardId::parse(&format!("car_{number:022}")).expect("a card")
}

impl Flow {
    /// A call for some card ended so.
    fn hears(&mut self, verdict: &Verdict, trial: bool, at: Moment) {
        self.heard(&card(0), verdict, trial, at);
    }
}

const WAIT: Entry = Entry::Wait { until: None };

fn probe_at(flow: &Flow) -> Option<Moment> {
    match flow.due() {
        Some(Due::Probe(at)) => Some(at),
        Some(Due::RestEnds(_)) | None => None,
    }
}

const GO: Entry = Entry::Go { trial: false };
const TRIAL: Entry = Entry::Go { trial: true };

fn no_connection() -> Verdict {
    Verdict::Deferred(Deferral::NoConnection)
}

fn limited(seconds: u64) -> Verdict {
    let retry_after = Some(Duration::from_secs(seconds));
    Verdict::Deferred(Deferral::RateLimited { retry_after })
}

#[test]
fn a_429_rests_everyone_as_long_as_the_bank_says_and_no_longer_than_15_minutes() {
    let mut flow = open();
    flow.hears(&limited(7), false, at(0));
    assert_eq!(flow.enter(at(6)), Entry::Wait { until: Some(at(7)) });
    flow.hears(&limited(2), false, at(1));
    assert_eq!(
        flow.enter(at(6)),
        Entry::Wait { until: Some(at(7)) },
        "the longer rest stands"
    );
    assert_eq!(flow.enter(at(7)), GO);
    flow.hears(&limited(99_999), false, at(8));
    assert_eq!(
        flow.enter(at(9)),
        Entry::Wait {
            until: Some(at(8 + 900))
        }
    );
}

#[test]
fn i9_ten_failures_in_a_row_hold_the_flow_and_an_answer_breaks_the_row() {
    let mut flow = open();
    for _ in 0..9 {
        flow.hears(&no_connection(), false, at(0));
    }
    flow.hears(&Verdict::Refused(Refusal::default()), false, at(0));
    for _ in 0..9 {
        flow.hears(&no_connection(), false, at(0));
        assert_eq!(flow.enter(at(0)), GO);
    }
    flow.hears(&no_connection(), false, at(0));
    assert_eq!(flow.enter(at(0)), WAIT);
    assert_eq!(probe_at(&flow), Some(at(30)));
}

#[test]
fn i9_an_outage_hears_one_probe_every_30_s_and_then_one_trial_call() {
    let mut flow = open();
    flow.hears(
        &Verdict::Unclear(Unclarity::new(UnclearCause::NotTheBank)),
        false,
        at(0),
    );
    let down = Err(ListFault::Unreachable("refused".to_owned()));
    for round in 1..=4 {
        assert_eq!(probe_at(&flow), Some(at(round * 30)));
        flow.probed(&down, at(round * 30));
        assert_eq!(flow.enter(at(round * 30)), WAIT);
    }
    flow.probed(&Ok(()), at(150));
    assert_eq!(flow.enter(at(150)), TRIAL);
    assert_eq!(flow.enter(at(150)), WAIT, "one at a time");
    flow.hears(&no_connection(), true, at(151));
    assert_eq!(
        probe_at(&flow),
        Some(at(181)),
        "the trial failed: probe again"
    );
    flow.probed(&Ok(()), at(181));
    assert_eq!(flow.enter(at(181)), TRIAL);
    flow.hears(&Verdict::Accepted { http_status: 201 }, true, at(182));
    assert_eq!(flow.enter(at(182)), GO);
}

#[test]
fn a_trial_that_is_given_up_passes_to_the_next_job() {
    let mut flow = open();
    flow.hears(
        &Verdict::Deferred(Deferral::CredentialRefused { log_id: None }),
        false,
        at(0),
    );
    flow.probed(&Ok(()), at(30));
    assert_eq!(flow.enter(at(30)), TRIAL);
    flow.unused(true);
    assert_eq!(flow.enter(at(30)), TRIAL);
}

#[test]
fn answers_of_calls_that_began_before_a_pause_do_not_end_it() {
    let mut flow = open();
    flow.hears(
        &Verdict::Deferred(Deferral::CredentialRefused { log_id: None }),
        false,
        at(0),
    );
    flow.hears(&Verdict::Accepted { http_status: 201 }, false, at(1));
    assert_eq!(flow.enter(at(1)), WAIT);
}

#[test]
fn a_process_reads_the_bank_once_before_its_first_call() {
    let mut flow = Flow::new(Duration::from_secs(30), 20, false, at(0));
    assert_eq!(flow.enter(at(0)), WAIT);
    assert_eq!(probe_at(&flow), Some(at(0)));
    flow.probed(&Ok(()), at(1));
    assert_eq!(flow.enter(at(1)), GO);
}

#[test]
fn a_probe_that_may_not_read_its_card_lets_a_trial_call_tell() {
    let mut flow = open();
    let not_authorized = Verdict::Deferred(Deferral::NotAuthorized { log_id: None });
    flow.hears(&not_authorized, false, at(0));
    flow.probed(&Err(ListFault::NotAuthorized), at(30));
    assert_eq!(flow.enter(at(30)), TRIAL);
    flow.hears(&not_authorized, true, at(31));
    assert_eq!(flow.enter(at(31)), WAIT);
    assert_eq!(probe_at(&flow), Some(at(61)), "still one trial in 30 s");
}

fn refused(code: &str) -> Verdict {
    let error = RefusalError {
        error_code: code.to_owned(),
        ..RefusalError::default()
    };
    Verdict::Refused(Refusal {
        http_status: 422,
        errors: vec![error],
        ..Refusal::default()
    })
}

const ACCEPTED: Verdict = Verdict::Accepted { http_status: 201 };

/// A flow that the bank refused twenty cards in a row.
fn refused_by_all() -> Flow {
    let mut flow = open();
    for n in 0..20 {
        assert_eq!(flow.enter(at(0)), GO, "{n}");
        flow.heard(&card(n), &refused("validation_error"), false, at(0));
    }
    flow
}

fn cause(flow: &Flow) -> Option<&'static str> {
    flow.pause().map(|pause| pause.cause.as_str())
}

#[test]
fn f31_twenty_refusals_in_a_row_hold_the_flow_and_name_their_code() {
    let flow = refused_by_all();
    assert_eq!(flow.look(at(0)), WAIT);
    let pause = flow.pause().expect("held");
    let code = "validation_error".to_owned();
    let refusals = 20;
    assert_eq!(pause.cause, PauseCause::MassRefusal { code, refusals });
    assert_eq!(pause.until, Some(at(30)));
}

#[test]
fn f31_a_trial_that_is_refused_doubles_the_wait_up_to_half_an_hour() {
    let mut flow = refused_by_all();
    let mut now = 30;
    for (round, wait) in [60, 120, 240, 480, 960, 1_800, 1_800]
        .into_iter()
        .enumerate()
    {
        assert_eq!(probe_at(&flow), Some(at(now)), "{round}");
        flow.probed(&Ok(()), at(now));
        assert_eq!(flow.enter(at(now)), TRIAL);
        assert_eq!(flow.enter(at(now)), WAIT, "one at a time");
        flow.heard(&card(99), &refused("validation_error"), true, at(now));
        now += wait;
    }
}

#[test]
fn a_success_or_a_refusal_for_another_reason_ends_a_mass_refusal() {
    for answer in [ACCEPTED, refused("card_frozen")] {
        let mut flow = refused_by_all();
        flow.probed(&Ok(()), at(30));
        assert_eq!(flow.enter(at(30)), TRIAL);
        flow.heard(&card(99), &answer, true, at(31));
        assert_eq!(flow.enter(at(31)), GO, "{answer:?}");
        assert_eq!(flow.pause(), None);
    }
}

#[test]
fn other_trouble_in_a_mass_refusal_does_not_open_the_flow_for_all() {
    let mut flow = refused_by_all();
    flow.probed(&Ok(()), at(30));
    assert_eq!(flow.enter(at(30)), TRIAL);
    flow.hears(&limited(5), true, at(31));
    assert_eq!(cause(&flow), Some("rate_limited"));
    assert_eq!(
        flow.enter(at(36)),
        TRIAL,
        "after the rest one is tried, not all"
    );
    flow.hears(&no_connection(), true, at(37));
    assert_eq!(cause(&flow), Some("mass_refusal"));
    flow.probed(&Err(ListFault::CredentialRefused), at(67));
    assert_eq!(cause(&flow), Some("credential_refused"));
    flow.probed(&Ok(()), at(97));
    assert_eq!(flow.enter(at(97)), TRIAL);
    flow.heard(&card(99), &refused("validation_error"), true, at(98));
    assert_eq!(cause(&flow), Some("mass_refusal"));
}

#[test]
fn a_late_success_of_a_call_from_before_ends_a_mass_refusal_but_no_other_pause() {
    let mut flow = refused_by_all();
    flow.hears(&ACCEPTED, false, at(1));
    assert_eq!(flow.enter(at(1)), GO);
    flow.hears(
        &Verdict::Deferred(Deferral::CredentialRefused { log_id: None }),
        false,
        at(2),
    );
    flow.hears(&ACCEPTED, false, at(3));
    assert_eq!(flow.enter(at(3)), WAIT);
}

#[test]
fn i9_seventy_percent_of_failures_within_a_minute_hold_the_flow() {
    let mut flow = open();
    for n in 0..20 {
        assert_eq!(flow.look(at(n)), GO, "{n}");
        let answer = if n % 4 == 0 {
            ACCEPTED
        } else {
            no_connection()
        };
        flow.hears(&answer, false, at(n));
        flow.hears(&limited(0), false, at(n));
        flow.rest_ends(at(n));
    }
    assert_eq!(
        cause(&flow),
        Some("bank_not_answering"),
        "15 of 20; a 429 counts for neither"
    );
}

#[test]
fn a_person_who_resumes_has_the_bank_looked_at_now_but_ends_no_rest() {
    let mut flow = open();
    flow.hears(&limited(100), false, at(0));
    flow.lift(HoldKind::Person, at(1));
    assert_eq!(
        flow.look(at(1)),
        Entry::Wait {
            until: Some(at(100))
        }
    );
    let mut flow = refused_by_all();
    flow.lift(HoldKind::Person, at(1));
    assert_eq!(probe_at(&flow), Some(at(1)));
}

#[test]
fn one_rest_after_another_without_an_answer_is_one_holding() {
    let mut flow = open();
    let since = |flow: &Flow| flow.pause().map(|pause| pause.since);
    for n in 0..10 {
        flow.hears(&limited(10), false, at(n * 10));
        assert_eq!(since(&flow), Some(at(0)), "{n}");
        flow.rest_ends(at(n * 10 + 10));
        assert_eq!(since(&flow), None);
    }
    flow.hears(&limited(10), false, at(200));
    assert_eq!(since(&flow), Some(at(200)), "it was open for a while");
    flow.rest_ends(at(210));
    flow.hears(&ACCEPTED, false, at(211));
    flow.hears(&limited(10), false, at(212));
    assert_eq!(since(&flow), Some(at(212)), "there was an answer");
}

#[test]
fn what_lies_under_a_hold_is_told_with_it() {
    let mut flow = open();
    assert!(flow.held_by().is_empty());
    flow.hears(&limited(10), false, at(0));
    assert_eq!(flow.held_by(), ["rate_limited"]);
    flow.rest_ends(at(10));
    for _ in 0..10 {
        flow.hears(&no_connection(), false, at(11));
    }
    let (by, since) = ("Ana".to_owned(), Timestamp::from_millis(0));
    flow.hold(Hold::Person { by, since }, at(12));
    flow.hold(Hold::Results, at(12));
    assert_eq!(cause(&flow), Some("person"), "people are told one");
    assert_eq!(
        flow.held_by(),
        ["person", "results_not_read", "bank_not_answering"]
    );
    flow.lift(HoldKind::Person, at(13));
    flow.lift(HoldKind::Results, at(13));
    assert_eq!(flow.held_by(), ["bank_not_answering"]);
}

/// Telemetry, a floor below, cannot name these; a word that it does not know would be left out.
#[test]
fn s22_the_metrics_know_every_cause_and_every_origin_by_its_word() {
    use crate::domain::money::Currencies;
    use crate::engine::ports::Origin;
    use crate::telemetry::metrics;

    let causes = [
        PauseCause::Starting,
        PauseCause::RateLimited,
        PauseCause::CredentialRefused,
        PauseCause::NotAuthorized,
        PauseCause::NotTheBank,
        PauseCause::BankNotAnswering,
        PauseCause::MassRefusal {
            code: String::new(),
            refusals: 0,
        },
        PauseCause::DiskNearlyFull {
            free_bytes: 0,
            least_bytes: 0,
        },
        PauseCause::ResultsNotRead,
        PauseCause::Person {
            by: String::new(),
            since: Timestamp::from_millis(0),
        },
    ];
    metrics::begin(&Currencies::default());
    let text = metrics::render();
    for cause in causes {
        let series = format!("tanda_paused{{cause=\"{}\"}}", cause.as_str());
        assert!(text.contains(&series), "{series}");
    }
    for origin in Origin::ALL {
        let label = format!("source=\"{}\"", origin.as_str());
        assert!(text.contains(&label), "{label}");
    }
}
