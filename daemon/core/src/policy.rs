//! What the administrator decides: thresholds, times and manners.

use crate::unit::{Probability, Span};

/// The policy. The configuration makes it; nothing in it is optional.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// Reserve when the probability of a login in the coming slot reaches this.
    pub take: Probability,
    /// Give a reservation back when it falls below this; not above `take`.
    pub release: Probability,
    /// A reservation stands at least this long, unless somebody who waits needs it.
    pub minimum_hold: Span,
    /// After a logout the device stays this long, for those who come right back.
    pub grace: Span,
    /// Shut a cold desktop down when its device is to be taken back.
    pub shut_down_after_logout: bool,
    /// A request stands this long without a login.
    pub wish_valid: Span,
    /// Lead time of a cold desktop until it is learned.
    pub lead_cold: Span,
    /// Lead time of a live desktop until it is learned.
    pub lead_live: Span,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            take: Probability::clamped(0.06),
            release: Probability::clamped(0.03),
            minimum_hold: Span::minutes(10),
            grace: Span::minutes(10),
            shut_down_after_logout: true,
            wish_valid: Span::minutes(30),
            lead_cold: Span::minutes(2),
            lead_live: Span::seconds(30),
        }
    }
}
