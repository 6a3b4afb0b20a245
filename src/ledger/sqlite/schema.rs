//! The tables, version by version.
//!
//! *What it promises.* Each migration is one transaction that also raises `user_version`, so a
//! ledger has one format or the next, never half. Content that is evidence cannot be changed or
//! deleted: triggers refuse it, whoever holds the file. A prune, which leaves tombstones, says so in
//! `pruning` for as long as its transaction lasts.
//!
//! *What it refuses to know.* Which statements read and write the tables.
//!
//! Layout, for speed: rows are found by integers, so that a job's own rows lie together. A smooth
//! job touches one random place of an index for its id and one for its event id, nothing else:
//! the two partial indices grow and shrink at their ends. Outcomes are found from their job, not
//! by an index; those that are dead letters or about no job have one, which a smooth job is not in.

use rusqlite::{Connection, TransactionBehavior};

use super::checksum;

/// `tand`, in the place where SQLite keeps the kind of a file.
pub(super) const APPLICATION_ID: i64 = 0x7461_6e64;

/// Migrations in order; version n is what the first n have made. Never edited once released.
const MIGRATIONS: [&str; 5] = [VERSION_1, VERSION_2, VERSION_3, VERSION_4, VERSION_5];

/// The newest version that this program knows.
pub(super) fn newest() -> i64 {
    i64::try_from(MIGRATIONS.len()).expect("there are few migrations")
}

/// Brings a ledger from this version to the newest, which has checksums: rows that were written without
/// get theirs in the last transaction.
pub(super) fn migrate(db: &mut Connection, from: i64) -> rusqlite::Result<()> {
    for (migration, version) in MIGRATIONS.iter().zip(1_i64..) {
        if version > from {
            let tx = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
            tx.execute_batch(migration)?;
            tx.pragma_update(None, "user_version", version)?;
            if version == newest() {
                checksum::write_all(&tx)?;
            }
            tx.commit()?;
        }
    }
    Ok(())
}

/// `sequence` is raised by each group commit and by nothing else. Times are milliseconds since
/// 1970 UTC. `jobs.final_outcome` is null exactly while a job is not settled.
const VERSION_1: &str = "
CREATE TABLE meta (
    one               INTEGER PRIMARY KEY CHECK (one = 1),
    ledger_id         TEXT NOT NULL,
    namespace         TEXT,
    bank_origin       TEXT,
    sequence          INTEGER NOT NULL CHECK (sequence >= 0),
    control_entity_id TEXT,
    control_seen_at   INTEGER,
    CHECK ((namespace IS NULL) = (bank_origin IS NULL)),
    CHECK ((control_entity_id IS NULL) = (control_seen_at IS NULL))
) STRICT;
INSERT INTO meta (one, ledger_id, sequence) VALUES (1, lower(hex(randomblob(16))), 0);

CREATE TABLE outcomes (
    id           INTEGER PRIMARY KEY,
    event_id     BLOB NOT NULL UNIQUE CHECK (length(event_id) = 16),
    job          INTEGER REFERENCES jobs (id),
    entity_id    TEXT,
    generation   INTEGER,
    status       TEXT NOT NULL,
    body         BLOB NOT NULL,
    settled_at   INTEGER NOT NULL,
    published_at INTEGER
) STRICT;
CREATE INDEX outcomes_unpublished ON outcomes (id) WHERE published_at IS NULL;

CREATE TABLE jobs (
    id             INTEGER PRIMARY KEY,
    entity_id      TEXT NOT NULL,
    generation     INTEGER NOT NULL CHECK (generation >= 1),
    card_id        TEXT NOT NULL,
    operation      TEXT NOT NULL,
    amount_minor   INTEGER NOT NULL CHECK (amount_minor > 0),
    currency       TEXT NOT NULL,
    description    TEXT,
    not_after      INTEGER,
    fingerprint    BLOB NOT NULL CHECK (length(fingerprint) = 32),
    key            BLOB NOT NULL CHECK (length(key) = 16),
    body_sha256    BLOB NOT NULL CHECK (length(body_sha256) = 32),
    line           INTEGER,
    received_at    INTEGER NOT NULL,
    intent_at      INTEGER NOT NULL,
    intent_bank_at INTEGER NOT NULL,
    person_needed  INTEGER NOT NULL DEFAULT 0 CHECK (person_needed IN (0, 1)),
    doubt_reason   TEXT,
    doubt_outcome  INTEGER REFERENCES outcomes (id),
    final_outcome  INTEGER REFERENCES outcomes (id),
    CHECK ((doubt_reason IS NULL) = (doubt_outcome IS NULL))
) STRICT;
CREATE UNIQUE INDEX jobs_by_entity ON jobs (entity_id, generation);
CREATE INDEX jobs_unsettled ON jobs (id) WHERE final_outcome IS NULL;

CREATE TABLE attempts (
    job     INTEGER NOT NULL REFERENCES jobs (id),
    number  INTEGER NOT NULL CHECK (number >= 1),
    began   INTEGER NOT NULL,
    ended   INTEGER NOT NULL,
    spent   INTEGER NOT NULL CHECK (spent IN (0, 1)),
    verdict TEXT NOT NULL,
    PRIMARY KEY (job, number)
) STRICT, WITHOUT ROWID;

CREATE TABLE asks (
    id       INTEGER PRIMARY KEY,
    job      INTEGER NOT NULL REFERENCES jobs (id),
    began    INTEGER NOT NULL,
    ended    INTEGER NOT NULL,
    finding  TEXT NOT NULL,
    evidence TEXT NOT NULL
) STRICT;
CREATE INDEX asks_by_job ON asks (job);

CREATE TABLE panics (
    entity_id TEXT PRIMARY KEY,
    count     INTEGER NOT NULL CHECK (count >= 1)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER meta_is_bound_once BEFORE UPDATE OF namespace, bank_origin ON meta
    WHEN OLD.namespace IS NOT NULL
    BEGIN SELECT RAISE(ABORT, 'a ledger is bound once'); END;
CREATE TRIGGER meta_keeps_its_id BEFORE UPDATE OF one, ledger_id ON meta
    BEGIN SELECT RAISE(ABORT, 'a ledger keeps its id'); END;
CREATE TRIGGER meta_only_grows BEFORE UPDATE OF sequence ON meta WHEN NEW.sequence <= OLD.sequence
    BEGIN SELECT RAISE(ABORT, 'the sequence only grows'); END;
CREATE TRIGGER meta_stays BEFORE DELETE ON meta
    BEGIN SELECT RAISE(ABORT, 'a ledger keeps its id'); END;

CREATE TRIGGER jobs_say_one_thing BEFORE UPDATE OF id, entity_id, generation, card_id, operation,
    amount_minor, currency, description, not_after, fingerprint, key, body_sha256, line,
    received_at, intent_at, intent_bank_at ON jobs
    BEGIN SELECT RAISE(ABORT, 'what a job says is fixed'); END;
CREATE TRIGGER jobs_settle_once BEFORE UPDATE OF final_outcome ON jobs
    WHEN OLD.final_outcome IS NOT NULL
    BEGIN SELECT RAISE(ABORT, 'a settled job stays settled'); END;
CREATE TRIGGER jobs_doubt_once BEFORE UPDATE OF doubt_outcome, doubt_reason ON jobs
    WHEN OLD.doubt_outcome IS NOT NULL
    BEGIN SELECT RAISE(ABORT, 'the first doubt is kept'); END;
CREATE TRIGGER jobs_stay BEFORE DELETE ON jobs
    BEGIN SELECT RAISE(ABORT, 'jobs are kept'); END;

CREATE TRIGGER attempts_are_fixed BEFORE UPDATE ON attempts
    BEGIN SELECT RAISE(ABORT, 'attempts are only added'); END;
CREATE TRIGGER attempts_stay BEFORE DELETE ON attempts
    BEGIN SELECT RAISE(ABORT, 'attempts are only added'); END;
CREATE TRIGGER asks_are_fixed BEFORE UPDATE ON asks
    BEGIN SELECT RAISE(ABORT, 'asks are only added'); END;
CREATE TRIGGER asks_stay BEFORE DELETE ON asks
    BEGIN SELECT RAISE(ABORT, 'asks are only added'); END;

CREATE TRIGGER outcomes_are_fixed BEFORE UPDATE OF id, event_id, job, entity_id, generation,
    status, body, settled_at ON outcomes
    BEGIN SELECT RAISE(ABORT, 'outcomes are only added'); END;
CREATE TRIGGER outcomes_are_published_once BEFORE UPDATE OF published_at ON outcomes
    WHEN OLD.published_at IS NOT NULL
    BEGIN SELECT RAISE(ABORT, 'the first publication is kept'); END;
CREATE TRIGGER outcomes_stay BEFORE DELETE ON outcomes
    BEGIN SELECT RAISE(ABORT, 'outcomes are only added'); END;
";

/// Requests of people, where a job came from and who asked for it again, and tombstones.
///
/// An accepted cancel is a fact about a generation; the newest pause or resume says whether the flow
/// is held. `source` and `again_by` are null in rows that the first format wrote. `released` says why
/// the intent of a job was withdrawn; null while it stands.
const VERSION_2: &str = "
CREATE TABLE requests (
    id          INTEGER PRIMARY KEY,
    wish        TEXT NOT NULL CHECK (wish IN ('cancel', 'settle', 'reconcile', 'pause', 'resume')),
    entity_id   TEXT,
    ruling      TEXT CHECK (ruling IN ('succeeded', 'not_sent')),
    evidence    TEXT,
    asked_by    TEXT NOT NULL,
    asked_at    INTEGER NOT NULL,
    generation  INTEGER,
    accepted    INTEGER CHECK (accepted IN (0, 1)),
    answer      TEXT,
    answered_at INTEGER,
    CHECK ((wish = 'settle') = (ruling IS NOT NULL)),
    CHECK ((wish = 'settle') = (evidence IS NOT NULL)),
    CHECK (wish NOT IN ('cancel', 'settle') OR entity_id IS NOT NULL),
    CHECK ((accepted IS NULL) = (answer IS NULL)),
    CHECK ((accepted IS NULL) = (answered_at IS NULL))
) STRICT;
CREATE INDEX requests_open ON requests (id) WHERE accepted IS NULL;
CREATE INDEX requests_by_entity ON requests (entity_id) WHERE entity_id IS NOT NULL;
CREATE INDEX requests_cancelled ON requests (entity_id, generation)
    WHERE wish = 'cancel' AND accepted = 1;
CREATE INDEX requests_holding ON requests (id) WHERE wish IN ('pause', 'resume');

CREATE TABLE tombstones (
    entity_id     TEXT NOT NULL,
    generation    INTEGER NOT NULL CHECK (generation >= 1),
    fingerprint   BLOB NOT NULL CHECK (length(fingerprint) = 32),
    status        TEXT NOT NULL,
    reason        TEXT,
    event_id      BLOB NOT NULL CHECK (length(event_id) = 16),
    begun_at      INTEGER NOT NULL,
    begun_bank_at INTEGER NOT NULL,
    settled_at    INTEGER NOT NULL,
    PRIMARY KEY (entity_id, generation)
) STRICT, WITHOUT ROWID;

CREATE TABLE pruning (
    one INTEGER PRIMARY KEY CHECK (one = 1)
) STRICT;

ALTER TABLE jobs ADD COLUMN source TEXT;
ALTER TABLE jobs ADD COLUMN again_by TEXT;
ALTER TABLE jobs ADD COLUMN released TEXT;

DROP TRIGGER jobs_say_one_thing;
CREATE TRIGGER jobs_say_one_thing BEFORE UPDATE OF id, entity_id, generation, card_id, operation,
    amount_minor, currency, description, not_after, fingerprint, key, body_sha256, line,
    received_at, intent_at, intent_bank_at, source, again_by ON jobs
    BEGIN SELECT RAISE(ABORT, 'what a job says is fixed'); END;
DROP TRIGGER jobs_stay;
CREATE TRIGGER jobs_stay BEFORE DELETE ON jobs WHEN NOT EXISTS (SELECT 1 FROM pruning)
    BEGIN SELECT RAISE(ABORT, 'jobs are kept'); END;
DROP TRIGGER attempts_stay;
CREATE TRIGGER attempts_stay BEFORE DELETE ON attempts WHEN NOT EXISTS (SELECT 1 FROM pruning)
    BEGIN SELECT RAISE(ABORT, 'attempts are only added'); END;
DROP TRIGGER asks_stay;
CREATE TRIGGER asks_stay BEFORE DELETE ON asks WHEN NOT EXISTS (SELECT 1 FROM pruning)
    BEGIN SELECT RAISE(ABORT, 'asks are only added'); END;
DROP TRIGGER outcomes_stay;
CREATE TRIGGER outcomes_stay BEFORE DELETE ON outcomes WHEN NOT EXISTS (SELECT 1 FROM pruning)
    BEGIN SELECT RAISE(ABORT, 'outcomes are only added'); END;

CREATE TRIGGER requests_are_fixed BEFORE UPDATE OF id, wish, entity_id, ruling, evidence, asked_by,
    asked_at ON requests
    BEGIN SELECT RAISE(ABORT, 'what was asked is fixed'); END;
CREATE TRIGGER requests_are_answered_once BEFORE UPDATE OF generation, accepted, answer, answered_at
    ON requests WHEN OLD.accepted IS NOT NULL
    BEGIN SELECT RAISE(ABORT, 'the first answer is kept'); END;
CREATE TRIGGER requests_stay BEFORE DELETE ON requests
    BEGIN SELECT RAISE(ABORT, 'requests are kept'); END;
CREATE TRIGGER tombstones_are_fixed BEFORE UPDATE ON tombstones
    BEGIN SELECT RAISE(ABORT, 'tombstones are kept for ever'); END;
CREATE TRIGGER tombstones_stay BEFORE DELETE ON tombstones
    BEGIN SELECT RAISE(ABORT, 'tombstones are kept for ever'); END;
";

/// What came from the queue: where outcomes go and what travels with them, jobs that the ledger holds,
/// and what people ask about dead letters.
///
/// A row of `holds` ends with its job's `begin`, or with an outcome at its turn. `place` orders the
/// jobs of one card. `jobs.was_held` says that a `waiting` outcome came before the others.
const VERSION_3: &str = "
ALTER TABLE jobs ADD COLUMN origin TEXT NOT NULL DEFAULT 'file' CHECK (origin IN ('file', 'queue'));
ALTER TABLE jobs ADD COLUMN envelope TEXT;
ALTER TABLE jobs ADD COLUMN was_held INTEGER NOT NULL DEFAULT 0 CHECK (was_held IN (0, 1));
ALTER TABLE outcomes ADD COLUMN origin TEXT NOT NULL DEFAULT 'file'
    CHECK (origin IN ('file', 'queue'));
ALTER TABLE outcomes ADD COLUMN envelope TEXT;

CREATE TABLE holds (
    entity_id    TEXT NOT NULL,
    generation   INTEGER NOT NULL CHECK (generation >= 1),
    card_id      TEXT NOT NULL,
    place        INTEGER NOT NULL,
    operation    TEXT NOT NULL,
    amount_minor INTEGER NOT NULL CHECK (amount_minor > 0),
    currency     TEXT NOT NULL,
    description  TEXT,
    not_after    INTEGER,
    fingerprint  BLOB NOT NULL CHECK (length(fingerprint) = 32),
    key          BLOB NOT NULL CHECK (length(key) = 16),
    body_sha256  BLOB NOT NULL CHECK (length(body_sha256) = 32),
    origin       TEXT NOT NULL CHECK (origin IN ('file', 'queue')),
    source       TEXT,
    line         INTEGER,
    envelope     TEXT,
    received_at  INTEGER NOT NULL,
    intent_at    INTEGER NOT NULL,
    intent_bank_at INTEGER NOT NULL,
    again_by     TEXT,
    outcome      INTEGER NOT NULL REFERENCES outcomes (id),
    PRIMARY KEY (entity_id, generation)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX holds_by_card ON holds (card_id, place);
CREATE INDEX holds_by_outcome ON holds (outcome);
CREATE INDEX outcomes_dead ON outcomes (id)
    WHERE status IN ('rejected', 'not_sent', 'invalid', 'conflict');
CREATE INDEX outcomes_without_job ON outcomes (entity_id) WHERE job IS NULL;
CREATE TRIGGER holds_say_one_thing BEFORE UPDATE ON holds
    BEGIN SELECT RAISE(ABORT, 'what is held is fixed'); END;

DROP TRIGGER jobs_say_one_thing;
CREATE TRIGGER jobs_say_one_thing BEFORE UPDATE OF id, entity_id, generation, card_id, operation,
    amount_minor, currency, description, not_after, fingerprint, key, body_sha256, line,
    received_at, intent_at, intent_bank_at, source, again_by, origin, envelope ON jobs
    BEGIN SELECT RAISE(ABORT, 'what a job says is fixed'); END;
DROP TRIGGER outcomes_are_fixed;
CREATE TRIGGER outcomes_are_fixed BEFORE UPDATE OF id, event_id, job, entity_id, generation,
    status, body, settled_at, origin, envelope ON outcomes
    BEGIN SELECT RAISE(ABORT, 'outcomes are only added'); END;

DROP TRIGGER requests_are_fixed;
DROP TRIGGER requests_are_answered_once;
DROP TRIGGER requests_stay;
DROP INDEX requests_open;
DROP INDEX requests_by_entity;
DROP INDEX requests_cancelled;
DROP INDEX requests_holding;
ALTER TABLE requests RENAME TO requests_before;
CREATE TABLE requests (
    id          INTEGER PRIMARY KEY,
    wish        TEXT NOT NULL CHECK (wish IN ('cancel', 'settle', 'reconcile', 'pause', 'resume',
                                              'redrive', 'discard')),
    entity_id   TEXT,
    wanted      INTEGER,
    event_id    BLOB CHECK (length(event_id) = 16),
    ruling      TEXT CHECK (ruling IN ('succeeded', 'not_sent')),
    evidence    TEXT,
    asked_by    TEXT NOT NULL,
    asked_at    INTEGER NOT NULL,
    generation  INTEGER,
    accepted    INTEGER CHECK (accepted IN (0, 1)),
    answer      TEXT,
    answered_at INTEGER,
    CHECK ((wish = 'settle') = (ruling IS NOT NULL)),
    CHECK ((wish IN ('settle', 'discard')) = (evidence IS NOT NULL)),
    CHECK ((wish = 'redrive') = (wanted IS NOT NULL)),
    CHECK ((wish = 'discard') = (event_id IS NOT NULL)),
    CHECK (wish NOT IN ('cancel', 'settle', 'redrive') OR entity_id IS NOT NULL),
    CHECK ((accepted IS NULL) = (answer IS NULL)),
    CHECK ((accepted IS NULL) = (answered_at IS NULL))
) STRICT;
INSERT INTO requests (id, wish, entity_id, ruling, evidence, asked_by, asked_at, generation,
    accepted, answer, answered_at)
    SELECT id, wish, entity_id, ruling, evidence, asked_by, asked_at, generation, accepted, answer,
    answered_at FROM requests_before;
DROP TABLE requests_before;
CREATE INDEX requests_open ON requests (id) WHERE accepted IS NULL;
CREATE INDEX requests_by_entity ON requests (entity_id) WHERE entity_id IS NOT NULL;
CREATE INDEX requests_cancelled ON requests (entity_id, generation)
    WHERE wish = 'cancel' AND accepted = 1;
CREATE INDEX requests_holding ON requests (id) WHERE wish IN ('pause', 'resume');
CREATE INDEX requests_discarded ON requests (event_id) WHERE wish = 'discard' AND accepted = 1;
CREATE TRIGGER requests_are_fixed BEFORE UPDATE OF id, wish, entity_id, wanted, event_id,
    ruling, evidence, asked_by, asked_at ON requests
    BEGIN SELECT RAISE(ABORT, 'what was asked is fixed'); END;
CREATE TRIGGER requests_are_answered_once BEFORE UPDATE OF generation, accepted, answer, answered_at
    ON requests WHEN OLD.accepted IS NOT NULL
    BEGIN SELECT RAISE(ABORT, 'the first answer is kept'); END;
CREATE TRIGGER requests_stay BEFORE DELETE ON requests
    BEGIN SELECT RAISE(ABORT, 'requests are kept'); END;
";

/// Losses that people accepted, and what came for the first time after the last of them.
///
/// `forgotten` says in words what the ledger had lost; `past` that all that was sent in the forgotten time
/// must be listed by now. A row of `arrivals` ends with its job's final outcome.
const VERSION_4: &str = "
CREATE TABLE losses (
    id          INTEGER PRIMARY KEY,
    accepted_at INTEGER NOT NULL,
    accepted_by TEXT NOT NULL,
    forgotten   TEXT NOT NULL,
    past        INTEGER NOT NULL DEFAULT 0 CHECK (past IN (0, 1))
) STRICT;
CREATE TABLE arrivals (
    entity_id TEXT PRIMARY KEY
) STRICT, WITHOUT ROWID;

CREATE TRIGGER losses_are_fixed BEFORE UPDATE OF id, accepted_at, accepted_by, forgotten ON losses
    BEGIN SELECT RAISE(ABORT, 'what was accepted is fixed'); END;
CREATE TRIGGER losses_stay BEFORE DELETE ON losses
    BEGIN SELECT RAISE(ABORT, 'losses are kept'); END;
";

/// Checksums of rows and of the tables themselves: see [`checksum`]. What was written without is taken
/// as it is. Rows that are only added may be given theirs, and nothing else.
const VERSION_5: &str = "
ALTER TABLE meta ADD COLUMN tables_checksum INTEGER;
ALTER TABLE meta ADD COLUMN checksum INTEGER;
ALTER TABLE jobs ADD COLUMN checksum INTEGER;
ALTER TABLE outcomes ADD COLUMN checksum INTEGER;
ALTER TABLE attempts ADD COLUMN checksum INTEGER;
ALTER TABLE asks ADD COLUMN checksum INTEGER;
ALTER TABLE holds ADD COLUMN checksum INTEGER;
ALTER TABLE tombstones ADD COLUMN checksum INTEGER;
ALTER TABLE requests ADD COLUMN checksum INTEGER;
ALTER TABLE losses ADD COLUMN checksum INTEGER;
ALTER TABLE arrivals ADD COLUMN checksum INTEGER;

DROP TRIGGER attempts_are_fixed;
CREATE TRIGGER attempts_are_fixed BEFORE UPDATE OF job, number, began, ended, spent, verdict
    ON attempts
    BEGIN SELECT RAISE(ABORT, 'attempts are only added'); END;
DROP TRIGGER asks_are_fixed;
CREATE TRIGGER asks_are_fixed BEFORE UPDATE OF id, job, began, ended, finding, evidence ON asks
    BEGIN SELECT RAISE(ABORT, 'asks are only added'); END;
DROP TRIGGER holds_say_one_thing;
CREATE TRIGGER holds_say_one_thing BEFORE UPDATE OF entity_id, generation, card_id, place,
    operation, amount_minor, currency, description, not_after, fingerprint, key, body_sha256,
    origin, source, line, envelope, received_at, intent_at, intent_bank_at, again_by, outcome
    ON holds
    BEGIN SELECT RAISE(ABORT, 'what is held is fixed'); END;
DROP TRIGGER tombstones_are_fixed;
CREATE TRIGGER tombstones_are_fixed BEFORE UPDATE OF entity_id, generation, fingerprint, status,
    reason, event_id, begun_at, begun_bank_at, settled_at ON tombstones
    BEGIN SELECT RAISE(ABORT, 'tombstones are kept for ever'); END;
";
