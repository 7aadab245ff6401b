//! Making and removing mdevs: compare, write once, read back.

use headstart_core::gpu::Opened;
use headstart_core::id::{GpuId, MdevUuid, ProfileName};
use headstart_core::step::{Applied, FailureKind, StepError};
use nix::errno::Errno;

use super::{MDEVS, Parent, parents_with, profile_of, type_of, vm_name};
use crate::host::hardware::failure::{failure, unexpected};
use crate::host::hardware::survey::{Survey, gpu_of_parent, parent_of};
use crate::host::holders::{Holders, Nodes};
use crate::host::nvidia::params;
use crate::host::pci;
use crate::host::sysfs::{SysfsError, SysfsRoot, optional};

/// An mdev to make.
#[derive(Clone, Debug)]
pub(crate) struct NewMdev {
    pub(crate) gpu: GpuId,
    pub(crate) profile: ProfileName,
    pub(crate) uuid: MdevUuid,
    pub(crate) start: Option<u16>,
}

/// Makes an mdev. On VFs the first whose type can be made now gets it.
pub(crate) fn create(root: &SysfsRoot, new: &NewMdev) -> Result<Applied, StepError> {
    if let Some(applied) = adopt(root, new)? {
        return Ok(applied);
    }
    let survey = Survey::take(root);
    let parents = survey.parents_of(new.gpu).map_err(|error| unexpected(&error))?;
    if parents.is_empty() {
        return Err(failure(FailureKind::Gone, format!("{}: it is no parent of mdevs any more", new.gpu)));
    }
    let nvidia = is_nvidia(root, new.gpu);
    let with_type = parents_with(root, parents, nvidia, &new.profile).map_err(|error| unexpected(&error))?;
    if with_type.is_empty() {
        return Err(failure(FailureKind::Unsupported, format!("{}: it has no type {}", new.gpu, new.profile)));
    }
    let Some(path) = free(root, &with_type)? else { return Err(exhausted(new, &survey, parents)) };
    let path = path.as_str();
    let write = || root.write(&format!("{path}/create"), &new.uuid.to_string());
    let written = match write() {
        // RM answers EIO also while it is not ready; if it still offers the type, one more try tells.
        Err(error) if error.errno() == Some(Errno::EIO) && offers(root, path) && !exists(root, new.uuid) => write(),
        written => written,
    };
    if let Err(error) = written {
        return refused(root, new, path, &error, &survey, parents);
    }
    match adopt(root, new)? {
        Some(_) => {
            params::place(root, &folder(new.uuid), &format!("mdev {}", new.uuid), new.start).map(|()| Applied::Changed)
        }
        None => {
            Err(failure(FailureKind::Transient, format!("{}: mdev {} was made and is not there", new.gpu, new.uuid)))
        }
    }
}

/// What the refusal of `create` means.
fn refused(
    root: &SysfsRoot,
    new: &NewMdev,
    path: &str,
    error: &SysfsError,
    survey: &Survey,
    parents: &[Parent],
) -> Result<Applied, StepError> {
    match error.errno() {
        // Somebody was faster, or our own write of a moment ago came back late.
        Some(Errno::EEXIST) => match adopt(root, new)? {
            Some(applied) => Ok(applied),
            None => Err(failure(FailureKind::Conflict, error.to_string())),
        },
        Some(Errno::ENOSPC | Errno::EUSERS) => Err(exhausted(new, survey, parents)),
        // mdpy says ENOMEM when all its devices exist; EIO is all that RM says.
        Some(Errno::ENOMEM | Errno::EIO) if !offers(root, path) => Err(exhausted(new, survey, parents)),
        Some(Errno::EIO) => Err(failure(
            FailureKind::Transient,
            format!("{error}, although {} is offered; the kernel's log may say why", new.profile),
        )),
        Some(Errno::EINVAL) => Err(failure(FailureKind::Unsupported, error.to_string())),
        _ => Err(unexpected(error)),
    }
}

/// Takes an mdev of this UUID for the one to be made, if it is on this GPU and of this profile. None if there is none.
fn adopt(root: &SysfsRoot, new: &NewMdev) -> Result<Option<Applied>, StepError> {
    let other = |what: String| failure(FailureKind::Conflict, format!("mdev {}: it exists {what}", new.uuid));
    let gone_meanwhile = |error: SysfsError| if error.is_absent() { Ok(None) } else { Err(unexpected(&error)) };
    let parent = match parent_of(root, new.uuid) {
        Ok(Some(parent)) => parent,
        Ok(None) => return Ok(None),
        Err(error) => return Err(unexpected(&error)),
    };
    let gpu = match gpu_of_parent(root, &parent) {
        Ok(gpu) => gpu.map(|(gpu, _)| gpu),
        Err(error) => return gone_meanwhile(error),
    };
    if gpu != Some(new.gpu) {
        return Err(other(format!("on {parent}, not on {}", new.gpu)));
    }
    match profile(root, new.uuid, is_nvidia(root, new.gpu)) {
        Ok(profile) if profile == new.profile => Ok(Some(Applied::AlreadySo)),
        Ok(profile) => Err(other(format!("as {profile}, not as {}", new.profile))),
        Err(error) => Err(other(format!("and its type is not known: {}", error.text))),
    }
}

/// The directory of the type on the first parent that can make one more now: the GPU itself, or a VF.
fn free(root: &SysfsRoot, with_type: &[(Parent, String)]) -> Result<Option<String>, StepError> {
    let mut unread = None;
    for (_, path) in with_type {
        match root.number(&format!("{path}/available_instances")) {
            Ok(0) => {}
            Ok(_) => return Ok(Some(path.clone())),
            Err(error) => unread = Some(error),
        }
    }
    unread.map_or(Ok(None), |error| Err(unexpected(&error)))
}

fn offers(root: &SysfsRoot, path: &str) -> bool {
    root.number(&format!("{path}/available_instances")).is_ok_and(|n| n > 0)
}

fn exists(root: &SysfsRoot, uuid: MdevUuid) -> bool {
    root.exists(&format!("{MDEVS}/{uuid}"))
}

/// No parent makes one more; says what stands there, since the driver does not say why.
fn exhausted(new: &NewMdev, survey: &Survey, parents: &[Parent]) -> StepError {
    let mdevs: usize = parents.iter().map(|parent| survey.mdevs_on(&parent.name).map_or(0, <[MdevUuid]>::len)).sum();
    let on = if parents.iter().any(|parent| parent.vf.is_some()) { "on no VF" } else { "not" };
    let text = format!("{}: {} can {on} be made beside the {mdevs} mdevs that are there", new.gpu, new.profile);
    failure(FailureKind::Exhausted, text)
}

/// Removes an mdev that nobody has open. The write can block until whoever has it lets go, so that is looked at first.
pub(crate) fn remove(
    root: &SysfsRoot,
    gpu: GpuId,
    expected: &ProfileName,
    uuid: MdevUuid,
) -> Result<Applied, StepError> {
    let conflict = |what: String| failure(FailureKind::Conflict, format!("mdev {uuid}: {what}"));
    let Some(parent) = parent_of(root, uuid).map_err(|error| unexpected(&error))? else {
        return Ok(Applied::AlreadySo);
    };
    let on = gpu_of_parent(root, &parent).map_err(|error| unexpected(&error))?;
    if on.map(|(on, _)| on) != Some(gpu) {
        return Err(conflict(format!("it is on {parent}, not on {gpu}")));
    }
    let profile = profile(root, uuid, is_nvidia(root, gpu))?;
    if profile != *expected {
        return Err(conflict(format!("it is a {profile}, not a {expected}")));
    }
    let path = format!("{MDEVS}/{uuid}");
    if let Some(vm) = vm_name(root, &path).map_err(|error| unexpected(&error))? {
        return Err(conflict(format!("{vm} has it open")));
    }
    match Holders::scan(root).opened(&Nodes::vfio(root, &path).map_err(|error| unexpected(&error))?) {
        Opened::No => {}
        Opened::By(who) => return Err(conflict(format!("{who} has it open"))),
        Opened::Unknown(why) => {
            return Err(failure(FailureKind::Denied, format!("mdev {uuid}: whether it is open is not known: {why}")));
        }
    }
    let written = root.write(&format!("{path}/remove"), "1");
    match written {
        _ if !exists(root, uuid) => Ok(Applied::Changed),
        Ok(()) => Err(failure(FailureKind::Transient, format!("mdev {uuid}: it was removed and is still there"))),
        // Going, or its process lingers.
        Err(error) if matches!(error.errno(), Some(Errno::EBUSY | Errno::EAGAIN | Errno::ENODEV)) => {
            Err(failure(FailureKind::Transient, error.to_string()))
        }
        // Old drivers say so when a VM has it open: one came in just now.
        Err(error) if error.errno() == Some(Errno::EPERM) => {
            let text = format!("{error}; its driver may hold it for a VM that opened it just now");
            Err(failure(FailureKind::Conflict, text))
        }
        Err(error) => Err(unexpected(&error)),
    }
}

/// Brings the parameters of an mdev up to what they should be.
pub(crate) fn prepare(root: &SysfsRoot, uuid: MdevUuid, params: &str) -> Result<Applied, StepError> {
    params::prepare(root, &folder(uuid), &format!("mdev {uuid}"), params)
}

/// The directory of NVIDIA's files of an mdev.
fn folder(uuid: MdevUuid) -> String {
    format!("{MDEVS}/{uuid}/nvidia")
}

/// The profile of an mdev, or why it is not known.
fn profile(root: &SysfsRoot, uuid: MdevUuid, nvidia: bool) -> Result<ProfileName, StepError> {
    let id = type_of(root, uuid).map_err(|error| unexpected(&error))?;
    // The link leads to the type's directory, whatever parent it is on.
    profile_of(root, &format!("{MDEVS}/{uuid}/mdev_type"), &id, nvidia)
        .map_err(|error| failure(FailureKind::Transient, error.to_string()))
}

fn is_nvidia(root: &SysfsRoot, gpu: GpuId) -> bool {
    let vendor =
        gpu.pci().and_then(|pf| optional(root.hexadecimal(&format!("{}/vendor", pci::path(pf)))).ok().flatten());
    vendor == Some(u32::from(pci::NVIDIA))
}
