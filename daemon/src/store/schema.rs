//! Opening the file: what is ours, what is refused, how its tables came to be.
//!
//! A refused file is not changed. Its header is read before `SQLite` gets to see it, because opening already recovers what
//! a crash left behind, and somebody else's file is not ours to recover.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use super::error::StoreError;

/// `hsta` in ASCII; `file` shows it, and a database with another number is not ours.
const APPLICATION_ID: i64 = 0x6873_7461;

/// Each text brings the format one step further; `PRAGMA user_version` counts the steps that were taken. Add, never change.
///
/// `session` and its sisters are clustered by time (no row id): a scan in order of time reads the file from front to
/// back, imports append, and retention cuts off the front. Lengths are seconds, -1 while the end is not known.
const MIGRATIONS: [&str; 4] = [
    "
    CREATE TABLE name (id INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE) STRICT;
    CREATE TABLE session (
        start INTEGER NOT NULL, desktop INTEGER NOT NULL, user INTEGER NOT NULL, length INTEGER NOT NULL,
        offset INTEGER, source INTEGER NOT NULL,
        PRIMARY KEY (start, desktop, user, length)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX session_open ON session (desktop, start) WHERE length < 0 AND source <> 0;
    CREATE TABLE reservation (
        start INTEGER NOT NULL, desktop INTEGER NOT NULL, gpu INTEGER NOT NULL, profile INTEGER NOT NULL,
        length INTEGER NOT NULL, confidence REAL NOT NULL, outcome INTEGER NOT NULL,
        PRIMARY KEY (start, desktop)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX reservation_desktop ON reservation (desktop, start);
    CREATE INDEX reservation_open ON reservation (desktop, start) WHERE length < 0;
    CREATE TABLE utilisation (
        time INTEGER NOT NULL, desktop INTEGER NOT NULL, gpu INTEGER NOT NULL, memory INTEGER NOT NULL,
        encoder INTEGER NOT NULL, decoder INTEGER NOT NULL, framebuffer_mib INTEGER NOT NULL,
        PRIMARY KEY (time, desktop)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE decision (
        id INTEGER PRIMARY KEY, time INTEGER NOT NULL, desktop INTEGER NOT NULL, what TEXT NOT NULL, why TEXT NOT NULL
    ) STRICT;
    CREATE INDEX decision_desktop ON decision (desktop);
",
    "
    CREATE TABLE preparation (
        time INTEGER NOT NULL, desktop INTEGER NOT NULL, length INTEGER NOT NULL, PRIMARY KEY (time, desktop)
    ) STRICT, WITHOUT ROWID;
",
    "
    CREATE TABLE wish (
        domain TEXT PRIMARY KEY, preallocation INTEGER NOT NULL, profile TEXT, since INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
",
    "
    CREATE TABLE hint (
        due INTEGER NOT NULL, desktop INTEGER NOT NULL, kind INTEGER NOT NULL, begins INTEGER NOT NULL, told INTEGER NOT NULL,
        ends INTEGER NOT NULL, calendar INTEGER NOT NULL,
        PRIMARY KEY (due, desktop, kind, begins, told)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX hint_desktop ON hint (desktop, due);
",
];

/// Another process may be looking at the file (a backup, an administrator's `sqlite3`): wait for it this long.
const BUSY: Duration = Duration::from_secs(5);

/// Histories in memory have a path of this form.
const MEMORY: &str = "file:headstart-memory-";

/// Opens or creates the history for writing.
pub(super) fn open(path: &Path) -> Result<Connection, StoreError> {
    let io = |source| StoreError::Open { path: path.into(), source };
    if path.metadata().map_or(0, |metadata| metadata.len()) == 0 {
        create(path)?;
    }
    close_to_others(path).map_err(io)?;
    check_header(path)?;
    let mut connection = connect(path)?;
    check_content(path, &connection)?;
    migrate(&mut connection, path)?;
    settings(&connection, "WAL").map_err(|error| StoreError::written(path, error))?;
    Ok(connection)
}

fn connect(path: &Path) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(|error| StoreError::read(path, error))?;
    connection.busy_timeout(BUSY).map_err(|error| StoreError::read(path, error))?;
    Ok(connection)
}

/// Opens a history in memory under the name from [`memory_path`]; it lives as long as one connection to it.
pub(super) fn open_memory(path: &Path) -> Result<Connection, StoreError> {
    let mut connection = Connection::open_with_flags(path, OpenFlags::default() | OpenFlags::SQLITE_OPEN_URI)
        .map_err(|error| StoreError::read(path, error))?;
    migrate(&mut connection, path)?;
    settings(&connection, "MEMORY").map_err(|error| StoreError::written(path, error))?;
    Ok(connection)
}

/// A name for a history in memory that nobody else has.
pub(super) fn memory_path() -> PathBuf {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("{MEMORY}{}?mode=memory&cache=shared", COUNT.fetch_add(1, Ordering::Relaxed)).into()
}

/// Opens a history that exists, for reading.
pub(super) fn open_read_only(path: &Path) -> Result<Connection, StoreError> {
    let memory = path.to_str().is_some_and(|text| text.starts_with(MEMORY));
    if !memory {
        check_header(path)?;
    }
    let uri = if memory { OpenFlags::SQLITE_OPEN_URI } else { OpenFlags::empty() };
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | uri;
    let connection = Connection::open_with_flags(path, flags).map_err(|error| StoreError::read(path, error))?;
    connection.busy_timeout(BUSY).map_err(|error| StoreError::read(path, error))?;
    if memory {
        // Connections to one memory lock each other's tables, and would fail where a file's log lets both go on.
        connection.pragma_update(None, "read_uncommitted", true).map_err(|error| StoreError::read(path, error))?;
    }
    Ok(connection)
}

/// Makes folder and file, readable to their owner only. The file is finished under another name first, so that one that
/// was begun and not finished, in a crash, is never taken for a damaged history.
fn create(path: &Path) -> Result<(), StoreError> {
    let io = |source| StoreError::Open { path: path.into(), source };
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if !folder.exists() {
        DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(io)?;
    }
    // A log that stayed when the file was moved away would be played into the new one.
    for log in ["-wal", "-journal"].map(|end| beside(path, end)) {
        if log.exists() {
            std::fs::rename(&log, beside(&log, ".old")).map_err(io)?;
            tracing::warn!(log = %log.display(), "a log without its history was put aside, with .old at its end");
        }
    }
    let new = beside(path, ".new");
    match std::fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(io(error)),
        _ => {}
    }
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new).map_err(io)?;
    let mut connection = connect(&new)?;
    let memory = connection.pragma_update_and_check(None, "journal_mode", "MEMORY", |_| Ok(()));
    memory.map_err(|error| StoreError::written(&new, error))?;
    migrate(&mut connection, &new)?;
    drop(connection);
    file.sync_all().map_err(io)?;
    std::fs::rename(&new, path).map_err(io)?;
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(io)
}

/// The path with something at its end.
fn beside(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    name.into()
}

/// Judges the file by its first 100 bytes (<https://sqlite.org/fileformat2.html>, 1.3).
fn check_header(path: &Path) -> Result<(), StoreError> {
    let io = |source| StoreError::Open { path: path.into(), source };
    let file = OpenOptions::new().read(true).open(path).map_err(io)?;
    let mut header = Vec::with_capacity(100);
    file.take(100).read_to_end(&mut header).map_err(io)?;
    if header.len() < 100 || !header.starts_with(b"SQLite format 3\0") {
        return Err(StoreError::Damaged { path: path.into(), why: "it does not begin as a database does".into() });
    }
    let number =
        |at: usize| i64::from(u32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]));
    check_numbers(path, number(68), number(60))
}

fn check_numbers(path: &Path, application: i64, version: i64) -> Result<(), StoreError> {
    let known = MIGRATIONS.len() as i64;
    if application != APPLICATION_ID {
        return Err(StoreError::Foreign { path: path.into() });
    }
    if version > known {
        return Err(StoreError::Newer { path: path.into(), found: version, known });
    }
    Ok(())
}

/// Checks through `SQLite` what the header cannot tell: the log beside the file, and every page.
fn check_content(path: &Path, connection: &Connection) -> Result<(), StoreError> {
    let read = |error| StoreError::read(path, error);
    let pragma = |name: &str| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0)).map_err(read);
    check_numbers(path, pragma("application_id")?, pragma("user_version")?)?;
    // A quarter of a second for a million sessions.
    let verdict: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)).map_err(read)?;
    if verdict == "ok" {
        return Ok(());
    }
    let why = verdict.lines().collect::<Vec<_>>().join("; ");
    Err(StoreError::Damaged { path: path.into(), why })
}

/// Takes the steps that are missing, each in a transaction of its own.
fn migrate(connection: &mut Connection, path: &Path) -> Result<(), StoreError> {
    let written = |error| StoreError::written(path, error);
    let done: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(written)?;
    if done == 0 {
        // Must be chosen before the first table exists.
        connection.pragma_update(None, "auto_vacuum", "INCREMENTAL").map_err(written)?;
    }
    for (step, text) in MIGRATIONS.iter().enumerate().skip(done as usize) {
        let transaction = connection.transaction().map_err(written)?;
        transaction.execute_batch(text).map_err(written)?;
        transaction.pragma_update(None, "user_version", step as i64 + 1).map_err(written)?;
        transaction.pragma_update(None, "application_id", APPLICATION_ID).map_err(written)?;
        transaction.commit().map_err(written)?;
    }
    Ok(())
}

fn settings(connection: &Connection, journal: &str) -> rusqlite::Result<()> {
    connection.busy_timeout(BUSY)?;
    connection.pragma_update_and_check(None, "journal_mode", journal, |_| Ok(()))?;
    // A power cut may cost the last records, never the file (https://sqlite.org/wal.html).
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    // After an import the log shrinks back to this many bytes.
    connection.pragma_update_and_check(None, "journal_size_limit", 4 << 20, |_| Ok(()))?;
    // Deleted names and times are overwritten, not only unlinked.
    connection.pragma_update_and_check(None, "secure_delete", true, |_| Ok(()))?;
    connection.set_prepared_statement_cache_capacity(32);
    Ok(())
}

/// The history is readable to its owner only, also if somebody had opened it up.
fn close_to_others(path: &Path) -> io::Result<()> {
    let mut permissions = path.metadata()?.permissions();
    if permissions.mode() & 0o077 != 0 {
        permissions.set_mode(0o600);
        std::fs::set_permissions(path, permissions)?;
    }
    Ok(())
}
