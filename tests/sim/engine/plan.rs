//! What one seed decides before its world begins: settings, jobs, faults and what befalls it when.
//!
//! *What it promises.* A world keeps to what the product assumes of the bank (`ARCHITECTURE.md`), and to no
//! more: what was sent is executed and listed within the settle delay of our timeout or never, a key is
//! remembered for longer than a resend can be under way, and what a list has once returned byte for byte
//! it always returns so.
//!
//! *What it refuses to know.* What comes of it.

use std::time::Duration;

use tanda::domain::job::{CardId, EntityId, Job, Operation};
use tanda::domain::key::Namespace;
use tanda::domain::money::{Amount, Currency};
use tanda::domain::progress::Rules;
use tanda::domain::schedule::AskTimes;
use tanda::domain::time::Timestamp;
use tanda::engine::settings::{Ending, Fence, Holding, Settings};

use super::chance::Chance;
use super::fault::Weights;

/// Jobs of a small world; a large one has up to [`JOBS_MAX`].
const JOBS_FEW: u64 = 20;
const JOBS_MAX: u64 = 200;
const CARDS_MAX: u64 = 30;
/// What is kept free of the ledger's disk, where anything is.
pub(super) const LEAST_FREE_BYTES: u64 = 1_000;

/// What jobs come by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sources {
    Queue,
    File,
    /// Processes of both kinds, one after the other, on one ledger.
    Both,
}

impl Sources {
    fn draw(chance: &mut Chance) -> Self {
        chance.pick(&[
            Self::Queue,
            Self::Queue,
            Self::Queue,
            Self::File,
            Self::Both,
        ])
    }
}

/// What a producer puts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Message {
    Job(Job),
    Unreadable(Vec<u8>),
}

/// Something that befalls the world at a time of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Blow {
    Kill,
    /// The process is asked to stop; asked again after so long, if at all, it leaves at once.
    Stop {
        abandon_after_ms: Option<u64>,
    },
    /// The bank is away for this long.
    Outage(u64),
    /// The bank takes no token for this long.
    NoCredential(u64),
    /// Something that is not the bank answers for this long.
    PortalUp(u64),
    /// The bank says 429 to everything for this long.
    TooMany(u64),
    /// This card is blocked for this long.
    Blocked(usize, u64),
    /// The bank does not know this card for this long.
    Unknown(usize, u64),
    /// No more outcomes are taken for this long.
    ResultsFull(u64),
    /// The disk of the ledger is nearly full for this long.
    DiskFull(u64),
    Cut,
    /// Our wall clock jumps.
    Wall(i64),
    Cancel(usize),
    Reconcile(Option<usize>),
    /// A person says what became of a job; rightly, or not.
    Rule {
        job: usize,
        rightly: bool,
    },
    Redrive(usize),
    /// A person holds the flow for this long.
    Pause(u64),
    /// A person copies the ledger.
    Backup,
    /// The machine dies and takes the ledger along; a person accepts that.
    Lose,
    /// The same, and the last copy is put in its place.
    Restore,
}

/// What one seed decides.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) settings: Settings,
    pub(super) sources: Sources,
    pub(super) jobs: Vec<Job>,
    /// What is put on the queue, and when.
    pub(super) puts: Vec<(u64, Message)>,
    /// The rows of the file.
    pub(super) rows: Vec<Job>,
    /// Whether a person runs what ended without moving money again, with the file.
    pub(super) runs_again: bool,
    pub(super) prefetch: usize,
    pub(super) weights: Weights,
    pub(super) blows: Vec<(u64, Blow)>,
    pub(super) faults_until_ms: u64,
    /// A process is killed within so many steps; none where it never is.
    pub(super) kill_within_steps: Option<u64>,
    pub(super) settle_ms: u64,
    pub(super) timeout_ms: u64,
    pub(super) latency_ms: u64,
    pub(super) late_max_ms: u64,
    pub(super) lag_max_ms: u64,
    pub(super) key_lifetime_ms: u64,
    pub(super) caches_refusals: bool,
    /// Its list returns no `entity_id`.
    pub(super) mangles_ids: bool,
    /// Others move as much on the same cards, without a name, in so many of a thousand movements.
    pub(super) nameless: u32,
    /// Jobs that the bank always refuses.
    pub(super) refused: Vec<bool>,
    pub(super) bank_off_ms: i64,
    pub(super) commit_ms: u64,
    pub(super) read_ms: u64,
    pub(super) sink_ms: u64,
}

pub(super) fn card_id(card: usize) -> CardId {
    CardId::parse(&format!("car_{card:022}")).expect("a card id")
}

fn swarm(chance: &mut Chance, of_worlds: u32, most: u64) -> u64 {
    let is_on = chance.per_mille(of_worlds);
    let drawn = chance.magnitude(most);
    if is_on { drawn } else { 0 }
}

impl Plan {
    pub(super) fn draw(chance: &mut Chance, wall_start: Timestamp) -> Self {
        let settle_ms = match chance.up_to(63) {
            0 => 60_000,
            1..=3 => 10_000,
            4..=12 => 5_000,
            13..=30 => 2_000,
            _ => 1_000,
        };
        let window_ms = settle_ms * chance.pick(&[0, 1, 2, 2, 2, 4, 8]);
        let timeout_ms = settle_ms / chance.pick(&[30, 10, 10, 10, 3, 1]);
        let late_max_ms = chance.between(1, settle_ms - 2);
        let lag_max_ms = chance.up_to(settle_ms - 1 - late_max_ms);
        let faults_until_ms = settle_ms * chance.pick(&[3, 8, 8, 20, 40]);
        let sources = Sources::draw(chance);
        let cards = usize::try_from(chance.magnitude(CARDS_MAX)).expect("few");
        let many = if chance.up_to(15) == 0 {
            JOBS_MAX - JOBS_FEW
        } else {
            JOBS_FEW
        };
        let count = usize::try_from(JOBS_FEW + chance.up_to(many)).expect("few");
        let expiry = swarm(chance, 300, 300);
        let latest_ms = 2 * faults_until_ms;
        let jobs: Vec<_> = (0..count)
            .map(|n| draw_job(chance, n, cards, expiry, wall_start, latest_ms))
            .collect();
        let settings = draw_settings(chance, settle_ms, window_ms);
        let prefetch = settings.in_flight;
        let blows = draw_blows(chance, jobs.len(), cards, faults_until_ms, settle_ms);
        let loses = |(_, blow): &(u64, Blow)| matches!(blow, Blow::Lose | Blow::Restore);
        let loses = blows.iter().any(loses);
        let (puts, rows) = draw_offers(chance, sources, &jobs, faults_until_ms, loses);
        let refusals = swarm(chance, 400, 500);
        let refused = jobs
            .iter()
            .map(|_| chance.per_mille(u32::try_from(refusals).expect("few")))
            .collect();
        let slowest_resend_ms = window_ms + timeout_ms + late_max_ms;
        let kills_by_step = chance.per_mille(400);
        Self {
            settings,
            sources,
            puts,
            rows,
            runs_again: chance.per_mille(300),
            prefetch,
            weights: Weights::draw(chance),
            blows,
            faults_until_ms,
            kill_within_steps: kills_by_step.then(|| chance.pick(&[30, 200, 1_000, 4_000])),
            settle_ms,
            timeout_ms,
            latency_ms: chance.up_to(timeout_ms / 2).min(200),
            late_max_ms,
            lag_max_ms,
            key_lifetime_ms: slowest_resend_ms + chance.magnitude(40 * settle_ms),
            caches_refusals: chance.coin(),
            mangles_ids: chance.per_mille(30),
            nameless: u32::try_from(swarm(chance, 60, 300)).expect("few"),
            refused,
            bank_off_ms: i64::try_from(chance.up_to(4_000)).expect("few") - 2_000,
            commit_ms: chance.pick(&[0, 0, 1, 5, 40]),
            read_ms: chance.pick(&[0, 0, 0, 1, 5]),
            sink_ms: chance.pick(&[0, 1, 5, 100]),
            jobs,
        }
    }

    /// The settings of a process that works on the file.
    pub(super) fn file_settings(&self) -> Settings {
        Settings {
            ending: Ending::WhenDry,
            holding: None,
            ..self.settings.clone()
        }
    }
}

fn draw_job(
    chance: &mut Chance,
    n: usize,
    cards: usize,
    expiry: u64,
    wall_start: Timestamp,
    latest_ms: u64,
) -> Job {
    let card = chance.index(cards);
    let expires = chance.up_to(999) < expiry;
    let after = Duration::from_millis(chance.magnitude(latest_ms));
    let cop = Currency::parse("COP").expect("a currency");
    Job {
        entity_id: EntityId::parse(&format!("j{n:03}")).expect("an id"),
        card_id: card_id(card),
        operation: chance.pick(&[Operation::Topup, Operation::Topup, Operation::Withdrawal]),
        amount: Amount::new(chance.pick(&[100, 100, 500, 900]), cop).expect("an amount"),
        description: chance.coin().then(|| format!("pay {n}")),
        not_after: expires.then(|| wall_start.plus(after)),
    }
}

fn draw_settings(chance: &mut Chance, settle_ms: u64, window_ms: u64) -> Settings {
    let rules = Rules {
        resend_window: Duration::from_millis(window_ms),
        max_attempts: chance.pick(&[1, 2, 3, 10, 10]),
        backoff_base: Duration::from_millis(chance.pick(&[20, 100, 1_000])),
        asks: AskTimes::new(Duration::from_millis(settle_ms)),
    };
    let concurrency = chance.pick(&[1, 2, 4, 4, 8]);
    let rate = chance.pick(&[None, None, None, Some(5), Some(50)]);
    let hold_max_ms = window_ms.max(1_000) * chance.pick(&[1, 2, 8]);
    Settings {
        namespace: Namespace::default(),
        rules,
        concurrency,
        in_flight: concurrency * chance.pick(&[4, 8, 16]),
        fence: chance.pick(&[Fence::UntilPersonNeeded, Fence::UntilSettled]),
        ending: Ending::WhenStopped,
        probe_every: Duration::from_millis(chance.pick(&[1_000, 2_000, 5_000])),
        refusals_in_a_row: chance.pick(&[0, 0, 5, 20, 20]),
        rate_per_second: rate.and_then(std::num::NonZeroU32::new),
        min_free_bytes: LEAST_FREE_BYTES,
        drain: Duration::from_millis(chance.pick(&[1_000, 5_000, 45_000])),
        holding: Some(Holding {
            hold_max: Duration::from_millis(hold_max_ms),
            give_back_after: Duration::from_millis(chance.pick(&[1_000, 5_000, 60_000])),
        }),
    }
}

/// A copy of a job that says something else.
///
/// Not on another card where the ledger is lost: the list of one card says nothing of another, so that what
/// was paid there cannot be known.
fn conflicting(chance: &mut Chance, job: &Job, loses: bool) -> Job {
    let cop = job.amount.currency();
    match chance.up_to(2) {
        0 => Job {
            amount: Amount::new(job.amount.minor() + 1, cop).expect("an amount"),
            ..job.clone()
        },
        1 if !loses => Job {
            card_id: card_id(99),
            ..job.clone()
        },
        _ => Job {
            operation: match job.operation {
                Operation::Topup => Operation::Withdrawal,
                Operation::Withdrawal => Operation::Topup,
            },
            ..job.clone()
        },
    }
}

/// What is put on the queue and what is in the file, each in its order.
fn draw_offers(
    chance: &mut Chance,
    sources: Sources,
    jobs: &[Job],
    until_ms: u64,
    loses: bool,
) -> (Vec<(u64, Message)>, Vec<Job>) {
    let copies = swarm(chance, 500, 300);
    let conflicts = swarm(chance, 300, 200);
    let unreadable = swarm(chance, 300, 200);
    let burst = chance.coin();
    let share_of_file = match sources {
        Sources::Queue => 0,
        Sources::File => 1_000,
        Sources::Both => chance.between(100, 900),
    };
    let strays = sources == Sources::Both;
    let (mut puts, mut rows) = (Vec::new(), Vec::new());
    let mut at_ms = 0;
    for (n, job) in jobs.iter().enumerate() {
        if !burst {
            at_ms += chance.up_to(2 * until_ms / u64::try_from(jobs.len()).expect("few"));
            at_ms = at_ms.min(until_ms);
        }
        let is_row = chance.up_to(999) < share_of_file;
        let mut offer = |job: Job, is_row: bool| {
            if is_row {
                rows.push(job);
            } else {
                puts.push((at_ms, Message::Job(job)));
            }
        };
        offer(job.clone(), is_row);
        for _ in 0..2 {
            if chance.up_to(999) < copies {
                let behind = chance.up_to(5);
                let earlier = n.saturating_sub(usize::try_from(behind).expect("few"));
                let of = jobs.get(earlier).unwrap_or(job);
                let stray = strays && chance.coin();
                offer(of.clone(), is_row != stray);
            }
        }
        // A file in which an id has two contents is refused before it is run.
        if chance.up_to(999) < conflicts && sources != Sources::File {
            offer(conflicting(chance, job, loses), false);
        }
        if sources != Sources::File && chance.up_to(999) < unreadable {
            let bytes = match chance.up_to(2) {
                0 => b"[]".to_vec(),
                1 => format!("{{\"entity_id\":\"j{n:03}\"}}").into_bytes(),
                _ => format!("no job {}", chance.up_to(3)).into_bytes(),
            };
            puts.push((at_ms, Message::Unreadable(bytes)));
        }
    }
    (puts, rows)
}

fn draw_blows(
    chance: &mut Chance,
    jobs: usize,
    cards: usize,
    until_ms: u64,
    settle_ms: u64,
) -> Vec<(u64, Blow)> {
    let mut blows = Vec::new();
    let longest_ms = until_ms / 2;
    // How many of each kind at most, and in how many of a thousand worlds.
    let kinds: [(u32, u64, Draw); 21] = [
        (400, 6, |_| Blow::Kill),
        (300, 6, |it| Blow::Stop {
            abandon_after_ms: it.chance.coin().then(|| it.chance.magnitude(5_000)),
        }),
        (300, 3, |it| Blow::Outage(it.long())),
        (150, 2, |it| Blow::NoCredential(it.long())),
        (120, 2, |it| Blow::PortalUp(it.long())),
        (120, 2, |it| Blow::TooMany(it.long())),
        (250, 5, |it| Blow::Blocked(it.card(), it.long())),
        (120, 3, |it| Blow::Unknown(it.card(), it.long())),
        (120, 2, |it| Blow::ResultsFull(it.long())),
        (100, 2, |it| Blow::DiskFull(it.long())),
        (300, 6, |_| Blow::Cut),
        (100, 2, |it| Blow::Wall(it.off())),
        (100, 2, |it| Blow::Wall(-it.off())),
        (250, 8, |it| Blow::Cancel(it.job())),
        (200, 6, |it| Blow::Reconcile(Some(it.job()))),
        (100, 3, |_| Blow::Reconcile(None)),
        (250, 12, |it| Blow::Rule {
            job: it.job(),
            rightly: it.chance.per_mille(800),
        }),
        (250, 12, |it| Blow::Redrive(it.job())),
        (150, 2, |it| Blow::Pause(it.long())),
        (80, 2, |_| Blow::Lose),
        (80, 2, |_| Blow::Restore),
    ];
    let mut draws = Draws {
        chance,
        jobs,
        cards,
        longest_ms,
        settle_ms,
    };
    for (of_worlds, most, draw) in kinds {
        for _ in 0..swarm(draws.chance, of_worlds, most) {
            let at_ms = draws.chance.up_to(until_ms);
            let blow = draw(&mut draws);
            if blow == Blow::Restore {
                let before_ms = draws.chance.up_to(at_ms);
                blows.push((before_ms, Blow::Backup));
            }
            blows.push((at_ms, blow));
        }
    }
    blows.sort_by_key(|(at_ms, _)| *at_ms);
    blows
}

type Draw = fn(&mut Draws<'_>) -> Blow;

/// What blows are drawn from.
struct Draws<'a> {
    chance: &'a mut Chance,
    jobs: usize,
    cards: usize,
    longest_ms: u64,
    settle_ms: u64,
}

impl Draws<'_> {
    fn long(&mut self) -> u64 {
        self.chance.magnitude(self.longest_ms)
    }

    fn card(&mut self) -> usize {
        self.chance.index(self.cards)
    }

    fn job(&mut self) -> usize {
        self.chance.index(self.jobs)
    }

    fn off(&mut self) -> i64 {
        let most = 4 * self.settle_ms;
        i64::try_from(self.chance.magnitude(most)).expect("few")
    }
}
