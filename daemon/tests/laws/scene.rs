//! A scene: a host, its people and what befalls them round by round, as plain values that shrink and print well.
//!
//! Numbers point into lists and wrap around, so that every value means something. Not here: how a scene is drawn (`arbitrary`), and
//! what it looks like as a simulated host (`build`).

use std::fmt;

use headstart_core::desktop::AttachMode;
use headstart_core::step::FailureKind;

/// Everything that a law is tried on.
#[derive(Clone)]
pub(super) struct Scene {
    pub(super) boards: Vec<Board>,
    pub(super) desktops: Vec<Desktop>,
    /// Domains that headstart does not manage, and the device that each names.
    pub(super) strangers: Vec<Stranger>,
    /// Thresholds in percent: take, release.
    pub(super) thresholds: (u8, u8),
    /// Grace time and minimum hold.
    pub(super) calm_minutes: i64,
    /// Desktops stay on after their users leave.
    pub(super) keep_running: bool,
    /// They keep their devices until somebody else wants the room.
    pub(super) keep_spare: bool,
    /// One turn for every round; then nothing befalls the host any more.
    pub(super) turns: Vec<Turn>,
}

impl fmt::Debug for Scene {
    /// A line for each thing, so that a broken law can be read.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { thresholds, calm_minutes, keep_running, keep_spare, .. } = self;
        writeln!(f, "thresholds {thresholds:?}, calm minutes {calm_minutes}")?;
        writeln!(f, "keep running: {keep_running}, keep spare: {keep_spare}")?;
        self.boards.iter().try_for_each(|board| writeln!(f, "{board:?}"))?;
        self.desktops.iter().try_for_each(|desktop| writeln!(f, "{desktop:?}"))?;
        self.strangers.iter().try_for_each(|stranger| writeln!(f, "{stranger:?}"))?;
        self.turns.iter().try_for_each(|turn| writeln!(f, "{turn:?}"))
    }
}

/// A PF.
#[derive(Clone, Debug)]
pub(super) struct Board {
    pub(super) kind: Kind,
    /// What is on it before the first round, as far as the hardware lets it.
    pub(super) leftovers: Vec<Leftover>,
}

/// Interface and partitioning rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    MdevEqualSize,
    MdevOneType,
    MdevMixedSize,
    MdevOnVfs,
    VariantEqualSize,
    VariantOneType,
    VariantMixedSize,
    VariantMig,
    /// MIG where a GPU instance comes before its vGPU.
    MigInstances,
    /// NVIDIA's VFs, which are off until somebody enables them.
    DormantVfs,
    /// A parent of the kernel's sample mdevs: no PCI function, any mix within a budget.
    Budget,
    FixedVfs,
    SrIov,
}

/// A vGPU that somebody left.
#[derive(Clone, Debug)]
pub(super) struct Leftover {
    /// The mdev of this desktop, or a stranger's; on VFs, just one of them.
    pub(super) of: Option<usize>,
    pub(super) profile: usize,
    pub(super) open: Open,
    /// The driver names a profile that we do not know.
    pub(super) nameless: bool,
}

/// Who has a leftover open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Open {
    Nobody,
    Process,
    Unreadable,
}

/// A domain that opted in.
#[derive(Clone, Debug)]
pub(super) struct Desktop {
    pub(super) attach: AttachMode,
    /// In the order of wish; none at all is a mistake of its metadata.
    pub(super) profiles: Vec<usize>,
    pub(super) priority: i32,
    pub(super) pooled: bool,
    /// On how many of the last days its user came at this hour.
    pub(super) habit: u8,
    pub(super) boot_seconds: i64,
    pub(super) refuses_unplug: bool,
    pub(super) before: Before,
    pub(super) user: User,
    pub(super) names: Option<Names>,
}

/// How a desktop stands before the first round.
#[derive(Clone, Debug)]
pub(super) enum Before {
    Off,
    Running,
    /// With a device of ours on this board.
    Holding {
        board: usize,
        profile: usize,
        power: Powered,
    },
}

/// A holder's power state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Powered {
    Off,
    Booting,
    Up,
    Stopping,
    /// Up, and the guest was asked a moment ago to let the device go.
    Unplugging,
    /// Up, and it was asked long ago.
    Unplugged,
}

/// Who is at a desktop before the first round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum User {
    Nobody,
    /// For half an hour.
    Long,
    JustNow,
    /// Only a broker knows.
    Reported,
}

/// A domain of somebody else.
#[derive(Clone, Debug)]
pub(super) struct Stranger {
    pub(super) running: bool,
    pub(super) names: Option<Names>,
}

/// A device in the definition of a domain to which we did not give it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Names {
    pub(super) device: Named,
    /// With our mark, as in the copied definition of a desktop.
    pub(super) marked: bool,
}

/// Which device.
#[derive(Clone, Copy, Debug)]
pub(super) enum Named {
    /// One that is there or a VF without a type: the n-th of this board.
    On { board: usize, nth: usize },
    /// The mdev that is derived for this desktop, there or not.
    MdevOf(usize),
}

/// What befalls the host around one round.
#[derive(Clone, Debug, Default)]
pub(super) struct Turn {
    /// Before the look.
    pub(super) before: Vec<Deed>,
    /// What this look does not show.
    pub(super) hidden: Vec<Hidden>,
    /// After the look, before the first step.
    pub(super) between: Vec<Deed>,
    /// The fate of each step; those without one work.
    pub(super) fates: Vec<Fate>,
    /// Permutes the steps.
    pub(super) order: u32,
    /// The daemon is killed before this round.
    pub(super) crash: bool,
    /// Seconds that pass afterwards.
    pub(super) pass: i64,
}

/// What people and brokers do.
#[derive(Clone, Copy, Debug)]
pub(super) enum Deed {
    Arrive(usize),
    Leave(usize),
    Wish { desktop: usize, profile: Option<usize>, ahead: bool },
    Release(usize),
    Report(usize),
    EndReport(usize),
    Reboot,
}

/// What a look does not show.
#[derive(Clone, Copy, Debug)]
pub(super) enum Hidden {
    /// The list of domains, but for those whose bit is set.
    Domains { seen: u8 },
    /// A PF.
    Board(usize),
    /// What is on a PF, but for the vGPUs whose bit is set.
    OnBoard { board: usize, seen: u8 },
    /// A PF takes nothing now; what is on it is known.
    NotReady(usize),
    /// Whether the n-th vGPU is open.
    Opened(usize),
    /// Whether somebody is at the n-th domain.
    Login(usize),
    /// Whether the n-th domain runs.
    Power(usize),
}

/// What becomes of a step.
#[derive(Clone, Copy, Debug)]
pub(super) enum Fate {
    Works,
    /// Nothing is done, and this is the answer.
    Fails(FailureKind),
    /// It is done, and this is the answer.
    Lost(FailureKind),
    /// The answer comes so many rounds later; the effect with it, or at once.
    Slow {
        rounds: u8,
        at_once: bool,
    },
}
