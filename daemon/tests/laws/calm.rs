//! Invariant 7: placement reads nothing that its own steps change. With equal inputs the desired state stays the same while it is
//! carried out, and so it is reached.
//!
//! How many rounds that takes: with the desired state unchanged, every round that is not at rest and waits for no guest takes at least
//! one step, and no step is taken twice. A device that exists can be detached and removed, a GPU instance destroyed; a desktop can be
//! shut down, and get a GPU instance and a device made, attached and started; VFs are enabled once for a PF. So there are at most
//! 2 × devices + GPU instances + 5 × desktops + PFs rounds with steps.

use proptest::prelude::*;

use super::arbitrary::{Trouble, scene};
use super::course::Course;
use super::epoch::Epoch;
use super::rest::FOR_EVER;
use super::scene::Turn;
use super::tried;

/// How often a host comes to rest and is woken by the clock, in one case.
const RESTS: usize = 4;

proptest! {
    #![proptest_config(tried(800, "proptest-regressions/laws/calm.txt"))]

    /// From any start state, without faults: one mind from one change of the inputs to the next, no step twice, and rest within the bound.
    #[test]
    fn what_is_desired_stays_while_it_is_carried_out(scene in scene(Trouble::NONE, 0)) {
        let mut course = Course::new(&scene);
        let (mut epoch, mut rests, mut rounds) = (None::<Epoch>, 0, 0);
        while rests < RESTS {
            rounds += 1;
            prop_assert!(rounds < FOR_EVER, "it never comes to rest\n{}", course.log);
            let lap = course.play(&Turn::default());
            let deadline = course.memory.next_deadline(&course.built.settings, &lap.round);
            if !epoch.as_ref().is_some_and(|epoch| epoch.goes_on(&lap)) {
                course.note("(other inputs than before)");
                epoch = Some(Epoch::new(&lap));
            }
            let epoch = epoch.as_mut().unwrap();
            let restless = epoch.restless(&lap);
            prop_assert!(restless.is_empty(), "{restless:#?}\n{}", course.log);
            epoch.deadline = deadline;
            if lap.round.steps.is_empty() && !course.sleep() {
                let undone = course.left_undone(&lap);
                prop_assert!(undone.is_empty(), "{undone:#?}\n{}", course.log);
                rests += 1;
                course.built.clock.advance(deadline);
            }
        }
    }

    /// After the last fault, gap, crash and change of anything, it comes to rest with nothing undone.
    #[test]
    fn after_the_last_trouble_it_comes_to_rest(scene in scene(Trouble::ALL, 12)) {
        let mut course = Course::new(&scene);
        for turn in &scene.turns {
            course.play(turn);
        }
        let wrong = course.come_to_rest();
        prop_assert!(wrong.is_empty(), "{wrong:#?}\n{}", course.log);
    }
}
