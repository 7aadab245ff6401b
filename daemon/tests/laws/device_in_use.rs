//! Invariant 6: a device in use, or named by a domain we do not manage, is never detached, cleared, removed or counted as free.

use headstart_core::id::DomainUuid;
use headstart_core::observed::Login;
use headstart_core::step::{Desired, next_steps};
use proptest::prelude::*;

use super::arbitrary::{Trouble, scene};
use super::course::Course;
use super::lap::Lap;
use super::tried;

proptest! {
    #![proptest_config(tried(400, "proptest-regressions/laws/device_in_use.txt"))]

    /// Whatever befalls host and daemon.
    #[test]
    fn a_device_in_use_or_of_strangers_is_never_touched(scene in scene(Trouble::ALL, 12)) {
        let mut course = Course::new(&scene);
        for turn in &scene.turns {
            let lap = course.play(turn);
            let mut broken = lap.objections(&course.built.managed);
            broken.extend(lap.harm(&course.built.managed));
            broken.extend(lap.against_desired());
            prop_assert!(broken.is_empty(), "{broken:#?}\n{}", course.log);
        }
    }

    /// Not even if the plan forgets who is there: the steps see for themselves.
    #[test]
    fn a_careless_plan_takes_nothing_that_is_in_use(scene in scene(Trouble::ALL, 12)) {
        let mut course = Course::new(&scene);
        for turn in &scene.turns {
            let lap = course.play(turn);
            for desired in careless(&lap) {
                let steps = next_steps(&desired, &lap.round.observed, &lap.round.desktops, &lap.busy);
                let broken = lap.objections_to(&steps, &course.built.managed);
                prop_assert!(broken.is_empty(), "{desired:#?}\n{broken:#?}\n{}", course.log);
            }
        }
    }
}

/// Plans that do not read who is there, or that it is not known. What else is to be left alone stays so.
fn careless(lap: &Lap) -> [Desired; 2] {
    let domains = &lap.round.observed.domains;
    let nobody_there = |uuid: &&DomainUuid| domains.get(uuid).is_some_and(|domain| domain.login == Login::None);
    lap.careless(lap.round.plan.desired.hands_off.iter().filter(nobody_there).copied().collect())
}
