//! The streak: refusals in a row that look like a wrong environment and not like bad rows.
//!
//! *What this is.* A wrong currency, a wrong unit, the test host in place of the real one, an empty
//! funding account: the bank refuses every row with the same `error_code`, and each refusal is
//! final for its job. A streak is what was refused with one code since the last success.
//!
//! *What it promises.* While it runs, and before the first success of this process, no more calls
//! are under way than could fill it: a bank that refuses all is called `limit` times. One card
//! counts for at most half of it, so that twenty rows of one frozen card are twenty bad rows: a
//! wrong environment refuses other cards too, and lanes of several cards run side by side. Where a
//! file has one card only, a wrong environment cannot be told from a bad card, and is not.
//!
//! *What it refuses to know.* What a code means: the bank publishes no catalogue.

use std::collections::HashMap;

use crate::domain::job::CardId;
use crate::domain::verdict::Refusal;

/// The longest code that is kept and shown, in characters: the bank's own have some thirty.
const CODE_MAX_CHARS: usize = 64;

/// What was refused with one code since the last success.
#[derive(Debug)]
pub(super) struct Streak {
    /// How many fill it; 0 switches it off.
    limit: u32,
    code: Option<String>,
    /// What each card counts for. As many cards as refusals that count, so at most `limit`.
    cards: HashMap<CardId, u32>,
    counted: u32,
    /// Whether this process had a success before it.
    proven: bool,
    failed_trials: u32,
}

impl Streak {
    pub(super) fn new(limit: u32) -> Self {
        Self {
            limit,
            code: None,
            cards: HashMap::new(),
            counted: 0,
            proven: false,
            failed_trials: 0,
        }
    }

    /// A job succeeded.
    pub(super) fn succeeded(&mut self) {
        self.begin_anew(None);
        self.proven = true;
    }

    /// A job of this card was refused.
    pub(super) fn refused(&mut self, refusal: &Refusal, card_id: &CardId) {
        if self.limit == 0 {
            return;
        }
        let code = code_of(refusal);
        if self.code.as_ref() != Some(&code) {
            self.begin_anew(Some(code));
        }
        if self.is_full() {
            return;
        }
        let of_card_max = self.limit.div_ceil(2);
        let of_card = self.cards.entry(card_id.clone()).or_default();
        if *of_card < of_card_max {
            *of_card += 1;
            self.counted += 1;
        }
    }

    /// A trial was refused with the code of a full streak: the next one waits longer.
    pub(super) fn trial_failed(&mut self) {
        self.failed_trials = self.failed_trials.saturating_add(1);
    }

    /// Trials that failed since it was full.
    pub(super) const fn failed_trials(&self) -> u32 {
        self.failed_trials
    }

    /// Whether it says that the environment is wrong.
    pub(super) const fn is_full(&self) -> bool {
        self.limit > 0 && self.counted >= self.limit
    }

    /// Whether one more call may be made beside those under way.
    pub(super) const fn leaves_room(&self, under_way: u32) -> bool {
        let runs = self.counted > 0 || !self.proven;
        self.limit == 0 || !runs || self.counted.saturating_add(under_way) < self.limit
    }

    /// Its code, and how many refusals it counts.
    pub(super) fn what(&self) -> (String, u32) {
        (self.code.clone().unwrap_or_default(), self.counted)
    }

    fn begin_anew(&mut self, code: Option<String>) {
        self.code = code;
        self.cards.clear();
        self.counted = 0;
        self.failed_trials = 0;
    }
}

/// The first code that the bank names; the status where it names none.
fn code_of(refusal: &Refusal) -> String {
    let named = refusal.errors.first().map(|error| &error.error_code);
    match named.filter(|code| !code.is_empty()) {
        Some(code) => code.chars().take(CODE_MAX_CHARS).collect(),
        None => format!("status_{}", refusal.http_status),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::verdict::RefusalError;

    fn refusal(code: &str) -> Refusal {
        let error = RefusalError {
            error_code: code.to_owned(),
            ..RefusalError::default()
        };
        Refusal {
            http_status: 422,
            errors: vec![error],
            ..Refusal::default()
        }
    }

    fn card(number: u32) -> CardId {
        CardId::parse(&format!("car_{number:022}")).expect("a card")
    }

    /// How many refusals of these cards, in turn, fill a streak of this limit.
    fn fills_after(limit: u32, cards: impl Fn(u32) -> u32) -> Option<u32> {
        let mut streak = Streak::new(limit);
        (1..=100).find(|&n| {
            streak.refused(&refusal("card_frozen"), &card(cards(n)));
            streak.is_full()
        })
    }

    #[test]
    fn f31_rows_of_one_card_never_look_like_a_wrong_environment() {
        assert_eq!(fills_after(20, |n| n), Some(20), "every row its own card");
        assert_eq!(fills_after(20, |n| n % 3), Some(20), "three cards in turn");
        assert_eq!(fills_after(20, |n| n % 2), Some(20), "two cards in turn");
        assert_eq!(fills_after(20, |_| 1), None, "one frozen card");
        let one_and_another = |n| if n == 50 { 2 } else { 1 };
        assert_eq!(fills_after(20, one_and_another), None);
        assert_eq!(fills_after(1, |_| 1), Some(1), "asked for by its setting");
        assert_eq!(fills_after(0, |n| n), None, "switched off");
    }

    #[test]
    fn a_success_or_another_code_begins_anew() {
        let mut streak = Streak::new(3);
        streak.refused(&refusal("a"), &card(1));
        streak.refused(&refusal("a"), &card(2));
        streak.refused(&refusal("b"), &card(3));
        assert_eq!(streak.what(), ("b".to_owned(), 1));
        streak.refused(&refusal("b"), &card(4));
        streak.succeeded();
        assert_eq!(streak.what().1, 0);
        for n in 5..=7 {
            assert!(!streak.is_full());
            streak.refused(&refusal("b"), &card(n));
        }
        assert!(streak.is_full());
    }

    #[test]
    fn while_it_runs_no_more_calls_are_under_way_than_could_fill_it() {
        let mut streak = Streak::new(20);
        assert!(streak.leaves_room(19), "before the first success");
        assert!(!streak.leaves_room(20));
        streak.succeeded();
        assert!(streak.leaves_room(1_000), "the environment is right");
        streak.refused(&refusal("a"), &card(1));
        assert!(streak.leaves_room(18));
        assert!(!streak.leaves_room(19));
        assert!(Streak::new(0).leaves_room(1_000), "switched off");
    }

    #[test]
    fn i11_a_streak_keeps_no_more_cards_than_its_limit_and_no_long_code() {
        let mut streak = Streak::new(20);
        for n in 0..1_000 {
            streak.refused(&refusal(&"x".repeat(1_000)), &card(n));
        }
        assert_eq!(streak.cards.len(), 20);
        assert_eq!(streak.what(), ("x".repeat(64), 20));
        let nameless = Refusal {
            http_status: 404,
            ..Refusal::default()
        };
        streak.refused(&nameless, &card(1));
        assert_eq!(streak.what().0, "status_404");
    }
}
