//! Sliding window over the same time of the day, as in proactive resume and pause of serverless databases
//! (`ProRP`, SIGMOD 2024 companion).
//!
//! A window slides into the future; its confidence is the share of the last days (or weeks) with a login in the same
//! window. In the first window whose confidence suffices, activity is expected from the earliest to the latest login seen
//! there: resume five minutes before it, give up after it, look again. If it is less than `logical` away at the logout, do
//! not pause at all until then.

use super::FORGET;
use super::baseline::{Plans, plan};
use super::episode::{Episode, Episodes};
use super::gap::Held;

const HOUR: i64 = 3600;
const DAY: i64 = 86_400;
/// Step of the window, and how long before the predicted login to resume.
const STEP: i64 = 300;

/// One setting.
#[derive(Clone, Copy, Debug)]
struct Setting {
    confidence: f64,
    window: i64,
    logical: i64,
    /// Periods that are looked back, and days of a period.
    periods: usize,
    season: i64,
}

/// The paper's setting and a sweep of confidences, daily and weekly.
pub(crate) fn plans(episodes: &Episodes) -> Plans {
    let daily = |confidence, hours, logical| Setting {
        confidence,
        window: hours * HOUR,
        logical: logical * HOUR,
        periods: 28,
        season: 1,
    };
    let mut settings = vec![daily(0.1, 7, 7)];
    for confidence in [0.1, 0.2, 0.3, 0.5, 0.7] {
        settings.extend([daily(confidence, 1, 0), daily(confidence, 3, 0)]);
    }
    for confidence in [0.25, 0.5, 0.75] {
        settings.push(Setting { confidence, window: HOUR, logical: 0, periods: 8, season: 7 });
    }
    settings.into_iter().map(|setting| (setting.confidence, spans(episodes, setting))).collect()
}

fn spans(episodes: &Episodes, setting: Setting) -> Vec<Held> {
    let mut layouts: Vec<Option<Layout>> = episodes.users.iter().map(|_| None).collect();
    plan(episodes, |release, emit| {
        // Laid out once per user: nobody who has not come back has logins in between, so it still shows the past alone.
        let layout =
            layouts[release.user].get_or_insert_with(|| Layout::new(&episodes.users[release.user].episodes, setting));
        let mut now = release.at;
        loop {
            let at = (now - layout.base + STEP - 1).div_euclid(STEP);
            let next = layout.good.partition_point(|slot| i64::from(*slot) < at);
            let Some(slot) = layout.good.get(next).map(|slot| i64::from(*slot)) else { return };
            if layout.base + slot * STEP > release.at + FORGET {
                return;
            }
            let Some((earliest, latest)) = layout.seen(slot, setting) else { return };
            let start = layout.base + (slot + earliest) * STEP;
            let stop = layout.base + (slot + latest + 1) * STEP;
            let logical = now == release.at && start - release.at < setting.logical;
            if !emit(if logical { release.at } else { start - STEP }, stop) {
                return;
            }
            now = stop;
        }
    })
}

/// Logins of a user by step, and the steps whose window has the confidence.
struct Layout {
    base: i64,
    hit: Vec<bool>,
    good: Vec<u32>,
}

impl Layout {
    fn new(episodes: &[Episode], setting: Setting) -> Self {
        let base = episodes[0].start.div_euclid(DAY) * DAY;
        let window = (setting.window / STEP) as usize;
        let lag = (setting.season * DAY / STEP) as usize;
        let last = episodes[episodes.len() - 1].end;
        let n = ((last + FORGET - base).div_euclid(STEP)) as usize + window + 2;
        let mut hit = vec![false; n];
        for episode in episodes {
            hit[((episode.start - base) / STEP) as usize] = true;
        }
        let mut in_window = vec![0_u8; n];
        let mut count = hit[..window].iter().filter(|h| **h).count();
        for step in 0..n - window {
            in_window[step] = u8::from(count > 0);
            count += usize::from(hit[step + window]);
            count -= usize::from(hit[step]);
        }
        let mut confidence = vec![0_u8; n];
        for period in 1..=setting.periods {
            let shift = period * lag;
            if shift < n {
                for (sum, one) in confidence[shift..].iter_mut().zip(&in_window) {
                    *sum += one;
                }
            }
        }
        let least = setting.confidence * setting.periods as f64 - 1e-6;
        let good = (0..n as u32).filter(|step| f64::from(confidence[*step as usize]) >= least).collect();
        Self { base, hit, good }
    }

    /// First and last step of the window at `slot` in which a login was seen in one of the periods before.
    fn seen(&self, slot: i64, setting: Setting) -> Option<(i64, i64)> {
        let (window, lag) = (setting.window / STEP, setting.season * DAY / STEP);
        let seen = |step: i64| {
            (1..=setting.periods as i64).any(|period| {
                let from = slot - period * lag;
                from >= 0 && self.hit[(from + step) as usize]
            })
        };
        let first = (0..window).find(|step| seen(*step))?;
        let last = (first..window).rev().find(|step| seen(*step))?;
        Some((first, last))
    }
}
