//! Laws over what is desired and over the steps of a round, for tests and for whoever doubts the planner.
//!
//! Written naively and apart from the planner and the partitioning rule that it uses: a judge that shares the code of the judged
//! would share its mistakes. So everything here is worked out again from the observation, in the plainest way, at any cost.

use std::collections::BTreeMap;

use crate::desktop::Desktop;
use crate::gpu::{DeviceId, Gpu, GpuState, Interface, Opened, Partitioning};
use crate::id::{DomainUuid, GpuId, PciAddress, ProfileName};
use crate::observed::{Attachment, Domain, Gap, Login, Observed, Power};
use crate::plan::Quarantine;
use crate::step::{Busy, Desired, Step};

/// What is judged against.
#[derive(Clone, Copy)]
pub struct Judge<'a> {
    /// The host as it was seen.
    pub observed: &'a Observed,
    /// Who is managed.
    pub desktops: &'a BTreeMap<DomainUuid, Desktop>,
    /// What takes nothing new.
    pub quarantine: &'a Quarantine,
    /// What had a step in flight.
    pub busy: &'a Busy,
}

/// A vGPU as far as room matters.
type Tenant = (Option<ProfileName>, Option<u16>);

impl Judge<'_> {
    /// Which laws this desired state breaks; none if it is sound.
    pub fn desired(&self, desired: &Desired) -> Vec<String> {
        let mut broken = Vec::new();
        for (uuid, want) in &desired.wants {
            if !self.desktops.contains_key(uuid) {
                broken.push(format!("{uuid} is not managed and is to have a device"));
            }
            if desired.hands_off.contains(uuid) {
                broken.push(format!("{uuid} is to be left alone and to have a device"));
            }
            if !self.observed.gpus.contains_key(&want.gpu) {
                broken.push(format!("{uuid} is to have a device on {}, which is not there", want.gpu));
            }
        }
        for uuid in &desired.shut_down {
            let idle =
                self.domain(*uuid).is_some_and(|d| d.login == Login::None && !matches!(d.power, Power::Unknown(_)));
            if !idle || desired.hands_off.contains(uuid) {
                broken.push(format!("{uuid} is to be shut down and is not idle, or is to be left alone"));
            }
        }
        for gpu in self.observed.gpus.values() {
            broken.extend(self.desired_on(gpu, desired));
        }
        broken
    }

    /// All that is wanted on a PF fits there together, beside what cannot be moved.
    fn desired_on(&self, gpu: &Gpu, desired: &Desired) -> Option<String> {
        let mut tenants: Vec<Tenant> = Vec::new();
        let mut anything_new = false;
        for (uuid, want) in desired.wants.iter().filter(|(_, want)| want.gpu == gpu.address) {
            let has = self.domain(*uuid).into_iter().flat_map(|domain| &domain.hostdevs).any(|hostdev| {
                let vgpu = gpu.vgpus.get(&hostdev.device);
                hostdev.ours && vgpu.is_some_and(|v| v.profile.as_ref() == Some(&want.profile) && v.start == want.start)
            });
            anything_new |= !has;
            tenants.push((Some(want.profile.clone()), want.start));
        }
        if !anything_new {
            return None;
        }
        if gpu.state != GpuState::Ready || self.quarantine.gpus.contains_key(&gpu.address) {
            return Some(format!("{} takes nothing new and is to have more", gpu.address));
        }
        for (device, vgpu) in &gpu.vgpus {
            let by_want = self.named_by(*device).iter().any(|domain| desired.wants.contains_key(&domain.uuid));
            let fixed = self.untouchable(*device).is_some()
                || self.named_by(*device).iter().any(|domain| desired.hands_off.contains(&domain.uuid));
            if fixed && !by_want {
                tenants.push((vgpu.profile.clone(), vgpu.start));
            }
        }
        let strangers = |vf: &&PciAddress| {
            let device = DeviceId::Vf(**vf);
            let ours =
                |domain: &&Domain| domain.hostdevs.iter().any(|hostdev| hostdev.device == device && hostdev.ours);
            self.named_by(device).iter().any(|domain| !self.desktops.contains_key(&domain.uuid) || !ours(domain))
        };
        let bare = gpu.vfs.iter().filter(|vf| !gpu.vgpus.contains_key(&DeviceId::Vf(**vf)));
        let named = bare.filter(strangers).count();
        if named > 0 && tenants.len() + named > gpu.vfs.len() {
            return Some(format!("what is desired on {} needs VFs that strangers name", gpu.address));
        }
        stand_together(gpu, &tenants).err().map(|why| format!("what is desired does not fit on {}: {why}", gpu.address))
    }

    /// Which laws this round breaks; none if it is sound.
    pub fn round(&self, steps: &[Step]) -> Vec<String> {
        let mut broken = Vec::new();
        let (mut gpus, mut domains) = (self.busy.gpus.clone(), self.busy.domains.clone());
        for step in steps {
            if step.gpu().is_some_and(|gpu| !gpus.insert(gpu)) {
                broken.push(format!("{step}: its PF has a step already"));
            }
            if step.domain().is_some_and(|domain| !domains.insert(domain)) {
                broken.push(format!("{step}: its domain has a step already"));
            }
            if let Err(why) = self.step(step) {
                broken.push(format!("{step}: {why}"));
            }
        }
        for gpu in self.observed.gpus.values() {
            let new: Vec<Tenant> = steps.iter().filter_map(|step| made(step, gpu.address)).collect();
            if new.is_empty() {
                continue;
            }
            let all: Vec<Tenant> = gpu.vgpus.values().map(|v| (v.profile.clone(), v.start)).chain(new).collect();
            if let Err(why) = stand_together(gpu, &all) {
                broken.push(format!("what is made on {} does not fit beside all that is there: {why}", gpu.address));
            }
        }
        broken
    }

    /// Whether the observation permits this step.
    fn step(&self, step: &Step) -> Result<(), String> {
        let no_list = self.observed.gaps.contains(&Gap::Domains);
        match step {
            Step::CreateMdev { gpu, uuid, profile, start } => {
                let on = self.ready(*gpu, Interface::Mdev)?;
                on_an_instance(on, profile, *start)?;
                must(!on.vfs.is_empty() || on.dormant_vfs == 0, "its VFs are off")?;
                let named = on.vfs.iter().filter(|vf| !self.named_by(DeviceId::Vf(**vf)).is_empty()).count();
                must(on.vfs.is_empty() || on.vgpus.len() + named < on.vfs.len(), "no VF is left that nobody names")?;
                must(self.desktops.keys().any(|domain| domain.mdev() == *uuid), "made for nobody")?;
                must(self.place_of(DeviceId::Mdev(*uuid)).is_none(), "it exists already")?;
                must(self.sees_all_gpus(), "it may exist on a PF that was not seen")
            }
            Step::SetVgpuType { gpu, vf, profile, start } => {
                let on = self.ready(*gpu, Interface::VfioVariant)?;
                on_an_instance(on, profile, *start)?;
                must(on.vfs.contains(vf), "no VF of this PF")?;
                must(!on.vgpus.contains_key(&DeviceId::Vf(*vf)), "the VF has a type already")?;
                let names = self.named_by(DeviceId::Vf(*vf));
                // libvirt waits for it on behalf of the one domain that names it, so nobody else is given it.
                if let [domain] = names.as_slice()
                    && domain.power == Power::Starting
                    && domain.hostdevs.iter().any(|hostdev| hostdev.ours && hostdev.device == DeviceId::Vf(*vf))
                {
                    return Ok(());
                }
                must(names.is_empty(), "a domain names the VF")?;
                must(!no_list, "the list of domains was not read, and one may name the VF")
            }
            Step::SetNumVfs { gpu, vfs } => {
                let on = self.observed.gpus.get(gpu).ok_or("no such PF")?;
                must(on.state == GpuState::Ready, "its PF is not ready")?;
                must(on.vfs.is_empty() && on.vgpus.is_empty(), "VFs are enabled already, or something is on it")?;
                let wanted = match on.partitioning {
                    Partitioning::SrIov { vfs } => vfs,
                    _ => on.dormant_vfs,
                };
                must(*vfs > 0 && *vfs == wanted, "not the number of VFs that it has")
            }
            Step::CreateGpuInstance { gpu, profile, start } => self.instance_may_come(*gpu, profile, *start),
            Step::DestroyGpuInstance { gpu, instance } => self.instance_may_go(*gpu, *instance),
            Step::RemoveMdev { gpu, profile, uuid } => {
                self.ready(*gpu, Interface::Mdev)?;
                self.may_go(*gpu, DeviceId::Mdev(*uuid), profile)
            }
            Step::ClearVgpuType { gpu, vf, profile } => {
                self.ready(*gpu, Interface::VfioVariant)?;
                self.may_go(*gpu, DeviceId::Vf(*vf), profile)
            }
            Step::AttachHostdev { gpu, domain, device, live } => {
                let into = self.managed(*domain)?;
                must(self.place_of(*device) == Some(*gpu), "the device is not there")?;
                must(self.named_by(*device).is_empty(), "a domain names the device")?;
                must(self.untouchable(*device).is_none(), "the device is not ours to give")?;
                must(!into.hostdevs.iter().any(|hostdev| hostdev.ours), "the domain has one")?;
                in_power(into, *live)
            }
            Step::DetachHostdev { gpu, domain, device, live } => {
                let from = self.managed(*domain)?;
                let hostdev =
                    from.hostdevs.iter().find(|h| h.ours && h.device == *device).ok_or("the domain has it not")?;
                must(!no_list, "the list of domains was not read")?;
                must(hostdev.attachment != Attachment::Detaching, "the guest was asked already")?;
                must(self.place_of(*device) == *gpu, "it is on another PF")?;
                match gpu {
                    Some(gpu) => must(!self.is_unknown(*gpu), "its PF could not be read")?,
                    None => must(self.sees_all_gpus(), "it may be on a PF that was not seen")?,
                }
                // Whoever waits in front of a desktop that is off loses nothing with a device that does not exist any more.
                let nothing_to_lose = gpu.is_none() && !*live && matches!(from.login, Login::Waiting { .. });
                must(from.login == Login::None || nothing_to_lose, "somebody is there, or that is not known")?;
                in_power(from, *live)
            }
            Step::StartDomain { domain } => {
                let domain = self.managed(*domain)?;
                must(domain.power == Power::Off, "it is not off")?;
                let hostdev = domain.hostdevs.iter().find(|hostdev| hostdev.ours).ok_or("it has no device")?;
                let gpu = self.place_of(hostdev.device).ok_or("its device is not there")?;
                must(self.named_by(hostdev.device).len() == 1, "another domain names its device")?;
                must(self.observed.gpus[&gpu].vgpus[&hostdev.device].opened == Opened::No, "its device is open")
            }
            Step::ShutDownDomain { domain } => {
                let domain = self.managed(*domain)?;
                must(!no_list, "the list of domains was not read")?;
                must(matches!(domain.power, Power::Running { .. }), "it does not run")?;
                must(domain.login == Login::None, "somebody is there, or that is not known")?;
                must(domain.hostdevs.iter().any(|hostdev| hostdev.ours), "it has no device of ours")
            }
        }
    }

    /// A GPU instance has its place, and nothing stands there.
    fn instance_may_come(&self, gpu: GpuId, profile: &ProfileName, start: u16) -> Result<(), String> {
        let on = self.observed.gpus.get(&gpu).ok_or("no such PF")?;
        must(on.state == GpuState::Ready, "its PF is not ready")?;
        let instances = on.instances.as_ref().ok_or("it has no GPU instances")?;
        let profile = on.profiles.iter().find(|it| it.name == *profile).ok_or("no such profile")?;
        must(profile.starts.contains(&start), "it may not begin there")?;
        for it in instances.values() {
            let apart = it.start + it.slots <= start || start + profile.slots <= it.start;
            must(apart, "another GPU instance is there")?;
        }
        Ok(())
    }

    /// A GPU instance that is known and carries nothing.
    fn instance_may_go(&self, gpu: GpuId, instance: u32) -> Result<(), String> {
        let on = self.observed.gpus.get(&gpu).ok_or("no such PF")?;
        must(on.state == GpuState::Ready, "its PF is not ready")?;
        let it = on.instances.as_ref().and_then(|all| all.get(&instance)).ok_or("no such GPU instance")?;
        must(it.used == Opened::No && it.profile.is_some(), "something is on it, or that is not known")?;
        must(on.vgpus.values().all(|vgpu| vgpu.start != Some(it.start)), "a vGPU is on it")
    }

    /// An idle device of ours, of this profile.
    fn may_go(&self, gpu: GpuId, device: DeviceId, profile: &ProfileName) -> Result<(), String> {
        let vgpu = self.observed.gpus.get(&gpu).and_then(|gpu| gpu.vgpus.get(&device)).ok_or("it does not exist")?;
        must(vgpu.profile.as_ref() == Some(profile), "it has another profile")?;
        must(self.named_by(device).is_empty(), "a domain names it")?;
        self.untouchable(device).map_or(Ok(()), Err)
    }

    /// Why this device may be neither taken from whoever has it, nor given to somebody else.
    fn untouchable(&self, device: DeviceId) -> Option<String> {
        let names = self.named_by(device);
        if self.observed.gaps.contains(&Gap::Domains) {
            return Some("the list of domains was not read".into());
        }
        if names.len() > 1 {
            return Some("two domains name it".into());
        }
        if let Some(domain) = names.first() {
            let managed = self.desktops.contains_key(&domain.uuid);
            let ours = domain.hostdevs.iter().any(|h| h.device == device && h.ours);
            let idle = domain.login == Login::None && !matches!(domain.power, Power::Unknown(_));
            return (!managed || !ours || !idle).then(|| format!("{} has it", domain.name));
        }
        let place = self.place_of(device)?;
        if self.is_unknown(place) {
            return Some("its PF could not be read".into());
        }
        let vgpu = self.observed.gpus.get(&place)?.vgpus.get(&device)?;
        if vgpu.opened != Opened::No {
            return Some("somebody has it open, or that is not known".into());
        }
        let ours = match device {
            DeviceId::Mdev(uuid) => self.desktops.keys().any(|domain| domain.mdev() == uuid),
            DeviceId::Vf(_) => true,
        };
        (!ours).then(|| "a stranger made it".into())
    }

    fn named_by(&self, device: DeviceId) -> Vec<&Domain> {
        let names = |domain: &&Domain| domain.hostdevs.iter().any(|hostdev| hostdev.device == device);
        self.observed.domains.values().filter(names).collect()
    }

    fn place_of(&self, device: DeviceId) -> Option<GpuId> {
        self.observed.gpus.values().find(|gpu| gpu.vgpus.contains_key(&device)).map(|gpu| gpu.address)
    }

    fn domain(&self, uuid: DomainUuid) -> Option<&Domain> {
        self.observed.domains.get(&uuid)
    }

    fn managed(&self, uuid: DomainUuid) -> Result<&Domain, String> {
        must(self.desktops.contains_key(&uuid), "the domain is not managed")?;
        Ok(self.domain(uuid).ok_or("the domain was not seen")?)
    }

    fn is_unknown(&self, gpu: GpuId) -> bool {
        self.observed.gpus.get(&gpu).is_none_or(|gpu| matches!(gpu.state, GpuState::Unknown(_)))
    }

    fn sees_all_gpus(&self) -> bool {
        let gap = self.observed.gaps.iter().any(|gap| matches!(gap, Gap::Gpu(_)));
        !gap && self.observed.gpus.keys().all(|gpu| !self.is_unknown(*gpu))
    }

    fn ready(&self, gpu: GpuId, interface: Interface) -> Result<&Gpu, String> {
        let gpu = self.observed.gpus.get(&gpu).ok_or("no such PF")?;
        must(gpu.state == GpuState::Ready, "its PF is not ready")?;
        must(gpu.interface == interface, "its PF does not work that way")?;
        Ok(gpu)
    }
}

/// Where GPU instances are needed, exactly one is idle for this profile, and it is where the vGPU is wanted.
fn on_an_instance(gpu: &Gpu, profile: &ProfileName, start: Option<u16>) -> Result<(), String> {
    let Some(instances) = &gpu.instances else { return Ok(()) };
    let idle: Vec<u16> = instances
        .values()
        .filter(|it| it.used == Opened::No && it.profile.as_ref() == Some(profile))
        .map(|it| it.start)
        .collect();
    must(idle.len() == 1 && start == Some(idle[0]), "it would not come to stand on the GPU instance that is meant")
}

fn in_power(domain: &Domain, live: bool) -> Result<(), String> {
    let needed = if live { Power::Running { ready: true } } else { Power::Off };
    must(domain.power == needed, "the domain is not in the power state that it needs")
}

/// What a step makes on this PF.
fn made(step: &Step, on: GpuId) -> Option<Tenant> {
    match step {
        Step::CreateMdev { gpu, profile, start, .. } | Step::SetVgpuType { gpu, profile, start, .. } if *gpu == on => {
            Some((Some(profile.clone()), *start))
        }
        _ => None,
    }
}

/// Whether these may exist side by side on a PF: the vendors' rules over a whole set, not one by one.
///
/// # Errors
/// The rule that they break.
pub fn stand_together(gpu: &Gpu, tenants: &[(Option<ProfileName>, Option<u16>)]) -> Result<(), String> {
    let vfs = match gpu.partitioning {
        Partitioning::SrIov { vfs } => usize::from(vfs),
        _ if gpu.vfs.is_empty() && gpu.dormant_vfs > 0 => usize::from(gpu.dormant_vfs),
        _ if gpu.interface == Interface::Mdev && gpu.vfs.is_empty() => usize::MAX,
        _ => gpu.vfs.len(),
    };
    must(tenants.len() <= vfs, "more than VFs")?;
    let counted_only = matches!(gpu.partitioning, Partitioning::FixedVfs | Partitioning::SrIov { .. });
    let mut known = Vec::new();
    for (name, start) in tenants {
        let profile = name.as_ref().and_then(|name| gpu.profiles.iter().find(|p| p.name == *name));
        match profile {
            Some(profile) => known.push((profile, *start)),
            None if counted_only => {}
            None => return Err("one of them is of unknown profile".into()),
        }
    }
    for (profile, _) in &known {
        let same = known.iter().filter(|(other, _)| other.name == profile.name).count();
        must(same <= usize::from(profile.max_instances), "more than the profile's instances")?;
    }
    match gpu.partitioning {
        Partitioning::FixedVfs | Partitioning::SrIov { .. } => Ok(()),
        Partitioning::EqualSize { series_may_mix } => {
            let mib: u64 = known.iter().map(|(profile, _)| u64::from(profile.framebuffer.get())).sum();
            must(mib <= u64::from(gpu.framebuffer.get()), "more than its framebuffer")?;
            for pair in known.windows(2) {
                must(pair[0].0.framebuffer == pair[1].0.framebuffer, "two sizes")?;
                let mixes = series_may_mix && !pair[0].0.compute && !pair[1].0.compute;
                must(mixes || pair[0].0.name == pair[1].0.name, "two types")?;
            }
            Ok(())
        }
        Partitioning::Budget { slots } => {
            let taken: u32 = known.iter().map(|(profile, _)| u32::from(profile.slots)).sum();
            must(taken <= u32::from(slots), "more than its budget")
        }
        Partitioning::MixedSize { slots } | Partitioning::Mig { slots } => {
            let mut taken = vec![false; usize::from(slots)];
            let of_a_vgpu = |start| gpu.vgpus.values().any(|vgpu| vgpu.start == Some(start));
            let foreign = gpu.instances.iter().flat_map(BTreeMap::values);
            for it in foreign.filter(|it| it.used != Opened::No || it.profile.is_none()) {
                for slot in it.start..it.start + it.slots {
                    if let Some(taken) = taken.get_mut(usize::from(slot)).filter(|_| !of_a_vgpu(it.start)) {
                        *taken = true;
                    }
                }
            }
            for (profile, start) in &known {
                let start = start.ok_or("one of them is at an unknown place")?;
                must(profile.starts.contains(&start), "one of them begins where it may not")?;
                for slot in start..start + profile.slots {
                    let free = taken.get_mut(usize::from(slot)).ok_or("one of them ends past the last slot")?;
                    must(!std::mem::replace(free, true), "two of them overlap")?;
                }
            }
            Ok(())
        }
    }
}

fn must(holds: bool, else_: &str) -> Result<(), String> {
    if holds { Ok(()) } else { Err(else_.to_owned()) }
}
