//! NVIDIA vGPU: how a GPU is described. Mediated devices on the physical function (Turing and older), on virtual functions (Ampere and
//! later on older kernels), or vendor-specific VFIO on virtual functions (newer kernels).
//!
//! The rules are those of sections 1, 2 and 3 of the reference; NVML is not simulated.

pub(crate) mod board;
mod files;
mod mdev;
pub(crate) mod mig;
pub(crate) mod room;
mod types;
mod vendor_vfio;

use std::time::Duration;

use nix::errno::Errno;

use crate::address::address;
use crate::blueprint::Part;
use crate::pci::Kind;

pub use types::{VgpuType, types};

/// Who carries vGPUs on this GPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framework {
    Mdev,
    VendorVfio,
}

/// What a write to `remove` does while a virtual machine has the mdev open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remove {
    /// The older generation of the driver answers `EPERM`.
    Refuses,
    /// Linux 6.1 and later: the write blocks until the device is closed, and the virtual machine is asked to unplug it.
    Blocks,
}

/// How the vendor's plugin answers when a vGPU is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plugin {
    /// It starts.
    Works,
    /// It does not answer: the open fails with `ETIMEDOUT` after 25 s of the machine's time.
    Stuck,
    /// The next open fails with `EIO`, later ones succeed.
    FailsOnce,
    /// Every open fails with `EIO`.
    Fails,
}

/// Error codes of writes to `current_vgpu_type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Codes {
    Nvidia,
    /// The upstream RFC of a nouveau or nova vGPU manager.
    Nouveau,
}

/// How `creatable_vgpu_types` looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Header {
    Always,
    Never,
    /// Only above a list that is not empty.
    OverTypes,
}

/// A GPU of NVIDIA, as a part of a [`Blueprint`](crate::Blueprint).
#[derive(Clone, Debug)]
#[must_use]
#[expect(clippy::struct_excessive_bools, reason = "each is one independent habit of a driver that a test may choose")]
pub struct Gpu {
    pub(crate) address: String,
    pub(crate) model: &'static str,
    pub(crate) kind: Kind,
    pub(crate) framebuffer_mib: u32,
    pub(crate) types: Vec<VgpuType>,
    pub(crate) framework: Framework,
    /// `sriov_totalvfs`; none for a GPU without SR-IOV.
    pub(crate) total_vfs: Option<u16>,
    pub(crate) enabled: bool,
    pub(crate) mixed_series: bool,
    pub(crate) supports_mixed_size: bool,
    pub(crate) mixed_size: bool,
    pub(crate) description: bool,
    pub(crate) remove: Remove,
    pub(crate) self_cleaning: Option<Duration>,
    pub(crate) lingering: Option<Duration>,
    pub(crate) codes: Codes,
    pub(crate) header: Header,
    pub(crate) extra_files: bool,
    pub(crate) late_vfs: Duration,
    pub(crate) late_type_link: Duration,
    pub(crate) slow_start: Duration,
    pub(crate) vm_name_options: bool,
    pub(crate) already_removing: Errno,
    pub(crate) mig: Option<mig::Model>,
    pub(crate) mig_enabled: bool,
    pub(crate) instances: Vec<u32>,
}

impl Gpu {
    fn new(address: &str, model: &'static str, device: u16, framebuffer_mib: u32, types: Vec<VgpuType>) -> Self {
        // Checked here, where the test's line is known.
        let address = crate::address::address(address).to_string();
        Self {
            address,
            model,
            kind: Kind { vendor: 0x10de, device, subsystem: (0x10de, 0x1000 | device & 0xfff), class: 0x03_0200 },
            framebuffer_mib,
            types,
            framework: Framework::Mdev,
            total_vfs: None,
            enabled: false,
            mixed_series: true,
            supports_mixed_size: false,
            mixed_size: false,
            description: true,
            remove: Remove::Blocks,
            self_cleaning: None,
            lingering: None,
            codes: Codes::Nvidia,
            header: Header::Always,
            extra_files: false,
            late_vfs: Duration::ZERO,
            late_type_link: Duration::ZERO,
            slow_start: Duration::ZERO,
            vm_name_options: true,
            already_removing: Errno::EAGAIN,
            mig: None,
            mig_enabled: false,
            instances: Vec::new(),
        }
    }

    /// Tesla T4, 16 GB, Turing: mdevs on the physical function.
    #[track_caller]
    pub fn tesla_t4(address: &str) -> Self {
        Self::new(address, "Tesla T4", 0x1eb8, 16_384, types::tesla_t4())
    }

    /// Tesla P100, 16 GB, Pascal: mdevs on the physical function.
    #[track_caller]
    pub fn tesla_p100(address: &str) -> Self {
        Self::new(address, "Tesla P100-PCIE-16GB", 0x15f8, 16_384, types::tesla_p100())
    }

    /// A2, 16 GB, Ampere: mdevs on 16 virtual functions.
    #[track_caller]
    pub fn a2(address: &str) -> Self {
        Self { total_vfs: Some(16), ..Self::new(address, "NVIDIA A2", 0x25b6, 16_384, types::a2()) }
    }

    /// A40, 48 GB, Ampere: mdevs on 32 virtual functions; with [`vendor_vfio`](Self::vendor_vfio) as on a newer kernel.
    #[track_caller]
    pub fn a40(address: &str) -> Self {
        Self { total_vfs: Some(32), ..Self::new(address, "NVIDIA A40", 0x2235, 49_152, types::a40()) }
    }

    /// L40S, 48 GB, Ada: vendor-specific VFIO on 32 virtual functions, mixed sizes possible.
    #[track_caller]
    pub fn l40s(address: &str) -> Self {
        let gpu = Self::new(address, "NVIDIA L40S", 0x26b9, 49_152, types::l40s());
        Self { total_vfs: Some(32), supports_mixed_size: true, ..gpu }.vendor_vfio()
    }

    /// A100, 40 GB, Ampere: mdevs on 16 virtual functions, MIG.
    #[track_caller]
    pub fn a100(address: &str) -> Self {
        let gpu = Self::new(address, "NVIDIA A100-PCIE-40GB", 0x20f1, 40_960, types::a100());
        Self { total_vfs: Some(16), mig: Some(mig::Model::a100_40gb()), ..gpu }
    }

    /// H100, 80 GB, Hopper: vendor-specific VFIO on 20 virtual functions, MIG.
    #[track_caller]
    pub fn h100(address: &str) -> Self {
        let gpu = Self::new(address, "NVIDIA H100 PCIe", 0x2331, 81_920, types::h100());
        Self { total_vfs: Some(20), mig: Some(mig::Model::h100_80gb()), ..gpu }.vendor_vfio()
    }

    /// vGPUs by `current_vgpu_type` of virtual functions, as on Ubuntu 24.04 or RHEL 10.
    pub fn vendor_vfio(self) -> Self {
        Self { framework: Framework::VendorVfio, ..self }
    }

    /// vGPUs as mediated devices.
    pub fn mdev(self) -> Self {
        Self { framework: Framework::Mdev, ..self }
    }

    /// The virtual functions are enabled when the machine is switched on first. They are not after a reboot.
    pub fn vfs_enabled(self) -> Self {
        Self { enabled: true, ..self }
    }

    /// `sriov_totalvfs`.
    pub fn vfs(self, total: u16) -> Self {
        Self { total_vfs: Some(total), ..self }
    }

    /// Another table of types.
    pub fn with_types(self, types: Vec<VgpuType>) -> Self {
        Self { types, ..self }
    }

    /// The driver does not mix series of one size: after the first vGPU only its own type is open.
    pub fn identical_types_only(self) -> Self {
        Self { mixed_series: false, ..self }
    }

    /// Mixed-size mode is on when the machine is switched on first.
    pub fn mixed_size(self) -> Self {
        Self { supports_mixed_size: true, mixed_size: true, ..self }
    }

    /// Types have no `description`, which the ABI calls optional.
    pub fn no_description(self) -> Self {
        Self { description: false, ..self }
    }

    /// What `remove` does while a virtual machine has the mdev open.
    pub fn remove(self, remove: Remove) -> Self {
        Self { remove, ..self }
    }

    /// What a second write to `remove` gets while the first blocks: `EAGAIN` (the default) or `ENODEV`.
    pub fn already_removing(self, errno: Errno) -> Self {
        Self { already_removing: errno, ..self }
    }

    /// The driver removes an mdev itself, this long after its virtual machine has gone.
    pub fn self_cleaning(self, after: Duration) -> Self {
        Self { self_cleaning: Some(after), ..self }
    }

    /// The vGPU process lives on this long after its virtual machine has gone; `Duration::MAX` for ever.
    pub fn lingering(self, time: Duration) -> Self {
        Self { lingering: Some(time), ..self }
    }

    /// Error codes of the nouveau RFC: `EBUSY` when open or set, `ENODEV` for an unknown type, no list once a type is set.
    pub fn nouveau_codes(self) -> Self {
        Self { codes: Codes::Nouveau, ..self }
    }

    /// `creatable_vgpu_types` without its header line.
    pub fn no_header(self) -> Self {
        Self { header: Header::Never, ..self }
    }

    /// `creatable_vgpu_types` without its header line when nothing is creatable.
    pub fn no_header_over_nothing(self) -> Self {
        Self { header: Header::OverTypes, ..self }
    }

    /// `placement_id` and `gpu_instance_id`, as newer drivers have.
    pub fn extra_files(self) -> Self {
        Self { extra_files: true, ..self }
    }

    /// Virtual functions appear this long after `sriov_numvfs` says how many there are.
    pub fn late_vfs(self, time: Duration) -> Self {
        Self { late_vfs: time, ..self }
    }

    /// The `mdev_type` link of a new mdev appears this long after the device and its event.
    pub fn late_type_link(self, time: Duration) -> Self {
        Self { late_type_link: time, ..self }
    }

    /// Types appear this long after the driver was loaded or virtual functions were enabled.
    pub fn slow_start(self, time: Duration) -> Self {
        Self { slow_start: time, ..self }
    }

    /// `vm_name` is the bare name, without QEMU's further options behind a comma.
    pub fn plain_vm_name(self) -> Self {
        Self { vm_name_options: false, ..self }
    }

    /// MIG is on when the machine is switched on first.
    pub fn mig_enabled(self) -> Self {
        Self { mig_enabled: true, ..self }
    }

    /// GPU instances that exist when the machine is switched on first, by the ids of their profiles.
    pub fn gpu_instances(self, profiles: &[u32]) -> Self {
        Self { instances: profiles.to_vec(), ..self }.mig_enabled()
    }

    /// So many GPUs of this kind, on buses from its own on.
    pub fn times(self, count: u8) -> Vec<Self> {
        let first = address(&self.address);
        let at = |n: u8| format!("{:04x}:{:02x}:00.0", first.domain(), first.bus() + u16::from(n) * 2);
        (0..count).map(|n| Self { address: address(&at(n)).to_string(), ..self.clone() }).collect()
    }
}

impl From<Gpu> for Part {
    fn from(gpu: Gpu) -> Self {
        Self(Box::new(board::GpuBoard::new(gpu)))
    }
}
