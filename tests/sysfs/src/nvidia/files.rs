//! The files below `nvidia/` that mdevs and virtual functions have in common, and the lock of the GPU: sections 1.6, 1.8 and 3.2 of
//! the reference.

use nix::errno::Errno;

use super::board::GpuBoard;
use crate::attribute::{Attribute, number};
use crate::host::Host;
use crate::sketch::Sketch;

/// The longest text of `vgpu_params`. The reference says that there is a limit and not which; a vGPU plugin of the 510 era had this.
const PARAMS: usize = 1024;

impl GpuBoard {
    pub(super) fn write_params(&mut self, host: &Host, device: &str, text: &[u8]) -> Result<(), Errno> {
        let vgpu = self.vgpus.get_mut(device);
        if text.len() > PARAMS {
            return Err(Errno::E2BIG);
        }
        host.not_in_use(device)?;
        let vgpu = vgpu.ok_or(Errno::ENXIO)?;
        if vgpu.mdev.as_ref().is_some_and(|mdev| mdev.removing) {
            return Err(Errno::ENXIO);
        }
        let text = String::from_utf8_lossy(text);
        let text = text.strip_suffix('\n').unwrap_or(&text);
        // A single space clears.
        vgpu.params = if text == " " { String::new() } else { text.to_owned() };
        Ok(())
    }

    pub(super) fn write_placement(&mut self, host: &Host, device: &str, text: &[u8]) -> Result<(), Errno> {
        host.not_in_use(device)?;
        let wanted = number(text, u32::MAX.into())? as u32;
        let vgpu = self.vgpus.get(device).ok_or(Errno::ENXIO)?;
        let vgpu_type = self.type_of(vgpu.number).ok_or(Errno::EINVAL)?;
        if !self.mixed_size || !self.free_placements(vgpu_type, Some(device)).contains(&wanted) {
            return Err(Errno::EINVAL);
        }
        self.vgpus.get_mut(device).ok_or(Errno::ENXIO)?.placement = Some(wanted);
        Ok(())
    }

    pub(super) fn write_gpu_instance(&mut self, host: &Host, device: &str, text: &[u8]) -> Result<(), Errno> {
        host.not_in_use(device)?;
        let wanted = number(text, u32::MAX.into())? as u32;
        let vgpu = self.vgpus.get(device).ok_or(Errno::ENXIO)?;
        let vgpu_type = self.type_of(vgpu.number).ok_or(Errno::EINVAL)?;
        let taken = self.vgpus.iter().any(|(other, vgpu)| other != device && vgpu.gpu_instance == Some(wanted));
        if taken || !self.instances_for(vgpu_type).any(|id| id == wanted) {
            return Err(Errno::EINVAL);
        }
        self.vgpus.get_mut(device).ok_or(Errno::ENXIO)?.gpu_instance = Some(wanted);
        Ok(())
    }

    /// The files that mdevs and VFs have in common below `nvidia/`.
    pub(super) fn draw_common(&self, folder: &str, device: &str, sketch: &mut Sketch) {
        let vgpu = self.vgpus.get(device);
        let own = device.to_owned();
        let params = vgpu.map_or("", |vgpu| vgpu.params.as_str());
        sketch.attribute(format!("{folder}/vgpu_params"), params, Attribute::VgpuParams { device: own.clone() });
        if !self.model.extra_files {
            return;
        }
        let show = |value: Option<u32>| match (vgpu, value) {
            (None, _) => Err(Errno::ENXIO),
            (Some(_), None) => Ok(b"Not Applicable\n".to_vec()),
            (Some(_), Some(value)) => Ok(format!("{value}\n").into_bytes()),
        };
        let placement = show(vgpu.and_then(|vgpu| vgpu.placement));
        let attribute = Attribute::PlacementId { device: own.clone() };
        sketch.content(format!("{folder}/placement_id"), 0o644, placement, Some(attribute));
        let instance = show(vgpu.and_then(|vgpu| vgpu.gpu_instance));
        let attribute = Attribute::GpuInstanceId { device: own };
        sketch.content(format!("{folder}/gpu_instance_id"), 0o644, instance, Some(attribute));
    }

    pub(super) fn write_unbind_lock(&mut self, host: &Host, text: &[u8]) -> Result<(), Errno> {
        // The write itself always succeeds; the file tells whether the lock was got.
        self.unbind_lock = number(text, u64::MAX)? != 0 && !self.held(host);
        Ok(())
    }

    /// A value of `vgpu-placement-id` that does not exist is found out when the virtual machine boots.
    pub(super) fn placement_param_is_wrong(&self, device: &str) -> bool {
        let Some(vgpu) = self.vgpus.get(device) else { return false };
        let wanted = vgpu.params.split(',').find_map(|param| param.trim().strip_prefix("vgpu-placement-id="));
        let (Some(wanted), Some(vgpu_type)) = (wanted, self.type_of(vgpu.number)) else { return false };
        !wanted.parse().is_ok_and(|wanted| self.free_placements(vgpu_type, Some(device)).contains(&wanted))
    }
}
