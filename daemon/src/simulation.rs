//! A simulated host made from a file, and the people of a trace who come and go on it.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use headstart_core::desktop::{AttachMode, Settings};
use headstart_core::gpu::{DeviceId, Gpu, GpuState, Interface, Opened, Partitioning, Profile, Vgpu};
use headstart_core::id::{DesktopName, DomainUuid, MdevUuid};
use headstart_core::step::FailureKind;
use headstart_core::trace::Row;
use headstart_core::unit::{Span, Time};
use uuid::Uuid;

use crate::clock::{Clock, VirtualClock};
use crate::config::simulation::{self as file, FaultError, FaultStep, FaultTarget, When};
use crate::host::sim::{SimDomain, SimFailure, SimFault, SimHost, hardware};
use crate::reconcile::learning::Subjects;
use crate::trace_file::{self, BadLine, Rows, TraceError};

/// A session of unknown end is taken to last this long, as in the backtest.
pub const DEFAULT_LENGTH: Span = Span::minutes(45);
/// Before the first row of a trace, so that the first user is not there already.
const BEFORE_FIRST: Span = Span::hours(1);

/// Namespace of the UUIDs of simulated domains, so that the same file gives the same domains.
const NAMESPACE: Uuid = Uuid::from_u128(0x4a0e_6a34_0c4f_4b58_8a39_5a2b_1d94_77c1);

/// A simulated host and its people.
pub struct Simulation {
    /// The hardware and the guests.
    pub host: Arc<SimHost>,
    /// Its clock.
    pub clock: VirtualClock,
    /// Comings and goings, in order.
    events: Vec<(Time, usize, bool)>,
    desktops: Vec<DesktopName>,
    /// How many of the events have been played.
    played: usize,
    /// Sessions open at each desktop: two of one user overlap as one.
    open: BTreeMap<usize, u32>,
}

/// Why a simulation cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum SimulationError {
    /// A file that cannot be read or written.
    #[error("{file}: cannot be used")]
    File {
        /// Which.
        file: String,
        /// Why.
        source: std::io::Error,
    },
    /// What was given is no trace, or ends in the middle.
    #[error("{file}: is not a whole trace")]
    Trace {
        /// Which.
        file: String,
        /// Why.
        source: TraceError,
    },
    /// A row of the trace is bad.
    #[error("{file}:{line}")]
    Row {
        /// Which trace.
        file: String,
        /// Which line, from 1.
        line: u64,
        /// Why.
        source: BadLine,
    },
}

/// A trace read for a simulation.
#[derive(Clone, Default)]
pub struct Trace {
    /// In order of start.
    pub rows: Vec<Row>,
}

impl Trace {
    /// Reads a whole trace, plain or gzipped.
    ///
    /// # Errors
    /// Names file and line.
    pub fn read(path: &Path) -> Result<Self, SimulationError> {
        let file = || path.display().to_string();
        let unread = |source| SimulationError::File { file: file(), source };
        let bad = |source| SimulationError::Trace { file: file(), source };
        let input = std::fs::File::open(path).and_then(trace_file::open).map_err(unread)?;
        let mut rows = Rows::new(input).map_err(bad)?;
        let mut all = Vec::new();
        while let Some(row) = rows.next().map_err(bad)? {
            all.push(row.map_err(|source| SimulationError::Row { file: file(), line: rows.line(), source })?);
        }
        all.sort_by(|a: &Row, b: &Row| (a.start, &a.user).cmp(&(b.start, &b.user)));
        Ok(Self { rows: all })
    }

    /// Splits at an instant: what began before is the past.
    pub fn split(mut self, at: Time) -> (Vec<Row>, Vec<Row>) {
        let n = self.rows.partition_point(|row| row.start < at);
        let future = self.rows.split_off(n);
        (self.rows, future)
    }
}

impl Simulation {
    /// Builds the host of `file`, on which the people of `future` will come and go. The clock begins at `start`, or shortly before
    /// the first of them.
    ///
    /// `kept`: a file that keeps the host, so that it outlives the daemon; the clock goes on where it stopped.
    ///
    /// # Errors
    /// The file that keeps the host cannot be used.
    pub fn new(
        file: &file::Simulation,
        future: Vec<Row>,
        start: Option<Time>,
        speed: f64,
        kept: Option<&Path>,
    ) -> Result<Self, SimulationError> {
        let unusable = |path: &Path, source| SimulationError::File { file: path.display().to_string(), source };
        let first = future.first().map(|row| row.start - BEFORE_FIRST);
        let start = start.or(file.start).or(first).unwrap_or_else(|| Clock::Wall.now());
        let kept_hour = match kept {
            Some(path) => SimHost::kept_hour(path).map_err(|source| unusable(path, source))?,
            None => None,
        };
        let clock = VirtualClock::new(kept_hour.unwrap_or(start), speed);
        let (gpus, strangers) = gpus(file);
        let domains = file.domains.iter().map(domain).chain(strangers).collect();
        let faults = file.faults.iter().map(|fault| sim_fault(fault, start)).collect();
        let mut host = SimHost::new(Clock::Virtual(clock.clone()), gpus, domains, faults);
        if let Some(path) = kept {
            host.keep_in(path).map_err(|source| unusable(path, source))?;
        }
        let mut simulation = Self {
            host: Arc::new(host),
            clock,
            events: Vec::with_capacity(2 * future.len()),
            desktops: Vec::new(),
            played: 0,
            open: BTreeMap::new(),
        };
        simulation.enrol(future);
        if let Some(hour) = kept_hour {
            simulation.skip(hour);
        }
        Ok(simulation)
    }

    fn enrol(&mut self, rows: Vec<Row>) {
        let mut index = BTreeMap::new();
        for row in rows {
            let at = *index.entry(row.desktop).or_insert_with_key(|name| {
                self.desktops.push(name.clone());
                self.desktops.len() - 1
            });
            let end = row.end.unwrap_or(row.start + DEFAULT_LENGTH).max(row.start + Span::minutes(1));
            self.events.push((row.start, at, true));
            self.events.push((end, at, false));
        }
        // Who goes, goes before who comes at the same second.
        self.events.sort_unstable_by_key(|(time, desktop, comes)| (*time, *comes, *desktop));
    }

    /// Whoever came or went before the kept host stopped has done so on it. What happened in that very second is played again, since
    /// not all of it may have: coming or going twice is as good as once.
    fn skip(&mut self, hour: Time) {
        while let Some((_, desktop, comes)) = self.events.get(self.played).copied().filter(|(time, ..)| *time < hour) {
            self.played += 1;
            let open = self.open.entry(desktop).or_default();
            *open = if comes { *open + 1 } else { open.saturating_sub(1) };
        }
    }

    /// The next time at which something happens by itself.
    pub fn next_event(&self) -> Option<Time> {
        let person = self.events.get(self.played).map(|(time, _, _)| *time);
        [person, self.host.next_event()].into_iter().flatten().min()
    }

    /// Lets everybody come and go who does by now.
    pub fn play(&mut self) {
        let now = self.clock.now();
        while let Some((time, desktop, comes)) = self.events.get(self.played).copied().filter(|(time, ..)| *time <= now)
        {
            self.played += 1;
            let open = self.open.entry(desktop).or_default();
            if comes {
                *open += 1;
                if *open == 1 {
                    self.host.arrive(&self.desktops[desktop], time);
                }
            } else {
                *open = open.saturating_sub(1);
                if *open == 0 {
                    self.host.leave(&self.desktops[desktop]);
                }
            }
        }
    }

    /// Whose login a session at a desktop is, for learning from disk before the first look.
    pub fn subjects(file: &file::Simulation, zone: &str) -> Subjects {
        let mut subjects = Subjects { zone: zone.to_owned(), ..Subjects::default() };
        for domain in &file.domains {
            if let Some(pool) = &domain.pool {
                subjects.pools.push((domain.name.clone(), pool.clone()));
            }
            if let Some(other) = domain.time_zone.as_ref().and_then(|zone| zone.rules().iana_name()) {
                subjects.zones.push((domain.name.clone(), other.to_owned()));
            }
        }
        subjects.pools.sort();
        subjects.zones.sort();
        subjects
    }

    /// Everybody of the trace has come and gone.
    pub fn is_over(&self) -> bool {
        self.played == self.events.len()
    }

    /// Whether a trace was given at all.
    pub fn has_people(&self) -> bool {
        !self.events.is_empty()
    }
}

fn uuid_of(name: &str) -> Uuid {
    Uuid::new_v5(&NAMESPACE, name.as_bytes())
}

fn domain(domain: &file::SimulatedDomain) -> SimDomain {
    SimDomain {
        uuid: DomainUuid::new(uuid_of(domain.name.as_str())),
        name: domain.name.clone(),
        settings: Some(Settings {
            user: domain.user.clone(),
            pool: domain.pool.clone(),
            profiles: Some(domain.profiles.clone()),
            attach: Some(domain.attach),
            priority: Some(domain.priority),
            time_zone: domain.time_zone.as_ref().map(|zone| zone.rules().clone()),
            lead: None,
            preallocate: None,
            missing_gpu: None,
            presence: None,
            hours: None,
            group: None,
        }),
        boot: domain.boot,
        refuses_unplug: domain.guest_refuses_unplug,
        running: domain.attach == AttachMode::Live,
        foreign: None,
        marked: false,
    }
}

/// The PFs with what strangers have on them, and the strangers' domains.
fn gpus(file: &file::Simulation) -> (Vec<Gpu>, Vec<SimDomain>) {
    let (mut gpus, mut domains) = (Vec::new(), Vec::new());
    for simulated in &file.gpus {
        let mut gpu = gpu(simulated);
        for (n, stranger) in simulated.strangers.iter().enumerate() {
            let name = format!("stranger-{}-{n}", simulated.address);
            let free_vf = gpu
                .vfs
                .iter()
                .rev()
                .map(|vf| DeviceId::Vf(*vf))
                .find(|vf| gpu.interface == Interface::Vf || !gpu.vgpus.contains_key(vf));
            let device = match gpu.interface {
                Interface::Mdev => DeviceId::Mdev(MdevUuid::new(uuid_of(&name))),
                _ => free_vf.unwrap_or(DeviceId::Mdev(MdevUuid::new(uuid_of(&name)))),
            };
            let start = gpu.profile(&stranger.profile).and_then(|profile| profile.starts.first().copied());
            let vgpu = Vgpu { profile: Some(stranger.profile.clone()), start, opened: Opened::No };
            gpu.vgpus.insert(device, vgpu);
            if let Some(domain) = &stranger.domain {
                domains.push(SimDomain {
                    uuid: DomainUuid::new(uuid_of(domain.as_str())),
                    name: domain.clone(),
                    settings: None,
                    boot: Span::ZERO,
                    refuses_unplug: false,
                    running: true,
                    foreign: Some(device),
                    marked: false,
                });
            }
        }
        gpus.push(gpu);
    }
    (gpus, domains)
}

fn gpu(simulated: &file::SimulatedGpu) -> Gpu {
    let vfs = u16::try_from(simulated.vfs).unwrap_or(u16::MAX);
    let slots = |partitioned: &[file::SimulatedProfile]| {
        let ends = partitioned.iter().filter_map(|profile| profile.placements.as_ref());
        let end = ends.flat_map(|p| p.starts.iter().map(|start| start + p.size)).max();
        u16::try_from(end.unwrap_or(0)).unwrap_or(u16::MAX)
    };
    let partitioning = match simulated.partitioning {
        file::Partitioning::EqualSize => Partitioning::EqualSize { series_may_mix: true },
        file::Partitioning::MixedSize => Partitioning::MixedSize { slots: slots(&simulated.profiles) },
        file::Partitioning::Mig => Partitioning::Mig { slots: slots(&simulated.profiles) },
        file::Partitioning::FixedVfs => Partitioning::FixedVfs,
        file::Partitioning::Sriov => Partitioning::SrIov { vfs: u16::try_from(simulated.max_vfs).unwrap_or(u16::MAX) },
    };
    let small = |n: u32| u16::try_from(n).unwrap_or(u16::MAX);
    let profiles = simulated
        .profiles
        .iter()
        .map(|profile| Profile {
            name: profile.name.clone(),
            framebuffer: profile.framebuffer,
            max_instances: small(profile.max_instances),
            compute: profile.series.as_deref() == Some("C"),
            slots: profile.placements.as_ref().map_or(0, |placements| small(placements.size)),
            starts: profile.placements.as_ref().map_or_else(Vec::new, |p| p.starts.iter().map(|n| small(*n)).collect()),
        })
        .collect();
    let mut gpu = Gpu {
        address: simulated.address,
        name: simulated.name.clone(),
        framebuffer: simulated.framebuffer,
        interface: match simulated.interface {
            file::Interface::Mdev => Interface::Mdev,
            file::Interface::VfioVariant => Interface::VfioVariant,
            file::Interface::Sriov => Interface::Vf,
        },
        partitioning,
        profiles,
        vfs: Vec::new(),
        dormant_vfs: 0,
        vgpus: BTreeMap::new(),
        instances: simulated.gpu_instances.then(BTreeMap::new),
        state: GpuState::Ready,
    };
    if vfs > 0 {
        hardware::enable_vfs(&mut gpu, vfs);
    } else if gpu.interface != Interface::Vf {
        gpu.dormant_vfs = small(simulated.max_vfs);
    }
    gpu
}

fn sim_fault(fault: &file::Fault, start: Time) -> SimFault {
    let kinds = match fault.step {
        None => Vec::new(),
        Some(FaultStep::Create) => vec!["create-mdev", "set-vgpu-type", "create-gpu-instance"],
        Some(FaultStep::Remove) => vec!["remove-mdev", "clear-vgpu-type", "destroy-gpu-instance"],
        Some(FaultStep::SetVfs) => vec!["set-num-vfs"],
        Some(FaultStep::Attach) => vec!["attach"],
        Some(FaultStep::Detach) => vec!["detach"],
        Some(FaultStep::Start) => vec!["start"],
        Some(FaultStep::ShutDown) => vec!["shut-down"],
        // libvirt binds; no step of ours does.
        Some(FaultStep::Bind) => vec!["bind"],
    };
    let (from, every) = match fault.when {
        When::At(span) => (start + span, None),
        When::Every(span) => (start + span, Some(span)),
    };
    let (gpu, domain) = match &fault.on {
        FaultTarget::Gpu(gpu) => (Some(*gpu), None),
        FaultTarget::Domain(domain) => (None, Some(domain.clone())),
    };
    let failure = match fault.error {
        FaultError::Transient => SimFailure::Error(FailureKind::Transient),
        FaultError::Denied => SimFailure::Error(FailureKind::Denied),
        FaultError::Exhausted => SimFailure::Error(FailureKind::Exhausted),
        FaultError::Conflict => SimFailure::Error(FailureKind::Conflict),
        FaultError::Gone => SimFailure::Error(FailureKind::Gone),
        FaultError::Unsupported => SimFailure::Error(FailureKind::Unsupported),
        FaultError::Hang => SimFailure::Hang,
    };
    SimFault { from, every, kinds, gpu, domain, failure, times: fault.count }
}
