//! From the tables of the file to the values of the simulation. Every key of the file is named here once.

use std::collections::BTreeSet;

use headstart_core::desktop::AttachMode;
use headstart_core::id::{DesktopName, ProfileName, UserName};
use headstart_core::unit::{FramebufferMib, Span};

use super::{
    Fault, FaultError, FaultStep, FaultTarget, Interface, Partitioning, Placements, SimulatedDomain, SimulatedGpu,
    SimulatedProfile, Simulation, Stranger, When,
};
use crate::config::document::{At, Section, suggest};
use crate::config::fragment::profiles;
use crate::config::value;

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
    let instances = section.get("gpu-instances", value::boolean);
    let profiles: Vec<SimulatedProfile> = section.sections("profiles", profile).into_iter().flatten().collect();
    let strangers = section.sections("strangers", |stranger| {
        let profile = stranger.need("profile", value::profile);
        let domain = stranger.get("domain", value::desktop).map(|at| at.value);
        if let Some(profile) = &profile {
            check_offered(stranger, "the stranger", "this GPU does not offer", profile, &profiles);
        }
        profile.map(|profile| Stranger { profile: profile.value, domain })
    });
    if !section.has("profiles") {
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
    if let Some(at) = instances.as_ref().filter(|at| at.value && partitioning.value != Partitioning::Mig) {
        section.problem(&at.place, &"`gpu-instances` goes with partitioning \"mig\"");
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
        gpu_instances: instances.is_some_and(|at| at.value),
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
    let mut seen: BTreeSet<DesktopName> = BTreeSet::new();
    let lists = top.sections("domain", |section| {
        let unrolled = domain(section, &offered);
        for domain in &unrolled {
            if !seen.insert(domain.name.clone()) {
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
    let attach = section.get("attach", value::attach).map_or(AttachMode::Cold, |at| at.value);
    let wished = profiles(section);
    let priority = section.get("priority", value::integer(-1000..=1000)).map_or(0, |at| at.value as i32);
    let user = section.get("user", value::user);
    let pool = section.get("pool", value::pool);
    let time_zone = section.get("time-zone", value::zone).map(|at| at.value);
    let boot = section.get("boot-seconds", value::integer(0..=3600)).map_or(BOOT, |at| at.value);
    let guest_refuses_unplug = section.get("guest-refuses-unplug", value::boolean).is_some_and(|at| at.value);
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
        check_offered(section, &format!("domain {}", name.value), "no GPU of this host offers", &at, offered);
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
        let names = user.as_ref().map(|user| numbered(user.value.as_str()).and_then(|text| UserName::new(text).ok()));
        if let (Some(user), Some(None)) = (&user, &names) {
            section.problem(&user.place, &"with `count`, the user must end in a number, such as \"u001\"");
            return Vec::new();
        }
        let domain_user = names.flatten();
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

fn check_offered(section: &Section, who: &str, how: &str, profile: &At<ProfileName>, offered: &[SimulatedProfile]) {
    if offered.iter().any(|offer| offer.name == profile.value) {
        return;
    }
    let hint = suggest(profile.value.as_str(), offered.iter().map(|offer| offer.name.as_str()));
    let what = format!("{who} names profile {}, which {how}{hint}", profile.value);
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
