//! The file of `--simulate`: a made-up host. GPUs with their partitioning rule and profiles, domains, faults to come.
//!
//! Read as strictly as the configuration. Plain values: what the hardware would refuse is the simulator's business; only
//! what no host could mean (a profile that no GPU offers, two GPUs at one address) is refused here.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use headstart_core::id::{DesktopName, PciAddress, PoolName, ProfileName, UserName};
use headstart_core::unit::{FramebufferMib, Span, Time};

use super::document::{At, Document, Problem, Section, suggest};
use super::fragment::profiles;
use super::{Attach, ConfigErrors, Zone, value};

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
    pub address: PciAddress,
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
    pub attach: Attach,
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
    /// For the forecast.
    pub department: Option<String>,
    /// For the forecast.
    pub role: Option<String>,
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
    Gpu(PciAddress),
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

const INTERFACES: &[(&str, Interface)] =
    &[("mdev", Interface::Mdev), ("vfio-variant", Interface::VfioVariant), ("sriov", Interface::Sriov)];

const PARTITIONINGS: &[(&str, Partitioning)] = &[
    ("equal-size", Partitioning::EqualSize),
    ("mixed-size", Partitioning::MixedSize),
    ("mig", Partitioning::Mig),
    ("fixed-vfs", Partitioning::FixedVfs),
    ("sriov", Partitioning::Sriov),
];

const STEPS: &[(&str, FaultStep)] = &[
    ("create", FaultStep::Create),
    ("remove", FaultStep::Remove),
    ("set-vfs", FaultStep::SetVfs),
    ("bind", FaultStep::Bind),
    ("attach", FaultStep::Attach),
    ("detach", FaultStep::Detach),
    ("start", FaultStep::Start),
    ("shut-down", FaultStep::ShutDown),
];

const ERRORS: &[(&str, FaultError)] = &[
    ("transient", FaultError::Transient),
    ("denied", FaultError::Denied),
    ("exhausted", FaultError::Exhausted),
    ("conflict", FaultError::Conflict),
    ("gone", FaultError::Gone),
    ("unsupported", FaultError::Unsupported),
    ("hang", FaultError::Hang),
];

/// A Linux guest on a fast disk; a Windows guest takes about a minute.
const BOOT: i64 = 45;
/// More domains than libvirt was ever seen with on one host.
const MOST_DOMAINS: i64 = 100_000;

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
        let simulation = document.read(simulation).unwrap_or_default();
        let problems = document.into_problems();
        if problems.is_empty() { Ok(simulation) } else { Err(ConfigErrors(problems)) }
    }
}

pub(super) fn simulation(top: &Section) -> Simulation {
    let mut it = Simulation::default();
    top.section("simulation", |section| {
        it.start = section.get("start", value::instant).map(|at| at.value);
        it.seed = section.get("seed", value::integer(0..=i64::MAX)).map_or(0, |at| at.value as u64);
    });
    it.gpus = top.sections("gpu", gpu).into_iter().flatten().collect();
    it.domains = domains(top, &it.gpus);
    it.faults = top.sections("fault", |section| fault(section, &it.gpus, &it.domains)).into_iter().flatten().collect();
    let mut addresses = BTreeSet::new();
    for gpu in it.gpus.iter().filter(|gpu| !addresses.insert(gpu.address)) {
        top.problem(top.place(), &format_args!("two [[gpu]] have the address {}", gpu.address));
    }
    it
}

fn gpu(section: &Section) -> Option<SimulatedGpu> {
    let address = section.need("address", value::pci_address);
    let name = section.need("name", value::label);
    let framebuffer = section.need("framebuffer-mib", value::framebuffer);
    let interface = section.need("interface", value::word(INTERFACES));
    let partitioning = section.need("partitioning", value::word(PARTITIONINGS));
    let vfs = section.get("vfs", value::integer(0..=256));
    let max_vfs = section.get("max-vfs", value::integer(0..=256));
    let profiles: Vec<SimulatedProfile> = section.sections("profiles", profile).into_iter().flatten().collect();
    let strangers = section.sections("strangers", |stranger| {
        let profile = stranger.need("profile", value::profile);
        let domain = stranger.get("domain", value::desktop).map(|at| at.value);
        if let Some(profile) = &profile {
            check_offered(stranger, "the stranger", profile, &profiles);
        }
        profile.map(|profile| Stranger { profile: profile.value, domain })
    });
    if profiles.is_empty() {
        section.problem(section.place(), &"a GPU needs at least one of `profiles`");
    }
    let whole = framebuffer.as_ref().map_or(FramebufferMib::default(), |at| at.value);
    for profile in profiles.iter().filter(|profile| profile.framebuffer > whole) {
        let (name, size) = (&profile.name, profile.framebuffer);
        section.problem(section.place(), &format_args!("profile {name} has {size}, more than the whole GPU ({whole})"));
    }
    let n_vfs = vfs.as_ref().map_or(0, |at| at.value as u32);
    let most = max_vfs.as_ref().map_or(n_vfs, |at| at.value as u32);
    if let Some(vfs) = vfs.as_ref().filter(|_| n_vfs > most) {
        section.problem(&vfs.place, &format_args!("`vfs` ({n_vfs}) is above `max-vfs` ({most})"));
    }
    let (interface, partitioning) = (interface?, partitioning?);
    let whole_vfs = matches!(partitioning.value, Partitioning::FixedVfs | Partitioning::Sriov);
    if whole_vfs != (interface.value == Interface::Sriov) {
        let what = "interface \"sriov\" goes with partitioning \"fixed-vfs\" or \"sriov\", and the other way round";
        section.problem(&partitioning.place, &what);
    }
    if most == 0 && interface.value != Interface::Mdev {
        section.problem(&interface.place, &"this interface needs VFs: set `vfs` or `max-vfs`");
    }
    Some(SimulatedGpu {
        address: address?.value,
        name: name?.value,
        framebuffer: framebuffer?.value,
        interface: interface.value,
        partitioning: partitioning.value,
        vfs: n_vfs,
        max_vfs: most,
        profiles,
        strangers: strangers.into_iter().flatten().collect(),
    })
}

fn profile(section: &Section) -> Option<SimulatedProfile> {
    let name = section.need("name", value::profile);
    let framebuffer = section.need("framebuffer-mib", value::framebuffer);
    let max_instances = section.need("max-instances", value::count);
    let series = section.get("series", value::label).map(|at| at.value);
    let slices = section.get("slices", value::count).map(|at| at.value);
    let placements = section.section("placements", |section| {
        let size = section.need("size", value::count);
        let starts = section.need("starts", value::slots);
        Some(Placements { size: size?.value, starts: starts?.value })
    });
    Some(SimulatedProfile {
        name: name?.value,
        framebuffer: framebuffer?.value,
        max_instances: max_instances?.value,
        series,
        slices,
        placements: placements.flatten(),
    })
}

fn domains(top: &Section, gpus: &[SimulatedGpu]) -> Vec<SimulatedDomain> {
    let offered: Vec<SimulatedProfile> = gpus.iter().flat_map(|gpu| gpu.profiles.iter().cloned()).collect();
    let mut seen: BTreeMap<DesktopName, ()> = BTreeMap::new();
    let lists = top.sections("domain", |section| {
        let unrolled = domain(section, &offered);
        for domain in &unrolled {
            if seen.insert(domain.name.clone(), ()).is_some() {
                section.problem(section.place(), &format_args!("there is a domain {} already", domain.name));
            }
        }
        unrolled
    });
    lists.into_iter().flatten().collect()
}

fn domain(section: &Section, offered: &[SimulatedProfile]) -> Vec<SimulatedDomain> {
    let name = section.need("name", value::desktop);
    let count = section.get("count", value::integer(1..=MOST_DOMAINS)).map_or(1, |at| at.value as u64);
    let attach = section.get("attach", value::attach).map_or(Attach::Cold, |at| at.value);
    let wished = profiles(section);
    let priority = section.get("priority", value::integer(-1000..=1000)).map_or(0, |at| at.value as i32);
    let user = section.get("user", value::user);
    let pool = section.get("pool", value::pool);
    let time_zone = section.get("time-zone", value::zone).map(|at| at.value);
    let boot = section.get("boot-seconds", value::integer(0..=3600)).map_or(BOOT, |at| at.value);
    let guest_refuses_unplug = section.get("guest-refuses-unplug", value::boolean).is_some_and(|at| at.value);
    let department = section.get("department", value::label).map(|at| at.value);
    let role = section.get("role", value::label).map(|at| at.value);
    if let (Some(_), Some(pool)) = (&user, &pool) {
        section.problem(&pool.place, &"a domain belongs to a `user` or to a `pool`, not to both; leave one out");
    }
    let Some(name) = name else { return Vec::new() };
    let Some(wished) = wished else {
        if !section.has("profile") && !section.has("profiles") {
            section.problem(section.place(), &format_args!("domain {} lacks `profile` or `profiles`", name.value));
        }
        return Vec::new();
    };
    for profile in &wished {
        let at = At {
            value: profile.clone(),
            place: section.place_of(if section.has("profile") { "profile" } else { "profiles" }),
        };
        check_offered(section, &format!("domain {}", name.value), &at, offered);
    }
    let mut unrolled = Vec::new();
    for n in 0..count {
        let numbered = |text: &str| run_on(text, n).filter(|_| count > 1).or((count == 1).then(|| text.to_owned()));
        let names = numbered(name.value.as_str()).and_then(|text| DesktopName::new(text).ok());
        let Some(domain_name) = names else {
            let what = "with `count`, the name must end in a number, such as \"vm001\", from which the others run on";
            section.problem(&name.place, &what);
            return Vec::new();
        };
        let domain_user = match &user {
            None => None,
            Some(user) => match numbered(user.value.as_str()).and_then(|text| UserName::new(text).ok()) {
                Some(user) => Some(user),
                None => {
                    section.problem(&user.place, &"with `count`, the user must end in a number, such as \"u001\"");
                    return Vec::new();
                }
            },
        };
        unrolled.push(SimulatedDomain {
            name: domain_name,
            attach,
            profiles: wished.clone(),
            priority,
            user: domain_user,
            pool: pool.as_ref().map(|at| at.value.clone()),
            time_zone: time_zone.clone(),
            boot: Span::seconds(boot),
            guest_refuses_unplug,
            department: department.clone(),
            role: role.clone(),
        });
    }
    unrolled
}

/// `vm007`, 5 → `vm012`: the number at the end runs on and keeps its width. None: no number, or too long a one.
fn run_on(text: &str, n: u64) -> Option<String> {
    let stem = text.trim_end_matches(|c: char| c.is_ascii_digit());
    let digits = &text[stem.len()..];
    let number = digits.parse::<u64>().ok()?.checked_add(n)?;
    Some(format!("{stem}{number:0width$}", width = digits.len()))
}

fn check_offered(section: &Section, who: &str, profile: &At<ProfileName>, offered: &[SimulatedProfile]) {
    if offered.iter().any(|offer| offer.name == profile.value) {
        return;
    }
    let hint = suggest(profile.value.as_str(), offered.iter().map(|offer| offer.name.as_str()));
    let what = format!("{who} names profile {}, which no GPU of this host offers{hint}", profile.value);
    section.problem(&profile.place, &what);
}

fn fault(section: &Section, gpus: &[SimulatedGpu], domains: &[SimulatedDomain]) -> Option<Fault> {
    let at = section.get("at", value::span(Span::ZERO..=Span::days(36_500)));
    let every = section.get("every", value::span(Span::seconds(1)..=Span::days(36_500)));
    let on = section.need("on", |value| Ok(value::text("a PCI address or the name of a domain", value)?.to_owned()));
    let step = section.get("step", value::word(STEPS)).map(|at| at.value);
    let error = section.need("error", value::word(ERRORS));
    let count = section.get("count", value::count).map_or(1, |at| at.value);
    let when = match (at, every) {
        (Some(at), None) => Some(When::At(at.value)),
        (None, Some(every)) => Some(When::Every(every.value)),
        _ => {
            section.problem(section.place(), &"a fault needs one of `at` and `every`, such as at = \"2 h\"");
            None
        }
    };
    let on = on?;
    let gpu = on.value.parse().ok().filter(|address| gpus.iter().any(|gpu| gpu.address == *address));
    let domain = domains.iter().find(|domain| domain.name.as_str() == on.value);
    let target = match (gpu, domain) {
        (Some(address), _) => FaultTarget::Gpu(address),
        (None, Some(domain)) => FaultTarget::Domain(domain.name.clone()),
        (None, None) => {
            section.problem(&on.place, &format_args!("no GPU and no domain of this host is called {:?}", on.value));
            return None;
        }
    };
    Some(Fault { when: when?, on: target, step, error: error?.value, count })
}
