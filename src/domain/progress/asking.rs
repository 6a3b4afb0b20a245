//! The rules of asking: what the bank's list proves, and when to ask it again.
//!
//! *What it promises.* A find settles a job whoever asked for it. An absence counts only late, twice
//! and apart, and from a list that has proven itself. Whatever else a list says proves nothing.
//!
//! *What it refuses to know.* How the list is read.

use super::past::Past;
use super::{Action, Doubt, Progress, Rules, Stage, await_turn, enter_doubt, settle};
use crate::domain::listing::Finding;
use crate::domain::outcome::{DoubtReason, Evidence, Outcome};
use crate::domain::time::Moment;

/// The circumstances of one reading of the list.
pub(super) struct Reading {
    pub(super) control: bool,
    pub(super) unscheduled: bool,
    pub(super) began: Moment,
    pub(super) ended: Moment,
}

/// What follows from an ask about a job in doubt.
pub(super) fn asked(
    rules: &Rules,
    progress: &mut Progress,
    mut doubt: Doubt,
    finding: Finding,
    reading: &Reading,
) -> Action {
    let quiet_from = progress.quiet_from.unwrap_or(doubt.base);
    let settled = reading.began.surely_since(quiet_from) >= rules.asks.settle_delay();
    let action = match finding {
        Finding::Found { operation_id } | Finding::FoundMore { operation_id, .. } => {
            return settle(
                progress,
                Outcome::Succeeded(Evidence::Listed { operation_id }),
            );
        }
        Finding::OtherContent => call_person(rules, &mut doubt, reading.ended),
        Finding::Absent if reading.control && settled => match doubt.first_absence {
            Some(first) if reading.began.surely_since(first) >= rules.asks.absence_gap() => {
                if let Some(action) = proven_absent(rules, progress, &doubt, reading.ended) {
                    return action;
                }
                call_person(rules, &mut doubt, reading.ended)
            }
            Some(first) => Action::Ask {
                at: first.plus(rules.asks.second_absence()),
            },
            None => {
                doubt.first_absence = Some(reading.ended);
                doubt.failures = 0;
                doubt.asks += u32::from(!reading.unscheduled);
                Action::Ask {
                    at: reading.ended.plus(rules.asks.second_absence()),
                }
            }
        },
        Finding::Absent | Finding::Ambiguous | Finding::Barred | Finding::Unreadable
            if reading.unscheduled =>
        {
            Action::Ask { at: doubt.next_ask }
        }
        Finding::Unreadable => {
            doubt.failures += 1;
            let wait = rules.asks.after_failures(doubt.failures);
            Action::Ask {
                at: reading.ended.plus(wait),
            }
        }
        Finding::Absent | Finding::Ambiguous | Finding::Barred => {
            next_scheduled(rules, &mut doubt, reading)
        }
    };
    if let Action::Ask { at } | Action::CallPerson { ask_at: at } = action {
        doubt.next_ask = at;
    }
    progress.stage = Stage::InDoubt(doubt);
    action
}

fn next_scheduled(rules: &Rules, doubt: &mut Doubt, reading: &Reading) -> Action {
    doubt.failures = 0;
    // The ask that follows a first absence comes between two of the table and is none of them.
    let age = reading.began.surely_since(doubt.base);
    let is_of_table = rules.asks.offset(doubt.asks).is_none_or(|due| age >= due);
    doubt.asks += u32::from(is_of_table);
    match rules.asks.offset(doubt.asks) {
        Some(offset) if !doubt.person_needed => {
            let due = doubt.base.plus(offset);
            let soonest = reading.ended.plus(rules.asks.absence_gap());
            Action::Ask {
                at: if due.mono > soonest.mono {
                    due
                } else {
                    soonest
                },
            }
        }
        Some(_) | None => call_person(rules, doubt, reading.ended),
    }
}

fn call_person(rules: &Rules, doubt: &mut Doubt, at: Moment) -> Action {
    let ask_at = at.plus(rules.asks.daily());
    if std::mem::replace(&mut doubt.person_needed, true) {
        Action::Ask { at: ask_at }
    } else {
        Action::CallPerson { ask_at }
    }
}

/// What follows from proof that nothing was executed; none where only a person may decide.
fn proven_absent(
    rules: &Rules,
    progress: &mut Progress,
    doubt: &Doubt,
    at: Moment,
) -> Option<Action> {
    if doubt.person_needed || !progress.past.lets_absence_decide() {
        return None;
    }
    if let Some(refusal) = progress.refusal.take() {
        return Some(settle(progress, Outcome::Rejected(refusal)));
    }
    if let Some(reason) = progress.closed(rules, at) {
        return Some(settle(progress, Outcome::NotSent(reason)));
    }
    if !progress.same_bytes {
        return None;
    }
    progress.unclear = false;
    progress.window_from = None;
    progress.clean_starts += 1;
    progress.stage = Stage::Between;
    Some(await_turn(rules, progress, None, at))
}

/// What follows from the ask before the first call of a generation. One absence is enough: an earlier
/// generation ended with proof of its own, and what was sent in a forgotten time is listed by now. Without
/// a clear answer nothing is sent.
pub(super) fn proved(
    progress: &mut Progress,
    finding: Finding,
    control: bool,
    at: Moment,
) -> Action {
    match finding {
        Finding::Found { operation_id } | Finding::FoundMore { operation_id, .. } => settle(
            progress,
            Outcome::Succeeded(Evidence::Listed { operation_id }),
        ),
        Finding::Absent if control || !progress.past.needs_control() => {
            progress.stage = Stage::Ready;
            progress.first_action(at)
        }
        // Something moved under this name: only a person can say what.
        Finding::OtherContent => {
            progress.unclear = true;
            enter_doubt(progress, DoubtReason::OtherContent, at)
        }
        Finding::Absent | Finding::Ambiguous | Finding::Unreadable | Finding::Barred
            if matches!(progress.past, Past::Forgotten { .. }) =>
        {
            progress.unclear = true;
            enter_doubt(progress, DoubtReason::LedgerLost, at)
        }
        Finding::Absent | Finding::Ambiguous | Finding::Unreadable | Finding::Barred => {
            Action::GiveBack
        }
    }
}
