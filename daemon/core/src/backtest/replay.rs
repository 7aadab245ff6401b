//! headstart's own part of the replay: the daemon's history, model and two thresholds, refitted on the past as it goes.

use super::episode::Episodes;
use super::gap::Held;
use super::quality::Quality;
use super::{FORGET, Options};
use crate::forecast::learner::{self, Learner};
use crate::forecast::walk::{Decision, Sink, Walk};
use crate::forecast::{LEAST_LEFT, Topic};
use crate::hint;
use crate::id::{DesktopName, Subject};
use crate::kept::Kept;
use crate::policy::RELEASE_SHARE;
use crate::policy::{Goal, READY_BEFORE};
use crate::unit::{Span, Time};
use jiff::tz::Offset;

/// The wall clock that is furthest ahead of UTC, and so the first to reach the scored part; seconds.
const EASTERNMOST: i64 = 14 * 3600;
/// How often something is learned.
const NIGHT: Span = Span::days(1);
/// So long before the scored part members are fitted for the first time, so that something is known of them when it begins.
const REHEARSAL: Span = Span::days(14);
/// Rows are trained on when they are so old: by then every wall clock has passed them.
const SETTLED: Span = Span::days(1);

/// What the replay found.
pub(crate) struct Replay {
    /// Spans held at each threshold.
    pub spans: Vec<Vec<Held>>,
    pub quality: Quality,
    /// Every scored decision, if they were asked for.
    pub decisions: Vec<Scored>,
    /// The last model, in words.
    pub model: String,
}

/// One decision of the scored part, for the replay of a shared pool.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scored {
    /// Wall clock less offset.
    pub at: i64,
    pub user: u32,
    pub probability: f32,
}

/// Replays the trace. Decisions are returned as well if there is a pool to share.
pub(crate) fn run(
    episodes: &mut Episodes,
    thresholds: &[f64],
    options: &Options,
    progress: &mut dyn FnMut(f64),
) -> Replay {
    let subjects: Vec<Subject> = episodes
        .users
        .iter()
        .map(|user| {
            let name =
                DesktopName::new(user.name.as_str()).expect("a user name is a valid desktop name: one rule for both");
            Subject::Desktop(name)
        })
        .collect();
    let mut walk = Walk::new(Span::seconds(FORGET));
    let mut decider = Decider::new(episodes, thresholds, options.goal, options.gpus.is_some());
    decider.learner.hide(&options.without);
    let mut boundary = Time::from_unix(episodes.t0 - EASTERNMOST) - REHEARSAL;
    let end = episodes.sessions.last().map_or(boundary, |last| last.start.max(last.end))
        + Span::seconds(FORGET + EASTERNMOST);
    for (user, subject) in episodes.users.iter().zip(&subjects) {
        walk.set_group(subject, options.groups.get(&user.name));
    }
    // Being told something makes a decision, which would tell of it.
    let deaf = options.without.contains(&Topic::Hints);
    for (user, row) in hints_of(episodes, if deaf { &[] } else { &options.hints }) {
        walk.hint(&subjects[user], row.hint, row.offset);
    }
    let mut appeared = vec![false; subjects.len()];
    for (done, session) in episodes.sessions.iter().enumerate() {
        while boundary <= session.start {
            walk.settle(boundary, &mut decider);
            decider.nightly(boundary, options.refit);
            boundary = boundary + NIGHT;
            progress(done as f64 / episodes.sessions.len() as f64);
        }
        if !std::mem::replace(&mut appeared[session.user], true) {
            decider.users.push(session.user);
        }
        let offset = Offset::from_seconds(session.offset).ok();
        walk.session(&subjects[session.user], session.start, session.end, offset, &mut decider);
    }
    while boundary <= end {
        walk.settle(boundary, &mut decider);
        decider.nightly(boundary, options.refit);
        boundary = boundary + NIGHT;
    }
    walk.settle(end, &mut decider);
    progress(1.0);
    decider.finish()
}

/// Who each hint is of. Of strangers to the trace nothing is to be known.
fn hints_of<'a>(episodes: &Episodes, hints: &'a [hint::Row]) -> Vec<(usize, &'a hint::Row)> {
    let number = |name| episodes.users.binary_search_by(|user| user.name.cmp(name)).ok();
    let of_row = |row: &'a hint::Row| {
        let users = match &row.subject {
            Some(name) => number(name).map_or(0..0, |user| user..user + 1),
            None => 0..episodes.users.len(),
        };
        users.map(move |user| (user, row))
    };
    hints.iter().flat_map(of_row).collect()
}

/// Takes and releases by the forecast, at every threshold at the same time.
struct Decider {
    learner: Learner,
    /// When its members were fitted last.
    fitted: Option<Time>,
    thresholds: Vec<f64>,
    /// The last threshold follows this, and what it spent and reached.
    goal: Option<Goal>,
    kept: Kept,
    /// Up to when each user's time is counted in that.
    counted: Vec<Option<i64>>,
    /// Users by order of appearance.
    users: Vec<usize>,
    /// What is held now, by user and threshold.
    held: Vec<Vec<Option<Held>>>,
    spans: Vec<Vec<Held>>,
    scored: (i64, i64),
    quality: Quality,
    decisions: Option<Vec<Scored>>,
}

impl Decider {
    fn new(episodes: &Episodes, thresholds: &[f64], goal: Option<Goal>, keep_decisions: bool) -> Self {
        let mut learner = Learner::new(learner::ROWS);
        learner.price_from(Time::from_unix(episodes.first));
        Self {
            learner,
            fitted: None,
            thresholds: thresholds.to_vec(),
            goal,
            kept: Kept::default(),
            counted: vec![None; episodes.users.len()],
            users: Vec::new(),
            held: vec![vec![None; thresholds.len()]; episodes.users.len()],
            spans: vec![Vec::new(); thresholds.len()],
            scored: (episodes.t0, episodes.t1),
            quality: Quality::default(),
            decisions: keep_decisions.then(Vec::new),
        }
    }

    /// A model of what was before, or the members of the last one joined anew.
    fn nightly(&mut self, now: Time, refit: Span) {
        if self.fitted.is_some_and(|fitted| now < fitted + refit) {
            self.learner.join(now - SETTLED);
        } else if self.learner.refit(now - SETTLED).is_ok() {
            self.fitted = Some(now);
        }
        if let (Some(goal), Some(last)) = (self.goal, self.thresholds.last_mut())
            && let Some(price) = self.learner.model.price(self.kept.asked(goal))
        {
            *last = price.take;
        }
    }

    fn finish(mut self) -> Replay {
        for (at, held) in self.held.iter_mut().flat_map(|of| of.iter_mut().enumerate()) {
            self.spans[at].extend(held.take());
        }
        Replay {
            spans: self.spans,
            quality: self.quality,
            decisions: self.decisions.unwrap_or_default(),
            model: self.learner.model.summary(),
        }
    }
}

impl Sink for Decider {
    fn skips(&mut self, _at: Time, _login: bool, _hash: u32) -> bool {
        false
    }

    fn decision(&mut self, decision: &Decision) {
        let told = self.learner.learn(decision);
        if decision.wall < self.scored.0 {
            return;
        }
        let (p, said) = told.map_or_else(|| (decision.frequency(), None), |(p, said)| (p, Some(said)));
        let user = self.users[decision.index];
        let offset = (decision.wall - decision.at.unix()) as i32;
        if decision.wall < self.scored.1 {
            self.quality.add(decision.wall, p, said.as_ref(), decision.login);
            if let Some(decisions) = &mut self.decisions {
                decisions.push(Scored { at: decision.at.unix(), user: user as u32, probability: p as f32 });
            }
        }
        // The rest of a slot costs less than a whole one.
        let value = p / f64::from(decision.left().max(LEAST_LEFT));
        let from = decision.wall - decision.lead();
        for (at, threshold) in self.thresholds.iter().enumerate() {
            let held = &mut self.held[user][at];
            // What ended with a login or was let go does not touch this decision.
            let going_on = held.is_some_and(|held| held.to == decision.wall && held.offset == offset);
            let take = value >= if going_on { threshold * RELEASE_SHARE } else { *threshold };
            if self.goal.is_some() && at + 1 == self.thresholds.len() {
                let lead = if going_on { 0 } else { decision.lead() };
                let lasts = decision.until - decision.wall + lead;
                // Managed again from the login on, however long nobody came before; and counted from where scoring begins.
                let login = (decision.entry.last_start.unix() + i64::from(offset)).max(self.scored.0);
                let since = self.counted[user].replace(decision.until).map_or(login, |counted| counted.max(login));
                let idle = Span::seconds(if take { lasts } else { 0 });
                self.kept.spent(decision.at, Span::seconds((decision.until - since).max(0)), idle);
                if decision.ends_with_login() {
                    self.kept.came(decision.at, take && (going_on || lasts >= READY_BEFORE.as_seconds()));
                }
            }
            match held {
                Some(held) if take && going_on => held.to = decision.until,
                _ => {
                    self.spans[at].extend(held.take());
                    if take {
                        *held = Some(Held { user, from, to: decision.until, offset });
                    }
                }
            }
        }
        if decision.ends_with_login() {
            for (at, held) in self.held[user].iter_mut().enumerate() {
                self.spans[at].extend(held.take());
            }
        }
    }
}
