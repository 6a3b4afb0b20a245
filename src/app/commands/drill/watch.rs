//! What is seen from beside a drill: how far it is, what leaks, what a ledger remembers, whether the
//! machine keeps up.
//!
//! *What it promises.* Memory does not grow with what is looked through, only with the jobs of a round.
//!
//! *What it refuses to know.* Whether what it sees is right.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, IsTerminal as _, Read as _};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::anyhow;
use tokio::time::{Instant, interval};

use super::evidence::{Memory, Scan};
use super::tested::BREACHES_KEPT;
use crate::app::commands::bar::{Bar, DRAW_EVERY, LINE_EVERY};
use crate::app::exit::{Exit, Failure};
use crate::app::streams::tell;
use crate::domain::digest::Digest;
use crate::domain::job::EntityId;
use crate::ledger::Visitor;
use crate::ledger::history::History;
use crate::simulator::Report;

// ---- progress ---------------------------------------------------------------------------------

/// How often the machine is asked whether it keeps up.
const BEAT: Duration = Duration::from_millis(50);

/// What has been done so far.
#[derive(Debug, Default)]
pub(super) struct Progress {
    pub(super) rounds: AtomicU64,
    pub(super) kills: AtomicU64,
    /// Stops, cuts and shut doors.
    pub(super) others: AtomicU64,
    /// Whether the faults of this round are over.
    pub(super) settling: AtomicU64,
    /// The longest wait beyond its time, in milliseconds.
    stall_ms: AtomicU64,
}

impl Progress {
    pub(super) fn add(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// The longest stall since this was asked last.
    pub(super) fn take_stall(&self) -> Duration {
        Duration::from_millis(self.stall_ms.swap(0, Ordering::Relaxed))
    }

    fn line(&self) -> String {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let (round, kills, others) = (read(&self.rounds), read(&self.kills), read(&self.others));
        let doing = if read(&self.settling) > 0 {
            "the faults are over, everything settles"
        } else {
            "under fire"
        };
        format!("round {round}, {doing}; {kills} kills and {others} other blows so far")
    }
}

/// Notes how long this machine lets a timer wait beyond its time, until it is dropped.
pub(super) async fn feel_the_pulse(progress: Arc<Progress>) {
    loop {
        let began = Instant::now();
        tokio::time::sleep(BEAT).await;
        let late = began.elapsed().saturating_sub(BEAT);
        let late_ms = u64::try_from(late.as_millis()).unwrap_or(u64::MAX);
        progress.stall_ms.fetch_max(late_ms, Ordering::Relaxed);
    }
}

/// Shows progress until it is dropped; `lasts` is how long the fire lasts, where that is known.
pub(super) async fn show(progress: Arc<Progress>, lasts: Option<Duration>) {
    let began = Instant::now();
    if io::stderr().is_terminal()
        && let Some(lasts) = lasts
    {
        let bar = Bar::over_seconds(lasts.as_secs());
        let mut ticks = interval(DRAW_EVERY);
        loop {
            ticks.tick().await;
            bar.draw(began.elapsed().min(lasts).as_secs(), false, progress.line());
        }
    }
    let mut ticks = interval(LINE_EVERY);
    ticks.tick().await;
    loop {
        ticks.tick().await;
        tell(&format!(
            "{} s: {}\n",
            began.elapsed().as_secs(),
            progress.line()
        ));
    }
}

// ---- logs -------------------------------------------------------------------------------------

/// The longest line that is looked through as one.
const LINE_MAX_BYTES: u64 = 64 * 1024;

/// Looks through what was logged for the token and for whole card ids.
pub(super) fn scan(log: &Path, token: &str, cards: &BTreeSet<&str>) -> io::Result<Scan> {
    let mut scan = Scan::default();
    if !log.exists() {
        return Ok(scan);
    }
    let mut reader = BufReader::new(File::open(log)?);
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = reader
            .by_ref()
            .take(LINE_MAX_BYTES)
            .read_until(b'\n', &mut line)?;
        if read == 0 {
            return Ok(scan);
        }
        scan.lines += 1;
        let text = String::from_utf8_lossy(&line);
        let what = if text.contains(token) {
            "the token of the bank"
        } else if words_of(&text).any(|word| cards.contains(word)) {
            "a whole card id"
        } else {
            continue;
        };
        if scan.leaks.len() < BREACHES_KEPT {
            let number = scan.lines;
            scan.leaks
                .push(format!("{what} stands in line {number} of what was logged"));
        }
    }
}

fn words_of(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '-'))
}

// ---- the ledger -------------------------------------------------------------------------------

/// What was seen in a ledger that a killed process has left.
#[derive(Debug, Default)]
pub(super) struct Looks {
    /// For each name that was looked up, its final outcome then, if it had one.
    seen: BTreeMap<String, Option<Final>>,
    memory: Memory,
}

/// A final outcome: its event id, and the digest of its bytes.
type Final = (String, Digest);

impl Looks {
    /// Looks up whatever the bank has moved and was not looked up before. Nobody may own the ledger.
    pub(super) fn look(&mut self, ledger: &Path, books: &Report) -> Result<(), Failure> {
        let visitor = visit(ledger)?;
        for name in books.entities.keys() {
            if self.seen.contains_key(name) {
                continue;
            }
            let history = history(&visitor, name)?;
            self.memory.intents += 1;
            if history.generations.is_empty() {
                self.memory.unknown.insert(name.clone());
            }
            self.seen.insert(name.clone(), final_of(&history));
        }
        Ok(())
    }

    /// Looks again at every final outcome; what all looks have found.
    pub(super) fn finish(mut self, ledger: &Path) -> Result<Memory, Failure> {
        let visitor = visit(ledger)?;
        for (name, before) in self.seen {
            let Some(before) = before else { continue };
            self.memory.finals += 1;
            if final_of(&history(&visitor, &name)?) != Some(before) {
                self.memory.changed.insert(name);
            }
        }
        Ok(self.memory)
    }
}

fn visit(ledger: &Path) -> Result<Visitor, Failure> {
    Visitor::open(ledger).map_err(|error| Failure::new(Exit::Unusable, error))
}

fn history(visitor: &Visitor, name: &str) -> Result<History, Failure> {
    let entity_id = EntityId::parse(name).map_err(|fault| {
        let error = anyhow!("the bank has a name that is none: {}", fault.message);
        Failure::internal(error)
    })?;
    let read = visitor.history(&entity_id);
    read.map_err(|error| Failure::new(Exit::Unusable, error))
}

fn final_of(history: &History) -> Option<Final> {
    let newest = history.generations.last()?;
    let told = (newest.outcomes.iter()).find(|told| told.outcome.status.is_final())?;
    let outcome = &told.outcome;
    Some((outcome.event_id.to_string(), Digest::of(&outcome.body)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_and_a_whole_card_are_found_and_a_short_one_is_none() {
        let folder = tempfile::tempdir().expect("a folder");
        let log = folder.path().join("log");
        let card = "car_5tgliBmzjZ6mpQPRbQjfKj";
        let text =
            format!("paid car_5tg...fKj\nbearer drill-1\npaid ({card}), twice\ncard_id={card}x\n");
        std::fs::write(&log, text).expect("written");
        let found = scan(&log, "drill-1", &[card].into()).expect("read");
        assert_eq!(found.lines, 4);
        assert_eq!(
            found.leaks,
            [
                "the token of the bank stands in line 2 of what was logged",
                "a whole card id stands in line 3 of what was logged"
            ]
        );
        let nothing = scan(&folder.path().join("none"), "t", &BTreeSet::new());
        assert_eq!(nothing.expect("no log"), Scan::default());
    }
}
