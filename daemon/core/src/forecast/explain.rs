//! Why a forecast is what it is, in plain words.
//!
//! Faithful to the model: reasons are ranked by what each group of features adds to the log-odds, against the mean slot
//! of the training. Deliberately not here: what was decided because of it.

use super::feature::{self, FEATURES, Group, Moment, Profile};
use super::{Basis, Days, Judge, Model, SLOT, decided_at, moment, slot_start};
use crate::history::activity::Compared;
use crate::history::pattern::{self, NONE, Pattern};
use crate::history::{Entry, History};
use crate::id::Subject;
use crate::unit::{Span, Time};

/// Log-odds below which a group is not worth a sentence.
const SLIGHT: f32 = 0.15;
/// Reasons at most.
const REASONS: usize = 3;

/// Up to three strongest reasons for the forecast of the slot that contains `slot_time`, made at `now`.
pub fn explain(history: &History, model: &Model, subject: &Subject, slot_time: Time, now: Time) -> Vec<String> {
    let Some(entry) = history.entries.get(subject) else {
        return vec!["has never logged in".to_owned()];
    };
    if !history.is_managed(subject, now) {
        return vec![format!("has not logged in for more than {}", history.forget())];
    }
    let at = decided_at(entry, slot_start(slot_time), now);
    let wall = entry.clock.wall(at);
    let mut days = Days::default();
    let profile = days.profile(entry, pattern::day_of(wall));
    let soon = at - now < Span::hours(1);
    let others = if soon { history.activity.at(now) } else { Compared::default() };
    let moment = moment(entry, wall, at, now, others);
    let judge = Judge::new(model, entry);
    let (Some(logistic), Basis::Model { .. }) = (model.usable(), judge.basis()) else {
        let Basis::Frequency { why } = judge.basis() else { return Vec::new() };
        return vec![habit(&entry.pattern, wall), format!("only the frequency of the slot counts: {why}")];
    };
    let mut row = [0.0; FEATURES];
    feature::fill(profile, &moment, &mut row);
    let groups = feature::groups();
    let mut sums = [
        (Group::Habit, 0.0_f32),
        (Group::Attendance, 0.0),
        (Group::Today, 0.0),
        (Group::Since, 0.0),
        (Group::Others, 0.0),
        (Group::Calendar, 0.0),
    ];
    for i in 0..FEATURES {
        let part = logistic.weights[i] * (row[i] - logistic.means[i]);
        sums[groups[i] as usize].1 += part;
    }
    sums.sort_by(|a, b| b.1.abs().total_cmp(&a.1.abs()).then(a.0.cmp(&b.0)));
    sums.iter()
        .filter(|(_, sum)| sum.abs() >= SLIGHT)
        .take(REASONS)
        .map(|(group, sum)| {
            let effect = if *sum > 0.0 { "more likely" } else { "less likely" };
            format!("{}: {effect} ({:.1} times)", words(*group, entry, profile, &moment, wall), sum.abs().exp())
        })
        .collect()
}

/// The fact behind a group.
fn words(group: Group, entry: &Entry, profile: &Profile, moment: &Moment, wall: i64) -> String {
    let pattern = &entry.pattern;
    match group {
        Group::Habit => habit(pattern, wall),
        Group::Attendance => {
            let known = u32::from(pattern.known_days).min(28);
            let active = (pattern.active & ((1 << known) - 1)).count_ones();
            format!("came on {active} of the last {known} days")
        }
        Group::Today => {
            let n: u32 = if profile.day == pattern.day { pattern.today.iter().map(|n| u32::from(*n)).sum() } else { 0 };
            match n {
                0 => "no login yet on that day".to_owned(),
                1 => "already logged in once on that day".to_owned(),
                n => format!("already logged in {n} times on that day"),
            }
        }
        Group::Since => {
            format!("{} after the last logout", Span::minutes(moment.since_end as i64))
        }
        Group::Others => {
            let ratio = moment.others.day.max(moment.others.hour).exp();
            if ratio >= 1.0 {
                format!("others log in {ratio:.1} times as much as usual at this time")
            } else {
                format!("others log in less than usual at this time ({:.0} %)", ratio * 100.0)
            }
        }
        Group::Calendar => format!("{} at {}", day_name(wall), clock(wall)),
    }
}

/// How often the day's first login fell around this slot.
fn habit(pattern: &Pattern, wall: i64) -> String {
    let day = pattern::day_of(wall);
    let slot = pattern::slot_of(wall);
    let remembered = pattern.remembered(pattern::class(day));
    let near = remembered.iter().filter(|first| **first != NONE && usize::from(**first).abs_diff(slot) <= 1).count();
    let kind = if pattern::class(day) == 0 { "weekdays" } else { "weekend days" };
    let from = wall.div_euclid(SLOT.as_seconds()) * SLOT.as_seconds();
    format!(
        "first login of the day between {} and {} on {near} of the last {} {kind}",
        clock(from - SLOT.as_seconds()),
        clock(from + 2 * SLOT.as_seconds()),
        remembered.len()
    )
}

fn clock(wall: i64) -> String {
    let minutes = wall.rem_euclid(pattern::DAY) / 60;
    format!("{}:{:02}", minutes / 60, minutes % 60)
}

fn day_name(wall: i64) -> &'static str {
    ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
        [pattern::weekday(pattern::day_of(wall))]
}
