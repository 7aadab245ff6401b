//! Four weeks of plausible logins, without a trace: enough for forecasts that differ from desktop to desktop.

use headstart_core::history::{Clock, History};
use headstart_core::id::{DesktopName, Subject};
use headstart_core::unit::{Span, Time};
use headstartd::reconcile::memory::FORGET;
use jiff::tz::TimeZone;

/// How long everybody has been watched.
const DAYS: i64 = 28;

/// A small generator of numbers (SplitMix64): the same people in every run.
pub(crate) struct Draw(u64);

impl Draw {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number from 0 to `n` - 1.
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let x = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (x ^ x >> 31) % n
    }
}

/// What was learned of these desktops by `now`: office hours, each at their own time, two sessions a day, a day missed now and then.
pub(crate) fn history(desktops: &[DesktopName], zone: &TimeZone, now: Time) -> History {
    let mut history = History::new(FORGET);
    let mut draw = Draw::new(1);
    let mut sessions = Vec::new();
    for (index, _) in desktops.iter().enumerate() {
        let comes = 6 * 3600 + draw.below(4 * 3600) as i64;
        for day in 1..=DAYS {
            let midnight = Time::from_unix((now.unix().div_euclid(86_400) - day) * 86_400);
            // 1970-01-01 was a Thursday.
            let weekday = (midnight.unix().div_euclid(86_400) + 3).rem_euclid(7);
            if weekday >= 5 || draw.below(8) == 0 {
                continue;
            }
            let start = midnight + Span::seconds(comes + draw.below(1800) as i64);
            let noon = start + Span::hours(4);
            sessions.push((start, noon, index));
            sessions.push((noon + Span::minutes(45), noon + Span::hours(5), index));
        }
    }
    sessions.sort_unstable();
    let subjects: Vec<Subject> = desktops.iter().map(|name| Subject::Desktop(name.clone())).collect();
    for subject in &subjects {
        history.set_clock(subject, Clock::Zone(zone.clone()));
    }
    for (start, end, index) in sessions {
        history.session_started(&subjects[index], start, None);
        history.session_ended(&subjects[index], end);
    }
    history.advance(now);
    history
}
