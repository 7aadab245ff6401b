//! The features for the trees, which bend and cross by themselves: plain numbers.
//!
//! Deliberately not here: those of the linear member, which come first in a row.

use super::Topic::{Attendance, Calendar, Group, Habit, Others, Since, Today};
use super::{Moment, NEVER, Profile, Put, hint};
use crate::history::pattern::{self, RETURNS};

/// All of them; the first three are where [`super::FREQUENCY`] and its neighbors say.
#[inline]
pub(super) fn put(profile: &Profile, moment: &Moment, f: &mut impl Put) {
    let (slot, at) = (moment.slot, moment.slot as f32);
    let starts = f32::from(profile.starts[slot]);
    let bin = pattern::return_bin(moment.since_end);
    f.put(Habit, profile.frequency(slot) as f32);
    f.put(Since, profile.returns[bin]);
    f.put(Calendar, moment.left_of_slot);
    f.put(Habit, profile.recent[slot]);
    f.put(Habit, profile.weekday[slot]);
    f.put(Habit, profile.class[slot]);
    f.put(Habit, profile.hazard[slot]);
    f.put(Habit, profile.first[slot]);
    f.put(Habit, profile.next[slot]);
    f.put(Habit, profile.prev[slot]);
    f.put(Habit, profile.left[slot]);
    f.put(Habit, profile.busy[slot]);
    f.put(Habit, profile.logins);
    f.put(Habit, profile.known_days);
    f.put(Habit, f32::from(profile.near[slot]));
    f.put(Habit, profile.yesterday.around(slot));
    f.put(Habit, profile.last_week.around(slot));
    f.put(Habit, profile.yesterday.from(slot));
    f.put(Habit, profile.last_week.from(slot));
    f.put(Today, starts);
    f.put(Today, profile.expected[slot]);
    f.put(Today, profile.expected[slot] - starts);
    let past = |first: Option<f32>| first.map_or(NEVER, |first| at - first);
    f.put(Today, past(profile.usual_first));
    f.put(Today, profile.spread_first);
    f.put(Today, past(profile.yesterday_first));
    f.put(Today, past(profile.last_week_first));
    f.put(Since, moment.since_end);
    f.put(Since, moment.since_end + moment.last_length);
    f.put(Since, moment.last_length);
    f.put(Since, profile.returns[(bin + 1).min(RETURNS - 1)]);
    f.put(Since, profile.outlasted[bin]);
    let since = (1.0 + moment.since_end).ln();
    f.put(Since, since - profile.gaps[0]);
    f.put(Since, profile.gaps[0]);
    f.put(Since, profile.gaps[1]);
    f.put(Since, profile.gaps.iter().sum::<f32>());
    f.put(Since, (1.0 + moment.last_length).ln() - profile.length);
    f.put(Since, profile.length);
    f.put(Attendance, profile.attendance);
    f.put(Attendance, profile.attendance_weekday);
    f.put(Attendance, profile.active_yesterday);
    f.put(Attendance, profile.active_last_week);
    f.put(Attendance, profile.missed);
    f.put(Attendance, profile.lately);
    f.put(Attendance, profile.yesterday.all());
    f.put(Others, moment.others.day);
    f.put(Others, moment.others.hour);
    f.put(Calendar, at);
    f.put(Calendar, profile.weekday_of);
    f.put(Calendar, profile.weekend);
    f.put(Calendar, profile.young);
    f.put(Habit, profile.long[slot]);
    f.put(Habit, profile.wide[slot]);
    f.put(Habit, profile.weekday_left[slot]);
    f.put(Attendance, profile.lately_of[0]);
    f.put(Attendance, profile.lately_of[1]);
    f.put(Attendance, profile.lately_of[2]);
    f.put(Others, moment.others.yesterday);
    f.put(Others, moment.others.people);
    f.put(Others, moment.others.logins);
    f.put(Habit, profile.long[slot] / (profile.wide[slot] + 0.01));
    let group = moment.group;
    f.put(Group, group.rate);
    f.put(Group, group.day);
    f.put(Group, group.hour);
    f.put(Group, group.members);
    f.put(Group, group.came / (group.members + 0.01));
    for (topic, seen) in hint::topics().into_iter().zip(moment.hints) {
        f.put(topic, seen);
    }
}
