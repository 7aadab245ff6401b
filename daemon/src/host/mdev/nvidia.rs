//! NVIDIA's vGPUs as mdevs: their table of types, and what the card shows of its rules.

use headstart_core::gpu::Gpu;

use super::text::number;
use super::{Look, MdevType, Parent};
use crate::host::nvidia;
use crate::host::profile::{self, NvidiaType};
use crate::host::sysfs::SysfsError;

/// Fills in what may stand side by side.
pub(super) fn partition(
    look: &mut Look,
    gpu: &mut Gpu,
    parents: &[Parent],
    types: &[MdevType],
) -> Result<(), SysfsError> {
    let mut table = Vec::new();
    for it in types {
        match nvidia_type(look, it) {
            Some(found) => table.push((it.id.as_str(), found)),
            None => look.problem(
                &gpu.address,
                format!("type {} ({}) is left out: neither a description nor its name tells its size", it.id, it.name),
            ),
        }
    }
    if look.memory().series_may_mix.is_none() && !gpu.vgpus.is_empty() {
        let shown = series(look, gpu, parents, &table)?;
        look.memory().series_may_mix = shown;
    }
    let table: Vec<NvidiaType> = table.into_iter().map(|(_, it)| it).collect();
    nvidia::partition(look, gpu, &table);
    Ok(())
}

fn nvidia_type(look: &Look, it: &MdevType) -> Option<NvidiaType> {
    let number = number(&it.id)?;
    let nvml = look.nvml.as_ref().and_then(|nvml| nvml.types.iter().find(|other| other.number == number));
    let by_name = || profile::framebuffer_by_name(it.name.as_str());
    let by_rule = || look.rule.profile(&it.name)?.framebuffer;
    let mut found = NvidiaType {
        number,
        name: it.name.clone(),
        framebuffer: it.description.framebuffer.or_else(by_name).or_else(by_rule)?,
        max_instances: it.description.max_instances.or_else(|| nvml.and_then(|other| other.max_instances)),
        placement: nvml.and_then(|other| other.placement.clone()),
    };
    look.rule.correct_type(&mut found);
    Some(found)
}

/// Whether series may mix, from what a parent with room still offers.
fn series(
    look: &Look,
    gpu: &Gpu,
    parents: &[Parent],
    table: &[(&str, NvidiaType)],
) -> Result<Option<bool>, SysfsError> {
    let of = |name| table.iter().find(|(_, it)| it.name == name).map(|(_, it)| it);
    let taken: Option<Vec<&NvidiaType>> = gpu.vgpus.values().map(|vgpu| vgpu.profile.clone().and_then(of)).collect();
    let Some(taken) = taken else { return Ok(None) };
    let Some(size) = taken.first().map(|it| it.framebuffer) else { return Ok(None) };
    for parent in parents {
        // A VF with a vGPU offers nothing, whatever the rule.
        if parent.vf.is_some() && !look.survey.mdevs_on(&parent.name)?.is_empty() {
            continue;
        }
        let mut offered = Vec::new();
        for (id, it) in table.iter().filter(|(_, it)| it.framebuffer == size) {
            let path = format!("{}/mdev_supported_types/{id}/available_instances", parent.path());
            offered.push((it, look.root.number(&path)? > 0));
        }
        return Ok(profile::series_may_mix(&taken, &offered));
    }
    Ok(None)
}
