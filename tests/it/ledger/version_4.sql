-- A ledger as the fourth format wrote it: as the third in version_3.sql, and B was asked about, a loss was
-- accepted, and H came for the first time after that.
PRAGMA foreign_keys = OFF;
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
INSERT INTO meta VALUES(1,'eb795f3d83f98582dbd9e248bdd1c981','default','https://api.sandbox.cuentamono.com',0,NULL,NULL);
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
, origin TEXT NOT NULL DEFAULT 'file'
    CHECK (origin IN ('file', 'queue')), envelope TEXT) STRICT;
INSERT INTO outcomes VALUES(1,X'000102030405460788090a0b0c0d0e0f',1,'A',1,'succeeded',X'7b7d',1700000001000,NULL,'file',NULL);
INSERT INTO outcomes VALUES(90,X'0f0102030405460788090a0b0c0d0e00',NULL,'G',1,'waiting',X'7b7d',1700000005000,NULL,'queue',NULL);
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
    final_outcome  INTEGER REFERENCES outcomes (id), source TEXT, again_by TEXT, released TEXT, origin TEXT NOT NULL DEFAULT 'file' CHECK (origin IN ('file', 'queue')), envelope TEXT, was_held INTEGER NOT NULL DEFAULT 0 CHECK (was_held IN (0, 1)),
    CHECK ((doubt_reason IS NULL) = (doubt_outcome IS NULL))
) STRICT;
INSERT INTO jobs VALUES(1,'A',1,'car_5tgliBmzjZ6mpQPRbQjfKj','topup',5000000,'COP',NULL,NULL,X'dd22b74c04887f71ec45f85693e7838acaabe80d2fb1f48ac569777f2bdeeb00',X'559aead08264d5795d3909718cdd05ab',X'7b16a875e264c4f3cf518a025837e31f697af32e828407c422dc542290db1928',17,1700000000001,1700000000002,1700000000503,0,NULL,NULL,1,NULL,NULL,NULL,'file',NULL,0);
INSERT INTO jobs VALUES(2,'B',1,'car_5tgliBmzjZ6mpQPRbQjfKj','topup',5000000,'COP',NULL,NULL,X'dd22b74c04887f71ec45f85693e7838acaabe80d2fb1f48ac569777f2bdeeb00',X'df7e70e5021544f4834bbee64a9e3789',X'e8d9ed72598a1aaf4362e8626e22b302863e48e911783ea6e957902c71943e3b',17,1700000000001,1700000000002,1700000000503,0,NULL,NULL,NULL,NULL,NULL,NULL,'file',NULL,0);
INSERT INTO jobs VALUES(3,'C',1,'car_5tgliBmzjZ6mpQPRbQjfKj','topup',5000000,'COP',NULL,NULL,X'dd22b74c04887f71ec45f85693e7838acaabe80d2fb1f48ac569777f2bdeeb00',X'df7e70e5021544f4834bbee64a9e378a',X'e8d9ed72598a1aaf4362e8626e22b302863e48e911783ea6e957902c71943e3b',18,1700000000001,1700000000002,1700000000503,0,NULL,NULL,NULL,'payroll.csv','Ana','no_connection','file',NULL,0);
INSERT INTO jobs VALUES(90,'F',1,'car_5tgliBmzjZ6mpQPRbQjfKj','topup',5000000,'COP',NULL,NULL,X'dd22b74c04887f71ec45f85693e7838acaabe80d2fb1f48ac569777f2bdeeb00',X'000102030405460788090a0b0c0d0e0f',X'e8d9ed72598a1aaf4362e8626e22b302863e48e911783ea6e957902c71943e3b',NULL,1700000000001,1700000000002,1700000000503,0,NULL,NULL,NULL,'tanda.jobs',NULL,NULL,'queue',NULL,0);
CREATE TABLE attempts (
    job     INTEGER NOT NULL REFERENCES jobs (id),
    number  INTEGER NOT NULL CHECK (number >= 1),
    began   INTEGER NOT NULL,
    ended   INTEGER NOT NULL,
    spent   INTEGER NOT NULL CHECK (spent IN (0, 1)),
    verdict TEXT NOT NULL,
    PRIMARY KEY (job, number)
) STRICT, WITHOUT ROWID;
INSERT INTO attempts VALUES(1,1,1700000000100,1700000000200,0,'{"verdict":"accepted","http_status":204}');
CREATE TABLE asks (
    id       INTEGER PRIMARY KEY,
    job      INTEGER NOT NULL REFERENCES jobs (id),
    began    INTEGER NOT NULL,
    ended    INTEGER NOT NULL,
    finding  TEXT NOT NULL,
    evidence TEXT NOT NULL
) STRICT;
INSERT INTO asks VALUES(1,2,1700000005000,1700000005100,'absent','nothing in 3 pages');
CREATE TABLE panics (
    entity_id TEXT PRIMARY KEY,
    count     INTEGER NOT NULL CHECK (count >= 1)
) STRICT, WITHOUT ROWID;
INSERT INTO panics VALUES('B',1);
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
INSERT INTO tombstones VALUES('D',1,X'dd22b74c04887f71ec45f85693e7838acaabe80d2fb1f48ac569777f2bdeeb00','succeeded',NULL,X'000102030405460788090a0b0c0d0e0e',1600000000000,1600000000000,1600000001000);
CREATE TABLE pruning (
    one INTEGER PRIMARY KEY CHECK (one = 1)
) STRICT;
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
INSERT INTO holds VALUES('G',1,'car_5tgliBmzjZ6mpQPRbQjfKj',1,'topup',5000000,'COP',NULL,NULL,X'dd22b74c04887f71ec45f85693e7838acaabe80d2fb1f48ac569777f2bdeeb00',X'100102030405460788090a0b0c0d0e0f',X'e8d9ed72598a1aaf4362e8626e22b302863e48e911783ea6e957902c71943e3b','queue','tanda.jobs',NULL,NULL,1700000000001,1700000000002,1700000000503,NULL,90);
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
INSERT INTO requests VALUES(1,'cancel','E',NULL,NULL,NULL,NULL,'Ana',1700000002000,1,1,'cancelled',1700000002500);
INSERT INTO requests VALUES(2,'pause',NULL,NULL,NULL,NULL,NULL,'Ana',1700000003000,NULL,1,'held',1700000003500);
INSERT INTO requests VALUES(3,'settle','B',NULL,NULL,'not_sent','the letter of 3 Nov','Beto',1700000004000,NULL,NULL,NULL,NULL);
CREATE TABLE losses (
    id          INTEGER PRIMARY KEY,
    accepted_at INTEGER NOT NULL,
    accepted_by TEXT NOT NULL,
    forgotten   TEXT NOT NULL,
    past        INTEGER NOT NULL DEFAULT 0 CHECK (past IN (0, 1))
) STRICT;
INSERT INTO losses VALUES(1,1700000006000,'Ana','its anchor names commit 9, and it has only come to commit 7',0);
CREATE TABLE arrivals (
    entity_id TEXT PRIMARY KEY
) STRICT, WITHOUT ROWID;
INSERT INTO arrivals VALUES('H');
CREATE INDEX outcomes_unpublished ON outcomes (id) WHERE published_at IS NULL;
CREATE UNIQUE INDEX jobs_by_entity ON jobs (entity_id, generation);
CREATE INDEX jobs_unsettled ON jobs (id) WHERE final_outcome IS NULL;
CREATE INDEX asks_by_job ON asks (job);
CREATE UNIQUE INDEX holds_by_card ON holds (card_id, place);
CREATE INDEX holds_by_outcome ON holds (outcome);
CREATE INDEX outcomes_dead ON outcomes (id)
    WHERE status IN ('rejected', 'not_sent', 'invalid', 'conflict');
CREATE INDEX outcomes_without_job ON outcomes (entity_id) WHERE job IS NULL;
CREATE INDEX requests_open ON requests (id) WHERE accepted IS NULL;
CREATE INDEX requests_by_entity ON requests (entity_id) WHERE entity_id IS NOT NULL;
CREATE INDEX requests_cancelled ON requests (entity_id, generation)
    WHERE wish = 'cancel' AND accepted = 1;
CREATE INDEX requests_holding ON requests (id) WHERE wish IN ('pause', 'resume');
CREATE INDEX requests_discarded ON requests (event_id) WHERE wish = 'discard' AND accepted = 1;
CREATE TRIGGER meta_is_bound_once BEFORE UPDATE OF namespace, bank_origin ON meta
    WHEN OLD.namespace IS NOT NULL
    BEGIN SELECT RAISE(ABORT, 'a ledger is bound once'); END;
CREATE TRIGGER meta_keeps_its_id BEFORE UPDATE OF one, ledger_id ON meta
    BEGIN SELECT RAISE(ABORT, 'a ledger keeps its id'); END;
CREATE TRIGGER meta_only_grows BEFORE UPDATE OF sequence ON meta WHEN NEW.sequence <= OLD.sequence
    BEGIN SELECT RAISE(ABORT, 'the sequence only grows'); END;
CREATE TRIGGER meta_stays BEFORE DELETE ON meta
    BEGIN SELECT RAISE(ABORT, 'a ledger keeps its id'); END;
CREATE TRIGGER jobs_settle_once BEFORE UPDATE OF final_outcome ON jobs
    WHEN OLD.final_outcome IS NOT NULL
    BEGIN SELECT RAISE(ABORT, 'a settled job stays settled'); END;
CREATE TRIGGER jobs_doubt_once BEFORE UPDATE OF doubt_outcome, doubt_reason ON jobs
    WHEN OLD.doubt_outcome IS NOT NULL
    BEGIN SELECT RAISE(ABORT, 'the first doubt is kept'); END;
CREATE TRIGGER attempts_are_fixed BEFORE UPDATE ON attempts
    BEGIN SELECT RAISE(ABORT, 'attempts are only added'); END;
CREATE TRIGGER asks_are_fixed BEFORE UPDATE ON asks
    BEGIN SELECT RAISE(ABORT, 'asks are only added'); END;
CREATE TRIGGER outcomes_are_published_once BEFORE UPDATE OF published_at ON outcomes
    WHEN OLD.published_at IS NOT NULL
    BEGIN SELECT RAISE(ABORT, 'the first publication is kept'); END;
CREATE TRIGGER jobs_stay BEFORE DELETE ON jobs WHEN NOT EXISTS (SELECT 1 FROM pruning)
    BEGIN SELECT RAISE(ABORT, 'jobs are kept'); END;
CREATE TRIGGER attempts_stay BEFORE DELETE ON attempts WHEN NOT EXISTS (SELECT 1 FROM pruning)
    BEGIN SELECT RAISE(ABORT, 'attempts are only added'); END;
CREATE TRIGGER asks_stay BEFORE DELETE ON asks WHEN NOT EXISTS (SELECT 1 FROM pruning)
    BEGIN SELECT RAISE(ABORT, 'asks are only added'); END;
CREATE TRIGGER outcomes_stay BEFORE DELETE ON outcomes WHEN NOT EXISTS (SELECT 1 FROM pruning)
    BEGIN SELECT RAISE(ABORT, 'outcomes are only added'); END;
CREATE TRIGGER tombstones_are_fixed BEFORE UPDATE ON tombstones
    BEGIN SELECT RAISE(ABORT, 'tombstones are kept for ever'); END;
CREATE TRIGGER tombstones_stay BEFORE DELETE ON tombstones
    BEGIN SELECT RAISE(ABORT, 'tombstones are kept for ever'); END;
CREATE TRIGGER holds_say_one_thing BEFORE UPDATE ON holds
    BEGIN SELECT RAISE(ABORT, 'what is held is fixed'); END;
CREATE TRIGGER jobs_say_one_thing BEFORE UPDATE OF id, entity_id, generation, card_id, operation,
    amount_minor, currency, description, not_after, fingerprint, key, body_sha256, line,
    received_at, intent_at, intent_bank_at, source, again_by, origin, envelope ON jobs
    BEGIN SELECT RAISE(ABORT, 'what a job says is fixed'); END;
CREATE TRIGGER outcomes_are_fixed BEFORE UPDATE OF id, event_id, job, entity_id, generation,
    status, body, settled_at, origin, envelope ON outcomes
    BEGIN SELECT RAISE(ABORT, 'outcomes are only added'); END;
CREATE TRIGGER requests_are_fixed BEFORE UPDATE OF id, wish, entity_id, wanted, event_id,
    ruling, evidence, asked_by, asked_at ON requests
    BEGIN SELECT RAISE(ABORT, 'what was asked is fixed'); END;
CREATE TRIGGER requests_are_answered_once BEFORE UPDATE OF generation, accepted, answer, answered_at
    ON requests WHEN OLD.accepted IS NOT NULL
    BEGIN SELECT RAISE(ABORT, 'the first answer is kept'); END;
CREATE TRIGGER requests_stay BEFORE DELETE ON requests
    BEGIN SELECT RAISE(ABORT, 'requests are kept'); END;
CREATE TRIGGER losses_are_fixed BEFORE UPDATE OF id, accepted_at, accepted_by, forgotten ON losses
    BEGIN SELECT RAISE(ABORT, 'what was accepted is fixed'); END;
CREATE TRIGGER losses_stay BEFORE DELETE ON losses
    BEGIN SELECT RAISE(ABORT, 'losses are kept'); END;
PRAGMA user_version = 4;
