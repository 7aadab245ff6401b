//! What the administrator chose: how sure to be before a GPU is held, for how long, and how early to start.
//!
//! Values only. The shell reads them from the configuration; the planner obeys them.

use std::fmt;

use crate::forecast::Model;
use crate::kept::Kept;
use crate::unit::{Probability, Span};

/// A login counts as served if the device was ready this long before: the rule by which all policies are judged.
pub const READY_BEFORE: Span = Span::seconds(60);
/// A GPU is let go when the forecast falls below this share of the threshold at which it was taken. Of 0.5, 0.75 and 1 this one hits
/// most at the same idle time, and 1 attaches a fifth more often.
pub const RELEASE_SHARE: f64 = 0.75;

/// What the thresholds are to achieve. They then follow from the forecasts of the last weeks and what became of them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Goal {
    /// So long may a GPU be held for somebody not logged in, per user and day.
    IdleBudget(Span),
    /// This share of the logins shall find its GPU.
    HitRate(Probability),
}

impl fmt::Display for Goal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Goal::IdleBudget(budget) => write!(f, "idle budget {budget} per user-day"),
            Goal::HitRate(rate) => write!(f, "target hit rate {rate}"),
        }
    }
}

/// The settings of the planner.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// A reservation is made when the probability of a login in the slot that decides now is at least this.
    pub take: Probability,
    /// An idle reservation may go when the probability has fallen below this; never above `take`.
    pub release: Probability,
    /// What `take` and `release` are to achieve; they stand as they are until enough is known to tell.
    pub goal: Option<Goal>,
    /// A reservation stays at least this long, however the forecast changes, unless a wish of higher priority needs its room.
    pub minimum_hold: Span,
    /// A reservation whose login has become unlikely stays until somebody else wants its room. Then what is held for nobody has no bound.
    pub keep_spare: bool,
    /// After a logout the device stays this long, for users who come right back.
    pub grace: Span,
    /// Whether a `cold` desktop is shut down after the grace time, so that its device can be taken back.
    pub shut_down_after_logout: bool,
    /// A wish that no login followed is forgotten after this.
    pub wish_valid: Span,
    /// Lead time of a `cold` desktop until its own has been learned: the device goes in and the desktop boots.
    pub lead_cold: Span,
    /// Lead time of a `live` desktop until its own has been learned: the device is plugged in and the guest's driver loads.
    pub lead_live: Span,
}

impl Policy {
    /// With the thresholds that lately would have met the goal, if there is one and the model can tell, and made up for what was missed.
    pub fn aimed(&self, model: &Model, kept: &Kept) -> Self {
        let Some(price) = self.goal.and_then(|goal| model.price(kept.asked(goal))) else { return self.clone() };
        Self { take: price.take(), release: Probability::clamped(price.take * RELEASE_SHARE), ..self.clone() }
    }
}

impl Default for Policy {
    /// Generous, because an idle GPU costs little while there is room and a user who waits costs much: near 3 % the
    /// trade-off curves of the backtests bend, at one and a half to two idle hours per user and day.
    fn default() -> Self {
        Self {
            take: Probability::clamped(0.03),
            release: Probability::clamped(0.022),
            goal: None,
            minimum_hold: Span::minutes(10),
            keep_spare: false,
            grace: Span::minutes(10),
            shut_down_after_logout: true,
            wish_valid: Span::minutes(30),
            lead_cold: Span::minutes(2),
            lead_live: Span::seconds(30),
        }
    }
}
