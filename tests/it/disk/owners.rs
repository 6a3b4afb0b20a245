//! One ledger, one owner, on a disk of this machine.

use std::ops::Range;

use super::{Payroll, with_an_end};
use crate::support::failing_disk::pretend_mounts;
use crate::support::program::{SimulatorProcess, Started, exits, said};

const JOBS: Range<u32> = 0..200;

fn is_refused(output: &std::process::Output, words: &str) {
    exits(output, 8);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(errors.contains(words), "{errors}");
    assert!(errors.contains("othing was sent"), "{errors}");
}

#[test]
fn f24_a_second_process_is_refused_by_whatever_name_it_knows_the_ledger() {
    // So slow that the first process is still at work when the last of the others has been refused.
    let bank = SimulatorProcess::start("latency_ms=1000");
    let mut payroll = Payroll::new(&bank.url);
    let mut first = Started::new(payroll.command(JOBS));
    first.until_paid(&bank, 5);
    is_refused(&payroll.pay(JOBS), "another process of tanda");
    let (ledger, link) = (
        payroll.books().join("ledger.db"),
        payroll.desk.path("link.db"),
    );
    std::os::unix::fs::symlink(&ledger, &link).expect("a link");
    payroll
        .desk
        .set("TANDA_LEDGER__URL", &format!("sqlite:{}", link.display()));
    is_refused(&payroll.pay(JOBS), "another process of tanda");
    let name = payroll.desk.path("second-name.db");
    std::fs::hard_link(&ledger, &name).expect("a second name");
    payroll
        .desk
        .set("TANDA_LEDGER__URL", &format!("sqlite:{}", name.display()));
    is_refused(&payroll.pay(JOBS), "more than one name");
    first.must_run_on();
    first.terminate();
}

/// Whoever takes the lock away while a process owns the ledger lets no second one pay beside it.
#[test]
fn f24_a_process_whose_lock_is_taken_away_ends() {
    let bank = SimulatorProcess::start("latency_ms=20");
    let payroll = Payroll::new(&bank.url);
    let mut first = Started::new(payroll.command(JOBS));
    first.until_paid(&bank, 5);
    std::fs::remove_file(payroll.books().join("ledger.db.lock")).expect("removed");
    let (code, words) = first.ends();
    assert_eq!(code, Some(8), "{words}");
    assert!(words.contains("ledger.db.lock was removed"), "{words}");
    let few = 0..20;
    exits(&payroll.pay(few), 6);
    bank.paid_once();
}

#[test]
fn f24_a_copy_of_a_ledger_is_not_paid_from() {
    let bank = SimulatorProcess::start("");
    let mut payroll = Payroll::new(&bank.url);
    exits(&payroll.pay(0..20), 6);
    let copy = payroll.desk.path("copy.db");
    std::fs::copy(payroll.books().join("ledger.db"), &copy).expect("a copy");
    payroll
        .desk
        .set("TANDA_LEDGER__URL", &format!("sqlite:{}", copy.display()));
    let heard = bank.operations_heard();
    is_refused(&payroll.pay(0..30), "has forgotten");
    assert_eq!(bank.operations_heard(), heard);
}

#[test]
fn f24_a_ledger_on_a_shared_disk_is_refused() {
    let bank = SimulatorProcess::start("");
    let payroll = Payroll::new(&bank.url);
    let books = std::fs::canonicalize(payroll.books()).expect("a folder");
    let mounts = format!(
        "22 1 254:0 / / rw - ext4 /dev/vda rw\n40 22 0:40 / {} rw - nfs4 server:/export rw\n",
        books.display()
    );
    let mounts = payroll.desk.write("mounts", &mounts);
    let mut command = with_an_end(&payroll.command(0..20));
    pretend_mounts(&mut command, mounts.as_ref());
    let refused = command.output().expect("the program starts");
    is_refused(&refused, "shared over a network (nfs4)");
    assert_eq!(bank.operations_heard(), 0);
    let mut init = payroll.desk.command(&["init"]);
    std::fs::remove_file(books.join("ledger.db")).expect("removed");
    pretend_mounts(&mut init, mounts.as_ref());
    let refused = init.output().expect("the program starts");
    assert!(!refused.status.success(), "{}", said(&refused));
    assert!(said(&refused).contains("nfs4"), "{}", said(&refused));
}
