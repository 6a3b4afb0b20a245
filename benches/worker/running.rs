//! A process that is measured; it is ended when dropped.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::time::Duration;

/// Linux tells CPU time in hundredths of a second.
const TICK: Duration = Duration::from_millis(10);

pub(crate) struct Running {
    child: Child,
    errors: BufReader<ChildStderr>,
    said: String,
}

impl Running {
    /// Starts it, and waits until it says this.
    pub(crate) fn start(mut command: Command, text: &str) -> Self {
        let started = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
        let mut child = started.expect("it starts");
        let errors = BufReader::new(child.stderr.take().expect("it is piped"));
        let said = String::new();
        let mut running = Self {
            child,
            errors,
            said,
        };
        while !running.said.contains(text) {
            let read = running.errors.read_line(&mut running.said).expect("UTF-8");
            assert_ne!(read, 0, "it never said {text:?}: {}", running.said);
        }
        running
    }

    /// CPU time of all its threads so far, also in the kernel.
    pub(crate) fn cpu(&self) -> Duration {
        let stat = self.told("stat");
        // The name, in parentheses, may have anything in it; user and system time are fields 14 and 15.
        let (_, fields) = stat.rsplit_once(')').expect("a name");
        let fields = fields.split_whitespace().skip(11).take(2);
        let ticks: u32 = fields
            .map(|ticks| ticks.parse::<u32>().expect("ticks"))
            .sum();
        TICK * ticks
    }

    /// The largest resident memory so far.
    pub(crate) fn peak_kib(&self) -> u64 {
        let status = self.told("status");
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let peak = peak.and_then(|peak| peak.split_whitespace().next());
        peak.and_then(|peak| peak.parse().ok()).expect("a peak")
    }

    /// What Linux tells of it.
    fn told(&self, what: &str) -> String {
        let path = format!("/proc/{}/{what}", self.child.id());
        std::fs::read_to_string(path).expect("it runs, on Linux")
    }

    /// Asks it to end, and waits.
    pub(crate) fn terminate(mut self) {
        crate::support::program::send(&self.child, "-TERM");
        self.child.wait().expect("it ends");
    }

    /// Ends it; everything it said.
    pub(crate) fn killed(mut self) -> String {
        self.child.kill().ok();
        self.errors.read_to_string(&mut self.said).ok();
        std::mem::take(&mut self.said)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
