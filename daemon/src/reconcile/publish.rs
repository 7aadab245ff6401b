//! From a round to what people see: the published status, and the long explanation of one desktop.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use headstart_core::desktop::{Desktop, Settings as DesktopSettings};
use headstart_core::forecast::{SLOT, explain};
use headstart_core::gpu::{DeviceId, Gpu, GpuState, Interface, Opened};
use headstart_core::id::{DesktopName, DomainUuid, Subject};
use headstart_core::observed::{Attachment, Domain, Holders, Login, Power, Problem};
use headstart_core::plan::{Reason, Verdict};
use headstart_core::step::our_hostdev;
use headstart_core::track::is_ready;
use headstart_core::unit::{FramebufferMib, Span, Time};

use crate::reconcile::memory::{Memory, Round, Settings};
use crate::reconcile::trouble::Place;
use crate::status::{DesktopStatus, GpuStatus, Hold, Mode, Status, VgpuStatus};

/// What the loop knows beside the round.
pub(super) struct Surroundings<'a> {
    pub(super) rounds: u64,
    pub(super) simulated: bool,
    pub(super) holds: &'a [Hold],
    pub(super) hung: &'a [String],
}

/// The status after a round.
pub(super) fn status(memory: &Memory, settings: &Settings, round: &Round, around: &Surroundings<'_>) -> Status {
    let mut desktops = desktops(round);
    let problems = share_out(problems(memory, round), &mut desktops, around.hung);
    Status {
        now: round.now,
        mode: settings.mode,
        simulated: around.simulated,
        rounds: around.rounds,
        model: memory.model.summary(),
        goal: goal(memory, settings),
        scores: memory.scores,
        holds: around.holds.to_vec(),
        problems,
        gpus: gpus(round),
        desktops,
    }
}

/// What the thresholds are to achieve, and how far they do.
fn goal(memory: &Memory, settings: &Settings) -> String {
    let Some(goal) = settings.policy.goal else { return String::new() };
    let (take, release) = memory.thresholds;
    format!("{goal}: {}; taken from {take:.1} on, released below {release:.1}", memory.kept)
}

/// All that is wrong after a round, with the name of the domain if it is one's.
fn problems(memory: &Memory, round: &Round) -> Vec<Problem> {
    let quarantined = memory.trouble.problems(round.now).map(|(place, text)| {
        let domain = match place {
            Place::Domain(uuid) => round.observed.domains.get(&uuid),
            Place::Gpu(_) => None,
        };
        Problem { object: domain.map_or_else(String::new, |domain| domain.name.to_string()), text }
    });
    round.problems.iter().cloned().chain(quarantined).collect()
}

/// Gives each desktop what is wrong with it; the rest is the host's.
fn share_out(
    problems: Vec<Problem>,
    desktops: &mut BTreeMap<DesktopName, DesktopStatus>,
    hung: &[String],
) -> Vec<String> {
    let mut host = Vec::new();
    for problem in problems {
        let name = DesktopName::new(problem.object.as_str()).ok();
        match name.and_then(|name| desktops.get_mut(&name)) {
            Some(desktop) => desktop.problems.push(problem.text),
            None if problem.object.is_empty() => host.push(problem.text),
            None => host.push(problem.to_string()),
        }
    }
    host.extend(hung.iter().cloned());
    host
}

fn gpus(round: &Round) -> BTreeMap<headstart_core::id::GpuId, GpuStatus> {
    let holders = round.observed.holders();
    let name = |uuid: &DomainUuid| round.observed.domains.get(uuid).map(|domain| domain.name.to_string());
    let mut all = BTreeMap::new();
    for gpu in round.observed.gpus.values() {
        let mut vgpus = Vec::new();
        let mut used = FramebufferMib::new(0);
        for (device, vgpu) in &gpu.vgpus {
            let holder = holders.of(*device).first();
            if gpu.interface == Interface::Vf && holder.is_none() && vgpu.opened == Opened::No {
                continue;
            }
            used = used.saturating_add(gpu.framebuffer_of(vgpu.profile.as_ref()));
            vgpus.push(VgpuStatus {
                device: device.to_string(),
                profile: vgpu.profile.as_ref().map_or_else(|| "unknown".to_owned(), ToString::to_string),
                holder: holder.and_then(name).unwrap_or_default(),
                state: vgpu_state(round, holder, &vgpu.opened),
            });
        }
        let health = match &gpu.state {
            GpuState::Ready => "ok".to_owned(),
            GpuState::NotReady(why) => format!("not ready: {why}"),
            GpuState::Unknown(why) => format!("unknown: {why}"),
        };
        let status = GpuStatus {
            name: gpu.name.clone(),
            partitioning: format!("{}, {}", gpu.interface, gpu.partitioning),
            framebuffer: gpu.framebuffer,
            used,
            health,
            creatable: creatable(gpu, &holders),
            vgpus,
        };
        all.insert(gpu.address, status);
    }
    all
}

fn vgpu_state(round: &Round, holder: Option<&DomainUuid>, opened: &Opened) -> String {
    match (holder, opened) {
        (Some(uuid), _) if round.desktops.contains_key(uuid) => {
            let used = round.observed.domains.get(uuid).is_some_and(|d| matches!(d.login, Login::Active { .. }));
            if used { "in-use".to_owned() } else { "attached".to_owned() }
        }
        (Some(_), _) | (None, Opened::By(_)) => "foreign".to_owned(),
        (None, Opened::Unknown(why)) => format!("unknown: {why}"),
        (None, Opened::No) => "idle".to_owned(),
    }
}

fn creatable(gpu: &Gpu, holders: &Holders) -> Vec<headstart_core::id::ProfileName> {
    let taken = |device: &DeviceId| gpu.interface != Interface::Vf || holders.any(*device);
    let tenants: Vec<_> = gpu.vgpus.iter().filter(|(device, _)| taken(device)).map(|(_, vgpu)| vgpu.tenant()).collect();
    let fits = gpu.profiles.iter().filter(|profile| gpu.fit(&tenants, &profile.name, None).is_ok());
    fits.map(|profile| profile.name.clone()).collect()
}

fn desktops(round: &Round) -> BTreeMap<DesktopName, DesktopStatus> {
    let places = round.observed.places();
    let mut all = BTreeMap::new();
    for desktop in round.desktops.values() {
        let (Some(domain), Some(verdict)) =
            (round.observed.domains.get(&desktop.uuid), round.plan.verdicts.get(&desktop.uuid))
        else {
            continue;
        };
        let hostdev = our_hostdev(domain);
        let want = round.plan.desired.wants.get(&desktop.uuid);
        let held = hostdev.and_then(|hostdev| {
            let gpu = places.get(&hostdev.device)?;
            Some((gpu.address, gpu.vgpus.get(&hostdev.device)?.profile.clone()))
        });
        let prospect = round.forecast.subjects.get(&desktop.subject);
        let status = DesktopStatus {
            uuid: desktop.uuid,
            subject: desktop.user.as_ref().map_or_else(|| desktop.subject.to_string(), ToString::to_string),
            attach_mode: desktop.attach,
            priority: desktop.priority,
            state: state(domain, verdict, want.is_some()),
            gpu: held.as_ref().map(|(gpu, _)| *gpu).or(want.map(|want| want.gpu)),
            device: hostdev.map(|hostdev| hostdev.device),
            profile: held
                .and_then(|(_, profile)| profile)
                .or_else(|| want.map(|want| want.profile.clone()))
                .or_else(|| desktop.profiles.first().cloned()),
            confidence: verdict.chance.now,
            next_login: verdict.chance.next,
            today: verdict.chance.today,
            slots: prospect.map(|prospect| prospect.slots.clone()).unwrap_or_default(),
            slots_start: round.forecast.start,
            slot: SLOT,
            lead: round.leads.get(&desktop.uuid).copied().unwrap_or(Span::ZERO),
            reason: verdict.reason.sentence(&desktop.time_zone),
            settings: effective(desktop),
            offer: verdict.offer.clone(),
            problems: Vec::new(),
        };
        all.insert(desktop.name.clone(), status);
    }
    all
}

/// What was resolved, in the form of what is said.
fn effective(desktop: &Desktop) -> DesktopSettings {
    let pool = match &desktop.subject {
        Subject::Pool(pool) => Some(pool.clone()),
        Subject::Desktop(_) => None,
    };
    DesktopSettings {
        user: desktop.user.clone(),
        pool,
        profiles: Some(desktop.profiles.clone()),
        attach: Some(desktop.attach),
        priority: Some(desktop.priority),
        time_zone: Some(desktop.time_zone.clone()),
        lead: desktop.lead,
        preallocate: Some(desktop.preallocate),
        missing_gpu: Some(desktop.missing_gpu),
        presence: Some(desktop.presence),
        hours: desktop.hours.clone(),
        group: desktop.group.clone(),
    }
}

/// One word for where a desktop stands.
fn state(domain: &Domain, verdict: &Verdict, wanted: bool) -> &'static str {
    let hostdev = our_hostdev(domain);
    match (&domain.login, &domain.power) {
        (Login::Unknown(_), _) | (_, Power::Unknown(_)) => "unknown",
        (Login::Active { .. }, _) if hostdev.is_some() => "in-use",
        (Login::Waiting { .. }, _) => "waiting",
        (Login::Active { .. }, _) => "running",
        (_, Power::Starting) if hostdev.is_some() => "preparing",
        _ if matches!(verdict.reason, Reason::Grace { .. } | Reason::Found { .. }) => "grace",
        _ if hostdev.is_some() && !wanted => "releasing",
        _ if hostdev.is_some_and(|h| h.attachment != Attachment::Attached) => "releasing",
        _ if is_ready(domain) => "ready",
        _ if wanted => "preparing",
        _ if matches!(
            verdict.reason,
            Reason::NoCapacity { .. } | Reason::NotOffered { .. } | Reason::Outranked { .. }
        ) =>
        {
            "waiting"
        }
        (_, Power::Off) => "off",
        _ => "running",
    }
}

/// Why a desktop is treated as it is, in several lines: the state, the forecast and its reasons, the rule, what would change it.
pub(super) fn explanation(memory: &Memory, settings: &Settings, round: &Round, name: &DesktopName) -> Option<String> {
    let desktop = round.desktops.values().find(|desktop| desktop.name == *name)?;
    let domain = round.observed.domains.get(&desktop.uuid)?;
    let verdict = round.plan.verdicts.get(&desktop.uuid)?;
    let chance = &verdict.chance;
    let lead = round.leads.get(&desktop.uuid).copied().unwrap_or(Span::ZERO);
    let mut text = String::new();
    let mut line = |label: &str, value: &str| {
        // Writing into a string does not fail.
        let _ = writeln!(text, "{label:<11}{value}");
    };
    let wanted = round.plan.desired.wants.get(&desktop.uuid);
    line("Desktop", &format!("{name} ({}, {}, priority {})", desktop.subject, desktop.attach, desktop.priority));
    line("State", state(domain, verdict, wanted.is_some()));
    if let Some(want) = wanted {
        line("Plan", &format!("{} on {}", want.profile, want.gpu));
    }
    line("Decision", &verdict.reason.sentence(&desktop.time_zone));
    let now = clock(round.now, desktop);
    let next = chance.next.map_or_else(String::new, |next| format!("; likeliest at {}", clock(next, desktop)));
    line(
        "Forecast",
        &format!("at {now}: {} in the quarter hour that decides, {} within 24 h{next}", chance.now, chance.today),
    );
    let at = round.now + lead;
    for reason in explain(&memory.history, &memory.model, &desktop.subject, at, round.now) {
        line("", &format!("- {reason}"));
    }
    line("Lead time", &format!("{lead}, counted from the first step until a minute before the login"));
    line(
        "Rule",
        &format!(
            "reserve from {} on, give back below {}, hold at least {}, keep {} after logout",
            settings.policy.take, settings.policy.release, settings.policy.minimum_hold, settings.policy.grace
        ),
    );
    line("If asked", &format!("{}: {}", verdict.offer.way, verdict.offer.reason));
    line("Changes by", verdict.reason.what_would_change_it());
    if settings.mode == Mode::Shadow {
        line("Mode", "shadow: this is what would be done; nothing is");
    }
    Some(text)
}

fn clock(time: Time, desktop: &Desktop) -> String {
    jiff::Timestamp::from_second(time.unix()).map_or_else(
        |_| time.to_string(),
        |timestamp| timestamp.to_zoned_datetime(desktop.time_zone.clone()).strftime("%a %H:%M").to_string(),
    )
}
