//! Invariant 2: there is no recovery code. Starting is the first round; stopping changes nothing on the host.
//!
//! A daemon is a look, a memory and a clock, so a crash is a memory that is lost; a step that was under way is done or not done.

use proptest::prelude::*;

use super::arbitrary::{Trouble, scene};
use super::course::Course;
use super::tried;

const KILLED: Trouble = Trouble { crashes: true, deeds: true, faults: true, ..Trouble::NONE };
const PEOPLE: Trouble = Trouble { deeds: true, ..Trouble::NONE };

proptest! {
    #![proptest_config(tried(400, "proptest-regressions/laws/crash.txt"))]

    /// Killed at any round and in the middle of any step: the next start finds the truth on the host and goes on, and nothing leaks.
    #[test]
    fn killed_anywhere_it_goes_on_and_nothing_leaks(scene in scene(KILLED, 12)) {
        let mut course = Course::new(&scene);
        for turn in &scene.turns {
            let lap = course.play(turn);
            let mut broken = lap.objections(&course.built.managed);
            broken.extend(lap.harm(&course.built.managed));
            prop_assert!(broken.is_empty(), "{broken:#?}\n{}", course.log);
        }
        course.forget();
        let wrong = course.come_to_rest();
        prop_assert!(wrong.is_empty(), "{wrong:#?}\n{}", course.log);
    }

    /// Where nothing is left to do, a daemon that knows nothing finds nothing to do either.
    #[test]
    fn a_start_on_a_host_at_rest_does_nothing(scene in scene(PEOPLE, 8)) {
        let mut course = Course::new(&scene);
        for turn in &scene.turns {
            course.play(turn);
        }
        let rest = course.settle();
        prop_assert!(rest.is_ok(), "{:?}\n{}", rest.err(), course.log);
        course.note("killed at rest");
        course.forget();
        let first = course.look(&[]);
        prop_assert!(first.round.steps.is_empty(), "{}", course.log);
    }
}
