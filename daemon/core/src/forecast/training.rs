//! Fits the model on the past: sessions come by once, in the order of time.
//!
//! Deliberately not here: reading the sessions, and what is learned from them.

use jiff::tz::Offset;

use super::learner::{Learner, ROWS, TrainError};
use super::model::Model;
use super::price::COUNTED;
use super::walk::{Decision, Sink, Walk};
use crate::hint::Hint;
use crate::history::Clock;
use crate::id::{GroupName, Subject};
use crate::unit::{Span, Time};

/// A session whose end is not known is taken to be this long.
pub const DEFAULT_LENGTH: Span = Span::minutes(45);
/// How long before the end members are fitted that say of the weeks since what they would have said.
const REHEARSALS: [Span; 2] = [Span::days(42), Span::days(14)];

/// Collects what a model is fitted on.
pub struct Training {
    walk: Walk,
    learner: Learner,
    rehearsals: Vec<Time>,
    until: Time,
}

impl Sink for Learner {
    fn skips(&mut self, at: Time, login: bool, hash: u32) -> bool {
        Learner::skips(self, at, login, hash)
    }

    fn decision(&mut self, decision: &Decision) {
        let _said = self.learn(decision);
    }
}

impl Training {
    /// Nothing yet; the model will be of everything before `until`. `forget`: as in [`crate::history::History::new`].
    pub fn new(forget: Span, until: Time) -> Self {
        Self::with_rows(forget, until, ROWS)
    }

    /// With another bound on the rows that are kept.
    pub fn with_rows(forget: Span, until: Time, rows: usize) -> Self {
        let mut rehearsals: Vec<Time> = REHEARSALS.iter().map(|before| until - *before).collect();
        rehearsals.reverse();
        let mut learner = Learner::new(rows);
        learner.price_from(until - COUNTED);
        Self { walk: Walk::new(forget), learner, rehearsals, until }
    }

    /// Sets the wall clock of a subject.
    pub fn set_clock(&mut self, subject: &Subject, clock: Clock) {
        self.walk.set_clock(subject, clock);
    }

    /// Says which group a subject belongs to.
    pub fn set_group(&mut self, subject: &Subject, group: Option<&GroupName>) {
        self.walk.set_group(subject, group);
    }

    /// A session. They come in the order of their starts; one that is late by a little is taken as it comes. `offset`:
    /// the wall clock of the record, if it has one.
    pub fn session(&mut self, subject: &Subject, start: Time, end: Option<Time>, offset: Option<Offset>) {
        while let Some(rehearsal) = self.rehearsals.pop_if(|rehearsal| *rehearsal <= start) {
            self.walk.settle(rehearsal, &mut self.learner);
            // Where there is too little to rehearse with, the members are believed alike.
            let _thin = self.learner.refit(rehearsal);
        }
        let end = end.unwrap_or(start + DEFAULT_LENGTH).max(start);
        self.walk.session(subject, start, end, offset, &mut self.learner);
    }

    /// Something that was told. It may come in any order, before the sessions that are later.
    pub fn hint(&mut self, subject: &Subject, hint: Hint, offset: Option<Offset>) {
        self.walk.hint(subject, hint, offset);
    }

    /// The model.
    ///
    /// # Errors
    /// Too few logins, or the solver fails; the caller keeps the model it has.
    pub fn finish(mut self) -> Result<Model, TrainError> {
        self.walk.settle(self.until, &mut self.learner);
        self.learner.refit(self.until)?;
        Ok(self.learner.model)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_little_is_said() {
        let error = Training::new(Span::days(28), Time::from_unix(0)).finish().unwrap_err();
        assert_eq!(
            error.to_string(),
            "0 logins in 0 slots are too few to train on, 60 are needed; frequencies are used"
        );
    }
}
