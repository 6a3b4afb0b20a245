//! A round on a file: `tanda run` is hurt again and again until every row is done.
//!
//! *What it promises.* Every result file that is written is kept as evidence. At the end the same file is
//! run once more, and rows of it with other amounts: nothing may move.
//!
//! *What it refuses to know.* Whether what was told is right.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use tokio::time::Instant;

use super::child::{Child, Life};
use super::evidence::{Again, Case, Settling, Told};
use super::jobs;
use super::plan::Plan;
use super::stage::Ground;
use super::world::{Found, Payer, World, unusable};
use super::{Round, SETTLE_LIMIT};
use crate::app::cli::{DecimalSign, ReadingArgs};
use crate::app::commands::intake::{self, CHUNK_ROWS, Taken};
use crate::app::exit::Failure;
use crate::domain::job::{CardId, Job};
use crate::domain::money::{Currencies, Totals, major_units};
use crate::domain::outcome::Status;
use crate::files::{OriginalRow, OriginalRows, ReadingRules, RowContent, RowResult};
use crate::simulator::knows_card;

/// A run that nobody hurts ends within this time.
const RUN_LIMIT: Duration = Duration::from_secs(120);
const JOBS: &str = "jobs.csv";
const RESULTS: &str = "jobs.results.csv";
const ALTERED: &str = "altered.csv";
const ALTERED_RESULTS: &str = "altered.results.csv";

/// A file as its user wrote it.
#[derive(Clone, Debug)]
pub(super) struct Original {
    pub(super) bytes: Vec<u8>,
    pub(super) decimal: Option<DecimalSign>,
}

/// Plays a round; none where it was over before anything began.
pub(super) async fn play(
    ground: &mut Ground,
    round: Round<'_>,
    jobs: Vec<Job>,
    original: Option<&Original>,
) -> Result<Case, Failure> {
    let bytes = original.map_or_else(|| jobs::csv(&jobs).into_bytes(), |it| it.bytes.clone());
    ground.write(JOBS, &bytes)?;
    let decimal = original.and_then(|it| it.decimal);
    let command = run_command(JOBS, RESULTS, &jobs, decimal);
    let payer = (Payer::Run, command.clone());
    let progress = round.progress.clone();
    let mut world = World::begin(ground, round.seed, None, payer, progress).await?;
    world.ground.prepare(&["init"]).await?;
    let rules = ReadingRules {
        decimal: decimal.map(Into::into),
        ..ReadingRules::default()
    };
    let mut told = ResultFiles {
        rules,
        told: Vec::new(),
        gibberish: 0,
        files: 0,
        open: Vec::new(),
        last: None,
    };
    let plan = Plan::new(round.chance.clone(), false, round.lies.clone());
    for n in 0.. {
        if world.is_spent() || round.is_over(&world.journal) {
            break;
        }
        let found = world.strike(&plan, n).await?;
        told.take_new(&world.ground.path(RESULTS))?;
        if found == Found::Done {
            break;
        }
    }
    world.calm().await?;
    let settling = settle(&mut world, &mut told).await?;
    let again = match settling {
        Settling::After(_) => Some(once_more(&world, &round, &jobs, &command, &mut told).await?),
        Settling::NotWithin(_) => None,
    };
    let seen = world.end().await?;
    Ok(Case {
        jobs,
        messages: None,
        told: told.told,
        gibberish: told.gibberish,
        dead: Vec::new(),
        left: 0,
        books: seen.books,
        journal: seen.journal,
        memory: seen.memory,
        again,
        settling,
    })
}

fn run_command(
    file: &str,
    results: &str,
    jobs: &[Job],
    decimal: Option<DecimalSign>,
) -> Vec<String> {
    let mut totals = Totals::default();
    for job in jobs {
        totals.add(job.operation, job.amount);
    }
    let mut command = ["run", file, "--yes", "--results", results]
        .map(str::to_owned)
        .to_vec();
    let currencies = Currencies::default();
    for (currency, operation, sum) in totals.iter() {
        let digits = currencies.minor_digits(currency).unwrap_or_default();
        let amount = major_units(sum.minor, digits);
        command.push("--expect-total".to_owned());
        command.push(format!("{operation}:{currency}:{amount}"));
    }
    let sign = match decimal {
        Some(DecimalSign::Comma) => Some("comma"),
        Some(DecimalSign::Dot) => Some("dot"),
        None => None,
    };
    for word in sign.into_iter().flat_map(|sign| ["--decimal", sign]) {
        command.push(word.to_owned());
    }
    command
}

/// Runs the file until nothing is open.
async fn settle(world: &mut World<'_>, told: &mut ResultFiles) -> Result<Settling, Failure> {
    let began = Instant::now();
    loop {
        let left = SETTLE_LIMIT.saturating_sub(began.elapsed());
        if world.gave_up || left.is_zero() {
            return Ok(Settling::NotWithin(began.elapsed()));
        }
        world.start()?;
        if world.await_end(left).await? == Life::Runs {
            return Ok(Settling::NotWithin(SETTLE_LIMIT));
        }
        let found = world.find()?;
        told.take_new(&world.ground.path(RESULTS))?;
        if found == Found::Done || told.only_a_person_can_decide() {
            return Ok(Settling::After(began.elapsed()));
        }
    }
}

/// The same file again, and rows of it with another amount: nothing may be sent.
async fn once_more(
    world: &World<'_>,
    round: &Round<'_>,
    jobs: &[Job],
    command: &[String],
    told: &mut ResultFiles,
) -> Result<Again, Failure> {
    let before = world.before_bank.calls();
    run(world.ground, command).await?;
    told.take_new(&world.ground.path(RESULTS))?;
    let other = jobs::altered(round.chance, jobs);
    let mut altered = Vec::new();
    if !other.is_empty() {
        world.ground.write(ALTERED, jobs::csv(&other).as_bytes())?;
        run(
            world.ground,
            &run_command(ALTERED, ALTERED_RESULTS, &other, None),
        )
        .await?;
        let rows = read_results(
            &world.ground.path(ALTERED_RESULTS),
            &ReadingRules::default(),
        )?;
        altered.extend(rows.into_iter().map(|(job, result)| {
            let entity_id = job.entity_id.as_str().to_owned();
            (entity_id, result.status)
        }));
    }
    Ok(Again {
        calls: world.before_bank.calls() - before,
        altered,
    })
}

async fn run(ground: &Ground, command: &[String]) -> Result<(), Failure> {
    let arguments: Vec<_> = command.iter().map(String::as_str).collect();
    let started = Child::start(ground.orders(&arguments, "pay"));
    let mut child = started
        .context("a process could not be started")
        .map_err(unusable)?;
    let life = child.ends_within(RUN_LIMIT).await;
    match life
        .context("a process cannot be looked at")
        .map_err(unusable)?
    {
        Life::Ended(Some(0 | 6 | 7)) => Ok(()),
        Life::Ended(_) | Life::Runs => {
            let words = child.last_words();
            Err(unusable(anyhow!(
                "a run after everything was settled did not end well: {words}"
            )))
        }
    }
}

/// What every result file said.
struct ResultFiles {
    rules: ReadingRules,
    told: Vec<Told>,
    gibberish: u64,
    files: u32,
    /// The cards of rows that are open in the newest of them.
    open: Vec<CardId>,
    /// When it was written.
    last: Option<std::time::SystemTime>,
}

impl ResultFiles {
    /// Whether something is open, and all of it is on cards of which the bank tells nothing.
    fn only_a_person_can_decide(&self) -> bool {
        !self.open.is_empty() && !self.open.iter().any(knows_card)
    }

    /// Reads the result file, where there is one that was not read.
    fn take_new(&mut self, path: &Path) -> Result<(), Failure> {
        let written = path
            .metadata()
            .and_then(|metadata| metadata.modified())
            .ok();
        if written.is_none() || written == self.last {
            return Ok(());
        }
        self.last = written;
        self.files += 1;
        self.open.clear();
        for (job, result) in read_results(path, &self.rules)? {
            let status = Status::parse(&result.status);
            if status.is_none_or(|status| !status.is_final()) {
                self.open.push(job.card_id.clone());
            }
            match Told::by_file(self.files, &job, &result) {
                Some(told) => self.told.push(told),
                None => self.gibberish += 1,
            }
        }
        Ok(())
    }
}

/// The rows of a result file that are jobs, each with what became of it.
fn read_results(path: &Path, rules: &ReadingRules) -> Result<Vec<(Job, RowResult)>, Failure> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let taken = match intake::take(path, folder, rules)? {
        Ok(taken) => taken,
        Err(refusal) => return Err(unusable(anyhow!("a result file cannot be read: {refusal}"))),
    };
    let mut results = Vec::new();
    rows(&taken, rules, |row, originals| {
        if let RowContent::Job(job) = &row.content {
            results.push((job.clone(), originals.layout().result_in(row)));
        }
    })?;
    Ok(results)
}

/// The jobs of a file that has nothing else.
pub(super) fn jobs_of(taken: &Taken, rules: &ReadingRules) -> Result<Vec<Job>, Failure> {
    let mut jobs = Vec::new();
    rows(taken, rules, |row, _| jobs.extend(row.job().cloned()))?;
    Ok(jobs)
}

fn rows(
    taken: &Taken,
    rules: &ReadingRules,
    mut visit: impl FnMut(&OriginalRow, &OriginalRows),
) -> Result<(), Failure> {
    let unreadable = |error| unusable(anyhow::Error::new(error));
    let mut originals =
        OriginalRows::open(&taken.spool, &taken.checked, rules).map_err(unreadable)?;
    loop {
        let chunk = originals.next_chunk(CHUNK_ROWS).map_err(unreadable)?;
        if chunk.is_empty() {
            return Ok(());
        }
        for row in &chunk {
            visit(row, &originals);
        }
    }
}

/// Reading without anything that is expected.
pub(super) fn reading(decimal: Option<DecimalSign>) -> ReadingArgs {
    ReadingArgs {
        decimal,
        expect_rows: None,
        expect_totals: Vec::new(),
        valid_only: false,
        errors_to: None,
    }
}
