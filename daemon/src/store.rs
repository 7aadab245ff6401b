//! History on disk: sessions, reservations and what became of them, utilisation samples, decisions; and the requests that stand, which
//! are nowhere else when the daemon ends. `SQLite`, one file.
//!
//! One thread, named `store`, owns the connection. The loop sends it records and never waits; they are written in one
//! transaction per wake of the thread. Reads for people (`decisions`, `reservations`) and the import go through the same
//! thread; the long scan at start and for the refit uses a read-only connection of its own ([`Store::stream_sessions`]).
//!
//! Not here: what the history means. Nothing is averaged, weighted or forecast; rows come back as they were recorded.
//!
//! Who logs in when is personal data: the file is readable to its owner only, rows older than the retention are deleted
//! every day, names that no row needs any longer go with them, and deleted content is overwritten.

mod error;
mod import;
mod names;
mod read;
mod record;
mod retention;
mod schema;
mod thread;
mod wtmp;

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;

use headstart_core::hint::Hint;
use headstart_core::id::{DesktopName, DomainUuid};
use headstart_core::plan::Standing;
use headstart_core::unit::{Span, Time};
use tokio::sync::oneshot;

pub use self::error::{ImportError, StoreError};
pub use self::import::{ImportOptions, ImportReport, TraceFormat};
pub use self::read::{ExportReport, StoredDecision, StoredReservation, StoredSession};
pub use self::record::{Outcome, Record, Source};
use self::thread::{Command, Reply};

/// Where the history is unless the configuration says otherwise.
pub const DEFAULT_PATH: &str = "/var/lib/headstart/history.db";

/// Handle to the history; cheap to clone. The thread ends when the last handle is gone, after writing what it was given.
#[derive(Clone, Debug)]
pub struct Store {
    commands: mpsc::Sender<Command>,
    path: Arc<Path>,
    left_open: Arc<LeftOpen>,
    /// Set by [`Store::close`]: an import under way stops for it.
    closing: Arc<AtomicBool>,
}

/// What an earlier run had started and not ended when it stopped.
#[derive(Debug, Default)]
struct LeftOpen {
    sessions: Vec<StoredSession>,
    reservations: Vec<StoredReservation>,
    wishes: BTreeMap<DomainUuid, Standing>,
}

impl Store {
    /// Opens or creates the history and starts its thread. [`Store::delete_old`] applies the retention.
    ///
    /// # Errors
    /// The file is damaged, not ours, newer than this program, or cannot be opened. It is left as it was.
    pub fn open(path: &Path, retention: Span) -> Result<Self, StoreError> {
        Self::start(path, schema::open(path)?, retention)
    }

    /// A history that vanishes with its last handle, for tests and for simulations that keep nothing.
    ///
    /// # Errors
    /// No memory.
    pub fn in_memory() -> Result<Self, StoreError> {
        let path = schema::memory_path();
        Self::start(&path, schema::open_memory(&path)?, Span::days(400))
    }

    fn start(path: &Path, connection: rusqlite::Connection, retention: Span) -> Result<Self, StoreError> {
        let left_open = Arc::new(LeftOpen {
            sessions: read::open_sessions(&connection).map_err(|e| StoreError::read(path, e))?,
            reservations: read::open_reservations(&connection).map_err(|e| StoreError::read(path, e))?,
            wishes: read::wishes(&connection).map_err(|e| StoreError::read(path, e))?,
        });
        let (commands, receiver) = mpsc::channel();
        let path: Arc<Path> = path.into();
        let closing = Arc::default();
        thread::start(connection, Arc::clone(&path), retention, receiver, Arc::clone(&closing))?;
        Ok(Self { commands, path, left_open, closing })
    }

    /// The file; for a history in memory a name that [`Store::stream_sessions`] understands.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Sessions that had not ended when the history was opened, oldest first: the loop goes on with them. Imported
    /// sessions without an end are not among them: nobody watches those.
    pub fn open_sessions(&self) -> &[StoredSession] {
        &self.left_open.sessions
    }

    /// Reservations that had not ended when the history was opened, oldest first.
    pub fn open_reservations(&self) -> &[StoredReservation] {
        &self.left_open.reservations
    }

    /// What had been asked for which domain, and stood, when the history was opened.
    pub fn wishes(&self) -> &BTreeMap<DomainUuid, Standing> {
        &self.left_open.wishes
    }

    /// Hands a record to the thread and returns at once. While a long import runs, records wait in memory, about 100
    /// bytes each, and are written after it. What cannot be written is logged, once per cause, and tried again later.
    pub fn record(&self, record: Record) {
        // Fails only after `close`; the log of that moment already says that the daemon is stopping.
        if self.commands.send(Command::Record(Box::new(record))).is_err() {
            tracing::debug!("a record came after the history was closed");
        }
    }

    /// Deletes what is older than the retention, counted from `now`; to be called at start and once a day. The time is the
    /// caller's, since in a simulation it is not the wall clock's.
    pub fn delete_old(&self, now: Time) {
        if self.send(Command::DeleteOld(now)).is_err() {
            tracing::debug!("the history was closed before old rows were deleted");
        }
    }

    /// Reads sessions from a trace (plain or gzip) or from this host's `wtmp`; `name` is what messages call it.
    /// All or nothing in one transaction, unless `skip_bad`. Dropping the future takes everything back, and so does
    /// [`Store::close`] while it runs.
    ///
    /// # Errors
    /// Bad rows, an unreadable file, or a history that cannot be written; then nothing was imported.
    pub async fn import(&self, input: File, name: String, options: ImportOptions) -> Result<ImportReport, ImportError> {
        let (reply, answer) = oneshot::channel();
        self.send(Command::Import { input, name, options, reply })?;
        answer.await.map_err(|_| self.stopped())?
    }

    /// Writes the sessions that started at or after `since` as a trace, sorted by start.
    ///
    /// # Errors
    /// The output or the history fails.
    pub async fn export(&self, output: File, since: Option<Time>) -> Result<ExportReport, StoreError> {
        self.ask(|reply| Command::Export { output, since, reply }).await
    }

    /// Waits until everything recorded so far is on its way to the disk.
    pub async fn flush(&self) {
        let (reply, answer) = oneshot::channel();
        if self.send(Command::Flush(reply)).is_ok() {
            let _ended = answer.await;
        }
    }

    /// Writes what is left and closes the file; an import is broken off, so that a daemon stops at once. Other handles record
    /// nothing any more.
    pub async fn close(self) {
        self.closing.store(true, Ordering::Release);
        let (reply, answer) = oneshot::channel();
        if self.send(Command::Close(reply)).is_ok() {
            let _ended = answer.await;
        }
    }

    /// The newest decisions, newest first; of one desktop, or of all and of the daemon itself.
    ///
    /// # Errors
    /// The history cannot be read.
    pub async fn decisions(&self, desktop: Option<DesktopName>, most: u32) -> Result<Vec<StoredDecision>, StoreError> {
        self.ask(|reply| Command::Decisions { desktop, most, reply }).await
    }

    /// What was told, newest first; of one desktop or of all.
    ///
    /// # Errors
    /// The history cannot be read.
    pub async fn hints(&self, desktop: Option<DesktopName>, most: u32) -> Result<Vec<(DesktopName, Hint)>, StoreError> {
        self.ask(|reply| Command::Hints { desktop, most, reply }).await
    }

    /// The newest reservations, newest first; of one desktop or of all.
    ///
    /// # Errors
    /// The history cannot be read.
    pub async fn reservations(
        &self,
        desktop: Option<DesktopName>,
        most: u32,
    ) -> Result<Vec<StoredReservation>, StoreError> {
        self.ask(|reply| Command::Reservations { desktop, most, reply }).await
    }

    /// Gives every session that started at or after `since` to `f`, in order of start, in constant memory, over a
    /// read-only connection of its own: the thread goes on writing meanwhile. Returns how many there were.
    /// What was recorded but not flushed may be missing.
    ///
    /// # Errors
    /// The history cannot be read.
    pub fn stream_sessions(path: &Path, since: Time, f: impl FnMut(StoredSession)) -> Result<u64, StoreError> {
        let connection = schema::open_read_only(path)?;
        read::sessions(&connection, since, f).map_err(|error| StoreError::read(path, error))
    }

    /// Gives to `f` every hint that was due since then, in that order, and whether a calendar told it, as [`Store::stream_sessions`] does.
    ///
    /// # Errors
    /// The history cannot be read.
    pub fn stream_hints(path: &Path, since: Time, f: impl FnMut(DesktopName, Hint, bool)) -> Result<(), StoreError> {
        let connection = schema::open_read_only(path)?;
        read::hints(&connection, since, f).map_err(|error| StoreError::read(path, error))
    }

    /// Gives to `f` how long each preparation since then took, oldest first, as [`Store::stream_sessions`] does.
    ///
    /// # Errors
    /// The history cannot be read.
    pub fn stream_preparations(path: &Path, since: Time, f: impl FnMut(DesktopName, Span)) -> Result<(), StoreError> {
        let connection = schema::open_read_only(path)?;
        read::preparations(&connection, since, f).map_err(|error| StoreError::read(path, error))
    }

    async fn ask<T>(&self, command: impl FnOnce(Reply<T>) -> Command) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        self.send(command(reply))?;
        answer.await.map_err(|_| self.stopped())?
    }

    fn send(&self, command: Command) -> Result<(), StoreError> {
        self.commands.send(command).map_err(|_| self.stopped())
    }

    fn stopped(&self) -> StoreError {
        StoreError::Closed { path: PathBuf::from(&*self.path) }
    }
}

#[cfg(test)]
mod tests;
