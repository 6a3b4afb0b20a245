//! Hostile bytes against everything that reads what strangers wrote.
//!
//! Each target is a function of bytes that says what must be true of them, not only that nothing
//! panics. It runs over inputs that once broke something or show what it reads (`seeds/`), and over
//! mutations of them, drawn from a fixed seed: every run is the same run. A failing input is made
//! small, kept in the system's temporary folder, and told with the command that runs it again.
//!
//! `TANDA_FUZZ_FACTOR` multiplies the number of mutations, `TANDA_FUZZ_SEED` draws others,
//! `TANDA_FUZZ_INPUT` names a file to run instead. `scripts/fuzz` runs the same functions under
//! libFuzzer, which follows the code.

#![expect(
    clippy::indexing_slicing,
    reason = "an index that is not there is a failed test"
)]

mod bodies;
mod mutations;

use std::cell::Cell;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::path::{Path, PathBuf};
use std::sync::Once;
use std::time::{Duration, Instant};

use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};

use self::bodies::Target;
use self::mutations::{LONGEST_BYTES, mutated};

/// No input of at most [`LONGEST_BYTES`] keeps a reader busy for longer, on however slow a machine:
/// most take less than a thousandth of this.
const INPUT_LIMIT: Duration = Duration::from_secs(10);

#[expect(
    clippy::disallowed_methods,
    reason = "a test is told by its environment how long to run and what to run again"
)]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

fn number(name: &str, unless_set: u64) -> u64 {
    variable(name).map_or(unless_set, |text| text.parse().expect("a whole number"))
}

fn folder_of_seeds(target: &Target) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fuzz/seeds")
        .join(target.name)
}

/// The inputs of a target in the tree, in the order of their names.
fn seeds(target: &Target) -> Vec<(String, Vec<u8>)> {
    let entries = fs::read_dir(folder_of_seeds(target)).expect("each target has seeds");
    let mut seeds: Vec<_> = entries
        .map(|entry| {
            let path = entry.expect("an entry").path();
            let name = path.display().to_string();
            (name, fs::read(path).expect("a seed"))
        })
        .collect();
    seeds.sort();
    assert!(!seeds.is_empty(), "{} has no seeds", target.name);
    seeds
}

fn run(target: &Target, bytes: &[u8]) {
    let began = Instant::now();
    (target.body)(bytes);
    let took = began.elapsed();
    assert!(took < INPUT_LIMIT, "{took:?} for {} bytes", bytes.len());
}

thread_local! {
    static IS_QUIET: Cell<bool> = const { Cell::new(false) };
}

/// What a panic says, without a line for each of hundreds on the way to a small input.
fn quietly(run: impl FnOnce()) -> Result<(), TestCaseError> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = take_hook();
        set_hook(Box::new(move |panic| {
            if !IS_QUIET.get() {
                before(panic);
            }
        }));
    });
    IS_QUIET.set(true);
    let ended = catch_unwind(AssertUnwindSafe(run));
    IS_QUIET.set(false);
    ended.map_err(|panic| {
        let words = panic.downcast_ref::<String>().map(String::as_str);
        let words = words.or_else(|| panic.downcast_ref::<&str>().copied());
        TestCaseError::fail(words.unwrap_or("a panic without words").to_owned())
    })
}

fn fuzz(name: &str) {
    let target = bodies::target(name);
    if let Some(file) = variable("TANDA_FUZZ_INPUT") {
        return run(target, &fs::read(file).expect("the input to run again"));
    }
    let seeds = seeds(target);
    for (name, bytes) in &seeds {
        eprintln!("{name}");
        run(target, bytes);
    }
    let cases = u64::from(target.cases) * number("TANDA_FUZZ_FACTOR", 1);
    let mut seed = [0; 32];
    seed[..8].copy_from_slice(&number("TANDA_FUZZ_SEED", 0).to_le_bytes());
    let config = Config {
        cases: u32::try_from(cases).expect("fewer than four thousand million"),
        failure_persistence: None,
        ..Config::default()
    };
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &seed);
    let mut runner = TestRunner::new_with_rng(config, rng);
    let inputs = mutated(
        seeds.into_iter().map(|(_, bytes)| bytes).collect(),
        target.words,
    );
    let failed = runner.run(&inputs, |bytes| quietly(|| run(target, &bytes)));
    match failed {
        Ok(()) => {}
        Err(TestError::Abort(why)) => panic!("{name} was not run to its end: {why}"),
        Err(TestError::Fail(why, bytes)) => {
            let kept = std::env::temp_dir().join(format!("tanda-fuzz-{name}"));
            fs::write(&kept, &bytes).expect("a place for the failing input");
            panic!(
                "{why}\ninput: {:?}\nagain: TANDA_FUZZ_INPUT={} cargo test --test fuzz {name}\n\
                 once it is mended, keep it: cp {} {}/",
                String::from_utf8_lossy(&bytes),
                kept.display(),
                kept.display(),
                folder_of_seeds(target).display()
            );
        }
    }
}

/// One test for each target.
macro_rules! targets {
    ($($name:ident),* $(,)?) => {
        $(#[test]
        fn $name() {
            fuzz(stringify!($name));
        })*

        #[test]
        fn every_target_is_run() {
            let here = [$(stringify!($name)),*];
            assert!(bodies::TARGETS.iter().map(|target| target.name).eq(here));
        }
    };
}

targets![
    amqp_body,
    amqp_properties,
    csv_file,
    csv_dialect,
    amount,
    entity_id,
    bank_answer,
    list_pages,
    http_times,
    ledger_row,
    file_name,
    base_url,
];

#[test]
fn mutations_are_the_same_in_every_run_and_bounded() {
    let draw = || {
        let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]);
        let mut runner = TestRunner::new_with_rng(Config::default(), rng);
        let inputs = mutated(vec![b"{\"a\":1}".to_vec(), Vec::new()], &["null", "\u{0}"]);
        mutations::draw(&inputs, &mut runner, 300)
    };
    let drawn = draw();
    assert_eq!(drawn, draw());
    assert!(drawn.iter().all(|bytes| bytes.len() <= LONGEST_BYTES));
    let unlike: std::collections::BTreeSet<_> = drawn.iter().collect();
    assert!(unlike.len() > 150, "only {} differ", unlike.len());
    assert!(drawn.iter().any(Vec::is_empty));
    assert!(
        drawn.iter().any(|bytes| bytes == b"{\"a\":1}"),
        "a seed as it is"
    );
}
