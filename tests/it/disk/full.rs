//! A disk that is really full: 2 MiB in memory. Mounting needs rights that not every machine gives; where it
//! has none, this says so, and the faults of the preloaded library are what is left of the proof.

use std::ops::Range;
use std::process::{Command, Output};

use super::{COMMAND_MAX_S, Payroll};
use crate::support::program::{SimulatorProcess, TANDA, exits, said};

const JOBS: Range<u32> = 0..400;
/// How the mount of a small disk ends where it is not allowed.
const MAY_NOT_MOUNT: i32 = 77;

/// Runs a script in which `$BOOKS` is a disk of so many MiB, and `pay` pays the file. The disk is seen by
/// nobody else and ends with the script.
fn on_a_small_disk(payroll: &Payroll, mib: u32, script: &str) -> Option<Output> {
    let pay = payroll.command(JOBS);
    let arguments: Vec<_> = pay.get_args().filter_map(|it| it.to_str()).collect();
    let script = format!(
        "mount -t tmpfs -o size={mib}m,mode=700 none \"$BOOKS\" || exit {MAY_NOT_MOUNT}\n\
         pay() {{ timeout -s KILL {COMMAND_MAX_S} \"$BIN\" {} \"$@\"; }}\n\
         \"$BIN\" init || exit 1\n{script}",
        arguments.join(" ")
    );
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "sh", "-uc", &script])
        .envs(
            pay.get_envs()
                .filter_map(|(name, value)| Some((name, value?))),
        )
        .env("BOOKS", payroll.books())
        .env("BIN", TANDA)
        .current_dir(pay.get_current_dir().expect("a desk has a folder"));
    let output = command.output();
    let output = output
        .ok()
        .filter(|output| output.status.code() != Some(MAY_NOT_MOUNT))?;
    let may_not = String::from_utf8_lossy(&output.stderr).contains("unshare failed");
    (!may_not).then_some(output)
}

fn must_be_paid(output: &Output, bank: &SimulatorProcess) {
    exits(output, 0);
    assert_eq!(bank.paid_once(), 360, "{}", said(output));
}

#[test]
fn f20_a_full_disk_ends_the_run_and_with_room_the_next_one_finishes() {
    let bank = SimulatorProcess::start("latency_ms=1");
    let mut payroll = Payroll::new(&bank.url);
    payroll.desk.set("TANDA_LEDGER__MIN_FREE_MIB", "0");
    let script = "pay; test $? = 8 || exit 2\n\
                  pay; test $? = 8 || exit 3\n\
                  mount -o remount,size=64m \"$BOOKS\"\n\
                  pay; test $? = 6 || exit 4";
    match on_a_small_disk(&payroll, 2, script) {
        Some(output) => must_be_paid(&output, &bank),
        None => eprintln!("no disk can be mounted here: a full one was not tried"),
    }
}

#[test]
fn f20_a_disk_that_is_nearly_full_holds_the_run_before_anything_fails() {
    let bank = SimulatorProcess::start("latency_ms=1");
    let mut payroll = Payroll::new(&bank.url);
    payroll.desk.set("TANDA_LEDGER__MIN_FREE_MIB", "2");
    // The room is looked at every five seconds; so few jobs take less than is left by then.
    let script = "export TANDA_ENGINE__RATE_PER_SECOND=5\n\
                  pay --give-up-after 1s; test $? = 7 || exit 2\n\
                  unset TANDA_ENGINE__RATE_PER_SECOND\n\
                  mount -o remount,size=64m \"$BOOKS\"\n\
                  pay; test $? = 6 || exit 4";
    match on_a_small_disk(&payroll, 3, script) {
        Some(output) => {
            assert!(said(&output).contains("nearly full"), "{}", said(&output));
            must_be_paid(&output, &bank);
        }
        None => eprintln!("no disk can be mounted here: a nearly full one was not tried"),
    }
}
