//! The forecast of everybody, with the fitted model and by frequencies alone.

use std::time::Instant;

use headstart_core::forecast::{Forecast, Model, SLOT, forecast, forecast_after};
use headstart_core::unit::Span;
use headstartd::reconcile::learning;

use crate::scene::Scene;
use crate::table::{Figure, Table, Target};
use crate::training::subjects;

const REPEATS: usize = 40;

pub(crate) fn measure(scene: &Scene, model: &Model, table: &mut Table) -> anyhow::Result<()> {
    let (path, _) = scene.history("daemon/history.db", &scene.trace(500, 365)?)?;
    let now = Scene::year_ends() + Span::hours(9);
    let mut history = learning::learn(&path, &subjects(), now)?;
    let plain = Model::default();
    // In turns, so that a disturbance hits both.
    let (mut fitted, mut frequency) = (Vec::new(), Vec::new());
    for _ in 0..REPEATS {
        frequency.push(once(|| forecast(&history, &plain, now)));
        fitted.push(once(|| forecast(&history, model, now)));
    }
    let baseline = || Some(("by frequency alone", Figure::new(median(frequency.clone()), "us")));
    table.row("one subject, all 24 hours", Figure::new(median(fitted), "us"), Target::Below(40.0), baseline());
    // From slot to slot, as the rounds of a morning go.
    let (mut before, mut rounds) = (forecast(&history, model, now), Vec::new());
    for slot in 1..=REPEATS as i64 {
        let then = now + Span::seconds(slot * SLOT.as_seconds());
        history.advance(then);
        rounds.push(once(|| {
            before = forecast_after(Some(&before), &history, model, then);
            before.clone()
        }));
    }
    table.row("one subject and round", Figure::new(median(rounds), "us"), Target::Below(20.0), baseline());
    Ok(())
}

/// Microseconds per subject.
fn once(mut make: impl FnMut() -> Forecast) -> f64 {
    let began = Instant::now();
    let made = std::hint::black_box(make());
    began.elapsed().as_secs_f64() * 1e6 / made.subjects.len().max(1) as f64
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
