//! What the model sees of a slot: numbers made of one subject's pattern, its last session, and the others' activity.
//!
//! All of it is known at the instant of the decision. Nothing here knows of weights; [`super::model`] has them.

pub(crate) mod hint;
mod topic;
mod tree;

pub use topic::{BadTopic, Topic};

use super::scan::{LANES, Lane};
use crate::history::Entry;
use crate::history::activity::Compared;
use crate::history::group::Seen;
use crate::history::pattern::{self, BLOCK, NONE, Pattern, RETURNS, SLOTS};
use crate::unit::Time;

/// Knots of the time since the last logout, minutes.
const SINCE_KNOTS: [f32; 11] = [30.0, 60.0, 120.0, 240.0, 480.0, 720.0, 960.0, 1440.0, 2880.0, 5760.0, 14_400.0];
/// Knots of the slot less the usual first slot, hours.
const FIRST_KNOTS: [f32; 5] = [-2.0, -0.5, 0.5, 2.0, 4.0];

/// Features for the logistic regression: bent and crossed, so that weights suffice. They come first in a row.
pub(crate) const LINEAR: usize = 64;
/// Features for the trees, which bend and cross by themselves: after the others.
pub(crate) const TREE: usize = 65 + hint::HINTS;
/// Where a row has the frequency of the slot, the chance of a return by the time since the logout, and the share of the slot that is left.
pub(crate) const FREQUENCY: usize = LINEAR;
pub(crate) const RETURN: usize = LINEAR + 1;
pub(crate) const LEFT: usize = LINEAR + 2;
/// Features of a row.
pub(crate) const FEATURES: usize = LINEAR + TREE;
/// Stands for a time that there is not; trees tell it apart.
const NEVER: f32 = -200.0;

/// One row.
pub(crate) type Row = [f32; FEATURES];
/// Some rows, column by column.
pub(crate) type Columns = [Lane; FEATURES];

/// Everything about a subject and a local day that does not depend on the decision: made once, used for up to 96 slots. Rates are
/// kept as such and their logarithms taken at use: of a day's slots a forecast asks for the half that lies ahead.
#[derive(Clone, Debug)]
pub(crate) struct Profile {
    /// The local day it is for.
    pub day: i64,
    recent: [f32; SLOTS],
    weekday: [f32; SLOTS],
    class: [f32; SLOTS],
    hazard: [f32; SLOTS],
    first: [f32; SLOTS],
    next: [f32; SLOTS],
    prev: [f32; SLOTS],
    left: [f32; SLOTS],
    expected: [f32; SLOTS],
    busy: [f32; SLOTS],
    usual_first: Option<f32>,
    spread_first: f32,
    /// Logins by slot of that day so far, summed up to (excluding) the slot.
    starts: [u8; SLOTS],
    attendance: f32,
    attendance_weekday: f32,
    active_yesterday: f32,
    active_last_week: f32,
    yesterday_first: Option<f32>,
    last_week_first: Option<f32>,
    missed: f32,
    weekend: f32,
    logins: f32,
    young: f32,
    /// Slots with a login the day before and a week before, and logins around each slot in the last seven days.
    yesterday: Marks,
    last_week: Marks,
    near: [u8; SLOTS],
    /// Chance of a return per quarter hour, by time since the logout, and share of times that lasted longer.
    returns: [f32; RETURNS],
    outlasted: [f32; RETURNS],
    gaps: [f32; 3],
    length: f32,
    lately: f32,
    known_days: f32,
    weekday_of: f32,
    long: [f32; SLOTS],
    wide: [f32; SLOTS],
    weekday_left: [f32; SLOTS],
    lately_of: [f32; 3],
}

/// The slots of a day in which somebody logged in: how many there are before each.
#[derive(Clone, Debug)]
struct Marks([u8; SLOTS + 1]);

impl Default for Marks {
    fn default() -> Self {
        Self([0; SLOTS + 1])
    }
}

impl Marks {
    fn new(mut marks: u128) -> Self {
        let mut before = [0; SLOTS + 1];
        for slot in 0..SLOTS {
            before[slot + 1] = before[slot] + (marks & 1) as u8;
            marks >>= 1;
        }
        Self(before)
    }

    fn all(&self) -> f32 {
        f32::from(self.0[SLOTS])
    }

    /// In the slot and the two on either side.
    fn around(&self, slot: usize) -> f32 {
        f32::from(self.0[(slot + 3).min(SLOTS)] - self.0[slot.saturating_sub(2)])
    }

    /// In the slot and after it.
    fn from(&self, slot: usize) -> f32 {
        f32::from(self.0[SLOTS] - self.0[slot])
    }
}

/// Sine and cosine of the time of day, for each slot.
const TURNS: [(f32, f32); SLOTS] = {
    // Of one slot; those of the others follow by turning on.
    const STEP: (f64, f64) = (0.065_403_129_230_143_06, 0.997_858_923_238_603_5);
    let mut turns = [(0.0, 1.0); SLOTS];
    let ((mut sin, mut cos), mut slot) = ((0.0_f64, 1.0_f64), 1);
    while slot < SLOTS {
        (sin, cos) = (sin * STEP.1 + cos * STEP.0, cos * STEP.1 - sin * STEP.0);
        turns[slot] = (sin as f32, cos as f32);
        slot += 1;
    }
    turns
};

/// `ln((yes + 1/2) / (no + 1/2))`.
fn log_odds(yes: u32, of: u32) -> f32 {
    ((yes as f32 + 0.5) / ((of - yes) as f32 + 0.5)).ln()
}

impl Profile {
    /// For `day`, which is the pattern's open day or one after it (then without a login in between).
    pub(crate) fn new(p: &Pattern, day: i64) -> Self {
        let (weekday, class) = (pattern::weekday(day), pattern::class(day));
        let ahead = day - p.day;
        let mut rate = [0.0_f32; SLOTS];
        let mut profile = Profile {
            day,
            recent: [0.0; SLOTS],
            weekday: [0.0; SLOTS],
            class: [0.0; SLOTS],
            hazard: [0.0; SLOTS],
            first: [0.0; SLOTS],
            next: [0.0; SLOTS],
            prev: [0.0; SLOTS],
            left: [0.0; SLOTS],
            expected: [0.0; SLOTS],
            busy: [0.0; SLOTS],
            usual_first: None,
            spread_first: 0.0,
            starts: [0; SLOTS],
            attendance: 0.0,
            attendance_weekday: 0.0,
            active_yesterday: 0.0,
            active_last_week: 0.0,
            yesterday_first: None,
            last_week_first: None,
            missed: 0.0,
            weekend: class as f32,
            logins: ((p.logins_recent + 0.5) / (p.recent_days + 5.0)).ln(),
            young: 1.0 / (1.0 + f32::from(p.known_days) / 7.0),
            yesterday: Marks::default(),
            last_week: Marks::default(),
            near: [0; SLOTS],
            returns: [0.0; RETURNS],
            outlasted: [0.0; RETURNS],
            gaps: p.gaps,
            length: p.length,
            lately: p.lately,
            known_days: f32::from(p.known_days),
            weekday_of: weekday as f32,
            long: [0.0; SLOTS],
            wide: [0.0; SLOTS],
            weekday_left: [0.0; SLOTS],
            lately_of: [3, 5, 10].map(|n| p.lately_of(class, n)),
        };
        profile.marks(p, ahead);
        profile.gaps(p);
        let (recent_days, weekday_days, class_days) =
            (p.recent_days + 1.0, p.weekday_days[weekday] + 1.0, p.class_days[class] + 1.0);
        for (slot, rate) in rate.iter_mut().enumerate() {
            profile.recent[slot] = (p.recent[slot] + 0.03) / recent_days;
            profile.weekday[slot] = (p.weekday[weekday][slot / 2].get() * 0.5 + 0.02) / weekday_days;
            profile.class[slot] = (p.class[class][slot] + 0.02) / class_days;
            profile.hazard[slot] = (p.class[class][slot] + 0.02) / (p.at_risk[class][slot] + 1.0);
            profile.busy[slot] = 1.0 - p.at_risk[class][slot] / p.class_days[class].max(1.0);
            *rate = (p.class[class][slot] / class_days + p.recent[slot] / recent_days) * 0.5;
        }
        profile.sums(&rate);
        let mut before = [0.0_f32; SLOTS + 1];
        for slot in 0..SLOTS {
            let rate = p.long[class][slot / BLOCK] / BLOCK as f32 / (p.long_days[class] + 1.0);
            profile.long[slot] = rate + 0.02 / (p.long_days[class] + 1.0);
            before[slot + 1] = before[slot] + rate;
        }
        for slot in 0..SLOTS {
            profile.wide[slot] = before[(slot + 9).min(SLOTS)] - before[slot.saturating_sub(8)];
        }
        let mut left = 0.0;
        for slot in (0..SLOTS).rev() {
            left += profile.weekday[slot];
            profile.weekday_left[slot] = left;
        }
        profile.first_logins(p.remembered(class));
        profile.days(p, day, ahead);
        if ahead == 0 {
            let mut sum = 0_u8;
            for slot in 0..SLOTS {
                profile.starts[slot] = sum;
                sum = sum.saturating_add(p.today[slot]);
            }
        }
        profile
    }

    /// Slots of the days before.
    fn marks(&mut self, p: &Pattern, ahead: i64) {
        let open =
            p.today.iter().enumerate().filter(|(_, n)| **n > 0).fold(0_u128, |marks, (slot, _)| marks | 1 << slot);
        let before = |back: i64| if back == ahead { open } else { p.marks_before(back - ahead) };
        (self.yesterday, self.last_week) = (Marks::new(before(1)), Marks::new(before(7)));
        for back in 1..=7 {
            let marks = before(back);
            let mut around = (marks | marks << 1 | marks >> 1) & (u128::MAX >> (128 - SLOTS));
            while around != 0 {
                self.near[around.trailing_zeros() as usize] += 1;
                around &= around - 1;
            }
        }
    }

    /// How long it usually takes to come back.
    fn gaps(&mut self, p: &Pattern) {
        let (mut start, mut lasted) = (10.0, 1.0);
        for bin in 0..RETURNS {
            let end = pattern::RETURN_ENDS.get(bin).copied().unwrap_or(2.0 * start);
            let share = (p.returns[bin] + 0.1) / (p.return_risk[bin] + 1.5);
            self.returns[bin] = share / ((end - start) / 15.0).max(0.3);
            self.outlasted[bin] = lasted;
            lasted *= 1.0 - share;
            start = end;
        }
    }

    /// Mass before, just before, just after, and left after each slot.
    fn sums(&mut self, rate: &[f32; SLOTS]) {
        let mut before = [0.0_f32; SLOTS + 1];
        for slot in 0..SLOTS {
            before[slot + 1] = before[slot] + rate[slot];
        }
        for slot in 0..SLOTS {
            self.expected[slot] = before[slot];
            self.next[slot] = before[(slot + 5).min(SLOTS)] - before[slot + 1] + 0.01;
            self.prev[slot] = before[slot] - before[slot.saturating_sub(4)] + 0.01;
            self.left[slot] = before[SLOTS] - before[slot] + 0.02;
        }
    }

    /// Of the remembered days on which nobody had come before a slot: on how many did somebody come in it?
    fn first_logins(&mut self, remembered: &[u8]) {
        let mut in_slot = [0.0_f32; SLOTS];
        let mut sorted: Vec<u8> = Vec::with_capacity(remembered.len());
        for first in remembered.iter().filter(|first| **first != NONE) {
            let at = usize::from(*first);
            sorted.push(*first);
            for (shift, weight) in [(-3, 1.0), (-2, 2.0), (-1, 3.0), (0, 4.0), (1, 3.0), (2, 2.0), (3, 1.0)] {
                let near = (at as i32 + shift).clamp(0, SLOTS as i32 - 1) as usize;
                in_slot[near] += weight / 16.0;
            }
        }
        let mut still = remembered.len() as f32;
        for (first, mass) in self.first.iter_mut().zip(in_slot) {
            *first = (mass + 0.03) / (still.max(0.0) + 1.0);
            still -= mass;
        }
        sorted.sort_unstable();
        if !sorted.is_empty() {
            let at = |share: usize| f32::from(sorted[(sorted.len() - 1) * share / 4]);
            self.usual_first = Some(at(2));
            self.spread_first = (at(3) - at(1)) / 4.0;
        }
    }

    /// Attendance. `ahead` days between the open day and `day` count as they stand.
    fn days(&mut self, p: &Pattern, day: i64, ahead: i64) {
        // As if the open day and those after it were over: bit 0 is the day before `day`.
        let ahead_u = ahead.clamp(0, 63) as u32;
        let open = u64::from(ahead > 0 && p.first_today().is_some());
        let (active, known) = if ahead_u == 0 {
            (p.active, u32::from(p.known_days))
        } else {
            ((p.active << 1 | open) << (ahead_u - 1), u32::from(p.known_days) + ahead_u)
        };
        let recent = known.min(28);
        self.attendance = log_odds((active & ((1 << recent) - 1)).count_ones(), recent);
        let (mut yes, mut of) = (0, 0);
        for week in 1..=8_u32 {
            if 7 * week <= known {
                of += 1;
                yes += (active >> (7 * week - 1) & 1) as u32;
            }
        }
        self.attendance_weekday = log_odds(yes, of);
        self.active_yesterday = (active & 1) as f32;
        self.active_last_week = (active >> 6 & 1) as f32;
        self.missed = (1.0 + (active | 1 << 20).trailing_zeros() as f32).ln();
        let before = |back: i64| match back - ahead {
            0 => p.first_today(),
            back if back > 0 => p.first_before(back),
            _ => None,
        };
        self.yesterday_first = before(1).map(|slot| slot as f32);
        self.last_week_first = before(7).map(|slot| slot as f32);
        debug_assert!(day >= p.day, "a profile is of today or later");
    }

    /// The mean of the three frequencies of the slot: what is said without a model.
    pub(crate) fn frequency(&self, slot: usize) -> f64 {
        let mean = (self.recent[slot] + self.weekday[slot] + self.class[slot]) / 3.0;
        f64::from(mean)
    }
}

/// When a decision is made about a slot, besides the profile of its day.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    /// Slot of the local day.
    pub slot: usize,
    /// Minutes since the last logout, at the decision.
    pub since_end: f32,
    /// Length of the last session, minutes.
    pub last_length: f32,
    /// Share of the slot that is left at the decision.
    pub left_of_slot: f32,
    /// What the others do.
    pub others: Compared,
    /// What its group does.
    pub group: Seen,
    /// What was told.
    pub hints: hint::Seen,
}

impl Moment {
    /// About the slot of the local time `wall`, decided at `at`. `known`: what was told later, if anything, is not known yet.
    pub(crate) fn new(entry: &Entry, wall: i64, at: Time, known: Time, (others, group): (Compared, Seen)) -> Self {
        let end = entry.last_end.unwrap_or(at).max(entry.last_start).min(at);
        Self {
            slot: pattern::slot_of(wall),
            since_end: (at - end).as_seconds() as f32 / 60.0,
            last_length: (end - entry.last_start).as_seconds().max(0) as f32 / 60.0,
            left_of_slot: 1.0 - wall.rem_euclid(pattern::SLOT) as f32 / pattern::SLOT as f32,
            others,
            group,
            hints: hint::see(&entry.hints, at, wall, known),
        }
    }
}

/// Takes one feature after the other, so that names, topics and values cannot fall out of step.
trait Put {
    fn put(&mut self, topic: Topic, value: f32);
}

/// Into a row.
struct Filler<'a> {
    row: &'a mut Row,
    n: usize,
}

impl Put for Filler<'_> {
    #[inline]
    fn put(&mut self, _topic: Topic, value: f32) {
        self.row[self.n] = value;
        self.n += 1;
    }
}

/// Into one lane of the columns.
struct LaneFiller<'a> {
    columns: &'a mut Columns,
    lane: usize,
    n: usize,
}

impl Put for LaneFiller<'_> {
    #[inline]
    fn put(&mut self, _topic: Topic, value: f32) {
        self.columns[self.n][self.lane] = value;
        self.n += 1;
    }
}

impl Put for Vec<Topic> {
    fn put(&mut self, topic: Topic, _value: f32) {
        self.push(topic);
    }
}

/// The features of one decision.
pub(crate) fn fill(profile: &Profile, moment: &Moment, row: &mut Row) {
    put_linear(profile, moment, &mut Filler { row, n: 0 });
    tree::put(profile, moment, &mut Filler { row, n: LINEAR });
}

/// The same as one of the rows of columns.
pub(crate) fn fill_lane(profile: &Profile, moment: &Moment, columns: &mut Columns, lane: usize) {
    let lane = lane % LANES;
    put_linear(profile, moment, &mut LaneFiller { columns, lane, n: 0 });
    tree::put(profile, moment, &mut LaneFiller { columns, lane, n: LINEAR });
}

/// Puts other hints into a row.
pub(crate) fn fill_hints(hints: &hint::Seen, row: &mut Row) {
    row[FEATURES - hint::HINTS..].copy_from_slice(hints);
}

/// The topic of each feature.
pub(crate) fn topics() -> Vec<Topic> {
    let mut topics = Vec::with_capacity(FEATURES);
    let (others, group, hints) = (Compared::default(), Seen::NOTHING, hint::NOTHING);
    let moment = Moment { slot: 0, since_end: 0.0, last_length: 0.0, left_of_slot: 1.0, others, group, hints };
    let profile = Profile::new(&Pattern::new(0), 0);
    put_linear(&profile, &moment, &mut topics);
    assert_eq!(topics.len(), LINEAR, "the trees' features begin here");
    tree::put(&profile, &moment, &mut topics);
    assert_eq!(topics.len(), FEATURES, "every feature has its place");
    topics
}

/// The columns that speak of these topics. How much of a slot is left is no signal, and never among them.
pub(crate) fn columns_of(without: &[Topic]) -> Vec<usize> {
    let signal = |column: &usize| *column != LEFT && *column != LINEAR - 1;
    topics()
        .iter()
        .enumerate()
        .filter(|(_, topic)| without.contains(topic))
        .map(|(column, _)| column)
        .filter(signal)
        .collect()
}

#[inline]
fn put_linear(profile: &Profile, moment: &Moment, f: &mut impl Put) {
    use Topic::{Attendance, Calendar, Habit, Others, Today};
    let slot = moment.slot;
    let starts = f32::from(profile.starts[slot]);
    let none_yet = if starts == 0.0 { 1.0 } else { 0.0 };
    let (weekday, hazard) = (profile.weekday[slot].ln(), profile.hazard[slot].ln());
    let (next, left) = (profile.next[slot].ln(), profile.left[slot].ln());
    f.put(Habit, profile.recent[slot].ln());
    f.put(Habit, weekday);
    f.put(Habit, profile.class[slot].ln());
    f.put(Habit, hazard);
    f.put(Habit, (hazard + 4.0) * (hazard + 4.0) * 0.2);
    f.put(Habit, next);
    f.put(Habit, profile.prev[slot].ln());
    f.put(Habit, left);
    f.put(Habit, profile.busy[slot]);
    f.put(Habit, profile.logins);
    f.put(Habit, profile.logins * profile.young);
    f.put(Habit, hazard * profile.young);
    f.put(Habit, profile.young);
    // The first login of the day and the later ones follow different laws: most of what matters is told for each.
    f.put(Habit, none_yet * profile.first[slot].ln());
    f.put(Habit, none_yet * hazard);
    f.put(Habit, none_yet * weekday);
    f.put(Habit, none_yet * left);
    f.put(Habit, none_yet * next);
    f.put(Today, none_yet);
    f.put(Today, starts.min(4.0));
    let over = profile.expected[slot] - starts;
    f.put(Today, over.clamp(0.0, 3.0));
    f.put(Today, over.clamp(-3.0, 0.0));
    f.put(Today, none_yet * over.clamp(0.0, 3.0));
    put_since(moment, none_yet, f);
    f.put(Attendance, profile.attendance);
    f.put(Attendance, profile.attendance_weekday);
    f.put(Attendance, profile.active_yesterday);
    f.put(Attendance, profile.active_last_week);
    f.put(Attendance, none_yet * profile.attendance);
    f.put(Attendance, none_yet * profile.attendance_weekday);
    f.put(Attendance, none_yet * profile.active_yesterday);
    f.put(Attendance, profile.missed);
    put_first(profile, slot as f32, none_yet, f);
    f.put(Others, moment.others.day);
    f.put(Others, moment.others.hour);
    f.put(Others, none_yet * moment.others.day);
    put_calendar(profile, slot, f);
    f.put(Calendar, moment.left_of_slot.max(0.05).ln());
}

#[inline]
fn put_since(moment: &Moment, none_yet: f32, f: &mut impl Put) {
    let since = moment.since_end.max(5.0).ln();
    f.put(Topic::Since, since);
    for knot in SINCE_KNOTS {
        f.put(Topic::Since, (since - knot.ln()).max(0.0));
    }
    f.put(Topic::Since, (1.0 + moment.last_length).ln());
    f.put(Topic::Since, none_yet * since);
}

#[inline]
fn put_first(profile: &Profile, slot: f32, none_yet: f32, f: &mut impl Put) {
    let hours = profile.usual_first.map_or(0.0, |first| ((slot - first) / 4.0).clamp(-8.0, 12.0)) * none_yet;
    f.put(Topic::Today, hours);
    for knot in FIRST_KNOTS {
        f.put(Topic::Today, (hours - knot).max(0.0) * none_yet);
    }
    f.put(Topic::Today, none_yet * profile.spread_first.min(6.0));
    let near = |first: Option<f32>| first.map_or(0.0, |first| (1.0 - (slot - first).abs() / 6.0).max(0.0));
    f.put(Topic::Habit, none_yet * near(profile.yesterday_first));
    f.put(Topic::Habit, none_yet * near(profile.last_week_first));
}

#[inline]
fn put_calendar(profile: &Profile, slot: usize, f: &mut impl Put) {
    let (sin, cos) = TURNS[slot];
    let (sin2, cos2) = (2.0 * sin * cos, cos * cos - sin * sin);
    f.put(Topic::Calendar, profile.weekend);
    f.put(Topic::Calendar, sin);
    f.put(Topic::Calendar, cos);
    f.put(Topic::Calendar, sin2);
    f.put(Topic::Calendar, cos2);
    f.put(Topic::Calendar, profile.weekend * cos);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_day_turns_once() {
        for (slot, (sin, cos)) in TURNS.iter().enumerate() {
            let turn = slot as f64 / SLOTS as f64 * std::f64::consts::TAU;
            assert!((turn.sin() as f32 - sin).abs() < 1e-6 && (turn.cos() as f32 - cos).abs() < 1e-6, "slot {slot}");
        }
    }

    #[test]
    fn marks_count_as_bits_do() {
        let bits = 1_u128 << 95 | 1 << 94 | 1 << 40 | 1 << 38 | 1 << 2 | 1;
        let marks = Marks::new(bits);
        for slot in 0..SLOTS {
            let count = |mask: u128| (bits & mask).count_ones() as f32;
            assert_eq!((marks.around(slot), marks.from(slot)), (count(0x1F << slot >> 2), count(u128::MAX << slot)));
        }
        assert_eq!(marks.all() as u32, 6);
    }

    #[test]
    fn every_feature_is_finite_for_a_pattern_that_knows_nothing() {
        let pattern = Pattern::new(0);
        for day in [0, 1, 5, 100] {
            let profile = Profile::new(&pattern, day);
            for slot in 0..SLOTS {
                let mut row = [f32::NAN; FEATURES];
                let (others, group, hints) = (Compared::default(), Seen::NOTHING, hint::NOTHING);
                let moment = Moment { slot, since_end: 0.0, last_length: 0.0, left_of_slot: 0.0, others, group, hints };
                fill(&profile, &moment, &mut row);
                assert!(row.iter().all(|value| value.is_finite()), "{row:?}");
            }
        }
    }
}
