//! The learned model: additive log-odds over the features, and a calibration of what comes out.
//!
//! A value that is stored as JSON. Deliberately not here: how it is fitted ([`super::training`]).

use serde::{Deserialize, Serialize};

use super::feature::{FEATURES, Row};
use crate::unit::Time;

/// Changes when features change: a model of another version is not used.
pub(crate) const VERSION: u32 = 1;

/// What turns the features of a slot into a probability. The default knows nothing and leaves it to frequencies.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Model {
    version: u32,
    pub(crate) logistic: Option<Logistic>,
}

/// A fitted logistic regression.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Logistic {
    /// Log-odds per unit of each feature.
    pub weights: Vec<f32>,
    pub intercept: f32,
    /// Mean of each feature over the training rows, against which contributions are explained.
    pub means: Vec<f32>,
    /// Calibration: log-odds as they come out, log-odds as they came true; both ascending.
    pub calibration: Vec<(f32, f32)>,
    /// When the calibration was made.
    pub calibrated: Time,
    /// It was trained on what was before this.
    pub until: Time,
    /// Rows and the logins among them.
    pub rows: u64,
    pub logins: u64,
}

impl Model {
    pub(crate) fn fitted(logistic: Logistic) -> Self {
        Self { version: VERSION, logistic: Some(logistic) }
    }

    /// Whether this is a model of this program's version that has been fitted.
    pub fn is_fitted(&self) -> bool {
        self.usable().is_some()
    }

    pub(crate) fn usable(&self) -> Option<&Logistic> {
        self.logistic.as_ref().filter(|logistic| {
            self.version == VERSION && logistic.weights.len() == FEATURES && logistic.means.len() == FEATURES
        })
    }

    /// One line for people: what it is and what it was trained on.
    pub fn summary(&self) -> String {
        match self.usable() {
            Some(l) => format!(
                "logistic regression of {FEATURES} features, trained until {} on {} slots with {} logins",
                l.until, l.rows, l.logins
            ),
            None if self.logistic.is_some() => {
                "a model of another version, not used: login frequencies only".to_owned()
            }
            None => "no model yet: login frequencies only".to_owned(),
        }
    }
}

impl Logistic {
    /// Log-odds before calibration.
    pub(crate) fn raw(&self, row: &Row) -> f32 {
        // Eight sums, so that the compiler may do them side by side.
        let mut sums = [0.0_f32; 8];
        for (x, w) in row.chunks_exact(8).zip(self.weights.chunks_exact(8)) {
            for lane in 0..8 {
                sums[lane] += x[lane] * w[lane];
            }
        }
        self.intercept + sums.iter().sum::<f32>()
    }

    /// Calibrated probability.
    pub(crate) fn probability(&self, row: &Row) -> f64 {
        sigmoid(f64::from(calibrate(&self.calibration, self.raw(row))))
    }
}

/// Slope of the calibration above its last point, where it rests on nothing: doubtful, but the order stays.
const ABOVE: f32 = 0.3;

/// Piecewise linear through the points, on with slope 1 below and less above them; unchanged without points.
pub(crate) fn calibrate(points: &[(f32, f32)], raw: f32) -> f32 {
    let (Some(first), Some(last)) = (points.first(), points.last()) else { return raw };
    if raw <= first.0 {
        return first.1 + raw - first.0;
    }
    if raw >= last.0 {
        return last.1 + (raw - last.0) * ABOVE;
    }
    let right = points.partition_point(|point| point.0 <= raw);
    let ((x0, y0), (x1, y1)) = (points[right - 1], points[right]);
    y0 + (y1 - y0) * (raw - x0) / (x1 - x0).max(1e-6)
}

/// `1 / (1 + e^-x)`.
pub(crate) fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calibration_is_continuous_and_rises() {
        let points = [(-4.0, -5.0), (-2.0, -2.0), (0.0, -1.0)];
        let at = |x| calibrate(&points, x);
        assert!((at(-4.0) + 5.0).abs() < 1e-6 && (at(-3.0) + 3.5).abs() < 1e-6 && (at(1.0) + 0.7).abs() < 1e-6);
        let values: Vec<f32> = (-80..80).map(|x| at(x as f32 / 10.0)).collect();
        assert!(values.is_sorted());
        assert!((calibrate(&[], 0.3) - 0.3).abs() < 1e-6);
    }
}
