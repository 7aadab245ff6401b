//! Intel GVT-g: mdevs on the integrated GPU, out of a budget of graphics memory and fences.

use std::collections::BTreeMap;
use std::time::Duration;

use nix::errno::Errno;

use crate::address::address;
use crate::blueprint::Part;
use crate::budget::{BudgetBoard, BudgetType, Exhausted};
use crate::host::Vfio;
use crate::pci::{Function, Kind, Physical};

/// An integrated GPU with GVT-g, as a part of a [`Blueprint`](crate::Blueprint). Types are `i915-GVTg_V5_1`, `_2`, `_4` and `_8`.
#[derive(Clone, Debug)]
#[must_use]
pub struct Gvt {
    address: String,
}

impl Gvt {
    /// A Skylake GPU; they are all at `0000:00:02.0`.
    #[track_caller]
    pub fn new(gpu: &str) -> Self {
        Self { address: address(gpu).to_string() }
    }
}

impl From<Gvt> for Part {
    fn from(gpu: Gvt) -> Self {
        // Low and high graphics memory in MB, fences, resolution, weight.
        let one = |id: &str, low: u32, high: u32, resolution: &str, weight: u32| BudgetType {
            id: format!("i915-GVTg_V5_{id}"),
            name: format!("GVTg_V5_{id}"),
            description: Some(format!(
                "low_gm_size: {low}MB\nhigh_gm_size: {high}MB\nfence: 4\nresolution: {resolution}\nweight: {weight}"
            )),
            costs: vec![low, high, 4],
        };
        let function = Function {
            address: address(&gpu.address),
            kind: Kind { vendor: 0x8086, device: 0x1912, subsystem: (0x8086, 0x2015), class: 0x03_0000 },
            driver: None,
            driver_override: None,
            native: Some("i915".to_owned()),
            vfio: Vfio { group: 0, device: 0 },
        };
        Self(Box::new(BudgetBoard {
            name: None,
            pf: Some(Physical { function, sriov: None, variant: None }),
            driver: "intel_vgpu_mdev",
            types: vec![
                one("1", 512, 2048, "1920x1200", 16),
                one("2", 256, 1024, "1920x1200", 8),
                one("4", 128, 512, "1920x1200", 4),
                one("8", 64, 384, "1024x768", 2),
            ],
            // What is left of the aperture and of 32 fences when the host has taken its share.
            budget: vec![512, 2816, 28],
            exhausted: Exhausted(Errno::ENOSPC),
            mdevs: BTreeMap::new(),
            slow_start: Duration::ZERO,
            registered: false,
        }))
    }
}
