//! What the administrator chose: how sure to be before a GPU is held, for how long, and how early to start.
//!
//! Values only. The shell reads them from the configuration; the planner obeys them.

use crate::unit::{Probability, Span};

/// The settings of the planner.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// A reservation is made when the probability of a login in the slot that decides now is at least this.
    pub take: Probability,
    /// An idle reservation may go when the probability has fallen below this; never above `take`.
    pub release: Probability,
    /// A reservation stays at least this long, however the forecast changes, unless a wish of higher priority needs its room.
    pub minimum_hold: Span,
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

impl Default for Policy {
    /// Generous, because an idle GPU costs little while there is room and a user who waits costs much: near 3 % the
    /// trade-off curves of the backtests bend, at one and a half to two idle hours per user and day.
    fn default() -> Self {
        Self {
            take: Probability::clamped(0.03),
            release: Probability::clamped(0.015),
            minimum_hold: Span::minutes(10),
            grace: Span::minutes(10),
            shut_down_after_logout: true,
            wish_valid: Span::minutes(30),
            lead_cold: Span::minutes(2),
            lead_live: Span::seconds(30),
        }
    }
}
