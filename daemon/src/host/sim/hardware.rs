//! What the boards refuse, worked out in the plainest way from the vendors' rules; deliberately not the planner's code.

use headstart_core::gpu::{DeviceId, Gpu, Instance, Interface, Opened, Partitioning, Vgpu};
use headstart_core::id::ProfileName;

/// Makes a vGPU if the board would: its first slot where slots matter.
pub(super) fn place(
    gpu: &Gpu,
    device: DeviceId,
    profile: &ProfileName,
    asked: Option<u16>,
) -> Result<Option<u16>, String> {
    if gpu.vfs.is_empty() && gpu.dormant_vfs > 0 {
        return Err("EIO: its VFs are off".into());
    }
    let wanted = gpu.profiles.iter().find(|p| p.name == *profile).ok_or(format!("type {profile} is not known"))?;
    match (device, gpu.interface) {
        (DeviceId::Vf(vf), Interface::VfioVariant) if !gpu.vfs.contains(&vf) => {
            return Err(format!("{vf} is not one of its VFs"));
        }
        // An mdev of a PF with VFs stands on one of them.
        (DeviceId::Mdev(_), Interface::Mdev) if !gpu.vfs.is_empty() && gpu.vgpus.len() >= gpu.vfs.len() => {
            return Err("no VF is left".into());
        }
        (DeviceId::Vf(_), Interface::VfioVariant) | (DeviceId::Mdev(_), Interface::Mdev) => {}
        _ => return Err(format!("it does not make vGPUs that way, but by {}", gpu.interface)),
    }
    let mut same = 0;
    let mut mib = wanted.framebuffer.get();
    let mut slots = [false; 1024];
    for vgpu in gpu.vgpus.values() {
        let other = vgpu.profile.as_ref().and_then(|name| gpu.profiles.iter().find(|p| p.name == *name));
        let other = other.ok_or("EIO: a vGPU of unknown type is there")?;
        same += u16::from(other.name == *profile);
        mib += other.framebuffer.get();
        match gpu.partitioning {
            Partitioning::EqualSize { .. } if other.framebuffer != wanted.framebuffer => {
                return Err("EIO: another size is there".into());
            }
            Partitioning::EqualSize { series_may_mix }
                if other.name != *profile && (!series_may_mix || other.compute || wanted.compute) =>
            {
                return Err("EIO: another type is there".into());
            }
            _ => {}
        }
        if let Some(start) = vgpu.start {
            for slot in start..start + other.slots {
                if let Some(taken) = slots.get_mut(usize::from(slot)) {
                    *taken = true;
                }
            }
        }
    }
    if same >= wanted.max_instances {
        return Err("EIO: no instance is left".into());
    }
    if gpu.instances.is_some() {
        // It comes to stand on the first GPU instance that is free, whatever was asked.
        let free = gpu.instances.iter().flat_map(|all| all.values());
        let mut free = free.filter(|it| it.used == Opened::No && it.profile.as_ref() == Some(profile));
        return free.next().map(|it| Some(it.start)).ok_or("EIO: no GPU instance is free".into());
    }
    match gpu.partitioning {
        Partitioning::Budget { slots: all } => {
            let tenants = gpu.vgpus.values().filter_map(|vgpu| vgpu.profile.as_ref());
            let taken: u16 = tenants.filter_map(|name| gpu.profile(name)).map(|profile| profile.slots).sum();
            if taken + wanted.slots > all { Err("ENOSPC: the budget is used up".into()) } else { Ok(None) }
        }
        Partitioning::EqualSize { .. } if mib > gpu.framebuffer.get() => Err("EIO: no framebuffer is left".into()),
        Partitioning::MixedSize { slots: all } | Partitioning::Mig { slots: all } => {
            let free = |start: u16| {
                (start..start + wanted.slots).all(|slot| slot < all && slots.get(usize::from(slot)) == Some(&false))
            };
            let mut starts = wanted.starts.iter().copied().filter(|start| asked.is_none_or(|asked| asked == *start));
            starts.find(|start| free(*start)).map(Some).ok_or("EIO: the placement is not free".into())
        }
        Partitioning::FixedVfs | Partitioning::SrIov { .. } => Err("VFs cannot be given a type".into()),
        Partitioning::EqualSize { .. } => Ok(None),
    }
}

/// Makes a GPU instance if the board would.
pub(super) fn create_instance(gpu: &mut Gpu, profile: &ProfileName, start: u16) -> Result<(), String> {
    let wanted = gpu.profiles.iter().find(|p| p.name == *profile).ok_or(format!("type {profile} is not known"))?;
    let (slots, permitted) = (wanted.slots, wanted.starts.contains(&start));
    let instances = gpu.instances.as_mut().ok_or("MIG is off, or needs no instances")?;
    let overlaps = instances.values().any(|it| it.start < start + slots && start < it.start + it.slots);
    if !permitted || overlaps {
        return Err("Insufficient Resources".into());
    }
    let id = (1..=64).find(|id| !instances.contains_key(id)).ok_or("no number is left")?;
    instances.insert(id, Instance { profile: Some(profile.clone()), start, slots, used: Opened::No });
    Ok(())
}

/// What the GPU instances carry, from the vGPUs that are there.
pub(super) fn mark_instances(gpu: &mut Gpu) {
    for instance in gpu.instances.iter_mut().flat_map(|all| all.values_mut()) {
        let vgpu = gpu.vgpus.iter().find(|(_, vgpu)| vgpu.start == Some(instance.start));
        instance.used = vgpu.map_or(Opened::No, |(device, _)| Opened::By(device.to_string()));
    }
}

/// VFs appear; where they are handed out whole, all are of one share.
pub(crate) fn enable_vfs(gpu: &mut Gpu, vfs: u16) {
    let share = gpu.profiles.first().map(|profile| profile.name.clone());
    gpu.vfs = (1..=u32::from(vfs)).filter_map(|n| gpu.address.offset(n)).collect();
    gpu.dormant_vfs = 0;
    if gpu.interface != Interface::Vf {
        return;
    }
    gpu.vgpus = gpu
        .vfs
        .iter()
        .map(|vf| (DeviceId::Vf(*vf), Vgpu { profile: share.clone(), start: None, opened: Opened::No }))
        .collect();
}

/// The driver is loaded anew: mdevs and types are gone, and so are VFs, but for those that it makes by itself.
pub(super) fn restart(gpu: &mut Gpu) {
    match gpu.partitioning {
        Partitioning::FixedVfs => gpu.vgpus.values_mut().for_each(|vgpu| vgpu.opened = Opened::No),
        Partitioning::SrIov { .. } => {
            gpu.vfs.clear();
            gpu.vgpus.clear();
        }
        _ => gpu.vgpus.clear(),
    }
    // GPU instances never outlive the driver.
    if let Some(instances) = &mut gpu.instances {
        instances.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    use headstart_core::gpu::{GpuState, Profile};
    use headstart_core::unit::FramebufferMib;

    #[test]
    fn a_vgpu_comes_to_stand_on_the_first_free_gpu_instance() {
        let name: ProfileName = "H-1-10C".parse().unwrap();
        let framebuffer = FramebufferMib::new(10_240);
        let (slots, starts) = (1, vec![0, 5, 6]);
        let profile = Profile { name: name.clone(), framebuffer, max_instances: 7, compute: true, slots, starts };
        let vfs: Vec<_> = ["0000:3b:00.4", "0000:3b:00.5"].iter().map(|vf| vf.parse().unwrap()).collect();
        let mut gpu = Gpu {
            address: "0000:3b:00.0".parse().unwrap(),
            name: "test".into(),
            framebuffer: FramebufferMib::new(81_920),
            interface: Interface::VfioVariant,
            partitioning: Partitioning::Mig { slots: 8 },
            profiles: vec![profile],
            vfs: vfs.clone(),
            dormant_vfs: 0,
            vgpus: BTreeMap::new(),
            instances: Some(BTreeMap::new()),
            state: GpuState::Ready,
        };
        assert!(place(&gpu, DeviceId::Vf(vfs[0]), &name, Some(6)).is_err(), "there is no instance yet");
        assert!(create_instance(&mut gpu, &name, 3).is_err(), "none may begin there");
        create_instance(&mut gpu, &name, 6).unwrap();
        assert!(create_instance(&mut gpu, &name, 6).is_err(), "one is there");
        create_instance(&mut gpu, &name, 5).unwrap();
        let start = place(&gpu, DeviceId::Vf(vfs[0]), &name, Some(5)).unwrap();
        assert_eq!(start, Some(6), "whatever was asked");
        let vgpu = Vgpu { profile: Some(name.clone()), start, opened: Opened::No };
        gpu.vgpus.insert(DeviceId::Vf(vfs[0]), vgpu);
        mark_instances(&mut gpu);
        assert_eq!(place(&gpu, DeviceId::Vf(vfs[1]), &name, None), Ok(Some(5)));
    }
}
