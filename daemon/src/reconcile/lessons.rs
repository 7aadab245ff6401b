//! What is learned off the loop: the history read again, the model fitted, calendars read. Each one at a time.
//!
//! Deliberately not here: how each of them is done ([`super::learning`], [`super::calendars`]), and what the loop makes of it.

use std::path::PathBuf;

use headstart_core::forecast::Model;
use headstart_core::history::History;
use headstart_core::unit::Time;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::calendars;
use super::chain;
use super::learning::{self, Subjects};
use super::model_file;
use crate::store::Store;

/// What was learned.
pub(super) enum Learned {
    /// The history was read anew; none: it could not be.
    History(Option<Box<History>>),
    /// The model was fitted; none: it stays as it is.
    Model(Option<Box<Model>>),
    /// Calendars were read.
    Calendars(Box<calendars::Read>),
}

/// Something of which one at a time is done.
#[derive(Default, PartialEq, Eq)]
enum Work {
    #[default]
    Rests,
    UnderWay,
    /// What it is done of has changed: once more after it.
    Outdated,
}

impl Work {
    /// Whether it begins now; if it is under way, it will once more.
    fn begin(&mut self) -> bool {
        let begins = *self == Self::Rests;
        *self = if begins { Self::UnderWay } else { Self::Outdated };
        begins
    }

    /// It ended. Whether it is to begin once more.
    fn end(&mut self) -> bool {
        std::mem::take(self) == Self::Outdated
    }
}

/// All that is under way.
pub(super) struct Lessons {
    learned: (mpsc::UnboundedSender<Learned>, mpsc::UnboundedReceiver<Learned>),
    reading: Work,
    fitting: Work,
    /// The fit under way. It ends with the loop: its process reads the history, which is closed then.
    fits: JoinSet<()>,
}

impl Lessons {
    pub(super) fn new() -> Self {
        let learned = mpsc::unbounded_channel();
        Self { learned, reading: Work::default(), fitting: Work::default(), fits: JoinSet::new() }
    }

    /// What was learned, when it is.
    pub(super) async fn next(&mut self) -> Option<Learned> {
        self.learned.1.recv().await
    }

    /// The same, if there is something.
    pub(super) fn try_next(&mut self) -> Option<Learned> {
        self.learned.1.try_recv().ok()
    }

    /// A model is being fitted.
    pub(super) fn is_fitting(&self) -> bool {
        self.fitting != Work::Rests
    }

    /// Reads the history again, on a worker thread. What changes while it is read, such as a group for one desktop after the other, is all
    /// in the next reading: [`Lessons::has_read`] asks for it.
    pub(super) fn read(&mut self, path: PathBuf, subjects: Subjects, now: Time) {
        if !self.reading.begin() {
            return;
        }
        let sender = self.learned.0.clone();
        tokio::task::spawn_blocking(move || {
            let history = learning::learn(&path, &subjects, now);
            if let Err(error) = &history {
                tracing::error!("the history cannot be read again: {}", chain(error));
            }
            // The receiver is gone only when the daemon ends.
            let _ = sender.send(Learned::History(history.ok().map(Box::new)));
        });
    }

    /// The history was read. Whether to read it again.
    pub(super) fn has_read(&mut self) -> bool {
        self.reading.end()
    }

    /// Fits the model on the history, in a process of its own, and keeps it in a file if there is one.
    pub(super) fn fit(&mut self, store: Store, subjects: Subjects, now: Time, keep_at: Option<PathBuf>) {
        if !self.fitting.begin() {
            return;
        }
        let sender = self.learned.0.clone();
        // The one before has ended.
        self.fits.detach_all();
        self.fits.spawn(async move {
            store.flush().await;
            let fitted = learning::fit(store.path().to_path_buf(), subjects, now).await;
            if let Err(error) = &fitted {
                tracing::info!("the model stays as it is: {}", chain(error));
            }
            let model = fitted.ok();
            if let (Some(path), Some(model)) = (keep_at, model.clone()) {
                // It is written to the disk for good, which may take its time; the loop goes on.
                let keep = move || {
                    if let Err(error) = model_file::keep(&path, &model) {
                        tracing::warn!("{}: the model cannot be kept: {error}", path.display());
                    }
                };
                let _ = tokio::task::spawn_blocking(keep).await;
            }
            let _ = sender.send(Learned::Model(model.map(Box::new)));
        });
    }

    /// The model was fitted. Whether to fit it again.
    pub(super) fn has_fitted(&mut self) -> bool {
        self.fitting.end()
    }

    /// Reads calendars, on a worker thread.
    pub(super) fn read_calendars(&self, due: calendars::Due) {
        let sender = self.learned.0.clone();
        tokio::task::spawn_blocking(move || {
            let _ = sender.send(Learned::Calendars(Box::new(due.read())));
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changes_meanwhile_is_done_once_more_and_not_as_often_as_it_changed() {
        let mut work = Work::default();
        assert_eq!([work.begin(), work.begin(), work.begin()], [true, false, false]);
        assert!(work.end(), "once more");
        assert!(work.begin());
        assert!(!work.end() && work == Work::Rests);
    }
}
