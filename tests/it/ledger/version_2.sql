-- A ledger as the second format wrote it: A has succeeded, B was interrupted in its first call, C was
-- released after a deferral, D was pruned, E was cancelled before it came; Ana holds the flow, and a
-- ruling about B is not answered yet.
PRAGMA application_id = 0x74616e64;
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

UPDATE meta SET namespace = 'default', bank_origin = 'https://api.sandbox.cuentamono.com';
INSERT INTO jobs (id, entity_id, generation, card_id, operation, amount_minor, currency, fingerprint,
    key, body_sha256, line, received_at, intent_at, intent_bank_at)
VALUES (1, 'A', 1, 'car_5tgliBmzjZ6mpQPRbQjfKj', 'topup', 5000000, 'COP',
    x'dd22b74c04887f71ec45f85693e7838acaabe80d2fb1f48ac569777f2bdeeb00',
    x'559aead08264d5795d3909718cdd05ab',
    x'7b16a875e264c4f3cf518a025837e31f697af32e828407c422dc542290db1928',
    17, 1700000000001, 1700000000002, 1700000000503);
INSERT INTO jobs (id, entity_id, generation, card_id, operation, amount_minor, currency, fingerprint,
    key, body_sha256, line, received_at, intent_at, intent_bank_at)
VALUES (2, 'B', 1, 'car_5tgliBmzjZ6mpQPRbQjfKj', 'topup', 5000000, 'COP',
    x'dd22b74c04887f71ec45f85693e7838acaabe80d2fb1f48ac569777f2bdeeb00',
    x'df7e70e5021544f4834bbee64a9e3789',
    x'e8d9ed72598a1aaf4362e8626e22b302863e48e911783ea6e957902c71943e3b',
    17, 1700000000001, 1700000000002, 1700000000503);
INSERT INTO outcomes (id, event_id, job, entity_id, generation, status, body, settled_at)
VALUES (1, x'000102030405460788090a0b0c0d0e0f', 1, 'A', 1, 'succeeded', CAST('{}' AS BLOB), 1700000001000);
INSERT INTO attempts (job, number, began, ended, spent, verdict)
VALUES (1, 1, 1700000000100, 1700000000200, 0, '{"verdict":"accepted","http_status":204}');
UPDATE jobs SET final_outcome = 1 WHERE id = 1;
INSERT INTO jobs (id, entity_id, generation, card_id, operation, amount_minor, currency, fingerprint,
    key, body_sha256, line, received_at, intent_at, intent_bank_at, source, again_by, released)
VALUES (3, 'C', 1, 'car_5tgliBmzjZ6mpQPRbQjfKj', 'topup', 5000000, 'COP',
    x'dd22b74c04887f71ec45f85693e7838acaabe80d2fb1f48ac569777f2bdeeb00',
    x'df7e70e5021544f4834bbee64a9e378a',
    x'e8d9ed72598a1aaf4362e8626e22b302863e48e911783ea6e957902c71943e3b',
    18, 1700000000001, 1700000000002, 1700000000503, 'payroll.csv', 'Ana', 'no_connection');
INSERT INTO tombstones VALUES ('D', 1,
    x'dd22b74c04887f71ec45f85693e7838acaabe80d2fb1f48ac569777f2bdeeb00', 'succeeded', NULL,
    x'000102030405460788090a0b0c0d0e0e', 1600000000000, 1600000000000, 1600000001000);
INSERT INTO requests (id, wish, entity_id, ruling, evidence, asked_by, asked_at, generation, accepted,
    answer, answered_at)
VALUES (1, 'cancel', 'E', NULL, NULL, 'Ana', 1700000002000, 1, 1, 'cancelled', 1700000002500),
    (2, 'pause', NULL, NULL, NULL, 'Ana', 1700000003000, NULL, 1, 'held', 1700000003500),
    (3, 'settle', 'B', 'not_sent', 'the letter of 3 Nov', 'Beto', 1700000004000, NULL, NULL, NULL, NULL);
PRAGMA user_version = 2;
