//! What the members said of the past weeks and what came true → how far each is believed, and what to make of their sum.
//!
//! Weights, and the bend of beta calibration, by one small logistic regression on the members' log-odds; a level by the last days; both
//! on decisions that the members had not been fitted on. Isotonic regression in place of the bend was tried: its steps cost more than they
//! mend (log-loss skill 0.320 and 0.326 in an office). Deliberately not here: the members.

use serde::{Deserialize, Serialize};

use super::sample::{Kept, Sample};
use crate::unit::{Span, Time};

/// Members: the linear one, the trees on top of it, the frequency of the slot, the chance of a return by the time since the logout.
pub(crate) const MEMBERS: usize = 4;
/// Log-odds that each member said.
pub(crate) type Said = [f32; MEMBERS];

/// What was said by members that were fitted on so many logins.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Noted {
    pub said: Said,
    pub logins: u32,
}

/// The member on which all others build.
const MAIN: usize = 1;
/// Log-odds about which members are weighted, so that weights and bias do not fight: those of a usual slot.
pub(crate) const USUAL: f32 = -4.5;
/// Strength of the prior that the main member is right as it stands, in information (sum of p (1 - p)); of the bend, less.
const STRENGTH: f64 = 300.0;
const BEND_STRENGTH: f64 = 5.0;
/// Log-odds about which the bend sets in: above those of nearly all slots, below those at which devices are taken.
const KNEE: f64 = -3.5;
/// What was said so long ago counts half for the weights; and for the level.
const DAY: f64 = 86_400.0;
const HALF_LIFE: f64 = 28.0 * DAY;
const LEVEL_HALF_LIFE: f64 = 4.0 * DAY;
/// Logins that the level must be worth before it counts half, if logins come independently of each other; if whole days are good or bad
/// together, so many times more as the days scatter.
const LEVEL_PRIOR: f64 = 20.0;
/// Days, and logins expected on each, from which that scatter is judged.
const FEW_DAYS: usize = 7;
const FEW_EXPECTED: f64 = 0.5;
/// How much less members count that were fitted on fewer logins: the share to this power.
const LESS_LEARNED: f64 = 8.0;
/// Logins below which everything stays at the prior.
const FEW_LOGINS: usize = 80;
/// What was said before is let go.
pub(crate) const REMEMBERED: Span = Span::days(84);
/// Over how many days the model must not do worse than something simple, and by how much of the simple one's loss.
const JUDGED: f64 = 21.0 * DAY;
const WORSE: f64 = 1.01;

/// How members are joined.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Blend {
    pub weights: Said,
    pub bias: f32,
    /// Of what the main member says beyond the knee: how far high probabilities are believed.
    pub bend: f32,
    /// Log-odds to add, by what the last days were like.
    pub level: f32,
    /// What is used in place of all this, because lately it would have been better.
    pub instead: Option<Instead>,
}

/// A drift that the model did not follow.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Instead {
    pub what: Simple,
    pub why: String,
}

/// What needs no model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Simple {
    /// The frequency of the slot.
    Schedule,
    /// The time since the last logout.
    KeepAlive,
}

impl Simple {
    const ALL: [Simple; 2] = [Simple::Schedule, Simple::KeepAlive];

    fn member(self) -> usize {
        match self {
            Simple::Schedule => 2,
            Simple::KeepAlive => 3,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Simple::Schedule => "the frequency of the slot",
            Simple::KeepAlive => "the time since the last logout",
        }
    }
}

impl Default for Blend {
    fn default() -> Self {
        Self::only(MAIN)
    }
}

/// One decision, weighted by how seldom such ones are kept and how much its members had learned.
struct Case {
    said: Said,
    came: bool,
    /// How many such there were for each that was kept.
    stands_for: f64,
    weight: f64,
    age: f64,
}

/// What is weighed: the members, one for the bias, and the bend.
const N: usize = MEMBERS + 2;

impl Case {
    fn loss(&self, blend: &Blend) -> f64 {
        self.weight * loss(f64::from(blend.log_odds(&self.said)), self.came)
    }

    fn inputs(&self) -> [f64; N] {
        std::array::from_fn(|i| match i {
            MEMBERS => 1.0,
            i if i < MEMBERS => f64::from(self.said[i] - USUAL),
            _ => bent(self.said[MAIN]),
        })
    }
}

/// Log-odds of the inputs at these weights.
fn joined(at: &[f64; N], inputs: &[f64; N]) -> f64 {
    f64::from(USUAL) + at.iter().zip(inputs).map(|(weight, x)| weight * x).sum::<f64>()
}

/// Log loss of log-odds.
fn loss(x: f64, came: bool) -> f64 {
    softplus(x) - if came { x } else { 0.0 }
}

impl Blend {
    /// One member as it stands.
    fn only(member: usize) -> Self {
        let mut weights = [0.0; MEMBERS];
        weights[member] = 1.0;
        Self { weights, bias: 0.0, bend: 0.0, level: 0.0, instead: None }
    }

    /// Learns from what was said before `until`; members now know `logins`.
    pub(crate) fn fit(record: &Sample<Noted>, until: Time, logins: u64) -> Self {
        let (rows, came) = record.before(until);
        if came < FEW_LOGINS {
            return Self::default();
        }
        let (rate_of_empty, rate_of_logins) = (record.empty.rate(), record.logins.rate());
        let case = |(kept, came): &(&Kept<Noted>, bool)| {
            let learned = (f64::from(kept.row.logins) / logins.max(1) as f64).min(1.0);
            let stands_for = 1.0 / if *came { rate_of_logins } else { rate_of_empty };
            let (weight, age) = (learned.powf(LESS_LEARNED) * stands_for, (until - kept.at).as_seconds() as f64);
            Case { said: kept.row.said, came: *came, stands_for, weight, age }
        };
        let cases: Vec<Case> = rows.iter().map(case).collect();
        let mut blend = Self::default();
        blend.weigh(&cases);
        blend.raise(&cases);
        blend.instead(&cases).unwrap_or(blend)
    }

    /// Log-odds of what the members said together.
    pub(crate) fn log_odds(&self, said: &Said) -> f32 {
        let joined: f32 = self.weights.iter().zip(said).map(|(weight, said)| weight * (said - USUAL)).sum();
        joined + USUAL + self.bias + self.bend * bent(said[MAIN]) as f32 + self.level
    }

    /// Probability of what the members said together.
    pub(crate) fn probability(&self, said: &Said) -> f64 {
        sigmoid(f64::from(self.log_odds(said)))
    }

    /// Newton's method on weights, bias and bend; a step that goes too far is halved.
    fn weigh(&mut self, cases: &[Case]) {
        let strength: [f64; N] = std::array::from_fn(|i| if i > MEMBERS { BEND_STRENGTH } else { STRENGTH });
        let prior: [f64; N] = std::array::from_fn(|i| f64::from(u8::from(i == MAIN)));
        let aged: Vec<([f64; N], bool, f64)> = cases
            .iter()
            .map(|case| (case.inputs(), case.came, case.weight * 0.5_f64.powf(case.age / HALF_LIFE)))
            .collect();
        let cost = |at: &[f64; N]| {
            let off: f64 = (0..N).map(|i| strength[i] * (at[i] - prior[i]).powi(2) / 2.0).sum();
            off + aged.iter().map(|(x, came, weight)| weight * loss(joined(at, x), *came)).sum::<f64>()
        };
        let (mut at, mut least) = (prior, cost(&prior));
        for _ in 0..8 {
            let (mut slope, mut curvature) = ([0.0; N], [[0.0; N]; N]);
            for i in 0..N {
                slope[i] = strength[i] * (at[i] - prior[i]);
                curvature[i][i] = strength[i];
            }
            for (x, came, weight) in &aged {
                let p = sigmoid(joined(&at, x));
                let (off, info) = (weight * (p - f64::from(u8::from(*came))), weight * p * (1.0 - p));
                for i in 0..N {
                    slope[i] += off * x[i];
                    for j in 0..=i {
                        curvature[i][j] += info * x[i] * x[j];
                    }
                }
            }
            let Some(mut step) = solve(&curvature, &slope) else { break };
            let mut better = None;
            for _ in 0..12 {
                let next: [f64; N] = std::array::from_fn(|i| at[i] - step[i]);
                let then = cost(&next);
                if then < least {
                    better = Some((next, then));
                    break;
                }
                step = step.map(|step| step / 2.0);
            }
            let Some(found) = better else { break };
            (at, least) = found;
            if step.iter().all(|step| step.abs() < 1e-4) {
                break;
            }
        }
        self.weights = std::array::from_fn(|i| at[i] as f32);
        (self.bias, self.bend) = (at[MEMBERS] as f32, at[MEMBERS + 1] as f32);
    }

    /// The shift of all log-odds at which the last days would have come true.
    fn raise(&mut self, cases: &[Case]) {
        let prior = LEVEL_PRIOR * self.scatter(cases);
        let mut level = 0.0;
        for _ in 0..6 {
            let (mut said, mut came, mut info) = (0.0, 0.0, 0.0);
            for case in cases.iter().filter(|case| case.age < 5.0 * LEVEL_HALF_LIFE) {
                let weight = case.weight * 0.5_f64.powf(case.age / LEVEL_HALF_LIFE);
                let p = sigmoid(f64::from(self.log_odds(&case.said)) + level);
                said += weight * p;
                info += weight * p * (1.0 - p);
                came += if case.came { weight } else { 0.0 };
            }
            level += (came - said - level * prior) / (info + prior);
        }
        self.level = level.clamp(-2.0, 2.0) as f32;
    }

    /// How much more the days' logins scatter about what was said of them, raised to their mean, than if each came independently of the others; at least 1.
    fn scatter(&self, cases: &[Case]) -> f64 {
        let mut days: Vec<(f64, f64)> = Vec::new();
        for case in cases {
            let day = (case.age.max(0.0) / DAY) as usize;
            if days.len() <= day {
                days.resize(day + 1, (0.0, 0.0));
            }
            let p = sigmoid(f64::from(self.log_odds(&case.said)));
            let (off, info) = &mut days[day];
            *off += case.stands_for * (f64::from(u8::from(case.came)) - p);
            *info += case.stands_for * p * (1.0 - p);
        }
        days.retain(|(_, info)| *info >= FEW_EXPECTED);
        if days.len() < FEW_DAYS {
            return 1.0;
        }
        // What is wrong every day alike is the level itself.
        let (off, info) = days.iter().fold((0.0, 0.0), |sum, day| (sum.0 + day.0, sum.1 + day.1));
        let squares = days.iter().map(|day| (day.0 - day.1 * off / info).powi(2) / day.1).sum::<f64>();
        (squares / days.len() as f64).max(1.0)
    }

    /// What does better without a model, if that was so over the last weeks.
    fn instead(&self, cases: &[Case]) -> Option<Self> {
        let lately: Vec<&Case> = cases.iter().filter(|case| case.age < JUDGED).collect();
        if lately.iter().filter(|case| case.came).count() < FEW_LOGINS {
            return None;
        }
        let loss = |blend: &Blend| lately.iter().map(|case| case.loss(blend)).sum::<f64>();
        let ours = loss(self);
        let mut best: Option<(f64, Simple, Blend)> = None;
        for simple in Simple::ALL {
            let mut other = Self::only(simple.member());
            other.raise(cases);
            let theirs = loss(&other);
            if best.as_ref().is_none_or(|best| theirs < best.0) {
                best = Some((theirs, simple, other));
            }
        }
        let (theirs, what, mut other) = best.filter(|(theirs, ..)| ours > theirs * WORSE)?;
        let (worse, name) = ((ours / theirs - 1.0) * 100.0, what.name());
        let why = format!("over the last three weeks the model did {worse:.0} % worse than {name} alone");
        other.instead = Some(Instead { what, why });
        Some(other)
    }

    /// Whether what a file brought can be used.
    pub(crate) fn is_sound(&self) -> bool {
        self.weights.iter().chain([&self.bias, &self.bend, &self.level]).all(|x| x.is_finite())
    }
}

/// What a member says beyond the knee, rounded: nothing far below it, the difference far above.
fn bent(said: f32) -> f64 {
    softplus(f64::from(said) - KNEE)
}

/// `ln(1 + e^x)`, finite for all finite log-odds.
fn softplus(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

/// `x` of `matrix x = right` for a symmetric positive definite matrix of which the lower half is given; none if it is not.
fn solve<const N: usize>(matrix: &[[f64; N]; N], right: &[f64; N]) -> Option<[f64; N]> {
    let mut lower = [[0.0; N]; N];
    for i in 0..N {
        for j in 0..=i {
            let rest = matrix[i][j] - (0..j).map(|k| lower[i][k] * lower[j][k]).sum::<f64>();
            if i == j {
                lower[i][j] = Some(rest.sqrt()).filter(|root| *root > 0.0)?;
            } else {
                lower[i][j] = rest / lower[j][j];
            }
        }
    }
    let mut x = *right;
    for i in 0..N {
        x[i] = (x[i] - (0..i).map(|k| lower[i][k] * x[k]).sum::<f64>()) / lower[i][i];
    }
    for i in (0..N).rev() {
        x[i] = (x[i] - (i + 1..N).map(|k| lower[k][i] * x[k]).sum::<f64>()) / lower[i][i];
    }
    Some(x)
}

/// `1 / (1 + e^-x)`.
pub(crate) fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// `ln(p / (1 - p))`, kept in the range that a quarter hour has.
pub(crate) fn log_odds(p: f64) -> f32 {
    let p = p.clamp(1e-6, 0.99);
    (p / (1.0 - p)).ln() as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A record in which the members say `said(n)` of decision `n`, which comes true with `truth(n)`, by a fixed rule.
    fn record(n: u32, said: impl Fn(u32) -> Said, truth: impl Fn(u32) -> f64) -> Sample<Noted> {
        let mut record = Sample::new(1 << 20, 0);
        for i in 0..n {
            // Golden ratio: evenly spread, and independent of what is said.
            let came = (f64::from(i) * 0.618_033_988_7).fract() < truth(i);
            let at = Time::from_unix(i64::from(i) * 60);
            record.keep(came, Kept { at, hash: i, row: Noted { said: said(i), logins: 100 } });
        }
        record
    }

    const END: Time = Time::from_unix(20_000 * 60);

    #[test]
    fn who_was_right_is_believed_and_the_level_follows() {
        let truth = |i: u32| if i % 10 < 3 { 0.2 } else { 0.01 };
        let right = |i: u32| log_odds(truth(i));
        let record = record(20_000, |i| [right(i), -3.0 + (i % 7) as f32, -2.5, -2.5], truth);
        let blend = Blend::fit(&record, END, 100);
        // What the main member says lies beyond the knee: it counts with its weight and the bend.
        assert!(blend.weights[0] > 2.0 * (blend.weights[1] + blend.bend), "{blend:?}");
        let p = blend.probability(&[log_odds(0.2), -1.0, -2.5, -2.5]);
        assert!((p - 0.2).abs() < 0.05, "{p}");
        assert_eq!(blend.instead, None);
    }

    #[test]
    fn members_that_knew_little_and_few_logins_change_nothing() {
        let few = record(300, |_| [-2.0; MEMBERS], |_| 0.1);
        assert_eq!(Blend::fit(&few, END, 100), Blend::default());
        let young = record(20_000, |_| [-2.0; MEMBERS], |_| 0.5);
        let blend = Blend::fit(&young, END, 100_000);
        assert!(blend.level.abs() < 0.01 && (blend.weights[1] - 1.0).abs() < 0.01, "{blend:?}");
    }

    #[test]
    fn a_model_that_fails_gives_way_to_the_schedule_and_says_so() {
        // The fitted members are far off and turn their coats every three hours, so that no weight saves them.
        let truth = |i: u32| if i % 10 < 3 { 0.2 } else { 0.01 };
        let wrong = |i: u32| if (i / 180).is_multiple_of(2) { 2.5 } else { -8.0 };
        let mut blend = Blend::default();
        let record = record(20_000, |i| [wrong(i), wrong(i), log_odds(truth(i)), -2.5], truth);
        let cases: Vec<Case> = record
            .before(END)
            .0
            .iter()
            .map(|(kept, came)| Case { said: kept.row.said, came: *came, stands_for: 1.0, weight: 1.0, age: 0.0 })
            .collect();
        blend.raise(&cases);
        let instead = blend.instead(&cases).unwrap();
        assert_eq!(instead.instead.as_ref().unwrap().what, Simple::Schedule);
        assert!(instead.instead.unwrap().why.ends_with("than the frequency of the slot alone"));
        assert!((instead.weights[2] - 1.0).abs() < 1e-6);
    }

    #[test]
    fn days_that_are_good_or_bad_together_move_the_level_less() {
        // A fortnight of a hundred logins a day; in the second, one day none and the next one twice as many. The last day fell short.
        let came = |day: usize, together: bool| match day {
            0 => 60,
            _ if !together => 100,
            day => {
                if day.is_multiple_of(2) {
                    200
                } else {
                    0
                }
            }
        };
        let level = |together| {
            let said = [log_odds(0.1); MEMBERS];
            let mut cases = Vec::new();
            for (day, n) in (0..14).flat_map(|day| (0..1000).map(move |n| (day, n))) {
                let age = (day as f64 + 0.5) * DAY;
                cases.push(Case { said, came: n < came(day, together), stands_for: 1.0, weight: 1.0, age });
            }
            let mut blend = Blend::default();
            assert!((blend.scatter(&cases) > 50.0) == together, "{}", blend.scatter(&cases));
            blend.raise(&cases);
            blend.level
        };
        assert!(level(false) < -0.05 && level(true) > level(false) / 2.0, "{} {}", level(false), level(true));
    }

    #[test]
    fn a_small_system_is_solved() {
        let x = solve(&[[4.0, 0.0], [2.0, 3.0]], &[8.0, 8.0]).unwrap();
        assert!((x[0] - 1.0).abs() < 1e-12 && (x[1] - 2.0).abs() < 1e-12, "{x:?}");
        assert!(solve(&[[1.0, 0.0], [2.0, 1.0]], &[1.0, 1.0]).is_none());
    }
}
