//! A trace as the replay counts it: episodes per user on the wall clock, what is scored, who is managed when.

use std::collections::BTreeMap;

use crate::history::GRACE;
use crate::id::UserName;
use crate::trace::Row;
use crate::unit::Time;

use super::{FORGET, WARMUP};

/// A session whose end is not known, seconds.
const DEFAULT_LENGTH: i64 = 2700;
/// A session is at least so long, seconds.
const SHORTEST: i64 = 60;
const DAY: i64 = 86_400;
/// So long after the first login a user is new.
const NEW: i64 = 14 * DAY;

/// Sessions with less than the grace time between them; wall clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Episode {
    pub start: i64,
    pub end: i64,
    /// Seconds east of UTC at its first login.
    pub offset: i32,
}

/// One user.
#[derive(Clone, Debug)]
pub(crate) struct User {
    pub name: UserName,
    pub episodes: Vec<Episode>,
}

impl User {
    /// Until when it is among the newcomers.
    pub(crate) fn new_until(&self) -> i64 {
        self.episodes.first().map_or(0, |first| first.start + NEW)
    }
}

/// One session as it is fed to the walk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Session {
    pub start: Time,
    pub user: usize,
    pub end: Time,
    pub offset: i32,
}

/// A trace.
#[derive(Clone, Debug)]
pub(crate) struct Episodes {
    pub users: Vec<User>,
    /// By start, then user.
    pub sessions: Vec<Session>,
    /// Rows, duplicates left out.
    pub rows: u64,
    /// First login.
    pub first: i64,
    /// What is scored: from, to.
    pub t0: i64,
    pub t1: i64,
    /// Cold logins that are scored.
    pub logins: u64,
    /// Days under management that are scored, over all users.
    pub managed_days: f64,
    /// The same of users in their first days.
    pub new_logins: u64,
    pub new_days: f64,
}

/// An idle time under management that is scored.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Gap {
    /// The episode before it.
    pub episode: usize,
    /// From the release, or the beginning of the scored part.
    pub from: i64,
    pub to: i64,
    /// Whether a login ends it.
    pub login: bool,
}

impl Episodes {
    pub(crate) fn new(rows: &[Row], sample: Option<usize>) -> Self {
        let mut by_user: BTreeMap<&UserName, Vec<(i64, i64, i32)>> = BTreeMap::new();
        for row in rows {
            let offset = row.offset.seconds();
            let start = row.start.unix() + i64::from(offset);
            let end =
                row.end.map_or(start + DEFAULT_LENGTH, |end| (end.unix() + i64::from(offset)).max(start + SHORTEST));
            by_user.entry(&row.user).or_default().push((start, end, offset));
        }
        if let Some(most) = sample.filter(|most| *most < by_user.len()) {
            let mut names: Vec<&UserName> = by_user.keys().copied().collect();
            names.sort_by_key(|name| (crate::forecast::walk::text_hash(name.as_str()), *name));
            for name in &names[most..] {
                by_user.remove(name);
            }
        }
        let (mut users, mut sessions, mut n) = (Vec::new(), Vec::new(), 0);
        for (name, mut spans) in by_user {
            spans.sort_unstable();
            spans.dedup();
            n += spans.len() as u64;
            let user = users.len();
            sessions.extend(spans.iter().map(|(start, end, offset)| {
                let utc = |wall: i64| Time::from_unix(wall - i64::from(*offset));
                Session { start: utc(*start), user, end: utc(*end), offset: *offset }
            }));
            users.push(User { name: name.clone(), episodes: merge(&spans) });
        }
        sessions.sort_unstable();
        let mut episodes = Self {
            users,
            sessions,
            rows: n,
            first: 0,
            t0: 0,
            t1: 0,
            logins: 0,
            managed_days: 0.0,
            new_logins: 0,
            new_days: 0.0,
        };
        episodes.count();
        episodes
    }

    fn count(&mut self) {
        let starts = || self.users.iter().flat_map(|user| user.episodes.iter().map(|episode| episode.start));
        let (Some(first), Some(last)) = (starts().min(), starts().max()) else { return };
        self.first = first;
        self.t0 = first.div_euclid(DAY) * DAY + WARMUP;
        self.t1 = last + 1;
        self.logins = starts().filter(|start| self.is_scored(*start)).count() as u64;
        let (mut managed, mut new) = (0, 0);
        self.new_logins = 0;
        for user in &self.users {
            let later = user.episodes.iter().skip(1).map(|episode| episode.start);
            self.new_logins += later.filter(|start| self.is_scored(*start) && *start < user.new_until()).count() as u64;
            for (i, episode) in user.episodes.iter().enumerate() {
                let next = user.episodes.get(i + 1).map_or(self.t1, |next| next.start);
                let end = next.min(episode.end + FORGET).min(self.t1);
                managed += (end - episode.start.max(self.t0)).max(0);
                new += (end.min(user.new_until()) - episode.start.max(self.t0)).max(0);
            }
        }
        (self.managed_days, self.new_days) = (managed as f64 / DAY as f64, new as f64 / DAY as f64);
    }

    pub(crate) fn is_scored(&self, wall: i64) -> bool {
        (self.t0..self.t1).contains(&wall)
    }

    /// Idle, managed times of a user from `t0` on.
    pub(crate) fn gaps(&self, user: usize, t0: i64) -> impl Iterator<Item = Gap> + '_ {
        let episodes = &self.users[user].episodes;
        episodes.iter().enumerate().filter_map(move |(i, episode)| {
            let release = episode.end + GRACE.as_seconds();
            let next = episodes.get(i + 1).map(|next| next.start);
            let to = next.unwrap_or(self.t1).min(episode.end + FORGET).min(self.t1);
            let gap = Gap { episode: i, from: release.max(t0), to, login: next == Some(to) };
            (to > t0 && to > release).then_some(gap)
        })
    }
}

/// Sessions at most the grace time apart become one.
fn merge(spans: &[(i64, i64, i32)]) -> Vec<Episode> {
    let mut episodes: Vec<Episode> = Vec::new();
    for (start, end, offset) in spans {
        match episodes.last_mut() {
            Some(last) if *start <= last.end + GRACE.as_seconds() => last.end = last.end.max(*end),
            _ => episodes.push(Episode { start: *start, end: *end, offset: *offset }),
        }
    }
    episodes
}
