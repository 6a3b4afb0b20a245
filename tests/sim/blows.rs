//! What befalls a world from outside at times of its own: one by one, or in chains.

use crate::cast::Content;
use crate::plan::DAY_MS;
use crate::rng::Rng;

/// Something that befalls the world at a time of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Blow {
    /// The process is killed.
    Kill,
    /// The task of this job panics.
    Panic(usize),
    /// The flow pauses for this long.
    Pause(u64),
    /// Our wall clock jumps forward.
    WallForward(u64),
    /// Our wall clock jumps back.
    WallBack(u64),
    /// The machine sleeps: monotonic time stands still, all else goes on.
    Sleep(u64),
    /// The consuming connection breaks.
    Cut,
    /// A producer puts this job on the queue once more.
    Duplicate(usize),
    /// A producer puts another job under the same name on the queue.
    Copy(usize),
    /// A delivery with an unclear attempt has become too old.
    TooOld(usize),
    /// A person copies the ledger.
    Backup,
    /// The machine dies and takes the ledger along; a person accepts the loss.
    Lose,
    /// The machine dies; a person puts the last copy of the ledger in its place and accepts the loss.
    Restore,
    /// A person cancels this job.
    Cancel(usize),
    /// A person has the bank asked at once.
    AskNow,
    /// A person says what became of this job.
    Rule(usize),
    /// A person wants this job run again, if it ended without moving money, with this content.
    Again(usize, Content),
    /// Someone else takes room from the card.
    OthersTake,
    /// Or gives it.
    OthersGive,
    /// The card is blocked for this long.
    Block(u64),
    /// The bank does not know the card for this long.
    Unknown(u64),
    /// The bank is away for this long.
    Outage(u64),
}

/// A blow of any kind but the loss of the ledger.
fn any_blow(rng: &mut Rng, jobs: usize, until: u64, may_sleep: bool) -> Blow {
    let length = rng.magnitude(until);
    let job = rng.index(jobs);
    match rng.up_to(26) {
        0..=2 => Blow::Kill,
        3 => Blow::Panic(job),
        4 => Blow::Pause(length),
        5 => Blow::WallForward(rng.magnitude(30 * DAY_MS)),
        6 if may_sleep => Blow::Sleep(length),
        6 => Blow::WallBack(rng.magnitude(30 * DAY_MS)),
        7 | 8 => Blow::Cut,
        9 | 10 => Blow::Duplicate(job),
        11 => Blow::Copy(job),
        12 => Blow::TooOld(job),
        13 => Blow::Cancel(job),
        14 | 15 => Blow::AskNow,
        16 => Blow::Rule(job),
        17 | 18 => Blow::Again(job, Content::First),
        19 => Blow::Again(job, Content::Other),
        20 => Blow::OthersTake,
        21 | 22 => Blow::OthersGive,
        23 => Blow::Block(length),
        24 => Blow::Unknown(length),
        25 => Blow::Backup,
        _ => Blow::Outage(length),
    }
}

/// Blows that follow each other so that together they are more than chance makes of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Chain {
    /// The ledger is lost while messages about what it knew may still come.
    Loss,
    /// A copy of the ledger takes its place, from before what happened since.
    Restored,
    /// The same, and what happened since is a later generation, which is then asked for again.
    RestoredAgain,
    /// A person says what became of a job, and has it run again.
    People,
    /// Producers repeat themselves.
    Copies,
}

impl Chain {
    /// None, in half of all worlds.
    pub(crate) fn draw(rng: &mut Rng) -> Option<Self> {
        rng.pick(&[
            None,
            None,
            None,
            None,
            Some(Self::Loss),
            Some(Self::Restored),
            Some(Self::RestoredAgain),
            Some(Self::People),
            Some(Self::Copies),
        ])
    }

    fn blows(self, rng: &mut Rng, job: usize) -> Vec<Blow> {
        let content = rng.pick(&[Content::First, Content::First, Content::Other]);
        match self {
            Self::Loss => vec![Blow::OthersGive, Blow::Lose, Blow::Duplicate(job)],
            Self::Restored => vec![
                Blow::Backup,
                Blow::OthersGive,
                Blow::Restore,
                Blow::Again(job, content),
            ],
            Self::RestoredAgain => vec![
                Blow::Backup,
                Blow::OthersGive,
                Blow::Again(job, content),
                Blow::Restore,
                Blow::OthersGive,
                Blow::Again(job, content),
            ],
            Self::People => vec![
                Blow::Rule(job),
                Blow::Rule(job),
                Blow::Again(job, content),
                Blow::OthersGive,
                Blow::Again(job, content),
            ],
            Self::Copies => vec![
                Blow::Copy(job),
                Blow::Duplicate(job),
                Blow::Copy(job),
                Blow::Cut,
            ],
        }
    }
}

/// What befalls a world of so many jobs until its faults stop.
pub(crate) fn draw_blows(
    rng: &mut Rng,
    chain: Option<Chain>,
    (jobs, settle_ms, until): (usize, u64, u64),
) -> Vec<(u64, Blow)> {
    let mut blows = Vec::new();
    // No clock can tell how long a machine slept while its wall clock was set back; a world has
    // one or the other.
    let may_sleep = rng.coin();
    for _ in 0..rng.swarm(8) {
        blows.push((rng.magnitude(until), any_blow(rng, jobs, until, may_sleep)));
    }
    if let Some(chain) = chain {
        let job = rng.index(jobs);
        let mut at = rng.magnitude(until / 2);
        for blow in chain.blows(rng, job) {
            blows.push((at.min(until), blow));
            let gap = rng.pick(&[until / 4, settle_ms]);
            at += rng.magnitude(gap);
            if chain == Chain::RestoredAgain && blow == Blow::Restore && rng.coin() {
                // Long enough for all that was sent to be listed.
                at += settle_ms * 3 / 2;
            }
        }
    }
    blows.sort_by_key(|(at, _)| *at);
    blows
}
