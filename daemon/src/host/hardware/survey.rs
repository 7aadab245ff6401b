//! What one look at the host reads once for all GPUs: the parents of mdevs, the mdevs, and who has which device open.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use headstart_core::id::{GpuId, MdevUuid, PciAddress};

use crate::host::holders::Holders;
use crate::host::pci;
use crate::host::sysfs::{SysfsError, SysfsRoot, garbage, name_of, optional};

/// The index of all mdevs of a host.
pub(crate) const MDEVS: &str = "sys/bus/mdev/devices";
/// Where parents register.
const PARENTS: &str = "sys/class/mdev_bus";

/// A device on which mdevs can be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Parent {
    /// As its directory is called.
    pub(crate) name: String,
    /// Its address, if it is a VF of the GPU, not the GPU itself.
    pub(crate) vf: Option<PciAddress>,
}

impl Parent {
    /// Its directory.
    pub(crate) fn path(&self) -> String {
        format!("{PARENTS}/{}", self.name)
    }
}

/// What was read.
pub(crate) struct Survey {
    parents: Result<BTreeMap<GpuId, Vec<Parent>>, SysfsError>,
    /// By the name of their parent.
    mdevs: Result<BTreeMap<String, Vec<MdevUuid>>, SysfsError>,
    holders: OnceLock<Holders>,
}

impl Survey {
    /// Looks.
    pub(crate) fn take(root: &SysfsRoot) -> Self {
        Self { parents: parents(root), mdevs: mdevs(root), holders: OnceLock::new() }
    }

    /// Parents by the GPU that they belong to.
    pub(crate) fn parents(&self) -> Result<&BTreeMap<GpuId, Vec<Parent>>, SysfsError> {
        self.parents.as_ref().map_err(Clone::clone)
    }

    /// The parents of one GPU.
    pub(crate) fn parents_of(&self, gpu: GpuId) -> Result<&[Parent], SysfsError> {
        Ok(self.parents()?.get(&gpu).map_or(&[], Vec::as_slice))
    }

    /// The mdevs on a parent.
    pub(crate) fn mdevs_on(&self, parent: &str) -> Result<&[MdevUuid], SysfsError> {
        let mdevs = self.mdevs.as_ref().map_err(Clone::clone)?;
        Ok(mdevs.get(parent).map_or(&[], Vec::as_slice))
    }

    /// Who has what open; looked at when first asked for.
    pub(crate) fn holders(&self, root: &SysfsRoot) -> &Holders {
        self.holders.get_or_init(|| Holders::scan(root))
    }
}

/// The GPU that a parent belongs to, and the parent.
pub(crate) fn gpu_of_parent(root: &SysfsRoot, name: &str) -> Result<Option<(GpuId, Parent)>, SysfsError> {
    let Ok(id) = name.parse::<GpuId>() else { return Ok(None) };
    let pf = id.pci().map(|address| pci::physfn(root, address)).transpose()?.flatten();
    let (gpu, vf) = pf.map_or((id, None), |pf| (GpuId::Pci(pf), id.pci()));
    Ok(Some((gpu, Parent { name: name.to_owned(), vf })))
}

fn parents(root: &SysfsRoot) -> Result<BTreeMap<GpuId, Vec<Parent>>, SysfsError> {
    let mut all: BTreeMap<GpuId, Vec<Parent>> = BTreeMap::new();
    for name in optional(root.list(PARENTS))?.unwrap_or_default() {
        if let Some((gpu, parent)) = gpu_of_parent(root, &name)? {
            all.entry(gpu).or_default().push(parent);
        }
    }
    Ok(all)
}

fn mdevs(root: &SysfsRoot) -> Result<BTreeMap<String, Vec<MdevUuid>>, SysfsError> {
    let mut all: BTreeMap<String, Vec<MdevUuid>> = BTreeMap::new();
    for name in optional(root.list(MDEVS))?.unwrap_or_default() {
        let link = format!("{MDEVS}/{name}");
        let uuid = name.parse().map_err(|_| garbage(&link, "the UUID of an mdev", &name))?;
        if let Some(parent) = parent_of(root, uuid)? {
            all.entry(parent).or_default().push(uuid);
        }
    }
    Ok(all)
}

/// The name of the parent of an mdev; none if there is no such mdev.
pub(crate) fn parent_of(root: &SysfsRoot, uuid: MdevUuid) -> Result<Option<String>, SysfsError> {
    let link = format!("{MDEVS}/{uuid}");
    let Some(target) = optional(root.link(&link))? else { return Ok(None) };
    let parent = target.parent().and_then(name_of);
    parent.map(Some).ok_or_else(|| garbage(&link, "a link into the directory of a parent", &target.to_string_lossy()))
}
