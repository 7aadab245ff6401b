//! What a backtest found: the values behind the table, the JSON, the spans file and the report.

use serde::Serialize;

use crate::id::UserName;
use crate::unit::{Probability, Time};

/// One policy at one threshold, scored by the rules of the replay.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Point {
    /// The threshold of the policy: a probability for forecasts, hours or minutes for others as its name says; 0 if it has none.
    pub threshold: f64,
    /// Cold logins that found their GPU attached for at least 60 s, of all cold logins; 0 to 1.
    pub hit_rate: f64,
    /// GPU-hours held for somebody not logged in, per managed user and day.
    pub idle_gpu_hours_per_user_day: f64,
    /// Reservations that ended without their login, per cold login.
    pub wrong_per_login: f64,
    /// Mean wait for a GPU over all cold logins, seconds.
    pub mean_wait_s: f64,
    /// Cold logins that were scored.
    pub cold_logins: u64,
    /// Times a GPU was attached ahead, per cold login.
    pub attaches_per_login: f64,
    /// Of the logins above, those of users in their first two weeks, the very first login left out; none where a pool is shared.
    pub newcomers: Option<Newcomers>,
}

/// What a policy did for users in the first 14 days after their first login, as far as these are scored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Newcomers {
    /// Cold logins that found their GPU, of all but the first one of each, which nobody can foresee; 0 to 1.
    pub hit_rate: f64,
    /// GPU-hours held for them while they were not logged in, per such user and day.
    pub idle_gpu_hours_per_user_day: f64,
    /// Cold logins that count.
    pub cold_logins: u64,
}

/// One policy over its thresholds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PolicyResult {
    /// `headstart`, `always-on`, `keep-alive 60 min`, ...
    pub name: String,
    /// By threshold, most generous (most idle hours) last.
    pub points: Vec<Point>,
}

/// Forecasts that said about the same, and how often they came true.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct ReliabilityBin {
    /// Mean probability that was forecast.
    pub predicted: f64,
    /// Share that came true.
    pub seen: f64,
    /// Forecasts in this bin.
    pub n: u64,
}

/// How a month of the scored part went.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Month {
    /// `2010-02`, wall clock.
    pub month: String,
    /// Sum of forecasts over sum of what came true.
    pub predicted_over_seen: f64,
    /// Logins that a forecast was made of.
    pub logins: u64,
}

/// What a member of the model knew by itself.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MemberSkill {
    /// Its name.
    pub member: String,
    /// Share of the log loss of the mean rate that it spares; 0 = knows nothing.
    pub skill: f64,
}

/// One user's row in the timeline of a week; all times are that user's wall clock, as seconds since the epoch if it were UTC.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct WeekRow {
    /// Whose row.
    pub user: UserName,
    /// Sessions: start, end.
    pub sessions: Vec<(Time, Time)>,
    /// Spans in which a GPU was held for the user who was not logged in: start, end.
    pub held: Vec<(Time, Time)>,
    /// Cold logins and whether they found their GPU.
    pub logins: Vec<(Time, bool)>,
}

/// A real week of the replay as a timeline.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Week {
    /// Monday 0:00, wall clock.
    pub start: Time,
    /// Seven days later.
    pub end: Time,
    /// The threshold it was replayed at.
    pub threshold: Probability,
    /// The busiest users first.
    pub rows: Vec<WeekRow>,
}

/// Everything one backtest found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BacktestResult {
    /// File name of the trace.
    pub trace: String,
    /// People in it.
    pub users: u64,
    /// Rows of the trace.
    pub sessions: u64,
    /// First and last scored instant, wall clock.
    pub scored: (Time, Time),
    /// Days summed over the users under management.
    pub managed_user_days: f64,
    /// GPUs that were to share; none: as many as wanted.
    pub gpus: Option<u32>,
    /// headstart first, then the baselines.
    pub policies: Vec<PolicyResult>,
    /// Of headstart's slot forecasts in the scored part.
    pub reliability: Vec<ReliabilityBin>,
    /// Sum of forecasts over sum of what came true, in the scored part.
    pub predicted_over_seen: f64,
    /// The same month by month.
    pub months: Vec<Month>,
    /// Log-loss skill of each member of the model, and of all together.
    pub skills: Vec<MemberSkill>,
    /// Logins by weekday (Monday first) and hour of the wall clock, whole trace.
    pub heat: [[u32; 24]; 7],
    /// One week.
    pub week: Option<Week>,
}
