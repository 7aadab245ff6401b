//! Parameters and placements of a vGPU, by the files of its `nvidia` directory: of an mdev or of a VF, which have the same.
//!
//! Parameters are comma-separated `name=value` (NVIDIA's guide, section 2.8.5); they are lost with the device, read when a VM opens it,
//! and cannot be changed under a VM. A placement is chosen by `placement_id` where the driver has that file, else by a parameter.

use headstart_core::step::{Applied, FailureKind, StepError};
use nix::errno::Errno;

use crate::host::hardware::failure::{failure, unexpected};
use crate::host::sysfs::{SysfsError, SysfsRoot, garbage};

/// Where a vGPU begins: by the file of newer drivers, which is the driver's word, else by its parameters, which are our wish.
pub(crate) fn start(root: &SysfsRoot, folder: &str) -> Option<u16> {
    let told = root.read(&format!("{folder}/placement_id")).ok();
    let wished = || root.read(&format!("{folder}/vgpu_params")).ok().and_then(|params| placement(&params));
    told.and_then(|text| text.trim().parse().ok()).or_else(wished)
}

/// Chooses the placement of a vGPU that was just made and that nobody has open. `who` is its name in what is said of failures.
pub(crate) fn place(root: &SysfsRoot, folder: &str, who: &str, start: Option<u16>) -> Result<(), StepError> {
    let Some(start) = start else { return Ok(()) };
    // It stands elsewhere then; the next look sees that, and what is misplaced is made anew.
    let failed =
        |why: String| failure(FailureKind::Transient, format!("{who}: placement {start} was not to be had: {why}"));
    let path = format!("{folder}/placement_id");
    if !root.exists(&path) {
        return set(root, folder, None, Some(start)).map(|_| ()).map_err(|error| failed(error.to_string()));
    }
    let now = || root.read(&path).map_err(|error| failed(error.to_string()));
    if now()?.trim() == start.to_string() {
        return Ok(());
    }
    root.write(&path, &start.to_string()).map_err(|error| failed(error.to_string()))?;
    let after = now()?;
    if after.trim() == start.to_string() { Ok(()) } else { Err(failed(format!("it says {after:?}"))) }
}

/// Brings the parameters of a vGPU up to what they should be, before a VM opens it.
pub(crate) fn prepare(root: &SysfsRoot, folder: &str, who: &str, params: &str) -> Result<Applied, StepError> {
    if !root.exists(&format!("{folder}/vgpu_params")) {
        let text = format!("{who}: it takes no parameters; leave out `vgpu-params`");
        return Err(failure(FailureKind::Unsupported, text));
    }
    set(root, folder, Some(params), None).map_err(|error| match error.errno() {
        Some(Errno::EPERM) => failure(FailureKind::Conflict, format!("{error}; a VM opened it just now")),
        Some(Errno::E2BIG | Errno::EINVAL) => {
            failure(FailureKind::Unsupported, format!("{error}; see `vgpu-params` in this GPU's [[gpu]]"))
        }
        _ => unexpected(&error),
    })
}

/// Writes `vgpu_params` unless they are so: the given ones, or those that are there; with the placement that is there, or a new one.
fn set(root: &SysfsRoot, folder: &str, params: Option<&str>, start: Option<u16>) -> Result<Applied, SysfsError> {
    let path = format!("{folder}/vgpu_params");
    let before = root.read(&path)?;
    let wanted = with_placement(params.unwrap_or(&before), start.or_else(|| placement(&before)));
    if before.trim() == wanted {
        return Ok(Applied::AlreadySo);
    }
    // A blank clears.
    root.write(&path, if wanted.is_empty() { " " } else { &wanted })?;
    let after = root.read(&path)?;
    if after.trim() == wanted {
        return Ok(Applied::Changed);
    }
    Err(garbage(&path, "the parameters that were just written", &after))
}

/// The placement that `nvidia/vgpu_params` asks for.
fn placement(params: &str) -> Option<u16> {
    let ids = params.split(',').filter_map(|param| param.split_once('='));
    ids.filter(|(key, _)| key.trim() == PLACEMENT).find_map(|(_, value)| value.trim().parse().ok())
}

/// The parameter that chooses a placement.
const PLACEMENT: &str = "vgpu-placement-id";

/// Parameters with the placement that is wanted, if one is.
fn with_placement(params: &str, start: Option<u16>) -> String {
    let others = params.split(',').map(str::trim);
    let mut all: Vec<String> = others
        .filter(|param| !param.is_empty() && param.split_once('=').is_none_or(|(key, _)| key.trim() != PLACEMENT))
        .map(str::to_owned)
        .collect();
    all.extend(start.map(|start| format!("{PLACEMENT}={start}")));
    all.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_placement_is_one_parameter_among_others() {
        assert_eq!(placement("frame_rate_limiter=0, vgpu-placement-id=12"), Some(12));
        assert_eq!(placement("vgpu-placement-id=x"), None);
        assert_eq!(
            with_placement("frame_rate_limiter=0,vgpu-placement-id=6", Some(12)),
            "frame_rate_limiter=0,vgpu-placement-id=12"
        );
        assert_eq!(with_placement("", None), "");
    }
}
