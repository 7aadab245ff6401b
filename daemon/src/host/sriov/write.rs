//! Enabling VFs through `sriov_numvfs`.

use headstart_core::id::PciAddress;
use headstart_core::step::{Applied, FailureKind, StepError};
use nix::errno::Errno;

use crate::host::hardware::failure::{failure, unexpected};
use crate::host::pci;
use crate::host::sysfs::SysfsRoot;

/// Enables VFs on a PF that has none.
pub(crate) fn enable(root: &SysfsRoot, pf: PciAddress, vfs: u16) -> Result<Applied, StepError> {
    let at = |name: &str| format!("{}/{name}", pci::path(pf));
    let numvfs = at("sriov_numvfs");
    // Waits while somebody else is writing it; we are on a thread of our own.
    let before = root.number(&numvfs).map_err(|error| unexpected(&error))?;
    if before == u32::from(vfs) {
        return Ok(Applied::AlreadySo);
    }
    if before != 0 {
        let text = format!("{pf}: {before} VFs are enabled; another number needs 0 first, which takes them all away");
        return Err(failure(FailureKind::Conflict, text));
    }
    // VFs come without a driver, so that nothing on the host begins to use them; libvirt binds them through `driver_override`, which
    // this does not hinder (`pci_device_can_probe`). Kernels before 4.12 have no such file.
    let autoprobe = at("sriov_drivers_autoprobe");
    if root.exists(&autoprobe) && root.read(&autoprobe).is_ok_and(|now| now.trim() != "0") {
        root.write(&autoprobe, "0").map_err(|error| unexpected(&error))?;
    }
    if let Err(error) = root.write(&numvfs, &vfs.to_string()) {
        return Err(match error.errno() {
            // The file is there: it was read just now.
            Some(Errno::ENOENT) => {
                let driver = pci::driver(root, pf).ok().flatten();
                let driver = driver.map_or_else(
                    || "no driver is bound".into(),
                    |driver| format!("its driver {driver} does not let it"),
                );
                let text =
                    format!("{pf}: VFs cannot be enabled through sysfs: {driver}; enable them as its vendor says");
                failure(FailureKind::Unsupported, text)
            }
            Some(Errno::EBUSY) => failure(FailureKind::Conflict, error.to_string()),
            Some(Errno::EINVAL | Errno::ERANGE | Errno::ENOSYS | Errno::EOPNOTSUPP) => {
                failure(FailureKind::Unsupported, error.to_string())
            }
            // No room for their registers or bus numbers: the firmware's settings decide.
            Some(Errno::ENOMEM | Errno::ENOSPC) => failure(
                FailureKind::Unsupported,
                format!("{error}; see SR-IOV and large address settings in the firmware"),
            ),
            _ => unexpected(&error),
        });
    }
    let after = pci::virtual_functions(root, pf).map_err(|error| unexpected(&error))?;
    if after.is_empty() {
        return Err(failure(FailureKind::Transient, format!("{pf}: {vfs} VFs were enabled, and none is there yet")));
    }
    // A driver may enable fewer than asked; the next look goes by what is there.
    Ok(Applied::Changed)
}
