//! The file of `--simulate`: a made-up host. GPUs with their partitioning rule and profiles, domains, faults to come.
//!
//! Read as strictly as the configuration. Plain values: what the hardware would refuse is the simulator's business; only
//! what no host could mean (a profile that no GPU offers, two GPUs at one address) is refused here.

mod parse;

use std::path::Path;

use headstart_core::desktop::AttachMode;
use headstart_core::id::{DesktopName, GpuId, PoolName, ProfileName, UserName};
use headstart_core::unit::{FramebufferMib, Span, Time};

use super::document::{Document, Problem};
use super::{ConfigErrors, Zone};

/// A made-up host.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Simulation {
    /// When the virtual clock begins; none: at the first session of the trace, or now.
    pub start: Option<Time>,
    /// For whatever is drawn by lot.
    pub seed: u64,
    /// In the order of the file.
    pub gpus: Vec<SimulatedGpu>,
    /// In the order of the file, `count` unrolled.
    pub domains: Vec<SimulatedDomain>,
    /// What goes wrong.
    pub faults: Vec<Fault>,
}

/// A PF.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SimulatedGpu {
    /// Its address.
    pub address: GpuId,
    /// Board name.
    pub name: String,
    /// All of it.
    pub framebuffer: FramebufferMib,
    /// How its parts are made.
    pub interface: Interface,
    /// What may stand beside what.
    pub partitioning: Partitioning,
    /// VFs that exist at the start; 0: none.
    pub vfs: u32,
    /// VFs there may be.
    pub max_vfs: u32,
    /// With MIG: a GPU instance has to be made before each vGPU.
    pub gpu_instances: bool,
    /// What it offers.
    pub profiles: Vec<SimulatedProfile>,
    /// vGPUs that were there before us and are not ours.
    pub strangers: Vec<Stranger>,
}

/// How vGPUs are made, see the interfaces of the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interface {
    /// `mdev_supported_types`.
    Mdev,
    /// `nvidia/current_vgpu_type` of a VF.
    VfioVariant,
    /// Whole VFs.
    Sriov,
}

/// Which vGPUs a PF can hold together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Partitioning {
    /// Time-sliced, all of one framebuffer size.
    EqualSize,
    /// Time-sliced, sizes mixed, at placements.
    MixedSize,
    /// Slices of the chip.
    Mig,
    /// As many equal shares as there are VFs, decided when the driver loads (AMD).
    FixedVfs,
    /// VFs whose number can be set.
    Sriov,
}

/// A profile that a GPU offers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SimulatedProfile {
    /// Its name.
    pub name: ProfileName,
    /// Framebuffer of one.
    pub framebuffer: FramebufferMib,
    /// At most so many on one PF.
    pub max_instances: u32,
    /// `Q`, `B`, `A`, `C`; none where series mean nothing.
    pub series: Option<String>,
    /// Slices of the chip one takes, with MIG.
    pub slices: Option<u32>,
    /// Where one may lie, with mixed sizes or MIG; none: anywhere at multiples of its size.
    pub placements: Option<Placements>,
}

/// Places of a profile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placements {
    /// Slots it takes.
    pub size: u32,
    /// First slots it may take.
    pub starts: Vec<u32>,
}

/// A vGPU that is not ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stranger {
    /// Its profile.
    pub profile: ProfileName,
    /// The domain that uses it; none: it lies idle.
    pub domain: Option<DesktopName>,
}

/// A libvirt domain under management.
#[derive(Clone, Debug, PartialEq)]
pub struct SimulatedDomain {
    /// Its name.
    pub name: DesktopName,
    /// How it gets its device.
    pub attach: AttachMode,
    /// In order of wish.
    pub profiles: Vec<ProfileName>,
    /// Higher goes first.
    pub priority: i32,
    /// Its one user, if it is dedicated and the user has another name than the trace gives the desktop's.
    pub user: Option<UserName>,
    /// Its pool.
    pub pool: Option<PoolName>,
    /// Zone of its user; none: the configuration's.
    pub time_zone: Option<Zone>,
    /// From start to login screen.
    pub boot: Span,
    /// Whether its guest refuses to let a device go.
    pub guest_refuses_unplug: bool,
}

/// Something that goes wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// When it begins.
    pub when: When,
    /// What it hits.
    pub on: FaultTarget,
    /// Which step fails; none: any.
    pub step: Option<FaultStep>,
    /// How it fails.
    pub error: FaultError,
    /// So many steps fail each time.
    pub count: u32,
}

/// When a fault strikes, counted from the start of the simulation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// Once.
    At(Span),
    /// Again and again, first after one such span.
    Every(Span),
}

/// What a fault hits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FaultTarget {
    /// Steps on this PF and its parts.
    Gpu(GpuId),
    /// Steps on this domain.
    Domain(DesktopName),
}

/// Kinds of steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultStep {
    /// Making a vGPU.
    Create,
    /// Taking it away.
    Remove,
    /// Setting the number of VFs.
    SetVfs,
    /// Binding a driver.
    Bind,
    /// Giving a device to a domain.
    Attach,
    /// Taking it back.
    Detach,
    /// Starting a domain.
    Start,
    /// Shutting it down.
    ShutDown,
}

/// How a step fails; all but `Hang` are kinds of `StepError`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultError {
    /// Busy; may work later.
    Transient,
    /// Not allowed.
    Denied,
    /// No instance left.
    Exhausted,
    /// The host was other than the step expected.
    Conflict,
    /// Device or domain vanished.
    Gone,
    /// Not there on this hardware.
    Unsupported,
    /// The call does not come back.
    Hang,
}

impl Simulation {
    /// Reads the file.
    ///
    /// # Errors
    /// All its mistakes, or that it cannot be read.
    pub fn load(file: &Path) -> Result<Self, ConfigErrors> {
        let text = std::fs::read_to_string(file)
            .map_err(|error| ConfigErrors(vec![Problem(format!("{}: cannot be read: {error}", file.display()))]))?;
        Self::parse(file, &text)
    }

    /// Reads the text of a file.
    ///
    /// # Errors
    /// All its mistakes.
    pub fn parse(file: &Path, text: &str) -> Result<Self, ConfigErrors> {
        let document = Document::new(file, text);
        let simulation = document.read(parse::simulation).unwrap_or_default();
        let problems = document.into_problems();
        if problems.is_empty() { Ok(simulation) } else { Err(ConfigErrors(problems)) }
    }
}
