//! What is really there before and after an act, and what must not have happened to it.
//!
//! It reads the whole truth, not what the daemon saw; it knows the rules of who owns what (style and ARCHITECTURE), and none of the
//! code that applies them.

use std::collections::{BTreeMap, BTreeSet};

use headstart_core::gpu::{DeviceId, Gpu, Opened, Vgpu};
use headstart_core::id::DomainUuid;
use headstart_core::observed::{Attachment, Domain, Hostdev, Login, Observed, Power};
use headstart_core::step::Step;

use super::board::GpuKey;

/// The truth about a host at one instant.
#[derive(Clone, Copy)]
pub(super) struct Witness<'a> {
    /// Everything, as it is.
    pub(super) truth: &'a Observed,
    /// Domains that headstart may work with.
    pub(super) managed: &'a BTreeSet<DomainUuid>,
    /// Domains at which somebody is as only a broker knows.
    pub(super) reported: &'a BTreeSet<DomainUuid>,
}

impl Witness<'_> {
    /// Why this step may not even be tried; nothing if it may.
    pub(super) fn objects_to(&self, step: &Step) -> Vec<String> {
        let stranger = step.domain().is_some_and(|domain| !self.managed.contains(&domain));
        let stranger = stranger.then_some("the domain is not managed");
        let objections = stranger.into_iter().chain(self.against(step));
        objections.map(|why| format!("{step}: {why}")).collect()
    }

    /// Why this step may not be tried, whosever the domain is.
    fn against(&self, step: &Step) -> Option<&'static str> {
        match step {
            Step::RemoveMdev { uuid, .. } => self.against_removal(DeviceId::Mdev(*uuid)),
            Step::ClearVgpuType { vf, .. } => self.against_removal(DeviceId::Vf(*vf)),
            Step::CreateMdev { uuid, .. } => self.vgpu(DeviceId::Mdev(*uuid)).map(|_| "it exists already"),
            Step::SetVgpuType { vf, .. } if self.vgpu(DeviceId::Vf(*vf)).is_some() => Some("the VF has a type already"),
            Step::SetVgpuType { vf, .. } => {
                (!self.named_by(DeviceId::Vf(*vf)).is_empty()).then_some("a domain names the VF")
            }
            Step::SetNumVfs { gpu, .. } => {
                self.truth.gpus.get(gpu).is_some_and(|gpu| !gpu.vfs.is_empty()).then_some("VFs are on")
            }
            Step::CreateGpuInstance { .. } => None,
            Step::DestroyGpuInstance { gpu, instance } => {
                let it = self.truth.gpus.get(gpu).and_then(|gpu| gpu.instances.as_ref()?.get(instance));
                it.is_some_and(|it| it.used != Opened::No).then_some("something is on the GPU instance")
            }
            Step::AttachHostdev { device, .. } if !self.named_by(*device).is_empty() => {
                Some("a domain names the device")
            }
            Step::AttachHostdev { device, .. } => self.protects(*device).then_some("the device is not ours to give"),
            Step::DetachHostdev { domain, device, .. } => {
                // What does not exist any more, nobody loses in front of a desktop that is off.
                let exists = self.vgpu(*device).is_some();
                let off = self.truth.domains.get(domain).is_some_and(|domain| domain.power == Power::Off);
                let used = self.somebody_at(*domain) && (exists || !off);
                (used || (exists && self.protects(*device))).then_some("it is in use or not ours")
            }
            Step::StartDomain { domain } => {
                let hostdevs = self.truth.domains[domain].hostdevs.iter().filter(|hostdev| hostdev.ours);
                let mut devices = hostdevs.map(|hostdev| hostdev.device);
                let open = |device| self.vgpu(device).is_none_or(|vgpu| vgpu.opened != Opened::No);
                devices.any(open).then_some("its device is not there, or somebody else has it")
            }
            Step::ShutDownDomain { domain } => self.somebody_at(*domain).then_some("somebody is there"),
        }
    }

    fn against_removal(&self, device: DeviceId) -> Option<&'static str> {
        self.vgpu(device)?;
        if !self.named_by(device).is_empty() {
            return Some("a domain names it");
        }
        self.protects(device).then_some("it is in use or not ours")
    }

    /// A device that is there and that nobody may take away or give away.
    pub(super) fn protects(&self, device: DeviceId) -> bool {
        let Some(vgpu) = self.vgpu(device) else { return false };
        match self.named_by(device).as_slice() {
            [] => {
                let ours = match device {
                    DeviceId::Mdev(uuid) => self.managed.iter().any(|domain| domain.mdev() == uuid),
                    DeviceId::Vf(_) => true,
                };
                vgpu.opened != Opened::No || !ours
            }
            [(domain, hostdev)] => {
                !self.managed.contains(&domain.uuid) || !hostdev.ours || self.somebody_at(domain.uuid)
            }
            _ => true,
        }
    }

    /// What has gone wrong from here to `after` by one act; nothing if all is well.
    pub(super) fn harm(&self, after: &Observed) -> Vec<String> {
        let mut harm = Vec::new();
        let later = Witness { truth: after, ..*self };
        for (gpu, device) in self.devices() {
            let same = |vgpu: &Vgpu| Some((vgpu.profile.clone(), vgpu.start));
            let (was, is) = (self.vgpu(device).and_then(same), later.vgpu(device).and_then(same));
            let there = after.gpus.get(&gpu).is_some_and(|gpu| gpu.vgpus.contains_key(&device));
            if self.protects(device) && (was != is || !there) {
                harm.push(format!("{device} on {gpu} was taken away or changed"));
            }
        }
        for (address, gpu) in &self.truth.gpus {
            for (id, instance) in gpu.instances.iter().flatten().filter(|(_, it)| it.used != Opened::No) {
                let now = after.gpus[address].instances.as_ref().and_then(|all| all.get(id));
                if now.is_none_or(|now| (now.start, now.slots) != (instance.start, instance.slots)) {
                    harm.push(format!("GPU instance {id} of {address} was changed under what is on it"));
                }
            }
        }
        for (uuid, domain) in &self.truth.domains {
            let Some(now) = after.domains.get(uuid) else {
                harm.push(format!("{} is gone", domain.name));
                continue;
            };
            if !self.managed.contains(uuid) && domain != now {
                harm.push(format!("{}, which is not managed, was changed", domain.name));
            }
            if self.somebody_at(*uuid) && is_up(&domain.power) && !is_up(&now.power) {
                harm.push(format!("{} was shut down with somebody there", domain.name));
            }
            for hostdev in &domain.hostdevs {
                let kept = now.hostdevs.iter().any(|other| other.device == hostdev.device && calm(hostdev, other));
                if !kept && self.protects(hostdev.device) {
                    harm.push(format!("{} was asked of {}", hostdev.device, domain.name));
                }
            }
            for hostdev in &now.hostdevs {
                let new = !domain.hostdevs.iter().any(|other| other.device == hostdev.device);
                if new && (self.protects(hostdev.device) || !self.named_by(hostdev.device).is_empty()) {
                    harm.push(format!("{} was given {}, which is taken", domain.name, hostdev.device));
                }
            }
        }
        harm
    }

    /// What changed from here to `after`, one line for each thing.
    pub(super) fn changes(&self, after: &Observed) -> Vec<String> {
        let mut changes = Vec::new();
        for (address, gpu) in &self.truth.gpus {
            let now = &after.gpus[address];
            if gpu.vfs != now.vfs {
                // VFs come and go all at once, with what is on them.
                changes.push(format!("{address}: {} VFs", now.vfs.len()));
                continue;
            }
            let places = |gpu: &Gpu| -> BTreeSet<(u32, u16, u16)> {
                gpu.instances.iter().flatten().map(|(id, it)| (*id, it.start, it.slots)).collect()
            };
            let instances =
                places(gpu).symmetric_difference(&places(now)).map(|(id, ..)| *id).collect::<BTreeSet<u32>>();
            changes.extend(instances.iter().map(|id| format!("{address}: GPU instance {id}")));
            let identity = |(device, vgpu): (&DeviceId, &Vgpu)| (*device, (vgpu.profile.clone(), vgpu.start));
            let before: BTreeMap<_, _> = gpu.vgpus.iter().map(identity).collect();
            let now: BTreeMap<_, _> = now.vgpus.iter().map(identity).collect();
            let devices: BTreeSet<DeviceId> = before.keys().chain(now.keys()).copied().collect();
            changes.extend(devices.iter().filter(|d| before.get(d) != now.get(d)).map(DeviceId::to_string));
        }
        for (uuid, domain) in &self.truth.domains {
            let now = &after.domains[uuid];
            if domain.power != now.power {
                changes.push(format!("{}: {:?}", domain.name, now.power));
            }
            let all = domain.hostdevs.iter().chain(&now.hostdevs);
            let devices: BTreeSet<DeviceId> = all.map(|hostdev| hostdev.device).collect();
            let of = |domain: &Domain, device| domain.hostdevs.iter().find(|h| h.device == device).cloned();
            let changed = devices.into_iter().filter(|device| of(domain, *device) != of(now, *device));
            changes.extend(changed.map(|device| format!("{}: {device}", domain.name)));
        }
        changes
    }

    fn devices(&self) -> impl Iterator<Item = (GpuKey, DeviceId)> {
        self.truth.gpus.iter().flat_map(|(address, gpu)| gpu.vgpus.keys().map(|device| (*address, *device)))
    }

    fn vgpu(&self, device: DeviceId) -> Option<&Vgpu> {
        self.truth.gpus.values().find_map(|gpu| gpu.vgpus.get(&device))
    }

    fn named_by(&self, device: DeviceId) -> Vec<(&Domain, &Hostdev)> {
        let all = self.truth.domains.values().flat_map(|domain| domain.hostdevs.iter().map(move |h| (domain, h)));
        all.filter(|(_, hostdev)| hostdev.device == device).collect()
    }

    fn somebody_at(&self, domain: DomainUuid) -> bool {
        let login = self.truth.domains.get(&domain).is_some_and(|domain| domain.login != Login::None);
        login || self.reported.contains(&domain)
    }
}

/// Nobody asked the guest to let go in between.
fn calm(before: &Hostdev, after: &Hostdev) -> bool {
    before.attachment == after.attachment || after.attachment != Attachment::Detaching
}

fn is_up(power: &Power) -> bool {
    matches!(power, Power::Running { .. })
}
