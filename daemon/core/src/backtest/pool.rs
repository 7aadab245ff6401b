//! The replay with a fixed number of GPUs that all users share.
//!
//! In real time, by the planner's rules with `keep-spare`: there is no budget but the GPUs. Every quarter hour those that no session
//! holds stay with whoever has them until somebody wants one who is not served by a free one: somebody so much likelier to come that it is
//! worth the attach, or anybody likely enough where the holder is not. Released in between, a user keeps the GPU. A login without its
//! own GPU takes a free one, else the one held for the least likely; if all are in use it waits until one is free, or to the end of its
//! session. Those who wait come first.

use super::baseline::{self, by_idle};
use super::episode::Episodes;
use super::gap::Held;
use super::replay::Replay;
use super::result::{Point, PolicyResult};
use super::score::Tally;
use super::{LEAD, Options};
use crate::forecast::LEAST_LEFT;
use crate::history::GRACE;
use crate::plan::LEAST_GAIN;
use crate::policy::RELEASE_SHARE;

/// Seconds of a slot.
const SLOT: i64 = 900;

/// Somebody wants a GPU from one instant to another.
#[derive(Clone, Copy, Debug)]
struct Wish {
    at: i64,
    until: i64,
    user: usize,
    score: f64,
}

/// headstart's trade-off curve with `gpus` GPUs.
pub(crate) fn headstart(
    episodes: &Episodes,
    replay: &Replay,
    thresholds: &[f64],
    gpus: u32,
    options: &Options,
) -> Vec<Point> {
    let mut wishes: Vec<Wish> = replay
        .decisions
        .iter()
        .map(|d| {
            // Of whoever has just left only a rest of the slot is at stake: what it is worth is what a minute of it brings.
            let left = (SLOT - d.at.rem_euclid(SLOT)) as f64 / SLOT as f64;
            let score = f64::from(d.probability) / left.max(f64::from(LEAST_LEFT));
            Wish { at: d.at, until: d.at + SLOT, user: d.user as usize, score }
        })
        .collect();
    wishes.sort_by_key(|wish| (wish.at, wish.user));
    thresholds
        .iter()
        .map(|threshold| {
            let (tally, waited) = Pool::new(episodes, gpus, *threshold, options).run(&wishes);
            point(episodes, &tally, waited, *threshold)
        })
        .collect()
}

/// The baselines with `gpus` GPUs: their spans are wishes that are worth the same.
pub(crate) fn baselines(episodes: &Episodes, gpus: u32, options: &Options) -> Vec<PolicyResult> {
    baseline::plans(episodes)
        .into_iter()
        .map(|(name, plans)| {
            let points = plans
                .iter()
                .map(|(threshold, spans)| {
                    let (tally, waited) = Pool::new(episodes, gpus, 0.5, options).run(&wishes(spans));
                    point(episodes, &tally, waited, *threshold)
                })
                .collect();
            PolicyResult { name, points: by_idle(points) }
        })
        .collect()
}

fn wishes(spans: &[Held]) -> Vec<Wish> {
    let mut wishes: Vec<Wish> = spans
        .iter()
        .map(|held| {
            let utc = |wall: i64| wall - i64::from(held.offset);
            Wish { at: utc(held.from), until: utc(held.to), user: held.user, score: 1.0 }
        })
        .collect();
    wishes.sort_by_key(|wish| (wish.at, wish.user));
    wishes
}

fn point(episodes: &Episodes, tally: &Tally, waited: i64, threshold: f64) -> Point {
    let mut point = tally.point(episodes, threshold, 0);
    point.mean_wait_s = waited as f64 / episodes.logins.max(1) as f64;
    point
}

/// What a user has.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Has {
    Nothing,
    /// Held since.
    Held(i64),
    /// Logged in, with a GPU.
    Session,
    /// Logged in without one, since.
    Waiting(i64),
}

struct Pool<'a> {
    episodes: &'a Episodes,
    gpus: usize,
    take: f64,
    demand: i64,
    has: Vec<Has>,
    wish: Vec<Option<Wish>>,
    /// Logins and releases: when, whether a login, user, whether the login is scored.
    events: Vec<(i64, bool, usize, bool)>,
    /// Users who wait, first come first.
    queue: Vec<(usize, bool)>,
    used: usize,
    tally: Tally,
    waited: i64,
}

impl<'a> Pool<'a> {
    fn new(episodes: &'a Episodes, gpus: u32, take: f64, options: &Options) -> Self {
        let mut events = Vec::new();
        for (user, of) in episodes.users.iter().enumerate() {
            for episode in &of.episodes {
                let utc = |wall: i64| wall - i64::from(episode.offset);
                events.push((utc(episode.start), true, user, episodes.is_scored(episode.start)));
                events.push((utc(episode.end) + GRACE.as_seconds(), false, user, false));
            }
        }
        // Releases (false) before logins of the same second.
        events.sort_unstable();
        let n = episodes.users.len();
        Self {
            episodes,
            gpus: gpus as usize,
            take,
            demand: options.on_demand_wait.as_seconds(),
            has: vec![Has::Nothing; n],
            wish: vec![None; n],
            events,
            queue: Vec::new(),
            used: 0,
            tally: Tally::default(),
            waited: 0,
        }
    }

    fn run(mut self, wishes: &[Wish]) -> (Tally, i64) {
        let events = std::mem::take(&mut self.events);
        let (mut events, mut wishes) = (events.into_iter().peekable(), wishes.iter().peekable());
        let mut tick = self.episodes.first.div_euclid(SLOT) * SLOT;
        while tick < self.episodes.t1 + SLOT {
            tick += SLOT;
            loop {
                let event = events.peek().map(|event| event.0).filter(|at| *at < tick);
                let wish = wishes.peek().map(|wish| wish.at).filter(|at| *at < tick);
                match (event, wish) {
                    (None, None) => break,
                    // What is wished at a release comes after it, what is wished before a login before it.
                    (Some(at), Some(wished)) if wished < at => self.wished(wishes.next()),
                    (Some(at), Some(wished)) if wished == at && events.peek().is_some_and(|event| event.1) => {
                        self.wished(wishes.next());
                    }
                    (Some(_), _) => self.event(events.next()),
                    (None, Some(_)) => self.wished(wishes.next()),
                }
            }
            while let Some(wish) = wishes.next_if(|wish| wish.at == tick) {
                self.wish[wish.user] = Some(*wish);
            }
            self.share(tick);
        }
        (self.tally, self.waited)
    }

    /// A wish between two ticks is met if a GPU is free; at the release it goes on at no charge.
    fn wished(&mut self, wish: Option<&Wish>) {
        let Some(wish) = wish else { return };
        self.wish[wish.user] = Some(*wish);
        if self.has[wish.user] == Has::Nothing && wish.score >= self.take && self.used < self.gpus {
            self.has[wish.user] = Has::Held(wish.at);
            self.used += 1;
        }
    }

    fn event(&mut self, event: Option<(i64, bool, usize, bool)>) {
        let Some((at, login, user, scored)) = event else { return };
        if login { self.login(at, user, scored) } else { self.released(at, user) }
    }

    fn login(&mut self, at: i64, user: usize, scored: bool) {
        self.wish[user] = None;
        if let Has::Held(since) = self.has[user] {
            self.spend(since, at);
            let early = at - since;
            let hit = early >= LEAD;
            self.tally.hits += u64::from(scored && hit);
            self.waited += if scored && !hit { (self.demand - early).max(0) } else { 0 };
            self.has[user] = Has::Session;
            return;
        }
        if self.used >= self.gpus {
            let score = |user: &usize| self.wish[*user].map_or(0.0, |wish| wish.score);
            let least = (0..self.has.len())
                .filter(|user| matches!(self.has[*user], Has::Held(_)))
                .min_by(|a, b| score(a).total_cmp(&score(b)));
            if let Some(other) = least {
                self.let_go(at, other);
            } else {
                self.has[user] = Has::Waiting(at);
                self.queue.push((user, scored));
                return;
            }
        }
        self.used += 1;
        self.has[user] = Has::Session;
        self.waited += if scored { self.demand } else { 0 };
    }

    fn released(&mut self, at: i64, user: usize) {
        match self.has[user] {
            Has::Session if self.queue.is_empty() => {
                self.has[user] = Has::Held(at);
                return;
            }
            Has::Session => self.used -= 1,
            Has::Waiting(since) => {
                let scored = self.queue.iter().any(|(waiting, scored)| *waiting == user && *scored);
                self.waited += if scored { at - GRACE.as_seconds() - since } else { 0 };
                self.queue.retain(|(waiting, _)| *waiting != user);
            }
            Has::Nothing | Has::Held(_) => {}
        }
        self.has[user] = Has::Nothing;
        if self.used < self.gpus && !self.queue.is_empty() {
            let (next, scored) = self.queue.remove(0);
            if let Has::Waiting(since) = self.has[next] {
                self.waited += if scored { at - since + self.demand } else { 0 };
            }
            self.has[next] = Has::Session;
            self.used += 1;
        }
    }

    /// Who wants a GPU gets a free one, or the one of the holder who is least likely to come, if that is much less likely.
    fn share(&mut self, at: i64) {
        let score = |user: usize| self.wish[user].filter(|wish| wish.until > at).map_or(0.0, |wish| wish.score);
        let by_score = |a: &(f64, usize), b: &(f64, usize)| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1));
        let all = || (0..self.has.len()).map(|user| (score(user), user));
        let mut wanted: Vec<_> =
            all().filter(|(score, user)| self.has[*user] == Has::Nothing && *score >= self.take).collect();
        wanted.sort_by(by_score);
        let mut holders: Vec<_> = all().filter(|(_, user)| matches!(self.has[*user], Has::Held(_))).collect();
        holders.sort_by(by_score);
        for (score, user) in wanted {
            if self.used >= self.gpus {
                let counts = |held: f64| if held >= self.take * RELEASE_SHARE { held + LEAST_GAIN } else { 0.0 };
                let Some((_, least)) = holders.pop_if(|(held, _)| counts(*held) < score) else { break };
                self.let_go(at, least);
            }
            self.has[user] = Has::Held(at);
            self.used += 1;
            self.tally.attaches += u64::from(self.is_scored(at));
        }
    }

    fn let_go(&mut self, at: i64, user: usize) {
        if let Has::Held(since) = self.has[user] {
            self.spend(since, at);
            self.tally.wrong += u64::from(self.is_scored(at));
            self.has[user] = Has::Nothing;
            self.used -= 1;
        }
    }

    /// Idle time, as far as it is scored.
    fn spend(&mut self, from: i64, to: i64) {
        self.tally.idle += (to.min(self.episodes.t1) - from.max(self.episodes.t0)).max(0);
    }

    fn is_scored(&self, at: i64) -> bool {
        self.episodes.is_scored(at)
    }
}
