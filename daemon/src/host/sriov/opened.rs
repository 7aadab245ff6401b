//! Whether somebody uses a VF that is handed out whole.
//!
//! A VF without a driver is nobody's. Under a VFIO driver, whoever has its group or cdev open uses it. Under a driver of the host, the
//! host itself may use it: a network interface that is up, a render node that a program has open. libvirt would take the VF away
//! from under that, so it counts as in use; and a driver that shows none of its doings counts as not known.

use headstart_core::gpu::Opened;
use headstart_core::id::PciAddress;

use super::vfio_device;
use crate::host::hardware::look::Look;
use crate::host::holders::Nodes;
use crate::host::pci;
use crate::host::sysfs::{SysfsError, optional};

/// `IFF_UP` of `linux/if.h`.
const UP: u32 = 1;

pub(super) fn of(look: &Look, vf: PciAddress) -> Result<Opened, SysfsError> {
    let path = pci::path(vf);
    let Some(driver) = pci::driver(&look.root, vf)? else { return Ok(Opened::No) };
    if driver == "vfio-pci" || look.root.exists(&vfio_device(vf)) {
        return Ok(look.opened(&path));
    }
    let interfaces = optional(look.root.list(&format!("{path}/net")))?.unwrap_or_default();
    for interface in &interfaces {
        let up = look.root.hexadecimal(&format!("{path}/net/{interface}/flags"))? & UP != 0;
        let part_of = optional(look.root.link_name(&format!("{path}/net/{interface}/master")))?;
        match part_of {
            Some(master) => return Ok(Opened::By(format!("the host: its interface {interface} is part of {master}"))),
            None if up => return Ok(Opened::By(format!("the host: its interface {interface} is up"))),
            None => {}
        }
    }
    let nodes = optional(look.root.list(&format!("{path}/drm")))?.unwrap_or_default();
    if nodes.is_empty() && interfaces.is_empty() {
        // An interface that was moved into a container is shown there only.
        return Ok(Opened::Unknown(format!("its driver {driver} does not show whether the host uses it; unbind it")));
    }
    Ok(look.survey.holders(&look.root).opened(&Nodes::dri(&nodes)))
}
