//! Tests of the rules, step by step and by property. The seeded worlds are in `tests/sim`.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::domain::job::EntityId;
use crate::domain::key::{Generation, Namespace};

const RULES: Rules = Rules {
    resend_window: Duration::from_secs(600),
    max_attempts: 10,
    backoff_base: schedule::BACKOFF_BASE,
    asks: AskTimes::new(Duration::from_secs(300)),
};

fn at(seconds: u64) -> Moment {
    let zero = Timestamp::from_millis(1_800_000_000_000);
    Moment {
        mono: Duration::ZERO,
        wall: zero,
        bank: zero,
    }
    .plus(Duration::from_secs(seconds))
}

fn job() -> Progress {
    let entity_id = EntityId::parse("EMP-1").expect("an entity_id");
    let key = IdempotencyKey::derive(&Namespace::default(), &entity_id, Generation::FIRST);
    Progress::new(key, None)
}

fn step(progress: Progress, event: Event) -> (Progress, Action) {
    advance(&RULES, progress, event).expect("a legal step")
}

fn calling(seconds: u64) -> Progress {
    let (progress, action) = step(job(), Event::Turn(at(seconds)));
    assert_eq!(action, Action::RecordIntent);
    let (progress, action) = step(progress, Event::IntentDurable(at(seconds)));
    assert_eq!(action, Action::Call);
    progress
}

fn told(verdict: Verdict, seconds: u64) -> Event {
    Event::Told {
        verdict,
        at: at(seconds),
        bank_answers: true,
    }
}

fn timeout() -> Verdict {
    Verdict::Unclear(Unclarity::new(UnclearCause::Timeout))
}

fn conflict() -> Verdict {
    Verdict::Unclear(Unclarity::new(UnclearCause::Conflict))
}

fn refused() -> Verdict {
    Verdict::Refused(Refusal {
        http_status: 422,
        ..Refusal::default()
    })
}

fn absent(seconds: u64) -> Event {
    asked(Finding::Absent, true, seconds)
}

fn asked(finding: Finding, control: bool, seconds: u64) -> Event {
    Event::Asked {
        finding,
        control,
        unscheduled: false,
        began: at(seconds),
        ended: at(seconds),
    }
}

#[test]
fn i2_a_call_comes_only_after_the_durable_intent() {
    let (progress, action) = step(job(), Event::Turn(at(0)));
    assert_eq!(action, Action::RecordIntent);
    let early = told(Verdict::Accepted { http_status: 200 }, 1);
    assert!(advance(&RULES, progress, early).is_err());
}

#[test]
fn accepted_is_succeeded_and_a_first_refusal_is_rejected() {
    let (_, action) = step(calling(0), told(Verdict::Accepted { http_status: 204 }, 1));
    let evidence = Evidence::Answered { http_status: 204 };
    assert_eq!(action, Action::Settle(Outcome::Succeeded(evidence)));
    let (_, action) = step(calling(0), told(refused(), 1));
    assert!(matches!(action, Action::Settle(Outcome::Rejected(_))));
}

#[test]
fn i5_a_refusal_after_an_unclear_attempt_is_asked_about_first() {
    let (progress, _) = step(calling(0), told(timeout(), 1));
    let (progress, action) = step(progress, Event::Turn(at(2)));
    assert_eq!(action, Action::Call);
    let (progress, action) = step(progress, told(refused(), 3));
    let reason = DoubtReason::RefusedAfterUnclear;
    assert_eq!(
        action,
        Action::EnterDoubt {
            reason,
            ask_at: at(3)
        }
    );
    let (progress, _) = step(progress, absent(310));
    let (_, action) = step(progress, absent(380));
    assert!(matches!(action, Action::Settle(Outcome::Rejected(_))));
}

#[test]
fn a_conflict_is_asked_about_before_anything_else() {
    let conflict = Verdict::Unclear(Unclarity::new(UnclearCause::Conflict));
    let (_, action) = step(calling(0), told(conflict, 1));
    assert_eq!(
        action,
        Action::EnterDoubt {
            reason: DoubtReason::Conflict,
            ask_at: at(1)
        }
    );
}

#[test]
fn i9_a_deferral_spends_nothing_however_often_it_comes() {
    let mut progress = calling(0);
    for round in 0..100 {
        let (next, action) = step(
            progress,
            told(Verdict::Deferred(Deferral::NoConnection), round),
        );
        assert!(matches!(action, Action::AwaitTurn { .. }));
        let (next, action) = step(next, Event::Turn(at(round * 1_000)));
        assert_eq!(action, Action::Call);
        progress = next;
    }
    assert_eq!(progress.spent(), 0);
    let (_, action) = step(progress, told(refused(), 999_999));
    assert!(
        matches!(action, Action::Settle(Outcome::Rejected(_))),
        "nothing unclear came before"
    );
}

#[test]
fn i8_nothing_unclear_is_resent_after_the_window() {
    let (progress, action) = step(calling(0), told(timeout(), 1));
    let Action::AwaitTurn {
        deadline: Some(deadline),
        ..
    } = action
    else {
        panic!("expected a wait with a deadline, got {action:?}");
    };
    assert_eq!(deadline, at(600));
    let (_, action) = step(progress.clone(), Event::Turn(at(600)));
    assert_eq!(
        action,
        Action::EnterDoubt {
            reason: DoubtReason::WindowClosed,
            ask_at: at(600)
        }
    );
    let (_, action) = step(progress, Event::Overdue(at(600)));
    assert!(
        matches!(action, Action::EnterDoubt { .. }),
        "a pause does not stop the window"
    );
}

#[test]
fn a_window_of_zero_always_asks_first() {
    let rules = Rules {
        resend_window: Duration::ZERO,
        ..RULES
    };
    let (_, action) = advance(&rules, calling(0), told(timeout(), 0)).expect("a legal step");
    assert_eq!(
        action,
        Action::EnterDoubt {
            reason: DoubtReason::WindowClosed,
            ask_at: at(0)
        }
    );
}

#[test]
fn an_outage_spends_no_attempts_but_answers_to_others_do() {
    let silent = Event::Told {
        verdict: timeout(),
        at: at(1),
        bank_answers: false,
    };
    let (progress, _) = step(calling(0), silent);
    assert_eq!(progress.spent(), 0);
    let (progress, _) = step(calling(0), told(timeout(), 1));
    assert_eq!(progress.spent(), 1);
}

#[test]
fn attempts_spent_are_not_sent_only_after_proof() {
    let mut progress = calling(0);
    let rules = Rules {
        max_attempts: 3,
        ..RULES
    };
    for attempt in 1..3 {
        progress = advance(&rules, progress, told(timeout(), attempt))
            .expect("legal")
            .0;
        progress = advance(&rules, progress, Event::Turn(at(attempt)))
            .expect("legal")
            .0;
    }
    let (progress, action) = advance(&rules, progress, told(timeout(), 9)).expect("legal");
    assert_eq!(
        action,
        Action::EnterDoubt {
            reason: DoubtReason::AttemptsSpent,
            ask_at: at(9)
        }
    );
    let (progress, _) = advance(&rules, progress, absent(400)).expect("legal");
    let (_, action) = advance(&rules, progress, absent(470)).expect("legal");
    assert_eq!(
        action,
        Action::Settle(Outcome::NotSent(NotSentReason::AttemptsSpent))
    );
}

#[test]
fn absence_needs_two_late_reads_apart_and_the_control() {
    let doubtful = || {
        let record = Record {
            attempts: 1,
            spent: 0,
            refusal: None,
            person_needed: false,
            same_bytes: true,
            closing: None,
            reason: DoubtReason::Interrupted,
        };
        step(job(), Event::Recovered { record, at: at(0) }).0
    };
    let read = |events: Vec<Event>| {
        events
            .into_iter()
            .fold((doubtful(), Action::Keep), |(progress, _), event| {
                step(progress, event)
            })
    };
    let starts_again = |events| matches!(read(events).1, Action::AwaitTurn { .. });
    assert!(starts_again(vec![absent(300), absent(360)]));
    assert!(
        !starts_again(vec![absent(299), absent(359)]),
        "the first read was too early"
    );
    assert!(
        !starts_again(vec![absent(300), absent(359)]),
        "the reads were too close"
    );
    let no_control = |seconds| asked(Finding::Absent, false, seconds);
    assert!(
        !starts_again(vec![no_control(300), no_control(380)]),
        "no positive control"
    );
    let twin = |seconds| asked(Finding::Ambiguous, true, seconds);
    assert!(
        !starts_again(vec![twin(300), twin(380)]),
        "a row without entity_id could be ours"
    );
    let barred = |seconds| asked(Finding::Barred, true, seconds);
    assert!(
        !starts_again(vec![barred(300), barred(380)]),
        "the bank let us read nothing"
    );
    let failed = |seconds| asked(Finding::Unreadable, true, seconds);
    assert!(
        !starts_again(vec![failed(300), failed(380)]),
        "nothing was read"
    );
    assert!(starts_again(vec![absent(300), failed(370), absent(440)]));
}

#[test]
fn i1_a_wall_clock_that_jumps_forward_makes_no_absence_late() {
    let jumped = |seconds| Moment {
        wall: at(seconds).wall.plus(Duration::from_secs(86_400)),
        ..at(seconds)
    };
    let absent_after_the_jump = |seconds| Event::Asked {
        finding: Finding::Absent,
        control: true,
        unscheduled: false,
        began: jumped(seconds),
        ended: jumped(seconds),
    };
    let doubtful = || {
        let (progress, _) = step(calling(0), told(timeout(), 1));
        let mut closing = at(2);
        closing.wall = jumped(2).wall;
        step(progress, Event::Overdue(closing)).0
    };
    assert!(matches!(doubtful().stage(), Stage::InDoubt(_)));
    let (progress, _) = step(doubtful(), absent_after_the_jump(3));
    let (_, action) = step(progress, absent_after_the_jump(80));
    assert!(
        matches!(action, Action::Ask { .. }),
        "80 s after the send, by the clock that cannot jump, a late request may still come: {action:?}"
    );
    let (progress, _) = step(doubtful(), absent(301));
    let (_, action) = step(progress, absent_after_the_jump(302));
    assert!(
        matches!(action, Action::Ask { .. }),
        "two reads one second apart are one read: {action:?}"
    );
}

#[test]
fn i14_a_find_is_a_success_even_after_a_person_was_called() {
    let (progress, _) = step(calling(0), told(timeout(), 1));
    let (mut progress, _) = step(progress, Event::Overdue(at(600)));
    let mut called = false;
    for ask in 1..9 {
        let (next, action) = step(progress, asked(Finding::Absent, false, ask * 100_000));
        called |= matches!(action, Action::CallPerson { .. });
        progress = next;
    }
    assert!(called, "after the last ask of the table a person is needed");
    let (progress, action) = step(progress, absent(10_000_000));
    assert!(
        matches!(action, Action::Ask { .. }),
        "nothing is sent by itself any more"
    );
    let (progress, action) = step(progress, absent(20_000_000));
    assert!(
        matches!(action, Action::Ask { .. }),
        "nor after two absences: {action:?}"
    );
    let found = Finding::Found {
        operation_id: Some("cbo_1".to_owned()),
    };
    let (_, action) = step(progress, asked(found, true, 30_000_000));
    assert!(matches!(action, Action::Settle(Outcome::Succeeded(_))));
}

/// The second reading after a first absence is none of the table's: where it tells nothing, the next of the
/// table is still to come, and no person is called before that.
#[test]
fn i13_an_absence_that_is_not_confirmed_brings_the_end_of_the_table_no_nearer() {
    let (progress, _) = step(calling(0), told(conflict(), 0));
    let barred = |seconds| asked(Finding::Barred, true, seconds);
    let table = [0, 60, 310, 380, 1_800, 7_200];
    let progress = table.into_iter().fold(progress, |progress, seconds| {
        step(progress, barred(seconds)).0
    });
    let (progress, action) = step(progress, absent(21_600));
    assert_eq!(action, Action::Ask { at: at(21_670) });
    let (progress, action) = step(progress, barred(21_670));
    assert_eq!(action, Action::Ask { at: at(86_400) });
    let (_, action) = step(progress, absent(86_400));
    assert!(matches!(action, Action::AwaitTurn { .. }), "{action:?}");
}

#[test]
fn what_the_bank_lists_with_other_content_is_for_a_person() {
    let (progress, _) = step(calling(0), told(timeout(), 1));
    let (progress, _) = step(progress, Event::Overdue(at(600)));
    let (_, action) = step(progress, asked(Finding::OtherContent, true, 601));
    assert!(matches!(action, Action::CallPerson { .. }));
}

#[test]
fn a_job_that_expired_is_not_sent_at_all() {
    let expired = |progress: Progress| Progress {
        not_after: Some(at(50).wall),
        ..progress
    };
    let (_, action) = step(expired(job()), Event::Turn(at(51)));
    assert_eq!(
        action,
        Action::Settle(Outcome::NotSent(NotSentReason::Expired))
    );
    let (progress, _) = step(calling(0), told(timeout(), 1));
    let (_, action) = step(expired(progress), Event::Turn(at(51)));
    assert_eq!(
        action,
        Action::EnterDoubt {
            reason: DoubtReason::Expired,
            ask_at: at(51)
        }
    );
}

#[test]
fn a_deadline_that_was_not_one_keeps_the_wait() {
    let expiring = Progress {
        not_after: Some(at(50).wall),
        ..calling(0)
    };
    let unclarity = Unclarity {
        retry_after: Some(Duration::from_secs(40)),
        ..Unclarity::new(UnclearCause::ServerError)
    };
    let (progress, _) = step(expiring, told(Verdict::Unclear(unclarity), 1));
    let set_back = Moment {
        wall: at(5).wall,
        bank: at(5).bank,
        ..at(51)
    };
    let (_, action) = step(progress, Event::Overdue(set_back));
    let Action::AwaitTurn { not_before, .. } = action else {
        panic!("expected a wait, got {action:?}");
    };
    assert_eq!(not_before, Some(at(41)));
}

#[test]
fn a_cancelled_job_is_not_sent_where_that_is_proven_and_else_in_doubt() {
    let (_, action) = step(job(), Event::Cancelled(at(0)));
    assert_eq!(
        action,
        Action::Settle(Outcome::NotSent(NotSentReason::Cancelled))
    );
    let (progress, action) = step(calling(0), Event::Cancelled(at(1)));
    assert_eq!(action, Action::Keep);
    let (_, action) = step(
        progress.clone(),
        told(Verdict::Accepted { http_status: 200 }, 2),
    );
    assert!(matches!(action, Action::Settle(Outcome::Succeeded(_))));
    let (_, action) = step(progress, told(timeout(), 2));
    assert_eq!(
        action,
        Action::EnterDoubt {
            reason: DoubtReason::Cancelled,
            ask_at: at(2)
        }
    );
}

#[test]
fn other_bytes_are_never_resent() {
    let record = Record {
        attempts: 1,
        spent: 0,
        refusal: None,
        person_needed: false,
        same_bytes: false,
        closing: None,
        reason: DoubtReason::Interrupted,
    };
    let (progress, _) = step(job(), Event::Recovered { record, at: at(0) });
    let (progress, _) = step(progress, absent(300));
    let (_, action) = step(progress, absent(370));
    assert!(matches!(action, Action::CallPerson { .. }), "{action:?}");
}

#[test]
fn proof_of_absence_is_a_clean_start_with_a_new_window() {
    let record = Record {
        attempts: 3,
        spent: 1,
        refusal: None,
        person_needed: false,
        same_bytes: true,
        closing: None,
        reason: DoubtReason::Interrupted,
    };
    let (recovered, _) = step(job(), Event::Recovered { record, at: at(0) });
    let (live, _) = step(calling(0), told(timeout(), 1));
    let (live, _) = step(live, Event::Overdue(at(600)));
    for (doubtful, attempts) in [(recovered, 3), (live, 1)] {
        starts_cleanly_after_proof(doubtful, attempts);
    }
}

fn starts_cleanly_after_proof(doubtful: Progress, attempts: u32) {
    assert!(doubtful.may_have_been_executed());
    let (progress, _) = step(doubtful, absent(600));
    let (progress, action) = step(progress, absent(670));
    assert!(matches!(action, Action::AwaitTurn { .. }), "{action:?}");
    assert!(!progress.may_have_been_executed());
    assert_eq!((progress.attempts(), progress.spent()), (attempts, 1));
    let (calling_again, _) = step(progress, Event::Turn(at(5_000)));
    let (_, action) = step(calling_again.clone(), told(refused(), 5_001));
    assert!(
        matches!(action, Action::Settle(Outcome::Rejected(_))),
        "nothing unclear is left: {action:?}"
    );
    let (_, action) = step(calling_again, told(timeout(), 5_001));
    let Action::AwaitTurn { deadline, .. } = action else {
        panic!("a new window opens with the first send after the proof, got {action:?}");
    };
    assert_eq!(deadline, Some(at(5_600)));
}

#[test]
fn i8_a_deferral_neither_clears_doubt_nor_widens_the_window() {
    let (progress, _) = step(calling(0), told(timeout(), 1));
    let (progress, _) = step(progress, Event::Turn(at(100)));
    let (progress, action) = step(
        progress,
        told(Verdict::Deferred(Deferral::NoConnection), 101),
    );
    assert!(progress.may_have_been_executed());
    let Action::AwaitTurn { deadline, .. } = action else {
        panic!("expected a wait, got {action:?}");
    };
    assert_eq!(deadline, Some(at(600)), "counted from the first send");
    let (_, action) = step(progress, Event::Turn(at(600)));
    assert!(matches!(action, Action::EnterDoubt { .. }), "{action:?}");
}

/// A request whose answer is awaited for long may be executed as long after: the bank's list is complete
/// a settle delay after the end of the call, not after its beginning.
#[test]
fn i1_the_settle_delay_counts_from_the_end_of_the_last_call() {
    let (progress, action) = step(calling(0), told(conflict(), 120));
    assert!(matches!(action, Action::EnterDoubt { .. }), "{action:?}");
    let (progress, _) = step(progress, absent(310));
    let (_, action) = step(progress, absent(380));
    assert!(
        matches!(action, Action::Ask { .. }),
        "what was sent may still be executed 419 s after it was: {action:?}"
    );
}

#[test]
fn i1_the_settle_delay_counts_from_the_last_call() {
    let (progress, _) = step(calling(0), told(timeout(), 1));
    let (progress, _) = step(progress, Event::Turn(at(200)));
    let (progress, _) = step(progress, told(conflict(), 201));
    let (progress, _) = step(progress, absent(301));
    let (_, action) = step(progress, absent(380));
    assert!(matches!(action, Action::Ask { .. }), "{action:?}");
}

fn any_event() -> impl Strategy<Value = Event> {
    let moment = (0_u64..2_000_000).prop_map(at);
    let verdict = prop_oneof![
        Just(Verdict::Accepted { http_status: 200 }),
        Just(refused()),
        Just(timeout()),
        Just(Verdict::Unclear(Unclarity::new(UnclearCause::Conflict))),
        Just(Verdict::Deferred(Deferral::NoConnection)),
    ];
    let finding = prop_oneof![
        Just(Finding::Found { operation_id: None }),
        Just(Finding::FoundMore {
            operation_id: None,
            times: 2
        }),
        Just(Finding::OtherContent),
        Just(Finding::Absent),
        Just(Finding::Ambiguous),
        Just(Finding::Unreadable),
        Just(Finding::Barred),
    ];
    prop_oneof![
        moment.clone().prop_map(Event::Turn),
        moment.clone().prop_map(Event::Overdue),
        moment.clone().prop_map(Event::IntentDurable),
        moment.clone().prop_map(Event::Cancelled),
        (verdict, moment.clone(), any::<bool>()).prop_map(|(verdict, at, bank_answers)| {
            Event::Told {
                verdict,
                at,
                bank_answers,
            }
        }),
        prop::sample::select(Ruling::ALL.to_vec()).prop_map(Event::Ruled),
        (finding.clone(), any::<bool>(), moment.clone()).prop_map(|(finding, control, at)| {
            Event::Proved {
                finding,
                control,
                at,
            }
        }),
        moment.clone().prop_map(|at| Event::Recovered {
            record: record(),
            at,
        }),
        (finding, any::<bool>(), any::<bool>(), moment).prop_map(
            |(finding, control, unscheduled, at)| Event::Asked {
                finding,
                control,
                unscheduled,
                began: at,
                ended: at
            }
        ),
    ]
}

/// What a process that died in its first call leaves.
fn record() -> Record {
    Record {
        attempts: 1,
        spent: 0,
        refusal: None,
        person_needed: false,
        same_bytes: true,
        closing: None,
        reason: DoubtReason::Interrupted,
    }
}

fn any_beginning() -> impl Strategy<Value = Progress> {
    prop_oneof![
        Just(job()),
        Just(in_doubt()),
        Just(job().again(false)),
        Just(job().again(true)),
        Just(job().forgotten()),
        Just(forgotten(false)),
        Just(forgotten(true)),
    ]
}

/// In doubt since the ledger has forgotten the time before this one.
fn forgotten(after_delivery: bool) -> Progress {
    let event = Event::Forgotten(Forgotten {
        after_delivery,
        last_send: at(0),
        at: at(1),
    });
    let (progress, action) = step(job(), event);
    assert!(matches!(action, Action::EnterDoubt { .. }));
    progress
}

proptest! {
    /// The function is total, settled jobs take no step, and money is never called unmoved while
    /// an unclear attempt stands, whatever the order of events, unless a person says so. A later
    /// generation is not called before the list was asked.
    #[test]
    fn no_order_of_events_breaks_the_rules(
        beginning in any_beginning(),
        events in prop::collection::vec(any_event(), 0..60),
    ) {
        let mut progress = beginning;
        let mut absences = 0;
        let mut unproven = *progress.stage() == Stage::Proving;
        let only_a_person = progress == forgotten(true);
        for event in events {
            let was_unclear = progress.may_have_been_executed();
            let is_absence = matches!(
                event,
                Event::Asked { finding: Finding::Absent, control: true, .. }
            );
            let Ok((next, action)) = advance(&RULES, progress.clone(), event.clone()) else {
                continue;
            };
            prop_assert!(!matches!(progress.stage(), Stage::Settled(_)), "a settled job moved");
            absences += u32::from(is_absence);
            if let Action::Settle(outcome @ (Outcome::Rejected(_) | Outcome::NotSent(_))) = &action {
                prop_assert!(
                    !was_unclear || (is_absence && absences >= 2),
                    "{outcome:?} after an unclear attempt by {event:?}"
                );
            }
            if action == Action::Call && was_unclear {
                prop_assert!(matches!(event, Event::Turn(_)));
            }
            if let Action::Settle(Outcome::Ruled(_)) = &action {
                prop_assert!(matches!(event, Event::Ruled(_)));
            }
            unproven &= !matches!(
                event,
                Event::Proved { finding: Finding::Absent, .. } | Event::Recovered { .. }
            );
            prop_assert!(action != Action::Call || !unproven, "called before the list was asked");
            prop_assert!(action != Action::Call || !only_a_person, "called without a person");
            progress = next;
        }
    }
}

fn in_doubt() -> Progress {
    let (progress, _) = step(calling(0), told(timeout(), 1));
    step(progress, Event::Overdue(at(601))).0
}

fn asked_now(finding: Finding, seconds: u64) -> Event {
    Event::Asked {
        finding,
        control: true,
        unscheduled: true,
        began: at(seconds),
        ended: at(seconds),
    }
}

#[test]
fn no_number_of_asks_out_of_turn_brings_the_end_of_the_table_nearer() {
    let (mut progress, action) = step(in_doubt(), asked(Finding::Ambiguous, true, 602));
    let Action::Ask { at: planned } = action else {
        panic!("{action:?}");
    };
    for seconds in 603..640 {
        for finding in [Finding::Ambiguous, Finding::Unreadable, Finding::Barred] {
            let (next, action) = step(progress, asked_now(finding, seconds));
            assert_eq!(action, Action::Ask { at: planned });
            progress = next;
        }
    }
}

#[test]
fn i14_an_ask_out_of_turn_that_finds_the_job_settles_it() {
    let found = Finding::Found { operation_id: None };
    let (_, action) = step(in_doubt(), asked_now(found, 602));
    let evidence = Evidence::Listed { operation_id: None };
    assert_eq!(action, Action::Settle(Outcome::Succeeded(evidence)));
}

#[test]
fn i1_two_hasty_asks_out_of_turn_prove_nothing() {
    let (progress, _) = step(in_doubt(), asked_now(Finding::Absent, 602));
    let (progress, action) = step(progress, asked_now(Finding::Absent, 603));
    assert!(matches!(action, Action::Ask { .. }), "{action:?}");
    assert!(progress.may_have_been_executed());
}

#[test]
fn only_a_job_in_doubt_can_be_ruled_upon() {
    for ruling in Ruling::ALL {
        let (progress, action) = step(in_doubt(), Event::Ruled(ruling));
        assert_eq!(action, Action::Settle(Outcome::Ruled(ruling)));
        assert!(matches!(progress.stage(), Stage::Settled(_)));
        assert!(advance(&RULES, job(), Event::Ruled(ruling)).is_err());
        assert!(advance(&RULES, calling(0), Event::Ruled(ruling)).is_err());
    }
}

fn proved(finding: Finding, control: bool) -> Event {
    Event::Proved {
        finding,
        control,
        at: at(1),
    }
}

#[test]
fn i1_a_later_generation_is_sent_only_after_a_list_that_does_not_show_the_job() {
    let again = || job().again(false);
    assert_eq!(again().first_action(at(0)), Action::Prove);
    let (progress, action) = step(again(), proved(Finding::Absent, false));
    assert!(matches!(action, Action::AwaitTurn { .. }));
    assert_eq!(*progress.stage(), Stage::Ready);
    let found = Finding::Found { operation_id: None };
    let (_, action) = step(again(), proved(found, false));
    assert!(matches!(action, Action::Settle(Outcome::Succeeded(_))));
    for finding in [Finding::Ambiguous, Finding::Unreadable, Finding::Barred] {
        assert_eq!(step(again(), proved(finding, true)).1, Action::GiveBack);
    }
    let (progress, action) = step(again(), proved(Finding::OtherContent, true));
    assert!(
        matches!(action, Action::EnterDoubt { .. }),
        "I5: {action:?}"
    );
    assert!(progress.may_have_been_executed());
    assert!(
        advance(&RULES, again(), Event::Turn(at(0))).is_err(),
        "no call before the list was asked"
    );
}

#[test]
fn i1_after_a_persons_word_alone_only_a_proven_list_lets_a_job_run_again() {
    let again = || job().again(true);
    let (_, action) = step(again(), proved(Finding::Absent, false));
    assert_eq!(action, Action::GiveBack);
    let (_, action) = step(again(), proved(Finding::Absent, true));
    assert!(matches!(action, Action::AwaitTurn { .. }));
}

#[test]
fn i1_what_may_have_been_sent_in_a_forgotten_time_is_sent_after_two_late_absences() {
    let (progress, action) = step(forgotten(false), asked(Finding::Absent, true, 299));
    assert!(
        matches!(action, Action::Ask { .. }),
        "too early: {action:?}"
    );
    let (progress, action) = step(progress, asked(Finding::Absent, true, 300));
    assert!(matches!(action, Action::Ask { .. }), "once: {action:?}");
    let (progress, action) = step(progress, asked(Finding::Absent, true, 360));
    assert!(matches!(action, Action::AwaitTurn { .. }), "{action:?}");
    let (progress, action) = step(progress, Event::Turn(at(361)));
    assert_eq!(action, Action::Call);
    assert!(!progress.may_have_been_executed());
}

#[test]
fn i1_without_the_control_a_forgotten_job_is_never_sent() {
    let (progress, _) = step(forgotten(false), asked(Finding::Absent, false, 300));
    let (progress, action) = step(progress, asked(Finding::Absent, false, 360));
    assert!(matches!(action, Action::Ask { .. }), "{action:?}");
    assert!(progress.may_have_been_executed());
    let (_, action) = step(job().forgotten(), proved(Finding::Absent, false));
    assert!(matches!(action, Action::EnterDoubt { .. }), "{action:?}");
}

#[test]
fn i4_what_was_delivered_in_a_forgotten_time_is_sent_by_no_absence() {
    let (progress, _) = step(forgotten(true), asked(Finding::Absent, true, 300));
    let (progress, action) = step(progress, asked(Finding::Absent, true, 360));
    assert!(matches!(action, Action::CallPerson { .. }), "{action:?}");
    let found = Finding::Found { operation_id: None };
    let (_, action) = step(progress, asked(found, true, 400));
    assert!(
        matches!(action, Action::Settle(Outcome::Succeeded(_))),
        "{action:?}"
    );
    let record = Record {
        reason: DoubtReason::LedgerLostAfterDelivery,
        ..record()
    };
    let (progress, _) = step(job(), Event::Recovered { record, at: at(0) });
    let (progress, _) = step(progress, asked(Finding::Absent, true, 300));
    let (_, action) = step(progress, asked(Finding::Absent, true, 360));
    assert!(
        matches!(action, Action::CallPerson { .. }),
        "after a restart: {action:?}"
    );
}

#[test]
fn i1_long_after_a_forgotten_time_one_proven_absence_is_enough_and_nothing_less() {
    assert_eq!(job().forgotten().first_action(at(0)), Action::Prove);
    let (_, action) = step(job().forgotten(), proved(Finding::Absent, true));
    assert!(matches!(action, Action::AwaitTurn { .. }), "{action:?}");
    let found = Finding::Found { operation_id: None };
    let (_, action) = step(job().forgotten(), proved(found, false));
    assert!(
        matches!(action, Action::Settle(Outcome::Succeeded(_))),
        "{action:?}"
    );
    for finding in [Finding::Ambiguous, Finding::Unreadable, Finding::Barred] {
        let (progress, action) = step(job().forgotten(), proved(finding, true));
        assert!(matches!(action, Action::EnterDoubt { .. }), "{action:?}");
        assert!(progress.may_have_been_executed());
    }
}

#[test]
fn i5_a_forgotten_job_that_is_cancelled_is_not_sent_only_after_proof() {
    let cancelled = job().closing(NotSentReason::Cancelled).forgotten();
    let (progress, _) = step(cancelled, proved(Finding::Absent, true));
    let (_, action) = step(progress, Event::Turn(at(2)));
    let not_sent = Outcome::NotSent(NotSentReason::Cancelled);
    assert_eq!(action, Action::Settle(not_sent));
}
