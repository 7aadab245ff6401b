//! The learned model: members that say log-odds of a slot, and the blend that joins and calibrates them.
//!
//! A value that is stored as JSON. Deliberately not here: how it is fitted ([`super::learner`]).

use serde::{Deserialize, Serialize};

use super::blend::{Blend, Said, log_odds};
use super::feature::{Columns, FEATURES, FREQUENCY, LEFT, LINEAR, RETURN, Row};
use super::forest::Forest;
use super::linear::Linear;
use super::price::{self, Price};
use super::scan::{LANES, Scan};
use crate::policy::Goal;
use crate::unit::Time;

/// Changes when features or members change: a model of another version is not used.
pub const MODEL_VERSION: u32 = 4;

/// Log-odds that a member may say.
const RANGE: (f32, f32) = (-9.0, 3.0);

/// What turns the features of a slot into a probability. The default knows nothing and leaves it to frequencies.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Model {
    version: u32,
    pub(crate) fitted: Option<Fitted>,
}

/// What was learned.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Fitted {
    pub linear: Linear,
    /// What is added to the linear member's log-odds; its trees see the row from [`LINEAR`] on.
    pub forest: Forest,
    pub blend: Blend,
    /// What thresholds lately cost and brought, most thrifty first.
    pub prices: Vec<Price>,
    /// It was trained on what was before this.
    pub until: Time,
    /// Rows and the logins among them.
    pub rows: u64,
    pub logins: u64,
}

impl Model {
    pub(crate) fn fitted(fitted: Fitted) -> Self {
        Self { version: MODEL_VERSION, fitted: Some(fitted) }
    }

    /// Whether this is a model of this program's version that has been fitted.
    pub fn is_fitted(&self) -> bool {
        self.usable().is_some()
    }

    /// Whether what a file brought can be used.
    pub fn is_sound(&self) -> bool {
        self.fitted.as_ref().is_none_or(Fitted::is_sound)
    }

    pub(crate) fn usable(&self) -> Option<&Fitted> {
        self.fitted.as_ref().filter(|_| self.version == MODEL_VERSION)
    }

    /// The threshold that lately would have met a goal, and what it cost and brought; none if too little is known.
    pub fn price(&self, goal: Goal) -> Option<Price> {
        self.usable().and_then(|fitted| price::meet(&fitted.prices, goal))
    }

    /// One line for people: what it is and what it was trained on.
    pub fn summary(&self) -> String {
        match self.usable() {
            Some(f) => {
                let [linear, forest, schedule, keep_alive] = f.blend.weights;
                format!(
                    "{} trees on a logistic regression, trained until {} on {} slots with {} logins; weights of the past weeks: \
                     trees {forest:.2}, regression alone {linear:.2}, schedule {schedule:.2}, keep-alive {keep_alive:.2}{}",
                    f.forest.trees(),
                    f.until,
                    f.rows,
                    f.logins,
                    f.blend.instead.as_ref().map(|instead| format!("; not used: {}", instead.why)).unwrap_or_default()
                )
            }
            None if self.fitted.is_some() => "a model of another version, not used: login frequencies only".to_owned(),
            None => "no model yet: login frequencies only".to_owned(),
        }
    }
}

impl Fitted {
    /// What each member says of a row.
    pub(crate) fn said(&self, row: &Row) -> Said {
        let linear = self.linear.log_odds(row);
        let forest = linear + self.forest.log_odds(&row[LINEAR..]);
        said(linear, forest, row[FREQUENCY], row[RETURN], row[LEFT])
    }

    /// The same of rows given column by column; `scan` is of this forest.
    pub(crate) fn said_of_columns(&self, scan: &Scan, columns: &Columns) -> [Said; LANES] {
        let (linear, forest) = (self.linear.log_odds_of_columns(columns), scan.log_odds(&columns[LINEAR..]));
        let of = |column: usize, lane: usize| columns[column][lane];
        std::array::from_fn(|i| said(linear[i], linear[i] + forest[i], of(FREQUENCY, i), of(RETURN, i), of(LEFT, i)))
    }

    fn is_sound(&self) -> bool {
        let priced = self.prices.iter().all(|price| [price.take, price.idle, price.hits].iter().all(|x| x.is_finite()));
        priced && self.linear.is_sound() && self.forest.is_sound(FEATURES - LINEAR) && self.blend.is_sound()
    }
}

/// What the members say: the fitted two, and the simple two by their rates per slot and the share of the slot that is left.
fn said(linear: f32, forest: f32, frequency: f32, returns: f32, left: f32) -> Said {
    let simple = |rate: f32| log_odds(f64::from(rate) * f64::from(left));
    // A row like none in the training may be driven far out by the straight lines.
    [linear, forest, simple(frequency), simple(returns)].map(|said| said.clamp(RANGE.0, RANGE.1))
}
