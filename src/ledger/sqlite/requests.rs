//! Requests of people: asked by any process, answered by the one that owns the ledger.
//!
//! *What it promises.* What was asked never changes; the first answer is kept. An accepted cancel is
//! found by its job.
//!
//! *What it refuses to know.* What a request leads to.

use std::sync::LazyLock;

use rusqlite::{Connection, Row, params};
use serde_json::{Value, json};

use super::checksum::REQUESTS;
use super::trouble::Trouble;
use crate::domain::job::EntityId;
use crate::domain::key::{EventId, Generation};
use crate::domain::request::{EvidenceText, Person, Request, RequestId, Ruling, Wish};
use crate::domain::time::Timestamp;
use crate::engine::ports::Answer;

static INSERT_ALL: LazyLock<String> = LazyLock::new(|| {
    let values = [
        "wish = value ->> 'wish'",
        "entity_id = value ->> 'entity_id'",
        "ruling = value ->> 'ruling'",
        "evidence = value ->> 'evidence'",
        "asked_by = ?2",
        "asked_at = ?3",
        "wanted = value ->> 'wanted'",
        "event_id = unhex(value ->> 'event_id')",
    ];
    REQUESTS.insert_from(&values, "FROM json_each(?1) ORDER BY key RETURNING id")
});
static ANSWER: LazyLock<String> = LazyLock::new(|| {
    let values = [
        "generation = ?2",
        "accepted = ?3",
        "answer = ?4",
        "answered_at = ?5",
    ];
    REQUESTS.update(&values, "WHERE id = ?1 AND accepted IS NULL")
});

/// See `Ledger::request`.
pub(super) fn add(
    db: &Connection,
    wish: &Wish,
    by: &Person,
    at: Timestamp,
) -> Result<RequestId, Trouble> {
    let ids = add_all(db, std::slice::from_ref(wish), by, at)?;
    ids.into_iter().next().ok_or(Trouble::Stored("request"))
}

/// Adds all of them or none, in one statement and in their order: a visitor holds up the owner for no
/// longer than SQLite takes for it.
pub(super) fn add_all(
    db: &Connection,
    wishes: &[Wish],
    by: &Person,
    at: Timestamp,
) -> Result<Vec<RequestId>, Trouble> {
    let rows = Value::Array(wishes.iter().map(columns).collect());
    let mut statement = db.prepare_cached(&INSERT_ALL)?;
    let rows = params![rows.to_string(), by.as_str(), at.as_millis()];
    let mut ids = statement
        .query_map(rows, |row| row.get(0))?
        .collect::<rusqlite::Result<Vec<i64>>>()?;
    // They grow in the order in which rows are added; SQLite does not promise to return them so.
    ids.sort_unstable();
    Ok(ids.into_iter().map(RequestId::new).collect())
}

/// What a wish is in the columns of its row.
fn columns(wish: &Wish) -> Value {
    let (ruling, evidence) = match wish {
        Wish::Settle {
            ruling, evidence, ..
        } => (Some(ruling.as_str()), Some(evidence.as_str())),
        Wish::Discard { evidence, .. } => (None, Some(evidence.as_str())),
        Wish::Cancel(_)
        | Wish::Reconcile(_)
        | Wish::Pause
        | Wish::Resume
        | Wish::Redrive { .. } => (None, None),
    };
    let (wanted, event_id) = match wish {
        Wish::Redrive { generation, .. } => (Some(generation.get()), None),
        Wish::Discard { event_id, .. } => (None, Some(hex(event_id.as_bytes()))),
        Wish::Cancel(_) | Wish::Settle { .. } | Wish::Reconcile(_) | Wish::Pause | Wish::Resume => {
            (None, None)
        }
    };
    json!({
        "wish": wish.as_str(),
        "entity_id": wish.entity_id().map(EntityId::as_str),
        "ruling": ruling,
        "evidence": evidence,
        "wanted": wanted,
        "event_id": event_id,
    })
}

fn hex(bytes: &[u8]) -> String {
    let digits = bytes.iter().map(|byte| format!("{byte:02x}"));
    digits.collect()
}

/// See `Ledger::open_requests`.
pub(super) fn open(
    db: &Connection,
    after: Option<RequestId>,
    limit: usize,
) -> Result<Vec<Request>, Trouble> {
    let mut statement = db.prepare_cached(
        "SELECT * FROM requests INDEXED BY requests_open WHERE accepted IS NULL \
         AND id > ?1 ORDER BY id LIMIT ?2",
    )?;
    let after = after.map_or(0, RequestId::get);
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut rows = statement.query([after, limit])?;
    let mut requests = Vec::new();
    while let Some(row) = rows.next()? {
        requests.push(request(row)?);
    }
    Ok(requests)
}

/// See `Ledger::answer`. An answer to what is answered already is dropped.
pub(super) fn answer(db: &Connection, id: RequestId, answer: &Answer) -> Result<(), Trouble> {
    db.prepare_cached(&ANSWER)?.execute(params![
        id.get(),
        answer.generation.map(Generation::get),
        answer.accepted,
        answer.words,
        answer.at.as_millis(),
    ])?;
    Ok(())
}

/// See `Ledger::paused_by`.
pub(super) fn paused_by(db: &Connection) -> Result<Option<(Person, Timestamp)>, Trouble> {
    let mut statement = db.prepare_cached(
        "SELECT * FROM requests INDEXED BY requests_holding \
         WHERE wish IN ('pause', 'resume') ORDER BY id DESC LIMIT 1",
    )?;
    let mut rows = statement.query([])?;
    let Some(row) = rows.next()? else {
        return Ok(None);
    };
    let newest = request(row)?;
    Ok((newest.wish == Wish::Pause).then_some((newest.by, newest.at)))
}

/// Whether an accepted cancel is about this generation.
pub(super) fn is_cancelled(
    db: &Connection,
    entity_id: &EntityId,
    generation: Generation,
) -> Result<bool, Trouble> {
    let mut statement = db.prepare_cached(
        "SELECT 1 FROM requests INDEXED BY requests_cancelled \
         WHERE wish = 'cancel' AND accepted = 1 AND entity_id = ?1 AND generation = ?2",
    )?;
    Ok(statement.exists(params![entity_id.as_str(), generation.get()])?)
}

/// The request by which this outcome was put aside, if it was; of several the first.
pub(super) fn put_aside(db: &Connection, event_id: EventId) -> Result<Option<Request>, Trouble> {
    let mut statement = db.prepare_cached(
        "SELECT * FROM requests INDEXED BY requests_discarded \
         WHERE wish = 'discard' AND accepted = 1 AND event_id = ?1 ORDER BY id LIMIT 1",
    )?;
    let mut rows = statement.query([event_id.as_bytes()])?;
    rows.next()?.map(request).transpose()
}

/// The answer to a request, once there is one.
pub(super) fn answer_of(db: &Connection, id: RequestId) -> Result<Option<Answer>, Trouble> {
    let mut statement = db.prepare_cached("SELECT * FROM requests WHERE id = ?1")?;
    let mut rows = statement.query([id.get()])?;
    let row = rows.next()?.ok_or(Trouble::Stored("request"))?;
    answer_in(row)
}

/// Everything that was asked about a job, oldest first.
pub(super) fn about(
    db: &Connection,
    entity_id: &EntityId,
) -> Result<Vec<(Request, Option<Answer>)>, Trouble> {
    let mut statement = db.prepare_cached(
        "SELECT * FROM requests INDEXED BY requests_by_entity WHERE entity_id = ?1 ORDER BY id",
    )?;
    let mut rows = statement.query([entity_id.as_str()])?;
    let mut requests = Vec::new();
    while let Some(row) = rows.next()? {
        requests.push((request(row)?, answer_in(row)?));
    }
    Ok(requests)
}

fn answer_in(row: &Row<'_>) -> Result<Option<Answer>, Trouble> {
    REQUESTS.check(row)?;
    let accepted: Option<bool> = row.get("accepted")?;
    let Some(accepted) = accepted else {
        return Ok(None);
    };
    let generation: Option<u32> = row.get("generation")?;
    Ok(Some(Answer {
        accepted,
        generation: generation.and_then(Generation::new),
        words: row.get("answer")?,
        at: Timestamp::from_millis(row.get("answered_at")?),
    }))
}

fn request(row: &Row<'_>) -> Result<Request, Trouble> {
    REQUESTS.check(row)?;
    let stored = Trouble::Stored("request");
    let by: String = row.get("asked_by")?;
    Ok(Request {
        id: RequestId::new(row.get("id")?),
        wish: wish(row)?,
        by: Person::parse(&by).ok_or(stored)?,
        at: Timestamp::from_millis(row.get("asked_at")?),
    })
}

fn wish(row: &Row<'_>) -> Result<Wish, Trouble> {
    let stored = || Trouble::Stored("request");
    let word: String = row.get("wish")?;
    let entity_id: Option<String> = row.get("entity_id")?;
    let entity_id = entity_id
        .map(|text| EntityId::parse(&text).map_err(|_| stored()))
        .transpose()?;
    Ok(match (word.as_str(), entity_id) {
        ("cancel", Some(entity_id)) => Wish::Cancel(entity_id),
        ("settle", Some(entity_id)) => {
            let (ruling, evidence): (String, String) = (row.get("ruling")?, row.get("evidence")?);
            Wish::Settle {
                entity_id,
                ruling: Ruling::parse(&ruling).ok_or_else(stored)?,
                evidence: EvidenceText::parse(&evidence).ok_or_else(stored)?,
            }
        }
        ("redrive", Some(entity_id)) => Wish::Redrive {
            entity_id,
            generation: Generation::new(row.get("wanted")?).ok_or_else(stored)?,
        },
        ("discard", entity_id) => {
            let evidence: String = row.get("evidence")?;
            Wish::Discard {
                event_id: EventId::from_bytes(row.get("event_id")?),
                entity_id,
                evidence: EvidenceText::parse(&evidence).ok_or_else(stored)?,
            }
        }
        ("reconcile", entity_id) => Wish::Reconcile(entity_id),
        ("pause", None) => Wish::Pause,
        ("resume", None) => Wish::Resume,
        _ => return Err(stored()),
    })
}
