//! The linear member: logistic regression by linfa, on whitened features.
//!
//! Deliberately not here: which decisions it is fitted on ([`super::learner`]).

use linfa::Dataset;
use linfa::traits::Fit;
use linfa_logistic::LogisticRegression;
use ndarray::{Array1, Array2, Axis, ShapeBuilder, s};
use serde::{Deserialize, Serialize};

use super::feature::{Columns, LINEAR, Row};
use super::learner::TrainError;
use super::sample::Kept;
use super::scan::{LANES, Lane};

/// Strength of the ridge: a prior standard deviation of 1 / sqrt(this) per standardised feature.
const RIDGE: f64 = 3.0;
/// Share of the unit matrix in the covariance that features are whitened with.
const DAMPING: f64 = 0.1;

/// A fitted logistic regression.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Linear {
    /// Log-odds per unit of each feature.
    pub weights: Vec<f32>,
    pub intercept: f32,
    /// Mean of each feature over the training rows, against which contributions are explained.
    pub means: Vec<f32>,
}

impl Linear {
    /// Log-odds of a row.
    pub(crate) fn log_odds(&self, row: &Row) -> f32 {
        // Eight sums, so that the compiler may do them side by side.
        let mut sums = [0.0_f32; 8];
        for (x, w) in row[..LINEAR].chunks_exact(8).zip(self.weights.chunks_exact(8)) {
            for lane in 0..8 {
                sums[lane] += x[lane] * w[lane];
            }
        }
        self.intercept + sums.iter().sum::<f32>()
    }

    /// Log-odds of rows given column by column; bit by bit what [`Self::log_odds`] says of each.
    pub(crate) fn log_odds_of_columns(&self, columns: &Columns) -> Lane {
        let mut sums = [[0.0_f32; LANES]; 8];
        for (columns, weights) in columns[..LINEAR].chunks_exact(8).zip(self.weights.chunks_exact(8)) {
            for (sum, (column, w)) in sums.iter_mut().zip(columns.iter().zip(weights)) {
                for lane in 0..LANES {
                    sum[lane] += column[lane] * w;
                }
            }
        }
        std::array::from_fn(|lane| self.intercept + sums.iter().map(|sum| sum[lane]).sum::<f32>())
    }

    /// Whether it can be used with rows of this program.
    pub(crate) fn is_sound(&self) -> bool {
        let sound = |numbers: &[f32]| numbers.len() == LINEAR && numbers.iter().all(|x| x.is_finite());
        sound(&self.weights) && sound(&self.means) && self.intercept.is_finite()
    }
}

/// Fits on rows of which empty slots were drawn at a rate of `e^correction` times that of logins: what the fit overstates is taken off
/// the intercept. `warm`: a model to start from, which saves time and changes little else.
pub(crate) fn fit(rows: &[(&Kept<Row>, bool)], correction: f32, warm: Option<&Linear>) -> Result<Linear, TrainError> {
    let scale = Scale::of(rows);
    let params = solve(rows, &scale, warm.map(|warm| (warm, correction)))?;
    let (weights, intercept) = scale.unscale(&params);
    let means = scale.means.iter().map(|mean| *mean as f32).collect();
    Ok(Linear { weights, intercept: intercept + correction, means })
}

/// Mean and standard deviation of each feature.
struct Scale {
    means: Vec<f64>,
    deviations: Vec<f64>,
}

impl Scale {
    fn of(rows: &[(&Kept<Row>, bool)]) -> Self {
        let n = rows.len() as f64;
        let (mut sums, mut squares) = (vec![0.0; LINEAR], vec![0.0; LINEAR]);
        for (kept, _) in rows {
            for (i, x) in kept.row[..LINEAR].iter().enumerate() {
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
        let weights: Vec<f64> = (0..LINEAR).map(|i| params[i] / self.deviations[i]).collect();
        let shift: f64 = weights.iter().zip(&self.means).map(|(weight, mean)| weight * mean).sum();
        (weights.into_iter().map(|weight| weight as f32).collect(), (params[LINEAR] - shift) as f32)
    }

    /// The way back, to start from a model.
    fn rescale(&self, model: &Linear, correction: f32) -> Array1<f64> {
        let mut params = Array1::zeros(LINEAR + 1);
        params[LINEAR] = f64::from(model.intercept - correction);
        for i in 0..LINEAR {
            let weight = f64::from(model.weights[i]);
            params[i] = weight * self.deviations[i];
            params[LINEAR] += weight * self.means[i];
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
        let (mut lower, mut inverse) = (Array2::<f64>::zeros((LINEAR, LINEAR)), Array2::<f64>::zeros((LINEAR, LINEAR)));
        for i in 0..LINEAR {
            for j in 0..=i {
                let sum: f64 = (0..j).map(|k| lower[[i, k]] * lower[[j, k]]).sum();
                let rest = covariance[[i, j]] - sum;
                // Damped, it is positive definite: the root exists but for rounding.
                lower[[i, j]] = if i == j { rest.max(DAMPING / 2.0).sqrt() } else { rest / lower[[j, j]] };
            }
        }
        for j in 0..LINEAR {
            inverse[[j, j]] = 1.0 / lower[[j, j]];
            for i in j + 1..LINEAR {
                let sum: f64 = (j..i).map(|k| lower[[i, k]] * inverse[[k, j]]).sum();
                inverse[[i, j]] = -sum / lower[[i, i]];
            }
        }
        Self { lower, inverse }
    }

    fn through(matrix: &Array2<f64>, params: &Array1<f64>) -> Array1<f64> {
        let mut out = params.clone();
        out.slice_mut(s![..LINEAR]).assign(&matrix.t().dot(&params.slice(s![..LINEAR])));
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
fn solve(rows: &[(&Kept<Row>, bool)], scale: &Scale, warm: Option<(&Linear, f32)>) -> Result<Array1<f64>, TrainError> {
    // Column by column in memory: the gradient is a sum down each column, and four times faster so.
    let mut records = Array2::<f64>::zeros((rows.len(), LINEAR).f());
    for (mut record, (kept, _)) in records.axis_iter_mut(Axis(0)).zip(rows) {
        for i in 0..LINEAR {
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
    let mut all = Array1::zeros(LINEAR + 1);
    // linfa calls the first class it meets positive or negative by order; the labels say which one it took.
    let sign = if fitted.labels().pos.class { 1.0 } else { -1.0 };
    for (i, weight) in fitted.params().iter().enumerate() {
        all[i] = sign * weight;
    }
    all[LINEAR] = sign * fitted.intercept();
    if all.iter().all(|x: &f64| x.is_finite()) {
        Ok(white.unwhite(&all))
    } else {
        Err(TrainError::Solver("it left the range of numbers".to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::forecast::feature::FEATURES;
    use crate::unit::Time;

    #[test]
    fn scaling_goes_there_and_back() {
        let row = |x: f32| {
            let mut row = [0.0; FEATURES];
            row[0] = x;
            row[1] = 2.0 * x + 1.0;
            Kept { at: Time::default(), hash: 0, row }
        };
        let kept: Vec<Kept<Row>> = (0..10).map(|i| row(i as f32)).collect();
        let rows: Vec<(&Kept<Row>, bool)> = kept.iter().map(|kept| (kept, false)).collect();
        let scale = Scale::of(&rows);
        let mut params = Array1::zeros(LINEAR + 1);
        (params[0], params[1], params[LINEAR]) = (0.5, -2.0, 1.5);
        let (weights, intercept) = scale.unscale(&params);
        let back = scale.rescale(&Linear { weights, intercept: intercept + 3.0, means: Vec::new() }, 3.0);
        assert!(params.iter().zip(&back).all(|(a, b)| (a - b).abs() < 1e-4), "{back}");
    }
}
