//! One world: processes of the real engine come and go between the fakes while faults last, and then work
//! until everything is settled.
//!
//! *What it promises.* What happens depends on the seed and on nothing else. Once faults have stopped, what
//! is not settled in time is told as a violation.
//!
//! *What it refuses to know.* What is right: its parts judge as they go, and [`judge`](super::judge) at the
//! end.

mod calm;

use std::collections::{BTreeMap, BTreeSet};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use tanda::domain::job::EntityId;
use tanda::domain::outcome::Status;
use tanda::domain::request::{EvidenceText, Ruling, Wish};
use tanda::domain::time::Timestamp;
use tanda::engine::ports::{Ledger as _, Sight, Source, Standing};
use tanda::engine::stop::Stopper;
use tanda::engine::{Ended, EngineError, Pause, Ports};
use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};

use super::bank::TheBank;
use super::chance::Chance;
use super::figures::Figures;
use super::judge;
use super::ledger::{Vault, ana};
use super::offers::Offers;
use super::plan::{Blow, LEAST_FREE_BYTES, Plan, Sources, card_id};
use super::readers::Readers;
use super::sabotage::Sabotage;
use super::scene::{Scene, Violation, ms};

/// A process that was asked to stop, or whose ledger failed, must end within so long beyond its drain.
const END_WITHIN_MS: u64 = 60_000;
/// What came of a world.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct End {
    pub(super) figures: Figures,
    pub(super) violation: Option<Violation>,
    pub(super) story: Vec<String>,
}

/// What happens at a time of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Event {
    Put(usize),
    Blow(Blow),
    Start,
    Resume,
    DiskFree,
    Abandon,
    /// A process that should have ended by now has not.
    Overdue(u64),
    EndOfFaults,
    Look,
}

/// A process that runs.
struct Process {
    number: u64,
    of_file: bool,
    stopper: Stopper,
    task: JoinSet<Result<Ended, EngineError>>,
    pauses: watch::Receiver<Option<Pause>>,
    asked_to_stop: bool,
}

#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a fact of its own about the world"
)]
struct World {
    scene: Scene,
    plan: Arc<Plan>,
    sabotage: Sabotage,
    bank: TheBank,
    vault: Vault,
    readers: Readers,
    offers: Offers,
    agenda: BTreeMap<(u64, u64), Event>,
    events: u64,
    process: Option<Process>,
    /// A second one, where two work on one ledger.
    rival: Option<Process>,
    losses: u64,
    calm: bool,
    /// Every row of the file is over, since faults stopped.
    file_is_read: bool,
    /// How often the file was run to its end since then.
    calm_runs: u32,
    ended_ms: u64,
    next_is_file: bool,
    ruled: BTreeSet<(EntityId, u32)>,
    /// Since when each open job was seen in the calm.
    open_since_ms: BTreeMap<(EntityId, u32), u64>,
    over: bool,
    deadline_ms: u64,
}

/// Runs the world of a seed.
pub(super) fn run(seed: u64, sabotage: Sabotage, tells: bool) -> End {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    let ran = std::panic::catch_unwind(AssertUnwindSafe(|| {
        runtime.block_on(live(seed, sabotage, tells))
    }));
    ran.unwrap_or_else(|panic| {
        let what = panic
            .downcast_ref::<String>()
            .cloned()
            .or_else(|| panic.downcast_ref::<&str>().map(|it| (*it).to_owned()));
        End {
            figures: Figures::default(),
            violation: Some(Violation {
                invariant: "no panic",
                what: what.unwrap_or_default(),
            }),
            story: Vec::new(),
        }
    })
}

async fn live(seed: u64, sabotage: Sabotage, tells: bool) -> End {
    let mut chance = Chance::new(seed);
    // The clock of the world begins at 0, whose time is known before its scene is.
    let wall_start = Timestamp::from_millis(super::scene::WALL_START_MS);
    let plan = Arc::new(Plan::draw(&mut chance, wall_start));
    let scene = Scene::new(chance, plan.weights.clone(), tells);
    let bank = TheBank::new(scene.clone(), Arc::clone(&plan), sabotage);
    let vault = Vault::new(scene.clone(), Arc::clone(&plan), sabotage);
    let readers = Readers::new(scene.clone(), Arc::clone(&plan), bank.clone(), sabotage);
    let offers = Offers::new(
        scene.clone(),
        Arc::clone(&plan),
        readers.clone(),
        vault.clone(),
        sabotage,
    );
    let next_is_file = plan.sources == Sources::File;
    let mut world = World {
        scene,
        plan,
        sabotage,
        bank,
        vault,
        readers,
        offers,
        agenda: BTreeMap::new(),
        events: 0,
        process: None,
        rival: None,
        losses: 0,
        calm: false,
        file_is_read: false,
        calm_runs: 0,
        ended_ms: 0,
        next_is_file,
        ruled: BTreeSet::new(),
        open_since_ms: BTreeMap::new(),
        over: false,
        deadline_ms: u64::MAX,
    };
    world.tell_plan();
    world.fill_agenda();
    world.go_on().await;
    world.close().await
}

impl World {
    fn at(&mut self, at_ms: u64, event: Event) {
        self.events += 1;
        self.agenda.insert((at_ms, self.events), event);
    }

    fn after(&mut self, after_ms: u64, event: Event) {
        let at_ms = self.scene.now() + after_ms;
        self.at(at_ms, event);
    }

    fn tell_plan(&self) {
        let plan = &self.plan;
        self.scene.tell(|| {
            format!(
                "{:?}: {} jobs, {} messages, {} rows, faults until {} ms; settle delay {} ms, \
                 timeout {}, late {}, lag {}, key {}; run again {}, mangled ids {}, nameless {}",
                plan.sources,
                plan.jobs.len(),
                plan.puts.len(),
                plan.rows.len(),
                plan.faults_until_ms,
                plan.settle_ms,
                plan.timeout_ms,
                plan.late_max_ms,
                plan.lag_max_ms,
                plan.key_lifetime_ms,
                plan.runs_again,
                plan.mangles_ids,
                plan.nameless,
            )
        });
        self.scene.tell(|| format!("{:?}", plan.settings));
        self.scene.tell(|| format!("{:?}", plan.weights.on()));
        for (at_ms, blow) in &plan.blows {
            self.scene.tell(|| format!("at {at_ms} ms: {blow:?}"));
        }
    }

    fn fill_agenda(&mut self) {
        let plan = Arc::clone(&self.plan);
        for (n, (at_ms, _)) in plan.puts.iter().enumerate() {
            self.at(*at_ms, Event::Put(n));
        }
        for (at_ms, blow) in &plan.blows {
            self.at(*at_ms, Event::Blow(*blow));
        }
        self.at(0, Event::Start);
        self.at(plan.faults_until_ms + 1, Event::EndOfFaults);
    }

    async fn go_on(&mut self) {
        while !self.over && !self.scene.is_broken() {
            let next_ms = self.agenda.first_key_value().map(|((at_ms, _), _)| *at_ms);
            let next_ms =
                next_ms.expect("faults end, and after that it is looked at again and again");
            let due = self.scene.instant(next_ms);
            let ended = async {
                match &mut self.process {
                    Some(process) => process.task.join_next().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = self.scene.died() => if !self.scene.is_broken() {
                    self.scene.tell(|| "killed at a step".to_owned());
                    self.kill().await;
                },
                ended = ended => {
                    let ended = ended.expect("it has one task");
                    self.has_ended(ended).await;
                }
                () = tokio::time::sleep_until(due) => {
                    let (_, event) = self.agenda.pop_first().expect("it was just looked at");
                    self.happen(event).await;
                }
            }
        }
    }

    async fn happen(&mut self, event: Event) {
        match event {
            Event::Put(n) => {
                let plan = Arc::clone(&self.plan);
                let (_, message) = plan.puts.get(n).expect("it is on the agenda");
                self.offers.put(message);
            }
            Event::Blow(blow) => self.befall(blow).await,
            Event::Start => self.start(),
            Event::Resume => self.ask(Wish::Resume).await,
            Event::DiskFree => self.vault.books().set_free_bytes(None),
            Event::Abandon => {
                if let Some(process) = self.process.as_ref().filter(|it| it.asked_to_stop) {
                    process.stopper.ask();
                }
            }
            Event::Overdue(number) => {
                if self.process.as_ref().is_some_and(|it| it.number == number) {
                    self.scene
                        .violate("I13", || "a process that is to end does not end".to_owned());
                }
            }
            Event::EndOfFaults => self.end_of_faults().await,
            Event::Look => self.look().await,
        }
    }

    // ---- processes ----------------------------------------------------------------------------

    fn start(&mut self) {
        if self.process.is_some() {
            return;
        }
        let of_file = match self.plan.sources {
            Sources::Queue => false,
            Sources::File => true,
            Sources::Both => self.next_is_file,
        };
        self.next_is_file = !of_file;
        let within = self.plan.kill_within_steps.filter(|_| !self.calm);
        let steps = within.map(|within| self.scene.draw(|it| it.magnitude(within)));
        self.process = Some(self.process(of_file, steps));
        if self.sabotage == Sabotage::TwoEngines {
            self.rival = Some(self.process(of_file, steps));
        }
    }

    fn process(&self, of_file: bool, steps: Option<u64>) -> Process {
        let life = self.scene.begin_life(steps);
        self.scene.count(|it| it.lives += 1);
        self.vault.open_again();
        let ports = Ports {
            bank: Arc::new(self.bank.door(life, self.vault.books())),
            ledger: Arc::new(self.vault.door(life)),
            sink: Arc::new(self.readers.sink(life)),
            clock: Arc::new(self.scene.clone()),
        };
        let again = self
            .plan
            .runs_again
            .then(ana)
            .filter(|_| life.is_multiple_of(2) && !self.calm);
        let (mut settings, source): (_, Box<dyn Source>) = if of_file {
            let source = self.offers.file(life, again);
            (self.plan.file_settings(), Box::new(source))
        } else {
            (
                self.plan.settings.clone(),
                Box::new(self.offers.queue(life)),
            )
        };
        if self.sabotage == Sabotage::AttemptsAreCutShort {
            settings.rules.max_attempts = 1;
        }
        self.scene
            .tell(|| format!("process {life} begins, of the file: {of_file}, dies in {steps:?}"));
        let (stopper, stop) = tanda::engine::stop::signal();
        let (shown, pauses) = watch::channel(None);
        let mut task = JoinSet::new();
        task.spawn(async move { tanda::engine::run(ports, settings, source, stop, &shown).await });
        Process {
            number: life,
            of_file,
            stopper,
            task,
            pauses,
            asked_to_stop: false,
        }
    }

    /// Nothing of a process is left.
    fn is_gone(&mut self) {
        self.scene.end_lives();
        self.bank.callers_are_gone();
        self.offers.taker_is_gone();
    }

    /// The process is killed where it is.
    async fn kill(&mut self) {
        self.scene.count(|it| it.kills += 1);
        self.scene.end_lives();
        let both = [self.process.take(), self.rival.take()];
        for mut process in both.into_iter().flatten() {
            process.task.shutdown().await;
        }
        self.is_gone();
        self.start_again();
    }

    /// In the calm, whether another is needed is decided when it is looked at.
    fn start_again(&mut self) {
        if !self.calm {
            let longest_ms = self.plan.settle_ms;
            let after_ms = self.scene.draw(|it| it.magnitude(longest_ms));
            self.after(after_ms, Event::Start);
        }
    }

    async fn has_ended(&mut self, ended: Result<Result<Ended, EngineError>, JoinError>) {
        let process = self.process.take().expect("it has just ended");
        self.ended_ms = self.scene.now();
        let stops = process.asked_to_stop;
        let text = format!("{ended:?}");
        self.scene
            .tell(|| format!("process {} ended: {text}", process.number));
        let is_right = match &ended {
            Ok(Ok(Ended::Dry)) => process.of_file,
            Ok(Ok(Ended::Stopped)) => stops,
            Ok(Err(EngineError::Ledger(_))) => self.vault.failed(),
            Ok(Err(EngineError::Source(_))) => self.offers.broke(),
            Ok(Err(EngineError::Rules(_))) | Err(_) => false,
        };
        if !is_right {
            self.scene.violate("the end of a process", || text);
        }
        if let Some(mut rival) = self.rival.take() {
            self.scene.end_lives();
            rival.task.shutdown().await;
        }
        self.is_gone();
        if self.calm && matches!(ended, Ok(Ok(Ended::Dry))) {
            self.calm_runs += 1;
            self.file_is_read = self.all_rows_are_over().await;
        }
        self.start_again();
    }

    async fn all_rows_are_over(&self) -> bool {
        let names = self.plan.rows.iter().map(|job| job.entity_id.clone());
        let sights = self.vault.books().look(names.collect()).await;
        sights
            .expect("memory")
            .iter()
            .all(|it| ending(it).is_some())
    }

    fn ask_to_stop(&mut self) {
        let Some(process) = &mut self.process else {
            return;
        };
        process.stopper.ask();
        process.asked_to_stop = true;
        let number = process.number;
        self.scene.count(|it| it.stops += 1);
        self.scene.tell(|| "asked to stop".to_owned());
        let drain_ms = ms(self.plan.settings.drain);
        self.after(drain_ms + END_WITHIN_MS, Event::Overdue(number));
    }

    // ---- what befalls it ----------------------------------------------------------------------

    async fn befall(&mut self, blow: Blow) {
        if self.calm {
            return;
        }
        self.scene.tell(|| format!("{blow:?}"));
        match blow {
            Blow::Kill => {
                if self.process.is_some() {
                    self.kill().await;
                }
            }
            Blow::Stop { abandon_after_ms } => {
                let stops_already = self.process.as_ref().is_some_and(|it| it.asked_to_stop);
                if !stops_already {
                    self.ask_to_stop();
                    if let Some(after_ms) = abandon_after_ms {
                        self.after(after_ms, Event::Abandon);
                    }
                }
            }
            Blow::Outage(for_ms) => self.bank.outage(for_ms),
            Blow::NoCredential(for_ms) => self.bank.no_credential(for_ms),
            Blow::PortalUp(for_ms) => self.bank.portal(for_ms),
            Blow::TooMany(for_ms) => self.bank.too_many(for_ms),
            Blow::Blocked(card, for_ms) => self.bank.block(&card_id(card), for_ms),
            Blow::Unknown(card, for_ms) => self.bank.forget_card(&card_id(card), for_ms),
            Blow::ResultsFull(for_ms) => self.readers.full(for_ms),
            Blow::DiskFull(for_ms) => {
                self.vault
                    .books()
                    .set_free_bytes(Some(LEAST_FREE_BYTES - 1));
                self.after(for_ms, Event::DiskFree);
            }
            Blow::Cut => self.offers.cut(),
            Blow::Wall(by_ms) => self.scene.wall_jumps(by_ms),
            Blow::Cancel(job) => self.ask(Wish::Cancel(self.name(job))).await,
            Blow::Reconcile(job) => {
                let wish = Wish::Reconcile(job.map(|job| self.name(job)));
                self.ask(wish).await;
            }
            Blow::Rule { job, rightly } => {
                let entity_id = self.in_doubt(job).await;
                self.rule(entity_id, rightly).await;
            }
            Blow::Redrive(job) => self.redrive(self.name(job)).await,
            Blow::Pause(for_ms) => {
                self.ask(Wish::Pause).await;
                self.after(for_ms, Event::Resume);
            }
            Blow::Backup => {
                self.vault.back_up();
                self.readers.ledger_is_copied();
            }
            Blow::Lose => self.lose(false).await,
            Blow::Restore => self.lose(true).await,
        }
    }

    async fn lose(&mut self, puts_copy_back: bool) {
        self.kill().await;
        if self.sabotage == Sabotage::PaysAtALossWhatItRefused {
            self.bank.pays_what_it_refused();
        }
        self.judged().judge_told_so_far();
        if !self.vault.lose(puts_copy_back) {
            return;
        }
        self.losses += 1;
        self.scene.count(|it| it.losses += 1);
        if self.sabotage != Sabotage::CopyIsNotAccepted {
            self.readers.ledger_is_lost(puts_copy_back);
            self.bank.ledger_is_lost();
            self.offers.ledger_is_lost();
        }
    }

    fn name(&self, job: usize) -> EntityId {
        let job = self.plan.jobs.get(job).expect("it was drawn among them");
        job.entity_id.clone()
    }

    /// A job that is open, of which people speak more often than of others; where there is none, this one.
    async fn in_doubt(&self, job: usize) -> EntityId {
        let open = self.vault.books().unsettled(None, usize::MAX).await;
        let open = open.expect("memory");
        let speaks_of_it = !open.is_empty() && self.scene.draw(Chance::coin);
        let at = if speaks_of_it { job % open.len() } else { 0 };
        match open.get(at).filter(|_| speaks_of_it) {
            Some(open) => open.intent.job.entity_id.clone(),
            None => self.name(job),
        }
    }

    async fn ask(&self, wish: Wish) {
        self.scene.count(|it| it.requests += 1);
        let (books, now) = (self.vault.books(), self.scene.wall_now());
        books.request(wish, ana(), now).await.expect("memory");
    }

    /// A person says what became of a job by now, and knows it, or errs. What is still on its way nobody
    /// knows of: that is for the engine to wait for.
    async fn rule(&self, entity_id: EntityId, rightly: bool) {
        let (ruling, status) = if self.bank.has_moved(entity_id.as_str()) == rightly {
            (Ruling::Succeeded, Status::Succeeded)
        } else {
            (Ruling::NotSent, Status::NotSent)
        };
        if !rightly {
            self.readers.person_errs(entity_id.as_str(), status);
        }
        let evidence = EvidenceText::parse("a letter of the bank").expect("a text");
        self.ask(Wish::Settle {
            entity_id,
            ruling,
            evidence,
        })
        .await;
    }

    async fn redrive(&self, entity_id: EntityId) {
        let sights = self.vault.books().look(vec![entity_id.clone()]).await;
        let sight = sights.expect("memory").into_iter().next();
        if let Some(Sight::Known { generation, .. }) = sight {
            self.scene.count(|it| it.redrives += 1);
            self.ask(Wish::Redrive {
                entity_id,
                generation: generation.next(),
            })
            .await;
        }
    }

    // ---- the end ------------------------------------------------------------------------------

    fn judged(&self) -> judge::Judged<'_> {
        judge::Judged {
            scene: &self.scene,
            plan: &self.plan,
            bank: &self.bank,
            vault: &self.vault,
            readers: &self.readers,
            offers: &self.offers,
            losses: self.losses,
        }
    }

    async fn close(mut self) -> End {
        if !self.scene.is_broken() {
            // Whatever is under way arrives before it is judged.
            self.scene.pass(self.bank.all_arrived_in_ms()).await;
            self.judged().judge().await;
        }
        let both = [self.process.take(), self.rival.take()];
        for mut process in both.into_iter().flatten() {
            self.scene.end_lives();
            process.task.shutdown().await;
        }
        let (jobs, now) = (self.plan.jobs.len(), self.scene.now());
        self.scene.count(|it| {
            it.worlds += 1;
            it.jobs += u64::try_from(jobs).expect("few");
            it.virtual_s += now / 1_000;
        });
        let (figures, violation, story) = self.scene.end();
        End {
            figures,
            violation,
            story,
        }
    }
}

/// Whether a job is over, and how.
pub(super) fn ending(sight: &Sight) -> Option<Status> {
    match sight {
        Sight::Known {
            standing: Standing::Finished(outcome),
            ..
        } => Some(outcome.status),
        Sight::Unknown | Sight::Cancelled | Sight::Known { .. } => None,
    }
}
