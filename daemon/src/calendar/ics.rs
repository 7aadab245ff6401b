//! The text of one iCalendar file (RFC 5545) → the times of its events. Recurrences, exceptions and time zones are calcard's.
//!
//! Deliberately not here: files.

use std::collections::BTreeMap;

use calcard::common::timezone::Tz;
use calcard::icalendar::dates::CalendarEvent;
use calcard::icalendar::{
    ICalendar, ICalendarComponent, ICalendarParameterName, ICalendarProperty, ICalendarStatus, ICalendarValue,
};
use calcard::{Entry, Parser};
use headstart_core::hint::LONGEST;
use headstart_core::unit::Time;

/// An event may recur so often before the time that is asked for: daily for fifty years.
const RECURRENCES: usize = 20_000;
/// And those of a file together.
const ALL_RECURRENCES: usize = 400_000;

/// Why a calendar cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadCalendar {
    /// There is none in it.
    #[error("it holds no VCALENDAR")]
    None,
    /// A line that is none of a calendar.
    #[error("line {line}: {text:?} does not belong into a calendar")]
    Line {
        /// Which.
        line: usize,
        /// Its beginning.
        text: String,
    },
    /// The file ends too early, or something ends that had not begun.
    #[error("line {line}: {what}")]
    Structure {
        /// Where that was noticed.
        line: usize,
        /// What.
        what: String,
    },
    /// An event that makes no sense.
    #[error("line {line}: event {uid:?} {what}")]
    Event {
        /// Where its `UID` is.
        line: usize,
        /// Its `UID`.
        uid: String,
        /// What is wrong with it.
        what: String,
    },
    /// The zone of the configuration.
    #[error("the zone {0:?} is not known to calendars: name one such as \"Europe/Berlin\" under [forecast]")]
    Zone(String),
}

/// The times of all events that overlap `from` to `until`, in order. `zone`: of times that name none; empty: UTC.
pub(super) fn stated(text: &str, zone: &str, from: Time, until: Time) -> Result<Vec<(Time, Time)>, BadCalendar> {
    let zone_name = if zone.is_empty() { "UTC" } else { zone };
    let zone: Tz = zone_name.parse().map_err(|()| BadCalendar::Zone(zone_name.to_owned()))?;
    let calendars = parse(text)?;
    let mut left = ALL_RECURRENCES;
    let mut times = Vec::new();
    for calendar in &calendars {
        for events in by_uid(calendar).into_values() {
            let reader = Series { text, calendar, events };
            times.extend(reader.expand(zone, from, until, &mut left)?);
        }
    }
    times.sort_unstable();
    times.dedup();
    Ok(times)
}

/// Whether lines are those of a calendar and components end as they began: calcard passes over what is not so, and a file that was cut
/// short must not take back what its lost part says.
fn check_structure(text: &str) -> Result<(), BadCalendar> {
    let mut open: Vec<&str> = Vec::new();
    for (at, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        let line_number = at + 1;
        // A line that begins with a blank goes on with the one before.
        if line.starts_with([' ', '\t']) || line.trim().is_empty() {
            continue;
        }
        let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        let rest = line.trim_start_matches(is_name);
        if rest.len() == line.len() || !rest.starts_with([':', ';']) || !rest.contains(':') {
            let shown = line.trim().chars().take(60).collect();
            return Err(BadCalendar::Line { line: line_number, text: shown });
        }
        let (name, value) = (&line[..line.len() - rest.len()], rest.trim_start_matches(':').trim());
        if name.eq_ignore_ascii_case("BEGIN") {
            open.push(value);
        } else if name.eq_ignore_ascii_case("END") {
            let begun = open.pop().unwrap_or_default();
            if !begun.eq_ignore_ascii_case(value) {
                let due = if begun.is_empty() { "nothing has begun".to_owned() } else { format!("END:{begun} is due") };
                let what = format!("END:{} where {due}", value.chars().take(40).collect::<String>());
                return Err(BadCalendar::Structure { line: line_number, what });
            }
        }
    }
    match open.last() {
        Some(begun) => {
            let begun: String = begun.chars().take(40).collect();
            let what = format!("{begun} does not end: the file is cut short");
            Err(BadCalendar::Structure { line: text.lines().count(), what })
        }
        None => Ok(()),
    }
}

fn parse(text: &str) -> Result<Vec<ICalendar>, BadCalendar> {
    check_structure(text)?;
    let mut parser = Parser::new(text);
    let mut calendars = Vec::new();
    loop {
        match parser.entry() {
            Entry::ICalendar(calendar) => calendars.push(calendar),
            Entry::Eof if calendars.is_empty() => return Err(BadCalendar::None),
            Entry::Eof => return Ok(calendars),
            Entry::InvalidLine(bad) if bad.trim().is_empty() => {}
            Entry::InvalidLine(bad) => {
                let shown = bad.trim().chars().take(60).collect();
                return Err(BadCalendar::Line { line: line_of(text, bad.trim()), text: shown });
            }
            Entry::UnterminatedComponent(what) => {
                let what = format!("{what} does not end: the file is cut short");
                return Err(BadCalendar::Structure { line: text.lines().count(), what });
            }
            Entry::UnexpectedComponentEnd { expected, found } => {
                let (found, expected) = (found.as_str().to_owned(), expected.as_str().to_owned());
                let line = line_of(text, &format!("END:{found}"));
                return Err(BadCalendar::Structure { line, what: format!("END:{found} where END:{expected} is due") });
            }
            Entry::TooManyComponents => {
                let what = "it nests too deep".to_owned();
                return Err(BadCalendar::Structure { line: text.lines().count(), what });
            }
            Entry::VCard(_) => {
                let what = "an address card, and no calendar".to_owned();
                return Err(BadCalendar::Structure { line: line_of(text, "BEGIN:VCARD"), what });
            }
            _ => {}
        }
    }
}

/// The first line with a text.
fn line_of(text: &str, what: &str) -> usize {
    let exactly = text.lines().position(|line| line.trim() == what);
    exactly.or_else(|| text.lines().position(|line| line.contains(what))).map_or(1, |at| at + 1)
}

/// Events and their exceptions, by what they are of.
fn by_uid(calendar: &ICalendar) -> BTreeMap<&str, Vec<&ICalendarComponent>> {
    let mut events: BTreeMap<&str, Vec<&ICalendarComponent>> = BTreeMap::new();
    for component in calendar.components.iter().filter(|component| component.component_type.is_event()) {
        events.entry(component.uid().unwrap_or_default()).or_default().push(component);
    }
    events
}

/// One event with its exceptions.
struct Series<'a> {
    text: &'a str,
    calendar: &'a ICalendar,
    events: Vec<&'a ICalendarComponent>,
}

impl Series<'_> {
    fn bad(&self, what: impl Into<String>) -> BadCalendar {
        let uid: String = self.events[0].uid().unwrap_or_default().chars().take(80).collect();
        let line = line_of(self.text, &format!("UID:{uid}"));
        BadCalendar::Event { line, uid, what: what.into() }
    }

    fn expand(&self, zone: Tz, from: Time, until: Time, left: &mut usize) -> Result<Vec<(Time, Time)>, BadCalendar> {
        self.check()?;
        let events = self.events.iter().filter(|event| event.status() != Some(&ICalendarStatus::Cancelled));
        let events: Vec<ICalendarComponent> = events.copied().cloned().collect();
        if events.is_empty() {
            return Ok(Vec::new());
        }
        let most = if events.iter().any(ICalendarComponent::is_recurrent) { RECURRENCES.min(*left) } else { 1 };
        let mut components: Vec<ICalendarComponent> = self.calendar.timezones().cloned().collect();
        components.extend(events);
        let found = ICalendar { components }.expand_dates(zone, most);
        if let Some(error) = found.errors.first() {
            return Err(self.bad(format!("cannot be placed in time: {:?}", error.error)));
        }
        let times: Vec<(Time, Time)> = found
            .events
            .iter()
            .map(CalendarEvent::timestamps)
            .map(|(from, until)| (Time::from_unix(from), Time::from_unix(until)))
            .collect();
        if most > 1 {
            *left -= times.len().min(*left);
            let last = times.iter().map(|(from, _)| *from).max();
            if times.len() >= most && last.is_some_and(|last| last < until) {
                return Err(
                    self.bad(format!("recurs more than {most} times before {until}: begin it later, or end it"))
                );
            }
        }
        if let Some((from, until)) = times.iter().find(|(from, until)| until < from) {
            return Err(self.bad(format!("ends ({until}) before it begins ({from})")));
        }
        if let Some((from, until)) = times.iter().find(|(from, until)| *until - *from > LONGEST) {
            return Err(self.bad(format!("lasts {}, longer than {LONGEST}", *until - *from)));
        }
        Ok(times.into_iter().filter(|(begins, ends)| *ends > from && *begins < until && ends > begins).collect())
    }

    /// What calcard lets pass.
    fn check(&self) -> Result<(), BadCalendar> {
        let zones = self.calendar.build_tz_resolver();
        for event in &self.events {
            for entry in &event.entries {
                let zone = entry.parameter(&ICalendarParameterName::Tzid).and_then(|zone| zone.as_text());
                if let Some(zone) = zone.filter(|zone| zones.resolve(zone).is_none()) {
                    return Err(
                        self.bad(format!("is in the zone {zone:?}, which has neither an IANA nor a Windows name"))
                    );
                }
            }
            let start = event.property(&ICalendarProperty::Dtstart).and_then(|start| start.values.first());
            let has_time = matches!(start, Some(ICalendarValue::PartialDateTime(start)) if start.has_time());
            let ends =
                event.has_property(&ICalendarProperty::Dtend) || event.has_property(&ICalendarProperty::Duration);
            if has_time && !ends {
                return Err(self.bad("has no end: give it a DTEND or a DURATION"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    fn at(text: &str) -> Time {
        Time::from_timestamp(text.parse().unwrap())
    }

    fn calendar(events: &[&str]) -> String {
        let event = |event: &&str| format!("BEGIN:VEVENT\r\n{event}\r\nEND:VEVENT\r\n");
        let events = events.iter().map(event).collect::<Vec<_>>().concat();
        format!("BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:test\r\n{}END:VCALENDAR\r\n", events.replace('|', "\r\n"))
    }

    /// What a calendar states about these days of 2026, in Berlin unless it says otherwise.
    fn times(text: &str, from: &str, until: &str) -> Vec<String> {
        let (from, until) = (at(&format!("2026-{from}T00:00:00Z")), at(&format!("2026-{until}T00:00:00Z")));
        let times = stated(text, "Europe/Berlin", from, until).unwrap();
        times.iter().map(|(from, until)| format!("{from} {until}").replace("2026-", "").replace(":00Z", "")).collect()
    }

    fn error(text: &str) -> String {
        stated(text, "UTC", at("2026-11-01T00:00:00Z"), at("2026-11-30T00:00:00Z")).unwrap_err().to_string()
    }

    #[test]
    fn whole_days_zones_and_times_without_one() {
        let text = calendar(&[
            "UID:1|DTSTART;VALUE=DATE:20261102|DTEND;VALUE=DATE:20261105",
            "UID:2|DTSTART;TZID=America/New_York:20261103T080000|DURATION:PT2H",
            "UID:3|DTSTART:20261104T080000Z|DTEND:20261104T093000Z",
            "UID:4|DTSTART:20261105T080000|DTEND:20261105T090000",
            "UID:5|DTSTART:20261001T080000Z|DTEND:20261001T090000Z",
            "UID:6|DTSTART:20261106T080000Z|DTEND:20261106T090000Z|STATUS:CANCELLED",
        ]);
        assert_eq!(
            times(&text, "11-01", "11-30"),
            [
                "11-01T23:00 11-04T23:00",
                "11-03T13:00 11-03T15:00",
                "11-04T08:00 11-04T09:30",
                "11-05T07:00 11-05T08:00"
            ]
        );
    }

    #[test]
    fn recurrences_keep_the_wall_clock_and_their_exceptions() {
        let text = calendar(&[
            "UID:1|DTSTART;TZID=Europe/Berlin:20260302T060000|DTEND;TZID=Europe/Berlin:20260302T140000|RRULE:FREQ=WEEKLY;BYDAY=MO|EXDATE;TZID=Europe/Berlin:20261026T060000",
            "UID:1|RECURRENCE-ID;TZID=Europe/Berlin:20261102T060000|DTSTART;TZID=Europe/Berlin:20261102T120000|DTEND;TZID=Europe/Berlin:20261102T140000",
        ]);
        // The clocks change on 25 October.
        assert_eq!(
            times(&text, "10-12", "11-12"),
            [
                "10-12T04:00 10-12T12:00",
                "10-19T04:00 10-19T12:00",
                "11-02T11:00 11-02T13:00",
                "11-09T05:00 11-09T13:00"
            ]
        );
    }

    #[test]
    fn a_zone_is_known_by_another_name() {
        let windows = ["UID:1|DTSTART;TZID=W. Europe Standard Time:20261103T080000|DURATION:PT1H"];
        assert_eq!(times(&calendar(&windows), "11-01", "11-30"), ["11-03T07:00 11-03T08:00"]);
        let text = calendar(&["UID:1|DTSTART;TZID=Our Office:20261103T080000|DTEND;TZID=Our Office:20261103T090000"]);
        let zone = "BEGIN:VTIMEZONE\r\nTZID:Our Office\r\nX-LIC-LOCATION:Europe/Berlin\r\nBEGIN:STANDARD\r\nDTSTART:19701025T030000\r\n\
                    TZOFFSETFROM:+0200\r\nTZOFFSETTO:+0100\r\nRRULE:FREQ=YEARLY;BYMONTH=10;BYDAY=-1SU\r\nEND:STANDARD\r\n\
                    BEGIN:DAYLIGHT\r\nDTSTART:19700329T020000\r\nTZOFFSETFROM:+0100\r\nTZOFFSETTO:+0200\r\n\
                    RRULE:FREQ=YEARLY;BYMONTH=3;BYDAY=-1SU\r\nEND:DAYLIGHT\r\nEND:VTIMEZONE\r\n";
        let text = text.replacen("BEGIN:VEVENT", &format!("{zone}BEGIN:VEVENT"), 1);
        assert_eq!(times(&text, "11-01", "11-30"), ["11-03T07:00 11-03T08:00"]);
    }

    #[test]
    fn what_is_wrong_is_named_by_line_and_event() {
        let one = |event: &str| error(&calendar(&["UID:good|DTSTART;VALUE=DATE:20261102", event]));
        assert_eq!(
            one("UID:a b|DTSTART:20261102T080000Z"),
            "line 9: event \"a b\" has no end: give it a DTEND or a DURATION"
        );
        assert_eq!(
            one("UID:z|DTSTART;TZID=Atlantis:20261102T080000|DURATION:PT1H"),
            "line 9: event \"z\" is in the zone \"Atlantis\", which has neither an IANA nor a Windows name"
        );
        assert_eq!(
            one("UID:e|DTSTART:20261102T080000Z|DTEND:20261102T070000Z"),
            "line 9: event \"e\" ends (2026-11-02T07:00:00Z) before it begins (2026-11-02T08:00:00Z)"
        );
        assert!(
            one("UID:n|SUMMARY:no start").starts_with("line 9: event \"n\" cannot be placed in time: MissingDtStart")
        );
        assert!(one("UID:l|DTSTART;VALUE=DATE:20261102|DTEND;VALUE=DATE:20291102").contains("event \"l\" lasts"));
        assert_eq!(error("hello\r\n"), "line 1: \"hello\" does not belong into a calendar");
        assert_eq!(error(""), "it holds no VCALENDAR");
        assert_eq!(
            error("BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\nEND:VCALENDAR\r\n"),
            "line 3: END:VCALENDAR where END:VEVENT is due"
        );
        assert_eq!(error("END:VEVENT\r\n"), "line 1: END:VEVENT where nothing has begun");
        let cut = calendar(&["UID:1|DTSTART;VALUE=DATE:20261102"]).replace("END:VCALENDAR\r\n", "");
        assert!(error(&cut).ends_with("does not end: the file is cut short"), "{}", error(&cut));
        assert!(
            stated("", "Mars/Base", Time::default(), Time::default()).unwrap_err().to_string().contains("Mars/Base")
        );
    }

    #[test]
    fn what_never_ends_is_refused_soon() {
        for rule in ["FREQ=SECONDLY", "FREQ=MINUTELY;INTERVAL=1", "FREQ=HOURLY"] {
            let began = Instant::now();
            let event = format!("UID:x|DTSTART:20100101T000000Z|DURATION:PT1S|RRULE:{rule}");
            let why = error(&calendar(&[&event]));
            assert!(why.starts_with("line 5: event \"x\" recurs more than 20000 times before 2026-11-30"), "{why}");
            assert!(began.elapsed().as_secs() < 20, "{rule} took {:?}", began.elapsed());
        }
        // The thirtieth of February never comes.
        let never = calendar(&["UID:x|DTSTART;VALUE=DATE:20100101|RRULE:FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30"]);
        let began = Instant::now();
        assert!(times(&never, "11-01", "11-30").len() <= 1);
        assert!(began.elapsed().as_secs() < 20, "{:?}", began.elapsed());
    }

    #[test]
    fn a_large_file_is_read_in_time() {
        let event =
            |n: u32| format!("UID:{n}|DTSTART:20261102T{:02}0000Z|DURATION:PT1H|SUMMARY:{}", n % 24, "x".repeat(200));
        let events: Vec<String> = (0..20_000).map(event).collect();
        let text = calendar(&events.iter().map(String::as_str).collect::<Vec<_>>());
        assert!(text.len() > 5 << 20);
        let began = Instant::now();
        assert_eq!(times(&text, "11-01", "11-30").len(), 24);
        assert!(began.elapsed().as_secs() < 20, "{:?}", began.elapsed());
    }
}
