//! Invents a login trace: people with habits, so that the demo, the tests and a first look need nobody's real data.
//!
//! # What it imitates
//! * **Kinds of work**: offices with common hours, early and late shifts that alternate by week, part-timers with fixed weekdays,
//!   IT staff who are on call every fourth week, researchers who come when it suits. About 60 people in a row share teams.
//! * **Habits**: everybody has a usual arrival with their own spread and a heavier tail (dentist, deadline), a usual lunch with or
//!   without a log-out, meetings (the team's weekly one, and others on the half hour), home-office days, an earlier Friday.
//! * **Change**: arrivals drift by some minutes a month, a third of the people change their habit on some day, some join later,
//!   some leave.
//! * **Absence**: public holidays of the zone's country (`calendar` says how well), bridge days, leave of 2 to 16 days (more in
//!   summer), illness of 1 to 5 days (more in winter).
//! * **What happens to all**: on strike and snow days most people are late together.
//! * **Noise of recording**: 1.5 % of the ends are unknown.
//! * **Hints**, if they are asked for: badge or VPN before nine of ten working days, sign-ins and thin clients a minute or three before a
//!   login, colleagues' bookings, leave (and some of the illness), holidays, shift plans, bookings, declared hours, maintenance on days
//!   when nobody comes; each missing at times, and each false at times.
//!
//! # What it promises
//! The same settings give the same bytes on every machine (given the same rules of the time zone). A larger number of users or days
//! only adds to what a smaller one gives. Memory grows with the users, not with the days. Nobody has two sessions at a time.
//!
//! # What it does not do
//! It is no evidence: a forecast that is good on it may still be bad on people. It knows no sizes of GPU, no pools and no load.

mod calendar;
mod day;
mod hints;
mod person;
mod random;

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::PathBuf;

use anyhow::Context;
use headstart_core::id::{GroupName, UserName};
use headstart_core::membership;
use headstart_core::trace::HEADER;
use headstart_core::unit::Time;
use jiff::civil::Date;
use jiff::tz::{Offset, TimeZone};

use self::calendar::{Calendar, days_between};
use self::day::World;
use self::hints::Hints;
use self::person::Person;
use self::random::{About, Random};

/// Share of sessions whose end nobody recorded.
const UNKNOWN_ENDS: f64 = 0.015;

/// Time between two sessions of one person, at least: seconds.
const GAP: i64 = 60;

/// What to invent.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Settings {
    /// Another seed, other people
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// Number of people; each has one desktop of the same number
    #[arg(long, default_value_t = 40, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) users: u32,
    /// Length of the trace in days
    #[arg(long, default_value_t = 84, value_parser = clap::value_parser!(u32).range(1..=36_500))]
    pub(crate) days: u32,
    /// First day
    #[arg(long, value_name = "DATE", default_value = "2026-01-05")]
    pub(crate) start: Date,
    /// Where the people live: IANA name; decides daylight saving and public holidays
    #[arg(long, value_name = "ZONE", default_value = "Europe/Berlin", value_parser = parse_zone)]
    pub(crate) time_zone: TimeZone,
}

impl Default for Settings {
    /// What the command does without options: 40 people in Berlin for 12 weeks from Monday, 5 January 2026.
    fn default() -> Self {
        Self {
            seed: 1,
            users: 40,
            days: 84,
            start: jiff::civil::date(2026, 1, 5),
            time_zone: TimeZone::get("Europe/Berlin").unwrap_or(TimeZone::UTC),
        }
    }
}

/// `headstart generate-trace`: the options.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Arguments {
    /// What to invent.
    #[command(flatten)]
    pub(crate) settings: Settings,
    /// Where to write the trace; `-` is the standard output
    #[arg(long, value_name = "FILE", default_value = "-")]
    pub(crate) out: PathBuf,
    /// Also write what others know of the people's coming, for `backtest --hints`
    #[arg(long, value_name = "FILE")]
    pub(crate) hints: Option<PathBuf>,
    /// Also write which group each of them belongs to, for `backtest --groups`
    #[arg(long, value_name = "FILE")]
    pub(crate) groups: Option<PathBuf>,
    /// Also write leave, holidays, shifts, bookings, hours and maintenance as calendars: a folder each, a file for each user
    #[arg(long, value_name = "FOLDER")]
    pub(crate) calendars: Option<PathBuf>,
}

/// `headstart generate-trace`: writes the trace where it was asked for.
///
/// # Errors
/// The file cannot be written, or the days lie outside the calendar. A reader that closes the pipe early is not an error.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let (path, settings) = (&arguments.out, &arguments.settings);
    if let Some(path) = &arguments.groups {
        let mut text = format!("{}\n", membership::HEADER);
        for person in people(settings) {
            text.push_str(&membership::format_row(&UserName::new(person.name())?, &GroupName::new(person.group())?));
            text.push('\n');
        }
        std::fs::write(path, text).with_context(|| format!("cannot write the groups {}", path.display()))?;
    }
    let wanted = arguments.hints.is_some() || arguments.calendars.is_some();
    let mut told = wanted.then(|| Hints::new(settings.seed, &settings.time_zone, settings.users as usize));
    if path.as_os_str() == "-" {
        match generate_with(settings, &mut BufWriter::new(std::io::stdout().lock()), told.as_mut()) {
            Err(error) if is_broken_pipe(&error) => return Ok(()),
            result => result.context("cannot write the trace to the standard output")?,
        }
    } else {
        let file = File::create(path).with_context(|| format!("cannot create the trace {}", path.display()))?;
        generate_with(settings, &mut BufWriter::new(file), told.as_mut())
            .with_context(|| format!("cannot write the trace {}", path.display()))?;
    }
    let Some(told) = told else { return Ok(()) };
    let rows = told.finish().context("the hints leave the calendar")?;
    if let Some(path) = &arguments.hints {
        let file = File::create(path).with_context(|| format!("cannot create the hints {}", path.display()))?;
        hints::write(&rows, &mut BufWriter::new(file))
            .with_context(|| format!("cannot write the hints {}", path.display()))?;
    }
    arguments.calendars.as_ref().map_or(Ok(()), |folder| hints::write_calendars(&rows, folder))
}

/// The people.
fn people(settings: &Settings) -> impl Iterator<Item = Person> {
    let seed = settings.seed;
    (0..u64::from(settings.users)).map(move |number| Person::new(seed, number))
}

/// Writes a trace in the form of [`headstart_core::trace`], sorted by start.
///
/// # Errors
/// Writing failed, or the days lie outside the calendar (years -9999 to 9999).
#[cfg(test)]
pub(crate) fn generate(settings: &Settings, out: &mut impl Write) -> anyhow::Result<()> {
    generate_with(settings, out, None)
}

/// The same, and tells what others know of it.
///
/// # Errors
/// Writing failed, or the days lie outside the calendar (years -9999 to 9999).
fn generate_with(settings: &Settings, out: &mut impl Write, mut told: Option<&mut Hints>) -> anyhow::Result<()> {
    let seed = settings.seed;
    let calendar = Calendar::of_zone(settings.time_zone.iana_name());
    let people: Vec<Person> = people(settings).collect();
    let mut free_from = vec![i64::MIN; people.len()];
    let mut waiting: Vec<Session> = Vec::new();
    let first = days_between(Date::constant(1970, 1, 1), settings.start);
    let outside = || format!("{} days from {} leave the calendar", settings.days, settings.start);

    writeln!(out, "{HEADER}")?;
    for since_start in 0..i64::from(settings.days) {
        let number = first + since_start;
        let date = settings.start.checked_add(jiff::Span::new().days(since_start)).with_context(outside)?;
        let world = World::new(seed, date, number, since_start, &calendar);
        if let Some(told) = told.as_deref_mut().filter(|_| world.holiday) {
            told.holiday(date).with_context(outside)?;
        }
        let mut of_day = Vec::new();
        for (person, free_from) in people.iter().zip(&mut free_from) {
            of_day.clear();
            let mut ends = Random::new(seed, About::Day, person.number, -number - 1_000_000);
            for (start, end) in day::sessions(seed, person, &world) {
                let is_known = !ends.chance(UNKNOWN_ENDS);
                let (start, end) = (
                    instant(date, start, &settings.time_zone).with_context(outside)?,
                    instant(date, end, &settings.time_zone).with_context(outside)?,
                );
                // The night before may reach into today, and the hour that daylight saving skips may turn a session around.
                if start.0.unix() < free_from.saturating_add(GAP) || end.0.unix() < start.0.unix() + GAP {
                    continue;
                }
                *free_from = end.0.unix();
                of_day.push((start.0, end.0));
                waiting.push(Session { start, end: is_known.then_some(end), person: person.number });
            }
            if let Some(told) = told.as_deref_mut().filter(|_| day::is_employed(person, &world)) {
                let absence = day::absence(seed, person, &world);
                let day = hints::Day { person, world: &world, date, absence, sessions: &of_day };
                told.day(&day).with_context(outside)?;
            }
        }
        // Later days only begin after their midnight, so everything before it can go out in order.
        let tomorrow = instant(date, 86_400.0, &settings.time_zone).with_context(outside)?.0;
        waiting.sort_by_key(|session| (session.start.0, session.person));
        let n_ready = waiting.partition_point(|session| session.start.0 < tomorrow);
        for session in waiting.drain(..n_ready) {
            session.write(out)?;
        }
    }
    for session in waiting {
        session.write(out)?;
    }
    out.flush()?;
    Ok(())
}

/// A session, ready to be written.
struct Session {
    start: (Time, Offset),
    end: Option<(Time, Offset)>,
    person: u64,
}

impl Session {
    /// One row. `format_row` of the core writes both ends at the offset of the start; here the end has its own.
    fn write(&self, out: &mut impl Write) -> std::io::Result<()> {
        let n = self.person + 1;
        let end = self.end.map(|(time, offset)| time.rfc3339(offset)).unwrap_or_default();
        writeln!(out, "u{n:03},vm{n:03},{},{end}", self.start.0.rfc3339(self.start.1))
    }
}

/// The instant `seconds` after midnight on the wall clock of `date`. A wall clock time that daylight saving skips is read as if the
/// clocks had not changed yet; of one that happens twice, the first.
fn instant(date: Date, seconds: f64, zone: &TimeZone) -> Result<(Time, Offset), jiff::Error> {
    let wall_clock = date.at(0, 0, 0, 0).checked_add(jiff::Span::new().seconds(seconds as i64))?;
    let timestamp = zone.to_ambiguous_timestamp(wall_clock).compatible()?;
    Ok((Time::from_timestamp(timestamp), zone.to_offset(timestamp)))
}

/// A time zone by name, for the command line.
fn parse_zone(name: &str) -> Result<TimeZone, String> {
    TimeZone::get(name).map_err(|error| format!("{error}; expected an IANA name such as Europe/Berlin or UTC"))
}

/// Whether whoever reads our output stopped reading, as `head` does.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}

#[cfg(test)]
mod tests;
