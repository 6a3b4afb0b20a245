//! A bank that keeps books and follows a script, and the doors of an engine around it.

use std::cell::Cell;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use tanda::domain::job::{CardId, Draft, Job};
use tanda::domain::key::{IdempotencyKey, Namespace};
use tanda::domain::listing::ListedOperation;
use tanda::domain::money::Currencies;
use tanda::domain::outcome::Status;
use tanda::domain::progress::Rules;
use tanda::domain::request::Person;
use tanda::domain::schedule::{AskTimes, BACKOFF_BASE};
use tanda::domain::time::Timestamp;
use tanda::domain::verdict::{Deferral, Refusal, RefusalError, Unclarity, UnclearCause, Verdict};
use tanda::engine::ports::{
    Back, Bank, Clock, Control, Delivery, Ledger, ListFault, Offer, Origin, Provenance, Receipt,
    Sink, SinkError, Source, SourceError, StoredOutcome,
};
use tanda::engine::settings::{Ending, Fence, Settings};
use tanda::engine::{Ended, Ports};
use tanda::wire::bank::OperationRequest;
use tanda::wire::envelope::Envelope;
use tanda::wire::outcome::OutcomeMessage;
use tokio::time::Instant;

/// What the bank does with one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Does {
    /// Applies it and says so.
    Apply,
    /// Applies it and the reply is lost.
    ApplyAndLoseReply,
    /// Loses the request before anything is applied.
    LoseRequest,
    /// Refuses with 422.
    Refuse,
    /// 409 without applying.
    Conflict,
    /// Refuses the connection.
    NoConnection,
    /// 401.
    RefuseCredential,
    /// 429 without a word on how long.
    RateLimit,
    /// 429 that asks for seven seconds.
    RateLimitForSevenSeconds,
    /// A page for people, as a captive portal gives it.
    ShowPage,
    /// Panics inside our own task.
    Panic,
}

/// How long a call takes.
pub(crate) const CALL_TAKES: Duration = Duration::from_millis(20);

/// One movement of money.
#[derive(Clone, Debug)]
pub(crate) struct Movement {
    pub(crate) card_id: String,
    pub(crate) listed: ListedOperation,
}

#[derive(Default)]
struct Books {
    script: HashMap<String, VecDeque<Does>>,
    otherwise: Option<Does>,
    movements: Vec<Movement>,
    cache: HashMap<String, Vec<u8>>,
    calls: Vec<Call>,
    lists: usize,
    probes: usize,
    forgets_entity_ids: bool,
    is_unread: bool,
    hangs: bool,
    down_until: Option<Instant>,
    list_takes: Duration,
    reading_fails: Option<ListFault>,
    probe_fails: Option<(String, ListFault)>,
}

/// One call as the bank saw it.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) entity_id: String,
    pub(crate) card_id: String,
    pub(crate) key: String,
    pub(crate) body: Vec<u8>,
    pub(crate) at: Instant,
}

/// The scripted bank. Clones share the books.
#[derive(Clone, Default)]
pub(crate) struct ScriptedBank(Arc<Mutex<Books>>);

impl ScriptedBank {
    /// What it does with the calls for this job, in turn; applies after that.
    pub(crate) fn script(&self, entity_id: &str, does: &[Does]) {
        self.books()
            .script
            .insert(entity_id.to_owned(), does.iter().copied().collect());
    }

    /// Has not been read by anybody yet.
    pub(crate) fn begin_unread(&self) {
        self.books().is_unread = true;
    }

    /// Never ends a call any more.
    pub(crate) fn hang(&self) {
        self.books().hangs = true;
    }

    /// Ends calls again.
    pub(crate) fn work_again(&self) {
        self.books().hangs = false;
    }

    /// How often a list was read.
    pub(crate) fn lists(&self) -> usize {
        self.books().lists
    }

    /// What it does with every call that has no script.
    pub(crate) fn otherwise(&self, does: Does) {
        self.books().otherwise = Some(does);
    }

    /// Refuses every connection for this long.
    pub(crate) fn down_for(&self, outage: Duration) {
        self.books().down_until = Some(Instant::now() + outage);
    }

    /// Money that moved as this job says, whoever sent it.
    pub(crate) fn movement(&self, job: &Job) {
        let listed = ListedOperation {
            id: Some("cbo_elsewhere".to_owned()),
            entity_id: Some(job.entity_id.as_str().to_owned()),
            operation: job.operation.as_str().to_owned(),
            amount_minor: job.amount.minor(),
            currency: job.amount.currency().as_str().to_owned(),
        };
        self.books().movements.push(Movement {
            card_id: job.card_id.as_str().to_owned(),
            listed,
        });
    }

    /// Money that moved as this job says, listed without a name.
    pub(crate) fn movement_without_name(&self, job: &Job) {
        self.movement(job);
        if let Some(last) = self.books().movements.last_mut() {
            last.listed.entity_id = None;
        }
    }

    /// Nothing without a name is listed any more.
    pub(crate) fn forget_movements_without_name(&self) {
        let named = |movement: &Movement| movement.listed.entity_id.is_some();
        self.books().movements.retain(named);
    }

    /// A request that was lost arrives after all, and is applied.
    pub(crate) fn arrive(&self, entity_id: &str) {
        let call = self.calls_for(entity_id).pop().expect("a call");
        let request: OperationRequest = serde_json::from_slice(&call.body).expect("our own body");
        let listed = ListedOperation {
            id: Some("cbo_late".to_owned()),
            entity_id: Some(entity_id.to_owned()),
            operation: request.operation,
            amount_minor: request.amount.amount,
            currency: request.amount.currency,
        };
        self.books().movements.push(Movement {
            card_id: call.card_id,
            listed,
        });
    }

    /// Its list shows no `entity_id` any more.
    pub(crate) fn forget_entity_ids(&self) {
        self.books().forgets_entity_ids = true;
    }

    /// Returns a list so long after it was read.
    pub(crate) fn list_takes(&self, time: Duration) {
        self.books().list_takes = time;
    }

    /// Fails every read of a list so.
    pub(crate) fn fail_reading(&self, fault: ListFault) {
        self.books().reading_fails = Some(fault);
    }

    /// Its lists can be read again.
    pub(crate) fn read_again(&self) {
        self.books().reading_fails = None;
    }

    /// Fails every probe with this card so.
    pub(crate) fn fail_probes_of(&self, card: u32, fault: ListFault) {
        self.books().probe_fails = Some((card_id(card), fault));
    }

    /// Movements per `entity_id`.
    pub(crate) fn applied(&self) -> BTreeMap<String, usize> {
        let mut applied = BTreeMap::new();
        for movement in &self.books().movements {
            let entity_id = movement.listed.entity_id.clone().unwrap_or_default();
            *applied.entry(entity_id).or_default() += 1;
        }
        applied
    }

    /// The `entity_id`s in the order in which they were applied.
    pub(crate) fn applied_in_order(&self) -> Vec<String> {
        let books = self.books();
        books
            .movements
            .iter()
            .filter_map(|m| m.listed.entity_id.clone())
            .collect()
    }

    pub(crate) fn calls(&self) -> Vec<Call> {
        self.books().calls.clone()
    }

    pub(crate) fn calls_for(&self, entity_id: &str) -> Vec<Call> {
        self.calls()
            .into_iter()
            .filter(|call| call.entity_id == entity_id)
            .collect()
    }

    /// Everything it heard: calls, lists and probes.
    pub(crate) fn heard(&self) -> usize {
        let books = self.books();
        books.calls.len() + books.lists + books.probes
    }

    fn books(&self) -> std::sync::MutexGuard<'_, Books> {
        self.0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn is_down(&self) -> bool {
        self.books()
            .down_until
            .is_some_and(|until| Instant::now() < until)
    }

    fn list_now(&self, card_id: &CardId) -> Result<Vec<ListedOperation>, ListFault> {
        let down = self.is_down();
        let mut books = self.books();
        books.lists += 1;
        if down {
            return Err(ListFault::Unreachable("connection refused".to_owned()));
        }
        if let Some(fault) = books.reading_fails.clone() {
            return Err(fault);
        }
        let forgets = books.forgets_entity_ids;
        let of_card = books
            .movements
            .iter()
            .filter(|m| m.card_id == card_id.as_str());
        Ok(of_card
            .map(|movement| ListedOperation {
                entity_id: movement.listed.entity_id.clone().filter(|_| !forgets),
                ..movement.listed.clone()
            })
            .collect())
    }

    fn apply_now(&self, card_id: &CardId, key: &IdempotencyKey, body: &[u8]) -> Verdict {
        let request: OperationRequest = serde_json::from_slice(body).expect("our own body");
        let entity_id = request.entity_id.clone().expect("always sent");
        let down = self.is_down();
        let mut books = self.books();
        books.calls.push(Call {
            entity_id: entity_id.clone(),
            card_id: card_id.as_str().to_owned(),
            key: key.to_string(),
            body: body.to_vec(),
            at: Instant::now(),
        });
        let otherwise = books.otherwise.unwrap_or(Does::Apply);
        let scripted = books
            .script
            .get_mut(&entity_id)
            .and_then(VecDeque::pop_front);
        let does = if down {
            Does::NoConnection
        } else {
            scripted.unwrap_or(otherwise)
        };
        match does {
            Does::Apply => {
                books.move_money(card_id, key, body, &request, &entity_id);
                Verdict::Accepted { http_status: 201 }
            }
            Does::ApplyAndLoseReply => {
                books.move_money(card_id, key, body, &request, &entity_id);
                unclear(UnclearCause::ConnectionBroken)
            }
            Does::LoseRequest => unclear(UnclearCause::Timeout),
            Does::Refuse => Verdict::Refused(refusal()),
            Does::Conflict => unclear(UnclearCause::Conflict),
            Does::NoConnection => Verdict::Deferred(Deferral::NoConnection),
            Does::RefuseCredential => {
                Verdict::Deferred(Deferral::CredentialRefused { log_id: None })
            }
            Does::RateLimit => Verdict::Deferred(Deferral::RateLimited { retry_after: None }),
            Does::RateLimitForSevenSeconds => {
                let retry_after = Some(Duration::from_secs(7));
                Verdict::Deferred(Deferral::RateLimited { retry_after })
            }
            Does::ShowPage => unclear(UnclearCause::NotTheBank),
            Does::Panic => {
                drop(books);
                panic!("scripted")
            }
        }
    }
}

fn unclear(cause: UnclearCause) -> Verdict {
    Verdict::Unclear(Unclarity::new(cause))
}

pub(crate) fn refusal() -> Refusal {
    Refusal {
        http_status: 422,
        code: "422 Unprocessable Content".to_owned(),
        message: "Validation errors".to_owned(),
        errors: vec![RefusalError {
            error_code: "insufficient_funds".to_owned(),
            message: "not enough".to_owned(),
            path: None,
        }],
        log_id: Some("log_7MkWaFqvfosB8fzHhb1Eql".to_owned()),
    }
}

impl Books {
    fn move_money(
        &mut self,
        card_id: &CardId,
        key: &IdempotencyKey,
        body: &[u8],
        request: &OperationRequest,
        entity_id: &str,
    ) {
        if let Some(known) = self.cache.get(&key.to_string()) {
            assert_eq!(known, body, "the same key came with other bytes");
            return;
        }
        self.cache.insert(key.to_string(), body.to_vec());
        let listed = ListedOperation {
            id: Some(format!("cbo_{:022}", self.movements.len())),
            entity_id: Some(entity_id.to_owned()),
            operation: request.operation.clone(),
            amount_minor: request.amount.amount,
            currency: request.amount.currency.clone(),
        };
        self.movements.push(Movement {
            card_id: card_id.as_str().to_owned(),
            listed,
        });
    }
}

#[async_trait]
impl Bank for ScriptedBank {
    async fn apply(&self, card_id: &CardId, key: &IdempotencyKey, body: &[u8]) -> Verdict {
        let_pass(CALL_TAKES).await;
        if self.books().hangs {
            std::future::pending::<()>().await;
        }
        self.apply_now(card_id, key, body)
    }

    async fn list(
        &self,
        card_id: &CardId,
        _from: Timestamp,
    ) -> Result<Vec<ListedOperation>, ListFault> {
        let_pass(Duration::from_millis(20)).await;
        let (list, takes) = (self.list_now(card_id), self.books().list_takes);
        let_pass(takes).await;
        list
    }

    async fn probe(&self, card_id: &CardId) -> Result<(), ListFault> {
        self.books().probes += 1;
        self.books().is_unread = false;
        if self.is_down() {
            return Err(ListFault::Unreachable("connection refused".to_owned()));
        }
        match &self.books().probe_fails {
            Some((card, fault)) if card == card_id.as_str() => Err(fault.clone()),
            Some(_) | None => Ok(()),
        }
    }

    fn time(&self) -> Option<Timestamp> {
        (!self.books().is_unread).then(wall_now)
    }
}

/// Lets this much of the paused clock pass, while everything else goes on: no real time is slept.
pub(crate) async fn let_pass(time: Duration) {
    tokio::time::sleep_until(Instant::now() + time).await;
}

thread_local! {
    static START: Instant = Instant::now();
    static JUMPED: Cell<Duration> = const { Cell::new(Duration::ZERO) };
    static SET_BACK: Cell<Duration> = const { Cell::new(Duration::ZERO) };
}

/// The wall clock of a paused test: it moves with tokio's, and as it is made to jump.
pub(crate) fn wall_now() -> Timestamp {
    let since_start = START.with(Instant::elapsed) + JUMPED.get();
    let at = Timestamp::from_millis(1_795_000_000_000).plus(since_start);
    at.minus(SET_BACK.get())
}

/// The machine slept for so long: its wall clock went on, its monotonic clock stood still.
pub(crate) fn wall_jumps(forward: Duration) {
    JUMPED.set(JUMPED.get() + forward);
}

/// Somebody set the wall clock back by so much.
pub(crate) fn wall_is_set_back(by: Duration) {
    SET_BACK.set(SET_BACK.get() + by);
}

#[derive(Clone, Copy)]
pub(crate) struct TestClock;

impl Clock for TestClock {
    fn wall(&self) -> Timestamp {
        wall_now()
    }
}

/// A sink that keeps everything, and a receipt book.
#[derive(Clone, Default)]
pub(crate) struct Collector {
    outcomes: Arc<Mutex<Vec<StoredOutcome>>>,
    refusals_left: Arc<AtomicUsize>,
    panics_on_doubts: Arc<AtomicBool>,
    hangs: Arc<AtomicBool>,
    is_full: Arc<AtomicBool>,
    reaches_files_only: Arc<AtomicBool>,
    /// Those whose publications panic.
    panics_on: Arc<Mutex<Vec<String>>>,
}

impl Collector {
    /// Takes nothing more, because nobody reads what it has; or takes it again.
    pub(crate) fn set_full(&self, is_full: bool) {
        self.is_full.store(is_full, Ordering::SeqCst);
    }

    /// Reaches the readers of files and no others; or all of them again.
    pub(crate) fn reach_files_only(&self, only: bool) {
        self.reaches_files_only.store(only, Ordering::SeqCst);
    }

    /// Panics at every publication about this one.
    pub(crate) fn panic_on(&self, entity_id: &str) {
        self.panic_list().push(entity_id.to_owned());
    }

    /// Panics about nobody any more.
    pub(crate) fn panic_no_more(&self) {
        self.panic_list().clear();
    }

    fn panic_list(&self) -> std::sync::MutexGuard<'_, Vec<String>> {
        let list = self.panics_on.lock();
        list.unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    pub(crate) fn all(&self) -> Vec<StoredOutcome> {
        self.outcomes
            .lock()
            .expect("no test panics while it holds it")
            .clone()
    }

    /// Never ends a publication any more.
    pub(crate) fn hang(&self) {
        self.hangs.store(true, Ordering::SeqCst);
    }

    /// Panics at every doubt, or does not any more.
    pub(crate) fn panic_on_doubts(&self, panics: bool) {
        self.panics_on_doubts.store(panics, Ordering::SeqCst);
    }

    /// Confirms none of the next `times` publications.
    pub(crate) fn refuse(&self, times: usize) {
        self.refusals_left.store(times, Ordering::SeqCst);
    }

    /// The outcomes published about a job, each event once.
    pub(crate) fn of(&self, entity_id: &str) -> Vec<OutcomeMessage> {
        let mut seen = Vec::new();
        self.all()
            .iter()
            .filter(|outcome| {
                outcome
                    .entity_id
                    .as_ref()
                    .is_some_and(|id| id.as_str() == entity_id)
            })
            .filter(|outcome| {
                let is_new = !seen.contains(&outcome.event_id);
                seen.push(outcome.event_id);
                is_new
            })
            .map(|outcome| OutcomeMessage::decode(&outcome.body).expect("our own message"))
            .collect()
    }

    /// The statuses published about a job, each event once.
    pub(crate) fn statuses(&self, entity_id: &str) -> Vec<Status> {
        let parse = |message: OutcomeMessage| Status::parse(&message.status).expect("a status");
        self.of(entity_id).into_iter().map(parse).collect()
    }
}

#[async_trait]
impl Sink for Collector {
    fn reaches(&self) -> &'static [Origin] {
        if self.reaches_files_only.load(Ordering::SeqCst) {
            return &[Origin::File];
        }
        &Origin::ALL
    }

    async fn publish(&self, outcome: &StoredOutcome) -> Result<(), SinkError> {
        if self.hangs.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        let panics = self.panics_on_doubts.load(Ordering::SeqCst);
        assert!(!panics || outcome.status != Status::InDoubt, "scripted");
        let panics_on = self.panic_list().clone();
        let name = outcome.entity_id.as_ref().map(|id| id.as_str().to_owned());
        assert!(
            !name.is_some_and(|name| panics_on.contains(&name)),
            "scripted"
        );
        if self.is_full.load(Ordering::SeqCst) {
            return Err(SinkError {
                is_full: true,
                is_broken: false,
                source: "nobody reads".into(),
            });
        }
        let refuses = |left: usize| left.checked_sub(1);
        if self
            .refusals_left
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, refuses)
            .is_ok()
        {
            return Err(SinkError::new("not confirmed"));
        }
        self.outcomes
            .lock()
            .expect("no test panics while it holds it")
            .push(outcome.clone());
        Ok(())
    }
}

/// How the receipts of a source were answered.
#[derive(Clone, Default)]
pub(crate) struct Answers(Arc<Mutex<BTreeMap<String, Vec<Option<Status>>>>>);

impl Answers {
    /// Each answer to the receipts of this job: a status, or none where it was given back.
    pub(crate) fn of(&self, entity_id: &str) -> Vec<Option<Status>> {
        let answers = self.0.lock().expect("no test panics while it holds it");
        answers.get(entity_id).cloned().unwrap_or_default()
    }

    fn add(&self, entity_id: &str, answer: Option<Status>) {
        let mut answers = self.0.lock().expect("no test panics while it holds it");
        answers
            .entry(entity_id.to_owned())
            .or_default()
            .push(answer);
    }
}

struct TestReceipt {
    entity_id: String,
    answers: Answers,
    sink: Collector,
}

#[async_trait]
impl Receipt for TestReceipt {
    async fn done(self: Box<Self>, outcome: &StoredOutcome) {
        let confirmed = self
            .sink
            .all()
            .iter()
            .any(|seen| seen.event_id == outcome.event_id);
        assert!(
            confirmed,
            "I3: a receipt was answered before its outcome was confirmed"
        );
        self.answers.add(&self.entity_id, Some(outcome.status));
    }

    async fn back(self: Box<Self>, _why: Back) {
        self.answers.add(&self.entity_id, None);
    }
}

/// A source of these jobs.
pub(crate) struct JobList {
    jobs: VecDeque<Job>,
    again: Option<Person>,
    answers: Answers,
    sink: Collector,
}

#[async_trait]
impl Source for JobList {
    async fn next(&mut self, max: usize) -> Result<Offer, SourceError> {
        let take = self.jobs.len().min(max);
        if take == 0 {
            return Ok(Offer::Dry);
        }
        let jobs = self
            .jobs
            .drain(..take)
            .map(|job| Delivery {
                receipt: Box::new(TestReceipt {
                    entity_id: job.entity_id.as_str().to_owned(),
                    answers: self.answers.clone(),
                    sink: self.sink.clone(),
                }),
                provenance: Provenance {
                    origin: Origin::File,
                    source: "a test".into(),
                    line: None,
                    envelope: Envelope::default(),
                    received_at: wall_now(),
                },
                body: None,
                is_redelivered: false,
                again: self.again.clone(),
                job,
            })
            .collect();
        Ok(Offer::Jobs(jobs))
    }
}

/// A bank, a ledger and a sink that outlive the engines that run between them.
pub(crate) struct World {
    pub(crate) bank: ScriptedBank,
    pub(crate) ledger: Arc<dyn Ledger>,
    pub(crate) sink: Collector,
    pub(crate) answers: Answers,
    pub(crate) settings: Settings,
    /// Who wants rejected and not sent jobs run again, if anybody.
    pub(crate) again: Option<Person>,
}

impl World {
    pub(crate) fn new(ledger: Arc<dyn Ledger>) -> Self {
        let rules = Rules {
            resend_window: Duration::from_secs(600),
            max_attempts: 10,
            backoff_base: BACKOFF_BASE,
            asks: AskTimes::new(Duration::from_secs(300)),
        };
        let settings = Settings {
            namespace: Namespace::default(),
            rules,
            concurrency: 4,
            in_flight: 64,
            fence: Fence::UntilPersonNeeded,
            ending: Ending::WhenDry,
            probe_every: Duration::from_secs(30),
            refusals_in_a_row: 20,
            rate_per_second: None,
            min_free_bytes: 0,
            drain: Duration::from_secs(45),
            holding: None,
        };
        let (bank, sink, answers) = (
            ScriptedBank::default(),
            Collector::default(),
            Answers::default(),
        );
        Self {
            bank,
            ledger,
            sink,
            answers,
            settings,
            again: None,
        }
    }

    /// The same, where the bank's list has proven itself.
    pub(crate) async fn proven(self) -> Self {
        let control = Control {
            entity_id: job("control", 99).entity_id,
            seen_at: Timestamp::from_millis(0),
        };
        self.ledger.note_control(control).await.expect("memory");
        self
    }

    pub(crate) fn ports(&self) -> Ports {
        Ports {
            bank: Arc::new(self.bank.clone()),
            ledger: Arc::clone(&self.ledger),
            sink: Arc::new(self.sink.clone()),
            clock: Arc::new(TestClock),
        }
    }

    pub(crate) fn source(&self, jobs: &[Job]) -> Box<dyn Source> {
        Box::new(JobList {
            jobs: jobs.iter().cloned().collect(),
            again: self.again.clone(),
            answers: self.answers.clone(),
            sink: self.sink.clone(),
        })
    }

    /// Runs these jobs until nothing more happens.
    pub(crate) async fn run(&self, jobs: &[Job]) -> tanda::engine::Ended {
        let (_stopper, stop) = tanda::engine::stop::signal();
        let (pauses, _) = tokio::sync::watch::channel(None);
        let source = self.source(jobs);
        tanda::engine::run(self.ports(), self.settings.clone(), source, stop, &pauses)
            .await
            .expect("the engine runs")
    }

    /// A run that goes on until it is stopped, with something done meanwhile.
    pub(crate) async fn while_running<T>(
        &self,
        jobs: &[Job],
        meanwhile: impl Future<Output = T>,
    ) -> T {
        let mut settings = self.settings.clone();
        settings.ending = Ending::WhenStopped;
        let (stopper, stop) = tanda::engine::stop::signal();
        let (pauses, _) = tokio::sync::watch::channel(None);
        let run = tanda::engine::run(self.ports(), settings, self.source(jobs), stop, &pauses);
        let meanwhile = async {
            let value = meanwhile.await;
            stopper.ask();
            value
        };
        let (ended, value) = tokio::join!(run, meanwhile);
        assert_eq!(ended.expect("the engine runs"), Ended::Stopped);
        value
    }
}

/// A top-up of 100.00 on the card of this number.
pub(crate) fn job(entity_id: &str, card: u32) -> Job {
    Draft {
        entity_id: entity_id.to_owned(),
        card_id: card_id(card),
        operation: "topup".to_owned(),
        amount_minor: 10_000,
        currency: "COP".to_owned(),
        ..Draft::default()
    }
    .validate(&Currencies::default())
    .expect("a job")
}

fn card_id(card: u32) -> String {
    format!("car_{card:022}")
}
