//! Configuration: TOML files, merged in the order of their places, checked, and turned into core types.
//!
//! Three stages, each with its own type: a `fragment` is what one file says, with the place of every value; fragments are
//! merged, the later one winning; [`Config`] is the checked whole with every default filled in. Nothing here decides
//! anything, and nothing else in the program knows TOML.

mod document;
pub(crate) mod duration;
mod fragment;
mod gpu;
pub mod simulation;
mod value;
mod write;

use std::fmt;
use std::path::{Path, PathBuf};

use headstart_core::desktop::{NamePattern, Rule};
use headstart_core::hint::Kind;
use headstart_core::id::{PoolName, UserName};
use headstart_core::policy::Policy;
use headstart_core::unit::Span;
use jiff::civil;
use jiff::tz::TimeZone;

use self::document::Problem;
use self::fragment::Fragment;

pub(crate) use self::document::suggest;
pub(crate) use self::fragment::LONGEST_LEAD;
pub use self::gpu::{GpuEntry, ProfileEntry, Select};
use crate::status::Mode;

/// Folders that hold `headstart.toml` and `headstart.toml.d/*.toml`, each overriding the ones before it.
const FOLDERS: [&str; 3] = ["usr/lib/headstart", "run/headstart", "etc/headstart"];

/// The checked configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Whether decisions are carried out.
    pub mode: Mode,
    /// Where the past is kept and for how long.
    pub history: History,
    /// Whose clock, and when to learn anew.
    pub forecast: Forecast,
    /// The planner's settings.
    pub policy: Policy,
    /// At least so often the host is looked at, also when nothing woke the daemon.
    pub poll: Span,
    /// What the `[[desktop]]` entries say, in the order of the files: of each setting the last fitting rule that has it wins.
    pub desktop_rules: Vec<Rule>,
    /// GPUs the administrator gave to headstart, in the order of the files; of two entries about the same GPUs the last is left.
    pub gpus: Vec<GpuEntry>,
    /// Calendars, in the order of the files; of two entries about the same path and kind the last is left.
    pub calendars: Vec<Calendar>,
    /// Where libvirt is.
    pub libvirt_uri: String,
    /// The files it came from, in the order they were read.
    pub files: Vec<PathBuf>,
}

/// An entry `[[calendar]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Calendar {
    /// A file, or a folder of files whose names end in `.ics`.
    pub path: PathBuf,
    /// What its events are; never an event of somebody's coming.
    pub kind: Kind,
    /// Whom they speak of.
    pub whose: Whose,
}

/// Whom a calendar speaks of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whose {
    /// Everybody.
    All,
    /// The users of the desktops whose names fit.
    Desktops(NamePattern),
    /// This user, at whichever desktops are theirs.
    User(UserName),
    /// Whoever uses this pool.
    Pool(PoolName),
    /// The user or the desktop after whom the file is named.
    FileName,
}

/// Section `[history]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct History {
    /// The database.
    pub path: PathBuf,
    /// Older rows are deleted.
    pub retention: Span,
}

/// Section `[forecast]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Forecast {
    /// Zone of the users whose desktop names no other.
    pub time_zone: Zone,
    /// When the model is trained anew each day, in that zone.
    pub refit_at: civil::Time,
}

/// A time zone that kept its name.
#[derive(Clone, Debug, PartialEq)]
pub struct Zone {
    name: String,
    rules: TimeZone,
}

impl Zone {
    /// A zone of the IANA database, or `system`: the zone of this host.
    ///
    /// # Errors
    /// The database does not know it.
    pub fn new(name: &str) -> Result<Self, jiff::Error> {
        let rules = if name == "system" { TimeZone::system() } else { TimeZone::get(name)? };
        Ok(Self { name: name.to_owned(), rules })
    }

    /// As written in the configuration.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its offsets and their changes.
    pub fn rules(&self) -> &TimeZone {
        &self.rules
    }
}

/// Everything that is wrong with the configuration, a line each: file, line, column, what was expected, what was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors(Vec<Problem>);

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let texts: Vec<&str> = self.0.iter().map(|problem| problem.0.as_str()).collect();
        f.write_str(&texts.join("\n"))
    }
}

impl std::error::Error for ConfigErrors {}

impl Default for Config {
    fn default() -> Self {
        Self {
            mode: Mode::Shadow,
            history: History { path: crate::store::DEFAULT_PATH.into(), retention: Span::days(400) },
            forecast: Forecast {
                time_zone: Zone { name: "system".to_owned(), rules: TimeZone::system() },
                refit_at: civil::time(3, 0, 0, 0),
            },
            policy: Policy::default(),
            poll: Span::seconds(30),
            desktop_rules: Vec::new(),
            gpus: Vec::new(),
            calendars: Vec::new(),
            libvirt_uri: "qemu:///system".to_owned(),
            files: Vec::new(),
        }
    }
}

impl Config {
    /// Reads the files of the system: `headstart.toml`, then `headstart.toml.d/*.toml` by name, in `/usr/lib/headstart`,
    /// `/run/headstart` and `/etc/headstart`, below `root` (`/` but in tests). Later files win key by key. Files that are
    /// not there are left out.
    ///
    /// # Errors
    /// All mistakes of all files.
    pub fn load(root: &Path) -> Result<Self, ConfigErrors> {
        let mut files = Vec::new();
        let mut problems = Vec::new();
        for folder in FOLDERS {
            let folder = root.join(folder);
            files.push(folder.join("headstart.toml"));
            match drop_ins(&folder.join("headstart.toml.d")) {
                Ok(found) => files.extend(found),
                Err(problem) => problems.push(problem),
            }
        }
        files.retain(|file| file.symlink_metadata().is_ok());
        Self::read(files, problems)
    }

    /// Reads this file in place of all others.
    ///
    /// # Errors
    /// All its mistakes, or that it cannot be read.
    pub fn load_file(file: &Path) -> Result<Self, ConfigErrors> {
        Self::read(vec![file.to_owned()], Vec::new())
    }

    /// The configuration as one file, with every default: what `--check-config` prints.
    pub fn to_toml(&self) -> String {
        write::to_toml(self)
    }

    fn read(files: Vec<PathBuf>, mut problems: Vec<Problem>) -> Result<Self, ConfigErrors> {
        let mut merged = Fragment::default();
        for file in &files {
            match std::fs::read_to_string(file) {
                Ok(text) => merged.merge(Fragment::parse(file, &text, &mut problems)),
                Err(error) => problems.push(Problem(format!("{}: cannot be read: {error}", file.display()))),
            }
        }
        let config = merged.validate(files, &mut problems);
        if problems.is_empty() { Ok(config) } else { Err(ConfigErrors(problems)) }
    }
}

/// `*.toml` of a folder by name; hidden files are an editor's.
fn drop_ins(folder: &Path) -> Result<Vec<PathBuf>, Problem> {
    let cannot = |error: std::io::Error| Problem(format!("{}: cannot be read: {error}", folder.display()));
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(cannot(error)),
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.map_err(cannot)?.path();
        let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if !hidden && path.extension().is_some_and(|extension| extension == "toml") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests;
