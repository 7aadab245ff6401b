//! What the hook is answered while libvirt waits: a scene and a question in, the answer out.

use std::fmt::Write as _;

use expect_test::{Expect, expect};
use headstart_core::check::Judge;
use headstart_core::gpu::DeviceId;
use headstart_core::hook::{Answer, Case, Operation, Question, answer, refusal};
use headstart_core::plan::plan;
use headstart_core::step::{Busy, Step};
use headstart_core::text::Scene;

use super::check;

/// Asks about each of these, `OPERATION NAME`, beside whatever is under way. The domain is in the scene as its definition says that is
/// about to be used.
fn asks(scene: &str, in_flight: &[Step], questions: &[&str], expected: &Expect) {
    let scene: Scene = scene.parse().unwrap();
    let plan = plan(&scene.situation());
    let managed = |uuid| scene.desktops.contains_key(&uuid);
    let mut text = String::new();
    for question in questions {
        let (operation, name) = question.split_once(' ').unwrap();
        let uuid = Scene::uuid(name);
        let operation = match operation {
            "prepare" => Operation::Prepare,
            "migrate" => Operation::Migrate,
            _ => Operation::Restore,
        };
        let asked = Question { operation, domain: scene.observed.domains[&uuid].clone() };
        let desktop = scene.desktops.get(&uuid);
        let case = Case {
            question: &asked,
            desktop: Ok(desktop),
            want: plan.desired.wants.get(&uuid),
            observed: &scene.observed,
            managed: &managed,
            quarantine: &scene.quarantine,
            in_flight: &in_flight.iter().collect::<Vec<_>>(),
        };
        let answered = match answer(&case) {
            Answer::Allow => "go on".to_owned(),
            Answer::Rewrite { from, to, managed } => {
                let managed = if managed { ", managed" } else { "" };
                format!("{} -> {}{managed}", shown(&scene, from), shown(&scene, to))
            }
            Answer::Make(step) => {
                let busy = Busy { gpus: in_flight.iter().filter_map(Step::gpu).collect(), ..Busy::default() };
                let judge = Judge {
                    observed: &scene.observed,
                    desktops: &scene.desktops,
                    quarantine: &scene.quarantine,
                    busy: &busy,
                };
                let broken = judge.round(std::slice::from_ref(&step));
                assert!(broken.is_empty(), "laws are broken: {broken:#?}");
                scene.step_text(&step)
            }
            Answer::Wait { why, changing } => format!("wait{}: {why}", if changing { ", changing" } else { "" }),
            Answer::Missing(why) => {
                match refusal(&asked.domain.name, desktop.map(|desktop| desktop.missing_gpu).unwrap_or_default(), &why)
                {
                    Some(why) => format!("no: {why}"),
                    None => format!("go on without: {why}"),
                }
            }
        };
        writeln!(text, "{question}: {}", answered.replace(&uuid.mdev().to_string(), "OWN")).unwrap();
    }
    expected.assert_eq(&text);
}

fn shown(scene: &Scene, device: DeviceId) -> String {
    let step = Step::AttachHostdev { gpu: "x".parse().unwrap(), domain: Scene::uuid("x"), device, live: false };
    let text = scene.step_text(&step);
    text.split(' ').nth(1).unwrap().to_owned()
}

const MDEV: &str = r"
    gpu 3b mdev equal-size 24576
      A-4Q 4096 x6
      A-8Q 8192 x3
    gpu 5e mdev equal-size 24576
      A-4Q 4096 x6
      A-8Q 8192 x3
      + alien:x A-4Q
";

const VF: &str = r"
    gpu 3b vfio-variant equal-size 24576 vfs=3
      A-4Q 4096 x6
      A-8Q 8192 x3
      + 3b.2 A-8Q
";

#[test]
fn what_exists_is_used_and_what_is_missing_is_made() {
    asks(
        &format!(
            "{MDEV}
            + mdev:vm1 A-4Q
            desktop vm1 cold A-4Q starting has=mdev:vm1
            desktop vm2 cold A-4Q starting has=mdev:vm2
            desktop vm3 cold A-8Q,A-4Q starting has=mdev:vm3
            desktop vm4 cold A-4Q starting"
        ),
        &[],
        &["prepare vm1", "prepare vm2", "prepare vm3", "prepare vm4"],
        &expect![[r"
            prepare vm1: go on
            prepare vm2: create mdev:vm2 A-4Q on 5e
            prepare vm3: create mdev:vm3 A-8Q on 3b
            prepare vm4: go on without: its definition names no device of headstart
        "]],
    );
}

#[test]
fn a_vf_that_lost_its_type_gets_it_again() {
    asks(
        &format!(
            "{VF}
            desktop vm1 cold A-8Q starting has=3b.1
            desktop vm2 cold A-8Q starting has=3b.2
            desktop vm3 cold A-4Q starting has=3b.3
            desktop vm4 cold A-8Q starting has=5e.1"
        ),
        &[],
        &["prepare vm1", "prepare vm2", "prepare vm3", "prepare vm4"],
        &expect![[r"
            prepare vm1: set 3b.1 A-8Q
            prepare vm2: go on
            prepare vm3: go on without: no room for A-4Q: 0000:3b:00.0: it is bound to vGPUs of 8192 MiB until the last of them is gone
            prepare vm4: go on without: VF 0000:5e:00.1 does not exist on any GPU of headstart
        "]],
    );
}

#[test]
fn vfs_that_are_off_are_turned_on() {
    asks(
        r"
        gpu 3b sriov sriov:7 8192
          I350 1024 x7
        gpu 5e sriov sriov:7 8192 state=not-ready
          I350 1024 x7
        desktop vm1 cold I350 starting has=3b.16
        desktop vm2 cold I350 starting has=5e.16
        ",
        &[],
        &["prepare vm1", "prepare vm2"],
        &expect![[r"
            prepare vm1: enable 7 VFs on 3b
            prepare vm2: go on without: VF 0000:5e:02.0 does not exist, and 0000:5e:00.0 takes nothing now
        "]],
    );
}

#[test]
fn a_desktop_may_rather_not_start_than_start_without() {
    asks(
        r"
        gpu 3b mdev equal-size 4096
          A-4Q 4096 x1
          + alien:x A-4Q
        desktop full cold A-4Q starting has=mdev:full block
        desktop bare cold A-4Q starting block
        desktop live live A-4Q starting block
        domain other starting
        domain former starting has=mdev:former
        ",
        &[],
        &["prepare full", "prepare bare", "prepare live", "prepare other", "prepare former"],
        &expect![[r#"
            prepare full: no: no room for A-4Q: 0000:3b:00.0: all 1 instances of the profile are taken; its setting missing-gpu = "block" lets full not start without its GPU
            prepare bare: no: its definition names no device of headstart; its setting missing-gpu = "block" lets bare not start without its GPU
            prepare live: go on
            prepare other: go on
            prepare former: go on without: OWN does not exist, and former is not managed here
        "#]],
    );
}

#[test]
fn whoever_is_at_work_on_the_card_is_waited_for() {
    let gpu = || "0000:3b:00.0".parse().unwrap();
    let profile = || "A-4Q".parse().unwrap();
    let removed = Step::RemoveMdev { gpu: gpu(), profile: profile(), uuid: Scene::uuid("vm1").mdev() };
    asks(
        r"
        gpu 3b mdev equal-size 24576
          A-4Q 4096 x6
          + mdev:vm1 A-4Q
        desktop vm1 cold A-4Q starting has=mdev:vm1
        desktop vm2 cold A-4Q starting has=mdev:vm2
        ",
        &[removed],
        &["prepare vm1", "prepare vm2"],
        &expect![[r"
            prepare vm1: wait, changing: OWN is being changed right now (remove mdev OWN of A-4Q from 0000:3b:00.0)
            prepare vm2: wait: 0000:3b:00.0 is busy (remove mdev 05c2b4e2-3cd9-5c83-875b-6eda80ad3d16 of A-4Q from 0000:3b:00.0)
        "]],
    );
    asks(
        r"
        gpu 3b mdev equal-size 24576 state=not-ready
          A-4Q 4096 x6
        desktop vm1 cold A-4Q starting has=mdev:vm1
        ",
        &[],
        &["prepare vm1"],
        &expect![[r"
            prepare vm1: wait: 0000:3b:00.0: driver missing
        "]],
    );
    asks(
        r"
        gap 5e
        gpu 3b mdev equal-size 24576
          A-4Q 4096 x6
        desktop vm1 cold A-4Q starting has=mdev:vm1
        ",
        &[],
        &["prepare vm1"],
        &expect![[r"
            prepare vm1: wait: mdev OWN may exist on a GPU that could not be read
        "]],
    );
}

#[test]
fn without_the_list_of_domains_a_start_is_served_all_the_same() {
    asks(
        &format!(
            "gap domains
            {VF}
            desktop vm1 cold A-8Q starting has=3b.1"
        ),
        &[],
        &["prepare vm1"],
        &expect![[r"
            prepare vm1: set 3b.1 A-8Q
        "]],
    );
}

#[test]
fn a_strangers_mdev_is_not_made() {
    asks(
        &format!(
            "{MDEV}
            desktop vm1 cold A-4Q starting has=alien:y"
        ),
        &[],
        &["prepare vm1"],
        &expect![[r"
            prepare vm1: go on without: mdev fd40dec5-fac4-526f-9c86-92761c4c228f does not exist, and is not the one that headstart makes for it
        "]],
    );
}

#[test]
fn a_definition_from_elsewhere_is_given_a_device_of_this_host() {
    asks(
        &format!(
            "{MDEV}
            desktop vm1 cold A-4Q starting has=alien:y
            desktop vm2 cold A-4Q starting has=mdev:vm2
            desktop vm3 cold A-4Q starting has=af.1"
        ),
        &[],
        &["migrate vm1", "restore vm1", "migrate vm2", "migrate vm3"],
        &expect![[r"
            migrate vm1: fd40dec5-fac4-526f-9c86-92761c4c228f -> mdev:vm1
            restore vm1: fd40dec5-fac4-526f-9c86-92761c4c228f -> mdev:vm1
            migrate vm2: go on
            migrate vm3: af.1 -> mdev:vm3
        "]],
    );
    asks(
        &format!(
            "{VF}
            + 3b.3 A-8Q
            desktop vm1 cold A-8Q starting has=af.1
            desktop vm2 cold A-8Q starting has=3b.1
            desktop vm3 cold A-8Q running has=3b.2
            desktop vm4 cold A-8Q starting has=3b.2
            domain other starting foreign=af.3"
        ),
        &[],
        &["migrate vm1", "restore vm2", "restore vm4", "migrate other"],
        &expect![[r"
            migrate vm1: af.1 -> 3b.3
            restore vm2: go on
            restore vm4: 3b.2 -> 3b.3
            migrate other: go on
        "]],
    );
}

#[test]
fn a_device_of_the_other_kind_takes_its_place() {
    // This host has VFs with a type, and plain ones.
    asks(
        &format!(
            "{VF}
            + 3b.3 A-8Q
            gpu c3 sriov fixed-vfs 8192 vfs=1
              V710-1/3 2730 x1
              + c3.1 V710-1/3
            desktop vm1 cold A-8Q starting has=alien:x
            desktop vm2 cold A-8Q starting has=mdev:vm2
            desktop vm3 cold V710-1/3 starting has=mdev:vm3
            desktop vm4 cold A-4Q starting has=mdev:vm4"
        ),
        &[],
        &["migrate vm1", "restore vm2", "restore vm3", "restore vm4"],
        &expect![[r"
            migrate vm1: 2b6f2e6a-2137-5109-bff5-8d96068d0f8c -> 3b.2
            restore vm2: mdev:vm2 -> 3b.2
            restore vm3: mdev:vm3 -> c3.1, managed
            restore vm4: go on without: no GPU here makes an mdev of A-4Q, and no VF of A-4Q is free
        "]],
    );
    // This host makes mdevs, and has no VF that would do.
    asks(
        &format!(
            "{MDEV}
            gpu af vfio-variant equal-size 24576 vfs=1
              A-4Q 4096 x6
              + af.1 A-4Q open=qemu
            desktop vm1 cold A-4Q starting has=b0.1
            desktop vm2 cold A-8Q starting has=3b.1
            desktop vm3 cold L-8Q starting has=3b.1"
        ),
        &[],
        &["migrate vm1", "restore vm2", "restore vm3"],
        &expect![[r"
            migrate vm1: b0.1 -> mdev:vm1
            restore vm2: 3b.1 -> mdev:vm2
            restore vm3: go on without: no GPU here makes an mdev of L-8Q, and no VF of L-8Q is free
        "]],
    );
}

#[test]
fn a_plain_vf_is_given_as_it_is() {
    asks(
        r"
        gpu 3b sriov fixed-vfs 8192 vfs=3
          V710-1/3 2730 x3
          + 3b.1 V710-1/3
          + 3b.2 V710-1/3 open=qemu
          + 3b.3 V710-1/3
        desktop vm1 cold V710-1/3 starting has=3b.1
        desktop vm2 cold V710-1/3 starting has=3b.2 block
        desktop vm3 cold V710-1/3 starting has=af.3
        ",
        &[],
        &["prepare vm1", "migrate vm1", "migrate vm2", "migrate vm3"],
        &expect![[r"
            prepare vm1: go on
            migrate vm1: go on
            migrate vm2: go on
            migrate vm3: af.3 -> 3b.3, managed
        "]],
    );
}

#[test]
fn the_plan_leaves_a_desktop_that_starts_as_it_is() {
    check(
        r"
        gpu 3b mdev equal-size 24576
          A-4Q 4096 x6
          A-8Q 8192 x3
          + mdev:vm1 A-4Q
        desktop vm1 cold A-4Q starting p=1% has=mdev:vm1 held=60m
        desktop vm2 cold A-4Q starting p=1% has=mdev:vm2 held=60m
        desktop vm3 cold A-4Q starting p=90%
        desktop vm4 cold A-8Q off p=90%
        ",
        &expect![[r"
            vm1: starting, hands off
            vm2: starting, hands off
            vm3: starting, hands off
            vm4: no-capacity
        "]],
    );
}

#[test]
fn what_has_to_be_done_before_a_vgpu_takes_too_long_for_a_hook() {
    asks(
        r"
        gpu 3b mdev equal-size 24576 vfs-off=8
          A-4Q 4096 x6
        gpu 5e vfio-variant equal-size 24576 vfs-off=8
          L-4Q 4096 x6
        gpu 86 mdev mig:8 81920 gpu-instances
          H-1-10C 10240 x7 slots=1 at=0,1,2,3,4,5,6
          H-3-40C 40960 x2 slots=4 at=0,4
          instance 1 H-1-10C at=2
        desktop vm1 cold A-4Q starting has=mdev:vm1
        desktop vm2 cold L-4Q starting has=5e.1
        desktop vm3 cold H-3-40C starting has=mdev:vm3
        desktop vm4 cold H-1-10C starting has=mdev:vm4
        ",
        &[],
        &["prepare vm1", "prepare vm2", "prepare vm3", "prepare vm4"],
        &expect![[r"
            prepare vm1: wait: 0000:3b:00.0: its VFs have to be enabled first
            prepare vm2: enable 8 VFs on 5e
            prepare vm3: wait: 0000:86:00.0: a GPU instance has to be made first
            prepare vm4: create mdev:vm4 H-1-10C at 2 on 86
        "]],
    );
}
