//! What the steps on devices do to simulated boards.

use headstart_core::gpu::{DeviceId, GpuState, Interface, Opened, Vgpu};
use headstart_core::id::{GpuId, ProfileName};
use headstart_core::step::{Applied, FailureKind, StepError};

use super::{State, conflict, hardware};

impl State {
    pub(super) fn create(
        &mut self,
        gpu: GpuId,
        device: DeviceId,
        profile: &ProfileName,
        start: Option<u16>,
    ) -> Result<Applied, StepError> {
        if self.gpus.values().any(|gpu| gpu.vgpus.contains_key(&device)) {
            return Err(conflict(format!("{device} carries a vGPU already")));
        }
        // A VF that a domain is given whole is bound to vfio-pci, and no parent of mdevs.
        let vfs = self.gpus.get(&gpu).into_iter().flat_map(|gpu| &gpu.vfs);
        let given = vfs.filter(|vf| self.names(DeviceId::Vf(**vf)).is_some()).count();
        let gpu = self.gpu(gpu)?;
        if matches!(device, DeviceId::Mdev(_)) && given > 0 && gpu.vgpus.len() + given >= gpu.vfs.len() {
            let text = format!("{}: no VF is left", gpu.address);
            return Err(StepError { kind: FailureKind::Exhausted, text });
        }
        if let GpuState::NotReady(why) | GpuState::Unknown(why) = &gpu.state {
            return Err(StepError { kind: FailureKind::Transient, text: format!("{}: {why}", gpu.address) });
        }
        let start = hardware::place(gpu, device, profile, start)
            .map_err(|why| StepError { kind: FailureKind::Exhausted, text: format!("{}: {why}", gpu.address) })?;
        gpu.vgpus.insert(device, Vgpu { profile: Some(profile.clone()), start, opened: Opened::No });
        hardware::mark_instances(gpu);
        Ok(Applied::Changed)
    }

    pub(super) fn create_instance(
        &mut self,
        gpu: GpuId,
        profile: &ProfileName,
        start: u16,
    ) -> Result<Applied, StepError> {
        let gpu = self.gpu(gpu)?;
        hardware::create_instance(gpu, profile, start)
            .map_err(|why| StepError { kind: FailureKind::Exhausted, text: format!("{}: {why}", gpu.address) })?;
        Ok(Applied::Changed)
    }

    pub(super) fn destroy_instance(&mut self, gpu: GpuId, instance: u32) -> Result<Applied, StepError> {
        let gpu = self.gpu(gpu)?;
        let Some(instances) = &mut gpu.instances else { return Ok(Applied::AlreadySo) };
        match instances.get(&instance).map(|it| &it.used) {
            None => Ok(Applied::AlreadySo),
            Some(Opened::No) => {
                instances.remove(&instance);
                Ok(Applied::Changed)
            }
            Some(_) => Err(conflict(format!("{}: GPU instance {instance} is in use", gpu.address))),
        }
    }

    pub(super) fn remove(&mut self, gpu: GpuId, device: DeviceId, profile: &ProfileName) -> Result<Applied, StepError> {
        if let Some(guest) = self.names(device) {
            return Err(conflict(format!("{device} is in use by {}", guest.spec.name)));
        }
        let gpu = self.gpu(gpu)?;
        match gpu.vgpus.get(&device) {
            None => return Ok(Applied::AlreadySo),
            Some(vgpu) if vgpu.opened != Opened::No => return Err(conflict(format!("{device} is open"))),
            Some(vgpu) if vgpu.profile.as_ref() != Some(profile) => {
                return Err(conflict(format!("{device} is no {profile}")));
            }
            Some(_) => gpu.vgpus.remove(&device),
        };
        hardware::mark_instances(gpu);
        Ok(Applied::Changed)
    }

    pub(super) fn set_num_vfs(&mut self, gpu: GpuId, vfs: u16) -> Result<Applied, StepError> {
        let gpu = self.gpu(gpu)?;
        if gpu.vfs.len() == usize::from(vfs) {
            return Ok(Applied::AlreadySo);
        }
        if !gpu.vfs.is_empty() {
            return Err(conflict(format!("{}: {} VFs are enabled; only 0 can be changed", gpu.address, gpu.vfs.len())));
        }
        if gpu.interface != Interface::Vf && gpu.dormant_vfs == 0 {
            let text = format!("{}: it has no VFs that could be enabled", gpu.address);
            return Err(StepError { kind: FailureKind::Unsupported, text });
        }
        hardware::enable_vfs(gpu, vfs);
        Ok(Applied::Changed)
    }
}
