//! A fuse in every door of the engine: at its n-th step the process is as good as killed.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use tanda::domain::job::{CardId, EntityId, Job};
use tanda::domain::key::{EventId, IdempotencyKey};
use tanda::domain::listing::ListedOperation;
use tanda::domain::outcome::DoubtReason;
use tanda::domain::request::{Person, Request, RequestId, Wish};
use tanda::domain::time::{Moment, Timestamp};
use tanda::domain::verdict::Verdict;
use tanda::engine::Ports;
use tanda::engine::ports::{
    Answer, AskNote, Bank, Begun, Control, HeldJob, Intent, JobRef, Ledger, LedgerError, ListFault,
    Loss, NewlyHeld, OpenJob, Origin, Settlement, Sight, Sink, SinkError, StoredOutcome,
};
use tanda::wire::bank::OperationRequest;
use tokio::sync::Notify;

use super::queue::{Chronicle, Entry};

/// Blows at a given step; whoever takes that step never returns.
pub(crate) struct Fuse {
    blows_at: usize,
    steps: AtomicUsize,
    blown: Notify,
}

impl Fuse {
    pub(crate) fn new(blows_at: usize) -> Arc<Self> {
        Arc::new(Self {
            blows_at,
            steps: AtomicUsize::new(0),
            blown: Notify::new(),
        })
    }

    async fn step(&self) {
        if self.steps.fetch_add(1, Ordering::SeqCst) + 1 == self.blows_at {
            self.blown.notify_one();
        }
        if self.steps.load(Ordering::SeqCst) >= self.blows_at {
            // After the kill nobody takes a further step.
            std::future::pending::<()>().await;
        }
    }

    /// Ends when the fuse blows.
    pub(crate) async fn blown(&self) {
        self.blown.notified().await;
    }

    /// These ports, with the fuse before and after every effect.
    pub(crate) fn guard(self: &Arc<Self>, ports: Ports) -> Ports {
        self.guard_and_note(ports, &Chronicle::default())
    }

    /// The same, with every effect on record.
    pub(crate) fn guard_and_note(self: &Arc<Self>, ports: Ports, chronicle: &Chronicle) -> Ports {
        let Ports {
            bank,
            ledger,
            sink,
            clock,
        } = ports;
        Ports {
            bank: Arc::new(Fused {
                fuse: Arc::clone(self),
                chronicle: chronicle.clone(),
                inner: bank,
            }),
            ledger: Arc::new(Fused {
                fuse: Arc::clone(self),
                chronicle: chronicle.clone(),
                inner: ledger,
            }),
            sink: Arc::new(Fused {
                fuse: Arc::clone(self),
                chronicle: chronicle.clone(),
                inner: sink,
            }),
            clock,
        }
    }
}

struct Fused<P: ?Sized> {
    fuse: Arc<Fuse>,
    chronicle: Chronicle,
    inner: Arc<P>,
}

impl<P: ?Sized> Fused<P> {
    async fn around<T>(&self, effect: impl Future<Output = T>) -> T {
        self.fuse.step().await;
        let value = effect.await;
        self.fuse.step().await;
        value
    }
}

#[async_trait]
impl Bank for Fused<dyn Bank> {
    async fn apply(&self, card_id: &CardId, key: &IdempotencyKey, body: &[u8]) -> Verdict {
        self.fuse.step().await;
        let request: OperationRequest = serde_json::from_slice(body).expect("our own body");
        let name = request.entity_id.expect("always sent");
        self.chronicle.note(Entry::Called(name));
        let verdict = self.inner.apply(card_id, key, body).await;
        self.fuse.step().await;
        verdict
    }

    async fn list(
        &self,
        card_id: &CardId,
        from: Timestamp,
    ) -> Result<Vec<ListedOperation>, ListFault> {
        self.inner.list(card_id, from).await
    }

    async fn probe(&self, card_id: &CardId) -> Result<(), ListFault> {
        self.inner.probe(card_id).await
    }

    fn time(&self) -> Option<Timestamp> {
        self.inner.time()
    }
}

#[async_trait]
impl Sink for Fused<dyn Sink> {
    async fn publish(&self, outcome: &StoredOutcome) -> Result<(), SinkError> {
        self.fuse.step().await;
        let published = self.inner.publish(outcome).await;
        if published.is_ok() {
            let name = outcome.entity_id.as_ref().map(|id| id.as_str().to_owned());
            let entry = Entry::Published(name.unwrap_or_default(), outcome.status);
            self.chronicle.note(entry);
        }
        self.fuse.step().await;
        published
    }
}

#[async_trait]
impl Ledger for Fused<dyn Ledger> {
    async fn look(&self, entity_ids: Vec<EntityId>) -> Result<Vec<Sight>, LedgerError> {
        self.inner.look(entity_ids).await
    }

    async fn begin(&self, intent: Intent) -> Result<Begun, LedgerError> {
        self.fuse.step().await;
        let name = intent.job.entity_id.as_str().to_owned();
        let begun = self.inner.begin(intent).await;
        if matches!(begun, Ok(Begun::Yes)) {
            self.chronicle.note(Entry::Begun(name));
        }
        self.fuse.step().await;
        begun
    }

    async fn settle(&self, settlement: Settlement) -> Result<(), LedgerError> {
        self.around(self.inner.settle(settlement)).await
    }

    async fn doubt(
        &self,
        settlement: Settlement,
        reason: DoubtReason,
    ) -> Result<StoredOutcome, LedgerError> {
        self.around(self.inner.doubt(settlement, reason)).await
    }

    async fn hold(&self, held: Vec<NewlyHeld>) -> Result<Vec<StoredOutcome>, LedgerError> {
        self.fuse.step().await;
        let of = |held: &NewlyHeld| held.intent.job.entity_id.as_str().to_owned();
        let names: Vec<_> = held.iter().map(of).collect();
        let kept = self.inner.hold(held).await;
        if kept.is_ok() {
            for name in names {
                self.chronicle.note(Entry::Held(name));
            }
        }
        self.fuse.step().await;
        kept
    }

    async fn next_held(&self, card_id: CardId) -> Result<Option<HeldJob>, LedgerError> {
        self.inner.next_held(card_id).await
    }

    async fn held_cards(
        &self,
        after: Option<CardId>,
        limit: usize,
    ) -> Result<Vec<CardId>, LedgerError> {
        self.inner.held_cards(after, limit).await
    }

    async fn held_count(&self) -> Result<u64, LedgerError> {
        self.inner.held_count().await
    }

    async fn job_of(&self, job: JobRef) -> Result<Option<Intent>, LedgerError> {
        self.inner.job_of(job).await
    }

    async fn release(&self, job: JobRef, reason: &'static str) -> Result<(), LedgerError> {
        self.around(self.inner.release(job, reason)).await
    }

    async fn call_person(&self, job: JobRef) -> Result<(), LedgerError> {
        self.around(self.inner.call_person(job)).await
    }

    async fn note_ask(&self, job: JobRef, ask: AskNote) -> Result<(), LedgerError> {
        self.around(self.inner.note_ask(job, ask)).await
    }

    async fn note_panic(&self, entity_id: EntityId) -> Result<u32, LedgerError> {
        self.around(self.inner.note_panic(entity_id)).await
    }

    async fn note_fact(&self, fact: StoredOutcome) -> Result<StoredOutcome, LedgerError> {
        self.around(self.inner.note_fact(fact)).await
    }

    async fn unsettled(
        &self,
        after: Option<JobRef>,
        limit: usize,
    ) -> Result<Vec<OpenJob>, LedgerError> {
        self.inner.unsettled(after, limit).await
    }

    async fn unpublished(
        &self,
        origins: &'static [Origin],
        limit: usize,
    ) -> Result<Vec<StoredOutcome>, LedgerError> {
        self.inner.unpublished(origins, limit).await
    }

    async fn mark_published(
        &self,
        event_ids: Vec<EventId>,
        at: Timestamp,
    ) -> Result<(), LedgerError> {
        self.around(self.inner.mark_published(event_ids, at)).await
    }

    async fn loss(&self) -> Result<Option<Loss>, LedgerError> {
        self.inner.loss().await
    }

    async fn note_loss_is_past(&self) -> Result<(), LedgerError> {
        self.around(self.inner.note_loss_is_past()).await
    }

    async fn note_arrivals(&self, entity_ids: Vec<EntityId>) -> Result<(), LedgerError> {
        self.around(self.inner.note_arrivals(entity_ids)).await
    }

    async fn has_arrived(&self, entity_id: EntityId) -> Result<bool, LedgerError> {
        self.inner.has_arrived(entity_id).await
    }

    async fn control(&self) -> Result<Option<Control>, LedgerError> {
        self.inner.control().await
    }

    async fn last_accepted(&self) -> Result<Option<Intent>, LedgerError> {
        self.inner.last_accepted().await
    }

    async fn free_bytes(&self) -> Result<Option<u64>, LedgerError> {
        self.inner.free_bytes().await
    }

    async fn note_control(&self, control: Control) -> Result<(), LedgerError> {
        self.around(self.inner.note_control(control)).await
    }

    async fn open_job(&self, entity_id: EntityId) -> Result<Option<OpenJob>, LedgerError> {
        self.inner.open_job(entity_id).await
    }

    async fn generations_of(&self, entity_id: EntityId) -> Result<Vec<Job>, LedgerError> {
        self.inner.generations_of(entity_id).await
    }

    async fn beat(&self, at: Timestamp) -> Result<(), LedgerError> {
        self.inner.beat(at).await
    }

    async fn last_beat(&self) -> Result<Option<Timestamp>, LedgerError> {
        self.inner.last_beat().await
    }

    async fn first_begun_at(&self, entity_id: EntityId) -> Result<Option<Moment>, LedgerError> {
        self.inner.first_begun_at(entity_id).await
    }

    async fn request(
        &self,
        wish: Wish,
        by: Person,
        at: Timestamp,
    ) -> Result<RequestId, LedgerError> {
        self.around(self.inner.request(wish, by, at)).await
    }

    async fn open_requests(
        &self,
        after: Option<RequestId>,
        limit: usize,
    ) -> Result<Vec<Request>, LedgerError> {
        self.inner.open_requests(after, limit).await
    }

    async fn answer(&self, request: RequestId, answer: Answer) -> Result<(), LedgerError> {
        self.around(self.inner.answer(request, answer)).await
    }

    async fn paused_by(&self) -> Result<Option<(Person, Timestamp)>, LedgerError> {
        self.inner.paused_by().await
    }
}
