//! The house law, checked: what no compiler checks and every reader relies on.
//!
//! Each check is a function over the tree as text that returns what is wrong, where, why it is
//! wrong and what to do instead. The first test runs all of them over this tree; the others show on
//! small samples that each check bites.

#[path = "tidy/rows.rs"]
mod rows;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

/// One file: its path from the root of the project, with `/`, and its text.
type File = (String, String);

// ---- the law ----------------------------------------------------------------------------------

/// The rooms and their floors. A room imports only what is on a lower floor, or itself.
const FLOORS: &[(&str, u32)] = &[
    ("domain", 0),
    ("wire", 1),
    ("telemetry", 1),
    ("engine", 2),
    ("batch", 2),
    ("ledger", 3),
    ("amqp", 3),
    ("files", 3),
    ("bank", 3),
    ("simulator", 3),
    ("console", 3),
    ("app", 4),
];

/// Where a vendor crate may be named: in rooms, and in single files, which end in `.rs`.
struct Vendor {
    name: &'static str,
    rooms: &'static [&'static str],
    instead: &'static str,
}

const ANY_BUT_PURE: &[&str] = &[
    "telemetry",
    "engine",
    "batch",
    "ledger",
    "amqp",
    "files",
    "bank",
    "simulator",
    "console",
    "app",
];
const ANY: &[&str] = &[
    "domain",
    "wire",
    "telemetry",
    "engine",
    "batch",
    "ledger",
    "amqp",
    "files",
    "bank",
    "simulator",
    "console",
    "app",
];

/// One vendor crate, one room: then a change of vendor is a change of one room, and what a vendor
/// gets wrong is caught in one place.
const VENDORS: &[Vendor] = &[
    Vendor {
        name: "lapin",
        rooms: &["amqp"],
        instead: "RabbitMQ is reached through engine::ports, whose promises amqp keeps",
    },
    Vendor {
        name: "backon",
        rooms: &["amqp"],
        instead: "a job's own waits are domain::schedule's, because they must be repeatable",
    },
    Vendor {
        name: "futures_core",
        rooms: &["amqp"],
        instead: "streams are lapin's alone",
    },
    Vendor {
        name: "reqwest",
        rooms: &["bank"],
        instead: "the bank is called through engine::ports::Bank, whose timeouts and redirects are settled once",
    },
    Vendor {
        name: "rustls",
        rooms: &["bank"],
        instead: "one TLS stack, chosen once in bank",
    },
    Vendor {
        name: "httpdate",
        rooms: &["bank"],
        instead: "HTTP dates end in bank; take a domain::time::Timestamp",
    },
    Vendor {
        name: "rusqlite",
        rooms: &["ledger"],
        instead: "durable facts go through engine::ports::Ledger, which says what is true once a call returns",
    },
    Vendor {
        name: "rustix",
        rooms: &["ledger", "bank", "app/commands/drill/child.rs"],
        instead: "the ledger says how much room it has, the bank whose its token file is, and a drill stops what it started",
    },
    Vendor {
        name: "governor",
        rooms: &["engine"],
        instead: "calls take their turn in engine::pace, by the engine's own clock",
    },
    Vendor {
        name: "csv",
        rooms: &["files"],
        instead: "files reads and writes rows; it knows the traps (0x10 read as 16, a cut last line)",
    },
    Vendor {
        name: "tempfile",
        rooms: &["files", "app"],
        instead: "let files write whole files by rename",
    },
    Vendor {
        name: "axum",
        rooms: &["simulator", "console", "app/health.rs"],
        instead: "HTTP is served by simulator and console, and by app/health.rs to whoever watches the process",
    },
    Vendor {
        name: "prometheus",
        rooms: &["telemetry"],
        instead: "emit a struct of telemetry, which logs and counts together; telemetry::metrics gives the text",
    },
    Vendor {
        name: "sha2",
        rooms: &["domain"],
        instead: "use domain::digest: one hash, one way to join fields",
    },
    Vendor {
        name: "uuid",
        rooms: &["domain"],
        instead: "keys and event ids are derived in domain::key, never drawn",
    },
    Vendor {
        name: "jiff",
        rooms: &["domain"],
        instead: "use domain::time, which knows only UTC milliseconds and RFC 3339",
    },
    Vendor {
        name: "unicode_normalization",
        rooms: &["domain"],
        instead: "domain::job decides which spellings are one id",
    },
    Vendor {
        name: "clap",
        rooms: &["app"],
        instead: "argv is read in app; take a value",
    },
    Vendor {
        name: "clap_complete",
        rooms: &["app"],
        instead: "the command line is described in app",
    },
    Vendor {
        name: "clap_mangen",
        rooms: &["app"],
        instead: "the command line is described in app",
    },
    Vendor {
        name: "anyhow",
        rooms: &["app"],
        instead: "make a thiserror enum of the room: callers below app must be able to branch",
    },
    Vendor {
        name: "indicatif",
        rooms: &["app"],
        instead: "report progress as values; app draws them",
    },
    Vendor {
        name: "strsim",
        rooms: &["app"],
        instead: "what somebody misspelt is told to a person, in app",
    },
    Vendor {
        name: "toml",
        rooms: &["app"],
        instead: "settings are read in app and passed on as values",
    },
    Vendor {
        name: "tracing_subscriber",
        rooms: &["app"],
        instead: "app decides where logs go",
    },
    Vendor {
        name: "tracing",
        rooms: &["telemetry", "app"],
        instead: "emit a struct of telemetry, which logs and counts together; app only writes the lines",
    },
    Vendor {
        name: "secrecy",
        rooms: &["bank", "app"],
        instead: "a secret goes from app to the room that sends it and nowhere else (I12)",
    },
    Vendor {
        name: "serde",
        rooms: &["wire", "ledger", "simulator", "app"],
        instead: "shapes that strangers see live in wire; only a format of a room's own (ledger rows, the simulator's orders, settings) is derived in that room",
    },
    Vendor {
        name: "serde_json",
        rooms: &[
            "wire",
            "bank",
            "ledger",
            "amqp",
            "simulator",
            "console",
            "app",
        ],
        instead: "encode and decode in wire, or at the edge where the bytes come and go",
    },
    Vendor {
        name: "thiserror",
        rooms: ANY,
        instead: "",
    },
    Vendor {
        name: "async_trait",
        rooms: ANY_BUT_PURE,
        instead: "domain and wire are pure functions of values",
    },
    Vendor {
        name: "tokio",
        rooms: ANY_BUT_PURE,
        instead: "domain and wire are pure functions of values",
    },
];

/// What `domain` never says, and why. Words of the code, comments and strings apart.
const NOT_IN_DOMAIN: &[(&str, &str)] = &[
    (
        "async",
        "the rules are pure; await in the engine and pass the result as an event",
    ),
    (
        "await",
        "the rules are pure; await in the engine and pass the result as an event",
    ),
    (
        "SystemTime",
        "the time comes in as a Timestamp or a Moment, so that a seed replays",
    ),
    (
        "Instant",
        "the time comes in as a Moment, so that a seed replays",
    ),
    (
        "HashMap",
        "its order differs from run to run; use a BTreeMap, so that a seed replays",
    ),
    (
        "HashSet",
        "its order differs from run to run; use a BTreeSet, so that a seed replays",
    ),
];
const NOT_STD_IN_DOMAIN: &[&str] = &["fs", "net", "env", "process", "thread", "io"];

/// File names that say nothing: a homeless function is a missing noun.
const NAMELESS: &[&str] = &[
    "util", "utils", "common", "helper", "helpers", "misc", "shared",
];
/// A file longer than this holds more than one noun.
const FILE_LINES_MAX: usize = 700;
/// From here on a module says what it promises and what it refuses to know.
const MODULE_LINES_WITHOUT_PROMISE: usize = 60;
const PROMISE: &str = "What it promises";
const REFUSAL: &str = "What it refuses to know";
const ARCHITECTURE: &str = "ARCHITECTURE.md";
const CORRECTNESS: &str = "docs/correctness.md";
const ARCHITECTURE_LINES_MAX: usize = 250;
const INVARIANTS: u32 = 14;

/// The tree keeps the whole law.
#[test]
fn the_house_law_holds() {
    let tree = read_tree(Path::new(env!("CARGO_MANIFEST_DIR")));
    let faults = all_faults(&tree);
    assert!(
        faults.is_empty(),
        "\n{} faults against the house law:\n- {}\n",
        faults.len(),
        faults.join("\n- ")
    );
}

/// What a plain `cargo test` leaves out is not left out in silence.
#[cfg(not(feature = "crash-points"))]
#[test]
fn the_tests_that_need_hooks_were_built() {
    panic!(
        "tests/it and tests/broker were left out, because they need the hooks of src/engine/doors.rs, \
         which users do not get: cargo test --features crash-points, or scripts/test"
    );
}

fn all_faults(tree: &[File]) -> Vec<String> {
    let mut faults = Vec::new();
    for (path, text) in tree.iter().filter(|(path, _)| is_rust(path)) {
        faults.extend(nameless(path));
        faults.extend(leftovers(path, text));
        if path.starts_with("src/") {
            faults.extend(import_law(path, text));
            faults.extend(vendor_rooms(path, text));
            faults.extend(pure_domain(path, text));
            faults.extend(floats(path, text));
            faults.extend(sql_from_values(path, text));
            faults.extend(module_docs(path, text));
            faults.extend(length(path, text));
        }
        faults.extend(sleeping_tests(path, text));
        faults.extend(hooks_for_users(path, text));
    }
    faults.extend(hooks_by_default(tree));
    faults.extend(vendors_without_a_room(tree));
    faults.extend(invariants(tree));
    faults.extend(claims(tree));
    faults
}

fn read_tree(root: &Path) -> Vec<File> {
    let mut tree = Vec::new();
    for name in [
        "src",
        "tests",
        "benches",
        ARCHITECTURE,
        CORRECTNESS,
        "Cargo.toml",
    ] {
        read_into(root, &root.join(name), &mut tree);
    }
    tree.sort();
    tree
}

fn read_into(root: &Path, path: &Path, tree: &mut Vec<File>) {
    if path.is_dir() {
        let entries = fs::read_dir(path).expect("a folder of the tree can be listed");
        for entry in entries {
            let entry = entry.expect("an entry of the tree can be read");
            read_into(root, &entry.path(), tree);
        }
    } else if path
        .extension()
        .is_some_and(|kind| kind == "rs" || kind == "md" || kind == "toml")
        && path.exists()
    {
        let text = fs::read_to_string(path).expect("a file of the tree is UTF-8");
        let inside = path.strip_prefix(root).expect("the walk begins at root");
        tree.push((
            inside.to_string_lossy().replace('\\', "/"),
            text.replace('\r', ""),
        ));
    }
}

fn is_rust(path: &str) -> bool {
    Path::new(path)
        .extension()
        .is_some_and(|kind| kind.eq_ignore_ascii_case("rs"))
}

/// The room of a file in `src`; none for `main.rs` and `lib.rs`.
fn room(path: &str) -> Option<&str> {
    let inside = path.strip_prefix("src/")?;
    match inside.split_once('/') {
        Some((room, _)) => Some(room),
        None => inside
            .strip_suffix(".rs")
            .filter(|name| *name != "main" && *name != "lib"),
    }
}

fn floor(room: &str) -> Option<u32> {
    FLOORS
        .iter()
        .find(|(name, _)| *name == room)
        .map(|&(_, floor)| floor)
}

// ---- the checks -------------------------------------------------------------------------------

fn import_law(path: &str, text: &str) -> Vec<String> {
    let tokens = tokens(text);
    let mut faults = Vec::new();
    if path == "src/main.rs" {
        for (line, used) in children_of(&tokens, "tanda") {
            if used != "app" {
                faults.push(format!(
                    "{path}:{line} uses tanda::{used}: main turns argv into a call of tanda::app and nothing else"
                ));
            }
        }
        return faults;
    }
    let Some(here) = room(path) else {
        return faults;
    };
    let Some(own) = floor(here) else {
        faults.push(format!(
            "{path}: the room `{here}` stands on no floor; give it one in tests/tidy.rs and ARCHITECTURE.md, or find the room this belongs to"
        ));
        return faults;
    };
    for (line, used) in rooms_used(path, &tokens) {
        match floor(&used) {
            _ if used == here => {}
            Some(theirs) if theirs < own => {}
            Some(theirs) => faults.push(format!(
                "{path}:{line} uses crate::{used}: `{here}` (floor {own}) may use only floors below it, and `{used}` is on floor {theirs}; let the higher room pass a value down, or meet in app"
            )),
            None => faults.push(format!(
                "{path}:{line} uses crate::{used}, which is no room: name the room it lives in"
            )),
        }
    }
    faults
}

fn vendor_rooms(path: &str, text: &str) -> Vec<String> {
    let here = room(path).unwrap_or("the root");
    let tokens = without_tests(&tokens(text));
    let mut faults = Vec::new();
    if path.ends_with("_tests.rs") {
        return faults;
    }
    for vendor in VENDORS {
        let file = path.strip_prefix("src/").unwrap_or(path);
        if vendor.rooms.contains(&here) || vendor.rooms.contains(&file) {
            continue;
        }
        if let Some(line) = names_crate(&tokens, vendor.name) {
            let allowed = vendor.rooms.join(", ");
            faults.push(format!(
                "{path}:{line} names the crate `{}`, which belongs to {allowed}: {}",
                vendor.name, vendor.instead
            ));
        }
    }
    faults
}

fn vendors_without_a_room(tree: &[File]) -> Vec<String> {
    let Some((_, manifest)) = tree.iter().find(|(path, _)| path == "Cargo.toml") else {
        return vec!["Cargo.toml is missing".to_owned()];
    };
    let mut faults = Vec::new();
    let mut within = false;
    for line in manifest.lines() {
        if line.starts_with('[') {
            within = line == "[dependencies]";
        } else if let Some((name, _)) = line.split_once(['=', '.']).filter(|_| within) {
            let name = name.trim().replace('-', "_");
            if !name.starts_with('#') && !VENDORS.iter().any(|vendor| vendor.name == name) {
                faults.push(format!(
                    "Cargo.toml: the crate `{name}` has no room; say in tests/tidy.rs which room may name it, and in the commit why it is needed"
                ));
            }
        }
    }
    faults
}

fn pure_domain(path: &str, text: &str) -> Vec<String> {
    if room(path) != Some("domain") {
        return Vec::new();
    }
    let tokens = tokens(text);
    let mut faults = Vec::new();
    for token in &tokens {
        if let Some((word, reason)) = NOT_IN_DOMAIN.iter().find(|(word, _)| *word == token.text) {
            faults.push(format!(
                "{path}:{} says `{word}` in domain: {reason}",
                token.line
            ));
        }
    }
    for (line, used) in children_of(&tokens, "std") {
        if NOT_STD_IN_DOMAIN.contains(&used.as_str()) {
            faults.push(format!(
                "{path}:{line} uses std::{used} in domain: the rules touch nothing outside; take a value"
            ));
        }
    }
    faults
}

fn floats(path: &str, text: &str) -> Vec<String> {
    if matches!(room(path), Some("telemetry" | "app")) {
        return Vec::new();
    }
    tokens(text)
        .iter()
        .filter(|token| token.text == "f32" || token.text == "f64")
        .map(|token| {
            format!(
                "{path}:{} says {}: money is an integer of minor units and a rate is parts per thousand; only telemetry and app may round, for display",
                token.line, token.text
            )
        })
        .collect()
}

/// S23: values come into a query as parameters. What is put together of a query is constants, named in
/// capitals, and the names of tables.
fn sql_from_values(path: &str, text: &str) -> Vec<String> {
    const VERBS: [&str; 5] = ["SELECT ", "INSERT ", "UPDATE ", "DELETE ", " FROM "];
    const NAMES: [&str; 4] = ["table", "order", "letters", "place"];
    // There every part is `&'static str`, so that the compiler sees to it.
    const OF_STATIC_WORDS: &str = "src/ledger/sqlite/checksum.rs";
    if room(path) != Some("ledger") || path == OF_STATIC_WORDS {
        return Vec::new();
    }
    let mut faults = Vec::new();
    for (index, call) in text.match_indices("format!(") {
        let rest = text.get(index + call.len()..).unwrap_or_default();
        let Some(opening) = rest.find('"').filter(|at| rest[..*at].trim().is_empty()) else {
            continue;
        };
        let inside = rest.get(opening + 1..).unwrap_or_default();
        let query = inside.get(..until_quote(inside, '"')).unwrap_or_default();
        if !VERBS.iter().any(|verb| query.contains(verb)) {
            continue;
        }
        for part in query.split('{').skip(1) {
            let name = part.split('}').next().unwrap_or_default();
            let is_constant = |c: char| c.is_ascii_uppercase() || c == '_';
            if name.is_empty() || !(name.chars().all(is_constant) || NAMES.contains(&name)) {
                let line = text.get(..index).unwrap_or_default().lines().count();
                faults.push(format!(
                    "{path}:{line} puts `{name}` into a query: bind it as a parameter, so that no text of a stranger is ever SQL"
                ));
            }
        }
    }
    faults
}

fn module_docs(path: &str, text: &str) -> Vec<String> {
    let mut faults = Vec::new();
    let is_crate_doc = path == "src/lib.rs" && text.starts_with("#![doc = include_str!");
    if !text.starts_with("//!") && !is_crate_doc {
        faults.push(format!(
            "{path} does not open with `//!`: the first line says what the module is"
        ));
    }
    let is_root = path == "src/lib.rs" || path == "src/main.rs";
    let long = text.lines().count() >= MODULE_LINES_WITHOUT_PROMISE;
    if is_root || path.ends_with("_tests.rs") || !(long || path.ends_with("/mod.rs")) {
        return faults;
    }
    let doc: String = text
        .lines()
        .take_while(|line| line.starts_with("//!"))
        .collect();
    for part in [PROMISE, REFUSAL] {
        if !doc.contains(part) {
            faults.push(format!(
                "{path}: its module doc lacks \"{part}\": a reader must know what to rely on and where to look for the rest"
            ));
        }
    }
    faults
}

fn nameless(path: &str) -> Option<String> {
    let stem = Path::new(path).file_stem()?.to_str()?;
    let folder = path.rsplit('/').nth(1).unwrap_or_default();
    [stem, folder]
        .into_iter()
        .find(|name| NAMELESS.contains(name))
        .map(|name| {
            format!("{path}: `{name}` says nothing; name the noun that these functions serve")
        })
}

fn leftovers(path: &str, text: &str) -> Vec<String> {
    // Written in halves, so that this file does not find itself.
    let banned = [
        (
            ["TO", "DO"].concat(),
            "decide it now, or write it down where work is planned",
        ),
        (
            ["FIX", "ME"].concat(),
            "fix it, with a test that fails without the fix",
        ),
        (
            ["todo", "!("].concat(),
            "what is not written must not compile",
        ),
        (
            ["unimpl", "emented!("].concat(),
            "what is not written must not compile",
        ),
        (
            ["#[ign", "ore"].concat(),
            "a test that does not run proves nothing; make it run or remove it",
        ),
    ];
    let mut faults = Vec::new();
    for (number, line) in text.lines().enumerate() {
        for (word, reason) in &banned {
            if line.contains(word.as_str()) {
                faults.push(format!("{path}:{} has `{word}`: {reason}", number + 1));
            }
        }
    }
    faults
}

fn length(path: &str, text: &str) -> Option<String> {
    let lines = text.lines().count();
    let exempt = path.ends_with("_tests.rs");
    (lines > FILE_LINES_MAX && !exempt).then(|| {
        format!("{path} has {lines} lines (at most {FILE_LINES_MAX}): it holds more than one noun; move one out, or its tests to a sibling _tests.rs")
    })
}

fn sleeping_tests(path: &str, text: &str) -> Vec<String> {
    let tokens = tokens(text);
    let whole_file = path.starts_with("tests/") || path.ends_with("_tests.rs");
    let mut faults = Vec::new();
    let inside = test_spans(&tokens);
    for (index, window) in tokens.windows(4).enumerate() {
        let [module, colon, other, call] = window else {
            continue;
        };
        let sleeps = (module.text == "thread" || module.text == "time")
            && colon.text == ":"
            && other.text == ":"
            && call.text == "sleep";
        if sleeps && (whole_file || inside.iter().any(|span| span.contains(&index))) {
            faults.push(format!(
                "{path}:{} sleeps in a test: it is slow and still guesses; wait for the event, or advance a paused clock",
                call.line
            ));
        }
    }
    faults
}

/// What only builds for tests have: the feature, and the words that nothing else in the house may say.
const HOOKS: &str = "crash-points";
const HOOK_WORDS: &[&str] = &["mod doors;", "engine::doors", "app::crash", "TANDA_CRASH_"];
/// The files that are there with the feature alone, and those that let them in.
const HOOK_FILES: &[&str] = &[
    "src/engine/doors.rs",
    "src/engine/doors/",
    "src/engine/doors_tests.rs",
    "src/app/crash.rs",
];

/// A process that users run cannot be told to crash: whatever names the hooks is compiled only with them.
fn hooks_for_users(path: &str, text: &str) -> Vec<String> {
    let is_hook = HOOK_FILES.iter().any(|file| path.starts_with(file));
    if !path.starts_with("src/") || is_hook {
        return Vec::new();
    }
    let gate = format!("#[cfg(feature = \"{HOOKS}\")]");
    let mut faults = Vec::new();
    let mut before = "";
    for (number, line) in text.lines().enumerate() {
        let code = line.split("//").next().unwrap_or_default();
        let says = |word: &&&str| code.contains(**word);
        if let Some(word) = HOOK_WORDS.iter().find(says)
            && before.trim() != gate
        {
            faults.push(format!(
                "{path}:{} says `{word}`, which only builds for tests may: write {gate} before it",
                number + 1
            ));
        }
        before = line;
    }
    faults
}

/// Nor does a build have them that does not ask for them, by whatever features that is.
fn hooks_by_default(tree: &[File]) -> Option<String> {
    let (_, manifest) = tree.iter().find(|(path, _)| path == "Cargo.toml")?;
    let manifest: toml::Table = match manifest.parse() {
        Ok(manifest) => manifest,
        Err(error) => return Some(format!("Cargo.toml cannot be read: {error}")),
    };
    let features = manifest.get("features").and_then(toml::Value::as_table)?;
    let mut on = BTreeSet::new();
    let mut next = vec!["default"];
    while let Some(feature) = next.pop() {
        if on.insert(feature) {
            let implied = features.get(feature).and_then(toml::Value::as_array);
            let implied = implied.into_iter().flatten();
            next.extend(implied.filter_map(toml::Value::as_str));
        }
    }
    on.contains(HOOKS).then(|| {
        format!("Cargo.toml: {HOOKS} is on by default: what users get must have no hook in it")
    })
}

/// Every invariant in `ARCHITECTURE.md` names a test that exists, or the part of the house that
/// will bring one, accepted only while that part does not exist.
fn invariants(tree: &[File]) -> Vec<String> {
    let Some((_, text)) = tree.iter().find(|(path, _)| path == ARCHITECTURE) else {
        return vec![format!(
            "{ARCHITECTURE} is missing: it lists the invariants I1 to I{INVARIANTS}, each with the tests that guard it"
        )];
    };
    let mut faults = Vec::new();
    let lines = text.lines().count();
    if lines > ARCHITECTURE_LINES_MAX {
        faults.push(format!(
            "{ARCHITECTURE} has {lines} lines (at most {ARCHITECTURE_LINES_MAX}): it is to be read in one sitting"
        ));
    }
    let tests = test_names(tree);
    for number in 1..=INVARIANTS {
        match invariant_entry(text, number) {
            None => faults.push(format!(
                "{ARCHITECTURE} has no line for I{number}: write \"- **I{number}** … — `name_of_a_test`\""
            )),
            Some(entry) => faults.extend(
                invariant_fault(&entry, &tests, tree)
                    .map(|fault| format!("{ARCHITECTURE}: I{number} {fault}")),
            ),
        }
    }
    faults
}

/// The list item of an invariant, joined to one line.
fn invariant_entry(text: &str, number: u32) -> Option<String> {
    let opening = format!("**I{number}**");
    let mut lines = text
        .lines()
        .skip_while(|line| !line.trim_start_matches(['-', ' ']).starts_with(&opening));
    let mut entry = lines.next()?.to_owned();
    for line in lines.take_while(|line| line.starts_with(' ') && !line.trim().is_empty()) {
        write!(entry, " {}", line.trim()).expect("a String takes every text");
    }
    Some(entry)
}

fn invariant_fault(entry: &str, tests: &BTreeSet<String>, tree: &[File]) -> Option<String> {
    let Some((_, guards)) = entry.rsplit_once(" — ") else {
        return Some("names no test: end its line with \" — `name_of_a_test`\"".to_owned());
    };
    let names: Vec<&str> = guards.split('`').skip(1).step_by(2).collect();
    if names.is_empty() {
        return Some("names no test after the dash, in back quotes".to_owned());
    }
    if guards.starts_with("owed by ") {
        return names.iter().find_map(|owing| {
            let built = tree.iter().any(|(path, _)| {
                path.strip_prefix(owing)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            });
            built.then(|| {
                format!(
                    "is owed a test by `{owing}`, which has been built: write the test and name it"
                )
            })
        });
    }
    names
        .iter()
        .find(|name| !tests.contains(**name))
        .map(|name| format!("names the test `{name}`, which does not exist: an invariant without a test is a wish"))
}

/// Every claim of `docs/correctness.md` is a row of a table whose last cell names a test that exists.
fn claims(tree: &[File]) -> Vec<String> {
    let Some((_, text)) = tree.iter().find(|(path, _)| path == CORRECTNESS) else {
        return vec![format!(
            "{CORRECTNESS} does not exist: say why a payment moves once"
        )];
    };
    let tests = test_names(tree);
    let mut faults = Vec::new();
    let mut is_head = true;
    for line in text.lines() {
        if !line.starts_with('|') {
            is_head = true;
            continue;
        }
        let is_claim = !is_head && !line.starts_with("|---");
        is_head = false;
        if !is_claim {
            continue;
        }
        let cell = line.trim_end_matches('|').rsplit('|').next();
        let named: Vec<&str> = cell
            .unwrap_or_default()
            .split('`')
            .skip(1)
            .step_by(2)
            .collect();
        if named.is_empty() {
            faults.push(format!("{CORRECTNESS}: no test is named in: {line}"));
        }
        let unknown = named.into_iter().filter(|name| !tests.contains(*name));
        faults.extend(unknown.map(|name| {
            format!("{CORRECTNESS} names the test `{name}`, which does not exist: name the one that shows the claim")
        }));
        // In brackets: who breaks the rule in that test.
        let breakers = cell.unwrap_or_default().split('(').skip(1);
        let breakers = breakers.filter_map(|rest| rest.split(')').next());
        let is_known = |name: &str| {
            let mut worlds = tree
                .iter()
                .filter(|(path, _)| path.starts_with("tests/sim/"));
            worlds.any(|(_, text)| text.contains(&format!("Self::{name},")))
        };
        let unknown = breakers.filter(|name| !is_known(name));
        faults.extend(unknown.map(|name| {
            format!("{CORRECTNESS} names `{name}`, which no seeded world knows: name who breaks the rule")
        }));
    }
    faults
}

fn test_names(tree: &[File]) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for (_, text) in tree.iter().filter(|(path, _)| is_rust(path)) {
        let mut is_test = false;
        for line in code_of(text).lines().map(str::trim) {
            if line.starts_with("#[") {
                is_test |= line.starts_with("#[test]") || line.starts_with("#[tokio::test");
                continue;
            }
            let name = line
                .split_once("fn ")
                .filter(|(before, _)| matches!(before.trim(), "" | "async" | "pub" | "pub(crate)"))
                .and_then(|(_, rest)| rest.split(['(', '<']).next());
            match name {
                Some(name) if is_test => {
                    names.insert(name.trim().to_owned());
                    is_test = false;
                }
                _ if line.is_empty() => {}
                _ => is_test = false,
            }
        }
    }
    names
}

// ---- reading Rust -----------------------------------------------------------------------------

#[derive(Clone, Debug, PartialEq, Eq)]
struct Token {
    text: String,
    line: usize,
}

/// The words and signs of the code, without comments and without the insides of literals.
fn tokens(text: &str) -> Vec<Token> {
    let mut tokens: Vec<Token> = Vec::new();
    for (number, line) in code_of(text).lines().enumerate() {
        let mut word = String::new();
        for character in line.chars().chain([' ']) {
            if character.is_alphanumeric() || character == '_' {
                word.push(character);
                continue;
            }
            for text in [std::mem::take(&mut word), character.to_string()] {
                if !text.trim().is_empty() {
                    let line = number + 1;
                    tokens.push(Token { text, line });
                }
            }
        }
    }
    tokens
}

/// The text with comments and the insides of literals blanked; lines stay where they are.
fn code_of(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let skip = literal_or_comment(rest, code.chars().last());
        if skip == 0 {
            code.push(first);
            rest = rest.get(first.len_utf8()..).unwrap_or_default();
            continue;
        }
        let (skipped, after) = rest.split_at_checked(skip).unwrap_or((rest, ""));
        code.push(' ');
        code.extend(skipped.chars().filter(|c| *c == '\n'));
        rest = after;
    }
    code
}

/// How many bytes of a comment or literal stand at the start of this text; 0 for anything else.
fn literal_or_comment(text: &str, before: Option<char>) -> usize {
    if text.starts_with("//") {
        return text.find('\n').unwrap_or(text.len());
    }
    if text.starts_with("/*") {
        return block_comment(text);
    }
    if let Some(inside) = text.strip_prefix('"') {
        return 1 + until_quote(inside, '"');
    }
    let in_word = before.is_some_and(|c| c.is_alphanumeric() || c == '_');
    let raw = text.strip_prefix("br").or_else(|| text.strip_prefix('r'));
    if let Some(raw) = raw.filter(|_| !in_word) {
        let hashes = raw.bytes().take_while(|byte| *byte == b'#').count();
        if raw.get(hashes..).is_some_and(|at| at.starts_with('"')) {
            let opening = text.len() - raw.len() + hashes + 1;
            let closing = format!("\"{}", "#".repeat(hashes));
            let inside = text.get(opening..).unwrap_or_default();
            return inside
                .find(&closing)
                .map_or(text.len(), |end| opening + end + closing.len());
        }
    }
    if let Some(inside) = text.strip_prefix('\'') {
        let mut characters = inside.chars();
        let is_char = match characters.next() {
            Some('\\') => true,
            Some(_) => characters.next() == Some('\''),
            None => false,
        };
        if is_char {
            return 1 + until_quote(inside, '\'');
        }
    }
    0
}

fn until_quote(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (index, character) in text.char_indices() {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if character == quote => return index + 1,
            _ => {}
        }
    }
    text.len()
}

fn block_comment(text: &str) -> usize {
    let mut depth = 0_u32;
    let mut index = 0;
    while let Some(rest) = text.get(index..).filter(|rest| !rest.is_empty()) {
        if rest.starts_with("/*") {
            depth += 1;
            index += 2;
        } else if rest.starts_with("*/") {
            depth -= 1;
            index += 2;
            if depth == 0 {
                return index;
            }
        } else {
            index += rest.chars().next().map_or(1, char::len_utf8);
        }
    }
    text.len()
}

fn is_path_separator(tokens: &[Token], at: usize) -> bool {
    let is_colon = |index: usize| tokens.get(index).is_some_and(|token| token.text == ":");
    is_colon(at) && is_colon(at + 1)
}

/// Whether the word at this index begins a path, rather than going on with one. A path may open
/// with `::`.
fn begins_path(tokens: &[Token], at: usize) -> bool {
    if at < 2 || !is_path_separator(tokens, at - 2) {
        return true;
    }
    let before = at.checked_sub(3).and_then(|index| tokens.get(index));
    let last = before.and_then(|token| token.text.chars().last());
    !last.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == '>')
}

/// The first names after `::` at this index: one, or each of a group in braces.
fn names_at(tokens: &[Token], at: usize) -> Vec<(usize, String)> {
    let mut names = Vec::new();
    let mut depth = 0_u32;
    let mut expects_name = true;
    for token in tokens.iter().skip(at) {
        match token.text.as_str() {
            "{" => depth += 1,
            "}" if depth <= 1 => return names,
            "}" => depth -= 1,
            "," if depth == 1 => expects_name = true,
            ":" | "," | "*" => {}
            text if expects_name => {
                names.push((token.line, text.to_owned()));
                expects_name = false;
                if depth == 0 {
                    return names;
                }
            }
            _ => {}
        }
        if depth == 0 && token.text != ":" {
            return names;
        }
    }
    names
}

/// What is used directly below this root: `root::name` and `root::{name, …}`.
fn children_of(tokens: &[Token], root: &str) -> Vec<(usize, String)> {
    let mut used = Vec::new();
    for (index, token) in tokens.iter().enumerate() {
        if token.text == root && begins_path(tokens, index) && is_path_separator(tokens, index + 1)
        {
            used.extend(names_at(tokens, index + 3));
        }
    }
    used
}

fn names_crate(tokens: &[Token], name: &str) -> Option<usize> {
    tokens.iter().enumerate().find_map(|(index, token)| {
        let used = index > 0
            && tokens
                .get(index - 1)
                .is_some_and(|before| before.text == "use");
        let here = token.text == name
            && begins_path(tokens, index)
            && (used || is_path_separator(tokens, index + 1));
        here.then_some(token.line)
    })
}

/// The rooms that a file uses, through `crate::` or by climbing out with `super::`.
fn rooms_used(path: &str, tokens: &[Token]) -> Vec<(usize, String)> {
    let mut used = children_of(tokens, "crate");
    let file = module_path(path);
    let mut inline: Vec<(String, u32)> = Vec::new();
    let mut depth = 0_u32;
    let text = |index: usize| tokens.get(index).map(|token| token.text.as_str());
    for (index, token) in tokens.iter().enumerate() {
        match token.text.as_str() {
            "{" => {
                depth += 1;
                if let (Some("mod"), Some(name)) =
                    (index.checked_sub(2).and_then(text), text(index - 1))
                {
                    inline.push((name.to_owned(), depth));
                }
            }
            "}" => {
                if inline.last().is_some_and(|(_, at)| *at == depth) {
                    inline.pop();
                }
                depth = depth.saturating_sub(1);
            }
            "super" if begins_path(tokens, index) => {
                let mut at = index;
                let mut climbed = 0;
                while text(at) == Some("super") && is_path_separator(tokens, at + 1) {
                    climbed += 1;
                    at += 3;
                }
                if climbed >= file.len() + inline.len() {
                    used.extend(names_at(tokens, at));
                }
            }
            _ => {}
        }
    }
    used
}

/// The modules that a file stands in: `src/wire/bank.rs` is `wire`, `bank`.
fn module_path(path: &str) -> Vec<&str> {
    let inside = path.trim_start_matches("src/").trim_end_matches(".rs");
    let mut modules: Vec<&str> = inside.split('/').collect();
    if modules.last() == Some(&"mod") {
        modules.pop();
    }
    if let Some(parent) = modules.last().and_then(|last| last.strip_suffix("_tests")) {
        modules.pop();
        modules.extend([parent, "tests"]);
    }
    modules
}

/// The token ranges of modules under `#[cfg(test)]`.
fn test_spans(tokens: &[Token]) -> Vec<std::ops::Range<usize>> {
    let mut spans = Vec::new();
    let words: Vec<&str> = tokens.iter().map(|token| token.text.as_str()).collect();
    for (start, window) in words.windows(7).enumerate() {
        if window != ["#", "[", "cfg", "(", "test", ")", "]"] {
            continue;
        }
        let mut depth = 0_u32;
        let mut end = words.len();
        for (index, word) in words.iter().enumerate().skip(start + 7) {
            match *word {
                "{" => depth += 1,
                "}" => depth = depth.saturating_sub(1),
                ";" if depth == 0 => {}
                _ => continue,
            }
            if depth == 0 {
                end = index + 1;
                break;
            }
        }
        spans.push(start..end);
    }
    spans
}

fn without_tests(tokens: &[Token]) -> Vec<Token> {
    let spans = test_spans(tokens);
    let in_test = |index| spans.iter().any(|span| span.contains(&index));
    let kept = tokens.iter().enumerate();
    kept.filter(|(index, _)| !in_test(*index))
        .map(|(_, token)| token.clone())
        .collect()
}

// ---- each check bites -------------------------------------------------------------------------

#[test]
fn a_room_may_look_down_but_neither_up_nor_sideways() {
    let faults = |path: &str, text: &str| import_law(path, text).len();
    assert_eq!(
        faults("src/bank/a.rs", "use crate::engine::ports::Bank;"),
        0
    );
    assert_eq!(faults("src/bank/a.rs", "use crate::bank::client;"), 0);
    assert_eq!(faults("src/bank/a.rs", "use crate::ledger::Sqlite;"), 1);
    assert_eq!(
        faults("src/engine/a.rs", "fn f() { crate::app::run(); }"),
        1
    );
    assert_eq!(
        faults("src/domain/a.rs", "use crate::{wire::X, domain::job};"),
        1
    );
    assert_eq!(
        faults("src/domain/a.rs", "use crate::{domain::{job, key}, wire};"),
        1
    );
    assert_eq!(
        faults(
            "src/domain/a.rs",
            "// use crate::wire;\nconst A: &str = \"crate::wire\";"
        ),
        0
    );
    assert_eq!(faults("src/nowhere/a.rs", "//! A room without a floor."), 1);
    assert_eq!(faults("src/bank/a.rs", "use crate::surprise::X;"), 1);
}

#[test]
fn climbing_out_with_super_is_seen() {
    let faults = |path: &str, text: &str| import_law(path, text).len();
    assert_eq!(faults("src/bank/a.rs", "use super::super::ledger::X;"), 1);
    assert_eq!(faults("src/bank/a.rs", "use super::classify;"), 0);
    assert_eq!(faults("src/bank/mod.rs", "use super::{domain, ledger};"), 1);
    let inline = "mod tests { use super::super::classify; use super::super::super::ledger; }";
    assert_eq!(faults("src/bank/a.rs", inline), 1);
    assert_eq!(
        faults(
            "src/domain/progress_tests.rs",
            "use super::super::job::EntityId;"
        ),
        0
    );
}

#[test]
fn main_may_use_only_the_app() {
    assert!(import_law("src/main.rs", "fn main() { tanda::app::main() }").is_empty());
    assert_eq!(
        import_law("src/main.rs", "use tanda::{app, ledger};").len(),
        1
    );
}

#[test]
fn a_vendor_crate_stays_in_its_room() {
    let faults = |path: &str, text: &str| vendor_rooms(path, text);
    assert!(faults("src/bank/a.rs", "use reqwest::Client;").is_empty());
    let found = faults("src/engine/a.rs", "use reqwest::Client;");
    assert!(
        found
            .iter()
            .any(|fault| fault.contains("engine::ports::Bank")),
        "{found:?}"
    );
    assert_eq!(
        faults("src/wire/a.rs", "fn f() { ::tokio::spawn(x) }").len(),
        1
    );
    assert_eq!(faults("src/app/a.rs", "use rusqlite as sql;").len(), 1);
    assert!(faults("src/app/health.rs", "use axum::Router;").is_empty());
    assert_eq!(faults("src/app/cli.rs", "use axum::Router;").len(), 1);
    assert!(faults("src/app/a.rs", "use crate::files::csv::Row;").is_empty());
    let in_tests = "#[cfg(test)]\nmod tests { use tempfile::tempdir; }";
    assert!(faults("src/ledger/a.rs", in_tests).is_empty());
    let after_tests = "#[cfg(test)]\nmod tests;\nuse tempfile::tempdir;";
    assert_eq!(faults("src/ledger/a.rs", after_tests).len(), 1);
}

#[test]
fn every_dependency_has_a_room() {
    let manifest = |text: &str| vec![("Cargo.toml".to_owned(), text.to_owned())];
    let known = "[dependencies]\nserde_json = \"1\"\nasync-trait.workspace = true\n[dev-dependencies]\ninsta = \"1\"\n";
    assert!(vendors_without_a_room(&manifest(known)).is_empty());
    let unknown = "[dependencies]\nleft-pad = \"1\"\n";
    assert_eq!(vendors_without_a_room(&manifest(unknown)).len(), 1);
}

#[test]
fn the_domain_stays_pure() {
    for text in [
        "async fn f() {}",
        "use std::fs;",
        "use std::{fmt, net::IpAddr};",
        "fn f() { std::env::var(\"A\"); }",
        "use std::time::SystemTime;",
        "fn f() { Instant::now(); }",
        "use std::collections::HashMap;",
    ] {
        assert_eq!(pure_domain("src/domain/a.rs", text).len(), 1, "{text}");
        assert!(pure_domain("src/engine/a.rs", text).is_empty(), "{text}");
    }
    assert!(
        pure_domain(
            "src/domain/a.rs",
            "//! No async, no std::fs.\nuse std::fmt;"
        )
        .is_empty()
    );
}

#[test]
fn money_never_floats() {
    assert_eq!(floats("src/domain/a.rs", "fn f(amount: f64) {}").len(), 1);
    assert_eq!(floats("src/files/a.rs", "let x = y as f32;").len(), 1);
    assert!(floats("src/app/a.rs", "let share: f64 = 0.5;").is_empty());
}

#[test]
fn s23_a_value_in_a_query_is_found() {
    let faults = |text: &str| sql_from_values("src/ledger/a.rs", text).len();
    assert_eq!(
        faults("let q = format!(\"SELECT * FROM jobs WHERE id = '{id}'\");"),
        1
    );
    assert_eq!(faults("format!(\n  \"SELECT {} {KNOWN}\", id)"), 1);
    assert_eq!(faults("format!(\"{} rows\", n)"), 0);
    assert_eq!(faults("format!(\"SELECT 1 {TO_BE_TOLD} AND id = ?1\")"), 0);
    assert_eq!(
        faults("format!(\"SELECT id FROM {table} WHERE id > ?1\")"),
        0
    );
    assert!(sql_from_values("src/app/a.rs", "format!(\"SELECT {id}\")").is_empty());
}

#[test]
fn modules_say_what_they_promise() {
    assert_eq!(module_docs("src/bank/a.rs", "use x;\n").len(), 1);
    assert!(module_docs("src/bank/a.rs", "//! A short one.\n").is_empty());
    assert_eq!(module_docs("src/bank/mod.rs", "//! A room.\n").len(), 2);
    let long = format!(
        "//! Long.\n//! *What it promises.* All.\n{}",
        "\n".repeat(60)
    );
    assert_eq!(module_docs("src/bank/a.rs", &long).len(), 1);
    let too_late = format!(
        "//! Long.\n{}//! What it promises. What it refuses to know.",
        "\n".repeat(60)
    );
    assert_eq!(module_docs("src/bank/a.rs", &too_late).len(), 2);
}

#[test]
fn leftovers_are_found() {
    for text in [
        ["// TO", "DO later"].concat(),
        ["// FIX", "ME"].concat(),
        ["todo", "!()"].concat(),
        ["unimpl", "emented!()"].concat(),
        ["#[ign", "ore = \"slow\"]"].concat(),
    ] {
        assert_eq!(leftovers("tests/it/a.rs", &text).len(), 1, "{text}");
    }
    assert!(leftovers("src/a.rs", "let method = \"todos\";").is_empty());
}

#[test]
fn files_have_names_and_an_end() {
    assert!(nameless("src/engine/util.rs").is_some());
    assert!(nameless("tests/it/common/mod.rs").is_some());
    assert!(nameless("tests/it/support/mod.rs").is_none());
    assert!(length("src/a.rs", &"\n".repeat(FILE_LINES_MAX + 1)).is_some());
    assert!(length("src/a_tests.rs", &"\n".repeat(FILE_LINES_MAX + 1)).is_none());
}

#[test]
fn tests_do_not_sleep() {
    let sleep = "fn f() { tokio::time::sleep(x).await; std::thread::sleep(x); }";
    assert_eq!(sleeping_tests("tests/it/a.rs", sleep).len(), 2);
    assert!(sleeping_tests("src/engine/a.rs", sleep).is_empty());
    let tests = format!("#[cfg(test)] mod tests {{ {sleep} }}");
    assert_eq!(sleeping_tests("src/engine/a.rs", &tests).len(), 2);
}

#[test]
fn what_users_get_has_no_hook_in_it() {
    let faults = |path: &str, text: &str| hooks_for_users(path, text).len();
    let gate = "#[cfg(feature = \"crash-points\")]";
    assert_eq!(faults("src/engine/mod.rs", "pub mod doors;"), 1);
    assert_eq!(
        faults("src/engine/mod.rs", &format!("{gate}\npub mod doors;")),
        0
    );
    assert_eq!(
        faults("src/app/a.rs", "let a = crate::app::crash::guarded(a);"),
        1
    );
    assert_eq!(faults("src/app/a.rs", "variable(\"TANDA_CRASH_AT\")"), 1);
    assert_eq!(
        faults("src/app/a.rs", "// the doors of the engine, after a crash"),
        0
    );
    assert_eq!(faults("src/app/crash.rs", "use crate::engine::doors;"), 0);
    let manifest = |text: &str| vec![("Cargo.toml".to_owned(), text.to_owned())];
    assert!(hooks_by_default(&manifest("[features]\ncrash-points = []\n")).is_none());
    for on in [
        "default = [\"crash-points\"]\n",
        "default = [\n    \"crash-points\",\n]\n",
        "default = [\"extras\"]\nextras = [\"more\"]\nmore = [\"extras\", \"crash-points\"]\n",
        "default = [",
    ] {
        let manifest = manifest(&format!("[features]\ncrash-points = []\n{on}"));
        assert!(hooks_by_default(&manifest).is_some(), "{on}");
    }
    let on_demand = "[features]\ndefault = []\ncrash-points = []\nextras = [\"crash-points\"]\n";
    assert!(hooks_by_default(&manifest(on_demand)).is_none());
}

#[test]
fn a_claim_without_a_test_is_a_fault() {
    let faults = |row: &str| {
        let page = format!("text\n\n| claim | shown by |\n|---|---|\n{row}\n");
        let tests = "#[test]\nfn it_holds() {\n";
        claims(&[
            ("docs/correctness.md".to_owned(), page),
            (
                "tests/sim/a.rs".to_owned(),
                format!("{tests}}} Self::Breaks,"),
            ),
        ])
        .len()
    };
    assert_eq!(faults("| a | `it_holds` |"), 0);
    assert_eq!(faults("| a | `it_holds` (Breaks) |"), 0);
    assert_eq!(faults("| a | `it_holds` (Bends) |"), 1);
    assert_eq!(faults("| a `it_holds` | nothing |"), 1);
    assert_eq!(faults("| a | `it_does_not`, `it_holds` |"), 1);
    assert_eq!(claims(&[]).len(), 1, "no page at all");
}

#[test]
fn an_invariant_without_a_test_is_a_fault() {
    let tests =
        "#[test]\nfn i1_paid_once() {}\n#[tokio::test]\nasync fn i2_first() {}\nfn i3_helper() {}";
    let tree = |text: String| {
        vec![
            (ARCHITECTURE.to_owned(), text),
            ("tests/it/a.rs".to_owned(), tests.to_owned()),
        ]
    };
    let faults = |entry: &str| {
        let filler = (2..=INVARIANTS).fold(String::new(), |text, number| {
            text + &format!("- **I{number}** x — `i2_first`\n")
        });
        invariants(&tree(format!("{entry}\n{filler}"))).len()
    };
    assert_eq!(faults("- **I1** once — `i1_paid_once`,\n  `i2_first`"), 0);
    assert_eq!(faults("- **I1** once — `i1_gone`"), 1);
    assert_eq!(faults("- **I1** once — `i3_helper`"), 1, "not a test");
    assert_eq!(faults("- **I1** once"), 1);
    assert_eq!(faults("nothing"), 1);
    assert_eq!(faults("- **I1** once — owed by `src/amqp`"), 0);
    assert_eq!(
        faults("- **I1** once — owed by `tests/it`"),
        1,
        "it has been built"
    );
    assert_eq!(invariants(&[]).len(), 1, "a missing page is a fault");
}

#[test]
fn comments_and_literals_are_not_code() {
    let text = "a /* b /* c */ d */ \"e \\\" f\" r#\"g \" h\"# 'i' '\\'' 'j: k // l\nm";
    let words: Vec<_> = tokens(text).into_iter().map(|token| token.text).collect();
    assert_eq!(words, ["a", "'", "j", ":", "k", "m"]);
    assert_eq!(
        tokens("\"a\nb\" c").first().map(|token| token.line),
        Some(2)
    );
}
