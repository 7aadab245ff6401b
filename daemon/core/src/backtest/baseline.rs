//! The policies that headstart is compared with, each planning one idle time from what was before it.
//!
//! Sliding windows are in [`super::prorp`].

use super::episode::{Episode, Episodes};
use super::gap::Held;
use super::result::{Point, PolicyResult};
use super::score::score;
use super::{FORGET, Options, WARMUP};
use crate::history::GRACE;

const HOUR: i64 = 3600;
const DAY: i64 = 86_400;

/// What a policy may look at: the episodes up to the release, and the release.
pub(crate) struct Release<'a> {
    pub user: usize,
    pub episodes: &'a [Episode],
    pub at: i64,
}

/// Takes a span; false: enough.
pub(crate) type Emit<'a> = &'a mut dyn FnMut(i64, i64) -> bool;

/// Every baseline over its thresholds.
pub(crate) fn all(episodes: &Episodes, options: &Options) -> Vec<PolicyResult> {
    plans(episodes)
        .into_iter()
        .map(|(name, plans)| {
            let points: Vec<Point> =
                plans.iter().map(|(threshold, spans)| score(episodes, spans, *threshold, options)).collect();
            PolicyResult { name, points: by_idle(points) }
        })
        .collect()
}

/// Most generous last.
pub(crate) fn by_idle(mut points: Vec<Point>) -> Vec<Point> {
    points.sort_by(|a, b| a.idle_gpu_hours_per_user_day.total_cmp(&b.idle_gpu_hours_per_user_day));
    points
}

/// Spans at each threshold.
pub(crate) type Plans = Vec<(f64, Vec<Held>)>;

/// The spans that each baseline wants.
pub(crate) fn plans(episodes: &Episodes) -> Vec<(String, Plans)> {
    let one = |spans: Vec<Held>| vec![(0.0, spans)];
    let mut all: Vec<(String, Plans)> = vec![
        ("always-on".to_owned(), one(plan(episodes, |release, emit| keep_alive(release, FORGET + DAY, emit)))),
        ("on-demand".to_owned(), one(Vec::new())),
        (
            "weekdays 08-18".to_owned(),
            one(plan(episodes, |release, emit| weekdays(release, 8 * HOUR, 18 * HOUR, emit))),
        ),
    ];
    for minutes in [10, 60] {
        let spans = plan(episodes, |release, emit| keep_alive(release, minutes * 60, emit));
        all.push((format!("keep-alive {minutes} min"), one(spans)));
    }
    // The paper's setting first, then the two ranges and three pairs of percentiles that span its trade-off.
    let mut settings = vec![(4, 5, 99)];
    for hours in [24, 72] {
        settings.extend([(hours, 5, 99), (hours, 10, 90), (hours, 25, 75)]);
    }
    let histograms = settings
        .into_iter()
        .map(|(hours, low, high)| {
            (hours as f64, plan(episodes, |release, emit| histogram(release, hours * HOUR, low, high, emit)))
        })
        .collect();
    all.push(("histogram".to_owned(), histograms));
    all.push(("sliding window".to_owned(), super::prorp::plans(episodes)));
    all
}

/// Lets a policy plan every idle time on its own.
pub(crate) fn plan(episodes: &Episodes, mut decide: impl FnMut(&Release, Emit)) -> Vec<Held> {
    let mut spans = Vec::new();
    for (user, of) in episodes.users.iter().enumerate() {
        for gap in episodes.gaps(user, episodes.t0 - WARMUP) {
            let release = Release { user, episodes: &of.episodes[..=gap.episode], at: gap.from };
            let offset = of.episodes[gap.episode].offset;
            let mut last = gap.from;
            decide(&release, &mut |from, to| {
                let from = from.max(last);
                if from >= gap.to {
                    return false;
                }
                let to = to.min(gap.to);
                if to > from {
                    spans.push(Held { user, from, to, offset });
                    last = to;
                }
                true
            });
        }
    }
    spans
}

/// From the release on for `seconds` after the logout.
fn keep_alive(release: &Release, seconds: i64, emit: Emit) {
    emit(release.at, release.at + seconds - GRACE.as_seconds());
}

/// From `from` to `to` on weekdays.
fn weekdays(release: &Release, from: i64, to: i64, emit: Emit) {
    let mut day = release.at.div_euclid(DAY);
    while day * DAY <= release.at + FORGET {
        if crate::history::pattern::class(day) == 0 && !emit(day * DAY + from, day * DAY + to) {
            return;
        }
        day += 1;
    }
}

/// The hybrid histogram of "Serverless in the Wild" (USENIX ATC 2020), per user.
///
/// The last 500 idle times in bins of a minute up to `range`: warm up after the `low`-th percentile less 10 %, keep until
/// the `high`-th and 10 %. Too few samples or a flat histogram: keep alive for `range`. Mostly out of bounds: around the
/// median of the last five, 15 % each side (it stands in for the paper's ARIMA).
fn histogram(release: &Release, range: i64, low: u32, high: u32, emit: Emit) {
    let end = release.episodes.last().map_or(release.at, |last| last.end);
    let all: Vec<i64> = release.episodes.windows(2).map(|pair| pair[1].start - pair[0].end).collect();
    let idle = &all[all.len().saturating_sub(500)..];
    let mut within: Vec<i64> = idle.iter().copied().filter(|t| *t < range).collect();
    if idle.len() >= 5 && (within.len() as f64) < 0.5 * idle.len() as f64 {
        let mut last = idle[idle.len() - 5..].to_vec();
        last.sort_unstable();
        let median = last[2] as f64;
        emit((end as f64 + 0.85 * median) as i64, (end as f64 + 1.15 * median) as i64);
        return;
    }
    if within.len() < 5 || variation(&within, range) < 2.0 {
        emit(release.at, end + range);
        return;
    }
    within.sort_unstable();
    let at = |percent: u32| {
        let place = (f64::from(percent) / 100.0 * within.len() as f64) as usize;
        within[place.min(within.len() - 1)] as f64
    };
    emit((end as f64 + at(low) * 0.9) as i64, (end as f64 + at(high) * 1.1) as i64);
}

/// Coefficient of variation of the counts per minute.
fn variation(within: &[i64], range: i64) -> f64 {
    let mut counts = vec![0_u32; (range / 60) as usize];
    for t in within {
        counts[(t / 60) as usize] += 1;
    }
    let n = counts.len() as f64;
    let mean = within.len() as f64 / n;
    let variance = counts.iter().map(|c| (f64::from(*c) - mean).powi(2)).sum::<f64>() / n;
    variance.sqrt() / mean.max(1e-9)
}
