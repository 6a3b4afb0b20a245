//! The power is cut in mid-run: nothing is left but what was flushed.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Mutex;

use super::bank::RewindableBank;
use super::{Payroll, Rng, each_of, runs_all};
use crate::support::failing_disk::{cut_the_power, keep_what_is_flushed};
use crate::support::program::{Started, said};

const JOBS: Range<u32> = 0..60;
/// Some replies are lost, so that there is doubt.
const FAULTS: &str = "latency_ms=2,lost=8%";
const CUTS_ALL: u64 = 60;
const CUTS_SOME: u64 = 12;

/// Cuts the power after so many payments, and finishes afterwards.
fn judge(after: usize) -> Result<(), String> {
    let bank = RewindableBank::start(FAULTS);
    let mut payroll = Payroll::new(&bank.url);
    // This bank remembers no key.
    payroll.desk.set("TANDA_ENGINE__RESEND_WINDOW_S", "0");
    let kept = tempfile::tempdir().expect("a temporary folder");
    let mut command = payroll.command(JOBS);
    keep_what_is_flushed(&mut command, &payroll.books(), kept.path());
    let mut run = Started::new(command);
    while bank.report().entities.len() < after {
        run.must_run_on();
    }
    run.kill();
    cut_the_power(&payroll.books(), kept.path());
    let finished = payroll.pay(JOBS);
    if finished.status.code() != Some(6) {
        return Err(said(&finished));
    }
    let books = bank.report();
    payroll.check_settled(JOBS, |name| books.movements(name))
}

#[test]
fn f37_i2_a_power_cut_leaves_every_intent_and_pays_nothing_twice() {
    let cuts = if runs_all() { CUTS_ALL } else { CUTS_SOME };
    let mut rng = Rng(37);
    let cuts: Vec<_> = (0..cuts).map(|_| 1 + rng.below(45)).collect();
    let wrong = Mutex::new(BTreeMap::new());
    each_of(&cuts, |after| {
        if let Err(fault) = judge(usize::try_from(*after).expect("few")) {
            wrong.lock().expect("whole").insert(*after, fault);
        }
    });
    let wrong = wrong.into_inner().expect("whole");
    assert!(wrong.is_empty(), "{wrong:#?}");
}
