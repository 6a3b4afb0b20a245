//! A write or a flush fails: the process ends, and the restart finishes the work.

use std::ops::{Range, RangeInclusive};
use std::path::PathBuf;
use std::sync::Mutex;

use super::{Payroll, Records, each_of, name, runs_all, with_an_end};
use crate::support::failing_disk::{Call, Errno, FailingDisk, Fault};
use crate::support::program::{SimulatorProcess, exits, said};

/// So many calls fail, each in a run of its own.
const PLACES: u32 = 40;
/// So many jobs, few at a time, write and flush more often than that before all of them are settled.
const JOBS: Range<u32> = 0..40;
const AT_ONCE: &str = "4";
/// Some replies are lost after the money has moved, so that there is doubt; no other call may move money.
const FAULTS: &str = "latency_ms=2,lost=8%";

/// How one run with a fault went.
struct Went {
    fault: Fault,
    /// The file that it struck; none where it never came.
    struck: Option<PathBuf>,
}

fn faults(call: Call, errno: Errno, lasts: bool) -> Vec<Fault> {
    faults_at(1..=PLACES, call, errno, lasts)
}

fn faults_at(places: RangeInclusive<u32>, call: Call, errno: Errno, lasts: bool) -> Vec<Fault> {
    places
        .map(|at| Fault {
            call,
            errno,
            at,
            lasts,
        })
        .collect()
}

/// Which calls count.
#[derive(Clone, Copy)]
enum On {
    /// Those on every file of the ledger.
    AllFiles,
    /// Those on the one into which SQLite's log is moved.
    TheFile,
}

fn run(fault: Fault, on: On) -> Went {
    let bank = SimulatorProcess::start(FAULTS);
    let mut payroll = Payroll::new(&bank.url);
    payroll.desk.set("TANDA_ENGINE__CONCURRENCY", AT_ONCE);
    let calls = payroll.desk.path("calls");
    let disk = match on {
        On::AllFiles => FailingDisk::of(&payroll.books(), calls),
        On::TheFile => FailingDisk::of_file(&payroll.books().join("ledger.db"), calls),
    };
    let mut command = with_an_end(&payroll.command(JOBS));
    disk.under(&mut command, Some(fault));
    let ended = command.output().expect("the program starts");
    let struck = disk.struck();
    let went_on = struck.is_none() || struck.as_ref() == Some(&payroll.books());
    let report = bank.report();
    let moved = report["entities"].as_object().expect("entities");
    if ended.status.code() == Some(8) {
        let words = String::from_utf8_lossy(&ended.stderr);
        let is_told = words.contains("othing was sent") || words.contains("Nothing is lost");
        assert!(is_told, "{fault:?}: {}", said(&ended));
    } else {
        assert!(went_on, "{fault:?} at {struck:?}: {}", said(&ended));
    }
    let ledger = Records::of(&payroll.books()).expect("a good ledger");
    for n in JOBS {
        let history = ledger.history(n).expect("a good ledger");
        let is_on_record = !history.generations.is_empty();
        let has_moved = moved.contains_key(&name(n));
        assert!(is_on_record || !has_moved, "I2: {} {fault:?}", name(n));
    }
    drop(ledger);
    let finished = payroll.pay(JOBS);
    exits(&finished, 6);
    let settled = payroll.check_settled(JOBS, |name| bank.movements(name));
    settled.unwrap_or_else(|untrue| panic!("{fault:?}: {untrue}"));
    Went { fault, struck }
}

/// Runs each fault; all of them must have come.
fn run_all(faults: &[Fault], on: On) {
    let went = Mutex::new(Vec::new());
    each_of(faults, |fault| {
        let one = run(*fault, on);
        went.lock().expect("nobody panicked").push(one);
    });
    let went = went.into_inner().expect("nobody panicked");
    let never: Vec<_> = went.iter().filter(|went| went.struck.is_none()).collect();
    let never: Vec<_> = never.iter().map(|went| went.fault.at).collect();
    assert!(never.is_empty(), "no fault came at {never:?}");
}

fn one_in(step: usize, faults: Vec<Fault>) -> Vec<Fault> {
    let step = if runs_all() { 1 } else { step };
    faults.into_iter().step_by(step).collect()
}

/// The library stands before every file that the ledger writes, or the tests below prove nothing.
#[test]
fn the_failing_disk_sees_every_file_of_a_ledger() {
    let bank = SimulatorProcess::start(FAULTS);
    let mut payroll = Payroll::new(&bank.url);
    payroll.desk.set("TANDA_ENGINE__CONCURRENCY", AT_ONCE);
    let disk = FailingDisk::of(&payroll.books(), payroll.desk.path("calls"));
    let mut command = with_an_end(&payroll.command(JOBS));
    disk.under(&mut command, None);
    exits(&command.output().expect("the program starts"), 6);
    let made = disk.made();
    let sees = |call: Call, name: &str| {
        let path = payroll.books().join(name);
        made.iter()
            .any(|made| made.call == call && made.path == path)
    };
    for name in ["ledger.db", "ledger.db-wal", "ledger.db.anchor.part"] {
        assert!(sees(Call::Write, name), "writes of {name}");
        assert!(sees(Call::Sync, name), "flushes of {name}");
    }
    assert!(sees(Call::Sync, "ledger.db.lock"), "the sign of life");
    assert!(sees(Call::Sync, ""), "the folder");
    assert!(disk.struck().is_none());
}

#[test]
fn f2_f21_a_flush_that_fails_is_the_last_and_the_restart_finishes() {
    run_all(
        &one_in(4, faults(Call::Sync, Errno::Eio, false)),
        On::AllFiles,
    );
}

#[test]
fn f2_f21_a_write_that_fails_is_the_last_and_the_restart_finishes() {
    run_all(
        &one_in(5, faults(Call::Write, Errno::Eio, false)),
        On::AllFiles,
    );
}

#[test]
fn f20_a_disk_that_is_full_from_one_write_on_ends_the_run_and_the_restart_finishes() {
    run_all(
        &one_in(4, faults(Call::Write, Errno::Enospc, true)),
        On::AllFiles,
    );
}

#[test]
fn f20_a_disk_that_is_full_from_one_flush_on_ends_the_run_and_the_restart_finishes() {
    run_all(
        &one_in(8, faults(Call::Sync, Errno::Enospc, true)),
        On::AllFiles,
    );
}

/// A checkpoint moves what the log has into the file. What fails there, SQLite tells nobody if it was its own,
/// and may take for written what is not.
#[test]
fn f21_a_checkpoint_that_fails_ends_the_run_and_the_restart_finishes() {
    for (places, call) in [(1..=2, Call::Sync), (1..=5, Call::Write)] {
        run_all(&faults_at(places, call, Errno::Eio, false), On::TheFile);
    }
}
