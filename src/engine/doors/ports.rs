//! The doors of each port: a line for each method, from which come its guard and its place in the list.
//!
//! *What it promises.* A method without a line does not compile, or does not pass clippy.
//!
//! *What it refuses to know.* Who stands at the doors.

use std::sync::Arc;

use async_trait::async_trait;

use super::{Answered, Broken, Door, Guard, Guarded, Happening, Kind, Place, pass};
use crate::domain::job::{CardId, EntityId, Job};
use crate::domain::key::{EventId, IdempotencyKey};
use crate::domain::listing::ListedOperation;
use crate::domain::outcome::DoubtReason;
use crate::domain::request::{Person, Request, RequestId, Wish};
use crate::domain::time::{Moment, Timestamp};
use crate::domain::verdict::{Deferral, Unclarity, UnclearCause, Verdict};
use crate::engine::ports::{
    Answer, AskNote, Back, Bank, Begun, Control, Delivery, HeldJob, Intent, JobRef, LastBeat,
    Ledger, LedgerError, ListFault, Loss, NewlyHeld, Offer, OpenJob, Origin, Receipt, Settlement,
    Sight, Sink, SinkError, Source, SourceError, StoredOutcome, UnreadableDelivery,
};

/// Implements a port by its doors, and lists them. Each line has what the door does and how it is called;
/// `by` names what goes through it where that is more than the method of the port that is guarded. What
/// stands under `no doors` neither waits nor fails.
macro_rules! doors {
    (
        $list:ident, $name:literal: $port:ident for $guarded:ty, as $me:ident;
        doors {$(
            $kind:ident [$($receiver:tt)+] $method:ident($($arg:ident: $type:ty),*)
            $(-> $answer:ty)? $(, by $by:path)?;
        )*}
        no doors {$($plain:ident() -> $plain_answer:ty;)*}
    ) => {
        #[doc = concat!("The doors of [`", stringify!($port), "`].")]
        pub const $list: &[Door] = &[
            $(doors!(@door $name, $kind, $method $(, $answer)?)),*
        ];

        #[async_trait]
        #[deny(clippy::missing_trait_methods, reason = "what is not listed has no guard")]
        impl $port for $guarded {
            $(async fn $method($($receiver)+, $($arg: $type),*) $(-> $answer)? {
                const DOOR: Door = doors!(@door $name, $kind, $method $(, $answer)?);
                let guard = Arc::clone(&$me.guard);
                let effect = async { doors!(@effect guard, $me, $method($($arg),*) $(, $by)?) };
                pass(&guard, DOOR, effect).await
            })*
            $(fn $plain(&$me) -> $plain_answer {
                $me.inner.$plain()
            })*
        }
    };
    (@door $name:literal, $kind:ident, $method:ident $(, $answer:ty)?) => {
        Door {
            name: concat!($name, ".", stringify!($method)),
            kind: Kind::$kind,
            tells_errors: doors!(@tells_errors $($answer)?),
        }
    };
    (@tells_errors) => { false };
    (@tells_errors $answer:ty) => { true };
    (@effect $guard:ident, $me:ident, $method:ident($($arg:ident),*)) => {
        $me.inner.$method($($arg),*).await
    };
    (@effect $guard:ident, $me:ident, $method:ident($($arg:ident),*), $by:path) => {
        $by(&*$guard, &*$me.inner, $($arg),*).await
    };
}

doors! {
    LEDGER, "ledger": Ledger for Guarded<Arc<dyn Ledger>>, as self;
    doors {
        Read [&self] look(entity_ids: Vec<EntityId>) -> Result<Vec<Sight>, LedgerError>;
        Step [&self] begin(intent: Intent) -> Result<Begun, LedgerError>, by begin;
        Step [&self] settle(settlement: Settlement) -> Result<(), LedgerError>;
        Step [&self] doubt(settlement: Settlement, reason: DoubtReason) -> Result<StoredOutcome, LedgerError>;
        Step [&self] hold(held: Vec<NewlyHeld>) -> Result<Vec<StoredOutcome>, LedgerError>, by hold;
        Read [&self] next_held(card_id: CardId) -> Result<Option<HeldJob>, LedgerError>;
        Read [&self] held_cards(after: Option<CardId>, limit: usize) -> Result<Vec<CardId>, LedgerError>;
        Read [&self] held_count() -> Result<u64, LedgerError>;
        Step [&self] release(job: JobRef, reason: &'static str) -> Result<(), LedgerError>;
        Step [&self] call_person(job: JobRef) -> Result<(), LedgerError>;
        Read [&self] job_of(job: JobRef) -> Result<Option<Intent>, LedgerError>;
        Step [&self] note_ask(job: JobRef, ask: AskNote) -> Result<(), LedgerError>;
        Step [&self] note_panic(entity_id: EntityId) -> Result<u32, LedgerError>;
        Step [&self] note_fact(fact: StoredOutcome) -> Result<StoredOutcome, LedgerError>;
        Read [&self] unsettled(after: Option<JobRef>, limit: usize) -> Result<Vec<OpenJob>, LedgerError>;
        Read [&self] open_job(entity_id: EntityId) -> Result<Option<OpenJob>, LedgerError>;
        Read [&self] first_begun_at(entity_id: EntityId) -> Result<Option<Moment>, LedgerError>;
        Read [&self] generations_of(entity_id: EntityId) -> Result<Vec<Job>, LedgerError>;
        Step [&self] beat(at: Timestamp) -> Result<(), LedgerError>;
        Read [&self] last_beat() -> Result<Option<LastBeat>, LedgerError>;
        Read [&self] unpublished(origins: &'static [Origin], limit: usize) -> Result<Vec<StoredOutcome>, LedgerError>;
        Step [&self] mark_published(event_ids: Vec<EventId>, at: Timestamp) -> Result<(), LedgerError>;
        Read [&self] loss() -> Result<Option<Loss>, LedgerError>;
        Step [&self] note_loss_is_past() -> Result<(), LedgerError>;
        Step [&self] note_arrivals(entity_ids: Vec<EntityId>) -> Result<(), LedgerError>;
        Read [&self] has_arrived(entity_id: EntityId) -> Result<bool, LedgerError>;
        Read [&self] control() -> Result<Option<Control>, LedgerError>;
        Read [&self] last_accepted() -> Result<Option<Intent>, LedgerError>;
        Read [&self] free_bytes() -> Result<Option<u64>, LedgerError>;
        Step [&self] note_control(control: Control) -> Result<(), LedgerError>;
        Step [&self] request(wish: Wish, by: Person, at: Timestamp) -> Result<RequestId, LedgerError>;
        Read [&self] open_requests(after: Option<RequestId>, limit: usize) -> Result<Vec<Request>, LedgerError>;
        Step [&self] answer(request: RequestId, answer: Answer) -> Result<(), LedgerError>;
        Read [&self] paused_by() -> Result<Option<(Person, Timestamp)>, LedgerError>;
    }
    no doors {
    }
}

async fn begin(
    guard: &dyn Guard,
    ledger: &dyn Ledger,
    intent: Intent,
) -> Result<Begun, LedgerError> {
    let entity_id = intent.job.entity_id.clone();
    let begun = ledger.begin(intent).await;
    if matches!(begun, Ok(Begun::Yes)) {
        guard.note(Happening::Begun(&entity_id));
    }
    begun
}

async fn hold(
    guard: &dyn Guard,
    ledger: &dyn Ledger,
    held: Vec<NewlyHeld>,
) -> Result<Vec<StoredOutcome>, LedgerError> {
    let of = |held: &NewlyHeld| held.intent.job.entity_id.clone();
    let entity_ids: Vec<_> = held.iter().map(of).collect();
    let kept = ledger.hold(held).await;
    if kept.is_ok() {
        for entity_id in &entity_ids {
            guard.note(Happening::Held(entity_id));
        }
    }
    kept
}

impl<T> Answered for Result<T, LedgerError> {
    fn broken(broken: Broken) -> Self {
        Err(LedgerError::new("passing a door", broken))
    }
}

doors! {
    BANK, "bank": Bank for Guarded<Arc<dyn Bank>>, as self;
    doors {
        Send [&self] apply(card_id: &CardId, key: &IdempotencyKey, body: &[u8]) -> Verdict, by apply;
        Read [&self] list(card_id: &CardId, from: Timestamp) -> Result<Vec<ListedOperation>, ListFault>;
        Read [&self] probe(card_id: &CardId) -> Result<(), ListFault>;
    }
    no doors {
        time() -> Option<Timestamp>;
    }
}

async fn apply(
    guard: &dyn Guard,
    bank: &dyn Bank,
    card_id: &CardId,
    key: &IdempotencyKey,
    body: &[u8],
) -> Verdict {
    guard.note(Happening::Called(body));
    bank.apply(card_id, key, body).await
}

/// A call that was not begun had no connection; of one that was, nothing is known.
impl Answered for Verdict {
    fn broken(Broken(point): Broken) -> Self {
        match point.place {
            Place::Before => Self::Deferred(Deferral::NoConnection),
            Place::During | Place::After => {
                Self::Unclear(Unclarity::new(UnclearCause::ConnectionBroken))
            }
        }
    }
}

impl<T> Answered for Result<T, ListFault> {
    fn broken(broken: Broken) -> Self {
        Err(ListFault::Unreachable(broken.to_string()))
    }
}

doors! {
    SINK, "sink": Sink for Guarded<Arc<dyn Sink>>, as self;
    doors {
        Publish [&self] publish(outcome: &StoredOutcome) -> Result<(), SinkError>, by publish;
    }
    no doors {
        reaches() -> &'static [Origin];
    }
}

async fn publish(
    guard: &dyn Guard,
    sink: &dyn Sink,
    outcome: &StoredOutcome,
) -> Result<(), SinkError> {
    let published = sink.publish(outcome).await;
    if published.is_ok() {
        guard.note(Happening::Published(outcome));
    }
    published
}

impl Answered for Result<(), SinkError> {
    fn broken(broken: Broken) -> Self {
        Err(SinkError::new(broken))
    }
}

doors! {
    RECEIPT, "receipt": Receipt for Guarded<Box<dyn Receipt>>, as self;
    doors {
        Answer [self: Box<Self>] done(outcome: &StoredOutcome);
        Answer [self: Box<Self>] back(why: Back);
    }
    no doors {
        is_void() -> bool;
    }
}

/// An answer that is lost.
impl Answered for () {
    fn broken(_: Broken) -> Self {}
}

doors! {
    SOURCE, "source": Source for Guarded<Box<dyn Source>>, as self;
    doors {
        Take [&mut self] next(max: usize) -> Result<Offer, SourceError>;
        Take [&mut self] stop();
        Take [&mut self] withdraw();
    }
    no doors {
    }
}

impl Answered for Result<Offer, SourceError> {
    fn broken(broken: Broken) -> Self {
        Err(SourceError::new("passing a door", broken))
    }

    fn guarded(self, guard: &Arc<dyn Guard>) -> Self {
        let guarded = |receipt| -> Box<dyn Receipt> { Box::new(Guarded::new(receipt, guard)) };
        self.map(|offer| match offer {
            Offer::Jobs(deliveries) => {
                let guarded = |delivery: Delivery| Delivery {
                    receipt: guarded(delivery.receipt),
                    ..delivery
                };
                Offer::Jobs(deliveries.into_iter().map(guarded).collect())
            }
            Offer::Unreadable(delivery) => Offer::Unreadable(UnreadableDelivery {
                receipt: guarded(delivery.receipt),
                ..delivery
            }),
            Offer::Lost => Offer::Lost,
            Offer::Dry => Offer::Dry,
        })
    }
}
