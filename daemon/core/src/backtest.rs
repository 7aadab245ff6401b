//! Walk-forward replay of a login trace: what each policy would have held for whom, and what that was worth.
//!
//! # Rules (the same for every policy)
//! * Sessions of one user at most 10 minutes apart are one episode: a GPU stays for that grace time at no charge. What is
//!   left are the *cold logins*. A missing end is the start and 45 minutes; a session lasts at least one minute.
//! * The first 28 days only train.
//! * A user is managed from the first login on, until 28 days without one. Cold logins of users who are not managed are
//!   misses for everybody.
//! * Hit: the GPU was attached at least 60 s before the cold login and still is at it.
//! * Idle: attached, not in an episode and not in the grace time.
//! * Spans that touch are one: a GPU that stays is not attached anew.
//! * All times are on the user's wall clock: UTC and the offset of the record.
//! * A decision sees only what was before it. It is made at each quarter hour, and at a release within one.
//!
//! The replay goes on until everybody is forgotten, 28 days after the end of the trace, as if nobody came any more; what is
//! after the end is not scored. So a trace that is cut off at an instant leaves every span that ends before it as it was.
//!
//! Deliberately not here: files, tables, progress bars, which are the command's.

mod baseline;
mod episode;
mod gap;
mod pool;
mod prorp;
mod quality;
mod replay;
pub mod result;
mod score;
mod week;

use std::borrow::Cow;
use std::collections::BTreeMap;

use jiff::tz::Offset;

use crate::forecast::Topic;
use crate::hint;
use crate::id::{GroupName, UserName};
use crate::policy::{Goal, Policy, READY_BEFORE};
use crate::trace::Row;
use crate::unit::{Probability, Span, Time};
use episode::Episodes;
use result::{BacktestResult, Point, PolicyResult};

/// Attached so long before the login, the device was there in time.
pub(crate) const LEAD: i64 = READY_BEFORE.as_seconds();
/// The part of the trace that only trains.
pub(crate) const WARMUP: i64 = 28 * 86_400;
/// A user who does not come for so long is no longer managed.
pub(crate) const FORGET: i64 = 28 * 86_400;

/// What is to be replayed.
#[derive(Clone, Debug)]
pub struct Options {
    /// Name of the trace for the result.
    pub trace: String,
    /// GPUs that all users share; none: as many as wanted.
    pub gpus: Option<u32>,
    /// What was told of the users, in any order.
    pub hints: Vec<hint::Row>,
    /// Which group a user belongs to.
    pub groups: BTreeMap<UserName, GroupName>,
    /// Of these the model is told nothing.
    pub without: Vec<Topic>,
    /// How often the model is refitted.
    pub refit: Span,
    /// How long a login waits for a GPU that is made on demand.
    pub on_demand_wait: Span,
    /// Only so many users, picked by name as if at random.
    pub sample: Option<usize>,
    /// Only this share of the trace's period, from its beginning, is looked at: what is tried and chosen is to be tried on a part of which
    /// the rest proves afterwards what it is worth.
    pub first: f64,
    /// A threshold that follows this goal from night to night is replayed as well; spans and the week that is shown are then its.
    pub goal: Option<Goal>,
    /// The threshold of the spans and of the week that is shown; none: the one nearest to one idle hour per user and day.
    pub threshold: Option<Probability>,
}

impl Options {
    /// The usual replay of a trace.
    pub fn new(trace: impl Into<String>) -> Self {
        Self {
            trace: trace.into(),
            gpus: None,
            hints: Vec::new(),
            groups: BTreeMap::new(),
            without: Vec::new(),
            refit: Span::days(7),
            on_demand_wait: Span::minutes(1),
            sample: None,
            first: 1.0,
            goal: None,
            threshold: None,
        }
    }
}

/// An interval in which headstart held a GPU for somebody not logged in.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reservation {
    /// From.
    pub start: Time,
    /// For whom.
    pub user: UserName,
    /// To: the login, or the release.
    pub end: Time,
    /// The user's offset from UTC.
    pub offset: Offset,
}

impl Reservation {
    /// `user,start,end`, as in a trace.
    pub fn to_line(&self) -> String {
        format!("{},{},{}", self.user, self.start.rfc3339(self.offset), self.end.rfc3339(self.offset))
    }
}

/// What a replay leaves.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The scores.
    pub result: BacktestResult,
    /// What headstart held at the chosen threshold, by start.
    pub reservations: Vec<Reservation>,
    /// That threshold.
    pub threshold: Probability,
    /// The last model that was fitted, in words.
    pub model: String,
}

/// Why a trace cannot be replayed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BacktestError {
    /// Nothing in it.
    #[error("the trace holds no session")]
    Empty,
    /// Nothing left after the warm-up.
    #[error("the trace is {0} long; the first 28 days only train, so that nothing is left to score")]
    Short(Span),
}

/// Replays a trace. `progress` is told the share that is done, 0 to 1.
///
/// # Errors
/// The trace is empty, or ends within the warm-up.
pub fn run(rows: &[Row], options: &Options, progress: &mut dyn FnMut(f64)) -> Result<Outcome, BacktestError> {
    let mut episodes = Episodes::new(&first_part(rows, options.first), options.sample);
    if episodes.users.is_empty() {
        return Err(BacktestError::Empty);
    }
    if episodes.logins == 0 {
        return Err(BacktestError::Short(Span::seconds(episodes.t1 - episodes.first)));
    }
    let mut thresholds = crate::forecast::price::SWEEP.to_vec();
    if let Some(threshold) = options.threshold {
        // As it was typed: a probability is kept in single precision.
        thresholds.push((threshold.get() * 1e6).round() / 1e6);
        thresholds.sort_by(|a, b| b.total_cmp(a));
        thresholds.dedup();
    }
    if options.goal.is_some() {
        // Until enough is known to meet the goal.
        thresholds.push(Policy::default().take.get());
    }
    let replay = replay::run(&mut episodes, &thresholds, options, progress);
    let mut points = Vec::new();
    for (threshold, spans) in thresholds.iter().zip(&replay.spans) {
        points.push(score::score(&episodes, spans, *threshold, options));
    }
    let aimed = options.goal.map(|_| thresholds.len() - 1);
    let shown = aimed.unwrap_or_else(|| shown(&thresholds, &points, options));
    let week = week::pick(&episodes, &replay.spans[shown], Probability::clamped(thresholds[shown]));
    let reservations = reservations(&episodes, &replay.spans[shown]);
    let mut policies = baseline::all(&episodes, options);
    if let Some(gpus) = options.gpus {
        points = pool::headstart(&episodes, &replay, &thresholds, gpus, options);
        policies = pool::baselines(&episodes, gpus, options);
    }
    let aimed = options.goal.and_then(|goal| points.pop().map(|point| (goal, point)));
    if let Some((goal, point)) = aimed {
        policies.insert(
            0,
            PolicyResult { name: format!("headstart, {goal}"), points: vec![Point { threshold: 0.0, ..point }] },
        );
    }
    policies.insert(0, PolicyResult { name: "headstart".to_owned(), points });
    let result = BacktestResult {
        trace: options.trace.clone(),
        users: episodes.users.len() as u64,
        sessions: episodes.rows,
        scored: (Time::from_unix(episodes.t0), Time::from_unix(episodes.t1)),
        managed_user_days: episodes.managed_days,
        gpus: options.gpus,
        policies,
        reliability: replay.quality.bins(),
        predicted_over_seen: replay.quality.predicted_over_seen(),
        months: replay.quality.months(),
        skills: replay.quality.skills(),
        heat: week::heat(&episodes),
        week: Some(week),
    };
    Ok(Outcome { result, reservations, threshold: Probability::clamped(thresholds[shown]), model: replay.model })
}

/// The threshold that is shown: the wanted one, or the one nearest to one idle hour.
fn shown(thresholds: &[f64], points: &[result::Point], options: &Options) -> usize {
    let distance = |i: &usize| match options.threshold {
        Some(wanted) => (thresholds[*i] - wanted.get()).abs(),
        None => (points[*i].idle_gpu_hours_per_user_day - 1.0).abs(),
    };
    (0..thresholds.len()).min_by(|a, b| distance(a).total_cmp(&distance(b))).unwrap_or(0)
}

fn reservations(episodes: &Episodes, spans: &[gap::Held]) -> Vec<Reservation> {
    let mut all: Vec<Reservation> = spans
        .iter()
        .map(|held| {
            let offset = Offset::from_seconds(held.offset).unwrap_or(Offset::UTC);
            let utc = |wall: i64| Time::from_unix(wall - i64::from(held.offset));
            Reservation {
                start: utc(held.from),
                user: episodes.users[held.user].name.clone(),
                end: utc(held.to),
                offset,
            }
        })
        .collect();
    all.sort();
    all
}

/// The rows that begin within the first share of the period.
fn first_part(rows: &[Row], share: f64) -> Cow<'_, [Row]> {
    let starts = || rows.iter().map(|row| row.start);
    let (Some(first), Some(last)) = (starts().min(), starts().max()) else { return Cow::Borrowed(rows) };
    if share >= 1.0 {
        return Cow::Borrowed(rows);
    }
    let end = first + Span::seconds(((last - first).as_seconds() as f64 * share) as i64);
    Cow::Owned(rows.iter().filter(|row| row.start <= end).cloned().collect())
}

/// The hit rate at so many idle hours per user and day, by a line between the points beside it. Points beyond the ends
/// are not invented: before the first one the line goes to the origin, after the last one there is nothing.
pub fn hit_at(points: &[result::Point], idle_hours: f64) -> Option<f64> {
    on_curve(points.iter().map(|p| (p.idle_gpu_hours_per_user_day, p.hit_rate)).collect(), idle_hours)
}

/// The same of newcomers alone, at so many idle hours per newcomer and day.
pub fn newcomers_hit_at(points: &[result::Point], idle_hours: f64) -> Option<f64> {
    let of = |p: &result::Point| p.newcomers.map(|new| (new.idle_gpu_hours_per_user_day, new.hit_rate));
    on_curve(points.iter().filter_map(of).collect(), idle_hours)
}

fn on_curve(mut curve: Vec<(f64, f64)>, idle_hours: f64) -> Option<f64> {
    curve.push((0.0, 0.0));
    curve.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)));
    // More idle hours never do worse: whoever may spend them may also leave it.
    for i in 1..curve.len() {
        curve[i].1 = curve[i].1.max(curve[i - 1].1);
    }
    let right = curve.iter().position(|point| point.0 >= idle_hours)?;
    let (x1, y1) = curve[right];
    let (x0, y0) = if right == 0 { (x1, y1) } else { curve[right - 1] };
    Some(if x1 > x0 { y0 + (y1 - y0) * (idle_hours - x0) / (x1 - x0) } else { y1 })
}

#[cfg(test)]
mod tests;
