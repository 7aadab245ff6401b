//! What others know of the people's coming: events shortly before a login, and calendars, with misses and false ones.
//!
//! Each is drawn from what a day turned out to be, so that the sessions are the same with and without hints. Shares and times are guesses
//! with round numbers; nobody measured them. Not here: what the hints are worth, which is learned from them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::Context;
use headstart_core::hint::{Hint, Kind, Row, format_row};
use headstart_core::id::UserName;
use headstart_core::unit::{Span, Time};
use jiff::civil::Date;
use jiff::tz::{Offset, TimeZone};

use super::day::{Absence, World};
use super::instant;
use super::person::{HOUR, Kind as Work, MINUTE, Person};
use super::random::{About, Random};

/// Seconds of a day.
const DAY: f64 = 24.0 * HOUR;
/// How many days ahead holidays and working hours are known.
const LONG_AHEAD: f64 = 60.0;

/// An absence that goes on: what it is, its first day, and how many days so far.
type Away = (Absence, Date, u32);

/// Collects hints.
pub(super) struct Hints<'a> {
    seed: u64,
    zone: &'a TimeZone,
    away: Vec<Option<Away>>,
    rows: Vec<Row>,
}

/// One day of one person.
pub(super) struct Day<'a> {
    pub(super) person: &'a Person,
    pub(super) world: &'a World,
    pub(super) date: Date,
    pub(super) absence: Option<Absence>,
    /// Logins and logouts that were written, in order.
    pub(super) sessions: &'a [(Time, Time)],
}

impl<'a> Hints<'a> {
    pub(super) fn new(seed: u64, zone: &'a TimeZone, people: usize) -> Self {
        Self { seed, zone, away: vec![None; people], rows: Vec::new() }
    }

    /// A public holiday is known to all, long before.
    pub(super) fn holiday(&mut self, date: Date) -> Result<(), jiff::Error> {
        let (from, offset) = instant(date, 0.0, self.zone)?;
        let (until, _) = instant(date, DAY, self.zone)?;
        let told = from - Span::seconds((LONG_AHEAD * DAY) as i64);
        self.tell(None, Kind::Holiday, told, Some((from, until)), offset);
        Ok(())
    }

    /// What is told of one day.
    pub(super) fn day(&mut self, day: &Day) -> Result<(), jiff::Error> {
        let (midnight, offset) = instant(day.date, 0.0, self.zone)?;
        let mut random = Random::new(self.seed, About::Hints, day.person.number, day.world.number);
        self.absence(day, &mut random)?;
        self.events(day, midnight, offset, &mut random);
        let whole = (midnight, instant(day.date, DAY, self.zone)?.0);
        let came = day.sessions.first().zip(day.sessions.last()).map(|(first, last)| (first.0, last.1));
        let user = Some(user(day.person.number));
        // Who keeps a desktop in repair waits for a day on which nobody is there.
        if random.chance(if came.is_none() { 0.1 } else { 0.004 }) {
            let told = midnight - days(random.between(2.0, 9.0));
            self.tell(user.clone(), Kind::Maintenance, told, Some(whole), offset);
        }
        match day.person.kind {
            Work::Shift => {
                let start = if day.world.is_late_shift(day.person) { 14.0 } else { 6.0 } * HOUR;
                let from = midnight + seconds(start);
                if random.chance(if came.is_some() { 0.96 } else { 0.05 }) {
                    let told = midnight - days(random.between(5.0, 12.0));
                    self.tell(user, Kind::Shift, told, Some((from, from + seconds(8.0 * HOUR))), offset);
                }
            }
            Work::Researcher => {
                if let Some((first, last)) = came.filter(|_| random.chance(0.6)) {
                    let from = quarter(first - seconds(random.between(0.0, 20.0) * MINUTE));
                    let told = midnight - days(random.between(0.3, 4.0));
                    self.tell(user, Kind::Booking, told, Some((from, quarter(last) + Span::minutes(15))), offset);
                } else if random.chance(0.05) {
                    let from = midnight + seconds(random.whole(8, 15) as f64 * HOUR);
                    let told = midnight - days(random.between(0.3, 4.0));
                    self.tell(user, Kind::Booking, told, Some((from, from + Span::hours(3))), offset);
                }
            }
            Work::Office | Work::PartTime | Work::OnCall if day.person.workdays[day.world.weekday] => {
                let (mean, _) = day.person.arrival;
                let from = midnight + seconds((mean / (HOUR / 2.0)).floor() * HOUR / 2.0);
                let until = from + seconds((day.person.presence / (HOUR / 2.0)).ceil() * HOUR / 2.0);
                let told = midnight - days(LONG_AHEAD);
                self.tell(user, Kind::Hours, told, Some((from, until)), offset);
            }
            _ => {}
        }
        Ok(())
    }

    /// Whoever is away for some days says so before, or on the first day.
    fn absence(&mut self, day: &Day, random: &mut Random) -> Result<(), jiff::Error> {
        let at = day.person.number as usize;
        let going_on = self.away[at].filter(|(what, ..)| day.absence == Some(*what));
        if let Some((what, first, length)) = going_on {
            self.away[at] = Some((what, first, length + 1));
            return Ok(());
        }
        self.end_of_absence(at)?;
        self.away[at] = day.absence.map(|what| (what, day.date, 1));
        // An entry that was forgotten in the calendar, or put down for another.
        if day.absence.is_none() && random.chance(0.003) {
            let (from, offset) = instant(day.date, 0.0, self.zone)?;
            let until = instant(day.date, DAY, self.zone)?.0;
            self.tell(Some(user(day.person.number)), Kind::Leave, from - days(20.0), Some((from, until)), offset);
        }
        Ok(())
    }

    fn end_of_absence(&mut self, at: usize) -> Result<(), jiff::Error> {
        let Some((what, first, length)) = self.away[at].take() else { return Ok(()) };
        let mut random = Random::new(self.seed, About::Hints, at as u64, super::calendar::number(first) - 1_000_000);
        let (from, offset) = instant(first, 0.0, self.zone)?;
        let until = instant(first, f64::from(length) * DAY, self.zone)?.0;
        let (known, told) = match what {
            Absence::Leave => (0.93, from - days(random.between(10.0, 60.0))),
            Absence::Illness => (0.6, from + seconds(random.between(6.8, 9.0) * HOUR)),
        };
        if random.chance(known) {
            self.tell(Some(user(at as u64)), Kind::Leave, told, Some((from, until)), offset);
        }
        Ok(())
    }

    /// What doors, networks and machines see shortly before a login, and what they see for nothing.
    fn events(&mut self, day: &Day, midnight: Time, offset: Offset, random: &mut Random) {
        let at_home = random.chance(day.person.home.get(day.world.weekday).copied().unwrap_or(1.0));
        let mut tell = |kind, told| self.tell(Some(user(day.person.number)), kind, told, None, offset);
        for (n, (start, _)) in day.sessions.iter().enumerate() {
            let before = |random: &mut Random, low, high| *start - seconds(random.between(low, high) * MINUTE);
            if n == 0 && random.chance(0.9) {
                let (kind, least, most) = if at_home { (Kind::Vpn, 2.0, 8.0) } else { (Kind::Badge, 3.0, 15.0) };
                tell(kind, before(random, least, most));
            }
            if random.chance(0.75) {
                tell(Kind::SignIn, before(random, 1.2, 3.0));
            }
            if day.person.number.is_multiple_of(3) && random.chance(0.7) {
                tell(Kind::ThinClient, before(random, 1.5, 3.5));
            }
            if random.chance(0.15) {
                tell(Kind::ColleagueBooking, before(random, 20.0, 120.0));
            }
        }
        let false_ones = [
            (Kind::Badge, 0.05),
            (Kind::Vpn, 0.04),
            (Kind::SignIn, 0.06),
            (Kind::ThinClient, if day.person.number.is_multiple_of(3) { 0.03 } else { 0.0 }),
            (Kind::ColleagueBooking, 0.03),
        ];
        for (kind, share) in false_ones {
            let told = midnight + seconds(random.between(7.0, 19.0) * HOUR);
            if random.chance(share) {
                tell(kind, told);
            }
        }
    }

    fn tell(&mut self, subject: Option<UserName>, kind: Kind, told: Time, span: Option<(Time, Time)>, offset: Offset) {
        let hint = Hint::new(kind, told, span.map(|(from, _)| from), span.map(|(_, until)| until));
        // A day's worth of hints ends after it begins, and within weeks.
        self.rows.extend(hint.ok().map(|hint| Row { subject, hint, offset: Some(offset) }));
    }

    /// All of them, in the order in which they were told.
    pub(super) fn finish(mut self) -> Result<Vec<Row>, jiff::Error> {
        for at in 0..self.away.len() {
            self.end_of_absence(at)?;
        }
        self.rows.sort_by(|a, b| (a.hint, &a.subject).cmp(&(b.hint, &b.subject)));
        Ok(self.rows)
    }
}

/// Writes the statements as calendars: a folder for each kind, a file for each person, one file for all where all are meant.
pub(super) fn write_calendars(rows: &[Row], folder: &Path) -> anyhow::Result<()> {
    let mut files: BTreeMap<(Kind, Option<&UserName>), String> = BTreeMap::new();
    for (n, row) in rows.iter().enumerate().filter(|(_, row)| !row.hint.kind.is_event()) {
        let text = files.entry((row.hint.kind, row.subject.as_ref())).or_insert_with(|| {
            "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//headstart//generate-trace//EN\r\n".to_owned()
        });
        let utc = |time: Time| time.to_string().replace(['-', ':'], "");
        let Hint { told, kind, from, until } = row.hint;
        write!(
            text,
            "BEGIN:VEVENT\r\nUID:{n}@generated.invalid\r\nDTSTAMP:{}\r\nDTSTART:{}\r\nDTEND:{}\r\nSUMMARY:{kind}\r\nEND:VEVENT\r\n",
            utc(told),
            utc(from),
            utc(until)
        )
        .expect("a String takes all that is written");
    }
    for ((kind, subject), mut text) in files {
        text.push_str("END:VCALENDAR\r\n");
        let file =
            folder.join(kind.as_str()).join(format!("{}.ics", subject.map_or("all", |subject| subject.as_str())));
        let made = file.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| fs::write(&file, text));
        made.with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(())
}

/// Writes them as a file of hints.
pub(super) fn write(rows: &[Row], out: &mut impl std::io::Write) -> std::io::Result<()> {
    writeln!(out, "{}", headstart_core::hint::HEADER)?;
    rows.iter().try_for_each(|row| writeln!(out, "{}", format_row(row)))?;
    out.flush()
}

fn user(number: u64) -> UserName {
    UserName::new(format!("u{:03}", number + 1)).expect("a letter and digits are a name")
}

fn seconds(n: f64) -> Span {
    Span::seconds(n as i64)
}

fn days(n: f64) -> Span {
    seconds(n * DAY)
}

/// The quarter hour before.
fn quarter(time: Time) -> Time {
    Time::from_unix(time.unix().div_euclid(900) * 900)
}
