//! What everybody else does now, against what is usual at this time of the week, in real time (UTC).
//!
//! Five weeks of counts in fixed rings. Deliberately not here: who they were.

use crate::unit::Time;

/// Slots of 15 minutes in a day.
const DAY: i64 = 96;
/// Slots in a week.
const WEEK: i64 = 7 * DAY;
/// Slots that are kept: today and four weeks to compare it with, and one of slack.
const KEPT: i64 = 6 * WEEK;
/// Slots of comparison that are kept; whoever looks back further gets "as usual".
const COMPARED: i64 = WEEK;
/// Seconds of a slot.
const SLOT: i64 = 900;

/// How much more than usual is going on; natural logarithms of ratios, 0 = as usual.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Compared {
    /// People seen since midnight UTC, against the same weekday and time in the last four weeks.
    pub day: f32,
    /// Logins within the last hour, likewise.
    pub hour: f32,
    /// People seen the day before, UTC, likewise.
    pub yesterday: f32,
    /// People seen since midnight UTC, and logins within the last hour.
    pub people: f32,
    pub logins: f32,
}

/// Logins of all subjects together, by slot of real time.
#[derive(Clone, Debug)]
pub(crate) struct Activity {
    /// Logins per slot, a ring of `KEPT`.
    logins: Vec<u16>,
    /// First logins of a subject on a UTC day, per slot, a ring of `KEPT`.
    firsts: Vec<u16>,
    /// What was compared at the start of a slot, a ring of `COMPARED`.
    compared: Vec<Compared>,
    /// The first slot anything was seen in, and the slot up to which (exclusive) `compared` is filled.
    began: Option<(i64, i64)>,
    /// People seen since midnight UTC before slot `filled`, and on the same weekday one to four weeks ago.
    today: [u32; 5],
    /// Yesterday's people, compared.
    yesterday: f32,
    /// Sum of `logins` over the four slots before, now and one to four weeks ago.
    hour: [u32; 5],
}

impl Activity {
    pub(crate) fn new() -> Self {
        Self {
            logins: vec![0; KEPT as usize],
            firsts: vec![0; KEPT as usize],
            compared: vec![Compared::default(); COMPARED as usize],
            began: None,
            today: [0; 5],
            yesterday: 0.0,
            hour: [0; 5],
        }
    }

    /// Fills the comparison for every slot that begins at or before `now`. Idempotent.
    pub(crate) fn advance(&mut self, now: Time) {
        let slot = now.unix().div_euclid(SLOT);
        let Some((first, filled)) = self.began else { return };
        // After a long silence only what is kept has to be emptied.
        let from = filled.max(slot - KEPT);
        for s in from..=slot {
            self.fill(first, s);
        }
        self.began = Some((first, filled.max(slot + 1)));
    }

    /// The comparison at the start of slot `s` from the slots before it; then empties the slot for its own counts.
    fn fill(&mut self, first: i64, s: i64) {
        let mut weeks = 0_usize;
        let (mut past_day, mut past_hour) = (0, 0);
        let before = self.today;
        for q in 0..5 {
            let at = s - q as i64 * WEEK;
            if at.rem_euclid(DAY) == 0 {
                self.today[q] = 0;
            } else {
                self.today[q] += u32::from(read(&self.firsts, at - 1, s));
            }
            self.hour[q] = (1..=4).map(|back| u32::from(read(&self.logins, at - back, s))).sum();
            if q > 0 && at >= first {
                weeks += 1;
                past_day += self.today[q];
                past_hour += self.hour[q];
            }
        }
        let ratio =
            |now: u32, past: u32| ((now as f32 + 1.0) / (past as f32 / weeks as f32 + 1.0)).ln().clamp(-2.5, 2.5);
        self.compared[s.rem_euclid(COMPARED) as usize] = if weeks == 0 {
            Compared::default()
        } else {
            if s.rem_euclid(DAY) == 0 {
                self.yesterday = ratio(before[0], before[1..=weeks].iter().sum());
            }
            Compared {
                day: ratio(self.today[0], past_day),
                hour: ratio(self.hour[0], past_hour),
                yesterday: self.yesterday,
                people: self.today[0] as f32,
                logins: self.hour[0] as f32,
            }
        };
        self.logins[s.rem_euclid(KEPT) as usize] = 0;
        self.firsts[s.rem_euclid(KEPT) as usize] = 0;
    }

    /// Counts a login; `first` if it is the subject's first one on this UTC day.
    pub(crate) fn login(&mut self, at: Time, first: bool) {
        let slot = at.unix().div_euclid(SLOT);
        if self.began.is_none() {
            self.began = Some((slot, slot));
        }
        self.advance(at);
        // A login told late enough to be out of the ring, or before anything was seen, changes no comparison any more.
        if self.began.is_some_and(|(began, filled)| slot >= began && slot + KEPT > filled) {
            let place = slot.rem_euclid(KEPT) as usize;
            self.logins[place] = self.logins[place].saturating_add(1);
            self.firsts[place] = self.firsts[place].saturating_add(u16::from(first));
        }
    }

    /// The comparison as it stood when the slot of `at` began; as usual where that is not known.
    pub(crate) fn at(&self, at: Time) -> Compared {
        let slot = at.unix().div_euclid(SLOT);
        match self.began {
            Some((first, filled)) if slot >= first && slot < filled && slot + COMPARED > filled => {
                self.compared[slot.rem_euclid(COMPARED) as usize]
            }
            _ => Compared::default(),
        }
    }
}

/// What a ring says of slot `at`, if it is kept while slot `now` is being filled.
fn read(ring: &[u16], at: i64, now: i64) -> u16 {
    if at > now - KEPT { ring[at.rem_euclid(KEPT) as usize] } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::unit::Span;

    #[test]
    fn a_busy_morning_is_more_than_usual_and_is_seen_only_afterwards() {
        let mut activity = Activity::new();
        let nine = |day: i64| Time::from_unix(day * 86_400 + 9 * 3600 + 60);
        for day in 0..28 {
            activity.login(nine(day), true);
        }
        for _ in 0..8 {
            activity.login(nine(28), true);
        }
        activity.advance(nine(28) + Span::hours(1));
        assert_eq!(activity.at(nine(28)), Compared::default(), "the slot itself is not in its own comparison");
        let after = activity.at(nine(28) + Span::minutes(15));
        assert!((after.day - 4.5_f32.ln()).abs() < 1e-6, "{after:?}");
        assert!((after.hour - 4.5_f32.ln()).abs() < 1e-6, "{after:?}");
        assert!(activity.at(nine(27) + Span::minutes(15)).day.abs() < 1e-6);
    }

    #[test]
    fn long_silence_and_disorder_do_no_harm() {
        let mut activity = Activity::new();
        activity.login(Time::from_unix(0), true);
        activity.advance(Time::from_unix(400 * 86_400));
        activity.login(Time::from_unix(86_400), true);
        activity.login(Time::from_unix(-86_400), true);
        let now = Time::from_unix(400 * 86_400 + 3600);
        activity.advance(now);
        assert_eq!(activity.at(now), Compared::default());
    }
}
