//! Which GPUs the operator gave to headstart, and what the operator says of them that the host does not.

use headstart_core::gpu::Profile;
use headstart_core::id::{GpuId, ProfileName};
use headstart_core::unit::FramebufferMib;

use crate::host::pci::Function;
use crate::host::profile::NvidiaType;

/// One `[[gpu]]` of the configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GpuRule {
    /// Which GPUs it gives.
    pub select: Selector,
    /// What shares of the board are called: `V710` of `V710-1/4`. Else the board's name by its ids, else the ids.
    pub board: Option<String>,
    /// VFs to enable where their number is free to choose; else all there may be.
    pub vfs: Option<u16>,
    /// Framebuffer of the whole board. This and what is said of profiles goes before what the host says.
    pub framebuffer: Option<FramebufferMib>,
    /// Profiles of the board.
    pub profiles: Vec<ProfileRule>,
    /// Parameters of every vGPU (`frame_rate_limiter=0`), set before a VM opens it.
    pub vgpu_params: Option<String>,
}

/// Which GPUs a rule is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selector {
    /// This one.
    Id(GpuId),
    /// All GPUs of this host with these ids and this driver; what is none is any. Only display controllers and processing
    /// accelerators that can be partitioned: `vendor = 8086` would else be the whole chipset.
    Like {
        /// Who made it.
        vendor: Option<u16>,
        /// What it is.
        device: Option<u16>,
        /// What is bound to it.
        driver: Option<String>,
    },
}

impl Default for Selector {
    /// Every GPU.
    fn default() -> Self {
        Self::Like { vendor: None, device: None, driver: None }
    }
}

/// A profile as the operator describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProfileRule {
    /// Its name: for NVIDIA without the brand, for other mdevs the type's directory.
    pub name: ProfileName,
    /// NVIDIA's number for it.
    pub number: Option<u32>,
    /// Framebuffer of one.
    pub framebuffer: Option<FramebufferMib>,
    /// Most on one GPU.
    pub max_instances: Option<u16>,
    /// What one takes of an mdev parent's one store.
    pub slots: Option<u16>,
}

impl Selector {
    /// Whether this function, which is a GPU that can be partitioned, is meant.
    pub(crate) fn fits(&self, function: &Function) -> bool {
        match self {
            Self::Id(id) => *id == GpuId::Pci(function.address),
            Self::Like { vendor, device, driver } => {
                vendor.is_none_or(|vendor| vendor == function.vendor)
                    && device.is_none_or(|device| device == function.device)
                    && driver.as_ref().is_none_or(|driver| Some(driver) == function.driver.as_ref())
            }
        }
    }
}

impl GpuRule {
    /// The rule that gives this one GPU and says nothing else.
    pub fn of(id: GpuId) -> Self {
        Self { select: Selector::Id(id), ..Self::default() }
    }

    /// What is said of a profile.
    pub(crate) fn profile(&self, name: &ProfileName) -> Option<&ProfileRule> {
        self.profiles.iter().find(|profile| profile.name == *name)
    }

    /// Lets the operator's word stand before the host's.
    pub(crate) fn correct(&self, profile: &mut Profile) {
        if let Some(rule) = self.profile(&profile.name) {
            profile.framebuffer = rule.framebuffer.unwrap_or(profile.framebuffer);
            profile.max_instances = rule.max_instances.unwrap_or(profile.max_instances);
        }
    }

    /// The same for a type of NVIDIA.
    pub(crate) fn correct_type(&self, it: &mut NvidiaType) {
        if let Some(rule) = self.profile(&it.name) {
            it.framebuffer = rule.framebuffer.unwrap_or(it.framebuffer);
            it.max_instances = rule.max_instances.or(it.max_instances);
        }
    }
}
