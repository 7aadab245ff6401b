//! When one subject logs in, on its own wall clock: decayed counts per slot, a few dozen numbers.
//!
//! Times here are wall-clock seconds: seconds since the epoch as if the wall clock showed UTC.
//! Deliberately not here: time zones, sessions, and what is made of the counts.

/// Slots of 15 minutes in a day.
pub(crate) const SLOTS: usize = 96;
/// Seconds of a slot.
pub(crate) const SLOT: i64 = 900;
/// Seconds of a day.
pub(crate) const DAY: i64 = 86_400;
/// No login on that day.
pub(crate) const NONE: u8 = u8::MAX;
/// Days of one class (weekday, weekend) whose first login is remembered.
pub(crate) const REMEMBERED: usize = 20;
/// What is left of the recent counts after a day: the weights sum up to 28 days.
const KEEP_RECENT: f32 = 1.0 - 1.0 / 28.0;
/// What is left of the counts of a class after a day of that class.
const KEEP_CLASS: f32 = 0.93;
/// What is left of the counts of a weekday after a week.
const KEEP_WEEKDAY: f32 = 0.85;
/// What is left of the long memory of a class after a day of that class.
const KEEP_LONG: f32 = 0.985;
/// Slots of a block of the long memory.
pub(crate) const BLOCK: usize = 3;
/// What is left of the counts of returns after a login.
const KEEP_RETURN: f32 = 0.97;
/// What is left of the logins per day of the last days after a day.
const KEEP_LATELY: f32 = 0.7;
/// Minutes after a logout at which the bins of returns end; the last one has no end.
pub(crate) const RETURN_ENDS: [f32; RETURNS - 1] =
    [15.0, 20.0, 30.0, 45.0, 60.0, 90.0, 120.0, 240.0, 480.0, 960.0, 1440.0];
/// Bins of returns.
pub(crate) const RETURNS: usize = 12;
/// Days whose logins are remembered slot by slot.
const MARKED: i64 = 8;
/// Days after which nothing is left that would be worth closing days one by one.
const FORGOTTEN: i64 = 400;

/// 0 = Monday.
pub(crate) fn weekday(day: i64) -> usize {
    (day + 3).rem_euclid(7) as usize // day 0 was a Thursday
}

/// 0 = weekday, 1 = weekend.
pub(crate) fn class(day: i64) -> usize {
    usize::from(weekday(day) >= 5)
}

/// The local day of a wall-clock time.
pub(crate) fn day_of(wall: i64) -> i64 {
    wall.div_euclid(DAY)
}

/// The slot of the local day of a wall-clock time.
pub(crate) fn slot_of(wall: i64) -> usize {
    (wall.rem_euclid(DAY) / SLOT) as usize
}

/// The bin of a login so many minutes after the logout before it.
pub(crate) fn return_bin(minutes: f32) -> usize {
    RETURN_ENDS.partition_point(|end| *end <= minutes)
}

/// A number in three bytes: the first 16 bits of a fraction are more than a count of logins has to tell, and seven weekdays are the
/// largest part of a pattern.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Short([u8; 3]);

impl Short {
    pub(crate) fn get(self) -> f32 {
        let [a, b, c] = self.0;
        f32::from_bits(u32::from_le_bytes([0, a, b, c]))
    }

    /// Rounded to the nearest.
    pub(crate) fn set(&mut self, x: f32) {
        let [_, a, b, c] = x.to_bits().saturating_add(0x80).to_le_bytes();
        self.0 = [a, b, c];
    }
}

/// The login pattern of one subject.
#[derive(Clone, Debug)]
pub(crate) struct Pattern {
    /// Logins per slot, smoothed, decayed by day; and the days this is of.
    pub recent: [f32; SLOTS],
    pub recent_days: f32,
    /// Logins per half hour by weekday, smoothed, decayed by week; and the weeks.
    pub weekday: [[Short; SLOTS / 2]; 7],
    pub weekday_days: [f32; 7],
    /// Logins per slot on weekdays and weekends, smoothed, decayed; the days; and how often one could have come.
    pub class: [[f32; SLOTS]; 2],
    pub class_days: [f32; 2],
    pub at_risk: [[f32; SLOTS]; 2],
    /// Logins per block of slots, as in `class`, with a memory of months; and the days.
    pub long: [[f32; SLOTS / BLOCK]; 2],
    pub long_days: [f32; 2],
    /// Slots of the first login on the last days of each class, `NONE` if there was none; a ring.
    pub firsts: [[u8; REMEMBERED]; 2],
    pub firsts_next: [u8; 2],
    pub firsts_len: [u8; 2],
    /// Slots with a login on the last eight days, by day modulo 8.
    pub marks: [u128; MARKED as usize],
    /// Logins by time since the logout before, decayed by login; and how often such a time came without one.
    pub returns: [f32; RETURNS],
    pub return_risk: [f32; RETURNS],
    /// Logarithm of the minutes from logout to login, of the last three times, newest first; and of the sessions' lengths, decayed.
    pub gaps: [f32; 3],
    pub length: f32,
    /// Logins per day over the last few days.
    pub lately: f32,
    /// Days with a login, newest in bit 0 (yesterday), and how many of these days are known.
    pub active: u64,
    pub known_days: u8,
    /// Logins per day and how many there ever were.
    pub logins_recent: f32,
    pub logins: u32,
    /// The day that is open, its logins per slot, and the slots in which one could have come.
    pub day: i64,
    pub today: [u8; SLOTS],
    pub today_at_risk: u128,
    /// Since when a login could come; none while logged in.
    pub idle_from: Option<i64>,
}

impl Pattern {
    /// A pattern that knows nothing, on the day of its first login.
    pub(crate) fn new(wall: i64) -> Self {
        Self {
            recent: [0.0; SLOTS],
            recent_days: 0.0,
            weekday: [[Short::default(); SLOTS / 2]; 7],
            weekday_days: [0.0; 7],
            class: [[0.0; SLOTS]; 2],
            class_days: [0.0; 2],
            at_risk: [[0.0; SLOTS]; 2],
            long: [[0.0; SLOTS / BLOCK]; 2],
            long_days: [0.0; 2],
            firsts: [[NONE; REMEMBERED]; 2],
            firsts_next: [0; 2],
            firsts_len: [0; 2],
            marks: [0; MARKED as usize],
            returns: [0.0; RETURNS],
            return_risk: [0.0; RETURNS],
            gaps: [0.0; 3],
            length: 0.0,
            lately: 0.0,
            active: 0,
            known_days: 0,
            logins_recent: 0.0,
            logins: 0,
            day: day_of(wall),
            today: [0; SLOTS],
            today_at_risk: 0,
            idle_from: None,
        }
    }

    /// Closes the local days before the one of `wall`. Idempotent; a time before the open day changes nothing. Says whether any was.
    pub(crate) fn roll(&mut self, wall: i64) -> bool {
        let day = day_of(wall);
        let closes = self.day < day;
        if day > self.day + FORGOTTEN {
            self.day = day - FORGOTTEN;
        }
        while self.day < day {
            self.mark_idle((self.day + 1) * DAY - 1);
            self.close_day();
        }
        closes
    }

    /// A login at `wall`. Whether it counts (is not a return within the grace time) is the caller's to say.
    pub(crate) fn login(&mut self, wall: i64) {
        self.roll(wall);
        self.mark_idle(wall);
        self.idle_from = None;
        if day_of(wall) == self.day {
            let count = &mut self.today[slot_of(wall)];
            *count = count.saturating_add(1);
        }
        self.logins = self.logins.saturating_add(1);
    }

    /// The login that just came did so `minutes` after a session of `length` minutes.
    pub(crate) fn returned(&mut self, minutes: f32, length: f32) {
        let bin = return_bin(minutes);
        for (at, (returns, risk)) in self.returns.iter_mut().zip(&mut self.return_risk).enumerate() {
            if at <= bin {
                *risk = *risk * KEEP_RETURN + 1.0;
                *returns = *returns * KEEP_RETURN + f32::from(u8::from(at == bin));
            }
        }
        self.gaps = [(1.0 + minutes).ln(), self.gaps[0], self.gaps[1]];
        let length = (1.0 + length).ln();
        self.length = if self.length == 0.0 { length } else { self.length * 0.9 + length * 0.1 };
    }

    /// A login can come from `wall` on.
    pub(crate) fn idle_since(&mut self, wall: i64) {
        self.idle_from = Some(wall);
    }

    /// Marks the open day's slots up to the one of `until` in which a login could have come.
    fn mark_idle(&mut self, until: i64) {
        let Some(from) = self.idle_from else { return };
        let (from, until) = (from.max(self.day * DAY), until.min((self.day + 1) * DAY - 1));
        if from <= until {
            let (a, b) = (slot_of(from), slot_of(until));
            self.today_at_risk |= (u128::MAX >> (127 - (b - a))) << a;
        }
    }

    /// First slot of the open day with a login.
    pub(crate) fn first_today(&self) -> Option<usize> {
        self.today.iter().position(|n| *n > 0)
    }

    fn close_day(&mut self) {
        let (weekday, class) = (weekday(self.day), class(self.day));
        let first = self.first_today().map_or(NONE, |slot| slot as u8);
        let n: u32 = self.today.iter().map(|n| u32::from(*n)).sum();
        self.recent_days = self.recent_days * KEEP_RECENT + 1.0;
        self.logins_recent = self.logins_recent * KEEP_RECENT + n as f32;
        self.weekday_days[weekday] = self.weekday_days[weekday] * KEEP_WEEKDAY + 1.0;
        self.class_days[class] = self.class_days[class] * KEEP_CLASS + 1.0;
        for value in &mut self.recent {
            *value *= KEEP_RECENT;
        }
        for value in &mut self.weekday[weekday] {
            value.set(value.get() * KEEP_WEEKDAY);
        }
        self.long_days[class] = self.long_days[class] * KEEP_LONG + 1.0;
        for value in &mut self.long[class] {
            *value *= KEEP_LONG;
        }
        for slot in 0..SLOTS {
            self.class[class][slot] *= KEEP_CLASS;
            let risk = &mut self.at_risk[class][slot];
            *risk = *risk * KEEP_CLASS + (self.today_at_risk >> slot & 1) as f32;
        }
        if n > 0 {
            // A login also speaks for the half hour around it; what falls over midnight is let go.
            for (slot, count) in self.today.iter().enumerate().filter(|(_, n)| **n > 0) {
                for (shift, weight) in [(-2, 1.0), (-1, 2.0), (0, 3.0), (1, 2.0), (2, 1.0)] {
                    let near = slot as i32 + shift;
                    if (0..SLOTS as i32).contains(&near) {
                        let (near, add) = (near as usize, f32::from(*count) * weight / 9.0);
                        self.recent[near] += add;
                        let half_hour = &mut self.weekday[weekday][near / 2];
                        half_hour.set(half_hour.get() + add);
                        self.class[class][near] += add;
                        self.long[class][near / BLOCK] += add;
                    }
                }
            }
        }
        self.firsts[class][usize::from(self.firsts_next[class])] = first;
        self.firsts_next[class] = (self.firsts_next[class] + 1) % REMEMBERED as u8;
        self.firsts_len[class] = (self.firsts_len[class] + 1).min(REMEMBERED as u8);
        let mut marks = 0_u128;
        for (slot, _) in self.today.iter().enumerate().filter(|(_, n)| **n > 0) {
            marks |= 1 << slot;
        }
        self.marks[self.day.rem_euclid(MARKED) as usize] = marks;
        self.lately = self.lately * KEEP_LATELY + n as f32 * (1.0 - KEEP_LATELY);
        self.active = self.active << 1 | u64::from(n > 0);
        self.known_days = self.known_days.saturating_add(1);
        self.today = [0; SLOTS];
        self.today_at_risk = 0;
        self.day += 1;
    }

    /// Slot of the first login `back` days (1 to 8) before the open day.
    pub(crate) fn first_before(&self, back: i64) -> Option<usize> {
        let marks = self.marks_before(back);
        (marks != 0).then(|| marks.trailing_zeros() as usize)
    }

    /// Slots with a login `back` days (1 to 8) before the open day.
    pub(crate) fn marks_before(&self, back: i64) -> u128 {
        let known = (1..=MARKED).contains(&back) && i64::from(self.known_days) >= back;
        if known { self.marks[(self.day - back).rem_euclid(MARKED) as usize] } else { 0 }
    }

    /// On how many of the last `n` days of a class there was a login, as a share.
    pub(crate) fn lately_of(&self, class: usize, n: u8) -> f32 {
        let n = n.min(self.firsts_len[class]);
        let newest = usize::from(self.firsts_next[class]) + REMEMBERED;
        let came = (1..=usize::from(n)).filter(|back| self.firsts[class][(newest - back) % REMEMBERED] != NONE).count();
        (came as f32 + 0.5) / (f32::from(n) + 1.0)
    }

    /// First logins on the remembered days of a class; `NONE` where there was none.
    pub(crate) fn remembered(&self, class: usize) -> &[u8] {
        &self.firsts[class][..usize::from(self.firsts_len[class])]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nine_o_clock_on_weekdays_is_learned() {
        let monday = 4; // 1970-01-05
        let mut pattern = Pattern::new(monday * DAY);
        for day in (0..28).filter(|d| d % 7 < 5) {
            let nine = (monday + day) * DAY + 9 * 3600;
            pattern.login(nine);
            pattern.idle_since(nine + 8 * 3600);
        }
        pattern.roll((monday + 28) * DAY);
        let nine = 36;
        assert!(pattern.class[0][nine] / pattern.class_days[0] > 0.33);
        assert!(pattern.class[1][nine] < 1e-6);
        assert!(pattern.weekday[0][nine / 2].get() > pattern.weekday[5][nine / 2].get());
        assert_eq!(pattern.first_before(3), Some(nine), "Friday");
        assert_eq!(pattern.first_before(1), None, "Sunday");
        assert!(pattern.at_risk[0][40] < 0.1, "logged in at 10");
        assert!(pattern.at_risk[0][nine] > 5.0);
        assert_eq!(pattern.active & 0b111_1111, 0b111_1100);
    }

    #[test]
    fn three_bytes_tell_a_count() {
        for x in [0.0, 1.0, 1.0 / 9.0, 6.623_456_7, 1e-20, 200.5_f32] {
            let mut short = Short::default();
            short.set(x);
            assert!((short.get() - x).abs() <= x / 65_536.0, "{x} became {}", short.get());
        }
    }

    #[test]
    fn days_are_closed_once() {
        let mut pattern = Pattern::new(0);
        pattern.login(3600);
        pattern.roll(3 * DAY);
        let days = pattern.recent_days;
        pattern.roll(3 * DAY + 5);
        pattern.roll(0);
        assert!((pattern.recent_days - days).abs() < 1e-6);
        pattern.roll(4000 * DAY);
        assert_eq!(pattern.day, 4000);
    }
}
