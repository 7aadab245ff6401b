//! Simulated hosts of any size: in every sixteen GPUs nine of equal size, four of mixed size, three with fixed VFs.

use std::collections::BTreeMap;

use anyhow::Context;
use headstart_core::desktop::{AttachMode, Settings};
use headstart_core::gpu::{DeviceId, Gpu, GpuState, Interface, Opened, Partitioning, Profile, Vgpu};
use headstart_core::id::{DesktopName, DomainUuid, GpuId, PciAddress, ProfileName};
use headstart_core::step::Step;
use headstart_core::unit::{FramebufferMib, Span, Time};
use headstartd::clock::{Clock, VirtualClock};
use headstartd::host::Host;
use headstartd::host::sim::{SimDomain, SimHost};

/// A host and what is needed to play with it.
pub(crate) struct Made {
    pub(crate) host: SimHost,
    pub(crate) clock: VirtualClock,
    pub(crate) names: Vec<DesktopName>,
}

/// What each GPU of sixteen is, and the profile that its desktops wish for.
const KINDS: [(&str, &str); 16] = [
    ("A40", "A40-4Q"),
    ("L40S", "L40S-6Q"),
    ("A40", "A40-2Q"),
    ("V710", "V710-1/4"),
    ("A40", "A40-4Q"),
    ("L40S", "L40S-12Q"),
    ("A40", "A40-8Q"),
    ("A40", "A40-4Q"),
    ("V710", "V710-1/4"),
    ("A40", "A40-2Q"),
    ("L40S", "L40S-6Q"),
    ("A40", "A40-4Q"),
    ("A40", "A40-4Q"),
    ("V710", "V710-1/4"),
    ("A40", "A40-8Q"),
    ("L40S", "L40S-6Q"),
];

/// A host with everything off and nothing on its GPUs.
pub(crate) fn empty(desktops: usize, gpus: usize, now: Time) -> anyhow::Result<Made> {
    let clock = VirtualClock::new(now, 1.0);
    let gpus: Vec<Gpu> = (0..gpus).map(gpu).collect::<anyhow::Result<_>>()?;
    let domains: Vec<SimDomain> = (0..desktops).map(|n| domain(n, gpus.len())).collect::<anyhow::Result<_>>()?;
    let names = domains.iter().map(|domain| domain.name.clone()).collect();
    let host = SimHost::new(Clock::Virtual(clock.clone()), gpus, domains, Vec::new());
    Ok(Made { host, clock, names })
}

/// The same in the middle of a morning: the GPUs about three quarters full, their desktops up, somebody at every second of these.
pub(crate) fn busy(desktops: usize, gpus: usize, now: Time) -> anyhow::Result<Made> {
    let made = empty(desktops, gpus, now - Span::minutes(30))?;
    let observed = made.host.observe();
    let ours: BTreeMap<usize, Vec<DomainUuid>> = (0..desktops).fold(BTreeMap::new(), |mut all, n| {
        all.entry(n % gpus).or_insert_with(Vec::new).push(uuid(n));
        all
    });
    let mut come = Vec::new();
    for (n, uuids) in ours {
        let gpu = observed.gpus.get(&address(n)?).context("the GPU was made")?;
        let profile: ProfileName = KINDS[n % KINDS.len()].1.parse()?;
        let fill = (usize::from(gpu.capacity(&profile)) * 3).div_ceil(4).min(uuids.len());
        for (k, uuid) in uuids.into_iter().take(fill).enumerate() {
            let vf = *gpu.vfs.get(k).context("there is a VF for each")?;
            if gpu.interface == Interface::VfioVariant {
                let step = Step::SetVgpuType { gpu: gpu.address, vf, profile: profile.clone(), start: None };
                made.host.apply(&step)?;
            }
            let device = DeviceId::Vf(vf);
            made.host.apply(&Step::AttachHostdev { gpu: gpu.address, domain: uuid, device, live: false })?;
            made.host.apply(&Step::StartDomain { domain: uuid })?;
            if k % 2 == 0 {
                come.push(uuid);
            }
        }
    }
    made.clock.advance(now - Span::minutes(25));
    for uuid in come {
        made.host.arrive(&observed.domains[&uuid].name, now - Span::minutes(25));
    }
    Ok(made)
}

fn address(n: usize) -> anyhow::Result<GpuId> {
    let (domain, bus) = (n / 200, n % 200 + 1);
    Ok(format!("{domain:04x}:{bus:02x}:00.0").parse()?)
}

fn uuid(n: usize) -> DomainUuid {
    // Scattered, as the UUIDs of real domains are.
    let high = (n as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let text = format!("{:08x}-{:04x}-4000-8000-{n:012x}", high >> 32, high >> 16 & 0xffff);
    text.parse().expect("it has the form of a UUID")
}

fn domain(n: usize, gpus: usize) -> anyhow::Result<SimDomain> {
    let (_, profile) = KINDS[n % gpus % KINDS.len()];
    let attach = if n.is_multiple_of(10) { AttachMode::Live } else { AttachMode::Cold };
    Ok(SimDomain {
        uuid: uuid(n),
        name: format!("vm{n:05}").parse()?,
        settings: Some(Settings {
            profiles: Some(vec![profile.parse()?]),
            attach: Some(attach),
            priority: Some(i32::from(n.is_multiple_of(7))),
            ..Settings::default()
        }),
        boot: Span::seconds(45),
        refuses_unplug: false,
        running: false,
        foreign: None,
        marked: false,
    })
}

fn profile(name: &str, mib: u32, most: u16, slots: u16) -> anyhow::Result<Profile> {
    let starts = if slots == 0 { Vec::new() } else { (0..48).step_by(usize::from(slots)).collect() };
    Ok(Profile {
        name: name.parse()?,
        framebuffer: FramebufferMib::new(mib),
        max_instances: most,
        compute: false,
        slots,
        starts,
    })
}

fn gpu(n: usize) -> anyhow::Result<Gpu> {
    let address = address(n)?;
    let (kind, _) = KINDS[n % KINDS.len()];
    let (partitioning, interface, mib, profiles, vfs) = match kind {
        "A40" => (
            Partitioning::EqualSize { series_may_mix: true },
            Interface::VfioVariant,
            49_152,
            vec![
                profile("A40-2Q", 2048, 24, 0)?,
                profile("A40-4Q", 4096, 12, 0)?,
                profile("A40-8Q", 8192, 6, 0)?,
                profile("A40-48Q", 49_152, 1, 0)?,
            ],
            32,
        ),
        "L40S" => (
            Partitioning::MixedSize { slots: 48 },
            Interface::VfioVariant,
            49_152,
            vec![
                profile("L40S-6Q", 6144, 8, 6)?,
                profile("L40S-12Q", 12_288, 4, 12)?,
                profile("L40S-24Q", 24_576, 2, 24)?,
            ],
            32,
        ),
        _ => (Partitioning::FixedVfs, Interface::Vf, 28_672, vec![profile("V710-1/4", 7168, 4, 0)?], 4),
    };
    let vfs: Vec<PciAddress> = (1..=vfs).filter_map(|n| address.offset(n)).collect();
    // Fixed VFs are there since the driver was loaded.
    let there = vfs.iter().filter(|_| interface == Interface::Vf);
    let vgpus = there
        .map(|vf| {
            let profile = profiles.first().map(|profile| profile.name.clone());
            (DeviceId::Vf(*vf), Vgpu { profile, start: None, opened: Opened::No })
        })
        .collect();
    Ok(Gpu {
        address,
        name: kind.to_owned(),
        framebuffer: FramebufferMib::new(mib),
        interface,
        partitioning,
        profiles,
        vfs,
        dormant_vfs: 0,
        instances: None,
        vgpus,
        state: GpuState::Ready,
    })
}
