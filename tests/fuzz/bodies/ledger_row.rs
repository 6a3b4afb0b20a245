//! Rows of a ledger in which one value is another than was written, [`tanda::ledger`].
//!
//! The first bytes choose table, column, row and type, and whether the row has the checksum of what it says;
//! the rest is the value. Whatever is read back, a job is one of those that were written or an error: never another card, operation or amount. No
//! error tells a card or an id.

use std::fs;
use std::path::Path;
use std::sync::LazyLock;
use std::time::Duration;

use rusqlite::Connection;
use rusqlite::types::Value;
use tanda::domain::digest::Digest;
use tanda::domain::job::{Draft, EntityId, Job};
use tanda::domain::key::{EventId, Generation, IdempotencyKey, Namespace};
use tanda::domain::listing::Finding;
use tanda::domain::money::Currencies;
use tanda::domain::outcome::{DoubtReason, Status};
use tanda::domain::request::{Person, Wish};
use tanda::domain::time::{Moment, Timestamp};
use tanda::domain::verdict::{Refusal, RefusalError, Unclarity, UnclearCause, Verdict};
use tanda::engine::ports::{
    AskNote, AttemptNote, Intent, JobRef, Ledger, LedgerError, NewlyHeld, Origin, Settlement,
    StoredOutcome,
};
use tanda::ledger::{Binding, SqliteLedger, Visitor};
use tanda::wire::envelope::Envelope;
use tempfile::TempDir;

use super::Target;
use super::telling::assert_no_card_in;

#[path = "../../it/support/tampering.rs"]
mod tampering;

pub(super) const TARGET: Target = Target {
    name: "ledger_row",
    body,
    cases: 300,
    words: &[
        "{\"verdict\":\"accepted\",\"http_status\":204}",
        "\"unclear\"",
        "\"cause\":\"timeout\"",
        "\"retry_after\":{\"secs\":1,\"nanos\":999999999}",
        "{\"secs\":18446744073709551615",
        "topup",
        "rejected",
        "waiting",
        "queue",
        "COP",
        "NOM-1",
        "null",
        "\u{0}",
        "\u{1}",
    ],
};

const FILE: &str = "ledger.db";
const NAMES: [&str; 6] = [
    "settled", "refused", "in_doubt", "begun", "held", "released",
];
/// Every table that rows of jobs are read from.
const TABLES: [&str; 7] = [
    "jobs", "outcomes", "attempts", "asks", "holds", "requests", "meta",
];
const MOST: usize = 100;

fn binding() -> Binding {
    Binding {
        namespace: Namespace::default(),
        bank_origin: "https://api.sandbox.cuentamono.com".to_owned(),
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime")
}

fn job(name: &str) -> Job {
    Draft {
        entity_id: name.to_owned(),
        card_id: "car_5tgliBmzjZ6mpQPRbQjfKj".to_owned(),
        operation: "topup".to_owned(),
        amount_minor: 5_000_000,
        currency: "COP".to_owned(),
        description: Some("Nómina".to_owned()),
        not_after: None,
    }
    .validate(&Currencies::default())
    .expect("a job")
}

fn intent(name: &str) -> Intent {
    let job = job(name);
    let at = Timestamp::from_millis(1_700_000_000_000);
    Intent {
        key: IdempotencyKey::derive(&Namespace::default(), &job.entity_id, Generation::FIRST),
        body_sha256: Digest::of(name.as_bytes()),
        job,
        generation: Generation::FIRST,
        origin: Origin::Queue,
        envelope: Envelope {
            correlation_id: Some("c-1".to_owned()),
            ..Envelope::default()
        },
        source: "tanda.jobs".to_owned(),
        line: Some(17),
        again_by: None,
        received_at: at,
        at: Moment {
            mono: Duration::ZERO,
            wall: at,
            bank: at,
        },
    }
}

fn outcome(intent: &Intent, status: Status) -> StoredOutcome {
    let id = &intent.job.entity_id;
    StoredOutcome {
        event_id: EventId::of_outcome(&Namespace::default(), id, Generation::FIRST, status),
        entity_id: Some(id.clone()),
        generation: Some(Generation::FIRST),
        status,
        body: b"{}".to_vec(),
        settled_at: intent.received_at,
        published: false,
        origin: Origin::Queue,
        envelope: Envelope::default(),
        letter: None,
    }
}

fn settlement(name: &str, status: Status, verdicts: Vec<Verdict>) -> Settlement {
    let intent = intent(name);
    let attempts = (1..).zip(verdicts).map(|(number, verdict)| AttemptNote {
        number,
        began: intent.received_at,
        ended: intent.received_at.plus(Duration::from_millis(35)),
        verdict,
        spent: true,
    });
    Settlement {
        attempts: attempts.collect(),
        outcome: outcome(&intent, status),
        answers: None,
        intent,
    }
}

async fn fill(ledger: &SqliteLedger) -> Result<(), LedgerError> {
    let refusal = Refusal {
        http_status: 422,
        code: "422 Unprocessable Content".to_owned(),
        message: "Validation errors".to_owned(),
        errors: vec![RefusalError {
            error_code: "missing_field".to_owned(),
            message: "missing".to_owned(),
            path: Some("#/a".to_owned()),
        }],
        log_id: Some("log_7MkW".to_owned()),
    };
    let unclear = Unclarity {
        retry_after: Some(Duration::from_millis(1_500)),
        http_status: Some(503),
        ..Unclarity::new(UnclearCause::ServerError)
    };
    for name in ["in_doubt", "begun", "released"] {
        ledger.begin(intent(name)).await?;
    }
    let accepted = vec![Verdict::Accepted { http_status: 204 }];
    ledger
        .settle(settlement("settled", Status::Succeeded, accepted))
        .await?;
    let refused = vec![Verdict::Refused(refusal)];
    ledger
        .settle(settlement("refused", Status::Rejected, refused))
        .await?;
    let doubtful = settlement("in_doubt", Status::InDoubt, vec![Verdict::Unclear(unclear)]);
    ledger.doubt(doubtful, DoubtReason::WindowClosed).await?;
    let reference = |name| JobRef {
        entity_id: job(name).entity_id,
        generation: Generation::FIRST,
    };
    let at = intent("in_doubt").received_at;
    let ask = AskNote {
        began: at,
        ended: at,
        finding: Finding::Absent.as_str(),
        evidence: "0 rows".to_owned(),
    };
    ledger.note_ask(reference("in_doubt"), ask).await?;
    ledger
        .release(reference("released"), "no_connection")
        .await?;
    let held = NewlyHeld {
        outcome: outcome(&intent("held"), Status::Waiting),
        intent: intent("held"),
        first: false,
        released: None,
    };
    ledger.hold(vec![held]).await?;
    let person = Person::parse("Ana").expect("a name");
    ledger
        .request(Wish::Cancel(job("held").entity_id), person, at)
        .await?;
    Ok(())
}

/// A ledger with a job in every standing, whose triggers do not stand in the way.
static FILLED: LazyLock<TempDir> = LazyLock::new(|| {
    let folder = tempfile::tempdir().expect("a directory");
    let path = folder.path().join(FILE);
    SqliteLedger::create(&path).expect("a new ledger");
    runtime().block_on(async {
        let ledger = SqliteLedger::open(&path, &binding()).expect("a ledger");
        fill(&ledger).await.expect("a filled ledger");
        ledger.close().await.expect("closed");
    });
    let db = Connection::open(&path).expect("the file");
    let mut statement = db
        .prepare("SELECT name FROM sqlite_master WHERE type = 'trigger'")
        .expect("a query");
    let triggers: Vec<String> = statement
        .query_map([], |row| row.get(0))
        .expect("names")
        .collect::<Result<_, _>>()
        .expect("names");
    for name in triggers {
        db.execute_batch(&format!("DROP TRIGGER {name}"))
            .expect("a trigger gone");
    }
    drop(statement);
    tampering::seal_tables(&db);
    // One file, so that a copy of it is a copy of the ledger.
    db.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)")
        .expect("one file");
    folder
});

/// A copy of the filled ledger.
fn copied() -> TempDir {
    let folder = tempfile::tempdir().expect("a directory");
    for file in [FILE, "ledger.db.anchor"] {
        fs::copy(FILLED.path().join(file), folder.path().join(file)).expect("a copy");
    }
    folder
}

fn body(bytes: &[u8]) {
    let Some((&[table, column, row, kind], value)) = bytes.split_first_chunk() else {
        return;
    };
    let folder = copied();
    let path = folder.path().join(FILE);
    change(&path, [table, column, row, kind], value);
    let visited = Visitor::open(&path).expect("what a row says does not close a ledger");
    for name in NAMES {
        as_it_was(&visited.history(&id(name)), |history| {
            let generations = history.generations.iter().map(|it| &it.intent);
            let held = history.held.iter().map(|it| &it.intent);
            generations.chain(held).map(|intent| &intent.job).collect()
        });
    }
    as_it_was(&visited.open_jobs(None, MOST), |open| {
        open.iter().map(|line| &line.job).collect()
    });
    as_it_was(&visited.held(MOST), |held| {
        held.oldest.iter().map(|line| &line.job).collect()
    });
    as_it_was(&visited.unpublished(MOST), |_| Vec::new());
    as_it_was(&visited.overview(), |_| Vec::new());
    as_it_was(&visited.dead_letters_ever(|_| ()), |()| Vec::new());
    as_it_was(&visited.a_paid_card(), |_| Vec::new());
    drop(visited);
    runtime().block_on(as_an_owner_reads_it(&path));
}

fn id(name: &str) -> EntityId {
    EntityId::parse(name).expect("an entity_id")
}

fn change(path: &Path, [table, column, row, kind]: [u8; 4], value: &[u8]) {
    let db = Connection::open(path).expect("the file");
    db.execute_batch("PRAGMA ignore_check_constraints = ON; PRAGMA foreign_keys = OFF")
        .expect("a lenient connection");
    let table = TABLES[usize::from(table) % TABLES.len()];
    let columns: Vec<String> = db
        .prepare(&format!("SELECT name FROM pragma_table_info('{table}')"))
        .and_then(|mut names| names.query_map([], |row| row.get(0))?.collect())
        .expect("names of columns");
    let column = &columns[usize::from(column) % columns.len()];
    let value = match kind % 4 {
        0 => Value::Null,
        1 => {
            let mut number = [0; 8];
            number
                .iter_mut()
                .zip(value)
                .for_each(|(to, from)| *to = *from);
            Value::Integer(i64::from_le_bytes(number))
        }
        2 => Value::Text(String::from_utf8_lossy(value).into_owned()),
        _ => Value::Blob(value.to_vec()),
    };
    let place = format!(
        "UPDATE {table} SET {column} = ?1 WHERE rowid_or_key IN \
         (SELECT rowid_or_key FROM {table} LIMIT 1 OFFSET {row})"
    );
    let key = match table {
        "attempts" => "job",
        "holds" => "entity_id",
        "meta" => "one",
        _ => "id",
    };
    // A value that the table does not take at all changes nothing.
    db.execute(&place.replace("rowid_or_key", key), [value])
        .ok();
    if kind / 4 % 4 != 3 {
        tampering::seal(&db, table);
    }
}

/// I12, and that a job is what it was or not there.
fn as_it_was<T>(read: &Result<T, LedgerError>, jobs: impl Fn(&T) -> Vec<&Job>) {
    match read {
        Ok(read) => {
            for read in jobs(read) {
                let written = job(read.entity_id.as_str());
                assert!(
                    NAMES.contains(&read.entity_id.as_str()),
                    "{:?}",
                    read.entity_id
                );
                assert_eq!(
                    read.fingerprint(),
                    written.fingerprint(),
                    "{:?}",
                    read.entity_id
                );
            }
        }
        Err(error) => {
            assert_no_card_in(&chain(error));
        }
    }
}

fn chain(error: &LedgerError) -> String {
    let mut told = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(deeper) = cause {
        told = format!("{told}: {deeper}");
        cause = deeper.source();
    }
    told
}

async fn as_an_owner_reads_it(path: &Path) {
    // A binding, a sequence or a ledger id that is another is refused.
    let Ok(ledger) = SqliteLedger::open(path, &binding()) else {
        return;
    };
    let sights = ledger.look(NAMES.map(id).to_vec()).await;
    as_it_was(&sights, |_| Vec::new());
    as_it_was(&ledger.unsettled(None, MOST).await, |open| {
        open.iter().map(|open| &open.intent.job).collect()
    });
    as_it_was(&ledger.next_held(job("held").card_id).await, |held| {
        held.iter().map(|held| &held.intent.job).collect()
    });
    as_it_was(&ledger.unpublished(&Origin::ALL, MOST).await, |_| {
        Vec::new()
    });
    as_it_was(&ledger.last_accepted().await, |last| {
        last.iter().map(|intent| &intent.job).collect()
    });
    as_it_was(&ledger.open_requests(None, MOST).await, |_| Vec::new());
    for name in NAMES {
        as_it_was(&ledger.generations_of(id(name)).await, |jobs| {
            jobs.iter().collect()
        });
    }
}
