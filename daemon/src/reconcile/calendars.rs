//! What calendars and declared hours say that is new: told when it begins to matter, corrected when they change, taken back when it is gone from them.
//!
//! Deliberately not here: files and their form, which are [`crate::calendar`]'s.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use headstart_core::desktop::Desktop;
use headstart_core::hint::{Hint, Kind, MATTERS_BEFORE};
use headstart_core::id::{DesktopName, Subject};
use headstart_core::observed::Problem;
use headstart_core::unit::{Span, Time};

use super::chain;
use crate::calendar::{Reader, Reading, Stated};
use crate::config::{Calendar, Whose};
use crate::store::{Store, StoreError};

/// What was told and is not over: of whom, what, from when; and until when.
type Told = BTreeMap<(DesktopName, Kind, Time), Time>;

/// What was told longer ago is over.
const LONGEST: Span = headstart_core::hint::LONGEST;

/// Calendars as the loop sees them.
pub(super) struct Calendars {
    /// None while they are being read.
    reader: Option<Reader>,
    configured: Vec<Calendar>,
    next: Time,
    reading: Option<Reading>,
    told: Option<Told>,
}

/// A reading that was begun: for a worker thread.
pub(super) struct Due {
    reader: Reader,
    now: Time,
    /// Where it stands what an earlier run was told.
    history: Option<PathBuf>,
}

/// A reading that ended.
pub(super) struct Read {
    reader: Reader,
    reading: Reading,
    told: Option<Told>,
}

impl Due {
    /// Reads.
    pub(super) fn read(mut self) -> Read {
        let reading = self.reader.read(self.now);
        let told = self.history.map(|path| {
            still_told(&path, self.now).unwrap_or_else(|error| {
                tracing::warn!("what calendars said before cannot be read: {}", chain(&error));
                Told::new()
            })
        });
        Read { reader: self.reader, reading, told }
    }
}

/// What calendars told an earlier run and is not over.
fn still_told(path: &Path, now: Time) -> Result<Told, StoreError> {
    let mut told = Told::new();
    Store::stream_hints(path, now - LONGEST, |desktop, hint, calendar| {
        if calendar && hint.until > now.max(hint.from) {
            told.insert((desktop, hint.kind, hint.from), hint.until);
        } else if calendar {
            told.remove(&(desktop, hint.kind, hint.from));
        }
    })?;
    Ok(told)
}

impl Calendars {
    pub(super) fn new(reader: Reader) -> Self {
        let configured = reader.calendars().to_vec();
        Self { reader: Some(reader), configured, next: Time::default(), reading: None, told: None }
    }

    /// What could not be used when they were read last.
    pub(super) fn problems(&self) -> &[Problem] {
        self.reading.as_ref().map_or(&[], |reading| &reading.problems)
    }

    /// A reading, if it is time for one and none is under way.
    pub(super) fn due(&mut self, now: Time, poll: Span, history: &Path) -> Option<Due> {
        // Without calendars only what an earlier run told is read, once.
        if now < self.next || self.configured.is_empty() && self.told.is_some() {
            return None;
        }
        let reader = self.reader.take()?;
        self.next = now + poll;
        Some(Due { reader, now, history: self.told.is_none().then(|| history.to_owned()) })
    }

    /// A reading ended.
    pub(super) fn take(&mut self, read: Read) {
        (self.reader, self.reading) = (Some(read.reader), Some(read.reading));
        self.told = self.told.take().or(read.told);
    }

    /// What these desktops are to be told.
    pub(super) fn news<'a>(
        &mut self,
        desktops: impl Iterator<Item = &'a Desktop>,
        now: Time,
    ) -> Vec<(DesktopName, Hint)> {
        let (Some(reading), Some(told)) = (&self.reading, &mut self.told) else { return Vec::new() };
        let mut wanted = Told::new();
        let mut here = Vec::new();
        for desktop in desktops {
            here.push(&desktop.name);
            for (from, until) in declared(desktop, now) {
                wanted.insert((desktop.name.clone(), Kind::Hours, from), until);
            }
            for stated in reading.stated.iter().filter(|stated| speaks_of(stated, &self.configured, desktop)) {
                let kind = self.configured[stated.calendar].kind;
                let until = wanted.entry((desktop.name.clone(), kind, stated.from)).or_insert(stated.until);
                *until = stated.until.max(*until);
            }
        }
        here.sort();
        told.retain(|_, until| *until > now);
        let mut news = Vec::new();
        for ((name, kind, from), until) in &wanted {
            if told.get(&(name.clone(), *kind, *from)) != Some(until) {
                news.push((name.clone(), Hint { told: now, kind: *kind, from: *from, until: *until }));
            }
        }
        for (name, kind, from) in told.keys().filter(|key| !wanted.contains_key(*key)) {
            if here.binary_search(&name).is_ok() {
                news.push((name.clone(), Hint { told: now, kind: *kind, from: *from, until: *from }));
            }
        }
        told.retain(|key, _| wanted.contains_key(key) || here.binary_search(&&key.0).is_err());
        told.extend(wanted.into_iter().filter(|(_, until)| *until > now));
        news
    }
}

/// The declared hours of yesterday and the days that matter now, of those that are not over.
fn declared(desktop: &Desktop, now: Time) -> Vec<(Time, Time)> {
    let Some(hours) = &desktop.hours else { return Vec::new() };
    let Ok(timestamp) = jiff::Timestamp::from_second(now.unix()) else { return Vec::new() };
    let today = timestamp.to_zoned_datetime(desktop.time_zone.clone()).date();
    let mut times = Vec::new();
    for days in -1..=2 {
        let Ok(day) = today.checked_add(jiff::Span::new().days(days)) else { continue };
        let weekday = usize::from(day.weekday().to_monday_zero_offset().unsigned_abs());
        for (from, until) in hours.on(weekday) {
            let at = |minutes: u16| {
                let wall = day.at(0, 0, 0, 0).checked_add(jiff::Span::new().minutes(i64::from(minutes))).ok()?;
                let zoned = wall.to_zoned_datetime(desktop.time_zone.clone()).ok()?;
                Some(Time::from_timestamp(zoned.timestamp()))
            };
            times.extend(at(from).zip(at(until)).filter(|(from, until)| *until > now && *from < now + MATTERS_BEFORE));
        }
    }
    times
}

fn speaks_of(stated: &Stated, calendars: &[Calendar], desktop: &Desktop) -> bool {
    match &calendars[stated.calendar].whose {
        Whose::All => true,
        Whose::Desktops(pattern) => pattern.matches(&desktop.name),
        Whose::User(user) => desktop.user.as_ref() == Some(user),
        Whose::Pool(pool) => desktop.subject == Subject::Pool(pool.clone()),
        Whose::FileName => stated.name.as_ref().is_some_and(|name| {
            desktop.name.as_str() == name || desktop.user.as_ref().is_some_and(|user| user.as_str() == name)
        }),
    }
}

#[cfg(test)]
mod tests {
    use headstart_core::id::{DomainUuid, UserName};

    use super::*;

    const NOW: Time = Time::from_unix(1_793_606_400); // 2026-11-02T08:00:00Z

    fn at(hours: i64) -> Time {
        NOW + Span::hours(hours)
    }

    fn desktop(name: &str, user: &str) -> Desktop {
        Desktop {
            uuid: DomainUuid::new(uuid::Uuid::from_u128(name.len() as u128)),
            name: DesktopName::new(name).unwrap(),
            subject: Subject::Desktop(DesktopName::new(name).unwrap()),
            user: Some(UserName::new(user).unwrap()),
            attach: headstart_core::desktop::AttachMode::Cold,
            priority: 0,
            profiles: Vec::new(),
            time_zone: jiff::tz::TimeZone::UTC,
            lead: None,
            preallocate: true,
            hours: None,
            group: None,
            missing_gpu: headstart_core::desktop::MissingGpu::Start,
            presence: headstart_core::presence::Presence::default(),
        }
    }

    #[test]
    fn declared_hours_are_told_day_by_day() {
        let mut late = desktop("a", "ada");
        late.hours = Some("Mon-Fri 08:00-17:00, Sun 22:00-09:00".parse().unwrap());
        late.time_zone = jiff::tz::TimeZone::get("Europe/Berlin").unwrap();
        let mut calendars = Calendars::new(Reader::new(Vec::new(), "UTC"));
        (calendars.told, calendars.reading) = (Some(Told::new()), Some(Reading::default()));
        // Monday, 9:00 in Berlin: the night from Sunday is over, today goes on, and so on until Wednesday at nine.
        assert_eq!(news(&mut calendars, &[late.clone()], 0), ["a -1 8", "a 23 32", "a 47 56"]);
        assert_eq!(news(&mut calendars, &[late.clone()], 20), [""; 0]);
        assert_eq!(news(&mut calendars, &[late.clone()], 24), ["a 71 80"]);
        late.hours = None;
        assert_eq!(news(&mut calendars, &[late], 25), ["a 23 23", "a 47 47", "a 71 71"]);
    }

    fn calendars(whose: Whose) -> Calendars {
        let calendar = Calendar { path: "/nowhere".into(), kind: Kind::Leave, whose };
        let mut calendars = Calendars::new(Reader::new(vec![calendar], "UTC"));
        calendars.told = Some(Told::new());
        calendars
    }

    fn says(calendars: &mut Calendars, times: &[(i64, i64)], name: Option<&str>) {
        let stated = times.iter().map(|(from, until)| Stated {
            calendar: 0,
            name: name.map(ToOwned::to_owned),
            from: at(*from),
            until: at(*until),
        });
        calendars.reading = Some(Reading { stated: stated.collect(), problems: Vec::new() });
    }

    fn news(calendars: &mut Calendars, desktops: &[Desktop], now: i64) -> Vec<String> {
        let hours = |time: Time| (time - NOW).as_seconds() / 3600;
        let told = calendars.news(desktops.iter(), at(now));
        told.iter().map(|(name, hint)| format!("{name} {} {}", hours(hint.from), hours(hint.until))).collect()
    }

    #[test]
    fn what_is_new_is_told_once_corrected_and_taken_back() {
        let desktops = [desktop("a", "ada"), desktop("bb", "bob")];
        let mut calendars = calendars(Whose::User(UserName::new("ada").unwrap()));
        says(&mut calendars, &[(10, 20), (30, 40)], None);
        assert_eq!(news(&mut calendars, &desktops, 0), ["a 10 20", "a 30 40"]);
        assert_eq!(news(&mut calendars, &desktops, 1), [""; 0], "once");
        says(&mut calendars, &[(10, 22)], None);
        assert_eq!(news(&mut calendars, &desktops, 2), ["a 10 22", "a 30 30"]);
        assert_eq!(news(&mut calendars, &desktops, 3), [""; 0]);
        says(&mut calendars, &[], None);
        assert_eq!(news(&mut calendars, &desktops[1..], 4), [""; 0], "who is not here is told nothing");
        assert_eq!(news(&mut calendars, &desktops, 5), ["a 10 10"]);
        says(&mut calendars, &[(6, 8)], None);
        assert_eq!(news(&mut calendars, &desktops, 6), ["a 6 8"]);
        says(&mut calendars, &[], None);
        assert_eq!(news(&mut calendars, &desktops, 9), [""; 0], "what is over is not taken back");
    }

    #[test]
    fn a_calendar_speaks_of_those_it_is_configured_for() {
        let desktops = [desktop("a", "ada"), desktop("bb", "bob")];
        for (whose, name, want) in [
            (Whose::All, None, vec!["a 1 2", "bb 1 2"]),
            (Whose::Desktops(headstart_core::desktop::NamePattern::new("b*")), None, vec!["bb 1 2"]),
            (Whose::FileName, Some("ada"), vec!["a 1 2"]),
            (Whose::FileName, Some("bb"), vec!["bb 1 2"]),
            (Whose::FileName, Some("eve"), vec![]),
            (Whose::Pool(headstart_core::id::PoolName::new("p").unwrap()), None, vec![]),
        ] {
            let mut calendars = calendars(whose.clone());
            says(&mut calendars, &[(1, 2)], name);
            assert_eq!(news(&mut calendars, &desktops, 0), want, "{whose:?}");
        }
    }

    #[tokio::test]
    async fn the_next_run_knows_what_was_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("history.db");
        let store = Store::open(&path, Span::days(400)).unwrap();
        let hint = |from, until| Hint { told: at(-1), kind: Kind::Leave, from: at(from), until: at(until) };
        let desktop = DesktopName::new("a").unwrap();
        for (hint, calendar) in
            [(hint(10, 20), true), (hint(30, 40), true), (hint(30, 30), true), (hint(50, 60), false)]
        {
            let told = Time::from_unix(hint.told.unix() + i64::from(hint.until == hint.from));
            let hint = Hint { told, ..hint };
            store.record(crate::store::Record::Told { desktop: desktop.clone(), hint, calendar });
        }
        store.close().await;
        let told = still_told(&path, at(0)).unwrap();
        assert_eq!(told.into_iter().collect::<Vec<_>>(), [((desktop, Kind::Leave, at(10)), at(20))]);
    }
}
