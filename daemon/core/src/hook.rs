//! What libvirt's hook is answered when a domain is about to start, or comes from another host or from a saved image.
//!
//! libvirt waits for the answer and holds the domain meanwhile, so it is worked out of what is known already: the last look, the last
//! plan, and what the domain's definition says. At most one step stands between question and answer. Not here: how long anybody
//! waits, and reading or writing XML.

use std::collections::BTreeSet;

use crate::desktop::{AttachMode, BadDesktop, Desktop, MissingGpu};
use crate::gpu::{DeviceId, Gpu, GpuState, Interface, Opened, Tenant, Vgpu};
use crate::id::{DesktopName, DomainUuid, GpuId, PciAddress, ProfileName};
use crate::observed::{Domain, Observed, Tenure, tenure};
use crate::plan::Quarantine;
use crate::step::{Step, Want, our_hostdev};

/// VFs of a PF lie at most so many routing identifiers behind it: `First VF Offset` of the boards known is at most 128, and no board
/// has more than 256 VFs.
const FARTHEST_VF: u32 = 384;

/// What libvirt is about to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Start the domain: its devices must exist now.
    Prepare,
    /// Take it over from another host: its definition can still be changed.
    Migrate,
    /// Take it from a saved image: its definition can still be changed.
    Restore,
}

/// A question of the hook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// What is about to be done.
    pub operation: Operation,
    /// The domain, as the definition says that is about to be used.
    pub domain: Domain,
}

/// What an answer is worked out of.
#[derive(Clone, Copy)]
pub struct Case<'a> {
    /// What is asked.
    pub question: &'a Question,
    /// The domain as a desktop; none: it does not opt in; an error: it does, and cannot be managed.
    pub desktop: Result<Option<&'a Desktop>, &'a BadDesktop>,
    /// What the plan wants it to have, if anything.
    pub want: Option<&'a Want>,
    /// The host as it was seen last.
    pub observed: &'a Observed,
    /// Who is managed.
    pub managed: &'a dyn Fn(DomainUuid) -> bool,
    /// What takes nothing new.
    pub quarantine: &'a Quarantine,
    /// Steps under way.
    pub in_flight: &'a [&'a Step],
}

/// What libvirt is told, or what must happen before it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Go on.
    Allow,
    /// Go on with this device in place of that one.
    Rewrite {
        /// As the definition says.
        from: DeviceId,
        /// Of this host; it may be of another kind.
        to: DeviceId,
        /// libvirt is to bind and unbind it (`managed='yes'`); says nothing of an mdev.
        managed: bool,
    },
    /// This makes what is missing; then go on.
    Make(Step),
    /// The card is being worked on: ask again when that is done.
    Wait {
        /// What is being done.
        why: String,
        /// It changes the very device, so that a start now would meet it half way.
        changing: bool,
    },
    /// The device cannot be had.
    Missing(String),
}

/// Whether a domain with this setting starts without the device that cannot be had: none if it does, else why not.
pub fn refusal(domain: &DesktopName, missing_gpu: MissingGpu, why: &str) -> Option<String> {
    let refused = format!("{why}; its setting missing-gpu = \"block\" lets {domain} not start without its GPU");
    (missing_gpu == MissingGpu::Block).then_some(refused)
}

/// Works out the answer.
pub fn answer(case: &Case<'_>) -> Answer {
    let domain = &case.question.domain;
    let Some(hostdev) = our_hostdev(domain) else {
        return match case.desktop {
            // Whoever is plugged live runs without a device until then.
            Ok(Some(desktop)) if desktop.attach != AttachMode::Live => {
                Answer::Missing("its definition names no device of headstart".into())
            }
            _ => Answer::Allow,
        };
    };
    let desktop = match case.desktop {
        Ok(Some(desktop)) => desktop,
        _ if case.question.operation != Operation::Prepare => return Answer::Allow,
        _ if case.observed.gpu_of(hostdev.device).is_some() => return Answer::Allow,
        Ok(None) => {
            let why = format!("{} does not exist, and {} is not managed here", hostdev.device, domain.name);
            return Answer::Missing(why);
        }
        // What it had before is no answer: the history knows reservations, not what somebody made it of since.
        Err(why) => {
            let why = format!("{} does not exist and cannot be made for {}: {why}", hostdev.device, domain.name);
            return Answer::Missing(why);
        }
    };
    match (case.question.operation, hostdev.device) {
        (Operation::Prepare, device) => case.prepare(desktop, device),
        (Operation::Migrate | Operation::Restore, device) => case.exchange(desktop, device),
    }
}

impl Case<'_> {
    /// The device must exist when libvirt looks for it.
    fn prepare(&self, desktop: &Desktop, device: DeviceId) -> Answer {
        if let Some(step) = self.changes(device) {
            return Answer::Wait { why: format!("{device} is being changed right now ({step})"), changing: true };
        }
        if self.observed.gpu_of(device).is_some() {
            return Answer::Allow;
        }
        match device {
            DeviceId::Mdev(uuid) if uuid != desktop.uuid.mdev() => {
                Answer::Missing(format!("mdev {uuid} does not exist, and is not the one that headstart makes for it"))
            }
            DeviceId::Mdev(uuid) if !self.observed.sees_all_gpus() => {
                let why = format!("mdev {uuid} may exist on a GPU that could not be read");
                Answer::Wait { why, changing: false }
            }
            DeviceId::Mdev(uuid) => self.first_that_fits(desktop, Interface::Mdev, |gpu, profile, start| {
                Some(Step::CreateMdev { gpu: gpu.address, profile: profile.clone(), uuid, start })
            }),
            DeviceId::Vf(vf) => self.prepare_vf(desktop, vf),
        }
    }

    fn prepare_vf(&self, desktop: &Desktop, vf: PciAddress) -> Answer {
        let others = self.observed.domains.values().filter(|domain| domain.uuid != desktop.uuid);
        let named = |domain: &Domain| domain.hostdevs.iter().any(|hostdev| hostdev.device == DeviceId::Vf(vf));
        if let Some(other) = others.into_iter().find(|domain| named(domain)) {
            return Answer::Missing(format!("VF {vf} has no vGPU type, and {} names it, too", other.name));
        }
        if self.observed.gpus.values().any(|gpu| gpu.vfs.contains(&vf)) {
            return self.first_that_fits(desktop, Interface::VfioVariant, |gpu, profile, start| {
                let profile = profile.clone();
                let step = Step::SetVgpuType { gpu: gpu.address, vf, profile, start };
                gpu.vfs.contains(&vf).then_some(step)
            });
        }
        let distance = |gpu: &Gpu| (1..=FARTHEST_VF).find(|n| gpu.address.offset(*n) == Some(vf));
        let has_vfs = |gpu: &&Gpu| gpu.interface == Interface::Vf || gpu.must_enable_vfs();
        let off = self.observed.gpus.values().filter(|gpu| gpu.vfs.is_empty()).filter(has_vfs);
        let nearest = off.filter_map(|gpu| distance(gpu).map(|n| (n, gpu))).min_by_key(|(n, _)| *n);
        match nearest.map(|(_, gpu)| (gpu, gpu.vfs_to_enable())) {
            Some((gpu, _)) if gpu.state != GpuState::Ready || self.quarantine.gpus.contains_key(&gpu.address) => {
                Answer::Missing(format!("VF {vf} does not exist, and {} takes nothing now", gpu.address))
            }
            Some((gpu, Some(vfs))) => match self.busy(gpu.address) {
                Some(step) => Answer::Wait { why: format!("{} is busy ({step})", gpu.address), changing: false },
                None => Answer::Make(Step::SetNumVfs { gpu: gpu.address, vfs }),
            },
            _ => Answer::Missing(format!("VF {vf} does not exist on any GPU of headstart")),
        }
    }

    /// A definition from elsewhere, or one that was saved long ago, names a device of another host, or one that somebody else has
    /// meanwhile. It gets one of this host: of the kind that it names if there is any, else of the other. Our mdev need not exist yet, since
    /// it is made when the domain is prepared.
    fn exchange(&self, desktop: &Desktop, named: DeviceId) -> Answer {
        let offered = |gpu: &Gpu| gpu.interface == Interface::Mdev && offers(gpu, desktop);
        let mdev = self.observed.gpus.values().any(offered).then(|| DeviceId::Mdev(desktop.uuid.mdev()));
        let vf = || self.vf_for(desktop, named).map(DeviceId::Vf);
        let to = match named {
            DeviceId::Mdev(_) => mdev.or_else(vf),
            DeviceId::Vf(_) => vf().or(mdev),
        };
        match to {
            Some(to) if to == named => Answer::Allow,
            Some(to) => Answer::Rewrite { from: named, to, managed: self.is_plain(to) },
            None => Answer::Missing(format!(
                "no GPU here makes an mdev of {profiles}, and no VF of {profiles} is free",
                profiles = list(&desktop.profiles)
            )),
        }
    }

    /// A VF that is handed out whole, which libvirt binds; the driver of any other must stay bound, for it makes the vGPU.
    fn is_plain(&self, device: DeviceId) -> bool {
        let DeviceId::Vf(vf) = device else { return false };
        self.observed.gpus.values().any(|gpu| gpu.interface == Interface::Vf && gpu.vfs.contains(&vf))
    }

    /// A VF that the desktop can have: the one it names if that will do, else one that has the type, else one that can get it.
    fn vf_for(&self, desktop: &Desktop, named: DeviceId) -> Option<PciAddress> {
        let holders = self.observed.holders();
        // What the domain itself names is not taken by it.
        let free = |vf: &PciAddress| holders.of(DeviceId::Vf(*vf)).iter().all(|uuid| *uuid == desktop.uuid);
        let ready = |profile: &ProfileName, vf: &PciAddress| {
            let device = DeviceId::Vf(*vf);
            let vgpu = self.observed.gpu_of(device).and_then(|gpu| gpu.vgpus.get(&device));
            vgpu.is_some_and(|vgpu| {
                let whose = tenure(device, &vgpu.opened, &holders, self.observed, self.managed, &BTreeSet::new());
                let own = matches!(whose, Tenure::Idle) || whose == Tenure::Desktop(desktop.uuid);
                own && vgpu.profile.as_ref() == Some(profile) && self.changes(device).is_none()
            })
        };
        let gpus = || self.open_gpus(|interface| interface != Interface::Mdev);
        for profile in self.profiles(desktop) {
            let vfs: Vec<&PciAddress> = gpus().flat_map(|gpu| &gpu.vfs).collect();
            let bare = gpus().filter(|gpu| gpu.interface == Interface::VfioVariant && fits(gpu, profile).is_ok());
            let bare: Vec<&PciAddress> = bare
                .flat_map(|gpu| gpu.vfs.iter().filter(|vf| !gpu.vgpus.contains_key(&DeviceId::Vf(**vf))))
                .filter(|vf| free(vf))
                .collect();
            let will_do = |vf: &&PciAddress| ready(profile, vf) || bare.contains(vf);
            let found = vfs.iter().find(|vf| DeviceId::Vf(***vf) == named && will_do(vf));
            let found = found.or_else(|| vfs.iter().find(|vf| ready(profile, vf))).or_else(|| bare.first());
            if let Some(vf) = found {
                return Some(**vf);
            }
        }
        None
    }

    /// The step on the first PF on which one of the profiles fits: where the plan wants it, else in the order of wish.
    fn first_that_fits(
        &self,
        desktop: &Desktop,
        interface: Interface,
        step: impl Fn(&Gpu, &ProfileName, Option<u16>) -> Option<Step>,
    ) -> Answer {
        let planned = self.want.and_then(|want| {
            let gpu = self.open_gpus(|other| other == interface).find(|gpu| gpu.address == want.gpu)?;
            Some((gpu, &want.profile))
        });
        let wished = self
            .profiles(desktop)
            .into_iter()
            .flat_map(|profile| self.open_gpus(|other| other == interface).map(move |gpu| (gpu, profile)));
        let mut refusals = BTreeSet::new();
        let mut busy = None;
        for (gpu, profile) in planned.into_iter().chain(wished) {
            match fits(gpu, profile) {
                Ok(start) => {
                    let start = match place(gpu, profile, start) {
                        Ok(start) => start,
                        Err(first) => {
                            busy = busy.or(Some(format!("{}: {first}", gpu.address)));
                            continue;
                        }
                    };
                    let Some(step) = step(gpu, profile, start) else { continue };
                    match self.busy(gpu.address) {
                        None => return Answer::Make(step),
                        Some(at_work) => busy = busy.or(Some(format!("{} is busy ({at_work})", gpu.address))),
                    }
                }
                Err(why) => {
                    refusals.insert(format!("{}: {why}", gpu.address));
                }
            }
        }
        // A driver that comes up late is waited for, as far as libvirt lets us.
        let late = self.observed.gpus.values().find_map(|gpu| match &gpu.state {
            GpuState::NotReady(why) | GpuState::Unknown(why) if gpu.interface == interface => {
                Some(format!("{}: {why}", gpu.address))
            }
            _ => None,
        });
        if let Some(why) = busy.or(late) {
            return Answer::Wait { why, changing: false };
        }
        let why: Vec<String> = refusals.into_iter().take(3).collect();
        let why = if why.is_empty() { "no GPU here offers it now".to_owned() } else { why.join("; ") };
        Answer::Missing(format!("no room for {}: {why}", list(&desktop.profiles)))
    }

    /// Profiles that it may get, the planned one first.
    fn profiles<'b>(&'b self, desktop: &'b Desktop) -> Vec<&'b ProfileName> {
        let planned = self.want.map(|want| &want.profile);
        planned.into_iter().chain(desktop.profiles.iter().filter(|profile| Some(*profile) != planned)).collect()
    }

    /// PFs that take something new: those on which something stands first, so that no empty one is bound to a size for this.
    fn open_gpus(&self, kind: impl Fn(Interface) -> bool) -> impl Iterator<Item = &Gpu> {
        let open = move |gpu: &&Gpu| {
            let closed = self.quarantine.gpus.contains_key(&gpu.address);
            kind(gpu.interface) && gpu.state == GpuState::Ready && !closed
        };
        let mut gpus: Vec<&Gpu> = self.observed.gpus.values().filter(open).collect();
        gpus.sort_by_key(|gpu| (gpu.vgpus.is_empty(), gpu.address));
        gpus.into_iter()
    }

    /// The step under way on a PF.
    fn busy(&self, gpu: GpuId) -> Option<&Step> {
        self.in_flight.iter().copied().find(|step| step.gpu() == Some(gpu))
    }

    /// The step under way that takes this very device away, or changes all VFs of its PF.
    fn changes(&self, device: DeviceId) -> Option<&Step> {
        self.in_flight.iter().copied().find(|step| match step {
            Step::RemoveMdev { uuid, .. } => device == DeviceId::Mdev(*uuid),
            Step::ClearVgpuType { vf, .. } => device == DeviceId::Vf(*vf),
            Step::SetNumVfs { gpu, .. } => match device {
                DeviceId::Vf(vf) => (1..=FARTHEST_VF).any(|n| gpu.offset(n) == Some(vf)),
                DeviceId::Mdev(_) => false,
            },
            _ => false,
        })
    }
}

/// What a look would show that were made after this step has ended well.
pub fn note_made(observed: &mut Observed, step: &Step) {
    let (gpu, device, profile, start) = match step {
        Step::CreateMdev { gpu, profile, uuid, start } => (gpu, DeviceId::Mdev(*uuid), profile, start),
        Step::SetVgpuType { gpu, vf, profile, start } => (gpu, DeviceId::Vf(*vf), profile, start),
        _ => return,
    };
    if let Some(gpu) = observed.gpus.get_mut(gpu) {
        let vgpu = Vgpu { profile: Some(profile.clone()), start: *start, opened: Opened::No };
        gpu.vgpus.entry(device).or_insert(vgpu);
        let instances = gpu.instances.iter_mut().flat_map(|all| all.values_mut());
        for instance in instances.filter(|instance| Some(instance.start) == *start) {
            instance.used = Opened::By(device.to_string());
        }
    }
}

/// Room beside all that exists now, whatever the plan has in mind: whoever starts does not wait for a plan.
fn fits(gpu: &Gpu, profile: &ProfileName) -> Result<Option<u16>, crate::gpu::Refusal> {
    let tenants: Vec<Tenant<'_>> = gpu.vgpus.values().map(Vgpu::tenant).collect();
    gpu.fit(&tenants, profile, None)
}

/// Where a vGPU that fits at `start` comes to stand if it is made now; or what has to be done first, for which there is no time.
fn place(gpu: &Gpu, profile: &ProfileName, start: Option<u16>) -> Result<Option<u16>, &'static str> {
    if gpu.must_enable_vfs() {
        return Err("its VFs have to be enabled first");
    }
    if gpu.instances.is_none() {
        return Ok(start);
    }
    gpu.instance_for(profile).map(|instance| Some(instance.start)).ok_or("a GPU instance has to be made first")
}

fn offers(gpu: &Gpu, desktop: &Desktop) -> bool {
    desktop.profiles.iter().any(|profile| gpu.profile(profile).is_some())
}

fn list(profiles: &[ProfileName]) -> String {
    let names: Vec<&str> = profiles.iter().map(ProfileName::as_str).collect();
    names.join(" or ")
}
