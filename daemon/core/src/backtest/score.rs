//! What spans were worth, by the rules at the head of [`super`].

use super::episode::Episodes;
use super::gap::{Held, by_user};
use super::result::{Newcomers, Point};
use super::{LEAD, Options};

/// Scores the spans of one policy.
pub(crate) fn score(episodes: &Episodes, spans: &[Held], threshold: f64, options: &Options) -> Point {
    let mut tally = Tally::default();
    let demand = options.on_demand_wait.as_seconds();
    for (user, spans) in by_user(spans, episodes.users.len()).iter().enumerate() {
        let new_until = episodes.users[user].new_until();
        for gap in episodes.gaps(user, episodes.t0) {
            let mut next = spans.partition_point(|(_, to)| *to <= gap.from);
            while let Some((from, to)) = spans.get(next).filter(|(from, _)| *from < gap.to) {
                let (a, b) = ((*from).max(gap.from), (*to).min(gap.to));
                tally.idle += b - a;
                tally.new_idle += (b.min(new_until) - a).max(0);
                tally.attaches += u64::from(*from > gap.from);
                let at_end = b == gap.to;
                if at_end && gap.login {
                    if b - a >= LEAD {
                        tally.hits += 1;
                        tally.new_hits += u64::from(gap.to < new_until);
                        tally.saved += demand;
                    } else {
                        tally.saved += (b - a).min(demand);
                    }
                } else if !at_end || gap.to < episodes.t1 {
                    tally.wrong += 1;
                }
                next += 1;
            }
        }
    }
    let newcomers = Newcomers {
        hit_rate: tally.new_hits as f64 / episodes.new_logins.max(1) as f64,
        idle_gpu_hours_per_user_day: tally.new_idle as f64 / 3600.0 / episodes.new_days.max(1e-9),
        cold_logins: episodes.new_logins,
    };
    Point { newcomers: Some(newcomers), ..tally.point(episodes, threshold, demand) }
}

/// Sums over users.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    /// Seconds.
    pub idle: i64,
    pub hits: u64,
    pub attaches: u64,
    pub wrong: u64,
    /// Of users in their first days.
    pub new_idle: i64,
    pub new_hits: u64,
    /// Seconds of waiting that were spared.
    pub saved: i64,
}

impl Tally {
    pub(crate) fn point(&self, episodes: &Episodes, threshold: f64, demand: i64) -> Point {
        let logins = episodes.logins.max(1) as f64;
        Point {
            threshold,
            hit_rate: self.hits as f64 / logins,
            idle_gpu_hours_per_user_day: self.idle as f64 / 3600.0 / episodes.managed_days.max(1e-9),
            wrong_per_login: self.wrong as f64 / logins,
            mean_wait_s: demand as f64 - self.saved as f64 / logins,
            cold_logins: episodes.logins,
            attaches_per_login: self.attaches as f64 / logins,
            newcomers: None,
        }
    }
}
