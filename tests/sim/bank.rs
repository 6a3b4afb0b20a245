//! A bank with books: it knows what it paid, which is what the judge asks.
//!
//! *What it promises.* Within a key's lifetime the first answer under it is repeated, be it a payment, a
//! refusal or a failure of its own, as the plan says; after it, a request is a new request. Nothing here
//! deduplicates by `entity_id`. Its list lags, hides names and shifts under the reader, as the plan says.

use tanda::domain::key::IdempotencyKey;
use tanda::wire::bank::{ListPage, ListRow, Money, Pagination};

use crate::answers::Heard;
use crate::cast::{self, Content, GENERATIONS_MAX, JOBS_MAX};
use crate::plan::Plan;
use crate::rng::Rng;

/// The most rows of a list: also one a page, it must not become too long to be read at all.
const ROWS_MAX: usize = 40;

/// A request on its way to the bank.
#[derive(Debug)]
pub(crate) struct Request {
    /// When it arrives.
    pub(crate) arrives: u64,
    /// Which call it is.
    pub(crate) call: u64,
    /// Which job it is for.
    pub(crate) job: usize,
    /// Which generation of it.
    pub(crate) generation: usize,
    /// What it says.
    pub(crate) content: Content,
    /// Under which key.
    pub(crate) key: IdempotencyKey,
    /// Whether the bank fails over it.
    pub(crate) fails: bool,
}

/// What the bank made of a request: what it answered, of which the reply may be lost all the same, and
/// whether money moved by it.
pub(crate) type Taken = (Heard, bool);

#[derive(Debug)]
struct Memory {
    key: IdempotencyKey,
    since: u64,
    answer: Heard,
}

/// What a list is known by: how often its rows have changed, and how many of them are shown. Lists of one
/// edition are the same.
pub(crate) type Edition = (u64, usize);

/// How a row names its job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Name {
    /// Byte for byte.
    Whole,
    /// In small letters.
    Mangled,
    /// Not at all.
    Missing,
}

#[derive(Clone, Copy, Debug)]
struct Row {
    id: u64,
    /// The job; none where the operation is somebody else's.
    of: Option<(usize, Content, Name)>,
    listed_from: u64,
}

/// The bank.
#[derive(Debug)]
pub(crate) struct Bank {
    /// On their way, in no order.
    pub(crate) requests: Vec<Request>,
    /// What it said to a call that arrived.
    pub(crate) answers: Vec<(u64, Heard)>,
    /// How often each generation of each job was executed.
    pub(crate) applied: [[u32; GENERATIONS_MAX]; JOBS_MAX],
    /// How often it refused each job, in the calls that reached it.
    pub(crate) refused: [u32; JOBS_MAX],
    /// Until when it is away.
    pub(crate) away_until: u64,
    /// Until when the card is blocked.
    pub(crate) blocked_until: u64,
    /// Until when it does not know the card.
    pub(crate) unknown_until: u64,
    /// How many more operations the card takes.
    pub(crate) room: i64,
    memory: Vec<Memory>,
    rows: Vec<Row>,
    last_id: u64,
    /// How often the rows have changed.
    changes: u64,
}

impl Bank {
    /// A bank at the beginning of a world.
    pub(crate) fn new(plan: &Plan) -> Self {
        let mut bank = Self {
            requests: Vec::new(),
            answers: Vec::new(),
            applied: [[0; GENERATIONS_MAX]; JOBS_MAX],
            refused: [0; JOBS_MAX],
            away_until: 0,
            blocked_until: 0,
            unknown_until: 0,
            room: plan.room_on_card,
            memory: Vec::new(),
            rows: Vec::new(),
            last_id: 0,
            changes: 0,
        };
        for _ in 0..plan.rows_of_others {
            bank.list_row(None, 0);
        }
        if plan.other_content {
            bank.list_row(Some((0, Content::Strange, Name::Whole)), 0);
        }
        bank
    }

    fn list_row(&mut self, of: Option<(usize, Content, Name)>, listed_from: u64) {
        self.last_id += 1;
        self.changes += 1;
        self.rows.push(Row {
            id: self.last_id,
            of,
            listed_from,
        });
    }

    /// Takes the request that arrives now.
    pub(crate) fn take(&mut self, plan: &Plan, rng: &mut Rng, request: &Request) -> Taken {
        let now = request.arrives;
        self.memory
            .retain(|memory| now - memory.since < plan.key_lifetime_ms);
        let known = self.memory.iter().find(|memory| memory.key == request.key);
        if let Some(memory) = known {
            let answer = memory.answer;
            self.count_refusal(request.job, answer);
            self.answers.push((request.call, answer));
            return (answer, false);
        }
        let judged = if now < self.unknown_until.min(plan.faults_until) {
            Heard::UnknownCard
        } else if now < self.blocked_until || self.room <= 0 {
            Heard::Refused
        } else {
            Heard::Created
        };
        let fails_before = request.fails && rng.coin();
        let executed = judged == Heard::Created && !fails_before;
        if executed {
            self.execute(plan, rng, request);
        }
        let answer = if request.fails {
            Heard::Failed(None)
        } else {
            judged
        };
        self.count_refusal(request.job, answer);
        let kept = match (request.fails && plan.caches_errors, executed) {
            (true, _) => Some(Heard::Failed(None)),
            (false, true) => Some(Heard::Created),
            (false, false) => (!request.fails && plan.caches_refusals && judged != Heard::Created)
                .then_some(judged),
        };
        if let Some(answer) = kept {
            self.memory.push(Memory {
                key: request.key,
                since: now,
                answer,
            });
        }
        self.answers.push((request.call, answer));
        (answer, executed)
    }

    fn execute(&mut self, plan: &Plan, rng: &mut Rng, request: &Request) {
        self.room -= 1;
        let generations = self.applied.get_mut(request.job);
        let applied = generations.and_then(|of| of.get_mut(request.generation));
        *applied.expect("a request is of a generation of a job") += 1;
        let name = if rng.per_mille(plan.chances.nameless_row) {
            Name::Missing
        } else if plan.mangles_ids {
            Name::Mangled
        } else {
            Name::Whole
        };
        let listed_from = request.arrives + rng.up_to(plan.lag_max_ms);
        self.list_row(Some((request.job, request.content, name)), listed_from);
    }

    fn count_refusal(&mut self, job: usize, answer: Heard) {
        if matches!(
            answer,
            Heard::Refused | Heard::UnknownCard | Heard::Forbidden
        ) {
            let refused = self.refused.get_mut(job);
            *refused.expect("a request is for a job") += 1;
        }
    }

    /// Refuses before it looks at the request: a credential that may not do this.
    pub(crate) fn forbids(&mut self, job: usize) {
        self.count_refusal(job, Heard::Forbidden);
    }

    /// Somebody else's operation is listed, and perhaps the oldest drops out, where that is theirs: then the
    /// pages shift and the total does not tell.
    pub(crate) fn shift(&mut self, rng: &mut Rng, now: u64) {
        if rng.coin() {
            let oldest = self.rows.first();
            if oldest.is_some_and(|row| row.of.is_none()) {
                self.rows.remove(0);
                self.changes += 1;
            }
        }
        if rng.coin() && self.rows.len() < ROWS_MAX {
            self.list_row(None, now);
        }
    }

    /// The edition of the list that is shown now.
    pub(crate) fn edition(&self, now: u64) -> Edition {
        let shown = self.rows.iter().filter(|row| row.listed_from <= now);
        (self.changes, shown.count())
    }

    /// A page of the list as it is shown now, counted from 1.
    pub(crate) fn page(&self, plan: &Plan, number: u64, now: u64) -> ListPage {
        let shown = |row: &&Row| row.listed_from <= now;
        let size = usize::try_from(plan.rows_on_page).expect("a page is small");
        let skipped = usize::try_from(number.saturating_sub(1)).expect("few pages") * size;
        let total = self.rows.iter().filter(shown).count();
        let rows = self.rows.iter().filter(shown);
        let of = |row: &Row| listed(plan, row);
        let data = if plan.newest_first {
            rows.rev().skip(skipped).take(size).map(of).collect()
        } else {
            rows.skip(skipped).take(size).map(of).collect()
        };
        let total_items = u64::try_from(total).expect("few rows");
        ListPage {
            data,
            pagination: Pagination {
                page_number: number,
                page_size: plan.rows_on_page,
                total_items,
                total_pages: total_items.div_ceil(plan.rows_on_page),
            },
        }
    }
}

fn listed(plan: &Plan, row: &Row) -> ListRow {
    let (entity_id, amount) = match row.of {
        None => (Some("SOMEBODY-ELSE".to_owned()), 300),
        Some((job, content, name)) => {
            let job = cast::part(plan.first_part, job).says(content);
            let entity_id = job.entity_id.as_str();
            let entity_id = match name {
                Name::Whole => Some(entity_id.to_owned()),
                Name::Mangled => Some(entity_id.to_lowercase()),
                Name::Missing => None,
            };
            (entity_id, job.amount.minor())
        }
    };
    ListRow {
        id: Some(row.id.to_string()),
        card_id: None,
        entity_id,
        operation: "topup".to_owned(),
        amount: Money {
            amount,
            currency: "COP".to_owned(),
        },
        description: None,
        performed_at: None,
    }
}
