//! Training, each time in a process of its own, as the daemon does it: so the peak of memory is that of the work alone.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, bail, ensure};
use headstart_core::forecast::Model;
use headstart_core::unit::{Span, Time};
use headstart_tests::process;
use headstartd::reconcile::learning::{self, Subjects};
use headstartd::reconcile::model_file;
use headstartd::store::Store;

use crate::scene::Scene;
use crate::table::{Figure, Table, Target};

/// Argument of the child that trains: history, until, where the model goes.
pub(crate) const FIT: &str = "--child-fit";
/// Argument of the child that only reads the same history.
pub(crate) const STREAM: &str = "--child-stream";

const ZONE: &str = "Europe/Berlin";

/// Everybody has a desktop, all in one zone.
pub(crate) fn subjects() -> Subjects {
    Subjects { zone: ZONE.to_owned(), ..Subjects::default() }
}

/// What a child said of itself.
struct Cost {
    seconds: f64,
    peak: f64,
}

pub(crate) fn measure(scene: &Scene, table: &mut Table) -> anyhow::Result<Model> {
    let (history, sessions) = scene.history("training.db", &scene.trace(1000, 365)?)?;
    let model = scene.path("trained.json");
    let stream = run(STREAM, &history, &model)?;
    let fit = run(FIT, &history, &model)?;
    let baseline = format!("reading the {sessions} sessions");
    let seconds = |cost: &Cost| Figure::new(cost.seconds, "s");
    let peak = |cost: &Cost| Figure::new(cost.peak, "MB");
    table.row("time", seconds(&fit), Target::Below(60.0), Some((&baseline, seconds(&stream))));
    table.row("peak of resident memory", peak(&fit), Target::Below(500.0), Some((&baseline, peak(&stream))));
    model_file::kept(&model).context("the model that was trained cannot be read back")
}

fn run(what: &str, history: &Path, model: &Path) -> anyhow::Result<Cost> {
    let until = Scene::year_ends().unix().to_string();
    let output = Command::new(std::env::current_exe()?).arg(what).arg(history).arg(until).arg(model).output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "{what}: {}", String::from_utf8_lossy(&output.stderr).trim());
    let (seconds, peak) = text.trim().split_once(' ').context("two numbers are expected")?;
    Ok(Cost { seconds: seconds.parse()?, peak: peak.parse()? })
}

/// The child: works, and prints seconds and peak.
pub(crate) fn child(arguments: &[String]) -> anyhow::Result<()> {
    let [what, history, until, model] = arguments else { bail!("{FIT} HISTORY UNTIL MODEL") };
    let (history, until) = (Path::new(history), Time::from_unix(until.parse()?));
    let began = Instant::now();
    if what == FIT {
        let fitted = learning::fit_here(history, &subjects(), until)?;
        model_file::keep(Path::new(model), &fitted)?;
    } else {
        Store::stream_sessions(history, until - Span::days(400), |session| {
            std::hint::black_box(session);
        })?;
    }
    println!("{} {}", began.elapsed().as_secs_f64(), process::own_peak()?);
    Ok(())
}
