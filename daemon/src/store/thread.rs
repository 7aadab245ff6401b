//! The thread that owns the connection: takes commands in order, writes the records between two others in one transaction.

use std::collections::{BTreeSet, VecDeque};
use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use headstart_core::hint::Hint;
use headstart_core::id::DesktopName;
use headstart_core::unit::{Span, Time};
use rusqlite::Connection;
use tokio::sync::oneshot;

use super::error::{ImportError, StoreError};
use super::import::{self, ImportOptions, ImportReport};
use super::names::Names;
use super::read::{self, ExportReport, StoredDecision, StoredReservation};
use super::record::{self, Record};
use super::retention;

/// Where an answer goes.
pub(super) type Reply<T> = oneshot::Sender<Result<T, StoreError>>;

/// What the handles send.
pub(super) enum Command {
    Record(Box<Record>),
    Import {
        input: File,
        name: String,
        options: ImportOptions,
        reply: oneshot::Sender<Result<ImportReport, ImportError>>,
    },
    Export {
        output: File,
        since: Option<Time>,
        reply: Reply<ExportReport>,
    },
    Decisions {
        desktop: Option<DesktopName>,
        most: u32,
        reply: Reply<Vec<StoredDecision>>,
    },
    Reservations {
        desktop: Option<DesktopName>,
        most: u32,
        reply: Reply<Vec<StoredReservation>>,
    },
    Hints {
        desktop: Option<DesktopName>,
        most: u32,
        reply: Reply<Vec<(DesktopName, Hint)>>,
    },
    DeleteOld(Time),
    Flush(oneshot::Sender<()>),
    Close(oneshot::Sender<()>),
}

/// What could not be written is tried again after this, if no record comes first.
const RETRY: Duration = Duration::from_secs(30);
/// A host with a full disk keeps this many records (about 10 MB) before it loses the oldest.
const MOST_WAITING: usize = 100_000;

/// State of the thread.
struct Writer {
    connection: Connection,
    path: Arc<Path>,
    retention: Span,
    names: Names,
    waiting: VecDeque<Record>,
    /// Causes that were logged since the last success.
    logged: BTreeSet<String>,
    lost: u64,
    /// The daemon is stopping.
    closing: Arc<AtomicBool>,
}

/// Starts the thread.
pub(super) fn start(
    connection: Connection,
    path: Arc<Path>,
    retention: Span,
    commands: Receiver<Command>,
    closing: Arc<AtomicBool>,
) -> Result<(), StoreError> {
    let for_error = Arc::clone(&path);
    std::thread::Builder::new()
        .name("store".into())
        .spawn(move || {
            let mut writer = Writer {
                connection,
                path,
                retention,
                names: Names::default(),
                waiting: VecDeque::new(),
                logged: BTreeSet::new(),
                lost: 0,
                closing,
            };
            let closed = writer.run(&commands);
            writer.end();
            // Only when the file is closed may the caller go on.
            drop(writer);
            drop(closed);
        })
        .map(drop)
        .map_err(|source| StoreError::Open { path: for_error.to_path_buf(), source })
}

impl Writer {
    /// Until the last handle is gone, or `Close`, whose reply is handed out.
    fn run(&mut self, commands: &Receiver<Command>) -> Option<oneshot::Sender<()>> {
        loop {
            let next = if self.waiting.is_empty() {
                commands.recv().map_err(|_| RecvTimeoutError::Disconnected)
            } else {
                commands.recv_timeout(RETRY)
            };
            let mut next = match next {
                Ok(command) => Some(command),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => return None,
            };
            // Everything that waits already goes into one transaction.
            while let Some(Command::Record(record)) = next {
                self.waiting.push_back(*record);
                next = commands.try_recv().ok();
            }
            self.write_waiting();
            match next {
                Some(Command::Close(reply)) => return Some(reply),
                Some(command) => self.answer(command),
                None => {}
            }
        }
    }

    fn answer(&mut self, command: Command) {
        // A caller that went away needs no answer.
        match command {
            Command::Record(_) | Command::Close(_) => {}
            Command::DeleteOld(now) => self.delete_old(now),
            Command::Flush(reply) => drop(reply.send(())),
            Command::Import { input, name, options, reply } => {
                let is_gone = || reply.is_closed() || self.closing.load(Ordering::Acquire);
                let imported =
                    import::import(&mut self.connection, &mut self.names, &self.path, input, &name, &options, &is_gone);
                drop(reply.send(imported));
            }
            Command::Export { output, since, reply } => {
                drop(reply.send(read::export(&self.connection, &self.path, output, since)));
            }
            Command::Decisions { desktop, most, reply } => {
                let rows = read::decisions(&self.connection, desktop.as_ref(), most);
                drop(reply.send(rows.map_err(|error| StoreError::read(&self.path, error))));
            }
            Command::Hints { desktop, most, reply } => {
                let rows = read::newest_hints(&self.connection, desktop.as_ref(), most);
                drop(reply.send(rows.map_err(|error| StoreError::read(&self.path, error))));
            }
            Command::Reservations { desktop, most, reply } => {
                let rows = read::reservations(&self.connection, desktop.as_ref(), most);
                drop(reply.send(rows.map_err(|error| StoreError::read(&self.path, error))));
            }
        }
    }

    /// Writes the waiting records in one transaction; if that fails they go on waiting.
    fn write_waiting(&mut self) {
        if self.waiting.is_empty() {
            return;
        }
        match write_all(&mut self.connection, &mut self.names, &self.waiting, &mut self.logged, &self.path) {
            Ok(()) => {
                self.waiting.clear();
                if !self.logged.is_empty() {
                    let lost = self.lost;
                    tracing::warn!(path = %self.path.display(), lost, "the history can be written again");
                    self.logged.clear();
                    self.lost = 0;
                }
            }
            Err(error) => {
                self.names.forget();
                self.log_once(&error);
                while self.waiting.len() > MOST_WAITING {
                    self.waiting.pop_front();
                    self.lost += 1;
                }
            }
        }
    }

    fn delete_old(&mut self, now: Time) {
        match retention::delete_before(&mut self.connection, now - self.retention) {
            Ok(0) => {}
            Ok(rows) => {
                self.names.forget();
                tracing::info!(rows, retention = %self.retention, "deleted old rows of the history");
            }
            Err(error) => self.log_once(&error),
        }
    }

    fn end(&mut self) {
        self.write_waiting();
        if let Err(error) = retention::checkpoint(&self.connection) {
            tracing::debug!(%error, "the log of the history stays beside it");
        }
    }

    fn log_once(&mut self, error: &rusqlite::Error) {
        if self.logged.insert(error.to_string()) {
            let path = self.path.display();
            tracing::error!(%path, %error, "the history cannot be written; records wait: check space and rights");
        }
    }
}

/// One transaction over all records. A record that breaks a rule of the tables is a mistake of ours: logged and left out,
/// since it would fail for ever.
fn write_all(
    connection: &mut Connection,
    names: &mut Names,
    records: &VecDeque<Record>,
    logged: &mut BTreeSet<String>,
    path: &Path,
) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    for record in records {
        match record::write(&transaction, names, record) {
            Ok(()) => {}
            Err(error) if error.sqlite_error_code() == Some(rusqlite::ErrorCode::ConstraintViolation) => {
                if logged.insert(error.to_string()) {
                    tracing::error!(path = %path.display(), %error, ?record, "a record does not fit into the history");
                }
            }
            Err(error) => return Err(error),
        }
    }
    transaction.commit()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn writer() -> Writer {
        let path = super::super::schema::memory_path();
        Writer {
            connection: super::super::schema::open_memory(&path).unwrap(),
            path: path.into(),
            retention: Span::days(1),
            names: Names::default(),
            waiting: VecDeque::new(),
            logged: BTreeSet::new(),
            lost: 0,
            closing: Arc::default(),
        }
    }

    fn decision(n: i64) -> Record {
        Record::Decision { at: Time::from_unix(n), desktop: None, what: "x".repeat(10_000), why: String::new() }
    }

    fn limit_pages(writer: &Writer, pages: i64) {
        writer.connection.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(())).unwrap();
    }

    #[test]
    fn what_finds_no_room_waits_until_there_is_some() {
        let mut writer = writer();
        limit_pages(&writer, 1);
        for n in 0..20 {
            writer.waiting.push_back(decision(n));
            writer.write_waiting();
        }
        assert_eq!((writer.waiting.len(), writer.logged.len()), (20, 1), "{:?}", writer.logged);
        limit_pages(&writer, 1000);
        writer.write_waiting();
        assert_eq!((writer.waiting.len(), writer.logged.len()), (0, 0));
        assert_eq!(read::decisions(&writer.connection, None, 100).unwrap().len(), 20);
    }

    #[test]
    fn what_waits_too_long_is_lost_from_the_oldest_on() {
        let mut writer = writer();
        limit_pages(&writer, 1);
        writer.waiting.extend((0..MOST_WAITING as i64 + 5).map(|n| Record::Decision {
            at: Time::from_unix(n),
            desktop: None,
            what: "x".repeat(20),
            why: String::new(),
        }));
        writer.write_waiting();
        assert_eq!((writer.waiting.len(), writer.lost), (MOST_WAITING, 5));
        assert!(matches!(&writer.waiting[0], Record::Decision { at, .. } if at.unix() == 5));
    }
}
