//! What others know of somebody's coming: events that say that it is near (a badge, a VPN), and statements about some time (leave, a shift).
//!
//! A hint counts from the instant at which it was told, and never before. What it is worth nobody says: that is learned
//! ([`crate::forecast`]). Deliberately not here: who told it, and what is kept of it ([`crate::history`]).

use std::fmt;
use std::str::FromStr;

use jiff::tz::Offset;

use crate::id::{BadId, UserName};
use crate::trace::{self, BadRow};
use crate::unit::{Span, Time};

/// The header of a file of hints.
pub const HEADER: &str = "subject,kind,told,from,until";
/// In a file of hints: everybody.
pub const EVERYBODY: &str = "*";
/// How long an event counts if nobody says otherwise.
pub const EVENT_COUNTS: Span = Span::hours(12);
/// A statement matters so long before it begins: a forecast of the day before reaches over it.
pub const MATTERS_BEFORE: Span = Span::days(2);
/// A statement is at most so long: nobody's leave is longer, and counters have an end.
pub const LONGEST: Span = Span::days(366);

/// What a hint says. The order is that of all tables of kinds; the names are those of files, bus and command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// The badge was read at the door.
    Badge,
    /// The VPN was dialed.
    Vpn,
    /// The identity provider saw a sign-in.
    SignIn,
    /// The thin client was switched on.
    ThinClient,
    /// A colleague asked for this desktop, or asked its user in.
    ColleagueBooking,
    /// The user is on leave.
    Leave,
    /// Nobody works.
    Holiday,
    /// The desktop is being worked on.
    Maintenance,
    /// The user has a shift.
    Shift,
    /// The user booked the desktop.
    Booking,
    /// Declared working hours.
    Hours,
}

/// Kinds that are events.
pub(crate) const EVENTS: usize = 5;
/// Kinds that are statements about a time.
pub(crate) const STATEMENTS: usize = 6;

impl Kind {
    /// All of them.
    pub const ALL: [Kind; EVENTS + STATEMENTS] = [
        Kind::Badge,
        Kind::Vpn,
        Kind::SignIn,
        Kind::ThinClient,
        Kind::ColleagueBooking,
        Kind::Leave,
        Kind::Holiday,
        Kind::Maintenance,
        Kind::Shift,
        Kind::Booking,
        Kind::Hours,
    ];

    /// `badge`, `vpn`, ...
    pub const fn as_str(self) -> &'static str {
        match self {
            Kind::Badge => "badge",
            Kind::Vpn => "vpn",
            Kind::SignIn => "sign-in",
            Kind::ThinClient => "thin-client",
            Kind::ColleagueBooking => "colleague-booking",
            Kind::Leave => "leave",
            Kind::Holiday => "holiday",
            Kind::Maintenance => "maintenance",
            Kind::Shift => "shift",
            Kind::Booking => "booking",
            Kind::Hours => "hours",
        }
    }

    /// Whether it says that somebody is near now; else it speaks of a time.
    pub const fn is_event(self) -> bool {
        (self as usize) < EVENTS
    }

    /// Place among the statements.
    pub(crate) const fn statement(self) -> Option<usize> {
        (self as usize).checked_sub(EVENTS)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A word that is no kind of hint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no kind of hint; there are: {all}", all = Kind::ALL.map(Kind::as_str).join(", "))]
pub struct BadKind(String);

impl FromStr for Kind {
    type Err = BadKind;

    fn from_str(text: &str) -> Result<Self, BadKind> {
        let found = Kind::ALL.into_iter().find(|kind| kind.as_str() == text);
        found.ok_or_else(|| BadKind(text.chars().take(40).collect()))
    }
}

/// Something that was told of one subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Hint {
    /// Since when it is known.
    pub told: Time,
    /// What it says.
    pub kind: Kind,
    /// From when it is true; of an event the instant at which it was told.
    pub from: Time,
    /// Until when it is true; of a statement that was taken back its beginning.
    pub until: Time,
}

/// A hint whose times make no sense.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadHint {
    /// Ends before it begins.
    #[error("it ends ({until}) before it begins ({from})")]
    EndsBeforeStart {
        /// Its beginning.
        from: Time,
        /// Its end.
        until: Time,
    },
    /// Longer than anything that is believed.
    #[error("it lasts {0}, longer than {LONGEST}")]
    Long(Span),
    /// An event that is to come.
    #[error("{0} is an event: it counts from the instant at which it is told, and has no other beginning")]
    EventToCome(Kind),
}

impl Hint {
    /// An event: something happened now.
    ///
    /// # Errors
    /// Its end lies before it, or too far ahead.
    pub fn event(kind: Kind, told: Time, until: Option<Time>) -> Result<Self, BadHint> {
        Self::new(kind, told, None, until)
    }

    /// A hint that was told at `told`. Without `from` it is true from then on; without `until` an event counts for twelve hours, and a
    /// statement to the end of 24 hours.
    ///
    /// # Errors
    /// Its end lies before its beginning, or too far from it; or an event is to begin at another time.
    pub fn new(kind: Kind, told: Time, from: Option<Time>, until: Option<Time>) -> Result<Self, BadHint> {
        if kind.is_event() && from.is_some_and(|from| from != told) {
            return Err(BadHint::EventToCome(kind));
        }
        let from = from.unwrap_or(told);
        let until = until.unwrap_or(from + if kind.is_event() { EVENT_COUNTS } else { Span::days(1) });
        if until < from {
            return Err(BadHint::EndsBeforeStart { from, until });
        }
        if until - from > LONGEST {
            return Err(BadHint::Long(until - from));
        }
        Ok(Self { told, kind, from, until })
    }

    /// From when on it matters. Until then nobody needs to remember it.
    pub fn due(&self) -> Time {
        if self.kind.is_event() { self.told } else { self.told.max(self.from - MATTERS_BEFORE) }
    }

    /// Whether it was news when it became due, so that whoever waits for a forecast wants a new one.
    pub(crate) fn is_news(&self) -> bool {
        self.due() == self.told
    }

    /// The same on another clock.
    pub(crate) fn moved(&self, by: Span) -> Self {
        Self { told: self.told + by, kind: self.kind, from: self.from + by, until: self.until + by }
    }
}

/// A line of a file of hints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Of whom; none: of everybody.
    pub subject: Option<UserName>,
    /// What.
    pub hint: Hint,
    /// Offset from UTC of the subject's wall clock when it was told; none where the file says `Z`. It matters on the day after the clocks
    /// change, as long as nothing else says that the subject's clock has.
    pub offset: Option<Offset>,
}

/// Why a line of a file of hints cannot be used.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum BadHintRow {
    /// Not the header.
    #[error("the first line must be `{HEADER}`, not {0:?}")]
    Header(String),
    /// Too few columns.
    #[error("{0} columns where 5 are needed: {HEADER}")]
    Columns(usize),
    /// The subject.
    #[error(transparent)]
    Name(#[from] BadId),
    /// The kind.
    #[error(transparent)]
    Kind(#[from] BadKind),
    /// A time cannot be read.
    #[error(transparent)]
    Time(#[from] BadRow),
    /// The times do not fit together.
    #[error(transparent)]
    Hint(#[from] BadHint),
}

/// Checks the first line of a file of hints.
///
/// # Errors
/// It is not [`HEADER`] (a byte order mark before it and columns after it are accepted).
pub fn check_header(line: &str) -> Result<(), BadHintRow> {
    if trace::is_header(line, HEADER) {
        Ok(())
    } else {
        Err(BadHintRow::Header(line.trim().chars().take(80).collect()))
    }
}

/// Reads one line after the header. `told` is needed; of an event `from` is empty or the same, and `until` may be empty.
///
/// # Errors
/// Says which column is wrong and why; the caller adds file and line.
pub fn parse_row(line: &str) -> Result<Row, BadHintRow> {
    let columns: Vec<&str> = line.trim_end_matches(['\r', '\n']).split(',').map(str::trim).collect();
    let [subject, kind, told, from, until, ..] = columns[..] else {
        return Err(BadHintRow::Columns(columns.len()));
    };
    let subject = if subject == EVERYBODY { None } else { Some(UserName::new(subject)?) };
    let (zulu, (told, offset)) = (told.ends_with(['Z', 'z']), trace::parse_time("told", told)?);
    let time = |column, text: &str| -> Result<Option<Time>, BadRow> {
        if text.is_empty() { Ok(None) } else { trace::parse_time(column, text).map(|(time, _)| Some(time)) }
    };
    let hint = Hint::new(kind.parse()?, told, time("from", from)?, time("until", until)?)?;
    Ok(Row { subject, hint, offset: (!zulu).then_some(offset) })
}

/// Writes one row, as [`parse_row`] reads it.
pub fn format_row(row: &Row) -> String {
    let Hint { told, kind, from, until } = row.hint;
    let subject = row.subject.as_ref().map_or(EVERYBODY, |subject| subject.as_str());
    let time = |time: Time| row.offset.map_or_else(|| time.to_string(), |offset| time.rfc3339(offset));
    format!("{subject},{kind},{},{},{}", time(told), time(from), time(until))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(line: &str) -> String {
        parse_row(line).unwrap_err().to_string()
    }

    #[test]
    fn a_row_is_read_and_written_back() {
        let line = "u01,leave,2010-03-01T12:00:00+01:00,2010-03-29T00:00:00+01:00,2010-04-02T00:00:00+01:00";
        let row = parse_row(line).unwrap();
        assert_eq!(format_row(&row), line);
        assert_eq!(row.hint.due().to_string(), "2010-03-26T23:00:00Z", "two days before it begins");
        assert!(!row.hint.is_news());
        let badge = parse_row("*,badge,2010-03-01T08:00:00Z,,").unwrap();
        assert_eq!((badge.subject, badge.hint.until - badge.hint.from), (None, EVENT_COUNTS));
        assert!(badge.hint.is_news());
    }

    #[test]
    fn every_refusal_says_what_is_wrong() {
        assert!(error("u,tea,2010-03-01T12:00:00Z,,").starts_with("\"tea\" is no kind of hint; there are: badge, vpn"));
        assert!(error("u,leave,2010-03-01T12:00:00,,").starts_with("told \"2010-03-01T12:00:00\""));
        assert!(error("u,leave,2010-03-01T12:00:00Z,,soon").starts_with("until \"soon\""));
        assert!(error("u,leave,2010-03-01T12:00:00Z").starts_with("3 columns where 5"));
        let early = "u,shift,2010-03-01T12:00:00Z,2010-03-02T12:00:00Z,2010-03-02T11:00:00Z";
        assert!(error(early).starts_with("it ends (2010-03-02T11:00:00Z) before it begins"));
        assert!(error("u,leave,2010-03-01T12:00:00Z,,2012-03-02T11:00:00Z").contains("longer than"));
        assert!(error("u,badge,2010-03-01T12:00:00Z,2010-03-02T12:00:00Z,").starts_with("badge is an event"));
        assert!(error(",badge,2010-03-01T12:00:00Z,,").starts_with("user name \"\""));
        assert!(check_header("user,kind").unwrap_err().to_string().contains(HEADER));
        assert!(check_header("\u{feff}subject,kind,told,from,until\r").is_ok());
    }
}
