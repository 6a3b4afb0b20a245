//! Crash points of `tanda run`: the real program crashes before, in the middle of and after everything it
//! does for a file; run again, the same file is paid once. `tests/broker/crash_points` does the same to the
//! worker.
//!
//! The points are those that a run without a crash was seen to reach, each at its first time, aborted and
//! told an error; reads apart, which leave nothing behind. `TANDA_CRASH_POINTS=all` is every point by its
//! first 20 times. Every other crash is made with a resend window, where a run with one reaches the point.

use std::collections::{BTreeMap, VecDeque};
use std::os::unix::process::ExitStatusExt as _;
use std::process::Output;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::Value;
use tanda::engine::doors::{Kind, Point};

use crate::support::payroll::{file, row};
use crate::support::program::{Desk, SimulatorProcess, said, statuses};

/// What the bank deals while a run crashes. Slow enough to be crashed in the middle of.
const FAULTS: &str = "lost=35%,error=25%,slow=100%,slow_ms=200";
const ROWS: usize = 14;
/// The first of them are on cards that are frozen.
const FROZEN: usize = 2;
/// More than are called for at once: a bank whose list has not shown anything yet proves no absence, and jobs
/// that were never executed stay in doubt until another is paid.
const CARDS: usize = 9;
/// Runs at once: they wait more than they work.
const AT_ONCE: usize = 6;
/// Times that a point is reached of which each is a crash, where all are made.
const HITS: usize = 20;
/// So many times more than needed a run with a resend window must have reached a point: chance deals the
/// bank's faults, and it must not deal a crash away.
const SPARE_HITS: usize = 3;
/// Later crashes that may be missed, where all are made.
const MISSED_MOST_PERCENT: usize = 25;
/// What `abort` ends a process with.
const SIGABRT: i32 = 6;

/// Whether what has no clear answer is sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Resends {
    /// Never. The bank remembers no key, ever: whatever is sent again without need is paid again.
    Never,
    /// For a while, as users have it. The bank remembers a key little longer: what is sent again later is
    /// paid again.
    ForAWhile,
}

impl Resends {
    const fn window_s(self) -> &'static str {
        match self {
            Self::Never => "0",
            Self::ForAWhile => "3",
        }
    }

    /// How long the bank remembers a key: the window, a call at its end, and little more.
    const fn memory(self) -> &'static str {
        match self {
            Self::Never => "key_life_s=0",
            Self::ForAWhile => "key_life_s=10",
        }
    }
}

/// One crash.
#[derive(Clone, Copy)]
struct Crash {
    resends: Resends,
    point: Point,
    hit: usize,
    is_error: bool,
}

impl Crash {
    fn order(&self) -> String {
        let how = if self.is_error { "error" } else { "abort" };
        format!("{}:{}={how}", self.point, self.hit)
    }

    /// Whether the run ends by it, and how; none where it goes on.
    fn ends(&self) -> Option<(Option<i32>, Option<i32>)> {
        let name = self.point.door.name;
        let is_fatal = name.starts_with("ledger.") || name == "source.next";
        match (self.is_error, is_fatal) {
            (false, _) => Some((None, Some(SIGABRT))),
            (true, true) => Some((Some(8), None)),
            (true, false) => None,
        }
    }
}

/// A file, with a bank and a desk of its own.
struct Payday {
    resends: Resends,
    bank: SimulatorProcess,
    desk: Desk,
    file: String,
    ids: Vec<String>,
}

impl Payday {
    fn new(resends: Resends) -> Self {
        let bank = SimulatorProcess::start(&format!("{FAULTS},{}", resends.memory()));
        let mut desk = Desk::at(&bank.url);
        for (setting, value) in [
            ("TANDA_ENGINE__RESEND_WINDOW_S", resends.window_s()),
            ("TANDA_ENGINE__CONCURRENCY", "4"),
            ("TANDA_BANK__REQUEST_TIMEOUT_S", "3"),
            ("TANDA_BANK__CONNECT_TIMEOUT_S", "2"),
        ] {
            desk.set(setting, value);
        }
        let id = |row: usize| format!("E-{row}");
        let card = |row: usize| match row {
            0..FROZEN => format!("{row}Frozen"),
            _ => format!("{}", row % CARDS),
        };
        let rows: Vec<_> = (0..ROWS).map(|it| row(&id(it), card(it), "1.00")).collect();
        Self {
            resends,
            file: file(&desk, "pay.csv", &rows),
            ids: (0..ROWS).map(id).collect(),
            desk,
            bank,
        }
    }

    fn run(&self, orders: &[(&str, &str)]) -> Output {
        let total = format!("topup:COP:{ROWS}.00");
        let mut command =
            self.desk
                .command(&["run", &self.file, "--yes", "--expect-total", &total]);
        command.envs(orders.iter().copied());
        command.output().expect("the program starts")
    }

    /// What a run that crashes nowhere reaches, in its order.
    fn points(&self) -> Vec<Point> {
        let log = self.desk.path("points");
        let run = self.run(&[("TANDA_CRASH_LOG", &log.display().to_string())]);
        let code = run.status.code();
        assert!(matches!(code, Some(6 | 7)), "{}", said(&run));
        let log = std::fs::read_to_string(log).expect("points were reached");
        log.lines().filter_map(Point::parse).collect()
    }

    /// Crashes, is run again, and is judged. Whether the point was reached.
    fn crash(&self, crash: &Crash) -> bool {
        let log = self.desk.path("points");
        let crashed = self.run(&[
            ("TANDA_CRASH_AT", &crash.order()),
            ("TANDA_CRASH_LOG", &log.display().to_string()),
        ]);
        let name = crash.point.to_string();
        let log = std::fs::read_to_string(log).unwrap_or_default();
        let hits = log.lines().filter(|line| *line == name).count();
        let was_reached = hits >= crash.hit;
        if let Some(ends) = crash.ends().filter(|_| was_reached) {
            let ended = (crashed.status.code(), crashed.status.signal());
            assert_eq!(ended, ends, "{}: {}", crash.order(), said(&crashed));
        } else {
            // Some may be in doubt for longer than a run waits.
            let code = crashed.status.code();
            assert!(matches!(code, Some(6 | 7)), "{}", said(&crashed));
        }
        self.bank.set_faults(self.resends.memory());
        for _ in 0..2 {
            let again = self.run(&[]);
            let code = again.status.code();
            assert_eq!(
                code,
                Some(6),
                "{}: {}\nbefore: {}",
                crash.order(),
                said(&again),
                said(&crashed)
            );
            self.judge(&format!("{}, resends {:?}", crash.order(), self.resends));
        }
        was_reached
    }

    /// Calls that the bank answered from its memory of keys.
    fn replays(&self) -> u64 {
        let report = self.bank.report();
        let replays = report.get("replays").and_then(Value::as_u64);
        replays.expect("a count")
    }

    fn judge(&self, told: &str) {
        let statuses = statuses(&self.desk.path("pay.results.csv"));
        assert_eq!(statuses.len(), ROWS, "F43: a line for each row, {told}");
        for (number, (status, id)) in statuses.iter().zip(&self.ids).enumerate() {
            let moved = self.bank.movements(id);
            let expected = if number < FROZEN {
                ("rejected", 0)
            } else {
                ("succeeded", 1)
            };
            assert_eq!(
                (status.as_str(), moved),
                expected,
                "I1, I4, I5: {id}, {told}"
            );
        }
    }
}

/// F1 to F4 and F43, for a file.
#[test]
fn i1_i4_f1_f2_f3_f4_f43_a_run_that_crashes_at_any_point_pays_once_when_it_is_run_again() {
    let reached = reached_by(Resends::Never);
    for name in [
        "source.next.after",
        "ledger.begin.before",
        "bank.apply.during",
        "ledger.doubt.after",
        "ledger.settle.after",
        "sink.publish.after",
        "receipt.done.before",
    ] {
        assert!(reached.contains_key(name), "{name} is not reached");
    }
    let crashes = crashes_of(reached, &reached_by(Resends::ForAWhile));
    let count = crashes.len();
    let later = crashes.iter().filter(|crash| crash.hit > 1).count();
    let has_window = |crash: &&Crash| crash.resends == Resends::ForAWhile;
    let with_window = crashes.iter().filter(has_window).count();
    let (missed, replays) = crash_all(crashes);
    let told: Vec<_> = missed.iter().map(Crash::order).collect();
    eprintln!(
        "{count} crashes of runs, {with_window} with a resend window, {replays} calls answered from memory; \
         not reached: {told:?}"
    );
    assert!(
        missed.iter().all(|it| it.hit > 1),
        "never reached: {told:?}"
    );
    assert!(
        missed.len() * 100 <= later * MISSED_MOST_PERCENT,
        "more than {MISSED_MOST_PERCENT} of 100 later crashes were not reached: {told:?}"
    );
    assert!(
        replays > 0,
        "nothing was sent again that the bank remembered"
    );
}

/// The crashes of these points: every other one with a resend window, where a run with one reaches it.
fn crashes_of(
    reached: BTreeMap<String, (Point, usize)>,
    with_window: &BTreeMap<String, (Point, usize)>,
) -> VecDeque<Crash> {
    let makes_all = makes_all();
    let mut crashes = VecDeque::new();
    for (number, (name, (point, hits))) in reached.into_iter().enumerate() {
        let most_with_window = with_window.get(&name).map_or(0, |(_, hits)| *hits);
        let is_read = point.door.kind == Kind::Read || point.door.name == "ledger.beat";
        let hits = if makes_all {
            hits.min(HITS)
        } else {
            usize::from(!is_read)
        };
        for hit in 1..=hits {
            for is_error in [false, true] {
                if is_error && !point.can_break() {
                    continue;
                }
                let is_other = (number + hit + usize::from(is_error)).is_multiple_of(2);
                let resends = if is_other && most_with_window >= hit + SPARE_HITS {
                    Resends::ForAWhile
                } else {
                    Resends::Never
                };
                crashes.push_back(Crash {
                    resends,
                    point,
                    hit,
                    is_error,
                });
            }
        }
    }
    crashes
}

/// Makes them, some at once; those that were missed, and how many calls the banks answered from memory.
fn crash_all(crashes: VecDeque<Crash>) -> (Vec<Crash>, u64) {
    let queue = Mutex::new(crashes);
    let missed = Mutex::new(Vec::new());
    let replays = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let next = queue
                        .lock()
                        .expect("no panics while it is locked")
                        .pop_front();
                    let Some(crash) = next else {
                        return;
                    };
                    let payday = Payday::new(crash.resends);
                    if !payday.crash(&crash) {
                        let mut missed = missed.lock().expect("no panics while it is locked");
                        missed.push(crash);
                    }
                    replays.fetch_add(payday.replays(), Ordering::SeqCst);
                }
            });
        }
    });
    let missed = missed.into_inner().expect("no panics");
    (missed, replays.into_inner())
}

/// What a run that crashes nowhere reaches, and how often.
fn reached_by(resends: Resends) -> BTreeMap<String, (Point, usize)> {
    let mut reached: BTreeMap<String, (Point, usize)> = BTreeMap::new();
    for point in Payday::new(resends).points() {
        reached.entry(point.to_string()).or_insert((point, 0)).1 += 1;
    }
    reached
}

#[expect(
    clippy::disallowed_methods,
    reason = "how many crashes to make is an argument of this test"
)]
fn makes_all() -> bool {
    std::env::var("TANDA_CRASH_POINTS").is_ok_and(|wanted| wanted == "all")
}
