//! `org.headstart1.Gpu`: one PF.

use headstart_core::id::{GpuId, ProfileName};

use super::properties::object;
use crate::status::{GpuStatus, VgpuStatus};

object! {
    /// One PF.
    Gpu(GpuId) = "org.headstart1.Gpu", GpuStatus, |status, address| status.gpus.get(address);
    [key address "Address" "PCI address of the PF."]

    /// Board name.
    name "Name" signalled "true": String = |g| g.name.clone();
    /// How it is divided.
    partitioning "Partitioning" signalled "true": String = |g| g.partitioning.clone();
    /// Whole framebuffer.
    framebuffer_mib "FramebufferMib" signalled "true": u32 = |g| g.framebuffer.get();
    /// Framebuffer given to vGPUs that exist.
    used_mib "UsedMib" signalled "true": u32 = |g| g.used.get();
    /// ok, or what is wrong.
    health "Health" signalled "true": String = |g| g.health.clone();
    /// What exists on it: device, profile, holder (empty if none), state.
    vgpus "Vgpus" signalled "true": Vec<(String, String, String, String)> = |g| g.vgpus.iter().map(vgpu).collect();
    /// Profiles that could be created now.
    creatable "Creatable" signalled "true": Vec<String> = |g| g.creatable.iter().map(ProfileName::to_string).collect();
}

/// One vGPU as it goes over the bus.
fn vgpu(vgpu: &VgpuStatus) -> (String, String, String, String) {
    (vgpu.device.clone(), vgpu.profile.clone(), vgpu.holder.clone(), vgpu.state.clone())
}
