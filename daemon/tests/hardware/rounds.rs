//! The planner on simulated hardware: what it wants is given, in the order of the hardware, and does not change while it is carried out.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use expect_test::{Expect, expect};
use headstart_core::check::Judge;
use headstart_core::observed::{Attachment, Hostdev, Power};
use headstart_core::plan::plan;
use headstart_core::step::{Busy, Step, Want, next_steps};
use headstart_core::text::Scene;
use headstart_simsysfs::nvidia::Gpu;
use headstart_simsysfs::samples::Sample;
use headstart_simsysfs::sriov::Device;
use headstart_simsysfs::{Blueprint, amd};

use super::{GpuRule, Rig, gpu_id, numbered};

/// More rounds than anything here takes.
const MOST: usize = 40;

/// Rounds until nothing is left to do. Domains are in memory; they do at once what they are told.
fn check(rig: &Rig, desktops: &str, expected: &Expect) {
    let mut scene: Scene = desktops.parse().unwrap();
    let mut text = String::new();
    let mut first: Option<BTreeMap<_, Want>> = None;
    for round in 1..=MOST {
        let seen = rig.hardware.observe();
        assert!(seen.gaps.is_empty(), "{:?}", seen.problems);
        scene.observed.gpus = seen.gpus;
        let plan = plan(&scene.situation());
        let wants = first.get_or_insert_with(|| plan.desired.wants.clone());
        assert_eq!(plan.desired.wants, *wants, "the plan of round {round} is another");
        let busy = Busy::default();
        let steps = next_steps(&plan.desired, &scene.observed, &scene.desktops, &busy);
        let (observed, desktops, quarantine) = (&scene.observed, &scene.desktops, &scene.quarantine);
        let judge = Judge { observed, desktops, quarantine, busy: &busy };
        let broken = [judge.desired(&plan.desired), judge.round(&steps)].concat();
        assert!(broken.is_empty(), "{broken:#?}");
        if steps.is_empty() {
            text += &scene.plan_text(&plan);
            expected.assert_eq(&text);
            return;
        }
        let _ = writeln!(text, "round {round}");
        text += &scene.steps_text(&steps);
        for step in &steps {
            carry_out(rig, &mut scene, step);
        }
    }
    panic!("not done after {MOST} rounds:\n{text}");
}

fn carry_out(rig: &Rig, scene: &mut Scene, step: &Step) {
    match step {
        Step::AttachHostdev { domain, device, .. } => {
            let hostdev = Hostdev { device: *device, attachment: Attachment::Attached, ours: true };
            scene.observed.domains.get_mut(domain).unwrap().hostdevs.push(hostdev);
        }
        Step::DetachHostdev { domain, device, .. } => {
            scene.observed.domains.get_mut(domain).unwrap().hostdevs.retain(|hostdev| hostdev.device != *device);
        }
        Step::StartDomain { domain } => {
            let domain = scene.observed.domains.get_mut(domain).unwrap();
            for hostdev in &domain.hostdevs {
                // A VF that is handed out whole is bound by libvirt.
                let open = if rig.hardware.wants_managed(hostdev.device).unwrap() {
                    rig.machine.open_managed(&hostdev.device.to_string(), domain.name.as_str())
                } else {
                    rig.machine.open(&hostdev.device.to_string(), domain.name.as_str())
                };
                open.unwrap_or_else(|errno| panic!("{} does not start: {errno}", domain.name));
            }
            domain.power = Power::Running { ready: true };
        }
        Step::ShutDownDomain { domain } => scene.observed.domains.get_mut(domain).unwrap().power = Power::Off,
        step => {
            rig.hardware.apply(step).unwrap_or_else(|error| panic!("{step}: {error}"));
        }
    }
}

#[test]
fn mdevs_on_vfs() {
    let Some(rig) = Rig::new(Blueprint::new().with(Gpu::a2("0000:08:00.0").vfs_enabled()), &["0000:08:00.0"]) else {
        return;
    };
    check(
        &rig,
        r"
        desktop vm1 cold A2-8Q off p=60%
        desktop vm2 cold A2-4Q,A2-8Q off p=50%
        desktop vm3 cold A2-8Q off p=40%
        ",
        &expect![[r"
            round 1
            * create mdev:vm1 A2-8Q on 08
            round 2
            * attach mdev:vm1 to vm1
            round 3
            * start vm1
            * create mdev:vm2 A2-8Q on 08
            round 4
            * attach mdev:vm2 to vm2
            round 5
            * start vm2
            vm1: reserved -> 08 A2-8Q
            vm2: reserved -> 08 A2-8Q
            vm3: no-capacity
        "]],
    );
}

#[test]
fn a_card_whose_vfs_are_off_beside_one_whose_are_on() {
    let profiles = vec![numbered("L40S-24Q", 1155), numbered("L40S-48Q", 1156)];
    let rules = ["0000:86:00.0", "0000:88:00.0"]
        .map(|id| GpuRule { profiles: profiles.clone(), ..GpuRule::of(gpu_id(id)) })
        .to_vec();
    let blueprint = Blueprint::new().with(Gpu::l40s("0000:86:00.0")).with(Gpu::l40s("0000:88:00.0").vfs_enabled());
    let Some(rig) = Rig::with_rules(blueprint, rules) else { return };
    check(
        &rig,
        r"
        desktop vm1 cold L40S-24Q off p=60%
        desktop vm2 cold L40S-24Q off p=50%
        desktop vm3 cold L40S-48Q off p=40%
        ",
        &expect![[r"
            round 1
            * enable 32 VFs on 86
            * set 88.4 L40S-48Q
            round 2
            * attach 88.4 to vm3
            * set 86.4 L40S-24Q
            round 3
            * attach 86.4 to vm1
            * start vm3
            round 4
            * start vm1
            * set 86.5 L40S-24Q
            round 5
            * attach 86.5 to vm2
            round 6
            * start vm2
            vm1: reserved -> 86 L40S-24Q
            vm2: reserved -> 86 L40S-24Q
            vm3: reserved -> 88 L40S-48Q
        "]],
    );
}

#[test]
fn one_budget_to_the_last_slot() {
    let Some(rig) = Rig::new(Blueprint::new().with(Sample::mbochs().budget(84)), &["mbochs"]) else { return };
    check(
        &rig,
        r"
        desktop vm1 cold mbochs-medium off p=60%
        desktop vm2 cold mbochs-large off p=50%
        desktop vm3 cold mbochs-large,mbochs-small off p=40%
        desktop vm4 cold mbochs-small off p=30%
        ",
        &expect![[r"
            round 1
            * create mdev:vm1 mbochs-medium on mbochs
            round 2
            * attach mdev:vm1 to vm1
            round 3
            * start vm1
            * create mdev:vm2 mbochs-large on mbochs
            round 4
            * attach mdev:vm2 to vm2
            round 5
            * start vm2
            * create mdev:vm3 mbochs-small on mbochs
            round 6
            * attach mdev:vm3 to vm3
            round 7
            * start vm3
            vm1: reserved -> mbochs mbochs-medium
            vm2: reserved -> mbochs mbochs-large
            vm3: reserved -> mbochs mbochs-small
            vm4: no-capacity
        "]],
    );
}

#[test]
fn vfs_that_are_handed_out_whole() {
    let flex = GpuRule { vfs: Some(2), ..GpuRule::of(gpu_id("0000:4d:00.0")) };
    let blueprint = Blueprint::new().with(Device::flex_170("0000:4d:00.0")).with(amd::Mxgpu::v710("0000:c3:00.0", 1));
    let Some(rig) = Rig::with_rules(blueprint, vec![flex, GpuRule::of(gpu_id("0000:c3:00.0"))]) else { return };
    check(
        &rig,
        r"
        desktop vm1 cold Flex-170-1/2 off p=60%
        desktop vm2 cold V710-1/1,Flex-170-1/2 off p=50%
        desktop vm3 cold V710-1/1,Flex-170-1/2 off p=40%
        desktop vm4 cold V710-1/1,Flex-170-1/2 off p=30%
        ",
        &expect![[r"
            round 1
            * attach c3.1 to vm2
            * enable 2 VFs on 4d
            round 2
            * attach 4d.1 to vm1
            * start vm2
            round 3
            * start vm1
            * attach 4d.2 to vm3
            round 4
            * start vm3
            vm1: reserved -> 4d Flex-170-1/2
            vm2: reserved -> c3 V710-1/1
            vm3: reserved -> 4d Flex-170-1/2
            vm4: no-capacity
        "]],
    );
}

#[test]
fn gpu_instances_before_vgpus() {
    let profiles = vec![numbered("H100-1-10C", 829), numbered("H100-3-40C", 832)];
    let gpu = Gpu::h100("0000:86:00.0").mig_enabled().extra_files();
    let rule = GpuRule { profiles, ..GpuRule::of(gpu_id("0000:86:00.0")) };
    let Some(rig) = Rig::with_rules(Blueprint::new().with(gpu), vec![rule]) else { return };
    check(
        &rig,
        r"
        desktop vm1 cold H100-1-10C off p=60%
        desktop vm2 cold H100-3-40C off p=50%
        desktop vm3 cold H100-1-10C off p=40%
        desktop vm4 cold H100-3-40C off p=30%
        ",
        &expect![[r"
            round 1
            * enable 20 VFs on 86
            round 2
            * make instance H100-1-10C at 6 on 86
            round 3
            * make instance H100-3-40C at 0 on 86
            round 4
            * set 86.4 H100-1-10C at 6
            round 5
            * attach 86.4 to vm1
            round 6
            * start vm1
            * make instance H100-1-10C at 5 on 86
            round 7
            * set 86.5 H100-3-40C at 0
            round 8
            * attach 86.5 to vm2
            round 9
            * start vm2
            * set 86.6 H100-1-10C at 5
            round 10
            * attach 86.6 to vm3
            round 11
            * start vm3
            vm1: reserved -> 86 H100-1-10C at 6
            vm2: reserved -> 86 H100-3-40C at 0
            vm3: reserved -> 86 H100-1-10C at 5
            vm4: no-capacity
        "]],
    );
}
