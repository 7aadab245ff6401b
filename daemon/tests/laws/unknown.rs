//! Invariant 5: unknown is not absent. What could not be observed forbids every destructive step that depends on it.

use std::collections::BTreeSet;

use headstart_core::gpu::{DeviceId, GpuState, Opened};
use headstart_core::observed::{Gap, Login, Observed, Power};
use headstart_core::step::{Step, next_steps};
use proptest::prelude::*;

use super::arbitrary::{Trouble, scene};
use super::course::Course;
use super::tried;

const GAPS: Trouble = Trouble { gaps: true, deeds: true, crashes: true, ..Trouble::NONE };

proptest! {
    #![proptest_config(tried(800, "proptest-regressions/laws/unknown.txt"))]

    /// Whatever a look leaves out, the steps are such as the whole truth permits.
    #[test]
    fn steps_in_the_dark_are_right_in_the_light(scene in scene(GAPS, 12)) {
        let mut course = Course::new(&scene);
        for turn in &scene.turns {
            let lap = course.play(turn);
            let mut broken = lap.objections(&course.built.managed);
            broken.extend(lap.harm(&course.built.managed));
            prop_assert!(broken.is_empty(), "{broken:#?}\n{}", course.log);
        }
    }

    /// No step rests on what this look could not tell, even if it would be right by luck.
    #[test]
    fn no_step_rests_on_what_was_not_seen(scene in scene(GAPS, 12)) {
        let mut course = Course::new(&scene);
        for turn in &scene.turns {
            let lap = course.play(turn);
            let guess = lap.round.steps.iter().find_map(|step| guesses(step, &lap.round.observed).map(|why| (step, why)));
            prop_assert!(guess.is_none(), "{guess:?}\n{}", course.log);
        }
    }

    /// Not even if the plan does: the steps see for themselves.
    #[test]
    fn a_careless_plan_takes_no_step_in_the_dark(scene in scene(GAPS, 12)) {
        let mut course = Course::new(&scene);
        for turn in &scene.turns {
            let lap = course.play(turn);
            for desired in lap.careless(BTreeSet::new()) {
                let steps = next_steps(&desired, &lap.round.observed, &lap.round.desktops, &lap.busy);
                let guess = steps.iter().find_map(|step| guesses(step, &lap.round.observed).map(|why| (step, why)));
                prop_assert!(guess.is_none(), "{desired:#?}\n{guess:?}\n{}", course.log);
            }
        }
    }
}

/// What a step takes for granted that was not seen.
fn guesses(step: &Step, seen: &Observed) -> Option<&'static str> {
    let no_domains = seen.gaps.contains(&Gap::Domains);
    let dark = |gpu: &headstart_core::gpu::Gpu| matches!(gpu.state, GpuState::Unknown(_));
    let no_gpus = seen.gpus.values().any(dark) || seen.gaps.iter().any(|gap| *gap != Gap::Domains);
    let on_dark = step.gpu().is_some_and(|gpu| seen.gpus.get(&gpu).is_none_or(dark));
    if on_dark {
        return Some("its PF was not read");
    }
    let domain = step.domain().map(|domain| seen.domains.get(&domain));
    if domain.is_some_and(|domain| domain.is_none_or(|domain| matches!(domain.power, Power::Unknown(_)))) {
        return Some("whether its domain runs was not read");
    }
    let login_unread = domain.flatten().is_some_and(|domain| matches!(domain.login, Login::Unknown(_)));
    let device = match step {
        Step::RemoveMdev { uuid, .. } => Some(DeviceId::Mdev(*uuid)),
        Step::ClearVgpuType { vf, .. } | Step::SetVgpuType { vf, .. } => Some(DeviceId::Vf(*vf)),
        Step::AttachHostdev { device, .. } => Some(*device),
        _ => None,
    };
    let vgpu = device.and_then(|device| seen.gpus.values().find_map(|gpu| gpu.vgpus.get(&device)));
    match step {
        _ if device.is_some() && no_domains => Some("a domain that was not seen may name the device"),
        _ if vgpu.is_some_and(|vgpu| matches!(vgpu.opened, Opened::Unknown(_))) => Some("somebody may have it open"),
        Step::DetachHostdev { .. } | Step::ShutDownDomain { .. } if no_domains => {
            Some("the list of domains was not read")
        }
        Step::DetachHostdev { .. } | Step::ShutDownDomain { .. } if login_unread => Some("somebody may be there"),
        Step::DetachHostdev { gpu: None, .. } if no_gpus => Some("the device may be on a PF that was not read"),
        Step::CreateMdev { .. } if no_gpus => Some("the mdev may be on a PF that was not read"),
        _ => None,
    }
}
