//! Requests: what a command asks of the process that owns the ledger, and what came of it.
//!
//! *What it promises.* Where a process owns the ledger, it is asked and its answer awaited. Where
//! none does, the command owns the ledger for a moment and attends to the request itself, or leaves
//! it on record for the next process, as the request needs. Nothing is recorded before what is
//! needed to attend to it (token, bank) is there.
//!
//! *What it refuses to know.* What is asked.

use std::sync::Arc;
use std::time::Duration;

use anyhow::anyhow;
use async_trait::async_trait;
use tokio::time::{Instant, sleep};

use super::open_visit;
use crate::app::compose::House;
use crate::app::config::Config;
use crate::app::exit::{Exit, Failure};
use crate::app::streams::tell;
use crate::domain::job::EntityId;
use crate::domain::request::{Person, RequestId, Wish};
use crate::domain::time::Timestamp;
use crate::engine::ports::{Answer, Clock as _, Origin, Sink, SinkError, StoredOutcome};
use crate::engine::settings::Ending;
use crate::engine::{Ports, SystemClock};
use crate::ledger::Visitor;

/// How often the ledger is looked at for an answer.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How long an owner is given for one answer: it may be in the middle of a call, an ask and a commit.
const ANSWER_LIMIT: Duration = Duration::from_secs(150);
/// After how long a person is told that the answer is awaited.
const SAY_AFTER: Duration = Duration::from_secs(3);
/// How often it is said how many answers there are, where many are awaited.
const SAY_EVERY: Duration = Duration::from_secs(10);

/// What to do where no process owns the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unowned {
    /// Own it for a moment and attend to the request.
    Attend,
    /// Leave it on record: the next process attends to it before anything else.
    Leave,
}

/// What came of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Put {
    pub(super) wish: Wish,
    pub(super) at: Timestamp,
    pub(super) state: State,
}

/// How far a request has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// The owner, or this command in its place, has answered.
    Answered(Answer),
    /// Nobody owns the ledger: the next process attends to it before anything else.
    OnRecord,
    /// A process owns the ledger and has not answered in time. It may still do so.
    OwnerSilent,
}

impl Put {
    /// A request that was not even put.
    pub(super) fn declined(wish: Wish, words: String) -> Self {
        let at = SystemClock.wall();
        let answer = Answer {
            accepted: false,
            generation: None,
            words,
            at,
        };
        Self {
            wish,
            at,
            state: State::Answered(answer),
        }
    }

    /// A stable word: `accepted`, `declined` or `on_record`.
    pub(super) const fn state_word(&self) -> &'static str {
        match &self.state {
            State::Answered(answer) if answer.accepted => "accepted",
            State::Answered(_) => "declined",
            State::OnRecord | State::OwnerSilent => "on_record",
        }
    }

    /// For the one who asked.
    pub(super) fn words(&self) -> &str {
        match &self.state {
            State::Answered(answer) => &answer.words,
            State::OnRecord => {
                "on record: the next process that pays attends to it before it sends anything"
            }
            State::OwnerSilent => {
                "on record, but the process that owns the ledger has not answered: do not take it \
                 as done. It may still be attended to; look at that process, and at `tanda status`"
            }
        }
    }

    pub(super) const fn exit(&self) -> Exit {
        match &self.state {
            State::Answered(answer) if answer.accepted => Exit::Done,
            State::Answered(_) => Exit::Input,
            State::OnRecord => Exit::Done,
            State::OwnerSilent => Exit::Unusable,
        }
    }

    pub(super) fn json(&self) -> serde_json::Value {
        serde_json::json!({
            "wish": self.wish.as_str(),
            "entity_id": self.wish.entity_id().map(EntityId::as_str),
            "state": self.state_word(),
            "answer": self.words(),
        })
    }
}

/// A person's name from the command line.
pub(super) fn person(text: &str) -> Result<Person, Failure> {
    Person::parse(text).ok_or_else(|| {
        let error = anyhow!("--by {text:?}: give a name of 1 to 128 characters on one line");
        Failure::new(Exit::Usage, error)
    })
}

/// Puts requests and brings back what came of each.
pub(super) async fn put(
    config: &Config,
    wishes: Vec<Wish>,
    by: &Person,
    unowned: Unowned,
) -> Result<Vec<Put>, Failure> {
    let visitor = open_visit(config)?;
    let house = match unowned {
        Unowned::Attend if !is_owned(&visitor)? => own(config)?,
        Unowned::Attend | Unowned::Leave => None,
    };
    let at = SystemClock.wall();
    let ids = visitor.request_all(&wishes, by, at).map_err(unusable)?;
    let asked = ids.into_iter().zip(wishes).collect();
    if let Some(house) = house {
        attend(config, house).await?;
    }
    await_answers(config, &visitor, asked, at, unowned).await
}

/// The house, where nobody has just become the owner of the ledger.
fn own(config: &Config) -> Result<Option<House>, Failure> {
    match House::open(config) {
        Ok(house) => Ok(Some(house)),
        Err(failure) if is_locked(&failure) => Ok(None),
        Err(failure) => Err(failure),
    }
}

fn is_locked(failure: &Failure) -> bool {
    let cause = failure.error.downcast_ref::<crate::ledger::OpenError>();
    cause.is_some_and(crate::ledger::OpenError::is_locked)
}

fn is_owned(visitor: &Visitor) -> Result<bool, Failure> {
    visitor.is_owned().map_err(unusable)
}

pub(super) fn unusable(error: crate::engine::ports::LedgerError) -> Failure {
    Failure::new(Exit::Unusable, anyhow::Error::new(error))
}

/// Owns the ledger for a moment, for what people have asked and nothing else.
async fn attend(config: &Config, house: House) -> Result<(), Failure> {
    let settings = config
        .settings(Ending::WhenDry)
        .map_err(|error| Failure::new(Exit::Usage, error))?;
    let ports = Ports {
        bank: house.bank(),
        ledger: house.ledger_port(),
        sink: Arc::new(KeptInTheLedger),
        clock: Arc::new(SystemClock),
    };
    let (_stopper, stop) = crate::engine::stop::signal();
    let attended = crate::engine::attend(ports, settings, stop).await;
    house.close().await?;
    attended.map_err(|error| {
        let context = "the request is on record, and is attended to again by the next command";
        Failure::new(Exit::Unusable, anyhow::Error::new(error).context(context))
    })
}

/// Outcomes of files are read from the ledger; nobody else waits for them.
struct KeptInTheLedger;

#[async_trait]
impl Sink for KeptInTheLedger {
    /// What is to be published on the queue waits for a worker.
    fn reaches(&self) -> &'static [Origin] {
        &[Origin::File]
    }

    async fn publish(&self, _outcome: &StoredOutcome) -> Result<(), SinkError> {
        Ok(())
    }
}

/// Answers come in any order, and often many at a time: only the first that is missing is waited for.
async fn await_answers(
    config: &Config,
    visitor: &Visitor,
    asked: Vec<(RequestId, Wish)>,
    at: Timestamp,
    unowned: Unowned,
) -> Result<Vec<Put>, Failure> {
    let mut last_answer = Instant::now();
    let mut waiting = Waiting::new(asked.len());
    let mut puts = Vec::with_capacity(asked.len());
    for (id, wish) in asked {
        let state = loop {
            if let Some(answer) = visitor.answer_of(id).map_err(unusable)? {
                last_answer = Instant::now();
                break State::Answered(answer);
            }
            if !is_owned(visitor)? {
                match unowned {
                    Unowned::Leave => break State::OnRecord,
                    Unowned::Attend => {
                        if let Some(house) = own(config)? {
                            attend(config, house).await?;
                        }
                    }
                }
            }
            if last_answer.elapsed() > ANSWER_LIMIT {
                break State::OwnerSilent;
            }
            waiting.say(puts.len());
            sleep(LOOK_EVERY).await;
        };
        puts.push(Put { wish, at, state });
    }
    Ok(puts)
}

/// What people are told while they wait.
struct Waiting {
    all: usize,
    says_at: Instant,
}

impl Waiting {
    fn new(all: usize) -> Self {
        Self {
            all,
            says_at: Instant::now() + SAY_AFTER,
        }
    }

    fn say(&mut self, answered: usize) {
        if Instant::now() < self.says_at {
            return;
        }
        let (all, is_first) = (self.all, answered == 0);
        self.says_at = Instant::now() + SAY_EVERY;
        if all == 1 {
            // Once is enough.
            self.says_at += ANSWER_LIMIT;
        }
        if all == 1 || is_first {
            tell("waiting for the process that owns the ledger to answer …\n");
        } else {
            tell(&format!("{answered} of {all} are answered …\n"));
        }
    }
}
