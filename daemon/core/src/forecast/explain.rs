//! Why a forecast is what it is, in plain words.
//!
//! Faithful to the model: reasons are ranked by what each topic of features adds to the log-odds, against the mean slot
//! of the training. Deliberately not here: what was decided because of it.

mod hint;

use super::blend::USUAL;
use super::feature::hint::HINTS;
use super::feature::{self, FEATURES, LINEAR, Moment, Profile, Row, Topic};
use super::model::Fitted;
use super::{Basis, Days, Model, SLOT, decided_at, judge, moment, others, slot_start};
use crate::history::group::Seen;
use crate::history::pattern::{self, NONE, Pattern};
use crate::history::{Entry, History};
use crate::id::{GroupName, Subject};
use crate::unit::{Span, Time};

/// Log-odds below which a topic is not worth a sentence.
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
    let moment = moment(entry, wall, at, now, others(history, entry, at, now));
    let basis = judge::basis(model, entry.pattern.logins);
    let (Some(fitted), Basis::Model { .. }) = (model.usable(), &basis) else {
        return match basis {
            Basis::KeepAlive { why } => {
                vec![since(&moment), format!("only the time since the last logout counts: {why}")]
            }
            Basis::Frequency { why } => {
                vec![habit(&entry.pattern, wall), format!("only the frequency of the slot counts: {why}")]
            }
            Basis::Model { .. } | Basis::New => Vec::new(),
        };
    };
    let mut row = [0.0; FEATURES];
    feature::fill(profile, &moment, &mut row);
    let (mut sums, strongest) = contributions(fitted, &row);
    let words = |topic| match topic {
        Topic::Hints => hint::words(entry, strongest, at, wall),
        Topic::Group => colleagues(entry.seat.and_then(|seat| history.groups.name(seat)), &moment.group),
        Topic::Calendar => {
            let holiday = hint::holiday(entry, at, wall).map(|holiday| format!(", {holiday}")).unwrap_or_default();
            format!("{} at {}{holiday}", day_name(wall), clock(wall))
        }
        topic => words(topic, entry, profile, &moment, wall),
    };
    sums.sort_by(|a, b| b.1.abs().total_cmp(&a.1.abs()).then(a.0.cmp(&b.0)));
    sums.iter()
        .filter(|(_, sum)| sum.abs() >= SLIGHT)
        .take(REASONS)
        .map(|(topic, sum)| {
            let effect = if *sum > 0.0 { "more likely" } else { "less likely" };
            format!("{}: {effect} ({:.1} times)", words(*topic), sum.abs().exp())
        })
        .collect()
}

/// What each topic adds to the log-odds, against the mean slot of the training: the linear weights times what differs, the steps down
/// the trees, and the simple members. Together with a constant they are the log-odds, but for the bend of high probabilities. And which
/// column of hints says most.
fn contributions(fitted: &Fitted, row: &Row) -> ([(Topic, f32); 8], usize) {
    let mut sums = [
        Topic::Habit,
        Topic::Attendance,
        Topic::Today,
        Topic::Since,
        Topic::Others,
        Topic::Group,
        Topic::Calendar,
        Topic::Hints,
    ]
    .map(|topic| (topic, 0.0_f32));
    let [linear, forest, schedule, keep_alive] = fitted.blend.weights;
    let topics = feature::topics();
    let mut steps = [0.0; FEATURES - LINEAR];
    fitted.forest.contributions(&row[LINEAR..], &mut steps);
    let straight =
        (0..LINEAR).map(|i| (linear + forest) * fitted.linear.weights[i] * (row[i] - fitted.linear.means[i]));
    let parts = straight.chain(steps.iter().map(|step| forest * step));
    for (topic, part) in topics.iter().zip(parts) {
        sums[*topic as usize].1 += part;
    }
    let said = fitted.said(row);
    sums[Topic::Habit as usize].1 += schedule * (said[2] - USUAL);
    sums[Topic::Since as usize].1 += keep_alive * (said[3] - USUAL);
    let of_hints = &steps[steps.len() - HINTS..];
    let strongest = (0..HINTS).filter(|column| topics[FEATURES - HINTS + column] == Topic::Hints);
    let strongest = strongest.max_by(|a, b| of_hints[*a].abs().total_cmp(&of_hints[*b].abs())).unwrap_or_default();
    (sums, strongest)
}

/// The fact behind a topic.
fn words(topic: Topic, entry: &Entry, profile: &Profile, moment: &Moment, wall: i64) -> String {
    let pattern = &entry.pattern;
    match topic {
        Topic::Habit => habit(pattern, wall),
        Topic::Attendance => {
            let known = u32::from(pattern.known_days).min(28);
            let active = (pattern.active & ((1 << known) - 1)).count_ones();
            format!("came on {active} of the last {known} days")
        }
        Topic::Today => {
            let n: u32 = if profile.day == pattern.day { pattern.today.iter().map(|n| u32::from(*n)).sum() } else { 0 };
            match n {
                0 => "no login yet on that day".to_owned(),
                1 => "already logged in once on that day".to_owned(),
                n => format!("already logged in {n} times on that day"),
            }
        }
        Topic::Since => since(moment),
        Topic::Others => {
            let ratio = moment.others.day.max(moment.others.hour).exp();
            if ratio >= 1.0 {
                format!("others log in {ratio:.1} times as much as usual at this time")
            } else {
                format!("others log in less than usual at this time ({:.0} %)", ratio * 100.0)
            }
        }
        Topic::Calendar | Topic::Group | Topic::Hints => format!("{} at {}", day_name(wall), clock(wall)),
    }
}

/// What its group does.
fn colleagues(name: Option<&GroupName>, seen: &Seen) -> String {
    match name {
        Some(name) if seen.came > 0.0 => {
            format!("{:.0} of {:.0} of group {name} have come today", seen.came, seen.members)
        }
        Some(name) => format!(
            "group {name}, {:.0} members: one logs in at this time on {:.0} % of such days",
            seen.members,
            (seen.rate * 100.0).clamp(0.0, 100.0)
        ),
        None => "belongs to no group".to_owned(),
    }
}

fn since(moment: &Moment) -> String {
    format!("{} after the last logout", Span::minutes(moment.since_end as i64))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::forecast::blend::Blend;
    use crate::forecast::forest::Forest;
    use crate::forecast::linear::Linear;

    /// A model that listens to a few things of each kind.
    fn model() -> Fitted {
        let weights = (0..LINEAR).map(|n| 0.01 * (n % 7) as f32 - 0.02).collect();
        let mut forest = Forest::default();
        for feature in [0, 1, 20, 30, 45] {
            let root = forest.plant(0.0);
            let (left, _) = forest.split(root, feature, 0.5, (-0.2, 0.3));
            forest.split(left, feature + 1, 0.2, (-0.5, 0.1));
        }
        let blend = Blend { weights: [0.2, 0.7, 0.1, 0.05], ..Blend::default() };
        let linear = Linear { weights, intercept: -5.0, means: vec![0.1; LINEAR] };
        Fitted { linear, forest, blend, prices: Vec::new(), until: Time::default(), rows: 1, logins: 1 }
    }

    #[test]
    fn what_the_groups_add_is_the_whole_difference_between_two_slots() {
        let model = model();
        let rest = |seed: u32| {
            let row: Row = std::array::from_fn(|i| ((i as u32 * 37 + seed * 11) % 10) as f32 / 10.0 + 0.001);
            let sum: f32 = contributions(&model, &row).0.iter().map(|(_, part)| part).sum();
            model.blend.log_odds(&model.said(&row)) - sum
        };
        for seed in 1..20 {
            assert!((rest(seed) - rest(0)).abs() < 1e-4, "{} and {}", rest(seed), rest(0));
        }
    }

    #[test]
    fn a_group_that_does_not_count_is_no_reason() {
        let mut model = model();
        let topics = feature::topics();
        for (weight, _) in model.linear.weights.iter_mut().zip(topics).filter(|(_, topic)| *topic == Topic::Others) {
            *weight = 0.0;
        }
        model.forest = Forest::default();
        let row: Row = std::array::from_fn(|i| (i % 5) as f32);
        let (sums, _) = contributions(&model, &row);
        assert!(sums[Topic::Others as usize].1.abs() < 1e-9 && sums[Topic::Habit as usize].1.abs() > 1e-3, "{sums:?}");
    }
}
