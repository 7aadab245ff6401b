//! A PCI function as sysfs shows it, and how people call it.
//!
//! VFs are found by following the `virtfnN` links: their addresses do not follow from the PF's. Deliberately not read is
//! `sriov_numvfs`: reading it waits for whoever is writing it (`sriov_numvfs_show` takes the device lock), and a writer can wait for a
//! guest for ever. Names are for people; no decision reads them.

use headstart_core::id::PciAddress;

use super::sysfs::{SysfsError, SysfsRoot, garbage, optional};

/// Vendor of NVIDIA.
pub(super) const NVIDIA: u16 = 0x10de;
/// Vendor of AMD.
pub(super) const AMD: u16 = 0x1002;
/// Vendor of Intel.
pub(super) const INTEL: u16 = 0x8086;

/// A kernel refuses more VFs than that on one bus number range; a bound on following links.
const MOST_VFS: u32 = 4096;

/// A PCI function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Function {
    /// Where it is.
    pub address: PciAddress,
    /// Who made it.
    pub vendor: u16,
    /// What it is.
    pub device: u16,
    /// The board it is on; 0 if that is not told.
    pub subsystem: u16,
    /// What is bound to it.
    pub driver: Option<String>,
    /// The PF, if it is a VF.
    pub physfn: Option<PciAddress>,
    /// VFs there may be; 0 if it knows no SR-IOV.
    pub total_vfs: u16,
}

/// The directory of a function.
pub(super) fn path(address: PciAddress) -> String {
    format!("sys/bus/pci/devices/{address}")
}

impl Function {
    /// Looks at a function; none if there is none at this address.
    ///
    /// # Errors
    /// Something of it cannot be read.
    pub(crate) fn look(root: &SysfsRoot, address: PciAddress) -> Result<Option<Self>, SysfsError> {
        let at = |name: &str| format!("{}/{name}", path(address));
        let Some(vendor) = optional(root.hexadecimal(&at("vendor")))? else { return Ok(None) };
        Ok(Some(Self {
            address,
            vendor: vendor as u16,
            device: root.hexadecimal(&at("device"))? as u16,
            subsystem: optional(root.hexadecimal(&at("subsystem_device")))?.unwrap_or(0) as u16,
            driver: driver(root, address)?,
            physfn: physfn(root, address)?,
            total_vfs: optional(root.number(&at("sriov_totalvfs")))?.unwrap_or(0).min(MOST_VFS) as u16,
        }))
    }

    /// Vendor and device, `10de:2235`.
    pub(crate) fn ids(&self) -> String {
        format!("{:04x}:{:04x}", self.vendor, self.device)
    }

    /// How people call it: the product of `GA102GL [A40]`, which is in brackets, or the chip where no product is told.
    pub(crate) fn name(&self) -> String {
        let Some(device) = pci_ids::Device::from_vid_pid(self.vendor, self.device) else {
            return format!("PCI device {}", self.ids());
        };
        let product = device.name().split_once('[').and_then(|(_, rest)| rest.split_once(']'));
        product.map_or(device.name(), |(product, _)| product).to_owned()
    }
}

/// Whether a class is that of a GPU: a display controller (03), or a processing accelerator (12), as compute boards call themselves.
pub(super) fn is_gpu(class: u32) -> bool {
    matches!(class >> 16, 0x03 | 0x12)
}

/// What is bound to a function.
///
/// # Errors
/// The link cannot be read.
pub(super) fn driver(root: &SysfsRoot, address: PciAddress) -> Result<Option<String>, SysfsError> {
    optional(root.link_name(&format!("{}/driver", path(address))))
}

/// The PF of a VF; none if it is none.
///
/// # Errors
/// The link cannot be read or names no function.
pub(super) fn physfn(root: &SysfsRoot, address: PciAddress) -> Result<Option<PciAddress>, SysfsError> {
    function_link(root, &format!("{}/physfn", path(address)))
}

/// The VFs of a PF that are enabled, ascending.
///
/// # Errors
/// A link cannot be read or names no function.
pub(super) fn virtual_functions(root: &SysfsRoot, pf: PciAddress) -> Result<Vec<PciAddress>, SysfsError> {
    let mut vfs = Vec::new();
    for n in 0..MOST_VFS {
        match function_link(root, &format!("{}/virtfn{n}", path(pf)))? {
            Some(vf) => vfs.push(vf),
            None => break,
        }
    }
    vfs.sort_unstable();
    Ok(vfs)
}

fn function_link(root: &SysfsRoot, link: &str) -> Result<Option<PciAddress>, SysfsError> {
    let Some(name) = optional(root.link_name(link))? else { return Ok(None) };
    name.parse().map(Some).map_err(|_| garbage(link, "a link to a PCI function", &name))
}

/// All functions of the host.
///
/// # Errors
/// They cannot be listed.
pub(super) fn addresses(root: &SysfsRoot) -> Result<Vec<PciAddress>, SysfsError> {
    let names = root.list("sys/bus/pci/devices")?;
    Ok(names.iter().filter_map(|name| name.parse().ok()).collect())
}
