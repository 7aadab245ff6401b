//! What the service needs beside the loop: the history on disk, and of the host what no round has to do with. The daemon implements
//! them; tests give their own.

use std::fs::File;
use std::pin::Pin;

use headstart_core::desktop::{Change, Settings};
use headstart_core::hint::Hint;
use headstart_core::id::DesktopName;
use headstart_core::unit::Time;

pub use crate::host::hardware::Candidate;
use crate::status::Decision;

/// An answer that is still to come; the error is text for the caller that names file, line and cause.
pub type Pending<'a, T> = Pin<Box<dyn Future<Output = Result<T, String>> + Send + 'a>>;

/// What a file to import is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// Told by its first bytes.
    #[default]
    Guess,
    /// `user,vm,start,end`, plain or gzip.
    Csv,
    /// The login records of a host.
    Wtmp,
}

/// One import.
#[derive(Debug)]
pub struct Import {
    /// A regular file, read from where its offset stands.
    pub file: File,
    /// What the caller calls it, for messages.
    pub name: String,
    /// Leave out bad rows instead of refusing the file.
    pub skip_bad: bool,
    /// What it is.
    pub format: Format,
}

/// What an import did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Imported {
    /// Sessions taken.
    pub sessions: u64,
    /// Rows that were there already.
    pub duplicates: u64,
    /// Rows left out because they are bad.
    pub bad: u64,
    /// The first of them: file, line, why.
    pub problems: Vec<String>,
}

/// The history on disk.
pub trait HistoryPort: Send + Sync {
    /// Takes the sessions of a file: all or, without `skip_bad`, none.
    fn import(&self, import: Import) -> Pending<'_, Imported>;
    /// Writes the sessions that began at or after `since` as CSV; answers how many. `file` may be a pipe whose reader is
    /// slow: whoever writes into it must not hold up the loop's own records.
    fn export(&self, file: File, since: Option<Time>) -> Pending<'_, u64>;
    /// What was told, of one desktop or all, newest first.
    fn hints(&self, desktop: Option<DesktopName>, most: u32) -> Pending<'_, Vec<(DesktopName, Hint)>>;
    /// The newest decisions, about one desktop or all, newest first.
    fn decisions(&self, desktop: Option<DesktopName>, most: u32) -> Pending<'_, Vec<Decision>>;
}

/// The host, for what no round has to do with. Domains are named, be they managed or not.
pub trait HostPort: Send + Sync {
    /// GPUs that could be given to headstart, in order of address.
    fn candidates(&self) -> Pending<'_, Vec<Candidate>>;
    /// What a domain's metadata says of it as a desktop; none if it does not opt in.
    fn settings(&self, domain: DesktopName) -> Pending<'_, Option<Settings>>;
    /// Changes what a domain's metadata says of it as a desktop, in its definition and, if it runs, at once; answers what it says now.
    fn change_settings(&self, domain: DesktopName, change: Change) -> Pending<'_, Settings>;
}
