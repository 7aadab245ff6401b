//! Rounds on simulated hosts of three sizes, and how their time grows.

use std::time::Instant;

use headstart_core::forecast::Model;
use headstart_core::history::History;
use headstart_core::step::Busy;
use headstart_core::unit::{Span, Time};
use headstartd::host::Host;
use headstartd::reconcile::memory::{Memory, Round, Settings};
use headstartd::status::Mode;
use jiff::tz::TimeZone;

use crate::host::{self, Made};
use crate::people;
use crate::rest::Walk;
use crate::table::{Figure, Table, Target};

/// Desktops and GPUs.
const SIZES: [(usize, usize); 3] = [(500, 16), (2_500, 80), (10_000, 320)];
/// Rounds of each measurement; their median counts.
const ROUNDS: usize = 15;
/// MiB that are walked through before a round: rounds are seconds apart, and by then a core's own caches hold none of the last one. Of
/// 500 desktops they would, of 10,000 never, and what grew would be the share that misses.
const BETWEEN: usize = 16;
/// No more than n log n, that is: by so much the exponents of two runs on a quiet machine differ.
const NOISE: f64 = 1.02;
/// Tuesday, 5 January 2027, 09:00 in Berlin: many have come, many are expected.
const NOW: i64 = 1_799_136_000;

/// Medians in milliseconds.
#[derive(Clone, Copy, Default)]
struct Times {
    look: f64,
    steady: f64,
    first: f64,
}

pub(crate) fn measure(model: &Model, table: &mut Table) -> anyhow::Result<()> {
    let now = Time::from_unix(NOW);
    let mut times = Vec::new();
    for (desktops, gpus) in SIZES {
        let taken = one_size(desktops, gpus, model, now)?;
        let small = desktops == SIZES[0].0;
        let target = if small { Target::Below(20.0) } else { Target::None };
        let look = Some(("the look alone", Figure::new(taken.look, "ms")));
        let size = format!("{desktops} desktops, {gpus} GPUs");
        table.row(&format!("{size}, steady"), Figure::new(taken.steady, "ms"), target, look);
        table.row(&format!("{size}, first round"), Figure::new(taken.first, "ms"), target, look);
        times.push(taken);
    }
    let (small, large) = (times[0], times[times.len() - 1]);
    let (n, most) = (SIZES[0].0 as f64, SIZES[SIZES.len() - 1].0 as f64);
    let exponent = |small: f64, large: f64| Figure::new((large / small).ln() / (most / n).ln(), "");
    // What n log n gives between the same two sizes.
    let allowed = exponent(n * n.ln(), most * most.ln());
    let fair = Some(("n log n between these sizes", allowed));
    table.row("exponent of growth, steady", exponent(small.steady, large.steady), Target::Times(NOISE), fair);
    table.row("exponent of growth, first round", exponent(small.first, large.first), Target::Times(NOISE), fair);
    table.row("exponent of growth, the look alone", exponent(small.look, large.look), Target::None, fair);
    Ok(())
}

fn settings() -> anyhow::Result<Settings> {
    let zone = TimeZone::get("Europe/Berlin")?;
    Ok(Settings { policy: headstart_core::policy::Policy::default(), rules: Vec::new(), zone, mode: Mode::Armed })
}

fn one_size(desktops: usize, gpus: usize, model: &Model, now: Time) -> anyhow::Result<Times> {
    let settings = settings()?;
    let made = host::busy(desktops, gpus, now)?;
    let history = people::history(&made.names, &settings.zone, now);
    let mut memory = Memory::new(history.clone(), model.clone());
    // The loop comes to know the desktops and has begun its work.
    made.clock.advance(now - Span::minutes(2));
    for back in (1..=4).rev() {
        made.clock.advance(now - Span::seconds(back * 15));
        let round = memory.round(&settings, made.host.observe(), &Busy::default(), made.clock.now());
        for step in &round.steps {
            // A step that fails is the planner's business in the next round, as always.
            let _ = made.host.apply(step);
        }
    }
    let mut looks = Vec::new();
    let mut steady = Vec::new();
    let mut between = Walk::new(BETWEEN);
    for _ in 0..ROUNDS {
        made.clock.advance(made.clock.now() + Span::seconds(1));
        between.walk();
        let began = Instant::now();
        let observed = made.host.observe();
        looks.push(began.elapsed().as_secs_f64());
        let round = memory.round(&settings, observed, &Busy::default(), made.clock.now());
        steady.push(began.elapsed().as_secs_f64());
        describe(desktops, &round, steady.len());
    }
    let first = first_rounds(&host::empty(desktops, gpus, now)?, &history, model, &settings);
    Ok(Times { look: median(looks), steady: median(steady), first: median(first) })
}

/// The round after a start of the host: nobody has anything and everybody is expected.
fn first_rounds(made: &Made, history: &History, model: &Model, settings: &Settings) -> Vec<f64> {
    let mut times = Vec::new();
    let mut between = Walk::new(BETWEEN);
    for _ in 0..ROUNDS / 3 {
        let mut memory = Memory::new(history.clone(), model.clone());
        between.walk();
        let began = Instant::now();
        let round = memory.round(settings, made.host.observe(), &Busy::default(), made.clock.now());
        times.push(began.elapsed().as_secs_f64());
        describe(made.names.len(), &round, times.len());
    }
    times
}

/// With `BENCH_VERBOSE` set: what the first of the measured rounds was like.
fn describe(desktops: usize, round: &Round, n: usize) {
    if n == 1 && std::env::var_os("BENCH_VERBOSE").is_some() {
        let holding = round.observed.domains.values().filter(|domain| !domain.hostdevs.is_empty()).count();
        let (wants, steps) = (round.plan.desired.wants.len(), round.steps.len());
        eprintln!("{desktops} desktops: {holding} hold a device, {wants} should, {steps} steps");
    }
}

/// Milliseconds, of seconds.
fn median(mut seconds: Vec<f64>) -> f64 {
    seconds.sort_by(f64::total_cmp);
    seconds[seconds.len() / 2] * 1e3
}
