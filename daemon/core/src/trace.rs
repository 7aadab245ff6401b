//! The CSV form of login histories: `user,vm,start,end`, RFC 3339 with offset, `end` empty when unknown.
//!
//! What is defined, so that every reader of a trace agrees:
//! * a time must carry its UTC offset; with it, every instant is unique, also in the hours around a change of daylight saving;
//! * second 60 (a leap second) is read as second 59;
//! * an end before its start is a bad row; an end equal to its start is a session of no length;
//! * overlapping sessions of one user are allowed (two terminals); whoever counts merges them;
//! * a row that repeats an earlier one in all columns is a duplicate: counted, not taken twice, not an error;
//! * columns after the fourth are ignored, so that traces may carry notes.
//!
//! Not here: opening files and gunzipping them, which is the shell's.

use jiff::tz::Offset;

use crate::id::{BadId, DesktopName, UserName};
use crate::unit::Time;

/// The header every trace begins with.
pub const HEADER: &str = "user,vm,start,end";

/// One session of a trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Who.
    pub user: UserName,
    /// At which desktop.
    pub desktop: DesktopName,
    /// Login.
    pub start: Time,
    /// Logout, if known.
    pub end: Option<Time>,
    /// Offset from UTC of the user's wall clock at the login.
    pub offset: Offset,
}

/// Why a row cannot be used.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum BadRow {
    /// Not the header.
    #[error("the first line must be `{HEADER}`, not {0:?}")]
    Header(String),
    /// Too few columns.
    #[error("{0} columns where 4 are needed: {HEADER}")]
    Columns(usize),
    /// A name is not acceptable.
    #[error(transparent)]
    Name(#[from] BadId),
    /// A time cannot be read.
    #[error("{column} {text:?} is not an RFC 3339 time with UTC offset, such as 2010-03-29T08:00:00+02:00 ({why})")]
    Time {
        /// `start`, `end`, ...
        column: &'static str,
        /// What stood there.
        text: String,
        /// What the parser said.
        why: String,
    },
    /// Ends before it starts.
    #[error("the session ends ({end}) before it starts ({start})")]
    EndsBeforeStart {
        /// Login.
        start: Time,
        /// Logout.
        end: Time,
    },
}

/// Checks the first line of a trace.
///
/// # Errors
/// It is not [`HEADER`] (a byte order mark before it and columns after it are accepted).
pub fn check_header(line: &str) -> Result<(), BadRow> {
    let text = line.trim_start_matches('\u{feff}').trim_end();
    if is_header(line, HEADER) { Ok(()) } else { Err(BadRow::Header(text.chars().take(80).collect())) }
}

/// Whether a first line is this header, perhaps with a byte order mark before it and columns after it.
pub(crate) fn is_header(line: &str, header: &str) -> bool {
    let rest = line.trim_start_matches('\u{feff}').trim_end().strip_prefix(header);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(','))
}

/// Reads one line after the header.
///
/// # Errors
/// Says which column is wrong and why; the caller adds file and line.
pub fn parse_row(line: &str) -> Result<Row, BadRow> {
    let mut columns = line.trim_end_matches(['\r', '\n']).split(',').map(str::trim);
    let (Some(user), Some(desktop), Some(start), Some(end)) =
        (columns.next(), columns.next(), columns.next(), columns.next())
    else {
        return Err(BadRow::Columns(line.split(',').count()));
    };
    let (start, offset) = parse_time("start", start)?;
    let end = if end.is_empty() { None } else { Some(parse_time("end", end)?.0) };
    if let Some(end) = end.filter(|end| *end < start) {
        return Err(BadRow::EndsBeforeStart { start, end });
    }
    Ok(Row { user: UserName::new(user)?, desktop: DesktopName::new(desktop)?, start, end, offset })
}

/// Instant and offset of an RFC 3339 text.
pub(crate) fn parse_time(column: &'static str, text: &str) -> Result<(Time, Offset), BadRow> {
    let bad = |why: String| BadRow::Time { column, text: text.chars().take(80).collect(), why };
    let pieces = jiff::fmt::temporal::Pieces::parse(text).map_err(|error| bad(error.to_string()))?;
    let offset = pieces.to_numeric_offset().ok_or_else(|| bad("it has no UTC offset".to_owned()))?;
    let timestamp = text.parse::<jiff::Timestamp>().map_err(|error| bad(error.to_string()))?;
    Ok((Time::from_timestamp(timestamp), offset))
}

/// Writes one row, as [`parse_row`] reads it. A name that holds a comma cannot be written; none read from a trace does.
pub fn format_row(row: &Row) -> String {
    let end = row.end.map(|end| end.rfc3339(row.offset)).unwrap_or_default();
    format!("{},{},{},{end}", row.user, row.desktop, row.start.rfc3339(row.offset))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(line: &str) -> String {
        parse_row(line).unwrap_err().to_string()
    }

    #[test]
    fn a_row_is_read_and_written_back() {
        let line = "u01,vm01,2010-03-29T08:00:00+02:00,2010-03-29T16:30:00+02:00";
        let row = parse_row(line).unwrap();
        assert_eq!(row.start.to_string(), "2010-03-29T06:00:00Z");
        assert_eq!(format_row(&row), line);
        let open = "u01,vm01,2010-03-29T08:00:00-03:30,";
        assert_eq!(format_row(&parse_row(open).unwrap()), open);
    }

    #[test]
    fn every_refusal_names_its_column() {
        assert!(error("u01,vm01,2010-03-29T08:00:00,").contains("start \"2010-03-29T08:00:00\""));
        assert!(error("u01,vm01,2010-03-29T08:00:00,").contains("no UTC offset"));
        assert!(error("u01,vm01,2010-03-29T08:00:00Z,soon").starts_with("end \"soon\""));
        assert!(error("u01,vm01").contains("2 columns"));
        assert!(error(",vm01,2010-03-29T08:00:00Z,").contains("user name \"\" is not valid"));
        assert!(error("u,v,2010-03-29T08:00:00Z,2010-03-29T07:59:59Z").contains("before it starts"));
        assert!(check_header("vm,user").unwrap_err().to_string().contains("vm,user"));
        assert!(check_header("\u{feff}user,vm,start,end,note\r").is_ok());
    }

    #[test]
    fn a_leap_second_is_the_second_before() {
        let row = parse_row("u,v,2016-12-31T23:59:60Z,").unwrap();
        assert_eq!(row.start.to_string(), "2016-12-31T23:59:59Z");
    }

    #[test]
    fn the_hour_that_daylight_saving_skips_is_an_instant_all_the_same() {
        let before = parse_row("u,v,2010-03-28T01:59:59+01:00,").unwrap();
        let inside = parse_row("u,v,2010-03-28T02:30:00+01:00,").unwrap();
        let after = parse_row("u,v,2010-03-28T03:30:00+02:00,").unwrap();
        assert!(before.start < inside.start);
        assert_eq!(inside.start, after.start);
    }
}
