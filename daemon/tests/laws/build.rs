//! A scene as a simulated host. Leftovers and holders are made by steps on the simulated hardware itself, so that no start state is
//! one that the hardware would never show; what it refuses is left out.

use std::collections::BTreeSet;

use headstart_core::desktop::Settings as DesktopSettings;
use headstart_core::gpu::{DeviceId, Gpu, Interface, Opened};
use headstart_core::history::{Clock as WallClock, History};
use headstart_core::id::{DesktopName, DomainUuid, Subject};
use headstart_core::policy::Policy;
use headstart_core::step::Step;
use headstart_core::text::Scene as Text;
use headstart_core::unit::{Probability, Span, Time};
use headstartd::clock::{Clock, VirtualClock};
use headstartd::host::Host;
use headstartd::host::sim::{SimDomain, SimHost};
use headstartd::reconcile::memory::{FORGET, Settings};
use headstartd::status::Mode;
use jiff::tz::TimeZone;

use super::board::profile_name;
use super::scene::{Before, Desktop, Named, Names, Open, Powered, Scene, User};

/// 2026-03-02 08:00:10 UTC, a Monday; ten seconds into a slot.
pub(super) const NOW: Time = Time::from_unix(1_772_438_410);
const BOOT_BY_STRANGERS: Span = Span::seconds(20);

/// What a scene looks like.
pub(super) struct Built {
    pub(super) sim: SimHost,
    pub(super) clock: VirtualClock,
    pub(super) settings: Settings,
    pub(super) history: History,
    /// All desktops in the order of the scene, also the one that its metadata spoils.
    pub(super) desktops: Vec<(DesktopName, DomainUuid)>,
    /// Those that can be managed.
    pub(super) managed: BTreeSet<DomainUuid>,
    /// PFs in the order of the scene.
    pub(super) boards: Vec<Gpu>,
}

impl Scene {
    pub(super) fn build(&self) -> Built {
        let clock = VirtualClock::new(NOW - Span::hours(1), 1.0);
        let desktops: Vec<(DesktopName, DomainUuid)> = (0..self.desktops.len())
            .map(|n| (format!("vm{n}").parse().unwrap(), Text::uuid(&format!("vm{n}"))))
            .collect();
        let mut boards = self.hardware(&clock, &desktops);
        let domains = self.domains(&boards, &desktops);
        // What a domain has that runs, nobody else can have open.
        for device in domains.iter().filter(|domain| domain.running).filter_map(|domain| domain.foreign) {
            if let Some(vgpu) = boards.iter_mut().find_map(|gpu| gpu.vgpus.get_mut(&device)) {
                vgpu.opened = Opened::No;
            }
        }
        let sim = SimHost::new(Clock::Virtual(clock.clone()), boards.clone(), domains, Vec::new());
        let managed = self.desktops.iter().zip(&desktops).filter(|(desktop, _)| !desktop.profiles.is_empty());
        let built = Built {
            managed: managed.map(|(_, (_, uuid))| *uuid).collect(),
            sim,
            clock,
            settings: self.settings(),
            history: self.history(&desktops),
            desktops,
            boards,
        };
        self.live_through(&built);
        built
    }

    fn settings(&self) -> Settings {
        let percent = |percent: u8| Probability::clamped(f64::from(percent) / 100.0);
        let policy = Policy {
            take: percent(self.thresholds.0),
            release: percent(self.thresholds.1.min(self.thresholds.0)),
            grace: Span::minutes(self.calm_minutes),
            minimum_hold: Span::minutes(self.calm_minutes),
            shut_down_after_logout: !self.keep_running,
            keep_spare: self.keep_spare,
            ..Policy::default()
        };
        Settings { policy, rules: Vec::new(), zone: TimeZone::UTC, mode: Mode::Armed }
    }

    /// The PFs with what is left on them.
    fn hardware(&self, clock: &VirtualClock, desktops: &[(DesktopName, DomainUuid)]) -> Vec<Gpu> {
        let empty: Vec<Gpu> = self.boards.iter().enumerate().map(|(n, board)| board.kind.gpu(n)).collect();
        let host = SimHost::new(Clock::Virtual(clock.clone()), empty.clone(), Vec::new(), Vec::new());
        for (n, board) in self.boards.iter().enumerate() {
            board.leave(n, &empty[n], &host, desktops);
        }
        let mut made = host.observe().gpus;
        let mut boards: Vec<Gpu> = empty.iter().filter_map(|gpu| made.remove(&gpu.address)).collect();
        for (gpu, board) in boards.iter_mut().zip(&self.boards) {
            for (vgpu, leftover) in gpu.vgpus.values_mut().zip(&board.leftovers) {
                vgpu.opened = match leftover.open {
                    Open::Nobody => Opened::No,
                    Open::Process => Opened::By("qemu".into()),
                    Open::Unreadable => Opened::Unknown("not readable".into()),
                };
                if leftover.nameless {
                    vgpu.profile = None;
                }
            }
        }
        boards
    }

    fn domains(&self, boards: &[Gpu], desktops: &[(DesktopName, DomainUuid)]) -> Vec<SimDomain> {
        let named = |names: &Names| match names.device {
            Named::MdevOf(desktop) => {
                let (_, uuid) = desktops.get(desktop % desktops.len().max(1))?;
                Some(DeviceId::Mdev(uuid.mdev()))
            }
            Named::On { board, nth } => {
                let gpu = boards.get(board % boards.len().max(1))?;
                let bare = gpu.vfs.iter().map(|vf| DeviceId::Vf(*vf)).filter(|vf| !gpu.vgpus.contains_key(vf));
                let all: Vec<DeviceId> = gpu.vgpus.keys().copied().chain(bare).collect();
                all.get(nth % all.len().max(1)).copied()
            }
        };
        let ours = self.desktops.iter().zip(desktops).map(|(desktop, (name, uuid))| SimDomain {
            uuid: *uuid,
            name: name.clone(),
            settings: Some(desktop.settings()),
            boot: Span::seconds(desktop.boot_seconds),
            refuses_unplug: desktop.refuses_unplug,
            running: matches!(desktop.before, Before::Running),
            foreign: desktop.names.as_ref().and_then(named),
            marked: desktop.names.is_some_and(|names| names.marked),
        });
        let others = self.strangers.iter().enumerate().map(|(n, stranger)| SimDomain {
            uuid: Text::uuid(&format!("stranger{n}")),
            name: format!("stranger{n}").parse().unwrap(),
            settings: None,
            boot: BOOT_BY_STRANGERS,
            refuses_unplug: false,
            running: stranger.running,
            foreign: stranger.names.as_ref().and_then(named),
            marked: stranger.names.is_some_and(|names| names.marked),
        });
        ours.chain(others).collect()
    }

    /// Logins at this hour on as many of the last days as each desktop's habit says.
    fn history(&self, desktops: &[(DesktopName, DomainUuid)]) -> History {
        let mut history = History::new(FORGET);
        for day in (1..=28).rev() {
            for (n, (desktop, (name, _))) in self.desktops.iter().zip(desktops).enumerate() {
                let subject = desktop.subject(name);
                history.set_clock(&subject, WallClock::Zone(TimeZone::UTC));
                if day <= i64::from(desktop.habit) {
                    let start = NOW - Span::days(day) + Span::seconds(60 + n as i64);
                    history.advance(start);
                    history.session_started(&subject, start, None);
                    history.session_ended(&subject, start + Span::minutes(30));
                }
            }
        }
        history.advance(NOW);
        history
    }

    /// The hour before the first round.
    fn live_through(&self, built: &Built) {
        let before = |seconds| built.clock.advance(NOW - Span::seconds(seconds));
        let holders = || {
            self.desktops.iter().zip(&built.desktops).filter_map(|(desktop, (name, uuid))| match &desktop.before {
                Before::Holding { board, profile, power } => Some((*board, *profile, *power, name, *uuid)),
                _ => None,
            })
        };
        for (board, profile, power, _, uuid) in holders() {
            if let Some(device) = built.make(board, profile, uuid) {
                let gpu = built.boards[board % built.boards.len()].address;
                let attached = built.sim.apply(&Step::AttachHostdev { gpu, domain: uuid, device, live: false });
                if attached.is_ok() && !matches!(power, Powered::Off | Powered::Booting) {
                    let _ = built.sim.apply(&Step::StartDomain { domain: uuid });
                }
            }
        }
        before(1800);
        for (desktop, (name, _)) in self.desktops.iter().zip(&built.desktops) {
            if desktop.user == User::Long {
                built.sim.arrive(name, built.clock.now());
            }
        }
        for (seconds, wanted) in
            [(60, Powered::Unplugged), (5, Powered::Stopping), (2, Powered::Unplugging), (1, Powered::Booting)]
        {
            before(seconds);
            for (_, _, _, _, uuid) in holders().filter(|(_, _, power, _, _)| *power == wanted) {
                let hostdev = built.sim.observe().domains[&uuid].hostdevs.iter().find(|h| h.ours).map(|h| h.device);
                let Some(device) = hostdev else { continue };
                let _ = built.sim.apply(&match wanted {
                    Powered::Stopping => Step::ShutDownDomain { domain: uuid },
                    Powered::Booting => Step::StartDomain { domain: uuid },
                    _ => Step::DetachHostdev { gpu: None, domain: uuid, device, live: true },
                });
            }
        }
        before(0);
        for (desktop, (name, _)) in self.desktops.iter().zip(&built.desktops) {
            if desktop.user == User::JustNow {
                built.sim.arrive(name, NOW);
            }
        }
    }
}

impl Built {
    /// The n-th PF.
    pub(super) fn board(&self, n: usize) -> Option<&Gpu> {
        self.boards.get(n % self.boards.len().max(1))
    }

    /// The n-th desktop.
    pub(super) fn desktop(&self, n: usize) -> Option<&(DesktopName, DomainUuid)> {
        self.desktops.get(n % self.desktops.len().max(1))
    }

    /// A device of ours for this desktop, made or found.
    fn make(&self, board: usize, profile: usize, desktop: DomainUuid) -> Option<DeviceId> {
        let gpu = self.board(board)?;
        let seen = self.sim.observe();
        let now = &seen.gpus[&gpu.address];
        let holders = seen.holders();
        let vfs = || gpu.vfs.iter().map(|vf| DeviceId::Vf(*vf)).filter(|vf| !holders.any(*vf));
        let profile = gpu.profiles.get(profile % gpu.profiles.len())?.name.clone();
        let (device, step) = match gpu.interface {
            Interface::Mdev => {
                let uuid = desktop.mdev();
                (DeviceId::Mdev(uuid), Step::CreateMdev { gpu: gpu.address, profile, uuid, start: None })
            }
            Interface::VfioVariant => {
                if let Some(start) = gpu.instances.as_ref().and(gpu.profile(&profile)?.starts.first()) {
                    let (gpu, profile) = (gpu.address, profile.clone());
                    let _ = self.sim.apply(&Step::CreateGpuInstance { gpu, profile, start: *start });
                }
                let device = vfs().find(|vf| !now.vgpus.contains_key(vf))?;
                let DeviceId::Vf(vf) = device else { return None };
                (device, Step::SetVgpuType { gpu: gpu.address, vf, profile, start: None })
            }
            Interface::Vf => return vfs().find(|vf| now.vgpus.get(vf).is_some_and(|vgpu| vgpu.opened == Opened::No)),
        };
        self.sim.apply(&step).is_ok().then_some(device)
    }
}

impl Desktop {
    fn subject(&self, name: &DesktopName) -> Subject {
        if self.pooled { Subject::Pool("pool".parse().unwrap()) } else { Subject::Desktop(name.clone()) }
    }

    fn settings(&self) -> DesktopSettings {
        DesktopSettings {
            pool: self.pooled.then(|| "pool".parse().unwrap()),
            profiles: Some(self.profiles.iter().map(|n| profile_name(*n)).collect()),
            attach: Some(self.attach),
            priority: Some(self.priority),
            ..DesktopSettings::default()
        }
    }
}
