//! The host as it was seen in one look, with what could not be seen named.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::desktop::Settings;
use crate::gpu::{DeviceId, Gpu, GpuState, Opened};
use crate::id::{DesktopName, DomainUuid, GpuId};
use crate::unit::Time;

/// Whether a domain runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Power {
    /// Shut off: its definition can be changed.
    Off,
    /// libvirt prepares its process and waits for nobody: what its definition names must be there now, and neither can be changed.
    Starting,
    /// Runs.
    Running {
        /// The guest is up as far as can be told; devices can be plugged, users can log in.
        ready: bool,
    },
    /// On its way down.
    Stopping,
    /// It could not be read.
    Unknown(String),
}

/// Whether somebody is at a desktop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Login {
    /// Nobody.
    None,
    /// Somebody wants in and waits for the desktop or its GPU.
    Waiting {
        /// Since when.
        since: Time,
    },
    /// A user is logged in.
    Active {
        /// Since when.
        since: Time,
    },
    /// It could not be read.
    Unknown(String),
}

/// How a domain has a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attachment {
    /// In the definition; if the domain runs, the guest has it.
    Attached,
    /// The guest was asked to let go and has not answered.
    Detaching,
    /// The guest refused to let go. It has the device until the domain is off.
    DetachRefused,
}

/// A device that a domain names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hostdev {
    /// Which device.
    pub device: DeviceId,
    /// In which state.
    pub attachment: Attachment,
    /// It bears our mark (the alias `ua-headstart-…`): we attached it.
    pub ours: bool,
}

/// A libvirt domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Domain {
    /// Its identity.
    pub uuid: DomainUuid,
    /// Its name now.
    pub name: DesktopName,
    /// Whether it runs.
    pub power: Power,
    /// What it names.
    pub hostdevs: Vec<Hostdev>,
    /// Whether somebody is there, by the word of its guest; when all is known, by all words together ([`crate::presence`]).
    pub login: Login,
    /// Whether somebody looks at one of its screens.
    pub screen: Login,
    /// What its metadata says; none if it does not opt in.
    pub settings: Option<Settings>,
}

/// What could not be seen at all.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Gap {
    /// The list of domains: libvirt did not answer, so any device may be in use.
    Domains,
    /// A PF that should be there.
    Gpu(GpuId),
}

/// Something an administrator should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Address, domain name or path.
    pub object: String,
    /// What is wrong and what to do.
    pub text: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.object, self.text)
    }
}

/// The host in one look.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observed {
    /// PFs that were given to headstart.
    pub gpus: BTreeMap<GpuId, Gpu>,
    /// All domains, also those that headstart does not manage.
    pub domains: BTreeMap<DomainUuid, Domain>,
    /// What could not be seen.
    pub gaps: BTreeSet<Gap>,
    /// What is wrong.
    pub problems: Vec<Problem>,
}

impl Observed {
    /// Which domains name each device; the first is the holder, a second is a mistake of somebody else.
    pub fn holders(&self) -> Holders {
        let pairs = |domain: &'_ Domain| domain.hostdevs.iter().map(|it| (it.device, domain.uuid)).collect::<Vec<_>>();
        let mut all: Vec<_> = self.domains.values().flat_map(pairs).collect();
        all.sort_unstable();
        let (devices, domains) = all.into_iter().unzip();
        Holders { devices, domains }
    }

    /// Every PF that should be there was read, so that a device that is nowhere does not exist.
    pub fn sees_all_gpus(&self) -> bool {
        let gap = self.gaps.iter().any(|gap| matches!(gap, Gap::Gpu(_)));
        !gap && self.gpus.values().all(|gpu| !matches!(gpu.state, GpuState::Unknown(_)))
    }

    /// PFs that cannot be worked with yet, or not any more: not seen, not read, or without their driver.
    pub fn unsettled(&self) -> Vec<GpuId> {
        let gaps = self.gaps.iter().filter_map(|gap| match gap {
            Gap::Gpu(gpu) => Some(*gpu),
            Gap::Domains => None,
        });
        let not_ready = self.gpus.values().filter(|gpu| gpu.state != GpuState::Ready).map(|gpu| gpu.address);
        gaps.chain(not_ready).collect()
    }

    /// The PF on which each device lives.
    pub fn places(&self) -> BTreeMap<DeviceId, &Gpu> {
        // Of two the first counts, as in `gpu_of`.
        let gpus = self.gpus.values().rev();
        gpus.flat_map(|gpu| gpu.vgpus.keys().map(move |device| (*device, gpu))).collect()
    }

    /// Mdevs of which one is made for some desktop; all others are a stranger's.
    pub(crate) fn derived<'a>(&self, desktops: impl Iterator<Item = &'a DomainUuid>) -> BTreeSet<DeviceId> {
        let is_mdev = |device: &DeviceId| matches!(device, DeviceId::Mdev(_));
        // Hashing every name is dear, and where there is no mdev none is whose.
        if !self.gpus.values().any(|gpu| gpu.vgpus.keys().any(is_mdev)) {
            return BTreeSet::new();
        }
        desktops.map(|uuid| DeviceId::Mdev(uuid.mdev())).collect()
    }

    /// The PF on which one device lives: a search, so not for every desktop.
    pub fn gpu_of(&self, device: DeviceId) -> Option<&Gpu> {
        self.gpus.values().find(|gpu| gpu.vgpus.contains_key(&device))
    }
}

/// Which domains name each device.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Holders {
    /// In order; a device that several name stands here as often.
    devices: Vec<DeviceId>,
    /// Who names the device at the same place.
    domains: Vec<DomainUuid>,
}

impl Holders {
    /// Who names this device, by UUID. More than one is a mistake of somebody else.
    pub fn of(&self, device: DeviceId) -> &[DomainUuid] {
        let from = self.devices.partition_point(|other| *other < device);
        let n = self.devices[from..].iter().take_while(|other| **other == device).count();
        &self.domains[from..from + n]
    }

    /// Somebody names this device.
    pub fn any(&self, device: DeviceId) -> bool {
        !self.of(device).is_empty()
    }
}

/// Whose a device is, seen from the whole observation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tenure {
    /// Nobody names it or has it open, and it is ours to take away.
    Idle,
    /// One of our desktops has it.
    Desktop(DomainUuid),
    /// Somebody else's, or nobody knows: counted, never touched.
    Foreign(String),
}

/// Whose `device` is. `managed` are the domains that headstart manages; `holders` as from [`Observed::holders`].
///
/// An idle mdev is ours only if its UUID is one that we would derive for a managed domain; an idle VF of a PF that was given
/// to us whole is ours.
pub fn tenure(
    device: DeviceId,
    opened: &Opened,
    holders: &Holders,
    observed: &Observed,
    managed: &dyn Fn(DomainUuid) -> bool,
    derived: &BTreeSet<DeviceId>,
) -> Tenure {
    let holders = holders.of(device);
    if let [only] = holders
        && managed(*only)
    {
        return Tenure::Desktop(*only);
    }
    if !holders.is_empty() {
        let names: Vec<&str> =
            holders.iter().filter_map(|uuid| observed.domains.get(uuid)).map(|domain| domain.name.as_str()).collect();
        return Tenure::Foreign(names.join(", "));
    }
    if observed.gaps.contains(&Gap::Domains) {
        return Tenure::Foreign("the list of domains could not be read".into());
    }
    match opened {
        Opened::By(who) => Tenure::Foreign(who.clone()),
        Opened::Unknown(why) => Tenure::Foreign(why.clone()),
        Opened::No => match device {
            DeviceId::Mdev(_) if !derived.contains(&device) => {
                Tenure::Foreign("an mdev that headstart did not make".into())
            }
            _ => Tenure::Idle,
        },
    }
}
