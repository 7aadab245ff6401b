//! Invariant 6: a device in use, or named by a domain we do not manage, is never detached, cleared, removed or counted as free.

use proptest::prelude::*;

use super::arbitrary::{Trouble, scene};
use super::course::Course;
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
}
