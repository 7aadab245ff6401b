//! Forecasts against what came true: how well they are calibrated, month by month, and what each member knew.
//!
//! Deliberately not here: what was held because of them ([`super::score`]).

use super::result::{MemberSkill, Month, ReliabilityBin};
use crate::forecast::blend::{MEMBERS, Said, sigmoid};
use crate::history::pattern;

/// Where bins of forecasts end.
const EDGES: [f64; 14] = [0.001, 0.002, 0.005, 0.01, 0.02, 0.035, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.6];
/// Names of the members, in the order of what they said, and of what they said together.
const NAMES: [&str; MEMBERS + 1] =
    ["logistic regression", "with boosted trees", "login frequency", "time since logout", "together"];

/// Sums over the scored decisions.
#[derive(Clone, Debug, Default)]
pub(crate) struct Quality {
    bins: [Sums; EDGES.len() + 1],
    /// By month of the wall clock, in order.
    months: Vec<((i16, i8), Sums)>,
    /// Log loss of each member and of all together, where there was a model; and the decisions and logins.
    loss: [f64; MEMBERS + 1],
    judged: Sums,
}

/// Said, came true, forecasts.
#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    said: f64,
    came: u64,
    n: u64,
}

impl Sums {
    fn add(&mut self, p: f64, login: bool) {
        self.said += p;
        self.came += u64::from(login);
        self.n += 1;
    }

    fn ratio(&self) -> f64 {
        if self.came == 0 { 0.0 } else { self.said / self.came as f64 }
    }
}

impl Quality {
    /// One decision at a time of the wall clock; `said`: by the members, if there was a model.
    pub(crate) fn add(&mut self, wall: i64, p: f64, said: Option<&Said>, login: bool) {
        self.bins[EDGES.partition_point(|edge| *edge <= p)].add(p, login);
        let month = month(wall);
        match self.months.binary_search_by_key(&month, |(of, _)| *of) {
            Ok(at) => self.months[at].1.add(p, login),
            Err(at) => {
                let mut sums = Sums::default();
                sums.add(p, login);
                self.months.insert(at, (month, sums));
            }
        }
        if let Some(said) = said {
            for (loss, said) in self.loss.iter_mut().zip(said) {
                *loss += log_loss(sigmoid(f64::from(*said)), login);
            }
            self.loss[MEMBERS] += log_loss(p, login);
            self.judged.add(p, login);
        }
    }

    pub(crate) fn bins(&self) -> Vec<ReliabilityBin> {
        let bin = |sums: &Sums| ReliabilityBin {
            predicted: sums.said / sums.n as f64,
            seen: sums.came as f64 / sums.n as f64,
            n: sums.n,
        };
        self.bins.iter().filter(|sums| sums.n > 0).map(bin).collect()
    }

    pub(crate) fn predicted_over_seen(&self) -> f64 {
        let mut all = Sums::default();
        for sums in &self.bins {
            all = Sums { said: all.said + sums.said, came: all.came + sums.came, n: all.n + sums.n };
        }
        all.ratio()
    }

    pub(crate) fn months(&self) -> Vec<Month> {
        let month = |((year, month), sums): &((i16, i8), Sums)| Month {
            month: format!("{year:04}-{month:02}"),
            predicted_over_seen: sums.ratio(),
            logins: sums.came,
        };
        self.months.iter().map(month).collect()
    }

    /// How much of the log loss of who says the mean of everything each member spares.
    pub(crate) fn skills(&self) -> Vec<MemberSkill> {
        let mean = self.judged.came as f64 / self.judged.n.max(1) as f64;
        let blank = self.judged.came as f64 * log_loss(mean, true)
            + (self.judged.n - self.judged.came) as f64 * log_loss(mean, false);
        if self.judged.came == 0 {
            return Vec::new();
        }
        let skill = |(name, loss): (&&str, &f64)| MemberSkill { member: (*name).to_owned(), skill: 1.0 - loss / blank };
        NAMES.iter().zip(&self.loss).map(skill).collect()
    }
}

fn log_loss(p: f64, came: bool) -> f64 {
    -if came { p } else { 1.0 - p }.max(1e-9).ln()
}

/// Year and month of a wall clock.
fn month(wall: i64) -> (i16, i8) {
    let date = jiff::civil::date(1970, 1, 1).saturating_add(jiff::Span::new().days(pattern::day_of(wall)));
    (date.year(), date.month())
}
