//! Tests of the pause's decisions.

use super::*;
use crate::domain::time::Timestamp;
use crate::domain::verdict::{Refusal, Unclarity};

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
    Flow::new(Duration::from_secs(30), State::Open)
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
    flow.heard(&limited(7), false, at(0));
    assert_eq!(flow.enter(at(6)), Entry::Wait { until: Some(at(7)) });
    flow.heard(&limited(2), false, at(1));
    assert_eq!(
        flow.enter(at(6)),
        Entry::Wait { until: Some(at(7)) },
        "the longer rest stands"
    );
    assert_eq!(flow.enter(at(7)), GO);
    flow.heard(&limited(99_999), false, at(8));
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
        flow.heard(&no_connection(), false, at(0));
    }
    flow.heard(&Verdict::Refused(Refusal::default()), false, at(0));
    for _ in 0..9 {
        flow.heard(&no_connection(), false, at(0));
        assert_eq!(flow.enter(at(0)), GO);
    }
    flow.heard(&no_connection(), false, at(0));
    assert_eq!(flow.enter(at(0)), Entry::Wait { until: None });
    assert_eq!(flow.probe_at(), Some(at(30)));
}

#[test]
fn i9_an_outage_hears_one_probe_every_30_s_and_then_one_trial_call() {
    let mut flow = open();
    flow.heard(
        &Verdict::Unclear(Unclarity::new(UnclearCause::NotTheBank)),
        false,
        at(0),
    );
    let down = Err(ListFault::Unreachable("refused".to_owned()));
    for round in 1..=4 {
        assert_eq!(flow.probe_at(), Some(at(round * 30)));
        flow.probed(&down, at(round * 30));
        assert_eq!(flow.enter(at(round * 30)), Entry::Wait { until: None });
    }
    flow.probed(&Ok(()), at(150));
    assert_eq!(flow.enter(at(150)), TRIAL);
    assert_eq!(
        flow.enter(at(150)),
        Entry::Wait { until: None },
        "one at a time"
    );
    flow.heard(&no_connection(), true, at(151));
    assert_eq!(
        flow.probe_at(),
        Some(at(181)),
        "the trial failed: probe again"
    );
    flow.probed(&Ok(()), at(181));
    assert_eq!(flow.enter(at(181)), TRIAL);
    flow.heard(&Verdict::Accepted { http_status: 201 }, true, at(182));
    assert_eq!(flow.enter(at(182)), GO);
}

#[test]
fn a_trial_that_is_given_up_passes_to_the_next_job() {
    let mut flow = open();
    flow.heard(
        &Verdict::Deferred(Deferral::CredentialRefused { log_id: None }),
        false,
        at(0),
    );
    flow.probed(&Ok(()), at(30));
    assert_eq!(flow.enter(at(30)), TRIAL);
    flow.trial_unused();
    assert_eq!(flow.enter(at(30)), TRIAL);
}

#[test]
fn answers_of_calls_that_began_before_a_pause_do_not_end_it() {
    let mut flow = open();
    flow.heard(
        &Verdict::Deferred(Deferral::CredentialRefused { log_id: None }),
        false,
        at(0),
    );
    flow.heard(&Verdict::Accepted { http_status: 201 }, false, at(1));
    assert_eq!(flow.enter(at(1)), Entry::Wait { until: None });
}

#[test]
fn a_process_reads_the_bank_once_before_its_first_call() {
    let pause = Pause {
        cause: PauseCause::Starting,
        until: at(0),
    };
    let mut flow = Flow::new(Duration::from_secs(30), State::Probing(pause));
    assert_eq!(flow.enter(at(0)), Entry::Wait { until: None });
    assert_eq!(flow.probe_at(), Some(at(0)));
    flow.probed(&Ok(()), at(1));
    assert_eq!(flow.enter(at(1)), GO);
}

#[test]
fn a_probe_that_may_not_read_its_card_lets_a_trial_call_tell() {
    let mut flow = open();
    let not_authorized = Verdict::Deferred(Deferral::NotAuthorized { log_id: None });
    flow.heard(&not_authorized, false, at(0));
    flow.probed(&Err(ListFault::NotAuthorized), at(30));
    assert_eq!(flow.enter(at(30)), TRIAL);
    flow.heard(&not_authorized, true, at(31));
    assert_eq!(flow.enter(at(31)), Entry::Wait { until: None });
    assert_eq!(flow.probe_at(), Some(at(61)), "still one trial in 30 s");
}
