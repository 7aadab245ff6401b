//! Invariant 3: no decision reads why the loop woke up.
//!
//! The signature leaves no room for a cause. What remains to be tried is that being woken once more, for whatever reason, changes nothing.

use headstart_core::observed::Observed;
use headstart_core::step::Busy;
use headstart_core::unit::Time;
use headstartd::reconcile::memory::{Memory, Round, Settings};
use proptest::prelude::*;

use super::arbitrary::{Trouble, scene};
use super::course::Course;
use super::tried;

/// All that a round is made of: what is remembered, settings, a look, what is in flight, the hour.
const ROUND: fn(&mut Memory, &Settings, Observed, &Busy, Time) -> Round = Memory::round;

proptest! {
    #![proptest_config(tried(500, "proptest-regressions/laws/cause.txt"))]

    /// One daemon is woken once for each turn, the other some more times at the same instant: both decide the same.
    #[test]
    fn another_wake_up_changes_nothing(scene in scene(Trouble::ALL, 10), wakes in proptest::collection::vec(0..4_u8, 10)) {
        let _ = ROUND;
        let (mut calm, mut woken) = (Course::new(&scene), Course::new(&scene));
        for (turn, wakes) in scene.turns.iter().zip(wakes) {
            let (here, there) = (calm.play(turn), woken.play_woken(turn, wakes));
            prop_assert_eq!(&here.round.plan, &there.round.plan, "{}\nagainst\n{}", calm.log, woken.log);
            prop_assert_eq!(&here.round.steps, &there.round.steps);
        }
    }

    /// A second round over the same look, with nothing done in between, finds that nothing happened and wants the same.
    #[test]
    fn a_second_look_finds_no_news(scene in scene(Trouble::ALL, 10)) {
        let mut course = Course::new(&scene);
        for turn in &scene.turns {
            course.play(turn);
            let (first, second) = (course.look(&turn.hidden), course.look(&turn.hidden));
            prop_assert_eq!(&second.round.happened, &Vec::new(), "{}", course.log);
            prop_assert_eq!(&first.round.plan, &second.round.plan, "{}", course.log);
            prop_assert_eq!(&first.round.steps, &second.round.steps);
        }
    }
}
