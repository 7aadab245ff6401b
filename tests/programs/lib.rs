//! The programs that were built beside a test or benchmark, started as systemd and an administrator would start them: on a bus of
//! their own, with their log at hand, and ended with whoever started them.
//!
//! Shared by `it` and `bench`. Not here: what is asked of the programs, and what they should say.

pub mod bus;
pub mod daemon;
pub mod lines;
pub mod process;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};

/// Between two looks at a condition.
const PAUSE: Duration = Duration::from_millis(5);

/// A program that was built beside this one.
///
/// # Errors
/// It was not built.
pub fn program(name: &str) -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe()?;
    // cargo puts tests one folder deeper than programs.
    let folder = own.parent().context("a program lies in a folder")?;
    let folder = if folder.ends_with("deps") { folder.parent().unwrap_or(folder) } else { folder };
    let path = folder.join(name);
    ensure!(path.exists(), "{} is not there: `make test` and `make bench` build it before they start", path.display());
    Ok(path)
}

/// Looks until there is something to return.
///
/// # Errors
/// There was nothing by the deadline, or a look failed.
pub fn until<T>(
    what: &str,
    deadline: Duration,
    mut look: impl FnMut() -> anyhow::Result<Option<T>>,
) -> anyhow::Result<T> {
    let began = Instant::now();
    loop {
        if let Some(seen) = look()? {
            return Ok(seen);
        }
        if began.elapsed() > deadline {
            bail!("{what}: not within {deadline:?}");
        }
        std::thread::sleep(PAUSE);
    }
}
