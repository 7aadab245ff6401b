//! Learning from the history on disk: at the start, after an import, and every night.
//!
//! The model is fitted in a process of its own, at the lowest priority: its memory is gone when it ends, and whatever happens to
//! it, the daemon goes on with the model it has.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use headstart_core::desktop::Desktop;
use headstart_core::forecast::{Model, Training};
use headstart_core::history::{Clock, History};
use headstart_core::id::{DesktopName, DomainUuid, GroupName, PoolName, Subject};
use headstart_core::lead::Leads;
use headstart_core::plan::Standing;
use headstart_core::unit::{Span, Time};
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::reconcile::memory::{FORGET, LONGEST_REPORTED, Reported};
use crate::reconcile::model_file;
use crate::store::{Source, Store, StoreError, StoredSession};

/// Sessions older than this teach nothing about today.
const TAUGHT_BY: Span = Span::days(400);
/// Preparations longer ago say little about the host of today.
const LEADS_TAUGHT_BY: Span = Span::days(90);
/// A clock may have been set back by so much: hardware clocks that keep local time are, by an hour or two.
const SET_BACK: Span = Span::hours(2);
/// A session of unknown end is taken to last this long, as in the backtest.
const DEFAULT_LENGTH: Span = Span::minutes(45);
/// A fit of a thousand users and a year takes half a minute; one that takes this long hangs.
const FIT_DEADLINE: Duration = Duration::from_secs(600);

/// Who a desktop's sessions belong to: pools, groups, and desktops in another zone than the default. Sent to the fitting process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subjects {
    /// IANA name of the default zone; empty: UTC.
    pub zone: String,
    /// Desktops that belong to a pool.
    pub pools: Vec<(DesktopName, PoolName)>,
    /// Desktops whose zone is another.
    pub zones: Vec<(DesktopName, String)>,
    /// Desktops whose user belongs to a group.
    pub groups: Vec<(DesktopName, GroupName)>,
}

impl Subjects {
    /// Those of these desktops. `zone`: IANA name of the default zone; empty: UTC.
    pub fn of_desktops<'a>(
        desktops: impl IntoIterator<Item = impl std::borrow::Borrow<Desktop> + 'a>,
        zone: &str,
    ) -> Self {
        let mut subjects = Self { zone: zone.to_owned(), ..Self::default() };
        for desktop in desktops {
            let desktop = desktop.borrow();
            if let Subject::Pool(pool) = &desktop.subject {
                subjects.pools.push((desktop.name.clone(), pool.clone()));
            }
            if let Some(other) = desktop.time_zone.iana_name().filter(|other| *other != zone) {
                subjects.zones.push((desktop.name.clone(), other.to_owned()));
            }
            if let Some(group) = &desktop.group {
                subjects.groups.push((desktop.name.clone(), group.clone()));
            }
        }
        subjects.pools.sort();
        subjects.zones.sort();
        subjects.groups.sort();
        subjects
    }

    /// Whose login a session at this desktop is.
    fn of(&self, desktop: &DesktopName) -> Subject {
        match said_of(&self.pools, desktop) {
            Some(pool) => Subject::Pool(pool.clone()),
            None => Subject::Desktop(desktop.clone()),
        }
    }

    fn clock_of(&self, desktop: &DesktopName) -> Clock {
        let zone = said_of(&self.zones, desktop).unwrap_or(&self.zone);
        Clock::Zone(if zone.is_empty() { TimeZone::UTC } else { TimeZone::get(zone).unwrap_or(TimeZone::UTC) })
    }
}

/// What a list in the order of names says of a desktop.
fn said_of<'a, T>(list: &'a [(DesktopName, T)], desktop: &DesktopName) -> Option<&'a T> {
    list.binary_search_by(|(name, _)| name.cmp(desktop)).ok().map(|at| &list[at].1)
}

/// Why the model was not fitted.
#[derive(Debug, thiserror::Error)]
pub enum FitError {
    /// The history cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There is too little in it, or the solver failed.
    #[error(transparent)]
    Train(#[from] headstart_core::forecast::TrainError),
    /// The fitting process.
    #[error("the fitting process {0}")]
    Process(String),
    /// Starting it or talking to it.
    #[error("the fitting process cannot be used")]
    Io(#[from] std::io::Error),
    /// What it is told.
    #[error("the fitting process cannot be told who is who")]
    Json(#[from] serde_json::Error),
    /// What it answered.
    #[error("the model that the fitting process made cannot be used")]
    Model(#[from] model_file::ModelFileError),
}

/// Reads the history on disk into memory, up to `now`.
///
/// # Errors
/// The history cannot be read.
pub fn learn(path: &Path, subjects: &Subjects, now: Time) -> Result<History, StoreError> {
    let mut history = History::new(FORGET);
    let mut seen = BTreeSet::new();
    let mut hints = Vec::new();
    // All of them wait in memory until they are due; the sessions come one by one.
    Store::stream_hints(path, now - TAUGHT_BY, |desktop, hint, _| {
        if hint.told < now {
            hints.push((subjects.of(&desktop), hint));
        }
    })?;
    let mut hints = hints.into_iter().peekable();
    Store::stream_sessions(path, now - TAUGHT_BY, |session| {
        if session.start >= now {
            return;
        }
        let subject = subjects.of(&session.desktop);
        if seen.insert(session.desktop.clone()) {
            history.set_clock(&subject, subjects.clock_of(&session.desktop));
            history.set_group(&subject, said_of(&subjects.groups, &session.desktop));
        }
        while let Some((subject, hint)) = hints.next_if(|(_, hint)| hint.due() <= session.start) {
            history.hint(&subject, &hint);
        }
        history.advance(session.start);
        history.session_started(&subject, session.start, session.offset);
        // Who is really still logged in, the next look at the host shows.
        history.session_ended(&subject, session.end.unwrap_or(session.start + DEFAULT_LENGTH).min(now));
    })?;
    hints.for_each(|(subject, hint)| history.hint(&subject, &hint));
    history.advance(now);
    Ok(history)
}

/// How long preparations took lately.
///
/// # Errors
/// The history cannot be read.
pub fn learn_leads(path: &Path, now: Time) -> Result<Leads, StoreError> {
    let mut leads = Leads::default();
    Store::stream_preparations(path, now - LEADS_TAUGHT_BY, |desktop, took| leads.record(&desktop, took))?;
    Ok(leads)
}

/// Sessions that a broker reported to an earlier run and has not reported as ended: only the history still knows of them, and a
/// device in use is never taken.
pub fn still_reported(open: &[StoredSession], now: Time) -> BTreeMap<DesktopName, Reported> {
    let ours = open.iter().filter(|session| session.source == Source::Broker && session.start > now - LONGEST_REPORTED);
    ours.map(|session| (session.desktop.clone(), Reported { since: session.start, user: session.user.clone() }))
        .collect()
}

/// What was asked of an earlier run, and answered: whoever asked was told what to expect, and does not ask again. A clock that was set
/// back since makes no difference; what is yet to come in a simulation that begins anew was never asked.
pub fn still_wished(wishes: &BTreeMap<DomainUuid, Standing>, now: Time) -> BTreeMap<DomainUuid, Standing> {
    let asked = wishes.iter().filter(|(_, standing)| standing.since < now + SET_BACK);
    asked.map(|(domain, standing)| (*domain, Standing { since: standing.since.min(now), ..standing.clone() })).collect()
}

/// Fits the model on the history on disk before `now`. Takes seconds and much memory: for the fitting process.
///
/// # Errors
/// The history cannot be read, or is too thin.
pub fn fit_here(path: &Path, subjects: &Subjects, now: Time) -> Result<Model, FitError> {
    let mut training = Training::new(FORGET, now);
    let mut seen = BTreeSet::new();
    Store::stream_hints(path, now - TAUGHT_BY, |desktop, hint, _| {
        if hint.told < now {
            training.hint(&subjects.of(&desktop), hint, None);
        }
    })?;
    Store::stream_sessions(path, now - TAUGHT_BY, |session| {
        if session.start >= now {
            return;
        }
        let subject = subjects.of(&session.desktop);
        if seen.insert(session.desktop.clone()) {
            training.set_clock(&subject, subjects.clock_of(&session.desktop));
            training.set_group(&subject, said_of(&subjects.groups, &session.desktop));
        }
        training.session(&subject, session.start, session.end.map(|end| end.min(now)), session.offset);
    })?;
    Ok(training.finish()?)
}

/// Fits the model in a process of its own.
///
/// # Errors
/// As [`fit_here`], or the process failed or took too long.
pub async fn fit(path: PathBuf, subjects: Subjects, now: Time) -> Result<Model, FitError> {
    let mut child = tokio::process::Command::new("nice")
        .args(["-n", "19"])
        .arg(std::env::current_exe()?)
        .arg("--fit")
        .arg(&path)
        .arg("--fit-until")
        .arg(now.unix().to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let work = async {
        if let Some(mut input) = child.stdin.take() {
            input.write_all(&serde_json::to_vec(&subjects)?).await?;
        }
        let (mut model, mut complaint) = (Vec::new(), String::new());
        if let Some(output) = child.stdout.as_mut() {
            output.take(16 << 20).read_to_end(&mut model).await?;
        }
        if let Some(errors) = child.stderr.as_mut() {
            errors.take(1 << 16).read_to_string(&mut complaint).await?;
        }
        let status = child.wait().await?;
        if !status.success() {
            let why = complaint.lines().last().unwrap_or_default().to_owned();
            return Err(FitError::Process(if why.is_empty() {
                format!("ended with {status}")
            } else {
                format!("said: {why}")
            }));
        }
        Ok(model_file::decode(&model)?)
    };
    match tokio::time::timeout(FIT_DEADLINE, work).await {
        Ok(result) => result,
        Err(_) => Err(FitError::Process(format!("took longer than {} s and was ended", FIT_DEADLINE.as_secs()))),
    }
}

#[cfg(test)]
mod tests {
    use headstart_core::hint::{Hint, Kind};

    use super::*;
    use crate::store::Record;

    /// Somebody who comes on about half of the days; a badge tells which, if it is told.
    async fn history(told: bool) -> (tempfile::TempDir, PathBuf, Time) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("history.db");
        let store = Store::open(&path, Span::days(400)).unwrap();
        let name = |n: i64| DesktopName::new(format!("vm{n}")).unwrap();
        let first = Time::from_unix(1_793_577_600); // 2026-11-02T00:00:00Z, a Monday
        for (day, n) in (0..120).flat_map(|day| (0..12).map(move |n| (day, n))) {
            if (day * 7 + n * 3 + day * day) % 5 < 2 {
                continue;
            }
            let start = first + Span::days(day) + Span::minutes(480 + (day * 13 + n * 17) % 90);
            if told {
                let hint = Hint::new(Kind::Badge, start - Span::minutes(2 + (day + n) % 6), None, None).unwrap();
                store.record(Record::Told { desktop: name(n), hint, calendar: false });
            }
            let session = Record::SessionStarted {
                desktop: name(n),
                user: None,
                at: start,
                offset: None,
                source: Source::Simulated,
            };
            store.record(session);
            store.record(Record::SessionEnded { desktop: name(n), at: start + Span::hours(7) });
        }
        store.close().await;
        (folder, path, first + Span::days(120))
    }

    #[tokio::test]
    async fn past_hints_are_learned_from_and_remembered() {
        let subjects = Subjects::default();
        let subject = Subject::Desktop(DesktopName::new("vm1").unwrap());
        let (_folder, path, now) = history(true).await;
        let model = fit_here(&path, &subjects, now).unwrap();
        let mut history = learn(&path, &subjects, now).unwrap();
        let morning = now + Span::minutes(8 * 60 + 20);
        history.advance(morning);
        let chance = |history: &History| {
            headstart_core::forecast::forecast_one(history, &model, &subject, morning).rate(morning, morning).get()
        };
        let silent = chance(&history);
        history.hint(&subject, &Hint::new(Kind::Badge, morning, None, None).unwrap());
        history.advance(morning);
        let badge = chance(&history);
        assert!(badge > 10.0 * silent && badge > 0.1, "{badge} with a badge, {silent} without");
    }
}
