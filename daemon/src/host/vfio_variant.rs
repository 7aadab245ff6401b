//! NVIDIA's vendor VFIO: a VF is given a vGPU type by a number in `nvidia/current_vgpu_type`.
//!
//! No event tells of a change, so every look reads it. The list of types that a VF shows shrinks as its siblings fill, so the table comes
//! from elsewhere (`types`). Rules: NVIDIA's `vgpu-vfio-pci-core.c`. Deliberately not here: enabling the VFs (`sriov`), and a second try.

mod config;
pub(super) mod text;
mod types;
mod write;

use std::collections::BTreeMap;

use headstart_core::gpu::{DeviceId, Gpu, GpuState, Interface, Opened, Vgpu};
use headstart_core::id::PciAddress;

use super::hardware::look::Look;
use super::nvidia;
use super::pci::{self, Function};
use super::profile::{self, NvidiaType};
use super::sysfs::{SysfsRoot, optional};

pub(super) use config::InstalledTable;
pub(super) use write::{NewType, clear, prepare, set};

/// The directory of a VF in which its type is.
fn folder(vf: PciAddress) -> String {
    format!("{}/nvidia", pci::path(vf))
}

/// The file that holds the type of a VF.
fn current(vf: PciAddress) -> String {
    format!("{}/current_vgpu_type", folder(vf))
}

/// Whether a VF can be given a type. Some driver has to be there for that: without one the directory is gone.
pub(super) fn is_variant(root: &SysfsRoot, vf: PciAddress) -> bool {
    root.exists(&current(vf))
}

/// What is on a GPU whose VFs have types.
pub(super) fn observe(look: &mut Look, mut gpu: Gpu, function: &Function, all: Vec<PciAddress>) -> Gpu {
    gpu.interface = Interface::VfioVariant;
    let mut numbers = BTreeMap::new();
    let mut others = Vec::new();
    for vf in all {
        match optional(look.root.number(&current(vf))) {
            Ok(None) => others.push(vf),
            Ok(Some(number)) => {
                numbers.insert(vf, Ok(number));
            }
            Err(error) => {
                look.problem(&vf, format!("its vGPU type is not known: {error}"));
                numbers.insert(vf, Err(error.to_string()));
            }
        }
    }
    if let Some(first) = others.first() {
        let text = format!(
            "{} of its VFs have no vGPU type, because another driver than nvidia is bound to them, or none: {first} first",
            others.len()
        );
        look.problem(&gpu.address, text);
    }
    gpu.vfs = numbers.keys().copied().collect();
    let empty = numbers.values().all(|number| *number == Ok(0));
    let table = types::table(look, function, numbers.iter().find(|(_, n)| **n == Ok(0)).map(|(vf, _)| *vf), empty);
    look.memory().numbers = table.iter().map(|it| (it.name.clone(), it.number)).collect();
    for (vf, number) in numbers {
        let vgpu = match number {
            Ok(0) => continue,
            Ok(number) => used(look, vf, number, &table),
            Err(why) => Vgpu { profile: None, start: None, opened: Opened::Unknown(why) },
        };
        gpu.vgpus.insert(DeviceId::Vf(vf), vgpu);
    }
    if table.is_empty() {
        gpu.state = GpuState::NotReady(
            "its types are told neither by NVML nor by vgpuConfig.xml, and it was not seen empty; give its `profiles` in this GPU's [[gpu]]"
                .into(),
        );
        return gpu;
    }
    learn_series(look, &gpu, &table);
    nvidia::partition(look, &mut gpu, &table);
    gpu
}

/// A VF that has a type.
fn used(look: &Look, vf: PciAddress, number: u32, table: &[NvidiaType]) -> Vgpu {
    Vgpu {
        profile: table.iter().find(|it| it.number == number).map(|it| it.name.clone()),
        start: nvidia::params::start(&look.root, &folder(vf)),
        opened: look.opened(&pci::path(vf)),
    }
}

/// A card whose VFs are off. What it can hold is known if its types are; which interface it will have shows when they are on, and makes
/// no difference until then.
pub(super) fn without_vfs(look: &mut Look, mut gpu: Gpu, function: &Function) -> Gpu {
    let mdev = look.root.exists("sys/class/mdev_bus");
    gpu.interface = if mdev { Interface::Mdev } else { Interface::VfioVariant };
    gpu.dormant_vfs = function.total_vfs;
    let table = types::table(look, function, None, false);
    if table.is_empty() {
        gpu.state = GpuState::NotReady(format!(
            "its VFs are off, and its types are told neither by NVML nor by vgpuConfig.xml; enable the VFs with \
             `/usr/lib/nvidia/sriov-manage -e {}`, or give its `profiles` in this GPU's [[gpu]]",
            gpu.address
        ));
        return gpu;
    }
    nvidia::partition(look, &mut gpu, &table);
    gpu
}

/// Whether series may mix, from what a free VF still offers beside the others.
fn learn_series(look: &Look, gpu: &Gpu, table: &[NvidiaType]) {
    if gpu.vgpus.is_empty() || look.memory().series_may_mix.is_some() {
        return;
    }
    let of = |vgpu: &Vgpu| table.iter().find(|it| Some(&it.name) == vgpu.profile.as_ref());
    let taken: Option<Vec<&NvidiaType>> = gpu.vgpus.values().map(of).collect();
    let free = gpu.vfs.iter().find(|vf| !gpu.vgpus.contains_key(&DeviceId::Vf(**vf)));
    let (Some(taken), Some(free)) = (taken, free) else { return };
    // It is a hint only: what cannot be read is asked again in the next look.
    let Ok(creatable) = write::creatable(&look.root, *free) else { return };
    let offered: Vec<(&NvidiaType, bool)> =
        table.iter().map(|it| (it, creatable.iter().any(|(number, _)| *number == it.number))).collect();
    look.memory().series_may_mix = profile::series_may_mix(&taken, &offered);
}
