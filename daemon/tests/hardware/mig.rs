//! MIG: GPU instances before vGPUs. Sections 3.3 and 10 of the reference.

use std::fs;
use std::process::Command;

use expect_test::expect;
use headstart_core::gpu::{GpuState, Opened, Partitioning};
use headstart_core::step::{Applied, FailureKind, Step, StepError};
use headstart_simsysfs::nvidia::Gpu;
use headstart_simsysfs::{Behavior, Blueprint, Program};

use super::{GpuRule, Rig, fails, gpu_id, name, numbered, picture, vgpus};

const H100: &str = "0000:86:00.0";
const VF: &str = "0000:86:00.4";
const SECOND: &str = "0000:86:00.5";

/// Without NVML a VF tells no types before there are instances for them, so the operator does.
fn rule() -> GpuRule {
    let types = [("H100-1-10C", 829), ("H100-1-20C", 830), ("H100-2-20C", 831), ("H100-3-40C", 832), ("H100-8C", 823)];
    GpuRule { profiles: types.map(|(text, number)| numbered(text, number)).to_vec(), ..GpuRule::of(gpu_id(H100)) }
}

fn h100(change: impl FnOnce(Gpu) -> Gpu) -> Option<Rig> {
    let gpu = Gpu::h100(H100).vfs_enabled().mig_enabled();
    let rig = Rig::with_rules(Blueprint::new().with(change(gpu)), vec![rule()])?;
    rig.gpu(H100);
    Some(rig)
}

fn make(rig: &Rig, profile: &str, start: u16) -> Result<Applied, StepError> {
    rig.hardware.apply(&Step::CreateGpuInstance { gpu: gpu_id(H100), profile: name(profile), start })
}

fn destroy(rig: &Rig, instance: u32) -> Result<Applied, StepError> {
    rig.hardware.apply(&Step::DestroyGpuInstance { gpu: gpu_id(H100), instance })
}

fn smi(rig: &Rig, arguments: &[&str]) {
    Command::new(rig.machine.path("usr/bin/nvidia-smi")).args(arguments).output().unwrap();
}

/// The instances that a look finds, a line each.
fn instances(rig: &Rig) -> String {
    let gpu = rig.gpu(H100);
    let line = |(id, it): (&u32, &headstart_core::gpu::Instance)| {
        let profile = it.profile.as_ref().map_or("?", |profile| profile.as_str());
        let used = match &it.used {
            Opened::No => String::new(),
            Opened::By(who) => format!(", {who}"),
            Opened::Unknown(_) => ", unknown".into(),
        };
        format!("{id}: {profile} at {}{used}\n", it.start)
    };
    gpu.instances.iter().flatten().map(line).collect()
}

#[test]
fn a_card_in_mig_mode_is_what_it_can_be_cut_into() {
    let Some(rig) = h100(Gpu::extra_files) else { return };
    let gpu = rig.gpu(H100);
    assert_eq!(gpu.instances.as_ref().map(std::collections::BTreeMap::len), Some(0));
    expect![[r"
        0000:86:00.0 H100 PCIe, 40960 MiB: vfio-variant, MIG, 8 memory slices, ready
          20 VFs on, 0 off
          H100-1-10C: 10240 MiB x7, 1 slots at [0, 1, 2, 3, 4, 5, 6]
          H100-1-20C: 20480 MiB x4, 2 slots at [0, 2, 4, 6]
          H100-2-20C: 20480 MiB x3, 2 slots at [0, 2, 4]
          H100-3-40C: 40960 MiB x2, 4 slots at [0, 4]
    "]]
    .assert_eq(&picture(&gpu));
}

#[test]
fn without_the_mode_it_is_time_sliced() {
    let Some(rig) = Rig::with_rules(Blueprint::new().with(Gpu::h100(H100).vfs_enabled()), vec![rule()]) else { return };
    let gpu = rig.gpu(H100);
    assert!(matches!(gpu.partitioning, Partitioning::EqualSize { .. }), "{}", picture(&gpu));
    assert!(gpu.instances.is_none() && gpu.profile(&name("H100-1-10C")).is_none());
}

#[test]
fn an_instance_then_its_vgpu_and_back() {
    let Some(rig) = h100(Gpu::extra_files) else { return };
    assert_eq!(fails(rig.set(H100, VF, "H100-1-10C")).0, FailureKind::Exhausted, "there is no instance yet");
    assert_eq!(make(&rig, "H100-1-10C", 6), Ok(Applied::Changed));
    assert_eq!(make(&rig, "H100-1-10C", 6), Ok(Applied::AlreadySo));
    assert_eq!(instances(&rig), "1: H100-1-10C at 6\n");
    assert_eq!(rig.set(H100, VF, "H100-1-10C"), Ok(Applied::Changed));
    assert_eq!(vgpus(&rig.gpu(H100)), "  + 0000:86:00.4 H100-1-10C at 6\n");
    assert_eq!(instances(&rig), "1: H100-1-10C at 6, 0000:86:00.4\n");
    let (kind, text) = fails(destroy(&rig, 1));
    assert_eq!((kind, text), (FailureKind::Conflict, "0000:86:00.0: 0000:86:00.4 is on GPU instance 1".into()));
    assert_eq!(rig.clear(H100, VF, "H100-1-10C"), Ok(Applied::Changed));
    assert_eq!(destroy(&rig, 1), Ok(Applied::Changed));
    assert_eq!(destroy(&rig, 1), Ok(Applied::AlreadySo));
    assert_eq!(instances(&rig), "");
}

#[test]
fn sizes_stand_side_by_side_where_the_slices_allow() {
    let Some(rig) = h100(Gpu::extra_files) else { return };
    make(&rig, "H100-3-40C", 4).unwrap();
    let (kind, text) = fails(make(&rig, "H100-1-10C", 6));
    assert!(kind == FailureKind::Conflict && text.contains("GPU instance 1 has slices"), "{text}");
    make(&rig, "H100-1-10C", 0).unwrap();
    make(&rig, "H100-2-20C", 2).unwrap();
    assert_eq!(instances(&rig), "1: H100-3-40C at 4\n2: H100-1-10C at 0\n3: H100-2-20C at 2\n");
    for (vf, profile) in [(VF, "H100-3-40C"), (SECOND, "H100-1-10C")] {
        assert_eq!(rig.set(H100, vf, profile), Ok(Applied::Changed));
    }
    assert_eq!(vgpus(&rig.gpu(H100)), "  + 0000:86:00.4 H100-3-40C at 4\n  + 0000:86:00.5 H100-1-10C at 0\n");
    assert_eq!(fails(make(&rig, "H100-9-90C", 0)).0, FailureKind::Unsupported);
}

#[test]
fn without_the_drivers_word_only_what_is_sure_is_said() {
    let Some(rig) = h100(|gpu| gpu) else { return };
    make(&rig, "H100-1-10C", 6).unwrap();
    make(&rig, "H100-1-10C", 5).unwrap();
    rig.set(H100, VF, "H100-1-10C").unwrap();
    assert_eq!(instances(&rig), "1: H100-1-10C at 6, unknown\n2: H100-1-10C at 5, unknown\n");
    assert_eq!(vgpus(&rig.gpu(H100)), "  + 0000:86:00.4 H100-1-10C\n", "where it stands is not known");
    assert_eq!(fails(destroy(&rig, 2)).0, FailureKind::Conflict);
    rig.set(H100, SECOND, "H100-1-10C").unwrap();
    assert_eq!(vgpus(&rig.gpu(H100)), "  + 0000:86:00.4 H100-1-10C at 6\n  + 0000:86:00.5 H100-1-10C at 5\n");
}

#[test]
fn an_instance_that_will_not_go_counts_as_in_use() {
    let Some(rig) = h100(Gpu::extra_files) else { return };
    make(&rig, "H100-1-10C", 6).unwrap();
    rig.gpu(H100);
    // Another process of the host has something on it, of which only the refusal tells.
    fs::write(rig.machine.pci(VF).join("nvidia/current_vgpu_type"), "829").unwrap();
    rig.machine.inject(headstart_simsysfs::Fault::read("**/gpu_instance_id").errno(headstart_simsysfs::Errno::ENXIO));
    let (kind, text) = fails(destroy(&rig, 1));
    assert!(kind == FailureKind::Conflict && text.contains("In use by another client"), "{text}");
    assert!(instances(&rig).starts_with("1: H100-1-10C at 6, "), "{}", instances(&rig));
}

#[test]
fn vfs_come_before_instances_for_enabling_them_ends_all() {
    let gpu = Gpu::h100(H100).extra_files().gpu_instances(&[19]);
    let Some(rig) = Rig::with_rules(Blueprint::new().with(gpu), vec![rule()]) else { return };
    rig.gpu(H100);
    assert_eq!(rig.set_num_vfs(H100, 20), Ok(Applied::Changed));
    let gpu = rig.gpu(H100);
    assert_eq!((gpu.vfs.len(), instances(&rig).as_str()), (20, ""), "{}", picture(&gpu));
    assert_eq!(make(&rig, "H100-1-10C", 6), Ok(Applied::Changed));
}

#[test]
fn a_program_that_lies_is_not_believed() {
    let Some(rig) = h100(Gpu::extra_files) else { return };
    rig.machine.set_program(Program::NvidiaSmi, Behavior::Fails(9));
    let (kind, text) = fails(make(&rig, "H100-1-10C", 6));
    assert!(kind == FailureKind::Transient && text.contains("its GPU instances are not known"), "{text}");
    let gpu = rig.gpu(H100);
    assert!(matches!(&gpu.state, GpuState::NotReady(why) if why.contains("not known")), "{}", picture(&gpu));
    rig.machine.set_program(Program::NvidiaSmi, Behavior::Works);
    assert_eq!(make(&rig, "H100-1-10C", 6), Ok(Applied::Changed));
}

#[test]
fn what_others_make_is_understood() {
    let Some(rig) = h100(Gpu::extra_files) else { return };
    smi(&rig, &["mig", "-i", H100, "-cgi", "15,5"]);
    let hardware = super::hardware(super::SysfsRoot::new(rig.machine.root()), vec![rule()]);
    let fresh = Rig { hardware, ..rig };
    assert_eq!(instances(&fresh), "1: H100-1-20C at 0\n", "the other has no place beside it");
}

#[test]
fn mdevs_are_backed_by_instances_too() {
    let a100 = "0000:3b:00.0";
    let gpu = Gpu::a100(a100).vfs_enabled().mig_enabled().extra_files();
    let Some(rig) = Rig::new(Blueprint::new().with(gpu), &[a100]) else { return };
    rig.gpu(a100);
    assert_eq!(fails(rig.create_at(a100, "A100-3-20C", 1, Some(4))).0, FailureKind::Exhausted);
    let step = Step::CreateGpuInstance { gpu: gpu_id(a100), profile: name("A100-3-20C"), start: 4 };
    assert_eq!(rig.hardware.apply(&step), Ok(Applied::Changed));
    rig.gpu(a100);
    assert_eq!(rig.create(a100, "A100-3-20C", 1), Ok(Applied::Changed));
    let seen = rig.gpu(a100);
    assert_eq!(vgpus(&seen), "  + mdev 1 A100-3-20C at 4\n");
    assert!(
        !seen.profiles.iter().any(|profile| profile.name.as_str() == "A100-4C"),
        "time-sliced types rest meanwhile"
    );
}
