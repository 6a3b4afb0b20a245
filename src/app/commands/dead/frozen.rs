//! A set of dead letters that stands, before anything is done to it.
//!
//! *What it promises.* What was frozen is what is shown, summed, agreed to and acted on: a letter that
//! comes later is not in it. At most [`MOST`] at a time. Whoever was named and is not in it is told, with
//! the reason.
//!
//! *What it refuses to know.* What is done to it.

use std::collections::{BTreeMap, BTreeSet};

use super::choice::Choice;
use super::letter::{Letter, table};
use crate::app::commands::reading::{push, push_totals};
use crate::app::commands::unreadable;
use crate::app::exit::{Exit, Failure};
use crate::app::words;
use crate::domain::job::EntityId;
use crate::domain::money::{Currencies, Totals};
use crate::ledger::Visitor;

/// The most letters in one go: more than a person looks through, few enough to be answered while they
/// wait.
pub(super) const MOST: usize = 1_000;
/// Letters of a set that are shown.
const SHOWN: usize = 10;
/// Left-out ones that are named; all are counted.
const LEFT_OUT_NAMED: usize = 10;

/// The set.
#[derive(Default)]
pub(super) struct Frozen {
    pub(super) letters: Vec<Letter>,
    /// How many more are like these.
    more: u64,
    left_out: LeftOut,
    /// Whether a name was given for which it has no letter.
    lacks_named: bool,
}

/// What is not in it, by the reason.
#[derive(Default)]
struct LeftOut {
    by_reason: BTreeMap<&'static str, (u64, Vec<String>)>,
    /// Names that were given and are no dead letters that are meant, with what is known of them.
    strangers: Vec<(String, String)>,
}

impl LeftOut {
    fn add(&mut self, reason: &'static str, name: String) {
        let (count, names) = self.by_reason.entry(reason).or_default();
        *count += 1;
        if names.len() < LEFT_OUT_NAMED {
            names.push(name);
        }
    }
}

impl Frozen {
    /// Freezes what is chosen and `fits`, which says why not.
    pub(super) fn of(
        visitor: &Visitor,
        choice: &Choice<'_>,
        fits: impl Fn(&Letter) -> Result<(), &'static str>,
    ) -> Result<Self, Failure> {
        let mut frozen = Self::default();
        let (mut seen, mut taken) = (BTreeSet::new(), BTreeSet::new());
        visitor
            .dead_letters(|dead| {
                let letter = Letter::of(dead);
                let names = choice.names_of(&letter);
                seen.extend(names.iter().copied());
                if names.is_empty() && !choice.names().is_empty() {
                    return;
                }
                let fits = if choice.passes(&letter) {
                    fits(&letter)
                } else if names.is_empty() {
                    return;
                } else {
                    Err("not as the filters say")
                };
                match fits {
                    Err(reason) => frozen.left_out.add(reason, letter.name()),
                    Ok(()) if frozen.letters.len() < MOST => {
                        taken.extend(names);
                        frozen.letters.push(letter);
                    }
                    Ok(()) => frozen.more += 1,
                }
            })
            .map_err(unreadable)?;
        let mut names = choice.names().iter().map(String::as_str);
        frozen.lacks_named = names.any(|name| !taken.contains(name));
        for name in choice.names() {
            if seen.insert(name) {
                let known = stranger(visitor, name)?;
                frozen.left_out.strangers.push((name.clone(), known));
            }
        }
        Ok(frozen)
    }

    pub(super) fn count(&self) -> u64 {
        u64::try_from(self.letters.len()).unwrap_or(u64::MAX)
    }

    pub(super) fn totals(&self) -> Totals {
        let mut totals = Totals::default();
        for (operation, amount) in self.letters.iter().filter_map(Letter::asked_for) {
            totals.add(operation, amount);
        }
        totals
    }

    /// How a command ends that would end so: not well where somebody named what is not in it.
    pub(super) fn ends(&self, exit: Exit) -> Exit {
        if self.lacks_named {
            exit.worse(Exit::Input)
        } else {
            exit
        }
    }

    /// What is in it, what is not, and the first of it.
    pub(super) fn preview(&self, what: &str, currencies: &Currencies) -> String {
        let letters = words::counted(self.count(), "dead letter", "dead letters");
        let mut text = format!("{what}: {letters}\n");
        push_totals(&mut text, "  ", &self.totals(), currencies);
        if self.more > 0 {
            let more = self.more;
            push(
                &mut text,
                format_args!(
                    "  {more} more are like these: at most {MOST} go at a time, the oldest first; do the \
                     same again for the others\n"
                ),
            );
        }
        self.push_left_out(&mut text);
        if !self.letters.is_empty() {
            let first: Vec<_> = self.letters.iter().take(SHOWN).collect();
            let lines: Vec<_> = first.iter().map(|it| it.line(currencies)).collect();
            text.push_str(&table(&lines));
            let rest = self.letters.len() - first.len();
            if rest > 0 {
                push(
                    &mut text,
                    format_args!(
                        "… and {rest} more; `tanda dead list` with the same filters shows them\n"
                    ),
                );
            }
        }
        text
    }

    fn push_left_out(&self, text: &mut String) {
        for (reason, (count, names)) in &self.left_out.by_reason {
            let shown: Vec<_> = names.iter().map(|name| words::tame(name)).collect();
            let rest = count - u64::try_from(names.len()).unwrap_or(u64::MAX);
            let rest = match rest {
                0 => String::new(),
                rest => format!(" and {rest} more"),
            };
            let shown = shown.join(", ");
            push(
                text,
                format_args!("  left out: {count} ({shown}{rest}): {reason}\n"),
            );
        }
        for (name, known) in &self.left_out.strangers {
            let name = words::tame(name);
            push(text, format_args!("  left out: {name}: {known}\n"));
        }
    }
}

/// What is known of a name that no dead letter has.
fn stranger(visitor: &Visitor, name: &str) -> Result<String, Failure> {
    let unknown = || "the ledger knows nothing of it".to_owned();
    let Ok(entity_id) = EntityId::parse(name) else {
        return Ok(unknown());
    };
    let history = visitor.history(&entity_id).map_err(unreadable)?;
    Ok(match history.final_status() {
        Some(status) => {
            format!("it is {status}, and no dead letter, or one that has been put aside")
        }
        None if history.is_empty() => unknown(),
        None => "it is not over: `tanda explain` tells how it stands".to_owned(),
    })
}
