//! Giving a type to a VF and taking it: compare, write once, read back.

use headstart_core::gpu::Opened;
use headstart_core::id::{GpuId, PciAddress, ProfileName};
use headstart_core::step::{Applied, FailureKind, StepError};
use nix::errno::Errno;

use super::text::parse_creatable;
use super::{current, folder};
use crate::host::hardware::failure::{failure, unexpected};
use crate::host::holders::{Holders, Nodes};
use crate::host::nvidia::params;
use crate::host::pci;
use crate::host::profile::type_name;
use crate::host::sysfs::{SysfsError, SysfsRoot, garbage, optional};

/// A type to give.
#[derive(Clone, Debug)]
pub(crate) struct NewType {
    pub(crate) gpu: GpuId,
    pub(crate) vf: PciAddress,
    pub(crate) profile: ProfileName,
    /// Its number, as far as the last look knew it.
    pub(crate) number: Option<u32>,
    pub(crate) start: Option<u16>,
}

/// What a VF could be given now.
pub(super) fn creatable(root: &SysfsRoot, vf: PciAddress) -> Result<Vec<(u32, String)>, SysfsError> {
    let path = format!("{}/creatable_vgpu_types", folder(vf));
    parse_creatable(&root.read_long(&path)?).map_err(|line| garbage(&path, "a line of number and name", &line))
}

/// Gives a type to a VF that has none.
pub(crate) fn set(root: &SysfsRoot, new: &NewType) -> Result<Applied, StepError> {
    let (vf, profile) = (new.vf, &new.profile);
    belongs(root, vf, new.gpu)?;
    let path = current(vf);
    let before = root.number(&path).map_err(|error| unexpected(&error))?;
    let offered = creatable(root, vf);
    let named = |(_, name): &&(u32, String)| type_name(name).is_ok_and(|name| name == *profile);
    let found = offered.as_ref().ok().and_then(|types| types.iter().find(named)).map(|(number, _)| *number);
    if before != 0 {
        // Once a VF has a type it may offer none, so only what was known before names it.
        let same = new.number.or(found) == Some(before);
        let text = format!("VF {vf}: it has vGPU type {before} already");
        return if same {
            place(root, new).map(|()| Applied::AlreadySo)
        } else {
            Err(failure(FailureKind::Conflict, text))
        };
    }
    let Some(number) = found else {
        return Err(match offered {
            Ok(types) => failure(
                FailureKind::Exhausted,
                format!("VF {vf}: it does not offer {profile} now, but {} other types", types.len()),
            ),
            Err(error) => failure(FailureKind::Transient, format!("VF {vf}: what it offers is not known: {error}")),
        });
    };
    let write = || root.write(&path, &number.to_string());
    let still = || creatable(root, vf).is_ok_and(|types| types.iter().any(|(it, _)| *it == number));
    let written = match write() {
        // RM answers EIO also while it is not ready; if it still offers the type, one more try tells.
        Err(error) if error.errno() == Some(Errno::EIO) && still() && root.number(&path) == Ok(0) => write(),
        written => written,
    };
    let after = root.number(&path).map_err(|error| unexpected(&error))?;
    match written {
        _ if after == number => place(root, new).map(|()| Applied::Changed),
        _ if after != 0 => {
            Err(failure(FailureKind::Conflict, format!("VF {vf}: somebody gave it vGPU type {after} just now")))
        }
        Ok(()) => Err(failure(FailureKind::Transient, format!("VF {vf}: it was given {profile} and has no type"))),
        Err(error) => Err(match error.errno() {
            // The driver of NVIDIA says EIO, others ENODEV; neither says why.
            Some(Errno::EIO | Errno::ENODEV) if !still() => failure(FailureKind::Exhausted, error.to_string()),
            Some(Errno::EIO | Errno::ENODEV) => failure(
                FailureKind::Transient,
                format!("{error}, although {profile} is offered; the kernel's log may say why"),
            ),
            // It says that there is a vGPU while the type reads 0: one that is on its way out.
            Some(Errno::EPERM | Errno::EBUSY | Errno::ENOMEM) => failure(FailureKind::Transient, error.to_string()),
            Some(Errno::EINVAL | Errno::ERANGE) => failure(FailureKind::Unsupported, error.to_string()),
            _ => unexpected(&error),
        }),
    }
}

fn place(root: &SysfsRoot, new: &NewType) -> Result<(), StepError> {
    params::place(root, &folder(new.vf), &format!("VF {}", new.vf), new.start)
}

/// Brings the parameters of a VF up to what they should be.
pub(crate) fn prepare(root: &SysfsRoot, vf: PciAddress, params: &str) -> Result<Applied, StepError> {
    params::prepare(root, &folder(vf), &format!("VF {vf}"), params)
}

/// Takes the type from a VF that nobody has open.
pub(crate) fn clear(
    root: &SysfsRoot,
    gpu: GpuId,
    vf: PciAddress,
    expected: &ProfileName,
    number: Option<u32>,
) -> Result<Applied, StepError> {
    belongs(root, vf, gpu)?;
    let path = current(vf);
    let conflict = |what: String| failure(FailureKind::Conflict, format!("VF {vf}: {what}"));
    let before = root.number(&path).map_err(|error| unexpected(&error))?;
    if before == 0 {
        return Ok(Applied::AlreadySo);
    }
    // A VF is reused: what it has now may be its next owner's.
    if number != Some(before) {
        return Err(conflict(format!("it has vGPU type {before}, not that of {expected}")));
    }
    let nodes = Nodes::vfio(root, &pci::path(vf)).map_err(|error| unexpected(&error))?;
    match Holders::scan(root).opened(&nodes) {
        Opened::No => {}
        Opened::By(who) => return Err(conflict(format!("{who} has it open"))),
        Opened::Unknown(why) => {
            return Err(failure(FailureKind::Denied, format!("VF {vf}: whether it is open is not known: {why}")));
        }
    }
    let written = root.write(&path, "0");
    let after = root.number(&path).map_err(|error| unexpected(&error))?;
    match written {
        _ if after == 0 => Ok(Applied::Changed),
        Ok(()) => Err(failure(FailureKind::Transient, format!("VF {vf}: it was cleared and has vGPU type {after}"))),
        Err(error) => Err(match error.errno() {
            // A VM opened it just now.
            Some(Errno::EPERM) => conflict(error.to_string()),
            Some(Errno::EBUSY | Errno::EIO) => failure(FailureKind::Transient, error.to_string()),
            _ => unexpected(&error),
        }),
    }
}

/// The VF is one of this GPU.
fn belongs(root: &SysfsRoot, vf: PciAddress, gpu: GpuId) -> Result<(), StepError> {
    match optional(root.link_name(&format!("{}/physfn", pci::path(vf)))) {
        Ok(Some(pf)) if pf == gpu.to_string() => Ok(()),
        Ok(Some(pf)) => Err(failure(FailureKind::Conflict, format!("VF {vf}: it belongs to {pf}, not to {gpu}"))),
        Ok(None) => Err(failure(FailureKind::Gone, format!("VF {vf}: it is not there"))),
        Err(error) => Err(unexpected(&error)),
    }
}
