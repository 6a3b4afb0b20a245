//! The bank as one process reaches it: what becomes of a request, of its answer, and of a reading of the
//! list.
//!
//! *What it promises.* Each call is checked before anything becomes of it. A call whose caller is gone ends.
//!
//! *What it refuses to know.* What the books do with a request that arrives.

use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use tanda::domain::job::{CardId, EntityId};
use tanda::domain::key::{Generation, IdempotencyKey};
use tanda::domain::listing::ListedOperation;
use tanda::domain::time::Timestamp;
use tanda::domain::verdict::{Deferral, Refusal, RefusalError, Unclarity, UnclearCause, Verdict};
use tanda::engine::ports::{Bank, Ledger as _, ListFault};
use tanda::engine::settings::ASKS_AT_ONCE;
use tanda::ledger::MemoryLedger;
use tanda::wire::bank::OperationRequest;

use super::{Answer, Movement, Request, TheBank};
use crate::engine::chance::Chance;
use crate::engine::fault::Fault;
use crate::engine::sabotage::Sabotage;
use crate::engine::scene::{Life, lock};

/// No world lasts so long: 30 years.
const NEVER_IN_THE_WORLD_MS: u64 = 1_000_000_000_000;

/// What is decided about one call before it is made.
struct Fate {
    /// After how long it reaches the bank; none where it never does.
    arrives: Option<u64>,
    /// After how long the caller is told.
    told: u64,
    what: Told,
}

/// What the caller is told.
enum Told {
    /// What the bank says.
    Answer,
    Deferred(Deferral),
    Unclear(UnclearCause),
    Panic,
}

/// The bank as one process reaches it.
pub(in crate::engine) struct BankDoor {
    pub(super) bank: TheBank,
    pub(super) life: Life,
    pub(super) ledger: MemoryLedger,
    /// Whether it was heard in this process.
    pub(super) heard: Mutex<bool>,
}

impl BankDoor {
    /// What becomes of a call: it is held off, or breaks on the way, or is met by silence, or is answered.
    fn fate(&self) -> Fate {
        let scene = &self.bank.scene;
        let takes = scene.up_to(self.bank.plan.latency_ms) + 1;
        let there = scene.up_to(takes);
        let fate = self.held_off(takes);
        let fate = fate.or_else(|| self.broken(takes, there));
        let fate = fate.or_else(|| self.silence(takes));
        fate.unwrap_or(Fate {
            arrives: Some(there),
            told: takes,
            what: Told::Answer,
        })
    }

    /// By what befalls calls for some time, or one alone: the bank does nothing.
    fn held_off(&self, takes: u64) -> Option<Fate> {
        let scene = &self.bank.scene;
        let trouble = self.bank.trouble();
        let troubled = |fault| trouble == Some(fault) || scene.strikes(fault);
        let what = if troubled(Fault::NoConnection) {
            Told::Deferred(Deferral::NoConnection)
        } else if troubled(Fault::Portal) {
            Told::Unclear(UnclearCause::NotTheBank)
        } else if troubled(Fault::Unauthorised) {
            Told::Deferred(Deferral::CredentialRefused { log_id: None })
        } else if troubled(Fault::RateLimit) {
            let retry_after = scene.draw(|it| it.pick(&[None, None, Some(2), Some(7)]));
            let retry_after = retry_after.map(Duration::from_secs);
            Told::Deferred(Deferral::RateLimited { retry_after })
        } else {
            return None;
        };
        Some(Fate {
            arrives: None,
            told: takes,
            what,
        })
    }

    /// By an error before or after the bank has done it, or by a task of ours that panics.
    fn broken(&self, takes: u64, there: u64) -> Option<Fate> {
        let scene = &self.bank.scene;
        let (is_done, what) = if scene.strikes(Fault::TaskPanics) {
            (!scene.draw(Chance::coin), Told::Panic)
        } else if scene.strikes(Fault::ErrorBefore) {
            (false, Told::Unclear(UnclearCause::ServerError))
        } else if scene.strikes(Fault::ErrorAfter) {
            (true, Told::Unclear(UnclearCause::ServerError))
        } else if scene.strikes(Fault::Conflict) {
            (false, Told::Unclear(UnclearCause::Conflict))
        } else if scene.strikes(Fault::ConflictAfter) {
            (true, Told::Unclear(UnclearCause::Conflict))
        } else {
            return None;
        };
        Some(Fate {
            arrives: is_done.then_some(there),
            told: takes,
            what,
        })
    }

    /// Nothing is told in time, whatever the bank has done or will do.
    fn silence(&self, takes: u64) -> Option<Fate> {
        let (scene, plan) = (&self.bank.scene, &self.bank.plan);
        let timeout = Told::Unclear(UnclearCause::Timeout);
        if scene.strikes(Fault::RequestLost) {
            return Some(Fate {
                arrives: None,
                told: plan.timeout_ms,
                what: timeout,
            });
        }
        if scene.strikes(Fault::Late) {
            let late_ms = if self.bank.sabotage == Sabotage::LateBeyondTheSettleDelay {
                2 * plan.settle_ms
            } else if self.bank.sabotage == Sabotage::LateWhenAllIsOver {
                NEVER_IN_THE_WORLD_MS
            } else {
                scene.up_to(plan.late_max_ms)
            };
            scene.count(|it| it.late_arrivals += 1);
            return Some(Fate {
                arrives: Some(plan.timeout_ms + late_ms),
                told: plan.timeout_ms,
                what: timeout,
            });
        }
        if scene.strikes(Fault::ReplyLost) {
            return Some(if scene.draw(Chance::coin) {
                Fate {
                    arrives: Some(scene.up_to(takes + plan.late_max_ms)),
                    told: takes,
                    what: Told::Unclear(UnclearCause::ConnectionBroken),
                }
            } else {
                Fate {
                    arrives: Some(scene.up_to(plan.timeout_ms)),
                    told: plan.timeout_ms,
                    what: timeout,
                }
            });
        }
        scene.strikes(Fault::Slow).then(|| {
            let told = plan.timeout_ms.saturating_sub(1).max(1);
            Fate {
                arrives: Some(scene.up_to(told)),
                told,
                what: Told::Answer,
            }
        })
    }

    /// What every call must be: intended on record, alone on its card, and the same as before.
    async fn check(&self, request: &Request, key: &IdempotencyKey) {
        let scene = &self.bank.scene;
        let name = &request.name;
        let entity_id = EntityId::parse(name).expect("our own id");
        let open = self.ledger.open_job(entity_id).await.expect("memory");
        let is_intended = open.as_ref().is_some_and(|open| open.intent.key == *key);
        let expires = open.and_then(|open| open.intent.job.not_after);
        if expires.is_some_and(|at| scene.wall_now() > at) {
            scene.violate("expiry", || format!("{name}: called after its time"));
        }
        if !is_intended {
            scene.violate("I2", || format!("{name}: called without a durable intent"));
        }
        let mut books = lock(&self.bank.books);
        let open = books.open_calls.entry(request.card_id.clone()).or_default();
        *open += 1;
        if *open > 1 {
            scene.violate("I7", || format!("{name}: two calls at once for one card"));
        }
        let all: u32 = books.open_calls.values().sum();
        let most = self.bank.plan.settings.concurrency;
        if usize::try_from(all).expect("few") > most {
            scene.violate("I11", || {
                format!("{name}: {all} calls at once, {most} allowed")
            });
        }
        let first = (request.body.clone(), request.card_id.clone(), 0);
        let said = books.said.entry(request.key).or_insert(first);
        if said.0 != request.body || said.1 != request.card_id {
            scene.violate("I8", || format!("{name}: one key, two contents"));
        }
        said.2 += 1;
        let is_resend = said.2 > 1;
        scene.count(|it| {
            it.calls += 1;
            it.resends += u64::from(is_resend);
        });
    }

    fn request(&self, card_id: &CardId, key: &IdempotencyKey, body: &[u8]) -> Request {
        let read: OperationRequest = serde_json::from_slice(body).expect("our own body");
        let name = read.entity_id.expect("always sent");
        let entity_id = EntityId::parse(&name).expect("our own id");
        let namespace = &self.bank.plan.settings.namespace;
        let is_of = |number: &u32| {
            let generation = Generation::new(*number).expect("from 1");
            IdempotencyKey::derive(namespace, &entity_id, generation) == *key
        };
        let generation = (1..256).find(is_of).unwrap_or_else(|| {
            let scene = &self.bank.scene;
            scene.violate("I8", || format!("{name}: a key of no generation"));
            0
        });
        let mut books = lock(&self.bank.books);
        books.requests += 1;
        Request {
            number: books.requests,
            key: *key.as_bytes(),
            card_id: card_id.as_str().to_owned(),
            name,
            operation: read.operation,
            minor: read.amount.amount,
            generation,
            body: body.to_vec(),
            arrives_ms: None,
        }
    }

    fn hear(&self) {
        *lock(&self.heard) = true;
    }
}

/// Ends a call or a reading, however it ends.
struct Open<'a> {
    door: &'a BankDoor,
    card: Option<String>,
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        let mut books = lock(&self.door.bank.books);
        match &self.card {
            Some(card) => {
                if let Some(open) = books.open_calls.get_mut(card) {
                    *open = open.saturating_sub(1);
                }
            }
            None => books.open_lists = books.open_lists.saturating_sub(1),
        }
    }
}

#[async_trait]
impl Bank for BankDoor {
    async fn apply(&self, card_id: &CardId, key: &IdempotencyKey, body: &[u8]) -> Verdict {
        let scene = &self.bank.scene;
        scene.step(self.life).await;
        let mut request = self.request(card_id, key, body);
        if self.bank.sabotage == Sabotage::NewKeyForAResend && scene.draw(|it| it.per_mille(300)) {
            request.key = [0; 16];
            request.key[0] = u8::try_from(scene.up_to(255)).expect("a byte");
            request.key[1] = u8::try_from(scene.up_to(255)).expect("a byte");
        }
        let (name, number) = (request.name.clone(), request.number);
        let generation = request.generation;
        self.check(&request, key).await;
        lock(&self.bank.books).begins(&name, generation, self.life);
        let open = Open {
            door: self,
            card: Some(request.card_id.clone()),
        };
        let fate = self.fate();
        let now = scene.now();
        scene.tell(|| {
            let what = match &fate.what {
                Told::Answer => "answered".to_owned(),
                Told::Deferred(deferral) => deferral.as_str().to_owned(),
                Told::Unclear(cause) => cause.as_str().to_owned(),
                Told::Panic => "panic".to_owned(),
            };
            format!("call {name} #{number}: {what}, arrives {:?}", fate.arrives)
        });
        request.arrives_ms = fate.arrives.map(|after| now + after);
        if request.arrives_ms.is_some() {
            lock(&self.bank.books).under_way.push(request);
        }
        scene.pass(fate.told).await;
        self.bank.catch_up();
        scene.step(self.life).await;
        drop(open);
        let told = match fate.what {
            Told::Answer => {
                let answer = lock(&self.bank.books).answers.remove(&number);
                Some(match answer.expect("it has arrived") {
                    Answer::Accepted => Verdict::Accepted { http_status: 201 },
                    Answer::Refused(code) => Verdict::Refused(refusal(code)),
                })
            }
            Told::Deferred(deferral) => Some(Verdict::Deferred(deferral)),
            Told::Unclear(cause) => Some(Verdict::Unclear(Unclarity::new(cause))),
            Told::Panic => None,
        };
        lock(&self.bank.books).ends(&name, generation, self.life, told.as_ref());
        let verdict = match told {
            Some(Verdict::Deferred(Deferral::RateLimited { .. }))
                if self.bank.sabotage == Sabotage::TroubleIsTakenForARefusal =>
            {
                Verdict::Refused(refusal("too_many"))
            }
            Some(verdict) => verdict,
            // No hook prints it.
            None => std::panic::resume_unwind(Box::new("scripted")),
        };
        if !matches!(verdict, Verdict::Deferred(Deferral::NoConnection)) {
            self.hear();
        }
        verdict
    }

    async fn list(
        &self,
        card_id: &CardId,
        from: Timestamp,
    ) -> Result<Vec<ListedOperation>, ListFault> {
        let (scene, plan) = (&self.bank.scene, &self.bank.plan);
        scene.step(self.life).await;
        let lists = {
            let mut books = lock(&self.bank.books);
            books.open_lists += 1;
            books.open_lists
        };
        let open = Open {
            door: self,
            card: None,
        };
        if lists > ASKS_AT_ONCE {
            scene.violate("I11", || format!("{lists} lists at once"));
        }
        scene.count(|it| it.lists += 1);
        let takes = scene.up_to(plan.latency_ms) + 1;
        let before = scene.up_to(takes);
        scene.pass(before).await;
        self.bank.catch_up();
        let read = self.read(card_id, from);
        scene.pass(takes - before).await;
        scene.step(self.life).await;
        drop(open);
        if !matches!(read, Err(ListFault::Unreachable(_))) {
            self.hear();
        }
        read
    }

    async fn probe(&self, card_id: &CardId) -> Result<(), ListFault> {
        let scene = &self.bank.scene;
        scene.step(self.life).await;
        scene.pass(1).await;
        let probed = match self.list_fault(card_id) {
            None | Some(ListFault::UnknownCard) => Ok(()),
            Some(fault) => Err(fault),
        };
        if probed.is_ok() {
            self.hear();
        }
        probed
    }

    fn time(&self) -> Option<Timestamp> {
        let is_heard = *lock(&self.heard);
        is_heard.then(|| self.bank.time())
    }
}

impl BankDoor {
    fn list_fault(&self, card_id: &CardId) -> Option<ListFault> {
        let trouble = self.bank.trouble();
        let now = self.bank.scene.now();
        let books = lock(&self.bank.books);
        let unknown = books.troubles.unknown.get(card_id.as_str());
        match trouble {
            Some(Fault::NoConnection) => Some(ListFault::Unreachable("refused".to_owned())),
            Some(Fault::Portal) => Some(ListFault::NotTheBank("a page".to_owned())),
            Some(Fault::Unauthorised) => Some(ListFault::CredentialRefused),
            Some(Fault::RateLimit) => Some(ListFault::RateLimited { retry_after: None }),
            _ if unknown.is_some_and(|until| *until > now) => Some(ListFault::UnknownCard),
            _ => None,
        }
    }

    fn read(&self, card_id: &CardId, from: Timestamp) -> Result<Vec<ListedOperation>, ListFault> {
        let (scene, plan) = (&self.bank.scene, &self.bank.plan);
        if let Some(fault) = self.list_fault(card_id) {
            return Err(fault);
        }
        if scene.strikes(Fault::ListFails) {
            return Err(ListFault::Unreachable("timeout".to_owned()));
        }
        if scene.strikes(Fault::ListShifts) {
            return Err(ListFault::Shifting);
        }
        if scene.strikes(Fault::ListBarred) {
            return Err(ListFault::NotAuthorized);
        }
        let now = scene.now();
        let true_now = scene.true_time();
        let books = lock(&self.bank.books);
        let hides = self.bank.sabotage == Sabotage::ListHidesWhatItShowed
            && books.movements.len() > 3
            && now % 2 == 0;
        let shows = |it: &&Movement| {
            let age = Duration::from_millis(now - it.at_ms.min(now));
            let performed = true_now.minus(age).as_millis() + plan.bank_off_ms;
            it.card_id == card_id.as_str()
                && it.listed_ms <= now
                && performed >= from.as_millis()
                && !hides
        };
        let rows = books.movements.iter().filter(shows);
        Ok(rows
            .enumerate()
            .map(|(at, it)| ListedOperation {
                id: Some(format!("cbo_{at}")),
                entity_id: it.name.as_ref().map(|name| {
                    if plan.mangles_ids {
                        name.to_uppercase()
                    } else {
                        name.clone()
                    }
                }),
                operation: it.operation.clone(),
                amount_minor: it.minor,
                currency: "COP".to_owned(),
            })
            .collect())
    }
}

fn refusal(code: &str) -> Refusal {
    Refusal {
        http_status: if code == "card_not_found" { 404 } else { 422 },
        code: "422 Unprocessable Content".to_owned(),
        message: "refused".to_owned(),
        errors: vec![RefusalError {
            error_code: code.to_owned(),
            message: "no".to_owned(),
            path: None,
        }],
        log_id: None,
    }
}
