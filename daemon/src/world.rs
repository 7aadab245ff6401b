//! What the daemon runs on: the real host and the wall clock, or a simulation with a clock of its own.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use headstart_core::desktop::resolve;
use headstart_core::observed::{Domain, Observed};
use headstart_core::trace::Row;
use headstart_core::unit::Time;
use tokio::sync::mpsc;

use crate::bus::HostPort;
use crate::clock::Clock;
use crate::config::simulation::Simulation as SimulationFile;
use crate::config::{Config, GpuEntry, Select};
use crate::host::Host;
use crate::host::hardware::{GpuRule, Hardware, ProfileRule, Selector};
use crate::host::real::RealHost;
use crate::host::sysfs::SysfsRoot;
use crate::host_port::{RealPort, SimPort};
use crate::message::Message;
use crate::reconcile::learning::Subjects;
use crate::simulation::{Simulation, SimulationError, Trace};

/// What the daemon runs on.
pub struct World {
    /// The host.
    pub host: Arc<dyn Host>,
    /// Its clock.
    pub clock: Clock,
    /// The host, for what no round has to do with.
    pub port: Arc<dyn HostPort>,
    /// People of a simulation.
    pub simulation: Option<Simulation>,
    /// Whose login a session at a desktop is, as far as is known before the first round.
    pub subjects: Subjects,
    /// What a trace has from before the simulation began.
    pub past: Vec<Row>,
}

/// How a simulation is to run.
pub struct Play {
    /// The made-up host.
    pub file: SimulationFile,
    /// Who comes and goes.
    pub trace: Option<Trace>,
    /// When it begins; none: as the file says, or at the first session of the trace.
    pub start: Option<Time>,
    /// Simulated seconds in a second.
    pub speed: f64,
    /// Where the host is kept.
    pub state: Option<PathBuf>,
}

impl World {
    /// A simulation. `zone`: IANA name of the default zone.
    ///
    /// # Errors
    /// The kept host cannot be read, or does not fit the file.
    pub fn simulated(play: Play, zone: &str) -> Result<Self, SimulationError> {
        let start = play.start.or(play.file.start);
        let (past, future) = match (play.trace, start) {
            (None, _) => (Vec::new(), Vec::new()),
            (Some(trace), None) => (Vec::new(), trace.rows),
            (Some(trace), Some(start)) => trace.split(start),
        };
        let simulation = Simulation::new(&play.file, future, start, play.speed, play.state.as_deref())?;
        Ok(Self {
            host: simulation.host.clone(),
            port: Arc::new(SimPort::new(simulation.host.clone())),
            clock: Clock::Virtual(simulation.clock.clone()),
            subjects: Simulation::subjects(&play.file, zone),
            simulation: Some(simulation),
            past,
        })
    }

    /// This host. `to_loop` hears of everything that asks for another look.
    pub async fn real(config: &Config, zone: &str, to_loop: mpsc::Sender<Message>) -> Self {
        let rules = config.gpus.iter().map(rule).collect();
        let hardware = Arc::new(Hardware::new(SysfsRoot::new("/"), rules));
        // A full queue holds wake-ups enough.
        let wake = move |event| {
            tracing::debug!("{event}");
            let _ = to_loop.try_send(Message::Reconcile);
        };
        let (rules, default) = (config.desktop_rules.clone(), config.forecast.time_zone.rules().clone());
        let watched = move |domain: &Domain| {
            let desktop = !matches!(resolve(domain, &rules, &default), Ok(None));
            desktop || domain.hostdevs.iter().any(|hostdev| hostdev.ours)
        };
        let poll = Duration::from_secs(config.poll.as_seconds().unsigned_abs());
        let host = Arc::new(RealHost::new(Arc::clone(&hardware), &config.libvirt_uri, poll, watched, wake));
        let port = Arc::new(RealPort::new(hardware, Arc::clone(&host)));
        let first = Arc::clone(&host);
        // It only tells which desktops share a pool or live in another zone; the first round looks again.
        let observed = tokio::task::spawn_blocking(move || first.observe()).await.unwrap_or_default();
        let subjects = subjects(&observed, config, zone);
        Self { host, clock: Clock::Wall, port, simulation: None, subjects, past: Vec::new() }
    }
}

/// What the configuration says of GPUs, for the hardware.
fn rule(entry: &GpuEntry) -> GpuRule {
    let select = match &entry.select {
        Select::One(id) => Selector::Id(*id),
        Select::Like { vendor, device, driver } => {
            Selector::Like { vendor: *vendor, device: *device, driver: driver.clone() }
        }
    };
    let profiles = entry.profiles.iter().map(|profile| ProfileRule {
        name: profile.name.clone(),
        number: profile.number,
        framebuffer: profile.framebuffer,
        max_instances: profile.max_instances,
        slots: profile.slots,
    });
    GpuRule {
        select,
        board: entry.board.clone(),
        vfs: entry.vfs,
        framebuffer: entry.framebuffer,
        profiles: profiles.collect(),
        vgpu_params: entry.vgpu_params.clone(),
    }
}

fn subjects(observed: &Observed, config: &Config, zone: &str) -> Subjects {
    let default = config.forecast.time_zone.rules();
    let desktops =
        observed.domains.values().filter_map(|domain| resolve(domain, &config.desktop_rules, default).ok()?);
    Subjects::of_desktops(desktops, zone)
}
