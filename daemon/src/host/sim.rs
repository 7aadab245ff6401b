//! Simulated hardware and guests: the capacity rules of the boards, the time things take, faults, strangers; nothing else.
//!
//! It uses the core's types and none of its decisions: what a board refuses is worked out here again, from the vendors' rules and
//! in the plainest way, so that a mistake of the planner shows. Nothing here ever waits: slow things end at a later time of the
//! clock, as they do behind a real libvirt that answers at once and works on.

pub(crate) mod hardware;
mod state_file;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use headstart_core::desktop::Settings;
use headstart_core::gpu::{DeviceId, Gpu, GpuState, Interface, Opened, Vgpu};
use headstart_core::id::{DesktopName, DomainUuid, GpuId, ProfileName};
use headstart_core::observed::{Attachment, Domain, Hostdev, Login, Observed, Power};
use headstart_core::step::{Applied, FailureKind, Step, StepError};
use headstart_core::unit::{Span, Time};

use crate::clock::Clock;
use crate::host::Host;
use state_file::Image;

/// How long a guest takes to answer an unplug request.
const UNPLUG: Span = Span::seconds(5);
/// How long a guest takes to shut down.
const SHUTDOWN: Span = Span::seconds(15);
/// A user who finds no GPU goes on without one after this long.
const PATIENCE: Span = Span::minutes(10);

/// One simulated domain as it begins.
#[derive(Clone, Debug)]
pub struct SimDomain {
    /// Identity.
    pub uuid: DomainUuid,
    /// Name.
    pub name: DesktopName,
    /// What its metadata says; none: a stranger.
    pub settings: Option<Settings>,
    /// From start until the guest is up.
    pub boot: Span,
    /// Its guest refuses to let devices go.
    pub refuses_unplug: bool,
    /// It runs at the beginning.
    pub running: bool,
    /// A device that it has from the beginning.
    pub foreign: Option<DeviceId>,
    /// That device bears our mark all the same, as in the copied definition of a desktop.
    pub marked: bool,
}

/// How a step fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SimFailure {
    /// It is answered with an error of this kind.
    Error(FailureKind),
    /// It is never answered.
    Hang,
}

/// A fault that happens to fitting steps.
#[derive(Clone, Debug)]
pub struct SimFault {
    /// Only from then on.
    pub from: Time,
    /// Armed anew after every such span; none: once.
    pub every: Option<Span>,
    /// Only steps of these kinds (`Step::kind`); empty: any.
    pub kinds: Vec<&'static str>,
    /// Only steps on this PF.
    pub gpu: Option<GpuId>,
    /// Only steps on this domain.
    pub domain: Option<DesktopName>,
    /// What happens.
    pub failure: SimFailure,
    /// To how many steps each time.
    pub times: u32,
}

/// A fault and how much of it is left.
struct Armed {
    fault: SimFault,
    left: u32,
    round: i64,
}

impl Armed {
    /// Uses it up by one, if it fits.
    fn strike(&mut self, step: &Step, domain: Option<&DesktopName>, now: Time) -> Option<SimFailure> {
        let fault = &self.fault;
        let fits = fault.from <= now
            && (fault.kinds.is_empty() || fault.kinds.contains(&step.kind()))
            && (fault.gpu.is_none() || fault.gpu == step.gpu())
            && (fault.domain.is_none() || fault.domain.as_ref() == domain);
        if !fits {
            return None;
        }
        let round = fault.every.map_or(0, |every| (now - fault.from).as_seconds() / every.as_seconds().max(1));
        if round > self.round {
            self.round = round;
            self.left = fault.times;
        }
        self.left = self.left.checked_sub(1)?;
        Some(fault.failure)
    }
}

struct Guest {
    spec: SimDomain,
    power: Power,
    /// When the state that `power` describes ends.
    power_until: Option<Time>,
    hostdevs: Vec<Hostdev>,
    detach_until: Option<Time>,
    /// Who is here, since when.
    user: Option<Time>,
    /// The user gave up waiting for a GPU.
    without_gpu: bool,
}

struct State {
    gpus: BTreeMap<GpuId, Gpu>,
    guests: BTreeMap<DomainUuid, Guest>,
    by_name: BTreeMap<DesktopName, DomainUuid>,
    faults: Vec<Armed>,
}

/// The simulated host.
pub struct SimHost {
    clock: Clock,
    state: Mutex<State>,
    /// Where the host is kept, so that it outlives the daemon.
    file: Option<PathBuf>,
}

impl SimHost {
    /// A host with these PFs (and what strangers have on them) and domains.
    pub fn new(clock: Clock, gpus: Vec<Gpu>, domains: Vec<SimDomain>, faults: Vec<SimFault>) -> Self {
        let by_name = domains.iter().map(|domain| (domain.name.clone(), domain.uuid)).collect();
        let guests = domains.into_iter().map(|spec| (spec.uuid, Guest::new(spec))).collect();
        let gpus = gpus.into_iter().map(|gpu| (gpu.address, gpu)).collect();
        let faults = faults.into_iter().map(|fault| Armed { left: fault.times, fault, round: 0 }).collect();
        Self { clock, state: Mutex::new(State { gpus, guests, by_name, faults }), file: None }
    }

    /// Keeps the host in a file from now on, after every change. If the file is there, the host is as it says.
    ///
    /// # Errors
    /// The file cannot be read or written.
    pub fn keep_in(&mut self, path: &Path) -> std::io::Result<()> {
        if let Some(image) = Image::read(path)? {
            image.restore(self.state.get_mut().unwrap_or_else(PoisonError::into_inner))?;
        }
        self.file = Some(path.to_path_buf());
        self.save(&self.lock());
        Ok(())
    }

    /// The hour at which a kept host stopped; none if nothing is kept there.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn kept_hour(path: &Path) -> std::io::Result<Option<Time>> {
        Ok(Image::read(path)?.map(|image| image.now))
    }

    fn save(&self, state: &State) {
        if let Some(path) = &self.file
            && let Err(error) = Image::of(state, self.clock.now()).write(path)
        {
            tracing::error!("{}: the simulated host cannot be kept: {error}", path.display());
        }
    }

    /// A user comes to a desktop. Unknown names are nobody's.
    pub fn arrive(&self, desktop: &DesktopName, at: Time) {
        let mut state = self.lock();
        if let Some(guest) = state.by_name.get(desktop).copied().and_then(|uuid| state.guests.get_mut(&uuid)) {
            guest.user.get_or_insert(at);
        }
        self.save(&state);
    }

    /// The user of a desktop leaves.
    pub fn leave(&self, desktop: &DesktopName) {
        let now = self.clock.now();
        let mut state = self.lock();
        if let Some(guest) = state.by_name.get(desktop).copied().and_then(|uuid| state.guests.get_mut(&uuid)) {
            guest.user = None;
            let started_by_user = std::mem::take(&mut guest.without_gpu) && !guest.spec.running;
            if started_by_user && guest.hostdevs.is_empty() && matches!(guest.power, Power::Running { .. }) {
                guest.set_power(Power::Stopping, Some(now + SHUTDOWN));
            }
        }
        self.save(&state);
    }

    /// What a domain's metadata says; none if there is no such domain.
    pub fn settings(&self, domain: &DesktopName) -> Option<Option<Settings>> {
        let state = self.lock();
        let guest = state.by_name.get(domain).and_then(|uuid| state.guests.get(uuid))?;
        Some(guest.spec.settings.clone())
    }

    /// Puts this into a domain's metadata; says whether there is such a domain. It does not outlive the daemon: the file that describes
    /// the host does.
    pub fn set_settings(&self, domain: &DesktopName, settings: Settings) -> bool {
        let mut state = self.lock();
        let uuid = state.by_name.get(domain).copied();
        match uuid.and_then(|uuid| state.guests.get_mut(&uuid)) {
            Some(guest) => {
                guest.spec.settings = Some(settings);
                true
            }
            None => false,
        }
    }

    /// The host goes down and comes up again: everybody is out, everything is off, and what only the kernel knew is gone.
    pub fn reboot(&self) {
        let mut state = self.lock();
        state.gpus.values_mut().for_each(hardware::restart);
        for guest in state.guests.values_mut() {
            guest.set_power(Power::Off, None);
            guest.detach_until = None;
            guest.user = None;
            guest.without_gpu = false;
            for hostdev in &mut guest.hostdevs {
                hostdev.attachment = Attachment::Attached;
            }
        }
        self.save(&state);
    }

    /// The next time something happens by itself.
    pub fn next_event(&self) -> Option<Time> {
        let state = self.lock();
        state.guests.values().flat_map(Guest::events).min()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic ends the whole daemon, so a poisoned lock is met in tests only, where the state is still good to read.
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.clock.now();
        for guest in state.guests.values_mut() {
            guest.settle(now);
        }
        state
    }
}

impl Guest {
    fn new(spec: SimDomain) -> Self {
        let power = if spec.running { Power::Running { ready: true } } else { Power::Off };
        let hostdevs = spec
            .foreign
            .map(|device| Hostdev { device, attachment: Attachment::Attached, ours: spec.marked })
            .into_iter()
            .collect();
        Self { spec, power, power_until: None, hostdevs, detach_until: None, user: None, without_gpu: false }
    }

    fn set_power(&mut self, power: Power, until: Option<Time>) {
        self.power = power;
        self.power_until = until;
    }

    fn events(&self) -> impl Iterator<Item = Time> {
        let has_gpu = !self.hostdevs.is_empty();
        let patience = self.user.filter(|_| !self.without_gpu && !has_gpu).map(|since| since + PATIENCE);
        [self.power_until, self.detach_until, patience].into_iter().flatten()
    }

    /// Lets everything happen that ends by `now`.
    fn settle(&mut self, now: Time) {
        if self.power_until.is_some_and(|until| until <= now) {
            let next = match self.power {
                Power::Running { .. } => Power::Running { ready: true },
                _ => Power::Off,
            };
            self.set_power(next, None);
        }
        if self.power == Power::Off {
            self.detach_until = None;
            for hostdev in &mut self.hostdevs {
                hostdev.attachment = Attachment::Attached;
            }
        }
        if self.detach_until.is_some_and(|until| until <= now) {
            self.detach_until = None;
            if self.spec.refuses_unplug {
                for hostdev in self.hostdevs.iter_mut().filter(|h| h.attachment == Attachment::Detaching) {
                    hostdev.attachment = Attachment::DetachRefused;
                }
            } else {
                self.hostdevs.retain(|hostdev| hostdev.attachment != Attachment::Detaching);
            }
        }
        let tired = self.user.is_some_and(|since| since + PATIENCE <= now);
        if tired && !self.without_gpu && self.hostdevs.is_empty() {
            self.without_gpu = true;
            if self.power == Power::Off {
                self.set_power(Power::Running { ready: false }, Some(now + self.spec.boot));
            }
        }
    }

    fn login(&self) -> Login {
        let Some(since) = self.user else { return Login::None };
        let up = self.power == Power::Running { ready: true };
        if up && (self.without_gpu || !self.hostdevs.is_empty()) {
            Login::Active { since }
        } else {
            Login::Waiting { since }
        }
    }
}

impl Host for SimHost {
    fn observe(&self) -> Observed {
        let state = self.lock();
        let mut gpus = state.gpus.clone();
        let domains = state
            .guests
            .values()
            .map(|guest| {
                let domain = Domain {
                    uuid: guest.spec.uuid,
                    name: guest.spec.name.clone(),
                    power: guest.power.clone(),
                    hostdevs: guest.hostdevs.clone(),
                    login: guest.login(),
                    screen: Login::None,
                    settings: guest.spec.settings.clone(),
                };
                (domain.uuid, domain)
            })
            .collect();
        // A device is open while its guest runs.
        let running = state.guests.values().filter(|guest| guest.power != Power::Off);
        let open: BTreeMap<DeviceId, &DesktopName> =
            running.flat_map(|guest| guest.hostdevs.iter().map(|hostdev| (hostdev.device, &guest.spec.name))).collect();
        for (device, vgpu) in gpus.values_mut().flat_map(|gpu| &mut gpu.vgpus) {
            if let Some(name) = open.get(device) {
                vgpu.opened = Opened::By(name.to_string());
            }
        }
        Observed { gpus, domains, ..Observed::default() }
    }

    fn apply(&self, step: &Step) -> Result<Applied, StepError> {
        let now = self.clock.now();
        let mut state = self.lock();
        match state.fault(step, now) {
            None => {}
            Some(SimFailure::Error(kind)) => {
                return Err(StepError { kind, text: format!("could not {step}: injected {kind:?}") });
            }
            Some(SimFailure::Hang) => {
                drop(state);
                loop {
                    std::thread::park();
                }
            }
        }
        let result = match step {
            Step::CreateMdev { gpu, profile, uuid, start } => {
                state.create(*gpu, DeviceId::Mdev(*uuid), profile, *start)
            }
            Step::SetVgpuType { gpu, vf, profile, start } => state.create(*gpu, DeviceId::Vf(*vf), profile, *start),
            Step::RemoveMdev { gpu, profile, uuid } => state.remove(*gpu, DeviceId::Mdev(*uuid), profile),
            Step::ClearVgpuType { gpu, profile, vf } => state.remove(*gpu, DeviceId::Vf(*vf), profile),
            Step::SetNumVfs { gpu, vfs } => state.set_num_vfs(*gpu, *vfs),
            Step::CreateGpuInstance { gpu, profile, start } => state.create_instance(*gpu, profile, *start),
            Step::DestroyGpuInstance { gpu, instance } => state.destroy_instance(*gpu, *instance),
            Step::AttachHostdev { domain, device, live, .. } => state.attach(*domain, *device, *live),
            Step::DetachHostdev { domain, device, live, .. } => state.detach(*domain, *device, *live, now),
            Step::StartDomain { domain } => {
                state.startable(*domain)?;
                let guest = state.guest(*domain)?;
                if guest.power != Power::Off {
                    return Ok(Applied::AlreadySo);
                }
                let until = now + guest.spec.boot;
                guest.set_power(Power::Running { ready: false }, Some(until));
                Ok(Applied::Changed)
            }
            Step::ShutDownDomain { domain } => {
                let guest = state.guest(*domain)?;
                if guest.user.is_some() {
                    return Err(conflict(format!("{}: somebody is logged in", guest.spec.name)));
                }
                if !matches!(guest.power, Power::Running { .. }) {
                    return Ok(Applied::AlreadySo);
                }
                guest.set_power(Power::Stopping, Some(now + SHUTDOWN));
                Ok(Applied::Changed)
            }
        };
        self.save(&state);
        result
    }
}

impl State {
    fn guest(&mut self, uuid: DomainUuid) -> Result<&mut Guest, StepError> {
        let gone = || StepError { kind: FailureKind::Gone, text: format!("domain {uuid} does not exist") };
        self.guests.get_mut(&uuid).ok_or_else(gone)
    }

    fn gpu(&mut self, address: GpuId) -> Result<&mut Gpu, StepError> {
        let gone = || StepError { kind: FailureKind::Gone, text: format!("{address} does not exist") };
        self.gpus.get_mut(&address).ok_or_else(gone)
    }

    /// What the first fault that fits does to this step.
    fn fault(&mut self, step: &Step, now: Time) -> Option<SimFailure> {
        let name = step.domain().and_then(|uuid| self.guests.get(&uuid)).map(|guest| guest.spec.name.clone());
        self.faults.iter_mut().find_map(|armed| armed.strike(step, name.as_ref(), now))
    }

    fn names(&self, device: DeviceId) -> Option<&Guest> {
        self.guests.values().find(|guest| guest.hostdevs.iter().any(|hostdev| hostdev.device == device))
    }

    /// A domain does not start without the device that we gave it, nor with one that somebody has open.
    fn startable(&self, domain: DomainUuid) -> Result<(), StepError> {
        let Some(guest) = self.guests.get(&domain).filter(|guest| guest.power == Power::Off) else { return Ok(()) };
        for device in guest.hostdevs.iter().filter(|hostdev| hostdev.ours).map(|hostdev| hostdev.device) {
            let vgpu = self.gpus.values().find_map(|gpu| gpu.vgpus.get(&device));
            let has = |other: &&Guest| other.hostdevs.iter().any(|hostdev| hostdev.device == device);
            let user = self.guests.values().filter(|other| other.power != Power::Off).find(has);
            if let Some(user) = user {
                return Err(conflict(format!("{}: {} has {device}", guest.spec.name, user.spec.name)));
            }
            if vgpu.is_none_or(|vgpu| vgpu.opened != Opened::No) {
                return Err(conflict(format!("{}: {device} is open, or not there", guest.spec.name)));
            }
        }
        Ok(())
    }

    fn create(
        &mut self,
        gpu: GpuId,
        device: DeviceId,
        profile: &ProfileName,
        start: Option<u16>,
    ) -> Result<Applied, StepError> {
        if self.gpus.values().any(|gpu| gpu.vgpus.contains_key(&device)) {
            return Err(conflict(format!("{device} carries a vGPU already")));
        }
        let gpu = self.gpu(gpu)?;
        if let GpuState::NotReady(why) | GpuState::Unknown(why) = &gpu.state {
            return Err(StepError { kind: FailureKind::Transient, text: format!("{}: {why}", gpu.address) });
        }
        let start = hardware::place(gpu, device, profile, start)
            .map_err(|why| StepError { kind: FailureKind::Exhausted, text: format!("{}: {why}", gpu.address) })?;
        gpu.vgpus.insert(device, Vgpu { profile: Some(profile.clone()), start, opened: Opened::No });
        hardware::mark_instances(gpu);
        Ok(Applied::Changed)
    }

    fn create_instance(&mut self, gpu: GpuId, profile: &ProfileName, start: u16) -> Result<Applied, StepError> {
        let gpu = self.gpu(gpu)?;
        hardware::create_instance(gpu, profile, start)
            .map_err(|why| StepError { kind: FailureKind::Exhausted, text: format!("{}: {why}", gpu.address) })?;
        Ok(Applied::Changed)
    }

    fn destroy_instance(&mut self, gpu: GpuId, instance: u32) -> Result<Applied, StepError> {
        let gpu = self.gpu(gpu)?;
        let Some(instances) = &mut gpu.instances else { return Ok(Applied::AlreadySo) };
        match instances.get(&instance).map(|it| &it.used) {
            None => Ok(Applied::AlreadySo),
            Some(Opened::No) => {
                instances.remove(&instance);
                Ok(Applied::Changed)
            }
            Some(_) => Err(conflict(format!("{}: GPU instance {instance} is in use", gpu.address))),
        }
    }

    fn remove(&mut self, gpu: GpuId, device: DeviceId, profile: &ProfileName) -> Result<Applied, StepError> {
        if let Some(guest) = self.names(device) {
            return Err(conflict(format!("{device} is in use by {}", guest.spec.name)));
        }
        let gpu = self.gpu(gpu)?;
        match gpu.vgpus.get(&device) {
            None => return Ok(Applied::AlreadySo),
            Some(vgpu) if vgpu.opened != Opened::No => return Err(conflict(format!("{device} is open"))),
            Some(vgpu) if vgpu.profile.as_ref() != Some(profile) => {
                return Err(conflict(format!("{device} is no {profile}")));
            }
            Some(_) => gpu.vgpus.remove(&device),
        };
        hardware::mark_instances(gpu);
        Ok(Applied::Changed)
    }

    fn set_num_vfs(&mut self, gpu: GpuId, vfs: u16) -> Result<Applied, StepError> {
        let gpu = self.gpu(gpu)?;
        if gpu.vfs.len() == usize::from(vfs) {
            return Ok(Applied::AlreadySo);
        }
        if !gpu.vfs.is_empty() {
            return Err(conflict(format!("{}: {} VFs are enabled; only 0 can be changed", gpu.address, gpu.vfs.len())));
        }
        if gpu.interface != Interface::Vf && gpu.dormant_vfs == 0 {
            let text = format!("{}: it has no VFs that could be enabled", gpu.address);
            return Err(StepError { kind: FailureKind::Unsupported, text });
        }
        hardware::enable_vfs(gpu, vfs);
        Ok(Applied::Changed)
    }

    fn attach(&mut self, domain: DomainUuid, device: DeviceId, live: bool) -> Result<Applied, StepError> {
        if let Some(other) = self.names(device) {
            if other.spec.uuid == domain {
                return Ok(Applied::AlreadySo);
            }
            return Err(conflict(format!("{device} belongs to {}", other.spec.name)));
        }
        if !self.gpus.values().any(|gpu| gpu.vgpus.contains_key(&device)) {
            return Err(StepError { kind: FailureKind::Gone, text: format!("{device} does not exist") });
        }
        let guest = self.guest(domain)?;
        let runs = matches!(guest.power, Power::Running { .. });
        if runs != live || guest.power == Power::Stopping {
            return Err(conflict(format!("{}: power state is {:?}", guest.spec.name, guest.power)));
        }
        if guest.hostdevs.iter().any(|hostdev| hostdev.ours) {
            return Err(conflict(format!("{}: it has a device of ours already", guest.spec.name)));
        }
        guest.hostdevs.push(Hostdev { device, attachment: Attachment::Attached, ours: true });
        Ok(Applied::Changed)
    }

    fn detach(&mut self, domain: DomainUuid, device: DeviceId, live: bool, now: Time) -> Result<Applied, StepError> {
        let exists = self.gpus.values().any(|gpu| gpu.vgpus.contains_key(&device));
        let guest = self.guest(domain)?;
        // Whoever waits in front of a desktop that is off does not use a device that does not exist any more.
        if guest.user.is_some() && (exists || guest.power != Power::Off) {
            return Err(conflict(format!("{}: somebody is there", guest.spec.name)));
        }
        let runs = matches!(guest.power, Power::Running { .. });
        if runs != live || guest.power == Power::Stopping {
            return Err(conflict(format!("{}: power state is {:?}", guest.spec.name, guest.power)));
        }
        let Some(hostdev) = guest.hostdevs.iter_mut().find(|hostdev| hostdev.device == device) else {
            return Ok(Applied::AlreadySo);
        };
        if !hostdev.ours {
            return Err(conflict(format!("{}: {device} does not bear our mark", guest.spec.name)));
        }
        if live && hostdev.attachment == Attachment::Detaching {
            return Ok(Applied::AlreadySo);
        }
        if live {
            hostdev.attachment = Attachment::Detaching;
            guest.detach_until = Some(now + UNPLUG);
        } else {
            guest.hostdevs.retain(|hostdev| hostdev.device != device);
        }
        Ok(Applied::Changed)
    }
}

fn conflict(text: String) -> StepError {
    StepError { kind: FailureKind::Conflict, text }
}
