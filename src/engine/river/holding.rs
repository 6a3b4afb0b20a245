//! Holding: what must wait goes to the ledger, and what was taken for too long back to its source.
//!
//! *What it promises.* A takeover is one commit for all that waits of a card, in its order; only when
//! each of these has been told `waiting` and its receipts are answered may the first of them begin
//! (I3, I7). While the ledger has jobs of a card, whatever else comes for it goes there too. In a long
//! pause nothing that can be given back is kept.
//!
//! *What it refuses to know.* How the ledger keeps them, and how a source gets back what it offered.

use std::sync::Arc;

use tokio::time::Instant;

use super::{River, Stand, Taken};
use crate::domain::job::{CardId, EntityId};
use crate::engine::EngineError;
use crate::engine::flight::Again;
use crate::engine::loss::Doubtful;
use crate::engine::orders::LetGo;
use crate::engine::pause::{Pause, PauseCause};
use crate::engine::ports::{Back, HeldJob, Intent, JobRef, LedgerError, Origin, Provenance};
use crate::engine::publish::{Published, publish};
use crate::engine::receipts::Receipts;
use crate::engine::settings::{AGE_LOOKS, RECOVERY_PAGE};
use crate::telemetry;

/// What is known since everything was given back.
pub(super) struct GaveBack {
    /// How often the bank had answered before.
    answers: u64,
    /// When something was taken since.
    tried_at: Option<Instant>,
}

/// A job that had begun, and why its last attempt was deferred; that comes first.
pub(super) type Began = (Taken, Option<&'static str>);

impl River {
    /// The ledger takes over everything that waits of this card, with what comes before and after it.
    pub(super) async fn take_over(
        &mut self,
        card_id: &CardId,
        before: Option<Began>,
        after: Vec<Taken>,
    ) -> Result<(), EngineError> {
        let has_begun = before.is_some();
        let queued = self.lanes.take_over(card_id);
        let queued = queued.into_iter().filter_map(|id| self.jobs.remove(&id));
        let jobs: Vec<_> = before
            .into_iter()
            .chain(queued.chain(after).map(|taken| (taken, None)))
            .collect();
        let (namespace, now) = (&self.tower.settings.namespace, self.tower.clocks.now());
        let begun = usize::from(has_begun);
        let held = jobs.iter().enumerate().map(|(at, (taken, released))| {
            let intent = taken.intent(namespace, now);
            self.tower.newly_held(&intent, *released, at < begun)
        });
        let kept = self.tower.ledger.hold(held.collect()).await?;
        self.held += u64::try_from(kept.len()).unwrap_or(u64::MAX);
        let tower = Arc::clone(&self.tower);
        let card_id = card_id.clone();
        self.telling.spawn(async move {
            for (outcome, (taken, _)) in kept.into_iter().zip(jobs) {
                telemetry::JobHeld {
                    job: &taken.job,
                    source: taken.provenance.origin.as_str(),
                    is_news: !outcome.published,
                }
                .emit();
                if outcome.published && !taken.receipts.are_open() {
                    continue;
                }
                match publish(&tower, &outcome).await {
                    Published::Yes => taken.receipts.done(&outcome).await,
                    Published::Stopped => taken.receipts.back(Back::Undecided).await,
                }
            }
            card_id
        });
        Ok(())
    }

    pub(super) fn takeover_is_told(&mut self, card_id: &CardId) {
        if self.lanes.told(card_id) {
            self.ready.push_back(card_id.clone());
        }
    }

    /// Finds the cards for which an earlier process left jobs in the ledger.
    pub(super) async fn find_held(&mut self) -> Result<(), LedgerError> {
        self.held = self.tower.ledger.held_count().await?;
        let mut after = None;
        loop {
            let cards = self.tower.ledger.held_cards(after, RECOVERY_PAGE).await?;
            let Some(last) = cards.last() else {
                return Ok(());
            };
            after = Some(last.clone());
            for card_id in cards {
                if self.lanes.found_held(&card_id) {
                    self.ready.push_back(card_id);
                }
            }
        }
    }

    /// Lets the first job of each free card start, as many as there may be in flight.
    pub(super) async fn offer_held(&mut self) -> Result<(), EngineError> {
        while !self.stopping && self.jobs.len() < self.most_jobs() {
            let Some(card_id) = self.ready.pop_front() else {
                break;
            };
            if !self.lanes.is_ready(&card_id) {
                continue;
            }
            match self.tower.ledger.next_held(card_id.clone()).await? {
                Some(held) => self.start_held(held).await?,
                None => self.lanes.none_held(&card_id),
            }
        }
        Ok(())
    }

    /// What is in doubt has a bound of its own.
    fn most_jobs(&self) -> usize {
        self.tower.settings.in_flight + self.in_doubt
    }

    /// Where the ledger has forgotten a time: whether a held job may have been sent, or told of, then, whichever
    /// generation of it.
    async fn doubt_of_held(&self, intent: &Intent) -> Result<Option<Doubtful>, LedgerError> {
        if self.tower.forgotten.is_none() {
            return Ok(None);
        }
        let entity_id = intent.job.entity_id.clone();
        let after_delivery =
            intent.origin == Origin::Queue && !self.tower.ledger.has_arrived(entity_id).await?;
        Ok(Some(Doubtful { after_delivery }))
    }

    async fn start_held(&mut self, held: HeldJob) -> Result<(), EngineError> {
        self.held = self.held.saturating_sub(1);
        let doubtful = self.doubt_of_held(&held.intent).await?;
        let intent = held.intent;
        let job = intent.job.clone();
        let again = match (intent.generation.before(), intent.again_by.clone()) {
            // The list is asked before its first call, with the strictest proof: how the one before it
            // ended is not looked up again.
            (Some(earlier), Some(by)) => {
                let was_ruled = true;
                Some(
                    self.earlier_generations(&job, earlier, was_ruled, by)
                        .await?,
                )
            }
            (Some(_) | None, _) => None,
        };
        let taken = Taken {
            fingerprint: job.fingerprint(),
            generation: intent.generation,
            again: again.map(|again| Again {
                cancelled: held.cancelled,
                ..again
            }),
            doubtful,
            receipts: Receipts::told(self.open_receipts.clone(), held.outcome),
            panics: held.panics,
            cancelled: held.cancelled,
            was_held: true,
            since: Instant::now(),
            stand: Stand::Queued,
            orders: None,
            mark: Arc::default(),
            provenance: Provenance {
                origin: intent.origin,
                source: intent.source.into(),
                line: intent.line,
                envelope: intent.envelope,
                received_at: intent.received_at,
            },
            job,
        };
        let (card_id, entity_id) = (taken.job.card_id.clone(), taken.job.entity_id.clone());
        self.lanes.hold(&card_id, &entity_id);
        let start = taken.fresh_start();
        self.jobs.insert(entity_id.clone(), taken);
        self.start(&entity_id, start);
        Ok(())
    }

    // ---- deliveries that become too old ---------------------------------------------------------

    /// Ends when the age of what was taken is to be looked at; never where nothing becomes too old.
    pub(super) fn ages_are_due(&self) -> impl Future<Output = ()> + use<> {
        let every = self.tower.settings.holding;
        let due = every.map(|holding| self.aged_at + holding.hold_max / AGE_LOOKS);
        async move {
            match due {
                Some(due) => tokio::time::sleep_until(due).await,
                None => std::future::pending().await,
            }
        }
    }

    /// Tells each flight whose delivery has become too old; what waits behind it goes with it, and what
    /// waits behind a job in doubt has gone before.
    pub(super) fn look_at_ages(&mut self) {
        self.aged_at = Instant::now();
        let Some(holding) = self.tower.settings.holding else {
            return;
        };
        self.order_to_let_go(LetGo::TooOld, |taken| {
            taken.since.elapsed() >= holding.hold_max
        });
    }

    /// Tells the flights of jobs that somebody waits for to let go of them.
    fn order_to_let_go(&self, why: LetGo, concerns: impl Fn(&Taken) -> bool) {
        let waited_for = self
            .jobs
            .values()
            .filter(|taken| taken.stand == Stand::Flying && taken.receipts.are_open());
        for taken in waited_for.filter(|taken| concerns(taken)) {
            taken.let_go(why);
        }
    }

    /// Too many wait in this lane: they go to the ledger once whoever holds it has a mark there, and it
    /// with them where it has not begun.
    pub(super) async fn crowd(&mut self, card_id: &CardId) -> Result<(), EngineError> {
        let mut begun = None;
        let holders = self.lanes.holders(card_id);
        for taken in holders.filter_map(|entity_id| self.jobs.get(entity_id)) {
            if taken.mark.awaited() {
                begun = Some(taken.job.entity_id.clone());
            } else {
                taken.let_go(LetGo::Crowded);
            }
        }
        match begun {
            Some(entity_id) => self.heed_begin(&entity_id).await,
            None => Ok(()),
        }
    }

    // ---- what goes back to its source -------------------------------------------------------------

    pub(in crate::engine) fn note_pause(&mut self, pause: Option<&Pause>) {
        self.pause = pause.cloned();
        self.note_answers();
    }

    /// A long pause is over once the flow is open and the bank has answered: one that opens and closes
    /// again and again must not have everything taken and given back each time.
    pub(super) fn note_answers(&mut self) {
        let answers = self.tower.answers.count();
        let has_answered = |gave_back: &GaveBack| gave_back.answers != answers;
        if self.pause.is_none() && self.gave_back.as_ref().is_some_and(has_answered) {
            self.gave_back = None;
        }
    }

    /// Whether one more is taken after everything was given back: where none is at hand to be sent, as
    /// soon as the flow is open, and now and then while it waits for one to be tried; where one is, now
    /// and then while the flow is open.
    pub(super) fn tries_one(&self, gave_back: &GaveBack) -> bool {
        let is_due = || {
            let due = self.next_trial(gave_back);
            due.is_none_or(|due| due <= Instant::now())
        };
        let has_one = || {
            let mut jobs = self.jobs.values();
            jobs.any(|taken| !matches!(taken.stand, Stand::InDoubt { .. }))
        };
        match &self.pause {
            None => !has_one() || is_due(),
            // The bank is read for the card of a job: without one, that would wait for ever.
            Some(pause) if pause.cause == PauseCause::Starting => !has_one(),
            Some(pause) => pause.wants_trial && is_due() && !has_one(),
        }
    }

    /// When the next may be taken to be tried: what was taken last may have gone to the ledger instead,
    /// behind others of its card.
    fn next_trial(&self, gave_back: &GaveBack) -> Option<Instant> {
        let every = self.tower.settings.probe_every;
        gave_back.tried_at.map(|tried_at| tried_at + every)
    }

    /// The source has offered something.
    pub(super) fn note_trial(&mut self) {
        if let Some(gave_back) = &mut self.gave_back {
            gave_back.tried_at = Some(Instant::now());
        }
    }

    /// Ends when another may be taken to be tried; never where that is so already, or will not be.
    pub(super) fn trial_is_due(&self) -> impl Future<Output = ()> + use<> {
        let due = self.gave_back.as_ref().and_then(|it| self.next_trial(it));
        let due = due.filter(|due| *due > Instant::now());
        async move {
            match due {
                Some(due) => tokio::time::sleep_until(due).await,
                None => std::future::pending().await,
            }
        }
    }

    /// Ends when a pause has lasted so long that what was taken goes back; never where it need not.
    pub(in crate::engine) fn long_pause(&self) -> impl Future<Output = ()> + use<> {
        let after = self.tower.settings.holding.map(|it| it.give_back_after);
        // Before the first job there is nothing to give back.
        let pause = self
            .pause
            .as_ref()
            .filter(|pause| pause.cause != PauseCause::Starting);
        let since = pause.map(|pause| pause.since);
        let due = since.zip(after).filter(|_| self.gave_back.is_none());
        let clocks = Arc::clone(&self.tower.clocks);
        async move {
            match due {
                Some((since, after)) => clocks.sleep_until(since.plus(after)).await,
                None => std::future::pending().await,
            }
        }
    }

    /// The source has taken back what it offered: forgets what has no mark in the ledger, and lets go
    /// of what was only deferred.
    pub(in crate::engine) fn give_back(&mut self) {
        self.gave_back = Some(GaveBack {
            answers: self.tower.answers.count(),
            tried_at: None,
        });
        telemetry::DeliveriesGivenBack.emit();
        self.order_to_let_go(LetGo::GivenBack, |_| true);
        self.lose();
    }

    /// The source has lost hold of what it offered: forgets what has not begun to be worked on.
    pub(super) fn lose(&mut self) {
        let replying = self.replying_in_order();
        let all = self.jobs.values().map(|taken| &taken.receipts);
        for receipts in all.chain(replying.iter().map(|it| &it.receipts)) {
            receipts.drop_void();
        }
        // What is still to be published of these waits in the ledger, or comes again with its message.
        for it in replying {
            if it.receipts.are_lost() {
                it.task.abort();
            }
        }
        self.forget_void_guests();
        let jobs = &self.jobs;
        let is_kept = |entity_id: &EntityId| {
            let taken = jobs.get(entity_id);
            taken.is_some_and(|taken| !taken.receipts.are_lost())
        };
        for entity_id in self.lanes.drop_queued(is_kept) {
            self.jobs.remove(&entity_id);
        }
    }

    /// A flight has let go of its job, which is still to be done.
    pub(super) async fn lands_let_go(
        &mut self,
        entity_id: &EntityId,
        why: LetGo,
        deferral: Option<&'static str>,
    ) -> Result<(), EngineError> {
        let Some(taken) = self.jobs.get_mut(entity_id) else {
            return Ok(());
        };
        let card_id = taken.job.card_id.clone();
        let goes_to_ledger = match why {
            LetGo::TooOld | LetGo::Crowded => true,
            // What is behind it there must stay behind it.
            LetGo::GivenBack => self.lanes.has_held(&card_id),
            // Nobody else would offer it to the next process.
            LetGo::Stopping => taken.was_held || self.lanes.has_held(&card_id),
        };
        if goes_to_ledger {
            if let Some(taken) = self.jobs.remove(entity_id) {
                let before = Some((taken, deferral));
                self.take_over(&card_id, before, Vec::new()).await?;
            }
            self.let_next_start(&card_id, entity_id);
            return Ok(());
        }
        if let Some(reason) = deferral {
            let job = JobRef {
                entity_id: entity_id.clone(),
                generation: taken.generation,
            };
            self.tower.ledger.release(job, reason).await?;
        }
        if why == LetGo::Stopping {
            self.lands_stopped(entity_id).await;
            return Ok(());
        }
        if taken.receipts.are_open() {
            // It has come again already: it goes on where it was.
            let start = taken.fresh_start();
            self.start(entity_id, start);
            return Ok(());
        }
        self.jobs.remove(entity_id);
        self.let_next_start(&card_id, entity_id);
        Ok(())
    }
}
