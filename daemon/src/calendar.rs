//! Calendars of the configuration: which files there are, which changed, and what they state about the days around now.
//!
//! A file that cannot be used is named, with the line or the event; its last good reading stays in force. Deliberately not here: what a
//! file's text means (`ics`), whose desktop is meant, and what is done with it.

mod ics;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use headstart_core::hint::MATTERS_BEFORE;
use headstart_core::observed::Problem;
use headstart_core::unit::{Span, Time};

use crate::config::{Calendar, Whose};

/// A calendar that is larger is refused: nobody's leave fills eight megabytes, and reading it must not hold up others.
const LARGEST: u64 = 8 << 20;
/// Files in one folder.
const MOST_FILES: usize = 5000;
/// So far ahead a file is read; before half of that is over it is read again.
const AHEAD: Span = Span::days(40);

/// A time of which a calendar states something.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stated {
    /// Place of the calendar among those of the configuration.
    pub calendar: usize,
    /// Whom a file of a calendar by file names speaks of.
    pub name: Option<String>,
    /// From when.
    pub from: Time,
    /// Until when.
    pub until: Time,
}

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CalendarError {
    /// It cannot be read.
    #[error("it cannot be read")]
    Read(#[from] io::Error),
    /// It is too large.
    #[error("it has {0} bytes, and at most {LARGEST} are read: split it, or leave old events out")]
    Large(u64),
    /// There are too many.
    #[error("it holds more than {MOST_FILES} calendars")]
    Many,
    /// What it says.
    #[error(transparent)]
    Text(#[from] ics::BadCalendar),
}

/// One file, as it was read last.
#[derive(Clone, Debug, Default)]
struct File {
    /// What it looked like then.
    stamp: Option<(SystemTime, u64)>,
    /// Until when what it states was found.
    until: Time,
    /// What it stated when it could be read last.
    good: Vec<(Time, Time)>,
    problem: Option<String>,
}

/// What all calendars state, and what is wrong with them.
#[derive(Debug, Default)]
pub struct Reading {
    /// Times that are not over, and begin before long.
    pub stated: Vec<Stated>,
    /// Files that could not be used.
    pub problems: Vec<Problem>,
}

/// Reads calendars again and again. Blocks: for a worker thread.
#[derive(Clone, Debug)]
pub struct Reader {
    calendars: Vec<Calendar>,
    /// IANA name of the zone of times that name none.
    zone: String,
    files: BTreeMap<(usize, PathBuf), File>,
}

impl Reader {
    /// A reader that has read nothing yet.
    pub fn new(calendars: Vec<Calendar>, zone: &str) -> Self {
        Self { calendars, zone: zone.to_owned(), files: BTreeMap::new() }
    }

    /// The calendars, as configured.
    pub fn calendars(&self) -> &[Calendar] {
        &self.calendars
    }

    /// Reads what changed.
    pub fn read(&mut self, now: Time) -> Reading {
        let mut reading = Reading::default();
        let mut seen = Vec::new();
        for at in 0..self.calendars.len() {
            let path = self.calendars[at].path.clone();
            match files(&path) {
                Ok(paths) => seen.extend(paths.into_iter().map(|path| (at, path))),
                Err(error) => {
                    let text = words(&error);
                    reading.problems.push(Problem { object: path.display().to_string(), text });
                    // What cannot be listed is not gone.
                    seen.extend(self.files.keys().filter(|(of, _)| *of == at).cloned());
                }
            }
        }
        self.files.retain(|key, _| seen.contains(key));
        for key in seen {
            let file = self.files.entry(key.clone()).or_default();
            file.read_again(&key.1, &self.zone, now);
            if let Some(problem) = &file.problem {
                let text = format!("{problem}; its last good reading stays in force");
                reading.problems.push(Problem { object: key.1.display().to_string(), text });
            }
            let name = match self.calendars[key.0].whose {
                Whose::FileName => key.1.file_stem().map(|name| name.to_string_lossy().into_owned()),
                _ => None,
            };
            let near = file.good.iter().filter(|(from, until)| *until > now && *from < now + MATTERS_BEFORE);
            reading.stated.extend(near.map(|(from, until)| Stated {
                calendar: key.0,
                name: name.clone(),
                from: *from,
                until: *until,
            }));
        }
        reading.stated.sort();
        reading.stated.dedup();
        reading
    }
}

impl File {
    fn read_again(&mut self, path: &Path, zone: &str, now: Time) {
        let stamp = std::fs::metadata(path).and_then(|metadata| Ok((metadata.modified()?, metadata.len())));
        let stamp = stamp.ok();
        let fresh = now + Span::seconds(AHEAD.as_seconds() / 2) < self.until;
        if stamp.is_some() && stamp == self.stamp && fresh {
            return;
        }
        (self.stamp, self.until) = (stamp, now + AHEAD);
        match text(path).and_then(|text| Ok(ics::stated(&text, zone, now, now + AHEAD)?)) {
            Ok(good) => (self.good, self.problem) = (good, None),
            Err(error) => self.problem = Some(words(&error)),
        }
    }
}

fn words(error: &CalendarError) -> String {
    match std::error::Error::source(error) {
        Some(source) if matches!(error, CalendarError::Read(_)) => format!("{error}: {source}"),
        _ => error.to_string(),
    }
}

/// The calendars of a path: itself, or those of a folder, by name.
fn files(path: &Path) -> Result<Vec<PathBuf>, CalendarError> {
    if !std::fs::metadata(path)?.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in std::fs::read_dir(path)? {
        let file = entry?.path();
        let hidden = file.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if !hidden && file.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("ics")) {
            files.push(file);
        }
        if files.len() > MOST_FILES {
            return Err(CalendarError::Many);
        }
    }
    files.sort();
    Ok(files)
}

fn text(path: &Path) -> Result<String, CalendarError> {
    let size = std::fs::metadata(path)?.len();
    if size > LARGEST {
        return Err(CalendarError::Large(size));
    }
    Ok(String::from_utf8_lossy(&std::fs::read(path)?).into_owned())
}

#[cfg(test)]
mod tests {
    use headstart_core::hint::Kind;

    use super::*;

    const NOW: i64 = 1_793_606_400; // 2026-11-02T08:00:00Z, a Monday

    fn event(day: u8) -> String {
        format!(
            "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nBEGIN:VEVENT\r\nUID:{day}\r\nDTSTART;VALUE=DATE:202611{day:02}\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"
        )
    }

    fn reader(path: &Path, whose: Whose) -> Reader {
        Reader::new(vec![Calendar { path: path.to_owned(), kind: Kind::Leave, whose }], "Europe/Berlin")
    }

    #[test]
    fn a_folder_speaks_of_those_its_files_are_named_after() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("ada.ics"), event(3)).unwrap();
        std::fs::write(folder.path().join("bob.ICS"), event(20)).unwrap();
        std::fs::write(folder.path().join(".bob.ics.swp"), "no calendar").unwrap();
        let mut reader = reader(folder.path(), Whose::FileName);
        let reading = reader.read(Time::from_unix(NOW));
        assert_eq!(reading.problems, []);
        let [stated] = &reading.stated[..] else { panic!("{reading:?}") };
        assert_eq!(stated.name.as_deref(), Some("ada"));
        assert_eq!(stated.from.to_string(), "2026-11-02T23:00:00Z", "midnight in Berlin");
        assert_eq!(stated.until - stated.from, Span::days(1));
        let later = reader.read(Time::from_unix(NOW) + Span::days(17));
        assert_eq!(later.stated.iter().map(|stated| stated.name.as_deref()).collect::<Vec<_>>(), [Some("bob")]);
    }

    #[test]
    fn what_changes_is_read_again_and_what_spoils_stays_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("holidays.ics");
        std::fs::write(&file, event(3)).unwrap();
        let mut reader = reader(&file, Whose::All);
        let now = Time::from_unix(NOW);
        let good = reader.read(now).stated;
        assert_eq!(good.len(), 1);
        std::fs::write(&file, "BEGIN:VCALENDAR\r\nnonsense\r\n").unwrap();
        let spoilt = reader.read(now);
        assert_eq!(spoilt.stated, good);
        let [problem] = &spoilt.problems[..] else { panic!("{spoilt:?}") };
        assert!(problem.object.ends_with("holidays.ics"), "{problem}");
        assert!(problem.text.ends_with("its last good reading stays in force"), "{problem}");
        std::fs::write(&file, event(4) + "\r\n").unwrap();
        let mended = reader.read(now);
        assert_eq!((mended.problems.len(), mended.stated.len()), (0, 1));
        assert_ne!(mended.stated, good);
        std::fs::remove_file(&file).unwrap();
        let gone = reader.read(now);
        assert!(gone.problems[0].text.starts_with("it cannot be read: No such file"), "{gone:?}");
        assert_eq!(gone.stated, mended.stated, "a share that is away for an hour is no end of all leave");
    }

    #[test]
    fn a_file_that_is_too_large_is_refused_unread() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("large.ics");
        std::fs::File::create(&file).unwrap().set_len(10 << 20).unwrap();
        let reading = reader(&file, Whose::All).read(Time::from_unix(NOW));
        assert!(reading.problems[0].text.starts_with("it has 10485760 bytes, and at most 8388608"), "{reading:?}");
    }
}
