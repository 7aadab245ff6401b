//! `headstart import` and `export`: the file is opened here, with the caller's rights, and passed to the daemon.

use std::collections::HashMap;
use std::fs::File;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::ValueEnum;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::Serialize;
use zbus::wire::{OwnedVariant, Variant};

use crate::client::{CallError, Client};
use crate::screen::Screen;
use crate::snapshot::Properties;

/// Give headstart past sessions to learn from.
#[derive(Debug, clap::Args)]
pub(crate) struct Import {
    /// Sessions as CSV (user,vm,start,end; plain or gzip), or a host's wtmp
    file: PathBuf,
    /// Leave out bad rows; without it one bad row refuses the file
    #[arg(long)]
    skip_bad: bool,
    /// What the file is; told by its content if absent
    #[arg(long, value_enum)]
    format: Option<Format>,
}

/// What a file is.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    /// user,vm,start,end
    Csv,
    /// Login records of a host
    Wtmp,
}

/// Write the sessions of the history as CSV.
#[derive(Debug, clap::Args)]
pub(crate) struct Export {
    /// Where to; - is standard output
    #[arg(default_value = "-")]
    file: PathBuf,
    /// Only sessions that began at or after this day (2026-01-31, midnight here) or time (2026-01-31T08:00:00+01:00)
    #[arg(long, value_parser = parse_since)]
    since: Option<i64>,
}

/// The JSON of an import.
#[derive(Serialize)]
struct Imported {
    sessions: u64,
    duplicates: u64,
    bad: u64,
    problems: Vec<String>,
}

impl Import {
    /// Passes the file and shows what became of it.
    pub(crate) async fn run(&self, client: &Client, screen: &Screen) -> anyhow::Result<()> {
        let name = self.file.display().to_string();
        let file = File::open(&self.file).with_context(|| format!("cannot read {name}"))?;
        let mut options: HashMap<&str, Variant<'_>> = HashMap::from([("skip-bad", self.skip_bad.into())]);
        if let Some(format) = self.format {
            options.insert("format", if matches!(format, Format::Csv) { "csv" } else { "wtmp" }.into());
        }
        let body = (zbus::Fd::from(file.as_fd()), &name, options);
        let reply: HashMap<String, OwnedVariant> = client.call_patiently("Import", &body).await?;
        let imported = read(Properties(reply)).map_err(CallError::Strange)?;
        if screen.json {
            return screen.put_json(&imported);
        }
        let mut text = format!("{name}: {} sessions imported", imported.sessions);
        for (n, what) in [(imported.duplicates, "were there already"), (imported.bad, "bad rows left out")] {
            if n > 0 {
                text = format!("{text}, {n} {what}");
            }
        }
        text.push('\n');
        for problem in imported.problems {
            text = format!("{text}  {problem}\n");
        }
        screen.put(&text)
    }
}

fn read(mut reply: Properties) -> zbus::Result<Imported> {
    Ok(Imported {
        sessions: reply.take("sessions")?,
        duplicates: reply.take("duplicates")?,
        bad: reply.take("bad")?,
        problems: reply.take("problems")?,
    })
}

impl Export {
    /// Passes the file to be written.
    pub(crate) async fn run(&self, client: &Client, screen: &Screen) -> anyhow::Result<()> {
        let mut options: HashMap<&str, Variant<'_>> = HashMap::new();
        if let Some(since) = self.since {
            options.insert("since", since.into());
        }
        if self.file == Path::new("-") {
            let stdout = std::io::stdout();
            let _: u64 = client.call_patiently("Export", &(zbus::Fd::from(stdout.as_fd()), options)).await?;
            return Ok(());
        }
        let name = self.file.display().to_string();
        let file = File::create(&self.file).with_context(|| format!("cannot write {name}"))?;
        let sessions: u64 = client.call_patiently("Export", &(zbus::Fd::from(file.as_fd()), options)).await?;
        file.sync_all().with_context(|| format!("cannot write {name}"))?;
        if screen.json {
            return screen.put_json(&serde_json::json!({ "file": name, "sessions": sessions }));
        }
        screen.put(&format!("{name}: {sessions} sessions exported\n"))
    }
}

/// A day or a time, as seconds since 1970.
fn parse_since(text: &str) -> Result<i64, String> {
    if let Ok(time) = text.parse::<jiff::Timestamp>() {
        return Ok(time.as_second());
    }
    let bad =
        || format!("{text:?} is neither a day (2026-01-31) nor a time with its offset (2026-01-31T08:00:00+01:00)");
    let day: Date = text.parse().map_err(|_| bad())?;
    if text.len() > "2026-01-31".len() {
        return Err(bad());
    }
    day.to_zoned_datetime(TimeZone::system()).map(|midnight| midnight.timestamp().as_second()).map_err(|_| bad())
}
