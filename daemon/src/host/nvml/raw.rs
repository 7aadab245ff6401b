//! Calls of the library that the wrapper lacks. All `unsafe` of the hardware stands here.
#![expect(unsafe_code, reason = "nvml-wrapper 0.13 has no safe form of these calls")]

use nvml_wrapper::{Device, Nvml};
use nvml_wrapper_sys::bindings::{nvmlVgpuHeterogeneousMode_v1_t, nvmlVgpuPlacementList_v1_t, nvmlVgpuTypeId_t};

/// `NVML_SUCCESS`.
const SUCCESS: u32 = 0;
/// More placements than the smallest type has on the largest card.
const MOST_PLACEMENTS: usize = 256;

/// The version that a structure bears: its size and its number (`NVML_STRUCT_VERSION`).
fn version<T>(number: u32) -> u32 {
    u32::try_from(size_of::<T>()).unwrap_or(0) | number << 24
}

/// Whether mixed-size mode is on. Off where the library knows no such mode.
pub(super) fn mixed_size(nvml: &Nvml, device: &Device<'_>) -> bool {
    let Ok(get) = nvml.lib().nvmlDeviceGetVgpuHeterogeneousMode.as_ref() else { return false };
    let mut mode = nvmlVgpuHeterogeneousMode_v1_t { version: version::<nvmlVgpuHeterogeneousMode_v1_t>(1), mode: 0 };
    // SAFETY: the handle lives as long as `device`; the structure is of the version that it says and lives over the call.
    let answer = unsafe { get(device.handle(), &raw mut mode) };
    answer == SUCCESS && mode.mode == 1
}

/// Slots of a type and where it may begin; none where the library does not tell.
pub(super) fn placements(nvml: &Nvml, device: &Device<'_>, number: nvmlVgpuTypeId_t) -> Option<(u16, Vec<u16>)> {
    let get = nvml.lib().nvmlDeviceGetVgpuTypeSupportedPlacements.as_ref().ok()?;
    let mut ids = [0u32; MOST_PLACEMENTS];
    // The first version is the second without its last field, and is understood by all drivers that know placements.
    let mut list = nvmlVgpuPlacementList_v1_t {
        version: version::<nvmlVgpuPlacementList_v1_t>(1),
        placementSize: 0,
        count: MOST_PLACEMENTS as u32,
        placementIds: ids.as_mut_ptr(),
    };
    // SAFETY: the handle lives as long as `device`; the library goes by `version` and reads no further than the first version reaches;
    // `count` is the length of the array behind `placementIds`, which lives over the call.
    let answer = unsafe { get(device.handle(), number, (&raw mut list).cast()) };
    if answer != SUCCESS {
        return None;
    }
    let size = u16::try_from(list.placementSize).ok().filter(|size| *size > 0)?;
    let told = ids.get(..usize::try_from(list.count).ok()?)?;
    let mut starts: Vec<u16> = told.iter().filter_map(|id| u16::try_from(*id).ok()).collect();
    starts.sort_unstable();
    starts.dedup();
    Some((size, starts))
}
