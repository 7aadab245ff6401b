//! The probability of a login in each of the next 96 quarter hours, per subject.
//!
//! A forecast shows no trace of the model behind it but its [`Basis`]. Deliberately not here: what is done about it
//! (that is the plan's), and the sessions it was learned from.

pub(crate) mod blend;
mod boost;
mod explain;
pub(crate) mod feature;
pub(crate) mod forest;
mod judge;
pub(crate) mod learner;
pub(crate) mod linear;
pub(crate) mod model;
pub(crate) mod price;
pub(crate) mod sample;
mod scan;
mod slots;
pub mod training;
pub(crate) mod walk;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

pub use explain::explain;
pub use feature::{BadTopic, Topic};
pub use learner::TrainError;
pub use model::{MODEL_VERSION, Model};
pub use price::Price;
pub use slots::Slots;
pub use training::Training;

use crate::history::activity::Compared;
use crate::history::group::Seen;
use crate::history::pattern;
use crate::history::{Entry, History};
use crate::id::{ProfileName, Subject};
use crate::unit::{Probability, Span, Time};
use feature::{Moment, Profile};
use judge::Judge;

/// Length of a slot.
pub const SLOT: Span = Span::minutes(15);
/// Slots of a forecast: 24 hours.
pub const SLOTS: usize = 96;

/// A rest of a slot counts as at least this share of it: less is not worth an attach.
pub(crate) const LEAST_LEFT: f32 = 1.0 / 15.0;
/// How far ahead room is kept.
const SOON: Span = Span::hours(4);
/// Slots for which the others are taken to go on as now; what they do later nobody knows.
const NEAR: usize = 4;

/// What is expected of everybody in the next 24 hours.
#[derive(Clone, Debug, PartialEq)]
pub struct Forecast {
    /// When it was made.
    pub made: Time,
    /// Start of the slot that contains `made`; slots are counted from here, in real time.
    pub start: Time,
    /// One for every subject that ever logged in.
    pub subjects: BTreeMap<Subject, Arc<SubjectForecast>>,
}

/// What is expected of one subject.
#[derive(Clone, Debug, PartialEq)]
pub struct SubjectForecast {
    /// Probability of a login in the slot if there was none before it; calibrated. For somebody who is logged in: as if
    /// the logout had come at the start of the first slot, or right after the login within it.
    pub slots: Slots,
    /// Of at least one login within the next four hours: for keeping room.
    pub soon: Probability,
    /// Of at least one login within all slots.
    pub today: Probability,
    /// The slot in which the next login is most likely to fall; none if nothing is expected.
    pub likeliest: Option<usize>,
    /// What it rests on.
    pub basis: Basis,
    /// The profile that the session will need, where that is known. Nothing says it yet.
    pub profile: Option<ProfileName>,
    /// Share of the first slot that was left when it was judged: of whoever has just left, not all of it is at stake.
    left: f32,
    /// How often more had been learned of the subject and the day up to which of its group, if the forecast stays as it is until more is or
    /// the slot ends.
    holds_for: Option<(u32, Option<i64>)>,
}

/// What a forecast rests on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Basis {
    /// The fitted model over the subject's own pattern.
    Model {
        /// Logins of this subject that it has learned from.
        logins: u32,
    },
    /// The frequency of the slot, because evidence for more is thin.
    Frequency {
        /// Why, in words.
        why: String,
    },
    /// The time since the last logout alone, because it lately said more than the model.
    KeepAlive {
        /// Why, in words.
        why: String,
    },
    /// Never seen, or not for so long that it was forgotten: nothing is expected.
    New,
}

impl fmt::Display for Basis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Basis::Model { logins } => write!(f, "model, {logins} logins"),
            Basis::Frequency { why } => write!(f, "login frequency ({why})"),
            Basis::KeepAlive { why } => write!(f, "time since the last logout ({why})"),
            Basis::New => f.write_str("nothing known yet"),
        }
    }
}

impl Forecast {
    /// What is expected of a subject in the slot that contains `time`; 0 outside the forecast or for a stranger.
    pub fn at(&self, subject: &Subject, time: Time) -> Probability {
        self.subjects.get(subject).map_or(Probability::ZERO, |forecast| forecast.at(self.start, time))
    }
}

impl SubjectForecast {
    /// What the slots say, worked out once: rounds ask for it all the time.
    fn new(slots: &[Probability; SLOTS], basis: Basis) -> Self {
        let slots = Slots::from(&slots[..]);
        let (soon, today, likeliest) = (slots.within(0, SOON), slots.within(0, Span::days(1)), slots.likeliest());
        Self { slots, soon, today, likeliest, basis, profile: None, left: 1.0, holds_for: None }
    }

    /// A forecast of nothing.
    fn new_subject() -> Self {
        Self::new(&[Probability::ZERO; SLOTS], Basis::New)
    }

    /// The slot that contains `time` in a forecast that starts at `forecast_start`; 0 outside it.
    pub fn at(&self, forecast_start: Time, time: Time) -> Probability {
        usize::try_from((time - forecast_start).as_seconds().div_euclid(SLOT.as_seconds()))
            .ok()
            .and_then(|slot| self.slots.get(slot).copied())
            .unwrap_or(Probability::ZERO)
    }

    /// The same as a chance per slot: of whoever has just left only a rest of the first slot is at stake, and that costs less to hold.
    pub fn rate(&self, forecast_start: Time, time: Time) -> Probability {
        let p = self.at(forecast_start, time);
        let first = time < forecast_start + SLOT;
        if first { Probability::clamped(p.get() / f64::from(self.left.max(LEAST_LEFT))) } else { p }
    }
}

/// What is expected of everybody. The history should have been advanced to `now`; a day it has not closed counts as open.
pub fn forecast(history: &History, model: &Model, now: Time) -> Forecast {
    forecast_after(None, history, model, now)
}

/// The same from a forecast that was made before of the same history and model: what still holds is taken from there. That is all of it
/// while a slot passes, since a slot is judged at its start; and from slot to slot what lies beyond the next hour, of whoever did nothing.
pub fn forecast_after(before: Option<&Forecast>, history: &History, model: &Model, now: Time) -> Forecast {
    let start = slot_start(now);
    let before = before.filter(|before| before.start <= start && before.made <= now);
    let mut judge = Judge::new(model);
    let passed = before.map_or(SLOTS, |before| slots_between(before.start, start));
    // Both are in order, so nothing is searched for.
    let mut made_before = before.into_iter().flat_map(|before| &before.subjects).peekable();
    let subjects = history
        .entries
        .iter()
        .map(|(subject, entry)| {
            while made_before.next_if(|(other, _)| *other < subject).is_some() {}
            let made = made_before.next_if(|(other, _)| *other == subject).map(|(_, made)| made).filter(|made| {
                made.holds_for == Some((entry.changes, history.groups.day(entry.seat))) && history.remembers(entry, now)
            });
            let forecast = match made {
                Some(made) if passed == 0 => Arc::clone(made),
                made => {
                    // Of somebody who is here, every slot counts from a logout now.
                    let made = made.filter(|_| entry.released().is_some()).map(|made| (&**made, passed));
                    Arc::new(forecast_entry(history, model, &mut judge, subject, entry, now, made))
                }
            };
            (subject.clone(), forecast)
        })
        .collect();
    Forecast { made: now, start, subjects }
}

/// What is expected of one subject.
pub fn forecast_one(history: &History, model: &Model, subject: &Subject, now: Time) -> SubjectForecast {
    match history.entries.get(subject) {
        Some(entry) => forecast_entry(history, model, &mut Judge::new(model), subject, entry, now, None),
        None => SubjectForecast::new_subject(),
    }
}

/// `before`: a forecast of what is known now that was made some slots ago.
fn forecast_entry(
    history: &History,
    model: &Model,
    judge: &mut Judge,
    subject: &Subject,
    entry: &Entry,
    now: Time,
    before: Option<(&SubjectForecast, usize)>,
) -> SubjectForecast {
    if !history.is_managed(subject, now) {
        return SubjectForecast::new_subject();
    }
    let mut days = Days::default();
    let mut slots = [Probability::ZERO; SLOTS];
    let start = slot_start(now);
    let offset = constant_offset(entry, start);
    for i in 0..SLOTS {
        if let Some(made) = before.filter(|_| i >= NEAR).and_then(|(made, passed)| made.slots.get(i + passed)) {
            slots[i] = *made;
            continue;
        }
        let at = decided_at(entry, start + Span::seconds(i as i64 * SLOT.as_seconds()), now);
        let wall = offset.map_or_else(|| entry.clock.wall(at), |offset| at.unix() + offset);
        let profile = days.profile(entry, pattern::day_of(wall));
        let moment = moment(entry, wall, at, now, others(history, entry, at, now));
        judge.ask(i, profile, &moment, &mut slots);
    }
    judge.answer(&mut slots);
    // Of somebody who has just left, the forecast moves with the clock until the grace time is over.
    let left = (start + SLOT - decided_at(entry, start, now)).as_seconds() as f32 / SLOT.as_seconds() as f32;
    let settled = entry.released().is_none_or(|released| released <= now);
    let basis = judge::basis(model, entry.pattern.logins);
    SubjectForecast {
        left,
        holds_for: settled.then_some((entry.changes, history.groups.day(entry.seat))),
        ..SubjectForecast::new(&slots, basis)
    }
}

/// The instant at which a slot is judged: its start, as in the training, so that a forecast does not fade while its slot passes; or
/// the release within it, for somebody who left since, or the last hint.
pub(crate) fn decided_at(entry: &Entry, slot: Time, now: Time) -> Time {
    let released = entry.released().map_or(taken_to_leave(entry, now), |released| released.min(now));
    let told = entry.hints.news().map_or(slot, |told| told.min(now));
    slot.max(released).max(told)
}

/// When somebody who is here is taken to leave: as soon as this slot allows, so that it stays the same while the slot passes.
fn taken_to_leave(entry: &Entry, now: Time) -> Time {
    slot_start(now).max(entry.last_start).min(now)
}

/// What the others and the own group do, as far as it can be known of a slot that is judged at `at`: as now for the next hour, then as usual.
fn others(history: &History, entry: &Entry, at: Time, now: Time) -> (Compared, Seen) {
    let usual = history.groups.at(entry.seat, at, now);
    if slots_between(slot_start(now), slot_start(at)) >= NEAR {
        return (Compared::default(), usual);
    }
    let seen = history.groups.at(entry.seat, now, now);
    (history.activity.at(now), Seen { rate: usual.rate, ..seen })
}

/// A moment in the future of `now`, also of somebody who is logged in and has yet to leave.
fn moment(entry: &Entry, wall: i64, at: Time, now: Time, others: (Compared, Seen)) -> Moment {
    let mut moment = Moment::new(entry, wall, at, now.max(entry.hints.news().unwrap_or(now)), others);
    if entry.last_end.is_none() && !entry.is_pool() {
        let left = taken_to_leave(entry, now);
        moment.since_end = (at - left).as_seconds() as f32 / 60.0;
        moment.last_length = (left - entry.last_start).as_seconds().max(0) as f32 / 60.0;
    }
    moment
}

/// The clock's offset if it does not change within the forecast.
fn constant_offset(entry: &Entry, start: Time) -> Option<i64> {
    let (first, last) = (entry.clock.seconds_at(start), entry.clock.seconds_at(start + Span::days(1)));
    (first == last).then_some(first)
}

fn slots_between(earlier: Time, later: Time) -> usize {
    usize::try_from((later - earlier).as_seconds() / SLOT.as_seconds()).unwrap_or(SLOTS)
}

fn slot_start(now: Time) -> Time {
    Time::from_unix(now.unix().div_euclid(SLOT.as_seconds()) * SLOT.as_seconds())
}

/// Profiles of the two or three local days that a forecast touches.
#[derive(Default)]
pub(crate) struct Days {
    made: Vec<Profile>,
}

impl Days {
    /// The profile of a local day, made at the first use. A day before the pattern's open day is read as the open day.
    pub(crate) fn profile(&mut self, entry: &Entry, day: i64) -> &Profile {
        let day = day.max(entry.pattern.day);
        let at = self.made.iter().position(|profile| profile.day == day).unwrap_or_else(|| {
            self.made.push(Profile::new(&entry.pattern, day));
            self.made.len() - 1
        });
        &self.made[at]
    }
}

#[cfg(test)]
mod tests;
