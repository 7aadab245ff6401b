//! What may stand side by side on an NVIDIA card, the same for mdevs and for VFs with a type.
//!
//! Modes are the card's and the operator's: they are looked at and never changed. Deliberately not here: where a table of types comes
//! from (the back ends), and MIG's instances (`mig`).

pub(crate) mod params;

use std::collections::BTreeSet;

use headstart_core::gpu::{DeviceId, Gpu, GpuState, Partitioning};

use super::hardware::look::Look;
use super::hardware::survey::MDEVS;
use super::profile::{self, NvidiaType};
use super::{mig, pci};

/// Fills in partitioning, profiles and framebuffer from a card's table of types.
pub(super) fn partition(look: &mut Look, gpu: &mut Gpu, table: &[NvidiaType]) {
    if mig::partition(look, gpu, table) {
        if gpu.profiles.is_empty() && gpu.state == GpuState::Ready {
            gpu.state = GpuState::NotReady("it is in MIG mode, and none of its types fits its GPU instances".into());
        }
        return;
    }
    let sliced: Vec<NvidiaType> =
        table.iter().filter(|it| profile::slices(it.name.as_str()).is_none()).cloned().collect();
    gpu.framebuffer = look.rule.framebuffer.unwrap_or_else(|| profile::board_framebuffer(&sliced));
    let mixed = look.nvml.as_ref().is_some_and(|nvml| nvml.mixed_size);
    if mixed {
        mixed_size(look, gpu, &sliced);
    } else {
        equal_size(look, gpu, &sliced);
    }
    if gpu.profiles.is_empty() && gpu.state == GpuState::Ready {
        gpu.state = GpuState::NotReady("none of its types is understood".into());
    }
}

fn equal_size(look: &mut Look, gpu: &mut Gpu, table: &[NvidiaType]) {
    let said = look.nvml.as_ref().and_then(|nvml| nvml.series_may_mix);
    // What a card has not shown is not assumed.
    let series_may_mix = said.or(look.memory().series_may_mix).unwrap_or(false);
    gpu.partitioning = Partitioning::EqualSize { series_may_mix };
    gpu.profiles = profile::profiles(table, gpu.framebuffer);
    for profile in &mut gpu.profiles {
        profile.slots = 0;
        profile.starts.clear();
    }
    // A place that the plan does not speak of would make a device look misplaced.
    gpu.vgpus.values_mut().for_each(|vgpu| vgpu.start = None);
    let sizes: BTreeSet<u32> = gpu
        .vgpus
        .values()
        .filter_map(|vgpu| gpu.profile(vgpu.profile.as_ref()?))
        .map(|profile| profile.framebuffer.get())
        .collect();
    if sizes.len() > 1 {
        let text = "vGPUs of several sizes stand on it, so it is in mixed-size mode, of which only NVML (libnvidia-ml.so.1) tells \
                    the placements; it takes nothing new";
        look.problem(&gpu.address, text);
    }
}

fn mixed_size(look: &mut Look, gpu: &mut Gpu, table: &[NvidiaType]) {
    let (placed, unplaced): (Vec<NvidiaType>, Vec<NvidiaType>) =
        table.iter().cloned().partition(|it| it.placement.as_ref().is_some_and(|(_, starts)| !starts.is_empty()));
    if let Some(first) = unplaced.first() {
        let text = format!(
            "{} of its types are left out in mixed-size mode, for NVML tells no placement: {} first",
            unplaced.len(),
            first.name
        );
        look.problem(&gpu.address, text);
    }
    let ends = placed
        .iter()
        .filter_map(|it| it.placement.as_ref())
        .flat_map(|(size, starts)| starts.iter().map(|start| start.saturating_add(*size)));
    gpu.partitioning = Partitioning::MixedSize { slots: ends.max().unwrap_or(0) };
    gpu.profiles = profile::profiles(&placed, gpu.framebuffer);
}

/// The directory of NVIDIA's files of a vGPU.
pub(crate) fn folder(device: DeviceId) -> String {
    match device {
        DeviceId::Mdev(uuid) => format!("{MDEVS}/{uuid}/nvidia"),
        DeviceId::Vf(vf) => format!("{}/nvidia", pci::path(vf)),
    }
}
