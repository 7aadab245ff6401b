//! `make bench`: how fast headstart is, as one table, every figure beside the baseline it was measured with in the same run.
//!
//! A report, not a judge: a missed target is printed and the exit status stays 0, since a busy machine misses targets that the
//! program keeps. Everything runs on this machine alone. The measured programs are those beside this one: build them with
//! `cargo build --release --workspace --bins` before.

mod forecast;
mod hook;
mod host;
mod idle;
mod import;
mod look;
mod people;
mod request;
mod rest;
mod round;
mod scene;
mod table;
mod training;

use std::process::ExitCode;
use std::time::Instant;

use headstart_core::forecast::Model;
use scene::Scene;
use table::Table;

const LOOK: &str = "One look at the hardware";
const ROUND: &str = "One round: look, forecast, plan, steps";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let result = match arguments.first().map(String::as_str) {
        // What is to be measured in a process of its own.
        Some(training::FIT | training::STREAM) => training::child(&arguments),
        // This part alone.
        Some("hook") => only("libvirt's hook, the whole process", |table| hook::measure(&Scene::new()?, table)),
        Some("forecast") => learning(false),
        Some("round") => learning(true),
        Some("look") => only(LOOK, look::measure),
        _ => all(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn only(title: &str, measure: impl FnOnce(&mut Table) -> anyhow::Result<()>) -> anyhow::Result<()> {
    let mut table = Table::default();
    table.section(title, measure)?;
    println!("{table}");
    Ok(())
}

/// Training and forecasts, and what rounds make of them.
fn learning(rounds: bool) -> anyhow::Result<()> {
    let (scene, mut table) = (Scene::new()?, Table::default());
    let model = learned(&scene, &mut table)?;
    if rounds {
        table.section(ROUND, |table| round::measure(&model, table))?;
    }
    println!("{table}");
    Ok(())
}

fn learned(scene: &Scene, table: &mut Table) -> anyhow::Result<Model> {
    let model = table.section("Training: 1,000 users, 1 year", |table| training::measure(scene, table))?;
    table.section("Forecast of 500 subjects, 24 h", |table| forecast::measure(scene, &model, table))?;
    Ok(model)
}

fn all() -> anyhow::Result<()> {
    if cfg!(debug_assertions) {
        eprintln!("bench: this is a debug build; its figures say nothing. Use --release");
    }
    let began = Instant::now();
    let scene = Scene::new()?;
    let mut table = Table::default();
    // The model that training gives is used by what follows.
    let model = learned(&scene, &mut table)?;
    table.section(ROUND, |table| round::measure(&model, table))?;
    table.section("Import of 1,000,000 sessions", |table| import::measure(&scene, table))?;
    table.section("headstartd with 500 desktops and 1 year", |table| idle::measure(&scene, table))?;
    table.section("libvirt's hook, the whole process", |table| hook::measure(&scene, table))?;
    table.section(LOOK, look::measure)?;
    println!("{table}");
    println!("{} targets missed; the whole took {:.0} s", table.missed(), began.elapsed().as_secs_f64());
    Ok(())
}
