//! The forecast of everybody, with the fitted model and by frequencies alone.

use std::time::Instant;

use headstart_core::forecast::{Model, forecast};
use headstart_core::history::History;
use headstart_core::unit::{Span, Time};
use headstartd::reconcile::learning;

use crate::scene::Scene;
use crate::table::{Figure, Table, Target};
use crate::training::subjects;

const REPEATS: usize = 40;

pub(crate) fn measure(scene: &Scene, model: &Model, table: &mut Table) -> anyhow::Result<()> {
    let (path, _) = scene.history("daemon/history.db", &scene.trace(500, 365)?)?;
    let now = Scene::year_ends() + Span::hours(9);
    let history = learning::learn(&path, &subjects(), now)?;
    let plain = Model::default();
    // In turns, so that a disturbance hits both.
    let (mut fitted, mut frequency) = (Vec::new(), Vec::new());
    for _ in 0..REPEATS {
        frequency.push(once(&history, &plain, now));
        fitted.push(once(&history, model, now));
    }
    let baseline = Some(("by frequency alone", Figure::new(median(frequency), "us")));
    table.row("one subject", Figure::new(median(fitted), "us"), Target::None, baseline);
    Ok(())
}

/// Microseconds per subject.
fn once(history: &History, model: &Model, now: Time) -> f64 {
    let began = Instant::now();
    let made = std::hint::black_box(forecast(history, model, now));
    began.elapsed().as_secs_f64() * 1e6 / made.subjects.len().max(1) as f64
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
