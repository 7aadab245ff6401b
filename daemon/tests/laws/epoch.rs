//! Rounds with equal inputs: neither the clock nor anybody but us changed anything that a plan is made of.

use std::collections::BTreeMap;

use headstart_core::id::{DomainUuid, ProfileName};
use headstart_core::observed::{Attachment, Domain, Login, Power};
use headstart_core::plan::Reason;
use headstart_core::step::Step;
use headstart_core::unit::{Probability, Time};

use super::lap::Lap;

/// Rounds with equal inputs.
pub(super) struct Epoch {
    given: BTreeMap<DomainUuid, Given>,
    holdings: Vec<String>,
    /// When the clock will have changed something.
    pub(super) deadline: Time,
    steps: Vec<Step>,
    /// Somebody is losing a reservation to somebody else. Those who rank higher still were placed beside it and may be placed anew when it
    /// is gone: no calm is promised until it is.
    somebody_loses: bool,
    rounds: usize,
    most: usize,
}

/// What a domain brings along that no step of ours decides.
#[derive(PartialEq)]
struct Given {
    somebody: bool,
    /// Its user gave up waiting for a GPU and works without.
    without: bool,
    refused: bool,
    /// What a domain has that is to be left alone, or that somebody came to while the guest was letting go: whatever becomes of that
    /// is not our doing.
    has: Option<usize>,
    /// What is expected of it. Those of a pool who hold a device come first in it, so that this is not the clock's affair alone.
    expected: Option<Probability>,
}

impl Epoch {
    /// Begins with this round.
    pub(super) fn new(lap: &Lap) -> Self {
        let devices: usize = lap.truth.gpus.values().map(|gpu| gpu.vgpus.len()).sum();
        let instances: usize = lap.truth.gpus.values().map(|gpu| gpu.instances.iter().flatten().count()).sum();
        Self {
            given: given(lap),
            holdings: holdings(lap),
            deadline: lap.round.now,
            steps: Vec::new(),
            somebody_loses: false,
            rounds: 0,
            most: 2 * devices + instances + 5 * lap.round.desktops.len() + lap.truth.gpus.len(),
        }
    }

    /// Whether this round has the same inputs.
    pub(super) fn goes_on(&self, lap: &Lap) -> bool {
        lap.round.now < self.deadline && self.given == given(lap) && !self.somebody_loses
    }

    /// What this round does that a calm mind would not do.
    pub(super) fn restless(&mut self, lap: &Lap) -> Vec<String> {
        let mut restless = Vec::new();
        let holdings = holdings(lap);
        if self.holdings != holdings {
            restless.push(format!("{:#?} became {holdings:#?}", self.holdings));
        }
        for step in &lap.round.steps {
            let vain = self.steps.iter().find(|before| *before == step || is_undone(before, step));
            restless.extend(vain.map(|before| format!("{step} after {before}")));
            self.steps.push(step.clone());
        }
        let desktops = &lap.round.plan.verdicts;
        self.somebody_loses = desktops
            .iter()
            .any(|(uuid, verdict)| matches!(verdict.reason, Reason::Outranked { .. }) || moves(lap, uuid));
        self.rounds += usize::from(!lap.round.steps.is_empty());
        if self.rounds > self.most {
            restless.push(format!("more than {} rounds with steps", self.most));
        }
        restless
    }
}

/// Whether the second step takes back what the first one did. Idle VFs of a profile stand for each other, so that one may be cleared
/// after another was made.
fn is_undone(first: &Step, second: &Step) -> bool {
    match (first, second) {
        (Step::CreateMdev { uuid: made, .. }, Step::RemoveMdev { uuid: removed, .. }) => made == removed,
        (Step::AttachHostdev { .. }, Step::DetachHostdev { .. })
        | (Step::StartDomain { .. }, Step::ShutDownDomain { .. }) => first.domain() == second.domain(),
        _ => false,
    }
}

impl Given {
    fn of(domain: &Domain, reported: bool, left_alone: bool, expected: Option<Probability>) -> Self {
        let somebody = reported || domain.login != Login::None;
        let bare = domain.hostdevs.is_empty();
        let going = domain.hostdevs.iter().any(|hostdev| hostdev.attachment == Attachment::Detaching);
        Self {
            somebody,
            without: bare && domain.login != Login::None && domain.power != Power::Off,
            refused: domain.hostdevs.iter().any(|hostdev| hostdev.attachment == Attachment::DetachRefused),
            has: (left_alone || (somebody && going)).then_some(domain.hostdevs.len()),
            expected,
        }
    }
}

fn given(lap: &Lap) -> BTreeMap<DomainUuid, Given> {
    let plan = &lap.round.plan;
    let in_use = |uuid| plan.verdicts.get(uuid).is_some_and(|verdict| verdict.reason == Reason::InUse);
    let strange = |uuid| !lap.round.desktops.contains_key(uuid);
    let left_alone = |uuid| strange(uuid) || (plan.desired.hands_off.contains(uuid) && !in_use(uuid));
    let expected = |uuid| plan.verdicts.get(uuid).map(|verdict| verdict.chance.now);
    let given = |uuid, domain| Given::of(domain, lap.reported.contains(uuid), left_alone(uuid), expected(uuid));
    lap.truth.domains.iter().map(|(uuid, domain)| (*uuid, given(uuid, domain))).collect()
}

/// A desktop is to give up a device that would suit it for one elsewhere: it lost its place, and found another.
fn moves(lap: &Lap, uuid: &DomainUuid) -> bool {
    let (Some(desktop), Some(want)) = (lap.round.desktops.get(uuid), lap.round.plan.desired.wants.get(uuid)) else {
        return false;
    };
    let device = lap.truth.domains[uuid].hostdevs.iter().find(|hostdev| hostdev.ours).map(|hostdev| hostdev.device);
    let gpu = device.and_then(|device| lap.truth.gpus.values().find(|gpu| gpu.vgpus.contains_key(&device)));
    let (Some(device), Some(gpu)) = (device, gpu) else { return false };
    let vgpu = &gpu.vgpus[&device];
    let suits = vgpu.profile.as_ref().is_some_and(|profile| desktop.profiles.contains(profile));
    suits && (gpu.address, vgpu.profile.as_ref(), vgpu.start) != (want.gpu, Some(&want.profile), want.start)
}

/// Who shall have what, or has it and keeps it.
fn holdings(lap: &Lap) -> Vec<String> {
    let desired = &lap.round.plan.desired;
    let wanted = desired.wants.iter().map(|(uuid, want)| (*uuid, want.gpu, Some(want.profile.clone()), want.start));
    let kept = desired.hands_off.iter().filter_map(|uuid| {
        let hostdevs = &lap.truth.domains[uuid].hostdevs;
        let device = hostdevs.iter().find(|h| h.ours && h.attachment != Attachment::Detaching)?.device;
        let gpu = lap.truth.gpus.values().find(|gpu| gpu.vgpus.contains_key(&device))?;
        let vgpu = &gpu.vgpus[&device];
        Some((*uuid, gpu.address, vgpu.profile.clone(), vgpu.start))
    });
    let line = |(uuid, gpu, profile, start)| {
        let start = Option::map_or(start, String::new(), |start: u16| format!(" at {start}"));
        let profile = Option::map_or(profile, String::new(), |profile: ProfileName| profile.to_string());
        format!("{}: {gpu} {profile}{start}", lap.round.desktops[&uuid].name)
    };
    let mut lines: Vec<String> = wanted.chain(kept).map(line).collect();
    lines.sort();
    lines
}
