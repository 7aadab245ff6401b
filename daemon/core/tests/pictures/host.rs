//! A host on which everything works at once, so that a picture shows several rounds. No rules: those are the simulator's affair.

use std::collections::BTreeMap;

use headstart_core::gpu::{DeviceId, Instance, Interface, Opened, Vgpu};
use headstart_core::id::{GpuId, ProfileName};
use headstart_core::observed::{Attachment, Hostdev, Power};
use headstart_core::step::Step;
use headstart_core::text::Scene;

pub(super) fn carry_out(scene: &mut Scene, step: &Step) {
    let observed = &mut scene.observed;
    let mut make = |gpu: &GpuId, device, profile: &ProfileName, start| {
        let vgpu = Vgpu { profile: Some(profile.clone()), start, opened: Opened::No };
        observed.gpus.get_mut(gpu).unwrap().vgpus.insert(device, vgpu);
    };
    match step {
        Step::CreateMdev { gpu, profile, uuid, start } => make(gpu, DeviceId::Mdev(*uuid), profile, *start),
        Step::SetVgpuType { gpu, vf, profile, start } => make(gpu, DeviceId::Vf(*vf), profile, *start),
        Step::RemoveMdev { gpu, uuid, .. } => {
            observed.gpus.get_mut(gpu).unwrap().vgpus.remove(&DeviceId::Mdev(*uuid)).unwrap();
        }
        Step::ClearVgpuType { gpu, vf, .. } => {
            observed.gpus.get_mut(gpu).unwrap().vgpus.remove(&DeviceId::Vf(*vf)).unwrap();
        }
        Step::SetNumVfs { gpu, vfs } => {
            let profile = observed.gpus[gpu].profiles[0].name.clone();
            for n in 1..=u32::from(*vfs) {
                let vf = gpu.offset(n).unwrap();
                let vgpu = Vgpu { profile: Some(profile.clone()), start: None, opened: Opened::No };
                let gpu = observed.gpus.get_mut(gpu).unwrap();
                gpu.dormant_vfs = 0;
                gpu.vfs.push(vf);
                if gpu.interface == Interface::Vf {
                    gpu.vgpus.insert(DeviceId::Vf(vf), vgpu);
                }
            }
        }
        Step::CreateGpuInstance { gpu, profile, start } => {
            let gpu = observed.gpus.get_mut(gpu).unwrap();
            let slots = gpu.profile(profile).unwrap().slots;
            let instances = gpu.instances.as_mut().unwrap();
            let id = (1..=7).find(|id| !instances.contains_key(id)).unwrap();
            instances.insert(id, Instance { profile: Some(profile.clone()), start: *start, slots, used: Opened::No });
        }
        Step::DestroyGpuInstance { gpu, instance } => {
            observed.gpus.get_mut(gpu).unwrap().instances.as_mut().unwrap().remove(instance).unwrap();
        }
        Step::AttachHostdev { domain, device, .. } => {
            let hostdev = Hostdev { device: *device, attachment: Attachment::Attached, ours: true };
            observed.domains.get_mut(domain).unwrap().hostdevs.push(hostdev);
        }
        Step::DetachHostdev { domain, device, .. } => {
            observed.domains.get_mut(domain).unwrap().hostdevs.retain(|hostdev| hostdev.device != *device);
        }
        Step::StartDomain { domain } => {
            observed.domains.get_mut(domain).unwrap().power = Power::Running { ready: true };
        }
        Step::ShutDownDomain { domain } => observed.domains.get_mut(domain).unwrap().power = Power::Off,
    }
    // An instance is used while a vGPU is on it; what else is on one stays.
    for gpu in observed.gpus.values_mut() {
        for instance in gpu.instances.iter_mut().flat_map(BTreeMap::values_mut) {
            let vgpu = gpu.vgpus.iter().find(|(_, vgpu)| vgpu.start == Some(instance.start));
            match (vgpu, &instance.used) {
                (Some((device, _)), _) => instance.used = Opened::By(device.to_string()),
                (None, Opened::By(who)) if who.contains(':') => instance.used = Opened::No,
                _ => {}
            }
        }
    }
    // A device is open while its domain runs.
    for domain in observed.domains.values() {
        for hostdev in &domain.hostdevs {
            let vgpu = observed.gpus.values_mut().find_map(|gpu| gpu.vgpus.get_mut(&hostdev.device));
            if let Some(vgpu) = vgpu.filter(|_| domain.power == Power::Off) {
                vgpu.opened = Opened::No;
            }
        }
    }
    if let Step::DetachHostdev { device, .. } = step
        && let Some(vgpu) = observed.gpus.values_mut().find_map(|gpu| gpu.vgpus.get_mut(device))
    {
        vgpu.opened = Opened::No;
    }
}
