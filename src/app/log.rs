//! The log: one line on stderr for each event.
//!
//! *What it promises.* One event is one line, whatever strangers wrote into its fields: control
//! characters and marks that turn the direction of writing are escaped, and a field is cut at
//! [`FIELD_MAX_BYTES`]. As JSON, a line is an object that is complete in itself.
//!
//! *What it refuses to know.* Which events there are; what other crates would like to log.

use std::error::Error;
use std::fmt::{self, Debug, Write as _};
use std::io::{self, IsTerminal as _};

use serde_json::Value;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime as _, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;

use super::config::{LogConfig, LogFormat, LogLevel};
use super::streams::{self, LogLine, is_visible};

/// The longest text of a field: more than any id or error of ours, less than hurts a collector.
const FIELD_MAX_BYTES: usize = 1_024;
/// What stands at the end of a text that was cut.
const CUT: char = '…';
/// Only our own events: what other crates log may hold what we never would.
const OURS: &str = "tanda";

/// Logs to stderr from now on.
pub(super) fn begin(config: LogConfig) {
    let level = match config.level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
    };
    if config.format == LogFormat::Json {
        streams::speak_json();
    }
    let lines = Lines {
        format: config.format,
        colours: io::stderr().is_terminal(),
    };
    let layer = tracing_subscriber::fmt::layer()
        .event_format(lines)
        .with_writer(|| LogLine);
    tracing_subscriber::registry()
        .with(Targets::new().with_target(OURS, level))
        .with(layer)
        .init();
}

/// What people are told, as a line of JSON.
pub(super) fn told(level: Level, text: &str) -> String {
    let fields = Fields {
        message: text.to_owned(),
        others: Vec::new(),
    };
    let mut line = String::new();
    now()
        .and_then(|time| fields.write_json(&mut line, &time, level))
        .expect("a string takes every text");
    line
}

fn now() -> Result<String, fmt::Error> {
    let mut time = String::new();
    SystemTime.format_time(&mut Writer::new(&mut time))?;
    Ok(time)
}

/// How an event becomes a line.
struct Lines {
    format: LogFormat,
    colours: bool,
}

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut line: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let time = now()?;
        let mut fields = Fields::default();
        event.record(&mut fields);
        let level = *event.metadata().level();
        match self.format {
            LogFormat::Text => fields.write_text(&mut line, &time, level, self.colours),
            LogFormat::Json => fields.write_json(&mut line, &time, level),
        }
    }
}

/// What an event says.
#[derive(Default)]
struct Fields {
    message: String,
    others: Vec<(&'static str, Value)>,
}

impl Fields {
    fn write_text(
        &self,
        line: &mut dyn fmt::Write,
        time: &str,
        level: Level,
        colours: bool,
    ) -> fmt::Result {
        let (colour, plain) = match (colours, level) {
            (false, _) => ("", ""),
            (true, Level::ERROR) => ("\u{1b}[31m", "\u{1b}[0m"),
            (true, Level::WARN) => ("\u{1b}[33m", "\u{1b}[0m"),
            (true, _) => ("\u{1b}[2m", "\u{1b}[0m"),
        };
        write!(line, "{time} {colour}{level:>5}{plain} {}", self.message)?;
        for (name, value) in &self.others {
            match value {
                Value::String(text) => write!(line, " {name}={text:?}")?,
                Value::Null
                | Value::Bool(_)
                | Value::Number(_)
                | Value::Array(_)
                | Value::Object(_) => write!(line, " {name}={value}")?,
            }
        }
        line.write_char('\n')
    }

    fn write_json(&self, line: &mut dyn fmt::Write, time: &str, level: Level) -> fmt::Result {
        let level = level.as_str().to_ascii_lowercase();
        let first = [
            ("timestamp", Value::from(time)),
            ("level", Value::from(level)),
            ("message", Value::from(self.message.as_str())),
        ];
        let mut before = '{';
        for (name, value) in first.iter().chain(&self.others) {
            line.write_char(before)?;
            write!(line, "\"{name}\":")?;
            // JSON itself escapes only what is below the space.
            for character in value.to_string().chars() {
                if is_visible(character) {
                    line.write_char(character)?;
                } else {
                    write!(line, "\\u{:04x}", u32::from(character))?;
                }
            }
            before = ',';
        }
        line.write_str("}\n")
    }

    fn add(&mut self, field: &Field, value: Value) {
        match field.name() {
            "message" => {
                self.message = value
                    .as_str()
                    .map_or_else(|| value.to_string(), str::to_owned);
            }
            name => self.others.push((name, value)),
        }
    }
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, text: &str) {
        self.add(field, capped(format_args!("{text}")).into());
    }

    fn record_u64(&mut self, field: &Field, number: u64) {
        self.add(field, number.into());
    }

    fn record_i64(&mut self, field: &Field, number: i64) {
        self.add(field, number.into());
    }

    fn record_bool(&mut self, field: &Field, is: bool) {
        self.add(field, is.into());
    }

    fn record_error(&mut self, field: &Field, error: &(dyn Error + 'static)) {
        let mut chain = error.to_string();
        let mut next = error.source();
        while let Some(source) = next.filter(|_| chain.len() <= FIELD_MAX_BYTES) {
            chain.push_str(": ");
            chain.push_str(&source.to_string());
            next = source.source();
        }
        self.add(field, capped(format_args!("{chain}")).into());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.add(field, capped(format_args!("{value:?}")).into());
    }
}

/// The text, cut where it is too long.
fn capped(text: fmt::Arguments<'_>) -> String {
    let mut capped = Capped::default();
    if write!(capped, "{text}").is_err() {
        capped.0.push(CUT);
    }
    capped.0
}

/// Takes text until it is full.
#[derive(Default)]
struct Capped(String);

impl fmt::Write for Capped {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = FIELD_MAX_BYTES.saturating_sub(self.0.len());
        let fits = text.floor_char_boundary(room);
        self.0.push_str(text.get(..fits).unwrap_or_default());
        if fits < text.len() {
            Err(fmt::Error)
        } else {
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    /// The lines that one event with hostile texts becomes.
    fn lines(format: LogFormat, text: &str) -> String {
        let written = Arc::new(Mutex::new(Vec::new()));
        let layer = tracing_subscriber::fmt::layer()
            .event_format(Lines {
                format,
                colours: false,
            })
            .with_writer({
                let written = Arc::clone(&written);
                move || Memory(Arc::clone(&written))
            });
        let subscriber = tracing_subscriber::registry().with(layer);
        tracing::subscriber::with_default(subscriber, || {
            let error = io::Error::other(text.to_owned());
            let error: &(dyn Error + 'static) = &error;
            let nothing: Option<&str> = None;
            tracing::info!(entity_id = text, shown = %text, error, number = 7, nothing, "an event");
        });
        let written = written.lock().expect("nobody panicked").clone();
        String::from_utf8(written).expect("UTF-8")
    }

    struct Memory(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Memory {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("nobody panicked").extend(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    const HOSTILE: &str = "a\r\n\u{1b}[31mred\u{9b}2J\u{7f}\u{202e}\u{2028}\u{2066}\0\"\\ñ";

    #[test]
    fn s21_a_hostile_text_neither_splits_a_line_nor_colours_a_terminal() {
        for format in [LogFormat::Text, LogFormat::Json] {
            let lines = lines(format, HOSTILE);
            let inside = lines.strip_suffix('\n').expect("a whole line");
            assert!(inside.chars().all(is_visible), "{inside:?}");
            assert!(inside.contains('ñ'), "{inside:?}");
        }
    }

    #[test]
    fn a_line_of_json_gives_back_what_was_said() {
        let lines = lines(LogFormat::Json, HOSTILE);
        let line: Value = serde_json::from_str(&lines).expect("JSON");
        assert_eq!(line["level"], "info");
        assert_eq!(line["message"], "an event");
        assert_eq!(line["entity_id"], HOSTILE);
        assert_eq!(line["shown"], HOSTILE);
        assert_eq!(line["error"], HOSTILE);
        assert_eq!(line["number"], 7);
        assert!(line.get("nothing").is_none());
        assert!(line["timestamp"].as_str().expect("a time").ends_with('Z'));
    }

    #[test]
    fn a_long_text_is_cut_between_two_characters() {
        let lines = lines(LogFormat::Json, &"ñ".repeat(5_000));
        let line: Value = serde_json::from_str(&lines).expect("JSON");
        for field in ["entity_id", "shown", "error"] {
            let text = line[field].as_str().expect("a text");
            assert_eq!(text, "ñ".repeat(512) + "…", "{field}");
        }
    }
}
