//! The clock of the daemon: the wall clock, or the virtual clock of a simulation.
//!
//! The virtual clock stands still while the loop works and moves only while it sleeps, so that a simulated month is the same
//! on a slow machine; `speed` is how many simulated seconds pass in one real second of sleep.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use headstart_core::unit::Time;

/// Tells the time and sleeps.
#[derive(Clone, Debug)]
pub enum Clock {
    /// The system's.
    Wall,
    /// A simulation's.
    Virtual(VirtualClock),
}

/// A clock that moves only when told.
#[derive(Clone, Debug)]
pub struct VirtualClock {
    now: Arc<AtomicI64>,
    speed: f64,
}

impl VirtualClock {
    /// Stands at `start`; `speed` simulated seconds pass in a real second.
    pub fn new(start: Time, speed: f64) -> Self {
        Self { now: Arc::new(AtomicI64::new(start.unix())), speed }
    }

    /// Its time.
    pub fn now(&self) -> Time {
        Time::from_unix(self.now.load(Ordering::Acquire))
    }

    /// Moves forward to `time`; never back.
    pub fn advance(&self, time: Time) {
        self.now.fetch_max(time.unix(), Ordering::AcqRel);
    }
}

impl Clock {
    /// The time.
    pub fn now(&self) -> Time {
        match self {
            Clock::Wall => Time::from_timestamp(jiff::Timestamp::now()),
            Clock::Virtual(clock) => clock.now(),
        }
    }

    /// Whether this is a simulation's.
    pub fn is_virtual(&self) -> bool {
        matches!(self, Clock::Virtual(_))
    }

    /// How long to sleep in real time until `deadline`.
    pub fn real_until(&self, deadline: Time) -> Duration {
        let seconds = (deadline - self.now()).as_seconds().max(0) as f64;
        match self {
            Clock::Wall => Duration::from_secs_f64(seconds),
            Clock::Virtual(clock) => Duration::from_secs_f64((seconds / clock.speed).min(86_400.0)),
        }
    }

    /// After a sleep towards `deadline` that really took `slept`: a virtual clock moves that far, to the deadline at most.
    pub fn slept(&self, deadline: Time, slept: Duration, whole: bool) {
        if let Clock::Virtual(clock) = self {
            let passed = (slept.as_secs_f64() * clock.speed) as i64;
            let reached = clock.now() + headstart_core::unit::Span::seconds(passed);
            clock.advance(if whole { deadline } else { reached.min(deadline) });
        }
    }
}
