//! Rows as they come back, and the queries for them.

use std::collections::BTreeMap;
use std::io::{BufWriter, Write};
use std::path::Path;

use headstart_core::hint::{Hint, Kind};
use headstart_core::id::{DesktopName, DomainUuid, GpuId, ProfileName, UserName};
use headstart_core::plan::Standing;
use headstart_core::request::Wish;
use headstart_core::trace::{HEADER, Row as TraceRow, format_row};
use headstart_core::unit::{Probability, Span, Time};
use jiff::tz::Offset;
use rusqlite::types::{FromSqlError, Type};
use rusqlite::{Connection, Row, params};

use super::error::StoreError;
use super::names::Names;
use super::record::{self, Outcome, Source};

/// A session.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredSession {
    /// Where.
    pub desktop: DesktopName,
    /// Who, if it was known.
    pub user: Option<UserName>,
    /// Login.
    pub start: Time,
    /// Logout, if it is known.
    pub end: Option<Time>,
    /// Offset from UTC of the user's wall clock at the login, if it is known.
    pub offset: Option<Offset>,
    /// Who said so.
    pub source: Source,
}

/// A reservation.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredReservation {
    /// For which desktop.
    pub desktop: DesktopName,
    /// From which PF.
    pub gpu: GpuId,
    /// Which profile.
    pub profile: ProfileName,
    /// From when.
    pub start: Time,
    /// Until when; none: it is still held.
    pub end: Option<Time>,
    /// The forecast that decided it.
    pub confidence: Probability,
    /// What became of it.
    pub outcome: Outcome,
}

/// A decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredDecision {
    /// When.
    pub at: Time,
    /// For which desktop; none: for the host.
    pub desktop: Option<DesktopName>,
    /// One phrase.
    pub what: String,
    /// One sentence.
    pub why: String,
}

/// What was exported.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExportReport {
    /// Rows in the trace.
    pub written: u64,
    /// Sessions that a trace cannot hold: a name in them has a comma.
    pub left_out: u64,
    /// The first such name.
    pub first_left_out: Option<String>,
}

/// CROSS JOIN, so that `session` is the outer loop: rows then come in the order of the table, without a sort in memory.
const SESSIONS: &str = "SELECT desktop.text, user.text, start, length, offset, source FROM session
    CROSS JOIN name AS desktop ON desktop.id = session.desktop LEFT JOIN name AS user ON user.id = session.user";

const RESERVATIONS: &str = "SELECT desktop.text, gpu.text, profile.text, start, length, confidence, outcome
    FROM reservation JOIN name AS desktop ON desktop.id = reservation.desktop
    JOIN name AS gpu ON gpu.id = reservation.gpu JOIN name AS profile ON profile.id = reservation.profile";

const HINTS: &str = "SELECT text, kind, told, begins, ends, calendar FROM hint JOIN name ON name.id = hint.desktop";

pub(super) fn sessions_sql() -> String {
    format!("{SESSIONS} WHERE start >= ?1 ORDER BY start, session.desktop")
}

/// Every session since then, in order of start.
pub(super) fn sessions(
    connection: &Connection,
    since: Time,
    mut f: impl FnMut(StoredSession),
) -> rusqlite::Result<u64> {
    let mut statement = connection.prepare(&sessions_sql())?;
    let mut rows = statement.query([since.unix()])?;
    let mut n = 0;
    while let Some(row) = rows.next()? {
        f(session(row)?);
        n += 1;
    }
    Ok(n)
}

/// Every hint that was due since then, in that order.
pub(super) fn hints(
    connection: &Connection,
    since: Time,
    mut f: impl FnMut(DesktopName, Hint, bool),
) -> rusqlite::Result<()> {
    let sql = format!("{HINTS} WHERE due >= ?1 ORDER BY due, hint.desktop, kind, begins, told");
    let mut statement = connection.prepare(&sql)?;
    let mut rows = statement.query([since.unix()])?;
    while let Some(row) = rows.next()? {
        if let Some((desktop, hint)) = hint(row)? {
            f(desktop, hint, row.get(5)?);
        }
    }
    Ok(())
}

/// The newest hints, newest first.
pub(super) fn newest_hints(
    connection: &Connection,
    desktop: Option<&DesktopName>,
    most: u32,
) -> rusqlite::Result<Vec<(DesktopName, Hint)>> {
    let of = if desktop.is_some() { "WHERE text = ?2" } else { "WHERE ?2 IS NULL" };
    let sql = format!("{HINTS} {of} ORDER BY told DESC, due DESC, hint.desktop, kind, begins LIMIT ?1");
    let mut statement = connection.prepare(&sql)?;
    let mut rows = statement.query(params![most, desktop.map(DesktopName::as_str)])?;
    let mut hints = Vec::new();
    while let Some(row) = rows.next()? {
        hints.extend(hint(row)?);
    }
    Ok(hints)
}

/// A hint; none of a kind that only a newer program knows.
fn hint(row: &Row) -> rusqlite::Result<Option<(DesktopName, Hint)>> {
    let name = DesktopName::new(row.get::<_, String>(0)?).map_err(|error| bad(0, error))?;
    let number: i64 = row.get(1)?;
    let time = |column| row.get(column).map(Time::from_unix);
    let (told, from, until) = (time(2)?, time(3)?, time(4)?);
    let kind = Kind::ALL.into_iter().find(|kind| record::kind_number(*kind) == number);
    Ok(kind.map(|kind| (name, Hint { told, kind, from, until })))
}

/// How long each preparation since then took, oldest first.
pub(super) fn preparations(
    connection: &Connection,
    since: Time,
    mut f: impl FnMut(DesktopName, Span),
) -> rusqlite::Result<()> {
    let mut statement = connection.prepare(
        "SELECT text, length FROM preparation JOIN name ON id = desktop WHERE time >= ?1 ORDER BY time, desktop",
    )?;
    let mut rows = statement.query([since.unix()])?;
    while let Some(row) = rows.next()? {
        let name = DesktopName::new(row.get::<_, String>(0)?).map_err(|error| bad(0, error))?;
        f(name, Span::seconds(row.get(1)?));
    }
    Ok(())
}

/// Sessions somebody watches that have not ended.
pub(super) fn open_sessions(connection: &Connection) -> rusqlite::Result<Vec<StoredSession>> {
    let sql = format!("{SESSIONS} WHERE length < 0 AND source <> 0 ORDER BY start, session.desktop");
    connection.prepare(&sql)?.query_map([], session)?.collect()
}

/// Reservations that have not ended.
pub(super) fn open_reservations(connection: &Connection) -> rusqlite::Result<Vec<StoredReservation>> {
    let sql = format!("{RESERVATIONS} WHERE length < 0 ORDER BY start, reservation.desktop");
    connection.prepare(&sql)?.query_map([], reservation)?.collect()
}

/// What is asked for which domain.
pub(super) fn wishes(connection: &Connection) -> rusqlite::Result<BTreeMap<DomainUuid, Standing>> {
    let wish = |row: &Row<'_>| {
        let domain = row.get::<_, String>(0)?.parse::<DomainUuid>().map_err(|error| bad(0, error))?;
        let profile = row.get::<_, Option<String>>(2)?.map(ProfileName::new).transpose();
        let profile = profile.map_err(|error| bad(2, error))?;
        let wish = Wish { preallocation: record::preallocation(row.get(1)?), profile };
        Ok((domain, Standing { wish, since: Time::from_unix(row.get(3)?) }))
    };
    connection.prepare("SELECT domain, preallocation, profile, since FROM wish")?.query_map([], wish)?.collect()
}

/// The newest reservations, newest first.
pub(super) fn reservations(
    connection: &Connection,
    desktop: Option<&DesktopName>,
    most: u32,
) -> rusqlite::Result<Vec<StoredReservation>> {
    let order = "ORDER BY start DESC, reservation.desktop LIMIT";
    let Some(desktop) = desktop else {
        let sql = format!("{RESERVATIONS} {order} ?1");
        return connection.prepare_cached(&sql)?.query_map([most], reservation)?.collect();
    };
    let Some(id) = Names::find(connection, desktop.as_str())? else { return Ok(Vec::new()) };
    let sql = format!("{RESERVATIONS} WHERE reservation.desktop = ?1 {order} ?2");
    connection.prepare_cached(&sql)?.query_map(params![id, most], reservation)?.collect()
}

/// The newest decisions, newest first.
pub(super) fn decisions(
    connection: &Connection,
    desktop: Option<&DesktopName>,
    most: u32,
) -> rusqlite::Result<Vec<StoredDecision>> {
    let select = "SELECT time, name.text, what, why FROM decision LEFT JOIN name ON name.id = decision.desktop";
    let Some(desktop) = desktop else {
        let sql = format!("{select} ORDER BY decision.id DESC LIMIT ?1");
        return connection.prepare_cached(&sql)?.query_map([most], decision)?.collect();
    };
    let Some(id) = Names::find(connection, desktop.as_str())? else { return Ok(Vec::new()) };
    let sql = format!("{select} WHERE decision.desktop = ?1 ORDER BY decision.id DESC LIMIT ?2");
    connection.prepare_cached(&sql)?.query_map(params![id, most], decision)?.collect()
}

/// Writes the sessions as a trace. A session whose user is not known gets the desktop's name as its user, one whose
/// offset is not known UTC: the form has no place for a gap.
pub(super) fn export(
    connection: &Connection,
    path: &Path,
    output: std::fs::File,
    since: Option<Time>,
) -> Result<ExportReport, StoreError> {
    let mut output = BufWriter::with_capacity(1 << 16, output);
    let mut report = ExportReport::default();
    let mut failed = writeln!(output, "{HEADER}").err();
    sessions(connection, since.unwrap_or(Time::from_unix(i64::MIN)), |session| {
        if failed.is_some() {
            return;
        }
        let user = session.user.map_or_else(|| session.desktop.to_string(), |user| user.to_string());
        if let Some(name) = [&user, session.desktop.as_str()].into_iter().find(|name| name.contains(',')) {
            report.left_out += 1;
            report.first_left_out.get_or_insert_with(|| name.to_owned());
            return;
        }
        let row = TraceRow {
            user: UserName::new(user).expect("every desktop name is a valid user name: the rules are the same"),
            desktop: session.desktop,
            start: session.start,
            end: session.end,
            offset: session.offset.unwrap_or(Offset::UTC),
        };
        failed = writeln!(output, "{}", format_row(&row)).err();
        report.written += 1;
    })
    .map_err(|error| StoreError::read(path, error))?;
    match failed.map_or_else(|| output.flush(), Err) {
        Ok(()) => Ok(report),
        Err(error) => Err(StoreError::Output(error)),
    }
}

fn session(row: &Row) -> rusqlite::Result<StoredSession> {
    let (start, end) = interval(row, 2)?;
    let offset: Option<i32> = row.get(4)?;
    Ok(StoredSession {
        desktop: DesktopName::new(row.get::<_, String>(0)?).map_err(|error| bad(0, error))?,
        user: row.get::<_, Option<String>>(1)?.map(UserName::new).transpose().map_err(|error| bad(1, error))?,
        start,
        end,
        offset: offset.map(Offset::from_seconds).transpose().map_err(|error| bad(4, error))?,
        source: Source::from_number(row.get(5)?),
    })
}

fn reservation(row: &Row) -> rusqlite::Result<StoredReservation> {
    let (start, end) = interval(row, 3)?;
    Ok(StoredReservation {
        desktop: DesktopName::new(row.get::<_, String>(0)?).map_err(|error| bad(0, error))?,
        gpu: row.get::<_, String>(1)?.parse().map_err(|error| bad(1, error))?,
        profile: ProfileName::new(row.get::<_, String>(2)?).map_err(|error| bad(2, error))?,
        start,
        end,
        confidence: Probability::clamped(row.get(5)?),
        outcome: Outcome::from_number(row.get(6)?),
    })
}

fn decision(row: &Row) -> rusqlite::Result<StoredDecision> {
    Ok(StoredDecision {
        at: Time::from_unix(row.get(0)?),
        desktop: row.get::<_, Option<String>>(1)?.map(DesktopName::new).transpose().map_err(|error| bad(1, error))?,
        what: row.get(2)?,
        why: row.get(3)?,
    })
}

/// Start and end from the columns `start` and `length`.
fn interval(row: &Row, column: usize) -> rusqlite::Result<(Time, Option<Time>)> {
    let (start, length): (i64, i64) = (row.get(column)?, row.get(column + 1)?);
    let start = Time::from_unix(start);
    Ok((start, (length >= 0).then(|| start + Span::seconds(length))))
}

/// A value that this program never wrote.
fn bad(column: usize, error: impl std::error::Error + Send + Sync + 'static) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, Type::Text, Box::new(FromSqlError::Other(Box::new(error))))
}
