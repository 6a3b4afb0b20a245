//! A round under way: the bank, the process that pays, what stands between them, and the blows.
//!
//! ```text
//! process that pays ──► proxy ──► simulated bank
//!         │                          │ books
//!         └──► proxy ──► RabbitMQ    ▼
//!                                  judge
//! ```
//!
//! *What it promises.* Each blow falls or is given up within its bound. Whatever ends the process that
//! pays is noted, and it is started again.
//!
//! *What it refuses to know.* Where jobs come from, and what they come to.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::Context as _;
use tokio::time::{Instant, sleep, timeout};

use super::bank::Bank;
use super::child::{Child, Life};
use super::evidence::{Journal, Memory};
use super::plan::{BLOWS_PER_WEATHER, Blow, Peer, Plan};
use super::proxy::Proxy;
use super::stage::{Ground, STOP_LIMIT};
use super::watch::{Looks, Progress};
use crate::app::exit::{Exit, Failure};
use crate::simulator::Report;

/// A blow waits at most so long for the calls that it is to come after: a flow that is held makes none.
const CALLS_LIMIT: Duration = Duration::from_millis(1_500);
/// A cut waits at most so long for its byte.
const CUT_LIMIT: Duration = Duration::from_secs(2);
/// How often a wait looks at the process.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// One kill in so many is followed by a look into the ledger: the others leave it to the next process as
/// it is.
const LOOK_ONE_IN: u64 = 2;
/// After so many ends that nobody asked for, a round has seen enough.
const WRONG_ENDS_MOST: usize = 10;
/// Calls that a process which was killed may have left on their way: these are counted late.
const CALLS_AT_ONCE: u64 = 16;
/// After so many blows between which no payment was heard, none is to be expected: an outage or a pause
/// lasts for two or three.
const IDLE_MOST: u64 = 6;
/// In a row, ends that mean no fault.
const UNUSABLE_MOST: u64 = 200;
/// What a request that is still on its way is waited for before the books are read.
const LATE_LIMIT: Duration = Duration::from_secs(30);

/// What is paid by: `tanda run`, or `tanda worker`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Payer {
    Run,
    Worker,
}

/// How the process that pays is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    Running,
    /// It ended, because everything is done.
    Done,
    /// It ended with something left to do: it is to be started again.
    Ended,
}

/// A round under way.
pub(super) struct World<'a> {
    pub(super) ground: &'a Ground,
    pub(super) bank: Bank,
    pub(super) before_bank: Proxy,
    pub(super) before_broker: Option<Proxy>,
    payer: Payer,
    arguments: Vec<String>,
    child: Option<Child>,
    /// Calls of the bank when it was started.
    calls_at_start: u64,
    /// Whether the faults were over when it was started.
    started_calm: bool,
    is_calm: bool,
    unusable_in_a_row: u64,
    /// Blows in a row between which the bank heard no payment.
    idle_blows: u64,
    /// Whether it was given up, because the process that pays does not stay alive.
    pub(super) gave_up: bool,
    pub(super) journal: Journal,
    looks: Looks,
    progress: Arc<Progress>,
}

impl<'a> World<'a> {
    /// Starts the bank of a round. The process that pays gets these arguments.
    pub(super) async fn begin(
        ground: &'a mut Ground,
        seed: u64,
        before_broker: Option<Proxy>,
        payer: (Payer, Vec<String>),
        progress: Arc<Progress>,
    ) -> Result<Self, Failure> {
        let (seed, token) = (seed.to_string(), ground.token().to_owned());
        let listening = ["simulator", "--listen", "127.0.0.1:0"];
        let behaving = ["--accept-token", &token, "--seed", &seed];
        let bank =
            Bank::start(ground.orders(&[&listening[..], &behaving].concat(), "bank")).await?;
        let before_bank = Proxy::before("127.0.0.1", bank.port())
            .await
            .context("no port for a proxy before the bank")
            .map_err(unusable)?;
        let address = before_bank.address();
        ground.set("TANDA_BANK__BASE_URL", format!("http://{address}"));
        Ok(Self {
            ground,
            bank,
            before_bank,
            before_broker,
            payer: payer.0,
            arguments: payer.1,
            child: None,
            calls_at_start: 0,
            started_calm: false,
            is_calm: false,
            unusable_in_a_row: 0,
            idle_blows: 0,
            gave_up: false,
            journal: Journal::default(),
            looks: Looks::default(),
            progress,
        })
    }

    /// Whether there is nothing left to be hurt: what is open only waits to be asked about, which takes
    /// longer than a process lives under fire.
    pub(super) fn is_spent(&self) -> bool {
        self.gave_up || self.idle_blows >= IDLE_MOST
    }

    /// Changes the bank's lies where it is time, and deals the n-th blow. How the process that pays was
    /// found then.
    pub(super) async fn strike(&mut self, plan: &Plan, n: u64) -> Result<Found, Failure> {
        let before = self.before_bank.calls();
        let found = self.deal(plan, n).await?;
        let was_idle = self.before_bank.calls() == before;
        self.idle_blows = if was_idle { self.idle_blows + 1 } else { 0 };
        Ok(found)
    }

    async fn deal(&mut self, plan: &Plan, n: u64) -> Result<Found, Failure> {
        if n.is_multiple_of(BLOWS_PER_WEATHER) {
            let lies = plan.lies(n / BLOWS_PER_WEATHER);
            self.bank.lie(&lies).await?;
        }
        let is_fresh = self.child.is_none();
        self.start()?;
        match plan.blow(n) {
            Blow::Kill { calls, pause } => {
                self.await_calls(calls).await?;
                sleep(pause).await;
                self.kill(false).await
            }
            Blow::KillEarly { pause } => {
                sleep(pause).await;
                self.kill(is_fresh).await
            }
            Blow::Stop { calls } => {
                self.await_calls(calls).await?;
                // Before its first call it may not listen to signals yet: the system would end it.
                if self.before_bank.calls() > self.calls_at_start + CALLS_AT_ONCE {
                    self.stop().await
                } else {
                    self.kill(false).await
                }
            }
            Blow::Cut {
                peer,
                direction,
                bytes,
            } => {
                let Some(proxy) = self.proxy(peer) else {
                    return self.find();
                };
                let before = proxy.cuts();
                proxy.cut_after(direction, bytes);
                let cut = async {
                    while proxy.cuts() == before {
                        sleep(LOOK_EVERY).await;
                    }
                };
                let has_fallen = timeout(CUT_LIMIT, cut).await.is_ok();
                proxy.cut_nothing();
                if has_fallen {
                    *self.journal.cuts.entry(peer).or_default() += 1;
                    Progress::add(&self.progress.others);
                }
                self.find()
            }
            Blow::Shut { peer, lasting } => {
                let Some(proxy) = self.proxy(peer) else {
                    return self.find();
                };
                proxy.shut(true);
                sleep(lasting).await;
                proxy.shut(false);
                *self.journal.shuts.entry(peer).or_default() += 1;
                Progress::add(&self.progress.others);
                self.find()
            }
        }
    }

    fn proxy(&self, peer: Peer) -> Option<&Proxy> {
        match peer {
            Peer::Bank => Some(&self.before_bank),
            Peer::Broker => self.before_broker.as_ref(),
        }
    }

    /// Starts the process that pays, unless it runs.
    pub(super) fn start(&mut self) -> Result<(), Failure> {
        if self.child.is_some() {
            return Ok(());
        }
        let arguments: Vec<_> = self.arguments.iter().map(String::as_str).collect();
        let child = Child::start(self.ground.orders(&arguments, "pay"));
        self.child = Some(
            child
                .context("a process could not be started")
                .map_err(unusable)?,
        );
        self.calls_at_start = self.before_bank.calls();
        self.started_calm = self.is_calm;
        self.journal.starts += 1;
        Ok(())
    }

    /// Waits until the bank has heard so many calls, the process has ended, or it takes too long.
    async fn await_calls(&mut self, calls: u64) -> Result<(), Failure> {
        let heard = self.before_bank.calls() + calls;
        let until = Instant::now() + CALLS_LIMIT;
        while Instant::now() < until {
            if timeout(LOOK_EVERY, self.before_bank.heard(heard))
                .await
                .is_ok()
            {
                self.unusable_in_a_row = 0;
                return Ok(());
            }
            if self.life()? != Life::Runs {
                return Ok(());
            }
        }
        Ok(())
    }

    fn life(&mut self) -> Result<Life, Failure> {
        let Some(child) = &mut self.child else {
            return Ok(Life::Ended(None));
        };
        child
            .life()
            .context("a process cannot be looked at")
            .map_err(unusable)
    }

    /// SIGKILL, where it still runs.
    async fn kill(&mut self, is_early: bool) -> Result<Found, Failure> {
        let found = self.find()?;
        if found != Found::Running {
            return Ok(found);
        }
        if let Some(mut child) = self.child.take() {
            let killed = child.kill();
            killed
                .context("a process could not be killed")
                .map_err(unusable)?;
        }
        self.journal.kills += 1;
        self.journal.kills_early += u64::from(is_early);
        Progress::add(&self.progress.kills);
        if self.journal.kills.is_multiple_of(LOOK_ONE_IN) {
            let books = self.bank.books().await?;
            self.looks.look(&self.ground.ledger(), &books)?;
        }
        Ok(Found::Ended)
    }

    /// SIGTERM, where it still runs.
    pub(super) async fn stop(&mut self) -> Result<Found, Failure> {
        let found = self.find()?;
        let Some(mut child) = self.child.take() else {
            return Ok(found);
        };
        let end = child.stop(STOP_LIMIT).await;
        let end = end
            .context("a process could not be stopped")
            .map_err(unusable)?;
        Progress::add(&self.progress.others);
        // What was done just then ended as it would have without the signal.
        if self.payer == Payer::Run && matches!(end.code, Some(DONE | SOME_REFUSED)) {
            return Ok(Found::Done);
        }
        if self.payer == Payer::Run && end.code == Some(SOME_OPEN) {
            return Ok(Found::Ended);
        }
        self.journal.stops.push(end);
        Ok(Found::Ended)
    }

    /// How the process is; where it has ended by itself, that is noted.
    pub(super) fn find(&mut self) -> Result<Found, Failure> {
        let Life::Ended(code) = self.life()? else {
            return Ok(Found::Running);
        };
        let Some(child) = self.child.take() else {
            return Ok(Found::Ended);
        };
        match (self.payer, code) {
            (Payer::Run, Some(DONE | SOME_REFUSED)) => return Ok(Found::Done),
            (Payer::Run, Some(SOME_OPEN)) => return Ok(Found::Ended),
            _ => {}
        }
        let words = child.last_words();
        // In the middle of faults bank and broker may be out of reach; the ledger never is.
        let error = words.lines().rev().find(|line| line.starts_with("error:"));
        let is_of_ledger = error.is_some_and(|error| error.contains("ledger"));
        if code == Some(UNUSABLE) && !is_of_ledger && !self.started_calm {
            self.journal.ended_unusable += 1;
            self.unusable_in_a_row += 1;
            if self.unusable_in_a_row < UNUSABLE_MOST {
                return Ok(Found::Ended);
            }
        }
        self.ended_wrongly(code, &words);
        Ok(Found::Ended)
    }

    /// Notes an end that nobody asked for and that means a fault.
    fn ended_wrongly(&mut self, code: Option<i32>, words: &str) {
        let ended = match code {
            Some(code) => format!("with {code}"),
            None => "by a signal".to_owned(),
        };
        let wrongly = &mut self.journal.ended_wrongly;
        wrongly.push(format!(
            "the process that pays ended unasked {ended}: {words}"
        ));
        self.gave_up = wrongly.len() >= WRONG_ENDS_MOST;
    }

    /// Ends all faults.
    pub(super) async fn calm(&mut self) -> Result<(), Failure> {
        self.bank.lie("").await?;
        for proxy in [Some(&self.before_bank), self.before_broker.as_ref()]
            .into_iter()
            .flatten()
        {
            proxy.cut_nothing();
            proxy.shut(false);
        }
        self.is_calm = true;
        self.progress.settling.store(1, Ordering::Relaxed);
        Ok(())
    }

    /// Waits until the process has ended by itself, for so long.
    pub(super) async fn await_end(&mut self, limit: Duration) -> Result<Life, Failure> {
        let Some(child) = &mut self.child else {
            return Ok(Life::Ended(None));
        };
        let life = child.ends_within(limit).await;
        life.context("a process cannot be looked at")
            .map_err(unusable)
    }

    /// Ends what is left, and gives what was seen. The ledger is looked at once more.
    pub(super) async fn end(mut self) -> Result<Seen, Failure> {
        self.child = None;
        let until = Instant::now() + LATE_LIMIT;
        let mut books = self.bank.books().await?;
        while books.late > 0 && Instant::now() < until {
            sleep(LOOK_EVERY).await;
            books = self.bank.books().await?;
        }
        self.journal.stall = self.progress.take_stall();
        Ok(Seen {
            memory: self.looks.finish(&self.ground.ledger())?,
            journal: self.journal,
            books,
        })
    }
}

/// What was seen of a round.
pub(super) struct Seen {
    pub(super) journal: Journal,
    pub(super) memory: Memory,
    pub(super) books: Report,
}

pub(super) fn unusable(error: anyhow::Error) -> Failure {
    Failure::new(Exit::Unusable, error)
}

// Exit codes of the processes, as a caller sees them.
const DONE: i32 = 0;
const SOME_REFUSED: i32 = 6;
const SOME_OPEN: i32 = 7;
const UNUSABLE: i32 = 8;
