//! Invariant 4: a step is emitted only if the observation already permits it; at most one for each PF and domain; the steps of a round
//! may run in any order and together fit.

use headstart_core::gpu::Gpu;
use headstart_core::id::DomainUuid;
use headstart_core::step::{Applied, Desired, Want, next_steps};
use headstart_core::unit::Span;
use headstartd::host::Host;
use headstartd::reconcile::memory::Round;
use proptest::prelude::*;

use super::arbitrary::{Trouble, scene};
use super::course::Course;
use super::lap::Lap;
use super::scene::Turn;
use super::tried;

const PEOPLE: Trouble = Trouble { deeds: true, ..Trouble::NONE };

proptest! {
    #![proptest_config(tried(600, "proptest-regressions/laws/round.txt"))]

    /// Judged by `check`, which works out again from the observation what each step relies on.
    #[test]
    fn every_step_is_permitted_by_what_was_seen(scene in scene(Trouble::ALL, 12)) {
        let mut course = Course::new(&scene);
        for turn in &scene.turns {
            let lap = course.play(turn);
            let broken = lap.against_steps();
            prop_assert!(broken.is_empty(), "{broken:#?}\n{}", course.log);
        }
    }

    /// Judged by the hardware: of what was seen whole and did not move since, no step is refused and none is idle, in whatever order.
    #[test]
    fn the_host_carries_out_every_step(scene in scene(PEOPLE, 12)) {
        let mut course = Course::new(&scene);
        for turn in &scene.turns {
            let lap = course.play(turn);
            let unwilling = lap.acts.iter().find(|act| act.answer != Ok(Applied::Changed));
            prop_assert!(unwilling.is_none(), "{:?}\n{}", unwilling.map(|act| (&act.step, &act.answer)), course.log);
        }
    }

    /// Two hosts whose daemons take the steps of their rounds in different orders are the same after every round.
    #[test]
    fn the_order_of_the_steps_does_not_matter(scene in scene(PEOPLE, 12), orders in proptest::collection::vec(any::<u32>(), 12)) {
        let (mut one, mut other) = (Course::new(&scene), Course::new(&scene));
        for (turn, order) in scene.turns.iter().zip(orders) {
            one.play(turn);
            other.play(&Turn { order, ..turn.clone() });
            let (here, there) = (one.look(&[]), other.look(&[]));
            prop_assert_eq!(here.truth, there.truth, "{}\nagainst\n{}", one.log, other.log);
            prop_assert_eq!(here.round.steps, there.round.steps);
        }
    }

    /// Not even if what is wanted cannot be: more than there is room for, on the first PF that comes to mind.
    #[test]
    fn the_host_carries_out_every_step_of_a_wild_plan(scene in scene(PEOPLE, 6), wild in any::<u32>()) {
        let mut course = Course::new(&scene);
        for turn in &scene.turns {
            course.play(turn);
        }
        for _ in 0..8 {
            let lap = course.look(&[]);
            let steps = next_steps(&wanted(&lap, wild), &lap.round.observed, &lap.round.desktops, &lap.busy);
            for step in steps {
                let answer = course.built.sim.apply(&step);
                prop_assert!(answer == Ok(Applied::Changed), "{step}: {answer:?}\n{}", course.log);
            }
            let now = course.now();
            course.built.clock.advance(now + Span::seconds(20));
        }
    }
}

/// Every desktop that the plan does not leave alone is to have one of its profiles somewhere, whatever else is there.
fn wanted(lap: &Lap, wild: u32) -> Desired {
    let round = &lap.round;
    let gpus: Vec<&Gpu> = round.observed.gpus.values().collect();
    let mut desired = Desired { hands_off: round.plan.desired.hands_off.clone(), ..Desired::default() };
    for (n, desktop) in round.desktops.values().enumerate().filter(|(_, it)| !is_left_alone(round, it.uuid)) {
        let n = n.wrapping_add(wild as usize);
        let gpu = gpus[n % gpus.len()];
        let profile = &gpu.profiles[n / 2 % gpu.profiles.len()];
        let start = (!profile.starts.is_empty()).then(|| profile.starts[n / 3 % profile.starts.len()]);
        let want = Want { gpu: gpu.address, profile: profile.name.clone(), start, run: true, rank: n as u32 };
        desired.wants.insert(desktop.uuid, want);
        desired.num_vfs.extend(gpu.vfs_to_enable().map(|vfs| (gpu.address, vfs)));
    }
    desired
}

fn is_left_alone(round: &Round, uuid: DomainUuid) -> bool {
    round.plan.desired.hands_off.contains(&uuid)
}
