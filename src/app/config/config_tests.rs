//! What people can get wrong in settings, and what they are told.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use proptest::prelude::*;
use toml::Value;

use super::reading::{Origin, Reading, variable_of};
use super::table::{ANY_CURRENCY, Kind, SETTINGS, Setting, Unless, Written, setting};
use super::*;
use crate::domain::schedule::BACKOFF_BASE;
use crate::files::{MAX_FILE_BYTES, MAX_ROWS};

const README: &str = include_str!("../../../README.md");
const FILE: &str = "tanda.toml";

fn reading(text: &str, env: &[(&str, &str)]) -> Reading {
    let mut reading = Reading::default();
    reading.add_file(Path::new(FILE), text);
    let env = env
        .iter()
        .map(|&(name, value)| (OsString::from(name), OsString::from(value)));
    reading.add_environment(env);
    reading
}

fn from(text: &str, env: &[(&str, &str)]) -> anyhow::Result<Config> {
    let reading = reading(text, env);
    let config = Config::of(&reading);
    config.check(&reading, &[])?;
    Ok(config)
}

fn faults(text: &str, env: &[(&str, &str)]) -> Vec<String> {
    let error = from(text, env).expect_err("faults").to_string();
    error
        .lines()
        .skip(1)
        .map(|line| line.trim().to_owned())
        .collect()
}

/// A text of TOML that is another value of this setting than the built-in one, and good.
fn other_value(kind: Kind, name: &str) -> String {
    match (kind, name) {
        (Kind::Whole { least, .. }, "engine.in_flight") => (least * 100).to_string(),
        (Kind::Whole { .. }, "engine.drain_s") => "46".to_owned(),
        (Kind::Whole { .. }, "bank.request_timeout_s") => "31".to_owned(),
        (Kind::Whole { least, .. }, _) => (least + 1).to_string(),
        (Kind::Word(words), _) => format!("{:?}", words.last().expect("words")),
        (Kind::Secret, _) => "\"secret\"".to_owned(),
        (Kind::Text(_), "bank.base_url") => "\"https://bank.example\"".to_owned(),
        (Kind::Text(_), "ledger.url") => "\"sqlite:other.db\"".to_owned(),
        (Kind::Text(_), "metrics.listen") => "\"off\"".to_owned(),
        (Kind::Text(_), _) => "\"1.00\"".to_owned(),
        (Kind::Switch, "amqp.declare") => "false".to_owned(),
        (Kind::Switch, _) => "true".to_owned(),
    }
}

#[test]
fn every_setting_can_be_set_in_the_file_and_in_the_environment() {
    let built_in = format!("{:?}", Config::built_in());
    for setting in SETTINGS {
        let name = setting.name.replace(ANY_CURRENCY, "COP");
        let value = other_value(setting.kind, &name);
        let (section, key) = name.rsplit_once('.').expect("a section");
        let in_file = from(&format!("[{section}]\n{key} = {value}"), &[]).expect(&name);
        let text = value.trim_matches('"');
        let in_env = from("", &[(&variable_of(&name), text)]).expect(&name);
        let in_file = format!("{in_file:?}");
        assert_eq!(in_file, format!("{in_env:?}"), "{name}");
        assert_ne!(in_file, built_in, "{name} changes nothing");
    }
}

#[test]
fn what_is_built_in_reaches_the_engine() {
    let config = Config::built_in();
    let settings = config.settings(Ending::WhenDry).expect("good settings");
    assert_eq!(settings.namespace, Namespace::default());
    assert_eq!(settings.concurrency, 16);
    assert_eq!(settings.in_flight, 16 * IN_FLIGHT_PER_CALL);
    assert_eq!(settings.rules.max_attempts, 10);
    assert_eq!(settings.rules.backoff_base, BACKOFF_BASE);
    assert_eq!(settings.rules.resend_window, Duration::from_secs(600));
    let settle_delay = settings.rules.asks.settle_delay();
    assert_eq!(settle_delay, Duration::from_secs(300));
    assert_eq!(settings.probe_every, Duration::from_secs(30));
    assert_eq!(settings.drain, Duration::from_secs(45));
    assert_eq!(settings.rate_per_second, None);
    assert_eq!(settings.refusals_in_a_row, 20);
    assert_eq!(settings.min_free_bytes, 64 * MIB_BYTES);
    assert_eq!(settings.fence, Fence::UntilPersonNeeded);
    assert_eq!(config.files.max_bytes, MAX_FILE_BYTES);
    assert_eq!(config.files.max_rows, MAX_ROWS);
    assert_eq!(config.currencies().expect("good"), Currencies::default());
}

#[test]
fn the_file_of_init_says_what_is_built_in() {
    let built_in = {
        let mut config = Config::built_in();
        let cop = CurrencyConfig {
            minor_digits: Some(2),
            max_amount: None,
        };
        config.currency.insert("COP".to_owned(), cop);
        config
    };
    let config = from(TEMPLATE, &[]).expect("a good file");
    assert_eq!(format!("{config:?}"), format!("{built_in:?}"));
}

#[test]
fn the_file_of_init_shows_every_setting_in_its_section() {
    let uncommented: Vec<_> = TEMPLATE
        .lines()
        .map(|line| match line.strip_prefix("# ") {
            Some(example) if example.contains(" = ") => example,
            Some(_) | None => line,
        })
        .collect();
    let uncommented = uncommented.join("\n");
    let read = reading(&uncommented, &[]);
    assert!(read.faults.is_empty(), "{:?}", read.faults);
    for setting in SETTINGS {
        let name = setting.name.replace(ANY_CURRENCY, "COP");
        assert!(read.origin(&name).is_some(), "{name} is not shown");
    }
}

/// The table of settings in README.md, between its heading and the next.
#[test]
fn the_readme_has_every_setting() {
    let mut table = "| setting | unless set | is |\n|---|---|---|\n".to_owned();
    for setting in SETTINGS {
        let unless_set = match setting.unless_set {
            Unless::Is(text) => format!("`{text}`"),
            Unless::Nothing(text) => text.to_owned(),
        };
        let words = match setting.kind {
            Kind::Word(words) => format!(" (`{}`)", words.join("`, `")),
            Kind::Whole { least, most } => format!(" ({least} to {most})"),
            Kind::Text(_) | Kind::Secret | Kind::Switch => String::new(),
        };
        let row = format!(
            "| `{}` | {unless_set} | {}{words} |\n",
            setting.name, setting.meaning
        );
        table.push_str(&row);
    }
    assert!(
        README.contains(&table),
        "README.md differs from the table of settings; put this under \"## Settings\":\n\n{table}"
    );
}

#[test]
fn later_sources_win_over_earlier_ones() {
    let text = "[engine]\nconcurrency = 8\n[log]\nlevel = \"info\"";
    let env = [
        ("TANDA_ENGINE__CONCURRENCY", "4"),
        ("TANDA_LOG__LEVEL", "error"),
    ];
    let mut reading = reading(text, &env);
    let flags = Flags {
        log_level: Some(LogLevel::Debug),
        log_format: None,
    };
    flags.add_to(&mut reading);
    let config = Config::of(&reading);
    assert_eq!(config.engine.concurrency, 4);
    assert_eq!(config.log.level, LogLevel::Debug);
    assert_eq!(
        reading.describe("log.level"),
        "log.level is debug (--log-level)"
    );
    assert_eq!(
        reading.describe("engine.concurrency"),
        "engine.concurrency is 4 (TANDA_ENGINE__CONCURRENCY)"
    );
    assert_eq!(
        reading.describe("engine.drain_s"),
        "engine.drain_s is 45 (built in)"
    );
}

#[test]
fn a_text_of_digits_stays_a_text() {
    let env = [
        ("TANDA_ENGINE__NAMESPACE", "2026"),
        ("TANDA_BANK__TOKEN_FILE", "1"),
    ];
    let config = from("", &env).expect("good settings");
    assert_eq!(config.engine.namespace, "2026");
    assert_eq!(config.bank.token_file, Some(PathBuf::from("1")));
}

#[test]
fn every_fault_is_told_at_once_with_its_place_and_what_is_allowed() {
    let text = "\
[engine]
concurency = 8
drain_s = 20
fence = \"never\"
in_flight = \"many\"
[bnak]
base_url = \"https://bank.example\"
[bank]
connect_timeout_s = true
base_url = \"http://bank.example\"
[currency.cop]
minor_digits = 2
[currency.USD]
max_amount = \"1.00\"
";
    let env = [
        ("TANDA_ENGINE__MAX_ATTEMPTS", "0"),
        ("TANDA_BANK_TOKEN", "hush"),
        ("TANDA_BNK__TOKEN", "hush"),
        ("TANDA_SEED", "somebody else's"),
        ("PATH", "/bin"),
    ];
    let mut told = faults(text, &env);
    told.sort();
    let mut expected = [
        "tanda.toml:2: engine.concurency is no setting; did you mean engine.concurrency?",
        "tanda.toml:4: engine.fence is \"never\"; it must be one of: until_person_needed, until_settled",
        "tanda.toml:5: engine.in_flight is \"many\"; it must be a whole number from 4 to 65536",
        "tanda.toml:6: [bnak] is no section; did you mean [bank]?",
        "tanda.toml:9: bank.connect_timeout_s is true; it must be a whole number from 1 to 86400",
        "tanda.toml:10: bank.base_url is \"http://bank.example\"; it must begin with https://; plain http is only for this machine (127.0.0.1, [::1] or localhost)",
        "tanda.toml:12: currency.cop.minor_digits: a currency is three capital letters, not \"cop\"",
        "TANDA_ENGINE__MAX_ATTEMPTS: engine.max_attempts is \"0\"; it must be a whole number from 1 to 1000",
        "TANDA_BANK_TOKEN: this is no setting; did you mean TANDA_BANK__TOKEN?",
        "TANDA_BNK__TOKEN: this is no setting; did you mean TANDA_BANK__TOKEN?",
        "engine.drain_s must be more than bank.request_timeout_s, so that a stop can wait for a call under way: engine.drain_s is 20 (tanda.toml:3), bank.request_timeout_s is 30 (built in)",
        "currency.USD.minor_digits is not set; say how many decimals USD has at the bank",
    ];
    expected.sort_unstable();
    assert_eq!(told, expected);
}

#[test]
fn a_key_in_the_wrong_section_is_told_the_right_one() {
    for (text, meant) in [
        ("token_file = \"x\"", "did you mean bank.token_file?"),
        ("[engine]\nmax_rows = 1", "did you mean files.max_rows?"),
        (
            "[ledger]\npath = \"x\"",
            "`tanda config` shows every setting",
        ),
        (
            "[currency.COP]\ndigits = 2",
            "`tanda config` shows every setting",
        ),
        ("[engine]\nenigne = 2", "`tanda config` shows every setting"),
        ("[engin]\n", "did you mean [engine]?"),
        ("[anything-else]\n", "`tanda config` shows every setting"),
    ] {
        let told = faults(text, &[]);
        assert!(
            matches!(told.as_slice(), [one] if one.ends_with(meant)),
            "{text}: {told:?}"
        );
    }
}

#[test]
fn broken_toml_is_told_by_line_and_the_environment_is_still_checked() {
    let text = "[bank]\ntoken = \"canary-of-a-token\n[engine\nnamespace = 'canary-of-a-token";
    let told = faults(text, &[("TANDA_ENGINE__CONCURRENCY", "0")]).join("\n");
    assert!(told.contains("tanda.toml:2: "), "{told}");
    assert!(told.contains("engine.concurrency is \"0\""), "{told}");
    assert!(!told.contains("canary"), "{told}");
}

#[test]
fn i12_a_secret_is_in_no_message_whatever_is_wrong_with_it() {
    let secret = "canary-of-a-token";
    for (text, env) in [
        (format!("[bank]\ntokn = \"{secret}\""), vec![]),
        (format!("[bank]\ntoken = [\"{secret}\"]"), vec![]),
        (format!("[bank.token]\nis = \"{secret}\""), vec![]),
        (format!("token = \"{secret}\""), vec![]),
        (
            format!("[bank]\ntoken = \"{secret}\"\ntoken_file = \"x\""),
            vec![],
        ),
        (format!("[bank]\ntoken = {secret}"), vec![]),
        (format!("[bank]\ntoken = \"a\" \"{secret}\""), vec![]),
        (
            format!("[bank]\ntoken = \"a\"\ntoken = \"{secret}\""),
            vec![],
        ),
        (
            format!("[bank]\nbase_url = \"https://u:{secret}@bank.example\""),
            vec![],
        ),
        (String::new(), vec![("TANDA_BANK__TOKN", secret)]),
        (String::new(), vec![("TANDA_BANK_TOKEN", secret)]),
        (String::new(), vec![("TANDA_TOKEN__BANK", secret)]),
    ] {
        let told = format!("{:?}", from(&text, &env).expect_err(&text));
        assert!(!told.contains("canary"), "{told}");
    }
    let good = from(&format!("[bank]\ntoken = \"{secret}\""), &[]).expect("good");
    assert!(!format!("{good:?}").contains("canary"), "{good:?}");
}

#[test]
fn the_token_of_systemd_is_used_where_no_other_is_set() {
    let folder = tempfile::tempdir().expect("a folder");
    let credential = folder.path().join("bank_token");
    let take = |text: &str| {
        let mut reading = reading(text, &[]);
        reading.add_credentials(Some(folder.path()));
        reading
    };
    assert!(
        Config::of(&take("")).bank.token_file.is_none(),
        "no such credential"
    );
    std::fs::write(&credential, "token").expect("written");
    let reading = take("");
    assert_eq!(Config::of(&reading).bank.token_file, Some(credential));
    assert_eq!(reading.origin("bank.token_file"), Some(&Origin::Credential));
    for text in ["[bank]\ntoken = \"a\"", "[bank]\ntoken_file = \"a\""] {
        let reading = take(text);
        assert!(!matches!(
            reading.origin("bank.token_file"),
            Some(Origin::Credential)
        ));
        assert!(Config::of(&reading).check(&reading, &[]).is_ok());
    }
}

#[test]
fn two_tokens_are_refused_because_nobody_can_tell_which_is_used() {
    let told = faults("[bank]\ntoken_file = \"t\"", &[("TANDA_BANK__TOKEN", "x")]);
    assert_eq!(
        told,
        [
            "bank.token and bank.token_file are both set: remove one, so that it is plain which \
             token is used: bank.token is set (not shown) (TANDA_BANK__TOKEN), bank.token_file is \
             t (tanda.toml:2)"
        ]
    );
}

#[test]
fn a_largest_amount_is_exact_and_fits_its_currency() {
    let config = from("[currency.COP]\nmax_amount = \"50000000.00\"", &[]).expect("good");
    let cop = config.currency.get("COP").expect("a currency");
    let max = cop.max_amount_of("COP").expect("an amount");
    assert_eq!(max.minor(), 5_000_000_000);
    for amount in [
        "\"0\"",
        "\"1.5\"",
        "\"99999999999999999999\"",
        "5000",
        "\"5.000,00\"",
    ] {
        let text = format!("[currency.COP]\nmax_amount = {amount}");
        let told = faults(&text, &[]);
        assert!(
            matches!(told.as_slice(), [one] if one.contains("currency.COP.max_amount")),
            "{amount}: {told:?}"
        );
    }
}

#[test]
fn i11_every_wait_and_number_at_once_has_a_bound() {
    for setting in [
        "concurrency = 0",
        "concurrency = 1025",
        "in_flight = 63",
        "in_flight = 65537",
        "rate_per_second = 0",
        "rate_per_second = 10001",
        "max_attempts = 0",
        "backoff_base_ms = 0",
        "backoff_base_ms = 86400001",
        "settle_delay_s = 0",
        "settle_delay_s = 86401",
        "probe_every_s = 0",
        "probe_every_s = 86401",
        "refusals_in_a_row = 10001",
        "drain_s = 30",
        "drain_s = 86401",
        "drain_s = 99999999999999999999",
        "drain_s = -1",
    ] {
        let told = faults(&format!("[engine]\n{setting}"), &[]);
        let (key, _) = setting.split_once(" =").expect("a key");
        assert!(
            matches!(told.as_slice(), [one] if one.contains(&format!("engine.{key} "))),
            "{setting}: {told:?}"
        );
    }
    assert!(from("[engine]\nconcurrency = 1024", &[]).is_ok());
}

#[test]
fn i8_no_resend_can_outlive_the_banks_memory_of_its_key() {
    for (window_s, timeout_s, is_good) in [
        (600, 30, true),
        (1_769, 30, true),
        (1_770, 30, false),
        (0, 1_800, false),
        (31_536_000, 30, false),
    ] {
        let text = format!(
            "[engine]\nresend_window_s = {window_s}\ndrain_s = 3600\n\
             [bank]\nrequest_timeout_s = {timeout_s}"
        );
        let read = from(&text, &[]);
        assert_eq!(
            read.is_ok(),
            is_good,
            "{window_s} and {timeout_s}: {read:?}"
        );
    }
}

#[test]
fn a_value_is_read_as_its_kind_and_nothing_else() {
    let whole = Kind::Whole { least: 1, most: 16 };
    for (written, good) in [
        (Written::Plain("16"), true),
        (Written::Plain(" 16"), false),
        (Written::Plain("1e1"), false),
        (Written::Plain(""), false),
        (Written::Text("16"), false),
        (Written::Whole(Some(17)), false),
        (Written::Whole(None), false),
        (Written::Other("float"), false),
    ] {
        assert_eq!(whole.read(written).is_ok(), good, "{written:?}");
    }
}

/// A good value of this setting.
fn any_value(setting: &'static Setting) -> BoxedStrategy<Value> {
    let texts = |texts: &'static [&'static str]| {
        prop::sample::select(texts).prop_map(|text| Value::String(text.to_owned()))
    };
    match (setting.kind, setting.name) {
        (Kind::Whole { least, most }, _) => (least..=most)
            .prop_map(|number| Value::Integer(i64::try_from(number).expect("in TOML")))
            .boxed(),
        (Kind::Switch, _) => any::<bool>().prop_map(Value::Boolean).boxed(),
        (Kind::Word(words), _) => texts(words).boxed(),
        (Kind::Text(_), "bank.base_url") => texts(&[
            "https://bank.example:8443/a",
            "http://127.0.0.1:1",
            "https://[::1]",
        ])
        .boxed(),
        (Kind::Text(_), "ledger.url") => texts(&["sqlite:a b.db", "sqlite:/ñ/\"'\\.db"]).boxed(),
        (Kind::Text(_), "metrics.listen") => texts(&["off", "127.0.0.1:0", "[::1]:9090"]).boxed(),
        (Kind::Text(_), "engine.namespace") => texts(&["a", "ñandú", "\"#=\\"]).boxed(),
        (Kind::Text(_), "currency.CODE.max_amount") => texts(&["1", "50000000", "0.01"]).boxed(),
        (Kind::Text(_), name) if name.ends_with("_exchange") || name.ends_with("_queue") => {
            texts(&["jobs", "ñ", "a\"b\\c'd#e"]).boxed()
        }
        (Kind::Text(_) | Kind::Secret, _) => {
            texts(&["x", "two words", "a\"b\\c'd#e", "ñ=1"]).boxed()
        }
    }
}

/// Some settings, each with a good value, the values of a currency among them.
fn any_settings() -> impl Strategy<Value = Vec<(String, Value)>> {
    let each: Vec<_> = SETTINGS
        .iter()
        .map(|setting| {
            let name = setting.name.replace(ANY_CURRENCY, "CLP");
            prop::option::of((Just(name), any_value(setting)))
        })
        .collect();
    each.prop_map(|settings| settings.into_iter().flatten().collect())
}

/// A configuration file that says this.
fn file_of(settings: &[(String, Value)]) -> String {
    let lines = settings.iter().map(|(name, value)| {
        // JSON's texts are among TOML's.
        let written = value.as_str().map_or_else(
            || plain(value),
            |text| serde_json::to_string(text).expect("a text"),
        );
        format!("{name} = {written}\n")
    });
    lines.collect()
}

fn values_of(reading: &Reading) -> Vec<(String, Value)> {
    let names = reading.names().into_iter();
    names
        .filter_map(|name| Some((name.clone(), reading.value(&name)?)))
        .collect()
}

proptest! {
    /// What is read, written as a file or as variables, and read again, is the same.
    #[test]
    fn a_configuration_reads_back_as_it_was_written(settings in any_settings()) {
        let read = reading(&file_of(&settings), &[]);
        prop_assert!(read.faults.is_empty(), "{:?}", read.faults);
        for (name, value) in &settings {
            prop_assert_eq!(read.value(name), Some(value.clone()), "{}", name);
        }
        let values = values_of(&read);
        let again = reading(&file_of(&values), &[]);
        prop_assert_eq!(values_of(&again), values.clone());
        let variables: Vec<_> = settings
            .iter()
            .map(|(name, value)| (variable_of(name), plain(value)))
            .collect();
        let variables: Vec<_> = variables
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        prop_assert_eq!(values_of(&reading("", &variables)), values);
        // Whatever the settings are to each other, they are used or refused with every reason.
        match from(&file_of(&settings), &[]) {
            Ok(config) => prop_assert!(config.settings(Ending::WhenDry).is_ok()),
            Err(error) => {
                let told = error.to_string();
                prop_assert!(told.lines().count() >= 2, "{}", told);
                prop_assert!(told.lines().skip(1).all(|line| line.len() > 10), "{}", told);
            }
        }
    }

    /// I12: wherever a secret is put by mistake, as a value of whatever type and however deep in
    /// others, and also in a file that is no TOML.
    #[test]
    fn i12_a_secret_shows_nowhere_however_deep_it_stands(
        secret in "[A-Za-z0-9]{12}S3CR3T",
        place in prop::sample::select(vec![
            "bank.token", "bank.tokn", "token", "amqp.url", "bank.base_url", "bank.token.inner",
            "bank.connect_timeout_s", "engine.fence", "currency.COP.max_amount", "log", "bnak.token",
            "a.b.c", "amqp.prefetch", "policy.one_person_run", "metrics.listen", "engine.namespace",
        ]),
        wraps in prop::collection::vec(0_usize..7, 0..5),
        cut in prop::option::of(any::<prop::sample::Index>()),
        url: bool,
    ) {
        let text = if url { format!("amqps://tanda:{secret}@host:5671/%2F") } else { secret.clone() };
        let value = wraps.into_iter().fold(format!("\"{text}\""), |inner, wrap| match wrap {
            0 => format!("[{inner}]"),
            1 => format!("{{ inner = {inner} }}"),
            2 => format!("[1, {inner}, true]"),
            3 => format!("{{ token = {inner}, token_file = \"\" }}"),
            4 => format!("{inner} {inner}"),
            5 => inner.replace('"', "'"),
            _ => format!("{inner} # {inner}"),
        });
        let mut file = format!("[log]\nlevel = \"warn\"\n[x]\n{place} = {value}\n");
        let whole = format!("{place} = {value}\n");
        if let Some(cut) = cut {
            let at = file.floor_char_boundary(cut.index(file.len()));
            file.truncate(at);
        }
        for (text, env) in [
            (file.as_str(), vec![]),
            (whole.as_str(), vec![]),
            ("", vec![(variable_of(place), value.clone())]),
        ] {
            let env: Vec<_> = env.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            let read = reading(text, &env);
            // What is no secret is shown: only where it was asked for is it one.
            let is_shown = |name: &str| !matches!(setting(name).map(|it| it.kind), Some(Kind::Secret));
            if setting(place).is_none_or(|_| !is_shown(place)) {
                let shown: Vec<_> = read.names().iter().map(|name| read.describe(name)).collect();
                let config = Config::of(&read);
                let checked = config.check(&read, &[]).map_or_else(|it| format!("{it:#}"), |()| String::new());
                let told = format!("{:?} {shown:?} {config:?} {checked}", read.faults);
                prop_assert!(!told.contains(&secret), "{}", told);
            }
        }
    }
}
