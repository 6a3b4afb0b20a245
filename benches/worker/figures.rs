//! What was measured, and how it is told, beside what is aimed at.

use std::io::Write as _;
use std::time::Duration;

use crate::Who;

/// The worker's share of the loop's jobs a second, in hundredths, at 0 ms of latency and else.
const SHARE_MIN: u64 = 70;
const SHARE_MIN_WITH_LATENCY: u64 = 95;
/// The worker's CPU time for a job by the loop's, in hundredths.
const CPU_MAX: u64 = 250;
const MEMORY_MAX_KIB: u64 = 64 * 1_024;

/// Tells this at once.
pub(crate) fn say(text: &str) {
    let mut out = std::io::stdout().lock();
    let told = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    told.expect("somebody listens");
}

/// Of one run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Figures {
    pub(crate) jobs: usize,
    pub(crate) took: Duration,
    pub(crate) cpu: Duration,
    pub(crate) peak_kib: u64,
}

impl Figures {
    fn jobs_per_second(&self) -> u64 {
        whole(self.jobs) * 1_000_000 / micros(self.took).max(1)
    }

    /// CPU time for a thousand jobs, in microseconds.
    fn cpu_micros(&self) -> u64 {
        micros(self.cpu) * 1_000 / whole(self.jobs).max(1)
    }

    fn line(&self, name: &str) -> String {
        format!(
            "  {name:<8} {:>6} jobs/s   {} s of CPU for 1,000 jobs   peak {} MiB   ({}.{} s)\n",
            self.jobs_per_second(),
            thousandths(self.cpu_micros() / 1_000),
            tenths(self.peak_kib * 10 / 1_024),
            self.took.as_secs(),
            self.took.subsec_millis() / 100,
        )
    }
}

/// The rounds at one latency.
pub(crate) struct Contest {
    latency_ms: u64,
    worker: Vec<Figures>,
    bare: Vec<Figures>,
}

impl Contest {
    pub(crate) fn new(latency_ms: u64) -> Self {
        Self {
            latency_ms,
            worker: Vec::new(),
            bare: Vec::new(),
        }
    }

    pub(crate) fn note(&mut self, who: Who, figures: Figures) {
        let (name, rounds) = match who {
            Who::Worker => ("worker", &mut self.worker),
            Who::Bare => ("bare", &mut self.bare),
        };
        say(&figures.line(name));
        rounds.push(figures);
    }

    /// The medians, and the median of what each round gave, for what else the machine does differs from
    /// round to round.
    pub(crate) fn tell(&self) {
        let of = |rounds: &[Figures], value: fn(&Figures) -> u64| median(rounds.iter().map(value));
        for (name, rounds) in [("worker", &self.worker), ("bare", &self.bare)] {
            say(&format!(
                "  median of {name:<6}: {} jobs/s, {} s of CPU for 1,000 jobs, peak {} MiB\n",
                of(rounds, Figures::jobs_per_second),
                thousandths(of(rounds, Figures::cpu_micros) / 1_000),
                tenths(of(rounds, |figures| figures.peak_kib * 10 / 1_024)),
            ));
        }
        let ratio = |value: fn(&Figures) -> u64| {
            let pairs = self.worker.iter().zip(&self.bare);
            median(pairs.map(|(worker, bare)| value(worker) * 100 / value(bare).max(1)))
        };
        let share_min = match self.latency_ms {
            0 => SHARE_MIN,
            _ => SHARE_MIN_WITH_LATENCY,
        };
        let (share, cpu) = (ratio(Figures::jobs_per_second), ratio(Figures::cpu_micros));
        say(&format!(
            "  worker by bare: {} of the jobs/s (target: at least {}; {}), {} times the CPU (target: at most \
             {}; {})\n",
            hundredths(share),
            hundredths(share_min),
            met(share >= share_min),
            hundredths(cpu),
            hundredths(CPU_MAX),
            met(cpu <= CPU_MAX),
        ));
    }
}

/// How much memory the worker took where so many jobs waited.
pub(crate) fn tell_memory(waiting: usize, figures: &Figures) {
    say(&format!(
        "\n{waiting} jobs waiting\n{}",
        figures.line("worker")
    ));
    say(&format!(
        "  peak {} MiB (target: less than {} MiB; {})\n",
        tenths(figures.peak_kib * 10 / 1_024),
        MEMORY_MAX_KIB / 1_024,
        met(figures.peak_kib < MEMORY_MAX_KIB),
    ));
}

const fn met(is_met: bool) -> &'static str {
    if is_met { "met" } else { "missed" }
}

fn median(values: impl Iterator<Item = u64>) -> u64 {
    let mut values: Vec<_> = values.collect();
    values.sort_unstable();
    values.get(values.len() / 2).copied().unwrap_or_default()
}

fn tenths(value: u64) -> String {
    format!("{}.{}", value / 10, value % 10)
}

fn hundredths(value: u64) -> String {
    format!("{}.{:02}", value / 100, value % 100)
}

fn thousandths(value: u64) -> String {
    format!("{}.{:03}", value / 1_000, value % 1_000)
}

fn whole(jobs: usize) -> u64 {
    u64::try_from(jobs).expect("no more than there is memory for")
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).expect("no run takes so long")
}
