//! Floor 3: the simulated bank, the judge in tests, drill and demo. It keeps books and lies on
//! demand.
//!
//! *What this is.* [`World`] answers one request value at a time: authentication, then the memory
//! of idempotency keys (`keys`), then routing, then the books (`books`), with [`faults`] at their
//! places between. [`server`] puts a world behind a real socket, with real resets, cuts, hangs and
//! closed doors. [`Report`] says what was paid.
//!
//! *What it promises.* What a world does follows from its settings, the requests and the times
//! passed in, and from nothing else; which request meets which fault does not even depend on the
//! order of requests. The report never lies, whatever the wire does. Memory is bounded by
//! constants: when the books are full, the bank is unavailable.
//!
//! *What it refuses to know.* The client. It shares with it the shapes of `wire`, and no code that
//! decides anything.

mod books;
mod exchange;
pub mod faults;
mod http_date;
mod keys;
mod line;
mod refusal;
mod report;
pub mod server;

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::time::Duration;

pub use books::knows_card;
pub use exchange::{Act, Answer, Reply, Request};
pub use report::{EntityReport, Movement, Report, Requests, Total};

use self::books::{Books, ListQuery};
use self::faults::{Dice, FaultKind, Faults};
use self::http_date::{Form, http_date};
use self::keys::{KEYS_MAX, Keys, Known, Remembered};
use self::refusal::Refusal;
use crate::domain::digest::Digest;
use crate::domain::time::Timestamp;
use crate::wire::bank::Money;

/// The longest idempotency key, in bytes (the bank's guide: a string of up to 255).
const KEY_MAX_BYTES: usize = 255;
/// The most requests that wait to be applied late; beyond, they are applied at once.
const LATE_MAX: usize = 100_000;
/// Every answer's head is at least this long: status line, date and length. A cut before it is
/// never the whole answer.
const HEAD_MIN_BYTES: usize = 80;
/// What a card begins with unless set: COP 1,000,000.00.
const OPENING_BALANCE_MINOR: i64 = 100_000_000;

const JSON: &str = "application/json; charset=utf-8";
const HTML: &str = "text/html; charset=utf-8";
const PORTAL_PAGE: &[u8] =
    b"<!DOCTYPE html><html><title>Welcome</title><p>Please log in to use this network.</html>";
const GATEWAY_PAGE: &[u8] =
    b"<html><head><title>502 Bad Gateway</title></head><body>502 Bad Gateway</body></html>";

/// How a world begins.
#[derive(Clone)]
pub struct Settings {
    /// Decides which requests meet which faults, and makes the ids.
    pub seed: u64,
    /// The SHA-256 of the only good bearer token; where there is none, any token is good.
    pub token: Option<Digest>,
    /// What every card begins with, in minor units.
    pub opening_balance_minor: i64,
    /// What the funding account begins with, in minor units; without end where there is none.
    pub funds_minor: Option<i64>,
    /// Which lies are told.
    pub faults: Faults,
}

/// An honest bank that takes any token.
impl Default for Settings {
    fn default() -> Self {
        Self {
            seed: 0,
            token: None,
            opening_balance_minor: OPENING_BALANCE_MINOR,
            funds_minor: None,
            faults: Faults::default(),
        }
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("seed", &self.seed)
            .field("faults", &self.faults)
            .finish_non_exhaustive()
    }
}

/// A request that came and is applied when its time has come.
struct LateRequest {
    path: String,
    key: Option<String>,
    body: Vec<u8>,
}

/// The simulated bank.
pub struct World {
    settings: Settings,
    books: Books,
    keys: Keys,
    /// How often each key or path was seen, by the first 16 bytes of its digest.
    seen: HashMap<[u8; 16], u32>,
    /// By when they are applied, then in order of arrival.
    late: BTreeMap<(Timestamp, u64), LateRequest>,
    late_serial: u64,
    refusal_serial: u64,
    token_accepted: bool,
    out: bool,
    /// When outages began to count.
    started: Option<Timestamp>,
    requests: Requests,
    replays: u64,
    key_collisions: u64,
    dealt: BTreeMap<FaultKind, u64>,
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("World")
            .field("settings", &self.settings)
            .field("requests", &self.requests)
            .finish_non_exhaustive()
    }
}

/// Where a path leads.
enum Route<'a> {
    Operations(&'a str),
    Balance(&'a str),
    Nowhere,
}

impl<'a> Route<'a> {
    fn of(path: &'a str) -> Self {
        let rest = path.strip_prefix("/v1/cards/");
        match rest.and_then(|rest| rest.split_once('/')) {
            Some((card_id, "prepaid/operations")) => Self::Operations(card_id),
            Some((card_id, "prepaid/balance")) => Self::Balance(card_id),
            _ => Self::Nowhere,
        }
    }
}

/// The body of a balance.
#[derive(serde::Serialize)]
struct BalanceBody<'a> {
    balance: Money,
    card_id: &'a str,
}

impl World {
    /// A bank that nobody has asked yet.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        let (balance, funds) = (settings.opening_balance_minor, settings.funds_minor);
        Self {
            books: Books::new(settings.seed, balance, funds),
            settings,
            keys: Keys::default(),
            seen: HashMap::new(),
            late: BTreeMap::new(),
            late_serial: 0,
            refusal_serial: 0,
            token_accepted: true,
            out: false,
            started: None,
            requests: Requests::default(),
            replays: 0,
            key_collisions: 0,
            dealt: BTreeMap::new(),
        }
    }

    /// Answers one request that arrives now.
    pub fn answer(&mut self, request: &Request<'_>, now: Timestamp) -> Reply {
        self.catch_up(now);
        if self.is_out(now) {
            let (delay, act) = (Duration::ZERO, Act::Refused);
            return Reply { delay, act };
        }
        let (path, query) = request
            .target
            .split_once('?')
            .unwrap_or((request.target, ""));
        let posts = request.method == "POST";
        let name = request.key.filter(|_| posts).unwrap_or(path);
        let dice = Dice {
            seed: self.settings.seed,
            key: name,
            seen: self.note_seen(name),
        };
        let mut delay = self.settings.faults.latency;
        if self.deal(FaultKind::Slow, &dice) {
            delay = delay.saturating_add(self.settings.faults.slow);
        }
        let act = match (posts, request.method) {
            (true, _) => self.operate(request, path, &dice, now),
            (false, "GET") => Act::Answer(self.read(request, path, query, &dice, now)),
            _ => {
                self.requests.others += 1;
                Act::Answer(self.refuse(&Refusal::NOT_FOUND, now))
            }
        };
        Reply { delay, act }
    }

    /// What was paid until now.
    pub fn report(&mut self, now: Timestamp) -> Report {
        self.catch_up(now);
        let dealt = self.dealt.iter();
        let mut report = Report {
            requests: self.requests,
            replays: self.replays,
            key_collisions: self.key_collisions,
            late: u64::try_from(self.late.len()).unwrap_or(u64::MAX),
            faults: dealt
                .map(|(kind, &n)| (kind.as_str().to_owned(), n))
                .collect(),
            ..Report::default()
        };
        self.books.tell(&mut report);
        report
    }

    /// Takes or refuses the token from now on.
    pub fn accept_token(&mut self, accepted: bool) {
        self.token_accepted = accepted;
    }

    /// From now on this is the only good token.
    pub fn set_token(&mut self, token: Digest) {
        self.settings.token = Some(token);
    }

    /// Tells these lies from now on; their outages count from now.
    pub fn set_faults(&mut self, faults: Faults, now: Timestamp) {
        self.catch_up(now);
        self.settings.faults = faults;
        self.started = Some(now);
    }

    /// Refuses connections from now on, or takes them again (where no outage of the faults lasts).
    pub fn set_out(&mut self, out: bool) {
        self.out = out;
    }

    /// Whether there is no bank now.
    pub fn is_out(&mut self, now: Timestamp) -> bool {
        let since_start = now.since(*self.started.get_or_insert(now));
        self.out || self.settings.faults.is_out(since_start)
    }

    /// How long it is until an outage begins or ends; `None` where none does by itself.
    pub fn next_edge(&mut self, now: Timestamp) -> Option<Duration> {
        let since_start = now.since(*self.started.get_or_insert(now));
        self.settings.faults.next_edge(since_start)
    }

    /// The answer to a request with too large a body, which a server need not read whole.
    fn too_large(&mut self, now: Timestamp) -> Answer {
        self.requests.others += 1;
        self.refuse(&Refusal::TOO_LARGE, now)
    }

    /// Applies what came late and is due.
    fn catch_up(&mut self, now: Timestamp) {
        self.started.get_or_insert(now);
        while let Some(first) = self.late.first_entry() {
            let due = first.key().0;
            if due > now {
                return;
            }
            let late = first.remove();
            self.process(&late.path, late.key.as_deref(), &late.body, false, due);
        }
    }

    /// Counts a key or path and says how often it was seen before.
    fn note_seen(&mut self, name: &str) -> u32 {
        // Beyond any run it is for, the bank forgets how often it saw what; nothing is lost but
        // that faults may fall as they did the first time.
        if self.seen.len() >= KEYS_MAX {
            self.seen.clear();
        }
        let name = Digest::of(name.as_bytes()).first_16();
        let count = self.seen.entry(name).or_default();
        let before = *count;
        *count = count.saturating_add(1);
        before
    }

    fn deal(&mut self, kind: FaultKind, dice: &Dice<'_>) -> bool {
        let hit = dice.hit(&self.settings.faults, kind);
        if hit {
            *self.dealt.entry(kind).or_default() += 1;
        }
        hit
    }

    fn authenticate(&self, request: &Request<'_>) -> Result<(), Refusal> {
        let token = request
            .authorization
            .and_then(|value| value.strip_prefix("Bearer "))
            .map(str::trim)
            .filter(|token| !token.is_empty())
            .ok_or(Refusal::NO_TOKEN)?;
        let good = self
            .settings
            .token
            .is_none_or(|good| Digest::of(token.as_bytes()) == good);
        if good && self.token_accepted {
            Ok(())
        } else {
            Err(Refusal::BAD_TOKEN)
        }
    }

    fn operate(
        &mut self,
        request: &Request<'_>,
        path: &str,
        dice: &Dice<'_>,
        now: Timestamp,
    ) -> Act {
        self.requests.operations += 1;
        if self.deal(FaultKind::Reset, dice) {
            return Act::Reset;
        }
        if self.deal(FaultKind::Portal, dice) {
            return Act::Answer(answer(200, HTML, PORTAL_PAGE.to_vec(), now));
        }
        if let Err(refusal) = self.authenticate(request) {
            return Act::Answer(self.refuse(&refusal, now));
        }
        if let Some(answer) = self.turn_away(dice, now) {
            return Act::Answer(answer);
        }
        if self.late.len() < LATE_MAX && self.deal(FaultKind::Late, dice) {
            self.keep_for_later(request, path, now);
            return silence(dice, now);
        }
        let refuses = dice.hit(&self.settings.faults, FaultKind::Refuse);
        let answer = self.process(path, request.key, request.body, refuses, now);
        if self.deal(FaultKind::Lost, dice) {
            return silence(dice, now);
        }
        if self.deal(FaultKind::Hang, dice) {
            return Act::Hang;
        }
        if self.deal(FaultKind::Cut, dice) {
            let sent = HEAD_MIN_BYTES - 1 + answer.body.len();
            let among = u64::try_from(sent).unwrap_or(u64::MAX);
            let bytes = usize::try_from(dice.choose("cut.bytes", among)).unwrap_or(0) + 1;
            return Act::Cut { answer, bytes };
        }
        Act::Answer(answer)
    }

    /// The faults that answer before anything is applied.
    fn turn_away(&mut self, dice: &Dice<'_>, now: Timestamp) -> Option<Answer> {
        if self.deal(FaultKind::Unauthorized, dice) {
            return Some(self.refuse(&Refusal::BAD_TOKEN, now));
        }
        if self.deal(FaultKind::Forbid, dice) {
            return Some(self.refuse(&Refusal::NOT_AUTHORIZED, now));
        }
        if self.deal(FaultKind::Limit, dice) {
            let retry_after = Some(self.retry_after(dice, now));
            let answer = self.refuse(&Refusal::RATE_LIMITED, now);
            return Some(Answer {
                retry_after,
                ..answer
            });
        }
        if self.deal(FaultKind::Error, dice) {
            return Some(match dice.choose("error.status", 3) {
                0 => self.refuse(&Refusal::INTERNAL, now),
                1 => self.refuse(&Refusal::UNAVAILABLE, now),
                _ => answer(502, HTML, GATEWAY_PAGE.to_vec(), now),
            });
        }
        self.deal(FaultKind::Conflict, dice)
            .then(|| self.refuse(&Refusal::STATE_CONFLICT, now))
    }

    fn keep_for_later(&mut self, request: &Request<'_>, path: &str, now: Timestamp) {
        self.late_serial += 1;
        let due = now.plus(self.settings.faults.late);
        let late = LateRequest {
            path: path.to_owned(),
            key: request.key.map(str::to_owned),
            body: request.body.to_vec(),
        };
        self.late.insert((due, self.late_serial), late);
    }

    fn retry_after(&self, dice: &Dice<'_>, now: Timestamp) -> String {
        let wait = self.settings.faults.retry_after;
        let date = |form| http_date(now.plus(wait), form);
        match dice.choose("limit.form", 6) {
            0 => date(Form::ImfFixdate),
            1 => date(Form::Rfc850),
            2 => date(Form::Asctime),
            _ => wait.as_secs().to_string(),
        }
    }

    /// What the bank behind the door does: the memory of keys, then routing, then the books.
    fn process(
        &mut self,
        path: &str,
        key: Option<&str>,
        body: &[u8],
        refuses: bool,
        now: Timestamp,
    ) -> Answer {
        let Some(key) = key else {
            let result = self.perform(path, body, refuses, now);
            return self.operation_answer(result, now);
        };
        if key.is_empty() || key.len() > KEY_MAX_BYTES {
            return self.refuse(&Refusal::MALFORMED, now);
        }
        let digest = Digest::of(body);
        match self
            .keys
            .look(key, digest, now, self.settings.faults.key_life)
        {
            Known::Same(Remembered { status, body }) => {
                self.replays += 1;
                let content_type = if body.is_empty() { "" } else { JSON };
                return answer(status, content_type, body, now);
            }
            Known::Other => {
                self.key_collisions += 1;
                return self.refuse(&Refusal::KEY_COLLISION, now);
            }
            Known::No if self.keys.has_room() => {}
            Known::No => return self.refuse(&Refusal::UNAVAILABLE, now),
        }
        let result = self.perform(path, body, refuses, now);
        let answer = self.operation_answer(result, now);
        if matches!(answer.status, 200..=299 | 400 | 403 | 404 | 422) {
            let remembered = Remembered {
                status: answer.status,
                body: answer.body.clone(),
            };
            self.keys.remember(key, digest, remembered, now);
        }
        answer
    }

    fn perform(
        &mut self,
        path: &str,
        body: &[u8],
        refuses: bool,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        let Route::Operations(card_id) = Route::of(path) else {
            return Err(Refusal::NOT_FOUND);
        };
        if refuses {
            *self.dealt.entry(FaultKind::Refuse).or_default() += 1;
            return Err(Refusal::LIMIT_EXCEEDED);
        }
        self.books.perform(card_id, body, now)
    }

    /// 201 without a body, as the bank's page has it.
    fn operation_answer(&mut self, result: Result<(), Refusal>, now: Timestamp) -> Answer {
        match result {
            Ok(()) => answer(201, "", Vec::new(), now),
            Err(refusal) => self.refuse(&refusal, now),
        }
    }

    fn read(
        &mut self,
        request: &Request<'_>,
        path: &str,
        query: &str,
        dice: &Dice<'_>,
        now: Timestamp,
    ) -> Answer {
        let route = Route::of(path);
        match route {
            Route::Operations(_) => self.requests.lists += 1,
            Route::Balance(_) => self.requests.balances += 1,
            Route::Nowhere => self.requests.others += 1,
        }
        let body = self.authenticate(request).and_then(|()| match route {
            Route::Operations(card_id) => self.list(card_id, query, dice, now),
            Route::Balance(card_id) => self.balance(card_id),
            Route::Nowhere => Err(Refusal::NOT_FOUND),
        });
        match body {
            Ok(body) => answer(200, JSON, body, now),
            Err(refusal) => self.refuse(&refusal, now),
        }
    }

    fn list(
        &mut self,
        card_id: &str,
        query: &str,
        dice: &Dice<'_>,
        now: Timestamp,
    ) -> Result<Vec<u8>, Refusal> {
        if self.deal(FaultKind::ListError, dice) {
            return Err(Refusal::UNAVAILABLE);
        }
        let (query, lag) = (ListQuery::parse(query)?, self.settings.faults.list_lag);
        let mut page = self.books.list(card_id, query, now, lag)?;
        for row in &mut page.data {
            let dice = Dice {
                seed: dice.seed,
                key: row.id.as_deref().unwrap_or_default(),
                seen: 0,
            };
            if self.deal(FaultKind::Nameless, &dice) {
                row.entity_id = None;
            }
        }
        if self.deal(FaultKind::Shift, dice) {
            self.books.perform_foreign(card_id, now);
        }
        Ok(serde_json::to_vec(&page).expect("strings and integers always serialise"))
    }

    fn balance(&self, card_id: &str) -> Result<Vec<u8>, Refusal> {
        let balance = self.books.balance(card_id)?;
        let body = BalanceBody { balance, card_id };
        Ok(serde_json::to_vec(&body).expect("strings and integers always serialise"))
    }

    fn refuse(&mut self, refusal: &Refusal, now: Timestamp) -> Answer {
        self.refusal_serial += 1;
        let body = refusal.body(self.settings.seed, self.refusal_serial);
        answer(refusal.status, JSON, body, now)
    }
}

/// The connection ends without a byte of answer, in one of the two ways in which TCP ends.
fn silence(dice: &Dice<'_>, now: Timestamp) -> Act {
    if dice.choose("silence", 2) == 0 {
        return Act::Reset;
    }
    Act::Cut {
        answer: answer(201, "", Vec::new(), now),
        bytes: 0,
    }
}

fn answer(status: u16, content_type: &'static str, body: Vec<u8>, now: Timestamp) -> Answer {
    Answer {
        status,
        date: http_date(now, Form::ImfFixdate),
        content_type: Some(content_type).filter(|text| !text.is_empty()),
        retry_after: None,
        body,
    }
}

#[cfg(test)]
mod tests;
