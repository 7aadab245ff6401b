//! One look at one GPU: which interface it has by what sysfs shows, and what is on it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use headstart_core::gpu::{Gpu, GpuState, Interface, Opened, Partitioning};
use headstart_core::id::{GpuId, PciAddress};
use headstart_core::observed::Problem;
use headstart_core::unit::FramebufferMib;

use super::memory::Memory;
use super::rule::GpuRule;
use super::survey::Survey;
use crate::host::holders::Nodes;
use crate::host::mig::Smi;
use crate::host::nvml::NvmlGpu;
use crate::host::pci::{self, Function};
use crate::host::sysfs::{SysfsError, SysfsRoot};
use crate::host::vfio_variant::InstalledTable;
use crate::host::{mdev, sriov, vfio_variant};

/// What a look is made with, and the problems that it meets.
pub(crate) struct Look {
    pub(crate) root: SysfsRoot,
    pub(crate) survey: Arc<Survey>,
    pub(crate) rule: GpuRule,
    pub(crate) nvml: Option<Arc<NvmlGpu>>,
    pub(crate) installed: Arc<InstalledTable>,
    /// What tells of MIG, for a card of NVIDIA.
    pub(crate) smi: Option<Smi>,
    pub(crate) memory: Arc<Mutex<Memory>>,
    /// A step is at work on it, so that numbers read one after the other may not fit together.
    pub(crate) in_motion: bool,
    pub(crate) problems: Vec<Problem>,
}

/// How a GPU's parts are made, by what sysfs shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// It, or its VFs, are registered as parents of mdevs.
    Mdev,
    /// NVIDIA's VFs with a type each.
    VfioVariant,
    /// NVIDIA's driver is bound and its VFs are off: mdev or VFIO variant, which shows when they are on.
    NvidiaWithoutVfs,
    /// NVIDIA's driver is bound and has published nothing yet.
    NvidiaWithoutTypes,
    /// VFs are handed out whole.
    Vfs,
    /// It cannot be partitioned, as far as can be seen.
    Whole,
}

impl Look {
    /// Looks at one GPU; none if it is not there.
    pub(crate) fn at(&mut self, id: GpuId) -> Result<Option<Gpu>, SysfsError> {
        let survey = Arc::clone(&self.survey);
        let parents = survey.parents_of(id)?;
        let Some(address) = id.pci() else {
            return parents.first().map(|_| mdev::observe(self, blank(id, id.to_string()), None, parents)).transpose();
        };
        let Some(function) = Function::look(&self.root, address)? else { return Ok(None) };
        let vfs = pci::virtual_functions(&self.root, address)?;
        let name = self.nvml.as_ref().map_or_else(|| function.name(), |nvml| nvml.name.clone());
        let mut gpu = blank(id, name);
        match kind(&self.root, &function, !parents.is_empty(), &vfs) {
            Kind::Mdev => mdev::observe(self, gpu, Some(&function), parents),
            Kind::VfioVariant => Ok(vfio_variant::observe(self, gpu, &function, vfs)),
            Kind::NvidiaWithoutVfs => Ok(vfio_variant::without_vfs(self, gpu, &function)),
            Kind::NvidiaWithoutTypes => {
                gpu.vfs = vfs;
                let text = "its driver has published no vGPU types yet; see nvidia-vgpud and nvidia-vgpu-mgr";
                gpu.state = GpuState::NotReady(text.into());
                Ok(gpu)
            }
            Kind::Vfs => Ok(sriov::observe(self, gpu, &function, vfs)),
            Kind::Whole => {
                gpu.state = GpuState::NotReady(match &function.driver {
                    None => "no driver is bound to it".into(),
                    Some(driver) => format!("under its driver {driver} it offers neither mdev types nor VFs"),
                });
                Ok(gpu)
            }
        }
        .map(Some)
    }

    /// Notes something that an administrator should know.
    pub(crate) fn problem(&mut self, object: &impl ToString, text: impl Into<String>) {
        self.problems.push(Problem { object: object.to_string(), text: text.into() });
    }

    /// The memory of this GPU; held for a moment only, never over a read.
    pub(crate) fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a device is open, by the files that belong to its directory.
    pub(crate) fn opened(&self, device: &str) -> Opened {
        match Nodes::vfio(&self.root, device) {
            Ok(nodes) => self.survey.holders(&self.root).opened(&nodes),
            Err(error) => Opened::Unknown(error.to_string()),
        }
    }
}

/// The interface of a PF.
pub(crate) fn kind(root: &SysfsRoot, function: &Function, has_parents: bool, vfs: &[PciAddress]) -> Kind {
    if has_parents {
        return Kind::Mdev;
    }
    // Any one will do: late ones and ones in the wrong hands are told apart later.
    if vfs.iter().any(|vf| vfio_variant::is_variant(root, *vf)) {
        return Kind::VfioVariant;
    }
    // It was given to a VM whole.
    if function.driver.as_deref() == Some("vfio-pci") {
        return Kind::Whole;
    }
    let nvidia = function.vendor == pci::NVIDIA && function.driver.as_deref() == Some("nvidia");
    match (nvidia, function.total_vfs, vfs) {
        (true, 1.., []) => Kind::NvidiaWithoutVfs,
        (true, ..) => Kind::NvidiaWithoutTypes,
        (false, 1.., _) => Kind::Vfs,
        (false, 0, _) => Kind::Whole,
    }
}

/// A GPU of which nothing is known but where it is.
fn blank(id: GpuId, name: String) -> Gpu {
    Gpu {
        address: id,
        name,
        framebuffer: FramebufferMib::new(0),
        interface: Interface::Vf,
        partitioning: Partitioning::FixedVfs,
        profiles: Vec::new(),
        vfs: Vec::new(),
        dormant_vfs: 0,
        vgpus: std::collections::BTreeMap::new(),
        instances: None,
        state: GpuState::Ready,
    }
}
