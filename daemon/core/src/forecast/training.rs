//! Fits the model on the past: sessions come by once, in the order of time, and leave a sample of decisions.
//!
//! Memory does not grow with the number of sessions. Deliberately not here: reading the sessions.

use jiff::tz::Offset;
use linfa::Dataset;
use linfa::traits::{Fit, Predict};
use linfa_linear::IsotonicRegression;
use linfa_logistic::LogisticRegression;
use ndarray::{Array1, Array2, Axis, ShapeBuilder, s};

use super::feature::FEATURES;
use super::model::{Logistic, Model, calibrate, sigmoid};
use super::sample::{Kept, Part};
use super::walk::{Decision, Sink, Walk};
use crate::history::Clock;
use crate::id::Subject;
use crate::unit::{Span, Time};

/// Rows that are kept unless told otherwise: 25 MB of them, and about a second to fit.
pub const ROWS: usize = 60_000;
/// A session whose end is not known is taken to be this long.
pub const DEFAULT_LENGTH: Span = Span::minutes(45);
/// Logins below which nothing is fitted.
const FEW_LOGINS: usize = 60;
/// Logins in the held-out part below which its calibration would be noise.
const FEW_HELD_OUT: usize = 80;
/// Share of the logins, the latest ones, on which the calibration is learned.
const HELD_OUT: f64 = 0.2;
/// A calibration is used for so long by models that start from the one it was made for.
const RECALIBRATE: Span = Span::days(28);
/// Strength of the ridge: a prior standard deviation of 1 / sqrt(this) per standardised feature.
const RIDGE: f64 = 3.0;
/// Share of the unit matrix in the covariance that features are whitened with.
const DAMPING: f64 = 0.1;
/// Empty slots are drawn at one in 2 to this power from the beginning: there are a hundred times more than logins.
const EMPTY_HALVINGS: u32 = 2;

/// Why there is no model.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum TrainError {
    /// Too little to learn from.
    #[error("{logins} logins in {rows} slots are too few to train on, {FEW_LOGINS} are needed; frequencies are used")]
    Thin {
        /// Sampled logins.
        logins: usize,
        /// Sampled slots.
        rows: usize,
    },
    /// The solver gave up.
    #[error("the logistic regression did not converge: {0}; the last model stays in use")]
    Solver(String),
}

/// Collects what a model is fitted on.
pub struct Training {
    walk: Walk,
    sample: Sample,
}

/// What is kept of the decisions.
pub(crate) struct Sample {
    logins: Part,
    empty: Part,
}

impl Sample {
    /// At most `rows`, at least three quarters of them empty slots.
    pub(crate) fn new(rows: usize) -> Self {
        Self { logins: Part::new(rows / 4, 0), empty: Part::new(rows - rows / 4, EMPTY_HALVINGS) }
    }

    pub(crate) fn wants(&self, login: bool, hash: u32) -> bool {
        if login { self.logins.passes(hash) } else { self.empty.passes(hash) }
    }

    pub(crate) fn keep(&mut self, login: bool, kept: Kept) {
        if login { self.logins.push(kept) } else { self.empty.push(kept) }
    }
}

impl Sink for Sample {
    fn skips(&mut self, login: bool, hash: u32) -> bool {
        !self.wants(login, hash)
    }

    fn decision(&mut self, decision: &Decision) {
        let mut row = [0.0; FEATURES];
        decision.fill(&mut row);
        self.keep(decision.login, Kept { at: decision.at, hash: decision.hash, row });
    }
}

impl Training {
    /// Nothing yet. `forget`: as in [`crate::history::History::new`].
    pub fn new(forget: Span) -> Self {
        Self::with_rows(forget, ROWS)
    }

    /// With another bound on the rows that are kept.
    pub fn with_rows(forget: Span, rows: usize) -> Self {
        Self { walk: Walk::new(forget), sample: Sample::new(rows) }
    }

    /// Sets the wall clock of a subject.
    pub fn set_clock(&mut self, subject: &Subject, clock: Clock) {
        self.walk.set_clock(subject, clock);
    }

    /// A session. They come in the order of their starts; one that is late by a little is taken as it comes. `offset`:
    /// the wall clock of the record, if it has one.
    pub fn session(&mut self, subject: &Subject, start: Time, end: Option<Time>, offset: Option<Offset>) {
        let end = end.unwrap_or(start + DEFAULT_LENGTH).max(start);
        self.walk.session(subject, start, end, offset, &mut self.sample);
    }

    /// The model of everything before `until`.
    ///
    /// # Errors
    /// Too few logins, or the solver fails; the caller keeps the model it has.
    pub fn finish(mut self, until: Time) -> Result<Model, TrainError> {
        self.walk.settle(until, &mut self.sample);
        fit(&self.sample, until, None)
    }
}

/// Fits on what was decided before `until`; `warm`: a model to start from, which saves time and changes little else.
pub(crate) fn fit(sample: &Sample, until: Time, warm: Option<&Model>) -> Result<Model, TrainError> {
    let mut rows: Vec<(&Kept, bool)> = Vec::new();
    rows.extend(sample.logins.kept.iter().filter(|kept| kept.at < until).map(|kept| (kept, true)));
    let logins = rows.len();
    rows.extend(sample.empty.kept.iter().filter(|kept| kept.at < until).map(|kept| (kept, false)));
    if logins < FEW_LOGINS || rows.len() < 2 * logins {
        return Err(TrainError::Thin { logins, rows: rows.len() });
    }
    // By time and hash: the order in which slots were worked off must not show.
    rows.sort_unstable_by_key(|(kept, login)| (kept.at, kept.hash, *login));
    let scale = Scale::of(&rows);
    // Empty slots were drawn at a lower rate than logins: what the fit overstates is taken off the intercept.
    let correction = (sample.empty.rate() / sample.logins.rate()).ln() as f32;
    let warm = warm.and_then(Model::usable);
    let mut points = Vec::new();
    let mut first = None;
    let split_at = split(&rows, logins);
    let held_out = rows[split_at..].iter().filter(|(_, login)| *login).count();
    let mut calibrated = until;
    let fresh = warm.filter(|warm| until - warm.calibrated < RECALIBRATE && !warm.calibration.is_empty());
    if let Some(warm) = fresh {
        points.clone_from(&warm.calibration);
        calibrated = warm.calibrated;
    } else if held_out >= FEW_HELD_OUT {
        let early = solve(&rows[..split_at], &scale, warm.map(|warm| (warm, correction)))?;
        let (weights, intercept) = scale.unscale(&early);
        let early_model = logistic(weights, intercept + correction, &scale, until, 0, 0);
        points = calibration(&early_model, &rows[split_at..], 1.0 / sample.empty.rate(), 1.0 / sample.logins.rate());
        first = Some(early_model);
    }
    let all = solve(&rows, &scale, first.as_ref().or(warm).map(|warm| (warm, correction)))?;
    let (weights, intercept) = scale.unscale(&all);
    let mut model = logistic(weights, intercept + correction, &scale, until, rows.len() as u64, logins as u64);
    model.calibration = points;
    model.calibrated = calibrated;
    Ok(Model::fitted(model))
}

fn logistic(weights: Vec<f32>, intercept: f32, scale: &Scale, until: Time, rows: u64, logins: u64) -> Logistic {
    let means = scale.means.iter().map(|mean| *mean as f32).collect();
    Logistic { weights, intercept, means, calibration: Vec::new(), calibrated: until, until, rows, logins }
}

/// Where the latest `HELD_OUT` of the logins begin.
fn split(rows: &[(&Kept, bool)], logins: usize) -> usize {
    let before = (logins as f64 * (1.0 - HELD_OUT)) as usize;
    let mut seen = 0;
    rows.iter()
        .position(|(_, login)| {
            seen += usize::from(*login);
            seen > before
        })
        .unwrap_or(rows.len())
}

/// Mean and standard deviation of each feature.
struct Scale {
    means: Vec<f64>,
    deviations: Vec<f64>,
}

impl Scale {
    fn of(rows: &[(&Kept, bool)]) -> Self {
        let n = rows.len() as f64;
        let (mut sums, mut squares) = (vec![0.0; FEATURES], vec![0.0; FEATURES]);
        for (kept, _) in rows {
            for (i, x) in kept.row.iter().enumerate() {
                sums[i] += f64::from(*x);
                squares[i] += f64::from(*x) * f64::from(*x);
            }
        }
        let means: Vec<f64> = sums.iter().map(|sum| sum / n).collect();
        let deviations = squares
            .iter()
            .zip(&means)
            .map(|(square, mean)| {
                let deviation = (square / n - mean * mean).max(0.0).sqrt();
                // A feature that does not vary says nothing; its weight stays zero under the ridge.
                if deviation > 1e-4 { deviation } else { 1.0 }
            })
            .collect();
        Self { means, deviations }
    }

    /// Weights of standardised features → weights of features as they are.
    fn unscale(&self, params: &Array1<f64>) -> (Vec<f32>, f32) {
        let weights: Vec<f64> = (0..FEATURES).map(|i| params[i] / self.deviations[i]).collect();
        let shift: f64 = weights.iter().zip(&self.means).map(|(weight, mean)| weight * mean).sum();
        (weights.into_iter().map(|weight| weight as f32).collect(), (params[FEATURES] - shift) as f32)
    }

    /// The way back, to start from a model.
    fn rescale(&self, model: &Logistic, correction: f32) -> Array1<f64> {
        let mut params = Array1::zeros(FEATURES + 1);
        params[FEATURES] = f64::from(model.intercept - correction);
        for i in 0..FEATURES {
            let weight = f64::from(model.weights[i]);
            params[i] = weight * self.deviations[i];
            params[FEATURES] += weight * self.means[i];
        }
        params
    }
}

/// Whitening of standardised features by the Cholesky factor of their damped covariance.
///
/// Neighbouring slots, days and hours say nearly the same, and L-BFGS needs hundreds of steps along such ridges; on
/// whitened features it needs about ten. The ridge becomes one along the covariance, of at least its strength everywhere.
struct White {
    lower: Array2<f64>,
    inverse: Array2<f64>,
}

impl White {
    fn of(records: &Array2<f64>) -> Self {
        let mut covariance = records.t().dot(records) / records.nrows().max(1) as f64;
        covariance.diag_mut().mapv_inplace(|x| x + DAMPING);
        let (mut lower, mut inverse) =
            (Array2::<f64>::zeros((FEATURES, FEATURES)), Array2::<f64>::zeros((FEATURES, FEATURES)));
        for i in 0..FEATURES {
            for j in 0..=i {
                let sum: f64 = (0..j).map(|k| lower[[i, k]] * lower[[j, k]]).sum();
                let rest = covariance[[i, j]] - sum;
                // Damped, it is positive definite: the root exists but for rounding.
                lower[[i, j]] = if i == j { rest.max(DAMPING / 2.0).sqrt() } else { rest / lower[[j, j]] };
            }
        }
        for j in 0..FEATURES {
            inverse[[j, j]] = 1.0 / lower[[j, j]];
            for i in j + 1..FEATURES {
                let sum: f64 = (j..i).map(|k| lower[[i, k]] * inverse[[k, j]]).sum();
                inverse[[i, j]] = -sum / lower[[i, i]];
            }
        }
        Self { lower, inverse }
    }

    fn through(matrix: &Array2<f64>, params: &Array1<f64>) -> Array1<f64> {
        let mut out = params.clone();
        out.slice_mut(s![..FEATURES]).assign(&matrix.t().dot(&params.slice(s![..FEATURES])));
        out
    }

    fn to_white(&self, params: &Array1<f64>) -> Array1<f64> {
        Self::through(&self.lower, params)
    }

    fn unwhite(&self, params: &Array1<f64>) -> Array1<f64> {
        Self::through(&self.inverse, params)
    }
}

/// The logistic regression itself: standardised weights, intercept last.
fn solve(rows: &[(&Kept, bool)], scale: &Scale, warm: Option<(&Logistic, f32)>) -> Result<Array1<f64>, TrainError> {
    // Column by column in memory: the gradient is a sum down each column, and four times faster so.
    let mut records = Array2::<f64>::zeros((rows.len(), FEATURES).f());
    for (mut record, (kept, _)) in records.axis_iter_mut(Axis(0)).zip(rows) {
        for i in 0..FEATURES {
            record[i] = (f64::from(kept.row[i]) - scale.means[i]) / scale.deviations[i];
        }
    }
    let targets: Array1<bool> = rows.iter().map(|(_, login)| *login).collect();
    let mut params = LogisticRegression::<f64>::default()
        .alpha(RIDGE / DAMPING)
        .max_iterations(40)
        .gradient_tolerance(rows.len() as f64 * 1e-4);
    let white = White::of(&records);
    if let Some((model, correction)) = warm {
        params = params.initial_params(white.to_white(&scale.rescale(model, correction)));
    }
    // Transposed twice, so that the result lies in memory column by column again.
    let records = white.inverse.dot(&records.t()).reversed_axes();
    let fitted = params.fit(&Dataset::new(records, targets)).map_err(|error| TrainError::Solver(error.to_string()))?;
    let mut all = Array1::zeros(FEATURES + 1);
    // linfa calls the first class it meets positive or negative by order; the labels say which one it took.
    let sign = if fitted.labels().pos.class { 1.0 } else { -1.0 };
    for (i, weight) in fitted.params().iter().enumerate() {
        all[i] = sign * weight;
    }
    all[FEATURES] = sign * fitted.intercept();
    if all.iter().all(|x: &f64| x.is_finite()) {
        Ok(white.unwhite(&all))
    } else {
        Err(TrainError::Solver("it left the range of numbers".to_owned()))
    }
}

/// Isotonic calibration on later rows, as points of (log-odds said, log-odds come true).
fn calibration(model: &Logistic, rows: &[(&Kept, bool)], empty_weight: f64, login_weight: f64) -> Vec<(f32, f32)> {
    let mut said: Vec<(f32, bool)> = rows.iter().map(|(kept, login)| (model.raw(&kept.row), *login)).collect();
    said.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    let logins = said.iter().filter(|(_, login)| *login).count();
    // Bins of equally many logins, so that each mean is worth as much.
    let per_bin = (logins / 25).max(10);
    let (mut xs, mut ys, mut weights) = (Vec::new(), Vec::new(), Vec::new());
    let (mut x, mut yes, mut all, mut here) = (0.0, 0.0, 0.0, 0);
    for (raw, login) in said {
        let weight = if login { login_weight } else { empty_weight };
        x += f64::from(raw) * weight;
        all += weight;
        if login {
            yes += weight;
            here += 1;
        }
        if here >= per_bin {
            xs.push(x / all);
            ys.push(yes / all);
            weights.push(all as f32);
            (x, yes, all, here) = (0.0, 0.0, 0.0, 0);
        }
    }
    if xs.len() < 3 {
        return Vec::new();
    }
    let records = Array2::from_shape_vec((xs.len(), 1), xs.clone()).expect("one column of as many rows as values");
    let data = Dataset::new(records.clone(), Array1::from_vec(ys)).with_weights(Array1::from_vec(weights));
    let Ok(fitted) = IsotonicRegression::default().fit(&data) else { return Vec::new() };
    let levels = fitted.predict(&records);
    // A flat piece would make different forecasts equal and the order between them would be lost: each level becomes one
    // point in the middle of its piece, and lines join them.
    let mut points: Vec<(f32, f32)> = Vec::new();
    let mut i = 0;
    while i < xs.len() {
        let mut j = i;
        while j + 1 < xs.len() && (levels[j + 1] - levels[i]).abs() < 1e-9 {
            j += 1;
        }
        let middle = xs[i..=j].iter().sum::<f64>() / (j - i + 1) as f64;
        let level = levels[i].clamp(1e-6, 1.0 - 1e-6);
        points.push((middle as f32, (level / (1.0 - level)).ln() as f32));
        i = j + 1;
    }
    points.dedup_by(|b, a| b.0 <= a.0 || b.1 <= a.1);
    debug_assert!(sigmoid(f64::from(calibrate(&points, 0.0))).is_finite(), "points are finite");
    points
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scaling_goes_there_and_back() {
        let row = |x: f32| {
            let mut row = [0.0; FEATURES];
            row[0] = x;
            row[1] = 2.0 * x + 1.0;
            Kept { at: Time::default(), hash: 0, row }
        };
        let kept: Vec<Kept> = (0..10).map(|i| row(i as f32)).collect();
        let rows: Vec<(&Kept, bool)> = kept.iter().map(|kept| (kept, false)).collect();
        let scale = Scale::of(&rows);
        let mut params = Array1::zeros(FEATURES + 1);
        (params[0], params[1], params[FEATURES]) = (0.5, -2.0, 1.5);
        let (weights, intercept) = scale.unscale(&params);
        let back = scale.rescale(&logistic(weights, intercept + 3.0, &scale, Time::default(), 0, 0), 3.0);
        assert!(params.iter().zip(&back).all(|(a, b)| (a - b).abs() < 1e-4), "{back}");
    }

    #[test]
    fn too_little_is_said() {
        let error = Training::new(Span::days(28)).finish(Time::from_unix(0)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "0 logins in 0 slots are too few to train on, 60 are needed; frequencies are used"
        );
    }
}
