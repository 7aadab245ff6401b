//! VFs that are handed out whole: AMD MxGPU, Intel, any PF that the operator gives.
//!
//! Where the driver lets us, VFs are enabled through `sriov_numvfs` and left without a driver, so that nothing on the host takes them;
//! libvirt binds them (`managed='yes'`). AMD's GIM makes its VFs when it is loaded: their number is read and never written. NVIDIA's
//! are enabled by NVIDIA's own program. Rules: `drivers/pci/iov.c`. Deliberately not here: disabling VFs, which takes all of them from
//! whoever has one.

mod nvidia;
mod opened;
mod write;

use headstart_core::gpu::{DeviceId, Gpu, GpuState, Interface, Opened, Partitioning, Vgpu};
use headstart_core::id::PciAddress;
use headstart_core::unit::FramebufferMib;

use super::hardware::look::Look;
use super::pci::{self, Function};
use super::profile;

pub(super) use nvidia::enable as enable_nvidia;
pub(super) use write::enable;

/// The driver of AMD's boards on the host, which has no `sriov_configure`.
const GIM: &str = "gim";

/// What is on a GPU whose VFs are handed out whole.
pub(super) fn observe(look: &mut Look, mut gpu: Gpu, function: &Function, vfs: Vec<PciAddress>) -> Gpu {
    gpu.interface = Interface::Vf;
    let fixed = function.driver.as_deref() == Some(GIM);
    let wanted = look.rule.vfs.unwrap_or(function.total_vfs).min(function.total_vfs);
    let n_vfs = if vfs.is_empty() { wanted } else { vfs.len().min(usize::from(u16::MAX)) as u16 };
    gpu.partitioning = if fixed { Partitioning::FixedVfs } else { Partitioning::SrIov { vfs: n_vfs } };
    let board = profile::board(function.vendor, function.device);
    let known = board.map_or(FramebufferMib::new(0), |board| board.framebuffer);
    gpu.framebuffer = look.rule.framebuffer.unwrap_or(known);
    let name = look.rule.board.clone().or_else(|| board.map(|board| board.name.to_owned()));
    let name = name.unwrap_or_else(|| function.ids());
    if function.driver.is_none() && vfs.is_empty() {
        gpu.state = GpuState::NotReady("no driver is bound to it".into());
    } else if n_vfs == 0 {
        gpu.state = GpuState::NotReady("it has no VFs, and is to have none".into());
    }
    if fixed && vfs.is_empty() {
        // How they will be cut is not known before they are.
        gpu.state = GpuState::NotReady("gim has made no VFs; see its parameter vf_num and /etc/gim_config".into());
        return gpu;
    }
    match profile::share(&name, gpu.framebuffer, n_vfs) {
        Some(mut share) => {
            look.rule.correct(&mut share);
            gpu.profiles.push(share);
        }
        None if n_vfs > 0 => {
            look.problem(&gpu.address, format!("{name:?} is no name for its shares; give it a `board`"));
        }
        None => {}
    }
    let share = gpu.profiles.first().map(|share| share.name.clone());
    for vf in &vfs {
        let opened = opened::of(look, *vf).unwrap_or_else(|error| Opened::Unknown(error.to_string()));
        gpu.vgpus.insert(DeviceId::Vf(*vf), Vgpu { profile: share.clone(), start: None, opened });
    }
    gpu.vfs = vfs;
    gpu
}

/// Whether a VF is one that the host's own driver must keep: NVIDIA's, whose driver makes the vGPU. libvirt must not take such a VF from
/// its driver, and a plain one it must.
pub(super) fn keeps_its_driver(driver: Option<&str>, has_vfio_device: bool) -> bool {
    // A variant driver is one that is not vfio-pci and yet offers a VFIO device.
    driver == Some("nvidia") || (has_vfio_device && driver.is_some_and(|driver| driver != "vfio-pci"))
}

/// The directory of a VF's VFIO device, which is there while a VFIO driver is bound (since Linux 6.1).
pub(super) fn vfio_device(vf: PciAddress) -> String {
    format!("{}/vfio-dev", pci::path(vf))
}
