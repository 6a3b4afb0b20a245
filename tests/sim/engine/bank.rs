//! The bank: books, a memory of keys, cards that are blocked or unknown, and everything that can happen to
//! a request, to its answer and to a reading of the list.
//!
//! *What it promises.* It never looks at an `entity_id` to refuse a second movement: what is paid twice, it
//! pays twice. What was sent is executed and listed within the settle delay of our timeout, or never.
//!
//! *What it refuses to know.* The ledger, but for the one question whether a call has its durable intent.

mod door;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use tanda::domain::job::CardId;
use tanda::domain::time::Timestamp;
use tanda::domain::verdict::Verdict;
use tanda::ledger::MemoryLedger;

use self::door::BankDoor;
use super::fault::Fault;
use super::plan::Plan;
use super::sabotage::Sabotage;
use super::scene::{Life, Scene, lock};

/// One movement of money.
#[derive(Clone, Debug)]
pub(super) struct Movement {
    pub(super) card_id: String,
    pub(super) name: Option<String>,
    pub(super) operation: String,
    pub(super) minor: i64,
    pub(super) generation: u32,
    at_ms: u64,
    listed_ms: u64,
}

/// What the bank says to one request that reached it.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Answer {
    Accepted,
    Refused(&'static str),
}

struct Request {
    number: u64,
    key: [u8; 16],
    card_id: String,
    name: String,
    operation: String,
    minor: i64,
    generation: u32,
    body: Vec<u8>,
    arrives_ms: Option<u64>,
}

/// What a generation of a job has heard.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Heard {
    /// Refusals of the bank that reached us.
    pub(super) refusals: u32,
    pub(super) panics: u32,
    /// Calls that ended unclear while the bank answered others, or this job before.
    pub(super) spent: u32,
    /// How many calls the bank had answered when that process last called for this job, or first did.
    answered_before: Option<(Life, u64)>,
}

impl Request {
    fn movement(&self, at_ms: u64, listed_ms: u64) -> Movement {
        Movement {
            card_id: self.card_id.clone(),
            name: Some(self.name.clone()),
            operation: self.operation.clone(),
            minor: self.minor,
            generation: self.generation,
            at_ms,
            listed_ms,
        }
    }
}

struct Known {
    body: Vec<u8>,
    until_ms: u64,
    answer: Answer,
}

/// Until when each kind of trouble lasts, in milliseconds of the world.
#[derive(Default)]
struct Troubles {
    outage: u64,
    no_credential: u64,
    portal: u64,
    too_many: u64,
    blocked: BTreeMap<String, u64>,
    unknown: BTreeMap<String, u64>,
}

#[derive(Default)]
struct Books {
    troubles: Troubles,
    requests: u64,
    under_way: Vec<Request>,
    answers: BTreeMap<u64, Answer>,
    keys: BTreeMap<[u8; 16], Known>,
    movements: Vec<Movement>,
    /// What it refused.
    refused: Vec<Movement>,
    /// What each key said, and how often it was sent.
    said: BTreeMap<[u8; 16], (Vec<u8>, String, u32)>,
    open_calls: BTreeMap<String, u32>,
    /// How many calls were told the bank's own answer.
    answered: u64,
    heard: BTreeMap<(String, u32), Heard>,
    open_lists: usize,
    /// How often the ledger was lost.
    losses: u64,
}

/// The bank. Clones share the books.
#[derive(Clone)]
pub(super) struct TheBank {
    scene: Scene,
    plan: Arc<Plan>,
    sabotage: Sabotage,
    books: Arc<Mutex<Books>>,
}

impl TheBank {
    pub(super) fn new(scene: Scene, plan: Arc<Plan>, sabotage: Sabotage) -> Self {
        Self {
            scene,
            plan,
            sabotage,
            books: Arc::default(),
        }
    }

    /// The door of one process.
    pub(super) fn door(&self, life: Life, ledger: MemoryLedger) -> BankDoor {
        BankDoor {
            bank: self.clone(),
            life,
            ledger,
            heard: Mutex::new(false),
        }
    }

    // ---- what befalls it ----------------------------------------------------------------------

    pub(super) fn outage(&self, for_ms: u64) {
        lock(&self.books).troubles.outage = self.scene.now() + for_ms;
    }

    pub(super) fn no_credential(&self, for_ms: u64) {
        lock(&self.books).troubles.no_credential = self.scene.now() + for_ms;
    }

    pub(super) fn portal(&self, for_ms: u64) {
        lock(&self.books).troubles.portal = self.scene.now() + for_ms;
    }

    pub(super) fn too_many(&self, for_ms: u64) {
        lock(&self.books).troubles.too_many = self.scene.now() + for_ms;
    }

    pub(super) fn block(&self, card: &CardId, for_ms: u64) {
        let until_ms = self.scene.now() + for_ms;
        let card = card.as_str().to_owned();
        lock(&self.books).troubles.blocked.insert(card, until_ms);
    }

    pub(super) fn forget_card(&self, card: &CardId, for_ms: u64) {
        let until_ms = self.scene.now() + for_ms;
        let card = card.as_str().to_owned();
        lock(&self.books).troubles.unknown.insert(card, until_ms);
    }

    pub(super) fn end_of_troubles(&self) {
        lock(&self.books).troubles = Troubles::default();
    }

    /// Whoever called is gone: its connections break, and what it sent arrives soon or never.
    pub(super) fn callers_are_gone(&self) {
        let latest_ms = self.scene.now() + self.plan.late_max_ms;
        let mut books = lock(&self.books);
        let is_capped = self.sabotage != Sabotage::LateWhenAllIsOver;
        for request in books.under_way.iter_mut().filter(|_| is_capped) {
            if let Some(arrives_ms) = &mut request.arrives_ms {
                *arrives_ms = (*arrives_ms).min(latest_ms);
            }
        }
        books.open_calls.clear();
        books.open_lists = 0;
    }

    /// What was sent under which key is not known any more to whoever calls.
    pub(super) fn ledger_is_lost(&self) {
        let mut books = lock(&self.books);
        books.losses += 1;
        books.said.clear();
    }

    /// A fault that is planted: what it refused it pays after all.
    pub(super) fn pays_what_it_refused(&self) {
        let mut books = lock(&self.books);
        let refused = std::mem::take(&mut books.refused);
        books.movements.extend(refused);
    }

    // ---- what it knows ------------------------------------------------------------------------

    /// Every movement so far, in its order, and whatever is still on its way.
    pub(super) fn movements(&self) -> Vec<Movement> {
        self.catch_up();
        lock(&self.books).movements.clone()
    }

    /// After how long nothing is on its way any more.
    pub(super) fn all_arrived_in_ms(&self) -> u64 {
        let books = lock(&self.books);
        let arrivals = books.under_way.iter().filter_map(|it| it.arrives_ms);
        let last_ms = arrivals.max().unwrap_or_default();
        last_ms.saturating_sub(self.scene.now())
    }

    /// Whether money moved under this name, or is about to.
    pub(super) fn moved(&self, name: &str) -> bool {
        self.catch_up();
        let books = lock(&self.books);
        let has_moved = books
            .movements
            .iter()
            .any(|it| it.name.as_deref() == Some(name));
        let may_move = |it: &Request| it.arrives_ms.is_some() && it.name == name;
        has_moved || books.under_way.iter().any(may_move)
    }

    /// Whether money has moved under this name by now, as the bank would tell a person.
    pub(super) fn has_moved(&self, name: &str) -> bool {
        self.catch_up();
        lock(&self.books).times(name) > 0
    }

    /// Whether money moved by this generation of a job, or is about to.
    pub(super) fn moved_by(&self, name: &str, generation: u32) -> bool {
        self.catch_up();
        let books = lock(&self.books);
        let moved = |it: &Movement| it.name.as_deref() == Some(name) && it.generation == generation;
        let arrives = |it: &Request| {
            let is_of_it = it.name == name && it.generation == generation;
            // One whose key is still known when it arrives moves nothing.
            let until_ms = books.keys.get(&it.key).map_or(0, |known| known.until_ms);
            is_of_it && it.arrives_ms.is_some_and(|at_ms| at_ms >= until_ms)
        };
        books.movements.iter().any(moved) || books.under_way.iter().any(arrives)
    }

    /// What each generation of this job has heard, from the first on.
    pub(super) fn heard(&self, name: &str) -> Vec<(u32, Heard)> {
        let books = lock(&self.books);
        let all = books.heard.range((name.to_owned(), 0)..);
        let of_it = all.take_while(|((it, _), _)| it == name);
        of_it.map(|((_, n), heard)| (*n, *heard)).collect()
    }

    /// The bank's own clock.
    pub(in crate::engine) fn time(&self) -> Timestamp {
        let millis = self.scene.true_time().as_millis() + self.plan.bank_off_ms;
        Timestamp::from_millis(millis)
    }

    // ---- what it does -------------------------------------------------------------------------

    /// Everything that has arrived by now is executed, in the order of its arrival.
    fn catch_up(&self) {
        let now = self.scene.now();
        loop {
            let mut books = lock(&self.books);
            let due = books
                .under_way
                .iter()
                .enumerate()
                .filter_map(|(at, it)| Some((it.arrives_ms?, it.number, at)))
                .filter(|(arrives_ms, _, _)| *arrives_ms <= now)
                .min();
            let Some((arrives_ms, number, at)) = due else {
                return;
            };
            let request = books.under_way.swap_remove(at);
            drop(books);
            let answer = self.execute(&request, arrives_ms);
            lock(&self.books).answers.insert(number, answer);
        }
    }

    fn execute(&self, request: &Request, at_ms: u64) -> Answer {
        let refuses_copy = self.scene.strikes(Fault::RefuseCopy);
        let refuses = self.scene.strikes(Fault::Refuse);
        let lag_ms = self.scene.up_to(self.plan.lag_max_ms);
        let others =
            self.plan.nameless > 0 && self.scene.draw(|it| it.per_mille(self.plan.nameless));
        let mut books = lock(&self.books);
        let forgets = self.sabotage == Sabotage::NoKeyMemory;
        let known = books.keys.get(&request.key);
        if let Some(known) = known.filter(|known| known.until_ms > at_ms && !forgets) {
            if known.body != request.body && books.losses > 0 {
                // What was said under this key was forgotten.
                return Answer::Refused("key_reused");
            }
            if known.body != request.body {
                self.scene.violate("I8", || {
                    format!("{}: other bytes under one key", request.name)
                });
            }
            let answer = known.answer.clone();
            if answer == Answer::Accepted && refuses_copy {
                return Answer::Refused("duplicate");
            }
            return answer;
        }
        let job: Option<usize> = request.name.get(1..).and_then(|it| it.parse().ok());
        let is_bad = job.and_then(|job| self.plan.refused.get(job).copied());
        let refusal = books.refusal(request, at_ms, is_bad == Some(true) || refuses);
        let lies = self.sabotage == Sabotage::BankRefusesWhatItPaid && at_ms.is_multiple_of(4);
        let movement = request.movement(at_ms, at_ms + lag_ms);
        let answer = if let Some(code) = refusal {
            books.refused.push(movement);
            Answer::Refused(code)
        } else {
            books.movements.push(movement);
            if others {
                books.move_of_others(request, at_ms, at_ms + lag_ms);
            }
            Answer::Accepted
        };
        let is_kept = answer == Answer::Accepted || self.plan.caches_refusals;
        if is_kept {
            let known = Known {
                body: request.body.clone(),
                until_ms: at_ms + self.plan.key_lifetime_ms,
                answer: answer.clone(),
            };
            books.keys.insert(request.key, known);
        }
        let times = books.times(&request.name);
        drop(books);
        self.scene.tell(|| {
            format!(
                "bank: {} generation {}: {answer:?}",
                request.name, request.generation
            )
        });
        if answer == Answer::Accepted {
            self.scene.count(|it| it.movements += 1);
        }
        if times > 1 {
            let name = &request.name;
            self.scene
                .violate("I1", || format!("{name}: money moved {times} times"));
        }
        if lies && answer == Answer::Accepted {
            return Answer::Refused("a lie");
        }
        answer
    }

    fn trouble(&self) -> Option<Fault> {
        let now = self.scene.now();
        let books = lock(&self.books);
        let troubles = &books.troubles;
        [
            (troubles.outage, Fault::NoConnection),
            (troubles.portal, Fault::Portal),
            (troubles.no_credential, Fault::Unauthorised),
            (troubles.too_many, Fault::RateLimit),
        ]
        .into_iter()
        .find_map(|(until_ms, fault)| (until_ms > now).then_some(fault))
    }
}

impl Books {
    /// Why this is refused, if it is.
    fn refusal(&self, request: &Request, at_ms: u64, refuses: bool) -> Option<&'static str> {
        let lasts = |until: Option<&u64>| until.is_some_and(|until| *until > at_ms);
        if lasts(self.troubles.blocked.get(&request.card_id)) {
            Some("card_blocked")
        } else if lasts(self.troubles.unknown.get(&request.card_id)) {
            Some("card_not_found")
        } else {
            refuses.then_some("insufficient_funds")
        }
    }

    /// A call begins.
    fn begins(&mut self, name: &str, generation: u32, life: Life) {
        let answered = self.answered;
        let heard = self.heard.entry((name.to_owned(), generation));
        let before = &mut heard.or_default().answered_before;
        if before.is_none_or(|(earlier, _)| earlier != life) {
            *before = Some((life, answered));
        }
    }

    /// And is told this; none where its task panics instead.
    fn ends(&mut self, name: &str, generation: u32, life: Life, told: Option<&Verdict>) {
        self.answered += u64::from(told.is_some_and(Verdict::is_answer));
        let now = (life, self.answered);
        let heard = self.heard.entry((name.to_owned(), generation));
        let heard = heard.or_default();
        match told {
            None => heard.panics += 1,
            Some(Verdict::Refused(_)) => heard.refusals += 1,
            Some(Verdict::Unclear(_)) if heard.answered_before != Some(now) => heard.spent += 1,
            Some(Verdict::Unclear(_) | Verdict::Accepted { .. } | Verdict::Deferred(_)) => {}
        }
        heard.answered_before = Some(now);
    }

    fn times(&self, name: &str) -> usize {
        let of = |it: &&Movement| it.name.as_deref() == Some(name);
        self.movements.iter().filter(of).count()
    }

    fn move_of_others(&mut self, like: &Request, at_ms: u64, listed_ms: u64) {
        self.movements.push(Movement {
            name: None,
            generation: 0,
            ..like.movement(at_ms, listed_ms)
        });
    }
}
