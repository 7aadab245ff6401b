//! Carrying out a step: on a thread of its own, by the back end that the step is for.

use std::sync::PoisonError;
use std::time::{Duration, Instant};

use headstart_core::gpu::{DeviceId, Opened};
use headstart_core::id::{GpuId, ProfileName};
use headstart_core::step::{Applied, FailureKind, Step, StepError};

use super::failure::{failure, unexpected};
use super::worker::Occupied;
use super::{Inner, Patience};
use crate::host::mdev::{self, NewMdev};
use crate::host::mig::{self, Cuts, Smi};
use crate::host::nvidia;
use crate::host::nvml;
use crate::host::pci::{self, Function};
use crate::host::sriov;
use crate::host::vfio_variant::{self, NewType};

impl Patience {
    /// How long a step may take.
    pub(super) fn of(self, step: &Step) -> Duration {
        if matches!(step, Step::SetNumVfs { .. }) { self.vfs } else { self.vgpu }
    }
}

impl Inner {
    /// Sets the parameters of a device that the configuration says.
    pub(super) fn set_params(&self, device: DeviceId, params: &str) -> Result<Applied, StepError> {
        match device {
            DeviceId::Mdev(uuid) => mdev::prepare(&self.root, uuid, params),
            DeviceId::Vf(vf) => vfio_variant::prepare(&self.root, vf, params),
        }
    }

    /// Does something with a GPU on a thread of its own.
    pub(super) fn work(
        &self,
        gpu: GpuId,
        what: &str,
        deadline: Duration,
        work: impl FnOnce() -> Result<Applied, StepError> + Send + 'static,
    ) -> Result<Applied, StepError> {
        let late =
            |Occupied(what)| failure(FailureKind::Transient, format!("{gpu}: the attempt {what} has not come back"));
        self.writes.begin(gpu, what, work).map_err(late)?.wait(Instant::now() + deadline).map_err(late)?
    }

    /// Does what a step says.
    pub(super) fn carry_out(&self, step: &Step) -> Result<Applied, StepError> {
        let root = &self.root;
        match step {
            Step::CreateMdev { gpu, profile, uuid, start } => {
                self.rule_of(*gpu)?;
                let start = self.placement(*gpu, *start);
                let new = NewMdev { gpu: *gpu, profile: profile.clone(), uuid: *uuid, start };
                mdev::create(root, &new)
            }
            Step::RemoveMdev { gpu, profile, uuid } => {
                self.rule_of(*gpu)?;
                mdev::remove(root, *gpu, profile, *uuid)
            }
            Step::SetVgpuType { gpu, vf, profile, start } => {
                self.rule_of(*gpu)?;
                let (number, start) = (self.number(*gpu, profile), self.placement(*gpu, *start));
                let new = NewType { gpu: *gpu, vf: *vf, profile: profile.clone(), number, start };
                vfio_variant::set(root, &new)
            }
            Step::ClearVgpuType { gpu, vf, profile } => {
                self.rule_of(*gpu)?;
                vfio_variant::clear(root, *gpu, *vf, profile, self.number(*gpu, profile))
            }
            Step::SetNumVfs { gpu, vfs } => self.set_num_vfs(*gpu, *vfs),
            Step::CreateGpuInstance { gpu, profile, start } => {
                self.rule_of(*gpu)?;
                self.with_cuts(*gpu, |smi, cuts| mig::create(smi, cuts, profile, *start))
            }
            Step::DestroyGpuInstance { gpu, instance } => {
                self.rule_of(*gpu)?;
                let on_it = || self.on_instance(*gpu, *instance);
                self.with_cuts(*gpu, |smi, cuts| mig::destroy(smi, cuts, *instance, on_it))
            }
            Step::AttachHostdev { .. }
            | Step::DetachHostdev { .. }
            | Step::StartDomain { .. }
            | Step::ShutDownDomain { .. } => {
                Err(failure(FailureKind::Unsupported, format!("{step}: this is no step on a device")))
            }
        }
    }

    /// Does something with a card's GPU instances, of which the list is kept.
    fn with_cuts(
        &self,
        gpu: GpuId,
        act: impl FnOnce(&Smi, Option<&mut Cuts>) -> Result<Applied, StepError>,
    ) -> Result<Applied, StepError> {
        let Some(smi) = self.smi(gpu) else {
            return Err(failure(FailureKind::Unsupported, format!("{gpu}: it is no PCI function")));
        };
        let memory = self.memory(gpu);
        let mut cuts = memory.lock().unwrap_or_else(PoisonError::into_inner).cuts.clone();
        let answer = act(&smi, cuts.as_mut());
        memory.lock().unwrap_or_else(PoisonError::into_inner).cuts = cuts;
        answer
    }

    /// The vGPU on a GPU instance: as the files of the vGPUs tell now, or, from a driver without such files, as the last look knew it.
    fn on_instance(&self, gpu: GpuId, instance: u32) -> Option<String> {
        let last = self.memory(gpu).lock().unwrap_or_else(PoisonError::into_inner).last.clone()?;
        let file = |device| format!("{}/gpu_instance_id", nvidia::folder(device));
        let devices: Vec<DeviceId> =
            last.vgpus.keys().copied().chain(last.vfs.iter().map(|vf| DeviceId::Vf(*vf))).collect();
        if devices.iter().any(|device| self.root.exists(&file(*device))) {
            let on_it = devices.into_iter().find(|device| self.root.number(&file(*device)) == Ok(instance));
            return on_it.map(|device| device.to_string());
        }
        match &last.instances?.get(&instance)?.used {
            Opened::No => None,
            Opened::By(who) | Opened::Unknown(who) => Some(who.clone()),
        }
    }

    fn set_num_vfs(&self, gpu: GpuId, vfs: u16) -> Result<Applied, StepError> {
        self.rule_of(gpu)?;
        let pf = gpu.pci();
        let function = pf.map(|pf| Function::look(&self.root, pf)).transpose().map_err(|error| unexpected(&error))?;
        let Some(function) = function.flatten() else {
            return Err(failure(FailureKind::Gone, format!("{gpu}: it is not there")));
        };
        if function.vendor == pci::NVIDIA && function.driver.as_deref() == Some("nvidia") {
            let act = || sriov::enable_nvidia(&self.root, &self.sriov_manage, function.address, vfs);
            let open = || failure(FailureKind::Transient, format!("{gpu}: {} still has it open", nvml::LIBRARY));
            let answer = self.nvml.closed_while(self.patience.vgpu, act).ok_or_else(open)?;
            // Whatever came of it, GPU instances may be gone.
            let memory = self.memory(gpu);
            memory.lock().unwrap_or_else(PoisonError::into_inner).cuts.iter_mut().for_each(Cuts::grow_old);
            return answer;
        }
        sriov::enable(&self.root, function.address, vfs)
    }

    /// The placement to ask for: where GPU instances are needed the driver takes the one that is idle, and no placement is chosen.
    fn placement(&self, gpu: GpuId, start: Option<u16>) -> Option<u16> {
        let memory = self.memory(gpu);
        let last = &memory.lock().unwrap_or_else(PoisonError::into_inner).last;
        start.filter(|_| last.as_ref().is_none_or(|gpu| gpu.instances.is_none()))
    }

    /// The number of a profile, as the last look knew it.
    fn number(&self, gpu: GpuId, profile: &ProfileName) -> Option<u32> {
        self.memory(gpu).lock().unwrap_or_else(PoisonError::into_inner).numbers.get(profile).copied()
    }
}
