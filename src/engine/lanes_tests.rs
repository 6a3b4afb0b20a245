//! Lanes, step by step.

use super::*;

fn card() -> CardId {
    CardId::parse("car_5tgliBmzjZ6mpQPRbQjfKj").expect("a card")
}

fn id(text: &str) -> EntityId {
    EntityId::parse(text).expect("an entity_id")
}

#[test]
fn i7_a_lane_starts_one_job_at_a_time_in_order() {
    let mut lanes = Lanes::default();
    assert_eq!(lanes.join(&card(), &id("a")), Place::First);
    assert_eq!(lanes.join(&card(), &id("b")), Place::Behind);
    assert_eq!(lanes.join(&card(), &id("c")), Place::Behind);
    assert_eq!(lanes.leave(&card(), &id("a")), Next::Job(id("b")));
    assert_eq!(lanes.join(&card(), &id("d")), Place::Behind);
    assert_eq!(lanes.leave(&card(), &id("b")), Next::Job(id("c")));
    assert_eq!(lanes.leave(&card(), &id("c")), Next::Job(id("d")));
    assert_eq!(lanes.leave(&card(), &id("d")), Next::Nothing);
    assert!(lanes.lanes.is_empty(), "an idle lane costs no memory");
}

#[test]
fn i7_jobs_found_in_doubt_hold_their_lane_together() {
    let mut lanes = Lanes::default();
    lanes.hold(&card(), &id("x"));
    lanes.hold(&card(), &id("y"));
    assert_eq!(lanes.join(&card(), &id("a")), Place::Behind);
    assert_eq!(lanes.leave(&card(), &id("x")), Next::Nothing);
    assert_eq!(lanes.leave(&card(), &id("y")), Next::Job(id("a")));
}

#[test]
fn i7_a_shut_lane_gives_back_everything_and_never_opens_for_later_jobs() {
    let mut lanes = Lanes::default();
    lanes.hold(&card(), &id("x"));
    lanes.join(&card(), &id("a"));
    assert_eq!(lanes.shut(&card()), [id("a")]);
    assert_eq!(lanes.join(&card(), &id("b")), Place::Shut);
    assert_eq!(lanes.leave(&card(), &id("x")), Next::Nothing);
    assert_eq!(
        lanes.join(&card(), &id("c")),
        Place::Shut,
        "b must not be overtaken"
    );
}

#[test]
fn i7_what_the_ledger_holds_comes_before_whatever_arrives_later() {
    let mut lanes = Lanes::new(Some(2));
    assert_eq!(lanes.join(&card(), &id("a")), Place::First);
    assert_eq!(lanes.join(&card(), &id("b")), Place::Behind);
    assert_eq!(lanes.join(&card(), &id("c")), Place::Behind);
    assert!(!lanes.begun(&card(), &id("a")), "not more than fit");
    assert_eq!(lanes.join(&card(), &id("d")), Place::Held, "it is full");
    assert_eq!(lanes.take_over(&card()), [id("b"), id("c")]);
    assert_eq!(lanes.join(&card(), &id("e")), Place::Held);
    assert_eq!(
        lanes.leave(&card(), &id("a")),
        Next::Nothing,
        "the takeover is not told yet"
    );
    assert!(lanes.told(&card()));
    lanes.hold(&card(), &id("b"));
    assert!(!lanes.is_ready(&card()));
    assert_eq!(lanes.join(&card(), &id("f")), Place::Held);
    assert_eq!(lanes.leave(&card(), &id("b")), Next::Held);
    lanes.none_held(&card());
    assert!(lanes.lanes.is_empty());
    assert_eq!(lanes.join(&card(), &id("g")), Place::First);
}

#[test]
fn i7_behind_a_fence_everything_goes_to_the_ledger() {
    let mut lanes = Lanes::new(Some(8));
    lanes.join(&card(), &id("a"));
    lanes.join(&card(), &id("b"));
    assert!(lanes.fence(&card(), &id("a")), "b goes to the ledger");
    assert_eq!(lanes.take_over(&card()), [id("b")]);
    assert_eq!(lanes.join(&card(), &id("c")), Place::Held);
    let mut files = Lanes::default();
    files.join(&card(), &id("a"));
    files.join(&card(), &id("b"));
    assert!(!files.fence(&card(), &id("a")), "rows of a file stay");
    assert_eq!(files.join(&card(), &id("c")), Place::Behind);
}

/// A job whose card is open again, because a person must decide about it, holds up nobody, whatever becomes
/// of it.
#[test]
fn i7_a_doubt_that_holds_no_lane_fences_none() {
    let mut lanes = Lanes::new(Some(8));
    lanes.join(&card(), &id("next"));
    lanes.join(&card(), &id("behind"));
    assert!(!lanes.fence(&card(), &id("a doubt of before")));
    assert_eq!(lanes.join(&card(), &id("last")), Place::Behind);
}

/// What waits in a full lane goes to the ledger only once whoever holds the lane has a mark there: else a
/// crash would put that one behind them.
#[test]
fn i7_a_full_lane_waits_for_the_mark_of_whoever_holds_it() {
    let mut lanes = Lanes::new(Some(1));
    lanes.join(&card(), &id("a"));
    assert_eq!(lanes.join(&card(), &id("b")), Place::Behind);
    assert_eq!(lanes.join(&card(), &id("c")), Place::Crowded);
    assert_eq!(lanes.holders(&card()).collect::<Vec<_>>(), [&id("a")]);
    assert!(!lanes.begun(&card(), &id("b")), "it does not hold the lane");
    assert!(
        lanes.begun(&card(), &id("a")),
        "more wait than there is room for"
    );
    assert_eq!(lanes.take_over(&card()), [id("b"), id("c")]);
    assert_eq!(lanes.join(&card(), &id("d")), Place::Held);
    let mut lanes = Lanes::new(Some(1));
    lanes.join(&card(), &id("a"));
    assert!(!lanes.begun(&card(), &id("a")), "nothing waits");
    lanes.join(&card(), &id("b"));
    assert_eq!(lanes.join(&card(), &id("c")), Place::Held, "at once");
    lanes.begins(&card());
    assert_eq!(
        lanes.join(&card(), &id("d")),
        Place::Crowded,
        "it begins anew"
    );
}

#[test]
fn queued_jobs_can_be_dropped_and_the_rest_keeps_its_order() {
    let mut lanes = Lanes::default();
    for name in ["a", "b", "c", "d"] {
        lanes.join(&card(), &id(name));
    }
    let keep = |entity_id: &EntityId| *entity_id != id("c");
    assert_eq!(lanes.drop_queued(keep), [id("c")]);
    assert_eq!(lanes.leave(&card(), &id("a")), Next::Job(id("b")));
    assert_eq!(lanes.leave(&card(), &id("b")), Next::Job(id("d")));
}
