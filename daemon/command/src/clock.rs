//! Times for people: the wall clock of whoever reads, beside the daemon's clock, which is virtual in a simulation.

use std::fmt;

use headstart_core::unit::{Span, Time};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ZonedDateTime};
use serde::{Serialize, Serializer};

/// An instant of the daemon. In JSON it is RFC 3339 in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment(Time);

impl Moment {
    /// From seconds since 1970.
    pub(crate) const fn from_unix(seconds: i64) -> Self {
        Self(Time::from_unix(seconds))
    }

    /// Seconds since 1970.
    pub(crate) const fn unix(self) -> i64 {
        self.0.unix()
    }
}

impl Serialize for Moment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The wall clock here.
pub(crate) struct WallClock {
    zone: TimeZone,
}

impl WallClock {
    /// In this zone.
    pub(crate) fn new(zone: TimeZone) -> Self {
        Self { zone }
    }

    /// The instant on this wall.
    pub(crate) fn at(&self, moment: Moment) -> ZonedDateTime {
        let timestamp = Timestamp::from_second(moment.unix()).unwrap_or(Timestamp::UNIX_EPOCH);
        timestamp.to_zoned_datetime(self.zone.clone())
    }

    /// `Mon 2026-11-23 07:40:00 CET`.
    pub(crate) fn full(&self, moment: Moment) -> String {
        self.at(moment).strftime("%a %Y-%m-%d %H:%M:%S %Z").to_string()
    }

    /// `07:40` today, `Tue 07:40` on another day than that of `now`.
    pub(crate) fn near(&self, moment: Moment, now: Moment) -> String {
        let (at, today) = (self.at(moment), self.at(now));
        let format = if at.date() == today.date() { "%H:%M" } else { "%a %H:%M" };
        at.strftime(format).to_string()
    }
}

/// `in 25 min`, `now`, `5 min ago`.
pub(crate) fn distance(moment: Moment, now: Moment) -> String {
    let seconds = moment.unix() - now.unix();
    // Whole minutes: nobody expects a user to the second.
    let minutes = Span::seconds(seconds.unsigned_abs().cast_signed() / 60 * 60);
    match seconds {
        -59..=59 => "now".to_owned(),
        60.. => format!("in {minutes}"),
        _ => format!("{minutes} ago"),
    }
}
