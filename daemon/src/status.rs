//! What the loop publishes after each round: all that the bus, the command and the journal show. Values only; built by `reconcile`, read by `bus`.

use std::collections::BTreeMap;

use headstart_core::desktop::AttachMode;
use headstart_core::gpu::DeviceId;
use headstart_core::id::{DesktopName, DomainUuid, GpuId, ProfileName};
use headstart_core::unit::{FramebufferMib, Probability, Span, Time};

/// Whether decisions are carried out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// All is decided, logged and scored; nothing is done. The packaged default.
    #[default]
    Shadow,
    /// Decisions are carried out.
    Armed,
}

/// The daemon's view of everything, after one round.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Status {
    /// The clock of the daemon (virtual in a simulation) at the round.
    pub now: Time,
    /// Shadow or armed.
    pub mode: Mode,
    /// Simulated hardware.
    pub simulated: bool,
    /// Rounds since the start.
    pub rounds: u64,
    /// One line about the forecast's model: kind, training time, rows.
    pub model: String,
    /// What the thresholds are to achieve, how far they do, and what they are; empty where none is set.
    pub goal: String,
    /// How it went so far.
    pub scores: Scores,
    /// Holds in force.
    pub holds: Vec<Hold>,
    /// What an administrator should know, each naming its object.
    pub problems: Vec<String>,
    /// By address.
    pub gpus: BTreeMap<GpuId, GpuStatus>,
    /// By name.
    pub desktops: BTreeMap<DesktopName, DesktopStatus>,
}

/// Counts since the start of the daemon.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Scores {
    /// Logins that needed a GPU that was not still there from the session before.
    pub logins: u64,
    /// Of those: ready at least 60 s before.
    pub hits: u64,
    /// Of those: being made ready when the user came.
    pub late: u64,
    /// Of those: nothing had been done.
    pub misses: u64,
    /// Reservations that ended without a login.
    pub wasted: u64,
    /// Time during which GPUs were held for users who were not logged in, grace time after logout not counted.
    pub idle: Span,
}

/// A hold: while one is in force nothing on the host is changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hold {
    /// Handed out by `Hold`.
    pub cookie: u32,
    /// Unique bus name of the holder.
    pub owner: String,
    /// As given.
    pub reason: String,
}

/// One PF.
#[derive(Clone, Debug, PartialEq)]
pub struct GpuStatus {
    /// Board name.
    pub name: String,
    /// The partitioning rule, in words.
    pub partitioning: String,
    /// Whole framebuffer.
    pub framebuffer: FramebufferMib,
    /// Given to vGPUs that exist.
    pub used: FramebufferMib,
    /// `ok`, or what is wrong with it.
    pub health: String,
    /// What exists on it.
    pub vgpus: Vec<VgpuStatus>,
    /// Profiles that could be created now.
    pub creatable: Vec<ProfileName>,
}

/// One vGPU or VF that carries something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VgpuStatus {
    /// mdev UUID or VF address.
    pub device: String,
    /// Its profile.
    pub profile: String,
    /// The desktop or foreign domain that has it, or empty.
    pub holder: String,
    /// `idle`, `attached`, `in-use`, `foreign`, `unknown: why`.
    pub state: String,
}

/// One desktop.
#[derive(Clone, Debug, PartialEq)]
pub struct DesktopStatus {
    /// Of its domain.
    pub uuid: DomainUuid,
    /// The dedicated user, or `pool:NAME`.
    pub subject: String,
    /// How it gets its device.
    pub attach_mode: AttachMode,
    /// Higher goes first.
    pub priority: i32,
    /// `off`, `preparing`, `ready`, `waiting`, `in-use`, `grace`, `releasing`, `running` (without a GPU), `unknown`.
    pub state: &'static str,
    /// The PF whose vGPU is attached or being attached.
    pub gpu: Option<GpuId>,
    /// The device, mdev UUID or VF address.
    pub device: Option<DeviceId>,
    /// Its profile, or the one that would be given.
    pub profile: Option<ProfileName>,
    /// Probability of a login in the slot that decides now (lead time ahead).
    pub confidence: Probability,
    /// The likeliest time of the next login within 24 h, if any is likely at all.
    pub next_login: Option<Time>,
    /// Probability of a login within the next 24 h.
    pub today: Probability,
    /// Probability of a login per slot, from `Forecast::start`; empty before the first round.
    pub slots: headstart_core::forecast::Slots,
    /// Start of the first slot.
    pub slots_start: Time,
    /// Length of a slot.
    pub slot: Span,
    /// How long before a login the work must start.
    pub lead: Span,
    /// Why it is as it is: the forecast, the rule, the blocker.
    pub reason: String,
    /// What holds for it, from its metadata and from the configuration.
    pub settings: headstart_core::desktop::Settings,
    /// What a request would be answered from the current plan.
    pub offer: headstart_core::request::Offer,
    /// What is wrong with this desktop.
    pub problems: Vec<String>,
}

/// One decision, as the journal and the history have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// The daemon's clock.
    pub time: Time,
    /// About which desktop, if about one.
    pub desktop: Option<DesktopName>,
    /// What was decided.
    pub what: String,
    /// Why.
    pub why: String,
}
