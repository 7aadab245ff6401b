//! Invariant 4: a step is emitted only if the observation already permits it; at most one for each PF and domain; the steps of a round
//! may run in any order and together fit.

use headstart_core::step::Applied;
use proptest::prelude::*;

use super::arbitrary::{Trouble, scene};
use super::course::Course;
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
}
