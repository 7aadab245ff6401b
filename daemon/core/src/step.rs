//! From what is desired to the steps of one round.
//!
//! A step is emitted only if the observation already permits it, at most one per PF and one per domain; what is not possible
//! yet waits for a later round. So there is no order among the steps of a round, and no dependency graph. Not here: who should
//! have what (`plan`), and how a step is carried out (the adapters).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::desktop::{AttachMode, Desktop};
use crate::gpu::{DeviceId, Gpu, GpuState, Interface, Opened, Tenant, Vgpu};
use crate::id::{DomainUuid, GpuId, MdevUuid, PciAddress, ProfileName};
use crate::observed::{Attachment, Domain, Gap, Holders, Hostdev, Login, Observed, Power, Tenure, tenure};

/// What one desktop should have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Want {
    /// On which PF.
    pub gpu: GpuId,
    /// Which profile.
    pub profile: ProfileName,
    /// The first slot, under mixed size or MIG.
    pub start: Option<u16>,
    /// The desktop should run.
    pub run: bool,
    /// Its place among those who want something; 0 is served first.
    pub rank: u32,
}

/// Who should have what.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Desired {
    /// Desktops that should have a device. A managed desktop that is in neither map gives its device back.
    pub wants: BTreeMap<DomainUuid, Want>,
    /// Desktops that are to be left exactly as they are.
    pub hands_off: BTreeSet<DomainUuid>,
    /// Desktops to shut down, because only then their device can be taken back.
    pub shut_down: BTreeSet<DomainUuid>,
    /// PFs that should have this many VFs.
    pub num_vfs: BTreeMap<GpuId, u16>,
}

/// What is being worked on: nothing may be asked of these until it is done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Busy {
    /// PFs with a step in flight.
    pub gpus: BTreeSet<GpuId>,
    /// Domains with a step in flight.
    pub domains: BTreeSet<DomainUuid>,
}

/// One act on the host, with the state it relies on. The adapter compares just before it writes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the variants are documented, and their fields say what they are")]
pub enum Step {
    /// Create an mdev. Relies on: no mdev of this UUID.
    CreateMdev { gpu: GpuId, profile: ProfileName, uuid: MdevUuid, start: Option<u16> },
    /// Remove an mdev. Relies on: it has this profile and nobody has it open.
    RemoveMdev { gpu: GpuId, profile: ProfileName, uuid: MdevUuid },
    /// Give a VF a vGPU type. Relies on: it has none.
    SetVgpuType { gpu: GpuId, vf: PciAddress, profile: ProfileName, start: Option<u16> },
    /// Take the vGPU type from a VF. Relies on: it has this one and nobody has it open.
    ClearVgpuType { gpu: GpuId, vf: PciAddress, profile: ProfileName },
    /// Enable VFs. Relies on: there are none.
    SetNumVfs { gpu: GpuId, vfs: u16 },
    /// Make a GPU instance for a vGPU of this profile. Relies on: its slices are free.
    CreateGpuInstance { gpu: GpuId, profile: ProfileName, start: u16 },
    /// Destroy a GPU instance. Relies on: nothing is on it.
    DestroyGpuInstance { gpu: GpuId, instance: u32 },
    /// Put a device into a domain. Relies on: the domain has no device of ours, and `live` says whether it runs.
    AttachHostdev { gpu: GpuId, domain: DomainUuid, device: DeviceId, live: bool },
    /// Take a device out of a domain. Relies on: the domain has it, nobody is logged in, and `live` says whether it runs.
    DetachHostdev { gpu: Option<GpuId>, domain: DomainUuid, device: DeviceId, live: bool },
    /// Start a domain. Relies on: it is off.
    StartDomain { domain: DomainUuid },
    /// Ask a domain to shut down. Relies on: it runs, nobody is logged in.
    ShutDownDomain { domain: DomainUuid },
}

impl Step {
    /// The PF that it occupies.
    pub fn gpu(&self) -> Option<GpuId> {
        match self {
            Step::CreateMdev { gpu, .. }
            | Step::RemoveMdev { gpu, .. }
            | Step::SetVgpuType { gpu, .. }
            | Step::ClearVgpuType { gpu, .. }
            | Step::SetNumVfs { gpu, .. }
            | Step::CreateGpuInstance { gpu, .. }
            | Step::DestroyGpuInstance { gpu, .. }
            | Step::AttachHostdev { gpu, .. } => Some(*gpu),
            Step::DetachHostdev { gpu, .. } => *gpu,
            Step::StartDomain { .. } | Step::ShutDownDomain { .. } => None,
        }
    }

    /// The domain that it occupies.
    pub fn domain(&self) -> Option<DomainUuid> {
        match self {
            Step::AttachHostdev { domain, .. }
            | Step::DetachHostdev { domain, .. }
            | Step::StartDomain { domain }
            | Step::ShutDownDomain { domain } => Some(*domain),
            _ => None,
        }
    }

    /// Whether it takes something away: from a domain, from the host, from whoever is at work.
    pub fn takes_away(&self) -> bool {
        matches!(
            self,
            Step::RemoveMdev { .. }
                | Step::ClearVgpuType { .. }
                | Step::DetachHostdev { .. }
                | Step::ShutDownDomain { .. }
        )
    }

    /// One word for configuration files, counters and tests.
    pub fn kind(&self) -> &'static str {
        match self {
            Step::CreateMdev { .. } => "create-mdev",
            Step::RemoveMdev { .. } => "remove-mdev",
            Step::SetVgpuType { .. } => "set-vgpu-type",
            Step::ClearVgpuType { .. } => "clear-vgpu-type",
            Step::SetNumVfs { .. } => "set-num-vfs",
            Step::CreateGpuInstance { .. } => "create-gpu-instance",
            Step::DestroyGpuInstance { .. } => "destroy-gpu-instance",
            Step::AttachHostdev { .. } => "attach",
            Step::DetachHostdev { .. } => "detach",
            Step::StartDomain { .. } => "start",
            Step::ShutDownDomain { .. } => "shut-down",
        }
    }
}

/// How a step ended well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applied {
    /// The host was changed, or a change was begun that a later look will show.
    Changed,
    /// It was so already.
    AlreadySo,
}

/// How a step failed. A kind exists because the loop does something different for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureKind {
    /// The host differs from what the step relies on: look again at once.
    Conflict,
    /// Busy, a deadline passed, libvirt is away: back off.
    Transient,
    /// No instance is left: plan again.
    Exhausted,
    /// Not permitted: quarantine the PF or domain, one warning.
    Denied,
    /// Device or domain vanished: the next look knows.
    Gone,
    /// Profile or interface is not there: quarantine until hardware or configuration changes.
    Unsupported,
}

/// A step that failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct StepError {
    /// What the loop does about it.
    pub kind: FailureKind,
    /// Names the object and says what happened.
    pub text: String,
}

/// The steps of one round towards `desired`.
pub fn next_steps(
    desired: &Desired,
    observed: &Observed,
    desktops: &BTreeMap<DomainUuid, Desktop>,
    busy: &Busy,
) -> Vec<Step> {
    let mut wants: Vec<(&DomainUuid, &Want)> = desired.wants.iter().collect();
    wants.sort_by_key(|(_, want)| want.rank);
    let mut round = Round {
        observed,
        desktops,
        desired,
        wants,
        places: observed.places(),
        sees_all: observed.sees_all_gpus(),
        holders: observed.holders(),
        derived: observed.derived(desktops.keys()),
        gpus: busy.gpus.clone(),
        domains: busy.domains.clone(),
        steps: Vec::new(),
    };
    // What a user waits for goes first: with one step per PF and round, the order decides who is served sooner.
    let idle = round.idle();
    let assigned = round.assign(&idle);
    round.start_and_attach(&assigned);
    round.give_back();
    round.clear(&idle, &assigned);
    round.gpu_instances(&assigned);
    round.create(&assigned);
    round.steps
}

/// One round in the making.
struct Round<'a> {
    observed: &'a Observed,
    desktops: &'a BTreeMap<DomainUuid, Desktop>,
    desired: &'a Desired,
    /// Those of the desired state, the most urgent first: whoever was placed later may have been placed where room is only to come.
    wants: Vec<(&'a DomainUuid, &'a Want)>,
    /// Where every device is.
    places: BTreeMap<DeviceId, &'a Gpu>,
    /// A device that is nowhere does not exist.
    sees_all: bool,
    holders: Holders,
    derived: BTreeSet<DeviceId>,
    gpus: BTreeSet<GpuId>,
    domains: BTreeSet<DomainUuid>,
    steps: Vec<Step>,
}

/// A device of ours that nobody has.
struct Idle<'a> {
    gpu: &'a Gpu,
    device: DeviceId,
    profile: &'a ProfileName,
    start: Option<u16>,
}

impl<'a> Round<'a> {
    /// Takes the step unless its PF or domain is taken already.
    fn emit(&mut self, step: Step) {
        let taken = step.gpu().is_some_and(|gpu| self.gpus.contains(&gpu))
            || step.domain().is_some_and(|domain| self.domains.contains(&domain));
        if taken {
            return;
        }
        self.gpus.extend(step.gpu());
        self.domains.extend(step.domain());
        self.steps.push(step);
    }

    /// Whose a device on one of our PFs is.
    fn tenure(&self, device: DeviceId, opened: &Opened) -> Tenure {
        let managed = |uuid| self.desktops.contains_key(&uuid);
        tenure(device, opened, &self.holders, self.observed, &managed, &self.derived)
    }

    /// Devices of ours that nobody has, on PFs that were read, in order.
    fn idle(&self) -> Vec<Idle<'a>> {
        let mut idle = Vec::new();
        for gpu in self.observed.gpus.values().filter(|gpu| !matches!(gpu.state, GpuState::Unknown(_))) {
            for (device, vgpu) in &gpu.vgpus {
                if let Some(profile) = &vgpu.profile
                    && self.tenure(*device, &vgpu.opened) == Tenure::Idle
                {
                    idle.push(Idle { gpu, device: *device, profile, start: vgpu.start });
                }
            }
        }
        idle
    }

    /// Which idle device serves which want: the desktop's own mdev, or the first idle VF of the profile on the wanted PF, and only
    /// at the wanted place: others are planned into the places that this plan leaves free.
    fn assign(&self, all: &[Idle<'_>]) -> BTreeMap<DomainUuid, DeviceId> {
        let mut idle: BTreeMap<(GpuId, &ProfileName, Option<u16>), Vec<DeviceId>> = BTreeMap::new();
        for it in all.iter().rev() {
            idle.entry((it.gpu.address, it.profile, it.start)).or_default().push(it.device);
        }
        let mut assigned = BTreeMap::new();
        for &(uuid, want) in &self.wants {
            let has_device = self.observed.domains.get(uuid).is_some_and(|domain| our_hostdev(domain).is_some());
            let fitting = idle.get_mut(&(want.gpu, &want.profile, want.start));
            let Some(devices) = fitting.filter(|_| !has_device) else { continue };
            let own = DeviceId::Mdev(uuid.mdev());
            let at = devices.iter().rposition(|device| match device {
                DeviceId::Mdev(_) => *device == own,
                DeviceId::Vf(_) => true,
            });
            if let Some(at) = at {
                assigned.insert(*uuid, devices.remove(at));
            }
        }
        assigned
    }

    /// Desktops with their device start; desktops whose device stands ready get it.
    fn start_and_attach(&mut self, idle: &BTreeMap<DomainUuid, DeviceId>) {
        for (uuid, want) in self.wants.clone() {
            let (Some(domain), Some(desktop)) = (self.observed.domains.get(uuid), self.desktops.get(uuid)) else {
                continue;
            };
            if let Some(hostdev) = our_hostdev(domain) {
                let there = hostdev.attachment == Attachment::Attached && self.is_there(hostdev.device, want);
                if want.run && domain.power == Power::Off && there {
                    self.emit(Step::StartDomain { domain: *uuid });
                }
            } else if let Some(device) = idle.get(uuid) {
                let live = match domain.power {
                    Power::Off => false,
                    Power::Running { ready: true } if desktop.attach == AttachMode::Live => true,
                    _ => continue,
                };
                self.emit(Step::AttachHostdev { gpu: want.gpu, domain: *uuid, device: *device, live });
            }
        }
    }

    /// The device exists where it is wanted and is what is wanted.
    fn is_there(&self, device: DeviceId, want: &Want) -> bool {
        let vgpu = self.observed.gpus.get(&want.gpu).and_then(|gpu| gpu.vgpus.get(&device));
        vgpu.is_some_and(|vgpu| vgpu.profile.as_ref() == Some(&want.profile) && vgpu.start == want.start)
    }

    /// Devices that are no longer wanted where they are: out of their desktops.
    fn give_back(&mut self) {
        if self.observed.gaps.contains(&Gap::Domains) {
            return;
        }
        for (uuid, desktop) in self.desktops {
            let Some(domain) = self.observed.domains.get(uuid) else { continue };
            let Some(hostdev) = our_hostdev(domain) else { continue };
            let gpu = self.places.get(&hostdev.device);
            // Not seen is not gone.
            let known = gpu.map_or(self.sees_all, |gpu| !matches!(gpu.state, GpuState::Unknown(_)));
            // Whoever waits in front of a desktop that is off loses nothing with a device that does not exist any more.
            let nobody = match domain.login {
                Login::None => true,
                Login::Waiting { .. } => gpu.is_none() && domain.power == Power::Off,
                _ => false,
            };
            if self.desired.hands_off.contains(uuid) || !nobody || !known {
                continue;
            }
            if self.desired.wants.get(uuid).is_some_and(|want| self.is_there(hostdev.device, want)) {
                continue;
            }
            let step = match (&domain.power, hostdev.attachment) {
                (_, Attachment::Detaching) => continue,
                (Power::Off, _) => Step::DetachHostdev {
                    gpu: gpu.map(|gpu| gpu.address),
                    domain: *uuid,
                    device: hostdev.device,
                    live: false,
                },
                (Power::Running { ready: true }, Attachment::Attached) if desktop.attach == AttachMode::Live => {
                    Step::DetachHostdev {
                        gpu: gpu.map(|gpu| gpu.address),
                        domain: *uuid,
                        device: hostdev.device,
                        live: true,
                    }
                }
                (Power::Running { ready: true }, _) if self.desired.shut_down.contains(uuid) => {
                    Step::ShutDownDomain { domain: *uuid }
                }
                _ => continue,
            };
            self.emit(step);
        }
    }

    /// Idle devices of ours that serve no want: away, since they hold framebuffer and bind the size class.
    fn clear(&mut self, idle: &[Idle<'_>], assigned: &BTreeMap<DomainUuid, DeviceId>) {
        let kept: BTreeSet<DeviceId> = assigned.values().copied().collect();
        for Idle { gpu, device, profile, .. } in idle {
            if gpu.state != GpuState::Ready || kept.contains(device) {
                continue;
            }
            let profile = ProfileName::clone(profile);
            match (*device, gpu.interface) {
                (DeviceId::Mdev(uuid), _) => {
                    self.emit(Step::RemoveMdev { gpu: gpu.address, profile, uuid });
                }
                (DeviceId::Vf(vf), Interface::VfioVariant) => {
                    self.emit(Step::ClearVgpuType { gpu: gpu.address, vf, profile });
                }
                (DeviceId::Vf(_), _) => {}
            }
        }
    }

    /// GPU instances of MIG: those that are idle and that nobody is to have go, those that somebody is to have come. Never more than one
    /// idle instance of a profile is left, for a vGPU comes to stand on any one, and the plan says on which.
    fn gpu_instances(&mut self, assigned: &BTreeMap<DomainUuid, DeviceId>) {
        let mut wanted: BTreeMap<GpuId, Vec<(&ProfileName, u16)>> = BTreeMap::new();
        for (uuid, want) in &self.wants {
            let has_instances = self.observed.gpus.get(&want.gpu).is_some_and(|gpu| gpu.instances.is_some());
            if let Some(start) = want.start.filter(|_| has_instances && self.is_to_be_made(**uuid, assigned)) {
                wanted.entry(want.gpu).or_default().push((&want.profile, start));
            }
        }
        for gpu in self.observed.gpus.values().filter(|gpu| gpu.state == GpuState::Ready && !gpu.must_enable_vfs()) {
            let Some(instances) = &gpu.instances else { continue };
            let wanted = wanted.remove(&gpu.address).unwrap_or_default();
            let mut kept = BTreeSet::new();
            for (id, instance) in instances.iter().filter(|(_, instance)| instance.is_idle()) {
                let Some(profile) = &instance.profile else { continue };
                let serves = wanted.contains(&(profile, instance.start)) && kept.insert(profile);
                if !serves {
                    self.emit(Step::DestroyGpuInstance { gpu: gpu.address, instance: *id });
                }
            }
            for (profile, start) in wanted {
                if !kept.contains(profile) && gpu.has_slices(profile, start) {
                    self.emit(Step::CreateGpuInstance { gpu: gpu.address, profile: profile.clone(), start });
                }
            }
        }
    }

    /// A device is to be made for this desktop, and could be attached.
    fn is_to_be_made(&self, uuid: DomainUuid, assigned: &BTreeMap<DomainUuid, DeviceId>) -> bool {
        let Some(domain) = self.observed.domains.get(&uuid) else { return false };
        let has_one = assigned.contains_key(&uuid) || our_hostdev(domain).is_some();
        !has_one && can_receive(domain, self.desktops.get(&uuid))
    }

    /// Devices for wants that have none yet, as far as they fit beside all that exists now.
    fn create(&mut self, assigned: &BTreeMap<DomainUuid, DeviceId>) {
        // A VF that is nowhere may be one of those: it is taken out of its domain before they come.
        let vf_goes = |step: &Step| matches!(step, Step::DetachHostdev { gpu: None, device: DeviceId::Vf(_), .. });
        let vf_goes = self.steps.iter().any(vf_goes);
        for (address, vfs) in self.desired.num_vfs.iter().filter(|_| !vf_goes) {
            let Some(gpu) = self.observed.gpus.get(address) else { continue };
            if gpu.state == GpuState::Ready && gpu.must_enable_vfs() && gpu.vgpus.is_empty() {
                self.emit(Step::SetNumVfs { gpu: *address, vfs: *vfs });
            }
        }
        for (uuid, want) in self.wants.clone() {
            let Some(gpu) = self.observed.gpus.get(&want.gpu).filter(|gpu| gpu.state == GpuState::Ready) else {
                continue;
            };
            let not_made = gpu.interface == Interface::Vf || gpu.must_enable_vfs();
            if self.gpus.contains(&want.gpu) || not_made || !self.is_to_be_made(*uuid, assigned) {
                continue;
            }
            let lands_at = gpu.instance_for(&want.profile).map(|instance| instance.start);
            if gpu.instances.is_some() && (lands_at.is_none() || lands_at != want.start) {
                continue;
            }
            let tenants = tenants(gpu);
            let Ok(start) = gpu.fit(&tenants, &want.profile, want.start) else { continue };
            let (gpu_address, profile) = (want.gpu, want.profile.clone());
            if gpu.interface == Interface::Mdev {
                let mdev = uuid.mdev();
                let is_new = !self.places.contains_key(&DeviceId::Mdev(mdev)) && self.sees_all;
                if is_new && self.has_parent(gpu) {
                    self.emit(Step::CreateMdev { gpu: gpu_address, profile, uuid: mdev, start });
                }
            } else if let Some(vf) = self.free_vf(gpu) {
                self.emit(Step::SetVgpuType { gpu: gpu_address, vf, profile, start });
            }
        }
    }

    /// Where a PF has VFs, an mdev stands on one of them, and not on one that a domain names.
    fn has_parent(&self, gpu: &Gpu) -> bool {
        let named = gpu.vfs.iter().filter(|vf| self.holders.any(DeviceId::Vf(**vf))).count();
        gpu.vfs.is_empty() || gpu.vgpus.len() + named < gpu.vfs.len()
    }

    /// The first VF without a type that no domain names: a definition may outlive the type, or be a stranger's.
    fn free_vf(&self, gpu: &Gpu) -> Option<PciAddress> {
        let free = |device| !gpu.vgpus.contains_key(&device) && !self.holders.any(device);
        let unseen = self.observed.gaps.contains(&Gap::Domains);
        gpu.vfs.iter().copied().find(|vf| !unseen && free(DeviceId::Vf(*vf)))
    }
}

/// What exists on a PF, as the partitioning rule wants it.
fn tenants(gpu: &Gpu) -> Vec<Tenant<'_>> {
    gpu.vgpus.values().map(Vgpu::tenant).collect()
}

/// A device for this domain could be attached once it exists; otherwise making it only binds framebuffer.
fn can_receive(domain: &Domain, desktop: Option<&Desktop>) -> bool {
    match domain.power {
        Power::Off => true,
        Power::Running { .. } => desktop.is_some_and(|desktop| desktop.attach == AttachMode::Live),
        Power::Starting | Power::Stopping | Power::Unknown(_) => false,
    }
}

/// The device that we attached to this domain.
pub fn our_hostdev(domain: &Domain) -> Option<&Hostdev> {
    domain.hostdevs.iter().find(|hostdev| hostdev.ours)
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::CreateMdev { gpu, profile, uuid, .. } => write!(f, "create mdev {uuid} of {profile} on {gpu}"),
            Step::RemoveMdev { gpu, profile, uuid } => write!(f, "remove mdev {uuid} of {profile} from {gpu}"),
            Step::SetVgpuType { gpu, vf, profile, .. } => write!(f, "make VF {vf} of {gpu} a {profile}"),
            Step::ClearVgpuType { gpu, vf, profile } => write!(f, "take {profile} from VF {vf} of {gpu}"),
            Step::SetNumVfs { gpu, vfs } => write!(f, "enable {vfs} VFs on {gpu}"),
            Step::CreateGpuInstance { gpu, profile, start } => {
                write!(f, "make a GPU instance for {profile} at slice {start} of {gpu}")
            }
            Step::DestroyGpuInstance { gpu, instance } => write!(f, "destroy GPU instance {instance} of {gpu}"),
            Step::AttachHostdev { domain, device, live, .. } => {
                write!(f, "attach {device} to {domain}{}", if *live { " while it runs" } else { "" })
            }
            Step::DetachHostdev { domain, device, live, .. } => {
                write!(f, "detach {device} from {domain}{}", if *live { " while it runs" } else { "" })
            }
            Step::StartDomain { domain } => write!(f, "start {domain}"),
            Step::ShutDownDomain { domain } => write!(f, "shut down {domain}"),
        }
    }
}
