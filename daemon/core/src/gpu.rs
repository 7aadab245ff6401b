//! A physical function and what lives on it: profiles, existing vGPUs, and the partitioning rule that says what still fits.
//!
//! The rules follow the vendors' documents: NVIDIA vGPU user guide 17/18, sections 2.9 (equal size, mixed size) and 2.11 (MIG);
//! AMD MxGPU, whose VFs are made when the driver loads; the kernel's `sriov_numvfs`. Deliberately not here: who should get what
//! (`plan`), and how a device is made (`step` and the adapters).

use std::collections::BTreeMap;
use std::fmt;

use crate::id::{GpuId, MdevUuid, PciAddress, ProfileName};
use crate::unit::FramebufferMib;

/// How vGPUs of this PF are made and taken away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interface {
    /// A mediated device is created on the parent and removed again (`mdev_supported_types/*/create`).
    Mdev,
    /// A VF is given a vGPU type (`current_vgpu_type`), NVIDIA's vendor VFIO.
    VfioVariant,
    /// The VF itself is what a domain gets: AMD MxGPU, Intel, any other SR-IOV device.
    Vf,
}

impl fmt::Display for Interface {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Interface::Mdev => "mdev",
            Interface::VfioVariant => "vfio-variant",
            Interface::Vf => "sriov",
        })
    }
}

/// What may exist side by side on one PF.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Partitioning {
    /// NVIDIA time-sliced, equal size: all vGPUs have the framebuffer of the first, until the last is gone.
    EqualSize {
        /// Whether series of one size may stand side by side (A, B and Q; never C); else only the identical type.
        series_may_mix: bool,
    },
    /// NVIDIA time-sliced, mixed size: each vGPU takes a placement, a run of slots that begins at one of its profile's starts.
    MixedSize {
        /// Slots in all.
        slots: u16,
    },
    /// MIG: as mixed size, the slots being memory slices.
    Mig {
        /// Memory slices in all (8 on A100, H100).
        slots: u16,
    },
    /// Any mix, as long as the slots of all together stay within one budget that has no places: megabytes, ports or instances of the
    /// kernel's sample drivers, Intel GVT-g.
    Budget {
        /// Slots in all.
        slots: u16,
    },
    /// VFs of equal share that exist since the driver was loaded (AMD MxGPU).
    FixedVfs,
    /// VFs come all at once through `sriov_numvfs`, and go all at once.
    SrIov {
        /// `sriov_totalvfs`, or fewer if the operator says so.
        vfs: u16,
    },
}

impl fmt::Display for Partitioning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Partitioning::EqualSize { series_may_mix: true } => f.write_str("equal size, series may mix"),
            Partitioning::EqualSize { series_may_mix: false } => f.write_str("equal size, one type"),
            Partitioning::MixedSize { slots } => write!(f, "mixed size, {slots} slots"),
            Partitioning::Mig { slots } => write!(f, "MIG, {slots} memory slices"),
            Partitioning::Budget { slots } => write!(f, "any mix, budget of {slots}"),
            Partitioning::FixedVfs => f.write_str("fixed VFs"),
            Partitioning::SrIov { vfs } => write!(f, "SR-IOV, {vfs} VFs"),
        }
    }
}

/// A size and series that a PF can give.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    /// Marketing name.
    pub name: ProfileName,
    /// Framebuffer of one.
    pub framebuffer: FramebufferMib,
    /// Most of this profile on one PF, by the vendor's table.
    pub max_instances: u16,
    /// For computing (NVIDIA's series C): stands beside no other series, whatever the card allows.
    pub compute: bool,
    /// Slots that one takes under mixed size, MIG or a budget; 0 elsewhere.
    pub slots: u16,
    /// Slots at which one may begin under mixed size or MIG, ascending; empty elsewhere.
    pub starts: Vec<u16>,
}

/// A device that a domain can be given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DeviceId {
    /// A mediated device.
    Mdev(MdevUuid),
    /// A virtual function.
    Vf(PciAddress),
}

impl fmt::Display for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DeviceId::Mdev(uuid) => uuid.fmt(f),
            DeviceId::Vf(address) => address.fmt(f),
        }
    }
}

/// Whether somebody has a device open (`vm_name`, an open VFIO group): the host's word, apart from what domains say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Opened {
    /// Nobody.
    No,
    /// This process or VM.
    By(String),
    /// It could not be read.
    Unknown(String),
}

/// A vGPU that exists. A plain VF exists as soon as VFs are on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vgpu {
    /// Its profile; none if the driver names one that we do not know.
    pub profile: Option<ProfileName>,
    /// Its first slot under mixed size or MIG.
    pub start: Option<u16>,
    /// Whether it is open.
    pub opened: Opened,
}

impl Vgpu {
    /// As the partitioning rule sees it.
    pub fn tenant(&self) -> Tenant<'_> {
        Tenant { profile: self.profile.as_ref(), start: self.start }
    }
}

/// A GPU instance of MIG: a run of memory slices with its engines, on which a vGPU is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    /// The profile of the vGPU that it is for; none if no profile of the card's is.
    pub profile: Option<ProfileName>,
    /// Its first slice.
    pub start: u16,
    /// Its slices.
    pub slots: u16,
    /// Whether a vGPU or anything else is on it.
    pub used: Opened,
}

impl Instance {
    /// It is for vGPUs of a known profile, and nothing is on it.
    pub fn is_idle(&self) -> bool {
        self.used == Opened::No && self.profile.is_some()
    }

    fn slices(&self) -> std::ops::Range<u16> {
        self.start..self.start.saturating_add(self.slots)
    }
}

/// Whether the PF can be worked with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GpuState {
    /// Driver there, types published.
    Ready,
    /// It cannot take anything now, and what is on it is known.
    NotReady(String),
    /// What is on it could not be read: nothing on it may be touched.
    Unknown(String),
}

/// A physical function that was given to headstart whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gpu {
    /// Its address.
    pub address: GpuId,
    /// Board name.
    pub name: String,
    /// Whole framebuffer.
    pub framebuffer: FramebufferMib,
    /// How vGPUs are made.
    pub interface: Interface,
    /// What may stand side by side.
    pub partitioning: Partitioning,
    /// What it can give, in a fixed order.
    pub profiles: Vec<Profile>,
    /// VFs that are enabled, ascending; empty for mdev on the PF.
    pub vfs: Vec<PciAddress>,
    /// VFs that are off and must be enabled before anything can be made on it; 0 if they are on, or if it works without. Not for
    /// `Partitioning::SrIov`, whose number of VFs is part of the rule.
    pub dormant_vfs: u16,
    /// What exists on it.
    pub vgpus: BTreeMap<DeviceId, Vgpu>,
    /// GPU instances of MIG, by the driver's number; none where no instance has to be made before a vGPU.
    pub instances: Option<BTreeMap<u32, Instance>>,
    /// Whether it can be worked with.
    pub state: GpuState,
}

/// Why something does not fit on a PF.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// This PF has no such profile.
    NotOffered,
    /// The size class is taken by another size.
    OtherSize(FramebufferMib),
    /// Another type is there and series may not mix.
    OtherType(ProfileName),
    /// The vendor's limit for the profile is reached.
    AllInstances(u16),
    /// Not enough framebuffer is left.
    NoFramebuffer,
    /// Not enough of the budget is left.
    NoBudget,
    /// No run of slots is free at any permitted start.
    NoPlacement,
    /// Every VF is taken.
    NoVf,
    /// Something of unknown profile is on it.
    UnknownTenant(DeviceId),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::NotOffered => f.write_str("it does not offer the profile"),
            Refusal::OtherSize(size) => write!(f, "it is bound to vGPUs of {size} until the last of them is gone"),
            Refusal::OtherType(profile) => write!(f, "it is bound to {profile} until the last of them is gone"),
            Refusal::AllInstances(most) => write!(f, "all {most} instances of the profile are taken"),
            Refusal::NoFramebuffer => f.write_str("its framebuffer is used up"),
            Refusal::NoBudget => f.write_str("its budget is used up"),
            Refusal::NoPlacement => f.write_str("no placement is free"),
            Refusal::NoVf => f.write_str("every VF is taken"),
            Refusal::UnknownTenant(device) => write!(f, "{device} on it has a profile that is not known"),
        }
    }
}

/// One vGPU on a PF as far as the partitioning rule cares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tenant<'a> {
    /// Its profile, if known.
    pub profile: Option<&'a ProfileName>,
    /// Its first slot, where slots matter.
    pub start: Option<u16>,
}

impl Gpu {
    /// The profile of this name.
    pub fn profile(&self, name: &ProfileName) -> Option<&Profile> {
        self.profiles.iter().find(|profile| profile.name == *name)
    }

    /// Room beside `tenants` for one more of `profile`: its start where slots matter, else none. With `at`, only that start will do.
    ///
    /// # Errors
    /// Why it does not fit.
    pub fn fit(&self, tenants: &[Tenant<'_>], profile: &ProfileName, at: Option<u16>) -> Result<Option<u16>, Refusal> {
        let new = self.profile(profile).ok_or(Refusal::NotOffered)?;
        if tenants.iter().filter(|t| t.profile == Some(profile)).count() >= usize::from(new.max_instances) {
            return Err(Refusal::AllInstances(new.max_instances));
        }
        if self.most_by_vfs().is_some_and(|most| tenants.len() >= usize::from(most)) {
            return Err(Refusal::NoVf);
        }
        match self.partitioning {
            Partitioning::FixedVfs | Partitioning::SrIov { .. } => Ok(None),
            Partitioning::EqualSize { series_may_mix } => {
                for tenant in tenants {
                    let Some(name) = tenant.profile else { continue };
                    let Some(other) = self.profile(name) else { continue };
                    if other.framebuffer != new.framebuffer {
                        return Err(Refusal::OtherSize(other.framebuffer));
                    }
                    let mixes = series_may_mix && !other.compute && !new.compute;
                    if !mixes && name != profile {
                        return Err(Refusal::OtherType(name.clone()));
                    }
                }
                self.all_known(tenants)?;
                let each = u64::from(new.framebuffer.get());
                let needed = each * (tenants.len() as u64 + 1);
                if needed > u64::from(self.framebuffer.get()) { Err(Refusal::NoFramebuffer) } else { Ok(None) }
            }
            Partitioning::Budget { slots } => {
                self.all_known(tenants)?;
                let taken: u32 = tenants.iter().map(|tenant| u32::from(self.slots_of(tenant))).sum();
                if taken + u32::from(new.slots) > u32::from(slots) { Err(Refusal::NoBudget) } else { Ok(None) }
            }
            Partitioning::MixedSize { slots } | Partitioning::Mig { slots } => {
                self.all_known(tenants)?;
                self.free_start(tenants, new, slots, at).map(Some)
            }
        }
    }

    /// How many its VFs allow, also while they are off; none if it works without VFs.
    fn most_by_vfs(&self) -> Option<u16> {
        match self.partitioning {
            Partitioning::SrIov { vfs } => Some(vfs),
            _ if self.must_enable_vfs() => Some(self.dormant_vfs),
            _ if self.interface == Interface::Mdev && self.vfs.is_empty() => None,
            _ => Some(self.vfs.len().min(usize::from(u16::MAX)) as u16),
        }
    }

    /// GPU instances on which something stands that is no vGPU, or that nobody understands: nothing else fits there. Those of vGPUs come
    /// and go with them.
    fn foreign_instances(&self) -> impl Iterator<Item = &Instance> {
        let of_a_vgpu = |it: &Instance| self.vgpus.values().any(|vgpu| vgpu.start == Some(it.start));
        self.instances.iter().flat_map(BTreeMap::values).filter(move |it| !it.is_idle() && !of_a_vgpu(it))
    }

    /// The GPU instance on which a vGPU of this profile that is made now comes to stand: the one idle instance for it. None if there is
    /// none, or if the driver would have a choice. Also none where no instance is needed; ask `instances` first.
    pub fn instance_for(&self, profile: &ProfileName) -> Option<&Instance> {
        let mut idle = self.instances.iter().flat_map(BTreeMap::values);
        let fits = |it: &&Instance| it.is_idle() && it.profile.as_ref() == Some(profile);
        let only = idle.by_ref().find(fits)?;
        idle.all(|it| !fits(&it)).then_some(only)
    }

    /// Whether a GPU instance of this profile can be made at `start` beside all that exist, idle ones too.
    pub fn has_slices(&self, profile: &ProfileName, start: u16) -> bool {
        let Some(profile) = self.profile(profile) else { return false };
        let end = start.saturating_add(profile.slots);
        let apart = |it: &Instance| it.slices().end <= start || end <= it.start;
        profile.starts.contains(&start) && self.instances.iter().flat_map(BTreeMap::values).all(apart)
    }

    /// How many VFs have to be enabled before anything can be made on it; none if they are, or if it works without.
    pub fn vfs_to_enable(&self) -> Option<u16> {
        let vfs = match self.partitioning {
            Partitioning::SrIov { vfs } => vfs,
            _ => self.dormant_vfs,
        };
        (self.vfs.is_empty() && vfs > 0).then_some(vfs)
    }

    /// Nothing can be made on it before its VFs are enabled.
    pub fn must_enable_vfs(&self) -> bool {
        self.vfs_to_enable().is_some()
    }

    fn slots_of(&self, tenant: &Tenant<'_>) -> u16 {
        tenant.profile.and_then(|name| self.profile(name)).map_or(0, |profile| profile.slots)
    }

    /// A tenant whose size is not known closes the PF for more.
    fn all_known(&self, tenants: &[Tenant<'_>]) -> Result<(), Refusal> {
        let known = |t: &Tenant<'_>| t.profile.is_some_and(|name| self.profile(name).is_some());
        if tenants.iter().all(known) {
            return Ok(());
        }
        let culprit = self.vgpus.iter().find(|(_, v)| v.profile.as_ref().is_none_or(|p| self.profile(p).is_none()));
        Err(culprit.map_or(Refusal::NoFramebuffer, |(device, _)| Refusal::UnknownTenant(*device)))
    }

    /// The start for `new`. Large profiles take the lowest free start and small ones the highest, so that the small do not cut
    /// the large off; the order is fixed, so that the choice stays the same while others are carried out.
    fn free_start(&self, tenants: &[Tenant<'_>], new: &Profile, slots: u16, at: Option<u16>) -> Result<u16, Refusal> {
        let mut taken = Vec::with_capacity(tenants.len());
        for tenant in tenants {
            let size = tenant.profile.and_then(|name| self.profile(name)).map_or(slots, |p| p.slots);
            // Without a start the place is not known: it could be anywhere, so nothing can be promised.
            let start = tenant.start.ok_or(Refusal::NoPlacement)?;
            taken.push(start..start.saturating_add(size));
        }
        taken.extend(self.foreign_instances().map(Instance::slices));
        let free = |start: &u16| {
            let end = start.saturating_add(new.slots);
            at.is_none_or(|at| at == *start)
                && end <= slots
                && taken.iter().all(|run| run.end <= *start || end <= run.start)
        };
        let small = u32::from(new.slots) * 4 <= u32::from(slots);
        let start = if small { new.starts.iter().rev().find(|s| free(s)) } else { new.starts.iter().find(|s| free(s)) };
        start.copied().ok_or(Refusal::NoPlacement)
    }

    /// How many of one profile an empty PF of this kind holds; 0 if it does not offer it.
    pub fn capacity(&self, profile: &ProfileName) -> u16 {
        let Some(p) = self.profile(profile) else { return 0 };
        let by_vfs = self.most_by_vfs().unwrap_or(u16::MAX);
        let by_size = match self.partitioning {
            Partitioning::EqualSize { .. } => {
                self.framebuffer.get().checked_div(p.framebuffer.get()).map_or(0, |n| n.min(u32::from(u16::MAX)) as u16)
            }
            Partitioning::MixedSize { .. } | Partitioning::Mig { .. } => p.starts.len() as u16,
            Partitioning::Budget { slots } => slots.checked_div(p.slots).unwrap_or(u16::MAX),
            Partitioning::FixedVfs | Partitioning::SrIov { .. } => u16::MAX,
        };
        p.max_instances.min(by_vfs).min(by_size)
    }

    /// Framebuffer of one vGPU of this profile; 0 if that is not known.
    pub fn framebuffer_of(&self, profile: Option<&ProfileName>) -> FramebufferMib {
        profile.and_then(|name| self.profile(name)).map_or(FramebufferMib::new(0), |p| p.framebuffer)
    }
}

#[cfg(test)]
pub(crate) mod tests;
