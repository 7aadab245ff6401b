//! Pictures of the planner and of its steps: a scene as text in, plan and steps as text out.
//!
//! `check` and `check_rounds` are the only callers of the API. Every picture is also put before the judge of `check.rs`.
#![expect(clippy::unwrap_used, reason = "a test that meets what it does not expect shall fail")]

mod pictures {
    mod found;
    mod hooks;
    mod host;
    mod partitioning;
    mod refusals;
    mod reservations;
    mod trouble;
    mod users;

    use std::fmt::Write as _;

    use expect_test::Expect;
    use headstart_core::check::Judge;
    use headstart_core::plan::{Plan, plan};
    use headstart_core::step::{Busy, Step, next_steps};
    use headstart_core::text::Scene;

    /// Plan and steps of one round.
    fn check(scene: &str, expected: &Expect) {
        let scene: Scene = scene.parse().unwrap();
        let (plan, steps) = round(&scene);
        expected.assert_eq(&(scene.plan_text(&plan) + &scene.steps_text(&steps)));
    }

    /// Plan, then the steps of one round after the other on a host on which everything works at once, until nothing is left to do.
    fn check_rounds(scene: &str, expected: &Expect) {
        let mut scene: Scene = scene.parse().unwrap();
        let mut text = String::new();
        for n in 1..=12 {
            let (plan, steps) = round(&scene);
            if n == 1 || steps.is_empty() {
                text += &scene.plan_text(&plan);
            }
            if steps.is_empty() {
                expected.assert_eq(&text);
                return;
            }
            writeln!(text, "round {n}").unwrap();
            text += &scene.steps_text(&steps);
            for step in &steps {
                host::carry_out(&mut scene, step);
            }
        }
        panic!("not done after 12 rounds:\n{text}");
    }

    fn round(scene: &Scene) -> (Plan, Vec<Step>) {
        let plan = plan(&scene.situation());
        let mut busy = Busy::default();
        busy.gpus.extend(scene.quarantine.gpus.keys());
        busy.domains.extend(scene.quarantine.domains.keys());
        let steps = next_steps(&plan.desired, &scene.observed, &scene.desktops, &busy);
        let judge =
            Judge { observed: &scene.observed, desktops: &scene.desktops, quarantine: &scene.quarantine, busy: &busy };
        let mut broken = judge.desired(&plan.desired);
        broken.extend(judge.round(&steps));
        assert!(broken.is_empty(), "laws are broken: {broken:#?}\n{}", scene.steps_text(&steps));
        (plan, steps)
    }
}
