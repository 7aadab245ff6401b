//! Goes through decisions in the order of time, learns from them, and remembers what the model of the day said of each.
//!
//! The nightly fit and the backtest learn with the same learner, so that what is measured is what runs. Memory does not grow with the
//! number of decisions. Deliberately not here: where decisions come from ([`super::walk`]).

use super::blend::{Blend, Noted, REMEMBERED, Said};
use super::boost;
use super::feature::{self, FEATURES, LINEAR, Row, Topic};
use super::forest::LEAVES;
use super::linear;
use super::model::{Fitted, Model};
use super::price::Ledger;
use super::sample::{Kept, Sample};
use super::walk::Decision;
use crate::unit::Time;

/// Rows that are kept unless told otherwise.
pub(crate) const ROWS: usize = 160_000;
/// Of these, the linear member is fitted on this many.
const LINEAR_ROWS: usize = 60_000;
/// Decisions of which is remembered what was said.
const SAID: usize = 60_000;
/// Logins below which nothing is fitted.
const FEW_LOGINS: usize = 60;
/// Empty slots are drawn at one in 2 to this power from the beginning: there are a hundred times more than logins.
const EMPTY_HALVINGS: u32 = 2;

/// How trees are grown.
const TREES: boost::Settings =
    boost::Settings { trees: 100, leaves: LEAVES, rate: 0.05, ridge: 3.0, least: 3.0, rows: 0.6, columns: 0.6 };

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

/// Learns.
pub(crate) struct Learner {
    pub model: Model,
    sample: Sample<Row>,
    record: Sample<Noted>,
    ledger: Ledger,
    /// From when on decisions go into the price list.
    priced_from: Option<Time>,
    row: Row,
    /// Columns of which it is told nothing.
    hidden: Vec<usize>,
}

impl Learner {
    /// Knows nothing. At most `rows` decisions are kept.
    pub(crate) fn new(rows: usize) -> Self {
        Self {
            model: Model::default(),
            sample: Sample::new(rows, EMPTY_HALVINGS),
            record: Sample::new(SAID, EMPTY_HALVINGS),
            ledger: Ledger::default(),
            priced_from: None,
            row: [0.0; FEATURES],
            hidden: Vec::new(),
        }
    }

    /// It is told nothing of these topics, to see what they are worth.
    pub(crate) fn hide(&mut self, topics: &[Topic]) {
        self.hidden = feature::columns_of(topics);
    }

    /// What is decided from `from` on goes into the price list.
    pub(crate) fn price_from(&mut self, from: Time) {
        self.priced_from = Some(from);
    }

    /// Whether a decision is of no use.
    pub(crate) fn skips(&self, at: Time, login: bool, hash: u32) -> bool {
        let told = self.model.is_fitted() && (self.record.wants(login, hash) || self.prices(at));
        !told && !self.sample.wants(login, hash)
    }

    fn prices(&self, at: Time) -> bool {
        self.priced_from.is_some_and(|from| at >= from)
    }

    /// Takes note of a decision, and tells what the model says of it if it was asked for that.
    pub(crate) fn learn(&mut self, decision: &Decision) -> Option<(f64, Said)> {
        let (at, login, hash) = (decision.at, decision.login, decision.hash);
        if self.skips(at, login, hash) {
            return None;
        }
        let hide = |row: &mut Row| self.hidden.iter().for_each(|column| row[*column] = 0.0);
        decision.fill(&mut self.row);
        hide(&mut self.row);
        if self.sample.wants(login, hash) {
            let mut row = self.row;
            decision.look_ahead(&mut row);
            hide(&mut row);
            self.sample.keep(login, Kept { at, hash, row });
        }
        let fitted = self.model.usable()?;
        let said = fitted.said(&self.row);
        if self.record.wants(login, hash) {
            let row = Noted { said, logins: fitted.logins as u32 };
            self.record.keep(login, Kept { at, hash, row });
        }
        let p = fitted.blend.probability(&said);
        if self.prices(at) {
            self.ledger.add(decision, p);
        }
        Some((p, said))
    }

    /// Fits members anew on what was before `until`, and joins them by what the old ones said.
    ///
    /// # Errors
    /// Too few logins, or the solver fails: the model stays as it is.
    pub(crate) fn refit(&mut self, until: Time) -> Result<(), TrainError> {
        let (rows, logins) = self.sample.before(until);
        if logins < FEW_LOGINS || rows.len() < 2 * logins {
            return Err(TrainError::Thin { logins, rows: rows.len() });
        }
        // Empty slots were drawn at a lower rate than logins: what a fit overstates is taken off.
        let correction = (self.sample.empty.rate() / self.sample.logins.rate()).ln() as f32;
        let warm = self.model.usable().map(|fitted| &fitted.linear);
        let few = rows.len().div_ceil(LINEAR_ROWS);
        let linear_rows: Vec<_> =
            rows.iter().filter(|(kept, _)| (kept.hash as usize).is_multiple_of(few)).copied().collect();
        let linear = linear::fit(&linear_rows, correction, warm)?;
        let trees: Vec<&[f32]> = rows.iter().map(|(kept, _)| &kept.row[LINEAR..]).collect();
        let labels: Vec<bool> = rows.iter().map(|(_, login)| *login).collect();
        let said = rows.iter().map(|(kept, _)| linear.log_odds(&kept.row) - correction).collect();
        let forest = boost::grow(&trees, &labels, said, FEATURES - LINEAR, &TREES);
        let (rows, logins) = (rows.len() as u64, logins as u64);
        let blend = Blend::default();
        self.model = Model::fitted(Fitted { linear, forest, blend, prices: Vec::new(), until, rows, logins });
        self.join(until);
        Ok(())
    }

    /// Joins the members anew by what was said before `until`.
    pub(crate) fn join(&mut self, until: Time) {
        self.record.forget_before(until - REMEMBERED);
        if let Some(fitted) = &mut self.model.fitted {
            fitted.blend = Blend::fit(&self.record, until, fitted.logins);
            fitted.prices = self.ledger.list(until);
        }
    }
}
