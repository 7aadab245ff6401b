//! That the laws are tried on something: scenes in which every step is taken, every reason given, and much could be broken.

use std::collections::BTreeMap;

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;

use super::arbitrary::{Trouble, scene};
use super::course::Course;
use super::tried;
use super::witness::Witness;

const SCENES: usize = 700;
/// Each of these is met in so many rounds at least.
const OFTEN: usize = 10;

const STEPS: &[&str] = &[
    "create-mdev",
    "remove-mdev",
    "set-vgpu-type",
    "clear-vgpu-type",
    "set-num-vfs",
    "create-gpu-instance",
    "destroy-gpu-instance",
    "attach",
    "detach",
    "start",
    "shut-down",
];

/// Words of reasons; what is not here is met seldom.
const REASONS: &[&str] = &[
    "in-use",
    "arriving",
    "grace",
    "waiting",
    "reserved",
    "spare",
    "below-release",
    "below-take",
    "nothing-ahead",
    "declined",
    "no-capacity",
    "not-offered",
    "outranked",
    "waits-for-domain-off",
    "unplug-pending",
    "foreign-device",
    "quarantined",
    "unknown",
];

#[test]
fn the_scenes_are_full_of_life() {
    let mut runner = TestRunner::new(tried(1, ""));
    let scenes = scene(Trouble::ALL, 12);
    let mut met: BTreeMap<String, usize> = BTreeMap::new();
    let mut meet = |what: &str, n: usize| *met.entry(what.to_owned()).or_default() += n;
    for _ in 0..SCENES {
        let scene = scenes.new_tree(&mut runner).unwrap().current();
        let mut course = Course::new(&scene);
        for turn in &scene.turns {
            let lap = course.play(turn);
            lap.acts.iter().for_each(|act| meet(act.step.kind(), usize::from(act.answer.is_ok())));
            lap.round.plan.verdicts.values().for_each(|verdict| meet(verdict.reason.word(), 1));
            let witness = Witness { truth: &lap.truth, managed: &course.built.managed, reported: &lap.reported };
            let devices = lap.truth.gpus.values().flat_map(|gpu| gpu.vgpus.keys());
            meet("protected devices", devices.filter(|device| witness.protects(**device)).count());
            meet("refused steps", lap.acts.iter().filter(|act| act.answer.is_err()).count());
        }
    }
    let seldom: Vec<_> = STEPS
        .iter()
        .chain(REASONS)
        .chain(&["protected devices", "refused steps"])
        .map(|what| (*what, met.get(*what).copied().unwrap_or_default()))
        .filter(|(_, n)| *n < OFTEN)
        .collect();
    assert!(seldom.is_empty(), "seldom met: {seldom:?}\nof {met:#?}");
}
