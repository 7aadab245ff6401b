//! headstart's own part of the replay: the daemon's history, model and two thresholds, refitted on the past as it goes.

use super::episode::Episodes;
use super::gap::Held;
use super::result::ReliabilityBin;
use super::{FORGET, Options, RELEASE_SHARE};
use crate::forecast::Model;
use crate::forecast::feature::{FEATURES, Row};
use crate::forecast::sample::Kept;
use crate::forecast::training::{self, Sample};
use crate::forecast::walk::{Decision, Sink, Walk};
use crate::id::{DesktopName, Subject};
use crate::unit::{Span, Time};
use jiff::tz::Offset;

/// The wall clock that is furthest ahead of UTC, and so the first to reach the scored part; seconds.
const EASTERNMOST: i64 = 14 * 3600;
/// Rows are trained on when they are so old: by then every wall clock has passed them.
const SETTLED: Span = Span::days(1);

/// What the replay found.
pub(crate) struct Replay {
    /// Spans held at each threshold.
    pub spans: Vec<Vec<Held>>,
    pub reliability: Reliability,
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
    let mut decider = Decider::new(episodes, thresholds, options.gpus.is_some());
    let mut boundary = Time::from_unix(episodes.t0 - EASTERNMOST);
    let end = episodes.sessions.last().map_or(boundary, |last| last.start.max(last.end))
        + Span::seconds(FORGET + EASTERNMOST);
    let mut appeared = vec![false; subjects.len()];
    for (done, session) in episodes.sessions.iter().enumerate() {
        while boundary <= session.start {
            walk.settle(boundary, &mut decider);
            decider.refit(boundary);
            boundary = boundary + options.refit;
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
        decider.refit(boundary);
        boundary = boundary + options.refit;
    }
    walk.settle(end, &mut decider);
    progress(1.0);
    decider.finish()
}

/// Takes and releases by the forecast, at every threshold at the same time.
struct Decider<'a> {
    model: Model,
    sample: Sample,
    thresholds: &'a [f64],
    /// Users by order of appearance.
    users: Vec<usize>,
    /// What is held now, by user and threshold.
    held: Vec<Vec<Option<Held>>>,
    spans: Vec<Vec<Held>>,
    scored: (i64, i64),
    reliability: Reliability,
    decisions: Option<Vec<Scored>>,
    row: Row,
}

impl<'a> Decider<'a> {
    fn new(episodes: &Episodes, thresholds: &'a [f64], keep_decisions: bool) -> Self {
        Self {
            model: Model::default(),
            sample: Sample::new(training::ROWS),
            thresholds,
            users: Vec::new(),
            held: vec![vec![None; thresholds.len()]; episodes.users.len()],
            spans: vec![Vec::new(); thresholds.len()],
            scored: (episodes.t0, episodes.t1),
            reliability: Reliability::default(),
            decisions: keep_decisions.then(Vec::new),
            row: [0.0; FEATURES],
        }
    }

    /// A model of what was before; the old one stays if there is too little of it.
    fn refit(&mut self, now: Time) {
        if let Ok(model) = training::fit(&self.sample, now - SETTLED, Some(&self.model)) {
            self.model = model;
        }
    }

    fn finish(mut self) -> Replay {
        for (at, held) in self.held.iter_mut().flat_map(|of| of.iter_mut().enumerate()) {
            self.spans[at].extend(held.take());
        }
        Replay {
            spans: self.spans,
            reliability: self.reliability,
            decisions: self.decisions.unwrap_or_default(),
            model: self.model.summary(),
        }
    }
}

impl Sink for Decider<'_> {
    fn skips(&mut self, _login: bool, _hash: u32) -> bool {
        false
    }

    fn decision(&mut self, decision: &Decision) {
        if self.sample.wants(decision.login, decision.hash) {
            let mut row = [0.0; FEATURES];
            decision.fill(&mut row);
            self.sample.keep(decision.login, Kept { at: decision.at, hash: decision.hash, row });
        }
        if decision.wall < self.scored.0 {
            return;
        }
        let p = decision.probability(&self.model, &mut self.row);
        let user = self.users[decision.index];
        let offset = (decision.wall - decision.at.unix()) as i32;
        if decision.wall < self.scored.1 {
            self.reliability.add(p, decision.login);
            if let Some(decisions) = &mut self.decisions {
                decisions.push(Scored { at: decision.at.unix(), user: user as u32, probability: p as f32 });
            }
        }
        for (at, threshold) in self.thresholds.iter().enumerate() {
            let held = &mut self.held[user][at];
            // What ended with a login or was let go does not touch this decision.
            let going_on = held.is_some_and(|held| held.to == decision.wall && held.offset == offset);
            let take = p >= if going_on { threshold * RELEASE_SHARE } else { *threshold };
            match held {
                Some(held) if take && going_on => held.to = decision.until,
                _ => {
                    self.spans[at].extend(held.take());
                    if take {
                        *held = Some(Held { user, from: decision.wall, to: decision.until, offset });
                    }
                }
            }
        }
        if decision.login {
            for (at, held) in self.held[user].iter_mut().enumerate() {
                self.spans[at].extend(held.take());
            }
        }
    }
}

/// Forecasts against what came true.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reliability {
    bins: [(f64, u64, u64); EDGES.len() + 1],
}

/// Where bins of forecasts end.
const EDGES: [f64; 14] = [0.001, 0.002, 0.005, 0.01, 0.02, 0.035, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.6];

impl Reliability {
    fn add(&mut self, p: f64, login: bool) {
        let bin = &mut self.bins[EDGES.partition_point(|edge| *edge <= p)];
        bin.0 += p;
        bin.1 += u64::from(login);
        bin.2 += 1;
    }

    pub(crate) fn bins(&self) -> Vec<ReliabilityBin> {
        self.bins
            .iter()
            .filter(|bin| bin.2 > 0)
            .map(|(said, came, n)| ReliabilityBin {
                predicted: said / *n as f64,
                seen: *came as f64 / *n as f64,
                n: *n,
            })
            .collect()
    }

    pub(crate) fn predicted_over_seen(&self) -> f64 {
        let (said, came) = self.bins.iter().fold((0.0, 0), |(said, came), bin| (said + bin.0, came + bin.1));
        if came == 0 { 0.0 } else { said / came as f64 }
    }
}
