//! headstartd: arguments, wiring, exit status.

use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use clap::Parser;
use headstart_core::desktop::MissingGpu;
use headstart_core::trace::Row;
use headstart_core::unit::Time;
use headstartd::bus::{self, BusChoice, Ports};
use headstartd::calendar::Reader;
use headstartd::config::Config;
use headstartd::config::simulation::Simulation as SimulationFile;
use headstartd::history_port::StorePort;
use headstartd::monitor;
use headstartd::reconcile::memory::{Memory, Settings};
use headstartd::reconcile::{Parts, Reconcile, learning, model_file};
use headstartd::simulation::{DEFAULT_LENGTH, Trace};
use headstartd::store::{Record, Source, Store};
use headstartd::systemd::{self, Systemd};
use headstartd::world::{Play, World};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{broadcast, mpsc, watch};

/// `EX_CONFIG` of sysexits.h; the unit does not restart on it.
const BAD_CONFIGURATION: u8 = 78;
/// Requests that wait for the loop; more are answered Busy.
const MESSAGES: usize = 256;
/// Decisions that wait for a slow bus.
const DECISIONS: usize = 1024;

/// Gives every virtual desktop its GPU before its user comes.
#[derive(Parser)]
#[command(version, about)]
struct Arguments {
    /// Read only this file instead of /usr/lib, /run and /etc/headstart.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print the merged configuration and end.
    #[arg(long)]
    check_config: bool,
    /// Run on simulated hardware that this file describes.
    #[arg(long, value_name = "FILE")]
    simulate: Option<PathBuf>,
    /// In a simulation: let the people of this trace come and go.
    #[arg(long, value_name = "FILE", requires = "simulate")]
    trace: Option<PathBuf>,
    /// In a simulation: begin at this time (RFC 3339); what the trace has before it becomes history.
    #[arg(long, value_name = "TIME", requires = "simulate")]
    start: Option<jiff::Timestamp>,
    /// In a simulation: so many simulated seconds pass in a second.
    #[arg(long, value_name = "N", default_value_t = 1.0, requires = "simulate", value_parser = speed)]
    speed: f64,
    /// In a simulation: keep the host in this file, so that it outlives the daemon; go on from it if it is there.
    #[arg(long, value_name = "FILE", requires = "simulate")]
    simulate_state: Option<PathBuf>,
    /// In a simulation: end when everybody of the trace has come and gone.
    #[arg(long, requires = "trace")]
    exit_at_end: bool,
    /// The database, instead of the one in the configuration.
    #[arg(long, value_name = "FILE")]
    history: Option<PathBuf>,
    /// `system`, `session`, or a D-Bus address.
    #[arg(long, value_name = "BUS", default_value = "system", env = "HEADSTART_BUS")]
    bus: BusChoice,
    /// Internal: fit the model on this database and print it.
    #[arg(long, value_name = "FILE", hide = true, requires = "fit_until")]
    fit: Option<PathBuf>,
    /// Internal: up to this time.
    #[arg(long, value_name = "UNIX", hide = true)]
    fit_until: Option<i64>,
}

fn speed(text: &str) -> Result<f64, String> {
    let speed: f64 = text.parse().map_err(|_| "a number is expected".to_owned())?;
    if (1e-3..=1e7).contains(&speed) { Ok(speed) } else { Err("it must be between 0.001 and 10000000".to_owned()) }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let (Some(path), Some(until)) = (&arguments.fit, arguments.fit_until) {
        return report(fit(path, Time::from_unix(until)));
    }
    headstartd::log::start();
    let loaded = match &arguments.config {
        Some(file) => Config::load_file(file),
        None => Config::load(std::path::Path::new("/")),
    };
    let config = match loaded {
        Ok(config) => config,
        Err(errors) => {
            eprintln!("{errors}");
            return ExitCode::from(BAD_CONFIGURATION);
        }
    };
    if arguments.check_config {
        print!("{}", config.to_toml());
        return ExitCode::SUCCESS;
    }
    let simulation = match arguments.simulate.as_deref().map(SimulationFile::load).transpose() {
        Ok(simulation) => simulation,
        Err(errors) => {
            eprintln!("{errors}");
            return ExitCode::from(BAD_CONFIGURATION);
        }
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return report(Err(error.into())),
    };
    let result = runtime.block_on(run(arguments, config, simulation));
    // A step that hangs must not keep the daemon from ending.
    runtime.shutdown_timeout(Duration::from_secs(1));
    report(result)
}

fn report(result: anyhow::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("headstartd: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The fitting process: subjects on standard input, the model on standard output.
fn fit(path: &std::path::Path, until: Time) -> anyhow::Result<()> {
    let mut subjects = Vec::new();
    std::io::stdin().read_to_end(&mut subjects)?;
    let model = learning::fit_here(path, &serde_json::from_slice(&subjects)?, until)?;
    std::io::stdout().lock().write_all(&model_file::encode(&model)?)?;
    Ok(())
}

/// What a trace has before the simulation begins becomes history. Twice is as good as once.
fn remember(store: &Store, rows: Vec<Row>) {
    for row in rows {
        let (desktop, end) = (row.desktop, row.end);
        store.record(Record::SessionStarted {
            desktop: desktop.clone(),
            user: Some(row.user),
            at: row.start,
            offset: Some(row.offset),
            source: Source::Simulated,
        });
        store.record(Record::SessionEnded { desktop, at: end.unwrap_or(row.start + DEFAULT_LENGTH) });
    }
}

/// The hook asks about domains that bear a mark of ours. A desktop that only the configuration knows bears none before it has a device;
/// if such a one must not start without, a file says that it has to ask about all. It goes with systemd's run-time folder.
fn ask_about_all(config: &Config) {
    let blocks = config.desktop_rules.iter().any(|rule| rule.settings.missing_gpu == Some(MissingGpu::Block));
    let Some(folder) = std::env::var_os("RUNTIME_DIRECTORY").filter(|_| blocks) else { return };
    let file = PathBuf::from(folder).join("ask-about-all");
    if let Err(error) = std::fs::write(&file, "") {
        tracing::warn!(
            "{}: cannot be written ({error}): the hook does not ask about desktops without a device",
            file.display()
        );
    }
}

async fn run(arguments: Arguments, config: Config, file: Option<SimulationFile>) -> anyhow::Result<()> {
    // Before anything is touched: another headstartd may be at work.
    let connection = bus::connect(&arguments.bus).await?;
    bus::check_free(&connection).await?;
    let trace = arguments.trace.as_deref().map(Trace::read).transpose()?;
    let path = arguments.history.unwrap_or(config.history.path.clone());
    let store = Store::open(&path, config.history.retention)?;
    let zone = config.forecast.time_zone.rules().clone();
    let zone_name = zone.iana_name().unwrap_or_default().to_owned();
    let calendar_zone = zone_name.clone();
    let (to_loop, messages) = mpsc::channel(MESSAGES);
    let world = match file {
        Some(file) => {
            let start = arguments.start.map(Time::from_timestamp);
            let play = Play { file, trace, start, speed: arguments.speed, state: arguments.simulate_state };
            World::simulated(play, &zone_name)?
        }
        None => World::real(&config, &zone_name, to_loop.clone()).await,
    };
    remember(&store, world.past);
    store.flush().await;
    let (clock, subjects) = (world.clock, world.subjects);
    let is_real = world.simulation.is_none();
    let settings = Settings {
        policy: config.policy.clone(),
        rules: config.desktop_rules.clone(),
        zone: zone.clone(),
        mode: config.mode,
    };
    let history = learning::learn(store.path(), &subjects, clock.now())?;
    let model_path = path.with_file_name("model");
    let mut memory = Memory::new(history, model_file::kept(&model_path).unwrap_or_default());
    memory.subjects = subjects;
    memory.leads = learning::learn_leads(store.path(), clock.now())?;
    memory.reported = learning::still_reported(store.open_sessions(), clock.now());
    memory.standing = learning::still_wished(store.wishes(), clock.now());

    let (status, shown) = watch::channel(Arc::default());
    let (decisions, told) = broadcast::channel(DECISIONS);
    let history = Arc::new(StorePort::new(store.clone(), zone));
    let ports = Ports { status: shown.clone(), messages: to_loop.clone(), history, host: world.port, decisions: told };
    let reconcile = Reconcile::new(
        Parts {
            host: world.host,
            clock,
            simulation: world.simulation,
            settings,
            zone_name,
            poll: config.poll,
            refit_at: config.forecast.refit_at,
            store: store.clone(),
            model_path: Some(model_path),
            messages,
            status,
            decisions,
            systemd: Systemd::new(sd_notify::watchdog_enabled()),
            calendars: Reader::new(config.calendars.clone(), &calendar_zone),
            exit_at_end: arguments.exit_at_end,
        },
        memory,
    );
    ask_about_all(&config);
    if is_real {
        tokio::spawn(monitor::watch(to_loop));
    }
    let still = connection.clone();
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let service = async {
        // The first round comes before the name, so that whoever sees us finds everything in place.
        let mut first = shown.clone();
        first.changed().await.context("the loop ended before its first round")?;
        let service = bus::publish(connection, ports).await?;
        systemd::ready();
        tracing::info!("ready");
        Ok(service.run().await?)
    };
    let result: anyhow::Result<()> = tokio::select! {
        () = reconcile.run() => Ok(()),
        result = service => result,
        _ = terminate.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
    };
    systemd::stopping();
    store.close().await;
    bus::leave(&still).await;
    result
}
