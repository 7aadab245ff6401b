//! What a GPU has room for: the rules of the resource manager, sections 1.5, 3.1, 3.2 and 3.3 of the reference.

use super::board::{GpuBoard, Vgpu};
use super::types::VgpuType;

/// Where in the framebuffer a vGPU of a GPU in mixed-size mode lies. One slot is 1 GiB.
const SLOT_MIB: u32 = 1024;

impl GpuBoard {
    pub(crate) fn type_of(&self, number: u32) -> Option<&VgpuType> {
        self.model.types.iter().find(|vgpu_type| vgpu_type.number == number)
    }

    fn mig_is_on(&self) -> bool {
        self.mig.as_ref().is_some_and(|mig| mig.on)
    }

    /// How many more vGPUs of a type the GPU takes, wherever they are put.
    pub(crate) fn room(&self, vgpu_type: &VgpuType) -> u32 {
        if !self.ready || self.mig_is_on() != vgpu_type.gpu_instance_profile.is_some() {
            0
        } else if vgpu_type.gpu_instance_profile.is_some() {
            self.instances_for(vgpu_type).map(|id| self.room_among(vgpu_type, &self.on_instance(id))).sum()
        } else if self.mixed_size {
            self.free_placements(vgpu_type, None).len() as u32
        } else {
            self.room_among(vgpu_type, &self.vgpus.values().collect::<Vec<_>>())
        }
    }

    /// Equal sizes among vGPUs that share a GPU or a GPU instance.
    fn room_among(&self, vgpu_type: &VgpuType, others: &[&Vgpu]) -> u32 {
        let open = others.iter().all(|other| {
            other.number == vgpu_type.number
                || self.model.mixed_series && self.type_of(other.number).is_some_and(|other| mixes(other, vgpu_type))
        });
        if open { vgpu_type.max.saturating_sub(others.len() as u32) } else { 0 }
    }

    /// What `available_instances` says at a function.
    pub(crate) fn available(&self, vgpu_type: &VgpuType, site: &str) -> u32 {
        if self.pf.sriov.is_none() {
            self.room(vgpu_type)
        } else if self.at_site(site).is_some() {
            0
        } else {
            self.room(vgpu_type).min(1)
        }
    }

    /// The vGPU on a virtual function.
    pub(crate) fn at_site(&self, site: &str) -> Option<&Vgpu> {
        self.vgpus.values().find(|vgpu| vgpu.site == site)
    }

    /// GPU instances with the profile that a type needs.
    pub(crate) fn instances_for(&self, vgpu_type: &VgpuType) -> impl Iterator<Item = u32> {
        let profile = vgpu_type.gpu_instance_profile;
        let instances = self.mig.iter().flat_map(|mig| &mig.instances);
        instances.filter(move |instance| Some(instance.profile) == profile).map(|instance| instance.id)
    }

    fn on_instance(&self, id: u32) -> Vec<&Vgpu> {
        self.vgpus.values().filter(|vgpu| vgpu.gpu_instance == Some(id)).collect()
    }

    /// The GPU instance that a new vGPU of this type gets.
    pub(crate) fn free_instance(&self, vgpu_type: &VgpuType) -> Option<u32> {
        self.instances_for(vgpu_type).find(|id| self.room_among(vgpu_type, &self.on_instance(*id)) > 0)
    }

    /// Starts where a vGPU of this type fits in mixed-size mode, in the order in which they are given out; `without` is not counted.
    pub(crate) fn free_placements(&self, vgpu_type: &VgpuType, without: Option<&str>) -> Vec<u32> {
        let size = slots(vgpu_type);
        let total = self.model.framebuffer_mib / SLOT_MIB;
        let free = |start: &u32| {
            self.vgpus.iter().filter(|(device, _)| Some(device.as_str()) != without).all(|(_, other)| {
                let other_size = self.type_of(other.number).map_or(0, slots);
                other.placement.is_none_or(|other| start + size <= other || other + other_size <= *start)
            })
        };
        (0..total).step_by(size as usize).filter(|start| start + size <= total).filter(free).collect()
    }
}

/// Series A, B and Q of one size share a GPU where the driver can; C does not.
fn mixes(a: &VgpuType, b: &VgpuType) -> bool {
    a.framebuffer_mib == b.framebuffer_mib && (a.series() == 'C') == (b.series() == 'C')
}

/// The size of a placement.
pub(crate) fn slots(vgpu_type: &VgpuType) -> u32 {
    vgpu_type.framebuffer_mib.div_ceil(SLOT_MIB)
}
