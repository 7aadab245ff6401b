//! PFs of every interface and partitioning rule, small enough to be full soon, and what somebody left on them.

use std::collections::BTreeMap;

use headstart_core::gpu::{Gpu, GpuState, Interface, Partitioning, Profile};
use headstart_core::id::{DesktopName, DomainUuid, GpuId, MdevUuid, PciAddress, ProfileName};
use headstart_core::step::Step;
use headstart_core::text::Scene as Text;
use headstart_core::unit::FramebufferMib;
use headstartd::host::Host;
use headstartd::host::sim::SimHost;

use super::scene::{Board, Kind, Leftover};

/// Two small ones of different series, a large one, a VF's share, and one that is offered nowhere.
const PROFILES: [&str; 5] = ["S-4", "T-4", "M-8", "V-8", "Z-1"];

/// How a GPU is keyed in observations and steps.
pub(super) type GpuKey = GpuId;

fn gpu_key(text: &str) -> GpuKey {
    text.parse().unwrap()
}

fn pf(board: usize) -> String {
    format!("0000:{:02x}:00.0", 0x10 + board)
}

fn vf(board: usize, n: u32) -> PciAddress {
    pf(board).parse::<PciAddress>().unwrap().offset(n).unwrap()
}

pub(super) fn profile_name(n: usize) -> ProfileName {
    PROFILES[n % PROFILES.len()].parse().unwrap()
}

fn alien(board: usize, nth: usize) -> MdevUuid {
    MdevUuid::new(Text::uuid(&format!("alien {board} {nth}")).uuid())
}

impl Board {
    /// Puts the leftovers on an empty PF.
    pub(super) fn leave(&self, n: usize, gpu: &Gpu, host: &SimHost, desktops: &[(DesktopName, DomainUuid)]) {
        let address = gpu.address;
        if let Kind::FixedVfs | Kind::SrIov | Kind::DormantVfs = self.kind {
            // VFs that are on: all are there, and the leftovers say how.
            if self.kind == Kind::FixedVfs || !self.leftovers.is_empty() {
                let vfs = if self.kind == Kind::DormantVfs { 3 } else { 2 };
                let _ = host.apply(&Step::SetNumVfs { gpu: address, vfs });
            }
            if gpu.interface == Interface::Vf {
                return;
            }
        }
        for (nth, Leftover { of, profile, .. }) in self.leftovers.iter().enumerate() {
            let wanted = &gpu.profiles[profile % gpu.profiles.len()];
            let profile = wanted.name.clone();
            if self.kind == Kind::MigInstances {
                let start = wanted.starts[nth % wanted.starts.len()];
                let _ = host.apply(&Step::CreateGpuInstance { gpu: address, profile: profile.clone(), start });
                if of.is_none() {
                    continue;
                }
            }
            let step = if gpu.interface == Interface::VfioVariant {
                Step::SetVgpuType { gpu: address, vf: vf(n, 1 + nth as u32), profile, start: None }
            } else {
                let own = of.and_then(|of| desktops.get(of % desktops.len().max(1)));
                let uuid = own.map_or_else(|| alien(n, nth), |(_, uuid)| uuid.mdev());
                Step::CreateMdev { gpu: address, profile, uuid, start: None }
            };
            let _ = host.apply(&step);
        }
    }
}

impl Kind {
    /// An empty PF of this kind: 16 GiB in 8 slots, four small or two large vGPUs, three VFs.
    pub(super) fn gpu(self, n: usize) -> Gpu {
        use Kind::{
            Budget, DormantVfs, FixedVfs, MdevEqualSize, MdevMixedSize, MdevOnVfs, MdevOneType, MigInstances, SrIov,
            VariantEqualSize, VariantMig, VariantMixedSize, VariantOneType,
        };
        let partitioning = match self {
            MdevEqualSize | MdevOnVfs | VariantEqualSize | DormantVfs => {
                Partitioning::EqualSize { series_may_mix: true }
            }
            MdevOneType | VariantOneType => Partitioning::EqualSize { series_may_mix: false },
            MdevMixedSize | VariantMixedSize => Partitioning::MixedSize { slots: 8 },
            VariantMig | MigInstances => Partitioning::Mig { slots: 8 },
            Budget => Partitioning::Budget { slots: 8 },
            FixedVfs => Partitioning::FixedVfs,
            SrIov => Partitioning::SrIov { vfs: 2 },
        };
        let interface = match self {
            MdevEqualSize | MdevOneType | MdevMixedSize | MdevOnVfs | Budget => Interface::Mdev,
            VariantEqualSize | VariantOneType | VariantMixedSize | VariantMig | MigInstances | DormantVfs => {
                Interface::VfioVariant
            }
            FixedVfs | SrIov => Interface::Vf,
        };
        let slotted = matches!(partitioning, Partitioning::MixedSize { .. } | Partitioning::Mig { .. });
        let profile = |n: usize, mib, max_instances, slots, starts: &[u16]| Profile {
            name: profile_name(n),
            framebuffer: FramebufferMib::new(mib),
            max_instances,
            compute: false,
            slots: if slotted || self == Budget { slots } else { 0 },
            starts: if slotted { starts.to_vec() } else { Vec::new() },
        };
        let profiles = match self {
            FixedVfs | SrIov => vec![profile(3, 8192, 2, 0, &[])],
            // As on A100: not every start that is free is permitted.
            VariantMig | MigInstances => vec![profile(0, 4096, 3, 2, &[0, 2, 4]), profile(2, 8192, 2, 4, &[0, 4])],
            _ => vec![
                profile(0, 4096, 4, 2, &[0, 2, 4, 6]),
                profile(1, 4096, 4, 2, &[0, 2, 4, 6]),
                profile(2, 8192, 2, 4, &[0, 4]),
            ],
        };
        let with_vfs = self == MdevOnVfs || (interface == Interface::VfioVariant && self != DormantVfs);
        Gpu {
            address: gpu_key(&if self == Budget { format!("mbochs{n}") } else { pf(n) }),
            name: format!("{self:?}"),
            framebuffer: FramebufferMib::new(16_384),
            interface,
            partitioning,
            profiles,
            vfs: if with_vfs { (1..=3).map(|vfs| vf(n, vfs)).collect() } else { Vec::new() },
            dormant_vfs: if self == DormantVfs { 3 } else { 0 },
            instances: (self == MigInstances).then(BTreeMap::new),
            vgpus: BTreeMap::new(),
            state: GpuState::Ready,
        }
    }
}
