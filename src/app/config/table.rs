//! The table of settings: the one place that says which there are.
//!
//! *What it promises.* A new setting is a row here, a field in [`super::Config`], a line in
//! `tanda.default.toml` and the row that a test then asks for in README.md.
//!
//! *What it refuses to know.* Where a value comes from, and relations between settings.

use std::fmt;

use toml::Value;

use crate::bank::BaseUrl;
use crate::domain::key::Namespace;

/// What stands for any currency in a setting's name.
pub(super) const ANY_CURRENCY: &str = "CODE";
/// How a text that is a secret is shown.
pub(super) const MASK: &str = "set (not shown)";
/// A day in seconds: a longer wait is a slip of the finger.
const DAY_S: u64 = 86_400;

/// One setting.
#[derive(Debug)]
pub(super) struct Setting {
    /// Section and key; [`ANY_CURRENCY`] stands for any currency.
    pub(super) name: &'static str,
    /// What it can be.
    pub(super) kind: Kind,
    /// What it is unless set.
    pub(super) unless_set: Unless,
    /// What it is for, in a line.
    pub(super) meaning: &'static str,
}

/// What a setting is unless set.
#[derive(Clone, Copy, Debug)]
pub(super) enum Unless {
    /// This value.
    Is(&'static str),
    /// Nothing, and this follows from it.
    Nothing(&'static str),
}

impl Unless {
    /// In words.
    pub(super) const fn text(self) -> &'static str {
        match self {
            Self::Is(text) | Self::Nothing(text) => text,
        }
    }
}

/// What a setting can be.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    /// A text that this check takes; otherwise the check says what is allowed.
    Text(fn(&str) -> Result<(), String>),
    /// A text that is never shown.
    Secret,
    /// A whole number.
    Whole { least: u64, most: u64 },
    /// One of these words.
    Word(&'static [&'static str]),
    /// On or off.
    Switch,
}

/// A value as somebody wrote it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Written<'a> {
    /// In the environment or as a flag, where everything is text.
    Plain(&'a str),
    /// A text in TOML.
    Text(&'a str),
    /// A whole number in TOML; none where it is too large for any setting.
    Whole(Option<u64>),
    /// On or off in TOML.
    Switch(bool),
    /// Something else in TOML.
    Other(&'static str),
}

/// Every setting, in the order in which they are shown.
pub(super) const SETTINGS: &[Setting] = &[
    Setting {
        name: "bank.base_url",
        kind: Kind::Text(base_url),
        unless_set: Unless::Is("https://api.sandbox.cuentamono.com"),
        meaning: "where the bank is; its test host unless set, https://api.cuentamono.com in production",
    },
    Setting {
        name: "bank.token",
        kind: Kind::Secret,
        unless_set: Unless::Nothing("none"),
        meaning: "the bearer token; better from the environment or a file than in `tanda.toml`",
    },
    Setting {
        name: "bank.token_file",
        kind: Kind::Text(not_empty),
        unless_set: Unless::Nothing("the systemd credential `bank_token`, where there is one"),
        meaning: "a file with the bearer token alone; read again when it changes",
    },
    Setting {
        name: "bank.connect_timeout_s",
        kind: Kind::Whole {
            least: 1,
            most: DAY_S,
        },
        unless_set: Unless::Is("5"),
        meaning: "longest time to connect, in seconds; less than `bank.request_timeout_s`",
    },
    Setting {
        name: "bank.request_timeout_s",
        kind: Kind::Whole {
            least: 1,
            most: DAY_S,
        },
        unless_set: Unless::Is("30"),
        meaning: "longest time for one call, in seconds; less than `engine.drain_s`",
    },
    Setting {
        name: "ledger.url",
        kind: Kind::Text(ledger_url),
        unless_set: Unless::Nothing("`ledger.db` in the user's data directory"),
        meaning: "where the durable record of jobs is: `sqlite:PATH`",
    },
    Setting {
        name: "ledger.min_free_mib",
        kind: Kind::Whole {
            least: 0,
            // An exbibyte: beyond any disk, so that a person can hold a ledger back by it.
            most: 1 << 40,
        },
        // What is under way when it runs short is a few MiB; the rest lets the result file be
        // written.
        unless_set: Unless::Is("64"),
        meaning: "MiB that must be free on the ledger's disk; 0 does not look",
    },
    Setting {
        name: "engine.namespace",
        kind: Kind::Text(namespace),
        unless_set: Unless::Is("default"),
        meaning: "part of every idempotency key: never change it once jobs have run",
    },
    Setting {
        name: "engine.concurrency",
        kind: Kind::Whole {
            least: 1,
            most: 1_024,
        },
        // Enough to hide 20 ms of latency at some hundred jobs a second, few enough that the last
        // crash leaves few jobs in doubt.
        unless_set: Unless::Is("16"),
        meaning: "calls of the bank at once",
    },
    Setting {
        name: "engine.in_flight",
        kind: Kind::Whole {
            least: 4,
            most: 65_536,
        },
        unless_set: Unless::Nothing("64 for each call at once"),
        meaning: "rows taken up and not yet answered; at least 4 for each call at once",
    },
    Setting {
        name: "engine.rate_per_second",
        kind: Kind::Whole {
            least: 1,
            most: 10_000,
        },
        unless_set: Unless::Nothing("no limit"),
        meaning: "most calls of the bank in a second",
    },
    Setting {
        name: "engine.max_attempts",
        kind: Kind::Whole {
            least: 1,
            most: 1_000,
        },
        // With the backoff four to eight minutes of trouble; then the list says more than another
        // call.
        unless_set: Unless::Is("10"),
        meaning: "attempts without a clear answer after which a job is only asked about",
    },
    Setting {
        name: "engine.backoff_base_ms",
        kind: Kind::Whole {
            least: 1,
            most: DAY_S * 1_000,
        },
        unless_set: Unless::Is("1000"),
        meaning: "longest wait before the second attempt, in milliseconds; it doubles with each",
    },
    Setting {
        name: "engine.resend_window_s",
        kind: Kind::Whole {
            least: 0,
            most: 1_799,
        },
        // A third of the shortest time for which any bank is known to remember an idempotency key.
        unless_set: Unless::Is("600"),
        meaning: "how long an attempt without a clear answer may be sent again, in seconds; 0 always asks the bank first",
    },
    Setting {
        name: "engine.settle_delay_s",
        kind: Kind::Whole {
            least: 1,
            most: DAY_S,
        },
        unless_set: Unless::Is("300"),
        meaning: "after how long the bank's list of operations is believed complete, in seconds",
    },
    Setting {
        name: "engine.probe_every_s",
        kind: Kind::Whole {
            least: 1,
            most: DAY_S,
        },
        unless_set: Unless::Is("30"),
        meaning: "how often a bank in trouble is looked at, in seconds",
    },
    Setting {
        name: "engine.refusals_in_a_row",
        kind: Kind::Whole {
            least: 0,
            most: 10_000,
        },
        // The chance that a good payroll brings as many bad rows side by side, of several cards, is
        // small, and a wrong environment costs no more than these.
        unless_set: Unless::Is("20"),
        meaning: "equal refusals in a row, without a success, that pause the flow; 0 never does",
    },
    Setting {
        name: "engine.drain_s",
        kind: Kind::Whole {
            least: 1,
            most: DAY_S,
        },
        // Longer than the longest call.
        unless_set: Unless::Is("45"),
        meaning: "how long a stop waits for calls under way, in seconds",
    },
    Setting {
        name: "engine.fence",
        kind: Kind::Word(&["until_person_needed", "until_settled"]),
        unless_set: Unless::Is("until_person_needed"),
        meaning: "how long a job in doubt holds back later jobs of its card",
    },
    Setting {
        name: "engine.hold_max_s",
        kind: Kind::Whole {
            least: 1,
            most: DAY_S,
        },
        // A third of the time after which RabbitMQ takes a message back that is not acknowledged.
        unless_set: Unless::Is("600"),
        meaning: "how long a message is kept unacknowledged before the ledger takes its job over, in seconds",
    },
    Setting {
        name: "amqp.url",
        kind: Kind::Secret,
        unless_set: Unless::Nothing("none; the worker needs one"),
        meaning: "where RabbitMQ is: `amqps://USER:PASSWORD@HOST/VHOST`, or `amqp://` on this machine",
    },
    Setting {
        name: "amqp.url_file",
        kind: Kind::Text(not_empty),
        unless_set: Unless::Nothing("the systemd credential `amqp_url`, where there is one"),
        meaning: "a file with that URL alone",
    },
    Setting {
        name: "amqp.allow_plain",
        kind: Kind::Switch,
        unless_set: Unless::Is("false"),
        meaning: "whether `amqp://` may leave this machine: then the password and every card id travel in the open",
    },
    Setting {
        name: "amqp.ca_file",
        kind: Kind::Text(not_empty),
        unless_set: Unless::Nothing("the certificates of the system"),
        meaning: "certificates (PEM) by which RabbitMQ is known",
    },
    Setting {
        name: "amqp.prefetch",
        kind: Kind::Whole {
            least: 4,
            most: 65_535,
        },
        // Covers the latency of a confirm at some ten thousand messages a second.
        unless_set: Unless::Is("128"),
        meaning: "messages taken and not yet acknowledged; at least 4 for each call at once",
    },
    Setting {
        name: "amqp.consumer_timeout_s",
        kind: Kind::Whole {
            least: 3,
            most: 30 * DAY_S,
        },
        // RabbitMQ's own default.
        unless_set: Unless::Is("1800"),
        meaning: "the broker's `consumer_timeout`, in seconds; at least 3 times `engine.hold_max_s`",
    },
    Setting {
        name: "amqp.declare",
        kind: Kind::Switch,
        unless_set: Unless::Is("true"),
        meaning: "whether the worker declares queues and exchanges; `false` only looks whether they are there",
    },
    Setting {
        name: "amqp.jobs_exchange",
        kind: Kind::Text(amqp_name),
        unless_set: Unless::Is("tanda.jobs"),
        meaning: "exchange for jobs (routing key `job`)",
    },
    Setting {
        name: "amqp.jobs_queue",
        kind: Kind::Text(amqp_name),
        unless_set: Unless::Is("tanda.jobs"),
        meaning: "queue of jobs; only one worker can have it: the lock is called `tanda.lock`, after another name `NAME-lock`, after `X.jobs` `X.lock`",
    },
    Setting {
        name: "amqp.results_exchange",
        kind: Kind::Text(amqp_name),
        unless_set: Unless::Is("tanda.results"),
        meaning: "exchange for outcomes (routing key: the status)",
    },
    Setting {
        name: "amqp.results_queue",
        kind: Kind::Text(amqp_name),
        unless_set: Unless::Is("tanda.results"),
        meaning: "queue of outcomes",
    },
    Setting {
        name: "amqp.results_max_length",
        kind: Kind::Whole {
            least: 1,
            most: 1_000_000_000,
        },
        unless_set: Unless::Nothing("no limit"),
        meaning: "outcomes in their queue after which the flow waits until they are read",
    },
    Setting {
        name: "amqp.dead_exchange",
        kind: Kind::Text(amqp_name),
        unless_set: Unless::Is("tanda.dead"),
        meaning: "exchange for dead letters (routing key: the status)",
    },
    Setting {
        name: "amqp.dead_queue",
        kind: Kind::Text(amqp_name),
        unless_set: Unless::Is("tanda.dead"),
        meaning: "queue of dead letters",
    },
    Setting {
        name: "metrics.listen",
        kind: Kind::Text(listen_address),
        unless_set: Unless::Is("127.0.0.1:9090"),
        meaning: "where the worker serves `/metrics`, `/livez`, `/readyz` and `/startupz`; `off` for nowhere",
    },
    Setting {
        name: "files.max_bytes",
        kind: Kind::Whole {
            least: 1,
            most: 1 << 40,
        },
        unless_set: Unless::Is("268435456"),
        meaning: "largest file, in bytes",
    },
    Setting {
        name: "files.max_rows",
        kind: Kind::Whole {
            least: 1,
            most: 100_000_000,
        },
        unless_set: Unless::Is("1000000"),
        meaning: "most rows in a file",
    },
    Setting {
        name: "policy.one_person_run",
        kind: Kind::Word(&["allowed", "refused"]),
        unless_set: Unless::Is("allowed"),
        meaning: "whether one person may pay a file with `tanda run` or `tanda enqueue`; `refused` leaves rehearsals only",
    },
    Setting {
        name: "log.level",
        kind: Kind::Word(&["error", "warn", "info", "debug"]),
        unless_set: Unless::Is("warn"),
        meaning: "how much is logged on stderr; `info` has every outcome, `debug` every attempt",
    },
    Setting {
        name: "log.format",
        kind: Kind::Word(&["text", "json"]),
        unless_set: Unless::Is("text"),
        meaning: "how it is logged; `json` writes an object in each line",
    },
    Setting {
        name: "currency.CODE.minor_digits",
        kind: Kind::Whole { least: 0, most: 4 },
        unless_set: Unless::Nothing("2 for COP, the only currency unless one is set"),
        meaning: "decimals of a currency at the bank; a job's currency must be one that is set",
    },
    Setting {
        name: "currency.CODE.max_amount",
        kind: Kind::Text(major_amount),
        unless_set: Unless::Nothing("no limit"),
        meaning: "largest amount of one job, such as \"50000000.00\"",
    },
];

impl Setting {
    /// Whether this is the setting of that name, `currency.COP.minor_digits` for one.
    pub(super) fn is_named(&self, name: &str) -> bool {
        let (mut ours, mut theirs) = (self.name.split('.'), name.split('.'));
        loop {
            match (ours.next(), theirs.next()) {
                (None, None) => return true,
                (Some(our), Some(their)) if our == their || our == ANY_CURRENCY => {}
                (Some(_) | None, Some(_) | None) => return false,
            }
        }
    }

    /// Its built-in value.
    pub(super) fn built_in(&self) -> Option<Value> {
        match self.unless_set {
            Unless::Is(text) => self.kind.read(Written::Plain(text)).ok(),
            Unless::Nothing(_) => None,
        }
    }
}

/// The setting of this name.
pub(super) fn setting(name: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.is_named(name))
}

impl Kind {
    /// The value of what was written.
    ///
    /// # Errors
    /// What is allowed, in words.
    pub(super) fn read(self, written: Written) -> Result<Value, String> {
        match (self, written) {
            (Self::Text(check), Written::Plain(text) | Written::Text(text)) => {
                check(text).map(|()| Value::String(text.to_owned()))
            }
            (Self::Secret, Written::Plain(text) | Written::Text(text)) => {
                Ok(Value::String(text.to_owned()))
            }
            (Self::Word(words), Written::Plain(text) | Written::Text(text))
                if words.contains(&text) =>
            {
                Ok(Value::String(text.to_owned()))
            }
            (Self::Whole { least, most }, Written::Plain(_) | Written::Whole(_)) => written
                .whole()
                .filter(|number| (least..=most).contains(number))
                .and_then(|number| i64::try_from(number).ok())
                .map(Value::Integer)
                .ok_or_else(|| self.to_string()),
            (Self::Switch, Written::Plain("true") | Written::Switch(true)) => {
                Ok(Value::Boolean(true))
            }
            (Self::Switch, Written::Plain("false") | Written::Switch(false)) => {
                Ok(Value::Boolean(false))
            }
            (
                Self::Text(_) | Self::Secret | Self::Word(_) | Self::Whole { .. } | Self::Switch,
                Written::Plain(_)
                | Written::Text(_)
                | Written::Whole(_)
                | Written::Switch(_)
                | Written::Other(_),
            ) => Err(self.to_string()),
        }
    }

    /// What was written, as it may be shown; nothing of a secret, nor of a URL with a password.
    pub(super) fn show(self, written: Written) -> String {
        match (self, written) {
            (Self::Secret, _) => MASK.to_owned(),
            (_, Written::Plain(text) | Written::Text(text)) if text.contains('@') => {
                MASK.to_owned()
            }
            (_, Written::Plain(text) | Written::Text(text)) => {
                let shown: String = text.chars().take(SHOWN_CHARS).collect();
                format!("{shown:?}")
            }
            (_, Written::Whole(Some(number))) => number.to_string(),
            (_, Written::Whole(None)) => "a number out of range".to_owned(),
            (_, Written::Switch(is_on)) => is_on.to_string(),
            (_, Written::Other(what)) => format!("of the type {what}"),
        }
    }
}

/// The longest part of a wrong value that is shown, in characters: enough to recognise it.
const SHOWN_CHARS: usize = 80;

/// What is allowed.
impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(_) | Self::Secret => f.write_str("must be a text, in quotes"),
            Self::Whole { least, most } => {
                write!(f, "must be a whole number from {least} to {most}")
            }
            Self::Word(words) => write!(f, "must be one of: {}", words.join(", ")),
            Self::Switch => f.write_str("must be true or false"),
        }
    }
}

impl Written<'_> {
    fn whole(self) -> Option<u64> {
        match self {
            Self::Plain(text) => text.parse().ok(),
            Self::Whole(number) => number,
            Self::Text(_) | Self::Switch(_) | Self::Other(_) => None,
        }
    }
}

fn base_url(text: &str) -> Result<(), String> {
    BaseUrl::parse(text).map(drop).map_err(|error| {
        let told = error.to_string();
        told.trim_start_matches("the bank's base URL ").to_owned()
    })
}

fn not_empty(text: &str) -> Result<(), String> {
    if text.is_empty() {
        return Err("must not be empty; remove it where it is not wanted".to_owned());
    }
    Ok(())
}

/// AMQP's own bound is 255 bytes; names beginning with `amq.` are the broker's.
fn amqp_name(text: &str) -> Result<(), String> {
    // AMQP has 255 bytes; the lock's name is longer than that of the queue of jobs.
    let fits = !text.is_empty() && text.len() <= 250 && !text.starts_with("amq.");
    if fits && !text.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Ok(());
    }
    Err("must be 1 to 250 bytes without white space, and not begin with amq.".to_owned())
}

fn listen_address(text: &str) -> Result<(), String> {
    if text == "off" || text.parse::<std::net::SocketAddr>().is_ok() {
        return Ok(());
    }
    Err("must be an address and a port, such as 127.0.0.1:9090, or off".to_owned())
}

fn ledger_url(text: &str) -> Result<(), String> {
    match text.strip_prefix("sqlite:") {
        Some(path) if !path.is_empty() => Ok(()),
        Some(_) | None => Err("must be sqlite:PATH".to_owned()),
    }
}

fn namespace(text: &str) -> Result<(), String> {
    Namespace::parse(text)
        .map(drop)
        .ok_or_else(|| "must be 1 to 64 characters without white space".to_owned())
}

fn major_amount(text: &str) -> Result<(), String> {
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let (whole, rest) = text.split_once('.').unwrap_or((text, "0"));
    if digits(whole) && digits(rest) {
        return Ok(());
    }
    Err("must be an amount such as \"50000000.00\": a dot, no grouping, in quotes".to_owned())
}
