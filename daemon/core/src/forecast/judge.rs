//! What a model says of the slots of one subject after the other; of many slots at a time, which is several times faster.
//!
//! Deliberately not here: what is known of a slot ([`super::feature`]), and the members themselves.

use super::blend::{Instead, Simple};
use super::feature::{self, Columns, FEATURES, Moment, Profile};
use super::model::{Fitted, Model};
use super::scan::{LANES, Scan};
use super::{Basis, SLOTS};
use crate::unit::Probability;

/// A model at work.
pub(super) struct Judge<'a> {
    fitted: Option<(&'a Fitted, Scan)>,
    /// The slots that wait for their verdict, and their rows.
    waiting: Vec<usize>,
    columns: Box<Columns>,
}

impl<'a> Judge<'a> {
    pub(super) fn new(model: &'a Model) -> Self {
        let fitted = model.usable().map(|fitted| (fitted, Scan::of(&fitted.forest)));
        // On the heap from the beginning: it is large for a stack.
        let columns = vec![[0.0; LANES]; FEATURES].try_into().expect("it is as long as it was made");
        Self { fitted, waiting: Vec::with_capacity(LANES), columns }
    }

    /// Asks about slot `i`. The answer goes into `slots` at the latest with [`Self::answer`].
    pub(super) fn ask(&mut self, i: usize, profile: &Profile, moment: &Moment, slots: &mut [Probability; SLOTS]) {
        if self.fitted.is_none() {
            slots[i] = Probability::clamped(profile.frequency(moment.slot) * f64::from(moment.left_of_slot));
            return;
        }
        feature::fill_lane(profile, moment, &mut self.columns, self.waiting.len());
        self.waiting.push(i);
        if self.waiting.len() == LANES {
            self.answer(slots);
        }
    }

    /// Answers what has been asked.
    pub(super) fn answer(&mut self, slots: &mut [Probability; SLOTS]) {
        let Some((fitted, scan)) = self.fitted.as_ref().filter(|_| !self.waiting.is_empty()) else { return };
        let all = fitted.said_of_columns(scan, &self.columns);
        for (i, said) in self.waiting.drain(..).zip(&all) {
            slots[i] = Probability::clamped(fitted.blend.probability(said));
        }
    }
}

/// What the forecast of a subject with so many logins rests on.
pub(super) fn basis(model: &Model, logins: u32) -> Basis {
    match model.usable().map(|fitted| &fitted.blend.instead) {
        Some(None) => Basis::Model { logins },
        Some(Some(Instead { what: Simple::Schedule, why })) => Basis::Frequency { why: why.clone() },
        Some(Some(Instead { what: Simple::KeepAlive, why })) => Basis::KeepAlive { why: why.clone() },
        None => Basis::Frequency { why: "no model has been trained yet".to_owned() },
    }
}
