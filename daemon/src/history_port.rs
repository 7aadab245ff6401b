//! The history on disk as the bus sees it.

use std::fs::File;

use headstart_core::hint::Hint;
use headstart_core::id::DesktopName;
use headstart_core::unit::Time;
use jiff::tz::TimeZone;

use crate::bus::{Decision, Format, HistoryPort, Import, Imported, Pending};
use crate::reconcile::chain;
use crate::store::{ImportOptions, Store, TraceFormat};

/// The store behind the bus.
pub struct StorePort {
    store: Store,
    zone: TimeZone,
}

impl StorePort {
    /// Around a store. `zone`: of the users in a `wtmp`.
    pub fn new(store: Store, zone: TimeZone) -> Self {
        Self { store, zone }
    }
}

impl HistoryPort for StorePort {
    fn import(&self, import: Import) -> Pending<'_, Imported> {
        Box::pin(async move {
            let format = match import.format {
                Format::Guess => TraceFormat::Auto,
                Format::Csv => TraceFormat::Csv,
                Format::Wtmp => TraceFormat::Wtmp,
            };
            let options = ImportOptions { skip_bad: import.skip_bad, format, zone: self.zone.clone() };
            let report = self.store.import(import.file, import.name, options).await.map_err(|error| chain(&error))?;
            Ok(Imported {
                sessions: report.imported,
                duplicates: report.duplicates,
                bad: report.bad,
                problems: report.lines().collect(),
            })
        })
    }

    fn export(&self, file: File, since: Option<Time>) -> Pending<'_, u64> {
        Box::pin(async move {
            let report = self.store.export(file, since).await.map_err(|error| chain(&error))?;
            if let Some(name) = report.first_left_out {
                tracing::warn!("export: {} sessions left out: {name:?} holds a comma", report.left_out);
            }
            Ok(report.written)
        })
    }

    fn hints(&self, desktop: Option<DesktopName>, most: u32) -> Pending<'_, Vec<(DesktopName, Hint)>> {
        Box::pin(async move { self.store.hints(desktop, most).await.map_err(|error| chain(&error)) })
    }

    fn decisions(&self, desktop: Option<DesktopName>, most: u32) -> Pending<'_, Vec<Decision>> {
        Box::pin(async move {
            let stored = self.store.decisions(desktop, most).await.map_err(|error| chain(&error))?;
            let decision = stored.into_iter().map(|decision| Decision {
                time: decision.at,
                desktop: decision.desktop,
                what: decision.what,
                why: decision.why,
            });
            Ok(decision.collect())
        })
    }
}
