//! What several measurements share: a scratch folder, invented logins, and histories made of them.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, ensure};
use headstart_core::unit::{Span, Time};
use headstart_tests::program;
use headstartd::store::{ImportOptions, Store};

/// First instant after the invented year, which begins on 5 January 2026 in Berlin: Tuesday, 5 January 2027, 00:00.
const YEAR_ENDS: i64 = 1_799_103_600;
/// What the default retention is: more than the year.
const RETENTION: Span = Span::days(400);

/// The scratch folder and what is in it.
pub(crate) struct Scene {
    folder: tempfile::TempDir,
}

impl Scene {
    pub(crate) fn new() -> anyhow::Result<Self> {
        Ok(Self { folder: tempfile::tempdir().context("no scratch folder")? })
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// When the invented year is over.
    pub(crate) fn year_ends() -> Time {
        Time::from_unix(YEAR_ENDS)
    }

    /// Invents the logins of so many people over so many days.
    pub(crate) fn trace(&self, users: u32, days: u32) -> anyhow::Result<PathBuf> {
        let path = self.path(&format!("{users}x{days}.csv"));
        let status = Command::new(program("headstart")?)
            .args(["generate-trace", "--users", &users.to_string(), "--days", &days.to_string(), "--out"])
            .arg(&path)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .context("headstart generate-trace cannot be started")?;
        ensure!(status.success(), "headstart generate-trace ended with {status}");
        Ok(path)
    }

    /// Imports a trace into a new history of this name. Returns its path and how many sessions it took.
    pub(crate) fn history(&self, name: &str, trace: &Path) -> anyhow::Result<(PathBuf, u64)> {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().context("the history has a folder")?)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let imported = runtime.block_on(async {
            let store = Store::open(&path, RETENTION)?;
            let report =
                store.import(File::open(trace)?, trace.display().to_string(), ImportOptions::default()).await?;
            store.close().await;
            anyhow::Ok(report.imported)
        })?;
        Ok((path, imported))
    }
}
