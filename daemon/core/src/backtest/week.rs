//! Pictures for the report: one real week as a timeline, and logins by weekday and hour.

use super::LEAD;
use super::episode::Episodes;
use super::gap::{Held, by_user};
use super::result::{Week, WeekRow};
use crate::history::pattern;
use crate::unit::{Probability, Time};

const DAY: i64 = 86_400;
/// Rows of the timeline.
const ROWS: usize = 12;

/// Cold logins by weekday (Monday first) and hour.
pub(crate) fn heat(episodes: &Episodes) -> [[u32; 24]; 7] {
    let mut heat = [[0; 24]; 7];
    for episode in episodes.users.iter().flat_map(|user| &user.episodes) {
        let hour = episode.start.rem_euclid(DAY) / 3600;
        heat[pattern::weekday(pattern::day_of(episode.start))][hour as usize] += 1;
    }
    heat
}

/// The week with the most logins in the last half of the scored part, with its busiest users.
pub(crate) fn pick(episodes: &Episodes, spans: &[Held], threshold: Probability) -> Week {
    let monday = |wall: i64| (pattern::day_of(wall) - pattern::weekday(pattern::day_of(wall)) as i64) * DAY;
    let middle = episodes.t0 + (episodes.t1 - episodes.t0) / 2;
    let mut best: Option<(usize, i64)> = None;
    let mut start = monday(middle) + 7 * DAY;
    while start + 7 * DAY <= episodes.t1 {
        let n = logins(episodes, start).map(|(n, _)| n).sum();
        if best.is_none_or(|(most, _)| n > most) {
            best = Some((n, start));
        }
        start += 7 * DAY;
    }
    let start = match best {
        Some((_, start)) => start,
        // Too short for a later week: the first whole or broken one that is scored.
        None => monday(episodes.t0.max(episodes.t1 - 7 * DAY)),
    };
    let end = start + 7 * DAY;
    let mut users: Vec<(usize, usize)> = logins(episodes, start).filter(|(n, _)| *n > 0).collect();
    users.sort_by_key(|(n, user)| (std::cmp::Reverse(*n), *user));
    let held = by_user(spans, episodes.users.len());
    let inside = |(from, to): (i64, i64)| {
        let (from, to) = (from.max(start), to.min(end));
        (from < to).then_some((Time::from_unix(from), Time::from_unix(to)))
    };
    let rows = users
        .iter()
        .take(ROWS)
        .map(|(_, user)| WeekRow {
            user: episodes.users[*user].name.clone(),
            sessions: episodes.users[*user].episodes.iter().filter_map(|e| inside((e.start, e.end))).collect(),
            held: episodes
                .gaps(*user, episodes.t0)
                .flat_map(|gap| held[*user].iter().map(move |(from, to)| ((*from).max(gap.from), (*to).min(gap.to))))
                .filter_map(inside)
                .collect(),
            logins: hits(episodes, *user, &held[*user], (start, end)),
        })
        .collect();
    Week { start: Time::from_unix(start), end: Time::from_unix(end), threshold, rows }
}

/// Cold logins of each user in the week from `start` on.
fn logins(episodes: &Episodes, start: i64) -> impl Iterator<Item = (usize, usize)> + '_ {
    episodes.users.iter().enumerate().map(move |(user, of)| {
        (of.episodes.iter().filter(|e| (start..start + 7 * DAY).contains(&e.start)).count(), user)
    })
}

/// Cold logins of a user within a week, and whether the GPU was there in time.
fn hits(episodes: &Episodes, user: usize, held: &[(i64, i64)], week: (i64, i64)) -> Vec<(Time, bool)> {
    let mut hit = std::collections::BTreeSet::new();
    for gap in episodes.gaps(user, episodes.t0).filter(|gap| gap.login) {
        let last = held.partition_point(|(from, _)| *from < gap.to);
        let Some((from, to)) = last.checked_sub(1).map(|at| held[at]) else { continue };
        if to >= gap.to && gap.to - from.max(gap.from) >= LEAD {
            hit.insert(gap.to);
        }
    }
    episodes.users[user]
        .episodes
        .iter()
        .filter(|e| (week.0..week.1).contains(&e.start))
        .map(|e| (Time::from_unix(e.start), hit.contains(&e.start)))
        .collect()
}
