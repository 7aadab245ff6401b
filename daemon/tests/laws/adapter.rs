//! Invariant 8: adapters hold no policy and no retry. They read, write, and say what happened.
//!
//! Tried with any step, sensible or not: a daemon that decided long ago is as good as one that is mad.

use std::collections::BTreeSet;

use headstart_core::gpu::{DeviceId, Opened};
use headstart_core::observed::{Attachment, Login, Observed, Power};
use headstart_core::step::{Applied, Step};
use headstartd::host::Host;
use proptest::collection::vec;
use proptest::prelude::*;

use super::arbitrary::{Trouble, scene};
use super::board::profile_name;
use super::build::Built;
use super::course::Course;
use super::scene::Scene;
use super::tried;
use super::witness::Witness;

const PEOPLE: Trouble = Trouble { deeds: true, ..Trouble::NONE };

/// A step as numbers that point into what is there.
#[derive(Clone, Copy, Debug)]
struct Numbers {
    kind: u8,
    board: usize,
    device: usize,
    domain: usize,
    profile: usize,
    start: Option<u16>,
    live: bool,
}

fn numbers() -> impl Strategy<Value = Numbers> {
    let start = proptest::option::of(0..9_u16);
    (0..11_u8, 0..3_usize, 0..20_usize, 0..9_usize, 0..4_usize, start, any::<bool>()).prop_map(
        |(kind, board, device, domain, profile, start, live)| Numbers {
            kind,
            board,
            device,
            domain,
            profile,
            start,
            live,
        },
    )
}

fn any_host_and_steps() -> impl Strategy<Value = (Scene, Vec<Numbers>)> {
    (scene(PEOPLE, 5), vec(numbers(), 1..20))
}

impl Numbers {
    fn step(self, built: &Built, seen: &Observed) -> Option<Step> {
        let gpu = built.board(self.board)?.address;
        let domain = seen.domains.keys().nth(self.domain % seen.domains.len())?;
        let profile = profile_name(self.profile);
        let (domain, start, live) = (*domain, self.start, self.live);
        let mdevs = built.desktops.iter().map(|(_, uuid)| DeviceId::Mdev(uuid.mdev()));
        let on_gpus = seen.gpus.values().flat_map(|gpu| gpu.vgpus.keys().copied());
        let vfs = seen.gpus.values().flat_map(|gpu| gpu.vfs.iter().map(|vf| DeviceId::Vf(*vf)));
        let devices: Vec<DeviceId> = mdevs.chain(on_gpus).chain(vfs).collect();
        let device = *devices.get(self.device % devices.len())?;
        Some(match (self.kind, device) {
            (0, DeviceId::Mdev(uuid)) => Step::CreateMdev { gpu, profile, uuid, start },
            (1, DeviceId::Mdev(uuid)) => Step::RemoveMdev { gpu, profile, uuid },
            (0, DeviceId::Vf(vf)) => Step::SetVgpuType { gpu, vf, profile, start },
            (1, DeviceId::Vf(vf)) => Step::ClearVgpuType { gpu, vf, profile },
            (2, _) => Step::SetNumVfs { gpu, vfs: 2 },
            (3, _) => Step::AttachHostdev { gpu, domain, device, live },
            (4 | 5, _) => Step::DetachHostdev { gpu: Some(gpu), domain, device, live },
            (6, _) => Step::StartDomain { domain },
            (7, _) => Step::CreateGpuInstance { gpu, profile, start: start.unwrap_or(0) },
            (8, _) => Step::DestroyGpuInstance { gpu, instance: u32::from(start.unwrap_or(1)) },
            _ => Step::ShutDownDomain { domain },
        })
    }
}

proptest! {
    #![proptest_config(tried(1000, "proptest-regressions/laws/adapter.txt"))]

    /// `Changed` is one thing that changed; anything else is nothing; and the same step again changes nothing more.
    #[test]
    fn one_act_is_at_most_one_change((scene, steps) in any_host_and_steps()) {
        let mut course = Course::new(&scene);
        scene.turns.iter().for_each(|turn| drop(course.play(turn)));
        let built = &course.built;
        let nobody = BTreeSet::new();
        for numbers in steps {
            let before = built.sim.observe();
            let Some(step) = numbers.step(built, &before) else { continue };
            // Whoever has waited too long for a GPU goes on without one as soon as the definition is free of it.
            if matches!(step, Step::DetachHostdev { domain, .. } if before.domains[&domain].login != Login::None) {
                continue;
            }
            let answer = built.sim.apply(&step);
            let after = built.sim.observe();
            let witness = Witness { truth: &before, managed: &built.managed, reported: &nobody };
            let changes = witness.changes(&after);
            prop_assert_eq!(changes.len(), usize::from(answer == Ok(Applied::Changed)), "{}: {:?} {:?}", step, answer, changes);
            let again = built.sim.apply(&step);
            prop_assert!(again != Ok(Applied::Changed), "{step} twice: {answer:?} and {again:?}");
            prop_assert_eq!(built.sim.observe(), after, "{} twice", step);
        }
    }

    /// A step changes nothing if what it relies on does not hold.
    #[test]
    fn an_act_compares_before_it_writes((scene, steps) in any_host_and_steps()) {
        let mut course = Course::new(&scene);
        scene.turns.iter().for_each(|turn| drop(course.play(turn)));
        for numbers in steps {
            let before = course.built.sim.observe();
            let Some(step) = numbers.step(&course.built, &before) else { continue };
            if let Some(why) = cannot_rely(&step, &before) {
                let answer = course.built.sim.apply(&step);
                prop_assert!(answer != Ok(Applied::Changed), "{step} although {why}");
                prop_assert_eq!(course.built.sim.observe(), before, "{} although {}", step, why);
            } else {
                let _ = course.built.sim.apply(&step);
            }
        }
    }
}

/// Why what a step says of itself in `Step` does not hold.
fn cannot_rely(step: &Step, truth: &Observed) -> Option<&'static str> {
    let vgpu = |device| truth.gpus.values().find_map(|gpu| gpu.vgpus.get(&device));
    let named = |device| truth.domains.values().any(|d| d.hostdevs.iter().any(|hostdev| hostdev.device == device));
    let domain = |uuid| &truth.domains[uuid];
    let runs = |uuid| matches!(domain(uuid).power, Power::Running { .. });
    let going = |device, profile| {
        let Some(there) = vgpu(device) else { return Some("it is not there") };
        if there.profile.as_ref() != Some(profile) {
            return Some("it has another profile");
        }
        if there.opened == Opened::No { named(device).then_some("a domain names it") } else { Some("it is open") }
    };
    match step {
        Step::CreateMdev { uuid, .. } => vgpu(DeviceId::Mdev(*uuid)).map(|_| "it is there"),
        Step::SetVgpuType { vf, .. } => vgpu(DeviceId::Vf(*vf)).map(|_| "it has a type"),
        Step::RemoveMdev { uuid, profile, .. } => going(DeviceId::Mdev(*uuid), profile),
        Step::ClearVgpuType { vf, profile, .. } => going(DeviceId::Vf(*vf), profile),
        Step::SetNumVfs { gpu, .. } => (!truth.gpus[gpu].vfs.is_empty()).then_some("VFs are on"),
        Step::CreateGpuInstance { gpu, start, .. } => {
            let there = truth.gpus[gpu].instances.iter().flatten().any(|(_, instance)| instance.start == *start);
            there.then_some("a GPU instance is there")
        }
        Step::DestroyGpuInstance { gpu, instance } => {
            let there = truth.gpus[gpu].instances.as_ref().and_then(|all| all.get(instance));
            there.is_none_or(|instance| instance.used != Opened::No).then_some("it is not there, or in use")
        }
        Step::AttachHostdev { domain: uuid, device, live, .. } => {
            if vgpu(*device).is_none() || named(*device) {
                return Some("the device is not free");
            }
            if domain(uuid).hostdevs.iter().any(|hostdev| hostdev.ours) {
                return Some("the domain has one of ours");
            }
            (runs(uuid) != *live).then_some("it runs otherwise")
        }
        Step::DetachHostdev { domain: uuid, device, live, .. } => {
            let hostdev = domain(uuid).hostdevs.iter().find(|hostdev| hostdev.device == *device);
            if hostdev.is_none_or(|hostdev| !hostdev.ours) {
                return Some("the domain has not got it from us");
            }
            if hostdev.is_some_and(|hostdev| hostdev.attachment == Attachment::Detaching) {
                return Some("its guest was asked already");
            }
            if matches!(domain(uuid).login, Login::Active { .. }) {
                return Some("somebody is logged in");
            }
            (runs(uuid) != *live).then_some("it runs otherwise")
        }
        Step::StartDomain { domain: uuid } => (domain(uuid).power != Power::Off).then_some("it is not off"),
        Step::ShutDownDomain { domain: uuid } => {
            (!runs(uuid) || domain(uuid).login != Login::None).then_some("it does not run, or somebody is there")
        }
    }
}
