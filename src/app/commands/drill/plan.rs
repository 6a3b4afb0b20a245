//! What is done to a round of a drill: blows and lies, drawn from its seed.
//!
//! *What it promises.* The same seed gives the same blows in the same order and the same lies between
//! them. Lies keep to what the rules assume of a bank: what was sent is executed and listed well within
//! the settle delay, or never.
//!
//! *What it refuses to know.* How a blow is dealt.

use std::fmt::{self, Write as _};
use std::time::Duration;

use super::chance::Chance;
use crate::engine::settings::SHORTEST_KEY_LIFETIME;
use crate::simulator::faults::{FaultKind, Faults, Rate};

/// After how long the bank's list is believed complete, in a drill: long enough that a slow machine
/// does not break the assumption, short enough that a drill need not last for hours.
pub(super) const SETTLE_DELAY_S: u64 = 3;
/// Blows between two changes of the bank's lies.
pub(super) const BLOWS_PER_WEATHER: u64 = 8;
/// The most calls that the bank hears before a blow, each doubling as likely as the next.
const CALLS_MOST: u64 = 200;
/// The longest wait after these calls: a call lasts some milliseconds.
const AFTER_CALLS_MS: u64 = 25;
/// Within this time after its start a process is killed early, before it has called anybody.
const EARLY_MS: u64 = 300;
/// A cut falls within so many bytes of a connection: a call of the bank has some hundred.
const CUT_BYTES_OF_BANK: u64 = 20_000;
/// The same before RabbitMQ, where a prefetch is tens of thousands.
const CUT_BYTES_OF_BROKER: u64 = 150_000;
/// The longest time for which nobody answers.
const SHUT_MS: u64 = 1_500;

/// Whether a bank that lies so keeps to what the rules assume of one.
pub(super) fn keeps_to_what_is_assumed(lies: &Faults) -> bool {
    let settle_delay = Duration::from_secs(SETTLE_DELAY_S);
    let is_late = lies.rate(FaultKind::Late) != Rate::default();
    let late = if is_late { lies.late } else { Duration::ZERO };
    late.saturating_add(lies.list_lag) <= settle_delay && lies.key_life >= SHORTEST_KEY_LIFETIME
}

/// Which way bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    /// To the bank or to RabbitMQ.
    There,
    /// Back to the worker.
    Back,
}

/// What stands behind a connection of the worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Peer {
    Bank,
    Broker,
}

/// What is done to the process that pays, or to its connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Blow {
    /// SIGKILL, this long after the bank has heard so many calls.
    Kill { calls: u64, pause: Duration },
    /// SIGKILL, this long after its start.
    KillEarly { pause: Duration },
    /// SIGTERM, once the bank has heard so many calls: it must end by itself, in time.
    Stop { calls: u64 },
    /// The connection that carries the n-th byte from now is reset after it.
    Cut {
        peer: Peer,
        direction: Direction,
        bytes: u64,
    },
    /// Connections are refused, and those that are open are reset.
    Shut { peer: Peer, lasting: Duration },
}

impl fmt::Display for Blow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = |peer: &Peer| match peer {
            Peer::Bank => "bank",
            Peer::Broker => "broker",
        };
        match self {
            Self::Kill { calls, pause } => {
                write!(f, "kill after {calls} calls and {} ms", pause.as_millis())
            }
            Self::KillEarly { pause } => {
                write!(f, "kill {} ms after its start", pause.as_millis())
            }
            Self::Stop { calls } => write!(f, "stop after {calls} calls"),
            Self::Cut {
                peer,
                direction,
                bytes,
            } => {
                let way = match direction {
                    Direction::There => "to",
                    Direction::Back => "from",
                };
                write!(f, "cut at byte {bytes} {way} the {}", name(peer))
            }
            Self::Shut { peer, lasting } => {
                let lasting_ms = lasting.as_millis();
                write!(f, "no {} for {lasting_ms} ms", name(peer))
            }
        }
    }
}

/// How likely each blow is, in parts of their sum. A kill is what a drill is about.
const KILL: u64 = 50;
const KILL_EARLY: u64 = 12;
const STOP: u64 = 7;
const CUT_BANK: u64 = 14;
const SHUT_BANK: u64 = 4;
const CUT_BROKER: u64 = 14;
const SHUT_BROKER: u64 = 3;

/// The plan of one round.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    chance: Chance,
    /// Whether a broker's connections can be cut.
    cuts_broker: bool,
    /// Lies that were asked for, in place of drawn ones.
    lies: Option<String>,
}

impl Plan {
    pub(super) const fn new(chance: Chance, cuts_broker: bool, lies: Option<String>) -> Self {
        Self {
            chance,
            cuts_broker,
            lies,
        }
    }

    /// The n-th blow, from 0.
    pub(super) fn blow(&self, n: u64) -> Blow {
        let chance = &self.chance;
        let broker = if self.cuts_broker {
            CUT_BROKER + SHUT_BROKER
        } else {
            0
        };
        let all = KILL + KILL_EARLY + STOP + CUT_BANK + SHUT_BANK + broker;
        let mut drawn = chance.draw("blow", n) % all;
        let mut is = |share: u64| {
            let hit = drawn < share;
            drawn = if hit { u64::MAX } else { drawn - share };
            hit
        };
        let calls = || chance.of_any_size("calls", n, CALLS_MOST);
        let millis = |most| Duration::from_millis(chance.within("pause", n, &(0..=most)));
        if is(KILL) {
            let (calls, pause) = (calls(), millis(AFTER_CALLS_MS));
            Blow::Kill { calls, pause }
        } else if is(KILL_EARLY) {
            let pause = millis(EARLY_MS);
            Blow::KillEarly { pause }
        } else if is(STOP) {
            Blow::Stop { calls: calls() }
        } else if is(CUT_BANK) {
            self.cut(n, Peer::Bank, CUT_BYTES_OF_BANK)
        } else if is(SHUT_BANK) {
            let (peer, lasting) = (Peer::Bank, millis(SHUT_MS));
            Blow::Shut { peer, lasting }
        } else if is(CUT_BROKER) {
            self.cut(n, Peer::Broker, CUT_BYTES_OF_BROKER)
        } else {
            let (peer, lasting) = (Peer::Broker, millis(SHUT_MS));
            Blow::Shut { peer, lasting }
        }
    }

    fn cut(&self, n: u64, peer: Peer, most: u64) -> Blow {
        let direction = if self.chance.happens("direction", n, 50) {
            Direction::There
        } else {
            Direction::Back
        };
        Blow::Cut {
            peer,
            direction,
            bytes: self.chance.of_any_size("bytes", n, most),
        }
    }

    /// The bank's lies from the n-th change on, as the simulated bank reads them.
    pub(super) fn lies(&self, n: u64) -> String {
        if let Some(lies) = &self.lies {
            return lies.clone();
        }
        let latency = self.chance.of_any_size("latency", n, 60);
        let mut lies = format!("latency_ms={latency}");
        for lie in LIES {
            if !self.chance.happens(lie.name, n, lie.per_cent_of_times) {
                continue;
            }
            let hundredths = self.chance.within(lie.name, n, &(1..=lie.most_hundredths));
            let (whole, rest) = (hundredths / 100, hundredths % 100);
            write!(lies, ",{}={whole}.{rest:02}%", lie.name).expect("a string takes it");
            if let Some((setting, most)) = lie.takes {
                let time = self.chance.within(setting, n, &(0..=most));
                write!(lies, ",{setting}={time}").expect("a string takes it");
            }
        }
        lies
    }
}

/// A lie of the simulated bank.
struct Lie {
    name: &'static str,
    /// In so many of a hundred times it is told at all: rare ones meet in few, so that each is also
    /// seen without the others.
    per_cent_of_times: u64,
    /// The largest rate, in hundredths of a per cent. Together those that leave a job unclear stay far
    /// below what would spend all its attempts.
    most_hundredths: u64,
    /// A time of its own, up to this.
    takes: Option<(&'static str, u64)>,
}

/// A lie at this rate, in so many of a hundred times.
const fn lie(name: &'static str, per_cent_of_times: u64, most_hundredths: u64) -> Lie {
    Lie {
        name,
        per_cent_of_times,
        most_hundredths,
        takes: None,
    }
}

/// What holds the whole flow for a second each time (a pause until the next probe) is rare.
const LIES: &[Lie] = &[
    lie("error", 60, 800),
    lie("lost", 70, 800),
    lie("reset", 50, 400),
    lie("cut", 50, 400),
    lie("refuse", 50, 300),
    lie("conflict", 20, 50),
    lie("shift", 30, 2_000),
    lie("list_error", 30, 2_000),
    lie("nameless", 10, 100),
    lie("unauthorized", 15, 20),
    lie("portal", 15, 20),
    lie("hang", 10, 10),
    Lie {
        takes: Some(("retry_after_s", 1)),
        ..lie("limit", 25, 100)
    },
    Lie {
        takes: Some(("slow_ms", 400)),
        ..lie("slow", 30, 300)
    },
    // Together well within the settle delay.
    Lie {
        takes: Some(("late_ms", 700)),
        ..lie("late", 30, 150)
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(seed: u64) -> Plan {
        Plan::new(Chance::new(seed), true, None)
    }

    #[test]
    fn the_same_seed_gives_the_same_blows_and_lies() {
        let blows = |seed| (0..50).map(|n| plan(seed).blow(n)).collect::<Vec<_>>();
        let lies = |seed| (0..10).map(|n| plan(seed).lies(n)).collect::<Vec<_>>();
        assert_eq!((blows(3), lies(3)), (blows(3), lies(3)));
        assert_ne!(blows(3), blows(4));
        assert_ne!(lies(3), lies(4));
    }

    #[test]
    fn every_kind_of_blow_falls_and_kills_are_the_most() {
        let blows: Vec<_> = (0..1_000).map(|n| plan(1).blow(n)).collect();
        let count = |is: fn(&Blow) -> bool| blows.iter().filter(|blow| is(blow)).count();
        let kills = count(|blow| matches!(blow, Blow::Kill { .. }));
        assert!((400..600).contains(&kills), "{kills}");
        for (least, kind) in [
            (70, count(|blow| matches!(blow, Blow::KillEarly { .. }))),
            (30, count(|blow| matches!(blow, Blow::Stop { .. }))),
            (
                70,
                count(|blow| {
                    matches!(
                        blow,
                        Blow::Cut {
                            peer: Peer::Bank,
                            ..
                        }
                    )
                }),
            ),
            (
                70,
                count(|blow| {
                    matches!(
                        blow,
                        Blow::Cut {
                            peer: Peer::Broker,
                            ..
                        }
                    )
                }),
            ),
            (
                10,
                count(|blow| {
                    matches!(
                        blow,
                        Blow::Shut {
                            peer: Peer::Bank,
                            ..
                        }
                    )
                }),
            ),
            (
                8,
                count(|blow| {
                    matches!(
                        blow,
                        Blow::Shut {
                            peer: Peer::Broker,
                            ..
                        }
                    )
                }),
            ),
        ] {
            assert!(kind >= least, "{kind} of 1,000, at least {least}");
        }
    }

    #[test]
    fn where_there_is_no_broker_none_is_hurt() {
        let plan = Plan::new(Chance::new(1), false, None);
        let hurts_broker = |blow: &Blow| match blow {
            Blow::Cut { peer, .. } | Blow::Shut { peer, .. } => *peer == Peer::Broker,
            Blow::Kill { .. } | Blow::KillEarly { .. } | Blow::Stop { .. } => false,
        };
        assert!(!(0..1_000).any(|n| hurts_broker(&plan.blow(n))));
    }

    #[test]
    fn lies_can_be_read_and_keep_to_what_the_rules_assume() {
        let mut told = String::new();
        for n in 0..500 {
            let lies = plan(9).lies(n);
            let mut faults = Faults::parse(&lies).expect("the simulated bank reads it");
            assert!(keeps_to_what_is_assumed(&faults), "{lies}");
            // Half of the settle delay is left for a machine that is slow.
            faults.list_lag += Duration::from_secs(SETTLE_DELAY_S) / 2;
            assert!(keeps_to_what_is_assumed(&faults), "{lies}");
            told.push_str(&lies);
        }
        for lie in LIES {
            assert!(told.contains(&format!(",{}=", lie.name)), "{}", lie.name);
        }
    }

    #[test]
    fn a_bank_that_forgets_or_is_too_late_is_none_that_is_assumed() {
        for (lies, keeps) in [
            ("", true),
            ("lost=50%,late_ms=9000", true),
            ("late=1%,late_ms=9000", false),
            ("late=1%,late_ms=2000,list_lag_ms=2000", false),
            ("list_lag_ms=3000", true),
            ("key_life_s=1800", true),
            ("key_life_s=0", false),
        ] {
            let faults = Faults::parse(lies).expect("faults");
            assert_eq!(keeps_to_what_is_assumed(&faults), keeps, "{lies}");
        }
    }

    #[test]
    fn lies_that_were_asked_for_are_told_throughout() {
        let plan = Plan::new(Chance::new(1), false, Some("lost=30%".to_owned()));
        assert!((0..20).all(|n| plan.lies(n) == "lost=30%"));
    }
}
