//! The host as a thing to look at and to act on: the one port between decisions and the world.

pub mod desktop_xml;
pub mod domain_xml;
pub mod hardware;
mod holders;
pub mod hook_xml;
pub mod libvirt;
mod mdev;
mod mig;
mod nvidia;
mod nvml;
mod pci;
mod profile;
pub mod real;
pub mod sim;
mod sriov;
pub mod sysfs;
mod vfio_variant;

use headstart_core::observed::Observed;
use headstart_core::step::{Applied, Step, StepError};

/// The host. Blocking; called from worker threads only.
pub trait Host: Send + Sync {
    /// One look. Partial truth: what could not be seen is named inside.
    fn observe(&self) -> Observed;

    /// Carries out one step. Compares with what the step relies on just before it writes; holds no policy and no retry.
    ///
    /// # Errors
    /// What went wrong, by what the loop has to do about it, naming the object.
    fn apply(&self, step: &Step) -> Result<Applied, StepError>;
}
