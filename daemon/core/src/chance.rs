//! What the forecast means for one desktop now: the few numbers that the planner reads.
//!
//! The planner sees no model, no history and no slot; the forecast sees no desktop's device. This is the seam.

use crate::unit::{Probability, Time};

/// One desktop's prospects.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Chance {
    /// Of a login in the slot for which work would have to start now: the best of the slots from now until the lead time is over.
    /// This decides.
    pub now: Probability,
    /// Of a login within the next four hours: for keeping room.
    pub soon: Probability,
    /// Of a login within 24 hours.
    pub today: Probability,
    /// The likeliest time of the next login, if any is likely at all.
    pub next: Option<Time>,
}
