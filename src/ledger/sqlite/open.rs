//! Making a ledger, and opening one that can be relied on.
//!
//! *What it promises.* A ledger that is opened is whole, of a known format, locked, bound to this
//! namespace and bank, and remembers all that its anchor has seen. Anything else is an
//! [`OpenError`], and nothing was changed but the format, by a migration.
//!
//! *What it refuses to know.* What the ledger says about jobs.

use std::fs::{File, TryLockError};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::checksum::META;
use super::{Binding, checksum, read, schema, whole};
use crate::ledger::anchor::{self, Anchor, LastLine, Whose};
use crate::ledger::error::{Forgotten, OpenError};
use crate::ledger::place::{self, Watched};

/// The first SQLite without the race that could damage a WAL ledger with two connections
/// (3.7.0 to 3.51.2, <https://sqlite.org/wal.html#walresetbug>).
const OLDEST_SQLITE: i32 = 3_051_003;
/// Pages between checkpoints: 16 MiB of log. A checkpoint writes each page that changed since the
/// last one once, so fewer of them write the busy pages fewer times. `benches/ledger.rs` with 128
/// callers settled about 14,000 jobs a second with SQLite's own 1,000 pages, 18,000 with 4,000 and
/// 22,000 with 16,000; but the log that a restart must read, and the pause of the writer that does
/// the checkpoint, grow with it.
pub(super) const WAL_CHECKPOINT_PAGES: i32 = 4_000;
/// Memory for pages, of the writer: the inner pages of the indices of some five million jobs. With a
/// larger ledger the kernel has them. A worker is to stay under 64 MiB as a whole.
const WRITER_CACHE_KIB: i64 = 16 * 1024;
/// Memory for pages, of the reader.
const READER_CACHE_KIB: i64 = 8 * 1024;
/// How many statements stay prepared: more than there are.
const STATEMENTS: usize = 64;
/// How long to wait for another process that holds the file, such as one that copies it.
/// Longer than that one is doing something to the ledger that nobody should, and the run ends.
const BUSY: Duration = Duration::from_secs(30);

/// How often the lock is tried before another process is said to own the ledger.
const LOCK_TRIES: u32 = 5;
/// Between two tries: longer than a visitor holds it.
const LOCK_WAIT: Duration = Duration::from_millis(20);

/// A ledger that may be used.
pub(super) struct Opened {
    pub(super) writer: Connection,
    pub(super) reader: Connection,
    pub(super) lock: File,
    pub(super) lock_path: PathBuf,
    pub(super) anchor_path: PathBuf,
    pub(super) anchor: LastLine,
    pub(super) watched: Vec<Watched>,
    pub(super) whose: Whose,
    pub(super) sequence: i64,
}

/// Makes a ledger where there is none. It is built beside its place and moved there whole.
pub(super) fn create(path: &Path) -> Result<(), OpenError> {
    let failed = |doing| fault(path, doing);
    check_sqlite(path)?;
    place::create_directory_of(path).map_err(failed("making its directory"))?;
    whole::check_place(path)?;
    let _lock = lock(path)?;
    if path.exists() {
        return Err(OpenError::AlreadyThere {
            path: path.to_owned(),
        });
    }
    refuse_remains(path)?;
    let part = fresh_part(path)?;
    place::rename(&part, path).map_err(failed("moving it to its place"))
}

/// An empty ledger beside its place, flushed.
pub(super) fn fresh_part(path: &Path) -> Result<PathBuf, OpenError> {
    let failed = |doing| fault(path, doing);
    let part = place::beside(path, ".part");
    remove_if_there(&part).map_err(failed("removing a half-made ledger"))?;
    remove_if_there(&place::beside(&part, "-journal"))
        .map_err(failed("removing a half-made ledger"))?;
    let file = place::create_file(&part).map_err(failed("making its file"))?;
    build(&part).map_err(sql(path, "making its tables"))?;
    file.sync_all().map_err(failed("flushing its file"))?;
    Ok(part)
}

/// In SQLite's first journal mode, whose file is complete by itself when it is closed.
fn build(part: &Path) -> rusqlite::Result<()> {
    let mut db = Connection::open_with_flags(part, flags(OpenFlags::SQLITE_OPEN_READ_WRITE))?;
    checksum::teach(&db)?;
    db.pragma_update(None, "synchronous", "FULL")?;
    db.pragma_update(None, "application_id", schema::APPLICATION_ID)?;
    schema::migrate(&mut db, 0)?;
    db.close().map_err(|(_, error)| error)
}

/// Opens a ledger for the one process that may write.
pub(super) fn open(path: &Path, binding: &Binding) -> Result<Opened, OpenError> {
    // Lock and anchor stand beside the file itself, whatever names and links lead to it.
    let real = std::fs::canonicalize(path);
    let path = real.as_deref().unwrap_or(path);
    check_sqlite(path)?;
    if !path.exists() {
        refuse_remains(path)?;
        return Err(OpenError::Missing {
            path: path.to_owned(),
        });
    }
    let lock = lock(path)?;
    whole::check_place(path)?;
    whole::check_names(path)?;
    let watched = whole::watch(path)?;
    let mut writer = connect(path).map_err(sql(path, "opening it"))?;
    leave_log(&writer).map_err(sql(path, "opening it"))?;
    whole::check_log(path, &writer)?;
    check_format(path, &mut writer)?;
    let meta = Meta::read(&writer).map_err(sql(path, "reading what it belongs to"))?;
    meta.check_binding(path, binding)?;
    let anchor_path = anchor_of(path);
    check_anchor(path, &anchor_path, &meta)?;
    if meta.whose.bound.is_none() {
        bind(&writer, binding).map_err(sql(path, "binding it"))?;
    }
    let meta = Meta::read(&writer).map_err(sql(path, "reading what it belongs to"))?;
    let anchor = write_anchor(path, &anchor_path, &meta, &writer)?;
    take_log(&writer).map_err(sql(path, "opening it"))?;
    Ok(Opened {
        reader: connect_reader(path).map_err(sql(path, "opening it for reading"))?,
        writer,
        lock,
        lock_path: place::beside(path, ".lock"),
        anchor_path,
        anchor,
        watched,
        whose: meta.whose,
        sequence: meta.sequence,
    })
}

/// Opens a ledger to be read, whoever owns it; and its real path. Its format is brought up to date
/// only where nobody owns it.
pub(super) fn visit(path: &Path) -> Result<(Connection, PathBuf), OpenError> {
    let real = std::fs::canonicalize(path);
    let path = real.as_deref().unwrap_or(path);
    check_sqlite(path)?;
    if !path.exists() {
        refuse_remains(path)?;
        return Err(OpenError::Missing {
            path: path.to_owned(),
        });
    }
    let log = std::fs::metadata(place::beside(path, "-wal"));
    let mut db = connect(path).map_err(sql(path, "opening it"))?;
    if log.is_ok_and(|log| log.len() > 0) {
        leave_log(&db).map_err(sql(path, "opening it"))?;
    }
    let version = check_kind(path, &db)?;
    if version < schema::newest() {
        let _lock = lock(path)?;
        schema::migrate(&mut db, version).map_err(sql(path, "bringing its format up to date"))?;
    }
    Ok((db, path.to_owned()))
}

/// A log that is there is its owner's, or for the next one to judge: whoever closes a ledger as the last
/// would put into the file what SQLite still believes of it, and remove the rest.
pub(super) fn leave_log(db: &Connection) -> rusqlite::Result<()> {
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    db.pragma_update(None, "wal_autocheckpoint", 0)
}

/// A log that was judged is the owner's.
fn take_log(db: &Connection) -> rusqlite::Result<()> {
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false)?;
    db.pragma_update(None, "wal_autocheckpoint", WAL_CHECKPOINT_PAGES)
}

/// What SQLite believes of a broken log goes into the file, and the rest away: a person has accepted that
/// it is lost.
pub(super) fn empty_log(path: &Path, db: &Connection) -> Result<(), OpenError> {
    let is_busy: i64 = db
        .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))
        .map_err(sql(path, "emptying its log"))?;
    if is_busy == 0 {
        Ok(())
    } else {
        let message = "another process reads it; wait for that one";
        Err(fault(path, "emptying its log")(message))
    }
}

/// Whether a process owns this ledger.
pub(super) fn is_locked(path: &Path) -> std::io::Result<bool> {
    let lock = match File::open(place::beside(path, ".lock")) {
        Ok(lock) => lock,
        // Nobody has ever owned it: a copy, say, perhaps where nothing can be written.
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    match lock.try_lock_shared() {
        Ok(()) => Ok(false),
        Err(TryLockError::WouldBlock) => Ok(true),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// A whole copy of the last commit, in a new file.
pub(super) fn backup(db: &Connection, path: &Path, to: &Path) -> Result<(), OpenError> {
    let failed = |doing| fault(to, doing);
    if to.exists() {
        return Err(OpenError::AlreadyThere {
            path: to.to_owned(),
        });
    }
    place::create_file(to).map_err(failed("making the file of the copy"))?;
    let name = to.to_str().ok_or_else(|| {
        let message = "its name is not UTF-8";
        fault(to, "making the file of the copy")(message)
    })?;
    // SQLite takes an empty file for a new one, so that nobody else can read it at any time.
    db.execute("VACUUM INTO ?1", [name])
        .map_err(copying(path, "copying it"))?;
    File::open(to)
        .and_then(|copy| copy.sync_all())
        .map_err(failed("flushing the copy"))?;
    let copy = Connection::open_with_flags(to, flags(OpenFlags::SQLITE_OPEN_READ_ONLY))
        .map_err(sql(to, "reading the copy"))?;
    set_common(&copy, READER_CACHE_KIB).map_err(sql(to, "reading the copy"))?;
    check_kind(to, &copy)?;
    whole::check_content(to, &copy)
}

pub(super) fn check_sqlite(path: &Path) -> Result<(), OpenError> {
    if rusqlite::version_number() >= OLDEST_SQLITE {
        return Ok(());
    }
    let version = rusqlite::version();
    let message = format!("SQLite {version} can damage a ledger; 3.51.3 or later is needed");
    Err(fault(path, "checking the version of SQLite")(message))
}

/// A ledger that is gone must not be taken for one that never was.
pub(super) fn refuse_remains(path: &Path) -> Result<(), OpenError> {
    let remains = [anchor_of(path), place::beside(path, "-wal")];
    match remains.into_iter().find(|left| left.exists()) {
        None => Ok(()),
        Some(left) => Err(OpenError::Forgot {
            path: path.to_owned(),
            anchor: anchor_of(path),
            how: Forgotten::Remains { left },
        }),
    }
}

/// Held for as long as the file is open, and freed by the system if the process dies. Tried a few
/// times: a visitor that looks whether there is an owner holds it for a moment.
pub(super) fn lock(path: &Path) -> Result<File, OpenError> {
    let lock_path = place::beside(path, ".lock");
    let lock = place::touch_file(&lock_path).map_err(fault(path, "opening its lock file"))?;
    for _ in 0..LOCK_TRIES {
        match lock.try_lock() {
            Ok(()) => return Ok(lock),
            Err(TryLockError::WouldBlock) => std::thread::park_timeout(LOCK_WAIT),
            Err(TryLockError::Error(error)) => return Err(fault(path, "locking it")(error)),
        }
    }
    Err(OpenError::Locked {
        path: path.to_owned(),
        lock: lock_path,
    })
}

fn flags(access: OpenFlags) -> OpenFlags {
    access | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_EXRESCODE
}

pub(super) fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let db = Connection::open_with_flags(path, flags(OpenFlags::SQLITE_OPEN_READ_WRITE))?;
    set_common(&db, WRITER_CACHE_KIB)?;
    db.pragma_update(None, "foreign_keys", "ON")?;
    db.pragma_update(None, "recursive_triggers", "ON")?;
    // Elsewhere than on macOS these two change nothing; there a plain fsync is not durable.
    db.pragma_update(None, "fullfsync", "ON")?;
    db.pragma_update(None, "checkpoint_fullfsync", "ON")?;
    Ok(db)
}

pub(super) fn connect_reader(path: &Path) -> rusqlite::Result<Connection> {
    let db = Connection::open_with_flags(path, flags(OpenFlags::SQLITE_OPEN_READ_ONLY))?;
    set_common(&db, READER_CACHE_KIB)?;
    db.pragma_update(None, "query_only", "ON")?;
    Ok(db)
}

fn set_common(db: &Connection, cache_kib: i64) -> rusqlite::Result<()> {
    checksum::teach(db)?;
    db.busy_timeout(BUSY)?;
    db.set_prepared_statement_cache_capacity(STATEMENTS);
    db.pragma_update(None, "trusted_schema", "OFF")?;
    db.pragma_update(None, "cell_size_check", "ON")?;
    db.pragma_update(None, "cache_size", -cache_kib)?;
    // A plan never depends on bound values. Otherwise SQLite prepares a statement anew whenever
    // they change, which made a look three times dearer (this build has STAT4).
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    Ok(())
}

/// Flushed at each commit, with a log of its own: readers never wait for the writer.
fn use_wal(db: &Connection) -> rusqlite::Result<()> {
    // Run to its end: the row comes before the change is committed, and that may fail.
    let mut switch = db.prepare("PRAGMA journal_mode = WAL")?;
    let modes = switch.query_map([], |row| row.get(0))?;
    let modes = modes.collect::<rusqlite::Result<Vec<String>>>()?;
    let is_wal = modes.iter().any(|mode| mode.eq_ignore_ascii_case("wal"));
    db.pragma_update(None, "synchronous", "FULL")?;
    let synchronous: i64 = db.pragma_query_value(None, "synchronous", |row| row.get(0))?;
    if is_wal && synchronous == 2 {
        Ok(())
    } else {
        Err(rusqlite::Error::InvalidQuery)
    }
}

/// Its kind, its wholeness and its version, and the migrations it lacks.
pub(super) fn check_format(path: &Path, db: &mut Connection) -> Result<(), OpenError> {
    let version = check_kind(path, db)?;
    use_wal(db).map_err(sql(path, "switching its log on"))?;
    if version == schema::newest() {
        return whole::check_content(path, db);
    }
    whole::check_pages(path, db)?;
    schema::migrate(db, version).map_err(sql(path, "bringing its format up to date"))
}

/// That it is a ledger of a format that this program knows; which.
fn check_kind(path: &Path, db: &Connection) -> Result<i64, OpenError> {
    let number = |name: &str| db.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let kind = number("application_id").map_err(sql(path, "reading its kind"))?;
    let version = number("user_version").map_err(sql(path, "reading its version"))?;
    if kind != schema::APPLICATION_ID || version < 1 {
        return Err(corrupt(path, "it does not bear the mark of a ledger"));
    }
    if version > schema::newest() {
        return Err(OpenError::Newer {
            path: path.to_owned(),
            found: version,
            known: schema::newest(),
        });
    }
    Ok(version)
}

/// Who a ledger is and how far it has come.
pub(super) struct Meta {
    pub(super) whose: Whose,
    pub(super) sequence: i64,
}

impl Meta {
    pub(super) fn read(db: &Connection) -> rusqlite::Result<Self> {
        let query = "SELECT ledger_id, namespace, bank_origin, sequence FROM meta WHERE one = 1";
        db.query_row(query, [], |row| {
            let namespace: Option<String> = row.get(1)?;
            Ok(Self {
                whose: Whose {
                    ledger_id: row.get(0)?,
                    bound: namespace.zip(row.get(2)?),
                },
                sequence: row.get(3)?,
            })
        })
    }

    pub(super) fn check_binding(&self, path: &Path, binding: &Binding) -> Result<(), OpenError> {
        let Some((namespace, bank_origin)) = &self.whose.bound else {
            return Ok(());
        };
        let other = |what, bound: &str, asked: &str| OpenError::OtherBinding {
            path: path.to_owned(),
            what,
            bound: bound.to_owned(),
            asked: asked.to_owned(),
        };
        if namespace != binding.namespace.as_str() {
            return Err(other("namespace", namespace, binding.namespace.as_str()));
        }
        if *bank_origin != binding.bank_origin {
            return Err(other("bank", bank_origin, &binding.bank_origin));
        }
        Ok(())
    }
}

/// Not numbered as a commit: a crash before the first anchor must not look like a loss.
pub(super) fn bind(db: &Connection, binding: &Binding) -> rusqlite::Result<()> {
    let bind = META.update(&["namespace = ?1", "bank_origin = ?2"], "WHERE one = 1");
    db.execute(&bind, [binding.namespace.as_str(), &binding.bank_origin])?;
    Ok(())
}

pub(super) fn anchor_of(path: &Path) -> PathBuf {
    place::beside(path, ".anchor")
}

/// The anchor is read first: the ledger of an owner goes on meanwhile, and is never behind it.
pub(super) fn check_anchor_of_visit(db: &Connection, path: &Path) -> Result<(), OpenError> {
    let anchor_path = anchor_of(path);
    let anchor = read_anchor(path, &anchor_path)?;
    let meta = Meta::read(db).map_err(sql(path, "reading how far it has come"))?;
    compare_anchor(path, &anchor_path, anchor.as_ref(), &meta)
}

fn check_anchor(path: &Path, anchor_path: &Path, meta: &Meta) -> Result<(), OpenError> {
    let anchor = read_anchor(path, anchor_path)?;
    compare_anchor(path, anchor_path, anchor.as_ref(), meta)
}

pub(super) fn read_anchor(path: &Path, anchor_path: &Path) -> Result<Option<Anchor>, OpenError> {
    Anchor::read(anchor_path).map_err(|error| {
        let kind = error.kind();
        if matches!(kind, ErrorKind::InvalidData | ErrorKind::UnexpectedEof) {
            corrupt(anchor_path, "an anchor that cannot be read")
        } else {
            fault(path, "reading its anchor")(error)
        }
    })
}

pub(super) fn compare_anchor(
    path: &Path,
    anchor_path: &Path,
    anchor: Option<&Anchor>,
    meta: &Meta,
) -> Result<(), OpenError> {
    anchor::compare(anchor, &meta.whose.ledger_id, meta.sequence).map_err(|how| OpenError::Forgot {
        path: path.to_owned(),
        anchor: anchor_path.to_owned(),
        how,
    })
}

/// Written before the first commit, so that a ledger that was used always has an anchor.
pub(super) fn write_anchor(
    path: &Path,
    anchor_path: &Path,
    meta: &Meta,
    db: &Connection,
) -> Result<LastLine, OpenError> {
    let control = read::control(db).map_err(fault(path, "reading the positive control"))?;
    Anchor::new(&meta.whose, meta.sequence, control.as_ref())
        .write(anchor_path)
        .map_err(fault(path, "writing its anchor"))
}

fn remove_if_there(path: &Path) -> std::io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

pub(super) fn corrupt(path: &Path, finding: &str) -> OpenError {
    OpenError::Corrupt {
        path: path.to_owned(),
        finding: finding.to_owned(),
    }
}

/// A fault while doing this.
pub(super) fn fault<E: Into<Box<dyn std::error::Error + Send + Sync>>>(
    path: &Path,
    doing: &'static str,
) -> impl FnOnce(E) -> OpenError {
    move |source| OpenError::Unusable {
        path: path.to_owned(),
        doing,
        source: source.into(),
    }
}

/// The same for SQLite, whose word on a damaged file is not a fault of the disk. Its statements are right for
/// every ledger: where it has no such table or column, or knows no such file, the file is another.
pub(super) fn sql(path: &Path, doing: &'static str) -> impl FnOnce(rusqlite::Error) -> OpenError {
    move |error| match code_of(&error) {
        Some(ErrorCode::Unknown) => corrupt(path, &error.to_string()),
        _ => copying(path, doing)(error),
    }
}

/// The same for a statement with a path in it, which may be wrong for many reasons.
fn copying(path: &Path, doing: &'static str) -> impl FnOnce(rusqlite::Error) -> OpenError {
    move |error| match code_of(&error) {
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase | ErrorCode::TooBig) => {
            corrupt(path, &error.to_string())
        }
        _ => fault(path, doing)(error),
    }
}

fn code_of(error: &rusqlite::Error) -> Option<ErrorCode> {
    if let rusqlite::Error::SqlInputError { error, .. } = error {
        return Some(error.code);
    }
    error.sqlite_error_code()
}
