//! The machine's time: the hardware's seconds made short, or moved by hand.

use std::time::{Duration, Instant};

/// How the machine's time passes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Clock {
    /// By itself: so many of the machine's seconds in each real one.
    Running { since: Instant, speed: u32 },
    /// Only by [`Machine::advance`](crate::Machine::advance).
    ByHand { now: Duration },
}

impl Clock {
    pub(crate) fn running(speed: u32) -> Self {
        Self::Running { since: Instant::now(), speed: speed.max(1) }
    }

    /// Time since the machine was switched on.
    pub(crate) fn now(&self) -> Duration {
        match self {
            Self::Running { since, speed } => since.elapsed() * *speed,
            Self::ByHand { now } => *now,
        }
    }

    /// The real time that passes before this moment of the machine; none if only a hand can bring it.
    pub(crate) fn until(&self, moment: Duration) -> Option<Duration> {
        match self {
            Self::Running { speed, .. } => Some(moment.saturating_sub(self.now()) / *speed),
            Self::ByHand { .. } => None,
        }
    }

    pub(crate) fn advance(&mut self, by: Duration) {
        match self {
            Self::ByHand { now } => *now += by,
            Self::Running { since, speed } => *since = since.checked_sub(by / *speed).unwrap_or(*since),
        }
    }
}
