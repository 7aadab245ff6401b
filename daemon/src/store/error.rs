//! Why the history cannot be used, in words that name the file and what to do.

use std::io;
use std::path::{Path, PathBuf};

use super::import::ImportReport;

/// The history cannot be opened, read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Not a database, or damaged.
    #[error(
        "the history {} is damaged ({why}); it was left as it is: move it away to begin a new one, or restore a backup",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What was found.
        why: String,
    },
    /// A database of another program.
    #[error(
        "{} is a database of another program; it was left as it is: set `path` under [history] to another file",
        path.display()
    )]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// Written by a newer headstart.
    #[error(
        "the history {} has format {found}, and this headstartd knows formats up to {known}; it was left as it is: \
         install the newer headstart again, or move the file away to begin a new one",
        path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: i64,
        /// The newest format known here.
        known: i64,
    },
    /// The file or its folder cannot be created or opened.
    #[error("the history {} cannot be opened; check the folder, its owner and the space on its disk", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The database refuses.
    #[error("the history {} cannot be {what}", path.display())]
    Sqlite {
        /// The file.
        path: PathBuf,
        /// `read` or `written`.
        what: &'static str,
        /// Why.
        source: rusqlite::Error,
    },
    /// The trace cannot be written.
    #[error("the exported trace cannot be written")]
    Output(#[source] io::Error),
    /// Asked after it was closed.
    #[error("the history {} is closed: the daemon is stopping", path.display())]
    Closed {
        /// The file.
        path: PathBuf,
    },
}

impl StoreError {
    pub(super) fn read(path: &Path, source: rusqlite::Error) -> Self {
        Self::of(path, "read", source)
    }

    pub(super) fn written(path: &Path, source: rusqlite::Error) -> Self {
        Self::of(path, "written", source)
    }

    fn of(path: &Path, what: &'static str, source: rusqlite::Error) -> Self {
        use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};
        match source.sqlite_error_code() {
            Some(DatabaseCorrupt | NotADatabase) => Self::Damaged { path: path.into(), why: source.to_string() },
            _ => Self::Sqlite { path: path.into(), what, source },
        }
    }
}

/// Nothing was imported.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// Rows that cannot be used.
    #[error("{}", bad_rows(name, report))]
    BadRows {
        /// The input.
        name: String,
        /// What was found; `imported` is 0.
        report: ImportReport,
    },
    /// The input is something else.
    #[error("{name}: {what}")]
    Format {
        /// The input.
        name: String,
        /// What it seems to be and what to do.
        what: &'static str,
    },
    /// The input cannot be read to its end.
    #[error("{name}:{line}: the input cannot be read further; nothing was imported")]
    Read {
        /// The input.
        name: String,
        /// Line or record at which it failed.
        line: u64,
        /// Why.
        source: io::Error,
    },
    /// The caller went away, or the daemon is stopping.
    #[error("{name}: the import was broken off; nothing was imported")]
    BrokenOff {
        /// The input.
        name: String,
    },
    /// The history fails.
    #[error(transparent)]
    Store(#[from] StoreError),
}

fn bad_rows(name: &str, report: &ImportReport) -> String {
    let rows = if report.bad == 1 { "row" } else { "rows" };
    let mut text = format!(
        "{name}: {} bad {rows} of {}; nothing was imported: repair them, or leave them out with --skip-bad",
        report.bad, report.read
    );
    for line in report.lines() {
        text.push_str("\n  ");
        text.push_str(&line);
    }
    text
}
