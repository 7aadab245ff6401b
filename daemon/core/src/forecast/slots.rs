//! The probabilities of a subject's next slots, shared by all who read them.

use std::ops::Deref;
use std::sync::Arc;

use super::SLOT;
use crate::unit::{Probability, Span};

/// Probability of a login per slot. A round copies it for every desktop and seldom reads it, so a copy shares the numbers, and two that
/// share them are equal without a look at them.
#[derive(Clone, Debug, Default)]
pub struct Slots(Arc<[Probability]>);

impl Slots {
    /// Probability of at least one login in `span` from slot `from` on; a slot that is cut by the end counts whole.
    pub fn within(&self, from: usize, span: Span) -> Probability {
        let n = usize::try_from((span.as_seconds() + SLOT.as_seconds() - 1).div_euclid(SLOT.as_seconds())).unwrap_or(0);
        let none: f64 = self.iter().skip(from).take(n).map(|p| 1.0 - p.get()).product();
        Probability::clamped(1.0 - none)
    }

    /// The slot in which the next login is most likely to fall; none if nothing is expected.
    pub fn likeliest(&self) -> Option<usize> {
        let mut none_before = 1.0;
        let mut best: Option<(usize, f64)> = None;
        for (slot, p) in self.iter().enumerate() {
            let next = none_before * p.get();
            none_before *= 1.0 - p.get();
            if next > 0.0 && best.is_none_or(|(_, most)| next > most) {
                best = Some((slot, next));
            }
        }
        best.map(|(slot, _)| slot)
    }
}

impl Deref for Slots {
    type Target = [Probability];
    fn deref(&self) -> &[Probability] {
        &self.0
    }
}

impl PartialEq for Slots {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0 == other.0
    }
}

impl From<&[Probability]> for Slots {
    fn from(slots: &[Probability]) -> Self {
        Self(slots.into())
    }
}

impl FromIterator<Probability> for Slots {
    fn from_iter<I: IntoIterator<Item = Probability>>(slots: I) -> Self {
        Self(slots.into_iter().collect())
    }
}
