//! `tanda drill`: crashes and lies, on this machine, against a simulated bank whose books judge.
//!
//! *What this is.* [`plan`] draws blows and lies from a seed, [`jobs`] what is paid. [`stage`] is the folder
//! and what processes are started with, [`child`] one process, [`bank`] the simulated bank, [`proxy`]
//! what cuts, [`world`] a round under way, which [`by_file`] or [`by_queue`] plays. It leaves
//! [`evidence`], which [`judge`] judges into [`tested`]; [`accounts`] and [`tally`] add rounds up, [`watch`]
//! looks on from beside, [`report`] shows what it came to.
//!
//! *What it promises.* Nothing of the user's is touched: no bank, ledger, setting or queue. Whatever it
//! starts is ended and whatever it makes is removed, also when it is interrupted. Exit code 0 only where
//! every invariant that was exercised held.
//!
//! *What it refuses to know.* The rules of a job's way: it starts the program as its users do.

mod accounts;
mod bank;
mod by_file;
mod by_queue;
mod chance;
mod child;
mod evidence;
mod jobs;
mod judge;
mod plan;
mod proxy;
mod report;
mod stage;
mod tally;
mod tested;
mod watch;
mod world;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use clap::Args;
use tokio::task::JoinSet;
use tokio::time::Instant;

use self::by_file::Original;
use self::by_queue::Ours;
use self::chance::Chance;
use self::evidence::{Case, Journal};
use self::report::{OPENING, Record};
use self::stage::{Ground, Stage};
use self::tally::{Shown, Table, Tally};
use self::watch::Progress;
use super::{intake, say, say_json};
use crate::app::cli::{DecimalSign, parse_wait};
use crate::app::compose;
use crate::app::exit::{Exit, Failure};
use crate::app::signals::{self, Signal};
use crate::app::streams::tell;
use crate::domain::digest::Digest;
use crate::domain::job::Job;
use crate::domain::time::Timestamp;
use crate::engine::SystemClock;
use crate::engine::ports::Clock as _;
use crate::files::ReadingRules;
use crate::files::refusal::shown;
use crate::simulator::faults::Faults;

/// How long it lasts unless it is told otherwise.
const LASTS: Duration = Duration::from_secs(60);
/// Where only kills were asked for, the time that each may take, and a minute for the others.
const EACH_KILL: Duration = Duration::from_secs(3);
/// Where less is left, no new round is begun.
const ROUND_LEAST: Duration = Duration::from_secs(4);
/// Jobs of a round unless it is told otherwise: some fifty kills.
const JOBS: u64 = 2_000;
/// The most jobs of a round: all of them are held in memory while it is judged.
const JOBS_MOST: u64 = 100_000;
/// The largest file, in bytes: as many jobs of the longest kind.
const FILE_MAX_BYTES: u64 = 64 * 1024 * 1024;
/// Once the faults of a round are over, everything must be settled within this time: some forty times what
/// a job in doubt takes here.
const SETTLE_LIMIT: Duration = Duration::from_secs(180);
/// The longest time to remove queues when it ends.
const CLEAR_LIMIT: Duration = Duration::from_secs(30);
/// What people are told when they interrupt it.
const STOPPING: &str =
    "stopping: everything that was started is ended and removed; nothing is judged";

pub(in crate::app) const EXAMPLES: &str = "\
Examples:
  tanda drill                              a minute of it, with made-up jobs
  tanda drill --for 10m --report drill.json
  tanda drill payroll.csv                  with the jobs of your file, against the simulated bank
  tanda drill --amqp amqp://guest:guest@localhost   over RabbitMQ, with queues of its own
  tanda drill --faults lost=20%,key_life_s=0        see it bite: a bank that forgets what it did at once

No real bank, no real ledger and no setting of yours is used. It starts the simulated bank and the process
that pays, kills that again and again, cuts its connections and lets the bank lie. Then the faults stop, and
the bank's books are held against everything that was told.

Ends with 0 where every invariant that was exercised held, with 1 where one was broken, with 8 where it could not
be run or showed nothing.";

#[derive(Debug, Args)]
pub(in crate::app) struct DrillArgs {
    /// A CSV file whose jobs are used in place of made-up ones, against the simulated bank only
    #[arg(conflicts_with = "jobs")]
    file: Option<PathBuf>,
    /// How long it is hurt, such as 60s, 10m or 2h [default: 60s, unless --kills is given]
    #[arg(long = "for", value_name = "DURATION", value_parser = parse_wait)]
    lasts: Option<Duration>,
    /// End once there were so many kills
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    kills: Option<u64>,
    /// How many made-up jobs a round has
    #[arg(long, value_name = "N", default_value_t = JOBS, value_parser = clap::value_parser!(u64).range(10..=JOBS_MOST))]
    jobs: u64,
    /// Seed of jobs, blows and lies [default: another each time]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Faults that the simulated bank deals throughout, in place of drawn ones, such as `error=6%,lost=5%`
    #[arg(long, value_name = "SPEC")]
    faults: Option<String>,
    /// Over the RabbitMQ at this URL, with queues of its own that are removed again
    #[arg(long, value_name = "URL", conflicts_with = "amqp_url_file")]
    amqp: Option<String>,
    /// The same, with the URL in a file that nobody else may read
    #[arg(long, value_name = "PATH")]
    amqp_url_file: Option<PathBuf>,
    /// The sign before decimals in FILE, where the file itself does not say
    #[arg(long, value_name = "SIGN", requires = "file")]
    decimal: Option<DecimalSign>,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
    /// Write the report as JSON to this new file, and beside it the movements of every job
    /// (.movements.csv)
    #[arg(long, value_name = "PATH")]
    report: Option<PathBuf>,
    /// Keep everything that the drill makes in this new folder
    #[arg(long, value_name = "FOLDER")]
    keep: Option<PathBuf>,
}

pub(in crate::app) async fn drill(args: DrillArgs) -> Result<Exit, Failure> {
    let mut drill = Drill::prepare(args)?;
    tell(&drill.opening());
    let (stopper, stop) = crate::engine::stop::signal();
    let mut beside = JoinSet::new();
    let signals = signals::listen(stopper, STOPPING, &mut beside)
        .map_err(|error| Failure::internal(error.into()))?;
    beside.spawn(watch::show(Arc::clone(&drill.progress), drill.lasts));
    beside.spawn(watch::feel_the_pulse(Arc::clone(&drill.progress)));
    let played = tokio::select! {
        biased;
        () = stop.asked() => None,
        played = drill.play() => Some(played),
    };
    drill.clear(stop.abandoned()).await;
    beside.shutdown().await;
    match (played, signals.first()) {
        (Some(record), _) => drill.report(&record?),
        (None, Some(Signal::Terminate)) => Ok(Exit::Terminated),
        (None, Some(Signal::Interrupt) | None) => Ok(Exit::Interrupted),
    }
}

/// A drill about to begin.
struct Drill {
    args: DrillArgs,
    seed: u64,
    chance: Chance,
    /// How long it is hurt; none where only kills are counted.
    lasts: Option<Duration>,
    /// Jobs of a file, with its bytes.
    given: Option<(Vec<Job>, Original)>,
    /// Whether the bank may do more than the rules assume, because somebody asked for it.
    goes_beyond: bool,
    ours: Option<Ours>,
    stage: Stage,
    progress: Arc<Progress>,
}

/// What one round is played with.
struct Round<'a> {
    seed: u64,
    chance: &'a Chance,
    lies: &'a Option<String>,
    /// When the fire ceases.
    until: Instant,
    /// Kills that are still to be dealt.
    kills: Option<u64>,
    progress: &'a Arc<Progress>,
}

impl Round<'_> {
    /// Whether it has been hurt enough.
    fn is_over(&self, journal: &Journal) -> bool {
        Instant::now() >= self.until || self.kills.is_some_and(|kills| journal.kills >= kills)
    }
}

impl Drill {
    /// Whatever can be refused is refused before anything is started.
    fn prepare(args: DrillArgs) -> Result<Self, Failure> {
        let asked_for = Faults::parse(args.faults.as_deref().unwrap_or_default())
            .map_err(|error| Failure::new(Exit::Usage, error))?;
        check_report(args.report.as_deref())?;
        let now = SystemClock.wall();
        let seed = args
            .seed
            .unwrap_or_else(|| u64::try_from(now.as_millis()).unwrap_or_default());
        let id = id_of(seed, now);
        let ours = broker(&args, &id)?;
        let given = args
            .file
            .as_deref()
            .map(|file| read(file, args.decimal))
            .transpose()?;
        let lasts = args.lasts.or_else(|| args.kills.is_none().then_some(LASTS));
        Ok(Self {
            stage: Stage::set(&id, args.keep.as_deref())?,
            chance: Chance::new(seed),
            progress: Arc::default(),
            args,
            seed,
            lasts,
            given,
            goes_beyond: !plan::keeps_to_what_is_assumed(&asked_for),
            ours,
        })
    }

    fn opening(&self) -> String {
        let lasts = match (self.lasts, self.args.kills) {
            (Some(lasts), Some(kills)) => {
                format!(
                    "{} s, or {kills} kills, whichever comes first",
                    lasts.as_secs()
                )
            }
            (Some(lasts), None) => format!("{} s", lasts.as_secs()),
            (None, kills) => format!("{} kills", kills.unwrap_or_default()),
        };
        format!(
            "{OPENING}\nSeed {}, for {lasts}, then until everything is settled. {}.\n",
            self.seed,
            self.way()
        )
    }

    /// By which way the jobs go.
    fn way(&self) -> String {
        match &self.ours {
            None => "`tanda run` on a file".to_owned(),
            Some(ours) => format!(
                "`tanda worker` over RabbitMQ at {}, with queues of its own",
                ours.place()
            ),
        }
    }

    /// Plays rounds until the time is over or one has broken something, and adds them up.
    async fn play(&mut self) -> Result<Record, Failure> {
        let (began, since) = (SystemClock.wall(), Instant::now());
        let mut table = self.table()?;
        let (mut tally, mut kept) = (Tally::default(), None);
        let limit =
            EACH_KILL * u32::try_from(self.args.kills.unwrap_or_default()).unwrap_or(u32::MAX);
        let until = since + self.lasts.unwrap_or(LASTS + limit);
        loop {
            let kills = self
                .args
                .kills
                .map(|kills| kills.saturating_sub(tally.kills));
            let has_time = Instant::now() + ROUND_LEAST < until && kills != Some(0);
            if tally.rounds > 0 && !has_time {
                break;
            }
            let (case, mut ground) = self.round(tally.rounds + 1, until, kills).await?;
            let counted = tally.add(&case, table.as_mut());
            counted
                .context("the table of movements")
                .map_err(unusable)?;
            if tally.shown() == Shown::Broken {
                // It is all that there is to find out by.
                ground.keep();
                kept = Some(shown(self.stage.keep()));
                break;
            }
        }
        if let Some(table) = table {
            table
                .finish()
                .context("the table of movements")
                .map_err(unusable)?;
        }
        Ok(self.record(began, since.elapsed(), tally, kept))
    }

    async fn round(
        &self,
        number: u64,
        until: Instant,
        kills: Option<u64>,
    ) -> Result<(Case, Ground), Failure> {
        Progress::add(&self.progress.rounds);
        self.progress.settling.store(0, Ordering::Relaxed);
        let chance = Chance::new(self.chance.draw("round", number));
        let round = Round {
            seed: chance.draw("bank", 0),
            chance: &chance,
            lies: &self.args.faults,
            until,
            kills,
            progress: &self.progress,
        };
        let mut ground = self.stage.ground(number)?;
        let (log, token) = (ground.path("pay.log"), ground.token().to_owned());
        let (jobs, original) = if let Some((jobs, original)) = &self.given {
            (jobs.clone(), Some(original))
        } else {
            let prefix = format!("DRILL-{}-{number}", self.seed);
            (jobs::make(&chance, &prefix, self.args.jobs), None)
        };
        let played = match &self.ours {
            None => by_file::play(&mut ground, round, jobs, original).await,
            Some(ours) => by_queue::play(&mut ground, round, jobs, ours).await,
        };
        let mut case = played?;
        let cards = case.jobs.iter().map(|job| job.card_id.as_str()).collect();
        let scan = watch::scan(&log, &token, &cards);
        case.journal.scan = scan.context("what was logged").map_err(unusable)?;
        Ok((case, ground))
    }

    fn table(&self) -> Result<Option<Table>, Failure> {
        let Some(report) = &self.args.report else {
            return Ok(None);
        };
        let path = table_path(report);
        let table = Table::create(&path)
            .with_context(|| format!("{} could not be written", shown(&path)))
            .map_err(unusable)?;
        Ok(Some(table))
    }

    fn record(
        &self,
        began: Timestamp,
        lasted: Duration,
        tally: Tally,
        kept: Option<String>,
    ) -> Record {
        Record {
            began,
            lasted,
            seed: self.seed,
            repeat: self.repeat(),
            jobs: match &self.args.file {
                None => format!("{} made-up jobs in each round", self.args.jobs),
                Some(file) => format!("the jobs of {}, in each round again", shown(file)),
            },
            way: self.way(),
            broker_is_hurt: self.ours.as_ref().map(Ours::can_be_cut),
            tally,
            kept,
            goes_beyond: self.goes_beyond,
            table: self.args.report.as_deref().map(|it| shown(&table_path(it))),
        }
    }

    /// The command that repeats it, without the URL of a broker: a password stands in it.
    fn repeat(&self) -> String {
        let args = &self.args;
        let file = args
            .file
            .as_deref()
            .map(|file| format!(" '{}'", shown(file)));
        let lasts = args.lasts.map(|it| format!(" --for {}s", it.as_secs()));
        let kills = args.kills.map(|kills| format!(" --kills {kills}"));
        let jobs =
            (args.file.is_none() && args.jobs != JOBS).then(|| format!(" --jobs {}", args.jobs));
        let faults = args.faults.as_ref().map(|it| format!(" --faults '{it}'"));
        let decimal = match args.decimal {
            Some(DecimalSign::Comma) => Some(" --decimal comma".to_owned()),
            Some(DecimalSign::Dot) => Some(" --decimal dot".to_owned()),
            None => None,
        };
        let amqp = self.ours.as_ref().map(|_| " --amqp URL".to_owned());
        let flags = [lasts, kills, jobs, faults, decimal, amqp];
        let flags: String = flags.into_iter().flatten().collect();
        format!(
            "tanda drill{} --seed {}{flags}",
            file.unwrap_or_default(),
            self.seed
        )
    }

    /// Removes what is left at the broker, unless somebody asks again to leave at once.
    async fn clear(&self, abandoned: impl Future<Output = ()>) {
        let Some(ours) = &self.ours else { return };
        let cleared = tokio::select! {
            cleared = tokio::time::timeout(CLEAR_LIMIT, ours.clear()) => cleared,
            () = abandoned => return,
        };
        if !matches!(cleared, Ok(Ok(()))) {
            let minutes = crate::amqp::rehearsal::UNUSED.as_secs() / 60;
            tell(&format!(
                "the queues of this drill may be left at {}: they go by themselves after {minutes} minutes\n",
                ours.place()
            ));
        }
    }

    /// Says what came of it.
    fn report(&self, record: &Record) -> Result<Exit, Failure> {
        let json = report::json(record);
        if let Some(path) = &self.args.report {
            std::fs::write(path, format!("{json:#}\n"))
                .with_context(|| format!("{} could not be written", shown(path)))
                .map_err(unusable)?;
        }
        if self.args.json {
            say_json(&json);
        } else {
            say(&report::text(record));
        }
        Ok(match record.tally.shown() {
            Shown::Held => Exit::Done,
            Shown::Broken => Exit::Internal,
            Shown::Nothing => Exit::Unusable,
        })
    }
}

fn unusable(error: anyhow::Error) -> Failure {
    Failure::new(Exit::Unusable, error)
}

/// A name for what this drill makes, which no other has.
fn id_of(seed: u64, now: Timestamp) -> String {
    let (seed, now) = (seed.to_string(), now.as_millis().to_string());
    let process = std::process::id().to_string();
    let digest = Digest::of_fields(&["tanda.drill.id.v1", &seed, &now, &process]);
    digest.to_string().chars().take(12).collect()
}

/// Where the table of movements stands.
fn table_path(report: &Path) -> PathBuf {
    report.with_extension("movements.csv")
}

/// A report takes the place of nothing.
fn check_report(report: Option<&Path>) -> Result<(), Failure> {
    let Some(report) = report else { return Ok(()) };
    let taken = [report.to_owned(), table_path(report)];
    if let Some(path) = taken.iter().find(|path| path.exists()) {
        let error = anyhow!(
            "--report: {} is there already; name a new file. Nothing was started",
            shown(path)
        );
        return Err(Failure::new(Exit::Usage, error));
    }
    let folder = report
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    if folder.is_some_and(|folder| !folder.is_dir()) {
        let error = anyhow!(
            "--report: there is no folder for {}. Nothing was started",
            shown(report)
        );
        return Err(Failure::new(Exit::Usage, error));
    }
    Ok(())
}

fn broker(args: &DrillArgs, id: &str) -> Result<Option<Ours>, Failure> {
    let url = match (&args.amqp, &args.amqp_url_file) {
        (Some(url), _) => url.clone(),
        (None, Some(path)) => compose::url_in(path)?,
        (None, None) => return Ok(None),
    };
    let ours = Ours::new(url.into(), id).map_err(|error| {
        let words = error.line().replace("amqp.url", "--amqp");
        Failure::new(Exit::Usage, anyhow!("{words}. Nothing was started"))
    })?;
    Ok(Some(ours))
}

/// The jobs of a file, all of which must be good.
fn read(file: &Path, decimal: Option<DecimalSign>) -> Result<(Vec<Job>, Original), Failure> {
    let rules = ReadingRules {
        decimal: decimal.map(Into::into),
        max_bytes: FILE_MAX_BYTES,
        max_rows: JOBS_MOST,
        ..ReadingRules::default()
    };
    let folder = std::env::temp_dir();
    let reading = by_file::reading(decimal);
    let taken = intake::take_fit(file, &reading, &folder, &rules)?;
    let refused = || {
        anyhow!(
            "{} cannot be drilled with; nothing was started",
            shown(file)
        )
    };
    let taken = taken.ok_or_else(|| Failure::new(Exit::Input, refused()))?;
    let jobs = by_file::jobs_of(&taken, &rules)?;
    let bytes = std::fs::read(file)
        .with_context(refused_to(file))
        .map_err(unusable)?;
    if jobs.is_empty() || Digest::of(&bytes) != taken.spool.sha256() {
        return Err(Failure::new(Exit::Input, refused()));
    }
    Ok((jobs, Original { bytes, decimal }))
}

fn refused_to(file: &Path) -> impl FnOnce() -> String {
    let file = shown(file);
    move || format!("{file} could not be read; nothing was started")
}
