//! What the boards refuse, worked out in the plainest way from the vendors' rules; deliberately not the planner's code.

use headstart_core::gpu::{DeviceId, Gpu, Interface, Opened, Partitioning, Vgpu};
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
}
