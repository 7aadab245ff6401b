//! Sessions from elsewhere: a trace or a `wtmp`, in one transaction, so that a process that is killed leaves nothing behind.

use std::fs::File;
use std::io::BufRead;
use std::path::Path;

use headstart_core::trace::Row;
use jiff::tz::TimeZone;
use rusqlite::{Connection, params};

use super::error::{ImportError, StoreError};
use super::names::Names;
use super::record::Source;
use super::{retention, wtmp};
use crate::trace_file::{self, Rows, TraceError};

/// How to import.
#[derive(Clone, Debug)]
pub struct ImportOptions {
    /// Leave bad rows out instead of refusing the whole input.
    pub skip_bad: bool,
    /// What the input is.
    pub format: TraceFormat,
    /// The users' time zone, for a `wtmp`, which does not say it.
    pub zone: TimeZone,
}

impl Default for ImportOptions {
    /// Strict, format by content, the system's time zone.
    fn default() -> Self {
        Self { skip_bad: false, format: TraceFormat::Auto, zone: TimeZone::system() }
    }
}

/// Forms of history that can be read; each plain or gzipped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TraceFormat {
    /// Told by the first bytes.
    #[default]
    Auto,
    /// `user,vm,start,end`.
    Csv,
    /// This architecture's `wtmp`. The host's own logins: the desktop is called as the user is, for a `wtmp` knows no VM.
    Wtmp,
}

/// What an import found and did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImportReport {
    /// Rows, or sessions of a `wtmp`, good and bad.
    pub read: u64,
    /// New sessions in the history.
    pub imported: u64,
    /// Repeated in the input, or in the history already.
    pub duplicates: u64,
    /// Could not be used.
    pub bad: u64,
    /// The first of them, `FILE:LINE: why`; `FILE:record N: why` in a `wtmp`. At most [`ImportReport::MOST_ERRORS`].
    pub first_errors: Vec<String>,
}

impl ImportReport {
    /// So many bad rows are named; the rest is only counted.
    pub const MOST_ERRORS: usize = 20;

    /// The bad rows for people: those that are named, then how many more there are.
    pub fn lines(&self) -> impl Iterator<Item = String> + '_ {
        let more = self.bad - self.first_errors.len() as u64;
        let rest = (more > 0).then(|| format!("... and {more} more"));
        self.first_errors.iter().cloned().chain(rest)
    }

    fn bad_row(&mut self, place: &dyn std::fmt::Display, why: &dyn std::fmt::Display) {
        self.read += 1;
        self.bad += 1;
        if self.first_errors.len() < Self::MOST_ERRORS {
            self.first_errors.push(format!("{place}: {why}"));
        }
    }
}

/// How many rows go by between two looks at whether anybody still wants the import.
const LOOK_EVERY: u64 = 1024;

/// Reads all of `input` into the history, or nothing.
pub(super) fn import(
    connection: &mut Connection,
    names: &mut Names,
    path: &Path,
    input: File,
    name: &str,
    options: &ImportOptions,
    is_gone: &dyn Fn() -> bool,
) -> Result<ImportReport, ImportError> {
    let written = |error| ImportError::Store(StoreError::written(path, error));
    let read = |line| move |source| ImportError::Read { name: name.to_owned(), line, source };
    let mut input = trace_file::open(input).map_err(read(1))?;
    let format = decide(options.format, input.fill_buf().map_err(read(1))?)
        .map_err(|what| ImportError::Format { name: name.to_owned(), what })?;

    // Dropped without a commit, the transaction takes everything back.
    let transaction = connection.transaction().map_err(written)?;
    let mut import = Import { connection: &transaction, names, name, path, is_gone, report: ImportReport::default() };
    let done = match format {
        TraceFormat::Wtmp => wtmp::read(input, name, &options.zone, &mut import),
        TraceFormat::Csv | TraceFormat::Auto => import.csv(input),
    };
    let report = import.report;
    let done = done.and_then(|()| {
        if report.bad > 0 && !options.skip_bad {
            return Err(ImportError::BadRows { name: name.to_owned(), report });
        }
        Ok(report)
    });
    match done {
        Ok(report) => {
            transaction.commit().map_err(written)?;
            // The log holds a copy of all that was imported. If somebody is reading it shrinks at the next chance.
            if let Err(error) = retention::checkpoint(connection) {
                tracing::debug!(%error, "the log of the history stays large for now");
            }
            Ok(report)
        }
        Err(error) => {
            drop(transaction);
            names.forget();
            Err(error)
        }
    }
}

/// What the first bytes say.
fn decide(asked: TraceFormat, start: &[u8]) -> Result<TraceFormat, &'static str> {
    if start.starts_with(b"SQLite format 3\0") {
        return Err("this is an SQLite database, such as wtmpdb of Debian 13 and others keeps in place of wtmp; \
                    it is not read yet: turn its sessions into the CSV form user,vm,start,end");
    }
    Ok(match asked {
        // The type of a record is a small number in two bytes; text has none below its blanks.
        TraceFormat::Auto if matches!(start, [0..=9, 0, ..] | [0, 0..=9, ..]) => TraceFormat::Wtmp,
        TraceFormat::Auto => TraceFormat::Csv,
        asked => asked,
    })
}

/// An import under way.
pub(super) struct Import<'a> {
    connection: &'a Connection,
    names: &'a mut Names,
    name: &'a str,
    path: &'a Path,
    is_gone: &'a dyn Fn() -> bool,
    report: ImportReport,
}

impl Import<'_> {
    fn csv(&mut self, input: Box<dyn BufRead + Send>) -> Result<(), ImportError> {
        let name = self.name;
        let failed = |error| match error {
            TraceError::Read { line, source } => ImportError::Read { name: name.to_owned(), line, source },
            TraceError::Header(why) => {
                let mut report = ImportReport::default();
                report.bad_row(&format_args!("{name}:1"), &why);
                ImportError::BadRows { name: name.to_owned(), report }
            }
        };
        let mut rows = Rows::new(input).map_err(failed)?;
        while let Some(row) = rows.next().map_err(failed)? {
            match row {
                Ok(row) => self.row(&row)?,
                Err(why) => self.report.bad_row(&format_args!("{name}:{}", rows.line()), &why),
            }
        }
        Ok(())
    }

    /// A row that cannot be used.
    pub(super) fn bad_row(&mut self, place: &dyn std::fmt::Display, why: &dyn std::fmt::Display) {
        self.report.bad_row(place, why);
    }

    /// One good row.
    pub(super) fn row(&mut self, row: &Row) -> Result<(), ImportError> {
        if self.report.read.is_multiple_of(LOOK_EVERY) && (self.is_gone)() {
            return Err(ImportError::BrokenOff { name: self.name.to_owned() });
        }
        self.report.read += 1;
        match self.insert(row) {
            Ok(true) => self.report.imported += 1,
            Ok(false) => self.report.duplicates += 1,
            Err(error) => return Err(StoreError::written(self.path, error).into()),
        }
        Ok(())
    }

    /// Whether it was new. A session that is there already, from the same instant on, is a duplicate if either end is not
    /// known; a known end completes an imported session that had none.
    fn insert(&mut self, row: &Row) -> rusqlite::Result<bool> {
        let desktop = self.names.id(self.connection, row.desktop.as_str())?;
        let user = self.names.id(self.connection, row.user.as_str())?;
        let start = row.start.unix();
        // An export writes the desktop's name where the user is not known: that row must find its origin.
        let stands_for_none = if row.user.as_str() == row.desktop.as_str() { 0 } else { user };
        let length = row.end.map_or(-1, |end| (end - row.start).as_seconds());
        // A few rows at most: chosen among here, since an IN in SQL builds a table in memory for every query.
        let mut open = None;
        let mut statement = self
            .connection
            .prepare_cached("SELECT user, length, source FROM session WHERE start = ?1 AND desktop = ?2")?;
        let mut rows = statement.query(params![start, desktop])?;
        while let Some(row) = rows.next()? {
            let (other, other_length, source): (i64, i64, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
            let same_user = other == user || other == stands_for_none;
            if same_user && (other_length == length || length < 0) {
                return Ok(false);
            }
            if same_user && other_length < 0 {
                if source != Source::Import as i64 {
                    return Ok(false);
                }
                open = Some(other);
            }
        }
        if let Some(other) = open {
            self.connection
                .prepare_cached(
                    "UPDATE session SET length = ?4
                     WHERE start = ?1 AND desktop = ?2 AND user = ?3 AND length < 0 AND source = 0",
                )?
                .execute(params![start, desktop, other, length])?;
            return Ok(true);
        }
        self.connection.prepare_cached("INSERT INTO session VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?.execute(params![
            start,
            desktop,
            user,
            length,
            row.offset.seconds(),
            Source::Import as i64
        ])?;
        Ok(true)
    }
}
