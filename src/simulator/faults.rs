//! Lies on demand: which fault meets which request, by rate and seed.
//!
//! *What this is.* [`Faults`], read from text such as `error=6%,lost=5%,outage=10s+120s`, and the
//! dice that decide. A decision is a pure hash of the seed, the fault's name, the request's
//! key and how often that key was seen.
//!
//! *What it promises.* The same seed deals the same faults to the same requests in whatever order
//! they arrive, and setting one fault does not move another. Where several faults meet one
//! request, the first of [`FaultKind::ALL`] that ends it is dealt.
//!
//! *What it refuses to know.* What a fault does to books or wires.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use crate::domain::digest::Digest;

/// A rate is kept in parts per million: `0.0001%` is the smallest step.
const WHOLE_PPM: u32 = 1_000_000;
/// The longest specification, in bytes: every fault once, with room.
const SPEC_MAX_BYTES: usize = 4_096;
/// The longest time in a specification: a year, which is longer than any test.
const TIME_MAX: Duration = Duration::from_secs(366 * 86_400);
/// The most outage windows in one specification.
const OUTAGES_MAX: usize = 64;
/// How long a key is remembered unless set: 24 h is the commonest window of comparable services.
const KEY_LIFE_DEFAULT: Duration = Duration::from_secs(86_400);

/// A way to lie. All but the last four meet operations (`POST`) only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FaultKind {
    /// The connection is reset before anything is applied.
    Reset,
    /// 200 with a page for people, as a captive portal gives it; not applied.
    Portal,
    /// 401, although the credential is good; not applied.
    Unauthorized,
    /// 403, although credential and card are good; not applied.
    Forbid,
    /// 429 with `Retry-After` in one of its forms; not applied.
    Limit,
    /// 500 or 503 in the envelope, or a gateway's 502 page; not applied.
    Error,
    /// 409; not applied.
    Conflict,
    /// No answer, and the request is applied [`Faults::late`] afterwards.
    Late,
    /// 422, remembered under the key; not applied.
    Refuse,
    /// Applied, then the connection ends without a byte of answer.
    Lost,
    /// Applied, then no answer ever.
    Hang,
    /// Applied, then the connection ends in the middle of the answer.
    Cut,
    /// Any request: the answer comes [`Faults::slow`] later.
    Slow,
    /// A list: someone else's operation appears on the card after this page.
    Shift,
    /// A list: 503.
    ListError,
    /// A row of a list: its `entity_id` is missing, each time it is listed.
    Nameless,
}

impl FaultKind {
    /// Every kind, in the order in which they are dealt.
    pub const ALL: [Self; 16] = [
        Self::Reset,
        Self::Portal,
        Self::Unauthorized,
        Self::Forbid,
        Self::Limit,
        Self::Error,
        Self::Conflict,
        Self::Late,
        Self::Refuse,
        Self::Lost,
        Self::Hang,
        Self::Cut,
        Self::Slow,
        Self::Shift,
        Self::ListError,
        Self::Nameless,
    ];

    /// Its name in specifications and reports.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Reset => "reset",
            Self::Portal => "portal",
            Self::Late => "late",
            Self::Unauthorized => "unauthorized",
            Self::Forbid => "forbid",
            Self::Limit => "limit",
            Self::Error => "error",
            Self::Conflict => "conflict",
            Self::Refuse => "refuse",
            Self::Lost => "lost",
            Self::Hang => "hang",
            Self::Cut => "cut",
            Self::Slow => "slow",
            Self::Shift => "shift",
            Self::ListError => "list_error",
            Self::Nameless => "nameless",
        }
    }

    fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}

/// How often a fault is dealt, in parts per million.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rate(u32);

impl Rate {
    /// Reads `6%` or `0.5%`: at most four decimals, at most 100 %. `None` for anything else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let number = text.strip_suffix('%')?.trim_end();
        let (whole, decimals) = number.split_once('.').unwrap_or((number, "0"));
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        if !digits(whole) || !digits(decimals) || decimals.len() > 4 {
            return None;
        }
        let whole: u32 = whole.parse().ok()?;
        let fraction: u32 = format!("{decimals:0<4}").parse().ok()?;
        let ppm = whole.checked_mul(10_000)?.checked_add(fraction)?;
        (ppm <= WHOLE_PPM).then_some(Self(ppm))
    }
}

/// As [`Rate::parse`] reads it.
impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, fraction) = (self.0 / 10_000, self.0 % 10_000);
        if fraction == 0 {
            return write!(f, "{whole}%");
        }
        let decimals = format!("{fraction:04}");
        write!(f, "{whole}.{}%", decimals.trim_end_matches('0'))
    }
}

/// A window without a bank.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outage {
    /// How long after the start (or after these faults were set) it begins.
    pub after: Duration,
    /// How long it lasts.
    pub lasting: Duration,
}

/// Which lies are told, how often, and the times they take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Faults {
    rates: BTreeMap<FaultKind, Rate>,
    /// How long after its arrival a late request is applied; `late_ms`, 5 s unless set.
    pub late: Duration,
    /// How much later a slow answer comes; `slow_ms`, 2 s unless set.
    pub slow: Duration,
    /// What a 429 asks for; `retry_after_s`, 1 s unless set; at 0 a date is the present.
    pub retry_after: Duration,
    /// How long after it is applied an operation is listed; `list_lag_ms`, none unless set.
    pub list_lag: Duration,
    /// How long a key is remembered; `key_life_s`, 24 h unless set.
    pub key_life: Duration,
    /// How long every answer takes; `latency_ms`, none unless set.
    pub latency: Duration,
    /// Windows during which connections are refused; `outage`, may be given again and again.
    pub outages: Vec<Outage>,
}

impl Default for Faults {
    fn default() -> Self {
        Self {
            rates: BTreeMap::new(),
            late: Duration::from_secs(5),
            slow: Duration::from_secs(2),
            retry_after: Duration::from_secs(1),
            list_lag: Duration::ZERO,
            key_life: KEY_LIFE_DEFAULT,
            latency: Duration::ZERO,
            outages: Vec::new(),
        }
    }
}

/// What is wrong with a specification of faults.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FaultsError {
    /// It is longer than any use of it.
    #[error("a list of faults has at most {SPEC_MAX_BYTES} bytes; this one has {0}")]
    TooLong(usize),
    /// A part without a value.
    #[error("`{0}` has no value; write name=value, such as lost=5% or late_ms=500")]
    NoValue(String),
    /// A name that means nothing here.
    #[error("`{0}` is no fault and no setting; there are {names}", names = known_names())]
    Unknown(String),
    /// A name that was given before.
    #[error("`{0}` is given twice")]
    Twice(String),
    /// A rate that cannot be read.
    #[error("`{name}={value}`: a rate is 0% to 100% with at most four decimals, such as 0.5%")]
    Rate {
        /// Which fault.
        name: String,
        /// What stood there.
        value: String,
    },
    /// A time that cannot be read.
    #[error("`{name}={value}`: {expected}")]
    Time {
        /// Which setting.
        name: String,
        /// What stood there.
        value: String,
        /// What would be right.
        expected: &'static str,
    },
}

const EXPECTED_NUMBER: &str = "expected a whole number, of at most a year";
const EXPECTED_OUTAGE: &str = "expected when and how long, such as 10s+120s (ms, s, m or h), of \
                               at most a year each and at most 64 of them";
const SETTINGS: [&str; 7] = [
    "late_ms",
    "slow_ms",
    "retry_after_s",
    "list_lag_ms",
    "key_life_s",
    "latency_ms",
    "outage",
];

fn known_names() -> String {
    let kinds = FaultKind::ALL.map(FaultKind::as_str);
    let names: Vec<_> = kinds.into_iter().chain(SETTINGS).collect();
    names.join(", ")
}

impl Faults {
    /// Reads a specification: parts `name=value`, with commas between; empty means none.
    ///
    /// # Errors
    /// The first part that cannot be read, and what would be right.
    pub fn parse(spec: &str) -> Result<Self, FaultsError> {
        if spec.len() > SPEC_MAX_BYTES {
            return Err(FaultsError::TooLong(spec.len()));
        }
        let mut faults = Self::default();
        let mut given = Vec::new();
        let parts = spec.split(',').map(str::trim);
        for part in parts.filter(|part| !part.is_empty()) {
            let (name, value) = part
                .split_once('=')
                .ok_or_else(|| FaultsError::NoValue(part.to_owned()))?;
            let (name, value) = (name.trim_end(), value.trim_start());
            if name != "outage" && given.contains(&name) {
                return Err(FaultsError::Twice(name.to_owned()));
            }
            given.push(name);
            faults.set(name, value)?;
        }
        Ok(faults)
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), FaultsError> {
        if let Some(kind) = FaultKind::parse(name) {
            let rate = Rate::parse(value).ok_or_else(|| FaultsError::Rate {
                name: name.to_owned(),
                value: value.to_owned(),
            })?;
            *self = std::mem::take(self).with(kind, rate);
            return Ok(());
        }
        let time = |unit| {
            time_of(value, unit).ok_or_else(|| FaultsError::Time {
                name: name.to_owned(),
                value: value.to_owned(),
                expected: EXPECTED_NUMBER,
            })
        };
        match name {
            "late_ms" => self.late = time("ms")?,
            "slow_ms" => self.slow = time("ms")?,
            "retry_after_s" => self.retry_after = time("s")?,
            "list_lag_ms" => self.list_lag = time("ms")?,
            "key_life_s" => self.key_life = time("s")?,
            "latency_ms" => self.latency = time("ms")?,
            "outage" => {
                let outage = outage_of(value).filter(|_| self.outages.len() < OUTAGES_MAX);
                self.outages.push(outage.ok_or_else(|| FaultsError::Time {
                    name: name.to_owned(),
                    value: value.to_owned(),
                    expected: EXPECTED_OUTAGE,
                })?);
            }
            _ => return Err(FaultsError::Unknown(name.to_owned())),
        }
        Ok(())
    }

    /// These faults with this one at this rate.
    #[must_use]
    pub fn with(mut self, kind: FaultKind, rate: Rate) -> Self {
        if rate == Rate::default() {
            self.rates.remove(&kind);
        } else {
            self.rates.insert(kind, rate);
        }
        self
    }

    /// How often this fault is dealt.
    #[must_use]
    pub fn rate(&self, kind: FaultKind) -> Rate {
        self.rates.get(&kind).copied().unwrap_or_default()
    }

    /// Whether there is no bank this long after the start.
    #[must_use]
    pub fn is_out(&self, since_start: Duration) -> bool {
        self.outages.iter().any(|outage| {
            since_start
                .checked_sub(outage.after)
                .is_some_and(|since| since < outage.lasting)
        })
    }

    /// How long it is, from this long after the start, until an outage begins or ends; `None`
    /// where none does any more.
    #[must_use]
    pub fn next_edge(&self, since_start: Duration) -> Option<Duration> {
        let edges = self
            .outages
            .iter()
            .flat_map(|outage| [outage.after, outage.after.saturating_add(outage.lasting)]);
        edges
            .filter_map(|edge| edge.checked_sub(since_start))
            .filter(|left| !left.is_zero())
            .min()
    }
}

/// As [`Faults::parse`] reads it; what is as it would be anyway is left out.
impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let usual = Self::default();
        let rates = self
            .rates
            .iter()
            .map(|(kind, rate)| format!("{}={rate}", kind.as_str()));
        let times = [
            ("late_ms", self.late, usual.late),
            ("slow_ms", self.slow, usual.slow),
            ("retry_after_s", self.retry_after, usual.retry_after),
            ("list_lag_ms", self.list_lag, usual.list_lag),
            ("key_life_s", self.key_life, usual.key_life),
            ("latency_ms", self.latency, usual.latency),
        ];
        let times = times
            .into_iter()
            .filter(|(_, time, usual)| time != usual)
            .map(|(name, time, _)| match name.strip_suffix("_ms") {
                Some(_) => format!("{name}={}", time.as_millis()),
                None => format!("{name}={}", time.as_secs()),
            });
        let outages = self.outages.iter().map(|outage| {
            let (after, lasting) = (outage.after.as_millis(), outage.lasting.as_millis());
            format!("outage={after}ms+{lasting}ms")
        });
        let parts: Vec<_> = rates.chain(times).chain(outages).collect();
        f.write_str(&parts.join(","))
    }
}

fn time_of(number: &str, unit: &str) -> Option<Duration> {
    if number.is_empty() || !number.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let number: u64 = number.parse().ok()?;
    let time = match unit {
        "ms" => Duration::from_millis(number),
        "s" => Duration::from_secs(number),
        "m" => Duration::from_secs(number.checked_mul(60)?),
        "h" => Duration::from_secs(number.checked_mul(3_600)?),
        _ => return None,
    };
    (time <= TIME_MAX).then_some(time)
}

fn outage_of(value: &str) -> Option<Outage> {
    let with_unit = |text: &str| {
        let text = text.trim();
        let unit_at = text.find(|c: char| !c.is_ascii_digit())?;
        let (number, unit) = text.split_at_checked(unit_at)?;
        time_of(number, unit)
    };
    let (after, lasting) = value.split_once('+')?;
    Some(Outage {
        after: with_unit(after)?,
        lasting: with_unit(lasting)?,
    })
}

/// What decides about one request: its key (or path, or row) and how often it was seen before.
#[derive(Clone, Debug)]
pub(super) struct Dice<'a> {
    /// The world's seed.
    pub(super) seed: u64,
    /// The idempotency key; where there is none, the path; for a row, its id.
    pub(super) key: &'a str,
    /// How often this key was seen before.
    pub(super) seen: u32,
}

impl Dice<'_> {
    /// Whether a fault meets this request.
    pub(super) fn hit(&self, faults: &Faults, kind: FaultKind) -> bool {
        match faults.rates.get(&kind) {
            None => false,
            Some(&Rate(ppm)) => self.draw(kind.as_str()) % u64::from(WHOLE_PPM) < u64::from(ppm),
        }
    }

    /// A number for this request and this question, as good as random.
    pub(super) fn draw(&self, question: &str) -> u64 {
        let (seed, times) = (self.seed.to_string(), self.seen.to_string());
        let fields = ["tanda.simulator.v1", &seed, question, self.key, &times];
        Digest::of_fields(&fields).first_u64()
    }

    /// A choice among so many, from 0.
    pub(super) fn choose(&self, question: &str, among: u64) -> u64 {
        self.draw(question) % among.max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dice(seed: u64, key: &str, times: u32) -> Dice<'_> {
        Dice {
            seed,
            key,
            seen: times,
        }
    }

    #[test]
    fn a_specification_reads_and_writes_itself() {
        let spec = "reset=3%,limit=2%,error=6%,lost=0.5%,slow=100%,late_ms=250,retry_after_s=0,\
                    key_life_s=1800,outage=10000ms+120000ms,outage=600000ms+1ms";
        let faults = Faults::parse(spec).expect("faults");
        assert_eq!(faults.to_string(), spec);
        assert_eq!(Faults::parse(&faults.to_string()), Ok(faults.clone()));
        assert_eq!(faults.rate(FaultKind::Lost), Rate(5_000));
        assert_eq!(faults.rate(FaultKind::Hang), Rate::default());
        assert_eq!(Faults::parse(" "), Ok(Faults::default()));
        let spaced = " error = 6% , outage = 10s + 2m,";
        let read = Faults::parse(spaced).expect("faults").to_string();
        assert_eq!(read, "error=6%,outage=10000ms+120000ms");
    }

    #[test]
    fn a_wrong_specification_says_what_would_be_right() {
        for (spec, part) in [
            (
                "losst=5%",
                "`losst` is no fault and no setting; there are reset,",
            ),
            ("lost", "`lost` has no value"),
            ("lost=5", "`lost=5`: a rate is 0% to 100%"),
            ("lost=101%", "a rate is 0% to 100%"),
            ("lost=100.0001%", "a rate is 0% to 100%"),
            ("lost=0.00001%", "at most four decimals"),
            ("lost=-1%", "a rate is"),
            ("lost=.5%", "a rate is"),
            ("lost=%", "a rate is"),
            ("lost=5%,lost=6%", "`lost` is given twice"),
            ("late_ms=5s", "`late_ms=5s`: expected a whole number"),
            ("key_life_s=99999999999999", "at most a year"),
            ("outage=10s", "such as 10s+120s"),
            ("outage=10+20", "such as 10s+120s"),
            ("outage=10s+20d", "such as 10s+120s"),
        ] {
            let error = Faults::parse(spec).expect_err(spec).to_string();
            assert!(error.contains(part), "{spec}: {error}");
        }
        let long = ",".repeat(SPEC_MAX_BYTES + 1);
        assert_eq!(Faults::parse(&long), Err(FaultsError::TooLong(4_097)));
        let many = "outage=1s+1s,".repeat(OUTAGES_MAX + 1);
        assert!(Faults::parse(&many).is_err());
    }

    #[test]
    fn a_fault_comes_close_to_its_rate_over_20_000_keys() {
        for (spec, low, high) in [
            ("lost=5%", 900, 1_100),
            ("lost=0.5%", 65, 135),
            ("lost=50%", 9_700, 10_300),
            ("lost=0%", 0, 0),
            ("lost=100%", 20_000, 20_000),
        ] {
            let faults = Faults::parse(spec).expect("faults");
            let hits = (0..20_000)
                .filter(|n| dice(7, &format!("key-{n}"), 0).hit(&faults, FaultKind::Lost))
                .count();
            assert!((low..=high).contains(&hits), "{spec}: {hits}");
        }
    }

    #[test]
    fn a_decision_hangs_on_seed_name_key_and_times_seen_only() {
        let faults = Faults::parse("lost=50%,error=50%").expect("faults");
        let alone = Faults::parse("lost=50%").expect("faults");
        let pattern = |faults: &Faults, seed, kind, times| -> Vec<bool> {
            let keys = (0..200).map(|n| format!("key-{n}"));
            keys.map(|key| dice(seed, &key, times).hit(faults, kind))
                .collect()
        };
        let base = pattern(&faults, 1, FaultKind::Lost, 0);
        assert_eq!(base, pattern(&faults, 1, FaultKind::Lost, 0));
        assert_eq!(base, pattern(&alone, 1, FaultKind::Lost, 0));
        assert_ne!(base, pattern(&faults, 2, FaultKind::Lost, 0));
        assert_ne!(base, pattern(&faults, 1, FaultKind::Error, 0));
        assert_ne!(base, pattern(&faults, 1, FaultKind::Lost, 1));
    }

    #[test]
    fn outages_have_edges() {
        let faults = Faults::parse("outage=10s+5s,outage=12s+10s").expect("faults");
        let at = Duration::from_secs;
        for (second, out, edge) in [
            (0, false, Some(10)),
            (10, true, Some(2)),
            (14, true, Some(1)),
            (15, true, Some(7)),
            (21, true, Some(1)),
            (22, false, None),
        ] {
            assert_eq!(faults.is_out(at(second)), out, "{second}");
            assert_eq!(faults.next_edge(at(second)), edge.map(at), "{second}");
        }
    }
}
